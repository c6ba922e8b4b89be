#!/usr/bin/env python3
"""A cluster as its users use it: the real kubectl against real containers."""
import json, os, re, signal, socket, subprocess, time
from lib import *

LOAD = os.path.join(BUILD, 'load')


def pods_of(c, app):
    return [p for p in c.get('pods', '-l', 'app=' + app)['items'] if not p['metadata'].get('deletionTimestamp')]


def fetch(url):
    return run(['curl', '-s', '-m', '3', url])


def node_is_complete(c):
    n = c.get('nodes')['items'][0]
    s = n['status']
    assert n['metadata']['labels']['kubernetes.io/os'] == 'linux' and n['metadata']['labels']['kubernetes.io/hostname'] == n['metadata']['name']
    assert [x for x in s['conditions'] if x['type'] == 'Ready'][0]['status'] == 'True'
    assert {'cpu', 'memory', 'pods', 'ephemeral-storage'} <= set(s['capacity']) and s['allocatable']['pods'] == '110'
    assert n['spec']['podCIDR'] == '10.42.0.0/24' and s['daemonEndpoints']['kubeletEndpoint']['Port'] == 10250
    for key in ('machineID', 'bootID', 'kernelVersion', 'osImage', 'containerRuntimeVersion', 'kubeletVersion', 'architecture'):
        assert key in s['nodeInfo'], key
    assert any(IMAGE in name and i['sizeBytes'] > 0 for i in s['images'] for name in i['names']), s['images']
    lease = c.get('lease', '-n', 'kube-node-lease', n['metadata']['name'])
    assert lease['spec']['holderIdentity'] == n['metadata']['name']
    out = c.kubectl('get', 'nodes,deploy,rs,pods,svc,endpointslices', '-A', '-o', 'wide')
    assert 'Ready' in out and 'service/kubernetes' in out and 'CONTAINER-RUNTIME' in out, out


def heartbeats_cost_no_disk(c):
    """A renewal of the node's lease waits for somebody else's commit; who holds a lease is on disk when it is answered."""
    def commits():
        return int(re.search(r'^wherry_store_batches_total (\d+)', c.kubectl('get', '--raw', '/metrics'), re.M).group(1))

    def renew(ns, name, who, n):
        c.kubectl('patch', 'lease', '-n', ns, name, '--type=merge', '-p', json.dumps({'spec': {'holderIdentity': who, 'renewTime': '2030-01-01T00:00:%02d.000000Z' % n}}))
    node = c.get('nodes')['items'][0]['metadata']['name']
    c.apply('{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: leader}, spec: {holderIdentity: a}}')
    renew('kube-node-lease', node, node, 0)
    time.sleep(1.2)                                     # what is lazy, events among it, has a second
    before = commits()
    for n in range(5):
        renew('kube-node-lease', node, node, n)
    time.sleep(1.2)
    assert commits() == before, (before, commits())
    renew('default', 'leader', 'b', 1)
    assert commits() > before
    c.kubectl('delete', 'lease', 'leader')


def roles_have_few_rights(c):
    """None at all; but the front door may bind ports below 1024 (CAP_NET_BIND_SERVICE)."""
    for role in ('server', 'relay', 'dns', 'edge'):
        status = dict(line.split(':\t', 1) for line in open('/proc/%d/status' % c.role_pid(role)).read().splitlines() if ':\t' in line)
        assert status['Uid'].split()[0] != '0' and int(status['CapEff'], 16) == (1 << 10 if role == 'edge' else 0) and status['Seccomp'].strip() == '2' and status['NoNewPrivs'].strip() == '1', (role, status)
    assert os.stat(c.root + '/etc/wherry/admin.kubeconfig').st_mode & 0o777 == 0o600
    for name in os.listdir(c.root + '/etc/wherry/keys'):
        assert os.stat(c.root + '/etc/wherry/keys/' + name).st_mode & 0o077 == 0, name


