#!/usr/bin/env python3
"""What a person types: wherry's own verbs against a cluster with real containers, and mixed with the real kubectl."""
import fcntl, os, pty, re, select, shutil, signal, struct, subprocess, tempfile, termios, time
from lib import *


def fails(c, *args, code=1, **kw):
    """What a command that must fail says on stderr."""
    p = subprocess.run([WHERRY] + list(args), env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)
    assert p.returncode == code, '%s: exit %d, not %d\n%s%s' % (args, p.returncode, code, p.stdout, p.stderr)
    return p.stderr


CONFIG = '''
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {%s}
'''


def get_shows_what_kubectl_shows(c):
    for what in (['svc', '-A'], ['svc,cm', '-n', 'kube-system'], ['ns', 'default', '-o', 'name'], ['nodes', '-o', 'wide']):
        ours, theirs = (re.sub(r'\d+[smh](\d+s)?', 'AGE', x('get', *what)).split() for x in (c.wherry, c.kubectl))
        assert ours == theirs, (ours, theirs)
    assert c.wherry('get', 'svc', '-o', 'jsonpath={.items[0].spec.clusterIP}') == '10.43.0.1'
    assert json.loads(c.wherry('get', 'svc/kubernetes', '-o', 'json'))['kind'] == 'Service'
    assert 'clusterIP: 10.43.0.1' in c.wherry('get', 'service', 'kubernetes', '-o', 'yaml')
    assert c.wherry('get', 'deployments.apps', '-o', 'name') == ''
    assert 'no resource "nix"' in fails(c, 'get', 'nix') and 'not found' in fails(c, 'get', 'cm', 'nix')
    assert '--help' in fails(c, 'get', '--nix', code=2)


