#!/usr/bin/env python3
"""Network policies with real packets: upstream's table of who reaches whom under which policy; the first packet of a pod;
open connections, Services, names, probes, hosts; and the node role and the server killed in the midst."""
import random, threading
from lib import *
from netpol import *

SPACES, NAMES, PORTS = ['x', 'y', 'z'], ['a', 'b', 'c'], [80, 81]
ALL = ['%s/%s' % (ns, name) for ns in SPACES for name in NAMES]
NONE = ()


def ports_of_pod():
    return [{'name': 'serve-%d-%s' % (port, proto.lower()), 'containerPort': port, 'protocol': proto}
            for port in PORTS for proto in PROTOCOLS]


def allowed_answers(yes, proto):
    return ('yes',) if yes else ('refused',) if proto == 'TCP' else ('refused', 'silence')


class Fenced(Cluster):
    """Three namespaces of three pods, with servers on two ports of TCP and UDP in each."""

    def up(self):
        answer = super().up()
        self.api = Api(self)
        for ns in SPACES:
            self.api('POST', '/api/v1/namespaces', {'metadata': {'name': ns, 'labels': {'ns': ns}}})
        for name in ALL:
            ns, short = name.split('/')
            self.api('POST', pods_path(ns), pod(short, {'pod': short}, ports_of_pod()))
        self.pods = Pods(self, self.api, SPACES)
        self.servers = Servers()
        for name in ALL:
            for port in PORTS:
                for proto in PROTOCOLS:
                    self.servers.add(name, self.pods.at[name].listen(port, proto))
        return answer

    def put(self, ns, name, spec):
        self.api('POST', policies_path(ns), policy(name, spec))

    def clear(self):
        for ns in SPACES + ['default']:
            self.api('DELETE', policies_path(ns))

    def table(self, wanted=None):
        return reach(self.servers, {(f, t, port, proto): (self.pods.at[f], self.pods.ip[t], port, proto)
                                    for f in ALL for t in ALL for port in PORTS for proto in PROTOCOLS
                                    if not wanted or wanted(f, t, port, proto)})

    def holds(self, what, expected, timeout=5):
        """Everybody reaches everybody for whom expected(from, to, port, proto) is true, and itself, and nobody else."""
        def wrong():
            return ['%s -> %s:%d/%s: %s' % (k + (v,)) for k, v in sorted(self.table().items())
                    if v not in allowed_answers(k[0] == k[1] or expected(*k), k[3])]
        end = time.monotonic() + timeout
        while True:
            began = time.monotonic()  # a look may take seconds where the machine is busy: the last one begins after the end
            bad = wrong()
            if not bad:
                return
            assert began < end, '%s: %d wrong: %s' % (what, len(bad), bad[:6])
            time.sleep(0.01)


# --- upstream's cases (test/e2e/network/netpol): name, policies {(ns, name): spec}, who reaches whom -----------------------

def rules(peers=None, ports=None, side='from'):
    rule = {}
    if peers is not None:
        rule[side] = peers
    if ports is not None:
        rule['ports'] = ports
    return [rule]


def ingress(*rule_lists, pods=None):
    return {'podSelector': pods or {}, 'policyTypes': ['Ingress'], 'ingress': [r for l in rule_lists for r in l]}


def egress(*rule_lists, pods=None):
    return {'podSelector': pods or {}, 'policyTypes': ['Egress'], 'egress': [r for l in rule_lists for r in l]}


def has(**labels):
    return {'matchLabels': labels}


def one_of(key, operator, *values):
    return {'matchExpressions': [{'key': key, 'operator': operator, 'values': list(values)}]}


def space(name):
    return name.split('/')[0]


def short(name):
    return name.split('/')[1]


def into(target, allowed):
    """Whoever is not `target` (a name, or a namespace) is reached by all; it by those alone."""
    def expected(f, t, port, proto):
        return t != target and space(t) != target or allowed(f, t, port, proto)
    return expected


def out_of(source, allowed):
    def expected(f, t, port, proto):
        return f != source and space(f) != source or allowed(f, t, port, proto)
    return expected


def nobody(*unused):
    return False


def everybody(*unused):
    return True


