#!/usr/bin/env python3
"""Admission webhooks: a real server over TLS that is asked before writes, that changes, refuses, warns, is slow, lies and
is not there; behind a URL, a Service, and in a pod."""
import http.client, json, os, subprocess, threading, time
import lib
from lib import eventually, main, run
from hooks import Authority, Hooks, configuration, patch, rule, webhook


class Asked(lib.Cluster):
    """A cluster and a server of webhooks beside it."""

    def __enter__(self):
        super().__enter__()
        self.authority = Authority(self.root + '/hooks')
        self.hooks = Hooks(self.authority.sign('hook', ['IP:127.0.0.1', 'DNS:localhost', 'DNS:hook.default.svc']))
        return self

    def __exit__(self, *unused):
        self.hooks.stop()
        super().__exit__(*unused)


def at(c, path, port=None, **more):
    return dict({'url': 'https://127.0.0.1:%d%s' % (port or c.hooks.port, path), 'caBundle': c.authority.bundle}, **more)


def configure(c, kind, name, *webhooks):
    return c.kubectl('apply', '-f', '-', input=configuration(kind, name, list(webhooks)))


def forget(c):
    c.kubectl('delete', 'mutatingwebhookconfigurations,validatingwebhookconfigurations', '--all')
    c.hooks.asked.clear()


def fails(c, *args, **kw):
    p = subprocess.run([c.bin + '/kubectl'] + list(args), env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)
    assert p.returncode, p.stdout
    return p.stderr.strip()


def make(c, name, *more):
    return c.kubectl('create', 'configmap', name, '--from-literal=a=b', *more)


def one_is_asked_and_changes_what_is_written(c):
    c.hooks.answers['/label'] = lambda r: patch({'op': 'add', 'path': '/metadata/labels', 'value': {'seen': 'yes'}}, {'op': 'replace', 'path': '/data/a', 'value': 'c'})
    configure(c, 'Mutating', 'label', webhook('label.example.org', at(c, '/label'), [rule(['configmaps'])]))
    make(c, 'one')
    o = c.get('configmap', 'one')
    assert o['metadata']['labels'] == {'seen': 'yes'} and o['data'] == {'a': 'c'}, o
    asked = c.hooks.asked['/label'][-1]
    assert c.hooks.queries['/label'] == 'timeout=10s', c.hooks.queries
    assert asked['kind'] == asked['requestKind'] == {'group': '', 'version': 'v1', 'kind': 'ConfigMap'}, asked
    assert asked['resource'] == asked['requestResource'] == {'group': '', 'version': 'v1', 'resource': 'configmaps'}, asked
    assert (asked['name'], asked['namespace'], asked['operation'], asked['dryRun']) == ('one', 'default', 'CREATE', False), asked
    assert asked['oldObject'] is None and asked['object']['data'] == {'a': 'b'} and 'uid' not in asked['object']['metadata'], asked
    assert asked['options']['kind'] == 'CreateOptions' and asked['options']['apiVersion'] == 'meta.k8s.io/v1' and asked['options']['fieldManager'] == 'kubectl-create', asked
    assert asked['userInfo']['username'] and 'system:masters' in asked['userInfo']['groups'], asked
    c.kubectl('patch', 'configmap', 'one', '-p', '{"data":{"a":"x","b":"y"}}')
    asked = c.hooks.asked['/label'][-1]
    assert asked['operation'] == 'UPDATE' and asked['oldObject']['data'] == {'a': 'c'} and asked['object']['data'] == {'a': 'x', 'b': 'y'}, asked
    assert asked['options']['kind'] == 'UpdateOptions' and asked['object']['metadata']['uid'] == o['metadata']['uid'], asked
    assert c.get('configmap', 'one')['data'] == {'a': 'c', 'b': 'y'}
    c.kubectl('delete', 'configmap', 'one')
    assert len(c.hooks.asked['/label']) == 2, 'a deletion was not asked for'
    forget(c)


