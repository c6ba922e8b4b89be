#!/usr/bin/env python3
"""Pods that get more or less while they run: what a container sees of it from inside, what waits for room, what is refused,
what is restarted for it, and that none of it is forgotten when the node role ends in the midst."""
import concurrent.futures, glob
from lib import *
from restart_test import Mortal

GROUP = ''
SEEN = '''cd /sys/fs/cgroup
if [ -e memory.max ]; then cat memory.max; read q p < cpu.max; echo $q; cat cpu.weight
else cat memory/memory.limit_in_bytes cpu*/cpu.cfs_quota_us cpu*/cpu.shares; fi'''


def pod(name, resources, container='', more='', spec='', command='sleep 1000000'):
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
{spec}
  containers:
  - name: c
    image: {IMAGE}
    command: [sh, -c, "{command}"]
    resources: {{{resources}}}
{container}
{more}'''


def bounds(c, name, container='c'):
    """Memory, CPU quota and shares, as the container reads them; None: no limit."""
    words = c.kubectl('exec', name, '-c', container, '--', 'sh', '-c', SEEN).split()
    memory, quota = [None if w in ('max', '-1') or int(w) > 1 << 60 else int(w) for w in words[:2]]
    return memory, quota, int(words[2])


def is_ready(c, *names):
    for name in names:
        p = c.get('pod', name)
        if not any(x['type'] == 'Ready' and x['status'] == 'True' for x in p['status'].get('conditions', [])):
            return False
    return True


def resize(c, name, body):
    c.kubectl('patch', 'pod', name, '--subresource', 'resize', '-p', json.dumps({'spec': body}))


def container(requests=None, limits=None, name='c'):
    return {'containers': [{'name': name, 'resources': {k: v for k, v in (('requests', requests), ('limits', limits)) if v}}]}


def condition(c, name, kind):
    return next((x for x in c.get('pod', name)['status'].get('conditions', []) if x['type'] == kind), None)


def is_done(c, name):
    p = c.get('pod', name)
    return p['status'].get('observedGeneration') == p['metadata']['generation'] and not any(
        x['type'].startswith('PodResize') for x in p['status']['conditions']) and p


def status_of(p, name='c'):
    return next(s for s in p['status']['containerStatuses'] if s['name'] == name)


def events(c, name):
    return [e['reason'] for e in c.get('events', '--field-selector', 'involvedObject.name=' + name)['items']]


def up_and_down(c):
    c.apply(pod('moves', 'requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}'))
    eventually('it runs', lambda: is_ready(c, 'moves'), 30)
    assert bounds(c, 'moves')[:2] == (64 << 20, 20000), bounds(c, 'moves')
    small = bounds(c, 'moves')[2]
    resize(c, 'moves', container({'cpu': '200m', 'memory': '64Mi'}, {'cpu': '500m', 'memory': '128Mi'}))
    p = eventually('it grew', lambda: is_done(c, 'moves'))
    assert bounds(c, 'moves')[:2] == (128 << 20, 50000) and bounds(c, 'moves')[2] > small, bounds(c, 'moves')
    s = status_of(p)
    assert s['restartCount'] == 0 and s['allocatedResources'] == {'cpu': '200m', 'memory': '64Mi'}, s
    assert s['resources'] == {'requests': {'cpu': '200m', 'memory': '64Mi'}, 'limits': {'cpu': '500m', 'memory': '128Mi'}}, s
    assert p['status']['resources']['limits'] == {'cpu': '500m', 'memory': '128Mi'}, p['status']
    resize(c, 'moves', container({'cpu': '50m', 'memory': '16Mi'}, {'cpu': '100m', 'memory': '48Mi'}))
    p = eventually('it shrank', lambda: is_done(c, 'moves'))
    assert bounds(c, 'moves')[:2] == (48 << 20, 10000) and bounds(c, 'moves')[2] <= small, bounds(c, 'moves')
    assert status_of(p)['restartCount'] == 0
    told = eventually('each is told', lambda: (lambda r: r.count('ResizeCompleted') == 2 and r)(events(c, 'moves')))
    assert told.count('ResizeStarted') == 2, told


def held_back(c):
    """What a CPU limit does to a container that wants more is said by wherry why."""
    c.apply(pod('busy', 'limits: {cpu: 20m}', command='while :; do :; done'))
    eventually('it runs', lambda: is_ready(c, 'busy'), 30)
    told = eventually('it is told', lambda: (lambda t: 'held back' in t and t)(why(c, 'busy')))
    assert re.search(r'is ready, but its container c is held back by its CPU limit of 20m in \d+ % of its time', told), told


def below_what_is_used(c):
    """A limit is not put below what is used: it is said, and what was wanted instead is done at once."""
    c.apply(pod('full', 'requests: {memory: 8Mi}, limits: {memory: 96Mi}', spec='  volumes: [{name: m, emptyDir: {medium: Memory}}]',
                container='    volumeMounts: [{name: m, mountPath: /m}]',
                command='head -c 41943040 /dev/zero > /m/f; touch /ok; sleep 1000000'))
    eventually('it has filled its volume', lambda: is_ready(c, 'full') and c.kubectl(
        'exec', 'full', '--', 'ls', '/ok'), 30)
    resize(c, 'full', container({}, {'memory': '20Mi'}))
    told = eventually('it is told', lambda: (lambda x: x and x.get('reason') == 'Error' and x)(
        condition(c, 'full', 'PodResizeInProgress')))
    assert 'memory limit (%d) below current usage' % (20 << 20) in told['message'], told
    assert bounds(c, 'full')[0] == 96 << 20
    assert status_of(c.get('pod', 'full'))['resources']['limits'] == {'memory': '96Mi'}
    resize(c, 'full', container({}, {'memory': '112Mi'}))
    eventually('and back', lambda: is_done(c, 'full'))
    assert bounds(c, 'full')[0] == 112 << 20 and 'ResizeError' in events(c, 'full')


def restarted_for_it(c):
    c.apply(pod('again', 'requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}',
                '    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]', f'''
  - name: stays
    image: {IMAGE}
    command: [sleep, "1000000"]
    resources: {{limits: {{cpu: 50m, memory: 16Mi}}}}'''))
    eventually('it runs', lambda: is_ready(c, 'again'), 30)
    resize(c, 'again', container({}, {'cpu': '150m'}))
    p = eventually('its cpu', lambda: is_done(c, 'again'))
    assert status_of(p)['restartCount'] == 0 and bounds(c, 'again')[1] == 15000
    resize(c, 'again', container({}, {'memory': '64Mi'}))
    p = eventually('its memory', lambda: is_done(c, 'again'))
    assert status_of(p)['restartCount'] == 1 and status_of(p, 'stays')['restartCount'] == 0, p['status']
    eventually('it is ready', lambda: is_ready(c, 'again'))
    assert bounds(c, 'again')[:2] == (64 << 20, 15000)
    said = [e['message'] for e in c.get('events', '--field-selector', 'involvedObject.name=again,reason=Killing')['items']]
    assert said == ['Container c resize requires restart'], said
    resize(c, 'again', container({'memory': '24Mi'}))       # no group has it
    eventually('what it asks for', lambda: is_done(c, 'again') and status_of(c.get('pod', 'again'))['restartCount'] == 2)


def of_an_init_container(c):
    """Also what runs to its end is resized while it runs."""
    c.apply(pod('first', 'requests: {cpu: 50m}', spec=f'''  initContainers:
  - {{name: i, image: {IMAGE}, command: [sleep, "1000000"], resources: {{limits: {{cpu: 100m, memory: 32Mi}}}}}}'''))
    eventually('it runs', lambda: 'running' in c.get('pod', 'first')['status']['initContainerStatuses'][0]['state'], 30)
    resize(c, 'first', {'initContainers': container({'cpu': '200m'}, {'cpu': '200m', 'memory': '48Mi'}, 'i')['containers']})
    eventually('it grew', lambda: bounds(c, 'first', 'i')[:2] == (48 << 20, 20000) and is_done(c, 'first'))


def as_a_whole(c):
    """What is said for the pod bounds its group, and what its containers do not say themselves."""
    c.apply(pod('whole', '', spec='  resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 300m, memory: 64Mi}}',
                container='''    env:
    - {name: MOST, valueFrom: {resourceFieldRef: {resource: limits.memory}}}'''))
    eventually('it runs', lambda: is_ready(c, 'whole'), 30)
    p = c.get('pod', 'whole')
    assert p['status']['qosClass'] == 'Burstable' and p['status']['resources']['limits'] == {'cpu': '300m', 'memory': '64Mi'}, p['status']
    assert c.kubectl('exec', 'whole', '--', 'sh', '-c', 'echo $MOST').strip() == str(64 << 20)
    assert group(c, p) == (64 << 20, 30000), group(c, p)
    assert bounds(c, 'whole')[:2] == (64 << 20, 30000), bounds(c, 'whole')
    resize(c, 'whole', {'resources': {'requests': {'cpu': '150m'}, 'limits': {'cpu': '400m', 'memory': '96Mi'}}})
    p = eventually('it grew', lambda: is_done(c, 'whole'))
    assert group(c, p) == (96 << 20, 40000), group(c, p)
    assert bounds(c, 'whole')[:2] == (96 << 20, 40000), bounds(c, 'whole')
    assert p['status']['allocatedResources'] == {'cpu': '150m', 'memory': '32Mi'}, p['status']


def group(c, p):
    """Memory and quota of the pod's own group, on the host."""
    def text(*files):
        for f in files:
            for path in glob.glob(f):
                with open(path) as opened:
                    return opened.read().split()[0]
        assert False, files
    at = '/sys/fs/cgroup%s/wherry*/**/pod' + p['metadata']['uid']
    memory = text(*[g % m + f for g, m, f in ((at, '/memory', '/memory.limit_in_bytes'), (at, '', '/memory.max'))])
    quota = text(*[g % m + f for g, m, f in ((at, '/cpu,cpuacct', '/cpu.cfs_quota_us'), (at, '/cpu', '/cpu.cfs_quota_us'), (at, '', '/cpu.max'))])
    return int(memory), int(quota)


def waits_for_room(c):
    """Deferred, across an end of the node role; done when another pod leaves. What could never be had is refused at once."""
    c.kubectl('delete', 'pods', '--all')            # of those before: it takes most of two processors
    has = int(c.get('nodes')['items'][0]['status']['allocatable']['cpu'][:-1])
    big = has - sum(map(cpu_asked, c.get('pods')['items'])) - 500
    c.apply(pod('big', 'requests: {cpu: %dm}' % (big - 100)) + pod('small', 'requests: {cpu: 100m}, limits: {cpu: "%dm"}' % has))
    eventually('both run', lambda: is_ready(c, 'big', 'small'), 30)
    try:
        resize(c, 'small', container({'cpu': '%dm' % (has + 1)}, {'cpu': '%dm' % (has + 1)}))
        assert False, 'taken'
    except AssertionError as e:
        assert 'node didn\'t have enough allocatable resources: cpu, requested: %d, allocatable: %d' % (
            has + 1, has) in str(e), e
    resize(c, 'small', container({'cpu': '%dm' % (big - 50)}))
    told = eventually('it waits', lambda: condition(c, 'small', 'PodResizePending'))
    assert told['reason'] == 'Deferred' and told['message'].startswith('Node didn\'t have enough resource: cpu, requested: %d' % (big - 50)), told
    before = bounds(c, 'small')
    end_role(c)
    eventually('it still waits', lambda: condition(c, 'small', 'PodResizePending'))
    assert 'its resize waits for room on node' in why(c, 'small'), why(c, 'small')
    assert bounds(c, 'small') == before and status_of(c.get('pod', 'small'))['allocatedResources']['cpu'] == '100m'
    c.kubectl('delete', 'pod', 'big', '--wait=false')
    p = eventually('it has got it', lambda: is_done(c, 'small'))
    assert milli(status_of(p)['allocatedResources']['cpu']) == big - 50 and bounds(c, 'small')[2] > before[2]
    assert status_of(p)['restartCount'] == 0
    assert events(c, 'small').count('ResizeDeferred') == 1, events(c, 'small')


def kernel(c, path, *files):
    """The first of the files that a group has, on whatever version of cgroups; path: below all pods' group."""
    for f in files:
        for hierarchy in ('/memory', '/cpu,cpuacct', '/cpu', '/pids', ''):
            for found in glob.glob('/sys/fs/cgroup%s/wherry-*%s/%s' % (hierarchy, path, f)) + glob.glob(
                    '/sys/fs/cgroup%s/wherry-pods.service/wherry-*%s/%s' % (hierarchy, path, f)):
                if GROUP in found:
                    with open(found) as opened:
                        return opened.read().split()[0]
    raise FileNotFoundError(files)


def weight(shares):
    """A file's value of so many shares: they are a weight on v2."""
    v2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
    return str(1 + (shares - 2) * 9999 // 262142 if v2 else shares)


def groups_by_class(c):
    """Pods together have no more than is not reserved; burstable ones as much CPU as they ask for together."""
    global GROUP
    node = c.get('nodes')['items'][0]['status']
    kib = lambda q: int(q[:-2])
    cpus = int(node['capacity']['cpu'])
    assert node['allocatable']['cpu'] == '%dm' % (cpus * 1000 - 150), node
    huge = sum(int(node['capacity']['hugepages-' + size].rstrip('KMGi')) * unit for size, unit in (('2Mi', 1024), ('1Gi', 1024 * 1024)))
    assert kib(node['capacity']['memory']) - huge - kib(node['allocatable']['memory']) == (100 + 96) * 1024, node
    assert int(node['allocatable']['ephemeral-storage']) <= kib(node['capacity']['ephemeral-storage']) * 1024 * 9 // 10 - (1 << 20) + 8192, node
    c.apply(pod('classes', 'requests: {cpu: 250m}'))
    eventually('it runs', lambda: is_ready(c, 'classes'), 30)
    uid = c.get('pod', 'classes')['metadata']['uid']
    at = glob.glob('/sys/fs/cgroup/**/pod' + uid, recursive=True)[0]
    GROUP = re.search(r'/(wherry-[^/.]+)/burstable/', at).group(1)
    whole = int(kernel(c, '', 'memory.limit_in_bytes', 'memory.max'))
    assert abs(whole - (kib(node['capacity']['memory']) - huge - 96 * 1024) * 1024) < 4096, whole
    assert int(kernel(c, '', 'pids.max')) > 1000
    assert kernel(c, '/besteffort', 'cpu.shares', 'cpu.weight') == weight(2)
    sum_of = lambda: sum(cpu_asked(p) for p in c.get('pods')['items'] if p['status']['qosClass'] == 'Burstable')
    eventually('their sum', lambda: kernel(c, '/burstable', 'cpu.shares', 'cpu.weight') == weight(sum_of() * 1024 // 1000))
    resize(c, 'classes', container({'cpu': '500m'}))
    eventually('their new sum', lambda: is_done(c, 'classes') and
               kernel(c, '/burstable', 'cpu.shares', 'cpu.weight') == weight(sum_of() * 1024 // 1000))
    c.kubectl('delete', 'pod', 'classes', '--wait=false')
    eventually('and without it', lambda: kernel(c, '/burstable', 'cpu.shares', 'cpu.weight') == weight(max(2, sum_of() * 1024 // 1000)))


def milli(q):
    return int(q[:-1]) if q.endswith('m') else 1000 * int(q)


def cpu_asked(p):
    """In thousandths: by all that run at a time, sidecars as long as the pod, other init containers before the rest."""
    asked = lambda r: milli(r.get('requests', {}).get('cpu', '0'))
    sides = most = 0
    for x in p['spec'].get('initContainers', []):
        if x.get('restartPolicy') == 'Always':
            sides += asked(x['resources'])
        most = max(most, sides + (0 if x.get('restartPolicy') == 'Always' else asked(x['resources'])))
    return asked(p['spec'].get('resources', {})) or max(most, sides + sum(asked(x['resources']) for x in p['spec']['containers']))


def why(c, name):
    return c.wherry('why', 'pod', name, check=False)


def wherever_the_role_ends(c):
    """What it has begun is carried on by the next one: nothing is forgotten, nothing is started anew."""
    c.apply(pod('survives', 'requests: {cpu: 20m, memory: 16Mi}, limits: {cpu: 50m, memory: 32Mi}'))
    eventually('it runs', lambda: is_ready(c, 'survives'), 30)
    for i, place in enumerate(('node.before.RESIZE', 'node.after.RESIZE', 'node.saw.resized')):
        was = c.role_pid('node')
        c.die_at(place)
        resize(c, 'survives', container({'cpu': '%dm' % (30 + i)}, {'cpu': '%dm' % (60 + i), 'memory': '%dMi' % (40 + i)}))
        eventually('it ended at ' + place, lambda: c.died() and c.role_pid('node') not in (None, was))
        c.live()
        p = eventually('done after ' + place, lambda: is_done(c, 'survives'))
        eventually('the node is reached again', lambda: 'here' in c.kubectl('exec', 'survives', '--', 'echo', 'here', check=False))
        assert bounds(c, 'survives')[:2] == (40 + i << 20, 6000 + 100 * i), (place, bounds(c, 'survives'))
        s = status_of(p)
        assert s['restartCount'] == 0 and s['resources']['limits'] == {'cpu': '%dm' % (60 + i), 'memory': '%dMi' % (40 + i)}, s


def end_role(c):
    was = c.role_pid('node')
    os.kill(was, signal.SIGKILL)
    eventually('the role is there again', lambda: c.role_pid('node') not in (None, was))


def many(c):
    """Containers that grow beside others that shrink or get their first limits, a sidecar among them; by every way to write it."""
    rows = [('a', {'cpu': '100m', 'memory': '16Mi'}, {'cpu': '200m', 'memory': '32Mi'}, {'cpu': '150m', 'memory': '24Mi'}, {'cpu': '300m', 'memory': '48Mi'}),
            ('b', {'cpu': '100m', 'memory': '24Mi'}, {'cpu': '200m', 'memory': '48Mi'}, {'cpu': '50m', 'memory': '16Mi'}, {'cpu': '100m', 'memory': '24Mi'}),
            ('d', {}, {}, {'cpu': '20m', 'memory': '8Mi'}, {'cpu': '40m', 'memory': '16Mi'}),
            ('e', {'cpu': '20m'}, {}, {'cpu': '20m'}, {'cpu': '50m'}),
            ('f', {'cpu': '2m'}, {'cpu': '10m'}, {'cpu': '1m'}, {'cpu': '5m'})]       # less than the kernel can tell apart
    resources = lambda requests, limits: {k: v for k, v in (('requests', requests), ('limits', limits)) if v}
    body = yaml_pod('many', [(n, resources(r, l)) for n, r, l, _, _ in rows], resources({'cpu': '20m'}, {'cpu': '50m'}))
    c.kubectl('create', '-f', '-', input=json.dumps(body))
    eventually('all run', lambda: is_ready(c, 'many'), 30)
    p = c.get('pod', 'many')
    for x in p['spec']['containers']:
        x['resources'] = next(resources(r, l) for n, _, _, r, l in rows if n == x['name'])
    p['spec']['initContainers'][0]['resources'] = {'requests': {'cpu': '30m'}, 'limits': {'cpu': '60m'}}
    c.kubectl('replace', '--subresource', 'resize', '-f', '-', input=json.dumps(p))
    p = eventually('all are as wanted', lambda: is_done(c, 'many'))
    for name, _, _, requests, limits in rows:
        s = status_of(p, name)
        assert (s['restartCount'], s['resources']) == (0, resources(requests, limits)) and s['allocatedResources'] == requests, (s, name)
        memory, quota, _ = bounds(c, 'many', name)
        assert quota == max(milli(limits['cpu']), 10) * 100, (name, quota)
        assert memory == (int(limits['memory'][:-2]) << 20 if 'memory' in limits else None), (name, memory)
    assert bounds(c, 'many', 'side')[1] == 6000 and p['status']['initContainerStatuses'][0]['resources']['limits'] == {'cpu': '60m'}
    applied = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'many'}, 'spec': {'containers': [
        {'name': 'e', 'resources': {'requests': {'cpu': '25m'}, 'limits': {'cpu': '70m'}}}]}}
    c.kubectl('apply', '--server-side', '--force-conflicts', '--subresource', 'resize', '-f', '-', input=json.dumps(applied))
    eventually('as applied', lambda: is_done(c, 'many') and bounds(c, 'many', 'e')[1] == 7000)
    fields = [m for m in c.get('pod', 'many', '--show-managed-fields')['metadata']['managedFields'] if m.get('subresource') == 'resize']
    assert {m['operation'] for m in fields} == {'Apply', 'Update'}, fields
    run([c.bin + '/kubectl', 'edit', 'pod', 'many', '--subresource', 'resize'], env=dict(c.env, KUBE_EDITOR="sed -i 's/cpu: 70m/cpu: 80m/'"))
    eventually('as edited', lambda: is_done(c, 'many') and bounds(c, 'many', 'e')[1] == 8000)


def yaml_pod(name, containers, sidecar):
    sleeper = lambda n, r: {'name': n, 'image': IMAGE, 'command': ['sleep', '1000000'], 'resources': r}
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {
        'terminationGracePeriodSeconds': 0, 'initContainers': [dict(sleeper('side', sidecar), restartPolicy='Always')],
        'containers': [sleeper(n, r) for n, r in containers]}}


def all_at_once(c):
    tests = (up_and_down, below_what_is_used, restarted_for_it, of_an_init_container, as_a_whole, many, held_back)
    with concurrent.futures.ThreadPoolExecutor(len(tests)) as pool:
        for done in [pool.submit(t, c) for t in tests]:
            done.result()


if __name__ == '__main__':
    main([all_at_once, groups_by_class, waits_for_room, wherever_the_role_ends], cluster=Mortal,
         args=['--set', 'system-reserved=cpu=100m,memory=64Mi,pid=100', '--set', 'kube-reserved=cpu=50m,memory=32Mi,ephemeral-storage=1Mi'])
