#!/usr/bin/env python3
"""Cluster DNS towards the outside: names that are not the cluster's are asked of the host's resolvers, whichever these
are just now."""
import os, shutil, socket, threading
from lib import Cluster, eventually, main, run

STUBS = {'127.0.0.53': b'\xc0\x00\x02\x35', '127.0.0.54': b'\xc0\x00\x02\x36'}  # resolver: what it answers, 192.0.2.N


def resolver(ip, answer):
    """Says to every question that the name has this address."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ip, 53))

    def serve():
        while True:
            q, peer = s.recvfrom(4096)
            end = q.index(b'\0', 12) + 5
            head = q[:2] + b'\x81\x80\0\1\0\1\0\0\0\0'
            s.sendto(head + q[12:end] + b'\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4' + answer, peer)
    threading.Thread(target=serve, daemon=True).start()


def own_etc(folder):
    """A copy of /etc in which resolv.conf is a file that may be written, replaced and removed."""
    shutil.copytree('/etc', folder, symlinks=True, ignore=lambda d, names: [
        n for n in names if n == 'resolv.conf' or not (os.path.isfile(os.path.join(d, n)) or os.path.isdir(os.path.join(d, n)))])
    write(folder + '/resolv.conf', '127.0.0.53')
    run(['mount', '--bind', folder, '/etc'])


def write(path, ip):
    with open(path, 'w') as f:
        f.write('nameserver %s\n' % ip)


def replace(ip):
    write('/etc/resolv.new', ip)
    os.rename('/etc/resolv.new', '/etc/resolv.conf')


def asked(name):
    return run(['dig', '+short', '+time=1', '+tries=1', '@10.43.0.10', name], check=False).strip()


def the_hosts_resolvers_are_asked(c):
    eventually('the first resolver', lambda: asked('name.test') == '192.0.2.53')


def a_resolver_that_is_written_down_is_asked_from_then_on(c):
    write('/etc/resolv.conf', '127.0.0.54')
    eventually('the second', lambda: asked('name.test') == '192.0.2.54')


def so_is_one_whose_file_takes_the_place_of_the_old(c):
    for ip, answer in (('127.0.0.53', '192.0.2.53'), ('127.0.0.54', '192.0.2.54'), ('127.0.0.53', '192.0.2.53')):
        replace(ip)
        eventually(ip, lambda: asked('name.test') == answer)


def a_link_to_another_file_is_followed(c):
    os.makedirs('/etc/elsewhere', exist_ok=True)
    write('/etc/elsewhere/resolv.conf', '127.0.0.54')
    os.remove('/etc/resolv.conf')
    os.symlink('/etc/elsewhere/resolv.conf', '/etc/resolv.conf')
    eventually('what the link leads to', lambda: asked('name.test') == '192.0.2.54')
    write('/etc/elsewhere/new', '127.0.0.53')
    os.rename('/etc/elsewhere/new', '/etc/elsewhere/resolv.conf')
    eventually('what is there now', lambda: asked('name.test') == '192.0.2.53')


def without_any_others_names_fail_and_the_clusters_do_not(c):
    os.remove('/etc/resolv.conf')
    eventually('SERVFAIL', lambda: 'SERVFAIL' in run(['dig', '+time=1', '+tries=1', '@10.43.0.10', 'name.test'], check=False))
    assert asked('kubernetes.default.svc.cluster.local') == '10.43.0.1'
    write('/etc/resolv.conf', '127.0.0.54')
    eventually('one again', lambda: asked('name.test') == '192.0.2.54')


class OwnEtc(Cluster):
    def __enter__(self):
        for ip, answer in STUBS.items():
            resolver(ip, answer)
        own_etc(self.root + '/host-etc')
        return super().__enter__()

    def __exit__(self, *unused):
        run(['umount', '/etc'], check=False)
        super().__exit__(*unused)


if __name__ == '__main__':
    main([the_hosts_resolvers_are_asked, a_resolver_that_is_written_down_is_asked_from_then_on,
          so_is_one_whose_file_takes_the_place_of_the_old, a_link_to_another_file_is_followed,
          without_any_others_names_fail_and_the_clusters_do_not], cluster=OwnEtc, port=16643, image=False)
