#!/usr/bin/env python3
"""Requests whose end the front door and what stands behind it could see in two places (RFC 9112 11.2): each is refused, or
passed on as the one request that it is. What goes to the backend is recorded byte by byte and read by a parser that knows
one way alone to write a request; nobody who hides a request for /smuggled in another may ever see it arrive there."""
import os, re, socket, ssl, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import h2
from lib import Cluster, eventually, main, run

HOST = b'smuggle.example'
HIDDEN = b'GET /smuggled HTTP/1.1\r\nHost: smuggle.example\r\n\r\n'
NODE = '10.42.0.1'


class Behind:
    """A backend that answers each head it sees, with its body read as its length says, and keeps everything."""

    def __init__(self, port=9300):
        self.listener = socket.create_server((NODE, port), backlog=128)
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            got = bytearray()
            self.connections.append(got)
            threading.Thread(target=self.serve, args=(s, got), daemon=True).start()

    def serve(self, s, got):
        answered = 0
        try:
            while True:
                data = s.recv(65536)
                if not data:
                    return
                got += data
                for _ in range(len(requests_of(bytes(got))[0]) - answered):
                    answered += 1
                    s.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n')
        except (OSError, AssertionError):
            pass
        finally:
            s.close()

    def seen(self):
        return [bytes(c) for c in self.connections]


TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def requests_of(got):
    """(paths of the whole requests, what is left): written in the one strict way, or an AssertionError."""
    found = []
    while True:
        end = got.find(b'\r\n\r\n')
        if end < 0:
            return found, got
        lines = got[:end].split(b'\r\n')
        line = re.fullmatch(rb'([A-Z]+) (\S+) HTTP/1\.[01]', lines[0])
        assert line, lines[0]
        fields = []
        for text in lines[1:]:
            name, colon, value = text.partition(b':')
            assert colon and TOKEN.fullmatch(name), text
            value = value.strip(b' \t')
            assert not re.search(rb'[\0\r\n]', value), text
            fields.append((name.lower(), value))
        lengths = [v for n, v in fields if n == b'content-length']
        codings = [v for n, v in fields if n == b'transfer-encoding']
        assert len(lengths) + len(codings) <= 1, fields
        assert len([1 for n, _ in fields if n == b'host']) == 1, fields
        assert all(n not in (b'content_length', b'transfer_encoding', b'x_forwarded_for') for n, _ in fields), fields
        assert not (codings and lines[0].endswith(b'1.0')), lines
        rest = got[end + 4:]
        if lengths:
            assert re.fullmatch(rb'\d{1,10}', lengths[0]), lengths
            if len(rest) < int(lengths[0]):
                return found, got
            rest = rest[int(lengths[0]):]
        elif codings:
            assert codings[0].lower() == b'chunked', codings
            while True:
                size, crlf, after = rest.partition(b'\r\n')
                if not crlf:
                    return found, got
                assert re.fullmatch(rb'[0-9a-fA-F]{1,8}', size), size
                n = int(size, 16)
                if n == 0:
                    end = 2 if after[:2] == b'\r\n' else after.find(b'\r\n\r\n') + 4
                    if end < 4 and after[:2] != b'\r\n':
                        return found, got
                    rest = after[end:]
                    break
                if len(after) < n + 2:
                    return found, got
                assert after[n:n + 2] == b'\r\n', after[:n + 2]
                rest = after[n + 2:]
        found.append(line.group(2))
        got = rest


def post(*fields, body=b'', line=b'POST /whole HTTP/1.1', host=b'Host: smuggle.example', end=b'\r\n'):
    return end.join([line] + ([host] if host else []) + list(fields)) + end + end + body


