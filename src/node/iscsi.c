/* Disks of iSCSI targets: the host's own iscsiadm (open-iscsi) discovers the target and logs in at each of its
 * portals, as a kubelet has it do; of a session all LUNs of the target are seen, and the one that is wanted is asked
 * for alone. Several portals are several paths to the same disk, of which the host's multipathd may make one.
 *
 * Sessions are shared by all LUNs of a target: who detaches the last one logs out. */
#include "base/clock.h"
#include "base/log.h"
#include "node/disk.h"
#include "node/sources.h"
#include "sys/file.h"
#include <fcntl.h>
#include <stdlib.h>

#define BY_PATH       "/dev/disk/by-path"
#define DEVICE_WAIT   30 /* seconds, for the link of a path */
#define MAPPED_WAIT   10 /* for multipathd, where there are several */
#define PATHS_ENOUGH  2
#define TRIES_ENOUGH  2 /* with so many paths */
#define TRIES_MOST    5
#define SAID_MOST     (64 << 10)
#define SOCKETS_MOST  (16 << 20)
#define PORTALS_MOST  64
#define STATUS_EXISTS 15 /* iscsiadm's: a session is there, */
#define STATUS_NONE   2  /* is not there, */
#define STATUS_NO_OBJ 21 /* no record or portal is there */

struct iscsi {
    const struct disk *d;
    struct arena arena;
    struct disk_command command;
    const char *iqn, *base, *iface; /* base: the interface that is configured; iface: the one sessions are made by */
    struct str initiator;
    const char *portals[PORTALS_MOST];
    size_t nportals;
    int lun;
};

static struct str portal_of(struct arena *a, struct str text)
{
    return str_find_char(text, ':') >= 0 ? str_dup(a, text) : STR_JOIN(a, text, S(":3260"));
}

static struct str base_of(const struct disk *d)
{
    struct str base = val_text_at(d->source, N(iscsiInterface));
    return base.n ? base : S("default");
}

/* An initiator of another name takes an interface of its own. */
static struct str iface_of(struct arena *a, const struct disk *d)
{
    if (!val_text_at(d->source, N(initiatorName)).n)
        return base_of(d);
    return STR_JOIN(a, portal_of(a, val_text_at(d->source, N(targetPortal))), S(":"), d->volume);
}

static struct str target_of(struct arena *a, const struct disk *d)
{
    return STR_JOIN(a, portal_of(a, val_text_at(d->source, N(targetPortal))), S("-"), val_text_at(d->source, N(iqn)),
                    S("-lun-"));
}

static struct str iscsi_place(struct arena *a, const struct disk *d)
{
    return arena_fmt(a, "iface-" STR_FMT "/" STR_FMT "%lld", STR_ARG(iface_of(a, d)), STR_ARG(target_of(a, d)),
                     (long long)val_num_at(d->source, 0, N(lun)));
}

static struct str iscsi_key(const struct disk *d)
{
    return val_text_at(d->source, N(iqn));
}

static void portal_add(struct iscsi *x, struct str text)
{
    char *portal = arena_strz(&x->arena, portal_of(&x->arena, text));
    for (size_t i = 0; i < x->nportals; i++)
        if (strcmp(x->portals[i], portal) == 0)
            return;
    if (x->nportals < PORTALS_MOST)
        x->portals[x->nportals++] = portal;
}

static void iscsi_init(struct iscsi *x, const struct disk *d)
{
    *x = (struct iscsi){.d = d, .command = {"iscsiadm", "open-iscsi", STRBUF(SAID_MOST)}};
    x->iqn = arena_strz(&x->arena, val_text_at(d->source, N(iqn)));
    x->base = arena_strz(&x->arena, base_of(d));
    x->iface = arena_strz(&x->arena, iface_of(&x->arena, d));
    x->initiator = val_text_at(d->source, N(initiatorName));
    x->lun = (int)val_num_at(d->source, 0, N(lun));
    portal_add(x, val_text_at(d->source, N(targetPortal)));
    val_each_item (p, val_get(d->source, N(portals)))
        portal_add(x, val_text(p));
}

static void iscsi_fini(struct iscsi *x)
{
    strbuf_fini(&x->command.said);
    arena_fini(&x->arena);
}
AUTO_VALUE(iscsi_fini, struct iscsi);

