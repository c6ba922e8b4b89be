#!/usr/bin/env python3
"""HTTP/2 as it should be and as nobody should speak it: requests and their bounds, streams by the thousand, floods of every
kind of frame, readers that do not read, restarts. Others notice nothing, and the memory has a bound."""
import gzip, http.server
from h2 import *
from hostile_test import BOUND, SLOW, Attacked, Neighbour, metric, report, resident
from limits_test import Line, fill
from lib import *
from ops_test import supervisor

CM = '/api/v1/namespaces/default/configmaps'


def requests(c):
    """Each gets its status; what is malformed is an error of its stream, and the connection serves on."""
    long = 'x' * 3000
    rows = [
        ('an object', head('GET', CM + '/kube-root-ca.crt'), None, 200),
        ('what is not there', head('GET', CM + '/none'), None, 404),
        ('HEAD', head('HEAD', '/readyz'), None, 200),
        ('a host as field', head('GET', '/version', ('host', 'x'), authority=None), None, 200),
        ('two hosts', head('GET', '/version', ('host', 'y'), authority='x'), None, 400),
        ('a path with what is no ASCII', head('GET', '/\xe4'), None, 400),
        ('CONNECT', field(':method', 'CONNECT') + field(':authority', 'x:1'), None, 501),
        ('an odd expectation', head('POST', CM, ('expect', 'magic')), b'{}', 417),
        ('a long path', head('GET', '/' + 'x' * 49200), None, 414),
        ('many fields', head('GET', '/version', *((('x-%d' % i), 'y') for i in range(200))), None, 431),
        ('a large head', head('GET', '/version', *((('x-%d' % i), long) for i in range(30))), None, 431),
        ('a large body', head('POST', CM, ('content-length', str(1 << 23))), b'', 413),
        ('te trailers', head('GET', '/version', ('te', 'trailers')), None, 200),
        ('trailers', head('POST', CM + '?dryRun=All', ('content-type', 'application/json')), (b'{"metadata":{"name":"t"}}', field('x-sum', '1')), 201),
        ('names in capitals', head('GET', '/version', ('X-Large', '1')), None, PROTOCOL),
        ('connection', head('GET', '/version', ('connection', 'close')), None, PROTOCOL),
        ('upgrade', head('GET', '/version', ('upgrade', 'websocket')), None, PROTOCOL),
        ('transfer-encoding', head('POST', CM, ('transfer-encoding', 'chunked')), b'{}', PROTOCOL),
        ('te gzip', head('GET', '/version', ('te', 'gzip')), None, PROTOCOL),
        ('no path', field(':method', 'GET') + field(':scheme', 'https') + field(':authority', 'x'), None, PROTOCOL),
        ('an absolute path', head('GET', 'https://x/version'), None, PROTOCOL),
        ('a pseudo field behind', head('GET', '/version') + field('a', 'b') + field(':path', '/x'), None, PROTOCOL),
        ('an unknown pseudo field', head('GET', '/version') + field(':what', 'b'), None, PROTOCOL),
        ('a line end in a value', head('GET', '/version', ('a', 'b\r\nc: d')), None, PROTOCOL),
        ('less than it said', head('POST', CM, ('content-type', 'application/json'), ('content-length', '9')), b'{}', PROTOCOL),
        ('more than it said', head('POST', CM, ('content-type', 'application/json'), ('content-length', '1')), b'{}', PROTOCOL),
    ]
    wrong = []
    with H2(c.raw) as h:
        for what, block, body, want in rows:
            n = h.stream()
            pieces = [block[i:i + 16000] for i in range(0, len(block), 16000)]
            out = b''.join(frame(CONTINUATION if i else HEADERS, (END_HEADERS if i + 1 == len(pieces) else 0) | (0 if i or body is not None else END_STREAM), n, p)
                           for i, p in enumerate(pieces))
            if isinstance(body, tuple):
                out += frame(DATA, 0, n, body[0]) + frame(HEADERS, END_HEADERS | END_STREAM, n, body[1])
            elif body is not None:
                out += frame(DATA, END_STREAM if body else 0, n, body)
            h.send(out)
            a = h.answer(n)
            got = a.status or a.code
            if got != want or not h.alive():
                wrong.append('%s: %s, wanted %s %r' % (what, got, want, a.body[:200]))
        assert h.why is None, h.why
    report('requests', len(rows), wrong)