def deployment_serves(c):
    c.apply(deployment('web', 2) + service('web', 30081))
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=20s')
    ip = c.get('svc', 'web')['spec']['clusterIP']
    names = {fetch('http://%s/' % ip).split()[-1] for _ in range(30)}
    assert names == {p['metadata']['name'] for p in pods_of(c, 'web')}, names
    assert fetch('http://127.0.0.1:30081/').startswith('Hello from web-')
    assert c.kubectl('wait', '--for=condition=Available', 'deploy/web', '--timeout=5s')
    text = c.kubectl('describe', 'deploy', 'web')
    assert 'StrategyType:' in text and 'ScalingReplicaSet' in text, text


def names_resolve(c):
    out = c.kubectl('exec', 'deploy/web', '--', 'nslookup', 'web.default.svc.cluster.local')
    assert c.get('svc', 'web')['spec']['clusterIP'] in out, out
    assert c.kubectl('exec', 'deploy/web', '--', 'wget', '-qO-', 'http://web/').startswith('Hello')
    out = run(['dig', '+time=2', '+tries=1', '@10.43.0.10', 'AAAA', 'web.default.svc.cluster.local'])
    assert 'NOERROR' in out and 'ANSWER: 0' in out, out
    assert 'web.default' in run(['dig', '+short', '@10.43.0.10', '-x', c.get('svc', 'web')['spec']['clusterIP']])
    assert '80 web.default' in run(['dig', '+short', '@10.43.0.10', 'SRV', '_http._tcp.web.default.svc.cluster.local'])


