/* Steps one after another, as far as they go. What stops in between is in one of four places, which has it alone:
 * the queue of a key's turn, the list of those that wait for an answer from elsewhere, the store's queue, or the post
 * of `done` to whoever asked. */
#include "server/write.h"
#include "api/custom.h"
#include "api/tree.h"
#include "server/alloc.h"
#include "server/conversion.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/quota.h"

struct write *write_new(struct request *r, const struct write_step *steps)
{
    struct write *w = ARENA_NEW(&r->arena, struct write);
    *w = (struct write){.r = r, .first = steps, .steps = steps, .sub = r->sub, .code = 200};
    list_init(&w->queue);
    list_init(&w->waiting);
    r->write = w;
    return w;
}

static void write_forget(struct write *w)
{
    if (w->stored)
        obj_unref(TAKE(w->stored));
    if (w->cur)
        obj_unref(TAKE(w->cur));
    if (w->pending)
        obj_unref(TAKE(w->pending));
    alloc_released(w->r);
    quotas_released(w);
    w->tracked = w->applied = false;
}

void write_fini(struct write *w)
{
    ASSERT(!w->cancel);
    write_forget(w);
    turn_done(w);
}

static enum write_next versions_ask(struct write *w);

static enum write_next write_step(struct write *w)
{
    const struct write_step *steps = w->steps;
    bool tracked = w->tracked, applied = w->applied;
    size_t warned = w->r->answer.warnings.n;
    ASSERT(steps[w->at].name);
    enum write_next next = steps[w->at].run(w);
    if (next != WRITE_LATER && w->missing) { /* as if it had not run */
        answer_reset(w->r);
        w->r->answer.warnings.n = warned;
        w->tracked = tracked;
        w->applied = applied;
        return versions_ask(w);
    }
    if (next == WRITE_ON && steps == w->steps)
        w->at++;
    return next;
}

/* The last step may have ended the request, and w with it, where it says WRITE_LATER. */
static void write_run(struct write *w)
{
    enum write_next next = WRITE_ON;
    work_begin(LIMIT_WORK_STEPS);
    while (next == WRITE_ON)
        next = write_step(w);
    work_end();
    if (next == WRITE_OVER)
        request_finish(w->r);
}

void write_start(struct write *w)
{
    write_run(w);
}

enum write_next write_steps(struct write *w, const struct write_step *steps)
{
    w->steps = steps;
    w->at = 0;
    return WRITE_ON;
}

void write_done(struct write *w)
{
    w->at++;
    write_run(w);
}

bool write_again(struct write *w)
{
    if (!w->has_turn || w->tries >= WRITE_TRIES)
        return false;
    w->tries++;
    write_forget(w);
    answer_reset(w->r);
    w->r->answer.warnings.n = w->warned;
    w->steps = w->first;
    w->at = w->turn_at;
    w->admission.at = 0;
    write_run(w);
    return true;
}

/* --- waiting for an answer from elsewhere --- */

static bool is_cancelled(const struct request *r)
{
    for (; r; r = r->parent)
        if (__atomic_load_n(&r->cancelled, __ATOMIC_ACQUIRE))
            return true;
    return false;
}

bool write_wait(struct write *w, void (*cancel)(struct write *w))
{
    struct server *s = w->r->server;
    ASSERT(!w->cancel);
    if (s->writes_waiting >= LIMIT_WRITES_WAITING)
        return fail_too_many(w->r, 1, "%d writes are waiting; try again later", LIMIT_WRITES_WAITING);
    s->writes_waiting++;
    w->cancel = cancel;
    w->rests = w->has_turn;
    list_add_tail(&s->waiting, &w->waiting);
    turn_done(w);
    if (s->stopping || is_cancelled(w->r))
        soon_set(&s->leaving);
    return true;
}

static void write_cancelled(struct write *w)
{
    bool stopping = w->r->server->stopping;
    fail_unavailable(w->r, stopping ? "the server is stopping" : "nobody waits for the answer any more");
    request_finish(w->r);
}

static void (*write_waited(struct write *w))(struct write *w)
{
    list_del(&w->waiting);
    w->r->server->writes_waiting--;
    return TAKE(w->cancel);
}

void write_turn_came(struct write *w)
{
    if (!w->rests) {
        write_run(w);
        return;
    }
    w->rests = false;
    if (object_of(store_get(w->r->server->store, w->key)) == w->stored) { /* which is held, so it is the same one */
        write_run(w);
    } else if (!write_again(w)) {
        fail_conflict(w->r, CONFLICT_MODIFIED);
        request_finish(w->r);
    }
}

