/* Which volumes of drivers are on this node, and for which pods.
 *
 * What is wanted is said level by level: a pod wants a volume (csi_want) or wants it no more (csi_teardown), and
 * csi_volume_turn compares that with what has been done and begins one operation, the next one when that is over.
 * What has been done stands on disk as well (csi_records.h), so that a new node role begins where the last one ended:
 * what may have been begun counts as begun, and is asked for again or undone, which drivers must bear. */
#include "api/codec.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/csi.h"
#include "node/claim.h"
#include "node/csi_int.h"
#include "node/volume_gone.h"

#define SILENT    (123 * NS_PER_S) /* so long a kubelet waits before it tells that it waits */
#define REPUBLISH (60 * NS_PER_S)

const struct obj *csi_info(const struct csi *c, struct str driver)
{
    return cache_peek(c->infos, S(""), driver);
}

static const struct obj *node_of(const struct csi *c)
{
    return cache_peek(c->agent->nodes, S(""), str_of(c->agent->cfg.name));
}

/* ---- volumes and their mounts */

static bool volume_attaches(const struct csi_volume *v)
{
    const struct obj *info = csi_info(v->csi, v->record.driver);
    const struct val *required = info ? val_get(obj_spec(info), N(attachRequired)) : NULL;
    if (v->record.place.n)
        return true;
    return !v->record.flex && !v->record.ephemeral && (!required || val_true(required));
}

static struct csi_record record_dup(struct arena *a, const struct csi_record *r)
{
    struct csi_record to = *r;
    struct str *const texts[] = {&to.driver, &to.handle,     &to.spec,   &to.uid,
                                 &to.node,   &to.attachment, &to.source, &to.place};
    for (size_t i = 0; i < countof(texts); i++)
        *texts[i] = str_dup(a, *texts[i]);
    return to;
}

static void on_again(struct timer *t)
{
    csi_volume_turn(container_of(t, struct csi_volume, again));
}

static void on_soon(struct soon *s)
{
    csi_volume_turn(container_of(s, struct csi_volume, soon));
}

static struct csi_volume *volume_need(struct csi *c, const struct csi_record *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key = STR_JOIN(&a, r->block ? S("block ") : S("files "), r->driver, S("^"), r->handle,
                              r->flex ? r->source : S(""));
    struct csi_volume *v = map_get(&c->volumes, key);
    if (v)
        return v;
    v = NEW(struct csi_volume);
    v->csi = c;
    v->key = str_dup(&v->arena, key);
    v->record = record_dup(&v->arena, r);
    v->record.uid = S("");
    v->places = csi_places(&v->arena, c->agent->cfg.kubelet, &v->record);
    list_init(&v->mounts);
    timer_init(&v->again, c->agent->cfg.loop, on_again);
    soon_init(&v->soon, c->agent->cfg.loop, on_soon);
    (void)map_put(&c->volumes, v->key, v);
    node_object_news(c->agent->node);
    return v;
}

static void volume_free(struct csi_volume *v)
{
    timer_stop(&v->again);
    soon_stop(&v->soon);
    (void)map_del(&v->csi->volumes, v->key);
    arena_fini(&v->arena);
    mem_free(v);
}

static void on_republish(struct timer *t)
{
    struct csi_mount *m = container_of(t, struct csi_mount, republish);
    m->again = true;
    csi_volume_turn(m->volume);
}

static struct csi_mount *mount_need(struct csi_volume *v, const struct csi_record *r)
{
    list_each (m, &v->mounts, struct csi_mount, node)
        if (str_eq(m->record.uid, r->uid) && str_eq(m->record.spec, r->spec))
            return m;
    struct csi_mount *m = NEW(struct csi_mount);
    m->volume = v;
    m->record = record_dup(&m->arena, r);
    m->places = csi_places(&m->arena, v->csi->agent->cfg.kubelet, &m->record);
    timer_init(&m->republish, v->csi->agent->cfg.loop, on_republish);
    list_add_tail(&v->mounts, &m->node);
    return m;
}

