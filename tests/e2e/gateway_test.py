#!/usr/bin/env python3
"""Gateways end to end: the specification's definitions, real requests through the front door for every match and filter,
and what the statuses say of them. Backends are servers of this program behind EndpointSlices written by hand, so that no
pod has to be started."""
import base64, http.client, http.server, json, os, signal, socket, ssl, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import h2, lib
from lib import Cluster, eventually, main, run

NODE, BACK = '10.98.0.1', '10.99.0.%d'      # addresses of this namespace
NAMES = {'a': 1, 'b': 2, 'c': 3}


class Back(http.server.BaseHTTPRequestHandler):
    """Says who it is and what it was asked. Headers of the request tell what else it does."""
    protocol_version = 'HTTP/1.1'
    seen, failures, lock = {}, {}, threading.Lock()

    def answer(self):
        who = self.server.who
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        with Back.lock:
            Back.seen.setdefault((who, self.path), []).append(self.command)
            left = Back.failures.setdefault((self.path, self.headers.get('X-Fail')), int(self.headers.get('X-Fail') or 0))
            Back.failures[self.path, self.headers.get('X-Fail')] -= left > 0
        if self.headers.get('X-Sleep'):
            time.sleep(float(self.headers['X-Sleep']))
        code = int(self.headers.get('X-Code') or 503) if left > 0 else 200
        said = json.dumps({'who': who, 'method': self.command, 'path': self.path, 'body': body.decode(),
                           'headers': {k.lower(): ', '.join(self.headers.get_all(k)) for k in self.headers}}).encode()
        self.send_response(code)
        for k, v in (('Content-Type', 'application/json'), ('Content-Length', len(said)), ('X-Remove', 'x'), ('X-Set', 'backend'), ('X-Add', 'backend')):
            self.send_header(k, str(v))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(said)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer

    def log_message(self, *unused):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *unused):
        pass                                # the door takes connections away when it pleases


class Grpc(threading.Thread):
    """HTTP/2 in the clear by prior knowledge: answers every request with its name and path, as gRPC does with a message."""

    def __init__(self, who, address):
        super().__init__(daemon=True)
        self.who, self.s = who, socket.create_server((address, 9001))
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.serve, args=[self.s.accept()[0]], daemon=True).start()

    def serve(self, s):
        try:
            self.answer(s)
        except OSError:
            pass                            # the door takes connections away when it pleases

    def answer(self, s):
        f = s.makefile('rb')
        if f.read(len(h2.GREETING)) != h2.GREETING:
            return
        s.sendall(h2.settings())
        while True:
            top = f.read(9)
            if len(top) < 9:
                return
            n, kind, flags, stream = int.from_bytes(top[:3], 'big'), top[3], top[4], int.from_bytes(top[5:], 'big')
            payload = f.read(n)
            if kind == h2.SETTINGS and not flags & h2.ACK:
                s.sendall(h2.frame(h2.SETTINGS, h2.ACK, 0))
            elif kind == h2.PING and not flags & h2.ACK:
                s.sendall(h2.frame(h2.PING, h2.ACK, 0, payload))
            elif kind == h2.HEADERS:
                Back.seen.setdefault((self.who, 'grpc'), []).append(payload)
                s.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, b'\x88' + h2.field('content-type', 'application/grpc') + h2.field('x-who', self.who)) +
                          h2.frame(h2.DATA, 0, stream, b'\0\0\0\0\0') +
                          h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, h2.field('grpc-status', '0')))


def call(path, host, *more):
    """A gRPC call's (status, name of the server)."""
    with socket.create_connection((NODE, 80), 5) as s:
        s.sendall(h2.GREETING + h2.settings(table=0) + h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.head(
            'POST', path, ('content-type', 'application/grpc'), ('te', 'trailers'), *more, scheme='http', authority=host)) +
                  h2.frame(h2.DATA, h2.END_STREAM, 1, b'\0\0\0\0\0'))
        f = s.makefile('rb')
        while True:
            top = f.read(9)
            payload = f.read(int.from_bytes(top[:3], 'big'))
            if top[3] == h2.HEADERS and top[8] == 1:
                status = h2.status_of(payload)
                return next((w for w in NAMES if b'x-who' + bytes([len(w)]) + w.encode() in payload), status) if status == 200 else status


def backends():
    for address in [NODE] + [BACK % i for i in NAMES.values()]:
        run(['ip', 'addr', 'add', address + '/32', 'dev', 'lo'], check=False)
    for who, i in NAMES.items():
        server = Server((BACK % i, 9000), Back)
        server.who = who
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Grpc(who, BACK % i)


