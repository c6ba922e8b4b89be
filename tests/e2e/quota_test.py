#!/usr/bin/env python3
"""Quotas hold at every moment: many writers at once, quotas that change under them, a server that is killed in between; pods
that end and Deployments that wait for room; defaults of a LimitRange as the container has them."""
import random, signal, subprocess, threading, time
from lib import *
from informer_test import LOST, Api

PAUSE = "command: [sh, -c, 'trap \"exit 0\" TERM; sleep 1000000 & wait']"
MERGE = 'application/merge-patch+json'


def space(c, name):
    c.kubectl('create', 'namespace', name)
    eventually('the account of ' + name, lambda: c.get('serviceaccount', 'default', '-n', name), every=0.02)
    return '/api/v1/namespaces/%s/' % name


def quota(name, hard, **spec):
    return {'apiVersion': 'v1', 'kind': 'ResourceQuota', 'metadata': {'name': name}, 'spec': dict(spec, hard=hard)}


def config(name):
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name}}


def pod(name, container=None, **spec):
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name},
            'spec': dict(spec, schedulerName='nobody', automountServiceAccountToken=False, containers=[dict(container or {}, name='c', image='i')])}


def at_once(c, n, fn):
    """fn(Api, number) in n threads; what they returned."""
    out, apis, wrong = [None] * n, [Api(c) for _ in range(n)], []
    gate = threading.Barrier(n)

    def one(i):
        gate.wait()
        try:
            out[i] = fn(apis[i], i)
        except BaseException as e:
            wrong.append(e)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads: t.start()
    for t in threads: t.join()
    if wrong:
        raise wrong[0]
    return out


def used(api, path, name='q'):
    return api.must('GET', path + 'resourcequotas/' + name).get('status', {}).get('used', {})


def writers(c):
    path, api = space(c, 'writers'), Api(c)
    api.must('POST', path + 'resourcequotas', quota('q', {'configmaps': '8', 'pods': '7', 'requests.cpu': '70m'}))
    eventually('the quota is counted', lambda: used(api, path).get('configmaps') == '1')        # kube-root-ca.crt

    def one(api, i):
        what, body = ('configmaps', config('c%d' % i)) if i % 2 else ('pods', pod('p%d' % i, {'resources': {'requests': {'cpu': '10m'}}}))
        status, got = api.call('POST', path + what, body)
        assert status in (201, 403), got
        return what if status == 201 else got['message']
    got = at_once(c, 40, one)
    assert got.count('configmaps') == 7 and got.count('pods') == 7, got
    words = [m for m in got if 'exceeded quota: q, requested: configmaps=1, used: configmaps=8, limited: configmaps=8' in m]
    assert len(words) == 13, got
    assert used(api, path) == {'configmaps': '8', 'pods': '7', 'requests.cpu': '70m'}, used(api, path)
    # what goes is free at once for whoever comes then, and soon in the status
    start = time.monotonic()
    api.must('DELETE', path + 'pods', gracePeriodSeconds=0)
    assert api.call('POST', path + 'pods', pod('after', {'resources': {'requests': {'cpu': '70m'}}}))[0] == 201
    eventually('the status follows', lambda: used(api, path)['pods'] == '1', timeout=5, every=0.005)
    assert time.monotonic() - start < 1 * slowness(), time.monotonic() - start
    # kubectl's ways to make and to show one
    c.kubectl('create', 'quota', 'best', '--hard=pods=1', '--scopes=BestEffort', '-n', 'writers')
    c.kubectl('create', 'quota', 'size', '--hard=cpu=1,memory=1G,count/deployments.apps=0', '-n', 'writers')
    text = eventually('it is described', lambda: (lambda t: t if 'count/deployments.apps' in t and ' 0 ' in t else None)(c.kubectl('describe', 'quota', '-n', 'writers')))
    for line in ('Scopes:     BestEffort', 'pods          7     1', 'configmaps', 'Matches all pods that do not have resource requirements set'):
        assert re.search(line.replace('7     1', r'1\s+7'), text), text
    assert re.search(r'configmaps +8 +8', c.kubectl('describe', 'ns', 'writers')), c.kubectl('describe', 'ns', 'writers')
    assert re.search(r'q +.*configmaps: 8/8, pods: 1/7, requests.cpu: 70m/70m', c.kubectl('get', 'quota', '-n', 'writers'))


