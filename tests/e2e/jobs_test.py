#!/usr/bin/env python3
"""Jobs by kubectl, with real containers: they end well or badly, by index and by policy, are suspended, deleted and forgotten;
the node role and the server are killed in between, and still every end counts once."""
import concurrent.futures, datetime
from lib import *


def job(name, script, spec='', pod='', container=''):
    return f'''
---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  {spec}
  template:
    spec:
      terminationGracePeriodSeconds: 0
      restartPolicy: Never
      {pod}
      containers:
      - {{name: c, image: "{IMAGE}", command: [sh, -c, {json.dumps(script)}]{', ' + container if container else ''}}}
'''


def status(c, name):
    return c.get('job', name)['status']


def pods(c, name):
    return c.get('pods', '-l', 'job-name=' + name)['items']


def wait(c, name, condition='complete', seconds=30):
    c.kubectl('wait', '--for=condition=' + condition, 'job/' + name, '--timeout=%ds' % seconds, timeout=seconds + 10)
    return status(c, name)


def conditions(c, name):
    return [(k['type'], k['status'], k.get('reason')) for k in status(c, name)['conditions']]


def reasons(c, name):
    return {e['reason'] for e in c.get('events', '--field-selector=involvedObject.kind=Job,involvedObject.name=' + name)['items']}


def gone(c, name):
    return not c.get('jobs')['items'] or name not in [j['metadata']['name'] for j in c.get('jobs')['items']]


def untracked(items):
    return not any('batch.kubernetes.io/job-tracking' in p['metadata'].get('finalizers', []) for p in items)


def a_job_completes(c):
    c.kubectl('create', 'job', 'hello', '--image=' + IMAGE, '--', 'sh', '-c', 'echo hello; sleep 0.3')
    s = wait(c, 'hello')
    assert s['succeeded'] == 1 and s['uncountedTerminatedPods'] == {} and s['ready'] == s['terminating'] == 0 and s['completionTime'], s
    assert conditions(c, 'hello') == [('SuccessCriteriaMet', 'True', 'CompletionsReached'), ('Complete', 'True', 'CompletionsReached')]
    assert c.kubectl('logs', 'job/hello') == 'hello\n'
    assert re.search(r'^hello +Complete +1/1 +\d+s +\d+s$', c.kubectl('get', 'job', 'hello'), re.M), c.kubectl('get', 'job', 'hello')
    told = c.kubectl('describe', 'job', 'hello')
    assert '0 Active (0 Ready) / 1 Succeeded / 0 Failed' in told, told
    eventually('both events are told', lambda: {'SuccessfulCreate', 'Completed'} <= reasons(c, 'hello'))
    assert untracked(pods(c, 'hello'))
    c.kubectl('delete', 'job', 'hello')
    eventually('its pod goes with it', lambda: not pods(c, 'hello'))


def many_run_at_once_and_by_index(c):
    c.apply(job('many', 'sleep 0.5', 'completions: 6\n  parallelism: 3') +
            job('indexed', 'echo $JOB_COMPLETION_INDEX $(hostname); [ $JOB_COMPLETION_INDEX != 1 ] || exit 9',
                'completionMode: Indexed\n  completions: 4\n  parallelism: 4\n  backoffLimitPerIndex: 0') +
            job('enough', '[ $JOB_COMPLETION_INDEX = 2 ] || sleep 1000',
                'completionMode: Indexed\n  completions: 4\n  parallelism: 4\n  successPolicy: {rules: [{succeededIndexes: "1-2", succeededCount: 1}]}'))
    s = wait(c, 'indexed', 'failed')
    assert (s['completedIndexes'], s['failedIndexes'], s['succeeded'], s['failed']) == ('0,2,3', '1', 3, 1), s
    assert conditions(c, 'indexed')[-1] == ('Failed', 'True', 'FailedIndexes'), conditions(c, 'indexed')
    for p in pods(c, 'indexed'):
        m = p['metadata']
        n = m['annotations']['batch.kubernetes.io/job-completion-index']
        assert m['labels']['batch.kubernetes.io/job-completion-index'] == n and m['name'].startswith('indexed-%s-' % n), m
        assert c.kubectl('logs', m['name']) == '%s indexed-%s\n' % (n, n)
    s = wait(c, 'enough')
    assert (s['completedIndexes'], s.get('failed', 0)) == ('2', 0), s
    assert conditions(c, 'enough')[-1] == ('Complete', 'True', 'SuccessPolicy')
    assert wait(c, 'many')['succeeded'] == 6 and len(pods(c, 'many')) == 6
    c.kubectl('delete', 'job', 'many', 'indexed', 'enough', '--cascade=foreground')
    assert not c.get('pods')['items'], [p['metadata']['name'] for p in c.get('pods')['items']]


