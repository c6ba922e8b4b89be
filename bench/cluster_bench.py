#!/usr/bin/env python3
"""What a cluster costs, each figure beside a peer or a floor measured in the same run (as root; in namespaces of its own).

    make bench-cluster                   all of it, a few minutes
    bench/cluster_bench.py WORD...       the sections whose name holds a word: up idle ready reach pods http growth rollout
    bench/cluster_bench.py tmpfs WORD... the same with the cluster's files in memory: what a pod costs without its file
                                         system (ext4 without a journal looks through all files that were deleted in
                                         the last seconds whenever it makes one, which hides everything else)

A line is: figure, its value, and after "=" how many times the peer that is a fact of the same run."""
import base64, http.client, json, os, re, selectors, shutil, socket, ssl, statistics, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../tests/e2e'))
import lib
from lib import run, eventually

PROBE = os.path.join(lib.BUILD, 'cluster-probe')
MS = 1000.0


def show(figure, value, unit, peer=None, name=None, more=''):
    beside = '' if peer is None else '  = %.2f x %s (%.2f %s)' % (value / peer if peer else 0, name, peer, unit)
    print('%-46s %9.2f %-6s%s%s' % (figure, value, unit, beside, '  ' + more if more else ''), flush=True)


def spread(values):
    return 'min %.1f max %.1f n %d' % (min(values), max(values), len(values))


def median_of(n, do):
    return statistics.median(do() for _ in range(n))


# ---- processes

def pss_kb(pid):
    with open('/proc/%d/smaps_rollup' % pid) as f:
        return int(re.search(r'^Pss:\s+(\d+)', f.read(), re.M).group(1))


def roles(c):
    """Name to pid of every process of the cluster itself."""
    with open(c.root + '/run/wherry/supervisor.lock') as f:
        pids = {'supervisor': int(f.read())}
    for role in os.listdir(c.root + '/run/wherry/roles'):
        pids[role] = c.role_pid(role)
    return pids


def shims(c):
    """Pids of the cluster's shims, told from those of others by the files they hold."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/comm' % pid) as f:
                if f.read().strip() != 'wherry-shim':
                    continue
            if any(c.root in os.readlink('/proc/%s/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%s/fd' % pid)):
                found.append(int(pid))
        except OSError:
            continue
    return found


def cpu_ms(pids):
    """CPU of each so far, threads that ended included: its clock (clock_getcpuclockid(3))."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1e6


def alone_kb(pids):
    """PSS as if nothing else on the machine mapped the same files: what they do not share, and each file's pages once."""
    total, files = 0, {}
    for pid in pids:
        with open('/proc/%d/smaps' % pid) as f:
            for line in f:
                word = line.split()
                if not word[0].endswith(':'):
                    name = (word[5], word[2]) if len(word) > 5 and word[5][0] == '/' else None
                elif word[0] == 'Rss:' and name:
                    rss = int(word[1])
                elif word[0] == 'Pss:' and not name:
                    total += int(word[1])
                elif word[0] == 'Anonymous:' and name:
                    total += int(word[1])
                    files[name] = max(files.get(name, 0), rss - int(word[1]))
    return total + sum(files.values())


def written(pids):
    total = 0
    for pid in pids:
        with open('/proc/%d/io' % pid) as f:
            total += int(re.search(r'^write_bytes: (\d+)', f.read(), re.M).group(1))
    return total


def files_of(root):
    state = {}
    for top in ('etc', 'var/lib'):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                try:
                    st = os.lstat(os.path.join(folder, name))
                    state[os.path.relpath(os.path.join(folder, name), root)] = (st.st_size, st.st_mtime_ns)
                except OSError:
                    pass
    return state


# ---- the API over one kept connection

