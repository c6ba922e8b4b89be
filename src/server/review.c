#include "server/review.h"
#include "api/codec.h"
#include "server/int.h"

/* --- what is asked --- */

const struct type *review_type(const struct kind *k, const struct val *obj)
{
    struct str kind = val_text_at(obj, N(kind)), version = val_text_at(obj, N(apiVersion));
    if (!kind.n || (str_eq(kind, k->kind) && str_eq(version, k->api_version)))
        return kind_type(k);
    const struct type *t = root_type_find(version, kind);
    return t ? t : kind_type(k);
}

static struct val three_texts(struct arena *a, struct str group, struct str version, const struct name *last,
                              struct str text)
{
    struct val v = val_map();
    val_set_text(a, &v, N(group), group);
    val_set_text(a, &v, N(version), version);
    val_set_text(a, &v, last, text);
    return v;
}

/* Group, version and kind of what the object is: of a subresource's body its own. */
static struct val kind_val(struct arena *a, const struct kind *k, const struct val *obj)
{
    struct str own = val_text_at(obj, N(kind)), api = val_text_at(obj, N(apiVersion));
    if (!own.n || str_eq(own, k->kind))
        return three_texts(a, k->group, k->version, N(kind), k->kind);
    ptrdiff_t slash = str_find_char(api, '/');
    return three_texts(a, slash >= 0 ? str_sub(api, 0, (size_t)slash) : S(""),
                       slash >= 0 ? str_sub(api, (size_t)slash + 1, api.n) : api, N(kind), own);
}

static struct val resource_val(struct arena *a, const struct kind *k)
{
    return three_texts(a, k->group, k->version, N(resource), k->plural);
}

static struct val user_val(struct arena *a, const struct user *u)
{
    struct val v = val_map(), groups = val_list();
    val_set_text(a, &v, N(username), u->name);
    if (u->uid.n)
        val_set_text(a, &v, N(uid), u->uid);
    for (size_t i = 0; i < u->ngroups; i++)
        val_add(a, &groups, val_str(a, u->groups[i]));
    if (u->ngroups)
        val_set(a, &v, N(groups), groups);
    if (u->extra)
        val_set(a, &v, N(extra), *u->extra);
    return v;
}

const char *review_operation(unsigned verb)
{
    return verb == VERB_CREATE   ? "CREATE"
           : verb == VERB_UPDATE ? "UPDATE"
           : verb == VERB_DELETE ? "DELETE"
                                 : "CONNECT";
}

struct val review_shown(struct arena *a, const struct val *obj, const struct val *managed)
{
    struct val out = val_map(), meta = val_map();
    if (!managed)
        return *obj;
    val_each_member (m, val_get(obj, N(metadata)))
        (void)val_append(a, &meta, m->name, m->v);
    (void)val_append(a, &meta, N(managedFields), *managed);
    val_each_member (m, obj)
        if (m->name != N(metadata))
            (void)val_append(a, &out, m->name, m->v);
    (void)val_append(a, &out, N(metadata), meta);
    return out;
}

