#!/usr/bin/env python3
"""Controllers and what clients send, as users meet them: sleepers, lists, text files, budgets, owners."""
import gzip, http.client, http.server, json, os, re, signal, subprocess, threading, time
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
    for roles in (['server', 'node', 'relay', 'dns', 'edge'], ['server'], ['node']):
        pids = {r: c.role_pid(r) for r in roles}
        stopped = list(pids.values())
        if len(roles) > 1:      # who looks after them first: it wakes before them
            stopped = [int(run(['ps', '-o', 'ppid=', '-p', str(pids['server'])]))] + stopped
        for p in stopped:
            os.kill(p, signal.SIGSTOP)
        time.sleep(45)          # it is the length of the sleep that is tried
        for p in stopped:
            try:
                os.kill(p, signal.SIGCONT)
            except ProcessLookupError:
                assert len(roles) == 1, 'a machine that slept ended its own roles'     # one that stands still alone is replaced
        eventually('%s woke: the node is ready' % roles, lambda: set(node_status(c)[1].values()) == {'True', 'False'} and
                   node_status(c)[1]['Ready'] == 'True', timeout=30)
        assert len(roles) == 1 or pids == {r: c.role_pid(r) for r in roles}, 'a machine that slept ended its own roles'
        c.kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=awake', '--timeout=30s')
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


def lists_by_helm(c):
    chart = c.root + '/lists'
    os.makedirs(chart + '/templates')
    for name, text in (('Chart.yaml', 'apiVersion: v2\nname: lists\nversion: 0.1.0\n'),
                       ('templates/list.yaml', 'apiVersion: v1\nkind: List\nitems: [%s]\n---\n{apiVersion: v1, kind: ConfigMapList, items: [%s]}\n'
                        % (ITEM % 'h1', ITEM % 'h2'))):
        with open(chart + '/' + name, 'w') as f:
            f.write(text)
    c.helm('install', 'lists', chart)
    assert c.kubectl('get', 'cm', 'h1', 'h2', '-o', 'name') == 'configmap/h1\nconfigmap/h2\n'
    c.helm('upgrade', 'lists', chart)
    c.helm('uninstall', 'lists')
    assert not c.kubectl('get', 'cm', 'h1', 'h2', '--ignore-not-found')


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


def cm(name, data='a: "1"'):
    return 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  %s\n' % (name, data)


MARK = b'\xef\xbb\xbf'
ITEM = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"}}'
# as people have them: bytes, the names in them, or what is said; kubectl: whether it takes the same
TEXTS = [
    ('mark', MARK + cm('t1').replace('\n', '\r\n').encode(), ['t1'], True),
    ('marks', MARK + cm('t1').encode() + b'---\n' + MARK + cm('t2').encode(), ['t1', 't2'], True),
    ('utf16le', cm('t1', 'a: "\u00e4"').encode('utf-16'), ['t1'], True),
    ('utf16be', b'\xfe\xff' + cm('t1').encode('utf-16-be'), ['t1'], True),
    ('utf16 without a mark', cm('t1').encode('utf-16-le'), ['t1'], False),
    ('carriage returns', cm('t1').replace('\n', '\r').encode(), ['t1'], True),
    ('comments', b'# only\n---\n# another\n--- \n' + cm('t1').encode() + b'...\n---\n\n---\n' + cm('t2').encode(), ['t1', 't2'], True),
    ('dashes', b'---   \n' + cm('t1').encode() + b'--- # why\n' + cm('t2').encode() + b'---\n...\n---\n', ['t1', 't2'], False),
    ('on the line', b'--- {apiVersion: v1, kind: ConfigMap, metadata: {name: t1}}\n', ['t1'], False),
    ('directive', b'%YAML 1.1\n---\n' + cm('t1').encode(), ['t1'], False),
    ('dashes in a text', cm('t1', 'a: |\n    x\n    ---\n    y').encode(), ['t1'], True),
    ('objects', (ITEM % 't1' + ITEM % 't2').encode(), ['t1', 't2'], True),
    ('objects with a mark', MARK + (ITEM % 't1' + '\n' + ITEM % 't2').encode(), ['t1', 't2'], True),
    ('json, then yaml', (ITEM % 't1' + '\n---\n' + cm('t2')).encode(), ['t1', 't2'], True),
    ('objects, then yaml', (ITEM % 't1' + ITEM % 't2' + '\n---\n' + cm('t3')).encode(), ['t1', 't2', 't3'], False),
    ('anchors', b'x: &x {b: "2"}\n' + cm('t1', '<<: *x').encode(), None, False),
    ('list', ('apiVersion: v1\nkind: List\nitems: [%s, %s]\n' % (ITEM % 't1', ITEM % 't2')).encode(), ['t1', 't2'], True),
    ('list in list', ('apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: t1}}]}\n- ' +
                      ITEM % 't2').encode(), ['t1', 't2'], False),
    ('null', b'---\nnull\n---\n' + cm('t1').encode(), ['t1'], True),
    ('latin', cm('t1', 'a: "gr\u00fcn"').encode('latin-1'), 'line 6: is not UTF-8 (byte 0xfc); save the file as UTF-8', True),
    ('tab', b'apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: t1\n', 'line 4: found character that cannot start any token', False),
    ('empty', b'', 'there is no object in', False),
    ('only comments', b'# nothing\n---\n', 'there is no object in', False),
    ('empty list', b'apiVersion: v1\nkind: List\nitems: []\n', 'there is no object in', False),
    ('sequence', b'- a\n', 'document 1: is no object', False),
    ('cut short', ITEM.encode()[:-2], 'yaml: ', False),
]


