"""Clients that write down what they did and were told, and what must be true of it: every key behaves as one register
with compare-and-put (linearizability), and no revision stands for two things."""
import collections, http.client, json, ssl, threading, time, urllib.parse
from lib import admin_tls

LOST = (OSError, http.client.HTTPException, ssl.SSLError)
CONFIG_MAPS = '/api/v1/namespaces/default/configmaps'
LEASES = '/apis/coordination.k8s.io/v1/namespaces/default/leases'


class Api:
    """One kept-alive TLS connection, with the certificate of a kubeconfig."""

    def __init__(self, root, port):
        self.tls = admin_tls(root + '/etc/wherry/admin.kubeconfig')
        self.root, self.port, self.conn = root, port, None

    def open(self, timeout=60):
        return http.client.HTTPSConnection('127.0.0.1', self.port, context=self.tls, timeout=timeout)

    def call(self, method, path, body=None, **query):
        """Status and body; one of LOST where no answer came."""
        if query:
            path += '?' + urllib.parse.urlencode(query)
        self.conn = self.conn or self.open()
        try:
            self.conn.request(method, path, None if body is None else json.dumps(body), {'Content-Type': 'application/json'})
            r = self.conn.getresponse()
            data = r.read()
        except LOST:
            self.conn.close()
            self.conn = None
            raise
        is_json = r.getheader('Content-Type', '').startswith('application/json') and b'\n' not in data.strip()
        return r.status, json.loads(data) if is_json else data.decode()

    def must(self, *args, **kw):
        status, got = self.call(*args, **kw)
        assert status in (200, 201), (args[:2], status, got)
        return got