class Api:
    def __init__(self, c):
        with open(c.env['KUBECONFIG']) as f:
            text = f.read()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        part = lambda name: base64.b64decode(re.search(name + r': (\S+)', text).group(1))
        self.context.load_verify_locations(cadata=part('certificate-authority-data').decode())
        pem = os.path.join(c.root, 'bench.pem')
        with open(pem, 'wb') as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(part('client-certificate-data') + part('client-key-data'))
        self.context.load_cert_chain(pem)
        self.host, self.port = re.search(r'server: https://([^:]+):(\d+)', text).groups()
        self.kept = self.connection()

    def connection(self):
        h = http.client.HTTPSConnection(self.host, int(self.port), context=self.context, timeout=60)
        h.connect()
        h.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return h

    def call(self, method, path, body=None, kind='application/json'):
        data = json.dumps(body) if body is not None else None
        self.kept.request(method, path, data, {'Content-Type': kind} if data else {})
        answer = self.kept.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise AssertionError('%s %s: %d %s' % (method, path, answer.status, text[:300]))
        return json.loads(text)

    def watch(self, path):
        return Watch(self, path)


class Watch:
    """The events of a watch from now on; next() blocks and says when the event came in."""
    def __init__(self, api, path):
        rev = api.call('GET', path.split('?')[0] + '?limit=1')['metadata']['resourceVersion']
        self.h = api.connection()
        self.h.request('GET', '%s%swatch=1&resourceVersion=%s' % (path, '&' if '?' in path else '?', rev))
        self.answer = self.h.getresponse()

    def next(self):
        line = self.answer.readline()
        return time.monotonic(), json.loads(line)

    def until(self, wanted):
        while True:
            at, event = self.next()
            if wanted(event['type'], event['object']):
                return at, event['object']

    def close(self):
        self.h.sock.close()


def is_ready(pod):
    return any(x['type'] == 'Ready' and x['status'] == 'True' for x in pod.get('status', {}).get('conditions', ()))


def plain_deployment(name, replicas):
    return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name}, 'spec': {
        'replicas': replicas, 'selector': {'matchLabels': {'app': name}}, 'template': {
            'metadata': {'labels': {'app': name}},
            'spec': {'containers': [{'name': 'web', 'image': lib.IMAGE, 'ports': [{'containerPort': 8080}]}]}}}}


DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments'
PODS = '/api/v1/namespaces/default/pods'


def remove(api, name):
    api.call('DELETE', DEPLOYMENTS + '/' + name)
    eventually('the pods of %s are gone' % name, lambda: not api.call('GET', PODS + '?labelSelector=app%3D' + name)['items'], 60)


def deploy(api, name, replicas):
    """Ready pods; seconds it took from the POST."""
    w = api.watch(PODS + '?labelSelector=app%3D' + name)
    start, ready = time.monotonic(), set()
    api.call('POST', DEPLOYMENTS, plain_deployment(name, replicas))
    while len(ready) < replicas:
        at, e = w.next()
        if is_ready(e['object']):
            ready.add(e['object']['metadata']['name'])
    w.close()
    return at - start


# ---- sections

def up(c, api):
    floor = median_of(9, lambda: timed(lambda: run([lib.WHERRY, 'version', '--client'], check=False)))
    first, second = [], []
    for _ in range(5):
        other = lib.Cluster(port=26444, image=False)
        c.down()                                        # the ranges are routed once
        try:
            first.append(timed(other.up))
            other.down()
            second.append(timed(other.up))
        finally:
            other.__exit__()
    c.up()
    show('up --detach to Ready, first start', statistics.median(first), 'ms', floor, 'start of one program', spread(first))
    show('up --detach to Ready, second start', statistics.median(second), 'ms', floor, 'start of one program', spread(second))


def timed(do):
    start = time.monotonic()
    do()
    return (time.monotonic() - start) * MS


def idle(c, api):
    """After a fresh start, with nobody connected."""
    c.down()
    c.up()
    time.sleep(3)
    pids, seconds = roles(c), float(os.environ.get('BENCH_IDLE', '20'))
    before, cpu, bytes_before = files_of(c.root), cpu_ms(pids.values()), written(pids.values())
    each = {role: cpu_ms([pid]) for role, pid in pids.items()}
    time.sleep(seconds)
    after = files_of(c.root)
    used, spent = cpu_ms(pids.values()) - cpu, {role: cpu_ms([pid]) for role, pid in pids.items()}
    total = 0
    floor_pid = subprocess.Popen(['sleep', '60'])
    time.sleep(0.1)
    floor = pss_kb(floor_pid.pid) / 1024
    floor_pid.kill()
    for role, pid in sorted(pids.items()):
        kb = pss_kb(pid)
        total += kb
        show('idle PSS, ' + role, kb / 1024, 'MiB', more='cpu %.2f ms in %.0f s' % (spent[role] - each[role], seconds))
    show('idle PSS, sum', total / 1024, 'MiB', floor, 'sleep(1)')
    show('idle PSS, sum as if alone on the machine', alone_kb(pids.values()) / 1024, 'MiB')
    show('idle CPU', used / seconds / 10, '%', more='of a core')
    show('idle, bytes written to disk', written(pids.values()) - bytes_before, 'bytes')
    changed = [name for name in after if after[name] != before.get(name)]
    print('    files that changed while idle: %s' % (', '.join(changed) or 'none'))


