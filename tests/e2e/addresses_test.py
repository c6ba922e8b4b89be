#!/usr/bin/env python3
"""Addresses of Services of type LoadBalancer: from pools, answered for on the wire, and without a pool the node's own.
A client in a network namespace of its own stands on the same segment (192.0.2.0/24) as the node."""
import json, os, signal, socket, subprocess
from lib import Cluster, deployment, eventually, main, run

NODE, CLIENT = '192.0.2.10', '192.0.2.20'
BALANCER = """
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default, annotations: {%s}}
spec: {type: LoadBalancer, selector: {app: %s}, ports: [{name: http, port: %d, targetPort: 8080}]%s}
"""
POOL = """
apiVersion: wherry.dev/v1
kind: AddressPool
metadata: {name: %s}
spec: {addresses: [%s]%s}
"""


class OnASegment(Cluster):
    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.outside = subprocess.Popen(['unshare', '--net', 'sleep', '100000'])
        OnASegment.client = self.outside.pid
        eventually('its namespace', lambda: os.readlink('/proc/%d/ns/net' % self.outside.pid) != os.readlink('/proc/self/ns/net'))
        run(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', str(self.outside.pid)])
        run(['ip', 'addr', 'add', NODE + '/24', 'dev', 'eth0'])
        run(['ip', 'link', 'set', 'eth0', 'up'])
        run(['ip', 'route', 'add', 'default', 'via', CLIENT])
        client('ip', 'link', 'set', 'lo', 'up')
        client('ip', 'addr', 'add', CLIENT + '/24', 'dev', 'eth0')
        client('ip', 'link', 'set', 'eth0', 'up')

    def __exit__(self, *unused):
        super().__exit__()
        self.outside.kill()
        self.outside.wait()


def client(*argv, **kw):
    return run(['nsenter', '--net=/proc/%d/ns/net' % OnASegment.client] + list(argv), **kw)


def balancer(name, port=80, app='web', notes='', more=''):
    return BALANCER % (name, notes, app, port, ', ' + more if more else '')


def addresses(c, name, ns='default'):
    return [i['ip'] for i in c.get('svc', '-n', ns, name)['status'].get('loadBalancer', {}).get('ingress', [])]


def condition(c, name, kind='wherry.dev/AddressAssigned', ns='default'):
    return {x['type']: x for x in c.get('svc', '-n', ns, name)['status'].get('conditions', [])}.get(kind, {})


def answer(ip, port=80, path='/'):
    return client('curl', '-s', '-m', '2', 'http://%s:%d%s' % (ip, port, path), check=False)


def without_a_pool_the_node_serves(c):
    c.apply(deployment('web', 1))
    c.apply(balancer('one', 8081))
    eventually('the node\'s address', lambda: addresses(c, 'one') == [NODE])
    eventually('an answer from outside', lambda: answer(NODE, 8081))
    c.apply(balancer('two', 8081))
    eventually('the younger is told', lambda: condition(c, 'two').get('reason') == 'PortTaken')
    assert 'Service default/one' in condition(c, 'two')['message'] and addresses(c, 'two') == []
    with socket.create_server(('0.0.0.0', 2222)):      # as sshd would
        c.apply(balancer('three', 2222))
        eventually('what a process listens on is its own', lambda: 'a process' in condition(c, 'three').get('message', ''))
        c.kubectl('patch', 'svc', 'one', '--type=json', '-p', '[{"op":"replace","path":"/spec/ports/0/port","value":2222}]')
        eventually('neither may who has another port', lambda: condition(c, 'one').get('reason') == 'PortTaken')
        assert not addresses(c, 'three') and not addresses(c, 'one')
        c.kubectl('patch', 'svc', 'one', '--type=json', '-p', '[{"op":"replace","path":"/spec/ports/0/port","value":8083}]')
        eventually('a free one', lambda: addresses(c, 'one') == [NODE] and answer(NODE, 8083))
    c.kubectl('delete', 'svc', 'one', 'three')
    eventually('the other has the port when the older is gone', lambda: addresses(c, 'two') == [NODE])
    c.kubectl('delete', 'svc', 'two')
    eventually('nothing answers any more', lambda: not answer(NODE, 8081))


def neighbour(ip):
    """The link address that the client has found for it."""
    words = client('ip', 'neigh', 'show', ip, check=False).split()
    return words[words.index('lladdr') + 1] if 'lladdr' in words else ''


def mac(link='eth0'):
    return json.loads(run(['ip', '-j', 'link', 'show', link]))[0]['address']


def a_pool_gives_addresses_that_answer(c):
    c.apply(POOL % ('public', '192.0.2.50-192.0.2.51', ''))
    for bad, why in (('192.0.2.9-192.0.2.1', 'ends before it begins'), ("'2001:db8::/64'", 'IPv6'), ('localhost', 'must be a CIDR'),
                     ('127.0.0.0/30', 'no machine has')):
        said = refused(c, POOL % ('bad', bad, ''))
        assert 'spec.addresses[0]' in said and why in said, said
    c.apply(balancer('one') + '---' + balancer('two'))
    eventually('two have addresses', lambda: addresses(c, 'one') and addresses(c, 'two'))
    c.apply(balancer('three'))
    eventually('the third is told', lambda: condition(c, 'three'))
    assert sorted(addresses(c, 'one') + addresses(c, 'two')) == ['192.0.2.50', '192.0.2.51']
    assert condition(c, 'three')['reason'] == 'PoolFull' and not addresses(c, 'three')
    status = eventually('the pool counts', lambda: [s for s in [c.get('addresspool', 'public').get('status', {})] if s.get('assigned') == 2])[0]
    assert status['available'] == 0, status
    for name in ('one', 'two'):
        ip = addresses(c, name)[0]
        eventually('an answer of ' + name, lambda: answer(ip))
        assert neighbour(ip) == mac(), client('ip', 'neigh')
    c.kubectl('delete', 'svc', 'two')
    eventually('the third has what the second had', lambda: addresses(c, 'three'))
    assert 'full' in c.kubectl('get', 'events', '--field-selector', 'reason=AllocationFailed')
    ip = addresses(c, 'three')[0]
    c.kubectl('patch', 'svc', 'three', '--type=merge', '-p', '{"spec":{"type":"ClusterIP"}}')
    eventually('another type has none', lambda: ip not in run(['ip', 'addr', 'show', 'lo']))
    three = eventually('nor a finalizer', lambda: [s for s in [c.get('svc', 'three')] if 'finalizers' not in s['metadata']])[0]
    assert not three['status'].get('loadBalancer') and not three['status'].get('conditions'), three['status']


def refused(c, yaml):
    p = subprocess.run([c.bin + '/kubectl', 'apply', '-f', '-'], env=c.env, input=yaml, text=True, capture_output=True)
    assert p.returncode, yaml
    return p.stderr


def they_outlive_the_node_role(c):
    ip = addresses(c, 'one')[0]
    for role in ('node', 'server'):
        pid = c.role_pid(role)
        os.kill(pid, signal.SIGKILL)
        for _ in range(5):
            assert answer(ip), role
        eventually(role + ' is there again', lambda: c.role_pid(role) not in (None, pid))
        assert answer(ip), role
    eventually('it is served', lambda: addresses(c, 'one') == [ip])


def who_takes_over_tells_the_segment(c):
    ip = addresses(c, 'one')[0]
    c.kubectl('label', 'node', '--all', 'node.kubernetes.io/exclude-from-external-load-balancers=')
    eventually('nobody answers', lambda: ip not in run(['ip', 'addr', 'show', 'lo']))
    client('ip', 'neigh', 'replace', ip, 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0', 'nud', 'stale')
    c.kubectl('label', 'node', '--all', 'node.kubernetes.io/exclude-from-external-load-balancers-')
    eventually('the client was told', lambda: neighbour(ip) == mac())
    eventually('an answer', lambda: answer(ip))


def only_some_may_reach_it(c):
    ip = addresses(c, 'one')[0]
    c.kubectl('patch', 'svc', 'one', '--type=merge', '-p', '{"spec":{"loadBalancerSourceRanges":["198.51.100.0/24"]}}')
    eventually('the client may not', lambda: not answer(ip))
    c.kubectl('patch', 'svc', 'one', '--type=merge', '-p', '{"spec":{"loadBalancerSourceRanges":["192.0.2.16/28"]}}')
    eventually('the client may', lambda: answer(ip))


def one_goes_back_to_the_nodes(c):
    """And does not wait for the node's next round, which may be five minutes away."""
    c.apply(balancer('back', 8083))
    ip = eventually('an address of the pool', lambda: addresses(c, 'back'))
    assert ip != [NODE], ip
    c.kubectl('annotate', 'svc', 'back', 'wherry.dev/address-pool=nodes')
    eventually('the node has it', lambda: addresses(c, 'back') == [NODE])
    eventually('an answer', lambda: answer(NODE, 8083))
    c.kubectl('delete', 'svc', 'back')


def the_policy_local_tells_who_has_endpoints(c):
    c.apply(balancer('local', 8082, more='externalTrafficPolicy: Local', notes='wherry.dev/address-pool: nodes'))
    c.apply(balancer('near', more='externalTrafficPolicy: Local'))
    port = c.get('svc', 'local')['spec']['healthCheckNodePort']
    ip = eventually('an address of the pool', lambda: addresses(c, 'near'))[0]
    eventually('an answer of it', lambda: answer(ip))
    health = lambda: json.loads(answer(NODE, port, '/healthz') or '{}')
    said = eventually('one endpoint', lambda: [h for h in [health()] if h.get('localEndpoints') == 1])[0]
    assert said == {'service': {'namespace': 'default', 'name': 'local'}, 'localEndpoints': 1, 'serviceProxyHealthy': True}, said
    eventually('an answer', lambda: answer(NODE, 8082))
    c.kubectl('scale', 'deploy', 'web', '--replicas=0')
    eventually('none', lambda: health().get('localEndpoints') == 0)
    assert client('curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', 'http://%s:%d/' % (NODE, port)) == '503'
    eventually('it has no address then', lambda: not addresses(c, 'local'))
    eventually('nobody answers for the other', lambda: ip not in run(['ip', 'addr', 'show', 'lo']))
    assert addresses(c, 'near') == [ip]
    c.kubectl('scale', 'deploy', 'web', '--replicas=1')
    eventually('and again', lambda: addresses(c, 'local') == [NODE])
    eventually('both', lambda: answer(ip))
    c.kubectl('delete', 'svc', 'local', 'near')
    eventually('nobody listens', lambda: not answer(NODE, port))


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]}}]}
"""


def the_front_door_has_one_of_the_pool(c):
    c.apply(INGRESS)
    ip = eventually('an address', lambda: addresses(c, 'wherry-front', 'kube-system'))[0]
    assert ip.startswith('192.0.2.5'), ip
    eventually('an answer', lambda: answer(ip))
    eventually('the Ingress says so', lambda: c.get('ingress', 'shop')['status']['loadBalancer']['ingress'][0]['ip'] == ip)
    assert not answer(ip, 8082) and not answer(ip, c.port)
    uid = lambda: c.get('svc', '-n', 'kube-system', 'wherry-front')['metadata']['uid']
    was = uid()
    c.kubectl('delete', 'svc', '-n', 'kube-system', 'wherry-front', '--wait=false')  # kubectl would wait for the new one as well
    eventually('it comes again', lambda: uid() != was and addresses(c, 'wherry-front', 'kube-system'))
    c.kubectl('delete', 'ingress', 'shop')


def down_takes_them_away(c):
    c.down()
    assert '192.0.2.5' not in run(['ip', 'addr', 'show', 'lo'])
    c.up()
    ip = eventually('it has its address', lambda: addresses(c, 'one'))[0]
    eventually('and answers', lambda: answer(ip))


if __name__ == '__main__':
    main([without_a_pool_the_node_serves, a_pool_gives_addresses_that_answer, they_outlive_the_node_role,
          who_takes_over_tells_the_segment, only_some_may_reach_it, one_goes_back_to_the_nodes,
          the_policy_local_tells_who_has_endpoints, the_front_door_has_one_of_the_pool,
          down_takes_them_away], cluster=OnASegment)
