#include "api/codec.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac.h"
#include "server/subs.h"

/* Questions about who somebody is and what they may: answered, not stored. */

static struct val *review_copy(struct request *r)
{
    struct val *v = ARENA_NEW(&r->arena, struct val);
    *v = val_copy(&r->arena, r->body);
    val_need_map(&r->arena, v, N(metadata));
    return v;
}

static void review_answer(struct request *r, struct val *v)
{
    answer_tree(r, 201, kind_type(r->kind), *v);
    request_finish(r);
}

void sub_token_review(struct request *r)
{
    struct arena *a = &r->arena;
    struct val *v = review_copy(r), *status = val_set(a, v, N(status), val_map());
    struct str token = val_text_at(v, N(spec), N(token));
    if (!token.n) {
        fail_bad_request(r, "token is required for TokenReview in authentication");
        request_finish(r);
        return;
    }
    const struct val *audiences = val_at(v, N(spec), N(audiences));
    struct user user;
    struct val good;
    struct err err = ERR;
    if (token_check(r->server, a, token, audiences, &user, &good, &err)) {
        val_set_bool(a, status, N(authenticated), true);
        val_set(a, status, N(user), user_tree(a, &user));
        val_set(a, status, N(audiences), good);
    } else {
        val_set(a, status, N(user), val_map());
        val_set_text(a, status, N(error),
                     str_starts(str_of(err.text), S("token audiences"))
                         ? arena_fmt(a, "[invalid bearer token, %s]", err.text)
                         : arena_fmt(a, "[invalid bearer token, %s]", err.text));
    }
    review_answer(r, v);
}

void sub_self_subject_review(struct request *r)
{
    struct arena *a = &r->arena;
    struct val *v = review_copy(r);
    val_set_text(a, val_need_map(a, v, N(metadata)), N(creationTimestamp),
                 time_text(a, clock_real() / NS_PER_S * NS_PER_S));
    val_set(a, val_need_map(a, v, N(status)), N(userInfo), user_tree(a, r->user));
    review_answer(r, v);
}

/* Reviews are refused without a kind: upstream names none. */
static bool review_refuse(struct request *r, const struct field_errors *e)
{
    return !e->list.n || fail_invalid(r, S("authorization.k8s.io"), S(""), S(""), e);
}

static void bad_path(struct field_errors *e, const struct val *path, const char *why)
{
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(STRBUF_TEXT);
    struct_text(&shown, T(authorization_v1_NonResourceAttributes), path);
    field_error_add(e, FE_INVALID, "spec.nonResourceAttributes", "Invalid value: " STR_FMT ": %s",
                    STR_ARG(strbuf_str(&shown)), why);
}

static void check_selector(struct field_errors *e, const struct val *selector, const char *field)
{
    struct str raw = val_text_at(selector, N(rawSelector));
    bool listed = val_len(val_get(selector, N(requirements))) > 0;
    if (raw.n && listed)
        field_error_add(e, FE_INVALID, arena_fmt(e->arena, "spec.resourceAttributes.%s.rawSelector", field).p,
                        "Invalid value: \"" STR_FMT "\": may not specified at the same time as requirements",
                        STR_ARG(raw));
    if (selector && !raw.n && !listed)
        field_error_add(
            e, FE_REQUIRED, arena_fmt(e->arena, "spec.resourceAttributes.%s.requirements", field).p,
            "Required value: when spec.resourceAttributes.%s is specified, requirements or rawSelector is "
            "required",
            field);
}

