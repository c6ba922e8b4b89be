/* Who goes first, what is said of it, and what a pod's own limits say. */
#include "api/obj.h"
#include "api/placement.h"
#include "api/quantity.h"
#include "api/usage.h"
#include "node/disk_use.h"
#include "node/pressure_plan.h"
#include <stdlib.h>

/* --- the order ------------------------------------------------------------------------------------------------ */

struct rank_key {
    struct pressure_pod pod;
    bool pids; /* there priority comes before all else */
    bool over; /* it has more than it asked for */
    int64_t priority, surplus;
    struct str created;
};

static int64_t disk_of(const struct pressure_pod *p, enum pressure_signal s, bool image_disk, bool inodes)
{
    int64_t sum = 0;
    if (image_disk && (s == SIGNAL_IMAGEFS || s == SIGNAL_IMAGEFS_INODES))
        return 0; /* there are images alone on it */
    sum += inodes ? p->volumes.inodes : p->volumes.bytes;
    for (size_t i = 0; i < p->ncontainers; i++) {
        const struct pressure_container *c = &p->containers[i];
        sum += inodes ? c->rootfs.inodes + c->logs.inodes : c->rootfs.bytes + c->logs.bytes;
    }
    return sum;
}

static struct rank_key key_of(const struct pressure_pod *p, enum pressure_signal s, bool image_disk)
{
    struct rank_key k = {.pod = *p,
                         .priority = val_num_at(obj_spec(p->pod), 0, N(priority)),
                         .created = val_text_at(obj_meta(p->pod), N(creationTimestamp))};
    struct str resource = str_of(pressure_resource(s));
    bool inodes = str_eqz(resource, "inodes");
    if (pressure_condition(s) == PRESSURE_ON_PIDS) {
        k.pids = true;
        k.surplus = p->pids;
    } else if (pressure_condition(s) == PRESSURE_ON_MEMORY) {
        k.surplus = p->memory - pod_request(p->pod, resource, POD_OVERHEAD);
        k.over = k.surplus > 0;
    } else {
        int64_t used = disk_of(p, s, image_disk, inodes);
        /* nobody can ask for inodes; what is asked for of the disk is taken off all the same, as a kubelet does */
        k.surplus = used - pod_request(p->pod, S("ephemeral-storage"), POD_OVERHEAD);
        k.over = inodes ? used > 0 : k.surplus > 0;
    }
    return k;
}

static int by_rank(const void *x, const void *y)
{
    const struct rank_key *a = x, *b = y;
    if (a->pids && a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (!a->pod.known || !b->pod.known) { /* what could not be measured goes first */
        if (a->pod.known != b->pod.known)
            return a->pod.known ? 1 : -1;
    } else if (a->over != b->over) {
        return a->over ? -1 : 1;
    }
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (a->surplus != b->surplus)
        return a->surplus > b->surplus ? -1 : 1;
    /* a kubelet leaves it to chance; here the younger one goes */
    int younger = str_cmp(b->created, a->created);
    return younger ? younger : str_cmp(a->pod.pod->uid, b->pod.pod->uid);
}

void pressure_rank(struct pressure_pod *pods, size_t n, enum pressure_signal s, bool image_disk)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct rank_key *keys = arena_alloc(&a, (n + 1) * sizeof *keys);
    for (size_t i = 0; i < n; i++)
        keys[i] = key_of(&pods[i], s, image_disk);
    if (n)
        qsort(keys, n, sizeof *keys, by_rank);
    for (size_t i = 0; i < n; i++)
        pods[i] = keys[i].pod;
}

/* --- the sentence --------------------------------------------------------------------------------------------- */

static struct str available_text(struct arena *a, enum pressure_signal s, int64_t n)
{
    bool bytes = str_eqz(str_of(pressure_resource(s)), "memory") ||
                 str_eqz(str_of(pressure_resource(s)), "ephemeral-storage");
    return bytes ? quantity_of_bytes(a, n) : quantity_of_milli(a, n * 1000);
}

static struct str threshold_text(struct arena *a, const struct pressure_amount *x, int64_t capacity)
{
    return x->is_part ? quantity_of_bytes(a, (int64_t)((double)capacity * (double)x->part)) : str_of(x->text);
}

static const struct val *container_spec_of(const struct obj *pod, struct str name)
{
    static const struct name *const lists[] = {N(containers), N(initContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i]))
            if (str_eq(val_text_at(c, N(name)), name))
                return c;
    return NULL;
}

static void container_says(struct arena *a, struct strbuf *b, const struct pressure_pod *p,
                           const struct pressure_container *c, struct str resource)
{
    const struct val *spec = container_spec_of(p->pod, c->name);
    struct str request = val_text(val_get_str(val_at(spec, N(resources), N(requests)), resource));
    bool memory = str_eqz(resource, "memory"), disk = str_eqz(resource, "ephemeral-storage");
    int64_t used = memory ? c->memory : c->rootfs.bytes + c->logs.bytes;
    if (!spec || !(memory ? c->memory_known : disk && c->disk_known) || used <= quantity_value(request))
        return;
    strbuf_addf(b,
                "Container " STR_FMT " was using " STR_FMT ", request is " STR_FMT
                ", has larger consumption of " STR_FMT ". ",
                STR_ARG(c->name), STR_ARG(quantity_of_bytes(a, used)), STR_ARG(request.n ? request : S("0")),
                STR_ARG(resource));
}

