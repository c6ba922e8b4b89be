#!/usr/bin/env python3
"""A driver of storage (CSI) for the tests: volumes are folders, and files behind loop devices. Run as

    csi_driver.py driver NAME NODE_ID SOCKET BASE       csi.v1.Identity and csi.v1.Node
    csi_driver.py registrar SOCKET ENDPOINT REGISTRY    what node-driver-registrar does

Every call is a line of JSON in BASE/calls. BASE/control (JSON: method -> what) says how a call goes:

    {"fail": [code, message]}   it fails           {"hang": true}     it never answers
    {"delay": seconds}          it answers late    {"garbage": true}  it answers what is no message
    {"die": "before"|"after"}   the process ends before, or after, it was done

with "times": N for the next N calls alone. BASE/settings (JSON): can (numbers of capabilities), most (volumes on the
node), topology. What a call gave comes in messages written by hand: they are few."""
import ctypes, json, os, subprocess, sys, threading, time

import grpc
from concurrent import futures

libc = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT, MS_BIND, MNT_DETACH = 1, 32, 4096, 2


# --- protobuf

def varint(n):
    out = b''
    n &= (1 << 64) - 1
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def put(number, value):
    if isinstance(value, bool) or isinstance(value, int):
        return varint(number << 3) + varint(int(value))
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """{number: [value, ...]}, lengths as bytes."""
    out, i = {}, 0

    def number():
        nonlocal i
        n, shift = 0, 0
        while True:
            c = data[i]
            i += 1
            n |= (c & 127) << shift
            shift += 7
            if c < 128:
                return n
    while i < len(data):
        tag = number()
        if tag & 7 == 0:
            value = number()
        elif tag & 7 == 2:
            n = number()
            value, i = data[i:i + n], i + n
            assert len(value) == n
        else:
            raise ValueError('wire type %d' % (tag & 7))
        out.setdefault(tag >> 3, []).append(value)
    return out


def text(f, n):
    return f.get(n, [b''])[-1].decode()


def texts(f, n):
    return {text(e, 1): text(e, 2) for e in map(fields, f.get(n, []))}


def capability(f, n):
    c = fields(f.get(n, [b''])[-1])
    mount = fields(c.get(2, [b''])[-1])
    return {'block': 1 in c, 'fs': text(mount, 1), 'flags': [o.decode() for o in mount.get(2, [])], 'group': text(mount, 3),
            'mode': fields(c.get(3, [b''])[-1]).get(1, [0])[-1]}


REQUESTS = {
    'NodeStageVolume': lambda f: dict(id=text(f, 1), context=texts(f, 2), staging=text(f, 3), capability=capability(f, 4), secrets=texts(f, 5), attributes=texts(f, 6)),
    'NodeUnstageVolume': lambda f: dict(id=text(f, 1), staging=text(f, 2)),
    'NodePublishVolume': lambda f: dict(id=text(f, 1), context=texts(f, 2), staging=text(f, 3), target=text(f, 4), capability=capability(f, 5),
                                        readonly=bool(f.get(6, [0])[-1]), secrets=texts(f, 7), attributes=texts(f, 8)),
    'NodeUnpublishVolume': lambda f: dict(id=text(f, 1), target=text(f, 2)),
    'NodeExpandVolume': lambda f: dict(id=text(f, 1), path=text(f, 2), bytes=fields(f.get(3, [b''])[-1]).get(1, [0])[-1], staging=text(f, 4),
                                       capability=capability(f, 5), secrets=texts(f, 6)),
    'NodeGetVolumeStats': lambda f: dict(id=text(f, 1), path=text(f, 2), staging=text(f, 3)),
    'NodeGetInfo': lambda f: {}, 'NodeGetCapabilities': lambda f: {}, 'GetPluginInfo': lambda f: {}, 'Probe': lambda f: {},
}


# --- what it does

def mount(source, target, flags):
    if libc.mount(source.encode(), target.encode(), None, flags, None):
        raise OSError(ctypes.get_errno(), 'mount %s at %s' % (source, target))


