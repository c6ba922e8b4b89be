#!/usr/bin/env python3
"""Claims on the node: volumes of every kind in real containers, what is told where one cannot be had, and what is left
behind (nothing)."""
import glob
from lib import *

NODE = "$(hostname)"


def loops(c):
    """Loop devices whose file lies below the cluster's folder."""
    found = []
    for path in glob.glob('/sys/block/loop*/loop/backing_file'):
        try:
            with open(path) as f:
                if c.root in f.read():
                    found.append(path.split('/')[3])
        except OSError:
            pass
    return found


def volume(name, source, claim=None, mode='Filesystem', access='ReadWriteOnce', extra=''):
    """A PersistentVolume by hand and, bound to it, its claim."""
    claim = claim or name
    return f'''
---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 64Mi}}
  accessModes: [{access}]
  volumeMode: {mode}
  storageClassName: by-hand
  persistentVolumeReclaimPolicy: Retain
  claimRef: {{namespace: default, name: {claim}}}
  {source}
{extra}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {claim}}}
spec:
  accessModes: [{access}]
  volumeMode: {mode}
  storageClassName: by-hand
  volumeName: {name}
  resources: {{requests: {{storage: 64Mi}}}}
'''


def pod(name, claim, command='sleep 1000', extra='', mount='volumeMounts: [{name: v, mountPath: /v}]', read_only='false', spec=''):
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{pod: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  {spec}
  containers:
  - name: c
    image: {IMAGE}
    command: ["/bin/sh", "-c", {json.dumps(command)}]
    {mount}
    {extra}
  volumes: [{{name: v, persistentVolumeClaim: {{claimName: {claim}, readOnly: {read_only}}}}}]
'''


AFFINITY = '''  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: %s, values: [%s]}]
'''


def local(path, node=None, operator='In'):
    return 'local: {path: %s}' % path, AFFINITY % (operator, node or os.uname().nodename)


def phase(c, name):
    return c.get('pod', name)['status'].get('phase')


def running(c, *names, timeout=20):
    for name in names:
        try:
            eventually(name + ' runs', lambda: phase(c, name) == 'Running', timeout=timeout)
        except AssertionError:
            print(c.kubectl('get', 'events', '--field-selector', 'involvedObject.name=' + name))
            print(c.kubectl('get', 'pv,pvc', '-o', 'yaml'), c.kubectl('get', 'events', '-A'))
            print('\n'.join(c.log().splitlines()[-20:]))
            raise


def gone(c, *names):
    c.kubectl('delete', 'pod', '--wait=true', *names)


def events(c, name, reason):
    """Messages of the events of this reason about the object."""
    found = c.get('events', '--field-selector', 'involvedObject.name=%s,reason=%s' % (name, reason))['items']
    return [e['message'] for e in found]


def told(c, name, reason, *words, timeout=20):
    def look():
        return any(all(w in m for w in words) for m in events(c, name, reason)) or None
    try:
        return eventually('%s of %s says %s' % (reason, name, words), look, timeout=timeout)
    except AssertionError:
        print(c.kubectl('get', 'events'))
        raise


def inside(c, name, *argv, **kw):
    return c.kubectl('exec', name, '--', *argv, **kw)


def volumes_by_hand(c):
    """Folders, paths of the host and images, as files and as devices; shared, read-only, by subPath, for a group."""
    folder, host = c.root + '/disk-folder', c.root + '/disk-host'
    image, device = c.root + '/disk-image', c.root + '/disk-device'
    os.makedirs(folder + '/old')
    open(folder + '/old/file', 'w').close()
    os.chmod(folder + '/old/file', 0o600)
    for path in (image, device):
        with open(path, 'w') as f:
            f.truncate(64 << 20)
    src = {n: local(p) for n, p in (('folder', folder), ('image', image), ('device', device))}
    c.apply(volume('folder', src['folder'][0], extra=src['folder'][1]) +
            volume('image', src['image'][0], extra=src['image'][1]) +
            volume('device', src['device'][0], mode='Block', extra=src['device'][1]) +
            volume('host', 'hostPath: {path: %s, type: DirectoryOrCreate}' % host))
    bind(c, 'folder', 'image', 'device', 'host')
    c.apply(pod('p-folder', 'folder', spec='securityContext: {fsGroup: 2345}') + pod('p-ro', 'folder', read_only='true') +
            pod('p-image', 'image') + pod('p-image2', 'image', mount='volumeMounts: [{name: v, mountPath: /v, subPath: a/b}]') +
            pod('p-host', 'host') +
            pod('p-device', 'device', mount='volumeDevices: [{name: v, devicePath: /dev/mine}]'))
    running(c, 'p-folder', 'p-ro', 'p-image', 'p-image2', 'p-host', 'p-device')
    inside(c, 'p-folder', 'touch', '/v/here')
    assert os.path.exists(folder + '/here')
    st = os.stat(folder + '/old/file')
    assert (st.st_gid, st.st_mode & 0o777) == (2345, 0o660), st
    assert os.stat(folder).st_mode & 0o7777 == 0o2775, oct(os.stat(folder).st_mode)
    assert 'here' in inside(c, 'p-ro', 'ls', '/v')
    assert 'Read-only' in refused(c, 'p-ro', 'touch', '/v/no')
    inside(c, 'p-host', 'touch', '/v/there')
    assert os.path.exists(host + '/there')
    inside(c, 'p-image2', 'touch', '/v/below')
    assert 'below' in inside(c, 'p-image', 'ls', '/v/a/b')
    assert len(loops(c)) == 2, loops(c)       # one for two pods, one for the device
    inside(c, 'p-device', 'sh', '-c', 'echo written > /dev/mine')
    with open(device, 'rb') as f:
        eventually('what was written is in the file', lambda: os.sync() or f.seek(0) == 0 and f.read(7) == b'written')
    gone(c, 'p-image')
    inside(c, 'p-image2', 'touch', '/v/still')
    kill_role(c, 'node')                      # what is mounted is found again
    eventually('the node is back', lambda: inside(c, 'p-image2', 'ls', '/v') and True)
    gone(c, 'p-folder', 'p-ro', 'p-image2', 'p-host', 'p-device')
    eventually('no loop device is left', lambda: not loops(c), timeout=10)
    assert c.root + '/run/wherry/mounts/' not in mounts(), mounts()
    c.apply(pod('p-image', 'image'))
    running(c, 'p-image')
    assert 'still' in inside(c, 'p-image', 'ls', '/v/a/b')
    gone(c, 'p-image')


def refused(c, name, *argv):
    p = subprocess.run([c.bin + '/kubectl', 'exec', name, '--'] + list(argv), env=c.env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=30)
    assert p.returncode != 0, p.stdout
    return p.stdout


def mounts():
    with open('/proc/self/mounts') as f:
        return f.read()


def bind(c, *names):
    """Bound by who binds claims; where nobody does, by hand."""
    for name in names:
        if c.get('pvc', name).get('status', {}).get('phase') != 'Bound':
            c.kubectl('patch', 'pvc', name, '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Bound"}}')
            uid = c.get('pvc', name)['metadata']['uid']
            c.kubectl('patch', 'pv', name, '--type=merge', '-p', json.dumps({'spec': {'claimRef': {'uid': uid}}}))


def kill_role(c, role):
    pid = c.role_pid(role)
    os.kill(pid, signal.SIGKILL)
    eventually(role + ' is another process', lambda: c.role_pid(role) != pid)


def what_cannot_be_had(c):
    """The words of each failure; and that the pod starts once it is mended."""
    node = os.uname().nodename
    missing = c.root + '/not-there'
    a, b, f = local(missing), local(c.root, 'another', 'In'), local(c.root + '/image-of-nothing')
    c.apply(volume('missing', a[0], extra=a[1]) + volume('elsewhere', b[0], extra=b[1]) +
            volume('exported', 'nfs: {server: 127.0.0.1, path: /export}') +
            volume('alone', 'hostPath: {path: %s}' % c.root, access='ReadWriteOncePod') +
            volume('foreign', 'fc: {targetWWNs: ["50060e801049cfd1"], lun: 0}'))
    bind(c, 'missing', 'elsewhere', 'exported', 'alone', 'foreign')
    here = 'nodeName: ' + node
    c.apply(pod('n-none', 'no-such-claim', spec=here) + pod('n-missing', 'missing', spec=here) +
            pod('n-else', 'elsewhere', spec=here) + pod('n-nfs', 'exported', spec=here) +
            pod('n-alone', 'alone', spec=here) + pod('n-foreign', 'foreign', spec=here) +
            pod('n-mode', 'missing', spec=here, mount='volumeDevices: [{name: v, devicePath: /dev/x}]'))
    told(c, 'n-none', 'FailedMount', 'Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], '
         'failed to process volumes=[v]: error processing PVC default/no-such-claim: failed to fetch PVC from API '
         'server: persistentvolumeclaims "no-such-claim" not found')
    told(c, 'n-missing', 'FailedMount', 'MountVolume.SetUp failed for volume "missing" : path "%s" does not exist' % missing)
    told(c, 'n-else', 'FailedMount', 'MountVolume.NodeAffinity check failed for volume "elsewhere" : no matching NodeSelectorTerms')
    told(c, 'n-nfs', 'FailedMount', 'MountVolume.SetUp failed for volume "exported"')
    told(c, 'n-foreign', 'FailedMount', 'fc is not supported yet; volumes of claims are: hostPath, local, nfs')
    told(c, 'n-mode', 'FailedMount', 'volume v has volumeMode Filesystem, but is specified in volumeDevices')
    running(c, 'n-alone')
    c.apply(pod('n-alone2', 'alone', spec=here))
    told(c, 'n-alone2', 'FailedMount', 'volume uses the ReadWriteOncePod access mode and is already in use by another pod')
    assert phase(c, 'n-alone2') == 'Pending'
    gone(c, 'n-alone')
    os.mkdir(missing)
    c.apply(volume('no-such-claim', 'hostPath: {path: %s}' % missing))
    bind(c, 'no-such-claim')
    running(c, 'n-alone2', 'n-none', 'n-missing')
    gone(c, 'n-none', 'n-missing', 'n-else', 'n-nfs', 'n-alone2', 'n-foreign', 'n-mode')


def claim(name, size='32Mi', mode='Filesystem', cls='local'):
    return f'''
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteOnce]
  volumeMode: {mode}
  storageClassName: {cls}
  resources: {{requests: {{storage: {size}}}}}
