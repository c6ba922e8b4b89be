#!/usr/bin/env python3
"""Nothing acknowledged is lost: the server killed at random moments and the power cut under writers and watchers, a full
disk, a disk whose syncs fail, backups under load; every history of answers is checked for linearizability."""
import os, random, re, shutil, signal, socket, subprocess, tempfile, threading, time
from lib import *
from history import *
import disk

KILLS, CUTS, WRITERS = size(6, 100), size(6, 30), 8
PORT = 16553                                             # of the servers that are no part of the cluster
SHARED = ['shared-%d' % i for i in range(3)]


class Traffic:
    """Writers on keys that all of them share, each with compare-and-put, and on a key of its own, unconditionally."""

    def __init__(self, root, port, rng, history=None, sizes=(50, 20000)):
        self.root, self.port, self.h, self.sizes = root, port, history or History(), sizes
        self.stop, self.errors, self.refused, self.leases, self.lists = threading.Event(), [], [], [], []
        self.threads = [threading.Thread(target=self.guard, args=(self.writer, i, random.Random(rng.random())), daemon=True)
                        for i in range(WRITERS)]
        self.threads.append(threading.Thread(target=self.guard, args=(self.lease_holder,), daemon=True))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        for t in self.threads:
            t.join(90)
            assert not t.is_alive(), 'a writer hangs'
        assert not self.errors, self.errors[0]

    def guard(self, fn, *args):
        try:
            api = Api(self.root, self.port)
            while not self.stop.is_set():
                try:
                    fn(api, *args)
                except LOST:
                    time.sleep(0.05)                    # nobody may be there to be asked
        except Exception as e:
            traceback.print_exc(file=sys.stdout)
            self.errors.append(e)

    def writer(self, api, i, rng):
        if rng.random() < 0.3:
            have = self.h.get(api, 'own-%d' % i)        # so that what got no answer is known when it is replaced
            self.put(api, rng, 'put' if have.value else 'create', have.key, None)
            return
        if rng.random() < 0.1:
            self.list(api)
        key = rng.choice(SHARED)
        have = self.h.get(api, key)
        if have.value is None:
            self.put(api, rng, 'create', key, None)
            return
        stale = rng.random() < 0.1 and self.h.ops[rng.randrange(len(self.h.ops))]
        expect = stale.rev if stale and stale.key == key and stale.rev else have.rev
        self.put(api, rng, 'delete' if rng.random() < 0.05 else 'put', key, expect)

    def list(self, api):
        ops = [self.h.begin('get', key) for key in SHARED]
        o = api.must('GET', CONFIG_MAPS)
        have = items_of(o)
        for op in ops:
            rev, op.value = have.get(op.key, (None, None))
            self.h.end(op, 'ok', rev)
        self.lists.append((rev_of(o), have))

    def put(self, api, rng, kind, key, expect):
        op, status, o = self.h.write(api, kind, key, expect, self.h.unique(key), rng.randrange(*self.sizes))
        if status >= 500:
            self.refused.append((status, o))

    def moment(self):
        return '2030-01-01T00:00:00.%06dZ' % int(self.h.unique('l')[2:])

    def lease_holder(self, api):
        """Renewals skip the log; (revision, when it was answered or read, whether it was written, the mark)."""
        status, o = api.call('GET', LEASES + '/lease')
        if status == 404:
            self.leases.append((0, time.monotonic(), False, None))
            status, o = api.call('POST', LEASES, {'metadata': {'name': 'lease'}, 'spec': {'holderIdentity': 'me', 'renewTime': self.moment()}})
        else:
            assert status == 200, (status, o)
            self.leases.append((rev_of(o), time.monotonic(), False, None))
            self.h.seen(rev_of(o), ('lease', o['spec']['renewTime']))
            o['spec']['renewTime'] = self.moment()
            status, o = api.call('PUT', LEASES + '/lease', o)
        if status in (200, 201):
            self.h.seen(rev_of(o), ('lease', o['spec']['renewTime']))
            self.leases.append((rev_of(o), time.monotonic(), True, self.h.mark()))
        elif status >= 500:
            self.refused.append((status, o))
        else:
            assert status in (404, 409), (status, o)    # what was read is lost since: killed in between
        time.sleep(0.002)                               # leave the machine to the others

    def check(self):
        """What was answered, by all of it."""
        n = self.h.check()
        durable = sorted((op.rev, op.end) for op in self.h.ops if op.kind in ('put', 'create') and op.rev and op.end)
        highest = 0                                     # of the leases before which something durable is in the log
        written, sure = [], []
        for rev, when, wrote, _ in self.leases:
            if not wrote:
                for r, since in sure:
                    if since < when - 1:
                        highest = max(highest, r)
                assert rev >= highest, ('an acknowledged lease before an acknowledged durable write is lost', rev, highest)
                sure = [x for x in sure if x[0] > highest]
                continue
            after = next(((r, t) for r, t in durable if r > rev), None)
            if after and after[0] < rev + 1000:         # of the same life: the next one begins above what was reserved
                sure.append((rev, max(after[1], when)))
        return n


