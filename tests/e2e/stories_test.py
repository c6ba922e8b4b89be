#!/usr/bin/env python3
"""Stories of tests/stories: pods of every sort from their beginning to their end, each write that a watcher sees and each
event held against what a Kubernetes node makes of them. The short form plays those that are over soon.

UPDATE=1 writes what was seen into the files (read the difference: they hold what Kubernetes does, not what we do)."""
import concurrent.futures, glob, http.client, http.server, threading
from lib import *
from story import Play, sections

STORIES = os.path.join(TOP, 'tests/stories')
# Their waits are part of what they tell, or their rule is told by a shorter one, too.
LONG = ('bad-command', 'bad-workdir', 'complete-onfailure-exit0', 'complete-two-containers', 'container-killed-from-outside',
        'container-restart-policy', 'deadline-exceeded-init', 'delete-at-once', 'delete-exit-143', 'delete-shortened',
        'env-secret-missing', 'exec-probe-timeout', 'image-missing-then-deleted', 'image-registry-refused', 'init-image-missing',
        'init-second-fails-never', 'killed-by-signal', 'oom-child', 'prestop-fails', 'prestop-longer-than-grace',
        'readiness-tcp-refused', 'runasnonroot-root', 'runasnonroot-uid0', 'stop-signal', 'unschedulable-memory-and-cpu',
        'crashloop', 'volume-configmap-missing-timeout', 'readiness-fails-then-passes', 'image-invalid-name', 'sidecar-crashes',
        'http-probe-timeout', 'job-fails', 'delete-ignores-term', 'sidecar-start-and-delete', 'liveness-exec-fails')
# Told after the others: a pod that is put on the node by hand and asks for more than it has leaves no room until it is rejected.
FILLS = ('kubelet-rejects',)


class Nothing(http.server.BaseHTTPRequestHandler):
    """A registry at 127.0.0.1:5006 that has no image."""

    def do_GET(self):
        body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
        self.send_response(200 if self.path == '/v2/' else 404)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *unused):
        pass


def play(c, tls, name):
    path = os.path.join(STORIES, name + '.txt')
    with open(path) as f:
        text = f.read()
    story = Play(c, tls, name, text)
    wrong = story.run()
    if wrong and os.environ.get('UPDATE'):
        with open(path, 'w') as f:
            f.write(re.split(r'^== (?:pod |answers|events)', text, maxsplit=1, flags=re.M)[0] + story.text())
    return wrong


def stories_are_as_told(c):
    names = sorted(os.path.basename(p)[:-4] for p in glob.glob(STORIES + '/*.txt'))
    names = [n for n in names if (STORM or n not in LONG) and re.search(os.environ.get('STORY', ''), n)]
    tls = admin_tls(c.env['KUBECONFIG'])
    failed = []
    registry = http.server.ThreadingHTTPServer(('127.0.0.1', 5006), Nothing)
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    for together in ([n for n in names if n not in FILLS], [n for n in names if n in FILLS]):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = {pool.submit(play, c, tls, n): n for n in together}
            for done in concurrent.futures.as_completed(running):
                wrong = done.exception() or done.result()
                if wrong:
                    failed.append(running[done])
                    print('---- %s: %s' % (running[done], wrong), flush=True)
    registry.shutdown()
    assert not failed, '%d of %d stories differ: %s' % (len(failed), len(names), ' '.join(sorted(failed)))


# --- what a story cannot tell ----------------------------------------------------------------------------------------

def pod(name, spec, container='', command='sleep 1000000'):
    return f'''
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
{spec}
  containers:
  - name: c
    image: {IMAGE}
    command: [sh, -c, "{command}"]
{container}'''


def condition(p, kind):
    return next((x for x in p['status'].get('conditions', []) if x['type'] == kind), {})


def is_ready(c, name):
    return condition(c.get('pod', name), 'Ready').get('status') == 'True'


def events(c, name, reason):
    return {e['message']: e['count'] for e in c.get('events', '--field-selector',
            'involvedObject.name=%s,reason=%s' % (name, reason))['items']}