static void mount_objects(struct csi_mount *m, const struct obj *pod, const struct obj *owner,
                          const struct obj *claim)
{
    const struct obj *fresh[] = {pod, owner, claim};
    struct obj **const places[] = {&m->pod, &m->owner, &m->claim};
    for (size_t i = 0; i < countof(places); i++) {
        struct obj *was = *places[i];
        *places[i] = fresh[i] ? obj_ref((struct obj *)(uintptr_t)fresh[i]) : NULL;
        obj_unref(was);
    }
}

static void mount_free(struct csi_mount *m)
{
    timer_stop(&m->republish);
    mount_objects(m, NULL, NULL, NULL);
    list_del(&m->node);
    arena_fini(&m->arena);
    mem_free(m);
}

/* ---- pods that wait */

struct csi_mounts {
    ARRAY(struct csi_mount *) list;
};
/* All of a pod. A node has some dozens of volumes, and this is asked where a pod comes or goes. */
static void mounts_of(const struct csi *c, struct str uid, struct csi_mounts *out)
{
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        list_each (m, &v->mounts, struct csi_mount, node)
            if (str_eq(m->record.uid, uid))
                array_push(&out->list, m);
    }
}

static struct csi_pod *pod_of(struct csi *c, struct str uid)
{
    struct agent_pod *ap = agent_pod_of(c->agent, uid);
    if (ap)
        return ap->csi;
    list_each (p, &c->pods, struct csi_pod, node) /* its object is gone already */
        if (str_eq(p->ap->pod->uid, uid))
            return p;
    return NULL;
}

static void pod_soon(struct csi *c, struct str uid)
{
    struct csi_pod *p = pod_of(c, uid);
    if (p)
        soon_set(&p->soon);
}

static void pod_fail_note(struct csi_pod *p, const char *text)
{
    if (p->failed)
        return; /* the first is told */
    p->failed = str_dupz(str_of(text));
}

/* Whether all that it waits for is so. */
static void pod_look(struct soon *s)
{
    struct csi_pod *p = container_of(s, struct csi_pod, soon);
    struct agent_pod *ap = p->ap;
    struct csi *c = ap->agent->csi;
    struct csi_mounts all = {0};
    bool there = true;
    mounts_of(c, ap->pod->uid, &all);
    array_each (m, &all.list)
        there = there && (!(*m)->wanted || (*m)->have == CSI_THERE);
    size_t n = all.list.n;
    array_fini(&all.list);
    if (p->gone && c->known && n == 0) {
        void (*gone)(struct agent_pod *) = p->gone;
        p->gone = NULL;
        gone(ap);
        return;
    }
    if (p->ready && (there || p->failed)) {
        void (*ready)(struct agent_pod *, bool, struct str) = p->ready;
        char *failed = TAKE(p->failed);
        p->ready = NULL;
        timer_stop(&p->silent);
        ready(ap, there, there ? S("") : str_of(failed));
        mem_free(failed);
    } else if (!p->ready && there && p->failed) { /* its next try would be later */
        mem_free(TAKE(p->failed));
        pod_retry(ap->facts);
        agent_pod_kick(ap);
    }
}

/* A kubelet's words for a pod that waits, as for an attachment. */
static void on_silent(struct timer *t)
{
    struct csi_pod *p = container_of(t, struct csi_pod, silent);
    struct csi_mounts all = {0};
    AUTO(strbuf_fini) struct strbuf waits = STRBUF(STRBUF_TEXT);
    mounts_of(p->ap->agent->csi, p->ap->pod->uid, &all);
    array_each (m, &all.list)
        if ((*m)->wanted && (*m)->have != CSI_THERE)
            strbuf_addf(&waits, "%s" STR_FMT, waits.n ? " " : "", STR_ARG((*m)->volume_name));
    array_fini(&all.list);
    agent_eventf(p->ap, -1, true, "FailedMount",
                 "Unable to attach or mount volumes: unmounted volumes=[" STR_FMT
                 "], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition",
                 STR_ARG(strbuf_str(&waits)));
    timer_set(&p->silent, SILENT);
}

static struct csi_pod *pod_need(struct agent_pod *ap)
{
    if (ap->csi)
        return ap->csi;
    struct csi_pod *p = ap->csi = NEW(struct csi_pod);
    p->ap = ap;
    soon_init(&p->soon, ap->agent->cfg.loop, pod_look);
    timer_init(&p->silent, ap->agent->cfg.loop, on_silent);
    list_add_tail(&ap->agent->csi->pods, &p->node);
    return p;
}

