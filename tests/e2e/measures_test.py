"""What pods and the node use, in all the texts that a kubelet gives: by the kernel's numbers, by what the pods do."""
from lib import *
import http.client

POD = '''
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 20Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: spins
    image: %(image)s
    command: [sh, -c, 'head -c 1000000 /dev/zero >/memory/x; head -c 4000000 /dev/zero >/claim/x; while :; do :; done']
    resources: {limits: {cpu: 200m, memory: 50Mi}}
    livenessProbe: {exec: {command: ['true']}, periodSeconds: 1}
    volumeMounts: [{name: memory, mountPath: /memory}, {name: claim, mountPath: /claim}]
  - name: writes
    image: %(image)s
    command: [sh, -c, 'head -c 3000000 /dev/zero >/disk/x; head -c 1000000 /dev/zero >/y; i=0; while [ $i -lt 2000 ]; do echo a line of a log that is some sixty bytes long; i=$((i+1)); done; sleep 1000']
    volumeMounts: [{name: disk, mountPath: /disk}]
    readinessProbe: {tcpSocket: {port: 1}, periodSeconds: 1}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: roots, configMap: {name: kube-root-ca.crt}}
  - {name: claim, persistentVolumeClaim: {claimName: data}}
---
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  initContainers: [{name: first, image: %(image)s, command: ['true']}]
  containers: [{name: c, image: %(image)s, command: [sleep, '1000']}]
'''
MIB = 1 << 20


def ask(c, path):
    """A text of the node's own port."""
    node = c.get('node')['items'][0]
    address = next(a['address'] for a in node['status']['addresses'] if a['type'] == 'InternalIP')
    connection = http.client.HTTPSConnection(address, 10250, context=admin_tls(c.env['KUBECONFIG']), timeout=20)
    try:
        connection.request('GET', path)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (path, answer.status, text)
        return text
    finally:
        connection.close()


def series(text):
    """[(family, labels, value)] of Prometheus' text; each series stands once, each family's lines stand together."""
    found, seen, families = [], set(), []
    for line in text.splitlines():
        if line.startswith('# TYPE '):
            families.append(line.split()[2])
            continue
        if line.startswith('#') or not line:
            continue
        name = re.match('[a-z_A-Z0-9]+', line).group()
        labels = dict(re.findall(r'([a-zA-Z_]+)="((?:[^"\\\\]|\\\\.)*)"', line))
        key = (name, tuple(sorted(labels.items())))
        assert key not in seen, 'twice: %s' % line
        assert name.startswith(families[-1]), (line, families[-1])
        seen.add(key)
        found.append((name, labels, float(re.sub(r'^[^ {]+(\{.*\})?', '', line).split()[0])))
    assert len(families) == len(set(families)), families
    return found


def one(all_series, name, **labels):
    found = [v for n, l, v in all_series if n == name and all(l.get(k) == w for k, w in labels.items())]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def summary(c, query=''):
    s = json.loads(ask(c, '/stats/summary' + query))
    return s['node'], {p['podRef']['name']: p for p in s['pods']}


def by_name(items):
    return {x['name']: x for x in items}


def lint(text):
    """What promtool finds fault with, but for names that are upstream's own."""
    if not shutil.which('promtool'):
        return
    p = subprocess.run(['promtool', 'check', 'metrics'], input=text, capture_output=True, text=True)
    known = ('cadvisor_version_info label names', 'container_fs_inodes_total non-counter', 'container_memory_failcnt counter', 'container_threads_max',
             'machine_', 'kubelet_evictions counter', 'kubelet_')
    bad = [line for line in (p.stdout + p.stderr).splitlines() if line and not line.startswith(known)]
    assert not bad, bad


