#include "wire/grpc.h"
#include "wire/http_client.h"
#include <errno.h>

#define FRAME_HEAD   5 /* whether it is compressed, and its length in four bytes */
#define LATE         (100 * NS_PER_MS)
#define TIMEOUT_MOST 99999999 /* eight digits (PROTOCOL-HTTP2.md, TimeoutValue) */

struct grpc_client {
    struct loop *loop;
    struct http_client *http;
    char *target, *agent;
};

static const struct {
    const char *name;
    enum err_kind kind;
} codes[GRPC_CODES] = {
    [GRPC_OK] = {"OK", E_NONE},
    [GRPC_CANCELLED] = {"Canceled", E_CANCELLED},
    [GRPC_UNKNOWN] = {"Unknown", E_INTERNAL},
    [GRPC_INVALID_ARGUMENT] = {"InvalidArgument", E_INVALID},
    [GRPC_DEADLINE_EXCEEDED] = {"DeadlineExceeded", E_TIMEOUT},
    [GRPC_NOT_FOUND] = {"NotFound", E_NOT_FOUND},
    [GRPC_ALREADY_EXISTS] = {"AlreadyExists", E_ALREADY_EXISTS},
    [GRPC_PERMISSION_DENIED] = {"PermissionDenied", E_FORBIDDEN},
    [GRPC_RESOURCE_EXHAUSTED] = {"ResourceExhausted", E_TOO_MANY_REQUESTS},
    [GRPC_FAILED_PRECONDITION] = {"FailedPrecondition", E_INTERNAL},
    [GRPC_ABORTED] = {"Aborted", E_CONFLICT},
    [GRPC_OUT_OF_RANGE] = {"OutOfRange", E_INVALID},
    [GRPC_UNIMPLEMENTED] = {"Unimplemented", E_NOT_IMPLEMENTED},
    [GRPC_INTERNAL] = {"Internal", E_INTERNAL},
    [GRPC_UNAVAILABLE] = {"Unavailable", E_UNAVAILABLE},
    [GRPC_DATA_LOSS] = {"DataLoss", E_INTERNAL},
    [GRPC_UNAUTHENTICATED] = {"Unauthenticated", E_UNAUTHORIZED},
};

struct str grpc_code_name(struct arena *a, int code)
{
    return code >= 0 && code < GRPC_CODES ? str_of(codes[code].name) : arena_fmt(a, "Code(%d)", code);
}

/* ---- pure */

bool grpc_unframe(struct str body, struct str *message, struct err *err)
{
    const uint8_t *p = (const uint8_t *)body.p;
    if (body.n < FRAME_HEAD)
        return err_set(err, E_INTERNAL, "the answer holds no message");
    uint32_t n = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (p[0])
        return err_set(err, E_INTERNAL, "the answer is compressed, which was not asked for");
    if (n != body.n - FRAME_HEAD)
        return err_set(err, E_INTERNAL, "the answer is no single whole message");
    *message = (struct str){body.p + FRAME_HEAD, n};
    return true;
}

