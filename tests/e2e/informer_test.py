#!/usr/bin/env python3
"""An informer as client-go has it, in JSON and in protobuf: WatchList with its bookmark, resume after the server was
killed, relist after 410; lists in pages."""
import http.client, json, os, ssl, struct, threading, time, urllib.parse
from lib import *

JSON, PROTO = 'application/json', 'application/vnd.kubernetes.protobuf'
LAST = 'the-last-one'
INITIAL_END = 'k8s.io/initial-events-end'
CONFIGMAPS = '/api/v1/namespaces/%s/configmaps'
LOST = (OSError, http.client.HTTPException, ssl.SSLError)


class Api:
    """One connection at a time, as the admin."""

    def __init__(self, c):
        self.tls = admin_tls(c.env['KUBECONFIG'])
        self.port, self.conn = c.port, None

    def open(self, timeout=20):
        return http.client.HTTPSConnection('127.0.0.1', self.port, context=self.tls, timeout=timeout)

    def call(self, method, path, body=None, accept=JSON, send=JSON, **query):
        """Status and body: JSON decoded, protobuf as it came. A lost connection is an exception of LOST."""
        if query:
            path += '?' + urllib.parse.urlencode(query)
        headers = {'Accept': accept}
        if body is not None:
            headers['Content-Type'] = send
            body = body if isinstance(body, bytes) else json.dumps(body)
        self.conn = self.conn or self.open()
        try:
            self.conn.request(method, path, body, headers)
            r = self.conn.getresponse()
            data = r.read()
        except LOST:
            self.conn.close()
            self.conn = None
            raise
        return r.status, json.loads(data) if r.getheader('Content-Type', '').startswith(JSON) else data

    def must(self, *args, **kw):
        status, got = self.call(*args, **kw)
        assert status in (200, 201), (args, status, got)
        return got


# --- protobuf: as much as an informer looks at

def fields(data):
    """(number, value) of each field: an int, or the bytes."""
    at = 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at, n, shift = at + 1, n | (b & 127) << shift, shift + 7
            if b < 128:
                return n
    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            n = varint()
            assert at + n <= len(data), 'a field that ends behind its message'
            yield tag >> 3, data[at:at + n]
            at += n
        else:
            raise AssertionError('wire type %d' % (tag & 7))


def field(data, number):
    return next((v for n, v in fields(data) if n == number), b'')


def pairs(data, number):
    return {field(v, 1).decode(): field(v, 2).decode() for n, v in fields(data) if n == number}


def opened(data):
    """The kind and the message inside of the envelope."""
    assert data[:4] == b'k8s\0', data[:16]
    return field(field(data[4:], 1), 2).decode(), field(data[4:], 2)


def number(n):
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def put(num, data):
    return number(num << 3 | 2) + number(len(data)) + data


def proto_object(data):
    kind, raw = opened(data)
    if kind == 'Status':
        return {'kind': kind, 'message': field(raw, 3).decode(), 'reason': field(raw, 4).decode(), 'code': field(raw, 6)}
    return proto_configmap(raw, kind)


def proto_configmap(raw, kind='ConfigMap'):
    meta = field(raw, 1)
    return {'kind': kind, 'data': pairs(raw, 2),
            'metadata': {'name': field(meta, 1).decode(), 'resourceVersion': field(meta, 6).decode(), 'annotations': pairs(meta, 12)}}


# --- the informer

class Gone(Exception):
    """410: relist."""


def watch(api, path, accept, opened_with=None, **query):
    """(type, object) of each event until the stream ends."""
    conn = api.open()
    try:
        conn.request('GET', '%s?%s' % (path, urllib.parse.urlencode(dict(query, watch='true'))), headers={'Accept': accept})
        r = conn.getresponse()
        if opened_with:
            opened_with(conn)
        if r.status == 410:
            raise Gone(r.read())
        assert r.status == 200, (r.status, r.read())
        want = JSON if accept == JSON else PROTO + ';stream=watch'
        assert r.getheader('Content-Type').replace(' ', '') == want, r.getheader('Content-Type')
        while True:
            if accept == JSON:
                line = r.readline()
                if not line:
                    return
                event = json.loads(line)
                kind, obj = event['type'], event['object']
            else:
                head = r.read(4)
                if not head:
                    return
                event = r.read(struct.unpack('>I', head)[0])
                kind, obj = field(event, 1).decode(), proto_object(field(field(event, 2), 1))
            if kind == 'ERROR':
                if obj['code'] == 410:
                    raise Gone(obj['message'])
                raise AssertionError(obj)
            yield kind, obj
    finally:
        conn.close()


