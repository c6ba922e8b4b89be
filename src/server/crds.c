/* crds.c - the kinds of definitions. Every commit that touches one makes its kinds anew (those of others stay the
 * very ones they were) and publishes a set of all; watches of replaced kinds end by that (kinds.c), as upstream's do.
 * What does not change what is served - conditions, labels, the deletion that has begun - changes no kinds. */
#include "server/crds.h"
#include "api/custom.h"
#include "base/log.h"
#include "cel/rules.h"
#include "server/fail.h"
#include "server/outbound.h"
#include "server/review.h"

struct crd {
    const struct kind *kinds[CUSTOM_VERSIONS]; /* each a reference */
    size_t n;
    size_t coming;         /* instances that are on their way to the store */
    struct outbound *hook; /* that converts them; NULL: none does */
    bool beta;             /* and is asked in v1beta1 */
};
struct crds {
    struct server *server;
    struct map by_name; /* of definitions -> struct crd */
    bool stale;         /* what is published is not what they are */
    bool opened;        /* what is stored of definitions is known */
};

struct crds *crds_new(struct server *s)
{
    struct crds *c = NEW(struct crds);
    schema_rules_are_checked_by(cel_rules_check);
    c->server = s;
    return c;
}

static void kinds_forget(struct crd *d)
{
    while (d->n)
        kind_unref(d->kinds[--d->n]);
    outbound_unref(TAKE(d->hook));
}

void crds_free(struct crds *c)
{
    if (!c)
        return;
    map_each (it, &c->by_name) {
        kinds_forget(it->value);
        mem_free(it->value);
    }
    map_fini(&c->by_name);
    mem_free(c);
}

/* --- what has no definition --- */

const struct kind kind_undefined = {.group = S_INIT(""),
                                    .version = S_INIT("v1"),
                                    .kind = S_INIT("Undefined"),
                                    .list_kind = S_INIT("UndefinedList"),
                                    .plural = S_INIT("undefined"),
                                    .singular = S_INIT("undefined"),
                                    .api_version = S_INIT("v1"),
                                    .type = T(any),
                                    .storage = &kind_undefined,
                                    .id = -1};

bool crds_undefined(struct kind_publisher *p, struct str resource)
{
    const struct server *s = container_of(p, struct server, kinds);
    struct str plural, group;
    if (s->options.kinds || !s->crds->opened || !str_split(resource, '.', &plural, &group))
        return false;
    for (size_t i = 0; i < ngroup_versions; i++)
        if (str_eq(group_versions[i].group, group))
            return false;
    return true;
}

/* --- kinds --- */

static struct crd *crd_need(struct crds *c, struct str name)
{
    struct crd *d = map_get(&c->by_name, name);
    if (!d) {
        d = NEW(struct crd);
        (void)map_put(&c->by_name, name, d); /* none was there */
    }
    return d;
}

static void hook_make(struct server *s, struct crd *d, const struct val *conversion)
{
    const struct val *webhook = val_get(conversion, N(webhook));
    if (!str_eqz(val_text_at(conversion, N(strategy)), "Webhook"))
        return;
    d->hook = outbound_of_client(s, val_get(webhook, N(clientConfig)));
    d->beta = review_wants_beta(val_get(webhook, N(conversionReviewVersions)));
}

struct outbound *crds_hook(struct server *s, const struct kind *k, bool *beta)
{
    const struct crd *d = map_get(&s->crds->by_name, k->custom->definition);
    *beta = d && d->beta;
    return d ? d->hook : NULL;
}

/* False: what was served of it goes on. */
static bool kinds_make(struct crds *c, const struct obj *definition)
{
    struct crd *d = crd_need(c, definition->name);
    struct crd made = {0};
    struct err err = ERR;
    if (!custom_kinds(definition, made.kinds, &made.n, &err)) {
        log_warn("crd.kinds", "name=" STR_FMT " error=\"%s\"", STR_ARG(definition->name), err.text);
        return false;
    }
    kinds_forget(d);
    memcpy(d->kinds, made.kinds, made.n * sizeof *made.kinds);
    d->n = made.n;
    hook_make(c->server, d, val_get(obj_spec(definition), N(conversion)));
    return true;
}