void write_resume(struct write *w)
{
    ASSERT(w->cancel);
    (void)write_waited(w);
    if (is_cancelled(w->r)) {
        write_cancelled(w);
        return;
    }
    switch (w->rests ? turn_take(w) : WRITE_ON) {
    case WRITE_ON: write_turn_came(w); return;
    case WRITE_LATER: return;
    case WRITE_OVER: request_finish(w->r); return;
    }
}

void writes_cancel(struct server *s)
{
    list_each (w, &s->waiting, struct write, waiting) {
        if (!s->stopping && !is_cancelled(w->r))
            continue;
        write_waited(w)(w);
        write_cancelled(w);
    }
}

/* --- other versions --- */

struct write_version {
    struct write_version *next;
    const struct kind *to; /* counted by who asks: the request's set has it */
    struct val in;
    const struct val *out; /* NULL: not yet, or err */
    struct err err;
    bool asked;
};

/* What a webhook may look at is the same: of metadata the rest is the server's, in any version. */
static bool reads_same(const struct val *a, const struct val *b)
{
    static const struct name *const looked_at[] = {N(name), N(namespace), N(labels), N(annotations)};
    const struct val *meta_a = val_get(a, N(metadata)), *meta_b = val_get(b, N(metadata));
    for (size_t i = 0; i < countof(looked_at); i++)
        if (!val_equal(val_get(meta_a, looked_at[i]), val_get(meta_b, looked_at[i])))
            return false;
    val_each_member (m, a)
        if (m->name != N(metadata) && !val_equal(&m->v, val_get(b, m->name)))
            return false;
    return val_len(a) == val_len(b);
}

static struct write_version *version_find(struct write *w, const struct kind *to, const struct val *tree)
{
    for (struct write_version *v = w->versions; v; v = v->next)
        if (v->to == to && reads_same(&v->in, tree))
            return v;
    return NULL;
}

/* With the metadata of what it is of, but for what is the webhook's. */
static const struct val *version_of(struct arena *a, const struct write_version *v, const struct val *tree)
{
    static const struct name *const its[] = {N(labels), N(annotations)};
    struct val meta = val_copy(a, val_get(tree, N(metadata))), *out = ARENA_NEW(a, struct val);
    for (size_t i = 0; i < countof(its); i++) {
        const struct val *texts = val_at(v->out, N(metadata), its[i]);
        if (texts)
            val_set(a, &meta, its[i], val_copy(a, texts));
        else
            val_del(&meta, its[i]);
    }
    *out = val_copy(a, v->out);
    val_set(a, out, N(metadata), meta);
    return out;
}

/* A webhook that is right makes of what it has made what it was made of. */
static void version_known(struct write *w, const struct kind *to, const struct val *in, const struct val *out)
{
    struct arena *a = &w->r->arena;
    struct write_version *v = ARENA_NEW(a, struct write_version);
    struct val *known = ARENA_NEW(a, struct val);
    *known = val_copy(a, out);
    *v = (struct write_version){.next = w->versions, .to = to, .in = val_copy(a, in), .out = known, .asked = true};
    w->versions = v;
}

enum converted write_as(struct write *w, const struct kind *from, const struct kind *to, const struct val *tree,
                        const struct val **out, struct err *err)
{
    struct arena *a = &w->r->arena;
    if (from == to || !custom_needs_webhook(to, tree)) {
        struct val *v = ARENA_NEW(a, struct val);
        *v = tree_as(a, from, to, tree);
        *out = v;
        return CONVERTED;
    }
    struct write_version *v = version_find(w, to, tree);
    if (!v) {
        v = ARENA_NEW(a, struct write_version);
        *v = (struct write_version){.next = w->versions, .to = to, .in = val_copy(a, tree)};
        w->versions = v;
    }
    *out = v->out ? version_of(a, v, tree) : NULL;
    if (v->err.kind)
        *err = v->err;
    w->missing |= !v->out && !v->err.kind;
    return v->out ? CONVERTED : v->err.kind ? CONVERTED_NOT : CONVERTING;
}

static void versions_cancel(struct write *w)
{
    conversion_free(TAKE(w->conversion));
}

