#!/usr/bin/env python3
"""Certificates by ACME, from pebble, which refuses half of all nonces: by one annotation, by the door itself over HTTP and TLS,
for addresses, for names with a star by signed updates of DNS, and by a program of the administrator; with an account
elsewhere, a key that is exchanged, a server that is down, slow, new, lies or sends megabytes; with roles killed in between;
and renewed under load, without a request that fails."""
import base64, http.client, json, os, signal, socket, ssl, subprocess, sys, threading, time, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ca, lib
from lib import Cluster, eventually, main, run, size

EAB = {'kid-1': 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W'}
world = None


class World:
    def __init__(self):
        self.ca = ca.Authority()
        self.dns = ca.Dns('127.0.0.1')
        self.pebble = ca.Pebble(self.ca, self.dns)
        open(self.ca.dir + '/resolv.conf', 'w').write('nameserver 127.0.0.1\n')
        run(['mount', '--bind', self.ca.dir + '/resolv.conf', '/etc/resolv.conf'])
        self.tsig = self.ca.dir + '/tsig'
        open(self.tsig, 'w').write(ca.TSIG_SECRET)
        self.hook = self.ca.dir + '/hook'
        open(self.hook, 'w').write('#!/bin/sh\necho "$@" >>%s/hooked\n[ -e %s/fail ] && { echo no such zone >&2; exit 3; }\n'
                                   'exec busybox wget -qO- "http://127.0.0.1:8099/$1/$2/$3"\n' % (self.ca.dir, self.ca.dir))
        for path, mode in ((self.ca.dir, 0o777), (self.hook, 0o755)):
            os.chmod(path, mode)

    def close(self):
        self.pebble.stop()
        run(['umount', '/etc/resolv.conf'])
        self.ca.close()


def issue(c, name, issuer='acme-default', names=(), ips=(), ns='default'):
    c.apply('''apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: %s, namespace: %s}
spec: {secretName: %s, dnsNames: %s, ipAddresses: %s, issuerRef: {name: %s, kind: ClusterIssuer}}
''' % (name, ns, name, json.dumps(list(names)), json.dumps(list(ips)), issuer))


def issued(c, name, timeout=20):
    """The certificate in the Secret, once it is there."""
    c.kubectl('wait', 'certificate/' + name, '--for=condition=Ready', '--timeout=%ds' % timeout, timeout=timeout + 10)
    pem = base64.b64decode(c.kubectl('get', 'secret', name, '-o', r'jsonpath={.data.tls\.crt}')).decode()
    return run(['openssl', 'x509', '-noout', '-text'], input=pem)


def renew(c, name):
    """As cmctl does it."""
    c.kubectl('patch', 'certificate', name, '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'conditions': [
        {'type': 'Issuing', 'status': 'True', 'reason': 'ManuallyTriggered', 'message': 'by the test', 'lastTransitionTime': '2026-01-01T00:00:00Z'}]}}))


def order_says(c, name, words, timeout=15):
    def look():
        text = c.kubectl('get', 'orders,challenges', '-o', 'json')
        return any(words in json.dumps(o.get('status', {})) for o in json.loads(text)['items'] if o['metadata']['name'].startswith(name))
    eventually('%s says %s' % (name, words), look, timeout)


def acme_set(c, *args, server=None, check=True):
    p = subprocess.run([lib.WHERRY, 'acme', 'set', '--email', 'you@example.org', '--server', server or world.pebble.url, '--ca-bundle',
                        world.ca.bundle, *args], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=70)
    if check and p.returncode:
        raise AssertionError(p.stdout)
    return p.stdout


def a_command_makes_an_issuer(c):
    said = acme_set(c)
    assert 'clusterissuer/acme-default is ready: https://localhost:14000/' in said, said
    issuer = json.loads(c.kubectl('get', 'clusterissuer', 'acme-default', '-o', 'json'))
    assert issuer['metadata']['annotations']['wherry.dev/is-default-issuer'] == 'true', issuer
    assert issuer['status']['conditions'][0]['reason'] == 'ACMEAccountRegistered', issuer
    assert 'acme-default   True    yes' in c.wherry('acme', 'status')
    # another default takes the mark of the first; an address that is changed is changed at the server
    acme_set(c, '--name', 'other')
    assert 'is-default-issuer' not in c.kubectl('get', 'clusterissuer', 'acme-default', '-o', 'yaml').split('spec:')[0]
    acme_set(c)
    c.kubectl('delete', 'clusterissuer', 'other')