def mount_of(path):
    """Which mount a path lies on: mounts below others are in mountinfo, too, under the same name."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return next(line for line in open('/proc/self/fdinfo/%d' % fd) if line.startswith('mnt_id:'))
    finally:
        os.close(fd)


def mounted(path):
    return os.path.lexists(path) and mount_of(path) != mount_of(os.path.dirname(path))


def unmount(path):
    while mounted(path):
        if libc.umount2(path.encode(), MNT_DETACH):
            raise OSError(ctypes.get_errno(), 'umount ' + path)


class Driver:
    def __init__(self, name, node_id, base):
        self.name, self.node_id, self.base = name, node_id, base
        self.lock = threading.Lock()
        os.makedirs(base + '/volumes', exist_ok=True)

    def read(self, what, otherwise):
        try:
            with open(self.base + '/' + what) as f:
                return json.load(f)
        except (OSError, ValueError):
            return otherwise

    def note(self, method, request, **more):
        with self.lock, open(self.base + '/calls', 'a') as f:
            f.write(json.dumps(dict(more, method=method, **request)) + '\n')

    def control(self, method):
        with self.lock:
            all = self.read('control', {})
            mine = all.get(method)
            if not mine:
                return {}
            if 'times' in mine:
                mine['times'] -= 1
                if mine['times'] <= 0:
                    del all[method]
                with open(self.base + '/control.new', 'w') as f:
                    json.dump(all, f)
                os.rename(self.base + '/control.new', self.base + '/control')
            return mine

    def call(self, method, data, context):
        request = REQUESTS[method](fields(data))
        how = self.control(method)
        self.note(method, request)
        time.sleep(how.get('delay', 0))
        if how.get('hang'):
            while context.is_active():
                time.sleep(0.05)
        if how.get('die') == 'before':
            os._exit(1)
        if how.get('fail'):
            code = [c for c in grpc.StatusCode if c.value[0] == how['fail'][0]][0]
            context.abort(code, how['fail'][1])
        answer = getattr(self, method)(request, context)
        if how.get('die') == 'after':
            os._exit(1)
        return b'\xff\xff\xff' if how.get('garbage') else answer

    def GetPluginInfo(self, r, context):
        return put(1, self.name) + put(2, '1.0')

    def Probe(self, r, context):
        return put(1, put(1, True))

    def NodeGetInfo(self, r, context):
        s = self.read('settings', {})
        topology = b''.join(put(1, put(1, k) + put(2, v)) for k, v in s.get('topology', {}).items())
        return put(1, self.node_id) + (put(2, s['most']) if s.get('most') else b'') + (put(3, topology) if topology else b'')

    def NodeGetCapabilities(self, r, context):
        return b''.join(put(1, put(1, put(1, n))) for n in self.read('settings', {}).get('can', [1, 2, 3]))

    def source(self, id):
        path = '%s/volumes/%s' % (self.base, id)
        os.makedirs(path, exist_ok=True)
        return path

    def device(self, id):
        image = self.source(id) + '/image'
        if not os.path.exists(image):
            with open(image, 'wb') as f:
                f.truncate(4 << 20)
        have = subprocess.run(['losetup', '-j', image, '-O', 'NAME', '-n'], stdout=subprocess.PIPE, text=True).stdout.split()
        return have[0] if have else subprocess.run(['losetup', '-f', '--show', image], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def NodeStageVolume(self, r, context):
        if r['capability']['block']:
            self.device(r['id'])
        elif not mounted(r['staging']):
            os.makedirs(r['staging'], exist_ok=True)
            mount(self.source(r['id']), r['staging'], MS_BIND)
        return b''

    def NodeUnstageVolume(self, r, context):
        unmount(r['staging'])
        image = self.source(r['id']) + '/image'
        if os.path.exists(image):
            subprocess.run(['losetup', '-d', self.device(r['id'])], check=True)
        return b''

    def NodePublishVolume(self, r, context):
        if r['capability']['block']:
            os.makedirs(os.path.dirname(r['target']), exist_ok=True)
            if not mounted(r['target']):
                open(r['target'], 'a').close()
                mount(self.device(r['id']), r['target'], MS_BIND)
            return b''
        os.makedirs(r['target'], exist_ok=True)
        if r['attributes'].get('csi.storage.k8s.io/ephemeral') == 'true':
            with open(self.source(r['id']) + '/content', 'w') as f:
                json.dump(r['attributes'], f)
        if not mounted(r['target']):
            mount(r['staging'] or self.source(r['id']), r['target'], MS_BIND)
            if r['readonly']:
                mount(r['target'], r['target'], MS_BIND | MS_REMOUNT | MS_RDONLY)
        return b''

    def NodeUnpublishVolume(self, r, context):
        unmount(r['target'])
        if os.path.isdir(r['target']):
            os.rmdir(r['target'])
        elif os.path.exists(r['target']):
            os.unlink(r['target'])
        return b''

    def NodeGetVolumeStats(self, r, context):
        assert os.path.isdir(r['path']), r
        return (put(1, put(1, 700) + put(2, 1000) + put(3, 300) + put(4, 1)) + put(1, put(1, 7) + put(2, 10) + put(3, 3) + put(4, 2)) +
                put(2, put(1, True) + put(2, 'its disk is sick')))

    def NodeExpandVolume(self, r, context):
        return put(1, r['bytes'])


# --- servers

def handlers(service, methods, call):
    def handler(method):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: call(method, request, context))
    return grpc.method_handlers_generic_handler(service, {m: handler(m) for m in methods})


def serve(path, *services):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers(services)
    if os.path.exists(path):
        os.unlink(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert server.add_insecure_port('unix:' + path)
    server.start()
    server.wait_for_termination()


def driver(name, node_id, socket, base):
    d = Driver(name, node_id, base)
    node = [m for m in REQUESTS if m.startswith('Node')]
    serve(socket, handlers('csi.v1.Node', node, d.call), handlers('csi.v1.Identity', ['GetPluginInfo', 'Probe'], d.call))


def registrar(socket, endpoint, registry):
    """Asks the driver for its name, as long as it takes, and offers it to the node. Where it is refused it stays: the node
    tries again."""
    while True:
        try:
            with grpc.insecure_channel('unix:' + socket) as channel:
                name = text(fields(channel.unary_unary('/csi.v1.Identity/GetPluginInfo')(b'', timeout=5)), 1)
            break
        except grpc.RpcError:
            time.sleep(0.05)

    def call(method, data, context):
        if method == 'GetInfo':
            return put(1, 'CSIPlugin') + put(2, name) + put(3, endpoint) + put(4, '1.0.0')
        f = fields(data)
        print('registered=%r %s' % (bool(f.get(1, [0])[-1]), text(f, 2)), flush=True)
        return b''
    serve('%s/%s-reg.sock' % (registry, name), handlers('pluginregistration.Registration', ['GetInfo', 'NotifyRegistrationStatus'], call))


if __name__ == '__main__':
    {'driver': driver, 'registrar': registrar}[sys.argv[1]](*sys.argv[2:])
