#!/usr/bin/env python3
"""Claims and volumes as kubectl shows them: pairs are bound while the server is killed in between, pods wait for their claims
and for the node of their volumes, what is in use stays, what is released is kept, and who may grow what."""
import http.client, random, signal, threading
from lib import *


def pv(name, size='1Gi', cls='', more='', path='/tmp/claims-nothing'):
    return f'''
---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec: {{capacity: {{storage: {size}}}, accessModes: [ReadWriteOnce], storageClassName: "{cls}", hostPath: {{path: {path}}}{more}}}
'''


def pvc(name, size='1Gi', cls='""', more='', modes='ReadWriteOnce'):
    return f'''
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec: {{accessModes: [{modes}], resources: {{requests: {{storage: {size}}}}}{f', storageClassName: {cls}' if cls else ''}{more}}}
'''


def storage_class(name, provisioner='kubernetes.io/no-provisioner', mode='WaitForFirstConsumer', more=''):
    return f'''
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {name}}}
provisioner: {provisioner}
volumeBindingMode: {mode}
{more}
'''


def pod(name, volumes, command='sleep 100', more=''):
    mounts = ', '.join('{name: v%d, mountPath: /v%d}' % (i, i) for i in range(len(volumes)))
    sources = ', '.join('{name: v%d, %s}' % (i, v) for i, v in enumerate(volumes))
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  {more}
  containers: [{{name: c, image: {IMAGE}, command: [sh, -c, '{command}'], volumeMounts: [{mounts}]}}]
  volumes: [{sources}]
