#!/usr/bin/env python3
"""Ingress from outside: hosts, paths, TLS, annotations, several of one host, changes while requests are under way, and what is
told where something is missing. Behind it are containers that say who they are and what they were asked."""
import base64, http.server, json, os, re, signal, socket, ssl, subprocess, threading, time
import h2, lib
from lib import Cluster, deployment, eventually, main, run

NOTE = 'nginx.ingress.kubernetes.io/'
HERE = os.path.dirname(os.path.abspath(__file__))
OWN = '192.0.2.9'                       # where what this program itself serves is asked: a backend of any answers


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.body = status, body
        self.fields = {k.lower(): v for k, v in fields}
        self.all = [(k.lower(), v) for k, v in fields]

    def __repr__(self):
        return '%d %s %r' % (self.status, self.fields, self.body[:300])

    def who(self):
        """Which backend it was, and the path that it was asked for."""
        words = self.body.split('\n')[0].split()
        return words[0], words[2]

    def heard(self, name):
        """A header as the backend got it."""
        found = [l.split(':', 1)[1].strip() for l in self.body.split('\n')[1:] if l.lower().startswith(name.lower() + ':')]
        return found[0] if found else None


def client_tls(cert=None, alpn=()):
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if cert:
        tls.load_cert_chain(*cert)
    if alpn:
        tls.set_alpn_protocols(list(alpn))
    return tls


def connect(host, tls, cert=None):
    s = socket.create_connection(('127.0.0.1', 443 if tls else 80), timeout=5)
    return client_tls(cert).wrap_socket(s, server_hostname=host) if tls else s


def ask(host, path='/', method='GET', tls=False, body=None, cert=None, **fields):
    import http.client
    c = http.client.HTTPConnection(host)
    c.sock = connect(host, tls, cert)
    try:
        c.request(method, path, body, {k.replace('_', '-'): v for k, v in fields.items()})
        r = c.getresponse()
        return Answer(r.status, r.getheaders(), r.read().decode(errors='replace'))
    finally:
        c.close()


def ingress(name, rules, notes=None, tls=None, ns='default', default=None, klass=None):
    """rules: {host: [(path, type, service)]}"""
    o = {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress',
         'metadata': {'name': name, 'namespace': ns, 'annotations': {(k if '/' in k else NOTE + k): v for k, v in (notes or {}).items()}}, 'spec': {}}
    if rules:
        o['spec']['rules'] = [dict({'http': {'paths': [{'path': p, 'pathType': t, 'backend': backend(s)} for p, t, s in paths]}}, **({'host': h} if h else {}))
                              for h, paths in rules.items()]
    if default:
        o['spec']['defaultBackend'] = backend(default)
    if tls:
        o['spec']['tls'] = [{'hosts': hosts, 'secretName': secret} for secret, hosts in tls.items()]
    if klass:
        o['spec']['ingressClassName'] = klass
    return json.dumps(o) + '\n---\n'


def backend(service):
    return {'service': {'name': service, 'port': {'number': 80}}}


def one(name, host, notes=None, path='/', kind='Prefix', service='a', **more):
    return ingress(name, {host: [(path, kind, service)]}, notes, **more)


def certificate(c, name, hosts, serial=1, apply=True):
    """A Secret with a certificate of its own; the files."""
    files = '%s/%s-c.pem' % (c.root, name), '%s/%s-k.pem' % (c.root, name)
    run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', files[1], '-out', files[0], '-days', '2',
         '-set_serial', str(serial), '-subj', '/CN=' + hosts[0], '-addext', 'subjectAltName=' + ','.join('DNS:' + h for h in hosts)])
    if apply:
        c.apply(c.kubectl('create', 'secret', 'tls', name, '--cert', files[0], '--key', files[1], '--dry-run=client', '-o', 'yaml'))
    return files


def shown(host):
    """Common name and serial of the certificate that is shown for a host."""
    with connect(host, True) as s:
        der = s.getpeercert(True)
    text = run(['openssl', 'x509', '-noout', '-subject', '-serial'], input=ssl.DER_cert_to_PEM_cert(der))
    return re.search(r'CN ?= ?(\S+)', text)[1], int(re.search(r'serial=(\w+)', text)[1], 16)