CHUNKED = b'Transfer-Encoding: chunked'
ONE = b'5\r\nhello\r\n0\r\n\r\n'
# name, bytes, whether the request itself may come through
CASES = [
    ('two lengths that agree', post(b'Content-Length: 5', b'Content-Length: 5', body=b'hello'), True),
    ('two lengths', post(b'Content-Length: 5', b'Content-Length: %d' % (5 + len(HIDDEN)), body=b'hello' + HIDDEN), False),
    ('two lengths, the longer first', post(b'Content-Length: %d' % (5 + len(HIDDEN)), b'Content-Length: 5', body=b'hello' + HIDDEN), False),
    ('a list of lengths that agree', post(b'Content-Length: 5, 5', body=b'hello'), True),
    ('a list of lengths', post(b'Content-Length: 5, 6', body=b'hello!' + HIDDEN), False),
    ('a length with a sign', post(b'Content-Length: +5', body=b'hello'), False),
    ('a negative length', post(b'Content-Length: -1', body=b'hello'), False),
    ('a length in hexadecimal', post(b'Content-Length: 0x5', body=b'hello'), False),
    ('an empty length', post(b'Content-Length: ', body=b'hello'), False),
    ('a length with letters', post(b'Content-Length: 5a', body=b'hello'), False),
    ('a length with a space in it', post(b'Content-Length: 5 0', body=b'hello' * 10), False),
    ('a length beyond 64 bits', post(b'Content-Length: 18446744073709551621', body=b'hello'), False),
    ('a length behind zeros', post(b'Content-Length: 0000000005', body=b'hello'), True),
    ('a length and chunks', post(b'Content-Length: 5', CHUNKED, body=ONE), True),
    ('chunks and a length', post(CHUNKED, b'Content-Length: %d' % (len(ONE) + len(HIDDEN)), body=ONE + HIDDEN), True),
    ('a short length and chunks', post(b'Content-Length: 4', CHUNKED, body=b'0\r\n\r\n' + HIDDEN), True),
    ('chunked and identity', post(b'Transfer-Encoding: chunked, identity', body=ONE), False),
    ('identity and chunked', post(b'Transfer-Encoding: identity, chunked', body=ONE), False),
    ('another coding', post(b'Transfer-Encoding: xchunked', body=ONE), False),
    ('a coding unknown, and a length', post(b'Transfer-Encoding: cow', b'Content-Length: 5', body=b'hello'), False),
    ('chunked twice', post(b'Transfer-Encoding: chunked, chunked', body=ONE), False),
    ('two headers of codings', post(CHUNKED, b'Transfer-Encoding: x', body=ONE), False),
    ('two headers that are chunked', post(CHUNKED, CHUNKED, body=ONE), False),
    ('a space before the colon', post(b'Transfer-Encoding : chunked', body=ONE), False),
    ('a tab before the coding', post(b'Transfer-Encoding:\tchunked', body=ONE), True),
    ('a vertical tab before the coding', post(b'Transfer-Encoding: \x0bchunked', body=ONE), False),
    ('a coding in quotes', post(b'Transfer-Encoding: "chunked"', body=ONE), False),
    ('a folded header', post(b'Transfer-Encoding:\r\n chunked', body=ONE), True),
    ('a header that begins with a space', post(b' Transfer-Encoding: chunked', body=ONE), False),
    ('a name with a space', post(b'Transfer Encoding: chunked', body=ONE), False),
    ('a name with NUL', post(b'X\x00Y: 1'), False),
    ('a value with NUL', post(b'X: 1\x002'), False),
    ('a carriage return in a value', post(b'X: 1\rTransfer-Encoding: chunked', body=ONE), False),
    ('a header without a colon', post(b'Nothing'), False),
    ('a header without a name', post(b': chunked'), False),
    ('lines that end in a line feed alone', post(b'Content-Length: 5', body=b'hello', end=b'\n'), True),
    ('one line that ends so', b'POST /whole HTTP/1.1\r\nHost: smuggle.example\nContent-Length: 5\r\n\r\nhello', True),
    ('a length hidden behind a line feed', post(b'X: 1\nContent-Length: %d' % len(HIDDEN), body=HIDDEN), True),
    ('underscores for dashes', post(b'Content_Length: %d' % len(HIDDEN), b'Content-Length: 0', body=b''), True),
    ('an address with underscores', post(b'X_Forwarded_For: 1.2.3.4'), True),
    ('a chunk with 0x', post(CHUNKED, body=b'0x5\r\nhello\r\n0\r\n\r\n'), False),
    ('a negative chunk', post(CHUNKED, body=b'-1\r\nhello\r\n0\r\n\r\n'), False),
    ('a chunk beyond 64 bits', post(CHUNKED, body=b'10000000000000005\r\nhello\r\n0\r\n\r\n'), False),
    ('a chunk with a line feed alone', post(CHUNKED, body=b'5\nhello\r\n0\r\n\r\n'), True),
    ('a chunk longer than it says', post(CHUNKED, body=b'3\r\nhello\r\n0\r\n\r\n'), False),
    ('a line feed in an extension', post(CHUNKED, body=b'5;a\nb\r\nhello\r\n0\r\n\r\n'), False),
    ('an extension', post(CHUNKED, body=b'5;name="value"\r\nhello\r\n0\r\n\r\n'), True),
    ('spaces behind a size', post(CHUNKED, body=b'5  \r\nhello\r\n0\r\n\r\n'), True),
    ('trailers that are headers', post(CHUNKED, body=b'0\r\nContent-Length: %d\r\nHost: other\r\n\r\n' % len(HIDDEN)), True),
    ('chunks in HTTP/1.0', post(CHUNKED, body=ONE, line=b'POST /whole HTTP/1.0'), True),
    ('a GET with a body', post(b'Content-Length: %d' % len(HIDDEN), body=HIDDEN, line=b'GET /whole HTTP/1.1'), True),
    ('no host', post(host=b''), False),
    ('two hosts', post(b'Host: other.example'), False),
    ('two hosts that agree', post(b'Host: smuggle.example'), True),
    ('a host with a user', post(host=b'Host: smuggle.example@other.example'), False),
    ('a host with a comma', post(host=b'Host: smuggle.example, other.example'), False),
    ('another host in the target', post(line=b'GET http://smuggle.example/whole HTTP/1.1', host=b'Host: other.example'), True),
    ('two spaces', post(line=b'GET  /whole HTTP/1.1'), True),
    ('a tab in the line', post(line=b'GET\t/whole HTTP/1.1'), True),
    ('a space in the target', post(line=b'GET /whole HTTP/1.1 HTTP/1.1'), False),
    ('another version', post(line=b'GET /whole HTTP/1.2'), True),
    ('version 2 in text', post(line=b'GET /whole HTTP/2.0'), True),
    ('a version without digits', post(line=b'GET /whole HTTP/x.y'), False),
    ('no version', post(line=b'GET /whole'), False),
    ('a method with odd bytes', post(line=b'G(T /whole HTTP/1.1'), False),
    ('a connection that takes its length away', post(b'Connection: close, Content-Length', b'Content-Length: 5', body=b'hello'), True),
    ('an upgrade to HTTP/2 in the clear', post(b'Connection: Upgrade, HTTP2-Settings', b'Upgrade: h2c', b'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
                                             line=b'GET /whole HTTP/1.1'), True),
    ('an expectation of something else', post(b'Expect: 100-continue, x', b'Content-Length: 5', body=b'hello'), True),
    ('a fragment', post(line=b'GET /whole#HTTP/1.1 HTTP/1.1'), True),
    ('an asterisk', post(line=b'GET * HTTP/1.1'), False),
    ('a target without a slash', post(line=b'GET whole HTTP/1.1'), False),
]


