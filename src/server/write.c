#include "server/write.h"
#include "api/codec.h"
#include "api/patch.h"
#include "server/alloc.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/rbac.h"
#include "server/room.h"

/* --- putting --- */

/* What a crash of the machine may take back: events of the last second (KEP-383), renewals of node leases (KEP-589:
 * the next one comes in seconds, and a lease that is old counts as unknown since the server began), renewals of other
 * leases by who holds them. Never who holds a lease: two would believe to. */
static enum store_class class_of(const struct obj *was, const struct obj *now)
{
    const struct kind *k = now ? now->kind : was->kind;
    if (str_eq(k->plural, S("events")))
        return STORE_LAZY;
    if (!was || !now || k != K(Lease) ||
        !str_eq(val_text_at(obj_spec(was), N(holderIdentity)), val_text_at(obj_spec(now), N(holderIdentity))))
        return STORE_DURABLE;
    return str_eqz(was->ns, "kube-node-lease") ? STORE_PATIENT : STORE_LAZY;
}

struct put_state {
    bool (*answer)(struct request *r, struct obj *now, void *arg);
    void *arg;
};

static void put_done(struct store_op *op)
{
    struct request *r = container_of(op, struct request, op);
    struct obj *o = TAKE(r->pending);
    struct put_state *p = r->state;
    if (op->ok) {
        if (p && p->answer)
            p->answer(r, o, p->arg);
        else
            answer_obj(r, r->pending_code, o);
        alloc_committed(r);
    } else if ((op->err.kind == E_CONFLICT || op->err.kind == E_NOT_FOUND) && r->step && r->lock_key.n &&
               r->tries++ < 5) {
        obj_unref(o);
        answer_reset(r);
        r->step(r); /* somebody else changed it (another server): once more from what is there now */
        return;
    } else if (op->err.kind == E_ALREADY_EXISTS) {
        fail_exists(r, false);
    } else if (op->err.kind == E_CONFLICT) {
        fail_conflict(r, CONFLICT_MODIFIED);
    } else {
        fail_err(r, &op->err);
    }
    obj_unref(o);
    request_finish(r);
}

/* What a fresh cluster holds, and what a newer server adds at its start, is made whatever is there. */
static bool has_room(struct request *r, const struct obj *was, const struct obj *now, struct err *err)
{
    bool of_status = str_eqz(r->sub, "status") || str_eqz(r->sub, "binding");
    return room_fits(r->server->room, was, now, r->server->ready ? room_use_of(was, now, of_status) : ROOM_DUTY, err);
}

void write_put(struct request *r, struct str key, const struct obj *was, struct obj *own_o, int code)
{
    struct err full = ERR;
    if (!has_room(r, was, own_o, &full)) {
        alloc_released(r);
        obj_unref(own_o);
        if (full.kind == E_FORBIDDEN)
            fail_forbidden(r, "%s", full.text);
        else
            fail_err(r, &full);
        request_finish(r);
        return;
    }
    r->pending = own_o; /* one reference is ours until it is done, the other goes to the store */
    r->pending_code = code;
    r->writes[0] = (struct store_write){
        .key = key, .own_ref = obj_ref(own_o), .expect = was ? was->rev : STORE_ABSENT};
    r->op = (struct store_op){.writes = r->writes, .n = 1, .class = class_of(was, own_o), .done = put_done};
    store_write(r->server->store, &r->op);
}

static void delete_done(struct store_op *op)
{
    struct request *r = container_of(op, struct request, op);
    struct obj *o = TAKE(r->pending);
    if (op->ok) {
        if (kind_strategy(o->kind)->returns_object || r->verb != VERB_DELETE) {
            answer_obj(r, r->pending_code, o);
        } else {
            answer_tree(r, 200, T(meta_v1_Status), status_deleted(r, o));
        }
    } else if ((op->err.kind == E_CONFLICT) && r->step && r->lock_key.n && r->tries++ < 5) {
        obj_unref(o);
        answer_reset(r);
        r->step(r);
        return;
    } else if (op->err.kind == E_NOT_FOUND) {
        fail_not_found(r);
    } else {
        fail_err(r, &op->err);
    }
    obj_unref(o);
    request_finish(r);
}

