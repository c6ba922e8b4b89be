#!/usr/bin/env python3
"""StatefulSets keep what they promise, with real containers: names, order, claims, updates that stop at the partition and at
what is broken, the way back - and never two processes of one ordinal, with the node role and the server killed in between."""
import glob, random, threading, urllib.parse
from lib import *
from informer_test import LOST, Api

ROUNDS = size(1, 12)
PATH = {'Pod': '/api/v1/namespaces/default/pods', 'StatefulSet': '/apis/apps/v1/namespaces/default/statefulsets'}


def stateful(name, replicas, more='', pod='', image=IMAGE, env='0', claims='', volumes=''):
    """One whose pods say in their environment who they are, and become ready when they serve."""
    return f'''
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{clusterIP: None, selector: {{app: {name}}}, ports: [{{name: http, port: 8080}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  serviceName: {name}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {image}
        ports: [{{containerPort: 8080}}]
        env:
        - {{name: ROUND, value: "{env}"}}
        - {{name: IT_IS, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: IT_HAS, valueFrom: {{fieldRef: {{fieldPath: metadata.uid}}}}}}
        - {{name: INDEX, valueFrom: {{fieldRef: {{fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}}}}}
        readinessProbe: {{exec: {{command: [sh, -c, 'test ! -s /sick && wget -q -O /dev/null http://127.0.0.1:8080/healthz']}}, periodSeconds: 1, failureThreshold: 1}}
{pod}
{claims}
{more}
'''


def pods_of(c, name):
    return {p['metadata']['name']: p for p in c.get('pods', '-l', 'app=' + name)['items']}


def is_ready(p):
    return not p['metadata'].get('deletionTimestamp') and any(
        x['type'] == 'Ready' and x['status'] == 'True' for x in p['status'].get('conditions', []))


def rolled_out(c, name, timeout=60):
    said = c.kubectl('rollout', 'status', 'sts/' + name, '--timeout=%ds' % timeout, timeout=timeout + 10)
    assert 'complete' in said or 'roll out complete' in said, said
    return said


def rounds(c, name):
    """{pod: what its environment says}"""
    return {n: next(e['value'] for e in p['spec']['containers'][0]['env'] if e['name'] == 'ROUND') for n, p in pods_of(c, name).items()}


def set_env(c, name, value):
    c.kubectl('set', 'env', 'sts/' + name, 'ROUND=%s' % value)


