#!/usr/bin/env python3
"""Rollouts lose nothing: Deployments are rolled, scaled, undone, paused and broken at random under load, with roles
killed, pods evicted and failing and the node full in between. No request fails, and what maxSurge and maxUnavailable
promise holds at every moment: all changes are watched, and the state after each one is looked at."""
import collections, math, os, random, re, signal, socket, subprocess, threading, time, urllib.parse
from lib import *
from informer_test import LOST, Api

LOAD = os.path.join(BUILD, 'load')
SECONDS = size(14, 260)
NS = '/namespaces/default/'
PATHS = {'Pod': '/api/v1' + NS + 'pods', 'ReplicaSet': '/apis/apps/v1' + NS + 'replicasets', 'Deployment': '/apis/apps/v1' + NS + 'deployments'}
MERGE = 'application/merge-patch+json'

# name: replicas, maxSurge, maxUnavailable, what its pods do besides
APPS = {
    'swift': (4, 1, 0, {}),
    'hooked': (5, '25%', '25%', {'lifecycle': {'preStop': {'exec': {'command': ['sleep', '0.3']}}}}),
    'tight': (3, 0, 1, {}),
}


# --- all that happens, in the order of revisions

class Watching(threading.Thread):
    """Every change of a kind, however often the server is killed."""

    def __init__(self, c, kind):
        super().__init__(daemon=True)
        self.api, self.kind, self.seen, self.error, self.rev, self.ended = Api(c), kind, [], None, 0, False

    def run(self):
        try:
            while not self.ended:
                try:
                    self.follow()
                except LOST:
                    time.sleep(0.05)                    # the server is away
        except Exception as e:
            self.error = e

    def follow(self):
        conn = self.api.open(timeout=5)
        query = {'watch': '1', 'resourceVersion': self.rev, 'timeoutSeconds': 3600, 'allowWatchBookmarks': 'true'}
        conn.request('GET', PATHS[self.kind] + '?' + urllib.parse.urlencode(query))
        r = conn.getresponse()
        if r.status in (401, 429, 500, 503):
            raise OSError('%d' % r.status)              # is starting
        assert r.status == 200, (r.status, r.read())
        while not self.ended:
            line = r.readline()
            if not line.endswith(b'\n'):
                raise OSError('cut')
            e = json.loads(line)
            assert e['type'] != 'ERROR', e
            rev = int(e['object']['metadata']['resourceVersion'])
            assert rev > self.rev or e['type'] == 'BOOKMARK', ('revisions go back', self.kind, self.rev, e)
            self.rev = rev
            if e['type'] != 'BOOKMARK':
                self.seen.append((rev, self.kind, e['type'], e['object']))


def is_alive(pod):
    return not pod['metadata'].get('deletionTimestamp') and pod['status'].get('phase') not in ('Succeeded', 'Failed')


def is_available(pod):
    return is_alive(pod) and any(x['type'] == 'Ready' and x['status'] == 'True' for x in pod['status'].get('conditions', []))


def is_evicted(pod):
    return any(x['type'] == 'DisruptionTarget' for x in pod['status'].get('conditions', []))


def part(value, of, up):
    if isinstance(value, int):
        return value
    n = int(value[:-1]) * of / 100
    return math.ceil(n) if up else math.floor(n)


def bounds(d):
    """How many pods there may be, and how many must serve."""
    n, how = d['spec']['replicas'], d['spec']['strategy']['rollingUpdate']
    surge, gone = part(how['maxSurge'], n, True), part(how['maxUnavailable'], n, False)
    return n + surge, n - (gone if surge or gone else 1)


