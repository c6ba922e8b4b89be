#!/usr/bin/env python3
"""Fields of a pod one by one: what each does, seen from inside the container or in the status; tests/fields.txt names these tests.
All pods are made at once; each test looks at its own."""
import json
from lib import *

PODS = {}


def pod(name, spec, meta=''):
    """A pod whose containers default to the test image, sleeping."""
    PODS[name] = spec
    return '---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {app: %s}%s}\nspec:\n%s' % (
        name, name, meta, '\n'.join('  ' + line for line in spec.strip('\n').split('\n'))) + '\n'


def sleeper(extra='', name='c', command='[sleep, "1000"]'):
    return '- name: %s\n  image: %s\n  command: %s\n%s' % (name, IMAGE, command, '\n'.join('  ' + l for l in extra.strip('\n').split('\n')))


def containers(*each):
    return 'containers:\n' + '\n'.join(e.rstrip() for e in each) + '\n'


def inside(c, name, script, container=None):
    return c.kubectl('exec', name, *(['-c', container] if container else []), '--', 'sh', '-c', script)


def ready(c, *names):
    c.kubectl('wait', '--for=condition=Ready', '--timeout=60s', *['pod/' + n for n in names], timeout=80)


def phase(c, name, want):
    return eventually('%s is %s' % (name, want), lambda: (lambda p: p['status'].get('phase') == want and p)(c.get('pod', name)), 60)


def terminated(c, name, container='c'):
    def look():
        for s in c.get('pod', name)['status'].get('containerStatuses', []):
            if s['name'] == container:
                return s['state'].get('terminated') or s.get('lastState', {}).get('terminated')
    return eventually('%s of %s has ended' % (container, name), look, 60)


NAMES = pod('names', '''
hostname: first
subdomain: family
setHostnameAsFQDN: false
hostAliases:
- {ip: 10.9.8.7, hostnames: [alias.test, other.test]}
dnsPolicy: None
dnsConfig:
  nameservers: [10.1.2.3]
  searches: [one.test, two.test]
  options: [{name: ndots, value: "3"}, {name: edns0}]
enableServiceLinks: false
automountServiceAccountToken: false
''' + containers(sleeper())) + pod('fqdn', '''
hostname: h
subdomain: family
setHostnameAsFQDN: true
''' + containers(sleeper())) + pod('overridden', '''
hostnameOverride: a.name.of-its-own
''' + containers(sleeper())) + pod('default-dns', '''
dnsPolicy: Default
''' + containers(sleeper()))


def names_and_resolvers(c):
    ready(c, 'names', 'fqdn', 'overridden', 'default-dns')
    out = inside(c, 'names', 'hostname; cat /etc/hosts /etc/resolv.conf; env; ls /var/run/secrets 2>&1 || true')
    lines = out.splitlines()
    assert lines[0] == 'first', out
    assert '10.9.8.7\talias.test\tother.test' in lines, out
    assert [l for l in lines if '\tfirst.family.default.svc.cluster.local\tfirst' in l], out
    assert 'nameserver 10.1.2.3' in lines and 'search one.test two.test' in lines and 'options ndots:3 edns0' in lines, out
    assert not [l for l in lines if l.startswith('FAMILY_') or l.startswith('LINKED_SERVICE_HOST')], out
    assert 'KUBERNETES_SERVICE_HOST=10.43.0.1' in lines and 'No such file' in lines[-1], out
    assert inside(c, 'fqdn', 'hostname').strip() == 'h.family.default.svc.cluster.local'
    assert 'LINKED_SERVICE_HOST=' in inside(c, 'fqdn', 'env')
    assert inside(c, 'overridden', 'hostname').strip() == 'a.name.of-its-own'
    assert '10.43.0.10' not in inside(c, 'default-dns', 'cat /etc/resolv.conf')


SHARES = pod('shares', '''
shareProcessNamespace: true
''' + containers(sleeper(), sleeper(name='d', command='[sleep, "2000"]'))) + pod('of-the-host', '''
hostPID: true
hostIPC: true
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
''' + containers(sleeper())) + pod('alone', '''
''' + containers(sleeper(), sleeper(name='d', command='[sleep, "2000"]')))