def text_files_as_people_have_them(c):
    path = c.root + '/text'
    for what, raw, names, kubectl in TEXTS:
        with open(path, 'wb') as f:
            f.write(raw)
        if not isinstance(names, list):
            p = subprocess.run([WHERRY, 'apply', '-f', path], env=c.env, capture_output=True, text=True)
            assert p.returncode == 1 and (names or 'unknown field') in p.stderr, (what, p.stdout, p.stderr)
            continue
        assert c.wherry('create', '-f', path).split('\n')[:-1] == ['configmap/%s created' % n for n in names], what
        assert c.wherry('get', '-f', path, '-o', 'name').split() == ['configmap/' + n for n in names], what
        if kubectl:
            took = subprocess.run([c.bin + '/kubectl', 'get', '-f', path, '-o', 'name'], env=c.env, capture_output=True, text=True)
            assert took.stdout.split() == ['configmap/' + n for n in names], (what, took)
        assert c.wherry('apply', '-f', path) == ''.join('configmap/%s configured\n' % n for n in names), what
        c.wherry('delete', '-f', path)
    with open(c.env['KUBECONFIG']) as f:        # and so does a kubeconfig come
        text = f.read().replace('\n', '\r\n')
    for raw_bytes in (MARK + text.encode(), text.encode('utf-16')):
        with open(path, 'wb') as f:
            f.write(raw_bytes)
        assert run([WHERRY, 'get', 'ns', 'default', '-o', 'name'], env=dict(c.env, KUBECONFIG=path)) == 'namespace/default\n'
    p = subprocess.run([WHERRY, 'apply', '-f', 'https://example.com/a,b.yaml'], env=c.env, capture_output=True, text=True)
    assert p.returncode == 1 and 'curl -fsSL https://example.com/a,b.yaml | wherry apply -f -' in p.stderr, p
    data = c.root + '/files'
    os.makedirs(data + '/deeper/.hidden')
    for name in ('a.yaml', 'b.json', 'deeper/c.yml', 'deeper/notes.txt', '.d.yaml'):
        with open(data + '/' + name, 'w') as f:
            f.write(ITEM % ('f-' + os.path.basename(name).strip('.')[0]))
    made = lambda *args: [l.split()[0][-1] for l in c.wherry('apply', *args).splitlines()]
    assert made('-f', data) == ['a', 'b'] and made('-R', '-f', data) == ['a', 'b', 'c']
    assert made('-f', data + '/a.yaml,' + data + '/deeper/c.yml') == ['a', 'c']
    c.wherry('delete', '-R', '-f', data)


