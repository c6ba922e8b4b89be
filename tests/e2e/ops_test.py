#!/usr/bin/env python3
"""Operating: roles that hang, settings that are wrong, files that are written, and down and up again and again."""
import os, re, shutil, signal, socket, struct, subprocess, tempfile, threading, time
from lib import *

ROLES = ['server', 'node', 'relay', 'dns', 'edge']


def supervisor(c):
    return int(open(c.root + '/run/wherry/supervisor.lock').read())


def switches(pid):
    """How often the kernel gave it a processor."""
    return sum(int(n) for n in re.findall(r'ctxt_switches:\s+(\d+)', open('/proc/%d/status' % pid).read()))


def refused(*args, status=None, **kw):
    """What `wherry up` says where it refuses, within a second."""
    root = tempfile.mkdtemp(prefix='wo', dir='/tmp')
    os.chmod(root, 0o755)
    try:
        start = time.monotonic()
        p = subprocess.run([WHERRY, 'up', '--root', root] + list(args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **kw)
        took = time.monotonic() - start
        assert p.returncode != 0 and took < 1 + 4 * (os.getloadavg()[0] > 4), (args, took, p)
        assert not os.path.exists(root + '/run/wherry/roles/server'), 'nothing was started: %s' % (args,)
        return p.stdout
    finally:
        subprocess.run([WHERRY, 'down', '--root', root])
        shutil.rmtree(root, ignore_errors=True)


def wrong_settings_are_told_at_once(c):
    for way in (['--detach'], []):
        assert 'listen: "nonsense": is not ADDRESS:PORT' in refused('--listen', 'nonsense', *way)
        said = refused('--listen', '203.0.113.9:6443', *way)
        assert 'this machine has no address 203.0.113.9' in said and 'setting listen' in said, said
        assert 'log-level: "loud"' in refused('--set', 'log-level=loud', *way)
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen()
            taken = '127.0.0.1:%d' % s.getsockname()[1]
            for roles in (['--roles', 'server'], []):
                said = refused('--listen', taken, *way, *roles)
                assert 'setting listen' in said and 'is taken by python3 (pid %d)' % os.getpid() in said, said
    for kind, proto in ((socket.SOCK_STREAM, 'tcp'), (socket.SOCK_DGRAM, 'udp')):
        with socket.socket(type=kind) as s:
            s.setsockopt(socket.IPPROTO_IP, 15, 1)          # IP_FREEBIND
            s.bind(('10.42.0.1', 53))
            if kind == socket.SOCK_STREAM:
                s.listen()
            said = refused('--detach', '--listen', '127.0.0.1:16999')
            assert 'port 53/%s, where cluster DNS' % proto in said, said
    assert 'is not understood' in refused('--listen')
    assert 'no/such' in refused('--config', '/no/such')
    with tempfile.NamedTemporaryFile('w') as f:
        f.write('listen: 1\n')
        f.flush()
        assert 'listen' in refused('--config', f.name)
    root = tempfile.NamedTemporaryFile()
    p = subprocess.run([WHERRY, 'up', '--detach', '--root', root.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=5)
    assert p.returncode != 0 and root.name in p.stdout, p


def all_at_once(*commands):
    """[(exit status, output)] of wherry's verbs, all started before any has ended."""
    ps = [subprocess.Popen([WHERRY] + list(a), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for a in commands]
    return [(p.wait(150), p.stdout.read()) for p in ps]


def up_and_down_meet(c):
    """Commands that are given at the same time, or in the instant after a kill, leave what the last one says."""
    up = ['up', '--detach', '--root', c.root, '--listen', '127.0.0.1:%d' % c.port]
    down = ['down', '--root', c.root]
    alone = lambda: run(['pgrep', '-fc', 'wherry up .*' + c.root], check=False).strip()
    said = all_at_once(*[up] * 4)
    assert all(code == 0 for code, _ in said) and sum('up already' in out for _, out in said) == 3, said
    assert alone() == '1' and c.kubectl('get', '--raw', '/readyz') == 'ok'
    for i in range(size(6, 50)):
        killed = supervisor(c)
        os.kill(killed, signal.SIGKILL)
        out = run([WHERRY] + up, timeout=150)
        assert 'up already' not in out and supervisor(c) != killed and alone() == '1', (i, out)
        assert c.kubectl('get', '--raw', '/readyz') == 'ok'
    for code, out in all_at_once(down, down, down):
        assert (code, out) == (0, ''), out
    for i in range(size(5, 40)):                            # one that starts and is ended meanwhile, and the other way
        said = all_at_once(up, down, up, down)
        assert all(code == 0 for code, _ in said[1::2]), said
        out = run([WHERRY] + up, timeout=150)
        assert alone() == '1' and c.kubectl('get', '--raw', '/readyz') == 'ok', (said, out)
    run([WHERRY] + down)
    assert alone() == '0' and not os.path.exists(c.root + '/run/wherry')


def down_and_up_again_and_again(c):
    """Twenty pods come back within seconds, each container started once a cycle, and nothing of it is blamed on them."""
    c.up()
    for i in range(20):
        c.apply('apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{name: c, image: %s}]}\n' % (i, IMAGE))
    restarts = lambda: [p['status']['containerStatuses'][0]['restartCount'] for p in c.get('pods')['items'] if p['metadata']['name'][0] == 'p']
    ready = lambda: [x['status'] == 'True' for p in c.get('pods')['items'] for x in p['status']['conditions'] if p['metadata']['name'][0] == 'p' and x['type'] == 'Ready']
    c.kubectl('wait', '--for=condition=Ready', 'pod', '--all', '--timeout=60s')
    took = []
    for cycle in range(1, size(3, 50) + 1):
        c.down()
        c.up()
        start = time.monotonic()
        # not by `kubectl wait`, which takes 0.1 s for each pod that is Ready
        eventually('all were started again', lambda: min(restarts()) >= cycle and all(ready()), 30)
        took.append(time.monotonic() - start)
        assert restarts() == [cycle] * 20, (cycle, restarts())
    why = c.wherry('why', '-A', check=False)
    assert 'Everything is as declared' in why, why
    took.sort()
    load = os.getloadavg()[0]
    print('     all ready after up: %.1f s at best, %.1f s the median, %.1f s at worst; load %.0f' % (took[0], took[len(took) // 2], took[-1], load), flush=True)
    assert took[-1] < 3 * max(1, load / 2) * slowness(), took
    c.kubectl('delete', 'pod', '--all', '--force', '--grace-period=0')


def a_stale_lock_ends_no_stranger(c):
    """Numbers of processes in files that a machine left behind belong to others now."""
    c.down()
    stranger = subprocess.Popen(['sleep', '1000'])
    twin = c.root + '/wherry'                               # called as ours are
    shutil.copy('/bin/sleep', twin)
    namesake = subprocess.Popen([twin, '1000'])
    try:
        for pid in (stranger.pid, namesake.pid):
            os.makedirs(c.root + '/run/wherry/roles', exist_ok=True)
            open(c.root + '/run/wherry/supervisor.lock', 'w').write(str(pid))
            for r in ROLES:
                open(c.root + '/run/wherry/roles/' + r, 'w').write('%d 12345 api:3\n' % pid)
            assert 'up already' not in c.up()
            c.down()
            os.makedirs(c.root + '/run/wherry/roles', exist_ok=True)
            open(c.root + '/run/wherry/supervisor.lock', 'w').write(str(pid))
            open(c.root + '/run/wherry/roles/node', 'w').write('%d 12345\n' % pid)
            c.down()
        assert stranger.poll() is None and namesake.poll() is None
    finally:
        stranger.kill()
        namesake.kill()


def hanging_roles_are_started_again(c):
    """Stopped, in an endless loop, in a wait without end: told in the log with what it was at, ended, started again."""
    places = tempfile.mkdtemp(prefix='wd', dir='/tmp')
    at, how = places + '/at', size(['loop'], ['loop', 'wait'])
    os.chmod(places, 0o755)
    os.environ['WHERRY_DIE_AT'] = at
    try:
        open(at, 'w').close()
        os.chmod(at, 0o666)
        c.up()
        for i, way in enumerate(how):
            before, logged = {r: c.role_pid(r) for r in ROLES}, len(c.log())
            open(at, 'w').write('node.step 1 ' + way)
            c.apply(deployment('any%d' % i))
            eventually('the node hangs', lambda: open(at).read().startswith('hung'))
            for r in ('server', 'relay', 'dns', 'edge'):
                os.kill(before[r], signal.SIGSTOP)
            eventually('all are others now', lambda: all(c.role_pid(r) != before[r] for r in ROLES), 90)
            log = c.log()[logged:]
            assert re.search(r'error supervisor role.hangs role=node pid=%d .*a turn of its loop.*doing="pod default/any' % before['node'], log), log
            for r in ('server', 'relay', 'dns', 'edge'):
                assert re.search(r'error supervisor role.hangs role=%s pid=%d .*stopped by a signal' % (r, before[r]), log), log
            eventually('it serves', lambda: c.kubectl('get', '--raw', '/readyz') == 'ok', 60)
            c.kubectl('rollout', 'status', 'deploy/any%d' % i, '--timeout=60s')
        if STORM:
            before = c.role_pid('server')
            open(at, 'w').write('http.request 1 loop')
            subprocess.run([c.bin + '/kubectl', 'get', '--raw', '/api/v1/namespaces/a-long-one/pods'], env=c.env, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=90)
            eventually('the server is another', lambda: c.role_pid('server') != before, 90)
            assert re.search(r'role.hangs role=server pid=%d .*doing="(GET|PUT|PATCH|POST) /' % before, c.log())
    finally:
        del os.environ['WHERRY_DIE_AT']
        shutil.rmtree(places)


def a_machine_that_was_suspended(c):
    """Whoever slept does not judge the others; and a short stop is no hang."""
    before = {r: c.role_pid(r) for r in ROLES}
    everybody = [supervisor(c)] + list(before.values())
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(size(2, 60))
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    time.sleep(size(0, 30))
    c.kubectl('get', '--raw', '/readyz')
    assert {r: c.role_pid(r) for r in ROLES} == before


def a_stopped_shim_ends(c):
    """A shim that SIGSTOP holds answers nobody: its pod goes on with another one, or goes, and `down` is not held up for ever."""
    name = 'ops%d' % os.getpid()
    shim = lambda: int(run(['pgrep', '-f', 'wherry-shim default/' + name]).split()[0])
    c.up()
    c.apply('apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: %s}]}\n' % (name, IMAGE))
    c.kubectl('wait', '--for=condition=Ready', 'pod/' + name, '--timeout=60s')
    os.kill(shim(), signal.SIGSTOP)
    p = subprocess.run([c.bin + '/kubectl', 'exec', name, '--', 'true'], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90)
    assert p.returncode != 0 and 'shim' in p.stdout, p
    assert re.search('error node shim.hangs pod=default/%s ' % name, c.log())
    c.kubectl('wait', '--for=condition=Ready', 'pod/' + name, '--timeout=60s')
    eventually('it is another, and takes commands', lambda: c.kubectl('exec', name, '--', 'echo', 'fine') == 'fine\n', 60)
    os.kill(shim(), signal.SIGSTOP)
    assert c.down() == ''
    c.up()


def a_stopped_pull_is_tried_again(c):
    """A job that SIGSTOP holds neither ends nor gives its place to another: it is ended, and the image asked for anew."""
    jobs = lambda: [int(p) for p in run(['pgrep', '-P', str(c.role_pid('node')), '-f', 'wherry-job pull'], check=False).split()]
    c.up()
    with socket.socket() as registry:                       # takes calls, and says nothing
        registry.bind(('127.0.0.1', 0))
        registry.listen()
        c.apply('apiVersion: v1\nkind: Pod\nmetadata: {name: slow}\nspec: {containers: [{name: c, image: "127.0.0.1:%d/a/b:1"}]}\n' % registry.getsockname()[1])
        registry.accept()[0].close()
        registry.accept()                                   # it tries again by itself: the job is at work
        eventually('one job', lambda: len(jobs()) == 1)
        stopped = jobs()[0]
        os.kill(stopped, signal.SIGSTOP)
        eventually('it is ended, and another pulls', lambda: jobs() and jobs() != [stopped], 90)
        assert 'error node job.hangs pid=%d ' % stopped in c.log()
    c.kubectl('delete', 'pod', 'slow', '--force', '--grace-period=0')


def watching_costs_nothing(c):
    """At rest the supervisor wakes when a role's own timer was due, and not more often."""
    c.kubectl('delete', 'deploy', '--all')
    eventually('no pods', lambda: c.get('pods')['items'] == [])
    pid = supervisor(c)
    def quiet():
        was = switches(pid)
        time.sleep(5)
        return switches(pid) - was <= 4
    eventually('it rests', quiet, 60)


if __name__ == '__main__':
    main([wrong_settings_are_told_at_once, up_and_down_meet, down_and_up_again_and_again, a_stale_lock_ends_no_stranger, hanging_roles_are_started_again, a_machine_that_was_suspended, watching_costs_nothing] + size([], [a_stopped_shim_ends, a_stopped_pull_is_tried_again]), port=16743, up=False)