def namespaces_are_shared_as_asked(c):
    ready(c, 'shares', 'of-the-host', 'alone')
    assert 'sleep 2000' in inside(c, 'shares', 'ps', 'c')
    assert 'sleep 2000' not in inside(c, 'alone', 'ps', 'c')
    links = 'for n in pid ipc net uts mnt; do busybox readlink /proc/self/ns/$n; done'
    here = [os.readlink('/proc/self/ns/' + n) for n in ('pid', 'ipc', 'net', 'uts', 'mnt')]
    host, alone = inside(c, 'of-the-host', links).split(), inside(c, 'alone', links).split()
    assert host[:3] == here[:3] and host[4] != here[4], (host, here)
    assert not set(alone) & set(here), (alone, here)
    assert alone[1:3] == inside(c, 'alone', links, 'd').split()[1:3] and alone[0] != inside(c, 'alone', links, 'd').split()[0]
    p = c.get('pod', 'of-the-host')
    assert p['status']['podIP'] == p['status']['hostIP'] and p['status']['hostIPs'] == [{'ip': p['status']['hostIP']}], p['status']
    assert 'nameserver 10.43.0.10' in inside(c, 'of-the-host', 'cat /etc/resolv.conf')


USERS = pod('users', '''
securityContext:
  runAsUser: 1001
  runAsGroup: 1002
  runAsNonRoot: true
  fsGroup: 1003
  fsGroupChangePolicy: OnRootMismatch
  supplementalGroups: [1004, 1005]
  supplementalGroupsPolicy: Merge
  seccompProfile: {type: RuntimeDefault}
  seLinuxOptions: {level: "s0:c1,c2"}
volumes: [{name: e, emptyDir: {}}]
''' + containers(sleeper('securityContext: {runAsUser: 0, runAsNonRoot: false, seccompProfile: {type: Localhost, localhostProfile: mine/no-mkdir.json}}', 'e'), sleeper('''
securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, readOnlyRootFilesystem: true}
volumeMounts: [{name: e, mountPath: /e}]
'''), sleeper('''
securityContext: {runAsUser: 0, runAsGroup: 0, runAsNonRoot: false, seccompProfile: {type: Unconfined}, procMount: Default}
''', 'd'))) + pod('privileged', containers(sleeper('securityContext: {privileged: true}')))


def who_a_container_is(c):
    ready(c, 'users', 'privileged')
    status = 'grep -E "^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status'
    facts = lambda *at: {l.split(':')[0]: l.split(':')[1].split() for l in inside(c, at[0], status, *at[1:]).splitlines()}
    a, b = facts('users', 'c'), facts('users', 'd')
    assert a['Uid'][0] == '1001' and a['Gid'][0] == '1002' and {'1003', '1004', '1005'} <= set(a['Groups']), a
    assert a['NoNewPrivs'] == ['1'] and a['Seccomp'] == ['2'] and int(a['CapBnd'][0], 16) == 1 << 10, a
    assert b['Uid'][0] == '0' and b['Gid'][0] == '0' and b['NoNewPrivs'] == ['0'] and b['Seccomp'] == ['0'], b
    assert int(facts('privileged')['CapEff'][0], 16) == int([l for l in open('/proc/self/status') if l.startswith('CapEff')][0].split()[1], 16) & ~0
    assert inside(c, 'users', 'touch /x 2>&1; touch /e/y; busybox stat -c "%u:%g %a" /e', 'c').split('\n')[:2] == [
        'touch: /x: Read-only file system', '0:1003 2777']
    assert 'Operation not permitted' in inside(c, 'users', 'mkdir /no 2>&1 || true', 'e'), 'localhostProfile'
    user = {s['name']: s['user']['linux'] for s in c.get('pod', 'users')['status']['containerStatuses']}
    assert user['c']['uid'] == 1001 and user['c']['gid'] == 1002 and {1003, 1004, 1005} <= set(user['c']['supplementalGroups']), user
    assert user['d']['uid'] == 0, user


