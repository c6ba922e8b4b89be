/* Deletion of one object, and of all that a selector finds. */
#include "server/crds.h"
#include "server/fail.h"
#include "server/options.h"
#include "server/read.h"
#include "server/scan.h"
#include "server/write.h"

static const struct str orphan_finalizer = S_INIT("orphan"), foreground_finalizer = S_INIT("foregroundDeletion");

/* Finalizers for the garbage collector, by what was asked, by what is there, by the kind's default (upstream's
 * deletionFinalizersForGarbageCollection). Whether they changed. */
static bool set_gc_finalizers(struct request *r, struct val *meta)
{
    const struct request_options *o = &r->options;
    const struct val *have = val_get(meta, N(finalizers));
    enum propagation usual = kind_strategy(r->kind)->propagation;
    if (usual == PROPAGATE_NONE)
        return false;
    bool orphan, foreground = false;
    if (o->orphan != NOT_SAID) {
        orphan = o->orphan == SAID_YES;
    } else if (o->propagation.n) {
        orphan = str_eq(o->propagation, S("Orphan"));
        foreground = str_eq(o->propagation, S("Foreground"));
    } else {
        foreground = val_has_text(have, foreground_finalizer);
        orphan = val_has_text(have, orphan_finalizer) || (!foreground && usual == PROPAGATE_ORPHAN);
    }
    struct val list = val_list();
    val_each_item (it, have) {
        if (!str_eq(val_text(it), orphan_finalizer) && !str_eq(val_text(it), foreground_finalizer))
            val_add(&r->arena, &list, *it);
    }
    if (orphan)
        val_add(&r->arena, &list, val_str_borrowed(orphan_finalizer));
    if (foreground)
        val_add(&r->arena, &list, val_str_borrowed(foreground_finalizer));
    if (val_len(&list) == val_len(have) && orphan == val_has_text(have, orphan_finalizer) &&
        foreground == val_has_text(have, foreground_finalizer))
        return false;
    if (val_len(&list))
        val_set(&r->arena, meta, N(finalizers), list);
    else
        val_del(meta, N(finalizers));
    return true;
}

static void grow_generation(struct request *r, struct val *meta)
{
    int64_t g = val_num_at(meta, 0, N(generation));
    if (g > 0)
        val_set_num(&r->arena, meta, N(generation), g + 1);
}

static void deletion_mark(struct request *r, struct val *meta, int64_t at, int64_t grace)
{
    val_set_text(&r->arena, meta, N(deletionTimestamp), time_text(&r->arena, at));
    val_set_num(&r->arena, meta, N(deletionGracePeriodSeconds), grace);
}

bool delete_may(struct request *r, const struct obj *cur)
{
    struct str uid = r->options.expect_uid, rev = r->options.expect_rev;
    if (uid.p && !str_eq(uid, cur->uid))
        return fail_precondition(r,
                                 "the UID in the precondition (" STR_FMT
                                 ") does not match the UID in record (" STR_FMT
                                 "). The object might have been deleted and then recreated",
                                 STR_ARG(uid), STR_ARG(cur->uid));
    int64_t want;
    if (rev.p && !(str_to_i64(rev, 0, INT64_MAX, &want) && want == cur->rev))
        return fail_precondition(
            r,
            "the ResourceVersion in the precondition (" STR_FMT
            ") does not match the ResourceVersion in record (%lld). The object might have been modified",
            STR_ARG(rev), (long long)cur->rev);
    return true;
}

enum graceful { NOT_GRACEFUL, GRACEFUL, GRACEFUL_PENDING };

