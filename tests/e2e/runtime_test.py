#!/usr/bin/env python3
"""How a pod is confined and by what it is run: runtime classes, users of its own, and what containers see of it."""
import fcntl, json, os, pty, re, struct, subprocess, termios, time
from lib import *

BOX = IMAGE


def pod(c, name, spec, wait='Running'):
    c.apply(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': dict({'terminationGracePeriodSeconds': 0}, **spec)}))


def box(command, **more):
    return dict({'name': 'c', 'image': BOX, 'command': ['sh', '-c', command]}, **more)


def phase(c, name):
    return c.get('pod', name)['status'].get('phase')


def runs(c, *names):
    for name in names:
        eventually('%s runs' % name, lambda: phase(c, name) == 'Running', 20)


def away(c, *names):
    c.kubectl('delete', 'pod', '--now', *names)


def events(c, name):
    return [(e['reason'], e['message']) for e in c.get('events', '--field-selector', 'involvedObject.name=' + name)['items']]


def sh(c, name, script, container='c', **kw):
    return c.kubectl('exec', name, '-c', container, '--', 'sh', '-c', script, **kw)


def ident(c, name, container='c'):
    return [s['containerID'].split('//')[1] for s in c.get('pod', name)['status']['containerStatuses'] if s['name'] == container][0]


def classes(c, **handlers):
    c.apply('\n---\n'.join(json.dumps({'apiVersion': 'node.k8s.io/v1', 'kind': 'RuntimeClass', 'metadata': {'name': n}, 'handler': h}) for n, h in handlers.items()))


def first_pid(c, name, container='c'):
    """The host's number of the container's first process."""
    return int(open(glob_one('%s/run/wherry/pods/*/%s/pid' % (c.root, ident(c, name, container)))).read())


def terminal(c, name, script):
    """What is seen on a terminal of 24 by 80 in which kubectl runs a command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    p = subprocess.Popen([c.bin + '/kubectl', 'exec', '-it', name, '--', 'sh', '-c', script], stdin=theirs, stdout=theirs, stderr=theirs, env=c.env)
    os.close(theirs)
    seen = b''
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:                             # EIO: the other side is gone
        pass
    os.close(ours)
    assert p.wait(20) == 0, seen
    return seen.decode()


def glob_one(pattern):
    import glob
    found = glob.glob(pattern)
    assert len(found) == 1, (pattern, found)
    return found[0]


def classes_choose_the_runtime(c):
    """A class's handler is an OCI runtime by path: start, logs, exec, terminal, probes, hooks, signals, restarts and the end go by it."""
    classes(c, other='runc', nowhere='nowhere', gone='gone', usual='crun')
    exec_probe = {'exec': {'command': ['sh', '-c', 'test -e /tmp/hooked']}, 'periodSeconds': 1}
    pod(c, 'by-runc', {'runtimeClassName': 'other', 'containers': [box(
        'trap "echo got; exit 3" TERM; echo begun; while :; do sleep 0.1; done',
        resources={'limits': {'memory': '32Mi', 'cpu': '500m'}}, readinessProbe=exec_probe,
        lifecycle={'postStart': {'exec': {'command': ['sh', '-c', 'mkdir -p /tmp; touch /tmp/hooked']}}},
        volumeMounts=[{'name': 'v', 'mountPath': '/v', 'subPath': 'a'}])], 'volumes': [{'name': 'v', 'emptyDir': {}}]})
    pod(c, 'by-none', {'runtimeClassName': 'nowhere', 'containers': [box('sleep 100')]})
    pod(c, 'by-gone', {'runtimeClassName': 'gone', 'containers': [box('sleep 100')]})
    pod(c, 'by-crun', {'runtimeClassName': 'usual', 'containers': [box('sleep 100')]})
    pod(c, 'by-runc-bad', {'runtimeClassName': 'other', 'restartPolicy': 'Never', 'containers': [dict(box(''), command=['/nope'])]})
    runs(c, 'by-runc', 'by-crun')
    eventually('ready by its exec probe', lambda: c.kubectl('wait', 'pod/by-runc', '--for=condition=Ready', '--timeout=5s'))
    began = ident(c, 'by-runc')
    listed = json.loads(run(['runc', '--root', c.root + '/run/wherry/crun', 'list', '-f', 'json']))
    assert [x['status'] for x in listed if x['id'] == began] == ['running'], listed
    assert sh(c, 'by-runc', 'grep Seccomp: /proc/self/status; cat /proc/self/cgroup | head -1; id -u').split()[1] == '2'
    assert 'tty 24 80' in terminal(c, 'by-runc', 'test -t 0 && echo tty $(stty size)'), 'no terminal'
    assert 'begun' in c.kubectl('logs', 'by-runc')
    denied = sh(c, 'by-runc', 'exec 2>&1; busybox mknod /tmp/sda b 8 0; cat /tmp/sda; busybox unshare -m true; busybox mount -t tmpfs x /tmp', check=False)
    assert denied.count('Operation not permitted') + denied.count('permission denied') >= 3, denied
    pid = first_pid(c, 'by-runc')
    group = [l.split(':')[2].strip() for l in open('/proc/%d/cgroup' % pid) if ':memory:' in l or l.startswith('0::/')][0]
    limit = [p for p in ('/sys/fs/cgroup/memory%s/memory.limit_in_bytes' % group, '/sys/fs/cgroup%s/memory.max' % group) if os.path.exists(p)][0]
    assert open(limit).read().strip() == str(32 << 20), open(limit).read()
    c.kubectl('exec', 'by-runc', '--', 'sh', '-c', 'kill -TERM 1')
    eventually('it was restarted by the same', lambda: c.get('pod', 'by-runc')['status']['containerStatuses'][0]['restartCount'] == 1)
    last = c.get('pod', 'by-runc')['status']['containerStatuses'][0]['lastState']['terminated']
    assert last['exitCode'] == 3 and 'got' in c.kubectl('logs', 'by-runc', '--previous'), last
    os.kill(c.role_pid('node'), 9)
    eventually('after the node role was killed commands run in it', lambda: 'here' in sh(c, 'by-runc', 'echo here', check=False))
    said = eventually('that there is no such runtime was told', lambda: [m for r, m in events(c, 'by-none') if r == 'FailedCreatePodSandBox'])
    assert said[0] == 'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for "nowhere" is configured', said
    said = eventually('that its program is gone was told', lambda: [m for r, m in events(c, 'by-gone') if r == 'Failed'])
    assert said[0] == 'Error: starting the container: the runtime /nonexistent/runtime cannot be executed: No such file or directory', said
    eventually('the bad command was told', lambda: phase(c, 'by-runc-bad') == 'Failed')
    end = c.get('pod', 'by-runc-bad')['status']['containerStatuses'][0]['state']['terminated']
    assert end['reason'] == 'StartError' and 'no such file or directory' in end['message'], end
    handlers = {h['name']: h['features'] for h in c.get('node', c.get('nodes')['items'][0]['metadata']['name'])['status']['runtimeHandlers']}
    assert handlers['runc'] == {'recursiveReadOnlyMounts': True, 'userNamespaces': True} and '' in handlers, handlers
    away(c, 'by-runc', 'by-none', 'by-gone', 'by-crun', 'by-runc-bad')
    eventually('nothing is left of it', lambda: not os.path.exists('%s/run/wherry/crun/%s' % (c.root, began)) and not os.path.exists(os.path.dirname(limit)))


def pods_have_users_of_their_own(c):
    """hostUsers: false: root inside is nobody outside; files, volumes, names and commands are as they are without it."""
    classes(c, other='runc')
    c.apply(json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'words'}, 'data': {'k': 'v'}}))
    host = c.root + '/of-host'
    os.makedirs(host)
    os.chown(host, 1000, 1000)
    volumes = [{'name': 'disk', 'emptyDir': {}}, {'name': 'memory', 'emptyDir': {'medium': 'Memory'}}, {'name': 'words', 'configMap': {'name': 'words'}},
               {'name': 'host', 'hostPath': {'path': host}}]
    mounts = [{'name': v['name'], 'mountPath': '/' + v['name']} for v in volumes]
    for name, more in (('users-a', {}), ('users-b', {'runtimeClassName': 'other'}), ('users-c', {'shareProcessNamespace': True})):
        pod(c, name, dict({'hostUsers': False, 'securityContext': {'fsGroup': 2000, 'sysctls': [{'name': 'kernel.shm_rmid_forced', 'value': '1'}]},
                           'containers': [box('echo x > /disk/f; echo x > /memory/f; echo x > /made; busybox httpd -p 80 -h /words; sleep 1000', volumeMounts=mounts),
                                          dict(box('sleep 1000'), name='d', securityContext={'runAsUser': 1000, 'runAsGroup': 3000, 'procMount': 'Unmasked'})],
                           'volumes': volumes}, **more))
    pod(c, 'users-sys', {'hostUsers': False, 'containers': [box('sleep 1000', volumeMounts=[{'name': 's', 'mountPath': '/s'}])],
                         'volumes': [{'name': 's', 'hostPath': {'path': '/sys'}}]})
    runs(c, 'users-a', 'users-b', 'users-c')
    firsts = {n: have_users(c, n, host) for n in ('users-a', 'users-b', 'users-c')}
    assert len(set(firsts.values())) == 3, firsts
    said = eventually('what cannot be shown under other ids is told', lambda: [m for r, m in events(c, 'users-sys') if 'MOUNT_ATTR_IDMAP' in m])
    assert 'maybe the filesystem used' in said[0] and '"s"' in said[0], said
    os.kill(c.role_pid('node'), 9)
    pod(c, 'users-e', {'hostUsers': False, 'containers': [box('sleep 1000')]})         # of four ranges four are taken
    said = eventually('all ranges are taken', lambda: [m for r, m in events(c, 'users-e') if r == 'FailedCreatePodSandBox'])
    assert 'create user namespace: could not find an empty slot to allocate a user namespace' in said[0], said
    away(c, 'users-sys')
    eventually('one came free', lambda: phase(c, 'users-e') == 'Running', 40)
    assert int(sh(c, 'users-e', 'cat /proc/self/uid_map').split()[1]) not in firsts.values()
    assert sh(c, 'users-a', 'cat /proc/self/uid_map').split()[1] == str(firsts['users-a'])
    away(c, 'users-a', 'users-b', 'users-c', 'users-e')