def logs_and_exec(c):
    assert 'listening on 8080' in c.kubectl('logs', 'deploy/web')
    pod = pods_of(c, 'web')[0]['metadata']['name']
    assert re.match(r'^\d{4}-.*Z listening on 8080\n$', c.kubectl('logs', '--timestamps', '--tail=1', pod))
    assert c.kubectl('exec', pod, '--', 'sh', '-c', 'echo out; echo err >&2; exit 0') == 'out\n'
    p = subprocess.run([c.bin + '/kubectl', 'exec', pod, '--', 'sh', '-c', 'exit 7'], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 7, p
    assert c.kubectl('exec', '-i', pod, '--', 'cat', input='through stdin\n') == 'through stdin\n'
    tty = subprocess.run(['script', '-qec', '%s/kubectl exec -it %s -- sh -c "stty size; test -t 0 && echo terminal"' % (c.bin, pod), '/dev/null'],
                         env=c.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=20, text=True)
    assert 'terminal' in tty.stdout, tty
    follow = subprocess.Popen([c.bin + '/kubectl', 'logs', '-f', pod], env=c.env, stdout=subprocess.PIPE, text=True)
    assert follow.stdout.readline() == 'listening on 8080\n'
    c.kubectl('delete', 'pod', pod)
    assert follow.wait(20) == 0, 'the follower ends with its container'
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=20s')


def copy_attach_and_forward(c):
    pod = pods_of(c, 'web')[0]['metadata']['name']
    path = c.root + '/copied'
    with open(path, 'w') as f:
        f.write('copied text\n')
    c.kubectl('cp', path, pod + ':/tmp-copied')
    assert c.kubectl('exec', pod, '--', 'cat', '/tmp-copied') == 'copied text\n'
    c.kubectl('cp', pod + ':/tmp-copied', path + '.back')
    assert open(path + '.back').read() == 'copied text\n'
    p = subprocess.Popen([c.bin + '/kubectl', 'port-forward', pod, '18080:8080'], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert 'Forwarding from' in p.stdout.readline()
        for _ in range(5):
            assert fetch('http://127.0.0.1:18080/') == 'Hello from %s\n' % pod
        assert len(fetch('http://127.0.0.1:18080/big?3000000')) == 3000000
    finally:
        p.terminate()
        p.wait()
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  restartPolicy: Never
  containers: [{name: c, image: %s, command: [cat], stdin: true, stdinOnce: true}]
''' % IMAGE)
    c.kubectl('wait', '--for=condition=Ready', 'pod/echo', '--timeout=10s')
    assert 'over here' in c.kubectl('attach', '-i', 'echo', input='over here\n')
    eventually('the pod ends with its stdin', lambda: c.get('pod', 'echo')['status']['phase'] == 'Succeeded')


def edits(c):
    c.kubectl('scale', 'deploy/web', '--replicas=3')
    eventually('three pods', lambda: len(pods_of(c, 'web')) == 3)
    c.kubectl('set', 'env', 'deploy/web', 'GREETING=Salut')
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=20s')
    assert fetch('http://127.0.0.1:30081/').startswith('Salut')
    c.kubectl('patch', 'deploy/web', '-p', '{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}')
    c.kubectl('patch', 'deploy/web', '--type=merge', '-p', '{"metadata":{"labels":{"m":"1"}}}')
    c.kubectl('patch', 'deploy/web', '--type=json', '-p', '[{"op":"add","path":"/metadata/labels/j","value":"2"}]')
    labels = c.get('deploy', 'web')['metadata']['labels']
    assert labels['m'] == '1' and labels['j'] == '2', labels
    c.kubectl('label', 'deploy/web', 'tier=front')
    c.kubectl('annotate', 'deploy/web', 'note=here')
    env = dict(c.env, KUBE_EDITOR='sed -i s/tier:.front/tier:\\ back/')
    run([c.bin + '/kubectl', 'edit', 'deploy/web'], env=env)
    assert c.get('deploy', 'web')['metadata']['labels']['tier'] == 'back'
    c.kubectl('set', 'image', 'deploy/web', 'web=' + IMAGE)
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=20s')
    assert 'REVISION' in c.kubectl('rollout', 'history', 'deploy/web')
    c.kubectl('rollout', 'undo', 'deploy/web')
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=20s')
    c.kubectl('rollout', 'pause', 'deploy/web')
    c.kubectl('rollout', 'resume', 'deploy/web')
    c.kubectl('rollout', 'restart', 'deploy/web')
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=20s')
    assert 'rollingUpdate' in c.kubectl('explain', 'deploy.spec.strategy')


def creates(c):
    c.kubectl('create', 'namespace', 'made')
    c.kubectl('create', 'configmap', 'cm', '--from-literal=a=1', '-n', 'made')
    c.kubectl('create', 'secret', 'generic', 'sec', '--from-literal=p=geheim', '-n', 'made')
    c.kubectl('create', 'deployment', 'd', '--image=' + IMAGE, '-n', 'made')
    assert c.kubectl('create', 'token', 'default', '-n', 'made').count('.') == 2
    assert c.kubectl('auth', 'can-i', 'create', 'pods').strip() == 'yes'
    p = subprocess.run([c.bin + '/kubectl', 'auth', 'can-i', 'list', 'secrets', '--as=system:serviceaccount:made:default', '-n', 'made'],
                       env=c.env, stdout=subprocess.PIPE, text=True)
    assert p.stdout.strip() == 'no'
    c.kubectl('rollout', 'status', 'deploy/d', '-n', 'made', '--timeout=20s')
    watch = subprocess.Popen([c.bin + '/kubectl', 'get', 'pods', '-n', 'made', '-w'], env=c.env, stdout=subprocess.PIPE, text=True)
    watch.stdout.readline()
    c.kubectl('delete', 'namespace', 'made', '--timeout=30s')
    watch.terminate()
    watch.wait()
    for name in os.listdir(c.root + '/var/lib/wherry/server'):
        path = c.root + '/var/lib/wherry/server/' + name
        if os.path.isfile(path):
            with open(path, 'rb') as f:
                assert b'geheim' not in f.read() and b'Z2VoZWlt' not in open(path, 'rb').read(), 'the secret lies in plain text in ' + name


def volumes_and_updates(c):
    c.apply('''
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {a: "one", b: "two"}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {p: "geheim"}
---
apiVersion: v1
kind: Pod
metadata: {name: vols, labels: {who: me}}
spec:
  initContainers:
  - {name: i, image: %(i)s, command: [sh, -c, "echo made > /shared/by-init"], volumeMounts: [{name: e, mountPath: /shared}]}
  containers:
  - name: c
    image: %(i)s
    command: [sleep, "1000"]
    env:
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}
    - {name: P, valueFrom: {secretKeyRef: {name: sec, key: p}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: BOTH, value: "$(A)-$(P)"}
    envFrom: [{configMapRef: {name: conf}, prefix: C_}]
    resources: {limits: {cpu: 200m, memory: 64Mi}}
    securityContext: {runAsUser: 1000, runAsGroup: 2000, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: e, mountPath: /shared}
    - {name: e, mountPath: /part, subPath: a/b}
    - {name: m, mountPath: /mem}
    - {name: conf, mountPath: /conf}
    - {name: sec, mountPath: /sec, readOnly: true}
    - {name: all, mountPath: /all}
    - {name: h, mountPath: /host}
  volumes:
  - {name: e, emptyDir: {}}
  - {name: m, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  - {name: conf, configMap: {name: conf}}
  - {name: sec, secret: {secretName: sec, defaultMode: 0444}}
  - {name: h, hostPath: {path: %(r)s/shared, type: DirectoryOrCreate}}
  - name: all
    projected:
      sources:
      - configMap: {name: conf, items: [{key: b, path: sub/b}]}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
      - serviceAccountToken: {path: token, audience: vault}
''' % {'i': IMAGE, 'r': c.root})
    c.kubectl('wait', '--for=condition=Ready', 'pod/vols', '--timeout=15s')
    sh = lambda text: c.kubectl('exec', 'vols', '-c', 'c', '--', 'sh', '-c', text)
    sh('echo part > /part/f')
    assert sh('cat /shared/a/b/f') == 'part\n'
    assert sh('cat /shared/by-init') == 'made\n'
    env = dict(line.split('=', 1) for line in sh('env').splitlines() if '=' in line)
    assert env['A'] == 'one' and env['P'] == 'geheim' and env['BOTH'] == 'one-geheim' and env['CPU'] == '200' and env['C_b'] == 'two', env
    assert env['NODE'] == c.get('nodes')['items'][0]['metadata']['name'] and env['KUBERNETES_SERVICE_HOST'] == '10.43.0.1'
    assert sh('id -u; id -g').split() == ['1000', '2000']
    assert 'rw' in sh('mount | grep " /mem "') and 'tmpfs' in sh('mount | grep " /mem "')
    assert sh('touch /x 2>&1 || echo refused').strip().endswith('refused')
    assert sh('cat /conf/a /sec/p /all/sub/b') == 'onegeheimtwo' and 'who="me"' in sh('cat /all/labels') and sh('cat /all/token').count('.') == 2
    c.kubectl('patch', 'cm', 'conf', '--type=merge', '-p', '{"data":{"a":"changed"}}')
    start = time.monotonic()
    eventually('the new content', lambda: sh('cat /conf/a') == 'changed')
    assert time.monotonic() - start < 3, 'updated in place within a second (and the time of asking)'
    debug = lambda name, target: c.kubectl('debug', 'vols', '--profile=general', '-c', name, '--image=' + IMAGE, '--target=' + target, '--', 'ps')
    debug('beside', 'c')                                # its processes are seen from an image of one's own
    eventually('the processes of the target', lambda: 'sleep 1000' in c.kubectl('logs', 'vols', '-c', 'beside'))
    debug('nobody', 'i')                                # has ended long ago
    state = lambda: [s['state'] for s in c.get('pod', 'vols')['status'].get('ephemeralContainerStatuses', []) if s['name'] == 'nobody'][0]
    eventually('no target', lambda: 'unable to find target container "i"' in state()['waiting']['message'])
    c.kubectl('delete', 'pod', 'vols', '--grace-period=1')


def failures_are_told(c):
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec:
  containers:
  - {name: loop, image: %(i)s, command: [sh, -c, "exit 3"]}
  - {name: oom, image: %(i)s, command: [sh, -c, "x=a; while true; do x=$x$x; done"], resources: {limits: {memory: 16Mi}}}
  - {name: cmd, image: %(i)s, command: [/nothere]}
  - {name: img, image: "wherry.dev/none:1", imagePullPolicy: Never}
  - {name: cm, image: %(i)s, envFrom: [{configMapRef: {name: nope}}]}
''' % {'i': IMAGE})

    def states():
        got = {}
        for s in c.get('pod', 'bad')['status']['containerStatuses']:
            state = list(s['state'].values())[0]
            got[s['name']] = (state.get('reason'), s['lastState'].get('terminated', {}).get('reason'), s['lastState'].get('terminated', {}).get('exitCode'))
        return got
    eventually('a crash loop', lambda: states()['loop'] == ('CrashLoopBackOff', 'Error', 3))
    eventually('out of memory', lambda: 'OOMKilled' in str(states()['oom']) and '137' in str(states()['oom']))
    eventually('a bad command', lambda: 'StartError' in str(states()['cmd']) and '128' in str(states()['cmd']))
    eventually('an image that may not be pulled', lambda: states()['img'][0] == 'ErrImageNeverPull')
    eventually('a missing ConfigMap', lambda: states()['cm'][0] == 'CreateContainerConfigError')
    c.kubectl('create', 'configmap', 'nope', '--from-literal=a=1')
    eventually('which has come', lambda: states()['cm'][0] is None)
    assert 'exit 3' not in c.kubectl('logs', 'bad', '-c', 'loop', '--previous')
    c.kubectl('delete', 'pod', 'bad', '--grace-period=1')
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: big}
spec: {containers: [{name: c, image: x, resources: {requests: {cpu: "1000"}}}]}
''')
    eventually('why it is not scheduled', lambda: '0/1 nodes are available: 1 Insufficient cpu.' in str(c.get('pod', 'big')['status'].get('conditions')))
    c.kubectl('delete', 'pod', 'big')


def probes_restart(c):
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: %s
    command: [sh, -c, "touch /ok; sleep 1000"]
    readinessProbe: {exec: {command: [cat, /ok]}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {exec: {command: [cat, /ok]}, periodSeconds: 1, failureThreshold: 2}
''' % IMAGE)
    c.kubectl('wait', '--for=condition=Ready', 'pod/sick', '--timeout=10s')
    c.kubectl('exec', 'sick', '--', 'sh', '-c', 'busybox rm /ok')
    c.kubectl('wait', '--for=condition=Ready=false', 'pod/sick', '--timeout=10s')
    eventually('a restart', lambda: c.get('pod', 'sick')['status']['containerStatuses'][0]['restartCount'] == 1)
    c.kubectl('wait', '--for=condition=Ready', 'pod/sick', '--timeout=10s')
    assert 'failed liveness probe, will be restarted' in c.kubectl('get', 'events')
    c.kubectl('delete', 'pod', 'sick', '--grace-period=0', '--force')


