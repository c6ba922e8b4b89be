/* A document of OpenAPI 2.0 from JSON to protobuf: github.com/google/gnostic-models, openapiv2/OpenAPIv2.proto. */
#include "api/openapi_int.h"
#include "wire/pb.h"

enum message {
    NO_MESSAGE,
    DOCUMENT,
    INFO,
    PATHS,
    PATH_ITEM,
    OPERATION,
    RESPONSES,
    RESPONSE,
    BODY_PARAMETER,
    QUERY_PARAMETER,
    PATH_PARAMETER,
    SCHEMA,
    SCHEMAS, /* Definitions, Properties */
    SECURITY,
    SECURITY_ITEM,
    PARAMETERS,
};

enum shape {
    TEXT,      /* string; each of a list of them */
    FLAG,      /* bool */
    COUNT,     /* int64 */
    REAL,      /* double */
    ANY,       /* Any, each of a list of them: its JSON as YAML */
    ONE,       /* a message; each of a list of them */
    NAMED,     /* of a map's members, whatever their name: {1: name, 2: message} */
    PARAMETER, /* each of a list: {1: {1: body parameter}} or {1: {2: {3: of the query, 4: of the path}}}, or {2: {1:
                  reference}} */
    NAMED_PARAMETER, /* of a map's members: {1: name, 2: as {1: ...} above} */
    LEFT_OUT,
};

