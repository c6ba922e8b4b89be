#!/usr/bin/env python3
"""wherry why: workloads broken in all the ways of why_cases.py, on real nodes, registries and disks; the sentence that
explains each; and that its way out is one."""
import re, shlex
from lib import *
import registry_test as registry
import why_cases as cases

registry.ADDRESS = cases.HERE


def why(c, *args, code=1, env=None):
    p = subprocess.run([WHERRY, 'why'] + list(args), env=env or c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == code, 'why %s: exit %d, not %d\n%s%s' % (args, p.returncode, code, p.stdout, p.stderr)
    return p.stdout


def plain(c, text):
    """Without what differs from run to run: hashes of pods, the node's name and size, times."""
    text = re.sub(r'(?<=[a-z])-[0-9a-f]{6,10}-[a-z0-9]{5}\b', '-*', text)
    text = re.sub(r'(?<=\bjob)-[a-z0-9]{5}\b', '-*', text)
    text = re.sub(r'\b%s\b' % re.escape(c.node), 'NODE', text)
    text = re.sub(r'\d{4}-\d\d-\d\dT[\d:]+Z', 'TIME', text)
    text = re.sub(r'has [\d.]+m? of \d+ left', 'has N of N left', text)
    text = re.sub(r'has [\d.]+[MG]i of [\d.]+[MG]i left', 'has N of N left', text)
    return re.sub(r'port 3[0-2]\d\d\d on', 'port N on', text)


def answers(c):
    """Every sentence, by kind/name as the rows have it."""
    words = {'Deployment': 'deploy', 'StatefulSet': 'sts', 'Service': 'svc', 'PersistentVolumeClaim': 'pvc', 'ResourceQuota': 'quota', 'ConfigMap': 'cm', 'Namespace': 'ns'}
    items = json.loads(why(c, '-A', '-o', 'json'))['items']
    return {'%s/%s' % (words.get(i['kind'], i['kind'].lower()), i['name']): plain(c, i['sentence']) for i in items}


def begin(c):
    c.node = c.get('nodes')['items'][0]['metadata']['name']
    eventually('a new cluster is as declared', lambda: why(c, code=0) == 'Everything is as declared.\n')
    registry.start_registry(c)
    registry.push(c, 'team/web', '1')
    for name, password in (('cred', registry.PASSWORD), ('wrong', 'x')):
        c.kubectl('create', 'secret', 'docker-registry', name, '--docker-server=' + cases.HERE, '--docker-username=' + registry.USER, '--docker-password=' + password)
    c.kubectl('create', 'secret', 'docker-registry', 'other', '--docker-server=example.com', '--docker-username=a', '--docker-password=b')


def broken_workloads_are_explained(c):
    begin(c)
    c.kubectl('create', 'ns', 'going')
    c.apply(cases.KEPT, 'going')
    c.apply('---'.join(row[1] for row in cases.ROWS if row[1]))
    c.kubectl('delete', 'cm/held', 'ns/going', '--wait=false')
    wrong = {}

    def all_told():
        told = answers(c)
        wrong.clear()
        for what, _, sentence in cases.ROWS:
            if what not in cases.ASKED_ONLY and told.get(what) != sentence:
                wrong[what] = told.get(what)
        return not wrong

    try:
        eventually('every sentence', all_told, timeout=40, every=0.5)
    except AssertionError:
        raise AssertionError('%d sentences differ:\n' % len(wrong) + '\n'.join('%s\n  have %s\n  want %s' % (w, have, want) for w, have in wrong.items() for x, _, want in cases.ROWS if x == w))


def each_can_be_asked_alone(c):
    for what, _, sentence in cases.ROWS:
        said = ['']

        def is_told():  # a container that ends again and again is ready for a moment each time
            said[:] = plain(c, why(c, what)).splitlines()
            assert said[0] == sentence, '%s\n  have %s\n  want %s' % (what, said[0], sentence)
            return True
        eventually(what, is_told)
        assert all(line.startswith('  ') for line in said[1:]), said
    kind, name = cases.ROWS[0][0].split('/')
    assert plain(c, why(c, kind, name)).startswith(cases.ROWS[0][2])


def the_chain_is_shown(c):
    said = plain(c, why(c, 'deploy/image-tag'))
    assert re.search(r'\n  Deployment image-tag: .*\n  ReplicaSet image-tag-\w+: 1 of 1 pods exist, 0 ready\n  Pod image-tag-\*: Pending, on node NODE\n'
                     r'  container c: (ErrImagePull|ImagePullBackOff): .*\n  image 127.0.0.1:5015/team/web:2: registry 127.0.0.1:5015: manifest unknown\n$', said), said


def refused_pods_do_not_pile_up(c):
    """What the node will never run is made once."""
    failed = c.get('pods', '-l', 'app=unsupported')['items']
    assert len(failed) == 1 and failed[0]['status']['reason'] == 'UnsupportedField', failed
    said = why(c, 'rs', c.get('rs', '-l', 'app=unsupported')['items'][0]['metadata']['name'])
    assert '%d have failed' % len(failed) in said or '%d have failed' % (len(failed) + 1) in said, said


def what_is_as_declared_says_so(c):
    c.kubectl('rollout', 'status', 'deploy/selects', '--timeout=20s')
    assert why(c, 'deploy/selects', code=0) == 'Deployment selects is as declared: 1 of 1 pods ready.\n'
    assert why(c, 'cm/kube-root-ca.crt', code=0) == 'ConfigMap kube-root-ca.crt is as declared.\n'
    assert why(c, 'node', c.node, code=0).startswith('Node %s is as declared: it is ready.' % c.node)
    assert why(c, '-n', 'kube-public', code=0) == 'Everything is as declared.\n'
    why(c, '--nix', code=2)
    why(c, '-A', 'deploy/crash', code=2)
    why(c, 'deploy', code=2)


def the_way_out_is_one(c):
    """Those that are whole commands are run as they stand."""
    for what in ('svc/selects-none', 'deploy/paused', 'deploy/no-account', 'deploy/selector', 'pod/gated', 'cm/held'):
        way = json.loads(why(c, what, '-o', 'json'))['items'][0]['way']
        command = shlex.split(re.search(r"kubectl ((?:'[^']*'|[^,'])*)", way).group(1))
        c.kubectl(*command)
        if what != 'cm/held':
            eventually('%s is well after: kubectl %s' % (what, ' '.join(command)), lambda: why(c, what, code=0), timeout=15)
    assert 'held' not in c.kubectl('get', 'cm', '-o', 'name')


def nodes_are_explained(c):
    c.kubectl('taint', 'node', c.node, 'team=gpu:NoSchedule')
    c.apply(cases.deploy('tainted'))
    c.want = 'Deployment %s has 0 of 1 pods ready: pod %s-* fits on no node: '
    eventually('taint', lambda: plain(c, why(c, 'deploy/tainted')).splitlines()[0] == c.want % ('tainted', 'tainted') +
               'node NODE has the taint team=gpu:NoSchedule, which it does not tolerate. Take the taint away: kubectl taint node NODE team-, '
               'or tolerate it in spec.template.spec.tolerations: kubectl edit deploy/tainted.', timeout=10)
    c.kubectl('taint', 'node', c.node, 'team-')
    c.kubectl('cordon', c.node)
    c.apply(cases.deploy('cordoned'))
    eventually('cordon', lambda: plain(c, why(c, 'deploy/cordoned')).splitlines()[0] == c.want % ('cordoned', 'cordoned') +
               'node NODE is cordoned. Let it take pods again: kubectl uncordon NODE.', timeout=10)
    said = plain(c, why(c, 'node', c.node)).splitlines()[0]
    assert said == ('Node NODE: it is cordoned, and pod budget-* stays on it, as of PodDisruptionBudget budget: it lets no pod be evicted, as 1 of 1 pods are '
                    'healthy and 1 are to stay so: a drain waits (429). Run more replicas than it keeps, or let it keep fewer: kubectl edit pdb/budget.'), said
    c.kubectl('uncordon', c.node)
    eventually('runs at last', lambda: why(c, 'deploy/cordoned', code=0), timeout=15)


def who_may_not_read_is_told(c):
    c.kubectl('create', 'serviceaccount', 'guest')
    c.kubectl('create', 'role', 'guest', '--verb=get,list', '--resource=pods,deployments.apps,replicasets.apps')
    c.kubectl('create', 'rolebinding', 'guest', '--role=guest', '--serviceaccount=default:guest')
    token = c.kubectl('create', 'token', 'guest').strip()
    words = [WHERRY, 'why', 'deploy/cpu', '--token', token]
    p = eventually('the scheduler has looked again', lambda: (lambda p: 'Insufficient' in p.stdout and p)(
        subprocess.run(words, env=c.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)))
    assert p.returncode == 1 and 'fits on no node: 0/1 nodes are available: 1 Insufficient cpu.' in p.stdout, p.stdout + p.stderr
    assert re.match('You may not read .*nodes.*, pods of other namespaces', p.stderr), p.stderr


def an_immutable_field_is_refused_with_a_way_out(c):
    p = subprocess.run([WHERRY, 'apply', '-f', '-'], env=c.env, text=True, input=cases.deploy('selects').replace('{app: selects}', '{app: other}'),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == 1 and 'spec.selector' in p.stderr and 'field is immutable' in p.stderr and 'wherry delete deployment/selects' in p.stderr, p.stderr
    c.registry.terminate()
    c.registry.wait()


if __name__ == '__main__':
    main([broken_workloads_are_explained, each_can_be_asked_alone, the_chain_is_shown, refused_pods_do_not_pile_up, what_is_as_declared_says_so, the_way_out_is_one, nodes_are_explained,
          who_may_not_read_is_told, an_immutable_field_is_refused_with_a_way_out],
         port=16843, args=['--set', 'insecure-registries=' + cases.HERE + ',' + cases.NOBODY])
