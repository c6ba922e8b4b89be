#include "control/replies.h"
#include "api/codec.h"

#define KEPT (60 * NS_PER_S)
#define REPLY_MOST                                                                                                   \
    (16u << 20) /* bytes: metrics of some thirty thousand pods; a tree of them takes up to 25 times that */

/* A question under way. */
struct reply_asking {
    struct replies *replies;
    struct call call;
    struct list node;
    void (*done)(void *waiter);
    ARRAY(void *) waiting;
    char path[];
};
struct reply_kept {
    struct plan_reply reply; /* the first member: plans see it alone */
    struct arena arena;
};
struct memory_kept {
    struct val v;
    struct arena arena;
};

static void reply_free(struct reply_kept *k)
{
    if (k)
        arena_fini(&k->arena);
    mem_free(k);
}

static void memory_free(struct memory_kept *k)
{
    if (k)
        arena_fini(&k->arena);
    mem_free(k);
}

void replies_init(struct replies *r, struct transport *t)
{
    *r = (struct replies){.transport = t};
    list_init(&r->askings);
}

static void asking_free(struct reply_asking *q)
{
    list_del(&q->node);
    array_fini(&q->waiting);
    mem_free(q);
}

void replies_fini(struct replies *r)
{
    list_each (q, &r->askings, struct reply_asking, node) {
        call_cancel(&q->call);
        asking_free(q);
    }
    map_each (it, &r->kept)
        reply_free(it->value);
    map_each (it, &r->memory)
        memory_free(it->value);
    map_fini(&r->kept);
    map_fini(&r->memory);
}

static struct reply_kept *reply_of(struct call *c)
{
    struct reply_kept *k = NEW(struct reply_kept);
    struct err err = ERR;
    k->reply = (struct plan_reply){.at = clock_real(), .http = c->http, .body = VAL_NONE};
    if (c->ok && !json_decode(&k->arena, c->bytes, &k->reply.body, &err)) {
        k->reply.body = VAL_NONE;
        k->reply.text = str_dup(&k->arena, str_of(err.text));
    } else if (!c->ok) {
        k->reply.body = val_copy(&k->arena, c->tree);
        k->reply.text = str_dup(&k->arena, str_of(c->err.text));
    }
    return k;
}

static void asking_answered(struct call *c)
{
    struct reply_asking *q = container_of(c, struct reply_asking, call);
    reply_free(map_put(&q->replies->kept, str_of(q->path), reply_of(c)));
    array_each (waiter, &q->waiting)
        q->done(*waiter);
    asking_free(q);
}

void replies_ask(struct replies *r, struct str path, void (*done)(void *waiter), void *waiter)
{
    list_each (other, &r->askings, struct reply_asking, node)
        if (str_eqz(path, other->path)) {
            array_push(&other->waiting, waiter);
            return;
        }
    struct reply_asking *q = mem_alloc(sizeof *q + path.n + 1);
    *q = (struct reply_asking){
        .replies = r, .call = {.done = asking_answered, .max_bytes = REPLY_MOST}, .done = done};
    memcpy(q->path, path.p, path.n);
    q->path[path.n] = 0;
    array_push(&q->waiting, waiter);
    list_add_tail(&r->askings, &q->node);
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .method = "GET", .path = str_of(q->path));
    call_start(&q->call, r->transport, &o);
}

void replies_age(struct replies *r)
{
    int64_t now = clock_real();
    map_each (it, &r->kept) {
        const struct reply_kept *k = it->value;
        if (k->reply.at < now - KEPT || k->reply.at > now) /* the clock was set back */
            reply_free(map_del(&r->kept, it->key));
    }
}

void replies_remember(struct replies *r, struct str key, const struct val *v)
{
    struct memory_kept *k = NULL;
    if (val_is(v, VAL_MAP)) {
        k = NEW(struct memory_kept);
        k->v = val_copy(&k->arena, v);
    }
    memory_free(k ? map_put(&r->memory, key, k) : map_del(&r->memory, key));
}

const struct val *replies_memory(const struct replies *r, struct str key)
{
    const struct memory_kept *k = map_get(&r->memory, key);
    return k ? &k->v : NULL;
}