struct str pressure_message(struct arena *a, const struct pressure_rules *r, const struct pressure_decision *d,
                            const struct pressure_sample *samples, const struct pressure_pod *p)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str resource = str_of(pressure_resource(r->list[d->reclaim].signal));
    strbuf_addf(&b, "The node was low on resource: " STR_FMT ". ", STR_ARG(resource));
    const struct pressure_threshold *t = &r->list[d->reclaim];
    const struct pressure_sample *s = &samples[t->signal];
    if (s->known)
        strbuf_addf(&b, "Threshold quantity: " STR_FMT ", available: " STR_FMT ". ",
                    STR_ARG(threshold_text(a, &t->value, s->capacity)),
                    STR_ARG(available_text(a, t->signal, s->available)));
    struct str asked = val_text(val_get_str(val_at(obj_spec(p->pod), N(resources), N(requests)), resource));
    if (p->known && str_eqz(resource, "memory") && asked.n)
        strbuf_addf(
            &b, "Pod " STR_FMT " was using " STR_FMT ", request is " STR_FMT ", has larger consumption of memory. ",
            STR_ARG(p->pod->name), STR_ARG(quantity_of_bytes(a, p->memory)), STR_ARG(asked));
    for (size_t i = 0; p->known && i < p->ncontainers; i++)
        container_says(a, &b, p, &p->containers[i], resource);
    return str_dup(a, strbuf_str(&b));
}

/* --- limits of a pod's own ------------------------------------------------------------------------------------ */

static struct str limit_of(const struct val *container)
{
    return val_text(val_get_str(val_at(container, N(resources), N(limits)), S("ephemeral-storage")));
}

static bool is_sidecar(const struct val *init)
{
    return str_eqz(val_text_at(init, N(restartPolicy)), "Always");
}

/* Of all its containers together, where one has a limit: those that run at once, or the init container that may have
 * the most. Empty: there is none. */
static struct str limit_of_all(struct arena *a, const struct obj *pod)
{
    struct str sum = STR_NONE, sidecars = STR_NONE, init_most = STR_NONE, one;
    val_each_item (c, val_get(obj_spec(pod), N(containers)))
        if ((one = limit_of(c)).n)
            sum = sum.n ? quantity_add(a, sum, one) : one;
    val_each_item (c, val_get(obj_spec(pod), N(initContainers))) {
        if (!(one = limit_of(c)).n)
            continue;
        struct str at_once = sidecars.n ? quantity_add(a, sidecars, one) : one;
        if (is_sidecar(c)) {
            sidecars = at_once;
            sum = sum.n ? quantity_add(a, sum, one) : one;
        }
        if (!init_most.n || quantity_cmp(at_once, init_most) > 0)
            init_most = at_once;
    }
    if (init_most.n && (!sum.n || quantity_cmp(init_most, sum) > 0))
        sum = init_most;
    struct str overhead = val_text(val_get_str(val_get(obj_spec(pod), N(overhead)), S("ephemeral-storage")));
    return sum.n && overhead.n ? quantity_add(a, sum, overhead) : sum;
}

static bool volume_over(const struct disk_use_part *part, struct str limit)
{
    return part->hidden || part->bytes > quantity_value(limit);
}

static struct str volume_limit(const struct val *volume)
{
    struct str limit = val_text_at(volume, N(emptyDir), N(sizeLimit));
    return limit.n && quantity_value(limit) > 0 && !val_text_at(volume, N(emptyDir), N(medium)).n ? limit : STR_NONE;
}

struct str pressure_over_limit(struct arena *a, const struct obj *pod, const struct disk_use *use,
                               const char **signal)
{
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        struct str limit = volume_limit(v), name = val_text_at(v, N(name));
        array_each (part, &use->parts)
            if (limit.n && part->what == DISK_VOLUME && str_eq(part->name, name) && volume_over(part, limit)) {
                *signal = "emptydirfs.limit";
                return arena_fmt(a, "Usage of EmptyDir volume \"" STR_FMT "\" exceeds the limit \"" STR_FMT "\". ",
                                 STR_ARG(name), STR_ARG(limit));
            }
    }
    struct str all = limit_of_all(a, pod);
    int64_t used = 0;
    bool hidden = false;
    array_each (part, &use->parts) {
        bool counts = part->what != DISK_VOLUME || part->local;
        used += counts ? part->bytes : 0;
        hidden = hidden || (counts && part->hidden);
    }
    if (all.n && (hidden || used > quantity_value(all))) {
        *signal = "ephemeralpodfs.limit";
        return arena_fmt(a, "Pod ephemeral local storage usage exceeds the total limit of containers " STR_FMT ". ",
                         STR_ARG(all));
    }
    val_each_item (c, val_get(obj_spec(pod), N(containers))) {
        struct str limit = limit_of(c), name = val_text_at(c, N(name));
        int64_t mine = 0;
        bool unseen = false;
        array_each (part, &use->parts)
            if (part->what != DISK_VOLUME && str_eq(part->name, name)) {
                mine += part->bytes;
                unseen = unseen || part->hidden;
            }
        if (!limit.n || quantity_value(limit) == 0 || (!unseen && mine <= quantity_value(limit)))
            continue;
        *signal = "ephemeralcontainerfs.limit";
        return arena_fmt(a, "Container " STR_FMT " exceeded its local ephemeral storage limit \"" STR_FMT "\". ",
                         STR_ARG(name), STR_ARG(limit));
    }
    return S("");
}

bool pressure_has_limit(const struct obj *pod)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (limit_of_all(&a, pod).n)
        return true;
    val_each_item (v, val_get(obj_spec(pod), N(volumes)))
        if (volume_limit(v).n)
            return true;
    return false;
}
