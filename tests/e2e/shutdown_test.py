"""The machine is about to shut down: pods end by priority, are told of as a kubelet tells, and none is taken in."""
import os
import signal
import subprocess

from lib import IMAGE, WHERRY, eventually, main

# what it was asked to end at, and that it did so by itself, goes to a file of the host
POD = '''---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  %(more)s
  terminationGracePeriodSeconds: %(grace)d
  volumes: [{name: out, hostPath: {path: %(out)s}}]
  containers:
  - name: c
    image: %(image)s
    command: [sh, -c, "trap 'busybox cat /proc/uptime >> /out/%(name)s; %(end)s' TERM; while true; do sleep 0.05; done"]
    volumeMounts: [{name: out, mountPath: /out}]
'''


def uptime():
    return float(open('/proc/uptime').read().split()[0])


def status(c, name):
    return c.get('pod', name)['status']


def ready(c):
    return [x for x in c.get('nodes')['items'][0]['status']['conditions'] if x['type'] == 'Ready'][0]


def told(c, message):
    """The Node's events say so."""
    events = lambda: c.get('events', '-A', '--field-selector', 'reason=NodeShutdown,involvedObject.kind=Node')['items']
    eventually(message, lambda: [e for e in events() if e['message'] == message and e['type'] == 'Normal'])


def pods_end_by_priority(c):
    out = c.root + '/out'
    os.makedirs(out, exist_ok=True)
    pod = lambda name, more='', grace=30, end='exit 0': POD % dict(name=name, more=more, grace=grace, end=end, out=out, image=IMAGE)
    c.apply('{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: middle}, value: 1000}\n' + pod('low') + pod('deaf', end='true') +
            pod('middle', 'priorityClassName: middle', end='sleep 0.5; exit 0'))
    c.kubectl('apply', '-n', 'kube-system', '-f', '-', input=pod('high', 'priorityClassName: system-node-critical'))
    for name in ('low', 'deaf', 'middle'):
        eventually('runs', lambda: status(c, name)['phase'] == 'Running')
    eventually('runs', lambda: c.get('pod', '-n', 'kube-system', 'high')['status']['phase'] == 'Running')
    start = uptime()
    p = subprocess.Popen([WHERRY, 'shutdown', '--root', c.root], env=c.env)
    eventually('the node says so', lambda: (lambda x: x['status'] == 'False' and x['reason'] == 'KubeletNotReady' and x['message'] == 'node is shutting down')(ready(c)))
    told(c, 'Shutdown manager detected shutdown event')
    c.apply(pod('late', 'nodeName: ' + c.get('nodes')['items'][0]['metadata']['name']))
    refused = eventually('refused', lambda: (lambda s: s['phase'] == 'Failed' and s)(status(c, 'late')))
    assert (refused['reason'], refused['message']) == ('NodeShutdown', 'Pod was rejected: Pod was rejected as the node is shutting down.'), refused
    os.kill(c.role_pid('node'), signal.SIGKILL)  # another one goes on
    assert p.wait(timeout=40) == 0
    at = {name: float(open(out + '/' + name).read().split()[0]) for name in ('low', 'deaf', 'middle', 'high')}
    assert at['low'] - start < 1.5 and at['deaf'] - start < 1.5, (at, start)
    # the deaf one holds its range for its two seconds, or for four where they were begun anew by another agent
    assert 1.5 < at['middle'] - start < 7 and at['high'] - at['middle'] > 0.4, (at, start)
    for name, ns in (('low', 'default'), ('deaf', 'default'), ('middle', 'default'), ('high', 'kube-system')):
        s = eventually('told', lambda: (lambda s: s['phase'] == 'Failed' and s)(c.get('pod', '-n', ns, name)['status']))
        assert (s['reason'], s['message']) == ('Terminated', 'Pod was terminated in response to imminent node shutdown.'), s
        assert [x for x in s['conditions'] if x['type'] == 'DisruptionTarget' and x['status'] == 'True' and x['reason'] == 'TerminationByKubelet'], s


def of_files(c):
    """The pod of a file, which nobody else makes anew, runs again: when the shutdown is taken back, and with the next node role."""
    folder = c.root + '/etc/wherry/manifests'
    os.makedirs(folder, exist_ok=True)
    with open(folder + '/still.yaml', 'w') as f:
        f.write(POD % dict(name='still', more='', grace=1, end='exit 0', out=c.root + '/out', image=IMAGE))
    name = 'still-' + c.get('nodes')['items'][0]['metadata']['name']
    seen = lambda: next((p['status'] for p in c.get('pods')['items'] if p['metadata']['name'] == name), {})
    runs = lambda: seen().get('phase') == 'Running'
    eventually('it runs', runs)
    for back in (lambda: None, lambda: os.kill(c.role_pid('node'), signal.SIGKILL)):
        assert c.wherry('shutdown', '--root', c.root) == ''
        assert eventually('it has ended', lambda: seen().get('reason') and seen())['reason'] in ('Terminated', 'NodeShutdown')
        back()
        c.wherry('shutdown', '--cancel', '--root', c.root)
        eventually('it runs again', runs)
    os.unlink(folder + '/still.yaml')
    eventually('it is gone', lambda: not seen())


def whoever_asks_again_is_answered(c):
    """As systemd does, after the administrator has done so by hand; and two at once."""
    start = uptime()
    both = [subprocess.Popen([WHERRY, 'shutdown', '--root', c.root], env=c.env) for _ in range(2)]
    assert [p.wait(timeout=40) for p in both] == [0, 0]
    assert uptime() - start < 5, uptime() - start


def it_may_be_taken_back(c):
    assert c.wherry('shutdown', '--cancel', '--root', c.root) == ''
    eventually('ready', lambda: ready(c)['status'] == 'True')
    told(c, 'Shutdown manager detected shutdown cancellation')
    c.apply(POD % dict(name='again', more='', grace=0, end='exit 0', out=c.root + '/out', image=IMAGE))
    eventually('runs', lambda: status(c, 'again')['phase'] == 'Running')


if __name__ == '__main__':
    main([pods_end_by_priority, whoever_asks_again_is_answered, it_may_be_taken_back, of_files], 16454, ['--set', 'shutdown-grace=0=2,1000=3,2000000000=3'])
