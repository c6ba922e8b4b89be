#!/usr/bin/env python3
"""What `wherry down` leaves: nothing. And clusters side by side, and one that an ordinary user starts."""
import os, re, shutil, subprocess, tempfile, time
from lib import *
from machine import differences, instance_here, machine, processes

NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all']
before = {}


def nothing_is_left(c, instance):
    assert not differences(before, machine(instance)), '\n'.join(differences(before, machine(instance)))
    assert not os.path.exists(c.root + '/run/wherry'), 'run/wherry'


def work(c):
    c.apply(deployment('web', 2) + service('web', 30087))
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=30s')
    eventually('it serves', lambda: run(['curl', '-s', '-m', '1', 'http://127.0.0.1:30087/']).startswith('Hello'))
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  containers: [{name: c, image: %s, command: [sh, -c, "trap '' TERM; while true; do sleep 1000; done"], volumeMounts: [{name: m, mountPath: /m}]}]
  volumes: [{name: m, emptyDir: {medium: Memory}}]
''' % IMAGE)
    c.kubectl('wait', '--for=condition=Ready', 'pod/stubborn', '--timeout=20s')


def down_leaves_nothing(c):
    before.update(machine())
    c.up()
    work(c)
    instance = instance_here()
    changed = {d.split(':')[0] for d in differences(before, machine(instance))}
    for name in ('sysctls', 'rules', 'links', 'routes', 'mounts', 'cgroups', 'processes'):
        assert name in changed, 'a running cluster shows in %s, else this test sees nothing: %s' % (name, changed)
    start = time.monotonic()
    assert c.down() == ''
    assert time.monotonic() - start < 15, 'a pod that ignores SIGTERM does not hold it up'
    nothing_is_left(c, instance)
    assert c.down() == '', 'the second one has nothing to do'
    nothing_is_left(c, instance)


def state_comes_back(c):
    c.up()
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=30s')
    eventually('it serves', lambda: run(['curl', '-s', '-m', '1', 'http://127.0.0.1:30087/']).startswith('Hello'))


def up_twice_says_what_is_there(c):
    pid = c.role_pid('server')
    out = c.up()
    assert 'up already' in out and c.env['KUBECONFIG'] in out and 'wherry down' in out, out
    assert c.role_pid('server') == pid
    p = subprocess.run([WHERRY, 'up', '--root', c.root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    assert p.returncode == 1 and 'up already' in p.stdout, p


def a_second_node_is_refused(c):
    root = tempfile.mkdtemp(prefix='ws', dir='/tmp')
    os.chmod(root, 0o755)
    try:
        p = subprocess.run([WHERRY, 'up', '--detach', '--root', root, '--listen', '127.0.0.1:26443'], text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=60)
        assert p.returncode != 0 and re.search('10.42.0.0/16|another|second', p.stdout), p
        assert not os.path.exists(root + '/run/wherry/roles/node'), os.listdir(root)
        assert c.kubectl('get', '--raw', '/readyz') == 'ok'
        assert run(['curl', '-s', 'http://127.0.0.1:30087/']).startswith('Hello')
        assert run([WHERRY, 'down', '--root', root]) == '', 'taking the refused one away leaves the first'
        assert run(['curl', '-s', 'http://127.0.0.1:30087/']).startswith('Hello')
    finally:
        shutil.rmtree(root)


def a_whole_second_cluster(c):
    """In a network namespace of its own, as another machine is, with the same addresses."""
    d = Cluster(port=c.port, image=False)
    d.bin = c.bin
    d.load_image()
    with open(d.root + '/web.yaml', 'w') as f:
        f.write(deployment('web', 1) + service('web', 30087))
    try:
        out = run(['unshare', '--net', 'sh', '-exc', '''
            ip link set lo up
            {wherry} up --detach --root {root} --listen 127.0.0.1:{port}
            {bin}/kubectl apply -f {root}/web.yaml
            {bin}/kubectl rollout status deploy/web --timeout=30s
            for i in $(seq 50); do curl -sf -m 1 http://127.0.0.1:30087/ && break || sleep 0.1; done
            {bin}/kubectl get pods -A -o name
            {wherry} down --root {root}
            ip -o link; ip route; nft list ruleset
            '''.format(wherry=WHERRY, root=d.root, port=d.port, bin=d.bin)], env=d.env, timeout=120)
        own = re.search(r'Hello from (web-\S+)', out).group(1)
        assert own not in c.kubectl('get', 'pods'), 'two clusters'
        end = out[out.index('1: lo'):].strip().splitlines()
        assert len(end) == 1, 'nothing is left in its namespace: %s' % end
    finally:
        shutil.rmtree(d.root, ignore_errors=True)
    assert run(['curl', '-s', 'http://127.0.0.1:30087/']).startswith('Hello'), 'the first goes on'


def an_ordinary_user_starts_a_server(c):
    root = tempfile.mkdtemp(prefix='wn', dir='/tmp')
    programs = root + '/bin'
    os.chmod(root, 0o755)
    os.mkdir(programs)
    shutil.copy(WHERRY, programs)  # the build may lie where only its owner may look
    os.chown(root, 65534, 65534)
    env = dict(os.environ, KUBECONFIG=root + '/etc/wherry/admin.kubeconfig', HOME=root)
    try:
        p = subprocess.run(NOBODY + [programs + '/wherry', 'up', '--root', root, '--listen', '127.0.0.1:36443'], text=True, timeout=20, env=env,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode != 0 and '--roles server' in p.stdout, p
        start = time.monotonic()
        run(NOBODY + [programs + '/wherry', 'up', '--detach', '--root', root, '--listen', '127.0.0.1:36443', '--roles', 'server'], env=env)
        took = time.monotonic() - start
        assert took < 3, 'in a blink: %.1f s' % took
        run([c.bin + '/kubectl', 'create', 'configmap', 'made', '--from-literal=a=1'], env=env)
        run([c.bin + '/kubectl', 'create', 'deployment', 'd', '--image=x', '--replicas=2'], env=env)
        eventually('its controllers work', lambda: run([c.bin + '/kubectl', 'get', 'pods', '-o', 'name'], env=env).count('pod/') == 2)
        ours = [p for p in processes() if root in p]
        assert ours and all(os.stat('/proc/' + p.split()[0]).st_uid == 65534 for p in ours), ours
        assert oct(os.stat(env['KUBECONFIG']).st_mode & 0o777) == '0o600'
        run(NOBODY + [programs + '/wherry', 'down', '--root', root], env=env)
        assert not [p for p in processes() if root in p]
        run(NOBODY + [programs + '/wherry', 'down', '--root', root], env=env)
    finally:
        subprocess.run([programs + '/wherry', 'down', '--root', root])
        shutil.rmtree(root, ignore_errors=True)


def a_relative_root(c):
    """The folder is where the person who typed it stands, for every role."""
    where = tempfile.mkdtemp(prefix='wr', dir='/tmp')
    os.chmod(where, 0o755)
    try:
        p = subprocess.run([WHERRY, 'up', '--detach', '--root', 'here', '--listen', '127.0.0.1:46443', '--roles', 'server'], cwd=where, timeout=60,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert p.returncode == 0, p
        env = dict(os.environ, KUBECONFIG=where + '/here/etc/wherry/admin.kubeconfig')
        assert run([c.bin + '/kubectl', 'get', 'ns', '-o', 'name'], env=env).count('namespace/') == 4
    finally:
        subprocess.run([WHERRY, 'down', '--root', 'here'], cwd=where)
        shutil.rmtree(where, ignore_errors=True)


def down_after_everything_was_killed(c):
    instance = instance_here()
    with open(c.root + '/run/wherry/supervisor.lock') as f:
        os.kill(int(f.read()), 9)
    for role in ('server', 'node', 'relay', 'dns', 'edge'):
        os.kill(c.role_pid(role), 9)
    c.down()
    nothing_is_left(c, instance)


def purge_removes_state(c):
    c.down('--purge')
    left = [os.path.join(top, f) for top, _, files in os.walk(c.root) for f in files if 'wherry' in top[len(c.root):] and '/.kube/' not in top]
    assert not left, left
    c.up()
    assert 'web' not in c.kubectl('get', 'deploy'), 'a fresh cluster'
    c.down()
    nothing_is_left(c, '')


if __name__ == '__main__':
    main([down_leaves_nothing, state_comes_back, up_twice_says_what_is_there, a_second_node_is_refused, a_whole_second_cluster,
          an_ordinary_user_starts_a_server, a_relative_root, down_after_everything_was_killed, purge_removes_state], up=False)