def listens():
    """Whether the front door takes connections: it does as long as something asks for it."""
    try:
        socket.create_connection(('127.0.0.1', 80), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def served(host, path='/', status=200, **more):
    """Once it is so."""
    return eventually('%s%s answers %d' % (host, path, status), lambda: (lambda a: a.status == status and a)(ask(host, path, **more)))


# ---- hosts and paths ----

TABLE = [                               # rules of a host; path asked, the service that answers (None: 404)
    ([('/', 'Prefix', 'a')], {'/': 'a', '/x': 'a', '/x/y?z=1': 'a'}),
    ([('/foo', 'Exact', 'a')], {'/foo': 'a', '/bar': None, '/foo/': None, '/foo?x=1': 'a', '/FOO': None}),
    ([('/foo/', 'Exact', 'a')], {'/foo': None, '/foo/': 'a'}),
    ([('/foo', 'Prefix', 'a')], {'/foo': 'a', '/foo/': 'a', '/foo/bar': 'a', '/foobar': None, '/': None}),
    ([('/foo/', 'Prefix', 'a')], {'/foo': 'a', '/foo/': 'a', '/foo/bar': 'a', '/foobar': None}),
    ([('/aaa/bb', 'Prefix', 'a')], {'/aaa/bbb': None, '/aaa/bb': 'a'}),
    ([('/aaa/bbb', 'Prefix', 'a')], {'/aaa/bbb': 'a', '/aaa/bbb/': 'a', '/aaa/bbb/ccc': 'a', '/aaa/bbbxyz': None}),
    ([('/', 'Prefix', 'a'), ('/aaa', 'Prefix', 'b')], {'/aaa/ccc': 'b', '/ccc': 'a', '/': 'a'}),
    ([('/', 'Prefix', 'a'), ('/aaa', 'Prefix', 'a'), ('/aaa/bbb', 'Prefix', 'b')], {'/aaa/bbb': 'b', '/aaa': 'a', '/ccc': 'a'}),
    ([('/foo', 'Prefix', 'a'), ('/foo', 'Exact', 'b')], {'/foo': 'b', '/foo/x': 'a'}),
    ([('/impl', 'ImplementationSpecific', 'a')], {'/impl': 'a', '/impl/x': 'a', '/implx': None}),
]


def hosts_and_paths(c):
    rules = {'t%d.example.org' % i: paths for i, (paths, _) in enumerate(TABLE)}
    rules['*.wild.example.org'] = [('/', 'Prefix', 'a')]
    rules['exact.wild.example.org'] = [('/only', 'Prefix', 'b')]
    c.apply(ingress('table', rules))
    served('exact.wild.example.org', '/only')
    for i, (paths, asked) in enumerate(TABLE):
        for path, who in asked.items():
            a = ask('t%d.example.org' % i, path)
            assert (a.who() if a.status == 200 else (None, path)) == (who, path) and a.status in (200, 404), (paths, path, a)
    assert ask('bar.wild.example.org').who()[0] == 'a'
    assert ask('baz.bar.wild.example.org').status == 404 and ask('wild.example.org').status == 404, 'a star is one label'
    assert ask('exact.wild.example.org').status == 404, 'a narrower host has all of it'
    assert ask('nobody.example.org').status == 404
    status = json.loads(c.kubectl('get', 'ingress', 'table', '-o', 'json'))['status']['loadBalancer']['ingress']
    assert status and status[0]['ip'], status
    assert re.search(r'^table +wherry +t0.example.org,t1.example.org,t2.example.org \+ 10 more... +[0-9.]+ +80 ', c.kubectl('get', 'ingress', 'table'), re.M), c.kubectl('get', 'ingress')
    c.apply(ingress('fallback', {'fall.example.org': [('/a', 'Prefix', 'a')]}, default='b'))
    served('nobody.example.org')
    assert (ask('fall.example.org', '/a').who()[0], ask('fall.example.org', '/x').who()[0], ask('nobody.example.org').who()[0]) == ('a', 'b', 'b')
    c.kubectl('delete', 'ingress', 'table', 'fallback')
    eventually('nobody listens any more', lambda: not listens())


# ---- TLS ----

def certificates(c):
    certificate(c, 'first', ['one.example.org', 'b.one.example.org'])
    certificate(c, 'star', ['*.stars.example.org'])
    c.apply(one('one', 'one.example.org', tls={'first': ['one.example.org']}) + one('stars', '*.stars.example.org', tls={'star': ['*.stars.example.org']}, service='b')
            + one('clear', 'one.example.org', {'ssl-redirect': 'false'}, path='/clear', tls={'first': ['one.example.org']}))
    assert served('one.example.org', tls=True).who()[0] == 'a' and served('x.stars.example.org', tls=True).who()[0] == 'b'
    assert shown('one.example.org') == ('one.example.org', 1) and shown('x.stars.example.org')[0] == '*.stars.example.org'
    a = ask('one.example.org', '/x?y=1')
    assert (a.status, a.fields['location']) == (308, 'https://one.example.org/x?y=1'), a
    assert served('one.example.org', '/clear').who() == ('a', '/clear')
    a = ask('one.example.org', tls=True)
    assert a.heard('X-Forwarded-Proto') == 'https' and a.heard('X-Forwarded-For') == '127.0.0.1', a
    tls = client_tls(alpn=['h2', 'http/1.1'])
    with tls.wrap_socket(socket.create_connection(('127.0.0.1', 443)), server_hostname='one.example.org') as s:
        assert s.selected_alpn_protocol() == 'h2'
    out = run(['curl', '-sk', '--http2', '-w', '%{http_version}', '--resolve', 'one.example.org:443:127.0.0.1', 'https://one.example.org/h2'])
    assert out.startswith('a GET /h2') and out.endswith('2'), out
    certificate(c, 'first', ['one.example.org'], serial=7)
    eventually('the new certificate', lambda: shown('one.example.org')[1] == 7)
    certificate(c, 'late', ['one.example.org'], serial=9)
    c.apply(one('younger', 'one.example.org', path='/younger', tls={'late': ['one.example.org']}))
    served('one.example.org', '/younger', tls=True)
    assert shown('one.example.org')[1] == 7, 'of two Secrets of one host that of the older Ingress counts'
    eventually('it is told', lambda: 'for one.example.org the certificate of Ingress default/' in c.wherry('why', 'ingress/younger', check=False))
    c.kubectl('delete', 'ingress', 'one', 'stars', 'clear', 'younger')


# ---- annotations ----

def redirects(c):
    c.apply(one('permanent', 'old.example.org', {'permanent-redirect': 'https://new.example.org$request_uri'})
            + one('temporal', 'busy.example.org', {'temporal-redirect': 'https://wait.example.org/', 'permanent-redirect': 'https://x.example.org'})
            + one('root', 'root.example.org', {'app-root': '/home'}) + one('www', 'bare.example.org', {'from-to-www-redirect': 'true'})
            + one('force', 'force.example.org', {'force-ssl-redirect': 'true'}))
    served('old.example.org', status=301)
    served('force.example.org', status=308)
    for host, path, status, to in (('old.example.org', '/a?b=c', 301, 'https://new.example.org/a?b=c'), ('busy.example.org', '/a', 302, 'https://wait.example.org/'),
                                   ('root.example.org', '/', 302, 'http://root.example.org/home'), ('www.bare.example.org', '/p?q=1', 308, 'http://bare.example.org/p?q=1'),
                                   ('force.example.org', '/x', 308, 'https://force.example.org/x')):
        a = ask(host, path)
        assert (a.status, a.fields.get('location')) == (status, to), (host, path, a)
    assert ask('root.example.org', '/home').who() == ('a', '/home') and ask('bare.example.org').who()[0] == 'a'
    c.kubectl('delete', 'ingress', 'permanent', 'temporal', 'root', 'www', 'force')


def rewrites(c):
    c.apply(ingress('groups', {'api.example.org': [('/api(/|$)(.*)', 'ImplementationSpecific', 'a'), ('/v[0-9]+/(.*)', 'ImplementationSpecific', 'b')]}, {'rewrite-target': '/$2'})
            + one('plain', 'plain.example.org', {'rewrite-target': '/inner', 'upstream-vhost': 'inner.example.org', 'x-forwarded-prefix': '/app'}, path='/app')
            + one('regex', 'regex.example.org', {'use-regex': 'true'}, path='/ITEM/[0-9]+', kind='ImplementationSpecific'))
    served('regex.example.org', '/item/7')
    served('api.example.org', '/api')
    for path, to in (('/api', '/'), ('/api/', '/'), ('/api/x/y', '/x/y'), ('/api/x?q=1', '/x?q=1'), ('/API/z', '/z')):
        assert ask('api.example.org', path).who() == ('a', to), (path, ask('api.example.org', path))
    assert ask('api.example.org', '/apix').status == 404 and ask('regex.example.org', '/item/x').status == 404
    a = eventually('the prefix is told', lambda: (lambda a: a.heard('X-Forwarded-Prefix') == '/app' and a)(ask('plain.example.org', '/app/deep?q=1')))
    assert a.who() == ('a', '/inner?q=1') and a.heard('Host') == 'inner.example.org', a
    assert ask('plain.example.org', '/apple').status == 404
    c.kubectl('delete', 'ingress', 'groups', 'plain', 'regex')


def who_may(c):
    c.apply(one('allowed', 'allow.example.org', {'whitelist-source-range': '127.0.0.0/8,10.0.0.0/8'}) + one('others', 'others.example.org', {'allowlist-source-range': '10.0.0.0/8'})
            + one('denied', 'deny.example.org', {'denylist-source-range': '127.0.0.1'}) + one('broken', 'broken.example.org', {'whitelist-source-range': '127.0.0.1/99'})
            + one('size', 'size.example.org', {'proxy-body-size': '1k'}) + one('cors', 'cors.example.org', {'enable-cors': 'true', 'cors-allow-origin': 'https://a.example, https://*.b.example'})
            + one('rate', 'rate.example.org', {'limit-rps': '1', 'limit-burst-multiplier': '2'}) + one('free', 'free.example.org', {'limit-rps': '1', 'limit-whitelist': '127.0.0.0/8'}))
    served('allow.example.org')
    served('size.example.org')
    for host, status in (('others', 403), ('deny', 403), ('broken', 503)):
        served(host + '.example.org', status=status)
    assert ask('size.example.org', method='POST', body='x' * 1000).status == 200 and ask('size.example.org', method='POST', body='x' * 2000).status == 413
    a = ask('cors.example.org', method='OPTIONS', Origin='https://x.b.example', Access_Control_Request_Method='PUT')
    assert a.status in (200, 204) and a.fields['access-control-allow-origin'] == 'https://x.b.example' and 'PUT' in a.fields['access-control-allow-methods'], a
    assert a.fields['access-control-max-age'] == '1728000' and a.fields['access-control-allow-credentials'] == 'true', a
    assert ask('cors.example.org', Origin='https://a.example').fields.get('access-control-allow-origin') == 'https://a.example'
    assert 'access-control-allow-origin' not in ask('cors.example.org', Origin='https://evil.example').fields
    many = [ask('rate.example.org').status for _ in range(12)]
    assert many[0] == 200 and 503 in many and set(many) <= {200, 503}, many
    assert {ask('free.example.org').status for _ in range(12)} == {200}
    c.kubectl('delete', 'ingress', 'allowed', 'others', 'denied', 'broken', 'size', 'cors', 'rate', 'free')


def asked_for_a_name(c):
    """Passwords in a Secret, and a server that is asked about each request; who cannot be asked lets nobody in."""
    word = lambda text: 'Basic ' + base64.b64encode(text.encode()).decode()
    users = 'jane:' + run(['openssl', 'passwd', '-apr1', 'secret']).strip() + '\njoe:' + run(['openssl', 'passwd', '-6', 'other']).strip() + '\n'
    c.kubectl('create', 'secret', 'generic', 'users', '--from-literal=auth=' + users)
    basic = {'auth-type': 'basic', 'auth-secret': 'users', 'auth-realm': 'the harbour'}
    where = 'http://own.default.svc.cluster.local/check?for=$host'
    c.apply(one('basic', 'basic.example.org', basic) + one('lost', 'lost.example.org', dict(basic, **{'auth-secret': 'nobody'}))
            + one('asked', 'asked.example.org', {'auth-url': where, 'auth-response-headers': 'X-User', 'auth-method': 'GET'})
            + one('signin', 'signin.example.org', {'auth-url': where, 'auth-signin': 'https://login.example/start'})
            + one('silent', 'silent.example.org', {'auth-url': 'http://192.0.2.9:9/'}) + one('digest', 'digest.example.org', dict(basic, **{'auth-type': 'digest'})))
    a = served('basic.example.org', status=401)
    assert a.fields['www-authenticate'].startswith('Basic realm="the harbour"'), a
    assert ask('basic.example.org', Authorization=word('jane:secret')).status == 200 == ask('basic.example.org', Authorization=word('joe:other')).status
    assert {ask('basic.example.org', Authorization=word(w)).status for w in ('jane:other', 'nobody:secret', ':', 'jane')} == {401}
    served('lost.example.org', status=503)
    served('digest.example.org', status=503)
    c.own.status, c.own.heard = [200], []
    a = served('asked.example.org', '/x?y=1', X_User='root', Cookie='a=b')
    assert a.heard('X-User') == 'somebody' and c.own.heard[-1] == '/check?for=asked.example.org', (a, c.own.heard)
    c.own.status = [401]
    assert ask('asked.example.org').status == 401
    a = served('signin.example.org', '/page', status=302)
    assert a.fields['location'] == 'https://login.example/start?rd=http://signin.example.org%2Fpage', a
    c.own.status = [403]
    assert ask('asked.example.org').status == 403 == ask('signin.example.org').status
    c.own.status = [500]
    assert ask('asked.example.org').status == 503
    served('silent.example.org', status=503)
    for name, says in ('silent', 'cannot be asked'), ('asked', 'it answered 500'):
        eventually('it is told', lambda: any(r == 'AuthUnreachable' and says in m for r, m in events(c, name)))
        assert says in fails(c, 'why', 'ingress/' + name)
    c.own.status = [200]
    os.kill(c.role_pid('edge'), signal.SIGKILL)             # whoever asks meanwhile waits in the socket
    assert {ask('basic.example.org', Authorization=word('jane:secret')).status for _ in range(50)} == {200}
    c.kubectl('patch', 'secret', 'users', '-p', json.dumps({'stringData': {'auth': 'jane:' + run(['openssl', 'passwd', '-5', 'new'])}}))
    eventually('another password', lambda: ask('basic.example.org', Authorization=word('jane:new')).status == 200)
    assert ask('basic.example.org', Authorization=word('jane:secret')).status == 401
    c.kubectl('delete', 'secret', 'users')
    served('basic.example.org', status=503, Authorization=word('jane:new'))
    c.kubectl('delete', 'ingress', 'basic', 'lost', 'asked', 'signin', 'silent', 'digest')


def copies_and_pages(c):
    """A copy of each request to another backend; pages of another one for answers that are errors."""
    c.apply(one('copied', 'copied.example.org', {'mirror-target': 'http://own.default.svc.cluster.local$request_uri'})
            + one('pages', 'pages.example.org', {'custom-http-errors': '404,503', 'default-backend': 'a'}, service='own'))
    c.own.status, c.own.heard = [200], []
    assert served('copied.example.org', '/once').who() == ('a', '/once')
    eventually('a copy', lambda: '/once' in c.own.heard)
    assert ask('copied.example.org', '/body', method='POST', body='x' * 5000).status == 200
    served('pages.example.org')
    c.own.status = [404]
    a = ask('pages.example.org', '/lost', Accept='text/x')
    assert a.status == 404 and a.who()[0] == 'a' and a.heard('X-Code') == '404' and a.heard('X-Original-URI') == '/lost' and a.heard('X-Ingress-Name') == 'pages', a
    c.own.status = [410]
    assert ask('pages.example.org').body.startswith('own ')
    c.own.status = [200]
    c.kubectl('delete', 'ingress', 'copied', 'pages')


def affinity_and_hashes(c):
    c.apply(one('sticky', 'sticky.example.org', {'affinity': 'cookie', 'session-cookie-name': 'route', 'session-cookie-max-age': '600', 'session-cookie-samesite': 'Lax'}, service='many')
            + one('hashed', 'hash.example.org', {'upstream-hash-by': '$http_x_user'}, service='many') + one('spread', 'spread.example.org', service='many'))
    served('spread.example.org')
    served('hash.example.org')
    assert len({ask('spread.example.org').who()[0] for _ in range(12)}) == 2, 'both servers'
    a = served('sticky.example.org')
    cookie = a.fields['set-cookie']
    assert cookie.startswith('route=') and 'samesite=lax' in cookie.lower() and re.search('max-age=600', cookie, re.I), cookie
    assert {ask('sticky.example.org', Cookie=cookie.split(';')[0]).who()[0] for _ in range(8)} == {a.who()[0]}
    for user in 'ann', 'bob', 'eve':
        assert len({ask('hash.example.org', X_User=user).who()[0] for _ in range(4)}) == 1
    c.kubectl('delete', 'ingress', 'sticky', 'hashed', 'spread')


def canaries(c):
    c.apply(one('main', 'canary.example.org') + one('canary', 'canary.example.org', {'canary': 'true', 'canary-weight': '30', 'canary-by-header': 'X-New', 'canary-by-cookie': 'new'}, service='b'))
    eventually('both answer', lambda: {ask('canary.example.org').who()[0] for _ in range(30)} == {'a', 'b'})
    share = sum(ask('canary.example.org').who()[0] == 'b' for _ in range(200))
    assert 20 <= share <= 100, share
    assert {ask('canary.example.org', X_New='always').who()[0] for _ in range(10)} == {'b'} and {ask('canary.example.org', X_New='never').who()[0] for _ in range(10)} == {'a'}
    assert {ask('canary.example.org', Cookie='new=always').who()[0] for _ in range(10)} == {'b'}
    assert ask('canary.example.org', X_New='never', Cookie='new=always').who()[0] == 'a', 'the header comes before the cookie'
    c.kubectl('annotate', 'ingress', 'canary', NOTE + 'canary-weight=100', '--overwrite')
    eventually('all of it', lambda: {ask('canary.example.org').who()[0] for _ in range(20)} == {'b'})
    c.kubectl('delete', 'ingress', 'canary')
    eventually('none of it', lambda: {ask('canary.example.org').who()[0] for _ in range(20)} == {'a'})
    c.kubectl('delete', 'ingress', 'main')


def backends_of_other_protocols(c):
    """What this program serves itself: TLS, HTTP/2 with trailers, answers of any status."""
    c.own.status = [502, 200]
    c.apply(one('secure', 'secure.example.org', {'backend-protocol': 'HTTPS'}, service='own-tls') + one('again', 'again.example.org',
            {'proxy-next-upstream': 'error http_502', 'proxy-next-upstream-tries': '3'}, service='own') + one('grpc', 'grpc.example.org', {'backend-protocol': 'GRPC'}, service='own-grpc'))
    assert served('secure.example.org').body.startswith('own GET /'), ask('secure.example.org')
    served('again.example.org')
    c.own.status = [502, 502, 200]
    assert ask('again.example.org').status == 200, 'another is tried'
    out = eventually('gRPC', lambda: (lambda o: 'grpc-status: 0' in o and o)(run(
        ['curl', '-s', '-i', '-m', '3', '--http2-prior-knowledge', '-H', 'Host: grpc.example.org', '-H', 'Content-Type: application/grpc', '-H', 'TE: trailers', '-d', 'x',
         'http://127.0.0.1/pkg.Service/Call'], check=False)))
    assert out.startswith('HTTP/2 200'), out
    c.kubectl('delete', 'ingress', 'secure', 'again', 'grpc')


def tls_to_backends(c):
    """Verified by authorities of ours, by name; and one whose name is another."""
    c.apply(c.kubectl('create', 'secret', 'generic', 'authorities', '--from-file=ca.crt=' + c.root + '/own-c.pem', '--dry-run=client', '-o', 'yaml'))
    verify = {'backend-protocol': 'HTTPS', 'proxy-ssl-verify': 'on', 'proxy-ssl-secret': 'default/authorities'}
    c.apply(one('good', 'good.example.org', dict(verify, **{'proxy-ssl-name': 'own.example.org'}), service='own-tls')
            + one('bad', 'bad.example.org', dict(verify, **{'proxy-ssl-name': 'other.example.org'}), service='own-tls')
            + one('lost', 'lost.example.org', dict(verify, **{'proxy-ssl-secret': 'nothing'}), service='own-tls'))
    assert served('good.example.org').body.startswith('own GET /')
    served('bad.example.org', status=503)
    served('lost.example.org', status=503)
    c.kubectl('delete', 'ingress', 'good', 'bad', 'lost')


def stand_ins(c):
    """default-backend, headers from a ConfigMap, other names, time."""
    c.kubectl('create', 'configmap', 'headers', '--from-literal=X-Frame-Options=DENY', '--from-literal=X-Custom=yes')
    c.apply(one('empty', 'empty.example.org', {'default-backend': 'b'}, service='nobody')
            + one('headers', 'headers.example.org', {'custom-headers': 'headers'}) + one('alias', 'alias.example.org', {'server-alias': 'x.alias.example.org, y.alias.example.org'})
            + one('slow', 'slow.example.org', {'proxy-read-timeout': '1'}, service='own-slow'))
    assert served('empty.example.org').who()[0] == 'b'
    a = eventually('headers of answers', lambda: (lambda a: a.fields.get('x-custom') == 'yes' and a)(ask('headers.example.org')))
    assert a.fields['x-frame-options'] == 'DENY', a
    c.kubectl('patch', 'configmap', 'headers', '-p', '{"data":{"X-Custom":"changed"}}')
    eventually('a ConfigMap that changes', lambda: ask('headers.example.org').fields.get('x-custom') == 'changed')
    assert served('x.alias.example.org').who()[0] == 'a' and ask('y.alias.example.org').who()[0] == 'a'
    began = time.monotonic()
    served('slow.example.org', status=504)
    assert time.monotonic() - began < 15
    c.kubectl('delete', 'ingress', 'empty', 'headers', 'alias', 'slow')


def clients_show_certificates(c):
    ours, theirs = certificate(c, 'ours', ['client-a'], apply=False), certificate(c, 'theirs', ['client-b'], apply=False)
    certificate(c, 'guarded', ['guarded.example.org'])
    c.kubectl('create', 'secret', 'generic', 'clients', '--from-file=ca.crt=' + ours[0])
    c.apply(one('guarded', 'guarded.example.org', {'auth-tls-secret': 'default/clients', 'auth-tls-verify-client': 'on'}, tls={'guarded': ['guarded.example.org']})
            + one('open', 'open.example.org'))
    served('guarded.example.org', status=308)
    served('guarded.example.org', tls=True, cert=ours)
    for cert in None, theirs:
        try:
            a = ask('guarded.example.org', tls=True, cert=cert)
            assert a.status in (400, 403, 421, 495, 496), a
        except (OSError, ssl.SSLError):
            pass
    s = connect('open.example.org', True)           # by another name, and then asking for the guarded host
    s.sendall(b'GET / HTTP/1.1\r\nHost: guarded.example.org\r\nConnection: close\r\n\r\n')
    got = s.recv(65536)
    assert not got.startswith(b'HTTP/1.1 200'), got
    assert ask('open.example.org', tls=True).status == 200
    c.kubectl('delete', 'ingress', 'guarded', 'open')


def passed_through(c):
    c.apply(one('through', 'own.example.org', {'ssl-passthrough': 'true'}, service='own-tls'))
    eventually('its own certificate', lambda: shown('own.example.org')[0] == 'own.example.org')
    assert ask('own.example.org', '/deep', tls=True).body.startswith('own GET /deep')
    c.kubectl('delete', 'ingress', 'through')


def websockets(c):
    c.apply(one('chat', 'chat.example.org'))
    served('chat.example.org')
    s = connect('chat.example.org', False)
    key = base64.b64encode(b'0123456789abcdef').decode()
    s.sendall(('GET /ws HTTP/1.1\r\nHost: chat.example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n' % key).encode())
    got = b''
    while b'\r\n\r\n' not in got:
        got += s.recv(4096)
    assert got.startswith(b'HTTP/1.1 101'), got
    for i in range(3):
        s.sendall(bytes([0x81, 0x80 | 5, 0, 0, 0, 0]) + b'hello')
        assert s.recv(100).endswith(b'hello')
        if i == 0:                      # what is standing stays through changes
            c.apply(one('chat-more', 'chat-more.example.org'))
            served('chat-more.example.org')
    s.close()
    c.kubectl('delete', 'ingress', 'chat', 'chat-more')


# ---- several of one host, and what is told ----

def events(c, name):
    return {(e['reason'], e['message']) for e in json.loads(c.kubectl('get', 'events', '-o', 'json', '--field-selector', 'involvedObject.name=' + name))['items']}


def what_is_missing_is_told(c):
    """And which of two that want the same path has it."""
    c.apply(one('older', 'shared.example.org'))
    served('shared.example.org')
    time.sleep(1.1)                     # creation times are whole seconds
    c.apply(one('younger', 'shared.example.org', service='b') + one('nowhere', 'nowhere.example.org', {'server-snippet': 'return 200;', 'proxy-body-size': 'huge'}, service='nobody')
            + one('elsewhere', 'elsewhere.example.org', klass='nginx') + one('keyless', 'keyless.example.org', tls={'none': ['keyless.example.org']}))
    served('nowhere.example.org', status=503)
    for name, says in (('nowhere', 'there is no Service nobody'), ('elsewhere', 'there is no such IngressClass'), ('keyless', 'there is no Secret none'),
                       ('younger', 'is served by Ingress default/older')):
        eventually(name, lambda: says in c.wherry('why', 'ingress/' + name, check=False))
    eventually('events', lambda: {'AnnotationNotKept', 'AnnotationInvalid', 'ServiceMissing'} <= {r for r, _ in events(c, 'nowhere')}, timeout=15)
    eventually('the older is named', lambda: any(r == 'PathTaken' and 'default/older' in m for r, m in events(c, 'younger')), timeout=15)
    eventually('the error of the port', lambda: 'SecretMissing' in c.kubectl('get', 'ingress', 'keyless', '-o', 'jsonpath={.status.loadBalancer.ingress[0].ports[*].error}'))
    assert ask('elsewhere.example.org').status == 404 and not events(c, 'elsewhere')
    assert json.loads(c.kubectl('get', 'ingressclass', 'wherry', '-o', 'json'))['spec']['controller'] == 'wherry.dev/ingress'
    assert {ask('shared.example.org').who()[0] for _ in range(8)} == {'a'}
    c.kubectl('delete', 'ingress', 'older')
    eventually('the younger has it', lambda: ask('shared.example.org').who()[0] == 'b')
    c.kubectl('delete', 'ingress', 'younger', 'nowhere', 'elsewhere', 'keyless')


def another_has_the_ports(c):
    """As where an ingress controller of before is still there: nobody is sent to its address, and it is told who has it."""
    c.kubectl('delete', 'service', 'wherry-front', '-n', 'kube-system', '--ignore-not-found')
    c.apply('{apiVersion: v1, kind: Service, metadata: {name: taker}, spec: {type: LoadBalancer, selector: {app: a}, ports: [{port: 80}]}}')
    address = lambda kind, name: c.kubectl('get', kind, name, '-o', 'jsonpath={.status.loadBalancer.ingress[0].ip}')
    eventually('it has the port', lambda: address('service', 'taker'))
    c.apply(one('late', 'late.example.org'))
    eventually('who has it', lambda: 'LoadBalancer Service default/taker' in c.wherry('why', 'ingress/late', check=False))
    eventually('it has no address', lambda: not address('ingress', 'late'))
    eventually('an event', lambda: 'AddressMissing' in {r for r, _ in events(c, 'late')}, timeout=15)
    c.kubectl('delete', 'service', 'taker')
    eventually('it has one', lambda: address('ingress', 'late'))
    assert c.wherry('why', 'ingress/late').startswith('Ingress late is as declared')
    c.kubectl('delete', 'ingress', 'late')


UGLY = ['/a"b', '/a\\', '/\u00e4', '/%zz', '/a#b', '/a\nb acl x', '/[', '/%{+Q}o', '/%[src]', '/a\r\nX: y', '/a=b&c', '/' + 'x' * 3000, '/\x7f', '/"}\n global']


def thousands_of_hosts_hold_nobody_up(c):
    """All of them come, change and go at once, with TLS and a backend for what is left: work by their number, not its square."""
    logged, hosts = len(c.log()), ['h%d.crowd.example.org' % i for i in range(2500)]
    text = ingress('crowd', {h: [('/', 'Prefix', 'a')] for h in hosts + ['*.crowd.example.org']}, {'ssl-redirect': 'false'}, {'nobody': hosts}, default='b')
    c.kubectl('create', '-f', '-', input=text)
    assert served(hosts[-1]).who()[0] == 'a' and served('other.crowd.example.org').who()[0] == 'a' and ask('elsewhere.example.org').who()[0] == 'b'
    c.kubectl('annotate', 'ingress', 'crowd', NOTE + 'app-root=/x')
    served(hosts[-1], status=302)
    c.kubectl('delete', 'ingress', 'crowd')
    eventually('nobody listens any more', lambda: not listens())
    held = [int(ms) for ms in re.findall(r' edge loop\.held .*? ms=(\d+)', c.log()[logged:])]
    assert max(held, default=0) < 500 * lib.slowness() and 'edge.proxy' not in c.log()[logged:], held


def patterns_are_tried_where_they_may_match(c):
    """Forty patterns beside 1,500 paths are not 60,000 conditions, each compiled in the proxy."""
    paths = [('/p%d' % i, 'Prefix', 'a') for i in range(1500)]
    c.apply(ingress('patterns', {'patterns.example.org': [('/X%d(/|$)(.*)' % i, 'ImplementationSpecific', 'b') for i in range(40)] + paths +
                                 [('/p7/[0-9]+', 'ImplementationSpecific', 'b'), ('/(any|p8)thing', 'ImplementationSpecific', 'b'), ('/zz|/p9/z', 'ImplementationSpecific', 'b'),
                                  ('/p10/?y', 'ImplementationSpecific', 'b')]}, {'rewrite-target': '/$2'}))
    served('patterns.example.org', '/p1499')
    for path, who in (('/x7/a', 'b'), ('/p7/12', 'b'), ('/p7/a', 'a'), ('/p8thing', 'b'), ('/p8/x', 'a'), ('/p9/z', 'b'), ('/p10y', 'b'), ('/p10/y', 'b'), ('/p10/z', 'a')):
        a = ask('patterns.example.org', path)
        assert a.status == 200 and a.who()[0] == who, (path, who, a)
    c.kubectl('delete', 'ingress', 'patterns')


def what_clients_say_of_themselves_is_not_passed_on(c):
    said = {'X-Forwarded-For': '192.0.2.1', 'X-Real-IP': '192.0.2.1', 'X-Forwarded-Proto': 'gopher', 'X-Forwarded-Host': 'said.example', 'X-Forwarded-Port': '1', 'Forwarded': 'for=192.0.2.1',
            'X-Forwarded-Scheme': 'gopher', 'X-Scheme': 'gopher', 'X-Forwarded-User': 'root', 'X-Forwarded-Prefix': '/said', 'Ssl-Client-Verify': 'SUCCESS', 'Ssl-Client-Subject-Dn': 'CN=root',
            'Proxy': 'http://said.example'}
    c.apply(one('said', 'saying.example.org'))
    served('saying.example.org')
    a = ask('saying.example.org', **said)
    assert not re.search(r'192\.0\.2\.1|gopher|said\.|root|SUCCESS|/said', a.body), a.body
    assert (a.heard('X-Forwarded-For'), a.heard('X-Forwarded-Proto'), a.heard('X-Forwarded-Host')) == ('127.0.0.1', 'http', 'saying.example.org'), a.body
    c.kubectl('delete', 'ingress', 'said')


def strange_secrets_break_nobody_else(c):
    """The proxy is never told what it would refuse, or take for something else: it would not start, for all hosts."""
    def made(name, *kind):
        files = '%s/%s-c.pem' % (c.root, name), '%s/%s-k.pem' % (c.root, name)
        run(['openssl', 'req', '-x509', '-nodes', '-keyout', files[1], '-out', files[0], '-days', '2', '-subj', '/CN=%s.strange.example.org' % name, '-newkey'] + list(kind))
        return [open(f).read() for f in files]
    good, other, short = made('good', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'), made('other', 'rsa:2048'), made('short', 'rsa:1024')
    locked = run(['openssl', 'pkey', '-in', c.root + '/good-k.pem', '-aes256', '-passout', 'pass:x'])
    block = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    shown_as = {'beside': (good[0] + other[1], good[1]), 'before': ('rubbish\n\nshow info\n\n' + good[0], good[1]), 'between': (good[0] + '\n\nset ssl cert x\n\n' + other[0], good[1] + '\n\n' + other[1]),
                'carriage': (good[0].replace('\n', '\r\n'), good[1].replace('\n', '\r\n')), 'bare': (good[0].strip(), good[1].strip())}
    refused = {'short': short, 'unfit': (good[0], other[1]), 'order': (other[0] + good[0], good[1]), 'second': (good[0] + block, good[1]), 'locked': (good[0], locked), 'cut': (good[0][:200], good[1])}
    c.apply(one('usual', 'usual.example.org', {'ssl-redirect': 'false'}, tls={'usual': ['usual.example.org']}))
    certificate(c, 'usual', ['usual.example.org'], serial=5)
    eventually('the usual certificate', lambda: served('usual.example.org', tls=True) and shown('usual.example.org')[1] == 5)
    logged, text = len(c.log()), ''
    for name, (cert, key) in dict(shown_as, **refused).items():
        data = {'tls.crt': base64.b64encode(cert.encode()).decode(), 'tls.key': base64.b64encode(key.encode()).decode()}
        text += json.dumps({'apiVersion': 'v1', 'kind': 'Secret', 'type': 'kubernetes.io/tls', 'metadata': {'name': 'strange-' + name}, 'data': data}) + '\n---\n'
        text += one('strange-' + name, name + '.strange.example.org', {'ssl-redirect': 'false'}, tls={'strange-' + name: [name + '.strange.example.org']})
    c.apply(text)
    for name in shown_as:
        eventually(name, lambda: shown(name + '.strange.example.org')[0] == 'good.strange.example.org')
    for name in refused:
        served(name + '.strange.example.org', tls=True)
        assert shown(name + '.strange.example.org')[0] not in ('good.strange.example.org', 'short.strange.example.org'), name
        eventually(name + ' is told', lambda: 'strange-' + name in c.wherry('why', 'ingress/strange-' + name, check=False) and
                   'Secret default/strange-' + name in c.wherry('why', 'ingress/strange-' + name, check=False))
    certificate(c, 'usual', ['usual.example.org'], serial=6)
    eventually('the next certificate', lambda: shown('usual.example.org')[1] == 6)
    assert not re.search(r'haproxy\.refused|edge\.proxy|edge\.refused', c.log()[logged:]), c.log()[logged:][-3000:]
    c.kubectl('delete', 'ingress', 'usual', *('strange-' + n for n in list(shown_as) + list(refused)))


def thousands_of_headers_hold_nobody_up(c):
    """Each name of a header that somebody sets is a line of the proxy's configuration, which all others' changes wait for."""
    def headers(name, n):
        return json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name}, 'data': {'X-%s-%d' % (name, i): 'said' for i in range(n)}}) + '\n---\n'
    c.kubectl('create', '-f', '-', input=headers('too-many', 5000) + headers('some', 60))
    c.apply(one('too-many', 'many.headers.example.org', {'custom-headers': 'too-many'}) + one('some', 'some.headers.example.org', {'custom-headers': 'some'}))
    assert served('some.headers.example.org').fields['x-some-59'] == 'said'
    eventually('it is told', lambda: 'over 64 headers' in c.kubectl('get', 'events', '--field-selector', 'reason=RouteRefused,involvedObject.name=too-many'))
    assert ask('many.headers.example.org').status == 404
    c.kubectl('replace', '-f', '-', input=headers('too-many', 3))
    assert served('many.headers.example.org').fields['x-too-many-2'] == 'said'
    codes = {'codes-%d' % n: ','.join(map(str, range(n, n + 50))) for n in range(300, 600, 50)}
    logged = len(c.log())
    c.apply(''.join(one(n, n + '.example.org', {'custom-http-errors': said, 'default-backend': 'b'}) for n, said in codes.items()) + one('some', 'some.headers.example.org', {'custom-headers': 'renamed'})
            + headers('renamed', 2))
    eventually('what needs a new start of the proxy', lambda: ask('some.headers.example.org').fields.get('x-renamed-1') == 'said')
    assert 'edge.proxy' not in c.log()[logged:], c.log()[logged:][-2000:]
    c.kubectl('delete', 'ingress', 'too-many', 'some', *codes)


