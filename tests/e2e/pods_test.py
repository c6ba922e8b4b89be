#!/usr/bin/env python3
"""What a pod finds on its node: environment, names, users, mounts, files' modes, sysctls; probes and hooks against servers as
people have them; pulls from registries as they behave. One cluster, all pods at once; each says what it finds in its log."""
import base64, ctypes, gzip, hashlib, http.client, http.server, io, tarfile, threading
from lib import *

END = 'that is all'
PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
APPLETS = 'sh ls cat wget id hostname stat mount grep sleep echo printf nc httpd head tr mkdir mv env base64 chmod'


# ---- images: a docker archive each, all upon one layer

def member(name, kind=tarfile.REGTYPE, data=b'', mode=0o755, uid=0, link=''):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.uid, t.gid, t.linkname, t.size = kind, mode, uid, uid, link, len(data)
    return t, data


def layer(members):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode='w') as f:
        for t, data in members:
            f.addfile(t, io.BytesIO(data))
    return b.getvalue()


def base_layer():
    with open('/bin/busybox', 'rb') as f:
        box = f.read()
    members = [member('bin', tarfile.DIRTYPE), member('bin/busybox', data=box)]
    members += [member('bin/' + a, tarfile.SYMTYPE, link='busybox') for a in APPLETS.split()]
    members += [member(d, tarfile.DIRTYPE) for d in ('etc', 'root', 'home', 'run', 'var')]
    members += [member('tmp', tarfile.DIRTYPE, mode=0o1777), member('home/app', tarfile.DIRTYPE, uid=1000),
                member('etc/passwd', data=b'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n', mode=0o644),
                member('etc/group', data=b'root:x:0:\nbin:x:1:root\napp:x:1000:\nextra:x:3000:app\n', mode=0o644)]
    return layer(members)


def digest(b):
    return 'sha256:' + hashlib.sha256(b).hexdigest()


def config(layers, **settings):
    settings = dict({'Env': [PATH], 'Cmd': ['sh']}, **settings)
    return json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': settings,
                       'rootfs': {'type': 'layers', 'diff_ids': [digest(l) for l in layers]}}).encode()


def load(c, name, layers, **settings):
    text, path = config(layers, **settings), '%s/%s.tar' % (c.root, name.replace('/', '_').replace(':', '_'))
    with tarfile.open(path, 'w') as f:
        def put(n, data):
            f.addfile(member(n, data=data)[0], io.BytesIO(data))
        put('config.json', text)
        for i, l in enumerate(layers):
            put('%d.tar' % i, l)
        put('manifest.json', json.dumps([{'Config': 'config.json', 'RepoTags': [name], 'Layers': ['%d.tar' % i for i in range(len(layers))]}]).encode())
    run([WHERRY, 'image', 'load', path, '--root', c.root])


# ---- registries: one that asks for basic auth, one with tokens and redirects, and what it redirects to

class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    MANIFEST, INDEX = 'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json'
    blobs, asked = {}, []

    def log_message(self, *unused):
        pass

    def answer(self, status, body=b'', headers=()):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        form = self.rfile.read(int(self.headers['Content-Length'])).decode()
        self.asked.append('POST %s %s' % (self.path, form))
        good = 'grant_type=refresh_token' in form and 'refresh_token=identity' in form
        self.answer(200 if good else 401, b'{"token": "", "access_token": "identified"}' if good else b'{}')

    def do_GET(self):
        port, path, auth = self.server.server_address[1], self.path.split('?')[0], self.headers.get('Authorization', '')
        self.asked.append('%d %s %s' % (port, self.path, auth))
        if port == 5012:                                    # where blobs lie: no second way to be authorized
            return self.answer(400, b'only one auth mechanism allowed') if auth else self.answer(200, self.blobs[path[1:]])
        if path == '/token':
            return self.answer(200 if 'x=y' in self.path and 'scope=' in self.path else 400, b'{"access_token": "token", "expires_in": 60}')
        if port == 5010 and auth != 'Basic ' + base64.b64encode(b'right:right').decode():
            return self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}', [('WWW-Authenticate', 'Basic realm="r"')])
        wanted = 'Bearer identified' if '/identity/' in path else 'Bearer token'
        if port == 5011 and auth != wanted:
            bearer = 'Bearer realm="http://127.0.0.1:5011/token?x=y",service="reg",scope="repository:any:pull"'
            several = [('WWW-Authenticate', 'Negotiate'), ('WWW-Authenticate', bearer)] if '/headers/' in path else [('WWW-Authenticate', 'Negotiate abc==, ' + bearer)]
            return self.answer(401, b'', several)
        reference = path.rsplit('/', 1)[1]
        if '/manifests/' in path:
            body = self.blobs.get(reference) or self.blobs['index' if port == 5011 else 'manifest']
            return self.answer(200, body, [('Content-Type', self.MANIFEST + '; charset=utf-8')])
        if port == 5011:
            return self.answer(307, b'', [('Location', 'http://127.0.0.2:5012/%s?signature=abc' % reference)])
        self.answer(200, self.blobs[reference])


