#!/usr/bin/env python3
"""examples/postgres as its README has it: a primary and two standbys, each on a claim of its own. No transaction that was acknowledged is
lost while every pod is deleted, the node role is killed, and all of Wherry is stopped and started; and a backup can be restored."""
import random, secrets, threading
from lib import *
from pgwire import Pg, PgError

EXAMPLE = os.path.join(TOP, 'examples/postgres/postgres.yaml')
KILLS, CLIENTS, RATE = size(3, 10), 4, 200             # a second, of all clients together
PASSWORD = secrets.token_hex(12)


def fetched():
    """The folder with the files of the image."""
    return run([os.path.join(TOP, 'tools/fetch-postgres')], timeout=1200).strip().splitlines()[-1]


class PostgresCluster(Cluster):
    def load_image(self):
        root, tar = fetched(), self.root + '/image.tar'
        with open(root + '/etc/passwd') as f:
            user = next(line.split(':') for line in f if line.startswith('postgres:'))
        run([WHERRY, 'image', 'pack', tar, 'wherry.dev/postgres:15', '--user', '%s:%s' % (user[2], user[3]), '--env', 'LANG=C.UTF-8',
             '--env', 'PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin', '/=' + root], timeout=300)
        run([WHERRY, 'image', 'load', tar, '--root', self.root], timeout=300)
        os.unlink(tar)


def volumes_by_hand(c):
    """Where no class makes volumes: folders of the machine, open to whoever the server runs as."""
    for n in range(4):
        path = '%s/volume-%d' % (c.root, n)
        os.mkdir(path)
        os.chmod(path, 0o777)
        c.apply('{apiVersion: v1, kind: PersistentVolume, metadata: {name: by-hand-%d}, spec: {capacity: {storage: 2Gi}, '
                'accessModes: [ReadWriteOnce], hostPath: {path: %s}}}' % (n, path))


def ready(c):
    return [p['metadata']['name'] for p in c.get('pods', '-l', 'app=postgres')['items'] if not p['metadata'].get('deletionTimestamp') and
            any(x['type'] == 'Ready' and x['status'] == 'True' for x in p['status'].get('conditions', []))]


def all_ready(c, timeout=90):
    try:
        eventually('all three are ready', lambda: len(ready(c)) == 3, timeout, 0.3)
    except AssertionError:
        print(c.kubectl('get', 'pods', '-o', 'wide'), c.wherry('why', 'sts/postgres', check=False), c.kubectl('get', 'events', '--sort-by=.lastTimestamp')[-3000:])
        raise


def sql(c, pod, text):
    return c.kubectl('exec', pod, '-c', 'postgres', '--', 'psql', '-h', '/tmp', '-U', 'postgres', '-d', 'app', '-tAc', text).strip()


def streaming(c):
    return sql(c, 'postgres-0', 'SELECT count(*) FROM pg_stat_replication WHERE state = \'streaming\'') == '2'


# --- the clients

class Writer(threading.Thread):
    """Writes its own numbers, one transaction each, and knows which of them were acknowledged. What was not is tried again, as a
    program does that cannot tell whether its COMMIT came through."""

    def __init__(self, host, who):
        super().__init__(daemon=True)
        self.host, self.who, self.acked, self.retries, self.away, self.ended, self.wrong = host, who, 0, 0, 0.0, False, None
        self.last = time.monotonic()                    # when it was answered

    def run(self):
        pg, due = None, time.monotonic()
        while not self.ended:
            try:
                pg = pg or Pg(self.host, 'app', PASSWORD, 'app')
                pg.query('INSERT INTO told VALUES (%d, %d) ON CONFLICT DO NOTHING' % (self.who, self.acked + 1))
                self.acked += 1
                self.away, self.last = max(self.away, time.monotonic() - self.last), time.monotonic()
            except (OSError, PgError) as e:
                if isinstance(e, PgError) and e.code[:2] in ('28', '42', '22'):
                    self.wrong = e                      # it will not get better
                    return
                self.retries += 1
                if pg:
                    pg.close()
                pg = None
                time.sleep(0.1)
                due = time.monotonic()
            due = max(due + CLIENTS / RATE, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))


class Load:
    def __init__(self, c):
        host = c.get('service', 'postgres-primary')['spec']['clusterIP']
        self.c, self.writers, self.start = c, [Writer(host, n) for n in range(CLIENTS)], time.monotonic()
        for w in self.writers:
            w.start()

    def sum(self):
        for w in self.writers:
            assert not w.wrong, w.wrong
        return sum(w.acked for w in self.writers)

    def goes_on(self, what):
        """Each client gets answers again."""
        was = [w.acked for w in self.writers]
        eventually('transactions go on after %s' % what, lambda: self.sum() and all(w.acked > n + 2 for w, n in zip(self.writers, was)), 60)

    def end(self):
        for w in self.writers:
            w.ended = True
        for w in self.writers:
            w.join(20)
        took = time.monotonic() - self.start
        print('     %d transactions in %.0f s (%.0f a second), %d retries, %.1f s without an answer at most' % (
            self.sum(), took, self.sum() / took, sum(w.retries for w in self.writers), max(w.away for w in self.writers)), flush=True)

    def nothing_lost(self, pod):
        """All numbers that were acknowledged are there: 1 ... acked of each client, and no other but the next."""
        rows = dict(tuple(map(int, line.split('|')[:2])) for line in sql(
            self.c, pod, 'SELECT who, count(*) FROM told t WHERE n <= (CASE who %s END) GROUP BY who' % ' '.join(
                'WHEN %d THEN %d' % (w.who, w.acked) for w in self.writers)).splitlines())
        want = {w.who: w.acked for w in self.writers}
        assert rows == want, '%s has %s of the acknowledged transactions, %s were' % (pod, rows, want)


