#include "server/conversion_review.h"
#include "api/codec.h"
#include "api/custom.h"
#include "server/review.h"

/* --- what is asked --- */

void conversion_review_write(struct strbuf *b, const struct conversion_review *v)
{
    strbuf_addf(b,
                "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/%s\",\"request\":{\"uid\":"
                "\"" STR_FMT "\",\"desiredAPIVersion\":\"" STR_FMT "\",\"objects\":[",
                v->beta ? "v1beta1" : "v1", STR_ARG(v->uid), STR_ARG(v->api_version));
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            strbuf_addc(b, ',');
        json_encode(b, v->objects[i]);
    }
    strbuf_addz(b, "]}}");
}

/* --- what is answered --- */

static void add_kind(struct strbuf *b, const struct val *object)
{
    struct str version = val_text_at(object, N(apiVersion));
    strbuf_addf(b, "%s" STR_FMT ", Kind=" STR_FMT, str_find_char(version, '/') < 0 ? "/" : "", STR_ARG(version),
                STR_ARG(val_text_at(object, N(kind))));
}

/* "conversion webhook for a.dev/v1, Kind=A" and what is to follow. */
static bool fail_review(const struct val *object, struct err *err, const char *what, const char *why)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "conversion webhook for ");
    add_kind(&b, object);
    return err_set(err, E_INTERNAL, STR_FMT " %s%s", STR_ARG(strbuf_str(&b)), what, why);
}

void conversion_failed(const struct val *object, const char *why, struct err *err)
{
    (void)fail_review(object, err, "failed: ", why);
}

static const char *go_type(const struct val *v)
{
    static const char *const texts[] = {[VAL_NULL] = "<nil>",          [VAL_BOOL] = "bool",
                                        [VAL_INT] = "int64",           [VAL_DOUBLE] = "float64",
                                        [VAL_STRING] = "string",       [VAL_BYTES] = "string",
                                        [VAL_LIST] = "[]interface {}", [VAL_MAP] = "map[string]interface {}"};
    return texts[v ? v->type : VAL_NULL];
}

static bool same_text(const struct val *was, const struct val *now, const struct name *field, const char *what,
                      struct err *err)
{
    struct str e = val_text_at(was, N(metadata), field), a = val_text_at(now, N(metadata), field);
    return str_eq(e, a) ||
           err_set(err, E_INTERNAL, "must have the same %s: " STR_FMT " != " STR_FMT, what, STR_ARG(e), STR_ARG(a));
}

static bool same_object(const struct val *was, const struct val *now, struct err *err)
{
    return same_text(was, now, N(name), "name", err) && same_text(was, now, N(namespace), "namespace", err) &&
           same_text(was, now, N(uid), "UID", err);
}

/* Labels or annotations as the webhook wants them, in the metadata that was. */
static bool texts_take(struct arena *a, struct val *meta, const struct val *answered, const struct name *field,
                       struct err *err)
{
    const struct val *said = val_get(answered, field), *had = val_get(meta, field);
    if (!said || said->type == VAL_NULL) {
        val_del(meta, field);
        return true;
    }
    if (!val_is(said, VAL_MAP))
        return err_set(err, E_INTERNAL, "invalid metadata." STR_FMT " of type %s in converted object",
                       STR_ARG(field->s), go_type(said));
    val_each_member (m, said)
        if (!val_is(&m->v, VAL_STRING))
            return err_set(err, E_INTERNAL,
                           "metadata." STR_FMT "[" STR_FMT "] must be a string, but is %s in converted object",
                           STR_ARG(field->s), STR_ARG(m->name->s), go_type(&m->v));
    if (!val_equal(said, had)) {
        AUTO(field_errors_fini) struct field_errors e = {.arena = a};
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        custom_texts_check(said, field == N(annotations), &e);
        field_errors_text(&e, &text);
        if (e.list.n)
            return err_set(err, E_INTERNAL, STR_FMT, STR_ARG(strbuf_str(&text)));
    }
    val_set(a, meta, field, *said);
    return true;
}

static bool meta_restore(struct arena *a, const struct val *was, struct val *now, struct err *err)
{
    const struct val *answered = val_get(now, N(metadata));
    if (!answered)
        return err_set(err, E_INTERNAL, "missing metadata in converted object");
    if (!val_is(answered, VAL_MAP))
        return err_set(err, E_INTERNAL, "invalid metadata of type %s in converted object", go_type(answered));
    struct val meta = val_copy(a, val_get(was, N(metadata)));
    if (!texts_take(a, &meta, answered, N(labels), err) || !texts_take(a, &meta, answered, N(annotations), err))
        return false;
    val_set(a, now, N(metadata), meta);
    return true;
}

