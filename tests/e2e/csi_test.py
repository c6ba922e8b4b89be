#!/usr/bin/env python3
"""Drivers of storage (CSI): they register, and pods get their volumes; with everything in between killed."""
import http.client, threading
from lib import *

NAME = 'test.csi.wherry.dev'
GRPC = None
DRIVER = '''
apiVersion: v1
kind: Pod
metadata: {name: %(pod)s}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: host, hostPath: {path: /, type: Directory}}
  - {name: kubelet, hostPath: {path: %(kubelet)s, type: Directory}}
  containers:
  - name: driver
    image: wherry.dev/test:1
    securityContext: {privileged: true}
    # one that dies is there again at once
    command: [sh, -c, 'while true; do /bin/busybox chroot /host env PYTHONPATH=%(grpc)s %(python)s %(script)s driver %(name)s %(id)s %(kubelet)s/plugins/%(name)s/csi.sock %(base)s; done']
    volumeMounts: &mounts
    - {name: host, mountPath: /host, mountPropagation: HostToContainer}
    - {name: kubelet, mountPath: /host%(kubelet)s, mountPropagation: Bidirectional}
  - name: registrar
    image: wherry.dev/test:1
    securityContext: {privileged: true}
    command: [/bin/busybox, chroot, /host, env, PYTHONPATH=%(grpc)s, %(python)s, %(script)s, registrar, %(kubelet)s/plugins/%(name)s/csi.sock, %(kubelet)s/plugins/%(name)s/csi.sock, %(kubelet)s/plugins_registry]
    volumeMounts: *mounts
'''


class Storage:
    """A driver in a pod, and what it was asked."""

    def __init__(self, c, name=NAME, id='node-a', settings=None):
        self.c, self.name, self.id = c, name, id
        self.kubelet, self.base = c.root + '/var/lib/kubelet', '%s/csi-%s' % (c.root, name)
        os.makedirs(self.base, exist_ok=True)
        self.settings(**(settings or {}))

    def settings(self, **kw):
        self.write('settings', kw)

    def control(self, **kw):
        self.write('control', kw)

    def write(self, what, value):
        with open(self.base + '/new', 'w') as f:
            json.dump(value, f)
        os.rename(self.base + '/new', self.base + '/' + what)

    def start(self):
        self.c.apply(DRIVER % dict(pod='driver-' + self.name.split('.')[0], kubelet=self.kubelet, grpc=GRPC, python=os.path.realpath(sys.executable), name=self.name, id=self.id,
                                   base=self.base, script=os.path.join(TOP, 'tests/e2e/csi_driver.py')))
        return self

    def stop(self):
        self.c.kubectl('delete', 'pod', 'driver-' + self.name.split('.')[0], '--wait=true', '--now')

    def kill(self):
        """The driver's process, in its pod."""
        for pid in run(['pgrep', '-f', 'csi_driver.py driver ' + self.name], check=False).split():
            if self.base in open('/proc/%s/cmdline' % pid).read():
                os.kill(int(pid), signal.SIGKILL)

    def calls(self, method=None):
        if not os.path.exists(self.base + '/calls'):
            return []
        with open(self.base + '/calls') as f:
            all = [json.loads(line) for line in f]
        return [x for x in all if method in (None, x['method'])]

    def row(self):
        node = self.c.get('csinode')['items'][0]
        return next((d for d in node['spec']['drivers'] or [] if d['name'] == self.name), None)


CLASS = '''
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %(name)s}
provisioner: %(driver)s
volumeBindingMode: %(mode)s
allowVolumeExpansion: true
'''
CLAIM = '''
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %(name)s}
spec: {accessModes: [ReadWriteOnce], storageClassName: %(cls)s, volumeMode: %(mode)s, resources: {requests: {storage: 1Gi}}}
'''
POD = '''
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {fsGroup: 4711}
  volumes: [%(volume)s]
  containers:
  - {name: c, image: wherry.dev/test:1, command: [sleep, '1000'], %(mounts)s}
'''


def pod(name, volume, mounts='volumeMounts: [{name: v, mountPath: /data}]'):
    return POD % dict(name=name, volume=volume, mounts=mounts)


def of_claim(claim):
    return '{name: v, persistentVolumeClaim: {claimName: %s}}' % claim


def inline(driver=NAME, **attributes):
    return '{name: v, csi: {driver: %s, volumeAttributes: %s}}' % (driver, json.dumps(attributes))


SECRETS = ['nodeStageSecretRef', 'nodePublishSecretRef', 'nodeExpandSecretRef', 'controllerPublishSecretRef', 'controllerExpandSecretRef']


