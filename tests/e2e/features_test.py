"""gRPC probes against a real gRPC server, variables from files of volumes, images as volumes: what their users see, from inside and outside."""
import hashlib
import io
import json
import os
import sys
import tarfile

from lib import IMAGE, TOP, eventually, main, run

# grpc.health.v1.Health by hand over the real library: a service's state is what a file named after it says
HEALTH = '''
import sys, time
from concurrent import futures
import grpc
states = sys.argv[1]
def check(request, context):
    name = request[2:].decode() if request else 'server'
    try:
        state = open(states + '/' + name).read().strip()
    except OSError:
        context.abort(grpc.StatusCode.NOT_FOUND, 'unknown service')
    if state == 'hang':
        time.sleep(5)
    return bytes([8, int(state)]) if state != '0' else b''
handler = grpc.method_handlers_generic_handler('grpc.health.v1.Health', {'Check': grpc.unary_unary_rpc_method_handler(check)})
s = grpc.server(futures.ThreadPoolExecutor(4))
if len(sys.argv) < 3:
    s.add_generic_rpc_handlers((handler,))
assert s.add_insecure_port('0.0.0.0:5000')
s.start()
s.wait_for_termination()
'''

SERVER = '''---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: host, hostPath: {path: /}}]
  containers:
  - name: c
    image: %(image)s
    command: [/bin/busybox, chroot, /host, env, PYTHONPATH=%(grpc)s, %(python)s, %(script)s, %(states)s%(more)s]
    securityContext: {privileged: true}
    volumeMounts: [{name: host, mountPath: /host}]
%(probes)s
'''


def messages(c, pod, reason='Unhealthy'):
    return {e['message'] for e in c.get('events', '--field-selector', 'involvedObject.name=' + pod)['items'] if e['reason'] == reason}


def status(c, pod, container='c'):
    return [s for s in c.get('pod', pod)['status']['containerStatuses'] if s['name'] == container][0]


def failure(c, yaml):
    try:
        c.apply(yaml)
    except AssertionError as e:
        return str(e)
    raise AssertionError('taken: ' + yaml)


