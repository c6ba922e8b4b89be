#!/usr/bin/env -S python3 -SE
"""A stand-in for iscsiadm, with what the real one, iscsid, the kernel and udev do where they can be seen: sessions in
/sys/class, links in /dev/disk/by-path. What it knows stands in a JSON file beside it: targets, and what was done."""
import fcntl, json, os, sys

HERE = os.path.dirname(os.path.abspath(__file__))
STATE = HERE + '/fabric.json'
HOSTS, SCSI, BY_PATH = '/sys/class/iscsi_host/', '/sys/class/scsi_host/', '/dev/disk/by-path/'
FAULT, AUTH, NO_OBJECTS, EXISTS = 8, 24, 21, 15           # exit statuses of the real one


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text + '\n')


def session(s, portal, target, iqn):
    """What appears when a login succeeds."""
    s['next'] = n = s.get('next', 0) + 1
    host, name = 'host%d' % n, 'session%d' % n
    at = HOSTS + host + '/device/' + name
    connection = at + '/connection%d:0/iscsi_connection/connection%d:0/' % (n, n)
    address, port = portal.rsplit(':', 1)
    put(at + '/iscsi_session/' + name + '/targetname', iqn)
    for prefix in ('', 'persistent_'):
        put(connection + prefix + 'address', address)
        put(connection + prefix + 'port', port)
    put(SCSI + host + '/scan', '')
    os.makedirs(BY_PATH, exist_ok=True)
    for lun, device in target['luns'].items():
        os.makedirs(at + '/target%d:0:0/%d:0:0:%s/block/%s' % (n, n, lun, device))
        link = BY_PATH + 'ip-%s-iscsi-%s-lun-%s' % (portal, iqn, lun)
        if not os.path.islink(link):
            os.symlink('../../' + device, link)
    return host


def over(s, portal, target, iqn, host):
    os.system('rm -rf %s%s %s%s' % (HOSTS, host, SCSI, host))
    for lun in target['luns']:
        os.unlink(BY_PATH + 'ip-%s-iscsi-%s-lun-%s' % (portal, iqn, lun))


def options(argv):
    o, i = {}, 0
    while i < len(argv):
        if argv[i] in ('--discover', '--login', '--logout'):
            o['-o'], i = argv[i][2:], i + 1
        else:
            o[argv[i]], i = argv[i + 1], i + 2
    return o


def iface(s, o):
    name, do = o['-I'], o['-o']
    if do == 'new':
        return EXISTS if name in s['ifaces'] else s['ifaces'].update({name: {'iface.transport_name': 'tcp'}})
    if name not in s['ifaces']:
        print('iscsiadm: Could not read iface %s (6)' % name)
        return NO_OBJECTS
    if do == 'show':
        print('# BEGIN RECORD 2.1.8\niface.iscsi_ifacename = %s\niface.net_ifacename = <empty>' % name)
        print('\n'.join('%s = %s' % it for it in sorted(s['ifaces'][name].items())) + '\n# END RECORD')
    elif do == 'update':
        s['ifaces'][name][o['-n']] = o['-v']
    elif do == 'delete':
        del s['ifaces'][name]


def discovery(s, o):
    portal, do = o['-p'], o['-o']
    if do == 'new':
        s['discovery'].setdefault(portal, {})
    elif do == 'update':
        s['discovery'][portal][o['-n']] = o['-v']
    elif do == 'delete':
        s['discovery'].pop(portal, None)
    elif do == 'discover':
        found = [iqn for iqn, t in s['targets'].items() if portal in t['portals']]
        if not found:
            print('iscsiadm: cannot make connection to %s: Connection refused' % portal.rsplit(':', 1)[0])
            return FAULT
        for iqn in found:
            wants = s['targets'][iqn].get('discovery')
            if wants and any(s['discovery'][portal].get('discovery.sendtargets.auth.' + k) != v for k, v in wants.items()):
                print('iscsiadm: Login authentication failed with target')
                return AUTH
            s['nodes'].setdefault('%s %s %s' % (portal, iqn, o['-I']), {})
            print('%s,1 %s' % (portal, iqn))


def node(s, o):
    portal, iqn, do = o['-p'], o['-T'], o['-o']
    keys = [k for k in s['nodes'] if k.startswith('%s %s ' % (portal, iqn)) and ('-I' not in o or k.endswith(' ' + o['-I']))]
    target = s['targets'].get(iqn)
    if not keys:
        print('iscsiadm: No records found')
        return NO_OBJECTS
    for key in keys:
        if do == 'update':
            s['nodes'][key][o['-n']] = o['-v']
        elif do == 'login':
            if key in s['sessions']:
                return EXISTS
            wants = target.get('session')
            if wants and any(s['nodes'][key].get('node.session.auth.' + k) != v for k, v in wants.items()):
                print('iscsiadm: Could not login to [iface: %s, target: %s, portal: %s].\niscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)' % (o['-I'], iqn, portal))
                return AUTH
            s['sessions'][key] = session(s, portal, target, iqn)
        elif do == 'logout':
            if key not in s['sessions']:
                return NO_OBJECTS
            over(s, portal, target, iqn, s['sessions'].pop(key))
        elif do == 'delete':
            del s['nodes'][key]


def main():
    with open(STATE, 'r+') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        s = json.loads(f.read())
        o = options(sys.argv[1:])
        status = {'iface': iface, 'discoverydb': discovery, 'node': node}[o['-m']](s, o) or 0
        s['calls'].append(' '.join(sys.argv[1:]) + (' = %d' % status if status else ''))
        f.seek(0)
        f.truncate()
        json.dump(s, f)
    sys.stdout.flush()
    return status


if __name__ == '__main__':
    sys.exit(main())