def service(name, i, ns='default', protocol=''):
    return '''
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {ports: [{name: http, port: 80, targetPort: 9000%s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-1, namespace: %s, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
endpoints: [{addresses: ["%s"], conditions: {ready: true}}]
ports: [{name: http, port: 9000, protocol: TCP}]
---
''' % (name, ns, ', appProtocol: ' + protocol if protocol else '', name, ns, name, BACK % i)


def gateway(listeners, name='web', more=''):
    return '''
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s}
spec: {gatewayClassName: wherry, listeners: [%s]%s}
---
''' % (name, listeners, more)


def route(name, rules, hosts='', refs='[{name: web}]', ns='default', kind='HTTPRoute'):
    return '''
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s, namespace: %s}
spec: {parentRefs: %s%s, rules: %s}
---
''' % (kind, name, ns, refs, ', hostnames: [%s]' % hosts if hosts else '', rules)


def ask(path='/', host='x.example', method='GET', headers=None, port=80, address=NODE, body=None, timeout=10):
    """(status, headers, what the backend said or None)"""
    c = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        c.request(method, path, body, dict({'Host': host}, **(headers or {})))
        r = c.getresponse()
        text = r.read()
        kept = {}
        for k, v in r.getheaders():
            kept[k.lower()] = kept[k.lower()] + ', ' + v if k.lower() in kept else v
        try:
            return r.status, kept, json.loads(text)
        except ValueError:
            return r.status, kept, None
    finally:
        c.close()


def who(*args, **kw):
    status, _, said = ask(*args, **kw)
    return said['who'] if status == 200 and said else status


def conditions(o, *path):
    at = o['status']
    for p in path:
        at = at[p]
    return {c['type']: c['reason'] if c['status'] == 'True' else '!' + c['reason'] for c in at['conditions']}


def parent(c, name, i=0, kind='httproute', ns='default'):
    return conditions(c.get(kind, name, '-n', ns), 'parents', i)


HTTP = '{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}'
B = lambda name, weight=1, more='': '{name: %s, port: 80, weight: %d%s}' % (name, weight, more)
R = lambda to, more='', match='': '{%sbackendRefs: [%s]%s}' % ('matches: [%s], ' % match if match else '', to, more)


def begin(c):
    backends()
    eventually('GatewayClass is accepted', lambda: conditions(c.get('gatewayclass', 'wherry'))['Accepted'] == 'Accepted')
    c.apply('{apiVersion: v1, kind: Node, metadata: {name: n1}}')
    c.kubectl('patch', 'node', 'n1', '--subresource=status', '--type=merge', '-p',
              '{"status":{"addresses":[{"type":"InternalIP","address":"%s"}]}}' % NODE)
    c.apply(''.join(service(n, i) for n, i in NAMES.items()) + gateway(HTTP))
    eventually('Gateway is programmed', lambda: conditions(c.get('gateway', 'web'))['Programmed'] == 'Programmed')
    assert c.get('gateway', 'web')['status']['addresses'] == [{'type': 'IPAddress', 'value': NODE}]


def a_route_is_served_and_goes(c):
    c.apply(route('one', '[%s]' % R(B('a')), 'one.example'))
    eventually('it is served', lambda: who(host='one.example') == 'a')
    assert parent(c, 'one') == {'Accepted': 'Accepted', 'ResolvedRefs': 'ResolvedRefs'}, parent(c, 'one')
    assert who(host='other.example') == 404
    assert c.get('gateway', 'web')['status']['listeners'][0]['attachedRoutes'] == 1
    why = c.wherry('why', 'httproute/one')
    assert 'is as declared' in why, why
    c.kubectl('delete', 'httproute', 'one')
    eventually('it is not served', lambda: who(host='one.example') == 404)


