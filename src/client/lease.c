#include "client/lease.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/loop.h"

/* A holder's clock is not ours: what counts is when we saw its renewal change, by our clock (client-go does the
 * same). */
struct lease {
    struct transport *t;
    struct lease_options o;
    struct obj *owner;
    char *ns, *name, *holder;
    struct call call;
    struct timer timer;
    struct timer expiry; /* the lease runs out whether or not the server answers */
    struct obj *seen;    /* the newest we read; NULL: none, or not there */
    int64_t seen_at;     /* mono: when its renewal was new to us */
    int64_t renewed_at;  /* mono: when our last renewal was sent; 0: we do not hold it */
    bool held;
};

static void again(struct lease *l, int64_t delay)
{
    timer_set(&l->timer, delay);
}

static void hold_end(struct lease *l)
{
    if (!l->held)
        return;
    l->held = false;
    if (l->o.lost)
        l->o.lost(l->o.arg);
}

static struct str renewal(const struct obj *o)
{
    return val_text_at(obj_spec(o), N(renewTime));
}

static void seen_set(struct lease *l, struct obj *o)
{
    if (!o || !l->seen || !str_eq(renewal(o), renewal(l->seen)))
        l->seen_at = clock_mono();
    if (o)
        obj_ref(o);
    obj_unref(l->seen);
    l->seen = o;
}

static bool is_free(const struct lease *l)
{
    struct str holder = val_text_at(obj_spec(l->seen), N(holderIdentity));
    if (!l->o.elect || holder.n == 0 || str_eqz(holder, l->holder))
        return true;
    return clock_mono() - l->seen_at > ns_of_seconds(val_num_at(obj_spec(l->seen), 15, N(leaseDurationSeconds)));
}

static int64_t duration(const struct lease *l)
{
    return l->o.duration_s * NS_PER_S;
}

static void written(struct call *c)
{
    struct lease *l = container_of(c, struct lease, call);
    if (c->ok) {
        seen_set(l, c->obj);
        timer_set(&l->expiry, duration(l) - (clock_mono() - l->renewed_at));
        if (!l->held) {
            l->held = true;
            if (l->o.got)
                l->o.got(l->o.arg);
        }
        again(l, l->o.renew_ns - (clock_mono() - l->renewed_at));
        return;
    }
    log_debug("lease.write", "name=%s error=%s", l->name, c->err.text);
    if (c->err.kind == E_CONFLICT || c->err.kind == E_NOT_FOUND || c->err.kind == E_ALREADY_EXISTS)
        seen_set(l, NULL); /* read it anew */
    again(l, MIN(NS_PER_S, l->o.renew_ns));
}

static struct val body_make(const struct lease *l, struct arena *a)
{
    struct val v = l->seen ? val_copy(a, &l->seen->tree) : val_map();
    struct val *spec, now = val_str(a, time_text_micro(a, clock_real()));
    if (!l->seen) {
        struct val *meta = val_set(a, &v, N(metadata), val_map());
        val_set_text(a, &v, N(apiVersion), K(Lease)->api_version);
        val_set_text(a, &v, N(kind), S("Lease"));
        val_set_text(a, meta, N(name), str_of(l->name));
        val_set_text(a, meta, N(namespace), str_of(l->ns));
    }
    spec = val_need_map(a, &v, N(spec));
    if (!str_eqz(val_text_at(spec, N(holderIdentity)), l->holder)) {
        if (l->o.elect) {
            val_set(a, spec, N(acquireTime), now);
            val_set_num(a, spec, N(leaseTransitions), l->seen ? val_num_at(spec, 0, N(leaseTransitions)) + 1 : 0);
        }
        val_set(a, spec, N(holderIdentity), val_str(a, str_of(l->holder)));
    }
    val_set_num(a, spec, N(leaseDurationSeconds), l->o.duration_s);
    val_set(a, spec, N(renewTime), now);
    if (l->owner && !val_get(val_get(&v, N(metadata)), N(ownerReferences))) {
        struct val list = val_list(), r = val_map();
        val_set_text(a, &r, N(apiVersion), l->owner->kind->api_version);
        val_set_text(a, &r, N(kind), l->owner->kind->kind);
        val_set_text(a, &r, N(name), l->owner->name);
        val_set_text(a, &r, N(uid), l->owner->uid);
        val_add(a, &list, r);
        val_set(a, val_need_map(a, &v, N(metadata)), N(ownerReferences), list);
    }
    return v;
}

static void write_ours(struct lease *l)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val body = body_make(l, &a);
    struct call_options o = CALL_OPTIONS(.verb = l->seen ? CALL_UPDATE : CALL_CREATE, .kind = K(Lease),
                                         .ns = str_of(l->ns), .name = str_of(l->name), .body = &body,
                                         .expect_rev = l->seen ? l->seen->rev : 0);
    l->renewed_at = clock_mono();
    l->call.done = written;
    call_start(&l->call, l->t, &o);
}

static void read_done(struct call *c)
{
    struct lease *l = container_of(c, struct lease, call);
    if (!c->ok && c->err.kind != E_NOT_FOUND) {
        log_debug("lease.read", "name=%s error=%s", l->name, c->err.text);
        again(l, MIN(NS_PER_S, l->o.renew_ns));
        return;
    }
    seen_set(l, c->ok ? c->obj : NULL);
    if (l->seen && !is_free(l)) {
        hold_end(l);
        again(l, l->o.renew_ns / 2 + (int64_t)random_below((uint64_t)l->o.renew_ns));
        return;
    }
    write_ours(l);
}

static void expired(struct timer *t)
{
    hold_end(container_of(t, struct lease, expiry));
}

static void due(struct timer *t)
{
    struct lease *l = container_of(t, struct lease, timer);
    if (l->seen && l->held) {
        write_ours(l);
        return;
    }
    struct call_options o = CALL_OPTIONS(.verb = CALL_GET, .kind = K(Lease), .ns = str_of(l->ns),
                                         .name = str_of(l->name));
    l->call.done = read_done;
    call_start(&l->call, l->t, &o);
}

struct lease *lease_new(struct transport *t, const struct lease_options *o)
{
    struct lease *l = NEW(struct lease);
    l->t = t;
    l->o = *o;
    l->ns = str_dupz(o->ns);
    l->name = str_dupz(o->name);
    l->holder = str_dupz(o->holder);
    l->owner = o->owner ? obj_ref((struct obj *)o->owner) : NULL;
    timer_init(&l->timer, t->loop, due);
    timer_init(&l->expiry, t->loop, expired);
    return l;
}

void lease_start(struct lease *l)
{
    timer_set(&l->timer, 0);
}

void lease_free(struct lease *l)
{
    if (!l)
        return;
    timer_stop(&l->timer);
    timer_stop(&l->expiry);
    call_cancel(&l->call);
    obj_unref(l->seen);
    obj_unref(l->owner);
    mem_free(l->ns);
    mem_free(l->name);
    mem_free(l->holder);
    mem_free(l);
}

bool lease_held(const struct lease *l)
{
    return l->held;
}