VOLUMES = '''---
apiVersion: v1
kind: ConfigMap
metadata: {name: fields}
data: {text: hello, other: world}
binaryData: {bytes: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: fields}
stringData: {key: secret}
''' + pod('volumes', '''
securityContext: {runAsUser: 0}
volumes:
- {name: cm, configMap: {name: fields, defaultMode: 0400, items: [{key: text, path: deep/file, mode: 0440}, {key: bytes, path: b}]}}
- {name: sec, secret: {secretName: fields, defaultMode: 0600, items: [{key: key, path: k}]}}
- {name: none, configMap: {name: absent, optional: true}}
- {name: nosec, secret: {secretName: absent, optional: true}}
- {name: mem, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
- {name: disk, emptyDir: {}}
- {name: host, hostPath: {path: HOST, type: Directory}}
- name: info
  downwardAPI:
    defaultMode: 0404
    items:
    - {path: labels, fieldRef: {apiVersion: v1, fieldPath: metadata.labels}}
    - {path: one, mode: 0444, fieldRef: {fieldPath: "metadata.annotations['an/note']"}}
    - {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}
    - {path: mem, resourceFieldRef: {containerName: c, resource: requests.memory, divisor: 1Ki}}
- name: all
  projected:
    defaultMode: 0444
    sources:
    - configMap: {name: fields, items: [{key: other, path: cm/o}]}
    - configMap: {name: absent, optional: true}
    - secret: {name: fields, items: [{key: key, path: sec/k, mode: 0400}]}
    - secret: {name: absent, optional: true}
    - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
    - serviceAccountToken: {path: token, audience: vault, expirationSeconds: 1200}
''' + containers(sleeper('''
env: [{name: PART, value: expr}]
resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 250m, memory: 64Mi}}
volumeMounts:
- {name: cm, mountPath: /cm}
- {name: sec, mountPath: /sec, readOnly: true}
- {name: none, mountPath: /none}
- {name: nosec, mountPath: /nosec}
- {name: mem, mountPath: /mem}
- {name: disk, mountPath: /disk}
- {name: disk, mountPath: /sub, subPath: in/side}
- {name: disk, mountPath: /expr, subPathExpr: "$(PART)-$(PART)"}
- {name: disk, mountPath: /ro, readOnly: true, recursiveReadOnly: IfPossible}
- {name: host, mountPath: /host, mountPropagation: HostToContainer}
- {name: info, mountPath: /info}
- {name: all, mountPath: /all}
''')), ', annotations: {an/note: noted}')


def volumes_are_what_their_fields_say(c):
    ready(c, 'volumes')
    look = lambda s: inside(c, 'volumes', s)
    modes = dict(reversed(l.split(' ', 1)) for l in look(
        'for f in /cm/deep/file /cm/b /sec/k /info/labels /info/one /all/cm/o /all/sec/k; do busybox stat -L -c "%a $f" $f; done').splitlines())
    assert modes == {'/cm/deep/file': '440', '/cm/b': '400', '/sec/k': '600', '/info/labels': '404', '/info/one': '444', '/all/cm/o': '444',
                     '/all/sec/k': '400'}, modes
    assert look('cat /cm/deep/file /sec/k /all/cm/o /all/sec/k /all/name') == 'hellosecretworldsecretvolumes'
    assert look('busybox od -An -tx1 /cm/b').split() == ['00', '01', '02']
    assert look('ls /cm /none /nosec').split() == ['/cm:', 'b', 'deep', '/none:', '/nosec:'], look('ls /cm /none /nosec')
    assert look('cat /info/labels').strip() == 'app="volumes"' and look('cat /info/one /info/cpu').strip() == 'noted250'
    assert look('cat /info/mem').strip() == str(16 * 1024)
    assert look('df -k /mem').splitlines()[-1].split()[1] == '8192', look('df -k /mem')
    assert look('touch /sub/a /expr/b; ls /disk /disk/in/side /disk/expr-expr').split() == [
        '/disk:', 'expr-expr', 'in', '/disk/expr-expr:', 'b', '/disk/in/side:', 'a']
    assert 'Read-only' in look('touch /ro/x 2>&1 || true') and 'Read-only' in look('touch /sec/x 2>&1 || true')
    head = json.loads(base64.urlsafe_b64decode(look('cat /all/token').split('.')[1] + '=='))
    assert head['aud'] == ['vault'] and head['exp'] - head['iat'] == 1200, head
    run(['mount', '-t', 'tmpfs', 'none', c.root + '/host/later'])
    run(['touch', c.root + '/host/later/seen'])
    assert look('ls /host/later').split() == ['seen'], 'mountPropagation: HostToContainer'
    mounts = {m['mountPath']: m for m in c.get('pod', 'volumes')['status']['containerStatuses'][0]['volumeMounts']}
    assert mounts['/ro']['readOnly'] is True and mounts['/ro']['recursiveReadOnly'] in ('Enabled', 'Disabled'), mounts['/ro']