/* One member of a JSON object and its field. `wrap`: a message around it that only holds it, by that number. */
static const struct part {
    enum message in;
    const char *key; /* NULL: any */
    uint32_t number;
    enum shape shape;
    enum message of;
    uint32_t wrap;
} parts[] = {
    {DOCUMENT, "swagger", 1, TEXT, NO_MESSAGE, 0},
    {DOCUMENT, "info", 2, ONE, INFO, 0},
    {DOCUMENT, "paths", 8, ONE, PATHS, 0},
    {DOCUMENT, "definitions", 9, ONE, SCHEMAS, 0},
    {DOCUMENT, "parameters", 10, ONE, PARAMETERS, 0},
    {DOCUMENT, "security", 12, LEFT_OUT, NO_MESSAGE, 0},
    {DOCUMENT, "securityDefinitions", 13, ONE, SECURITY, 0},
    {INFO, "title", 1, TEXT, NO_MESSAGE, 0},
    {INFO, "version", 2, TEXT, NO_MESSAGE, 0},
    {PATHS, NULL, 2, NAMED, PATH_ITEM, 0},
    {PATH_ITEM, "get", 2, ONE, OPERATION, 0},
    {PATH_ITEM, "put", 3, ONE, OPERATION, 0},
    {PATH_ITEM, "post", 4, ONE, OPERATION, 0},
    {PATH_ITEM, "delete", 5, ONE, OPERATION, 0},
    {PATH_ITEM, "options", 6, ONE, OPERATION, 0},
    {PATH_ITEM, "head", 7, ONE, OPERATION, 0},
    {PATH_ITEM, "patch", 8, ONE, OPERATION, 0},
    {PATH_ITEM, "parameters", 9, PARAMETER, NO_MESSAGE, 0},
    {OPERATION, "tags", 1, TEXT, NO_MESSAGE, 0},
    {OPERATION, "description", 3, TEXT, NO_MESSAGE, 0},
    {OPERATION, "operationId", 5, TEXT, NO_MESSAGE, 0},
    {OPERATION, "produces", 6, TEXT, NO_MESSAGE, 0},
    {OPERATION, "consumes", 7, TEXT, NO_MESSAGE, 0},
    {OPERATION, "parameters", 8, PARAMETER, NO_MESSAGE, 0},
    {OPERATION, "responses", 9, ONE, RESPONSES, 0},
    {OPERATION, "schemes", 10, TEXT, NO_MESSAGE, 0},
    {PARAMETERS, NULL, 1, NAMED_PARAMETER, NO_MESSAGE, 0},
    {RESPONSES, NULL, 1, NAMED, RESPONSE, 1},
    {RESPONSE, "description", 1, TEXT, NO_MESSAGE, 0},
    {RESPONSE, "schema", 2, ONE, SCHEMA, 1},
    {BODY_PARAMETER, "name", 2, TEXT, NO_MESSAGE, 0},
    {BODY_PARAMETER, "in", 3, TEXT, NO_MESSAGE, 0},
    {BODY_PARAMETER, "required", 4, FLAG, NO_MESSAGE, 0},
    {BODY_PARAMETER, "schema", 5, ONE, SCHEMA, 0},
    {QUERY_PARAMETER, "in", 2, TEXT, NO_MESSAGE, 0},
    {QUERY_PARAMETER, "description", 3, TEXT, NO_MESSAGE, 0},
    {QUERY_PARAMETER, "name", 4, TEXT, NO_MESSAGE, 0},
    {QUERY_PARAMETER, "type", 6, TEXT, NO_MESSAGE, 0},
    {QUERY_PARAMETER, "uniqueItems", 20, FLAG, NO_MESSAGE, 0},
    {PATH_PARAMETER, "required", 1, FLAG, NO_MESSAGE, 0},
    {PATH_PARAMETER, "in", 2, TEXT, NO_MESSAGE, 0},
    {PATH_PARAMETER, "description", 3, TEXT, NO_MESSAGE, 0},
    {PATH_PARAMETER, "name", 4, TEXT, NO_MESSAGE, 0},
    {PATH_PARAMETER, "type", 5, TEXT, NO_MESSAGE, 0},
    {PATH_PARAMETER, "uniqueItems", 19, FLAG, NO_MESSAGE, 0},
    {SCHEMA, "$ref", 1, TEXT, NO_MESSAGE, 0},
    {SCHEMA, "format", 2, TEXT, NO_MESSAGE, 0},
    {SCHEMA, "title", 3, TEXT, NO_MESSAGE, 0},
    {SCHEMA, "description", 4, TEXT, NO_MESSAGE, 0},
    {SCHEMA, "default", 5, ANY, NO_MESSAGE, 0},
    {SCHEMA, "multipleOf", 6, REAL, NO_MESSAGE, 0},
    {SCHEMA, "maximum", 7, REAL, NO_MESSAGE, 0},
    {SCHEMA, "exclusiveMaximum", 8, FLAG, NO_MESSAGE, 0},
    {SCHEMA, "minimum", 9, REAL, NO_MESSAGE, 0},
    {SCHEMA, "exclusiveMinimum", 10, FLAG, NO_MESSAGE, 0},
    {SCHEMA, "maxLength", 11, COUNT, NO_MESSAGE, 0},
    {SCHEMA, "minLength", 12, COUNT, NO_MESSAGE, 0},
    {SCHEMA, "pattern", 13, TEXT, NO_MESSAGE, 0},
    {SCHEMA, "maxItems", 14, COUNT, NO_MESSAGE, 0},
    {SCHEMA, "minItems", 15, COUNT, NO_MESSAGE, 0},
    {SCHEMA, "uniqueItems", 16, FLAG, NO_MESSAGE, 0},
    {SCHEMA, "maxProperties", 17, COUNT, NO_MESSAGE, 0},
    {SCHEMA, "minProperties", 18, COUNT, NO_MESSAGE, 0},
    {SCHEMA, "required", 19, TEXT, NO_MESSAGE, 0},
    {SCHEMA, "enum", 20, ANY, NO_MESSAGE, 0},
    {SCHEMA, "additionalProperties", 21, ONE, SCHEMA, 1},
    {SCHEMA, "type", 22, TEXT, NO_MESSAGE, 1},
    {SCHEMA, "items", 23, ONE, SCHEMA, 1},
    {SCHEMA, "allOf", 24, ONE, SCHEMA, 0},
    {SCHEMA, "properties", 25, ONE, SCHEMAS, 0},
    {SCHEMAS, NULL, 1, NAMED, SCHEMA, 0},
    {SECURITY, NULL, 1, NAMED, SECURITY_ITEM, 2},
    {SECURITY_ITEM, "type", 1, TEXT, NO_MESSAGE, 0},
    {SECURITY_ITEM, "name", 2, TEXT, NO_MESSAGE, 0},
    {SECURITY_ITEM, "in", 3, TEXT, NO_MESSAGE, 0},
    {SECURITY_ITEM, "description", 4, TEXT, NO_MESSAGE, 0},
};

/* Where "x-kubernetes-..." goes: repeated NamedAny. */
static uint32_t extension_number(enum message in)
{
    return in == OPERATION ? 13 : 31; /* nothing but schemas and operations has any */
}

static const struct part *part_of(enum message in, struct str key)
{
    for (size_t i = 0; i < countof(parts); i++)
        if (parts[i].in == in && (!parts[i].key || str_eqz(key, parts[i].key)))
            return &parts[i];
    return NULL;
}

static void add_message(struct strbuf *b, struct json *j, enum message m);

static void add_any(struct strbuf *b, uint32_t number, struct str json)
{
    size_t any = pb_open(b, number);
    pb_add_bytes(b, 2, json);
    pb_close(b, any);
}

static struct str member_of(struct str object, struct str key, struct arena *a)
{
    struct json j = json_of(object);
    if (json_type(&j) != JSON_OBJECT)
        return S("");
    json_enter(&j);
    while (json_more(&j)) {
        bool found = str_eq(json_key(&j, a), key);
        if (found && json_type(&j) == JSON_STRING)
            return json_string(&j, a);
        (void)json_skip(&j);
    }
    return S("");
}

