#!/usr/bin/env python3
"""Issuers and Certificates of cert-manager.io with nothing installed: kubectl's own words, and OpenSSL to judge what is issued;
every kind of key, renewal and rotation while the old pair is served, the server killed in between, Ingresses by annotation,
authorities for webhooks, key stores."""
import base64, os, shutil, signal, subprocess, threading, time
from lib import *

ISSUERS = '''
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: selfsigned}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root}
spec:
  isCA: true
  commonName: the-root
  secretName: root
  duration: 87600h
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: selfsigned, kind: Issuer, group: cert-manager.io}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca}
spec: {ca: {secretName: root, ocspServers: ["http://ocsp.example.org"]}}
'''


def certificate(name, issuer='ca', **spec):
    return json.dumps({'apiVersion': 'cert-manager.io/v1', 'kind': 'Certificate', 'metadata': {'name': name},
                       'spec': dict({'secretName': name, 'dnsNames': [name + '.example.org'], 'issuerRef': {'name': issuer}}, **spec)})


def issued(c, name, revision=1):
    def there():
        status = c.get('certificate', name).get('status', {})
        ready = [x for x in status.get('conditions', []) if x['type'] == 'Ready' and x['status'] == 'True']
        return ready and status.get('revision', 0) >= revision and not status.get('nextPrivateKeySecretName') and status
    return eventually('%s is issued' % name, there, 40)


def data(c, secret):
    return {k: base64.b64decode(v) for k, v in c.get('secret', secret)['data'].items()}


