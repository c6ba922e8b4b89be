#!/usr/bin/env python3
"""Claims on the node: volumes of every kind in real containers, what is told where one cannot be had, and what is left
behind (nothing)."""
import glob, http.client, random, socket
from lib import *


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
    told(c, 'n-foreign', 'FailedMount', 'MountVolume.WaitForAttach failed for volume "foreign" : no fc disk found')
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
    if names:
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


def pods_running(c, count, timeout=60):
    eventually('%d pods run' % count, lambda: len([p for p in c.get('pods')['items'] if p['status'].get('phase') == 'Running']) == count,
               timeout=timeout, every=0.3)


def many_at_once(c):
    """Claims by the dozen, of every kind, while the node role is killed: each gets its own, and all of them go."""
    count = size(12, 100)
    c.apply(storage_class('plain', 'size-by: none') + ''.join(
        claim('m-%d' % n, '16Mi', cls=('local', 'plain')[n % 2]) for n in range(count)) +
        ''.join(pod('m-%d' % n, 'm-%d' % n) for n in range(count)))
    eventually('some are there', lambda: len(below(c)) > 3)
    kill_role(c, 'node')
    pods_running(c, count, timeout=120)
    names = [p['spec']['volumeName'] for p in c.get('pvc')['items'] if p['metadata']['name'].startswith('m-')]
    assert len(set(names)) == count and len([f for f in below(c) if f.startswith('pvc-')]) == count, (names, below(c))
    c.kubectl('delete', 'pod', '--all', '--wait=true', timeout=120)
    unclaimed(c, *['m-%d' % n for n in range(count)])
    eventually('no loop device is left', lambda: not loops(c), timeout=10)
    c.kubectl('delete', 'sc', 'plain')


def devices_and_what_is_kept(c):
    """A block volume; two pods with one claim; Retain; a link that leads out, planted before the deletion."""
    c.apply(storage_class('keeps', policy='Retain') + storage_class('plain', 'size-by: none') + claim('raw', mode='Block') +
            claim('kept', cls='keeps') + claim('linked', cls='plain') +
            pod('raw', 'raw', mount='volumeDevices: [{name: v, devicePath: /dev/xvda}]') + pod('kept', 'kept') + pod('kept2', 'kept') +
            pod('linked', 'linked'))
    running(c, 'raw', 'kept', 'kept2', 'linked')
    outside = c.root + '/outside'
    os.makedirs(outside + '/deep')
    open(outside + '/deep/file', 'w').close()
    inside(c, 'raw', 'sh', '-c', 'echo raw > /dev/xvda && head -c 4 /dev/xvda')
    refused(c, 'raw', 'sh', '-c', 'cat /dev/zero > /dev/xvda')          # it ends
    c.kubectl('patch', 'pvc', 'raw', '--type=merge', '-p', '{"spec":{"resources":{"requests":{"storage":"48Mi"}}}}')
    eventually('the device has grown', lambda: c.get('pvc', 'raw')['status']['capacity']['storage'] == '48Mi')
    inside(c, 'kept', 'sh', '-c', 'echo both > /v/f')
    assert inside(c, 'kept2', 'cat', '/v/f') == 'both\n'
    linked = folder_of(c, 'linked') + '/data'
    os.symlink(outside, linked + '/way')                                # as a container could
    os.symlink('/', linked + '/root')
    kept = folder_of(c, 'kept')
    rows = {v['claim']: v for v in json.loads(c.wherry('volume', 'ls', '-o', 'json'))}
    assert set(rows) == {'default/raw', 'default/kept', 'default/linked'}, rows
    assert (rows['default/kept']['usedBy'], rows['default/kept']['state'], rows['default/kept']['sizeBy']) in (
        ('kept,kept2', 'Bound', 'image'), ('kept2,kept', 'Bound', 'image')), rows
    assert rows['default/raw']['size'] == '48Mi' and 0 < rows['default/linked']['usedBytes'] < 1 << 20, rows
    assert 'default/linked' in c.wherry('volume', 'ls') and linked in c.wherry('volume', 'ls', '-o', 'wide')
    gone(c, 'raw', 'kept', 'kept2', 'linked')
    c.kubectl('delete', 'pvc', 'raw', 'kept', 'linked')
    pv = 'pvc-' + kept.rsplit('/pvc-', 1)[1]
    eventually('one is left', lambda: below(c) == [pv])
    assert os.path.exists(outside + '/deep/file')
    eventually('it is released', lambda: c.get('pv', pv)['status']['phase'] == 'Released')
    c.kubectl('delete', 'pv', pv)                                       # its object alone
    assert below(c) == [pv] and os.path.exists(kept + '/image')
    assert [v['state'] for v in json.loads(c.wherry('volume', 'ls', '--root', c.root, '-o', 'json'))] == ['Kept']
    kill_role(c, 'node')
    c.apply(claim('after') + pod('after', 'after'))
    running(c, 'after')
    assert pv in below(c)
    gone(c, 'after')
    c.kubectl('delete', 'pvc', 'after')
    shutil.rmtree(kept)
    eventually('nothing is left', lambda: below(c) == [] and not loops(c))
    c.kubectl('delete', 'sc', 'keeps', 'plain')