class Controllers(threading.Thread):
    """What external-provisioner, external-attacher and external-resizer do, by the API alone: volumes are folders that
    nobody has to make. `slow` attachments wait; `refuse` fails them with its text."""

    def __init__(self, c, driver=NAME):
        super().__init__(daemon=True)
        self.c, self.driver, self.ended, self.wait, self.refuse = c, driver, threading.Event(), False, None
        self.tls = admin_tls(c.env['KUBECONFIG'])

    def ask(self, method, path, body=None, patch='application/merge-patch+json'):
        h = http.client.HTTPSConnection('127.0.0.1', self.c.port, context=self.tls, timeout=20)
        try:
            h.request(method, path, body and json.dumps(body), {'Content-Type': patch if method == 'PATCH' else 'application/json'})
            r = h.getresponse()
            return r.status, json.loads(r.read())
        finally:
            h.close()

    def list(self, path):
        status, answer = self.ask('GET', path)
        return answer.get('items') or []

    def run(self):
        while not self.ended.is_set():
            try:
                self.turn()
            except (OSError, http.client.HTTPException, ValueError):
                pass                                      # the server is killed now and then
            self.ended.wait(0.05)

    def turn(self):
        for claim in self.list('/api/v1/persistentvolumeclaims'):
            notes = claim['metadata'].get('annotations', {})
            if notes.get('volume.kubernetes.io/storage-provisioner') == self.driver:
                self.provision(claim) if not claim['spec'].get('volumeName') else self.resize(claim)
        for volume in self.list('/api/v1/persistentvolumes'):
            if volume['spec'].get('csi', {}).get('driver') == self.driver and volume['status'].get('phase') == 'Released':
                self.ask('DELETE', '/api/v1/persistentvolumes/' + volume['metadata']['name'])
        for a in self.list('/apis/storage.k8s.io/v1/volumeattachments'):
            if a['spec']['attacher'] == self.driver:
                self.attach(a)

    def provision(self, claim):
        m, s = claim['metadata'], claim['spec']
        if m.get('deletionTimestamp') or 'delayed' in s['storageClassName'] and 'volume.kubernetes.io/selected-node' not in m.get('annotations', {}):
            return
        name = 'pvc-' + m['uid']
        self.ask('POST', '/api/v1/persistentvolumes', {
            'metadata': {'name': name, 'annotations': {'pv.kubernetes.io/provisioned-by': self.driver}},
            'spec': {'capacity': s['resources']['requests'], 'accessModes': s['accessModes'], 'volumeMode': s['volumeMode'], 'storageClassName': s['storageClassName'],
                     'persistentVolumeReclaimPolicy': 'Delete', 'claimRef': {'kind': 'PersistentVolumeClaim', 'namespace': m['namespace'], 'name': m['name'], 'uid': m['uid']},
                     'csi': {'driver': self.driver, 'volumeHandle': 'handle-' + m['uid'], 'fsType': 'ext4', 'volumeAttributes': {'made': 'here'},
                             **{x: {'name': 'key', 'namespace': 'default'} for x in SECRETS}}}})

    def resize(self, claim):
        volume = self.ask('GET', '/api/v1/persistentvolumes/' + claim['spec']['volumeName'])[1]
        want = claim['spec']['resources']['requests']['storage']
        if volume['spec']['capacity']['storage'] != want:
            self.ask('PATCH', '/api/v1/persistentvolumes/' + volume['metadata']['name'], {'spec': {'capacity': {'storage': want}}})
            self.ask('PATCH', '/api/v1/namespaces/%s/persistentvolumeclaims/%s/status' % (claim['metadata']['namespace'], claim['metadata']['name']),
                     {'status': {'conditions': [{'type': 'FileSystemResizePending', 'status': 'True', 'message': 'Waiting for user to (re-)start a pod to finish file system resize of volume on node.'}]}})

    def attach(self, a):
        path, mine = '/apis/storage.k8s.io/v1/volumeattachments/' + a['metadata']['name'], 'external-attacher/test'
        if a['metadata'].get('deletionTimestamp'):
            if mine in a['metadata'].get('finalizers', []):
                self.ask('PATCH', path, {'metadata': {'finalizers': None}})
        elif mine not in a['metadata'].get('finalizers', []):
            self.ask('PATCH', path, {'metadata': {'finalizers': [mine]}})
        elif self.refuse and not a.get('status', {}).get('attachError'):
            self.ask('PATCH', path + '/status', {'status': {'attached': False, 'attachError': {'message': self.refuse}}})
        elif not a.get('status', {}).get('attached') and not self.wait and not self.refuse:
            self.ask('PATCH', path + '/status', {'status': {'attached': True, 'attachmentMetadata': {'device': 'vdx'}, 'attachError': None}})


