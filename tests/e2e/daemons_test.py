#!/usr/bin/env python3
"""What keeps pods or starts them by itself, by kubectl: ReplicationControllers, CronJobs, DaemonSets; the node role and the
server are killed in between."""
import datetime, threading
from lib import *


def template(label, command='', grace=0, spec=''):
    entry = f'command: [sh, -c, {json.dumps(command)}]' if command else ''
    return f'''
    metadata: {{labels: {{app: {label}}}}}
    spec:
      terminationGracePeriodSeconds: {grace}
{spec}
      containers:
      - name: c
        image: {IMAGE}
        {entry}
'''


def pods(c, label):
    return [p for p in c.get('pods', '-l', 'app=' + label)['items'] if 'deletionTimestamp' not in p['metadata']]


def kill(c, *roles):
    for role in roles:
        os.kill(c.role_pid(role), signal.SIGKILL)


def events(c, about):
    return {e['reason']: e for e in c.get('events', '--field-selector=involvedObject.name=' + about)['items']}


def rc(name, replicas):
    return f'''
apiVersion: v1
kind: ReplicationController
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{app: {name}}}
  template:{template(name)}'''


def a_replication_controller_keeps_its_pods(c):
    alone = f'{{apiVersion: v1, kind: Pod, metadata: {{name: alone, labels: {{app: old}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: "{IMAGE}"}}]}}}}'
    c.apply(alone + '\n---\n' + rc('old', 2))
    status = lambda: c.get('rc', 'old')['status']
    eventually('two are ready', lambda: status().get('readyReplicas') == 2)
    assert {'replicas': 2, 'fullyLabeledReplicas': 2, 'availableReplicas': 2, 'observedGeneration': 1}.items() <= status().items(), status()
    owner = c.get('pod', 'alone')['metadata']['ownerReferences'][0]
    assert (owner['kind'], owner['apiVersion'], owner['controller']) == ('ReplicationController', 'v1', True), owner
    made = events(c, 'old')['SuccessfulCreate']
    assert made['source']['component'] == 'replication-controller' and made['message'].startswith('Created pod: old-'), made
    c.kubectl('label', 'pod', 'alone', 'app=free', '--overwrite')
    eventually('it is let go, and another comes', lambda: not c.get('pod', 'alone')['metadata'].get('ownerReferences') and len(pods(c, 'old')) == 2)
    c.kubectl('scale', 'rc/old', '--replicas=3', '--current-replicas=2')
    scale = json.loads(c.kubectl('get', '--raw', '/api/v1/namespaces/default/replicationcontrollers/old/scale'))
    assert scale['spec'] == {'replicas': 3} and scale['status']['selector'] == 'app=old', scale
    kill(c, 'node', 'server')
    eventually('three are ready', lambda: status().get('readyReplicas') == 3, timeout=40)
    c.kubectl('delete', 'pod', '--wait=false', pods(c, 'old')[0]['metadata']['name'])
    eventually('one that is deleted is replaced', lambda: len(pods(c, 'old')) == 3 and status().get('readyReplicas') == 3)
    assert c.wherry('why', 'rc/old').startswith('ReplicationController old is as declared: 3 of 3 pods ready.\n')
    described = c.kubectl('describe', 'rc', 'old')
    assert 'Replicas:     3 current / 3 desired' in described and '3 Running / 0 Waiting' in described, described
    c.kubectl('delete', 'rc', 'old', '--cascade=orphan')
    assert len(pods(c, 'old')) == 3 and not any(p['metadata'].get('ownerReferences') for p in pods(c, 'old'))
    c.apply(rc('old', 1))
    eventually('it takes them back and needs one', lambda: len(pods(c, 'old')) == 1 and status().get('readyReplicas') == 1)
    kill(c, 'node')     # nobody is there to see it run on
    c.kubectl('patch', 'pod', 'alone', '--subresource=status', '-p', '{"status":{"phase":"Failed","reason":"NodeLost"}}')
    alone = lambda: c.get('pod', 'alone')['status']
    eventually('one that another calls over is ended', lambda: 'terminated' in alone()['containerStatuses'][0]['state'])
    assert (alone()['phase'], alone()['reason']) == ('Failed', 'NodeLost'), alone()
    c.kubectl('delete', 'rc/old', 'pod/alone', '--wait=false')
    eventually('they go with it', lambda: not pods(c, 'old'))


