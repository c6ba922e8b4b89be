#!/usr/bin/env python3
"""A virtual machine with systemd and pure cgroup v2 (tools/vm-image) in qemu, without KVM. `make vm` boots one for a person; vm_test.py drives one."""
import base64, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time
from lib import BUILD, TOP, TOOLS, run

QEMU = 'qemu-system-x86_64'
PROGRAMS = ('wherry', 'wherry-shim', 'wherry-job')
TEST_IMAGE = 'wherry.dev/test:1'


def vm_image():
    """The folder of the image, which is made the first time."""
    return run([TOP + '/tools/vm-image'], timeout=3600).strip().splitlines()[-1]


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Machine:
    """One machine with a disk of its own (an overlay over the image), which outlives power cuts. forwards: [(name, guest address, port)];
    port(name) is where each is reached on 127.0.0.1. payload: files that stand below /root in it."""

    def __init__(self, payload=(), forwards=(), console=None):
        self.image = vm_image()
        self.dir = tempfile.mkdtemp(prefix='wherry-vm-', dir='/var/tmp')
        self.ports = {f[0]: free_port() for f in forwards}
        self.forwards, self.console, self.qemu, self.boots = forwards, console, None, 0
        self.kernel = ''                               # more words for the kernel, from the next boot on
        run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', self.image + '/disk', self.dir + '/disk.qcow2'])
        run(['tar', 'cf', self.dir + '/payload.tar', '--transform=s|.*/||', '--owner=0', '--group=0'] + [os.path.abspath(p) for p in payload])

    def port(self, name):
        return self.ports[name]

    def boot(self, wait=True):
        """Power on."""
        self.boots += 1
        agent = self.dir + '/agent'
        nic = 'user,model=virtio-net-pci' + ''.join(',hostfwd=tcp:127.0.0.1:%d-%s:%d' % (self.ports[n], a, p) for n, a, p in self.forwards)
        serial = ['-serial', 'mon:stdio'] if self.console else ['-serial', 'file:%s/console.%d' % (self.dir, self.boots)]
        argv = [QEMU, '-accel', 'tcg,thread=multi', '-cpu', 'max,svm=off,la57=off', '-smp', '1', '-m', '1536', '-display', 'none', '-no-reboot', '-nodefaults',
                '-kernel', self.image + '/vmlinuz', '-initrd', self.image + '/initrd',
                '-append', 'console=ttyS0 root=/dev/vda rw panic=-1 net.ifnames=0 mitigations=off random.trust_cpu=on quiet systemd.show_status=false systemd.mask=systemd-logind.service systemd.mask=getty@tty1.service ' + self.kernel,
                '-drive', 'file=%s/disk.qcow2,if=virtio,format=qcow2,cache=writeback' % self.dir,
                '-drive', 'file=%s/payload.tar,if=virtio,format=raw,readonly=on' % self.dir,
                '-nic', nic, '-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci',
                '-chardev', 'socket,id=agent,path=%s,server=on,wait=off' % agent, '-device', 'virtserialport,chardev=agent,name=wherry.agent'] + serial
        quiet = {} if self.console else {'stdin': subprocess.DEVNULL, 'stdout': open(self.dir + '/qemu.log', 'a'), 'stderr': subprocess.STDOUT}
        if os.path.exists(agent):
            os.unlink(agent)
        self.qemu = subprocess.Popen(argv, **quiet)
        if wait:
            self.agent = Agent(agent, self.qemu)
            self.sh('mkdir -p /root/in && tar xf /dev/vdb -C /root/in')
        return self

    def sh(self, script, timeout=120, check=True):
        """What bash in the machine says to the script; a status other than 0 is an exception (check=False: (status, output))."""
        status, out = self.agent.ask(script, timeout)
        if not check:
            return status, out
        if status != 0:
            raise AssertionError('in the machine: %s\nexit %d\n%s' % (script, status, out[-3000:]))
        return out

    def cut_power(self):
        """What the guest has not synced is lost, as on a real machine: its memory is."""
        self.qemu.send_signal(signal.SIGKILL)
        self.qemu.wait()

    def reboot(self, timeout=300):
        """An orderly one: the guest ends (-no-reboot ends qemu with it) and is switched on again. Seconds until it was down."""
        start = time.monotonic()
        try:
            self.sh('systemctl --no-block reboot')
        except ConnectionError:
            pass                                       # it was off before it could answer
        self.qemu.wait(timeout)
        took = time.monotonic() - start
        self.boot()
        return took

    def log(self):
        """What the serial console said in this boot."""
        try:
            return open('%s/console.%d' % (self.dir, self.boots), errors='replace').read()
        except OSError:
            return ''

    def close(self):
        if self.qemu and self.qemu.poll() is None:
            self.cut_power()
        shutil.rmtree(self.dir, ignore_errors=True)


