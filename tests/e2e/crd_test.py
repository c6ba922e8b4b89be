#!/usr/bin/env python3
"""Kinds that people define: kubectl's command lines over them, a chart with `crds/`, kills at each step of their coming and
going, a definition that is deleted under the hands of those who write its objects, a thousand of them."""
import os, re, signal, subprocess, threading, time
from lib import *
from informer_test import Api, LOST

CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
WIDGETS = '/apis/%s/v1/namespaces/default/widgets'


def definition(group, versions=None, **spec):
    schema = {'type': 'object', 'description': 'A widget.', 'properties': {
        'spec': {'type': 'object', 'description': 'what is wanted', 'properties': {
            'color': {'type': 'string', 'description': 'its color'},
            'size': {'type': 'integer', 'description': 'how large it is'},
            'replicas': {'type': 'integer'}}},
        'status': {'type': 'object', 'properties': {'phase': {'type': 'string'}, 'replicas': {'type': 'integer'}}}}}
    version = {'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': schema},
               'subresources': {'status': {}, 'scale': {'specReplicasPath': '.spec.replicas', 'statusReplicasPath': '.status.replicas'}},
               'selectableFields': [{'jsonPath': '.spec.color'}],
               'additionalPrinterColumns': [{'name': 'Color', 'type': 'string', 'jsonPath': '.spec.color'},
                                            {'name': 'Size', 'type': 'integer', 'jsonPath': '.spec.size', 'priority': 1}]}
    return {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'widgets.' + group},
            'spec': dict({'group': group, 'scope': 'Namespaced', 'names': {'plural': 'widgets', 'kind': 'Widget', 'shortNames': ['wd']},
                          'versions': versions or [version]}, **spec)}


def widget(group, name, **spec):
    return {'apiVersion': group + '/v1', 'kind': 'Widget', 'metadata': {'name': name}, 'spec': spec}


def condition(o, kind):
    return next((c for c in o.get('status', {}).get('conditions') or [] if c['type'] == kind), {'status': '', 'reason': ''})


def established(api, group):
    status, o = api.call('GET', CRDS + '/widgets.' + group)
    return status == 200 and condition(o, 'Established')['status'] == 'True'


def defined(api, group, **kw):
    api.must('POST', CRDS, definition(group, **kw))
    eventually('it is established', lambda: established(api, group))


def gone(api, group):
    return api.call('GET', CRDS + '/widgets.' + group)[0] == 404


