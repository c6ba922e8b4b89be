#!/usr/bin/env python3
"""What Jobs, CronJobs, StatefulSets, DaemonSets and claims cost, each figure beside a peer or a floor of the same run (as
root; in namespaces of its own).

    make bench-jobs                      all of it, some minutes
    bench/jobs_bench.py WORD...          the sections whose name holds a word: jobs cron binding idle change

A line is: figure, its value, and after "=" how many times the peer that is a fact of the same run."""
import datetime, json, os, re, statistics, sys, threading, time

from cluster_bench import MS, Api, cpu_ms, crun_alone, eventually, is_ready, lib, roles, run, show, spread, written

BATCH = '/apis/batch/v1/namespaces/default/'
APPS = '/apis/apps/v1/namespaces/default/'
CORE = '/api/v1/namespaces/default/'
MERGE = 'application/merge-patch+json'


def template(image=lib.IMAGE, command=('true',), policy='Never', **more):
    return {'metadata': {'labels': {'app': 'bench'}}, 'spec': {
        'restartPolicy': policy, 'terminationGracePeriodSeconds': 0, 'automountServiceAccountToken': False,
        'containers': [{'name': 'c', 'image': image, 'command': list(command)}], **more}}


def job(name, **spec):
    return {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': name}, 'spec': {'template': template(), **spec}}


def has(o, kind):
    return any(x['type'] == kind and x['status'] == 'True' for x in o.get('status', {}).get('conditions', []))


def remove_all(api, path):
    """And waits until they are gone."""
    api.call('DELETE', path, {'propagationPolicy': 'Background', 'gracePeriodSeconds': 0})
    eventually('%s is empty' % path, lambda: not api.call('GET', path)['items'], 120)
    eventually('its pods are gone', lambda: not api.call('GET', CORE + 'pods')['items'], 120)


def jobs(c, api, n=int(os.environ.get('BENCH_JOBS', '500'))):
    """Jobs of one pod each, made at once, until all are complete; beside crun alone, one container after the other."""
    api.call('POST', APPS + 'deployments', {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'keeps'}, 'spec': {
        'selector': {'matchLabels': {'app': 'keeps'}}, 'template': {'metadata': {'labels': {'app': 'keeps'}}, 'spec': {
            'containers': [{'name': 'web', 'image': lib.IMAGE}]}}}})
    eventually('a pod to look at', lambda: [p for p in api.call('GET', CORE + 'pods')['items'] if is_ready(p)])
    alone = crun_alone(c, 50, 0)
    peer = 50 * MS / sum(alone)
    remove_all(api, APPS + 'deployments')
    one = []
    for i in range(9):
        w, began = api.watch(BATCH + 'jobs'), time.monotonic()
        api.call('POST', BATCH + 'jobs', job('one%d' % i))
        at, _ = w.until(lambda kind, o: o['metadata']['name'] == 'one%d' % i and has(o, 'Complete'))
        one.append((at - began) * MS)
        w.close()
    show('POST of a Job to Complete', statistics.median(one), 'ms', statistics.median(alone), 'crun create+start', spread(one))
    remove_all(api, BATCH + 'jobs')
    server, before = [c.role_pid('server')], writes(api)
    cpu, w, began = cpu_ms(server), api.watch(BATCH + 'jobs'), time.monotonic()
    for i in range(n):
        api.call('POST', BATCH + 'jobs', job('many%d' % i))
    made, done = time.monotonic(), set()
    while len(done) < n:
        at, o = w.until(lambda kind, o: has(o, 'Complete') and o['metadata']['name'] not in done)
        done.add(o['metadata']['name'])
    took = at - began
    w.close()
    show('%d Jobs to Complete' % n, n / took, 'pods/s', peer, 'a loop of crun', 'made in %.1f s' % (made - began))
    show('  writes for one of them', (writes(api) - before) / n, '', more='its pod, events and status among them')
    show('  CPU of the server for one of them', (cpu_ms(server) - cpu) / n, 'ms')
    start = time.monotonic()
    remove_all(api, BATCH + 'jobs')
    show('  and all of them deleted', n / (time.monotonic() - start), 'Jobs/s')