def grpc_probes(c):
    grpc = run([os.path.join(TOP, 'tools/fetch-grpc')], timeout=600).strip().splitlines()[-1]
    states = os.path.join(c.root, 'states')
    script = os.path.join(c.root, 'health.py')
    os.makedirs(states)
    with open(script, 'w') as f:
        f.write(HEALTH)

    def say(service, state):
        with open(os.path.join(states, service), 'w') as f:
            f.write(state)

    def server(name, probes, more=''):
        return SERVER % dict(name=name, image=IMAGE, grpc=grpc, python=os.path.realpath(sys.executable), script=script, states=states, more=more,
                             probes='\n'.join('    ' + p for p in probes))
    say('server', '1')
    say('live', '1')
    say('warm', '0')
    c.apply(server('healthy', ['startupProbe: {grpc: {port: 5000, service: warm}, periodSeconds: 1, failureThreshold: 60}',
                               'readinessProbe: {grpc: {port: 5000}, periodSeconds: 1}',
                               'livenessProbe: {grpc: {port: 5000, service: live}, periodSeconds: 1, failureThreshold: 2, timeoutSeconds: 1}']) +
            server('nobody', ['readinessProbe: {grpc: {port: 5001}, periodSeconds: 1}']) +
            server('stranger', ['readinessProbe: {grpc: {port: 5000, service: none}, periodSeconds: 1}']) +
            server('other', ['readinessProbe: {grpc: {port: 5000}, periodSeconds: 1}'], ', other') +
            '---\n{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: %s, '
            'command: [/bin/busybox, httpd, -f, -p, "5000"], readinessProbe: {grpc: {port: 5000}, periodSeconds: 1}}]}}\n' % IMAGE)
    eventually('it is told what it said', lambda: 'Startup probe failed: service unhealthy (responded with "UNKNOWN")' in messages(c, 'healthy'), 40)
    assert not status(c, 'healthy')['started']
    say('warm', '1')
    eventually('it is ready', lambda: status(c, 'healthy')['ready'])
    said = lambda pod, words: eventually('%s: %s' % (pod, words), lambda: [m for m in messages(c, pod) if m.startswith(words)], 40)
    ip = eventually('an address', lambda: c.get('pod', 'nobody')['status'].get('podIP'))
    said('nobody', 'Readiness probe failed: timeout: failed to connect service "%s:5001" within 1s: context deadline exceeded' % ip)
    said('web', 'Readiness probe failed: timeout: failed to connect service "')
    said('stranger', 'Readiness probe failed: error: health rpc probe failed: rpc error: code = NotFound desc = unknown service')
    said('other', 'Readiness probe failed: error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ')
    say('server', '2')
    eventually('it is not ready', lambda: not status(c, 'healthy')['ready'])
    said('healthy', 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")')
    assert status(c, 'healthy')['restartCount'] == 0
    say('live', 'hang')
    said('healthy', 'Liveness probe failed: timeout: health rpc did not complete within 1s')
    eventually('it was restarted', lambda: status(c, 'healthy')['restartCount'] > 0)
    c.kubectl('delete', 'pod', '--all', '--wait=false', '--grace-period=0', '--force')


WITH_FILES = '''---
apiVersion: v1
kind: Pod
metadata: {name: files}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: disk, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}}]
  initContainers:
  - name: writes
    image: %(image)s
    command: [sh, -c, "mkdir /d/deep; printf \\"# ours\\\\nA='one'\\\\nB='two\\\\nlines' # b\\\\n\\" > /d/deep/a.env; echo C=\\"'in memory \\\\$(A)'\\" > /m/c.env; ln -s /etc/passwd /d/link.env"]
    volumeMounts: [{name: disk, mountPath: /d}, {name: memory, mountPath: /m}]
  containers:
  - name: c
    image: %(image)s
    command: [sh, -c, "echo \\"$A|$B|$C|$D|${NONE-unset}|${GONE-unset}|$SEES\\"; exec sleep 1000"]
    env:
    - {name: A, valueFrom: {fileKeyRef: {volumeName: disk, path: deep/a.env, key: A}}}
    - {name: B, valueFrom: {fileKeyRef: {volumeName: disk, path: deep/a.env, key: B}}}
    - {name: C, valueFrom: {fileKeyRef: {volumeName: memory, path: c.env, key: C}}}
    - {name: D, value: "$(A) again"}
    - {name: NONE, valueFrom: {fileKeyRef: {volumeName: disk, path: deep/a.env, key: NONE, optional: true}}}
    - {name: GONE, valueFrom: {fileKeyRef: {volumeName: disk, path: gone.env, key: A, optional: true}}}
    - {name: SEES, value: "$(C)"}
'''

BAD = [('no key', 'f.env', 'NONE', 'environment variable key "NONE" not found in file "f.env"'),
       ('no file', 'gone.env', 'A', 'there is no file "gone.env"'),
       ('a link out', 'link.env', 'root', 'there is no file "link.env"'),
       ('no quotes', 'f.env', 'LATER', 'invalid environment variable format at line 2: value must be enclosed in single quotes')]


def variables_from_files(c):
    bad = ''.join('''---
apiVersion: v1
kind: Pod
metadata: {name: bad-%d}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, emptyDir: {}}]
  initContainers: [{name: w, image: %s, command: [sh, -c, "printf %s > /v/f.env; ln -s /etc/passwd /v/link.env"], volumeMounts: [{name: v, mountPath: /v}]}]
  containers: [{name: c, image: %s, command: [sleep, "1000"], env: [{name: X, valueFrom: {fileKeyRef: {volumeName: v, path: %s, key: %s}}}]}]
''' % (n, IMAGE, '\\"A=\'1\'\\\\n%s\\"' % ('B=2\\\\n' if key == 'LATER' else ''), IMAGE, path, key) for n, (_, path, key, _) in enumerate(BAD))
    c.apply(WITH_FILES % dict(image=IMAGE) + bad)
    log = eventually('it ran', lambda: c.kubectl('logs', 'files', '-c', 'c', check=False), 40)
    assert log == 'one|two\nlines|in memory $(A)|one again|unset|unset|in memory $(A)\n', log
    for n, (what, _, _, words) in enumerate(BAD):
        w = eventually(what, lambda: (lambda w: w and w.get('reason') == 'CreateContainerConfigError' and w)(status(c, 'bad-%d' % n)['state'].get('waiting')), 40)
        assert words in w['message'], (what, w)
    refused = failure(c, '''{apiVersion: v1, kind: Pod, metadata: {name: refused}, spec: {volumes: [{name: h, hostPath: {path: /etc}}], containers: [{name: c, image: x,
      env: [{name: A, valueFrom: {fileKeyRef: {volumeName: h, path: passwd, key: A}}}, {name: B, valueFrom: {fileKeyRef: {volumeName: none, path: ../x, key: "="}}}]}]}}''')
    for words in ('env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "h": referenced volume must be of type emptyDir',
                  'env[1].valueFrom.fileKeyRef.volumeName: Not found: "none"', 'fileKeyRef.path: Invalid value: "../x"', 'fileKeyRef.key: Invalid value: "="'):
        assert words in refused, (words, refused)


def layout(path, name, layers):
    """An OCI layout with these layers: each {path: bytes, or (bytes, mode)}."""
    blobs = {}

    def put(data, media):
        digest = hashlib.sha256(data).hexdigest()
        blobs['blobs/sha256/' + digest] = data
        return {'mediaType': 'application/vnd.oci.image.' + media, 'digest': 'sha256:' + digest, 'size': len(data)}

    def tar(files):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode='w') as t:
            for file, data in sorted(files.items()):
                info = tarfile.TarInfo(file)
                data, info.mode = data if isinstance(data, tuple) else (data, 0o644)
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
        return out.getvalue()
    packed = [tar(files) for files in layers]
    config = put(json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {}, 'rootfs': {
        'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(p).hexdigest() for p in packed]}}).encode(), 'config.v1+json')
    manifest = put(json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'config': config,
                               'layers': [put(p, 'layer.v1.tar') for p in packed]}).encode(), 'manifest.v1+json')
    manifest['annotations'] = {'org.opencontainers.image.ref.name': name, 'io.containerd.image.name': name}
    blobs['index.json'] = json.dumps({'schemaVersion': 2, 'manifests': [manifest]}).encode()
    blobs['oci-layout'] = b'{"imageLayoutVersion": "1.0.0"}'
    with open(path, 'wb') as f:
        f.write(tar(blobs))


