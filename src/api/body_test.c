#include "api/body.h"
#include "base/test.h"

static const struct {
    enum body_format format;
    const char *body, *error;
} refused[] = {
    {BODY_JSON, "{",
     "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
     "unexpected end of JSON input ({)"},
    {BODY_JSON, "",
     "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
     "unexpected end of JSON input (<empty>)"},
    {BODY_JSON, "hello",
     "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
     "invalid character 'h' looking for beginning of value (68656c6c6f)"},
    {BODY_JSON, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"} x",
     "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
     "invalid character 'x' after top-level value ({\"apiVersion\":\"v1\",\"kind\":\"Con ...)"},
    {BODY_JSON, "{\"apiVersion\":\"a/b/c\",\"kind\":\"ConfigMap\"}",
     "the object provided is unrecognized (must be of type ConfigMap): unexpected GroupVersion string: a/b/c "
     "({\"apiVersion\":\"a/b/c\",\"kind\":\" ...)"},
    {BODY_YAML, "a: b: c",
     "the object provided is unrecognized (must be of type ConfigMap): yaml: mapping values are not allowed in this "
     "context (613a20623a2063)"},
    {BODY_JSON, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\"}",
     "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown "
     "conversion"},
    {BODY_JSON, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[]}",
     "List in version \"v1\" cannot be handled as a ConfigMap: converting (v1.List) to (core.ConfigMap): unknown "
     "conversion"},
    {BODY_JSON, "{\"apiVersion\":\"apps/v1\",\"kind\":\"ConfigMap\"}",
     "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version "
     "\"apps/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""},
    {BODY_JSON, "{\"kind\":\"configmap\"}",
     "configmap in version \"v1\" cannot be handled as a ConfigMap: no kind \"configmap\" is registered for version "
     "\"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""},
    {BODY_JSON, "{\"data\":{\"a\":1}}",
     "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct "
     "field "
     "ConfigMap.data of type string"},
};

static const struct body_expected config_map = {S_INIT("v1"), S_INIT("ConfigMap"), T(core_v1_ConfigMap), false, {0}};

TEST(bodies_are_refused_in_the_words_of_upstream)
{
    for (size_t i = 0; i < countof(refused); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v;
        struct err err = ERR;
        CHECK(!body_decode(&a, refused[i].format, str_of(refused[i].body), &config_map, &v, NULL, &err));
        CHECK_STR(str_of(err.text), str_of(refused[i].error));
    }
}

TEST(bodies_of_another_version_of_the_kind_are_told_apart)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct err err = ERR;
    struct body_expected deployment = {S("apps/v1"), S("Deployment"), K(Deployment)->type, false, {0}};
    CHECK(!body_decode(&a, BODY_JSON, S("{\"apiVersion\":\"extensions/v1beta1\",\"kind\":\"Deployment\"}"),
                       &deployment, &v, NULL, &err));
    CHECK_STR(
        str_of(err.text),
        S("the API version in the data (extensions/v1beta1) does not match the expected API version (apps/v1)"));
    struct body_expected event = {S("events.k8s.io/v1"), S("Event"), K(events_k8s_io_Event)->type, false, {0}};
    CHECK(!body_decode(&a, BODY_JSON, S("{\"apiVersion\":\"v1\",\"kind\":\"Event\"}"), &event, &v, NULL, &err));
    CHECK_STR(str_of(err.text),
              S("the API version in the data (v1) does not match the expected API version (events.k8s.io/v1)"));
}

TEST(options_come_in_every_version)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct err err = ERR;
    struct body_expected options = {S("v1"), S("DeleteOptions"), T(meta_v1_DeleteOptions), true, {0}};
    CHECK_OK(body_decode(&a, BODY_JSON,
                         S("{\"apiVersion\":\"apps/v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":0}"),
                         &options, &v, NULL, &err),
             err);
    CHECK_INT(val_num_at(&v, -1, N(gracePeriodSeconds)), 0);
    CHECK(!body_decode(&a, BODY_JSON, S("{"), &options, &v, NULL, &err));
    CHECK_STR(str_of(err.text), S("couldn't get version/kind; json parse error: unexpected end of JSON input"));
}

TEST(a_body_takes_what_it_does_not_say_from_the_url)
{
    static const char *const bodies[] = {"null", "{}", "{\"kind\":null}", "{\"metadata\":null,\"apiVersion\":\"\"}"};
    for (size_t i = 0; i < countof(bodies); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v;
        struct err err = ERR;
        CHECK_OK(body_decode(&a, BODY_JSON, str_of(bodies[i]), &config_map, &v, NULL, &err), err);
        CHECK_STR(val_text_at(&v, N(kind)), S("ConfigMap"));
        CHECK_STR(val_text_at(&v, N(apiVersion)), S("v1"));
        CHECK_INT(val_len(&v), 2);
    }
}

TEST(what_a_strict_reader_says_of_yaml)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val v;
    struct err err = ERR;
    CHECK_OK(
        body_decode(&a, BODY_YAML,
                    S("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\ndata: {c: d}\nx: 1\n"),
                    &config_map, &v, &notes, &err),
        err);
    body_strict_text(&config_map, &notes, &b);
    CHECK_STR(strbuf_str(&b),
              S("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: "
                "unmarshal errors:\n  line 5: key \"data\" already set in map, unknown field \"x\""));
}

TEST(a_protobuf_body_is_one_too)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val v;
    struct err err = ERR;
    pb_wrap(&b, S("v1"), S("ConfigMap"),
            S("\x12\x06\x0a\x01"
              "a\x12\x01"
              "1"));
    CHECK_OK(body_decode(&a, BODY_PROTOBUF, strbuf_str(&b), &config_map, &v, NULL, &err), err);
    CHECK_STR(val_text(val_get_str(val_get(&v, N(data)), S("a"))), S("1"));
    CHECK(!body_decode(&a, BODY_PROTOBUF, S("{}"), &config_map, &v, NULL, &err));
}

TEST(another_version_of_the_same_is_taken_where_it_is_named)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct body_expected eviction = {S("policy/v1"), S("Eviction"), T(policy_v1_Eviction), false,
                                     S("policy/v1beta1")};
    struct err err = ERR;
    struct val v;
    CHECK_OK(body_decode(&a, BODY_JSON, S("{\"apiVersion\":\"policy/v1beta1\",\"kind\":\"Eviction\"}"), &eviction, &v,
                         NULL, &err),
             err);
    CHECK_STR(val_text_at(&v, N(apiVersion)), S("policy/v1"));
    CHECK(!body_decode(&a, BODY_JSON, S("{\"apiVersion\":\"policy/v1beta2\",\"kind\":\"Eviction\"}"), &eviction, &v,
                       NULL, &err));
}
