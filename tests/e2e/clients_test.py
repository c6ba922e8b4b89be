#!/usr/bin/env python3
"""Debian's python3-kubernetes inside of a pod, with the token that every pod gets, against kubernetes.default.svc."""
import json, os, subprocess
from lib import *

NS = 'clients'
# Runs in the pod by the host's /usr/bin/python3, one function for each call.
SCRIPT = r'''
import sys, threading
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_incluster_config()
conf = client.Configuration.get_default_copy()
core, apps = client.CoreV1Api(), client.AppsV1Api()
NS = open('/var/run/secrets/kubernetes.io/serviceaccount/namespace').read()

def refused():
    try:
        core.list_namespaced_pod(NS)
    except ApiException as e:
        print(e.status, e.reason, e.body)
    try:
        core.list_namespaced_pod('default')
    except ApiException as e:
        print(e.status)
    bad = client.Configuration(host=conf.host, api_key={'authorization': 'bearer nonsense'})
    bad.ssl_ca_cert = conf.ssl_ca_cert
    try:
        client.CoreV1Api(client.ApiClient(bad)).list_namespaced_pod(NS)
    except ApiException as e:
        print(e.status)

def reads():
    host = 'https://kubernetes.default.svc'
    conf.host = host
    other = client.CoreV1Api(client.ApiClient(conf))
    pods = other.list_namespaced_pod(NS)
    me = [p for p in pods.items if p.metadata.name == 'py'][0]
    print(me.status.phase, me.spec.service_account_name, me.status.container_statuses[0].ready)
    print(client.VersionApi(client.ApiClient(conf)).get_code().git_version)
    print('listening' in core.read_namespaced_pod_log('py', NS))

def writes():
    seen, ready = [], threading.Event()
    rev = core.list_namespaced_config_map(NS).metadata.resource_version
    def look():
        w = watch.Watch()
        for e in w.stream(core.list_namespaced_config_map, NS, resource_version=rev, timeout_seconds=10):
            o = e['object']
            seen.append('%s %s %s %s' % (e['type'], o.kind, o.metadata.name, o.data))
            if e['type'] == 'DELETED':
                w.stop()
    t = threading.Thread(target=look)
    t.start()
    made = core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name='made'), data={'a': '1'}))
    core.patch_namespaced_config_map('made', NS, {'data': {'b': '2'}})
    now = core.read_namespaced_config_map('made', NS)
    now.data['a'] = 'new'
    core.replace_namespaced_config_map('made', NS, now)
    try:
        now.data['a'] = 'stale'
        core.replace_namespaced_config_map('made', NS, now)
    except ApiException as e:
        print('stale', e.status)
    try:
        core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name='made')))
    except ApiException as e:
        print('again', e.status)
    core.delete_namespaced_config_map('made', NS)
    t.join(15)
    print('\n'.join(seen))

def executes():
    out = stream(core.connect_get_namespaced_pod_exec, 'py', NS, command=['sh', '-c', 'echo out; echo err >&2'],
                 stderr=True, stdin=False, stdout=True, tty=False)
    print(sorted(out.split()))
    r = stream(core.connect_get_namespaced_pod_exec, 'py', NS, command=['sh'], stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False)
    r.write_stdin('echo $((6*7))\n')
    print(r.readline_stdout(timeout=5))
    r.write_stdin('exit 3\n')
    r.run_forever(timeout=5)
    print(r.returncode)

def deploys():
    name = {'app': 'by-python'}
    box = client.V1Container(name='web', image='IMAGE', ports=[client.V1ContainerPort(container_port=8080)])
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=name), spec=client.V1PodSpec(containers=[box]))
    spec = client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels=name), template=template)
    apps.create_namespaced_deployment(NS, client.V1Deployment(metadata=client.V1ObjectMeta(name='by-python'), spec=spec))
    apps.patch_namespaced_deployment_scale('by-python', NS, {'spec': {'replicas': 2}})
    w = watch.Watch()
    for e in w.stream(apps.list_namespaced_deployment, NS, timeout_seconds=20):
        if e['object'].status.available_replicas == 2:
            print('available', e['object'].status.available_replicas)
            w.stop()
    apps.delete_namespaced_deployment('by-python', NS, propagation_policy='Foreground')
    for e in w.stream(apps.list_namespaced_deployment, NS, timeout_seconds=20):
        if e['type'] == 'DELETED':
            print('deleted')
            w.stop()
    print(len(core.list_namespaced_pod(NS, label_selector='app=by-python').items))

globals()[sys.argv[1]]()
'''.replace('IMAGE', IMAGE)

