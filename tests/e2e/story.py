"""Stories: what a client sees of a pod from its beginning to its end, write by write, as files of tests/stories hold it.

A file has sections, each begun by a line "== NAME":
  == manifest      YAML, given to kubectl create; a story may have several, and `create N` in its play names one
  == play          what is done, a line each (verbs: the methods of Play)
  == pod NAME      the documents of that pod as a watch delivers them. "+", "~" or "-" (ADDED, MODIFIED, DELETED) with the
                   columns STATUS READY RESTARTS of kubectl, then the fields that differ from the document before, one a
                   line: PATH = VALUE, or PATH gone. "?~" may be missing: whether it is written alone depends on timing.
                   "..." at the end: what comes then is another story.
  == answers       what kubectl and programs inside said: "$ STEP" of the play, then its lines
  == events        TYPE REASON OBJECT{CONTAINER} "MESSAGE" in order of first appearance; "?" as above

Times, ids and addresses are their kind in brackets: <time>, <id>, <ip>. Elements of lists are called by their name or type. A pod
with a generated name is called by its number: j-<1>, j-<2> in the order of their coming."""
import difflib, glob, http.client, json, os, re, signal, threading, time

SIGNS = {'ADDED': '+', 'MODIFIED': '~', 'DELETED': '-'}
TIMES = ('startedAt', 'finishedAt', 'startTime', 'deletionTimestamp')
DROPPED = ('lastTransitionTime', 'lastProbeTime')


def plain(text, ns):
    """A text without what differs from run to run."""
    text = re.sub(r'\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b', '<uid>', text)
    text = re.sub(r'\b\d+\.\d+\.\d+\.\d+(?=[:/ "\t]|$)(:\d+(?=->))?', '<ip>', text)
    text = re.sub(r'( to )\S+"$', r'\1<node>"', text) if text.startswith('"Successfully assigned') else text
    text = re.sub(r'( on node )\S+"$', r'\1<node>"', text) if text.startswith('"Preempted by') else text
    text = re.sub(r'kube-api-access-[a-z0-9]+', 'kube-api-access-<id>', text)
    text = re.sub(r'(used|capacity): \d+', r'\1: <n>', text)
    return text.replace(ns, '<ns>')


def flat(value, ns, path='', key=''):
    """PATH -> VALUE of a document, normalised."""
    if isinstance(value, dict):
        if not value and path:
            return {path: '{}'}
        out = {}
        for k, v in value.items():
            if k not in DROPPED:
                out.update(flat(v, ns, path + '.' + k if path else k, k))
        return out
    if isinstance(value, list):
        out = {}
        named = [v.get('type') or v.get('name') for v in value if isinstance(v, dict)]
        if named and all(named):
            named = [plain(n, ns) for n in named]
            out[path] = ' '.join(named)
            for name, v in zip(named, value):
                out.update(flat({k: x for k, x in v.items() if k not in ('name', 'type')}, ns, '%s[%s]' % (path, name)))
        else:
            out[path] = plain(json.dumps(value), ns)
        return out
    if key in TIMES:
        return {path: '<time>'}
    if key in ('containerID', 'imageID'):
        return {path: '<id>' if value else '""'}
    if key == 'nominatedNodeName':
        return {path: '"<node>"'}
    if key in ('podIP', 'hostIP', 'ip'):
        return {path: '<ip>'}
    return {path: plain(json.dumps(value, ensure_ascii=False), ns)}


def document(pod, ns):
    meta = {k: pod['metadata'][k] for k in ('deletionTimestamp', 'deletionGracePeriodSeconds', 'finalizers', 'generation')
            if k in pod['metadata']}
    node = {'spec': {'nodeName': '<node>'}} if pod['spec'].get('nodeName') else {}
    return flat({'metadata': meta, **node, **pod.get('status', {})}, ns)


class Seen:
    """One document: what happened, kubectl's columns, the fields."""

    def __init__(self, sign, columns, fields, optional=False):
        self.sign, self.columns, self.fields, self.optional = sign, columns, fields, optional

    def __eq__(self, other):
        return (self.sign, self.columns, self.fields) == (other.sign, other.columns, other.fields)

    def lines(self, before):
        yield '%s%s %s' % ('?' if self.optional else '', self.sign, self.columns)
        for k, v in self.fields.items():
            if not before or before.fields.get(k) != v:
                yield '    %s = %s' % (k, v)
        for k in before.fields if before else ():
            if k not in self.fields:
                yield '    %s gone' % k