def cronjob(name, schedule, command='true', spec=''):
    return f'''
apiVersion: batch/v1
kind: CronJob
metadata: {{name: {name}}}
spec:
  schedule: "{schedule}"
{spec}
  jobTemplate:
    metadata: {{labels: {{from: {name}}}, annotations: {{note: kept}}}}
    spec:
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 0
          containers:
          - name: c
            image: {IMAGE}
            command: [sh, -c, {json.dumps(command)}]
'''


def jobs(c, name):
    return {j['metadata']['name']: j for j in c.get('jobs', '-l', 'from=' + name)['items']}


def when(text):
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()


def due_by_hand(c, name, minutes_ago):
    """What was started last, as status says, is set so that a yearly schedule is due now."""
    last = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - minutes_ago * 60))
    c.kubectl('patch', 'cronjob', name, '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'lastScheduleTime': last}}))


YEAR = 366 * 24 * 60


def a_cron_job_starts_when_it_is_due(c):
    c.apply(cronjob('soon', '@every 2s', 'sleep 1000'))
    created = when(c.get('cronjob', 'soon')['metadata']['creationTimestamp'])
    name, job = eventually('a Job', lambda: jobs(c, 'soon'), every=0.02).popitem()
    seen = time.time()
    due = when(job['metadata']['annotations']['batch.kubernetes.io/cronjob-scheduled-timestamp'])
    assert due == created + 2 and name == 'soon-%d' % (due // 60), (created, due, name)
    assert due <= when(job['metadata']['creationTimestamp']) <= due + 1 and seen - due < 3 * slowness(), (due, seen)
    assert job['metadata']['annotations']['note'] == 'kept'
    owner = job['metadata']['ownerReferences'][0]
    assert (owner['kind'], owner['name'], owner['controller']) == ('CronJob', 'soon', True), owner
    status = eventually('its status', lambda: c.get('cronjob', 'soon')['status'].get('active') and c.get('cronjob', 'soon')['status'])
    assert when(status['lastScheduleTime']) == due and status['active'][0]['name'] == name, status
    made = eventually('its event', lambda: events(c, 'soon').get('SuccessfulCreate'))
    assert made['message'] == 'Created job ' + name and made['source']['component'] == 'cronjob-controller', made
    c.kubectl('delete', 'cronjob', 'soon', '--wait=false')
    eventually('its Jobs go with it', lambda: not jobs(c, 'soon'))


def cron_jobs_through_a_kill(c):
    """Forbid, Replace and Allow, each with one that runs, while the server is killed; and one in a zone of its own."""
    policies = ['Forbid', 'Replace', 'Allow']
    names = [p.lower() for p in policies]
    this_year = int(when(time.strftime('%Y-01-01T00:00:00Z', time.gmtime())))
    c.apply(''.join('---' + cronjob(p.lower(), '0 0 1 1 *', 'sleep 1000', f'  concurrencyPolicy: {p}\n  timeZone: UTC') for p in policies))
    c.apply(cronjob('zone', '0 0 1 1 *', 'sleep 1000', '  timeZone: Asia/Kolkata'))
    for name in names + ['zone']:
        due_by_hand(c, name, YEAR)
    first = 'forbid-%d' % (this_year // 60)
    eventually('each has a Job', lambda: all(len(jobs(c, n)) == 1 for n in names + ['zone']))
    noted = list(jobs(c, 'zone').values())[0]['metadata']['annotations']['batch.kubernetes.io/cronjob-scheduled-timestamp']
    assert noted.endswith('-01-01T00:00:00+05:30'), noted
    eventually('status names it', lambda: c.get('cronjob', 'forbid')['status']['active'][0]['name'] == first)
    kill(c, 'server')
    for name in names:      # another minute of the same January 1, which has passed, too
        eventually('the server is back', lambda: c.kubectl('patch', 'cronjob', name, '-p', '{"spec":{"schedule":"1 0 1 1 *"}}'), timeout=40)
    second = lambda n: '%s-%d' % (n, this_year // 60 + 1)
    assert all(len(jobs(c, n)) == 1 for n in names), 'a new schedule makes up for nothing'
    kill(c, 'server')       # who comes new knows nothing of the old schedule
    eventually('Allow runs both', lambda: set(jobs(c, 'allow')) == {'allow-%d' % (this_year // 60), second('allow')}, timeout=40)
    eventually('Replace runs the new one', lambda: set(jobs(c, 'replace')) == {second('replace')})
    assert set(jobs(c, 'forbid')) == {first}
    assert eventually('it says so', lambda: events(c, 'forbid').get('JobAlreadyActive'))['type'] == 'Normal'
    said = run([WHERRY, 'why', 'cronjob/forbid'], env=c.env, check=False)
    assert first in said, said
    c.kubectl('delete', 'job', first)
    eventually('Forbid goes on', lambda: set(jobs(c, 'forbid')) == {second('forbid')})
    c.kubectl('patch', 'cronjob', 'allow', '-p', '{"spec":{"suspend":true}}')
    c.kubectl('create', 'job', '--from=cronjob/allow', 'by-hand')
    by_hand = c.get('job', 'by-hand')['metadata']
    assert by_hand['annotations']['cronjob.kubernetes.io/instantiate'] == 'manual', by_hand
    due_by_hand(c, 'allow', 2 * YEAR)
    assert 'suspended' in c.wherry('why', 'cronjob/allow')
    shown = c.kubectl('get', 'cronjob', 'allow', 'zone')
    assert 'True ' in shown and 'Asia/Kolkata' in shown, shown
    for zone in ('Mars/Olympus', 'Local', 'Europe', '../UTC'):
        said = run([c.bin + '/kubectl', 'patch', 'cronjob', 'zone', '-p', json.dumps({'spec': {'timeZone': zone}})], env=c.env, check=False)
        assert c.get('cronjob', 'zone')['spec']['timeZone'] == 'Asia/Kolkata', said
    assert 'by-hand' in c.get('jobs', '-l', 'from=allow')['items'][0]['metadata']['name'] or len(jobs(c, 'allow')) == 3
    c.kubectl('delete', 'cronjobs', '--all', '--wait=false')
    eventually('all are gone', lambda: not c.get('jobs')['items'])


def daemonset(name, command='sleep 100000', spec='', pod=''):
    return f'''
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
{spec}
  template:{template(name, command, spec=pod)}'''


def a_daemon_set_is_on_its_node(c):
    node = c.get('nodes')['items'][0]['metadata']['name']
    c.apply(daemonset('agent'))
    status = lambda: c.get('ds', 'agent')['status']
    c.kubectl('rollout', 'status', 'ds/agent', '--timeout=40s')
    assert {'desiredNumberScheduled': 1, 'currentNumberScheduled': 1, 'numberReady': 1, 'numberAvailable': 1, 'numberMisscheduled': 0,
            'updatedNumberScheduled': 1, 'observedGeneration': 1}.items() <= status().items(), status()
    first = pods(c, 'agent')[0]
    revision = c.get('controllerrevisions', '-l', 'app=agent')['items'][0]
    assert first['metadata']['labels']['controller-revision-hash'] == revision['metadata']['labels']['controller-revision-hash']
    assert first['metadata']['labels']['pod-template-generation'] == '1' and first['metadata']['generateName'] == 'agent-', first['metadata']
    wanted = first['spec']['affinity']['nodeAffinity']['requiredDuringSchedulingIgnoredDuringExecution']['nodeSelectorTerms']
    assert wanted == [{'matchFields': [{'key': 'metadata.name', 'operator': 'In', 'values': [node]}]}], wanted
    c.kubectl('cordon', node)       # keeps no daemon off
    c.kubectl('delete', 'pod', first['metadata']['name'], '--wait=false')
    eventually('one that is deleted comes again', lambda: [p for p in pods(c, 'agent') if p['metadata']['uid'] != first['metadata']['uid']] and status()['numberReady'] == 1)
    c.kubectl('uncordon', node)
    c.kubectl('patch', 'ds', 'agent', '-p', json.dumps({'spec': {'template': {'spec': {'containers': [{'name': 'c', 'env': [{'name': 'A', 'value': 'b'}]}]}}}}))
    kill(c, 'server', 'node')
    eventually('the server is back', lambda: c.get('ds', 'agent'), timeout=40)
    c.kubectl('rollout', 'status', 'ds/agent', '--timeout=40s')
    assert pods(c, 'agent')[0]['spec']['containers'][0]['env'] == [{'name': 'A', 'value': 'b'}]
    history = c.kubectl('rollout', 'history', 'ds/agent')
    assert '1 ' in history and '2 ' in history, history
    c.kubectl('rollout', 'undo', 'ds/agent')
    c.kubectl('rollout', 'status', 'ds/agent', '--timeout=40s')
    assert 'env' not in pods(c, 'agent')[0]['spec']['containers'][0]
    assert sorted(r['revision'] for r in c.get('controllerrevisions', '-l', 'app=agent')['items']) == [2, 3]
    assert c.wherry('rollout', 'restart', 'ds/agent') == 'daemonset.apps/agent restarted\n'
    assert c.wherry('rollout', 'status', 'ds/agent', '--timeout=40s').endswith('daemon set "agent" successfully rolled out\n')
    assert c.wherry('rollout', 'history', 'ds/agent').split() == c.kubectl('rollout', 'history', 'ds/agent').split()
    name = pods(c, 'agent')[0]['metadata']['name']
    c.kubectl('patch', 'pod', name, '--subresource=status', '-p', '{"status":{"phase":"Failed","reason":"Evicted","message":"by hand"}}')
    eventually('one that fails is replaced', lambda: [p for p in pods(c, 'agent') if p['metadata']['name'] != name] and status()['numberReady'] == 1)
    assert eventually('it says so', lambda: events(c, 'agent').get('FailedDaemonPod'))['source']['component'] == 'daemonset-controller'
    assert c.wherry('why', 'ds/agent').startswith('DaemonSet agent is as declared: 1 of 1 pods ready.')
    c.kubectl('label', 'node', node, 'disk=ssd')
    c.kubectl('patch', 'ds', 'agent', '-p', '{"spec":{"template":{"spec":{"nodeSelector":{"disk":"hdd"}}}}}')
    eventually('no node suits it', lambda: not pods(c, 'agent') and status()['desiredNumberScheduled'] == 0)
    said = run([WHERRY, 'why', 'ds/agent'], env=c.env, check=False)
    assert 'no node' in said and 'disk' in said, said
    c.kubectl('label', 'node', node, 'disk=hdd', '--overwrite')
    eventually('now one does', lambda: status()['numberReady'] == 1)
    c.kubectl('label', 'node', node, 'disk-')
    eventually('and does not', lambda: not pods(c, 'agent'))
    c.kubectl('delete', 'ds', 'agent')
    eventually('its revisions go with it', lambda: not c.get('controllerrevisions', '-l', 'app=agent')['items'])


def a_daemon_set_that_surges_is_never_away(c):
    c.apply(daemonset('surge', spec='  updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}') + '---' +
            daemonset('byhand', spec='  updateStrategy: {type: OnDelete}'))
    c.kubectl('rollout', 'status', 'ds/surge', '--timeout=40s')
    old, kept = pods(c, 'surge')[0]['metadata']['name'], eventually('a pod', lambda: pods(c, 'byhand'))[0]['metadata']['name']
    seen, ends = [], threading.Event()
    def look():
        while not ends.is_set():
            seen.append({p['metadata']['name'] for p in pods(c, 'surge') for s in p['status'].get('conditions', []) if s['type'] == 'Ready' and s['status'] == 'True'})
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for name in ('surge', 'byhand'):
            c.kubectl('patch', 'ds', name, '-p', json.dumps({'spec': {'template': {'metadata': {'annotations': {'new': 'yes'}}}}}))
        c.kubectl('rollout', 'status', 'ds/surge', '--timeout=40s')
        eventually('the new one alone', lambda: len(pods(c, 'surge')) == 1 and pods(c, 'surge')[0]['metadata']['name'] != old)
    finally:
        ends.set()
        watcher.join()
    assert seen and all(seen), 'there was a moment without a ready pod: %s' % seen
    assert pods(c, 'byhand')[0]['metadata']['name'] == kept
    said = run([WHERRY, 'why', 'ds/byhand'], env=c.env, check=False)
    assert 'OnDelete' in said, said
    c.kubectl('delete', 'pod', kept, '--wait=false')
    eventually('the next one is new', lambda: pods(c, 'byhand')[0]['metadata'].get('annotations', {}).get('new') == 'yes')
    c.kubectl('delete', 'ds', 'surge', 'byhand', '--wait=false')


if __name__ == '__main__':
    main([a_replication_controller_keeps_its_pods, a_cron_job_starts_when_it_is_due, cron_jobs_through_a_kill,
          a_daemon_set_is_on_its_node, a_daemon_set_that_surges_is_never_away])
