#!/usr/bin/env python3
"""A node that runs short of something, on a disk of its own: the right pod goes, with a kubelet's sentence; nothing goes
that nobody could give back; the node comes back by itself."""
from lib import *

SIZE = 600                                              # MiB of the disk that all of the cluster lies on
TAINT = 'node.kubernetes.io/disk-pressure'


class Small(Cluster):
    """Everything of it lies on a small disk: an ext4 in a file."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.disk = self.root + '.img'
        with open(self.disk, 'wb') as f:
            f.truncate(SIZE << 20)
        run(['mkfs.ext4', '-q', '-m', '0', self.disk])
        run(['mount', '-o', 'loop', self.disk, self.root])
        os.chmod(self.root, 0o755)

    def __exit__(self, *unused):
        try:
            super().__exit__()
        finally:
            run(['umount', '-l', self.root], check=False)
            os.unlink(self.disk)
            os.rmdir(self.root)


def pod(name, command, extra='', container='', kind=None):
    spec = '''
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  %s
  containers:
  - name: c
    image: %s
    imagePullPolicy: Never
    command: [sh, -c, %s]
    %s
''' % (extra, IMAGE, json.dumps(command), container)
    return 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:%s---\n' % (name, spec)


def phase(c, name):
    return c.get('pod', name)['status'].get('phase')


def node(c):
    return c.get('nodes')['items'][0]


def condition(c, kind):
    found = [x for x in node(c)['status']['conditions'] if x['type'] == kind]
    return found[0]['status'], found[0]['reason'], found[0]['message']


def taints(c):
    return [t['key'] for t in node(c)['spec'].get('taints', [])]


def events(c, name, reason):
    found = c.get('events', '-A', '--field-selector', 'involvedObject.name=%s,reason=%s' % (name, reason))['items']
    return [e['message'] for e in found]


def evicted(c, name, timeout=30):
    """Its status, once it is over for that."""
    def look():
        status = c.get('pod', name)['status']
        return status if status.get('phase') == 'Failed' else None
    try:
        status = eventually(name + ' is evicted', look, timeout=timeout)
    except AssertionError:
        print(c.kubectl('get', 'pods', '-o', 'wide'), c.kubectl('get', 'events', '-A'), '\n'.join(c.log().splitlines()[-20:]))
        raise
    assert status['reason'] == 'Evicted', status
    return status


def disrupted(status):
    found = [x for x in status['conditions'] if x['type'] == 'DisruptionTarget']
    return found[0]['reason'] if found else None


def running(c, *names):
    for name in names:
        eventually(name + ' runs', lambda: phase(c, name) == 'Running')


FILLS = {
    'log': 'head -c 320000000 /dev/zero | tr "\\\\0" x | fold -w 4000; sleep 1000',
    'layer': 'head -c 320000000 /dev/zero > /f; sleep 1000',
    'volume': 'head -c 320000000 /dev/zero > /v/f; sleep 1000',
}


def disk_is_filled(c):
    """By a log, a writable layer, a volume: who fills it goes, nobody else; and then the node is as before."""
    name = node(c)['metadata']['name']
    c.apply(pod('quiet', 'sleep 1000'))
    running(c, 'quiet')
    for how, fill in FILLS.items():
        volume = 'volumeMounts: [{name: v, mountPath: /v}]' if how == 'volume' else ''
        c.apply(pod(how, fill, 'volumes: [{name: v, emptyDir: {}}]', volume))
        status = evicted(c, how)
        assert re.match(r'The node was low on resource: ephemeral-storage\. Threshold quantity: \d+\w*, available: \d+\w*\. ', status['message']), status['message']
        if how != 'volume':
            assert re.search(r'Container c was using \d+\w+, request is 0, has larger consumption of ephemeral-storage\. $', status['message']), status['message']
        assert disrupted(status) == 'TerminationByKubelet', status
        eventually('that is told', lambda: events(c, how, 'Evicted') == [status['message']])
        eventually('the taint goes', lambda: TAINT not in taints(c), timeout=30)
        assert condition(c, 'DiskPressure') == ('False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure')
        assert phase(c, 'quiet') == 'Running'
        c.kubectl('delete', 'pod', how, '--wait=false')
    told = events(c, name, 'EvictionThresholdMet')
    assert 'Attempting to reclaim ephemeral-storage' in told, told
    assert events(c, name, 'NodeHasDiskPressure') == ['Node %s status is now: NodeHasDiskPressure' % name]
    assert events(c, name, 'NodeHasNoDiskPressure') == ['Node %s status is now: NodeHasNoDiskPressure' % name]
    c.kubectl('delete', 'pod', '--all', '--wait=false')


def pods_are_held_to_their_limits(c):
    """Of a container, of all containers together, of a volume: each with its sentence, and as its own fault."""
    limit = lambda n: 'resources: {limits: {ephemeral-storage: %s}}' % n
    volume, mount = 'volumes: [{name: v, emptyDir: {%s}}]', 'volumeMounts: [{name: v, mountPath: /v}]'
    rows = {
        'container': (pod('container', 'head -c 20000000 /dev/zero > /f; sleep 1000', '', limit('10Mi'))
                      .replace('---', '  - {name: d, image: %s, command: [sleep, "1000"], %s}\n---' % (IMAGE, limit('100Mi'))),
                      'Container c exceeded its local ephemeral storage limit "10Mi". '),
        'pod': (pod('pod', 'head -c 9000000 /dev/zero > /f; head -c 9000000 /dev/zero > /v/f; sleep 1000', volume % '', limit('10Mi') + '\n    ' + mount),
                'Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. '),
        'logs': (pod('logs', 'head -c 20000000 /dev/zero | tr "\\0" x | fold -w 4000; sleep 1000', '', limit('10Mi')),
                 'Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. '),
        'vol': (pod('vol', 'head -c 20000000 /dev/zero > /v/f; sleep 1000', volume % 'sizeLimit: 10Mi', mount),
                   'Usage of EmptyDir volume "v" exceeds the limit "10Mi". '),
        'within': (pod('within', 'head -c 9000000 /dev/zero > /v/f; sleep 1000', volume % 'sizeLimit: 10Mi', limit('20Mi') + '\n    ' + mount), None),
    }
    c.apply(''.join(yaml for yaml, _ in rows.values()))
    for name, (_, message) in rows.items():
        if message:
            status = evicted(c, name)
            assert status['message'] == message, status['message']
            assert disrupted(status) is None, status
            eventually('that is told', lambda: events(c, name, 'Evicted') == [message])
    assert phase(c, 'within') == 'Running'
    c.kubectl('delete', 'pod', '--all', '--wait=false')


SETTINGS = {
    'eviction-hard': 'nodefs.available<50%',
    'eviction-pressure-transition-period': '1s',
    'container-log-max-size': '1Gi',
}
if __name__ == '__main__':
    main([disk_is_filled, pods_are_held_to_their_limits], cluster=Small,
         args=[x for k, v in SETTINGS.items() for x in ('--set', k + '=' + v)])