END = Seen('...', '', {}, True)


def write_documents(documents):
    out, before = [], None
    for d in documents:
        out += d.lines(before)
        before = d
    return '\n'.join(out)


def read_documents(text):
    out, fields = [], {}
    for line in text.splitlines():
        if line == '...':
            out.append(END)
        elif not line.startswith('    '):
            mark, columns = line.split(' ', 1)
            fields = dict(fields)
            out.append(Seen(mark.lstrip('?'), columns, fields, mark.startswith('?')))
        elif ' = ' in line:
            k, v = line.strip().split(' = ', 1)
            fields[k] = v
        else:
            del fields[line.strip()[:-len(' gone')]]
    return out


def difference(wanted, seen):
    """How what was seen departs from the story; '' where it does not. Optional documents may be missing."""
    i = 0
    for d in seen:
        at = i
        while at < len(wanted) and wanted[at] != d and wanted[at].optional and wanted[at] != END:
            at += 1
        if at == len(wanted) or (wanted[at] != d and wanted[-1] == END and all(w.optional for w in wanted[i:])):
            if wanted and wanted[-1] == END:
                return ''
            return 'after the end of the story:\n' + '\n'.join(d.lines(wanted[-1] if wanted else None))
        if wanted[at] != d:
            w = wanted[i]
            return 'document %d: wanted %s %s, seen %s %s\n' % (i + 1, w.sign, w.columns, d.sign, d.columns) + '\n'.join(
                '    %s: wanted %s, seen %s' % (k, w.fields.get(k, 'nothing'), d.fields.get(k, 'nothing'))
                for k in sorted(set(w.fields) | set(d.fields)) if w.fields.get(k) != d.fields.get(k))
        i = at + 1
    rest = [d for d in wanted[i:] if not d.optional]
    return 'not seen: %s %s' % (rest[0].sign, rest[0].columns) if rest else ''


def event_difference(wanted, seen):
    """Each wanted event in the order of its object and container, the scheduler's apart: it tells beside the node; no others."""
    need = [e for e in wanted if not e.startswith('?')]
    known = [e.lstrip('?') for e in wanted]
    for e in seen:
        if e not in known:
            return 'event that is not in the story: ' + e
    for e in need:
        if e not in seen:
            return 'event not seen: ' + e
    place = lambda e: (e.split()[1] in ('Scheduled', 'FailedScheduling'), e.split('"')[0].split()[2])
    for p in {place(e) for e in need}:
        a, b = [e for e in need if place(e) == p], [e for e in seen if place(e) == p and e in need]
        if a != b:
            return 'events in another order: wanted %s, seen %s' % (a, b)
    return ''


def sections(text):
    out = []
    for part in re.split(r'^== ', text, flags=re.M)[1:]:
        name, body = part.split('\n', 1)
        out.append((name.strip(), body.rstrip('\n')))
    return out