POD_A = has(pod='a')
tcp = lambda port, **kw: dict({'port': port, 'protocol': 'TCP'}, **kw)
udp = lambda port, **kw: dict({'port': port, 'protocol': 'UDP'}, **kw)
CASES = [
    ('default-deny-ingress', {'x': ingress()}, into('x', nobody)),
    ('default-deny-all', {'x': {'podSelector': {}, 'policyTypes': ['Ingress', 'Egress']}},
     lambda f, t, *_: 'x' not in (space(f), space(t))),
    ('pods within the server namespace by podSelector', {'x': ingress(rules([{'podSelector': has(pod='b')}]), pods=POD_A)},
     into('x/a', lambda f, *_: f == 'x/b')),
    ('ingress for a target', {'x': ingress(rules([{'podSelector': {}}]), pods=POD_A)}, into('x/a', lambda f, *_: space(f) == 'x')),
    ('pods in all namespaces', {'x': ingress(rules([{'namespaceSelector': {}}]))}, everybody),
    ('only another namespace', {'x': ingress(rules([{'namespaceSelector': has(ns='y')}]), pods=POD_A)},
     into('x/a', lambda f, *_: space(f) == 'y')),
    ('podSelector with matchExpressions', {'x': ingress(rules([{'podSelector': one_of('pod', 'In', 'b')}]), pods=POD_A)},
     into('x/a', lambda f, *_: f == 'x/b')),
    ('namespaceSelector with matchExpressions', {'x': ingress(rules([{'namespaceSelector': one_of('ns', 'In', 'y')}]), pods=POD_A)},
     into('x/a', lambda f, *_: space(f) == 'y')),
    ('podSelector or namespaceSelector', {'x': ingress(rules([{'podSelector': has(pod='b')}, {'namespaceSelector': has(ns='y')}]), pods=POD_A)},
     into('x/a', lambda f, *_: f == 'x/b' or space(f) == 'y')),
    ('podSelector and namespaceSelector', {'x': ingress(rules([{'podSelector': has(pod='b'), 'namespaceSelector': has(ns='y')}]), pods=POD_A)},
     into('x/a', lambda f, *_: f == 'y/b')),
    ('several selectors of both', {'x': ingress(rules([{'podSelector': one_of('pod', 'In', 'b', 'c'), 'namespaceSelector': one_of('ns', 'NotIn', 'x')}]), pods=POD_A)},
     into('x/a', lambda f, *_: space(f) != 'x' and short(f) != 'a')),
    ('any podSelectors', {'x': ingress(rules([{'podSelector': has(pod='b')}, {'podSelector': has(pod='c')}]), pods=POD_A)},
     into('x/a', lambda f, *_: f in ('x/b', 'x/c'))),
    ('a pod of another namespace', {'x': ingress(rules([{'podSelector': POD_A, 'namespaceSelector': has(ns='y')}]), pods=POD_A)},
     into('x/a', lambda f, *_: f == 'y/a')),
    ('by port', {'x': ingress(rules([{'namespaceSelector': has(ns='y')}], [tcp(81)]), pods=POD_A)},
     into('x/a', lambda f, t, port, proto: space(f) == 'y' and (port, proto) == (81, 'TCP'))),
    ('stacked, overlapping', {('x', '1'): ingress(rules([{'namespaceSelector': has(ns='y')}], [tcp(81)]), pods=POD_A),
                              ('x', '2'): ingress(rules([{'namespaceSelector': has(ns='y')}], [tcp(80)]), pods=POD_A)},
     into('x/a', lambda f, t, port, proto: space(f) == 'y' and proto == 'TCP')),
    ('allow-all', {'x': ingress(rules())}, everybody),
    ('one named port', {'x': ingress(rules(None, [tcp('serve-81-tcp')]))},
     into('x', lambda f, t, port, proto: (port, proto) == (81, 'TCP'))),
    ('one named port from a namespace', {'x': ingress(rules([{'namespaceSelector': has(ns='x')}], [tcp('serve-80-tcp')]))},
     into('x', lambda f, t, port, proto: space(f) == 'x' and (port, proto) == (80, 'TCP'))),
    ('egress on one named port', {'x': egress(rules(None, [tcp('serve-80-tcp')], 'to'))},
     out_of('x', lambda f, t, port, proto: (port, proto) == (80, 'TCP'))),
    ('deny ingress from other namespaces', {'z': ingress(rules([{'podSelector': {}}]))}, into('z', lambda f, *_: space(f) == 'z')),
    ('deny egress of a pod', {'x': egress(pods=POD_A)}, out_of('x/a', nobody)),
    ('deny egress of a namespace', {'x': egress()}, out_of('x', nobody)),
    ('ingress and egress together', {'x': {'podSelector': POD_A, 'policyTypes': ['Ingress', 'Egress'],
                                           'ingress': rules([{'podSelector': has(pod='b')}]), 'egress': rules(None, [udp(81)], 'to')}},
     lambda f, t, port, proto: (t != 'x/a' or f == 'x/b') and (f != 'x/a' or (port, proto) == (81, 'UDP'))),
    ('denied by the client, allowed by the server', {('x', 'deny'): egress(pods=POD_A), ('y', 'allow'): ingress(rules([{'namespaceSelector': {}}]))},
     out_of('x/a', nobody)),
    ('egress to a pod of another namespace', {'x': egress(rules([{'podSelector': POD_A, 'namespaceSelector': has(ns='y')}], None, 'to'), pods=POD_A)},
     out_of('x/a', lambda f, t, *_: t == 'y/a')),
    ('any port of a protocol', {'x': ingress(rules(None, [{'protocol': 'UDP'}]))}, into('x', lambda f, t, port, proto: proto == 'UDP')),
    ('allow-all beside deny, ingress', {('x', 'deny'): ingress(), ('x', 'one'): ingress(rules(None, [tcp(80)])), ('x', 'all'): ingress(rules())}, everybody),
    ('allow-all beside deny, egress', {('x', 'deny'): egress(), ('x', 'all'): egress(rules())}, everybody),
    ('egress to an address', {'x': lambda c: egress(rules([{'ipBlock': {'cidr': c.pods.ip['y/b'] + '/32'}}], None, 'to'), pods=POD_A)},
     out_of('x/a', lambda f, t, *_: t == 'y/b')),
    ('egress to a block but for one', {'x': lambda c: egress(rules([{'ipBlock': {'cidr': '10.42.0.0/16', 'except': [c.pods.ip['y/b'] + '/32']}}], None, 'to'), pods=POD_A)},
     out_of('x/a', lambda f, t, *_: t != 'y/b')),
    ('excepted by one, allowed by another', {('x', '1'): lambda c: egress(rules([{'ipBlock': {'cidr': '10.42.0.0/16', 'except': [c.pods.ip['y/b'] + '/32']}}], None, 'to'), pods=POD_A),
                                             ('x', '2'): lambda c: egress(rules([{'ipBlock': {'cidr': c.pods.ip['y/b'] + '/32'}}], None, 'to'), pods=POD_A)},
     everybody),
    ('ingress from a block but for one', {'x': lambda c: ingress(rules([{'ipBlock': {'cidr': '0.0.0.0/0', 'except': [c.pods.ip['z/c'] + '/32']}}]), pods=POD_A)},
     into('x/a', lambda f, *_: f != 'z/c')),
    ('both directions of a pod apart', {('x', 'in'): ingress(rules([{'podSelector': has(pod='b')}]), pods=POD_A),
                                        ('x', 'out'): egress(rules([{'podSelector': has(pod='c')}], None, 'to'), pods=POD_A)},
     lambda f, t, *_: (t != 'x/a' or f == 'x/b') and (f != 'x/a' or t == 'x/c')),
    ('SCTP is not TCP', {'x': ingress(rules(None, [{'port': 81, 'protocol': 'SCTP'}]), pods=POD_A)}, into('x/a', nobody)),
    ('UDP is not TCP', {'x': ingress(rules(None, [udp(81)]), pods=POD_A)}, into('x/a', lambda f, t, port, proto: (port, proto) == (81, 'UDP'))),
    ("a namespace's own label", {'x': ingress(rules([{'namespaceSelector': has(**{'kubernetes.io/metadata.name': 'y'})}]), pods=POD_A)},
     into('x/a', lambda f, *_: space(f) == 'y')),
    ('a range of ports', {'x': ingress(rules(None, [tcp(81, endPort=90)]))}, into('x', lambda f, t, port, proto: (port, proto) == (81, 'TCP'))),
    ('a range of both, egress', {'x': egress(rules([{'namespaceSelector': has(ns='y')}], [tcp(80, endPort=81), udp(1, endPort=80)], 'to'), pods=POD_A)},
     out_of('x/a', lambda f, t, port, proto: space(t) == 'y' and (proto == 'TCP' or port == 80))),
    ('types by default', {('x', 'in'): {'podSelector': POD_A}, ('y', 'both'): {'podSelector': POD_A, 'egress': rules([{'podSelector': {}}], None, 'to')}},
     lambda f, t, *_: t not in ('x/a', 'y/a') and (f != 'y/a' or space(t) == 'y')),
]