def start_registries(raw):
    packed, text = gzip.compress(raw, 1), config([raw])
    of = lambda b, **more: dict({'digest': digest(b), 'size': len(b)}, **more)
    manifest = json.dumps({'schemaVersion': 2, 'config': of(text), 'layers': [of(packed)]}).encode()     # no mediaType anywhere
    signed = json.dumps({'schemaVersion': 2, 'config': of(text), 'layers': [of(b'{}', mediaType='application/vnd.in-toto+json')]}).encode()
    index = json.dumps({'schemaVersion': 2, 'mediaType': Registry.INDEX, 'manifests': [
        of(signed, platform={'architecture': 'unknown', 'os': 'unknown'}), of(manifest, platform={'architecture': 'amd64', 'os': 'linux'})]}).encode()
    Registry.blobs.update({digest(b): b for b in (packed, text, manifest, signed)}, manifest=manifest, index=index)
    for address in (('127.0.0.1', 5010), ('127.0.0.1', 5011), ('127.0.0.2', 5012)):
        threading.Thread(target=http.server.ThreadingHTTPServer(address, Registry).serve_forever, daemon=True).start()


# ---- pods

PODS = {}       # name: manifest


def pod(name, *containers, spec='', labels='', init=''):
    PODS[name] = '''
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {%s}}
spec:
  terminationGracePeriodSeconds: 0
  %s
  %s
  containers:
%s
''' % (name, labels, 'initContainers:\n' + init if init else '', spec, '\n'.join(containers))


def saying(name, script, more='', image='box.test/box:1'):
    """A container that runs a script, and stays."""
    return '  - {name: %s, image: "%s", imagePullPolicy: IfNotPresent, command: [sh, -c, %s], %s}' % (
        name, image, json.dumps('{ ' + script + '\n} 2>&1; echo %s; exec sleep 100000' % END), more)


def serving(script, probe, more=''):
    """One that makes files below /w and serves them on 8080."""
    return saying('c', 'mkdir -p /w/cgi-bin; ' + script + '; httpd -p 8080 -h /w', 'readinessProbe: {periodSeconds: 1, httpGet: {port: 8080, %s}}, %s' % (probe, more))


def redirect(name, status, location, body=''):
    script = '#!/bin/sh\nprintf "Status: %s\\r\\n%s\\r\\n%s"\n' % (status, 'Location: %s\\r\\n' % location if location else '', body)
    return 'echo %s | base64 -d > /w/cgi-bin/%s; chmod 755 /w/cgi-bin/%s' % (base64.b64encode(script.encode()).decode(), name, name)


LONG = 'long-' + 248 * 'n'                          # as long as a name may be


