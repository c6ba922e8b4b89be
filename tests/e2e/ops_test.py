#!/usr/bin/env python3
"""Operating: roles that hang, settings that are wrong, files that are written, and down and up again and again."""
import os, re, shutil, signal, socket, struct, subprocess, tempfile, threading, time
from lib import *

ROLES = ['server', 'node', 'relay', 'dns']


def supervisor(c):
    return int(open(c.root + '/run/wherry/supervisor.lock').read())


def switches(pid):
    """How often the kernel gave it a processor."""
    return sum(int(n) for n in re.findall(r'ctxt_switches:\s+(\d+)', open('/proc/%d/status' % pid).read()))


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
            for r in ('server', 'relay', 'dns'):
                os.kill(before[r], signal.SIGSTOP)
            eventually('all are others now', lambda: all(c.role_pid(r) != before[r] for r in ROLES), 90)
            log = c.log()[logged:]
            assert re.search(r'error supervisor role.hangs role=node pid=%d .*a turn of its loop.*doing="pod default/any' % before['node'], log), log
            for r in ('server', 'relay', 'dns'):
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


def a_machine_that_was_suspended(c):
    """Whoever slept does not judge the others."""
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


if __name__ == '__main__':
    main([hanging_roles_are_started_again, a_machine_that_was_suspended, watching_costs_nothing], port=16743, up=False)