class Watched(threading.Thread):
    """Every change of pods and StatefulSets, and every 50 ms all processes that say who they are."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.c, self.seen, self.error, self.ended, self.twice = c, [], None, False, []
        self.watches = [threading.Thread(target=self.follow, args=(k,), daemon=True) for k in PATH]
        self.first = {k: Api(c).must('GET', PATH[k]) for k in PATH}

    def __enter__(self):
        for w in self.watches:
            w.start()
        self.start()
        return self

    def __exit__(self, *unused):
        self.ended = True
        self.join()

    def run(self):
        while not self.ended:
            who = {}
            for path in glob.glob('/proc/[0-9]*/environ'):
                try:
                    with open(path, 'rb') as f:
                        text = f.read()
                except OSError:
                    continue
                if b'IT_IS=' in text:
                    env = dict(x.split(b'=', 1) for x in text.split(b'\0') if b'=' in x)
                    who.setdefault(env[b'IT_IS'], set()).add(env[b'IT_HAS'])
            self.twice += [(n.decode(), uids) for n, uids in who.items() if len(uids) > 1]
            time.sleep(0.05)

    def follow(self, kind):
        rev, api = self.first[kind]['metadata']['resourceVersion'], Api(self.c)
        while not self.ended:
            try:
                conn = api.open(timeout=5)
                conn.request('GET', PATH[kind] + '?' + urllib.parse.urlencode({'watch': '1', 'resourceVersion': rev}))
                r = conn.getresponse()
                if r.status != 200:
                    raise OSError('%d' % r.status)
                while not self.ended:
                    line = r.readline()
                    if not line.endswith(b'\n'):
                        raise OSError('cut')
                    e = json.loads(line)
                    if e['type'] == 'ERROR':
                        self.error = e
                        return
                    rev = int(e['object']['metadata']['resourceVersion'])
                    self.seen.append((rev, kind, e['type'], e['object']))
            except LOST:
                time.sleep(0.05)

    def check(self, name, disturbed=False):
        """Order and bounds at every revision; where pods are killed from outside, order alone."""
        assert not self.error, self.error
        assert not self.twice, 'two processes of one ordinal: %s' % self.twice[:3]
        now, sets = ({o['metadata']['name']: o for o in self.first[k]['items'] if o['metadata']['name'].rpartition('-')[0] == name or
                      o['metadata']['name'] == name} for k in PATH)
        looks = 0
        for rev, kind, how, o in sorted(self.seen, key=lambda e: e[0]):
            if o['metadata']['name'].rsplit('-', 1)[0] != name and o['metadata']['name'] != name:
                continue
            if kind == 'StatefulSet':
                sets[o['metadata']['name']] = o
                continue
            was = now.get(o['metadata']['name'])
            s, ordinal = sets.get(name), int(o['metadata']['name'].rsplit('-', 1)[1])
            if how == 'ADDED' and s and s['spec'].get('podManagementPolicy') == 'OrderedReady' and not disturbed:
                missing = [i for i in range(ordinal) if not is_ready(now.get('%s-%d' % (name, i), {'metadata': {'deletionTimestamp': 1}}))]
                assert not missing, '%d: %s is made before %s are ready' % (rev, o['metadata']['name'], missing)
            if was and was['metadata']['uid'] != o['metadata']['uid']:
                raise AssertionError('%d: %s follows itself without having gone' % (rev, o['metadata']['name']))
            if how == 'DELETED':
                now.pop(o['metadata']['name'], None)
            else:
                now[o['metadata']['name']] = o
            if was and is_ready(was) and o['metadata'].get('deletionTimestamp') and s and ordinal < s['spec']['replicas'] and not disturbed:
                most = s['spec']['updateStrategy']['rollingUpdate'].get('maxUnavailable', 1)
                away = s['spec']['replicas'] - sum(is_ready(p) for n, p in now.items() if int(n.rsplit('-', 1)[1]) < s['spec']['replicas'])
                assert away <= most, '%d: %s goes, and %d are away' % (rev, o['metadata']['name'], away)
            looks += 1
        assert looks > 0
        return looks


# --- names and order

def names_and_order(c):
    """One after the other, each with its name in DNS, its labels and its number; down again from the highest."""
    with Watched(c) as w:
        c.apply(stateful('db', 3))
        rolled_out(c, 'db')
        pods = pods_of(c, 'db')
        assert sorted(pods) == ['db-0', 'db-1', 'db-2'], sorted(pods)
        for i in range(3):
            p = pods['db-%d' % i]
            labels, spec = p['metadata']['labels'], p['spec']
            assert labels['statefulset.kubernetes.io/pod-name'] == 'db-%d' % i and labels['apps.kubernetes.io/pod-index'] == str(i), labels
            assert (spec['hostname'], spec['subdomain']) == ('db-%d' % i, 'db'), spec
        s = c.get('sts', 'db')
        assert labels['controller-revision-hash'] == s['status']['currentRevision'] == s['status']['updateRevision'], (labels, s['status'])
        assert s['status']['collisionCount'] == 0 and s['status']['availableReplicas'] == 3, s['status']
        said = c.kubectl('exec', 'db-2', '--', 'sh', '-c', 'echo $(hostname) $INDEX; nslookup db-1.db.default.svc.cluster.local | grep Address; '
                         'wget -q -O - http://db-1.db:8080/')
        assert said.startswith('db-2 2') and pods['db-1']['status']['podIP'] in said and 'Hello' in said, said
        line = c.kubectl('get', 'sts', 'db', '-o', 'wide').splitlines()[1].split()
        assert line[:2] == ['db', '3/3'] and line[3:] == ['web', IMAGE], line
        mark = '{"status":{"conditions":[{"type":"Checked","status":"True"}]}}'
        c.kubectl('patch', 'sts', 'db', '--subresource=status', '--type=merge', '-p', mark)
        c.kubectl('scale', 'sts/db', '--replicas=1')
        eventually('the others are gone', lambda: list(pods_of(c, 'db')) == ['db-0'], 30)
        w.check('db')
    assert [x['type'] for x in c.get('sts', 'db')['status']['conditions']] == ['Checked'], 'what others write into the status stays'
    told = c.kubectl('describe', 'sts', 'db')
    for text in ('create Pod db-2 in StatefulSet db successful', 'delete Pod db-1 in StatefulSet db successful', '1 Running / 0 Waiting / 0 Succeeded / 0 Failed'):
        assert text in told, told
    # who is not ready holds up who comes after it
    c.kubectl('exec', 'db-0', '--', 'sh', '-c', 'echo x > /sick')
    eventually('it is not ready', lambda: not is_ready(pods_of(c, 'db')['db-0']))
    c.kubectl('patch', 'sts', 'db', '--subresource=scale', '--type=merge', '-p', '{"spec":{"replicas":2}}')
    eventually('the status knows', lambda: c.get('sts', 'db')['status']['observedGeneration'] == c.get('sts', 'db')['metadata']['generation'])
    assert list(pods_of(c, 'db')) == ['db-0']
    why = c.wherry('why', 'sts/db', check=False)
    assert 'db-0' in why, why
    c.kubectl('exec', 'db-0', '--', 'sh', '-c', ': > /sick')
    rolled_out(c, 'db')


def parallel_and_ordinals(c):
    """All at once, counted from 5; a claim is made for each before it, and stays."""
    c.apply(volumes(4))
    c.apply(stateful('par', 2, more='  podManagementPolicy: Parallel\n  ordinals: {start: 5}\n', claims=CLAIMS))
    eventually('both are there', lambda: sorted(pods_of(c, 'par')) == ['par-5', 'par-6'])
    claims = {p['metadata']['name']: p for p in c.get('pvc')['items']}
    assert sorted(claims) == ['data-par-5', 'data-par-6'], sorted(claims)
    assert claims['data-par-5']['metadata']['labels'] == {'app': 'par'}, claims['data-par-5']['metadata']
    assert pods_of(c, 'par')['par-5']['spec']['volumes'][0] == {'name': 'data', 'persistentVolumeClaim': {'claimName': 'data-par-5'}}
    c.kubectl('patch', 'sts', 'par', '--type=merge', '-p', '{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Retain"},"replicas":1}}')
    eventually('one claim is left', lambda: [p['metadata']['name'] for p in c.get('pvc')['items']] == ['data-par-5'], 30)
    c.kubectl('delete', 'sts', 'par')
    eventually('no pod is left', lambda: not pods_of(c, 'par'), 30)
    assert [p['metadata']['name'] for p in c.get('pvc')['items']] == ['data-par-5']
    c.kubectl('delete', 'pvc,pv', '--all', '--wait=false')


CLAIMS = '''  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: "", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
'''


def volumes(n):
    return '\n---\n'.join('''
apiVersion: v1
kind: PersistentVolume
metadata: {name: made-%d}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /tmp, type: Directory}}''' % i for i in range(n))


def claims_keep_what_is_written(c):
    """By the class that is there from the beginning: what a pod wrote is there for the next one of its name, and goes when the
    set goes, where its policy says so."""
    claims = CLAIMS.replace('storageClassName: "", ', '')
    mount = '        volumeMounts: [{name: data, mountPath: /data}]'
    c.apply(stateful('store', 2, claims=claims, pod=mount, more='  podManagementPolicy: Parallel\n  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}\n'))
    rolled_out(c, 'store')
    for n in range(2):
        c.kubectl('exec', 'store-%d' % n, '--', 'sh', '-c', 'hostname > /data/who')
    uids = {n: p['metadata']['uid'] for n, p in pods_of(c, 'store').items()}
    c.kubectl('delete', 'pod', '-l', 'app=store', '--wait=false')
    eventually('they are others', lambda: len(pods_of(c, 'store')) == 2 and all(
        is_ready(p) and p['metadata']['uid'] != uids[n] for n, p in pods_of(c, 'store').items()), 30)
    for n in range(2):
        assert c.kubectl('exec', 'store-%d' % n, '--', 'cat', '/data/who').strip() == 'store-%d' % n
    volumes = [p['spec']['volumeName'] for p in c.get('pvc', '-l', 'app=store')['items']]
    assert len(volumes) == 2 and all(volumes), volumes
    c.kubectl('delete', 'sts', 'store', '--wait=false')
    eventually('claims and volumes go with it', lambda: not c.get('pvc', '-l', 'app=store')['items'] and
               not set(volumes) & {v['metadata']['name'] for v in c.get('pv')['items']}, 40)


# --- updates

def updates_and_the_way_back(c):
    """From the highest down, one at a time; held by the partition; back and forth by revisions; restarted; never paused."""
    c.apply(stateful('roll', 3))
    rolled_out(c, 'roll')
    with Watched(c) as w:
        set_env(c, 'roll', 1)
        rolled_out(c, 'roll')
        assert set(rounds(c, 'roll').values()) == {'1'}, rounds(c, 'roll')
        history = c.kubectl('rollout', 'history', 'sts/roll').split()
        assert history[-4:] == ['1', '<none>', '2', '<none>'], history
        assert 'ROUND:\t1' in c.kubectl('rollout', 'history', 'sts/roll', '--revision=2')
        c.kubectl('rollout', 'undo', 'sts/roll')
        rolled_out(c, 'roll')
        assert set(rounds(c, 'roll').values()) == {'0'}, rounds(c, 'roll')
        assert c.kubectl('rollout', 'history', 'sts/roll').split()[-4:] == ['2', '<none>', '3', '<none>']
        assert 'skipped' in c.kubectl('rollout', 'undo', 'sts/roll', '--to-revision=3')
        c.kubectl('patch', 'sts', 'roll', '--type=merge', '-p', '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}')
        set_env(c, 'roll', 2)
        said = rolled_out(c, 'roll')
        assert 'partitioned roll out complete: 1 new pods' in said, said
        assert rounds(c, 'roll') == {'roll-0': '0', 'roll-1': '0', 'roll-2': '2'}, rounds(c, 'roll')
        why = c.wherry('why', 'sts/roll', check=False)
        assert 'partition' in why, why
        c.kubectl('patch', 'sts', 'roll', '--type=merge', '-p', '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}')
        c.kubectl('rollout', 'restart', 'sts/roll')
        rolled_out(c, 'roll')
        assert set(rounds(c, 'roll').values()) == {'2'}, rounds(c, 'roll')
        w.check('roll')
    assert c.wherry('rollout', 'status', 'sts/roll') == c.kubectl('rollout', 'status', 'sts/roll') == 'partitioned roll out complete: 3 new pods have been updated...\n'
    told = c.wherry('rollout', 'history', 'sts/roll').split()
    assert told == c.kubectl('rollout', 'history', 'sts/roll').split() and told[-2:] == ['5', '<none>'], told
    assert c.wherry('rollout', 'undo', 'sts/roll', '--to-revision', '3') == 'statefulset.apps/roll rolled back\n'
    c.wherry('rollout', 'status', 'sts/roll', '--timeout', '60s')
    assert set(rounds(c, 'roll').values()) == {'0'}, rounds(c, 'roll')
    assert c.wherry('rollout', 'undo', 'sts/roll', '--to-revision', '6') == 'statefulset.apps/roll skipped rollback (current template already matches revision 6)\n'
    assert 'app: roll' in c.wherry('rollout', 'history', 'sts/roll', '--revision', '5')
    for word, said in ('pause', 'pausing is not supported'), ('resume', 'resuming is not supported'), ('undo', 'no 99'):
        p = subprocess.run([WHERRY, 'rollout', word, 'sts/roll', '--to-revision', '99'], env=c.env, capture_output=True, text=True)
        assert p.returncode == 1 and said in p.stderr, p.stderr
    p = subprocess.run([c.bin + '/kubectl', 'rollout', 'pause', 'sts/roll'], env=c.env, capture_output=True, text=True)
    assert p.returncode == 1 and 'pausing is not supported' in p.stderr, p.stderr


def a_broken_revision_is_mended(c):
    """The first one is, and one in the middle: each time the next template goes through by itself."""
    for image, pod in (('wherry.dev/none:1', '        imagePullPolicy: Never'), (IMAGE, '        command: [sh, -c, "exit 1"]'),
                       (IMAGE, '        command: [sh, -c, "echo x > /sick; exec web"]')):
        c.apply(stateful('mend', 2, image=image, pod=pod))
        eventually('its pod fails', lambda: any('/sick' in pod and 'running' in x['state'] or x['state'].get('waiting', {}).get('reason') in ('ErrImageNeverPull', 'CrashLoopBackOff')
                                              for x in pods_of(c, 'mend')['mend-0']['status'].get('containerStatuses', [])), 30)
        c.apply(stateful('mend', 2))
        rolled_out(c, 'mend')
        with Watched(c) as w:
            c.apply(stateful('mend', 2, image=image, pod=pod))
            eventually('the update is stuck', lambda: pods_of(c, 'mend')['mend-1']['spec']['containers'][0].get('command') or
                       pods_of(c, 'mend')['mend-1']['spec']['containers'][0]['image'] != IMAGE, 30)
            why = eventually('why names it', lambda: [t for t in [c.wherry('why', 'sts/mend', check=False)] if 'mend-1' in t][0])
            c.kubectl('rollout', 'undo', 'sts/mend')
            rolled_out(c, 'mend')
            w.check('mend')
        assert 'ReplacingBrokenPod' in c.kubectl('get', 'events', '--field-selector', 'involvedObject.name=mend')
        c.kubectl('delete', 'sts', 'mend')


# --- budgets

FLEET = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: fleets.ship.example}
spec:
  group: ship.example
  scope: Namespaced
  names: {plural: fleets, singular: fleet, kind: Fleet}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    subresources: {scale: {specReplicasPath: .spec.boats, statusReplicasPath: .status.boats}}
"""


