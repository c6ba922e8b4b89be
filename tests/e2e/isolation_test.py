#!/usr/bin/env python3
"""Attacks from inside of a pod, with nothing but the goal to get out of it (attack.c); and what a pod may see."""
import json, os, re, signal, subprocess
from lib import *
from machine import cgroups, instance_here

ATTACK = 'wherry.dev/attack:1'


class Attacked(Cluster):
    def load_image(self):
        super().load_image()
        program, tar = self.root + '/attack', self.root + '/attack.tar'
        run(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-static', '-o', program, os.path.join(TOP, 'tests/e2e/attack.c')])
        files = ['bin/attack=' + program, 'bin/busybox=/bin/busybox'] + ['bin/%s=@busybox' % t for t in (TOOLS + ' ln rm chmod').split()]
        run([WHERRY, 'image', 'pack', tar, ATTACK, '--cmd', '/bin/sh'] + files)
        run([WHERRY, 'image', 'load', tar, '--root', self.root])


def pod(name, spec):
    return 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  terminationGracePeriodSeconds: 0\n%s\n---\n' % (name, spec)


def logs(c, name, container=None):
    """What it said so far; of all containers those that have run."""
    names = [container] if container else list(statuses(c, name))
    return ''.join(c.kubectl('logs', name, '-c', n, check=False) for n in names)


def phase(c, name):
    return c.get('pod', name)['status'].get('phase')


def statuses(c, name):
    return {s['name']: s for s in c.get('pod', name)['status'].get('containerStatuses', [])}


def away(c, *names):
    c.kubectl('delete', 'pod', '--grace-period=0', '--force', *names)


def sub_paths_lead_nowhere_else(c):
    """A sidecar exchanges a folder with a link to / while containers start with subPaths of it."""
    volumes = {'disk': 'emptyDir: {}', 'memory': 'emptyDir: {medium: Memory}', 'host': 'hostPath: {path: %s/shared, type: DirectoryOrCreate}' % c.root}
    many = range(size(8, 32))
    yaml = ''
    for kind, source in volumes.items():
        containers = ''
        for i in many:
            sub = ('subPath: d', 'subPath: d', 'subPath: d/in', 'subPathExpr: $(D)/new%d/deep' % i)[i % 4]
            containers += '''  - {name: c%d, image: %s, env: [{name: D, value: d}], command: [sh, -c, "if [ -e /m%s/etc/wherry ]; then echo ESCAPE; fi; ls /m"], volumeMounts: [{name: v, mountPath: /m, %s}]}
''' % (i, ATTACK, c.root, sub)
        yaml += pod('sub-' + kind, '''  restartPolicy: OnFailure
  initContainers:
  - {name: make, image: %s, command: [sh, -c, "mkdir -p /v/d/in; ln -s / /v/l"], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: swap, restartPolicy: Always, image: %s, command: [attack, swap, /v/d, /v/l], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
%s  volumes: [{name: v, %s}]''' % (ATTACK, ATTACK, containers, source))
    c.apply(yaml)
    for kind in volumes:
        name = 'sub-' + kind
        # each has run, or was told that its subPath leads out, at least once
        def seen():
            s = statuses(c, name)
            return len(s) == len(many) and all(x['state'].get('terminated') or x['lastState'] or
                                               x['state'].get('waiting', {}).get('reason') in ('CreateContainerConfigError', 'CreateContainerError', 'CrashLoopBackOff') for x in s.values())
        eventually('%s: every container was tried' % name, seen, 60)
        assert 'ESCAPE' not in logs(c, name), logs(c, name)
        reasons = {x['state'].get('waiting', {}).get('message', '') for x in statuses(c, name).values()}
        assert all(not r or 'subPath' in r for r in reasons), reasons
    for leaf in os.listdir(c.root + '/etc/wherry') + os.listdir(c.root) + os.listdir('/'):
        assert not re.match(r'new\d+$', leaf), leaf
    away(c, *['sub-' + k for k in volumes])


def helpers_of_ours_own_nothing(c):
    """SYS_PTRACE in a shared process namespace, and in a container's own, while others start and commands are run in it."""
    hunter = '{name: hunter, image: %s, command: [attack, hunt, %s/etc/wherry, "%d"], securityContext: {capabilities: {add: [SYS_PTRACE]}}' % (ATTACK, c.root, size(9, 90))
    c.apply(pod('shared', '''  shareProcessNamespace: true
  restartPolicy: OnFailure
  containers:
  - %s}
  - {name: flapping, image: %s, command: [sh, -c, "sleep 0.1; exit 1"]}
  - {name: still, image: %s, command: [sleep, "1000"]}''' % (hunter, ATTACK, ATTACK)) + pod('alone', '''  restartPolicy: Never
  containers:
  - %s, readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}}''' % hunter))
    for name in ('shared', 'alone'):
        eventually(name + ' hunts', lambda: 'hunting' in logs(c, name, 'hunter'))
    eventually('the third runs', lambda: statuses(c, 'shared')['still']['state'].get('running'))
    end = time.monotonic() + size(6, 75)        # while they hunt
    while time.monotonic() < end:
        asked = [subprocess.Popen([c.bin + '/kubectl', 'exec', name, '-c', container, '--', 'sleep', '0.2'], env=c.env, stderr=subprocess.PIPE, text=True)
                 for name, container in (('shared', 'still'), ('shared', 'hunter'), ('alone', 'hunter'))]
        for p in asked:
            said = p.communicate(timeout=60)[1]
            if p.returncode != 0:               # unless it took so long that the hunter is through
                assert 'hunted' in logs(c, 'shared', 'hunter') or 'hunted' in logs(c, 'alone', 'hunter'), said
                end = 0
    for name in ('shared', 'alone'):
        eventually(name + ' has hunted', lambda: 'hunted' in logs(c, name, 'hunter'), 90)
        assert 'ESCAPE' not in logs(c, name, 'hunter'), logs(c, name, 'hunter')
        assert int(re.search(r'hunted (\d+)', logs(c, name, 'hunter')).group(1)) > 4, 'it saw programs come and go: ' + logs(c, name, 'hunter')
    away(c, 'shared', 'alone')


def ordinary_pods_may_do_nothing_to_the_host(c):
    """System calls, devices and files, for an unprivileged pod as it comes and for one that may do all but two things."""
    host = ['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sysrq-trigger', '/proc/sys/vm/panic_on_oom', '/proc/sys/fs/binfmt_misc/register',
            '/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/proc/acpi/wakeup', '/proc/irq/default_smp_affinity', '/proc/latency_stats',
            '/sys/kernel/uevent_helper', '/sys/firmware/acpi/tables/DSDT', '/sys/power/state', '/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/memory/release_agent',
            '/sys/fs/cgroup/memory/cgroup.procs', '/sys/fs/cgroup/rdma/release_agent', '/sys/fs/cgroup/devices/devices.allow', '/sys/class/net/eth0/mtu', '/dev/mem', '/dev/kmsg', '/dev/sda', '/dev/vda', '/dev/fuse', '/dev/kvm']
    every = 'attack try; attack pages %s' % ' '.join(host)
    c.apply(''.join(pod(name, '  restartPolicy: Never\n  containers:\n  - {name: c, image: %s, command: [sh, -c, "%s"]%s}' % (ATTACK, every, more)) for name, more in (
        ('usual', ''),
        ('ptrace', ', securityContext: {capabilities: {add: [SYS_PTRACE, NET_ADMIN, SYS_NICE]}}'),
        ('nobody', ', securityContext: {runAsUser: 1000, allowPrivilegeEscalation: false}'))))
    for name in ('usual', 'ptrace', 'nobody'):
        eventually(name + ' has tried', lambda: phase(c, name) in ('Succeeded', 'Failed'), 60)
        said = logs(c, name)
        assert 'tried' in said and '/dev/kvm:' in said and 'ESCAPE' not in said, said
        for secret in ('/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware/acpi/tables/DSDT'):
            assert secret + ': readable' not in said, said
    away(c, 'usual', 'ptrace', 'nobody')


def mounts_keep_what_they_promise(c):
    """recursiveReadOnly, propagation in both directions, subPath of memory, and volumes in volumes that are written again."""
    top = c.root + '/host'
    os.makedirs(top + '/inner')
    run(['mount', '--bind', top, top])
    run(['mount', '--make-shared', top])
    run(['mount', '-t', 'tmpfs', 'inner', top + '/inner'])
    try:
        c.apply('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: outer}\ndata: {a: one}\n---\n' + pod('mounts', """  containers:
  - name: c
    image: %(image)s
    command: [sleep, "1000"]
    securityContext: {privileged: true}
    volumeMounts:
    - {name: host, mountPath: /both, mountPropagation: Bidirectional}
    - {name: host, mountPath: /from, mountPropagation: HostToContainer}
    - {name: host, mountPath: /none}
    - {name: host, mountPath: /rro, readOnly: true, recursiveReadOnly: Enabled}
    - {name: host, mountPath: /ro, readOnly: true}
    - {name: memory, mountPath: /part, subPath: a/b}
    - {name: outer, mountPath: /outer}
    - {name: nested, mountPath: /outer/nested}
  volumes:
  - {name: host, hostPath: {path: %(top)s}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: outer, configMap: {name: outer}}
  - {name: nested, emptyDir: {}}""" % {'image': ATTACK, 'top': top}))
        c.kubectl('wait', '--for=condition=Ready', 'pod/mounts', '--timeout=30s')
        inside = lambda script: c.kubectl('exec', 'mounts', '--', 'sh', '-c', script, check=False).strip()
        assert inside('touch /rro/inner/x || echo refused').endswith('refused')
        assert inside('touch /rro/x || echo refused').endswith('refused')
        assert inside('touch /ro/inner/x && echo written') == 'written', 'as readOnly alone has it'
        assert inside('touch /part/x && mkdir /none/mine && mkdir /both/ours && mount -t tmpfs t /both/ours && touch /both/ours/here && echo done') == 'done'
        assert os.path.exists(top + '/ours/here'), 'what the pod mounts comes out'
        os.makedirs(top + '/late')
        run(['mount', '-t', 'tmpfs', 'late', top + '/late'])
        open(top + '/late/seen', 'w').close()
        assert inside('ls /from/late /both/late; ls /none/late').split() == ['/both/late:', 'seen', '/from/late:', 'seen'], inside('ls /from/late /both/late; ls /none/late')
        inside('echo kept > /outer/nested/file')
        for n in range(3):
            c.kubectl('create', 'configmap', 'outer', '--from-literal=a=%d' % n, '--from-literal=b%d=x' % n, '--dry-run=client', '-o', 'yaml')
            c.kubectl('patch', 'configmap', 'outer', '-p', '{"data": {"a": "%d", "b%d": "x"}}' % (n, n))
            eventually('the outer one is written again', lambda: inside('cat /outer/a') == str(n), 30)
            assert inside('cat /outer/nested/file') == 'kept', 'the one inside stays'
        away(c, 'mounts')
    finally:
        for path in ('/late', '/ours', '/inner', ''):
            subprocess.run(['umount', '-l', top + path], stderr=subprocess.DEVNULL)


def logs_lead_to_no_other_file(c):
    """A pod that has the logs of the node mounted puts links and pipes where the node writes and reads."""
    logs_dir = c.root + '/var/log'
    secret = c.root + '/secret'
    with open(secret, 'w') as f:
        f.write('2026-01-01T00:00:00.000000000Z stdout F the secret\n')
    c.apply(pod('shipper', '  containers:\n  - {name: c, image: %s, command: [sleep, "1000"], volumeMounts: [{name: logs, mountPath: /logs}]}\n  volumes: [{name: logs, hostPath: {path: %s}}]' % (ATTACK, logs_dir)))
    c.kubectl('wait', '--for=condition=Ready', 'pod/shipper', '--timeout=30s')
    inside = lambda script: c.kubectl('exec', 'shipper', '--', 'sh', '-c', script, check=False).strip()
    c.apply(pod('writer', '  restartPolicy: Never\n  containers:\n  - {name: c, image: %s, command: [sh, -c, "echo mine; sleep 1000"]}' % ATTACK))
    c.kubectl('wait', '--for=condition=Ready', 'pod/writer', '--timeout=30s')
    eventually('it wrote', lambda: 'mine' in logs(c, 'writer'))
    inside('cd /logs/pods/*_writer_*/c && rm 0.log && ln -s %s 0.log' % secret)
    assert 'secret' not in logs(c, 'writer'), logs(c, 'writer')
    inside('cd /logs/pods/*_writer_* && rm -r c && ln -s %s c' % os.path.dirname(secret))
    os.rename(secret, c.root + '/0.log')
    assert 'secret' not in logs(c, 'writer'), logs(c, 'writer')
    # and for what starts later, under a name that is known before
    c.apply(pod('again', '  restartPolicy: Always\n  containers:\n  - {name: c, image: %s, command: [sh, -c, "echo mine; sleep 0.5; exit 1"]}' % ATTACK))
    eventually('it has run', lambda: statuses(c, 'again').get('c', {}).get('restartCount', 0) >= 1)
    number = lambda: statuses(c, 'again')['c']['restartCount']
    inside('cd /logs/pods/*_again_*/c && for i in 1 2 3 4 5 6 7 8 9; do ln -sf %s/0.log $i.log; done' % c.root)
    eventually('the node says that it cannot', lambda: 'log file' in json.dumps(c.get('pod', 'again')['status']) or number() > 9, 60)
    with open(c.root + '/0.log') as f:
        assert f.read().count('\n') == 1, 'nothing was added to it'
    away(c, 'shipper', 'writer', 'again')

def images_and_working_folders_lead_nowhere_else(c):
    """Folders of an image that are links out of it, working folders that are descriptors of the runtime, scripts run by it."""
    evil, tar = c.root + '/evil', c.root + '/evil.tar'
    up = '../' * 12
    files = ['bin/busybox=/bin/busybox', 'bin/attack=' + c.root + '/attack'] + ['bin/%s=@busybox' % t for t in TOOLS.split()]
    files += ['etc=@%s%s-etc' % (up, evil[1:]), 'dev=@%s-dev' % evil, 'sys=@/proc/self/root%s-sys' % evil, 'data=@%s%s-data' % (up, evil[1:])]
    run([WHERRY, 'image', 'pack', tar, 'wherry.dev/evil:1', '--cmd', '/bin/sh', '--workdir', '/data/work'] + files)
    run([WHERRY, 'image', 'load', tar, '--root', c.root])
    look = 'if [ -e %s%s/etc/wherry ] || [ -e /%s/etc/wherry ]; then echo ESCAPE; fi; echo looked' % (up, c.root[1:], c.root)
    numbers = range(3, size(15, 40))
    c.apply(pod('evil', """  restartPolicy: Never
  containers:
  - {name: c, image: wherry.dev/evil:1, command: [/bin/sh, -c, "%s; while :; do sleep 1; done"], volumeMounts: [{name: v, mountPath: /data/below/volume, subPath: x}]}
  volumes: [{name: v, emptyDir: {}}]""" % look) + pod('folders', '  restartPolicy: Never\n  containers:\n' + ''.join(
        '  - {name: c%d, image: %s, workingDir: /proc/self/fd/%d, command: [/bin/sh, -c, "%s"]}\n' % (n, ATTACK, n, look) for n in numbers))
        + pod('shebang', """  containers:
  - {name: c, image: %s, command: [/bin/sh, -c, "echo '#!/proc/self/exe' > /tmp/run && chmod 755 /tmp/run && while :; do for p in /proc/[0-9]*; do if : 2>/dev/null > $p/exe; then echo ESCAPE $p; fi; done; done"]}""" % ATTACK))
    eventually('all have been tried', lambda: len(statuses(c, 'folders')) == len(numbers) and all(s['state'].get('terminated') or s['state'].get('waiting', {}).get('reason', '').endswith('Error') for s in statuses(c, 'folders').values()), 60)
    assert 'ESCAPE' not in logs(c, 'folders'), logs(c, 'folders')
    eventually('the evil image runs or does not', lambda: 'looked' in logs(c, 'evil') or json.dumps(statuses(c, 'evil')).count('Error'), 30)
    assert 'ESCAPE' not in logs(c, 'evil')
    c.kubectl('wait', '--for=condition=Ready', 'pod/shebang', '--timeout=90s')
    for n in range(size(5, 50)):
        c.kubectl('exec', 'shebang', '--', '/tmp/run', check=False)
        c.kubectl('exec', 'shebang', '--', '/proc/self/exe', '--version', check=False)
    assert 'ESCAPE' not in logs(c, 'shebang'), logs(c, 'shebang')
    assert not [f for f in os.listdir(c.root) if f.startswith('evil-')], 'nothing was made on the host'
    away(c, 'evil', 'folders', 'shebang')


def devices_are_made_nowhere_else(c):
    """An image whose /dev is a link to a folder of the host that is there, and in the image, too."""
    victim, tar = c.root + '/victim', c.root + '/devil.tar'
    os.makedirs(victim + '/ptmx')
    files = ['bin/busybox=/bin/busybox', 'dev=@' + victim, victim[1:] + '/kept=/etc/hostname'] + ['bin/%s=@busybox' % t for t in TOOLS.split()]
    run([WHERRY, 'image', 'pack', tar, 'wherry.dev/devil:1', '--cmd', '/bin/sh'] + files)
    run([WHERRY, 'image', 'load', tar, '--root', c.root])
    c.apply(pod('devil', '  restartPolicy: Never\n  containers:\n' + ''.join(
        '  - {name: c%d, image: wherry.dev/devil:1, tty: %s, command: [/bin/sh, -c, "echo x > /dev/null && echo fine"]}\n' % (i, 'true' if i % 2 else 'false') for i in range(4))))
    eventually('all have run', lambda: phase(c, 'devil') in ('Succeeded', 'Failed'), 30)
    assert logs(c, 'devil').count('fine') == 4, logs(c, 'devil')
    assert os.listdir(victim) == ['ptmx'], 'nothing was made on the host: %s' % os.listdir(victim)
    away(c, 'devil')


def what_is_read_only_stays_so(c):
    """A ConfigMap in a folder of a volume that another container exchanges with a link to a volume while it is mounted."""
    many = range(size(5, 36))
    containers = ''.join('  - {name: c%d, image: %s, command: [attack, mounts, cm], volumeMounts: [{name: a, mountPath: /a}, {name: c, mountPath: /c}, {name: cm, mountPath: /a/b}]}\n' % (i, ATTACK) for i in many)
    c.apply('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {key: v}\n---\n' + pod('nested', """  restartPolicy: OnFailure
  initContainers:
  - {name: make, image: %s, command: [sh, -c, "mkdir -p /v/b; ln -s /c /v/l"], volumeMounts: [{name: a, mountPath: /v}]}
  - {name: swap, restartPolicy: Always, image: %s, command: [attack, swap, /v/b, /v/l], volumeMounts: [{name: a, mountPath: /v}]}
  containers:
%s  volumes: [{name: a, emptyDir: {}}, {name: c, emptyDir: {}}, {name: cm, configMap: {name: cm}}]""" % (ATTACK, ATTACK, containers)))
    def tried():
        s = statuses(c, 'nested')
        return len(s) == len(many) and all(x['state'].get('terminated') or x['lastState'] or x['state'].get('waiting', {}).get('reason', '').endswith(('Error', 'BackOff')) for x in s.values())
    eventually('every container was tried', tried, 90)
    said = logs(c, 'nested')
    assert 'looked at' in said and 'ESCAPE' not in said, said
    # what the node mounts in a read-only one, and what the pod does, has its place there
    c.apply(pod('etc', '  restartPolicy: Never\n  containers:\n  - {name: c, image: %s, command: [sh, -c, "(cat /etc/key /etc/hosts; touch /etc/in/x /etc/x; ls /etc/in) 2>&1"], volumeMounts: [{name: cm, mountPath: /etc}, {name: v, mountPath: /etc/in}]}\n  volumes: [{name: v, emptyDir: {}}, {name: cm, configMap: {name: cm}}]' % ATTACK))
    eventually('it has looked', lambda: phase(c, 'etc') in ('Succeeded', 'Failed'), 30)
    said = logs(c, 'etc')
    assert said.startswith('v') and 'localhost' in said and "touch: /etc/x: Read-only file system" in said and said.endswith('x\n'), said
    away(c, 'nested', 'etc')


def proc_and_dev_are_the_runtimes(c):
    """Ways to have a folder of one's own where the runtime writes: names that the kernel ends earlier, other fields than volumeMounts."""
    rows = {'nul-proc': ('', '/proc\0x'), 'nul-dev': ('', '/dev\0x'), 'message-proc': ('terminationMessagePath: /proc, ', '/m'), 'message-attr': ('terminationMessagePath: /proc/self/attr/exec, ', '/m')}
    c.apply(''.join(pod(name, '''  restartPolicy: Never
  containers: [{name: c, image: %s, command: [sh, -c, "echo ESCAPE"], %svolumeMounts: [{name: v, mountPath: %s}]}]
  volumes: [{name: v, emptyDir: {}}]''' % (ATTACK, field, json.dumps(path))) for name, (field, path) in rows.items()))
    for name in rows:
        def refused():
            waits = statuses(c, name)['c']['state']['waiting']
            return waits['reason'] in ('CreateContainerError', 'CreateContainerConfigError') and ('NUL' in waits['message'] or 'inside /proc' in waits['message'])
        eventually(name + ' is refused', refused)
    away(c, *rows)


def pods_are_no_routers(c):
    """IPv6 by links of pods: neither side has any, so nobody advertises a route or fills the table of neighbours."""
    c.apply(pod('six', '  containers:\n  - {name: c, image: %s, command: [sleep, "1000"]}' % ATTACK))
    c.kubectl('wait', '--for=condition=Ready', 'pod/six', '--timeout=30s')
    links = [n for n in os.listdir('/proc/sys/net/ipv6/conf') if re.match(r'w[0-9a-f]{5}-', n)] if os.path.isdir('/proc/sys/net/ipv6') else []
    for link in links:
        with open('/proc/sys/net/ipv6/conf/%s/disable_ipv6' % link) as f:
            assert f.read().strip() == '1', link
    own = c.kubectl('exec', 'six', '--', 'cat', '/proc/net/if_inet6', check=False).split('\n')
    assert links and [l.split()[-1] for l in own if l] == ['lo'], own
    away(c, 'six')


def nothing_of_a_volume_is_hidden_or_held(c):
    """Files too deep to be counted, and files that may not be removed."""
    c.apply(pod('deep', '  restartPolicy: Never\n  containers:\n  - {name: c, image: %s, command: [sh, -c, "attack deep /v 300; sleep 1000"], volumeMounts: [{name: v, mountPath: /v}]}\n  volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]' % ATTACK)
            + pod('held', '  containers:\n  - {name: c, image: %s, command: [sh, -c, "mkdir /v/d /d; touch /v/d/f /d/f; attack hold /v/d/f /v/d /v /d/f /d; sleep 1000"], securityContext: {capabilities: {add: [LINUX_IMMUTABLE]}}, volumeMounts: [{name: v, mountPath: /v}]}\n  volumes: [{name: v, emptyDir: {}}]' % ATTACK))
    eventually('it is held', lambda: logs(c, 'held') == 'held\n', 30)
    uid = c.get('pod', 'held')['metadata']['uid']
    eventually('the deep one is evicted', lambda: c.get('pod', 'deep')['status'].get('reason') == 'Evicted', 60)
    away(c, 'deep', 'held')
    node = c.root + '/var/lib/wherry/node'
    eventually('nothing stays', lambda: not os.path.exists('%s/pods/%s' % (node, uid)) and not run(['find', node + '/containers', '-name', 'f']), 60)


def logs_are_followed_whoever_else_watches(c):
    """A pod under the user of the relay takes all the inotify that the user has, before the relay begins, too."""
    c.apply(pod('watching', '  securityContext: {runAsUser: 64503}\n  containers:\n  - {name: c, image: %s, command: [attack, watch]}' % ATTACK)
            + pod('talking', '  containers:\n  - {name: c, image: %s, command: [sh, -c, "while :; do echo line; sleep 0.5; done"]}' % ATTACK))
    eventually('all is taken', lambda: 'Too many' in logs(c, 'watching'), 30)
    for anew in (False, True):
        if anew:
            os.kill(c.role_pid('relay'), signal.SIGKILL)
            eventually('logs are read again', lambda: 'line' in logs(c, 'talking'), 30)
        p = subprocess.Popen([c.bin + '/kubectl', 'logs', '-f', '--tail=0', 'talking'], env=c.env, stdout=subprocess.PIPE, text=True)
        try:
            assert [p.stdout.readline() for _ in range(4)] == ['line\n'] * 4, anew
        finally:
            p.kill()
    away(c, 'watching', 'talking')


def a_pod_takes_a_part_of_the_processes(c):
    """Who forks without end takes an eighth of what the machine has numbers for."""
    c.apply(pod('forks', '  containers:\n  - {name: c, image: %s, command: [sleep, "1000"]}' % ATTACK))
    c.kubectl('wait', '--for=condition=Ready', 'pod/forks', '--timeout=30s')
    number = lambda name: int(open('/proc/sys/kernel/' + name).read())
    groups = [g for g in cgroups_of_pods(instance_here()) if os.path.exists(g + '/pids.max') and g.endswith(c.get('pod', 'forks')['metadata']['uid'])]
    assert groups and [int(open(g + '/pids.max').read()) for g in groups] == [max(1024, min(number('pid_max'), number('threads-max')) // 8)] * len(groups), groups
    away(c, 'forks')


def what_is_run_in_a_container_goes_with_it(c):
    """Memory that is short takes a command of a pod as it takes the pod's containers."""
    c.apply(pod('effort', '  containers:\n  - {name: c, image: %s, command: [sleep, "1000"]}' % ATTACK))
    c.kubectl('wait', '--for=condition=Ready', 'pod/effort', '--timeout=30s')
    assert c.kubectl('exec', 'effort', '--', 'cat', '/proc/1/oom_score_adj', '/proc/self/oom_score_adj').split() == ['1000', '1000']
    away(c, 'effort')


def users_of_the_machine_reach_nothing_of_pods(c):
    """Volumes, Secrets, setuid programs of layers and containers: a user of the machine, who may work with a pod, opens none."""
    c.apply('apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: secret}\n---\n' + pod('open', """  containers:
  - {name: c, image: %s, command: [sh, -c, "cp /bin/busybox /v/root && chmod 4755 /v/root && cp /bin/busybox /root-too && chmod 4755 /root-too && sleep 1000"], volumeMounts: [{name: v, mountPath: /v}, {name: s, mountPath: /s}]}
  volumes: [{name: v, emptyDir: {}}, {name: s, secret: {secretName: s}}]""" % ATTACK))
    c.kubectl('wait', '--for=condition=Ready', 'pod/open', '--timeout=30s')
    eventually('its programs are there', lambda: run(['find', c.root + '/var/lib/wherry/node', '-perm', '-4000', '-name', 'root*']).count('root') >= 2)
    found = [os.path.join(top, f) for base in ('/var/lib/wherry/node', '/run/wherry') for top, _, files in os.walk(c.root + base) for f in files]
    assert [f for f in found if f.endswith('/key')] and [f for f in found if f.endswith('/busybox')], found
    nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', 'sh', '-c', 'while read f; do [ -r "$f" ] || [ -x "$f" ] && echo "$f"; done; true']
    opened = run(nobody, input='\n'.join(f for f in found if '/pods/' in f or '/containers/' in f or '/layers/' in f or '/volumes/' in f))
    assert not opened, opened
    away(c, 'open')


def large_probes_part_nobody_from_the_node(c):
    """Questions of one pod that come to more than what goes to the relay at once: who works with another pod does not notice."""
    header = 'httpHeaders: [{name: x, value: %s}]' % ('a' * 60000)
    probe = 'Probe: {periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1000000, httpGet: {host: 192.0.2.1, port: 9, %s}}' % header
    c.apply(pod('quiet', '  containers: [{name: c, image: %s, command: [sleep, "1000"]}]' % ATTACK))
    eventually('it runs', lambda: phase(c, 'quiet') == 'Running')
    works = subprocess.Popen([c.bin + '/kubectl', 'exec', '-i', 'quiet', '--', 'cat'], env=c.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    works.stdin.write('before\n')
    works.stdin.flush()
    assert works.stdout.readline() == 'before\n'
    seen = len(c.log())
    c.kubectl('create', '-f', '-', input=pod('asks', '  containers:\n' + ''.join('  - {name: c%d, image: %s, command: [sleep, "1000"], readiness%s, liveness%s}\n' % (i, ATTACK, probe, probe) for i in range(20))))
    eventually('all of it runs', lambda: phase(c, 'asks') == 'Running' and all(s['state'].get('running') for s in statuses(c, 'asks').values()), 90)
    os.kill(c.role_pid('relay'), signal.SIGSTOP)    # as long as many of them come
    time.sleep(3)
    os.kill(c.role_pid('relay'), signal.SIGCONT)
    assert works.communicate('after\n', timeout=30)[0] == 'after\n' and works.returncode == 0
    assert 'relay.send' not in c.log()[seen:], c.log()[seen:]
    away(c, 'quiet', 'asks')


def crowds_come_and_go(c):
    """60 pods made and deleted at once, with the node role killed in between: nothing stays."""
    def left():
        state = c.root + '/run/wherry/node/pods'
        shims = [p for p in os.listdir('/proc') if p.isdigit() and comm(p) == 'wherry-shim' and os.readlink('/proc/%s/cwd' % p).startswith(c.root)]
        return shims + (os.listdir(state) if os.path.isdir(state) else []) + os.listdir(c.root + '/var/lib/wherry/node/pods') + cgroups_of_pods(instance_here())
    n = 60
    for turn in range(size(2, 30)):
        c.apply(''.join(pod('crowd-%d' % i, '  shareProcessNamespace: %s\n  containers: [{name: c, image: %s, command: [sleep, "1000"]%s}]\n  volumes: [{name: v, emptyDir: {}}]' % (
            'true' if i % 3 == 0 else 'false', ATTACK, ', volumeMounts: [{name: v, mountPath: /v, subPath: a}]' if i % 2 else '')) for i in range(n)))
        if turn % 2:
            os.kill(c.role_pid('node'), signal.SIGKILL)
        else:
            eventually('some run', lambda: sum(p['status'].get('phase') == 'Running' for p in c.get('pods')['items']) > n // 3, 60)
        c.kubectl('delete', 'pods', '--all', '--wait=false', timeout=120)
        if turn % 3 == 0:
            os.kill(c.role_pid('node'), signal.SIGKILL)
        eventually('all are gone', lambda: not c.get('pods')['items'], 120, 0.3)
        eventually('turn %d: nothing stays' % turn, lambda: not left(), 60, 0.3)


def comm(pid):
    try:
        with open('/proc/%s/comm' % pid) as f:
            return f.read().strip()
    except OSError:
        return ''


def cgroups_of_pods(instance):
    return [g for g in cgroups(instance) for g in [os.path.join(top, d) for top, dirs, _ in os.walk(g) for d in dirs if d.startswith('pod')]]


main([sub_paths_lead_nowhere_else, helpers_of_ours_own_nothing, ordinary_pods_may_do_nothing_to_the_host, mounts_keep_what_they_promise, logs_lead_to_no_other_file, images_and_working_folders_lead_nowhere_else,
      devices_are_made_nowhere_else, what_is_read_only_stays_so, proc_and_dev_are_the_runtimes, pods_are_no_routers, nothing_of_a_volume_is_hidden_or_held, logs_are_followed_whoever_else_watches, a_pod_takes_a_part_of_the_processes,
      what_is_run_in_a_container_goes_with_it,
      users_of_the_machine_reach_nothing_of_pods, large_probes_part_nobody_from_the_node, crowds_come_and_go],
     16491, cluster=Attacked)
