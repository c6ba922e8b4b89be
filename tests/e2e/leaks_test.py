#!/usr/bin/env python3
"""Pods of every sort created and deleted at random beside rollouts: afterwards the kernel, the disk and the memory of
each role are as they were before."""
import collections, glob, os, random, re, subprocess, threading, time
from lib import *
from informer_test import Api
from machine import differences, instance_here, machine

LOAD = os.path.join(BUILD, 'load')
SANITIZED = 'asan' in BUILD
PODS, SECONDS = size(50, 1000), size(10, 590)
ROLES = ('server', 'node', 'relay', 'dns', 'edge')
KEPT = 5                                                # seconds of history and of Events that the cluster keeps
THREADS = 10                                            # that a role may have: its loop's and the pool's, which come and go
KEPT_ALIVE = 12                                         # connections, at most, that were used lately
# KiB that a role may hold more than before: pages of the store's file, the events it remembers, holes in the heap.
MEMORY = collections.defaultdict(lambda: 2048, server=3072)


# --- what is looked at

def processes_of(c):
    """{name: pid} of the roles and the supervisor."""
    with open(c.root + '/run/wherry/supervisor.lock') as f:
        found = {'supervisor': int(f.read())}
    for r in ROLES:
        found[r] = c.role_pid(r)
    return found