class Bounds:
    """One Deployment's promise. A new wish needs time: the most that there may be falls, and the least that must
    serve rises, once everybody has seen it. What others than the controllers take away is not the controllers' fault."""

    def __init__(self):
        self.most, self.least, self.lost, self.told, self.before = 0, 0, 0, [], collections.deque(maxlen=8)

    def look(self, rev, what, d, sets, pods):
        most, least = bounds(d)
        alive, serving = sum(map(is_alive, pods)), sum(map(is_available, pods))
        settled = self.is_settled(d, sets, pods)
        self.most = max(most, min(self.most, alive) if settled else self.most)
        self.least = min(least, max(self.least, serving) if settled else self.least)
        if settled and serving >= self.least:
            self.lost = 0
        name = d['metadata']['name']
        now = '%d: %s wants %d, %s; %d of %d serve' % (rev, name, d['spec']['replicas'], ', '.join(
            '%s %d' % (s['metadata']['name'], s['spec']['replicas']) for s in sets if s['spec']['replicas']), serving, alive)
        self.before.append('%s, after %s' % (now, what))
        if (alive > self.most or serving < self.least - self.lost) and not self.told:
            self.told += self.before                    # how it came to that
        if alive > self.most:
            self.told.append('%d: %s has %d pods, may have %d, after %s' % (rev, name, alive, self.most, what))
        if serving < self.least - self.lost:
            self.told.append('%d: %s has %d pods that serve, must have %d (%d were taken), after %s' % (rev, name, serving, self.least, self.lost, what))

    @staticmethod
    def is_settled(d, sets, pods):
        if d.get('status', {}).get('observedGeneration') != d['metadata']['generation']:
            return False
        for s in sets:
            mine = [p for p in pods if p['metadata']['ownerReferences'][0]['uid'] == s['metadata']['uid']]
            alive, serving = sum(map(is_alive, mine)), sum(map(is_available, mine))
            st = s.get('status', {})
            if st.get('observedGeneration') != s['metadata']['generation'] or s['spec']['replicas'] != alive or \
                    st.get('replicas', 0) != alive or st.get('availableReplicas', 0) != serving:
                return False
        return True


class Replay:
    """The state of the cluster at every revision."""

    def __init__(self):
        self.now = {kind: {} for kind in PATHS}
        self.bounds = collections.defaultdict(Bounds)
        self.looks = 0

    def step(self, rev, kind, how, o, taken):
        name, app = o['metadata']['name'], o['metadata'].get('labels', {}).get('app', o['metadata']['name'])
        was = self.now[kind].get(name)
        if how == 'DELETED':
            self.now[kind].pop(name)
        else:
            self.now[kind][name] = o
        d = self.now['Deployment'].get(app)
        if not d:
            return
        if kind == 'Pod' and was and is_available(was) and (how == 'DELETED' or not is_available(o)):
            # not by a ReplicaSet: it failed by itself, or was deleted or evicted
            if how != 'DELETED' and (not o['metadata'].get('deletionTimestamp') or is_evicted(o) or name in taken):
                self.bounds[app].lost += 1
        mine = lambda k: [x for x in self.now[k].values() if x['metadata'].get('labels', {}).get('app') == app]
        self.looks += 1
        self.bounds[app].look(rev, '%s %s %s' % (how, kind, name), d, mine('ReplicaSet'), mine('Pod'))


class Watched:
    """Inside of it all is recorded; `check` plays it again."""

    def __init__(self, c):
        self.c, self.api, self.taken = c, Api(c), set()
        self.watches = [Watching(c, k) for k in PATHS]

    def __enter__(self):
        rev = int(self.api.must('GET', '/api/v1/pods')['metadata']['resourceVersion'])
        for w in self.watches:
            w.rev = rev
            w.start()
        return self

    def __exit__(self, *unused):
        for w in self.watches:
            w.ended = True

    def check(self):
        def whole():
            wanted = {k: {o['metadata']['name']: o['metadata']['resourceVersion'] for o in self.api.must('GET', p)['items']} for k, p in PATHS.items()}
            for w in self.watches:
                assert not w.error, w.error
            r = Replay()
            for rev, kind, how, o in sorted((e for w in self.watches for e in list(w.seen)), key=lambda e: e[0]):
                r.step(rev, kind, how, o, self.taken)
            got = {k: {n: o['metadata']['resourceVersion'] for n, o in r.now[k].items()} for k in PATHS}
            assert got == wanted, 'the watches and the lists differ: %s' % [k for k in PATHS if got[k] != wanted[k]]
            return r
        r = eventually('the watches have seen it all', whole, 20, 0.3)
        told = [t for b in r.bounds.values() for t in b.told]
        assert not told, '%d times:\n%s' % (len(told), '\n'.join(told[:10]))
        return r.looks


# --- what is rolled

# Answers each datagram with itself; `udp check` asks it. Ends at once, as PID 1 does with a handler alone.
UDP = r"""
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9000)}, from;
    struct timeval second = {1, 0};
    char b[64];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (argc > 1 && *argv[1] == 'c') {
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
        return connect(fd, (void *)&a, sizeof a) < 0 || write(fd, "x", 1) != 1 || read(fd, b, sizeof b) != 1;
    }
    signal(SIGTERM, end);
    if (bind(fd, (void *)&a, sizeof a) < 0)
        return 1;
    for (;;) {
        socklen_t n = sizeof from;
        ssize_t got = recvfrom(fd, b, sizeof b, 0, (void *)&from, &n);
        if (got > 0)
            sendto(fd, b, (size_t)got, 0, (void *)&from, n);
    }
}
"""
UDP_IMAGE = 'wherry.dev/udp:1'


