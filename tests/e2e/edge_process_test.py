#!/usr/bin/env python3
"""The front door's processes: whatever of them ends or is killed, nobody is refused and what is under way goes on; a pod that
goes has left the front door before it is told to end; and `wherry down` leaves nothing of it."""
import http.client, json, os, re, signal, socket, ssl, subprocess, threading, time
from lib import *
from rough_test import supervisor, up_again

HOST = 'shop.example'
BIG = 3 << 20


def ingress(name, host, **notes):
    return json.dumps({'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress',
                       'metadata': {'name': name, 'annotations': {'nginx.ingress.kubernetes.io/' + k.replace('_', '-'): v for k, v in notes.items()}},
                       'spec': {'rules': [{'host': host, 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {
                           'service': {'name': 'shop', 'port': {'number': 80}}}}]}}]}}) + '\n---\n'


def connection(timeout=10):
    return http.client.HTTPConnection('127.0.0.1', 80, timeout=timeout)


def ask(host=HOST, path='/', c=None):
    mine = c or connection()
    try:
        mine.request('GET', path, headers={'Host': host})
        r = mine.getresponse()
        return r.status, r.read()
    finally:
        if not c:
            mine.close()


def answers(host=HOST):
    try:
        return ask(host)[0] == 200
    except OSError:
        return False