void write_delete(struct request *r, struct obj *was, struct obj *answer, int code)
{
    r->pending = obj_ref(answer);
    r->pending_code = code;
    struct str key = object_key(&r->arena, was->kind, was->ns, was->name);
    r->writes[0] = (struct store_write){.key = key, .expect = was->rev};
    r->op = (struct store_op){.writes = r->writes, .n = 1, .class = class_of(was, NULL), .done = delete_done};
    store_write(r->server->store, &r->op);
}

/* The last write of an object, ahead of its deletion. */
struct ending {
    struct store_op op;
    struct store_write write;
    struct request *r;
    bool queued; /* the deletion is on its way behind it, and tells how both went */
};

static void queue_delete(struct ending *e)
{
    struct request *r = e->r;
    e->queued = true;
    r->writes[0] = (struct store_write){.key = e->write.key, .expect = e->write.rev};
    r->op = (struct store_op){.writes = r->writes, .n = 1, .class = e->op.class, .done = delete_done};
    store_write(r->server->store, &r->op);
}

static void ending_done(struct store_op *op)
{
    struct ending *e = container_of(op, struct ending, op);
    if (e->queued)
        return;
    if (op->ok) {
        queue_delete(e);
        return;
    }
    e->r->op.ok = false;
    e->r->op.err = op->err;
    put_done(&e->r->op);
}

/* Both are queued in one turn, so that they are on disk together: an object without finalizers that has been told to
 * go would not be looked at again. */
void write_then_delete(struct request *r, struct obj *was, const struct val *last, int code)
{
    struct ending *e = ARENA_NEW(&r->arena, struct ending);
    r->pending = object_from(was->kind, last);
    r->pending_code = code;
    e->r = r;
    e->write = (struct store_write){.key = object_key(&r->arena, was->kind, was->ns, was->name),
                                    .own_ref = obj_ref(r->pending),
                                    .expect = was->rev};
    e->op = (struct store_op){.writes = &e->write, .n = 1, .class = class_of(was, r->pending), .done = ending_done};
    store_write(r->server->store, &e->op);
    if (e->write.rev > 0)
        queue_delete(e);
}

static bool finish_failed(struct request *r)
{
    alloc_released(r);
    request_finish(r);
    return false;
}

/* --- what every write of metadata has in common --- */

static struct val *metadata(struct request *r, struct val *tree)
{
    return val_need_map(&r->arena, tree, N(metadata));
}

static bool check_namespace(struct request *r, struct val *meta)
{
    if (!r->kind->namespaced) {
        val_del(meta, N(namespace));
        return true;
    }
    struct str ns = val_text_at(meta, N(namespace));
    if (ns.n && !str_eq(ns, r->ns))
        return fail_bad_request(
            r, "the namespace of the provided object does not match the namespace sent on the request");
    val_set_text(&r->arena, meta, N(namespace), r->ns);
    return true;
}

