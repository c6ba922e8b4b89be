"""Sockets inside of pods, and a table of who reaches whom: what the tests of network policies are made of.

A socket belongs to the network namespace in which it was made. So this program goes into a pod's for a moment, makes a
socket there and comes back; servers and clients of all pods are then file descriptors of one process."""
import ctypes, errno, http.client, json, os, select, socket, time
from lib import IMAGE, admin_tls, eventually, run

libc = ctypes.CDLL(None, use_errno=True)
PROTOCOLS = {'TCP': socket.SOCK_STREAM, 'UDP': socket.SOCK_DGRAM}


class Api:
    """Requests as the admin over one connection: many a second, unlike kubectl's."""

    def __init__(self, c):
        self.connection = http.client.HTTPSConnection('127.0.0.1', c.port, context=admin_tls(c.env['KUBECONFIG']), timeout=30)

    def __call__(self, method, path, body=None, kind='application/json', ok=(200, 201)):
        for again in (False, True):
            try:
                self.connection.request(method, path, json.dumps(body) if body is not None else None, {'Content-Type': kind})
                answer = self.connection.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, OSError):
                self.connection.close()                    # the server went away meanwhile
                if again or method == 'POST':
                    raise
        assert answer.status in ok, (method, path, answer.status, text[-600:])
        return json.loads(text)

    def merge(self, path, body):
        return self('PATCH', path, body, 'application/merge-patch+json')


def policies_path(ns):
    return '/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies' % ns


def pods_path(ns):
    return '/api/v1/namespaces/%s/pods' % ns


def policy(name, spec):
    return {'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy', 'metadata': {'name': name}, 'spec': spec}


def pod(name, labels, ports=(), **spec):
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'labels': labels},
            'spec': dict({'terminationGracePeriodSeconds': 0,
                          'containers': [{'name': 'c', 'image': IMAGE, 'ports': list(ports)}]}, **spec)}


class Place:
    """The network of a pod, or (pid None) of the machine."""
    home = None

    def __init__(self, pid=None):
        Place.home = Place.home or os.open('/proc/self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self.ns = os.open('/proc/%d/ns/net' % pid, os.O_RDONLY | os.O_CLOEXEC) if pid else Place.home

    def socket(self, proto='TCP'):
        if self.ns == Place.home:
            return socket.socket(socket.AF_INET, PROTOCOLS[proto])
        assert libc.setns(self.ns, 0) == 0, os.strerror(ctypes.get_errno())
        try:
            return socket.socket(socket.AF_INET, PROTOCOLS[proto])
        finally:
            assert libc.setns(Place.home, 0) == 0, os.strerror(ctypes.get_errno())

    def listen(self, port, proto='TCP'):
        s = self.socket(proto)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('0.0.0.0', port))
        if proto == 'TCP':
            s.listen(512)
        s.setblocking(False)
        return s


class Pods:
    """Pods that run, each with its place and address: {'x/a': (place, ip)}."""

    def __init__(self, c, api, namespaces):
        self.c, self.api, self.at, self.ip = c, api, {}, {}
        found = eventually('all pods are ready', lambda: self.ready(namespaces), 60)
        pids = self.pids({p['metadata']['uid'] for p in found})
        for p in found:
            name = p['metadata']['namespace'] + '/' + p['metadata']['name']
            self.at[name], self.ip[name] = Place(pids[p['metadata']['uid']]), p['status']['podIP']

    def ready(self, namespaces):
        found = [p for ns in namespaces for p in self.api('GET', pods_path(ns))['items']]
        return all(any(x['type'] == 'Ready' and x['status'] == 'True' for x in p['status'].get('conditions', [])) for p in found) and found

    @staticmethod
    def pids(uids):
        found = {}
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/cgroup' % pid) as f:
                    text = f.read()
            except OSError:
                continue                                   # it has ended
            found.update({uid: int(pid) for uid in uids if 'pod' + uid in text})
        return found


class Servers:
    """Sockets that answer: TCP takes connections, UDP says what it was told. Turned by whoever waits for answers."""

    def __init__(self):
        self.poll, self.sockets, self.taken = select.epoll(), {}, {}

    def add(self, name, s):
        self.sockets[s.fileno()] = (name, s)
        self.taken.setdefault(name, 0)
        self.poll.register(s, select.EPOLLIN)

    def turn(self, timeout=0):
        for fd, _ in self.poll.poll(timeout):
            name, s = self.sockets[fd]
            try:
                while True:
                    if s.type == socket.SOCK_STREAM:
                        s.accept()[0].close()
                    else:
                        text, peer = s.recvfrom(100)
                        s.sendto(text, peer)
                    self.taken[name] += 1
            except OSError:
                pass                                       # that was all, or an ICMP error came back


def reach(servers, wanted, patience=0.02):
    """{key: 'yes', 'refused' or 'silence'} of {key: (place, ip, port, proto)}, all at once. Silence: nobody has answered
    anything for so long. Servers are turned here and packets of one machine do not travel, so what is let through is
    there at once. (Of UDP the kernel tells refusals only so often.)"""
    poll, waiting, found = select.epoll(), {}, {}

    def over(s, key, what):
        poll.unregister(s)
        del waiting[s.fileno()]
        found[key] = what
        s.close()

    for key, (place, ip, port, proto) in wanted.items():
        s = place.socket(proto)
        s.setblocking(False)
        try:
            s.connect((ip, port))
            if proto == 'UDP':
                s.send(b'x')
        except BlockingIOError:
            pass
        except OSError:
            found[key] = 'refused'
            s.close()
            continue
        waiting[s.fileno()] = (s, key)
        poll.register(s, select.EPOLLIN | select.EPOLLERR | (select.EPOLLOUT if proto == 'TCP' else 0))
        if len(waiting) % 16 == 0:
            servers.turn()
    end = time.monotonic() + patience
    while waiting and time.monotonic() < end:
        servers.turn()
        for fd, _ in poll.poll(0.002):
            end = time.monotonic() + patience
            s, key = waiting[fd]
            error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            over(s, key, 'refused' if error else 'yes')
    for s, key in list(waiting.values()):
        over(s, key, 'silence')
    poll.close()
    return found


def connected(place, ip, port, timeout=2):
    s = place.socket()
    s.settimeout(timeout)
    s.connect((ip, port))
    return s