void csi_forget(struct agent_pod *ap)
{
    struct csi_pod *p = TAKE(ap->csi);
    if (!p)
        return;
    soon_stop(&p->soon);
    timer_stop(&p->silent);
    list_del(&p->node);
    mem_free(p->failed);
    mem_free(p);
}

/* ---- what is wanted */

static bool mode_suits(const struct csi *c, struct str driver, bool ephemeral, struct err *err)
{
    const struct obj *info = csi_info(c, driver);
    const struct val *modes = info ? val_get(obj_spec(info), N(volumeLifecycleModes)) : NULL;
    struct str mode = ephemeral ? S("Ephemeral") : S("Persistent");
    AUTO(strbuf_fini) struct strbuf only = STRBUF(1000);
    bool good = info ? !val_len(modes) && !ephemeral : !ephemeral;
    val_each_item (m, modes) {
        good = good || str_eq(val_text(m), mode);
        strbuf_addf(&only, "%s\"" STR_FMT "\"", only.n ? " " : "", STR_ARG(val_text(m)));
    }
    if (good)
        return true;
    if (!info)
        return err_set(
            err, E_INVALID,
            "kubernetes.io/csi: mounter.SetUpAt failed to check volume lifecycle mode: volume mode \"" STR_FMT
            "\" not supported by driver " STR_FMT " (no CSIDriver object)",
            STR_ARG(mode), STR_ARG(driver));
    return err_set(err, E_INVALID,
                   "kubernetes.io/csi: mounter.SetUpAt failed to check volume lifecycle mode: volume mode \"" STR_FMT
                   "\" not supported by driver " STR_FMT " (only supports [" STR_FMT "])",
                   STR_ARG(mode), STR_ARG(driver), STR_ARG(only.n ? strbuf_str(&only) : S("\"Persistent\"")));
}

/* When a token ends, as it says itself. */
static struct str token_end(struct arena *a, struct str token)
{
    struct str head, rest, claims, signature;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val v;
    struct err ignored = ERR; /* one that cannot be read says no end */
    if (!str_split(token, '.', &head, &rest) || !str_split(rest, '.', &claims, &signature) ||
        !strbuf_add_unbase64url(&b, claims) || !json_decode(a, strbuf_str(&b), &v, &ignored))
        return S("");
    return time_text(a, ns_of_seconds(val_num(val_get_str(&v, S("exp")), 0)));
}

bool csi_tokens(struct agent_pod *ap, struct arena *a, struct str driver, struct str *out, struct err *err)
{
    const struct obj *info = csi_info(ap->agent->csi, driver);
    const struct val *requests = info ? val_get(obj_spec(info), N(tokenRequests)) : NULL;
    struct val all = val_map();
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    *out = S("");
    if (!val_len(requests))
        return true;
    val_each_item (r, requests) {
        struct str token, audience = val_text_at(r, N(audience));
        if (!configs_token(ap, ap->pod->obj, audience, val_num_at(r, 3600, N(expirationSeconds)), &token, err))
            return false;
        struct val one = val_map();
        val_set_str(a, &one, S("token"), val_str(a, token));
        val_set_str(a, &one, S("expirationTimestamp"), val_str(a, token_end(a, token)));
        val_set_str(a, &all, audience, one);
    }
    json_encode(&b, &all);
    *out = str_dup(a, strbuf_str(&b));
    return true;
}

static struct csi_record record_of(struct csi *c, struct arena *a, const struct obj *pod,
                                   const struct volume_source *source)
{
    const struct val *csi = val_get(source->spec, N(csi));
    struct csi_record r = {.driver = val_text_at(csi, N(driver)),
                           .uid = pod->uid,
                           .node = str_of(c->agent->cfg.name),
                           .ephemeral = !source->persistent,
                           .block = source->block,
                           .spec = source->name};
    r.handle = source->persistent ? val_text_at(csi, N(volumeHandle)) : csi_ephemeral_handle(a, pod->uid, r.spec);
    r.attachment = source->persistent ? csi_attachment_name(a, r.handle, r.driver, r.node) : S("");
    return r;
}