def names_and_addresses_are_proved_by_the_door(c):
    issue(c, 'http', names=['a.example.org', 'b.example.org'], ips=['127.0.0.1'])
    text = issued(c, 'http')
    assert 'DNS:a.example.org, DNS:b.example.org, IP Address:127.0.0.1' in text, text
    # nothing of it is left: neither the answers nor the proxy that gave them
    eventually('no Challenge is left', lambda: not json.loads(c.kubectl('get', 'challenges', '-o', 'json'))['items'])


def names_are_proved_over_tls(c):
    """On port 443, also of a host that is served there with a certificate already."""
    acme_set(c, '--name', 'tls', '--not-default', '--solver', 'tls-alpn-01')
    issue(c, 'tls', 'tls', ['tls.example.org', 'tls2.example.org'], ips=['127.0.0.1'])
    issued(c, 'tls')
    c.apply('''apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: tls}
spec:
  tls: [{hosts: [tls.example.org], secretName: tls}]
  rules: [{host: tls.example.org}]
''')
    context, failed, stop = ssl.create_default_context(cadata=world.pebble.root()), [], threading.Event()

    def ask():
        with socket.create_connection(('127.0.0.1', 443), 5) as raw, context.wrap_socket(raw, server_hostname='tls.example.org') as s:
            return s.getpeercert()['serialNumber']
    first = eventually('it is served', ask)

    def load():
        while not stop.is_set():
            try:
                ask()
            except OSError as e:
                failed.append(repr(e))
            time.sleep(0.01)
    thread = threading.Thread(target=load)
    thread.start()
    try:
        renew(c, 'tls')
        eventually('it was renewed', lambda: ask() != first)
    finally:
        stop.set()
        thread.join()
        c.kubectl('delete', 'ingress', 'tls')
    assert not failed, failed[:3]


def names_with_a_star_are_proved_by_updates(c):
    acme_set(c, '--name', 'dns', '--not-default', '--solver', 'rfc2136', '--nameserver', '127.0.0.1:53', '--tsig-key-name', ca.TSIG_NAME,
             '--tsig-secret', world.tsig)
    issue(c, 'star', 'dns', ['*.star.example.org', 'star.example.org'])
    assert 'DNS:*.star.example.org' in issued(c, 'star')
    eventually('the records are taken away', lambda: not world.dns.texts['_acme-challenge.star.example.org'])
    added = [u for u in world.dns.updates if u[:2] == ('add', '_acme-challenge.star.example.org')]
    assert len({u[2] for u in added}) == 2, world.dns.updates
    # a server that refuses is told of in its own words, and asked again
    world.dns.refuse = True
    issue(c, 'refused', 'dns', ['*.refused.example.org'])
    order_says(c, 'refused', 'the update is refused: REFUSED')
    world.dns.refuse = False
    issued(c, 'refused')
    # a zone that takes no updates leads to one that does
    world.dns.aliases['_acme-challenge.alias.test'] = 'alias.star.example.org'
    c.kubectl('patch', 'clusterissuer', 'dns', '--type=json', '-p',
              '[{"op": "add", "path": "/spec/acme/solvers/0/dns01/cnameStrategy", "value": "Follow"}]')
    issue(c, 'alias', 'dns', ['*.alias.test'])
    issued(c, 'alias')
    assert ('add', 'alias.star.example.org') in [u[:2] for u in world.dns.updates], world.dns.updates


