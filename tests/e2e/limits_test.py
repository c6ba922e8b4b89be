#!/usr/bin/env python3
"""Everything that a client can make grow has a bound: each is reached here, who goes beyond it is told so, others are served
meanwhile, and the memory comes back."""
import os, resource, shutil, socket, threading, time
import hostile_cases as cases
from hostile_test import BOUND, SLOW, Attacked, Raw, Neighbour, a_pod, limits, metric, parsed, q, read_head, report, resident, until_quiet, upgrade
from lib import *

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def from_address(c, address, timeout=20):
    s = socket.socket()
    s.settimeout(timeout)
    s.bind((address, 0))
    s.connect(('127.0.0.1', c.port))
    return s


def limits_are_told(c):
    for name in ('CONNECTIONS', 'CONNECTIONS_PER_ADDRESS', 'BODY_BYTES', 'BODIES_BYTES', 'WATCHERS', 'WATCHES_BYTES', 'CONNECTION_BUFFER', 'OBJECTS', 'STORED_BYTES', 'NAMESPACE_BYTES', 'EVENTS', 'PROXY_SESSIONS'):
        assert c.limit[name] > 0, name


def connections_of_one_address(c):
    most = c.limit['CONNECTIONS_PER_ADDRESS']
    turned_away = metric(c, 'wherry_http_turned_away_total')
    with Neighbour(c.raw) as n:
        eventually('the neighbour reads', lambda: n.times)
        taken = [from_address(c, '127.0.0.9') for _ in range(most)]
        for _ in range(50):
            with from_address(c, '127.0.0.9') as s:     # one more: closed before it said a word
                try:
                    assert s.recv(10) == b''
                except ConnectionResetError:
                    pass
        assert metric(c, 'wherry_http_turned_away_total') >= turned_away + 50
        for s in taken:
            s.close()
    assert n.worst() < BOUND, n.worst()

    def served_again():
        with c.raw.tls.wrap_socket(from_address(c, '127.0.0.9'), server_hostname='127.0.0.1') as s:
            s.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
            return b' 200 ' in read_head(s)
    eventually('the address is served again', served_again, timeout=30 * SLOW)