class Informer(threading.Thread):
    """after: one that was stopped, whose store it takes over; rev: where it left off."""

    def __init__(self, api, path, accept=JSON, after=None, rev=''):
        super().__init__(daemon=True)
        self.api, self.path, self.accept = api, path, accept
        self.changed = threading.Condition()
        self.store = dict(after.store) if after else {}  # name -> object
        self.seen = []       # (type, name, revision) as handlers are told them
        self.rev = rev       # the last one it saw, as it was sent
        self.synced = self.lists = self.resumes = self.bookmarks = 0
        self.failure, self.conn, self.stopping = None, None, False
        self.start()

    def run(self):
        try:
            while not self.stopping:
                try:
                    if self.rev:
                        self.resumes += 1
                        self.follow(resourceVersion=self.rev)
                    else:
                        self.lists += 1
                        self.follow(sendInitialEvents='true', resourceVersionMatch='NotOlderThan')
                except Gone:
                    self.rev = ''
                except LOST:
                    time.sleep(0.02)  # as a reflector backs off
        except Exception as e:
            with self.changed:
                self.failure = e
                self.changed.notify_all()

    def follow(self, **query):
        initial = {} if 'sendInitialEvents' in query else None

        def opened_with(conn):
            self.conn = conn
        for kind, obj in watch(self.api, self.path, self.accept, opened_with, allowWatchBookmarks='true', **query):
            name, rev = obj['metadata'].get('name', ''), obj['metadata']['resourceVersion']
            with self.changed:
                if kind == 'BOOKMARK':
                    self.bookmarks += 1
                    if (obj['metadata'].get('annotations') or {}).get(INITIAL_END) == 'true':
                        assert initial is not None, 'the end of initial events comes once, and only where they were asked for'
                        self.replace(initial)
                        initial = None
                        self.synced += 1
                    if initial is None:
                        self.rev = rev
                elif initial is not None:
                    assert kind == 'ADDED', (kind, name)
                    initial[name] = obj
                else:
                    assert int(rev) > int(self.rev), 'revision %s after %s: seen twice or out of order' % (rev, self.rev)
                    assert (kind == 'ADDED') == (name not in self.store), (kind, name)
                    self.tell(kind, name, obj)
                    self.rev = rev
                self.changed.notify_all()

    def replace(self, now):
        for name in list(self.store):
            if name not in now:
                self.tell('DELETED', name, self.store[name])
        for name, obj in now.items():
            if name not in self.store or self.store[name]['metadata']['resourceVersion'] != obj['metadata']['resourceVersion']:
                self.tell('MODIFIED' if name in self.store else 'ADDED', name, obj)

    def tell(self, kind, name, obj):
        self.seen.append((kind, name, obj['metadata']['resourceVersion']))
        if kind == 'DELETED':
            self.store.pop(name)
        else:
            self.store[name] = obj

    def until(self, what, condition, timeout=20):
        with self.changed:
            ok = self.changed.wait_for(lambda: self.failure or condition(self), timeout)
            if self.failure:
                raise self.failure
            assert ok, 'not within %d s: %s; at %s after %d lists and %d resumes, last: %s' % (
                timeout, what, self.rev, self.lists, self.resumes, self.seen[-3:])

    def drop(self):
        """Loses the connection, as a network does."""
        try:
            self.conn.sock.shutdown(2)
        except (OSError, AttributeError):
            pass

    def stop(self):
        self.stopping = True
        self.drop()
        self.join(10)


def configmap(name, **data):
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name}, 'data': data}


def namespace(api, name):
    api.must('POST', '/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': name}})
    path = CONFIGMAPS % name
    eventually('its first ConfigMap', lambda: api.call('GET', path + '/kube-root-ca.crt')[0] == 200)
    return path


