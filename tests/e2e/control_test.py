#!/usr/bin/env python3
"""Controllers and what clients send, as users meet them: sleepers, lists, text files, budgets, owners."""
import gzip, http.client, json, os, signal, time
from lib import *


def pod(name, labels=None, command='sleep 100000', spec='', container='', ns='default'):
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {ns}, labels: {json.dumps(labels or {})}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: {IMAGE}
    command: [sh, -c, {json.dumps(command)}]
{container}
{spec}'''


def node_status(c):
    node = c.get('nodes')['items'][0]
    return node['metadata']['name'], {s['type']: s['status'] for s in node['status']['conditions']}


def a_node_that_is_called_unknown_says_otherwise(c):
    c.apply(deployment('mended') + service('mended'))
    c.kubectl('rollout', 'status', 'deployment/mended', timeout=120)
    name, _ = node_status(c)
    for types in (['Ready'], ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready']):
        lies = [{'type': t, 'status': 'Unknown', 'reason': 'NodeStatusUnknown', 'message': 'x'} for t in types]
        c.kubectl('patch', 'node', name, '--subresource=status', '-p', json.dumps({'status': {'conditions': lies}}))
        eventually('the node contradicts ' + str(types), lambda: node_status(c)[1]['Ready'] == 'True' and
                   'Unknown' not in node_status(c)[1].values(), timeout=30)
    c.kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=mended', '--timeout=30s')
    eventually('its taints are gone', lambda: not c.get('node', name)['spec'].get('taints'), timeout=30)
    eventually('its Service answers', lambda: [e for s in c.get('endpointslices', '-l', 'kubernetes.io/service-name=mended')['items']
                                               for e in s['endpoints'] or [] if e['conditions']['ready']], timeout=30)
    c.kubectl('delete', 'deployment/mended', 'service/mended', '--wait=false')


def sleepers_judge_nobody(c):
    """All of the machine, the server alone, the node alone: stopped for 45 s."""
    if not STORM:
        return
    c.apply(deployment('awake') + service('awake'))
    c.kubectl('rollout', 'status', 'deployment/awake', timeout=120)
    for roles in (['server', 'node', 'relay', 'dns'], ['server'], ['node']):
        pids = [c.role_pid(r) for r in roles]
        for p in pids:
            os.kill(p, signal.SIGSTOP)
        time.sleep(45)          # it is the length of the sleep that is tried
        for p in pids:
            os.kill(p, signal.SIGCONT)
        eventually('%s woke: the node is ready' % roles, lambda: set(node_status(c)[1].values()) == {'True', 'False'} and
                   node_status(c)[1]['Ready'] == 'True', timeout=15)
        c.kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=awake', '--timeout=15s')
        judged = [e['message'] for e in c.get('events', '-A')['items'] if e['reason'] == 'NodeNotReady' and
                  (e['involvedObject']['kind'] == 'Node' or e['involvedObject']['name'].startswith('awake'))]
        assert roles == ['node'] or not judged, judged      # a node alone that was silent for 45 s is one that is away
    c.kubectl('delete', 'deployment/awake', 'service/awake', '--wait=false')


def volumes_follow_labels(c):
    c.apply(pod('follows', {'a': '1'}, container='    volumeMounts: [{name: d, mountPath: /d}, {name: p, mountPath: /p}]', spec='''  volumes:
  - name: d
    downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: one, fieldRef: {fieldPath: "metadata.annotations['x']"}}]}
  - name: p
    projected: {sources: [{downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}'''))
    c.kubectl('wait', '--for=condition=Ready', 'pod/follows', '--timeout=60s')
    for n in range(12):     # one after the other, some while the volumes are being written
        c.kubectl('label', '--overwrite', 'pod', 'follows', 'a=n%d' % n)
    c.kubectl('annotate', 'pod', 'follows', 'x=seen')
    for path in ('/d/labels', '/p/labels'):
        eventually(path, lambda: 'a="n11"' in c.kubectl('exec', 'follows', '--', 'cat', path), timeout=30, every=0.3)
    eventually('/d/one', lambda: c.kubectl('exec', 'follows', '--', 'cat', '/d/one') == 'seen', timeout=30, every=0.3)
    c.kubectl('delete', 'pod', 'follows', '--wait=false')


def lists_by_kubectl(c):
    """kubectl asks /openapi/v2 (as protobuf) for what the server cannot check for it: v1 List, typed lists."""
    one = '{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}'
    said = c.apply('apiVersion: v1\nkind: List\nitems:\n- ' + one % 'in-list' +
                   '\n- {apiVersion: v1, kind: Service, metadata: {name: in-list}, spec: {ports: [{port: 80}]}}\n')
    assert said == 'configmap/in-list created\nservice/in-list created\n', said
    role = '{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: in-list}, rules: []}'
    said = c.apply('apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleList\nitems: [%s]\n' % role)
    assert said == 'role.rbac.authorization.k8s.io/in-list created\n', said
    c.kubectl('create', 'cm', 'back-a', '--from-literal=x=1')
    c.kubectl('create', 'cm', 'back-b', '--from-literal=x=1')
    back = c.kubectl('get', 'cm', 'back-a', 'back-b', '-o', 'yaml')
    c.kubectl('delete', 'cm', 'back-a', 'back-b')
    assert c.kubectl('create', '-f', '-', input=back) == 'configmap/back-a created\nconfigmap/back-b created\n'
    refused(c, 'unknown field "portz"', 'apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {portz: []}}]\n')
    c.kubectl('delete', 'cm/in-list', 'cm/back-a', 'cm/back-b', 'svc/in-list', 'role/in-list')


def refused(c, words, yaml):
    p = subprocess.run([c.bin + '/kubectl', 'apply', '-f', '-'], input=yaml, env=c.env, capture_output=True, text=True)
    assert p.returncode and words in p.stderr, p.stderr


def raw(c, method, path, body=None, **headers):
    """status, headers and body, as they come."""
    h = http.client.HTTPSConnection('127.0.0.1', c.port, context=admin_tls(c.env['KUBECONFIG']), timeout=30)
    h.request(method, path, body, headers={k.replace('_', '-'): v for k, v in headers.items()})
    r = h.getresponse()
    return r.status, dict(r.getheaders()), r.read()


def openapi_two_in_its_forms(c):
    proto = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'
    status, head, plain = raw(c, 'GET', '/openapi/v2')
    assert status == 200 and head['Content-Type'] == 'application/json', head
    document = json.loads(plain)
    assert document['swagger'] == '2.0' and 'io.k8s.api.rbac.v1.RoleList' in document['definitions']
    status, pb, small = raw(c, 'GET', '/openapi/v2', Accept=proto, Accept_Encoding='gzip')
    assert (status, pb['Content-Encoding']) == (200, 'gzip') and 'protobuf' in pb['Content-Type'], pb
    small = gzip.decompress(small)
    assert small.startswith(b'\x0a\x032.0\x12') and b'io.k8s.api.rbac.v1.RoleList' in small, small[:40]
    assert raw(c, 'GET', '/openapi/v2', If_None_Match=head['ETag'])[::2] == (304, b'')
    assert raw(c, 'GET', '/openapi/v2', If_None_Match=pb['ETag'])[0] == 200, 'another form is another thing'
    assert raw(c, 'HEAD', '/openapi/v2')[::2] == (200, b'')
    assert raw(c, 'GET', '/openapi/v2', Accept='text/html')[0] == 406
    assert raw(c, 'GET', '/openapi/v2', Accept='text/html, */*')[0] == 200
    status, head, body = raw(c, 'GET', '/openapi/v3/apis/apps/v1', Accept_Encoding='gzip')
    assert json.loads(gzip.decompress(body))['openapi'] == '3.0.0'


if __name__ == '__main__':
    main([a_node_that_is_called_unknown_says_otherwise, volumes_follow_labels,
          lists_by_kubectl, openapi_two_in_its_forms, sleepers_judge_nobody], port=16549)
