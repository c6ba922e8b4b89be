#!/usr/bin/env python3
"""Aggregation: an extension API server (aggregated.py) behind an APIService, reached through the API server by kubectl: its
objects, its discovery and OpenAPI among the others, who may do what, and what happens when it is slow, down or mad."""
import http.client, json, os, shutil, signal, socket, subprocess, threading, time
import aggregated, lib
from aggregated import Wardle
from hooks import Authority
from lib import eventually, main, run

ADDRESS = '192.0.2.33'      # of the extension server: beside the cluster, as one in a pod would be
BASE = '/apis/wardle.example.com/v1alpha1'

SETUP = '''
apiVersion: v1
kind: Namespace
metadata: {name: wardle}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: wardle, namespace: wardle}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: wardle-delegates}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: wardle, namespace: wardle}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: wardle-reads, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, name: wardle, namespace: wardle}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes-for-wardle}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nodes-for-wardle}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nodes-for-wardle}
subjects: [{kind: ServiceAccount, name: wardle, namespace: wardle}]
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: wardle}
spec: {ports: [{port: 443, targetPort: %(port)d, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, namespace: wardle, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
endpoints: [{addresses: [%(address)s], conditions: {ready: true}}]
ports: [{port: %(port)d, protocol: TCP}]
'''


def apiservice(c, version='v1alpha1', group='wardle.example.com', **more):
    spec = dict({'group': group, 'version': version, 'groupPriorityMinimum': 2000, 'versionPriority': 15, 'caBundle': c.authority.bundle,
                 'service': {'namespace': 'wardle', 'name': 'api', 'port': 443}}, **more)
    return json.dumps({'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': version + '.' + group}, 'spec': spec})


class Aggregating(lib.Cluster):
    """A cluster, and an extension server beside it."""

    def __enter__(self):
        self.wardle = None
        run(['ip', 'addr', 'add', ADDRESS + '/32', 'dev', 'lo'])
        super().__enter__()
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self):
        self.authority = Authority(self.root + '/wardle')
        self.kubectl('apply', '-f', '-', input=SETUP % {'address': ADDRESS, 'port': 8443})
        token = self.kubectl('create', 'token', 'wardle', '-n', 'wardle', '--duration=1h').strip()
        with open(self.env['KUBECONFIG']) as f:
            ca = next(line.split()[1] for line in f if 'certificate-authority-data' in line)
        api = aggregated.Api('https://127.0.0.1:%d' % self.port, aggregated.base64.b64decode(ca.strip('"')).decode(), token)
        self.wardle = Wardle(api, self.authority.sign('api', ['DNS:api.wardle.svc']), ADDRESS, 8443, metrics=True)
        self.tls = lib.admin_tls(self.env['KUBECONFIG'])

    def __exit__(self, *unused):
        if self.wardle:
            self.wardle.stop()
        super().__exit__(*unused)

    def ask(self, path, method='GET', body=None, timeout=60, **headers):
        """(status, headers, body) of a request by the admin."""
        h = http.client.HTTPSConnection('127.0.0.1', self.port, context=self.tls, timeout=timeout)
        try:
            h.request(method, path, body, {k.replace('_', '-'): v for k, v in headers.items()})
            r = h.getresponse()
            return r.status, r.headers, r.read()
        finally:
            h.close()

    def json(self, path, **headers):
        status, _, body = self.ask(path, **headers)
        assert status == 200, (path, status, body[:300])
        return json.loads(body)


def available(c, name='v1alpha1.wardle.example.com', want='True'):
    def look():
        found = [x for x in c.get('apiservice', name).get('status', {}).get('conditions', []) if x['type'] == 'Available']
        return found and found[0]['status'] == want and found[0]
    return eventually('%s available: %s' % (name, want), look, timeout=20)


def fails(c, *args, **kw):
    p = subprocess.run([c.bin + '/kubectl'] + list(args), env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)
    assert p.returncode, p.stdout
    return p.stderr.strip()


def flunder(name, **spec):
    return json.dumps({'apiVersion': 'wardle.example.com/v1alpha1', 'kind': 'Flunder', 'metadata': {'name': name}, 'spec': spec})


AGGREGATED = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'


def discovered(c, group='wardle.example.com'):
    """Its group in aggregated discovery; None: it is not there."""
    return next((g for g in c.json('/apis', Accept=AGGREGATED)['items'] if g['metadata']['name'] == group), None)