static bool mount_want(struct agent_pod *ap, struct arena *a, const struct val *volume,
                       const struct volume_source *source, struct csi_record *r, struct str *path)
{
    struct csi_volume *v = volume_need(ap->agent->csi, r);
    r->place = v->record.place; /* the one that it is attached by, where two say different things of one disk */
    r->source = v->record.source;
    struct csi_mount *m = mount_need(v, r);
    mount_objects(m, ap->pod->obj, source->owner, source->claim);
    m->wanted = true;
    m->read_only = claim_is_read_only(volume, source);
    m->volume_name = str_dup(&m->arena, val_text_at(volume, N(name)));
    *path = str_dup(a, m->places.target);
    return true;
}

static bool flex_want(struct agent_pod *ap, struct arena *a, const struct val *volume,
                      const struct volume_source *source, struct str *path, struct err *err)
{
    const struct val *flex = val_get(source->spec, N(flexVolume));
    struct str name = source->owner ? source->owner->name : val_text_at(volume, N(name)),
               driver = val_text_at(flex, N(driver)), ignored;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (source->block)
        return err_set(err, E_INVALID, "volumeMode Block: flexVolume is no block device: use local");
    if (val_len(val_get(source->spec, N(mountOptions))))
        return err_set(err, E_INVALID, "Mount options are not supported for this volume type");
    if (!flex_program(a, "", driver, &ignored)) { /* no folder could be its own */
        volume_no_plugin(name, err);
        return false;
    }
    json_encode(&b, flex);
    if (b.over)
        return err_set(err, E_TOO_LARGE, "flexVolume is more than %d KiB", STRBUF_TEXT >> 10);
    struct csi_record r = {.driver = flex_escape(a, driver),
                           .handle = name,
                           .spec = name,
                           .uid = ap->pod->uid,
                           .node = str_of(ap->agent->cfg.name),
                           .ephemeral = !source->owner,
                           .flex = true,
                           .source = strbuf_str(&b)};
    return mount_want(ap, a, volume, source, &r, path);
}

bool csi_want(struct agent_pod *ap, struct arena *a, const struct val *volume, const struct volume_source *source,
              struct str *path, struct err *err)
{
    struct csi *c = ap->agent->csi;
    struct csi_record r;
    struct err failed = ERR;
    struct str tokens;
    if (!c->known || !cache_synced(c->infos))
        return err_set(err, E_UNAVAILABLE, "drivers of storage have not been heard of yet");
    if (val_get(source->spec, N(flexVolume)))
        return flex_want(ap, a, volume, source, path, err);
    if (csi_disk_record(c, a, ap->pod->obj, volume, source, &r, &failed))
        return mount_want(ap, a, volume, source, &r, path);
    if (failed.kind) {
        *err = failed;
        return false;
    }
    r = record_of(c, a, ap->pod->obj, source);
    if (!csi_record_is_named(&r))
        return err_set(err, E_INVALID, "volume \"" STR_FMT "\" has a name that no folder can have",
                       STR_ARG(source->name));
    return mode_suits(c, r.driver, r.ephemeral, err) && csi_tokens(ap, a, r.driver, &tokens, err) &&
           mount_want(ap, a, volume, source, &r, path);
}

/* Later: a turn may free what is listed. */
static void volumes_turn(const struct csi_mounts *all)
{
    array_each (m, &all->list)
        soon_set(&(*m)->volume->soon);
}

bool csi_setup(struct agent_pod *ap, void (*ready)(struct agent_pod *ap, bool ok, struct str message))
{
    struct csi_mounts all = {0};
    bool there = true;
    mounts_of(ap->agent->csi, ap->pod->uid, &all);
    array_each (m, &all.list)
        there = there && (!(*m)->wanted || (*m)->have == CSI_THERE);
    if (!there) {
        struct csi_pod *p = pod_need(ap);
        mem_free(TAKE(p->failed));
        p->ready = ready;
        timer_set(&p->silent, SILENT);
        volumes_turn(&all);
    }
    array_fini(&all.list);
    return !there;
}

bool csi_let_go(struct agent_pod *ap)
{
    if (!ap->csi || !ap->csi->ready)
        return false;
    ap->csi->ready = NULL;
    timer_stop(&ap->csi->silent);
    return true;
}