'''


def claim(name):
    return 'persistentVolumeClaim: {claimName: %s}' % name


def phase(c, kind, name):
    return c.get(kind, name)['status']['phase']


def events_of(c, name, reason=None):
    all = c.get('events', '--field-selector', 'involvedObject.name=' + name)['items']
    return [e['message'] for e in all if not reason or e['reason'] == reason]


def is_running(c, name):
    return phase(c, 'pod', name) == 'Running'


def refused(c, *args, **kw):
    try:
        c.kubectl(*args, **kw)
    except AssertionError as e:
        return str(e)
    raise AssertionError('it was taken: ' + ' '.join(args))


def pairs_that_hold(c):
    """Every claim that is bound has one volume, and that volume has that claim."""
    volumes = {v['metadata']['name']: v for v in c.get('pv')['items']}
    claims = c.get('pvc')['items']
    had = {}
    for p in claims:
        if p['status']['phase'] != 'Bound':
            continue
        name, v = p['spec']['volumeName'], volumes[p['spec']['volumeName']]
        assert name not in had, (name, had[name], p['metadata']['name'])
        had[name] = p['metadata']['name']
        assert v['spec']['claimRef']['uid'] == p['metadata']['uid'], (v, p)
        assert v['status']['phase'] == 'Bound', v
        assert p['metadata']['annotations']['pv.kubernetes.io/bind-completed'] == 'yes', p
    return len(had)


def pairs_are_bound_while_the_server_is_killed(c):
    n = size(12, 60)
    c.kubectl('create', 'namespace', 'pairs')
    dice = random.Random(seed())
    text = ''.join(pv('pair-%d' % i, '%dGi' % (1 + i % 3), 'pairs') for i in range(n))
    text += ''.join(pvc('pair-%d' % i, '%dGi' % (1 + i % 3), 'pairs') for i in range(n + 2))
    maker = threading.Thread(target=lambda: eventually('all is made', lambda: c.apply(text), 30), daemon=True)
    maker.start()
    for _ in range(size(5, 40)):
        time.sleep(dice.uniform(0.01, 0.25))
        eventually('the server is there', lambda: os.kill(c.role_pid('server'), signal.SIGKILL) is None)
    maker.join()
    eventually('all volumes are given', lambda: pairs_that_hold(c) == n, 20)
    waiting = [p['metadata']['name'] for p in c.get('pvc')['items'] if p['status']['phase'] == 'Pending']
    assert len(waiting) == 2, waiting
    # nobody makes more of them: there is no such class
    message = eventually('it is told', lambda: events_of(c, waiting[0], 'ProvisioningFailed'))
    assert set(message) == {'storageclass.storage.k8s.io "pairs" not found'}, message      # each server tells it anew
    c.apply(pv('pair-late', '3Gi', 'pairs'))
    eventually('one of them gets the new one', lambda: pairs_that_hold(c) == n + 1, 5)
    c.kubectl('delete', 'pvc', '--all')
    eventually('all are released', lambda: {v['status']['phase'] for v in c.get('pv')['items']} <= {'Released', 'Available'})
    # kept, until somebody says that they are free
    c.kubectl('patch', 'pv', 'pair-0', '--type=merge', '-p', '{"spec": {"claimRef": null}}')
    eventually('it is free', lambda: phase(c, 'pv', 'pair-0') == 'Available')
    c.kubectl('delete', 'pv', '--all')


def a_claim_is_bound_within_moments(c):
    """From the claim's making to the last write of its pair, over one connection."""
    conn = http.client.HTTPSConnection('127.0.0.1', c.port, context=admin_tls(c.env['KUBECONFIG']), timeout=20)

    def ask(method, path, body=None):
        conn.request(method, path, json.dumps(body) if body else None, {'Content-Type': 'application/json'})
        r = conn.getresponse()
        return json.loads(r.read())

    took, plain = [], []
    for i in range(20):
        start = time.monotonic()
        ask('POST', '/api/v1/namespaces/default/configmaps', {'metadata': {'name': 'plain-%d' % i}})
        plain.append(time.monotonic() - start)
    for i in range(5):
        c.apply(pv('swift-%d' % i, cls='swift'))
        eventually('it is free', lambda: phase(c, 'pv', 'swift-%d' % i) == 'Available')
        start = time.monotonic()
        path = '/api/v1/namespaces/default/persistentvolumeclaims'
        ask('POST', path, {'metadata': {'name': 'swift-%d' % i}, 'spec': {'accessModes': ['ReadWriteOnce'], 'storageClassName': 'swift',
                                                                        'resources': {'requests': {'storage': '1Gi'}}}})
        while ask('GET', path + '/swift-%d' % i)['status']['phase'] != 'Bound':
            assert time.monotonic() < start + 10
        took.append(time.monotonic() - start)
    print('     bound after %.1f ms, a write takes %.1f' % (min(took) * 1000, min(plain) * 1000), flush=True)
    assert min(took) < 0.04 * slowness(), took
    c.kubectl('delete', 'pvc', '--all')
    c.kubectl('delete', 'pv', '--all')


def a_pod_keeps_its_claim_and_data_stay(c):
    path = c.root + '/data'
    os.mkdir(path)
    os.chmod(path, 0o777)
    c.apply(pod('writer', [claim('data')], 'echo hello > /v0/said; sleep 100'))
    message = '0/1 nodes are available: persistentvolumeclaim "data" not found. not found'
    eventually('it says what it waits for', lambda: [x['message'] for x in c.get('pod', 'writer')['status']['conditions']
                                                     if x['type'] == 'PodScheduled'] == [message])
    c.apply(pvc('data', more=', volumeName: data'))
    eventually('the claim says what it waits for', lambda: 'unbound immediate' in str(c.get('pod', 'writer')['status']))
    c.apply(pv('data', path=path))
    eventually('it runs', lambda: is_running(c, 'writer'))
    assert 'Used By:       writer' in c.kubectl('describe', 'pvc', 'data'), c.kubectl('describe', 'pvc', 'data')
    eventually('it has written', lambda: open(path + '/said').read() == 'hello\n')
    c.kubectl('delete', 'pvc', 'data', '--wait=false')
    assert c.get('pvc', 'data')['metadata'].get('deletionTimestamp')
    assert 'Terminating' in c.kubectl('get', 'pvc', 'data')
    c.kubectl('delete', 'pv', 'data', '--wait=false')
    c.apply(pod('late', [claim('data')]))
    eventually('nobody may take it any more', lambda: 'is being deleted' in str(c.get('pod', 'late')['status']))
    assert phase(c, 'pv', 'data') == 'Bound'
    c.kubectl('delete', 'pod', 'writer', 'late')
    eventually('both are gone', lambda: not c.get('pvc')['items'] and not c.get('pv')['items'])
    assert open(path + '/said').read() == 'hello\n'


def volumes_wait_for_their_pod(c):
    node = c.get('nodes')['items'][0]['metadata']['name']
    for i in range(2):
        os.mkdir('%s/local%d' % (c.root, i))
    on = ', nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]}]}}'
    local = lambda name, i, where: pv(name, '1Gi', 'late', on % where).replace('hostPath: {path: /tmp/claims-nothing}', 'local: {path: %s/local%d}' % (c.root, i))
    c.apply(storage_class('late') + local('elsewhere', 0, 'gone') + pvc('late', cls='late'))
    eventually('it waits', lambda: events_of(c, 'late', 'WaitForFirstConsumer') == ['waiting for first consumer to be created before binding'])
    c.apply(pod('late', [claim('late')], 'echo x > /v0/x; sleep 100'))
    eventually('which has no volume here', lambda: "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. "
               'no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.'
               in events_of(c, 'late', 'FailedScheduling'))
    eventually('the server is there', lambda: os.kill(c.role_pid('server'), signal.SIGKILL) is None)
    eventually('the server is back', lambda: c.apply(local('here', 1, node)))
    eventually('it runs', lambda: is_running(c, 'late'))
    assert c.get('pvc', 'late')['spec']['volumeName'] == 'here'
    assert phase(c, 'pv', 'elsewhere') == 'Available'
    eventually('it has written', lambda: os.path.exists(c.root + '/local1/x'))
    # for itself alone, and gone with it
    c.apply(local('own', 0, node))
    template = 'ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: late, resources: {requests: {storage: 1Gi}}}}}'
    c.apply(pod('own', [template]))
    eventually('it runs', lambda: is_running(c, 'own'))
    made = c.get('pvc', 'own-v0')
    assert made['metadata']['ownerReferences'][0]['kind'] == 'Pod' and made['spec']['volumeName'] == 'own', made
    c.apply(pvc('bad-v0', cls='late'))
    c.apply(pod('bad', [template]))
    eventually('a conflict is told', lambda: events_of(c, 'bad', 'FailedBinding') ==
               ['ephemeral volume v0: PVC default/bad-v0 was not created for pod default/bad (pod is not owner)'])
    c.kubectl('delete', 'pod', 'late', 'own', 'bad')
    eventually('its claim goes with it', lambda: 'own-v0' not in c.kubectl('get', 'pvc', '-o', 'name'))
    c.kubectl('delete', 'pvc', '--all')
    c.kubectl('delete', 'pv', '--all')
    c.kubectl('delete', 'storageclass', 'late')


def pods_get_their_volumes_while_the_server_is_killed(c):
    """Volumes that are chosen with the node: as many as there are pods, of which each needs one for itself."""
    n, dice = size(4, 20), random.Random(seed())
    for i in range(n):
        os.mkdir('%s/each%d' % (c.root, i))
    text = storage_class('each')
    for i in range(n):
        text += pv('each-%d' % i, cls='each', path='%s/each%d' % (c.root, i)) + pvc('each-%d' % i, cls='each')
        text += pod('each-%d' % i, [claim('each-%d' % i)], 'echo %d > /v0/who; sleep 100' % i)
    maker = threading.Thread(target=lambda: eventually('all is made', lambda: c.apply(text), 30), daemon=True)
    maker.start()
    for _ in range(size(3, 20)):
        time.sleep(dice.uniform(0.05, 0.4))
        eventually('the server is there', lambda: os.kill(c.role_pid('server'), signal.SIGKILL) is None)
    maker.join()
    eventually('all run', lambda: all(p['status']['phase'] == 'Running' for p in c.get('pods')['items']) and pairs_that_hold(c) == n, 30)
    said = lambda: sorted(open('%s/each%d/who' % (c.root, i)).read().strip() for i in range(n))
    eventually('each has one of its own', lambda: said() == sorted(map(str, range(n))))
    c.kubectl('delete', 'pod', '--all')
    c.kubectl('delete', 'pvc', '--all')
    c.kubectl('delete', 'pv', '--all')
    c.kubectl('delete', 'storageclass', 'each')


def one_pod_at_a_time(c):
    c.apply(pv('alone', more='').replace('ReadWriteOnce', 'ReadWriteOncePod') + pvc('alone', modes='ReadWriteOncePod') + pod('first', [claim('alone')]))
    eventually('it runs', lambda: is_running(c, 'first'))
    c.apply(pod('second', [claim('alone')]))
    why = 'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode'
    eventually('the other waits', lambda: why in str(events_of(c, 'second', 'FailedScheduling')))
    c.kubectl('delete', 'pod', 'first')
    eventually('until the first is gone', lambda: is_running(c, 'second'))
    c.kubectl('delete', 'pod', 'second')
    c.kubectl('delete', 'pvc', 'alone')
    c.kubectl('delete', 'pv', 'alone')


def who_may_grow(c):
    c.apply(storage_class('grows', 'example.com/disk', 'Immediate', 'allowVolumeExpansion: true') + storage_class('stays', 'example.com/disk', 'Immediate'))
    c.apply(pvc('grows', cls='grows') + pvc('stays', cls='stays') + pv('grows', cls='grows') + pv('stays', cls='stays'))
    eventually('both are bound', lambda: {phase(c, 'pvc', 'grows'), phase(c, 'pvc', 'stays')} == {'Bound'})
    grow = lambda name, much: ('patch', 'pvc', name, '-p', '{"spec": {"resources": {"requests": {"storage": "%s"}}}}' % much)
    assert ('persistentvolumeclaims "stays" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that '
            'provisions the pvc must support resize') in refused(c, *grow('stays', '2Gi'))
    c.kubectl(*grow('grows', '5Gi'))
    c.kubectl(*grow('grows', '3Gi'))                 # it has not grown yet: less will do
    assert 'field can not be less than status.capacity' in refused(c, *grow('grows', '500Mi'))
    assert c.get('pvc', 'grows')['status']['capacity'] == {'storage': '1Gi'}
    c.kubectl('delete', 'pvc', '--all')
    # what nobody deletes is told
    c.kubectl('patch', 'pv', 'stays', '-p', '{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}')
    eventually('it failed', lambda: phase(c, 'pv', 'stays') == 'Failed')
    assert events_of(c, 'stays', 'VolumeFailedDelete') == ['error getting deleter volume plugin for volume "stays": no deletable volume plugin matched']
    c.kubectl('delete', 'pv', '--all')
    c.kubectl('delete', 'storageclass', 'grows', 'stays')


def what_is_lost_is_told(c):
    c.apply(pv('lost', cls='lost') + pvc('lost', cls='lost'))
    eventually('it is bound', lambda: phase(c, 'pvc', 'lost') == 'Bound')
    c.kubectl('delete', 'pv', 'lost', '--wait=false')
    c.kubectl('patch', 'pv', 'lost', '--type=merge', '-p', '{"metadata": {"finalizers": null}}')
    eventually('it is lost', lambda: phase(c, 'pvc', 'lost') == 'Lost')
    eventually('and that is told', lambda: events_of(c, 'lost', 'ClaimLost') == ['Bound claim has lost its PersistentVolume. Data on the volume is lost!'])
    c.apply(pod('lost', [claim('lost')]))
    eventually('its pod waits', lambda: events_of(c, 'lost', 'FailedScheduling') ==
               ['0/1 nodes are available: persistentvolumeclaim "lost" bound to non-existent persistentvolume "lost". not found'])
    c.apply(pv('lost', cls='lost'))          # the data were elsewhere
    eventually('it is bound again', lambda: phase(c, 'pvc', 'lost') == 'Bound' and pairs_that_hold(c))
    eventually('and its pod runs', lambda: is_running(c, 'lost'))
    c.kubectl('delete', 'pod', 'lost')
    c.kubectl('delete', 'pvc', 'lost')
    c.kubectl('delete', 'pv', 'lost')


def the_default_class_comes_later(c):
    for s in c.get('storageclass')['items']:
        c.kubectl('annotate', 'storageclass', s['metadata']['name'], 'storageclass.kubernetes.io/is-default-class=false', '--overwrite')
    c.apply(pvc('later', cls=None))
    eventually('nothing suits it', lambda: events_of(c, 'later', 'FailedBinding') ==
               ['no persistent volumes available for this claim and no storage class is set'])
    c.apply(storage_class('better', 'example.com/disk', 'Immediate').replace('{name: better}',
            '{name: better, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}'))
    eventually('it gets the class', lambda: c.get('pvc', 'later')['spec'].get('storageClassName') == 'better')
    eventually('and its provisioner is told', lambda: c.get('pvc', 'later')['metadata']['annotations'] .get('volume.kubernetes.io/storage-provisioner') == 'example.com/disk')
    eventually('so are people', lambda: len(events_of(c, 'later', 'ExternalProvisioning')) == 1)
    c.kubectl('delete', 'pvc', 'later')
    c.kubectl('delete', 'storageclass', 'better')


main([pairs_are_bound_while_the_server_is_killed, a_claim_is_bound_within_moments, a_pod_keeps_its_claim_and_data_stay,
      volumes_wait_for_their_pod, pods_get_their_volumes_while_the_server_is_killed, one_pod_at_a_time, who_may_grow, what_is_lost_is_told, the_default_class_comes_later])