def nothing_left(c, s):
    """Nor a mount, a record, an attachment or a volume that is in use."""
    def look():
        with open('/proc/self/mountinfo') as f:
            mounts = [l.split()[4] for l in f if s.kubelet + '/' in l or '/mounts/' in l.split()[4] and c.root in l]
        records = run(['find', s.kubelet, '-name', 'vol_data.json']).split()
        status = c.get('node')['items'][0]['status']
        left = mounts + records + status.get('volumesInUse', []) + [x['name'] for x in status.get('volumesAttached') or []]
        left += [x['metadata']['name'] for x in c.get('volumeattachment')['items']]
        assert not left, left
        return True
    eventually('nothing is left', look, 40)


def running(c, *pods):
    for p in pods:
        eventually(p + " runs", lambda: c.get("pod", p)["status"]["phase"] == "Running", 40)


def events(c, reason):
    return [e['message'] for e in c.get('events')['items'] if e['reason'] == reason]


def gone(c, what, *names):
    c.kubectl('delete', what, *names, '--wait=true', timeout=60)


def life(c):
    """A claim is provisioned, attached, staged, published, written, grown, given to two pods, taken away and deleted."""
    s = STORAGE.ready(c)
    c.apply(CLASS % dict(name='delayed', driver=NAME, mode='WaitForFirstConsumer') + '---' + CLAIM % dict(name='data', cls='delayed', mode='Filesystem') + '---' +
            pod('one', of_claim('data')) + '---' + pod('two', of_claim('data')))
    running(c, 'one', 'two')
    stage, publish = s.calls('NodeStageVolume'), s.calls('NodePublishVolume')
    assert len(stage) == 1 and len(publish) == 2, (stage, publish)
    volume = c.get('pvc', 'data')['spec']['volumeName']
    assert stage[0]['context'] == {'device': 'vdx'} and stage[0]['secrets'] == publish[0]['secrets'] == {'word': 'sesame'} and stage[0]['attributes'] == {'made': 'here'}, ('nodeStageSecretRef', 'nodePublishSecretRef', stage)
    assert stage[0]['capability'] == {'block': False, 'fs': 'ext4', 'flags': [], 'group': '', 'mode': 1}, stage
    assert stage[0]['staging'].startswith(s.kubelet + '/plugins/kubernetes.io/csi/%s/' % NAME) and stage[0]['staging'].endswith('/globalmount')
    uid = c.get('pod', 'one')['metadata']['uid']
    assert [p['target'] for p in publish if uid in p['target']] == ['%s/pods/%s/volumes/kubernetes.io~csi/%s/mount' % (s.kubelet, uid, volume)]
    assert publish[0]['staging'] == stage[0]['staging'] and publish[0]['attributes']['csi.storage.k8s.io/pod.namespace'] == 'default', publish
    c.kubectl('exec', 'one', '--', 'sh', '-c', 'echo hello > /data/file')
    assert c.kubectl('exec', 'two', '--', 'cat', '/data/file') == 'hello\n'
    assert c.kubectl('exec', 'one', '--', 'ls', '-ldn', '/data').split()[3] == '4711', 'fsGroup, by fsGroupPolicy'
    assert any(m.startswith('AttachVolume.Attach succeeded for volume "%s"' % volume) for m in events(c, 'SuccessfulAttachVolume'))
    node = c.get('node')['items'][0]
    summary = '/api/v1/nodes/%s/proxy/stats/summary' % node['metadata']['name']
    def stats():
        pods = json.loads(c.kubectl('get', '--raw', summary))['pods']
        found = [v for p in pods if p['podRef']['name'] == 'one' for v in p.get('volume', []) if v.get('pvcRef', {}).get('name') == 'data']
        return found and found[0] if found and found[0].get('capacityBytes') == 1000 else None
    told = eventually('what the driver says of the volume', stats)
    assert (told['availableBytes'], told['usedBytes'], told['inodes'], told['inodesFree'], told['inodesUsed']) == (700, 300, 10, 7, 3), told
    assert told['volumeHealthStats'] == {'abnormal': True}, told
    asked = [x for x in s.calls('NodeGetVolumeStats') if uid in x['path']]
    assert asked and asked[0]['staging'] == stage[0]['staging'] and asked[0]['id'] == stage[0]['id'], asked
    unique = 'kubernetes.io/csi/%s^%s' % (NAME, stage[0]['id'])
    assert node['status']['volumesInUse'] == [unique] and node['status']['volumesAttached'] == [{'name': unique, 'devicePath': ''}], node['status']
    c.kubectl('patch', 'pvc', 'data', '-p', json.dumps({'spec': {'resources': {'requests': {'storage': '2Gi'}}}}))
    eventually('it is grown', lambda: c.get('pvc', 'data')['status']['capacity']['storage'] == '2Gi')
    grown = s.calls('NodeExpandVolume')
    assert grown[0]['bytes'] == 2 << 30 and grown[0]['secrets'] == {'word': 'sesame'}, ('nodeExpandSecretRef', grown)
    eventually('nobody waits for it', lambda: not c.get('pvc', 'data')['status'].get('conditions'))
    gone(c, 'pod', 'one')
    eventually('it is taken from the pod', lambda: len(s.calls('NodeUnpublishVolume')) == 1)
    assert not s.calls('NodeUnstageVolume')
    assert c.kubectl('exec', 'two', '--', 'cat', '/data/file') == 'hello\n'
    gone(c, 'pod', 'two')
    gone(c, 'pvc', 'data')
    nothing_left(c, s)
    assert len(s.calls('NodeUnstageVolume')) == 1
    eventually('nor the volume', lambda: not c.get('pv')['items'])


