#!/usr/bin/env python3
"""Random requests of people with few rights: paths, queries and bodies put together from what means something here and there. Whatever the answer is, nobody
sees what is marked as not theirs, and nothing changes outside of what is. A server alone; people are impersonated."""
import random
from lib import *
from raw import *
from rights_test import Server, ask, made, give, RBAC, MERGE, ALL

THEIRS, OPEN = 'only-for-others', 'for-nodes-and-watchers'     # marks; OPEN is on what a node reads of everybody
API = {'api/v1': 'pods secrets configmaps services serviceaccounts namespaces nodes events endpoints persistentvolumes persistentvolumeclaims limitranges resourcequotas podtemplates replicationcontrollers bindings componentstatuses',
       'apis/apps/v1': 'deployments replicasets daemonsets statefulsets controllerrevisions', 'apis/rbac.authorization.k8s.io/v1': 'roles rolebindings clusterroles clusterrolebindings', 'apis/coordination.k8s.io/v1': 'leases',
       'apis/certificates.k8s.io/v1': 'certificatesigningrequests', 'apis/authentication.k8s.io/v1': 'tokenreviews selfsubjectreviews', 'apis/authorization.k8s.io/v1': 'subjectaccessreviews localsubjectaccessreviews selfsubjectaccessreviews',
       'apis/discovery.k8s.io/v1': 'endpointslices', 'apis/events.k8s.io/v1': 'events', 'apis/policy/v1': 'poddisruptionbudgets', 'apis/batch/v1': 'jobs cronjobs', 'apis/networking.k8s.io/v1': 'ingresses ingressclasses networkpolicies',
       'apis/storage.k8s.io/v1': 'storageclasses csinodes csidrivers', 'apis/scheduling.k8s.io/v1': 'priorityclasses', 'apis/autoscaling/v2': 'horizontalpodautoscalers', 'apis/node.k8s.io/v1': 'runtimeclasses'}
API = {group: names.split() for group, names in API.items()}
GROUPS = ['api/v1'] * 16 + list(API)
SUBS = 'status scale log exec attach portforward proxy proxy/x eviction binding token finalize approval ephemeralcontainers'.split()
WIDE = 'namespaces nodes persistentvolumes clusterroles clusterrolebindings certificatesigningrequests tokenreviews selfsubjectreviews subjectaccessreviews selfsubjectaccessreviews ingressclasses storageclasses csinodes csidrivers priorityclasses runtimeclasses componentstatuses'.split()
OF_KIND = {'pods': SUBS, 'serviceaccounts': ['token'], 'namespaces': ['status', 'finalize'], 'nodes': ['proxy', 'status'], 'services': ['proxy/x', 'status'], 'deployments': ['scale', 'status'], 'replicasets': ['scale']}
NS, NAMES = ['own'] * 7 + ['others', 'others', 'kube-system', 'default'], ['mine', 'mine', 'theirs', 'n1', 'n2', 'own', 'others', 'default', 'kubernetes', 'cluster-admin', 'view']
ODD = ['', '.', '..', '%2e%2e', '%2f', 'watch', 'namespaces', 'own%2fsecrets', 'own/../others', 'OWN', 'own%20', 'own;', '*', 'api', 'v1', 'status', 'finalize', 'proxy', '%6fwn', 'own%2e']
USERS = {'owner': 'authenticated', 'editor': 'authenticated', 'administrator': 'authenticated', 'named': 'authenticated', 'updater': 'authenticated', 'watcher': 'authenticated', 'plain': 'authenticated', 'system:anonymous': 'unauthenticated', 'system:node:n1': 'nodes authenticated', 'nameless': 'nodes authenticated'}


def a_query(r):
    page = base64.urlsafe_b64encode(json.dumps({'v': 'meta.k8s.io/v1', 'rv': r.choice([-1, 1, 150]), 'start': r.choice(['others/theirs', 'own/mine', 'theirs', 'kube-system/', '../others/'])}).encode()).decode()
    return r.choice(['watch=1', 'watch=0', 'watch=true', 'watch', '%77atch=1', 'limit=1', 'resourceVersion=0', 'resourceVersion=1', 'resourceVersionMatch=Exact', 'resourceVersionMatch=NotOlderThan', 'dryRun=All', 'fieldSelector=metadata.name%3D' + r.choice(NAMES),
                     'fieldSelector=metadata.namespace%3D' + r.choice(NS), 'fieldSelector=spec.nodeName%3Dn' + r.choice('12'), 'fieldSelector=metadata.name!%3D' + r.choice(NAMES), 'fieldSelector=', 'labelSelector=a%3Db', 'labelSelector=', 'sendInitialEvents=true', 'continue=' + page,
                     'container=c', 'command=id', 'stdout=1', 'propagationPolicy=Foreground', 'gracePeriodSeconds=0', 'includeObject=Object', 'namespace=others', 'pretty=1', 'a=%zz'])


