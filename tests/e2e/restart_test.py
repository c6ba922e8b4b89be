#!/usr/bin/env python3
"""Restart is normal: the node role ends at every action in turn, the supervisor and the server at each of their steps; the
machine reboots; the program is replaced; a backup becomes a cluster on another machine."""
import random, shutil
from lib import *
from rough_test import ME, as_declared, end_load, groups, is_ready, listed, nothing_else, pids_of, pods_of, rough_deployment, \
    say, settings, shims, start_load, supervisor, up_again

CALM = ME + '-calm'
KEEP = 'WHERRY_PLACES' in os.environ


class Mortal(Cluster):
    """A cluster whose processes die where the test says (base/fault.h)."""

    def up(self):
        self.die = self.root + '/die'
        self.live()
        os.chmod(self.die, 0o666)
        os.environ['WHERRY_DIE_AT'] = self.die
        return super().up()

    def die_at(self, place, n=1):
        with open(self.die, 'w') as f:
            f.write('%s %d\n' % (place, n))

    def live(self):
        open(self.die, 'w').close()

    def died(self):
        """Where; None: nobody has."""
        words = open(self.die).read().split()
        return words[1] if words and words[0] == 'died' else None


# --- a pod's whole life --------------------------------------------------------------------------------------------

def story_pod(c, name, deaf=False):
    """Everything an agent does for a pod: init container, sidecar, volumes of all places, hooks, probes, a Service."""
    return f'''
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: {2 if deaf else 6}
  volumes:
  - {{name: host, hostPath: {{path: {c.root}/told, type: DirectoryOrCreate}}}}
  - {{name: disk, emptyDir: {{}}}}
  - {{name: memory, emptyDir: {{medium: Memory}}}}
  - {{name: settings, configMap: {{name: settings}}}}
  initContainers:
  - name: first
    image: {IMAGE}
    command: [sh, -c, 'echo init >> /host/{name}; touch /disk/made']
    volumeMounts: [{{name: host, mountPath: /host}}, {{name: disk, mountPath: /disk}}]
  - name: beside
    image: {IMAGE}
    restartPolicy: Always
    command: [sh, -c, 'trap "{"" if deaf else "exit 0"}" TERM; sleep 1000000 & wait']
  containers:
  - name: web
    image: {IMAGE}
    readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
    livenessProbe: {{exec: {{command: [cat, /disk/made]}}, periodSeconds: 1}}
    lifecycle:
      postStart: {{exec: {{command: [sh, -c, 'echo post >> /host/{name}']}}}}
      preStop: {{exec: {{command: [sh, -c, 'echo pre >> /host/{name}']}}}}
    volumeMounts:
    - {{name: host, mountPath: /host}}
    - {{name: disk, mountPath: /disk}}
    - {{name: memory, mountPath: /memory}}
    - {{name: settings, mountPath: /settings}}
''' + service(name)


def counts(status):
    return {s['name']: s['restartCount'] for s in status.get('initContainerStatuses', []) + status.get('containerStatuses', [])}


def pod_now(c, name, want):
    p = c.get('pod', name)
    assert is_ready(p) and counts(p['status']) == want, (counts(p['status']), p['status'])
    return p


def endpoints(c, name):
    slices = c.get('endpointslices', '-l', 'kubernetes.io/service-name=' + name)['items']
    return [a for s in slices for e in s.get('endpoints') or [] if e['conditions']['ready'] for a in e['addresses']]