/* Pods only: sets deletionTimestamp and grace (upstream's rest.BeforeDelete). */
static enum graceful before_delete(struct request *r, struct obj *cur, struct val *meta, int64_t *grace)
{
    if (cur->kind != K(Pod))
        return NOT_GRACEFUL;
    int64_t now = clock_real() / NS_PER_S * NS_PER_S;
    bool said = r->options.grace_said;
    int64_t asked = r->options.grace_s < 0 ? 1 : r->options.grace_s, at;
    if (val_get(meta, N(deletionTimestamp))) {
        int64_t have = val_num_at(meta, 0, N(deletionGracePeriodSeconds));
        *grace = 0;
        if (!have) /* marked, and then the server died: it goes now */
            return GRACEFUL;
        if (!said || asked >= have || !time_parse(val_text_at(meta, N(deletionTimestamp)), &at)) {
            *grace = have;
            return GRACEFUL_PENDING;
        }
        deletion_mark(r, meta, at - ns_of_seconds(have - asked), asked);
        *grace = asked;
        return GRACEFUL;
    }
    *grace = kind_delete_grace(cur->kind, &cur->tree, said, r->options.grace_s);
    deletion_mark(r, meta, now + ns_of_seconds(*grace), *grace);
    grow_generation(r, meta);
    return GRACEFUL;
}

static void mark_now(struct request *r, struct val *meta)
{
    int64_t now = clock_real() / NS_PER_S * NS_PER_S, at;
    bool marked = val_get(meta, N(deletionTimestamp));
    if (!marked)
        grow_generation(r, meta);
    if (!marked || (time_parse(val_text_at(meta, N(deletionTimestamp)), &at) && at > now))
        deletion_mark(r, meta, now, 0);
    val_set_num(&r->arena, meta, N(deletionGracePeriodSeconds), 0);
}

/* 202 where the client asked in the old way for a deletion that has not happened yet. */
static int code_not_gone(const struct request *r)
{
    return r->options.orphan == SAID_NO ? 202 : 200;
}

static enum write_next answer_as_it_is(struct write *w, int code)
{
    AUTO(obj_unref) struct obj *as = w->r->as_stored ? obj_ref(w->stored) : write_seen(w, w->stored);
    if (as)
        answer_obj(w->r, code, as);
    return WRITE_OVER;
}

/* Grace, finalizers and propagation decide what a deletion is: nothing more than has been, a mark, or the end. */
static enum write_next step_remove(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    struct obj *cur = w->cur;
    w->tree = ARENA_NEW(a, struct val);
    *w->tree = val_copy(a, &cur->tree);
    struct val *tree = w->tree, *meta = val_need_map(a, tree, N(metadata));
    int64_t grace = 0;
    bool gc = set_gc_finalizers(r, meta);
    enum graceful g = before_delete(r, cur, meta, &grace);
    if (g == GRACEFUL_PENDING && !gc)
        return answer_as_it_is(w, 200);
    if (cur->kind == K(CustomResourceDefinition) && !obj_deleting(cur)) {
        crds_mark(r, tree);
        return write_raw(w);
    }
    bool finalizers = val_len(val_get(meta, N(finalizers))) > 0;
    if (cur->kind == K(Namespace) && val_len(val_at(tree, N(spec), N(finalizers)))) {
        finalizers = true;
        if (!obj_deleting(cur))
            val_set_text(a, val_need_map(a, tree, N(status)), N(phase), S("Terminating"));
    }
    if (g == NOT_GRACEFUL && finalizers) {
        bool was = obj_deleting(cur);
        if (cur->kind == K(Namespace)) {
            if (!was) {
                int64_t now = clock_real() / NS_PER_S * NS_PER_S;
                val_set_text(a, meta, N(deletionTimestamp), time_text(a, now));
            }
        } else {
            mark_now(r, meta);
        }
    }
    bool stays = finalizers || (g != NOT_GRACEFUL && grace > 0);
    w->code = stays ? code_not_gone(r) : 200;
    if (stays && val_equal(tree, &cur->tree))
        return answer_as_it_is(w, w->code);
    if (stays)
        return write_raw(w);
    AUTO(obj_unref) struct obj *gone = obj_new(cur->kind, tree, cur->rev);
    if (r->options.dry_run) {
        if (kind_strategy(r->kind)->returns_object)
            answer_obj(r, 200, gone);
        else
            answer_tree(r, 200, T(meta_v1_Status), status_deleted(r, gone));
        return WRITE_OVER;
    }
    if (g == GRACEFUL &&
        !val_equal(tree, &cur->tree)) /* watchers see that it was told to end, then that it is gone */
        return write_then_delete(w, object_from(cur->kind, tree, w->stored));
    return write_delete(w, gone);
}