def fresh(c, want='Current', group='wardle.example.com'):
    return eventually('%s is %s' % (group, want), lambda: (g := discovered(c, group)) and g['versions'][0]['freshness'] == want and g, timeout=20)


def its_objects_are_there_like_others(c):
    assert not discovered(c)
    assert c.ask(BASE + '/flunders')[0] == 404
    c.kubectl('apply', '-f', '-', input=apiservice(c))
    available(c)
    fresh(c)
    rows = [line.split() for line in c.kubectl('api-resources', '--api-group=wardle.example.com').splitlines()]
    assert rows[1] == ['flunders', 'fl', 'wardle.example.com/v1alpha1', 'true', 'Flunder'], rows
    said = c.kubectl('get', 'apiservices', 'v1alpha1.wardle.example.com', '--no-headers').split()
    assert said[:3] == ['v1alpha1.wardle.example.com', 'wardle/api', 'True'], said
    assert c.kubectl('apply', '-f', '-', input=flunder('one', reference='other')).strip() == 'flunder.wardle.example.com/one created'
    assert c.kubectl('apply', '-f', '-', input=flunder('one', reference='another', size=3)).strip() == 'flunder.wardle.example.com/one configured'
    assert c.kubectl('apply', '-f', '-', input=flunder('one', reference='another', size=3)).strip() == 'flunder.wardle.example.com/one unchanged'
    lines = c.kubectl('get', 'fl').splitlines()
    assert lines[0].split() == ['NAME', 'REFERS', 'TO', 'SINCE'] and lines[1].split()[:2] == ['one', 'another'], lines
    assert 'flunder.wardle.example.com/one' in c.kubectl('get', 'all', '-o', 'name')
    assert c.get('flunder', 'one')['spec'] == {'reference': 'another', 'size': 3}
    c.kubectl('patch', 'flunder', 'one', '--type', 'merge', '-p', '{"metadata":{"labels":{"a":"b"}}}')
    assert 'flunder.wardle.example.com/one' in c.kubectl('get', 'flunders', '-l', 'a=b', '-o', 'name', '-A')
    assert json.loads(c.kubectl('get', '--raw', BASE + '/namespaces/default/flunders/one'))['kind'] == 'Flunder'
    c.kubectl('label', 'flunder', 'one', 'a-')
    said = fails(c, 'create', '-f', '-', input=flunder('one'))
    assert 'Error from server (AlreadyExists)' in said and 'flunders.wardle.example.com "one" already exists' in said, said
    asked = [u for m, p, u, agent in c.wardle.asked if p.endswith('/flunders/one') and agent.startswith('kubectl')]
    assert asked and 'system:masters' in asked[-1]['groups'] and asked[-1]['username'], asked
    watch = subprocess.Popen([c.bin + '/kubectl', 'get', 'flunders', '--watch', '-o', 'name'], env=c.env, text=True, stdout=subprocess.PIPE)
    try:
        assert watch.stdout.readline().strip() == 'flunder.wardle.example.com/one'
        c.kubectl('create', '-f', '-', input=flunder('two'))
        assert watch.stdout.readline().strip() == 'flunder.wardle.example.com/two'
    finally:
        watch.kill()
        watch.wait()
    c.kubectl('delete', 'flunder', 'one', 'two')
    assert 'flunders.wardle.example.com "one" not found' in fails(c, 'get', 'flunder', 'one')
    assert c.kubectl('get', 'flunders', '-A', '-o', 'name') == ''