/* ---- iscsiadm */

#define IADM(x, err, ...) disk_command_run(&(x)->command, (const char *const[]){"iscsiadm", __VA_ARGS__, NULL}, (err))
#define DISCOVERY(portal) "-m", "discoverydb", "-t", "sendtargets", "-p", (portal)
#define NODE(x, portal)   "-m", "node", "-p", (portal), "-T", (x)->iqn

/* "WHAT output: WHAT IT SAID, err exit status 21". A missing program keeps its own words. */
static bool iscsi_says(struct iscsi *x, int status, struct err *err, const char *what)
{
    struct str said = str_trim(strbuf_str(&x->command.said));
    if (status < 0)
        return err->kind == E_NOT_FOUND ? false : err_wrap(err, "%s", what);
    return err_set(err, E_IO, "%s output: " STR_FMT ", err exit status %d", what, STR_ARG(said), status);
}

/* Where it fails the way goes on: what comes next says what is wrong, if anything is. */
#define IADM_TRY(x, ...)                                                                                             \
    do {                                                                                                             \
        struct err ignored_ = ERR;                                                                                   \
        if (IADM((x), &ignored_, __VA_ARGS__))                                                                       \
            log_debug("iscsi.command", "error=\"%s\"", ignored_.text);                                               \
    } while (0)

/* The value of a line "iface.transport_name = tcp". */
static struct str shown_of(struct str shown, struct str key)
{
    struct str line, name, value;
    while (str_cut(&shown, '\n', &line))
        if (str_split(line, '=', &name, &value) && str_eq(str_trim(name), key))
            return str_trim(value);
    return STR_NONE;
}

/* Gives the new interface what the configured one has, and the initiator's name. */
static bool iface_fill(struct iscsi *x, struct str shown, struct err *err)
{
    struct str line, name, value;
    while (str_cut(&shown, '\n', &line)) {
        if (!str_starts(line, S("iface.")) || str_has(line, S("<empty>")) || !str_split(line, '=', &name, &value))
            continue;
        name = str_trim(name);
        value = str_trim(value);
        if (str_eqz(name, "iface.iscsi_ifacename") || str_eqz(name, "iface.initiatorname"))
            continue;
        int status = IADM(x, err, "-m", "iface", "-I", x->iface, "-o", "update", "-n", arena_strz(&x->arena, name),
                          "-v", arena_strz(&x->arena, value));
        if (status)
            return iscsi_says(x, status, err, "iscsi: failed to update iface records:");
    }
    int status = IADM(x, err, "-m", "iface", "-I", x->iface, "-o", "update", "-n", "iface.initiatorname", "-v",
                      arena_strz(&x->arena, x->initiator));
    return status == 0 || iscsi_says(x, status, err, "iscsi: failed to update iface records:");
}

static bool iface_clone(struct iscsi *x, struct str shown, struct err *err)
{
    if (strcmp(x->base, x->iface) == 0)
        return err_set(err, E_INVALID, "iscsi: cannot clone iface with same name: %s", x->base);
    int status = IADM(x, err, "-m", "iface", "-I", x->iface, "-o", "new");
    if (status && status != STATUS_EXISTS) /* a session is logged in by it already */
        return iscsi_says(x, status, err, "iscsi: failed to create new iface:");
    if (iface_fill(x, shown, err))
        return true;
    IADM_TRY(x, "-m", "iface", "-I", x->iface, "-o", "delete");
    return false;
}

static bool iface_ready(struct iscsi *x, struct str *transport, struct err *err)
{
    int status = IADM(x, err, "-m", "iface", "-I", x->base, "-o", "show");
    if (status)
        return iscsi_says(x, status, err, arena_fmt(&x->arena, "iscsi: could not read iface %s", x->base).p);
    struct str shown = str_dup(&x->arena, strbuf_str(&x->command.said));
    *transport = shown_of(shown, S("iface.transport_name"));
    if (str_eqz(*transport, "<empty>"))
        *transport = S("tcp");
    if (!transport->n)
        return err_set(err, E_INVALID, "could not parse iface file for %s", x->iface);
    return !x->initiator.n || iface_clone(x, shown, err);
}

/* ---- logging in */