def make_pods():
    bomb = ', '.join('{name: V%d, value: $(V%d)$(V%d)}' % (i, i - 1, i - 1) for i in range(1, 30))
    pod('env', saying('image', 'echo HOSTNAME=$HOSTNAME TERM=$TERM', image='box.test/env:1'), saying('plain', 'echo HOSTNAME=$HOSTNAME TERM=$TERM'),
        saying('tty', 'echo TERM=$TERM', 'tty: true'),
        '''  - {name: scope, image: "box.test/env:1", command: [/bin/busybox, echo, "$(FROMIMAGE) $(HOSTNAME) $(A) $(B) $$(A) $(PATH)"],
      env: [{name: A, value: "a-$(FROMIMAGE)"}, {name: B, value: "$(A)$(C)"}, {name: C, value: c}]}''')
    pod('bomb', saying('c', 'env', 'env: [{name: V0, value: 0123456789abcdef}, %s]' % bomb))
    pod('volume', saying('c', 'cat /data/seed; stat -c "%u %a" /data; for f in /data/x /made/here/x /link/inner/x /z; do echo hi > $f && echo $f written; done; stat -c "%a %u" /empty; grep -o " /empty [a-z0-9]*" /proc/mounts',
                         'securityContext: {readOnlyRootFilesystem: true}', 'box.test/volume:1'))
    pod('workdir', saying('c', 'pwd', image='box.test/workdir:1'))
    pod('mounts', saying('c', 'cat /data/conf/a; grep -o " /data[^ ]*" /proc/mounts; grep " /dev/shm " /proc/mounts; cat /etc/hostname; grep " /memory " /proc/mounts; stat -c "%a %g" /memory',
                         'resources: {limits: {memory: 64Mi}}, volumeMounts: [{name: conf, mountPath: /data/conf}, {name: data, mountPath: /data/}, {name: memory, mountPath: /memory}]'),
        spec='securityContext: {fsGroup: 2000}\n  volumes: [{name: conf, configMap: {name: cm}}, {name: data, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Gi}}]')
    pod('modes', saying('c', 'stat -L -c "%n %a %u:%g" /s/key /s/sub/cert /d/key /e /s /s/sub; cat /s/key /d/key > /dev/null && echo readable',
                        'volumeMounts: [{name: s, mountPath: /s}, {name: d, mountPath: /d}, {name: e, mountPath: /e}]'),
        spec='''securityContext: {runAsUser: 1000, fsGroup: 2000}
  volumes: [{name: s, secret: {secretName: s, items: [{key: key, path: key, mode: 0600}, {key: cert, path: sub/cert}]}}, {name: d, secret: {secretName: s, defaultMode: 0400}}, {name: e, emptyDir: {}}]''')
    for name, context in (('user', 'runAsUser: 1000'), ('group', 'runAsUser: 1000, fsGroup: 2000'), ('nobody', '')):
        pod('token-' + name, saying('c', 'stat -L -c "%a %u:%g" /var/run/secrets/kubernetes.io/serviceaccount/token'), spec='securityContext: {%s}' % context)
    pod(LONG, saying('c', 'echo "long name"; hostname'))
    pod('fqdn', saying('c', 'hostname; echo $HOSTNAME; cat /etc/hostname; grep fqdn-name /etc/hosts'), spec='hostname: fqdn-name\n  subdomain: sub\n  setHostnameAsFQDN: true')
    pod('toolong', saying('c', 'hostname'), spec='hostname: a-rather-long-hostname-of-forty-letters-xx\n  subdomain: sub\n  setHostnameAsFQDN: true')
    who = 'echo $(id -u) $(id -g) $(id -G) HOME=$HOME'
    users = (('a', 'a', ''), ('b', 'b', ''), ('c', 'c', ''), ('d', 'd', ''), ('e', 'b', 'securityContext: {runAsUser: 7}'), ('f', 'a', 'securityContext: {runAsGroup: 5}'))
    pod('users', *[saying(n, who, more, 'box.test/user-%s:1' % image) for n, image, more in users] + [saying('root', who)])
    pod('strict', saying('c', who, image='box.test/user-c:1'), saying('a', who, image='box.test/user-a:1'),
        spec='securityContext: {runAsNonRoot: true, supplementalGroupsPolicy: Strict, supplementalGroups: [9]}')
    side = '  - {name: side, image: "box.test/box:1", restartPolicy: Always, command: [sleep, "100000"], ports: [{containerPort: %d, hostPort: 18081}]}'
    pod('side', saying('c', 'true'), init=side % 1)
    pod('side-too', saying('c', 'true'), init=side % 2)
    pod('little', saying('c', 'true', 'resources: {limits: {memory: 128m}}'))
    pod('empty', saying('c', 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/tcp_syncookies',
                        'securityContext: {seLinuxOptions: {}, windowsOptions: {}, capabilities: {}}, resources: {}'),
        spec='securityContext: {seLinuxOptions: {level: "s0:c1,c2"}, windowsOptions: {}, sysctls: [{name: net.ipv4.tcp_syncookies, value: "0"}]}')
    pod('forbidden', saying('c', 'true'), spec='securityContext: {sysctls: [{name: kernel.msgmax, value: "1"}]}')
    pod('two-lines', saying('c', 'true'), spec='securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: "0\\nkernel.domainname=box.test"}]}')
    # probes
    pod('large', serving('head -c 40000 /dev/zero | tr "\\0" x > /w/large', 'path: /large'))
    pod('followed', serving(redirect('red', '302 Found', '/cgi-bin/bad') + '; ' + redirect('bad', '500 Broken', ''), 'path: /cgi-bin/red'))
    pod('circle', serving(redirect('red', '302 Found', 'red'), 'path: /cgi-bin/red'))
    pod('warned', serving(redirect('red', '302 Found', 'http://other.example.invalid/x', 'moved'), 'path: /cgi-bin/red'))
    pod('noslash', serving('echo ok > /w/healthz', 'path: healthz'))
    pod('space', serving('mkdir "/w/my app"; echo ok > "/w/my app/gesund-\u00e4"', 'path: "/my app/gesund-\u00e4"'))
    pod('whole', serving('echo ok > /w/healthz', 'path: "http://localhost/healthz#top"'))
    pod('nowhere', *(saying(name, 'true', 'readinessProbe: {periodSeconds: 1, %s}' % probe) for name, probe in (
        ('name', 'httpGet: {host: nosuch.invalid, port: 80}'), ('number', 'tcpSocket: {host: 203.0.113.1, port: 80}'),
        ('refused', 'tcpSocket: {host: localhost, port: 1}'), ('absent', 'exec: {command: [/nosuch, a]}'))))
    pod('in-vain', saying('c', 'true', 'livenessProbe: {exec: {command: [/nosuch]}, periodSeconds: 1, failureThreshold: 1}'))
    pod('script', saying('c', r'''while true; do printf 'HTTP/1.0 200 OK\n\nhi' | nc -l -p 8080 > /asking; mv /asking /asked; done''', 'readinessProbe: {periodSeconds: 1, httpGet: {port: web, httpHeaders: [{name: x-mine, value: it}]}}, ports: [{name: web, containerPort: 8080}]'))
    pod('hook', saying('c', 'true', 'lifecycle: {postStart: {httpGet: {host: 127.0.0.1, port: 5010, path: "hook path"}}}'))
    # registries
    pulled = lambda name, image, secrets=(): pod(name, '  - {name: c, image: "%s", imagePullPolicy: Always, command: [sleep, "100000"]}' % image,
                                                 spec='imagePullSecrets: [%s]' % ', '.join('{name: %s}' % s for s in secrets))
    pulled('redirected', '127.0.0.1:5011/team/app:1')
    pulled('headers', '127.0.0.1:5011/headers/app:1', ['gone', 'gone-too'])
    pulled('identity', '127.0.0.1:5011/identity/app:1', ['identity'])
    for i in range(3):
        pulled('encoding%d' % i, '127.0.0.1:5010/plain:1', ['encoding%d' % i])
    pulled('second', '127.0.0.1:5010/team/app:1', ['wrong', 'wrong-path', 'encoding0'])
    pulled('globbed', '127.0.0.1:5010/glob:1', ['glob'])
    pulled('refused', '127.0.0.1:5010/team/app:1', ['wrong', 'broken'])


