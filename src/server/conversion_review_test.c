/* ConversionReview: what is asked reads as what it was, and answers are judged as upstream does. */
#include "api/codec.h"
#include "base/test.h"
#include "server/conversion_review.h"
#include <stdlib.h>

#define A                                                                                                            \
    "{\"apiVersion\":\"a.dev/"                                                                                       \
    "v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"y\"}},\"spec\":{\"n\":1}}"
#define B "{\"apiVersion\":\"a.dev/v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"b\"}}"
#define REVIEW(version, response)                                                                                    \
    "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/" version "\",\"response\":" response "}"
#define GOOD(objects)                                                                                                \
    REVIEW("v1", "{\"uid\":\"1\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":" objects "}")
#define FOR "conversion webhook for a.dev/v1, Kind=A "
#define A2  "{\"apiVersion\":\"a.dev/v2\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"m\":1}}"

static const char *read_told(const char *text, size_t n, bool beta)
{
    static char told[1000];
    AUTO(arena_fini) struct arena a = ARENA;
    struct val in[2], out[2];
    const struct val *objects[] = {&in[0], &in[1]};
    struct err err = ERR;
    CHECK(json_decode(&a, S(A), &in[0], &err) && json_decode(&a, S(B), &in[1], &err));
    struct conversion_review v = {
        .uid = S("1"), .beta = beta, .api_version = S("a.dev/v2"), .objects = objects, .n = n};
    told[0] = '\0';
    if (!conversion_review_read(&a, &v, str_of(text), out, &err))
        (void)snprintf(told, sizeof told, "%s", err.text);
    for (size_t i = 0; i < n && !err.kind; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        json_encode(&b, &out[i]);
        size_t at = strlen(told);
        (void)snprintf(told + at, sizeof told - at, "%s" STR_FMT, i ? " " : "", STR_ARG(strbuf_str(&b)));
    }
    return told;
}

TEST(conversion_answers_are_judged)
{
    static const struct {
        const char *text, *told;
        size_t n;
        bool beta;
    } cases[] = {
        {GOOD("[" A2 "]"), A2, 1, false},
        {GOOD("[]"), FOR "returned 0 objects, expected 1", 1, false},
        {GOOD("[" A2 "," A2 "]"), FOR "returned 2 objects, expected 1", 1, false},
        {GOOD("[" A2 "," A2 "]"), FOR "returned invalid converted object at index 1: must have the same name: b != a",
         2, false},
        {GOOD("[" A2 "," B "]"),
         FOR
         "returned invalid converted object at index 1: invalid groupVersion (expected a.dev/v2, received a.dev/v1)",
         2, false},
        {GOOD("[" A "]"),
         FOR "returned invalid object at index 0: invalid groupVersion (expected a.dev/v2, received a.dev/v1)", 1,
         false},
        {GOOD("[{}]"), "Object 'Kind' is missing in '{}'", 1, false},
        {GOOD("[null]"), "unexpected end of JSON input", 1, false},
        {GOOD("[{}," A2 "]"), FOR "returned invalid converted object at index 0: Object 'Kind' is missing in '{}'", 2,
         false},
        {GOOD("[{\"apiVersion\":\"a.dev/v2\",\"kind\":\"B\"}]"),
         FOR "returned invalid object at index 0: invalid kind (expected A, received B)", 1, false},
        {GOOD("[{\"apiVersion\":\"a.dev/v2\",\"kind\":\"A\"}]"),
         FOR "returned invalid object: must have the same name: a != ", 1, false},
        {REVIEW("v1", "null"), FOR "failed: no response provided", 1, false},
        {REVIEW("v1", "{\"uid\":\"2\"}"), FOR "failed: expected response.uid=\"1\", got \"2\"", 1, false},
        {REVIEW("v1", "{\"uid\":\"1\",\"result\":{\"status\":\"Failure\",\"message\":\"no\"}}"), FOR "failed: no", 1,
         false},
        {REVIEW("v1", "{\"uid\":\"1\",\"result\":{\"status\":\"Failure\"}}"),
         FOR "failed: response.result.status was 'Failure', not 'Success'", 1, false},
        {REVIEW("v1beta1", "{\"uid\":\"1\"}"),
         FOR "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got "
             "apiextensions.k8s.io/v1beta1, Kind=ConversionReview",
         1, false},
        {REVIEW("v1beta1", "{\"result\":{\"status\":\"Success\"},\"convertedObjects\":[" A2 "]}"), A2, 1, true},
        {"", FOR "failed: 0-length response with status code: 200 and content type: application/json", 1, false},
        {"{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}",
         FOR "failed: no kind \"Pod\" is registered for version \"v1\" in scheme", 1, false},
    };
    for (size_t i = 0; i < countof(cases); i++)
        CHECK_STR(str_of(read_told(cases[i].text, cases[i].n, cases[i].beta)), str_of(cases[i].told));
}

