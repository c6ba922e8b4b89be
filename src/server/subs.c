#include "server/subs.h"
#include "api/csi_source.h"
#include "api/custom.h"
#include "api/placement.h"
#include "api/selector.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/options.h"
#include "server/rbac_int.h"
#include "server/write_managed.h"

static sub_fn sub_finalize;

static const struct {
    const char *resource; /* NULL: any */
    const char *sub;      /* "" none */
    unsigned verbs;
    sub_fn *fn;
} rows[] = {
    {NULL, "scale", VERB_GET | VERB_UPDATE | VERB_PATCH, sub_scale},
    {"pods", "binding", VERB_CREATE, sub_binding},
    {"pods", "eviction", VERB_CREATE, sub_eviction},
    {"bindings", "", VERB_CREATE, sub_binding},
    {"namespaces", "finalize", VERB_UPDATE, sub_finalize},
    {"serviceaccounts", "token", VERB_CREATE, sub_token},
    {"tokenreviews", "", VERB_CREATE, sub_token_review},
    {"selfsubjectreviews", "", VERB_CREATE, sub_self_subject_review},
    {"subjectaccessreviews", "", VERB_CREATE, sub_access_review},
    {"localsubjectaccessreviews", "", VERB_CREATE, sub_local_access_review},
    {"selfsubjectaccessreviews", "", VERB_CREATE, sub_self_access_review},
    {"selfsubjectrulesreviews", "", VERB_CREATE, sub_self_rules_review},
};

static enum write_next step_special(struct write *w)
{
    w->r->body = w->tree;
    sub_handler(w->r)(w->r);
    return WRITE_LATER;
}

void sub_create(struct request *r)
{
    static const struct write_step steps[] = {
        {"mutate", write_mutate}, {"admit", write_admit}, {"do", step_special}, {NULL, NULL}};
    struct write *w = write_new(r, steps);
    w->tree = ARENA_NEW(&r->arena, struct val);
    *w->tree = r->body ? val_copy(&r->arena, r->body) : val_map();
    admit_begin(&w->admission, r, VERB_CREATE, w->tree, NULL);
    w->admission.apart = true;
    write_start(w);
}

sub_fn *sub_handler(const struct request *r)
{
    for (size_t i = 0; i < countof(rows); i++)
        if ((rows[i].verbs & r->verb) && str_eqz(r->sub, rows[i].sub) &&
            (!rows[i].resource || str_eqz(r->resource, rows[i].resource)))
            return rows[i].fn;
    return NULL;
}

/* --- scale --- */

static void answer_scale(struct request *r, struct obj *o)
{
    struct val scale;
    if (!kind_scale_of(&r->arena, r->kind, &o->tree, &scale)) {
        fail_no_route(r);
        return;
    }
    if (r->kind->custom && !jsonpath_plain(&o->tree, r->kind->custom->scale_spec)) {
        fail_internal(r, "the spec replicas field \"." STR_FMT "\" does not exist",
                      STR_ARG(r->kind->custom->scale_spec));
        return;
    }
    struct val *meta = val_need_map(&r->arena, &scale, N(metadata));
    if (o->rev)
        val_set_text(&r->arena, meta, N(resourceVersion), arena_fmt(&r->arena, "%lld", (long long)o->rev));
    scale = val_copy(&r->arena, &scale); /* the object may go before the answer does */
    answer_tree(r, 200, T(autoscaling_v1_Scale), scale);
}

static void scale_written(struct write *w, struct obj *o)
{
    AUTO(obj_unref) struct obj *as = write_seen(w, o);
    if (as)
        answer_scale(w->r, as);
}

