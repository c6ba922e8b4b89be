#include "api/codec.h"
#include "api/formats.h"
#include "api/quantity.h"
#include "server/measured.h"

void measured_usage_fini(struct measured_usage *u)
{
    map_fini(&u->pods);
    arena_fini(&u->arena);
    *u = (struct measured_usage){0};
}

bool measured_read(struct measured_usage *u, struct str text, struct err *err)
{
    *u = (struct measured_usage){0};
    if (text.n > MEASURED_MOST)
        return err_set(err, E_TOO_LARGE, "the node says more than %d bytes", MEASURED_MOST);
    if (!json_decode(&u->arena, text, &u->tree, err))
        return false;
    if (u->tree.type != VAL_MAP)
        return err_set(err, E_INVALID, "the node says no object");
    val_each_item (pod, val_get_str(&u->tree, S("pods"))) {
        struct str ns = val_text(val_get_str(pod, S("ns"))), name = val_text(val_get_str(pod, S("name")));
        (void)map_put(&u->pods, arena_fmt(&u->arena, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name)),
                      (void *)(uintptr_t)pod); /* the newer of two */
    }
    return true;
}

/* A number that is not negative, whatever was said. */
static double number_of(const struct val *v, const char *name)
{
    const struct val *n = val_get_str(v, str_of(name));
    double d = !n ? 0 : n->type == VAL_INT ? (double)n->i : n->type == VAL_DOUBLE ? n->d : 0;
    return d >= 0 && d < 9e18 ? d : 0; /* not a number is not */
}

static struct val usage_of(struct arena *a, const struct val *from)
{
    struct val usage = val_map();
    struct str cpu = arena_fmt(a, "%lldn", (long long)number_of(from, "cpu")), canonical;
    struct err ignored = ERR; /* a whole number of billionths is a quantity, and stays as it is */
    if (!quantity_canonical(a, cpu, &canonical, &ignored))
        canonical = cpu;
    val_set_str(a, &usage, S("cpu"), val_str(a, canonical));
    val_set_str(a, &usage, S("memory"), val_str(a, quantity_of_bytes(a, (int64_t)number_of(from, "memory"))));
    return usage;
}

static struct val object_begin(struct arena *a, const struct kind *k, const struct obj *of, const struct val *usage,
                               int64_t now)
{
    AUTO(strbuf_fini) struct strbuf window = STRBUF(64);
    struct val v = val_map();
    val_set_text(a, &v, N(kind), k->kind);
    val_set_text(a, &v, N(apiVersion), k->api_version);
    struct val *meta = val_need_map(a, &v, N(metadata));
    val_set_text(a, meta, N(name), of->name);
    if (of->ns.n)
        val_set_text(a, meta, N(namespace), of->ns);
    val_set_text(a, meta, N(creationTimestamp), time_text(a, now / NS_PER_S * NS_PER_S));
    if (val_len(obj_labels(of)))
        val_set(a, meta, N(labels), val_copy(a, obj_labels(of)));
    struct str time = val_text(val_get_str(usage, S("time")));
    int64_t at;
    if (!time_parse(time, &at))
        at = now;
    val_set_text(a, &v, N(timestamp), time_text(a, at / NS_PER_S * NS_PER_S));
    goduration_add(&window, (int64_t)(MIN(number_of(usage, "window"), 1e9) * 1e3) * NS_PER_MS);
    val_set_text(a, &v, N(window), str_dup(a, strbuf_str(&window)));
    return v;
}

struct val measured_node(struct arena *a, const struct obj *node, const struct val *usage, int64_t now)
{
    struct val v = object_begin(a, K(NodeMetrics), node, usage, now);
    val_set(a, &v, N(usage), usage_of(a, usage));
    return v;
}

struct val measured_pod(struct arena *a, const struct obj *pod, const struct val *usage, int64_t now)
{
    struct val v = object_begin(a, K(PodMetrics), pod, usage, now);
    struct val *list = val_set(a, &v, N(containers), val_list());
    val_each_item (c, val_get_str(usage, S("containers"))) {
        struct val *one = val_add(a, list, val_map());
        val_set_text(a, one, N(name), str_dup(a, val_text(val_get_str(c, S("name")))));
        val_set(a, one, N(usage), usage_of(a, c));
    }
    return v;
}