def settled(pids):
    """Their PSS in KiB after what they do late is done."""
    time.sleep(2)
    return {role: pss_kb(pid) for role, pid in pids.items()}


def pods(c, api, n=20):
    deploy(api, 'warm', 5)
    remove(api, 'warm')
    pids = roles(c)
    before = settled(pids)
    deploy(api, 'many', n)
    after = settled(pids)
    mine = shims(c)
    assert len(mine) == n, '%d shims' % len(mine)
    shim = sum(map(pss_kb, mine)) / n
    grown = {role: (after[role] - before[role]) / n for role in pids}
    peer = conmon_kb(c)
    show('per pod of %d, PSS of its shim' % n, shim, 'KiB', peer, 'conmon')
    show('per pod of %d, growth of the roles' % n, sum(grown.values()), 'KiB',
         more=' '.join('%s %.1f' % (r, g) for r, g in sorted(grown.items()) if abs(g) >= 0.5))
    show('per pod of %d, all' % n, shim + sum(grown.values()), 'KiB', peer, 'conmon')
    remove(api, 'many')
    after = settled(pids)
    show('what stays with the roles when they are gone', sum(after.values()) - sum(before.values()), 'KiB')


def a_container(c):
    """A shim, and the bundle of its container as Wherry wrote it: its root is mounted in the shim's namespace alone."""
    shim = shims(c)[0]
    with open('/proc/%d/mountinfo' % shim) as f:
        return shim, re.search(r' (%s/run/wherry/pods/\S+)/rootfs ' % re.escape(c.root), f.read()).group(1)


def conmon_kb(c, n=5):
    """Mean PSS of n conmon, each with one created container of the same bundle (started, it would find
    the port taken); 0 where it is not installed."""
    if not shutil.which('conmon'):
        return 0
    d, pids = tempfile.mkdtemp(dir=c.root), []
    shim, bundle = a_container(c)
    crun = ['--root', d + '/crun', '--cgroup-manager=disabled']
    try:
        for i in range(n):
            name = 'peer%d' % i
            args = ['conmon', '--api-version', '1', '-c', name, '-u', name, '-n', name, '-r', '/usr/bin/crun']
            for word in ('--root=' + d + '/crun', '--cgroup-manager=disabled'):
                args += ['--runtime-arg', word]
            args += ['-b', bundle, '-P', '%s/%s.conmon' % (d, name), '-p', '%s/%s.pid' % (d, name), '-l',
                     'k8s-file:%s/%s.log' % (d, name), '--exit-dir', d, '--persist-dir', d, '--socket-dir-path', d]
            subprocess.run(['nsenter', '-t', str(shim), '-m'] + args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=20)
            eventually('conmon holds ' + name, lambda: os.path.exists('%s/%s.pid' % (d, name)))
            with open('%s/%s.conmon' % (d, name)) as f:
                pids.append(int(f.read()))
        return sum(map(pss_kb, pids)) / n
    finally:
        for i in range(n):
            subprocess.run(['nsenter', '-t', str(shim), '-m', 'crun'] + crun + ['delete', '--force', 'peer%d' % i], check=False,
                           stderr=subprocess.DEVNULL)


def crun_alone(c, rounds, gap_ms):
    """Milliseconds of each crun create + start of the bundle of a running pod of ours."""
    d = tempfile.mkdtemp(dir=c.root)
    shim, bundle = a_container(c)
    return list(map(float, run([PROBE, 'crun', str(shim), bundle, d, str(rounds), str(gap_ms)]).split()))