/* Labels and annotations are the webhook's, and what it says of other metadata is not heard. */
TEST(metadata_is_the_servers)
{
    CHECK_STR(str_of(read_told(GOOD("[{\"apiVersion\":\"a.dev/v2\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\","
                                    "\"generation\":7,\"finalizers\":[\"x/y\"],\"annotations\":{\"n\":\"1\"}}}]"),
                               1, false)),
              S("{\"apiVersion\":\"a.dev/v2\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\",\"annotations\":{\"n\":"
                "\"1\"}}}"));
    CHECK_STR(
        str_of(read_told(GOOD("[{\"apiVersion\":\"a.dev/v2\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\","
                              "\"labels\":{\"n\":1}}}]"),
                         1, false)),
        S(FOR "returned invalid metadata: metadata.labels[n] must be a string, but is int64 in converted object"));
}

/* What is asked is read back by whoever answers with it, in another version, as what it was. */
TEST(there_and_back_is_the_same)
{
    for (int seed = 0; seed < 200; seed++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val in[3], out[3], asked;
        const struct val *objects[3];
        struct err err = ERR;
        unsigned short dice[3] = {(unsigned short)seed, 7, 9};
        size_t n = 1 + (size_t)nrand48(dice) % 3;
        for (size_t i = 0; i < n; i++) {
            struct val spec = val_map(), meta = val_map();
            for (long k = nrand48(dice) % 6; k; k--)
                val_set_str(&a, &spec, arena_fmt(&a, "f%d", (int)(nrand48(dice) % 9)),
                            (nrand48(dice) % 2)
                                ? val_int(nrand48(dice) % 1000)
                                : val_str(&a, arena_fmt(&a, "\\\"\x01é%d", (int)(nrand48(dice) % 9))));
            val_set_text(&a, &meta, N(name), arena_fmt(&a, "o%zu", i));
            in[i] = val_map();
            val_set_text(&a, &in[i], N(apiVersion), S("a.dev/v1"));
            val_set_text(&a, &in[i], N(kind), S("A"));
            val_set(&a, &in[i], N(metadata), meta);
            val_set(&a, &in[i], N(spec), spec);
            objects[i] = &in[i];
        }
        struct conversion_review v = {.uid = S("1"), .api_version = S("a.dev/v1"), .objects = objects, .n = n};
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20), answer = STRBUF(1 << 20);
        conversion_review_write(&b, &v);
        CHECK(json_decode(&a, strbuf_str(&b), &asked, &err));
        CHECK_STR(val_text_at(&asked, N(request), N(desiredAPIVersion)), S("a.dev/v1"));
        strbuf_addz(&answer,
                    "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{"
                    "\"uid\":\"1\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":");
        json_encode(&answer, val_at(&asked, N(request), N(objects)));
        strbuf_addz(&answer, "}}");
        CHECK(conversion_review_read(&a, &v, strbuf_str(&answer), out, &err));
        for (size_t i = 0; i < n; i++)
            CHECK(val_equal(&in[i], &out[i]));
    }
}