bool csi_teardown(struct agent_pod *ap, void (*gone)(struct agent_pod *ap))
{
    struct csi *c = ap->agent->csi;
    struct csi_mounts all = {0};
    mounts_of(c, ap->pod->uid, &all);
    array_each (m, &all.list) {
        (*m)->wanted = false;
        if ((*m)->volume->op)
            csi_op_unwant((*m)->volume->op, *m);
    }
    bool waits = all.list.n || !c->known;
    if (waits)
        pod_need(ap)->gone = gone;
    volumes_turn(&all);
    array_fini(&all.list);
    return waits;
}

/* ---- whose turn it is */

/* The Node tells that it uses the volume, and the attach controller that it is attached. */
static bool volume_is_attached(const struct csi_volume *v)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *node = node_of(v->csi);
    struct str unique = csi_unique_name(&a, v->record.driver, v->record.handle);
    return node && v->told_rev && node->rev >= v->told_rev &&
           val_has_text(val_get(obj_status(node), N(volumesInUse)), unique) &&
           val_find(val_get(obj_status(node), N(volumesAttached)), N(name), unique);
}

/* The mount that comes next, and what is to be done with it. */
static struct csi_mount *mount_next(struct csi_volume *v, enum csi_op_kind *kind)
{
    bool attached = !volume_attaches(v) || volume_is_attached(v);
    list_each (m, &v->mounts, struct csi_mount, node) {
        if (!m->wanted && m->have == CSI_NONE) {
            struct csi *c = v->csi;
            AUTO(arena_fini) struct arena a = ARENA;
            struct str uid = str_dup(&a, m->record.uid);
            mount_free(m);
            pod_soon(c, uid);
        }
    }
    list_each (m, &v->mounts, struct csi_mount, node) {
        *kind = CSI_UNPUBLISH;
        if (!m->wanted)
            return m;
    }
    list_each (m, &v->mounts, struct csi_mount, node) {
        *kind = m->have != CSI_THERE ? CSI_PUBLISH : m->grow ? CSI_GROW : CSI_REPUBLISH;
        if (m->pod && (*kind == CSI_PUBLISH ? attached : m->grow || m->again))
            return m;
    }
    return NULL;
}

void csi_volume_turn(struct csi_volume *v)
{
    struct csi *c = v->csi;
    enum csi_op_kind kind;
    if (!c->known || c->dead || v->op || timer_is_set(&v->again) || !cache_synced(c->infos))
        return;
    struct csi_mount *m = mount_next(v, &kind);
    if (m) {
        list_del(&m->node); /* where it fails, others have their turn first */
        list_add_tail(&v->mounts, &m->node);
        csi_op_start(v, m, kind);
    } else if (list_empty(&v->mounts) && v->staged != CSI_NONE) {
        csi_op_start(v, NULL, CSI_UNSTAGE);
    } else if (list_empty(&v->mounts)) {
        volume_free(v);
        node_object_news(c->agent->node);
    }
}

void csi_op_ended(struct csi_volume *v, struct csi_mount *m, bool ok)
{
    const struct obj *info = csi_info(v->csi, v->record.driver);
    v->op = NULL;
    v->gap = ok ? 0 : csi_gap_next(v->gap);
    if (!ok)
        timer_set(&v->again, v->gap);
    if (m && m->have == CSI_THERE && m->wanted && info && val_true(val_get(obj_spec(info), N(requiresRepublish))))
        timer_set(&m->republish, REPUBLISH);
    if (m)
        pod_soon(v->csi, m->record.uid);
    soon_set(&v->soon);
}

void csi_mount_failed(struct csi_mount *m, const char *reason, const char *what, const struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str name = m->record.ephemeral && m->volume_name.n ? m->volume_name : m->record.spec,
               text = !*what ? str_of(err->text)
                             : arena_fmt(&a, "%s failed for volume \"" STR_FMT "\" : %s", what, STR_ARG(name),
                                         err->text);
    struct csi_pod *p = pod_of(m->volume->csi, m->record.uid);
    log_warn("csi.volume", "volume=" STR_FMT " pod=" STR_FMT " %s: error=\"%s\"", STR_ARG(name),
             STR_ARG(m->record.uid), what, err->text);
    if (!p)
        return;
    if (!p->ap->dead)
        agent_event(p->ap, -1, true, reason, text);
    if (m->wanted && m->have != CSI_THERE)
        pod_fail_note(p, text.p);
}

