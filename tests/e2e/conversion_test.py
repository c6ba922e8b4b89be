#!/usr/bin/env python3
"""Definitions whose versions a webhook converts into each other: an operator of a thousand objects, what kubectl shows and
applies in both versions, a storage version that changes, webhooks that are wrong, slow, and not there."""
import copy, http.client, json, os, queue, signal, socket, subprocess, threading, time, urllib.parse
import lib
from lib import eventually, main, size
from hooks import Authority, Cut, Hooks, configuration, patch, rule, webhook
from informer_test import Api, LOST

GROUP = 'convert.example.dev'
CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
CRD = CRDS + '/boxes.' + GROUP
BOXES = '/apis/' + GROUP + '/%s/namespaces/default/boxes'
MERGE, APPLY = 'application/merge-patch+json', 'application/apply-patch+yaml'
MANY = size(1000, 1000)


def to_v2(o):
    spec = o.setdefault('spec', {})
    if 'size' in spec:
        width, _, height = spec.pop('size').partition('x')
        spec['width'], spec['height'] = int(width), int(height or width)


def to_v1(o):
    spec = o.setdefault('spec', {})
    if 'width' in spec:
        spec['size'] = '%dx%d' % (spec.pop('width'), spec.pop('height', 0))


def convert(request):
    """What a right webhook answers."""
    made = []
    for o in request['objects']:
        o = copy.deepcopy(o)
        (to_v1 if request['desiredAPIVersion'].endswith('/v1') else to_v2)(o)
        o['apiVersion'] = request['desiredAPIVersion']
        made.append(o)
    return {'convertedObjects': made, 'result': {'status': 'Success'}}


def failed(message):
    return lambda request: {'convertedObjects': [], 'result': {'status': 'Failure', 'message': message}}


class Converting(lib.Cluster):
    """A cluster with a definition of boxes in two versions, and the webhook that converts them."""

    def __enter__(self):
        super().__enter__()
        self.authority = Authority(self.root + '/hooks')
        self.cert = self.authority.sign('hook', ['IP:127.0.0.1', 'DNS:hook.default.svc'])
        self.hooks = Hooks(self.cert)
        self.hooks.answers['/convert'] = convert
        self.api = Api(self)
        define(self, 'v1')
        return self

    def __exit__(self, *unused):
        self.hooks.stop()
        super().__exit__(*unused)

    def asked(self):
        return self.hooks.asked.setdefault('/convert', [])


