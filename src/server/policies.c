/* How policies are asked. Nothing waits: expressions see the object, the namespace and the parameters as they are in
 * the newest snapshot. Policies come in the order of their names, and of each its bindings in that of theirs. All
 * validating ones are asked, for their warnings, and the first refusal is told; a mutating one sees what those before
 * it did. */
#include "server/policies.h"
#include "api/apply.h"
#include "api/codec.h"
#include "api/patch.h"
#include "api/selector.h"
#include "server/fail.h"
#include "server/match.h"
#include "server/review.h"
#include "server/write.h"

/* --- what is configured, compiled --- */

struct policy_binding {
    struct arena arena;
    struct str name, policy;
    struct match match;
    bool narrows, deny, warn;
    const struct val *params; /* paramRef; NULL: none */
    struct selector *selector;
    bool missing_denied;
};
struct policy {
    struct arena arena;
    struct str name;
    struct match match;
    struct cel_policy *compiled;
    bool ignore;
    struct str param_version, param_kind; /* "": it has no parameters */
    bool again;                           /* reinvocationPolicy */
    const struct val *mutations;
    struct policy_binding **bindings; /* in policy_list */
    size_t nbindings;
};
struct policy_list {
    ARRAY(struct policy *) all;              /* by name */
    ARRAY(struct policy_binding *) bindings; /* by policy, then by name */
    bool linked;                             /* policies know their bindings */
    size_t bound;                            /* that have one, where linked */
};
struct policies {
    struct server *server;
    struct policy_list validating, mutating;
};

static void policy_free(struct policy *p)
{
    cel_policy_free(p->compiled);
    arena_fini(&p->arena);
    mem_free(p);
}

static void binding_free(struct policy_binding *b)
{
    arena_fini(&b->arena);
    mem_free(b);
}

static struct policy *policy_new(const struct obj *o)
{
    struct policy *p = NEW(struct policy);
    *p = (struct policy){.arena = ARENA};
    struct arena *a = &p->arena;
    struct val *spec = ARENA_NEW(a, struct val);
    *spec = val_copy(a, val_get(&o->tree, N(spec)));
    const struct val *match = val_get(spec, N(matchConstraints)), *params = val_get(spec, N(paramKind));
    p->name = str_dup(a, o->name);
    p->match = match_of(a, match, val_get(match, N(resourceRules)));
    p->compiled = cel_policy_new(spec);
    p->ignore = str_eqz(val_text_at(spec, N(failurePolicy)), "Ignore");
    p->param_version = val_text_at(params, N(apiVersion));
    p->param_kind = val_text_at(params, N(kind));
    p->again = str_eqz(val_text_at(spec, N(reinvocationPolicy)), "IfNeeded");
    p->mutations = val_get(spec, N(mutations));
    return p;
}

static bool list_has(const struct val *list, const char *text)
{
    val_each_item (it, list)
        if (str_eqz(val_text(it), text))
            return true;
    return false;
}

static struct policy_binding *binding_new(const struct obj *o)
{
    struct policy_binding *b = NEW(struct policy_binding);
    *b = (struct policy_binding){.arena = ARENA};
    struct arena *a = &b->arena;
    struct val *spec = ARENA_NEW(a, struct val);
    struct err err = ERR;
    *spec = val_copy(a, val_get(&o->tree, N(spec)));
    const struct val *match = val_get(spec, N(matchResources)), *actions = val_get(spec, N(validationActions));
    b->name = str_dup(a, o->name);
    b->policy = val_text_at(spec, N(policyName));
    b->narrows = match != NULL;
    b->match = match_of(a, match, val_get(match, N(resourceRules)));
    b->match.every = !val_len(b->match.rules);
    b->deny = list_has(actions, "Deny");
    b->warn = list_has(actions, "Warn");
    b->params = val_get(spec, N(paramRef));
    if (!selector_of(a, val_get(b->params, N(selector)), &b->selector, &err))
        b->selector = NULL;
    b->missing_denied = str_eqz(val_text_at(b->params, N(parameterNotFoundAction)), "Deny");
    return b;
}