class Play:
    """One story under way, in a namespace of its own. Methods without underscore are the verbs of `== play`."""

    def __init__(self, cluster, tls, name, text):
        self._c, self._tls, self._ns = cluster, tls, 'story-' + name
        parts = sections(text)
        node = cluster.get('nodes')['items'][0]['metadata']['name']
        self._manifests = [b.replace('<node>', node) for n, b in parts if n == 'manifest']
        self._steps = [b.splitlines() for n, b in parts if n == 'play'][0]
        self._wanted = {n.split()[1]: read_documents(b) for n, b in parts if n.startswith('pod ')}
        self._wanted_events = [b.splitlines() for n, b in parts if n == 'events'][0]
        self._wanted_answers = ([b for n, b in parts if n == 'answers'] or [''])[0]
        self._answers, self._step = [], ''
        self._documents, self._pods, self._names, self._events, self._news = {}, {}, {}, [], threading.Condition()

    def _ask(self, method, path, body=None, accept='application/json', kind='application/json'):
        h = http.client.HTTPSConnection('127.0.0.1', self._c.port, context=self._tls, timeout=300)
        h.request(method, path, body, {'Accept': accept, 'Content-Type': kind})
        return h.getresponse()

    def _watch(self, kind, accept, seen):
        base = '/api/v1/namespaces/%s/%s' % (self._ns, kind)
        rev = json.loads(self._ask('GET', base).read())['metadata']['resourceVersion']
        answer = self._ask('GET', '%s?watch=1&includeObject=Object&resourceVersion=%s' % (base, rev), accept=accept)

        def read():
            while True:
                try:
                    line = answer.readline()
                except OSError:
                    return
                if not line:
                    return
                with self._news:
                    seen(json.loads(line))
                    self._news.notify_all()
        threading.Thread(target=read, daemon=True).start()

    def _called(self, pod):
        name, begin = pod['metadata']['name'], pod['metadata'].get('generateName')
        if begin and name not in self._names:
            self._names[name] = '%s<%d>' % (begin, 1 + sum(n.startswith(begin + '<') for n in self._names.values()))
        return self._names.get(name, name)

    def _told(self):
        """The events, with the pods called as they are here."""
        out = []
        for line in self._events:
            for name, called in self._names.items():
                line = line.replace(name, called)
            out.append(line)
        return out

    def _pod_seen(self, e):
        row = e['object']['rows'][0]
        pod, name = row['object'], self._called(row['object'])
        ready, status, restarts = row['cells'][1:4]
        d = Seen(SIGNS[e['type']], '%s %s %s' % (status, ready, str(restarts).split()[0]), document(pod, self._ns))
        self._pods[name] = pod
        if e['type'] == 'DELETED':
            del self._pods[name]
        had = self._documents.setdefault(name, [])
        if not had or had[-1] != d:
            had.append(d)

    def _event_seen(self, e):
        o = e['object']
        about = o['involvedObject']
        where = re.sub(r'.*\{(.*)\}', r'{\1}', about.get('fieldPath', ''))
        line = '%s %s %s%s %s' % (o['type'], o['reason'], about['name'], where, plain(json.dumps(o['message']), self._ns))
        if line not in self._events:
            self._events.append(line)

    def _until(self, what, condition, timeout=90):
        end = time.monotonic() + timeout
        with self._news:
            while not self._holds(condition):
                assert time.monotonic() < end, 'not within %d s: %s; pods %s' % (timeout, what, {
                    n: d[-1].columns for n, d in self._documents.items()})
                self._news.wait(0.5)

    @staticmethod
    def _holds(condition):
        try:
            return condition()
        except (KeyError, IndexError):
            return False

    def _kubectl(self, *args, **kw):
        return self._c.kubectl('-n', self._ns, *args, **kw)

    def _answer(self, text):
        self._answers += ['$ ' + self._step] + [plain(line, self._ns) for line in text.rstrip().splitlines()]

    def create(self, number='1'):
        """What is refused is an answer."""
        try:
            self._kubectl('create', '-f', '-', input=self._manifests[int(number) - 1])
        except AssertionError as e:
            self._answer(str(e).split('\n', 1)[1])

    def kubectl(self, *args):
        """A change of something else than the pod."""
        self._kubectl(*args)

    def tells(self, *args):
        """What kubectl says."""
        self._answer(re.sub(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', '<time>', self._kubectl(*args)))

    def inside(self, pod, *line):
        """A line for the shell of the pod's first container."""
        self._answer(self._kubectl('exec', pod, '--', 'sh', '-c', self._step.split(None, 2)[2], check=False))

    def evict(self, pod='p'):
        body = json.dumps({'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': pod}})
        answer = self._ask('POST', '/api/v1/namespaces/%s/pods/%s/eviction' % (self._ns, pod), body)
        told = json.loads(answer.read())
        self._answer('%d %s' % (answer.status, told.get('message', told['status'])))

    def kill(self, what, pod='p'):
        """SIGKILL from the node's side to the first process of the pod's container, or to what holds its sandbox."""
        uid, found = self._pods[pod]['metadata']['uid'], []
        for folder in glob.glob('/proc/[0-9]*'):
            try:
                with open(folder + '/cmdline') as f:
                    name = f.read().replace('\0', ' ').strip()
                with open(folder + '/cgroup') as f:
                    its = uid in f.read()
                with open(folder + '/status') as f:
                    first = re.search(r'^NSpid:.*\t1$', f.read(), re.M)
            except (FileNotFoundError, ProcessLookupError):
                continue                                # it has ended
            if name == 'wherry-shim %s/%s' % (self._ns, pod) if what == 'sandbox' else its and first:
                found.append(int(os.path.basename(folder)))
        assert len(found) == 1, 'processes of %s: %s' % (pod, found)
        os.kill(found[0], signal.SIGKILL)

    def ready(self, pod='p', wanted='True'):
        self._until('%s Ready=%s' % (pod, wanted), lambda: any(
            c['type'] == 'Ready' and c['status'] == wanted for c in self._pods[pod]['status']['conditions']))

    def phase(self, wanted, pod='p'):
        self._until('%s %s' % (pod, wanted), lambda: self._pods[pod]['status']['phase'] == wanted)

    def status(self, wanted, pod='p'):
        self._until('%s %s' % (pod, wanted), lambda: self._documents[pod][-1].columns.startswith(wanted.replace('_', ' ')))

    def restarts(self, wanted, pod='p'):
        self._until('%s restarted %s times' % (pod, wanted), lambda: any(
            s['restartCount'] >= int(wanted) for l in ('containerStatuses', 'initContainerStatuses')
            for s in self._pods[pod]['status'].get(l, ())))

    def event(self, reason):
        self._until('event ' + reason, lambda: any(e.split()[1] == reason for e in self._events))

    def delete(self, pod='p', *args):
        self._kubectl('delete', 'pod', pod, '--wait=false', *args)

    def gone(self, pod='p'):
        self._until(pod + ' gone', lambda: self._documents[pod] and pod not in self._pods, 120)

    def patch(self, path, body):
        """A strategic merge patch of a subresource of the pod p."""
        before = self._pods['p']['metadata']['generation'] if path != 'status' else 0
        answer = self._ask('PATCH', '/api/v1/namespaces/%s/pods/p/%s' % (self._ns, path), body,
                           kind='application/strategic-merge-patch+json')
        patched = json.loads(answer.read())
        assert answer.status == 200 and patched['metadata']['generation'] > before, patched
        # What follows asks of the pod as it is now, not as the watch had told it before.
        self._until('the patch', lambda: self._pods['p']['metadata']['generation'] >= patched['metadata']['generation'])

    def resized(self, pod='p'):
        """What was asked for is in force, and the node has seen all of the object."""
        self._until(pod + ' resized', lambda: (lambda p: p['status']['observedGeneration'] == p['metadata']['generation'] and not any(
            c['type'].startswith('PodResize') for c in p['status']['conditions']))(self._pods[pod]))

    def run(self):
        """What is wrong, or ''."""
        self._c.kubectl('create', 'namespace', self._ns)
        end = time.monotonic() + 30
        while self._ask('GET', '/api/v1/namespaces/%s/serviceaccounts/default' % self._ns).status != 200:
            assert time.monotonic() < end, 'no service account'
            time.sleep(0.05)
        self._watch('pods', 'application/json;as=Table;v=v1;g=meta.k8s.io', self._pod_seen)
        self._watch('events', 'application/json', self._event_seen)
        for step in self._steps:
            verb, *args = step.split()
            self._step = step
            getattr(self, verb)(*([step.split(None, 2)[1], step.split(None, 2)[2]] if verb == 'patch' else args))
        try:
            self._until('all that the story tells', lambda: not self._wrong(), 20)
        except AssertionError:
            pass                                    # what is wrong is told in detail
        with self._news:
            return self._wrong()

    def _wrong(self):
        for name in {**self._wanted, **self._documents}:
            d = difference(self._wanted.get(name, []), self._documents.get(name, []))
            if d:
                return 'pod %s, %s' % (name, d)
        if self._wanted_answers.split('\n') != self._answers and (self._wanted_answers or self._answers):
            return 'answers:\n' + '\n'.join(difflib.unified_diff(
                self._wanted_answers.split('\n'), self._answers, 'wanted', 'seen', lineterm='', n=0))
        return event_difference(self._wanted_events, self._told())

    def text(self):
        """What was seen, as the sections of a file."""
        parts = ['== pod %s\n%s' % (n, write_documents(d)) for n, d in self._documents.items()]
        parts += ['== answers', *self._answers] if self._answers else []
        return '\n'.join(parts + ['== events', *self._told()]) + '\n'
