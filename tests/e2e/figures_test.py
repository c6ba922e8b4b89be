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


def the_port_lives_through_the_server(c):
    """The relay and the server are killed: who comes meanwhile waits. A port that is taken leaves the node as it was."""
    everything = token(c, 'everything')
    for role in ('relay', 'server'):
        pid = c.role_pid(role)
        os.kill(pid, signal.SIGKILL)
        eventually('%s is there again' % role, lambda: ask(c, '/healthz', token=everything) == (200, 'ok'))
        eventually('another process', lambda: c.role_pid(role) != pid)


main([the_port_asks_who_comes_and_what_they_may, what_pods_do_is_seen_at_the_port, the_port_lives_through_the_server])