def evict(c, pod):
    """What the API answers to the eviction of a pod."""
    body = {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': pod, 'namespace': 'default'}}
    return Api(c).call('POST', PATH['Pod'] + '/%s/eviction' % pod, body)


def budgets_hold(c):
    """A StatefulSet gives away one pod at a time; pods of a definition's kind are counted by its scale; a DaemonSet has none."""
    c.apply(stateful('kept', 2) + """
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: kept}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: kept}}}
""" + '---' + FLEET)
    rolled_out(c, 'kept')
    eventually('one may go', lambda: c.get('pdb', 'kept')['status']['disruptionsAllowed'] == 1)
    assert c.get('pdb', 'kept')['status']['expectedPods'] == 2
    assert evict(c, 'kept-1')[0] == 201
    status, said = evict(c, 'kept-0')
    assert status == 429 and 'disruption budget' in said['message'], (status, said)
    eventually('it is back', lambda: is_ready(pods_of(c, 'kept')['kept-1']) and c.get('pdb', 'kept')['status']['disruptionsAllowed'] == 1, 30)
    c.kubectl('wait', '--for=condition=Established', 'crd/fleets.ship.example', '--timeout=20s')
    eventually('it is served', lambda: c.apply('{apiVersion: ship.example/v1, kind: Fleet, metadata: {name: f}, spec: {boats: 3}}'))
    uid = c.get('fleet', 'f')['metadata']['uid']
    c.apply('\n---\n'.join(f"""
apiVersion: v1
kind: Pod
metadata: {{name: boat-{i}, labels: {{app: boat}}, ownerReferences: [{{apiVersion: ship.example/v1, kind: Fleet, name: f, uid: {uid}, controller: true}}]}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: web, image: {IMAGE}}}]}}
""" for i in range(2)) + """
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: boats}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: boat}}}
""")
    status = lambda: {k: c.get('pdb', 'boats')['status'].get(k) for k in ('expectedPods', 'desiredHealthy', 'currentHealthy', 'disruptionsAllowed')}
    eventually('they are counted', lambda: status() == {'expectedPods': 3, 'desiredHealthy': 2, 'currentHealthy': 2, 'disruptionsAllowed': 0}, 30)
    assert evict(c, 'boat-0')[0] == 429
    c.kubectl('scale', 'fleet/f', '--replicas=2')
    eventually('fewer are wanted', lambda: status()['disruptionsAllowed'] == 1)
    assert evict(c, 'boat-0')[0] == 201
    c.kubectl('delete', 'crd', 'fleets.ship.example', '--wait=false')
    c.kubectl('delete', 'sts,pdb', '--all', '--wait=false')


# --- ends

def adopted_and_deleted(c):
    """Pods that were left behind are taken over without a restart; what owns them in the foreground goes last."""
    c.apply(stateful('own', 2))
    rolled_out(c, 'own')
    uids = {n: p['metadata']['uid'] for n, p in pods_of(c, 'own').items()}
    c.kubectl('delete', 'sts', 'own', '--cascade=orphan')
    assert all('ownerReferences' not in p['metadata'] for p in pods_of(c, 'own').values())
    c.apply(stateful('own', 2))
    rolled_out(c, 'own')
    assert uids == {n: p['metadata']['uid'] for n, p in pods_of(c, 'own').items()}
    c.kubectl('delete', 'sts', 'own', '--cascade=foreground')
    assert not pods_of(c, 'own') and not c.get('controllerrevisions', '-l', 'app=own')['items']


def roles_die_in_between(c):
    """Updates under kills of the node role, the server and pods: all comes to pass, and nothing is ever there twice."""
    rng = random.Random(seed())
    c.apply(stateful('storm', 3, more='  podManagementPolicy: Parallel\n'))
    c.apply(stateful('calm', 2))
    rolled_out(c, 'storm')
    rolled_out(c, 'calm')
    for n in range(ROUNDS):
        with Watched(c) as w:
            for name in ('storm', 'calm'):
                set_env(c, name, 'r%d' % n)
            for deed in range(4):
                time.sleep(rng.random() * 1.5)
                what = ('node', 'server', 'pod', 'node')[deed]
                if what == 'pod':
                    c.kubectl('delete', 'pod', 'storm-%d' % rng.randrange(3), '--wait=false', '--ignore-not-found')
                else:
                    eventually('one runs', lambda: os.kill(c.role_pid(what), signal.SIGKILL) is None)
            eventually('the server is back', lambda: c.kubectl('get', '--raw', '/readyz') == 'ok')
            for name in ('storm', 'calm'):
                rolled_out(c, name, 90)
                eventually('%s is through' % name, lambda: set(rounds(c, name).values()) == {'r%d' % n} and all(map(is_ready, pods_of(c, name).values())), 60)
            w.check('storm', True)
            w.check('calm', True)


if __name__ == '__main__':
    main([names_and_order, parallel_and_ordinals, claims_keep_what_is_written, updates_and_the_way_back, a_broken_revision_is_mended, budgets_hold, adopted_and_deleted, roles_die_in_between])
