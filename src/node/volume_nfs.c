#include "node/volume_nfs.h"
#include "base/fault.h"
#include "sys/child.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#define MOUNT_MOST_MS 90000 /* then the process that waits for the server is ended, and the pod tried again */

bool volume_nfs_versioned(const struct volume_mount *m)
{
    for (size_t i = 0; i < m->options.n; i++) {
        struct str rest = m->options.p[i], one;
        while (str_cut(&rest, ',', &one))
            if (str_starts(one, S("vers=")) || str_starts(one, S("nfsvers=")))
                return true;
    }
    return false;
}

bool volume_nfs_options(const struct volume_mount *m, const char *address, const char *version, struct strbuf *out,
                        struct err *err)
{
    strbuf_addz(out, m->read_only ? "ro" : "rw");
    for (size_t i = 0; i < m->options.n; i++) {
        struct str rest = m->options.p[i], one;
        while (str_cut(&rest, ',', &one)) {
            if (str_starts(one, S("addr=")) || (one.n && memchr(one.p, 0, one.n)))
                return err_set(err, E_INVALID,
                               "mountOptions: \"" STR_FMT "\": the server's address is worked out here",
                               STR_ARG(one));
            if (one.n && !str_eqz(one, "defaults"))
                strbuf_addf(out, "," STR_FMT, STR_ARG(one));
        }
    }
    if (version)
        strbuf_addf(out, ",vers=%s", version);
    strbuf_addf(out, ",addr=%s", address);
    return !out->over || err_set(err, E_TOO_LARGE, "mountOptions: longer than a page");
}

static bool address_find(const struct volume_mount *m, char *out, socklen_t n, struct err *err)
{
    AUTO_FREE char *server = str_dupz(m->server);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int why = getaddrinfo(server, NULL, &hints, &list);
    if (why == 0)
        why = getnameinfo(list->ai_addr, list->ai_addrlen, out, n, NULL, 0, NI_NUMERICHOST);
    if (list)
        freeaddrinfo(list);
    return why == 0 || err_set(err, E_UNAVAILABLE, "nfs: server \"%s\": %s", server, gai_strerror(why));
}

static bool mount_once(const struct volume_mount *m, const char *address, const char *version, const char *target,
                       struct err *err)
{
    AUTO(strbuf_fini) struct strbuf options = STRBUF(4000), said = STRBUF(1 << 16), source = STRBUF(8192);
    bool six = strchr(address, ':') != NULL;
    if (!volume_nfs_options(m, address, version, &options, err))
        return false;
    strbuf_addf(&source, "%s%s%s:" STR_FMT, six ? "[" : "", address, six ? "]" : "", STR_ARG(m->path));
    const char *const argv[] = {"mount", "-i", "-t", "nfs", "-o", options.p, source.p, target, NULL};
    fault_pass("node.volume.nfs");
    if (command_run(argv, S(""), &said, MOUNT_MOST_MS, err))
        return true;
    struct str all = str_trim(strbuf_str(&said));
    return str_has(all, S("unknown filesystem type"))
               ? err_set(err, E_NOT_IMPLEMENTED,
                         "nfs: this node's kernel has no NFS: load its module (modprobe nfs) or take another kernel")
               : err_wrap(err, "nfs: " STR_FMT ":" STR_FMT, STR_ARG(m->server), STR_ARG(m->path));
}

bool volume_nfs_mount(const struct volume_mount *m, const char *target, struct err *err)
{
    static const char *const versions[] = {"4.2", "4.1", "4", "3"};
    char address[NI_MAXHOST];
    if (!address_find(m, address, sizeof address, err))
        return false;
    if (volume_nfs_versioned(m))
        return mount_once(m, address, NULL, target, err);
    for (size_t i = 0; i < countof(versions); i++) {
        struct err why = ERR;
        if (mount_once(m, address, versions[i], target, &why))
            return true;
        *err = why;
        /* whoever speaks another version says so at once; one that is silent is not asked four times */
        if (!str_has(str_of(why.text), S("not supported")))
            return false;
    }
    return false;
}
