#include "node/csi_records.h"
#include "api/codec.h"
#include "base/fault.h"
#include "base/log.h"
#include "client/csi.h"
#include "node/flex.h"
#include "sys/file.h"
#include "sys/mount.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define RECORD_MOST  65536
#define RECORDS_MOST 100000
#define CSI_NAME     "kubernetes.io~csi"
#define RECORD_FILE  "vol_data.json"
#define FLEX_NAME    "kubernetes.io/flexvolume"

/* A kubelet's folders. What is mounted there hides what is in the folder, so a record is beside it, by a name that no
 * volume has. */
static struct csi_places flex_places(struct arena *a, const char *kubelet, const struct csi_record *r)
{
    struct csi_places p = {0};
    p.folder = r->uid.n ? arena_fmt(a, "%s/pods/" STR_FMT "/volumes/" STR_FMT, kubelet, STR_ARG(r->uid),
                                    STR_ARG(r->driver))
                        : arena_fmt(a, "%s/plugins/" FLEX_NAME "/" STR_FMT "/mounts", kubelet,
                                    STR_ARG(flex_unescape(a, r->driver)));
    p.file = arena_fmt(a, STR_FMT "/." STR_FMT ".json", STR_ARG(p.folder), STR_ARG(r->spec));
    p.target = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(p.folder), STR_ARG(r->spec));
    return p;
}

static struct str parent_of(struct str path)
{
    return str_sub(path, 0, (size_t)MAX(str_rfind_char(path, '/'), 0));
}
static struct str last_of(struct str path)
{
    return str_sub(path, (size_t)(str_rfind_char(path, '/') + 1), path.n);
}

/* A kubelet's folders of its plugins. What is mounted there hides what is in the folder, so a record is beside it, by
 * a name that no volume has. */
static struct csi_places disk_places(struct arena *a, const char *kubelet, const struct csi_record *r)
{
    const char *devices = r->block ? "volumeDevices" : "volumes";
    struct str all = arena_fmt(a, "%s/plugins/" STR_FMT "%s/" STR_FMT, kubelet, STR_ARG(r->driver),
                               r->block ? "/volumeDevices" : "", STR_ARG(r->place)),
               own = arena_fmt(a, "%s/pods/" STR_FMT "/%s/kubernetes.io~" STR_FMT "/" STR_FMT, kubelet,
                               STR_ARG(r->uid), devices, STR_ARG(last_of(r->driver)), STR_ARG(r->spec)),
               at = r->uid.n ? own : all;
    struct csi_places p = {.folder = str_dup(a, parent_of(at)), .target = at};
    p.file = arena_fmt(a, STR_FMT "/." STR_FMT ".json", STR_ARG(p.folder), STR_ARG(last_of(at)));
    if (r->block && r->uid.n) {
        p.link = own;
        p.target = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(all), STR_ARG(r->uid));
    }
    return p;
}

/* A volume's name as a folder's. */
static struct str folder_name(struct arena *a, struct str spec)
{
    char *p = arena_strz(a, spec);
    for (char *at = p; (at = strchr(at, '/'));)
        *at = '~';
    return str_of(p);
}

