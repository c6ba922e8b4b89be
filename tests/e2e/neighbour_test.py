#!/usr/bin/env python3
"""Whoever has rights in one namespace alone does not hold the server for others: not by what roles and bindings say, nor by what owns what,
by pods that want no neighbours, by lists of much, of the past or for slow readers, by pings. The loop's own CPU time in one callback has a
bound, which the server itself watches (loop.held in its log); so it does not matter how busy the machine is."""
import resource
from growth_test import *
from limits_test import Line, at_once
from raw import frame, upgrade

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
HELD = 100 * SLOW                                       # ms
NS = '/api/v1/namespaces/evil'
MAPS, PODS = NS + '/configmaps', NS + '/pods'
RIGHTS = '/apis/rbac.authorization.k8s.io/v1/namespaces/evil/'
BUDGETS = '/apis/policy/v1/namespaces/evil/poddisruptionbudgets'
lines = threading.local()


class Alone:
    """Nothing holds the loop meanwhile, and a neighbour is served."""

    def __init__(self, c, what):
        self.c, self.what = c, what

    def __enter__(self):
        self.logged, self.neighbour = len(self.c.log()), Neighbour(self.c.raw)
        self.neighbour.__enter__()
        return self

    def __exit__(self, kind, *unused):
        self.neighbour.__exit__()
        held = [(int(ms), by) for ms, by in re.findall(r'loop\.held .*?ms=(\d+) (.*)', self.c.log()[self.logged:])]
        print('     %s: p99 of the neighbour %.0f ms' % (self.what, self.neighbour.worst() * 1e3), flush=True)
        assert kind or not [h for h in held if h[0] > HELD], (self.what, sorted(held)[-3:])


def ask(c, method, path, body=None, kind='application/json', good=(200, 201)):
    status, text = c.ask(method, path, None if body is None else json.dumps(body).encode(), kind)
    assert status in good, (method, path, status, text[:300])
    return json.loads(text) if text.startswith('{') else text


def line(c):
    if getattr(lines, 'of', None) is not c:
        lines.of, lines.line = c, Line(c)
    return lines.line


def made(c, path, bodies):
    """Many, by many at once."""
    def one(i):
        status, text = line(c).call('POST', path, json.dumps(bodies[i]).encode())
        assert status == 201, (path, status, text[:300])
    at_once(len(bodies), one)


def begin(c):
    ask(c, 'POST', '/api/v1/namespaces', {'metadata': {'name': 'evil'}}, good=(201, 409))
    ask(c, 'POST', NS + '/serviceaccounts', {'metadata': {'name': 'default'}}, good=(201, 409))


def as_somebody(c, path, times=10):
    """Seconds of the loop's CPU for a GET of a user without rights, the least of a few."""
    least = None
    with c.raw.open(60) as s:
        f = s.makefile('rb')
        for _ in range(times):
            start = c.cpu()
            s.sendall(('GET %s HTTP/1.1\r\nHost: x\r\nImpersonate-User: somebody\r\nImpersonate-Group: system:authenticated\r\n\r\n' % path).encode())
            length = 0
            while (h := f.readline().strip()):
                if h.lower().startswith(b'content-length:'):
                    length = int(h.split(b':')[1])
            f.read(length)
            least = min(least or 1e9, c.cpu() - start)
    return least


def binding(name, subjects):
    return {'metadata': {'name': name}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Role', 'name': 'r'},
            'subjects': [dict(s, apiGroup='rbac.authorization.k8s.io') for s in subjects]}