def matches(c):
    x = lambda to, match: R(B(to), '', match)
    c.apply(route('matches', '[%s]' % ', '.join([
        x('a', '{path: {type: Exact, value: /exact}}'),
        x('b', '{path: {type: PathPrefix, value: /exact}}'),
        x('a', '{path: {value: /p}}'),
        x('b', '{path: {value: /p/q}}'),
        x('a', '{path: {type: RegularExpression, value: "/r[0-9]+/x"}}'),
        x('a', '{path: {value: /m}, method: POST}'),
        x('b', '{path: {value: /m}}'),
        x('a', '{path: {value: /h}, headers: [{name: Version, value: one}]}'),
        x('b', '{path: {value: /h}, headers: [{type: RegularExpression, name: version, value: "t.*"}]}'),
        x('c', '{path: {value: /h}, headers: [{name: version, value: one}, {name: color, value: red}]}'),
        x('a', '{path: {value: /q}, queryParams: [{name: animal, value: whale}]}'),
        x('b', '{path: {value: /q}, queryParams: [{type: RegularExpression, name: animal, value: "d.*"}]}'),
        x('c', '{path: {value: /or}, method: PUT}, {path: {value: /or2}}'),
    ]), 'm.example'))
    eventually('it is served', lambda: who('/p', 'm.example') == 'a')
    for path, headers, method, want in [
            ('/exact', {}, 'GET', 'a'), ('/exact/', {}, 'GET', 'b'), ('/exact/x', {}, 'GET', 'b'), ('/exactly', {}, 'GET', 404),
            ('/p', {}, 'GET', 'a'), ('/p/x', {}, 'GET', 'a'), ('/px', {}, 'GET', 404), ('/p/q', {}, 'GET', 'b'), ('/p/q/z', {}, 'GET', 'b'),
            ('/p/qq', {}, 'GET', 'a'), ('/p?x=/p/q', {}, 'GET', 'a'), ('/r12/x', {}, 'GET', 'a'), ('/r/x', {}, 'GET', 404),
            ('/m', {}, 'POST', 'a'), ('/m', {}, 'GET', 'b'), ('/m', {}, 'PUT', 'b'),
            ('/h', {'version': 'one'}, 'GET', 'a'), ('/h', {'VERSION': 'two'}, 'GET', 'b'), ('/h', {}, 'GET', 404), ('/h', {'version': 'One'}, 'GET', 404),
            ('/h', {'version': 'one', 'color': 'red'}, 'GET', 'c'),
            ('/q?animal=whale', {}, 'GET', 'a'), ('/q?animal=dolphin', {}, 'GET', 'b'), ('/q?animal=Whale', {}, 'GET', 404), ('/q', {}, 'GET', 404),
            ('/q?z=1&animal=whale', {}, 'GET', 'a'), ('/q?animal=whale&animal=dolphin', {}, 'GET', 'a'),
            ('/or', {}, 'PUT', 'c'), ('/or', {}, 'GET', 404), ('/or2', {}, 'GET', 'c'), ('/', {}, 'GET', 404)]:
        assert who(path, 'm.example', method, headers) == want, (method, path, headers, who(path, 'm.example', method, headers), want)


def hostnames_and_listeners(c):
    """The narrowest listener has a request, and no other; a route's rules count wherever its hosts and the listener's meet."""
    L = lambda n, h: '{name: %s, port: 8080, protocol: HTTP%s}' % (n, ', hostname: "%s"' % h if h else '')
    c.apply(gateway(', '.join([L('all', ''), L('wild', '*.example.com'), L('deep', '*.foo.example.com'), L('one', 'abc.foo.example.com')]), 'hosts'))
    ref = lambda s: '[{name: hosts, sectionName: %s}]' % s
    c.apply(route('h-all', '[%s]' % R(B('a'), '', '{path: {value: /all}}'), refs=ref('all')) +
            route('h-wild', '[%s]' % R(B('b'), '', '{path: {value: /wild}}'), refs=ref('wild')) +
            route('h-deep', '[%s]' % R(B('c'), '', '{path: {value: /deep}}'), refs=ref('deep')) +
            route('h-one', '[%s]' % R(B('a'), '', '{path: {value: /one}}'), refs=ref('one')) +
            route('h-none', '[%s]' % R(B('a')), 'nothing.example.org', refs=ref('one')))
    eventually('served', lambda: who('/one', 'abc.foo.example.com', port=8080) == 'a')
    for host, good in [('bar.com', 'all'), ('example.com', 'all'), ('x.example.com', 'wild'), ('x.y.example.com', 'wild'), ('x.foo.example.com', 'deep'),
                       ('x.y.foo.example.com', 'deep'), ('abc.foo.example.com', 'one'), ('ABC.foo.example.com', 'one'), ('abc.foo.example.com:8080', 'one')]:
        for path in 'all', 'wild', 'deep', 'one':
            got = who('/' + path, host, port=8080)
            assert (got != 404) == (path == good), (host, path, got)
    assert parent(c, 'h-none')['Accepted'] == '!NoMatchingListenerHostname'
    c.kubectl('delete', 'gateway', 'hosts')
    eventually('entries of what is gone go', lambda: c.get('httproute', 'h-all')['status']['parents'] == [])
    c.kubectl('delete', 'httproute', 'h-all', 'h-wild', 'h-deep', 'h-one', 'h-none')