def kill_node(c):
    pid = c.role_pid('node')
    os.kill(pid, signal.SIGKILL)
    eventually('another one runs', lambda: c.role_pid('node') != pid and os.path.exists('/proc/%d' % c.role_pid('node')))


# --- the tests

def it_starts(c):
    """As the README says: a secret, one file; a primary and two standbys that stream."""
    eventually('the node is ready', lambda: c.get('nodes')['items'])
    if not eventually('the node is ready', lambda: [c.get('storageclasses')['items']])[0]:
        volumes_by_hand(c)
    c.kubectl('create', 'secret', 'generic', 'postgres', *('--from-literal=%s=%s' % (k, PASSWORD) for k in ('password', 'replication-password', 'app-password')))
    c.kubectl('apply', '-f', EXAMPLE)
    c.kubectl('rollout', 'status', 'sts/postgres', '--timeout=120s', timeout=130)
    eventually('both standbys stream', lambda: streaming(c), 30, 0.3)
    assert sql(c, 'postgres-0', 'SELECT pg_is_in_recovery()') == 'f'
    assert sql(c, 'postgres-1', 'SELECT pg_is_in_recovery()') == 't'
    sql(c, 'postgres-0', 'SET ROLE app; CREATE TABLE told (who int, n int, PRIMARY KEY (who, n))')
    assert c.get('pdb', 'postgres')['status']['expectedPods'] == 3


def nothing_acknowledged_is_lost(c):
    """200 transactions a second, and one thing after the other goes away."""
    load = Load(c)
    load.goes_on('the beginning')
    rng, kills = random.Random(seed()), 0
    for n in (1, 2, 0):
        uid = c.get('pod', 'postgres-%d' % n)['metadata']['uid']
        c.kubectl('delete', 'pod', 'postgres-%d' % n, '--wait=false')
        while kills < KILLS * (1 + (1, 2, 0).index(n)) // 3:
            time.sleep(rng.random())                    # while it goes, or while it comes again
            kill_node(c)
            kills += 1
        eventually('there is another', lambda: c.get('pod', 'postgres-%d' % n)['metadata']['uid'] != uid, 60, 0.2)
        all_ready(c)
        load.goes_on('postgres-%d was deleted' % n)
    c.down()
    c.up()
    all_ready(c)
    load.goes_on('wherry was stopped and started')
    load.end()
    load.nothing_lost('postgres-0')
    eventually('both standbys stream', lambda: streaming(c), 60, 0.3)
    for pod in ('postgres-1', 'postgres-2'):
        eventually('%s has it too' % pod, lambda: load.nothing_lost(pod) or True, 30)


def a_backup_can_be_restored(c):
    """The CronJob's job makes a dump; what it holds comes back into an empty database."""
    rows = sql(c, 'postgres-0', 'SELECT count(*) FROM told')
    c.kubectl('create', 'job', '--from=cronjob/postgres-backup', 'now')
    c.kubectl('wait', '--for=condition=complete', 'job/now', '--timeout=60s', timeout=70)
    said = c.kubectl('logs', 'job/now')
    assert re.match(r'made /backup/app-.*\.dump, \d+ bytes', said), said
    c.kubectl('apply', '-f', os.path.join(TOP, 'examples/postgres/restore-backup.yaml'))
    eventually('it has run', lambda: c.get('job', 'restore-backup')['status'].get('conditions'), 60, 0.3)
    assert 'database restored holds' in c.kubectl('logs', 'job/restore-backup')
    assert c.kubectl('exec', 'postgres-0', '--', 'psql', '-h', '/tmp', '-U', 'postgres', '-d', 'restored', '-tAc', 'SELECT count(*) FROM told').strip() == rows


def volumes_that_are_lost_are_filled_again(c):
    """As the README says: a standby's by itself, the primary's from a standby, and not before somebody says so."""
    rows = int(sql(c, 'postgres-0', 'SELECT count(*) FROM told'))
    for n in (2, 0):
        c.kubectl('delete', 'pvc', 'data-postgres-%d' % n, '--wait=false')
        c.kubectl('delete', 'pod', 'postgres-%d' % n, '--wait=false')
        if n == 0:
            eventually('it makes no new database', lambda: 'postgres-1 has the data' in c.kubectl('logs', 'postgres-0'), 60)
            c.kubectl('apply', '-f', os.path.join(TOP, 'examples/postgres/rebuild-primary.yaml'))
            c.kubectl('wait', '--for=condition=complete', 'job/rebuild-primary', '--timeout=60s', timeout=70)
        eventually('it is there again', lambda: len(ready(c)) == 3 and streaming(c), 120, 0.3)
    sql(c, 'postgres-0', 'INSERT INTO told VALUES (-1, 1)')
    for pod in ('postgres-0', 'postgres-1', 'postgres-2'):
        eventually('%s has all' % pod, lambda: int(sql(c, pod, 'SELECT count(*) FROM told')) == rows + 1)


if __name__ == '__main__':
    if os.environ.get('WHERRY_E2E') != 'inside':
        fetched()                                       # comes from the network, which there is not inside
    main([it_starts, nothing_acknowledged_is_lost, a_backup_can_be_restored] + [volumes_that_are_lost_are_filled_again] * STORM, cluster=PostgresCluster)
