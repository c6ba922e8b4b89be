#include "base/test.h"
#include "wire/grpc.h"
#include "wire/http2.h"
#include <unistd.h>

/* A server that answers by the method's name, spoken in frames of its own making: what a Go server sends and what one
 * that is broken might. */
struct toy_grpc {
    struct loop *loop;
    struct listener listener;
    struct stream *stream;
    nghttp2_session *ng;
    int lines, cut;
    char path[64];
    int32_t ids[16];
    char methods[16][64];
    size_t n, at;
    struct strbuf got;
    char frame[64];
    size_t nframe;
};
static struct toy_grpc toy;

static void toy_flush(void)
{
    const uint8_t *p;
    ssize_t n;
    while (toy.stream && (n = nghttp2_session_mem_send(toy.ng, &p)) > 0)
        stream_write(toy.stream, (struct str){(const char *)p, (size_t)n});
}

#define NV(name, value)                                                                                              \
    {                                                                                                                \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1, 0          \
    }

static size_t silent_bytes(void)
{
    size_t n = toy.nframe;
    toy.nframe = 0;
    return n;
}

static ssize_t toy_body(UNUSED nghttp2_session *ng, int32_t id, uint8_t *p, UNUSED size_t most, uint32_t *flags,
                        nghttp2_data_source *from, UNUSED void *arg)
{
    static const nghttp2_nv good[] = {NV("grpc-status", "0")};
    static const nghttp2_nv bad[] = {NV("grpc-status", "9"), NV("grpc-message", "not%20yet: 5%25 %e2%82%ac %ff")};
    const char *method = from->ptr;
    memcpy(p, toy.frame, toy.nframe);
    if (strcmp(method, "/silent") == 0) /* the end never comes */
        return toy.nframe ? (ssize_t)silent_bytes() : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (strcmp(method, "/bare") != 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        bool fails = strcmp(method, "/late") == 0;
        CHECK_INT(nghttp2_submit_trailer(ng, id, fails ? bad : good, fails ? 2 : 1), 0);
    }
    return (ssize_t)toy.nframe;
}