def references(c):
    """What may not be used, or is not there, is answered 500 by its share."""
    c.kubectl('create', 'namespace', 'other')
    c.kubectl('apply', '-f', '-', input=service('far', 3, 'other'))
    c.apply(route('refs', '[%s]' % ', '.join([
        R('{name: far, namespace: other, port: 80}', '', '{path: {value: /far}}'), R(B('none'), '', '{path: {value: /none}}'),
        R('{group: example.org, kind: Bucket, name: a, port: 80}', '', '{path: {value: /kind}}'), R(B('a') + ', ' + B('none'), '', '{path: {value: /half}}'),
        '{matches: [{path: {value: /nothing}}]}', R(B('a', 0), '', '{path: {value: /zero}}'), R(B('a'), '', '{path: {value: /a}}'),
    ]), 'r.example'))
    eventually('served', lambda: who('/a', 'r.example') == 'a')
    for path in '/far', '/none', '/kind', '/nothing', '/zero':
        assert who(path, 'r.example') == 500, (path, who(path, 'r.example'))
    eventually('half', lambda: who('/half', 'r.example') == 'a')
    got = [who('/half', 'r.example') for _ in range(100)]
    assert set(got) == {'a', 500} and 25 <= got.count(500) <= 75, got
    assert parent(c, 'refs')['ResolvedRefs'] == '!RefNotPermitted', parent(c, 'refs')
    c.apply('''
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: grant, namespace: other}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], to: [{group: "", kind: Service, name: far}]}
''', 'other')
    eventually('the grant opens it', lambda: who('/far', 'r.example') == 'c')
    c.kubectl('delete', 'referencegrant', 'grant', '-n', 'other')
    eventually('and without it it is closed', lambda: who('/far', 'r.example') == 500)
    c.kubectl('apply', '-f', '-', input=route('guest', '[%s]' % R(B('far')), 'guest.example', '[{name: web, namespace: default}]', 'other'))
    eventually('a route of another namespace', lambda: who(host='guest.example') == 'c')
    c.kubectl('patch', 'gateway', 'web', '--type=json', '-p', '[{"op":"replace","path":"/spec/listeners/0/allowedRoutes/namespaces/from","value":"Same"}]')
    eventually('is not taken any more', lambda: who(host='guest.example') == 404)
    assert parent(c, 'guest', ns='other')['Accepted'] == '!NotAllowedByListeners'
    c.kubectl('patch', 'gateway', 'web', '--type=json', '-p', '[{"op":"replace","path":"/spec/listeners/0/allowedRoutes/namespaces/from","value":"All"}]')


def weights(c):
    c.apply(route('weights', '[%s]' % R(B('a', 70) + ', ' + B('b', 30) + ', ' + B('c', 0)), 'w.example'))
    eventually('served', lambda: who(host='w.example') in ('a', 'b'))
    got = [who(host='w.example') for _ in range(300)]
    assert got.count('c') == 0 and 60 <= got.count('b') <= 120, [got.count(x) for x in 'abc']
    head = lambda v: ', filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Who, value: %s}]}}]' % v
    c.apply(route('weights', '[%s]' % R(B('a', 50, head('first')) + ', ' + B('b', 50, head('second'))), 'w.example'))
    eventually('filters of backends', lambda: (ask(host='w.example')[2] or {'headers': {}})['headers'].get('x-who'))
    got = [ask(host='w.example')[2] for _ in range(100)]
    assert all(g['headers']['x-who'] == {'a': 'first', 'b': 'second'}[g['who']] for g in got)
    assert 25 <= sum(g['who'] == 'a' for g in got) <= 75


def headers(c):
    f = '''filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: "set it; %[x] \\"y\\""}], add: [{name: X-Add, value: added}], remove: [X-Remove]}},
      {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Set, value: door}], add: [{name: X-Add, value: door}], remove: [X-Remove]}}], '''
    c.apply(route('headers', '[{%sbackendRefs: [%s]}]' % (f, B('a')), 'h.example'))
    first = eventually('served', lambda: next((got for got in [ask(host='h.example')] if got[0] == 200), None), every=0.005)
    assert first[1]['x-set'] == 'door', 'a route is never served without its filters: %s' % first[1]
    _, out, said = ask(host='h.example', headers={'X-Set': 'client', 'x-add': 'client', 'X-REMOVE': 'client'})
    got = said['headers']
    assert got['x-set'] == 'set it; %[x] "y"' and got['x-add'].replace(' ', '') == 'client,added' and 'x-remove' not in got, got
    assert out['x-set'] == 'door' and out['x-add'].replace(' ', '') == 'backend,door' and 'x-remove' not in out, out