def prepared(api):
    """The first revision that watchers start from: durable, so that they can always come back to it."""
    o = api.must('POST', CONFIG_MAPS, config_map('begin', 'begin', 1))
    return rev_of(o)


def finish(history, api, watchers, **first):
    """Every watcher has come to the end and saw the same; what is there is what they saw and what was answered."""
    api.must('POST', CONFIG_MAPS, config_map('end', 'end', 1))
    for key in sorted({op.key for op in history.ops}):
        history.get(api, key)
    for w in watchers:
        w.join(60)
        assert not w.is_alive(), ('a watcher has not seen the end', w.rev, w.events[-1:])
        if w.error:
            raise w.error
    events = watchers[0].events
    for w in watchers[1:]:
        assert w.events == events, ('two watchers saw different things', set(w.events) ^ set(events))
    told = {rev: (name, value) for rev, kind, name, value in events if kind != 'DELETED'}
    for op in history.ops:
        if op.rev and op.end and op.kind in ('put', 'create'):
            assert told.get(op.rev) == (op.key, op.value), ('an acknowledged write that no watcher saw', op, told.get(op.rev))
    found = listed(api)
    assert found == state_at(events, events[-1][0]), ('what is there is not what happened', found)
    return events


def items_of(answer):
    return {o['metadata']['name']: (rev_of(o), value_of(o)) for o in answer['items']
            if o['metadata']['name'] not in ('kube-root-ca.crt', 'begin')}


def listed(api):
    return items_of(api.must('GET', CONFIG_MAPS))


def is_expired(api, path, rev):
    """Whether a watch from there is told to list again."""
    status, o = api.call('GET', path, watch=1, resourceVersion=rev, timeoutSeconds=1)
    return status == 410 or status == 200 and isinstance(o, dict) and o.get('type') == 'ERROR' and o['object']['code'] == 410


def lists_are_of_one_revision(api, rng, t, events):
    """Those that were answered meanwhile, and those of old revisions now. What a list showed may be lost (a lease), or come
    back (a write that failed and is found after a crash): then nobody can go on from its revision."""
    for rev, have in t.lists:
        if have != state_at(events, rev):
            assert is_expired(api, CONFIG_MAPS, rev), ('a list that was never true', rev, have, state_at(events, rev))
    for rev, *_ in rng.sample(events, 10):
        status, o = api.call('GET', CONFIG_MAPS, resourceVersion=rev, resourceVersionMatch='Exact')
        assert status == 410 or items_of(o) == state_at(events, rev), (rev, status, o)
    return len(t.lists)


def lost_nothing(c, call):
    """call(), again while the server is being killed."""
    def again():
        try:
            return call()
        except LOST:
            return None
    return eventually('an answer', again, 60)