def live_through(c, name, deaf):
    """Start, run, the end of a container, deletion: each as it would be without a death in between."""
    told = c.root + '/told/' + name
    say(c, 'apply', '-f', '-', input=story_pod(c, name, deaf))
    p = eventually('it is ready', lambda: pod_now(c, name, {'first': 0, 'beside': 0, 'web': 0}), 30)
    assert 'lastState' not in p['status']['containerStatuses'][0] or not p['status']['containerStatuses'][0]['lastState'], p['status']
    pid = pids_of(c, [p])[name]
    assert len(pid) == 1, pid
    eventually('its Service knows it', lambda: endpoints(c, name) == [p['status']['podIP']])
    assert run(['curl', '-s', '-m', '5', 'http://%s:8080/' % p['status']['podIP']]).startswith('Hello')
    os.kill(pid[0], signal.SIGKILL)
    p = eventually('it runs again', lambda: pod_now(c, name, {'first': 0, 'beside': 0, 'web': 1}), 30)
    last = p['status']['containerStatuses'][0]['lastState']['terminated']
    assert (last['exitCode'], last['reason']) == (137, 'Error'), last
    lines = open(told).read().split()
    # each of the two runs had its hook; once more where nobody was told that it had ended
    assert lines.count('init') == 1 and 2 <= lines.count('post') <= 3 and 'pre' not in lines, lines
    say(c, 'delete', 'pod,svc', name, '--wait=false')
    eventually('it is gone', lambda: c.kubectl('get', 'pod', name, '--ignore-not-found', '-o', 'name') == '', 30)
    lines = open(told).read().split()
    assert 'pre' in lines, 'the preStop hook ran: %s' % lines


def only_calm(c, calm):
    """Nothing but these pods is left, and they have not noticed."""
    as_declared(c, {CALM: 2})
    assert pids_of(c, pods_of(c, CALM)) == calm, 'what was not to change runs on'


def begin_calm(c):
    if not hasattr(c, 'calm'):
        c.apply(settings(0))
        c.apply(rough_deployment(CALM, 2))
        c.kubectl('rollout', 'status', 'deploy/' + CALM, '--timeout=30s')
        c.calm = pids_of(c, pods_of(c, CALM))
        assert len(c.calm) == 2, c.calm
    return c.calm


def dies_once(c, place, n, deaf=False):
    """A pod's life in which a process dies at the n-th passing of `place`. Says where, or None: it was not passed so often."""
    calm = begin_calm(c)
    c.lives = getattr(c, 'lives', 0) + 1
    c.die_at(place, n)
    try:
        live_through(c, '%s-life%d' % (ME, c.lives), deaf)
    finally:
        at = c.died()
        c.live()
        if not at or KEEP:
            print('     %s %d: died at %s' % (place, n, at), flush=True)
    eventually('nothing is left over (died at %s, %s %d)' % (at, place, n), lambda: only_calm(c, calm) or True, 30, 0.2)
    return at


def sweep(c, lives):
    """[(place, n)]: each in a life of its own, while the calm ones serve."""
    begin_calm(c)
    load, died = start_load(c, CALM, 590), {}
    for i, (place, n) in enumerate(lives):
        at = dies_once(c, place, n, deaf='KILL' in place)
        died[at] = died.get(at, 0) + 1
        if i % 4 == 3:                                  # another supervisor: this one waits longer and longer before a start
            end_supervisor(c, signal.SIGKILL)
            up_again(c)
    end_load(load)
    print('     died at: %s' % ' '.join('%s:%d' % (k, v) for k, v in sorted(died.items(), key=str)), flush=True)


# How often a life passes the places before and after an action, and those where answers come in.
ACTIONS = {'VOLUMES_SETUP': 1, 'VOLUMES_TEARDOWN': 1, 'SANDBOX_START': 1, 'SANDBOX_STOP': 1, 'IMAGE_ENSURE': 3, 'CONTAINER_START': 4,
           'POSTSTART': 2, 'PRESTOP': 1, 'TERM': 2, 'KILL': 1, 'LEAVE': 1, 'DRAIN': 1, 'EVENT': 3, 'DELETE_OBJECT': 1}
ANSWERS = {'volumes': 1, 'sandbox': 1, 'link': 1, 'memory': 1, 'created': 4, 'starting': 4, 'started': 4, 'exit': 3, 'removed': 1, 'hook': 3, 'status': 8,
           'sandbox_gone': 1, 'teardown': 1, 'files': 4, 'words': 3}
