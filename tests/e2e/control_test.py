#!/usr/bin/env python3
"""Controllers and what clients send, as users meet them: sleepers, lists, text files, budgets, owners."""
import json, os, signal, time
from lib import *


def pod(name, labels=None, command='sleep 100000', spec='', container='', ns='default'):
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {ns}, labels: {json.dumps(labels or {})}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: {IMAGE}
    command: [sh, -c, {json.dumps(command)}]
{container}
{spec}'''


def node_status(c):
    node = c.get('nodes')['items'][0]
    return node['metadata']['name'], {s['type']: s['status'] for s in node['status']['conditions']}


def a_node_that_is_called_unknown_says_otherwise(c):
    c.apply(deployment('mended') + service('mended'))
    c.kubectl('rollout', 'status', 'deployment/mended', timeout=120)
    name, _ = node_status(c)
    for types in (['Ready'], ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready']):
        lies = [{'type': t, 'status': 'Unknown', 'reason': 'NodeStatusUnknown', 'message': 'x'} for t in types]
        c.kubectl('patch', 'node', name, '--subresource=status', '-p', json.dumps({'status': {'conditions': lies}}))
        eventually('the node contradicts ' + str(types), lambda: node_status(c)[1]['Ready'] == 'True' and
                   'Unknown' not in node_status(c)[1].values(), timeout=30)
    c.kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=mended', '--timeout=30s')
    eventually('its taints are gone', lambda: not c.get('node', name)['spec'].get('taints'), timeout=30)
    eventually('its Service answers', lambda: [e for s in c.get('endpointslices', '-l', 'kubernetes.io/service-name=mended')['items']
                                               for e in s['endpoints'] or [] if e['conditions']['ready']], timeout=30)
    c.kubectl('delete', 'deployment/mended', 'service/mended', '--wait=false')


def sleepers_judge_nobody(c):
    """All of the machine, the server alone, the node alone: stopped for 45 s."""
    if not STORM:
        return
    c.apply(deployment('awake') + service('awake'))
    c.kubectl('rollout', 'status', 'deployment/awake', timeout=120)
    for roles in (['server', 'node', 'relay', 'dns'], ['server'], ['node']):
        pids = [c.role_pid(r) for r in roles]
        for p in pids:
            os.kill(p, signal.SIGSTOP)
        time.sleep(45)          # it is the length of the sleep that is tried
        for p in pids:
            os.kill(p, signal.SIGCONT)
        eventually('%s woke: the node is ready' % roles, lambda: set(node_status(c)[1].values()) == {'True', 'False'} and
                   node_status(c)[1]['Ready'] == 'True', timeout=15)
        c.kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=awake', '--timeout=15s')
        judged = [e['message'] for e in c.get('events', '-A')['items'] if e['reason'] == 'NodeNotReady' and
                  (e['involvedObject']['kind'] == 'Node' or e['involvedObject']['name'].startswith('awake'))]
        assert roles == ['node'] or not judged, judged      # a node alone that was silent for 45 s is one that is away
    c.kubectl('delete', 'deployment/awake', 'service/awake', '--wait=false')


def volumes_follow_labels(c):
    c.apply(pod('follows', {'a': '1'}, container='    volumeMounts: [{name: d, mountPath: /d}, {name: p, mountPath: /p}]', spec='''  volumes:
  - name: d
    downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: one, fieldRef: {fieldPath: "metadata.annotations['x']"}}]}
  - name: p
    projected: {sources: [{downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}'''))
    c.kubectl('wait', '--for=condition=Ready', 'pod/follows', '--timeout=60s')
    for n in range(12):     # one after the other, some while the volumes are being written
        c.kubectl('label', '--overwrite', 'pod', 'follows', 'a=n%d' % n)
    c.kubectl('annotate', 'pod', 'follows', 'x=seen')
    for path in ('/d/labels', '/p/labels'):
        eventually(path, lambda: 'a="n11"' in c.kubectl('exec', 'follows', '--', 'cat', path), timeout=30, every=0.3)
    eventually('/d/one', lambda: c.kubectl('exec', 'follows', '--', 'cat', '/d/one') == 'seen', timeout=30, every=0.3)
    c.kubectl('delete', 'pod', 'follows', '--wait=false')


if __name__ == '__main__':
    main([a_node_that_is_called_unknown_says_otherwise, volumes_follow_labels, sleepers_judge_nobody], port=16549)