static int binding_order(const struct policy_binding *x, struct str policy, struct str name)
{
    int order = str_cmp(x->policy, policy);
    return order ? order : str_cmp(x->name, name);
}

static void policy_changed(struct policy_list *l, const struct obj *o, bool gone)
{
    size_t at = 0;
    while (at < l->all.n && str_cmp(l->all.p[at]->name, o->name) < 0)
        at++;
    if (at < l->all.n && str_eq(l->all.p[at]->name, o->name)) {
        policy_free(l->all.p[at]);
        array_del(&l->all, at);
    }
    if (gone)
        return;
    array_push(&l->all, NULL);
    memmove(l->all.p + at + 1, l->all.p + at, (l->all.n - 1 - at) * sizeof *l->all.p);
    l->all.p[at] = policy_new(o);
}

static void binding_changed(struct policy_list *l, const struct obj *o, bool gone)
{
    for (size_t i = 0; i < l->bindings.n; i++)
        if (str_eq(l->bindings.p[i]->name, o->name)) {
            binding_free(l->bindings.p[i]);
            array_del(&l->bindings, i);
            break;
        }
    if (gone)
        return;
    struct policy_binding *b = binding_new(o);
    size_t at = 0;
    while (at < l->bindings.n && binding_order(l->bindings.p[at], b->policy, b->name) < 0)
        at++;
    array_push(&l->bindings, NULL);
    memmove(l->bindings.p + at + 1, l->bindings.p + at, (l->bindings.n - 1 - at) * sizeof *l->bindings.p);
    l->bindings.p[at] = b;
}

/* Both lists are in order of policies' names. */
static void list_link(struct policy_list *l)
{
    size_t at = 0;
    l->bound = 0;
    array_each (it, &l->all) {
        struct policy *p = *it;
        while (at < l->bindings.n && str_cmp(l->bindings.p[at]->policy, p->name) < 0)
            at++;
        p->bindings = l->bindings.p + at;
        for (p->nbindings = 0; at < l->bindings.n && str_eq(l->bindings.p[at]->policy, p->name); at++)
            p->nbindings++;
        l->bound += p->nbindings > 0;
    }
    l->linked = true;
}

void policies_changed(struct policies *p, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    const struct kind *k = o->kind;
    struct policy_list *l = k == K(ValidatingAdmissionPolicy) || k == K(ValidatingAdmissionPolicyBinding)
                                ? &p->validating
                            : k == K(MutatingAdmissionPolicy) || k == K(MutatingAdmissionPolicyBinding) ? &p->mutating
                                                                                                        : NULL;
    if (!l)
        return;
    l->linked = false;
    if (k == K(ValidatingAdmissionPolicy) || k == K(MutatingAdmissionPolicy))
        policy_changed(l, o, !now);
    else
        binding_changed(l, o, !now);
}

struct policies *policies_new(struct server *s)
{
    struct policies *p = NEW(struct policies);
    p->server = s;
    return p;
}

static void list_free(struct policy_list *l)
{
    array_each (it, &l->all)
        policy_free(*it);
    array_each (it, &l->bindings)
        binding_free(*it);
    array_fini(&l->all);
    array_fini(&l->bindings);
}

void policies_free(struct policies *p)
{
    if (!p)
        return;
    list_free(&p->validating);
    list_free(&p->mutating);
    mem_free(p);
}

/* --- parameters --- */

struct params {
    const struct admission *x;
    struct request *r;
    const struct kind *kind;
    const struct policy_binding *binding;
    ARRAY(const struct val *) found;
};

static void params_fini(struct params *p)
{
    array_fini(&p->found);
}
AUTO_VALUE(params_fini, struct params);

static void param_add(struct params *p, struct obj *o)
{
    struct arena *a = &p->r->arena;
    struct val *v = ARENA_NEW(a, struct val), newest = object_newest(a, p->r->kinds, o);
    const struct val *as;
    if (!match_as(p->x, o->kind, p->kind, &newest, &as))
        return;
    *v = type_complete(a, kind_type(p->kind), as);
    array_push(&p->found, v);
}