def inline_and_block(c):
    """A volume that stands in a pod, with the pod's name, a token and a secret; and a device; read-only; mode mismatch."""
    s = STORAGE.ready(c)
    ephemeral = '{name: v, csi: {driver: %s, readOnly: true, fsType: ext4, volumeAttributes: {a: b}, nodePublishSecretRef: {name: key}}}' % NAME
    c.apply(CLASS % dict(name='now', driver=NAME, mode='Immediate') + '---' + CLAIM % dict(name='raw', cls='now', mode='Block') + '---' + pod('inline', ephemeral) + '---' +
            pod('device', of_claim('raw'), 'volumeDevices: [{name: v, devicePath: /dev/raw}]') + '---' +
            pod('nobody', '{name: v, csi: {driver: nobody.wherry.dev}}'))
    running(c, 'inline', 'device')
    p = next(x for x in s.calls('NodePublishVolume') if 'pods' in x['target'])
    uid = c.get('pod', 'inline')['metadata']['uid']
    assert p['target'] == '%s/pods/%s/volumes/kubernetes.io~csi/v/mount' % (s.kubelet, uid) and p['id'].startswith('csi-') and len(p['id']) == 68, p
    assert p['readonly'] and p['secrets'] == {'word': 'sesame'} and p['capability']['fs'] == 'ext4' and not p['staging'], p
    got = p['attributes']
    tokens = json.loads(got.pop('csi.storage.k8s.io/serviceAccount.tokens'))
    assert got == {'a': 'b', 'csi.storage.k8s.io/pod.name': 'inline', 'csi.storage.k8s.io/pod.namespace': 'default', 'csi.storage.k8s.io/pod.uid': uid,
                   'csi.storage.k8s.io/serviceAccount.name': 'default', 'csi.storage.k8s.io/ephemeral': 'true'}, got
    claims = json.loads(base64.urlsafe_b64decode(tokens['vault']['token'].split('.')[1] + '=='))
    assert claims['exp'] - claims['iat'] == 1200, claims                  # expirationSeconds
    assert claims['aud'] == ['vault'] and tokens['vault']['expirationTimestamp'].endswith('Z'), (claims, tokens)
    assert 'ephemeral' in c.kubectl('exec', 'inline', '--', 'cat', '/data/content')
    assert 'Read-only' in run([c.bin + '/kubectl', 'exec', 'inline', '--', 'sh', '-c', 'touch /data/x 2>&1; true'], env=c.env)
    stage = s.calls('NodeStageVolume')
    assert len(stage) == 1 and stage[0]['capability']['block'] and '/volumeDevices/staging/' in stage[0]['staging'], stage
    assert c.kubectl('exec', 'device', '--', 'sh', '-c', 'echo written > /dev/raw; head -c 7 /dev/raw') == 'written'
    eventually('it is told', lambda: any('no CSIDriver object' in m for m in events(c, 'FailedMount')))
    c.kubectl('patch', 'csidriver', NAME, '--type=merge', '-p', '{"spec": {"serviceAccountTokenInSecrets": true}}')
    c.apply(pod('secretly', inline()))
    running(c, 'secretly')
    p = s.calls('NodePublishVolume')[-1]
    assert 'vault' in p['secrets']['csi.storage.k8s.io/serviceAccount.tokens'] and 'csi.storage.k8s.io/serviceAccount.tokens' not in p['attributes'], p
    c.kubectl('patch', 'csidriver', NAME, '--type=merge', '-p', '{"spec": {"serviceAccountTokenInSecrets": false}}')
    gone(c, 'pod', 'inline', 'device', 'nobody', 'secretly')
    eventually('it is asked again how many it takes', lambda: s.row().get('allocatable') == {'count': 77}, 20)
    gone(c, 'pvc', 'raw')
    nothing_left(c, s)