def nothing_of_a_body_is_dropped(c):
    one, two = cm('body'), cm('body', 'a: "2"')
    cms = '/api/v1/namespaces/default/configmaps'
    for method, path in (('POST', cms), ('PUT', cms + '/kube-root-ca.crt'), ('POST', '/api/v1/namespaces')):
        for body in (one + '---\n' + two, one + '---\n' + two + '---\n', one + '---\n# x\n---\n- 1\n', one + '...\n---\nx: {\n'):
            status, _, said = raw(c, method, path, body, Content_Type='application/yaml')
            assert status == 400 and b'yaml: line' in said, (method, path, body, status, said)
        for body in (ITEM % 'body' + ITEM % 'body', ITEM % 'body' + ' x', ITEM % 'body' + '\n---\n'):
            status, _, said = raw(c, method, path, body, Content_Type='application/json')
            assert status == 400, (method, path, body, status, said)
    for n, body in enumerate((MARK + cm('body0').encode(), cm('body1').encode('utf-16'), b'---\n' + cm('body2').encode() + b'---\n# end\n',
                              cm('body3').replace('\n', '\r\n').encode() + b'...\r\n')):
        status, _, said = raw(c, 'POST', cms, body, Content_Type='application/yaml')
        assert status == 201, (n, said)
        raw(c, 'DELETE', cms + '/body%d' % n)
    for patch in ('application/merge-patch+json', 'application/strategic-merge-patch+json', 'application/json-patch+json'):
        body = ('[]' if 'json-patch' in patch else '{}') + ' {"data":{"x":"y"}}'
        assert raw(c, 'PATCH', cms + '/kube-root-ca.crt', body, Content_Type=patch)[0] == 400, patch
    assert raw(c, 'DELETE', cms + '/kube-root-ca.crt', '{"kind":"DeleteOptions","apiVersion":"v1"}{}', Content_Type='application/json')[0] == 400


def every_verb_answers_help(c):
    verbs = re.findall(r'^  wherry (\S+) +(\S*)', run([WHERRY, '--help']), re.M)
    assert len(verbs) > 20, verbs
    subs = [[v, s] for v, args in verbs if '|' in args and v in ('image', 'rollout') for s in args.split('|')] + [['set', 'image'], ['completion', 'bash']]
    subs += [['create', kind] for kind in re.search(r'create -f FILE \| (\S+)', run([WHERRY, 'create', '--help'])).group(1).split('|')]
    for words in [[v] for v, _ in verbs] + subs:
        for help in ('--help', '-h'):
            said = run([WHERRY] + words + [help], timeout=10)
            assert said.startswith('wherry ' + words[0]), (words, said)
            assert words[-1] in said, (words, said)


def a_failed_discovery_is_said_for_each_document(c):
    answers = {'/api': '{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}'}
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = answers.get(self.path.split('?')[0])
            self.send_response(200 if body else 500)
            self.end_headers()
            self.wfile.write((body or '{"kind":"Status","status":"Failure","message":"the disk is on fire","code":500}').encode())

        def log_message(self, *unused):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = c.root + '/half.kubeconfig'
    with open(kubeconfig, 'w') as f:
        f.write('{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://127.0.0.1:%d"}}], '
                'contexts: [{name: c, context: {cluster: c}}]}' % server.server_port)
    p = subprocess.run([WHERRY, 'apply', '-f', '-'], input=cm('one') + '---\n' + cm('two') + '---\n' + cm('three'),
                       env=dict(c.env, KUBECONFIG=kubeconfig), capture_output=True, text=True)
    server.shutdown()
    lines = p.stderr.splitlines()
    assert p.returncode == 1 and len(lines) == 3 and not p.stdout, p
    for n, line in enumerate(lines, 1):
        assert 'document %d' % n in line and 'the disk is on fire' in line and 'no kind' not in line, lines
    assert asked.count('/apis') == 3, asked     # tried again each time


def evict(c, name, version='v1', **options):
    body = {'apiVersion': 'policy/' + version, 'kind': 'Eviction', 'metadata': {'name': name}}
    if options:
        body['deleteOptions'] = options
    status, _, said = raw(c, 'POST', '/api/v1/namespaces/default/pods/%s/eviction' % name, json.dumps(body), Content_Type='application/json')
    return status, json.loads(said).get('message', '')


