#!/usr/bin/env python3
"""Who may do what: the ways by which somebody could come to rights that nobody gave them - roles that collect, labels that have a role
collected, bindings, names in paths and selectors, a node's account, a GET that acts. A server alone; people are impersonated."""
import concurrent.futures, hmac
from lib import *
from raw import *

RBAC = '/apis/rbac.authorization.k8s.io/v1'
MERGE = 'application/merge-patch+json'
ALL = [{'verbs': ['*'], 'apiGroups': ['*'], 'resources': ['*']}, {'verbs': ['*'], 'nonResourceURLs': ['*']}]


class Server(Cluster):
    def up(self):
        out = super().up()
        self.raw = Raw(self)
        return out


def ask(c, who, method, path, body=None, kind='application/json', groups=('system:authenticated',), extra=()):
    headers = [('Impersonate-User', who)] + [('Impersonate-Group', g) for g in groups] if who else []
    return c.raw.ask(method, path, body, kind, headers + list(extra))


def made(c, path, body):
    status, _, text = ask(c, '', 'POST', path, body)
    assert status == 201, text
    return json.loads(text)


def give(c, who, rules, ns=None):
    """Rights of their own, in a namespace or everywhere."""
    name = re.sub(r'[^a-z0-9-]', '-', who)
    where, kind = (RBAC + '/namespaces/' + ns, 'Role') if ns else (RBAC, 'ClusterRole')
    made(c, where + ('/roles' if ns else '/clusterroles'), {'metadata': {'name': name}, 'rules': rules})
    made(c, where + ('/rolebindings' if ns else '/clusterrolebindings'),
         {'metadata': {'name': name}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': kind, 'name': name},
          'subjects': [{'kind': 'User', 'name': who, 'apiGroup': 'rbac.authorization.k8s.io'}]})


def table(c, who, rows, groups=('system:authenticated',)):
    wrong = []
    for name, method, path, body, status, words, *kind in rows:
        got, _, text = ask(c, who, method, path, body, *(kind or ['application/json']), groups=groups)
        if got != status or words not in text:
            wrong.append('%s: %s, wanted %s and %r\n     %.400s' % (name, got, status, words, text))
    assert not wrong, '%d of %d:\n%s' % (len(wrong), len(rows), '\n'.join(wrong))