def explained_and_validated(c):
    eventually('its document', lambda: ('apis/wardle.example.com/v1alpha1' in c.json('/openapi/v3')['paths']))
    said = c.kubectl('explain', 'flunder.spec', '--recursive')
    assert 'What a flunder is to be.' in said and 'reference' in said and 'size' in said and 'GROUP:      wardle.example.com' in said, said
    assert 'How large it is.' in c.kubectl('explain', 'fl.spec.size')
    said = fails(c, 'apply', '-f', '-', input=flunder('bad', colour='red'))
    assert 'unknown field "spec.colour"' in said, said
    path = c.json('/openapi/v3')['paths']['apis/wardle.example.com/v1alpha1']['serverRelativeURL']
    status, headers, body = c.ask(path)
    assert status == 200 and json.loads(body)['info']['title'] == 'Wardle', body[:200]
    assert c.ask(path, If_None_Match=headers['ETag'])[0] == 304
    assert c.ask('/openapi/v3/apis/wardle.example.com/v2')[0] == 404
    c.wardle.open_api_three = False  # as servers before 1.24: what they have of 2.0 is made into this
    retell(c)
    older = eventually('a document made of the other', lambda: (u := c.json('/openapi/v3')['paths'].get('apis/wardle.example.com/v1alpha1')) and u['serverRelativeURL'])
    status, headers, body = c.ask(older)
    made = json.loads(body)
    assert status == 200 and older != path and made['openapi'] == '3.0.0' and 'immutable' in headers['Cache-Control'], (headers, body[:200])
    assert c.ask(older, If_None_Match=headers['ETag'])[0] == 304 and c.ask(older.split('=')[0] + '=0')[0] == 301
    assert made['components']['schemas']['com.example.wardle.v1alpha1.Flunder']['properties']['spec']['$ref'] == '#/components/schemas/com.example.wardle.v1alpha1.FlunderSpec'
    assert 'How large it is.' in c.kubectl('explain', 'flunder.spec.size')
    c.wardle.open_api_three = True
    retell(c)


def in_one_document_with_the_others(c):
    def look():
        status, headers, body = c.ask('/openapi/v2')
        return status == 200 and b'"com.example.wardle.v1alpha1.Flunder"' in body and (headers['ETag'], json.loads(body))
    tag, doc = eventually('its definitions', look)
    meta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'
    assert BASE + '/namespaces/{namespace}/flunders/{name}' in doc['paths'] and '/apis/elsewhere.example.com/v1/things' not in doc['paths']
    assert '/api/v1/pods' in doc['paths'] and 'com.example.wardle.Unused' not in doc['definitions'] and 'pretty-wardle' in doc['parameters']
    assert doc['definitions'][meta + '_v2']['description'] == 'Metadata as wardle has it.' and 'ownerReferences' in doc['definitions'][meta]['properties']
    assert doc['definitions']['com.example.wardle.v1alpha1.Flunder']['properties']['metadata']['$ref'] == '#/definitions/' + meta + '_v2'
    assert c.ask('/openapi/v2', If_None_Match=tag)[0] == 304
    status, headers, body = c.ask('/openapi/v2', Accept='application/com.github.proto-openapi.spec.v2@v1.0+protobuf')
    assert status == 200 and b'com.example.wardle.v1alpha1.Flunder' in body and headers['Content-Type'].startswith('application/com.github.proto'), headers
    c.wardle.validates = False       # kubectl then holds an object against this document itself
    retell(c)
    eventually('the new document', lambda: c.ask('/openapi/v2')[1]['ETag'] != tag)
    said = fails(c, 'create', '-f', '-', input=flunder('bad', colour='red'))
    assert 'unknown field "colour" in com.example.wardle.v1alpha1.FlunderSpec' in said, said
    c.kubectl('create', '-f', '-', input=flunder('good', size=1))
    c.kubectl('delete', 'flunder', 'good')
    c.wardle.validates = True
    retell(c)


def retell(c, **more):
    """The APIService is made anew, so that its server is asked at once what it serves."""
    c.kubectl('delete', 'apiservice', 'v1alpha1.wardle.example.com')
    assert not discovered(c)
    c.kubectl('create', '-f', '-', input=apiservice(c, **more))
    available(c)
    fresh(c)


def groups_stand_in_order_of_priority(c):
    c.wardle.aggregates = False      # from here on it tells version by version what it serves, as older servers do
    c.kubectl('create', '-f', '-', input=apiservice(c, 'v1beta1', 'metrics.k8s.io', groupPriorityMinimum=100, versionPriority=100))
    c.kubectl('create', '-f', '-', input=apiservice(c, 'v2', groupPriorityMinimum=17790, versionPriority=5))
    available(c, 'v1beta1.metrics.k8s.io')
    groups = [g['name'] for g in c.json('/apis')['groups']]
    assert groups[:4] == ['apiregistration.k8s.io', 'apps', 'wardle.example.com', 'events.k8s.io'] and groups[-1] == 'metrics.k8s.io', groups
    assert [g['metadata']['name'] for g in c.json('/apis', Accept=AGGREGATED)['items']] == groups
    one = c.json('/apis/wardle.example.com')
    assert [v['version'] for v in one['versions']] == ['v1alpha1', 'v2'] and one['preferredVersion']['version'] == 'v1alpha1' and one['kind'] == 'APIGroup', one
    assert [v['version'] for v in discovered(c)['versions']] == ['v1alpha1', 'v2']
    assert not discovered(c)['versions'][1].get('resources')
    tag = c.ask('/apis', Accept=AGGREGATED)[1]['ETag']
    assert c.ask('/apis', Accept=AGGREGATED, If_None_Match=tag)[0] == 304
    c.kubectl('delete', 'apiservice', 'v2.wardle.example.com')
    assert c.ask('/apis', Accept=AGGREGATED, If_None_Match=tag)[0] == 200
    assert 'events.k8s.io' == [g['name'] for g in c.json('/apis')['groups']][2]


