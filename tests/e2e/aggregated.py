"""An extension API server for tests, in the standard library alone: it serves wardle.example.com/v1alpha1 with one kind,
Flunder, and (where asked for) metrics.k8s.io/v1beta1, behind an APIService. It trusts who comes with a certificate of the
front proxy's authority, and otherwise asks the API server: TokenReview for who it is, SubjectAccessReview for what they may.
What goes wrong with it can be chosen: `fault`.

As a program: aggregated.py CERTIFICATE KEY ADDRESS PORT, in a pod with a service account."""
import base64, hashlib, http.server, json, os, socket, ssl, struct, sys, tempfile, threading, time, urllib.error, urllib.parse, urllib.request

GROUP, VERSION = 'wardle.example.com', 'v1alpha1'
API_VERSION = GROUP + '/' + VERSION
KIND = {'group': GROUP, 'version': VERSION, 'kind': 'Flunder'}
VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
ROOM = '/var/run/secrets/kubernetes.io/serviceaccount/'
META = 'io.k8s.apimachinery.pkg.apis.meta.v1.'
FLUNDER = 'com.example.wardle.v1alpha1.Flunder'


class Status(Exception):
    def __init__(self, code, reason, message, **more):
        super().__init__(message)
        self.code, self.body = code, dict({'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Failure', 'message': message, 'reason': reason, 'code': code}, **more)


class Api:
    """The API server that this one belongs to, asked as its service account."""

    def __init__(self, url, ca, token):
        self.url, self.token = url, token
        self.tls = ssl.create_default_context(cadata=ca)

    def ask(self, method, path, body=None):
        r = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, {'Authorization': 'Bearer ' + self.token, 'Content-Type': 'application/json', 'User-Agent': 'wardle'}, method=method)
        with urllib.request.urlopen(r, context=self.tls, timeout=10) as answer:
            return json.load(answer)


def in_pod():
    with open(ROOM + 'ca.crt') as ca, open(ROOM + 'token') as token:
        return Api('https://%s:%s' % (os.environ['KUBERNETES_SERVICE_HOST'], os.environ['KUBERNETES_SERVICE_PORT']), ca.read(), token.read())


# --- what it says of itself ---

def gvk(kind, group='', version='v1'):
    return {'group': group, 'version': version, 'kind': kind}


def operation(action, scope_id, body=None, answer=FLUNDER, parameters=()):
    return {'description': action, 'operationId': action + scope_id, 'action': action, 'body': body, 'answer': answer, 'parameters': list(parameters)}


def operations(server):
    """path -> method -> operation, of which the documents of both versions are written."""
    checks = ['dryRun', 'fieldManager'] + (['fieldValidation'] if server.validates else [])
    base = '/apis/%s/namespaces/{namespace}/flunders' % API_VERSION
    return {
        '/apis/%s/' % API_VERSION: {'get': operation('get', 'WardleResources', answer=META + 'APIResourceList')},
        '/apis/%s/flunders' % API_VERSION: {'get': operation('list', 'FlunderForAllNamespaces', answer=FLUNDER + 'List')},
        base: {'get': operation('list', 'NamespacedFlunder', answer=FLUNDER + 'List'), 'post': operation('post', 'NamespacedFlunder', FLUNDER, parameters=checks)},
        base + '/{name}': {'get': operation('get', 'NamespacedFlunder'), 'put': operation('put', 'NamespacedFlunder', FLUNDER, parameters=checks),
                           'patch': operation('patch', 'NamespacedFlunder', META + 'Patch', parameters=checks), 'delete': operation('delete', 'NamespacedFlunder', answer=META + 'Status')}}