def nothing_hostile_breaks_the_others(c):
    """Texts that anybody can write into an Ingress are texts, for the proxy too."""
    logged = len(c.log())
    kinds = [('Prefix', {}), ('Exact', {}), ('ImplementationSpecific', {'use-regex': 'true', 'rewrite-target': '/$1'})]
    names = ['x-forwarded-prefix', 'app-root', 'permanent-redirect', 'auth-realm', 'upstream-vhost', 'session-cookie-path', 'rewrite-target', 'server-alias']
    c.apply(''.join(ingress('ugly%d' % k, {'ugly%d-%d.example.org' % (i, k): [(path, kind, 'a')] for i, path in enumerate(UGLY)}, notes) for k, (kind, notes) in enumerate(kinds))
            + ''.join(one('noted%d' % i, 'noted%d.example.org' % i, {n: UGLY[5 + i] for n in names}) for i in range(4)))
    c.apply(one('good', 'good.example.org'))
    served('good.example.org')
    served('ugly0-0.example.org', '/a%22b')
    served('ugly2-1.example.org', '/%C3%A4')
    assert ask('ugly5-0.example.org', '/a').status == 404
    assert 'ALERT' not in c.log()[logged:] and 'edge.proxy' not in c.log()[logged:], c.log()[logged:][-2000:]
    c.kubectl('delete', 'ingress', 'good', *['ugly%d' % k for k in range(3)], *['noted%d' % i for i in range(4)])


