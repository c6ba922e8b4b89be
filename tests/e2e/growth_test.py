#!/usr/bin/env python3
"""Nobody holds the server with one request: every list and every map of every kind, found in the OpenAPI documents, is grown until the body
is as large as it may be, made, put and patched. The loop's own CPU time for it has a bound, whatever the answer is, and a neighbour who
reads meanwhile does not notice."""
import http.client, random
from lib import *
from raw import *

SLOW = 10 if BUILD.endswith('asan') else 1
MOST = 3 << 20
VALUES = 41500                                          # the server's own bound is 42,000
LOOP = 0.1 * SLOW                                       # seconds of CPU that one request may take of the loop


class Server(Cluster):
    def up(self):
        out = super().up()
        self.raw = Raw(self)
        self.pid = self.role_pid('server')
        self.line = None
        return out

    def ask(self, method, path, body=None, kind='application/json'):
        """Over one connection that stays."""
        for again in range(2):
            if not self.line:
                self.line = http.client.HTTPSConnection(*self.raw.address, context=self.raw.tls, timeout=20)
            try:
                self.line.request(method, path, body, {'Content-Type': kind} if body else {})
                r = self.line.getresponse()
                return r.status, r.read().decode('utf-8', 'replace')
            except (http.client.HTTPException, OSError):
                self.line = None
                if again:
                    raise

    def schedstat(self, i):
        with open('/proc/%d/task/%d/schedstat' % (self.pid, self.pid)) as f:
            return int(f.read().split()[i]) / 1e9

    def cpu(self):
        """Seconds that the loop's thread has run."""
        return self.schedstat(0)

    def waited(self):
        """Seconds that it could have run, and others did."""
        return self.schedstat(1)

    def cost(self, *request):
        start = self.cpu()
        status, text = self.ask(*request)
        return self.cpu() - start, status, text


# --- what can grow

def kinds(c):
    """(path of the collection, name of the type, types by name, apiVersion, kind) of whatever can be made."""
    _, index = c.ask('GET', '/openapi/v3')
    for name in sorted(json.loads(index)['paths']):
        if not name.startswith(('api/', 'apis/')) or name.count('/') < 1:
            continue
        status, text = c.ask('GET', '/openapi/v3/' + name)
        if status != 200:
            continue
        doc = json.loads(text)
        types = doc['components']['schemas']
        for path, item in sorted(doc['paths'].items()):
            post = item.get('post')
            if not post or not post.get('requestBody') or '/{name}' in path and not path.endswith(('/eviction', '/binding', '/token', '/scale')):
                continue
            ref = re.search(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(post['requestBody']))
            gvk = post.get('x-kubernetes-group-version-kind')
            if ref and gvk:
                version = (gvk['group'] + '/' if gvk['group'] else '') + gvk['version']
                yield path.replace('{namespace}', 'default').replace('{name}', 'x'), ref.group(1), types, version, gvk['kind']


def target(schema, types):
    """The schema behind references and allOf."""
    for _ in range(5):
        if '$ref' in schema:
            schema = types[schema['$ref'].rsplit('/', 1)[1]]
        elif 'allOf' in schema:
            schema = schema['allOf'][0]
        else:
            break
    return schema


def name_of(schema):
    m = re.search(r'schemas/([^"]+)"', json.dumps({k: v for k, v in schema.items() if k in ('$ref', 'allOf')}))
    return m.group(1) if m else ''


def growing(schema, types, path=(), inside=()):
    """Every (path, schema) of a list or a map below, each type once on a way."""
    s = target(schema, types)
    if s.get('type') == 'array':
        yield path, s
        yield from growing(s['items'], types, path + (0,), inside)
    elif s.get('type') == 'object' and 'additionalProperties' in s:
        yield path, s
    elif 'properties' in s:
        name = name_of(schema)
        if name and name in inside:
            return
        for field, sub in s['properties'].items():
            yield from growing(sub, types, path + (field,), inside + (name,))


TEXT, NUMBER = 'a@@', 77777                               # in a pattern: what is another in each piece