def a_path(r, method):
    """A path with its query, the kind that it is about, and the name that it names."""
    group = r.choice(GROUPS)
    kind, name = r.choice(API[group]), r.choice(NAMES)
    p = group.split('/') + (['watch'] if r.random() < .12 else []) + (['namespaces', r.choice(NS)] if r.random() < (.2 if kind in WIDE else .9) else []) + [kind]
    if r.random() < (.2 if method == 'POST' else .7):
        p.append(name + (r.choice(['', '', '', ':80', ':']) if kind in ('pods', 'services', 'nodes') else ''))
    if r.random() < .15:
        p += r.choice(OF_KIND.get(kind, SUBS)).split('/')
    while r.random() < .12:
        p.insert(r.randrange(len(p) + 1), r.choice(ODD + NS + NAMES + API['api/v1']))
    if r.random() < .08:
        del p[r.randrange(len(p))]
    query = []
    while r.random() < .25:
        query.append(a_query(r))
    return '/' + '/'.join(p) + '?' + '&'.join(query + ['timeoutSeconds=1']), kind, name


POD = {'spec': {'nodeName': 'n2', 'containers': [{'name': 'c', 'image': 'i'}]}}
TEMPLATE = {'metadata': {'labels': {'a': 'b'}}, 'spec': POD['spec']}
BODIES = {'pods': POD, 'services': {'spec': {'ports': [{'port': 80}]}}, 'deployments': {'spec': {'replicas': 0, 'selector': {'matchLabels': {'a': 'b'}}, 'template': TEMPLATE}}, 'replicasets': {'spec': {'replicas': 0, 'selector': {'matchLabels': {'a': 'b'}}, 'template': TEMPLATE}},
          'jobs': {'spec': {'template': {'spec': dict(POD['spec'], restartPolicy='Never')}}}, 'clusterroles': {'rules': ALL}, 'roles': {'rules': ALL[:1]}, 'storageclasses': {'provisioner': 'p'}, 'priorityclasses': {'value': 1}, 'runtimeclasses': {'handler': 'h'},
          'rolebindings': {'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'cluster-admin'}, 'subjects': [{'kind': 'User', 'name': 'guest', 'apiGroup': 'rbac.authorization.k8s.io'}]},
          'poddisruptionbudgets': {'spec': {'minAvailable': 0}}, 'persistentvolumes': {'spec': {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/'}}}, 'endpointslices': {'addressType': 'IPv4', 'endpoints': []}}
BODIES['clusterrolebindings'] = BODIES['rolebindings']


def a_body(r, kind, name):
    if r.random() < .6:
        return dict({'metadata': {'name': name, 'annotations': {'seen': str(r.random())}}}, **BODIES.get(kind, {}))
    some = lambda chance, **values: values if r.random() < chance else {}
    meta = dict(some(.8, name=r.choice(NAMES)), **some(.15, generateName='g-'), **some(.3, namespace=r.choice(NS)), **some(.1, deletionTimestamp='2001-01-01T00:00:00Z'), **some(.1, uid='x'),
                **some(.2, labels={r.choice(['a', 'rbac.authorization.k8s.io/aggregate-to-edit', 'kubernetes.io/service-name']): r.choice(['b', 'true'])}),
                **some(.15, ownerReferences=[{'apiVersion': 'v1', 'kind': r.choice(['Namespace', 'ConfigMap', 'Node']), 'name': r.choice(NAMES), 'uid': 'x'}]))
    group = 'rbac.authorization.k8s.io'
    spec = r.choice([{}, {'finalizers': []}, {'nodeName': 'n1', 'containers': [{'name': 'c', 'image': 'i'}]}, {'containers': [{'name': 'c', 'image': 'i'}]}, {'replicas': 3}, {'holderIdentity': 'x'}, {'taints': []}, {'ports': [{'port': 80}]}, {'token': 'x'},
                     {'user': 'x', 'resourceAttributes': {'verb': 'get', 'resource': 'secrets', 'namespace': 'others'}}, {'audiences': []}])
    return dict({'metadata': meta}, **some(.3, kind=r.choice(['Secret', 'Pod', 'Namespace', 'Binding', 'Eviction', 'Scale', 'TokenRequest', 'ClusterRole', 'DeleteOptions'])), **some(.2, apiVersion=r.choice(['v1', 'apps/v1', 'policy/v1', group + '/v1'])),
                **some(.3, roleRef={'apiGroup': group, 'kind': r.choice(['ClusterRole', 'Role']), 'name': r.choice(['cluster-admin', 'view', 'mine'])}), **some(.3, subjects=[{'kind': r.choice(['User', 'Group']), 'name': r.choice(['owner', 'guest', 'guests']), 'apiGroup': group}]),
                **some(.2, rules=r.choice([ALL, []])), **some(.3, data={'a': 'Yg=='}), **some(.4, spec=spec), **some(.2, status={'phase': 'x', 'podIP': '10.0.0.1'}), **some(.2, target={'name': 'n1'}), **some(.1, aggregationRule={'clusterRoleSelectors': [{'matchLabels': {}}]}),
                **some(.2, involvedObject={'namespace': r.choice(NS), 'name': 'x'}))


class Line:
    """One connection, one request after another."""

    def __init__(self, c):
        self.c, self.s = c, None

    def ask(self, method, path, headers=(), body=None):
        for last in (False, True):
            try:
                return self.once(method, path, headers, b'' if body is None else json.dumps(body).encode())
            except (OSError, ValueError, IndexError) as e:
                self.s = None
                if last:
                    raise AssertionError('%s %s: %r' % (method, path, e))

    def once(self, method, path, headers, body):
        if not self.s:
            self.s = self.c.raw.open(60)
            self.f = self.s.makefile('rb')
        self.s.sendall(('%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n' % (method, path, len(body), ''.join('%s: %s\r\n' % h for h in headers))).encode() + body)
        status, told, text = int(self.f.readline().split()[1]), {}, b''
        while (line := self.f.readline().strip().lower()):
            told[line.split(b':')[0]] = line.split(b':', 1)[1].strip()
        if b'transfer-encoding' in told and method != 'HEAD':
            while (n := int(self.f.readline(), 16)):
                text += self.f.read(n)
                self.f.readline()
            self.f.readline()
        elif method != 'HEAD' and status not in (204, 304):
            text = self.f.read(int(told.get(b'content-length', b'0')))
        if told.get(b'connection') == b'close' or status == 101:
            self.s = None
        return status, text.decode('utf-8', 'replace')

    def all(self):
        """Every object: (kind, namespace, name) -> its uid and revision."""
        found = {}
        for group, kinds in API.items():
            for kind in kinds:
                status, text = self.ask('GET', '/%s/%s' % (group, kind))
                for o in json.loads(text)['items'] if status == 200 and kind != 'events' else ():
                    m = o['metadata']
                    found[kind, m.get('namespace', ''), m['name']] = m.get('uid'), m.get('resourceVersion')
        return found


def furnish(c):
    """What there is, marked; also what `owner` has taken away since."""
    put = lambda where, body: ask(c, '', 'POST', where, body)
    for ns in ('own', 'others'):
        if '"Terminating"' in ask(c, '', 'GET', '/api/v1/namespaces/' + ns)[2]:     # of its pods nobody on n2 says that they have ended
            ask(c, '', 'DELETE', '/api/v1/namespaces/%s/pods?gracePeriodSeconds=0' % ns)
        eventually('it does not go', lambda: '"Terminating"' not in ask(c, '', 'GET', '/api/v1/namespaces/' + ns)[2], 120)
        put('/api/v1/namespaces', {'metadata': {'name': ns, 'annotations': {'x': OPEN if ns == 'others' else 'x'}}})
        eventually('it has its account', lambda: ask(c, '', 'GET', '/api/v1/namespaces/%s/serviceaccounts/default' % ns)[0] == 200, 60)
        for name in ('mine', 'theirs'):
            of = lambda mark, **body: dict({'metadata': {'name': name, 'annotations': {'x': mark if ns == 'others' else 'own-' + name}}}, **body)
            for kind, mark, more in (('secrets', THEIRS, {'stringData': {'x': 'y'}}), ('configmaps', THEIRS, {}), ('serviceaccounts', THEIRS, {}), ('services', OPEN, {'spec': {'ports': [{'port': 80}]}}), ('endpoints', OPEN, {}),
                                     ('pods', THEIRS, {'spec': {'nodeName': 'n2', 'containers': [{'name': 'c', 'image': 'i'}]}}), ('events', THEIRS, {'involvedObject': {'namespace': ns}})):
                put('/api/v1/namespaces/%s/%s' % (ns, kind), of(mark, **more))
            template = {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}
            put('/apis/apps/v1/namespaces/%s/deployments' % ns, of(THEIRS, spec={'replicas': 0, 'selector': {'matchLabels': {'a': 'b'}}, 'template': template}))
            put('/apis/coordination.k8s.io/v1/namespaces/%s/leases' % ns, of(OPEN))
            put(RBAC + '/namespaces/%s/roles' % ns, of(THEIRS))
    bind = lambda who, kind, role: put(RBAC + '/namespaces/own/rolebindings', {'metadata': {'name': who}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': kind, 'name': role}, 'subjects': [{'kind': 'User', 'name': who, 'apiGroup': 'rbac.authorization.k8s.io'}]})
    for who, role in (('owner', 'cluster-admin'), ('editor', 'edit'), ('administrator', 'admin')):
        bind(who, 'ClusterRole', role)
    for who, rule in (('named', {'verbs': ['*'], 'apiGroups': ['*'], 'resources': ['*'], 'resourceNames': ['mine']}), ('updater', {'verbs': ['get', 'update', 'patch'], 'apiGroups': ['*'], 'resources': ['*']})):
        put(RBAC + '/namespaces/own/roles', {'metadata': {'name': who}, 'rules': [rule]})
        bind(who, 'Role', who)


def seen_wrongly(who, path, text):
    if who == 'watcher':
        return False
    if who == 'system:node:n1':                         # a node writes Events about anything, as upstream, and is answered with what it wrote
        return THEIRS in text and not re.search(r'/events(/|\?|$)', path)
    return THEIRS in text or OPEN in text or ('own-theirs' in text and who == 'named') or ('"own-' in text and who in ('plain', 'system:anonymous', 'nameless'))


def changed_rightly(who, key, before, after):
    kind, ns, name = key
    followed = ('endpoints', 'endpointslices', 'replicasets', 'deployments', 'configmaps', 'pods', 'serviceaccounts')     # by controllers
    if kind in ('pods', 'nodes') and before and after and before[0] == after[0]:
        return True     # the controller of nodes that say nothing
    return {'owner': ns == 'own' or key == ('namespaces', '', 'own'), 'editor': ns == 'own' and 'role' not in kind, 'administrator': ns == 'own', 'named': ns == 'own' and (name == 'mine' or kind in followed), 'updater': key == ('namespaces', '', 'own') or (ns == 'own' and (bool(before and after) or kind in followed)),
            'system:node:n1': key in (('nodes', '', 'n1'), ('leases', 'kube-node-lease', 'n1')) or kind in ('certificatesigningrequests', 'csinodes')}.get(who, False)


def nobody_gets_further_by_any_request(c):
    r, line = random.Random(seed()), Line(c)
    for name in ('n1', 'n2'):
        made(c, '/api/v1/nodes', {'metadata': {'name': name, 'annotations': {'x': THEIRS if name == 'n2' else 'x'}}})
    made(c, '/api/v1/persistentvolumes', {'metadata': {'name': 'mine', 'annotations': {'x': OPEN}}, 'spec': {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/'}}})
    made(c, RBAC + '/clusterroles', {'metadata': {'name': 'mine', 'annotations': {'x': THEIRS}}})
    give(c, 'watcher', [{'verbs': ['get', 'list', 'watch'], 'apiGroups': ['*'], 'resources': ['*']}])
    furnish(c)
    requests = successes = 0
    for _ in range(size(16, 400)):
        who, before, did = r.choice(list(USERS) + ['owner', 'named', 'updater']), line.all(), []
        for _ in range(100):
            method, body = r.choice(['GET'] * 6 + ['POST', 'PUT', 'PATCH'] * 3 + ['DELETE', 'HEAD', 'OPTIONS', 'get']), None
            path, kind, name = a_path(r, method)
            headers = [('Impersonate-User', who)] + [('Impersonate-Group', 'system:' + g) for g in USERS[who].split()]
            if method in ('POST', 'PUT', 'PATCH', 'DELETE') and r.random() < .9:
                body = a_body(r, kind, name)
                headers.append(('Content-Type', 'application/json' if method != 'PATCH' else r.choice([MERGE, 'application/strategic-merge-patch+json'])))
            if r.random() < .1:
                headers.append(('Accept', r.choice(['application/json;as=Table;g=meta.k8s.io;v=v1', 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1', 'application/yaml', 'application/vnd.kubernetes.protobuf'])))
            status, text = line.ask(method, path, headers, body)
            requests, successes = requests + 1, successes + (200 <= status < 300)
            did += [(method, path, body, status)] if 200 <= status < 300 and method not in ('GET', 'HEAD') else []
            assert not seen_wrongly(who, path, text), (who, method, path, headers, body, status, text[:500])
            assert status < 500 or status in (500, 501, 503, 504), (who, method, path, body, status, text[:500])
        after = line.all()
        wrong = [(key, before.get(key), after.get(key)) for key in set(before) | set(after) if before.get(key) != after.get(key) and not changed_rightly(who, key, before.get(key), after.get(key))]
        assert not wrong, (who, wrong, did)
        if who in ('owner', 'named', 'editor', 'administrator'):
            furnish(c)
    print('     %d requests, %d did something or showed something' % (requests, successes))
    assert successes > requests / 200, successes


if __name__ == '__main__':
    main([nobody_gets_further_by_any_request], args=['--roles', 'server'], image=False, port=16484, cluster=Server)
