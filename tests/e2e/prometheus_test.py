"""Debian's Prometheus in a pod, with the jobs that its own documentation has for Kubernetes: all targets are there, and are
scraped by its service account's token and the cluster's CA. Debian builds it without the discovery of Kubernetes, so the
targets come from here, with the labels that this discovery would give them (role by role, read with the same account's
rights); what is kept of them, and where and how it is scraped, the job says."""
from lib import *
import subprocess

TLS = '''
    scheme: https
    tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
    authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}'''
PROBE = '''
    metrics_path: /probe
    params: {module: [http_2xx]}'''


def service_rules(kind):
    meta = '__meta_kubernetes_' + kind
    return '''
    - {source_labels: [%s_annotation_prometheus_io_scrape], action: keep, regex: true}
    - {source_labels: [%s_annotation_prometheus_io_path], action: replace, target_label: __metrics_path__, regex: (.+)}
    - {source_labels: [__address__, %s_annotation_prometheus_io_port], action: replace, target_label: __address__, regex: '([^:]+)(?::\\d+)?;(\\d+)', replacement: '$1:$2'}
    - {action: labelmap, regex: %s_label_(.+)}''' % ((meta,) * 4)


CONFIG = '''
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: kubernetes-apiservers
    file_sd_configs: [{files: [/sd/endpoints.json]}]%(tls)s
    relabel_configs:
    - {source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_service_name, __meta_kubernetes_endpoint_port_name], action: keep, regex: default;kubernetes;https}
  - job_name: kubernetes-nodes
    file_sd_configs: [{files: [/sd/node.json]}]%(tls)s
    relabel_configs: [{action: labelmap, regex: __meta_kubernetes_node_label_(.+)}]
  - job_name: kubernetes-nodes-cadvisor
    file_sd_configs: [{files: [/sd/node.json]}]%(tls)s
    metrics_path: /metrics/cadvisor
    relabel_configs: [{action: labelmap, regex: __meta_kubernetes_node_label_(.+)}]
  - job_name: kubernetes-service-endpoints
    file_sd_configs: [{files: [/sd/endpoints.json]}]
    relabel_configs:%(service)s
    - {source_labels: [__meta_kubernetes_service_annotation_prometheus_io_scheme], action: replace, target_label: __scheme__, regex: '(https?)'}
  - job_name: kubernetes-endpointslices
    file_sd_configs: [{files: [/sd/endpointslice.json]}]
    relabel_configs:%(service)s
  - job_name: kubernetes-services%(probe)s
    file_sd_configs: [{files: [/sd/service.json]}]
    relabel_configs:
    - {source_labels: [__meta_kubernetes_service_annotation_prometheus_io_probe], action: keep, regex: true}
    - {source_labels: [__address__], target_label: __param_target}
    - {target_label: __address__, replacement: '127.0.0.1:9115'}
    - {source_labels: [__param_target], target_label: instance}
  - job_name: kubernetes-ingresses%(probe)s
    file_sd_configs: [{files: [/sd/ingress.json]}]
    relabel_configs:
    - {source_labels: [__meta_kubernetes_ingress_annotation_prometheus_io_probe], action: keep, regex: true}
    - {source_labels: [__meta_kubernetes_ingress_scheme, __address__, __meta_kubernetes_ingress_path], regex: '(.+);(.+);(.+)', replacement: '${1}://${2}${3}', target_label: __param_target}
    - {target_label: __address__, replacement: '127.0.0.1:9115'}
    - {source_labels: [__param_target], target_label: instance}
  - job_name: kubernetes-pods
    file_sd_configs: [{files: [/sd/pod.json]}]
    relabel_configs:%(pod)s
''' % {'tls': TLS, 'probe': PROBE, 'service': service_rules('service'), 'pod': service_rules('pod')}