def all_connections(c):
    """Idle ones make room for who comes, so that nobody is locked out."""
    most, each = c.limit['CONNECTIONS'], c.limit['CONNECTIONS_PER_ADDRESS'] - 10
    taken = []
    s = c.raw.open()
    s.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    until_quiet(s)
    for i in range(most + 200):
        taken.append(from_address(c, '127.0.1.%d' % (1 + i // each)))
    assert metric(c, 'wherry_http_connections') <= most
    for s in taken:
        s.close()


def large_bodies(c):
    """Together they have a bound; small ones find room all the same, and afterwards the memory is back."""
    n, piece, held, refused = c.limit['BODIES_BYTES'] // (3 << 20) + 12, b' ' * (3 << 20), [], 0
    head = cases.POST.replace(b'/bad/', b'/default/') + cases.H + b'Content-Length: %d\r\n\r\n' % c.limit['BODY_BYTES']
    with Neighbour(c.raw) as near:
        for i in range(n):
            s = c.raw.open(60)
            try:
                s.sendall(head + piece[:c.limit['BODY_BYTES'] - 1])
            except OSError:
                pass                                    # refused before it was through
            held.append(s)
        eventually('bodies are held', lambda: metric(c, 'wherry_http_body_bytes') > c.limit['BODIES_BYTES'] * 0.9, timeout=30 * SLOW)
        assert metric(c, 'wherry_http_body_bytes') <= c.limit['BODIES_BYTES'] + n * 65536
        status, _, text = c.raw.ask('POST', '/api/v1/namespaces/default/configmaps?dryRun=All', {'metadata': {'name': 'small'}})
        assert status == 201, (status, text)
        def refused():
            status, headers, text = c.raw.ask('POST', '/api/v1/namespaces/default/configmaps?dryRun=All', piece[:c.limit['BODY_BYTES']])
            return status == 503 and headers.get('retry-after') and 'try again' in text
        eventually('a large one is refused in words', refused)
        for s in held:
            s.close()
        eventually('nothing is held', lambda: metric(c, 'wherry_http_body_bytes') == 0, timeout=30 * SLOW)
    assert near.worst() < BOUND, near.worst()
    status, _, text = c.raw.ask('POST', '/api/v1/namespaces/default/configmaps?dryRun=All', {'metadata': {'name': 'large'}, 'data': {'a': 'x' * 500000}})
    assert status == 201, (status, text)
    memory_is_back(c)


def memory_is_back(c, most=80 << 20):
    if SLOW == 1:                                       # a sanitizer keeps what is freed
        eventually('the memory is back', lambda: resident(c) < c.before + most or resident(c) >> 20, timeout=20)
        assert resident(c) < c.before + most, (c.before >> 20, resident(c) >> 20)


class Line:
    """One kept-alive connection that asks one thing after another."""

    def __init__(self, c):
        self.s = c.raw.open(120)
        self.f = self.s.makefile('rb')

    def call(self, method, path, body=b'', kind='application/json', accept='application/json'):
        self.s.sendall(('%s %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n' % (method, path, accept, kind, len(body))).encode() + body)
        status, length = int(self.f.readline().split()[1]), 0
        while (h := self.f.readline().strip()):
            if h.lower().startswith(b'content-length:'):
                length = int(h.split(b':')[1])
        return status, self.f.read(length)


def at_once(n, work):
    """work(i) for i in range(n), by 16 threads with a connection each; the first failure is the test's."""
    failed, todo, lock = [], iter(range(n)), threading.Lock()

    def run():
        try:
            while not failed:
                with lock:
                    i = next(todo, None)
                if i is None:
                    return
                work(i)
        except Exception as e:
            failed.append(e)
    threads = [threading.Thread(target=run) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def fill(c, n, bytes_each):
    """So many ConfigMaps."""
    mine = threading.local()

    def one(i):
        if not hasattr(mine, 'line'):
            mine.line = Line(c)
        body = ('{"metadata":{"name":"fill-%d"},"data":{"a":"%s"}}' % (i, 'x' * bytes_each)).encode()
        status, answer = mine.line.call('POST', '/api/v1/namespaces/default/configmaps', body)
        assert status in (201, 409), answer
    at_once(n, one)


def requests_whose_answers_nobody_reads(c):
    """A client that asks a thousand times and reads nothing gets one answer; what it asks besides waits with it."""
    fill(c, 150, 20000)
    with Neighbour(c.raw) as n, c.raw.open() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.settimeout(2)
        try:
            s.sendall(b'GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n' * 5000)
        except OSError:
            pass                                        # it reads no further
        eventually('answers wait', lambda: metric(c, 'wherry_http_queued_bytes') > 100000)
        for _ in range(20):
            assert metric(c, 'wherry_http_queued_bytes') < 12 << 20, metric(c, 'wherry_http_queued_bytes')
            time.sleep(0.05)
    assert n.worst() < BOUND, n.worst()


def a_watch_of_more_than_a_buffer(c):
    """The initial events of a watch come through however many bytes they are: the watcher is waited for."""
    fill(c, size(700, 3000), 20000)
    with c.raw.open(60) as s:
        s.sendall(b'GET /api/v1/namespaces/default/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true '
                  b'HTTP/1.1\r\nHost: x\r\n\r\n')
        got, end = 0, b''
        while b'initial-events-end' not in end:
            part = s.recv(1 << 20)
            assert part, 'the watch was cut after %d bytes' % got
            got, end = got + len(part), (end + part)[-3000:]
    assert got > 12 << 20, got
    report('bytes of initial events', got, [])


def a_watcher_that_does_not_read(c):
    """What waits for it has a bound; then the watch is over, and the memory is back."""
    path = '/api/v1/namespaces/default/configmaps'
    s = c.raw.open(60)
    s.sendall(('GET %s?watch=1&fieldSelector=metadata.name%%3Dgrowing HTTP/1.1\r\nHost: x\r\n\r\n' % path).encode())
    read_head(s)
    before = resident(c)
    with Neighbour(c.raw) as n:
        c.raw.ask('POST', path, {'metadata': {'name': 'growing'}})
        line = Line(c)
        for i in range(size(95, 400)):
            body = ('{"data":{"a":"%d%s"}}' % (i, 'x' * 900000)).encode()
            status, answer = line.call('PATCH', path + '/growing', body, 'application/merge-patch+json',
                                       'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io')
            assert status == 200, answer
        assert metric(c, 'wherry_http_queued_bytes') < c.limit['CONNECTION_BUFFER'] + (4 << 20)
        if SLOW == 1:
            assert resident(c) < before + c.limit['CONNECTION_BUFFER'] + (120 << 20), (before >> 20, resident(c) >> 20)
        end = b''
        s.settimeout(30 * SLOW)
        while b'Expired' not in end and (part := s.recv(1 << 20)):
            end = (end + part)[-3000:]              # or it was cut, which tells it as much
        assert b'Expired' in end or not part, end[-300:]
        s.close()
    assert n.worst() < BOUND, n.worst()
    c.raw.ask('DELETE', path + '/growing')


def many_watchers_that_do_not_read(c):
    """Each below its own bound: together they have one, too. The slowest are cut, who has little waiting and who reads go on."""
    path, most, each = '/api/v1/namespaces/default/configmaps', c.limit['WATCHES_BYTES'], 7
    c.raw.ask('POST', path, {'metadata': {'name': 'shared'}})

    def watcher():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(60 * SLOW)
        s.connect(('127.0.0.1', c.port))
        s = c.raw.tls.wrap_socket(s, server_hostname='127.0.0.1')
        s.sendall(('GET %s?watch=1&fieldSelector=metadata.name%%3Dshared HTTP/1.1\r\nHost: x\r\n\r\n' % path).encode())
        read_head(s)
        return s
    cut = metric(c, 'wherry_watches_cut_total')
    slow = [watcher() for _ in range(most // (each * 900000) + 25)]
    line = Line(c)

    def write(i):
        body = ('{"data":{"a":"%d-%s"}}' % (i, 'x' * 900000)).encode()
        status, answer = line.call('PATCH', path + '/shared', body, 'application/merge-patch+json', 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io')
        assert status == 200, answer
    with Neighbour(c.raw) as n:
        late = None
        for i in range(each + 8):
            if metric(c, 'wherry_watches_cut_total') > cut:
                break
            if i == each - 2:
                late = watcher()                        # it does not read either, but little waits for it
            write(i)
        eventually('the slowest are cut', lambda: metric(c, 'wherry_watches_cut_total') > cut, timeout=30 * SLOW)
        assert metric(c, 'wherry_http_queued_bytes') <= most
        assert metric(c, 'wherry_watches_cut_total') - cut < len(slow), 'all of them'
        write(99)
        seen = b''
        while b'"99-' not in seen:
            part = late.recv(1 << 20)
            assert part, 'the late one was cut'
            seen = (seen + part)[-2000000:]
    for s in slow + [late]:
        s.close()
    assert n.worst() < BOUND, n.worst()
    c.raw.ask('DELETE', path + '/shared')


def a_flood_of_requests(c):
    """Hundreds of connections that ask as fast as they can: a neighbour is still served."""
    urls = ['https://127.0.0.1:%d%s' % (c.port, p) for p in ('/healthz', '/api/v1/pods', '/openapi/v3')]
    with Neighbour(c.raw) as quiet:
        eventually('reads', lambda: len(quiet.times) > 100)
    with Neighbour(c.raw) as n:
        p = subprocess.run(['h2load', '--h1', '-c', '300', '-t', '1', '-D', str(size(2, 15))] + urls, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    done = int(re.search(r'requests: \d+ total, \d+ started, (\d+) done', p.stdout).group(1))
    assert done > 300 and p.returncode == 0, p.stdout
    assert n.worst() < BOUND and n.worst(0.5) < BOUND / 3, (n.worst(0.5), n.worst())
    print('     %d requests of the flood; p50/p99 of the neighbour: %.1f/%.1f ms alone, %.1f/%.1f ms beside it' % (
        done, quiet.worst(0.5) * 1e3, quiet.worst() * 1e3, n.worst(0.5) * 1e3, n.worst() * 1e3))
    status, _, _ = c.raw.ask('GET', '/healthz')
    assert status == 200


def a_flood_of_events(c):
    """Their number has a bound: the oldest go."""
    most = c.limit['EVENTS']

    mine = threading.local()

    def one(i):
        if not hasattr(mine, 'line'):
            mine.line = Line(c)
        body = b'{"metadata":{"name":"flood-%d"},"involvedObject":{"kind":"Pod","namespace":"default","name":"p"},"message":"m","reason":"R","type":"Normal"}' % i
        status, answer = mine.line.call('POST', '/api/v1/namespaces/default/events', body)
        assert status == 201, answer
    with Neighbour(c.raw) as n:
        at_once(most + 3000, one)

    def there():
        _, _, text = c.raw.ask('GET', '/api/v1/events?limit=1')
        return 1 + json.loads(text)['metadata'].get('remainingItemCount', 0)
    eventually('no more events than may be', lambda: there() <= most + 1000 or there(), timeout=120 * SLOW)
    assert there() <= most + 1000 and there() >= most, there()
    assert n.worst() < BOUND, n.worst()


def sessions_with_a_node(c):
    pod = a_pod(c)
    most, held = c.limit['PROXY_SESSIONS_PER_USER'], []    # one user cannot have them all
    with Neighbour(c.raw) as n:
        for i in range(most):
            s = c.raw.open(60)
            s.sendall(upgrade(pod + '/portforward?ports=8080', 'SPDY/3.1+portforward.k8s.io'))
            held.append(s)
        for s in held:
            assert b' 101 ' in read_head(s)
        status, headers, text = parsed(c.raw.exchange(upgrade(pod + '/portforward?ports=8080', 'SPDY/3.1+portforward.k8s.io')))
        assert status == 429 and headers.get('retry-after') and 'sessions' in text, (status, headers, text)
        with c.raw.open(60) as s:
            s.sendall(upgrade(pod + '/portforward?ports=8080', 'SPDY/3.1+portforward.k8s.io', 'Impersonate-User: somebody\r\nImpersonate-Group: system:masters\r\n'))
            assert b' 101 ' in read_head(s)
        for s in held:
            s.close()
        eventually('the sessions are over', lambda: metric(c, 'wherry_proxy_sessions') == 0, timeout=60 * SLOW)
    assert n.worst() < BOUND, n.worst()
    assert c.kubectl('exec', 'victim', '--', 'echo', 'alive').strip() == 'alive'


def clients_of_dns(c):
    """Connections over TCP have a bound; who asks over UDP does not notice."""
    server, good = ('10.42.0.1', 53), q(b'kubernetes.default.svc.cluster.local')
    held = [socket.create_connection(server, timeout=20) for _ in range(300)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5 * SLOW)
        for i in range(200):
            for _ in range(20):
                s.sendto(q(b'x%d.example.com' % i, ident=i), server) # to resolvers that do not answer here
            s.sendto(good, server)
            while s.recv(4096)[:2] != good[:2]:
                pass
    for h in held:
        h.close()
    pid = c.role_pid('dns')
    eventually('they are gone', lambda: len(os.listdir('/proc/%d/fd' % pid)) < 60, timeout=30 * SLOW)


def goes_on(api):
    """What a full server must take all the same: what its nodes stand on, Events, less of what there is."""
    def must(*what):
        status, _, text = api.ask(*what)
        assert status in (200, 201), (what[:2], status, text)
    leases, default = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', '/api/v1/namespaces/default/'
    must('POST', '/api/v1/nodes', {'metadata': {'name': 'late'}})
    must('PATCH', '/api/v1/nodes/late/status', {'status': {'conditions': [{'type': 'Ready', 'status': 'True', 'message': 'm' * 5000}]}}, 'application/merge-patch+json')
    must('POST', leases, {'metadata': {'name': 'late'}, 'spec': {'holderIdentity': 'late'}})
    must('PATCH', leases + '/late', {'spec': {'renewTime': '2026-01-01T10:00:00.000000Z'}}, 'application/merge-patch+json')
    must('POST', default + 'events', {'metadata': {'name': 'full'}, 'involvedObject': {'kind': 'Pod', 'namespace': 'default', 'name': 'p'}, 'message': 'm', 'reason': 'R', 'type': 'Normal'})
    must('PATCH', default + 'configmaps/o0', {'metadata': {'labels': {'a': 'b'}}}, 'application/merge-patch+json')
    must('DELETE', default + 'pods/goes')                # with grace: it grows by its deletionTimestamp
    must('DELETE', '/api/v1/nodes/late')
    must('DELETE', leases + '/late')


def fill_up(api, namespace, data, most):
    """Creates ConfigMaps until one is refused; how many there are, and the refusal."""
    for made in range(most):
        status, _, text = api.ask('POST', '/api/v1/namespaces/%s/configmaps' % namespace, {'metadata': {'name': 'o%d' % made}, 'data': data})
        if status != 201:
            return made, status, json.loads(text)
    raise AssertionError('no end of it')


def what_is_stored(c):
    """A server of its own that may hold little: what is more is refused in words, in number and in bytes; it stands and can be emptied."""
    with Cluster(port=16472, args=['--roles', 'server', '--set', 'max-objects=350', '--set', 'max-stored-mib=16'], image=False) as small:
        api, path = Raw(small), '/api/v1/namespaces/%s/configmaps'
        small.raw = api
        bound = limits(small)
        assert (bound['OBJECTS'], bound['STORED_BYTES'], bound['NAMESPACE_BYTES']) == (350, 16 << 20, 8 << 20)
        pod = {'metadata': {'name': 'goes', 'finalizers': ['example.com/waits']}, 'spec': {'nodeName': 'nowhere', 'containers': [{'name': 'a', 'image': 'a'}]}}
        eventually('a pod', lambda: api.ask('POST', '/api/v1/namespaces/default/pods', pod)[0] == 201)
        assert api.ask('POST', '/api/v1/namespaces', {'metadata': {'name': 'other'}})[0] == 201

        large = {'a': 'x' * 900000}
        made, status, said = fill_up(api, 'default', large, 20)
        assert status == 403 and said['reason'] == 'Forbidden' and 'max-stored-mib' in said['message'] and 'namespace default holds' in said['message'] and made >= 7, (made, status, said)
        made, status, said = fill_up(api, 'other', large, 20)
        assert status == 503 and said['reason'] == 'ServiceUnavailable' and 'max-stored-mib' in said['message'] and made >= 5, (made, status, said)
        grown = [api.ask('PATCH', path % 'default' + '/o%d' % i, {'data': {'b': 'y' * 130000}}, 'application/merge-patch+json')[0] for i in range(7)]
        assert grown[-1] in (403, 503), grown
        goes_on(api)
        held = metric(small, 'wherry_stored_bytes')
        assert (14 << 20) < held <= (16 << 20) + 65536, held
        pid = small.role_pid('server')
        os.kill(pid, 9)                                 # the next one counts what is there
        eventually('another server', lambda: small.role_pid('server') not in (None, pid))
        eventually('its count', lambda: abs(metric(small, 'wherry_stored_bytes') - held) < 65536)
        assert api.ask('POST', path % 'default', {'metadata': {'name': 'more'}, 'data': large})[0] in (403, 503)
        assert api.ask('DELETE', path % 'default')[0] == 200    # with its own kube-root-ca.crt, which comes back
        status, _, text = api.ask('POST', path % 'default', {'metadata': {'name': 'again'}, 'data': large})
        assert status == 201, text

        made, status, said = fill_up(api, 'default', {}, 350)
        assert status == 503 and 'max-objects' in said['message'] and made > 10, (made, status, said)
        status, _, text = api.ask('PATCH', path % 'default' + '/o0', {'data': {'a': 'b'}}, 'application/merge-patch+json')
        assert status == 200, text
        for i in range(5):
            api.ask('DELETE', path % 'default' + '/o%d' % i)
        status, _, text = api.ask('POST', path % 'default', {'metadata': {'name': 'once-more'}})
        assert status == 201, text


if __name__ == '__main__':
    long = [all_connections, a_flood_of_events, sessions_with_a_node] if STORM else []
    main([limits_are_told, connections_of_one_address, large_bodies, requests_whose_answers_nobody_reads, a_watch_of_more_than_a_buffer, a_watcher_that_does_not_read, many_watchers_that_do_not_read,
          a_flood_of_requests, clients_of_dns, what_is_stored] + long, port=16471, cluster=Attacked)