PLACES = {'node.%s.%s' % (side, k): n for k, n in ACTIONS.items() for side in ('before', 'after')} | {'node.saw.' + k: n for k, n in ANSWERS.items()} | {'node.hostpath': 1}


def node_dies_at_every_action(c):
    """One death for each kind of action, on both sides of it, and for each answer; by the seed where there are several."""
    rng = random.Random(seed())
    lives = [(place, rng.randint(1, most)) for place, most in sorted(PLACES.items())]
    sweep(c, size(rng.sample(lives, 2), lives))


def node_dies_between_the_steps_of_the_runtime(c):
    rng = random.Random(seed() + 1)
    lives = [('oci.*', n) for n in rng.sample(range(1, 24), 6)]
    lives += [(place, rng.randint(1, 4)) for place in ('volume.*', 'file.*', 'netlink.send')]
    if STORM:
        sweep(c, lives)


def server_dies_between_the_writes_of_a_plan(c):
    """What controllers write is one write after another: whoever comes after finds the first and makes the rest."""
    calm, rng, died = begin_calm(c), random.Random(seed() + 2), []
    for turn in range(size(1, 6)):
        name = '%s-plan%d' % (ME, turn)
        c.die_at('control.written', rng.randint(1, 25))
        say(c, 'apply', '-f', '-', input=rough_deployment(name, 2))
        say(c, 'set', 'env', 'deploy/' + name, 'ROUND=1')
        say(c, 'scale', 'deploy/' + name, '--replicas=3')
        eventually('it is as declared', lambda: as_declared(c, {CALM: 2, name: 3}) or True, 45, 0.2)
        died.append(c.died())
        c.live()
        say(c, 'delete', 'deploy,svc', name, '--ignore-not-found')
        eventually('it is gone', lambda: only_calm(c, calm) or True, 45, 0.2)
    assert any(died), 'nobody died: this test sees nothing'


def supervisor_dies_at_every_step(c):
    """A role has ended, is started, written down, ready: the supervisor dies there. The next one has each role once."""
    calm = begin_calm(c)
    for place in size(['up.after.start'], ['up.saw.end', 'up.before.start', 'up.after.start', 'up.after.record', 'up.after.ready']):
        for role in size(['node'], ['server', 'node', 'relay', 'dns', 'edge']):
            old, pid = supervisor(c), c.role_pid(role)
            c.die_at(place)
            os.kill(pid, signal.SIGKILL)
            eventually('it died at ' + place, lambda: c.died() == place and not alive(old))
            c.live()
            up_again(c)
            eventually('each role is there once', lambda: roles_once(c), 10)
            eventually('all is as declared', lambda: only_calm(c, calm) or True, 30, 0.2)


def roles_once(c):
    """Of each role one process, by the process list, and it is the one that is written down."""
    found = {}
    for pid in run(['pgrep', '-f', '^wherry (server|node|relay|dns|edge) .*--root ' + c.root]).split():
        words = open('/proc/%s/cmdline' % pid).read().split('\0')
        found.setdefault(words[1], []).append(int(pid))
    assert found == {r: [c.role_pid(r)] for r in ('server', 'node', 'relay', 'dns', 'edge')}, found
    return True


# --- a reboot ------------------------------------------------------------------------------------------------------

def in_groups(c):
    """What runs in the cluster's control groups."""
    found = set()
    for folder in group_folders(c):
        with open(folder + '/cgroup.procs') as f:
            found |= {int(p) for p in f.read().split()}
    return found


def shims_of(c):
    """By the folders of theirs that they hold."""
    found = set()
    for pid in run(['pgrep', '-x', 'wherry-shim'], check=False).split():
        try:
            if any(c.root in os.readlink('/proc/%s/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%s/fd' % pid)):
                found.add(int(pid))
        except OSError:
            continue                                    # is ending
    return found


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    eventually('they are gone', lambda: not any(alive(p) for p in pids), 20)