static bool kinds_shown(const struct crds *c, struct str definition)
{
    const struct crd *d = map_get(&c->by_name, definition);
    for (size_t i = 0; d && i < d->n; i++)
        if (!d->kinds[i]->custom->hidden)
            return true;
    return false;
}

static const struct kind_set *kinds_all(struct crds *c)
{
    ARRAY(const struct kind *) all = {0};
    map_each (it, &c->by_name) {
        const struct crd *d = it->value;
        for (size_t i = 0; i < d->n; i++)
            array_push(&all, d->kinds[i]);
    }
    const struct kind_set *set = kind_set_new(all.p, all.n);
    array_fini(&all);
    c->stale = false;
    return set;
}

const struct kind_set *crds_stored(struct crds *c, const struct store_snapshot *have)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str prefix = object_prefix(&a, K(CustomResourceDefinition));
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, have, prefix, STR_NONE); e; e = store_next(&it))
        (void)kinds_make(c, object_of(e)); /* logged */
    c->opened = true;
    return kinds_all(c);
}

void crds_changed(struct crds *c, const struct obj *was, const struct obj *now)
{
    if (now && (!was || !definition_same(was, now))) {
        /* of a new one nothing is served before it is established, in a moment: then it is published with that */
        c->stale |= kinds_make(c, now) && (was || kinds_shown(c, now->name));
    } else if (!now) {
        struct crd *gone = map_del(&c->by_name, was->name);
        if (!gone)
            return;
        kinds_forget(gone);
        mem_free(gone);
        c->stale = true;
    }
}

void crds_publish(struct crds *c)
{
    if (c->stale)
        kinds_serve(c->server, kinds_all(c));
}

/* --- instances --- */

/* As it is stored; borrowed in this turn. NULL: there is none. */
static const struct obj *definition_of(struct server *s, const struct kind *k)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return object_of(store_get(s->store, object_key(&a, K(CustomResourceDefinition), S(""), k->custom->definition)));
}

bool crds_take(struct request *r)
{
    if (!r->kind->custom)
        return true;
    const struct obj *d = definition_of(r->server, r->kind);
    if (d && str_eq(d->uid, r->kind->custom->uid) && !obj_deleting(d) && !definition_is(d, "Terminating"))
        return true;
    return fail_forbidden(r, "create not allowed while custom resource definition is terminating");
}

void crds_put(struct write *w)
{
    const struct kind *k = w->r->kind;
    struct crd *d = k->custom && !w->stored ? map_get(&w->r->server->crds->by_name, k->custom->definition) : NULL;
    if (d && !w->counted) {
        w->counted = true;
        d->coming++;
    }
}

void crds_put_over(struct write *w)
{
    struct crd *d = w->counted ? map_get(&w->r->server->crds->by_name, w->r->kind->custom->definition) : NULL;
    w->counted = false;
    if (d)
        d->coming--;
}

static void rules_forget(void *rules)
{
    cel_rules_free(rules);
}

void crds_rules(const struct kind *k, const struct val *v, const struct val *old, struct field_errors *e)
{
    struct custom *c = k->custom;
    if (!c || !custom_schema(k)->nrules)
        return;
    if (schema_errors_block(e)) {
        field_error_add(e, FE_INVALID, "<nil>",
                        "Invalid value: null: some validation rules were not checked because the object was invalid; "
                        "correct the existing errors to complete validation");
        return;
    }
    if (!c->rules) {
        c->rules = cel_rules_new(custom_schema(k));
        c->rules_free = rules_forget;
    }
    AUTO(field_errors_fini) struct field_errors warnings = {.arena = e->arena}; /* of what has not changed */
    if (c->rules)
        cel_rules_run(c->rules, v, old, e, &warnings);
}

/* --- the end of a definition --- */

static size_t instances_of(struct server *s, const struct obj *definition)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(s->store);
    struct str prefix = arena_fmt(&a, STR_FMT "/", STR_ARG(definition->name));
    return store_count(&snap, prefix, prefix);
}