def answer_of(data, tls=None, port=80):
    """Everything that comes back within a moment of silence."""
    got = b''
    with socket.create_connection(('127.0.0.1', port), timeout=5) as s:
        s = tls.wrap_socket(s, server_hostname=HOST.decode()) if tls else s
        try:
            s.sendall(data)
            s.settimeout(0.25)
            while True:
                part = s.recv(65536)
                if not part:
                    break
                got += part
        except OSError:
            pass
    return got


def each_is_refused_or_one(c):
    wrong = []
    for name, data, may in CASES:
        before = len(behind.connections)
        lengths = [len(x) for x in behind.connections]
        got = answer_of(data + HIDDEN.replace(b'smuggled', b'after'))
        new = [bytes(x[lengths[i] if i < before else 0:]) for i, x in enumerate(behind.connections)]
        status = [int(s) for s in re.findall(rb'HTTP/1\.[01] (\d{3})', got)]
        try:
            paths = [p for x in new if x for p in requests_of(x)[0]]
        except AssertionError as e:
            wrong.append('%s: went to the backend as %r' % (name, str(e)[:200]))
            continue
        if b'/smuggled' in paths and name != 'a length hidden behind a line feed' or paths.count(b'/whole') > 1:
            wrong.append('%s: the backend saw %s' % (name, paths))
        if not may and any(p != b'/after' for p in paths):
            wrong.append('%s: came through as %s' % (name, paths))
        if not status or (not paths and status[0] < 400 and status[0] != 301):
            wrong.append('%s: was answered %s' % (name, status or got[:100]))
    assert not wrong, '\n' + '\n'.join(wrong)


