#!/usr/bin/env python3
"""What writes and definitions cost, each figure beside a peer of the same run (as root; in namespaces of its own; the
cluster's files in memory).

    make bench-custom                 all of it, some minutes
    bench/custom_bench.py WORD...     the sections whose name holds a word: defined writes watchers webhook http2

Where it can, a figure is the server's CPU time: others on the machine change that least."""
import json, os, resource, signal, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_bench import Api, MS, cpu_ms, fan_out, h2load, pss_kb, roles, show
import lib
import hooks
from lib import run, eventually

CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
MAPS = '/api/v1/namespaces/default/configmaps'
DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments'
BIGS = '/apis/bench.dev/v1/namespaces/default/bigs'


# ---- what is defined

WORDS = ('the name of what is watched by those who wait for it', 'how many of them are kept when one of them is gone',
         'where the answer is sent, and by whom it is read', 'what is done where nothing else was said of it')


def a_schema(fields, rules, salt=''):
    """Objects of ten fields each, of the types that real ones have most, with descriptions of a line or two."""
    props = {}
    for i in range(0, fields, 10):
        part = {}
        for n in range(i, min(i + 10, fields)):
            about = 'Field%d%s is %s, and %s.' % (n, salt, WORDS[n % 4], WORDS[(n // 4) % 4])
            part['field%d' % n] = [
                {'type': 'string', 'description': about, 'maxLength': 100},
                {'type': 'integer', 'description': about, 'minimum': 0, 'maximum': 100000},
                {'type': 'string', 'description': about, 'enum': ['One', 'Two', 'Three']},
                {'type': 'array', 'description': about, 'maxItems': 20, 'items': {'type': 'string', 'maxLength': 100}},
                {'type': 'boolean', 'description': about}][n % 5]
        props['part%d' % (i // 10)] = {'type': 'object', 'description': 'Part %d.' % (i // 10), 'properties': part}
    spec = {'type': 'object', 'properties': props}
    checks = ['self.part0.field0.size() < 90', 'self.part0.field1 >= 0 && self.part0.field1 <= 50000', 'has(self.part0.field2)',
              "self.part0.field2 in ['One', 'Two']", 'self.part1.field13.all(x, x.size() > 1)', 'self.part1.field11 >= self.part0.field1',
              "self.part1.field10.startsWith('a')", '!has(self.part0.field4) || self.part0.field4', 'size(self.part1.field13) <= 10',
              "self.part0.field0 != self.part1.field12"]
    if rules:
        spec['x-kubernetes-validations'] = [{'rule': r, 'message': 'rule %d' % i} for i, r in enumerate(checks[:rules])]
    return {'type': 'object', 'properties': {'spec': spec, 'status': {'type': 'object', 'properties': {'phase': {'type': 'string'}}}}}


def a_definition(group, kind, schema):
    plural = kind.lower() + 's'
    return {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': plural + '.' + group},
            'spec': {'group': group, 'scope': 'Namespaced', 'names': {'plural': plural, 'kind': kind}, 'versions': [
                {'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': schema}, 'subresources': {'status': {}}}]}}


def an_instance(name, fields):
    spec = {}
    for n in range(fields):
        spec.setdefault('part%d' % (n // 10), {})['field%d' % n] = ['a text of some letters', n, 'One', ['some', 'words'], True][n % 5]
    return {'apiVersion': 'bench.dev/v1', 'kind': 'Big', 'metadata': {'name': name}, 'spec': spec}


def is_established(o):
    return any(x['type'] == 'Established' and x['status'] == 'True' for x in o.get('status', {}).get('conditions') or ())


def defined(c, api, n=1000):
    server = roles(c)['server']
    text = [json.dumps(a_definition('g%d.bench.dev' % i, 'Thing', a_schema(200, 5, ' of %d' % i))) for i in range(n)]
    first = api.watch(CRDS)
    api.call('POST', CRDS, json.loads(text[0]))
    first.until(lambda kind, o: is_established(o))
    first.close()
    before, w, ready, at = pss_kb(server), api.watch(CRDS), {}, {}

    def look():
        while len(ready) < n - 1:
            when, e = w.next()
            if is_established(e['object']):
                ready.setdefault(e['object']['metadata']['name'], when)
    watching = threading.Thread(target=look)
    watching.start()
    cpu, start = cpu_ms([server]), time.monotonic()
    for t in text[1:]:
        began = time.monotonic()
        at['things.' + json.loads(t)['spec']['group']] = began
        api.kept.request('POST', CRDS, t, {'Content-Type': 'application/json'})
        answer = api.kept.getresponse()
        answer.read()
        assert answer.status == 201, answer.status
    watching.join()
    took = time.monotonic() - start
    used = cpu_ms([server]) - cpu
    w.close()
    each = sorted((ready[name] - began) * MS for name, began in at.items())
    print('    %d definitions of %.0f KB, one after the other, to Established:' % (n, len(text[0]) / 1000))
    show('each, of all', took * MS / (n - 1), 'ms', more='aim: 5; %.2f ms of the server\'s CPU each' % (used / (n - 1)))
    show('from POST to Established, p50', each[len(each) // 2], 'ms', more='p99 %.1f, most %.1f' % (each[len(each) * 99 // 100], each[-1]))
    time.sleep(2)
    show('server PSS for each', (pss_kb(server) - before) / (n - 1), 'kB', len(text[0]) / 1024, 'its JSON', more='aim: 100')
    cpu = cpu_ms([server])
    time.sleep(10)
    show('server CPU over them at rest', cpu_ms([server]) - cpu, 'ms in 10 s')
    api.kept.close()
    killed = time.monotonic()
    os.kill(server, signal.SIGKILL)

    def served():
        try:
            return Api(c).call('GET', '/apis/g%d.bench.dev/v1/things' % (n - 1))['kind'] == 'ThingList'
        except (OSError, AssertionError):
            return False
    eventually('it serves again', served, timeout=60)
    start = (time.monotonic() - killed) * MS
    server = c.role_pid('server')
    show('killed, and serves the last of them again', start, 'ms', more='aim: 1,000')
    time.sleep(2)
    show('server PSS for each after that', (pss_kb(server) - before) / (n - 1), 'kB')


# ---- writes

def many(api, server, n, request):
    """ms and server's CPU ms of each of n requests: the least of five rounds."""
    took, used = [], []
    for turn in range(5):
        cpu, start = cpu_ms([server]), time.monotonic()
        for i in range(n):
            method, path, body, kind = request(turn * n + i)
            api.kept.request(method, path, body, {'Content-Type': kind, 'User-Agent': 'bench'})
            answer = api.kept.getresponse()
            text = answer.read()
            assert answer.status < 300, text
        took.append((time.monotonic() - start) * MS / n)
        used.append((cpu_ms([server]) - cpu) / n)
    return min(took), min(used)


def deployment_of(c):
    """name, number of its image -> text."""
    at = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data/deployment.yaml')
    o = json.loads(c.kubectl('create', '--dry-run=client', '-o', 'json', '-f', at))
    o['metadata'].pop('namespace', None)
    o['spec'].update(replicas=0, paused=True)            # no controller has much to do with it

    def text(name, turn):
        o['metadata']['name'] = name
        o['spec']['template']['spec']['containers'][0]['image'] = 'web:%d' % turn
        return json.dumps(o)
    return text


def a_template(name, size):
    """A PodTemplate, which is built in, checked as pods are, and which no controller looks at, of so many bytes."""
    env, o = [], {'apiVersion': 'v1', 'kind': 'PodTemplate', 'metadata': {'name': name}}
    o['template'] = {'metadata': {'labels': {'app': 'web'}}, 'spec': {'containers': [{
        'name': 'web', 'image': 'web:1', 'ports': [{'containerPort': 8080}], 'env': env,
        'readinessProbe': {'httpGet': {'path': '/ready', 'port': 8080}}, 'resources': {'limits': {'memory': '256Mi'}}}]}}
    while len(json.dumps(o)) < size:
        env.append({'name': 'A_NAME_%d' % len(env), 'value': 'a text of some letters'})
    return json.dumps(o)


def compare(what, each, aim, peer, name):
    show(what + ', server CPU', each[1], 'ms', peer[1], name, 'aim: %s; %.2f ms in all, %.2f of that one' % (aim, each[0], peer[0]))


def define_bigs(c, api):
    if api.call('GET', CRDS)['items']:
        return
    w = api.watch(CRDS)
    api.call('POST', CRDS, a_definition('bench.dev', 'Big', a_schema(200, 10)))
    w.until(lambda kind, o: is_established(o))
    w.close()


def writes(c, api, n=300):
    server, text, bigs = roles(c)['server'], deployment_of(c), 0
    json_kind, apply_kind = 'application/json', 'application/apply-patch+yaml'
    api.kept.request('POST', DEPLOYMENTS, text('put', 0), {'Content-Type': json_kind})
    api.kept.getresponse().read()
    put = many(api, server, n, lambda i: ('PUT', DEPLOYMENTS + '/put', text('put', i + 1), json_kind))
    applied = many(api, server, n, lambda i: ('PATCH', DEPLOYMENTS + '/applied?fieldManager=bench&force=true', text('applied', i), apply_kind))
    print('    a Deployment of %d bytes:' % len(text('put', 0)))
    compare('apply', applied, 2, put, 'PUT')
    same = many(api, server, n, lambda i: ('PATCH', DEPLOYMENTS + '/applied?fieldManager=bench&force=true', text('applied', 5 * n - 1), apply_kind))
    compare('apply without a change', same, 2, put, 'PUT')
    define_bigs(c, api)
    size = len(json.dumps(an_instance('b1000', 200)))
    print('    an object of %d bytes, of a kind with 200 fields and 10 rules:' % size)
    floor = many(api, server, n, lambda i: ('POST', '/api/v1/namespaces/default/podtemplates', a_template('t%d' % i, size), json_kind))
    made = many(api, server, n, lambda i: ('POST', BIGS, json.dumps(an_instance('b%d' % i, 200)), json_kind))
    compare('create', made, 1.5, floor, 'PodTemplate')


def watchers(c, api):
    define_bigs(c, api)
    size = len(json.dumps(an_instance('one', 200)))
    api.call('POST', BIGS, an_instance('one', 200))
    api.call('POST', '/api/v1/namespaces/default/podtemplates', json.loads(a_template('one', size)))
    floor = fan_out(c, api, '/api/v1/namespaces/default/podtemplates', change=lambda i: {'metadata': {'labels': {'round': str(i)}}})
    own = fan_out(c, api, BIGS, change=lambda i: {'spec': {'part0': {'field1': i}}})
    show('a custom object to 1,000 watchers, server CPU', own, 'ms', floor, 'PodTemplate')


# ---- webhooks

def webhook(c, api, n=300):
    """What a write that a webhook is asked about costs beside one without, less what the webhook itself takes."""
    server, folder = roles(c)['server'], tempfile.mkdtemp(prefix='hooks', dir=c.root)
    authority = hooks.Authority(folder)
    cert = authority.sign('hook', ['DNS:localhost', 'IP:127.0.0.1'])
    inside, configs = [], '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations'
    h = hooks.Hooks(cert)
    h.answers['/'] = lambda request: {'allowed': True}
    body = lambda i: json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'hooked-%d' % i}, 'data': {'text': 'x' * 600}})
    plain = many(api, server, n, lambda i: ('POST', MAPS, body(i), 'application/json'))
    api.call('POST', configs, {'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': 'ValidatingWebhookConfiguration', 'metadata': {'name': 'bench'},
             'webhooks': [{'name': 'bench.example.dev', 'sideEffects': 'None', 'admissionReviewVersions': ['v1'], 'clientConfig': {
                 'url': 'https://127.0.0.1:%d/' % h.port, 'caBundle': authority.bundle},
                 'rules': [{'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['configmaps']}]}]})
    asked = many(api, server, n, lambda i: ('POST', MAPS, body(i + 5 * n), 'application/json'))
    assert len(h.asked['/']) == 5 * n, len(h.asked['/'])
    alone = by_itself(h, authority, n)
    api.call('DELETE', configs + '/bench')
    h.stop()
    show('a write through one webhook', asked[0], 'ms', plain[0], 'one without')
    show('what it adds to the webhook\'s own time', asked[0] - plain[0] - alone, 'ms', alone, 'the webhook, asked by itself',
         '%.2f ms of the server\'s CPU' % (asked[1] - plain[1]))


def by_itself(h, authority, n):
    """ms of the same review over a kept connection of ours."""
    import http.client, ssl
    context = ssl.create_default_context(cafile=authority.folder + '/ca.crt')
    review = json.dumps({'apiVersion': 'admission.k8s.io/v1', 'kind': 'AdmissionReview', 'request': h.asked['/'][-1]})
    kept, took = http.client.HTTPSConnection('127.0.0.1', h.port, context=context), []
    for _ in range(5):
        start = time.monotonic()
        for _ in range(n):
            kept.request('POST', '/', review, {'Content-Type': 'application/json'})
            kept.getresponse().read()
        took.append((time.monotonic() - start) * MS / n)
    kept.close()
    return min(took)


# ---- HTTP/2

def http2(c, api, rounds=5):
    """GET at 50 clients, by turns with nghttpd's of a file of that size; the best of each."""
    folder = c.root + '/www'
    os.mkdir(folder)
    api.call('POST', MAPS, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'one'}, 'data': {'text': 'x' * 600}})
    api.kept.request('GET', MAPS + '/one')
    with open(folder + '/one', 'wb') as f:
        f.write(api.kept.getresponse().read())
    run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=peer',
         '-keyout', folder + '.key', '-out', folder + '.crt'])
    c.kubectl('create', 'serviceaccount', 'bench')
    c.kubectl('create', 'clusterrolebinding', 'bench', '--clusterrole=cluster-admin', '--serviceaccount=default:bench')
    who = ['-H', 'Authorization: Bearer ' + c.kubectl('create', 'token', 'bench', '--duration=1h').strip()]
    server = roles(c)['server']
    peer = subprocess.Popen(['nghttpd', '-d', folder, '-a', '127.0.0.1', '26501', folder + '.key', folder + '.crt'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually('nghttpd listens', lambda: run(['h2load', '-n', '1', '-c', '1', 'https://127.0.0.1:26501/one']), 10)
        for streams in (1, 10):
            n, ours, theirs, used = 20000, [], [], [[], []]
            for _ in range(rounds):
                for rates, pid, url, extra, cpus in ((theirs, peer.pid, 'https://127.0.0.1:26501/one', [], used[0]),
                                                     (ours, server, 'https://%s:%s%s/one' % (api.host, api.port, MAPS), who, used[1])):
                    cpu = cpu_ms([pid])
                    rates.append(h2load(url, n, 50, ['-m', str(streams)] + extra)[0])
                    cpus.append((cpu_ms([pid]) - cpu) * 1000 / n)
            show('GET over HTTP/2, 50 clients, %d at a time' % streams, max(ours), '/s', max(theirs), 'nghttpd',
                 'aim: 0.85; CPU %.1f us, nghttpd %.1f' % (min(used[1]), min(used[0])))
    finally:
        peer.kill()


SECTIONS = [('defined', defined), ('writes', writes), ('watchers', watchers), ('webhook', webhook), ('http2', http2)]


def main():
    lib.own_namespaces()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    run(['mount', '-t', 'tmpfs', 'tmpfs', '/tmp'])        # in the mount namespace of its own
    words = sys.argv[1:]
    print('%s, load %s' % (run([lib.WHERRY, '--version'], check=False).strip() or lib.WHERRY, open('/proc/loadavg').read().split()[0]))
    for name, section in SECTIONS:
        if words and not any(w in name for w in words):
            continue
        with lib.Cluster(port=26446, args=['--roles', 'server'], image=False) as c:
            section(c, Api(c))
    return 0


if __name__ == '__main__':
    sys.exit(main())