def what_cannot_be_made(c):
    """Classes that ask for what is not there, a disk that is promised already, a folder that somebody removed."""
    disk = c.root + '/small-disk'
    os.mkdir(disk)
    run(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk])
    c.apply(storage_class('odd', 'sizes: "1"') + storage_class('quotas', 'size-by: quota, path: %s' % disk) +
            storage_class('small', 'size-by: image, path: %s' % disk) +
            claim('odd', cls='odd') + claim('quotas', cls='quotas') + claim('first', cls='small') + claim('second', cls='small') +
            pod('odd', 'odd') + pod('quotas', 'quotas') + pod('first', 'first'))
    told(c, 'odd', 'ProvisioningFailed', 'failed to provision volume with StorageClass "odd": parameter sizes: there is none of that name')
    told(c, 'quotas', 'ProvisioningFailed', 'has no project quotas: it must be an ext4 or xfs that is mounted with prjquota')
    running(c, 'first')
    c.apply(pod('second', 'second'))
    told(c, 'second', 'ProvisioningFailed', 'no room below %s for 32Mi: its disk of 64Mi' % disk, '32Mi of it are promised to 1 volumes')
    gone(c, 'first', 'odd', 'quotas')
    c.kubectl('delete', 'pvc', 'first', 'odd', 'quotas')
    running(c, 'second')                                                # as soon as there is room
    folder = folder_of(c, 'second')
    gone(c, 'second')
    c.apply(claim('lost', '8Mi') + pod('lost', 'lost'))
    running(c, 'lost')
    lost = folder_of(c, 'lost')
    gone(c, 'lost')
    shutil.rmtree(lost)
    told(c, 'lost', 'VolumeMissing', 'is not there: somebody removed it')
    c.apply(pod('lost', 'lost'))
    told(c, 'lost', 'FailedMount', 'path "%s/image" does not exist' % lost)
    gone(c, 'lost')
    unclaimed(c, 'second', 'lost')
    eventually('its folder is gone', lambda: not os.path.exists(folder))
    eventually('no loop device is left', lambda: not loops(c), timeout=10)
    run(['umount', disk])
    c.kubectl('delete', 'sc', 'odd', 'quotas', 'small')


def a_quota_holds(c):
    """A folder with a project quota, on an ext4 that has them."""
    disk, image = c.root + '/quota-disk', c.root + '/quota-image'
    with open(image, 'w') as f:
        f.truncate(128 << 20)
    run(['mkfs.ext4', '-q', '-F', '-O', 'quota,project', '-E', 'quotatype=prjquota', image])
    os.mkdir(disk)
    try:
        run(['mount', '-o', 'loop,prjquota', image, disk])
    except AssertionError as e:
        print('     no project quotas in this kernel: %s' % str(e).splitlines()[-1])
        return
    c.apply(storage_class('quotas', 'size-by: quota, path: %s' % disk) + claim('q', '8Mi', cls='quotas') + pod('q', 'q'))
    running(c, 'q')
    full = refused(c, 'q', 'sh', '-c', 'cat /dev/zero > /v/much')
    assert 'uota' in full or 'o space' in full, full
    assert sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(folder_of(c, 'q')) for f in fs) < 9 << 20
    c.kubectl('patch', 'pvc', 'q', '--type=merge', '-p', '{"spec":{"resources":{"requests":{"storage":"24Mi"}}}}')
    eventually('it has grown', lambda: c.get('pvc', 'q')['status']['capacity']['storage'] == '24Mi')
    inside(c, 'q', 'sh', '-c', 'rm /v/much; head -c 16000000 /dev/zero > /v/more')
    gone(c, 'q')
    unclaimed(c, 'q')
    eventually('its folder is gone', lambda: not [f for f in os.listdir(disk) if 'pvc' in f])
    run(['umount', disk])
    c.kubectl('delete', 'sc', 'quotas')


