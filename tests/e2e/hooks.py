"""A server of admission webhooks (and whatever else is asked by POST over TLS) for tests: a certificate authority of its
own, and for each path a function of the request's review that gives the answer."""
import base64, http.server, json, os, socket, ssl, threading, time
from lib import run


class Authority:
    """A certificate authority in a folder, and what it signs."""

    def __init__(self, folder, name='hook authority'):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=' + name,
             '-keyout', folder + '/ca.key', '-out', folder + '/ca.crt'])
        with open(folder + '/ca.crt', 'rb') as f:
            self.bundle = base64.b64encode(f.read()).decode()

    def sign(self, name, names, days=2):
        """A serving certificate for names like 'DNS:a.b.svc' and 'IP:127.0.0.1'; (certificate, key)."""
        at = self.folder + '/' + name
        run(['openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=' + name, '-keyout', at + '.key', '-out', at + '.csr'])
        with open(at + '.ext', 'w') as f:
            f.write('subjectAltName=%s\nextendedKeyUsage=serverAuth\n' % ','.join(names))
        run(['openssl', 'x509', '-req', '-in', at + '.csr', '-CA', self.folder + '/ca.crt', '-CAkey', self.folder + '/ca.key', '-CAcreateserial', '-days', str(days),
             '-extfile', at + '.ext', '-out', at + '.crt'])
        return at + '.crt', at + '.key'


def patch(*operations):
    return {'allowed': True, 'patchType': 'JSONPatch', 'patch': base64.b64encode(json.dumps(operations).encode()).decode()}


class Cut(bytes):
    """An answer in the middle of which its server dies."""


class Hooks:
    """answers: path -> function(request) that returns the response without its uid, or bytes to send as they are (Cut: and
    no more, though more was promised), or (status, bytes). asked: path -> the requests that came."""

    def __init__(self, cert, address='127.0.0.1', port=0):
        self.answers, self.asked, self.queries, self.connections, self.open = {}, {}, {}, 0, set()
        hooks = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = 'HTTP/1.1', True

            def do_POST(self):
                path, _, query = self.path.partition('?')
                body = self.rfile.read(int(self.headers['Content-Length']))
                review = json.loads(body)
                hooks.asked.setdefault(path, []).append(review['request'])
                hooks.queries[path] = query
                said = hooks.answers[path](review['request'])
                status = 200
                if isinstance(said, tuple):
                    status, said = said
                if not isinstance(said, bytes):
                    said = json.dumps({'apiVersion': review['apiVersion'], 'kind': review['kind'], 'response': dict({'uid': review['request']['uid']}, **said)}).encode()
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(said) + (1000 if isinstance(said, Cut) else 0)))
                self.end_headers()
                self.wfile.write(said)
                if isinstance(said, Cut):
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

            def process_request_thread(self, request, client):
                try:
                    request.settimeout(30)
                    wrapped = context.wrap_socket(request, server_side=True)
                    hooks.connections += 1
                    hooks.open.add(wrapped)
                    super().process_request_thread(wrapped, client)
                    hooks.open.discard(wrapped)
                except (OSError, ssl.SSLError):
                    request.close()

            def handle_error(self, *unused):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*cert)
        self.server = Server((address, port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """As if it were killed: connections that are kept end, too."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def configuration(kind, name, webhooks):
    return json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': kind + 'WebhookConfiguration', 'metadata': {'name': name}, 'webhooks': webhooks})


def webhook(name, client, rules, **more):
    return dict({'name': name, 'clientConfig': client, 'rules': rules, 'sideEffects': 'None', 'admissionReviewVersions': ['v1']}, **more)


def rule(resources, operations=('CREATE', 'UPDATE'), groups=('',), versions=('v1',), **more):
    return dict({'apiGroups': list(groups), 'apiVersions': list(versions), 'resources': list(resources), 'operations': list(operations)}, **more)