static bool param_selected(struct obj *o, void *arg)
{
    struct params *p = arg;
    if (p->binding->selector && selector_matches(p->binding->selector, val_get(obj_meta(o), N(labels))))
        param_add(p, o);
    return true;
}

/* What the binding's paramRef names. NULL: found, be it none; else why it is a mistake. */
static const char *params_find(struct params *p, struct str ns)
{
    const struct policy_binding *b = p->binding;
    struct str name = val_text_at(b->params, N(name)), given = val_text_at(b->params, N(namespace));
    if (!p->kind->namespaced && given.n)
        return "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
    if (!p->kind->namespaced)
        ns = S("");
    else if (given.n)
        ns = given;
    else if (!ns.n)
        return "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
    if (name.n) {
        AUTO(obj_unref) struct obj *o = object_get(p->r->server, p->kind, ns, name);
        if (o)
            param_add(p, o);
    } else {
        objects_each(p->r->server, p->kind, p->kind->namespaced ? ns : STR_NONE, param_selected, p);
    }
    return p->found.n || !b->missing_denied
               ? NULL
               : "no params found for policy binding with `Deny` parameterNotFoundAction";
}

/* --- asking --- */

/* One write before the policies of a list. */
struct policy_round {
    struct admission *x;
    const struct val *obj, *old;
    const struct kind *as; /* of facts */
    bool shown;            /* facts are there */
    bool changed;          /* the object is another one than they show */
    bool ends;             /* r is answered, or see match_as */
    struct match_facts facts;
    const struct val *ns;
    struct str refusal, reason; /* the first; "": none */
};

static struct str namespace_of(const struct admission *x)
{
    return x->kind == K(Namespace) ? x->name : x->ns;
}

/* As expressions see the write. False: r is answered, since there is no such namespace, or see match_as. */
static bool round_show(struct policy_round *round, const struct kind *as)
{
    struct admission *x = round->x;
    if (round->changed && !match_objects(x, &round->obj, &round->old))
        return false;
    if (round->changed || !round->shown || round->as != as) {
        round->changed = false;
        if (!match_facts_of(&round->facts, x, as, round->obj, round->old))
            return false;
        round->as = as;
        round->shown = true;
    }
    if (!round->ns && x->kind->namespaced) {
        AUTO(obj_unref) struct obj *ns = object_get(x->r->server, K(Namespace), S(""), x->ns);
        if (!ns)
            return fail_named_not_found(x->r, S(""), S("namespaces"), x->ns);
        struct val *v = ARENA_NEW(&x->r->arena, struct val);
        *v = type_complete(&x->r->arena, K(Namespace)->type, &ns->tree);
        round->ns = v;
    }
    round->facts.told.ns = round->ns;
    return true;
}

static void round_refuse(struct policy_round *round, struct str text, struct str reason)
{
    if (round->refusal.n)
        return;
    round->refusal = text;
    round->reason = reason;
}

/* A policy or binding that is wrong in itself is told as such, whatever its actions say. */
static void round_misconfigured(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                                struct str why)
{
    struct arena *a = &round->x->r->arena;
    if (p->ignore)
        return;
    struct str with = b ? arena_fmt(a, " with binding '" STR_FMT "'", STR_ARG(b->name)) : S("");
    round_refuse(round,
                 arena_fmt(a,
                           "ValidatingAdmissionPolicy '" STR_FMT "'" STR_FMT " denied request: failed to configure "
                           "%s: " STR_FMT,
                           STR_ARG(p->name), STR_ARG(with), b ? "binding" : "policy", STR_ARG(why)),
                 S("Invalid"));
}

