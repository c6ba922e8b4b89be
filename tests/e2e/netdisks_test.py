#!/usr/bin/env python3
"""Disks of a network, iSCSI and Fibre Channel, in real pods: a stand-in for iscsiadm (iscsiadm.py) and files in place of
the kernel's show disks that are loop devices."""
import fcntl, random
from lib import *
from disks_test import Disks, bind, gone, inside, kill_role, mounts, pod, running, told, volume
import iscsiadm

IQN = 'iqn.2001-04.com.example:'
PORTAL, SECOND, GUARDED, LOCKED = ('127.0.0.%d:3260' % n for n in range(1, 5))
WWN = '50060e801049cfd1'
FABRIC = ('/dev/disk', '/sys/class')


class Fabric(Disks):
    """Targets, disks, and a place where what belongs to them can be shown; nothing of it is seen outside this test."""

    def up(self):
        self.tools, self.made = self.root + '/tools', [d for d in FABRIC if not os.path.isdir(d)]
        os.mkdir(self.tools)
        shutil.copy(iscsiadm.__file__, self.tools + '/iscsiadm')
        os.chmod(self.tools + '/iscsiadm', 0o755)
        os.environ['PATH'] = self.tools + ':' + os.environ['PATH']
        self.disks, self.used = [], 0
        for n in range(6):
            path = self.root + '/lun%d' % n
            with open(path, 'w') as f:
                f.truncate(64 << 20)
            self.disks.append(run(['losetup', '-f', '--show', path]).strip().split('/')[-1])
        real = self.root + '/class'
        os.mkdir(real)
        run(['mount', '--bind', '/sys/class', real])
        os.makedirs('/dev/disk', exist_ok=True)
        for place in FABRIC:
            run(['mount', '-t', 'tmpfs', 'tmpfs', place])
        for name in os.listdir(real):
            os.mkdir('/sys/class/' + name)
            run(['mount', '--bind', real + '/' + name, '/sys/class/' + name])
        self.fabric(ifaces={'default': {'iface.transport_name': 'tcp'}}, discovery={}, nodes={}, sessions={}, calls=[], targets={
            IQN + 'one': {'portals': [PORTAL, SECOND], 'luns': {'0': self.disks[0], '1': self.disks[1]}},
            **{IQN + name: {'portals': [portal], 'luns': {'0': disk}, 'discovery': {'username': 'seeker', 'password': 'found'},
                            'session': {'username': 'caller', 'password': 'secret!'}} for name, portal, disk in (('chap', GUARDED, self.disks[2]), ('locked', LOCKED, self.disks[5]))}})
        return super().up()

    def fabric(self, **changes):
        """What the stand-in knows, with these changes."""
        with open(self.tools + '/fabric.json', 'a+') as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.seek(0)
            s = dict(json.loads(f.read() or '{}'), **changes)
            if changes:
                f.truncate(0)
                json.dump(s, f)
        return s

    def calls(self):
        return self.fabric()['calls']

    def clean(self):
        """Nothing is logged in, known to iscsiadm, mounted or recorded."""
        s = self.fabric()
        folder = self.root + '/var/lib/kubelet/plugins/kubernetes.io/'
        left = [f for kind in ('iscsi', 'fc') for f in ([folder + kind] if os.path.exists(folder + kind) else [])]
        return not s['sessions'] and not s['nodes'] and set(s['ifaces']) == {'default'} and not left and 'kubernetes.io/iscsi' not in mounts()

    def __exit__(self, *unused):
        try:
            super().__exit__()
        finally:
            for place in reversed(FABRIC):
                run(['umount', '-l', place], check=False)
            if '/dev/disk' in self.made:
                run(['rmdir', '/dev/disk'], check=False)


def iscsi(target, lun=0, extra='', portal=PORTAL):
    return 'iscsi: {targetPortal: "%s", iqn: "%s", lun: %d%s}' % (portal, IQN + target, lun, extra)


def inline(name, source, command='sleep 1000'):
    return pod(name, 'x', command).replace('persistentVolumeClaim: {claimName: x, readOnly: false}', source)


def attached(c, field='volumesAttached'):
    found = c.get('node', os.uname().nodename)['status'].get(field, [])
    return sorted(v if isinstance(v, str) else v['name'] for v in found)


