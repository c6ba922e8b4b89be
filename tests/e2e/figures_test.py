"""What pods and the node use, and who may ask: the node's own HTTPS port as a kubelet has it, and kubectl top."""
from lib import *
import http.client, socket, subprocess

READERS = '''
apiVersion: v1
kind: ServiceAccount
metadata: {name: metrics}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: everything}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reads-metrics}
rules:
- {apiGroups: [""], resources: [nodes/metrics, nodes/healthz], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reads-metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-metrics}
subjects: [{kind: ServiceAccount, name: metrics, namespace: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: everything}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:kubelet-api-admin}
subjects: [{kind: ServiceAccount, name: everything, namespace: default}]
'''


def node_of(c):
    node = c.get('node')['items'][0]
    return node['metadata']['name'], next(a['address'] for a in node['status']['addresses'] if a['type'] == 'InternalIP')


def ask(c, path, token=None, certificate=False, method='GET', address=None, headers={}):
    """(status, body) of the node's port, checked against the cluster's CA for the address."""
    tls = admin_tls(c.env['KUBECONFIG'], certificate)
    connection = http.client.HTTPSConnection(address or node_of(c)[1], 10250, context=tls, timeout=20)
    try:
        connection.request(method, path, headers=dict(headers, **({'Authorization': 'Bearer ' + token} if token else {})))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def token(c, account, *more):
    return c.kubectl('create', 'token', account, *more).strip()


def the_port_asks_who_comes_and_what_they_may(c):
    c.apply(READERS)
    name, ip = node_of(c)
    node = c.get('node', name)
    assert node['status']['daemonEndpoints']['kubeletEndpoint']['Port'] == 10250
    assert ask(c, '/metrics') == (401, 'Unauthorized')
    assert ask(c, '/metrics', token='e30.e30.e30') == (401, 'Unauthorized')
    assert ask(c, '/healthz', certificate=True) == (200, 'ok')                     # system:masters
    assert ask(c, '/healthz', certificate=True, address='127.0.0.1') == (200, 'ok')
    metrics, everything, nobody = [token(c, a) for a in ('metrics', 'everything', 'nobody')]
    user = 'system:serviceaccount:default:'
    for path, status in (('/healthz', 200), ('/healthz/ping', 200), ('/metrics/nothing', 404)):
        assert ask(c, path, token=metrics)[0] == status, path
    for path, subs in (('/configz', 'configz proxy'), ('/pods', 'pods proxy'), ('/stats/summary', 'stats'), ('/logs/', 'log'),
                       ('/containerLogs/default/x/y', 'proxy'), ('/exec/default/x/y?command=id', 'proxy')):
        for account, who in ((metrics, 'metrics'), (nobody, 'nobody')):
            assert ask(c, path, token=account) == (403, 'Forbidden (user=%s, verb=get, resource=nodes, subresource(s)=[%s])'
                                                   % (user + who, subs)), path
    assert ask(c, '/run/a/b/c', token=metrics, method='POST') == \
        (403, 'Forbidden (user=%smetrics, verb=create, resource=nodes, subresource(s)=[proxy])' % user)
    settings = json.loads(ask(c, '/configz', token=everything)[1])['kubeletconfig']
    assert settings['port'] == 10250 and settings['authentication']['anonymous'] == {'enabled': False}, settings
    assert ask(c, '/logs/', token=everything)[1].startswith('<pre>')
    assert ask(c, '/debug/pprof/', token=everything) == (405, 'profiling endpoint is disabled.\n')
    assert ask(c, '/nothing', token=everything)[0] == 404
    # rights that come are seen when the refusal is forgotten, or by another question; one that is deleted is nobody
    assert ask(c, '/healthz', token=token(c, 'metrics', '--audience', 'elsewhere')) == (401, 'Unauthorized')