def the_checker_tells_right_from_wrong(c):
    def op(kind, start, end, result, expect=None, value=None, rev=None):
        o = Op(kind, 'k', expect, value)
        o.start, o.end, o.result, o.rev = start, end, result, rev
        return o
    a, b = ('get', 'ok', None, 'a', 5), ('get', 'ok', None, 'b', 6)
    for right, *then in [
        (True, (2, 3, *a)),
        (False, (2, 3, 'get', 'ok', None, None, None)),                                         # an acknowledged write is lost
        (False, (2, 3, 'put', 'ok', 5, 'b', 6), (4, 5, *a)),                                    # a stale read
        (True, (2, 4, 'put', 'ok', 5, 'b', 6), (3, 5, *a)),                                     # they overlapped
        (False, (2, 3, 'put', 'ok', 5, 'b', 6), (2, 5, 'put', 'ok', 5, 'c', 7)),                # both won
        (False, (2, 3, 'put', 'conflict', 5, 'b', None)),                                       # against nobody
        (True, (2, None, 'put', 'unknown', 5, 'b', None), (4, 5, *a), (6, 7, *b)),              # it took effect late
        (False, (2, None, 'put', 'unknown', 5, 'b', None), (4, 5, *b), (6, 7, *a)),             # and was taken back
        (True, (2, None, 'delete', 'unknown', 5, None, None), (4, 5, *a), (6, 7, 'get', 'ok', None, None, None)),
        (False, (2, None, 'delete', 'unknown', 5, None, None), (4, 5, 'get', 'ok', None, None, None), (6, 7, *a)),
    ]:
        try:
            linear('k', [op('create', 0, 1, 'ok', None, 'a', 5)] + [op(kind, s, e, *rest) for s, e, kind, *rest in then])
            said = True
        except AssertionError:
            said = False
        assert said == right, then


# --- kills

def pid_of(c):
    try:
        return c.role_pid('server')
    except (OSError, IndexError, ValueError):
        return None


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


def kill_server(c, rng):
    """-9 at some moment, often enough while it starts. Where the supervisor would wait before it tries again, it is killed
    too: the next one tries at once."""
    pid = eventually('a server', lambda: pid_of(c), 30)
    if not kill(pid):
        return False
    waits = re.findall(r'role\.ended.*restart_ms=(\d+)', c.log()[-4000:])
    if waits and int(waits[-1]) > 200:
        supervisor = int(open(c.root + '/run/wherry/supervisor.lock').read())
        kill(supervisor)
        eventually('the end of the supervisor', lambda: not os.path.exists('/proc/%d' % supervisor))
        c.up()
    return True


def killed_at_random_moments(c):
    rng = random.Random(seed())
    api = Api(c.root, c.port)
    first = prepared(api)
    with Traffic(c.root, c.port, rng) as t:
        watchers = [Watcher(t.h, c.root, c.port, first) for _ in range(4)]
        for w in watchers:
            w.start()
        kills, highest = 0, 0
        while kills < KILLS and not t.errors:
            time.sleep(rng.choice([0.02, 0.2, 0.5, 1]) * rng.random())     # the random moment
            if kill_server(c, rng):
                kills += 1
            if rng.random() < 0.7:                      # else killed again while it starts
                rev = rev_of(lost_nothing(c, lambda: api.must('GET', CONFIG_MAPS)))
                assert rev >= highest, ('revisions went back', rev, highest)
                highest = max([rev, highest] + [w.rev for w in watchers])
    lost_nothing(c, lambda: api.must('GET', CONFIG_MAPS))
    events = finish(t.h, api, watchers)
    n = t.check()
    lists_are_of_one_revision(api, rng, t, events)
    assert len(events) > 5 * KILLS and all(w.resumed > KILLS / 4 for w in watchers), (len(events), [w.resumed for w in watchers])
    print('     %d kills, %d calls, %d without an answer, %d events, %d lease writes' % (
        kills, n, sum(op.end is None for op in t.h.ops), len(events), sum(x[2] for x in t.leases)))


