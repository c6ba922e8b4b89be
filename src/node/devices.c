#include "node/devices.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SESSIONS "/sys/class/iscsi_host"

static int by_bytes(const void *x, const void *y)
{
    return strcmp(x, y);
}

void device_list(const char *root, const char *folder, struct device_names *out)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s", root, folder);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct device_name name;
        (void)snprintf(name.z, sizeof name.z, "%s", e->d_name);
        if (name.z[0] != '.')
            array_push(&out->list, name);
    }
    if (dir)
        (void)closedir(dir);
    if (out->list.n)
        qsort(out->list.p, out->list.n, sizeof *out->list.p, by_bytes);
}

/* An attribute without its line end; empty where it cannot be read: what it is of is going. */
static struct str attribute_read(struct arena *a, const char *root, const char *path)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct err ignored = ERR; /* as above */
    return file_read(AT_FDCWD, arena_fmt(a, "%s%s", root, path).p, &b, &ignored)
               ? str_dup(a, str_trim(strbuf_str(&b)))
               : S("");
}

static bool attribute_write(const char *root, const char *path, const char *text, struct err *err)
{
    char whole[PATH_MAX];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    AUTO(fd_close) int fd = open(whole, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", path);
    return write_all(fd, str_of(text), err) || err_wrap(err, "write %s", path);
}

/* ---- devices */

bool device_of(const char *root, const char *path, struct device_name *out)
{
    char whole[PATH_MAX], real[PATH_MAX];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    if (!realpath(whole, real))
        return false;
    size_t skip = strlen(root);
    if (strncmp(real, root, skip) != 0 || strncmp(real + skip, "/dev/", 5) != 0 || strchr(real + skip + 5, '/'))
        return false;
    (void)snprintf(out->z, sizeof out->z, "%s", real + skip + 5);
    return true;
}

bool device_multipath(const char *root, const struct device_name *device, struct device_name *out)
{
    struct device_names all = {0};
    bool found = strncmp(device->z, "dm-", 3) == 0;
    if (found) {
        *out = *device;
        return true;
    }
    device_list(root, "/sys/block", &all);
    array_each (d, &all.list) {
        char path[PATH_MAX];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/sys/block/%s/slaves/%s", root, d->z, device->z);
        if (!found && strncmp(d->z, "dm-", 3) == 0 && lstat(path, &st) == 0) {
            *out = *d;
            found = true;
        }
    }
    array_fini(&all.list);
    return found;
}

void device_parts(const char *root, const struct device_name *multipath, struct device_names *out)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "/sys/block/%s/slaves", multipath->z);
    device_list(root, path, out);
}

/* ---- sessions of iSCSI: SESSIONS/hostN/device/sessionN/connectionN:N */

struct session {
    struct str path, number; /* of the host */
};

/* Calls fn for each session with the target, until it says no. */
static void each_session(struct arena *a, const char *root, struct str iqn,
                         bool (*fn)(void *arg, struct arena *a, const struct session *s), void *arg)
{
    struct device_names hosts = {0};
    bool go = true;
    device_list(root, SESSIONS, &hosts);
    array_each (h, &hosts.list) {
        struct device_names found = {0};
        int64_t number;
        struct str device = arena_fmt(a, SESSIONS "/%s/device", h->z), host = str_of(h->z);
        if (go && str_starts(host, S("host")) && str_to_i64(str_sub(host, 4, host.n), 0, INT_MAX, &number))
            device_list(root, device.p, &found);
        array_each (s, &found.list) {
            struct str path = arena_fmt(a, STR_FMT "/%s", STR_ARG(device), s->z);
            if (!go || strncmp(s->z, "session", 7) != 0 ||
                !str_eq(attribute_read(a, root,
                                       arena_fmt(a, STR_FMT "/iscsi_session/%s/targetname", STR_ARG(path), s->z).p),
                        iqn))
                continue;
            go = fn(arg, a, &(struct session){path, str_dup(a, str_sub(host, 4, host.n))});
        }
        array_fini(&found.list);
    }
    array_fini(&hosts.list);
}

struct portal_search {
    const char *root;
    struct str portal;
    int host;
};

/* "[fd00::1]:3260": an address of IPv6 has brackets. */
static struct str portal_text(struct arena *a, struct str address, struct str port)
{
    bool six = str_find_char(address, ':') >= 0;
    return arena_fmt(a, "%s" STR_FMT "%s:" STR_FMT, six ? "[" : "", STR_ARG(address), six ? "]" : "", STR_ARG(port));
}

/* A portal that sent its initiator on to another one is known by both. */
static bool portal_look(void *arg, struct arena *a, const struct session *s)
{
    static const char *const pairs[][2] = {{"address", "port"}, {"persistent_address", "persistent_port"}};
    struct portal_search *x = arg;
    struct device_names found = {0};
    int64_t number = -1;
    device_list(x->root, s->path.p, &found);
    array_each (c, &found.list) {
        struct str at = arena_fmt(a, STR_FMT "/%s/iscsi_connection/%s", STR_ARG(s->path), c->z, c->z);
        for (size_t i = 0; i < countof(pairs) && strncmp(c->z, "connection", 10) == 0; i++) {
            struct str address = attribute_read(a, x->root, arena_fmt(a, STR_FMT "/%s", STR_ARG(at), pairs[i][0]).p),
                       port = attribute_read(a, x->root, arena_fmt(a, STR_FMT "/%s", STR_ARG(at), pairs[i][1]).p);
            if (str_eq(portal_text(a, address, port), x->portal) && str_to_i64(s->number, 0, INT_MAX, &number))
                x->host = (int)number;
        }
    }
    array_fini(&found.list);
    return x->host < 0;
}

int iscsi_host(const char *root, struct str iqn, struct str portal)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct portal_search x = {root, portal, -1};
    each_session(&a, root, iqn, portal_look, &x);
    return x.host;
}

struct lun_search {
    const char *root;
    int lun;
    struct device_names *out;
};

/* Channel and target are 0 with iSCSI; the folder `block` holds the disk alone. */
static bool lun_look(void *arg, struct arena *a, const struct session *s)
{
    struct lun_search *x = arg;
    struct device_names found = {0};
    device_list(x->root,
                arena_fmt(a, STR_FMT "/target" STR_FMT ":0:0/" STR_FMT ":0:0:%d/block", STR_ARG(s->path),
                          STR_ARG(s->number), STR_ARG(s->number), x->lun)
                    .p,
                &found);
    if (found.list.n)
        array_push(&x->out->list, found.list.p[0]);
    array_fini(&found.list);
    return true;
}

void iscsi_devices(const char *root, struct str iqn, int lun, struct device_names *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct lun_search x = {root, lun, out};
    each_session(&a, root, iqn, lun_look, &x);
}

/* ---- what the kernel is told */

bool scsi_scan(const char *root, struct str host, const char *where, struct err *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "/sys/class/scsi_host/" STR_FMT "/scan", STR_ARG(host));
    return attribute_write(root, path, where, err);
}

bool scsi_forget(const char *root, const struct device_name *device, struct err *err)
{
    char path[PATH_MAX];
    struct err found = ERR;
    (void)snprintf(path, sizeof path, "/sys/block/%s/device/delete", device->z);
    if (attribute_write(root, path, "1", &found) || found.kind == E_NOT_FOUND)
        return true;
    *err = found;
    return false;
}
