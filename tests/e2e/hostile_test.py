#!/usr/bin/env python3
"""Bad input: what strangers send to a server and a node. Each case gets the right status and words that name the thing and the
reason, nothing is half created, and a neighbour who reads and watches meanwhile is served. The tables: hostile_cases.py."""
import concurrent.futures, io, os, random, re, resource, socket, ssl, struct, tarfile, threading, time
import hostile_cases as cases
from lib import *
from raw import *

SLOW = 10 if BUILD.endswith('asan') else 1
BOUND = 3 * SLOW                                        # seconds within which a neighbour is answered; a loaded machine is no failure


def said(text):
    """The words of a Status, or what there is."""
    try:
        return json.loads(text)['message']
    except (ValueError, KeyError, TypeError):
        return text


def judge(name, got, wanted, words, text):
    text = said(text)
    ok = got in wanted if isinstance(wanted, tuple) else got == wanted
    missing = [w for w in ([words] if isinstance(words, str) else words) if w.lower() not in text.lower()]
    return [] if ok and not missing else ['%s: %s, wanted %s%s\n     %.300s' % (name, got, wanted, ' and the word(s) %s' % missing if missing else '', text)]


def report(what, n, wrong):
    assert not wrong, '%d of %d %s:\n%s' % (len(wrong), n, what, '\n'.join(wrong))
    print('     %d %s' % (n, what), flush=True)


def nothing_created(c):
    """In the namespace bad there is only what was put there before."""
    with_names = c.kubectl('get', 'pods,services,configmaps,secrets,deployments,jobs,cronjobs,ingresses,pvc,roles,rolebindings,pdb',
                           '-n', 'bad', '-o', 'name').split()
    assert sorted(with_names) == ['configmap/kept', 'configmap/kube-root-ca.crt'], with_names


class Attacked(Cluster):
    """With a way to it for who has no manners, and a namespace where nothing may come to be."""

    def up(self):
        out = super().up()
        self.raw = Raw(self)
        for path, body in (('/api/v1/namespaces', {'metadata': {'name': 'bad'}}), (cases.CM, {'metadata': {'name': 'kept'}, 'data': {'a': 'b'}})):
            status, _, text = self.raw.ask('POST', path, body)
            assert status == 201, text
        eventually('the namespace has its certificate', lambda: self.kubectl('get', 'cm', '-n', 'bad', 'kube-root-ca.crt'))
        self.limit, self.before = limits(self), resident(self)
        return out


def resident(c, role='server'):
    """Bytes of memory that the role takes."""
    with open('/proc/%d/status' % c.role_pid(role)) as f:
        return int(re.search(r'VmRSS:\s*(\d+)', f.read()).group(1)) << 10


def side_by_side(one, all_of_them):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, all_of_them))


def broken_http(c):
    wrong = []
    with Neighbour(c.raw) as n:
        def one(case):
            name, data, status, words = case
            got = c.raw.exchange(data)
            first, _, text = parsed(got)
            wrong.extend(judge(name, first, status, words, text))
            if first >= 400 and len(re.findall(rb'HTTP/1\.1 \d{3} ', got)) != 1:
                wrong.append(name + ': what came behind it was answered too: %r' % got[-300:])
        side_by_side(one, cases.RAW)
    report('broken requests', len(cases.RAW), wrong)
    assert n.worst() < BOUND and n.seen, (n.worst(), n.seen)
    nothing_created(c)


def in_pieces(c):
    """However it is cut into pieces, the answer is the same."""
    whole_one = cases.POST.replace(b'/configmaps', b'/configmaps?dryRun=All') + b'Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n' + \
        cases.chunks(b'{"metadata":', b'{"name":"pieces"}}')
    for size_of_piece in (1, 2, 7):
        with c.raw.open() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(whole_one), size_of_piece):
                s.sendall(whole_one[i:i + size_of_piece])
            status, _, text = parsed(until_quiet(s, 10))
        assert status == 201 and '"pieces"' in text, (size_of_piece, status, text)