def secret(name, where, entry):
    text = json.dumps({'auths': {where: entry}}).encode()
    return 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: %s}\n' % (name, base64.b64encode(text).decode())


class Pods(Cluster):
    def load_image(self):
        base = base_layer()
        load(self, 'box.test/box:1', [base])
        load(self, 'box.test/env:1', [base], Env=[PATH, 'HOSTNAME=0.0.0.0', 'FROMIMAGE=image', 'TERM=vt100'])
        real = layer([member('data', tarfile.DIRTYPE, uid=1000), member('data/seed', data=b'seed text\n', uid=1000), member('real', tarfile.DIRTYPE),
                      member('link', tarfile.SYMTYPE, link='../../real'), member('empty', tarfile.DIRTYPE, uid=1000, mode=0o700)])
        load(self, 'box.test/volume:1', [base, real], Volumes={'/data': {}, '/made/here': {}, '/link/inner': {}, '/empty': {}})
        load(self, 'box.test/workdir:1', [base], WorkingDir='/no/such')
        for name, user in dict(a='app', b='app:extra', c='1000', d='4321:4321').items():
            load(self, 'box.test/user-%s:1' % name, [base], User=user)
        start_registries(base)

    def up(self):
        super().up()
        eventually('the account is there', lambda: self.kubectl('get', 'sa', 'default'))
        make_pods()
        encodings = ['cmlnaHQ6cmlnaHQ=', 'cmlnaHQ6cmlnaHQ', 'cmlnaH\nQ6cmlnaHQ=\n']
        objects = ['apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: "from the config map\\n"}\n',
                   'apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: k, cert: c}\n',
                   secret('wrong', '127.0.0.1:5010', {'username': 'wrong', 'password': 'wrong'}), secret('wrong-path', '127.0.0.1:5010/team', {'username': 'path', 'password': 'x'}),
                   secret('glob', '127.0.0.*:5010', {'username': 'right', 'password': 'right'}),
                   secret('broken', '127.0.0.1:5010', {'auth': '!'}), secret('identity', '127.0.0.1:5011/identity', {'identitytoken': 'identity'})]
        objects += [secret('encoding%d' % i, 'https://127.0.0.1:5010/v2/', {'auth': e}) for i, e in enumerate(encodings)]
        self.apply('---\n'.join(objects + list(PODS.values())))

    def raw(self, path):
        if not hasattr(self, 'tls'):
            self.tls = admin_tls(self.env['KUBECONFIG'])
        h = http.client.HTTPSConnection('127.0.0.1', self.port, context=self.tls, timeout=20)
        h.request('GET', path)
        r = h.getresponse()
        body = r.read().decode()
        h.close()
        assert r.status == 200, body
        return body

    def said(self, name, container='c', end=END):
        """What a container has said, once it has said all."""
        path = '/api/v1/namespaces/default/pods/%s/log?container=%s' % (name, container)
        return eventually('%s has spoken' % name, lambda: (lambda t: end in t and t)(self.raw(path)), timeout=90).replace('\r', '').split(END)[0].strip().splitlines()

    def pod(self, name):
        return json.loads(self.raw('/api/v1/namespaces/default/pods/' + name))

    def condition(self, name, kind):
        return [x for x in self.pod(name)['status'].get('conditions', []) if x['type'] == kind][0]

    def ready(self, name):
        eventually('%s is ready' % name, lambda: self.condition(name, 'Ready')['status'] == 'True', timeout=90, every=0.2)

    def waiting(self, name, reason, container=0):
        wanted = lambda: [s['state']['waiting'] for s in self.pod(name)['status']['containerStatuses'][container:] if s['state'].get('waiting', {}).get('reason') in reason][0]
        return eventually('%s waits' % name, wanted, timeout=90, every=0.2)['message']

    def event(self, name, reason, text=''):
        def found():
            items = json.loads(self.raw('/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=%s,reason=%s' % (name, reason)))['items']
            return [e['message'] for e in items if text in e['message']]
        return eventually('event %s of %s' % (reason, name), found, timeout=90, every=0.2)[0]