OBJECTS = '''
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus}
rules:
- {apiGroups: [""], resources: [nodes, nodes/metrics, services, endpoints, pods], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get, list, watch]}
- {nonResourceURLs: [/metrics, /metrics/cadvisor], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: default}]
---
apiVersion: v1
kind: Service
metadata: {name: prometheus, annotations: {prometheus.io/scrape: "true", prometheus.io/probe: "true"}}
spec: {selector: {app: prometheus}, ports: [{name: http, port: 9090}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: prometheus, annotations: {prometheus.io/probe: "true"}}
spec:
  rules: [{host: prometheus.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: prometheus, port: {name: http}}}}]}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: prometheus
  labels: {app: prometheus}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9115", prometheus.io/path: /probe}
spec:
  serviceAccountName: prometheus
  terminationGracePeriodSeconds: 0
  containers:
  - name: prometheus
    image: wherry.dev/test:1
    command: [/usr/bin/prometheus, --config.file=/etc/prometheus/prometheus.yml, --storage.tsdb.path=/data]
    ports: [{name: http, containerPort: 9090}]
    readinessProbe: {httpGet: {path: /-/ready, port: 9090}, periodSeconds: 1}
    volumeMounts: &mounts
    - {name: usr, mountPath: /usr, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
    - {name: config, mountPath: /etc/prometheus}
    - {name: data, mountPath: /data}
    - {name: sd, mountPath: /sd}
  - name: prober
    image: wherry.dev/test:1
    command: [/usr/bin/prometheus-node-exporter, "--web.listen-address=:9115", --web.telemetry-path=/probe, --collector.disable-defaults, --collector.loadavg]
    volumeMounts: *mounts
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /usr/lib}}
  - {name: lib64, hostPath: {path: /usr/lib64}}
  - {name: config, configMap: {name: prometheus}}
  - {name: data, emptyDir: {}}
  - {name: sd, hostPath: {path: %s}}
'''
JOBS = ['kubernetes-' + j for j in 'apiservers nodes nodes-cadvisor service-endpoints endpointslices services ingresses pods'.split()]


def meta(kind, obj):
    """Labels that every object has, of itself, its labels and annotations."""
    name = lambda t: re.sub('[^a-zA-Z0-9_]', '_', t)
    labels = {'__meta_kubernetes_namespace': obj['metadata'].get('namespace', ''), '__meta_kubernetes_%s_name' % kind: obj['metadata']['name']}
    for what in ('label', 'annotation'):
        for k, v in (obj['metadata'].get(what + 's') or {}).items():
            labels['__meta_kubernetes_%s_%s_%s' % (kind, what, name(k))] = v
    return labels


def discover(c):
    """Targets by role, as the discovery of Kubernetes makes them."""
    token = c.kubectl('create', 'token', 'prometheus').strip()
    kubeconfig = c.root + '/prometheus.kubeconfig'
    with open(c.env['KUBECONFIG']) as f, open(kubeconfig, 'w') as to:
        to.write(re.sub(r'client-certificate-data:.*\n(\s*)client-key-data:.*', 'token: ' + token, f.read()))
    read = lambda kind: json.loads(run([c.bin + '/kubectl', '--kubeconfig', kubeconfig, 'get', kind, '-A', '-o', 'json'], env=c.env))['items']
    found = {role: [] for role in ('node', 'endpoints', 'endpointslice', 'service', 'ingress', 'pod')}
    add = lambda role, address, labels: found[role].append({'targets': [address], 'labels': labels})
    for o in read('nodes'):
        ip = next(a['address'] for a in o['status']['addresses'] if a['type'] == 'InternalIP')
        add('node', '%s:%d' % (ip, o['status']['daemonEndpoints']['kubeletEndpoint']['Port']), meta('node', o))
    services = {(o['metadata']['namespace'], o['metadata']['name']): meta('service', o) for o in read('services')}
    for o in read('endpoints'):
        of = services.get((o['metadata']['namespace'], o['metadata']['name']), {})
        for subset in o.get('subsets', []):
            for port in subset.get('ports', []):
                for a in subset.get('addresses', []):
                    add('endpoints', '%s:%d' % (a['ip'], port['port']), dict(meta('endpoints', o), **of, __meta_kubernetes_endpoint_port_name=port.get('name', '')))
    for o in read('endpointslices'):
        of = services.get((o['metadata']['namespace'], o['metadata']['labels'].get('kubernetes.io/service-name')), {})
        for port in o.get('ports', []):
            for e in o.get('endpoints') or []:
                add('endpointslice', '%s:%d' % (e['addresses'][0], port['port']), dict(meta('endpointslice', o), **of))
    for o in read('services'):
        for port in o['spec']['ports']:
            add('service', '%s.%s.svc:%d' % (o['metadata']['name'], o['metadata']['namespace'], port['port']), meta('service', o))
    for o in read('ingresses'):
        for rule in o['spec']['rules']:
            for path in rule['http']['paths']:
                add('ingress', rule['host'], dict(meta('ingress', o), __meta_kubernetes_ingress_scheme='http', __meta_kubernetes_ingress_path=path['path']))
    for o in read('pods'):
        for container in o['spec']['containers'] if o['status'].get('podIP') else []:
            for port in container.get('ports') or [{}]:
                add('pod', o['status']['podIP'] + (':%d' % port['containerPort'] if port else ''), meta('pod', o))
    for role, targets in found.items():
        with open('%s/sd/%s.new' % (c.root, role), 'w') as f:
            json.dump(targets, f)
        os.rename('%s/sd/%s.new' % (c.root, role), '%s/sd/%s.json' % (c.root, role))