def have_users(c, name, host):
    """What is seen of a pod's users from inside and from outside; the first of their ids on the host."""
    zero, first, many = [int(x) for x in sh(c, name, 'cat /proc/self/uid_map').split()]
    assert (zero, many) == (0, 65536) and first % 65536 == 0 and first in range(131072, 131072 + 4 * 65536), first
    assert sh(c, name, 'cat /proc/self/gid_map').split() == ['0', str(first), '65536']
    seen = sh(c, name, """id -u; busybox stat -c %u:%g /made /disk/f /memory/f /words/..data/k /host /etc/hosts /bin/sh / | busybox xargs
        busybox stat -c %a /dev/shm /disk | busybox xargs; echo x > /dev/null && echo x > /dev/shm/x && echo x > /etc/hosts && echo y > /host/y && echo written
        cat /proc/sys/kernel/shm_rmid_forced; hostname; grep -c . /sys/class/net/eth0/address; cat /proc/self/cgroup | grep -c :/$ >/dev/null && echo own-groups
        busybox mknod /tmp-sda b 8 0 2>/dev/null || echo no-device; busybox mount -t proc p /mnt 2>/dev/null || echo no-mount
        echo 1 > /proc/sys/net/ipv4/ip_forward 2>/dev/null || echo masked""").strip().split('\n')
    want = ['0', '0:0 0:2000 0:2000 0:2000 1000:1000 0:0 0:0 0:0', '1777 2777', 'written', '1', name, '1', 'own-groups', 'no-device', 'no-mount', 'masked']
    assert seen == want, '\n%s\n%s' % (seen, want)
    pid = first_pid(c, name, 'c')
    assert os.stat('/proc/%d' % pid).st_uid == first and os.readlink('/proc/%d/ns/user' % pid) != os.readlink('/proc/self/ns/user')
    assert os.stat('/proc/%d' % first_pid(c, name, 'd')).st_uid == first + 1000
    assert sh(c, name, 'busybox id -u; busybox id -g; busybox id -G; mount | grep -c "on /proc/sys " || true', container='d').split() == ['1000', '3000', '3000', '2000', '0']
    for container in ('c', 'd'):                            # the machine's null device stays the machine's
        null = os.stat('/dev/null')
        given, kept = sh(c, name, "busybox stat -L -c %d:%i /proc/self/fd/0; busybox chmod 666 /dev/null 2>/dev/null && echo changed || echo kept", container=container).split()
        assert given != '%d:%d' % (null.st_dev, null.st_ino) and kept == 'kept', (container, given, kept)
    uid = c.get('pod', name)['metadata']['uid']
    made = glob_one('%s/var/lib/wherry/node/containers/%s/upper/made' % (c.root, ident(c, name, 'c')))
    assert os.stat(made).st_uid == first, os.stat(made)
    on_disk = os.stat('%s/var/lib/wherry/node/pods/%s/volumes/disk/f' % (c.root, uid))
    assert (on_disk.st_uid, on_disk.st_gid) == (0, 2000), on_disk
    assert os.stat(host + '/y').st_uid == 0
    os.unlink(host + '/y')
    assert run(['busybox', 'wget', '-qO-', 'http://%s/k' % c.get('pod', name)['status']['podIP']]) == 'v', 'nobody listens on port 80'
    return first