# What pods of the same sort differ in: their rows are the same afterwards, not their names.
ANYBODY = [(re.compile(a), b) for a, b in (
    (r'\[\d+\]$|:\[\d+\]', ''), (r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', 'UID'), (r'\b[0-9a-f]{64}\b', 'HASH'), (r'\bw[0-9a-z]+-[0-9a-f]{8}\b', 'LINK'),
    (r'\b10\.42\.0\.(?!1\b)\d+', 'POD'), (r'calm-[0-9a-z]{5,10}-[0-9a-z]{5}(?![0-9a-z])', 'calm-POD'),
    (r'kube-api-access-[0-9a-z]{5}', 'TOKEN'), (r'\.\.[0-9a-f]{16}', 'DATA'), (r'^\d+: |^\d+ (?=w)|@if\d+|link-netnsid \d+', ''),
    (r'([0-9a-f]{2}:){5}[0-9a-f]{2}', 'MAC'), (r'fe80::[0-9a-f:]+', 'LOCAL'), (r'expires \w+', ''))]


def nobody(line):
    for pattern, instead in ANYBODY:
        line = pattern.sub(instead, line)
    return line


def descriptors(pid, root):
    found = collections.Counter()
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found[nobody(os.readlink('/proc/%d/fd/%s' % (pid, fd)).replace(root, ''))] += 1
        except FileNotFoundError:
            pass                                        # closed meanwhile
    return ['%s x %d' % pair for pair in sorted(found.items())]


def watched_files(pid):
    n = 0
    for fd in os.listdir('/proc/%d/fdinfo' % pid):
        try:
            with open('/proc/%d/fdinfo/%s' % (pid, fd)) as f:
                n += f.read().count('\ninotify wd:')
        except FileNotFoundError:
            pass
    return n


def zombies(parents):
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/stat' % pid) as f:
                name, rest = f.read().rsplit(')', 1)
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state == 'Z' and int(parent) in parents:
            found.append(name)
    return found


def namespaces(instance):
    """Of all that runs in the cluster's control groups or in the roles' network: how many of each sort."""
    mine, found = os.readlink('/proc/self/ns/net'), set()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cgroup' % pid) as f:
                ours = 'wherry-' + instance in f.read()
            if ours or os.readlink('/proc/%s/ns/net' % pid) == mine:
                found |= {os.readlink('/proc/%s/ns/%s' % (pid, sort)) for sort in ('net', 'mnt', 'ipc', 'uts', 'pid')}
        except OSError:
            pass
    return ['%s x %d' % pair for pair in sorted(collections.Counter(n.split(':')[0] for n in found).items())]


def files(root):
    """Below the root, but for the store's own, whose number does not grow."""
    found = []
    for top, dirs, names in os.walk(root):
        if top.endswith('/var/lib/wherry/server'):
            dirs[:] = []
            continue
        found += [os.path.join(top, n)[len(root):] for n in dirs + names]
    return sorted(found)


def connections():
    """Tracked ones that have a pod's address in them and none of a living pod's link."""
    living = set(re.findall(r'(10\.42\.\d+\.\d+) dev v', run(['ip', 'route']))) | {'10.42.0.1'}
    with open('/proc/net/nf_conntrack') as f:
        lines = f.read().splitlines()
    return sorted(l for l in lines if l.split()[2] == 'udp' and
                  any(a not in living for a in re.findall(r'(?:src|dst)=(10\.42\.\d+\.\d+)', l)))


def without_caches(rules):
    """Rules but for what the data plane keeps on purpose, each bounded: chains for a number of endpoints, which name no
    Service (64 idle ones), and the hairpin of each address a pod once had."""
    text = re.sub(r'\tchain (?:[ns]x?\d+(?:a\d+)?|t\d+) \{\n(?:[^}]*\n)?\t\}\n\n?', '', '\n'.join(rules) + '\n')
    return re.sub(r'(set hairpin \{\n\t\ttypeof [^\n]*\n)[^}]*\}\n', r'\1', text).splitlines()


def looked_at(c, instance):
    found = machine(instance)
    found['rules'] = without_caches(found['rules'])
    found['mounts'] = [m for m in found['mounts'] if c.root in m]         # others may mount on this machine, too
    pids = processes_of(c)
    for name, pid in pids.items():
        found['descriptors of ' + name] = [d for d in descriptors(pid, c.root) if not d.startswith('socket x ')]
        threads = len(os.listdir('/proc/%d/task' % pid))
        found['threads of ' + name] = ['%d' % threads] if threads > THREADS else []
        found['watched files of ' + name] = ['%d' % watched_files(pid)]
        with open('/proc/%d/mountinfo' % pid) as f:
            found['mounts of ' + name] = [' '.join(l.split()[3:]) for l in f if c.root in l]
    found['zombies'] = zombies(set(pids.values()))
    found['namespaces'] = namespaces(instance)
    found['files'] = files(c.root)
    found['connections'] = connections()
    return {name: sorted(map(nobody, lines)) for name, lines in found.items()}


def sockets(c):
    """{role: how many}. Connections are kept for 90 seconds."""
    return {name: sum(os.readlink(fd).startswith('socket:') for fd in filter(os.path.islink, glob.glob('/proc/%d/fd/*' % pid)))
            for name, pid in processes_of(c).items()}


def memory(c):
    """{role: (PSS, of it anonymous)} in KiB."""
    found = {}
    for name, pid in processes_of(c).items():
        with open('/proc/%d/smaps_rollup' % pid) as f:
            rows = dict(re.findall(r'^(\w+): +(\d+) kB', f.read(), re.M))
        found[name] = int(rows['Pss']), int(rows['Pss_Anon'])
    return found


def shown(m):
    return ', '.join('%s %d (%d)' % ((name,) + m[name]) for name in m)


# --- pods

FULL = {'memory': {'emptyDir': {'medium': 'Memory'}}, 'disk': {'emptyDir': {}}, 'settings': {'configMap': {'name': 'settings'}},
        'secret': {'secret': {'secretName': 'secret'}},
        'projected': {'projected': {'sources': [{'serviceAccountToken': {'path': 'token'}}, {'configMap': {'name': 'settings'}},
                                                {'downwardAPI': {'items': [{'path': 'name', 'fieldRef': {'fieldPath': 'metadata.name'}}]}}]}}}
SLEEP = 'trap "exit 0" TERM; echo here; sleep 1000 & wait'


def exec_probe(text):
    return {'exec': {'command': ['sh', '-c', text]}, 'periodSeconds': 1}


def web(spec, box):
    box.pop('command')
    box['ports'] = [{'containerPort': 8080}]
    box['readinessProbe'] = {'httpGet': {'path': '/healthz', 'port': 8080}, 'periodSeconds': 1}


def volumes(spec, box):
    spec['volumes'] = [dict(v, name=n) for n, v in FULL.items()]
    box['volumeMounts'] = [{'name': n, 'mountPath': '/' + n} for n in FULL] + [{'name': 'disk', 'mountPath': '/part', 'subPath': 'a/b'}]


def inits(spec, box):
    first = dict(box, name='first', command=['true'])
    spec['initContainers'] = [first, dict(box, name='beside', restartPolicy='Always')]


def stubborn(spec, box):
    box['command'] = ['sh', '-c', 'trap "" TERM; while true; do sleep 1000; done']
    spec['terminationGracePeriodSeconds'] = 1


def hooks(spec, box):
    box['lifecycle'] = {'postStart': {'exec': {'command': ['true']}}, 'preStop': {'exec': {'command': ['sleep', '0.3']}}}
    box['livenessProbe'] = exec_probe('true')


def stdin(spec, box):
    box.update(stdin=True, tty=True)


# What a pod can be. Each changes its spec and its container.
SORTS = {
    'plain': lambda spec, box: None, 'web': web, 'volumes': volumes, 'inits': inits, 'stubborn': stubborn, 'hooks': hooks, 'stdin': stdin,
    'ends': lambda spec, box: (spec.update(restartPolicy='Never'), box.update(command=['true'])),
    'crashes': lambda spec, box: box.update(command=['false']),
    'no command': lambda spec, box: box.update(command=['/nothere']),
    'no image': lambda spec, box: box.update(image='wherry.dev/none:1', imagePullPolicy='Never'),
    'no registry': lambda spec, box: box.update(image='127.0.0.1:9/none:1'),
    'no settings': lambda spec, box: box.update(envFrom=[{'configMapRef': {'name': 'nowhere'}}]),
    'no volume': lambda spec, box: spec.update(volumes=[{'name': 'v', 'secret': {'secretName': 'nowhere'}}]),
    'no room': lambda spec, box: box.update(resources={'requests': {'cpu': '1000'}}),
    'unhealthy': lambda spec, box: (box.update(livenessProbe=dict(exec_probe('false'), failureThreshold=1)),
                                    spec.update(terminationGracePeriodSeconds=1)),
    'host': lambda spec, box: spec.update(hostNetwork=True, hostPID=True),
    'host port': lambda spec, box: box.update(ports=[{'containerPort': 8080, 'hostPort': 18080}]),
    'shared': lambda spec, box: spec.update(shareProcessNamespace=True),
    'too much memory': lambda spec, box: box.update(resources={'limits': {'memory': '8Mi'}}, command=['sh', '-c', 'x=a; while true; do x=$x$x; done']),
}


def pod(name, sort):
    box = {'name': 'c', 'image': IMAGE, 'command': ['sh', '-c', SLEEP]}
    spec = {'containers': [box], 'terminationGracePeriodSeconds': 3}
    SORTS[sort](spec, box)
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'labels': {'app': 'churn'}}, 'spec': spec}