def bad_requests(c):
    wrong = []
    with Neighbour(c.raw) as n:
        for name, method, path, body, status, words, *more in cases.REQUESTS:
            kind, headers = (more + ([] if len(more) == 2 else [[]])) if more else ('application/json', [])
            got, _, text = c.raw.ask(method, path, body, kind or 'application/json', headers, admin=('X-Nobody', '1') not in headers)
            wrong += judge(name, got, status, words, text)
    report('bad requests', len(cases.REQUESTS), wrong)
    assert n.worst() < BOUND and n.seen, (n.worst(), n.seen)
    nothing_created(c)
    assert c.get('cm', 'kept', '-n', 'bad')['data'] == {'a': 'b'}


def what_is_seldom_asked(c):
    """In order, or refused with upstream's words."""
    pod = lambda **spec: {'metadata': {'name': 'seldom'}, 'spec': {'containers': [{'name': 'c', 'image': 'i', **spec.pop('c', {})}], **spec}}
    pods, table = '/api/v1/namespaces/bad/pods?dryRun=All', [('Accept', 'application/json;as=Table;v=v1;g=meta.k8s.io')]
    review = {'spec': {'resourceAttributes': {'verb': 'get', 'resource': 'pods'}}}
    asleep = {'c': {'lifecycle': {'preStop': {'sleep': {'seconds': 0}}, 'postStart': {'sleep': {'seconds': 0}}}}}
    wrong = []
    for name, method, path, body, headers, status, words in (
            ('a review as a table', 'POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', review, table, 406, ['only the following media types are accepted']),
            ('the same as itself', 'POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', review, [], 201, ['"allowed":true']),
            ('hooks that sleep for no time', 'POST', pods, pod(**asleep), [], 201, ['"seconds":0']),
            ("users of its own, the host's network", 'POST', pods, pod(hostUsers=False, hostNetwork=True), [], 422, ['hostUsers', 'hostNetwork']),
            ("users of its own, the host's processes", 'POST', pods, pod(hostUsers=False, hostPID=True), [], 422, ['hostUsers', 'HostPID']),
            ("users of its own, the host's messages", 'POST', pods, pod(hostUsers=False, hostIPC=True), [], 422, ['hostUsers', 'HostIPC'])):
        got, _, text = c.raw.ask(method, path, body, headers=headers)
        if got != status or not all(w in text for w in words):
            wrong.append('%s: %d %s' % (name, got, text[:300]))
    for path, status in (('/api', 405), ('/apis', 405), ('/api/v1', 405), ('/apis/apps/v1', 405), ('/version', 405), ('/openapi/v2', 200)):
        got, _, text = c.raw.ask('HEAD', path)
        if got != status or text:
            wrong.append('HEAD %s: %d %r' % (path, got, text[:100]))
    assert not wrong, '\n'.join(wrong)


def a_read_of_the_future_waits(c):
    """For a revision that comes within three seconds."""
    here = lambda: int(json.loads(c.raw.ask('GET', cases.KEPT)[2])['metadata']['resourceVersion'])
    for path in (cases.KEPT, cases.CM):
        got = []
        want = here() + 1
        while int(json.loads(c.raw.ask('GET', cases.CM)[2])['metadata']['resourceVersion']) >= want:
            want += 50                                      # beyond whatever else is written
        t = threading.Thread(target=lambda: got.append(c.raw.ask('GET', path + '?resourceVersion=%d' % want)))
        t.start()
        time.sleep(0.2)
        early = list(got)
        end = time.monotonic() + 2.5
        while not got and time.monotonic() < end:
            c.raw.ask('PATCH', cases.KEPT, {'metadata': {'labels': {'n': str(time.monotonic_ns())}}}, 'application/merge-patch+json')
        t.join()
        assert not early and got[0][0] == 200, (path, early, got[0][0], got[0][2][:300])
        assert int(json.loads(got[0][2])['metadata']['resourceVersion']) >= want or path == cases.KEPT, got[0][2][:300]