def an_expectation(c):
    """Its body comes when it is asked for."""
    with H2(c.raw) as h:
        n = h.ask('POST', CM + '?dryRun=All', b'', ('expect', '100-continue'), end=False)
        a = h.answers[n]
        while not a.statuses:
            h.take()
        assert a.statuses == [100], a.statuses
        h.send(frame(DATA, END_STREAM, n, b'{"metadata":{"name":"expected"}}'))
        assert h.answer(n).statuses == [100, 201], (a.statuses, a.body)


def bodies_of_size(c):
    """A body of a MiB there and back, through windows much smaller."""
    data = {'a': 'x' * 900000}
    with H2(c.raw) as h:
        n = h.ask('POST', CM, b'', end=False)
        body, at = json.dumps({'metadata': {'name': 'of-size'}, 'data': data}).encode(), 0
        line, mine = 65535, 65535
        h.take()
        mine = h.settings[4]
        came = h.came

        def windows(kind, flags, stream, payload):
            nonlocal line, mine
            if kind == WINDOW:
                more = int.from_bytes(payload, 'big')
                line, mine = line + (more if not stream else 0), mine + (more if stream == n else 0)
            came(kind, flags, stream, payload)
        h.came = windows
        while at < len(body):
            part = body[at:at + min(16384, line, mine)]
            if not part:
                h.take()
                continue
            at, line, mine = at + len(part), line - len(part), mine - len(part)
            h.send(frame(DATA, END_STREAM if at == len(body) else 0, n, part))
        assert h.answer(n).status == 201, h.answers[n].body[:300]
        got = h.get(CM + '/of-size')
        assert got.status == 200 and json.loads(got.body)['data'] == data
        assert h.answer(h.ask('DELETE', CM + '/of-size')).status == 200