RUNS = pod('runs', '''
terminationGracePeriodSeconds: 7
volumes: [{name: e, emptyDir: {}}]
initContainers:
- {name: i, image: %s, command: [sh, -c, "echo $0 $1 > /e/init"], args: [a, b], volumeMounts: [{name: e, mountPath: /e}], workingDir: /etc}
- name: side
  image: %s
  restartPolicy: Always
  command: [sleep, "1000"]
''' % (IMAGE, IMAGE) + containers(sleeper('''
args: ["1000"]
workingDir: /e/made/here
env:
- {name: A, value: one}
- {name: B, value: "$(A)-$$(A)-$(NOT)"}
- {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
- {name: K, valueFrom: {configMapKeyRef: {name: fields, key: text}}}
- {name: S, valueFrom: {secretKeyRef: {name: fields, key: key}}}
- {name: ABSENT, valueFrom: {configMapKeyRef: {name: fields, key: absent, optional: true}}}
- {name: MISSING, valueFrom: {secretKeyRef: {name: absent, key: absent, optional: true}}}
envFrom:
- {configMapRef: {name: fields}, prefix: C_}
- {configMapRef: {name: absent, optional: true}}
- {secretRef: {name: fields}}
- {secretRef: {name: absent, optional: true}}
volumeMounts: [{name: e, mountPath: /e}]
resources: {limits: {cpu: 300m, memory: 64Mi}, requests: {cpu: 50m, memory: 32Mi}}
stdin: true
stdinOnce: true
tty: true
imagePullPolicy: Never
ports: [{name: web, containerPort: 80, protocol: TCP, hostPort: 18088, hostIP: 127.0.0.1}]
''', command='[sleep]'))) + pod('message', '''
restartPolicy: Never
''' + containers(sleeper('''
terminationMessagePath: /tmp/why
''', command='[sh, -c, "mkdir /tmp; echo because > /tmp/why; exit 3"]'), sleeper('''
terminationMessagePolicy: FallbackToLogsOnError
''', 'd', '[sh, -c, "echo said; exit 4"]'))) + pod('deadline', '''
activeDeadlineSeconds: 1
terminationGracePeriodSeconds: 0
''' + containers(sleeper())) + pod('onfailure', '''
restartPolicy: OnFailure
''' + containers(sleeper(command='[sh, -c, "exit 0"]'))) + pod('told', '''
os: {name: linux}
restartPolicy: Never
schedulingGroup: {podGroupName: nobody}
volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {name: nobody, path: p}}, {podCertificate: {signerName: example.com/s, keyType: ED25519, credentialBundlePath: p}}]}}]
''' + containers(sleeper('''
lifecycle: {stopSignal: SIGUSR1}
''', command='''[sh, -c, "trap 'exit 3' USR1; touch /on; while true; do sleep 0.1; done"]''')))


def behind_gates(c):
    """What a feature gate of 1.36 that is off holds back is dropped, as its server drops it; a signal to stop by is heeded here."""
    ready(c, 'told')
    spec = c.get('pod', 'told')['spec']
    assert 'schedulingGroup' not in spec and spec['volumes'][0]['projected']['sources'] == [{}, {}], 'schedulingGroup, clusterTrustBundle, podCertificate'
    eventually('it listens', lambda: inside(c, 'told', 'ls /on'))
    watch = subprocess.Popen([c.bin + '/kubectl', 'get', 'pod', 'told', '-w', '-o', 'jsonpath={.status.containerStatuses[0].state.terminated.exitCode}'],
                             env=c.env, stdout=subprocess.PIPE, text=True)
    c.kubectl('delete', 'pod', 'told', '--timeout=25s')
    watch.terminate()
    assert '3' in watch.communicate(timeout=10)[0], 'stopSignal'