class Writer(threading.Thread):
    """Writes until it is stopped, again where the answer was lost; notes what was acknowledged."""

    def __init__(self, c, path):
        super().__init__(daemon=True)
        self.api, self.path = Api(c), path
        self.acked, self.deleted, self.doubts, self.failure = set(), set(), 0, None
        self.stopping = False
        self.start()

    def again(self, method, path, body=None, send=JSON, fine=()):
        while True:
            try:
                status, got = self.api.call(method, path, body, send=send)
            except LOST:
                self.doubts += 1
                time.sleep(0.005)
                continue
            if status in fine:
                return None
            assert status in (200, 201), (method, path, status, got)
            return got

    def run(self):
        n = 0
        try:
            while not self.stopping:
                n += 1
                name, short = 'busy-%d' % (n % 5), 'short-%d' % n
                if n <= 5:
                    self.note(name, self.again('POST', self.path, configmap(name, n='0'), fine=(409,)))
                self.note(name, self.again('PATCH', self.path + '/' + name, {'data': {'n': str(n)}}, send='application/merge-patch+json'))
                if n % 4 == 0:
                    self.note(short, self.again('POST', self.path, configmap(short), fine=(409,)))
                    self.again('DELETE', self.path + '/' + short, fine=(404,))
                    self.deleted.add(short)
        except Exception as e:
            self.failure = e

    def note(self, name, got):
        if got:
            self.acked.add((name, got['metadata']['resourceVersion']))

    def stop(self):
        self.stopping = True
        self.join(30)
        if self.failure:
            raise self.failure


def agree(api, path, informers):
    """Each informer has come to the end of what was written, and holds what a list shows."""
    api.must('POST', path, configmap(LAST))
    now = {o['metadata']['name']: (o['metadata']['resourceVersion'], o.get('data') or {}) for o in api.must('GET', path)['items']}
    for i in informers:
        held = lambda inf: {n: (o['metadata']['resourceVersion'], o.get('data') or {}) for n, o in inf.store.items()}
        i.until('the same as a list', lambda inf: held(inf) == now)


# --- the tests

def initial_events_end_with_a_bookmark(c):
    api = Api(c)
    path = namespace(api, 'initial')
    for n in range(30):
        api.must('POST', path, configmap('cm-%d' % n, n=str(n)))
    rev = api.must('GET', path)['metadata']['resourceVersion']
    informers = [Informer(api, path, a) for a in (JSON, PROTO)]
    for i in informers:
        i.until('synced', lambda i: i.synced)
        assert len(i.store) == 31 and i.store['cm-7']['data'] == {'n': '7'}, sorted(i.store)
        assert int(i.rev) >= int(rev), 'not older than what was listed before'
    api.must('PUT', path + '/cm-7', configmap('cm-7', n='new'))
    api.must('DELETE', path + '/cm-8')
    api.must('POST', path, configmap('cm-99', n='99'))
    for i in informers:
        i.until('what came after', lambda i: 'cm-99' in i.store and 'cm-8' not in i.store and i.store['cm-7']['data'] == {'n': 'new'})
        assert [(k, n) for k, n, _ in i.seen[-3:]] == [('MODIFIED', 'cm-7'), ('DELETED', 'cm-8'), ('ADDED', 'cm-99')], i.seen[-3:]
    assert informers[0].seen == informers[1].seen, 'the same in both languages'
    for i in informers:
        assert i.lists == 1 and i.resumes == 0, 'one watch did all that'
        i.stop()


def protobuf_is_written_and_listed(c):
    api = Api(c)
    path = namespace(api, 'proto')
    body = put(1, put(1, b'by-proto')) + put(2, put(1, b'k') + put(2, 'ümlaut'.encode()))
    envelope = b'k8s\0' + put(1, put(1, b'v1') + put(2, b'ConfigMap')) + put(2, body)
    made = proto_object(api.must('POST', path, envelope, accept=PROTO, send=PROTO))
    assert made['data'] == {'k': 'ümlaut'} and made['metadata']['name'] == 'by-proto', made
    assert api.must('GET', path + '/by-proto')['data'] == {'k': 'ümlaut'}
    kind, raw = opened(api.must('GET', path, accept=PROTO))
    items = [proto_configmap(v) for n, v in fields(raw) if n == 2]
    assert kind == 'ConfigMapList' and made in items, items
    status, got = api.call('GET', path + '/none', accept=PROTO)
    assert status == 404 and proto_object(got)['reason'] == 'NotFound', got
    status, got = api.call('POST', path, envelope[:-3], accept=PROTO, send=PROTO)
    assert status == 400, (status, got)