static enum write_next step_current(struct write *w)
{
    enum write_next next = write_stored(w);
    if (next == WRITE_ON)
        w->cur = obj_whole(w->stored);
    return next;
}

static enum write_next step_check(struct write *w)
{
    admit_begin(&w->admission, w->r, VERB_DELETE, NULL, &w->cur->tree);
    bool may = w->stored->kind != K(CustomResourceDefinition) || crds_may_go(w->r, w->stored);
    return may && delete_may(w->r, w->stored) ? WRITE_ON : WRITE_OVER;
}

static const struct write_step delete_steps[] = {
    {"turn", write_turn},   {"current", step_current}, {"check", step_check},    {"mutate", write_mutate},
    {"admit", write_admit}, {"remove", step_remove},   {"answer", write_answer}, {NULL, NULL},
};

void verb_delete(struct request *r)
{
    if (r->kind == K(Job) && !r->authorized && !r->options.propagation.n && r->options.orphan == NOT_SAID)
        answer_warn(r, S("child pods are preserved by default when jobs are deleted; set "
                         "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
                         "this warning"));
    write_start(write_new(r, delete_steps));
}

/* --- deletecollection: one delete after another; the answer is the list of what was deleted --- */

struct collection {
    struct request *parent;
    struct request one;
    struct obj **items; /* counted; the answer's in the end */
    size_t n, at;
    int64_t rev;
};

static void next_one(struct collection *c);

static void one_done(struct request *one)
{
    struct collection *c = container_of(one, struct collection, one);
    struct request *r = c->parent;
    bool failed = one->answer.type == ANSWER_FAILED && one->answer.fail.code != 404;
    if (failed) {
        struct failure f = one->answer.fail;
        fail_plain(r, f.code, STR_FMT, STR_ARG(f.message));
        r->answer.fail.reason = f.reason;
        r->answer.fail.details = f.details;
        r->answer.fail.name = str_dup(&r->arena, f.name);
        r->answer.fail.group = str_dup(&r->arena, f.group);
        r->answer.fail.kind = str_dup(&r->arena, f.kind);
    }
    request_fini(one);
    if (!failed) {
        next_one(c);
        return;
    }
    for (size_t i = 0; i < c->n; i++)
        obj_unref(c->items[i]);
    mem_free(c->items);
    request_finish(r);
}

static void next_one(struct collection *c)
{
    struct request *r = c->parent;
    if (c->at == c->n) {
        struct answer *out = &r->answer;
        out->type = ANSWER_LIST;
        out->code = 200;
        out->items = c->items;
        out->n = c->n;
        out->rev = c->rev;
        request_finish(r);
        return;
    }
    struct obj *o = c->items[c->at++];
    request_init(&c->one, r->server, r->server->loop, one_done);
    request_for(&c->one, VERB_DELETE, r->kind, o->ns, o->name, S(""));
    c->one.user = r->user;
    c->one.options = r->options;
    c->one.parent = r;
    c->one.authorized = true; /* as the collection */
    c->one.as_stored = true;  /* its answer is not looked at */
    verb_delete(&c->one);
}

static void collection_walked(struct request *r, struct walk *w)
{
    if (r->answer.type == ANSWER_FAILED) {
        request_finish(r);
        return;
    }
    struct collection *c = ARENA_NEW(&r->arena, struct collection);
    c->parent = r;
    c->items = walk_take(w, &c->n);
    c->rev = walk_rev(w);
    next_one(c);
}

void verb_delete_collection(struct request *r)
{
    struct published now = published_take(r->server);
    walk_start(r, &now, STR_NONE, collection_walked);
}
