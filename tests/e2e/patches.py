"""Random objects and strategic merge patches for them, merge keys that are not unique included; and what kubectl makes of
them: `kubectl patch --local` applies a patch, `kubectl apply` computes one (a server here notes what it sends)."""
import copy, http.server, json, os, re, subprocess, threading

API = {'Deployment': 'apps/v1', 'Service': 'v1', 'ServiceAccount': 'v1'}
PLURAL = {'Deployment': 'deployments', 'Service': 'services', 'ServiceAccount': 'serviceaccounts'}
KEYS = {'containers': 'name', 'initContainers': 'name', 'env': 'name', 'volumeMounts': 'mountPath', 'volumeDevices': 'devicePath',
        'volumes': 'name', 'imagePullSecrets': 'name', 'hostAliases': 'ip', 'topologySpreadConstraints': 'topologyKey',
        'schedulingGates': 'name', 'ownerReferences': 'uid', 'secrets': 'name'}


class Maker:
    def __init__(self, random):
        self.r = random

    def some(self, make, most, least=0):
        return [make() for _ in range(self.r.randint(least, most))]

    def chance(self, p):
        return self.r.random() < p

    # --- elements of lists: few keys, so that they meet, and meet themselves
    def env(self):
        e = {'name': self.r.choice('ABCD')}
        e.update(self.r.choice([{'value': str(self.r.randint(0, 9))}, {'value': 'x$(A)'}, {},
                                {'valueFrom': {'fieldRef': {'fieldPath': 'metadata.name'}}},
                                {'valueFrom': {'configMapKeyRef': {'name': 'm', 'key': self.r.choice('kl')}}}]))
        return e

    def port(self):
        p = {'containerPort': self.r.choice([53, 80, 8080]), 'protocol': self.r.choice(['TCP', 'UDP'])}
        return {**p, **({'name': self.r.choice(['a', 'b', 'c', 'd'])} if self.chance(0.3) else {})}

    def service_port(self):
        p = {'name': self.r.choice('abcdef'), 'port': self.r.choice([53, 80, 443]), 'protocol': self.r.choice(['TCP', 'UDP'])}
        return {**p, **({'targetPort': self.r.choice([1, 'web', 8080])} if self.chance(0.5) else {})}

    def mount(self):
        return {'name': self.r.choice('uvw'), 'mountPath': '/' + self.r.choice('abc'), **self.r.choice([{}, {'readOnly': True}, {'subPath': 's'}])}

    def device(self):
        return {'name': self.r.choice('pq'), 'devicePath': '/dev/' + self.r.choice('xyz')}

    def volume(self):
        return {'name': self.r.choice('uvwxyz'), **self.r.choice([
            {'emptyDir': {}}, {'emptyDir': {'medium': 'Memory'}}, {'configMap': {'name': 'm'}}, {'secret': {'secretName': 's'}}])}

    def alias(self):
        return {'ip': '1.1.1.%d' % self.r.randint(1, 3), 'hostnames': ['h%d' % self.r.randint(0, 9)]}

    def spread(self):
        return {'topologyKey': self.r.choice('pqr'), 'maxSkew': self.r.randint(1, 4),
                'whenUnsatisfiable': self.r.choice(['DoNotSchedule', 'ScheduleAnyway'])}

    def name(self):
        return {'name': self.r.choice('wxyz')}

    def owner(self):
        return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': self.r.choice('ab'), 'uid': self.r.choice(['u1', 'u2', 'u3'])}

    def toleration(self):
        return {'key': self.r.choice('kl'), 'operator': 'Exists'}

    def container(self, name):
        c = {'name': name, 'image': self.r.choice('ij')}
        for field, make in (('env', self.env), ('ports', self.port), ('volumeMounts', self.mount), ('volumeDevices', self.device)):
            if self.chance(0.7):
                c[field] = self.some(make, 4)
        if self.chance(0.3):
            c['args'] = self.some(lambda: self.r.choice('ab'), 3)
        if self.chance(0.3):
            c['resources'] = {'limits': {self.r.choice(['cpu', 'memory']): '1'}}
        return c

    def metadata(self, name):
        m = {'name': name, 'labels': {x: '1' for x in self.r.sample('abc', self.r.randint(0, 3))}}
        if self.chance(0.6):
            m['finalizers'] = ['e.com/' + x for x in self.r.sample('abcd', self.r.randint(0, 3))]
        if self.chance(0.4):
            m['ownerReferences'] = self.some(self.owner, 3)
        return m

    def valid(self, kind, name):
        """An object that a server takes: what must be unique is; merge keys need not be."""
        o = self.object(kind, name)
        once = lambda items, *keys: list({tuple(str(i.get(k)) for k in keys): i for i in items}.values())
        o['metadata'].pop('ownerReferences', None)
        if kind == 'Service':
            o['spec']['ports'] = once(once(o['spec']['ports'], 'name'), 'port', 'protocol')
        elif kind == 'Deployment':
            s = o['spec']['template']['spec']
            s['volumes'] = once(s.get('volumes', []), 'name')
            s['schedulingGates'] = once(s.get('schedulingGates', []), 'name')
            s['topologySpreadConstraints'] = once(s.get('topologySpreadConstraints', []), 'topologyKey', 'whenUnsatisfiable')
            for c in s['containers'] + s.get('initContainers', []):
                c.pop('volumeDevices', None)
                c['volumeMounts'] = [m for m in once(c.get('volumeMounts', []), 'mountPath') if m['name'] in [v['name'] for v in s['volumes']]]
                c['ports'] = [p for p in c.get('ports', []) if 'name' not in p]
        return o

    def object(self, kind, name):
        o = {'apiVersion': API[kind], 'kind': kind, 'metadata': self.metadata(name)}
        if kind == 'Service':
            o['spec'] = {'selector': {x: '1' for x in self.r.sample('abc', 2)}, 'ports': self.some(self.service_port, 5, 1),
                         'externalIPs': ['1.2.3.%d' % self.r.randint(1, 3) for _ in range(self.r.randint(0, 2))]}
        elif kind == 'ServiceAccount':
            o['secrets'] = self.some(self.name, 4)
            o['imagePullSecrets'] = self.some(self.name, 4)
        else:
            spec = {'containers': [self.container(n) for n in self.r.sample(['c1', 'c2', 'c3'], self.r.randint(1, 3))]}
            for field, make in (('volumes', self.volume), ('imagePullSecrets', self.name), ('hostAliases', self.alias),
                                ('topologySpreadConstraints', self.spread), ('tolerations', self.toleration), ('schedulingGates', self.name)):
                if self.chance(0.6):
                    spec[field] = self.some(make, 4)
            if self.chance(0.3):
                spec['initContainers'] = [self.container(n) for n in self.r.sample(['i1', 'i2'], self.r.randint(1, 2))]
            if self.chance(0.4):
                spec['nodeSelector'] = {x: '1' for x in self.r.sample('abc', 2)}
            o['spec'] = {'replicas': 0, 'selector': {'matchLabels': {'app': 'd'}},
                         'template': {'metadata': {'labels': {'app': 'd'}}, 'spec': spec}}
            if self.chance(0.5):
                o['spec']['strategy'] = self.r.choice([{'type': 'Recreate'}, {'type': 'RollingUpdate', 'rollingUpdate': {'maxSurge': 1}}])
        return o

    # --- patches
    def order(self, given, now, key):
        """A $setElementOrder that the patch's elements follow, with some of those that are there between them."""
        keys = [{key: e[key]} for e in given if '$patch' not in e and key in e]
        for e in now:
            if self.chance(0.6) and key in e:
                keys.insert(self.r.randint(0, len(keys)), {key: e[key]})
        return keys

    def list_patch(self, out, field, now, key, make):
        """A patch of out's list: elements, directives, an order."""
        given = []
        for _ in range(self.r.randint(0, 3)):
            e = make()
            t = self.r.random()
            if t < 0.25:
                e = {key: e[key], '$patch': 'delete'}
            elif t < 0.31:
                e = {'$patch': 'replace'}
            elif t < 0.36:
                e[self.r.choice([k for k in e if k != key] or ['extra'])] = None
            elif t < 0.37:
                e.pop(key, None)
            elif t < 0.38:
                e['$patch'] = self.r.choice(['merge', 'other'])
            given.append(e)
        t = self.r.random()
        if t < 0.05:
            out[field] = None
        elif t < 0.92:
            out[field] = given
        if self.chance(0.4) and out.get(field, []) is not None:
            out['$setElementOrder/' + field] = self.order(given if field in out else [], now, key)
            if self.chance(0.05):
                self.r.shuffle(out['$setElementOrder/' + field])

    def map_patch(self, out, field):
        t = self.r.random()
        out[field] = ({'$patch': 'replace', 'z': '1'} if t < 0.2 else {'$patch': 'delete'} if t < 0.3 else {'a': None, 'n': '1'} if t < 0.7 else
                      None if t < 0.8 else {'a': '2'})

    def container_patch(self, now):
        q = {'name': now['name']}
        for field, key, make in (('env', 'name', self.env), ('ports', 'containerPort', self.port), ('volumeMounts', 'mountPath', self.mount),
                                 ('volumeDevices', 'devicePath', self.device)):
            if self.chance(0.4):
                self.list_patch(q, field, now.get(field, []), key, make)
        if self.chance(0.1):
            q['args'] = self.r.choice([None, [], ['c']])
        if self.chance(0.1):
            q['resources'] = self.r.choice([{'limits': {'cpu': None}}, {'limits': {'$patch': 'replace', 'memory': '2'}}, {'$patch': 'delete'}, None])
        if self.chance(0.05):
            q['$retainKeys'] = list(q) + self.r.choice([[], ['image']])
        return q

    def patch(self, o):
        kind, p = o['kind'], {}
        if self.chance(0.5):
            m = p['metadata'] = {}
            if self.chance(0.5):
                self.map_patch(m, 'labels')
            if self.chance(0.3):
                self.list_patch(m, 'ownerReferences', o['metadata'].get('ownerReferences', []), 'uid', self.owner)
            # a name is not both given and deleted: which comes first is chance upstream
            names = self.r.sample('abcd', 4)
            if self.chance(0.4):
                m['$deleteFromPrimitiveList/finalizers'] = self.r.choice([['e.com/' + names[0]], ['e.com/' + names[0], 'e.com/' + names[1]], None])
            elif self.chance(0.4):
                m['finalizers'] = ['e.com/' + x for x in names[:self.r.randint(0, 3)]]
                if self.chance(0.4):
                    rest = [f for f in o['metadata'].get('finalizers', []) if f not in m['finalizers'] and self.chance(0.5)]
                    m['$setElementOrder/finalizers'] = m['finalizers'] + rest
        if kind == 'Service':
            p['spec'] = {}
            self.list_patch(p['spec'], 'ports', o['spec']['ports'], 'port', self.service_port)
            if self.chance(0.2):
                self.map_patch(p['spec'], 'selector')
            if self.chance(0.2):
                p['spec']['externalIPs'] = self.r.choice([None, [], ['9.9.9.9']])
        elif kind == 'ServiceAccount':
            for field in ('secrets', 'imagePullSecrets'):
                if self.chance(0.7):
                    self.list_patch(p, field, o.get(field, []), 'name', self.name)
                    if field == 'imagePullSecrets':     # has no merge key there: upstream panics over its order
                        p.pop('$setElementOrder/' + field, None)
        else:
            s = o['spec']['template']['spec']
            q = {}
            for field, make in (('volumes', self.retained), ('imagePullSecrets', self.name), ('hostAliases', self.alias),
                                ('topologySpreadConstraints', self.spread), ('schedulingGates', self.name)):
                if self.chance(0.4):
                    self.list_patch(q, field, s.get(field, []), KEYS[field], make)
            if self.chance(0.2):
                q['tolerations'] = self.r.choice([None, [], [{'key': 'n', 'operator': 'Exists'}]])
            if self.chance(0.2):
                self.map_patch(q, 'nodeSelector')
            for field in ('containers', 'initContainers'):
                cs = [self.container_patch(c) for c in s.get(field, []) if self.chance(0.7)]
                if self.chance(0.15):
                    cs.append(self.container('c9'))
                if self.chance(0.1):
                    cs.append({'name': self.r.choice(['c1', 'i1']), '$patch': 'delete'})
                if cs:
                    q[field] = cs
                if cs and self.chance(0.3):
                    q['$setElementOrder/' + field] = self.order(cs, s.get(field, []), 'name')
            p['spec'] = {'template': {'spec': q}}
            if self.chance(0.2):
                p['spec']['strategy'] = self.r.choice([{'$retainKeys': ['type'], 'type': 'Recreate'}, {'type': 'Recreate', 'rollingUpdate': None},
                                                       {'$retainKeys': ['type'], 'type': 'Recreate', 'rollingUpdate': {}}, None])
        return p

    def retained(self):
        v = self.volume()
        if self.chance(0.5):
            v['$retainKeys'] = list(v)
        return v

    # --- what a person applies next, and what others did meanwhile
    def changed(self, o, make=None):
        """The object with some of it changed (by another that `make` makes), as somebody edits a file or a controller an object."""
        o = copy.deepcopy(o)
        other = (make or self.object)(o['kind'], o['metadata']['name'])

        def walk(now, new):
            for k in sorted(set(now) | set(new)):
                if k in ('apiVersion', 'kind', 'name', 'selector', 'replicas'):
                    continue
                a, b = now.get(k), new.get(k)
                if isinstance(a, dict) and isinstance(b, dict) and k != 'labels':
                    walk(a, b)
                elif isinstance(a, list) and isinstance(b, list):
                    if self.chance(0.5):
                        items = [x for x in a if self.chance(0.8)] + [x for x in b if self.chance(0.4)]
                        if k in ('containers', 'initContainers'):
                            items = list({x['name']: x for x in items}.values()) or a
                            for x, y in zip(items, b):
                                if self.chance(0.7):
                                    walk(x, y)
                        if k == 'ports' and not items:
                            items = a
                        if k == 'finalizers':
                            items = list(dict.fromkeys(items))
                        if self.chance(0.2):
                            self.r.shuffle(items)
                        now[k] = items
                elif self.chance(0.3):
                    if b is None:
                        if k not in ('containers', 'spec', 'template'):
                            now.pop(k)
                    else:
                        now[k] = b
        walk(o, other)
        return o