def bindings(c):
    """A binding that is written costs what it says, not what all say; bindings elsewhere cost nothing."""
    begin(c)
    ask(c, 'POST', RIGHTS + 'roles', {'metadata': {'name': 'r'}, 'rules': [{'verbs': ['get'], 'apiGroups': [''], 'resources': ['pods']}]})
    with Alone(c, 'bindings with many subjects'):
        for i in range(size(15, 40)):
            ask(c, 'POST', RIGHTS + 'rolebindings', binding('many%d' % i, [{'kind': 'User', 'name': 'u%d-%d' % (i, k)} for k in range(10000)]))
        for i in range(3):
            ask(c, 'PATCH', RIGHTS + 'rolebindings/many0', {'metadata': {'labels': {'a': str(i)}}}, 'application/merge-patch+json')
            cost = as_somebody(c, '/api/v1/namespaces/default/configmaps/x', 1)
            assert cost < 0.02 * SLOW, cost
    before = as_somebody(c, '/api/v1/namespaces/default/configmaps/x')
    made(c, RIGHTS + 'rolebindings', [binding('group%d' % i, [{'kind': 'Group', 'name': 'system:authenticated'}]) for i in range(size(4000, 20000))])
    after = as_somebody(c, '/api/v1/namespaces/default/configmaps/x')
    print('     a GET elsewhere: %.2f ms before, %.2f ms after' % (before * 1e3, after * 1e3))
    assert after < before * 3 + 0.0002 * SLOW, (before, after)
    for i in range(size(15, 40)):
        c.ask('DELETE', RIGHTS + 'rolebindings/many%d' % i)


def many_rules(c):
    """One decision looks at so many rules and no more."""
    begin(c)
    for i in range(40):
        ask(c, 'POST', RIGHTS + 'roles', {'metadata': {'name': 'big%d' % i}, 'rules': [
            {'verbs': ['v%d' % k for k in range(40)], 'apiGroups': [''], 'resources': ['r']} for _ in range(700)]})
        b = binding('big%d' % i, [{'kind': 'User', 'name': 'somebody'}])
        b['roleRef']['name'] = 'big%d' % i
        ask(c, 'POST', RIGHTS + 'rolebindings', b)
    with Alone(c, 'roles of many rules'):
        cost = as_somebody(c, MAPS + '/x', 3)
    print('     a GET: %.1f ms' % (cost * 1e3))
    assert cost < LOOP, cost


def many_bindings(c):
    """A binding costs, whatever its role says: one decision looks at so many and no more."""
    begin(c)
    ask(c, 'POST', RIGHTS + 'roles', {'metadata': {'name': 'empty'}, 'rules': []})
    n = size(12000, 60000)
    made(c, RIGHTS + 'rolebindings', [dict(binding('empty%d' % i, [{'kind': 'User', 'name': 'somebody'}]),
                                           roleRef={'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Role', 'name': 'empty'}) for i in range(n)])
    status, _, text = c.raw.ask('POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {'spec': {'namespace': 'evil'}},
                                headers=[('Impersonate-User', 'somebody'), ('Impersonate-Group', 'system:authenticated')])
    assert status == 201 and json.loads(text)['status']['incomplete'], text[:300]
    cost = as_somebody(c, MAPS + '/x')
    print('     a GET: %.1f ms' % (cost * 1e3))
    assert cost < LOOP, cost


def circles(c):
    """Objects that all own each other go, each after a look at what names it."""
    begin(c)
    n = size(60, 300)
    made(c, MAPS, [{'metadata': {'name': 'ring%d' % i}} for i in range(n)])
    uids = {o['metadata']['name']: o['metadata']['uid'] for o in ask(c, 'GET', MAPS)['items']}
    ref = lambda k: {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'ring%d' % k, 'uid': uids['ring%d' % k], 'blockOwnerDeletion': True}
    with Alone(c, '%d objects that own each other' % n):
        for i in range(n):
            ask(c, 'PATCH', MAPS + '/ring%d' % i, {'metadata': {'ownerReferences': [ref(k) for k in range(n) if k != i]}}, 'application/merge-patch+json')
        for i in range(n):
            c.ask('DELETE', MAPS + '/ring%d?propagationPolicy=Foreground' % i)
        eventually('they are gone', lambda: not [o for o in ask(c, 'GET', MAPS)['items'] if o['metadata']['name'].startswith('ring')], timeout=120 * SLOW)


def a_pod(name, **spec):
    return {'metadata': {'name': name, 'labels': {'a': 'b'}}, 'spec': dict({'containers': [{'name': 'c', 'image': 'i'}]}, **spec)}


