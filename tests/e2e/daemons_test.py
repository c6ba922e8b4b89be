#!/usr/bin/env python3
"""What keeps pods or starts them by itself, by kubectl: ReplicationControllers, CronJobs, DaemonSets; the node role and the
server are killed in between."""
from lib import *


def template(label, command='', grace=0, spec=''):
    entry = f'command: [sh, -c, {json.dumps(command)}]' if command else ''
    return f'''
    metadata: {{labels: {{app: {label}}}}}
    spec:
      terminationGracePeriodSeconds: {grace}
{spec}
      containers:
      - name: c
        image: {IMAGE}
        {entry}
'''


def pods(c, label):
    return [p for p in c.get('pods', '-l', 'app=' + label)['items'] if 'deletionTimestamp' not in p['metadata']]


def kill(c, *roles):
    for role in roles:
        os.kill(c.role_pid(role), signal.SIGKILL)


def events(c, about):
    return {e['reason']: e for e in c.get('events', '--field-selector=involvedObject.name=' + about)['items']}


def rc(name, replicas):
    return f'''
apiVersion: v1
kind: ReplicationController
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{app: {name}}}
  template:{template(name)}'''


def a_replication_controller_keeps_its_pods(c):
    alone = f'{{apiVersion: v1, kind: Pod, metadata: {{name: alone, labels: {{app: old}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: "{IMAGE}"}}]}}}}'
    c.apply(alone + '\n---\n' + rc('old', 2))
    status = lambda: c.get('rc', 'old')['status']
    eventually('two are ready', lambda: status().get('readyReplicas') == 2)
    assert {'replicas': 2, 'fullyLabeledReplicas': 2, 'availableReplicas': 2, 'observedGeneration': 1}.items() <= status().items(), status()
    owner = c.get('pod', 'alone')['metadata']['ownerReferences'][0]
    assert (owner['kind'], owner['apiVersion'], owner['controller']) == ('ReplicationController', 'v1', True), owner
    made = events(c, 'old')['SuccessfulCreate']
    assert made['source']['component'] == 'replication-controller' and made['message'].startswith('Created pod: old-'), made
    c.kubectl('label', 'pod', 'alone', 'app=free', '--overwrite')
    eventually('it is let go, and another comes', lambda: not c.get('pod', 'alone')['metadata'].get('ownerReferences') and len(pods(c, 'old')) == 2)
    c.kubectl('scale', 'rc/old', '--replicas=3', '--current-replicas=2')
    scale = json.loads(c.kubectl('get', '--raw', '/api/v1/namespaces/default/replicationcontrollers/old/scale'))
    assert scale['spec'] == {'replicas': 3} and scale['status']['selector'] == 'app=old', scale
    kill(c, 'node', 'server')
    eventually('three are ready', lambda: status().get('readyReplicas') == 3, timeout=40)
    c.kubectl('delete', 'pod', '--wait=false', pods(c, 'old')[0]['metadata']['name'])
    eventually('one that is deleted is replaced', lambda: len(pods(c, 'old')) == 3 and status().get('readyReplicas') == 3)
    assert c.wherry('why', 'rc/old').startswith('ReplicationController old is as declared: 3 of 3 pods ready.\n')
    described = c.kubectl('describe', 'rc', 'old')
    assert 'Replicas:     3 current / 3 desired' in described and '3 Running / 0 Waiting' in described, described
    c.kubectl('delete', 'rc', 'old', '--cascade=orphan')
    assert len(pods(c, 'old')) == 3 and not any(p['metadata'].get('ownerReferences') for p in pods(c, 'old'))
    c.apply(rc('old', 1))
    eventually('it takes them back and needs one', lambda: len(pods(c, 'old')) == 1 and status().get('readyReplicas') == 1)
    c.kubectl('delete', 'rc/old', 'pod/alone', '--wait=false')
    eventually('they go with it', lambda: not pods(c, 'old'))


if __name__ == '__main__':
    main([a_replication_controller_keeps_its_pods])
