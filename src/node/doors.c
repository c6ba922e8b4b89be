#include "node/doors.h"
#include "client/cache.h"

struct doors {
    struct cache *leases;
    struct cache_handler handler;
    char *node;
    bool own;
    void (*changed)(void *arg);
    void *arg;
};

static void lease_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct doors *d = container_of(h, struct doors, handler);
    if (was || now)
        d->changed(d->arg);
}

static void leases_synced(struct cache_handler *h)
{
    struct doors *d = container_of(h, struct doors, handler);
    d->changed(d->arg);
}

struct doors *doors_new(struct transport *t, struct str node, bool own, void (*changed)(void *arg), void *arg)
{
    struct doors *d = NEW(struct doors);
    d->node = str_dupz(node);
    d->own = own;
    d->changed = changed;
    d->arg = arg;
    d->leases = cache_new(t, &(struct cache_options){.kind = K(Lease),
                                                     .ns = S("kube-system"),
                                                     .label_selector = S("wherry.dev/edge=true")});
    d->handler = (struct cache_handler){.changed = lease_changed, .synced = leases_synced};
    cache_handler_add(d->leases, &d->handler);
    return d;
}

void doors_start(struct doors *d)
{
    cache_start(d->leases);
}

void doors_free(struct doors *d)
{
    if (!d)
        return;
    cache_handler_del(&d->handler);
    cache_free(d->leases);
    mem_free(d->node);
    mem_free(d);
}

bool doors_synced(const struct doors *d)
{
    return cache_synced(d->leases);
}

bool doors_behind(const struct doors *d, int64_t rev, struct strbuf *who)
{
    bool any = false;
    struct objset_iter it = objset_all(cache_set(d->leases));
    for (struct obj *o; (o = objset_next(&it));) {
        struct str node = val_text(val_get(obj_spec(o), N(holderIdentity)));
        int64_t applied = 0; /* what is no number has said nothing */
        if (str_to_i64(obj_note(o, "wherry.dev/applied"), 0, INT64_MAX, &applied) && applied >= rev)
            continue;
        if (str_eqz(node, d->node) && !d->own)
            continue;
        if (who)
            strbuf_addf(who, "%s" STR_FMT, any ? ", " : "", STR_ARG(node));
        any = true;
    }
    return any;
}