def drivers_fail(c):
    """A driver that dies between stage and publish, one that says no, answers garbage, hangs until it is killed, and one
    that is away while its pod goes."""
    s = STORAGE.ready(c)
    s.control(NodePublishVolume={'die': 'before', 'times': 1}, NodeStageVolume={'fail': [3, 'no such size'], 'times': 1})
    c.apply(CLASS % dict(name='now', driver=NAME, mode='Immediate') + '---' + CLAIM % dict(name='rough', cls='now', mode='Filesystem') + '---' + pod('rough', of_claim('rough')))
    running(c, 'rough')
    volume = c.get('pvc', 'rough')['spec']['volumeName']
    said = events(c, 'FailedMount')
    assert any(m == 'MountVolume.MountDevice failed for volume "%s" : rpc error: code = InvalidArgument desc = no such size' % volume for m in said), said
    assert any(m.startswith('MountVolume.SetUp failed for volume "%s" : rpc error: code = Unavailable desc = ' % volume) for m in said), said
    s.control(NodeUnpublishVolume={'garbage': True, 'times': 1}, NodeUnstageVolume={'hang': True, 'times': 1})
    gone(c, 'pod', 'rough')
    eventually('it hangs', lambda: s.calls('NodeUnstageVolume'))
    s.kill()
    eventually('the driver is here again', lambda: len(s.calls('NodeUnstageVolume')) > 1, 40)
    c.apply(pod('away', of_claim('rough')))
    running(c, 'away')
    s.stop()
    os.unlink('%s/plugins_registry/%s-reg.sock' % (s.kubelet, NAME))
    eventually('it is gone', lambda: s.row() is None)
    c.kubectl('delete', 'pod', 'away', '--wait=false')
    eventually('its end waits', lambda: 'driver name %s not found in the list of registered CSI drivers' % NAME in c.log())
    s.start()
    gone(c, 'pvc', 'rough')
    nothing_left(c, s)


# Before and after each thing that a node does with a volume, it is killed there once.
DEATHS = [('node.csi.record 1', 'node.volume.unmount 1'), ('node.csi.call 2', 'node.csi.call 1'), ('node.csi.answer 2', 'node.csi.answer 1'),
          ('node.csi.record 2', 'node.csi.forget 1'), ('node.csi.call 3', 'node.csi.answer 3'), ('node.csi.answer 3', 'node.csi.call 3'),
          ('node.volume.mount 1', 'node.csi.forget 2'), ('node.volume.mounted 1', 'node.csi.answer 2')]


def die_at(c, place):
    with open(c.dies + '.new', 'w') as f:
        f.write(place)
    os.rename(c.dies + '.new', c.dies)


def has_died(c, place):
    def look():
        with open(c.dies) as f:
            return f.read().startswith('died')
    eventually('the node dies at ' + place, look, 30)
    die_at(c, '')


def killed_at_each_step(c):
    """The node role ends at each step of a volume's coming and going; the server in between. Nothing is left, and nothing
    that is in use is taken away."""
    s = STORAGE.ready(c)
    c.apply(CLASS % dict(name='now', driver=NAME, mode='Immediate') + '---' + CLAIM % dict(name='kept', cls='now', mode='Filesystem'))
    eventually('it is bound', lambda: c.get('pvc', 'kept')['status'].get('phase') == 'Bound')
    for n, (coming, leaving) in enumerate(size([DEATHS[2], DEATHS[4]], DEATHS)):
        name = 'killed-%d' % n
        die_at(c, coming)
        c.apply(pod(name, of_claim('kept')))
        has_died(c, coming)
        if n == 1:
            os.kill(c.role_pid('server'), signal.SIGKILL)
        running(c, name)
        assert c.kubectl('exec', name, '--', 'sh', '-c', 'echo %d >> /data/lines; wc -l < /data/lines' % n).strip() == str(n + 1)
        die_at(c, leaving)
        c.kubectl('delete', 'pod', name, '--wait=false')
        has_died(c, leaving)
        nothing_left(c, s)
    gone(c, 'pvc', 'kept')