def said(c, *args):
    """All that kubectl says, whether it fails or not."""
    return subprocess.run([c.bin + '/kubectl'] + list(args), env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


def kubectl_over_an_own_kind(c):
    g = 'kubectl.example.dev'
    c.apply(json.dumps(definition(g)))
    c.kubectl('wait', '--for=condition=Established', 'crd/widgets.' + g, '--timeout=20s')
    assert 'unchanged' in c.apply(json.dumps(definition(g)))    # controllers wrote its status, and nothing else
    assert c.get('crd', 'widgets.' + g)['spec']['versions'] == definition(g)['spec']['versions']
    c.apply(json.dumps(widget(g, 'a', color='red', size=3, replicas=2)))
    assert 'COLOR' in c.kubectl('get', 'wd') and 'SIZE' not in c.kubectl('get', 'wd')
    wide = c.kubectl('get', 'widgets', '-o', 'wide').split('\n')
    assert wide[0].split() == ['NAME', 'COLOR', 'SIZE'] and wide[1].split() == ['a', 'red', '3'], wide
    told = c.kubectl('explain', 'widgets', '--recursive')
    assert 'A widget.' in told and 'color\t<string>' in told and 'ownerReferences' in told, told
    assert 'how large it is' in c.kubectl('explain', 'widgets.spec.size')
    assert 'scaled' in c.kubectl('scale', 'wd/a', '--replicas=5')
    c.kubectl('patch', 'wd', 'a', '--type=merge', '-p', '{"spec":{"color":"green"}}')
    assert c.get('wd', 'a')['spec'] == {'color': 'green', 'size': 3, 'replicas': 5}
    assert c.get('wd', '--field-selector=spec.color=green')['items'][0]['metadata']['name'] == 'a'
    assert not c.get('wd', '--field-selector=spec.color=red')['items']
    bad = said(c, 'patch', 'wd', 'a', '--type=strategic', '-p', '{"spec":{"color":"x"}}')
    assert 'merge-patch+json' in bad, bad
    seen = []
    watch = subprocess.Popen([c.bin + '/kubectl', 'get', 'wd', '-o', 'wide', '-w'], env=c.env, stdout=subprocess.PIPE, text=True)
    threading.Thread(target=lambda: seen.extend(iter(watch.stdout.readline, '')), daemon=True).start()
    try:
        eventually('the watch has begun', lambda: any('green' in line for line in seen))
        run([c.bin + '/kubectl', 'edit', 'wd', 'a'], env=dict(c.env, EDITOR='sed -i s/green/blue/'))
        eventually('the watch shows the edit', lambda: any('blue' in line for line in seen))
    finally:
        watch.kill()
        watch.wait()
    waits = subprocess.Popen([c.bin + '/kubectl', 'wait', 'wd/a', '--for=jsonpath={.status.phase}=Ready', '--timeout=30s'], env=c.env)
    c.kubectl('patch', 'wd', 'a', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Ready"}}')
    assert waits.wait(40) == 0
    applied = json.dumps(widget(g, 'b', color='gray', size=1))
    for _ in 'twice':
        assert 'widget.%s/b serverside-applied' % g in c.kubectl('apply', '--server-side', '-f', '-', input=applied)
    assert c.get('wd', 'b')['metadata']['generation'] == 1
    run([c.bin + '/kubectl', 'diff', '--server-side', '-f', '-'], env=c.env, input=applied)
    differs = subprocess.run([c.bin + '/kubectl', 'diff', '-f', '-'], env=c.env, input=applied.replace('gray', 'pink'), text=True, stdout=subprocess.PIPE, timeout=60)
    assert differs.returncode == 1 and '+  color: pink' in differs.stdout, differs
    c.kubectl('label', 'wd', 'b', 'tier=back')
    c.kubectl('annotate', 'wd', 'b', 'note=x')
    c.kubectl('replace', '-f', '-', input=applied.replace('gray', 'pink'))
    assert c.get('wd', 'b')['spec']['color'] == 'pink'
    c.kubectl('apply', '--server-side', '--force-conflicts', '-f', '-', input=applied)
    assert c.get('wd', 'b')['spec']['color'] == 'gray'
    c.kubectl('delete', 'wd', 'b')
    described = c.kubectl('describe', 'wd', 'a')
    assert 'blue' in described and 'Ready' in described, described
    assert 'blue' in c.wherry('get', 'wd', '-o', 'wide')
    assert 'blue' in c.wherry('describe', 'wd/a')
    out = said(c, 'delete', 'crd', 'widgets.' + g)
    assert '1 object of kind Widget is deleted with the definition' in out, out
    assert gone(Api(c), g)


CHART = {'Chart.yaml': 'apiVersion: v2\nname: own\nversion: 1.0.0\n',
         'templates/widget.yaml': 'apiVersion: helm.example.dev/v1\nkind: Widget\nmetadata: {name: {{ .Release.Name }}}\nspec: {color: {{ .Values.color }}, size: {{ .Values.size }}}\n',
         # what is there already is looked up, and said again
         'templates/seen.yaml': '{{ $there := lookup "helm.example.dev/v1" "Widget" .Release.Namespace .Release.Name }}\n'
                                'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata: {color: {{ $there | dig "spec" "color" "none" | quote }}}\n',
         'templates/hook.yaml': 'apiVersion: helm.example.dev/v1\nkind: Widget\nmetadata:\n  name: hooked\n  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}\n'
                                'spec: {size: {{ .Release.Revision }}}\n',
         'values.yaml': 'color: red\nsize: 1\n'}


def a_chart_with_definitions(c):
    folder = c.root + '/own'
    for name, text in dict(CHART, **{'crds/widgets.yaml': json.dumps(definition('helm.example.dev'))}).items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), 'w') as f:
            f.write(text)
    def color(name='one'):
        return c.get('widgets.helm.example.dev', name)['spec'].get('color')

    def size_of(name):
        return c.get('widgets.helm.example.dev', name)['spec']['size']
    c.helm('install', 'one', folder)
    assert color() == 'red' and size_of('hooked') == 1 and c.get('configmap', 'seen')['data'] == {'color': 'none'}
    c.helm('upgrade', 'one', folder, '--set', 'color=blue')
    assert color() == 'blue' and size_of('hooked') == 2 and c.get('configmap', 'seen')['data'] == {'color': 'red'}
    generation = c.get('widgets.helm.example.dev', 'one')['metadata']['generation']
    c.helm('upgrade', 'one', folder, '--set', 'color=blue')
    assert c.get('widgets.helm.example.dev', 'one')['metadata']['generation'] == generation
    c.kubectl('patch', 'widgets.helm.example.dev', 'one', '--type=merge', '-p', '{"spec":{"size":7}}')
    p = subprocess.run([c.bin + '/helm', 'upgrade', 'one', folder, '--set', 'size=8'], env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode and 'conflict with "kubectl-patch" using helm.example.dev/v1: .spec.size' in p.stderr, p
    c.helm('upgrade', 'one', folder, '--set', 'size=8', '--force-conflicts')
    assert size_of('one') == 8
    c.helm('rollback', 'one', '1', '--force-conflicts')
    assert color() == 'red' and size_of('one') == 1
    c.helm('uninstall', 'one')
    left = [o['metadata']['name'] for o in c.get('widgets.helm.example.dev')['items']]
    assert left == ['hooked'], left
    c.kubectl('delete', 'crd', 'widgets.helm.example.dev')


DYNAMIC = r"""
import sys
from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError
d = DynamicClient(config.new_client_from_config(sys.argv[1]))
w = d.resources.get(api_version='dynamic.example.dev/v1', kind='Widget')
assert w.namespaced and w.singular_name == 'widget' and 'status' in w.subresources and 'scale' in w.subresources, w
body = {'apiVersion': 'dynamic.example.dev/v1', 'kind': 'Widget', 'metadata': {'name': 'a'}, 'spec': {'color': 'red', 'size': 1}}
made = w.create(body=body, namespace='default')
assert made.spec.color == 'red' and made.metadata.generation == 1
try:
    w.create(body=body, namespace='default')
    assert False
except ConflictError as e:
    assert e.status == 409
try:
    w.create(body=dict(body, metadata={'name': 'b'}, spec={'size': 'x'}), namespace='default')
    assert False
except UnprocessibleEntityError as e:
    assert 'spec.size' in str(e.body)
w.patch(body={'spec': {'color': 'blue'}}, name='a', namespace='default', content_type='application/merge-patch+json')
w.patch(body={'spec': {'replicas': 3}}, name='a', namespace='default', content_type='application/merge-patch+json', field_manager='dynamic')
w.status.patch(body={'status': {'phase': 'Ready'}}, name='a', namespace='default', content_type='application/merge-patch+json')
got = w.get(name='a', namespace='default')
assert (got.spec.color, got.spec.size, got.spec.replicas, got.status.phase) == ('blue', 1, 3, 'Ready'), got
assert ('dynamic', 'Update') in [(m.manager, m.operation) for m in got.metadata.managedFields], got
assert [o.metadata.name for o in w.get(namespace='default', field_selector='spec.color=blue').items] == ['a']
seen = []
for e in w.watch(namespace='default', resource_version='0', timeout=20):
    seen.append(e['type'])
    if e['type'] == 'ADDED':
        w.delete(name='a', namespace='default')
    if e['type'] == 'DELETED':
        break
assert seen == ['ADDED', 'DELETED'], seen
try:
    w.get(name='a', namespace='default')
    assert False
except NotFoundError:
    pass
print('fine')
"""


def pythons_dynamic_client(c):
    g, api = 'dynamic.example.dev', Api(c)
    defined(api, g)
    folder = c.root + '/cache'
    os.makedirs(folder, exist_ok=True)
    assert run(['/usr/bin/python3', '-c', DYNAMIC, c.env['KUBECONFIG']], env=dict(c.env, TMPDIR=folder)) == 'fine\n'
    api.must('DELETE', CRDS + '/widgets.' + g)
    eventually('it goes', lambda: gone(api, g))


def it_is_served_at_once(c):
    api, least = Api(c), 9
    for i in range(8):
        g = 'soon%d.example.dev' % i
        api.must('POST', CRDS, definition(g))
        start = time.monotonic()
        while not established(api, g):
            assert time.monotonic() - start < 20
        assert any(x['name'] == g for x in api.must('GET', '/apis')['groups'])
        api.must('POST', WIDGETS % g, widget(g, 'a'))
        least = min(least, time.monotonic() - start)
        api.must('DELETE', CRDS + '/widgets.' + g)
        eventually('it goes', lambda: gone(api, g))
    assert least < 0.1 * slowness(), least


def definitions_that_a_setting_asks_for(c):
    """They come with the server, are brought up to date while they are ours, and are anybody's to apply over."""
    name = 'tlsroutes.gateway.networking.k8s.io'
    roles = ['--roles', 'server', '--set']

    def version(o):
        return [o['metadata']['annotations']['gateway.networking.k8s.io/' + x] for x in ('channel', 'bundle-version')]

    def own():
        o = [json.loads(x) for x in run([os.path.join(TOP, 'tools/gen-definitions'), '--show', 'gateway_standard']).splitlines()]
        o = next(x for x in o if x['metadata']['name'] == name)
        o['metadata']['annotations']['gateway.networking.k8s.io/bundle-version'] = 'v1.5.0'
        o['spec']['versions'][0]['schema']['openAPIV3Schema']['description'] = 'As I like it.'
        return o

    with Cluster(port=16645, image=False, args=roles + ['gateway=standard']) as x:
        x.kubectl('wait', '--for=condition=Established', '--timeout=20s', 'crd', '--all')
        first = x.get('crd', name)
        assert version(first)[0] == 'standard', version(first)
        route = {'apiVersion': 'gateway.networking.k8s.io/v1', 'kind': 'TLSRoute', 'metadata': {'name': 'a'},
                 'spec': {'hostnames': ['10.0.0.1'], 'rules': [{'backendRefs': [{'name': 'b', 'port': 443}]}]}}
        p = subprocess.run([x.bin + '/kubectl', 'apply', '-f', '-'], env=x.env, input=json.dumps(route), capture_output=True, text=True)
        assert 'Hostnames cannot contain an IP' in p.stderr, p
        x.kubectl('delete', 'crd', 'udproutes.gateway.networking.k8s.io')
        x.down()
        x.args = roles + ['gateway=experimental']
        x.up()
        x.kubectl('wait', '--for=condition=Established', '--timeout=20s', 'crd', '--all')
        assert version(x.get('crd', name)) == ['experimental', version(first)[1]]
        assert sum('.gateway.networking.' in o['metadata']['name'] for o in x.get('crd')['items']) == 13
        x.kubectl('apply', '--server-side', '-f', '-', input=json.dumps(own()))       # no conflict: nobody owns them
        x.down()
        x.up()
        assert version(x.get('crd', name)) == ['standard', 'v1.5.0'], 'what somebody put in its place stays'
        assert 'boot.definition' in x.log() and name in x.log().split('boot.definition')[1].split('\n')[0]


def retried(fn, timeout=60):
    """What fn answers, however often the server is not there meanwhile."""
    end = time.monotonic() + timeout
    while True:
        try:
            return fn()
        except LOST:
            assert time.monotonic() < end
            time.sleep(0.05)


def the_server_dies_at_every_step(c):
    api = Api(c)

    def kill(after):
        time.sleep(after)
        os.kill(c.role_pid('server'), signal.SIGKILL)

    for i in range(size(6, 30)):
        g, after = 'dies%d.example.dev' % i, i % 10 * 0.003
        status = retried(lambda: api.call('POST', CRDS, definition(g)))[0]
        assert status in (201, 409)
        kill(after)
        eventually('it is established', lambda: retried(lambda: established(api, g)), timeout=60)
        for n in range(3):
            eventually('an object is made', lambda: retried(lambda: api.call('POST', WIDGETS % g, widget(g, 'w%d' % n)))[0] in (201, 409))
        status, _ = retried(lambda: api.call('DELETE', CRDS + '/widgets.' + g))
        assert status in (200, 404), status
        kill(after)
        eventually('it is gone', lambda: retried(lambda: gone(api, g)), timeout=60)
        retried(lambda: api.call('POST', CRDS, definition(g)))
        eventually('it is established anew', lambda: retried(lambda: established(api, g)), timeout=60)
        assert retried(lambda: api.must('GET', WIDGETS % g))['items'] == [], 'what was of the first is not of the second'
        retried(lambda: api.call('DELETE', CRDS + '/widgets.' + g))
        eventually('it is gone', lambda: retried(lambda: gone(api, g)), timeout=60)


def fifty_write_while_it_goes(c):
    g, stop, codes, lock = 'fifty.example.dev', threading.Event(), {}, threading.Lock()
    api = Api(c)
    defined(api, g)

    def writes(i):
        mine, n = Api(c), 0
        while not stop.is_set():
            n += 1
            status, got = mine.call('POST', WIDGETS % g, widget(g, 'w-%d-%d' % (i, n), size=n))
            with lock:
                codes[status] = codes.get(status, 0) + 1
            if status == 404:
                time.sleep(0.02)

    threads = [threading.Thread(target=writes, args=(i,)) for i in range(50)]
    for t in threads:
        t.start()
    try:
        eventually('some are made', lambda: codes.get(201, 0) > 200, timeout=60)
        api.must('DELETE', CRDS + '/widgets.' + g)
        eventually('the definition goes', lambda: gone(api, g), timeout=60)
        eventually('all are told', lambda: codes.get(404, 0) > 50, timeout=60)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert set(codes) <= {201, 403, 404}, codes
    defined(api, g)
    assert api.must('GET', WIDGETS % g)['items'] == []
    api.must('DELETE', CRDS + '/widgets.' + g)
    eventually('it goes', lambda: gone(api, g))


def a_namespace_and_an_owner_take_them_along(c):
    g, api = 'owned.example.dev', Api(c)
    defined(api, g)
    c.kubectl('create', 'namespace', 'taken')
    api.must('POST', (WIDGETS % g).replace('default', 'taken'), widget(g, 'a'))
    owner = api.must('POST', WIDGETS % g, widget(g, 'owner'))
    ref = {'apiVersion': g + '/v1', 'kind': 'Widget', 'name': 'owner', 'uid': owner['metadata']['uid']}
    for kind, path, o in (('ConfigMap', '/api/v1/namespaces/default/configmaps', {'metadata': {'name': 'owned'}}),
                          ('Widget', WIDGETS % g, widget(g, 'owned'))):
        o['metadata']['ownerReferences'] = [ref]
        api.must('POST', path, dict(o, apiVersion=o.get('apiVersion', 'v1'), kind=kind))
    c.kubectl('delete', 'namespace', 'taken', '--timeout=60s')
    api.must('DELETE', WIDGETS % g + '/owner')
    eventually('dependents go', lambda: api.call('GET', WIDGETS % g + '/owned')[0] == 404 and
               api.call('GET', '/api/v1/namespaces/default/configmaps/owned')[0] == 404)
    api.must('DELETE', CRDS + '/widgets.' + g)
    eventually('it goes', lambda: gone(api, g))


def memory(pid):
    with open('/proc/%d/smaps_rollup' % pid) as f:
        return int(re.search(r'Pss:\s+(\d+)', f.read()).group(1))


def cpu(pid):
    with open('/proc/%d/stat' % pid) as f:
        return sum(map(int, f.read().rsplit(')')[1].split()[11:13])) / os.sysconf('SC_CLK_TCK')


def a_thousand(c):
    api, n = Api(c), size(200, 1000)
    pid = c.role_pid('server')
    before, start = memory(pid), time.monotonic()
    for i in range(n):
        api.must('POST', CRDS, definition('t%d.example.dev' % i))

    def all_established():
        items = [o for o in api.must('GET', CRDS)['items'] if o['spec']['group'].endswith('.example.dev')]
        return sum(condition(o, 'Established')['status'] == 'True' for o in items) >= n
    eventually('all are established', all_established, timeout=120)
    took, each = (time.monotonic() - start) / n, (memory(pid) - before) / n
    print('     %.1f ms and %.0f KiB each' % (1000 * took, each))
    assert each < 100, each
    used = cpu(pid)
    time.sleep(2)
    assert cpu(pid) - used < 0.1 * slowness(), 'it is not idle'
    os.kill(pid, signal.SIGKILL)
    eventually('it serves again', lambda: retried(lambda: api.call('GET', WIDGETS % 't0.example.dev'))[0] == 200, timeout=60)
    for i in range(n):
        api.must('DELETE', CRDS + '/widgets.t%d.example.dev' % i)
    eventually('they go', lambda: not [o for o in api.must('GET', CRDS)['items'] if o['spec']['group'].endswith('.example.dev')], timeout=120)


if __name__ == '__main__':
    main([kubectl_over_an_own_kind, a_chart_with_definitions, pythons_dynamic_client, it_is_served_at_once, definitions_that_a_setting_asks_for, a_namespace_and_an_owner_take_them_along,
          fifty_write_while_it_goes, the_server_dies_at_every_step, a_thousand], args=['--roles', 'server'], image=False, port=16644)
