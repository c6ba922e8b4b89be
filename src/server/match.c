#include "server/match.h"
#include "api/codec.h"
#include "api/selector.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/review.h"
#include "server/write.h"

/* --- which writes --- */

/* NULL selects everything here, unlike elsewhere: it was left out. What is no selector was not let in. */
static struct selector *match_selector(struct arena *a, const struct val *v)
{
    static const struct val everything = {.type = VAL_MAP};
    struct selector *s;
    struct err err = ERR;
    return selector_of(a, v ? v : &everything, &s, &err) ? s : NULL;
}

struct match match_of(struct arena *a, const struct val *v, const struct val *rules)
{
    return (struct match){
        .rules = rules,
        .excluded = val_get(v, N(excludeResourceRules)),
        .namespaces = match_selector(a, val_get(v, N(namespaceSelector))),
        .objects = match_selector(a, val_get(v, N(objectSelector))),
        .equivalent = !str_eqz(val_text_at(v, N(matchPolicy)), "Exact"),
    };
}

static bool names_one(const struct val *list, struct str what)
{
    val_each_item (it, list)
        if (str_eqz(val_text(it), "*") || str_eq(val_text(it), what))
            return true;
    return false;
}

static bool names_resource(const struct val *list, struct str resource, struct str sub)
{
    val_each_item (it, list) {
        struct str text = val_text(it), one;
        (void)str_cut(&text, '/', &one);
        if (!text.p)
            text = S("");
        if ((str_eqz(one, "*") || str_eq(one, resource)) && (str_eqz(text, "*") || str_eq(text, sub)))
            return true;
    }
    return false;
}

static bool names_object(const struct val *list, struct str name)
{
    val_each_item (it, list)
        if (str_eq(val_text(it), name))
            return true;
    return !val_len(list);
}

static bool rule_fits(const struct val *rule, const struct admission *x, const struct kind *k)
{
    struct str scope = val_text_at(rule, N(scope));
    if (!names_one(val_get(rule, N(operations)), str_of(review_operation(x->verb))) ||
        !names_one(val_get(rule, N(apiGroups)), k->group) || !names_one(val_get(rule, N(apiVersions)), k->version) ||
        !names_resource(val_get(rule, N(resources)), k->plural, x->sub) ||
        !names_object(val_get(rule, N(resourceNames)), x->name))
        return false;
    return str_eqz(scope, "Namespaced") ? k->namespaced : str_eqz(scope, "Cluster") ? !k->namespaced : true;
}

/* The kind as which one of the rules names what is written, the earlier rules first; NULL: none does. */
static const struct kind *rules_kind(const struct val *rules, const struct admission *x, bool equivalent)
{
    val_each_item (rule, rules)
        if (rule_fits(rule, x, x->kind))
            return x->kind;
    if (!equivalent)
        return NULL;
    const struct kind *stored = x->kind->storage ? x->kind->storage : x->kind;
    const struct kind_set *set = x->r->kinds;
    val_each_item (rule, rules) {
        for (size_t i = 0; i < set->n; i++) {
            const struct kind *k = set->kinds[i], *its = k->storage ? k->storage : k;
            if (its == stored && k != x->kind && rule_fits(rule, x, k))
                return k;
        }
    }
    return NULL;
}

static const struct val *labels_of(const struct val *obj)
{
    return val_at(obj, N(metadata), N(labels));
}

/* False: not matched, or r is answered, since there is no such namespace. */
static bool namespace_matches(const struct match *m, const struct admission *x)
{
    if (selector_is_everything(m->namespaces) || (!x->kind->namespaced && x->kind != K(Namespace)))
        return true;
    if (x->kind == K(Namespace) && !x->sub.n && (x->verb == VERB_CREATE || x->verb == VERB_UPDATE))
        return selector_matches(m->namespaces, labels_of(x->obj));
    struct str name = x->kind == K(Namespace) ? x->name : x->ns;
    AUTO(obj_unref) struct obj *ns = object_get(x->r->server, K(Namespace), S(""), name);
    if (!ns)
        return fail_named_not_found(x->r, S(""), S("namespaces"), name);
    return selector_matches(m->namespaces, labels_of(&ns->tree));
}

/* An update concerns it by what was there, too, so that a label is not taken off to get by. */
static bool object_matches(const struct match *m, const struct val *obj, const struct val *old)
{
    return selector_is_everything(m->objects) ||
           (val_get(obj, N(metadata)) && selector_matches(m->objects, labels_of(obj))) ||
           (val_get(old, N(metadata)) && selector_matches(m->objects, labels_of(old)));
}