def pattern(schema, types, depth=0):
    """A small value of the type."""
    s = target(schema, types)
    kind = s.get('type')
    if kind == 'array':
        return [pattern(s['items'], types, depth + 1)] if depth < 2 else []
    if kind == 'object' and 'properties' in s:
        want = s.get('required', []) or [f for f in ('name', 'key', 'ip', 'uid', 'type', 'path', 'port', 'topologyKey') if f in s['properties']]
        return {f: pattern(s['properties'][f], types, depth + 1) for f in want} if depth < 3 else {}
    if kind == 'object':
        return {TEXT: 'b'} if depth < 2 else {}
    if kind in ('integer', 'number'):
        return NUMBER
    if kind == 'boolean':
        return True
    return s['enum'][0] if s.get('enum') else TEXT


def grown(schema, types, same=False, values=VALUES, most=MOST - 2000):
    """The text of a list or map as large as it may be: of `most` bytes and `values` values; all its pieces different, or (but for keys) the same."""
    is_list = schema.get('type') == 'array'
    p = pattern(schema['items'] if is_list else schema['additionalProperties'], types)
    text = json.dumps(p, separators=(',', ':'))
    one = 1 + sum(text.count(c) for c in ',[{')
    n = min(values // one, most // (len(text) + (6 if is_list else 16)))
    if same and is_list:
        return '[%s]' % ','.join([text.replace(TEXT, 'a').replace(str(NUMBER), '1')] * n)
    cut = re.split('(%s|%d)' % (TEXT, NUMBER), ('' if is_list else '"k' + TEXT + '":') + text)
    form = ''.join('a%(i)d' if part == TEXT else '%(n)d' if part == str(NUMBER) else part.replace('%', '%%') for part in cut)
    return ('[%s]' if is_list else '{%s}') % ','.join([form % {'i': i, 'n': i % 30000 + 1} for i in range(n)])


def around(path, text, api, kind, name='grown'):
    """The object with this text at the path."""
    hole = '@@hole@@'
    v = hole
    for step in reversed(path):
        v = [v] if step == 0 else {step: v}
    v.setdefault('apiVersion', api)
    v.setdefault('kind', kind)
    if isinstance(v.setdefault('metadata', {}), dict):
        v['metadata'].setdefault('name', name)
    return json.dumps(v).replace('"%s"' % hole, text).encode()


def every(c, each_type_once):
    seen = set()
    for path, name, types, api, kind in kinds(c):
        root = {'$ref': '#/components/schemas/' + name}
        for where, schema in growing(root, types):
            key = (json.dumps(schema, sort_keys=True), where[-1:] if where[-1] != 0 else where[-2:]) if each_type_once else (path, where)
            if key in seen or where[:2] == ('metadata', 'managedFields'):
                continue
            seen.add(key)
            yield path, types, api, kind, where, schema


def some(cases, short):
    """All of them in the long form, else `short`, drawn anew each time."""
    cases = list(cases)
    return cases if STORM else random.Random(seed()).sample(cases, min(short, len(cases)))


def judge(c, slow, *request):
    """Its cost; where that is too much, the least of several, each held against the machine's pace just then: what else
    happens is not its own."""
    cost, status, text = c.cost(*request)
    for _ in range(7):
        if cost <= LOOP or cost <= LOOP * slowness():
            break
        cost = c.cost(*request)[0]
    else:
        slow.append('%.3f s  %s  %s %s  %.60r' % (cost, status, request[0], request[1], request[2] if request[2:] else ''))
    return status, text


def made(c):
    """POST, of pieces that differ and (lists) of the same piece again and again."""
    slow, cases = [], some(every(c, not STORM), 100)
    start, waited = time.monotonic(), c.waited()
    with Neighbour(c.raw) as n:
        for path, types, api, kind, where, schema in cases:
            for same in (False, True)[:2 if schema.get('type') == 'array' else 1]:
                judge(c, slow, 'POST', path + '?dryRun=All&grown=' + '.'.join(map(str, where)), around(where, grown(schema, types, same), api, kind))
    print('     %d lists and maps' % len(cases), flush=True)
    assert not slow, '%d of %d:\n%s' % (len(slow), len(cases), '\n'.join(sorted(slow, reverse=True)[:40]))
    if STORM:                                           # where the server had a CPU whenever it wanted one
        assert n.worst(0.99) < 0.05 * SLOW or c.waited() - waited > 0.1 * (time.monotonic() - start), n.worst(0.99)


def changed(c):
    """PUT and the patches, of objects that are there and are in order; twice, so that a long list meets a long one."""
    slow = []
    there = {'configmaps': ({'data': {'a': 'b'}}, [('data',), ('metadata', 'annotations')]),
             'secrets': ({'stringData': {'a': 'b'}}, [('data',), ('stringData',), ('metadata', 'labels')]),
             'services': ({'spec': {'ports': [{'port': 1}]}}, [('spec', 'ports'), ('spec', 'selector'), ('spec', 'externalIPs')]),
             'endpoints': ({}, [('subsets',), ('subsets', 0, 'addresses'), ('metadata', 'finalizers')]),
             'serviceaccounts': ({}, [('secrets',), ('imagePullSecrets',), ('metadata', 'ownerReferences')]),
             'replicationcontrollers': ({'spec': {'replicas': 0, 'selector': {'a': 'b'}, 'template': {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}}},
                                        [('spec', 'template', 'spec') + x for x in (('containers',), ('volumes',), ('tolerations',), ('hostAliases',), ('imagePullSecrets',), ('nodeSelector',), ('topologySpreadConstraints',))] +
                                        [('spec', 'template', 'spec', 'containers', 0) + x for x in (('env',), ('ports',), ('volumeMounts',), ('command',))])}
    found = {(path.rsplit('/', 1)[1], where): (path, types, api, kind, schema) for path, types, api, kind, where, schema in every(c, False) if path.startswith('/api/v1/namespaces/default/')}
    cases = some([(resource, where) for resource, (_, places) in there.items() for where in places], 6)
    for resource, where in cases:
        path, types, api, kind, schema = found[(resource, where)]
        name = 'x' + str(abs(hash(where)) % 10 ** 9)
        body = dict(there[resource][0], apiVersion=api, kind=kind, metadata={'name': name})
        status, text = c.ask('POST', path, json.dumps(body).encode())
        assert status == 201, text
        text = grown(schema, types, most=900 << 10, values=26000) # what can be stored, for the next to meet
        large = grown(schema, types)
        inner = lambda t: json.dumps(nested(where)).replace('"@@hole@@"', t).encode()
        for t in (text, large):
            judge(c, slow, 'PUT', path + '/' + name, around(where, t, api, kind, name))
            judge(c, slow, 'PATCH', path + '/' + name, inner(t), 'application/merge-patch+json')
            judge(c, slow, 'PATCH', path + '/' + name, inner(t), 'application/strategic-merge-patch+json')
            judge(c, slow, 'PATCH', path + '/' + name, ('[{"op":"add","path":"/%s","value":%s}]' % ('/'.join(map(str, where)), t)).encode(), 'application/json-patch+json')
        c.ask('DELETE', path + '/' + name)
    assert not slow, '\n'.join(sorted(slow, reverse=True)[:40])


def those_of_one_name(c):
    """Elements of a list that have the same key, changed all at once; and thousands of conflicts, which name and count each."""
    slow, path = [], '/api/v1/namespaces/default/replicationcontrollers'

    def body(name, value, names):
        env = [{'name': 'a%d' % (i % names), 'value': value} for i in range(8000)]
        spec = {'replicas': 0, 'selector': {'a': 'b'}, 'template': {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i', 'env': env}]}}}
        return json.dumps({'apiVersion': 'v1', 'kind': 'ReplicationController', 'metadata': {'name': name}, 'spec': spec}).encode()

    for name, names in (('pairs', 4000), ('same', 1)):
        judge(c, slow, 'POST', path, body(name, 'x', names))
        values = iter('abcdefghij')
        assert judge(c, slow, 'PUT', path + '/' + name, body(name, next(values), names))[0] == 200
        for _ in range(4):
            judge(c, slow, 'PUT', path + '/' + name, body(name, next(values), names))
    apply = lambda manager, value: judge(c, slow, 'PATCH', path + '/all?fieldManager=' + manager, body('all', value, 8000), 'application/apply-patch+yaml')
    assert apply('one', 'x')[0] in (200, 201)
    status, text = apply('two', 'y')
    assert status == 409 and 'Apply failed with 8000 conflicts' in text, text[:200]
    assert len(json.loads(text)['details']['causes']) == 8000
    for name in ('pairs', 'same', 'all'):
        c.ask('DELETE', path + '/' + name)
    assert not slow, '\n'.join(sorted(slow, reverse=True)[:40])


def nested(path):
    v = '@@hole@@'
    for step in reversed(path):
        v = [v] if step == 0 else {step: v}
    return v


def odd_bodies(c):
    """Many operations, deep nesting, long selectors, much in one text: each has a bound."""
    slow, cm = [], '/api/v1/namespaces/default/configmaps'
    status, text = c.ask('POST', cm, json.dumps({'metadata': {'name': 'odd'}, 'data': {'k%d' % i: 'v' for i in range(5000)}}).encode())
    assert status == 201, text
    ops = lambda op, n: ('[%s]' % ','.join(json.dumps(op(i)) for i in range(n))).encode()
    patch = 'application/json-patch+json'
    for body in (ops(lambda i: {'op': 'add', 'path': '/data/n%d' % i, 'value': 'x'}, 7500), ops(lambda i: {'op': 'remove', 'path': '/data/k%d' % i}, 5000),
                 ops(lambda i: {'op': 'copy', 'from': '/data', 'path': '/x%d' % i}, 7500), ops(lambda i: {'op': 'test', 'path': '/data/k%d' % (i % 5000), 'value': 'v'}, 7500),
                 ops(lambda i: {'op': 'move', 'from': '/data/k%d' % i, 'path': '/data/m%d' % i}, 5000)):
        judge(c, slow, 'PATCH', cm + '/odd?dryRun=All', body, patch)
    for kind, deep in (('application/json', b'{"a":' * 300000), ('application/json', b'[' * 1000000 + b']' * 1000000), ('application/yaml', b'[' * 9000 + b']' * 9000), ('application/yaml', b'{a: ' * 9000),
                       ('application/yaml', b'a: &a [x,x,x,x,x,x,x,x,x]\n' + b''.join(b'b%d: &b%d [%s]\n' % (i, i, b','.join([b'*b%d' % (i - 1) if i else b'*a'] * 9)) for i in range(9))),
                       ('application/yaml', b'[' + b'a,' * 1400000 + b']'), ('application/yaml', b'- a\n' * 700000), ('application/yaml', b'? ' * 20000), ('application/yaml', b'- ' * 9000 + b'a'), ('application/yaml', b'a: |\n' + b'  x\n' * 700000),
                       ('application/yaml', b'"' + b'\\x41' * 700000 + b'"'), ('application/yaml', b'a: "' + b'x\n\n' * 900000), ('application/yaml', b'%' + b'a' * 2000000), ('application/yaml', b'#\n' * 1400000)):
        judge(c, slow, 'POST', cm + '?dryRun=All', deep, kind)
    for selector in ('labelSelector=' + ','.join('a%d' % i for i in range(2000)), 'labelSelector=a+in+(' + ','.join('b%d' % i for i in range(2500)) + ')',
                     'fieldSelector=' + ','.join('metadata.name!=a%d' % i for i in range(800)), 'labelSelector=' + '!' * 15000, 'labelSelector=' + 'a==' * 5000):
        judge(c, slow, 'GET', cm + '?' + selector)
        judge(c, slow, 'GET', cm + '?watch=1&timeoutSeconds=1&' + selector)
    long_text = 'a-' * 1000000
    for body in ({'metadata': {'name': long_text}}, {'metadata': {'name': 'a', 'labels': {long_text: 'x'}}}, {'metadata': {'name': 'a', 'labels': {'x': long_text}}}, {'metadata': {'name': 'a', 'finalizers': [long_text]}},
                 {'metadata': {'generateName': long_text}}, {'data': {long_text: 'a'}, 'metadata': {'name': 'a'}}):
        judge(c, slow, 'POST', cm + '?dryRun=All', json.dumps(body).encode())
    for spec in ({'schedule': '*/1,' * 500000, 'jobTemplate': {}}, {'schedule': '1-' * 900000, 'timeZone': long_text, 'jobTemplate': {}}):
        judge(c, slow, 'POST', '/apis/batch/v1/namespaces/default/cronjobs?dryRun=All', json.dumps({'metadata': {'name': 'a'}, 'spec': spec}).encode())
    for text in ('1' * 1000000, '1e' + '9' * 100000, '0.' + '1' * 1000000, '9' * 100000 + 'Ki'):
        judge(c, slow, 'POST', '/api/v1/namespaces/default/limitranges?dryRun=All', json.dumps({'metadata': {'name': 'a'}, 'spec': {'limits': [{'type': 'Pod', 'max': {'cpu': text}, 'min': {'cpu': text + '1'}}]}}).encode())
    many = range(10000)
    status, text = c.ask('POST', '/apis/node.k8s.io/v1/runtimeclasses', json.dumps({'metadata': {'name': 'odd'}, 'handler': 'crun', 'scheduling': {'tolerations': [{'key': 'a', 'operator': 'Exists'}]}}).encode())
    assert status == 201, text
    for path, body in (('/api/v1/namespaces/default/services', {'metadata': {'name': 'a'}, 'spec': {'type': 'NodePort', 'ports': [{'name': 'a%d' % i, 'port': i + 1} for i in many]}}),
                       ('/api/v1/namespaces/default/services', {'metadata': {'name': 'a'}, 'spec': {'type': 'NodePort', 'ports': [{'name': 'a%d' % i, 'port': i + 1, 'nodePort': 30000 + i % 2000} for i in many]}}),
                       ('/api/v1/namespaces/default/pods', {'metadata': {'name': 'a'}, 'spec': {'runtimeClassName': 'odd', 'containers': [{'name': 'a', 'image': 'a'}], 'tolerations': [{'key': 'k%d' % i, 'operator': 'Exists'} for i in many]}}),
                       ('/apis/authentication.k8s.io/v1/tokenreviews', {'spec': {'token': 'a', 'audiences': ['a%d' % i for i in range(41000)]}}),
                       ('/apis/storage.k8s.io/v1/csidrivers', {'metadata': {'name': 'a'}, 'spec': {'tokenRequests': [{'audience': 'a%d' % i} for i in many]}})):
        judge(c, slow, 'POST', path + '?dryRun=All', json.dumps(body).encode())
    assert not slow, '\n'.join(sorted(slow, reverse=True)[:40])


def ports_that_are_there(c):
    """A Service of as many ports as can be: what keeps account of them does so at each change."""
    slow, path = [], '/api/v1/namespaces/default/services'
    body = {'metadata': {'name': 'ports'}, 'spec': {'clusterIP': 'None', 'ports': [{'name': 'a%d' % i, 'port': i + 1} for i in range(8000)]}}
    judge(c, slow, 'POST', path, json.dumps(body).encode())
    for i in range(3):
        status, text = judge(c, slow, 'PATCH', path + '/ports', json.dumps({'metadata': {'labels': {'a': str(i)}}}).encode(), 'application/merge-patch+json')
        assert status == 200, text
    assert not slow, '\n'.join(slow)



# --- large answers

FORMS = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'] + \
    ['application/%s;as=%s;v=v1;g=meta.k8s.io' % x for x in (('json', 'Table'), ('yaml', 'Table'), ('json', 'PartialObjectMetadataList'),
                                                             ('yaml', 'PartialObjectMetadataList'), ('vnd.kubernetes.protobuf', 'PartialObjectMetadataList'))]
LISTED, EACH = size(40, 300), 200000
LISTS = '/api/v1/namespaces/lists/configmaps'
ROOM = (64 << 20) * (10 if BUILD.endswith('asan') else 1)                                # of which one list alone takes a quarter at most


def anon(c):
    with open('/proc/%d/smaps_rollup' % c.pid) as f:
        return int(re.search(r'^Pss_Anon: *(\d+)', f.read(), re.M).group(1)) << 10


class Highest:
    """The most that the server holds meanwhile, above what it did before."""

    def __init__(self, c):
        self.c, self.rest, self.most, self.stop = c, anon(c), 0, False

    def __enter__(self):
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while not self.stop:
            self.most = max(self.most, anon(self.c) - self.rest)
            time.sleep(0.005)

    def __exit__(self, *unused):
        self.stop = True
        self.thread.join()


def fill(c):
    """Objects whose annotations are long, so that each form of a list is."""
    c.ask('POST', '/api/v1/namespaces', json.dumps({'metadata': {'name': 'lists'}}).encode())
    long_text = 'two words\n' * (EACH // 10)
    for i in range(LISTED):
        status, text = c.ask('POST', LISTS, json.dumps({'metadata': {'name': 'a%d' % i, 'annotations': {'a': long_text}}}).encode())
        assert status in (201, 409), text


def asked(c, form, path=LISTS + '?includeObject=Object'):
    s = c.raw.open(60)
    s.sendall(('GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: %s\r\n\r\n' % (path, form)).encode())
    return s


def swallow(s):
    n = 0
    with s:
        while part := s.recv(1 << 20):
            n += len(part)
    return n


def large_lists(c):
    """Whatever the form: the server holds a small part of a large list at a time, and serves others meanwhile. Many at once, and readers who
    take their time, take no more each than what waits for them."""
    fill(c)
    for form in FORMS:
        with Highest(c) as h:
            n = swallow(asked(c, form))
        assert n > LISTED * EACH, (form, n)
        assert h.most < ROOM // 4, '%s: %d MB for %d MB' % (form, h.most >> 20, n >> 20)
    with Highest(c) as h, Neighbour(c.raw) as neighbour:
        slow = [asked(c, form) for form in FORMS * 4]
        for s in slow:
            s.recv(1000)
        threads = [threading.Thread(target=swallow, args=(asked(c, form),)) for form in FORMS]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for s in slow:
            s.close()
    print('     %d MB for %d lists' % (h.most >> 20, len(FORMS) * 5), flush=True)
    assert h.most < ROOM, h.most
    assert neighbour.times and not neighbour.errors, neighbour.errors


def whoever_leaves_leaves_nothing(c):
    """Each form of answer of the server itself, each way to leave it."""
    fill(c)

    def sizes():
        return len(os.listdir('/proc/%d/fd' % c.pid)), anon(c)

    def after_head(s):
        s.recv(100)

    def midway(s):
        for _ in range(20):
            s.recv(65536)

    def unread(s):
        pass

    def half_closed(s):
        s.recv(100)
        s.shutdown(socket.SHUT_WR)
        s.recv(100)

    def reset(s):
        s.recv(100)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    answers = [(f, LISTS + '?includeObject=Object') for f in FORMS] + [(f, LISTS + '?watch=1&includeObject=Object') for f in FORMS if 'yaml' not in f] + \
        [('application/json', p) for p in (LISTS + '?limit=30', LISTS + '/a0', '/openapi/v2', '/openapi/v3/api/v1', '/metrics', '/apis', '/wherry.dev/backup', '/healthz', LISTS + '?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan')]
    ways = [after_head, midway, unread, half_closed, reset]
    c.ask('GET', '/metrics')
    fds, rest = sizes()
    for turn in range(size(1, 3)):
        for form, path in answers:
            for way in ways:
                s = asked(c, form, path)
                try:
                    way(s)
                except OSError:
                    pass                                # it was answered, and the line ended
                s.close()
        eventually('its descriptors are as before', lambda: sizes()[0] <= fds, timeout=60)
        queued = lambda: float(re.search(r'^wherry_http_queued_bytes (\S+)', c.ask('GET', '/metrics')[1], re.M).group(1))
        eventually('nothing waits for anybody', lambda: queued() < 1 << 20, timeout=60)
    eventually('its memory is as before', lambda: sizes()[1] < rest + ROOM // 2, timeout=60)

def one_user_leaves_watches_to_others(c):
    """Each watch is a connection: who has as many as one may have is told so, and others still watch."""
    most = int(re.search(r'wherry_limit{name="WATCHERS_PER_USER"} (\d+)', c.ask('GET', '/metrics')[1]).group(1))
    ask = 'GET /api/v1/namespaces/default/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\nImpersonate-User: %s\r\nImpersonate-Group: system:masters\r\n\r\n'
    open_lines = []

    def status(who):
        s = c.raw.open(60)
        open_lines.append(s)
        s.sendall((ask % who).encode())
        return s.recv(4096).split(b'\r\n')[0]
    try:
        for _ in range(most):
            assert b' 200 ' in status('greedy')
        assert b' 429 ' in status('greedy')
        assert b' 200 ' in status('other')
        for s in open_lines[:50]:
            s.close()
        eventually('room again', lambda: b' 200 ' in status('greedy'))
    finally:
        for s in open_lines:
            s.close()


def ports_with_addresses(c):
    """A Service's proxy looks at each address once, however many ports have the name; who mirrors them into slices compares the ports once."""
    slow, at, start = [], '/api/v1/namespaces/default/', c.cpu()
    pod = {'metadata': {'name': 'behind'}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}
    ends = {'metadata': {'name': 'many'}, 'subsets': [{'ports': [{'name': 'a', 'port': i % 40000 + 1} for i in range(6000)],
                                                       'addresses': [{'ip': '10.9.%d.%d' % (i >> 8, i & 255), 'targetRef': {'kind': 'Pod', 'name': 'behind'}} for i in range(2500)]}]}
    for kind, o in (('pods', pod), ('services', {'metadata': {'name': 'many'}, 'spec': {'ports': [{'name': 'a', 'port': 1}]}}), ('endpoints', ends)):
        status, text = c.ask('POST', at + kind, json.dumps(o).encode())
        assert status == 201, (kind, status, text[:300])
    status, text = judge(c, slow, 'GET', at + 'services/many:a/proxy/')
    assert status == 503 and 'no endpoints available' in text, (status, text)
    for kind, name in (('pods', 'behind'), ('services', 'many'), ('endpoints', 'many')):
        c.ask('DELETE', at + kind + '/' + name)
    print('     %.2f s' % (c.cpu() - start), flush=True)
    assert not slow and c.cpu() - start < 3 * SLOW, (slow, c.cpu() - start)    # all of it; once 20


def bodies_that_people_have(c):
    """Large and in order: a CustomResourceDefinition without descriptions, a megabyte of one text, a table in a text of YAML."""
    leaf = lambda deep, wide: {'type': 'object', 'properties': {'field%d' % i: leaf(deep - 1, wide) for i in range(wide)}} if deep else {'type': 'integer', 'format': 'int32'}
    crd = {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'larges.test.example.com'},
           'spec': {'group': 'test.example.com', 'scope': 'Namespaced', 'names': {'plural': 'larges', 'singular': 'large', 'kind': 'Large', 'listKind': 'LargeList'},
                    'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {'spec': leaf(4, 12)}}}}]}}
    slow, crds, cm = [], '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', '/api/v1/namespaces/default/configmaps'
    body = json.dumps(crd, separators=(',', ':')).encode()
    values = 1 + sum(body.count(x) for x in (b',', b'[', b'{'))
    assert 60000 < values < 90000, values
    for method, path, kind in (('POST', crds, 'application/json'), ('PATCH', crds + '/larges.test.example.com', 'application/merge-patch+json')):
        status, text = judge(c, slow, method, path, body, kind)
        assert status in (200, 201, 409), (method, status, text[:300])     # asked again where it cost much
    assert not slow, slow
    assert c.ask('DELETE', crds + '/larges.test.example.com')[0] == 200
    head = b'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: table}\ndata:\n'
    table, map_of = head + b'  t: |\n' + b'    1,2,3,4,5,6,7,8,9\n' * 12000, head + b''.join(b'  k%d: v\n' % i for i in range(60000))
    for what, status in ((table, 201), (map_of, 413)):
        got, text = c.ask('POST', cm, what, 'application/yaml')
        assert got == status, (status, got, text[:300])
    got, text = c.ask('POST', cm, json.dumps({'metadata': {'name': 'text'}, 'data': {'t': 'x' * ((1 << 20) - 1)}}).encode())
    assert got == 201, (got, text[:300])
    for name in ('table', 'text'):
        assert c.ask('DELETE', cm + '/' + name)[0] == 200


# --- documents of OpenAPI

PROTO = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'


def documents_are_made_a_piece_at_a_time(c):
    """Megabytes go out, and a piece of them is there at a time; nothing is kept."""
    def read_all():
        total = 0
        for form, path in (('application/json', '/openapi/v2'), (PROTO, '/openapi/v2'), ('application/json', '/openapi/v3/api/v1')):
            for encoding in ('', '\r\nAccept-Encoding: gzip'):
                s = asked(c, form + encoding, path)
                while more := s.recv(1 << 16):
                    total += len(more)
                s.close()
        return total
    read_all()                                          # what a first time leaves, such as a thread of the pool
    with Highest(c) as h:
        total = read_all()
    assert total > 2 << 20, total
    assert h.most < (3 << 20) * SLOW, '%d KiB while %d were sent' % (h.most >> 10, total >> 10)
    eventually('nothing of them is kept', lambda: anon(c) - h.rest < (512 << 10) * SLOW, timeout=30)


if __name__ == '__main__':
    main([documents_are_made_a_piece_at_a_time, ports_with_addresses, bodies_that_people_have, made, changed, those_of_one_name, odd_bodies, ports_that_are_there, large_lists, whoever_leaves_leaves_nothing, one_user_leaves_watches_to_others], args=['--roles', 'server'], image=False, port=16484, cluster=Server)