def what_runs(c):
    ready(c, 'runs')
    out = inside(c, 'runs', 'busybox pwd; cat /e/init; busybox test -t 0 && echo tty; env', 'c').replace('\r', '').splitlines()
    assert out[0] == '/e/made/here' and out[1] == 'a b', out
    env = dict(l.split('=', 1) for l in out if '=' in l)
    p = c.get('pod', 'runs')
    want = {'A': 'one', 'B': 'one-$(A)-$(NOT)', 'NODE': p['spec']['nodeName'], 'IP': p['status']['podIP'], 'CPU': '300', 'K': 'hello', 'S': 'secret',
            'C_text': 'hello', 'key': 'secret'}
    assert {k: env.get(k) for k in want} == want and 'ABSENT' not in env and 'MISSING' not in env, env
    ends = inside(c, 'runs', 'busybox readlink /proc/1/fd/0; cat /proc/1/cmdline', 'c').replace('\0', ' ')
    assert ends.startswith('/dev/') and 'sleep 1000' in ends, ends
    s = {x['name']: x for x in p['status']['containerStatuses'] + p['status']['initContainerStatuses']}
    assert s['i']['state']['terminated']['exitCode'] == 0 and s['side']['started'] is True and s['side']['ready'] is True, s
    assert s['c']['resources'] == {'limits': {'cpu': '300m', 'memory': '64Mi'}, 'requests': {'cpu': '50m', 'memory': '32Mi'}}, s['c']
    assert s['c']['allocatedResources'] == {'cpu': '50m', 'memory': '32Mi'} and p['status']['qosClass'] == 'Burstable', s['c']
    assert s['c']['imageID'] and s['c']['containerID'].split('://')[1] and s['c']['image'], s['c']
    limits = inside(c, 'runs', 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true', 'c')
    assert limits.split() == [str(64 << 20)], limits
    a, b = terminated(c, 'message'), terminated(c, 'message', 'd')
    assert (a['exitCode'], a['message'], a['reason']) == (3, 'because\n', 'Error') and a['startedAt'] <= a['finishedAt'] and a['containerID'], a
    assert (b['exitCode'], b['message']) == (4, 'said\n'), b
    gone = phase(c, 'deadline', 'Failed')['status']
    assert gone['reason'] == 'DeadlineExceeded' and gone['message'].startswith('Pod was active'), gone
    assert phase(c, 'onfailure', 'Succeeded')['status']['containerStatuses'][0]['restartCount'] == 0


PROBES = pod('tcp-hook', containers(sleeper('lifecycle: {postStart: {tcpSocket: {port: 8080, host: 127.0.0.1}}}'))) + pod('probes', '''
readinessGates: [{conditionType: example.test/fed}]
terminationGracePeriodSeconds: 60
''' + containers('''
- name: c
  image: %s
  startupProbe: {tcpSocket: {port: web}, periodSeconds: 1, failureThreshold: 60}
  readinessProbe: {httpGet: {path: /healthz, port: web, scheme: HTTP, httpHeaders: [{name: X-Asked, value: by-probe}]}, periodSeconds: 1, successThreshold: 2, timeoutSeconds: 2}
  ports: [{name: web, containerPort: 8080}]
  lifecycle:
    postStart: {exec: {command: [sh, -c, "echo hook > /hooked"]}}
    preStop: {sleep: {seconds: 1}}
- name: d
  image: %s
  command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]
  livenessProbe: {exec: {command: [sh, -c, "test ! -e /sick"]}, initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}
''' % (IMAGE, IMAGE)))


def probes_and_hooks(c):
    eventually('both are ready', lambda: all(s['ready'] for s in c.get('pod', 'probes')['status']['containerStatuses']), 60)
    conditions = lambda: {x['type']: x for x in c.get('pod', 'probes')['status']['conditions']}
    eventually('the gate holds it', lambda: conditions()['ContainersReady']['status'] == 'True' and conditions()['Ready'].get('reason') == 'ReadinessGatesNotReady')
    c.kubectl('patch', 'pod', 'probes', '--subresource=status', '--type=strategic', '-p',
              json.dumps({'status': {'conditions': [{'type': 'example.test/fed', 'status': 'True'}]}}))
    ready(c, 'probes')
    assert inside(c, 'probes', 'cat /hooked', 'c') == 'hook\n'
    assert eventually('lifecycle.postStart.tcpSocket is no hook', lambda: [e for e in c.get('events', '--field-selector', 'involvedObject.name=tcp-hook')['items']
                                                                      if e['reason'] == 'FailedPostStartHook'])
    start = time.monotonic()
    inside(c, 'probes', 'touch /sick', 'd')
    eventually('it is restarted', lambda: [s for s in c.get('pod', 'probes')['status']['containerStatuses'] if s['name'] == 'd'][0]['restartCount'] == 1, 40)
    assert time.monotonic() - start < 30, 'the grace period of the probe, not of the pod'


def ephemeral_containers(c):
    ready(c, 'volumes')
    c.kubectl('debug', 'alone', '--image=' + IMAGE, '--container=look', '--target=c', '--env=A=b', '--image-pull-policy=Never', '--', 'sleep', '1000')
    more = {'name': 'more', 'image': IMAGE, 'command': ['sh', '-c'], 'args': ['busybox pwd; id -u; echo $K $B; cat /cm/deep/file > /dev/stdout; echo why > /why; exec cat'],
            'workingDir': '/made', 'envFrom': [{'configMapRef': {'name': 'fields'}}], 'env': [{'name': 'B', 'value': 'b'}, {'name': 'K', 'value': '$(text)'}],
            'volumeMounts': [{'name': 'cm', 'mountPath': '/cm'}], 'securityContext': {'runAsUser': 0, 'runAsGroup': 7}, 'stdin': True, 'stdinOnce': True,
            'tty': True, 'terminationMessagePath': '/why', 'terminationMessagePolicy': 'File', 'imagePullPolicy': 'Never'}
    c.kubectl('patch', 'pod', 'volumes', '--subresource=ephemeralcontainers', '--type=strategic', '-p', json.dumps({'spec': {'ephemeralContainers': [more]}}))
    for field, value in (('startupProbe', {'tcpSocket': {'port': 1}}), ('restartPolicy', 'Always'), ('restartPolicyRules', [{'action': 'Restart'}]),
                         ('ports', [{'containerPort': 1}]), ('lifecycle', {'preStop': {'sleep': {'seconds': 1}}}), ('resources', {'limits': {'cpu': '1'}})):
        try:
            c.kubectl('patch', 'pod', 'alone', '--subresource=ephemeralcontainers', '--type=strategic', '-p',
                      json.dumps({'spec': {'ephemeralContainers': [{'name': 'no', 'image': IMAGE, field: value}]}}))
            raise AssertionError(field + ' is no field of ephemeral containers')
        except AssertionError as e:
            assert 'spec.ephemeralContainers[0].' + field in str(e) or 'Forbidden' in str(e), e

    def status(pod, name):
        return [s for s in c.get('pod', pod)['status'].get('ephemeralContainerStatuses', []) if s['name'] == name and 'running' in s['state']]
    eventually('they run', lambda: status('alone', 'look') and status('volumes', 'more'))
    assert 'sleep 1000' in inside(c, 'alone', 'ps', 'look') and 'sleep 2000' not in inside(c, 'alone', 'ps', 'look'), 'targetContainerName'
    assert inside(c, 'alone', 'echo $A', 'look').strip() == 'b'
    said = lambda: c.kubectl('logs', 'volumes', '-c', 'more').replace('\r', '')
    assert eventually('it speaks', lambda: 'hello' in said() and said()).splitlines()[:3] == ['/made', '0', 'hello b'], said()
    attached = subprocess.run([c.bin + '/kubectl', 'attach', '-i', 'volumes', '-c', 'more'], env=c.env, input='\x04', capture_output=True, text=True, timeout=60)
    ended = eventually('stdinOnce: it has ended', lambda: [s['state']['terminated'] for s in c.get('pod', 'volumes')['status']['ephemeralContainerStatuses']
                                                         if s['name'] == 'more' and 'terminated' in s['state']], 30)
    assert ended[0]['message'] == 'why\n' and ended[0]['exitCode'] == 0, (ended, attached)


SERVED = pod('web', containers('''
- {name: c, image: %s, ports: [{name: web, containerPort: 8080}], readinessProbe: {httpGet: {path: /healthz, port: web}}}
''' % IMAGE)) + pod('unready', containers('''
- {name: c, image: %s, ports: [{name: web, containerPort: 8080}], readinessProbe: {exec: {command: [sh, -c, "exit 1"]}}}
''' % IMAGE)) + '''---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec:
  type: NodePort
  selector: {app: web}
  externalIPs: [203.0.113.7]
  ports: [{name: http, protocol: TCP, port: 80, targetPort: web, appProtocol: kubernetes.io/ws, nodePort: 30123}]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 1000}}
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  internalTrafficPolicy: Cluster
  externalTrafficPolicy: Cluster
---
apiVersion: v1
kind: Service
metadata: {name: early}
spec: {clusterIP: None, selector: {app: unready}, publishNotReadyAddresses: true}
---
apiVersion: v1
kind: Service
metadata: {name: late}
spec: {selector: {app: unready}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: plain.default.svc.cluster.local}
'''


def services_are_what_their_fields_say(c):
    ready(c, 'web', 'alone')
    eventually('the other has an address', lambda: c.get('pod', 'unready')['status'].get('podIP'))
    s = c.get('svc', 'plain')['spec']
    assert s['clusterIPs'] == [s['clusterIP']] and s['ipFamilies'] == ['IPv4'] and s['ipFamilyPolicy'] == 'SingleStack', s
    node = c.get('pod', 'web')['status']['hostIP']
    late = c.get('svc', 'late')['spec']['clusterIP']
    ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 %s %d 2>&1 || true"
    for at in ((s['clusterIP'], 80), ('203.0.113.7', 80), (node, 30123)):
        assert eventually('%s:%d answers' % at, lambda: '200 OK' in inside(c, 'alone', ask % at, 'c'))
    assert run(['curl', '-sf', '-m', '3', 'http://127.0.0.1:30123/'])
    slice = c.get('endpointslices', '-l', 'kubernetes.io/service-name=plain')['items'][0]
    assert slice['ports'] == [{'name': 'http', 'port': 8080, 'protocol': 'TCP', 'appProtocol': 'kubernetes.io/ws'}], slice
    ip = c.get('pod', 'unready')['status']['podIP']
    assert eventually('publishNotReadyAddresses', lambda: ip in inside(c, 'alone', 'nslookup early.default.svc.cluster.local || true', 'c'))
    assert 'refused' in inside(c, 'alone', ask % (late, 80), 'c')
    assert eventually('externalName', lambda: s['clusterIP'] in inside(c, 'alone', 'nslookup elsewhere.default.svc.cluster.local || true', 'c'))
    rules = run(['nft', 'list', 'ruleset'])
    assert re.search(r'chain \w*a1000 ', rules), 'timeoutSeconds'


def a_service_takes_nothing_of_others(c):
    """One that writes down the addresses of others - a ClusterIP, a pod's, the DNS's, one that another has already - gets none of them, also where it is seen
    first: when the node role begins anew. Who had an address first has it again once it is free."""
    ready(c, 'web', 'alone')
    plain, web = c.get('svc', 'plain')['spec']['clusterIP'], c.get('pod', 'web')['status']['podIP']
    dns = c.get('svc', 'kube-dns', '-n', 'kube-system')['spec']['clusterIP']
    c.apply('apiVersion: v1\nkind: Service\nmetadata: {name: a-thief}\nspec: {selector: {app: alone}, externalIPs: [%s, %s, %s, 203.0.113.7], ports: [{name: a, port: 80, targetPort: 9}, {name: b, port: 8080, targetPort: 9}, '
            '{name: c, port: 53, targetPort: 9}, {name: d, port: 53, targetPort: 9, protocol: UDP}]}' % (plain, web, dns))
    eventually('it has an endpoint', lambda: [s for s in c.get('endpointslices', '-l', 'kubernetes.io/service-name=a-thief')['items'] if s['endpoints']])
    ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 %s %d 2>&1 || true"
    was = c.role_pid('node')
    for begun in (False, True):
        if begun:
            os.kill(was, signal.SIGKILL)
            eventually('the node begins anew', lambda: c.role_pid('node') != was, 60)
            eventually('and sees the thief', lambda: 'a-thief' in c.log() or 'another Service holds' in c.log(), 60)
        for at in ((plain, 80), (web, 8080)):
            assert eventually('%s:%d answers' % at, lambda: '200 OK' in inside(c, 'alone', ask % at, 'c'), 60)
        assert eventually('names are found', lambda: plain in inside(c, 'alone', 'nslookup plain.default.svc.cluster.local || true', 'c'), 60)
    c.apply(pod('port-thief', 'terminationGracePeriodSeconds: 0\n' + containers(sleeper('ports: [{containerPort: 9, hostPort: %d}]' % c.port))))
    ready(c, 'port-thief')
    for _ in range(5):
        c.kubectl('delete', 'pod', 'port-thief', '--dry-run=server')        # the API's own port is none
    c.kubectl('delete', 'pod', 'port-thief')
    c.kubectl('delete', 'svc', 'a-thief')
    assert eventually('its address is served again', lambda: '200 OK' in inside(c, 'alone', ask % ('203.0.113.7', 80), 'c'), 60)


# What this node cannot do: the part of a pod that asks for it, and the words of the sentence that names it.
REFUSED = [
    ('resourceClaims: [{name: r, resourceClaimName: x}]', '', '', 'spec.resourceClaims'),
    ('resourceClaims: [{name: r, resourceClaimTemplateName: x}]', 'resources: {claims: [{name: r, request: q}]}', '', 'spec.resourceClaims'),
]


def what_cannot_be_done_is_refused_by_name(c):
    pods = ''
    for n, (spec, container, volume, _) in enumerate(REFUSED):
        volume = 'volumes: [{name: v, %s}]' % volume.strip() if volume else ''
        pods += pod('refused-%d' % n, '\n'.join(x for x in (spec, volume) if x) + '\n' + containers(sleeper(container)))
    # what names a claim waits for it with the scheduler, unless it is bound by hand
    c.apply(pods.replace('NODE', c.get('nodes')['items'][0]['metadata']['name']), ns='refused')
    for n, (spec, container, volume, words) in enumerate(REFUSED):
        s = eventually('%s %s %s is refused' % (spec, container, volume), lambda: (lambda p: p.get('reason') == 'UnsupportedField' and p)(
            c.get('pod', '-n', 'refused', 'refused-%d' % n)['status']))
        assert s['phase'] == 'Failed' and words in s['message'] and 'not supported' in s['message'], (spec, container, volume, s)
    told = {e['involvedObject']['name'] for e in c.get('events', '-n', 'refused')['items'] if e['reason'] == 'UnsupportedField'}
    assert len(told) == len(REFUSED), sorted(set('refused-%d' % n for n in range(len(REFUSED))) - told)


# Types of volumes that Kubernetes has no more.
GONE = '''
    glusterfs: {endpoints: e, path: p}
    rbd: {monitors: [m], image: i}
    cephfs: {monitors: [m]}
    flocker: {datasetName: d}
    quobyte: {registry: "r:1", volume: v}
    photonPersistentDisk: {pdID: p}
    scaleIO: {gateway: "https://x.test", system: s, secretRef: {name: s}, volumeName: v}
    storageos: {volumeName: v, volumeNamespace: o}
'''.strip().splitlines()
GIT = 'gitRepo: {repository: "https://x.test/r", revision: a, directory: b}'


def gone(name, sources, mounts):
    return pod(name, 'terminationGracePeriodSeconds: 0\nvolumes: [%s]\n' % ', '.join('{name: v%d, %s}' % (n, s.strip()) for n, s in enumerate(sources)) +
               containers(sleeper('volumeMounts: [%s]' % ', '.join('{name: v%d, mountPath: /v%d}' % (n, n) for n in range(mounts)))))


def types_that_are_gone(c):
    """A pod waits for a volume of such a type, as with a kubelet, whose words it gets; where no container mounts it, it runs.
    (Of one rbd image two pods are never placed on one node.)"""
    c.apply(gone('gone', GONE, len(GONE)) + gone('git', [GIT], 1) + gone('medium', ['emptyDir: {medium: Floppy}'], 1) + gone('unused', [GIT] + [s for s in GONE if 'rbd' not in s], 0), ns='refused')
    told = lambda name: [e['message'] for e in c.get('events', '-n', 'refused')['items'] if e['involvedObject']['name'] == name and e['reason'] == 'FailedMount']
    names = ' '.join('v%d' % n for n in range(len(GONE)))
    assert eventually('gone is told', lambda: told('gone'))[0] == (
        'Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[%s]: ' % (names, names) +
        '; '.join('failed to get Plugin from volumeSpec for volume "v%d" err=no volume plugin matched' % n for n in range(len(GONE)))), told('gone')
    assert eventually('git is told', lambda: told('git'))[0] == ('MountVolume.SetUp failed for volume "v0" : git-repo volume plugin has been disabled; '
                                                                 'if necessary, it may be re-enabled by enabling the feature-gate `GitRepoVolumeDriver`'), told('git')
    assert eventually('medium is told', lambda: told('medium'))[0] == 'MountVolume.SetUp failed for volume "v0" : unknown storage medium "Floppy"', told('medium')
    for name in ('gone', 'git', 'medium'):
        s = c.get('pod', '-n', 'refused', name)['status']
        assert s['phase'] == 'Pending' and s['containerStatuses'][0]['state']['waiting']['reason'] == 'ContainerCreating', s
    eventually('unused runs', lambda: c.get('pod', '-n', 'refused', 'unused')['status']['phase'] == 'Running')
    c.kubectl('delete', 'pod', '-n', 'refused', 'gone', 'git', 'medium', 'unused')


SERVICE = '''---
apiVersion: v1
kind: Service
metadata: {name: linked}
spec: {ports: [{name: a, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: family}
spec: {clusterIP: None, selector: {none: none}}
'''


def begin(c):
    c.apply('{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: other}, handler: other}')
    c.kubectl('create', 'namespace', 'refused')
    os.makedirs(c.root + '/host/later')
    run(['mount', '--bind', c.root + '/host', c.root + '/host'])
    run(['mount', '--make-shared', c.root + '/host'])
    profiles = c.root + '/var/lib/wherry/node/seccomp/mine'
    os.makedirs(profiles)
    with open(profiles + '/no-mkdir.json', 'w') as f:
        json.dump({'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO'}]}, f)
    c.apply(SERVICE)
    c.apply(VOLUMES.replace('HOST', c.root + '/host') + SERVED + NAMES + SHARES + USERS + RUNS + PROBES)


if __name__ == '__main__':
    main([begin, what_cannot_be_done_is_refused_by_name, types_that_are_gone, names_and_resolvers, namespaces_are_shared_as_asked, who_a_container_is, volumes_are_what_their_fields_say, behind_gates, what_runs, probes_and_hooks,
          services_are_what_their_fields_say, a_service_takes_nothing_of_others, ephemeral_containers])