# --- the power

class Server:
    """The server's role below a folder, started as the supervisor starts it, but with disk.c in it."""

    def __init__(self, root, folder, port, journal=None, fail=None):
        env = {'PATH': os.environ['PATH'], 'WHERRY_SOCKETS': ''}
        if journal or fail:
            env.update(LD_PRELOAD=folder + '/disk.so', DISK_FOLDER=root, DISK_JOURNAL=journal or '/dev/null',
                       DISK_FAIL=fail or '/nonexistent')
        self.root, self.port, self.out = root, port, tempfile.TemporaryFile('w+')
        self.notify, theirs = socket.socketpair()
        env['WHERRY_NOTIFY'] = str(theirs.fileno())
        self.p = subprocess.Popen([WHERRY, 'server', '--root', root, '--listen', '127.0.0.1:%d' % port, '--roles', 'server'],
                                  env=env, stdout=self.out, stderr=self.out, pass_fds=[theirs.fileno()])
        theirs.close()
        self.notify.sendall(b'G')                       # go

    def said(self):
        return os.pread(self.out.fileno(), 1 << 20, 0).decode()

    def ready(self):
        self.notify.settimeout(60)
        if not self.notify.recv(1):
            raise AssertionError('the server does not start: ' + self.said()[-3000:])
        return Api(self.root, self.port)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.p.kill()
        self.p.wait()
        self.out.close()
        self.notify.close()


def acknowledged(history, events):
    """(revision, how long the journal was when it had been answered) of durable writes, deletions too."""
    found = [(op.rev, op.mark) for op in history.ops if op.kind in ('put', 'create') and op.rev and op.end]
    gone, last = {}, {}
    for rev, kind, name, value in events:
        if kind == 'DELETED':
            gone[name, last[name]] = rev
        last[name] = rev
    return found + [(gone[op.key, op.expect], op.mark) for op in history.ops if op.kind == 'delete' and op.result == 'ok']


def found_after_cut(api, rng, events, acked, lazy):
    """What is there is what was there at a revision that is no older than the last answered durable write; a watch from
    any answered revision is told the rest of it; and no revision that was ever shown comes again. Returns that revision
    and what was written after it."""
    newest = max(acked, default=0)
    have, rev = listed(api), rev_of(api.must('GET', CONFIG_MAPS))
    fits = [r for r in [newest] + [e[0] for e in events if e[0] > newest] if state_at(events, r) == have]
    assert fits, ('not as at any revision since %d' % newest, have, state_at(events, newest))
    at = fits[0]
    assert rev >= max([at] + lazy + acked), ('revisions went back', rev, max([at] + lazy + acked))
    gone = [r for r in lazy if r > lease_rev(api)]       # a watcher that saw one of these has to list again
    for r in rng.sample(gone, min(3, len(gone))):
        assert is_expired(api, LEASES, r), ('a watch goes on from a revision that is lost', r)
    if not acked:
        return at, []
    made = config_map('after', 'after-%d' % rng.randrange(1 << 30), 1)
    there = 'after' in have
    fresh = api.must('PUT', CONFIG_MAPS + '/after', made) if there else api.must('POST', CONFIG_MAPS, made)
    new = (rev_of(fresh), 'MODIFIED' if there else 'ADDED', 'after', value_of(fresh))
    assert new[0] > rev, ('a revision comes again', new, rev)
    start = rng.choice(acked)
    w = Watcher(History(), api.root, api.port, start)
    w.until = lambda e: e[0] >= new[0]
    w.start()
    w.join(60)
    if w.error:
        raise w.error
    expected = [e for e in events if start < e[0] <= at] + [new]
    assert w.events == expected, ('a watch from %d' % start, sorted(set(w.events) ^ set(expected)))
    return at, [new]