def cron(c, api, n=10):
    """CronJobs of every minute: from the minute to the Job that was made, and to its pod that runs."""
    for i in range(n):
        api.call('POST', BATCH + 'cronjobs', {'apiVersion': 'batch/v1', 'kind': 'CronJob', 'metadata': {'name': 'tick%d' % i}, 'spec': {
            'schedule': '* * * * *', 'jobTemplate': {'spec': {'template': template(command=('sleep', '5'))}}}})
    late, running = [], []
    jw, pw = api.watch(BATCH + 'jobs'), api.watch(CORE + 'pods')
    def minute(clock):
        return clock - clock // 60 * 60
    started = set()
    while len(late) < n:
        _, o = jw.until(lambda kind, o: kind == 'ADDED')
        late.append(minute(time.time()) * MS)
    while len(running) < n:
        _, o = pw.until(lambda kind, o: o['status'].get('phase') == 'Running' and o['metadata']['name'] not in started)
        started.add(o['metadata']['name'])
        running.append(minute(time.time()) * MS)
    jw.close(), pw.close()
    show('a minute to its %d Jobs, the last one' % n, max(late), 'ms', more=spread(late))
    show('a minute to its pods running, the last one', max(running), 'ms', more=spread(running))
    remove_all(api, BATCH + 'cronjobs')


def volume(name, **more):
    return {'apiVersion': 'v1', 'kind': 'PersistentVolume', 'metadata': {'name': name}, 'spec': {
        'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'storageClassName': 'by-hand',
        'hostPath': {'path': '/tmp'}, **more}}


def binding(c, api, rounds=15):
    """A claim that waits, from the POST of the volume that suits it to Bound; beside one write and its event."""
    took, floor = [], []
    for i in range(rounds):
        api.call('POST', CORE + 'persistentvolumeclaims', {
            'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': 'claim%d' % i}, 'spec': {
                'accessModes': ['ReadWriteOnce'], 'storageClassName': 'by-hand', 'resources': {'requests': {'storage': '1Gi'}}}})
        time.sleep(0.1)
        w, began = api.watch(CORE + 'persistentvolumeclaims'), time.monotonic()
        api.call('POST', '/api/v1/persistentvolumes', volume('volume%d' % i))
        at, _ = w.until(lambda kind, o: o['metadata']['name'] == 'claim%d' % i and o['status'].get('phase') == 'Bound')
        took.append((at - began) * MS)
        began = time.monotonic()
        api.call('PATCH', CORE + 'persistentvolumeclaims/claim%d' % i, {'metadata': {'labels': {'x': 'y'}}}, MERGE)
        at, _ = w.until(lambda kind, o: o['metadata'].get('labels', {}).get('x') == 'y')
        floor.append((at - began) * MS)
        w.close()
    show('POST of a volume to its claim Bound', statistics.median(took), 'ms', statistics.median(floor), 'a write and its event', spread(took))
    api.call('DELETE', CORE + 'persistentvolumeclaims')
    api.call('DELETE', '/api/v1/persistentvolumes')


def writes(api):
    h = api.connection()
    h.request('GET', '/metrics')
    return float(re.search(r'^wherry_store_writes_total (\S+)', h.getresponse().read().decode(), re.M).group(1))


