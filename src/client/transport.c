#include "client/transport.h"
#include "sys/loop.h"

void transport_free(struct transport *t)
{
    if (t)
        t->ops->free(t);
}

void transport_post(struct transport *t, void (*fn)(void *arg), void *arg)
{
    loop_post(t->loop, fn, arg);
}

void call_begin(struct call *c, struct transport *t)
{
    ASSERT(!c->transport);
    void (*done)(struct call *) = c->done;
    void (*data)(struct call *, struct str) = c->data;
    size_t max = c->max_bytes;
    *c = (struct call){.transport = t, .done = done, .data = data, .max_bytes = max ? max : 64u << 20};
    list_init(&c->node);
}

static void answer_free(struct arena *arena, struct obj *obj, struct obj **items, size_t n)
{
    obj_unref(obj);
    for (size_t i = 0; i < n; i++)
        obj_unref(items[i]);
    arena_fini(arena);
}

void call_finish(struct call *c)
{
    list_del(&c->node);
    c->transport = NULL;
    c->impl = NULL;
    if (c->keep) {
        c->done(c);
        return;
    }
    /* done may free the call or start it again, so what it holds is moved out first */
    struct arena arena = c->arena;
    struct obj *obj = c->obj, **items = c->items;
    size_t n = c->n;
    c->arena = ARENA;
    c->done(c);
    answer_free(&arena, obj, items, n);
}

void call_start(struct call *c, struct transport *t, const struct call_options *o)
{
    call_begin(c, t);
    t->ops->call_start(t, c, o);
}

void call_cancel(struct call *c)
{
    if (!c->transport)
        return;
    struct transport *t = c->transport;
    t->ops->call_cancel(t, c);
    list_del(&c->node);
    c->transport = NULL;
    c->impl = NULL;
    answer_free(&c->arena, c->obj, c->items, c->n);
    c->obj = NULL;
    c->items = NULL;
    c->n = 0;
}

bool call_active(const struct call *c)
{
    return c->transport != NULL;
}

struct obj *call_take_obj(struct call *c)
{
    return c->obj ? obj_ref(c->obj) : NULL;
}

void call_fini(struct call *c)
{
    call_cancel(c);
    answer_free(&c->arena, c->obj, c->items, c->n);
    *c = (struct call){.done = c->done, .data = c->data};
}

static void run_done(struct call *c)
{
    (void)c; /* call_run sees that it is over */
}

bool call_run(struct call *c, struct transport *t, const struct call_options *o, struct err *err)
{
    call_fini(c);
    c->done = run_done;
    call_begin(c, t);
    c->keep = true;
    t->ops->call_start(t, c, o);
    while (call_active(c) && loop_run_once(t->loop, NS_PER_S))
        ;
    if (call_active(c)) {
        call_cancel(c);
        return err_set(err, E_CANCELLED, "interrupted");
    }
    if (!c->ok)
        *err = c->err;
    return c->ok;
}

void watch_start(struct watch *w, struct transport *t, const struct watch_options *o)
{
    ASSERT(!w->transport);
    w->transport = t;
    w->impl = NULL;
    list_init(&w->node);
    t->ops->watch_start(t, w, o);
}

void watch_stop(struct watch *w)
{
    if (!w->transport)
        return;
    w->transport->ops->watch_stop(w->transport, w);
    list_del(&w->node);
    w->transport = NULL;
    w->impl = NULL;
}

bool watch_active(const struct watch *w)
{
    return w->transport != NULL;
}

void watch_over(struct watch *w, const struct err *err)
{
    list_del(&w->node);
    w->transport = NULL;
    w->impl = NULL;
    w->ended(w, err);
}

void upgrade_start(struct upgrade *u, struct transport *t, struct str path_and_query, const char *protocols)
{
    ASSERT(t->ops->upgrade_start);
    u->transport = t;
    u->impl = NULL;
    u->queued = 0;
    t->ops->upgrade_start(t, u, path_and_query, protocols);
}

void upgrade_send(struct upgrade *u, struct str message, bool binary)
{
    if (u->transport)
        u->transport->ops->upgrade_send(u->transport, u, message, binary);
}

void upgrade_close(struct upgrade *u)
{
    if (u->transport)
        u->transport->ops->upgrade_close(u->transport, u);
    u->transport = NULL;
}