def ask(c, path):
    """Of Prometheus, through the API server: pods/proxy."""
    return json.loads(c.kubectl('get', '--raw', '/api/v1/namespaces/default/pods/prometheus:9090/proxy/api/v1' + path))['data']


def query(c, what):
    return ask(c, '/query?query=' + what.replace('{', '%7B').replace('}', '%7D').replace('"', '%22').replace(' ', '%20'))['result']


def all_targets_are_found_and_up(c):
    c.kubectl('create', 'configmap', 'prometheus', '--from-file=prometheus.yml=/dev/stdin', input=CONFIG)
    os.mkdir(c.root + '/sd')
    c.apply(OBJECTS % (c.root + '/sd'))
    c.kubectl('wait', '--for=condition=Ready', 'pod/prometheus', '--timeout=50s')
    eventually('it has an endpoint', lambda: c.get('endpoints', 'prometheus').get('subsets'))
    discover(c)

    def up():
        targets = ask(c, '/targets?state=active')['activeTargets']
        bad = [(t['labels']['job'], t['scrapeUrl'], t['lastError']) for t in targets if t['health'] != 'up']
        assert not bad, bad
        assert sorted({t['labels']['job'] for t in targets}) == sorted(JOBS), sorted({t['labels']['job'] for t in targets})
        return targets
    targets = eventually('all targets are up', up, timeout=30, every=0.3)
    node = c.get('node')['items'][0]
    ip = next(a['address'] for a in node['status']['addresses'] if a['type'] == 'InternalIP')
    urls = {t['labels']['job']: t['scrapeUrl'] for t in targets}
    assert urls['kubernetes-nodes'] == 'https://%s:10250/metrics' % ip and urls['kubernetes-nodes-cadvisor'] == 'https://%s:10250/metrics/cadvisor' % ip, urls


def what_dashboards_ask_for_is_there(c):
    """Families that the usual dashboards and alerts of Kubernetes read, with their labels."""
    for _ in range(3):
        c.kubectl('get', 'pods', '-A')
    for what in ('apiserver_request_total{verb="LIST",resource="pods",scope="cluster",code="200",version="v1"}',
                 'apiserver_request_duration_seconds_bucket{verb="LIST",resource="pods",le="1"}',
                 'apiserver_current_inflight_requests{request_kind="readOnly"}', 'apiserver_longrunning_requests{verb="WATCH"}',
                 'apiserver_storage_objects{resource="pods"}', 'process_resident_memory_bytes{job="kubernetes-apiservers"}',
                 'process_cpu_seconds_total{job="kubernetes-apiservers"}', 'process_start_time_seconds{job="kubernetes-apiservers"}',
                 'process_open_fds{job="kubernetes-apiservers"}', 'kubernetes_build_info{job="kubernetes-apiservers"}',
                 'apiserver_client_certificate_expiration_seconds_count', 'up{job="kubernetes-nodes"} == 1'):
        eventually(what, lambda: query(c, what), timeout=10, every=0.3)
    text = c.kubectl('get', '--raw', '/metrics')
    checked = subprocess.run(['promtool', 'check', 'metrics'], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert checked.returncode != 1 and 'error while linting' not in checked.stdout, checked.stdout[:2000]
    assert len(text) < 1 << 20


if __name__ == '__main__':
    main([all_targets_are_found_and_up, what_dashboards_ask_for_is_there])
