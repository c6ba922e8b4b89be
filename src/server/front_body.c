/* Bodies. Which type one must have follows from the path: the kind's, or that of the subresource; what is in it
 * besides is refused, warned of or ignored, as the client wants (options.validation). A patch stays untyped, with
 * notes of what is in it twice or unknown, until there is what it is to change (write_patch.c). */
#include "server/front_body.h"
#include "api/body.h"
#include "api/patch.h"
#include "server/fail.h"
#include "server/front.h"
#include "server/negotiate.h"
#include "server/options.h"
#include "wire/yaml.h"

/* The type of a body: the kind's, or that of the subresource. */
struct expected {
    struct str group, version, kind, api_version;
    const struct type *type;
    bool bare;       /* as in body.h */
    struct str also; /* the same */
};

const struct type *type_of_sub(const struct subresource *s)
{
    static const struct {
        const char *kind;
        const struct type *type;
    } types[] = {
        {"Scale", T(autoscaling_v1_Scale)},
        {"Binding", T(core_v1_Binding)},
        {"Eviction", T(policy_v1_Eviction)},
        {"TokenRequest", T(authentication_v1_TokenRequest)},
    };
    for (size_t i = 0; i < countof(types); i++)
        if (s->kind && str_eqz(str_of(s->kind), types[i].kind))
            return types[i].type;
    return NULL;
}

static struct expected expected_of(struct request *r)
{
    const struct kind *k = r->kind;
    struct expected e = {k->group, k->version, k->kind, k->api_version, kind_type(k), false, STR_NONE};
    const struct type *t = r->sub_row ? type_of_sub(r->sub_row) : NULL;
    if (t) {
        if (t == T(policy_v1_Eviction)) /* clients before 1.22, and many libraries since, write it so */
            e.also = S("policy/v1beta1");
        e.type = t;
        e.kind = str_of(r->sub_row->kind);
        if (r->sub_row->version) {
            e.group = str_of(r->sub_row->group);
            e.version = str_of(r->sub_row->version);
        }
        e.api_version = e.group.n ? arena_fmt(&r->arena, STR_FMT "/" STR_FMT, STR_ARG(e.group), STR_ARG(e.version))
                                  : e.version;
    }
    return e;
}

static bool notes_are_fine(struct request *r, struct decode_notes *notes, const struct body_expected *e)
{
    if (!notes->texts.n || r->options.validation == VALIDATION_IGNORE)
        return true;
    if (r->options.validation == VALIDATION_WARN) {
        array_each (it, &notes->texts)
            answer_warn(r, *it);
        return true;
    }
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    body_strict_text(e, notes, &text);
    return fail_bad_request(r, STR_FMT, STR_ARG(strbuf_str(&text)));
}

static bool fail_media(struct request *r)
{
    fail_plain(r, 415,
               "the body of the request was in an unknown format - accepted media types include: application/json, "
               "application/yaml, application/vnd.kubernetes.protobuf");
    r->answer.fail.reason = "UnsupportedMediaType";
    return false;
}

static bool request_decode(struct request *r, struct http_request *h, const struct expected *e, struct val *v)
{
    enum media media;
    if (!media_of_content_type(http_header(&h->headers, S("Content-Type")), &media))
        return fail_media(r);
    static const enum body_format formats[] = {
        [MEDIA_JSON] = BODY_JSON, [MEDIA_YAML] = BODY_YAML, [MEDIA_PROTOBUF] = BODY_PROTOBUF};
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &r->arena};
    struct body_expected expected = {e->api_version, e->kind, e->type, e->bare, e->also};
    struct err err = ERR;
    if (!body_decode(&r->arena, formats[media], h->body, &expected, v, &notes, &err))
        return err.kind == E_TOO_LARGE ? fail_err(r, &err) : fail_bad_request(r, "%s", err.text);
    return notes_are_fine(r, &notes, &expected);
}

bool front_body_object(struct request *r, struct http_request *h)
{
    struct expected e = expected_of(r);
    struct val *v = ARENA_NEW(&r->arena, struct val);
    if (!request_decode(r, h, &e, v))
        return false;
    r->body = v;
    return true;
}

bool front_body_delete(struct request *r, struct http_request *h)
{
    if (!h->body.n)
        return true;
    struct expected e = {S(""), S("v1"), S("DeleteOptions"), S("v1"), T(meta_v1_DeleteOptions), true, STR_NONE};
    struct val v;
    enum field_validation was = r->options.validation;
    r->options.validation = VALIDATION_IGNORE;
    bool ok = request_decode(r, h, &e, &v);
    r->options.validation = was;
    return ok && options_of_delete_body(r, &v);
}

