#!/usr/bin/env python3
"""HorizontalPodAutoscalers: under real load by what the server itself measures, and by an adapter for custom and external
metrics beside the cluster; what kubectl shows of them; roles killed in between."""
import http.server, json, os, re, signal, ssl, threading, time, urllib.parse
import lib
from hooks import Authority
from lib import eventually, main, run, size

ADDRESS, PORT = '192.0.2.34', 8443
ACCOUNT = 'system:serviceaccount:kube-system:horizontal-pod-autoscaler'
QUICK = 1       # seconds between two looks, where the default of 5 is not what is tried

SERVER = '''
apiVersion: v1
kind: Namespace
metadata: {name: adapter}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: adapter}
spec: {ports: [{port: 443, targetPort: %(port)d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, namespace: adapter, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
endpoints: [{addresses: [%(address)s], conditions: {ready: true}}]
ports: [{port: %(port)d, protocol: TCP}]
'''


def apiservice(group, version, ca):
    return json.dumps({'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': version + '.' + group}, 'spec': {
        'group': group, 'version': version, 'groupPriorityMinimum': 100, 'versionPriority': 100, 'caBundle': ca,
        'service': {'namespace': 'adapter', 'name': 'api', 'port': 443}}})


class Adapter:
    """custom.metrics.k8s.io and external.metrics.k8s.io. values: what is asked -> a quantity; of pods: name of the pod -> one.
    asked: (who, path) of every question for a value."""

    def __init__(self, cert, ca):
        self.values, self.asked = {}, []
        adapter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                code, body = adapter.answer(urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query)), self.headers['X-Remote-User'])
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *unused):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*cert)
        self.server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def answer(self, path, query, who):
        part = path.strip('/').split('/')           # apis GROUP VERSION [namespaces NS ...]
        group = '/'.join(part[1:3])
        if len(part) < 6:
            return 200, {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': group, 'resources': []}
        self.asked.append((who, path, query))
        value = self.values.get('/'.join(part[5:]))
        if value is None:
            return 404, {'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Failure', 'reason': 'NotFound', 'code': 404,
                         'message': 'the server could not find the metric %s' % part[-1]}
        now = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
        of = value if isinstance(value, dict) else {part[-2]: value}
        if group.startswith('external'):
            return 200, {'kind': 'ExternalMetricValueList', 'apiVersion': group, 'metadata': {}, 'items': [
                {'metricName': part[-1], 'metricLabels': {}, 'timestamp': now, 'value': value}]}
        return 200, {'kind': 'MetricValueList', 'apiVersion': group, 'metadata': {}, 'items': [
            {'describedObject': {'name': k, 'namespace': part[4]}, 'metric': {'name': part[-1]}, 'timestamp': now, 'value': v} for k, v in of.items()]}


class Autoscaling(lib.Cluster):
    """A cluster whose settings stand in its file, so that they can change, and the adapter's address."""

    def __enter__(self):
        run(['ip', 'addr', 'add', ADDRESS + '/32', 'dev', 'lo'])
        self.period(QUICK)
        return super().__enter__()

    def period(self, seconds):
        os.makedirs(self.root + '/etc/wherry', exist_ok=True)
        with open(self.root + '/etc/wherry/config.yaml', 'w') as f:
            f.write('hpa-sync-period: %d\n' % seconds)

    def kill(self, role):
        pid = self.role_pid(role)
        os.kill(pid, signal.SIGKILL)
        eventually(role + ' is another', lambda: self.role_pid(role) != pid)
        eventually('the API answers', lambda: self.kubectl('get', '--raw', '/readyz'))


def deploy(name, replicas=1, script='exec sleep 100000', resources='{requests: {cpu: 100m, memory: 8Mi}}', more=''):
    return f'''
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: c, image: "{lib.IMAGE}", command: [sh, -c, {json.dumps(script)}], resources: {resources}}}
{more}
---
'''


def hpa(name, metrics, least=1, most=6, behavior='{scaleDown: {stabilizationWindowSeconds: 0}}', version='apps/v1', kind='Deployment'):
    return f'''
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  minReplicas: {least}
  maxReplicas: {most}
  scaleTargetRef: {{apiVersion: {version}, kind: {kind}, name: {name}}}
  metrics: {metrics}
  behavior: {behavior}
---
'''


def replicas(c, name, kind='deploy'):
    return c.get(kind, name)['spec'].get('replicas')


def scaled(c, name, want, timeout=45, kind='deploy'):
    eventually('%s has %d replicas' % (name, want), lambda: replicas(c, name, kind) == want, timeout=timeout)


def condition(c, name, type):
    return next((x for x in c.get('hpa', name).get('status', {}).get('conditions', []) if x['type'] == type), {})


def pods(c, name):
    return [p['metadata']['name'] for p in c.get('pods', '-l', 'app=' + name)['items'] if not p['metadata'].get('deletionTimestamp')]


# --- metrics of others

def custom_and_external_metrics(c):
    """Each kind of metric moves its Deployment, from an adapter that is asked as the controller's own account; an autoscaler to
    zero and back; what is missing before the adapter is there is told."""
    c.apply(deploy('busy', 1, BUSY, '{requests: {cpu: 100m}, limits: {cpu: 300m}}'))       # for what comes later
    c.apply(deploy('byod', 2) + deploy('byobject') + deploy('byqueue', 2) +
            hpa('byod', '[{type: Pods, pods: {metric: {name: qps}, target: {type: AverageValue, averageValue: "10"}}}]') +
            hpa('byobject', '[{type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: web}, metric: {name: hits}, target: {type: Value, value: "10"}}}]') +
            hpa('byqueue', '[{type: External, external: {metric: {name: jobs, selector: {matchLabels: {q: a}}}, target: {type: AverageValue, averageValue: "10"}}}]', 0, 3))
    eventually('no adapter: told', lambda: 'no custom metrics API (custom.metrics.k8s.io) registered' in condition(c, 'byod', 'ScalingActive').get('message', ''))
    assert condition(c, 'byqueue', 'ScalingActive')['reason'] == 'FailedGetExternalMetric'
    why = c.wherry('why', 'hpa/byod', check=False)
    assert 'v1beta2.custom.metrics.k8s.io' in why and 'adapter' in why, why
    assert 'v1beta1.external.metrics.k8s.io' in c.wherry('why', 'hpa/byqueue', check=False)

    authority = Authority(c.root + '/adapter')
    adapter = Adapter(authority.sign('api', ['DNS:api.adapter.svc']), authority.bundle)
    adapter.values = {'jobs': '20', 'services/web/hits': '30', 'pods/*/qps': {p: '20' for p in pods(c, 'byod')}}
    c.kubectl('apply', '-f', '-', input=SERVER % {'address': ADDRESS, 'port': PORT})
    for group, version in (('custom.metrics.k8s.io', 'v1beta2'), ('external.metrics.k8s.io', 'v1beta1')):
        c.kubectl('apply', '-f', '-', input=apiservice(group, version, authority.bundle))
    scaled(c, 'byod', 4)
    scaled(c, 'byobject', 3)
    assert {who for who, path, query in adapter.asked} == {ACCOUNT}, adapter.asked[-1]
    def was_asked(selector, rest):
        return any(query.get('labelSelector') == selector and path.endswith(rest) for who, path, query in adapter.asked)
    eventually('with the selectors', lambda: was_asked('q=a', '/jobs') and was_asked('app=byod', '/pods/*/qps'))

    adapter.values['jobs'] = '0'
    scaled(c, 'byqueue', 0)
    eventually('scaled to zero: told', lambda: condition(c, 'byqueue', 'ScaledToZero').get('status') == 'True')
    adapter.values['jobs'] = '25'
    scaled(c, 'byqueue', 3)
    status = eventually('its status', lambda: c.get('hpa', 'byqueue')['status'].get('currentMetrics') and c.get('hpa', 'byqueue')['status'])
    assert status['currentMetrics'][0]['external']['metric'] == {'name': 'jobs', 'selector': {'matchLabels': {'q': 'a'}}}, status
    for value, told in (('x' * (20 << 20), 'the answer is over'), ('NaN', 'a value that is no quantity')):
        adapter.values['jobs'] = value
        eventually('told', lambda: told in condition(c, 'byqueue', 'ScalingActive').get('message', ''))
    assert replicas(c, 'byqueue') == 3
    adapter.server.shutdown()
    c.kubectl('delete', 'deploy,hpa', 'byod', 'byobject', 'byqueue')


def targets_of_a_definition(c):
    """A custom resource with a scale is scaled through it, by the lowest metric that it may not go below."""
    c.kubectl('apply', '-f', '-', input='''
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: fleets.example.com}
spec:
  group: example.com
  names: {plural: fleets, singular: fleet, kind: Fleet}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.boats, statusReplicasPath: .status.boats, labelSelectorPath: .status.selector}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
''')
    eventually('its kind is served', lambda: c.apply('{apiVersion: example.com/v1, kind: Fleet, metadata: {name: sea}, spec: {boats: 1}}'))
    c.apply(hpa('sea', '[{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]', 3, 5, version='example.com/v1', kind='Fleet'))
    eventually('as many as minReplicas', lambda: c.get('fleet', 'sea')['spec']['boats'] == 3)
    eventually('it has no selector: told', lambda: condition(c, 'sea', 'ScalingActive').get('reason') == 'InvalidSelector')
    c.kubectl('patch', 'hpa', 'sea', '--type=merge', '-p', '{"spec": {"maxReplicas": 2, "minReplicas": 1}}')
    eventually('no more than maxReplicas', lambda: c.get('fleet', 'sea')['spec']['boats'] == 2)
    events = c.get('events', '--field-selector', 'involvedObject.name=sea,involvedObject.kind=HorizontalPodAutoscaler')['items']
    said = {(e['reason'], e['message']) for e in events}
    assert ('SuccessfulRescale', 'New size: 3; reason: Current number of replicas below Spec.MinReplicas') in said, said
    assert ('SuccessfulRescale', 'New size: 2; reason: Current number of replicas above Spec.MaxReplicas') in said, said
    c.kubectl('delete', 'hpa', 'sea')
    c.kubectl('delete', 'crd', 'fleets.example.com')


# --- real load

BUSY = 'while :; do if [ -f /go ]; then :; else sleep 0.05; fi; done'


def load(c, name, on):
    for p in pods(c, name):
        try:
            c.kubectl('exec', p, '--', 'sh', '-c', 'touch /go' if on else 'rm -f /go')
        except AssertionError:
            if on:
                raise           # one that goes needs not be told to rest


def known(c, name):
    metrics = c.get('hpa', name).get('status', {}).get('currentMetrics')
    return metrics and metrics[0]['type'] == 'Resource'


def doubled(c, name, within):
    start = time.monotonic()
    load(c, name, True)
    scaled(c, name, 2, timeout=within * lib.slowness())
    return time.monotonic() - start


def load_doubles_a_deployment(c):
    """kubectl autoscale; load; twice as many within 15 s; no load, and the server killed: one again, once the window of its
    behavior is over; what kubectl shows."""
    c.kubectl('autoscale', 'deploy', 'busy', '--cpu-percent=80', '--min=1', '--max=2')
    c.kubectl('patch', 'hpa', 'busy', '--type=merge', '-p', '{"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 4}}}}')
    eventually('its use is known', lambda: known(c, 'busy'), timeout=90)
    assert replicas(c, 'busy') == 1
    took = doubled(c, 'busy', 15)
    eventually('more than the most: told', lambda: condition(c, 'busy', 'ScalingLimited').get('reason') == 'TooManyReplicas')
    shown = c.kubectl('get', 'hpa', 'busy')
    assert re.search(r'busy +Deployment/busy +cpu: \d+%/80% +1 +2 +[12] ', shown), shown
    told = c.kubectl('describe', 'hpa', 'busy')
    for words in ('resource cpu on pods  (as a percentage of request)', 'SuccessfulRescale', 'New size: 2; reason: cpu resource utilization (percentage of request) above target', 'TooManyReplicas'):
        assert words in told, (words, told)
    old = json.loads(c.kubectl('get', '--raw', '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/busy'))
    assert old['spec']['targetCPUUtilizationPercentage'] == 80 and old['status']['currentCPUUtilizationPercentage'] > 80, old
    load(c, 'busy', False)
    c.kill('server')
    scaled(c, 'busy', 1, timeout=90)
    events = [e for e in c.get('events', '--field-selector', 'involvedObject.name=busy,reason=SuccessfulRescale')['items'] if e['message'].startswith('New size: 1')]
    assert events[0]['message'] == 'New size: 1; reason: All metrics below target', events
    print('     doubled within %.1f s of load, looking every %d s' % (took, QUICK))


def the_default_period(c):
    """Every 5 s: load that comes just behind a look is seen by the next one."""
    c.kubectl('delete', 'hpa', 'busy')
    c.period(5)
    c.kill('server')
    c.kubectl('autoscale', 'deploy', 'busy', '--cpu-percent=80', '--min=1', '--max=2')
    seen = lambda: c.get('hpa', 'busy')['status'].get('currentMetrics')
    eventually('its use is known', lambda: known(c, 'busy'), timeout=60)
    before = seen()
    eventually('it looks', lambda: seen() != before, timeout=60)
    took = doubled(c, 'busy', 10)
    print('     doubled within %.1f s of load, looking every 5 s' % took)


if __name__ == '__main__':
    main([custom_and_external_metrics, targets_of_a_definition, load_doubles_a_deployment] + size([], [the_default_period]), cluster=Autoscaling)