def pages_are_of_one_snapshot(c):
    api = Api(c)
    path = namespace(api, 'pages')
    for n in range(25):
        api.must('POST', path, configmap('p-%02d' % n, n='old'))
    query = {'limit': 10, 'fieldSelector': 'metadata.name!=kube-root-ca.crt'}
    first = api.must('GET', path, **query)
    rev = first['metadata']['resourceVersion']
    assert len(first['items']) == 10 and first['metadata']['continue']
    api.must('DELETE', path + '/p-15')
    api.must('PUT', path + '/p-16', configmap('p-16', n='new'))
    api.must('POST', path, configmap('p-17a', n='new'))
    items, page = list(first['items']), first
    while page['metadata'].get('continue'):
        page = api.must('GET', path, **dict(query, **{'continue': page['metadata']['continue']}))
        assert page['metadata']['resourceVersion'] == rev, (page['metadata'], rev)
        items += page['items']
    assert [o['metadata']['name'] for o in items] == ['p-%02d' % n for n in range(25)], items
    assert all(o['data'] == {'n': 'old'} for o in items)
    exact = api.must('GET', path, resourceVersion=rev, resourceVersionMatch='Exact')
    assert [o for o in exact['items'] if o['metadata']['name'] != 'kube-root-ca.crt'] == items
    whole = api.must('GET', path, limit=10)
    assert whole['metadata']['remainingItemCount'] == 16, whole['metadata']
    status, got = api.call('GET', path, **{'limit': 10, 'continue': 'nonsense'})
    assert status == 400 and got['reason'] == 'BadRequest', got


def a_lost_connection_resumes(c):
    api = Api(c)
    path = namespace(api, 'lost')
    informers = [Informer(api, path, a) for a in (JSON, PROTO)]
    for i in informers:                                 # a first list shows no change that was overtaken before it
        i.until('its first list', lambda i: i.synced)
    writer = Writer(c, path)
    for n in range(3):
        for i in informers:
            have = len(i.seen)
            i.until('events', lambda i: len(i.seen) > have + 20)
            i.drop()
    writer.stop()
    agree(api, path, informers)
    for i in informers:
        complete(i, writer)
        assert i.lists == 1 and i.resumes >= 3, (i.lists, i.resumes)
        i.stop()


def complete(informer, writer):
    """All that was acknowledged was seen, once; what was seen beyond has an answer that was lost."""
    changes = [(n, r) for k, n, r in informer.seen if k != 'DELETED' and n not in (LAST, 'kube-root-ca.crt')]
    assert len(changes) == len(set(changes)), 'seen twice'
    missing = writer.acked - set(changes)
    assert not missing, 'acknowledged and never seen: %s' % sorted(missing)[:5]
    assert len(set(changes) - writer.acked) <= writer.doubts, sorted(set(changes) - writer.acked)[:5]
    gone = [n for k, n, _ in informer.seen if k == 'DELETED']
    assert sorted(gone) == sorted(writer.deleted), set(gone) ^ writer.deleted


def a_killed_server_is_resumed_from(c):
    api = Api(c)
    path = namespace(api, 'killed')
    informers = [Informer(api, path, a) for a in (JSON, PROTO)]
    for i in informers:                                 # a first list shows no change that was overtaken before it
        i.until('its first list', lambda i: i.synced)
    writer = Writer(c, path)
    for n in range(3):
        for i in informers:
            have = len(i.seen)
            i.until('events', lambda i: len(i.seen) > have + 30)
        acked, resumes = len(writer.acked), [i.resumes for i in informers]
        pid = c.role_pid('server')
        os.kill(pid, 9)
        for i, before in zip(informers, resumes):
            i.until('it resumes', lambda i: i.resumes > before)
        eventually('writes go on', lambda: len(writer.acked) > acked + 10 or writer.failure)
        assert c.role_pid('server') != pid
    writer.stop()
    agree(Api(c), path, informers)
    for i in informers:
        complete(i, writer)
        assert i.lists == 1, 'a killed server costs no relist: %d' % i.lists
        i.stop()
    print('     %d changes, %d answers lost' % (len(writer.acked), writer.doubts))