def openssl(*args, input=b''):
    p = subprocess.run(['openssl'] + list(args), input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert p.returncode == 0, (args, p.stdout.decode(errors='replace'))
    return p.stdout.decode(errors='replace')


def files(c, pair, *names):
    out = []
    for n in names:
        path = os.path.join(c.root, 'certs-' + n)
        with open(path, 'wb') as f:
            f.write(pair[n])
        out.append(path)
    return out


def whole(c, pair):
    """The pair fits, and leads to its authority; the text of the certificate."""
    crt, key, ca = files(c, pair, 'tls.crt', 'tls.key', 'ca.crt')
    openssl('verify', '-CAfile', ca, '-untrusted', crt, crt)
    assert openssl('x509', '-in', crt, '-noout', '-pubkey') == openssl('pkey', '-in', key, '-pubout')
    return openssl('x509', '-in', crt, '-noout', '-text')


def a_root_a_ca_and_leaves_of_every_key(c):
    c.apply(ISSUERS)
    c.kubectl('wait', '--for=condition=Ready', 'certificate/root', 'issuer/ca', '--timeout=20s')
    kinds = [('rsa', {'algorithm': 'RSA', 'size': 2048}, 'BEGIN RSA PRIVATE', '2048 bit'),
             ('rsa8', {'algorithm': 'RSA', 'size': 3072, 'encoding': 'PKCS8'}, 'BEGIN PRIVATE', '3072 bit'),
             ('p256', {'algorithm': 'ECDSA', 'size': 256}, 'BEGIN EC PRIVATE', 'P-256'),
             ('p384', {'algorithm': 'ECDSA', 'size': 384, 'encoding': 'PKCS8'}, 'BEGIN PRIVATE', 'P-384'),
             ('p521', {'algorithm': 'ECDSA', 'size': 521}, 'BEGIN EC PRIVATE', 'P-521'),
             ('ed', {'algorithm': 'Ed25519'}, 'BEGIN PRIVATE', 'ED25519')]
    c.apply('\n---\n'.join(certificate(n, privateKey=k) for n, k, _, _ in kinds))
    c.kubectl('wait', '--for=condition=Ready', 'certificate', '--all', '--timeout=40s')
    for name, _, head, bits in kinds:
        pair = data(c, name)
        text = whole(c, pair)
        assert head in pair['tls.key'].decode().split('\n')[0] and bits in text, (name, pair['tls.key'][:40], text)
        assert 'DNS:%s.example.org' % name in text and 'CN = the-root' in text and 'ocsp.example.org' in text, text
    s = c.get('secret', 'rsa')
    assert s['type'] == 'kubernetes.io/tls' and sorted(s['data']) == ['ca.crt', 'tls.crt', 'tls.key'] and 'ownerReferences' not in s['metadata'], s
    notes = s['metadata']['annotations']
    assert notes['cert-manager.io/alt-names'] == 'rsa.example.org' and notes['cert-manager.io/issuer-name'] == 'ca' and notes['cert-manager.io/certificate-name'] == 'rsa'
    table = c.kubectl('get', 'certificate', 'rsa').split('\n')
    assert table[0].split() == ['NAME', 'READY', 'SECRET', 'AGE'] and table[1].split()[:3] == ['rsa', 'True', 'rsa'], table
    assert c.kubectl('get', 'cr', 'rsa-1').split('\n')[0].split() == ['NAME', 'APPROVED', 'DENIED', 'READY', 'ISSUER', 'REQUESTER', 'AGE']
    assert 'ecdsa' in openssl('x509', '-in', files(c, data(c, 'root'), 'tls.crt')[0], '-noout', '-text').lower()
    events = c.kubectl('get', 'events', '--field-selector', 'involvedObject.name=rsa')
    for word in ['Issuing', 'Generated', 'Requested', 'The certificate has been successfully issued']:
        assert word in events, events
    assert 'PRIVATE KEY' not in c.log() and 'PRIVATE' not in c.kubectl('get', 'events', '-o', 'yaml')


def all_that_a_certificate_asks_for(c):
    c.apply(certificate('full', commonName='full.example.org', ipAddresses=['10.0.0.1', 'fd00::1'], uris=['spiffe://cluster/x'],
                        emailAddresses=['a@example.org'], otherNames=[{'oid': '1.3.6.1.4.1.311.20.2.3', 'utf8Value': 'upn@example.org'}],
                        subject={'organizations': ['One', 'Two'], 'countries': ['DE'], 'serialNumber': '7'}, usages=['server auth', 'client auth', 'digital signature'],
                        duration='48h', renewBefore='12h', additionalOutputFormats=[{'type': 'DER'}, {'type': 'CombinedPEM'}],
                        secretTemplate={'labels': {'team': 'a'}, 'annotations': {'note': 'b'}},
                        keystores={'pkcs12': {'create': True, 'profile': 'Modern2023', 'password': 'changeit'}, 'jks': {'create': True, 'password': 'changeit', 'alias': 'mine'}}))
    c.apply(certificate('sub', isCA=True, dnsNames=None, literalSubject='CN=sub,OU=unit\\, one,DC=example,DC=org', nameConstraints={'critical': True, 'permitted': {'dnsDomains': ['example.org'], 'ipRanges': ['10.0.0.0/8']}}))
    status = issued(c, 'full')
    pair = data(c, 'full')
    text = whole(c, pair)
    for part in ['IP Address:10.0.0.1', 'URI:spiffe://cluster/x', 'email:a@example.org', 'UPN', 'O = One', 'O = Two', 'C = DE', 'serialNumber = 7',
                 'TLS Web Server Authentication, TLS Web Client Authentication', 'CA:FALSE']:
        assert part in text, (part, text)
    span = lambda a, b: (time.mktime(time.strptime(b, '%Y-%m-%dT%H:%M:%SZ')) - time.mktime(time.strptime(a, '%Y-%m-%dT%H:%M:%SZ'))) / 3600
    assert span(status['notBefore'], status['notAfter']) == 48 and span(status['renewalTime'], status['notAfter']) == 12, status
    assert pair['tls-combined.pem'] == pair['tls.key'] + b'\n' + pair['tls.crt']
    assert openssl('pkey', '-inform', 'DER', '-in', files(c, pair, 'key.der')[0], '-pubout') == openssl('pkey', '-in', files(c, pair, 'tls.key')[0], '-pubout')
    store = openssl('pkcs12', '-in', files(c, pair, 'keystore.p12')[0], '-passin', 'pass:changeit', '-nodes')
    assert store.count('BEGIN CERTIFICATE') == 2 and 'PRIVATE KEY' in store
    assert 'BEGIN CERTIFICATE' in openssl('pkcs12', '-in', files(c, pair, 'truststore.p12')[0], '-passin', 'pass:changeit', '-nokeys')
    assert pair['keystore.jks'][:4] == b'\xfe\xed\xfe\xed' and pair['truststore.jks'][:4] == b'\xfe\xed\xfe\xed'
    if shutil.which('keytool'):
        for f, words in [('keystore.jks', ['mine', 'PrivateKeyEntry', '2 entries']), ('truststore.jks', ['trustedCertEntry']), ('truststore.p12', ['trustedCertEntry'])]:
            told = run(['keytool', '-list', '-keystore', files(c, pair, f)[0], '-storepass', 'changeit'])
            assert all(w in told for w in words), (f, told)
    meta = c.get('secret', 'full')['metadata']
    assert meta['labels']['team'] == 'a' and meta['annotations']['note'] == 'b'
    c.kubectl('patch', 'certificate', 'full', '--type=merge', '-p', '{"spec":{"secretTemplate":{"labels":null,"annotations":{"note":"c"}},"additionalOutputFormats":[]}}')
    def changed():
        s = c.get('secret', 'full')
        return 'team' not in s['metadata']['labels'] and s['metadata']['annotations']['note'] == 'c' and 'key.der' not in s['data'] and s
    assert eventually('the template is followed', changed)['data']['tls.crt'] == base64.b64encode(pair['tls.crt']).decode(), 'nothing was issued anew for that'
    issued(c, 'sub')
    text = whole(c, data(c, 'sub'))
    for part in ['CA:TRUE', 'Name Constraints: critical', 'DNS:example.org', 'OU = "unit, one"', 'Certificate Sign', 'DC = org, DC = example']:
        assert part in text, (part, text)
    # an authority below the root: what it issues leads through it
    c.apply('{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: sub}, spec: {ca: {secretName: sub}}}')
    c.apply(certificate('below', issuer='sub'))
    issued(c, 'below')
    assert data(c, 'below')['tls.crt'].count(b'BEGIN CERTIFICATE') == 2 and 'CN = the-root' in openssl('x509', '-noout', '-subject', '-in', files(c, data(c, 'below'), 'ca.crt')[0])
    whole(c, data(c, 'below'))


def renew(c, name):
    """As cmctl renew does it."""
    c.kubectl('patch', 'certificate', name, '--subresource=status', '--type=json', '-p', json.dumps(
        [{'op': 'add', 'path': '/status/conditions/-', 'value': {'type': 'Issuing', 'status': 'True', 'reason': 'ManuallyTriggered', 'message': 'by hand',
                                                                'lastTransitionTime': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}}]))


def renewal_rotates_keys_and_serves_the_old_pair_meanwhile(c):
    c.apply(certificate('turns', privateKey={'algorithm': 'ECDSA'}))
    c.apply(certificate('stays', privateKey={'algorithm': 'ECDSA', 'rotationPolicy': 'Never'}))
    issued(c, 'turns'), issued(c, 'stays')
    before = {n: data(c, n) for n in ['turns', 'stays']}
    stop, seen = threading.Event(), []
    def look():
        while not stop.is_set():
            seen.append(data(c, 'turns'))
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        renew(c, 'turns'), renew(c, 'stays')
        issued(c, 'turns', 2), issued(c, 'stays', 2)
    finally:
        stop.set()
        watcher.join()
    after = {n: data(c, n) for n in ['turns', 'stays']}
    assert after['turns']['tls.key'] != before['turns']['tls.key'] and after['stays']['tls.key'] == before['stays']['tls.key']
    assert after['stays']['tls.crt'] != before['stays']['tls.crt']
    for pair in {p['tls.crt']: p for p in seen}.values():
        whole(c, pair)
    assert [r['metadata']['name'] for r in c.get('cr')['items'] if r['metadata']['name'].startswith('turns')] == ['turns-2']
    c.kubectl('delete', 'secret', 'turns')                                  # and it comes back
    issued(c, 'turns', 3)
    whole(c, data(c, 'turns'))
    c.kubectl('delete', 'certificate', 'turns')
    eventually('its request goes with it', lambda: not [r for r in c.get('cr')['items'] if r['metadata']['name'].startswith('turns')])
    whole(c, data(c, 'turns'))                                              # its Secret stays
    c.kubectl('delete', 'secret', 'turns')


def the_server_is_killed_in_between(c):
    for n in range(4):
        c.apply(certificate('k%d' % n, privateKey={'algorithm': 'RSA', 'size': 3072}))
        time.sleep(0.05 * n)
        os.kill(c.role_pid('server'), signal.SIGKILL)
        eventually('the API answers again', lambda: c.kubectl('get', '--raw', '/readyz'))
    for n in range(4):
        issued(c, 'k%d' % n)
        whole(c, data(c, 'k%d' % n))
    left = [s['metadata']['name'] for s in c.get('secret', '-l', 'cert-manager.io/next-private-key=true')['items']]
    assert not left, left


def what_cannot_be_is_said(c):
    c.apply('{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: vault}, spec: {vault: {path: p, server: "https://v", auth: {tokenSecretRef: {name: t}}}}}')
    eventually('Vault is refused', lambda: 'issuers of this type are not here' in c.kubectl('get', 'issuer', 'vault', '-o', 'wide'))
    c.apply(certificate('orphan', issuer='nobody'))
    eventually('no issuer', lambda: 'Referenced "Issuer" not found' in c.kubectl('get', 'cr', 'orphan-1', '-o', 'wide'))
    told = run([WHERRY, 'why', 'certificate/orphan'], env=c.env, check=False)
    assert 'Issuer "nobody" is not there' in told, told
    c.apply('{apiVersion: v1, kind: ConfigMap, metadata: {name: owner}}')
    uid = c.get('configmap', 'owner')['metadata']['uid']
    c.apply(json.dumps({'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'theirs', 'ownerReferences': [
        {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'owner', 'uid': uid, 'controller': True}]}, 'stringData': {'x': 'y'}}))
    c.apply(certificate('theirs'))
    eventually('a Secret of somebody else', lambda: 'belongs to ConfigMap' in c.kubectl('get', 'certificate', 'theirs', '-o', 'wide'))
    assert list(data(c, 'theirs')) == ['x']
    for name in ['orphan', 'theirs']:
        c.kubectl('delete', 'certificate', name)


