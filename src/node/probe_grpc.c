#include "node/probe_grpc.h"
#include "base/clock.h"
#include "wire/grpc.h"
#include "wire/pb.h"

enum { SERVING = 1 };

struct str probe_grpc_request(struct arena *a, struct str service)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(service.n + 16);
    if (service.n)
        pb_add_bytes(&b, 1, service);
    return str_dup(a, strbuf_str(&b));
}

/* HealthCheckResponse: status = 1, which is 0 where it is left out. False: it is no such message. */
static bool status_read(struct str answer, uint64_t *status, struct err *err)
{
    struct pb m = pb_of(answer);
    struct pb_field f;
    int got;
    *status = 0;
    while ((got = pb_next(&m, &f, err)) > 0)
        if (f.number == 1 && f.wire == PB_VARINT)
            *status = f.n;
    return got == 0;
}

static struct str status_name(struct arena *a, uint64_t status)
{
    static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    return status < countof(names) ? str_of(names[status]) : arena_fmt(a, "%d", (int)status);
}

/* As Go prints a duration of whole milliseconds: "1s", "1m30s", "1h0m5s", "1.5s". */
static struct str duration_text(struct arena *a, int64_t ns)
{
    int64_t ms = ns / NS_PER_MS, s = ms / 1000, part = ms % 1000;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (s >= 3600)
        strbuf_addf(&b, "%lldh", (long long)(s / 3600));
    if (s >= 60)
        strbuf_addf(&b, "%lldm", (long long)(s / 60 % 60));
    strbuf_addf(&b, "%lld", (long long)(s % 60));
    if (part) {
        strbuf_addf(&b, ".%03d", (int)part);
        while (b.p[b.n - 1] == '0')
            b.n--;
    }
    strbuf_addc(&b, 's');
    return str_dup(a, strbuf_str(&b));
}

struct str probe_grpc_late(struct arena *a, bool connected, struct str address, int64_t timeout_ns)
{
    struct str timeout = duration_text(a, timeout_ns);
    return connected ? arena_fmt(a, "timeout: health rpc did not complete within " STR_FMT, STR_ARG(timeout))
                     : arena_fmt(a,
                                 "timeout: failed to connect service \"" STR_FMT "\" within " STR_FMT
                                 ": context deadline exceeded",
                                 STR_ARG(address), STR_ARG(timeout));
}

struct str probe_grpc_verdict(struct arena *a, const struct grpc_call *k)
{
    struct err err = ERR;
    uint64_t status;
    if (k->code == GRPC_UNIMPLEMENTED)
        return arena_fmt(
            a, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " STR_FMT,
            STR_ARG(k->message));
    if (k->code != GRPC_OK)
        return arena_fmt(a, "error: health rpc probe failed: rpc error: code = " STR_FMT " desc = " STR_FMT,
                         STR_ARG(grpc_code_name(a, k->code)), STR_ARG(k->message));
    if (!status_read(k->answer, &status, &err))
        return arena_fmt(a,
                         "error: health rpc probe failed: rpc error: code = Internal desc = grpc: failed to "
                         "unmarshal the received message: %s",
                         err.text);
    if (status != SERVING)
        return arena_fmt(a, "service unhealthy (responded with \"" STR_FMT "\")", STR_ARG(status_name(a, status)));
    return STR_NONE;
}