def bad_manifests(c):
    wrong, n_cases = [], 0
    with Neighbour(c.raw) as n:
        for name, path, body, words in cases.manifests():
            n_cases += 1
            got, _, text = c.raw.ask('POST', path, body)
            wrong += judge(name, got, (400, 403, 422), words, text)
            if got < 300:
                c.raw.ask('DELETE', path + '/' + body['metadata']['name'])
    report('bad manifests', n_cases, wrong)
    assert n.worst() < BOUND, n.worst()
    nothing_created(c)


# --- TLS and connections that hang

def hello():
    """A client's good hello, as bytes."""
    inp, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(inp, out, server_hostname='127.0.0.1')
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def garbage_before_tls(c):
    good = hello()
    chance = random.Random(seed())
    noise = [('plain HTTP', b'GET / HTTP/1.1\r\n\r\n'), ('nothing, then the end', b''), ('SSLv2', b'\x80\x2e\x01\x00\x02' + b'\0' * 40),
             ('an alert', b'\x15\x03\x01\x00\x02\x02\x28'), ('a record of 64 KiB', b'\x16\x03\x01\xff\xff' + b'x' * 70000),
             ('a record of nothing', b'\x16\x03\x01\x00\x00' * 1000), ('application data first', b'\x17\x03\x03\x00\x05hello'),
             ('half a hello', good[:len(good) // 2]), ('a hello twice', good * 2), ('SSH', b'SSH-2.0-x\r\n')]
    noise += [('noise %d' % i, chance.randbytes(500)) for i in range(size(5, 50))]
    for i in range(size(10, 60)):
        bent = bytearray(good)
        bent[chance.randrange(5, len(bent))] ^= 1 << chance.randrange(8)
        noise.append(('a bent hello %d' % i, bytes(bent)))
    with Neighbour(c.raw) as n:
        for name, data in noise:
            with c.raw.tcp() as s:
                try:
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except OSError as e:                    # cut: fine; hanging: not
                    assert not isinstance(e, TimeoutError), name
    report('garbled handshakes', len(noise), [])
    assert n.worst() < BOUND, n.worst()


def slow_clients_come(c):
    """They hang about beside all that follows."""
    limit, wrong = c.limit, []

    def wait_end(name, s, most, words):
        start, got = time.monotonic(), b''
        s.settimeout(most + 20 * SLOW)
        try:
            while (part := s.recv(65536)):
                got += part
        except (ConnectionResetError, ssl.SSLError):
            pass
        except (socket.timeout, TimeoutError):
            wrong.append('%s: still there after %.0f s' % (name, time.monotonic() - start))
            return
        if words not in got:
            wrong.append('%s: %r without %r' % (name, got[:200], words))

    def trickle(s, data, every):
        def run():
            try:
                for b in data:
                    s.sendall(bytes([b]))
                    time.sleep(every)
            except OSError:
                pass                                    # cut off: as it should be
        threading.Thread(target=run, daemon=True).start()
    sockets = []
    head = limit['HEAD_SECONDS']
    for i in range(size(20, 200)):
        sockets.append(('a connection without TLS', c.raw.tcp(), head, b''))
        sockets.append(('TLS and then nothing', c.raw.open(), head, b''))
        s = c.raw.open()
        s.sendall(b'GET /healthz HTTP/1.1\r\nHost:')
        sockets.append(('half a header', s, head, b' 408 '))
    s = c.raw.open()
    trickle(s, b'GET /healthz HTTP/1.1\r\n' + b'X: y\r\n' * 100, 0.5)
    sockets.append(('a header that trickles', s, head, b' 408 '))
    if STORM:
        s = c.raw.open()
        s.sendall(cases.POST + cases.H + b'Content-Length: 100000\r\n\r\n')
        trickle(s, b' ' * 1000, 0.5)
        sockets.append(('a body that trickles', s, limit['BODY_SECONDS'], b' 408 '))
    c.slow = [threading.Thread(target=wait_end, args=x) for x in sockets], wrong
    for t in c.slow[0]:
        t.start()


def slow_clients_are_gone(c):
    """Each was cut off in the time that /metrics promises, and told why where it can be."""
    threads, wrong = c.slow
    for t in threads:
        t.join()
    report('slow clients', len(threads), wrong[:5])


def limits(c):
    _, _, text = c.raw.ask('GET', '/metrics')
    return {m[1]: int(m[2]) for m in re.finditer(r'wherry_limit\{name="(\w+)"\} (\d+)', text)}


# --- streams into pods

def a_pod(c, name='victim'):
    if 'victim' not in c.kubectl('get', 'pods', '-o', 'name'):
        c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: victim}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: %s, command: [sleep, '10000']}]}