static void round_found(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                        const struct cel_refusal *found)
{
    struct request *r = round->x->r;
    if (found->failed && p->ignore)
        return;
    if (b->deny || found->annotation)
        round_refuse(round,
                     arena_fmt(&r->arena,
                               "ValidatingAdmissionPolicy '" STR_FMT "' with binding '" STR_FMT
                               "' denied request: " STR_FMT,
                               STR_ARG(p->name), STR_ARG(b->name), STR_ARG(found->message)),
                     found->reason);
    if (b->warn && !found->annotation)
        answer_warn(r, arena_fmt(&r->arena,
                                 "Validation failed for ValidatingAdmissionPolicy '" STR_FMT
                                 "' with binding '" STR_FMT "': " STR_FMT,
                                 STR_ARG(p->name), STR_ARG(b->name), STR_ARG(found->message)));
}

/* With one parameter, or with none. */
static void policy_validate(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                            const struct val *param)
{
    struct arena *a = &round->x->r->arena;
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 16);
    struct cel_refusal *found = NULL, unknown = {.failed = true, .reason = S("")};
    round->facts.told.params = param;
    switch (cel_policy_met(p->compiled, &round->facts.told, &why)) {
    case CEL_NOT_MET: return;
    case CEL_UNKNOWN:
        unknown.message = str_dup(a, strbuf_str(&why));
        round_found(round, p, b, &unknown);
        return;
    case CEL_MET: break;
    }
    size_t n = cel_policy_validate(p->compiled, a, &round->facts.told, &found);
    for (size_t i = 0; i < n; i++)
        round_found(round, p, b, &found[i]);
}

typedef void policy_ask(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                        const struct val *param);
typedef void policy_wrong(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                          struct str why);

/* False: r is answered. */
static bool binding_ask(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                        const struct kind *as, policy_ask *ask, policy_wrong *wrong)
{
    struct admission *x = round->x;
    const struct kind *its;
    enum matched matched = b->narrows ? match_asks(&b->match, x, round->obj, round->old, &its) : MATCHES;
    if (matched != MATCHES)
        return matched == DOES_NOT_MATCH;
    AUTO(params_fini) struct params params = {.x = x, .r = x->r, .binding = b};
    bool has = p->param_kind.n && b->params;
    if (has) {
        params.kind = kind_set_of_api_version(x->r->kinds, p->param_version, p->param_kind);
        const char *why = params_find(&params, namespace_of(x));
        if (x->r->write->missing ||
            x->r->answer.type != ANSWER_NONE) /* some are to be converted first, or cannot be */
            return false;
        if (why) {
            wrong(round, p, b, str_of(why));
            return true;
        }
    }
    if (!round_show(round, as))
        return false;
    if (!has)
        ask(round, p, b, NULL);
    array_each (it, &params.found)
        if (!round->ends)
            ask(round, p, b, *it);
    return !round->ends;
}

/* "rules.example.com/v1, Kind=Limit": as upstream names a kind. */
static bool param_kind_known(struct policy_round *round, const struct policy *p, policy_wrong *wrong)
{
    struct request *r = round->x->r;
    if (!p->param_kind.n || kind_set_of_api_version(r->kinds, p->param_version, p->param_kind))
        return true;
    bool core = str_find_char(p->param_version, '/') < 0;
    wrong(round, p, NULL,
          arena_fmt(&r->arena, "failed to find resource referenced by paramKind: '%s" STR_FMT ", Kind=" STR_FMT "'",
                    core ? "/" : "", STR_ARG(p->param_version), STR_ARG(p->param_kind)));
    return false;
}

static bool policy_ask_bindings(struct policy_round *round, const struct policy *p, policy_ask *ask,
                                policy_wrong *wrong)
{
    const struct kind *as;
    switch (match_asks(&p->match, round->x, round->obj, round->old, &as)) {
    case MATCH_FAILED: return false;
    case DOES_NOT_MATCH: return true;
    case MATCHES: break;
    }
    if (!p->compiled || !param_kind_known(round, p, wrong))
        return true;
    for (size_t i = 0; i < p->nbindings; i++)
        if (!binding_ask(round, p, p->bindings[i], as, ask, wrong))
            return false;
    return true;
}

/* Who would have to be asked about a bad one could not be taken away by anybody. */
static bool is_policy(const struct kind *k)
{
    return k == K(ValidatingAdmissionPolicy) || k == K(ValidatingAdmissionPolicyBinding) ||
           k == K(MutatingAdmissionPolicy) || k == K(MutatingAdmissionPolicyBinding);
}