def http2_is_one_too(c):
    """What HTTP/1.1 would say otherwise is refused where HTTP/2 becomes it (RFC 9113 8.2.1, 8.2.2)."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_alpn_protocols(['h2'])
    cases = [('a line break in a value', [('x', 'a\r\nGET /smuggled HTTP/1.1')], None, b''), ('a line break in a name', [('x\r\ny', '1')], None, b''),
             ('a colon in a name', [('x: y', '1')], None, b''), ('a line break in the path', [], '/whole HTTP/1.1\r\nx: y', b''),
             ('a space in the path', [], '/whole HTTP/1.1', b''), ('an upper-case name', [('Content-Length', '5')], None, b'hello'),
             ('chunks', [('transfer-encoding', 'chunked')], None, b'0\r\n\r\n' + HIDDEN), ('a length too short', [('content-length', '0')], None, HIDDEN),
             ('a length too long', [('content-length', '500')], None, b'x'), ('two lengths', [('content-length', '5'), ('content-length', '6')], None, b'hello'),
             ('a connection header', [('connection', 'close')], None, b''), ('another host', [('host', 'other.example')], None, b''),
             ('a name with a space', [('x y', '1')], None, b''), ('NUL in a value', [('x', 'a\0b')], None, b'')]
    wrong = []
    for name, fields, path, body in cases:
        lengths = [len(x) for x in behind.connections]
        block = h2.head('POST', path or '/whole', *fields, authority=HOST.decode())
        with socket.create_connection(('127.0.0.1', 443), timeout=5) as s, tls.wrap_socket(s, server_hostname=HOST.decode()) as s:
            try:
                s.sendall(h2.GREETING + h2.settings() + h2.frame(h2.HEADERS, h2.END_HEADERS | (0 if body else h2.END_STREAM), 1, block) +
                          (h2.frame(h2.DATA, h2.END_STREAM, 1, body) if body else b''))
                s.settimeout(0.25)
                while s.recv(65536):
                    pass
            except OSError:
                pass
        new = [bytes(x[lengths[i] if i < len(lengths) else 0:]) for i, x in enumerate(behind.connections)]
        try:
            paths = [p for x in new if x for p in requests_of(x)[0]]
        except AssertionError as e:
            wrong.append('%s: went to the backend as %r' % (name, str(e)[:200]))
            continue
        if b'/smuggled' in paths or any(p not in (b'/whole',) for p in paths) or len(paths) > 1:
            wrong.append('%s: the backend saw %s' % (name, paths))
    assert not wrong, '\n' + '\n'.join(wrong)


class Door(Cluster):
    def up(self):
        global behind
        super().up()
        behind = Behind()
        self.apply('''
apiVersion: v1
kind: Service
metadata: {name: behind}
spec: {ports: [{port: 80, targetPort: 9300}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: behind-1, labels: {kubernetes.io/service-name: behind}}
addressType: IPv4
ports: [{port: 9300}]
endpoints: [{addresses: [%s]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: smuggle, annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "false"}}
spec:
  ingressClassName: wherry
  rules:
  - host: smuggle.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: behind, port: {number: 80}}}}]}
''' % NODE)
        eventually('the door answers', lambda: run(['curl', '-s', '-m', '2', '-H', 'Host: smuggle.example', 'http://127.0.0.1/'], check=False) == 'ok\n')


if __name__ == '__main__':
    main([each_is_refused_or_one, http2_is_one_too], port=16951, image=False, cluster=Door)