def idle(c, api, seconds=float(os.environ.get('BENCH_IDLE', '20'))):
    """With ten objects of each of the kinds, all as they are wished."""
    for i in range(10):
        api.call('POST', BATCH + 'jobs', job('rests%d' % i))
        api.call('POST', BATCH + 'cronjobs', {'apiVersion': 'batch/v1', 'kind': 'CronJob', 'metadata': {'name': 'rests%d' % i}, 'spec': {
            'schedule': '0 0 1 1 *', 'jobTemplate': {'spec': {'template': template()}}}})
        labels = {'app': 'rests%d' % i}
        pods = template(command=('sleep', '100000'), policy='Always')
        pods['metadata']['labels'] = labels
        api.call('POST', APPS + 'statefulsets', {'apiVersion': 'apps/v1', 'kind': 'StatefulSet', 'metadata': {'name': 'rests%d' % i}, 'spec': {
            'serviceName': 'none', 'selector': {'matchLabels': labels}, 'template': pods}})
        api.call('POST', APPS + 'daemonsets', {'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'metadata': {'name': 'rests%d' % i}, 'spec': {
            'selector': {'matchLabels': labels}, 'template': pods}})
        api.call('POST', CORE + 'persistentvolumeclaims', {
            'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': 'rests%d' % i}, 'spec': {
                'accessModes': ['ReadWriteOnce'], 'storageClassName': 'by-hand', 'resources': {'requests': {'storage': '1Gi'}}}})
        api.call('POST', '/api/v1/persistentvolumes', volume('rests%d' % i))
        api.call('POST', '/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
            'apiVersion': 'policy/v1', 'kind': 'PodDisruptionBudget', 'metadata': {'name': 'rests%d' % i}, 'spec': {
                'maxUnavailable': 1, 'selector': {'matchLabels': labels}}})
        api.call('POST', CORE + 'resourcequotas', {'apiVersion': 'v1', 'kind': 'ResourceQuota', 'metadata': {'name': 'rests%d' % i}, 'spec': {
            'hard': {'pods': '100'}}})
    eventually('the Jobs are complete', lambda: all(has(o, 'Complete') for o in api.call('GET', BATCH + 'jobs')['items']), 120)
    eventually('the sets are ready', lambda: all(o['status'].get('readyReplicas') == 1 for o in api.call('GET', APPS + 'statefulsets')['items']), 120)
    time.sleep(3)
    pids = roles(c)
    cpu, bytes_before, count = cpu_ms(pids.values()), written(pids.values()), writes(api)
    each = {role: cpu_ms([pid]) for role, pid in pids.items()}
    time.sleep(seconds)
    spent = {role: cpu_ms([pid]) - each[role] for role, pid in pids.items()}
    show('idle CPU with ten objects of each kind', (cpu_ms(pids.values()) - cpu) / seconds / 10, '%',
         more='of a core; ' + ', '.join('%s %.1f ms' % x for x in sorted(spent.items())))
    show('  bytes written to disk', written(pids.values()) - bytes_before, 'bytes')
    show('  writes', writes(api) - count, '', more='the lease of the node among them, one in 10 s')
    for path in (BATCH + 'jobs', BATCH + 'cronjobs', APPS + 'daemonsets', APPS + 'statefulsets', CORE + 'persistentvolumeclaims',
                 '/api/v1/persistentvolumes', '/apis/policy/v1/namespaces/default/poddisruptionbudgets', CORE + 'resourcequotas'):
        api.call('DELETE', path, {'propagationPolicy': 'Background', 'gracePeriodSeconds': 0})
    eventually('its pods are gone', lambda: not api.call('GET', CORE + 'pods')['items'], 120)


def quiet(api, least=0.5):
    """Until nothing is written for a while."""
    was = writes(api)
    while True:
        time.sleep(least)
        now = writes(api)
        if now == was:
            return now
        was = now


def cost(c, api, do, rounds=5):
    """Writes and milliseconds of the server's CPU for one of them, all that follows from it included."""
    server, w, ms = [c.role_pid('server')], [], []
    for i in range(rounds):
        before = quiet(api, 0.3)
        cpu = cpu_ms(server)
        do(i)
        now = quiet(api, 0.3)
        ms.append(cpu_ms(server) - cpu)
        w.append(now - before)
    return statistics.median(w), statistics.median(ms)


def pair(what, few, many, costs, looking):
    show('%s, of %d: writes' % (what, many), costs[1][0], '', costs[0][0], 'of %d' % few)
    show('  CPU of the server', costs[1][1] - looking, 'ms', costs[0][1] - looking, 'of %d' % few)