def what_was_compacted_is_relisted(c):
    c.down()
    c.args += ['--set', 'compaction-seconds=1']
    c.up()
    api = Api(c)
    path = namespace(api, 'compacted')
    for n in range(20):
        api.must('POST', path, configmap('c-%02d' % n, n='old'))
    page = api.must('GET', path, limit=5)
    old = page['metadata']['resourceVersion']
    informers = [Informer(api, path, a) for a in (JSON, PROTO)]
    for i in informers:
        i.until('synced', lambda i: i.synced)
        i.stop()

    def expired():
        api.must('PUT', path + '/c-00', configmap('c-00', at=str(time.monotonic())))
        try:
            for kind, obj in watch(api, path, JSON, resourceVersion=old, timeoutSeconds=1):
                return False
        except Gone:
            return True
    eventually('the floor has passed it', expired, timeout=15, every=0.3)
    api.must('DELETE', path + '/c-01')
    again = [Informer(api, path, i.accept, after=i, rev=old) for i in informers]
    for i in again:
        i.until('it lists again', lambda i: i.synced)
        assert i.lists == 1 and i.resumes == 1, (i.lists, i.resumes)
        assert ('DELETED', 'c-01') in [(k, n) for k, n, _ in i.seen], 'what went meanwhile is told'
    agree(api, path, again)
    for i in again:
        i.stop()
    status, got = api.call('GET', path, **{'limit': 5, 'continue': page['metadata']['continue']})
    assert status == 410 and got['reason'] == 'Expired', got
    rest = api.must('GET', path, **{'limit': 50, 'continue': got['metadata']['continue']})
    assert rest['items'] and not set(o['metadata']['name'] for o in rest['items']) & set(o['metadata']['name'] for o in page['items'])
    status, got = api.call('GET', path, resourceVersion=old, resourceVersionMatch='Exact')
    assert status == 410 and got['reason'] == 'Expired', got
    status, got = api.call('GET', path, resourceVersion=str(int(old) + 1000000), resourceVersionMatch='NotOlderThan')
    assert status == 504 and 'Too large resource version' in got['message'], got


def a_large_collection_is_watched_by_a_slow_client(c):
    """More than a connection may have waiting: initial events come as the client takes them, and then what happened meanwhile."""
    api, path, big = Api(c), CONFIGMAPS % 'default', 'x' * 500000
    for i in range(24):
        api.must('POST', path, configmap('large-%02d' % i, text=big))
    seen, changed = [], False
    for kind, obj in watch(api, path, JSON, sendInitialEvents='true', resourceVersionMatch='NotOlderThan', allowWatchBookmarks='true', timeoutSeconds=20):
        name = obj['metadata'].get('name')
        if not changed:
            time.sleep(0.3)                             # it does not take the rest yet
            api.must('DELETE', path + '/large-23')
            changed = True
        if name and name.startswith('large'):
            seen.append((kind, name))
        elif INITIAL_END in obj['metadata'].get('annotations', {}):
            assert seen == [('ADDED', 'large-%02d' % i) for i in range(24)], seen
        if kind == 'DELETED':
            break
    assert seen[-1] == ('DELETED', 'large-23') and len(seen) == 25, seen
    for i in range(23):
        api.must('DELETE', path + '/large-%02d' % i)