static bool check_scale(struct request *r, const struct val *scale, const struct obj *cur)
{
    const struct val *meta = val_get(scale, N(metadata));
    struct str name = val_text_at(meta, N(name)), ns = val_text_at(meta, N(namespace)),
               uid = val_text_at(meta, N(uid));
    if (!str_eq(name, r->name))
        return fail_bad_request(
            r, "the name of the object (" STR_FMT ") does not match the name on the URL (" STR_FMT ")", STR_ARG(name),
            STR_ARG(r->name));
    if (ns.n && !str_eq(ns, r->ns))
        return fail_bad_request(
            r, "the namespace of the provided object does not match the namespace sent on the request");
    if (uid.n && !str_eq(uid, cur->uid))
        return fail_conflict(r, "Precondition failed: UID in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                             STR_ARG(uid), STR_ARG(cur->uid));
    int64_t n = val_num_at(scale, 0, N(spec), N(replicas));
    if (n < 0 && !r->kind->custom) { /* of those their definition says what may be */
        AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
        field_error_add(&e, FE_INVALID, "spec.replicas", "Invalid value: %lld: must be greater than or equal to 0",
                        (long long)n);
        return fail_invalid(r, S("autoscaling"), S("Scale"), name, &e);
    }
    return true;
}

struct paths_of_request {
    struct scale_paths base;
    struct request *r;
};

/* Of a definition: as each of its versions says. */
static const char *const *scale_path(const struct scale_paths *p, struct str api_version)
{
    static const char *const built_in[] = {"spec", "replicas", NULL};
    struct request *r = container_of(p, struct paths_of_request, base)->r;
    const struct kind *k = kind_set_of_api_version(r->kinds, api_version, r->kind->kind);
    if (!k || !k->custom)
        return k ? built_in : NULL;
    struct str rest = k->custom->scale_spec, part;
    ARRAY(const char *) path = {0};
    while (rest.n && str_cut(&rest, '.', &part))
        array_push(&path, arena_strz(&r->arena, part));
    if (!path.n)
        return NULL;
    array_push(&path, NULL);
    const char *const *out = arena_dup(&r->arena, path.p, path.n * sizeof *path.p);
    array_fini(&path);
    return out;
}

static bool change_scale(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    struct obj *cur = w->cur;
    struct val now, scale;
    if (!kind_scale_of(a, r->kind, &cur->tree, &now))
        return fail_no_route(r);
    if (r->verb == VERB_PATCH)
        val_set_text(a, val_need_map(a, &now, N(metadata)), N(resourceVersion),
                     arena_fmt(a, "%lld", (long long)cur->rev));
    struct managing g = managing_of(w, T(autoscaling_v1_Scale), S("autoscaling/v1"), &now);
    struct owners all = owners_open(a, cur->managed);
    const struct paths_of_request paths = {{scale_path}, r};
    w->owners = owners_to_scale(a, &all, &paths.base);
    if (r->verb == VERB_PATCH && r->options.patch == FORMAT_APPLY_PATCH) {
        if (!apply_config(w, &g, S("Scale"), &scale))
            return false;
    } else if (r->verb == VERB_PATCH) {
        AUTO(managed_unref) const struct managed *managed = owners_close(&w->owners);
        struct patched p = {T(autoscaling_v1_Scale), &now, managed};
        if (!patch_apply(r, &p, &scale))
            return false;
    } else {
        scale = val_copy(a, r->body);
    }
    if (!check_scale(r, &scale, cur))
        return false;
    if (!w->applied)
        manage_update_open(&g, &scale, &w->owners);
    w->owners = owners_from_scale(a, &all, &w->owners, &paths.base, r->kind->api_version);
    w->tracked = true;
    w->applied = false;
    w->tree = ARENA_NEW(a, struct val);
    *w->tree = val_copy(a, &cur->tree);
    kind_scale_apply(a, r->kind, w->tree, &scale);
    struct str rev = val_text_at(&scale, N(metadata), N(resourceVersion));
    if (rev.n)
        val_set_text(a, val_need_map(a, w->tree, N(metadata)), N(resourceVersion), rev);
    return true;
}

static void scale_read(struct request *r, struct obj *o)
{
    answer_scale(r, o);
}

void sub_scale(struct request *r)
{
    if (r->verb != VERB_GET) {
        struct write *w = write_new(r, write_update_steps);
        w->sub = S("");
        w->change = change_scale;
        w->answer = scale_written;
        write_start(w);
        return;
    }
    read_object(r, scale_read);
}

/* --- namespaces/finalize --- */

static enum write_next step_finalize(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    struct obj *cur = w->stored;
    struct str rev = val_text_at(r->body, N(metadata), N(resourceVersion));
    int64_t want;
    if (rev.n && (!str_to_i64(rev, 0, INT64_MAX, &want) || (want && want != cur->rev))) {
        fail_conflict(r, CONFLICT_MODIFIED);
        return WRITE_OVER;
    }
    struct val *tree = w->tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    struct val *spec = val_need_map(a, tree, N(spec)), *meta = val_need_map(a, tree, N(metadata));
    const struct val *list = val_at(r->body, N(spec), N(finalizers));
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    for (size_t i = 0; i < val_len(list); i++) {
        struct str f = val_text(val_item(list, i));
        if (str_find_char(f, '/') < 0 && !str_eq(f, S("kubernetes")) && !str_eq(f, S("orphan")) &&
            !str_eq(f, S("foregroundDeletion")))
            field_error_add(&e, FE_INVALID, arena_fmt(a, "spec.finalizers[%zu]", i).p,
                            "Invalid value: \"" STR_FMT
                            "\": name is neither a standard finalizer name nor is it fully qualified",
                            STR_ARG(f));
    }
    if (e.list.n) {
        fail_invalid(r, S(""), S("Namespace"), r->name, &e);
        return WRITE_OVER;
    }
    const struct name *const taken[] = {N(labels), N(annotations), N(finalizers)};
    for (size_t i = 0; i < countof(taken); i++) {
        const struct val *v = val_at(r->body, N(metadata), taken[i]);
        if (val_len(v))
            val_set(a, meta, taken[i], val_copy(a, v));
        else
            val_del(meta, taken[i]);
    }
    val_set_str(a, val_need_map(a, meta, N(labels)), S("kubernetes.io/metadata.name"), val_str(a, cur->name));
    if (val_len(list))
        val_set(a, spec, N(finalizers), val_copy(a, list));
    else
        val_del(spec, N(finalizers));
    w->cur = obj_ref(cur);
    (void)write_manage(w);
    if (obj_deleting(cur) && !val_len(list) && !val_len(val_get(meta, N(finalizers))) && !r->options.dry_run) {
        AUTO(obj_unref) struct obj *gone = obj_new(cur->kind, tree, cur->rev);
        return write_delete(w, gone);
    }
    return write_raw(w);
}

static void sub_finalize(struct request *r)
{
    static const struct write_step steps[] = {{"turn", write_turn},
                                              {"current", write_stored},
                                              {"finalize", step_finalize},
                                              {"answer", write_answer},
                                              {NULL, NULL}};
    write_start(write_new(r, steps));
}

/* --- token --- */

static bool token_bound(struct request *r, const struct val *ref, struct token_spec *t)
{
    static const struct {
        const char *kind;
        const struct kind *k;
    } kinds_of[] = {{"Pod", K(Pod)}, {"Secret", K(Secret)}, {"Node", K(Node)}};
    struct str kind = val_text_at(ref, N(kind)), name = val_text_at(ref, N(name)), uid = val_text_at(ref, N(uid));
    struct str version = val_text_at(ref, N(apiVersion));
    const struct kind *k = NULL;
    for (size_t i = 0; i < countof(kinds_of); i++)
        if (str_eqz(kind, kinds_of[i].kind))
            k = kinds_of[i].k;
    if (!k)
        return fail_bad_request(r, "cannot bind token to object of type /" STR_FMT ", Kind=" STR_FMT,
                                STR_ARG(version), STR_ARG(kind));
    AUTO(obj_unref) struct obj *o = object_get(r->server, k, k->namespaced ? r->ns : S(""), name);
    if (!o)
        return fail_named_not_found(r, S(""), k->plural, name);
    if (k == K(Pod)) {
        struct str account = val_text_at(obj_spec(o), N(serviceAccountName));
        if (!str_eq(account, r->name))
            return fail_bad_request(r,
                                    "cannot bind token for serviceaccount \"" STR_FMT
                                    "\" to pod running with different serviceaccount name.",
                                    STR_ARG(r->name));
        t->node_name = str_dup(&r->arena, val_text_at(obj_spec(o), N(nodeName)));
        AUTO(obj_unref) struct obj *node = object_get(r->server, K(Node), S(""), t->node_name);
        if (node)
            t->node_uid = str_dup(&r->arena, node->uid);
    }
    if (uid.n && !str_eq(uid, o->uid)) {
        fail_plain(r, 409,
                   "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT
                   "\": the UID in the bound object reference (" STR_FMT
                   ") does not match the UID in record. The object might have been deleted and then recreated",
                   STR_ARG(k->kind), STR_ARG(name), STR_ARG(uid));
        struct failure *f = &r->answer.fail;
        f->reason = "Conflict";
        f->details = true;
        f->kind = k->kind;
        f->name = name;
        return false;
    }
    t->bound_kind = kind;
    t->bound_name = name;
    t->bound_uid = str_dup(&r->arena, o->uid);
    return true;
}

/* The driver of a volume of the pod (in it, or of its claim) asks for tokens with the audience. */
static bool driver_has_audience(struct request *r, const struct obj *pod, const struct val *volume,
                                struct str audience)
{
    struct str claim_name = pod_claim(&r->arena, pod, volume), driver_name = csi_driver_of(volume);
    AUTO(obj_unref)
    struct obj *claim = claim_name.n ? object_get(r->server, K(PersistentVolumeClaim), pod->ns, claim_name) : NULL;
    struct str bound = claim ? val_text_at(obj_spec(claim), N(volumeName)) : S("");
    AUTO(obj_unref) struct obj *owner = bound.n ? object_get(r->server, K(PersistentVolume), S(""), bound) : NULL;
    if (owner)
        driver_name = csi_driver_of(obj_spec(owner));
    AUTO(obj_unref)
    struct obj *driver = driver_name.n ? object_get(r->server, K(CSIDriver), S(""), driver_name) : NULL;
    val_each_item (request, driver ? val_get(obj_spec(driver), N(tokenRequests)) : NULL)
        if (str_eq(val_text_at(request, N(audience)), audience))
            return true;
    return false;
}

/* What a taken node could ask for is what its pods have: upstream's ServiceAccountNodeAudienceRestriction. */
static bool pod_has_audience(const struct val *pod_spec, struct str audience, struct str issuer)
{
    val_each_item (v, val_get(pod_spec, N(volumes)))
        val_each_item (source, val_at(v, N(projected), N(sources))) {
            const struct val *token = val_get(source, N(serviceAccountToken));
            struct str given = val_text_at(token, N(audience));
            if (token && str_eq(given.n ? given : issuer, audience.n ? audience : issuer))
                return true;
        }
    return false;
}

static bool node_may_have(struct request *r, const struct token_spec *t)
{
    struct str audience = val_text(val_item(t->audiences, 0));
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, t->bound_name);
    if (val_len(t->audiences) > 1)
        return fail_forbidden(r, "node may only request 0 or 1 audiences");
    bool has = pod && pod_has_audience(obj_spec(pod), audience, token_issuer(r->server));
    val_each_item (v, pod ? val_get(obj_spec(pod), N(volumes)) : NULL)
        has = has || driver_has_audience(r, pod, v, audience);
    return has || fail_forbidden(r, "audience \"" STR_FMT "\" not found in pod spec volume", STR_ARG(audience));
}