def ready(c, api, rounds=15):
    stages = {'POST answered': [], 'pod created': [], 'bound': [], 'Ready': []}
    for i in range(rounds + 1):
        name = 'one%d' % i
        w = api.watch(PODS + '?labelSelector=app%3D' + name)
        start = time.monotonic()
        api.call('POST', DEPLOYMENTS, plain_deployment(name, 1))
        at = {'POST answered': time.monotonic()}
        at['pod created'] = w.until(lambda kind, o: True)[0]
        at['bound'] = w.until(lambda kind, o: o['spec'].get('nodeName'))[0]
        at['Ready'] = w.until(lambda kind, o: is_ready(o))[0]
        w.close()
        if i:                                           # the first warms caches
            for stage, when in at.items():
                stages[stage].append((when - start) * MS)
        if i == rounds:
            peers = crun_alone(c, rounds, 100)
        remove(api, name)
        time.sleep(0.1)
    peer = statistics.median(peers)
    show('POST of a Deployment to Ready', statistics.median(stages['Ready']), 'ms', peer, 'crun create+start', spread(stages['Ready']))
    print('    ' + ', '.join('%s after %.1f' % (stage, statistics.median(v)) for stage, v in stages.items()) + ' ms (medians)')
    n = 50
    took = deploy(api, 'crowd', n)
    alone = crun_alone(c, n, 0)
    show('Deployment of %d to all Ready' % n, n / took, 'pods/s', n * MS / sum(alone), 'a loop of crun')
    start = time.monotonic()
    remove(api, 'crowd')
    show('and all of them deleted', n / (time.monotonic() - start), 'pods/s')