/* One alone is told of in other words than one of several. */
static bool object_read(struct arena *a, const struct conversion_review *v, size_t i, const struct val *answered,
                        struct val *out, struct err *err)
{
    const struct val *was = v->objects[i];
    const char *place = arena_fmt(a, "%sobject at index %zu: ", v->n > 1 ? "converted " : "", i).p;
    struct str version = val_text_at(answered, N(apiVersion)), kind = val_text_at(answered, N(kind));
    struct err why = ERR;
    const char *what;
    if (!kind.n) {
        AUTO(strbuf_fini) struct strbuf shown = STRBUF(STRBUF_TEXT);
        if (answered && answered->type != VAL_NULL)
            json_encode(&shown, answered);
        if (shown.n)
            (void)err_set(&why, E_INTERNAL, "Object 'Kind' is missing in '" STR_FMT "'", STR_ARG(strbuf_str(&shown)));
        else
            (void)err_set(&why, E_INTERNAL, "unexpected end of JSON input");
        return v->n > 1 ? fail_review(was, err, arena_fmt(a, "returned invalid %s", place).p, why.text)
                        : err_set(err, E_INTERNAL, "%s", why.text);
    }
    what = arena_fmt(a, "returned invalid %s", place).p;
    if (!str_eq(version, v->api_version)) {
        (void)err_set(&why, E_INTERNAL, "invalid groupVersion (expected " STR_FMT ", received " STR_FMT ")",
                      STR_ARG(v->api_version), STR_ARG(version));
    } else if (!str_eq(kind, val_text_at(was, N(kind)))) {
        (void)err_set(&why, E_INTERNAL, "invalid kind (expected " STR_FMT ", received " STR_FMT ")",
                      STR_ARG(val_text_at(was, N(kind))), STR_ARG(kind));
    } else {
        *out = *answered;
        what = v->n > 1 ? what : "returned invalid object: ";
        if (same_object(was, out, &why)) {
            what = v->n > 1 ? arena_fmt(a, "returned invalid metadata in object at index %zu: ", i).p
                            : "returned invalid metadata: ";
            if (meta_restore(a, was, out, &why))
                return true;
        }
    }
    return fail_review(was, err, what, why.text);
}

bool conversion_review_read(struct arena *a, const struct conversion_review *v, struct str body, struct val *out,
                            struct err *err)
{
    const struct val *first = v->objects[0], *response;
    struct err why = ERR;
    struct str version;
    struct val review;
    if (!body.n) {
        conversion_failed(first, "0-length response with status code: 200 and content type: application/json", err);
        return false;
    }
    if (!review_head(a, body, "ConversionReview", S("apiextensions.k8s.io/"), &version, &why) ||
        !json_decode(a, body, &review, &why)) {
        conversion_failed(first, why.text, err);
        return false;
    }
    response = val_get(&review, N(response));
    struct str uid = val_text_at(response, N(uid)), message = val_text_at(response, N(result), N(message)),
               status = val_text_at(response, N(result), N(status));
    bool answers = response && response->type != VAL_NULL;
    if (!v->beta && !str_eqz(version, "apiextensions.k8s.io/v1"))
        (void)err_set(&why, E_INTERNAL,
                      "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got " STR_FMT
                      ", Kind=ConversionReview",
                      STR_ARG(version));
    else if (!answers)
        (void)err_set(&why, E_INTERNAL, "no response provided");
    else if (!v->beta && !str_eq(uid, v->uid))
        (void)err_set(&why, E_INTERNAL, "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"", STR_ARG(v->uid),
                      STR_ARG(uid));
    else if (!str_eqz(status, "Success") && message.n)
        (void)err_set(&why, E_INTERNAL, STR_FMT, STR_ARG(message));
    else if (!str_eqz(status, "Success"))
        (void)err_set(&why, E_INTERNAL, "response.result.status was '" STR_FMT "', not 'Success'", STR_ARG(status));
    if (why.kind) {
        conversion_failed(first, why.text, err);
        return false;
    }
    const struct val *objects = val_get(response, N(convertedObjects));
    size_t n = val_is(objects, VAL_LIST) ? val_len(objects) : 0;
    if (n != v->n)
        return fail_review(first, err, "returned ", arena_fmt(a, "%zu objects, expected %zu", n, v->n).p);
    for (size_t i = 0; i < n; i++)
        if (!object_read(a, v, i, val_item(objects, i), &out[i], err))
            return false;
    return true;
}