def upstreams_table(c):
    for name, policies, expected in CASES:
        for key, spec in policies.items():
            ns, title = key if isinstance(key, tuple) else (key, 'policy')
            c.put(ns, title, spec(c) if callable(spec) else spec)
        c.holds(name, expected)
        c.clear()
    c.holds('policies that are gone', everybody)


def what_changes_moves_the_fences(c):
    c.clear()
    spec = ingress(rules([{'podSelector': has(pod='b'), 'namespaceSelector': has(ns='y')}]), pods=POD_A)
    c.put('x', 'one', spec)
    c.holds('as it was', into('x/a', lambda f, *_: f == 'y/b'))
    c.api('PUT', policies_path('x') + '/one', policy('one', ingress(rules([{'podSelector': has(pod='c'), 'namespaceSelector': has(ns='y')}]), pods=POD_A)))
    c.holds('an updated policy', into('x/a', lambda f, *_: f == 'y/c'))
    c.api.merge('/api/v1/namespaces/y', {'metadata': {'labels': {'ns': 'other'}}})
    c.holds('a namespace that lost its label', into('x/a', nobody))
    c.api.merge('/api/v1/namespaces/y', {'metadata': {'labels': {'ns': 'y'}}})
    c.api.merge(pods_path('y') + '/a', {'metadata': {'labels': {'pod': 'c'}}})
    c.holds('a pod that came by the label', into('x/a', lambda f, *_: f in ('y/a', 'y/c')))
    c.api.merge(pods_path('y') + '/a', {'metadata': {'labels': {'pod': 'a'}}})
    c.api.merge(pods_path('x') + '/b', {'metadata': {'labels': {'pod': 'a'}}})
    c.holds('a pod that is selected now', lambda f, t, *_: t not in ('x/a', 'x/b') or f == 'y/c')
    c.api.merge(pods_path('x') + '/b', {'metadata': {'labels': {'pod': 'b'}}})
    c.holds('and no more', into('x/a', lambda f, *_: f == 'y/c'))
    c.clear()