def republished(c):
    """A driver that wants it is called again while the pod runs, with tokens that are good: once a minute, so in the long form."""
    s = STORAGE.ready(c)
    c.apply(pod('again', inline()))
    running(c, 'again')
    for n in range(size(1, 3)):
        eventually('it is published', lambda: len(s.calls('NodePublishVolume')) > n, 70)
    gone(c, 'pod', 'again')
    nothing_left(c, s)


IN_TREE = '''
apiVersion: v1
kind: PersistentVolume
metadata: {name: old-disk, labels: {topology.kubernetes.io/zone: z1}}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: old-class
  persistentVolumeReclaimPolicy: Retain
  gcePersistentDisk: {pdName: disk-1, fsType: ext4}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: old}
spec: {accessModes: [ReadWriteOnce], storageClassName: old-class, volumeName: old-disk, resources: {requests: {storage: 1Gi}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: old-class}
provisioner: kubernetes.io/aws-ebs
allowVolumeExpansion: true
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: old-made}
spec: {accessModes: [ReadWriteOnce], storageClassName: old-class, resources: {requests: {storage: 1Gi}}}
---
'''
EBS, PD = 'ebs.csi.aws.com', 'pd.csi.storage.gke.io'


def taken_over(c):
    """Types of volumes that were built in are those of CSI drivers: in pods themselves, behind claims and in classes. Without
    the driver a pod waits and is told for whom; with it they are attached, staged, published and cleaned."""
    c.apply(IN_TREE + pod('inline-disk', '{name: v, awsElasticBlockStore: {volumeID: "aws://z1/vol-1", fsType: ext4, partition: 1}}') + '---' +
            pod('old-disk', of_claim('old')) + '---' + pod('refused', '{name: v, azureDisk: {diskName: d, diskURI: "https://x.test/vhds/d.vhd", kind: Dedicated}}'))
    def attachment(driver):
        return next((a for a in c.get('volumeattachment')['items'] if a['spec']['attacher'] == driver), None)
    a = eventually('the inline disk is to be attached', lambda: attachment(EBS), 20)
    assert a['spec']['source'] == {'inlineVolumeSpec': {'accessModes': ['ReadWriteOnce'], 'volumeMode': 'Filesystem', 'csi': {
        'driver': EBS, 'volumeHandle': 'vol-1', 'fsType': 'ext4', 'volumeAttributes': {'partition': '1'}}}}, a
    eventually('the other waits for a node of its zone, as the driver calls it', lambda: [m for m in events(c, 'FailedScheduling') if "node(s) didn't match PersistentVolume's node affinity" in m])
    assert 'kubernetes.io/aws-ebs,' in c.get('csinode')['items'][0]['metadata']['annotations']['storage.alpha.kubernetes.io/migrated-plugins']
    why = c.wherry('why', 'pod/inline-disk', check=False)
    assert 'which is not installed' in why and 'Install the CSI driver ' + EBS in why, why
    made = eventually('its provisioner is called', lambda: c.get('pvc', 'old-made')['metadata'].get('annotations', {}).get('volume.kubernetes.io/storage-provisioner'))
    assert made == EBS, made
    eventually('what cannot be is told', lambda: [e for e in c.get('events')['items'] if e['involvedObject']['name'] == 'refused'
                                                  and 'kind(Dedicated) is not supported in csi migration' in e['message']])
    controllers = [Controllers(c, EBS), Controllers(c, PD)]
    for x in controllers:
        x.start()
    missing = 'MountVolume.MountDevice failed for volume "%s-vol-1" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name %s not found in the list of registered CSI drivers' % (EBS, EBS)
    eventually('the node has no driver', lambda: missing in events(c, 'FailedMount'), 20)
    assert c.get('pod', 'inline-disk')['status']['phase'] == 'Pending'
    assert 'install the CSI driver ' + EBS in c.wherry('why', 'pod/inline-disk', check=False)
    ebs, pd = Storage(c, EBS, 'node-e').start(), Storage(c, PD, 'node-p', dict(can=[1, 2, 3], topology={'topology.gke.io/zone': 'z1'})).start()
    running(c, 'inline-disk', 'old-disk')
    assert attachment(PD)['spec']['source'] == {'persistentVolumeName': 'old-disk'}
    stage, publish = ebs.calls('NodeStageVolume')[-1], ebs.calls('NodePublishVolume')[-1]
    assert stage['id'] == 'vol-1' and stage['attributes'] == {'partition': '1'} and stage['context'] == {'device': 'vdx'}, stage
    assert stage['capability'] == {'block': False, 'fs': 'ext4', 'flags': [], 'group': '', 'mode': 1}, stage
    uid = c.get('pod', 'inline-disk')['metadata']['uid']
    assert publish['target'] == '%s/pods/%s/volumes/kubernetes.io~csi/%s-vol-1/mount' % (ebs.kubelet, uid, EBS), publish
    assert pd.calls('NodeStageVolume')[-1]['id'] == 'projects/UNSPECIFIED/zones/z1/disks/disk-1'
    for p in ('inline-disk', 'old-disk'):
        c.kubectl('exec', p, '--', 'sh', '-c', 'echo hello > /data/file')
    status = c.get('node')['items'][0]['status']
    names = ['kubernetes.io/csi/%s^vol-1' % EBS, 'kubernetes.io/csi/%s^projects/UNSPECIFIED/zones/z1/disks/disk-1' % PD]
    assert sorted(status['volumesInUse']) == sorted(x['name'] for x in status['volumesAttached']) == names, status
    c.kubectl('patch', 'pvc', 'old', '-p', '{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}')
    eventually('the resizer is called', lambda: c.get('pvc', 'old')['metadata']['annotations'].get('volume.kubernetes.io/storage-resizer') == PD)
    assert any(m.startswith('CSI migration enabled for kubernetes.io/gce-pd; waiting') for m in events(c, 'ExternalExpanding'))
    os.kill(c.role_pid('node'), signal.SIGKILL)
    eventually('it goes on', lambda: c.kubectl('exec', 'inline-disk', '--', 'cat', '/data/file', check=False) == 'hello\n', 20)
    assert c.kubectl('exec', 'old-disk', '--', 'cat', '/data/file') == 'hello\n'
    assert len(ebs.calls('NodeUnpublishVolume')) == 0
    gone(c, 'pod', 'inline-disk', 'old-disk', 'refused')
    gone(c, 'pvc', 'old', 'old-made')
    nothing_left(c, ebs)
    assert [x['id'] for x in ebs.calls('NodeUnstageVolume')] == ['vol-1'] and pd.calls('NodeUnstageVolume'), ebs.calls()
    for x in controllers:
        x.ended.set()
    c.kubectl('delete', 'pv/old-disk', 'sc/old-class')
    for x in (ebs, pd):
        x.stop()
        os.unlink('%s/plugins_registry/%s-reg.sock' % (x.kubelet, x.name))