def bad_ends(c):
    c.apply(job('fails', 'exit 3', 'backoffLimit: 0') + job('late', 'sleep 1000', 'activeDeadlineSeconds: 1') +
            job('again', 'exit 1', 'backoffLimit: 1').replace('restartPolicy: Never', 'restartPolicy: OnFailure') +
            job('rule', '[ $JOB_COMPLETION_INDEX = 0 ] && exit 42; sleep 1000', 'completionMode: Indexed\n  completions: 2\n  parallelism: 2\n  podFailurePolicy: '
                '{rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}, {action: FailJob, onExitCodes: {containerName: c, operator: In, values: [42]}}]}'))
    for name, reason, failed in ('fails', 'BackoffLimitExceeded', 1), ('late', 'DeadlineExceeded', 1), ('rule', 'PodFailurePolicy', 2), ('again', 'BackoffLimitExceeded', 1):
        s = wait(c, name, 'failed')
        assert conditions(c, name) == [('FailureTarget', 'True', reason), ('Failed', 'True', reason)], conditions(c, name)
        assert s.get('failed') == failed and 'completionTime' not in s, s
        eventually('the end of ' + name + ' is told', lambda: reason in reasons(c, name))
    assert re.match(r'Container c for pod default/rule-0-\w+ failed with exit code 42 matching FailJob rule at index 1$', s_message(c, 'rule')), s_message(c, 'rule')
    assert re.search(r'^fails +Failed +0/1 ', c.kubectl('get', 'job', 'fails'), re.M)
    assert c.wherry('why', 'job/late', check=False).startswith('Job late has failed: it ran longer than activeDeadlineSeconds allows (1 s).')
    c.kubectl('delete', 'job', 'fails', 'late', 'again', 'rule')


def s_message(c, name):
    return status(c, name)['conditions'][-1]['message']


def suspended_and_resumed(c):
    c.apply(job('held', 'sleep 1000', 'suspend: true') + job('stopped', 'sleep 1000', 'parallelism: 2\n  completions: 2'))
    eventually('two run', lambda: status(c, 'stopped').get('ready') == 2)
    assert conditions(c, 'held') == [('Suspended', 'True', 'JobSuspended')] and not pods(c, 'held') and 'startTime' not in status(c, 'held')
    assert re.search(r'^held +Suspended +0/1 ', c.kubectl('get', 'job', 'held'), re.M), c.kubectl('get', 'job', 'held')
    edit = lambda spec: c.kubectl('patch', 'job', 'stopped', '-p', json.dumps({'spec': spec}), check=False)
    fewer = {'template': {'spec': {'containers': [{'name': 'c', 'resources': {'requests': {'cpu': '1m'}}}], 'nodeSelector': {'kubernetes.io/os': 'linux'}}}}
    edit(fewer)
    assert 'nodeSelector' not in c.get('job', 'stopped')['spec']['template']['spec']    # refused while it runs
    edit({'suspend': True})
    eventually('its pods are gone', lambda: not pods(c, 'stopped') and status(c, 'stopped')['terminating'] == 0)
    eventually('its status says so', lambda: not {'failed', 'active', 'startTime'} & set(status(c, 'stopped')))
    edit(dict(fewer, suspend=False))
    eventually('they run again', lambda: status(c, 'stopped').get('ready') == 2)
    assert conditions(c, 'stopped') == [('Suspended', 'False', 'JobResumed')] and 'startTime' in status(c, 'stopped')
    assert all(p['spec']['nodeSelector'] == {'kubernetes.io/os': 'linux'} and p['spec']['containers'][0]['resources'] == {'requests': {'cpu': '1m'}}
               for p in pods(c, 'stopped'))
    eventually('both events are told', lambda: {'Suspended', 'Resumed'} <= reasons(c, 'stopped'))
    c.kubectl('delete', 'job', 'held', 'stopped')


