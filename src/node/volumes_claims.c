/* The claims of a pod: whether it may have them, and what is mounted for it by them. What cannot be is told in a
 * kubelet's words, and tried again: with growing gaps, and as soon as the claim, its volume, or the pod that has it
 * change. */
#include "api/csi_source.h"
#include "base/clock.h"
#include "node/agent_int.h"
#include "node/claim.h"
#include "node/csi.h"
#include "node/volume.h"
#include "node/volume_gone.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct gathering {
    struct agent_pod *ap;
    struct arena *a;
    struct sources sources;
    ARRAY(struct volume_mount) mounts;
    struct strbuf names, errors; /* of volumes that cannot be processed */
    struct strbuf wrong;         /* and of those that may not be used here */
    bool unheard;
};

/* Another pod of this node has the claim mounted. */
static bool is_taken(struct agent_pod *ap, const struct obj *claim)
{
    AUTO(arena_fini) struct arena a = ARENA;
    map_each (e, &ap->agent->by_uid) {
        const struct agent_pod *other = e->value;
        if (other == ap || !(other->has_claims || other->pod->volumes == PART_READY) ||
            !str_eq(other->pod->ns, claim->ns))
            continue;
        val_each_item (v, val_get(obj_spec(other->pod->obj), N(volumes)))
            if (str_eq(pod_claim(&a, other->pod->obj, v), claim->name))
                return true;
    }
    return false;
}

static void not_processed(struct gathering *x, struct str name, const char *why)
{
    strbuf_addf(&x->names, "%s" STR_FMT, x->names.n ? " " : "", STR_ARG(name));
    strbuf_addf(&x->errors, "%s%s", x->errors.n ? "; " : "", why);
}

/* By an event of its own; `text` in the arena. */
static void not_mounted(struct gathering *x, struct str text)
{
    agent_event(x->ap, -1, true, "FailedMount", text);
    strbuf_addf(&x->wrong, "%s" STR_FMT, x->wrong.n ? "; " : "", STR_ARG(text));
}

/* Of a driver of storage, or a disk: bound from where it is published for the pod. */
static bool driver_mount(struct gathering *x, const struct val *volume, const struct volume_source *source,
                         struct str target, struct volume_mount *out, struct err *err)
{
    const struct val *security = val_get(obj_spec(x->ap->pod->obj), N(securityContext));
    struct str path;
    if (!csi_want(x->ap, x->a, volume, source, &path, err))
        return false;
    *out = (struct volume_mount){.how = MOUNT_HOST,
                                 .path = path,
                                 .host_type = source->block ? S("BlockDevice") : S("Directory"),
                                 .target = target,
                                 .read_only = claim_is_read_only(volume, source) || csi_inline_reads_only(volume),
                                 .block = source->block,
                                 .fs_group = -1};
    if (csi_gives_group(x->ap, source))
        out->fs_group = val_num_at(security, -1, N(fsGroup));
    out->on_root_mismatch = str_eq(val_text_at(security, N(fsGroupChangePolicy)), S("OnRootMismatch"));
    return true;
}

/* Not of what others have as well (a path of the host, an export), nor of what the pod cannot write to. */
bool volumes_relabel(struct agent_pod *ap, struct str name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct sources sources = configs_sources(ap);
    const struct val *v = val_find(val_get(obj_spec(ap->pod->obj), N(volumes)), N(name), name);
    struct volume_source source;
    struct err ignored = ERR; /* what cannot be had, or is of no known type, is told where it is mounted */
    const struct volume_type *type = v ? volume_type_of(v, &ignored) : NULL;
    if (!type || type->place == VOLUME_HOST || type->place == VOLUME_IMAGE)
        return false;
    if (type->place != VOLUME_MOUNT)
        return true;
    return claim_resolve(&sources, &a, ap->pod->obj, v, &source, &ignored) && !source.read_only && !source.block &&
           !val_get(source.spec, N(nfs)) && !val_get(source.spec, N(hostPath));
}

static void gather_one(struct gathering *x, const struct val *volume)
{
    struct agent_pod *ap = x->ap;
    struct agent *g = ap->agent;
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    struct str name = val_text_at(volume, N(name));
    struct volume_source source;
    struct volume_mount m;
    struct err err = ERR;
    struct str target = arena_fmt(x->a, STR_FMT "/" STR_FMT, STR_ARG(ap->mounts_dir), STR_ARG(name)), git;
    if (volume_git_repo(x->a, volume, &git)) {
        not_mounted(x, git);
        return;
    }
    if (!claim_resolve(&x->sources, x->a, ap->pod->obj, volume, &source, &err)) {
        if (err.kind == E_UNAVAILABLE)
            x->unheard = true;
        else
            not_processed(x, name, err.text);
        return;
    }
    if (source.owner && claim_is_for_one(source.owner) && is_taken(ap, source.claim)) {
        ap->wants_claim = true;
        not_processed(x, name, "volume uses the ReadWriteOncePod access mode and is already in use by another pod");
        return;
    }
    if (source.owner && node && !claim_suits_node(source.spec, node)) {
        not_mounted(x, arena_fmt(x->a,
                                 "MountVolume.NodeAffinity check failed for volume \"" STR_FMT
                                 "\" : no matching NodeSelectorTerms",
                                 STR_ARG(source.owner->name)));
        return;
    }
    if (claim_is_attached(source.spec) ? !driver_mount(x, volume, &source, target, &m, &err)
                                       : !claim_mount(x->a, ap->pod->obj, &source, target, &m, &err)) {
        if (err.kind == E_UNAVAILABLE)
            x->unheard = true;
        else
            not_processed(x, name, err.text);
        return;
    }
    m.name = name;
    m.called = source.name;
    array_push(&x->mounts, m);
}