/* The values that the Secret has, each under its name; they are nowhere told. */
static bool chap_set(struct iscsi *x, const char *const *keys, size_t n, const char *const *record, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct val *v = val_get_str(x->d->secrets, str_of(keys[i]));
        struct str value = v ? source_bytes(v) : S("");
        const char *argv[20] = {"iscsiadm"};
        size_t k = 1;
        if (!value.n)
            continue;
        for (const char *const *word = record; *word; word++)
            argv[k++] = *word;
        const char *const set[] = {"-o", "update", "-n", keys[i], "-v", arena_strz(&x->arena, value)};
        memcpy(argv + k, set, sizeof set);
        if (disk_command_run(&x->command, argv, err))
            return err_set(err, E_IO, "key \"%s\" error: " STR_FMT, keys[i],
                           STR_ARG(str_trim(strbuf_str(&x->command.said))));
    }
    return true;
}

static bool discovery_chap(struct iscsi *x, const char *portal, struct err *err)
{
    static const char *const keys[] = {"discovery.sendtargets.auth.username", "discovery.sendtargets.auth.password",
                                       "discovery.sendtargets.auth.username_in",
                                       "discovery.sendtargets.auth.password_in"};
    const char *const record[] = {DISCOVERY(portal), "-I", x->iface, NULL};
    if (!val_true(val_get(x->d->source, N(chapAuthDiscovery))))
        return true;
    int status = IADM(x, err, DISCOVERY(portal), "-I", x->iface, "-o", "update", "-n",
                      "discovery.sendtargets.auth.authmethod", "-v", "CHAP");
    if (status)
        return iscsi_says(x, status, err, "iscsi: failed to update discoverydb with CHAP,");
    return chap_set(x, keys, countof(keys), record, err) || err_wrap(err, "iscsi: failed to update discoverydb");
}

static bool session_chap(struct iscsi *x, const char *portal, struct err *err)
{
    static const char *const keys[] = {"node.session.auth.username", "node.session.auth.password",
                                       "node.session.auth.username_in", "node.session.auth.password_in"};
    const char *const record[] = {NODE(x, portal), "-I", x->iface, NULL};
    /* else the kernel shows all LUNs of the target, which may go without our doing */
    IADM_TRY(x, NODE(x, portal), "-I", x->iface, "-o", "update", "-n", "node.session.scan", "-v", "manual");
    if (!val_true(val_get(x->d->source, N(chapAuthSession))))
        return true;
    int status = IADM(x, err, NODE(x, portal), "-I", x->iface, "-o", "update", "-n", "node.session.auth.authmethod",
                      "-v", "CHAP");
    if (status)
        return iscsi_says(x, status, err, "iscsi: failed to update node with CHAP,");
    return chap_set(x, keys, countof(keys), record, err) || err_wrap(err, "iscsi: failed to update node session");
}

static bool portal_discover(struct iscsi *x, const char *portal, struct err *err)
{
    IADM_TRY(x, DISCOVERY(portal), "-I", x->iface, "-o", "new");
    if (!discovery_chap(x, portal, err))
        return err_wrap(err, "iscsi: failed to update discoverydb to portal %s error", portal);
    int status = IADM(x, err, DISCOVERY(portal), "-I", x->iface, "--discover");
    if (!status)
        return true;
    (void)iscsi_says(x, status, err, arena_fmt(&x->arena, "iscsi: failed to sendtargets to portal %s", portal).p);
    if (err->kind != E_NOT_FOUND)
        IADM_TRY(x, DISCOVERY(portal), "-I", x->iface, "-o", "delete");
    return false;
}

static bool portal_login(struct iscsi *x, const char *portal, struct err *err)
{
    if (!portal_discover(x, portal, err))
        return false;
    if (!session_chap(x, portal, err))
        return err_wrap(err, "iscsi: failed to update iscsi node to portal %s error", portal);
    int status = IADM(x, err, NODE(x, portal), "-I", x->iface, "--login");
    if (status && status != STATUS_EXISTS) {
        (void)err_set(err, status < 0 ? err->kind : E_IO, "iscsi: failed to attach disk: Error: " STR_FMT " (%s)",
                      STR_ARG(str_trim(strbuf_str(&x->command.said))),
                      status < 0 ? arena_strz(&x->arena, str_of(err->text))
                                 : arena_fmt(&x->arena, "exit status %d", status).p);
        IADM_TRY(x, NODE(x, portal), "-I", x->iface, "-o", "delete");
        return false;
    }
    /* a target that is gone does not hold up the next boot */
    IADM_TRY(x, NODE(x, portal), "-o", "update", "-n", "node.startup", "-v", "manual");
    return true;
}

