#include "server/review.h"
#include "api/codec.h"
#include "server/int.h"
#include "wire/json.h"

/* --- what is asked --- */

const struct type *review_type(const struct kind *k, const struct val *obj)
{
    struct str kind = val_text_at(obj, N(kind)), version = val_text_at(obj, N(apiVersion));
    if (!kind.n || (str_eq(kind, k->kind) && str_eq(version, k->api_version)))
        return k->type;
    const struct type *t = root_type_find(version, kind);
    return t ? t : k->type;
}

static void member_text(struct strbuf *b, const char *name, struct str text)
{
    struct val v = val_str_borrowed(text);
    strbuf_addf(b, ",\"%s\":", name);
    json_encode(b, &v);
}

/* Group, version and kind of what the object is: of a subresource's body its own. */
static void add_kind(struct strbuf *b, const char *name, const struct kind *k, const struct val *obj)
{
    struct str group = k->group, version = k->version, kind = k->kind;
    struct str own = val_text_at(obj, N(kind)), api = val_text_at(obj, N(apiVersion));
    if (own.n && !str_eq(own, k->kind)) {
        ptrdiff_t slash = str_find_char(api, '/');
        kind = own;
        group = slash >= 0 ? str_sub(api, 0, (size_t)slash) : S("");
        version = slash >= 0 ? str_sub(api, (size_t)slash + 1, api.n) : api;
    }
    strbuf_addf(b, ",\"%s\":{\"group\":\"" STR_FMT "\",\"version\":\"" STR_FMT "\",\"kind\":\"" STR_FMT "\"}", name,
                STR_ARG(group), STR_ARG(version), STR_ARG(kind));
}

static void add_resource(struct strbuf *b, const char *name, const struct kind *k)
{
    strbuf_addf(b, ",\"%s\":{\"group\":\"" STR_FMT "\",\"version\":\"" STR_FMT "\",\"resource\":\"" STR_FMT "\"}",
                name, STR_ARG(k->group), STR_ARG(k->version), STR_ARG(k->plural));
}

static void add_user(struct strbuf *b, struct arena *a, const struct user *u)
{
    struct val v = val_map(), groups = val_list();
    val_set_text(a, &v, N(username), u->name);
    if (u->uid.n)
        val_set_text(a, &v, N(uid), u->uid);
    for (size_t i = 0; i < u->ngroups; i++)
        val_add(a, &groups, val_str_borrowed(u->groups[i]));
    if (u->ngroups)
        val_set(a, &v, N(groups), groups);
    if (u->extra)
        val_set(a, &v, N(extra), *u->extra);
    strbuf_addz(b, ",\"userInfo\":");
    json_encode(b, &v);
}

const char *review_operation(unsigned verb)
{
    return verb == VERB_CREATE   ? "CREATE"
           : verb == VERB_UPDATE ? "UPDATE"
           : verb == VERB_DELETE ? "DELETE"
                                 : "CONNECT";
}

static void add_object(struct strbuf *b, const char *name, const struct kind *k, const struct val *obj)
{
    strbuf_addf(b, ",\"%s\":", name);
    if (obj)
        type_encode_json(b, review_type(k, obj), obj);
    else
        strbuf_addz(b, "null");
}

static struct val delete_options(struct arena *a, const struct request_options *o)
{
    struct val v = val_map(), conditions = val_map();
    if (o->grace_said)
        val_set_num(a, &v, N(gracePeriodSeconds), o->grace_s);
    if (o->expect_uid.p)
        val_set_text(a, &conditions, N(uid), o->expect_uid);
    if (o->expect_rev.p)
        val_set_text(a, &conditions, N(resourceVersion), o->expect_rev);
    if (val_len(&conditions))
        val_set(a, &v, N(preconditions), conditions);
    if (o->orphan != NOT_SAID)
        val_set(a, &v, N(orphanDependents), val_bool(o->orphan == SAID_YES));
    if (o->propagation.n)
        val_set_text(a, &v, N(propagationPolicy), o->propagation);
    return v;
}

static void add_options(struct strbuf *b, struct arena *a, const struct admission *x)
{
    const struct request_options *o = &x->r->options;
    bool writes = x->verb == VERB_CREATE || x->verb == VERB_UPDATE;
    struct val v = val_map();
    if (x->verb == VERB_DELETE) {
        v = delete_options(a, o);
    } else if (writes) {
        if (o->force)
            val_set(a, &v, N(force), val_bool(true));
        if (o->field_manager.n)
            val_set_text(a, &v, N(fieldManager), o->field_manager);
        if (o->validation != VALIDATION_WARN)
            val_set_text(a, &v, N(fieldValidation), o->validation == VALIDATION_STRICT ? S("Strict") : S("Ignore"));
    } else {
        strbuf_addz(b, ",\"options\":null");
        return;
    }
    val_set_text(a, &v, N(kind),
                 x->verb == VERB_DELETE                                                  ? S("DeleteOptions")
                 : x->verb == VERB_CREATE                                                ? S("CreateOptions")
                 : x->r->verb == VERB_PATCH && x->r->options.patch == FORMAT_APPLY_PATCH ? S("PatchOptions")
                                                                                         : S("UpdateOptions"));
    val_set_text(a, &v, N(apiVersion), S("meta.k8s.io/v1"));
    if (o->dry_run) {
        struct val all = val_list();
        val_add(a, &all, val_str_borrowed(S("All")));
        val_set(a, &v, N(dryRun), all);
    }
    strbuf_addz(b, ",\"options\":");
    json_encode(b, &v);
}

