/* Steps one after another, as far as they go. What stops in between is in one of four places, which has it alone:
 * the queue of a key's turn, the list of those that wait for an answer from elsewhere, the store's queue, or the post
 * of `done` to whoever asked. */
#include "server/write.h"
#include "api/tree.h"
#include "server/alloc.h"
#include "server/fail.h"
#include "server/limits.h"

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
    w->tracked = w->applied = false;
}

void write_fini(struct write *w)
{
    ASSERT(!w->cancel);
    write_forget(w);
    turn_done(w);
}

/* The last step may have ended the request, and w with it, where it says WRITE_LATER. */
static void write_run(struct write *w)
{
    enum write_next next = WRITE_ON;
    work_begin(LIMIT_WORK_STEPS);
    while (next == WRITE_ON) {
        const struct write_step *steps = w->steps;
        ASSERT(steps[w->at].name);
        next = steps[w->at].run(w);
        if (next == WRITE_ON && steps == w->steps)
            w->at++;
    }
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
    fail_plain(w->r, 503, stopping ? "the server is stopping" : "nobody waits for the answer any more");
    w->r->answer.fail.reason = "ServiceUnavailable";
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
    enum write_next next = write_stored(w);
    if (next != WRITE_ON)
        return next;
    AUTO(obj_unref) struct obj *as = object_as(w->r->kind, w->stored);
    w->cur = obj_whole(as);
    return next;
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
    if (w->answer) {
        w->answer(w, w->pending);
    } else {
        AUTO(obj_unref) struct obj *as = object_as(w->r->kind, w->pending);
        answer_obj(w->r, w->code, as);
    }
    return WRITE_OVER;
}