def proxies(c):
    """Of this cluster, the youngest last."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if open('/proc/%s/comm' % pid).read() == 'haproxy\n' and c.root in open('/proc/%s/cmdline' % pid).read():
                found.append((float(open('/proc/%s/stat' % pid).read().rsplit(')', 1)[1].split()[19]), int(pid)))
        except OSError:
            pass
    return [pid for _, pid in sorted(found)]


class Load(threading.Thread):
    """Requests, one after the other: each over a connection of its own, or over one for as long as it stands."""

    def __init__(self, keep):
        super().__init__(daemon=True)
        self.keep, self.over, self.done, self.failed, self.refused, self.open = keep, False, 0, [], 0, None
        self.start()

    def one(self):
        if not self.open:
            self.open = connection()
        status, body = ask(c=self.open)
        assert status == 200, (status, body)
        if not self.keep or self.open.sock is None:         # it may have said Connection: close
            self.open.close()
            self.open = None

    def run(self):
        fresh = True
        while not self.over:
            fresh = not self.open
            try:
                self.one()
                self.done += 1
            except Exception as e:
                self.open = None
                self.refused += isinstance(e, ConnectionRefusedError)
                if fresh or not isinstance(e, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)):
                    self.failed.append((time.monotonic(), repr(e)))     # an idle connection may be closed as one asks: asked again


class Loads:
    def __enter__(self):
        self.all = [Load(False), Load(False), Load(True), Load(True)]
        return self

    def __exit__(self, *unused):
        for l in self.all:
            l.over = True
        for l in self.all:
            l.join()

    def done(self):
        return sum(l.done for l in self.all)

    def goes_on(self):
        have = self.done()
        eventually('requests are answered', lambda: self.done() > have + 40)

    def lost_nothing(self):
        assert not any(l.failed for l in self.all), [l.failed[:3] for l in self.all]


class Download(threading.Thread):
    """Read slowly, so that it outlasts what happens meanwhile."""

    def __init__(self):
        super().__init__(daemon=True)
        self.s, self.got, self.fast = socket.create_connection(('127.0.0.1', 80), timeout=30), 0, False
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.s.sendall(b'GET /big?%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % (BIG, HOST.encode()))
        self.start()

    def run(self):
        while True:
            part = self.s.recv(65536 if self.fast else 4096)
            if not part:
                return
            self.got += len(part)
            if not self.fast:
                time.sleep(0.05)


def prepare(c):
    c.apply(deployment('shop', 2, extra='      terminationGracePeriodSeconds: 10') + service('shop') + '---\n' + ingress('shop', HOST))
    c.kubectl('rollout', 'status', 'deploy/shop', '--timeout=30s')
    eventually('the door is open', answers)
    assert len(proxies(c)) == 1, proxies(c)


def requests_are_told(c):
    """Counters by route, and the access log, whatever stands in a path."""
    metrics = lambda: c.kubectl('get', '--raw', '/api/v1/nodes/%s/proxy/metrics/edge' % c.get('nodes')['items'][0]['metadata']['name'])
    count = lambda code, route='Ingress/default/shop': int((re.findall(r'wherry_edge_requests_total{route="%s",code="%s"} (\d+)' % (route, code), metrics()) or ['0'])[0])
    had, none = count('2xx'), count('4xx', '')
    for _ in range(5):
        assert ask(path='/told?q="x"\\y&z=%7B')[0] == 200
    assert ask('nobody.example')[0] == 404
    eventually('they are counted', lambda: count('2xx') == had + 5 and count('4xx', '') == none + 1)
    text = metrics()
    assert float(re.search(r'wherry_edge_sent_bytes_total{route="Ingress/default/shop"} (\d+)', text).group(1)) > 500, text
    assert re.search(r'duration_seconds_bucket{route="Ingress/default/shop",le="\+Inf"} [1-9]', text), text
    lines = lambda: [json.loads(l) for l in c.log().split('\n') if l.startswith('{"time"') and '/told' in l]
    line = eventually('it stands in the log', lambda: len(lines()) == 5 and lines()[0])
    assert (line['method'], line['host'], line['path'], line['status'], line['route']) == ('GET', HOST, '/told', 200, 'Ingress/default/shop'), line
    assert line['client'] == '127.0.0.1' and line['bytes'] > 100 and line['ms'] >= 0 and line['server'].endswith(':8080'), line


# --- what is killed ---------------------------------------------------------------------------------------------------------

def roles_are_killed(c):
    """The edge role, the supervisor, then all of wherry at once: HAProxy goes on, and is found again."""
    downloads = [Download() for _ in range(20)]
    with Loads() as load:
        for i in range(3):
            was = c.role_pid('edge')
            os.kill(was, signal.SIGKILL)
            eventually('the role is started again', lambda: c.role_pid('edge') != was)
            c.apply(ingress('more%d' % i, 'more%d.example' % i))
            eventually('it is told what is new', lambda: answers('more%d.example' % i))
            proxy = proxies(c)[-1] if i == 0 else proxy     # the first one may want more room for what comes
        load.goes_on()
        os.kill(supervisor(c), signal.SIGKILL)
        up_again(c)
        os.kill(supervisor(c), signal.SIGTERM)          # leaves what runs for users
        eventually('wherry has ended', lambda: not os.path.exists('/proc/%d' % c.role_pid('edge')))
        load.goes_on()
        up_again(c)
        c.kubectl('delete', 'ingress', 'more0')
        eventually('what is gone is gone', lambda: ask('more0.example')[0] == 404)
        load.goes_on()
        load.lost_nothing()
    assert proxies(c)[-1] == proxy, (proxies(c), proxy)
    finish(downloads)


def finish(downloads):
    for d in downloads:
        d.fast = True
    for d in downloads:
        d.join(30)
        assert d.got > BIG, d.got


def a_reload_cuts_nothing(c):
    """A new shape: another process beside the old one, which ends what it has begun."""
    proxy = proxies(c)
    downloads = [Download() for _ in range(20)]
    with Loads() as load:
        load.goes_on()
        c.apply(ingress('sticky', 'sticky.example', affinity='cookie', session_cookie_name='who'))
        eventually('it is told', lambda: answers('sticky.example'))
        c.apply(ingress('cors', 'cors.example', custom_http_errors='418', proxy_connect_timeout='7'))
        eventually('it is told', lambda: answers('cors.example'))
        os.kill(proxies(c)[-1], signal.SIGUSR1)         # somebody's hand: it ends in good order, another is started
        eventually('another serves', lambda: proxies(c)[-1] != proxy[-1])
        load.goes_on()
        load.lost_nothing()
    finish(downloads)
    eventually('those before have ended', lambda: len(proxies(c)) == 1)


def haproxy_is_killed(c):
    """What it carried is lost; who connects meanwhile waits."""
    with Loads() as load:
        for _ in range(3):
            load.goes_on()
            was = proxies(c)[-1]
            at = time.monotonic()
            os.kill(was, signal.SIGKILL)
            eventually('another serves', lambda: proxies(c)[-1:] not in ([], [was]))
            load.goes_on()
            late = [f for l in load.all for f in l.failed if f[0] > at + 0.5]
            assert not late, late
        assert not any(l.refused for l in load.all), [l.failed[:3] for l in load.all]
        assert all(len(l.failed) <= 3 for l in load.all), [l.failed for l in load.all]      # the one that was under way


# --- leaving -------------------------------------------------------------------------------------------------------------------

def a_rollout_loses_nothing(c):
    """The server ends at once at SIGTERM, and nobody sleeps before it: it is not told before the front door has forgotten it."""
    with Loads() as load:
        load.goes_on()
        c.kubectl('rollout', 'restart', 'deploy/shop')
        c.kubectl('rollout', 'status', 'deploy/shop', '--timeout=60s')
        c.kubectl('scale', 'deploy/shop', '--replicas=3')
        c.kubectl('scale', 'deploy/shop', '--replicas=1')
        eventually('one is left', lambda: len(c.get('pods', '-l', 'app=shop')['items']) == 1, 30)
        load.goes_on()
        load.lost_nothing()
    behind = [e['message'] for e in c.get('events')['items'] if e['reason'] == 'FrontDoorBehind']
    assert not behind, behind
    lease = c.get('lease', '-n', 'kube-system', '-l', 'wherry.dev/edge=true')['items']
    assert len(lease) == 1 and int(lease[0]['metadata']['annotations']['wherry.dev/applied']) > 0, lease
    c.kubectl('scale', 'deploy/shop', '--replicas=2')
    c.kubectl('rollout', 'status', 'deploy/shop', '--timeout=30s')


def a_pod_waits_for_the_door(c):
    """The edge role stands still, so HAProxy still sends to a pod that is deleted: it is not told to end before they go on."""
    pod = c.get('pods', '-l', 'app=shop')['items'][0]
    def lives():
        try:
            direct = http.client.HTTPConnection(pod['status']['podIP'], 8080, timeout=2)
            direct.request('GET', '/')
            return direct.getresponse().status == 200
        except OSError:
            return False
    role = c.role_pid('edge')
    os.kill(role, signal.SIGSTOP)
    try:
        with Loads() as load:
            c.kubectl('delete', 'pod', pod['metadata']['name'], '--wait=false')
            eventually('the slice says so', lambda: any(e['conditions'].get('terminating') for s in c.get('endpointslices')['items'] for e in s['endpoints'] or []))
            until = time.monotonic() + 2                # of the five seconds that it waits at most
            while time.monotonic() < until:
                assert lives()
                time.sleep(0.1)
            os.kill(role, signal.SIGCONT)
            eventually('it ends when it is out', lambda: not lives(), 8)
            load.goes_on()
            load.lost_nothing()
    finally:
        os.kill(role, signal.SIGCONT)
    assert not [e for e in c.get('events')['items'] if e['reason'] == 'FrontDoorBehind']


def a_port_is_somebodys(c):
    """Of two doors one is taken: who asks is told, the other stands open, and the first one follows."""
    c.kubectl('delete', 'ingress', '--all')
    eventually('it ends', lambda: not proxies(c))
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('0.0.0.0', 80))
    s.listen(1)
    c.apply(ingress('shop', HOST, ssl_redirect='false'))
    said = lambda m: 'port 80 is taken by another program' in m or 'Address already in use' in m and ':80]' in m
    eventually('it is told', lambda: any(e['reason'] == 'FrontDoorFailed' and said(e['message']) for e in c.get('events')['items']), 30)
    eventually('the other is open', lambda: served_by_tls(HOST))
    s.close()
    eventually('the door is open', answers)


def served_by_tls(host):
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        with tls.wrap_socket(socket.create_connection(('127.0.0.1', 443), timeout=5), server_hostname=host) as s:
            s.sendall(b'GET / HTTP/1.0\r\nHost: %s\r\n\r\n' % host.encode())
            return s.recv(100).startswith(b'HTTP/1.1 200')
    except OSError:
        return False


def nothing_is_left(c):
    """Without anything to serve no HAProxy runs, and nobody waits for it; after wherry down none is left in any case."""
    c.kubectl('delete', 'ingress', '--all')
    eventually('it ends', lambda: not proxies(c))
    eventually('nodes wait for it no more', lambda: not c.get('lease', '-n', 'kube-system', '-l', 'wherry.dev/edge=true')['items'])
    c.apply(ingress('shop', HOST))
    eventually('the door is open', answers)
    os.kill(supervisor(c), signal.SIGTERM)
    eventually('wherry has ended', lambda: not os.path.exists('/proc/%d' % c.role_pid('edge')))
    assert proxies(c)
    with_all, c.args = c.args, ['--roles', 'server,node,relay,dns']
    up_again(c)
    eventually('a machine that is not to have one has none', lambda: not proxies(c))
    os.kill(supervisor(c), signal.SIGTERM)
    c.args = with_all
    up_again(c)
    eventually('the door is open', answers)
    os.kill(c.role_pid('edge'), signal.SIGKILL)
    c.down()
    assert not proxies(c), proxies(c)
    assert not os.path.exists(c.root + '/run/wherry/edge')


if __name__ == '__main__':
    main([prepare, requests_are_told, roles_are_killed, a_reload_cuts_nothing, haproxy_is_killed, a_rollout_loses_nothing, a_pod_waits_for_the_door, a_port_is_somebodys, nothing_is_left], port=16957,
         args=['--set', 'edge-access-log=on', '--set', 'edge-metrics=on'])