def lease_rev(api):
    status, o = api.call('GET', LEASES + '/lease')
    return rev_of(o) if status == 200 else 0


def power_cut_at_any_moment(c):
    """The real server's writes below its folder are journaled; for many moments the folder is made as it may be found if
    the power goes then, sectors torn and names lost, and the server is started on it; some of these lives are cut too."""
    rng = random.Random(seed())
    with tempfile.TemporaryDirectory(prefix='we-power-') as folder:
        disk.shim(folder)
        root, journal = folder + '/live', folder + '/journal'
        os.mkdir(root)
        t, events = a_life(root, folder, journal, rng)
        marks = acknowledged(t.h, events)
        records = disk.journal_read(journal)
        assert len(marks) > 50, len(marks)
        known = disk.Disk(root)
        moments = sorted([len(records)] + [rng.randrange(1, len(records) + 1) for _ in range(CUTS - 1)])
        done, twice = 0, 0
        for n, moment in enumerate(moments):
            for r in records[done:moment]:
                known.take(r)
            done, upto, chance = moment, records[moment - 1][4], (0, 0.5, 0.9, 1)[n % 4]
            acked = [rev for rev, mark in marks if mark <= upto]
            lazy = [rev for rev, _, wrote, mark in t.leases if wrote and mark <= upto]
            try:
                twice += cut_once(folder, rng, known, chance, n % 3 == 0, events, acked, lazy)
            except BaseException:
                print('     cut after record %d of %d %s, chance %s' % (moment, len(records), records[moment - 1][:3], chance))
                raise
        print('     %d records, %d acknowledged writes; %d cuts, after %d of them a second one' % (
            len(records), len(marks), len(moments), twice))


def a_life(root, folder, journal, rng):
    with Server(root, folder, PORT, journal) as server:
        api = server.ready()
        first = prepared(api)
        h = History(lambda: os.stat(journal).st_size)
        with Traffic(root, PORT, rng, h, sizes=(50, size(20000, 60000))) as t:
            watchers = [Watcher(h, root, PORT, first) for _ in range(2)]
            for w in watchers:
                w.start()
            time.sleep(size(2, 8))                      # of traffic
        events = finish(h, api, watchers)
        t.check()
        server.p.terminate()
        assert server.p.wait(30) == 0, server.said()
    return t, events


def cut_once(folder, rng, known, chance, again, events, acked, lazy):
    image, before, journal = folder + '/image', folder + '/before', folder + '/journal-2'
    for path in (image, before):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.exists(journal):
        os.unlink(journal)
    known.write(image, rng, chance)
    shutil.copytree(image, before)
    with Server(image, folder, PORT, journal) as server:
        api = server.ready()
        at, new = found_after_cut(api, rng, events, acked, lazy)
        if not again or not new:
            return 0
        marks = [(new[0][0], os.stat(journal).st_size)]
        for i in range(10):
            o = api.must('PUT', CONFIG_MAPS + '/after', config_map('after', 'again-%d' % i, rng.randrange(30000)))
            new.append((rev_of(o), 'MODIFIED', 'after', value_of(o)))
            marks.append((rev_of(o), os.stat(journal).st_size))
    records = disk.journal_read(journal)
    known = disk.Disk(image, before)
    moment = rng.randrange(1, len(records) + 1)
    for r in records[:moment]:
        known.take(r)
    upto = records[moment - 1][4]
    shutil.rmtree(image)
    known.write(image, rng, rng.choice((0, 0.5, 0.9, 1)))
    with Server(image, folder, PORT) as server:
        kept = [rev for rev in acked if rev <= at] + [rev for rev, mark in marks if mark <= upto]
        found_after_cut(server.ready(), rng, [e for e in events if e[0] <= at] + new, kept, [])
    return 1


# --- a disk that is full, or fails