def truth(api, path):
    pods = [p for p in api.must('GET', path + 'pods')['items'] if p['status'].get('phase') not in ('Succeeded', 'Failed')]
    return {'configmaps': str(len(api.must('GET', path + 'configmaps')['items'])), 'pods': str(len(pods))}


def changed_under_writers_and_killed(c):
    """20 writers make and delete; the quota goes up and down; the server is killed. No answer is lost that was given, and at
    rest the status says the truth."""
    path, api = space(c, 'rough'), Api(c)
    api.must('POST', path + 'resourcequotas', quota('q', {'configmaps': '15', 'pods': '10'}))
    end = time.monotonic() + size(6, 60)
    peaks = []

    def again(call):
        while True:
            try:
                return call()
            except LOST:
                assert time.monotonic() < end + 40, 'the server does not come back'
                time.sleep(0.02)

    def one(api, i):
        rng, refused = random.Random(i), 0
        while time.monotonic() < end:
            what = rng.choice(['configmaps', 'pods'])
            name = 'n%d-%d' % (i, rng.randrange(3))
            if rng.random() < 0.6:
                status, got = again(lambda: api.call('POST', path + what, config(name) if what == 'configmaps' else pod(name)))
                refused += status == 403
                assert status in (201, 409, 401, 429, 500, 503) or (status == 403 and ('exceeded quota: q' in got['message'] or 'RBAC' in got['message'])), got
            elif what == 'pods' and rng.random() < 0.3:
                again(lambda: api.call('PATCH', path + 'pods/%s/status' % name, {'status': {'phase': 'Succeeded'}}, send=MERGE))
            else:
                again(lambda: api.call('DELETE', path + '%s/%s' % (what, name), gracePeriodSeconds=0))
        return refused

    def rule(api, i):
        hard = [15, 10]
        while time.monotonic() < end:
            time.sleep(0.2)
            hard = [random.randrange(5, 25), random.randrange(3, 15)]
            again(lambda: api.call('PATCH', path + 'resourcequotas/q', {'spec': {'hard': {'configmaps': str(hard[0]), 'pods': str(hard[1])}}}, send=MERGE))

    def kill(api, i):
        for _ in range(size(2, 20)):
            time.sleep(size(6, 60) / size(3, 21))
            os.kill(c.role_pid('server'), signal.SIGKILL)
            time.sleep(0.3)

    def look(api, i):
        """While nobody lowers it, no more is there than it allows: the highest bound that there ever was."""
        while time.monotonic() < end:
            try:
                peaks.append(truth(api, path))
            except (*LOST, AssertionError):
                pass                                            # it is away, or starts
            time.sleep(0.05)

    jobs = [one] * 20 + [rule, kill, look]
    got = at_once(c, len(jobs), lambda api, i: jobs[i](api, i))
    assert sum(got[:20]) > 0, got
    assert all(int(t['configmaps']) <= 25 and int(t['pods']) <= 15 for t in peaks) and len(peaks) > 10, peaks
    eventually('at rest the status says the truth', lambda: used(Api(c), path) == truth(Api(c), path), timeout=20)
    hard = {'configmaps': '50', 'pods': '50'}
    api = Api(c)
    api.must('PATCH', path + 'resourcequotas/q', {'spec': {'hard': hard}}, send=MERGE)
    assert api.must('GET', path + 'resourcequotas/q')['status'] == {'hard': hard, 'used': truth(api, path)}