def redirects_and_rewrites(c):
    r = lambda path, more: '{matches: [{path: {value: %s}}], filters: [{type: RequestRedirect, requestRedirect: {%s}}]}' % (path, more)
    w = lambda path, more: '{matches: [{path: {value: %s}}], filters: [{type: URLRewrite, urlRewrite: {%s}}], backendRefs: [%s]}' % (path, more, B('a'))
    prefix, full = 'path: {type: ReplacePrefixMatch, replacePrefixMatch: %s}', 'path: {type: ReplaceFullPath, replaceFullPath: %s}'
    c.apply(route('moved', '[%s]' % ', '.join([
        r('/host', 'hostname: new.example'), r('/code', 'hostname: new.example, statusCode: 301'), r('/308', 'hostname: new.example, statusCode: 308'),
        r('/https', 'scheme: https'), r('/port', 'port: 8443'), r('/both', 'scheme: https, port: 8443'), r('/prefix', prefix % '/new'), r('/full', full % '/all'),
        w('/wp', prefix % '/new'), w('/wr', prefix % '/'), w('/wf', full % '/all'), w('/wh', 'hostname: inner.example')]), 'old.example'))
    eventually('served', lambda: who('/wp', 'old.example') == 'a')
    for path, code, location in [
            ('/host/x?q=1', 302, 'http://new.example/host/x?q=1'), ('/code', 301, 'http://new.example/code'), ('/308', 308, 'http://new.example/308'),
            ('/https', 302, 'https://old.example/https'), ('/port', 302, 'http://old.example:8443/port'), ('/both', 302, 'https://old.example:8443/both'),
            ('/prefix/a', 302, 'http://old.example/new/a'), ('/prefix', 302, 'http://old.example/new'), ('/full/x', 302, 'http://old.example/all')]:
        got = ask(path, 'old.example')
        assert (got[0], got[1].get('location')) == (code, location), (path, got[0], got[1].get('location'))
    for path, want in [('/wp', '/new'), ('/wp/', '/new/'), ('/wp/x', '/new/x'), ('/wp/x?y=z', '/new/x?y=z'), ('/wr', '/'), ('/wr/x', '/x'), ('/wf/x?y', '/all?y')]:
        assert ask(path, 'old.example')[2]['path'] == want, (path, ask(path, 'old.example')[2]['path'], want)
    assert ask('/wh', 'old.example')[2]['headers']['host'] == 'inner.example'


def mirrors(c):
    m = '{type: RequestMirror, requestMirror: {backendRef: {name: %s, port: 80}%s}}'
    c.apply(route('mirror', '[{matches: [{path: {value: /m1}}], filters: [%s], backendRefs: [%s]}, {matches: [{path: {value: /m2}}], filters: [%s], backendRefs: [%s]}]' % (
        m % ('b', '') + ', ' + m % ('c', ''), B('a'), m % ('b', ', percent: 50'), B('a')), 'mirror.example'))
    eventually('served', lambda: who('/m1', 'mirror.example') == 'a' and 'c' in [n for n, path in Back.seen if path == '/m1'])
    assert who('/m1/once', 'mirror.example', 'POST', body='hello') == 'a'
    seen = lambda name, path: len(Back.seen.get((name, path), []))
    eventually('both have seen it', lambda: seen('b', '/m1/once') == 1 and seen('c', '/m1/once') == 1)
    for _ in range(100):
        assert who('/m2/some', 'mirror.example') == 'a'
    eventually('about half', lambda: 25 <= seen('b', '/m2/some') <= 75, timeout=5)
    assert seen('a', '/m2/some') == 100


def cors(c):
    f = '''filters: [{type: CORS, cors: {allowOrigins: ["https://a.example", "https://*.b.example"], allowMethods: [GET, PUT], allowHeaders: [X-One, X-Two], exposeHeaders: [X-Out],
        allowCredentials: true, maxAge: 60}}], '''
    c.apply(route('cors', '[{%sbackendRefs: [%s]}]' % (f, B('a')), 'cors.example'))
    eventually('served', lambda: who(host='cors.example') == 'a')
    flight = lambda origin: ask(host='cors.example', method='OPTIONS', headers={'Origin': origin, 'Access-Control-Request-Method': 'PUT', 'Access-Control-Request-Headers': 'x-one'})
    for origin in 'https://a.example', 'https://x.b.example', 'https://x.y.b.example':
        status, got, _ = flight(origin)
        assert status in (200, 204) and got['access-control-allow-origin'] == origin and got['access-control-allow-credentials'] == 'true', (origin, status, got)
        assert 'PUT' in got['access-control-allow-methods'] and 'X-Two' in got['access-control-allow-headers'] and got['access-control-max-age'] == '60', got
    for origin in 'https://evil.example', 'https://a.example.evil', 'http://a.example':
        assert 'access-control-allow-origin' not in flight(origin)[1], origin
    status, got, said = ask(host='cors.example', headers={'Origin': 'https://a.example'})
    assert said['who'] == 'a' and got['access-control-allow-origin'] == 'https://a.example' and got['access-control-expose-headers'] == 'X-Out', got


def timeouts_and_retries(c):
    c.apply(route('slow', '[{matches: [{path: {value: /t}}], timeouts: {request: 300ms}, backendRefs: [%s]}, {matches: [{path: {value: /r}}], retry: {codes: [500, 503], attempts: 2}, backendRefs: [%s]}]' % (
        B('a'), B('a')), 'slow.example'))
    eventually('served', lambda: who('/t', 'slow.example') == 'a')
    start = time.monotonic()
    assert who('/t', 'slow.example', headers={'X-Sleep': '3'}) == 504 and time.monotonic() - start < 2.5
    eventually('tried again', lambda: who('/r/%f' % time.time(), 'slow.example', headers={'X-Fail': '2', 'X-Code': '500'}) == 'a')
    assert who('/r/2', 'slow.example', headers={'X-Fail': '9', 'X-Code': '503'}) == 503
    assert who('/r/3', 'slow.example', headers={'X-Fail': '1', 'X-Code': '502'}) == 502