def fields_are_looked_up(c):
    """Pods of a node and events about an object, in every way of asking, are those that a walk over all finds."""
    api = Api(c)
    for ns in ('field-a', 'field-b'):
        c.kubectl('create', 'namespace', ns)
        eventually('a service account', lambda: api.call('GET', '/api/v1/namespaces/%s/serviceaccounts/default' % ns)[0] == 200)
        for i in range(12):
            api.must('POST', '/api/v1/namespaces/%s/pods' % ns, {'metadata': {'name': 'p%d' % i, 'labels': {'odd': str(i % 2)}},
                     'spec': {'schedulerName': 'nobody', 'containers': [{'name': 'c', 'image': 'i'}], **({'nodeName': 'n%d' % (i % 3)} if i % 4 else {})}})
            api.must('POST', '/api/v1/namespaces/%s/events' % ns, {'metadata': {'name': 'e%d' % i}, 'involvedObject': {'kind': 'Pod', 'namespace': ns, 'name': 'p', 'uid': 'u%d' % (i % 3)}})

    def names(path, **query):
        found, more = [], ''
        while True:
            got = api.must('GET', path, **dict(query, **({'continue': more} if more else {})))
            found += [(o['metadata']['namespace'], o['metadata']['name']) for o in got['items']]
            more = got['metadata'].get('continue')
            if not more:
                return found

    def agree_on_pods():
        for path in ('/api/v1/pods', '/api/v1/namespaces/field-b/pods'):
            everything = api.must('GET', path)['items']
            for node in ('', 'n0', 'n1', 'n2', 'n', 'nothere'):
                want = [(o['metadata']['namespace'], o['metadata']['name']) for o in everything if o['spec'].get('nodeName', '') == node]
                assert names(path, fieldSelector='spec.nodeName=' + node) == want, (path, node)
                assert names(path, fieldSelector='spec.nodeName=' + node, limit=2) == want, (path, node)
                odd = [(o['metadata']['namespace'], o['metadata']['name']) for o in everything
                       if o['spec'].get('nodeName', '') == node and o['metadata'].get('labels', {}).get('odd') == '1']
                assert names(path, fieldSelector='spec.nodeName=' + node, labelSelector='odd=1') == odd, (path, node)
    agree_on_pods()
    api.must('POST', '/api/v1/namespaces/field-b/pods/p4/binding', {'metadata': {'name': 'p4'}, 'target': {'kind': 'Node', 'name': 'n1'}})
    api.must('PATCH', '/api/v1/namespaces/field-b/pods/p5', {'metadata': {'labels': {'odd': '0'}}}, send='application/merge-patch+json')
    api.must('DELETE', '/api/v1/namespaces/field-b/pods/p1', {'gracePeriodSeconds': 0})
    api.must('DELETE', '/api/v1/namespaces/field-a/pods?fieldSelector=spec.nodeName%3Dn2&gracePeriodSeconds=0')
    agree_on_pods()
    assert {ns for ns, _ in names('/api/v1/pods', fieldSelector='spec.nodeName=n2')} == {'field-b'}
    added = [o['metadata']['name'] for k, o in watch(api, '/api/v1/namespaces/field-b/pods', JSON, fieldSelector='spec.nodeName=n1', timeoutSeconds=1) if k == 'ADDED']
    assert added == [n for ns, n in names('/api/v1/namespaces/field-b/pods', fieldSelector='spec.nodeName=n1')], added
    want = [(ns, 'e%d' % i) for ns in ('field-a', 'field-b') for i in sorted(range(2, 12, 3), key=str)]
    assert names('/api/v1/events', fieldSelector='involvedObject.uid=u2') == want
    assert names('/apis/events.k8s.io/v1/events', fieldSelector='regarding.uid=u2') == want
    os.kill(c.role_pid('server'), 9)                    # the next one finds all of it again
    eventually('the server is back', lambda: c.kubectl('get', '--raw', '/readyz', timeout=5) == 'ok')
    api = Api(c)
    agree_on_pods()
    for ns in ('field-a', 'field-b'):
        c.kubectl('delete', 'namespace', ns, '--wait=false')


if __name__ == '__main__':
    main([a_large_collection_is_watched_by_a_slow_client, fields_are_looked_up, initial_events_end_with_a_bookmark, protobuf_is_written_and_listed, pages_are_of_one_snapshot, a_lost_connection_resumes,
          a_killed_server_is_resumed_from, what_was_compacted_is_relisted], args=['--roles', 'server'], image=False)
