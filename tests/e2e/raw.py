"""A client without manners: bytes over TLS to the API, as the admin; and a neighbour who must not notice."""
import json, os, re, socket, ssl, struct, threading, time, urllib.parse
from lib import admin_tls


class Raw:
    """The way to one cluster's API for who writes his bytes himself."""

    def __init__(self, c):
        self.tls = admin_tls(c.env['KUBECONFIG'])
        self.nobody = admin_tls(c.env['KUBECONFIG'], certificate=False)
        self.http2 = {admin: admin_tls(c.env['KUBECONFIG'], certificate=admin) for admin in (True, False)}
        for tls in self.http2.values():
            tls.set_alpn_protocols(['h2', 'http/1.1'])
        self.address = ('127.0.0.1', c.port)

    def tcp(self, timeout=15):
        return socket.create_connection(self.address, timeout=timeout)

    def open(self, timeout=15, admin=True):
        return (self.tls if admin else self.nobody).wrap_socket(self.tcp(timeout), server_hostname='127.0.0.1')

    def exchange(self, data, timeout=15, admin=True, first=1.0):
        """Everything that comes back until the server ends the connection (or says nothing for a second, `first` at first)."""
        with self.open(timeout, admin) as s:
            try:
                s.sendall(data)
            except OSError:
                pass                                    # it has said no already
            return until_quiet(s, first=first)

    def ask(self, method, path, body=None, kind='application/json', headers=(), admin=True):
        """Status, headers and body of one request on a connection of its own."""
        body = b'' if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = '%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n' % (method, path)
        head += ''.join('%s: %s\r\n' % h for h in headers)
        if body or method in ('POST', 'PUT', 'PATCH'):
            head += 'Content-Type: %s\r\nContent-Length: %d\r\n' % (kind, len(body))
        return parsed(self.exchange(head.encode('utf-8', 'surrogateescape') + b'\r\n' + body, admin=admin, first=15))


def until_quiet(s, quiet=1.0, most=64 << 20, first=None):
    got = b''
    try:
        while len(got) < most:
            s.settimeout((first if first and not got else quiet) or None)
            part = s.recv(65536)
            if not part:
                break
            got += part
            if whole(got):
                break
    except (socket.timeout, TimeoutError):
        pass
    except OSError:
        got = got or b''
    return got


def whole(got):
    """One answer with a length that says Connection: close: nothing further comes."""
    head, sep, body = got.partition(b'\r\n\r\n')
    n = re.search(rb'\r\ncontent-length: *(\d+)', head, re.I)
    return sep and n and re.search(rb'\r\nconnection: *close', head, re.I) and len(body) >= int(n.group(1))


def parsed_bytes(got):
    head, _, body = got.partition(b'\r\n\r\n')
    m = re.match(rb'HTTP/1\.1 (\d{3})', head)
    status = int(m.group(1)) if m else 0
    headers = dict((k.strip().lower(), v.strip()) for k, _, v in
                   (line.partition(':') for line in head.decode('latin1').split('\r\n')[1:]))
    if headers.get('transfer-encoding') == 'chunked':
        plain = b''
        while body:
            size, _, body = body.partition(b'\r\n')
            n = int(size or b'0', 16)
            plain, body = plain + body[:n], body[n + 2:]
            if not n:
                break
        body = plain
    return status, headers, body


def parsed(got):
    status, headers, body = parsed_bytes(got)
    return status, headers, body.decode('utf-8', 'replace')


class Neighbour:
    """Reads one object all the time and watches it change, beside whatever else happens; says how long it took."""

    def __init__(self, raw, path='/api/v1/namespaces/default/configmaps/neighbour', every=0.01):
        self.raw, self.path, self.every = raw, path, every
        self.times, self.errors, self.seen, self.stop = [], [], [], False

    def __enter__(self):
        where, name = self.path.rsplit('/', 1)
        status, _, text = self.raw.ask('POST', where, {'metadata': {'name': name}, 'data': {'n': '0'}})
        assert status in (201, 409), text
        self.threads = [threading.Thread(target=self.run, args=(f,)) for f in (self.reads, self.watches)]
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *unused):
        self.stop = True
        for t in self.threads:
            t.join()

    def run(self, work):
        try:
            work()
        except Exception as e:
            if not self.stop:
                self.errors.append(repr(e))

    def reads(self):
        n = 0
        with self.raw.open(60) as s:
            f = s.makefile('rb')

            def call(method, body=b''):
                start = time.monotonic()
                s.sendall(b'%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/merge-patch+json\r\n'
                          b'Content-Length: %d\r\n\r\n%s' % (method, self.path.encode(), len(body), body))
                line, length = f.readline(), 0
                while (h := f.readline().strip()):
                    if h.lower().startswith(b'content-length:'):
                        length = int(h.split(b':')[1])
                f.read(length)
                assert b' 200 ' in line, line
                self.times.append(time.monotonic() - start)
            while not self.stop:
                n += 1
                call(b'GET')
                if n % 20 == 0:
                    call(b'PATCH', b'{"data":{"n":"%d"}}' % n)
                time.sleep(self.every)

    def watches(self):
        where, name = self.path.rsplit('/', 1)
        with self.raw.open(60) as s:
            s.sendall(('GET %s?watch=1&fieldSelector=metadata.name%%3D%s HTTP/1.1\r\nHost: x\r\n\r\n' % (where, name)).encode())
            s.settimeout(0.5)
            while not self.stop:
                try:
                    part = s.recv(65536)
                    assert part, 'the watch ended'
                    self.seen += re.findall(rb'"n":"(\d+)"', part)
                except (socket.timeout, TimeoutError):
                    pass

    def worst(self, part=0.99):
        """The time within which that part of the calls was answered."""
        assert not self.errors, self.errors
        return sorted(self.times)[int(len(self.times) * part)] if self.times else 0


# --- WebSocket, as far as it takes to do it wrong

def frame(op, data=b'', fin=True, mask=b'\1\2\3\4', length=None, bits=0):
    n = len(data) if length is None else length
    head = bytes([(0x80 if fin else 0) | bits | op])
    m = 0x80 if mask else 0
    head += bytes([m | n]) if n < 126 else bytes([m | 126]) + n.to_bytes(2, 'big') if n < 65536 else \
        bytes([m | 127]) + n.to_bytes(8, 'big')
    return head + (mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)) if mask else data)


def upgrade(path, protocol='v5.channel.k8s.io', extra=''):
    return ('GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n' %
            (path, 'Sec-WebSocket-Protocol: %s\r\n' % protocol if protocol else '', extra)).encode()
