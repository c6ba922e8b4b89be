#!/usr/bin/env python3
"""What the front door costs, beside HAProxy with a configuration written by hand for the same backend, in the same run (as
root; in namespaces of its own).

    make bench-edge                    all of it, some minutes
    bench/edge_bench.py WORD...        the sections whose name holds a word: rate apply probe hosts restart

By hand the backend gets the same headers (X-Forwarded-*, X-Real-IP). The backend is a HAProxy too, that answers by itself: what is measured is what stands before it."""
import http.client, json, os, re, signal, socket, ssl, statistics, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_bench import MS, Api, cpu_ms, pss_kb, show, spread
import lib
from lib import Cluster, eventually, proxies, run

INGRESSES = '/apis/networking.k8s.io/v1/namespaces/default/ingresses'
SERVICES = '/api/v1/namespaces/default/services'
SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
NODE = '10.42.0.1'
OWN = '''
global
  nbthread %(threads)d
  maxconn 4000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
'''
BACKEND = OWN + '''
frontend backend
  bind %(node)s:9000
  http-request return status 200 content-type text/plain string "hello from what stands behind"
'''
BY_HAND = OWN + '''
frontend clear
  bind 127.0.0.1:8080
  bind 127.0.0.1:8443 ssl crt %(pem)s alpn h2,http/1.1
  http-request set-header X-Forwarded-For %%[src]
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http unless { ssl_fc }
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  http-request set-header X-Forwarded-Port %%[dst_port]
  http-request set-header X-Real-IP %%[src]
  acl host hdr(host) -i bench.example
  use_backend behind if host { path_beg / }
backend behind
  server one %(node)s:9000
'''


class Peer:
    def __init__(self, c, name, text):
        self.file = '%s/%s.cfg' % (c.root, name)
        with open(self.file, 'w') as f:
            f.write(text % dict(node=NODE, pem=c.root + '/both.pem', threads=os.cpu_count()))
        self.child = subprocess.Popen(['haproxy', '-db', '-f', self.file], stderr=subprocess.DEVNULL)

    def end(self):
        self.child.terminate()
        self.child.wait()


def ingress(name, host, tls=None, service='behind'):
    return {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': {'name': name, 'annotations': {
        'nginx.ingress.kubernetes.io/ssl-redirect': 'false'}}, 'spec': {
        'ingressClassName': 'wherry', 'tls': [{'hosts': [host], 'secretName': tls}] if tls else [],
        'rules': [{'host': host, 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {
            'service': {'name': service, 'port': {'number': 80}}}}]}}]}}


def service(api, name, port=9000):
    api.call('POST', SERVICES, {'metadata': {'name': name}, 'spec': {'ports': [{'port': 80}]}})
    api.call('POST', SLICES, {'metadata': {'name': name + '-1', 'labels': {'kubernetes.io/service-name': name}}, 'addressType': 'IPv4',
                              'ports': [{'port': port}], 'endpoints': [{'addresses': [NODE]}]})


def status(host, port=80, path='/'):
    try:
        h = http.client.HTTPConnection('127.0.0.1', port, timeout=2)
        h.request('GET', path, headers={'Host': host})
        code = h.getresponse().status
        h.close()
        return code
    except OSError:
        return 0


def until(host, code=200, most=30):
    end = time.monotonic() + most
    while status(host) != code:
        assert time.monotonic() < end, host
    return time.monotonic()


def load(c, port, *args):
    out = subprocess.run([c.load, '127.0.0.1', str(port), '--host', 'bench.example', '--expect', 'hello', *args], capture_output=True, text=True)
    figures = {k: int(v) for k, v in re.findall(r'(\w+) (\d+)', out.stdout)}
    assert figures.get('failed') == 0, out.stdout + out.stderr
    return figures


def rate(c, api):
    """The same requests to the door and to the peer, in turns."""
    peer = Peer(c, 'hand', BY_HAND)
    api.call('POST', INGRESSES, ingress('bench', 'bench.example', 'bench'))
    until('bench.example')
    time.sleep(0.5)
    try:
        for name, ports, more in (('requests, kept connections', (80, 8080), ['--keep', '0']), ('requests, each on a new connection', (80, 8080), ['--keep', '1']),
                                  ('requests over TLS, kept', (443, 8443), ['--tls', '--keep', '0']), ('TLS handshakes', (443, 8443), ['--tls', '--keep', '1'])):
            took, used = [[], []], [[], []]
            for turn in range(6):
                for i in range(2):
                    pids = proxies(c) if i == 0 else [peer.child.pid]
                    cpu = cpu_ms(pids)
                    f = load(c, ports[i], '--clients', '50', '--seconds', '2', *more)
                    took[i].append(f)
                    used[i].append((cpu_ms(pids) - cpu) * 1000 / f['sent'])
            best = [max(f['rate'] for f in t) for t in took]
            p99 = [statistics.median(f['p99_us'] for f in t) for t in took]
            show(name, best[0], '/s', best[1], 'by hand', 'p99 %.1f ms, by hand %.1f' % (p99[0] / 1000, p99[1] / 1000))
            show('  CPU of the proxy for one', min(used[0]), 'us', min(used[1]), 'by hand', 'aim: 1 / 0.9')
    finally:
        peer.end()
        api.call('DELETE', INGRESSES + '/bench')