static void versions_came(struct conversion *own_c, const struct err *err)
{
    struct write *w = conversion_arg(own_c);
    struct arena *a = &w->r->arena;
    size_t i = 0;
    for (struct write_version *v = w->versions; v; v = v->next) {
        if (v->asked)
            continue;
        v->asked = true;
        if (err) {
            v->err = *err;
            continue;
        }
        struct val *out = ARENA_NEW(a, struct val);
        *out = val_copy(a, conversion_out(own_c, i++));
        v->out = out;
    }
    w->conversion = NULL;
    conversion_free(own_c);
    write_resume(w);
}

/* What is asked for after the commit holds nobody up, and nothing starts over for it. */
static enum write_next versions_ask(struct write *w)
{
    w->missing = false;
    if (!write_wait(w, versions_cancel))
        return WRITE_OVER;
    if (w->pending)
        w->rests = false;
    w->conversion = conversion_new(w->r->server, versions_came, w);
    for (struct write_version *v = w->versions; v; v = v->next)
        if (!v->asked)
            (void)conversion_add(w->conversion, v->to, &v->in);
    conversion_start(w->conversion);
    return WRITE_LATER;
}

struct obj *write_seen(struct write *w, struct obj *stored)
{
    struct request *r = w->r;
    if (!conversion_needed(r->kind, stored))
        return object_as(r->kinds, r->kind, stored);
    struct val newest = object_newest(&r->arena, r->kinds, stored);
    const struct val *out;
    struct err err = ERR;
    switch (write_as(w, stored->kind, r->kind, &newest, &out, &err)) {
    case CONVERTING: return NULL;
    case CONVERTED_NOT: fail_plain(r, 500, "%s", err.text); return NULL;
    case CONVERTED: break;
    }
    const struct kind *own = kind_newest(r->kinds, stored, r->kind);
    if (own && stored == w->stored)
        version_known(w, own, out, &newest);
    struct obj *as = obj_new(r->kind, out, stored->rev);
    obj_set_managed(as, stored->managed);
    return as;
}

struct obj *write_form(struct write *w)
{
    struct request *r = w->r;
    if (!r->kind->custom)
        return object_from(r->kind, w->tree, w->stored);
    const struct kind *k = w->keeps ? w->keeps : r->kind->storage ? r->kind->storage : r->kind;
    const struct val *out;
    struct err err = ERR;
    switch (write_as(w, r->kind, k, w->tree, &out, &err)) {
    case CONVERTING: return NULL;
    case CONVERTED_NOT: fail_plain(r, 500, "%s", err.text); return NULL;
    case CONVERTED: break;
    }
    return obj_new(k, out, 0);
}

/* --- steps that many lists have --- */

enum write_next write_turn(struct write *w)
{
    struct request *r = w->r;
    if (!w->key.n)
        w->key = object_key(&r->arena, r->kind, r->ns, r->name);
    w->turn_at = w->at;
    w->warned = r->answer.warnings.n;
    return turn_take(w);
}

enum write_next write_stored(struct write *w)
{
    struct obj *o = object_of(store_get(w->r->server->store, w->key));
    w->stored = o ? obj_ref(o) : NULL;
    if (o)
        return WRITE_ON;
    fail_not_found(w->r);
    return WRITE_OVER;
}

enum write_next write_current(struct write *w)
{
    enum write_next next = w->stored ? WRITE_ON : write_stored(w);
    if (next != WRITE_ON)
        return next;
    AUTO(obj_unref) struct obj *as = write_seen(w, w->stored);
    w->cur = as ? obj_whole(as) : NULL;
    return w->cur ? WRITE_ON : WRITE_OVER;
}

static enum write_next write_after_admit(struct write *w, bool admitted)
{
    return admitted ? WRITE_ON : w->cancel ? WRITE_LATER : WRITE_OVER;
}

enum write_next write_mutate(struct write *w)
{
    return write_after_admit(w, admit_mutate(&w->admission));
}

enum write_next write_admit(struct write *w)
{
    return write_after_admit(w, admit_validate(&w->admission));
}

enum write_next write_answer(struct write *w)
{
    if (quotas_await(w))
        return WRITE_LATER;
    if (w->answer) {
        w->answer(w, w->pending);
    } else {
        AUTO(obj_unref)
        struct obj *as = w->r->as_stored ? object_as(w->r->kinds, w->r->kind, w->pending) : write_seen(w, w->pending);
        if (as)
            answer_obj(w->r, w->code, as);
    }
    return WRITE_OVER;
}
