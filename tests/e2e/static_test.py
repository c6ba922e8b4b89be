"""Static pods: files of the node that it runs by itself, and the mirrors by which the API shows them."""
import os
import signal

from lib import IMAGE, eventually, main

MANIFEST = '''apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: static}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - {name: c, image: %s, command: [sh, -c, "trap 'exit 0' TERM; echo %s; while true; do sleep 0.1; done"], ports: [{containerPort: 80}]}
'''


def folder(c):
    return c.root + '/etc/wherry/manifests'


def write(c, name, text):
    with open(folder(c) + '/.new', 'w') as f:
        f.write(text)
    os.rename(folder(c) + '/.new', folder(c) + '/' + name)


def node(c):
    return c.get('nodes')['items'][0]['metadata']['name']


def mirror(c, name='web'):
    items = c.get('pods', '--field-selector', 'metadata.name=%s-%s' % (name, node(c)))['items']
    return items[0] if items else None


def running(c, name='web'):
    return eventually('it runs', lambda: (lambda p: p and p['status']['phase'] == 'Running' and all(s['ready'] for s in p['status']['containerStatuses']) and p)(mirror(c, name)))


def run_id(pod):
    return pod['status']['containerStatuses'][0]['containerID']


def a_file_is_a_pod(c):
    write(c, 'web.yaml', MANIFEST % (IMAGE, 'one'))
    p = running(c)
    notes = p['metadata']['annotations']
    assert notes['kubernetes.io/config.mirror'] == notes['kubernetes.io/config.hash'] != p['metadata']['uid'] and notes['kubernetes.io/config.source'] == 'file'
    owner = p['metadata']['ownerReferences'][0]
    assert (owner['kind'], owner['name'], owner['controller']) == ('Node', node(c), True), owner
    assert {'operator': 'Exists', 'effect': 'NoExecute'} in p['spec']['tolerations'] and 'serviceAccountName' not in p['spec']
    assert c.kubectl('logs', p['metadata']['name']) == 'one\n'
    assert c.kubectl('exec', p['metadata']['name'], '--', 'echo', 'in') == 'in\n'
    told = eventually('described', lambda: (lambda t: 'Started' in t and t)(c.kubectl('describe', 'pod', p['metadata']['name'])))
    assert 'Controlled By:  Node/' + node(c) in told, told
    c.apply('{apiVersion: v1, kind: Service, metadata: {name: static}, spec: {selector: {app: static}, ports: [{port: 80}]}}')
    eventually('Services have it', lambda: [e for s in c.get('endpointslices', '-l', 'kubernetes.io/service-name=static')['items'] for e in s['endpoints'] or []
                                            if e['addresses'] == [p['status']['podIP']] and e['conditions']['ready']])


def a_mirror_that_is_deleted_comes_back(c):
    p = running(c)
    c.kubectl('delete', 'pod', p['metadata']['name'], '--wait=false')
    again = eventually('another mirror', lambda: (lambda m: m and m['metadata']['uid'] != p['metadata']['uid'] and m['status'].get('containerStatuses') and m)(mirror(c)))
    assert run_id(again) == run_id(p), 'its container went on'
    c.kubectl('delete', 'pod', p['metadata']['name'], '--force', '--grace-period=0')
    assert run_id(running(c)) == run_id(p)


def the_node_role_is_killed(c):
    p = running(c)
    os.kill(c.role_pid('node'), signal.SIGKILL)
    eventually('a new one', lambda: c.role_pid('node') and c.get('nodes'))
    q = running(c)
    assert run_id(q) == run_id(p) and q['metadata']['uid'] == p['metadata']['uid'] and q['status']['startTime'] == p['status']['startTime']
    assert q['status']['containerStatuses'][0]['restartCount'] == 0
    os.kill(c.role_pid('server'), signal.SIGKILL)
    assert run_id(running(c)) == run_id(p)


def another_content_is_another_pod(c):
    p = running(c)
    write(c, 'web.yaml', MANIFEST % (IMAGE, 'two'))
    q = eventually('the next', lambda: (lambda m: m and m['metadata']['annotations']['kubernetes.io/config.hash'] != p['metadata']['annotations']['kubernetes.io/config.hash'] and
                                        m['status']['phase'] == 'Running' and m)(mirror(c)))
    assert run_id(q) != run_id(p)
    eventually('it speaks', lambda: c.kubectl('logs', q['metadata']['name']) == 'two\n')