def budget(c, name, spec, ready=None):
    """Makes it, waits until its controller has looked at it (and, with `ready`, counted so many)."""
    c.apply('apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: %s}\nspec: %s\n' % (name, spec))

    def seen():
        pdb = c.get('pdb', name)
        s = pdb.get('status', {})
        return s.get('observedGeneration') == pdb['metadata']['generation'] and (ready is None or s['currentHealthy'] == ready) and s
    return eventually(name, seen)


VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


def evictions_go_by_readiness(c):
    never = '    readinessProbe: {exec: {command: ["false"]}, periodSeconds: 1}'
    c.apply(pod('sick', {'b': 'x'}, container=never) + pod('sick2', {'b': 'x'}, container=never) + pod('well', {'b': 'x'}) +
            pod('well2', {'b': 'x'}) + pod('pending', {'b': 'x'}, spec='  nodeSelector: {no: where}') +
            pod('over', {'b': 'x'}, 'true', spec='  restartPolicy: Never') + pod('two', {'b': 'x', 'c': 'x'}))
    c.kubectl('wait', '--for=condition=Ready', 'pod/well', 'pod/well2', 'pod/two', '--timeout=60s')
    c.kubectl('wait', '--for=jsonpath={.status.phase}=Running', 'pod/sick', 'pod/sick2', '--timeout=60s')
    c.kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', 'pod/over', '--timeout=60s')
    status = budget(c, 'b', '{selector: {matchLabels: {b: x}}, minAvailable: 4}', ready=3)
    assert (status['expectedPods'], status['desiredHealthy'], status['disruptionsAllowed']) == (7, 4, 0), status
    condition = status['conditions'][0]
    assert (condition['reason'], condition['status'], condition['observedGeneration']) == ('InsufficientPods', 'False', 1), condition
    budget(c, 'c', '{selector: {matchLabels: {c: x}}, minAvailable: 0}')
    assert evict(c, 'two') == (500, 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.')
    c.kubectl('delete', 'pdb', 'c')
    assert evict(c, 'sick') == evict(c, 'well') == (429, VIOLATES)
    assert evict(c, 'over')[0] == evict(c, 'pending', 'v1beta1')[0] == 201 and evict(c, 'sick', 'v1alpha1')[0] == 400
    assert evict(c, 'sick', dryRun=['All']) == (429, VIOLATES)
    c.kubectl('patch', 'pdb', 'b', '--type=merge', '-p', '{"spec":{"unhealthyPodEvictionPolicy":"AlwaysAllow"}}')
    assert evict(c, 'sick')[0] == 201 and evict(c, 'well') == (429, VIOLATES)
    # enough others are healthy: an unhealthy one goes and takes nothing from the budget
    status = budget(c, 'b', '{selector: {matchLabels: {b: x}}, minAvailable: 3, unhealthyPodEvictionPolicy: IfHealthyBudget}', ready=3)
    assert status['disruptionsAllowed'] == 0, status
    assert evict(c, 'sick2')[0] == 201 and evict(c, 'well') == (429, VIOLATES)
    status = budget(c, 'b', '{selector: {matchLabels: {b: x}}, minAvailable: 2}', ready=3)
    assert status['disruptionsAllowed'] == 1 and status['conditions'][0]['reason'] == 'SufficientPods', status
    assert evict(c, 'well', dryRun=['All'])[0] == 201 and c.get('pdb', 'b')['status']['disruptionsAllowed'] == 1
    rev = c.get('pod', 'well')['metadata']['resourceVersion']
    assert evict(c, 'two', preconditions={'resourceVersion': '1'})[0] == 409
    assert c.get('pdb', 'b')['status']['disruptionsAllowed'] == 1, 'one that cannot be takes nothing of the budget'
    assert evict(c, 'well', preconditions={'resourceVersion': rev})[0] == 201
    eventually('nothing is left of the budget', lambda: c.get('pdb', 'b')['status']['currentHealthy'] == 2)
    assert evict(c, 'two') == (429, VIOLATES)
    c.kubectl('delete', 'pdb', 'b')
    slow = pod('slow', {}, "trap '' TERM; while :; do sleep 1; done").replace('PeriodSeconds: 0', 'PeriodSeconds: 60')
    c.apply(slow)
    c.kubectl('wait', '--for=condition=Ready', 'pod/slow', '--timeout=60s')
    assert evict(c, 'slow')[0] == 201 and evict(c, 'slow')[0] == 201 and evict(c, 'nosuch')[0] == 404
    target = [x for x in c.get('pod', 'slow')['status']['conditions'] if x['type'] == 'DisruptionTarget'][0]
    assert (target['status'], target['reason'], target['message']) == ('True', 'EvictionByEvictionAPI', 'Eviction API: evicting'), target
    c.kubectl('delete', 'pod', 'slow', 'two', 'well2', '--force', '--wait=false')


def owned(c, ns, name, owner=None, blocks=True):
    refs = [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': owner[0], 'uid': owner[1], 'blockOwnerDeletion': blocks}] if owner else []
    c.kubectl('create', '-n', ns, '-f', '-', input=json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name, 'ownerReferences': refs}}))
    return name, c.get('cm', name, '-n', ns)['metadata']['uid']