def workloads_wait_for_room(c):
    """A Deployment and a Job that are refused say so, and go on as soon as there is room, whatever their back-off."""
    path, api = space(c, 'work'), Api(c)
    api.must('POST', path + 'resourcequotas', quota('q', {'pods': '2', 'count/deployments.apps': '2'}))
    flags = dict(ns='work')
    quick = '      terminationGracePeriodSeconds: 0'
    c.apply(deployment('web', 3, extra=quick), **flags)
    told = lambda: [x for x in c.get('deploy', 'web', '-n', 'work')['status'].get('conditions', []) if x['type'] == 'ReplicaFailure']
    text = eventually('the condition', told)[0]
    assert text['reason'] == 'FailedCreate' and 'exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2' in text['message'], text
    eventually('two run', lambda: c.get('deploy', 'web', '-n', 'work')['status'].get('readyReplicas') == 2)
    c.apply('''
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "%s", command: ["true"]}]
''' % IMAGE, **flags)
    eventually('an event of the Job', lambda: 'exceeded quota' in c.kubectl('get', 'events', '-n', 'work', '--field-selector', 'involvedObject.name=once'))
    why = c.wherry('why', 'deploy/web', '-n', 'work', check=False)
    assert 'quota q' in why and 'kubectl edit quota' in why.replace('resourcequota', 'quota'), why
    assert 'pods' in c.wherry('why', 'quota/q', '-n', 'work', check=False)
    time.sleep(size(2, 20))                                     # back-offs grow
    start = time.monotonic()
    api.must('PATCH', path + 'resourcequotas/q', {'spec': {'hard': {'pods': '4'}}}, send=MERGE)
    eventually('the third pod', lambda: c.get('deploy', 'web', '-n', 'work')['status'].get('replicas') == 3, every=0.02)
    eventually('the Job is done', lambda: c.get('job', 'once', '-n', 'work')['status'].get('succeeded') == 1, every=0.05)
    assert time.monotonic() - start < 5 * slowness(), time.monotonic() - start
    eventually('its pod uses nothing any more', lambda: used(api, path)['pods'] == '3', timeout=5)
    eventually('no condition any more', lambda: not told())


def limits_are_in_force(c):
    """Defaults of a LimitRange are what the container has in its cgroup; what is out of bounds is refused in one message."""
    space(c, 'limits')
    c.apply('''
apiVersion: v1
kind: LimitRange
metadata: {name: l}
spec:
  limits:
  - type: Container
    default: {memory: 48Mi, cpu: 500m}
    defaultRequest: {memory: 16Mi, cpu: 20m}
    max: {memory: 64Mi}
    maxLimitRequestRatio: {memory: "4"}
''', ns='limits')
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "%s", %s}]
''' % (IMAGE, PAUSE), ns='limits')
    c.kubectl('wait', '--for=condition=Ready', 'pod/a', '-n', 'limits', '--timeout=30s')
    p = c.get('pod', 'a', '-n', 'limits')
    assert p['metadata']['annotations']['kubernetes.io/limit-ranger'] == 'LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c', p
    assert p['spec']['containers'][0]['resources'] == {'limits': {'cpu': '500m', 'memory': '48Mi'}, 'requests': {'cpu': '20m', 'memory': '16Mi'}}, p
    have = c.kubectl('exec', 'a', '-n', 'limits', '--', 'sh', '-c', 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true')
    assert have.split()[0] == str(48 << 20), have
    try:
        c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: b}
spec:
  containers: [{name: c, image: i, resources: {limits: {memory: 1Gi}, requests: {memory: 1Mi}}}]
''', ns='limits')
        raise Exception('it was taken')
    except AssertionError as e:
        assert '[maximum memory usage per Container is 64Mi, but limit is 1Gi, memory max limit to request ratio per Container is 4, but provided ratio is 1024.000000]' in str(e), e
    assert re.search(r'Container +memory +- +64Mi +16Mi +48Mi +4', c.kubectl('describe', 'limits', 'l', '-n', 'limits')), c.kubectl('describe', 'limits', '-n', 'limits')
    # a Deployment that a quota refuses for what it does not say goes on when a LimitRange says it
    space(c, 'silent')
    c.kubectl('create', 'quota', 'q', '--hard=limits.memory=1Gi', '-n', 'silent')
    eventually('it is counted', lambda: c.get('quota', 'q', '-n', 'silent')['status'].get('used'))
    c.apply(deployment('web', 1, extra='      terminationGracePeriodSeconds: 0'), ns='silent')
    eventually('it is refused', lambda: 'must specify limits.memory for: web' in str(c.get('rs', '-n', 'silent')['items'][0]['status']))
    time.sleep(1)
    start = time.monotonic()
    c.apply('{"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "default": {"memory": "32Mi"}}]}}', ns='silent')
    eventually('its pod comes', lambda: c.get('deploy', 'web', '-n', 'silent')['status'].get('replicas') == 1, every=0.02)
    assert time.monotonic() - start < 3 * slowness(), time.monotonic() - start