def iscsi_is_shared_and_ends(c):
    """One session for two LUNs and three pods; formatted once, read-only, by subPath, for a group; a device; the node role is killed."""
    c.apply(volume('lun0', iscsi('one', 0, ', fsType: ext4')) + volume('lun1', iscsi('one', 1), mode='Block'))
    bind(c, 'lun0', 'lun1')
    c.apply(pod('writes', 'lun0', spec='securityContext: {fsGroup: 2345}') + pod('reads', 'lun0', read_only='true') +
            pod('device', 'lun1', mount='volumeDevices: [{name: v, devicePath: /dev/mine}]'))
    running(c, 'writes', 'reads', 'device')
    inside(c, 'writes', 'sh', '-c', 'echo kept > /v/file')
    assert inside(c, 'reads', 'cat', '/v/file') == 'kept\n'
    where = c.root + '/var/lib/kubelet/plugins/kubernetes.io/iscsi/iface-default/%s-%sone-lun-0' % (PORTAL, IQN)
    assert '/dev/%s %s ext4' % (c.disks[0], where) in mounts(), mounts()
    uid = c.get('pod', 'writes')['metadata']['uid']
    own = c.root + '/var/lib/kubelet/pods/%s/volumes/kubernetes.io~iscsi/lun0' % uid
    assert os.path.exists(own + '/file') and os.stat(own).st_gid == 2345, os.stat(own)
    inside(c, 'device', 'sh', '-c', 'echo block > /dev/mine')
    names = ['kubernetes.io/iscsi/%s:%sone:%d' % (PORTAL, IQN, n) for n in (0, 1)]
    assert attached(c) == names and attached(c, 'volumesInUse') == names, (attached(c), attached(c, 'volumesInUse'))
    told(c, 'writes', 'SuccessfulAttachVolume', 'AttachVolume.Attach succeeded for volume "lun0" ')
    logins = [k for k in c.calls() if '--login' in k]
    assert logins == ['-m node -p %s -T %sone -I default --login' % (PORTAL, IQN)], c.calls()
    assert any('node.session.scan -v manual' in k for k in c.calls()) and any('node.startup -v manual' in k for k in c.calls()), c.calls()
    kill_role(c, 'node')
    eventually('the node is back', lambda: inside(c, 'reads', 'cat', '/v/file') == 'kept\n')
    gone(c, 'writes', 'device')
    eventually('one is detached', lambda: attached(c) == names[:1])
    assert len(c.fabric()['sessions']) == 1, c.fabric()       # the other LUN's pod has it
    assert inside(c, 'reads', 'cat', '/v/file') == 'kept\n'
    gone(c, 'reads')
    eventually('nothing is left', c.clean)
    eventually('nothing is attached', lambda: attached(c) == [] and attached(c, 'volumesInUse') == [])
    assert any('--logout' in k for k in c.calls()), c.calls()
    with open('/dev/' + c.disks[1], 'rb') as f:
        assert f.read(6) == b'block\n'
    c.apply(inline('again', iscsi('one', 0, ', readOnly: true')))
    running(c, 'again')
    assert inside(c, 'again', 'cat', '/v/file') == 'kept\n'
    assert 'Read-only' in refused(c, 'again')
    gone(c, 'again')
    eventually('nothing is left', c.clean)


def refused(c, name):
    p = subprocess.run([c.bin + '/kubectl', 'exec', name, '--', 'touch', '/v/no'], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert p.returncode != 0, p.stdout
    return p.stdout


def secrets_and_names(c):
    """CHAP for finding the target and for its sessions, by a pod's Secret and by that of a volume; an initiator's name."""
    data = {'discovery.sendtargets.auth.username': 'seeker', 'discovery.sendtargets.auth.password': 'found',
            'node.session.auth.username': 'caller', 'node.session.auth.password': 'secret!'}
    secret = lambda name, **more: json.dumps({'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': name},
                                              'type': 'kubernetes.io/iscsi-chap', 'stringData': dict(data, **more)}) + '\n---\n'
    chap = ', chapAuthDiscovery: true, chapAuthSession: true, secretRef: {name: %s%s}, initiatorName: "iqn.2020-01.test:me"'
    c.apply(secret('wrong', **{'node.session.auth.password': 'no'}) + inline('chap', iscsi('chap', 0, chap % ('chap', ''), GUARDED)) + '\n---\n' +
            volume('guarded', iscsi('locked', 0, chap % ('wrong', ', namespace: default'), LOCKED), access='ReadOnlyMany'))
    bind(c, 'guarded')
    c.apply(pod('refused', 'guarded'))
    told(c, 'chap', 'FailedMount', 'MountVolume.WaitForAttach failed for volume "v" : couldn\'t get secret default/chap error: secrets "chap" not found')
    told(c, 'refused', 'FailedMount', 'MountVolume.WaitForAttach failed for volume "guarded" : failed to get any path for iscsi disk, last err seen:',
         'iscsi: failed to attach disk: Error: iscsiadm: Could not login to', '(exit status 24)')
    c.apply(secret('chap') + secret('wrong'))
    running(c, 'chap', 'refused')
    name = '%s:v' % GUARDED
    assert c.fabric()['ifaces'][name] == {'iface.transport_name': 'tcp', 'iface.initiatorname': 'iqn.2020-01.test:me'}, c.fabric()['ifaces']
    assert '%s %schap %s' % (GUARDED, IQN, name) in c.fabric()['sessions'], c.fabric()
    assert 'secret!' not in c.log(), 'a password is told'
    gone(c, 'chap', 'refused')
    eventually('nothing is left', c.clean)