SHARES = '''
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: file.csi.azure.com}
spec: {attachRequired: false, tokenRequests: [{audience: vault}]}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: share, annotations: {kubernetes.io/azure-file-resource-group: rg}}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  mountOptions: [dir_mode=0777]
  azureFile: {secretName: azure-storage-account-acc-secret, shareName: files, secretNamespace: other}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: share}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: share, resources: {requests: {storage: 1Gi}}}
---
'''


def shares_and_their_secrets(c):
    """azureFile in a pod and behind a claim: the node gets the Secret of the right namespace and the token that the driver
    wants, nobody attaches anything, and the one that says so is only read."""
    c.kubectl('create', 'namespace', 'other')
    for ns in ('default', 'other'):
        c.apply('apiVersion: v1\nkind: Secret\nmetadata: {name: azure-storage-account-acc-secret}\nstringData: {of: %s}' % ns, ns=ns)
    c.apply(SHARES + pod('reads', '{name: v, azureFile: {secretName: azure-storage-account-acc-secret, shareName: files, readOnly: true}}') + '---' + pod('writes', of_claim('share')))
    s = Storage(c, 'file.csi.azure.com', 'node-f').start()
    running(c, 'reads', 'writes')
    stage = {x['id']: x for x in s.calls('NodeStageVolume')}
    assert sorted(stage) == ['#acc#files#v#default', 'rg#acc#files#share#other'], stage
    for id, ns, flags in (('#acc#files#v#default', 'default', []), ('rg#acc#files#share#other', 'other', ['dir_mode=0777'])):
        x = stage[id]
        assert x['secrets'] == {'of': ns} and x['attributes'] == {'sharename': 'files'} and x['capability']['flags'] == flags and x['capability']['mode'] == 5, x
    for x in s.calls('NodePublishVolume'):
        assert 'vault' in x['attributes']['csi.storage.k8s.io/serviceAccount.tokens'], x
    c.kubectl('exec', 'writes', '--', 'touch', '/data/x')
    assert 'Read-only' in run([c.bin + '/kubectl', 'exec', 'reads', '--', 'sh', '-c', 'touch /data/x 2>&1; true'], env=c.env)
    assert not c.get('volumeattachment')['items'] and not c.get('node')['items'][0]['status'].get('volumesInUse')
    gone(c, 'pod', 'reads', 'writes')
    gone(c, 'pvc', 'share')
    nothing_left(c, s)
    c.kubectl('delete', 'pv/share', 'csidriver/file.csi.azure.com')
    s.stop()
    os.unlink('%s/plugins_registry/%s-reg.sock' % (s.kubelet, s.name))