struct csi_places csi_places(struct arena *a, const char *kubelet, const struct csi_record *r)
{
    struct csi_places p = {0};
    if (r->place.n)
        return disk_places(a, kubelet, r);
    if (r->flex)
        return flex_places(a, kubelet, r);
    if (r->block && r->uid.n) {
        struct str devices = arena_fmt(a, "%s/pods/" STR_FMT "/volumeDevices/" CSI_NAME, kubelet, STR_ARG(r->uid));
        p.folder = devices;
        p.file = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(devices), STR_ARG(r->spec));
        p.target = arena_fmt(a, "%s/plugins/kubernetes.io/csi/volumeDevices/publish/" STR_FMT "/" STR_FMT, kubelet,
                             STR_ARG(r->spec), STR_ARG(r->uid));
    } else if (r->block) {
        p.folder = arena_fmt(a, "%s/plugins/kubernetes.io/csi/volumeDevices/" STR_FMT "/data", kubelet,
                             STR_ARG(r->spec));
        p.file = arena_fmt(a, STR_FMT "/" RECORD_FILE, STR_ARG(p.folder));
        p.target = arena_fmt(a, "%s/plugins/kubernetes.io/csi/volumeDevices/staging/" STR_FMT, kubelet,
                             STR_ARG(r->spec));
    } else if (r->uid.n) {
        p.folder = arena_fmt(a, "%s/pods/" STR_FMT "/volumes/" CSI_NAME "/" STR_FMT, kubelet, STR_ARG(r->uid),
                             STR_ARG(folder_name(a, r->spec)));
        p.file = arena_fmt(a, STR_FMT "/" RECORD_FILE, STR_ARG(p.folder));
        p.target = arena_fmt(a, STR_FMT "/mount", STR_ARG(p.folder));
    } else {
        p.folder = arena_fmt(a, "%s/plugins/kubernetes.io/csi/" STR_FMT "/" STR_FMT, kubelet, STR_ARG(r->driver),
                             STR_ARG(csi_sha256(a, r->handle)));
        p.file = arena_fmt(a, STR_FMT "/" RECORD_FILE, STR_ARG(p.folder));
        p.target = arena_fmt(a, STR_FMT "/globalmount", STR_ARG(p.folder));
    }
    return p;
}

/* ---- what a record says */

void csi_record_write(struct strbuf *b, const struct csi_record *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct {
        const char *key;
        struct str text;
    } rows[] = {{"attachmentID", r->attachment},
                {"driverName", r->driver},
                {"nodeName", r->node},
                {"specVolID", r->spec},
                {"volumeHandle", r->handle},
                {"volumeLifecycleMode", r->ephemeral ? S("Ephemeral") : S("Persistent")},
                {"source", r->source},
                {"place", r->place},
                {"plugin", r->flex ? S(FLEX_NAME) : S("")},
                {"podUID", r->place.n || r->flex ? r->uid : S("")},
                {"volumeMode", r->place.n && r->block ? S("Block") : S("")}};
    struct val v = val_map();
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].text.n)
            val_set_str(&a, &v, str_of(rows[i].key), val_str(&a, rows[i].text));
    json_encode(b, &v);
    strbuf_addc(b, '\n');
}

/* A name that may be a part of a path. */
static bool is_part(struct str s)
{
    return s.n && s.n <= NAME_MAX && !str_has(s, S("/")) && !str_eqz(s, ".") && !str_eqz(s, "..");
}

/* Of a type that there is, and nowhere else than such are. */
static bool is_disk(const struct csi_record *r)
{
    struct str rest = r->place, part;
    for (int n = 0; str_cut(&rest, '/', &part); n++)
        if (!is_part(part) || part.p[0] == '.' || n > 1)
            return false;
    return (str_eqz(r->driver, "kubernetes.io/iscsi") || str_eqz(r->driver, "kubernetes.io/fc")) && r->spec.n &&
           (!r->uid.n || is_part(r->uid));
}

static bool is_spec(struct str s)
{
    return s.n && s.n <= NAME_MAX && !memchr(s.p, 0, s.n) && !str_eqz(s, ".") && !str_eqz(s, "..");
}

bool csi_record_is_named(const struct csi_record *r)
{
    return is_part(r->driver) && is_spec(r->spec);
}

