#!/usr/bin/env python3
"""Admission policies with the real kubectl: who is refused, warned and let through; parameters, selectors, bindings,
variables, rights; what is said of a policy that is wrong; custom resources; what `wherry why` says of one."""
import json, os, signal, subprocess
import lib
from lib import eventually, main

GROUP = 'admissionregistration.k8s.io/v1'


def policy(name, validations, resources=('configmaps',), groups=('',), operations=('CREATE', 'UPDATE'), match={}, **spec):
    rule = {'apiGroups': list(groups), 'apiVersions': ['*'], 'operations': list(operations), 'resources': list(resources)}
    rule.update(spec.pop('rule', {}))
    return {'apiVersion': GROUP, 'kind': 'ValidatingAdmissionPolicy', 'metadata': {'name': name},
            'spec': dict({'matchConstraints': dict({'resourceRules': [rule]}, **match),
                          'validations': [v if isinstance(v, dict) else {'expression': v} for v in validations]}, **spec)}


def binding(name, to=None, actions=('Deny',), **spec):
    return {'apiVersion': GROUP, 'kind': 'ValidatingAdmissionPolicyBinding', 'metadata': {'name': name},
            'spec': dict({'policyName': to or name, 'validationActions': list(actions)}, **spec)}


def apply(c, *objects):
    return c.kubectl('apply', '-f', '-', input=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': list(objects)}))


def said(c, *args, ok=False, **kw):
    """What kubectl says to stderr: of what fails, or with ok of what does not."""
    p = subprocess.run([c.bin + '/kubectl'] + list(args), env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)
    assert (p.returncode == 0) == ok, (args, p.stdout, p.stderr)
    return p.stderr.strip()


def make(c, name, *more, **kw):
    return said(c, 'create', 'configmap', name, *more, **kw)


def forget(c):
    c.kubectl('delete', 'validatingadmissionpolicies,validatingadmissionpolicybindings', '--all')


def denied(name, what, with_=None):
    return "ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s" % (name, with_ or name, what)


def it_refuses_and_lets_pass(c):
    apply(c, policy('short', [{'expression': 'object.metadata.name.size() < 5', 'messageExpression': "'name has ' + string(object.metadata.name.size())"},
                              {'expression': "!has(object.data) || !('bad' in object.data)", 'reason': 'Forbidden'}]))
    make(c, 'without-a-binding', ok=True)
    apply(c, binding('short'))
    assert make(c, 'toolong').endswith(denied('short', 'name has 7')), 'refusal'
    make(c, 'abc', ok=True)
    assert 'is forbidden: ' + denied('short', "failed expression: !has(object.data) || !('bad' in object.data)") in said(c, 'patch', 'configmap', 'abc', '-p', '{"data":{"bad":"1"}}')
    assert denied('short', 'name has 7') in said(c, 'apply', '--server-side', '-f', '-', input='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"toolong"}}')
    assert denied('short', 'name has 7') in make(c, 'toolong', '--dry-run=server')
    c.kubectl('delete', 'configmap', 'abc', 'without-a-binding')
    apply(c, policy('short', ['object.metadata.name.size() < 9']))                 # it takes effect at once
    make(c, 'toolong', ok=True)
    c.kubectl('delete', 'configmap', 'toolong')
    forget(c)


def warnings_and_failures(c):
    apply(c, policy('odd', ['object.data.a == "1"']), binding('odd', actions=['Warn', 'Audit']))
    assert "Warning: Validation failed for ValidatingAdmissionPolicy 'odd' with binding 'odd': failed expression: object.data.a == \"1\"" in make(c, 'w', '--from-literal=a=2', ok=True)
    assert "expression 'object.data.a == \"1\"' resulted in error: no such key: data" in make(c, 'w2', ok=True)
    apply(c, binding('odd'))
    assert denied('odd', "expression 'object.data.a == \"1\"' resulted in error: no such key: data") in make(c, 'w3')
    apply(c, policy('odd', ['object.data.a == "1"'], failurePolicy='Ignore'))
    make(c, 'w3', ok=True)
    assert denied('odd', 'failed expression') in make(c, 'w4', '--from-literal=a=2')
    c.kubectl('delete', 'configmap', 'w', 'w2', 'w3')
    forget(c)


def parameters(c):
    kind = {'apiVersion': 'v1', 'kind': 'ConfigMap'}
    limits = policy('limits', [{'expression': 'int(object.spec.replicas) <= int(params.data.most)', 'messageExpression': "'at most ' + params.data.most"}],
                    ['deployments'], ['apps'], paramKind=kind)
    apply(c, limits, binding('limits', paramRef={'name': 'most', 'namespace': 'default', 'parameterNotFoundAction': 'Deny'}))
    scale = lambda n, **kw: said(c, 'create', 'deployment', 'd', '--image=x', '--replicas=%d' % n, '--dry-run=server', **kw)
    assert denied('limits', 'failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction') in scale(2)
    make(c, 'most', '--from-literal=most=3', ok=True)
    scale(2, ok=True)
    assert denied('limits', 'at most 3') in scale(4)
    c.kubectl('label', 'configmap', 'most', 'limits=yes')
    make(c, 'less', '--from-literal=most=1', ok=True)
    c.kubectl('label', 'configmap', 'less', 'limits=yes')
    apply(c, binding('limits', paramRef={'selector': {'matchLabels': {'limits': 'yes'}}, 'parameterNotFoundAction': 'Allow'}))
    assert denied('limits', 'at most 1') in scale(2)                               # each of them has to be fulfilled
    scale(1, ok=True)
    c.kubectl('delete', 'configmap', 'most', 'less')
    scale(9, ok=True)
    limits['spec']['paramKind'] = {'apiVersion': 'rules.example.com/v1', 'kind': 'Limit'}
    apply(c, limits)
    assert "ValidatingAdmissionPolicy 'limits' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=Limit'" in scale(1)
    forget(c)


def which_writes_it_is_about(c):
    for ns, label in (('red', 'red'), ('blue', 'blue')):
        c.kubectl('create', 'namespace', ns)
        c.kubectl('label', 'namespace', ns, 'color=' + label)
    apply(c, policy('red', ['false'], match={'namespaceSelector': {'matchLabels': {'color': 'red'}}, 'excludeResourceRules': [
        {'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['*'], 'resources': ['configmaps'], 'resourceNames': ['free']}]}), binding('red'))
    assert denied('red', 'failed expression: false') in make(c, 'x', '-n', 'red')
    make(c, 'x', '-n', 'blue', ok=True)
    make(c, 'free', '-n', 'red', ok=True)
    forget(c)
    apply(c, policy('all', ["namespaceObject.metadata.labels.color != 'red'"]),
          binding('all', matchResources={'objectSelector': {'matchExpressions': [{'key': 'look', 'operator': 'Exists'}]}}))
    labelled = lambda ns, **kw: said(c, 'create', '-n', ns, '--dry-run=server', '-f', '-', input='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"y","labels":{"look":""}}}', **kw)
    assert denied('all', 'failed expression') in labelled('red')
    labelled('blue', ok=True)
    make(c, 'y', '-n', 'red', ok=True)
    forget(c)
    apply(c, policy('keep', [{'expression': "oldObject.metadata.name != 'x' && object == null", 'message': 'x stays'}], operations=['DELETE']), binding('keep'))
    assert denied('keep', 'x stays') in said(c, 'delete', 'configmap', 'x', '-n', 'blue')
    assert denied('keep', 'x stays') in said(c, 'delete', 'configmap', '--all', '-n', 'blue')
    forget(c)
    apply(c, policy('scales', ['object.spec.replicas < 5'], ['deployments/scale'], ['apps'], ['UPDATE']), binding('scales'))
    c.kubectl('create', 'deployment', 'web', '--image=x', '-n', 'blue')
    assert denied('scales', 'failed expression: object.spec.replicas < 5') in said(c, 'scale', 'deployment/web', '-n', 'blue', '--replicas=7')
    c.kubectl('scale', 'deployment/web', '-n', 'blue', '--replicas=2')
    forget(c)


def conditions_variables_and_rights(c):
    apply(c, policy('may', [{'expression': "variables.allowed && variables.n < 2", 'message': 'no'}],
                    matchConditions=[{'name': 'not-nodes', 'expression': "!request.userInfo.groups.exists(g, g == 'system:nodes')"},
                                     {'name': 'named', 'expression': "request.name.startsWith('v')"}],
                    variables=[{'name': 'n', 'expression': 'has(object.data) ? object.data.size() : 0'},
                               {'name': 'allowed', 'expression': "variables.n == 0 || authorizer.requestResource.check('bless').allowed()"}]),
          binding('may'))
    make(c, 'other', '--from-literal=a=1', '--from-literal=b=2', ok=True)
    make(c, 'v0', ok=True)
    make(c, 'v1', '--from-literal=a=1', ok=True)                                   # the admin may all there is
    assert denied('may', 'no') in make(c, 'v2', '--from-literal=a=1', '--from-literal=b=2')
    c.kubectl('create', 'clusterrole', 'maker', '--verb=create,get', '--resource=configmaps')
    c.kubectl('create', 'clusterrolebinding', 'maker', '--clusterrole=maker', '--user=eve')
    assert denied('may', 'no') in make(c, 'v3', '--from-literal=a=1', '--as=eve')
    make(c, 'v3', '--as=eve', ok=True)
    c.kubectl('create', 'clusterrole', 'policies', '--verb=*', '--resource=validatingadmissionpolicies.admissionregistration.k8s.io')
    c.kubectl('create', 'clusterrolebinding', 'policies', '--clusterrole=policies', '--user=eve')
    spying = json.dumps(policy('spy', ['params.data.a == "x"'], paramKind={'apiVersion': 'v1', 'kind': 'Secret'}))
    assert 'spec.paramKind: Forbidden: user &{eve  [system:authenticated] map[]} must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)' in said(c, 'create', '--as=eve', '-f', '-', input=spying)
    c.kubectl('delete', 'configmap', 'other', 'v0', 'v1', 'v3')
    forget(c)


def custom_resources(c):
    definition = {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'boats.example.org'}, 'spec': {
        'group': 'example.org', 'scope': 'Namespaced', 'names': {'plural': 'boats', 'singular': 'boat', 'kind': 'Boat', 'listKind': 'BoatList'},
        'versions': [{'name': v, 'served': True, 'storage': v == 'v1', 'schema': {'openAPIV3Schema': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}} for v in ('v1', 'v2')]}}
    c.kubectl('apply', '-f', '-', input=json.dumps(definition))
    c.kubectl('wait', '--for=condition=Established', 'crd/boats.example.org')
    only_v1 = policy('boats', [{'expression': "object.apiVersion == 'example.org/v1' && object.length <= params.length && params.kind == 'Boat'", 'message': 'too long'}],
                     ['boats'], ['example.org'], rule={'apiVersions': ['v1']}, paramKind={'apiVersion': 'example.org/v2', 'kind': 'Boat'})
    c.kubectl('apply', '-f', '-', input='{"apiVersion":"example.org/v1","kind":"Boat","metadata":{"name":"longest"},"length":12}')
    apply(c, only_v1, binding('boats', paramRef={'name': 'longest', 'parameterNotFoundAction': 'Deny'}))
    boat = lambda version, n, **kw: said(c, 'create', '--dry-run=server', '-f', '-', input='{"apiVersion":"example.org/%s","kind":"Boat","metadata":{"name":"b"},"length":%d}' % (version, n), **kw)
    boat('v1', 3, ok=True)
    boat('v2', 12, ok=True)                                                        # shown as v1
    assert denied('boats', 'too long') in boat('v2', 13)
    only_v1['spec']['matchConstraints']['matchPolicy'] = 'Exact'
    apply(c, only_v1)
    boat('v2', 13, ok=True)
    forget(c)
    c.kubectl('delete', 'crd', 'boats.example.org')


def mutating(name, *mutations, to=None, resources=('configmaps',), **spec):
    rules = [{'apiGroups': ['', 'apps'], 'apiVersions': ['*'], 'operations': ['CREATE', 'UPDATE'], 'resources': list(resources)}]
    of = lambda m: {'patchType': 'ApplyConfiguration', 'applyConfiguration': {'expression': m}} if m.startswith('Object') else {'patchType': 'JSONPatch', 'jsonPatch': {'expression': m}}
    return [{'apiVersion': GROUP, 'kind': 'MutatingAdmissionPolicy', 'metadata': {'name': name},
             'spec': dict({'reinvocationPolicy': 'Never', 'matchConstraints': {'resourceRules': rules}, 'mutations': [of(m) for m in mutations]}, **spec)},
            {'apiVersion': GROUP, 'kind': 'MutatingAdmissionPolicyBinding', 'metadata': {'name': name}, 'spec': {'policyName': name}}]


def what_policies_change(c):
    end = lambda: c.kubectl('delete', 'mutatingadmissionpolicies,mutatingadmissionpolicybindings', '--all')
    apply(c, *mutating('label', "Object{metadata: Object.metadata{labels: {'team': variables.team}}}",
                       "[JSONPatch{op: 'test', path: '/data/a', value: 'no'}, JSONPatch{op: 'remove', path: '/data'}]",
                       "has(object.data) ? [JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: string(object.metadata.labels.size())}] : []",
                       variables=[{'name': 'team', 'expression': "namespaceObject.metadata.name + '-team'"}]))
    said(c, 'create', '-f', '-', ok=True, input='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","labels":{"own":"x"}},"data":{"a":"b"}}')
    o = c.get('configmap', 'm')
    assert o['metadata']['labels'] == {'own': 'x', 'team': 'default-team', 'x/y': '2'} and o['data'] == {'a': 'b'}, o
    end()
    c.kubectl('delete', 'configmap', 'm')
    # lists are merged by their keys; what is one value is not merged
    side = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{%s}}}}"
    apply(c, *mutating('side', side % "containers: [Object.spec.template.spec.containers{name: 'side', image: 'side:1'}]", resources=['deployments']))
    c.kubectl('create', 'deployment', 'm', '--image=own:1', '--replicas=0')
    containers = c.get('deployment', 'm')['spec']['template']['spec']['containers']
    assert sorted((k['name'], k['image'], k['imagePullPolicy']) for k in containers) == [('own', 'own:1', 'IfNotPresent'), ('side', 'side:1', 'IfNotPresent')], containers
    apply(c, *mutating('side', side % "tolerations: [Object.spec.template.spec.tolerations{key: 'x'}]", resources=['deployments']))
    assert "policy 'side' with binding 'side' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.template.spec.tolerations" in said(c, 'create', 'deployment', 'n', '--image=x')
    apply(c, *mutating('side', 'Object{spec: Object.spec{replicas: object.spec.none}}', resources=['deployments'], failurePolicy='Ignore'))
    said(c, 'create', 'deployment', 'n', '--image=x', '--dry-run=server', ok=True)
    c.kubectl('delete', 'deployment', 'm')
    end()
    # each sees what those before it did, and what those after it did where it wants to
    count = "Object{metadata: Object.metadata{annotations: {'%s': string((has(object.metadata.annotations) ? int(object.metadata.annotations[?'%s'].orValue('0')) : 0) + 1)}}}"
    apply(c, *(mutating('a-again', count % ('a', 'a'), reinvocationPolicy='IfNeeded') + mutating('b-once', count % ('b', 'b'))))
    make(c, 'seen', ok=True)
    assert c.get('configmap', 'seen')['metadata']['annotations'] == {'a': '2', 'b': '1'}, c.get('configmap', 'seen')
    c.kubectl('delete', 'configmap', 'seen')
    end()


def what_is_wrong_is_told(c):
    assert "spec.validations[0].expression: Invalid value: \"object.\": compilation failed: ERROR: <input>:1:8: Syntax error" in said(c, 'create', '-f', '-', input=json.dumps(policy('p', ['object.'])))
    apply(c, policy('typo', ['object.spec.replicaz <= 5', 'object.metadata.creationTimestamp < timestamp("2020-01-01T00:00:00Z")'], ['deployments'], ['apps'], rule={'apiVersions': ['v1']}))
    seen = eventually('its types are checked', lambda: c.get('validatingadmissionpolicy', 'typo')['status'].get('typeChecking'))
    assert [w['fieldRef'] for w in seen['expressionWarnings']] == ['spec.validations[0].expression'] and seen['expressionWarnings'][0]['warning'].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replicaz'"), seen
    apply(c, policy('no-pods', [{'expression': 'false', 'message': 'no pods today'}], ['pods']), binding('no-pods'))
    c.kubectl('create', 'deployment', 'stuck', '--image=x')
    def told():
        p = subprocess.run([lib.WHERRY, 'why', 'deploy/stuck'], env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return 'no pods today' in p.stdout and p.stdout
    why = eventually('why names the policy', told)
    assert 'ValidatingAdmissionPolicy no-pods refuses its pods (by binding no-pods): no pods today. Mend what' in why, why
    forget(c)
    eventually('its pod is made', lambda: c.get('deployment', 'stuck')['status'].get('replicas') == 1, 60)
    c.kubectl('delete', 'deployment', 'stuck')


def it_outlives_a_restart(c):
    apply(c, policy('last', ['false']), binding('last'))
    os.kill(c.role_pid('server'), signal.SIGKILL)
    eventually('it is there again', lambda: c.kubectl('get', '--raw', '/readyz'))
    assert denied('last', 'failed expression: false') in make(c, 'z')
    forget(c)
    make(c, 'z', ok=True)


if __name__ == '__main__':
    main([it_refuses_and_lets_pass, warnings_and_failures, parameters, which_writes_it_is_about, conditions_variables_and_rights,
          custom_resources, what_policies_change, what_is_wrong_is_told, it_outlives_a_restart], args=['--roles', 'server'], image=False, port=16748)