COMING = ['look', 'made', 'rename', 'renamed', 'create', 'created', 'published', 'volume.mount', 'volume.mounted']
GROWING = ['grow', 'capacity']
GOING = ['volume.unmount', 'drop', 'dropped', 'finalizer', 'remove']


def killed_anywhere(c):
    """The node role dies in the midst of making, mounting, growing, unmounting and removing: the next one goes on."""
    rng = random.Random(seed())
    chosen = lambda places: places if STORM else rng.sample(places, 1)

    def dies(place, deed, what, condition):
        c.die_at('node.' + (place if place.startswith('volume.') else 'provision.' + place))
        deed()
        eventually('it died at ' + place, c.died)
        eventually('%s after %s' % (what, place), condition, timeout=30)

    for n, place in enumerate(chosen(COMING)):
        name = 'k%d' % n
        dies(place, lambda: c.apply(claim(name, '16Mi') + pod(name, name)), 'it runs', lambda: phase(c, name) == 'Running')
        inside(c, name, 'touch', '/v/file')
        gone(c, name)
        unclaimed(c, name)
    c.apply(claim('k', '16Mi') + pod('k', 'k'))
    running(c, 'k')
    inside(c, 'k', 'touch', '/v/file')
    gone(c, 'k')
    for n, place in enumerate(chosen(GROWING)):
        wants = '%dMi' % (24 + 8 * n)
        dies(place, lambda: c.kubectl('patch', 'pvc', 'k', '--type=merge', '-p',
                                      json.dumps({'spec': {'resources': {'requests': {'storage': wants}}}})),
             'it has grown', lambda: c.get('pvc', 'k')['status']['capacity']['storage'] == wants)
    c.apply(pod('k', 'k'))
    running(c, 'k')
    assert 'file' in inside(c, 'k', 'ls', '/v')
    gone(c, 'k')
    unclaimed(c, 'k')
    for n, place in enumerate(chosen(GOING)):
        name = 'g%d' % n
        c.apply(claim(name, '16Mi') + pod(name, name))
        running(c, name)
        dies(place, lambda: c.kubectl('delete', 'pvc/' + name, 'pod/' + name, '--wait=false'), 'nothing is left',
             lambda: below(c) == [] and not [v for v in c.get('pv')['items'] if v['metadata']['name'].startswith('pvc-')])
    c.die_at('')
    eventually('no loop device is left', lambda: not loops(c), timeout=10)
    assert c.root + '/run/wherry/mounts/' not in mounts(), mounts()


def what_was_left_on_other_disks(c):
    """Classes with folders of their own: what a killed role left there goes as well, and one disk is promised once."""
    disks = [c.root + '/other-disk', c.root + '/other-disk/second']
    os.mkdir(disks[0])
    run(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disks[0]])
    c.apply(''.join(storage_class('other%d' % i, 'size-by: none, path: %s' % d) for i, d in enumerate(disks)))
    held = lambda: [f for d in disks if os.path.isdir(d) for f in os.listdir(d) if 'pvc' in f]

    def made(name, cls='other0'):
        c.apply(claim(name, '40Mi', cls=cls) + pod(name, name))

    c.die_at('node.provision.renamed')                  # made, and nobody knows of it
    made('half')
    eventually('it died', c.died)
    c.kubectl('delete', 'pod/half', 'pvc/half', '--wait=false')
    c.kubectl('wait', '--for=delete', 'pvc/half', '--timeout=20s')
    unclaimed(c)
    eventually('nothing is left of what nobody wants', lambda: not held())
    made('whole')
    running(c, 'whole')
    made('more', 'other1')
    told(c, 'more', 'ProvisioningFailed', 'no room below %s for 40Mi' % disks[1], '40Mi of it are promised to 1 volumes')
    c.die_at('node.provision.remove')                   # gone for everybody, but for its files
    c.kubectl('delete', 'pod/whole', 'pvc/whole', '--wait=false')
    eventually('it died', c.died)
    running(c, 'more', timeout=40)
    eventually('one is left', lambda: [f for f in held() if not f.startswith('pvc-')] == [] and len(held()) == 1)
    gone(c, 'more')
    unclaimed(c, 'more')
    eventually('none is left', lambda: not held())
    c.die_at('')
    c.kubectl('delete', 'sc', 'other0', 'other1')
    run(['umount', disks[0]])


