/* AdmissionReview: what is asked is what a client of this API reads back, and answers are judged as upstream does. */
#include "api/codec.h"
#include "base/test.h"
#include "server/review.h"
#include "server/world_test.h"

static const char *read_told(const char *text, bool mutating, bool beta)
{
    static char told[1000];
    AUTO(arena_fini) struct arena a = ARENA;
    struct review v = {.uid = S("1"), .beta = beta};
    struct review_answer answer;
    struct err err = ERR;
    if (review_read(&a, &v, mutating, str_of(text), &answer, &err))
        (void)snprintf(told, sizeof told, "%s%s", answer.allowed ? "allowed" : "denied",
                       answer.patch ? ", patched" : "");
    else
        (void)snprintf(told, sizeof told, "%s", err.text);
    return told;
}

#define REVIEW(version, response)                                                                                    \
    "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/" version "\",\"response\":" response "}"

TEST(review_answers_are_judged)
{
    static const struct {
        const char *text, *told;
        bool mutating, beta;
    } cases[] = {
        {REVIEW("v1", "{\"uid\":\"1\",\"allowed\":true}"), "allowed", true, false},
        {REVIEW("v1", "{\"uid\":\"1\"}"), "denied", true, false},
        {REVIEW("v1", "{\"uid\":\"2\",\"allowed\":true}"), "expected response.uid=\"1\", got \"2\"", true, false},
        {REVIEW("v1beta1", "{\"allowed\":true}"), "allowed", false, true},
        {REVIEW("v1beta1", "{\"uid\":\"1\",\"allowed\":true}"),
         "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, "
         "Kind=AdmissionReview",
         false, false},
        {REVIEW("v1", "null"), "webhook response was absent", false, false},
        {REVIEW("v1", "{\"uid\":\"1\",\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":"
                      "\"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=\"}"),
         "allowed, patched", true, false},
        {REVIEW("v1", "{\"uid\":\"1\",\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"W10=\"}"), "allowed",
         true, false},
        {REVIEW("v1beta1", "{\"allowed\":true,\"patch\":\"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=\"}"),
         "allowed, patched", true, true},
        {REVIEW("v1", "{\"uid\":\"1\",\"allowed\":true,\"patch\":\"W10=\"}"),
         "validating webhook may not return response.patch", false, false},
        {REVIEW("v1", "{\"uid\":\"1\",\"allowed\":true,\"patchType\":\"JSONPatch\"}"),
         "validating webhook may not return response.patchType", false, false},
        {"{\"kind\":\"AdmissionReview\"}", "Object 'apiVersion' is missing in '{\"kind\":\"AdmissionReview\"}'",
         false, false},
        {"[]",
         "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { "
         "APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
         false, false},
    };
    for (size_t i = 0; i < countof(cases); i++)
        CHECK_STR(str_of(read_told(cases[i].text, cases[i].mutating, cases[i].beta)), str_of(cases[i].told));
}

TEST(review_of_a_write_reads_as_one)
{
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(
        ask_now(&w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"},\"data\":{\"a\":\"b\\\"\"}}"),
        201);
    AUTO(obj_unref) struct obj *o = object_get(w.server, K(ConfigMap), S("default"), S("one"));
    struct test_ask *ask = ask_new(&w, VERB_GET, K(ConfigMap), "one", "", NULL, NULL);
    struct admission x = {
        .r = &ask->r, .verb = VERB_UPDATE, .kind = K(ConfigMap), .ns = S("default"), .name = S("one"), .sub = S("")};
    struct review v = {.x = &x, .as = K(ConfigMap), .obj = &o->tree, .old = &o->tree, .uid = S("u")};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree;
    struct err err = ERR;
    world_settle(&w);
    review_write(&b, &v);
    CHECK_OK(type_decode_json(&a, T(admission_v1_AdmissionReview), strbuf_str(&b), &tree, NULL, &err), err);
    const struct val *request = val_get(&tree, N(request));
    CHECK_STR(val_text_at(request, N(kind), N(kind)), S("ConfigMap"));
    CHECK_STR(val_text_at(request, N(requestResource), N(resource)), S("configmaps"));
    CHECK_STR(val_text_at(request, N(operation)), S("UPDATE"));
    CHECK_STR(val_text(val_get_str(val_at(request, N(object), N(data)), S("a"))), S("b\""));
    CHECK(val_at(request, N(userInfo), N(username)));
    CHECK_STR(val_text_at(request, N(options), N(kind)), S("UpdateOptions"));
    ask_free(ask);
    world_fini(&w);
}