# --- the first packet -------------------------------------------------------------------------------------------------

def the_first_packet_meets_the_fence(c):
    """Pods whose first act is to connect out, each created right after the policy that forbids it; and a client that tries
    every address from before there is anybody."""
    n, batch = size(60, 1000), size(60, 100)
    api, target, client = c.api, c.pods.at['z/a'], c.pods.at['z/b']
    api('POST', '/api/v1/namespaces', {'metadata': {'name': 'first'}})
    door = target.listen(9000)
    counted = Servers()
    counted.add('door', door)
    through, over = set(), threading.Event()

    def knock():
        """From inside z/b, at every address of the pods that are there or come next."""
        taken = set(c.pods.ip.values())
        around = ['10.42.0.%d' % i for i in range(2, 254) if '10.42.0.%d' % i not in taken]
        while not over.is_set():
            got = reach(c.servers, {ip: (client, ip, 8080, 'TCP') for ip in random.sample(around, 60)}, 0.05)
            through.update(ip for ip, what in got.items() if what == 'yes')
            counted.turn()
    done = 0
    while done < n:
        names = ['p%d' % i for i in range(done, min(done + batch, n))]
        free = names[-1]                                     # a last one, without a policy: the same gets through
        over.clear()
        through.clear()                                      # addresses come again
        knocker = threading.Thread(target=knock)
        knocker.start()
        try:
            for name in names:
                if name != free:
                    api('POST', policies_path('first'), policy(name, {'podSelector': has(pod=name), 'policyTypes': ['Ingress', 'Egress']}))
                api('POST', pods_path('first'), pod(name, {'pod': name}, initContainers=[
                    {'name': 'out', 'image': IMAGE, 'command': ['sh', '-c', 'nc -w 1 %s 9000 </dev/null; true' % c.pods.ip['z/a']]}]))
            Pods(c, api, ['first'])
        finally:
            over.set()
            knocker.join()
        ips = {p['metadata']['name']: p['status']['podIP'] for p in api('GET', pods_path('first'))['items']}
        counted.turn()
        assert not through & {ips[name] for name in names if name != free}, through
        assert reach(c.servers, {0: (client, ips[free], 8080, 'TCP')})[0] == 'yes', 'what nobody forbids is reached'
        done += len(names)
        assert counted.taken['door'] == (done + batch - 1) // batch, '%d of %d got out' % (counted.taken['door'], done)
        api('DELETE', pods_path('first') + '?gracePeriodSeconds=0')
        api('DELETE', policies_path('first'))
        eventually('they are gone', lambda: not api('GET', pods_path('first'))['items'], 60)
    api('DELETE', '/api/v1/namespaces/first')
    counted.poll.close()
    door.close()


