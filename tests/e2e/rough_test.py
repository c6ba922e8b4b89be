#!/usr/bin/env python3
"""Rough treatment: roles and the supervisor are killed at random moments while a cluster is worked with; afterwards all
of it is as declared, and nothing is left over."""
import os, random, re, signal, subprocess, threading, time
from lib import *

ROLES = ['server', 'node', 'relay', 'dns', 'edge']
WHOM = ['server', 'node', 'node', 'node', 'relay', 'dns', 'supervisor', 'roles', 'everybody', 'hang server', 'hang node']
LOAD = os.path.join(BUILD, 'load')
KILLS = size(15, 150)
ME = 'r%d' % os.getpid()                                # in the names of all pods, so that their shims are told from strangers'


def listed(path):
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        return set()


def all_shims():
    """(pid, "NS/POD") of each, by the process list; others than ours among them."""
    for pid in run(['pgrep', '-x', 'wherry-shim'], check=False).split():
        try:
            yield int(pid), open('/proc/%s/cmdline' % pid).read().split('\0')[1]
        except (OSError, IndexError):
            continue                                    # is ending


def shims():
    """Pods that have a shim."""
    return sorted(name.split('/')[1] for _, name in all_shims() if name.startswith('default/' + ME))


def groups(c):
    """Control groups of this cluster's pods: uids."""
    found = set()
    if not hasattr(c, 'instance'):
        text = ''.join(open('/proc/%d/cgroup' % pids[0]).read() for pids in pids_of(c, c.get('pods')['items']).values())
        c.instance = re.search(r'/wherry-([0-9a-z]+)', text).group(1)
    for top, dirs, _ in os.walk('/sys/fs/cgroup'):
        if top.startswith('/sys/fs/cgroup/') and '/wherry-' + c.instance in top:
            found |= {d[3:] for d in dirs if d.startswith('pod')}
    return found


def pids_of(c, pods):
    """{pod name: pids of its containers}"""
    by_uid = {p['metadata']['uid']: p['metadata']['name'] for p in pods}
    found = {}
    for pid in run(['pgrep', '-x', 'web']).split():
        try:
            text = open('/proc/%s/cgroup' % pid).read()
        except OSError:
            continue
        for uid, name in by_uid.items():
            if 'pod' + uid in text:
                found.setdefault(name, []).append(int(pid))
    return found


def pods_of(c, app):
    return c.get('pods', '-l', 'app=' + app)['items']


def supervisor(c):
    return int(open(c.root + '/run/wherry/supervisor.lock').read())


def is_ready(pod):
    return any(x['type'] == 'Ready' and x['status'] == 'True' for x in pod['status'].get('conditions', []))


def as_declared(c, wanted):
    """Fails with the first thing that is not as `wanted` {name: replicas} says, or that nobody wants any more."""
    pods = c.get('pods')['items']
    uids = {p['metadata']['uid'] for p in pods}
    for p in pods:
        assert not p['metadata'].get('deletionTimestamp') and is_ready(p), ('neither ready nor gone', p['metadata']['name'], p['status'])
        assert wanted.get(p['metadata']['labels']['app']), p['metadata']['name']
    for d in c.get('deployments')['items']:
        s, n = d['status'], wanted[d['metadata']['name']]
        got = [s.get(k, 0) for k in ('replicas', 'updatedReplicas', 'readyReplicas', 'availableReplicas')]
        assert got == [n] * 4 and s['observedGeneration'] == d['metadata']['generation'], (d['metadata']['name'], n, s)
    for name, n in wanted.items():
        mine = [p for p in pods if p['metadata']['labels']['app'] == name]
        assert len(mine) == n, (name, n, len(mine))
        slices = c.get('endpointslices', '-l', 'kubernetes.io/service-name=' + name)['items']
        ready = sorted(a for s in slices for e in s.get('endpoints') or [] if e['conditions']['ready'] for a in e['addresses'])
        assert ready == sorted(p['status']['podIP'] for p in mine), (name, ready)
    assert len({p['status']['podIP'] for p in pods}) == len(pods), 'two pods with one address'
    assert shims() == sorted(p['metadata']['name'] for p in pods), (shims(), sorted(p['metadata']['name'] for p in pods))
    nothing_else(c, uids)