''' % IMAGE)
        c.kubectl('wait', '--for=condition=Ready', 'pod/victim', '--timeout=60s')
    return '/api/v1/namespaces/default/pods/victim'


def broken_frames(c):
    pod = a_pod(c)
    chance = random.Random(seed())
    exec_path = pod + '/exec?command=cat&stdin=true&stdout=true&container=c'
    forward, attach = pod + '/portforward?ports=8080', pod + '/attach?stdout=true&stdin=true'
    good = [('exec ' + n, exec_path, 'v5.channel.k8s.io', b) for n, b in (
        ('unmasked', frame(2, b'\0hi', mask=b'')), ('reserved bits', frame(2, b'\0hi', bits=0x70)), ('an unknown opcode', frame(3, b'x')),
        ('a control frame of 200 bytes', frame(9, b'x' * 200)), ('a ping in pieces', frame(9, b'x', fin=False)), ('a continuation of nothing', frame(0, b'x')),
        ('a length of 2^63', frame(2, b'', length=1 << 63)), ('a length of 16 MiB', frame(2, b'\0' * 100, length=16 << 20)),
        ('half a frame', frame(2, b'\0' * 100)[:20]), ('text that is no UTF-8', frame(1, b'\0\xff\xfe')), ('an empty message', frame(2, b'')), ('channel 200', frame(2, b'\xc8hi')),
        ('a resize of noise', frame(2, b'\4{"Width":')), ('a resize of huge numbers', frame(2, b'\4{"Width":99999999999,"Height":-1}')), ('a resize of a list', frame(2, b'\4[1]')),
        ('a close of one byte', frame(8, b'x')), ('a close with code 1', frame(8, b'\0\1')), ('closing what is not open', frame(2, b'\xff\x07')), ('output from the client', frame(2, b'\1hi') * 10), ('noise', chance.randbytes(300)))]
    good += [('attach noise', attach, 'v5.channel.k8s.io', chance.randbytes(300)), ('attach as text', attach, 'v5.channel.k8s.io', frame(1, b'hello')),
             ('SPDY noise in a tunnel', forward, 'SPDY/3.1+portforward.k8s.io', frame(2, chance.randbytes(300))),
             ('SPDY that opens nothing', forward, 'SPDY/3.1+portforward.k8s.io', frame(2, b'\x80\x03\0\x01\0\0\0\x0a' + b'\0\0\0\1\0\0\0\0\0\0')),
             ('SPDY with a block that is no zlib', forward, 'SPDY/3.1+portforward.k8s.io', frame(2, b'\x80\x03\0\x01\0\0\0\x14' + b'\0\0\0\1\0\0\0\0\0\0' + b'x' * 10)),
             ('a frame of SPDY of 16 MiB', forward, 'SPDY/3.1+portforward.k8s.io', frame(2, b'\0\0\0\1\0\xff\xff\xff' + b'x' * 1000))]
    wrong = []
    refused = [('an unknown protocol', exec_path, 'v99.magic'), ('no command', pod + '/exec?stdout=true', 'v5.channel.k8s.io'), ('no stream', pod + '/exec?command=cat', 'v5.channel.k8s.io'),
               ('no such container', exec_path.replace('=c', '=none').replace('command=none', 'command=cat'), 'v5.channel.k8s.io'), ('a protocol that is not spoken', forward, 'channel.k8s.io'), ('too many ports', pod + '/portforward?ports=' + ','.join(['8080'] * 101), 'v4.channel.k8s.io'),
               ('attach with two protocols', attach, 'magic, more magic')]
    with Neighbour(c.raw) as n:
        def one(case):
            name, path, protocol, data = case
            with c.raw.open() as s:
                s.sendall(upgrade(path, protocol))
                status, _, text = parsed(read_head(s))
                wrong.extend(judge(name + ' (handshake)', status, 101, '', text))
                try:
                    s.sendall(data)
                    s.settimeout(0.3)
                    while s.recv(65536):
                        pass
                except OSError:
                    pass                                # cut, or it waits for the rest of a frame: either way nothing else suffers
        side_by_side(one, good)
        for name, path, protocol in refused:
            status, _, text = parsed(c.raw.exchange(upgrade(path, protocol)))
            wrong += judge(name, status, (101, 400, 403, 404, 422), '', text) # a channel may carry the error instead
    report('broken streams', len(good) + len(refused), wrong)
    assert n.worst() < BOUND, n.worst()
    assert c.kubectl('exec', 'victim', '--', 'echo', 'alive').strip() == 'alive'
    eventually('the sessions are over', lambda: metric(c, 'wherry_proxy_sessions') == 0, timeout=30 * SLOW)
    status = c.get('pod', 'victim')['status']['containerStatuses'][0]
    assert status['restartCount'] == 0 and status['ready'], status
    eventually('no cat is left', lambda: 'cat' not in [l.split()[-1] for l in c.kubectl('exec', 'victim', '--', 'ps').splitlines()[1:]], timeout=20 * SLOW)


def read_head(s):
    got = b''
    s.settimeout(20 * SLOW)
    while b'\r\n\r\n' not in got and (part := s.recv(1)):
        got += part
    return got


def metric(c, name):
    _, _, text = c.raw.ask('GET', '/metrics')
    return float(re.search(r'^%s ([0-9.e+-]+)$' % name, text, re.M).group(1))


# --- DNS

def q(name, kind=1, klass=1, flags=0x0100, counts=(1, 0, 0, 0), ident=0x1234):
    wire = b''.join(bytes([len(l)]) + l for l in name.split(b'.') if l) + b'\0'
    return struct.pack('>HHHHHH', ident, flags, *counts) + wire + struct.pack('>HH', kind, klass)


def dns_packets(c):
    """A good question is answered before, between and after; the answers to bad ones say so or are silence."""
    server = ('10.42.0.1', 53)
    good = q(b'kubernetes.default.svc.cluster.local')
    chance = random.Random(seed())
    SILENCE, FORMERR, NXDOMAIN, NOTIMP, REFUSED = None, 1, 3, 4, 5
    any_code = (SILENCE, 0, FORMERR, 2, NXDOMAIN, NOTIMP, REFUSED, 16)
    table = [('nothing', b'', SILENCE), ('a byte', b'x', SILENCE), ('half a header', good[:6], SILENCE), ('an answer', q(b'a.b', flags=0x8180), SILENCE),
             ('two questions', q(b'a', counts=(2, 0, 0, 0)), FORMERR), ('no question', struct.pack('>HHHHHH', 1, 0x100, 0, 0, 0, 0), FORMERR), ('an opcode', q(b'a', flags=0x2900), NOTIMP),
             ('a label of 64', struct.pack('>HHHHHH', 1, 0x100, 1, 0, 0, 0) + b'\x40' + b'a' * 64 + b'\0\0\1\0\1', FORMERR), ('a pointer to itself', struct.pack('>HHHHHH', 1, 0x100, 1, 0, 0, 0) + b'\xc0\x0c\0\1\0\1', FORMERR),
             ('a pointer ahead', struct.pack('>HHHHHH', 1, 0x100, 1, 0, 0, 0) + b'\xc0\xff\0\1\0\1', FORMERR), ('a name of 300 bytes', q(b'.'.join([b'a' * 60] * 5)), FORMERR), ('a question cut off', good[:-3], FORMERR),
             ('class CHAOS', q(b'version.bind', 16, 3), any_code), ('type 0', q(b'kubernetes.default.svc.cluster.local', 0), any_code), ('ANY', q(b'kubernetes.default.svc.cluster.local', 255), any_code), ('AXFR', q(b'cluster.local', 252), any_code),
             ('a name of NULs', q(b'\0\0.svc.cluster.local'), any_code), ('a name of bytes', q(bytes([200, 255, 1]) + b'.default.svc.cluster.local'), any_code), ('EDNS twice', good[:10] + b'\0\2' + good[12:] + (b'\0\0\x29\x04\xd0\0\0\0\0\0\0') * 2, (FORMERR, SILENCE)),
             ('EDNS version 9', good[:10] + b'\0\1' + good[12:] + b'\0\0\x29\x04\xd0\0\x09\0\0\0\0', any_code), ('EDNS with a size of 0', good[:10] + b'\0\1' + good[12:] + b'\0\0\x29\0\0\0\0\0\0\0\0', 0), ('9000 bytes', good + b'\0' * 9000, any_code)]
    table += [('noise %d' % i, chance.randbytes(chance.randrange(12, 200)), any_code) for i in range(size(20, 200))]
    wrong = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)

        def asked(data, wait):
            s.settimeout(wait)
            s.sendto(data, server)
            try:
                return s.recv(65536)
            except (socket.timeout, TimeoutError):
                return None
        eventually('DNS answers', lambda: asked(good, 1))
        for name, data, wanted in table:
            got = asked(data, 0.2 if wanted is SILENCE or isinstance(wanted, tuple) else 5 * SLOW)
            code = None if got is None else got[3] & 15
            if (code not in wanted if isinstance(wanted, tuple) else code != wanted):
                wrong.append('%s: %s, wanted %s' % (name, code, wanted))
            if got and len(got) > max(512, 3 * len(data)):
                wrong.append('%s: %d bytes for %d' % (name, len(got), len(data)))
            while (late := asked(good, 5 * SLOW)) and late[:2] != good[:2]:
                pass
            assert late and late[3] & 15 == 0, (name, late)
    for data in (b'\0', b'\xff\xffabc', b'\0\0' * 50, b'\0\5hello', struct.pack('>H', len(good)) + good[:5]):
        with socket.create_connection(server, timeout=20) as t:
            t.sendall(data)
            t.shutdown(socket.SHUT_WR)
            while t.recv(65536):
                pass
    report('DNS messages', len(table) + 5, wrong)


# --- images

def member(name, kind=tarfile.REGTYPE, data=b'x', **more):
    t = tarfile.TarInfo(name)
    t.type, t.size, t.mode = kind, len(data) if kind == tarfile.REGTYPE else 0, 0o755
    for k, v in more.items():
        setattr(t, k, v)
    return t, data


def layer(*members):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode='w', format=tarfile.PAX_FORMAT) as t:
        for m, data in members:
            t.addfile(m, io.BytesIO(data) if m.size else None)
    return b.getvalue()


def archive(path, layers, config=None, manifest=None):
    import hashlib
    config = config if config is not None else json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {}, 'rootfs': {
        'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(l).hexdigest() for l in layers]}}).encode()
    names = ['l%d/layer.tar' % i for i in range(len(layers))]
    manifest = manifest if manifest is not None else json.dumps([{'Config': 'config.json', 'RepoTags': ['wherry.dev/bad:1'], 'Layers': names}]).encode()
    with open(path, 'wb') as f:
        f.write(layer(*[member(n, data=d) for n, d in zip(['config.json', 'manifest.json'] + names, [config, manifest] + layers)]))


def image_layers(c):
    S, L, D = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
    out = c.root + '/outside'
    os.makedirs(out)
    with open(out + '/kept', 'w') as f:
        f.write('kept')
    up = '../' * 12
    tricks = [('a name that climbs', [member(up + out[1:] + '/got')]), ('an absolute name', [member(out + '/got')]), ('a name with .. inside', [member('a/../../../got')]),
              ('a link out, then through it', [member('l', S, linkname=out), member('l/got')]), ('a relative link out, then through it', [member('l', S, linkname=up + out[1:]), member('l/got')]),
              ('a hard link out', [member('h', L, linkname=up + out[1:] + '/kept')]), ('a hard link to an absolute name', [member('h', L, linkname=out + '/kept')]), ('a hard link through a link', [member('l', S, linkname=out), member('h', L, linkname='l/kept')]),
              ('a link to itself', [member('l', S, linkname='l'), member('l/got')]), ('a link, replaced by a folder', [member('l', S, linkname=out), member('l', D), member('l/got')]), ('a whiteout of ..', [member('.wh...', data=b'')]), ('a whiteout of .', [member('.wh..', data=b'')]),
              ('a whiteout that climbs', [member('a/.wh.../../../kept', data=b'')]), ('a whiteout through a link', [member('l', S, linkname=out), member('l/.wh.kept', data=b'')]), ('an opaque folder through a link', [member('l', S, linkname=out), member('l/.wh..wh..opq', data=b'')]),
              ('a device of the disk', [member('d', tarfile.BLKTYPE, devmajor=254, devminor=0)]), ('a device 0:0', [member('d', tarfile.CHRTYPE, devmajor=0, devminor=0)]), ('a pipe', [member('p', tarfile.FIFOTYPE)]),
              ('a name of 5,000 bytes', [member('a' * 5000)]), ('a name with a NUL', [member('a', pax_headers={'path': 'a\0b'})]), ('a folder over a file', [member('f'), member('f/g')]), ('a file over a folder', [member('f', D), member('f')]),
              ('an attribute of overlayfs', [member('o', D, pax_headers={'SCHILY.xattr.trusted.overlay.opaque': 'y'})]), ('an attribute of ours', [member('o', D, pax_headers={'SCHILY.xattr.user.overlay.opaque': 'y'})]),
              ('a capability', [member('f', pax_headers={'SCHILY.xattr.security.capability': 'x'})]), ('owners of 2^40', [member('f', uid=1 << 40, gid=1 << 40)]), ('a time of 1e20', [member('f', mtime=100000000000000000000)])]
    broken = [('no tar', [b'hello' * 1000], {}), ('half a tar', [layer(member('f', data=b'x' * 9000))[:3000]], {}), ('a config of noise', [layer(member('f'))], {'config': b'{{{'}), ('a config of another machine', [layer(member('f'))], {'config': b'{"architecture":"z80","os":"cp/m","rootfs":{"type":"layers","diff_ids":[]}}'}),
              ('a manifest of noise', [layer(member('f'))], {'manifest': b'[[['}), ('a manifest that names what is not there', [], {'manifest': b'[{"Config":"config.json","RepoTags":["wherry.dev/bad:1"],"Layers":["none"]}]'}), ('a manifest that climbs', [], {'manifest': b'[{"Config":"../../../../etc/passwd","RepoTags":["wherry.dev/bad:1"],"Layers":[]}]'}),
              ('a bad name', [layer(member('f'))], {'manifest': b'[{"Config":"config.json","RepoTags":["../../x:1"],"Layers":["l0/layer.tar"]}]'}), ('a wrong sum', [layer(member('f'))], {'config': b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' % (b'0' * 64)})]
    if not STORM:
        tricks = random.Random(seed()).sample(tricks, 12)
    wrong = []
    path = c.root + '/bad.tar'
    for name, layers, more in [(n, [layer(*m)], {}) for n, m in tricks] + broken:
        archive(path, layers, **more)
        p = subprocess.run([WHERRY, 'image', 'load', path, '--root', c.root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if os.listdir(out) != ['kept'] or open(out + '/kept').read() != 'kept' or os.stat(out + '/kept').st_nlink != 1:
            wrong.append('%s: it reached out: %s' % (name, os.listdir(out)))
        if p.returncode < 0 or (p.returncode and len(p.stdout.strip()) < 10) or 'Sanitizer' in p.stdout:
            wrong.append('%s: exit %d %r' % (name, p.returncode, p.stdout[-500:]))
        if more and p.returncode == 0:
            wrong.append('%s: was taken: %s' % (name, p.stdout))
        run([WHERRY, 'image', 'rm', 'wherry.dev/bad:1', '--root', c.root], check=False)
    report('images', len(tricks) + len(broken), wrong)
    assert 'wherry.dev/test' in run([WHERRY, 'image', 'ls', '--root', c.root])


def volumes_of_pods(c):
    """Tricks that only the node can see: each pod says why, and nothing of the host is touched."""
    secret = c.root + '/host-secret'
    with open(secret, 'w') as f:
        f.write('of the host')
    pods = {
        'climbs': ("env: [{name: A, value: ../../..}], volumeMounts: [{name: v, mountPath: /v, subPathExpr: $(A)}]", 'emptyDir: {}', 'subPath'),
        'absolute': ("env: [{name: A, value: /etc}], volumeMounts: [{name: v, mountPath: /v, subPathExpr: $(A)}]", 'emptyDir: {}', 'subPath'),
        'nofile': ("volumeMounts: [{name: v, mountPath: /v}]", 'hostPath: {path: %s, type: Directory}' % secret, 'hostPath'),
        'nothere': ("volumeMounts: [{name: v, mountPath: /v}]", 'hostPath: {path: %s/none, type: File}' % c.root, 'hostPath'),
        'nokey': ("volumeMounts: [{name: v, mountPath: /v}]", 'configMap: {name: kube-root-ca.crt, items: [{key: none, path: x}]}', 'none'),
        'nomap': ("volumeMounts: [{name: v, mountPath: /v}]", 'configMap: {name: nowhere}', 'nowhere'),
        'through': ("volumeMounts: [{name: v, mountPath: /v, subPath: link/x}]", 'hostPath: {path: %s/tricky, type: DirectoryOrCreate}' % c.root, 'subPath'),
    }
    os.makedirs(c.root + '/tricky')
    os.symlink('/etc', c.root + '/tricky/link')
    c.apply('\n---\n'.join('''apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: %s, command: [sleep, '1000'], %s}]
  volumes: [{name: v, %s}]''' % (name, IMAGE, mount, volume) for name, (mount, volume, _) in pods.items()))

    def words(name):
        p = c.get('pod', name)
        waiting = [s['state'].get('waiting', {}).get('message', '') for s in p['status'].get('containerStatuses', [])]
        events = [e['message'] for e in c.get('events', '--field-selector', 'involvedObject.name=' + name)['items'] if e['type'] == 'Warning']
        return '\n'.join(waiting + events)
    wrong = []
    for name, (_, _, word) in pods.items():
        try:
            eventually('pod %s says why' % name, lambda: word.lower() in words(name).lower(), timeout=30 * SLOW)
        except AssertionError:
            wrong.append('%s: %r without %r' % (name, words(name), word))
        if c.get('pod', name)['status'].get('phase') == 'Running':
            wrong.append('%s runs' % name)
    c.kubectl('delete', 'pods', '--wait=false', *pods)
    report('tricky pods', len(pods), wrong)
    assert open(secret).read() == 'of the host' and not os.path.exists('/etc/x')


def hanging_clients_leave_nothing(c):
    """After all of it the server is as it was: no request, body or session is held, and its memory is bounded."""
    eventually('nothing is held', lambda: metric(c, 'wherry_http_body_bytes') == 0 and metric(c, 'wherry_proxy_sessions') == 0, timeout=30 * SLOW)
    for role in ('server', 'relay', 'dns', 'edge', 'node'):
        pid = c.role_pid(role)
        assert len(os.listdir('/proc/%d/fd' % pid)) < 100, (role, len(os.listdir('/proc/%d/fd' % pid)))


if __name__ == '__main__':
    main([slow_clients_come, broken_http, in_pieces, bad_requests, what_is_seldom_asked, a_read_of_the_future_waits, bad_manifests, garbage_before_tls, broken_frames, dns_packets,
          image_layers, volumes_of_pods, slow_clients_are_gone, hanging_clients_leave_nothing], port=16470, cluster=Attacked)
