"""An authority for tests: pebble with a name server of our own (which takes updates by RFC 2136, signed by TSIG), and a
server that answers as badly as one can."""
import base64, hashlib, hmac, http.server, json, os, shutil, socket, socketserver, ssl, struct, subprocess, tempfile, threading, time
from lib import eventually, run

TSIG_NAME, TSIG_SECRET = 'acme.key', base64.b64encode(b'a secret of the test, 32 bytes..').decode()


def name_bytes(name):
    return b''.join(bytes([len(p)]) + p.encode() for p in name.strip('.').split('.') if p) + b'\0'


def name_at(p, at):
    """The name at an offset, and where it ends; no compression (nobody here sends any in questions and updates)."""
    parts = []
    while p[at]:
        parts.append(p[at + 1:at + 1 + p[at]].decode())
        at += 1 + p[at]
    return '.'.join(parts).lower(), at + 1


class Dns:
    """Every name has the address; zone example.org takes signed updates of its TXT records, and has been told so in
    `updates`. Aliases are CNAME records."""

    def __init__(self, address, port=53):
        self.address, self.texts, self.aliases, self.updates, self.refuse = address, {}, {}, [], False
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.where = '%s:%d' % (address, port)
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.udp.close()

    def serve(self):
        while True:
            try:
                message, who = self.udp.recvfrom(4096)
                self.udp.sendto(self.answer(message), who)
            except OSError:
                return
            except (IndexError, struct.error, UnicodeDecodeError):
                continue

    def answer(self, p):
        if p[2] >> 3 & 15 == 5:
            return self.update(p)
        name, at = name_at(p, 12)
        kind = struct.unpack('>H', p[at:at + 2])[0]
        rr = lambda owner, k, data: name_bytes(owner) + struct.pack('>HHIH', k, 1, 0, len(data)) + data
        zone = 'example.org' if ('.' + name).endswith('.example.org') else 'test'
        found, more = [], []
        if name in self.aliases:
            found = [rr(name, 5, name_bytes(self.aliases[name]))]
            name = self.aliases[name]
        soa = rr(zone, 6, name_bytes('ns.' + zone) + name_bytes('root.' + zone) + struct.pack('>IIIII', 1, 1, 1, 1, 1))
        if kind == 1:
            found.append(rr(name, 1, socket.inet_aton(self.address)))
        elif kind == 16:
            found += [rr(name, 16, bytes([len(t)]) + t.encode()) for t in self.texts.get(name, [])]
        elif kind == 6 and name == zone:
            found.append(soa)
        elif kind == 2 and name == zone:
            found.append(rr(name, 2, name_bytes('ns.' + zone)))
        else:
            more = [soa]
        end = at + 4
        return p[:2] + b'\x85\x80' + struct.pack('>HHHH', 1, len(found), len(more), 0) + p[12:end] + b''.join(found + more)

    def update(self, p):
        """RFC 2136 with a signature of HMAC-SHA256 that must be good (RFC 8945)."""
        def refused(rcode):
            return p[:2] + bytes([0xa8, rcode]) + struct.pack('>HHHH', 0, 0, 0, 0)
        zone, at = name_at(p, 12)
        at += 4
        owner, at = name_at(p, at)
        kind, cls, ttl, n = struct.unpack('>HHIH', p[at:at + 10])
        value = p[at + 11:at + 10 + n].decode()
        at += 10 + n
        key, t = name_at(p, at)
        data = t + 10
        alg, d = name_at(p, data)
        when, fudge, macn = p[d:d + 6], p[d + 6:d + 8], struct.unpack('>H', p[d + 8:d + 10])[0]
        mac = p[d + 10:d + 10 + macn]
        head = p[:10] + struct.pack('>H', struct.unpack('>H', p[10:12])[0] - 1)
        variables = lambda w: name_bytes(key) + struct.pack('>HI', 255, 0) + name_bytes(alg) + w + fudge + b'\0\0\0\0'
        secret = base64.b64decode(TSIG_SECRET)
        want = hmac.new(secret, head + p[12:at] + variables(when), hashlib.sha256).digest()
        if self.refuse or key != TSIG_NAME or alg != 'hmac-sha256' or mac != want or zone != 'example.org':
            return refused(5)
        texts = self.texts.setdefault(owner, [])
        if cls == 1:
            texts.append(value)
        elif cls == 254 and value in texts:
            texts.remove(value)
        self.updates.append(('add' if cls == 1 else 'remove', owner, value))
        reply = p[:2] + b'\xa8\0' + struct.pack('>HHHH', 0, 0, 0, 0)
        now = struct.pack('>Q', int(time.time()))[2:]
        signature = hmac.new(secret, struct.pack('>H', len(mac)) + mac + reply + variables(now), hashlib.sha256).digest()
        rdata = name_bytes(alg) + now + fudge + struct.pack('>H', len(signature)) + signature + p[:2] + b'\0\0\0\0'
        return reply[:10] + b'\0\1' + name_bytes(key) + struct.pack('>HHIH', 250, 255, 0, len(rdata)) + rdata