def nothing_else(c, uids, containers=None):
    """What the kernel and the disk hold belongs to these pods, which have one container each if nothing else is said."""
    veths = run(['ip', '-o', 'link', 'show', 'type', 'veth']).splitlines()
    assert len(veths) == len(uids), veths
    node = c.root + '/var/lib/wherry/node'
    assert listed(c.root + '/run/wherry/pods') == uids, ('sandboxes', listed(c.root + '/run/wherry/pods') ^ uids)
    assert listed(node + '/pods') == uids, ('volumes', listed(node + '/pods') ^ uids)
    assert listed(c.root + '/run/wherry/volumes') <= uids, ('volumes in memory', listed(c.root + '/run/wherry/volumes') - uids)
    assert {d.split('_')[-1] for d in listed(c.root + '/var/log/pods')} == uids, ('logs', listed(c.root + '/var/log/pods'))
    containers = containers or len(uids)
    assert len(listed(node + '/containers')) == containers, ('writable layers', listed(node + '/containers'), containers)
    assert groups(c) == uids, ('control groups', groups(c) ^ uids)
    overlays = [m for m in open('/proc/self/mounts') if c.root in m and m.split()[2] == 'overlay']
    assert not overlays, overlays


def rough_deployment(name, replicas):
    return deployment(name, replicas, extra='''      terminationGracePeriodSeconds: 8
      volumes: [{name: settings, configMap: {name: settings}}, {name: memory, emptyDir: {medium: Memory}}]
''', container='''        volumeMounts: [{name: settings, mountPath: /settings}, {name: memory, mountPath: /memory}]
''') + service(name)


def settings(value):
    return 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {value: "%s"}\n' % value


def say(c, *args, **kw):
    """kubectl, until the server that is killed now and then has heard it."""
    eventually(' '.join(args), lambda: c.kubectl(*args, timeout=20, **kw) or True, 60, 0.2)


def up_again(c):
    end = time.monotonic() + 20
    while True:                                         # the killed one may hold its lock for a moment
        try:
            return c.up()
        except AssertionError as e:
            if 'is up already' not in str(e) or time.monotonic() > end:
                raise
            time.sleep(0.02)


class Killer(threading.Thread):
    def __init__(self, c, rng):
        super().__init__(daemon=True)
        self.c, self.rng, self.error, self.done = c, rng, None, []

    def run(self):
        try:
            for i in range(KILLS):
                time.sleep(self.rng.uniform(0.1, 2.2))  # the random moment
                self.kill(self.rng.choice(WHOM))
        except Exception as e:
            self.error = e

    def signal(self, who, signo):
        try:
            os.kill(supervisor(self.c) if who == 'supervisor' else self.c.role_pid(who), signo)
        except (ProcessLookupError, FileNotFoundError, ValueError):
            pass                                        # killed a moment ago and not back yet

    def kill(self, who):
        self.done.append(who)
        if who.startswith('hang'):                      # it holds what it holds, and goes on as if nothing had been
            role, held = who[5:], self.rng.uniform(0.5, 4)
            self.signal(role, signal.SIGSTOP)
            time.sleep(held)
            self.signal(role, signal.SIGCONT)
            return
        for one in {'roles': ROLES, 'everybody': ['supervisor'] + ROLES}.get(who, [who]):
            self.signal(one, signal.SIGKILL)
        if who in ('supervisor', 'everybody'):
            time.sleep(self.rng.uniform(0, 0.3))
            up_again(self.c)


def work(c, rng, wanted, serial):
    """One random change of what is declared."""
    others = [n for n in wanted if not n.endswith('calm')]
    what = rng.choice(['create', 'scale', 'roll', 'delete', 'configmap', 'scale', 'roll'])
    if what == 'create' or not others:
        if len(others) < 3:
            name = '%s-d%d' % (ME, serial)
            wanted[name] = rng.randint(1, 3)
            say(c, 'apply', '-f', '-', input=rough_deployment(name, wanted[name]))
        return
    name = rng.choice(others)
    if what == 'scale':
        wanted[name] = rng.randint(0, 4)
        say(c, 'scale', 'deploy/' + name, '--replicas=%d' % wanted[name])
    elif what == 'roll':
        say(c, 'set', 'env', 'deploy/' + name, 'ROUND=%d' % serial)
    elif what == 'delete':
        del wanted[name]
        say(c, 'delete', 'deploy,svc', name, '--ignore-not-found', '--wait=false')
    else:
        c.settings = str(serial)
        say(c, 'apply', '-f', '-', input=settings(serial))