/* A parameter's own message, in the field of that number. */
static void add_parameter(struct strbuf *b, uint32_t number, struct str text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str in = member_of(text, S("in"), &a);
    struct json j = json_of(text);
    size_t parameter = pb_open(b, number);
    if (str_eqz(in, "body")) {
        size_t body = pb_open(b, 1);
        add_message(b, &j, BODY_PARAMETER);
        pb_close(b, body);
    } else {
        bool path = str_eqz(in, "path");
        size_t other = pb_open(b, 2), at = pb_open(b, path ? 4 : 3);
        add_message(b, &j, path ? PATH_PARAMETER : QUERY_PARAMETER);
        pb_close(b, at);
        pb_close(b, other);
    }
    pb_close(b, parameter);
}

/* One of a list: a parameter, or a reference to one. */
static void add_parameter_item(struct strbuf *b, uint32_t number, struct str text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str ref = member_of(text, S("$ref"), &a);
    size_t item = pb_open(b, number);
    if (ref.n) {
        size_t at = pb_open(b, 2);
        pb_add_bytes(b, 1, ref);
        pb_close(b, at);
    } else {
        add_parameter(b, 1, text);
    }
    pb_close(b, item);
}

static void add_text(struct strbuf *b, uint32_t number, struct json *j)
{
    AUTO(arena_fini) struct arena a = ARENA;
    pb_add_bytes(b, number, json_type(j) == JSON_STRING ? json_string(j, &a) : json_skip(j));
}

static void add_count(struct strbuf *b, uint32_t number, struct str literal)
{
    int64_t n;
    if (json_int(literal, &n))
        pb_add_uint(b, number, (uint64_t)n);
}

static void add_real(struct strbuf *b, uint32_t number, struct str literal)
{
    double d = json_double(literal);
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    pb_add_fixed64(b, number, bits);
}

static void add_value(struct strbuf *b, struct json *j, const struct part *m, struct str key)
{
    size_t outer = 0, inner = 0;
    uint32_t number = m->number;
    if (m->shape == NAMED || m->shape == NAMED_PARAMETER) {
        outer = pb_open(b, number);
        pb_add_bytes(b, 1, key);
        number = 2;
    }
    if (m->wrap) {
        inner = pb_open(b, number);
        number = m->wrap;
    }
    bool is_number = m->shape == COUNT || m->shape == REAL; /* these have no message around them */
    if (is_number && json_type(j) != JSON_NUMBER) {         /* another server's */
        (void)json_skip(j);
        return;
    }
    switch (m->shape) {
    case TEXT: add_text(b, number, j); break;
    case FLAG: pb_add_uint(b, number, str_eqz(json_skip(j), "true")); break;
    case COUNT: add_count(b, number, json_skip(j)); break;
    case REAL: add_real(b, number, json_skip(j)); break;
    case ANY: add_any(b, number, json_skip(j)); break;
    case PARAMETER: add_parameter_item(b, number, json_skip(j)); break;
    case NAMED_PARAMETER: add_parameter(b, number, json_skip(j)); break;
    case LEFT_OUT: (void)json_skip(j); break;
    case ONE:
    case NAMED: {
        size_t at = pb_open(b, number);
        add_message(b, j, m->of);
        pb_close(b, at);
        break;
    }
    }
    if (m->wrap)
        pb_close(b, inner);
    if (m->shape == NAMED || m->shape == NAMED_PARAMETER)
        pb_close(b, outer);
}

static void add_member(struct strbuf *b, struct json *j, const struct part *m, struct str key)
{
    if (json_type(j) != JSON_ARRAY) {
        add_value(b, j, m, key);
        return;
    }
    json_enter(j);
    while (json_more(j))
        add_value(b, j, m, key);
}

static void add_message(struct strbuf *b, struct json *j, enum message in)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (json_type(j) != JSON_OBJECT) {
        (void)json_skip(j);
        return;
    }
    json_enter(j);
    while (json_more(j)) {
        struct str key = json_key(j, &a);
        const struct part *m = part_of(in, key);
        if (str_starts(key, S("x-")) && (!m || m->key)) { /* a map's members are called what they are called */
            size_t at = pb_open(b, extension_number(in));
            pb_add_bytes(b, 1, key);
            add_any(b, 2, json_skip(j));
            pb_close(b, at);
        } else if (m) {
            add_member(b, j, m, key);
        } else { /* another server's, and nothing that clients look at */
            (void)json_skip(j);
        }
    }
}

void openapi_pb_add(struct strbuf *b, struct str json)
{
    struct json j = json_of(json);
    add_message(b, &j, DOCUMENT);
}

void openapi_pb_map(struct strbuf *b, const char *map, size_t length)
{
    pb_add_tag(b, part_of(DOCUMENT, str_of(map))->number, PB_BYTES);
    pb_add_varint(b, length);
}

void openapi_pb_members(struct strbuf *b, struct str json, const char *map)
{
    struct json j = json_of(json);
    add_message(b, &j, part_of(DOCUMENT, str_of(map))->of);
}