struct str grpc_message_read(struct arena *a, struct str escaped)
{
    char *raw = arena_alloc(a, escaped.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < escaped.n; i++) {
        int high = escaped.p[i] == '%' && escaped.n - i > 2 ? hex_digit(escaped.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(escaped.p[i + 2]) : -1;
        raw[n++] = (char)(low >= 0 ? high << 4 | low : escaped.p[i]); /* what is no escape stays as it is */
        i += low >= 0 ? 2 : 0;
    }
    struct str rest = {raw, n};
    if (str_utf8_ok(rest) && !memchr(raw, 0, n))
        return rest;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(3 * n + 1);
    while (rest.n) {
        uint32_t c;
        size_t size = *rest.p ? str_rune(rest, &c) : 0;
        strbuf_add(&out, size ? str_sub(rest, 0, size) : S("\xef\xbf\xbd"));
        rest = str_sub(rest, size ? size : 1, rest.n);
    }
    return str_dup(a, strbuf_str(&out));
}

bool grpc_err(const struct grpc_call *k, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    enum err_kind kind = k->code > 0 && k->code < GRPC_CODES ? codes[k->code].kind : E_INTERNAL;
    return err_set(err, kind, "rpc error: code = " STR_FMT " desc = " STR_FMT, STR_ARG(grpc_code_name(&a, k->code)),
                   STR_ARG(k->message));
}

/* ---- calls */

static void call_ends(struct grpc_call *k, int code, struct str message, struct str answer)
{
    timer_stop(&k->deadline);
    k->call = NULL;
    k->code = code;
    k->message = message;
    k->answer = answer;
    k->done(k);
}

/* What an answer without a status of gRPC means (doc/http-grpc-status-mapping.md). */
static int code_of_http(int status)
{
    return status == 400                   ? GRPC_INTERNAL
           : status == 401                 ? GRPC_UNAUTHENTICATED
           : status == 403                 ? GRPC_PERMISSION_DENIED
           : status == 404                 ? GRPC_UNIMPLEMENTED
           : status == 429 || status > 501 ? GRPC_UNAVAILABLE
                                           : GRPC_UNKNOWN;
}

static void call_answered(struct grpc_call *k, struct arena *a, const struct http_answer *got)
{
    const struct http_headers *from = http_header_has(&got->trailers, S("grpc-status")) || got->body.n
                                          ? &got->trailers
                                          : &got->headers;
    struct str status = http_header(from, S("grpc-status")), message = STR_NONE;
    struct err err = ERR;
    int64_t code;
    if (got->status != 200) {
        call_ends(k, code_of_http(got->status),
                  arena_fmt(a, "unexpected HTTP status code received from server: %d", got->status), STR_NONE);
    } else if (!status.n) {
        call_ends(k, GRPC_INTERNAL, S("server closed the stream without sending trailers"), STR_NONE);
    } else if (!str_to_i64(status, 0, INT32_MAX, &code)) {
        call_ends(k, GRPC_UNKNOWN, arena_fmt(a, "malformed grpc-status: " STR_FMT, STR_ARG(status)), STR_NONE);
    } else if (code != GRPC_OK) {
        call_ends(k, (int)code, grpc_message_read(a, http_header(from, S("grpc-message"))), STR_NONE);
    } else if (!grpc_unframe(got->body, &message, &err)) {
        call_ends(k, GRPC_INTERNAL, str_of(err.text), STR_NONE);
    } else {
        call_ends(k, GRPC_OK, STR_NONE, message);
    }
}

/* As grpc-go has it: "dial unix /path: connect: no such file or directory". */
static struct str dial_words(struct arena *a, const struct grpc_call *k, int sys)
{
    struct str address = str_of(k->client->target);
    bool local = str_starts(address, S("unix:"));
    return arena_fmt(a,
                     "connection error: desc = \"transport: Error while dialing: dial %s " STR_FMT ": connect: %s\"",
                     local ? "unix" : "tcp", STR_ARG(str_sub(address, local ? 5 : 0, address.n)),
                     sys == ENOENT         ? "no such file or directory"
                     : sys == ECONNREFUSED ? "connection refused"
                                           : "permission denied");
}

static void call_done(struct http_call *c, const struct http_answer *got, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct grpc_call *k = http_call_arg(c);
    k->answered = got != NULL;
    if (got)
        call_answered(k, &a, got);
    else if (err->kind == E_TIMEOUT)
        call_ends(k, GRPC_DEADLINE_EXCEEDED, S("context deadline exceeded"), STR_NONE);
    else if (err->kind == E_TOO_LARGE)
        call_ends(k, GRPC_RESOURCE_EXHAUSTED,
                  arena_fmt(&a, "received message larger than max (%zu)", GRPC_ANSWER_MOST), STR_NONE);
    else if (err->sys == ENOENT || err->sys == ECONNREFUSED || err->sys == EACCES)
        call_ends(k, GRPC_UNAVAILABLE, dial_words(&a, k, err->sys), STR_NONE);
    else
        call_ends(k, GRPC_UNAVAILABLE, str_of(err->text), STR_NONE);
}

/* The head of its answer came, and not the rest. */
static void on_deadline(struct timer *t)
{
    struct grpc_call *k = container_of(t, struct grpc_call, deadline);
    http_cancel(TAKE(k->call));
    k->answered = false;
    call_ends(k, GRPC_DEADLINE_EXCEEDED, S("context deadline exceeded"), STR_NONE);
}

void grpc_start(struct grpc_client *c, struct grpc_call *k, struct str method, struct str request, int64_t timeout_ns)
{
    static const struct http_call_fns fns = {.done = call_done};
    ASSERT(!k->call && timeout_ns > 0);
    AUTO(strbuf_fini) struct strbuf body = STRBUF(request.n + FRAME_HEAD);
    char timeout[32];
    struct http_header fields[] = {
        {S("te"), S("trailers")}, {S("user-agent"), str_of(c->agent)}, {S("grpc-timeout"), STR_NONE}};
    struct http_headers headers = {fields, countof(fields), countof(fields)};
    strbuf_addc(&body, 0);
    for (int shift = 24; shift >= 0; shift -= 8)
        strbuf_addc(&body, (char)(request.n >> shift & 0xff));
    strbuf_add(&body, request);
    (void)snprintf(timeout, sizeof timeout, "%lldm", (long long)MIN(timeout_ns / NS_PER_MS, TIMEOUT_MOST));
    fields[2].value = str_of(timeout);
    k->client = c;
    timer_init(&k->deadline, c->loop, on_deadline);
    timer_set(&k->deadline, timeout_ns + LATE); /* the call's own comes first, and gives the line up with it */
    k->call = http_send(c->http,
                        &(struct http_outgoing){.method = S("POST"),
                                                .target = method,
                                                .headers = &headers,
                                                .content_type = S("application/grpc"),
                                                .body = strbuf_str(&body),
                                                .answer_most = GRPC_ANSWER_MOST + FRAME_HEAD,
                                                .head_ns = timeout_ns},
                        &fns, k);
}

void grpc_cancel(struct grpc_call *k)
{
    if (!k->call)
        return;
    timer_stop(&k->deadline);
    http_cancel(TAKE(k->call));
}

bool grpc_active(const struct grpc_call *k)
{
    return k->call != NULL;
}

struct grpc_client *grpc_client_new(struct loop *l, struct str target, struct str agent)
{
    static const struct http_client_session_type *const spoken[] = {&http2_client_session, NULL};
    struct grpc_client *c = NEW(struct grpc_client);
    c->loop = l;
    c->target = str_dupz(target);
    c->agent = str_dupz(agent);
    c->http = http_client_new(
        l, &(struct http_client_config){.address = target,
                                        .host = str_starts(target, S("unix:")) ? S("localhost") : STR_NONE,
                                        .connections_most = 4,
                                        .sessions = spoken});
    return c;
}

bool grpc_greeted(const struct grpc_client *c)
{
    return http_client_greeted(c->http);
}

void grpc_client_free(struct grpc_client *c)
{
    if (!c)
        return;
    http_client_free(c->http);
    mem_free(c->target);
    mem_free(c->agent);
    mem_free(c);
}
