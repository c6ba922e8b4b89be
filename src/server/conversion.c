#include "server/conversion.h"
#include "api/codec.h"
#include "api/custom.h"
#include "server/conversion_review.h"
#include "server/crds.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/outbound.h"

enum { REVIEW_OBJECTS = 500, REVIEW_BYTES = 1 << 19, REVIEW_SECONDS = 30 };

struct conversion_object {
    const struct kind *to; /* counted */
    const struct val *in;
    struct val out;
    bool there;
};
struct conversion {
    struct server *server;
    struct list node; /* in server->conversions */
    struct arena arena;
    ARRAY(struct conversion_object) objects;
    void (*done)(struct conversion *c, const struct err *err);
    void *arg;
    struct soon over; /* without an answer, or without a question */
    struct err err;
    struct outbound_call call;
    /* the review that is under way */
    struct conversion_review review;
    const struct val *in[REVIEW_OBJECTS];
    size_t which[REVIEW_OBJECTS];
};

struct conversion *conversion_new(struct server *s, void (*done)(struct conversion *c, const struct err *err),
                                  void *arg)
{
    struct conversion *c = NEW(struct conversion);
    *c = (struct conversion){.server = s, .arena = ARENA, .done = done, .arg = arg};
    list_init(&c->node);
    return c;
}

void conversion_free(struct conversion *c)
{
    if (!c)
        return;
    outbound_cancel(&c->call);
    if (c->over.fn)
        soon_stop(&c->over);
    list_del(&c->node);
    array_each (it, &c->objects)
        kind_unref(it->to);
    array_fini(&c->objects);
    arena_fini(&c->arena);
    mem_free(c);
}

size_t conversion_add(struct conversion *c, const struct kind *to, const struct val *tree)
{
    array_push(&c->objects, ((struct conversion_object){.to = kind_ref(to), .in = tree}));
    return c->objects.n - 1;
}

size_t conversion_add_obj(struct conversion *c, const struct kind_set *set, const struct kind *to,
                          const struct obj *o)
{
    struct val *v = ARENA_NEW(&c->arena, struct val);
    *v = object_newest(&c->arena, set, o);
    return conversion_add(c, to, v);
}

size_t conversion_len(const struct conversion *c)
{
    return c->objects.n;
}

void *conversion_arg(const struct conversion *c)
{
    return c->arg;
}

const struct val *conversion_out(const struct conversion *c, size_t i)
{
    return &c->objects.p[i].out;
}

struct obj *conversion_obj(const struct conversion *c, size_t i, const struct obj *was)
{
    struct obj *as = obj_new(c->objects.p[i].to, conversion_out(c, i), was->rev);
    obj_set_managed(as, was->managed);
    return as;
}

bool conversion_needed(const struct kind *k, const struct obj *o)
{
    return k->custom && k != o->kind && custom_needs_webhook(k, &o->tree);
}

/* --- a review after the other --- */

static void conversion_over(struct soon *s)
{
    struct conversion *c = container_of(s, struct conversion, over);
    c->done(c, c->err.kind ? &c->err : NULL);
}

static void conversion_ends(struct conversion *c)
{
    if (!c->over.fn)
        soon_init(&c->over, c->server->loop, conversion_over);
    soon_set(&c->over);
}

static void next_review(struct conversion *c);

static void review_answered(struct outbound_call *call, const struct http_answer *a, const struct err *err)
{
    struct conversion *c = container_of(call, struct conversion, call);
    struct val *out = arena_alloc(&c->arena, c->review.n * sizeof *out);
    if (err)
        conversion_failed(c->in[0], err->text, &c->err);
    else if (conversion_review_read(&c->arena, &c->review, a->body, out, &c->err))
        for (size_t i = 0; i < c->review.n; i++) {
            struct conversion_object *o = &c->objects.p[c->which[i]];
            o->out = custom_as(&c->arena, o->to, &out[i], false);
            o->there = true;
        }
    if (c->err.kind)
        c->done(c, &c->err);
    else
        next_review(c);
}

/* The definition may say by now that nobody is to be asked. */
static bool by_itself(struct conversion *c, struct conversion_object *o)
{
    if (o->there || custom_needs_webhook(o->to, o->in))
        return o->there;
    o->out = custom_as(&c->arena, o->to, o->in, true);
    return o->there = true;
}