def grpc(c):
    c.apply(''.join(service('g' + n, i).replace('9000', '9001') for n, i in NAMES.items()))
    x = lambda to, match: R(B('g' + to), '', match)
    c.apply(route('grpc', '[%s]' % ', '.join([
        x('a', '{method: {service: echo.Echo, method: One}}'), x('b', '{method: {service: echo.Echo}}'), x('c', '{method: {method: Lone}}'),
        x('a', '{method: {type: RegularExpression, service: "r[0-9]+", method: "A|B"}}'), x('c', '{headers: [{name: version, value: two}]}')]),
        'grpc.example', kind='GRPCRoute') +
        route('h2c', '[%s]' % R(B('hc')), 'h2c.example') + service('hc', 3, protocol='kubernetes.io/h2c').replace('9000', '9001'))
    eventually('served', lambda: call('/echo.Echo/One', 'grpc.example') == 'a')
    for path, headers, want in [('/echo.Echo/Two', [], 'b'), ('/echo.Echo/One', [('version', 'two')], 'a'), ('/x.Y/Lone', [], 'c'), ('/x.Y/Alone', [], 404),
                                ('/r12/A', [], 'a'), ('/r12/AB', [], 404), ('/r/A', [], 404), ('/x.Y/Z', [('version', 'two')], 'c'), ('/x.Y/Z', [], 404)]:
        assert call(path, 'grpc.example', *headers) == want, (path, headers, call(path, 'grpc.example', *headers), want)
    assert parent(c, 'grpc', kind='grpcroute') == {'Accepted': 'Accepted', 'ResolvedRefs': 'ResolvedRefs'}
    eventually('h2c by the port\'s protocol', lambda: call('/any', 'h2c.example') == 'c')


def listener_sets(c):
    c.apply('''
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more}
spec: {parentRef: {name: web}, listeners: [{name: own, port: 8082, protocol: HTTP}, {name: taken, port: 80, protocol: HTTP}]}
---
''' + route('more', '[%s]' % R(B('b')), 'more.example', '[{kind: ListenerSet, name: more}]'))
    eventually('refused', lambda: conditions(c.get('listenerset', 'more'))['Accepted'] == '!NotAllowed')
    c.kubectl('patch', 'gateway', 'web', '--type=merge', '-p', '{"spec":{"allowedListeners":{"namespaces":{"from":"Same"}}}}')
    eventually('served', lambda: who(host='more.example', port=8082) == 'b')
    assert who(host='more.example') == 404
    assert conditions(c.get('listenerset', 'more'))['Accepted'] == 'ListenersNotValid'
    got = {l['name']: conditions({'status': l})['Conflicted'] for l in c.get('listenerset', 'more')['status']['listeners']}
    assert got == {'own': '!NoConflicts', 'taken': 'HostnameConflict'}, got
    assert c.get('gateway', 'web')['status']['attachedListenerSets'] == 1
    c.kubectl('delete', 'listenerset', 'more')
    eventually('closed', lambda: closed(8082))