def fails(c, *args):
    p = subprocess.run([lib.WHERRY, *args], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert p.returncode == 1, p.stdout
    return p.stdout


def exposed_in_one_line(c):
    out = c.wherry('expose', 'deploy/a', '--host', 'exposed.example.org', '--name', 'exposed')
    assert out == 'service/exposed applied\ningress.networking.k8s.io/exposed applied: http://exposed.example.org\n', out
    served('exposed.example.org')
    c.wherry('expose', 'deploy/a', '--host', 'exposed.example.org', '--name', 'exposed', '--path', '/sub')
    served('exposed.example.org', status=404)
    assert ask('exposed.example.org', '/sub').who() == ('a', '/sub')
    out = c.wherry('expose', 'deploy/a', '--host', 'there.example.org')
    assert out.startswith('service/a is there\n'), out     # somebody made it, and it leads to these pods
    served('there.example.org')
    assert 'leads to other pods' in fails(c, 'expose', 'deploy/b', '--name', 'a', '--host', 'x.example.org')
    c.kubectl('delete', 'ingress,svc', 'exposed')
    c.kubectl('delete', 'ingress', 'a')


# ---- while requests are under way ----

class Asking(threading.Thread):
    def __init__(self, host):
        super().__init__(daemon=True)
        self.host, self.over, self.bad, self.n = host, False, [], 0

    def run(self):
        while not self.over:
            try:
                a = ask(self.host)
                self.n += 1
                if a.status != 200:
                    self.bad.append(a)
            except OSError as e:
                self.bad.append(e)
            time.sleep(0.005)


def changes_lose_no_request(c):
    c.apply(one('steady', 'steady.example.org', service='many'))
    served('steady.example.org')
    asking = [Asking('steady.example.org') for _ in range(3)]
    for t in asking:
        t.start()
    for i in range(4):
        c.apply(''.join(one('more%d' % k, 'more%d-%d.example.org' % (i, k), {'proxy-read-timeout': str(10 + i), 'rewrite-target': '/r%d' % i}) for k in range(3)))
        c.kubectl('annotate', 'ingress', 'steady', NOTE + 'x-forwarded-prefix=/p%d' % i, '--overwrite')
        if i == 1:
            c.kubectl('rollout', 'restart', 'deploy/many')
        if i == 2:
            for role in 'edge', 'server', 'node':
                os.kill(c.role_pid(role), signal.SIGKILL)
            eventually('the server again', lambda: c.kubectl('get', 'ingress', 'steady'))
    c.kubectl('rollout', 'status', 'deploy/many', '--timeout', '60s', timeout=70)
    eventually('the last change', lambda: ask('steady.example.org').heard('X-Forwarded-Prefix') == '/p3')
    served('more3-2.example.org')
    for t in asking:
        t.over = True
        t.join()
    bad = [b for t in asking for b in t.bad]
    assert not bad and sum(t.n for t in asking) > 100, (len(bad), sum(t.n for t in asking), bad[:3])
    c.kubectl('delete', 'ingress', 'steady', 'more0', 'more1', 'more2')


def the_class_is_made_once(c):
    """Who deletes it has no use for it."""
    c.apply(one('left', 'left.example.org'))
    served('left.example.org')
    c.kubectl('delete', 'ingressclass', 'wherry')
    eventually('nobody serves it', lambda: not listens())
    os.kill(c.role_pid('server'), signal.SIGKILL)
    eventually('the server again', lambda: 'there is no such IngressClass' in c.wherry('why', 'ingress/left', check=False))
    eventually('no address any more', lambda: not c.kubectl('get', 'ingress', 'left', '-o', 'jsonpath={.status.loadBalancer.ingress}'))
    assert not c.kubectl('get', 'ingressclass')
    c.kubectl('delete', 'ingress', 'left')


# ---- the cluster ----

class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *unused):
        """Probes and clients that go are nothing to tell of."""