def what_pods_do_is_seen_at_the_port(c):
    everything = token(c, 'everything')
    c.apply(deployment('seen'))
    c.kubectl('rollout', 'status', 'deployment/seen', '--timeout=60s')
    pod = c.get('pods', '-l', 'app=seen')['items'][0]['metadata']['name']
    status, text = ask(c, '/containerLogs/default/%s/web?tailLines=5' % pod, token=everything)
    assert status == 200, (status, text)
    tls = admin_tls(c.env['KUBECONFIG'], False)
    with tls.wrap_socket(socket.create_connection((node_of(c)[1], 10250), 10), server_hostname=node_of(c)[0]) as s:
        s.sendall(('GET /exec/default/%s/web?command=cat&command=/etc/hostname&output=1&stdout=1 HTTP/1.1\r\nHost: x\r\n'
                   'Authorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
                   'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n' % (pod, everything)).encode())
        s.settimeout(10)
        seen = b''
        while pod.encode() not in seen:
            piece = s.recv(4096)
            assert piece, seen
            seen += piece
        assert b' 101 ' in seen


def figures_come_as_a_kubelet_gives_them(c):
    """Each text at the port, and the same through the server."""
    name, ip = node_of(c)
    everything = token(c, 'everything')
    raw = lambda path, node=name: c.kubectl('get', '--raw', '/api/v1/nodes/%s/proxy%s' % (node, path))
    summary = json.loads(ask(c, '/stats/summary', token=everything)[1])
    assert summary['node']['nodeName'] == name and any(p['podRef']['name'].startswith('seen-') for p in summary['pods']), summary
    short = json.loads(ask(c, '/stats/summary?only_cpu_and_memory=true', token=everything)[1])
    assert 'fs' not in short['node'] and short['node']['cpu'], short
    for path, family in (('/metrics', 'kubelet_running_pods'), ('/metrics/resource', 'container_cpu_usage_seconds_total'),
                         ('/metrics/cadvisor', 'container_memory_working_set_bytes'), ('/metrics/probes', 'prober_probe_total')):
        for way, text in (('port', ask(c, path, token=everything)[1]), ('server', raw(path))):
            assert family in text and text.endswith('\n'), (path, way, text[:500])
            problems = subprocess.run(['promtool', 'check', 'metrics'], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert 'error' not in problems.stdout, (path, problems.stdout[:2000])
    assert '[+]ping ok' in c.kubectl('get', '--raw', '/readyz?verbose')
    assert re.search(r'^kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} [1-9]', c.kubectl('get', '--raw', '/metrics/slis'), re.M)
    pods = json.loads(raw('/pods'))
    assert pods['kind'] == 'PodList' and any(p['metadata']['name'].startswith('seen-') for p in pods['items'])
    assert json.loads(ask(c, '/runningpods/', token=everything)[1])['kind'] == 'PodList'
    for node in (name, name + ':10250', 'https:%s:10250' % name):
        assert raw('/healthz', node) == 'ok' and json.loads(raw('/stats/summary', node))['node']['nodeName'] == name


def top(c, *args):
    return [line.split() for line in c.kubectl('top', *args).splitlines()]


def kubectl_top_works_at_once(c):
    """With nothing installed, from the moment that a pod runs; as metrics-server answers."""
    name, _ = node_of(c)
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: burns, labels: {app: burns, tier: one}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: busy, image: wherry.dev/test:1, command: [sh, -c, "while true; do true; done"], resources: {limits: {cpu: 200m}}}
  - {name: idle, image: wherry.dev/test:1, command: [sleep, "1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: ended, labels: {tier: one}}
spec: {restartPolicy: Never, containers: [{name: c, image: wherry.dev/test:1, command: ["true"]}]}
''')
    c.kubectl('wait', '--for=condition=Ready', 'pod/burns', '--timeout=30s')
    c.kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', 'pod/ended', '--timeout=30s')
    rows = eventually('figures', lambda: {r[0]: r for r in top(c, 'pods', '-l', 'tier=one')}, timeout=3)
    assert list(rows) == ['NAME', 'burns'] and 0 < int(rows['burns'][1][:-1]) <= 300 and rows['burns'][2].endswith('Mi'), rows
    rows = top(c, 'pods', '--containers', '-l', 'app=burns', '--no-headers')
    assert sorted(r[:2] for r in rows) == [['burns', 'busy'], ['burns', 'idle']], rows
    assert top(c, 'pods', '-A', '--sort-by=cpu', '--sum')[1][1] == 'burns'
    assert top(c, 'pods', '--field-selector', 'metadata.name=burns', '--no-headers')[0][0] == 'burns'
    nodes = top(c, 'nodes')
    assert nodes[0] == ['NAME', 'CPU(cores)', 'CPU(%)', 'MEMORY(bytes)', 'MEMORY(%)'] or nodes[0][0] == 'NAME', nodes
    assert nodes[1][0] == name and nodes[1][1].endswith('m') and nodes[1][3].endswith('Mi'), nodes
    api = '/apis/metrics.k8s.io/v1beta1'
    one = json.loads(c.kubectl('get', '--raw', api + '/namespaces/default/pods/burns'))
    assert one['kind'] == 'PodMetrics' and one['metadata']['labels'] == {'app': 'burns', 'tier': 'one'} and 'uid' not in one['metadata'], one
    assert re.fullmatch(r'\d+[num]?', one['containers'][0]['usage']['cpu']) and re.fullmatch(r'\d+(Ki)?', one['containers'][0]['usage']['memory']), one
    assert re.fullmatch(r'[\d.]+m?s', one['window']) and one['timestamp'].endswith('Z'), one
    listed = json.loads(c.kubectl('get', '--raw', api + '/pods?labelSelector=app%3Dburns'))
    assert listed['kind'] == 'PodMetricsList' and listed['metadata'] == {} and len(listed['items']) == 1, listed
    missing = subprocess.run([c.bin + '/kubectl', 'get', '--raw', api + '/namespaces/default/pods/ended'], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert 'podmetrics.metrics.k8s.io "default/ended" not found' in missing.stderr, missing
    assert 'does not run: its phase is Succeeded' in missing.stderr, missing
    none = subprocess.run([c.bin + '/kubectl', 'top', 'pod', 'nobody'], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert 'pods "nobody" not found' in none.stderr, none
    table = c.kubectl('get', 'pods.metrics.k8s.io', 'burns').splitlines()
    assert table[0].split() == ['NAME', 'CPU', 'MEMORY', 'WINDOW'] and table[1].split()[0] == 'burns', table
    resources = [r['name'] for r in json.loads(c.kubectl('get', '--raw', api))['resources']]
    assert resources == ['nodes', 'pods'] and 'v1beta1.metrics.k8s.io' not in c.kubectl('get', 'apiservices')
    assert 'window' in c.kubectl('explain', 'podmetrics')
    assert c.kubectl('auth', 'can-i', 'list', 'pods.metrics.k8s.io', '--as=somebody', check=False).strip() == 'no'
    c.kubectl('create', 'rolebinding', 'views', '--clusterrole=view', '--user=somebody')
    eventually('a viewer sees it', lambda: top(c, 'pods', '--as=somebody', '-l', 'app=burns', '--no-headers'))
    c.kubectl('delete', 'pod', 'burns', 'ended', '--wait=false')


def the_port_lives_through_the_server(c):
    """The relay and the server are killed: who comes meanwhile waits."""
    everything = token(c, 'everything')
    for role in ('relay', 'server'):
        pid = c.role_pid(role)
        os.kill(pid, signal.SIGKILL)
        eventually('%s is there again' % role, lambda: ask(c, '/healthz', token=everything) == (200, 'ok'))
        eventually('another process', lambda: c.role_pid(role) != pid)


def a_port_that_is_taken_is_told(c):
    """The node lives on without it, says so, and opens it once it is free."""
    c.down()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('0.0.0.0', 10250))
        s.listen()
        c.up()
        event = eventually('it is told', lambda: [e for e in c.get('events', '-A')['items'] if e['reason'] == 'PortTaken'])[0]
        assert 'relay-port' in event['message'] and 'in use' in event['message'] and event['involvedObject']['kind'] == 'Node', event
        c.kubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=20s')
        assert top(c, 'nodes')[1][0] == node_of(c)[0]                # through the server all is there
    eventually('it is open', lambda: ask(c, '/healthz', certificate=True) == (200, 'ok'))


if __name__ == '__main__':
    main([the_port_asks_who_comes_and_what_they_may, what_pods_do_is_seen_at_the_port, figures_come_as_a_kubelet_gives_them,
          kubectl_top_works_at_once, the_port_lives_through_the_server, a_port_that_is_taken_is_told])