bool crds_may_go(struct request *r, const struct obj *definition)
{
    size_t n = instances_of(r->server, definition);
    struct str kind = val_text_at(obj_spec(definition), N(names), N(kind));
    if (str_eqz(obj_note(definition, "wherry.dev/protect"), "true"))
        return fail_forbidden(
            r,
            "the annotation wherry.dev/protect: \"true\" protects it and its %zu object%s of kind " STR_FMT
            "; take it away first: kubectl annotate crd " STR_FMT " wherry.dev/protect-",
            n, n == 1 ? "" : "s", STR_ARG(kind), STR_ARG(definition->name));
    if (n && !obj_deleting(definition))
        answer_warn(r, arena_fmt(&r->arena, "%zu object%s of kind " STR_FMT " %s deleted with the definition", n,
                                 n == 1 ? "" : "s", STR_ARG(kind), n == 1 ? "is" : "are"));
    return true;
}

void crds_mark(struct request *r, struct val *definition)
{
    struct arena *a = &r->arena;
    struct val *meta = val_need_map(a, definition, N(metadata)), *status = val_need_map(a, definition, N(status)), c;
    struct str now = time_text(a, clock_real() / NS_PER_S * NS_PER_S);
    val_set_text(a, meta, N(deletionTimestamp), now);
    struct val list = val_list(), conditions = val_list();
    bool held = false;
    val_each_item (it, val_get(meta, N(finalizers))) {
        held |= str_eqz(val_text(it), CUSTOM_CLEANUP);
        val_add(a, &list, *it);
    }
    if (!held)
        val_add(a, &list, val_str_borrowed(S(CUSTOM_CLEANUP)));
    val_set(a, meta, N(finalizers), list);
    c = val_map();
    val_set_text(a, &c, N(type), S("Terminating"));
    val_set_text(a, &c, N(status), S("True"));
    val_set_text(a, &c, N(lastTransitionTime), now);
    val_set_text(a, &c, N(reason), S("InstanceDeletionPending"));
    val_set_text(a, &c, N(message),
                 S("CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"));
    val_each_item (it, val_get(status, N(conditions)))
        if (!str_eqz(val_text_at(it, N(type)), "Terminating"))
            val_add(a, &conditions, *it);
    val_add(a, &conditions, c);
    val_set(a, status, N(conditions), conditions);
}

/* Deletions that nobody waits for: a portion of what is left of the instances. */
struct leftovers {
    struct store_op op;
    struct arena arena;
    struct store_write writes[STORE_TXN_MAX];
};

static void leftovers_done(struct store_op *op)
{
    struct leftovers *l = container_of(op, struct leftovers, op);
    if (!op->ok)
        log_error("crd.leftovers", "error=\"%s\"", op->err.text);
    arena_fini(&l->arena);
    mem_free(l);
}

static void leftovers_put(struct server *s, struct leftovers *own_l)
{
    own_l->op.writes = own_l->writes;
    own_l->op.done = leftovers_done;
    store_write(s->store, &own_l->op);
}

bool crds_leave(struct write *w)
{
    struct server *s = w->r->server;
    struct crd *d = map_get(&s->crds->by_name, w->cur->name);
    if (d && d->coming)
        return fail_conflict(w->r, "%zu of its objects are being made; try again", d->coming);
    AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(s->store);
    struct str prefix = arena_fmt(&w->r->arena, STR_FMT "/", STR_ARG(w->cur->name));
    struct leftovers *l = NULL;
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, &snap, prefix, STR_NONE); e; e = store_next(&it)) {
        if (!l)
            l = NEW(struct leftovers);
        l->writes[l->op.n++] = (struct store_write){.key = str_dup(&l->arena, store_entry_key(e)),
                                                    .expect = STORE_ANY};
        if (l->op.n == STORE_TXN_MAX)
            leftovers_put(s, TAKE(l));
    }
    if (l)
        leftovers_put(s, l);
    return true;
}
