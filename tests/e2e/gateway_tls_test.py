#!/usr/bin/env python3
"""Gateways and what is not plain HTTP: TLS passed through by name, TLS that ends at the front door, bytes of TCP, and TLS
towards backends as BackendTLSPolicies ask for it."""
import json, os, signal, socket, ssl, threading
from gateway_test import B, BACK, HTTP, NAMES, NODE, R, ask, begin, closed, conditions, gateway, parent, route, service
from lib import eventually, main, run

PORTS = {'tls': 9443, 'tcp': 9100}


class Stream(threading.Thread):
    """Says its name to whoever connects; over TLS, after a request in HTTP, also the name that it was asked for and whose
    certificate it was shown."""

    def __init__(self, who, address, port, tls=None):
        super().__init__(daemon=True)
        self.who, self.tls, self.s = who, tls, socket.create_server((address, port))
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.serve, args=[self.s.accept()[0]], daemon=True).start()

    def serve(self, s):
        try:
            if not self.tls:
                s.sendall((self.who + ' ' + s.recv(100).decode(errors='replace')).encode())
                s.close()
                return
            asked = []
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls[:2])
            context.sni_callback = lambda _, name, __: asked.append(name)
            if self.tls[2]:
                context.load_verify_locations(self.tls[2])
                context.verify_mode = ssl.CERT_REQUIRED
            with context.wrap_socket(s, server_side=True) as t:
                while t.recv(65536).find(b'\r\n\r\n') < 0:
                    pass
                shown = dict(x[0] for x in (t.getpeercert() or {}).get('subject', ()))
                text = json.dumps({'who': self.who, 'sni': asked[0], 'client': shown.get('commonName', '')})
                t.sendall(('HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' % (len(text), text)).encode())
        except (OSError, ValueError):
            pass                            # the door takes connections away when it pleases


def certificates(d):
    sh = lambda *argv: run(['openssl'] + list(argv))
    ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    for name in 'ca', 'other':
        sh('req', '-x509', *ec, '-days', '2', '-keyout', d + name + '.key', '-out', d + name + '.crt', '-subj', '/CN=' + name)
    for name, host in ('a', 'a.example'), ('b', 'b.example'), ('c', 'c.example'), ('front', 'front.example'), ('client', 'the-gateway'):
        sh('req', *ec, '-keyout', d + name + '.key', '-out', d + 'csr', '-subj', '/CN=' + host)
        with open(d + 'ext', 'w') as f:
            f.write('subjectAltName=DNS:' + host)
        sh('x509', '-req', '-in', d + 'csr', '-CA', d + 'ca.crt', '-CAkey', d + 'ca.key', '-CAcreateserial', '-out', d + name + '.crt', '-days', '2', '-extfile', d + 'ext')


def prepare(c):
    begin(c)
    d = c.root + '/pki/'
    os.mkdir(d)
    certificates(d)
    for who, i in NAMES.items():
        Stream(who, BACK % i, PORTS['tls'], (d + who + '.crt', d + who + '.key', d + 'ca.crt' if who == 'c' else None))
        Stream(who, BACK % i, PORTS['tcp'])
    for who, i in NAMES.items():
        for what, port in PORTS.items():
            c.apply(service(what + '-' + who, i).replace('9000', str(port)).replace('port: 80', 'port: %d' % port).replace('name: http', 'name: ' + what))
    c.kubectl('create', 'secret', 'tls', 'front', '--cert=' + d + 'front.crt', '--key=' + d + 'front.key')
    c.kubectl('create', 'secret', 'tls', 'client', '--cert=' + d + 'client.crt', '--key=' + d + 'client.key')
    for name in 'ca', 'other':
        c.kubectl('create', 'configmap', name, '--from-file=ca.crt=' + d + name + '.crt')
    c.trust = ssl.create_default_context(cafile=d + 'ca.crt')


def to(what, who, weight=1):
    return '{name: %s-%s, port: %d, weight: %d}' % (what, who, PORTS[what], weight)


def shaken(c, host, port):
    """What is said behind a certificate that the authority has signed for this host; '' where nothing is."""
    try:
        with c.trust.wrap_socket(socket.create_connection((NODE, port), 5), server_hostname=host) as s:
            s.sendall(b'GET / HTTP/1.1\r\nHost: ' + host.encode() + b'\r\n\r\n')
            return s.makefile('rb').read().decode().split('\r\n\r\n')[-1]
    except ssl.SSLCertVerificationError as e:
        return str(e)
    except OSError:
        return ''