def clients_show_certificates(c):
    sh = lambda *argv: run(['openssl'] + list(argv))
    d = c.root + '/pki/'
    os.mkdir(d)
    ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    for name in 'ca', 'evil', 'server':
        sh('req', '-x509', *ec, '-keyout', d + name + '.key', '-out', d + name + '.crt', '-subj', '/CN=' + name)
    for name in 'ca', 'evil':
        sh('req', *ec[:-2], '-keyout', d + name + '-c.key', '-out', d + 'csr', '-subj', '/CN=client')
        sh('x509', '-req', '-in', d + 'csr', '-CA', d + name + '.crt', '-CAkey', d + name + '.key', '-CAcreateserial', '-out', d + name + '-c.crt', '-days', '2')
    c.kubectl('create', 'secret', 'tls', 'mutual', '--cert=' + d + 'server.crt', '--key=' + d + 'server.key')
    c.apply(gateway('{name: m, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: mutual}]}}', 'mutual',
                    ', tls: {frontend: {default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: client-ca}]}}}}') +
            route('mutual', '[%s]' % R(B('a')), refs='[{name: mutual}]'))
    told = lambda: conditions({'status': c.get('gateway', 'mutual')['status']['listeners'][0]})
    eventually('no authority', lambda: told()['Accepted'] == '!NoValidCACertificate' and told()['ResolvedRefs'] == '!InvalidCACertificateRef')
    assert closed(8443)
    c.kubectl('create', 'configmap', 'client-ca', '--from-file=ca.crt=' + d + 'ca.crt')

    def shake(name=''):
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        if name:
            tls.load_cert_chain(d + name + '-c.crt', d + name + '-c.key')
        try:
            with tls.wrap_socket(socket.create_connection((NODE, 8443), 5), server_hostname='m.example') as s:
                s.sendall(b'GET / HTTP/1.1\r\nHost: m.example\r\nConnection: close\r\n\r\n')
                return int(s.makefile('rb').readline().split()[1])
        except ssl.SSLError:
            return 'refused'
    eventually('the right one', lambda: shake('ca') == 200)
    assert shake() == 'refused' and shake('evil') == 'refused', (shake(), shake('evil'))
    c.kubectl('patch', 'gateway', 'mutual', '--type=merge', '-p', '{"spec":{"tls":{"frontend":{"default":{"validation":{"mode":"AllowInsecureFallback"}}}}}}')
    eventually('anybody', lambda: shake() == 200)
    assert conditions(c.get('gateway', 'mutual'))['InsecureFrontendValidationMode'] == 'ConfigurationChanged'
    assert shake('evil') == 200, shake('evil')
    c.kubectl('delete', 'gateway', 'mutual')
    c.kubectl('delete', 'httproute', 'mutual')


def addresses_of_their_own(c):
    """With a pool each Gateway has a Service and an address, and two may want the same port."""
    c.apply('''
apiVersion: wherry.dev/v1
kind: AddressPool
metadata: {name: lan}
spec: {addresses: [198.51.100.0/28]}
---
''' + gateway(HTTP, 'second', ', infrastructure: {labels: {team: shop}, annotations: {a.example/b: c}}') + route('second', '[%s]' % R(B('b')), 'own.example', '[{name: second}]') +
            route('first', '[%s]' % R(B('a')), 'own.example'))
    at = lambda n: [a['value'] for a in c.get('gateway', n)['status'].get('addresses', [])]
    eventually('both have one', lambda: all(len(at(n)) == 1 and at(n)[0].startswith('198.51.100.') for n in ('web', 'second')))
    assert at('web') != at('second')
    own = c.get('service', 'second-wherry')['metadata']
    assert own['labels']['team'] == 'shop' and own['labels']['gateway.networking.k8s.io/gateway-name'] == 'second' and own['annotations']['a.example/b'] == 'c', own
    for n in 'web', 'second':
        run(['ip', 'addr', 'add', at(n)[0] + '/32', 'dev', 'lo'])
    eventually('the first', lambda: who(host='own.example', address=at('web')[0]) == 'a')
    eventually('the second', lambda: who(host='own.example', address=at('second')[0]) == 'b')
    assert conditions(c.get('gateway', 'second'))['Programmed'] == 'Programmed'
    c.kubectl('patch', 'gateway', 'second', '--type=merge', '-p', '{"spec":{"addresses":[{"type":"IPAddress","value":"203.0.113.9"}]}}')
    eventually('not of a pool', lambda: conditions(c.get('gateway', 'second'))['Programmed'] == '!AddressNotUsable')
    c.kubectl('delete', 'gateway', 'second')
    c.kubectl('delete', 'addresspool', 'lan')
    eventually('the node\'s again', lambda: at('web') == [NODE] and who(host='own.example') == 'a')


def what_cannot_be_done(c):
    c.apply(route('odd', '[{matches: [{path: {value: /ext}}], filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Auth, name: x}}], backendRefs: [%s]}, %s]' % (
        B('a'), R(B('b'))), 'odd.example'))
    eventually('served', lambda: who(host='odd.example') == 'b')
    assert who('/ext', 'odd.example') == 500
    assert parent(c, 'odd')['ResolvedRefs'] == '!InvalidKind'
    why = c.wherry('why', 'httproute/odd', check=False)
    assert 'extensionRef' in why, why
    c.apply(route('bad', '[%s]' % R(B('a'), '', '{path: {type: RegularExpression, value: "/a(b"}}'), 'bad.example'))
    eventually('refused', lambda: parent(c, 'bad')['Accepted'] == '!UnsupportedValue')
    assert who('/ab', 'bad.example') == 404