def owners_of_other_places_and_circles(c):
    for ns in ('own', 'elsewhere'):
        c.kubectl('create', 'ns', ns)
    owner = owned(c, 'own', 'owner')
    c.kubectl('create', '-f', '-', input=json.dumps({'apiVersion': 'scheduling.k8s.io/v1', 'kind': 'PriorityClass', 'value': 1, 'metadata': {
        'name': 'owned', 'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'owner', 'uid': owner[1]}]}}))
    c.kubectl('create', '-n', 'elsewhere', '-f', '-', input=json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {
        'name': 'child', 'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'owner', 'uid': owner[1]}]}}))
    eventually('child is collected', lambda: not c.kubectl('get', 'cm', '-n', 'elsewhere', 'child', '--ignore-not-found'))
    told = lambda: {(e['involvedObject']['name'], e['message']) for e in c.get('events', '-A', '--field-selector=reason=OwnerRefInvalidNamespace')['items']}
    eventually('it is said', lambda: told() == {
        (name, 'ownerRef [v1/ConfigMap, namespace: %s, name: owner, uid: %s] does not exist in namespace "%s"' % (ns, owner[1], ns))
        for name, ns in (('child', 'elsewhere'), ('owned', ''))})
    c.kubectl('delete', 'priorityclass', 'owned')       # it stayed
    # what is elsewhere and stays there holds up nobody here
    there = owned(c, 'own', 'there')
    c.kubectl('create', '-n', 'elsewhere', '-f', '-', input=json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'stays', 'finalizers': ['example.com/stays'], 'ownerReferences': [
        {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'there', 'uid': there[1], 'blockOwnerDeletion': True}]}}))
    eventually('it is on its way', lambda: c.get('cm', '-n', 'elsewhere', 'stays')['metadata'].get('deletionTimestamp'))
    c.kubectl('delete', '-n', 'own', 'cm', 'there', '--cascade=foreground', '--timeout=30s')
    assert c.get('cm', '-n', 'elsewhere', 'stays')['metadata'].get('ownerReferences')
    c.kubectl('patch', '-n', 'elsewhere', 'cm', 'stays', '--type=merge', '-p', '{"metadata":{"finalizers":null}}')
    # circles: of one, of two and of three, begun at one of them and at all of them at once
    for n, at_once in ((1, False), (2, False), (3, True)):
        members = [owned(c, 'own', 'c%d' % i) for i in range(n)]
        for i in range(n):
            name, uid = members[i - 1]
            c.kubectl('patch', '-n', 'own', 'cm', members[i][0], '--type=merge', '-p', json.dumps({'metadata': {'ownerReferences': [
                {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': name, 'uid': uid, 'blockOwnerDeletion': True}]}}))
        c.kubectl('delete', '-n', 'own', '--cascade=foreground', '--wait=false', '--ignore-not-found', *['cm/' + m for m, _ in (members if at_once else members[:1])])
        eventually('the circle of %d goes' % n, lambda: c.kubectl('get', '-n', 'own', 'cm', '-o', 'name').split() ==
                   ['configmap/kube-root-ca.crt', 'configmap/owner'], timeout=30)
    parent = owned(c, 'own', 'parent')
    owned(c, 'own', 'kept', parent)
    c.kubectl('delete', '-n', 'own', 'cm', 'parent', '--cascade=orphan')
    assert not c.get('cm', '-n', 'own', 'kept')['metadata'].get('ownerReferences')
    c.kubectl('delete', 'ns', 'own', 'elsewhere', '--timeout=60s')


def a_namespace_goes_pods_first(c):
    c.kubectl('create', 'ns', 'going')
    c.kubectl('create', 'secret', 'generic', 'used', '-n', 'going', '--from-literal=a=b')
    slow = "trap 'while [ ! -e /go ]; do sleep 0.1; done; exit 0' TERM; sleep 100000 & wait"
    c.apply(pod('slow', {}, slow, ns='going').replace('PeriodSeconds: 0', 'PeriodSeconds: 120'), ns='going')
    c.kubectl('wait', '-n', 'going', '--for=condition=Ready', 'pod/slow', '--timeout=60s')
    c.kubectl('delete', 'ns', 'going', '--wait=false')
    eventually('the pod is going', lambda: c.get('pod', '-n', 'going', 'slow')['metadata'].get('deletionTimestamp'))
    remaining = lambda: {x['type']: x['message'] for x in c.get('ns', 'going')['status'].get('conditions', [])}.get('NamespaceContentRemaining')
    eventually('it is said', lambda: remaining() == 'Some resources are remaining: pods. has 1 resource instances')
    assert c.kubectl('get', 'secret', '-n', 'going', 'used', '-o', 'name') and c.kubectl('get', 'sa', '-n', 'going', 'default', '-o', 'name')
    c.kubectl('exec', '-n', 'going', 'slow', '--', 'touch', '/go')
    c.kubectl('wait', '--for=delete', 'ns/going', '--timeout=60s')


def an_account_binds_its_pods_to_its_secrets(c):
    c.apply('{apiVersion: v1, kind: ServiceAccount, metadata: {name: bound, annotations: {kubernetes.io/enforce-mountable-secrets: "true"}}, '
            'secrets: [{name: mine}], imagePullSecrets: [{name: pull}]}')
    base = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'bound'}, 'spec': {
        'serviceAccountName': 'bound', 'nodeSelector': {'no': 'where'}, 'containers': [{'name': 'c', 'image': IMAGE}]}}

    def says(change):
        pod = json.loads(json.dumps(base))
        change(pod['spec'])
        p = subprocess.run([c.bin + '/kubectl', 'create', '--dry-run=server', '-f', '-'], input=json.dumps(pod), env=c.env, capture_output=True, text=True)
        return p.stderr
    volume = lambda name: lambda s: s.update(volumes=[{'name': 'v', 'secret': {'secretName': name}}])
    env = lambda name: lambda s: s['containers'][0].update(env=[{'name': 'E', 'valueFrom': {'secretKeyRef': {'name': name, 'key': 'k'}}}])
    for ok in (lambda s: None, volume('mine'), env('mine'), lambda s: s.update(imagePullSecrets=[{'name': 'pull'}])):
        assert not says(ok), says(ok)
    why = 'is not allowed because service account bound does not reference that '
    assert 'volume with secret.secretName="other" ' + why + 'secret' in says(volume('other'))
    assert 'container c with envVar E referencing secret.secretName="other" ' + why + 'secret' in says(env('other'))
    assert 'imagePullSecrets[0].name="other" ' + why + 'imagePullSecret' in says(lambda s: s.update(imagePullSecrets=[{'name': 'other'}]))
    c.kubectl('delete', 'sa', 'bound')


if __name__ == '__main__':
    main([a_node_that_is_called_unknown_says_otherwise, volumes_follow_labels,
          lists_by_kubectl, lists_by_helm, openapi_two_in_its_forms, text_files_as_people_have_them,
          nothing_of_a_body_is_dropped, every_verb_answers_help,
          a_failed_discovery_is_said_for_each_document, evictions_go_by_readiness,
          owners_of_other_places_and_circles, a_namespace_goes_pods_first,
          an_account_binds_its_pods_to_its_secrets, sleepers_judge_nobody], port=16549)
