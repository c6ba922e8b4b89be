#!/usr/bin/env python3
"""Strategic merge patches beside kubectl's own library: what the server makes of a patch is what `kubectl patch --local`
makes of it, and `wherry apply` leads where `kubectl apply` leads, for random objects whose merge keys are not unique.

    patch_test.py record    writes tests/golden/strategic.txt and apply.txt anew: the recorded answers of the unit tests
"""
import random
from lib import *
from patches import *
from informer_test import Api

KINDS = ['Deployment', 'Deployment', 'Service', 'ServiceAccount']
BATCH = 20
STRATEGIC = 'application/strategic-merge-patch+json'


def shown(o):
    """What is compared of an object."""
    o = json.loads(json.dumps(o))
    for k in ('uid', 'resourceVersion', 'creationTimestamp', 'generation', 'namespace', 'annotations', 'managedFields'):
        o.get('metadata', {}).pop(k, None)      # of annotations there are those of clients and controllers alone
    o.pop('status', None)
    for k in ('clusterIP', 'clusterIPs'):
        o.get('spec', {}).pop(k, None)
    return o


def created(api, maker, kind):
    out = []
    while len(out) < BATCH:
        o = maker.valid(kind, 'o%d' % len(out))
        status, got = api.call('POST', path_of(o).rpartition('/')[0], o)
        assert status in (201, 422), got
        if status == 201:
            got['metadata'].pop('resourceVersion')      # a controller writes meanwhile
            out.append(got)
    return out


def removed(api, kind, ns='default'):
    o = {'apiVersion': API[kind], 'kind': kind, 'metadata': {'name': ''}}
    plural = path_of(o, ns)[:-1]
    for item in api.must('GET', plural)['items']:
        if item['metadata']['name'] in ('kubernetes', 'default'):
            continue
        one = plural + '/' + item['metadata']['name']
        if item['metadata'].get('finalizers'):
            api.must('PATCH', one, {'metadata': {'finalizers': None}}, send='application/merge-patch+json')
        api.must('DELETE', one)


def patches_are_merged_as_kubectl_merges_them(c):
    api, r = Api(c), random.Random(seed())
    maker = Maker(r)
    done = {'same': 0, 'refused': 0}
    for kind in [r.choice(KINDS) for _ in range(size(200, 10000) // BATCH)]:
        objects = created(api, maker, kind)
        patch = maker.patch(objects[0])
        right, _ = apply_patch(c.bin + '/kubectl', c.root + '/patches', objects, patch)
        for o in objects:
            path, want = path_of(o), right.get(o['metadata']['name'])
            status, got = api.call('PATCH', path, patch, send=STRATEGIC, dryRun='All')
            if want is None:
                assert status in (400, 422, 500), ('kubectl refuses', patch, o, got)
                done['refused'] += 1
                continue
            put, must = api.call('PUT', path, want, dryRun='All')
            if put == 400:                  # a value that is none: of a patch it is the patch that is invalid
                assert status == 422 and got['details']['causes'][0]['field'] == 'patch', (patch, o, got)
                done['refused'] += 1
                continue
            assert (status, shown(got)) == (put, shown(must)), '\n'.join(['', *('%s: %s' % (k, json.dumps(v)) for k, v in (
                ('have', got), ('want', must), ('object', o), ('patch', patch)))])
            done['same'] += 1
        removed(api, kind)
    assert done['same'] > done['refused'], done


def applies_lead_where_kubectls_lead(c):
    api, r = Api(c), random.Random(seed() + 1)
    maker = Maker(r)
    for ns in 'kw':
        api.must('POST', '/api/v1/namespaces', {'metadata': {'name': ns}})
    compared = 0
    for kind in [r.choice(KINDS) for _ in range(size(100, 3000) // BATCH)]:
        first = [maker.valid(kind, 'o%d' % i) for i in range(BATCH)]
        then = [maker.changed(o, maker.valid) for o in first]
        changed = [maker.changed(o, maker.valid) for o in first]
        for ns, program in (('k', [c.bin + '/kubectl', 'apply']), ('w', [WHERRY, 'apply'])):
            for objects in (first, then):
                text = '\n---\n'.join(json.dumps(o) for o in objects)
                run(program + ['-n', ns, '-f', '-'], input=text, env=c.env, check=False)
                if objects is first:        # somebody else has a hand in it
                    for o in changed:
                        status = 409            # a controller writes it, too
                        while status == 409:
                            status, live = api.call('GET', path_of(o, ns))
                            if status == 200:
                                mine = {**live, **{k: o[k] for k in o if k != 'metadata'}}
                                status, _ = api.call('PUT', path_of(o, ns), {**mine, 'metadata': {**live['metadata'], 'labels': o['metadata'].get('labels', {})}})
        for o in first:
            (s1, a), (s2, b) = (api.call('GET', path_of(o, ns)) for ns in 'kw')
            assert s1 == s2 and (s1 != 200 or shown(a) == shown(b)), '\n'.join(['', *('%s: %s' % (k, json.dumps(v)) for k, v in (
                ('kubectl', a), ('wherry', b), ('first', o)))])
            compared += s1 == 200
        for ns in 'kw':
            removed(api, kind, ns)
    assert compared > 0


def record():
    """The answers of this machine's kubectl, for the unit tests."""
    own_namespaces()
    kubectl, r = clients() + '/kubectl', random.Random(7)
    maker, text = Maker(r), lambda o: '-' if o is None else json.dumps(o, separators=(',', ':'))
    golden = os.path.join(TOP, 'tests/golden/')
    with tempfile.TemporaryDirectory() as folder, open(golden + 'strategic.txt', 'w') as s, open(golden + 'apply.txt', 'w') as a:
        env = {**os.environ, 'HOME': folder, 'KUBECONFIG': folder + '/none'}
        for n in range(80):
            kind = KINDS[n % len(KINDS)]
            objects = [maker.object(kind, 'o%d' % i) for i in range(4)]
            patch = maker.patch(objects[0])
            right, _ = apply_patch(kubectl, folder, objects, patch)
            for o in objects:
                s.write('\t'.join([kind, text(o), text(patch), text(right.get(o['metadata']['name']))]) + '\n')
            cases = [(o, maker.changed(o), maker.changed(o)) for o in objects]
            sent, _ = computed([kubectl, '--server', 'SERVER', 'apply', '--validate=false', '-f', 'FILE'], env, folder, cases)
            for case, p in zip(cases, sent):
                a.write('\t'.join([kind] + [text(o) for o in case] + [text(p)]) + '\n')


if __name__ == '__main__':
    if sys.argv[1:] == ['record']:
        record()
    else:
        main([patches_are_merged_as_kubectl_merges_them, applies_lead_where_kubectls_lead], image=False, args=['--roles', 'server'])