bool csi_record_read(struct arena *a, struct str text, struct csi_record *out, struct err *err)
{
    struct val v;
    *out = (struct csi_record){0};
    if (!json_decode(a, text, &v, err))
        return false;
    out->driver = val_text(val_get_str(&v, S("driverName")));
    out->handle = val_text(val_get_str(&v, S("volumeHandle")));
    out->spec = val_text(val_get_str(&v, S("specVolID")));
    out->node = val_text(val_get_str(&v, S("nodeName")));
    out->attachment = val_text(val_get_str(&v, S("attachmentID")));
    out->flex = str_eqz(val_text(val_get_str(&v, S("plugin"))), FLEX_NAME);
    out->ephemeral = str_eqz(val_text(val_get_str(&v, S("volumeLifecycleMode"))), "Ephemeral");
    out->source = val_text(val_get_str(&v, S("source")));
    out->place = val_text(val_get_str(&v, S("place")));
    if (out->place.n || out->flex)
        out->uid = val_text(val_get_str(&v, S("podUID")));
    if (out->place.n)
        out->block = str_eqz(val_text(val_get_str(&v, S("volumeMode"))), "Block");
    bool good = out->place.n ? is_disk(out) : is_part(out->driver);
    if (out->flex) /* the name of a driver's folder, and of a folder in it */
        good = good && !out->place.n && is_part(out->spec) && out->driver.p[0] != '.' &&
               (!out->uid.n || is_part(out->uid));
    if (!good || !out->handle.n || (out->spec.n && !(out->place.n ? is_part(out->spec) : is_spec(out->spec))))
        return err_set(err, E_INVALID, "the record names no driver and volume");
    return true;
}

/* ---- on disk */

bool csi_record_make(const struct csi_places *p, const struct csi_record *r, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RECORD_MOST);
    struct str above = parent_of(p->target);
    bool folder = r->block ? r->place.n && !r->uid.n : r->place.n || !r->uid.n; /* the target is one */
    folder = folder && !r->flex;
    fault_pass("node.csi.record");
    if (!dir_make_synced(p->folder.p, 0750, err) || !dir_make(arena_strz(&a, above), 0750, err))
        return false;
    if (r->block && r->uid.n && !r->place.n) { /* a link to the device, by which a kubelet finds it */
        if (symlink(p->target.p, p->file.p) < 0 && errno != EEXIST)
            return err_errno(err, "link %s", p->file.p);
        return folder_sync(AT_FDCWD, p->file.p, err);
    }
    csi_record_write(&b, r);
    if (b.over)
        return err_set(err, E_TOO_LARGE, "the volume's names are too long");
    return file_write(AT_FDCWD, p->file.p, strbuf_str(&b), 0600, err) &&
           (!folder || mkdir(p->target.p, 0750) == 0 || errno == EEXIST || err_errno(err, "mkdir %s", p->target.p)) &&
           (!p->link.n || symlink(p->target.p, p->link.p) == 0 || errno == EEXIST ||
            err_errno(err, "link %s", p->link.p));
}

/* An empty folder, a file, or nothing. */
static bool target_remove(const char *path, struct err *err)
{
    if (rmdir(path) == 0 || errno == ENOENT)
        return true;
    return (errno == ENOTDIR && (unlink(path) == 0 || errno == ENOENT)) || err_errno(err, "remove %s", path);
}

bool csi_record_remove(const struct csi_places *p, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fault_pass("node.csi.forget");
    for (int i = 0; i < 100 && mount_is_point(p->target.p); i++)
        if (!mount_remove(p->target.p, err))
            return false;
    if (!target_remove(p->target.p, err))
        return false;
    if (p->link.n && unlink(p->link.p) < 0 && errno != ENOENT)
        return err_errno(err, "remove %s", p->link.p);
    if (unlink(p->file.p) < 0 && errno != ENOENT)
        return err_errno(err, "remove %s", p->file.p);
    /* folders that are empty now, upwards: those of the pod, or of the volume. What holds something else stays */
    struct str folders[] = {p->folder, parent_of(p->target)};
    for (size_t i = 0; i < countof(folders); i++)
        for (struct str at = folders[i]; !str_ends(at, S("/pods")) && !str_ends(at, S("/csi")) &&
                                         !str_ends(at, S("/kubernetes.io")) && str_rfind_char(at, '/') > 0;
             at = parent_of(at))
            if (rmdir(arena_strz(&a, at)) < 0 && errno != ENOENT)
                break;
    return true;
}