def as_node(c, method, path, body=None):
    """Status and message of a request by the node's own account: root, over the server's socket."""
    class Unix(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(c.root + '/run/wherry/server.sock')
    h = Unix('localhost', timeout=10)
    h.request(method, path, body and json.dumps(body), {'Content-Type': 'application/json'})
    r = h.getresponse()
    return r.status, json.loads(r.read()).get('message', '')


def a_kept_volume_is_given_on(c):
    """What was kept is given to another claim, with its files; and it grows with that one, and goes with it."""
    c.apply(storage_class('keeps', 'size-by: none', policy='Retain') + claim('first', cls='keeps') + pod('first', 'first'))
    running(c, 'first')
    inside(c, 'first', 'touch', '/v/file')
    gone(c, 'first')
    pv = c.get('pvc', 'first')['spec']['volumeName']
    c.kubectl('delete', 'pvc', 'first')
    c.kubectl('patch', 'pv', pv, '--type=merge', '-p', '{"spec":{"claimRef":null,"persistentVolumeReclaimPolicy":"Delete"}}')
    eventually('it is free', lambda: c.get('pv', pv)['status']['phase'] == 'Available')
    c.apply(claim('second', cls='keeps') + pod('second', 'second'))
    running(c, 'second')
    assert 'file' in inside(c, 'second', 'ls', '/v') and c.get('pvc', 'second')['spec']['volumeName'] == pv
    c.kubectl('patch', 'pvc', 'second', '-p', '{"spec":{"resources":{"requests":{"storage":"48Mi"}}}}')
    eventually('it has grown', lambda: c.get('pvc', 'second')['status']['capacity']['storage'] == '48Mi')
    gone(c, 'second')
    unclaimed(c, 'second')
    c.kubectl('delete', 'sc', 'keeps')


def a_disk_that_is_full_for_a_while(c):
    """A volume is made with the last bit of room: it is marked as one that is to be kept as soon as there is some."""
    disk = c.root + '/full-disk'
    os.mkdir(disk)
    run(['mount', '-t', 'tmpfs', '-o', 'size=8m,nr_inodes=4', 'tmpfs', disk])     # itself, a folder, its files, what it is
    c.apply(storage_class('full', 'size-by: none, path: %s' % disk) + claim('full', '1Mi', cls='full') + pod('full', 'full'))
    running(c, 'full')
    marked = folder_of(c, 'full') + '/published'
    assert not os.path.exists(marked)
    run(['mount', '-o', 'remount,size=8m,nr_inodes=100', disk])
    eventually('it is marked', lambda: os.path.exists(marked))
    gone(c, 'full')
    unclaimed(c, 'full')
    c.kubectl('delete', 'sc', 'full')
    run(['umount', disk])


def what_goes_goes_quietly(c):
    """A claim that goes with its pod, one in order and one by force: no warnings, of events or in the log."""
    logged = len(c.log())
    for name in ('slow', 'forced'):
        c.apply(claim(name) + pod(name, name, 'trap "exit 0" TERM; while true; do sleep 0.1; done').replace(
            'terminationGracePeriodSeconds: 0', 'terminationGracePeriodSeconds: 5'))
    running(c, 'slow', 'forced')
    volumes = [c.get('pvc', n)['spec']['volumeName'] for n in ('slow', 'forced')]
    c.kubectl('delete', 'pvc', 'slow', 'forced', '--wait=false')
    c.kubectl('delete', 'pod', 'forced', '--force', '--grace-period=0', '--wait=false')
    c.kubectl('delete', 'pod', 'slow')
    unclaimed(c)
    for v in volumes:
        assert not events(c, v, 'VolumeFailedDelete'), events(c, v, 'VolumeFailedDelete')
    assert ' provision.' not in c.log()[logged:], [l for l in c.log()[logged:].splitlines() if ' provision.' in l]
    eventually('no loop device is left', lambda: not loops(c), timeout=10)


def a_node_has_its_own(c):
    """It reads claims that were sent to it and makes volumes for them, and no others."""
    core, node = '/api/v1', os.uname().nodename
    c.apply(volume('theirs', 'hostPath: {path: %s}' % c.root) + claim('unsent'))
    bind(c, 'theirs')
    uid = c.get('pvc', 'unsent')['metadata']['uid']
    ours = {'apiVersion': 'v1', 'kind': 'PersistentVolume', 'metadata': {'name': 'pvc-x', 'annotations': {
        'pv.kubernetes.io/provisioned-by': 'wherry.dev/local'}}, 'spec': {
        'capacity': {'storage': '1Mi'}, 'accessModes': ['ReadWriteOnce'], 'local': {'path': '/'},
        'claimRef': {'namespace': 'default', 'name': 'unsent', 'uid': uid}, 'nodeAffinity': {'required': {'nodeSelectorTerms': [
            {'matchExpressions': [{'key': 'kubernetes.io/hostname', 'operator': 'In', 'values': [node]}]}]}}}}
    other = json.loads(json.dumps(ours).replace('"%s"' % node, '"another"'))
    for method, path, body in (
            ('GET', core + '/persistentvolumeclaims', None), ('GET', core + '/persistentvolumes', None),
            ('GET', core + '/persistentvolumeclaims?fieldSelector=wherry.dev/node%3Danother', None),
            ('GET', core + '/namespaces/default/persistentvolumeclaims/theirs', None), ('GET', core + '/persistentvolumes/theirs', None),
            ('DELETE', core + '/persistentvolumes/theirs', None), ('POST', core + '/persistentvolumes', ours),
            ('POST', core + '/persistentvolumes', other)):
        status, message = as_node(c, method, path, body)
        assert status == 403, (method, path, status, message)
    for kind in ('persistentvolumes', 'persistentvolumeclaims'):
        status, message = as_node(c, 'GET', core + '/%s?fieldSelector=wherry.dev/node%%3D%s' % (kind, node))
        assert status == 200, (status, message)
    c.kubectl('delete', 'pvc', 'unsent', 'theirs')


FLEX = """#!/usr/bin/env python3
import json, os, subprocess, sys
top, call, args = %r, sys.argv[1], sys.argv[2:]
own = os.path.basename(__file__)
with open(top + '/calls', 'a') as f:
    f.write(json.dumps([own, call] + args) + chr(10))
def answer(status, **more):
    print(json.dumps(dict(status=status, **more)))
    sys.exit(status != 'Success')
if os.path.exists(top + '/broken-' + own + '-' + call):
    answer('Failure', message='broken on purpose')
if call == 'init':
    answer('Success', capabilities={'attach': own == 'disk'})
if own == 'disk':
    image = lambda: json.loads(args[0])['image']
    if call == 'attach':
        answer('Success', device=subprocess.check_output(['losetup', '-f', '--show', image()], text=True).strip())
    if call == 'detach':
        for line in subprocess.check_output(['losetup', '-n', '-O', 'NAME,BACK-FILE'], text=True).splitlines():
            if line.split()[1:2] == [top + '/' + args[0] + '.img']:
                subprocess.check_call(['losetup', '-d', line.split()[0]])
        answer('Success')
    if call == 'isattached':
        answer('Success', attached=True)
elif call == 'mount':
    options = json.loads(args[1])
    subprocess.check_call(['mount', '--bind', options['share'], args[0]])
    with open(args[0] + '/told', 'w') as f:
        json.dump(options, f)
    answer('Success')
elif call == 'unmount':
    subprocess.check_call(['umount', args[0]])
    answer('Success')
answer('Not supported')
"""


def flex_calls(c):
    try:
        with open(c.root + '/flex-state/calls') as f:
            return [json.loads(line) for line in f]
    except OSError:
        return []


def flex_pod(name, driver, options, more='', spec='', mount=''):
    return pod(name, 'x', spec=spec, mount='volumeMounts: [{name: v, mountPath: /v%s}]' % mount).replace(
        'persistentVolumeClaim: {claimName: x, readOnly: false}', 'flexVolume: {driver: %s, options: %s%s}' % (driver, json.dumps(options), more))


def flex_volumes(c):
    """Drivers of FlexVolumes: found while the node runs, asked as a kubelet asks them, for a share and for a disk that is attached; one that fails and comes back,
    and the node role killed in between. Nothing is left."""
    top, share, uid = c.root + '/flex-state', c.root + '/flex-share', lambda name: c.get('pod', name)['metadata']['uid']
    os.makedirs(top)
    os.makedirs(share)
    with open(top + '/disk.img', 'w') as f:
        f.truncate(64 << 20)
    c.apply('{apiVersion: v1, kind: Namespace, metadata: {name: flex}}\n---\n'
            '{apiVersion: v1, kind: Secret, metadata: {name: disk, namespace: flex}, type: test/disk, stringData: {key: deep}}\n---\n', ns='flex')
    c.apply('{apiVersion: v1, kind: Secret, metadata: {name: word}, type: test/share, stringData: {key: sesame}}\n---\n'
            '{apiVersion: v1, kind: Secret, metadata: {name: other}, type: Opaque, stringData: {key: sesame}}' +
            flex_pod('f-share', 'test/share', {'share': share}, ', fsType: xfs, secretRef: {name: word}', 'securityContext: {fsGroup: 2345}').replace('Seconds: 0', 'Seconds: 1') +
            flex_pod('f-other', 'test/share', {'share': share}, ', secretRef: {name: other}'))
    told(c, 'f-share', 'FailedMount', 'Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: '
         'failed to get Plugin from volumeSpec for volume "v" err=no volume plugin matched')
    for name in ('share', 'disk'):
        os.makedirs(c.root + '/flex/test~' + name)
        with open(c.root + '/flex/.new', 'w') as f:
            f.write(FLEX % top)
        os.chmod(c.root + '/flex/.new', 0o755)
        os.rename(c.root + '/flex/.new', '%s/flex/test~%s/%s' % (c.root, name, name))
    running(c, 'f-share')
    seen = json.loads(inside(c, 'f-share', 'cat', '/v/told'))
    assert seen == {'share': share, 'kubernetes.io/fsType': 'xfs', 'kubernetes.io/readwrite': 'rw', 'kubernetes.io/pvOrVolumeName': 'v',
                    'kubernetes.io/pod.name': 'f-share', 'kubernetes.io/pod.namespace': 'default', 'kubernetes.io/pod.uid': uid('f-share'),
                    'kubernetes.io/serviceAccount.name': 'default', 'kubernetes.io/mounterArgs.FsGroup': '2345', 'kubernetes.io/secret/key': 'c2VzYW1l'}, seen
    assert (os.stat(share).st_gid, os.stat(share + '/told').st_gid) == (2345, 2345)
    at = '%s/var/lib/kubelet/pods/%s/volumes/test~share/v' % (c.root, uid('f-share'))
    assert [x[1:3] for x in flex_calls(c) if x[0] == 'share' and x[1] == 'mount'][0] == ['mount', at], flex_calls(c)
    told(c, 'f-other', 'FailedMount', 'MountVolume.SetUp failed for volume "v" : couldn\'t get secret default/other err: cannot get secret of type test/share')
    # a disk, by a claim: attached, formatted and mounted once for two pods; the node role dies in the midst of it
    open(top + '/broken-disk-attach', 'w').close()
    c.apply(volume('disk', 'flexVolume: {driver: test/disk, fsType: ext4, readOnly: false, secretRef: {name: disk, namespace: flex}, options: {image: %s/disk.img}}' % top) + pod('f-disk', 'disk') + pod('f-disk2', 'disk', read_only='true'))
    bind(c, 'disk')
    told(c, 'f-disk', 'FailedAttachVolume', 'AttachVolume.Attach failed for volume "disk" : attach command failed, status: Failure, reason: broken on purpose')
    c.die_at('node.flex.mount')
    os.remove(top + '/broken-disk-attach')
    eventually('it died', c.died, 60)
    running(c, 'f-disk', 'f-disk2', timeout=60)
    inside(c, 'f-disk', 'touch', '/v/file')
    assert 'file' in inside(c, 'f-disk2', 'ls', '/v') and 'Read-only' in refused(c, 'f-disk2', 'touch', '/v/no')
    assert [json.loads(x[3])['kubernetes.io/secret/key'] for x in flex_calls(c) if x[:2] == ['disk', 'mount']] == ['ZGVlcA=='] * 2, flex_calls(c)
    staged = c.root + '/var/lib/kubelet/plugins/kubernetes.io/flexvolume/test/disk/mounts/disk'
    assert ' %s ext4 ' % staged in mounts(), mounts()
    c.die_at('')
    kill_role(c, 'node')
    eventually('the node is back', lambda: inside(c, 'f-disk', 'ls', '/v') and True)
    # a driver that does not take it back: the pod stays until it does
    for call in ('share-unmount', 'disk-detach'):
        open(top + '/broken-' + call, 'w').close()
    c.kubectl('delete', 'pod', '--wait=false', 'f-share', 'f-other', 'f-disk', 'f-disk2')
    told(c, 'f-share', 'FailedUnmount', 'UnmountVolume.TearDown failed for volume "v" : unmount command failed, status: Failure, reason: broken on purpose')
    assert ' %s ' % at in mounts()
    eventually('it was to detach', lambda: ['disk', 'detach', 'disk', os.uname().nodename] in flex_calls(c))
    kill_role(c, 'node')
    for call in ('share-unmount', 'disk-detach'):
        os.remove(top + '/broken-' + call)
    eventually('pods are gone', lambda: not [p for p in c.get('pods')['items'] if p['metadata']['name'].startswith('f-')], 60)
    eventually('nothing is left', lambda: c.root + '/var/lib/kubelet/p' not in mounts() and not loops(c) and not os.path.exists(os.path.dirname(staged)) and
               not glob.glob(c.root + '/var/lib/kubelet/pods/*'), 60)
    c.kubectl('delete', 'pvc', 'disk')
    c.kubectl('delete', 'pv', 'disk')


def flex_killed_anywhere(c):
    """The node role dies around each call of a driver, and around each record: the next one goes on, and nothing is left."""
    if not STORM:
        return
    none_left = lambda: not loops(c) and c.root + '/var/lib/kubelet/p' not in mounts() and not glob.glob(c.root + '/var/lib/kubelet/pods/*')
    c.apply(volume('disk', 'flexVolume: {driver: test/disk, options: {image: %s/flex-state/disk.img}}' % c.root))
    bind(c, 'disk')
    for coming, places in ((True, 'flex.call flex.answer flex.attach csi.record flex.mount volume.mount'),
                           (False, 'flex.unmount csi.forget flex.detach flex.call flex.answer')):
        for place in places.split():
            if coming:
                c.die_at('node.' + place)
            c.apply(pod('k', 'disk'))
            if coming:
                eventually('it died at ' + place, c.died, 30)
            running(c, 'k', timeout=60)
            inside(c, 'k', 'touch', '/v/file')
            if not coming:
                c.die_at('node.' + place)
            c.kubectl('delete', 'pod', 'k', '--wait=false')
            if not coming:
                eventually('it died at ' + place, c.died, 30)
            eventually('nothing is left after ' + place, lambda: none_left() and not c.get('pods')['items'], 60)
    c.die_at('')
    c.kubectl('delete', 'pvc', 'disk')


class Disks(Cluster):
    """A cluster whose node role dies where the test says (base/fault.h), and which leaves no devices behind."""

    def up(self):
        self.die = self.root + '/die'
        self.die_at('')
        os.chmod(self.die, 0o666)
        os.environ['WHERRY_DIE_AT'] = self.die
        self.args += ['--set', 'volume-plugin-dir=' + self.root + '/flex']
        return super().up()

    def die_at(self, place):
        with open(self.die, 'w') as f:
            f.write(place and place + ' 1\n')

    def died(self):
        with open(self.die) as f:
            return f.read().startswith('died')

    def __exit__(self, *unused):
        try:
            super().__exit__()
        finally:
            for device in loops(self):
                run(['losetup', '-d', '/dev/' + device], check=False)


if __name__ == '__main__':
    main([volumes_by_hand, what_cannot_be_had, flex_volumes, flex_killed_anywhere, a_claim_is_made_a_volume, many_at_once, devices_and_what_is_kept, what_cannot_be_made,
          a_quota_holds, what_was_left_on_other_disks, a_kept_volume_is_given_on, a_disk_that_is_full_for_a_while, what_goes_goes_quietly, a_node_has_its_own, killed_anywhere], cluster=Disks)
