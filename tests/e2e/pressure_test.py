#!/usr/bin/env python3
"""A node that runs short of something, on a disk of its own: the right pod goes, with a kubelet's sentence; nothing goes
that nobody could give back; the node comes back by itself."""
import http.server, tarfile, threading
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
    'layer': 'cat /dev/zero > /f; sleep 1000',
    'volume': 'head -c 320000000 /dev/zero > /v/f; sleep 1000',
}


def disk_is_filled(c):
    """By a log, a writable layer, a volume: who fills it goes, nobody else; and then the node is as before."""
    name = node(c)['metadata']['name']
    c.apply(pod('quiet', 'sleep 1000'))
    running(c, 'quiet')
    for how in size(['log'], list(FILLS)):              # the next test has a writable layer
        fill = FILLS[how]
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


def deployment_is_replaced_afterwards(c):
    """The successor of a pod that was evicted waits until the node is well, and is not refused there; the node role may be
    killed in the middle of it."""
    spec = pod('x', FILLS['layer']).split('spec:')[1].replace('---', '').replace('restartPolicy: Never', '').replace('\n', '\n    ')
    c.apply('apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: d}}\n'
            '  template:\n    metadata: {labels: {app: d}}\n    spec:' + spec)
    eventually('the taint is there', lambda: TAINT in taints(c), every=0.02)
    os.kill(c.role_pid('node'), signal.SIGKILL)
    pods = lambda: c.get('pods', '-l', 'app=d')['items']
    over = lambda: [p['status'] for p in pods() if p['status']['phase'] == 'Failed']
    eventually('it is evicted', over, timeout=30)
    eventually('the next one runs', lambda: any(p['status']['phase'] == 'Running' for p in pods()), timeout=30)
    eventually('and goes in turn', lambda: len(over()) > 1, timeout=30)
    # a third one may have filled the disk by now, and the store takes nothing until that one goes
    eventually('it is told to stop', lambda: c.kubectl('scale', 'deploy/d', '--replicas=0'))
    for status in over():
        assert status['reason'] == 'Evicted' and status['message'].startswith('The node was low on resource'), status
    eventually('the node is well again', lambda: condition(c, 'DiskPressure')[0] == 'False' and not taints(c), timeout=30)
    c.kubectl('delete', 'deploy/d')


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


MEMORY = size(400, 900)                                           # MiB for all pods together
CROWD = size(8, 200)                                    # pods that have nothing to do with it
GROWS = "(while true; do head -c 20000000 /dev/zero; sleep 0.1; done) | tail"
JUMPS = "head -c 3000000000 /dev/zero | tail"


def memory_is_taken(c):
    """Slowly enough to be looked at: who asked for nothing goes. At once: the kernel ends the same one. Nobody else is hurt."""
    name = node(c)['metadata']['name']
    c.apply(pod('sure', 'sleep 1000', '', 'resources: {limits: {memory: 64Mi, cpu: 10m}}') +
            pod('asked', 'head -c 60000000 /dev/zero | tail | sleep 1000', '', 'resources: {requests: {memory: 150Mi}}'))
    crowd = pod('x', 'sleep 1000').split('spec:')[1].replace('---', '').replace('restartPolicy: Never', '').replace('\n', '\n    ')
    c.apply('apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: crowd}\nspec:\n  replicas: %d\n  selector: {matchLabels: {app: crowd}}\n'
            '  template:\n    metadata: {labels: {app: crowd}}\n    spec:%s' % (CROWD, crowd))
    running(c, 'sure', 'asked')
    c.kubectl('rollout', 'status', 'deploy/crowd', '--timeout=180s', timeout=200)
    c.apply(pod('grows', GROWS))
    eventually('the node says so', lambda: condition(c, 'MemoryPressure') ==
               ('True', 'KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'), timeout=size(30, 120))
    c.apply(pod('late', 'sleep 1000', 'nodeName: ' + name))
    status = evicted(c, 'grows')
    assert re.match(r'The node was low on resource: memory\. Threshold quantity: 100Mi, available: \d+\w*\. '
                    r'Container c was using \d+\w+, request is 0, has larger consumption of memory\. $', status['message']), status['message']
    assert disrupted(status) == 'TerminationByKubelet', status
    status = evicted(c, 'late')
    assert status['message'] == 'Pod was rejected: The node had condition: [MemoryPressure]. ', status
    eventually('it is over', lambda: condition(c, 'MemoryPressure')[0] == 'False' and not taints(c))
    c.apply(pod('jumps', JUMPS))
    eventually('it is ended', lambda: phase(c, 'jumps') == 'Failed')
    status = c.get('pod', 'jumps')['status']
    reasons = [x['state']['terminated']['reason'] for x in status['containerStatuses']]
    assert status.get('reason') == 'Evicted' or reasons == ['OOMKilled'], status
    for p in 'sure', 'asked':
        assert phase(c, p) == 'Running' and c.get('pod', p)['status']['containerStatuses'][0]['restartCount'] == 0
    pods = c.get('pods', '-l', 'app=crowd')['items']    # as many, and all of them the first ones
    assert [p['status']['phase'] for p in pods] == ['Running'] * CROWD, [p['status'] for p in pods if p['status']['phase'] != 'Running']
    c.kubectl('delete', 'deploy', 'crowd')
    c.kubectl('delete', 'pod', '--all', '--wait=false')