def volumes_are_tried_until_they_work(c):
    """All that fail are named, told again and again; the pod starts when the last cause is gone, whatever the gap was. What
    no container mounts holds nobody up."""
    host = c.root + '/late/folder'
    volumes = f'''  volumes:
  - {{name: a, configMap: {{name: late}}}}
  - {{name: b, secret: {{secretName: late}}}}
  - {{name: h, hostPath: {{path: {host}, type: Directory}}}}'''
    mounts = '    volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b}, {name: h, mountPath: /h}]'
    c.apply(pod('waits', volumes, mounts) + pod('mounts-none', volumes))
    eventually('what mounts none of them runs', lambda: is_ready(c, 'mounts-none'), 10)
    want = {'MountVolume.SetUp failed for volume "a" : configmap "late" not found',
            'MountVolume.SetUp failed for volume "b" : secret "late" not found'}
    told = eventually('each is told, more than once', lambda: (lambda t: len(t) == 3 and min(t.values()) >= 3 and t)(
        events(c, 'waits', 'FailedMount')), 30)
    assert want < set(told) and any('"h"' in m and 'hostPath type check failed' in m for m in told), told
    c.kubectl('create', 'configmap', 'late', '--from-literal=x=1')
    c.kubectl('create', 'secret', 'generic', 'late', '--from-literal=x=1')
    eventually('the path alone is missing', lambda: events(c, 'waits', 'FailedMount')[next(m for m in told if '"h"' in m)] >
               told[next(m for m in told if '"h"' in m)], 30)
    os.makedirs(host)
    eventually('it starts', lambda: is_ready(c, 'waits'), 10)


def ready_soon_after_it_answers(c):
    """16 pods whose server needs a moment, with a probe of the default period: none waits for a whole period."""
    probe = '    readinessProbe: {httpGet: {path: /healthz, port: 8080}}'
    c.apply(''.join(pod('slow%d' % i, '', probe, 'sleep 1.5; exec /bin/web') for i in range(16)))
    names = ['slow%d' % i for i in range(16)]
    eventually('all are ready', lambda: all(is_ready(c, n) for n in names), 60, 0.3)
    took = lambda p: seconds(condition(p, 'Ready')['lastTransitionTime']) - seconds(
        p['status']['containerStatuses'][0]['state']['running']['startedAt'])
    late = {n: t for n, t in ((n, took(c.get('pod', n))) for n in names) if t >= 9}
    assert not late, 'ready a period after their start: %s' % late
    c.kubectl('delete', 'pod', '--wait=false', *names)


def seconds(text):
    return time.mktime(time.strptime(text, '%Y-%m-%dT%H:%M:%SZ'))


def users_are_told_after_a_restart_too(c):
    """status.user has all groups, the same before and after the node role was killed; nothing else of the status moves."""
    c.apply(pod('groups', '  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000, 5000]}'))
    eventually('it is ready', lambda: is_ready(c, 'groups'))
    before = c.get('pod', 'groups')
    user = before['status']['containerStatuses'][0]['user']['linux']
    assert (user['uid'], user['gid'], sorted(user['supplementalGroups'])) == (1000, 3000, [2000, 3000, 4000, 5000]), user
    pid = c.role_pid('node')
    os.kill(pid, signal.SIGKILL)
    eventually('another node role', lambda: c.role_pid('node') != pid)
    c.apply(pod('after', ''))
    eventually('it works', lambda: is_ready(c, 'after'))
    assert c.get('pod', 'groups')['status'] == before['status'], (before['status'], c.get('pod', 'groups')['status'])


def refused_once(c):
    """What no node will run is refused with an event and not made again; a pod that waits for a claim stays Pending."""
    c.apply(deployment('never', 2, '      resourceClaims: [{name: r, resourceClaimName: x}]') + '\n---' +
            deployment('claims', 1, '      volumes: [{name: v, persistentVolumeClaim: {claimName: nothere}}]'))
    mine = lambda app: c.get('pods', '-l', 'app=' + app)['items']
    eventually('both are refused', lambda: [p['status'].get('reason') for p in mine('never')] == ['UnsupportedField'] * 2)
    assert all(events(c, p['metadata']['name'], 'UnsupportedField') for p in mine('never')), 'no event'
    p = eventually('one waits', lambda: [p for p in mine('claims') if condition(p, 'PodScheduled')])[0]
    said = '0/1 nodes are available: persistentvolumeclaim "nothere" not found. '
    assert p['status']['phase'] == 'Pending' and condition(p, 'PodScheduled')['message'].startswith(said), p['status']
    assert any(m.startswith(said) for m in messages(c, p['metadata']['name'], 'FailedScheduling')), 'no event'
    assert len(mine('never')) == 2 and len(mine('claims')) == 1, 'made again'
    c.kubectl('delete', 'deploy', 'never', 'claims')


