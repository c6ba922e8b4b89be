#!/usr/bin/env python3
"""helm 4 with its defaults (it applies on the server) and a plain chart: install, upgrade, rollback, uninstall."""
import base64, gzip, json, os, subprocess
from lib import *

CHART = {
    'Chart.yaml': '''
apiVersion: v2
name: plain
version: %(version)s
appVersion: "1"
description: a Deployment with what it needs
''',
    'values.yaml': '''
replicas: 1
greeting: Hello
migration: 0
password: geheim
image: %(image)s
''',
    'templates/_names.tpl': '''{{- define "plain.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
''',
    'templates/account.yaml': '''
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{ .Release.Name }}, labels: { {{- include "plain.labels" . | replace "\\n" ", " -}} }}
automountServiceAccountToken: true
''',
    'templates/config.yaml': '''
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  greeting: {{ .Values.greeting | quote }}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}}
data:
  password: {{ .Values.password | b64enc }}
''',
    'templates/deployment.yaml': '''
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include "plain.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}}
    spec:
      serviceAccountName: {{ .Release.Name }}
      containers:
      - name: web
        image: {{ .Values.image }}
        ports: [{name: http, containerPort: 8080}]
        env:
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: {{ .Release.Name }}, key: greeting}}}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: {{ .Release.Name }}, key: password}}}
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
''',
    'templates/service.yaml': '''
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  type: NodePort
  selector: {app: {{ .Release.Name }}}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30085}]
''',
    'templates/migrate.yaml': '''
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: %(image)s, command: [sh, -c, "echo migrated to %(version)s; exit {{ .Values.migration }}"]}]
''',
    'templates/tests/answers.yaml': '''
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-answers
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  restartPolicy: Never
  containers: [{name: c, image: %(image)s, command: [wget, -qO-, "http://{{ .Release.Name }}/"]}]
''',
}


def chart(c, version):
    top = '%s/chart-%s' % (c.root, version)
    for name, text in CHART.items():
        path = os.path.join(top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text.replace('%(image)s', IMAGE).replace('%(version)s', version))
    return top


def answer():
    return run(['curl', '-s', '-m', '3', 'http://127.0.0.1:30085/'])


def releases(c, *args):
    return json.loads(c.helm('list', '-n', 'apps', '-o', 'json', *args))


def history(c):
    return [(h['revision'], h['status']) for h in json.loads(c.helm('history', 'shop', '-n', 'apps', '-o', 'json'))]


def install(c):
    assert 'v4' in c.helm('version', '--short'), 'helm 4'
    out = c.helm('install', 'shop', chart(c, '1.0.0'), '-n', 'apps', '--create-namespace', '--wait', '--timeout', '60s', timeout=90)
    assert 'STATUS: deployed' in out, out
    assert answer().startswith('Hello from shop-'), answer()
    got = releases(c)
    assert [(r['name'], r['revision'], r['status'], r['chart']) for r in got] == [('shop', '1', 'deployed', 'plain-1.0.0')], got
    assert c.helm('status', 'shop', '-n', 'apps').find('deployed') > 0
    assert c.kubectl('logs', '-n', 'apps', 'job/shop-migrate') == 'migrated to 1.0.0\n'
    kinds = c.kubectl('get', 'sa,cm,secret,deploy,svc', '-n', 'apps', '-o', 'name')
    for name in ('serviceaccount/shop', 'configmap/shop', 'secret/shop', 'deployment.apps/shop', 'service/shop'):
        assert name in kinds, kinds
    assert c.kubectl('exec', '-n', 'apps', 'deploy/shop', '--', 'env').find('PASSWORD=geheim') >= 0


def install_twice_is_refused(c):
    p = subprocess.run([c.bin + '/helm', 'install', 'shop', chart(c, '1.0.0'), '-n', 'apps'], env=c.env, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode != 0 and ('in use' in p.stderr or 'name' in p.stderr), p


def upgrade(c):
    c.helm('upgrade', 'shop', chart(c, '1.1.0'), '-n', 'apps', '--set', 'replicas=2,greeting=Salut', '--wait', '--timeout', '60s', timeout=90)
    eventually('only the new pods answer', lambda: answer().startswith('Salut'))
    assert c.get('deploy', 'shop', '-n', 'apps')['status']['readyReplicas'] == 2
    assert history(c) == [(1, 'superseded'), (2, 'deployed')], history(c)
    assert c.kubectl('logs', '-n', 'apps', 'job/shop-migrate') == 'migrated to 1.1.0\n'     # made anew


def release_secrets(c):
    items = c.get('secrets', '-n', 'apps', '-l', 'owner=helm,name=shop')['items']
    assert [s['metadata']['name'] for s in items] == ['sh.helm.release.v1.shop.v1', 'sh.helm.release.v1.shop.v2'], items
    for s in items:
        assert s['type'] == 'helm.sh/release.v1'
        release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(s['data']['release']))))
        assert release['name'] == 'shop' and 'kind: Deployment' in release['manifest']
    assert {s['metadata']['labels']['status'] for s in items} == {'superseded', 'deployed'}


def a_chart_that_never_is_ready(c):
    p = subprocess.run([c.bin + '/helm', 'upgrade', 'shop', chart(c, '1.1.0'), '-n', 'apps', '--set', 'replicas=2,image=wherry.dev/none:1', '--wait',
                        '--timeout', '4s'], env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode != 0, p
    assert history(c)[-1] == (3, 'failed'), history(c)
    assert answer().startswith('Salut'), 'the old pods go on'


def rollback(c):
    c.helm('rollback', 'shop', '1', '-n', 'apps', '--wait', '--timeout', '60s', timeout=90)
    eventually('the first answer is back', lambda: answer().startswith('Hello from shop-'))
    assert c.get('deploy', 'shop', '-n', 'apps')['spec']['replicas'] == 1
    assert history(c)[-1] == (4, 'deployed'), history(c)


def a_test_hook(c):
    out = c.helm('test', 'shop', '-n', 'apps', '--timeout', '60s', timeout=90)
    assert 'Succeeded' in out, out
    assert c.kubectl('logs', '-n', 'apps', 'shop-answers').startswith('Hello from shop-')
    c.kubectl('delete', 'pod', '-n', 'apps', 'shop-answers')


def what_it_would_do(c):
    out = c.helm('upgrade', 'shop', chart(c, '1.1.0'), '-n', 'apps', '--dry-run=server', '--set', 'greeting=Ciao')
    assert 'Ciao' in out and history(c)[-1] == (4, 'deployed'), out
    assert 'kind: Service' in c.helm('get', 'manifest', 'shop', '-n', 'apps')


def uninstall(c):
    c.helm('uninstall', 'shop', '-n', 'apps', '--wait', '--timeout', '60s', timeout=90)
    assert releases(c) == []
    left = c.kubectl('get', 'deploy,rs,svc,cm,secret,sa', '-n', 'apps', '-o', 'name').split()
    assert sorted(left) == ['configmap/kube-root-ca.crt', 'serviceaccount/default'], left
    c.kubectl('delete', 'job', 'shop-migrate', '-n', 'apps')             # what is a hook stays
    eventually('no pods', lambda: not c.get('pods', '-n', 'apps')['items'])


if __name__ == '__main__':
    main([install, install_twice_is_refused, upgrade, release_secrets, a_chart_that_never_is_ready, rollback, a_test_hook, what_it_would_do, uninstall])
