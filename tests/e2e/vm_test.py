#!/usr/bin/env python3
"""On a machine of its own, with systemd and pure cgroup v2 (vm.py): wherry install, the unit under load, reboots, power cuts, another name and address."""
import base64, http.client, random, ssl, threading
from lib import *
from vm import Machine, PROGRAMS, test_image, vm_image

SLOW = 300                                              # seconds that the emulated machine may take for what takes a second elsewhere
CUTS = size(1, 3)
GROUPS = '/sys/fs/cgroup/wherry-pods.service'
ADDRESS, OTHER = '10.0.2.15', '10.0.2.77'
SLEEPER = 'trap "exit 0" TERM; while true; do sleep 1; done'


class Vm(Cluster):
    """The machine where lib.py has a cluster; kubectl runs out here, with the kubeconfig that the first start wrote."""

    def __init__(self):
        self.root, self.machine = '', None

    def __enter__(self):
        self.bin = clients()
        self.folder = tempfile.mkdtemp(prefix='wherry-vm-test-')
        payload = [os.path.join(BUILD, p) for p in PROGRAMS + ('load',)] + [test_image(self.folder)]
        self.machine = Machine(payload, [('api', ADDRESS, 6443), ('api-other', OTHER, 6443), ('demo', ADDRESS, 30080), ('demo-other', OTHER, 30080)])
        try:
            self.machine.boot()
            self.sh('mkdir -p /var/log/journal && journalctl --flush')
        except BaseException:
            print(self.machine.log()[-3000:])
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        if self.machine:
            self.machine.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def down(self):
        pass

    def log(self):
        try:
            return self.sh('journalctl -u wherry -o cat --no-pager', timeout=SLOW)
        except (AssertionError, OSError):
            return ''                                   # it is off

    def sh(self, script, **kw):
        return self.machine.sh(script, **dict({'timeout': SLOW}, **kw))

    def use(self, port):
        """kubectl goes to this forwarded port from now on; the certificate is compared with the address inside."""
        text = getattr(self, 'kubeconfig', None) or self.sh('cat /etc/wherry/admin.kubeconfig')
        self.kubeconfig = text
        path = self.folder + '/kubeconfig'
        with open(path, 'w') as f:
            f.write(text.replace('https://127.0.0.1:6443', 'https://127.0.0.1:%d' % self.machine.port(port)))
        self.env = dict(os.environ, KUBECONFIG=path, HOME=self.folder)
        self.api = port

    def kubectl(self, *args, **kw):
        return Cluster.kubectl(self, '--request-timeout=60s', *args, **dict({'timeout': SLOW}, **kw))

    def get(self, *args):
        return json.loads(self.kubectl('get', *args, '-o', 'json'))

    def pids(self, name='web'):
        return sorted(self.sh('pgrep -x %s || true' % name).split())

    def credentials(self):
        """A TLS context with what the kubeconfig holds."""
        def data(key):
            return base64.b64decode(re.search(key + ': (\\S+)', self.kubeconfig).group(1)).decode()
        context = ssl.create_default_context(cadata=data('certificate-authority-data'))
        path = self.folder + '/client.pem'
        with open(path, 'w') as f:
            f.write(data('client-certificate-data') + data('client-key-data'))
        context.load_cert_chain(path)
        return context


def demo(c):
    """What the demo says to the machine out here."""
    port = c.machine.port('demo' if c.api == 'api' else 'demo-other')
    return run(['curl', '-s', '-m', '10', 'http://127.0.0.1:%d/' % port])


def as_declared(c, what):
    """The node is Ready, the demo has its three pods, ready, and serves."""
    def look():
        nodes = c.get('nodes')['items']
        assert [n['metadata']['name'] for n in nodes] == ['vm'], nodes
        assert any(x['type'] == 'Ready' and x['status'] == 'True' for x in nodes[0]['status']['conditions']), nodes[0]['status']
        status = c.get('deploy', 'demo')['status']
        assert status.get('readyReplicas') == 3 and status['replicas'] == 3, status
        return demo(c).startswith('Hello from demo-')
    eventually(what, look, SLOW, 1)


def restarts(c):
    return {p['metadata']['name']: p['status']['containerStatuses'][0]['restartCount'] for p in c.get('pods', '-l', 'app=demo')['items']}


def pod(name, command, extra='', container=''):
    return f'''
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
{extra}
  containers:
  - name: c
    image: {IMAGE}
    command: [sh, -c, '{command}']
{container}
'''


def group_of(c, name):
    """The folder of the control group of a pod's one container."""
    uid = c.get('pod', name)['metadata']['uid']
    return c.sh('find %s -path "*/pod%s/*" -type d' % (GROUPS, uid)).strip()


# --- the tests, in this order ---

def systemd_runs_it(c):
    assert c.sh('stat -fc %T /sys/fs/cgroup').strip() == 'cgroup2fs'
    status, out = c.sh('chmod 755 /root /root/in && setpriv --reuid 65534 --clear-groups /root/in/wherry install', check=False)
    assert status == 1 and 'only root can do this' in out, out
    status, out = c.sh('/root/in/wherry install --prefix', check=False)
    assert status == 2 and 'wherry install --help' in out, out
    assert 'wherry is not installed' in c.sh('/root/in/wherry uninstall')
    status, out = c.sh('mv /usr/bin/crun /usr/bin/crun.away; /root/in/wherry install; s=$?; mv /usr/bin/crun.away /usr/bin/crun; exit $s', check=False)
    assert status == 1 and 'apt-get install crun' in out, out
    status, out = c.sh('/root/in/wherry up --detach >/dev/null && /root/in/wherry install', check=False)
    assert status == 1 and 'which systemd did not start' in out, out
    c.sh('kill $(cat /run/wherry/supervisor.lock); while flock -n -x /run/wherry/supervisor.lock true; [ $? != 0 ]; do sleep 0.2; done')
    out = c.sh('/root/in/wherry install')
    assert '/usr/local/bin/wherry' in out and 'wherry.service runs' in out, out
    assert c.sh('systemctl is-active wherry wherry-pods; systemctl is-enabled wherry').split() == ['active', 'active', 'enabled']
    main = c.sh('systemctl show --value -p MainPID wherry')
    assert 'runs, as it did' in c.sh('wherry install') and c.sh('systemctl show --value -p MainPID wherry') == main
    c.use('api')
    c.sh('wherry image load /root/in/image.tar')
    c.apply(deployment('demo', 3) + service('demo', 30080))
    as_declared(c, 'the demo serves')


