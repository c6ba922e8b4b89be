"""What a cluster may change on its machine, for comparing before and after."""
import difflib, os, re
from lib import run

# Counters and what the kernel draws by lot.
MOVING = re.compile(r'^net\.(netfilter\.nf_conntrack_count|ipv4\.tcp_fastopen_key|.*stable_secret|unix\.)')


def cgroups(instance):
    found = []
    for top, dirs, _ in os.walk('/sys/fs/cgroup'):
        found += [os.path.join(top, d) for d in dirs if instance and instance in d]
    return found


def processes():
    """Those of these namespaces (everything of a cluster but what runs inside of pods, which control groups show)."""
    mine, found = os.readlink('/proc/self/ns/net'), []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cmdline' % pid) as f:
                line = f.read().replace('\0', ' ').strip()
            with open('/proc/%s/comm' % pid) as f:
                name = f.read()
            if os.readlink('/proc/%s/ns/net' % pid) == mine and name.startswith(('wherry', 'crun')):
                found.append('%s %s' % (pid, line))
        except OSError:
            pass
    return sorted(found)


def machine(instance=''):
    """What `wherry up` may touch, as text by name."""
    sysctls = run(['sysctl', '-a', '--pattern', '^net\\.']).splitlines()
    with open('/proc/self/mountinfo') as f:
        mounts = [' '.join(line.split()[3:]) for line in f]
    return {
        'sysctls': sorted(s for s in sysctls if not MOVING.match(s)),
        'rules': re.sub(r'packets \d+ bytes \d+', '', run(['nft', 'list', 'ruleset'])).splitlines(),
        'links': [re.sub(r'qlen \d+', '', l) for l in run(['ip', '-o', 'link']).splitlines()],
        'addresses': run(['ip', '-o', 'addr']).splitlines(),
        'routes': run(['ip', 'route', 'show', 'table', 'all']).splitlines() + run(['ip', '-6', 'route', 'show', 'table', 'all']).splitlines(),
        'routing rules': run(['ip', 'rule']).splitlines(),
        'mounts': mounts,
        'cgroups': cgroups(instance),
        'processes': processes(),
    }


def differences(was, now):
    return ['%s: %s' % (name, line) for name in was for line in difflib.unified_diff(was[name], now[name], lineterm='', n=0)
            if line[0] in '+-' and not line.startswith(('+++', '---'))]


def instance_here():
    return re.search(r'table ip (\S+)', run(['nft', 'list', 'tables'])).group(1).split('-')[-1]