def node_is_cordoned_and_drained(c):
    node = c.get('nodes')['items'][0]['metadata']['name']
    c.kubectl('cordon', node)
    assert 'SchedulingDisabled' in c.kubectl('get', 'nodes')
    c.kubectl('drain', node, '--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=60s')
    c.kubectl('uncordon', node)
    c.kubectl('rollout', 'status', 'deploy/web', '--timeout=30s')
    told = lambda: {e['reason']: e['message'] for e in c.get('events', '--field-selector', 'involvedObject.kind=Node')['items']}
    status = lambda reason: 'Node %s status is now: %s' % (node, reason)
    want = {'Starting': 'Starting kubelet.', **{r: status(r) for r in ('NodeReady', 'NodeNotSchedulable', 'NodeSchedulable')}}
    eventually('that is told of the Node', lambda: want.items() <= told().items())


def rollouts_lose_nothing(c):
    c.apply(deployment('roll', 4) + service('roll', 30090))
    c.kubectl('rollout', 'status', 'deploy/roll', '--timeout=20s')
    for _ in range(3):
        if rolled_under_load(c):
            return
    raise AssertionError('the load got no processor three times')


def rolled_under_load(c):
    """Nothing was lost; False where the load itself stood still so long that it could not send."""
    ip = c.get('svc', 'roll')['spec']['clusterIP']
    load = lambda address, port, *keep: subprocess.Popen([LOAD, address, port, '500', '300', *keep], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    loads = [load(ip, '80'), load('127.0.0.1', '30090'), load(ip, '80', '100')]
    for i in range(size(8, 20)):
        c.kubectl('set', 'env', 'deploy/roll', 'GREETING=round%d' % i)
        c.kubectl('rollout', 'status', 'deploy/roll', '--timeout=60s')
    for p in loads:
        assert p.poll() is None, 'the load was shorter than the rollouts'
        p.send_signal(signal.SIGINT)                    # no more; what is under way is waited for
    out, held = [p.communicate(timeout=60)[0] for p in loads], False
    for name, text in zip(('ClusterIP, new connections', 'NodePort, new connections', 'ClusterIP, kept connections'), out):
        print('     %s: %s' % (name, text.strip().splitlines()[-1]))
        unsent = all('wait for their answers already' in line for line in re.findall('^failed: (.*)$', text, re.M))
        held = held or (' failed 0 ' not in text and 'got no processor' in text and unsent)
        assert held or ' failed 0 ' in text, text
    return not held


def roles_are_killed(c):
    c.kubectl('rollout', 'status', 'deploy/roll', '--timeout=20s')
    ip = c.get('svc', 'roll')['spec']['clusterIP']
    node = lambda: {p['metadata']['name']: p['status']['containerStatuses'][0]['containerID'] for p in pods_of(c, 'roll')}
    uids = [p['metadata']['uid'] for p in pods_of(c, 'roll')]

    def pids():                                         # of this cluster's pods: others may run on the machine
        found = []
        for pid in run(['pgrep', '-x', 'web']).split():
            try:
                if any('pod' + u in open('/proc/%s/cgroup' % pid).read() for u in uids):
                    found.append(pid)
            except OSError:
                pass                                    # a stranger that has ended meanwhile
        return sorted(found)
    before, pids_before = node(), pids()
    assert len(pids_before) == len(uids), pids_before
    load = subprocess.Popen([LOAD, ip, '80', '300', '12'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for role in ('server', 'node', 'relay', 'dns', 'edge'):
        pid = c.role_pid(role)
        os.kill(pid, 9)
        eventually(role + ' is started again', lambda: c.role_pid(role) != pid)
        eventually('the API answers', lambda: c.kubectl('get', '--raw', '/readyz', timeout=5) == 'ok')
    supervisor = int(open(c.root + '/run/wherry/supervisor.lock').read())
    os.kill(supervisor, 9)
    c.up()
    out = load.communicate(timeout=40)[0]
    assert ' failed 0 ' in out, out
    assert node() == before and pids() == pids_before, 'the same containers'
    c.kubectl('scale', 'deploy/roll', '--replicas=5')
    c.kubectl('rollout', 'status', 'deploy/roll', '--timeout=20s')
    assert 'listening' in c.kubectl('logs', 'deploy/roll')
    c.kubectl('delete', 'deploy,svc', 'roll', 'web', '--timeout=30s')
    eventually('no pods', lambda: not c.get('pods', '-l', 'app=roll')['items'], 30)


if __name__ == '__main__':
    main([node_is_complete, heartbeats_cost_no_disk, roles_have_few_rights, deployment_serves, names_resolve, logs_and_exec, copy_attach_and_forward, edits, creates, volumes_and_updates,
          failures_are_told, probes_restart, node_is_cordoned_and_drained, rollouts_lose_nothing, roles_are_killed])