def limits_hold_on_cgroup_v2(c):
    c.apply(pod('busy', 'while true; do true; done', container='    resources: {limits: {cpu: 200m, memory: 64Mi}}'))
    c.apply(pod('hungry', 'x=aaaaaaaa; while true; do x=$x$x; done', container='    resources: {limits: {memory: 24Mi}}'))
    c.apply(pod('plain', SLEEPER) + '---' + pod('bare', SLEEPER, container='    securityContext: {privileged: true}'))
    state = eventually('the hungry one ends', lambda: c.get('pod', 'hungry')['status']['containerStatuses'][0]['state'].get('terminated'), SLOW, 1)
    assert (state['reason'], state['exitCode']) == ('OOMKilled', 137), state
    c.kubectl('wait', 'pod/busy', 'pod/plain', 'pod/bare', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    group = group_of(c, 'busy')

    def used():
        text = c.sh('cat %s/cpu.stat /proc/uptime' % group)
        return [int(re.search(k + ' (\\d+)', text).group(1)) for k in ('usage_usec', 'nr_throttled')] + [float(text.split()[-2])]
    first = used()
    last = eventually('it is held back', lambda: (lambda now: now[1] > first[1] + 30 and now)(used()), SLOW, 1)
    share = (last[0] - first[0]) / 1e6 / (last[2] - first[2])
    assert share < 0.26, share
    assert c.sh('cat %s/memory.max %s/memory.swap.max %s/memory.oom.group' % (group, group, group)).split() == [str(64 << 20), '0', '1']
    # burstable pods together (none asks for CPU), all pods, and one that is resized
    root = c.sh('ls -d %s/wherry-*' % GROUPS).strip()
    assert c.sh('cat %s/burstable/cpu.weight %s/besteffort/cpu.weight' % (root, root)).split() == ['1', '1'], root
    assert int(c.sh('cat %s/memory.max' % root)) > 1 << 30
    c.kubectl('patch', 'pod', 'busy', '--subresource', 'resize', '-p',
              '{"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "300m", "memory": "96Mi"}, "requests": {"cpu": "300m", "memory": "96Mi"}}}]}}')
    eventually('it has grown', lambda: c.sh('cat %s/cpu.max %s/memory.max %s/../cpu.max %s/../memory.max' % (group, group, group, group)).split() ==
               ['30000', '100000', str(96 << 20)] * 2, SLOW, 1)
    assert c.get('pod', 'busy')['status']['containerStatuses'][0]['restartCount'] == 0
    try_device = 'busybox mknod /tmp/vda b $1 0 && head -c 1 /tmp/vda >/dev/null && echo opened'
    major = c.sh('stat -c %Hr /dev/vda').strip()
    for name, opens in (('plain', False), ('bare', True)):
        out = run([c.bin + '/kubectl', 'exec', name, '--', 'sh', '-c', '(mkdir -p /tmp; %s) 2>&1 || true' % try_device.replace('$1', major)], env=c.env, timeout=SLOW)
        assert ('opened' in out) == opens and ('Operation not permitted' in out) != opens, (name, out)
    # a group that has controllers for its children has no process of its own
    wrong = c.sh('cd %s; for d in $(find . -type d); do [ -z "$(cat $d/cgroup.subtree_control)" ] || [ -z "$(cat $d/cgroup.procs)" ] || echo $d; done' % GROUPS)
    assert not wrong, wrong
    assert sorted(c.sh('cat %s/*/shims/cgroup.procs' % GROUPS).split()) == c.pids('wherry-shim')
    c.kubectl('delete', 'pod', 'busy', 'hungry', 'plain', 'bare')
    uids = {p['metadata']['uid'] for p in c.get('pods')['items']}
    eventually('their groups are gone', lambda: {d[3:] for d in c.sh('find %s -name "pod*" -printf "%%f "' % GROUPS).split()} == uids, SLOW, 1)


class Load:
    """Requests to the demo's node port, from inside of the machine, all the while; none may fail."""

    def __init__(self, c):
        self.c = c

    def __enter__(self):
        self.c.sh('/root/in/load 127.0.0.1 30080 5 3600 0 120 >/run/load.out 2>&1 & echo $! >/run/load.pid')

    def __exit__(self, kind, *unused):
        self.c.sh('kill -INT $(cat /run/load.pid); while kill -0 $(cat /run/load.pid) 2>/dev/null; do sleep 0.2; done')
        out = self.c.sh('cat /run/load.out')
        assert kind or (' failed 0 ' in out and int(out.split()[1]) > 20), out


def the_unit_restarts_under_load(c):
    web, shims, count = c.pids(), c.pids('wherry-shim'), restarts(c)
    main = 'systemctl show --value -p MainPID wherry'
    roles = 'cat /run/wherry/roles/* | cut -d" " -f1 | sort | paste -sd" "'

    def unchanged(what):
        as_declared(c, what)
        assert c.pids() == web and c.pids('wherry-shim') == shims and restarts(c) == count, (what, web, c.pids(), restarts(c))
    with Load(c):
        before = c.sh(main)
        c.sh('systemctl restart wherry')
        assert c.sh(main) != before
        unchanged('after systemctl restart')
        before, had = c.sh(main), c.sh(roles).split()
        c.sh('systemctl reload wherry')
        eventually('all roles are new ones', lambda: not set(c.sh(roles).split()) & set(had), SLOW, 1)
        assert c.sh(main) == before
        unchanged('after systemctl reload')
        had = c.sh(roles)
        c.sh('kill -9 $(%s)' % main)
        eventually('systemd starts another supervisor', lambda: c.sh(main) not in (before, '0\n') and c.sh('systemctl is-active wherry', check=False)[0] == 0, SLOW, 1)
        assert c.sh(roles) == had, 'it adopts what runs'
        unchanged('after the death of the supervisor')
        for role in ('server', 'node', 'relay', 'dns', 'edge'):
            had = c.sh(roles).split()
            c.sh('kill -9 $(cut -d" " -f1 /run/wherry/roles/%s)' % role)
            eventually(role + ' is back', lambda: (lambda now: len(now) == len(had) and len(set(now) & set(had)) == len(had) - 1)(c.sh(roles).split()), SLOW, 1)
        unchanged('after the death of each role')
        c.sh('systemctl stop wherry')
        assert c.pids() == web and not c.sh('pgrep -f "^wherry (server|node|relay|dns|edge)" || true')
        assert c.sh('busybox wget -q -O - http://127.0.0.1:30080/').startswith('Hello from demo-'), 'they serve without it'
        c.sh('systemctl start wherry')
        unchanged('after stop and start')


def wrong_settings_are_told(c):
    c.sh('echo "max-podz: 3" > /etc/wherry/config.yaml; systemctl reload wherry')
    eventually('the reload is refused', lambda: 'there is no setting \\"max-podz\\"' in c.log(), SLOW, 1)
    as_declared(c, 'it goes on with the settings it had')
    c.sh('echo "max-pods: 77" > /etc/wherry/config.yaml; systemctl reload wherry')
    eventually('the setting is in force', lambda: c.get('node', 'vm')['status']['capacity']['pods'] == '77', SLOW, 1)
    c.sh('rm /etc/wherry/config.yaml; systemctl reload wherry')
    eventually('the default is back', lambda: c.get('node', 'vm')['status']['capacity']['pods'] == '110', SLOW, 1)


def a_reboot_comes_back(c):
    story = pod('keeper', 'echo began >>/host/story; trap "echo ended >>/host/story; exit 0" TERM; while true; do sleep 1; done',
                extra='  volumes: [{name: host, hostPath: {path: /root/host, type: DirectoryOrCreate}}]', container='    volumeMounts: [{name: host, mountPath: /host}]')
    c.apply(story.replace('restartPolicy: Never', 'restartPolicy: Always'))
    c.kubectl('wait', 'pod/keeper', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    names, boot = sorted(restarts(c)), c.sh('cat /proc/sys/kernel/random/boot_id').strip()
    took = c.machine.reboot(SLOW)
    print('     down within %d s' % took, flush=True)
    assert c.sh('cat /proc/sys/kernel/random/boot_id').strip() != boot
    as_declared(c, 'all is back after a reboot')
    assert sorted(restarts(c)) == names, 'the same pods'
    eventually('the node says so', lambda: c.get('node', 'vm')['status']['nodeInfo']['bootID'] == c.sh('cat /proc/sys/kernel/random/boot_id').strip(), SLOW, 1)
    eventually('pods had their time to end', lambda: c.sh('cat /root/host/story').split() == ['began', 'ended', 'began'], SLOW, 1)
    c.kubectl('delete', 'pod', 'keeper')


def inside(c, name, *command, container='c', check=True):
    return c.kubectl('exec', name, '-c', container, '--', *command, check=check).strip()


def apparmor_confines_what_asks_for_it(c):
    assert c.sh('cat /sys/module/apparmor/parameters/enabled').strip() == 'Y'
    c.sh("printf 'profile wherry-test-no-tmp flags=(attach_disconnected,mediate_deleted) {\n  file,\n  network,\n  capability,\n  signal,\n  deny /tmp/** w,\n}\n' | apparmor_parser --replace")
    adds = 'securityContext: {capabilities: {add: [SYS_ADMIN]}, seccompProfile: {type: Unconfined}%s}'
    c.apply('---'.join([pod('free', SLEEPER, container='    ' + adds % ''),
                        pod('confined', SLEEPER, container='    ' + adds % ', appArmorProfile: {type: RuntimeDefault}'),
                        pod('local', SLEEPER, container='    ' + adds % ', appArmorProfile: {type: Localhost, localhostProfile: wherry-test-no-tmp}'),
                        pod('nowhere', SLEEPER, container='    ' + adds % ', appArmorProfile: {type: Localhost, localhostProfile: not-loaded}')]))
    c.kubectl('wait', 'pod/free', 'pod/confined', 'pod/local', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    names = {'free': 'unconfined', 'confined': 'wherry-default (enforce)', 'local': 'wherry-test-no-tmp (enforce)'}
    for name, profile in names.items():
        assert inside(c, name, 'cat', '/proc/1/attr/current') == profile == inside(c, name, 'cat', '/proc/self/attr/current'), name
        out = inside(c, name, 'sh', '-c', 'mkdir -p /tmp/at; (busybox mount -t tmpfs x /tmp/at && echo mounted) 2>&1; (echo x >/tmp/file && echo written) 2>&1; true')
        assert ('mounted' in out) == (name == 'free') and ('written' in out) == (name != 'local'), (name, out)
    why = eventually('what is not loaded is told', lambda: c.get('pod', 'nowhere')['status']['containerStatuses'][0]['state'].get('waiting', {}).get('message'), SLOW, 1)
    assert 'apparmor profile not found not-loaded' in why, why
    c.kubectl('delete', 'pod', 'free', 'confined', 'local', 'nowhere')


def context_of(c, name):
    """What ps says from outside of a pod's processes."""
    return set(c.sh('for p in $(cat %s/cgroup.procs); do cat /proc/$p/attr/current 2>/dev/null && echo; done; true' % group_of(c, name)).replace('\0', '').split())


def selinux_labels_what_runs(c):
    c.machine.kernel = 'security=selinux selinux=1'
    c.machine.reboot(SLOW)
    as_declared(c, 'all is back, with labels')
    assert c.sh('getenforce').strip() == 'Permissive'
    options = '  securityContext: {seLinuxOptions: {level: "s0:c123,c456"}}\n'
    volumes = """  volumes:
  - {name: own, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: host, hostPath: {path: /root/labels, type: DirectoryOrCreate}}
  - {name: map, configMap: {name: kube-root-ca.crt}}
"""
    mounts = '    volumeMounts: [{name: own, mountPath: /own}, {name: memory, mountPath: /memory}, {name: host, mountPath: /host}, {name: map, mountPath: /map}]\n'
    typed = '    securityContext: {seLinuxOptions: {type: %s}}\n'
    c.apply('---'.join([pod('asked', 'echo x >/own/made; echo y >/made; ' + SLEEPER, options + volumes, mounts), pod('drawn', SLEEPER), pod('other', SLEEPER),
                        pod('super', SLEEPER, container=typed % 'spc_t'), pod('almighty', SLEEPER, options, '    securityContext: {privileged: true}\n'),
                        pod('unknown', SLEEPER, container=typed % 'no_such_t'), pod('wrong', SLEEPER, container='    securityContext: {seLinuxOptions: {level: c1}}\n')]))
    c.kubectl('wait', *('pod/' + n for n in ('asked', 'drawn', 'other', 'super', 'almighty')), '--for=condition=Ready', '--timeout=%ds' % SLOW)
    # from inside, from outside, and of what is started in it later
    process, files = 'system_u:system_r:container_t:s0:c123,c456', 'system_u:object_r:container_file_t:s0:c123,c456'
    assert inside(c, 'asked', 'cat', '/proc/1/attr/current').strip('\0') == process == inside(c, 'asked', 'cat', '/proc/self/attr/current').strip('\0')
    labels = {n: context_of(c, n) for n in ('asked', 'drawn', 'other', 'super', 'almighty')}
    print('     %s' % labels, flush=True)
    assert labels['asked'] == {process}, labels
    level = {n: min(labels[n]).split(':', 3)[3] for n in labels}
    assert all(re.fullmatch(r's0:c\d+,c\d+', level[n]) for n in ('drawn', 'other', 'super')) and len({level[n] for n in ('drawn', 'other', 'super')}) == 3, labels
    assert ':container_t:' in min(labels['drawn']) and ':spc_t:' in min(labels['super']) and ':container_t:' not in min(labels['almighty']), labels
    pid = c.sh('cat %s/cgroup.procs' % group_of(c, 'asked')).split()[0]
    seen = c.sh('cd /proc/%s/root && ls -dZ . made own own/made memory host map map/ca.crt etc/hosts etc/resolv.conf dev/shm dev dev/termination-log' % pid)
    print(seen, flush=True)
    labelled = {line.split()[1]: line.split()[0] for line in seen.splitlines()}
    assert {n for n in labelled if labelled[n] != files} == {'host'}, seen
    # nothing of what is wrong starts, and it is told
    why = {n: eventually('%s is told' % n, lambda: c.get('pod', n)['status']['containerStatuses'][0]['state'].get('waiting', {}).get('message'), SLOW, 1) for n in ('unknown', 'wrong')}
    assert 'has no context "system_u:system_r:no_such_t:' in why['unknown'] and "the format of 'level' \"c1\" is not correct" in why['wrong'], why
    # the level is the pod's, whatever restarts
    c.sh('kill -9 $(cut -d" " -f1 /run/wherry/roles/node)')
    c.sh('kill -9 $(cat %s/cgroup.procs)' % group_of(c, 'drawn'))
    c.apply(pod('late', SLEEPER))
    c.kubectl('wait', 'pod/late', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    assert context_of(c, 'late') not in labels.values() and context_of(c, 'other') == labels['other']
    # where the kernel says no to what the policy does not allow, nothing of ours is refused
    c.sh('dmesg -C; setenforce 1')
    c.apply(pod('strict', SLEEPER, volumes, mounts))
    c.kubectl('wait', 'pod/strict', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    assert ':container_t:' in inside(c, 'strict', 'cat', '/proc/self/attr/current')
    refused = c.sh('setenforce 0; dmesg | grep "avc: *denied" | grep initrc_t:s0.*permissive=0 || true')
    assert not refused, refused
    c.kubectl('delete', 'pod', 'asked', 'drawn', 'other', 'super', 'almighty', 'unknown', 'wrong', 'late', 'strict')


def settings(c, text):
    """These from now on; '' for the defaults."""
    c.sh('printf "%%s" \'%s\' > /etc/wherry/config.yaml; systemctl reload wherry' % text)


def figures_are_whole_on_cgroup_v2(c):
    keep = 'head -c 8000000 /dev/zero | busybox tail -c 7000000 >/tmp/x; while true; do cat /tmp/x >/dev/null; sleep 0.2; done'
    c.apply(pod('reader', 'mkdir -p /tmp; ' + keep, container='    resources: {limits: {memory: 64Mi, cpu: 400m}}'))
    c.kubectl('wait', 'pod/reader', '--for=condition=Ready', '--timeout=%ds' % SLOW)

    def raw(path):
        return c.kubectl('get', '--raw', '/api/v1/nodes/vm/proxy' + path)

    def look():
        summary = json.loads(raw('/stats/summary'))
        mine = [p for p in summary['pods'] if p['podRef']['name'] == 'reader'][0]
        for where in (summary['node'], mine, mine['containers'][0]):
            assert {'usageNanoCores', 'usageCoreNanoSeconds', 'psi'} <= set(where['cpu']), where['cpu']
            assert {'usageBytes', 'workingSetBytes', 'rssBytes', 'pageFaults', 'majorPageFaults', 'psi'} <= set(where['memory']), where['memory']
            assert {'some', 'full'} <= set(where['io']['psi']) and set(where['cpu']['psi']['some']) >= {'total', 'avg10', 'avg60', 'avg300'}, where
        memory = mine['containers'][0]['memory']
        assert memory['availableBytes'] + memory['workingSetBytes'] == 64 << 20, memory
        assert 0 < mine['cpu']['usageNanoCores'] < 450000000 and mine['process_stats']['process_count'] >= 1 and mine['network']['interfaces'], mine
        assert {'rootfs', 'logs'} <= set(mine['containers'][0]) and {x['name'] for x in summary['node']['systemContainers']} >= {'pods'}, summary['node']
        return True
    eventually('the summary has all of it', look, SLOW, 1)
    number = lambda lines, family: [float(l.split()[1]) for l in lines if l.startswith(family + '{')][0]

    def scrape():
        lines = [l for l in raw('/metrics/cadvisor').splitlines() if 'pod="reader"' in l and 'container="c"' in l]
        return number(lines, 'container_memory_cache') > 1 << 20 and lines
    lines = eventually('its file is cached', scrape, SLOW, 1)
    have = {l.split('{')[0] for l in lines}
    want = {'container_cpu_usage_seconds_total', 'container_cpu_user_seconds_total', 'container_cpu_system_seconds_total', 'container_cpu_cfs_periods_total',
            'container_cpu_cfs_throttled_periods_total', 'container_cpu_cfs_throttled_seconds_total', 'container_memory_usage_bytes', 'container_memory_working_set_bytes',
            'container_memory_rss', 'container_memory_cache', 'container_memory_max_usage_bytes', 'container_memory_failures_total', 'container_oom_events_total',
            'container_processes', 'container_threads', 'container_threads_max', 'container_spec_memory_limit_bytes', 'container_spec_cpu_quota', 'container_spec_cpu_shares',
            'container_pressure_cpu_waiting_seconds_total', 'container_pressure_memory_waiting_seconds_total', 'container_pressure_io_waiting_seconds_total'}
    assert want <= have, (sorted(want - have), sorted(have))
    assert number(lines, 'container_spec_memory_limit_bytes') == 64 << 20 and number(lines, 'container_cpu_usage_seconds_total') > 0
    top = eventually('kubectl top has it', lambda: [l.split() for l in c.kubectl('top', 'pod', 'reader').splitlines()][1], SLOW, 1)
    assert top[0] == 'reader' and re.fullmatch(r'\d+m', top[1]) and re.fullmatch(r'\d+Mi', top[2]), top
    assert c.kubectl('top', 'node').splitlines()[1].startswith('vm ')
    c.kubectl('delete', 'pod', 'reader')


def users_of_their_own_are_refused_by_name(c):
    """What this kernel cannot do is told; where it can, the pod has ids of its own."""
    c.apply(pod('users', SLEEPER, '  hostUsers: false'))
    if tuple(int(n) for n in re.findall(r'\d+', c.sh('uname -r'))[:2]) < (6, 3):
        said = eventually('it is told', lambda: [e['message'] for e in c.get('events', '--field-selector', 'involvedObject.name=users,reason=FailedCreatePodSandBox')['items']], SLOW, 1)
        assert "can't set `spec.hostUsers: false`, runtime does not support user namespaces" in said[0], said
    c.kubectl('delete', 'pod', 'users')


def fences_stop_packets(c):
    c.apply(pod('asks', SLEEPER))
    c.kubectl('wait', 'pod/asks', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    ask = 'busybox timeout 5 wget -q -O - http://demo/ || echo nothing'  # its own -T ends the static busybox by SIGSEGV
    eventually('it hears', lambda: inside(c, 'asks', 'sh', '-c', ask).startswith('Hello from demo-'), SLOW, 1)
    c.apply('apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shut}\nspec: {podSelector: {matchLabels: {app: demo}}, policyTypes: [Ingress]}\n')
    eventually('it hears nothing', lambda: inside(c, 'asks', 'sh', '-c', ask) == 'nothing', SLOW, 1)
    as_ready = c.get('deploy', 'demo')['status']
    assert as_ready.get('readyReplicas') == 3, 'probes come from the node: %s' % as_ready
    c.kubectl('delete', 'networkpolicy', 'shut')
    eventually('it hears again', lambda: inside(c, 'asks', 'sh', '-c', ask).startswith('Hello from demo-'), SLOW, 1)
    c.kubectl('delete', 'pod', 'asks')


def memory_that_runs_short_evicts(c):
    left = json.loads(c.kubectl('get', '--raw', '/api/v1/nodes/vm/proxy/stats/summary'))['node']['memory']['availableBytes'] >> 20
    settings(c, 'eviction-hard: memory.available<%dMi\neviction-pressure-transition-period: 10s\n' % (left - 200))
    hog = 'x=; n=0; while [ $n -lt 60 ]; do head -c 8000000 /dev/zero >/memory/$n; n=$((n+1)); sleep 0.3; done; sleep 1000'
    eventually('the settings are in force', lambda: 'memory.available<%dMi' % (left - 200) in c.sh('cat /etc/wherry/config.yaml') and c.get('nodes'), SLOW, 1)
    c.apply(pod('hog', hog, '  volumes: [{name: memory, emptyDir: {medium: Memory}}]', '    volumeMounts: [{name: memory, mountPath: /memory}]'))
    gone = eventually('it is evicted', lambda: (lambda s: s.get('reason') == 'Evicted' and s)(c.get('pod', 'hog')['status']), SLOW, 1)
    assert gone['phase'] == 'Failed' and gone['message'].startswith('The node was low on resource: memory. Threshold quantity: %dMi, available: ' % (left - 200)), gone
    shut = lambda: {x['type']: x['status'] for x in c.get('node', 'vm')['status']['conditions']}['MemoryPressure']
    eventually('the pressure is over', lambda: shut() == 'False', SLOW, 1)
    assert c.get('deploy', 'demo')['status'].get('readyReplicas') == 3, 'who has not more than it asked for stays'
    settings(c, '')
    c.kubectl('delete', 'pod', 'hog')


def teller(name, priority, end):
    """A Deployment of one pod that writes down when it begins, is told to end, and ends."""
    command = 'echo %s began >>/host/story; trap "echo %s told >>/host/story; %s; echo %s ended >>/host/story; exit 0" TERM; while true; do sleep 0.2; done' % (name, name, end, name)
    return """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      priorityClassName: %s
      volumes: [{name: host, hostPath: {path: /root/host, type: DirectoryOrCreate}}]
      containers:
      - name: c
        image: %s
        command: [sh, -c, '%s']
        volumeMounts: [{name: host, mountPath: /host}]
""" % (name, name, name, priority, IMAGE, command)


def pods_end_by_priority_before_the_machine_does(c):
    settings(c, 'shutdown-grace: 0=90,1000=90\n')
    eventually('the node has it', lambda: c.sh('cat /run/wherry/shutdown.grace 2>/dev/null || true').strip() == '180', SLOW, 1)
    c.sh('rm -rf /root/host')
    c.apply(''.join('---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: %s}\nvalue: %d\n' % x for x in (('small', 0), ('great', 1000))) +
            teller('small', 'small', 'sleep 10') + teller('great', 'great', 'sleep 1'))
    ran = lambda: all(c.get('deploy', n)['status'].get('readyReplicas') == 1 for n in ('small', 'great')) and sorted(c.sh('cat /root/host/story').splitlines()[-2:])
    assert eventually('both run', ran, SLOW, 1) == ['great began', 'small began']
    # a stop of the unit alone is no shutdown
    c.sh('systemctl stop wherry-shutdown; systemctl start wherry-shutdown')
    assert len(c.sh('cat /root/host/story').splitlines()) == 2 and c.sh('systemctl is-active wherry').strip() == 'active'
    took = c.machine.reboot(SLOW)
    print('     down within %d s' % took, flush=True)
    as_declared(c, 'all is back')
    eventually('both run again', ran, SLOW, 1)
    story = c.sh('cat /root/host/story').splitlines()
    assert sorted(story[:2]) == ['great began', 'small began'] and story[2:6] == ['small told', 'small ended', 'great told', 'great ended'], story
    assert sorted(story[6:]) == ['great began', 'small began'], story
    before = c.sh('journalctl -b -1 -o cat --no-pager -u wherry -u wherry-shutdown', timeout=SLOW)
    at = [before.find(x) for x in ('the machine shuts down: ending pods', 'all pods have ended', 'Deactivated successfully')]
    assert -1 < at[0] < at[1], (at, before[-2000:])
    ended = [p for p in c.get('pods')['items'] if p['status'].get('reason') == 'Terminated']
    assert all(p['status']['message'] == 'Pod was terminated in response to imminent node shutdown.' for p in ended) and ended, ended
    assert {e['message'] for e in c.get('events', '-A', '--field-selector', 'reason=NodeShutdown')['items']} >= {'Shutdown manager detected shutdown event'}
    # the power goes while they end; what answers from inside is among the first that systemd ends
    def ask_for_the_end():
        try:
            c.sh('systemctl --no-block poweroff')
        except (ConnectionError, TimeoutError):
            pass
    threading.Thread(target=ask_for_the_end, daemon=True).start()
    ends = lambda: [x for x in c.get('node', 'vm')['status']['conditions'] if x['type'] == 'Ready' and x['message'] == 'node is shutting down']
    eventually('it has begun', ends, SLOW, 0.2)
    c.machine.cut_power()
    c.machine.boot()
    as_declared(c, 'all is back after a power cut')
    eventually('both run once more', ran, SLOW, 1)
    settings(c, '')
    c.kubectl('delete', 'deploy', 'small', 'great')


def installed(c):
    """Where this is the first test that runs."""
    if not hasattr(c, 'api'):
        c.sh('chmod 755 /root /root/in; /root/in/wherry install')
        c.use('api')
        c.sh('wherry image load /root/in/image.tar')


TARGET = 'iqn.2001-04.test.wherry:one'
ISCSI = 'iscsi: {targetPortal: "127.0.0.1", iqn: "%s", lun: %%d, chapAuthSession: true, secretRef: {name: chap%%s}}' % TARGET


def claimed(name, source):
    return f'''
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec: {{capacity: {{storage: 64Mi}}, accessModes: [ReadWriteOnce], volumeMode: Block, storageClassName: by-hand, {source}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec: {{accessModes: [ReadWriteOnce], volumeMode: Block, storageClassName: by-hand, volumeName: {name}, resources: {{requests: {{storage: 64Mi}}}}}}
---'''


def disks_by_the_kernel(c):
    """iSCSI by tgtd, open-iscsi and the kernel: two LUNs, one session with CHAP. A SCSI disk by its identifier, which goes from the kernel and comes by a scan."""
    installed(c)
    tgt = 'tgtadm --lld iscsi --op %s --mode %s '
    c.sh('modprobe iscsi_tcp; systemctl start tgt; cd /root; truncate -s 64M lun1 lun2\n' +
         tgt % ('new', 'target') + '--tid 1 -T %s\n' % TARGET +
         ''.join(tgt % ('new', 'logicalunit') + '--tid 1 --lun %d -b /root/lun%d\n' % (n, n) for n in (1, 2)) +
         tgt % ('new', 'account') + '--user me --password twelve-letters\n' + tgt % ('bind', 'account') + '--tid 1 --user me\n' +
         tgt % ('bind', 'target') + '--tid 1 -I ALL\nmodprobe scsi_debug dev_size_mb=32 && udevadm settle')
    c.kubectl('create', 'secret', 'generic', 'chap', '--type=kubernetes.io/iscsi-chap', '--from-literal=node.session.auth.username=me',
              '--from-literal=node.session.auth.password=twelve-letters')
    disk = c.sh('ls /dev/disk/by-id | grep ^scsi-3333').split()[0][5:]
    mount = '    volumeMounts: [{name: v, mountPath: /v}]\n'
    own = '  volumes: [{name: v, %s}]\n'
    files = pod('files', SLEEPER, own % (ISCSI % (1, '')), mount)
    scsi = pod('scsi', SLEEPER, own % ('fc: {wwids: ["%s"]}' % disk), mount)
    c.apply(claimed('block', ISCSI % (2, ', namespace: default')) + files + '---' + scsi + '---' +
            pod('block', SLEEPER, own % 'persistentVolumeClaim: {claimName: block}', '    volumeDevices: [{name: v, devicePath: /dev/mine}]\n'))
    try:
        c.kubectl('wait', 'pod/files', 'pod/block', 'pod/scsi', '--for=condition=Ready', '--timeout=%ds' % (SLOW - 30))
    except AssertionError:
        print(c.kubectl('get', 'events'), c.sh('ls -l /dev/disk/*; iscsiadm -m session -P 3; dmesg | tail -30', check=False), flush=True)
        raise
    sessions = lambda: [line for line in c.sh('iscsiadm -m session 2>/dev/null || true').splitlines() if TARGET in line]
    disks = lambda: c.sh('ls /dev/disk/by-path | grep -c %s || true' % TARGET).strip()
    assert len(sessions()) == 1 and disks() == '2', (sessions(), c.sh('ls -l /dev/disk/by-path'))
    attached = {v['name'] for v in c.get('node', 'vm')['status']['volumesAttached']}
    assert attached == {'kubernetes.io/iscsi/127.0.0.1:%s:%d' % (TARGET, n) for n in (1, 2)} | {'kubernetes.io/fc/[%s]' % disk}, attached
    for name in ('files', 'scsi'):
        inside(c, name, 'sh', '-c', 'echo kept >/v/file')
    inside(c, 'block', 'sh', '-c', 'echo block >/dev/mine')
    c.sh('kill -9 $(cut -d" " -f1 /run/wherry/roles/node)')
    c.kubectl('delete', 'pod', 'files', 'scsi')
    eventually('the disk is gone, the session is not', lambda: disks() == '1' and len(sessions()) == 1, SLOW, 1)
    eventually('the kernel has forgotten the SCSI disk', lambda: c.sh('ls /dev/disk/by-id').count('scsi-' + disk) == 0, SLOW, 1)
    c.apply(files + '---' + scsi)
    c.kubectl('wait', 'pod/files', 'pod/scsi', '--for=condition=Ready', '--timeout=%ds' % SLOW)
    for name in ('files', 'scsi'):
        assert inside(c, name, 'cat', '/v/file') == 'kept', name
    c.kubectl('delete', 'pod', 'files', 'block', 'scsi')
    eventually('the session is over', lambda: not sessions() and disks() == '0' and not c.get('node', 'vm')['status'].get('volumesAttached'), SLOW, 1)
    assert c.sh('iscsiadm -m node 2>/dev/null || true') == '' and c.sh('ls /var/lib/kubelet/plugins/kubernetes.io').split() == []
    assert c.sh('head -c 6 /root/lun2') == 'block\n'
    c.kubectl('delete', 'pvc/block', 'pv/block', 'secret/chap')
    c.sh('modprobe -r scsi_debug; systemctl stop tgt')


class Writer(threading.Thread):
    """Writes a ConfigMap of its own again and again; `said` is the last value that was acknowledged, `sent` the last that was tried."""

    def __init__(self, c, name):
        super().__init__(daemon=True)
        self.c, self.name, self.said, self.sent, self.wrong = c, name, 0, 0, None

    def run(self):
        try:
            self.write()
        except (OSError, http.client.HTTPException):
            pass                                        # the power is cut
        except Exception as e:
            self.wrong = e

    def write(self):
        link = http.client.HTTPSConnection('127.0.0.1', self.c.machine.port(self.c.api), context=self.c.credentials(), timeout=SLOW)
        while True:
            self.sent += 1
            body = json.dumps({'data': {'value': str(self.sent), 'ballast': 'x' * 2000}})
            link.request('PATCH', '/api/v1/namespaces/default/configmaps/' + self.name, body, {'Content-Type': 'application/merge-patch+json'})
            answer = link.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise AssertionError('%d %s' % (answer.status, text[:300]))
            self.said = self.sent


def power_is_cut_during_writes(c):
    rng = random.Random(seed())
    for n in range(4):
        c.kubectl('create', 'configmap', 'w%d' % n, '--from-literal=value=0')
    for cut in range(CUTS):
        writers = [Writer(c, 'w%d' % n) for n in range(4)]
        for w in writers:
            w.start()
        aim = rng.randint(20, 120)
        c.kubectl('scale', 'deploy/demo', '--replicas=%d' % (4 + cut), timeout=SLOW)  # and pods are being made
        eventually('%d writes' % aim, lambda: sum(w.said for w in writers) >= aim or any(w.wrong for w in writers), SLOW, 0.01)
        c.machine.cut_power()
        for w in writers:
            w.join(SLOW)
            assert not w.wrong and not w.is_alive(), (w.name, w.wrong)
        c.machine.boot()
        eventually('the API is back', lambda: c.kubectl('get', '--raw', '/readyz') == 'ok', SLOW, 1)
        for w in writers:
            value = int(c.get('configmap', w.name)['data']['value'])
            assert w.said <= value <= w.sent, ('an acknowledged write is lost', w.name, w.said, value, w.sent)
            c.kubectl('patch', 'configmap', w.name, '--type=merge', '-p', '{"data":{"value":"0"}}')
        assert c.get('deploy', 'demo')['spec']['replicas'] == 4 + cut
        print('     cut after %d acknowledged writes' % sum(w.said for w in writers), flush=True)
        c.kubectl('scale', 'deploy/demo', '--replicas=3')
        as_declared(c, 'all is back after the power cut')


def another_name_and_address(c):
    web, count = c.pids(), restarts(c)
    c.sh('hostnamectl set-hostname other; sed -i s/%s/%s/ /etc/systemd/network/eth0.network; networkctl reload; networkctl reconfigure eth0' % (ADDRESS, OTHER))
    c.use('api-other')

    def addresses():
        return {a['type']: a['address'] for a in c.get('node', 'vm')['status']['addresses']}
    eventually("the node's address follows", lambda: addresses()['InternalIP'] == OTHER, SLOW, 1)
    as_declared(c, 'the node keeps its name, and the pods serve on the new address')
    assert c.pids() == web and restarts(c) == count
    hosts = {p['status']['hostIP'] for p in c.get('pods', '-l', 'app=demo')['items']}
    eventually('so do the pods', lambda: {p['status']['hostIP'] for p in c.get('pods', '-l', 'app=demo')['items']} == {OTHER}, SLOW, 1)
    with socket_to(c) as s:                             # verified against the address that it has inside
        assert ('IP Address', OTHER) in s.getpeercert()['subjectAltName']
    assert 'vm' in c.sh('wherry get nodes'), 'the kubeconfig in there works'
    c.machine.reboot(SLOW)
    as_declared(c, 'all is back under the new name')
    with socket_to(c) as s:
        assert ('DNS', 'other') in s.getpeercert()['subjectAltName'], hosts
    assert addresses() == {'InternalIP': OTHER, 'Hostname': 'vm'}


def socket_to(c):
    import socket
    raw = socket.create_connection(('127.0.0.1', c.machine.port(c.api)), SLOW)
    return c.credentials().wrap_socket(raw, server_hostname=OTHER)


def down_and_uninstall_leave_nothing(c):
    left = 'pgrep -a wherry; pgrep -ax web; ls -d %s /sys/fs/cgroup/wherry* 2>/dev/null; ip -o link show type veth; nft list tables | grep wherry; mount | grep wherry; true' % GROUPS
    c.sh('wherry down')
    assert not c.sh(left), c.sh(left)
    assert c.sh('systemctl is-active wherry wherry-pods', check=False)[1].split() == ['inactive', 'inactive']
    c.sh('systemctl start wherry')
    as_declared(c, 'what was declared is back')
    out = c.sh('wherry uninstall --purge')
    assert 'not installed any more' in out, out
    assert not c.sh(left), c.sh(left)
    files = 'ls -d /usr/local/bin/wherry* /etc/systemd/system/*wherry* /etc/systemd/system/*/*wherry* /etc/wherry /var/lib/wherry /run/wherry 2>/dev/null || true'
    assert not c.sh(files), c.sh(files)
    assert 'wherry is not installed' in c.sh('/root/in/wherry uninstall')


if __name__ == '__main__':
    if os.environ.get('WHERRY_E2E') != 'inside':
        vm_image()                                      # in namespaces of our own there is no network to make it from
    main([systemd_runs_it, limits_hold_on_cgroup_v2, figures_are_whole_on_cgroup_v2, users_of_their_own_are_refused_by_name, fences_stop_packets,
          memory_that_runs_short_evicts, the_unit_restarts_under_load, wrong_settings_are_told, a_reboot_comes_back, pods_end_by_priority_before_the_machine_does, power_is_cut_during_writes,
          another_name_and_address, apparmor_confines_what_asks_for_it, selinux_labels_what_runs, disks_by_the_kernel, down_and_uninstall_leave_nothing], cluster=Vm)