static void add_object(struct strbuf *b, const char *name, const struct review *v, const struct val *obj,
                       const struct val *managed)
{
    strbuf_addf(b, "\"%s\":", name);
    if (obj) {
        struct val shown = review_shown(&v->x->r->arena, obj, managed);
        type_encode_json(b, review_type(v->as, obj), &shown);
    } else {
        strbuf_addz(b, "null");
    }
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

static struct val options_val(struct arena *a, const struct admission *x)
{
    const struct request_options *o = &x->r->options;
    bool applies = x->r->verb == VERB_PATCH && o->patch == FORMAT_APPLY_PATCH;
    struct val v = val_map();
    if (x->verb == ADMIT_CONNECT)
        return VAL_NONE;
    if (x->verb == VERB_DELETE) {
        v = delete_options(a, o);
    } else {
        if (o->force)
            val_set(a, &v, N(force), val_bool(true));
        if (o->field_manager.n)
            val_set_text(a, &v, N(fieldManager), o->field_manager);
        if (o->validation != VALIDATION_WARN)
            val_set_text(a, &v, N(fieldValidation), o->validation == VALIDATION_STRICT ? S("Strict") : S("Ignore"));
    }
    val_set_text(a, &v, N(kind),
                 x->verb == VERB_DELETE   ? S("DeleteOptions")
                 : x->verb == VERB_CREATE ? S("CreateOptions")
                 : applies                ? S("PatchOptions")
                                          : S("UpdateOptions"));
    val_set_text(a, &v, N(apiVersion), S("meta.k8s.io/v1"));
    if (o->dry_run) {
        struct val all = val_list();
        val_add(a, &all, val_str_borrowed(S("All")));
        val_set(a, &v, N(dryRun), all);
    }
    return v;
}

static void set_text_if(struct arena *a, struct val *v, const struct name *name, struct str text)
{
    if (text.n)
        val_set_text(a, v, name, text);
}

struct val review_request(struct arena *a, const struct review *v)
{
    const struct admission *x = v->x;
    const struct val *shown = v->obj ? v->obj : v->old;
    struct val r = val_map();
    val_set_text(a, &r, N(uid), v->uid);
    val_set(a, &r, N(kind), kind_val(a, v->as, shown));
    val_set(a, &r, N(resource), resource_val(a, v->as));
    set_text_if(a, &r, N(subResource), x->sub);
    val_set(a, &r, N(requestKind), kind_val(a, x->kind, v->as == x->kind || x->sub.n ? shown : NULL));
    val_set(a, &r, N(requestResource), resource_val(a, x->kind));
    set_text_if(a, &r, N(requestSubResource), x->sub);
    set_text_if(a, &r, N(name), x->name);
    set_text_if(a, &r, N(namespace), x->kind == K(Namespace) ? x->name : x->ns);
    val_set_text(a, &r, N(operation), str_of(review_operation(x->verb)));
    val_set(a, &r, N(userInfo), user_val(a, x->r->user));
    val_set(a, &r, N(dryRun), val_bool(x->r->options.dry_run));
    val_set(a, &r, N(options), options_val(a, x));
    return r;
}

void review_write(struct strbuf *b, const struct review *v)
{
    struct val request = review_request(&v->x->r->arena, v);
    strbuf_addf(b, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/%s\",\"request\":{",
                v->beta ? "v1beta1" : "v1");
    val_each_member (m, &request) {
        strbuf_addf(b, "\"" STR_FMT "\":", STR_ARG(m->name->s));
        json_encode(b, &m->v);
        strbuf_addc(b, ',');
    }
    add_object(b, "object", v, v->obj, v->managed);
    strbuf_addc(b, ',');
    add_object(b, "oldObject", v, v->old, v->old_managed);
    strbuf_addz(b, "}}");
}

/* --- what is answered --- */

bool review_wants_beta(const struct val *versions)
{
    val_each_item (it, versions) {
        if (str_eqz(val_text(it), "v1"))
            return false;
        if (str_eqz(val_text(it), "v1beta1"))
            return true;
    }
    return false;
}

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
    if (!v->beta && type && !str_eqz(val_text(type), "JSONPatch")) {
        out->what = "";
        return err_set(err, E_INVALID, "unsupported patch type \"" STR_FMT "\"", STR_ARG(val_text(type)));
    }
    if (!bytes.n || !out->allowed)
        return true;
    struct val *tree = ARENA_NEW(a, struct val);
    if (!json_decode(a, bytes, tree, err)) {
        out->what = "";
        return err_wrap(err, "received undecodable patch in webhook response");
    }
    out->patch = val_len(tree) || !val_is(tree, VAL_LIST) ? tree : NULL;
    return true;
}

bool review_head(struct arena *a, struct str body, const char *kind, struct str group, struct str *version,
                 struct err *err)
{
    struct str said;
    if (!json_type_meta(a, body, version, &said, err))
        return false;
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(STRBUF_TEXT);
    strbuf_add(&shown, str_sub(body, 0, 512));
    if (!said.n || !version->n)
        return err_set(err, E_BAD_REQUEST, "Object '%s' is missing in '" STR_FMT "'", said.n ? "apiVersion" : "Kind",
                       STR_ARG(strbuf_str(&shown)));
    return (str_eqz(said, kind) && str_starts(*version, group)) ||
           err_set(err, E_BAD_REQUEST, "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT "\" in scheme",
                   STR_ARG(said), STR_ARG(*version));
}

bool review_read(struct arena *a, const struct review *v, bool mutating, struct str body, struct review_answer *out,
                 struct err *err)
{
    struct str version;
    *out = (struct review_answer){.what = "failed to call webhook: "};
    const char *wanted = v->beta ? "admission.k8s.io/v1beta1" : "admission.k8s.io/v1";
    if (!review_head(a, body, "AdmissionReview", S("admission.k8s.io/"), &version, err))
        return false;
    struct val review;
    if (!type_decode_json(a, T(admission_v1_AdmissionReview), body, &review, NULL, err))
        return false;
    out->what = "received invalid webhook response: ";
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
    return read_patch(a, v, mutating, out, err);
}