/* ---- news */

static void volumes_soon(struct csi *c)
{
    map_each (e, &c->volumes)
        soon_set(&((struct csi_volume *)e->value)->soon);
    list_each (p, &c->pods, struct csi_pod, node)
        soon_set(&p->soon);
}

/* Pods that wait for what is known now. */
static void waiting_go_on(struct csi *c)
{
    if (!c->known || !cache_synced(c->infos))
        return;
    volumes_soon(c);
    map_each (e, &c->agent->by_uid) {
        struct agent_pod *ap = e->value;
        if (ap->volumes_waiting)
            agent_claim_news(ap);
    }
}

void csi_driver_came(struct csi *c, struct csi_driver *d)
{
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        if (!str_eq(v->record.driver, d->name))
            continue;
        timer_stop(&v->again);
        v->gap = 0;
        soon_set(&v->soon);
    }
}

void csi_flex_look(struct csi *c)
{
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        if (!v->flex_missing)
            continue;
        timer_stop(&v->again);
        v->gap = 0;
        soon_set(&v->soon);
    }
}

void csi_volumes_node(struct csi *c, const struct obj *node)
{
    (void)node;
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        if (volume_attaches(v))
            soon_set(&v->soon);
    }
}

void csi_in_use_told(struct csi *c, int64_t rev)
{
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        if (v->telling && !v->told_rev)
            v->told_rev = rev;
        v->telling = false;
    }
    volumes_soon(c);
}

bool csi_in_use(struct csi *c, struct arena *a, struct val *list)
{
    if (!c->known || !cache_synced(c->infos))
        return false;
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        v->telling = volume_attaches(v);
        if (v->telling)
            val_add(a, list, val_str(a, csi_unique_name(a, v->record.driver, v->record.handle)));
    }
    return true;
}

int64_t csi_storage(const struct val *capacity)
{
    return quantity_value(val_text(val_get_str(capacity, S("storage"))));
}

enum csi_growth csi_mount_growth(const struct csi_mount *m)
{
    const struct val *has = m->claim ? val_get(obj_status(m->claim), N(capacity)) : NULL;
    if (!m->owner || !has)
        return CSI_FITS;
    if (csi_storage(has) < csi_storage(val_get(obj_spec(m->owner), N(capacity))))
        return CSI_OUTGROWN;
    return val_find(val_get(obj_status(m->claim), N(conditions)), N(type), S("FileSystemResizePending")) ? CSI_TO_TELL
                                                                                                         : CSI_FITS;
}

void csi_claim_news(struct agent_pod *ap)
{
    struct csi *c = ap->agent->csi;
    struct sources sources = configs_sources(ap);
    struct csi_mounts all = {0};
    AUTO(arena_fini) struct arena a = ARENA;
    mounts_of(c, ap->pod->uid, &all);
    for (size_t i = 0; i < all.list.n; i++) {
        struct csi_mount *m = all.list.p[i];
        val_each_item (volume, val_get(obj_spec(ap->pod->obj), N(volumes))) {
            struct volume_source source;
            struct err ignored = ERR; /* that it is gone concerns nobody who has it mounted */
            if (!claim_resolve(&sources, &a, ap->pod->obj, volume, &source, &ignored) ||
                !claim_is_attached(source.spec) || !str_eq(source.name, m->record.spec))
                continue;
            if (!m->pod && ap->pod->volumes == PART_READY) { /* of an earlier node role's; it runs */
                m->have = CSI_THERE;
                m->volume_name = str_dup(&m->arena, val_text_at(volume, N(name)));
                if (!m->record.place.n && !m->record.flex)
                    timer_set(&m->republish, REPUBLISH);
            }
            if (m->pod || ap->pod->volumes == PART_READY)
                mount_objects(m, ap->pod->obj, source.owner, source.claim);
            m->grow = m->have == CSI_THERE && !m->record.place.n && !m->record.flex &&
                      csi_mount_growth(m) != CSI_FITS;
            soon_set(&m->volume->soon);
        }
    }
    array_fini(&all.list);
}

