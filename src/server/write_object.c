/* Create, update and patch of a whole object or of a part of it with rules of its own (status, scale). In upstream's
 * order: what the client said, defaults, mutating admission, what the server computes, allocation, validation,
 * validating admission, warnings, commit. */
#include "api/codec.h"
#include "api/custom.h"
#include "server/alloc.h"
#include "server/conversion.h"
#include "server/crds.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/policies.h"
#include "server/rbac.h"
#include "server/write_managed.h"

/* --- what every write of metadata has in common --- */

static struct val *write_metadata(struct write *w)
{
    return val_need_map(&w->r->arena, w->tree, N(metadata));
}

static struct val *body_copy(struct request *r)
{
    struct val *tree = ARENA_NEW(&r->arena, struct val);
    *tree = val_copy(&r->arena, r->body);
    return tree;
}

static bool check_namespace(struct write *w)
{
    struct request *r = w->r;
    struct val *meta = write_metadata(w);
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

static struct str generated_name(struct arena *a, struct str prefix)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    char tail[5];
    for (size_t i = 0; i < sizeof tail; i++)
        tail[i] = letters[random_below(sizeof letters - 1)];
    prefix = str_sub(prefix, 0, 58);
    return arena_fmt(a, STR_FMT "%.5s", STR_ARG(prefix), tail);
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

/* What the tree replaces; NULL: nothing. */
static const struct val *old_of(const struct write *w)
{
    return w->cur ? &w->cur->tree : NULL;
}

/* --- steps of both --- */

static enum write_next step_default(struct write *w)
{
    struct request *r = w->r;
    write_managed_take(w);
    kind_default(&r->arena, r->kind, w->tree);
    admit_begin(&w->admission, r, w->cur ? VERB_UPDATE : VERB_CREATE, w->tree, old_of(w));
    if (!w->cur)
        r->name = w->admission.name = val_text_at(write_metadata(w), N(name)); /* so refusals name the object */
    return WRITE_ON;
}

static enum write_next step_allocate(struct write *w)
{
    return alloc_write(w->r, w->tree, old_of(w)) ? WRITE_ON : WRITE_OVER;
}

static enum write_next step_validate(struct write *w)
{
    struct request *r = w->r;
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    kind_validate(r->kind, w->sub, w->tree, old_of(w), &e);
    crds_rules(r->kind, w->tree, old_of(w), &e);
    policies_authorize(r, w->tree, old_of(w), &e);
    if (!work_fits(r))
        return WRITE_OVER;
    if (!e.list.n)
        return WRITE_ON;
    /* an Event is refused as the core group's, whoever it came by; an instance as what it says it is */
    fail_invalid(r, r->kind == K(events_k8s_io_Event) ? S("") : r->group,
                 r->kind->custom ? val_text_at(w->tree, N(kind)) : r->kind->kind,
                 val_text_at(w->tree, N(metadata), N(name)), &e);
    return WRITE_OVER;
}

static enum write_next step_warn(struct write *w)
{
    struct warnings warnings = {.arena = &w->r->arena};
    val_del(write_metadata(w), N(resourceVersion)); /* the store gives the new one */
    kind_warnings(w->r->kind, w->tree, old_of(w), &warnings);
    array_each (it, &warnings.texts)
        answer_warn(w->r, *it);
    array_fini(&warnings.texts);
    return WRITE_ON;
}

/* --- create --- */

static enum write_next create_begin(struct write *w)
{
    if (w->r->verb == VERB_PATCH) { /* an apply */
        if (!change_apply(w) || !check_name(w->r, w->tree))
            return WRITE_OVER;
    } else {
        w->tree = body_copy(w->r);
    }
    if (w->has_turn) /* no POST */
        val_del(write_metadata(w), N(resourceVersion));
    return check_namespace(w) ? WRITE_ON : WRITE_OVER;
}

static enum write_next create_prepare(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    struct val *meta = write_metadata(w);
    int64_t now = clock_real();
    struct str name = val_text_at(meta, N(name));
    if (!name.n && val_text_at(meta, N(generateName)).n) {
        w->generate = val_text_at(meta, N(generateName));
        name = generated_name(a, w->generate);
        val_set_text(a, meta, N(name), name);
    }
    val_set_text(a, meta, N(uid), uid_new(a));
    val_set_text(a, meta, N(creationTimestamp), time_text(a, now / NS_PER_S * NS_PER_S));
    kind_prepare_create(a, r->kind, w->tree, now);
    if (str_eq(r->resource, S("limitranges")) && !name.n)
        val_set_text(a, write_metadata(w), N(name), uid_new(a));
    w->admission.name = r->name = val_text_at(w->tree, N(metadata), N(name));
    return WRITE_ON;
}

/* Upstream's store is the one who minds, after whoever admits and refuses; a dry run does not reach it. */
static enum write_next create_unnumbered(struct write *w)
{
    int64_t number;
    if (w->r->options.dry_run ||
        !str_to_i64(val_text_at(write_metadata(w), N(resourceVersion)), 1, INT64_MAX, &number))
        return WRITE_ON;
    fail_plain(w->r, 500, "resourceVersion should not be set on objects to be created");
    return WRITE_OVER;
}

static enum write_next create_put(struct write *w)
{
    struct request *r = w->r;
    AUTO(obj_unref) struct obj *there = r->options.dry_run ? object_get(r->server, r->kind, r->ns, r->name) : NULL;
    if (there) {
        fail_exists(r, obj_deleting(there));
        return WRITE_OVER;
    }
    if (!crds_take(r))
        return WRITE_OVER;
    if (r->kind->custom)
        custom_default_status(&r->arena, r->kind, w->tree);
    struct obj *o = write_form(w);
    return o ? write_put(w, o) : WRITE_OVER;
}

bool write_renamed(struct write *w)
{
    struct request *r = w->r;
    if (++w->tries >= LIMIT_GENERATE_NAME_TRIES)
        return false;
    obj_unref(TAKE(w->pending));
    r->name = generated_name(&r->arena, w->generate);
    val_set_text(&r->arena, write_metadata(w), N(name), r->name);
    write_start(w); /* at the step that puts */
    return true;
}

static const struct write_step create_steps[] = {
    {"begin", create_begin},
    {"default", step_default},
    {"manage", write_manage},
    {"mutate", write_mutate},
    {"prepare", create_prepare},
    {"allocate", step_allocate},
    {"validate", step_validate},
    {"admit", write_admit},
    {"number", create_unnumbered},
    {"warn", step_warn},
    {"put", create_put},
    {"answer", write_answer},
    {NULL, NULL},
};

/* --- update --- */

/* A PUT or an apply that makes the object does what a create does, and needs its right. */
static bool may_create(struct request *r)
{
    struct str asked = r->verb_text;
    r->verb_text = S("create");
    bool may = r->authorized || request_authorize(r);
    r->verb_text = asked;
    return may;
}

static enum write_next update_current(struct write *w)
{
    struct request *r = w->r;
    bool creates = !r->sub.n && (r->verb == VERB_UPDATE ? kind_strategy(r->kind)->put_creates
                                                        : r->options.patch == FORMAT_APPLY_PATCH);
    creates = creates && !store_get(r->server->store, w->key);
    w->code = creates ? 201 : 200;
    if (creates && !may_create(r))
        return WRITE_OVER;
    return creates ? write_steps(w, create_steps) : write_current(w);
}

static enum write_next update_change(struct write *w)
{
    return w->change(w) ? WRITE_ON : WRITE_OVER;
}

static bool check_identity(struct write *w)
{
    struct request *r = w->r;
    struct val *meta = write_metadata(w);
    struct str rev = val_text_at(meta, N(resourceVersion)), uid = val_text_at(meta, N(uid));
    w->want = 0;
    if (!check_namespace(w))
        return false;
    if (rev.n && !str_to_i64(rev, 0, INT64_MAX, &w->want))
        return fail_plain(r, 500, "strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(rev));
    if (w->uid_conflict && uid.n && !str_eq(uid, w->cur->uid))
        return fail_conflict(
            r,
            "StorageError: invalid object, Code: 4, Key: /registry/" STR_FMT
            ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: " STR_FMT
            ", UID in object meta: " STR_FMT,
            STR_ARG(w->key), STR_ARG(uid), STR_ARG(w->cur->uid));
    return true;
}

static enum write_next update_check(struct write *w)
{
    return check_identity(w) ? WRITE_ON : WRITE_OVER;
}

static enum write_next update_prepare(struct write *w)
{
    struct request *r = w->r;
    if (!w->want)
        val_del(write_metadata(w), N(resourceVersion)); /* "0" says nothing either */
    bool unconditional = kind_strategy(r->kind)->unconditional || str_eqz(r->sub, "scale");
    if (!w->want && !unconditional) {
        AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
        field_error_add(&e, FE_INVALID, "metadata.resourceVersion",
                        "Invalid value: %d: must be specified for an update", 0);
        fail_invalid(r, r->group, r->resource, r->name, &e);
        return WRITE_OVER;
    }
    if (w->want && w->want != w->cur->rev) {
        fail_conflict(r, CONFLICT_MODIFIED);
        return WRITE_OVER;
    }
    kind_prepare_update(&r->arena, r->kind, w->sub, w->tree, old_of(w), clock_real());
    val_del(write_metadata(w), N(managedFields));
    return WRITE_ON;
}

/* An object that waits for nothing any more goes with this update. */
static bool ends_with_it(const struct kind *k, const struct val *tree)
{
    const struct val *meta = val_get(tree, N(metadata));
    if (!val_get(meta, N(deletionTimestamp)) || val_len(val_get(meta, N(finalizers))) ||
        val_num_at(meta, 0, N(deletionGracePeriodSeconds)))
        return false;
    return k != K(Namespace) || !val_len(val_at(tree, N(spec), N(finalizers)));
}

static enum write_next update_put(struct write *w)
{
    struct request *r = w->r;
    bool ends = ends_with_it(r->kind, w->tree);
    if (r->kind == K(CustomResourceDefinition) && ends && !r->options.dry_run && !crds_leave(w))
        return WRITE_OVER;
    bool as_stored = !r->kind->custom || kind_same(w->stored->kind, r->kind->storage);
    if (val_equal(w->tree, &w->cur->tree) && write_managed_same(w) && !ends && as_stored) {
        w->pending = obj_ref(w->stored);
        return WRITE_ON;
    }
    struct obj *o = write_form(w);
    return !o ? WRITE_OVER : ends && !r->options.dry_run ? write_then_delete(w, o) : write_put(w, o);
}

const struct write_step write_update_steps[] = {
    {"turn", write_turn},        {"current", update_current}, {"change", update_change},
    {"check", update_check},     {"default", step_default},   {"manage", write_manage},
    {"mutate", write_mutate},    {"prepare", update_prepare}, {"allocate", step_allocate},
    {"validate", step_validate}, {"admit", write_admit},      {"warn", step_warn},
    {"put", update_put},         {"answer", write_answer},    {NULL, NULL},
};

/* --- the verbs --- */

static bool change_put(struct write *w)
{
    w->tree = body_copy(w->r);
    return true;
}

/* Only such a patch needs them in what it is applied to. */
static bool patch_names_managed(const struct val *patch)
{
    val_each_item (it, patch) {
        struct str path = val_text_at(it, N(path)), from = val_text_at(it, N(from));
        if (str_has(path, S("managedFields")) || str_has(from, S("managedFields")))
            return true;
    }
    return false;
}

static bool change_patch(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    struct obj *cur = w->cur;
    int64_t want = 0;
    struct str uid = r->options.expect_uid;
    if ((r->options.expect_rev.n && str_to_i64(r->options.expect_rev, 0, INT64_MAX, &want) && want != cur->rev) ||
        (uid.n && !str_eq(uid, cur->uid)))
        return fail_conflict(r, CONFLICT_MODIFIED);
    if (r->options.patch == FORMAT_APPLY_PATCH)
        return change_apply(w) && check_name(r, w->tree);
    struct val doc = val_copy(a, &cur->tree);
    bool named = r->options.patch == FORMAT_JSON_PATCH && patch_names_managed(r->body) && cur->managed;
    if (named)
        (void)val_set(a, val_need_map(a, &doc, N(metadata)), N(managedFields), managed_val(a, cur->managed));
    w->tree = ARENA_NEW(a, struct val);
    val_set_text(a, val_need_map(a, &doc, N(metadata)), N(resourceVersion),
                 arena_fmt(a, "%lld", (long long)cur->rev));
    struct patched p = {kind_type(r->kind), &doc, named ? NULL : cur->managed};
    return patch_apply(r, &p, w->tree) && check_name(r, w->tree);
}

static bool names_fit(struct request *r)
{
    struct str ns = val_text_at(r->body, N(metadata), N(namespace));
    if (!check_name(r, r->body))
        return false;
    return !r->kind->namespaced || !ns.n || str_eq(ns, r->ns) ||
           fail_bad_request(r,
                            "the namespace of the provided object does not match the namespace sent on the request");
}

/* A controller of the server itself changes metadata alone, which every version has: nobody is asked for that. */
static void keep_version(struct write *w)
{
    struct request *r = w->r;
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, r->name);
    if (!o || !conversion_needed(r->kind, o))
        return;
    const struct kind *own = kind_newest(r->kinds, o, r->kind);
    if (own)
        r->kind = w->keeps = own;
}

void verb_write(struct request *r)
{
    bool patch = r->verb == VERB_PATCH, create = r->verb == VERB_CREATE;
    if (!create && !patch && !names_fit(r)) {
        request_finish(r);
        return;
    }
    struct write *w = write_new(r, create ? create_steps : write_update_steps);
    w->change = patch ? change_patch : change_put;
    w->uid_conflict = !patch;
    w->code = create ? 201 : 200;
    if (patch && r->as_stored && r->kind->custom)
        keep_version(w);
    write_start(w);
}
