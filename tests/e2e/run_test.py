#!/usr/bin/env python3
"""./run and ./run down, twice in a row, over folders of their own."""
import fcntl, os, stat
from lib import *
from machine import differences, instance_here, machine

FOLDERS = ('/etc/wherry', '/var/lib/wherry', '/run/wherry', '/var/log')
KUBECONFIG = '/etc/wherry/admin.kubeconfig'
before, state = {}, {}


def house(*args):
    return run([os.path.join(TOP, 'run')] + list(args), timeout=400)


def kubectl(*args):
    return run([clients() + '/kubectl', '--kubeconfig', KUBECONFIG] + list(args))


def demo():
    return run(['curl', '-s', '-m', '3', 'http://127.0.0.1:30080/'])


def it_runs(c):
    before.update(machine())
    out = house()
    assert demo().startswith('Hello from demo-'), demo()
    assert 'says: Hello from demo-' in out, out
    assert KUBECONFIG in out and stat.S_IMODE(os.stat(KUBECONFIG).st_mode) == 0o600
    state['commands'] = [line.strip() for line in out.splitlines() if line.startswith('  wherry ')]
    assert len(state['commands']) == 5, out
    assert kubectl('get', 'pods', '-o', 'name').count('pod/demo-') == 3
    assert kubectl('get', 'deploy,svc,cm', '-n', 'default', '-o', 'name').count('/demo') == 3
    state['instance'] = instance_here()


def what_it_proposes_works(c):
    env = dict(os.environ, KUBECONFIG=KUBECONFIG, PATH=os.path.join(TOP, 'build/release') + ':' + os.environ['PATH'])
    for line in state['commands']:
        line = line.replace('logs -f', 'logs').replace('exec -it', 'exec -i')  # these two would wait for a person
        assert run(['sh', '-c', line], env=env, input='exit\n') is not None, line
    run(['wherry', 'rollout', 'status', 'deployment/demo', '--timeout', '60s'], env=env)
    eventually('five pods', lambda: kubectl('get', 'deploy', 'demo', '-o', 'jsonpath={.status.readyReplicas}') == '5')
    assert demo().startswith('Hello from demo-'), demo()


def again_it_says_what_is_there(c):
    pid = run(['cat', '/run/wherry/supervisor.lock'])
    out = house()
    assert 'up already' in out and KUBECONFIG in out and 'starting' not in out, out
    assert run(['cat', '/run/wherry/supervisor.lock']) == pid
    assert demo().startswith('Hello from demo-')


def down_leaves_nothing(c):
    house('down')
    left = differences(before, machine(state['instance']))
    assert not left, '\n'.join(left)
    assert os.path.exists('/var/lib/wherry/server'), 'state stays'
    house('down')


def and_all_of_it_again(c):
    it_runs(c)
    again_it_says_what_is_there(c)
    down_leaves_nothing(c)
    house('down', '--purge')
    assert not os.path.exists('/var/lib/wherry/server') and not os.path.exists(KUBECONFIG)


class Machine(Cluster):
    """The machine's own cluster, over folders that are empty at first. The control groups are the real machine's, so
    only one may do this at a time."""

    def __init__(self):
        self.root = ''

    def __enter__(self):
        self.lock = open('/run/lock/wherry-run-test', 'w')
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.made = [f for f in FOLDERS if not os.path.isdir(f)]
        for f in FOLDERS:
            os.makedirs(f, exist_ok=True)
            run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'wherry-test', f])
        return self

    def down(self):
        return house('down')

    def __exit__(self, *unused):
        self.down()
        for f in FOLDERS:
            run(['umount', '-l', f])
        for f in self.made:
            os.rmdir(f)


if __name__ == '__main__':
    main([it_runs, what_it_proposes_works, again_it_says_what_is_there, down_leaves_nothing, and_all_of_it_again], cluster=Machine)