static struct str gathering_tell(struct gathering *x)
{
    if (x->names.n) {
        struct str text = arena_fmt(x->a,
                                    "Unable to attach or mount volumes: unmounted volumes=[" STR_FMT
                                    "], unattached volumes=[], failed to process volumes=[" STR_FMT "]: " STR_FMT,
                                    STR_ARG(strbuf_str(&x->names)), STR_ARG(strbuf_str(&x->names)),
                                    STR_ARG(strbuf_str(&x->errors)));
        agent_event(x->ap, -1, true, "FailedMount", text);
        strbuf_addf(&x->wrong, "%s" STR_FMT, x->wrong.n ? "; " : "", STR_ARG(text));
    }
    return str_dup(x->a, strbuf_str(&x->wrong));
}

enum claims_state claims_gather(struct agent_pod *ap, struct arena *a, struct volume_mounts *out, struct str *message)
{
    struct gathering x = {.ap = ap,
                          .a = a,
                          .sources = configs_sources(ap),
                          .names = STRBUF(STRBUF_TEXT),
                          .errors = STRBUF(STRBUF_TEXT),
                          .wrong = STRBUF(STRBUF_TEXT)};
    ap->wants_claim = false;
    val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes))) {
        struct err ignored = ERR; /* volumes_do says that it is of no type */
        const struct volume_type *type = volume_type_of(v, &ignored);
        bool missed = !volume_is_gone(v) && !val_get(v, N(gitRepo));
        missed = missed || claim_is_used(ap->pod->obj, val_text_at(v, N(name)));
        if (type && type->place == VOLUME_MOUNT && missed)
            gather_one(&x, v);
    }
    bool failed = x.names.n || x.wrong.n;
    *message = failed && !x.unheard ? gathering_tell(&x) : S("");
    *out = (struct volume_mounts){x.mounts.n ? arena_dup(a, x.mounts.p, x.mounts.n * sizeof *x.mounts.p) : NULL,
                                  x.mounts.n};
    ap->has_claims = !failed && !x.unheard;
    array_fini(&x.mounts);
    strbuf_fini(&x.names);
    strbuf_fini(&x.errors);
    strbuf_fini(&x.wrong);
    return x.unheard ? CLAIMS_UNHEARD : failed ? CLAIMS_FAILED : CLAIMS_READY;
}

void claims_mounted(struct agent_pod *ap)
{
    AUTO(arena_fini) struct arena a = ARENA;
    val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes))) {
        struct str name = pod_claim(&a, ap->pod->obj, v);
        if (name.n)
            provisioner_look(ap->agent->provisioner, ap->pod->ns, name);
    }
}

void claims_came_back(struct agent *g)
{
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (ap->pod->volumes != PART_FAILED)
            continue;
        pod_retry(ap->facts);
        agent_pod_kick(ap);
    }
}

void claims_came_free(struct agent *g)
{
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (ap->pod->volumes != PART_FAILED || !ap->wants_claim)
            continue;
        pod_retry(ap->facts);
        agent_pod_kick(ap);
    }
}

bool claims_device(struct agent_pod *ap, struct str volume, struct oci_device *out, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str target = arena_fmt(&a, STR_FMT "/" STR_FMT, STR_ARG(ap->mounts_dir), STR_ARG(volume));
    struct stat st;
    if (stat(target.p, &st) < 0) /* a node of a tmpfs, no disk */
        return err_errno(err, "volumeDevices: \"" STR_FMT "\"", STR_ARG(volume));
    if (!S_ISBLK(st.st_mode))
        return err_set(err, E_INVALID, "volumeDevices: \"" STR_FMT "\" is no block device", STR_ARG(volume));
    const struct val *v = val_find(val_get(obj_spec(ap->pod->obj), N(volumes)), N(name), volume);
    bool read_only = val_true(val_at(v, N(persistentVolumeClaim), N(readOnly)));
    *out = (struct oci_device){.type = 'b',
                               .major = major(st.st_rdev),
                               .minor = minor(st.st_rdev),
                               .mode = st.st_mode & 0777,
                               .uid = st.st_uid,
                               .gid = st.st_gid,
                               .access = read_only ? S("rm") : S("rwm")};
    return true;
}