class Registry:
    """What a pull asks of one, of archives as `wherry image pack` makes them."""
    ADDRESS = '127.0.0.1:5006'

    def __init__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.split('/')[-1]
                known = outer.tags.get(self.path.split('/')[2] + ':' + name, name) if self.path != '/v2/' else ''
                body = outer.blobs.get(known, b'') if known else b'{}'
                self.send_response(200 if body else 404)
                if '/manifests/' in self.path and body:
                    self.send_header('Content-Type', json.loads(body).get('mediaType', 'application/vnd.oci.image.manifest.v1+json'))
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                if self.command == 'GET':
                    self.wfile.write(body)
            do_HEAD = do_GET

            def log_message(self, *unused):
                pass
        self.blobs, self.tags = {}, {}
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 5006), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, archive, name):
        with tarfile.open(archive) as t:
            files = {m.name: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}
        self.blobs.update(('sha256:' + n.split('/')[2], data) for n, data in files.items() if n.startswith('blobs/sha256/'))
        self.tags[name] = json.loads(files['index.json'])['manifests'][0]['digest']

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def pack(c, to, name, mib):
    """The test's image, and so much beside it that nothing else has."""
    ballast = to + '.ballast'
    with open(ballast, 'wb') as f:
        f.write(os.urandom(mib << 20))
    run([WHERRY, 'image', 'pack', to, name, 'ballast=' + ballast, 'bin/busybox=/bin/busybox'] + ['bin/%s=@busybox' % t for t in ('sh', 'sleep')])
    os.unlink(ballast)


def images_fill_the_disk(c):
    """Those of a registry that nobody names go; what was loaded by hand stays, as nobody could give it back."""
    registry, aside = Registry(), tempfile.mkdtemp(prefix='wi', dir='/tmp')
    try:
        for name in 'old', 'kept', 'new':
            pack(c, aside + '/a.tar', '%s/%s:1' % (Registry.ADDRESS, name), 40)
            registry.add(aside + '/a.tar', name + ':1')
        pack(c, aside + '/a.tar', 'by.hand/only:1', 30)
        run([WHERRY, 'image', 'load', aside + '/a.tar', '--root', c.root])
        image = lambda name: pod(name, 'sleep 1000').replace(IMAGE, '%s/%s:1' % (Registry.ADDRESS, name)).replace('Never', 'IfNotPresent', 2).replace('restartPolicy: IfNotPresent', 'restartPolicy: Never')
        have = lambda: {w for line in run([WHERRY, 'image', 'ls', '--root', c.root]).splitlines() for w in line.split() if ':1' in w}
        c.apply(image('old') + image('kept'))
        running(c, 'old', 'kept')
        c.kubectl('delete', 'pod', 'old', '--wait=true')
        c.apply(image('new'))
        eventually('it goes', lambda: not any('/old:1' in x for x in have()))
        eventually('the node is well again', lambda: condition(c, 'DiskPressure')[0] == 'False' and not taints(c), timeout=30)
        left = ' '.join(have())
        assert 'by.hand/only:1' in left and '/kept:1' in left and IMAGE in left, left
        assert phase(c, 'kept') == 'Running'
        running(c, 'new')
        c.kubectl('delete', 'pod', 'new', '--wait=true')
        c.apply(image('old'))                           # and it can be had again
        running(c, 'old')
    finally:
        registry.close()
        shutil.rmtree(aside)
    c.kubectl('delete', 'pod', '--all', '--wait=false')


SETTINGS = {
    'eviction-hard': 'nodefs.available<50%,memory.available<100Mi',
    'eviction-pressure-transition-period': '1s',
    'container-log-max-size': '1Gi',
    'image-minimum-gc-age': '0s',
    'max-pods': str(CROWD + 20),
    'insecure-registries': Registry.ADDRESS,
    'system-reserved': 'memory=%dMi' % (os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // (1 << 20) - MEMORY),
}
if __name__ == '__main__':
    main([disk_is_filled, deployment_is_replaced_afterwards, pods_are_held_to_their_limits, memory_is_taken, images_fill_the_disk], cluster=Small,
         args=[x for k, v in SETTINGS.items() for x in ('--set', k + '=' + v)])