class Authority:
    """The test's own CA for the servers themselves, in a folder."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='weca', dir='/tmp')
        d = self.dir
        run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', d + '/ca.key',
             '-out', d + '/ca.pem', '-subj', '/CN=ca of the test', '-days', '30'])
        run(['openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', d + '/key.pem', '-out',
             d + '/csr.pem', '-subj', '/CN=localhost'])
        open(d + '/ext', 'w').write('subjectAltName=DNS:localhost,IP:127.0.0.1')
        run(['openssl', 'x509', '-req', '-in', d + '/csr.pem', '-CA', d + '/ca.pem', '-CAkey', d + '/ca.key', '-CAcreateserial', '-out',
             d + '/cert.pem', '-days', '30', '-extfile', d + '/ext'])
        self.bundle = d + '/ca.pem'

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Pebble:
    """pebble, asking ports 80 and 443 of what the name server says; half of the nonces are refused."""

    def __init__(self, ca, dns, port=14000, eab=None, seconds=None, nonces=50, reuse=50):
        self.ca, self.dns, self.port, self.nonces, self.reuse = ca, dns, port, nonces, reuse
        config = {'listenAddress': '127.0.0.1:%d' % port, 'managementListenAddress': '127.0.0.1:%d' % (port + 1000),
                  'certificate': ca.dir + '/cert.pem', 'privateKey': ca.dir + '/key.pem', 'httpPort': 80, 'tlsPort': 443,
                  'ocspResponderURL': '', 'externalAccountBindingRequired': bool(eab)}
        if eab:
            config['externalAccountMACKeys'] = eab
        if seconds:
            config['certificateValidityPeriod'] = seconds
        self.file = ca.dir + '/pebble-%d.json' % port
        json.dump({'pebble': config}, open(self.file, 'w'))
        self.url = 'https://localhost:%d/dir' % port
        self.start()

    def start(self):
        env = dict(os.environ, PEBBLE_VA_NOSLEEP='1', PEBBLE_WFE_NONCEREJECT=str(self.nonces), PEBBLE_AUTHZREUSE=str(self.reuse))
        self.log = open(self.ca.dir + '/pebble-%d.log' % self.port, 'a')
        self.process = subprocess.Popen(['pebble', '-strict', '-config', self.file, '-dnsserver', self.dns.where], env=env,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        eventually('pebble listens', lambda: socket.create_connection(('127.0.0.1', self.port), 1).close() or True)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def root(self):
        """Its root, which is another after each start."""
        context = ssl.create_default_context(cafile=self.ca.bundle)
        import urllib.request
        return urllib.request.urlopen('https://localhost:%d/roots/0' % (self.port + 1000), context=context).read().decode()


class Liar:
    """Serves what `say` is: a function of (path, handler) that answers by itself; counts who asks."""

    def __init__(self, ca, port, say, address='127.0.0.1'):
        liar = self
        self.asked, self.say = 0, say

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def all(self):
                liar.asked += 1
                try:
                    self.said = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                    liar.say(self)
                except (OSError, ssl.SSLError):
                    self.close_connection = True
            do_GET = do_HEAD = do_POST = all

            def log_message(self, *unused):
                pass

            def give(self, status, body=b'', **headers):
                body = json.dumps(body).encode() if not isinstance(body, bytes) else body
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace('_', '-'), value)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body if self.command != 'HEAD' else b'')

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *unused):
                pass
        self.server = Server((address, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.dir + '/cert.pem', ca.dir + '/key.pem')
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = 'https://localhost:%d' % port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
