"""What the end-to-end tests share: a cluster of the real binary below a folder of its own, in network and mount
namespaces of its own, driven by the real kubectl; and a runner that ends with "N passed, N failed"."""
import base64, json, os, re, shutil, signal, ssl, subprocess, sys, tempfile, time, traceback

import api

STORM = os.environ.get('WHERRY_STORM') == '1'     # the long form: `make storm`
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('WHERRY_BUILD', os.path.join(TOP, 'build/release'))
WHERRY = os.path.join(BUILD, 'wherry')
IMAGE = 'wherry.dev/test:1'
TOOLS = 'sh ls cat wget nslookup ps env tar sleep id hostname touch df mount nc head printf stty true false mkdir echo kill date ip grep vi'


def size(short, long):
    """How much of it: `short` in ./check, `long` in `make storm`."""
    return long if STORM else short


def seed():
    """WHERRY_SEED, or one drawn and printed: a run's choices can be had again."""
    if 'WHERRY_SEED' not in os.environ:
        os.environ['WHERRY_SEED'] = str(int.from_bytes(os.urandom(3), 'little'))
        print('     WHERRY_SEED=' + os.environ['WHERRY_SEED'], flush=True)
    return int(os.environ['WHERRY_SEED'])


def own_namespaces():
    """Starts this program again in network and mount namespaces of its own, once."""
    if os.environ.get('WHERRY_E2E') != 'inside':
        os.environ['WHERRY_E2E'] = 'inside'
        os.execvp('unshare', ['unshare', '--net', '--mount', '--propagation', 'private', sys.executable] + sys.argv)
    run(['ip', 'link', 'set', 'lo', 'up'])


def run(argv, timeout=60, input=None, env=None, check=True):
    """The command's output; its failure is an exception that shows what it said."""
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, input=input, env=env, text=True)
    if check and p.returncode != 0:
        raise AssertionError('%s: exit %d\n%s%s' % (' '.join(argv), p.returncode, p.stdout[-3000:], p.stderr[-3000:]))
    return p.stdout


def clients():
    """The folder of kubectl and helm."""
    return run([os.path.join(TOP, 'tools/fetch-clients')], timeout=600).strip().splitlines()[-1]


def slowness():
    """How many times slower a core of this machine is just now than those on which bounds in seconds were set; at least
    1. What is measured is like a server's work: memory, branches, texts. A busy sibling of the core counts, too."""
    def once():
        start = time.process_time()
        for _ in range(20):
            json.loads(json.dumps([{'a': i, 'b': 'x' * 20} for i in range(1000)]))
        return time.process_time() - start
    return max(1.0, min(once() for _ in range(5)) / 0.018)


def eventually(what, condition, timeout=20, every=0.05):
    """Until condition() is true (or returns something), or fails with what it last was."""
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            last = condition()
            if last:
                return last
        except (AssertionError, subprocess.TimeoutExpired, KeyError, IndexError, OSError) as e:
            last = e
        time.sleep(every)
    raise AssertionError('not within %d s: %s (last: %s)' % (timeout, what, last))


class Cluster:
    """wherry up below a fresh folder, with the test image loaded; down and gone at the end."""

    getter = None

    def __init__(self, port=16443, args=(), image=True, up=True):
        self.root = tempfile.mkdtemp(prefix='we', dir='/tmp')
        os.chmod(self.root, 0o755)
        self.port, self.args, self.image, self.start = port, list(args), image, up
        # kubectl lives too briefly for its garbage to matter: a fifth of what it costs
        self.env = dict(os.environ, KUBECONFIG=self.root + '/etc/wherry/admin.kubeconfig', HOME=self.root, GOGC='off', GOMEMLIMIT='200MiB')

    def __enter__(self):
        self.bin = clients()
        if self.image:
            self.load_image()
        try:
            if self.start:
                self.up()
        except BaseException:
            print(self.log()[-3000:])
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        try:
            self.down()
        finally:
            for mount in reversed([line.split()[1] for line in open('/proc/self/mounts')]):
                if mount.startswith(self.root + '/'):       # what a test mounted and did not unmount would keep the folder
                    run(['umount', '-l', mount], check=False)
            shutil.rmtree(self.root, ignore_errors=True)

    def up(self):
        disk = os.statvfs(self.root)
        full = disk.f_bavail < disk.f_blocks // 5 and not any('eviction-hard' in a for a in self.args)
        spared = ['--set', 'eviction-hard=memory.available<100Mi'] if full else []      # a node there would take no pods
        return run([WHERRY, 'up', '--detach', '--root', self.root, '--listen', '127.0.0.1:%d' % self.port] + spared + self.args, timeout=130)

    def down(self, *args):
        return run([WHERRY, 'down', '--root', self.root] + list(args), timeout=120)

    def load_image(self):
        tar, web = self.root + '/image.tar', self.root + '/web'
        run(['gcc', '-O2', '-static', '-o', web, os.path.join(TOP, 'demo/web.c')])
        files = ['bin/web=' + web, 'bin/busybox=/bin/busybox'] + ['bin/%s=@busybox' % t for t in TOOLS.split()]
        run([WHERRY, 'image', 'pack', tar, IMAGE, '--entrypoint', '/bin/web'] + files)
        run([WHERRY, 'image', 'load', tar, '--root', self.root])

    def kubectl(self, *args, **kw):
        return run([self.bin + '/kubectl'] + list(args), env=self.env, **kw)

    def helm(self, *args, **kw):
        return run([self.bin + '/helm'] + list(args), env=self.env, **kw)

    def wherry(self, *args, **kw):
        return run([WHERRY] + list(args), env=self.env, **kw)

    def apply(self, yaml, ns='default'):
        return self.kubectl('apply', '-n', ns, '-f', '-', input=yaml)

    def get(self, *args):
        """What kubectl get ARGS -o json prints, mostly without a kubectl (api.py)."""
        if not self.getter:
            self.getter = api.Getter(self.env['KUBECONFIG'], self.port, admin_tls)
        got = self.getter.get(args)
        return json.loads(self.kubectl('get', *args, '-o', 'json')) if got is None else got

    def log(self):
        path = self.root + '/var/log/wherry.log'
        if not os.path.exists(path):
            return ''
        with open(path) as f:
            return f.read()

    def reports(self, since=0):
        """What sanitizers and assertions wrote to the log after its first `since` characters; '' where they are silent."""
        log = self.log()[since:]
        at = re.search(r'runtime error|AddressSanitizer|LeakSanitizer|ThreadSanitizer|assertion .*failed', log)
        return log[max(0, at.start() - 200):at.start() + 4000] if at else ''

    def role_pid(self, role):
        with open(self.root + '/run/wherry/roles/' + role) as f:
            return int(f.read().split()[0])


