#include "base/clock.h"
#include "base/test.h"
#include "node/probe_grpc.h"
#include "wire/grpc.h"

TEST(a_service_is_asked_for_by_name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_STR(probe_grpc_request(&a, S("")), S(""));
    CHECK_STR(probe_grpc_request(&a, S("liveness")), S("\n\10liveness"));
}

TEST(answers_are_told_as_a_kubelet_tells_them)
{
    AUTO(arena_fini) struct arena a = ARENA;
    static const struct {
        int code;
        struct str message, answer;
        const char *want;
    } rows[] = {
        {GRPC_OK, S_INIT(""), S_INIT("\10\1"), ""},
        {GRPC_OK, S_INIT(""), S_INIT("\22\3new\10\1"), ""},
        {GRPC_OK, S_INIT(""), S_INIT("\10\2"), "service unhealthy (responded with \"NOT_SERVING\")"},
        {GRPC_OK, S_INIT(""), S_INIT("\10\3"), "service unhealthy (responded with \"SERVICE_UNKNOWN\")"},
        {GRPC_OK, S_INIT(""), S_INIT(""), "service unhealthy (responded with \"UNKNOWN\")"},
        {GRPC_OK, S_INIT(""), S_INIT("\10\11"), "service unhealthy (responded with \"9\")"},
        {GRPC_NOT_FOUND, S_INIT("unknown service"), S_INIT(""),
         "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"},
        {GRPC_UNIMPLEMENTED, S_INIT("unknown service grpc.health.v1.Health"), S_INIT(""),
         "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service "
         "grpc.health.v1.Health"},
        {99, S_INIT("odd"), S_INIT(""), "error: health rpc probe failed: rpc error: code = Code(99) desc = odd"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct grpc_call k = {.code = rows[i].code, .message = rows[i].message, .answer = rows[i].answer};
        CHECK_STR(probe_grpc_verdict(&a, &k), str_of(rows[i].want));
    }
    struct grpc_call broken = {.code = GRPC_OK, .answer = S("\10\377")};
    CHECK(
        str_starts(probe_grpc_verdict(&a, &broken),
                   S("error: health rpc probe failed: rpc error: code = Internal desc = grpc: failed to unmarshal")));
}

TEST(lateness_is_told)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_STR(probe_grpc_late(&a, false, S("10.42.0.9:50051"), NS_PER_S),
              S("timeout: failed to connect service \"10.42.0.9:50051\" within 1s: context deadline exceeded"));
    CHECK_STR(probe_grpc_late(&a, true, S("10.42.0.9:50051"), 90 * NS_PER_S),
              S("timeout: health rpc did not complete within 1m30s"));
    CHECK_STR(probe_grpc_late(&a, true, S("x:1"), 3605 * NS_PER_S),
              S("timeout: health rpc did not complete within 1h0m5s"));
    CHECK_STR(probe_grpc_late(&a, true, S("x:1"), 1500 * NS_PER_MS),
              S("timeout: health rpc did not complete within 1.5s"));
}