class Agent:
    """The machine's end of the serial port wherry.agent: scripts in, answers out, several at a time."""

    def __init__(self, path, qemu, timeout=900):
        self.qemu, self.answers, self.changed, self.next = qemu, {}, threading.Condition(), 0
        self.lock = threading.Lock()
        self.socket = self.connect(path, timeout)
        threading.Thread(target=self.listen, daemon=True).start()
        end = time.monotonic() + timeout
        while True:                                    # until there is somebody: what comes before is dropped
            try:
                self.ask('true', 10)
                return
            except TimeoutError:
                if time.monotonic() > end:
                    raise

    def connect(self, path, timeout):
        end = time.monotonic() + timeout
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError:
                s.close()
                if time.monotonic() > end or self.qemu.poll() is not None:
                    raise
                time.sleep(0.05)

    def listen(self):
        try:
            for line in self.socket.makefile('rb'):
                part = line.decode().split()
                with self.changed:
                    if len(part) in (2, 3):
                        self.answers[part[0]] = (int(part[1]), base64.b64decode(part[2] if len(part) == 3 else '').decode(errors='replace'))
                    self.changed.notify_all()
        except OSError:
            pass                                       # the power is cut
        with self.changed:
            self.gone = True
            self.changed.notify_all()

    gone = False

    def ask(self, script, timeout):
        with self.lock:
            self.next += 1
            me = 'q%d' % self.next
            self.socket.sendall(('%s %s\n' % (me, base64.b64encode(script.encode()).decode())).encode())
        with self.changed:
            if not self.changed.wait_for(lambda: me in self.answers or self.gone, timeout):
                raise TimeoutError('the machine did not answer within %d s: %s' % (timeout, script))
            if me not in self.answers:
                raise ConnectionError('the machine is off: %s' % script)
            return self.answers.pop(me)


def test_image(folder):
    """The image of the demo and of tests, as an archive below `folder`."""
    tar, web = folder + '/image.tar', folder + '/web'
    run(['gcc', '-O2', '-static', '-o', web, TOP + '/demo/web.c'])
    files = ['bin/web=' + web, 'bin/busybox=/bin/busybox'] + ['bin/%s=@busybox' % t for t in TOOLS.split()]
    run([BUILD + '/wherry', 'image', 'pack', tar, TEST_IMAGE, '--entrypoint', '/bin/web'] + files)
    return tar


def for_a_person():
    with tempfile.TemporaryDirectory() as folder:
        m = Machine([BUILD + '/' + p for p in PROGRAMS] + [test_image(folder)], [('api', '', 6443), ('demo', '', 30080)], console=True)
    print('''A Debian 12 boots on this terminal and logs you in as root. Its disk is a fresh one each time. In it:
  mkdir in; tar xf /dev/vdb -C in          # the programs and a test image (%s)
  in/wherry install                        # the unit wherry.service
  wherry image load in/image.tar; wherry get nodes
The API is on 127.0.0.1:%d out here, node port 30080 on 127.0.0.1:%d. `poweroff` in there or Ctrl-A x ends it.
''' % (TEST_IMAGE, m.port('api'), m.port('demo')), flush=True)
    try:
        sys.exit(m.boot(wait=False).qemu.wait())
    finally:
        m.close()


if __name__ == '__main__':
    for_a_person()