# --- what goes on while policies change ----------------------------------------------------------------------------------

def open_connections_end_with_what_allowed_them(c):
    c.clear()
    servers, at, ip = c.servers, c.pods.at, c.pods.ip
    keep = at['x/a'].listen(7000)
    c.put('x', 'one', ingress(rules([{'podSelector': has(pod='b')}, {'podSelector': has(pod='c')}]), pods=POD_A))
    c.holds('two may', into('x/a', lambda f, *_: f in ('x/b', 'x/c')))
    pairs = {}
    for name in ('x/b', 'x/c'):
        client = connected(at[name], ip['x/a'], 7000)
        keep.setblocking(True)
        pairs[name] = (client, keep.accept()[0])
    c.api('PUT', policies_path('x') + '/one', policy('one', ingress(rules([{'podSelector': has(pod='c')}]), pods=POD_A)))
    c.holds('one may', into('x/a', lambda f, *_: f == 'x/c'))

    def lives(name, within):
        client, server = pairs[name]
        server.settimeout(within)
        try:
            client.send(b'x')
            return server.recv(1) == b'x'
        except OSError:
            return False
    assert lives('x/c', 10), 'what is still allowed goes on'
    eventually('what is allowed no more has ended', lambda: not lives('x/b', 0.5))
    c.clear()
    keep.close()


def services_names_probes_and_hosts(c):
    """Default deny in both directions for x, with what a chart allows: its own pods and DNS."""
    c.clear()
    api, at, ip = c.api, c.pods.at, c.pods.ip
    api('POST', '/api/v1/namespaces/x/services', {'metadata': {'name': 'front'}, 'spec': {
        'type': 'NodePort', 'selector': {'pod': 'a'}, 'ports': [{'port': 8000, 'targetPort': 80, 'nodePort': 30080}]}})
    front = eventually('it has an address', lambda: api('GET', '/api/v1/namespaces/x/services/front')['spec']['clusterIP'])
    node = c.get('nodes')['items'][0]['status']['addresses'][0]['address']
    once = lambda f, where, port, proto='TCP': reach(c.servers, {0: (at[f] if f else Place(), where, port, proto)})[0]
    eventually('the Service answers', lambda: once('y/a', front, 8000) == 'yes')
    c.put('x', 'deny', {'podSelector': {}, 'policyTypes': ['Ingress', 'Egress']})
    c.holds('default deny', lambda f, t, *_: 'x' not in (space(f), space(t)))
    assert once('y/a', front, 8000) == 'refused' and once('y/a', node, 30080) == 'refused', 'nor through its Service'
    assert once(None, ip['x/a'], 80) == 'yes' and once(None, front, 8000) == 'yes', 'the host itself may'
    assert once('x/a', front, 8000) == 'yes', 'a pod reaches itself through its Service'
    c.put('x', 'some', {'podSelector': {}, 'policyTypes': ['Ingress', 'Egress'],
                        'ingress': rules([{'namespaceSelector': has(ns='y')}], [tcp(80)]),
                        'egress': [{'to': [{'namespaceSelector': has(**{'kubernetes.io/metadata.name': 'kube-system'}),
                                            'podSelector': has(**{'k8s-app': 'kube-dns'})}], 'ports': [udp(53), tcp(53)]}]})
    c.holds('y may, on 80', lambda f, t, port, proto: space(f) != 'x' and (
        space(t) != 'x' or (space(f) == 'y' and (port, proto) == (80, 'TCP'))))
    assert once('y/a', front, 8000) == 'yes' and once('z/a', front, 8000) == 'refused', 'the port of the pod counts, not of the Service'
    assert c.kubectl('exec', '-n', 'x', 'b', '--', 'nslookup', 'front.x.svc.cluster.local').count(front), 'names are answered'
    assert once('x/b', front, 8000) == 'refused'
    # a pod that is closed is ready by its probes all the same, and its fence comes with it
    api('POST', pods_path('x'), pod('probed', {'pod': 'probed'}, containers=[{'name': 'c', 'image': IMAGE,
        'readinessProbe': {'httpGet': {'path': '/healthz', 'port': 8080}, 'periodSeconds': 1},
        'livenessProbe': {'tcpSocket': {'port': 8080}, 'periodSeconds': 1}}]))
    api('POST', pods_path('y'), pod('hosted', {'pod': 'hosted'}, hostNetwork=True, containers=[{'name': 'c', 'image': IMAGE, 'command': ['sleep', '1000']}]))
    more = Pods(c, api, ['x', 'y'])
    assert reach(c.servers, {0: (at['z/a'], more.ip['x/probed'], 8080, 'TCP')})[0] == 'refused'
    assert reach(c.servers, {0: (more.at['y/hosted'], more.ip['x/probed'], 8080, 'TCP')})[0] == 'yes', 'a pod on the host is the host'
    says = 'NetworkPolicy some allows it from all pods in namespaces with ns=y'
    for to, name in (('svc/front:8000', 'Service front'), (front + ':8000', front + ' (Service front)')):
        answer = c.wherry('why', 'pod/a', '-n', 'z', '--to', to, '--to-namespace', 'x', check=False)
        assert 'Pod a cannot reach %s port 8000: %s' % (name, says) in answer, answer
    for ns, name in (('x', 'probed'), ('y', 'hosted')):
        api('DELETE', pods_path(ns) + '/' + name)
    api('DELETE', '/api/v1/namespaces/x/services/front')
    c.clear()