def metrics_of_nodes(c):
    """metrics.k8s.io, from a server that knows no aggregated discovery: kubectl top."""
    group = fresh(c, group='metrics.k8s.io')
    c.wardle.aggregates = True
    assert group['versions'][0]['resources'][0]['resource'] == 'nodes', group
    node = c.get('nodes')['items'][0]['metadata']['name']
    # until it is asked, the API server's own figures are told
    eventually('kubectl top', lambda: (lambda said: said[:2] == [node, '250m'] and said[3] == '512Mi')(c.kubectl('top', 'nodes', '--no-headers').split()))
    c.kubectl('delete', 'apiservice', 'v1beta1.metrics.k8s.io')
    own = lambda: c.json('/apis/metrics.k8s.io/v1beta1/nodes')     # what the API server measures itself is served again
    eventually('ours is back', lambda: own()['kind'] == 'NodeMetricsList' and '250m' not in json.dumps(own()))
    assert [r['name'] for r in c.json('/apis/metrics.k8s.io/v1beta1')['resources']] == ['nodes', 'pods']


RIGHTS = '''
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads-flunders}
rules: [{apiGroups: [wardle.example.com], resources: [flunders], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads-flunders}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-flunders}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
'''


def rights_hold(c):
    before = len(c.wardle.asked)
    said = fails(c, 'get', 'flunders', '--as', 'ann')
    assert 'flunders.wardle.example.com is forbidden: User "ann" cannot list resource "flunders" in API group "wardle.example.com" in the namespace "default"' in said, said
    assert not [u for m, p, u, a in c.wardle.asked[before:] if u['username'] == 'ann'], 'it was asked all the same'
    c.apply(RIGHTS)
    c.kubectl('create', '-f', '-', input=flunder('three'))
    eventually('ann may', lambda: 'three' in c.kubectl('get', 'flunders', '--as', 'ann', '--as-group', 'friends', '--as-user-extra', 'a/B=c d', '-o', 'name'))
    user = [u for m, p, u, a in c.wardle.asked if u['username'] == 'ann'][-1]
    assert set(user['groups']) == {'friends', 'system:authenticated'} and user['extra'] == {'a/b': ['c d']}, user
    assert 'forbidden' in fails(c, 'delete', 'flunder', 'three', '--as', 'ann')
    # what a client claims of itself is not passed on
    status, _, _ = c.ask(BASE + '/flunders', X_Remote_User='mallory', X_Remote_Group='system:masters', X_Remote_Extra_Scopes='all')
    assert status == 200
    user = c.wardle.asked[-1][2]
    assert user['username'] != 'mallory' and 'scopes' not in user['extra'], user
    # and the server itself knows who comes without the proxy
    token = c.kubectl('create', 'token', 'wardle', '-n', 'wardle').strip()
    for given, want in (({'Authorization': 'Bearer ' + token}, 403), ({'Authorization': 'Bearer nonsense'}, 401), ({'X-Remote-User': 'admin', 'X-Remote-Group': 'system:masters'}, 403)):
        h = http.client.HTTPSConnection(ADDRESS, 8443, context=aggregated.ssl._create_unverified_context())
        h.request('GET', BASE + '/flunders', headers=given)
        assert h.getresponse().status == want, given
        h.close()
    c.kubectl('delete', 'flunder', 'three')


