#!/usr/bin/env python3
"""Server-side apply with the real kubectl and helm 4 (its defaults), against an API server without a node: what is
applied again changes nothing, conflicts are told and forced, objects move from client-side apply and back, writers of
scale and status have entries of their own, a release is installed, upgraded, rolled back and uninstalled."""
import subprocess
from lib import *

WEB = '''
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: %(replicas)d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      schedulerName: nobody
      containers:
      - name: web
        image: %(image)s
        ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP, name: dns}]
        resources: {requests: {cpu: 100m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, name: http}, {port: 53, protocol: UDP, name: dns}]
'''
CHART = {
    'Chart.yaml': 'apiVersion: v2\nname: plain\nversion: 1.0.0\n',
    'values.yaml': 'replicas: 1\n',
    'templates/all.yaml': WEB.replace('%(replicas)d', '{{ .Values.replicas }}').replace('%(image)s', '{{ .Values.image }}')
        .replace('name: web', 'name: {{ .Release.Name }}', 1),
    'values.schema.json': '{}',
}


def tried(c, program, *args, **kw):
    return subprocess.run([c.bin + '/' + program] + list(args), env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, **kw)


def apply(c, yaml, *args):
    return c.kubectl('apply', '--server-side', *args, '-f', '-', input=yaml)


def managers(c, what, name, *args):
    """(manager, operation, subresource) -> fields, as kubectl shows them."""
    o = json.loads(c.kubectl('get', what, name, '-o', 'json', '--show-managed-fields', *args))
    return {(e['manager'], e['operation'], e.get('subresource', '')): e['fieldsV1'] for e in o['metadata'].get('managedFields', [])}


def version(c, what, name):
    return c.get(what, name)['metadata']['resourceVersion']


def settled(c):
    """The Deployment's controller has said all that it has to say."""
    eventually('it is observed', lambda: c.get('deploy', 'web')['status'].get('observedGeneration') == c.get('deploy', 'web')['metadata']['generation'])
    last = [None]
    def still():
        was, last[0] = last[0], version(c, 'deploy', 'web')
        return was == last[0]
    eventually('it is still', still)


def again_unchanged(c):
    web = WEB % {'replicas': 2, 'image': 'web:1'}
    out = apply(c, web)
    assert 'deployment.apps/web serverside-applied' in out and 'service/web serverside-applied' in out, out
    settled(c)
    before = version(c, 'deploy', 'web'), version(c, 'svc', 'web')
    apply(c, web)
    assert (version(c, 'deploy', 'web'), version(c, 'svc', 'web')) == before
    m = managers(c, 'deploy', 'web')
    mine = m['kubectl', 'Apply', '']
    assert mine['f:spec']['f:template']['f:spec']['f:containers']['k:{"name":"web"}']['f:ports'].keys() == {
        'k:{"containerPort":80,"protocol":"TCP"}', 'k:{"containerPort":53,"protocol":"UDP"}'}, mine
    assert 'f:status' in m['kube-controller-manager', 'Update', 'status'], m
    assert 'managedFields' not in c.kubectl('get', 'deploy', 'web', '-o', 'yaml')
    p = tried(c, 'kubectl', 'diff', '--server-side', '-f', '-', input=web)
    assert p.returncode == 0 and not p.stdout, p
    p = tried(c, 'kubectl', 'diff', '--server-side', '-f', '-', input=WEB % {'replicas': 2, 'image': 'web:2'})
    assert p.returncode == 1 and '+      - image: web:2' in p.stdout, p