def equal(have, want):
    assert have == want, 'have %r\nwant %r' % (have, want)


def environment(c):
    equal(c.said('env', 'image'), ['HOSTNAME=0.0.0.0 TERM=vt100'])
    equal(c.said('env', 'plain'), ['HOSTNAME=env TERM='])
    equal(c.said('env', 'tty'), ['TERM=xterm'])
    equal(c.said('env', 'scope', '$(PATH)'), ['$(FROMIMAGE) $(HOSTNAME) a-$(FROMIMAGE) a-$(FROMIMAGE)$(C) $(A) $(PATH)'])
    equal(c.kubectl('exec', 'env', '-c', 'image', '--', 'sh', '-c', 'echo $TERM').strip(), 'vt100')


def environment_that_expands(c):
    message = c.waiting('bomb', ['CreateContainerConfigError'])
    assert message.startswith('env V13: the text comes to '), message
    c.event('bomb', 'Failed', 'env V13')


def volumes_and_folder_of_the_image(c):
    said = c.said('volume')
    equal(said[:2], ['seed text', '1000 755'])
    equal([l for l in said if 'written' in l], ['/data/x written', '/made/here/x written', '/link/inner/x written'])
    equal(said[-2], '700 1000')
    own = run(['stat', '-f', '-c', '%T', c.root]).strip()
    assert own == 'overlayfs' or said[-1].split()[1] != 'overlay', said      # so that an overlay can lie upon it, as for a docker in docker
    equal(c.said('workdir'), ['/no/such'])