static void next_review(struct conversion *c)
{
    size_t at = 0, n = 0, bytes = 0;
    while (at < c->objects.n && by_itself(c, &c->objects.p[at]))
        at++;
    if (at == c->objects.n) {
        conversion_ends(c);
        return;
    }
    const struct kind *to = c->objects.p[at].to;
    bool beta;
    struct outbound *hook = crds_hook(c->server, to, &beta);
    if (!hook || c->server->stopping) {
        conversion_failed(c->objects.p[at].in, hook ? "the server is stopping" : "its definition is gone", &c->err);
        conversion_ends(c);
        return;
    }
    AUTO(strbuf_fini) struct strbuf body = STRBUF(8 * LIMIT_BODY_BYTES), one = STRBUF(8 * LIMIT_BODY_BYTES);
    for (; at < c->objects.n && n < REVIEW_OBJECTS; at++) {
        const struct conversion_object *o = &c->objects.p[at];
        if (o->there || o->to != to)
            continue;
        strbuf_reset(&one);
        json_encode(&one, o->in);
        bytes += one.n;
        if (n && bytes > REVIEW_BYTES)
            break;
        c->in[n] = o->in;
        c->which[n++] = at;
    }
    c->review = (struct conversion_review){
        .uid = uid_new(&c->arena), .beta = beta, .api_version = to->api_version, .objects = c->in, .n = n};
    conversion_review_write(&body, &c->review);
    outbound_ask(hook, &c->call, &c->arena, strbuf_str(&body), REVIEW_SECONDS, review_answered);
}

void conversion_start(struct conversion *c)
{
    struct server *s = c->server;
    list_add_tail(&s->conversions, &c->node);
    next_review(c);
}

void conversions_stop(struct server *s)
{
    for (struct conversion *c; (c = list_first(&s->conversions, struct conversion, node));) {
        list_del(&c->node);
        outbound_cancel(&c->call);
        struct err err = ERR;
        (void)err_set(&err, E_UNAVAILABLE, "the server is stopping");
        c->done(c, &err);
    }
}

/* --- of what is read --- */

struct reading {
    struct request *r;
    struct obj **items;
    size_t *which; /* of the items */
    size_t n, room;
    struct err err;
    void (*done)(struct request *r);
};

static void reading_back(void *arg)
{
    struct reading *x = arg;
    if (x->err.kind == E_INTERNAL)
        fail_plain(x->r, 500, "%s", x->err.text);
    else if (x->err.kind)
        fail_err(x->r, &x->err);
    x->done(x->r);
}

static void reading_done(struct conversion *own_c, const struct err *err)
{
    struct reading *x = conversion_arg(own_c);
    if (err)
        x->err = *err;
    for (size_t i = 0; !err && i < x->n; i++) {
        struct obj **item = &x->items[x->which[i]], *was = *item;
        *item = conversion_obj(own_c, i, was);
        obj_unref(was);
    }
    conversion_free(own_c);
    struct request *r = x->r;
    if (r->loop == r->server->loop)
        reading_back(x);
    else
        loop_post(r->loop, reading_back, x);
}

static void reading_start(void *arg)
{
    struct reading *x = arg;
    struct request *r = x->r;
    struct conversion *c = conversion_new(r->server, reading_done, x);
    for (size_t i = 0; i < x->n; i++)
        (void)conversion_add_obj(c, r->kinds, r->kind, x->items[x->which[i]]);
    conversion_start(c);
}

bool conversion_of_items(struct request *r, struct obj **items, size_t n, void (*done)(struct request *r))
{
    if (r->as_stored || !r->kind->custom || !r->kind->custom->webhook)
        return false;
    struct reading *x = ARENA_NEW(&r->arena, struct reading);
    *x = (struct reading){.r = r, .items = items, .done = done};
    for (size_t i = 0; i < n; i++)
        x->room += conversion_needed(r->kind, items[i]);
    if (!x->room)
        return false;
    x->which = arena_alloc(&r->arena, x->room * sizeof *x->which);
    for (size_t i = 0; i < n; i++)
        if (conversion_needed(r->kind, items[i]))
            x->which[x->n++] = i;
    if (r->loop == r->server->loop)
        reading_start(x);
    else
        loop_post(r->server->loop, reading_start, x);
    return true;
}