def pods_that_want_no_neighbours(c):
    """What those that are there say is read once, not for each that comes."""
    begin(c)
    a_node(c)
    terms = [{'topologyKey': 'kubernetes.io/hostname', 'labelSelector': {'matchExpressions': [{'key': 'a', 'operator': 'In', 'values': ['x%d' % i]}]}} for i in range(2000)]
    alone = {'podAntiAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': terms}}
    with Alone(c, 'pods that want no neighbours'):
        for i in range(40):
            ask(c, 'POST', PODS, a_pod('alone%d' % i, nodeName='n1', affinity=alone))
        made(c, PODS, [a_pod('comes%d' % i) for i in range(60)])
        placed = lambda: len([p for p in ask(c, 'GET', PODS)['items'] if p['metadata']['name'].startswith('comes') and p['spec'].get('nodeName')])
        eventually('the others have a node', lambda: placed() == 60, timeout=60 * SLOW)
    c.ask('DELETE', PODS + '?gracePeriodSeconds=0')
    c.ask('DELETE', '/api/v1/nodes/n1')


def a_node(c):
    ask(c, 'POST', '/api/v1/nodes', {'metadata': {'name': 'n1', 'labels': {'kubernetes.io/hostname': 'n1'}}}, good=(201, 409))
    room = {'cpu': '1000', 'memory': '1000Gi', 'pods': '11000'}
    ask(c, 'PATCH', '/api/v1/nodes/n1/status', {'status': {'allocatable': room, 'capacity': room}}, 'application/merge-patch+json')


def on_the_node(c, name, ip, **spec):
    """A pod that runs, as its node would say it."""
    ask(c, 'POST', PODS, a_pod(name, nodeName='n1', **spec), good=(201, 409))
    ask(c, 'PATCH', PODS + '/' + name + '/status', {'status': {'phase': 'Running', 'podIP': ip, 'podIPs': [{'ip': ip}], 'conditions': [{'type': 'Ready', 'status': 'True'}]}},
        'application/merge-patch+json')


def nothing_left(c):
    for path in (PODS + '?gracePeriodSeconds=0', NS + '/services', BUDGETS):
        c.ask('DELETE', path)
    c.ask('DELETE', '/api/v1/nodes/n1')


def selectors(c):
    """Who selects a pod is found without a selector being made of what each says, and an eviction looks at budgets so."""
    begin(c)
    a_node(c)
    many = [{'key': 'k%d' % i, 'operator': 'DoesNotExist'} for i in range(255)]
    values = [{'key': 'a', 'operator': 'NotIn', 'values': ['v%05d' % (k * 250 + i) for i in range(250)]} for k in range(100)]
    budget = lambda name, expressions: {'metadata': {'name': name}, 'spec': {'minAvailable': 1, 'selector': {'matchExpressions': expressions}}}
    never = [{'key': 'never', 'operator': 'Exists'}]
    status, text = c.ask('POST', BUDGETS, json.dumps(budget('b', many + never + never)).encode())
    assert status == 422 and 'must have at most 256 items' in text, text
    made(c, BUDGETS, [budget('b%d' % i, many + never) for i in range(size(300, 1000))])
    for i in range(size(20, 40)):
        ask(c, 'POST', BUDGETS, budget('v%d' % i, values + never))
    for i in range(size(20, 40)):
        ask(c, 'POST', NS + '/services', {'metadata': {'name': 's%d' % i}, 'spec': {'clusterIP': 'None', 'ports': [{'port': 80}], 'selector': {'k%d' % k: 'v' for k in range(20000)}}})
    ask(c, 'POST', NS + '/services', {'metadata': {'name': 'mine'}, 'spec': {'clusterIP': 'None', 'ports': [{'port': 80}], 'selector': {'a': 'b'}}})
    of_mine = lambda: [a['ip'] for s in ask(c, 'GET', NS + '/endpoints/mine').get('subsets', []) for a in s.get('addresses', [])]
    with Alone(c, 'pods that change among selectors'):
        for i in range(5):
            on_the_node(c, 'chosen', '10.1.1.%d' % (i + 1))
            eventually('its address is there', lambda: of_mine() == ['10.1.1.%d' % (i + 1)], timeout=60 * SLOW)
            c.cost('POST', PODS + '/chosen/eviction?dryRun=All', b'{"metadata":{"name":"chosen"}}')
    ask(c, 'POST', BUDGETS, budget('one', [{'key': 'a', 'operator': 'In', 'values': ['b'] + ['v%d' % i for i in range(300)]}]))      # more values than a selector in text may have
    eventually('the budget counts the pod', lambda: ask(c, 'GET', BUDGETS + '/one')['status'].get('currentHealthy') == 1, timeout=60 * SLOW)
    status, text = c.ask('POST', PODS + '/chosen/eviction', b'{"metadata":{"name":"chosen"}}')
    assert status == 429, (status, text)
    nothing_left(c)