def get_watches(c):
    p = subprocess.Popen([WHERRY, 'get', 'cm', '-w', '--no-headers'], env=c.env, stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline().startswith('kube-root-ca.crt')
        c.wherry('create', 'cm', 'seen', '--from-literal', 'a=b')
        assert p.stdout.readline().split()[:2] == ['seen', '1']
        c.wherry('delete', 'cm', 'seen')
        assert p.stdout.readline().split()[:2] == ['seen', '1']
    finally:
        p.kill()
        p.wait()


def apply_is_three_way_and_mixes_with_kubectl(c):
    assert c.wherry('apply', '-f', '-', input=CONFIG % ('mix', 'a: "1", b: "2"')) == 'configmap/mix created\n'
    assert c.wherry('apply', '-f', '-', input=CONFIG % ('mix', 'a: "1", b: "2"')) == 'configmap/mix unchanged\n'
    assert c.kubectl('apply', '-f', '-', input=CONFIG % ('mix', 'a: "1", b: "2"')) == 'configmap/mix unchanged\n'
    c.kubectl('patch', 'cm', 'mix', '-p', '{"data":{"theirs":"3"}}')
    assert c.kubectl('apply', '-f', '-', input=CONFIG % ('mix', 'a: "1", c: "4"')) == 'configmap/mix configured\n'
    assert c.wherry('apply', '-f', '-', input=CONFIG % ('mix', 'c: "4"')) == 'configmap/mix configured\n'
    assert c.get('cm', 'mix')['data'] == {'c': '4', 'theirs': '3'}
    c.wherry('delete', 'cm/mix')


def apply_says_what_is_wrong_and_where(c):
    two = CONFIG % ('fine', 'a: b') + '---' + deployment('bad').replace('replicas: 1', 'replica: 1')
    said = fails(c, 'apply', '-f', '-', input=two)
    assert 'stdin: document 2 (deployment/bad)' in said and 'unknown field "spec.replica"' in said, said
    assert c.get('cm', 'fine')['data'] == {'a': 'b'}
    said = fails(c, 'apply', '-f', '-', input='apiVersion: v1\nkind: Deployment\nmetadata: {name: x}\n')
    assert 'did you mean apiVersion: apps/v1' in said, said
    assert 'metadata.name: is missing' in fails(c, 'apply', '-f', '-', input='apiVersion: v1\nkind: ConfigMap\n')
    assert 'line 1' in fails(c, 'apply', '-f', '-', input='a: [b\n')
    assert 'must be missing' not in fails(c, 'apply', '-f', '/nonexistent')
    assert fails(c, 'apply', code=2)
    c.wherry('delete', 'cm', 'fine')


def a_folder_is_applied_and_deleted(c):
    with tempfile.TemporaryDirectory() as d:
        for i in (1, 2):
            with open('%s/%d.yaml' % (d, i), 'w') as f:
                f.write(CONFIG % ('f%d' % i, 'a: b'))
        assert c.wherry('apply', '-f', d) == 'configmap/f1 created\nconfigmap/f2 created\n'
        assert c.wherry('delete', '-f', d) == 'configmap "f2" deleted\nconfigmap "f1" deleted\n'
    assert 'not found' in fails(c, 'get', 'cm', 'f1')


def changes_of_one_field(c):
    c.wherry('apply', '-f', '-', input=deployment('one', 0))
    c.wherry('label', 'deploy', 'one', 'tier=front')
    assert '--overwrite' in fails(c, 'label', 'deploy', 'one', 'tier=back')
    c.wherry('label', 'deploy/one', 'tier=back', '--overwrite')
    c.wherry('annotate', 'deploy', '-l', 'tier=back', 'note=x')
    c.wherry('set', 'image', 'deploy/one', 'web=other:1')
    d = c.get('deploy', 'one')
    assert d['metadata']['labels']['tier'] == 'back' and d['metadata']['annotations']['note'] == 'x'
    assert d['spec']['template']['spec']['containers'][0]['image'] == 'other:1'
    c.wherry('label', 'deploy/one', 'tier-')
    assert 'tier' not in c.get('deploy', 'one')['metadata'].get('labels', {})
    assert 'no container "nix"' in fails(c, 'set', 'image', 'deploy/one', 'nix=a')
    c.wherry('delete', 'deploy', 'one')
    c.wherry('apply', '-f', '-', input='''
apiVersion: batch/v1
kind: CronJob
metadata: {name: one}
spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: a}]}}}}}''')
    c.wherry('set', 'image', 'cj/one', 'c=other:1')
    assert c.get('cj', 'one')['spec']['jobTemplate']['spec']['template']['spec']['containers'][0]['image'] == 'other:1'
    assert 'cronjob.batch/one: how many there are cannot be set' in fails(c, 'scale', 'cj/one', '--replicas', '2')
    assert 'or one of its jobs' in fails(c, 'logs', 'cj/one')
    c.wherry('delete', 'cj', 'one')


def warnings_are_told(c):
    """Each of them, as kubectl does: quotes in them, and more than one."""
    c.wherry('create', 'ns', 'warns')
    c.wherry('label', 'ns', 'warns', 'pod-security.kubernetes.io/warn=restricted')
    pod = '{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: warns, annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined}}, spec: {nodeSelector: {beta.kubernetes.io/os: none}, containers: [{name: c, image: a}]}}'
    told = [subprocess.run([program, 'create', '-f', '-', '--dry-run=server'], input=pod, env=c.env, capture_output=True, text=True).stderr for program in (WHERRY, c.bin + '/kubectl')]
    assert told[0] == told[1] and told[0].count('Warning: ') > 1 and '(container "c" must set' in told[0], told
    c.wherry('delete', 'ns', 'warns')


def what_is_only_tried_changes_nothing(c):
    """A server-side apply of what was applied by the client's side notes its configuration anew: not in a dry run."""
    budget = 'apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: tried%s}\nspec: {maxUnavailable: 1, selector: {matchLabels: {app: x}}}\n'
    c.apply(budget % '')
    eventually('its status is there', lambda: c.get('pdb', 'tried')['status'].get('observedGeneration') == 1)
    before = c.get('pdb', 'tried')
    for n in range(5):
        c.wherry('why', '-f', '-', input=budget % '')
        c.kubectl('annotate', 'pdb', 'tried', 'n=%d' % n, '--overwrite')   # now it is written anew, from what is in memory
        after = c.get('pdb', 'tried')
        assert after['metadata']['annotations'].pop('n') == str(n)
        assert after['metadata']['annotations'] == before['metadata']['annotations'] and after['spec'] == before['spec'], (before, after)
    c.kubectl('delete', 'pdb', 'tried')


def a_rollout_there_and_back(c):
    c.wherry('apply', '-f', '-', input=deployment('roll', 2))
    assert 'successfully rolled out' in c.wherry('rollout', 'status', 'deploy/roll', '--timeout', '30s')
    assert c.wherry('wait', 'deploy/roll', '--for', 'condition=Available') == 'deployment.apps/roll condition met\n'
    c.wherry('rollout', 'restart', 'deploy/roll')
    c.wherry('rollout', 'status', 'deploy/roll', '--timeout', '30s')
    assert c.wherry('rollout', 'history', 'deploy/roll').split() == ['deployment.apps/roll', 'REVISION', 'CHANGE-CAUSE', '1', '<none>', '2', '<none>']
    c.wherry('rollout', 'undo', 'deploy/roll')
    c.wherry('rollout', 'status', 'deploy/roll', '--timeout', '30s')
    assert 'restartedAt' not in c.kubectl('get', 'deploy', 'roll', '-o', 'jsonpath={.spec.template}')
    c.wherry('rollout', 'pause', 'deploy/roll')
    assert 'paused' in fails(c, 'rollout', 'undo', 'deploy/roll') and 'paused' in fails(c, 'rollout', 'restart', 'deploy/roll')
    c.wherry('rollout', 'resume', 'deploy/roll')
    c.wherry('scale', 'deploy/roll', '--replicas', '1')
    c.wherry('wait', 'deploy/roll', '--for', 'jsonpath={.status.replicas}=1')
    assert 'timed out' in fails(c, 'wait', 'deploy/roll', '--for', 'condition=Nix', '--timeout', '300ms')
    said = c.wherry('describe', 'deploy/roll')
    assert '1 desired, 1 updated' in said and 'ScalingReplicaSet' in said, said
    c.wherry('delete', 'deploy/roll')
    assert 'deployment.apps/roll: not found' in fails(c, 'rollout', 'status', 'deploy/roll')


def logs_and_exec(c):
    c.wherry('apply', '-f', '-', input='''
apiVersion: v1
kind: Pod
metadata: {name: talks, labels: {app: talks}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: %s, command: [sh, -c, 'for i in 1 2 3; do echo line $i; done; exec sleep 1000']}
  - {name: b, image: %s, command: [sh, -c, 'echo from b; exec sleep 1000']}
''' % (IMAGE, IMAGE))
    c.wherry('wait', 'pod/talks', '--for', 'condition=Ready')
    eventually('lines are there', lambda: c.wherry('logs', 'talks', '--tail', '2') == 'line 2\nline 3\n')
    assert c.wherry('logs', 'talks', '-c', 'b') == 'from b\n'
    assert c.wherry('logs', '-l', 'app=talks', '--all-containers', '--prefix', '--tail', '1') == '[pod/talks/a] line 3\n[pod/talks/b] from b\n'
    assert 'it has a, b' in fails(c, 'logs', 'talks', '-c', 'nix')
    assert c.wherry('exec', 'talks', '--', 'echo', 'hello') == 'hello\n'
    assert c.wherry('exec', '-i', 'talks', '-c', 'b', '--', 'cat', input='x' * 300000) == 'x' * 300000
    assert 'bad' in fails(c, 'exec', 'talks', '--', 'sh', '-c', 'echo bad >&2; exit 7', code=7)
    assert 'no such file or directory' in fails(c, 'exec', 'talks', '--', '/nonexistent')
    assert fails(c, 'exec', 'talks', code=2)


def exec_has_a_terminal(c):
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 99, 0, 0))
        os.execve(WHERRY, [WHERRY, 'exec', '-it', 'talks', '-c', 'a', '--', 'sh', '-c', 'until stty size 2>/dev/null | grep [1-9]; do :; done; read x; echo got $x; exit 3'], c.env)
    said = b''
    end, sent = time.monotonic() + 20, False
    while time.monotonic() < end:
        try:
            if not select.select([fd], [], [], 1)[0]:
                continue
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
        if not sent and b'\n' in said and re.search(rb'\d+ \d+', said):
            os.write(fd, b'typed\n')
            sent = True
    os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert b'33 99' in said and b'got typed' in said and status == 3, (said[:300], status)
    c.wherry('delete', 'pod', 'talks')