def tokens_are_asked_for_again(c):
    """A pod whose service account went starts when it is there again, while its failures are told ever more seldom."""
    c.kubectl('create', 'sa', 'fickle')
    c.apply(pod('tokened', '''  serviceAccountName: fickle
  schedulingGates: [{name: example.test/wait}]
  volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 600}}]}}]'''))
    c.kubectl('delete', 'sa', 'fickle')
    c.kubectl('patch', 'pod', 'tokened', '--type=json', '-p', '[{"op": "remove", "path": "/spec/schedulingGates"}]')
    eventually('the next try of its volumes is 8 s away', lambda: any(
        n >= 5 for m, n in events(c, 'tokened', 'FailedMount').items() if '"fickle" not found' in m), 40)
    c.kubectl('create', 'sa', 'fickle')
    eventually('it starts', lambda: is_ready(c, 'tokened'), 6)


def the_last_finalizer_is_seen_to_go(c):
    """Watchers see an object without it before it is gone, and gone as it was at its end."""
    c.apply('{apiVersion: v1, kind: ConfigMap, metadata: {name: held, finalizers: [example.test/f]}}')
    rev = c.get('cm', 'held')['metadata']['resourceVersion']
    c.kubectl('delete', 'cm', 'held', '--wait=false')
    c.kubectl('patch', 'cm', 'held', '--type=merge', '-p', '{"metadata": {"finalizers": null}}')
    h = http.client.HTTPSConnection('127.0.0.1', c.port, context=admin_tls(c.env['KUBECONFIG']), timeout=60)
    h.request('GET', '/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dheld&resourceVersion=' + rev)
    seen = [json.loads(line) for line in h.getresponse().read().splitlines()]
    told = [(e['type'], e['object']['metadata'].get('finalizers'), 'deletionTimestamp' in e['object']['metadata']) for e in seen]
    assert told == [('MODIFIED', ['example.test/f'], True), ('MODIFIED', None, True), ('DELETED', None, True)], told
    revs = [int(e['object']['metadata']['resourceVersion']) for e in seen]
    assert revs == sorted(set(revs)), revs


def images_are_seen_when_they_are_loaded(c):
    """A pod that waits for an image starts when it is loaded, not when its back-off is over."""
    c.apply(pod('patient', '').replace(IMAGE, 'wherry.dev/late:1\n    imagePullPolicy: Never'))
    eventually('it is told', lambda: messages(c, 'patient', 'ErrImageNeverPull'))
    run([WHERRY, 'image', 'pack', c.root + '/late.tar', 'wherry.dev/late:1', '--cmd', '/bin/sh', 'bin/busybox=/bin/busybox',
         'bin/sh=@busybox', 'bin/sleep=@busybox'])
    run([WHERRY, 'image', 'load', c.root + '/late.tar', '--root', c.root])
    eventually('it starts', lambda: is_ready(c, 'patient'), 7)


def volumes_have_their_limit(c):
    """A pod whose emptyDir is over its sizeLimit is evicted; a link that leads out of a volume counts nothing."""
    volume = '  restartPolicy: Never\n  volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]'
    mount = '    volumeMounts: [{name: v, mountPath: /v}]'
    c.apply(pod('within', volume, mount, 'ln -s / /v/root; ln -s /bin/busybox /v/b; sleep 1000000') +
            pod('beyond', volume, mount, 'head -c 3000000 /dev/zero > /v/x; sleep 1000000'))
    p = eventually('it is evicted', lambda: (lambda p: p['status']['phase'] == 'Failed' and p)(c.get('pod', 'beyond')), 30)
    said = 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert (p['status']['reason'], p['status']['message']) == ('Evicted', said), p['status']
    assert not condition(p, 'DisruptionTarget'), p['status']    # it was its own fault
    eventually('that is told', lambda: messages(c, 'beyond', 'Evicted') == [said])
    assert is_ready(c, 'within'), c.get('pod', 'within')['status']


def messages(c, name, reason):
    return [e['message'] for e in c.get('events', '--field-selector', 'involvedObject.name=%s,reason=%s' % (name, reason))['items']]


if __name__ == '__main__':
    main([stories_are_as_told, volumes_are_tried_until_they_work, ready_soon_after_it_answers, users_are_told_after_a_restart_too,
          refused_once, tokens_are_asked_for_again, the_last_finalizer_is_seen_to_go, images_are_seen_when_they_are_loaded, volumes_have_their_limit])
