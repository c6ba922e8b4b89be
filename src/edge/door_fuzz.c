/* One route out of a user's texts, a line each: nothing of it may break out of a map's entry. */
#include "edge/door_int.h"
#include "edge/haproxy.h"

static struct str line_next(struct str *rest)
{
    struct str line = STR_NONE;
    return rest->p && str_cut(rest, '\n', &line) ? line : S("");
}

static void entry_check(struct str key, struct str value)
{
    ASSERT(key.n && key.p[0] != '#' && value.n);
    for (size_t i = 0; i < key.n; i++)
        ASSERT((uint8_t)key.p[i] > ' ');
    for (size_t i = 0; i < value.n; i++)
        ASSERT(value.p[i] && value.p[i] != '\n' && value.p[i] != '\r');
}

static void nobody_told(void *arg, const struct door_candidate *c, const struct err *why)
{
    (void)arg;
    (void)c;
    ASSERT(why->kind != E_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str rest = {(const char *)data + 2, size - 2};
    struct str texts[8];
    for (size_t i = 0; i < countof(texts); i++)
        texts[i] = line_next(&rest);
    struct door_field_match field = {
        .name = texts[3], .value = texts[4], .kind = data[0] >> 2 & 3, .absent = data[0] & 16};
    struct door_header header = {texts[5], texts[6]};
    struct door_cors cors = {.origins = &texts[7], .norigins = 1, .methods = texts[6], .max_age_s = 1};
    struct door_route r = {.listener = S("http"), .host = S("a.org"), .owner = texts[0]};
    r.match = (struct door_match){.path_kind = MIN(data[0] & 3, 2),
                                  .path = texts[1],
                                  .method = texts[2],
                                  .ignore_case = data[0] & 32,
                                  .headers = &field,
                                  .nheaders = data[0] >> 6 & 1,
                                  .queries = &field,
                                  .nqueries = data[0] >> 7,
                                  .source = data[1] & 1 ? texts[7] : S("")};
    r.action.request = (struct door_headers){.set = &header, .nset = data[1] >> 1 & 1};
    r.action.pool = S("p");
    r.action.end = data[1] & 4 ? DOOR_REDIRECT : DOOR_TO_POOL;
    r.action.code = 302;
    r.action.to_host = texts[6];
    r.action.to_url = data[1] & 8 ? texts[5] : S("");
    r.action.rewrite = r.action.to_path = (struct door_path){data[1] >> 4 & 3, texts[6]};
    r.action.cors = data[1] & 64 ? &cors : NULL;
    r.action.allow = data[1] & 128 ? texts[7] : S("");
    struct err err = ERR;
    struct door_place place = {.port = 80};
    if (!door_match_check(&r.match, &err))
        return 0;
    AUTO(door_rule_free) struct door_rule *rule = door_rule_new(&r, &place, &err);
    if (!rule)
        return 0;
    array_each (p, &rule->props)
        entry_check(p->key, p->value);
    struct door_candidate c = {&r, rule, "b1", 0, NULL};
    AUTO(door_table_fini) struct door_table t = {0};
    door_table_make(&t, S("t0123456789ab"), 0, &c, 1, nobody_told, NULL);
    array_each (e, &t.paths)
        entry_check(e->key, e->value);
    array_each (e, &t.conditions)
        entry_check(e->key, e->value);
    return 0;
}
