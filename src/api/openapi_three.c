/* Another server's document of OpenAPI 2.0 as one of 3.0, for servers that have none of these: bodies, parameters and
 * answers take other shapes, schemas stay what they are. Upstream: k8s.io/kube-openapi/pkg/openapiconv. */
#include "api/codec.h"
#include "api/openapi_remote.h"
#include "wire/json.h"

static const struct val *member_of(const struct val *v, const char *name)
{
    return val_get_str(v, str_of(name));
}

static void copy_member(struct arena *a, struct val *to, const struct val *from, const char *name)
{
    const struct val *v = member_of(from, name);
    if (v)
        (void)val_set_str(a, to, str_of(name), *v);
}

static void copy_extensions(struct arena *a, struct val *to, const struct val *from)
{
    val_each_member (m, from)
        if (str_starts(m->name->s, S("x-")))
            (void)val_set_str(a, to, m->name->s, m->v);
}

/* {"application/json": {"schema": schema}, ...} */
static struct val content_of(struct arena *a, const struct val *media, const struct val *schema)
{
    struct val content = val_map(), one = val_map();
    (void)val_set_str(a, &one, S("schema"), *schema);
    val_each_item (m, media)
        if (val_text(m).n)
            (void)val_set_str(a, &content, val_text(m), val_copy(a, &one));
    if (!val_len(&content))
        (void)val_set_str(a, &content, S("application/json"), one);
    return content;
}

/* --- parameters --- */

static const struct openapi_member *parameter_named(const struct openapi_remote *r, struct str ref)
{
    struct str prefix = S("#/parameters/");
    for (size_t i = 0; str_starts(ref, prefix) && i < r->parameters.n; i++)
        if (str_eq(r->parameters.list[i].name, str_sub(ref, prefix.n, ref.n)))
            return &r->parameters.list[i];
    return NULL;
}

/* What a reference names stands in its place. */
static const struct val *parameter_of(struct arena *a, const struct openapi_remote *r, const struct val *p)
{
    const struct openapi_member *m = parameter_named(r, val_text(member_of(p, "$ref")));
    struct val *v = ARENA_NEW(a, struct val);
    struct err err = ERR;
    return m && json_decode(a, m->text, v, &err) ? v : p;
}

static bool is_body(const struct val *p)
{
    return str_eqz(val_text(member_of(p, "in")), "body");
}

static struct val parameter_three(struct arena *a, const struct val *p)
{
    static const char *const of_itself[] = {"name", "in", "description", "required"};
    struct val out = val_map(), schema = val_map();
    for (size_t i = 0; i < countof(of_itself); i++)
        copy_member(a, &out, p, of_itself[i]);
    val_each_member (m, p) {
        bool is_own = str_starts(m->name->s, S("x-"));
        for (size_t i = 0; i < countof(of_itself); i++)
            is_own |= str_eqz(m->name->s, of_itself[i]);
        if (!is_own && val_is(p, VAL_MAP))
            (void)val_set_str(a, &schema, m->name->s, m->v);
    }
    copy_extensions(a, &out, p);
    (void)val_set_str(a, &out, S("schema"), schema);
    return out;
}

/* All but the body, which is the answer; NULL: there is none. */
static const struct val *parameters_three(struct arena *a, const struct openapi_remote *r, const struct val *from,
                                          struct val *to)
{
    const struct val *body = NULL;
    struct val list = val_list();
    val_each_item (it, member_of(from, "parameters")) {
        const struct val *p = parameter_of(a, r, it);
        if (is_body(p))
            body = p;
        else if (val_is(p, VAL_MAP))
            val_add(a, &list, parameter_three(a, p));
    }
    if (val_len(&list))
        (void)val_set_str(a, to, S("parameters"), list);
    return body;
}

/* --- paths --- */

static struct val responses_three(struct arena *a, const struct val *from, const struct val *media)
{
    struct val out = val_map();
    val_each_member (m, from) {
        struct val one = val_map();
        const struct val *schema = member_of(&m->v, "schema");
        copy_member(a, &one, &m->v, "description");
        if (schema)
            (void)val_set_str(a, &one, S("content"), content_of(a, media, schema));
        (void)val_set_str(a, &out, m->name->s, one);
    }
    return out;
}

static struct val operation_three(struct arena *a, const struct openapi_remote *r, const struct val *from)
{
    static const char *const same[] = {"tags", "summary", "description", "operationId", "deprecated"};
    struct val out = val_map(), body_out = val_map();
    for (size_t i = 0; i < countof(same); i++)
        copy_member(a, &out, from, same[i]);
    const struct val *body = parameters_three(a, r, from, &out), *schema = member_of(body, "schema");
    if (schema) {
        copy_member(a, &body_out, body, "description");
        copy_member(a, &body_out, body, "required");
        (void)val_set_str(a, &body_out, S("content"), content_of(a, member_of(from, "consumes"), schema));
        (void)val_set_str(a, &out, S("requestBody"), body_out);
    }
    (void)val_set_str(a, &out, S("responses"),
                      responses_three(a, member_of(from, "responses"), member_of(from, "produces")));
    copy_extensions(a, &out, from);
    return out;
}

static struct val path_three(struct arena *a, const struct openapi_remote *r, const struct val *from)
{
    static const char *const methods[] = {"get", "put", "post", "delete", "options", "head", "patch"};
    struct val out = val_map();
    for (size_t i = 0; i < countof(methods); i++)
        if (member_of(from, methods[i]))
            (void)val_set_str(a, &out, str_of(methods[i]), operation_three(a, r, member_of(from, methods[i])));
    (void)parameters_three(a, r, from, &out);
    copy_extensions(a, &out, from);
    return out;
}

/* --- the document --- */

static void add_moved(struct strbuf *b, struct str text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str before, name;
    enum openapi_ref kind;
    while ((kind = openapi_ref_next(&a, &text, &before, &name))) {
        strbuf_add(b, before);
        json_add_string(b, arena_fmt(&a, "#/components/%s/" STR_FMT,
                                     kind == OPENAPI_DEFINITION ? "schemas" : "parameters", STR_ARG(name)));
    }
    strbuf_add(b, before);
}

static void add_path(struct strbuf *b, const struct openapi_remote *r, const struct openapi_member *m)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(b->max);
    struct val from, to;
    struct err err = ERR;
    ASSERT(json_decode(&a, m->text, &from, &err)); /* it was checked */
    to = path_three(&a, r, &from);
    json_encode(&text, &to);
    add_moved(b, strbuf_str(&text));
}

void openapi_remote_three(struct strbuf *b, const struct openapi_remote *r)
{
    strbuf_addz(b,
                "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"unversioned\"},\"paths\":{");
    for (size_t i = 0; i < r->paths.n && !b->over; i++) {
        strbuf_addz(b, i ? "," : "");
        json_add_string(b, r->paths.list[i].name);
        strbuf_addc(b, ':');
        add_path(b, r, &r->paths.list[i]);
    }
    strbuf_addz(b, "},\"components\":{\"schemas\":{");
    for (size_t i = 0; i < r->definitions.n && !b->over; i++) {
        strbuf_addz(b, i ? "," : "");
        json_add_string(b, r->definitions.list[i].name);
        strbuf_addc(b, ':');
        add_moved(b, r->definitions.list[i].text);
    }
    strbuf_addz(b, "}}}");
}