enum matched match_asks(const struct match *m, const struct admission *x, const struct val *obj,
                        const struct val *old, const struct kind **as)
{
    *as = m->every ? x->kind : rules_kind(m->rules, x, m->equivalent);
    if (!*as || (m->excluded && rules_kind(m->excluded, x, m->equivalent)) || !object_matches(m, obj, old))
        return DOES_NOT_MATCH;
    if (namespace_matches(m, x))
        return MATCHES;
    return x->r->answer.type == ANSWER_NONE ? DOES_NOT_MATCH : MATCH_FAILED;
}

/* --- what is shown --- */

bool match_is_whole(const struct admission *x)
{
    return !x->apart && !str_eqz(x->sub, "scale");
}

static const struct val *scale_of(const struct admission *x, const struct val *tree)
{
    struct arena *a = &x->r->arena;
    struct val *scale = ARENA_NEW(a, struct val);
    return tree && kind_scale_of(a, x->kind, tree, scale) ? scale : NULL;
}

bool match_as(const struct admission *x, const struct kind *from, const struct kind *to, const struct val *tree,
              const struct val **out)
{
    struct err err = ERR;
    switch (write_as(x->r->write, from, to, tree, out, &err)) {
    case CONVERTED: return true;
    case CONVERTING: return false;
    case CONVERTED_NOT: break;
    }
    return fail_internal(x->r, "%s", err.text);
}

bool match_objects(const struct admission *x, const struct val **obj, const struct val **old)
{
    const struct write *w = x->r->write;
    bool scale = !x->apart && !match_is_whole(x);
    *obj = scale ? scale_of(x, x->obj) : x->obj;
    *old = scale ? scale_of(x, x->old) : x->old;
    if (scale || !x->old || x->verb != VERB_DELETE || !w->stored || w->stored->kind == x->kind)
        return true;
    struct val newest = object_newest(&x->r->arena, x->r->kinds, w->stored);
    return match_as(x, w->stored->kind, x->kind, &newest, old);
}

static bool seen_as(const struct admission *x, const struct kind *as, const struct val *v, const struct val **out)
{
    *out = v;
    return !v || as == x->kind || !match_is_whole(x) || match_as(x, x->kind, as, v, out);
}

/* Both are asked for at once. */
bool match_sees(const struct admission *x, const struct kind *as, const struct val *obj, const struct val *old,
                const struct val **obj_seen, const struct val **old_seen)
{
    bool first = seen_as(x, as, obj, obj_seen);
    return (first || x->r->answer.type == ANSWER_NONE) && seen_as(x, as, old, old_seen) && first;
}

/* A service account's groups are those that its tokens say. */
static struct user account_of(struct arena *a, const struct cel_access *x)
{
    struct str *groups = arena_alloc(a, 3 * sizeof *groups);
    groups[0] = S("system:serviceaccounts");
    groups[1] = arena_fmt(a, "system:serviceaccounts:" STR_FMT, STR_ARG(x->account_ns));
    groups[2] = S("system:authenticated");
    return (struct user){.name = arena_fmt(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(x->account_ns),
                                           STR_ARG(x->account)),
                         .groups = groups,
                         .ngroups = 3};
}

static bool facts_allow(const struct cel_authorizer *self, struct arena *a, const struct cel_access *x,
                        struct str *reason)
{
    const struct match_facts *f = container_of(self, struct match_facts, authorizer);
    struct user account = x->account.n ? account_of(a, x) : (struct user){0};
    struct attributes asked = {.user = x->account.n ? &account : f->x->r->user,
                               .verb = x->verb,
                               .group = x->group,
                               .version = S("*"),
                               .resource = x->resource,
                               .sub = x->sub,
                               .ns = x->ns,
                               .name = x->name,
                               .is_resource = !x->of_path,
                               .path = x->path,
                               .explains = true};
    return rbac_allows(f->x->r->server, a, &asked, reason);
}

/* As JSON reads it: with the zeros that Go writes, and bytes as text. */
static const struct val *val_shown(const struct admission *x, const struct kind *as, const struct val *seen)
{
    if (!seen)
        return NULL;
    struct val *whole = ARENA_NEW(&x->r->arena, struct val);
    *whole = type_complete(&x->r->arena, review_type(as, seen), seen);
    return whole;
}

bool match_facts_of(struct match_facts *f, struct admission *x, const struct kind *as, const struct val *obj,
                    const struct val *old)
{
    struct review v = {.x = x, .as = as, .uid = S("")};
    if (!match_sees(x, as, obj, old, &v.obj, &v.old))
        return false;
    *f = (struct match_facts){.x = x, .authorizer = {facts_allow}};
    f->told = (struct cel_admission){
        .request = &f->request,
        .obj = val_shown(x, as, v.obj),
        .old = val_shown(x, as, v.old),
        .authorizer = &f->authorizer,
        .resource =
            {.group = x->kind->group, .resource = x->kind->plural, .sub = x->sub, .ns = x->ns, .name = x->name},
    };
    f->request = review_request(&x->r->arena, &v);
    return true;
}