class Asker:
    """Asks a Service over new connections all the time; end() says when each pod was the first and last to answer."""
    def __init__(self, ip):
        self.p = subprocess.Popen([PROBE, 'names', ip, '80'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.p.stdout.readline()

    def end(self):
        time.sleep(0.1)
        rows = [line.split() for line in self.p.communicate(timeout=30)[0].splitlines()]
        return {name: (float(first), float(last)) for name, first, last in rows}


def reach(c, api, rounds=9):
    deploy(api, 'reached', 1)
    peer = statistics.median(crun_alone(c, rounds, 50))
    service = api.call('POST', '/api/v1/namespaces/default/services', {
        'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'reached'},
        'spec': {'selector': {'app': 'reached'}, 'ports': [{'port': 80, 'targetPort': 8080}]}})
    ip, mine = service['spec']['clusterIP'], PODS + '?labelSelector=app%3Dreached'
    scale = lambda n: api.call('PATCH', DEPLOYMENTS + '/reached/scale', {'spec': {'replicas': n}}, 'application/merge-patch+json')
    start, after_ready, out = [], [], []
    for _ in range(rounds):
        a, w, began = Asker(ip), api.watch(mine), time.monotonic()
        scale(2)
        at, pod = w.until(lambda kind, o: is_ready(o))
        eventually('both', lambda: len(api.call('GET', mine)['items']) == 2)
        first = a.end()[pod['metadata']['name']][0]
        start.append(first - began * MS)
        after_ready.append(first - at * MS)
        a = Asker(ip)
        time.sleep(0.1)
        scale(1)
        at, gone = w.until(lambda kind, o: o['metadata'].get('deletionTimestamp'))
        out.append(a.end()[gone['metadata']['name']][1] - at * MS)
        w.until(lambda kind, o: kind == 'DELETED')
        w.close()
    show('scale 1 to 2, to answering by ClusterIP', statistics.median(start), 'ms', peer, 'crun create+start', spread(start))
    show('Ready seen by a watch, to answering', statistics.median(after_ready), 'ms', more=spread(after_ready))
    show('deletion seen by a watch, to its last new connection', statistics.median(out), 'ms', more=spread(out))
    api.call('DELETE', '/api/v1/namespaces/default/services/reached')
    remove(api, 'reached')


def h2load(url, n, clients, extra=()):
    """(requests/s, p50 ms, p99 ms) of requests that all succeeded."""
    log = tempfile.mktemp(prefix='h2load')
    try:
        out = run(['h2load', '-n', str(n), '-c', str(clients), '-t', '1', '--log-file', log] + list(extra) + [url], timeout=300)
        ok = int(re.search(r'(\d+) 2xx', out).group(1))
        assert ok == n, '%s: %d of %d answered 2xx\n%s' % (url, ok, n, out[-800:])
        with open(log) as f:
            times = sorted(int(line.split()[2]) / MS for line in f)
        return float(re.search(r'([\d.]+) req/s', out).group(1)), times[len(times) // 2], times[len(times) * 99 // 100]
    finally:
        if os.path.exists(log):
            os.unlink(log)


def http_rates(c, api):
    folder = c.root + '/www'
    os.mkdir(folder)
    maps = '/api/v1/namespaces/default/configmaps'
    made = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'one'}, 'data': {'text': 'x' * 600}}
    api.call('POST', maps, made)
    api.kept.request('GET', maps + '/one')
    size = len(api.kept.getresponse().read())
    run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=peer',
         '-keyout', folder + '.key', '-out', folder + '.crt'])
    with open(folder + '/one', 'w') as f:
        f.write('x' * size)
    c.kubectl('create', 'serviceaccount', 'bench')
    c.kubectl('create', 'clusterrolebinding', 'bench', '--clusterrole=cluster-admin', '--serviceaccount=default:bench')
    token = c.kubectl('create', 'token', 'bench', '--duration=1h').strip()
    who = ['--h1', '-H', 'Authorization: Bearer ' + token]
    url, server = 'https://%s:%s' % (api.host, api.port), roles(c)['server']
    put, post = c.root + '/put.json', c.root + '/post.json'
    with open(put, 'w') as f:
        json.dump(made, f)
    with open(post, 'w') as f:
        json.dump(dict(made, metadata={'generateName': 'many-'}), f)
    peer = subprocess.Popen(['nghttpd', '-d', folder, '-a', '127.0.0.1', '26500', folder + '.key', folder + '.crt'],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually('nghttpd listens', lambda: run(['h2load', '-n', '1', '-c', '1', 'https://127.0.0.1:26500/one']), 10)
        rate_line = lambda what, r, p, cpu: show(what, r[0], '/s', p, 'peer', 'p50 %.2f p99 %.2f ms, server %.0f us CPU each' % (r[1], r[2], cpu))

        def measured(what, path, n, clients, extra, p):
            before = cpu_ms([server])
            r = h2load(url + path, n, clients, who + extra)
            rate_line('%s, %d client%s' % (what, clients, 's' * (clients > 1)), r, p, (cpu_ms([server]) - before) * 1000 / n)
            return r

        for clients, n in ((1, 4000), (50, 20000)):
            static = h2load('https://127.0.0.1:26500/one', n, clients)
            measured('GET of %d bytes' % size, maps + '/one', n, clients, [], static[0])
        syncs = float(run([PROBE, 'fdatasync', c.root + '/sync', '2', '4096']))
        json_kind = ['-H', 'Content-Type: application/json']
        for clients, n in ((1, 1000), (50, 4000)):
            measured('PUT without a change', maps + '/one', n, clients, ['-d', put, '-H', ':method: PUT'] + json_kind, syncs)
            measured('CREATE (durable)', maps, n, clients, ['-d', post] + json_kind, syncs)
        print('    the peer of PUT and CREATE is a loop of write and fdatasync of 4 KiB on the same disk')
        etcd_rates(c, size)
        api.kept.request('GET', maps)
        body = api.kept.getresponse().read()
        items = len(json.loads(body)['items'])
        with open(folder + '/list', 'wb') as f:
            f.write(body)
        static = h2load('https://127.0.0.1:26500/list', 20, 1)
        r = h2load(url + maps, 20, 1, who)
        show('LIST of %d (%.1f MB), p50' % (items, len(body) / 1e6), r[1], 'ms', static[1], 'nghttpd, a static file')
        fan_out(c, api, maps)
        show('server PSS after that', pss_kb(server) / 1024, 'MiB')
    finally:
        peer.kill()


def etcd_rates(c, size):
    """Debian's etcd on the same disk, over its JSON gateway: puts of values as large as the objects above."""
    if not shutil.which('etcd'):
        return
    with open(c.root + '/etcd.json', 'w') as f:
        json.dump({'key': base64.b64encode(b'/a/key/as/long/as/ours/are').decode(), 'value': base64.b64encode(b'x' * size).decode()}, f)
    etcd = subprocess.Popen(['etcd', '--data-dir', c.root + '/etcd', '--listen-client-urls', 'http://127.0.0.1:26379', '--advertise-client-urls', 'http://127.0.0.1:26379',
                             '--listen-peer-urls', 'http://127.0.0.1:26380', '--log-level', 'error'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually('etcd is healthy', lambda: 'true' in run(['curl', '-s', 'http://127.0.0.1:26379/health']), 20)
        for clients, n in ((1, 1000), (50, 4000)):
            before = cpu_ms([etcd.pid])
            r = h2load('http://127.0.0.1:26379/v3/kv/put', n, clients, ['--h1', '-d', c.root + '/etcd.json', '-H', 'Content-Type: application/json'])
            print('    etcd, put, %d client%s: %.0f /s, p50 %.2f p99 %.2f ms, %.0f us CPU each' % (
                clients, 's' * (clients > 1), r[0], r[1], r[2], (cpu_ms([etcd.pid]) - before) * 1000 / n))
        print('    etcd, PSS after that: %.1f MiB' % (pss_kb(etcd.pid) / 1024))
    finally:
        etcd.kill()
        etcd.wait()


def growth(c, api, sizes=(1000, 50000)):
    """What each thing costs as the cluster grows: pods that no scheduler sees to, in a server without a node."""
    with lib.Cluster(port=26445, args=['--roles', 'server'], image=False) as other:
        big = Api(other)
        server = roles(other)['server']
        other.kubectl('create', 'serviceaccount', 'bench')
        other.kubectl('create', 'clusterrolebinding', 'bench', '--clusterrole=cluster-admin', '--serviceaccount=default:bench')
        who = ['--h1', '-H', 'Authorization: Bearer ' + other.kubectl('create', 'token', 'bench', '--duration=1h').strip()]
        url, kind = 'https://%s:%s' % (big.host, big.port), ['-H', 'Content-Type: application/json']
        for ns in ('bulk', 'small'):
            other.kubectl('create', 'namespace', ns)
            eventually('a service account', lambda: big.call('GET', '/api/v1/namespaces/%s/serviceaccounts/default' % ns))
        pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'generateName': 'web-6c8d5b7f9d-', 'labels': {'app': 'web', 'tier': 'front', 'pod-template-hash': '6c8d5b7f9d'}},
               'spec': {'schedulerName': 'nobody', 'containers': [{'name': 'web', 'image': 'registry.example.org/team/web:1.2.3', 'ports': [{'containerPort': 8080}],
                        'env': [{'name': 'GREETING', 'value': 'Hello'}], 'resources': {'requests': {'cpu': '100m', 'memory': '64Mi'}, 'limits': {'memory': '128Mi'}},
                        'readinessProbe': {'httpGet': {'path': '/healthz', 'port': 8080}}}]}}
        with open(other.root + '/pod.json', 'w') as f:
            json.dump(pod, f)
        with open(other.root + '/scale.json', 'w') as f:
            json.dump({'data': {'a': '1'}}, f)
        post = lambda ns, n: h2load(url + '/api/v1/namespaces/%s/pods' % ns, n, 50, who + kind + ['-d', other.root + '/pod.json'])
        post('small', 100)
        one = big.call('POST', '/api/v1/namespaces/small/pods', dict(pod, metadata={'name': 'one'}))
        big.call('POST', '/api/v1/namespaces/small/configmaps', {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'one'}})
        text = len(json.dumps(one, separators=(',', ':')))
        figures, have, last_pss = {}, 0, pss_kb(server)
        base = last_pss
        for size in sizes:
            made = post('bulk', size - have)
            have = size
            time.sleep(2)
            pss = pss_kb(server)
            row = {'create, 50 clients (/s)': made[0], 'PSS a pod (bytes)': (pss - base) * 1024 / size}

            def each(what, path, n, extra=()):
                cpu = cpu_ms([server])
                row[what + ', p50 (ms)'] = h2load(url + path, n, 1, who + list(extra))[1]
                row[what + ', server CPU (us)'] = (cpu_ms([server]) - cpu) * 1000 / n
            each('GET of a pod', '/api/v1/namespaces/small/pods/one', 1000)
            each('list of the 101 pods of a namespace', '/api/v1/namespaces/small/pods', 200)
            each('list of 500 of all', '/api/v1/pods?limit=500', 100)
            each('list of a node that has none', '/api/v1/pods?fieldSelector=spec.nodeName%3Dnobody', 200)
            each('PATCH of a ConfigMap', '/api/v1/namespaces/small/configmaps/one', 500,
                 ['-H', ':method: PATCH', '-H', 'Content-Type: application/merge-patch+json', '-d', other.root + '/scale.json'])
            figures[size] = row
        print('    from %d to %d pods of %d bytes of JSON:' % (sizes[0], sizes[1], text))
        for what in figures[sizes[0]]:
            show(what, figures[sizes[1]][what], '', figures[sizes[0]][what], 'at %d' % sizes[0])
        show('PSS a pod', figures[sizes[1]]['PSS a pod (bytes)'], 'bytes', text, 'its JSON')
        start = time.monotonic()
        other.down()
        other.up()
        show('up --detach over %d pods' % sizes[1], (time.monotonic() - start) * MS, 'ms', more='down before it included')