/* Bytes of a version 4 uuid as text. */
static struct str new_uid(struct arena *a)
{
    unsigned char b[16];
    random_bytes(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return arena_fmt(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
                     b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static struct str generated_name(struct arena *a, struct str prefix)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    char tail[5];
    for (size_t i = 0; i < sizeof tail; i++)
        tail[i] = letters[random_below(sizeof letters - 1)];
    prefix = str_sub(prefix, 0, 58);
    return arena_fmt(a, STR_FMT "%.5s", STR_ARG(prefix), tail);
}

/* A write does a bounded amount of work on long lists; beyond, what was found of it means nothing. */
static void worked(struct request *r, void (*step)(struct request *r))
{
    work_begin(LIMIT_WORK_STEPS);
    step(r);
    work_end();
}

static bool work_fits(struct request *r)
{
    if (!work_over())
        return true;
    struct err err = ERR;
    (void)err_set(&err, E_TOO_LARGE, "the object has lists too long to be compared with each other: split it");
    return fail_err(r, &err);
}

static bool validate(struct request *r, struct str sub, const struct val *tree, const struct val *old)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    kind_validate(r->kind, sub, tree, old, &e);
    if (!work_fits(r))
        return false;
    if (e.list.n)
        /* an Event is refused as the core group's, whoever it came by */
        return fail_invalid(r, r->kind == K(events_k8s_io_Event) ? S("") : r->group, r->kind->kind,
                            val_text_at(tree, N(metadata), N(name)), &e);
    return true;
}

static void warn(struct request *r, const struct val *tree, const struct val *old)
{
    struct warnings w = {.arena = &r->arena};
    kind_warnings(r->kind, tree, old, &w);
    array_each (it, &w.texts)
        answer_warn(r, *it);
    array_fini(&w.texts);
}

/* --- create --- */

struct create {
    struct val *tree;
    struct str generate;
    int code, tries;
};

static void create_put(struct request *r);

static void create_done(struct store_op *op)
{
    struct request *r = container_of(op, struct request, op);
    struct create *c = r->state;
    if (!op->ok && op->err.kind == E_ALREADY_EXISTS && c->generate.n && ++c->tries < LIMIT_GENERATE_NAME_TRIES) {
        obj_unref(TAKE(r->pending));
        r->name = generated_name(&r->arena, c->generate);
        val_set_text(&r->arena, metadata(r, c->tree), N(name), r->name);
        create_put(r);
        return;
    }
    struct obj *o = TAKE(r->pending);
    if (op->ok) {
        AUTO(obj_unref) struct obj *as = object_as(r->kind, o);
        answer_obj(r, r->pending_code, as);
        alloc_committed(r);
    } else if (op->err.kind == E_ALREADY_EXISTS) {
        AUTO(obj_unref) struct obj *there = object_get(r->server, r->kind, r->ns, r->name);
        fail_exists(r, there && obj_deleting(there));
    } else {
        fail_err(r, &op->err);
    }
    obj_unref(o);
    if (!op->ok)
        finish_failed(r);
    else
        request_finish(r);
}

static void create_put(struct request *r)
{
    struct create *c = r->state;
    struct obj *o = object_from(r->kind, c->tree);
    struct str key = object_key(&r->arena, r->kind, r->ns, r->name);
    if (r->options.dry_run) {
        AUTO(obj_unref) struct obj *there = object_get(r->server, r->kind, r->ns, r->name);
        if (there) {
            fail_exists(r, obj_deleting(there));
        } else {
            AUTO(obj_unref) struct obj *as = object_as(r->kind, o);
            answer_obj(r, c->code, as);
        }
        obj_unref(o);
        finish_failed(r);
        return;
    }
    write_put(r, key, NULL, o, c->code);
    r->op.done = create_done;
}

void write_create(struct request *r, struct val *tree, int code)
{
    struct arena *a = &r->arena;
    struct val *meta = metadata(r, tree);
    struct str rev = val_text_at(meta, N(resourceVersion));
    if (!check_namespace(r, meta)) {
        finish_failed(r);
        return;
    }
    int64_t number;
    if (str_to_i64(rev, 1, INT64_MAX, &number)) {
        fail_plain(r, 500, "resourceVersion should not be set on objects to be created");
        finish_failed(r);
        return;
    }
    val_del(meta, N(resourceVersion));
    val_del(meta, N(managedFields));
    kind_default(a, r->kind, tree);
    struct admission x = {.r = r, .verb = VERB_CREATE, .kind = r->kind, .ns = r->ns, .sub = r->sub, .obj = tree};
    x.name = val_text_at(meta, N(name));
    r->name = x.name; /* so refusals name the object */
    if (!admit_mutate(&x)) {
        finish_failed(r);
        return;
    }
    meta = metadata(r, tree);
    struct create *c = ARENA_NEW(a, struct create);
    *c = (struct create){.tree = tree, .code = code};
    r->state = c;
    int64_t now = clock_real();
    struct str name = val_text_at(meta, N(name));
    if (!name.n && val_text_at(meta, N(generateName)).n) {
        c->generate = val_text_at(meta, N(generateName));
        name = generated_name(a, c->generate);
        val_set_text(a, meta, N(name), name);
    }
    val_set_text(a, meta, N(uid), new_uid(a));
    val_set_text(a, meta, N(creationTimestamp), time_text(a, now / NS_PER_S * NS_PER_S));
    kind_prepare_create(a, r->kind, tree, now);
    if (str_eq(r->resource, S("limitranges")) && !name.n)
        val_set_text(a, metadata(r, tree), N(name), new_uid(a));
    x.name = r->name = val_text_at(tree, N(metadata), N(name));
    if (!alloc_write(r, tree, NULL) || !validate(r, r->sub, tree, NULL) || !admit_validate(&x)) {
        r->name = r->sub.n ? r->name : name;
        finish_failed(r);
        return;
    }
    warn(r, tree, NULL);
    create_put(r);
}

/* --- update --- */

struct obj *write_current(struct request *r)
{
    struct str key = object_key(&r->arena, r->kind, r->ns, r->name);
    struct obj *o = object_of(store_get(r->server->store, key));
    if (!o)
        fail_not_found(r);
    return o;
}

void write_turn(struct request *r, void (*step)(struct request *r))
{
    turn_take(r, object_key(&r->arena, r->kind, r->ns, r->name), step);
}

/* An object that waits for nothing any more goes with this update. */
static bool update_deletes(const struct kind *k, const struct val *tree)
{
    const struct val *meta = val_get(tree, N(metadata));
    if (!val_get(meta, N(deletionTimestamp)) || val_len(val_get(meta, N(finalizers))) ||
        val_num_at(meta, 0, N(deletionGracePeriodSeconds)))
        return false;
    return k != K(Namespace) || !val_len(val_at(tree, N(spec), N(finalizers)));
}

static void answer_updated(struct request *r, struct update *u, struct obj *o)
{
    AUTO(obj_unref) struct obj *as = object_as(r->kind, o);
    if (u->answer)
        u->answer(r, as, u->arg);
    else
        answer_obj(r, u->code, as);
}

static bool put_answer(struct request *r, struct obj *now, void *arg)
{
    answer_updated(r, arg, now);
    return true;
}

static bool update_prepare(struct request *r, struct update *u)
{
    struct arena *a = &r->arena;
    struct obj *cur = u->cur;
    struct val *tree = u->tree, *meta = metadata(r, tree);
    if (!check_namespace(r, meta))
        return false;
    struct str rev = val_text_at(meta, N(resourceVersion)), uid = val_text_at(meta, N(uid));
    int64_t want = 0;
    if (rev.n && !str_to_i64(rev, 0, INT64_MAX, &want))
        return fail_plain(r, 500, "strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(rev));
    if (u->uid_conflict && uid.n && !str_eq(uid, cur->uid))
        return fail_conflict(
            r,
            "StorageError: invalid object, Code: 4, Key: /registry/" STR_FMT
            ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: " STR_FMT
            ", UID in object meta: " STR_FMT,
            STR_ARG(r->lock_key), STR_ARG(uid), STR_ARG(cur->uid));
    val_del(meta, N(managedFields));
    kind_default(a, r->kind, tree);
    struct admission x = {.r = r,
                          .verb = VERB_UPDATE,
                          .kind = r->kind,
                          .ns = r->ns,
                          .name = r->name,
                          .sub = r->sub,
                          .obj = tree,
                          .old = &cur->tree};
    if (!admit_mutate(&x))
        return false;
    meta = metadata(r, tree);
    if (!want)
        val_del(meta, N(resourceVersion)); /* "0" says nothing either */
    if (!want && !kind_strategy(r->kind)->unconditional) {
        AUTO(field_errors_fini) struct field_errors e = {.arena = a};
        field_error_add(&e, FE_INVALID, "metadata.resourceVersion",
                        "Invalid value: %d: must be specified for an update", 0);
        return fail_invalid(r, r->group, r->resource, r->name, &e);
    }
    if (want && want != cur->rev)
        return fail_conflict(r, CONFLICT_MODIFIED);
    kind_prepare_update(a, r->kind, u->sub, tree, &cur->tree, clock_real());
    val_del(metadata(r, tree), N(managedFields));
    bool ok = alloc_write(r, tree, &cur->tree) && validate(r, u->sub, tree, &cur->tree) && admit_validate(&x);
    val_del(metadata(r, tree), N(resourceVersion)); /* the store gives the new one */
    return ok;
}

void write_update(struct request *r, struct update *u)
{
    if (!update_prepare(r, u)) {
        finish_failed(r);
        return;
    }
    warn(r, u->tree, &u->cur->tree);
    if (val_equal(u->tree, &u->cur->tree) && !update_deletes(r->kind, u->tree)) {
        answer_updated(r, u, u->cur);
        finish_failed(r);
        return;
    }
    AUTO(obj_unref) struct obj *o = object_from(r->kind, u->tree);
    if (r->options.dry_run) {
        obj_set_rev(o, u->cur->rev);
        answer_updated(r, u, o);
        finish_failed(r);
        return;
    }
    if (update_deletes(r->kind, u->tree)) {
        write_then_delete(r, u->cur, u->tree, u->code);
        return;
    }
    struct put_state *p = ARENA_NEW(&r->arena, struct put_state);
    struct update *kept = ARENA_NEW(&r->arena, struct update);
    *kept = *u;
    *p = (struct put_state){put_answer, kept};
    r->state = p;
    write_put(r, r->lock_key, u->cur, obj_ref(o), u->code);
}

void write_raw_then(struct request *r, struct obj *cur, const struct val *tree,
                    bool (*answer)(struct request *r, struct obj *now, void *arg), void *arg)
{
    AUTO(obj_unref) struct obj *o = object_from(cur->kind, tree);
    if (r->options.dry_run) {
        obj_set_rev(o, cur->rev);
        answer(r, o, arg);
        request_finish(r);
        return;
    }
    struct put_state *p = ARENA_NEW(&r->arena, struct put_state);
    *p = (struct put_state){answer, arg};
    r->state = p;
    write_put(r, r->lock_key, cur, obj_ref(o), 200);
}

static bool raw_answer(struct request *r, struct obj *now, void *arg)
{
    AUTO(obj_unref) struct obj *as = object_as(r->kind, now);
    return answer_obj(r, *(int *)arg, as);
}

void write_raw(struct request *r, struct obj *cur, const struct val *tree, int code)
{
    int *kept = ARENA_NEW(&r->arena, int);
    *kept = code;
    write_raw_then(r, cur, tree, raw_answer, kept);
}

/* --- the verbs --- */

static struct val *body_copy(struct request *r)
{
    struct val *tree = ARENA_NEW(&r->arena, struct val);
    *tree = val_copy(&r->arena, r->body);
    return tree;
}

/* A PUT that makes the object does what a create does, and needs its right. */
static bool may_create(struct request *r)
{
    struct str asked = r->verb_text;
    r->verb_text = S("create");
    bool may = r->internal || authorize(r);
    r->verb_text = asked;
    return may;
}

static void step_update(struct request *r)
{
    struct obj *cur = object_of(store_get(r->server->store, r->lock_key));
    struct val *tree = body_copy(r);
    if (!cur && kind_strategy(r->kind)->put_creates && !r->sub.n) {
        if (!may_create(r)) {
            finish_failed(r);
            return;
        }
        val_del(metadata(r, tree), N(resourceVersion));
        write_create(r, tree, 201);
        return;
    }
    if (!cur) {
        fail_not_found(r);
        finish_failed(r);
        return;
    }
    AUTO(obj_unref) struct obj *as = object_as(r->kind, cur);
    struct update u = {.cur = as, .tree = tree, .sub = r->sub, .expect = true, .uid_conflict = true, .code = 200};
    write_update(r, &u);
}

/* A strategic patch shows itself where a value has the wrong shape, the others their result. */
static bool fail_strategic(struct request *r, const struct strbuf *why)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    val_go_text(&text, r->body);
    field_error_add(&e, FE_INVALID, "patch", "Invalid value: \"" STR_FMT "\": " STR_FMT, STR_ARG(strbuf_str(&text)),
                    STR_ARG(strbuf_str(why)));
    return fail_invalid(r, S(""), S(""), S(""), &e);
}

static bool patch_doc(struct request *r, const struct type *type, const struct val *doc, struct val *out,
                      struct err *err)
{
    struct arena *a = &r->arena;
    switch (r->options.patch) {
    case FORMAT_JSON_PATCH: return patch_json(a, doc, r->body, out, err);
    case FORMAT_MERGE_PATCH: return patch_merge(a, doc, r->body, out, err);
    case FORMAT_STRATEGIC_PATCH: return patch_strategic(a, type, doc, r->body, out, err);
    case FORMAT_APPLY_PATCH: break;
    }
    return err_set(err, E_UNSUPPORTED_MEDIA, "server-side apply is not there yet");
}

static bool fail_patch(struct request *r, const struct err *err)
{
    if (r->options.patch == FORMAT_JSON_PATCH && err->kind == E_INVALID) {
        fail_plain(r, 422, "the server rejected our request due to an error in our request");
        r->answer.fail.reason = "Invalid";
        r->answer.fail.details = true;
        return false;
    }
    return err->kind == E_INTERNAL ? fail_plain(r, 500, "%s", err->text) : fail_err(r, err);
}

static bool fail_shown(struct request *r, const struct type *type, const struct val *doc, const struct err *why)
{
    struct val whole = type_complete(&r->arena, type, doc), shown;
    struct err err = ERR;
    return patch_doc(r, type, &whole, &shown, &err) ? fail_patched(r, &shown, why) : fail_patch(r, &err);
}

/* The notes on the patch and on its result are refused, warned of or ignored, as the client wants. */
static bool heed_notes(struct request *r, const struct type *type, const struct val *doc, struct decode_notes *notes)
{
    struct decode_notes all = {.arena = &r->arena};
    val_each_item (it, r->body_notes)
        array_push(&all.texts, val_text(it));
    array_each (it, &notes->texts)
        array_push(&all.texts, *it);
    bool ok = all.texts.n == 0 || r->options.validation != VALIDATION_STRICT;
    if (r->options.validation == VALIDATION_WARN)
        array_each (it, &all.texts)
            answer_warn(r, *it);
    if (!ok) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        struct err why = ERR;
        decode_notes_text(&all, &text);
        (void)err_set(&why, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&text)));
        if (r->options.patch == FORMAT_STRATEGIC_PATCH)
            fail_strategic(r, &text);
        else
            fail_shown(r, type, doc, &why);
    }
    decode_notes_fini(&all);
    return ok;
}