/* Questions about who somebody is and what they may are answered whatever policies say. */
static bool is_review(const struct kind *k)
{
    return str_eqz(k->group, "authentication.k8s.io") || str_eqz(k->group, "authorization.k8s.io");
}

static bool list_concerns(struct policy_list *l, const struct admission *x)
{
    if (!l->all.n || !l->bindings.n || is_policy(x->kind) || is_review(x->kind))
        return false;
    if (!l->linked)
        list_link(l);
    return l->bound > 0;
}

static bool fail_by_policy(struct request *r, struct str text, struct str reason)
{
    static const struct {
        const char *reason;
        int code;
    } codes[] = {{"Forbidden", 403}, {"Unauthorized", 401}, {"RequestEntityTooLarge", 413}, {"Invalid", 422}};
    struct failure *f = &r->answer.fail;
    fail_forbidden(r, STR_FMT, STR_ARG(text));
    f->reason = "Invalid";
    f->code = 422;
    for (size_t i = 0; i < countof(codes); i++)
        if (str_eqz(reason, codes[i].reason)) {
            f->reason = codes[i].reason;
            f->code = codes[i].code;
        }
    fail_add_cause(r, "", text, STR_NONE);
    return false;
}

bool admit_policies_validate(struct admission *x)
{
    struct policy_list *l = &x->r->server->policies->validating;
    if (!list_concerns(l, x))
        return true;
    struct policy_round round = {.x = x, .refusal = S(""), .reason = S("")};
    if (!match_objects(x, &round.obj, &round.old))
        return false;
    array_each (it, &l->all)
        if ((*it)->nbindings && !policy_ask_bindings(&round, *it, policy_validate, round_misconfigured))
            return false;
    return !round.refusal.n || fail_by_policy(x->r, round.refusal, round.reason);
}

/* --- mutating --- */

/* A policy that was asked, by a binding and with a parameter; as webhook_asked. */
struct policy_asked {
    struct policy_asked *next;
    struct str key;
    size_t done; /* of its mutations, in this pass; SIZE_MAX: all, or it was not to be asked */
    bool may_again, must_again;
};
/* What policies did to a write, in both passes over the mutating rows. */
struct policy_pass {
    struct policy_asked *asked;
    bool changed, once_more;
    const struct val *last; /* the object when the row was through */
};

static void others_again(struct policy_pass *pass)
{
    for (struct policy_asked *it = pass->asked; it; it = it->next) {
        it->must_again |= it->may_again;
        it->may_again = false;
    }
}

bool policies_changed_it(const struct admission *x)
{
    return x->policies && x->policies->changed;
}

void policies_once_more(struct admission *x)
{
    if (!x->policies)
        return;
    x->policies->once_more = true;
    for (struct policy_asked *it = x->policies->asked; it; it = it->next)
        it->done = 0;
}

static struct policy_asked *pass_asked(struct policy_pass *pass, struct arena *a, struct str key)
{
    for (struct policy_asked *it = pass->asked; it; it = it->next)
        if (str_eq(it->key, key))
            return it;
    struct policy_asked *asked = ARENA_NEW(a, struct policy_asked);
    *asked = (struct policy_asked){.next = pass->asked, .key = key};
    return pass->asked = asked;
}

static void mutating_wrong_as(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                              struct str why, const char *reason)
{
    struct arena *a = &round->x->r->arena;
    if (p->ignore)
        return;
    round_refuse(round,
                 b ? arena_fmt(a, "policy '" STR_FMT "' with binding '" STR_FMT "' denied request: " STR_FMT,
                               STR_ARG(p->name), STR_ARG(b->name), STR_ARG(why))
                   : arena_fmt(a, "policy \"" STR_FMT "\" denied request: " STR_FMT, STR_ARG(p->name), STR_ARG(why)),
                 str_of(reason));
}