def applied(c, api):
    """From the POST of an Ingress to the first answer through it, the door being open already; and from its change."""
    api.call('POST', INGRESSES, ingress('first', 'first.example'))
    until('first.example')
    time.sleep(1.5)
    made, changed, gone = [], [], []
    for i in range(20):
        began = time.monotonic()
        api.call('POST', INGRESSES, ingress('new%d' % i, 'new%d.example' % i))
        made.append((until('new%d.example' % i) - began) * MS)
    for i in range(20):
        began = time.monotonic()
        api.call('DELETE', INGRESSES + '/new%d' % i)
        gone.append((until('new%d.example' % i, 404) - began) * MS)
    for i in range(10):
        began = time.monotonic()
        service(api, 'fresh%d' % i)
        api.call('POST', INGRESSES, ingress('fresh%d' % i, 'fresh%d.example' % i, service='fresh%d' % i))
        changed.append((until('fresh%d.example' % i) - began) * MS)
    show('POST of an Ingress to its first answer', statistics.median(made), 'ms', more='aim: 20; ' + spread(made))
    show('  with a Service of its own, made with it', statistics.median(changed), 'ms', more=spread(changed))
    show('DELETE of it to 404', statistics.median(gone), 'ms', more=spread(gone))


def probe(c, api):
    """From the moment at which a readiness probe would fail to the last request at that pod: the slice's endpoint turns."""
    service(api, 'pair')
    ends = lambda *ips: {'endpoints': [{'addresses': [ip], 'conditions': {'ready': True}} for ip in ips]}
    api.call('PATCH', SLICES + '/pair-1', ends(NODE), 'application/merge-patch+json')
    api.call('POST', INGRESSES, ingress('pair', 'pair.example', service='pair'))
    until('pair.example')
    took = []
    for i in range(10):
        began = time.monotonic()
        api.call('PATCH', SLICES + '/pair-1', {'endpoints': [{'addresses': [NODE], 'conditions': {'ready': False}}]}, 'application/merge-patch+json')
        took.append((until('pair.example', 503) - began) * MS)
        api.call('PATCH', SLICES + '/pair-1', ends(NODE), 'application/merge-patch+json')
        until('pair.example')
    show('an endpoint turns unready, to its last request', statistics.median(took), 'ms', more='aim: 100; ' + spread(took))


def memory(c):
    pids = proxies(c) + [c.role_pid('edge')]
    return pss_kb(pids[-1]), sum(pss_kb(p) for p in pids[:-1])


def hosts(c, api):
    """Memory with 1, 100 and 2,000 hosts; and how soon all of them serve when everything was killed."""
    n = 0
    for many in (1, 100, 2000):
        while n < many:
            api.call('POST', INGRESSES, ingress('h%d' % n, 'h%d.example' % n))
            n += 1
        until('h%d.example' % (n - 1))
        time.sleep(2)
        edge, proxy = memory(c)
        show('%d hosts: PSS of the edge role' % many, edge / 1024, 'MiB', more='of HAProxy %.1f MiB' % (proxy / 1024))
    began = time.monotonic()
    for pid in proxies(c) + [c.role_pid('edge')]:
        os.kill(pid, signal.SIGKILL)
    for i in range(0, n, 97):
        at = until('h%d.example' % i)
    show('both killed, to an answer of each of them', (at - began) * MS, 'ms', more='aim: 2,000')
    began = time.monotonic()
    c.down()
    down = time.monotonic() - began
    c.up()
    began = time.monotonic()
    for i in range(0, n, 97):
        at = until('h%d.example' % i)
    show('down and up, to an answer of each of them', (at - began) * MS, 'ms', more='after `wherry up --detach` came back; aim: 2,000')


SECTIONS = [('rate', rate), ('apply', applied), ('probe', probe), ('hosts', hosts)]


def main():
    lib.own_namespaces()
    with Cluster(port=16957, image=False) as c:
        c.load = c.root + '/door_load'
        run(['gcc', '-O2', '-D_GNU_SOURCE', '-o', c.load, os.path.join(lib.TOP, 'bench/door_load.c'), '-lssl', '-lcrypto'])
        run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', c.root + '/k.pem', '-out', c.root + '/c.pem',
             '-days', '2', '-subj', '/CN=bench', '-addext', 'subjectAltName=DNS:bench.example'])
        with open(c.root + '/both.pem', 'w') as f:
            f.write(open(c.root + '/c.pem').read() + open(c.root + '/k.pem').read())
        c.kubectl('create', 'secret', 'tls', 'bench', '--cert', c.root + '/c.pem', '--key', c.root + '/k.pem')
        api, behind = Api(c), Peer(c, 'behind', BACKEND)
        service(api, 'behind')
        try:
            for name, section in SECTIONS:
                if len(sys.argv) < 2 or any(w in name for w in sys.argv[1:]):
                    print('-- ' + name, flush=True)
                    section(c, api)
        finally:
            behind.end()


if __name__ == '__main__':
    main()