def the_summary_says_what_pods_do(c):
    c.apply(POD % {'image': IMAGE})
    c.kubectl('wait', '--for=jsonpath={.status.phase}=Running', 'pod/busy', 'pod/host', '--timeout=60s')
    for _ in range(3):
        c.kubectl('exec', 'busy', '-c', 'spins', '--', 'wget', '-q', '-O', '/dev/null', '-T', '1', 'http://10.43.0.1:443/', check=False)
    ask(c, '/metrics/resource')                      # from here on there is an earlier reading
    time.sleep(1.5)
    node, pods = summary(c)
    busy, host = pods['busy'], pods['host']
    assert node['memory']['workingSetBytes'] <= node['memory']['usageBytes'] and node['memory']['availableBytes'] > 0, node['memory']
    assert node['cpu']['usageCoreNanoSeconds'] > 0 and 0.1e9 < node['cpu']['usageNanoCores'], node['cpu']
    assert node['fs']['capacityBytes'] > node['fs']['usedBytes'] > 0 and node['runtime']['imageFs']['capacityBytes'] > 0, node
    assert node['rlimit']['maxpid'] > node['rlimit']['curproc'] > 10, node['rlimit']
    assert by_name(node['systemContainers'])['pods']['memory']['usageBytes'] > 0
    containers = by_name(busy['containers'])
    assert set(containers) == {'spins', 'writes'} and set(by_name(host['containers'])) == {'c'}, pods     # what has ended is not there
    assert 0.1e9 < containers['spins']['cpu']['usageNanoCores'] < 0.3e9, containers['spins']['cpu']
    assert busy['cpu']['usageNanoCores'] >= 0.9 * containers['spins']['cpu']['usageNanoCores'], busy['cpu']
    memory = containers['spins']['memory']
    assert 0 < memory['workingSetBytes'] <= memory['usageBytes'] and memory['availableBytes'] == 50 * MIB - memory['workingSetBytes'], memory
    assert 'availableBytes' not in containers['writes']['memory']
    assert busy['process_stats']['process_count'] >= 2
    assert busy['network']['name'] == 'eth0' and busy['network']['txBytes'] > 100 and busy['network']['rxBytes'] > 100, busy['network']
    assert 'network' not in host and 'volume' in host
    # disks
    assert 1e6 <= containers['writes']['rootfs']['usedBytes'] < 2e6 and containers['writes']['rootfs']['inodesUsed'] > 2, containers['writes']['rootfs']
    assert 100e3 < containers['writes']['logs']['usedBytes'] < 1e6, containers['writes']['logs']
    def volumes():
        found = by_name(summary(c)[1]['busy']['volume'])
        return found if {'claim', 'memory'} <= set(found) else None
    v = eventually('volumes that are mounted have been looked at', volumes)
    assert set(v) - {'claim', 'memory', 'disk', 'roots'} == {n for n in v if n.startswith('kube-api-access-')} != set(), set(v)
    assert 3e6 <= v['disk']['usedBytes'] < 3.2e6 and v['disk']['inodesUsed'] == 2, v['disk']
    assert 1e6 <= v['memory']['usedBytes'] < 1.2e6, v['memory']
    assert v['claim']['pvcRef'] == {'name': 'data', 'namespace': 'default'} and 'pvcRef' not in v['disk'], v['claim']
    assert 4e6 <= v['claim']['usedBytes'] <= 20 * MIB, v['claim']
    assert busy['ephemeral-storage']['usedBytes'] >= 4.1e6 and busy['ephemeral-storage']['usedBytes'] < 6e6, busy['ephemeral-storage']
    short_node, short = summary(c, '?only_cpu_and_memory=true')
    assert 'fs' not in short_node and 'network' not in short['busy'] and 'rootfs' not in short['busy']['containers'][0], short
    assert short['busy']['containers'][0]['memory']['workingSetBytes'] > 0


def prometheus_reads_the_same(c):
    text = ask(c, '/metrics/resource')
    lint(text)
    s = series(text)
    assert one(s, 'resource_scrape_error') == 0
    assert one(s, 'container_cpu_usage_seconds_total', container='spins', pod='busy', namespace='default') > 0.2
    assert one(s, 'container_start_time_seconds', container='c', pod='host') > time.time() - 600
    assert one(s, 'node_memory_working_set_bytes') > MIB and one(s, 'pod_memory_working_set_bytes', pod='busy') > 0
    for line in text.splitlines():                  # moments are told, but of what has none
        untimed = line.startswith(('#', 'container_start_time', 'resource_scrape', 'scrape_error'))
        assert untimed or re.search(r' 1[0-9]{12}$', line), line
    text = ask(c, '/metrics/cadvisor')
    lint(text)
    s = series(text)
    uid = c.get('pod', 'busy')['metadata']['uid']
    for n, labels, _ in s:
        if n.startswith('container_') and n != 'container_scrape_error':
            assert {'container', 'id', 'image', 'name', 'namespace', 'pod'} <= set(labels), (n, labels)
    spins = {'container': 'spins', 'pod': 'busy', 'namespace': 'default', 'image': IMAGE}
    assert one(s, 'container_cpu_usage_seconds_total', cpu='total', **spins) > 0.2
    assert one(s, 'container_cpu_cfs_throttled_periods_total', **spins) > 3
    assert not [1 for n, l, _ in s if n == 'container_cpu_cfs_periods_total' and l['container'] == 'writes']
    assert one(s, 'container_spec_memory_limit_bytes', **spins) == 50 * MIB and one(s, 'container_spec_cpu_quota', **spins) == 20000
    def counted():                                  # a probe that is just being made is a process, too, and takes files
        now = series(ask(c, '/metrics/cadvisor'))
        return one(now, 'container_processes', **spins) == 1 and one(now, 'container_file_descriptors', **spins) >= 3
    eventually('its processes and files are counted', counted)
    assert one(s, 'container_fs_usage_bytes', container='writes', pod='busy') >= 1e6
    assert one(s, 'container_memory_working_set_bytes', id='/') > MIB
    whole = [l for n, l, _ in s if n == 'container_memory_rss' and l['pod'] == 'busy' and not l['container']]
    assert len(whole) == 1 and whole[0]['id'].endswith('/pod' + uid) and whole[0]['image'] == '', whole
    assert one(s, 'container_network_receive_bytes_total', pod='busy', interface='eth0', container='') > 100
    assert not [1 for n, l, _ in s if n.startswith('container_network') and l['pod'] == 'host']
    assert one(s, 'machine_cpu_cores') == os.cpu_count()


