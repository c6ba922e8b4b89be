#!/usr/bin/env python3
"""Preemption with real pods: who goes, what is said of it, that budgets hold, and that roles may die in between. Each test
has a resource of its own on the node, so that they ask for nothing of the machine."""
import os, signal
from lib import *

CLASSES = {'low': 10, 'mid': 100, 'high': 1000}
UP = '[sh, -c, "trap \'exit 0\' TERM; sleep 100000 & wait"]'
DEAF = '[sh, -c, "trap : TERM; while true; do sleep 1000 & wait; done"]'


def room(c, name, n):
    """The node has n of it."""
    node = c.get('nodes')['items'][0]['metadata']['name']
    c.kubectl('patch', 'node', node, '--subresource=status', '-p', json.dumps({'status': {'capacity': {'example.com/' + name: str(n)}}}))
    eventually('the node has ' + name, lambda: 'example.com/' + name in c.get('node', node)['status']['allocatable'])
    return node


def pod(name, rank, what, n=1, more='', grace=1, command=UP, labels='{}', ns='default'):
    return f'''
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {ns}, labels: {labels}}}
spec:
  priorityClassName: {rank}
  terminationGracePeriodSeconds: {grace}
  containers:
  - name: c
    image: {IMAGE}
    command: {command}
    resources: {{limits: {{example.com/{what}: {n}}}}}
{more}---
'''


def one(c, name, ns='default'):
    found = [p for p in c.get('pods', '-n', ns)['items'] if p['metadata']['name'] == name]
    return found[0] if found else None


def runs(c, *names, ns='default'):
    def all_run():
        pods = {p['metadata']['name']: p for p in c.get('pods', '-n', ns)['items']}
        return all(n in pods and pods[n]['status'].get('phase') == 'Running' for n in names)
    eventually('%s run' % ', '.join(names), all_run)


def condition(p, kind):
    return next((x for x in p['status'].get('conditions', []) if x['type'] == kind), {})


def events(c, name, reason, ns='default'):
    """New-style ones, as the scheduler writes them."""
    found = c.get('events.v1.events.k8s.io', '-n', ns)['items']
    return [e for e in found if e['regarding']['name'] == name and e['reason'] == reason]


def less_important_goes(c):
    """Its condition, its event, what kubectl and wherry say of both while it ends, and where the other one comes to."""
    node = room(c, 'a', 3)
    c.apply(pod('low', 'low', 'a', 3, grace=3, command=DEAF))
    runs(c, 'low')
    c.kubectl('patch', 'pod', 'low', '-p', '{"metadata": {"finalizers": ["example.com/looks"]}}')
    c.apply(pod('taker', 'high', 'a', 2) + pod('never', 'never', 'a', 2))
    def ends():
        return one(c, 'low')['metadata'].get('deletionTimestamp')
    eventually('the less important one ends', ends)
    low, taker = one(c, 'low'), one(c, 'taker')
    told = condition(low, 'DisruptionTarget')
    assert (told['status'], told['reason'], told['message']) == ('True', 'PreemptionByScheduler', 'default-scheduler: preempting to accommodate a higher priority pod'), told
    assert low['metadata']['deletionGracePeriodSeconds'] == 3, low['metadata']
    assert taker['status']['nominatedNodeName'] == node and 'nodeName' not in taker['spec'], taker
    assert condition(taker, 'PodScheduled')['message'] == '0/1 nodes are available: 1 Insufficient example.com/a.', taker['status']
    wide = c.kubectl('get', 'pod', 'taker', '-o', 'wide').splitlines()[1].split()
    assert wide[-2] == node, wide
    said = c.wherry('why', 'pod/taker', check=False)
    assert 'low' in said and 'make room' in said, said
    said = c.wherry('why', 'pod/low', check=False)
    assert 'taker' in said, said
    runs(c, 'taker')
    taker = one(c, 'taker')
    assert 'nominatedNodeName' not in taker['status'], taker['status']
    low = one(c, 'low')                                 # which has ended, and is looked at still
    assert low['status']['phase'] == 'Failed' and condition(low, 'DisruptionTarget') == told, low['status']
    c.kubectl('patch', 'pod', 'low', '--type=merge', '-p', '{"metadata": {"finalizers": null}}')
    eventually('it is gone', lambda: not one(c, 'low'))
    e = events(c, 'low', 'Preempted')
    assert len(e) == 1 and e[0]['note'] == 'Preempted by pod %s on node %s' % (taker['metadata']['uid'], node), e
    assert e[0]['action'] == 'Preempting' and e[0]['related']['name'] == 'taker' and e[0]['type'] == 'Normal', e
    e = events(c, 'taker', 'FailedScheduling')
    assert e[0]['note'] == '0/1 nodes are available: 1 Insufficient example.com/a.', e
    # whoever may preempt nobody waits, and says so
    e = eventually('it is told', lambda: events(c, 'never', 'FailedScheduling'))
    assert e[0]['note'].endswith('preemption: not eligible due to preemptionPolicy=Never.'), e
    said = c.wherry('why', 'pod/never', check=False)
    assert 'preemptionPolicy Never' in said, said
    # nor does one that is as important
    c.apply(pod('equal', 'high', 'a', 2))
    e = eventually('it is told', lambda: events(c, 'equal', 'FailedScheduling'))
    assert e[0]['note'].endswith('preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.'), e
    c.kubectl('delete', 'pod', 'taker', 'equal')
    runs(c, 'never')
    c.kubectl('delete', 'pod', 'never')