def what_is_asked_of_the_kernel(c):
    """Sysctls that the administrator allows, huge pages as a volume, mounts that are read-only all the way down; and what this kernel has not."""
    if not os.path.exists('/sys/kernel/security/apparmor'):
        pod(c, 'armored', {'securityContext': {'appArmorProfile': {'type': 'RuntimeDefault'}}, 'containers': [box('sleep 1000')]})
    c.apply(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'noted', 'annotations': {'container.apparmor.security.beta.kubernetes.io/c': 'unconfined'}},
                        'spec': {'terminationGracePeriodSeconds': 0, 'containers': [box('sleep 1000')]}}))
    pod(c, 'asked', {'securityContext': {'sysctls': [{'name': 'kernel.msgmax', 'value': '4242'}, {'name': 'net/core/somaxconn', 'value': '77'}]}, 'containers': [box('sleep 1000')]})
    pod(c, 'denied', {'securityContext': {'sysctls': [{'name': 'kernel.shmall', 'value': '1'}]}, 'containers': [box('sleep 1000')]})
    tree = c.root + '/tree'
    os.makedirs(tree + '/inner')
    run(['mount', '-t', 'tmpfs', 'inner', tree + '/inner'])
    ways = ('Disabled', 'IfPossible', 'Enabled')
    pod(c, 'deep', {'containers': [box('sleep 1000', volumeMounts=[{'name': 'v', 'mountPath': '/' + w, 'readOnly': True, 'recursiveReadOnly': w} for w in ways])],
                    'volumes': [{'name': 'v', 'hostPath': {'path': tree}}]})
    runs(c, 'noted', 'asked', 'deep')
    assert c.get('pod', 'noted')['spec']['containers'][0]['securityContext']['appArmorProfile'] == {'type': 'Unconfined'}
    assert sh(c, 'asked', 'cat /proc/sys/kernel/msgmax /proc/sys/net/core/somaxconn').split() == ['4242', '77']
    assert open('/proc/sys/kernel/msgmax').read().strip() != '4242'
    eventually('denied', lambda: c.get('pod', 'denied')['status'].get('reason') == 'SysctlForbidden')
    assert [sh(c, 'deep', 'touch /%s/inner/x 2>/dev/null && echo written || echo kept' % w).strip() for w in ways] == ['written', 'kept', 'kept']
    told = {m['mountPath']: m.get('recursiveReadOnly') for m in c.get('pod', 'deep')['status']['containerStatuses'][0]['volumeMounts']}
    assert [told['/' + w] for w in ways] == ['Disabled', 'Enabled', 'Enabled'], told
    if not os.path.exists('/sys/kernel/security/apparmor'):
        status = eventually('a profile cannot be had', lambda: (lambda s: s.get('reason') == 'AppArmor' and s)(c.get('pod', 'armored')['status']))
        assert status['message'] == 'Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host', status
    if c.pages:
        huge = {'limits': {'hugepages-2Mi': '4Mi', 'memory': '64Mi'}}
        pod(c, 'huge', {'containers': [box('sleep 1000', resources=huge, volumeMounts=[{'name': 'h', 'mountPath': '/h'}])], 'volumes': [{'name': 'h', 'emptyDir': {'medium': 'HugePages'}}]})
        pod(c, 'small', {'containers': [box('sleep 1000', volumeMounts=[{'name': 'h', 'mountPath': '/h'}])], 'volumes': [{'name': 'h', 'emptyDir': {'medium': 'HugePages-2Mi'}}]})
        runs(c, 'huge')
        mounted = sh(c, 'huge', 'mount | grep " /h "; busybox stat -f -c %S /h')
        assert 'hugetlbfs' in mounted and 'pagesize=2M' in mounted and mounted.split()[-1] == str(2 << 20), mounted
        eventually('pages that nobody asks for', lambda: [m for r, m in events(c, 'small') if 'hugePages storage requested, but there is no resource request for huge pages' in m])
        away(c, 'huge', 'small')
    away(c, 'asked', 'deep', 'denied', 'noted')