def far_place(ip):
    """A network behind a link of the machine, as another node's pods are: the process that holds it, and its place."""
    holder = subprocess.Popen(['unshare', '--net', 'sleep', '600'])
    eventually('it has one of its own', lambda: os.readlink('/proc/%d/ns/net' % holder.pid) != os.readlink('/proc/self/ns/net'))
    inside = ['nsenter', '-t', str(holder.pid), '-n']
    run(['ip', 'link', 'add', 'far0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', str(holder.pid)])
    run(['ip', 'link', 'set', 'far0', 'up'])
    run(['ip', 'route', 'add', ip + '/32', 'dev', 'far0'])
    with open('/proc/sys/net/ipv4/conf/far0/proxy_arp', 'w') as f:
        f.write('1')
    run(inside + ['ip', 'addr', 'add', ip + '/32', 'dev', 'eth0'])
    run(inside + ['ip', 'link', 'set', 'eth0', 'up'])
    run(inside + ['ip', 'route', 'add', '10.42.0.0/16', 'dev', 'eth0', 'scope', 'link'])
    return holder, Place(holder.pid)


def pods_of_other_nodes_are_peers(c):
    c.clear()
    api, ip, near = c.api, '10.42.9.9', c.pods.at['x/a']
    holder, far = far_place(ip)
    api('POST', '/api/v1/nodes', {'metadata': {'name': 'far'}})
    api('POST', pods_path('y'), pod('far', {'pod': 'far'}, nodeName='far'))
    c.servers.add('far', far.listen(80))

    def both():
        """From x/a to it, and from it to x/a."""
        got = reach(c.servers, {'out': (near, ip, 80, 'TCP'), 'in': (far, c.pods.ip['x/a'], 80, 'TCP')}, 0.5)
        return got['out'], got['in']
    try:
        eventually('they reach each other', lambda: both() == ('yes', 'yes'), 5)
        peer = [{'podSelector': has(pod='far'), 'namespaceSelector': has(ns='y')}]
        c.put('x', 'both', {'podSelector': POD_A, 'policyTypes': ['Ingress', 'Egress'], 'ingress': rules(peer), 'egress': rules(peer, None, 'to')})
        eventually('it is nobody yet', lambda: both() == ('refused', 'refused'), 5)
        api.merge(pods_path('y') + '/far/status', {'status': {'phase': 'Running', 'podIP': ip, 'podIPs': [{'ip': ip}]}})
        eventually('it is let through', lambda: both() == ('yes', 'yes'), 5)
        pid = c.role_pid('node')
        os.kill(pid, signal.SIGKILL)
        eventually('the node role is back', lambda: c.role_pid('node') != pid and both() == ('yes', 'yes'), 10)
        api.merge(pods_path('y') + '/far', {'metadata': {'labels': {'pod': 'other'}}})
        eventually('it is another', lambda: both() == ('refused', 'refused'), 10)
        api.merge(pods_path('y') + '/far', {'metadata': {'labels': {'pod': 'far'}}})
        eventually('it is the same again', lambda: both() == ('yes', 'yes'), 5)
        api('DELETE', pods_path('y') + '/far?gracePeriodSeconds=0')
        eventually('it has gone', lambda: both() == ('refused', 'refused'), 5)
    finally:
        holder.kill()
        holder.wait()
        run(['ip', 'link', 'del', 'far0'], check=False)
        api('DELETE', '/api/v1/nodes/far')
        c.clear()