def tls_is_passed_through_by_name(c):
    c.apply(gateway('{name: tls, port: 8443, protocol: TLS, tls: {mode: Passthrough}}', 'through') +
            ''.join(route('through-' + w, '[%s]' % ('{backendRefs: [%s]}' % to('tls', w)), h, '[{name: through}]', kind='TLSRoute')
                    for w, h in (('a', 'a.example'), ('b', '"*.example"'))))
    eventually('the exact name', lambda: '"a"' in shaken(c, 'a.example', 8443))
    assert json.loads(shaken(c, 'b.example', 8443)) == {'who': 'b', 'sni': 'b.example', 'client': ''}
    assert shaken(c, 'a.elsewhere', 8443) == ''
    assert parent(c, 'through-a', kind='tlsroute') == {'Accepted': 'Accepted', 'ResolvedRefs': 'ResolvedRefs'}
    assert c.get('gateway', 'through')['status']['listeners'][0]['attachedRoutes'] == 2
    os.kill(c.role_pid('edge'), signal.SIGKILL)
    assert json.loads(shaken(c, 'a.example', 8443))['who'] == 'a'
    c.kubectl('delete', 'tlsroute', 'through-a')
    eventually('the wider name has it', lambda: 'b.example' in shaken(c, 'a.example', 8443) or "doesn't match" in shaken(c, 'a.example', 8443) or
               'mismatch' in shaken(c, 'a.example', 8443).lower())
    c.kubectl('delete', 'tlsroute', 'through-b')
    eventually('nobody has it', lambda: shaken(c, 'b.example', 8443) == '')
    c.kubectl('delete', 'gateway', 'through')
    eventually('the port is closed', lambda: closed(8443))


def tls_ends_at_the_door(c):
    c.apply(gateway('{name: tls, port: 8444, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: front}]}}', 'ends') +
            route('ends', '[{backendRefs: [%s]}]' % to('tcp', 'a'), 'front.example', '[{name: ends}]', kind='TLSRoute'))
    eventually('bytes', lambda: shaken(c, 'front.example', 8444).startswith('a GET / HTTP/1.1') or shaken(c, 'front.example', 8444) == '')
    eventually('bytes', lambda: said(c, 'front.example', 8444).startswith(b'a GET'))
    c.kubectl('delete', 'gateway', 'ends')
    c.kubectl('delete', 'tlsroute', 'ends')


def said(c, host, port):
    with c.trust.wrap_socket(socket.create_connection((NODE, port), 5), server_hostname=host) as s:
        s.sendall(b'GET / HTTP/1.1\r\n\r\n')
        return s.recv(1000)


def spoken(port):
    try:
        with socket.create_connection((NODE, port), 5) as s:
            s.sendall(b'hello')
            return s.recv(100).decode()
    except OSError:
        return ''


def bytes_of_tcp(c):
    tcp = lambda name, refs: route(name, '[{backendRefs: [%s]}]' % refs, '', '[{name: bytes}]', kind='TCPRoute')
    c.apply(gateway('{name: tcp, port: 9200, protocol: TCP}', 'bytes') + tcp('older', to('tcp', 'a', 1) + ', ' + to('tcp', 'b', 3)))
    eventually('served', lambda: spoken(9200).endswith(' hello'))
    heard = [spoken(9200)[:1] for _ in range(80)]
    assert 8 <= heard.count('a') <= 35 and heard.count('b') == 80 - heard.count('a'), heard
    c.kubectl('wait', '--for=jsonpath={.status.listeners[0].attachedRoutes}=1', 'gateway/bytes', '--timeout=10s')
    c.apply(tcp('younger', to('tcp', 'c')))
    eventually('it is accepted', lambda: parent(c, 'younger', kind='tcproute')['Accepted'] == 'Accepted')
    assert 'c hello' not in {spoken(9200) for _ in range(20)}, 'the older one has the port'
    c.kubectl('delete', 'tcproute', 'older')
    eventually('the younger has it', lambda: spoken(9200) == 'c hello')
    c.apply(tcp('younger', '{name: missing, port: 1}'))
    eventually('nothing is there', lambda: spoken(9200) == '')
    assert parent(c, 'younger', kind='tcproute')['ResolvedRefs'] == '!BackendNotFound'
    c.kubectl('delete', 'gateway', 'bytes')
    c.kubectl('delete', 'tcproute', 'younger')


def policy(who, host, more='caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]', name=''):
    return '''
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: %s}
spec: {targetRefs: [{group: "", kind: Service, name: tls-%s, sectionName: tls}], validation: {hostname: %s, %s}}
---
''' % (name or who, who, host, more)