'''


def storage_class(name, parameters='', policy='Delete'):
    return f'''
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {name}}}
provisioner: wherry.dev/local
reclaimPolicy: {policy}
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
parameters: {{{parameters}}}
'''


def folder_of(c, name):
    return c.get('pv', c.get('pvc', name)['spec']['volumeName'])['spec']['local']['path'].rsplit('/', 1)[0]


def below(c, sub='volumes'):
    path = c.root + '/var/lib/wherry/' + sub
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def unclaimed(c, *names):
    """Claims go, and their volumes with them."""
    c.kubectl('delete', 'pvc', *names)
    eventually('no volume is left', lambda: not [v for v in c.get('pv')['items'] if v['metadata']['name'].startswith('pvc-')], timeout=20)
    eventually('no folder is left', lambda: below(c) == [], timeout=20)


def may_grow_mounted():
    """The kernel grows a mounted ext4 for CAP_SYS_RESOURCE alone, which root of a container may lack."""
    with open('/proc/self/status') as f:
        return int(re.search(r'CapEff:\s*(\w+)', f.read()).group(1), 16) >> 24 & 1


def a_claim_is_made_a_volume(c):
    """Written, full, grown under its pod, found again by the next one and after kills; gone with its claim."""
    assert c.get('sc', 'local')['metadata']['annotations']['storageclass.kubernetes.io/is-default-class'] == 'true'
    c.apply(claim('data', cls='local') + pod('writer', 'data'))
    running(c, 'writer')
    folder = folder_of(c, 'data')
    pv = c.get('pv', c.get('pvc', 'data')['spec']['volumeName'])
    assert pv['spec']['capacity']['storage'] == '32Mi' and os.path.exists(folder + '/about'), pv
    full = refused(c, 'writer', 'sh', '-c', 'cat /dev/zero > /v/much')
    assert 'o space' in full, full
    inside(c, 'writer', 'sh', '-c', 'rm -f /v/much; echo kept > /v/file')
    kill_role(c, 'node')
    c.kubectl('patch', 'pvc', 'data', '--type=merge', '-p', '{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}')
    if not may_grow_mounted():
        eventually('it waits for the next mount', lambda: [x['type'] for x in c.get('pvc', 'data')['status'].get('conditions', [])] ==
                   ['FileSystemResizePending'])
        told(c, 'data', 'FileSystemResizeRequired', 'Require file system resize of volume on node')
        gone(c, 'writer')
        c.apply(pod('writer', 'data'))
        running(c, 'writer')
    eventually('it has grown', lambda: c.get('pvc', 'data')['status']['capacity']['storage'] == '96Mi')
    status = c.get('pvc', 'data')['status']
    assert not status.get('conditions') and status['allocatedResources']['storage'] == '96Mi', status
    inside(c, 'writer', 'sh', '-c', 'head -c 64000000 /dev/zero > /v/much && rm /v/much')
    told(c, 'data', 'VolumeResizeSuccessful', 'Resize volume succeeded')
    told(c, 'data', 'ProvisioningSucceeded', 'Successfully provisioned volume pvc-')
    gone(c, 'writer')
    kill_role(c, 'server')
    eventually('the server is back', lambda: c.get('pvc', 'data'))
    c.apply(pod('reader', 'data', spec='securityContext: {runAsUser: 1234}'))
    running(c, 'reader')
    assert inside(c, 'reader', 'cat', '/v/file') == 'kept\n'
    inside(c, 'reader', 'touch', '/v/mine')             # anybody may
    gone(c, 'reader')
    unclaimed(c, 'data')
    eventually('no loop device is left', lambda: not loops(c), timeout=10)


if __name__ == '__main__':
    main([volumes_by_hand, what_cannot_be_had, a_claim_is_made_a_volume])