static void mutating_misconfigured(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                                   struct str why)
{
    struct str text = arena_fmt(&round->x->r->arena, "failed to configure %s: " STR_FMT, b ? "binding" : "policy",
                                STR_ARG(why));
    mutating_wrong_as(round, p, b, text, "Forbidden");
}

/* One after another, as a test that fails leaves the object as it was. False: `why` says it. */
static bool operations_apply(struct arena *a, const struct val *whole, const struct val *patch, struct val *out,
                             struct strbuf *why)
{
    *out = *whole;
    val_each_item (operation, patch) {
        struct val one = val_list(), patched;
        struct err err = ERR;
        val_add(a, &one, *operation);
        if (patch_json(a, out, &one, &patched, &err)) {
            *out = patched;
            continue;
        }
        if (str_eqz(val_text(val_get_str(operation, S("op"))), "test")) {
            *out = *whole;
            return true;
        }
        strbuf_addf(why, "JSONPath: %s", err.text);
        return false;
    }
    return true;
}

static bool configuration_merge(struct arena *a, const struct type *type, const struct val *live,
                                const struct val *config, struct val *out, struct strbuf *why)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf atomics = STRBUF(1 << 16);
    if (!apply_check(a, type, config, &err)) {
        strbuf_addf(why, "error applying patch: failed to convert patch object to typed object: %s", err.text);
        return false;
    }
    apply_atomics(type, config, &atomics);
    if (atomics.n) {
        strbuf_addf(why,
                    "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or "
                    "structs: " STR_FMT,
                    STR_ARG(strbuf_str(&atomics)));
        return false;
    }
    *out = apply_merge(a, type, live, config);
    return true;
}

/* What the mutation makes of the object, which is a change or none. False: `why` says it, or r is answered. */
static bool mutation_apply(struct policy_round *round, const struct val *made, struct strbuf *why)
{
    struct admission *x = round->x;
    struct request *r = x->r;
    struct arena *a = &r->arena;
    struct err err = ERR;
    const struct val *seen, *was, *back = NULL;
    if (!match_sees(x, round->as, round->obj, round->old, &seen, &was))
        return false;
    const struct type *type = review_type(round->as, seen);
    struct val raw, typed;
    if (val_is(made, VAL_LIST) ? !operations_apply(a, round->facts.told.obj, made, &raw, why)
                               : !configuration_merge(a, type, seen, made, &raw, why))
        return false;
    if (!type_decode_val(a, type, &raw, &typed, NULL, &err))
        return fail_internal(r, "%s", err.text);
    if (!str_eq(val_text_at(&typed, N(kind)), val_text_at(seen, N(kind))) ||
        !str_eq(val_text_at(&typed, N(apiVersion)), val_text_at(seen, N(apiVersion)))) {
        strbuf_addz(why, "a policy may not change apiVersion or kind of the object");
        return false;
    }
    struct str ns = val_text_at(&typed, N(metadata), N(namespace));
    if (x->kind->namespaced && !x->apart && ns.n && !str_eq(ns, x->ns))
        return fail_bad_request(
            r, "the namespace of the provided object does not match the namespace sent on the request");
    if (!x->apart && type == kind_type(round->as))
        kind_default(a, round->as, &typed);
    if (val_equal(&typed, seen))
        return true;
    if (match_is_whole(x) && !match_as(x, round->as, x->kind, &typed, &back))
        return false;
    if (match_is_whole(x) || x->apart)
        *x->obj = !back ? typed : round->as == x->kind ? *back : val_copy(a, back);
    else
        kind_scale_apply(a, x->kind, x->obj, &typed);
    round->changed = true;
    others_again(x->policies);
    x->policies->changed = true;
    return true;
}

/* One mutation; false: the round ends, with r answered or to be run again. */
static bool mutation_run(struct policy_round *round, const struct policy *p, const struct policy_binding *b, size_t i,
                         const struct val *param)
{
    struct admission *x = round->x;
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 16);
    struct val made;
    if (!round_show(round, round->as))
        return false;
    round->facts.told.params = param;
    if (cel_policy_mutation(p->compiled, i, &x->r->arena, &round->facts.told, &made, &why) &&
        mutation_apply(round, &made, &why))
        return true;
    if (!why.n)
        return false;
    mutating_wrong_as(round, p, b, strbuf_str(&why), "Invalid");
    return true;
}