def refusals_are_passed_on(c):
    c.hooks.answers['/no'] = lambda r: {'allowed': False, 'warnings': ['mind the gap'], 'status': {'code': 422, 'message': 'no ConfigMaps on Mondays', 'reason': 'Invalid'}}
    configure(c, 'Validating', 'no', webhook('no.example.org', at(c, '/no'), [rule(['configmaps'], ['CREATE', 'DELETE'])]))
    said = fails(c, 'create', 'configmap', 'two')
    assert 'admission webhook "no.example.org" denied the request: no ConfigMaps on Mondays' in said and 'Warning: mind the gap' in said, said
    for status, words in [({}, 'admission webhook "no.example.org" denied the request without explanation'),
                          ({'status': {'reason': 'Because'}}, 'denied the request: Because')]:
        c.hooks.answers['/no'] = lambda r: dict({'allowed': False}, **status)
        said = fails(c, 'create', 'configmap', 'two')
        assert words in said, said
    c.hooks.answers['/no'] = lambda r: {'allowed': r['operation'] == 'CREATE'}
    make(c, 'two')
    said = fails(c, 'delete', 'configmap', 'two')
    assert 'denied the request without explanation' in said, said
    asked = c.hooks.asked['/no'][-1]
    assert asked['object'] is None and asked['oldObject']['data'] == {'a': 'b'} and asked['options']['kind'] == 'DeleteOptions', asked
    said = fails(c, 'delete', 'configmap', '--all')
    assert 'denied the request' in said, said
    forget(c)
    c.kubectl('delete', 'configmap', 'two')


