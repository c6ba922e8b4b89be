"""HTTP/2 for who writes his frames himself (RFC 9113, 7541), by the standard library: enough of it to ask, and to do what no
client should. What comes is read with a header table of no size, so that a status stands where it is."""
import json, select, socket, ssl, struct, threading, time

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
GREETING = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
NO_ERROR, PROTOCOL, INTERNAL, FLOW, REFUSED, CANCEL, CALM = 0, 1, 2, 3, 7, 8, 11


def frame(kind, flags, stream, payload=b''):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload


def settings(**values):
    ids = {'table': 1, 'push': 2, 'streams': 3, 'window': 4, 'frame': 5}
    return frame(SETTINGS, 0, 0, b''.join(struct.pack('>HI', ids[k], v) for k, v in values.items()))


def window(stream, more):
    return frame(WINDOW, 0, stream, struct.pack('>I', more))


def reset(stream, code=CANCEL):
    return frame(RESET, 0, stream, struct.pack('>I', code))


def number(first, bits, n):
    """RFC 7541 5.1."""
    most = (1 << bits) - 1
    if n < most:
        return bytes([first | n])
    out, n = [first | most], n - most
    while n >= 128:
        out.append(n % 128 + 128)
        n //= 128
    return bytes(out + [n])


def field(name, value, kind=0x00):
    """A literal; kind 0x40 enters it into the table."""
    name, value = (x.encode('latin1') if isinstance(x, str) else x for x in (name, value))
    return bytes([kind]) + number(0, 7, len(name)) + name + number(0, 7, len(value)) + value


def head(method, path, *more, scheme='https', authority='127.0.0.1'):
    return b''.join(field(n, v) for n, v in ((':method', method), (':scheme', scheme), (':path', path), (':authority', authority)) + more if v is not None)


def status_of(block):
    """The first field of an answer: indexed, or :status with digits, plain or by Huffman's code (RFC 7541 B)."""
    i = 0
    while block[i] & 0xe0 == 0x20:                      # the size of the table
        i += 1
    if block[i] & 0x80:
        return {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}[block[i] & 0x7f]
    assert block[i] & 0x3f in range(8, 15), block[:20]
    n, text = block[i + 1] & 0x7f, block[i + 2:]
    if not block[i + 1] & 0x80:
        return int(text[:n])
    bits, digits = ''.join('{:08b}'.format(b) for b in text[:n]), ''
    while len(digits) < 3:
        if bits[:5] in ('00000', '00001', '00010'):
            digits, bits = digits + str(int(bits[:5], 2)), bits[5:]
        else:
            digits, bits = digits + str(int(bits[:6], 2) - 0x19 + 3), bits[6:]
    return int(digits)


class Answer:
    def __init__(self):
        self.status, self.statuses, self.body, self.ended, self.code, self.block, self.trailed = 0, [], b'', False, None, b'', False

    def over(self):
        return self.ended or self.code is not None


class H2:
    """One connection. Windows are opened as bytes come, unless it is told not to (`greedy`)."""

    def __init__(self, raw, greedy=True, first=settings(table=0, window=1 << 20), admin=True, receive=None, timeout=30):
        s = socket.socket()
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.settimeout(timeout)
        s.connect(raw.address)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s = raw.http2[admin].wrap_socket(s, server_hostname='127.0.0.1')
        assert self.s.selected_alpn_protocol() == 'h2', self.s.selected_alpn_protocol()
        self.greedy, self.rest, self.next, self.answers = greedy, b'', 1, {}
        self.last, self.why, self.closed, self.pongs, self.settings = None, None, False, 0, {}
        self.send(GREETING + first + (window(0, 1 << 30) if greedy else b''))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.s.close()

    def send(self, data):
        self.s.sendall(data)

    def reply(self, data):
        """What it may not hear any more."""
        try:
            self.s.sendall(data)
        except (OSError, ssl.SSLError):
            pass

    def stream(self):
        self.next += 2
        self.answers[self.next - 2] = Answer()
        return self.next - 2

    def ask(self, method, path, body=None, *more, kind='application/json', block=None, end=True):
        """Sends a request; the number of its stream."""
        n = self.stream()
        body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        more = (('content-type', kind),) + more if body is not None else more
        out = frame(HEADERS, END_HEADERS | (END_STREAM if body is None and end else 0), n, block if block is not None else head(method, path, *more))
        for i in range(0, len(body or b''), 16384):
            out += frame(DATA, END_STREAM if end and i + 16384 >= len(body) else 0, n, body[i:i + 16384])
        if body == b'' and end:
            out += frame(DATA, END_STREAM, n)
        self.send(out)
        return n

    def take(self):
        """Reads a frame. False: the connection is closed."""
        while len(self.rest) < 9 or len(self.rest) < 9 + int.from_bytes(self.rest[:3], 'big'):
            try:
                part = self.s.recv(1 << 18)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError):
                raise
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                part = b''
            if not part:
                self.closed = True
                return False
            self.rest += part
        n, kind, flags = int.from_bytes(self.rest[:3], 'big'), self.rest[3], self.rest[4]
        stream, payload = int.from_bytes(self.rest[5:9], 'big') & 0x7fffffff, self.rest[9:9 + n]
        self.rest = self.rest[9 + n:]
        self.came(kind, flags, stream, payload)
        return True

    def came(self, kind, flags, stream, payload):
        a = self.answers.get(stream) or Answer()
        if kind in (HEADERS, CONTINUATION):
            a.block += payload
            if flags & END_HEADERS:
                if a.status >= 200:
                    a.trailed = True
                else:
                    a.status = status_of(a.block)
                    a.statuses.append(a.status)
                self.block, a.block = a.block, b''
        elif kind == DATA:
            a.body += payload
            if self.greedy and payload:
                self.reply(window(0, len(payload)) + (b'' if flags & END_STREAM else window(stream, len(payload))))
        elif kind == RESET:
            a.code = int.from_bytes(payload, 'big')
        elif kind == SETTINGS and not flags & ACK:
            self.settings.update({k: v for k, v in struct.iter_unpack('>HI', payload)})
            self.reply(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            self.pongs += flags & ACK
            if not flags & ACK:
                self.reply(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.last, self.why = struct.unpack('>II', payload[:8])
        a.ended |= kind in (HEADERS, DATA) and bool(flags & END_STREAM)

    def answer(self, stream):
        a = self.answers[stream]
        while not a.over() and self.take():
            pass
        return a

    def get(self, path, *more):
        return self.answer(self.ask('GET', path, None, *more))

    def flood(self, more, seconds):
        """Sends more(0), more(1) ... as fast as it is taken, and reads beside it: one of two threads may not. The bytes that were
        sent; None where it was still taken after so long."""
        self.s.setblocking(False)
        data, i, sent, end = b'', 0, 0, time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                if not data:
                    data, i = more(i), i + 1
                try:
                    n = self.s.send(data[:65536])
                    data, sent = data[n:], sent + n
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    select.select([self.s], [self.s], [], 0.05)
                try:
                    while self.take():
                        pass
                    return sent
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    pass
            return None
        except (OSError, ssl.SSLError):
            self.s.settimeout(5)
            try:
                self.until_closed()                     # its last words
            except (OSError, ssl.SSLError):
                pass
            return sent

    def until_closed(self):
        while self.take():
            pass

    def alive(self):
        """It still serves."""
        return self.get('/version').status == 200