def mounts(c):
    said = c.said('mounts')
    equal(said[0], 'from the config map')
    equal([l.strip() for l in said if l.startswith(' /data')], ['/data', '/data/conf'])
    shm = [l for l in said if ' /dev/shm ' in l][0]
    assert all(o in shm.split()[3].split(',') for o in ('nosuid', 'nodev', 'noexec')), shm
    assert 'mounts' in said, said
    memory = [l for l in said if ' /memory ' in l][0]
    assert 'size=65536k' in memory, memory
    equal(said[-1], '3777 2000')


def modes_of_files(c):
    equal(c.said('modes'), ['/s/key 640 0:2000', '/s/sub/cert 644 0:2000', '/d/key 440 0:2000', '/e 2777 0:2000', '/s 3777 0:2000', '/s/sub 2755 0:2000', 'readable'])
    equal(c.said('token-user'), ['600 1000:0'])
    equal(c.said('token-group'), ['640 1000:2000'])
    equal(c.said('token-nobody'), ['644 0:0'])


def names(c):
    full = 'fqdn-name.sub.default.svc.cluster.local'
    said = c.said('fqdn')
    equal(said[:3], [full] * 3)
    equal(said[3].split()[1:], [full, 'fqdn-name'])
    message = c.event('toolong', 'FailedCreatePodSandBox')
    assert 'failed to construct FQDN from pod hostname and cluster domain, FQDN a-rather-long' in message, message
    assert message.endswith('is too long (64 characters is the max, 72 characters requested)'), message
    equal(c.pod('toolong')['status']['phase'], 'Pending')
    equal(c.said(LONG)[:2], ['long name', LONG[:63]])
    folder, = [d for d in os.listdir(c.root + '/var/log/pods') if '_long-n' in d]
    assert folder.endswith('_' + c.pod(LONG)['metadata']['uid']) and len(folder) == 255, folder
    link, = [f for f in os.listdir(c.root + '/var/log/containers') if f.startswith('long-n')]
    assert len(link) == 255 and '_default_c-' in link and 'long name' in open(c.root + '/var/log/containers/' + link).read(), link


def users(c):
    want = {'a': '1000 1000 1000 3000 HOME=/home/app', 'b': '1000 3000 3000 HOME=/home/app', 'c': '1000 1000 1000 3000 HOME=/home/app', 'd': '4321 4321 4321 HOME=/',
            'e': '7 0 0 HOME=/', 'f': '1000 5 5 3000 HOME=/home/app', 'root': '0 0 0 1 HOME=/root'}
    for name, line in want.items():
        equal((name, c.said('users', name)), (name, [line]))
    equal(c.said('strict'), ['1000 1000 1000 9 HOME=/home/app'])
    message = c.waiting('strict', ['CreateContainerConfigError'])
    assert message.startswith('container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root'), message