/* ---- found again */

struct csi_search {
    struct arena *a;
    struct csi_records *out;
};

static bool record_load(const struct csi_search *f, const char *path, struct csi_record *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RECORD_MOST);
    struct err err = ERR;
    if (file_read(AT_FDCWD, path, &b, &err) && csi_record_read(f->a, strbuf_str(&b), out, &err))
        return true;
    if (err.sys != ENOENT)
        log_warn("csi.record", "path=%s error=\"%s\"", path, err.text);
    return false;
}

static void record_add(const struct csi_search *f, const struct csi_record *r)
{
    if (f->out->list.n < RECORDS_MOST)
        array_push(&f->out->list, *r);
}

/* Each folder in `path`: calls fn with its path and name. */
static void each_in(const struct csi_search *f, struct str path,
                    void (*fn)(const struct csi_search *f, struct str path, struct str name))
{
    DIR *dir = opendir(path.p);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.') {
            struct str name = str_dup(f->a, str_of(e->d_name));
            fn(f, arena_fmt(f->a, STR_FMT "/%s", STR_ARG(path), e->d_name), name);
        }
    if (dir)
        (void)closedir(dir);
}

static struct str part_of(struct str path, int from_end)
{
    for (; from_end; from_end--)
        path = parent_of(path);
    return last_of(path);
}

static void published_found(const struct csi_search *f, struct str path, struct str name)
{
    struct csi_record r;
    if (!record_load(f, arena_fmt(f->a, STR_FMT "/" RECORD_FILE, STR_ARG(path)).p, &r))
        return;
    if (!str_eq(folder_name(f->a, r.spec), name))
        r.spec = name;
    r.uid = part_of(path, 3); /* UID/volumes/kubernetes.io~csi/NAME */
    record_add(f, &r);
}

static void device_found(const struct csi_search *f, struct str path, struct str name)
{
    char to[PATH_MAX];
    ssize_t n = readlink(path.p, to, sizeof to);
    struct csi_record r;
    if (n <= 0 || (size_t)n == sizeof to)
        return;
    struct str target = {to, (size_t)n};
    ptrdiff_t at = str_find(target, S("/publish/"));
    if (at < 0 || !record_load(f,
                               arena_fmt(f->a, STR_FMT "/" STR_FMT "/data/" RECORD_FILE,
                                         STR_ARG(str_sub(target, 0, (size_t)at)), STR_ARG(name))
                                   .p,
                               &r))
        return;
    r.spec = name;
    r.uid = part_of(path, 3);
    r.block = true;
    record_add(f, &r);
}

static const char *const disk_plugins[] = {"iscsi", "fc"};

static bool is_record(const char *name)
{
    return name[0] == '.' && str_ends(str_of(name), S(".json"));
}

/* Records right in this folder: of disks, or of FlexVolumes. */
static void beside_found(const struct csi_search *f, struct str path, bool flex)
{
    DIR *dir = opendir(path.p);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct csi_record r;
        if (is_record(e->d_name) && record_load(f, arena_fmt(f->a, STR_FMT "/%s", STR_ARG(path), e->d_name).p, &r) &&
            (flex ? r.flex : r.place.n > 0))
            record_add(f, &r);
    }
    if (dir)
        (void)closedir(dir);
}

static void disks_found(const struct csi_search *f, struct str path, struct str name)
{
    (void)name;
    beside_found(f, path, false);
}

static void flex_found(const struct csi_search *f, struct str path, struct str name)
{
    if (!str_starts(name, S("kubernetes.io~")))
        beside_found(f, path, true);
}

static void flex_vendor_found(const struct csi_search *f, struct str path, struct str name)
{
    flex_found(f, arena_fmt(f->a, STR_FMT "/mounts", STR_ARG(path)), name);
}