/* ---- attaching */

/* Links of udev have addresses of IPv6 without brackets. Of a transport in hardware the link begins with that
 * card's place, which nobody knows before. */
static bool link_find(struct iscsi *x, const char *portal, struct str transport, struct device_name *out)
{
    struct str address = str_of(portal);
    ptrdiff_t end = str_find(address, S("]:"));
    if (portal[0] == '[' && end > 0)
        address = STR_JOIN(&x->arena, str_sub(address, 1, (size_t)end), str_sub(address, (size_t)end + 1, address.n));
    struct str name = arena_fmt(&x->arena, "ip-" STR_FMT "-iscsi-%s-lun-%d", STR_ARG(address), x->iqn, x->lun);
    if (str_eqz(transport, "tcp"))
        return device_of(x->d->root, arena_fmt(&x->arena, BY_PATH "/" STR_FMT, STR_ARG(name)).p, out);
    struct device_names all = {0};
    bool found = false;
    device_list(x->d->root, BY_PATH, &all);
    array_each (l, &all.list)
        found = found ||
                (strncmp(l->z, "pci-", 4) == 0 && str_ends(str_of(l->z), STR_JOIN(&x->arena, S("-"), name)) &&
                 device_of(x->d->root, arena_fmt(&x->arena, BY_PATH "/%s", l->z).p, out));
    array_fini(&all.list);
    return found;
}

static bool path_attach(struct iscsi *x, const char *portal, struct str transport, struct device_name *out,
                        struct err *err)
{
    int host = iscsi_host(x->d->root, str_of(x->iqn), str_of(portal));
    if (host < 0 && !portal_login(x, portal, err))
        return false;
    if (host < 0)
        host = iscsi_host(x->d->root, str_of(x->iqn), str_of(portal));
    if (host < 0)
        return err_set(err, E_IO, "Could not get SCSI host number for portal %s after logging in", portal);
    if (!scsi_scan(x->d->root, arena_fmt(&x->arena, "host%d", host), arena_fmt(&x->arena, "0 0 %d", x->lun).p, err)) {
        err->kind = E_IO; /* no program is missing */
        return false;
    }
    for (int i = 0; i < DEVICE_WAIT * DISK_LOOKS_A_SECOND; i++) {
        if (link_find(x, portal, transport, out))
            return true;
        if (disk_stopped(x->d, err))
            return false;
        disk_pause();
    }
    return err_set(err, E_TIMEOUT, "Timed out waiting for device at path " BY_PATH "/ip-%s-iscsi-%s-lun-%d after %ds",
                   portal, x->iqn, x->lun, DEVICE_WAIT);
}

struct iscsi_path {
    bool found;
    struct device_name device;
};

/* At all portals, or at enough of them. */
static bool paths_attach(struct iscsi *x, struct str transport, struct iscsi_path *paths, struct err *err)
{
    struct err last = ERR;
    size_t n = 0;
    for (int tries = 1; tries <= TRIES_MOST && n < x->nportals; tries++) {
        for (size_t i = 0; i < x->nportals; i++) {
            if (paths[i].found)
                continue;
            if (disk_stopped(x->d, err))
                return false;
            last = ERR;
            paths[i].found = path_attach(x, x->portals[i], transport, &paths[i].device, &last);
            n += paths[i].found;
            if (last.kind == E_NOT_FOUND || last.kind == E_CANCELLED) {
                *err = last;
                return false;
            }
        }
        if (!n) {
            if (x->initiator.n)
                IADM_TRY(x, "-m", "iface", "-I", x->iface, "-o", "delete");
            return err_set(err, E_IO, "failed to get any path for iscsi disk, last err seen:\n%s", last.text);
        }
        if (n >= PATHS_ENOUGH && tries >= TRIES_ENOUGH)
            break;
    }
    return true;
}

/* Whether one will be made of several paths: multipathd has a socket, of a name in memory or in a folder. */
static bool multipathd_runs(void)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SOCKETS_MOST);
    struct err ignored = ERR; /* then it is waited for */
    return !file_read(AT_FDCWD, "/proc/net/unix", &b, &ignored) || str_has(strbuf_str(&b), S("multipathd"));
}