def ports_of_sidecars(c):
    no = lambda name: c.condition(name, 'PodScheduled').get('message', '')
    loser = eventually('one of two finds no place', lambda: [n for n in ('side', 'side-too') if "didn't have free ports for the requested pod ports" in no(n)], timeout=60)
    equal(len(loser), 1)
    c.ready('side-too' if loser == ['side'] else 'side')


def what_cannot_be(c):
    message = c.waiting('little', ['CreateContainerError', 'RunContainerError'])
    assert 'memory limit too low' in message, message
    eventually('forbidden is refused', lambda: c.pod('forbidden')['status'].get('reason') == 'SysctlForbidden', timeout=60)
    equal(c.pod('forbidden')['status']['message'].split('sysctl: ')[-1], '"kernel.msgmax" not allowlisted')
    eventually('a value of two lines is refused', lambda: c.pod('two-lines')['status'].get('reason') == 'SysctlForbidden', timeout=60)


def empty_objects_ask_for_nothing(c):
    equal([l.split() for l in c.said('empty')], [['0'], ['0', '2147483647'], ['0']])


def what_cannot_be_asked_is_no_failure(c):
    eventually('asked again and again', lambda: [e for e in c.get('events', '--field-selector', 'involvedObject.name=in-vain,reason=Unhealthy')['items'] if e.get('count', 1) > 2])
    status = c.pod('in-vain')['status']['containerStatuses'][0]
    assert status['restartCount'] == 0 and status['state'].get('running'), status


def probes(c):
    for name in ('large', 'warned', 'noslash', 'space', 'whole', 'script'):
        c.ready(name)
    equal(c.event('warned', 'ProbeWarning'), 'Readiness probe warning: Probe terminated redirects, Response body: moved')
    equal(c.event('followed', 'Unhealthy', 'statuscode'), 'Readiness probe failed: HTTP probe failed with statuscode: 500')
    message = c.event('circle', 'Unhealthy', 'stopped')
    assert message.endswith('/cgi-bin/red": stopped after 10 redirects'), message
    equal(c.condition('followed', 'Ready')['status'], 'False')
    for words in ('failed: Get "http://nosuch.invalid:80/": dial tcp: lookup nosuch.invalid: no such host', 'failed: dial tcp 203.0.113.1:80: connect: network is unreachable',
                  'failed: dial tcp localhost:1: connect: connection refused',
                  'errored and resulted in unknown state: exec failed: unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory'):
        equal(c.event('nowhere', 'Unhealthy', words), 'Readiness probe ' + words)
    lines = eventually('the script was asked', lambda: c.kubectl('exec', 'script', '--', 'cat', '/asked').split('\n')[:6] or None)
    lines = [l.strip() for l in lines]
    equal([lines[0]] + lines[2:5], ['GET / HTTP/1.1', 'User-Agent: kube-probe/1.36', 'Accept: */*', 'X-Mine: it'])
    c.ready('hook')                 # the registry answers 401: any answer will do
    eventually('the hook was called', lambda: [a for a in Registry.asked if a.startswith('5010 /hook%20path ')])


def pulls(c):
    for name in ('redirected', 'headers', 'identity', 'encoding0', 'encoding1', 'encoding2', 'second', 'globbed'):
        c.ready(name)
    assert not [a for a in Registry.asked if a.startswith('5012 ') and 'Bearer' in a], Registry.asked
    equal(c.event('headers', 'FailedToRetrieveImagePullSecret'), 'Unable to retrieve some image pull secrets (gone, gone-too); attempting to pull the image may not succeed.')
    tried = [base64.b64decode(a.split()[-1]).decode() for a in Registry.asked if a.startswith('5010 /v2/team/app/manifests/1 Basic')]
    assert tried.index('path:x') < tried.index('right:right') and 'wrong:wrong' in tried, tried     # the longest path first
    message = c.waiting('refused', ['ErrImagePull', 'ImagePullBackOff'])
    assert 'pull access denied' in message, message
    c.event('refused', 'FailedToRetrieveImagePullSecret', 'broken: unable to parse auth field')