def restless(c, timeout=10):
    """The roles that will not come to rest: those of which one thread runs, or waits for a core, whenever it is looked at. A
    machine with much to do makes nobody look busy by that, and nobody idle; time that was spent would."""
    folder, looks = c.root + '/run/wherry/roles', 12

    def running():
        found = set()
        for role in os.listdir(folder) if os.path.isdir(folder) else []:    # it is down
            try:
                pid = c.role_pid(role)
                for task in os.listdir('/proc/%d/task' % pid):
                    with open('/proc/%d/task/%s/stat' % (pid, task)) as f:
                        if f.read().rpartition(') ')[2].startswith('R'):
                            found.add((role, task))
            except (OSError, ValueError, IndexError):
                pass                                        # it has ended meanwhile, or is about to begin
        return found
    end, busy = time.monotonic() + timeout, set()
    while time.monotonic() < end:
        busy = running()
        for _ in range(looks):
            if not busy:
                return []
            time.sleep(0.03)
            busy &= running()
    return sorted({role for role, _ in busy})


def proxies(c):
    """Pids of the front door's HAProxy: those that stand in its folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/comm' % pid) as f:
                if f.read() == 'haproxy\n' and os.readlink('/proc/%s/cwd' % pid).startswith(c.root + '/'):
                    found.append(int(pid))
        except OSError:
            pass                                            # it has ended meanwhile
    return found


def admin_tls(kubeconfig, certificate=True):
    """A TLS context that trusts the cluster, as the admin or (certificate=False) as nobody."""
    with open(kubeconfig) as f:
        text = f.read()
    part = lambda name: base64.b64decode(re.search(name + r': *"?([^"\s]+)', text).group(1)).decode()
    tls = ssl.create_default_context(cadata=part('certificate-authority-data'))
    if certificate:
        with tempfile.NamedTemporaryFile('w') as f:     # 0600; openssl reads them from a file alone
            f.write(part('client-certificate-data') + part('client-key-data'))
            f.flush()
            tls.load_cert_chain(f.name)
    return tls


def deployment(name, replicas=1, extra='', container='', image=IMAGE):
    return f'''
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: web
        image: {image}
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
{container}
{extra}'''


def service(name, node_port=None):
    kind = 'type: NodePort' if node_port else 'type: ClusterIP'
    port = f', nodePort: {node_port}' if node_port else ''
    return f'''
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  {kind}
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080{port}}}]
'''


def main(tests, *args, cluster=Cluster, **kw):
    """Runs each function with the cluster (words on the command line choose by name). After each, no role works on and on."""
    own_namespaces()
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))
    passed = failed = 0
    words = sys.argv[1:]
    with cluster(*args, **kw) as c:
        for t in tests:
            if words and not any(w in t.__name__ for w in words):
                continue
            start, logged = time.monotonic(), len(c.log())
            try:
                t(c)
                assert not c.reports(logged), c.reports(logged)
                busy = restless(c)
                assert not busy, 'these work without rest: %s' % busy
                passed += 1
                print('ok   %s (%.1f s)' % (t.__name__, time.monotonic() - start), flush=True)
            except Exception:
                failed += 1
                print('FAIL %s (%.1f s)' % (t.__name__, time.monotonic() - start), flush=True)
                traceback.print_exc(limit=-3, file=sys.stdout)
        if failed and os.environ.get('KEEP_LOG'):
            print(c.log()[-6000:])
        logged = len(c.log())
        c.down()
        if c.reports(logged):
            failed += 1
            print('FAIL ending\n' + c.reports(logged))
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed else 0)
