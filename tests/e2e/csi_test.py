#!/usr/bin/env python3
"""Drivers of storage (CSI): they register, and pods get their volumes; with everything in between killed."""
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
    command: [/bin/busybox, chroot, /host, env, PYTHONPATH=%(grpc)s, %(python)s, %(script)s, driver, %(name)s, %(id)s, %(kubelet)s/plugins/%(name)s/csi.sock, %(base)s]
    volumeMounts: &mounts
    - {name: host, mountPath: /host}
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

    def calls(self, method=None):
        if not os.path.exists(self.base + '/calls'):
            return []
        with open(self.base + '/calls') as f:
            all = [json.loads(line) for line in f]
        return [x for x in all if method in (None, x['method'])]

    def row(self):
        node = self.c.get('csinode')['items'][0]
        return next((d for d in node['spec']['drivers'] or [] if d['name'] == self.name), None)


def registration(c):
    """A driver registers: CSINode, labels and annotation of the Node; it goes, and they do; and the node comes back to it."""
    s = Storage(c, settings=dict(most=5, topology={'topology.test/zone': 'z1', 'topology.test/rack': 'r2'})).start()
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


def prepare():
    global GRPC
    GRPC = run([os.path.join(TOP, 'tools/fetch-grpc')], timeout=600).strip().splitlines()[-1]


if __name__ == '__main__':
    prepare()
    main([registration])