class Own(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        self.server.heard.append(self.path)
        if self.server.server_port == 8004:
            time.sleep(3)
        status = self.server.status.pop(0) if len(self.server.status) > 1 else self.server.status[0]
        body = ('own %s %s\n%s' % (self.command, self.path, self.headers)).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('X-User', 'somebody')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *unused):
        pass


def serve_grpc(listener):
    """Answers every request of HTTP/2 with a message and trailers."""
    def one_client(s):
        data = b''
        while len(data) < len(h2.GREETING):
            data += s.recv(4096)
        data = data[len(h2.GREETING):]
        s.sendall(h2.frame(h2.SETTINGS, 0, 0))
        while True:
            while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], 'big'):
                more = s.recv(65536)
                if not more:
                    return
                data += more
            n, kind, flags, stream = int.from_bytes(data[:3], 'big'), data[3], data[4], int.from_bytes(data[5:9], 'big')
            data = data[9 + n:]
            if kind == h2.SETTINGS and not flags & h2.ACK:
                s.sendall(h2.frame(h2.SETTINGS, h2.ACK, 0))
            if kind in (h2.HEADERS, h2.DATA) and flags & h2.END_STREAM:
                s.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, b'\x88' + h2.field('content-type', 'application/grpc'))
                          + h2.frame(h2.DATA, 0, stream, b'\0\0\0\0\2ok') + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, h2.field('grpc-status', '0')))

    def guarded(s):
        try:
            one_client(s)
        except OSError:
            pass
    while True:
        threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()