/* The result does not fit the type: shown as the JSON that it is, zeros included. */
static bool fail_misfit(struct request *r, const struct type *type, const struct val *doc, const struct val *patched,
                        const struct err *why)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (r->options.patch == FORMAT_STRATEGIC_PATCH && patch_restore_error(type, patched, &text))
        return fail_strategic(r, &text);
    return fail_shown(r, type, doc, why);
}

bool patch_apply(struct request *r, const struct type *type, const struct val *doc, struct val *out)
{
    struct arena *a = &r->arena;
    struct val patched, whole;
    struct err err = ERR;
    if (r->options.patch == FORMAT_MERGE_PATCH && !val_is(r->body, VAL_MAP) && !val_is(r->body, VAL_NULL))
        return fail_bad_request(/* the RFC has a meaning for it, an object not */
                                r,
                                "error decoding patch: json: cannot unmarshal %s into Go value of type "
                                "map[string]interface {}",
                                val_json_name(r->body));
    if (r->options.patch == FORMAT_JSON_PATCH) { /* its paths may lead through what is empty */
        whole = type_complete(a, type, doc);
        doc = &whole;
    }
    bool patches = patch_doc(r, type, doc, &patched, &err);
    if (!work_fits(r))
        return false;
    if (!patches)
        return fail_patch(r, &err);
    struct str kind = val_text_at(doc, N(kind)), version = val_text_at(doc, N(apiVersion));
    if (r->options.patch == FORMAT_STRATEGIC_PATCH && !val_get(&patched, N(kind)) &&
        !val_get(&patched, N(apiVersion))) {
        val_set_text(a, &patched, N(kind), kind); /* $patch: replace of the whole object need not say what it is */
        val_set_text(a, &patched, N(apiVersion), version);
    }
    if (!str_eq(val_text_at(&patched, N(kind)), kind) || !str_eq(val_text_at(&patched, N(apiVersion)), version)) {
        err_set(&err, E_INVALID, "a patch cannot change kind and apiVersion of an object (" STR_FMT ", " STR_FMT ")",
                STR_ARG(kind), STR_ARG(version));
        return fail_patched(r, &patched, &err);
    }
    struct decode_notes notes = {.arena = a};
    bool ok = type_decode_val(a, type, &patched, out, &notes, &err) ? heed_notes(r, type, doc, &notes)
                                                                    : fail_misfit(r, type, doc, &patched, &err);
    array_fini(&notes.texts);
    return ok;
}