static void toy_answer(int32_t id, const char *method)
{
    static const nghttp2_nv head[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
    static const nghttp2_nv refusal[] = {NV(":status", "200"), NV("content-type", "application/grpc"),
                                         NV("grpc-status", "5"), NV("grpc-message", "volume%20x")};
    static const nghttp2_nv http[] = {NV(":status", "404")};
    nghttp2_data_provider from = {.source.ptr = (void *)(uintptr_t)method, .read_callback = toy_body};
    toy.nframe = 0;
    if (strcmp(method, "/hang") == 0)
        return;
    if (strcmp(method, "/die") == 0) {
        stream_free(TAKE(toy.stream));
        return;
    }
    if (strcmp(method, "/garbage") == 0) {
        stream_write(toy.stream, S("HTTP/1.1 400 Bad Request\r\n\r\nthis is nobody's protocol"));
        return;
    }
    if (strcmp(method, "/goaway") == 0)
        CHECK_INT(nghttp2_submit_goaway(toy.ng, 0, id, 0, NULL, 0), 0);
    if (strcmp(method, "/refusal") == 0) {
        (void)nghttp2_submit_response(toy.ng, id, refusal, countof(refusal), NULL);
    } else if (strcmp(method, "/http") == 0) {
        (void)nghttp2_submit_response(toy.ng, id, http, countof(http), NULL);
    } else {
        bool cut = strcmp(method, "/cut") == 0, packed = strcmp(method, "/packed") == 0;
        toy.nframe = strcmp(method, "/empty") == 0 ? 0 : (size_t)(5 + 6);
        memcpy(toy.frame, packed ? "\1\0\0\0\6answer" : cut ? "\0\0\0\0\7answer" : "\0\0\0\0\6answer", 11);
        (void)nghttp2_submit_response(toy.ng, id, head, countof(head), &from);
    }
}

static int toy_header(UNUSED nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nname,
                      const uint8_t *value, size_t nvalue, UNUSED uint8_t flags, UNUSED void *arg)
{
    struct str n = {(const char *)name, nname}, v = {(const char *)value, nvalue};
    if (str_eqz(n, ":path")) {
        toy.ids[toy.n % 16] = f->hd.stream_id;
        (void)snprintf(toy.methods[toy.n++ % 16], 64, STR_FMT, STR_ARG(v));
    }
    if (str_eqz(n, "te"))
        CHECK_STR(v, S("trailers"));
    return 0;
}
static int toy_data(UNUSED nghttp2_session *ng, UNUSED uint8_t flags, UNUSED int32_t id, const uint8_t *p, size_t n,
                    UNUSED void *arg)
{
    strbuf_add(&toy.got, (struct str){(const char *)p, n});
    return 0;
}
static int toy_frame(UNUSED nghttp2_session *ng, const nghttp2_frame *f, UNUSED void *arg)
{
    for (size_t i = 0; f->hd.flags & NGHTTP2_FLAG_END_STREAM && i < 16; i++)
        if (f->hd.stream_id && toy.ids[i] == f->hd.stream_id)
            toy_answer(f->hd.stream_id, toy.methods[i]);
    return 0;
}

static void toy_read(struct stream *s, struct str bytes)
{
    CHECK(nghttp2_session_mem_recv(toy.ng, (const uint8_t *)bytes.p, bytes.n) >= 0);
    if (toy.stream == s)
        toy_flush();
}
static void toy_closed(struct stream *s, UNUSED struct err *err)
{
    stream_free(s);
    if (toy.stream == s)
        toy.stream = NULL;
}
static void toy_accept(UNUSED struct listener *l, int own_fd, UNUSED const struct addr *peer)
{
    static const struct stream_fns fns = {.data = toy_read, .ended = NULL, .closed = toy_closed};
    nghttp2_session_callbacks *f;
    stream_free(toy.stream);
    nghttp2_session_del(toy.ng);
    memset(toy.ids, 0, sizeof toy.ids);
    CHECK_INT(nghttp2_session_callbacks_new(&f), 0);
    nghttp2_session_callbacks_set_on_header_callback(f, toy_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(f, toy_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(f, toy_frame);
    CHECK_INT(nghttp2_session_server_new(&toy.ng, f, NULL), 0);
    nghttp2_session_callbacks_del(f);
    CHECK_INT(nghttp2_submit_settings(toy.ng, 0, NULL, 0), 0);
    toy.stream = stream_new(toy.loop, own_fd, NULL, &fns, NULL);
    toy.lines++;
    toy_flush();
}

static void toy_begin(void)
{
    struct err err = ERR;
    struct addr at;
    AUTO(arena_fini) struct arena a = ARENA;
    toy = (struct toy_grpc){.loop = loop_new(&err), .got = STRBUF(1 << 20)};
    (void)snprintf(toy.path, sizeof toy.path, "/tmp/grpc-test-%d.sock", (int)getpid());
    CHECK_OK(addr_parse(arena_fmt(&a, "unix:%s", toy.path), &at, &err), err);
    int fd = socket_listen(&at, 0600, &err);
    CHECK(fd >= 0);
    listener_start(&toy.listener, toy.loop, fd, toy_accept);
}
static struct grpc_client *toy_client(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return grpc_client_new(toy.loop, arena_fmt(&a, "unix:%s", toy.path), S("test"));
}
static void toy_end(void)
{
    listener_stop(&toy.listener);
    stream_free(toy.stream);
    nghttp2_session_del(toy.ng);
    strbuf_fini(&toy.got);
    (void)unlink(toy.path);
    loop_free(toy.loop);
}

static struct strbuf said;
static int under_way;
static void call_told(struct grpc_call *k)
{
    struct err err = ERR;
    if (k->code)
        (void)grpc_err(k, &err);
    strbuf_addf(&said, "%s" STR_FMT "\n", k->code ? err.text : "OK ", STR_ARG(k->answer));
    if (--under_way == 0)
        loop_stop(toy.loop);
}
static void call_make(struct grpc_client *c, struct grpc_call *k, const char *method)
{
    *k = (struct grpc_call){.done = call_told};
    under_way++;
    grpc_start(c, k, str_of(method), S("request"),
               strcmp(method, "/hang") && strcmp(method, "/silent") ? 20 * NS_PER_S : 50 * NS_PER_MS);
}
static void check_said(const char *want)
{
    CHECK_STR(strbuf_str(&said), str_of(want));
    strbuf_reset(&said);
}
static void call_one(struct grpc_client *c, const char *method, const char *want)
{
    struct grpc_call k;
    call_make(c, &k, method);
    loop_run(toy.loop);
    check_said(want);
}

TEST(grpc_calls_are_answered)
{
    said = STRBUF(1 << 20);
    toy_begin();
    struct grpc_client *c = toy_client();
    CHECK(!grpc_greeted(c));
    call_one(c, "/ok", "OK answer\n");
    CHECK(grpc_greeted(c));
    CHECK_STR(strbuf_str(&toy.got), ((struct str){"\0\0\0\0\7request", 12}));
    call_one(c, "/refusal", "rpc error: code = NotFound desc = volume x\n");
    call_one(c, "/late", "rpc error: code = FailedPrecondition desc = not yet: 5% \xe2\x82\xac \xef\xbf\xbd\n");
    call_one(c, "/http",
             "rpc error: code = Unimplemented desc = unexpected HTTP status code received from server: 404\n");
    call_one(c, "/empty", "rpc error: code = Internal desc = the answer holds no message\n");
    call_one(c, "/cut", "rpc error: code = Internal desc = the answer is no single whole message\n");
    call_one(c, "/bare", "rpc error: code = Internal desc = server closed the stream without sending trailers\n");
    call_one(c, "/packed", "rpc error: code = Internal desc = the answer is compressed, which was not asked for\n");
    CHECK_INT(toy.lines, 1);
    struct grpc_call many[12];
    for (size_t i = 0; i < countof(many); i++)
        call_make(c, &many[i], "/ok");
    loop_run(toy.loop);
    check_said("OK answer\nOK answer\nOK answer\nOK answer\nOK answer\nOK answer\nOK answer\nOK answer\nOK answer\n"
               "OK answer\nOK answer\nOK answer\n");
    CHECK_INT(toy.lines, 1);
    grpc_client_free(c);
    toy_end();
    strbuf_fini(&said);
}

TEST(grpc_calls_survive_a_bad_server)
{
    said = STRBUF(1 << 20);
    toy_begin();
    struct grpc_client *c = toy_client();
    call_one(c, "/hang", "rpc error: code = DeadlineExceeded desc = context deadline exceeded\n");
    call_one(c, "/ok", "OK answer\n");
    CHECK_INT(toy.lines, 2); /* a line on which nothing was heard is not trusted again */
    call_one(c, "/silent", "rpc error: code = DeadlineExceeded desc = context deadline exceeded\n");
    call_one(c, "/ok", "OK answer\n");
    call_one(c, "/goaway", "OK answer\n");
    call_one(c, "/ok", "OK answer\n");
    struct grpc_call k;
    static const char *const ways[] = {"/die", "/garbage"};
    for (size_t i = 0; i < countof(ways); i++) {
        call_make(c, &k, ways[i]);
        loop_run(toy.loop);
        CHECK(str_starts(strbuf_str(&said), S("rpc error: code = Unavailable desc = ")));
        strbuf_reset(&said);
        call_one(c, "/ok", "OK answer\n");
    }
    call_make(c, &k, "/hang");
    grpc_cancel(&k);
    under_way--;
    CHECK(!grpc_active(&k));
    grpc_client_free(c);
    toy_end();
    strbuf_fini(&said);
}

TEST(grpc_says_that_nobody_is_there)
{
    said = STRBUF(1 << 20);
    toy_begin();
    struct grpc_client *c = grpc_client_new(toy.loop, S("unix:/nowhere/csi.sock"), S("test"));
    call_one(
        c, "/ok",
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix "
        "/nowhere/csi.sock: connect: no such file or directory\"\n");
    grpc_client_free(c);
    toy_end();
    strbuf_fini(&said);
}