def writes_fail(api, t, since, words, leases=True):
    """Every place that must say so does, and what needs no disk goes on."""
    refused = eventually('a refusal', lambda: t.refused[since:])
    for status, o in refused:
        assert status == 503 and o['reason'] == 'ServiceUnavailable' and 'store.db' in o['message'], (status, o)
        assert any(w in o['message'] for w in words) and 'nothing can be changed until' in o['message'], o['message']

    def said():
        status, text = api.call('GET', '/readyz')
        assert status == 500 and '[-]writes failed: ' in text and any(w in text for w in words), (status, text)
        assert 'wherry_store_failing 1' in api.call('GET', '/metrics')[1]
        return True
    eventually('readyz and metrics say it', said, every=0.01)
    assert api.call('GET', '/livez')[0] == 200, 'a restart makes no room'
    before = len(t.leases)
    eventually('leases are written', lambda: not leases or sum(x[2] for x in t.leases[before:]) > 20)
    assert listed(api) is not None


def writes_work(api, t):
    """By themselves."""
    start = time.monotonic()
    ops = len(t.h.ops)
    eventually('a write', lambda: any(op.rev and op.end and op.kind != 'get' for op in t.h.ops[ops:]))
    took = time.monotonic() - start
    eventually('readyz', lambda: api.call('GET', '/readyz') == (200, 'ok'))
    assert 'wherry_store_failing 0' in api.call('GET', '/metrics')[1]
    return took


