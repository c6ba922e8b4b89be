#!/usr/bin/env python3
"""Streams through the server to a node: exec, attach, logs, port-forward and watches, in every protocol that clients
speak, and what a client reads where one fails."""
import base64, concurrent.futures, gzip, http.server, json, os, re, socket, subprocess, threading, time, zlib
from lib import *
from raw import Raw, frame, parsed, parsed_bytes, until_quiet, upgrade

SPDY = {'KUBECTL_REMOTE_COMMAND_WEBSOCKETS': 'false', 'KUBECTL_PORT_FORWARD_WEBSOCKETS': 'false'}   # kubectl as before 1.30
BINARY = b'no newline\xff\x00bin'
PODS = '''
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: IMAGE}]}
---
apiVersion: v1
kind: Pod
metadata: {name: q}
spec: {containers: [{name: c, image: "absent.test/x:1", imagePullPolicy: Never}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: Never
  containers: [{name: c, image: IMAGE, terminationMessagePolicy: FallbackToLogsOnError,
                command: [sh, -c, "printf 'no newline'; sleep 0.1; printf '\\\\377\\\\000bin' >&2; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: i, image: IMAGE, command: [sh, -c, "echo one; echo two; echo three"]}]
  containers: [{name: a, image: IMAGE, command: [sleep, '10000']}, {name: b, image: IMAGE, command: [sleep, '10000']}]
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: c, image: IMAGE, command: [sh, -c, 'wc -c; echo over'], stdin: true, stdinOnce: true}]
'''.replace('IMAGE', IMAGE)


def the_pods(c):
    c.raw = Raw(c)
    c.apply(PODS)
    c.kubectl('wait', '--for=condition=Ready', 'pod/p', 'pod/two', '--timeout=60s')
    eventually('it is over', lambda: c.get('pod', 'done')['status']['phase'] == 'Failed')
    eventually('it waits', lambda: c.get('pod', 'q')['status']['containerStatuses'][0]['state']['waiting']['reason'] == 'ErrImageNeverPull')


def command(c, *args, input=None, spdy=False, timeout=60):
    """Exit code, stdout and what a person reads on stderr."""
    p = subprocess.run([c.bin + '/kubectl'] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=input, timeout=timeout,
                       env=dict(c.env, **(SPDY if spdy else {})))
    return p.returncode, p.stdout, p.stderr.decode()


def path(pod, sub, query=''):
    return '/api/v1/namespaces/default/pods/%s/%s?%s' % (pod, sub, query)


# --- a WebSocket that is told what to say

class Socket:
    def __init__(self, c, path, protocol, extra='', admin=True):
        self.s, self.buf = c.raw.open(30, admin), b''
        self.s.sendall(upgrade(path, protocol, extra))
        while b'\r\n\r\n' not in self.buf:
            self.more()
        head, _, self.buf = self.buf.partition(b'\r\n\r\n')
        self.status, self.headers, _ = parsed(head + b'\r\n\r\n')
        self.body = b''
        if self.status != 101:
            while len(self.buf) < int(self.headers.get('content-length', 0)):
                self.more()
            self.body = self.buf

    def more(self):
        part = self.s.recv(65536)
        if not part:
            raise EOFError
        self.buf += part

    def take(self, n):
        while len(self.buf) < n:
            self.more()
        got, self.buf = self.buf[:n], self.buf[n:]
        return got

    def read(self):
        """One message: opcode and bytes."""
        op, n = self.take(2)
        n = int.from_bytes(self.take(2), 'big') if n == 126 else int.from_bytes(self.take(8), 'big') if n == 127 else n
        return op & 15, self.take(n)

    def send(self, data):
        self.s.sendall(frame(2, data))

    def rest(self):
        """All messages up to the goodbye; the connection then ends, too."""
        got = []
        while True:
            op, data = self.read()
            if op == 8:
                self.s.sendall(frame(8, data))
                return got
            if op in (1, 2):
                got.append((op, data))


def channels(messages, coded=False):
    out = {}
    for op, data in messages:
        assert op == (1 if coded else 2), (op, data)
        n = data[0] - 48 if coded else data[0]
        out[n] = out.get(n, b'') + (base64.b64decode(data[1:]) if coded else data[1:])
    return out


# --- tests

def what_fails_says_why(c):
    inside, outside = 'error: Internal error occurred: ', 'Error from server '
    why = 'error executing command in container: exec failed: unable to start container process: exec: '
    missing = {False: inside + 'unable to upgrade connection: container not found ("c")', True: outside + '(NotFound): container not found ("c")'}
    for spdy in (False, True):
        for args, want in ((['p', '--', 'nosuch'], inside + why + '"nosuch": executable file not found in $PATH'),
                           (['p', '--', '/bin'], inside + why + '"/bin": permission denied (is a directory)'),
                           (['p', '--', '/etc/resolv.conf'], inside + why + '"/etc/resolv.conf": '),
                           (['p', '--', '/no/such'], inside + why + '"/no/such": stat /no/such: no such file or directory'),
                           (['p', '-c', 'other', '--', 'true'], 'container other is not valid for pod p'),
                           (['two', '-c', 'i', '--', 'true'], 'container not found ("i")'),
                           (['q', '--', 'true'], missing[spdy]),
                           (['absent', '--', 'true'], outside + '(NotFound): pods "absent" not found')):
            code, out, err = command(c, 'exec', *args, spdy=spdy)
            assert code == 1 and want in err and not out and 'Unknown stream' not in err, (spdy, args, code, out, err)
        code, _, err = command(c, 'attach', 'q', spdy=spdy)
        assert code == 1 and 'container c not found in pod q_default' in err, (spdy, err)
    for args, want in ((['p', '--', 'nosuch'], why + '"nosuch": executable file not found in $PATH'), (['q', '--', 'true'], 'container not found ("c")')):
        p = subprocess.run([WHERRY, 'exec'] + args, env=c.env, stderr=subprocess.PIPE, text=True)
        assert p.returncode == 1 and want in p.stderr, (args, p)
    for method in ('POST', 'GET'):
        for sub in ('exec', 'attach', 'portforward'):
            status, headers, text = c.raw.ask(method, path('p', sub, 'command=true&stdout=1'))
            answer = json.loads(text)
            assert (status, answer['kind'], answer['message'], answer['reason']) == (400, 'Status', 'Upgrade request required', 'BadRequest'), text
            assert headers['content-type'] == 'application/json'
    _, _, text = c.raw.ask('POST', path('two', 'exec', 'command=true&stdout=1'))
    assert 'a container name must be specified for pod two, choose one of: [i a b]' in text, text