static bool check_name(struct request *r, const struct val *tree)
{
    struct str name = val_text_at(tree, N(metadata), N(name));
    if (!name.n)
        return fail_bad_request(
            r, "the name of the object (" STR_FMT " based on URL) was undeterminable: name must be provided",
            STR_ARG(r->name));
    return str_eq(name, r->name) ||
           fail_bad_request(r,
                            "the name of the object (" STR_FMT ") does not match the name on the URL (" STR_FMT ")",
                            STR_ARG(name), STR_ARG(r->name));
}

static void step_patch(struct request *r)
{
    struct arena *a = &r->arena;
    struct obj *stored = write_current(r);
    if (!stored) {
        finish_failed(r);
        return;
    }
    AUTO(obj_unref) struct obj *cur = object_as(r->kind, stored);
    int64_t want = 0;
    struct str uid = r->options.expect_uid;
    if ((r->options.expect_rev.n && str_to_i64(r->options.expect_rev, 0, INT64_MAX, &want) && want != cur->rev) ||
        (uid.n && !str_eq(uid, cur->uid))) {
        fail_conflict(r, CONFLICT_MODIFIED);
        finish_failed(r);
        return;
    }
    struct val doc = val_copy(a, &cur->tree), *tree = ARENA_NEW(a, struct val);
    val_set_text(a, val_need_map(a, &doc, N(metadata)), N(resourceVersion),
                 arena_fmt(a, "%lld", (long long)cur->rev));
    if (!patch_apply(r, r->kind->type, &doc, tree)) {
        finish_failed(r);
        return;
    }
    if (!check_name(r, tree)) {
        finish_failed(r);
        return;
    }
    struct update u = {.cur = cur, .tree = tree, .sub = r->sub, .expect = true, .code = 200};
    write_update(r, &u);
}

static void step_create(struct request *r)
{
    write_create(r, body_copy(r), 201);
}

static void turn_update(struct request *r)
{
    worked(r, step_update);
}

static void turn_patch(struct request *r)
{
    worked(r, step_patch);
}

void verb_write(struct request *r)
{
    switch ((int)r->verb) {
    case VERB_CREATE: worked(r, step_create); return;
    case VERB_PATCH:
        if (r->options.patch == FORMAT_APPLY_PATCH) {
            fail_plain(r, 415,
                       "server-side apply (application/apply-patch) is not there yet: use kubectl apply "
                       "--server-side=false, or a JSON, merge or strategic merge patch");
            r->answer.fail.reason = "UnsupportedMediaType";
            request_finish(r);
            return;
        }
        write_turn(r, turn_patch);
        return;
    default: break;
    }
    if (!check_name(r, r->body)) {
        request_finish(r);
        return;
    }
    struct str ns = val_text_at(r->body, N(metadata), N(namespace));
    if (r->kind->namespaced && ns.n && !str_eq(ns, r->ns)) {
        fail_bad_request(r, "the namespace of the provided object does not match the namespace sent on the request");
        request_finish(r);
        return;
    }
    write_turn(r, turn_update);
}
