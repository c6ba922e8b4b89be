#include "oci/pull.h"
#include "oci/jsonout.h"
#include "wire/json.h"

#define REQUEST_MAX (1 << 20)

static struct str text_or_none(struct json *j, struct arena *a)
{
    if (json_type(j) == JSON_STRING)
        return json_string(j, a);
    (void)json_skip(j);
    return S("");
}

/* A list of objects with two texts each: an array of pairs of them. */
static struct strs pairs_of(struct json *j, struct arena *a, const char *first, const char *second)
{
    ARRAY(struct str) list = {0};
    json_enter(j);
    while (json_more(j)) {
        struct str pair[2] = {S(""), S("")};
        if (json_type(j) != JSON_OBJECT) {
            (void)json_skip(j);
            continue;
        }
        json_enter(j);
        while (json_more(j)) {
            struct str name = json_key(j, a), value = text_or_none(j, a);
            if (str_eqz(name, first))
                pair[0] = value;
            else if (str_eqz(name, second))
                pair[1] = value;
        }
        array_push(&list, pair[0]);
        array_push(&list, pair[1]);
    }
    struct strs out = {list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL, list.n};
    array_fini(&list);
    return out;
}

bool pull_request_decode(struct arena *a, struct str text, struct pull_request *out, struct err *err)
{
    ARRAY(struct str) insecure = {0};
    *out = (struct pull_request){0};
    if (text.n > REQUEST_MAX || !json_check(text, err))
        return err_set(err, E_BAD_REQUEST, "a pull request must be one JSON object below %d bytes", REQUEST_MAX);
    struct json j = json_of(text);
    if (json_type(&j) != JSON_OBJECT)
        return err_set(err, E_BAD_REQUEST, "a pull request must be an object");
    json_enter(&j);
    while (json_more(&j)) {
        struct str key = json_key(&j, a);
        const struct {
            const char *key;
            struct str *to;
        } texts[] = {{"store", &out->store}, {"image", &out->image}, {"caFile", &out->ca_file}};
        struct str *to = NULL;
        int64_t retries;
        for (size_t i = 0; i < countof(texts); i++)
            if (str_eqz(key, texts[i].key))
                to = texts[i].to;
        if (to) {
            *to = text_or_none(&j, a);
        } else if (str_eqz(key, "retries") && json_type(&j) == JSON_NUMBER) {
            if (json_int(json_number(&j), &retries) && retries >= 0 && retries <= 100)
                out->retries = (int)retries;
        } else if (str_eqz(key, "insecure") && json_type(&j) == JSON_ARRAY) {
            json_enter(&j);
            while (json_more(&j))
                array_push(&insecure, text_or_none(&j, a));
        } else if (str_eqz(key, "credentials") && json_type(&j) == JSON_ARRAY) {
            struct strs pairs = pairs_of(&j, a, "username", "password");
            out->ncredentials = pairs.n / 2;
            out->credentials = arena_alloc(a, (pairs.n + 1) * sizeof *out->credentials);
            for (size_t i = 0; i < out->ncredentials; i++)
                out->credentials[i] = (struct pull_credential){pairs.p[2 * i], pairs.p[2 * i + 1]};
        } else if (str_eqz(key, "mirrors") && json_type(&j) == JSON_ARRAY) {
            struct strs pairs = pairs_of(&j, a, "registry", "endpoint");
            out->nmirrors = pairs.n / 2;
            out->mirrors = arena_alloc(a, (pairs.n + 1) * sizeof *out->mirrors);
            for (size_t i = 0; i < out->nmirrors; i++)
                out->mirrors[i] = (struct pull_mirror){pairs.p[2 * i], pairs.p[2 * i + 1]};
        } else {
            (void)json_skip(&j);
        }
    }
    out->insecure.n = insecure.n;
    out->insecure.p = insecure.n ? arena_dup(a, insecure.p, insecure.n * sizeof *insecure.p) : NULL;
    array_fini(&insecure);
    if (!out->store.n || !out->image.n)
        return err_set(err, E_BAD_REQUEST, "a pull request must have store and image");
    return true;
}

void pull_request_encode(const struct pull_request *r, struct strbuf *b)
{
    jout_open(b, '{');
    jout_field(b, "store", r->store);
    jout_field(b, "image", r->image);
    jout_key(b, "credentials");
    jout_open(b, '[');
    for (size_t i = 0; i < r->ncredentials; i++) {
        jout_open(b, '{');
        jout_field(b, "username", r->credentials[i].username);
        jout_field(b, "password", r->credentials[i].password);
        jout_close(b, '}');
    }
    jout_close(b, ']');
    jout_field(b, "caFile", r->ca_file);
    jout_key(b, "retries");
    jout_num(b, r->retries);
    jout_key(b, "insecure");
    jout_open(b, '[');
    for (size_t i = 0; i < r->insecure.n; i++)
        jout_str(b, r->insecure.p[i]);
    jout_close(b, ']');
    jout_key(b, "mirrors");
    jout_open(b, '[');
    for (size_t i = 0; i < r->nmirrors; i++) {
        jout_open(b, '{');
        jout_field(b, "registry", r->mirrors[i].registry);
        jout_field(b, "endpoint", r->mirrors[i].endpoint);
        jout_close(b, '}');
    }
    jout_close(b, ']');
    jout_close(b, '}');
}