void review_write(struct strbuf *b, const struct review *v)
{
    const struct admission *x = v->x;
    struct arena *a = &x->r->arena;
    struct str ns = x->kind == K(Namespace) ? x->name : x->ns;
    const struct val *shown = v->obj ? v->obj : v->old;
    strbuf_addf(b,
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/%s\",\"request\":{\"uid\":\"" STR_FMT
                "\"",
                v->beta ? "v1beta1" : "v1", STR_ARG(v->uid));
    add_kind(b, "kind", v->as, shown);
    add_resource(b, "resource", v->as);
    if (x->sub.n)
        member_text(b, "subResource", x->sub);
    add_kind(b, "requestKind", x->kind, v->as == x->kind || x->sub.n ? shown : NULL);
    add_resource(b, "requestResource", x->kind);
    if (x->sub.n)
        member_text(b, "requestSubResource", x->sub);
    if (x->name.n)
        member_text(b, "name", x->name);
    if (ns.n)
        member_text(b, "namespace", ns);
    member_text(b, "operation", str_of(review_operation(x->verb)));
    add_user(b, a, x->r->user);
    add_object(b, "object", v->as, v->obj);
    add_object(b, "oldObject", v->as, v->old);
    strbuf_addf(b, ",\"dryRun\":%s", x->r->options.dry_run ? "true" : "false");
    add_options(b, a, x);
    strbuf_addz(b, "}}");
}

/* --- what is answered --- */

static bool read_patch(struct arena *a, const struct review *v, bool mutating, struct review_answer *out,
                       struct err *err)
{
    const struct val *patch = val_get(&out->response, N(patch)), *type = val_get(&out->response, N(patchType));
    struct str bytes = val_raw(patch);
    if (!mutating) {
        if (v->beta)
            return true;
        if (bytes.n)
            return err_set(err, E_BAD_REQUEST, "validating webhook may not return response.patch");
        return !type || err_set(err, E_BAD_REQUEST, "validating webhook may not return response.patchType");
    }
    if (!v->beta && bytes.n && !type)
        return err_set(err, E_BAD_REQUEST, "webhook returned response.patch but not response.patchType");
    if (!v->beta && !bytes.n && type)
        return err_set(err, E_BAD_REQUEST, "webhook returned response.patchType but not response.patch");
    if (!v->beta && type && !val_text(type).n)
        return err_set(err, E_BAD_REQUEST, "webhook returned invalid response.patchType of \"\"");
    if (!v->beta && type && !str_eqz(val_text(type), "JSONPatch"))
        return err_set(err, E_INVALID, "unsupported patch type \"" STR_FMT "\"", STR_ARG(val_text(type)));
    if (!bytes.n || !out->allowed)
        return true;
    struct val *tree = ARENA_NEW(a, struct val);
    if (!json_decode(a, bytes, tree, err)) {
        err->kind = E_INVALID;
        return err_wrap(err, "received undecodable patch in webhook response");
    }
    out->patch = val_len(tree) || !val_is(tree, VAL_LIST) ? tree : NULL;
    return true;
}

bool review_read(struct arena *a, const struct review *v, bool mutating, struct str body, struct review_answer *out,
                 struct err *err)
{
    struct str version, kind;
    const char *wanted = v->beta ? "admission.k8s.io/v1beta1" : "admission.k8s.io/v1";
    if (!json_type_meta(a, body, &version, &kind, err))
        return false;
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(STRBUF_TEXT);
    strbuf_add(&shown, str_sub(body, 0, 512));
    if (!kind.n || !version.n)
        return err_set(err, E_BAD_REQUEST, "Object '%s' is missing in '" STR_FMT "'", kind.n ? "apiVersion" : "Kind",
                       STR_ARG(strbuf_str(&shown)));
    if (!str_eqz(kind, "AdmissionReview") || !str_starts(version, S("admission.k8s.io/")))
        return err_set(err, E_BAD_REQUEST,
                       "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT "\" in scheme", STR_ARG(kind),
                       STR_ARG(version));
    struct val review;
    if (!type_decode_json(a, T(admission_v1_AdmissionReview), body, &review, NULL, err))
        return false;
    *out = (struct review_answer){0};
    const struct val *response = val_get(&review, N(response));
    if (!response)
        return err_set(err, E_INVALID, "webhook response was absent");
    out->response = *response;
    out->allowed = val_true(val_get(response, N(allowed)));
    struct str uid = val_text_at(response, N(uid));
    if (!v->beta && !str_eq(uid, v->uid))
        return err_set(err, E_INVALID, "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"", STR_ARG(v->uid),
                       STR_ARG(uid));
    if (!v->beta && !str_eqz(version, wanted))
        return err_set(err, E_INVALID,
                       "expected webhook response of %s, Kind=AdmissionReview, got " STR_FMT ", Kind=AdmissionReview",
                       wanted, STR_ARG(version));
    if (read_patch(a, v, mutating, out, err))
        return true;
    err->kind = E_INVALID;
    return false;
}