def the_administrator_has_a_program(c):
    """Called with what is to be done, the name and the value; its words reach the Challenge."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            verb, name, value = self.path[1:].split('/')
            texts = world.dns.texts.setdefault(name.lower(), [])
            texts.append(value) if verb == 'present' else texts.remove(value)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *unused):
            pass
    server = http.server.HTTPServer(('127.0.0.1', 8099), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    open(world.ca.dir + '/fail', 'w').close()
    acme_set(c, '--name', 'hook', '--not-default', '--solver', 'hook')
    issue(c, 'hooked', 'hook', ['*.hook.test'])
    order_says(c, 'hooked', 'ended with status 3: no such zone')
    os.unlink(world.ca.dir + '/fail')
    issued(c, 'hooked')
    eventually('it is called to clean up', lambda: 'cleanup _acme-challenge.hook.test' in open(world.ca.dir + '/hooked').read())
    server.shutdown()
    server.server_close()


WEBHOOK = '''apiVersion: v1
kind: Service
metadata: {name: solver}
spec: {ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: solver-1, labels: {kubernetes.io/service-name: solver}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.77], conditions: {ready: true}}]
ports: [{port: 8443, protocol: TCP}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1alpha1.acme.test}
spec: {group: acme.test, version: v1alpha1, groupPriorityMinimum: 1000, versionPriority: 15, insecureSkipTLSVerify: true,
       service: {name: solver, namespace: default}}
'''


def webhooks_of_cert_manager_are_called(c):
    """A ChallengePayload to the aggregated API; who may not call it is told what to bind."""
    said = []

    def say(h):
        if h.command != 'POST':
            h.give(200, {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': 'acme.test/v1alpha1', 'resources': [
                {'name': 'mine', 'singularName': '', 'namespaced': False, 'kind': 'ChallengePayload', 'verbs': ['create']}]}, Content_Type='application/json')
            return
        r = json.loads(h.said)['request']
        said.append(r)
        texts = world.dns.texts.setdefault(r['resolvedFQDN'].rstrip('.'), [])
        if r['action'] == 'Present' and len(said) == 1:
            h.give(200, {'response': {'uid': r['uid'], 'success': False, 'status': {'message': 'the provider is asleep'}}}, Content_Type='application/json')
            return
        texts.append(r['key']) if r['action'] == 'Present' else texts.remove(r['key'])
        h.give(200, {'response': {'uid': r['uid'], 'success': True}}, Content_Type='application/json')
    run(['ip', 'addr', 'add', '192.0.2.77/32', 'dev', 'lo'])
    webhook = ca.Liar(world.ca, 8443, say, '192.0.2.77')
    try:
        acme_set(c, '--name', 'webhook', '--not-default', '--solver', 'hook')
        c.kubectl('patch', 'clusterissuer', 'webhook', '--type=json', '-p', json.dumps([{'op': 'replace', 'path': '/spec/acme/solvers/0/dns01', 'value': {
            'webhook': {'groupName': 'acme.test', 'solverName': 'mine', 'config': {'zone': 7}}}}]))
        c.apply(WEBHOOK)
        c.kubectl('wait', 'apiservice/v1alpha1.acme.test', '--for=condition=Available', '--timeout=20s')
        issue(c, 'hooks', 'webhook', ['*.hooks.test'])
        order_says(c, 'hooks', "bind the solver's ClusterRole (create in acme.test) to the User system:wherry-edge")
        c.kubectl('create', 'clusterrole', 'solver', '--verb=create', '--resource=mine.acme.test')
        c.kubectl('create', 'clusterrolebinding', 'solver', '--clusterrole=solver', '--user=system:wherry-edge')
        order_says(c, 'hooks', 'the provider is asleep')
        issued(c, 'hooks')
        eventually('it is called to clean up', lambda: said[-1]['action'] == 'CleanUp')
        present = [r for r in said if r['action'] == 'Present'][-1]
        assert present['resolvedFQDN'] == '_acme-challenge.hooks.test.' and present['resolvedZone'] == 'test.', present
        assert present['dnsName'] == 'hooks.test' and present['config'] == {'zone': 7} and present['type'] == 'dns-01', present
        assert present['resourceNamespace'] == 'cert-manager' and present['uid'] and not present['allowAmbientCredentials'], present
    finally:
        webhook.close()
        c.kubectl('delete', 'apiservice', 'v1alpha1.acme.test', '--ignore-not-found')


def an_account_elsewhere_is_bound(c):
    bound = ca.Pebble(world.ca, world.dns, port=14100, eab=EAB)
    try:
        says = lambda *args: acme_set(c, '--name', 'bound', '--not-default', *args, server=bound.url, check=False)
        assert 'externalAccountRequired' in says(), 'it is asked for one'
        assert 'external account binding' in says('--eab-kid', 'kid-1', '--eab-key', 'd3Jvbmcgd3Jvbmcgd3Jvbmc'), 'a wrong key'
        assert 'is ready' in says('--eab-kid', 'kid-1', '--eab-key', EAB['kid-1'])
        issue(c, 'bound', 'bound', ['bound.example.org'])
        issued(c, 'bound')
    finally:
        bound.stop()


def a_key_is_exchanged(c):
    """Another key in the Secret: the account stays, and answers to the new one."""
    told = lambda: json.loads(c.kubectl('get', 'clusterissuer', 'acme-default', '-o', 'jsonpath={.status.acme}'))
    before = told()
    key = run(['openssl', 'genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'])
    c.kubectl('patch', 'secret', '-n', 'cert-manager', 'acme-default-account', '--type=merge', '-p',
              json.dumps({'data': {'tls.key': base64.b64encode(key.encode()).decode()}}))
    eventually('it is told of', lambda: told()['lastPrivateKeyHash'] != before['lastPrivateKeyHash'])
    assert told()['uri'] == before['uri'], (before, told())
    issue(c, 'rekeyed', names=['rekeyed.example.org'])
    issued(c, 'rekeyed')


def servers_that_lie(c):
    """Each costs a sentence and nothing else."""
    directory = lambda h: {n: 'https://%s/%s' % (h.headers['Host'], n) for n in ('newNonce', 'newAccount', 'newOrder')}

    def acme(answer):
        def say(h):
            if h.path == '/dir':
                h.give(200, directory(h))
            elif h.path == '/newNonce':
                h.give(200, b'', Replay_Nonce='abc')
            else:
                answer(h)
        return say

    def big(h):
        h.send_response(200)
        h.send_header('Content-Length', str(64 << 20))
        h.end_headers()
        for _ in range(64):
            h.wfile.write(b' ' * (1 << 20))
    urn = 'urn:ietf:params:acme:error:'
    cases = [
        ('page', lambda h: h.give(200, b'<html>welcome'), 'the directory is no JSON object'),
        ('big', big, 'its answer is over 262144 bytes'),
        ('deep', lambda h: h.give(200, b'[' * 200000), 'the directory has more than 20000 values'),
        ('away', lambda h: h.give(200, {'newNonce': 'http://169.254.169.254/', 'newAccount': 'https://a/', 'newOrder': 'https://a/'}),
         'newNonce is no URL of https'),
        ('storm', acme(lambda h: h.give(400, {'type': urn + 'badNonce', 'detail': 'bad'}, Replay_Nonce='abd')), 'badNonce: bad'),
        ('limit', acme(lambda h: h.give(429, {'type': urn + 'rateLimited', 'detail': 'too many'}, Retry_After='3600')), 'rateLimited: too many'),
        ('nowhere', acme(lambda h: h.give(201, {'status': 'valid'})), 'does not say where it is'),
        ('gone', acme(lambda h: h.give(201, {'status': 'deactivated'}, Location='https://%s/me' % h.headers['Host'])), 'deactivated at the server'),
    ]
    servers = {}
    try:
        for i, (name, say, _) in enumerate(cases):
            servers[name] = ca.Liar(world.ca, 15300 + i, say)
        said = {}

        def ask(name):
            said[name] = acme_set(c, '--name', name, '--not-default', '--timeout', '20s', server=servers[name].url + '/dir', check=False)
        threads = [threading.Thread(target=ask, args=(name,)) for name in servers]
        [t.start() for t in threads]
        [t.join() for t in threads]
        for name, _, words in cases:
            assert words in said[name], (name, said[name])
        asked = servers['limit'].asked
        assert asked < 8, 'who was asked to wait for an hour waits: %d' % asked
    finally:
        [s.close() for s in servers.values()]
    c.kubectl('delete', 'clusterissuer', *servers)


def an_authority_says_when_to_renew(c):
    """ARI (RFC 9773): a window that lies before, and the certificate is renewed at once, saying what it takes the place of;
    then one that lies behind, and it is asked no more often than it wants to be."""
    window, orders, asked = [-3600, -1800], [], []
    context = ssl.create_default_context(cafile=world.ca.bundle)
    stamp = lambda s: time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + s))

    def say(h):
        import urllib.request
        if h.path == '/dir':
            directory = json.load(urllib.request.urlopen(world.pebble.url, context=context))
            h.give(200, dict(directory, renewalInfo='https://%s/ari' % h.headers['Host']))
        else:
            asked.append(h.path.split('/')[2])
            h.give(200, {'suggestedWindow': {'start': stamp(window[0]), 'end': stamp(window[1])}, 'explanationURL': 'https://ca.example/why'},
                   Retry_After='600')
    liar = ca.Liar(world.ca, 15190, say)
    try:
        acme_set(c, '--name', 'ari', '--not-default', server=liar.url + '/dir')
        issue(c, 'ari', 'ari', ['ari.example.org'])
        issued(c, 'ari')
        get = lambda: json.loads(c.kubectl('get', 'certificate', 'ari', '-o', 'json'))
        eventually('it is told when', lambda: 'wherry.dev/renew-at' in get()['metadata']['annotations'])
        window[:] = [86400 * 10, 86400 * 11]
        eventually('it is renewed', lambda: get()['status'].get('revision') == 2)
        eventually('and asked about anew', lambda: len(set(asked)) == 2)
        at = lambda: get()['status'].get('renewalTime', '')
        eventually('it is to be renewed in the window', lambda: stamp(window[0] - 60) <= at() <= stamp(window[1]))
        ari = get()['status']['acme']['ari']
        assert ari['explanationURL'] == 'https://ca.example/why' and ari['nextCheck'] > stamp(500), ari
        assert len(asked) == 2, asked
        order = [o for o in json.loads(c.kubectl('get', 'orders', '-o', 'json'))['items'] if o['metadata']['name'].startswith('ari-2')]
        assert order and order[0]['status']['state'] == 'valid', order
    finally:
        liar.close()


def another_issuer_is_asked_where_one_fails(c):
    def say(h):
        if h.path == '/dir':
            h.give(200, {n: 'https://%s/%s' % (h.headers['Host'], n) for n in ('newNonce', 'newAccount', 'newOrder')})
        elif h.path == '/newAccount':
            h.give(201, {'status': 'valid', 'contact': ['mailto:you@example.org']}, Location='https://%s/me' % h.headers['Host'], Replay_Nonce='abd')
        elif h.path == '/newOrder':
            h.give(403, {'type': 'urn:ietf:params:acme:error:rejectedIdentifier', 'detail': 'not for you'}, Replay_Nonce='abe')
        else:
            h.give(200, b'', Replay_Nonce='abc')
    liar = ca.Liar(world.ca, 15191, say)
    try:
        acme_set(c, '--name', 'picky', '--not-default', '--fallback', 'acme-default', server=liar.url + '/dir')
        issue(c, 'second', 'picky', ['second.example.org'])
        assert 'Pebble' in issued(c, 'second')
    finally:
        liar.close()


def a_certificate_comes_before_its_ingress(c):
    """The other example: a Certificate of its own, here of the default issuer."""
    c.kubectl('apply', '-f', lib.TOP + '/examples/https/certificate.yaml')
    c.kubectl('wait', 'certificate/shop', '--for=condition=Ready', '--timeout=20s')
    context = ssl.create_default_context(cadata=world.pebble.root())

    def served():
        with socket.create_connection(('127.0.0.1', 443), 5) as raw, context.wrap_socket(raw, server_hostname='shop.example.org') as s:
            return s.getpeercert()
    eventually('it is served', served)
    c.kubectl('delete', '-f', lib.TOP + '/examples/https/certificate.yaml')


def a_server_that_is_down_comes_back_as_another(c):
    """It has forgotten every account and order meanwhile; roles are killed as well."""
    world.pebble.stop()
    issue(c, 'patient', names=['patient.example.org'])
    order_says(c, 'patient', 'cannot be reached: Connection refused')
    for role in ('edge', 'server'):
        os.kill(c.role_pid(role), signal.SIGKILL)
    world.pebble.start()
    issued(c, 'patient', 40)


def renewals_lose_no_request(c):
    """Connections all the time, and certificates that are asked for anew (as cmctl renew does it), or live for seconds (the
    long form)."""
    short = ca.Pebble(world.ca, world.dns, port=14200, seconds=size(None, 20), nonces=10)
    root, failed, serials, stop = short.root(), [], set(), threading.Event()
    try:
        acme_set(c, '--name', 'short', server=short.url)
        c.apply(lib.deployment('shop', 2) + lib.service('shop'))
        c.kubectl('apply', '-f', lib.TOP + '/examples/https/annotation.yaml')
        context = ssl.create_default_context(cadata=root)

        def ask():
            with socket.create_connection(('127.0.0.1', 443), 5) as raw, context.wrap_socket(raw, server_hostname='shop.example.org') as s:
                s.settimeout(5)
                serial = s.getpeercert()['serialNumber']
                s.sendall(b'GET / HTTP/1.1\r\nHost: shop.example.org\r\nConnection: close\r\n\r\n')
                answer = b''
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        break
                    answer += piece
            assert answer.startswith(b'HTTP/1.1 200 '), answer[:100]
            return serial
        eventually('it is served with a certificate of the authority', ask, 30)

        def load():
            while not stop.is_set():
                start = time.monotonic()
                try:
                    serials.add(ask())
                except (OSError, AssertionError) as e:
                    failed.append(repr(e))
                time.sleep(max(0, 0.02 - (time.monotonic() - start)))
        threads = [threading.Thread(target=load) for _ in range(4)]
        [t.start() for t in threads]
        for n in range(size(3, 0)):
            renew(c, 'shop-tls')
            eventually('it was renewed', lambda: len(serials) >= n + 2)
        eventually('it was renewed', lambda: len(serials) >= size(4, 8), size(25, 200))
        stop.set()
        [t.join() for t in threads]
        assert not failed, '%d failed: %s' % (len(failed), failed[:3])
    finally:
        stop.set()
        c.kubectl('delete', 'ingress', 'shop', '--ignore-not-found')
        short.stop()
        acme_set(c)


AT_ONCE = [names_with_a_star_are_proved_by_updates, the_administrator_has_a_program, webhooks_of_cert_manager_are_called,
           an_account_elsewhere_is_bound, servers_that_lie, an_authority_says_when_to_renew, another_issuer_is_asked_where_one_fails]


def many_things_at_once(c):
    """Those that have issuers of their own, side by side: most of each is waiting."""
    failed = []

    def one(test):
        try:
            test(c)
        except Exception as e:
            failed.append('%s: %s\n%s' % (test.__name__, e, traceback.format_exc(limit=-2)))
    threads = [threading.Thread(target=one, args=(t,)) for t in AT_ONCE]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failed, '\n'.join(failed)


class AcmeCluster(Cluster):
    def __enter__(self):
        global world
        world = World()
        self.args += ['--set', 'acme-dns-hook=' + world.hook, '--set', 'acme-dns-check=on']
        return super().__enter__()

    def __exit__(self, *unused):
        super().__exit__(*unused)
        world.close()


if __name__ == '__main__':
    together = AT_ONCE if sys.argv[1:] else [many_things_at_once]
    main([a_command_makes_an_issuer, names_and_addresses_are_proved_by_the_door, names_are_proved_over_tls, *together, a_key_is_exchanged,
          renewals_lose_no_request, a_certificate_comes_before_its_ingress, a_server_that_is_down_comes_back_as_another], cluster=AcmeCluster)
