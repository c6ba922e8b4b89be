"""What `kubectl get -o json` prints, asked by this program itself: a test that waits asks often, and each kubectl that is
started costs as much as twenty answers. What kubectl itself does is asked of kubectl."""
import http.client, json, os, threading, urllib.parse

FLAGS = {'-n': 'namespace', '--namespace': 'namespace', '-l': 'labelSelector', '--selector': 'labelSelector', '--field-selector': 'fieldSelector'}


class Getter:
    """Reads as whom tls(path) makes of the kubeconfig at `path`. Any thread may use it: each has a connection of its own."""

    def __init__(self, path, port, tls):
        self.path, self.port, self.tls = path, port, tls
        self.mine, self.kinds, self.context = threading.local(), {}, (None, None)

    def get(self, args):
        """The object or the list that these words of kubectl ask for; None: words that this does not know. What the server
        refuses is an AssertionError with its words, as kubectl's would be."""
        words, query, everywhere = [], {'namespace': 'default'}, False
        rest = [part for a in args for part in (a.split('=', 1) if a.startswith('--') else [a])]
        while rest:
            word = rest.pop(0)
            if word in FLAGS and rest:
                query[FLAGS[word]] = rest.pop(0)
            elif word in ('-A', '--all-namespaces'):
                everywhere = True
            elif word.startswith('-'):
                return None
            else:
                words.append(word)
        if len(words) == 1 and words[0].count('/') == 1:
            words = words[0].split('/')
        if not 1 <= len(words) <= 2 or ',' in words[0] or '/' in ''.join(words) or len(words) == 2 and (everywhere or len(query) > 1):
            return None
        kind = self.kind_of(words[0].lower())
        if not kind:
            return None
        base, plural, namespaced = kind
        namespace = query.pop('namespace')
        path = base + ('/namespaces/' + namespace if namespaced and not everywhere else '') + '/' + '/'.join([plural] + words[1:])
        got = self.read(path + ('?' + urllib.parse.urlencode(query) if query else ''))
        for o in got.get('items', [got]):
            o['metadata'].pop('managedFields', None)
        if 'items' in got:
            for o in got['items']:
                o.setdefault('kind', got['kind'].removesuffix('List'))
                o.setdefault('apiVersion', got['apiVersion'])
        return got

    def kind_of(self, word):
        """(path of its group and version, plural, whether it has namespaces) of a name of a kind."""
        if word not in self.kinds:                              # it may have come meanwhile
            kinds = {}
            for root, aggregated in (('/api', self.discovery('/api')), ('/apis', self.discovery('/apis'))):
                for group in aggregated['items']:
                    name = group['metadata'].get('name', '')
                    for i, version in enumerate(group['versions']):
                        base = '/'.join([root] + [name] * bool(name) + [version['version']])
                        for r in version.get('resources', []):
                            what = base, r['resource'], r['scope'] == 'Namespaced'
                            names = [r['resource'], r.get('singularResource'), (r.get('responseKind') or {}).get('kind', '').lower(), *r.get('shortNames', [])]
                            for n in filter(None, names):
                                kinds.setdefault('%s.%s.%s' % (n, version['version'], name), what)
                                if not i:                       # the preferred version
                                    kinds.setdefault('%s.%s' % (n, name), what)
                                    kinds.setdefault(n, what)
            self.kinds = kinds
        return self.kinds.get(word)

    def discovery(self, path):
        return self.read(path, 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList')

    def read(self, path, accept='application/json'):
        for last in (False, True):
            had = getattr(self.mine, 'connection', None)
            try:
                if not had:
                    changed = os.stat(self.path).st_mtime_ns
                    if self.context[0] != changed:
                        self.context = changed, self.tls(self.path)
                    self.mine.connection = http.client.HTTPSConnection('127.0.0.1', self.port, context=self.context[1], timeout=60)
                self.mine.connection.request('GET', path, headers={'Accept': accept, 'User-Agent': 'wherry-tests'})
                answer = self.mine.connection.getresponse()
                body = answer.read()
                break
            except (OSError, http.client.HTTPException) as e:
                if getattr(self.mine, 'connection', None):
                    self.mine.connection.close()
                self.mine.connection = None
                if last or not had or isinstance(e, TimeoutError):      # one that was open may have been closed since
                    raise AssertionError('GET %s: %s' % (path, e)) from e
        try:
            said = json.loads(body)
        except ValueError:
            said = {'message': body.decode(errors='replace')}
        if answer.status != 200:
            raise AssertionError('GET %s: exit 1\nError from server (%s): %s' % (path, said.get('reason'), said.get('message')))
        return said