class DeadDisk:
    """A file system whose server never answers: a FUSE mount that nobody serves. Whoever looks at it waits, until it is unmounted."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        os.mkdir(self.path)
        self.fd = os.open('/dev/fuse', os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = 'fd=%d,rootmode=40000,user_id=0,group_id=0' % self.fd
        assert libc.mount(b'dead', self.path.encode(), b'fuse', 0, options.encode()) == 0, os.strerror(ctypes.get_errno())
        return self

    def __exit__(self, *unused):
        os.close(self.fd)               # whoever waits is told ENOTCONN
        run(['umount', '-l', self.path])


def a_path_of_the_host_that_never_answers(c):
    """It holds up the pods that want it, however many, and nobody else; and not those that are to go."""
    if not os.path.exists('/dev/fuse'):
        return print('     this kernel has no FUSE: not tried')
    pod = lambda name, path, kind='DirectoryOrCreate': '''
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, hostPath: {path: %s, type: %s}}, {name: cm, configMap: {name: cm}}]
  containers: [{name: c, image: "box.test/box:1", command: [sleep, "100000"], volumeMounts: [{name: v, mountPath: /v}, {name: cm, mountPath: /cm}]}]
''' % (name, path, kind)
    node, dead = c.role_pid('node'), ['dead%d' % i for i in range(12)]
    with DeadDisk('/tmp/dead-' + os.path.basename(c.root)) as disk:
        c.apply('---'.join(pod(name, disk.path + '/' + name) for name in dead))
        message = c.event('dead0', 'FailedMount', 'does not answer')
        equal(message, 'MountVolume.SetUp failed for volume "v" : the file system of hostPath %s/dead0 does not answer; the pod waits until it does' % disk.path)
        c.apply('---'.join([pod('living', c.root), pod('missing', c.root + '/comes/later', 'Directory')]))
        c.ready('living')
        c.event('missing', 'FailedMount', 'is not a directory')
        os.makedirs(c.root + '/comes/later')            # a look of its own: it is seen all the same
        c.ready('missing')
        c.kubectl('delete', 'pod', 'living', 'missing', 'dead1', '--timeout=30s')
        equal(c.pod('dead0')['status']['phase'], 'Pending')
        equal(c.role_pid('node'), node)
    c.ready('dead0')                                    # the disk is gone, and what was below it is there
    c.kubectl('delete', 'pod', '--timeout=60s', *(name for name in dead if name != 'dead1'))
    shutil.rmtree(disk.path)


def a_folder_of_logs_that_never_answers(c):
    """Whoever asks for a file in it waits; logs of pods are read by everybody else."""
    if not os.path.exists('/dev/fuse'):
        return print('     this kernel has no FUSE: not tried')
    name = c.get('nodes')['items'][0]['metadata']['name']
    c.said('env', 'plain')
    with DeadDisk(c.root + '/var/log/dead') as disk:
        asked = [subprocess.Popen([c.bin + '/kubectl', 'get', '--raw', '/api/v1/nodes/%s/proxy/logs/dead/%d' % (name, i)], env=c.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(12)]
        threads = lambda: int(re.search(r'\nThreads:\s*(\d+)', open('/proc/%d/status' % c.role_pid('node')).read()).group(1))
        eventually('they wait', lambda: threads() >= 2 + len(asked))
        assert END in c.kubectl('logs', 'env', '-c', 'plain')
        assert 'pods/' in c.raw('/api/v1/nodes/%s/proxy/logs/' % name)
        assert all(p.poll() is None for p in asked)
    for p in asked:
        assert p.wait(60) != 0
    os.rmdir(disk.path)


if __name__ == '__main__':
    main([environment, environment_that_expands, volumes_and_folder_of_the_image, mounts, modes_of_files, names, users, ports_of_sidecars, what_cannot_be,
          empty_objects_ask_for_nothing, what_cannot_be_asked_is_no_failure, probes, pulls, a_path_of_the_host_that_never_answers, a_folder_of_logs_that_never_answers], cluster=Pods, port=16543)