def schemas(server, ref):
    """The server's own ObjectMeta differs from that of the API server, as that of another release does."""
    to = lambda name: {'$ref': ref + name}
    return {
        FLUNDER: {'description': 'A flunder, which flunds.', 'type': 'object', 'x-kubernetes-group-version-kind': [KIND], 'properties': {
            'apiVersion': {'type': 'string', 'description': 'Version of this object.'}, 'kind': {'type': 'string', 'description': 'Kind of this object.'},
            'metadata': to(META + 'ObjectMeta'), 'spec': to(FLUNDER + 'Spec'), 'status': {'type': 'object', 'description': 'What became of it.'}}},
        FLUNDER + 'Spec': {'description': server.words, 'type': 'object', 'properties': {
            'reference': {'type': 'string', 'description': 'The name of what this one refers to.'}, 'size': {'type': 'integer', 'format': 'int32', 'description': 'How large it is.'}}},
        FLUNDER + 'List': {'description': 'Flunders.', 'type': 'object', 'required': ['items'], 'x-kubernetes-group-version-kind': [dict(KIND, kind='FlunderList')], 'properties': {
            'apiVersion': {'type': 'string'}, 'kind': {'type': 'string'}, 'metadata': to(META + 'ListMeta'), 'items': {'type': 'array', 'items': to(FLUNDER)}}},
        META + 'ObjectMeta': {'description': 'Metadata as wardle has it.', 'type': 'object', 'properties': {
            'name': {'type': 'string'}, 'namespace': {'type': 'string'}, 'labels': {'type': 'object', 'additionalProperties': {'type': 'string'}},
            'annotations': {'type': 'object', 'additionalProperties': {'type': 'string'}}}},
        META + 'ListMeta': {'type': 'object', 'properties': {'resourceVersion': {'type': 'string'}}},
        META + 'Patch': {'type': 'object'},
        META + 'Status': {'type': 'object', 'properties': {'message': {'type': 'string'}}, 'x-kubernetes-group-version-kind': [gvk('Status')]},
        META + 'APIResourceList': {'type': 'object', 'properties': {'groupVersion': {'type': 'string'}}},
        'com.example.wardle.Unused': {'type': 'object'}}


def open_api(server, two):
    ref = '#/definitions/' if two else '#/components/schemas/'
    paths = {}
    for path, methods in operations(server).items():
        item = paths[path] = {}
        if '{' in path:
            names = [n for n in ('name', 'namespace') if '{%s}' % n in path]
            item['parameters'] = [dict({'name': n, 'in': 'path', 'required': True, 'uniqueItems': True}, **({'type': 'string'} if two else {'schema': {'type': 'string'}})) for n in names]
            if two:
                item['parameters'].append({'$ref': '#/parameters/pretty-wardle'})
        for method, o in methods.items():
            said = item[method] = {'description': o['description'], 'operationId': o['operationId'], 'x-kubernetes-action': o['action'], 'x-kubernetes-group-version-kind': KIND, 'parameters': [
                dict({'name': n, 'in': 'query', 'uniqueItems': True}, **({'type': 'string'} if two else {'schema': {'type': 'string'}})) for n in o['parameters']]}
            schema = {'$ref': ref + o['answer']}
            if two:
                said['produces'] = said['consumes'] = ['application/json']
                said['responses'] = {'200': {'description': 'OK', 'schema': schema}}
                if o['body']:
                    said['parameters'].append({'name': 'body', 'in': 'body', 'required': True, 'schema': {'$ref': ref + o['body']}})
            else:
                said['responses'] = {'200': {'description': 'OK', 'content': {'application/json': {'schema': schema}}}}
                kinds = ['application/merge-patch+json', 'application/json-patch+json'] if method == 'patch' else ['application/json']
                if o['body']:
                    said['requestBody'] = {'required': True, 'content': {k: {'schema': {'$ref': ref + o['body']}} for k in kinds}}
    if not two:
        return {'openapi': '3.0.0', 'info': {'title': 'Wardle', 'version': 'v1alpha1'}, 'paths': paths, 'components': {'schemas': schemas(server, ref)}}
    paths['/healthz/'] = {'get': {'description': 'health', 'responses': {'200': {'description': 'OK', 'schema': {'$ref': ref + 'com.example.wardle.Unused'}}}}}
    paths['/apis/elsewhere.example.com/v1/things'] = {'get': {'description': 'not its own', 'responses': {'200': {'description': 'OK'}}}}
    return {'swagger': '2.0', 'info': {'title': 'Wardle', 'version': 'v1alpha1'}, 'paths': paths, 'definitions': schemas(server, ref),
            'parameters': {'pretty-wardle': {'name': 'pretty', 'in': 'query', 'type': 'string', 'description': 'As wardle prints it.'}}}