def split(text):
    """The JSON documents that stand one after another in a text."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def apply_patch(kubectl, folder, objects, patch):
    """What `kubectl patch --local` makes of each object: by name; a name that is not there was refused."""
    os.makedirs(folder, exist_ok=True)
    with open(folder + '/objects.json', 'w') as f:
        json.dump({'apiVersion': 'v1', 'kind': 'List', 'items': objects}, f)
    with open(folder + '/patch.json', 'w') as f:
        json.dump(patch, f)
    p = subprocess.run([kubectl, 'patch', '--local', '-f', folder + '/objects.json', '--type=strategic', '--patch-file', folder + '/patch.json',
                        '-o', 'json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert 'panic:' not in p.stderr, p.stderr[:2000]
    return {o['metadata']['name']: o for o in split(p.stdout)}, p.stderr


class Recorder(http.server.ThreadingHTTPServer):
    """As much of an API server as a client that applies asks for; `live` are its objects by path, `patches` what was sent."""
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.live, self.patches = {}, {}
        self.url = 'http://127.0.0.1:%d' % self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *unused):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        path = self.path.partition('?')[0]
        resources = lambda gv, kinds: {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': gv, 'resources': [
            {'name': PLURAL[k], 'singularName': k.lower(), 'namespaced': True, 'kind': k, 'verbs': ['get', 'patch', 'list', 'create']} for k in kinds]}
        known = {
            '/api': {'kind': 'APIVersions', 'versions': ['v1'], 'serverAddressByClientCIDRs': []},
            '/apis': {'kind': 'APIGroupList', 'apiVersion': 'v1', 'groups': [{'name': 'apps', 'versions': [
                {'groupVersion': 'apps/v1', 'version': 'v1'}], 'preferredVersion': {'groupVersion': 'apps/v1', 'version': 'v1'}}]},
            '/api/v1': resources('v1', ['Service', 'ServiceAccount']), '/apis/apps/v1': resources('apps/v1', ['Deployment']),
            '/version': {'major': '1', 'minor': '36', 'gitVersion': 'v1.36.0'}, **self.server.live}
        if path in known:
            return self.answer(200, known[path])
        self.answer(404, {'kind': 'Status', 'apiVersion': 'v1', 'status': 'Failure', 'reason': 'NotFound', 'code': 404, 'message': path})

    def do_PATCH(self):
        path = self.path.partition('?')[0]
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.patches[path] = json.loads(body)
        self.answer(200, self.server.live[path])


def path_of(o, namespace='default'):
    prefix = '/api/v1' if o['apiVersion'] == 'v1' else '/apis/' + o['apiVersion']
    return '%s/namespaces/%s/%s/%s' % (prefix, namespace, PLURAL[o['kind']], o['metadata']['name'])


LAST = 'kubectl.kubernetes.io/last-applied-configuration'


def computed(argv, env, folder, cases):
    """The patches that a client sends for cases of (last applied, applied now, live), {} where it sends none, None where it
    fails; without the annotation in which it keeps what was applied."""
    os.makedirs(folder, exist_ok=True)
    server = Recorder()
    for last, new, live in cases:
        o = copy.deepcopy(live)
        o['metadata'].update(namespace='default', uid='1', resourceVersion='1', annotations={LAST: json.dumps(last)})
        server.live[path_of(o)] = o
    with open(folder + '/objects.json', 'w') as f:
        json.dump({'apiVersion': 'v1', 'kind': 'List', 'items': [new for _, new, _ in cases]}, f)
    p = subprocess.run([a.replace('SERVER', server.url).replace('FILE', folder + '/objects.json') for a in argv], env=env, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    server.shutdown()
    server.server_close()
    out = []
    for _, new, _ in cases:
        patch = server.patches.get(path_of(new))
        if patch is None and '/%s unchanged' % new['metadata']['name'] in p.stdout:
            patch = {}
        for path in (('metadata', 'annotations', LAST), ('metadata', 'annotations'), ('metadata',)):
            at = patch or {}
            for k in path[:-1]:
                at = at.get(k, {})
            if path[-1] == LAST or at.get(path[-1]) == {}:
                at.pop(path[-1], None)
        out.append(patch)
    return out, p.stdout + p.stderr
