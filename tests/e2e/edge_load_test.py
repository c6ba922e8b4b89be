#!/usr/bin/env python3
"""The front door under load while everything behind it and about it changes: endpoints, weights and hosts fifty times a
second, the backend rolled out, its certificate renewed, the edge role killed. No request may fail and no WebSocket be cut.
Then HAProxy itself is killed: what is lost is what it was carrying, and nobody is refused."""
import base64, http.client, json, os, random, re, signal, ssl, subprocess, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
from lib import Cluster, admin_tls, eventually, main, proxies, run, size

IMAGE = 'echo:1'
SECONDS = size(15, 60)


def deployment(name, replicas):
    return '''
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: %(replicas)d
  selector: {matchLabels: {app: %(name)s}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: echo
        image: %(image)s
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec:
  selector: {app: %(name)s}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %(name)s, annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "false"}}
spec:
  ingressClassName: wherry
  tls: [{hosts: [%(name)s.example], secretName: certificate}]
  rules:
  - host: %(name)s.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %(name)s, port: {name: http}}}}]}
''' % dict(name=name, replicas=replicas, image=IMAGE)


def certificate(c, serial):
    """Of all hosts, made now; (certificate, key)."""
    files = c.root + '/c.pem', c.root + '/k.pem'
    run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', files[1], '-out', files[0], '-days',
         '2', '-set_serial', str(serial), '-subj', '/CN=door', '-addext', 'subjectAltName=DNS:web.example,DNS:chat.example'])
    return [open(f).read() for f in files]


def serial_served(c):
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with tls.wrap_socket(__import__('socket').create_connection(('127.0.0.1', 443), timeout=5), server_hostname='web.example') as s:
        der = s.getpeercert(True)
    return int(re.search(r'serial=(\w+)', run(['openssl', 'x509', '-noout', '-serial'], input=ssl.DER_cert_to_PEM_cert(der))).group(1), 16)


class Api:
    def __init__(self, c):
        self.c = http.client.HTTPSConnection('127.0.0.1', c.port, context=admin_tls(c.env['KUBECONFIG']), timeout=30)

    def call(self, method, path, body=None, kind='application/json'):
        self.c.request(method, path, json.dumps(body) if body is not None else None, {'Content-Type': kind})
        answer = self.c.getresponse()
        text = answer.read()
        assert answer.status < 300, (method, path, text)
        return json.loads(text)


CORE, SLICES = '/api/v1/namespaces/default/', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
INGRESSES = '/apis/networking.k8s.io/v1/namespaces/default/ingresses'


def ingress(name, host, service, **annotations):
    return {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': {'name': name, 'annotations': annotations}, 'spec': {
        'ingressClassName': 'wherry', 'rules': [{'host': host, 'http': {'paths': [
            {'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': service, 'port': {'number': 80}}}}]}}]}}