static bool paths_mapped(struct iscsi *x, const struct iscsi_path *paths, struct device_name *out)
{
    int looks = x->nportals > 1 && multipathd_runs() ? MAPPED_WAIT * DISK_LOOKS_A_SECOND : 1;
    for (int i = 0; i < looks; i++) {
        struct err ignored = ERR; /* then the next step tells */
        for (size_t k = 0; k < x->nportals; k++)
            if (paths[k].found && device_multipath(x->d->root, &paths[k].device, out))
                return true;
        if (disk_stopped(x->d, &ignored))
            return false;
        if (i + 1 < looks)
            disk_pause();
    }
    return false;
}

static bool iscsi_attach(const struct disk *d, struct device_name *out, struct err *err)
{
    AUTO(iscsi_fini) struct iscsi x;
    struct iscsi_path paths[PORTALS_MOST] = {0};
    struct str transport;
    iscsi_init(&x, d);
    if (!iface_ready(&x, &transport, err) || !paths_attach(&x, transport, paths, err))
        return false;
    if (paths_mapped(&x, paths, out))
        return true;
    for (size_t i = x.nportals; i-- > 0;)
        if (paths[i].found)
            *out = paths[i].device;
    return true;
}

/* ---- detaching */

static bool target_is_same(const struct disk *d, struct str last)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return str_starts(last, target_of(&a, d));
}
static bool lun_is_same(const struct disk *d, struct str last)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str place = iscsi_place(&a, d);
    return str_eq(last, str_sub(place, (size_t)(str_find_char(place, '/') + 1), place.n));
}

/* Where one does not go, logging out makes it. */
static bool devices_remove(struct iscsi *x, struct err *err)
{
    struct device_names all = {0};
    struct err failed = ERR;
    bool is_free = true;
    iscsi_devices(x->d->root, str_of(x->iqn), x->lun, &all);
    array_each (device, &all.list) {
        struct device_name mapped;
        bool is_part = device_multipath(x->d->root, device, &mapped);
        is_free = is_free && disk_is_free(x->d, is_part ? &mapped : device, err);
        if (is_free && is_part && !disk_flush_multipath(&mapped, &failed))
            log_warn("iscsi.detach", "device=%s error=\"%s\"", mapped.z, failed.text);
    }
    array_each (device, &all.list)
        if (is_free && !disk_remove(x->d, device, &failed))
            log_warn("iscsi.detach", "device=%s error=\"%s\"", device->z, failed.text);
    array_fini(&all.list);
    return is_free;
}

static bool is_gone(int status)
{
    return !status || status == STATUS_NONE || status == STATUS_NO_OBJ;
}

static bool portal_logout(struct iscsi *x, const char *portal, struct err *err)
{
    int status = IADM(x, err, NODE(x, portal), "--logout", "-I", x->iface);
    if (!is_gone(status))
        return iscsi_says(x, status, err, "iscsi: failed to detach disk Error:");
    status = IADM(x, err, NODE(x, portal), "-o", "delete", "-I", x->iface);
    return is_gone(status) || iscsi_says(x, status, err, "iscsi: failed to delete node record Error:");
}

static bool iscsi_detach(const struct disk *d, struct err *err)
{
    AUTO(iscsi_fini) struct iscsi x;
    iscsi_init(&x, d);
    if (!disk_is_shared(d, lun_is_same) && !devices_remove(&x, err))
        return false;
    if (disk_is_shared(d, target_is_same))
        return true;
    for (size_t i = 0; i < x.nportals; i++) {
        struct err failed = ERR;
        if (!portal_logout(&x, x.portals[i], &failed)) {
            *err = failed;
            return false;
        }
    }
    if (!x.initiator.n)
        return true;
    struct err failed = ERR;
    int status = IADM(&x, &failed, "-m", "iface", "-I", x.iface, "-o", "delete");
    if (is_gone(status))
        return true;
    *err = failed;
    return iscsi_says(&x, status, err, "iscsi: failed to delete iface Error:");
}

const struct disk_type disk_iscsi = {
    .source = N(iscsi),
    .place = iscsi_place,
    .key = iscsi_key,
    .attach = iscsi_attach,
    .detach = iscsi_detach,
};