def conflicts(c):
    c.kubectl('scale', 'deploy', 'web', '--replicas', '3')
    m = managers(c, 'deploy', 'web')
    assert m['kubectl', 'Update', 'scale'] == {'f:spec': {'f:replicas': {}}}, m
    assert 'f:replicas' not in m['kubectl', 'Apply', '']['f:spec'], m
    p = tried(c, 'kubectl', 'apply', '--server-side', '-f', '-', input=WEB % {'replicas': 2, 'image': 'web:1'})
    assert p.returncode == 1 and 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in p.stderr, p
    assert c.get('deploy', 'web')['spec']['replicas'] == 3
    why = subprocess.run([WHERRY, 'why', '-f', '-'], env=c.env, input=WEB % {'replicas': 2, 'image': 'web:1'}, text=True, stdout=subprocess.PIPE, timeout=60)
    assert why.returncode == 1 and why.stdout.startswith('Deployment web cannot be applied: it sets fields to other values than those who own them: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas. ') \
        and 'Service web can be applied.' in why.stdout, why
    apply(c, WEB % {'replicas': 2, 'image': 'web:1'}, '--force-conflicts')
    assert c.get('deploy', 'web')['spec']['replicas'] == 2
    m = managers(c, 'deploy', 'web')
    assert ('kubectl', 'Update', 'scale') not in m and 'f:replicas' in m['kubectl', 'Apply', '']['f:spec'], m
    # another manager shares what it says, too, and leaves by saying nothing
    apply(c, WEB % {'replicas': 2, 'image': 'web:1'}, '--field-manager', 'second')
    apply(c, WEB % {'replicas': 2, 'image': 'web:1'}, '--field-manager', 'second')
    assert ('second', 'Apply', '') in managers(c, 'deploy', 'web')
    p = tried(c, 'kubectl', 'apply', '--server-side', '--field-manager', 'second', '-f', '-', input=WEB % {'replicas': 2, 'image': 'web:2'})
    assert p.returncode == 1 and 'conflict with "kubectl": .spec.template.spec.containers[name="web"].image' in p.stderr, p
    apply(c, 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n', '--field-manager', 'second')
    assert ('second', 'Apply', '') not in managers(c, 'deploy', 'web')
    assert c.get('deploy', 'web')['spec']['template']['spec']['containers'][0]['image'] == 'web:1'


def what_is_given_up_goes(c):
    config = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {%s}\n'
    apply(c, config % 'a: "1", b: "1"')
    apply(c, config % 'b: "1"', '--field-manager', 'other')
    c.kubectl('patch', 'cm', 'm', '--type', 'merge', '-p', '{"data":{"c":"1"}}')
    apply(c, config % '')
    assert c.get('cm', 'm')['data'] == {'b': '1', 'c': '1'}
    c.kubectl('patch', 'cm', 'm', '--type', 'json', '-p', '[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]')
    assert managers(c, 'cm', 'm') == {}
    apply(c, config % 'd: "1"')
    assert managers(c, 'cm', 'm') == {('kubectl', 'Apply', ''): {'f:data': {'f:d': {}}},
                                      ('before-first-apply', 'Update', ''): {'f:data': {'.': {}, 'f:b': {}, 'f:c': {}}}}


def from_client_side_and_back(c):
    config = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: move}\ndata: {%s}\n'
    c.apply(config % 'a: "1", b: "1"')
    assert ('kubectl-client-side-apply', 'Update', '') in managers(c, 'cm', 'move')
    apply(c, config % 'a: "2"')
    m = managers(c, 'cm', 'move')
    assert ('kubectl', 'Apply', '') in m and c.get('cm', 'move')['data'] == {'a': '2'}, (m, c.get('cm', 'move'))
    last = json.loads(c.get('cm', 'move')['metadata']['annotations']['kubectl.kubernetes.io/last-applied-configuration'])
    assert last['data'] == {'a': '2'}, last
    c.apply(config % 'a: "3"')      # the annotation was kept right meanwhile
    assert c.get('cm', 'move')['data'] == {'a': '3'}


def status_has_its_own_entry(c):
    c.kubectl('patch', 'deploy', 'web', '--subresource', 'status', '--type', 'merge', '--field-manager', 'me', '-p',
              '{"status":{"conditions":[{"type":"Mine","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z","lastUpdateTime":"2020-01-01T00:00:00Z"}]}}')
    m = managers(c, 'deploy', 'web')
    assert ('me', 'Update', 'status') in m and 'f:spec' not in m['me', 'Update', 'status'], m


def everything_that_shows_objects_shows_them(c):
    c.kubectl('create', 'cm', 'seen', '--from-literal', 'a=1')
    whole = c.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps/seen')
    listed = [o for o in json.loads(c.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps'))['items'] if o['metadata']['name'] == 'seen'][0]
    assert json.loads(whole)['metadata']['managedFields'] == listed['metadata']['managedFields']
    assert listed['metadata']['managedFields'][0]['manager'] == 'kubectl-create'
    yaml = c.kubectl('get', 'cm', 'seen', '-o', 'yaml', '--show-managed-fields')
    assert 'f:data:' in yaml and 'manager: kubectl-create' in yaml, yaml


def charts(c):
    top = c.root + '/chart'
    for name, text in CHART.items():
        path = os.path.join(top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
    in_shop = ('-n', 'shop', '--timeout', '30s')
    replicas = lambda: c.get('deploy', 'shop', '-n', 'shop')['spec']['replicas']
    c.helm('install', 'shop', top, '--create-namespace', '--set', 'image=web:1', *in_shop)
    assert ('helm', 'Apply', '') in managers(c, 'deploy', 'shop', '-n', 'shop'), managers(c, 'deploy', 'shop', '-n', 'shop')
    c.helm('upgrade', 'shop', top, '--set', 'image=web:2,replicas=3', *in_shop)
    assert replicas() == 3
    c.helm('rollback', 'shop', '1', *in_shop)
    assert replicas() == 1
    c.kubectl('scale', 'deploy', 'shop', '-n', 'shop', '--replicas', '5')
    p = tried(c, 'helm', 'upgrade', 'shop', top, '--set', 'image=web:2,replicas=2', *in_shop)
    assert p.returncode != 0 and 'conflict' in p.stderr, p
    c.helm('upgrade', 'shop', top, '--set', 'image=web:2,replicas=2', '--force-conflicts', *in_shop)
    assert replicas() == 2
    c.helm('uninstall', 'shop', '-n', 'shop')
    eventually('it is gone', lambda: 'shop' not in c.kubectl('get', 'deploy,svc', '-n', 'shop', '-o', 'name'))


def a_restart_keeps_them(c):
    before = managers(c, 'deploy', 'web')
    run(['kill', '-9', str(c.role_pid('server'))])
    eventually('it is there again', lambda: managers(c, 'deploy', 'web') == before, timeout=60)


if __name__ == '__main__':
    main([again_unchanged, conflicts, what_is_given_up_goes, from_client_side_and_back, status_has_its_own_entry,
          everything_that_shows_objects_shows_them, charts, a_restart_keeps_them],
         port=16470, args=['--roles', 'server'], image=False)
