#!/usr/bin/env python3
"""What figures cost: each text of 100 pods, asked over the node's HTTPS port as Prometheus does, beside the reading of the
same kernel files by itself; memory while it is made; and CPU at rest before and after (as root; in namespaces of its own).

    make bench-figures                   a minute or two
    PODS=30 bench/figures_bench.py       of fewer pods

A line is: figure, its value, and after "=" how many times the floor that was measured in the same run."""
import http.client, os, statistics, subprocess, time

from cluster_bench import MS, Api, cpu_ms, eventually, is_ready, lib, roles, show, spread

PODS = int(os.environ.get('PODS', '100'))
V1 = {'cpu': 'cpu.stat cpu.cfs_quota_us cpu.cfs_period_us cpu.shares', 'cpuacct': 'cpuacct.usage cpuacct.usage_user cpuacct.usage_sys',
      'memory': 'memory.stat memory.usage_in_bytes memory.oom_control memory.max_usage_in_bytes memory.failcnt memory.kmem.usage_in_bytes '
                'memory.limit_in_bytes memory.soft_limit_in_bytes memory.memsw.limit_in_bytes',
      'pids': 'pids.current pids.max', 'blkio': 'blkio.throttle.io_service_bytes_recursive blkio.throttle.io_serviced_recursive'}
V2 = ('cpu.stat cpu.max cpu.weight cpu.pressure memory.pressure io.pressure memory.stat memory.current memory.swap.current memory.events '
      'memory.peak memory.max memory.low memory.swap.max pids.current pids.max io.stat')
SHORT = ('cpu.stat', 'cpuacct.usage', 'memory.stat', 'memory.usage_in_bytes', 'memory.current')


def group_files(pods):
    """Of all groups of pods and containers: (all that /metrics/cadvisor reads, what CPU and memory alone take)."""
    found = []
    for line in open('/proc/self/mounts'):
        where, kind, options = line.split()[1:4]
        names = V2.split() if kind == 'cgroup2' else [n for c, w in V1.items() if c in options.split(',') for n in w.split()]
        for folder, below, _ in os.walk(where):
            if any(uid in folder for uid in pods):
                found += [os.path.join(folder, n) for n in names if os.path.exists(os.path.join(folder, n))]
    return found, [f for f in found if os.path.basename(f) in SHORT]


def floor_ms(files):
    out = lib.run([os.path.join(lib.BUILD, 'figures-floor')], input='\n'.join(files) + '\n').split()
    return float(out[0])


class Door:
    """A kept connection to the node's own port."""

    def __init__(self, c, api):
        address = next(a['address'] for a in api.call('GET', '/api/v1/nodes')['items'][0]['status']['addresses'] if a['type'] == 'InternalIP')
        self.http = http.client.HTTPSConnection(address, 10250, context=lib.admin_tls(c.env['KUBECONFIG']), timeout=30)

    def ask(self, path):
        """(milliseconds, bytes) of one answer."""
        began = time.monotonic()
        self.http.request('GET', path)
        answer = self.http.getresponse()
        assert answer.status == 200, (path, answer.status, answer.read())
        n = 0
        while piece := answer.read(65536):
            n += len(piece)
        return (time.monotonic() - began) * MS, n


def status_kb(pid, what):
    return next(int(line.split()[1]) for line in open('/proc/%d/status' % pid) if line.startswith(what + ':'))


def shmem_kb():
    return next(int(line.split()[1]) for line in open('/proc/meminfo') if line.startswith('Shmem:'))


def peak_kb(pids, do):
    """By how much the processes grow at most while it is done, together, with files in memory that they share."""
    before = {}
    for pid in pids:
        with open('/proc/%d/clear_refs' % pid, 'w') as f:
            f.write('5')
        before[pid] = status_kb(pid, 'VmRSS')
    do()
    return sum(max(status_kb(pid, 'VmHWM') - kb, 0) for pid, kb in before.items())


def rest_ms(pids, seconds):
    """CPU of the processes in so many seconds of rest."""
    before = cpu_ms(pids)
    time.sleep(seconds)
    return cpu_ms(pids) - before


def deploy(api, n):
    api.call('POST', '/apis/apps/v1/namespaces/default/deployments', {
        'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'bench'}, 'spec': {
            'replicas': n, 'selector': {'matchLabels': {'app': 'bench'}}, 'template': {'metadata': {'labels': {'app': 'bench'}}, 'spec': {
                'terminationGracePeriodSeconds': 0,
                'containers': [{'name': 'web', 'image': lib.IMAGE, 'resources': {'requests': {'cpu': '1m', 'memory': '1Mi'}, 'limits': {'cpu': '100m', 'memory': '50Mi'}}}]}}}})
    eventually('%d pods are ready' % n, lambda: sum(is_ready(p) for p in api.call('GET', '/api/v1/namespaces/default/pods')['items']) == n, 120)


def main():
    lib.own_namespaces()
    with lib.Cluster() as c:
        api = Api(c)
        eventually('the node', lambda: api.call('GET', '/api/v1/nodes')['items'])
        eventually('accounts', lambda: api.call('GET', '/api/v1/namespaces/default/serviceaccounts')['items'])
        deploy(api, PODS)
        time.sleep(3)
        node, relay = c.role_pid('node'), c.role_pid('relay')
        rest = rest_ms([node, relay], 10)
        door = Door(c, api)
        pods = [p['metadata']['uid'] for p in api.call('GET', '/api/v1/namespaces/default/pods')['items']]
        all_files, short_files = group_files(pods)
        print('%d pods, %d files of groups, %d of them CPU and memory' % (len(pods), len(all_files), len(short_files)), flush=True)
        for path in ('/stats/summary', '/stats/summary?only_cpu_and_memory=true', '/metrics/resource', '/metrics/cadvisor', '/metrics/probes',
                     '/metrics', '/pods'):
            door.ask(path)
            short = path != '/metrics/cadvisor'
            beside = floor_ms(short_files if short else all_files)
            rounds = [door.ask(path) for _ in range(15)]
            took = [r[0] for r in rounds]
            show('GET ' + path, statistics.median(took), 'ms', beside if 'summary' in path or 'metrics/' in path else None,
                 'reading %d files' % len(short_files if short else all_files), spread(took) + ', %d KB' % (rounds[0][1] / 1024))
            if path in ('/stats/summary', '/metrics/cadvisor'):
                show('  memory of node and relay while it is made', peak_kb([node, relay], lambda: [door.ask(path) for _ in range(3)]) / 1024, 'MiB')
        lib.eventually('nobody asks any more', lambda: True)
        time.sleep(3)
        show('CPU of node and relay in 10 s of rest, after', rest_ms([node, relay], 10), 'ms', rest, 'before')


main()