def definition(c, storage, **client):
    status = {'type': 'object', 'properties': {'phase': {'type': 'string'}, 'replicas': {'type': 'integer'}}}
    fields = {'v1': {'size': {'type': 'string', 'pattern': '^[0-9]+x[0-9]+$'}},
              'v2': {'width': {'type': 'integer', 'maximum': 1000}, 'height': {'type': 'integer'}}}
    versions = []
    for name in ('v1', 'v2'):
        spec = dict(fields[name], color={'type': 'string'}, replicas={'type': 'integer'}, tags={'type': 'array', 'x-kubernetes-list-type': 'set', 'items': {'type': 'string'}})
        versions.append({'name': name, 'served': True, 'storage': name == storage, 'subresources': {
            'status': {}, 'scale': {'specReplicasPath': '.spec.replicas', 'statusReplicasPath': '.status.replicas'}},
            'selectableFields': [{'jsonPath': '.spec.' + ('size' if name == 'v1' else 'width')}],
            'additionalPrinterColumns': [{'name': 'Size' if name == 'v1' else 'Width', 'type': 'string' if name == 'v1' else 'integer', 'jsonPath': '.spec.' + ('size' if name == 'v1' else 'width')}],
            'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {'spec': {'type': 'object', 'properties': spec}, 'status': status}}}})
    client = client or {'url': 'https://127.0.0.1:%d/convert' % c.hooks.port}
    reviews = client.pop('reviews', ['v1'])
    return {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'boxes.' + GROUP},
            'spec': {'group': GROUP, 'scope': 'Namespaced', 'names': {'plural': 'boxes', 'kind': 'Box'}, 'versions': versions, 'preserveUnknownFields': False,
                     'conversion': {'strategy': 'Webhook', 'webhook': {'conversionReviewVersions': reviews, 'clientConfig': dict(client, caBundle=c.authority.bundle)}}}}


def served(c):
    status, o = c.api.call('GET', CRD)
    return status == 200 and any(x['type'] == 'Established' and x['status'] == 'True' for x in o['status'].get('conditions') or [])


def define(c, storage, **client):
    d = definition(c, storage, **client)
    if c.api.call('GET', CRD)[0] == 404:
        c.api.must('POST', CRDS, d)
        eventually('established', lambda: served(c))
    else:
        c.api.must('PATCH', CRD, {'spec': d['spec']}, send=MERGE)
    eventually('served', lambda: c.api.call('GET', BOXES % 'v2', limit=1)[0] != 404)


def box(version, name, **spec):
    return {'apiVersion': GROUP + '/' + version, 'kind': 'Box', 'metadata': {'name': name}, 'spec': spec}


def at(version, name, sub=''):
    return BOXES % version + '/' + name + sub


def clear(c):
    c.hooks.answers['/convert'] = convert
    c.api.must('DELETE', BOXES % 'v1')
    eventually('no boxes', lambda: not c.api.must('GET', BOXES % 'v1')['items'])
    c.asked().clear()


def told(c, *args, **kw):
    status, got = c.api.call(*args, **kw)
    assert status >= 400, (args, got)
    return status, got['message'], got.get('reason', '')


def why(c):
    return subprocess.run([lib.WHERRY, 'why', 'crd/boxes.' + GROUP], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


class Watching:
    """A watch, in a thread of its own, whose events are in a queue."""

    def __init__(self, c, path, **query):
        self.events, self.api = queue.Queue(), Api(c)
        self.conn = self.api.open(60)
        self.conn.request('GET', path + '?' + urllib.parse.urlencode(dict(query, watch='true')))
        self.answer = self.conn.getresponse()
        assert self.answer.status == 200, self.answer.read()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            for line in self.answer:
                self.events.put(json.loads(line))
        except (ValueError, AttributeError, *LOST):
            pass
        self.events.put(None)

    def next(self, timeout=20):
        return self.events.get(timeout=timeout)

    def close(self):
        try:
            self.conn.sock.shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass


def each_verb_in_both_versions(c):
    clear(c)
    a = c.api
    made = a.must('POST', BOXES % 'v1', box('v1', 'a', size='3x4', color='red'))
    assert not c.asked(), 'nothing was to be converted'
    got = a.must('GET', at('v2', 'a'))
    assert got['apiVersion'] == GROUP + '/v2' and got['spec'] == {'width': 3, 'height': 4, 'color': 'red'}, got
    assert got['metadata']['uid'] == made['metadata']['uid'] and got['metadata']['resourceVersion'] == made['metadata']['resourceVersion'], got
    request = c.asked()[-1]
    assert c.hooks.queries['/convert'] == 'timeout=30s' and request['desiredAPIVersion'] == GROUP + '/v2' and len(request['objects']) == 1, request
    assert request['objects'][0]['apiVersion'] == GROUP + '/v1' and request['objects'][0]['spec'] == {'size': '3x4', 'color': 'red'}, request
    put = a.must('PUT', at('v2', 'a'), dict(got, spec={'width': 5, 'height': 6}))
    assert put['spec'] == {'width': 5, 'height': 6} and put['metadata']['generation'] == 2, put
    assert a.must('GET', at('v1', 'a'))['spec'] == {'size': '5x6'}
    patched = a.must('PATCH', at('v2', 'a'), {'spec': {'color': 'blue'}, 'metadata': {'labels': {'x': 'y'}}}, send=MERGE)
    assert patched['spec'] == {'width': 5, 'height': 6, 'color': 'blue'}, patched
    asked = len(c.asked())
    again = a.must('PATCH', at('v2', 'a'), {'spec': {'color': 'blue'}}, send=MERGE)
    assert again['metadata']['resourceVersion'] == patched['metadata']['resourceVersion'], again
    assert len(c.asked()) - asked <= 2, c.asked()[asked:]
    a.must('POST', BOXES % 'v2', box('v2', 'b', width=7, height=8))
    assert a.must('GET', at('v1', 'b'))['spec'] == {'size': '7x8'}
    status, message, reason = told(c, 'PATCH', at('v2', 'b'), {'spec': {'width': 2000}}, send=MERGE)
    assert status == 422 and 'spec.width' in message, message
    a.must('PATCH', at('v2', 'b', '/status'), {'status': {'phase': 'Done', 'replicas': 2}}, send=MERGE)
    got = a.must('GET', at('v1', 'b'))
    assert got['status'] == {'phase': 'Done', 'replicas': 2} and got['spec'] == {'size': '7x8'}, got
    a.must('PATCH', at('v2', 'b'), {'spec': {'replicas': 3}}, send=MERGE)
    scale = a.must('GET', at('v2', 'b', '/scale'))
    assert scale['spec'] == {'replicas': 3} and scale['status']['replicas'] == 2, scale
    scale = a.must('PATCH', at('v2', 'b', '/scale'), {'spec': {'replicas': 4}}, send=MERGE)
    assert scale['spec'] == {'replicas': 4} and a.must('GET', at('v1', 'b'))['spec'] == {'size': '7x8', 'replicas': 4}
    listed = a.must('GET', BOXES % 'v2')
    assert [o['spec']['width'] for o in listed['items']] == [5, 7] and all(o['apiVersion'] == GROUP + '/v2' for o in listed['items']), listed
    assert len(c.asked()[-1]['objects']) == 2, c.asked()[-1]
    assert [o['metadata']['name'] for o in a.must('GET', BOXES % 'v2', fieldSelector='spec.width=7')['items']] == ['b']
    page = a.must('GET', BOXES % 'v2', limit=1)
    rest = a.must('GET', BOXES % 'v2', limit=1, **{'continue': page['metadata']['continue']})
    assert [o['spec']['width'] for o in page['items'] + rest['items']] == [5, 7] and not rest['metadata'].get('continue'), rest
    assert page['metadata']['remainingItemCount'] == 1 and len(c.asked()[-1]['objects']) == 1, c.asked()[-1]
    table = a.must('GET', BOXES % 'v2', accept='application/json;as=Table;v=v1;g=meta.k8s.io')
    assert [row['cells'][:2] for row in table['rows']] == [['a', 5], ['b', 7]], table
    names = a.must('GET', BOXES % 'v2', accept='application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io')
    assert [o['metadata']['name'] for o in names['items']] == ['a', 'b'], names
    a.must('PATCH', at('v1', 'a'), {'metadata': {'finalizers': ['example.dev/held']}}, send=MERGE)
    gone = a.must('DELETE', at('v2', 'a'))
    assert gone['metadata']['deletionTimestamp'] and gone['apiVersion'] == GROUP + '/v2' and gone['spec']['width'] == 5, gone
    ended = a.must('PATCH', at('v2', 'a'), {'metadata': {'finalizers': None}}, send=MERGE)
    assert ended['apiVersion'] == GROUP + '/v2' and a.call('GET', at('v1', 'a'))[0] == 404, ended
    listed = a.must('DELETE', BOXES % 'v2')
    assert listed['items'][0]['apiVersion'] == GROUP + '/v2' and listed['items'][0]['spec']['width'] == 7, listed


def applied_in_both_versions(c):
    clear(c)
    a = c.api
    a.must('PATCH', at('v1', 'a'), box('v1', 'a', size='1x2', tags=['x']), send=APPLY, fieldManager='one')
    got = a.must('PATCH', at('v2', 'a'), box('v2', 'a', color='red', tags=['y']), send=APPLY, fieldManager='two')
    assert got['spec'] == {'width': 1, 'height': 2, 'color': 'red', 'tags': ['x', 'y']}, got
    managers = {m['manager']: m for m in got['metadata']['managedFields']}
    assert managers['one']['apiVersion'] == GROUP + '/v1' and set(managers['one']['fieldsV1']['f:spec']) == {'f:size', 'f:tags'}, managers
    assert managers['two']['apiVersion'] == GROUP + '/v2' and set(managers['two']['fieldsV1']['f:spec']) == {'f:color', 'f:tags'}, managers
    same = a.must('PATCH', at('v2', 'a'), box('v2', 'a', color='red', tags=['y']), send=APPLY, fieldManager='two')
    assert same['metadata']['resourceVersion'] == got['metadata']['resourceVersion'], same
    status, message, reason = told(c, 'PATCH', at('v1', 'a'), box('v1', 'a', color='green'), send=APPLY, fieldManager='three')
    assert (status, reason) == (409, 'Conflict') and 'conflict with "two": .spec.color' in message, message
    # what one gives up in its version goes; what it never named in this version stays
    got = a.must('PATCH', at('v1', 'a'), box('v1', 'a', size='1x2'), send=APPLY, fieldManager='one')
    assert got['spec'] == {'size': '1x2', 'color': 'red', 'tags': ['y']}, got
    got = a.must('PATCH', at('v2', 'a'), {'spec': {'width': 9}}, send=MERGE, fieldManager='four')
    managers = {m['manager']: m for m in got['metadata']['managedFields']}
    assert 'one' not in managers or 'f:size' not in managers['one']['fieldsV1'].get('f:spec', {}), managers
    assert managers['four']['apiVersion'] == GROUP + '/v2' and managers['four']['fieldsV1'] == {'f:spec': {'f:width': {}}}, managers
    assert a.must('GET', at('v1', 'a'))['spec']['size'] == '9x2'
    for version, spec in (('v1', {'size': '4x4'}), ('v2', {'width': 4, 'height': 4})):
        for _ in range(2):
            said = c.kubectl('apply', '--server-side', '--field-manager', 'kubectl', '--force-conflicts', '-f', '-', input=json.dumps(box(version, 'k', **spec)))
            assert 'serverside-applied' in said, said
    assert c.kubectl('get', 'boxes.v1.' + GROUP, 'k', '-o', 'jsonpath={.spec.size}') == '4x4'
    assert c.kubectl('get', 'boxes.v2.' + GROUP, 'k', '-o', 'jsonpath={.spec.width}') == '4'
    assert 'WIDTH' in c.kubectl('get', 'boxes.v2.' + GROUP) and 'SIZE' in c.kubectl('get', 'boxes.v1.' + GROUP)


def watched_in_the_other_version(c):
    clear(c)
    a = c.api
    for i in range(3):
        a.must('POST', BOXES % 'v1', box('v1', 'w%d' % i, size='%dx1' % i))
    c.asked().clear()
    w = Watching(c, BOXES % 'v2')
    first = [w.next() for _ in range(3)]
    assert [(e['type'], e['object']['spec']['width']) for e in first] == [('ADDED', 0), ('ADDED', 1), ('ADDED', 2)], first
    assert [len(r['objects']) for r in c.asked()] == [3], c.asked()
    selects = Watching(c, BOXES % 'v2', fieldSelector='spec.width=5')
    a.must('PATCH', at('v1', 'w1'), {'spec': {'size': '5x1'}}, send=MERGE)
    for e in (w.next(), selects.next()):
        assert e['object']['apiVersion'] == GROUP + '/v2' and e['object']['spec'] == {'width': 5, 'height': 1}, e
    a.must('PATCH', at('v1', 'w1'), {'spec': {'size': '6x1'}}, send=MERGE)
    assert selects.next()['type'] == 'DELETED' and w.next()['type'] == 'MODIFIED'
    revision = a.must('GET', BOXES % 'v1')['metadata']['resourceVersion']
    for i in range(50):
        a.must('POST', BOXES % 'v1', box('v1', 'many%d' % i, size='%dx2' % i))
    a.must('DELETE', at('v1', 'many7'))
    for watching in (w, Watching(c, BOXES % 'v2', resourceVersion=revision)):
        events = [watching.next() for _ in range(51)]
        assert [e['object']['spec']['width'] for e in events] == list(range(50)) + [7] and events[-1]['type'] == 'DELETED', events
        revisions = [int(e['object']['metadata']['resourceVersion']) for e in events]
        assert revisions == sorted(revisions), revisions
        watching.close()
    selects.close()
    c.hooks.answers['/convert'] = failed('not today')
    w = Watching(c, BOXES % 'v2')
    e = w.next()
    assert e['type'] == 'ERROR' and e['object']['code'] == 500 and e['object']['message'] == 'conversion webhook for %s/v1, Kind=Box failed: not today' % GROUP, e
    assert w.next() is None


def wrong_answers_are_told(c):
    clear(c)
    a = c.api
    a.must('POST', BOXES % 'v1', box('v1', 'a', size='1x1'))
    a.must('POST', BOXES % 'v1', box('v1', 'b', size='2x2'))
    webhook_for = 'conversion webhook for %s/v1, Kind=Box ' % GROUP
    review = lambda **r: json.dumps({'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'ConversionReview', 'response': r}).encode()

    def altered(change):
        def answer(request):
            said = convert(request)
            for o in said['convertedObjects']:
                change(o)
            return said
        return answer
    for said, words in [
            (b'garbage', "failed: couldn't get version/kind; json parse error: invalid character 'g' looking for beginning of value"),
            (b'{}', "failed: Object 'Kind' is missing in '{}'"),
            ((500, b'I am ill'), 'failed: an error on the server ("I am ill") has prevented the request from succeeding'),
            ((404, b''), 'failed: the server could not find the requested resource'),
            (review(uid='x', result={'status': 'Success'}), 'failed: expected response.uid="'),
            (b'{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview"}', 'failed: no response provided'),
            (b'{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"ConversionReview","response":{}}',
             'failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview'),
            (failed('no boxes on Mondays'), 'failed: no boxes on Mondays'),
            (lambda r: {'convertedObjects': []}, "failed: response.result.status was '', not 'Success'"),
            (lambda r: {'result': {'status': 'Success'}}, 'returned 0 objects, expected 1'),
            (lambda r: dict(convert(r), convertedObjects=r['objects'] * 2), 'returned 2 objects, expected 1'),
            (lambda r: {'convertedObjects': r['objects'], 'result': {'status': 'Success'}},
             'returned invalid object at index 0: invalid groupVersion (expected %s/v2, received %s/v1)' % (GROUP, GROUP)),
            (altered(lambda o: o.update(kind='Bag')), 'returned invalid object at index 0: invalid kind (expected Box, received Bag)'),
            (altered(lambda o: o['metadata'].update(name='z')), 'returned invalid object: must have the same name: a != z'),
            (altered(lambda o: o['metadata'].update(namespace='z')), 'returned invalid object: must have the same namespace: default != z'),
            (altered(lambda o: o['metadata'].update(uid='z')), 'returned invalid object: must have the same UID: '),
            (altered(lambda o: o['metadata'].update(labels=['x'])), 'returned invalid metadata: invalid metadata.labels of type []interface {} in converted object'),
            (altered(lambda o: o['metadata'].update(labels={'x': 1})), 'returned invalid metadata: metadata.labels[x] must be a string, but is int64 in converted object'),
            (altered(lambda o: o['metadata'].update(labels={'x': 'a b'})), 'returned invalid metadata: metadata.labels: Invalid value: "a b": '),
            (Cut(b'{"apiVersion":"apiextensions.k8s.io/v1",'), 'failed: unexpected error when reading response body. Please retry. Original error: unexpected EOF'),
            (b'x' * (8 << 20), 'failed: '),
            (b'x' * (64 << 20), 'failed: ')]:
        c.hooks.answers['/convert'] = said if callable(said) else lambda r: said
        status, message, reason = told(c, 'GET', at('v2', 'a'))
        assert (status, reason) == (500, '') and message.startswith(webhook_for + words), (said, message)
        status, message, reason = told(c, 'PATCH', at('v2', 'a'), {'spec': {'color': 'x'}}, send=MERGE)
        assert status == 500 and message.startswith(webhook_for), message
        assert a.must('GET', at('v1', 'a'))['spec'] == {'size': '1x1'}
    c.hooks.answers['/convert'] = failed('no boxes on Mondays')
    said = why(c)
    assert 'does not convert them' in said and 'no boxes on Mondays' in said, said
    c.hooks.answers['/convert'] = convert
    assert 'it is established and serves v1, v2' in why(c)
    # one of a list
    c.hooks.answers['/convert'] = lambda r: failed('b is odd')(r) if any(o['metadata']['name'] == 'b' for o in r['objects']) else convert(r)
    assert told(c, 'GET', BOXES % 'v2') == (500, webhook_for + 'failed: b is odd', '')
    assert a.must('GET', at('v2', 'a'))['spec']['width'] == 1
    assert [o['metadata']['name'] for o in a.must('GET', BOXES % 'v2', limit=1)['items']] == ['a']
    # metadata is the server's, but for labels and annotations
    c.hooks.answers['/convert'] = altered(lambda o: o['metadata'].update(labels={'made': 'so'}, annotations={'and': 'so'}, generation=77, creationTimestamp=None, finalizers=['a/b']))
    was, got = a.must('GET', at('v1', 'a'))['metadata'], a.must('GET', at('v2', 'a'))['metadata']
    assert got.pop('labels') == {'made': 'so'} and got.pop('annotations') == {'and': 'so'} and got == was, got
    # what the version does not know is pruned
    c.hooks.answers['/convert'] = altered(lambda o: o['spec'].update(unknown=1))
    assert a.must('GET', at('v2', 'a'))['spec'] == {'width': 1, 'height': 1}
    c.hooks.answers['/convert'] = failed('no way back')
    status, message, reason = told(c, 'POST', BOXES % 'v2', box('v2', 'c', width=1))
    assert (status, message) == (500, 'conversion webhook for %s/v2, Kind=Box failed: no way back' % GROUP), message
    assert a.call('GET', at('v1', 'c'))[0] == 404


def reviews_of_v1beta1(c):
    clear(c)
    define(c, 'v1', url='https://127.0.0.1:%d/convert' % c.hooks.port, reviews=['v1beta1', 'v1'])
    c.api.must('POST', BOXES % 'v1', box('v1', 'a', size='1x1'))
    c.hooks.answers['/convert'] = lambda r: dict(convert(r), uid='another')
    assert c.api.must('GET', at('v2', 'a'))['spec'] == {'width': 1, 'height': 1}
    define(c, 'v1')


def who_is_down_holds_up_nobody_else(c):
    clear(c)
    a, other = c.api, Api(c)
    a.must('POST', BOXES % 'v1', box('v1', 'a', size='1x1'))
    release = threading.Event()
    c.hooks.answers['/convert'] = lambda r: release.wait(20) and convert(r)
    slow = [threading.Thread(target=lambda: Api(c).call('GET', at('v2', 'a'))) for _ in range(5)]
    for t in slow:
        t.start()
    eventually('they are asked', lambda: len(c.asked()) >= 5)
    assert other.must('GET', at('v1', 'a'))['spec']['size'] == '1x1'
    other.must('PATCH', at('v1', 'a'), {'spec': {'color': 'red'}}, send=MERGE)
    release.set()
    for t in slow:
        t.join()
    # a write in the other version while the object changes under it
    release.clear()
    answers = []
    t = threading.Thread(target=lambda: answers.append(Api(c).call('PATCH', at('v2', 'a'), {'spec': {'width': 3}}, send=MERGE)))
    c.asked().clear()
    t.start()
    eventually('it is asked', lambda: c.asked())
    other.must('PATCH', at('v1', 'a'), {'spec': {'color': 'green'}}, send=MERGE)
    release.set()
    t.join()
    assert answers[0][0] == 200 and answers[0][1]['spec'] == {'width': 3, 'height': 1, 'color': 'green'}, answers
    # killed, and back
    c.hooks.answers['/convert'] = convert
    port = c.hooks.port
    c.hooks.stop()
    start = time.monotonic()
    status, message, _ = eventually('refused', lambda: told(c, 'GET', at('v2', 'a')))
    assert status == 500 and message.startswith('conversion webhook for %s/v1, Kind=Box failed: Post "https://127.0.0.1:%d/convert?timeout=30s": ' % (GROUP, port)), message
    eventually('refused at the door', lambda: 'connection refused' in told(c, 'GET', at('v2', 'a'))[1])
    said = why(c)
    assert 'nothing listens at its conversion webhook https://127.0.0.1:%d/convert, so its objects cannot be had as v2' % port in said, said
    assert time.monotonic() - start < 15
    assert told(c, 'POST', BOXES % 'v2', box('v2', 'x', width=1))[0] == 500
    a.must('POST', BOXES % 'v1', box('v1', 'y', size='1x1'))
    assert a.must('DELETE', at('v2', 'y'))['status'] == 'Success', 'what is told of a deletion is no object'
    a.must('PATCH', at('v1', 'a'), {'metadata': {'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'nobody', 'uid': 'nobody'}]}}, send=MERGE)
    eventually('collected without the webhook', lambda: a.call('GET', at('v1', 'a'))[0] == 404)
    a.must('POST', '/api/v1/namespaces', {'metadata': {'name': 'goes'}})
    a.must('POST', '/apis/%s/v1/namespaces/goes/boxes' % GROUP, box('v1', 'a', size='1x1'))
    a.must('DELETE', '/api/v1/namespaces/goes')
    eventually('the namespace goes without the webhook', lambda: a.call('GET', '/api/v1/namespaces/goes')[0] == 404)
    c.hooks = restarted(c, port)
    a.must('POST', BOXES % 'v1', box('v1', 'a', size='1x1'))
    assert eventually('it is back', lambda: a.call('GET', at('v2', 'a'))[0] == 200)


def restarted(c, port):
    old = c.hooks
    hooks = eventually('its port', lambda: Hooks(c.cert, port=port))
    hooks.answers, hooks.asked, hooks.queries = old.answers, old.asked, old.queries
    return hooks


def admission_sees_the_version_that_it_names(c):
    clear(c)
    a = c.api
    c.hooks.answers['/admit'] = lambda r: patch({'op': 'add', 'path': '/spec/color', 'value': 'mutated'})
    c.kubectl('apply', '-f', '-', input=configuration('Mutating', 'v2', [webhook(
        'v2.example.org', {'url': 'https://127.0.0.1:%d/admit' % c.hooks.port, 'caBundle': c.authority.bundle}, [rule(['boxes'], groups=[GROUP], versions=['v2'])])]))
    made = a.must('POST', BOXES % 'v1', box('v1', 'a', size='3x4'))
    asked = c.hooks.asked['/admit'][-1]
    assert asked['kind']['version'] == 'v2' and asked['requestKind']['version'] == 'v1' and asked['object']['spec'] == {'width': 3, 'height': 4}, asked
    assert made['apiVersion'] == GROUP + '/v1' and made['spec'] == {'size': '3x4', 'color': 'mutated'}, made
    a.must('PATCH', at('v1', 'a'), {'spec': {'size': '5x4'}}, send=MERGE)
    asked = c.hooks.asked['/admit'][-1]
    assert asked['object']['spec']['width'] == 5 and asked['oldObject']['spec']['width'] == 3, asked
    c.hooks.answers['/convert'] = failed('not today')
    status, message, reason = told(c, 'POST', BOXES % 'v1', box('v1', 'b', size='3x4'))
    assert (status, reason) == (500, 'InternalError') and message == 'Internal error occurred: conversion webhook for %s/v1, Kind=Box failed: not today' % GROUP, message
    c.kubectl('delete', 'mutatingwebhookconfiguration', 'v2')


def another_storage_version(c):
    clear(c)
    a = c.api
    a.must('POST', BOXES % 'v1', box('v1', 'old', size='1x2'))
    define(c, 'v2')
    assert eventually('both are stored', lambda: a.must('GET', CRD)['status']['storedVersions'] == ['v1', 'v2'])
    a.must('POST', BOXES % 'v2', box('v2', 'new', width=3, height=4))
    c.asked().clear()
    listed = a.must('GET', BOXES % 'v2')
    assert [o['spec'] for o in listed['items']] == [{'width': 3, 'height': 4}, {'width': 1, 'height': 2}], listed
    assert [len(r['objects']) for r in c.asked()] == [1], 'the one that was stored as v1 alone'
    listed = a.must('GET', BOXES % 'v1')
    assert [o['spec']['size'] for o in listed['items']] == ['3x4', '1x2'], listed
    # an empty update stores it anew
    a.must('PUT', at('v2', 'old'), a.must('GET', at('v2', 'old')))
    c.asked().clear()
    a.must('GET', BOXES % 'v2')
    assert not c.asked(), c.asked()
    a.must('PATCH', CRD + '/status', {'status': {'storedVersions': ['v2']}}, send=MERGE)
    define(c, 'v1')


def a_thousand_by_an_operator(c):
    """It watches in v2, sets the height of each to its width, and says so in the status."""
    clear(c)
    a, done = Api(c), {}
    start = time.monotonic()
    names = ['op%04d' % i for i in range(MANY)]

    def make(part):
        api = Api(c)
        for i, name in part:
            api.must('POST', BOXES % 'v1', box('v1', name, size='%dx0' % (i % 1000)))
    makers = [threading.Thread(target=make, args=(list(enumerate(names))[k::4],)) for k in range(4)]
    for t in makers:
        t.start()
    for t in makers:
        t.join()
    c.asked().clear()
    w = Watching(c, BOXES % 'v2')
    work = queue.Queue()

    def reconcile():
        api = Api(c)
        while (o := work.get()) is not None:
            name, spec = o['metadata']['name'], o['spec']
            if spec.get('height') != spec['width']:
                o = api.must('PATCH', at('v2', name), {'spec': {'height': spec['width']}}, send=MERGE)
            if o.get('status', {}).get('phase') != 'Square':
                api.must('PATCH', at('v2', name, '/status'), {'status': {'phase': 'Square'}}, send=MERGE)
    workers = [threading.Thread(target=reconcile, daemon=True) for _ in range(8)]
    for t in workers:
        t.start()
    first = [w.next() for _ in names]
    calls = len(c.asked())
    assert calls <= 10, 'the first events were converted in %d reviews' % calls
    for e in first:
        work.put(e['object'])
    while len(done) < len(names):
        e = w.next(60)
        o = e['object']
        assert e['type'] == 'MODIFIED' and o['apiVersion'] == GROUP + '/v2', e
        if o.get('status', {}).get('phase') == 'Square' and o['spec']['height'] == o['spec']['width']:
            done[o['metadata']['name']] = o
    for _ in workers:
        work.put(None)
    for t in workers:
        t.join()
    w.close()
    asked = [len(r['objects']) for r in c.asked()]
    listed = a.must('GET', BOXES % 'v1')['items']
    assert len(listed) == MANY and all(o['spec']['size'] == '%dx%d' % (i % 1000, i % 1000) and o['status'] == {'phase': 'Square'} for i, o in enumerate(listed))
    print('     %d objects: %d reviews of %d objects in %.1f s' % (MANY, len(asked), sum(asked), time.monotonic() - start))


if __name__ == '__main__':
    main([each_verb_in_both_versions, applied_in_both_versions, watched_in_the_other_version, wrong_answers_are_told, reviews_of_v1beta1, who_is_down_holds_up_nobody_else,
          admission_sees_the_version_that_it_names, another_storage_version, a_thousand_by_an_operator], port=16763, image=False, args=['--roles', 'server'], cluster=Converting)