def the_agent_counts_itself(c):
    eventually('probes have answered', lambda: 'result="failed"' in ask(c, '/metrics/probes') and 'result="successful"' in ask(c, '/metrics/probes'))
    text = ask(c, '/metrics/probes')
    lint(text)
    s = series(text)
    assert one(s, 'prober_probe_total', probe_type='Liveness', result='successful', container='spins', pod='busy') >= 1
    assert one(s, 'prober_probe_total', probe_type='Readiness', result='failed', container='writes') >= 1
    assert one(s, 'prober_probe_duration_seconds_count', probe_type='Liveness', container='spins') == \
        one(s, 'prober_probe_duration_seconds_bucket', probe_type='Liveness', container='spins', le='+Inf')
    text = ask(c, '/metrics')
    lint(text)
    s = series(text)
    assert one(s, 'kubelet_running_pods') == 2 and one(s, 'kubelet_running_containers', container_state='running') == 3, text
    assert one(s, 'kubelet_running_containers', container_state='exited') == 1
    assert one(s, 'kubelet_started_containers_total', container_type='container') == 3
    assert one(s, 'kubelet_started_containers_total', container_type='init_container') == 1
    assert one(s, 'kubelet_terminated_containers_total', container_type='init_container', exit_code='0', reason='Completed') == 1
    assert 4e6 <= one(s, 'kubelet_volume_stats_used_bytes', namespace='default', persistentvolumeclaim='data') <= 20 * MIB
    assert one(s, 'process_resident_memory_bytes') > MIB and one(s, 'process_open_fds') > 5
    pods = json.loads(ask(c, '/pods'))
    assert pods['kind'] == 'PodList' and {p['metadata']['name'] for p in pods['items']} == {'busy', 'host'}
    running = json.loads(ask(c, '/runningpods'))['items']
    assert sorted(x['name'] for p in running for x in p['spec']['containers']) == ['c', 'spins', 'writes'], running


def a_restart_begins_anew(c):
    """Of the container, which has other counters then; of the agent, which has no history then."""
    def spins():
        return next(x for x in c.get('pod', 'busy')['status']['containerStatuses'] if x['name'] == 'spins')

    def seconds():
        return one(series(ask(c, '/metrics/resource')), 'container_cpu_usage_seconds_total', container='spins')
    before, its_id = seconds(), spins()['containerID'].split('//')[1]
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cgroup' % pid) as f:
                if its_id in f.read():
                    os.kill(int(pid), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass
    eventually('it runs again', lambda: spins()['restartCount'] == 1 and 'running' in spins()['state'])
    assert seconds() < before, 'the one that has ended is not there beside it'
    old = [l for n, l, _ in series(ask(c, '/metrics/cadvisor')) if l.get('name') == its_id]
    assert not old, old
    os.kill(c.role_pid('node'), signal.SIGKILL)
    def usage():
        pods = {p['name']: by_name(p['containers']) for p in json.loads(ask(c, '/stats/usage'))['pods']}
        return pods if 'spins' in pods.get('busy', {}) else None
    u = eventually('a rate is there with the first answer of an agent without a past', usage)
    assert 0.1e9 < u['busy']['spins']['cpu'] < 0.3e9 and u['busy']['spins']['memory'] > 0, u


main([the_summary_says_what_pods_do, prometheus_reads_the_same, the_agent_counts_itself, a_restart_begins_anew])