POD = '''
apiVersion: v1
kind: Pod
metadata: {name: py}
spec:
  serviceAccountName: worker
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: %s
    volumeMounts:
    - {name: usr, mountPath: /usr, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
    - {name: script, mountPath: /script}
  volumes:
  - {name: usr, hostPath: {path: /usr, type: Directory}}
  - {name: lib, hostPath: {path: /usr/lib, type: Directory}}
  - {name: lib64, hostPath: {path: /usr/lib64, type: Directory}}
  - {name: script, configMap: {name: script}}
''' % IMAGE

ROLE = '''
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: worker}
rules:
- {apiGroups: [""], resources: [pods, pods/log], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, update, patch, delete]}
- {apiGroups: [apps], resources: [deployments, deployments/scale], verbs: [get, list, watch, create, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: worker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: worker}
subjects: [{kind: ServiceAccount, name: worker}]
'''


def python(c, function, timeout=60):
    return c.kubectl('exec', '-n', NS, 'py', '--', '/usr/bin/python3', '-B', '/script/client.py', function, timeout=timeout)


def a_pod_with_python(c):
    c.kubectl('create', 'namespace', NS)
    c.kubectl('create', 'serviceaccount', 'worker', '-n', NS)
    path = c.root + '/client.py'
    with open(path, 'w') as f:
        f.write(SCRIPT)
    c.kubectl('create', 'configmap', 'script', '--from-file=client.py=' + path, '-n', NS)
    c.apply(POD, NS)
    c.kubectl('wait', '-n', NS, '--for=condition=Ready', 'pod/py', '--timeout=20s')
    p = subprocess.run([c.bin + '/kubectl', 'exec', '-n', NS, 'py', '--', 'touch', '/usr/made-by-a-pod'], env=c.env, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode != 0 and 'Read-only' in p.stdout and not os.path.exists('/usr/made-by-a-pod'), p


def nothing_is_allowed_by_default(c):
    lines = python(c, 'refused').splitlines()
    assert lines[0].startswith('403 Forbidden ') and lines[-2:] == ['403', '401'], lines
    said = json.loads(lines[0].split(' ', 2)[2])
    assert said['message'] == ('pods is forbidden: User "system:serviceaccount:clients:worker" cannot list resource "pods" in API group "" '
                               'in the namespace "clients"'), said


def a_binding_allows(c):
    c.apply(ROLE, NS)
    phase, version, log = python(c, 'reads').splitlines()
    assert phase == 'Running worker True' and version.startswith('v1.36.') and '+wherry' in version and log == 'True', (phase, version, log)
    assert python(c, 'refused').splitlines()[-2:] == ['403', '401'], 'in its own namespace alone'


def writes_are_watched(c):
    got = python(c, 'writes').splitlines()
    assert got == ['stale 409', 'again 409',
                   "ADDED ConfigMap made {'a': '1'}",
                   "MODIFIED ConfigMap made {'a': '1', 'b': '2'}",
                   "MODIFIED ConfigMap made {'a': 'new', 'b': '2'}",
                   "DELETED ConfigMap made {'a': 'new', 'b': '2'}"], got


def commands_are_executed(c):
    assert python(c, 'executes').splitlines() == ["['err', 'out']", '42', '3']


def deployments_come_and_go(c):
    assert python(c, 'deploys').splitlines() == ['available 2', 'deleted', '0']


def a_token_ends_with_its_pod(c):
    token = c.kubectl('exec', '-n', NS, 'py', '--', 'cat', '/var/run/secrets/kubernetes.io/serviceaccount/token')
    ca = c.root + '/ca.crt'
    with open(ca, 'w') as f:
        f.write(c.kubectl('exec', '-n', NS, 'py', '--', 'cat', '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt'))
    status = lambda: run(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', ca, '-H', 'Authorization: Bearer ' + token,
                          'https://10.43.0.1/api/v1/namespaces/clients/pods'])
    assert status() == '200', status()
    c.kubectl('delete', 'pod', 'py', '-n', NS, '--timeout=20s')
    eventually('the token is refused', lambda: status() == '401')


if __name__ == '__main__':
    main([a_pod_with_python, nothing_is_allowed_by_default, a_binding_allows, writes_are_watched, commands_are_executed,
          deployments_come_and_go, a_token_ends_with_its_pod])