bool csi_gives_group(struct agent_pod *ap, const struct volume_source *source)
{
    struct csi *c = ap->agent->csi;
    const struct val *csi = val_get(source->spec, N(csi));
    const struct obj *info = csi_info(c, val_text_at(csi, N(driver)));
    struct str policy = info ? val_text_at(obj_spec(info), N(fsGroupPolicy)) : S("");
    struct csi_mounts all = {0};
    bool by_driver = false;
    if (!csi) /* a disk; a FlexVolume's files are given as it is mounted */
        return !source->block && !val_get(source->spec, N(flexVolume));
    mounts_of(c, ap->pod->uid, &all);
    array_each (m, &all.list)
        by_driver |= (*m)->gives_group && source->persistent && str_eq((*m)->record.spec, source->name);
    array_fini(&all.list);
    if (by_driver || source->block || str_eqz(policy, "None"))
        return false;
    if (str_eqz(policy, "File"))
        return true;
    bool once = !source->persistent;
    val_each_item (m, val_get(source->spec, N(accessModes)))
        once = once || str_eqz(val_text(m), "ReadWriteOnce");
    return once && val_text_at(csi, N(fsType)).n > 0;
}

/* ---- what an earlier node role left */

struct csi_finding {
    struct job job;
    struct csi *csi;
    struct arena arena;
    struct csi_records records;
};

static void find_work(struct job *j)
{
    struct csi_finding *f = container_of(j, struct csi_finding, job);
    csi_records_find(&f->arena, f->csi->agent->cfg.kubelet, &f->records);
}

/* Of pods that are not there any more. */
static void orphans_drop(struct csi *c)
{
    if (!c->known || !c->agent->adopted)
        return;
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        list_each (m, &v->mounts, struct csi_mount, node)
            if (!agent_pod_of(c->agent, m->record.uid))
                m->wanted = false;
    }
    map_each (e, &c->agent->by_uid)
        csi_claim_news(e->value);
    waiting_go_on(c);
}

void csi_pods_heard(struct csi *c)
{
    orphans_drop(c);
}

static void find_done(struct job *j)
{
    struct csi_finding *f = container_of(j, struct csi_finding, job);
    struct csi *c = f->csi;
    array_each (r, &f->records.list) /* these first: by them it is known how a disk was attached */
        if (!r->uid.n) {
            struct csi_volume *v = volume_need(c, r);
            v->staged = MAX(v->staged, CSI_MAYBE);
        }
    array_each (r, &f->records.list) {
        if (!r->uid.n)
            continue;
        struct csi_mount *m = mount_need(volume_need(c, r), r);
        m->have = MAX(m->have, CSI_MAYBE);
        m->wanted = true; /* as long as its pod is there */
    }
    c->known = true;
    c->finding = false;
    node_object_news(c->agent->node);
    orphans_drop(c);
    array_fini(&f->records.list);
    arena_fini(&f->arena);
    mem_free(f);
}

static void on_info(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct csi *c = container_of(h, struct csi, on_infos);
    if (now)
        csi_plugins_info(c, now);
    (void)was;
    volumes_soon(c);
    node_object_news(c->agent->node);
}

static void on_infos_synced(struct cache_handler *h)
{
    struct csi *c = container_of(h, struct csi, on_infos);
    node_object_news(c->agent->node);
    waiting_go_on(c);
}

void csi_volumes_start(struct csi *c)
{
    struct csi_finding *f = NEW(struct csi_finding);
    list_init(&c->pods);
    c->infos = cache_new(c->agent->cfg.transport, &(struct cache_options){.kind = K(CSIDriver)});
    c->on_infos = (struct cache_handler){.changed = on_info, .synced = on_infos_synced};
    cache_handler_add(c->infos, &c->on_infos);
    cache_start(c->infos);
    f->csi = c;
    c->finding = true;
    job_start(&f->job, c->agent->cfg.loop, find_work, find_done);
}

void csi_volumes_stop(struct csi *c)
{
    cache_handler_del(&c->on_infos);
    cache_free(c->infos);
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        if (v->op)
            csi_op_stop(v->op);
        list_each (m, &v->mounts, struct csi_mount, node)
            mount_free(m);
        volume_free(v);
    }
    map_fini(&c->volumes);
}