/* VENDOR/DRIVER/mounts, or DRIVER/mounts */
static void flex_driver_found(const struct csi_search *f, struct str path, struct str name)
{
    flex_vendor_found(f, path, name);
    each_in(f, path, flex_vendor_found);
}

static void pod_found(const struct csi_search *f, struct str path, struct str name)
{
    (void)name;
    each_in(f, arena_fmt(f->a, STR_FMT "/volumes", STR_ARG(path)), flex_found);
    each_in(f, arena_fmt(f->a, STR_FMT "/volumes/" CSI_NAME, STR_ARG(path)), published_found);
    each_in(f, arena_fmt(f->a, STR_FMT "/volumeDevices/" CSI_NAME, STR_ARG(path)), device_found);
    for (size_t i = 0; i < countof(disk_plugins); i++) {
        disks_found(f, arena_fmt(f->a, STR_FMT "/volumes/kubernetes.io~%s", STR_ARG(path), disk_plugins[i]), name);
        disks_found(f, arena_fmt(f->a, STR_FMT "/volumeDevices/kubernetes.io~%s", STR_ARG(path), disk_plugins[i]),
                    name);
    }
}

static void staged_found(const struct csi_search *f, struct str path, struct str name)
{
    struct csi_record r;
    (void)name;
    if (record_load(f, arena_fmt(f->a, STR_FMT "/" RECORD_FILE, STR_ARG(path)).p, &r))
        record_add(f, &r);
}

static void staged_device_found(const struct csi_search *f, struct str path, struct str name)
{
    struct csi_record r;
    if (!record_load(f, arena_fmt(f->a, STR_FMT "/data/" RECORD_FILE, STR_ARG(path)).p, &r))
        return;
    r.spec = name;
    r.block = true;
    record_add(f, &r);
}

/* Of iSCSI there is one more folder. */
static void iface_found(const struct csi_search *f, struct str path, struct str name)
{
    if (str_starts(name, S("iface-")))
        disks_found(f, path, name);
}

static void driver_found(const struct csi_search *f, struct str path, struct str name)
{
    each_in(f, path, str_eqz(name, "volumeDevices") ? staged_device_found : staged_found);
}

void csi_records_find(struct arena *a, const char *kubelet, struct csi_records *out)
{
    const struct csi_search f = {a, out};
    each_in(&f, arena_fmt(a, "%s/pods", kubelet), pod_found);
    each_in(&f, arena_fmt(a, "%s/plugins/kubernetes.io/csi", kubelet), driver_found);
    each_in(&f, arena_fmt(a, "%s/plugins/" FLEX_NAME, kubelet), flex_driver_found);
    for (size_t i = 0; i < countof(disk_plugins); i++)
        for (int block = 0; block < 2; block++) {
            struct str all = arena_fmt(a, "%s/plugins/kubernetes.io/%s%s", kubelet, disk_plugins[i],
                                       block ? "/volumeDevices" : "");
            disks_found(&f, all, S(""));
            if (strcmp(disk_plugins[i], "iscsi") == 0)
                each_in(&f, all, iface_found);
        }
}

static void places_in(struct arena *a, struct str folder, struct str below, struct str_list *out)
{
    DIR *dir = opendir(arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(folder), STR_ARG(below)).p);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct str name = str_of(e->d_name), slash = below.n ? S("/") : S("");
        if (is_record(e->d_name))
            array_push(&out->list, STR_JOIN(a, below, slash, str_sub(name, 1, name.n - 5)));
        else if (str_eqz(name, "volumeDevices") || str_starts(name, S("iface-")))
            places_in(a, folder, STR_JOIN(a, below, slash, name), out);
    }
    if (dir)
        (void)closedir(dir);
}

void csi_records_places(struct arena *a, struct str folder, struct str_list *out)
{
    places_in(a, folder, S(""), out);
}