class Changes(threading.Thread):
    """Fifty a second, each written before the next: what nobody asks for by name, and the weight of a canary that they do."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.api, self.over, self.made, self.error = Api(c), False, 0, None
        self.api.call('POST', CORE + 'services', {'metadata': {'name': 'other'}, 'spec': {'ports': [{'port': 80}]}})
        self.api.call('POST', SLICES, {'metadata': {'name': 'other-1', 'labels': {'kubernetes.io/service-name': 'other'}}, 'addressType': 'IPv4',
                                       'ports': [{'port': 80}], 'endpoints': []})
        self.api.call('POST', INGRESSES, ingress('other', 'other.example', 'other'))
        note = 'nginx.ingress.kubernetes.io/canary'
        self.api.call('POST', INGRESSES, ingress('canary', 'web.example', 'chat', **{note: 'true', note + '-weight': '10'}))

    def one(self, i):
        if i % 3 == 0:
            ends = [{'addresses': ['10.42.0.%d' % (200 + n)]} for n in range(random.randint(0, 9))]
            self.api.call('PATCH', SLICES + '/other-1', {'endpoints': ends}, 'application/merge-patch+json')
        elif i % 3 == 1:
            weight = {'metadata': {'annotations': {'nginx.ingress.kubernetes.io/canary-weight': str(random.randint(0, 50))}}}
            self.api.call('PATCH', INGRESSES + '/canary', weight, 'application/merge-patch+json')
        elif i % 6 == 2:
            self.api.call('POST', INGRESSES, ingress('host%d' % (i // 6), 'h%d.example' % (i // 6), 'other'))
        else:
            self.api.call('DELETE', INGRESSES + '/host%d' % (i // 6))

    def run(self):
        began = time.monotonic()
        try:
            while not self.over:
                self.one(self.made)
                self.made += 1
                time.sleep(max(0, began + self.made / 50 - time.monotonic()))
        except Exception as e:                              # told by the test, which is another thread
            self.error = e


class Load:
    def __init__(self, c, *args):
        self.what = args
        self.child = subprocess.Popen([c.load, '127.0.0.1'] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self):
        out, err = self.child.communicate(timeout=SECONDS + 60)
        return {k: int(v) for k, v in re.findall(r'(\w+) (\d+)', out)}, '%s: %s%s' % (' '.join(self.what), out, err[:2000])


def everything_changes(c):
    seconds = ['--seconds', str(SECONDS)]
    changes = Changes(c)
    loads = [Load(c, '80', '--host', 'web.example', '--rate', '350', '--keep', '20', *seconds),
             Load(c, '80', '--host', 'web.example', '--rate', '350', '--keep', '1', *seconds),
             Load(c, '443', '--tls', '--host', 'web.example', '--rate', '100', '--keep', '10', *seconds),
             Load(c, '80', '--host', 'chat.example', '--sockets', '200', *seconds)]
    began = time.monotonic()
    changes.start()
    step = SECONDS / 6
    time.sleep(step)
    c.kubectl('rollout', 'restart', 'deploy/web')
    time.sleep(step)
    pem, key = certificate(c, 2)
    data = {'tls.crt': base64.b64encode(pem.encode()).decode(), 'tls.key': base64.b64encode(key.encode()).decode()}
    Api(c).call('PATCH', CORE + 'secrets/certificate', {'data': data}, 'application/merge-patch+json')
    eventually('the new certificate is served', lambda: serial_served(c) == 2)
    os.kill(c.role_pid('edge'), signal.SIGKILL)
    time.sleep(step)
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout', '60s', timeout=70)
    while time.monotonic() - began < SECONDS - 1:
        time.sleep(0.1)
    changes.over = True
    changes.join()
    assert not changes.error, changes.error
    told = [l.end() for l in loads]
    print('     %.0f changes a second' % (changes.made / SECONDS))
    for figures, text in told:
        print('     ' + text.split('\n')[0])
    assert all(f.get('failed') == 0 for f, _ in told) and told[3][0]['cut'] == 0 and told[3][0]['heard'] == told[3][0]['said'] > 0, '\n'.join(t for _, t in told)
    assert changes.made > SECONDS * 40, changes.made


def haproxy_is_killed(c):
    """Half a second of what was under way is lost at most; who connects is served."""
    load = Load(c, '80', '--host', 'web.example', '--rate', '500', '--keep', '1', '--seconds', '4')
    time.sleep(1)
    for pid in proxies(c):
        os.kill(pid, signal.SIGKILL)
    figures, text = load.end()
    print('     ' + text.split('\n')[0])
    assert figures['sent'] >= 1900 and figures['failed'] < 100, text
    assert proxies(c)


class Door(Cluster):
    def load_image(self):
        tar, echo = self.root + '/image.tar', self.root + '/echo'
        here = os.path.dirname(os.path.abspath(__file__))
        self.load = self.root + '/door_load'
        run(['gcc', '-O2', '-D_GNU_SOURCE', '-o', self.load, here + '/../../bench/door_load.c', '-lssl', '-lcrypto'])
        run(['gcc', '-O2', '-D_GNU_SOURCE', '-static', '-o', echo, here + '/echo.c', '-lcrypto'])
        run([lib.WHERRY, 'image', 'pack', tar, IMAGE, '--entrypoint', '/bin/echo', 'bin/echo=' + echo])
        run([lib.WHERRY, 'image', 'load', tar, '--root', self.root])

    def up(self):
        super().up()
        pem, key = certificate(self, 1)
        self.kubectl('create', 'secret', 'tls', 'certificate', '--cert', self.root + '/c.pem', '--key', self.root + '/k.pem')
        self.apply(deployment('web', 3) + '---' + deployment('chat', 2))
        for host in 'web', 'chat':
            eventually(host + ' answers', lambda: ' GET /' in run(['curl', '-s', '-m', '2', '-H', 'Host: %s.example' % host, 'http://127.0.0.1/'], check=False), timeout=40)


if __name__ == '__main__':
    main([everything_changes, haproxy_is_killed], port=16953, cluster=Door)