# --- who dies in between -----------------------------------------------------------------------------------------------------

def no_gap_when_the_node_role_or_the_server_dies(c):
    """While both are killed again and again, nobody who is refused gets in, and nobody who is allowed is kept out; a policy
    that was written while the node was away holds when it is back."""
    c.clear()
    c.put('x', 'one', ingress(rules([{'namespaceSelector': has(ns='y')}]), pods=POD_A))
    expected = into('x/a', lambda f, *_: space(f) == 'y')
    c.holds('as it is', expected)
    over, wrong = threading.Event(), []

    def watch():
        some = lambda f, t, port, proto: t == 'x/a' and f in ('x/b', 'y/b', 'z/b')
        while not over.is_set():
            for key, what in c.table(some).items():
                if what not in allowed_answers(expected(*key), key[3]):
                    wrong.append((key, what))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for role in ['node', 'server'] * size(1, 10):
            pid = c.role_pid(role)
            os.kill(pid, signal.SIGKILL)
            eventually(role + ' is back', lambda: c.role_pid(role) != pid, 20)
            eventually('the API answers', lambda: c.kubectl('get', '--raw', '/readyz'), 20)
    finally:
        over.set()
        watcher.join()
    assert not wrong, wrong[:5]
    c.api.connection.close()                                 # of the server that is no more
    pid = c.role_pid('node')
    os.kill(pid, signal.SIGSTOP)
    c.put('z', 'two', ingress(pods=POD_A))
    c.api('DELETE', policies_path('x') + '/one')
    os.kill(pid, signal.SIGKILL)
    c.holds('what was written meanwhile', into('z/a', nobody), 20)
    c.clear()
    c.holds('nothing is left', everybody)


def refused_packets(c, ns, name, direction):
    node = c.get('nodes')['items'][0]['metadata']['name']
    line = 'wherry_network_policy_refused_packets_total{namespace="%s",policy="%s",direction="%s"} ' % (ns, name, direction)
    text = c.kubectl('get', '--raw', '/api/v1/nodes/%s/proxy/metrics' % node)
    assert line in text, text[-2000:]
    return int(text.split(line)[1].split()[0])


def refusals_are_counted_and_told(c):
    c.clear()
    c.put('x', 'deny', ingress(pods=POD_A))
    c.holds('denied', into('x/a', nobody))
    before = refused_packets(c, 'x', 'deny', 'ingress')
    for _ in range(3):
        assert reach(c.servers, {0: (c.pods.at['y/a'], c.pods.ip['x/a'], 80, 'TCP')})[0] == 'refused'
    assert refused_packets(c, 'x', 'deny', 'ingress') == before + 3
    answer = c.wherry('why', 'pod/b', '-n', 'y', '--to', 'pod/a:80', '--to-namespace', 'x', check=False)
    assert 'cannot reach pod a port 80: NetworkPolicy deny restricts the ingress of pod a' in answer, answer
    assert 'kubectl edit netpol/deny -n x' in answer, answer
    answer = c.wherry('why', 'pod/a', '-n', 'x', '--to', 'pod/a:80')
    assert 'it may always reach itself' in answer and reach(c.servers, {0: (c.pods.at['x/a'], c.pods.ip['x/a'], 80, 'TCP')})[0] == 'yes', answer
    c.clear()


main([upstreams_table, what_changes_moves_the_fences, the_first_packet_meets_the_fence, open_connections_end_with_what_allowed_them,
      services_names_probes_and_hosts,
      pods_of_other_nodes_are_peers, no_gap_when_the_node_role_or_the_server_dies, refusals_are_counted_and_told],
     cluster=Fenced)