def logs_follow(c):
    c.wherry('apply', '-f', '-', input='''
apiVersion: v1
kind: Pod
metadata: {name: ticks}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: %s, command: [sh, -c, 'while true; do echo tick; sleep 0.2; done']}
''' % IMAGE)
    c.wherry('wait', 'pod/ticks', '--for', 'condition=Ready')
    p = subprocess.Popen([WHERRY, 'logs', '-f', 'ticks'], env=c.env, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(5):
            assert p.stdout.readline() == 'tick\n'
        c.wherry('delete', 'pod', 'ticks')
        p.wait(timeout=20)
    finally:
        p.kill()
        p.wait()


def create_and_token(c):
    c.wherry('create', 'ns', 'made')
    c.wherry('create', 'secret', 's', '--from-literal', 'a=b', '-n', 'made')
    assert c.get('secret', 's', '-n', 'made')['data'] == {'a': 'Yg=='}
    assert 'already exists' in fails(c, 'create', 'secret', 's', '-n', 'made')
    assert 'image: x:1' in c.wherry('create', 'deploy', 'd', '--image', 'x:1', '--dry-run=client', '-o', 'yaml')
    c.kubectl('create', 'cronjob', 'c', '--image=x:1', '--schedule=0 0 1 1 *', '-n', 'made')
    for program, name in (c.wherry, 'ours'), (c.kubectl, 'theirs'):
        program('create', 'job', name, '--from', 'cronjob/c', '-n', 'made')
        program('create', 'job', name + '2', '--image', 'x:1', '-n', 'made', '--', 'echo', 'hi')
    for a, b in ('ours', 'theirs'), ('ours2', 'theirs2'):
        a, b = c.get('job', a, '-n', 'made'), c.get('job', b, '-n', 'made')
        assert a['metadata'].get('ownerReferences') == b['metadata'].get('ownerReferences') and a['metadata'].get('annotations') == b['metadata'].get('annotations')
        for job in a, b:    # who they are is theirs
            job['spec'].pop('selector'), job['spec']['template'].pop('metadata'), job['spec']['template']['spec']['containers'][0].pop('name')
        assert a['spec'] == b['spec'], (a, b)
    assert 'say either' in fails(c, 'create', 'job', 'j', '-n', 'made') and 'cronjob/NAME' in fails(c, 'create', 'job', 'j', '--from', 'deploy/c', '-n', 'made')
    token = c.wherry('create', 'token', 'default', '-n', 'made').strip()
    assert 'forbidden' in fails(c, 'get', 'nodes', '--token', token)
    c.wherry('delete', 'ns', 'made', '--timeout', '20s')
    assert 'not found' in fails(c, 'get', 'ns', 'made')


def errors_name_the_way_out(c):
    assert 'wherry up' in fails(c, 'get', 'pods', '--server', 'https://127.0.0.1:1')
    assert 'no cluster was started' in fails(c, 'get', 'pods', '--root', '/tmp/nix')
    for verb in 'get describe create apply delete logs exec rollout wait scale set label annotate backup restore version'.split():
        text = c.wherry(verb, '--help')
        assert 'Examples:' in text and text.count('  wherry ' + verb) + text.count('| wherry ' + verb) >= 2 or verb in ('set', 'backup', 'restore'), text
    run(['bash', '-c', 'source <(%s completion bash); complete -p wherry' % WHERRY])
    assert 'v1.36' in c.wherry('version')


def no_stranger_speaks_to_the_terminal(c):
    """Control characters in objects are shown, whatever shows them; programs get the bytes."""
    bad = '\x1b]0;owned\x07\x1b[2J\u009b31m'
    pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'loud', 'annotations': {'a': bad}},
           'spec': {'nodeSelector': {'no': 'where'}, 'containers': [{'name': 'c', 'image': 'x', 'env': [{'name': 'E', 'value': bad}], 'command': ['sh', bad]}]}}
    event = {'apiVersion': 'v1', 'kind': 'Event', 'metadata': {'name': 'loud.1'}, 'reason': 'R', 'type': 'Warning', 'message': 'hear ' + bad, 'count': 1,
             'involvedObject': {'kind': 'Pod', 'name': 'loud', 'namespace': 'default'}}
    c.kubectl('create', '-f', '-', input=json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'loud'}, 'data': {'k': bad}}))
    c.kubectl('create', '-f', '-', input=json.dumps(pod))
    event['involvedObject']['uid'] = c.get('pod', 'loud')['metadata']['uid']
    c.kubectl('create', '-f', '-', input=json.dumps(event))
    for args in (['describe', 'pod', 'loud'], ['describe', 'cm', 'loud'], ['get', 'events'], ['get', 'pods', '-o', 'yaml'], ['get', 'cm', 'loud', '-o', 'json'],
                 ['why', 'pod/loud'], ['get', 'pod', bad], ['delete', 'cm', bad], ['label', 'pod', 'loud', 'x=' + bad], ['apply', '-f', bad]):
        p = subprocess.run([WHERRY] + args, env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = p.stdout.decode()
        obeyed = '[\x00-\x08\x0b-\x1f\x7f%s]' % ('' if 'json' in args else '-\x9f')     # JSON leaves those above ASCII, as kubectl's does
        assert said and not re.search(obeyed, said), (args, said)
    assert '^[]0;owned^G^[[2J\\u009b31m' in c.wherry('describe', 'cm', 'loud')
    assert c.wherry('get', 'cm', 'loud', '-o', 'jsonpath={.data.k}').strip('\n') == bad
    c.kubectl('delete', 'cm,pod', 'loud', '--force', '--grace-period=0')


def a_full_disk_is_told(c):
    """What is to be shown or written and cannot be is an error; a device stays one."""
    for args in (['get', 'ns'], ['get', 'ns', '-o', 'yaml'], ['describe', 'ns', 'default'], ['completion', 'bash'], ['api-resources'], ['version'], ['--help'],
                 ['get', '--help'], ['backup', '-']):
        with open('/dev/full', 'w') as full:
            p = subprocess.run([WHERRY] + args, env=c.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
        assert p.returncode != 0 and p.stderr, (args, p)
    was = os.stat('/dev/full')
    p = subprocess.run([WHERRY, 'backup', '/dev/full'], env=c.env, stderr=subprocess.PIPE, text=True, timeout=20)
    assert p.returncode == 1 and 'No space left' in p.stderr, p
    p = subprocess.run([WHERRY, 'image', 'pack', '/dev/full', 'a.test/b:1', 'bin/x=/bin/true'], env=c.env, stderr=subprocess.PIPE, text=True, timeout=20)
    assert p.returncode == 1 and 'No space left' in p.stderr, p
    now = os.stat('/dev/full')
    assert (was.st_mode, was.st_rdev, was.st_ino) == (now.st_mode, now.st_rdev, now.st_ino), now
    for way in ('cat > %s/piped', '%s/linked'):
        here = way % c.root
        if 'linked' in way:
            os.symlink('target', here)
            c.wherry('backup', here)
            assert os.path.islink(here) and oct(os.stat(here).st_mode & 0o777) == '0o600'
            whole = open(c.root + '/target', 'rb').read()
        else:
            run(['sh', '-c', '%s backup /dev/stdout | %s' % (WHERRY, here)], env=c.env)
            whole = open(c.root + '/piped', 'rb').read()
        assert len(whole) > 1000 and b' bytes\n' not in whole[-40:], whole[-100:]
    assert not [f for f in os.listdir(c.root) if '.new.' in f or f.endswith('.part')]


def a_backup_is_taken_while_it_runs_and_restored_while_it_does_not(c):
    root = tempfile.mkdtemp(prefix='wb', dir='/tmp')
    os.chmod(root, 0o755)  # the server is another user
    up = [WHERRY, 'up', '--roles', 'server', '--root', root, '--listen', '127.0.0.1:16999']
    here = ['--root', root]

    def start():
        p = subprocess.Popen(up, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually('the server answers', lambda: run([WHERRY, 'get', 'ns', 'default'] + here))
        except BaseException:
            stop(p)
            raise
        return p

    def stop(p):
        if p and p.poll() is None:
            p.terminate()
            p.wait(timeout=20)

    p = None
    try:
        p = start()
        c.wherry('create', 'secret', 'kept', '--from-literal', 'a=geheim', *here)
        c.wherry('backup', root + '/b', *here)
        assert os.stat(root + '/b').st_mode & 0o777 == 0o600
        assert b'geheim' not in open(root + '/b', 'rb').read()
        assert not [f for f in os.listdir(root + '/var/lib/wherry/server') if 'backup' in f]
        c.wherry('delete', 'secret', 'kept', *here)
        rev = int(c.wherry('get', 'cm', '-o', 'jsonpath={.items[0].metadata.resourceVersion}', *here))
        assert 'is up' in fails(c, 'restore', root + '/b', *here)
        stop(p)
        assert '--replace' in fails(c, 'restore', root + '/b', *here)
        with open(root + '/cut', 'wb') as f:
            f.write(open(root + '/b', 'rb').read()[:-10])
        assert 'damaged' in fails(c, 'restore', root + '/cut', '--replace', *here)
        c.wherry('restore', root + '/b', '--replace', *here)
        p = start()
        assert c.wherry('get', 'secret', 'kept', '-o', 'jsonpath={.data.a}', *here) == 'Z2VoZWlt'
        c.wherry('create', 'cm', 'later', *here)
        assert int(c.wherry('get', 'cm', 'later', '-o', 'jsonpath={.metadata.resourceVersion}', *here)) > rev
    finally:
        stop(p)
        shutil.rmtree(root, ignore_errors=True)


signal.alarm(240)  # a line that never comes ends the test, not the day
main([get_shows_what_kubectl_shows, get_watches, apply_is_three_way_and_mixes_with_kubectl,
      apply_says_what_is_wrong_and_where, a_folder_is_applied_and_deleted, changes_of_one_field, warnings_are_told, what_is_only_tried_changes_nothing, a_rollout_there_and_back,
      logs_and_exec, exec_has_a_terminal, logs_follow, create_and_token, errors_name_the_way_out,
      no_stranger_speaks_to_the_terminal, a_full_disk_is_told,
      a_backup_is_taken_while_it_runs_and_restored_while_it_does_not], port=16447)
