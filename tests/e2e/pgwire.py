"""As much of PostgreSQL's protocol (version 3) as a client needs that sends one query after the other: SCRAM-SHA-256, simple queries,
rows as lists of texts. What it raises is PgError where the server says no, and OSError where the line is lost."""
import base64, hashlib, hmac, os, socket, struct


class PgError(Exception):
    """code: the SQLSTATE."""

    def __init__(self, fields):
        self.code, self.text = fields.get('C', ''), fields.get('M', '')
        super().__init__('%s %s' % (self.code, self.text))


class Pg:
    def __init__(self, host, user, password, database, port=5432, timeout=5):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.settimeout(timeout)
        self.buf = b''
        try:
            start = b''.join(k.encode() + b'\0' + v.encode() + b'\0' for k, v in (('user', user), ('database', database)))
            body = struct.pack('!I', 196608) + start + b'\0'
            self.sock.sendall(struct.pack('!I', len(body) + 4) + body)
            self.log_in(password)
        except BaseException:
            self.sock.close()
            raise

    def close(self):
        self.sock.close()

    def send(self, kind, body):
        self.sock.sendall(kind + struct.pack('!I', len(body) + 4) + body)

    def take(self, n):
        while len(self.buf) < n:
            got = self.sock.recv(65536)
            if not got:
                raise OSError('the server has closed the line')
            self.buf += got
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def message(self):
        """(kind, body); an error that ends the session is raised here."""
        kind, n = struct.unpack('!cI', self.take(5))
        return kind, self.take(n - 4)

    @staticmethod
    def fields(body):
        return {part[:1].decode(): part[1:].decode('utf-8', 'replace') for part in body.split(b'\0') if part}

    def log_in(self, password):
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = 'n=,r=' + nonce
        while True:
            kind, body = self.message()
            if kind == b'E':
                raise PgError(self.fields(body))
            if kind == b'Z':
                return
            if kind != b'R':
                continue                                # parameters, the key for cancelling
            code, = struct.unpack('!I', body[:4])
            if code == 10:
                text = ('n,,' + first).encode()
                self.send(b'p', b'SCRAM-SHA-256\0' + struct.pack('!I', len(text)) + text)
            elif code == 11:
                server = body[4:].decode()
                said = dict(x.split('=', 1) for x in server.split(','))
                last = 'c=biws,r=' + said['r']
                salted = hashlib.pbkdf2_hmac('sha256', password.encode(), base64.b64decode(said['s']), int(said['i']))
                key = hmac.digest(salted, b'Client Key', 'sha256')
                sign = hmac.digest(hashlib.sha256(key).digest(), ','.join((first, server, last)).encode(), 'sha256')
                proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, sign))).decode()
                self.send(b'p', (last + ',p=' + proof).encode())
            elif code not in (0, 12):
                raise OSError('a way of logging in that is not known here: %d' % code)

    def query(self, sql):
        """The rows; returns only when the server has said that it is done."""
        self.send(b'Q', sql.encode() + b'\0')
        rows, error = [], None
        while True:
            kind, body = self.message()
            if kind == b'D':
                n, = struct.unpack('!H', body[:2])
                at, row = 2, []
                for _ in range(n):
                    size, = struct.unpack('!i', body[at:at + 4])
                    at += 4
                    row.append(None if size < 0 else body[at:at + size].decode())
                    at += max(size, 0)
                rows.append(row)
            elif kind == b'E':
                error = PgError(self.fields(body))
                if error.code.startswith('57P'):        # it goes: nothing else will come
                    raise error
            elif kind == b'Z':
                if error:
                    raise error
                return rows