/* What was noted about a patch; of a JSON patch with the members that no operation has. */
static void keep_notes(struct request *r, const struct decode_notes *notes)
{
    static const char *const known[] = {"op", "path", "from", "value"};
    bool json = r->options.patch == FORMAT_JSON_PATCH;
    struct val list = val_list();
    size_t i = 0;
    array_each (it, &notes->texts)
        val_add(&r->arena, &list,
                val_str(&r->arena, arena_fmt(&r->arena, "%s" STR_FMT, json ? "json patch " : "", STR_ARG(*it))));
    val_each_item (operation, json ? r->body : NULL) {
        val_each_member (m, operation) {
            bool fine = list.n >= DECODE_MAX_NOTES;
            for (size_t k = 0; k < countof(known); k++)
                fine |= str_eqz(m->name->s, known[k]);
            if (!fine)
                val_add(&r->arena, &list,
                        val_str(&r->arena, arena_fmt(&r->arena, "json patch unknown field \"[%zu]." STR_FMT "\"", i,
                                                     STR_ARG(m->name->s))));
        }
        i++;
    }
    if (list.n > 0) {
        struct val *kept = ARENA_NEW(&r->arena, struct val);
        *kept = list;
        r->body_notes = kept;
    }
}

static void twin_noted(void *arg, struct str text)
{
    struct decode_notes *notes = arg;
    if (notes->texts.n < DECODE_MAX_NOTES)
        array_push(&notes->texts, str_dup(notes->arena, text));
}

/* What is applied: YAML or JSON, untyped. */
static bool config_decode(struct request *r, struct str body, struct val *v, struct decode_notes *notes)
{
    AUTO(strbuf_fini) struct strbuf json = STRBUF(CODEC_MAX_YAML);
    struct yaml_notes keep = {twin_noted, notes};
    struct err err = ERR;
    if (!yaml_to_json(body, &keep, &json, &err) || !json_decode(&r->arena, strbuf_str(&json), v, &err))
        return fail_bad_request(r, "error decoding YAML: error converting YAML to JSON: %s", err.text);
    if (!body_fits(strbuf_str(&json), r->kind->kind, &err))
        return fail_err(r, &err);
    if (!val_is(v, VAL_MAP) && !val_is(v, VAL_NULL))
        return fail_bad_request(r,
                                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
                                "unmarshal %s into Go value of type map[string]interface {}",
                                val_json_name(v));
    if (val_is(v, VAL_NULL))
        *v = val_map();
    return true;
}

/* What has no table of types upstream is patched by these alone. */
static bool fail_patch_of_custom(struct request *r)
{
    fail_plain(r, 415,
               "the body of the request was in an unknown format - accepted media types include: "
               "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
    r->answer.fail.reason = "UnsupportedMediaType";
    return false;
}

bool front_body_patch(struct request *r, struct http_request *h)
{
    static const struct {
        struct str type;
        enum patch_format format;
        bool yaml;
    } formats[] = {
        {S_INIT("application/json-patch+json"), FORMAT_JSON_PATCH, false},
        {S_INIT("application/merge-patch+json"), FORMAT_MERGE_PATCH, false},
        {S_INIT("application/strategic-merge-patch+json"), FORMAT_STRATEGIC_PATCH, false},
        {S_INIT("application/apply-patch+yaml"), FORMAT_APPLY_PATCH, true},
    };
    struct str type, tail;
    str_split(http_header(&h->headers, S("Content-Type")), ';', &type, &tail);
    type = str_trim(type);
    for (size_t i = 0; i < countof(formats); i++) {
        if (!str_ieq(formats[i].type, type))
            continue;
        if (r->kind->custom && formats[i].format == FORMAT_STRATEGIC_PATCH)
            return fail_patch_of_custom(r);
        r->options.patch = formats[i].format;
        struct val *v = ARENA_NEW(&r->arena, struct val);
        AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &r->arena};
        struct err err = ERR;
        if (formats[i].yaml) {
            if (!config_decode(r, h->body, v, &notes))
                return false;
            r->body = v;
            keep_notes(r, &notes);
            return true;
        }
        if (!body_fits(h->body, r->kind->kind, &err))
            return fail_err(r, &err);
        if (!json_decode_noted(&r->arena, h->body, v, &notes, &err))
            return fail_bad_request(
                r, "%s%s", formats[i].format == FORMAT_STRATEGIC_PATCH ? "" : "error decoding patch: ", err.text);
        r->body = v;
        keep_notes(r, &notes);
        return true;
    }
    if (r->kind->custom)
        return fail_patch_of_custom(r);
    fail_plain(r, 415, "415: Unsupported Media Type");
    r->answer.fail.reason = "UnsupportedMediaType";
    r->answer.fail.details = true;
    return false;
}