def group_folders(c):
    """Control groups of the cluster, the deepest first, in every hierarchy."""
    groups(c)                                           # finds c.instance
    return [top for top, _, _ in os.walk('/sys/fs/cgroup', topdown=False) if '/wherry-' + c.instance in top]


def pull_the_plug(c):
    """Everything is gone but the disk: processes, control groups, links, rules, routes, mounts, /run; another boot id."""
    end_supervisor(c, signal.SIGKILL)                   # in this order: nobody sees another go
    kill_all({c.role_pid(r) for r in listed(c.root + '/run/wherry/roles')})
    kill_all(shims_of(c))
    kill_all(in_groups(c))
    folders = group_folders(c)
    for link in re.findall(r'^\d+: ([^:@]+)', run(['ip', '-o', 'link']), re.M):
        if link != 'lo':
            run(['ip', 'link', 'del', link], check=False)    # the other end of a pair goes with the first
    run(['nft', 'flush', 'ruleset'])
    run(['ip', 'route', 'flush', 'table', 'all'], check=False)
    run(['ip', 'addr', 'flush', 'dev', 'lo'])
    run(['ip', 'link', 'set', 'lo', 'down'])
    run(['ip', 'link', 'set', 'lo', 'up'])
    for folder in folders:
        eventually('no ' + folder, lambda: os.rmdir(folder) or True, 10)
    for line in reversed(open('/proc/self/mounts').read().splitlines()):
        if line.split()[1].startswith(c.root):
            run(['umount', '-l', line.split()[1]])
    shutil.rmtree(c.root + '/run')
    boot = c.root + '/boot_id'
    with open(boot, 'w') as f:
        f.write('00000000-0000-4000-8000-%012d\n' % random.randrange(10**12))
    run(['mount', '--bind', boot, '/proc/sys/kernel/random/boot_id'])


def alive(pid):
    try:
        return open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def once(name, command, policy='Never'):
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  restartPolicy: {policy}
  containers: [{{name: c, image: {IMAGE}, command: [sh, -c, '{command}']}}]