def upgrades_go_through(c):
    c.kubectl('create', '-f', '-', input=flunder('talks'))
    s = c.tls.wrap_socket(socket.create_connection(('127.0.0.1', c.port), 10), server_hostname='127.0.0.1')
    s.sendall((f'GET {BASE}/namespaces/default/flunders/talks/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
               'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n').encode())
    have = b''
    while b'\r\n\r\n' not in have:
        have += s.recv(1000)
    head, _, have = have.partition(b'\r\n\r\n')
    assert head.startswith(b'HTTP/1.1 101') and b'sec-websocket-accept' in head.lower(), head
    s.sendall(b'\x81\x85\0\0\0\0hello' + b'\x88\x80\0\0\0\0')
    while len(have) < 9:
        more = s.recv(1000)
        assert more, have
        have += more
    assert have == b'\x81\x05hello\x88\x00', have
    s.close()
    c.kubectl('delete', 'flunder', 'talks')


def faults_are_told_and_hurt_nobody_else(c):
    def others():
        begin = time.monotonic()
        assert c.json('/api/v1/namespaces/default')['kind'] == 'Namespace'
        assert c.ask('/openapi/v2')[0] == 200 and c.ask('/apis', Accept=AGGREGATED)[0] == 200
        return time.monotonic() - begin
    c.wardle.fault = {BASE: 'garbage'}
    status, _, body = c.ask(BASE + '/flunders')
    assert status == 200 and b'this is no JSON' in body     # the server's own words are passed on
    c.wardle.fault = {BASE: '500'}
    status, _, body = c.ask(BASE + '/flunders')
    assert (status, body) == (500, b'wardle is ill'), (status, body)
    c.wardle.fault = {BASE: 'huge'}
    status, _, body = c.ask(BASE + '/flunders')
    assert status == 200 and len(body) == 64 << 20
    c.wardle.fault = {BASE: 'dies'}
    try:
        status, _, body = c.ask(BASE + '/flunders')
        raise AssertionError((status, body))
    except (http.client.IncompleteRead, ConnectionError, http.client.RemoteDisconnected):
        pass
    c.wardle.fault = {BASE: 'cut'}
    status, _, body = c.ask(BASE + '/flunders')
    assert status == 503 and b'error trying to reach service' in body, (status, body)
    c.wardle.fault = {BASE: 2}
    slow = threading.Thread(target=c.ask, args=(BASE + '/flunders',))
    slow.start()
    assert others() < 1.5 * lib.slowness()
    slow.join()
    c.wardle.fault = {}
    assert c.ask(BASE + '/flunders')[0] == 200


def what_it_says_of_itself_may_be_mad(c):
    """Its discovery and documents are garbage, endless, slow, cut: what was known last stays, and others notice nothing."""
    known = c.json('/openapi/v2')
    assert 'com.example.wardle.v1alpha1.Flunder' in known['definitions']
    for fault in ('garbage', 'huge', 'dies', 'cut', '500', 7):
        c.wardle.fault = {'/openapi/': fault, '/apis': fault}
        c.wardle.asked.clear()
        c.kubectl('patch', 'apiservice', 'v1alpha1.wardle.example.com', '--type', 'merge', '-p', json.dumps({'spec': {'versionPriority': 20 + len(str(fault))}}))
        begin = time.monotonic()
        assert c.ask('/openapi/v2')[0] == 200 and c.ask('/openapi/v3')[0] == 200 and c.ask('/api')[0] == 200
        assert time.monotonic() - begin < 3 * lib.slowness(), fault
        assert 'deployments' in c.kubectl('api-resources', '--api-group=apps')
    c.wardle.fault = {}


def again(c):
    """A change of the APIService lets it be looked at without waiting for the next round."""
    c.kubectl('annotate', '--overwrite', 'apiservice', 'v1alpha1.wardle.example.com', 'seen=%f' % time.time())