def tls(c):
    key, crt = c.root + '/k.pem', c.root + '/c.pem'
    make = lambda host: run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', crt, '-days', '2',
                             '-subj', '/CN=' + host, '-addext', 'subjectAltName=DNS:' + host])
    for name, host in ('first', 's.example'), ('second', '*.t.example'):
        make(host)
        c.kubectl('create', 'secret', 'tls', name, '--cert=' + crt, '--key=' + key)
    c.apply(gateway('{name: s, port: 443, protocol: HTTPS, hostname: s.example, tls: {certificateRefs: [{name: first}]}}, '
                    '{name: t, port: 443, protocol: HTTPS, hostname: "*.t.example", tls: {certificateRefs: [{name: second}]}}, '
                    '{name: none, port: 443, protocol: HTTPS, hostname: none.example, tls: {certificateRefs: [{name: missing}]}}', 'secure') +
            route('secure', '[%s]' % R(B('a')), refs='[{name: secure}]'))
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE

    def shown(host):
        with trust.wrap_socket(socket.create_connection((NODE, 443), 5), server_hostname=host) as s:
            der = s.getpeercert(True)
            s.sendall(b'GET /x HTTP/1.1\r\nHost: ' + host.encode() + b'\r\nConnection: close\r\n\r\n')
            status = s.makefile('rb').readline().split()[1]
        return run(['openssl', 'x509', '-noout', '-subject'], input=ssl.DER_cert_to_PEM_cert(der)), int(status)
    eventually('the first', lambda: 's.example' in shown('s.example')[0] and shown('s.example')[1] == 200)
    assert '*.t.example' in shown('a.t.example')[0] and shown('a.b.t.example')[1] == 200
    got = {l['name']: l for l in c.get('gateway', 'secure')['status']['listeners']}
    assert conditions({'status': got['none']})['ResolvedRefs'] == '!InvalidCertificateRef', got['none']
    assert conditions(c.get('gateway', 'secure'))['ResolvedRefs'] == '!ListenersNotResolved'
    c.kubectl('create', 'secret', 'tls', 'missing', '--cert=' + crt, '--key=' + key)
    eventually('the Secret comes', lambda: shown('none.example')[1] == 200)
    c.kubectl('delete', 'gateway', 'secure')
    c.kubectl('delete', 'httproute', 'secure')


def two_gateways_want_one_port(c):
    c.apply(gateway(HTTP, 'younger') + route('young', '[%s]' % R(B('b')), 'young.example', '[{name: younger}]'))
    eventually('told', lambda: conditions({'status': c.get('gateway', 'younger')['status']['listeners'][0]})['Conflicted'] == 'HostnameConflict')
    assert conditions(c.get('gateway', 'younger'))['Accepted'] == '!ListenersNotValid'
    assert who(host='young.example') == 404
    why = c.wherry('why', 'gateway/younger', check=False)
    assert 'Gateway default/web' in why, why
    c.kubectl('patch', 'gateway', 'younger', '--type=json', '-p', '[{"op":"replace","path":"/spec/listeners/0/port","value":8081}]')
    eventually('another port', lambda: who(host='young.example', port=8081) == 'b')
    c.kubectl('delete', 'gateway', 'younger')
    eventually('its port is closed', lambda: closed(8081))


def a_port_that_somebody_else_has(c):
    """It is told of, and everybody else is served."""
    other = socket.create_server((NODE, 8083))
    c.apply(gateway(HTTP.replace('80', '8083'), 'busy') + route('busy', '[%s]' % R(B('a')), 'busy.example', '[{name: busy}]'))
    eventually('told', lambda: [e for e in c.get('events', '--field-selector=involvedObject.name=busy')['items'] if '8083' in e['message']])
    header = 'filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-New, value: yes}]}}], '
    c.apply(route('meanwhile', '[{%sbackendRefs: [%s]}]' % (header.replace('yes', '"1"'), B('b')), 'meanwhile.example'))
    eventually('others are served', lambda: ask(host='meanwhile.example')[1].get('x-new') == '1')
    other.close()
    c.kubectl('delete', 'gateway', 'busy')


def closed(port):
    try:
        socket.create_connection((NODE, port), 1).close()
        return False
    except ConnectionRefusedError:
        return True


def killed_in_between(c):
    c.apply(route('stays', '[%s]' % R(B('a')), 'stays.example'))
    eventually('served', lambda: who(host='stays.example') == 'a')
    for role in 'edge', 'server':
        os.kill(c.role_pid(role), signal.SIGKILL)
        for _ in range(20):
            assert who(host='stays.example') == 'a'
    eventually('the server answers', lambda: c.get('httproute', 'stays'))
    c.apply(route('stays', '[%s]' % R(B('b')), 'stays.example'))
    eventually('what changed meanwhile', lambda: who(host='stays.example') == 'b')


if __name__ == '__main__':
    main([begin, a_route_is_served_and_goes, matches, hostnames_and_listeners, references, weights, headers, redirects_and_rewrites, mirrors, cors,
          timeouts_and_retries, grpc, what_cannot_be_done, tls, clients_show_certificates, listener_sets, two_gateways_want_one_port,
          a_port_that_somebody_else_has,           killed_in_between, addresses_of_their_own],
         16443, ['--roles', 'server,edge', '--set', 'gateway=experimental'], False)