def load_udp_image(c):
    program, tar = c.root + '/udp', c.root + '/udp.tar'
    run(['gcc', '-O2', '-static', '-x', 'c', '-', '-o', program], input=UDP)
    run([WHERRY, 'image', 'pack', tar, UDP_IMAGE, '--entrypoint', '/bin/udp', 'bin/udp=' + program])
    run([WHERRY, 'image', 'load', tar, '--root', c.root])


def echo_app():
    d = app('echo', 3, 1, 0, {})
    spec = d['spec']['template']['spec']
    spec['containers'] = [{'name': 'udp', 'image': UDP_IMAGE, 'env': [{'name': 'ROUND', 'value': '0'}], 'resources': {'requests': {'cpu': '50m'}},
                           'readinessProbe': {'exec': {'command': ['/bin/udp', 'check']}, 'periodSeconds': 1, 'failureThreshold': 1, 'timeoutSeconds': 5}}]
    return d


class Datagrams(threading.Thread):
    """Asks a UDP Service all the while, now by the same socket, now by a new one. As resolvers do, a question that is not
    answered within two seconds, or is refused, is asked once more: the kernel forgets a connection whose next datagram is
    just coming, and a node role that was killed does not know which endpoints left meanwhile until their pods are gone."""

    def __init__(self, ip):
        super().__init__(daemon=True)
        self.to, self.ended, self.sent, self.again, self.failed = (ip, 9000), False, 0, 0, []

    def run(self):
        kept = self.socket()
        while not self.ended:
            s = kept if self.sent % 2 else self.socket()
            try:
                self.ask(s, b'%d' % self.sent)
            except OSError as e:
                self.failed.append('%s by a %s socket' % (e, 'kept' if s is kept else 'new'))
            if s is not kept:
                s.close()
            self.sent += 1
            time.sleep(0.01)

    def ask(self, s, text):
        for last in (False, True):
            try:
                s.send(text)
                while s.recv(64) != text:
                    pass                                # a late answer to an earlier question
                return
            except OSError:
                if last:
                    raise
                self.again += 1
                time.sleep(0.3)

    def socket(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.connect(self.to)
        return s

    def end(self):
        self.ended = True
        self.join(20)
        print('     UDP, new and kept sockets: sent %d failed %d asked again %d' % (self.sent, len(self.failed), self.again), flush=True)
        assert not self.failed, 'UDP: %s' % self.failed[:5]
        assert self.again <= 1 + self.sent / 100, self.again


def app(name, replicas, surge, gone, more):
    box = dict(more, name='web', image=IMAGE, command=['sh', '-c', 'sleep ${SLOW:-0}; exec web'], env=[{'name': 'ROUND', 'value': '0'}],
               resources={'requests': {'cpu': '50m'}},
               readinessProbe={'exec': {'command': ['sh', '-c', 'test ! -e /sick && wget -q -O /dev/null http://127.0.0.1:8080/healthz']},
                               'periodSeconds': 1, 'failureThreshold': 1, 'timeoutSeconds': 5})
    return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name, 'labels': {'app': name}},
            'spec': {'replicas': replicas, 'selector': {'matchLabels': {'app': name}}, 'progressDeadlineSeconds': 30,
                     'strategy': {'type': 'RollingUpdate', 'rollingUpdate': {'maxSurge': surge, 'maxUnavailable': gone}},
                     'template': {'metadata': {'labels': {'app': name}}, 'spec': {'containers': [box], 'terminationGracePeriodSeconds': 5}}}}


def service_of(name, kind='ClusterIP', **more):
    return {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name},
            'spec': dict(more, type=kind, selector={'app': name.split('-')[0]}, ports=[{'port': 80, 'targetPort': 8080}])}


def budget(name):
    return {'apiVersion': 'policy/v1', 'kind': 'PodDisruptionBudget', 'metadata': {'name': name},
            'spec': {'maxUnavailable': 1, 'selector': {'matchLabels': {'app': name}}}}