def it_goes_and_leaves_nothing(c):
    c.apply(job('brief', 'true', 'ttlSecondsAfterFinished: 1') + job('left', 'sleep 1000') + job('struck', 'sleep 1000', 'podReplacementPolicy: Failed') +
            job('waits', 'true', pod='serviceAccountName: robot'))
    eventually('both run', lambda: status(c, 'left').get('ready') == status(c, 'struck').get('ready') == 1)
    c.kubectl('delete', 'job', 'left', '--cascade=orphan')
    eventually('its pod runs on without the finalizer', lambda: len(pods(c, 'left')) == 1 and untracked(pods(c, 'left')) and
               'ownerReferences' not in pods(c, 'left')[0]['metadata'])
    c.kubectl('delete', 'pod', '-l', 'job-name=left')
    c.kubectl('delete', 'pod', '-l', 'job-name=struck')                 # somebody ends it: a failure
    eventually('it counts', lambda: status(c, 'struck').get('failed') == 1)
    c.kubectl('delete', 'job', 'struck')
    assert 'service account robot is not there' in c.wherry('why', 'job/waits', check=False), c.wherry('why', 'job/waits', check=False)
    c.kubectl('create', 'serviceaccount', 'robot')
    wait(c, 'waits', seconds=10)                                        # at once, and not after the next back-off
    c.kubectl('delete', 'job', 'waits')
    eventually('the brief one is forgotten', lambda: not c.get('jobs')['items'] and not c.get('pods')['items'])


def sent_away(c):
    """By an eviction, or before they had a node: what the policy says of it counts, and another comes."""
    ignore = 'backoffLimit: 0\n  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}'
    c.apply(job('evicted', 'sleep 1000', ignore) + job('homeless', 'true', ignore, 'nodeSelector: {no: node}'))
    eventually('it runs', lambda: status(c, 'evicted').get('ready') == 1)
    old = pods(c, 'evicted')[0]['metadata']['name']
    c.kubectl('create', '--raw', '/api/v1/namespaces/default/pods/%s/eviction' % old, '-f', '-',
              input=json.dumps({'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': old}}))
    eventually('another runs', lambda: [p['metadata']['name'] != old and p['status']['phase'] for p in pods(c, 'evicted')] == ['Running'])
    assert 'failed' not in status(c, 'evicted'), status(c, 'evicted')
    c.kubectl('delete', 'pod', '-l', 'job-name=homeless')
    assert wait(c, 'homeless', 'failed')['failed'] == 1
    c.kubectl('delete', 'job', 'evicted', 'homeless')


def killed_in_between(c):
    """Whoever is killed whenever it comes: each pod counts once."""
    n = size(12, 60)
    c.apply(''.join(job('k%d' % i, 'sleep 0.%d' % (i % 7), 'completions: 3\n  parallelism: 2') for i in range(n)))
    for role in ['server', 'node'] * size(2, 12):
        time.sleep(0.7)
        eventually(role + ' is killed', lambda: os.kill(c.role_pid(role), signal.SIGKILL) is None, timeout=30)  # once it is there
    eventually('the server is there', lambda: c.get('jobs'), timeout=30)
    eventually('all are over', lambda: all(any(k['type'] == 'Complete' for k in j['status'].get('conditions', [])) for j in c.get('jobs')['items']), timeout=60)
    for j in c.get('jobs')['items']:
        s, mine = j['status'], pods(c, j['metadata']['name'])
        assert s['succeeded'] == 3 and s['uncountedTerminatedPods'] == {}, s
        assert sum(p['status']['phase'] == 'Succeeded' for p in mine) == 3 and untracked(mine), [p['status'] for p in mine]
    c.kubectl('delete', 'jobs', '--all')
    eventually('nothing is left', lambda: not c.get('pods')['items'], timeout=30)


if __name__ == '__main__':
    main([a_job_completes, many_run_at_once_and_by_index, bad_ends, suspended_and_resumed, it_goes_and_leaves_nothing, sent_away, killed_in_between])