def backends_are_spoken_to_with_tls(c):
    """With the right authority and name, and with no other; what is broken breaks nothing else."""
    said = lambda who: ask('/', 'over-%s.example' % who)
    told = lambda name: conditions(c.get('backendtlspolicy', name), 'ancestors', 0)
    c.apply(''.join(route('over-' + w, '[{backendRefs: [%s]}]' % to('tls', w), 'over-%s.example' % w) for w in 'ab') + policy('a', 'a.example'))
    eventually('verified', lambda: said('a')[2] == {'who': 'a', 'sni': 'a.example', 'client': ''})
    assert told('a') == {'Accepted': 'Accepted', 'ResolvedRefs': 'ResolvedRefs'}, told('a')
    assert said('b')[0] in (400, 502, 503), 'in the clear it says nothing'
    for wrong in ('caCertificateRefs: [{group: "", kind: ConfigMap, name: other}]', 'wellKnownCACertificates: System'):
        c.apply(policy('b', 'b.example', wrong))
        eventually('accepted', lambda: told('b')['Accepted'] == 'Accepted')
        eventually('no authority of those signed it', lambda: said('b')[0] in (502, 503))
    c.kubectl('delete', 'backendtlspolicy', 'b')
    c.apply(policy('b', 'a.example'))
    eventually('another name', lambda: told('b')['Accepted'] == 'Accepted' and said('b')[0] in (502, 503))
    c.apply(policy('b', 'ask.example', 'subjectAltNames: [{type: Hostname, hostname: b.example}], caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]'))
    eventually('it cannot be verified', lambda: told('b')['Accepted'] == '!Invalid' and said('b')[0] >= 500)
    c.apply(policy('b', 'b.example', 'subjectAltNames: [{type: Hostname, hostname: b.example}], caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]'))
    eventually('said twice', lambda: said('b')[2] == {'who': 'b', 'sni': 'b.example', 'client': ''})
    c.apply(policy('b', 'b.example', 'caCertificateRefs: [{group: "", kind: ConfigMap, name: missing}]'))
    eventually('no authority', lambda: told('b') == {'Accepted': '!NoValidCACertificate', 'ResolvedRefs': '!InvalidCACertificateRef'} and said('b')[0] >= 500)
    broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    with open(c.root + '/pki/ca.crt') as f:
        c.kubectl('create', 'configmap', 'missing', '--from-literal=ca.crt=' + f.read() + broken)
    c.apply(route('beside', '[%s]' % R(B('a')), 'beside.example'))
    eventually('others are served', lambda: ask('/', 'beside.example')[0] == 200)
    assert said('a')[0] == 200 and said('b')[0] >= 500, (said('a')[0], said('b')[0])
    c.kubectl('delete', 'configmap', 'missing')
    c.kubectl('create', 'configmap', 'missing', '--from-file=ca.crt=' + c.root + '/pki/ca.crt')
    eventually('it comes', lambda: said('b')[0] == 200)
    c.apply(policy('b', 'other.example', name='younger'))
    eventually('the older counts', lambda: told('younger')['Accepted'] == '!Conflicted' and said('b')[0] == 200)


def a_gateway_shows_its_certificate(c):
    said = lambda: ask('/', 'shown.example', port=8082)
    c.apply(gateway(HTTP.replace('80', '8082'), 'shows', ', tls: {backend: {clientCertificateRef: {name: gone}}}') + policy('c', 'c.example') +
            route('shown', '[{backendRefs: [%s]}]' % to('tls', 'c'), 'shown.example', '[{name: shows}]'))
    eventually('told', lambda: conditions(c.get('gateway', 'shows'))['ResolvedRefs'] == '!InvalidClientCertificateRef')
    eventually('nothing is sent without it', lambda: said()[0] >= 500)
    c.kubectl('patch', 'gateway', 'shows', '--type=merge', '-p', '{"spec":{"tls":{"backend":{"clientCertificateRef":{"name":"client"}}}}}')
    eventually('shown', lambda: said()[2] == {'who': 'c', 'sni': 'c.example', 'client': 'the-gateway'})
    assert conditions(c.get('gateway', 'shows'))['ResolvedRefs'] == 'ResolvedRefs'


if __name__ == '__main__':
    main([prepare, tls_is_passed_through_by_name, tls_ends_at_the_door, bytes_of_tcp, backends_are_spoken_to_with_tls, a_gateway_shows_its_certificate],
         16447, ['--roles', 'server,edge', '--set', 'gateway=standard'], False)