def ports_with_names(c):
    """A Service of many ports that aim at names, and pods that have many: they meet once, not each with each."""
    begin(c)
    nothing_left(c)
    a_node(c)
    n = 5000
    with Alone(c, 'ports with names'):
        ask(c, 'POST', NS + '/services', {'metadata': {'name': 'named'}, 'spec': {'clusterIP': 'None', 'selector': {'a': 'b'}, 'ports': [
            {'name': 'p%d' % i, 'port': i + 1, 'targetPort': 'q%d' % i if i == n - 1 else 'none'} for i in range(n)]}})
        for k in range(3):
            on_the_node(c, 'named%d' % k, '10.1.2.%d' % k, containers=[{'name': 'c', 'image': 'i', 'ports': [{'name': 'q%d' % i, 'containerPort': i + 1 + k} for i in range(n)]}])
        ports = lambda: sorted(p['port'] for s in ask(c, 'GET', NS + '/endpoints/named').get('subsets', []) for p in s['ports'])
        eventually('each pod has the port of its own', lambda: ports() == [n, n + 1, n + 2], timeout=60 * SLOW)
    nothing_left(c)


def many_terms(c):
    """A pod whose terms are to be compared with all pods goes nowhere and is told so; others do not wait for it."""
    begin(c)
    a_node(c)
    made(c, PODS, [a_pod('there%d' % i, nodeName='n1') for i in range(1500)])
    term = lambda i: {'topologyKey': 'kubernetes.io/hostname', 'labelSelector': {'matchExpressions': [{'key': 'a', 'operator': 'NotIn', 'values': ['b', 'x%d' % i]}]}}
    apart = lambda n: {'podAntiAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': [term(i) for i in range(n)]}}
    placed = lambda name: ask(c, 'GET', PODS + '/' + name)['spec'].get('nodeName')
    with Alone(c, 'many terms among many pods'):
        ask(c, 'POST', PODS, a_pod('picky', affinity=apart(2500)))
        ask(c, 'POST', PODS, a_pod('usual', affinity=apart(20)))
        why = lambda: [x.get('message', '') for x in ask(c, 'GET', PODS + '/picky')['status'].get('conditions', []) if x['type'] == 'PodScheduled']
        eventually('it is told', lambda: 'can be compared with' in ''.join(why()), timeout=60 * SLOW)
        eventually('the other has a node', lambda: placed('usual') == 'n1', timeout=60 * SLOW)
    assert not placed('picky')
    nothing_left(c)


def walks(c):
    """A list that looks at much and finds nothing has its time in many turns; so has a deletion by selector."""
    begin(c)
    made(c, MAPS, [{'metadata': {'name': 's%d' % i, 'labels': {'a': 'b'}}} for i in range(size(15000, 100000))])
    nothing = ','.join('!k%d' % i for i in range(255)) + ',zz'
    with Alone(c, 'lists that find nothing'):
        for query in ('labelSelector=' + nothing, 'fieldSelector=' + ','.join('metadata.name!=x%d' % i for i in range(255)) + ',metadata.name!=s1&labelSelector=zz'):
            assert not ask(c, 'GET', MAPS + '?' + query)['items']
        assert not ask(c, 'DELETE', MAPS + '?labelSelector=' + nothing)['items']
        some = ask(c, 'GET', MAPS + '?limit=7&labelSelector=a')
        assert len(some['items']) == 7 and some['metadata']['continue']
    page, seen = '', set()
    while page is not None:
        part = ask(c, 'GET', MAPS + '?limit=1000&labelSelector=a' + page)
        seen |= {o['metadata']['name'] for o in part['items']}
        page = '&continue=' + part['metadata']['continue'] if part['metadata'].get('continue') else None
    assert len(seen) == size(15000, 100000), len(seen)