def what_is_written_wrong_is_refused(c):
    cases = [({'dnsNames': None}, 'at least one of commonName'), ({'secretName': 'Not/Good'}, 'spec.secretName'), ({'issuerRef': {'name': ''}}, 'spec.issuerRef.name'),
             ({'issuerRef': {'name': 'x', 'kind': 'Thing'}}, 'must be one of Issuer or ClusterIssuer'), ({'commonName': 'c' * 65}, 'spec.commonName: Too long'),
             ({'ipAddresses': ['1.2.3']}, 'spec.ipAddresses[0]'), ({'emailAddresses': ['A <a@b.c>']}, 'spec.emailAddresses[0]'), ({'duration': '10m'}, 'greater than 1h0m0s'),
             ({'duration': '2h', 'renewBefore': '3h'}, 'must be greater than renewBefore'), ({'renewBefore': '1m'}, 'greater than 5m0s'), ({'duration': 'long'}, 'spec.duration'),
             ({'renewBefore': '1h', 'renewBeforePercentage': 50}, 'mutually exclusive'), ({'privateKey': {'size': 1024}}, 'between 2048 and 8192'),
             ({'privateKey': {'algorithm': 'ECDSA', 'size': 100}}, 'spec.privateKey.size'), ({'privateKey': {'algorithm': 'DSA'}}, 'Unsupported value'), ({'usages': ['flying']}, 'spec.usages'),
             ({'signatureAlgorithm': 'PureEd25519'}, 'spec.signatureAlgorithm'), ({'revisionHistoryLimit': 0}, 'must not be less than 1'),
             ({'secretTemplate': {'annotations': {'cert-manager.io/x': 'y'}}}, 'annotations are not allowed'), ({'nameConstraints': {'critical': True}}, 'isCa should be true'),
             ({'additionalOutputFormats': [{'type': 'DER'}, {'type': 'DER'}]}, 'Duplicate value'), ({'keystores': {'jks': {'create': True}}}, 'must set exactly one of'),
             ({'keystores': {'pkcs12': {'create': True, 'password': ''}}}, 'cannot be empty'), ({'otherNames': [{'oid': 'x', 'utf8Value': 'y'}]}, 'invalid oid syntax'),
             ({'literalSubject': 'CN=x', 'commonName': 'y'}, 'no `commonName` may be provided'), ({'renewal': {'policy': 'RenewBefore', 'windows': [{'cron': 'x', 'windowDuration': '1h'}]}}, 'spec.renewal.windows[0].cron')]
    said = lambda text: subprocess.run([c.bin + '/kubectl', 'apply', '-f', '-'], input=text, env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30).stdout
    for spec, words in cases:
        told = said(certificate('wrong', **spec))
        assert words in told and 'created' not in told, (spec, told)
    for spec, words in [('{}', 'at least one issuer must be configured'), ('{ca: {secretName: x}, selfSigned: {}}', 'may not specify more than one issuer type'),
                        ('{acme: {server: "", privateKeySecretRef: {name: k}}}', 'acme server URL is a required field'),
                        ('{acme: {server: "https://x", privateKeySecretRef: {name: k}, solvers: [{}]}}', 'no solver type configured')]:
        told = said('{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: wrong}, spec: %s}' % spec)
        assert words in told and 'created' not in told, (spec, told)
    told = said('{apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {name: wrong}, spec: {issuerRef: {name: nobody}, request: aGFsbG8=, username: root}}')
    assert 'created' in told and c.get('cr', 'wrong')['spec']['username'] == 'kubernetes-admin', told
    eventually('it is approved', lambda: 'Approved' in str(c.get('cr', 'wrong')['status']))
    for patch, words in [('{"spec":{"isCA":true}}', 'cannot change spec after creation'), ('{"metadata":{"annotations":{"cert-manager.io/x":"y"}}}', 'cannot change cert-manager annotation')]:
        told = subprocess.run([c.bin + '/kubectl', 'patch', 'cr', 'wrong', '--type=merge', '-p', patch], env=c.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        assert words in told, told
    c.kubectl('delete', 'cr', 'wrong')


def ingresses_ask_by_annotation(c):
    c.apply('''
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: default, annotations: {wherry.dev/is-default-issuer: "true"}}
spec: {selfSigned: {}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, annotations: {cert-manager.io/issuer: ca, cert-manager.io/private-key-algorithm: ECDSA, cert-manager.io/duration: 72h}}
spec:
  tls: [{hosts: [shop.example.org], secretName: shop-cert}]
  rules: [{host: shop.example.org}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: auto, annotations: {wherry.dev/acme: "true"}}
spec: {rules: [{host: auto.example.org}]}
''')
    c.kubectl('delete', 'secret', 'shop-cert', '--ignore-not-found')
    eventually('they are there', lambda: c.get('certificate', 'shop-cert', 'auto-tls'))
    issued(c, 'shop-cert'), issued(c, 'auto-tls')
    assert 'shop.example.org' in whole(c, data(c, 'shop-cert')) and 'auto.example.org' in whole(c, data(c, 'auto-tls'))
    made = c.get('certificate', 'shop-cert')
    assert made['spec']['duration'] == '72h' and made['metadata']['ownerReferences'][0]['kind'] == 'Ingress', made
    assert 'Successfully created Certificate "shop-cert"' in c.kubectl('get', 'events', '--field-selector', 'involvedObject.name=shop')
    c.kubectl('delete', 'ingress', 'shop', 'auto')
    eventually('their Certificates go', lambda: not [x for x in c.get('certificate')['items'] if x['metadata']['name'] in ('shop-cert', 'auto-tls')])


def one_annotation_is_enough_for_https(c):
    c.apply('''
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: default, annotations: {wherry.dev/is-default-issuer: "true"}}
spec: {selfSigned: {}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: short, annotations: {wherry.dev/acme: "true"}}
spec:
  ingressClassName: wherry
  rules: [{host: short.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: none, port: {number: 80}}}}]}}]
''')
    shown = lambda: subprocess.run("echo | openssl s_client -connect 127.0.0.1:443 -servername short.example.org 2>/dev/null | openssl x509 -noout -text",
                                   shell=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=10).stdout
    eventually('its certificate is shown', lambda: 'DNS:short.example.org' in shown())
    c.kubectl('delete', 'ingress', 'short')


def webhooks_are_given_their_authority(c):
    c.apply('''
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: judge, annotations: {cert-manager.io/inject-ca-from: default/hook}}
webhooks:
- {name: a.example.org, clientConfig: {service: {name: hook, namespace: default}}, sideEffects: None, admissionReviewVersions: [v1],
   rules: [{apiGroups: [none.example.org], apiVersions: [v1], resources: [things], operations: [CREATE]}]}
''')
    c.apply(certificate('hook', dnsNames=['hook.default.svc']))
    issued(c, 'hook')
    ca = base64.b64encode(data(c, 'hook')['ca.crt']).decode()
    eventually('it has it', lambda: c.get('validatingwebhookconfiguration', 'judge')['webhooks'][0]['clientConfig'].get('caBundle') == ca)


main([a_root_a_ca_and_leaves_of_every_key, all_that_a_certificate_asks_for, renewal_rotates_keys_and_serves_the_old_pair_meanwhile,
      the_server_is_killed_in_between, what_cannot_be_is_said, what_is_written_wrong_is_refused, ingresses_ask_by_annotation, one_annotation_is_enough_for_https, webhooks_are_given_their_authority],
     args=['--roles', 'server,edge'], image=False)
