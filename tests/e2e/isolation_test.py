#!/usr/bin/env python3
"""Attacks from inside of a pod, with nothing but the goal to get out of it (attack.c); and what a pod may see."""
import os, re, subprocess, time
from lib import *

ATTACK = 'wherry.dev/attack:1'


class Attacked(Cluster):
    def load_image(self):
        super().load_image()
        program, tar = self.root + '/attack', self.root + '/attack.tar'
        run(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-static', '-o', program, os.path.join(TOP, 'tests/e2e/attack.c')])
        files = ['bin/attack=' + program, 'bin/busybox=/bin/busybox'] + ['bin/%s=@busybox' % t for t in (TOOLS + ' ln rm chmod').split()]
        run([WHERRY, 'image', 'pack', tar, ATTACK, '--cmd', '/bin/sh'] + files)
        run([WHERRY, 'image', 'load', tar, '--root', self.root])


def pod(name, spec):
    return 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  terminationGracePeriodSeconds: 0\n%s\n---\n' % (name, spec)


def logs(c, name, container=None):
    """What it said so far; of all containers those that have run."""
    names = [container] if container else list(statuses(c, name))
    return ''.join(c.kubectl('logs', name, '-c', n, check=False) for n in names)


def phase(c, name):
    return c.get('pod', name)['status'].get('phase')


def statuses(c, name):
    return {s['name']: s for s in c.get('pod', name)['status'].get('containerStatuses', [])}


def away(c, *names):
    c.kubectl('delete', 'pod', '--grace-period=0', '--force', *names)


def sub_paths_lead_nowhere_else(c):
    """A sidecar exchanges a folder with links to the host's folders while containers start with subPaths of it."""
    volumes = {'disk': 'emptyDir: {}', 'memory': 'emptyDir: {medium: Memory}', 'host': 'hostPath: {path: %s/shared, type: DirectoryOrCreate}' % c.root}
    many = range(size(6, 30))
    yaml = ''
    for kind, source in volumes.items():
        containers = ''
        for i in many:
            sub = ('subPath: d', 'subPath: d/in', 'subPathExpr: $(D)/new%d/deep' % i)[i % 3]
            containers += '''  - {name: c%d, image: %s, env: [{name: D, value: d}], command: [sh, -c, "ls -R /m; if [ -e /m/etc/wherry ] || [ -e /m/keys ] || [ -e /m/server ]; then echo ESCAPE; fi"], volumeMounts: [{name: v, mountPath: /m, %s}]}
''' % (i, ATTACK, sub)
        yaml += pod('sub-' + kind, '''  restartPolicy: OnFailure
  initContainers:
  - {name: make, image: %s, command: [sh, -c, "mkdir -p /v/d/in; ln -s %s /v/l; ln -s / /v/s"], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: swap, restartPolicy: Always, image: %s, command: [attack, swap, /v/d, /v/l, /v/s], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
%s  volumes: [{name: v, %s}]''' % (ATTACK, c.root, ATTACK, containers, source))
    c.apply(yaml)
    for kind in volumes:
        name = 'sub-' + kind
        # each has run, or was told that its subPath leads out, at least once
        def seen():
            s = statuses(c, name)
            return len(s) == len(many) and all(x['state'].get('terminated') or x['lastState'] or
                                               x['state'].get('waiting', {}).get('reason') in ('CreateContainerConfigError', 'CreateContainerError', 'CrashLoopBackOff') for x in s.values())
        eventually('%s: every container was tried' % name, seen, 60)
        assert 'ESCAPE' not in logs(c, name), logs(c, name)
        reasons = {x['state'].get('waiting', {}).get('message', '') for x in statuses(c, name).values()}
        assert all(not r or 'leads out of its volume' in r or 'subPath' in r for r in reasons), reasons
    for leaf in os.listdir(c.root + '/etc/wherry') + os.listdir(c.root) + os.listdir('/'):
        assert not re.match(r'new\d+$', leaf), leaf
    away(c, *['sub-' + k for k in volumes])


def helpers_of_ours_own_nothing(c):
    """SYS_PTRACE in a shared process namespace, and in a container's own, while others start and commands are run in it."""
    hunter = '{name: hunter, image: %s, command: [attack, hunt, %s/etc/wherry, "%d"], securityContext: {capabilities: {add: [SYS_PTRACE]}}' % (ATTACK, c.root, size(12, 90))
    c.apply(pod('shared', '''  shareProcessNamespace: true
  restartPolicy: OnFailure
  containers:
  - %s}
  - {name: flapping, image: %s, command: [sh, -c, "sleep 0.1; exit 1"]}
  - {name: still, image: %s, command: [sleep, "1000"]}''' % (hunter, ATTACK, ATTACK)) + pod('alone', '''  restartPolicy: Never
  containers:
  - %s, readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}}''' % hunter))
    for name in ('shared', 'alone'):
        eventually(name + ' hunts', lambda: 'hunting' in logs(c, name, 'hunter'))
    for i in range(size(8, 60)):
        asked = [subprocess.Popen([c.bin + '/kubectl', 'exec', name, '-c', container, '--', 'sleep', '0.2'], env=c.env, stderr=subprocess.PIPE, text=True)
                 for name, container in (('shared', 'still'), ('shared', 'hunter'), ('alone', 'hunter'))]
        for p in asked:
            said = p.communicate(timeout=60)[1]
            assert p.returncode == 0, said
    for name in ('shared', 'alone'):
        eventually(name + ' has hunted', lambda: 'hunted' in logs(c, name, 'hunter'), 90)
        assert 'ESCAPE' not in logs(c, name, 'hunter'), logs(c, name, 'hunter')
        assert int(re.search(r'hunted (\d+)', logs(c, name, 'hunter')).group(1)) > 4, 'it saw programs come and go: ' + logs(c, name, 'hunter')
    away(c, 'shared', 'alone')


def main_tests():
    return [sub_paths_lead_nowhere_else, helpers_of_ours_own_nothing]


main(main_tests(), 16491, cluster=Attacked)