def fill(path):
    block = b'x' * (1 << 20)
    with open(path, 'ab', buffering=0) as f:
        while block:
            try:
                f.write(block)
            except OSError:
                block = block[:len(block) // 2]


class Small(Cluster):
    """A whole cluster on a small disk of its own; /run is in memory as it is everywhere."""

    def up(self):
        if not os.path.ismount(self.root):
            with open(self.root + '.disk', 'wb') as f:
                f.truncate(64 << 20)
            run(['mkfs.ext4', '-q', '-m', '0', self.root + '.disk'])
            run(['mount', '-o', 'loop', self.root + '.disk', self.root])
            os.chmod(self.root, 0o755)
            os.mkdir(self.root + '/run')
            run(['mount', '-t', 'tmpfs', 'run', self.root + '/run'])
        return super().up()

    def __exit__(self, *unused):
        try:
            self.down()
        finally:
            for path in (self.root + '/run', self.root):
                if os.path.ismount(path):
                    run(['umount', '-l', path])
            os.unlink(self.root + '.disk')
            shutil.rmtree(self.root, ignore_errors=True)


class NodeWatcher(threading.Thread):
    """Whether the node was ever not Ready after it had been."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.api, self.said, self.over = Api(c.root, c.port), [], False

    def run(self):
        while not self.over:
            try:
                for o in self.api.must('GET', '/api/v1/nodes')['items']:
                    ready = [x for x in o['status'].get('conditions', []) if x['type'] == 'Ready']
                    if ready and self.said[-1:] != [ready[0]['status']]:
                        self.said.append(ready[0]['status'])
            except LOST:
                pass
            time.sleep(0.2)                             # between two looks


def full_disk(c):
    """Under writers: refused with a sentence, reads and watches and leases go on, a start too; then it works again."""
    rng = random.Random(seed())
    with Small(port=16643, image=False) as f:
        api = Api(f.root, f.port)
        first = prepared(api)
        node = NodeWatcher(f)
        node.start()
        eventually('a node', lambda: node.said == ['True'])
        with Traffic(f.root, f.port, rng) as t:
            watchers = [Watcher(t.h, f.root, f.port, first) for _ in range(2)]
            for w in watchers:
                w.start()
            eventually('traffic', lambda: len(t.h.revs) > 100)
            for times in range(size(1, 2)):
                since = len(t.refused)
                fill(f.root + '/ballast')
                writes_fail(api, t, since, ['the disk is full'])
                if times == 0:                          # a start needs no room
                    pid = f.role_pid('server')
                    kill(pid)
                    eventually('another server', lambda: f.role_pid('server') != pid)
                    since = len(t.refused)
                    lost_nothing(f, lambda: api.must('GET', CONFIG_MAPS))
                    if api.call('GET', '/readyz')[0] == 200:    # some of the first writes may have found room
                        fill(f.root + '/ballast')
                    writes_fail(api, t, since, ['the disk is full'], leases=False)  # none is shown before room for it is sure
                time.sleep(size(0, 50) if times == 1 else 0)    # a node that is not heard of for 40 s is not ready
                pid = f.role_pid('server')
                os.unlink(f.root + '/ballast')
                took = writes_work(api, t)
                assert f.role_pid('server') == pid
                before = len(t.leases)
                eventually('leases are written again', lambda: sum(x[2] for x in t.leases[before:]) > 20)
        finish(t.h, api, watchers)
        n = t.check()
        node.over = True
        assert node.said == ['True'], node.said
        print('     %d calls, %d refused; worked again after %.2f s' % (n, len(t.refused), took))


def syncs_fail(c):
    """The same with a disk that does not sync, and kills while it fails."""
    rng = random.Random(seed())
    with tempfile.TemporaryDirectory(prefix='we-sync-') as folder:
        disk.shim(folder)
        root, fail = folder + '/live', folder + '/fail'
        os.mkdir(root)
        server = Server(root, folder, PORT, fail=fail)
        try:
            api = server.ready()
            first = prepared(api)
            with Traffic(root, PORT, rng) as t:
                watchers = [Watcher(t.h, root, PORT, first) for _ in range(3)]
                for w in watchers:
                    w.start()
                for i in range(size(4, 20)):
                    time.sleep(rng.random() * 0.3)      # the random moment
                    since = len(t.refused)
                    with open(fail, 'w') as f:
                        f.write(rng.choice(['sync', 'sync', 'write']))
                    if i % 3:
                        writes_fail(api, t, since, ['the disk fails'])
                    if i % 3 != 1:                      # kill -9, with what just failed perhaps in the file
                        time.sleep(rng.random() * 0.05)
                        server.__exit__()
                        os.unlink(fail)
                        server = Server(root, folder, PORT, fail=fail)
                        api = server.ready()
                    else:
                        os.unlink(fail)
                    writes_work(api, t)
            events = finish(t.h, api, watchers)
            n = t.check()
            lists_are_of_one_revision(api, rng, t, events)
            print('     %d calls, %d refused, %d events' % (n, len(t.refused), len(events)))
        finally:
            server.__exit__()


# --- backups

def backups_under_load(c):
    """Each is all keys at one revision, no older than what was answered when it was asked for; one that is cut short by a
    kill leaves nothing."""
    rng = random.Random(seed())
    with tempfile.TemporaryDirectory(prefix='we-backup-') as folder:
        root = folder + '/live'
        os.mkdir(root)
        env = dict(os.environ, KUBECONFIG=root + '/etc/wherry/admin.kubeconfig')
        server, taken = Server(root, folder, PORT), []
        try:
            api = server.ready()
            first = prepared(api)
            with Traffic(root, PORT, rng) as t:
                watcher = Watcher(t.h, root, PORT, first)
                watcher.start()
                eventually('traffic', lambda: len(t.h.revs) > 50)
                for i in range(size(2, 10)):
                    time.sleep(rng.random() * 0.2)      # the random moment
                    before = max(op.rev for op in list(t.h.ops) if op.rev and op.end and op.kind != 'get')
                    run([WHERRY, 'backup', folder + '/%d' % i], env=env)
                    taken.append((folder + '/%d' % i, before, rev_of(api.must('GET', CONFIG_MAPS))))
                p = subprocess.Popen([WHERRY, 'backup', folder + '/cut'], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                eventually('a backup under way', lambda: p.poll() is not None or [n for n in os.listdir(root + '/var/lib/wherry/server') if 'backup' in n], every=0)
                server.__exit__()
                cut = p.wait(60) != 0
                assert cut != os.path.exists(folder + '/cut') and not os.path.exists(folder + '/cut.part'), p.stdout.read()
                server = Server(root, folder, PORT)
                api = server.ready()
                left = os.listdir(root + '/var/lib/wherry/server')
                assert sorted(left) in (['store.db'], ['store.db', 'store.db-wal']), left
            events = finish(t.h, api, [watcher])
            t.check()
        finally:
            server.__exit__()
        states = []
        for n, (path, before, after) in enumerate(taken):
            bare = folder + '/bare-%d' % n
            shutil.copytree(root + '/etc/wherry/keys', bare + '/etc/wherry/keys')
            run([WHERRY, 'restore', path, '--root', bare])
            with Server(bare, folder, PORT) as server:
                api = server.ready()
                have, at = listed(api), [before] + [e[0] for e in events if before < e[0] <= after]
                assert have in [state_at(events, rev) for rev in at], ('not as at one revision from %d to %d' % (before, after), have)
                assert rev_of(api.must('GET', CONFIG_MAPS)) > events[-1][0]
                states.append(have)
        cuts = restore_is_cut(folder, rng, folder + '/bare-0', taken[1][0], states[:2])
        print('     %d backups of %d events; one was cut short: %s; %d power cuts of a restore' % (len(taken), len(events), cut, cuts))


def restore_is_cut(folder, rng, root, backup, states):
    """A restore in the place of a store, with a power cut at any moment: the old store is there, or the new one."""
    disk.shim(folder)
    before, image, journal = folder + '/before', folder + '/image', folder + '/journal'
    shutil.copytree(root, before)
    run([WHERRY, 'restore', backup, '--root', root, '--replace'],
        env=dict(os.environ, LD_PRELOAD=folder + '/disk.so', DISK_FOLDER=root, DISK_JOURNAL=journal))
    records = disk.journal_read(journal)
    moments = sorted([len(records)] + [rng.randrange(len(records)) for _ in range(size(3, 20))])
    for n, moment in enumerate(moments):
        known = disk.Disk(root, before)
        for r in records[:moment]:
            known.take(r)
        known.write(image, rng, (0, 0.5, 0.9, 1)[n % 4])
        with Server(image, folder, PORT) as server:
            have = listed(server.ready())
            assert have == states[1] if moment == len(records) else have in states, (
                'neither the old store nor the new one after record %d of %d' % (moment, len(records)), have, states)
        shutil.rmtree(image)
    return len(moments)



def a_clean_end_leaves_one_file(c):
    """Under writers, too; and what they were told is there."""
    with Cluster(port=16646, args=['--roles', 'server'], image=False) as one:
        folder, told = one.root + '/var/lib/wherry/server', []

        def write(k):
            api, i = Api(one.root, one.port), 0
            try:
                while True:
                    name = 'w%d-%d' % (k, i)
                    if api.call('POST', CONFIG_MAPS, {'metadata': {'name': name}})[0] == 201:
                        told.append(name)
                    i += 1
            except LOST:
                pass
        threads = [threading.Thread(target=write, args=(k,), daemon=True) for k in range(4)]
        for t in threads:
            t.start()
        eventually('writes', lambda: len(told) > 50)
        assert 'store.db-wal' in os.listdir(folder)
        one.down()
        for t in threads:
            t.join(30)
        assert os.listdir(folder) == ['store.db'], os.listdir(folder)
        one.up()
        names = {o['metadata']['name'] for o in Api(one.root, one.port).must('GET', CONFIG_MAPS)['items']}
        assert names >= set(told), set(told) - names


if __name__ == '__main__':
    main([the_checker_tells_right_from_wrong, killed_at_random_moments, power_cut_at_any_moment, full_disk, syncs_fail,
          backups_under_load, a_clean_end_leaves_one_file], args=['--roles', 'server'], image=False)