def roles_are_not_handed_out(c):
    """Somebody who may write roles and bindings, and bind nothing."""
    give(c, 'climber', [{'verbs': ['create', 'update', 'patch', 'get'], 'apiGroups': ['rbac.authorization.k8s.io'],
                         'resources': ['clusterroles', 'clusterrolebindings', 'roles', 'rolebindings']}])
    grants, cluster = 'is attempting to grant RBAC permissions not currently held', 'must have cluster-admin privileges to use the aggregationRule'
    roles, bindings = RBAC + '/clusterroles', RBAC + '/clusterrolebindings'
    collect = {'clusterRoleSelectors': [{'matchLabels': {'kubernetes.io/bootstrapping': 'rbac-defaults'}}]}
    mine = [{'verbs': ['get'], 'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['roles']}]
    me = [{'kind': 'User', 'name': 'climber', 'apiGroup': 'rbac.authorization.k8s.io'}]
    ref = lambda name, kind='ClusterRole': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': kind, 'name': name}
    label = {'metadata': {'labels': {'rbac.authorization.k8s.io/aggregate-to-edit': 'true'}}}
    made(c, roles, {'metadata': {'name': 'collector'}, 'aggregationRule': {'clusterRoleSelectors': [{'matchLabels': {'x': 'y'}}]}})
    table(c, 'climber', [
        ('what they have', 'POST', roles, {'metadata': {'name': 'r0'}, 'rules': mine}, 201, ''),
        ('all rights', 'POST', roles, {'metadata': {'name': 'r1'}, 'rules': ALL}, 403, grants),
        ('a role that collects', 'POST', roles, {'metadata': {'name': 'r2'}, 'aggregationRule': collect}, 403, cluster),
        ('a role that comes to collect (PUT)', 'PUT', roles + '/r0', {'metadata': {'name': 'r0'}, 'aggregationRule': collect}, 403, cluster),
        ('a role that comes to collect (patch)', 'PATCH', roles + '/r0', {'aggregationRule': collect}, 403, cluster, MERGE),
        ('one that collects, touched', 'PATCH', roles + '/collector', {'metadata': {'labels': {'a': 'b'}}}, 403, cluster, MERGE),
        ('one that collects, stopped', 'PATCH', roles + '/collector', {'aggregationRule': None}, 403, cluster, MERGE),
        ('a strong role given to editors by a label', 'PATCH', roles + '/cluster-admin', label, 403, grants, MERGE),
        ('the same, by a JSON patch', 'PATCH', roles + '/cluster-admin', [{'op': 'add', 'path': '/metadata/labels/x', 'value': 'y'}], 403, grants, 'application/json-patch+json'),
        ('the same, as a strategic patch', 'PATCH', roles + '/cluster-admin', label, 403, grants, 'application/strategic-merge-patch+json'),
        ('a weak role, labelled', 'PATCH', roles + '/r0', label, 200, '', MERGE),
        ('what the collector of garbage changes', 'PATCH', roles + '/cluster-admin', {'metadata': {'finalizers': ['a/b']}}, 200, '', MERGE),
        ('and changes back', 'PATCH', roles + '/cluster-admin', {'metadata': {'finalizers': None}}, 200, '', MERGE),
        ('more in a role', 'PATCH', roles + '/r0', {'rules': ALL}, 403, grants, MERGE),
        ('a binding of all', 'POST', bindings, {'metadata': {'name': 'b1'}, 'roleRef': ref('cluster-admin'), 'subjects': me}, 403, grants),
        ('a binding of what they have', 'POST', bindings, {'metadata': {'name': 'b2'}, 'roleRef': ref('r0'), 'subjects': me}, 201, ''),
        ('another role in a binding', 'PATCH', bindings + '/b2', {'roleRef': ref('cluster-admin')}, 422, 'cannot change roleRef', MERGE),
        ('themselves among the admins', 'PATCH', bindings + '/cluster-admin', {'subjects': me}, 403, grants, MERGE),
        ('a binding of what is not there', 'POST', bindings, {'metadata': {'name': 'b3'}, 'roleRef': ref('not-there'), 'subjects': me}, 404, 'not found'),
        ('in a namespace', 'POST', RBAC + '/namespaces/default/rolebindings', {'metadata': {'name': 'b4'}, 'roleRef': ref('admin'), 'subjects': me}, 403, grants),
        ('a role there', 'POST', RBAC + '/namespaces/default/roles', {'metadata': {'name': 'r5'}, 'rules': [{'verbs': ['get'], 'apiGroups': [''], 'resources': ['secrets']}]}, 403, grants),
        ('verbs that give rights', 'POST', roles, {'metadata': {'name': 'r6'}, 'rules': [{'verbs': ['escalate', 'bind', 'impersonate'], 'apiGroups': ['*'], 'resources': ['*']}]}, 403, grants),
    ])
    give(c, 'named', [{'verbs': ['create'], 'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['clusterroles', 'clusterrolebindings']},
                      {'verbs': ['escalate', 'update'], 'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['clusterroles'], 'resourceNames': ['r0']},
                      {'verbs': ['bind'], 'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['clusterroles'], 'resourceNames': ['view']}])
    table(c, 'named', [
        ('escalate, for another name', 'POST', roles, {'metadata': {'name': 'n1'}, 'rules': ALL}, 403, grants),
        ('escalate, for this name', 'PUT', roles + '/r0', {'metadata': {'name': 'r0'}, 'aggregationRule': collect}, 200, ''),
        ('bind, for another role', 'POST', bindings, {'metadata': {'name': 'n2'}, 'roleRef': ref('edit'), 'subjects': me}, 403, grants),
        ('bind, for this role', 'POST', bindings, {'metadata': {'name': 'n3'}, 'roleRef': ref('view'), 'subjects': me}, 201, ''),
    ])


def a_large_role_is_compared_at_once(c):
    """100 groups, resources and verbs by somebody who has little: refused within moments, and nobody waits meanwhile."""
    give(c, 'weak', [{'verbs': ['create'], 'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['clusterroles']}])
    many = lambda n, what: ['%s%d' % (what, i) for i in range(n)]
    with Neighbour(c.raw) as n:
        for body in ({'verbs': many(120, 'v'), 'apiGroups': many(100, 'g'), 'resources': many(100, 'r')},
                     {'verbs': many(9000, 'v'), 'apiGroups': many(9000, 'g'), 'resources': many(9000, 'r'), 'resourceNames': many(9000, 'n')}):
            status, _, text = ask(c, 'weak', 'POST', RBAC + '/clusterroles', {'metadata': {'name': 'large'}, 'rules': [body]})
            assert status == 403 and len(text) < 200000, (status, text[:300])
    assert n.worst() < 3, n.worst()


def a_name_is_what_is_read(c):
    """Somebody who may read one Secret reads that one, however they ask."""
    for name in ('mine', 'other'):
        made(c, '/api/v1/namespaces/default/secrets', {'metadata': {'name': name}, 'stringData': {'key': 'value-of-' + name}})
    give(c, 'reader', [{'verbs': ['get', 'list', 'watch', 'deletecollection'], 'apiGroups': [''], 'resources': ['secrets'], 'resourceNames': ['mine']}], 'default')
    secrets, old = '/api/v1/namespaces/default/secrets', '/api/v1/watch/namespaces/default/secrets'
    mine, other = '?fieldSelector=metadata.name%3Dmine', '?fieldSelector=metadata.name%3Dother'
    table(c, 'reader', [
        ('get', 'GET', secrets + '/mine', None, 200, 'mine'), ('get of another', 'GET', secrets + '/other', None, 403, 'forbidden'),
        ('list', 'GET', secrets, None, 403, 'forbidden'), ('list of one', 'GET', secrets + mine, None, 200, 'mine'), ('list of another', 'GET', secrets + other, None, 403, 'forbidden'),
        ('list of all but another', 'GET', secrets + '?fieldSelector=metadata.name!%3Dother', None, 403, 'forbidden'),
        ('two names', 'GET', secrets + mine + '%2Cmetadata.name%3Dother', None, 403, 'forbidden'),
        ('a selector twice', 'GET', secrets + mine + '&fieldSelector=', None, 403, 'forbidden'), ('twice, the other way', 'GET', secrets + '?fieldSelector=&' + mine[1:], None, 200, 'mine'),
        ('the old watch', 'GET', old, None, 403, 'forbidden'), ('the old watch of one by a selector', 'GET', old + mine, None, 403, 'forbidden'),
        ('the old watch of one, with the other selected', 'GET', old + '/mine' + other, None, 400, "fieldSelector metadata.name doesn't match requested name"),
        ('with something else selected', 'GET', old + '/mine?fieldSelector=type%3DOpaque', None, 400, "doesn't match requested name"),
        ('all in a collection', 'DELETE', secrets, None, 403, 'forbidden'), ('one in a collection', 'DELETE', secrets + mine, None, 403, 'forbidden')])
    for path in (secrets + mine + '&watch=1&timeoutSeconds=1', old + '/mine?timeoutSeconds=1'):
        status, _, text = ask(c, 'reader', 'GET', path)
        assert status == 200 and '"mine"' in text and 'other' not in text, (path, status, text)


def a_node_writes_its_own(c):
    """The account of a node, with the rights of all nodes."""
    groups = ('system:nodes', 'system:authenticated')
    node = made(c, '/api/v1/nodes', {'metadata': {'name': 'n1'}})
    made(c, '/api/v1/nodes', {'metadata': {'name': 'n2'}})
    pods = '/api/v1/namespaces/default/pods'
    eventually('pods can be made', lambda: ask(c, '', 'GET', '/api/v1/namespaces/default/serviceaccounts/default')[0] == 200)
    for name, on in (('here', 'n1'), ('there', 'n2')):
        made(c, pods, {'metadata': {'name': name, 'labels': {'a': 'b'}}, 'spec': {'nodeName': on, 'containers': [{'name': 'c', 'image': 'i', 'env': [{'name': 'X', 'valueFrom': {'secretKeyRef': {'name': 'of-' + name, 'key': 'k'}}}]}]}})
        made(c, '/api/v1/namespaces/default/secrets', {'metadata': {'name': 'of-' + name}})
    owner = {'apiVersion': 'v1', 'kind': 'Node', 'name': 'n1', 'uid': node['metadata']['uid'], 'controller': True}
    mirror = lambda spec, **meta: {'metadata': dict({'name': 'm', 'annotations': {'kubernetes.io/config.mirror': 'x'}, 'ownerReferences': [owner]}, **meta),
                                   'spec': dict({'nodeName': 'n1', 'containers': [{'name': 'c', 'image': 'i'}]}, **spec)}
    lease, secrets = '/apis/coordination.k8s.io/v1/namespaces/%s/leases', '/api/v1/namespaces/default/secrets/'
    token = lambda ref: {'spec': dict({'audiences': []}, **({'boundObjectRef': dict(kind='Pod', apiVersion='v1', name=ref)} if ref else {}))}
    account, slices = '/api/v1/namespaces/default/serviceaccounts/default/token', '/apis/resource.k8s.io/v1/resourceslices'
    a_slice = lambda node, **meta: {'metadata': dict({'generateName': 's-'}, **meta), 'spec': {'driver': 'x.example', 'nodeName': node, 'pool': {'name': node, 'generation': 1, 'resourceSliceCount': 1}, 'devices': [{'name': 'd'}]}}
    made(c, slices, a_slice('n2', name='theirs'))
    table(c, 'system:node:n1', [
        ('a pod', 'POST', pods, {'metadata': {'name': 'p'}, 'spec': {'nodeName': 'n1', 'containers': [{'name': 'c', 'image': 'i'}]}}, 403, 'can only create mirror pods'),
        ('a mirror pod elsewhere', 'POST', pods, mirror({'nodeName': 'n2'}), 403, 'spec.nodeName set to itself'),
        ('a mirror pod of nobody', 'POST', pods, mirror({}, ownerReferences=[]), 403, 'owner reference set to itself'),
        ('a mirror pod with an account', 'POST', pods, mirror({'serviceAccountName': 'default'}), 403, 'service account'),
        ('a mirror pod with a secret', 'POST', pods, mirror({'containers': [{'name': 'c', 'image': 'i', 'envFrom': [{'secretRef': {'name': 'of-there'}}]}]}), 403, 'reference secrets'),
        ('a mirror pod that pulls', 'POST', pods, mirror({'imagePullSecrets': [{'name': 'of-there'}]}), 403, 'reference secrets'),
        ('its status', 'PATCH', pods + '/here/status', {'status': {'message': 'x'}}, 200, '', MERGE),
        ("another's status", 'PATCH', pods + '/there/status', {'status': {'message': 'x'}}, 403, 'spec.nodeName set to itself', MERGE),
        ('labels by the status', 'PATCH', pods + '/here/status', {'metadata': {'labels': {'a': 'c'}}}, 403, 'cannot update labels', MERGE),
        ("another's pod", 'DELETE', pods + '/there', None, 403, 'spec.nodeName set to itself'),
        ("another's eviction", 'POST', pods + '/there/eviction', {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'there'}}, 403, 'spec.nodeName set to itself'),
        ('another node', 'PATCH', '/api/v1/nodes/n2', {'metadata': {'labels': {'a': 'b'}}}, 403, 'not allowed to modify node', MERGE),
        ("another's status of node", 'PATCH', '/api/v1/nodes/n2/status', {'status': {'phase': 'x'}}, 403, 'not allowed to modify node', MERGE),
        ('another new node', 'POST', '/api/v1/nodes', {'metadata': {'name': 'n3'}}, 403, 'not allowed to modify node'),
        ('itself, away', 'DELETE', '/api/v1/nodes/n1', None, 403, 'cannot delete'),
        ('a label of its own', 'PATCH', '/api/v1/nodes/n1', {'metadata': {'labels': {'a': 'b', 'topology.kubernetes.io/zone': 'z'}}}, 200, '', MERGE),
        ('a label that draws pods', 'PATCH', '/api/v1/nodes/n1', {'metadata': {'labels': {'team.node-restriction.kubernetes.io/x': 'y'}}}, 403, 'not allowed to modify labels', MERGE),
        ('its role', 'PATCH', '/api/v1/nodes/n1', {'metadata': {'labels': {'node-role.kubernetes.io/control-plane': ''}}}, 403, 'not allowed to modify labels', MERGE),
        ('its taints', 'PATCH', '/api/v1/nodes/n1', {'spec': {'taints': [{'key': 'a', 'effect': 'NoSchedule'}]}}, 403, 'not allowed to modify taints', MERGE),
        ('its slice', 'POST', slices, a_slice('n1'), 201, ''), ("another's slice", 'POST', slices, a_slice('n2'), 403, 'with the same NodeName'), ("another's slice, taken", 'PATCH', slices + '/theirs', {'metadata': {'labels': {'a': 'b'}}}, 403, 'with the same NodeName', MERGE), ("another's slice, away", 'DELETE', slices + '/theirs', None, 403, 'with the same NodeName'),
        ('its lease', 'POST', lease % 'kube-node-lease', {'metadata': {'name': 'n1', 'namespace': 'kube-node-lease'}, 'spec': {'holderIdentity': 'n1'}}, 201, ''),
        ("another's lease", 'POST', lease % 'kube-node-lease', {'metadata': {'name': 'n2'}}, 403, 'node lease with the same name'),
        ('a lease elsewhere', 'POST', lease % 'kube-system', {'metadata': {'name': 'n1'}}, 403, 'node lease with the same name'),
        ('a secret of its pod', 'GET', secrets + 'of-here', None, 200, ''), ('a secret of another pod', 'GET', secrets + 'of-there', None, 403, 'forbidden'),
        ('all secrets', 'GET', '/api/v1/secrets', None, 403, 'forbidden'),
        ('itself, read', 'GET', '/api/v1/nodes/n1', None, 200, '"n1"'), ('itself, listed', 'GET', '/api/v1/nodes?fieldSelector=metadata.name%3Dn1', None, 200, '"n1"'), ('another, read', 'GET', '/api/v1/nodes/n2', None, 403, "cannot read 'n2'"), ('all nodes', 'GET', '/api/v1/nodes', None, 403, 'only its own Node'),
        ('another, listed', 'GET', '/api/v1/nodes?fieldSelector=metadata.name%3Dn2', None, 403, "cannot read 'n2'"), ('all but itself', 'GET', '/api/v1/nodes?fieldSelector=metadata.name!%3Dn1', None, 403, 'only its own Node'), ('all, by the old watch', 'GET', '/api/v1/watch/nodes', None, 403, 'only its own Node'),
        ('its pod, read', 'GET', pods + '/here', None, 200, '"here"'), ("another's pod, read", 'GET', pods + '/there', None, 403, 'can only read pods'), ("another's, listed by name", 'GET', pods + '?fieldSelector=metadata.name%3Dthere', None, 403, 'spec.nodeName field selector'),
        ('one that is not there yet, watched', 'GET', pods + '?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dlater', None, 403, 'spec.nodeName field selector'), ('all pods', 'GET', '/api/v1/pods', None, 403, 'spec.nodeName field selector'),
        ('its pods', 'GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn1', None, 200, '"here"'), ("another's pods", 'GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn2', None, 403, 'field selector'), ('two of them', 'GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&fieldSelector=', None, 403, 'field selector'),
        ('the last of two', 'GET', '/api/v1/pods?fieldSelector=&fieldSelector=spec.nodeName%3Dn1', None, 200, '"here"'), ('pods elsewhere', 'GET', '/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1', None, 403, 'field selector'), ('all pods, by the old watch', 'GET', '/api/v1/watch/pods', None, 403, 'field selector'),
        ("another's pod, by the old watch", 'GET', '/api/v1/watch/namespaces/default/pods/there', None, 403, 'spec.nodeName field selector'),
        ('a secret of its pod, all watched', 'GET', '/api/v1/watch/namespaces/default/secrets/of-here?fieldSelector=type%3DOpaque', None, 400, 'requested name'),
        ('a token of its pod', 'POST', account, token('here'), 201, ''), ('a token of another pod', 'POST', account, token('there'), 403, 'not bound to a pod of its own'),
        ('a token for somebody else', 'POST', account, {'spec': dict(token('here')['spec'], audiences=['vault'])}, 403, 'not found in pod spec volume'),
        ('a token for two', 'POST', account, {'spec': dict(token('here')['spec'], audiences=['https://kubernetes.default.svc', 'vault'])}, 403, '0 or 1 audiences'),
        ('a token that is bound to nothing', 'POST', account, token(''), 403, 'not bound to a pod of its own')], groups)
    status, _, text = ask(c, 'system:node:n1', 'GET', '/api/v1/watch/namespaces/default/secrets/of-here?timeoutSeconds=1', groups=groups)
    assert status == 200 and 'of-here' in text and 'of-there' not in text, text


def a_get_that_acts(c):
    """exec, attach, port-forward and proxies over WebSocket begin with GET, and need `create`."""
    subs = [('pods', s) for s in ('exec', 'attach', 'portforward', 'proxy')] + [('services', 'proxy'), ('nodes', 'proxy')]
    give(c, 'looker', [{'verbs': ['get'], 'apiGroups': [''], 'resources': ['%s/%s' % s for s in subs]}])
    give(c, 'doer', [{'verbs': ['get', 'create'], 'apiGroups': [''], 'resources': ['%s/%s' % s for s in subs]}])

    def one(case):
        who, refused, (resource, sub) = case
        name = {'pods': 'namespaces/default/pods/here', 'services': 'namespaces/default/services/kubernetes', 'nodes': 'nodes/n1'}[resource]
        path = '/api/v1/%s/%s' % (name, sub) + ('?command=id&stdout=1' if sub == 'exec' else '?stdout=1' if sub == 'attach' else '/exec/default/here/c?command=id&output=1' if resource == 'nodes' else '')
        status, _, text = parsed(c.raw.exchange(upgrade(path, extra='Impersonate-User: %s\r\n' % who)))
        words = 'cannot create resource \\"%s/%s\\"' % (resource, sub)
        assert (status == 403 and words in text) == refused, (who, resource, sub, status, text)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        list(pool.map(one, [(who, refused, s) for who, refused in (('looker', True), ('doer', False)) for s in subs]))


def nobody_gets_anywhere(c):
    """Without a certificate or token: what is public, and nothing else; and no name makes one of the masters."""
    for path, status in (('/version', 200), ('/healthz', 200), ('/livez', 200), ('/readyz', 200), ('/api', 403), ('/apis', 403), ('/metrics', 403), ('/openapi/v3', 403), ('/wherry.dev/backup', 403),
                         ('/api/v1/secrets', 403), ('/api/v1/nodes/n1/proxy/pods', 403), ('/', 403), ('//api/v1/secrets', 403), ('/api/../api/v1/secrets', 403), ('/version/../api/v1/secrets', 403),
                         ('/version%2f..%2fapi/v1/secrets', 403), ('/%61pi/v1/secrets', 403), ('/healthz/../metrics', 403)):
        for headers in ((), (('Impersonate-User', 'x'), ('Impersonate-Group', 'system:masters')), (('X-Remote-User', 'x'), ('X-Remote-Group', 'system:masters'))):
            got, _, text = c.raw.ask('GET', path, headers=headers, admin=False)
            wanted = (403,) if headers and headers[0][0].startswith('Imp') else (status, 401, 404) if status == 403 else (status,)
            assert got in wanted and '"items"' not in text, (path, headers, got, text[:200])
    give(c, 'mimic', [{'verbs': ['impersonate'], 'apiGroups': [''], 'resources': ['users'], 'resourceNames': ['friend']}])
    for headers, words in (((('Impersonate-User', 'friend'), ('Impersonate-Group', 'system:masters')), 'groups'), ((('Impersonate-User', 'admin'),), 'users'),
                           ((('Impersonate-User', 'system:serviceaccount:kube-system:clusterrole-aggregation-controller'),), 'serviceaccounts'),
                           ((('Impersonate-User', 'friend'), ('Impersonate-Uid', '1')), 'uids'), ((('Impersonate-User', 'friend'), ('Impersonate-Extra-Scopes', 'x')), 'userextras')):
        status, _, text = impersonated_twice(c, headers)
        assert status == 403 and words in text, (headers, status, text)


def a_request_may_be_made_as_another(c):
    """Constrained impersonation: who may make this request as somebody of that sort, and be that one; all else stays forbidden."""
    made(c, '/api/v1/namespaces', {'metadata': {'name': 'lent'}})
    made(c, '/api/v1/namespaces/lent/serviceaccounts', {'metadata': {'name': 'robot'}})
    of = 'authentication.k8s.io'
    rules = lambda *rows: [{'verbs': [verb], 'apiGroups': [group], 'resources': [resource], **({'resourceNames': [name]} if name else {})} for verb, group, resource, name in rows]
    for name, subject, its in (
            ('robot', {'kind': 'ServiceAccount', 'name': 'robot', 'namespace': 'lent'}, rules(
                *(('impersonate-on:%s:list' % mode, '', 'pods', '') for mode in ('user-info', 'serviceaccount', 'arbitrary-node')),
                ('impersonate:user-info', of, 'users', 'jane'), ('impersonate:user-info', of, 'groups', 'team'), ('impersonate:user-info', of, 'groups', 'system:masters'),
                ('impersonate:user-info', of, 'uids', '7'), ('impersonate:user-info', of, 'userextras/example.org/scope', 'x'), ('impersonate:user-info', of, 'userextras/scope', 'x'),
                ('impersonate:serviceaccount', of, 'serviceaccounts', ''), ('impersonate:serviceaccount', '', 'serviceaccounts', 'other'), ('impersonate:arbitrary-node', of, 'nodes', 'n1'))),
            ('lent-readers', {'kind': 'Group', 'name': 'team', 'apiGroup': 'rbac.authorization.k8s.io'}, rules(('list', '', 'pods', ''), ('list', '', 'configmaps', '')))):
        made(c, RBAC + '/clusterroles', {'metadata': {'name': name}, 'rules': its})
        made(c, RBAC + '/clusterrolebindings', {'metadata': {'name': name}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': name}, 'subjects': [subject]})
    token = made(c, '/api/v1/namespaces/lent/serviceaccounts/robot/token', {'spec': {}})['status']['token']
    user, group, extra = 'Impersonate-User', 'Impersonate-Group', 'Impersonate-Extra-'
    jane, team, other = (user, 'jane'), (group, 'team'), (user, 'system:serviceaccount:lent:other')
    on = 'cannot impersonate-on:user-info:list resource'
    for what, headers, status, words in (
            ('pods', (jane, team), 200, 'PodList'), ('pods', (jane,), 403, 'User \\"jane\\" cannot list'), ('configmaps', (jane, team), 403, on),
            ('pods/p', (jane, team), 403, 'cannot impersonate-on:user-info:get'), ('pods', ((user, 'joe'), team), 403, 'cannot impersonate:user-info resource \\"users\\"'),
            ('pods', (jane, team, ('Impersonate-Uid', '7')), 200, 'PodList'), ('pods', (jane, team, ('Impersonate-Uid', '8')), 403, 'cannot impersonate:user-info resource \\"uids\\"'),
            ('pods', (jane, team, (group, 'staff')), 403, 'cannot impersonate:user-info resource \\"groups\\"'),
            ('pods', (jane, (group, 'system:masters')), 403, 'impersonating the system:masters group is not allowed'),
            ('pods', (jane, (group, '')), 403, 'impersonating the empty string group is not allowed'),
            ('pods', (jane, team, (extra + 'Example.org%2fScope', 'x')), 200, 'PodList'), ('pods', (jane, team, (extra + 'Example.org%2fScope', 'y')), 403, 'userextras/example.org/scope'),
            ('pods', (jane, team, (extra + 'Scope', 'x')), 403, 'impersonating an invalid key in extra is not allowed: extra.key: Invalid value: \\"scope\\": must be a domain-prefixed path'),
            ('pods', (other,), 403, 'User \\"system:serviceaccount:lent:other\\" cannot list'), ('pods', (other, team), 403, 'cannot impersonate resource \\"serviceaccounts\\"'),
            ('pods', ((user, 'system:node:n1'),), 403, 'User \\"system:node:n1\\" cannot list'), ('pods', ((user, 'system:node:n2'),), 403, 'cannot impersonate:arbitrary-node resource \\"nodes\\"')):
        got, _, text = c.raw.ask('GET', '/api/v1/namespaces/lent/' + what, headers=(('Authorization', 'Bearer ' + token),) + headers, admin=False)
        assert got == status and words in text, (what, headers, got, text)


def what_is_granted_in_a_namespace_stays_there(c):
    """All rights, bound in one namespace: no path makes them rights on other namespaces, or on what is in none."""
    for ns in ('own', 'others'):
        made(c, '/api/v1/namespaces', {'metadata': {'name': ns}})
    made(c, RBAC + '/namespaces/own/rolebindings', {'metadata': {'name': 'owner'}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'cluster-admin'},
                                                    'subjects': [{'kind': 'User', 'name': 'owner', 'apiGroup': 'rbac.authorization.k8s.io'}]})
    below, no = '/api/v1/namespaces/own/', 'could not find the requested resource'
    table(c, 'owner', [
        ('its own', 'GET', below[:-1], None, 200, '"own"'), ('things in it', 'GET', below + 'secrets', None, 200, 'SecretList'),
        ('all namespaces', 'GET', below + 'namespaces', None, 404, no), ('all of them watched', 'GET', below + 'namespaces?watch=1&timeoutSeconds=1', None, 404, no),
        ('all, by the old watch', 'GET', '/api/v1/watch/namespaces/own/namespaces', None, 404, no), ('one of them', 'GET', below + 'namespaces/others', None, 404, no),
        ('a new one', 'POST', below + 'namespaces', {'metadata': {'name': 'mine'}}, 404, no), ('another, written', 'PATCH', below + 'namespaces/others', {'metadata': {'labels': {'a': 'b'}}}, 404, no, MERGE),
        ('another, replaced', 'PUT', below + 'namespaces/others', {'metadata': {'name': 'others'}}, 404, no), ('another, finished', 'PUT', below + 'namespaces/others/finalize', {'metadata': {'name': 'others'}}, 404, no),
        ("another's status", 'PATCH', below + 'namespaces/others/status', {'status': {}}, 404, no, MERGE), ('another, away', 'DELETE', below + 'namespaces/others', None, 404, no),
        ('itself, from within', 'GET', below + 'namespaces/own', None, 404, no), ('nodes', 'GET', below + 'nodes', None, 404, no), ('a node', 'POST', below + 'nodes', {'metadata': {'name': 'x'}}, 404, no),
        ('roles of all', 'POST', RBAC + '/namespaces/own/clusterroles', {'metadata': {'name': 'x'}}, 404, no), ('bindings of all', 'GET', RBAC + '/namespaces/own/clusterrolebindings', None, 404, no),
        ('a review of all', 'POST', '/apis/authentication.k8s.io/v1/namespaces/own/tokenreviews', {'spec': {'token': 'x'}}, 404, no),
        ('outside', 'GET', '/api/v1/namespaces/others', None, 403, 'forbidden'), ('outside, by a detour', 'GET', below + '../others/secrets', None, 404, ''),
        ('outside, in one segment', 'GET', '/api/v1/namespaces/own%2f..%2fothers/secrets', None, 403, 'forbidden'), ('with a NUL', 'GET', '/api/v1/namespaces/own%00/secrets', None, 400, 'bad escape')])
    assert ask(c, '', 'GET', '/api/v1/namespaces/others')[0] == 200 and ask(c, '', 'GET', '/api/v1/namespaces/mine')[0] == 404


def a_watch_only_watches(c):
    """Who may get, list and watch everything sends nothing through a proxy: the old watch path says `watch` whatever the method is."""
    give(c, 'watcher', [{'verbs': ['get', 'list', 'watch'], 'apiGroups': ['*'], 'resources': ['*']}])
    rows = [(m + ' to ' + at, m, '/api/v1/watch/' + at, {} if m != 'DELETE' else None, 404, 'could not find the requested resource')
            for m in ('POST', 'PUT', 'DELETE', 'GET') for at in ('nodes/n1/proxy/logs/', 'namespaces/default/services/kubernetes/proxy/x', 'namespaces/default/pods/here/proxy/', 'namespaces/default/pods/here/exec')]
    rows += [(m + ' of what can be watched', m, '/api/v1/watch/namespaces/default/pods', {} if m != 'DELETE' else None, 405, '') for m in ('POST', 'PUT', 'DELETE')]
    table(c, 'watcher', rows)


def a_put_that_creates_needs_create(c):
    kinds = [('/api/v1/namespaces/default/services/x', {'spec': {'ports': [{'port': 1}]}}), ('/api/v1/namespaces/default/endpoints/x', {}), ('/api/v1/namespaces/default/limitranges/x', {'spec': {'limits': []}}),
             ('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/x', {}), ('/api/v1/namespaces/default/events/x', {'involvedObject': {'namespace': 'default'}}), (RBAC + '/clusterroles/x', {}), (RBAC + '/namespaces/default/roles/x', {}),
             (RBAC + '/clusterrolebindings/x', {'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'view'}}),
             (RBAC + '/namespaces/default/rolebindings/x', {'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'view'}}), ('/apis/node.k8s.io/v1/runtimeclasses/x', {'handler': 'h'})]
    give(c, 'updater', [{'verbs': ['get', 'update', 'patch', 'bind'], 'apiGroups': ['*'], 'resources': ['*']}])
    give(c, 'maker', [{'verbs': ['update', 'create', 'bind'], 'apiGroups': ['*'], 'resources': ['*']}])
    body = lambda b: dict({'metadata': {'name': 'x'}}, **b)
    table(c, 'updater', [('PUT ' + path, 'PUT', path, body(b), 403, 'cannot create resource') for path, b in kinds])
    table(c, 'maker', [('PUT ' + path, 'PUT', path, body(b), 201, '') for path, b in kinds])
    table(c, 'updater', [('again ' + path, 'PATCH', path, {'metadata': {'labels': {'a': 'b'}}}, 200, '', MERGE) for path, b in kinds if 'events' not in path])


def an_account_has_the_secrets_that_it_lists(c):
    """The annotation kubernetes.io/enforce-mountable-secrets, and every way in which a pod names a Secret."""
    made(c, '/api/v1/namespaces/default/serviceaccounts', {'metadata': {'name': 'few', 'annotations': {'kubernetes.io/enforce-mountable-secrets': 'true'}}, 'secrets': [{'name': 'a'}], 'imagePullSecrets': [{'name': 'p'}]})
    give(c, 'podder', [{'verbs': ['create', 'get', 'update', 'patch'], 'apiGroups': [''], 'resources': ['pods', 'pods/ephemeralcontainers']}], 'default')
    pods, no, strategic = '/api/v1/namespaces/default/pods', 'service account few does not reference that', 'application/strategic-merge-patch+json'
    one = lambda **more: dict({'name': 'c', 'image': 'i'}, **more)
    pod = lambda c=(), **spec: {'metadata': {'generateName': 'few-'}, 'spec': dict({'serviceAccountName': 'few', 'containers': [one(**dict(c))]}, **spec)}
    later = lambda c: {'spec': {'ephemeralContainers': [one(**dict(c, name='e'))]}}
    mirror = lambda **spec: {'metadata': {'name': 'mirror', 'annotations': {'kubernetes.io/config.mirror': 'x'}}, 'spec': dict({'containers': [one()], 'nodeName': 'n9'}, **spec)}
    env = lambda name: {'env': [{'name': 'X', 'valueFrom': {'secretKeyRef': {'name': name, 'key': 'k'}}}]}
    all_of = lambda name: {'envFrom': [{'secretRef': {'name': name}}]}
    volume, part = [{'name': 'v', 'secret': {'secretName': 'b'}}], [{'name': 'v', 'projected': {'sources': [{'secret': {'name': 'b'}}]}}]
    table(c, 'podder', [
        ('listed', 'POST', pods, pod(dict(env('a'), **all_of('a')), volumes=[{'name': 'v', 'secret': {'secretName': 'a'}}]), 201, ''), ('a variable', 'POST', pods, pod(env('b')), 403, no),
        ('all variables', 'POST', pods, pod(all_of('b')), 403, no), ('variables of an init container', 'POST', pods, pod(initContainers=[one(**dict(all_of('b'), name='i'))]), 403, no),
        ('a volume', 'POST', pods, pod(volumes=volume), 403, no), ('a part of a volume', 'POST', pods, pod(volumes=part), 403, no),
        ('for pulling', 'POST', pods, pod(imagePullSecrets=[{'name': 'b'}]), 403, no), ('to stay', 'POST', pods, dict(pod(), metadata={'name': 'few'}), 201, ''),
        ('a container that comes later', 'PATCH', pods + '/few/ephemeralcontainers', later(env('b')), 403, no, strategic), ('all variables of such a one', 'PATCH', pods + '/few/ephemeralcontainers', later(all_of('b')), 403, no, strategic),
        ('one with what is listed', 'PATCH', pods + '/few/ephemeralcontainers', later(all_of('a')), 200, '', strategic)]
        + [('a mirror pod with ' + what, 'POST', pods, mirror(**spec), 403, 'a mirror pod may not')
           for what, spec in (('a variable', {'containers': [one(**env('b'))]}), ('all variables', {'containers': [one(**all_of('b'))]}), ('a pull secret', {'imagePullSecrets': [{'name': 'b'}]}), ('a volume', {'volumes': volume}),
                              ('a part', {'volumes': part}), ('a token', {'volumes': [{'name': 'v', 'projected': {'sources': [{'serviceAccountToken': {'path': 't'}}]}}]}))])


def names_that_are_none(c):
    """Of the group of nodes without a node's name; a certificate that would make one of the masters; all paths, which are not all objects."""
    for who in ('somebody', 'system:node:', 'system:node'):
        table(c, who, [('nodes', 'GET', '/api/v1/nodes', None, 403, 'forbidden'), ('a pod', 'POST', '/api/v1/namespaces/default/pods', {'metadata': {'name': 'x'}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}, 403, 'forbidden'),
                       ("a node's status", 'PATCH', '/api/v1/nodes/n1/status', {'status': {'phase': 'x'}}, 403, 'forbidden', MERGE), ("a pod's status", 'PATCH', '/api/v1/namespaces/default/pods/here/status', {'status': {'podIP': '10.0.0.1'}}, 403, 'forbidden', MERGE),
                       ('a pod, away', 'DELETE', '/api/v1/namespaces/default/pods/here', None, 403, 'forbidden'), ('a lease', 'PUT', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1', {'metadata': {'name': 'n1'}}, 403, 'forbidden'),
                       ('a review', 'POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {'spec': {'user': 'x', 'nonResourceAttributes': {'path': '/', 'verb': 'get'}}}, 403, 'forbidden')], groups=('system:nodes', 'system:authenticated'))
    give(c, 'asker', [{'verbs': ['create', 'get'], 'apiGroups': ['certificates.k8s.io'], 'resources': ['certificatesigningrequests']}])
    csr = lambda signer, *parts: {'metadata': {'generateName': 'x-'}, 'spec': {'signerName': signer, 'usages': ['client auth'], 'request': base64.b64encode(''.join(parts).encode()).decode()}}
    at, client, no = '/apis/certificates.k8s.io/v1/certificatesigningrequests', 'kubernetes.io/kube-apiserver-client', 'system:masters group is not allowed'
    broken = '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n'
    table(c, 'asker', [('one of a team', 'POST', at, csr(client, OF_A_TEAM), 201, ''), ('one of the masters', 'POST', at, csr(client, OF_THE_MASTERS), 403, no), ('behind another', 'POST', at, csr(client, OF_A_TEAM, OF_THE_MASTERS), 403, no),
                       ('behind text', 'POST', at, csr(client, 'hello\n', OF_THE_MASTERS), 403, no), ('behind what is none', 'POST', at, csr(client, broken, OF_THE_MASTERS), 403, 'failed to parse CSR'), ('of another signer', 'POST', at, csr('example.com/x', OF_THE_MASTERS), 201, '')])
    give(c, 'pathfinder', [{'verbs': ['get'], 'nonResourceURLs': ['*']}])
    give(c, 'auditor', [{'verbs': ['get'], 'nonResourceURLs': ['*']}, {'verbs': ['get'], 'apiGroups': ['*'], 'resources': ['*']}])
    table(c, 'pathfinder', [('metrics', 'GET', '/metrics', None, 200, ''), ('a backup', 'GET', '/wherry.dev/backup', None, 403, 'cannot get resource'), ('with a slash', 'GET', '/wherry.dev/backup/', None, 403, 'cannot get resource'),
                            ('with two', 'GET', '//wherry.dev/backup', None, 404, '')])
    assert ask(c, 'auditor', 'GET', '/wherry.dev/backup')[0] == 200


def who_is_approved_gets_a_certificate(c):
    """kubectl certificate approve: who asked is somebody then, for as long as was asked; what no client has is refused by the signer."""
    d = c.root + '/csr'
    run(['openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/O=readers/CN=jane', '-keyout', d + '.key', '-out', d + '.pem'])
    with open(d + '.pem') as f:
        request = base64.b64encode(f.read().encode()).decode()
    for name, usage in (('jane', 'client auth'), ('server', 'server auth')):
        c.apply(json.dumps({'apiVersion': 'certificates.k8s.io/v1', 'kind': 'CertificateSigningRequest', 'metadata': {'name': name},
                            'spec': {'request': request, 'signerName': 'kubernetes.io/kube-apiserver-client', 'expirationSeconds': 3600, 'usages': ['digital signature', usage]}}))
        assert 'nobody has approved it' in c.wherry('why', 'csr', name, check=False)
    asked = c.get('csr', 'jane')['spec']
    assert asked['username'] == 'kubernetes-admin' and all(type(items) is list for items in asked['extra'].values()), asked
    c.kubectl('certificate', 'approve', 'jane', 'server')
    signed = eventually('it is signed', lambda: c.get('csr', 'jane')['status'].get('certificate'))
    with open(d + '.crt', 'wb') as f:
        f.write(base64.b64decode(signed))
    assert 'jane' in c.kubectl('auth', 'whoami', '--client-certificate', d + '.crt', '--client-key', d + '.key', '--kubeconfig', no_one(c)), signed
    text = run(['openssl', 'x509', '-in', d + '.crt', '-noout', '-ext', 'extendedKeyUsage,keyUsage,basicConstraints'])
    assert 'TLS Web Client Authentication' in text and 'Digital Signature' in text and 'CA:FALSE' in text and 'Server' not in text, text
    run(['openssl', 'x509', '-in', d + '.crt', '-noout', '-checkend', '3500'])
    assert run(['openssl', 'x509', '-in', d + '.crt', '-noout', '-checkend', '3700'], check=False) == 'Certificate will expire\n'
    failed = lambda: [x for x in c.get('csr', 'server')['status']['conditions'] if x['type'] == 'Failed']
    assert eventually('it is refused', failed)[0]['message'] == 'invalid usage for client certificate: server auth'
    assert c.kubectl('get', 'csr', 'jane', '-o', 'jsonpath={.status.conditions[0].type}') == 'Approved'


def no_one(c):
    """A kubeconfig that knows the cluster and nobody."""
    path = c.root + '/no-one.kubeconfig'
    with open(c.env['KUBECONFIG']) as f:
        text = re.sub(r'(?m)^.*client-(certificate|key)-data:.*\n', '', f.read())
    with open(path, 'w') as f:
        f.write(text)
    return path


def the_api_keeps_its_address(c):
    """Who may edit the namespace default may delete what leads pods to the API: it is made again, and its address is nobody else's meanwhile."""
    give(c, 'ed-of-default', [{'verbs': ['*'], 'apiGroups': ['', 'discovery.k8s.io'], 'resources': ['services', 'endpoints', 'endpointslices']}], 'default')
    at, slices = '/api/v1/namespaces/default/', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
    address = json.loads(ask(c, '', 'GET', at + 'services/kubernetes')[2])['spec']['clusterIP']
    thief = lambda name: {'metadata': {'name': name}, 'spec': {'clusterIP': address, 'ports': [{'port': 443}]}}
    for path in (at + 'services/kubernetes', at + 'endpoints/kubernetes', slices + '/kubernetes'):
        uid = json.loads(ask(c, '', 'GET', path)[2])['metadata']['uid']
        assert ask(c, 'ed-of-default', 'DELETE', path)[0] == 200
        assert ask(c, 'ed-of-default', 'POST', at + 'services', thief('thief'))[0] == 422
        eventually('%s is there again' % path, lambda: json.loads(ask(c, '', 'GET', path)[2])['metadata']['uid'] != uid, 30)
    assert json.loads(ask(c, '', 'GET', at + 'services/kubernetes')[2])['spec']['clusterIP'] == address
    assert ask(c, 'ed-of-default', 'DELETE', at + 'services/kubernetes')[0] == 200 and ask(c, 'ed-of-default', 'POST', at + 'services', thief('kubernetes'))[0] in (201, 409)


def what_a_role_knows_is_its_own(c):
    """Somebody of the machine, and somebody with the server's own uid in the host's processes: neither sees its memory, files or root."""
    pid = c.role_pid('server')
    for uid in (65534, os.stat('/proc/%d/task' % pid).st_uid, 64501):
        nobody = ['setpriv', '--reuid=%d' % uid, '--regid=%d' % uid, '--clear-groups']
        if uid == 0:
            continue
        for name in ('environ', 'mem', 'maps', 'auxv', 'root/etc/wherry/keys/ca.key', 'cwd/', 'fd/'):
            p = subprocess.run(nobody + (['ls'] if name.endswith('/') else ['head', '-c1']) + ['/proc/%d/%s' % (pid, name)], capture_output=True, text=True)
            assert p.returncode != 0 and 'denied' in p.stderr, (uid, name, p)
    everything = run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'find', c.root + '/etc', c.root + '/var', '-type', 'f', '-readable'], check=False).split()
    assert [os.path.basename(f) for f in everything] == ['node-name'], everything
    assert '"Unauthorized"' in run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'curl', '-s', '-m', '10', '--unix-socket', c.root + '/run/wherry/server.sock', 'http://x/api/v1/secrets'])
    with open('/proc/%d/status' % pid) as f:
        assert re.search(r'Uid:\t64501\t64501', f.read())


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b'=').decode()


def signed(key, text):
    """ES256 by the openssl program: r and s of its DER, 32 bytes each."""
    der = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', key], input=text.encode(), capture_output=True, check=True).stdout
    n = der[3]
    r, s = der[4:4 + n], der[6 + n:6 + n + der[5 + n]]
    return text + '.' + b64(b''.join(x.lstrip(b'\0').rjust(32, b'\0') for x in (r, s)))


def who(c, headers=(), tls=None):
    """The user that the server takes a client for; '' a 401."""
    head = ''.join('%s: %s\r\n' % h for h in headers)
    with (tls or c.raw.nobody).wrap_socket(c.raw.tcp(), server_hostname='127.0.0.1') as s:
        s.sendall(('POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n%s\r\n{}' % head).encode())
        status, _, text = parsed(until_quiet(s))
    if status == 201:
        return json.loads(text)['status']['userInfo']['username']
    return '' if status == 401 else 'system:anonymous' if 'User \\"system:anonymous\\"' in text else '%d %s' % (status, text[:200])


def tokens_that_are_none(c):
    """Everything about a token that can be wrong, with the right key where that helps; what becomes of one whose account has gone and come again."""
    key, accounts = c.root + '/etc/wherry/keys/service-account.key', '/api/v1/namespaces/default/serviceaccounts'
    made(c, accounts, {'metadata': {'name': 'tok'}})
    good = made(c, accounts + '/tok/token', {'spec': {'audiences': []}})['status']['token']
    head, body, signature = good.split('.')
    claims = json.loads(base64.urlsafe_b64decode(body + '=='))
    me, k8s, now = 'system:serviceaccount:default:tok', claims['kubernetes.io'], int(time.time())
    with tempfile.TemporaryDirectory() as d:
        other = d + '/key'
        run(['openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', other])
        public = run(['openssl', 'ec', '-in', key, '-pubout']).encode()
        forged = lambda k=key, header=None, text=None, **other_claims: signed(k, b64(header or {'alg': 'ES256'}) + '.' + b64(text.encode() if text else dict(claims, **other_claims)))
        without = lambda name: forged(text=json.dumps({k: v for k, v in claims.items() if k != name}))
        ours = lambda **more: forged(**{'kubernetes.io': dict(k8s, **more)})
        order = 'FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551'
        mac = b64({'alg': 'HS256'}) + '.' + body
        rows = [('good', good, me), ('good, made here', forged(), me), ('alg none', b64({'alg': 'none'}) + '.' + body + '.', ''), ('alg none with a signature', b64({'alg': 'none'}) + '.' + body + '.' + signature, ''),
                ('two algs', b64(b'{"alg":"none","alg":"ES256"}') + '.' + body + '.', ''), ('no signature', head + '.' + body + '.', ''), ('a signature of zeros', head + '.' + body + '.' + b64(b'\0' * 64), ''),
                ("a signature of the curve's order", head + '.' + body + '.' + b64(bytes.fromhex(order) * 2), ''), ('HMAC with the public key', mac + '.' + b64(hmac.digest(public, mac.encode(), 'sha256')), ''),
                ('another key', forged(other), ''), ('another key that it names', forged(other, {'alg': 'ES256', 'jku': 'http://127.0.0.1/', 'jwk': {'kty': 'EC'}}), ''), ('a kid that is a path', forged(other, {'alg': 'ES256', 'kid': '../../dev/null'}), ''),
                ('critical extensions', forged(header={'alg': 'ES256', 'crit': ['x']}), ''), ('four parts', good + '.x', ''), ('more signature', good + 'AA', ''), ('padded', good + '==', ''), ('other claims', head + '.' + b64(dict(claims, sub='x')) + '.' + signature, ''),
                ('a header that is a list', forged(header=['ES256']), ''), ('a header with a tail', forged(header=b'{"alg":"ES256"}x'), ''), ('claims that are a list', forged(text='[1]'), ''), ('claims without end', forged(text='[' * 3000), ''),
                ('for somebody else', forged(aud=['vault']), ''), ('for nobody', without('aud'), ''), ('for a list', forged(aud=[claims['aud']]), ''), ('of another issuer', forged(iss='https://x'), ''), ('of no issuer', without('iss'), ''), ('without an end', without('exp'), ''),
                ('over', forged(exp=1), ''), ('over now', forged(exp=now), ''), ('not yet', forged(nbf=now + 1000), ''), ('another uid', ours(serviceaccount={'name': 'tok', 'uid': 'x'}), ''), ('no uid', ours(serviceaccount={'name': 'tok'}), ''),
                ('another namespace', ours(namespace='kube-system'), ''), ('a namespace in the name', ours(namespace='', serviceaccount={'name': 'default/tok', 'uid': k8s['serviceaccount']['uid']}), ''), ('of a pod that is gone', ours(pod={'name': 'x', 'uid': 'y'}), ''),
                ('of a secret that is gone', ours(secret={'name': 'x', 'uid': 'y'}), ''), ('of a node that is gone', ours(node={'name': 'x', 'uid': 'y'}), ''), ('a bootstrap token', 'abcdef.0123456789abcdef', ''), ('dots', '..', '')]
        rows += [('an end that is %s' % end, forged(text=json.dumps(dict(claims, exp='@')).replace('"@"', end)), '') for end in ('"%d"' % (now + 99), '1e30', '%d' % 2**63, '%d' % (2**64 + now + 99), '-%d' % 2**63, 'null', '[%d]' % (now + 99))]
        wrong = [(name, got) for name, token, want in rows for got in [who(c, [('Authorization', 'Bearer ' + token)])] if got != want]
    assert not wrong, wrong
    bearer, nobody = ('Authorization', 'Bearer ' + good), 'system:anonymous'
    for headers, want in (([], nobody), ([('Authorization', 'Basic ' + base64.b64encode(b'admin:admin').decode())], nobody), ([('Authorization', good)], nobody), ([('X-Remote-User', 'admin'), ('X-Remote-Group', 'system:masters')], nobody),
                          ([('Authorization', 'Bearer x'), bearer], ''), ([bearer, ('Authorization', 'Bearer x')], me), ([('Sec-WebSocket-Protocol', 'base64url.bearer.authorization.k8s.io.%s, x' % b64(good.encode()))], nobody)):
        assert who(c, headers) == want, (headers, who(c, headers))
    assert ask(c, '', 'DELETE', accounts + '/tok')[0] == 200 and who(c, [bearer]) == ''
    uid = {'name': 'tok', 'uid': k8s['serviceaccount']['uid']}
    assert made(c, accounts, {'metadata': uid})['metadata']['uid'] != uid['uid'] and who(c, [bearer]) == ''
    assert ask(c, '', 'PATCH', accounts + '/tok', {'metadata': uid}, MERGE)[0] == 422 and ask(c, '', 'PUT', accounts + '/tok', {'metadata': uid})[0] == 409 and who(c, [bearer]) == ''


def certificates_that_are_none(c):
    ca, key = c.root + '/etc/wherry/keys/ca.crt', c.root + '/etc/wherry/keys/ca.key'
    client, server = 'extendedKeyUsage=clientAuth', 'extendedKeyUsage=serverAuth'
    with tempfile.TemporaryDirectory() as d:
        own = d + '/key'
        run(['openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', own])
        run(['openssl', 'req', '-x509', '-new', '-key', own, '-subj', '/CN=wherry-ca', '-days', '2', '-out', d + '/other'])

        def cert(subject, extensions=client, issuer=(ca, key), days=2, chain=''):
            cert.n = getattr(cert, 'n', 1) + 1
            name = '%s/%d' % (d, cert.n)
            with open(d + '/extensions', 'w') as f:
                f.write(extensions)
            run(['openssl', 'req', '-new', '-key', own, '-subj', subject, '-out', d + '/request'])
            run(['openssl', 'x509', '-req', '-in', d + '/request', '-CA', issuer[0], '-CAkey', issuer[1], '-set_serial', str(cert.n), '-days', str(days), '-extfile', d + '/extensions', '-out', name])
            with open(name, 'a') as f:
                f.write(chain)
            return name

        def tls(path):
            t = ssl.create_default_context(cafile=ca)
            t.load_cert_chain(path, own)
            return t
        leaf, middle = cert('/CN=ann', 'basicConstraints=CA:FALSE\n' + client), cert('/CN=ann', 'keyUsage=critical,digitalSignature,keyCertSign\n' + client)
        text = lambda path: open(path).read()
        rows = [('good', cert('/O=one/O=two/CN=ann'), 'ann'), ('the last of two names, as upstream', cert('/CN=bob/CN=ann'), 'ann'), ('no name', cert('/O=system:masters'), 'system:anonymous'), ("a server's", cert('/O=system:masters/CN=ann', server), ''),
                ('for signing code', cert('/CN=ann', 'extendedKeyUsage=codeSigning'), ''), ('of another CA of the same name', cert('/O=system:masters/CN=ann', issuer=(d + '/other', own)), ''), ('its own', d + '/other', ''), ('over', cert('/CN=ann', days=-1), ''),
                ('signed by a leaf', cert('/CN=ann', issuer=(leaf, own), chain=text(leaf)), ''), ('signed by one that may sign and is no CA', cert('/CN=ann', issuer=(middle, own), chain=text(middle)), ''), ('with a critical extension', cert('/CN=ann', '1.2.3.4=critical,DER:0500\n' + client), '')]
        wrong = [(name, got) for name, path, want in rows for got in [who(c, tls=tls(path))] if got != want]
        assert not wrong, wrong
        token = ('Authorization', 'Bearer ' + made(c, '/api/v1/namespaces/default/serviceaccounts/default/token', {'spec': {'audiences': []}})['status']['token'])
        assert who(c, [token], tls(rows[0][1])) == 'ann' and who(c, [token], tls(rows[5][1])) == '' and who(c, [token], tls(rows[2][1])) == 'system:serviceaccount:default:default'


OF_THE_MASTERS = '''-----BEGIN CERTIFICATE REQUEST-----
MIHuMIGVAgEAMDMxDDAKBgNVBAoMA29wczEXMBUGA1UECgwOc3lzdGVtOm1hc3Rl
cnMxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARHdHForvuA
gYWd0GrEO8+hdX7T3M1QflTSU4YFnzunFeWBrWQH0k5fBqbqY9IKlcdvHEgSIlcQ
Pbi5405vzR+EoAAwCgYIKoZIzj0EAwIDSAAwRQIhAMlQf+oZvUSfQcsgr7c6vsH9
V/jECCou4fIx8gz/3f8rAiBBrOsM798GEZIfnAjNKcBshqiUyvBtwO/wEkq8MStu
Zg==
-----END CERTIFICATE REQUEST-----
'''
OF_A_TEAM = '''-----BEGIN CERTIFICATE REQUEST-----
MIHTMHwCAQAwGjEMMAoGA1UECgwDb3BzMQowCAYDVQQDDAFhMFkwEwYHKoZIzj0C
AQYIKoZIzj0DAQcDQgAER3RxaK77gIGFndBqxDvPoXV+09zNUH5U0lOGBZ87pxXl
ga1kB9JOXwam6mPSCpXHbxxIEiJXED24ueNOb80fhKAAMAoGCCqGSM49BAMCA0cA
MEQCID2f0UhfxZ/CKkPdRUFRVcnrZ5+3pA/UvZmT+eL7v+X/AiBxNxyGYiCpQItV
SaZtIbaoYiW4Tc5IKU4rDKF6MRKP4Q==
-----END CERTIFICATE REQUEST-----
'''


def continued(rev, start):
    return base64.urlsafe_b64encode(json.dumps({'v': 'meta.k8s.io/v1', 'rv': rev, 'start': start}).encode()).decode().rstrip('=')


def a_tenant_stays_one(c):
    """Who may edit one namespace, and an account that may make pods there and nothing else: neither reads others' Secrets, nor comes to rights, nor
    to anything of the whole cluster's."""
    group, account = 'rbac.authorization.k8s.io', ('system:serviceaccounts', 'system:serviceaccounts:ten', 'system:authenticated')
    made(c, '/api/v1/namespaces', {'metadata': {'name': 'ten'}})
    made(c, '/api/v1/namespaces/kube-system/secrets', {'metadata': {'name': 'theirs'}, 'data': {'a': 'bm90IGZvciB5b3U='}})
    made(c, RBAC + '/namespaces/ten/rolebindings', {'metadata': {'name': 'ed'}, 'roleRef': {'apiGroup': group, 'kind': 'ClusterRole', 'name': 'edit'}, 'subjects': [{'kind': 'User', 'name': 'ed', 'apiGroup': group}]})
    give(c, 'system:serviceaccount:ten:podder', [{'apiGroups': [''], 'resources': ['pods'], 'verbs': ['create']}], 'ten')
    secrets, rows = '/api/v1/namespaces/%s/secrets', []
    for path in ('/api/v1/secrets', secrets % 'kube-system', secrets % 'kube-system' + '/theirs', '/api/v1/watch/secrets', '/api/v1/watch/namespaces/kube-system/secrets/theirs', secrets % 'ten/../kube-system',
                 secrets % 'ten%2f..%2fkube-system', '/api/v1/' + secrets[7:] % 'kube-system', secrets % 'ten' + '/..%2f..%2fkube-system%2fsecrets%2ftheirs', '/api/v1/secrets?fieldSelector=metadata.namespace%3Dten',
                 secrets % 'ten' + '?continue=' + continued(1, '../kube-system/'), '/wherry.dev/backup', '/metrics', '/debug', '/logs', '/api/v1/nodes', '/api/v1/nodes/x/proxy/', RBAC + '/clusterroles',
                 '/api/v1/persistentvolumes', '/apis/certificates.k8s.io/v1/certificatesigningrequests', '/api/v1/namespaces/kube-system/pods/x/log', '/api/v1/namespaces/kube-system/services/x/proxy/'):
        rows.append(('GET', path, None))
    rule = {'apiGroups': ['*'], 'resources': ['*'], 'verbs': ['*']}
    pod = lambda meta={}, **spec: {'metadata': dict({'generateName': 'p-'}, **meta), 'spec': dict({'containers': [{'name': 'a', 'image': 'a'}]}, **spec)}
    for ns in ('ten', 'kube-system'):
        at = '/api/v1/namespaces/%s/' % ns
        rows += [('POST', RBAC + '/namespaces/%s/roles' % ns, {'metadata': {'name': 'x'}, 'rules': [rule]}),
                 ('POST', RBAC + '/namespaces/%s/rolebindings' % ns, {'metadata': {'name': 'x'}, 'roleRef': {'apiGroup': group, 'kind': 'ClusterRole', 'name': 'cluster-admin'}, 'subjects': [{'kind': 'User', 'name': 'ed', 'apiGroup': group}]}),
                 ('POST', at + 'endpoints', {'metadata': {'name': 'x'}, 'subsets': [{'addresses': [{'ip': '10.0.0.1'}], 'ports': [{'port': 80}]}]}),
                 ('POST', '/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices' % ns, {'metadata': {'name': 'x'}, 'addressType': 'IPv4', 'endpoints': [{'addresses': ['10.0.0.1']}]}),
                 ('POST', at + 'pods', pod(serviceAccountName='nobody')), ('POST', at + 'pods', pod({'annotations': {'kubernetes.io/config.mirror': 'x'}})), ('POST', at + 'pods', pod(priority=2000000000)),
                 ('POST', at + 'pods', pod({'namespace': 'default'})), ('PATCH', at + 'pods/x/status', {'status': {'podIP': '127.0.0.1'}}), ('POST', at + 'pods/x/binding', {'target': {'name': 'n'}}),
                 ('POST', at + 'bindings', {'metadata': {'name': 'x'}, 'target': {'name': 'n'}}), ('PATCH', at + 'pods/x/ephemeralcontainers', {'spec': {}}), ('POST', at + 'resourcequotas', {'metadata': {'name': 'x'}}),
                 ('DELETE', at + 'resourcequotas', None), ('PATCH', at[:-1], {'metadata': {'labels': {'pod-security.kubernetes.io/enforce': 'privileged'}}}), ('PUT', at + 'finalize', {'metadata': {'name': ns}, 'spec': {}}),
                 ('DELETE', at[:-1], None), ('POST', '/apis/authorization.k8s.io/v1/namespaces/%s/localsubjectaccessreviews' % ns, {'metadata': {'namespace': ns}, 'spec': {'user': 'ed', 'resourceAttributes': {'namespace': ns, 'verb': 'get', 'resource': 'pods'}}})]
    at = '/api/v1/namespaces/kube-system/'
    rows += [('POST', at + 'serviceaccounts/default/token', {'spec': {}}), ('POST', at + 'secrets', {'metadata': {'name': 'x', 'annotations': {'kubernetes.io/service-account.name': 'default'}}, 'type': 'kubernetes.io/service-account-token'}),
             ('POST', at + 'pods', pod()), ('DELETE', at + 'secrets', None), ('POST', at + 'pods/x/exec?command=a', {}), ('POST', RBAC + '/clusterroles', {'metadata': {'name': 'x', 'labels': {group + '/aggregate-to-edit': 'true'}}, 'rules': [rule]}),
             ('POST', RBAC + '/clusterrolebindings', {'metadata': {'name': 'x'}, 'roleRef': {'apiGroup': group, 'kind': 'ClusterRole', 'name': 'edit'}}), ('POST', '/api/v1/namespaces', {'metadata': {'name': 'mine'}}),
             ('POST', '/api/v1/nodes', {'metadata': {'name': 'x'}}), ('POST', '/api/v1/persistentvolumes', {'metadata': {'name': 'x'}, 'spec': {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/'}}}),
             ('POST', '/apis/storage.k8s.io/v1/storageclasses', {'metadata': {'name': 'x'}, 'provisioner': 'p'}), ('POST', '/apis/scheduling.k8s.io/v1/priorityclasses', {'metadata': {'name': 'x'}, 'value': 1}),
             ('POST', '/apis/node.k8s.io/v1/runtimeclasses', {'metadata': {'name': 'x'}, 'handler': 'h'}), ('POST', '/apis/certificates.k8s.io/v1/certificatesigningrequests', {'metadata': {'name': 'x'}, 'spec': {'signerName': 'kubernetes.io/kube-apiserver-client'}}),
             ('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {'spec': {'token': 'x'}}), ('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {'spec': {'user': 'ed', 'nonResourceAttributes': {'path': '/', 'verb': 'get'}}})]
    for who, groups in (('ed', ('system:authenticated',)), ('system:serviceaccount:ten:podder', account)):
        for method, path, body in rows:
            status, _, text = ask(c, who, method, path, body, MERGE if method == 'PATCH' else 'application/json', groups=groups)
            assert status in (400, 403, 404, 405, 422) and 'bm90IGZvciB5b3U' not in text, (who, method, path, body, status, text[:300])
        status, _, text = ask(c, who, 'POST', '/api/v1/namespaces/ten/pods', dict(pod(), status={'podIP': '127.0.0.1', 'phase': 'Running'}), groups=groups)
        assert status == 201 and '127.0.0.1' not in text and 'Pending' in text, text        # what a pod is, its maker does not say
    status, _, text = ask(c, 'ed', 'GET', secrets % 'ten' + '?continue=' + continued(-1, 'kube-system/theirs'))
    assert status == 200 and json.loads(text)['items'] == [], text


def impersonated_twice(c, headers):
    """As `mimic`, by a token of an account that may be what mimic may: a second impersonation needs a user of its own."""
    if not hasattr(c, 'mimic'):
        made(c, '/api/v1/namespaces/default/serviceaccounts', {'metadata': {'name': 'mimic'}})
        made(c, RBAC + '/clusterrolebindings', {'metadata': {'name': 'mimic-account'}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'mimic'},
                                                'subjects': [{'kind': 'ServiceAccount', 'name': 'mimic', 'namespace': 'default'}]})
        c.mimic = made(c, '/api/v1/namespaces/default/serviceaccounts/mimic/token', {'spec': {'audiences': []}})['status']['token']
    return c.raw.ask('GET', '/api/v1/namespaces/default/secrets', headers=(('Authorization', 'Bearer ' + c.mimic),) + headers, admin=False)


if __name__ == '__main__':
    main([roles_are_not_handed_out, a_large_role_is_compared_at_once, a_name_is_what_is_read, a_node_writes_its_own, a_get_that_acts, nobody_gets_anywhere, a_tenant_stays_one,
          a_request_may_be_made_as_another, what_is_granted_in_a_namespace_stays_there, a_watch_only_watches, a_put_that_creates_needs_create, an_account_has_the_secrets_that_it_lists, names_that_are_none, who_is_approved_gets_a_certificate, the_api_keeps_its_address, what_a_role_knows_is_its_own, tokens_that_are_none, certificates_that_are_none],
         args=['--roles', 'server'], image=False, port=16483, cluster=Server)