DATA = 'wherry.dev/data:1'
IMAGES = '''---
apiVersion: v1
kind: Pod
metadata: {name: images}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: data, image: {reference: %(data)s, pullPolicy: IfNotPresent}}, {name: bare, image: {reference: %(bare)s}}, {name: many, image: {reference: %(many)s}}]
  initContainers: [{name: i, image: %(image)s, command: [cat, /data/deep/one], volumeMounts: [{name: data, mountPath: /data}]}]
  containers:
  - {name: c, image: %(image)s, command: [sleep, "1000"], volumeMounts: [{name: data, mountPath: /data}, {name: data, mountPath: /sub, subPath: deep}, {name: many, mountPath: /many}]}
  - {name: d, image: %(image)s, command: [sleep, "1000"], securityContext: {runAsUser: 1000}, volumeMounts: [{name: data, mountPath: /d/e, readOnly: true}, {name: bare, mountPath: /bare}]}
'''
ABSENT = '''---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, image: {reference: "%s", pullPolicy: %s}}]
  containers:
  - {name: c, image: %s, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v%s}]}
  - {name: d, image: %s, command: [sleep, "1000"]}
'''


def images_as_volumes(c):
    with open('/bin/busybox', 'rb') as f:
        busybox = f.read()
    images = {DATA: [{'deep/one': b'one\n', 'deep/gone': b'x', 'sh': (busybox, 0o755)}, {'deep/two': b'two\n', 'deep/.wh.gone': b''}],
              'wherry.dev/bare:1': [{'f': b'f'}], 'wherry.dev/many:1': [{'f%d' % i: b'%d' % i} for i in range(90)]}
    for name, layers in images.items():
        layout(c.root + '/volume.tar', name, layers)
        c.wherry('image', 'load', c.root + '/volume.tar', '--root', c.root)
    c.apply(IMAGES % dict(data=DATA, image=IMAGE, bare='wherry.dev/bare:1', many='wherry.dev/many:1') +
            ABSENT % ('never', 'wherry.dev/none:1', 'Never', IMAGE, '', IMAGE) + ABSENT % ('unknown', '127.0.0.1:9/none:1', 'IfNotPresent', IMAGE, '', IMAGE) +
            ABSENT % ('below', DATA, 'IfNotPresent', IMAGE, ', subPath: not/there', IMAGE))
    eventually('it runs', lambda: c.get('pod', 'images')['status']['phase'] == 'Running', 40)
    assert c.kubectl('logs', 'images', '-c', 'i') == 'one\n'
    inside = lambda script, container='c': c.kubectl('exec', 'images', '-c', container, '--', 'sh', '-c', script)
    assert inside('cd /data; ls deep; cat deep/two; ls /sub; cat /many/f0 /many/f89; ls /many | busybox wc -l') == 'one\ntwo\ntwo\none\ntwo\n08990\n'
    assert inside('ls /d/e/deep /bare', 'd').split() == ['/bare:', 'f', '/d/e/deep:', 'one', 'two']
    assert 'Read-only' in inside('touch /data/x 2>&1; true') and 'Permission denied' in inside('/data/sh true 2>&1; true')
    for what in (' /data ', ' /sub '):
        flags = [l.split()[3] for l in inside('cat /proc/mounts').splitlines() if what in l][0].split(',')
        assert 'ro' in flags and 'noexec' in flags, flags
    try:
        c.wherry('image', 'rm', DATA, '--root', c.root)
        raise AssertionError('it is in use')
    except AssertionError as e:
        assert 'use' in str(e), e
    waiting = lambda pod, reason: eventually('%s: %s' % (pod, reason), lambda: (lambda w: w and w.get('reason') == reason and w['message'])(status(c, pod)['state'].get('waiting')), 40)
    assert waiting('never', 'ErrImageNeverPull') == 'Container image "wherry.dev/none:1" is not present with pull policy of Never'
    assert waiting('unknown', 'ImagePullBackOff').startswith('Back-off pulling image "127.0.0.1:9/none:1": ErrImagePull: ')
    assert waiting('below', 'CreateContainerConfigError') == 'failed to create subPath directory for volumeMount "v" of container "c"'
    for pod in ('never', 'unknown', 'below'):
        assert status(c, pod, 'd')['state'].get('running'), 'a container that does not mount it runs'
    mounts = lambda: [l for l in open('/proc/%s/mountinfo' % c.role_pid('node')) if '/run/wherry/mounts/' in l]
    assert len(mounts()) == 4, mounts()
    c.kubectl('delete', 'pod', 'images', 'below', '--wait=true', '--timeout=30s')
    eventually('nothing stays mounted', lambda: not mounts())
    eventually('nobody uses it', lambda: not [n for n in os.listdir(c.root + '/var/lib/wherry/node/content/uses') if n.startswith('pod_')])
    c.wherry('image', 'rm', DATA, '--root', c.root)
    layout(c.root + '/volume.tar', 'wherry.dev/none:1', [{'f': b'f'}])
    c.wherry('image', 'load', c.root + '/volume.tar', '--root', c.root)
    eventually('what it waited for is here', lambda: status(c, 'never')['state'].get('running'))


if __name__ == '__main__':
    main([grpc_probes, variables_from_files, images_as_volumes], 16452)