def several_portals_and_what_fails(c):
    """Each portal is logged in at; one that does not answer is told; no iscsiadm, no target, no LUN; a volume for one node."""
    portals = ', portals: ["127.0.0.2", "%s"]' % PORTAL
    c.apply(inline('paths', iscsi('one', 0, portals)) + '\n---\n' + inline('nobody', iscsi('other')))
    running(c, 'paths')
    assert sorted(c.fabric()['sessions']) == ['%s %sone default' % (p, IQN) for p in (PORTAL, SECOND)], c.fabric()
    told(c, 'nobody', 'FailedMount', 'iscsi: failed to attach disk: Error: iscsiadm: No records found (exit status 21)')
    gone(c, 'nobody', 'paths')
    eventually('nothing is left', c.clean)
    assert sum(IQN + 'one --logout' in k for k in c.calls()[-8:]) == 2, c.calls()[-8:]
    os.rename(c.tools + '/iscsiadm', c.tools + '/not-yet')
    c.apply(inline('tools', iscsi('one', 0)))
    told(c, 'tools', 'FailedMount', 'MountVolume.WaitForAttach failed for volume "v" : exec: "iscsiadm": executable file not found in $PATH '
         '(Debian: apt-get install open-iscsi)')
    assert 'open-iscsi' in c.wherry('why', 'pod/tools', check=False), c.wherry('why', 'pod/tools', check=False)
    os.rename(c.tools + '/not-yet', c.tools + '/iscsiadm')
    running(c, 'tools')
    gone(c, 'tools')
    eventually('nothing is left', c.clean)


def fibre_channel(c):
    """By target and LUN, as a file system; by its identifier, as a device; found by a scan; gone from the node in the end."""
    os.makedirs('/sys/class/scsi_host/host90')
    open('/sys/class/scsi_host/host90/scan', 'w').close()
    c.apply(volume('by-id', 'fc: {wwids: ["3600508b4 0001"]}', mode='Block') +
            inline('target', 'fc: {targetWWNs: ["50060e801049cfd0", "%s"], lun: 3, fsType: ext3}' % WWN))
    bind(c, 'by-id')
    c.apply(pod('id', 'by-id', mount='volumeDevices: [{name: v, devicePath: /dev/mine}]'))
    told(c, 'target', 'FailedMount', 'MountVolume.WaitForAttach failed for volume "v" : no fc disk found')
    told(c, 'id', 'FailedMapVolume', 'MapVolume.WaitForAttach failed for volume "by-id" : no fc disk found: there is no link '
         '/dev/disk/by-id/scsi-3600508b4_0001')
    with open('/sys/class/scsi_host/host90/scan') as f:
        assert f.read() == '- - -', 'no scan'
    for link, disk in (('by-path/pci-0000:05:00.0-fc-0x%s-lun-3' % WWN, c.disks[3]), ('by-id/scsi-3600508b4_0001', c.disks[4])):
        os.makedirs('/dev/disk/' + link.split('/')[0], exist_ok=True)
        os.symlink('../../' + disk, '/dev/disk/' + link)
    running(c, 'target', 'id')
    inside(c, 'target', 'touch', '/v/file')
    inside(c, 'id', 'sh', '-c', 'echo fibre > /dev/mine')
    assert '/dev/%s %s/var/lib/kubelet/plugins/kubernetes.io/fc/50060e801049cfd0-%s-lun-3 ext3' % (c.disks[3], c.root, WWN) in mounts(), mounts()
    assert attached(c) == ['kubernetes.io/fc/[3600508b4 0001]', 'kubernetes.io/fc/[50060e801049cfd0 %s]:3' % WWN], attached(c)
    gone(c, 'target', 'id')
    eventually('nothing is left', c.clean)
    eventually('nothing is attached', lambda: attached(c) == [])
    with open('/dev/' + c.disks[4], 'rb') as f:
        assert f.read(6) == b'fibre\n'


PLACES = ['disk.attach', 'disk.attached', 'csi.record', 'volume.mkfs', 'disk.unmounted', 'disk.detached', 'csi.forget']


def killed_anywhere(c):
    """The node role dies in the midst of it: the next one goes on, and nothing is left in the end."""
    places = PLACES if STORM else random.Random(seed()).sample(PLACES, 2)
    for n, place in enumerate(places):
        run(['dd', 'if=/dev/zero', 'of=/dev/' + c.disks[0], 'bs=1M', 'count=1'])
        c.die_at('node.' + place)
        c.apply(volume('k%d' % n, iscsi('one', 0)))
        bind(c, 'k%d' % n)
        c.apply(pod('k', 'k%d' % n))
        running(c, 'k', timeout=30)
        inside(c, 'k', 'touch', '/v/file')
        gone(c, 'k')
        eventually('it died at ' + place, c.died)
        eventually('nothing is left after ' + place, lambda: c.clean() and attached(c) == [], timeout=30)
        c.die_at('')


def down_ends_it(c):
    """What pods had when everything is taken down."""
    c.apply(inline('down', iscsi('one', 0)))
    running(c, 'down')
    assert c.fabric()['sessions']
    c.down()
    assert c.clean(), (c.fabric(), mounts())


if __name__ == '__main__':
    main([iscsi_is_shared_and_ends, secrets_and_names, several_portals_and_what_fails, fibre_channel, killed_anywhere, down_ends_it], cluster=Fabric)