def ready_since(c, app):
    return {p['metadata']['name']: [x['lastTransitionTime'] for x in p['status']['conditions'] if x['type'] == 'Ready'] for p in pods_of(c, app)}


def survives_kills(c):
    calm, wanted, serial = ME + '-calm', {ME + '-calm': 3}, 0
    c.settings = '0'
    c.apply(settings(0))
    c.apply(rough_deployment(calm, 3))
    c.kubectl('rollout', 'status', 'deploy/' + calm, '--timeout=20s')
    before = pids_of(c, pods_of(c, calm))
    assert len(before) == 3, before
    since = ready_since(c, calm)
    load = start_load(c, calm, 8 * KILLS)
    killer = Killer(c, random.Random(seed() + 1))
    rng = random.Random(seed())
    killer.start()
    while killer.is_alive():
        serial += 1
        work(c, rng, wanted, serial)
        killer.join(rng.uniform(0, 0.4))
    assert not killer.error, killer.error
    print('     killed: %s; %d changes, %s' % (' '.join(killer.done), serial, wanted), flush=True)
    eventually('all is as declared', lambda: as_declared(c, wanted) or True, 45, 0.3)
    for p in c.get('pods')['items']:
        restarts = [s['restartCount'] for s in p['status']['containerStatuses']]
        assert restarts == [0], (p['metadata']['name'], restarts)
        name = p['metadata']['name']
        eventually('the ConfigMap is in ' + name, lambda: c.kubectl('exec', name, '--', 'cat', '/settings/value') == c.settings, 10)
        assert 'tmpfs /memory' in c.kubectl('exec', name, '--', 'cat', '/proc/mounts'), name
    assert pids_of(c, pods_of(c, calm)) == before, 'what was not to change runs on'
    assert ready_since(c, calm) == since, 'readiness did not flap'
    end_load(load)
    for name in wanted:
        if name != calm:
            say(c, 'delete', 'deploy,svc', name, '--ignore-not-found')