def what_cannot_run_is_told(c):
    write(c, 'broken.yaml', 'apiVersion: v1\nkind: Pod\nmetadata: {name: broken}\nspec: {containers: [{name: c, image: x, imagee: y}]}\n')
    write(c, 'secret.yaml', 'apiVersion: v1\nkind: Pod\nmetadata: {name: secret}\nspec: {containers: [{name: c, image: x, envFrom: [{secretRef: {name: s}}]}]}\n')
    write(c, 'twice.yaml', MANIFEST % (IMAGE, 'three'))
    write(c, 'nowhere.yaml', MANIFEST.replace('name: web,', 'name: nowhere, namespace: not-there,') % (IMAGE, 'four'))
    words = lambda: {e['reason']: [x['message'] for x in events() if x['reason'] == e['reason']] for e in events()}
    events = lambda: c.get('events', '-A')['items']
    for what in ('broken.yaml: strict decoding error: unknown field "spec.containers[0].imagee"', 'secret.yaml: static pods may not reference secrets',
                 'another file has a pod of the same name and namespace'):
        eventually(what, lambda: [m for m in words().get('StaticPodInvalid', []) if what in m])
    eventually('the first file counts', lambda: c.kubectl('logs', 'web-' + node(c), check=False) == 'three\n')
    c.kubectl('create', 'namespace', 'not-there')
    eventually('its namespace has come', lambda: c.get('pods', '-n', 'not-there')['items'], 40)
    for name in ('broken', 'secret', 'twice', 'nowhere'):
        os.unlink(folder(c) + '/%s.yaml' % name)
    eventually('it goes', lambda: not c.get('pods', '-n', 'not-there')['items'])


def a_file_that_comes_back_broken_is_told_again(c):
    told = lambda: sum(e.get('count') or 1 for e in c.get('events', '-A')['items'] if e['reason'] == 'StaticPodInvalid' and 'again.yaml' in e['message'])
    write(c, 'again.yaml', 'apiVersion: v1\nkind: Pot\n')
    eventually('told', lambda: told() == 1)
    os.unlink(folder(c) + '/again.yaml')
    write(c, 'seen.yaml', 'apiVersion: v1\nkind: Pot\n')     # whoever tells of this one has seen that the other is gone
    eventually('the folder was read', lambda: 'seen.yaml' in c.log())
    write(c, 'again.yaml', 'apiVersion: v1\nkind: Pot\n')
    eventually('told again', lambda: told() == 2)
    for name in ('again', 'seen'):
        os.unlink(folder(c) + '/%s.yaml' % name)


def a_folder_that_is_moved_away_and_back(c):
    p = running(c)
    away = folder(c) + '.away'
    os.rename(folder(c), away)                       # as one stops a control plane of static pods
    eventually('nothing runs', lambda: not mirror(c))
    os.rename(away, folder(c))
    q = running(c)
    assert run_id(q) != run_id(p)
    os.rename(folder(c), away)
    os.mkdir(folder(c))                              # another one in its place
    write(c, 'web.yaml', MANIFEST % (IMAGE, 'six'))
    eventually('that of the new folder', lambda: c.kubectl('logs', 'web-' + node(c)) == 'six\n')
    write(c, 'web.yaml', MANIFEST % (IMAGE, 'seven'))  # which is watched like the first
    eventually('what it says now', lambda: c.kubectl('logs', 'web-' + node(c)) == 'seven\n')
    running(c)


def a_link_is_what_it_leads_to(c):
    """A file elsewhere that is linked to: changed in place, replaced, gone."""
    says = lambda what: eventually(what, lambda: c.kubectl('logs', 'web-' + node(c)) == what + '\n')
    path = c.root + '/elsewhere.yaml'
    def put(name, what):
        with open(name, 'w') as f:
            f.write(MANIFEST % (IMAGE, what))
    put(path, 'linked')
    os.unlink(folder(c) + '/web.yaml')
    os.symlink(path, folder(c) + '/web.yaml')
    says('linked')
    put(path, 'changed')
    says('changed')
    put(path + '.new', 'replaced')
    os.rename(path + '.new', path)
    says('replaced')
    running(c)


def a_file_that_goes_ends_its_pod(c):
    p = running(c)
    pid = c.role_pid('node')
    os.unlink(folder(c) + '/web.yaml')
    eventually('it is gone', lambda: not mirror(c))
    killed = [e for e in c.get('events')['items'] if e['reason'] == 'Killing' and e['involvedObject']['name'] == p['metadata']['name']]
    assert killed and c.role_pid('node') == pid
    write(c, 'web.yaml', MANIFEST % (IMAGE, 'five'))
    p = running(c)
    os.kill(c.role_pid('node'), signal.SIGSTOP)  # it goes while nobody looks
    os.unlink(folder(c) + '/web.yaml')
    os.kill(c.role_pid('node'), signal.SIGKILL)
    eventually('nothing is left', lambda: not mirror(c), 40)


if __name__ == '__main__':
    main([a_file_is_a_pod, a_mirror_that_is_deleted_comes_back, the_node_role_is_killed, another_content_is_another_pod, what_cannot_run_is_told, a_file_that_comes_back_broken_is_told_again,
          a_folder_that_is_moved_away_and_back, a_link_is_what_it_leads_to, a_file_that_goes_ends_its_pod], 16453)