static void token_answer(struct request *r)
{
    struct arena *a = &r->arena;
    struct val *v = ARENA_NEW(a, struct val);
    *v = val_copy(a, r->body);
    struct val *meta = val_need_map(a, v, N(metadata)), *spec = val_need_map(a, v, N(spec));
    int64_t seconds = val_get(spec, N(expirationSeconds)) ? val_num_at(spec, 0, N(expirationSeconds)) : 3600;
    AUTO(obj_unref) struct obj *account = object_get(r->server, K(ServiceAccount), r->ns, r->name);
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    struct token_spec t = {.account = account, .seconds = seconds, .audiences = val_get(spec, N(audiences))};
    struct str name = val_text_at(meta, N(name)), ns = val_text_at(meta, N(namespace));
    if (!account) {
        fail_not_found(r);
        return;
    }
    if (name.n && !str_eq(name, r->name))
        field_error_add(&e, FE_INVALID, "metadata.name",
                        "Invalid value: \"" STR_FMT "\": must match the service account name if specified",
                        STR_ARG(name));
    if (ns.n && !str_eq(ns, r->ns)) {
        fail_bad_request(r, "the namespace of the provided object does not match the namespace sent on the request");
        return;
    }
    if (e.list.n) {
        fail_invalid(r, S("authentication.k8s.io"), S("TokenRequest"), r->name, &e);
        return;
    }
    if (seconds < LIMIT_TOKEN_SECONDS_MIN)
        field_error_add(&e, FE_INVALID, "spec.expirationSeconds",
                        "Invalid value: %lld: may not specify a duration less than 10 minutes", (long long)seconds);
    if (seconds > (int64_t)1 << 32)
        field_error_add(&e, FE_INVALID, "spec.expirationSeconds",
                        "Invalid value: %lld: may not specify a duration larger than 2^32 seconds",
                        (long long)seconds);
    if (e.list.n) {
        fail_invalid(r, S("authentication.k8s.io"), S("TokenRequest"), S(""), &e);
        return;
    }
    const struct val *ref = val_get(spec, N(boundObjectRef));
    if (val_is(ref, VAL_MAP) && !token_bound(r, ref, &t))
        return;
    struct str node = node_of(r->user);
    if (node.p && !(str_eq(t.bound_kind, S("Pod")) && str_eq(t.node_name, node))) {
        (void)fail_forbidden(r, "node requested token not bound to a pod of its own");
        return;
    }
    if (node.p && !node_may_have(r, &t))
        return;
    t.seconds = MIN(seconds, LIMIT_TOKEN_SECONDS_MAX);
    struct str token;
    int64_t until;
    struct err err = ERR;
    if (!token_make(r->server, a, &t, &token, &until, &err)) {
        fail_internal(r, "%s", err.text);
        return;
    }
    if (!val_len(t.audiences)) {
        struct val list = val_list();
        val_add(a, &list, val_str_borrowed(token_issuer(r->server)));
        val_set(a, spec, N(audiences), list);
    }
    val_set_num(a, spec, N(expirationSeconds), seconds);
    val_set_text(a, meta, N(name), r->name);
    val_set_text(a, meta, N(namespace), r->ns);
    val_set_text(a, meta, N(uid), str_dup(a, account->uid));
    val_set_text(a, meta, N(creationTimestamp), time_text(a, clock_real() / NS_PER_S * NS_PER_S));
    struct val *status = val_set(a, v, N(status), val_map());
    val_set_text(a, status, N(token), token);
    val_set_text(a, status, N(expirationTimestamp), time_text(a, until));
    answer_tree(r, 201, T(authentication_v1_TokenRequest), *v);
}

void sub_token(struct request *r)
{
    token_answer(r);
    request_finish(r);
}