static void policy_mutate(struct policy_round *round, const struct policy *p, const struct policy_binding *b,
                          const struct val *param)
{
    struct admission *x = round->x;
    struct arena *a = &x->r->arena;
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 16);
    struct str key = arena_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(p->name), STR_ARG(b->name),
                               STR_ARG(val_text_at(param, N(metadata), N(namespace))),
                               STR_ARG(val_text_at(param, N(metadata), N(name))));
    struct policy_asked *asked = pass_asked(x->policies, a, key);
    if (asked->done == SIZE_MAX || (x->policies->once_more && !asked->must_again && !asked->done))
        return;
    if (!round_show(round, round->as)) {
        round->ends = true;
        return;
    }
    if (!asked->done) {
        round->facts.told.params = param;
        switch (cel_policy_met(p->compiled, &round->facts.told, &why)) {
        case CEL_NOT_MET: asked->done = SIZE_MAX; return;
        case CEL_UNKNOWN: mutating_wrong_as(round, p, b, strbuf_str(&why), "Invalid"); return;
        case CEL_MET: break;
        }
    }
    asked->must_again = false;
    for (; asked->done < val_len(p->mutations); asked->done++)
        if (!mutation_run(round, p, b, asked->done, param)) {
            round->ends = true;
            asked->must_again = true;
            return;
        }
    asked->done = SIZE_MAX;
    asked->may_again = p->again;
}

bool admit_policies_mutate(struct admission *x)
{
    struct policy_list *l = &x->r->server->policies->mutating;
    struct request *r = x->r;
    if (!x->obj || !list_concerns(l, x))
        return true;
    if (!x->policies)
        x->policies = ARENA_NEW(&r->arena, struct policy_pass);
    if (x->policies->once_more && x->policies->last && !val_equal(x->policies->last, x->obj))
        others_again(x->policies);
    struct policy_round round = {.x = x, .refusal = S(""), .reason = S("")};
    if (!match_objects(x, &round.obj, &round.old))
        return false;
    array_each (it, &l->all)
        if ((*it)->nbindings && !policy_ask_bindings(&round, *it, policy_mutate, mutating_misconfigured))
            return false;
    if (x->policies->asked) {
        struct val *last = ARENA_NEW(&r->arena, struct val);
        *last = val_copy(&r->arena, x->obj);
        x->policies->last = last;
    }
    if (!round.refusal.n)
        return true;
    fail_forbidden(r, STR_FMT, STR_ARG(round.refusal)); /* its code stays, whatever the reason */
    r->answer.fail.message = round.refusal;
    r->answer.fail.reason = str_eqz(round.reason, "Invalid") ? "Invalid" : "Forbidden";
    fail_add_cause(r, "", round.refusal, STR_NONE);
    return false;
}

/* --- who may name parameters --- */

static void add_user(struct strbuf *b, const struct user *u)
{
    strbuf_addf(b, "&{" STR_FMT " " STR_FMT " [", STR_ARG(u->name), STR_ARG(u->uid));
    for (size_t i = 0; i < u->ngroups; i++)
        strbuf_addf(b, "%s" STR_FMT, i ? " " : "", STR_ARG(u->groups[i]));
    strbuf_addz(b, "] map[");
    val_each_member (m, u->extra) {
        strbuf_addf(b, "%s" STR_FMT ":[", m == u->extra->map ? "" : " ", STR_ARG(m->name->s));
        val_each_item (it, &m->v)
            strbuf_addf(b, "%s" STR_FMT, it == m->v.list ? "" : " ", STR_ARG(val_text(it)));
        strbuf_addz(b, "]");
    }
    strbuf_addz(b, "]}");
}