def resources():
    return [{'name': 'flunders', 'singularName': 'flunder', 'namespaced': True, 'kind': 'Flunder', 'verbs': VERBS, 'shortNames': ['fl'], 'categories': ['all']},
            {'name': 'flunders/echo', 'singularName': '', 'namespaced': True, 'kind': 'Flunder', 'verbs': ['get']}]


def aggregated_discovery(version):
    return {'kind': 'APIGroupDiscoveryList', 'apiVersion': 'apidiscovery.k8s.io/' + version, 'metadata': {}, 'items': [{'metadata': {'name': GROUP, 'creationTimestamp': None}, 'versions': [{
        'version': VERSION, 'freshness': 'Current', 'resources': [{
            'resource': 'flunders', 'responseKind': KIND, 'scope': 'Namespaced', 'singularResource': 'flunder', 'verbs': VERBS, 'shortNames': ['fl'], 'categories': ['all'],
            'subresources': [{'subresource': 'echo', 'responseKind': KIND, 'verbs': ['get']}]}]}]}]}


def node_metrics(name):
    return {'metadata': {'name': name, 'creationTimestamp': '2026-01-01T00:00:00Z'}, 'timestamp': '2026-01-01T00:00:00Z', 'window': '15s', 'usage': {'cpu': '250m', 'memory': '512Mi'}}


def table(objects, more):
    rows = [{'cells': [o['metadata']['name'], o.get('spec', {}).get('reference', ''), o['metadata']['creationTimestamp']],
             'object': {'kind': 'PartialObjectMetadata', 'apiVersion': 'meta.k8s.io/v1', 'metadata': o['metadata']}} for o in objects]
    columns = [{'name': n, 'type': 'string', 'format': f, 'description': n, 'priority': 0} for n, f in (('Name', 'name'), ('Refers To', ''), ('Since', ''))]
    return {'kind': 'Table', 'apiVersion': 'meta.k8s.io/v1', 'metadata': more, 'columnDefinitions': columns, 'rows': rows}


def merged(old, patch):
    if not isinstance(patch, dict):
        return patch
    out = dict(old) if isinstance(old, dict) else {}
    for k, v in patch.items():
        if v is None:
            out.pop(k, None)
        else:
            out[k] = merged(out.get(k), v)
    return out