def fan_out(c, api, maps, n=1000, rounds=9, change=lambda i: {'data': {'round': str(i)}}):
    """ms of the server's CPU for each round."""
    rev = api.call('GET', maps + '?limit=1')['metadata']['resourceVersion']
    waiting, watchers = selectors.DefaultSelector(), []
    before = pss_kb(roles(c)['server'])
    for _ in range(n):
        h = api.connection()
        h.request('GET', maps + '?watch=1&fieldSelector=metadata.name%3Done&resourceVersion=' + rev)
        h.getresponse()
        h.sock.setblocking(False)
        waiting.register(h.sock, selectors.EVENT_READ, h)
        watchers.append(h)
    kb = (pss_kb(roles(c)['server']) - before) / n
    took, server = [], roles(c)['server']
    cpu = cpu_ms([server])
    for i in range(rounds):
        start, seen = time.monotonic(), set()
        api.call('PATCH', maps + '/one', change(i), 'application/merge-patch+json')
        while len(seen) < n:
            for key, _ in waiting.select(10):
                try:
                    while True:
                        if b'\n' in key.fileobj.recv(65536):
                            seen.add(key.fd)
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
        took.append((time.monotonic() - start) * MS)
    used = (cpu_ms([server]) - cpu) / rounds
    show('one write to %d watchers, to the last' % n, statistics.median(took), 'ms',
         more='%s, server %.1f us CPU each, %.1f KiB per connection' % (spread(took), used * 1000 / n, kb))
    for h in watchers:
        h.sock.close()
    return used


