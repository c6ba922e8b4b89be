#!/usr/bin/env python3
"""Images from a real registry (Debian's docker-registry): pulled by tag and by digest, with and without credentials,
missing ones told in words."""
import base64, hashlib, http.client, json, os, subprocess, tarfile, warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)  # crypt goes with Python 3.13; Debian 12 has 3.11
import crypt
from lib import *

ADDRESS, USER, PASSWORD = '127.0.0.1:5005', 'reader', 'secret'


def start_registry(c):
    with open(c.root + '/htpasswd', 'w') as f:
        f.write('%s:%s\n' % (USER, crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2 ** 4))))
    with open(c.root + '/registry.yml', 'w') as f:
        f.write('version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "%s"}\n'
                'auth: {htpasswd: {realm: here, path: %s/htpasswd}}\n' % (c.root, ADDRESS, c.root))
    c.registry = subprocess.Popen(['docker-registry', 'serve', c.root + '/registry.yml'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually('the registry answers', lambda: ask('GET', '/v2/')[0] == 200)


def ask(method, path, body=None, kind='application/octet-stream'):
    h = http.client.HTTPConnection(ADDRESS, timeout=10)
    h.request(method, path, body, {'Content-Type': kind, 'Authorization': 'Basic ' + base64.b64encode((USER + ':' + PASSWORD).encode()).decode()})
    r = h.getresponse()
    return r.status, r.read(), dict(r.getheaders())


def push(c, name, tag):
    """The test image, blob by blob, as the distribution specification has it."""
    with tarfile.open(c.root + '/image.tar') as t:
        files = {m.name: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}
    index = json.loads(files['index.json'])
    digest = index['manifests'][0]['digest']
    manifest = files['blobs/sha256/' + digest.split(':')[1]]
    parsed = json.loads(manifest)
    for blob in [parsed['config']] + parsed['layers']:
        data = files['blobs/sha256/' + blob['digest'].split(':')[1]]
        status, _, headers = ask('POST', '/v2/%s/blobs/uploads/' % name)
        assert status == 202, status
        where = headers['Location'].split(ADDRESS)[-1]
        status, text, _ = ask('PUT', where + ('&' if '?' in where else '?') + 'digest=' + blob['digest'], data)
        assert status == 201, text
    status, text, _ = ask('PUT', '/v2/%s/manifests/%s' % (name, tag), manifest, parsed.get('mediaType', 'application/vnd.oci.image.manifest.v1+json'))
    assert status == 201, text
    return 'sha256:' + hashlib.sha256(manifest).hexdigest()


def pod(name, image, secret=None):
    secrets = 'imagePullSecrets: [{name: %s}]' % secret if secret else ''
    return '''
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  %s
  containers: [{name: c, image: "%s", imagePullPolicy: Always}]
''' % (name, secrets, image)


def waiting(c, name):
    return c.get('pod', name)['status']['containerStatuses'][0]['state'].get('waiting', {})


def pulls_with_credentials(c):
    start_registry(c)
    digest = push(c, 'team/web', '1')
    c.kubectl('create', 'secret', 'docker-registry', 'cred', '--docker-server=' + ADDRESS, '--docker-username=' + USER, '--docker-password=' + PASSWORD)
    c.apply(pod('byname', ADDRESS + '/team/web:1', 'cred') + '---' + pod('bydigest', ADDRESS + '/team/web@' + digest, 'cred'))
    c.kubectl('wait', '--for=condition=Ready', 'pod/byname', 'pod/bydigest', '--timeout=20s')
    status = c.get('pod', 'byname')['status']['containerStatuses'][0]
    assert status['imageID'] == ADDRESS + '/team/web@' + digest, status['imageID']
    events = c.kubectl('get', 'events')
    assert 'Successfully pulled image "%s/team/web:1" in ' % ADDRESS in events and 'Image size:' in events, events


def refusals_are_told(c):
    c.apply(pod('nocred', ADDRESS + '/team/web:1') + '---' + pod('notag', ADDRESS + '/team/web:9', 'cred') + '---' + pod('noregistry', '127.0.0.1:5999/x:1') +
            '---' + pod('badname', 'Bad//Name'))
    eventually('refused without credentials', lambda: 'ImagePull' in waiting(c, 'nocred').get('reason', '') and 'authorization' in waiting(c, 'nocred')['message'].lower())
    eventually('no such tag', lambda: 'not found' in waiting(c, 'notag').get('message', ''))
    eventually('nobody listens', lambda: 'connection refused' in waiting(c, 'noregistry').get('message', ''))
    eventually('not a name', lambda: waiting(c, 'badname').get('reason') == 'InvalidImageName')
    eventually('an event of the back-off', lambda: 'Back-off pulling image' in c.kubectl('get', 'events'))


def comes_by_itself_when_the_tag_is_there(c):
    push(c, 'team/web', '9')
    c.kubectl('wait', '--for=condition=Ready', 'pod/notag', '--timeout=30s')
    c.registry.terminate()
    c.registry.wait()


if __name__ == '__main__':
    main([pulls_with_credentials, refusals_are_told, comes_by_itself_when_the_tag_is_there], port=16543, args=['--set', 'insecure-registries=' + ADDRESS + ',127.0.0.1:5999'])