class Wardle:
    """fault: path -> what goes wrong there and below: 'garbage', '500', '503', 'huge' (64 MB), 'dies' (in the middle), 'cut' (at
    once), or seconds to be slow. asked: (method, path, user, user agent) of every request that was authenticated."""

    def __init__(self, api, cert, address='127.0.0.1', port=0, aggregates=True, validates=True, metrics=False, open_api_three=True, delegates=True):
        self.api, self.cert, self.address, self.port = api, cert, address, port
        self.aggregates, self.validates, self.metrics, self.open_api_three, self.delegates = aggregates, validates, metrics, open_api_three, delegates
        self.words = 'What a flunder is to be.'
        self.fault, self.asked, self.headers, self.objects, self.revision = {}, [], [], {}, 1
        self.changed, self.history, self.connections = threading.Condition(), [], 0
        config = api.ask('GET', '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication')['data']
        self.names = json.loads(config['requestheader-allowed-names'])
        self.header = {k: json.loads(config['requestheader-%s' % k]) for k in ('username-headers', 'group-headers', 'extra-headers-prefix')}
        self.uid_headers = json.loads(config.get('requestheader-uid-headers', '[]'))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*cert)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(cadata=config['requestheader-client-ca-file'])
        self.server = None
        self.start()

    def start(self):
        wardle = self

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size, open = True, 256, set()

            def process_request_thread(self, request, client):
                try:
                    request.settimeout(60)
                    wrapped = wardle.context.wrap_socket(request, server_side=True)
                    wardle.connections += 1
                    self.open.add(wrapped)
                    super().process_request_thread(wrapped, client)
                    self.open.discard(wrapped)
                except (OSError, ssl.SSLError):
                    request.close()

            def handle_error(self, *unused):
                pass

        Server.open = set()
        self.server = Server((self.address, self.port), type('Bound', (Handler,), {'wardle': self}))
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def stop(self):
        """Down: nothing listens, and what was open is cut."""
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        for s in list(self.server.open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server = None

    def fault_at(self, path):
        return next((f for p, f in self.fault.items() if path.startswith(p)), None)

    def put(self, key, o, kind):
        with self.changed:
            self.revision += 1
            o['metadata']['resourceVersion'] = str(self.revision)
            if kind == 'DELETED':
                self.objects.pop(key, None)
            else:
                self.objects[key] = o
            self.history.append((self.revision, key, kind, json.loads(json.dumps(o))))
            self.changed.notify_all()
        return o


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wardle = None

    def log_message(self, *unused):
        pass

    # --- who and whether ---

    def authenticate(self):
        w, peer = self.wardle, self.connection.getpeercert()
        if peer:
            name = next((v for rdn in peer['subject'] for k, v in rdn if k == 'commonName'), '')
            user = next((self.headers[h] for h in w.header['username-headers'] if self.headers[h]), None)
            if user and (not w.names or name in w.names):
                groups = [g for h in w.header['group-headers'] for g in self.headers.get_all(h, [])]
                extra = {}
                for k, v in self.headers.items():
                    for prefix in w.header['extra-headers-prefix']:
                        if k.lower().startswith(prefix.lower()):
                            extra.setdefault(urllib.parse.unquote(k[len(prefix):].lower()), []).append(v)
                uid = next((self.headers[h] for h in w.uid_headers if self.headers[h]), '')
                return {'username': user, 'groups': groups, 'extra': extra, 'uid': uid}
        bearer = self.headers['Authorization'] or ''
        if bearer.startswith('Bearer '):
            review = w.api.ask('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': {'token': bearer[7:]}})
            if review['status'].get('authenticated'):
                return review['status']['user']
            raise Status(401, 'Unauthorized', 'Unauthorized')
        return {'username': 'system:anonymous', 'groups': ['system:unauthenticated'], 'extra': {}}

    def authorize(self, user, verb, path, ns='', name='', sub='', resource=''):
        if not self.wardle.delegates or 'system:masters' in user.get('groups', []) or path in ('/healthz', '/livez', '/readyz'):
            return
        spec = {'user': user['username'], 'groups': user.get('groups', []), 'extra': user.get('extra', {})}
        if resource:
            spec['resourceAttributes'] = {'verb': verb, 'namespace': ns, 'name': name, 'resource': resource, 'subresource': sub, 'group': GROUP, 'version': VERSION}
        else:
            spec['nonResourceAttributes'] = {'verb': verb, 'path': path}
        review = self.wardle.api.ask('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': spec})
        if not review['status']['allowed']:
            what = 'cannot %s resource "%s" in API group "%s" in the namespace "%s"' % (verb, resource, GROUP, ns) if resource else 'cannot %s path "%s"' % (verb, path)
            raise Status(403, 'Forbidden', 'wardle: User "%s" %s' % (user['username'], what))

    # --- answers ---

    def say(self, code, body, content_type='application/json', **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', content_type)
        self.send_header('Content-Length', str(len(data)))
        for k, v in headers.items():
            self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(data)

    def document(self, body, content_type='application/json', vary=''):
        """With its ETag, and 304 for who has it."""
        data = json.dumps(body).encode()
        tag = '"%s"' % hashlib.sha256(data + vary.encode()).hexdigest().upper()
        if self.headers['If-None-Match'] == tag:
            self.send_response(304)
            self.send_header('ETag', tag)
            self.end_headers()
        else:
            self.say(200, data, content_type, ETag=tag, Vary='Accept')

    def misbehave(self, fault):
        """True: the request is dealt with."""
        if isinstance(fault, (int, float)):
            time.sleep(fault)
            return False
        if fault == 'garbage':
            self.say(200, b'\x00\xffthis is no JSON {{{')
        elif fault in ('500', '503'):
            self.say(int(fault), b'wardle is ill', 'text/plain')
        elif fault == 'huge':
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(64 << 20))
            self.end_headers()
            for _ in range(64):
                self.wfile.write(b' ' * (1 << 20))
        elif fault == 'dies':
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', '1000')
            self.end_headers()
            self.wfile.write(b'{"kind":"FlunderList",')
            self.close_connection = True
        elif fault == 'cut':
            self.close_connection = True
        return True

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        path, query = url.path, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        length = int(self.headers['Content-Length'] or 0)
        if self.headers['Transfer-Encoding'] == 'chunked':
            self.body = b''
            while True:
                n = int(self.rfile.readline().split(b';')[0], 16)
                self.body += self.rfile.read(n)
                self.rfile.readline()
                if not n:
                    break
        else:
            self.body = self.rfile.read(length) if length else b''
        try:
            fault = self.wardle.fault_at(path)
            if fault is not None and self.misbehave(fault):
                return
            user = self.authenticate()
            self.wardle.asked.append((self.command, path, user, self.headers['User-Agent']))
            self.route(user, path, query)
        except Status as e:
            self.say(e.code, e.body)
        except urllib.error.URLError as e:
            self.say(500, Status(500, 'InternalError', 'wardle cannot ask the API server: %s' % e).body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_one

    def route(self, user, path, query):
        parts, w = path.strip('/').split('/'), self.wardle
        if parts[0] == 'apis' and len(parts) > 3 and '/'.join(parts[1:3]) == API_VERSION:
            return self.flunders(user, path, parts[3:], query)
        self.authorize(user, 'get', path)
        if w.metrics and path.startswith('/apis/metrics.k8s.io'):
            return self.metrics(path)
        accept = self.headers['Accept'] or ''
        pages = {'/healthz': b'ok', '/livez': b'ok', '/readyz': b'ok'}
        if path in pages:
            self.say(200, pages[path], 'text/plain')
        elif path == '/apis' and w.aggregates and 'g=apidiscovery.k8s.io' in accept:
            version = 'v2' if 'v=v2;' in accept + ';' or 'v=v2,' in accept else 'v2beta1'
            self.document(aggregated_discovery(version), 'application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList' % version)
        elif path in ('/apis', '/apis/' + GROUP):
            entry = {'groupVersion': API_VERSION, 'version': VERSION}
            group = {'name': GROUP, 'versions': [entry], 'preferredVersion': entry}
            self.say(200, {'kind': 'APIGroupList', 'apiVersion': 'v1', 'groups': [group]} if path == '/apis' else dict({'kind': 'APIGroup', 'apiVersion': 'v1'}, **group))
        elif path == '/apis/' + API_VERSION:
            self.say(200, {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': API_VERSION, 'resources': resources()})
        elif path == '/openapi/v2':
            self.document(open_api(w, True))
        elif path == '/openapi/v3' and w.open_api_three:
            three = json.dumps(open_api(w, False)).encode()
            self.say(200, {'paths': {'apis/' + API_VERSION: {'serverRelativeURL': '/openapi/v3/apis/%s?hash=%s' % (API_VERSION, hashlib.sha256(three).hexdigest().upper())}}})
        elif path == '/openapi/v3/apis/' + API_VERSION and w.open_api_three:
            self.document(open_api(w, False))
        else:
            self.say(404, b'404 page not found\n', 'text/plain; charset=utf-8')

    def metrics(self, path):
        base, nodes = '/apis/metrics.k8s.io/v1beta1', [n['metadata']['name'] for n in self.wardle.api.ask('GET', '/api/v1/nodes')['items']]
        kind = {'apiVersion': 'metrics.k8s.io/v1beta1', 'kind': 'NodeMetrics'}
        if path == base:
            self.say(200, {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': 'metrics.k8s.io/v1beta1', 'resources': [
                {'name': 'nodes', 'singularName': '', 'namespaced': False, 'kind': 'NodeMetrics', 'verbs': ['get', 'list']}]})
        elif path == base + '/nodes':
            self.say(200, {'apiVersion': kind['apiVersion'], 'kind': 'NodeMetricsList', 'metadata': {}, 'items': [dict(kind, **node_metrics(n)) for n in nodes]})
        elif path.startswith(base + '/nodes/') and path.rsplit('/', 1)[1] in nodes:
            self.say(200, dict(kind, **node_metrics(path.rsplit('/', 1)[1])))
        else:
            self.say(404, Status(404, 'NotFound', 'the server could not find the requested resource').body)

    # --- flunders ---

    def flunders(self, user, path, parts, query):
        w, ns = self.wardle, ''
        if parts[0] == 'namespaces' and len(parts) > 2:
            ns, parts = parts[1], parts[2:]
        if parts[0] != 'flunders':
            raise Status(404, 'NotFound', 'the server could not find the requested resource')
        name, sub = (parts + ['', ''])[1:3]
        watches = query.get('watch') in ('true', '1')
        verb = {'GET': 'get' if name else 'watch' if watches else 'list', 'POST': 'create', 'PUT': 'update', 'PATCH': 'patch', 'DELETE': 'delete' if name else 'deletecollection'}.get(self.command, 'get')
        self.authorize(user, verb, path, ns, name, sub, 'flunders')
        if sub == 'echo':
            return self.echo()
        if verb in ('list', 'watch', 'deletecollection'):
            return getattr(self, 'verb_' + verb)(ns, query)
        if verb == 'create':
            return self.verb_create(ns, query)
        have = w.objects.get((ns, name))
        if not have:
            raise Status(404, 'NotFound', 'flunders.%s "%s" not found' % (GROUP, name), details={'name': name, 'group': GROUP, 'kind': 'flunders'})
        getattr(self, 'verb_' + verb)(ns, name, have, query)

    def wants_table(self):
        return 'as=Table' in (self.headers['Accept'] or '')

    def one(self, code, o):
        self.say(code, table([o], {'resourceVersion': o['metadata']['resourceVersion']}) if self.wants_table() else o)

    def matching(self, ns, query):
        wanted = [s.split('=') for s in query.get('labelSelector', '').split(',') if s]
        named = dict(s.split('=') for s in query.get('fieldSelector', '').split(',') if s).get('metadata.name')
        return lambda key, o: (not ns or key[0] == ns) and all(o['metadata'].get('labels', {}).get(k) == v for k, v in wanted) and (not named or key[1] == named)

    def verb_list(self, ns, query):
        matches = self.matching(ns, query)
        with self.wardle.changed:
            items = [o for k, o in sorted(self.wardle.objects.items()) if matches(k, o)]
            meta = {'resourceVersion': str(self.wardle.revision)}
        self.say(200, table(items, meta) if self.wants_table() else {'apiVersion': API_VERSION, 'kind': 'FlunderList', 'metadata': meta, 'items': items})

    def verb_watch(self, ns, query):
        matches, w, seen = self.matching(ns, query), self.wardle, int(query.get('resourceVersion') or 0)
        end = time.monotonic() + float(query.get('timeoutSeconds') or 60)
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        with w.changed:
            told = [('ADDED', o) for k, o in sorted(w.objects.items()) if matches(k, o)] if not seen else []
            seen = seen or w.revision
        while True:
            for kind, o in told:
                line = json.dumps({'type': kind, 'object': table([o], {}) if self.wants_table() else o}).encode() + b'\n'
                self.wfile.write(b'%x\r\n%s\r\n' % (len(line), line))
            with w.changed:
                while time.monotonic() < end and w.revision <= seen and w.server:
                    w.changed.wait(min(0.2, max(0, end - time.monotonic())))
                told = [(kind, o) for rev, k, kind, o in w.history if rev > seen and matches(k, o)]
                seen = w.revision
            if not told and (time.monotonic() >= end or not w.server):
                break
        self.wfile.write(b'0\r\n\r\n')

    def read_body(self):
        if 'json' not in (self.headers['Content-Type'] or 'application/json'):
            raise Status(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - accepted media types include: application/json')
        try:
            return json.loads(self.body)
        except ValueError as e:
            raise Status(400, 'BadRequest', 'wardle cannot read this: %s' % e)

    def checked(self, o, query):
        """Strict decoding, as far as the test needs it."""
        unknown = [k for k in o.get('spec', {}) if k not in ('reference', 'size')]
        if unknown and self.wardle.validates and query.get('fieldValidation') == 'Strict':
            raise Status(400, 'BadRequest', 'Flunder in version "v1alpha1" cannot be handled as a Flunder: strict decoding error: ' + ', '.join('unknown field "spec.%s"' % k for k in unknown))
        return o

    def verb_create(self, ns, query):
        o = self.checked(self.read_body(), query)
        meta = o.setdefault('metadata', {})
        if not meta.get('name'):
            meta['name'] = meta.get('generateName', '') + os.urandom(3).hex()
        if (ns, meta['name']) in self.wardle.objects:
            raise Status(409, 'AlreadyExists', 'flunders.%s "%s" already exists' % (GROUP, meta['name']), details={'name': meta['name'], 'group': GROUP, 'kind': 'flunders'})
        o.update(apiVersion=API_VERSION, kind='Flunder')
        meta.update(namespace=ns, uid='%s-0000-4000-8000-%s' % (os.urandom(4).hex(), os.urandom(6).hex()), creationTimestamp=time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))
        if 'dryRun' in query:
            meta['resourceVersion'] = '0'
            return self.one(201, o)
        self.one(201, self.wardle.put((ns, meta['name']), o, 'ADDED'))

    def verb_get(self, ns, name, have, query):
        self.one(200, have)

    def changed(self, ns, name, have, o, query):
        for k in ('uid', 'creationTimestamp', 'namespace', 'name'):
            o['metadata'][k] = have['metadata'][k]
        self.one(200, o if 'dryRun' in query else self.wardle.put((ns, name), self.checked(o, query), 'MODIFIED'))

    def verb_update(self, ns, name, have, query):
        o = self.read_body()
        if o['metadata'].get('resourceVersion') not in (None, '', have['metadata']['resourceVersion']):
            raise Status(409, 'Conflict', 'Operation cannot be fulfilled on flunders.%s "%s": the object has been modified; please apply your changes to the latest version and try again' % (GROUP, name))
        self.changed(ns, name, have, o, query)

    def verb_patch(self, ns, name, have, query):
        if self.headers['Content-Type'] != 'application/merge-patch+json':
            raise Status(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - accepted media types include: application/merge-patch+json')
        self.changed(ns, name, have, merged(json.loads(json.dumps(have)), self.read_body()), query)

    def verb_delete(self, ns, name, have, query):
        self.wardle.put((ns, name), dict(have, metadata=dict(have['metadata'])), 'DELETED')
        self.say(200, {'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Success', 'details': {'name': name, 'group': GROUP, 'kind': 'flunders', 'uid': have['metadata']['uid']}})

    def verb_deletecollection(self, ns, query):
        matches = self.matching(ns, query)
        for k, o in [(k, o) for k, o in self.wardle.objects.items() if matches(k, o)]:
            self.wardle.put(k, dict(o, metadata=dict(o['metadata'])), 'DELETED')
        self.say(200, {'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Success'})

    def echo(self):
        """A WebSocket (RFC 6455) that says back every message until it is closed."""
        if (self.headers['Upgrade'] or '').lower() != 'websocket':
            raise Status(400, 'BadRequest', 'wardle: this wants an upgrade to WebSocket')
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101)
        self.send_header('Upgrade', 'websocket')
        self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        if self.headers['Sec-WebSocket-Protocol']:
            self.send_header('Sec-WebSocket-Protocol', self.headers['Sec-WebSocket-Protocol'].split(',')[0].strip())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            n = head[1] & 127
            n = struct.unpack('>H', self.rfile.read(2))[0] if n == 126 else struct.unpack('>Q', self.rfile.read(8))[0] if n == 127 else n
            mask = self.rfile.read(4) if head[1] & 128 else b'\0' * 4
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(n)))
            size = bytes([n]) if n < 126 else b'\x7e' + struct.pack('>H', n) if n < 1 << 16 else b'\x7f' + struct.pack('>Q', n)
            self.wfile.write(head[:1] + size + data)
            if head[0] & 15 == 8:
                return


if __name__ == '__main__':
    Wardle(in_pod(), sys.argv[1:3], sys.argv[3], int(sys.argv[4]))
    threading.Event().wait()
