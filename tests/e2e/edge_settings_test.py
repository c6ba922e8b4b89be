#!/usr/bin/env python3
"""The front door behind another proxy, and before servers that want to hear who connects: the PROXY protocol in and out, hops
that are believed, and the access log."""
import json, os, re, socket, struct, sys, threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import Cluster, eventually, main, run

NODE = '10.42.0.1'
V2 = b'\r\n\r\n\0\r\nQUIT\n'


class Behind:
    """Answers with the request's head; of a connection that begins with the PROXY protocol, with the address that it names."""
    def __init__(self, port):
        self.listener = socket.create_server((NODE, port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        got, told = b'', ''
        while True:
            try:
                more = s.recv(65536)
            except OSError:                                 # the proxy is done with it
                more = b''
            if not more:
                return
            got += more
            if got.startswith(V2) and len(got) >= 16:
                n = struct.unpack('>H', got[14:16])[0]
                told, got = 'for %s\n' % socket.inet_ntoa(got[16:20]), got[16 + n:]
            while b'\r\n\r\n' in got:
                head, _, got = got.partition(b'\r\n\r\n')
                body = told.encode() + head
                s.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body))


def service(name, port, notes=''):
    return '''
apiVersion: v1
kind: Service
metadata: {name: %(n)s, annotations: {%(a)s}}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(n)s-1, labels: {kubernetes.io/service-name: %(n)s}}
addressType: IPv4
ports: [{port: %(p)d}]
endpoints: [{addresses: [%(i)s]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %(n)s}
spec:
  rules:
  - host: %(n)s.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %(n)s, port: {number: 80}}}}]}
---
''' % dict(n=name, p=port, a=notes, i=NODE)


def ask(host, first=b'', *fields):
    with socket.create_connection(('127.0.0.1', 80), timeout=3) as s:
        s.sendall(first + ('GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n' % (host, ''.join(f + '\r\n' for f in fields))).encode())
        got = b''
        try:
            while more := s.recv(65536):
                got += more
        except OSError:
            pass
    return got.decode(errors='replace')


def proxy_protocol_in_and_out(c):
    said = b'PROXY TCP4 192.0.2.7 192.0.2.1 4242 80\r\n'
    eventually('it answers', lambda: '200 OK' in ask('plain.example', said))
    assert 'x-forwarded-for: 192.0.2.7' in ask('plain.example', said).lower()
    v2 = V2 + bytes([0x21, 0x11]) + struct.pack('>H', 12) + socket.inet_aton('192.0.2.8') + socket.inet_aton('192.0.2.1') + struct.pack('>HH', 4242, 80)
    assert 'x-forwarded-for: 192.0.2.8' in ask('plain.example', v2).lower()
    assert '200 OK' not in ask('plain.example')             # who does not say for whom it connects is nobody we know
    assert 'for 192.0.2.7\n' in ask('told.example', said), ask('told.example', said)


def hops_are_believed_as_many_as_there_are(c):
    said = b'PROXY TCP4 192.0.2.7 192.0.2.1 4242 80\r\n'
    a = ask('plain.example', said, 'X-Forwarded-For: 203.0.113.9, 198.51.100.1', 'X-Forwarded-Proto: https').lower()
    assert 'x-real-ip: 198.51.100.1' in a and 'x-forwarded-proto: https' in a, a


def the_log_says_who_asked(c):
    ask('plain.example', b'PROXY TCP4 192.0.2.33 192.0.2.1 4242 80\r\n')
    def lines():
        return [json.loads(m) for m in re.findall(r'^(\{.*\})$', c.log(), re.M)]
    line = eventually('a line of it', lambda: [l for l in lines() if '192.0.2.33' in json.dumps(l)])[0]
    assert line['host'] == 'plain.example' and line['status'] == 200 and line['method'] == 'GET' and line['route'] == 'Ingress/default/plain', line


class Behinds(Cluster):
    def up(self):
        super().up()
        self.behind = Behind(9401), Behind(9402)
        self.apply(service('plain', 9401) + service('told', 9402, 'wherry.dev/proxy-protocol: v2'))


if __name__ == '__main__':
    main([proxy_protocol_in_and_out, hops_are_believed_as_many_as_there_are, the_log_says_who_asked], port=16961, image=False, cluster=Behinds,
         args=['--set', 'edge-proxy-protocol=on', '--set', 'edge-trusted-hops=1', '--set', 'edge-access-log=on'])
