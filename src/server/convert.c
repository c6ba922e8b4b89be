#include "api/custom.h"
#include "server/int.h"

/* Kinds that two groups serve are stored once: Event as v1 and events.k8s.io/v1, HorizontalPodAutoscaler as
 * autoscaling/v2 and v1. The other form is made when it is asked for. */

struct renamed {
    const struct name *stored, *served;
};
static const struct renamed event_fields[] = {
    {N(message), N(note)},
    {N(involvedObject), N(regarding)},
    {N(source), N(deprecatedSource)},
    {N(firstTimestamp), N(deprecatedFirstTimestamp)},
    {N(lastTimestamp), N(deprecatedLastTimestamp)},
    {N(count), N(deprecatedCount)},
    {N(reportingComponent), N(reportingController)},
};

static const struct name *name_renamed(const struct name *n, bool to_served)
{
    for (size_t i = 0; i < countof(event_fields); i++) {
        if (to_served && event_fields[i].stored == n)
            return event_fields[i].served;
        if (!to_served && event_fields[i].served == n)
            return event_fields[i].stored;
    }
    return n;
}

static struct val convert_event(struct arena *a, const struct val *v, const struct kind *to)
{
    struct val out = val_map();
    val_each_member (m, v)
        val_set(a, &out, name_renamed(m->name, to == K(events_k8s_io_Event)), val_copy(a, &m->v));
    return out;
}

static struct val fields_convert(struct arena *a, const struct val *v, const struct kind *from, const struct kind *to)
{
    struct val out;
    if (to->custom) /* only what is stored gets defaults: those of the version that shows it are not its own */
        return custom_as(a, to, v, to->storage == to || str_eq(val_text_at(v, N(apiVersion)), to->api_version));
    if (to->live) /* versions of a kind of run time differ in their names alone */
        out = val_copy(a, v);
    else if (from == K(Event) || to == K(Event))
        out = convert_event(a, v, to);
    else if (to == K(autoscaling_v1_HorizontalPodAutoscaler))
        out = hpa_to_v1(a, v);
    else
        out = hpa_to_v2(a, v);
    val_set_text(a, &out, N(kind), to->kind);
    val_set_text(a, &out, N(apiVersion), to->api_version);
    return out;
}

struct val tree_as(struct arena *a, const struct kind *from, const struct kind *to, const struct val *tree)
{
    return from == to || kind_same(from, to) ? *tree : fields_convert(a, tree, from, to);
}

const struct kind *kind_newest(const struct kind_set *set, const struct obj *o, const struct kind *k)
{
    AUTO(strbuf_fini) struct strbuf resource = STRBUF(STRBUF_TEXT);
    strbuf_add(&resource, k->plural);
    strbuf_addc(&resource, '.');
    strbuf_add(&resource, k->group);
    const struct kind *own = kind_set_find_stored(set, val_text_at(&o->tree, N(apiVersion)), k->kind,
                                                  strbuf_str(&resource));
    return own && str_eq(own->api_version, val_text_at(&o->tree, N(apiVersion))) ? own : NULL;
}

struct val object_newest(struct arena *a, const struct kind_set *set, const struct obj *o)
{
    const struct kind *own = kind_newest(set, o, o->kind);
    return own && own->custom && own != o->kind ? custom_as(a, own, &o->tree, true) : o->tree;
}

struct obj *object_as(const struct kind_set *set, const struct kind *k, struct obj *o)
{
    if (k == o->kind || (!k->custom && kind_same(k, o->kind))) /* same: it was replaced since */
        return obj_ref(o);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    if (k->custom) {
        v = object_newest(&a, set, o);
        v = custom_as(&a, k, &v, str_eq(val_text_at(&v, N(apiVersion)), k->api_version));
    } else {
        v = fields_convert(&a, &o->tree, o->kind, k);
    }
    struct obj *as = obj_new(k, &v, o->rev);
    obj_set_managed(as, o->managed);
    return as;
}

struct obj *object_from(const struct kind *k, const struct val *tree, const struct obj *was)
{
    if (!k->storage || k->storage == k)
        return obj_new_packed(k, tree, 0, was);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = fields_convert(&a, tree, k, k->storage);
    return obj_new(k->storage, &v, 0);
}
