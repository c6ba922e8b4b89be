/* Disks of Fibre Channel: the fabric shows them to the host's adapter; what is done here is to find the one that is
 * meant among udev's links, have the hosts look for new ones where it is not there, and forget it in the end. */
#include "base/log.h"
#include "node/disk.h"

#define BY_PATH   "/dev/disk/by-path"
#define BY_ID     "/dev/disk/by-id"
#define SCAN_WAIT 3 /* seconds, for udev to tell of what a scan has found */

static bool fc_by_target(const struct disk *d)
{
    return val_len(val_get(d->source, N(targetWWNs))) && val_get(d->source, N(lun));
}

static const struct val *fc_ids(const struct disk *d)
{
    return val_get(d->source, fc_by_target(d) ? N(targetWWNs) : N(wwids));
}

/* udev's links have no blanks. */
static struct str id_text(struct arena *a, const struct val *v)
{
    char *text = arena_strz(a, val_text(v));
    for (char *p = text; *p; p++)
        if (*p == ' ')
            *p = '_';
    return str_of(text);
}

static struct str fc_place(struct arena *a, const struct disk *d)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (id, fc_ids(d))
        strbuf_addf(&b, "%s" STR_FMT, b.n ? "-" : "", STR_ARG(id_text(a, id)));
    if (fc_by_target(d))
        strbuf_addf(&b, "-lun-%lld", (long long)val_num_at(d->source, 0, N(lun)));
    return str_dup(a, strbuf_str(&b));
}

static struct str fc_key(const struct disk *d)
{
    (void)d;
    return S("");
}

/* The link of a path: fc-0xWWN-lun-0, with the place of the host's adapter before it where there is one. */
static bool link_is(struct str link, struct str name)
{
    if (!str_ends(link, name))
        return false;
    struct str before = str_sub(link, 0, link.n - name.n);
    return !before.n || (str_starts(before, S("pci-")) && str_ends(before, S("-")));
}

/* Each disk that a link leads to, in the order in which the volume names them. */
static void disks_find(const struct disk *d, struct device_names *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    bool by_target = fc_by_target(d);
    struct device_names links = {0};
    device_list(d->root, by_target ? BY_PATH : BY_ID, &links);
    val_each_item (id, fc_ids(d)) {
        struct str name = by_target ? arena_fmt(&a, "fc-0x" STR_FMT "-lun-%lld", STR_ARG(val_text(id)),
                                                (long long)val_num_at(d->source, 0, N(lun)))
                                    : STR_JOIN(&a, S("scsi-"), id_text(&a, id));
        array_each (link, &links.list) {
            struct device_name found;
            bool same = by_target ? link_is(str_of(link->z), name) : str_eqz(name, link->z);
            if (same && device_of(d->root, arena_fmt(&a, "%s/%s", by_target ? BY_PATH : BY_ID, link->z).p, &found))
                array_push(&out->list, found);
        }
    }
    array_fini(&links.list);
}

/* The multipath device over them. */
static bool disks_mapped(const struct disk *d, const struct device_names *disks, struct device_name *out)
{
    array_each (disk, &disks->list)
        if (device_multipath(d->root, disk, out))
            return true;
    return false;
}

/* One that is a part of a multipath device is that; of several others it is the last, as with a kubelet. */
static bool disk_choose(const struct disk *d, bool mapped_only, struct device_name *out)
{
    struct device_names disks = {0};
    disks_find(d, &disks);
    bool mapped = disks_mapped(d, &disks, out), found = mapped || (!mapped_only && disks.list.n);
    if (found && !mapped)
        *out = disks.list.p[disks.list.n - 1];
    array_fini(&disks.list);
    return found;
}

static bool hosts_scan(const struct disk *d)
{
    struct device_names hosts = {0};
    device_list(d->root, "/sys/class/scsi_host", &hosts);
    array_each (h, &hosts.list) {
        struct err failed = ERR;
        if (!scsi_scan(d->root, str_of(h->z), "- - -", &failed)) /* others may have it */
            log_warn("fc.scan", "host=%s error=\"%s\"", h->z, failed.text);
    }
    bool any = hosts.list.n > 0;
    array_fini(&hosts.list);
    return any;
}

static bool fc_attach(const struct disk *d, struct device_name *out, struct err *err)
{
    if (disk_choose(d, true, out))
        return true;
    int looks = hosts_scan(d) ? SCAN_WAIT * DISK_LOOKS_A_SECOND : 1;
    for (int i = 0; i < looks; i++) {
        if (disk_choose(d, false, out))
            return true;
        if (disk_stopped(d, err))
            return false;
        if (i + 1 < looks)
            disk_pause();
    }
    AUTO(arena_fini) struct arena a = ARENA;
    struct str first = id_text(&a, val_item(fc_ids(d), 0));
    return err_set(err, E_IO,
                   "no fc disk found: there is no link %s" STR_FMT "%s, though the SCSI hosts have looked for it (is "
                   "the LUN given to this node's adapter?)",
                   fc_by_target(d) ? BY_PATH "/*fc-0x" : BY_ID "/scsi-", STR_ARG(first),
                   fc_by_target(d) ? arena_fmt(&a, "-lun-%lld", (long long)val_num_at(d->source, 0, N(lun))).p : "");
}

static bool place_is_same(const struct disk *d, struct str last)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return str_eq(last, fc_place(&a, d));
}

static bool fc_detach(const struct disk *d, struct err *err)
{
    struct device_names disks = {0};
    struct device_name mapped;
    if (disk_is_shared(d, place_is_same)) /* as a device and as a file system */
        return true;
    disks_find(d, &disks);
    bool ok = true, is_mapped = disks_mapped(d, &disks, &mapped);
    if (is_mapped) {
        array_fini(&disks.list);
        disks = (struct device_names){0};
        device_parts(d->root, &mapped, &disks);
        ok = disk_is_free(d, &mapped, err) && disk_flush_multipath(&mapped, err);
    }
    for (size_t i = 0; i < disks.list.n && ok; i++)
        ok = is_mapped || disk_is_free(d, &disks.list.p[i], err);
    for (size_t i = 0; i < disks.list.n && ok; i++)
        ok = disk_remove(d, &disks.list.p[i], err);
    array_fini(&disks.list);
    return ok;
}

const struct disk_type disk_fc = {
    .source = N(fc),
    .place = fc_place,
    .key = fc_key,
    .attach = fc_attach,
    .detach = fc_detach,
};