static bool user_may_read(struct request *r, struct attributes *asked, const struct val *param_kind)
{
    struct str version = val_text_at(param_kind, N(apiVersion)), group, rest = version, why;
    const struct kind *k = kind_set_of_api_version(r->kinds, version, val_text_at(param_kind, N(kind)));
    asked->user = r->user;
    asked->is_resource = true;
    asked->group = asked->version = asked->resource = S("*");
    if (param_kind) {
        bool core = str_find_char(version, '/') < 0;
        (void)str_cut(&rest, '/', &group);
        asked->group = core ? S("") : group;
        asked->version = core ? version : rest;
        asked->resource = k ? k->plural : S("*");
    }
    return rbac_allows(r->server, &r->arena, asked, &why);
}

static void authorize_policy(struct request *r, const struct val *spec, const struct val *was, struct field_errors *e)
{
    const struct val *kind = val_get(spec, N(paramKind));
    struct attributes asked = {.verb = S("get"), .name = S("*"), .ns = S("*")};
    if (!kind || (was && val_equal(kind, was)) || user_may_read(r, &asked, kind))
        return;
    AUTO(strbuf_fini) struct strbuf user = STRBUF(STRBUF_TEXT);
    add_user(&user, r->user);
    field_error_add(e, FE_FORBIDDEN, "spec.paramKind",
                    "Forbidden: user " STR_FMT " must have \"get\" permission on all objects of the referenced "
                    "paramKind (kind=" STR_FMT ", apiVersion=" STR_FMT ")",
                    STR_ARG(strbuf_str(&user)), STR_ARG(val_text_at(kind, N(kind))),
                    STR_ARG(val_text_at(kind, N(apiVersion))));
}

static void authorize_binding(struct request *r, const struct kind *policies, const struct val *spec,
                              const struct val *was, struct field_errors *e)
{
    const struct val *ref = val_get(spec, N(paramRef));
    struct str name = val_text_at(ref, N(name));
    struct attributes asked = {
        .verb = name.n ? S("get") : S("list"), .name = name, .ns = val_text_at(ref, N(namespace))};
    if (!ref || (was && val_equal(ref, val_get(was, N(paramRef))) &&
                 str_eq(val_text_at(spec, N(policyName)), val_text_at(was, N(policyName)))))
        return;
    AUTO(obj_unref)
    struct obj *policy = object_get(r->server, policies, S(""), val_text_at(spec, N(policyName)));
    if (user_may_read(r, &asked, policy ? val_at(&policy->tree, N(spec), N(paramKind)) : NULL))
        return;
    AUTO(strbuf_fini) struct strbuf user = STRBUF(STRBUF_TEXT);
    add_user(&user, r->user);
    if (policy)
        field_error_add(e, FE_FORBIDDEN, "spec.paramRef",
                        "Forbidden: user " STR_FMT " does not have \"" STR_FMT
                        "\" permission on the object referenced by paramRef",
                        STR_ARG(strbuf_str(&user)), STR_ARG(asked.verb));
    else
        field_error_add(e, FE_FORBIDDEN, "spec.paramRef",
                        "Forbidden: unable to get policy " STR_FMT
                        " to determine minimum required permissions and user " STR_FMT " does not have \"" STR_FMT
                        "\" permission for all groups, versions and resources",
                        STR_ARG(val_text_at(spec, N(policyName))), STR_ARG(strbuf_str(&user)), STR_ARG(asked.verb));
}

void policies_authorize(struct request *r, const struct val *tree, const struct val *old, struct field_errors *e)
{
    const struct kind *k = r->kind;
    const struct val *spec = val_get(tree, N(spec)), *was = val_get(old, N(spec));
    if (e->list.n || r->authorized || r->sub.n || !is_policy(k))
        return;
    if (k == K(ValidatingAdmissionPolicy) || k == K(MutatingAdmissionPolicy))
        authorize_policy(r, spec, val_get(was, N(paramKind)), e);
    else
        authorize_binding(
            r, k == K(ValidatingAdmissionPolicyBinding) ? K(ValidatingAdmissionPolicy) : K(MutatingAdmissionPolicy),
            spec, was, e);
}