def large(i, letter):
    return json.dumps({'metadata': {'name': 'old%d' % i}, 'data': {'a': letter * 900000}}).encode()


def older_revisions(c):
    """Each list of the past holds what it puts back: a few at a time do, the others wait."""
    begin(c)
    n, at = 20, MAPS.replace('evil', 'past')
    ask(c, 'POST', '/api/v1/namespaces', {'metadata': {'name': 'past'}}, good=(201, 409))
    for i in range(n):
        line(c).call('POST', at, large(i, 'a'))
    rev = ask(c, 'GET', at + '?limit=1')['metadata']['resourceVersion']
    for i in range(n):
        assert line(c).call('PUT', at + '/old%d' % i, large(i, 'b'))[0] == 200

    def one(i):
        status, text = line(c).call('GET', at + '?limit=2&resourceVersionMatch=Exact&resourceVersion=' + rev)
        assert status == 200 and b'aaaa' in text, (status, text[:200])
    with Alone(c, 'lists of the past'), Highest(c) as h:
        at_once(32, one)
    print('     %d MB for lists of %d MB each' % (h.most >> 20, n * 9 // 10), flush=True)
    assert h.most < 8 * n * 900000 * SLOW, h.most >> 20       # once 16 times at least


def slow_readers(c):
    """A list and the first events of a watch hold what is replaced while their client takes its time: that has a bound."""
    if not STORM:
        return                                          # it takes hundreds of megabytes of writes; readers_test.c has the rule
    bound = int(re.search(r'wherry_limit{name="RETIRED_BYTES"} (\d+)', c.ask('GET', '/metrics')[1]).group(1))
    cut = lambda: float(re.search(r'^wherry_readers_cut_total (\S+)', c.ask('GET', '/metrics')[1], re.M).group(1))
    at, n, held, before = MAPS.replace('evil', 'past'), 20, [], cut()
    with Highest(c) as h:
        for turn in range(3 * bound // (n * 900000)):
            for path in (at, at + '?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan'):
                held.append(c.raw.open(120))
                held[-1].sendall(('GET %s HTTP/1.1\r\nHost: x\r\n\r\n' % path).encode())
            for s in held:
                try:
                    s.recv(20000)
                except OSError:
                    pass                                # it was cut
            for i in range(n):
                assert line(c).call('PUT', at + '/old%d' % i, large(i, 'cd'[turn % 2]))[0] == 200
    for s in held:
        s.close()
    print('     %d MB, %d cut' % (h.most >> 20, cut() - before), flush=True)
    assert cut() > before
    assert h.most < (2 * bound + (120 << 20)) * SLOW, h.most >> 20


def pings(c):
    """Who does not take the answers is not asked for more."""
    begin(c)
    with Highest(c) as h, c.raw.open(20) as s:
        s.sendall(upgrade(MAPS + '?watch=1', protocol=''))
        s.recv(1000)
        s.settimeout(3)
        sent, many = 0, frame(9, b'x' * 120) * 2000
        try:
            while sent < 64 << 20:
                s.sendall(many)
                sent += len(many)
        except OSError:
            pass                                        # it reads no further
    print('     %d MB for %d MB of pings' % (h.most >> 20, sent >> 20), flush=True)
    assert h.most < (12 << 20) * SLOW, h.most >> 20


if __name__ == '__main__':
    main([bindings, many_rules, many_bindings, circles, pods_that_want_no_neighbours, selectors, ports_with_names, many_terms, walks, older_revisions, slow_readers, pings], args=['--roles', 'server'], image=False, port=16584, cluster=Server)