def what_is_wrong_with_an_answer_is_told(c):
    configure(c, 'Mutating', 'odd', webhook('odd.example.org', at(c, '/odd'), [rule(['configmaps'])]))
    review = lambda **response: json.dumps({'apiVersion': 'admission.k8s.io/v1', 'kind': 'AdmissionReview', 'response': response}).encode()
    for said, words in [
            (b'garbage', 'failed to call webhook: couldn\'t get version/kind; json parse error: invalid character \'g\' looking for beginning of value'),
            (b'{}', "failed to call webhook: Object 'Kind' is missing in '{}'"),
            (b'{"kind":"Pod","apiVersion":"v1"}', 'failed to call webhook: no kind "Pod" is registered for version "v1"'),
            (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', 'received invalid webhook response: webhook response was absent'),
            (review(uid='x', allowed=True), 'received invalid webhook response: expected response.uid="'),
            ((500, b'I am ill'), 'an error on the server ("I am ill") has prevented the request from succeeding'),
            ((404, b''), 'the server could not find the requested resource'),
            (lambda r: {'allowed': True, 'patch': 'W10='}, 'webhook returned response.patch but not response.patchType'),
            (lambda r: {'allowed': True, 'patchType': 'JSONPatch'}, 'webhook returned response.patchType but not response.patch'),
            (lambda r: {'allowed': True, 'patchType': 'Merge', 'patch': 'e30='}, 'unsupported patch type "Merge"'),
            (lambda r: {'allowed': True, 'patchType': 'JSONPatch', 'patch': 'Z2FyYmFnZQ=='}, 'received undecodable patch in webhook response'),
            (lambda r: patch({'op': 'remove', 'path': '/data/nothing'}), 'Internal error occurred: '),
            (lambda r: patch({'op': 'replace', 'path': '/data', 'value': 7}), 'Internal error occurred: '),
            (lambda r: patch({'op': 'replace', 'path': '/kind', 'value': 'Secret'}), 'Internal error occurred: '),
            (lambda r: patch({'op': 'replace', 'path': '/metadata/namespace', 'value': 'kube-system'}), 'does not match the namespace'),
            (lambda r: {'allowed': True, 'warnings': ['x' * (8 << 20)]}, 'failed to call webhook')]:
        c.hooks.answers['/odd'] = said if callable(said) else lambda r: said
        told = fails(c, 'create', 'configmap', 'odd')
        assert words in told, (said, told)
    forget(c)


def who_is_not_there_is_told_and_may_be_ignored(c):
    other = Authority(c.root + '/other', 'nobody we know')
    stranger = Hooks(other.sign('stranger', ['IP:127.0.0.1']))
    misnamed = Hooks(c.authority.sign('misnamed', ['DNS:elsewhere.example.org']))
    stranger.answers['/'] = misnamed.answers['/'] = lambda r: {'allowed': True}
    c.hooks.answers['/slow'] = lambda r: time.sleep(5) or {'allowed': True}
    hangs = time.monotonic()
    for client, words in [
            (at(c, '/', 1), 'Post "https://127.0.0.1:1/?timeout=1s": dial tcp 127.0.0.1:1: connect: connection refused'),
            (at(c, '/', stranger.port), 'x509: certificate signed by unknown authority'),
            (at(c, '/', misnamed.port), 'x509: certificate is valid for elsewhere.example.org, not 127.0.0.1'),
            (at(c, '/slow'), '/slow?timeout=1s": context deadline exceeded'),
            ({'service': {'namespace': 'default', 'name': 'nowhere', 'path': '/x'}, 'caBundle': c.authority.bundle},
             'Post "https://nowhere.default.svc:443/x?timeout=1s": service "nowhere" not found')]:
        hook = webhook('away.example.org', client, [rule(['configmaps'])], timeoutSeconds=1)
        configure(c, 'Validating', 'away', hook)
        told = fails(c, 'create', 'configmap', 'away')
        assert 'Internal error occurred: failed calling webhook "away.example.org": failed to call webhook: ' in told and words in told, told
        assert 'secret/quick' in c.kubectl('create', 'secret', 'generic', 'quick', '--dry-run=server', '-o', 'name'), 'what does not match notices nothing'
        configure(c, 'Validating', 'away', dict(hook, failurePolicy='Ignore'))
        make(c, 'away')
        c.kubectl('delete', 'configmap', 'away')
    assert time.monotonic() - hangs < 30
    forget(c)
    stranger.stop()
    misnamed.stop()


def which_are_asked(c):
    """Rules, scopes, selectors, versions and subresources."""
    allow = lambda r: {'allowed': True}
    asked = lambda path: [(r['operation'], r['resource']['resource'] + ('/' + r['subResource'] if 'subResource' in r else ''), r.get('name')) for r in c.hooks.asked.pop(path, [])]
    for path in ('/some', '/ns', '/scope', '/all', '/hpa', '/exact', '/sub'):
        c.hooks.answers[path] = allow
    labels = {'matchLabels': {'team': 'a'}}
    configure(c, 'Validating', 'which',
              webhook('some.example.org', at(c, '/some'), [rule(['configmaps'], ['*'])], objectSelector=labels),
              webhook('ns.example.org', at(c, '/ns'), [rule(['configmaps', 'namespaces'], ['*'])], namespaceSelector=labels),
              webhook('scope.example.org', at(c, '/scope'), [rule(['*'], ['CREATE'], groups=['', 'rbac.authorization.k8s.io'], scope='Cluster')]),
              webhook('hpa.example.org', at(c, '/hpa'), [rule(['horizontalpodautoscalers'], ['*'], ['autoscaling'], ['v1'])]),
              webhook('exact.example.org', at(c, '/exact'), [rule(['horizontalpodautoscalers'], ['*'], ['autoscaling'], ['v1'])], matchPolicy='Exact'),
              webhook('sub.example.org', at(c, '/sub'), [rule(['deployments/scale', 'pods/binding', 'pods/exec', 'pods/eviction', 'serviceaccounts/token'], ['*'], ['', 'apps'], ['*'])]))
    make(c, 'plain')
    assert asked('/some') == []
    c.kubectl('label', 'configmap', 'plain', 'team=a')
    c.kubectl('label', 'configmap', 'plain', 'team-')
    assert asked('/some') == [('UPDATE', 'configmaps', 'plain')] * 2, 'by what it is and by what it was'
    c.kubectl('create', 'namespace', 'aside')
    assert asked('/ns') == [] and asked('/scope') == [('CREATE', 'namespaces', 'aside')]
    c.kubectl('label', 'namespace', 'aside', 'team=a')
    make(c, 'there', '-n', 'aside')
    assert asked('/ns') == [('UPDATE', 'namespaces', 'aside'), ('CREATE', 'configmaps', 'there')]
    c.kubectl('create', 'clusterrole', 'x', '--verb=get', '--resource=pods')
    c.kubectl('create', 'role', 'x', '--verb=get', '--resource=pods')
    assert asked('/scope') == [('CREATE', 'clusterroles', 'x')]
    c.kubectl('create', 'deployment', 'web', '--image=' + lib.IMAGE)
    c.kubectl('autoscale', 'deployment', 'web', '--max=2', '--min=1')
    seen = c.hooks.asked['/hpa'][0]
    assert seen['kind']['version'] == 'v1' and seen['requestKind']['version'] == 'v2' and seen['object']['apiVersion'] == 'autoscaling/v1', seen
    assert 'maxReplicas' in seen['object']['spec'] and asked('/exact') == [], seen
    c.kubectl('delete', 'hpa', 'web')
    eventually('bound', lambda: ('CREATE', 'pods/binding') in [(o, r) for o, r, _ in [(r['operation'], r['resource']['resource'] + '/' + r['subResource'], 0) for r in c.hooks.asked.get('/sub', [])]])
    c.kubectl('rollout', 'status', 'deployment/web', '--timeout=60s')
    c.hooks.asked.pop('/sub')
    c.kubectl('scale', 'deployment', 'web', '--replicas=2')
    c.kubectl('exec', 'deployment/web', '--', 'true')
    c.kubectl('create', 'token', 'default')
    reviews = c.hooks.asked['/sub']
    scale = next(r for r in reviews if r['subResource'] == 'scale')
    assert scale['kind'] == {'group': 'autoscaling', 'version': 'v1', 'kind': 'Scale'} and scale['object']['spec'] == {'replicas': 2} and scale['oldObject']['spec'] == {'replicas': 1}, scale
    connect = next(r for r in reviews if r['subResource'] == 'exec')
    assert connect['operation'] == 'CONNECT' and connect['object']['kind'] == 'PodExecOptions' and connect['object']['command'] == ['true'] and connect['options'] is None, connect
    assert next(r for r in reviews if r['subResource'] == 'token')['object']['kind'] == 'TokenRequest'
    forget(c)
    configure(c, 'Validating', 'itself', webhook('all.example.org', at(c, '/all', 1), [rule(['*/*'], ['*'], ['*'], ['*'])]))
    c.kubectl('delete', 'validatingwebhookconfiguration', 'itself')    # or nobody could
    c.kubectl('delete', 'deployment', 'web')


def conditions_decide_who_is_asked(c):
    c.hooks.answers['/if'] = lambda r: {'allowed': True}
    names = lambda: [r['name'] for r in c.hooks.asked.pop('/if', [])]
    hook = webhook('if.example.org', at(c, '/if'), [rule(['configmaps'])], matchConditions=[
        {'name': 'team', 'expression': "object.data.a.startsWith('b') && request.operation == 'CREATE'"},
        {'name': 'people', 'expression': "!('system:nodes' in request.userInfo.groups) && request.resource.resource == 'configmaps'"}])
    configure(c, 'Validating', 'if', hook)
    make(c, 'yes')
    c.kubectl('create', 'configmap', 'no', '--from-literal=a=c')
    c.kubectl('label', 'configmap', 'yes', 'x=y')
    assert names() == ['yes']
    told = fails(c, 'create', 'configmap', 'odd', '--from-literal=z=z')
    assert 'configmaps "odd" is forbidden: expression ' in told and 'resulted in error: no such key: a' in told, told
    configure(c, 'Validating', 'if', dict(hook, failurePolicy='Ignore'))
    c.kubectl('create', 'configmap', 'odd', '--from-literal=z=z')
    assert names() == []
    for expression, words in [('1', 'must evaluate to bool but got int'), ('object.x', 'must evaluate to bool but got dyn'),
                              ('request.nope == 1', "compilation failed: ERROR: <input>:1:8: undefined field 'nope'"), ('x +', 'Syntax error')]:
        bad = configuration('Validating', 'bad', [dict(hook, matchConditions=[{'name': 'a', 'expression': expression}])])
        assert words in fails(c, 'create', '-f', '-', input=bad), expression
    c.kubectl('delete', 'configmaps', 'yes', 'no', 'odd')
    forget(c)


def in_order_and_once_more(c):
    """Each sees what those before it did; who wants to sees what those after it did."""
    def add(letter):
        def answer(r):
            return patch({'op': 'add', 'path': '/data/order', 'value': r['object']['data'].get('order', '') + letter})
        return answer
    def until(letter, most):
        return lambda r: add(letter)(r) if len(r['object']['data'].get('order', '')) < most else {'allowed': True}
    c.hooks.asked.clear()
    c.hooks.answers.update({'/a': until('a', 3), '/b': add('b'), '/c': lambda r: {'allowed': True}})
    hooks = [rule(['configmaps'], ['CREATE'])]
    configure(c, 'Mutating', 'm2', webhook('b.example.org', at(c, '/b'), hooks))
    configure(c, 'Mutating', 'm1', webhook('a.example.org', at(c, '/a'), hooks, reinvocationPolicy='IfNeeded'), webhook('c.example.org', at(c, '/c'), hooks))
    make(c, 'order')
    assert c.get('configmap', 'order')['data']['order'] == 'aba', c.get('configmap', 'order')
    assert {k: len(v) for k, v in c.hooks.asked.items()} == {'/a': 2, '/b': 1, '/c': 1}, c.hooks.asked
    c.kubectl('delete', 'configmap', 'order')
    forget(c)


def dry_runs_ask_only_who_has_no_effects(c):
    c.hooks.answers['/dry'] = lambda r: {'allowed': True}
    configure(c, 'Validating', 'dry', webhook('dry.example.org', at(c, '/dry'), [rule(['configmaps'])]))
    make(c, 'dry', '--dry-run=server')
    assert c.hooks.asked['/dry'][-1]['dryRun'] is True and c.hooks.asked['/dry'][-1]['options']['dryRun'] == ['All']
    beta = json.loads(configuration('Validating', 'dry', [webhook('dry.example.org', at(c, '/dry'), [rule(['configmaps'])])]))
    forget(c)
    del beta['webhooks'][0]['sideEffects']
    assert 'sideEffects: Required value' in fails(c, 'create', '-f', '-', input=json.dumps(beta))


def two_hundred_at_once(c):
    """A slow one holds up nobody else, many wait for it at once over few connections, and who leaves is forgotten."""
    c.hooks.answers['/wait'] = lambda r: time.sleep(0.3) or {'allowed': True}
    configure(c, 'Validating', 'wait', webhook('wait.example.org', at(c, '/wait'), [rule(['configmaps'], ['CREATE'])]))
    tls, before, codes = lib.admin_tls(c.env['KUBECONFIG']), c.hooks.connections, []

    def write(n, leaves=False):
        h = http.client.HTTPSConnection('127.0.0.1', c.port, context=tls, timeout=60)
        h.request('POST', '/api/v1/namespaces/default/configmaps', json.dumps({'metadata': {'name': 'many-%d' % n}}), {'Content-Type': 'application/json'})
        if not leaves:
            codes.append(h.getresponse().status)
        h.close()

    begin = time.monotonic()
    writers = [threading.Thread(target=write, args=(n, n % 4 == 3)) for n in range(200)]
    for w in writers:
        w.start()
    reader = http.client.HTTPSConnection('127.0.0.1', c.port, context=tls)
    reads = []
    while any(w.is_alive() for w in writers):
        started = time.monotonic()
        reader.request('GET', '/api/v1/namespaces/default/configmaps?limit=1')
        reader.getresponse().read()
        reads.append(time.monotonic() - started)
        time.sleep(0.02)
    took = time.monotonic() - begin
    assert codes == [201] * 150, codes
    assert took < 150 * 0.3 / 2, 'one after another: %.1f s' % took
    assert c.hooks.connections - before < 130, 'kept, but for those of who left: %d' % (c.hooks.connections - before)
    assert min(reads) < 0.1 * lib.slowness(), reads
    c.kubectl('delete', 'configmaps', '--all', '--wait=false')
    forget(c)


POD = '''
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {selector: {app: hook}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: v1
kind: Pod
metadata: {name: hook, labels: {app: hook}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: %s
    command: [/usr/bin/python3, -c, "import sys, threading; sys.path.insert(0, '/hooks'); import hooks; h = hooks.Hooks(('/hooks/pod.crt', '/hooks/pod.key'), '0.0.0.0', 8443); h.answers['/'] = lambda r: hooks.patch({'op': 'add', 'path': '/data/by', 'value': 'a pod'}); threading.Event().wait()"]
    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
    volumeMounts: [{name: usr, mountPath: /usr}, {name: lib, mountPath: /lib}, {name: lib64, mountPath: /lib64}, {name: hooks, mountPath: /hooks}]
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /lib}}
  - {name: lib64, hostPath: {path: /lib64}}
  - {name: hooks, hostPath: {path: %s}}
'''


def a_pod_behind_a_service(c):
    folder = c.root + '/hooks'
    c.authority.sign('pod', ['DNS:hook.default.svc'])
    for name in ('hooks.py', 'lib.py', 'api.py'):
        with open(os.path.join(lib.TOP, 'tests/e2e', name)) as f, open(folder + '/' + name, 'w') as to:
            to.write(f.read())
    os.chmod(folder + '/pod.key', 0o644)
    client = {'service': {'namespace': 'default', 'name': 'hook'}, 'caBundle': c.authority.bundle}
    c.apply(POD % (lib.IMAGE, folder))
    c.kubectl('wait', '--for=condition=Ready', 'pod/hook', '--timeout=60s', timeout=70)
    configure(c, 'Mutating', 'pod', webhook('pod.example.org', client, [rule(['configmaps'], ['CREATE'])]))
    make(c, 'bypod')
    assert c.get('configmap', 'bypod')['data'] == {'a': 'b', 'by': 'a pod'}
    c.kubectl('delete', 'pod', 'hook')
    told = eventually('refused', lambda: fails(c, 'create', 'configmap', 'bypod2'))
    assert 'failed calling webhook "pod.example.org": failed to call webhook: Post "https://hook.default.svc:443/?timeout=10s": ' in told, told
    forget(c)


def managed_fields_are_shown_and_kept_in_order(c):
    """Fields that a webhook changes are nobody's; what it makes of managedFields counts where that is in order."""
    def owners(name):
        return [(m['manager'], m['operation']) for m in managed(name)]

    def managed(name):
        return c.get('configmap', name, '--show-managed-fields')['metadata'].get('managedFields', [])
    c.hooks.answers['/see'] = lambda r: patch({'op': 'add', 'path': '/metadata/labels', 'value': {'seen': 'yes'}})
    configure(c, 'Mutating', 'see', webhook('see.example.org', at(c, '/see'), [rule(['configmaps'])]))
    make(c, 'owned')
    shown = c.hooks.asked['/see'][-1]['object']['metadata']['managedFields']
    assert [(m['manager'], m['operation'], m['fieldsType']) for m in shown] == [('kubectl-create', 'Update', 'FieldsV1')], shown
    assert owners('owned') == [('kubectl-create', 'Update')], owners('owned')
    c.kubectl('label', 'configmap', 'owned', 'x=y')
    asked = c.hooks.asked['/see'][-1]
    assert [m['manager'] for m in asked['oldObject']['metadata']['managedFields']] == ['kubectl-create'], asked
    assert {m['manager'] for m in asked['object']['metadata']['managedFields']} == {'kubectl-create', 'kubectl-label'}, asked
    before = owners('owned')
    c.hooks.answers['/see'] = lambda r: patch({'op': 'remove', 'path': '/metadata/managedFields/0/fieldsType'})
    p = subprocess.run([c.bin + '/kubectl', 'label', 'configmap', 'owned', 'z=y'], env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == 0 and '.metadata.managedFields was in an invalid state after admission' in p.stderr, p.stderr
    assert owners('owned') == before, owners('owned')
    c.hooks.answers['/see'] = lambda r: patch({'op': 'remove', 'path': '/metadata/managedFields'})
    c.kubectl('label', 'configmap', 'owned', 'w=y')
    assert owners('owned') == [], owners('owned')
    forget(c)


def why(c, *args, code=1, **kw):
    p = subprocess.run([lib.WHERRY, 'why'] + list(args), env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)
    assert p.returncode == code, (args, p.returncode, p.stdout, p.stderr)
    return p.stdout.split('\n')[0]


def why_knows_them(c):
    """Who refuses, is down or is not trusted, of an object that waits for it, of a file and of the configuration."""
    other = Authority(c.root + '/other', 'nobody we know')
    stranger = Hooks(other.sign('stranger', ['IP:127.0.0.1']))
    stranger.answers['/'] = lambda r: {'allowed': True}
    c.hooks.answers['/no'] = lambda r: {'allowed': False, 'status': {'message': 'no pods on a Monday'}}
    nowhere = {'service': {'namespace': 'default', 'name': 'nowhere'}, 'caBundle': c.authority.bundle}
    pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n'
    for i, (client, words) in enumerate((
            (at(c, '/no'), 'webhook out.example.org refuses %s: no pods on a Monday'),
            (at(c, '/', 1), 'webhook out.example.org has to be asked about %s, and nothing listens at https://127.0.0.1:1/'),
            (at(c, '/', stranger.port), 'webhook out.example.org has to be asked about %s, and it is not trusted: '),
            (nowhere, 'webhook out.example.org has to be asked about %s, and Service default/nowhere is not there'))):
        configure(c, 'Validating', 'out', webhook('out.example.org', client, [rule(['pods'])], timeoutSeconds=2))
        c.kubectl('create', 'deployment', 'd%d' % i, '--image=i')
        eventually('it tells', lambda: words % 'its pods' in why(c, 'deploy/d%d' % i))
        said = why(c, '-f', '-', input=pod)
        assert said.startswith('Pod p cannot be applied: ' + words % 'it') and 'validatingwebhookconfiguration/out' in said, said
        c.kubectl('delete', 'deployment', 'd%d' % i)
    said = why(c, 'validatingwebhookconfiguration/out')
    assert 'of its webhook out.example.org Service default/nowhere is not there: every write that it is asked about is refused' in said, said
    configure(c, 'Validating', 'out', webhook('out.example.org', at(c, '/no'), [rule(['pods'])]))
    assert why(c, 'validatingwebhookconfiguration/out', code=0).startswith('ValidatingWebhookConfiguration out is as declared')
    forget(c)
    assert why(c, '-f', '-', input=pod, code=0) == 'Pod p can be applied.'
    stranger.stop()


if __name__ == '__main__':
    main([one_is_asked_and_changes_what_is_written, refusals_are_passed_on, what_is_wrong_with_an_answer_is_told, who_is_not_there_is_told_and_may_be_ignored,
          which_are_asked, conditions_decide_who_is_asked, managed_fields_are_shown_and_kept_in_order,
          in_order_and_once_more, dry_runs_ask_only_who_has_no_effects, two_hundred_at_once, why_knows_them, a_pod_behind_a_service], port=16743, cluster=Asked)
