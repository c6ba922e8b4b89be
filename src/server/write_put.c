/* The commit of a write: one put, one deletion, or an object's last put and its deletion together. */
#include "server/crds.h"
#include "server/fail.h"
#include "server/room.h"
#include "server/write_managed.h"

/* What a crash of the machine may take back: events of the last second (KEP-383), renewals of node leases (KEP-589:
 * the next one comes in seconds, and a lease that is old counts as unknown since the server began), renewals of other
 * leases by who holds them, what a quota tells is used (it is counted anew at the start). Never who holds a lease:
 * two would believe to. */
static enum store_class class_of(const struct obj *was, const struct obj *now)
{
    const struct kind *k = now ? now->kind : was->kind;
    if (str_eq(k->plural, S("events")))
        return STORE_LAZY;
    if (was && now && k == K(ResourceQuota) && val_equal(obj_spec(was), obj_spec(now)) &&
        val_equal(obj_meta(was), obj_meta(now)))
        return STORE_LAZY;
    if (!was || !now || k != K(Lease) ||
        !str_eq(val_text_at(obj_spec(was), N(holderIdentity)), val_text_at(obj_spec(now), N(holderIdentity))))
        return STORE_DURABLE;
    return str_eqz(was->ns, "kube-node-lease") ? STORE_PATIENT : STORE_LAZY;
}

static bool is_conflict(const struct store_op *op)
{
    return op->err.kind == E_CONFLICT || op->err.kind == E_NOT_FOUND;
}

static void put_failed(struct write *w, const struct store_op *op)
{
    struct request *r = w->r;
    if (op->err.kind == E_ALREADY_EXISTS && !w->stored) {
        AUTO(obj_unref) struct obj *there = object_get(r->server, r->kind, r->ns, r->name);
        fail_exists(r, there && obj_deleting(there));
    } else if (op->err.kind == E_ALREADY_EXISTS) {
        fail_exists(r, false);
    } else if (op->err.kind == E_CONFLICT) {
        fail_conflict(r, CONFLICT_MODIFIED);
    } else {
        fail_err(r, &op->err);
    }
    request_finish(r);
}

static void put_done(struct store_op *op)
{
    struct write *w = container_of(op, struct write, op);
    crds_put_over(w);
    if (op->ok)
        write_done(w);
    else if (op->err.kind == E_ALREADY_EXISTS && w->generate.n && write_renamed(w))
        return;
    else if (!is_conflict(op) || !write_again(w))
        put_failed(w, op);
}

/* What a fresh cluster holds, and what a newer server adds at its start, is made whatever is there. */
static bool has_room(struct request *r, const struct obj *was, const struct obj *now, struct err *err)
{
    bool of_status = str_eqz(r->sub, "status") || str_eqz(r->sub, "binding");
    return room_fits(r->server->room, was, now, r->server->ready ? room_use_of(was, now, of_status) : ROOM_DUTY, err);
}

static struct store_write put_of(struct write *w, struct obj *own_o)
{
    w->pending = own_o; /* one reference is ours until it is over, the other goes to the store */
    return (struct store_write){.key = object_key(&w->r->arena, own_o->kind, own_o->ns, own_o->name),
                                .own_ref = obj_ref(own_o),
                                .expect = w->stored ? w->stored->rev : STORE_ABSENT};
}

enum write_next write_put(struct write *w, struct obj *own_o)
{
    struct request *r = w->r;
    struct err full = ERR;
    write_managed_give(w, own_o);
    if (r->options.dry_run) {
        w->pending = own_o;
        if (w->stored)
            obj_set_rev(own_o, w->stored->rev);
        return WRITE_ON;
    }
    if (!has_room(r, w->stored, own_o, &full)) {
        obj_unref(own_o);
        if (full.kind == E_FORBIDDEN)
            fail_forbidden(r, "%s", full.text);
        else
            fail_err(r, &full);
        return WRITE_OVER;
    }
    w->put = put_of(w, own_o);
    w->op = (struct store_op){.writes = &w->put, .n = 1, .class = class_of(w->stored, own_o), .done = put_done};
    crds_put(w);
    store_write(r->server->store, &w->op);
    return WRITE_LATER;
}

enum write_next write_raw(struct write *w)
{
    const struct kind *k = w->stored->kind; /* of a definition: in the version that it is in */
    return write_put(w, k->custom ? obj_new(k, w->tree, 0) : object_from(k, w->tree, w->stored));
}

/* --- deletions --- */

static void answer_deleted(struct write *w, struct obj *gone)
{
    struct request *r = w->r;
    AUTO(obj_unref) struct obj *as = NULL;
    if (kind_strategy(gone->kind)->returns_object)
        answer_obj(r, w->code, gone);
    else if (r->verb != VERB_DELETE && (as = write_seen(w, gone)))
        answer_obj(r, w->code, as);
    else if (r->verb == VERB_DELETE)
        answer_tree(r, 200, T(meta_v1_Status), status_deleted(r, gone));
}

static void delete_done(struct store_op *op)
{
    struct write *w = container_of(op, struct write, op);
    if (op->ok) {
        w->answer = answer_deleted;
        write_done(w);
        return;
    }
    if (op->err.kind == E_CONFLICT && write_again(w))
        return;
    if (op->err.kind == E_NOT_FOUND)
        fail_not_found(w->r);
    else
        fail_err(w->r, &op->err);
    request_finish(w->r);
}

enum write_next write_delete(struct write *w, struct obj *gone)
{
    struct obj *was = w->stored;
    write_managed_give(w, gone);
    w->pending = obj_ref(gone);
    w->put = (struct store_write){.key = object_key(&w->r->arena, was->kind, was->ns, was->name), .expect = was->rev};
    w->op = (struct store_op){.writes = &w->put, .n = 1, .class = class_of(was, NULL), .done = delete_done};
    store_write(w->r->server->store, &w->op);
    return WRITE_LATER;
}

/* The last write of an object, ahead of its deletion. */
struct put_ending {
    struct store_op op;
    struct store_write put;
    struct write *w;
    bool queued; /* the deletion is on its way behind it, and tells how both went */
};

static void queue_delete(struct put_ending *e)
{
    struct write *w = e->w;
    e->queued = true;
    w->put = (struct store_write){.key = e->put.key, .expect = e->put.rev};
    w->op = (struct store_op){.writes = &w->put, .n = 1, .class = e->op.class, .done = delete_done};
    store_write(w->r->server->store, &w->op);
}

static void ending_done(struct store_op *op)
{
    struct put_ending *e = container_of(op, struct put_ending, op);
    if (e->queued)
        return;
    if (op->ok)
        queue_delete(e);
    else if (!is_conflict(op) || !write_again(e->w))
        put_failed(e->w, op);
}

/* Both are queued in one turn, so that they are on disk together: an object without finalizers that has been told to
 * go would not be looked at again. */
enum write_next write_then_delete(struct write *w, struct obj *own_o)
{
    struct put_ending *e = ARENA_NEW(&w->r->arena, struct put_ending);
    write_managed_give(w, own_o);
    e->w = w;
    e->put = put_of(w, own_o);
    e->op = (struct store_op){
        .writes = &e->put, .n = 1, .class = class_of(w->stored, w->pending), .done = ending_done};
    store_write(w->r->server->store, &e->op);
    if (e->put.rev > 0)
        queue_delete(e);
    return WRITE_LATER;
}