def one_container_restarts_all(c):
    """RestartAllContainers: everything ends at once and begins anew, init containers first, in the same pod."""
    rules = [{'action': 'RestartAllContainers', 'exitCodes': {'operator': 'In', 'values': [42]}}]
    count = 'echo x >> /v/%s; '
    volume = [{'name': 'v', 'mountPath': '/v'}]
    pod(c, 'again', {'restartPolicy': 'Never', 'terminationGracePeriodSeconds': 60, 'volumes': [{'name': 'v', 'emptyDir': {}}],
                     'initContainers': [dict(box(count % 'init', volumeMounts=volume), name='first'), dict(box(count % 'side' + 'sleep 1000', volumeMounts=volume), name='side', restartPolicy='Always')],
                     'containers': [dict(box('trap "" TERM; ' + count % 'other' + 'sleep 1000', volumeMounts=volume), name='other', lifecycle={'preStop': {'sleep': {'seconds': 50}}}),
                                    dict(box(count % 'c' + 'while ! [ -e /v/go ]; do sleep 0.1; done; rm /v/go; exit 42', volumeMounts=volume), restartPolicy='Never', restartPolicyRules=rules)]})
    runs(c, 'again')
    was = c.get('pod', 'again')
    restarting = lambda p: {x['type']: x['status'] for x in p['status']['conditions']}.get('AllContainersRestarting')
    assert restarting(was) == 'False', was['status']['conditions']
    sh(c, 'again', 'touch /v/go')
    now = eventually('all have begun anew', lambda: (lambda p: p['status']['phase'] == 'Running' and all(
        s['restartCount'] == 1 and s.get('ready') for k in ('initContainerStatuses', 'containerStatuses') for s in p['status'][k]) and p)(c.get('pod', 'again')), 30)
    assert now['status']['podIP'] == was['status']['podIP'] and restarting(now) == 'False'
    assert sh(c, 'again', 'cat /v/init /v/side /v/other /v/c').split() == ['x'] * 8
    ends = {s['name']: s['lastState']['terminated']['exitCode'] for s in now['status']['initContainerStatuses'] + now['status']['containerStatuses']}
    assert ends == {'first': 0, 'side': 137, 'other': 137, 'c': 42}, ends
    c.kubectl('delete', 'pod', 'again', '--grace-period=0', '--force')


class Machine(Cluster):
    """With some huge pages, where the machine has room for them."""
    pages = False

    def up(self):
        try:
            self.had = open('/proc/sys/vm/nr_hugepages').read()
            open('/proc/sys/vm/nr_hugepages', 'w').write(str(int(self.had) + 8))
            self.pages = int(open('/proc/sys/vm/nr_hugepages').read()) >= 8
        except OSError:
            pass
        return super().up()

    def __exit__(self, *unused):
        super().__exit__(*unused)
        if self.pages:
            open('/proc/sys/vm/nr_hugepages', 'w').write(self.had)


if __name__ == '__main__':
    main([classes_choose_the_runtime, pods_have_users_of_their_own, what_is_asked_of_the_kernel, one_container_restarts_all], cluster=Machine,
         args=['--set', 'runtimes=runc=/usr/sbin/runc,gone=/nonexistent/runtime', '--set', 'pod-users=131072:262144', '--set', 'allowed-unsafe-sysctls=kernel.msg*,net.core.somaxconn'])