def budgets_hold(c):
    """Who is under a budget stays as long as somebody else will do; then goes, since the other matters more."""
    room(c, 'b', 3)
    c.apply('''
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: guard}
spec: {minAvailable: 2, selector: {matchLabels: {app: guarded}}}
---
''' + ''.join(pod('guarded%d' % i, 'low', 'b', labels='{app: guarded}') for i in (1, 2)) + pod('plain', 'mid', 'b'))
    runs(c, 'guarded1', 'guarded2', 'plain')
    eventually('the budget knows them', lambda: c.get('pdb', 'guard')['status'].get('currentHealthy') == 2)
    c.apply(pod('first', 'high', 'b'))
    runs(c, 'first')
    eventually('who is under no budget is gone', lambda: not one(c, 'plain'))    # it has ended before its room was given away
    assert one(c, 'guarded1') and one(c, 'guarded2')
    c.apply(pod('second', 'high', 'b'))
    runs(c, 'second')
    guarded = lambda: [n for n in ('guarded1', 'guarded2') if one(c, n)]
    eventually('one of the guarded is gone', lambda: len(guarded()) < 2)
    assert len(guarded()) == 1
    c.kubectl('delete', 'pdb', 'guard')
    c.kubectl('delete', 'pod', '-l', 'app=guarded')
    c.kubectl('delete', 'pod', 'first', 'second')


def critical_ones_come(c):
    """system-cluster-critical, and ReplicaSets of four ranks: the lower ones lose their pods and wait for room."""
    room(c, 'c', 10)
    c.apply(''.join(f'''
apiVersion: apps/v1
kind: ReplicaSet
metadata: {{name: {rank}}}
spec:
  replicas: {n}
  selector: {{matchLabels: {{rank: {rank}}}}}
  template:
    metadata: {{labels: {{rank: {rank}}}}}
    spec:
      priorityClassName: {rank}
      terminationGracePeriodSeconds: 0
      containers: [{{name: c, image: {IMAGE}, command: {UP}, resources: {{limits: {{example.com/c: {size}}}}}}}]
---
''' for rank, n, size in (('low', 5, 1), ('mid', 1, 2), ('high', 1, 3))))
    def ready():
        return {r['metadata']['name']: r['status'].get('readyReplicas', 0) for r in c.get('rs')['items']}
    eventually('all have their room', lambda: ready() == {'low': 5, 'mid': 1, 'high': 1})
    c.kubectl('apply', '-f', '-', input=pod('critical', 'system-cluster-critical', 'c', 4, ns='kube-system', grace=0))
    runs(c, 'critical', ns='kube-system')
    eventually('four of the least important ones wait', lambda: ready() == {'low': 1, 'mid': 1, 'high': 1})
    c.kubectl('delete', 'pod', '-n', 'kube-system', 'critical')
    eventually('they are back', lambda: ready() == {'low': 5, 'mid': 1, 'high': 1})
    c.kubectl('delete', 'rs', 'low', 'mid', 'high')


def roles_die_meanwhile(c):
    """The server and the node are killed while victims end: nobody goes for nothing, and the preemptor comes."""
    room(c, 'd', 4)
    c.apply(''.join(pod('d%d' % i, 'low', 'd', grace=3, command=DEAF) for i in range(4)))
    runs(c, 'd0', 'd1', 'd2', 'd3')
    c.apply(pod('taker2', 'high', 'd', 2))
    def ending():
        return [p for p in c.get('pods')['items'] if p['metadata'].get('deletionTimestamp')]
    eventually('somebody ends', ending)
    for role in ('server', 'node'):
        os.kill(c.role_pid(role), signal.SIGKILL)
    runs(c, 'taker2')
    left = [p for p in c.get('pods')['items'] if p['metadata']['name'].startswith('d') and not p['metadata'].get('deletionTimestamp')]
    assert len(left) == 2, [p['metadata']['name'] for p in left]
    assert not c.reports(), c.reports()
    c.kubectl('delete', 'pod', '--grace-period=0', '--force', 'taker2', *(p['metadata']['name'] for p in left))


def classes(c):
    """What a cluster has, what one may say of a class, and what kubectl shows of it."""
    names = {x['metadata']['name']: x['value'] for x in c.get('priorityclasses')['items']}
    assert names['system-cluster-critical'] == 2000000000 and names['system-node-critical'] == 2000001000, names
    for name, value in CLASSES.items():
        c.kubectl('create', 'priorityclass', name, '--value=%d' % value)
    c.kubectl('create', 'priorityclass', 'never', '--value=500', '--preemption-policy=Never', '--description=waits')
    text = c.kubectl('describe', 'priorityclass', 'never')
    c.kubectl('delete', 'priorityclass', 'system-node-critical')
    os.kill(c.role_pid('server'), signal.SIGKILL)       # a server that starts makes what is missing
    eventually('it is there again', lambda: c.get('priorityclass', 'system-node-critical')['value'] == 2000001000)
    assert 'Value:             500' in text and 'PreemptionPolicy:  Never' in text and 'Description:       waits' in text, text


if __name__ == '__main__':
    main([classes, less_important_goes, budgets_hold, critical_ones_come, roles_die_meanwhile])