'''


def comes_back_from_a_reboot(c):
    begin_calm(c)
    done, busy = ME + '-done', ME + '-busy'
    c.apply(story_pod(c, ME + '-whole') + once(done, 'exit 0') + once(busy, 'sleep 1000000'))
    eventually('all are there', lambda: pod_now(c, ME + '-whole', {'first': 0, 'beside': 0, 'web': 0}) and
               c.get('pod', done)['status']['phase'] == 'Succeeded' and c.get('pod', busy)['status']['phase'] == 'Running', 30)
    held = {x['metadata']['name']: x['spec'] for x in c.get('leases', '-n', 'kube-node-lease')['items']}
    before = {p['metadata']['name']: p for p in pods_of(c, CALM)}
    boot = c.get('nodes')['items'][0]['status']['nodeInfo']['bootID']
    rev = int(c.get('cm', 'settings')['metadata']['resourceVersion'])
    pull_the_plug(c)
    c.up()
    whole = eventually('the pod with everything runs again', lambda: pod_now(c, ME + '-whole', {'first': 1, 'beside': 1, 'web': 1}), 40)
    for s in whole['status']['initContainerStatuses'][1:] + whole['status']['containerStatuses']:
        last = s['lastState']['terminated']
        assert (last['exitCode'], last['reason']) == (255, 'Unknown') and last['finishedAt'] >= last['startedAt'], s
    after = {p['metadata']['name']: p for p in eventually('the Deployment serves', lambda: all_ready(pods_of(c, CALM), 2), 40)}
    assert after.keys() == before.keys(), 'the same pods'
    for name, p in after.items():
        assert p['metadata']['uid'] == before[name]['metadata']['uid'] and counts(p['status']) == {'web': 1}, p
        assert 'SandboxChanged' in c.kubectl('get', 'events', '--field-selector', 'involvedObject.name=' + name)
    p = c.get('pod', done)
    assert p['status']['phase'] == 'Succeeded' and counts(p['status']) == {'c': 0}, 'what was done is not done again: %s' % p
    p = eventually('what was to run once has failed', lambda: in_phase(c.get('pod', busy), 'Failed'))
    ended = p['status']['containerStatuses'][0]['state']['terminated']
    assert (ended['exitCode'], ended['reason'], counts(p['status'])) == (255, 'Unknown', {'c': 0}), p['status']
    c.kubectl('delete', 'pod', done, busy)
    eventually('all is as declared', lambda: settled(c, {CALM: 2, ME + '-whole': 1}, 5), 30)
    node = c.get('nodes')['items'][0]
    assert node['status']['nodeInfo']['bootID'] != boot
    eventually('an event tells', lambda: 'Rebooted' in c.kubectl('get', 'events', '-A', '--field-selector', 'involvedObject.kind=Node'), 10)
    for x in c.get('leases', '-n', 'kube-node-lease')['items']:
        assert x['spec']['holderIdentity'] == held[x['metadata']['name']]['holderIdentity'] and \
            x['spec']['renewTime'] > held[x['metadata']['name']]['renewTime'], x
    c.apply(settings(0) + 'immutable: false\n')
    assert int(c.get('cm', 'settings')['metadata']['resourceVersion']) > rev
    ip = c.get('svc', CALM)['spec']['clusterIP']
    assert run(['curl', '-s', '-m', '5', 'http://%s/' % ip]).startswith('Hello')
    c.kubectl('delete', 'pod,svc', ME + '-whole')
    c.calm = pids_of(c, pods_of(c, CALM))


def all_ready(pods, n):
    assert len(pods) == n and all(is_ready(p) for p in pods), [p['status'] for p in pods]
    return pods


def in_phase(pod, phase):
    assert pod['status']['phase'] == phase, pod['status']
    return pod


def settled(c, apps, containers):
    """What is ready in slices is what runs, and the kernel has nothing else."""
    pods = c.get('pods')['items']
    for app, n in apps.items():
        mine = all_ready([p for p in pods if p['metadata']['labels']['app'] == app], n)
        assert sorted(endpoints(c, app)) == sorted(p['status']['podIP'] for p in mine), (app, endpoints(c, app))
    nothing_else(c, {p['metadata']['uid'] for p in pods}, containers)
    return True


# --- another build -------------------------------------------------------------------------------------------------

def end_supervisor(c, signo):
    pid = supervisor(c)
    os.kill(pid, signo)
    eventually('the supervisor has ended', lambda: not alive(pid), 15)


def up_with(c, program):
    run([program, 'up', '--detach', '--root', c.root, '--listen', '127.0.0.1:%d' % c.port], timeout=130)
    for role in ('server', 'node', 'relay', 'dns', 'edge'):
        eventually('%s is of that build' % role, lambda: os.path.samefile('/proc/%d/exe' % c.role_pid(role), program))
    roles_once(c)
    eventually('the API answers', lambda: c.kubectl('get', '--raw', '/readyz', timeout=5) == 'ok')


def answers(c, pod):
    assert c.kubectl('exec', pod, '--', 'echo', 'here') == 'here\n'
    assert 'listening' in c.kubectl('logs', pod)


def the_program_is_replaced_under_load(c):
    """By a newer one with a newer protocol of the shim, after SIGTERM; and back, after SIGKILL. Pods have shims of both."""
    newer, many, n = os.path.join(BUILD, 'newer/wherry'), ME + '-many', size(5, 50)
    run(['make', '-s', '-C', TOP, 'V=' + os.path.basename(BUILD), 'newer'], timeout=300)
    assert '(newer)' in subprocess.run([newer, 'version'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    begin_calm(c)
    c.apply(deployment(many, n) + service(many))
    c.kubectl('rollout', 'status', 'deploy/' + many, '--timeout=120s')
    before = pids_of(c, pods_of(c, many))
    assert len(before) == n, before
    load = start_load(c, many, 300)
    end_supervisor(c, signal.SIGTERM)
    up_with(c, newer)
    answers(c, min(before))
    c.kubectl('scale', 'deploy/' + many, '--replicas=%d' % (n + 2))
    c.kubectl('rollout', 'status', 'deploy/' + many, '--timeout=60s')
    both = pids_of(c, pods_of(c, many))
    assert both.items() >= before.items() and len(both) == n + 2, (before, both)
    end_supervisor(c, signal.SIGKILL)
    up_with(c, WHERRY)
    for pod in (min(before), min(both.keys() - before.keys())):
        answers(c, pod)
    assert pids_of(c, pods_of(c, many)) == both
    eventually('all is as declared', lambda: as_declared(c, {CALM: 2, many: n + 2}) or True, 60, 0.3)
    assert all(counts(p['status']) == {'web': 0} for p in pods_of(c, many))
    c.kubectl('delete', 'pod', min(before), min(both.keys() - before.keys()), '--wait=false')
    eventually('two others came', lambda: as_declared(c, {CALM: 2, many: n + 2}) or True, 60, 0.3)
    after = pids_of(c, pods_of(c, many))
    assert sum(after[p] == both.get(p) for p in after) == n, (both, after)
    end_load(load)
    c.kubectl('delete', 'deploy,svc', many)
    eventually('they are gone', lambda: only_calm(c, c.calm) or True, 60, 0.3)


def an_older_program_says_that_it_is_older(c):
    """A store of a format to come: `wherry up` tells so, and does not keep anybody waiting."""
    import sqlite3
    with Cluster(c.port + 1, ['--roles', 'server'], image=False) as d:
        d.down()
        store = sqlite3.connect(d.root + '/var/lib/wherry/server/store.db')
        store.execute('PRAGMA user_version = 9')
        store.close()
        start = time.monotonic()
        try:
            raise AssertionError(d.up() + 'is not to be said')
        except AssertionError as e:
            assert 'written by a newer Wherry (store format 9, this program knows 1)' in str(e), e
        assert time.monotonic() - start < 60


# --- another machine -----------------------------------------------------------------------------------------------

def fails(c, *args, **env):
    """What a command that must fail says."""
    p = subprocess.run([WHERRY] + list(args), env=dict(c.env, **env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=60, start_new_session=True)
    assert p.returncode in (1, 2) and p.stderr.count('\n') == 1, p
    return p.stderr


def a_backup_becomes_a_cluster_on_a_bare_machine(c):
    begin_calm(c)
    c.kubectl('create', 'secret', 'generic', 'kept', '--from-literal=a=geheim')
    token = c.kubectl('create', 'token', 'default', '--duration=1h').strip()
    c.kubectl('create', 'rolebinding', 'reader', '--clusterrole=view', '--serviceaccount=default:default')
    file, plain, word = c.root + '/backup', c.root + '/plain', c.root + '/word'
    with open(word, 'w') as f:
        f.write('correct horse battery\n')
    assert 'passphrase is needed' in fails(c, 'backup', file, '--with-keys', '--root', c.root)
    assert '8 to 1000' in fails(c, 'backup', file, '--with-keys', '--root', c.root, WHERRY_PASSPHRASE='short')
    c.wherry('backup', file, '--with-keys', '--root', c.root, '--passphrase-file', word)
    c.wherry('backup', plain, '--root', c.root)
    key = open(c.root + '/etc/wherry/keys/ca.key').read().split('\n')[1]
    assert os.stat(file).st_mode & 0o777 == 0o600 and key.encode() not in open(file, 'rb').read()
    rev = int(c.get('secret', 'kept')['metadata']['resourceVersion'])
    kubeconfig = shutil.copy(c.env['KUBECONFIG'], c.root + '/old.kubeconfig')
    c.down()
    os.rename(c.root + '/etc/wherry', c.root + '/etc/taken-away')
    second = Cluster(c.port, up=False)
    try:
        with second as d:
            here = ['--root', d.root]
            said = fails(d, 'restore', plain, *here)
            assert d.root + '/etc/wherry/keys/ca.crt is not there' in said and 'seal.keys' in said, said
            assert 'another one' in fails(d, 'restore', file, *here, WHERRY_PASSPHRASE='correct horse batterz')
            damaged = bytearray(open(file, 'rb').read())
            damaged[100] ^= 1
            with open(d.root + '/damaged', 'wb') as f:
                f.write(damaged)
            assert 'or the file was changed' in fails(d, 'restore', d.root + '/damaged', *here, '--passphrase-file', word)
            newer = damaged[:12] + b'\0\0\0\3' + damaged[16:]
            with open(d.root + '/damaged', 'wb') as f:
                f.write(newer)
            assert 'newer Wherry (backup format 3' in fails(d, 'restore', d.root + '/damaged', *here)
            assert not os.path.exists(d.root + '/var/lib/wherry/server'), 'nothing is half made'
            assert 'with its keys' in d.wherry('restore', file, *here, '--passphrase-file', word)
            d.up()
            assert d.get('secret', 'kept')['data'] == {'a': 'Z2VoZWlt'}
            old = dict(d.env, KUBECONFIG=kubeconfig)
            assert 'kept' in run([d.bin + '/kubectl', 'get', 'secret', '-o', 'name'], env=old), 'the old kubeconfig is good'
            assert run([d.bin + '/kubectl', '--token', token, 'auth', 'can-i', 'list', 'pods'], env=dict(d.env, KUBECONFIG=bare(d))) == 'yes\n'
            d.apply(settings('later'))
            assert int(d.get('cm', 'settings')['metadata']['resourceVersion']) > rev + 10**8
            all_ready(eventually('the workload is up', lambda: all_ready(pods_of(d, CALM), 2), 40), 2)
            ip = d.get('svc', CALM)['spec']['clusterIP']
            eventually('it serves', lambda: run(['curl', '-s', '-m', '5', 'http://%s/' % ip]).startswith('Hello'))
    finally:
        os.rename(c.root + '/etc/taken-away', c.root + '/etc/wherry')
        c.up()                                          # for the tests after this one
        c.calm = {p['metadata']['name']: pids_of(c, [p])[p['metadata']['name']]
                  for p in eventually('all is there again', lambda: all_ready(pods_of(c, CALM), 2), 40)}


def bare(d):
    """A kubeconfig that says where, and nobody's name."""
    path = d.root + '/bare.kubeconfig'
    with open(path, 'w') as f:
        f.write('apiVersion: v1\nkind: Config\ncurrent-context: c\n'
                'clusters: [{name: c, cluster: {server: "https://127.0.0.1:%d", certificate-authority: %s/etc/wherry/keys/ca.crt}}]\n'
                'contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n' % (d.port, d.root))
    return path


def places_of_the_environment(c):
    """WHERRY_PLACES="node.before.TERM:1 oci.*:7": these, for whoever looks for the cause."""
    sweep(c, [(w.split(':')[0], int(w.split(':')[1])) for w in os.environ.get('WHERRY_PLACES', '').split()])


if __name__ == '__main__':
    tests = [node_dies_at_every_action, node_dies_between_the_steps_of_the_runtime, server_dies_between_the_writes_of_a_plan,
             supervisor_dies_at_every_step, the_program_is_replaced_under_load, comes_back_from_a_reboot, a_backup_becomes_a_cluster_on_a_bare_machine] + size([], [an_older_program_says_that_it_is_older])
    main([places_of_the_environment] if KEEP else tests, port=16743, cluster=Mortal)