def by_hand(name, port):
    return '''
apiVersion: v1
kind: Service
metadata: {name: %(n)s}
spec: {ports: [{name: http, port: 80, targetPort: %(p)d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(n)s-1, labels: {kubernetes.io/service-name: %(n)s}}
addressType: IPv4
endpoints: [{addresses: [%(ip)s]}]
ports: [{name: http, port: %(p)d}]
---
''' % dict(n=name, p=port, ip=OWN)


def echo(name, replicas=1):
    args = '' if name == 'many' else ', args: ["8080", %s]' % name
    return '''
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(n)s}
spec:
  replicas: %(r)d
  selector: {matchLabels: {app: %(n)s}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: %(n)s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: echo, image: echo:1, ports: [{containerPort: 8080}], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}%(a)s}]
---
apiVersion: v1
kind: Service
metadata: {name: %(n)s}
spec: {selector: {app: %(n)s}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
''' % dict(n=name, r=replicas, a=args)


class Shop(Cluster):
    def load_image(self):
        tar, program = self.root + '/image.tar', self.root + '/echo'
        run(['gcc', '-O2', '-D_GNU_SOURCE', '-static', '-o', program, HERE + '/echo.c', '-lcrypto'])
        run([lib.WHERRY, 'image', 'pack', tar, 'echo:1', '--entrypoint', '/bin/echo', 'bin/echo=' + program])
        run([lib.WHERRY, 'image', 'load', tar, '--root', self.root])

    def up(self):
        run(['ip', 'address', 'add', OWN + '/32', 'dev', 'lo'])
        super().up()
        self.own = Server((OWN, 8001), Own)
        secure, slow = Server((OWN, 8002), Own), Server((OWN, 8004), Own)
        for server in self.own, secure, slow:
            server.status, server.heard = [200], []
        files = certificate(self, 'own', ['own.example.org'], apply=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        grpc = socket.create_server((OWN, 8003))
        for f in (self.own.serve_forever, secure.serve_forever, slow.serve_forever, lambda: serve_grpc(grpc)):
            threading.Thread(target=f, daemon=True).start()
        self.apply(echo('a') + echo('b') + echo('many', 2) + by_hand('own', 8001) + by_hand('own-tls', 8002) + by_hand('own-grpc', 8003) + by_hand('own-slow', 8004))
        for name in 'a', 'b', 'many':
            self.kubectl('rollout', 'status', 'deploy/' + name, '--timeout', '60s', timeout=70)


if __name__ == '__main__':
    main([another_has_the_ports, hosts_and_paths, certificates, redirects, rewrites, who_may, asked_for_a_name, copies_and_pages, affinity_and_hashes, canaries, backends_of_other_protocols, tls_to_backends, stand_ins,
          clients_show_certificates, passed_through, websockets,
          what_is_missing_is_told, thousands_of_hosts_hold_nobody_up, patterns_are_tried_where_they_may_match,
          what_clients_say_of_themselves_is_not_passed_on, strange_secrets_break_nobody_else, thousands_of_headers_hold_nobody_up, nothing_hostile_breaks_the_others, exposed_in_one_line, changes_lose_no_request,
          the_class_is_made_once], cluster=Shop)