def rollout(c, api, n=1000):
    """How long a GET takes while controllers are busy, in a server with hollow nodes: bench/rollout_bench.c."""
    with lib.Cluster(port=26445, args=['--roles', 'server'], image=False) as other:
        server = roles(other)['server']
        before = pss_kb(server)
        print(run([os.path.join(lib.BUILD, 'bench-rollout'), other.env['KUBECONFIG'], str(n)], timeout=900), end='')
        show('server PSS after that', pss_kb(server) / 1024, 'MiB', before / 1024, 'before')


SECTIONS = [('up', up), ('idle', idle), ('ready', ready), ('reach', reach), ('pods', pods), ('http', http_rates), ('growth', growth), ('rollout', rollout)]


def main():
    lib.own_namespaces()
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    words = sys.argv[1:]
    if words[:1] == ['tmpfs']:
        words = words[1:]
        run(['mount', '-t', 'tmpfs', 'tmpfs', '/tmp'])    # in the mount namespace of its own
    print('%s, load %s' % (run([lib.WHERRY, '--version'], check=False).strip() or lib.WHERRY, open('/proc/loadavg').read().split()[0]))
    with lib.Cluster(port=26443) as c:
        for name, section in SECTIONS:
            if words and not any(w in name for w in words):
                continue
            c.down()                                    # each begins with fresh roles ...
            c.up()
            if section in (ready, reach):
                time.sleep(20)                          # ... and after the kernel took namespaces and groups of earlier pods apart
            section(c, Api(c))
    return 0


if __name__ == '__main__':
    sys.exit(main())