def change(c, api):
    """One change among few and among many. The pods have a scheduler that is not there: what is measured is the server."""
    waits = template(command=('sleep', '1'), policy='Always', schedulerName='nobody')
    looking = cost(c, api, lambda i: None)[1]           # at the counters
    costs = []
    for n in (10, 500):
        api.call('POST', APPS + 'statefulsets', {'apiVersion': 'apps/v1', 'kind': 'StatefulSet', 'metadata': {'name': 's%d' % n}, 'spec': {
            'serviceName': 'none', 'replicas': n, 'podManagementPolicy': 'Parallel', 'selector': {'matchLabels': {'app': 'bench'}}, 'template': waits}})
        eventually('its pods', lambda: len(api.call('GET', CORE + 'pods')['items']) == n, 60)
        costs.append(cost(c, api, lambda i: api.call('DELETE', CORE + 'pods/s%d-%d' % (n, i), {'gracePeriodSeconds': 0})))
        remove_all(api, APPS + 'statefulsets')
    pair('a pod of a StatefulSet goes', 10, 500, costs, looking)
    costs = []
    for n in (10, 500):
        api.call('POST', BATCH + 'jobs', job('j%d' % n, parallelism=n, completions=n, template={**waits, 'spec': {**waits['spec'], 'restartPolicy': 'Never'}}))
        eventually('its pods', lambda: len(api.call('GET', CORE + 'pods')['items']) == n, 60)
        names = [p['metadata']['name'] for p in api.call('GET', CORE + 'pods')['items']]
        costs.append(cost(c, api, lambda i: api.call('DELETE', CORE + 'pods/' + names[i], {'gracePeriodSeconds': 0})))
        remove_all(api, BATCH + 'jobs')
    pair('a pod of a Job goes', 10, 500, costs, looking)
    costs = []
    for n in (10, 100):
        for i in range(n):
            pods = json.loads(json.dumps(waits))
            pods['metadata']['labels'] = {'app': 'd%d' % i}
            pods['spec']['nodeSelector'] = {'kind': 'd%d' % i}
            api.call('POST', APPS + 'daemonsets', {'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'metadata': {'name': 'd%d' % i}, 'spec': {
                'selector': {'matchLabels': {'app': 'd%d' % i}}, 'template': pods}})
        node = api.call('GET', '/api/v1/nodes')['items'][0]['metadata']['name']
        costs.append(cost(c, api, lambda i: api.call('PATCH', '/api/v1/nodes/' + node, {'metadata': {'labels': {'kind': 'd%d' % i}}}, MERGE)))
        api.call('PATCH', '/api/v1/nodes/' + node, {'metadata': {'labels': {'kind': None}}}, MERGE)
        remove_all(api, APPS + 'daemonsets')
    pair('a node becomes another one\'s of the DaemonSets', 10, 100, costs, looking)
    costs = []
    for n in (10, 2000):
        for i in range(n):
            api.call('POST', BATCH + 'jobs', job('stored%d' % i, suspend=True))
        costs.append(cost(c, api, lambda i: api.call('PATCH', BATCH + 'jobs/stored%d' % i, {'spec': {'parallelism': 2}}, MERGE)))
        remove_all(api, BATCH + 'jobs')
    pair('a Job changes among those that are stored', 10, 2000, costs, looking)


SECTIONS = [('jobs', jobs), ('cron', cron), ('binding', binding), ('idle', idle), ('change', change)]


def main():
    lib.own_namespaces()
    words = sys.argv[1:]
    with lib.Cluster() as c:
        api = Api(c)
        eventually('the node is ready', lambda: has(api.call('GET', '/api/v1/nodes')['items'][0], 'Ready'))
        eventually('accounts', lambda: api.call('GET', CORE + 'serviceaccounts')['items'])
        for name, section in SECTIONS:
            if not words or any(w in name for w in words):
                print('== ' + name, flush=True)
                section(c, api)


main()