class Ready:
    """One driver with its controllers for all that follows."""

    def __init__(self):
        self.storage = None

    def ready(self, c):
        if not self.storage:
            self.storage = Storage(c)
            c.apply('apiVersion: storage.k8s.io/v1\nkind: CSIDriver\nmetadata: {name: %s}\nspec: {podInfoOnMount: true, fsGroupPolicy: File, volumeLifecycleModes: [Persistent, Ephemeral], '
                    'tokenRequests: [{audience: vault, expirationSeconds: 1200}], requiresRepublish: true, nodeAllocatableUpdatePeriodSeconds: 10, preventPodSchedulingIfMissing: true}\n---\n'
                    'apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {word: sesame}' % NAME)
            self.controllers = Controllers(c)
            self.controllers.start()
            self.storage.start()
        s = self.storage
        s.control()
        eventually('the driver is registered', s.row, 30)
        s.settings(most=77)                               # from now on: it is asked again ten seconds later
        if os.path.exists(s.base + '/calls'):
            os.unlink(s.base + '/calls')
        return s


STORAGE = Ready()


def registration(c):
    """A driver registers: CSINode, labels and annotation of the Node; it goes, and they do; and the node comes back to it."""
    name = c.get('node')['items'][0]['metadata']['name']
    c.kubectl('label', 'node', name, 'topology.test/zone=other')
    s = Storage(c, settings=dict(topology={'topology.test/rack': 'no label'})).start()
    eventually('it is refused', lambda: 'registered=False' in c.kubectl('logs', 'driver-test', '-c', 'registrar'), 30)
    s.settings(most=5, topology={'topology.test/zone': 'z1', 'topology.test/rack': 'r2'})
    eventually('it is refused', lambda: 'detected topology value collision: driver reported "topology.test/zone":"z1" but existing label is "topology.test/zone":"other"'
               in c.kubectl('logs', 'driver-test', '-c', 'registrar'), 30)
    c.kubectl('label', 'node', name, 'topology.test/zone-')
    eventually('its label is there', lambda: c.get('node')['items'][0]['metadata']['labels'].get('topology.test/zone') == 'z1', 30)
    row = eventually('the driver is registered', s.row, 30)
    assert row == {'name': NAME, 'nodeID': 'node-a', 'topologyKeys': ['topology.test/rack', 'topology.test/zone'], 'allocatable': {'count': 5}}, row
    node = c.get('node')['items'][0]
    assert json.loads(node['metadata']['annotations']['csi.volume.kubernetes.io/nodeid']) == {NAME: 'node-a'}
    assert node['metadata']['labels']['topology.test/zone'] == 'z1'
    owner = c.get('csinode')['items'][0]['metadata']['ownerReferences']
    assert owner == [{'apiVersion': 'v1', 'kind': 'Node', 'name': node['metadata']['name'], 'uid': node['metadata']['uid']}], owner
    eventually('the registrar is told', lambda: 'registered=True' in c.kubectl('logs', 'driver-test', '-c', 'registrar'))
    before = len(s.calls('NodeGetInfo'))
    os.kill(c.role_pid('node'), signal.SIGKILL)
    eventually('a new node asks again', lambda: len(s.calls('NodeGetInfo')) > before, 30)
    assert s.row() == row
    s.stop()
    os.unlink('%s/plugins_registry/%s-reg.sock' % (s.kubelet, NAME)) # a registrar that was killed leaves it
    eventually('it is taken out', lambda: s.row() is None)
    eventually('nor has the Node its id', lambda: 'csi.volume.kubernetes.io/nodeid' not in c.get('node')['items'][0]['metadata'].get('annotations', {}))


class Dying(Cluster):
    """One whose processes end where the file `dies` says."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.dies = self.root + '/dies'
        os.environ['WHERRY_DIE_AT'] = self.dies
        with open(self.dies, 'w'):
            pass


def prepare():
    global GRPC
    GRPC = run([os.path.join(TOP, 'tools/fetch-grpc')], timeout=600).strip().splitlines()[-1]


if __name__ == '__main__':
    prepare()
    main([registration, life, inline_and_block, drivers_fail, killed_at_each_step, republished, taken_over, shares_and_their_secrets], cluster=Dying)