static void check_attributes(struct field_errors *e, const struct val *spec)
{
    const struct val *res = val_get(spec, N(resourceAttributes)), *path = val_get(spec, N(nonResourceAttributes));
    if (res && path)
        bad_path(e, path, "cannot be specified in combination with resourceAttributes");
    if (!res && !path)
        field_error_add(
            e, FE_INVALID, "spec.resourceAttributes",
            "Invalid value: %s: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            "null");
    check_selector(e, val_get(res, N(fieldSelector)), "fieldSelector");
    check_selector(e, val_get(res, N(labelSelector)), "labelSelector");
}

/* A review is no object that has a name. */
static void check_metadata(struct request *r, struct field_errors *e, bool local)
{
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(STRBUF_TEXT);
    struct val meta = val_copy(&r->arena, val_get(r->body, N(metadata)));
    if (!val_is(&meta, VAL_MAP))
        return;
    val_del(&meta, N(managedFields));
    type_encode_json(&shown, T(meta_v1_ObjectMeta), &meta);
    if (local)
        val_del(&meta, N(namespace));
    if (val_len(&meta))
        field_error_add(e, FE_INVALID, "metadata", "Invalid value: " STR_FMT ": must be empty%s",
                        STR_ARG(strbuf_str(&shown)), local ? " except for namespace" : "");
}

/* Asks, and fills status. */
static void review_decide(struct request *r, struct val *v, const struct user *user)
{
    struct arena *a = &r->arena;
    const struct val *spec = val_get(v, N(spec)), *res = val_get(spec, N(resourceAttributes));
    const struct val *path = val_get(spec, N(nonResourceAttributes));
    struct attributes x = {.user = user, .is_resource = res != NULL};
    if (res) {
        x.verb = val_text_at(res, N(verb));
        x.group = val_text_at(res, N(group));
        x.version = val_text_at(res, N(version));
        x.resource = val_text_at(res, N(resource));
        x.sub = val_text_at(res, N(subresource));
        x.ns = val_text_at(res, N(namespace));
        x.name = val_text_at(res, N(name));
    } else {
        x.verb = val_text_at(path, N(verb));
        x.path = val_text_at(path, N(path));
    }
    struct str why;
    x.explains = true;
    bool ok = rbac_allows(r->server, a, &x, &why);
    struct val *status = val_set(a, v, N(status), val_map());
    val_set_bool(a, status, N(allowed), ok);
    if (why.n && ok)
        val_set_text(a, status, N(reason), why);
    else if (why.n) {
        val_set_text(a, status, N(reason), why);
        val_set_text(a, status, N(evaluationError), str_starts(why, S("RBAC: ")) ? str_sub(why, 6, why.n) : why);
    }
    review_answer(r, v);
}

static struct user user_of_spec(struct arena *a, const struct val *spec)
{
    const struct val *groups = val_get(spec, N(groups));
    struct str *list = arena_alloc(a, (val_len(groups) + 1) * sizeof *list);
    size_t n = 0;
    val_each_item (it, groups)
        list[n++] = val_text(it);
    return (struct user){.name = val_text_at(spec, N(user)),
                         .uid = val_text_at(spec, N(uid)),
                         .groups = list,
                         .ngroups = n,
                         .extra = val_get(spec, N(extra))};
}

static void access_review(struct request *r, bool local)
{
    struct val *v = review_copy(r);
    const struct val *spec = val_get(v, N(spec)), *res = val_get(spec, N(resourceAttributes));
    const struct val *path = val_get(spec, N(nonResourceAttributes));
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    check_attributes(&e, spec);
    if (!val_text_at(spec, N(user)).n && !val_len(val_get(spec, N(groups))))
        field_error_add(&e, FE_INVALID, "spec.user",
                        "Invalid value: \"\": at least one of user or group must be specified");
    check_metadata(r, &e, local);
    if (local && res && !str_eq(val_text_at(res, N(namespace)), r->ns))
        field_error_add(&e, FE_INVALID, "spec.resourceAttributes.namespace",
                        "Invalid value: \"" STR_FMT "\": must match metadata.namespace",
                        STR_ARG(val_text_at(res, N(namespace))));
    if (local && path)
        bad_path(&e, path, "disallowed on this kind of request");
    if (!review_refuse(r, &e)) {
        request_finish(r);
        return;
    }
    if (local)
        val_set_text(&r->arena, val_need_map(&r->arena, v, N(metadata)), N(namespace), r->ns);
    struct user u = user_of_spec(&r->arena, val_get(v, N(spec)));
    review_decide(r, v, &u);
}

void sub_access_review(struct request *r)
{
    access_review(r, false);
}

void sub_local_access_review(struct request *r)
{
    access_review(r, true);
}

void sub_self_access_review(struct request *r)
{
    struct val *v = review_copy(r);
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    check_attributes(&e, val_get(v, N(spec)));
    check_metadata(r, &e, false);
    if (!review_refuse(r, &e)) {
        request_finish(r);
        return;
    }
    review_decide(r, v, r->user);
}

enum { RULES_BYTES_MOST = 4 << 20 }; /* of the rules that one review tells */

struct review_rules {
    struct arena *a;
    struct val *resource, *path;
    size_t bytes;
};

static void add_rule(void *arg, const struct val *rule)
{
    struct review_rules *x = arg;
    if (x->bytes > RULES_BYTES_MOST)
        return;
    size_t before = x->a->used;
    struct val copy_of = val_copy(x->a, rule);
    x->bytes += x->a->used - before;
    if (val_len(val_get(rule, N(resources))))
        val_add(x->a, x->resource, copy_of);
    if (val_len(val_get(rule, N(nonResourceURLs))))
        val_add(x->a, x->path, copy_of);
}

void sub_self_rules_review(struct request *r)
{
    struct arena *a = &r->arena;
    struct val *v = review_copy(r);
    struct str ns = val_text_at(v, N(spec), N(namespace));
    if (!ns.n) {
        fail_bad_request(r, "no namespace on request");
        request_finish(r);
        return;
    }
    struct val resource = val_list(), path = val_list();
    struct review_rules x = {.a = a, .resource = &resource, .path = &path};
    bool all = rbac_each_rule(r->server, r->user, ns, add_rule, &x) && x.bytes <= RULES_BYTES_MOST;
    val_del(v, N(spec)); /* upstream answers without */
    struct val *status = val_set(a, v, N(status), val_map());
    val_set(a, status, N(resourceRules), resource);
    val_set(a, status, N(nonResourceRules), path);
    val_set_bool(a, status, N(incomplete), !all);
    if (!all)
        val_set_text(a, status, N(evaluationError), S("there are more rules than one answer holds"));
    review_answer(r, v);
}