class Storm:
    """Random deeds. At any time each Deployment keeps two pods that nothing of this harms, so that somebody serves."""

    def __init__(self, c, rng, watched):
        self.c, self.rng, self.watched, self.api, self.round = c, rng, watched, Api(c), 0
        self.node = c.get('nodes')['items'][0]['metadata']['name']
        self.sick, self.paused, self.broken, self.filled, self.done = [], set(), set(), False, collections.Counter()

    def say(self, method, path, body=None, send='application/json'):
        """Until the server, which is killed now and then, has heard it. Its answer."""
        end = time.monotonic() + 30
        while True:
            try:
                status, got = self.api.call(method, path, body, send=send)
                if status not in (500, 503):
                    return status, got
            except LOST as e:
                status, got = 0, e
            assert time.monotonic() < end, (method, path, status, got)
            time.sleep(0.05)

    def patch(self, name, body):
        status, got = self.say('PATCH', PATHS['Deployment'] + '/' + name, {'spec': body}, MERGE)
        assert status == 200, got

    def box(self, name):
        return self.say('GET', PATHS['Deployment'] + '/' + name)[1]['spec']['template']['spec']['containers'][0]

    def change(self, name, slow=0, port=8080):
        """Another template: which starts late, or whose probe asks a port where nobody listens."""
        box = self.box(name)
        self.round += 1
        box['env'] = [{'name': 'ROUND', 'value': '%d' % self.round}, {'name': 'SLOW', 'value': '%g' % slow}]
        box['readinessProbe']['exec']['command'][2] = 'test ! -e /sick && wget -q -O /dev/null http://127.0.0.1:%d/healthz' % port
        self.patch(name, {'template': {'spec': {'containers': [box]}}})
        (self.broken.add if port != 8080 else self.broken.discard)(name)

    def pods(self, name):
        return [p for p in self.say('GET', PATHS['Pod'] + '?labelSelector=app%3D' + name)[1]['items']]

    def victim(self, name):
        """A pod that may be harmed: three others serve."""
        serving = [p['metadata']['name'] for p in self.pods(name) if is_available(p)]
        return self.rng.choice(serving) if len(serving) > 2 and not any(n == name for n, _ in self.sick) else None

    # each deed takes the name of a Deployment

    def roll(self, name):
        self.change(name)

    def roll_slowly(self, name):
        self.change(name, slow=self.rng.choice([0.5, 1.5]))

    def roll_badly(self, name):
        self.change(name, port=9)

    def scale(self, name):
        self.patch(name, {'replicas': self.rng.randint(3, 6)})

    def undo(self, name):
        if name not in self.paused:
            self.c.kubectl('rollout', 'undo', 'deploy/' + name, check=False)
            self.broken.add(name)                       # who knows to which

    def pause(self, name):
        self.patch(name, {'paused': True})
        self.paused.add(name)

    def resume(self, name):
        self.patch(name, {'paused': None})
        self.paused.discard(name)

    def sicken(self, name):
        pod = self.victim(name)
        if pod:
            self.sick.append((name, pod))
            self.c.kubectl('exec', pod, '--', 'touch', '/sick', check=False)

    def heal(self, name):
        for _, pod in self.sick:
            self.c.kubectl('exec', pod, '--', 'busybox', 'rm', '-f', '/sick', check=False)
        self.sick = []

    def delete(self, name):
        pod = self.victim(name)
        if pod:
            self.watched.taken.add(pod)
            self.say('DELETE', PATHS['Pod'] + '/' + pod)

    def evict(self, name):
        pod = self.victim(name)
        if pod:
            self.say('POST', PATHS['Pod'] + '/%s/eviction' % pod, {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': pod}})

    def drain(self, name):
        """As far as the budgets allow within a moment; cordoned meanwhile."""
        if not self.sick:
            self.c.kubectl('drain', self.node, '--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=1s', check=False)
            self.uncordon()

    def uncordon(self):
        status, got = self.say('PATCH', '/api/v1/nodes/' + self.node, {'spec': {'unschedulable': None}}, MERGE)
        assert status == 200, got

    def fill(self, name):
        """A pod that takes all that is left of the node, so that nothing can surge; or away with it."""
        if self.filled:
            self.say('DELETE', PATHS['Pod'] + '/filler', {'gracePeriodSeconds': 0})
            self.filled = False
            return
        cpu = self.say('GET', '/api/v1/nodes/' + self.node)[1]['status']['allocatable']['cpu']
        total = int(cpu[:-1]) if cpu.endswith('m') else int(cpu) * 1000
        used = 50 * len([p for p in self.say('GET', PATHS['Pod'])[1]['items'] if p['spec'].get('nodeName')])
        box = {'name': 'c', 'image': IMAGE, 'command': ['sleep', '1000'], 'resources': {'requests': {'cpu': '%dm' % max(1, total - used)}}}
        status, got = self.say('POST', PATHS['Pod'], {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'filler'}, 'spec': {'containers': [box]}})
        assert status in (201, 409), got
        self.filled = True

    def kill(self, name):
        role = self.rng.choice(['server', 'node', 'node', 'relay', 'dns'])
        try:
            os.kill(self.c.role_pid(role), signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError, ValueError):
            pass                                        # killed a moment ago and not back yet

    def roll_udp(self, name):
        self.round += 1
        box = self.box('echo')
        box['env'] = [{'name': 'ROUND', 'value': '%d' % self.round}]
        self.patch('echo', {'template': {'spec': {'containers': [box]}}})

    DEEDS = {roll: 6, roll_udp: 4, roll_slowly: 2, roll_badly: 1, scale: 4, undo: 2, pause: 1, resume: 3, sicken: 2, heal: 2, delete: 2, evict: 2, drain: 1, fill: 2, kill: 3}

    def step(self):
        deed = self.rng.choices(list(self.DEEDS), list(self.DEEDS.values()))[0]
        name = self.rng.choice(sorted(APPS))
        self.done[deed.__name__] += 1
        deed(self, name)

    def calm(self):
        """All is well again, and everything that was begun comes to its end."""
        self.uncordon()
        self.heal(None)
        if self.filled:
            self.fill(None)
        for name in APPS:
            self.resume(name)
            self.change(name)

    def is_complete(self):
        for name in list(APPS) + ['echo']:
            d = self.api.must('GET', PATHS['Deployment'] + '/' + name)
            s, n = d['status'], d['spec']['replicas']
            got = [s.get(k, 0) for k in ('replicas', 'updatedReplicas', 'readyReplicas', 'availableReplicas')]
            assert got == [n] * 4 and s['observedGeneration'] == d['metadata']['generation'], (name, n, s)
        return True


def tracked(out):
    """What the kernel still knows of the connections that failed."""
    with open('/proc/net/nf_conntrack') as f:
        lines = f.read().splitlines()
    ports = re.findall(r'from port (\d+)', out)
    return ''.join('\n' + l for l in lines if any('sport=%s ' % p in l or 'dport=%s ' % p in l for p in ports))


class Loads:
    """Requests all the while: {what: process}."""

    def __init__(self, c, targets):
        self.all = {what: subprocess.Popen([LOAD] + [str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    for what, args in targets(c).items()}

    def end(self):
        failed = []
        for what, p in self.all.items():
            p.send_signal(signal.SIGINT)
            out = p.communicate(timeout=60)[0].strip()
            print('     %s: %s' % (what, out.splitlines()[-1]))
            if ' failed 0 ' not in out:
                failed.append(what + ': ' + out + tracked(out))
        assert not failed, '\n'.join(failed)


def targets(c):
    ip = lambda name: c.get('svc', name)['spec']['clusterIP']
    port = c.get('svc', 'swift')['spec']['ports'][0]['nodePort']
    long = SECONDS * 4 + 200
    return {'ClusterIP, new connections': (ip('swift'), 80, 100, long), 'NodePort, new connections': ('127.0.0.1', port, 100, long),
            'NodePort, kept connections': ('127.0.0.1', port, 100, long, 50), 'ClusterIP, kept connections': (ip('hooked'), 80, 100, long, 1000000),
            'a client that stays at its pod': (ip('tight'), 80, 100, long)}


def lose_nothing(c):
    load_udp_image(c)
    rng = random.Random(seed())
    with Watched(c) as watched:
        storm = Storm(c, rng, watched)
        for name, how in APPS.items():
            storm.api.must('POST', PATHS['Deployment'], app(name, *how))
            storm.api.must('POST', '/apis/policy/v1' + NS + 'poddisruptionbudgets', budget(name))
        storm.api.must('POST', PATHS['Deployment'], echo_app())
        storm.api.must('POST', '/apis/policy/v1' + NS + 'poddisruptionbudgets', budget('echo'))
        echo = service_of('echo')
        echo['spec']['ports'] = [{'port': 9000, 'protocol': 'UDP'}]
        for s in (echo, service_of('swift', 'NodePort'), service_of('hooked'), service_of('tight', sessionAffinity='ClientIP')):
            storm.api.must('POST', '/api/v1' + NS + 'services', s)
        eventually('all run', storm.is_complete, 30, 0.2)
        loads = Loads(c, targets)
        datagrams = Datagrams(c.get('svc', 'echo')['spec']['clusterIP'])
        datagrams.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            storm.step()
            time.sleep(rng.uniform(0, 0.6))             # the random moment
        storm.calm()
        print('     ' + ', '.join('%s %d' % x for x in sorted(storm.done.items())), flush=True)
        try:
            eventually('all that was begun is complete', storm.is_complete, 60, 0.3)
        finally:
            loads.end()
        datagrams.end()
        print('     bounds looked at after %d changes' % watched.check(), flush=True)


if __name__ == '__main__':
    main([lose_nothing], port=16843)