def through_a_proxy(c):
    """What speaks HTTP/1.1 behind it: a node, and a program that takes a body by pieces and answers with it."""
    class Echo(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_POST(self):
            body = b''
            if self.headers.get('Transfer-Encoding') == 'chunked':
                while (n := int(self.rfile.readline(), 16)):
                    body += self.rfile.read(n)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers['Content-Length']))
            self.send_response(200)
            self.send_header('X-Cookie', self.headers.get('Cookie', ''))
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *unused):
            pass
    node = c.get('nodes')['items'][0]
    address = next(a['address'] for a in node['status']['addresses'] if a['type'] == 'InternalIP')
    server = http.server.ThreadingHTTPServer((address, 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with H2(c.raw) as h:
        a = h.get('/api/v1/nodes/%s/proxy/healthz' % node['metadata']['name'])
        assert a.status == 200 and a.ended, (a.status, a.body)
        path, body = '/api/v1/nodes/%s:%d/proxy/x' % (node['metadata']['name'], server.server_port), os.urandom(100000)
        while 4 not in h.settings:
            h.take()
        for more in ((), (('content-length', '100000'),)):
            a = h.answer(h.ask('POST', path, body, ('cookie', 'a=1'), ('cookie', 'b=2'), *more))
            assert a.status == 200 and a.body == body, (a.status, a.code, a.body[:200])
        server.shutdown()
        server.server_close()
        assert h.answer(h.ask('POST', path, b'x')).status == 503


def compressed(c):
    """What is large and asked for so: lists and objects, in both versions of HTTP; not what is small, nor watches."""
    fill(c, 150, 20000)
    wanted = ('accept-encoding', 'gzip')
    big = {'metadata': {'name': 'big'}, 'data': {'a': 'xyz ' * 200000}}
    assert c.raw.ask('POST', CM, big)[0] in (201, 409)
    with H2(c.raw) as h:
        names = {i['metadata']['name'] for i in json.loads(h.get(CM).body)['items']}
        for path in (CM, CM + '?limit=40', CM + '/big'):
            plain, small = h.get(path).body, h.get(path, wanted).body
            assert len(small) < len(plain) / 4 and small[:2] == b'\x1f\x8b', (path, len(plain), len(small))
            there = json.loads(gzip.decompress(small))
            if path != CM + '/big':
                assert len(there['items']) == len(json.loads(plain)['items']) and {i['metadata']['name'] for i in there['items']} <= names
            else:
                assert there['data'] == big['data']
            line = c.raw.ask('GET', path, headers=[('Accept-Encoding', 'gzip')])
            assert line[1].get('content-encoding') == 'gzip' and line[1].get('vary') == 'Accept-Encoding', line[1]
        assert h.get(CM + '/kube-root-ca.crt', wanted).body[:1] == b'{'
        pb = ('accept', 'application/vnd.kubernetes.protobuf')
        assert gzip.decompress(h.get(CM, wanted, pb).body)[:4] == b'k8s\0'
        n = h.ask('GET', CM + '?watch=1', None, wanted)
        a = h.answers[n]
        while len(a.body) < 1 << 20:
            h.take()
        assert a.body[:1] == b'{', a.body[:20]


def streams_by_the_thousand(c):
    """Two thousand watches on one connection, and requests beside them; each hears of its own."""
    most = c.limit['WATCHERS_PER_USER']
    with H2(c.raw) as h:
        before = resident(c)
        path = CM + '?watch=1&resourceVersion=%s&fieldSelector=metadata.name%%3D' % json.loads(h.get(CM).body)['metadata']['resourceVersion']
        watches = [h.ask('GET', path + 'many-%d' % i) for i in range(1000)]
        while not all(h.answers[n].status == 200 for n in watches):
            assert h.take()
        if SLOW == 1:
            print('     %d bytes a watch' % ((resident(c) - before) // 1000))
            assert resident(c) - before < 1000 * 4096 + (1 << 20), (resident(c) - before) // 1000
        more = [h.ask('GET', path + 'many-%d' % i) for i in range(most - 1000)]
        for n in more:
            while not h.answers[n].status:
                assert h.take()
        assert h.get(CM + '?watch=1').status == 429 or metric(c, 'wherry_watches') > most
        for i in (0, 500, 999):
            assert h.answer(h.ask('POST', CM, {'metadata': {'name': 'many-%d' % i}})).status == 201
        while not all(b'many-%d"' % i in h.answers[watches[i]].body for i in (0, 500, 999)):
            assert h.take()
        assert not any(h.answers[n].body for i, n in enumerate(watches) if i not in (0, 500, 999))
        h.send(b''.join(reset(n) for n in watches + more))
        assert h.alive()
        eventually('they are over', lambda: metric(c, 'wherry_watches') < 100)
    assert h.settings[3] == c.limit['STREAMS'], h.settings


def more_streams_than_there_may_be(c):
    """An address has as many requests under way as it may have connections, on however many of them: more are refused, each by
    itself, and who asked may ask again."""
    most = c.limit['CONNECTIONS_PER_ADDRESS']
    with H2(c.raw) as one, H2(c.raw) as other:
        n = [[h.ask('POST', CM, b'', end=False) for _ in range(most // 2 + 50)] for h in (one, other)]
        while sum(other.answers[i].code == REFUSED for i in n[1]) < 50:
            assert other.take()
        assert not any(one.answers[i].over() for i in n[0]), 'the first had room'
        one.send(b''.join(reset(i) for i in n[0]))
        assert one.alive() and other.alive()
        again = other.ask('POST', CM, b'', end=False)
        other.send(reset(again) + b''.join(reset(i) for i in n[1] if other.answers[i].code is None))
        assert other.alive() and other.answers[again].code is None


def floods(c):
    """Of every kind of frame: whoever makes one is told to be calm, and ends; a neighbour notices nothing, no memory stays."""
    get = lambda n: frame(HEADERS, END_HEADERS | END_STREAM, n, head('GET', CM))
    bomb = field('x', 'y' * 4000, 0x40)

    def numbered(one, each=400):
        """Streams 1, 3, 5 ..."""
        def more(i):
            return b''.join(one(1 + 2 * (i * each + k)) for k in range(each))
        return more
    rows = [
        ('requests that are reset', numbered(lambda n: get(n) + reset(n))),
        ('requests that provoke a reset', numbered(lambda n: frame(HEADERS, END_HEADERS, n, head('POST', CM)) + window(n, 0))),
        ('malformed requests', numbered(lambda n: frame(HEADERS, END_HEADERS | END_STREAM, n, head('GET', '/', ('A', 'b'))))),
        ('settings', lambda i: settings(window=65535 + i % 9) * 1000),
        ('pings', lambda i: frame(PING, 0, 0, b'12345678') * 1000),
        ('priorities', lambda i: frame(PRIORITY, 0, 1 + 2 * (i % 1000), struct.pack('>IB', 0, 1)) * 1000),
        ('empty data', lambda i: (frame(HEADERS, END_HEADERS, 1, head('POST', CM)) if i == 0 else b'') + frame(DATA, 0, 1) * 1000),
        ('padding alone', lambda i: (frame(HEADERS, END_HEADERS, 1, head('POST', CM)) if i == 0 else b'') + frame(DATA, PADDED, 1, b'\xff' + bytes(255)) * 100),
        ('windows by a byte', lambda i: window(0, 1) * 1000),
        ('kinds that nobody knows', lambda i: frame(0x55, 0, 0, b'what') * 1000),
        ('continuations', lambda i: frame(HEADERS, 0, 1, head('GET', '/')) if i == 0 else frame(CONTINUATION, 0, 1, field('x-%d' % i, 'y')) * 20),
        ('a head that grows', lambda i: frame(HEADERS, 0, 1, head('GET', '/') + bomb + b'\xbe' * 12000) if i == 0 else frame(CONTINUATION, 0, 1, b'\xbe' * 16000)),
    ]
    wrong = []
    before = resident(c)
    for what, more in rows:
        with Neighbour(c.raw) as n, H2(c.raw) as h:
            eventually('the neighbour reads', lambda: n.times)
            sent = h.flood(more, 60 * SLOW)
            if sent is None or h.why == NO_ERROR:
                wrong.append('%s: %s, GOAWAY says %s' % (what, 'went on for a minute' if sent is None else 'ended', h.why))
        if n.worst() > BOUND:
            wrong.append('%s: the neighbour waited for %.1f s' % (what, n.worst()))
        if SLOW == 1 and resident(c) > before + (60 << 20):
            wrong.append('%s: %d MiB more' % (what, (resident(c) - before) >> 20))
    report('floods', len(rows), wrong)
    eventually('nothing is under way', lambda: metric(c, 'wherry_http_body_bytes') == 0)


def a_head_without_end(c):
    """Its time is over when that of one in HTTP/1.1 would be; so is that of who greets and says nothing more of it."""
    late = metric(c, 'wherry_http_timeouts_total')
    with Neighbour(c.raw) as n, H2(c.raw, timeout=60 * SLOW) as h, H2(c.raw, timeout=60 * SLOW) as silent:
        assert h.alive()
        h.send(frame(HEADERS, 0, h.stream(), head('GET', '/')))
        silent.s.sendall(b'\0')
        h.until_closed()
    assert metric(c, 'wherry_http_timeouts_total') > late and n.worst() < BOUND, n.worst()


def windows_that_stay_shut(c):
    """Who asks for large lists and takes nothing of them holds no more than what one line may, and his own further requests;
    others are served. What he was not given yet he gets when he reads."""
    fill(c, 150, 20000)
    before = resident(c)
    with Neighbour(c.raw) as n, H2(c.raw, greedy=False, first=settings(table=0, window=0)) as h:
        asked = [h.ask('GET', CM) for _ in range(1000)]
        eventually('answers wait', lambda: metric(c, 'wherry_http_queued_bytes') > 1 << 20)
        for _ in range(20):
            assert metric(c, 'wherry_http_queued_bytes') < 64 << 20, metric(c, 'wherry_http_queued_bytes')    # of 3 GB; some had begun
            time.sleep(0.05)
        if SLOW == 1:
            assert resident(c) < before + (100 << 20), (before >> 20, resident(c) >> 20)
        h.greedy = True
        kept = size(8, 100)
        h.send(b''.join(reset(i) for i in asked[kept:]) + settings(window=1 << 20) + window(0, 1 << 30))
        for i in asked[:kept]:
            a = h.answer(i)
            assert a.status == 200 and a.ended and json.loads(a.body)['kind'] == 'ConfigMapList', (i, a.status, a.code)
            a.body = b''
    assert n.worst() < BOUND, n.worst()


def a_watch_that_is_not_read(c):
    """What waits for it has the bound of any watch; the others of its connection go on."""
    with Neighbour(c.raw) as n, H2(c.raw, greedy=False, first=settings(table=0, window=65535)) as h:
        h.send(window(0, 1 << 30))
        slow = h.ask('GET', CM + '?watch=1&fieldSelector=metadata.name%3Dgrowing')
        c.raw.ask('POST', CM, {'metadata': {'name': 'growing'}})
        line = Line(c)
        for i in range(12):
            status, text = line.call('PATCH', CM + '/growing', ('{"data":{"a":"%d%s"}}' % (i, 'x' * 900000)).encode(), 'application/merge-patch+json',
                                     'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io')
            assert status == 200, text
            assert h.get('/readyz').status == 200
        assert metric(c, 'wherry_http_queued_bytes') < c.limit['CONNECTION_BUFFER'] + (4 << 20)
        assert h.answer(slow).over() and h.alive()
    assert n.worst() < BOUND, n.worst()
    c.raw.ask('DELETE', CM + '/growing')


def restarts_lose_nothing(c):
    """Writers on HTTP/2 while the server is started anew: each write is answered once, or GOAWAY says that it was not looked
    at. Who makes those again makes none twice."""
    stop, wrong, made, again = threading.Event(), [], [], []

    def writer(k):
        i, h, todo = 0, None, []
        while not stop.is_set() or todo:
            if h is None:
                try:
                    h = H2(c.raw)
                except OSError:
                    time.sleep(0.02)
                    continue
            names = todo or ['w%d-%d' % (k, i + j) for j in range(8)]
            i, todo = i + (0 if todo else 8), []
            asked = []
            try:
                for name in names:
                    asked.append((name, h.ask('POST', CM, {'metadata': {'name': name, 'labels': {'of': 'writers'}}})))
                for name, n in asked:
                    h.answer(n)
            except OSError as e:
                wrong.append('writer %d: %r, GOAWAY %s' % (k, e, h.last)) if h.last is None else None
            done = dict(asked)
            for name in names:
                a = h.answers.get(done.get(name, 0))
                if a and a.status == 201:
                    made.append(name)
                elif a is None or a.code == REFUSED or (h.last is not None and done[name] > h.last):
                    todo.append(name)
                    again.append(name)
                else:
                    wrong.append('%s: %d %s, stream %s, GOAWAY %s %r' % (name, a.status, a.code, done[name], h.last, a.body[:200]))
            if h.last is not None or h.closed or todo:
                h.s.close()
                h = None
    watching = H2(c.raw)
    n = watching.ask('GET', CM + '?watch=1&fieldSelector=metadata.name%3Dwatched')
    threads = [threading.Thread(target=writer, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for _ in range(size(4, 20)):
        have, pid = len(made), c.role_pid('server')
        eventually('they write', lambda: len(made) > have + 50 or wrong, timeout=60 * SLOW)
        os.kill(supervisor(c), signal.SIGHUP)
        eventually('another server', lambda: c.role_pid('server') not in (None, pid), timeout=60 * SLOW)
    stop.set()
    for t in threads:
        t.join()
    a = watching.answer(n)
    assert a.ended and a.code is None, 'the watch did not end in order: %s' % a.code
    assert not wrong, '%d of %d:\n%s' % (len(wrong), len(made), '\n'.join(wrong[:10]))
    there = [i['metadata']['name'] for i in json.loads(c.raw.ask('GET', CM + '?labelSelector=of%3Dwriters')[2])['items']]
    assert sorted(there) == sorted(made), (len(there), len(made))
    print('     %d writes, %d of them asked for again' % (len(made), len(again)))
    c.raw.ask('DELETE', CM + '?labelSelector=of%3Dwriters')


if __name__ == '__main__':
    main([requests, an_expectation, bodies_of_size, through_a_proxy, compressed, streams_by_the_thousand, more_streams_than_there_may_be, floods, a_head_without_end,
          windows_that_stay_shut, a_watch_that_is_not_read, restarts_lose_nothing], port=16491, cluster=Attacked)