PATH = '/api/v1/namespaces/default/'


class Churn:
    """Pods that come and go; at most `most` at a time."""

    def __init__(self, c, rng, most=12):
        self.api, self.rng, self.c, self.most = Api(c), rng, c, most
        self.alive, self.made, self.sorts = [], 0, []

    def create(self):
        self.sorts = self.sorts or self.rng.sample(sorted(SORTS), len(SORTS))
        sort = self.sorts.pop()
        name = 'churn-%d-%s' % (self.made, sort.replace(' ', '-'))
        self.made += 1
        self.api.must('POST', PATH + 'pods', pod(name, sort))
        self.alive.append(name)

    def delete(self):
        name = self.alive.pop(self.rng.randrange(len(self.alive)))
        grace = self.rng.choice([None, None, 0, 1])
        status, got = self.api.call('DELETE', PATH + 'pods/' + name, None if grace is None else {'gracePeriodSeconds': grace})
        assert status in (200, 202, 404), (status, got)

    def step(self):
        if self.rng.random() < 0.2 and self.alive:
            self.touch(self.rng.choice(self.alive))
        if len(self.alive) >= self.most or (self.alive and self.rng.random() < 0.4):
            self.delete()
        else:
            self.create()

    def touch(self, name):
        """A stream into it, whatever it is at: begun, and mostly cut by its end."""
        args = self.rng.choice([['logs', '-f', name], ['exec', name, '--', 'sleep', '1'], ['port-forward', name, ':8080'], ['attach', name]])
        subprocess.Popen(['timeout', '2', self.c.bin + '/kubectl'] + args, env=self.c.env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def finish(self):
        while self.alive:
            self.delete()


SERVED = '''
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: one}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {p: geheim}
---
''' + deployment('calm', 3) + service('calm') + service('churn')


def others(c, api, n):
    """What else comes and goes."""
    for path, kind in (('services', 'Service'), ('configmaps', 'ConfigMap'), ('secrets', 'Secret')):
        body = {'kind': kind, 'apiVersion': 'v1', 'metadata': {'name': 'other-%d' % n}}
        if kind == 'Service':
            body['spec'] = {'selector': {'app': 'churn'}, 'ports': [{'port': 80, 'targetPort': 8080}], 'type': 'NodePort', 'sessionAffinity': 'ClientIP'}
        api.must('POST', PATH + path, body)
        if n:
            status, got = api.call('DELETE', PATH + '%s/other-%d' % (path, n - 1))
            assert status == 200, got
    name = {'kind': 'Namespace', 'apiVersion': 'v1', 'metadata': {'name': 'other-%d' % n}}
    api.must('POST', '/api/v1/namespaces', name)
    api.must('DELETE', '/api/v1/namespaces/other-%d' % n)
    # names of pods and Services, asked over and over
    run(['dig', '+time=1', '+tries=1', '@10.43.0.10', 'other-%d.default.svc.cluster.local' % n], check=False)


def is_quiet(c, api):
    """Nothing but the calm Deployment is there, and the server has forgotten what was."""
    pods = api.must('GET', PATH + 'pods')['items']
    assert len(pods) == 3 and all(p['metadata']['labels']['app'] == 'calm' and not p['metadata'].get('deletionTimestamp') and
                                  p['status']['containerStatuses'][0]['ready'] for p in pods), [p['metadata']['name'] for p in pods]
    names = [n['metadata']['name'] for n in api.must('GET', '/api/v1/namespaces')['items']]
    assert not [n for n in names if n.startswith('other')], names
    events = len(api.must('GET', '/api/v1/events')['items'])
    assert events == 0, '%d events' % events
    return True


def churn(c, rng, pods, seconds, rolls=True, every=30):
    """`pods` pods in `seconds`, the calm Deployment rolled and asked all the while."""
    api, work = Api(c), Churn(c, rng)
    load = subprocess.Popen([LOAD, c.get('svc', 'calm')['spec']['clusterIP'], '80', '50', str(seconds * 5 + 600)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    start = time.monotonic()
    told = steps = n = 0
    while work.made < pods:
        work.step()
        steps += 1
        if steps % 10 == 0:
            others(c, api, n)
            n += 1
        if rolls and steps % 40 == 20:
            c.kubectl('rollout', 'restart', 'deploy/calm')
        late = start + work.made * seconds / pods - time.monotonic()
        if late > 0:
            time.sleep(late * rng.uniform(0.5, 1.5))    # the random moment
        if time.monotonic() - start > told + every:
            told = time.monotonic() - start
            print('     %3d s, %d pods: %s' % (told, work.made, shown(memory(c))), flush=True)
    work.finish()
    took = time.monotonic() - start
    for path in ('services', 'configmaps', 'secrets'):
        if n:
            api.must('DELETE', PATH + '%s/other-%d' % (path, n - 1))
    c.kubectl('rollout', 'status', 'deploy/calm', '--timeout=60s')
    load.send_signal(2)
    out = load.communicate(timeout=30)[0]
    assert ' failed 0 ' in out, out
    eventually('all of it has gone', lambda: is_quiet(c, api), 90, 0.5)
    return took


def as_before(c, instance, before):
    def same():
        found = differences(before, looked_at(c, instance))
        assert not found, '\n'.join(found[:60])
        return True
    eventually('as before', same, size(20, 60), 1)


def leaves_nothing(c):
    rng = random.Random(seed())
    c.apply(SERVED)
    c.kubectl('rollout', 'status', 'deploy/calm', '--timeout=20s')
    instance = instance_here()
    churn(c, rng, len(SORTS) + 5, size(4, 20))          # what is made at its first use is there
    follower = subprocess.Popen([c.bin + '/kubectl', 'logs', '-f', 'deploy/calm'], env=c.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually('the relay is told of news in logs', lambda: any('inotify' in d for d in descriptors(c.role_pid('relay'), c.root)))
    follower.terminate()
    follower.wait()
    c.kubectl('scale', 'deploy/calm', '--replicas=3')
    before, was, open_before = looked_at(c, instance), memory(c), sockets(c)
    print('     before: ' + shown(was), flush=True)
    took = churn(c, rng, PODS, SECONDS)
    print('     %d pods in %d s' % (PODS, took), flush=True)
    print('     after: ' + shown(memory(c)), flush=True)
    as_before(c, instance, before)
    for role, n in sockets(c).items():
        assert n <= open_before[role] + KEPT_ALIVE, ('sockets of ' + role, n, open_before[role])
    if not SANITIZED:                                   # whose freed memory waits in quarantine
        eventually('memory as before (%s)' % shown(was),
                   lambda: all(now[r][1] <= was[r][1] + MEMORY[r] for now in [memory(c)] for r in was) or
                   (_ for _ in ()).throw(AssertionError(shown(memory(c)))), size(10, 60), 1)
    print('     and at last: ' + shown(memory(c)), flush=True)


if __name__ == '__main__':
    main([leaves_nothing], port=16743, args=['--set', 'compaction-seconds=%d' % KEPT, '--set', 'event-seconds=%d' % KEPT])