def a_namespace_refuses_pods(c):
    """What its Pod Security Standard forbids is said, and comes when the standard lets it in."""
    space(c, 'secure')
    c.kubectl('label', 'namespace', 'secure', 'pod-security.kubernetes.io/enforce=baseline', 'pod-security.kubernetes.io/warn=restricted')
    told = subprocess.run([c.bin + '/kubectl', 'create', '-n', 'secure', '-f', '-'], env=c.env, text=True, capture_output=True,
                          input=deployment('web', 1, extra='      terminationGracePeriodSeconds: 0\n      hostIPC: true'))
    assert told.returncode == 0 and 'Warning: would violate PodSecurity "restricted:latest": host namespaces (hostIPC=true), allowPrivilegeEscalation != false' in told.stderr, told
    eventually('it is refused', lambda: 'violates PodSecurity "baseline:latest": host namespaces (hostIPC=true)' in str(c.get('rs', '-n', 'secure')['items'][0]['status']))
    why = c.wherry('why', 'deploy/web', '-n', 'secure', check=False)
    assert 'enforces the Pod Security Standard baseline:latest' in why and 'hostIPC=true' in why, why
    time.sleep(1)
    start = time.monotonic()
    c.kubectl('label', 'namespace', 'secure', 'pod-security.kubernetes.io/enforce=privileged', '--overwrite')
    eventually('its pod comes', lambda: c.get('deploy', 'web', '-n', 'secure')['status'].get('replicas') == 1, every=0.02)
    assert time.monotonic() - start < 3 * slowness(), time.monotonic() - start


def definitions_are_counted(c):
    """Objects of a definition count, and so do those of one that comes after its quota."""
    path, api = space(c, 'defined'), Api(c)
    api.must('POST', path + 'resourcequotas', quota('q', {'count/berths.example.com': '1'}))
    eventually('nobody counts them yet', lambda: api.must('GET', path + 'resourcequotas/q')['status'].get('hard'))
    assert used(api, path) == {}
    c.apply('''
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: berths.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: berths, singular: berth, kind: Berth, listKind: BerthList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
''')
    eventually('now they do', lambda: used(api, path) == {'count/berths.example.com': '0'})
    berth = lambda n: {'apiVersion': 'example.com/v1', 'kind': 'Berth', 'metadata': {'name': n}}
    where = '/apis/example.com/v1/namespaces/defined/berths'
    eventually('one is made', lambda: api.call('POST', where, berth('a'))[0] == 201)
    assert used(api, path) == {'count/berths.example.com': '1'}
    status, got = api.call('POST', where, berth('b'))
    assert status == 403 and got['message'] == 'berths.example.com "b" is forbidden: exceeded quota: q, requested: count/berths.example.com=1, used: count/berths.example.com=1, limited: count/berths.example.com=1', got
    status, got = api.call('PATCH', where + '/b', berth('b'), send='application/apply-patch+yaml', fieldManager='t')
    assert status == 403 and 'exceeded quota' in got['message'], got


if __name__ == '__main__':
    main([writers, definitions_are_counted, a_namespace_refuses_pods, limits_are_in_force, workloads_wait_for_room, changed_under_writers_and_killed])