def commands_run_by_both_protocols(c):
    big = os.urandom(3 << 20)
    mine, back = c.root + '/big', c.root + '/back'
    with open(mine, 'wb') as f:
        f.write(big)
    for spdy in (False, True):
        code, out, err = command(c, 'exec', 'p', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7', spdy=spdy)
        assert (code, out) == (7, b'out\n') and err.startswith('err\n'), (code, out, err)
        assert command(c, 'exec', '-i', 'p', '--', 'cat', input=big, spdy=spdy)[:2] == (0, big)
        assert command(c, 'exec', '-i', 'p', '--', 'head', '-c', '5', input=b'\n' * (1 << 20), spdy=spdy)[:2] == (0, b'\n' * 5)
        assert command(c, 'exec', 'p', '--', 'sh', '-c', 'sleep 1000 & echo gone on', spdy=spdy)[:2] == (0, b'gone on\n')
        assert command(c, 'exec', 'p', '--', 'echo', *['x'] * 2000, spdy=spdy)[:2] == (0, b'x ' * 1999 + b'x\n')
        code, out, err = command(c, 'exec', 'p', '--', 'echo', *['x'] * 3000, spdy=spdy)
        assert code == 1 and 'the command is over 64 KiB or 2000 words' in str(err), (code, err)
        for args in (('cp', mine, 'p:/big%d' % spdy), ('cp', 'p:/big%d' % spdy, back)):
            code, _, err = command(c, *args, spdy=spdy)
            assert code == 0, err
        script = ': ' + 'x ' * 15000 + '; echo all of it'
        assert command(c, 'exec', 'p', '--', 'sh', '-c', script, spdy=spdy)[:2] == (0, b'all of it\n')
        with open(back, 'rb') as f:
            assert f.read() == big
        p = subprocess.run(['script', '-qec', 'stty rows 33 cols 77; %s/kubectl exec -it p -- sh -c "sleep 1; stty size; exit 4"' % c.bin, '/dev/null'],
                           env=dict(c.env, **(SPDY if spdy else {})), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
        assert b'33 77' in p.stdout and p.returncode == 4, p
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for n, got in enumerate(pool.map(lambda n: command(c, 'exec', 'p', '--', 'echo', str(n), spdy=n % 2 == 0), range(12))):
            assert got[:2] == (0, b'%d\n' % n), got


def channels_of_browsers(c):
    run = path('p', 'exec', 'command=sh&command=-c&command=cat;echo+err>%262;exit+3&stdin&stdout=true&stderr=1')
    sentence = b'command terminated with non-zero exit code: exit status 3'
    for protocol, coded, whole in (('v5.channel.k8s.io', False, True), ('v4.channel.k8s.io', False, True), ('channel.k8s.io', False, False), ('', False, False),
                                   ('v4.base64.channel.k8s.io', True, True), ('base64.channel.k8s.io', True, False), ('nonsense, base64.channel.k8s.io', True, False)):
        # only v5 can say that stdin ends
        w = Socket(c, run if protocol[:2] == 'v5' else run.replace('cat', 'head+-n1'), protocol)
        assert w.status == 101 and w.headers.get('sec-websocket-protocol', '') == protocol.split(', ')[-1], (protocol, w.status, w.headers)
        w.send(b'0' + base64.b64encode(b'hello\n') if coded else b'\0hello\n')
        if protocol[:2] == 'v5':
            w.send(b'\xff\0')
        got = channels(w.rest(), coded)
        assert got[1] == b'hello\n' and got[2] == b'err\n', (protocol, got)
        if whole:
            status = json.loads(got[3])
            assert status['reason'] == 'NonZeroExitCode' and status['details']['causes'] == [{'reason': 'ExitCode', 'message': '3'}], status
        assert sentence in got[3], got
    w = Socket(c, path('p', 'exec', 'command=sh&command=-c&command=sleep+1;stty+size;read+a;echo+got+$a&stdin=1&stdout=1&tty=1'), 'v5.channel.k8s.io')
    w.send(b'\0ahead\r')                                                        # typed before the program is there
    w.send(b'\4{"Width":91,"Height":37}')                                       # and the size, before it runs
    got = channels(w.rest())[1]
    assert b'37 91' in got and b'got ahead' in got, got
    w = Socket(c, path('p', 'exec', 'command=true&stdout=1'), 'channel.k8s.io')
    assert channels(w.rest()) == {1: b''}                                       # success is silence before v4
    w = Socket(c, path('p', 'exec', 'command=nosuch&stdout=1'), 'v4.channel.k8s.io')
    assert b'executable file not found in $PATH' in channels(w.rest())[3]
    for query, protocol, status, words in (('command=x&stdout=1', 'nonsense', 403, 'v4.channel.k8s.io'), ('command=x', 'channel.k8s.io', 400, 'at least 1 of stdin'),
                                           ('stdout=1', 'v4.channel.k8s.io', 400, '1 command')):
        w = Socket(c, path('p', 'exec', query), protocol)
        assert w.status == status and words in json.loads(w.body)['message'], (w.status, w.body)
    w = Socket(c, path('p', 'exec', 'stdout=1'), 'v5.channel.k8s.io')
    assert b'1 command' in channels(w.rest())[3]


def a_slow_reader_gets_all(c):
    """Who reads late, and still writes when the command is over, loses nothing by a reset."""
    w = Socket(c, path('p', 'exec', 'command=head&command=-c8000000&command=/dev/zero&stdin=1&stdout=1'), 'v5.channel.k8s.io')
    got = 0
    for i in range(20):
        w.send(b'\0' + b'x' * 1000)
    while True:
        op, data = w.read()
        if op == 8:
            break
        if data[:1] == b'\1':
            got += len(data) - 1
            if got % 10 == 0:
                w.send(b'\0late')
        elif data[:1] == b'\3':
            assert json.loads(data[1:])['status'] == 'Success', data
    assert got == 8000000, got


def logs_are_what_was_written(c):
    log = lambda query='', pod='done': c.raw.exchange(b'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' % path(pod, 'log', query).encode())
    plain = lambda query, pod='done': c.raw.ask('GET', path(pod, 'log', query))
    # nothing orders the ends of stdout and stderr, which come with the program's
    written = next((w for w in (BINARY, BINARY[10:] + BINARY[:10]) if w in log()), None)
    assert written, log()
    for protocol, want in (('binary.k8s.io', [(2, b''), (2, written)]), ('', [(2, b''), (2, written)]), ('base64.binary.k8s.io', [(1, b''), (1, base64.b64encode(written))])):
        assert Socket(c, path('done', 'log'), protocol).rest() == want, protocol
    last = c.get('pod', 'done')['status']['containerStatuses'][0]['state']['terminated']
    assert last['exitCode'] == 3 and 'no newline' in last['message'] and 'bin' in last['message'], last
    for query, want in (('stream=Stdout', 'no newline'), ('stream=All&limitBytes=4', written[:4].decode(errors='replace')), ('stream=Stderr', '\ufffd\0bin')):
        assert plain(query)[::2] == (200, want), (query, plain(query))
    for query, want in (('container=i', 'one\ntwo\nthree\n'), ('container=i&tailLines=2', 'two\nthree\n'), ('container=i&tailLines=0', ''), ('container=i&limitBytes=5', 'one\nt')):
        assert plain(query, 'two')[::2] == (200, want), (query, plain(query, 'two'))
    assert re.fullmatch(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (one|two|three)\n){3}', plain('container=i&timestamps', 'two')[2])
    for pod, query, status, reason, words in (
            ('q', '', 400, 'BadRequest', 'container "c" in pod "q" is waiting to start: ErrImageNeverPull'), ('done', 'previous=true', 400, 'BadRequest', 'previous terminated container "c" in pod "done" not found'),
            ('two', '', 400, 'BadRequest', 'choose one of: [i a b]'), ('p', 'container=x', 400, 'BadRequest', 'container x is not valid for pod p'), ('absent', '', 404, 'NotFound', 'pods "absent" not found'),
            ('p', 'stream=Both', 422, 'Invalid', 'Unsupported value: "Both"'), ('p', 'stream=Stderr&tailLines=1', 422, 'Invalid', 'mutually exclusive'), ('p', 'tailLines=-1', 422, 'Invalid', 'greater than or equal to 0'),
            ('absent', 'limitBytes=0', 422, 'Invalid', 'must be greater than 0'), ('p', 'sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z', 422, 'Invalid', 'at most one of'), ('p', 'sinceTime=yesterday', 400, 'BadRequest', 'RFC 3339')):
        got, headers, text = plain(query, pod)
        answer = json.loads(text)
        assert (got, answer['kind'], answer['reason'], answer['code']) == (status, 'Status', reason, status) and words in answer['message'], (pod, query, text)
    code, _, err = command(c, 'logs', 'q')
    assert code == 1 and err.strip() == 'Error from server (BadRequest): container "c" in pod "q" is waiting to start: ErrImageNeverPull', err


def many_follow_and_all_hear_the_end(c):
    """More than the 128 inotify instances that the kernel has for one user."""
    c.apply('''
apiVersion: v1
kind: Pod
metadata: {name: talk}
spec: {restartPolicy: Never, containers: [{name: c, image: %s, command: [sh, -c, 'echo begin; head -n1; printf end'], stdin: true, stdinOnce: true}]}
''' % IMAGE)
    c.kubectl('wait', '--for=condition=Ready', 'pod/talk', '--timeout=60s')
    held = []
    for i in range(200):
        s = c.raw.open(60)
        s.sendall(('GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' % path('talk', 'log', 'follow=true')).encode())
        held.append(s)
    for s in held:
        got = b''
        while b'begin\n' not in got:
            got += s.recv(4096)
    assert command(c, 'attach', '-i', 'talk', input=b'word\n')[0] == 0
    for s in held:
        got = b''
        while (part := s.recv(4096)):
            got += part
        assert b'word\n' in got and b'end' in got, got
        s.close()


def attached_and_run(c):
    with open(os.devnull) as nothing:                                               # looks on without stdin: it stays open
        looks = subprocess.Popen([c.bin + '/kubectl', 'attach', 'once'], env=c.env, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b'command prompt' in looks.stderr.readline() + looks.stderr.readline()
    code, out, err = command(c, 'attach', '-i', 'once', input=b'x' * 1000000)
    assert code == 0 and out == b'1000000\nover\n', (out, err)
    out, _ = looks.communicate(timeout=30)
    assert looks.returncode == 0 and out == b'1000000\nover\n', out
    run = ['run', '--restart=Never', '--image=' + IMAGE, '--image-pull-policy=IfNotPresent']
    for n in range(3):
        code, out, err = command(c, *run, 'r%d' % n, '--rm', '-i', '--command', '--', 'sh', '-c', 'echo out')
        assert code == 0 and out.startswith(b'out\n') and 'unrecognized' not in err, (code, out, err)
    code, out, err = command(c, *run, 'r4', '--rm', '-i', '--quiet', '--command', '--', 'sh', '-c', 'cat; exit 5', input=b'input\n')
    assert code == 5 and out.startswith(b'input\n'), (code, out, err)
    code, out, err = command(c, *run, 'r6', '--attach', '--stdin', '--leave-stdin-open', '--command', '--', 'sh', '-c', 'cat && echo closed', input=b'abcd1234\n')
    assert code == 0, err
    eventually('it has read that', lambda: c.kubectl('logs', 'r6') == 'abcd1234\n')
    assert c.get('pod', 'r6')['status']['phase'] == 'Running'
    code, out, err = command(c, 'attach', '-i', 'r6', input=b'more\n')
    assert code == 0, err
    eventually('and the next', lambda: c.kubectl('logs', 'r6') == 'abcd1234\nmore\n')
    c.kubectl('delete', 'pod', 'r6', '--now', '--wait=false')
    code, out, err = command(c, *run, 'r5', '--attach', '--quiet', '--command', '--', '/bin/nope')
    assert code != 0 and '/bin/nope' in out.decode() + err, (code, out, err)


def ports_are_forwarded(c):
    for spdy in (False, True):
        p = subprocess.Popen([c.bin + '/kubectl', 'port-forward', 'p', '18080:8080', '18081:81'], env=dict(c.env, **(SPDY if spdy else {})), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert [p.stdout.readline() for _ in range(4)][-1].startswith('Forwarding from')
            get = lambda n: run(['curl', '-sS', '--noproxy', '*', 'http://127.0.0.1:18080/'])
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                assert set(pool.map(get, range(40))) == {'Hello from p\n'}
            with socket.create_connection(('127.0.0.1', 18080)) as s:          # half of it closed: the answer still comes
                s.sendall(b'GET / HTTP/1.0\r\n\r\n')
                s.shutdown(socket.SHUT_WR)
                assert until_quiet(s, 10).endswith(b'Hello from p\n')
            subprocess.run(['curl', '-s', '--noproxy', '*', 'http://127.0.0.1:18081/'])
            assert p.wait(20) is not None                                        # kubectl itself ends at an error
            assert 'localhost:81 inside the pod: dial tcp 127.0.0.1:81: connect: connection refused' in p.stderr.read()
        finally:
            p.kill()
            p.wait()
    for protocol, coded in (('v4.channel.k8s.io', False), ('v4.base64.channel.k8s.io', True), ('', False)):
        w = Socket(c, path('p', 'portforward', 'ports=8080,81'), protocol)
        assert w.status == 101, w.body
        request = b'GET / HTTP/1.0\r\n\r\n'
        w.send(b'0' + base64.b64encode(request) if coded else b'\0' + request)
        got = channels(w.rest(), coded)
        assert got[0][:2] == got[1] == (8080).to_bytes(2, 'little') and got[2] == (81).to_bytes(2, 'little'), got
        assert got[0].endswith(b'Hello from p\n') and got[3][2:].startswith(b'error forwarding port 81 to pod p, uid ') and got[3].endswith(b'connection refused'), got
    for query, status, words in (('', 400, '"ports" is required'), ('ports=0', 400, 'from 1 to 65535'), ('ports=80,x', 400, 'from 1 to 65535')):
        w = Socket(c, path('p', 'portforward', query), 'v4.channel.k8s.io')
        assert w.status == status and words in json.loads(w.body)['message'], (query, w.body)


def watches_by_websocket_with_a_token(c):
    c.kubectl('create', 'serviceaccount', 'console')
    c.kubectl('create', 'clusterrolebinding', 'console', '--clusterrole=view', '--serviceaccount=default:console')
    token = c.kubectl('create', 'token', 'console').strip()
    coded = 'base64url.bearer.authorization.k8s.io.' + base64.urlsafe_b64encode(token.encode()).decode().rstrip('=')
    watch = '/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Dseen'
    w = Socket(c, watch, coded + ', base64.binary.k8s.io', admin=False)
    assert w.status == 101 and w.headers['sec-websocket-protocol'] == 'base64.binary.k8s.io', (w.status, w.headers, w.body)
    c.kubectl('create', 'configmap', 'seen', '--from-literal=a=1')
    op, data = w.read()
    event = json.loads(data)
    assert op == 1 and event['type'] == 'ADDED' and event['object']['data'] == {'a': '1'}, data
    w.s.close()
    assert Socket(c, path('two', 'log', 'container=i'), coded + ', binary.k8s.io', admin=False).rest()[-1] == (2, b'one\ntwo\nthree\n')
    for protocols, status in ((coded, 401), (coded[:-4] + 'AAAA, x', 401), ('base64url.bearer.authorization.k8s.io.!, x', 401), ('x', 403)):
        assert Socket(c, watch, protocols, admin=False).status == status, protocols
    assert Socket(c, path('p', 'exec', 'command=true&stdout=1'), coded + ', v5.channel.k8s.io', admin=False).status == 403
    ended = Socket(c, '/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1', '').rest()
    assert all(op == 1 and json.loads(data)['type'] == 'ADDED' for op, data in ended), ended


def nodes_at_their_ports(c):
    node = c.get('nodes')['items'][0]
    name, port = node['metadata']['name'], node['status']['daemonEndpoints']['kubeletEndpoint']['Port']
    for who, status, words in ((name, 200, 'ok'), ('%s:%d' % (name, port), 200, 'ok'), ('https:%s:%d' % (name, port), 200, 'ok'), ('absent:1', 404, 'nodes \\"absent\\" not found'), ('ftp:%s:1' % name, 400, 'invalid node request'),
                               (name + ':x', 400, 'no port'), (name + ':9', 503, 'refused')):
        got, _, text = c.raw.ask('GET', '/api/v1/nodes/%s/proxy/healthz' % who)
        assert got == status and words in text, (who, got, text)
    uid = c.get('pod', 'done')['metadata']['uid']
    for where, status, words in (('logs/', 200, '<a href="pods/">pods/</a>'), ('logs', 200, 'pods/'), ('logs/pods/default_done_%s/c/0.log' % uid, 200, ' stdout P no newline'), ('logs/absent', 404, 'not found'),
                                 ('logs/../wherry/server', 404, ''), ('logs/%2e%2e/', 404, 'not found'), ('logs/%2e%2e/%2e%2e/etc/passwd', 404, 'not found')):
        for who in (name, '%s:%d' % (name, port)):
            got, _, text = c.raw.ask('GET', '/api/v1/nodes/%s/proxy/%s' % (who, where))
            assert got == status and words in text, (where, got, text[:300])
    far = '/api/v1/nodes/far'
    assert c.raw.ask('POST', '/api/v1/nodes', {'metadata': {'name': 'far'}, 'spec': {'unschedulable': True}})[0] == 201
    for ip in ('0.0.0.0', '127.0.0.1', '169.254.1.1', '224.0.0.1', '::', '::1', '::ffff:127.0.0.1', 'fe80::1', 'ff02::1', 'localhost', ''):     # a node says itself where it is
        status = {'status': {'addresses': [{'type': 'InternalIP', 'address': ip}]}}
        assert c.raw.ask('PATCH', far + '/status', status, 'application/merge-patch+json')[0] == 200, ip
        got, _, text = c.raw.ask('GET', far + ':9/proxy/healthz')
        assert got == 400 and 'address not allowed' in text, (ip, got, text)
    assert c.raw.ask('DELETE', far)[0] == 200


def whoever_leaves_leaves_nothing(c):
    """At each stage of each stream the client goes."""
    streams = [('exec', 'command=cat&stdin=1&stdout=1', 'v5.channel.k8s.io', b'\0x'), ('exec', 'command=sh&command=-c&command=yes&stdout=1', 'v4.channel.k8s.io', b''),
               ('exec', 'command=sh&command=-c&command=sleep+2000;true&stdout=1', 'v4.channel.k8s.io', b''), ('exec', 'command=sleep&command=1000&stdout=1&tty=1&stdin=1', 'v5.channel.k8s.io', b'\4{'),
               ('attach', 'stdout=1', 'v4.channel.k8s.io', b''), ('log', 'follow=1', 'binary.k8s.io', b''), ('portforward', 'ports=8080', 'v4.channel.k8s.io', b'\0GET'), ('portforward', '', 'SPDY/3.1+portforward.k8s.io', b'\x80\x03\0\x01')]
    held = lambda: [len(os.listdir('/proc/%d/fd' % c.role_pid(role))) for role in ('relay', 'node', 'server')]
    assert c.kubectl('exec', 'p', '--', 'true') == ''
    before = held()
    for sub, query, protocol, data in streams:
        for stage in range(4):
            with c.raw.open() as s:
                s.sendall(upgrade(path('p', sub, query), protocol))
                if stage >= 1:
                    s.settimeout(20)
                    assert b'101' in s.recv(12 if stage == 1 else 4096)
                if stage >= 2 and data:
                    s.sendall(frame(2, data))
                if stage == 3:
                    s.sendall(frame(8, b'\3\xe8'))
        with c.raw.open() as s:
            s.sendall(('POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\n\r\n' %
                       (path('p', sub, query), 'portforward.k8s.io' if sub == 'portforward' else 'v4.channel.k8s.io')).encode())
    sessions = lambda: int(re.search(r'\nwherry_proxy_sessions (\d+)', c.raw.ask('GET', '/metrics')[2]).group(1))
    eventually('the sessions are over', lambda: sessions() == 0, timeout=40)
    eventually('no descriptor is left', lambda: all(now <= was + 2 for now, was in zip(held(), before)), timeout=40)
    left = lambda: [l for l in c.kubectl('exec', 'p', '--', 'ps').splitlines() if re.search(r'\b(cat|yes|sleep 2000|sleep 1000 *$)', l) and 'sh -c sleep' not in l]
    eventually('no command is left', lambda: len(left()) <= 2, timeout=40)      # two `sleep 1000` of a test before


PAGE = """<!doctype html><A class=x HREF="%s/x?y=1&amp;z">t</A><script>"<a href=/no>"</script><img src='http://%s%s/i'><a href=there>""" + '<p>%s</p>' % ('x' * 100000)


class Echo(http.server.BaseHTTPRequestHandler):
    """Says what it was asked, as JSON; some paths answer oddly."""
    protocol_version = 'HTTP/1.1'

    def answer(self):
        n = int(self.headers.get('Content-Length') or 0)
        body = json.dumps({'method': self.command, 'path': self.path, 'body': self.rfile.read(n).decode(), 'headers': dict(self.headers)}).encode()
        status, extra = {'/moved': (302, [('Location', '/there?x=1')]), '/away': (307, [('Location', 'http://elsewhere.test/')]), '/back': (301, [('Location', 'http://%s:%d/here' % self.server.server_address)]),
                         '/host': (302, [('Location', 'https://%s/there' % self.headers['Host'])]), '/prefixed': (302, [('Location', (self.headers.get('X-Forwarded-Uri') or '').replace('/prefixed', '/there'))]),
                         '/beside': (302, [('Location', 'http://%s.elsewhere.test/' % self.headers['Host'])]), '/bad': (700, []), '/gone': (410, []), '/switch': (101, [('Upgrade', 'x'), ('Connection', 'upgrade')])}.get(self.path, (200, []))
        kind = 'application/json'
        if self.path.startswith('/page'):
            body, kind = (PAGE % ('', self.headers['Host'], '')).encode(), 'text/html; charset=utf-8'
        if self.path == '/page.gz':
            body, extra = gzip.compress(body), [('Content-Encoding', 'gzip')]
        self.send_response(status)
        for f in extra + [('Content-Type', kind), ('Content-Length', str(len(body))), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'), ('X-Of-Pod', 'yes'), ('Access-Control-Allow-Origin', '*')]:
            self.send_header(*f)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *unused):
        pass


def pods_and_services_by_proxy(c):
    """Every method, with headers and body, to a port of a pod (here one that shares the machine's network: the server is ours) and of a Service."""
    node = c.get('nodes')['items'][0]['status']['addresses'][0]['address']
    server = http.server.ThreadingHTTPServer((node, 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: host, labels: {app: host}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: %s, command: [sleep, '10000'], ports: [{containerPort: %d}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec: {nodeSelector: {no: node}, containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: host}
  ports: [{name: one, port: 80, targetPort: %d}, {name: closed, port: 81, targetPort: 9}]
---
apiVersion: v1
kind: Service
metadata: {name: own}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: own}
subsets: [{addresses: [{ip: %s}], ports: [{port: %d}]}, {addresses: [{ip: %s, targetRef: {kind: Pod, name: p, namespace: default}}], ports: [{port: %d}]}]
""" % (IMAGE, port, port, node, port, node, port))
    c.kubectl('wait', '--for=condition=Ready', 'pod/host', '--timeout=60s')
    at = lambda who, rest: '/api/v1/namespaces/default/%s/proxy%s' % (who, rest)
    eventually('the Service has its pod', lambda: c.raw.ask('GET', at('services/echo:one', '/'))[0] == 200)
    own = [('Authorization', 'Bearer a.b.c'), ('X-Wherry-User', 'x'), ('X-Remote-User', 'x')]
    for who in ('pods/host', 'pods/host:%d' % port, 'pods/http:host:%d' % port, 'services/echo:one', 'services/echo:80', 'services/http:echo:one'):
        for method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'):
            body = b'some text' if method in ('POST', 'PUT', 'PATCH') else None
            status, headers, text = c.raw.ask(method, at(who, '/some/p%20th/?a=b&c'), body, 'text/odd', headers=[('X-Mine', 'here'), ('Cookie', 'k=v')] + own)
            assert status == 200 and headers['x-of-pod'] == 'yes' and headers['set-cookie'] == 'b=2' and 'access-control-allow-origin' not in headers, (who, method, status, headers, text)
            if method == 'HEAD':
                assert text == ''
                continue
            got = json.loads(text)
            has = {k.lower(): v for k, v in got['headers'].items()}
            assert (got['method'], got['path'], got['body']) == (method, '/some/p%20th/?a=b&c', body.decode() if body else ''), got
            assert has['x-mine'] == 'here' and has['cookie'] == 'k=v' and has['x-forwarded-uri'] == at(who, '/some/p%20th/') and has['x-forwarded-host'] == 'x', got
            assert not {'authorization', 'x-wherry-user', 'x-remote-user', 'x-wherry-pod-uid'} & set(has) and (not body or has['content-type'] == 'text/odd'), got
        for method, status in (('GET', 301), ('HEAD', 301), ('POST', 200), ('DELETE', 200), ('OPTIONS', 200)):
            got, headers, _ = c.raw.ask(method, at(who, '?q=1'))
            assert got == status and (status != 301 or headers['location'] == at(who, '/?q=1')), (who, method, got, headers)
        for where, status, to in (('/moved', 302, at(who, '/there?x=1')), ('/away', 307, 'http://elsewhere.test/'), ('/back', 301, at(who, '/here')), ('/host', 302, at(who, '/there')), ('/prefixed', 302, at(who, '/there')),
                                  ('/beside', 302, 'http://x.elsewhere.test/'), ('/gone', 410, None), ('/bad', 503, None), ('/switch', 503, None)):
            got, headers, _ = c.raw.ask('GET', at(who, where))
            assert got == status and headers.get('location') == to, (who, where, got, headers)
        page = PAGE.replace("'http://%s", "'%s") % (at(who, ''), '', at(who, ''))    # its links lead into the proxy
        assert c.raw.ask('GET', at(who, '/page'))[2] == page, (who, c.raw.ask('GET', at(who, '/page'))[2][:500])
        assert c.raw.ask('HEAD', at(who, '/page'))[2] == '', who
        _, headers, small = parsed_bytes(c.raw.exchange(('GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' % at(who, '/page.gz')).encode()))
        assert headers['content-encoding'] == 'gzip' and gzip.decompress(small).decode() == page, (who, headers, small[:500])
    eventually('the pod has an address', lambda: c.raw.ask('GET', at('pods/p:8080', '/'))[2].startswith('Hello from p'))
    for who, status, words in (('pods/none', 404, 'pods \\"none\\" not found'), ('pods/host:x', 400, 'no port'), ('pods/ftp:host:1', 400, 'invalid pod request'), ('pods/host:9', 503, 'error trying to reach service'),
                               ('pods/nowhere', 400, 'address not allowed'), ('services/none', 404, 'services \\"none\\" not found'), ('services/echo:82', 503, 'no service port 82 found for service \\"echo\\"'),
                               ('services/echo', 503, 'no endpoints available for service \\"echo\\"'), ('services/echo:closed', 503, 'refused'), ('services/own', 503, 'no endpoints available'), ('services/:', 400, 'invalid service request')):
        got, _, text = c.raw.ask('GET', at(who, '/'))
        assert got == status and words in text, (who, got, text)
        assert json.loads(text)['reason'] == {400: 'BadRequest', 404: 'NotFound', 503: 'ServiceUnavailable'}[status], (who, text)
    for ip in ('127.0.0.1', '0.0.0.0', '169.254.169.254', '224.0.0.1'):
        c.kubectl('patch', 'pod', 'nowhere', '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'podIP': ip, 'podIPs': [{'ip': ip}]}}))
        status, _, text = c.raw.ask('GET', at('pods/nowhere:80', '/'))
        assert status == 400 and 'address not allowed' in text, (ip, status, text)
    for phase, status in (('Failed', 503), ('Succeeded', 503), ('Pending', 200)):      # an address that somebody else may have by now
        c.kubectl('patch', 'pod', 'nowhere', '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'phase': phase, 'podIP': node, 'podIPs': [{'ip': node}]}}))
        got, _, text = c.raw.ask('GET', at('pods/nowhere:%d' % port, '/'))
        assert got == status and (status == 200 or 'has ended' in text), (phase, got, text)
    status, _, _ = c.raw.ask('TRACE', at('pods/host', '/'))
    assert status == 405, status
    server.shutdown()
    c.kubectl('delete', 'pod/host', 'pod/nowhere', 'svc/echo', 'svc/own', '--wait=false')


class Bulk(http.server.BaseHTTPRequestHandler):
    """Takes bodies and gives them, of any size, at the pace that it is told; `leave` ends its connection in the midst of it."""
    protocol_version, taken, left = 'HTTP/1.1', 0, None
    rest = threading.Event()                            # set: it reads on

    def pieces(self):
        if self.headers.get('Content-Length'):
            n = int(self.headers['Content-Length'])
            while n:
                part = self.rfile.read(min(n, 65536))
                n -= len(part)
                yield part
                if not part:
                    return
        else:
            while True:
                n = int(self.rfile.readline() or b'0', 16)
                part = self.rfile.read(n + 2)
                yield part[:-2]
                if not n:
                    return

    def do_PUT(self):
        Bulk.taken, Bulk.left, total = 0, None, 0
        for part in self.pieces():
            if not part:
                break
            total += len(part)
            Bulk.taken = total
            if 'slow' in self.path and total > 1 << 20 and not Bulk.rest.wait(60):
                return
            if 'leave' in self.path and total > 1 << 20:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
        Bulk.left = total
        text = b'%d' % total
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        n, Bulk.left = int(self.path.partition('=')[2]), None
        self.send_response(200)
        self.send_header('Content-Length', str(n))
        self.end_headers()
        try:
            for at in range(0, n, 1 << 16):
                if 'leave' in self.path and at > n // 2:
                    break
                self.wfile.write(PIECE[:min(len(PIECE), n - at)])
        except OSError:
            pass
        Bulk.left = at
        self.close_connection = True

    def log_message(self, *unused):
        pass


PIECE = bytes(range(256)) * 256
LARGE = 200 << 20


def large_bodies_by_proxy(c):
    """200 MB each way through a pod's proxy, at the pace of who reads, in memory that does not follow; and whoever leaves takes the other along."""
    node = c.get('nodes')['items'][0]['status']['addresses'][0]['address']
    server = http.server.ThreadingHTTPServer((node, 0), Bulk)
    server.daemon_threads, server.handle_error = True, lambda *unused: None     # who leaves is no news
    threading.Thread(target=server.serve_forever, daemon=True).start()
    c.apply('{apiVersion: v1, kind: Pod, metadata: {name: bulk}, spec: {nodeSelector: {no: node}, containers: [{name: c, image: x}]}}')
    c.kubectl('patch', 'pod', 'bulk', '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'podIP': node, 'podIPs': [{'ip': node}]}}))
    at = '/api/v1/namespaces/default/pods/bulk:%d/proxy/' % server.server_address[1]
    sessions = lambda: int(re.search(r'\nwherry_proxy_sessions (\d+)', c.raw.ask('GET', '/metrics')[2]).group(1))

    def most():
        """Of memory, since it was asked last."""
        pid = c.role_pid('server')
        with open('/proc/%d/status' % pid) as f:
            most = int(re.search(r'VmHWM:\s*(\d+)', f.read()).group(1)) << 10
        with open('/proc/%d/clear_refs' % pid, 'w') as f:
            f.write('5')
        return most

    def put(path, n, chunked=False):
        """A connection on which the head and n bytes of a body are sent, and nothing is read."""
        s = c.raw.open(120)
        s.sendall(('PUT %s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n' % (at, path, 'Transfer-Encoding: chunked\r\n' if chunked else 'Content-Length: %d\r\n' % LARGE)).encode())
        for _ in range(n // len(PIECE)):
            s.sendall(b'%x\r\n%s\r\n' % (len(PIECE), PIECE) if chunked else PIECE)
        return s

    def answer(s):
        with s:
            return parsed(until_quiet(s, 60))

    most()
    idle = most()
    for chunked in (False, True):
        s = put('up', LARGE, chunked)
        if chunked:
            s.sendall(b'0\r\n\r\n')
        status, _, text = answer(s)
        assert (status, text) == (200, str(LARGE)), (chunked, status, text)
    up = most() - idle
    with c.raw.open(120) as s:
        s.sendall(('GET %sdown?n=%d HTTP/1.1\r\nHost: x\r\n\r\n' % (at, LARGE)).encode())
        got = b''
        while b'\r\n\r\n' not in got:
            got += s.recv(65536)
        head, _, body = got.partition(b'\r\n\r\n')
        assert b'Content-Length: %d' % LARGE in head, head
        n, whole = len(body), body
        while n < LARGE:
            part = s.recv(1 << 16)
            assert part, n
            if n >> 25 != (n + len(part)) >> 25:        # rests now and then
                time.sleep(0.2)
            n += len(part)
            whole = whole if len(whole) > 1 << 20 else whole + part
        assert n == LARGE and whole[:1 << 20] == PIECE * 16
    down = most() - idle
    assert up < 32 << 20 and down < 32 << 20, (idle, up, down)
    Bulk.rest.clear()                                   # a target that does not read on: the client is held back, and the server holds little
    s = put('slow', 1 << 20)
    s.settimeout(3)
    sent = 0
    try:
        while sent < LARGE:
            sent += s.send(PIECE)
    except (socket.timeout, TimeoutError):
        pass
    assert sent < LARGE // 2 and most() - idle < 32 << 20, (sent, Bulk.taken)
    assert sessions() == 1
    s.close()                                           # and goes
    Bulk.rest.set()
    eventually('the session is over', lambda: sessions() == 0, timeout=60)
    s = put('up', 4 << 20)                              # a client that goes in the midst of its body
    eventually('some came', lambda: Bulk.taken > 1 << 20)
    s.close()
    eventually('its session is over', lambda: sessions() == 0)
    s = c.raw.open(60)                                  # and of the answer
    s.sendall(('GET %sdown?n=%d HTTP/1.1\r\nHost: x\r\n\r\n' % (at, LARGE)).encode())
    assert s.recv(1000)
    s.close()
    eventually('the target has noticed', lambda: Bulk.left is not None and Bulk.left < LARGE - (1 << 20))
    eventually('that session is over', lambda: sessions() == 0)
    try:
        s = put('leave', 8 << 20)                       # a target that goes in the midst of the body
    except OSError:
        s = None                                        # it was told, and hung up on
    if s:
        status, _, text = answer(s)
        assert status == 503 and 'error trying to reach service' in text, (status, text)
    with c.raw.open(60) as s:                           # and of its answer
        s.sendall(('GET %sdown/leave?n=%d HTTP/1.1\r\nHost: x\r\n\r\n' % (at, 1 << 22)).encode())
        n = 0
        while True:
            part = s.recv(65536)
            if not part:
                break
            n += len(part)
        assert 1 << 20 < n < 1 << 22, n
    eventually('all sessions are over', lambda: sessions() == 0)
    status, headers, _ = c.raw.ask('PUT', '/api/v1/namespaces/default/pods/none/proxy/', b'x' * 200000)    # nobody is there: it is not read to its end
    assert status == 404, status
    server.shutdown()
    c.kubectl('delete', 'pod/bulk', '--wait=false')


def spdy_frames(c):
    """A client of SPDY with manners of its own: no dictionary, data in pieces, a resize cut in two."""
    deflate, sent = zlib.compressobj(), []

    def syn(stream, **headers):
        block = len(headers).to_bytes(4, 'big') + b''.join(len(t).to_bytes(4, 'big') + t.encode() for item in headers.items() for t in item)
        block = deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
        body = stream.to_bytes(4, 'big') + bytes(6) + block
        return b'\x80\3\0\1' + len(body).to_bytes(4, 'big') + body

    data = lambda stream, text, fin=0: stream.to_bytes(4, 'big') + bytes([fin]) + len(text).to_bytes(3, 'big') + text
    with c.raw.open(30) as s:
        s.sendall(('POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9, v4.channel.k8s.io\r\n\r\n' %
                   path('p', 'exec', 'command=cat&stdin=1&stdout=1')).encode())
        got = b''
        while b'\r\n\r\n' not in got:
            got += s.recv(1)
        assert got.startswith(b'HTTP/1.1 101') and b'X-Stream-Protocol-Version: v4.channel.k8s.io' in got, got
        for byte in syn(1, streamtype='error') + syn(3, streamtype='stdin') + syn(5, streamtype='stdout') + syn(7, streamtype='unknown'):
            s.sendall(bytes([byte]))
        s.sendall(data(3, b'hello ') + data(3, b'world', fin=1))
        got, out, resets, ended = b'', {}, [], []
        while 1 not in ended:
            while len(got) < 8 or len(got) < 8 + int.from_bytes(got[5:8], 'big'):
                part = s.recv(4096)
                assert part, (out, resets)
                got += part
            n = int.from_bytes(got[5:8], 'big')
            head, fin, body, got = int.from_bytes(got[:4], 'big'), got[4], got[8:8 + n], got[8 + n:]
            if not head >> 31:
                out[head] = out.get(head, b'') + body
                ended += [head] if fin & 1 else []
            elif head & 0xffff == 3:
                resets.append(int.from_bytes(body[:4], 'big'))
        assert out[5] == b'hello world' and json.loads(out[1]) == {'metadata': {}, 'status': 'Success'} and 7 in resets and 5 in ended, (out, resets, ended)
    for header, status in (('X-Stream-Protocol-Version: v9\r\n', 403), ('', 400)):
        got = c.raw.exchange(('POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n%s\r\n' %
                              (path('p', 'exec', 'command=true&stdout=1'), header)).encode())
        assert parsed(got)[0] == status and 'v4.channel.k8s.io' in parsed(got)[2], got


if __name__ == '__main__':
    main([the_pods, what_fails_says_why, commands_run_by_both_protocols, channels_of_browsers, a_slow_reader_gets_all, logs_are_what_was_written, many_follow_and_all_hear_the_end,
          attached_and_run, ports_are_forwarded, watches_by_websocket_with_a_token, nodes_at_their_ports, pods_and_services_by_proxy, large_bodies_by_proxy, spdy_frames, whoever_leaves_leaves_nothing])
