#!/usr/bin/env python3
"""Addresses of Services of type LoadBalancer: from pools, answered for on the wire, and without a pool the node's own.
A client in a network namespace of its own stands on the same segment (192.0.2.0/24) as the node."""
import json
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
        run(['ip', 'netns', 'add', 'client'])
        run(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'client'])
        run(['ip', 'addr', 'add', NODE + '/24', 'dev', 'eth0'])
        run(['ip', 'link', 'set', 'eth0', 'up'])
        run(['ip', 'route', 'add', 'default', 'via', CLIENT])
        client('ip', 'link', 'set', 'lo', 'up')
        client('ip', 'addr', 'add', CLIENT + '/24', 'dev', 'eth0')
        client('ip', 'link', 'set', 'eth0', 'up')


def client(*argv, **kw):
    return run(['ip', 'netns', 'exec', 'client'] + list(argv), **kw)


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
    c.kubectl('delete', 'svc', 'one')
    eventually('and has the port when the older is gone', lambda: addresses(c, 'two') == [NODE])
    c.kubectl('delete', 'svc', 'two')
    eventually('nothing answers any more', lambda: not answer(NODE, 8081))


if __name__ == '__main__':
    main([without_a_pool_the_node_serves], cluster=OnASegment)