def down_and_up_again(c):
    retell(c)
    doc = eventually('its definitions', lambda: (d := c.json('/openapi/v2')) and 'com.example.wardle.v1alpha1.Flunder' in d['definitions'] and d)
    c.wardle.stop()
    again(c)
    found = available(c, want='False')
    assert found['reason'] in ('FailedDiscoveryCheck', 'MissingEndpoints'), found
    group = fresh(c, 'Stale')
    assert group['versions'][0]['resources'][0]['resource'] == 'flunders', 'what was known last: %s' % group
    status, _, body = c.ask(BASE + '/flunders')
    assert status == 503, (status, body)
    said = fails(c, 'get', '--raw', BASE + '/flunders')
    assert 'the server is currently unable to handle the request' in said, said
    assert 'wardle.example.com' in [g['name'] for g in c.json('/apis')['groups']]
    assert 'com.example.wardle.v1alpha1.Flunder' in c.json('/openapi/v2')['definitions'], 'the last good one is kept'
    assert 'deployments' in c.kubectl('api-resources', '--api-group=apps')
    for what in ('apiservice/v1alpha1.wardle.example.com', 'flunder/any'):
        p = subprocess.run([lib.WHERRY, 'why', what], env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == 1 and 'nothing listens where its Service wardle/api leads' in p.stdout, (what, p.stdout)
    c.wardle.start()
    again(c)
    available(c)
    fresh(c)
    c.kubectl('get', 'flunders')


def our_server_is_killed(c):
    """What others serve is known again at once, and what was under way is not waited for."""
    c.kubectl('create', '-f', '-', input=flunder('kept'))
    os.kill(c.role_pid('server'), signal.SIGKILL)
    fresh(c)
    eventually('its definitions', lambda: 'com.example.wardle.v1alpha1.Flunder' in c.json('/openapi/v2')['definitions'])
    eventually('its document', lambda: 'apis/wardle.example.com/v1alpha1' in c.json('/openapi/v3')['paths'])
    assert c.kubectl('get', 'flunders', '-o', 'name') == 'flunder.wardle.example.com/kept\n'
    c.kubectl('delete', 'flunder', 'kept')


POD = '''
apiVersion: v1
kind: Service
metadata: {name: inside, namespace: wardle}
spec: {selector: {app: wardle}, ports: [{port: 8443, targetPort: 8443}]}
---
apiVersion: v1
kind: Pod
metadata: {name: wardle, namespace: wardle, labels: {app: wardle}}
spec:
  serviceAccountName: wardle
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: %s
    command: [/usr/bin/python3, /wardle/aggregated.py, /wardle/inside.crt, /wardle/inside.key, 0.0.0.0, "8443"]
    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
    volumeMounts: [{name: usr, mountPath: /usr}, {name: lib, mountPath: /lib}, {name: lib64, mountPath: /lib64}, {name: wardle, mountPath: /wardle}]
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /lib}}
  - {name: lib64, hostPath: {path: /lib64}}
  - {name: wardle, hostPath: {path: %s}}
'''


def in_a_pod(c):
    """With nothing but its service account, at another port of a Service with endpoints of pods."""
    folder = c.root + '/wardle'
    c.authority.sign('inside', ['DNS:inside.wardle.svc'])
    shutil.copy(os.path.join(lib.TOP, 'tests/e2e/aggregated.py'), folder)
    os.chmod(folder + '/inside.key', 0o644)
    c.kubectl('apply', '-f', '-', input=POD % (lib.IMAGE, folder))
    c.kubectl('wait', '-n', 'wardle', '--for=condition=Ready', 'pod/wardle', '--timeout=60s')
    retell(c, service={'namespace': 'wardle', 'name': 'inside', 'port': 8443})
    before = len(c.wardle.asked)
    c.kubectl('apply', '-f', '-', input=flunder('inside', size=7))
    assert c.get('flunder', 'inside')['spec'] == {'size': 7} and not c.wardle.objects
    assert len(c.wardle.asked) == before, 'the other one was asked'
    c.kubectl('delete', 'pod', '-n', 'wardle', 'wardle')
    found = available(c, want='False')
    assert found['reason'] in ('MissingEndpoints', 'FailedDiscoveryCheck'), found
    retell(c)


def gone_for_good(c):
    c.kubectl('delete', 'apiservice', 'v1alpha1.wardle.example.com')
    assert not discovered(c) and c.ask(BASE + '/flunders')[0] == 404 and c.ask('/apis/wardle.example.com')[0] == 404
    assert 'apis/wardle.example.com/v1alpha1' not in c.json('/openapi/v3')['paths']
    assert 'com.example.wardle.v1alpha1.Flunder' not in c.json('/openapi/v2')['definitions']
    c.kubectl('api-resources')       # kubectl looks anew
    said = fails(c, 'get', 'flunders')
    assert "the server doesn't have a resource type" in said, said


if __name__ == '__main__':
    main([its_objects_are_there_like_others, explained_and_validated, in_one_document_with_the_others, groups_stand_in_order_of_priority, metrics_of_nodes,
          rights_hold, upgrades_go_through, faults_are_told_and_hurt_nobody_else, what_it_says_of_itself_may_be_mad, down_and_up_again, our_server_is_killed, in_a_pod, gone_for_good], port=16793, cluster=Aggregating)