def start_load(c, service, seconds):
    ip = c.get('svc', service)['spec']['clusterIP']
    return subprocess.Popen([LOAD, ip, '80', '200', str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_load(load):
    load.send_signal(signal.SIGINT)
    out = load.communicate(timeout=150)[0]
    assert ' failed 0 ' in out, out


def clients_of(c, pod):
    """Streams of all kinds, under way."""
    start = lambda *args: subprocess.Popen([c.bin + '/kubectl'] + list(args), env=c.env, stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    forward = start('port-forward', 'pod/' + pod, '18643:8080')
    all = [forward, start('logs', '-f', pod), start('exec', '-i', pod, '--', 'cat'), start('get', 'pods', '-w'), start('attach', pod)]
    assert 'Forwarding' in forward.stdout.readline()
    assert 'listening' in all[1].stdout.readline()
    assert run(['curl', '-s', '-m', '5', 'http://127.0.0.1:18643/']).startswith('Hello')
    all[2].stdin.write('a line\n')
    all[2].stdin.flush()
    assert all[2].stdout.readline() == 'a line\n'
    return all


def is_ended_and_adopted(c):
    """SIGTERM to `wherry up` ends the roles alone; the next one finds the containers."""
    calm = ME + '-calm'
    c.apply(settings(0))
    c.apply(rough_deployment(calm, 3))
    c.kubectl('rollout', 'status', 'deploy/' + calm, '--timeout=20s')
    before, load = pids_of(c, pods_of(c, calm)), start_load(c, calm, 20)
    assert len(before) == 3, before
    roles = [c.role_pid(r) for r in ('server', 'node', 'relay', 'dns', 'edge')]
    for pid, role in zip(roles, ('server', 'node', 'relay', 'dns', 'edge')):
        assert open('/proc/%d/cmdline' % pid).read().startswith('wherry\0%s\0' % role)
    busy = clients_of(c, min(before))                   # roles end in the midst of it
    say(c, 'apply', '-f', '-', input=rough_deployment(ME + '-late', 2))
    pid = supervisor(c)
    os.kill(pid, signal.SIGTERM)
    eventually('its roles have ended', lambda: not any(os.path.exists('/proc/%d' % p) for p in roles + [pid]), 15)
    c.up()
    eventually('the API answers', lambda: c.kubectl('get', '--raw', '/readyz', timeout=5) == 'ok')
    end_load(load)
    assert 'not ended within' not in c.log(), 'a role did not end by itself'
    for p in busy:
        p.terminate()
        p.wait(20)
    say(c, 'delete', 'deploy,svc', ME + '-late')
    assert pids_of(c, pods_of(c, calm)) == before
    assert all(s['restartCount'] == 0 for p in pods_of(c, calm) for s in p['status']['containerStatuses'])


def shim_of(pod):
    return next(pid for pid, name in all_shims() if name == 'default/' + pod)


def much_happens_while_the_node_is_away(c):
    """Pods are deleted, forced away, made; containers and a shim end: the next node role sees to all of it."""
    calm = ME + '-calm'
    c.apply(settings(0))
    c.apply(rough_deployment(calm, 6))
    c.kubectl('rollout', 'status', 'deploy/' + calm, '--timeout=20s')
    before = pids_of(c, pods_of(c, calm))
    deleted, forced, ended, shimless, *quiet = sorted(before)
    roles = [supervisor(c), c.role_pid('node')]
    for pid in roles:
        os.kill(pid, signal.SIGKILL)
    eventually('they are gone', lambda: not any(os.path.exists('/proc/%d' % p) for p in roles))
    c.kubectl('delete', 'pod', deleted, '--wait=false')
    c.kubectl('delete', 'pod', forced, '--force', '--grace-period=0')
    os.kill(before[ended][0], signal.SIGKILL)
    os.kill(shim_of(shimless), signal.SIGKILL)
    c.apply(deployment(ME + '-new', 2) + service(ME + '-new'))
    c.up()
    eventually('all is as declared', lambda: as_declared(c, {calm: 6, ME + '-new': 2}) or True, 45, 0.3)
    after = {p['metadata']['name']: p['status']['containerStatuses'][0] for p in pods_of(c, calm)}
    assert deleted not in after and forced not in after, after
    for name in (ended, shimless):
        assert after[name]['restartCount'] == 1 and after[name]['lastState']['terminated']['exitCode'] == 137, (name, after[name])
    pids = pids_of(c, pods_of(c, calm))
    assert all(pids[n] == before[n] and after[n]['restartCount'] == 0 for n in quiet), (quiet, before, pids)


def goes_without_a_trace(c):
    c.down()
    nothing_else_at_all = (shims(), groups(c), run(['ip', '-o', 'link', 'show', 'type', 'veth']), listed(c.root + '/run/wherry'),
                           [m for m in open('/proc/self/mounts') if c.root in m])
    assert nothing_else_at_all == ([], set(), '', set(), []), nothing_else_at_all


def is_reloaded(c):
    """SIGHUP to `wherry up`: settings are read again by roles that are started anew; wrong ones change nothing. What the
    cluster has made of the network is not in its way."""
    c.apply('{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: fence}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}')
    eventually('it is in force', lambda: '-fence' in run(['nft', 'list', 'tables']))
    names, file = ('server', 'node', 'relay', 'dns', 'edge'), c.root + '/etc/wherry/config.yaml'
    pods = lambda: c.get('nodes')['items'][0]['status']['capacity']['pods']
    roles, pid = [c.role_pid(r) for r in names], supervisor(c)
    open(file, 'w').write('max-podz: 7\n')
    os.kill(pid, signal.SIGHUP)
    eventually("wrong settings are told", lambda: 'max-podz' in c.log())
    assert [c.role_pid(r) for r in names] == roles and supervisor(c) == pid
    open(file, 'w').write('max-pods: 77\n')
    os.kill(pid, signal.SIGHUP)
    eventually('the setting is in force', lambda: pods() == '77')
    assert not set(c.role_pid(r) for r in names) & set(roles) and supervisor(c) == pid
    assert 'Z' not in run(['ps', '--ppid', str(pid), '-o', 'stat=']), 'those that ended are waited for'
    os.unlink(file)
    os.kill(pid, signal.SIGHUP)
    eventually('the default is back', lambda: pods() == '110')
    assert supervisor(c) == pid and '-fence' in run(['nft', 'list', 'tables']), run(['nft', 'list', 'tables'])
    c.kubectl('delete', 'networkpolicy', 'fence')


if __name__ == '__main__':
    main([survives_kills, is_reloaded, is_ended_and_adopted, much_happens_while_the_node_is_away, goes_without_a_trace], port=16643)