def config_map(name, value, size, rev=None):
    """A value that shows when it is torn."""
    meta = {'name': name}
    if rev:
        meta['resourceVersion'] = str(rev)
    return {'kind': 'ConfigMap', 'apiVersion': 'v1', 'metadata': meta,
            'data': {'value': value, 'again': (value + ' ') * (size // (len(value) + 1))}}


def value_of(o):
    value, again = o['data']['value'], o['data']['again']
    assert again == (value + ' ') * (len(again) // (len(value) + 1)), ('torn', o['metadata'], value, again[:200])
    return value


def rev_of(o):
    return int(o['metadata']['resourceVersion'])


class Op:
    """One call: when it began and ended (None: no answer came, it may take effect at any time), and what it said."""
    __slots__ = ('start', 'end', 'kind', 'key', 'expect', 'value', 'result', 'rev', 'mark')

    def __init__(self, kind, key, expect=None, value=None):
        self.kind, self.key, self.expect, self.value = kind, key, expect, value
        self.start, self.end, self.result, self.rev, self.mark = time.monotonic(), None, 'unknown', None, None

    def __repr__(self):
        return '%s %s expect=%s value=%s -> %s rev=%s [%.4f, %s]' % (
            self.kind, self.key, self.expect, self.value, self.result, self.rev, self.start, self.end and '%.4f' % self.end)


class History:
    def __init__(self, mark=lambda: None):
        self.lock, self.ops, self.revs, self.mark = threading.Lock(), [], {}, mark
        self.names = 0

    def unique(self, client):
        with self.lock:
            self.names += 1
            return '%s-%d' % (client, self.names)

    def seen(self, rev, what):
        """A revision stands for one thing, whoever is told of it and whenever."""
        with self.lock:
            was = self.revs.setdefault(rev, what)
        assert was == what, 'revision %d was %s and is %s' % (rev, was, what)

    def begin(self, *args):
        op = Op(*args)
        with self.lock:
            self.ops.append(op)
        return op

    def end(self, op, result, rev=None):
        op.mark = self.mark()
        op.end, op.result, op.rev = time.monotonic(), result, rev
        if rev and op.kind != 'delete' and result == 'ok':
            self.seen(rev, (op.key, op.value))

    # what a client does; None: lost, or the server could not

    def get(self, api, key):
        op = self.begin('get', key)
        status, o = api.call('GET', CONFIG_MAPS + '/' + key)
        assert status in (200, 404), (status, o)
        op.value = value_of(o) if status == 200 else None
        self.end(op, 'ok', rev_of(o) if status == 200 else None)
        return op

    def write(self, api, kind, key, expect, value, size):
        op = self.begin(kind, key, expect, value)
        try:
            status, o = self.send(api, kind, key, expect, value, size)
        except ConnectionRefusedError:
            op.result = 'never sent'
            raise
        if status >= 500:
            return op, status, o                        # it may still be found after a crash
        results = {200: 'ok', 201: 'ok', 404: 'missing', 409: 'exists' if kind == 'create' else 'conflict'}
        assert status in results, (status, o)
        if status in (200, 201) and kind != 'delete':
            assert value_of(o) == value, (value_of(o), value)
        self.end(op, results[status], rev_of(o) if status in (200, 201) and kind != 'delete' else None)
        return op, status, o

    def send(self, api, kind, key, expect, value, size):
        if kind == 'create':
            return api.call('POST', CONFIG_MAPS, config_map(key, value, size))
        if kind == 'put':
            return api.call('PUT', CONFIG_MAPS + '/' + key, config_map(key, value, size, expect))
        return api.call('DELETE', CONFIG_MAPS + '/' + key, {'preconditions': {'resourceVersion': str(expect)}})

    # what must be true

    def check(self):
        """Linearizable, key by key; and who begins after another's answer gets a higher revision."""
        keys = collections.defaultdict(list)
        for op in self.ops:
            keys[op.key].append(op)
        for key, ops in sorted(keys.items()):
            linear(key, ops)
        told, highest = [op for op in self.ops if op.rev and op.end], 0
        ended = collections.deque(sorted(told, key=lambda op: op.end))
        for op in sorted((op for op in told if op.kind in ('put', 'create')), key=lambda op: op.start):
            while ended and ended[0].end < op.start:
                highest = max(highest, ended.popleft().rev)
            assert op.rev > highest, ('revisions went back', op, highest)
        return len(self.ops)


def step(op, state, revs):
    """The state after op, or 'no' where it cannot have been answered so in this state. A state is a value, or None."""
    fits = state is not None and (op.expect is None or revs.get(state) == op.expect)
    if op.kind == 'get':
        return state if op.value == state else 'no'
    if op.kind == 'create':
        fits = state is None
    if op.result in ('ok', 'unknown'):
        return (None if op.kind == 'delete' else op.value) if fits else 'no'
    refused = {'missing': state is None, 'exists': state is not None, 'conflict': state is not None and not fits}
    return state if refused[op.result] else 'no'


def linear(key, ops):
    """Fails where no order of these calls on one register, each at some moment between its begin and its end, explains all
    answers. Keeps every state that the register may be in, with the open calls that have taken effect in it. A deletion
    that was not answered stays open only while the register may still hold what it names: that never comes back."""
    revs, seen = {}, set()
    for op in ops:
        if op.value is not None and op.rev:
            assert revs.setdefault(op.value, op.rev) == op.rev, ('one value at two revisions', op, revs[op.value])
        if op.kind == 'get':
            seen.add(op.value)
    moments = []
    for i, op in enumerate(ops):
        if op.result == 'never sent' or op.end is None and (op.kind == 'get' or op.kind != 'delete' and op.value not in seen):
            continue                                    # nobody knows of it, so nothing replaced it: as if it had not been
        moments.append((op.start, 0, i))
        if op.end is not None:
            moments.append((op.end, 1, i))
    open_ops, states, lost = set(), {(None, frozenset())}, {}
    for _, ends, i in sorted(moments):
        if not ends:
            if ops[i].end is not None or ops[i].kind != 'delete':
                open_ops.add(i)
            elif ops[i].expect not in lost:             # a second one of the same revision changes nothing
                lost[ops[i].expect] = i
                open_ops.add(i)
            continue
        todo, known, after = list(states), set(states), set()
        while todo:
            state, done = todo.pop()
            if i in done:
                after.add((state, done - {i}))
                continue
            for j in open_ops - done:
                to = step(ops[j], state, revs)
                then = done if lost.get(ops[j].expect) == j else done | {j}
                if to != 'no' and (to, then) not in known:
                    known.add((to, then))
                    todo.append((to, then))
        if not after:
            near = [o for o in ops if o.start < ops[i].end and (o.end is None or o.end > ops[i].start - 1)]
            raise AssertionError('%s is not linearizable at: %s\nthe register may hold: %s\naround it:\n  %s' % (
                key, ops[i], sorted({str(s) for s, _ in states}), '\n  '.join(map(str, near[-30:]))))
        states = after
        open_ops.discard(i)
        held = {revs.get(state) for state, _ in states}
        for rev in [rev for rev in lost if rev not in held]:
            open_ops.discard(lost.pop(rev))


class Watcher(threading.Thread):
    """Watches config maps from a revision, and goes on from the last one that it saw, until it sees the config map `last`."""

    def __init__(self, history, root, port, rev, last='end'):
        super().__init__(daemon=True)
        self.history, self.api, self.rev = history, Api(root, port), rev
        self.until = lambda event: event[2] == last
        self.events, self.error, self.resumed = [], None, -1

    def run(self):
        try:
            while not self.events or not self.until(self.events[-1]):
                try:
                    self.watch()
                except LOST:
                    time.sleep(0.01)                    # who is refused asks again; a server that is there accepts at once
        except Exception as e:
            self.error = e

    def watch(self):
        conn = self.api.open()
        self.resumed += 1
        try:
            conn.request('GET', CONFIG_MAPS + '?watch=1&resourceVersion=%d' % self.rev)
            r = conn.getresponse()
            if r.status in (429, 503):
                return
            assert r.status == 200, (self.rev, r.status, r.read())
            for line in r:
                if not line.endswith(b'\n'):
                    return                              # killed inside of a line
                e = json.loads(line)
                assert e['type'] != 'ERROR', ('a watch from', self.rev, e['object'])
                self.take(e['type'], e['object'])
                if self.events and self.until(self.events[-1]):
                    return
        finally:
            conn.close()

    def take(self, kind, o):
        rev, name = rev_of(o), o['metadata']['name']
        assert rev > self.rev, ('seen twice, or out of order', self.rev, kind, o['metadata'])
        self.rev = rev
        if name == 'kube-root-ca.crt':
            return
        value = value_of(o)
        self.history.seen(rev, ('deleted', name, value) if kind == 'DELETED' else (name, value))
        self.events.append((rev, kind, name, value))


def state_at(events, rev):
    """{name: (revision, value)} by what a watcher saw from the beginning."""
    state = {}
    for at, kind, name, value in events:
        if at > rev:
            break
        if kind == 'DELETED':
            del state[name]
        else:
            state[name] = (at, value)
    return state
