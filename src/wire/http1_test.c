#include "base/test.h"
#include "wire/http1.h"

/* One line per event, for one or more messages. */
static void events_text(struct str in, bool answers, size_t step, struct strbuf *out)
{
    AUTO(http1_fini) struct http1 p;
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    http1_init(&p, answers);
    bool in_body = false;
    for (size_t at = 0; at < in.n; at += step) {
        struct str bytes = str_sub(in, at, at + step), body;
        for (struct http1_head h;;) {
            enum http1_event e = http1_next(&p, &a, &bytes, &h, &body, &err);
            if (e == HTTP1_MORE)
                break;
            if (e != HTTP1_BODY && in_body)
                strbuf_addc(out, '|');
            in_body = e == HTTP1_BODY && (in_body || body.n);
            switch (e) {
            case HTTP1_BAD: strbuf_addf(out, "%d %s", p.refuse_status, err.text); return;
            case HTTP1_HEAD:
                if (answers)
                    strbuf_addf(out, "%d ", h.status);
                else
                    strbuf_addf(out, STR_FMT " " STR_FMT " " STR_FMT " ", STR_ARG(h.method), STR_ARG(h.target),
                                STR_ARG(h.host));
                strbuf_addf(out, "%lld%s%s|", (long long)h.length, h.keep_alive ? "" : " close",
                            h.upgrade ? " upgrade" : "");
                break;
            case HTTP1_BODY: strbuf_add(out, body); break;
            case HTTP1_END: strbuf_addz(out, "end|"); break;
            case HTTP1_MORE: break;
            }
        }
    }
    if (http1_eof(&p, &err) == HTTP1_END)
        strbuf_addz(out, in_body ? "|end|" : "end|");
}

static const struct {
    const char *in, *want;
} requests[] = {
    {"GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n", "GET /a?b h:1 0|end|"},
    {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nhost:h\r\nconnection: x, Close\r\n\r\n",
     "GET / h 0|end|GET /2 h 0 close|end|"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "PUT / h 3|abc|end|"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "PUT / h 3|abc|end|"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: "
     "v\r\n\r\n",
     "PUT / h -1|abc0123456789|end|"},
    {"GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n", "GET /x other 0|end|"},
    {"GET / HTTP/1.0\r\n\r\n", "GET /  0 close|end|"},
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / h 0 upgrade|end|"},
    {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * h 0|end|"},
    /* what is refused */
    {"GET / HTTP/1.1\nHost: h\n\n", "400 lines must end in CRLF"},
    {"GET / HTTP/1.1\r\nHost: h\n\r\n", "400 lines must end in CRLF"},
    {"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "400 lines must end in CRLF"},
    {"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "400 folded header lines are not taken"},
    {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", "400 folded header lines are not taken"},
    {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400 malformed header line"},
    {"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", "400 malformed header line"},
    {"GET / HTTP/1.1\r\nHost: h\r\nX: a\001b\r\n\r\n", "400 malformed header line"},
    {"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", "400 malformed header line"},
    {"GET / HTTP/1.1\r\n\r\n", "400 the Host field is missing"},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 two Host fields"},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 malformed Host field"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
     "400 two different Content-Length fields"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", "400 malformed Content-Length"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", "400 malformed Content-Length"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", "400 malformed Content-Length"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
     "400 both Content-Length and Transfer-Encoding"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
     "501 the only Transfer-Encoding known is chunked"},
    {"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Transfer-Encoding in HTTP/1.0"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n",
     "PUT / h -1|400 malformed chunk size"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
     "PUT / h -1|400 malformed chunk size"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n",
     "PUT / h -1|400 malformed chunk size"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
     "PUT / h -1|a|400 a chunk does not end where it says"},
    {"PUT / HTTP/1.1\r\nHost: h\r\nExpect: more\r\n\r\n", "417 the only expectation known is 100-continue"},
    {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505 only HTTP/1.1 and HTTP/1.0 are spoken here"},
    {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "400 malformed request line"},
    {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "400 malformed request line"},
    {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", "400 malformed request line"},
    {"GET a HTTP/1.1\r\nHost: h\r\n\r\n", "400 malformed request target"},
    {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "501 malformed request target"},
    {"\026\003\001\002\r\n\r\n", "400 malformed request line"},
};

static const struct {
    const char *in, *want;
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 2|hi|end|"},
    {"HTTP/1.1 204 \r\n\r\nHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "204 -1|end|200 0|end|"},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", "100 -1|end|201 0|end|"},
    {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 -1 close|until the end|end|"},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n", "101 -1 upgrade|end|"},
    {"HTTP/1.1 20 OK\r\n\r\n", "400 malformed status line"},
    {"SSH-2.0-x\r\n\r\n", "400 malformed status line"},
};

TEST(http1_reads_and_refuses_in_one_piece_or_many)
{
    for (size_t i = 0; i < countof(requests) + countof(answers); i++) {
        bool answer = i >= countof(requests);
        size_t at = answer ? i - countof(requests) : i;
        struct str in = str_of(answer ? answers[at].in : requests[at].in);
        struct str want = str_of(answer ? answers[at].want : requests[at].want);
        for (size_t step = 1; step <= in.n; step = step < 4 ? step + 1 : step * 2 + in.n) {
            AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
            events_text(in, answer, step > in.n ? in.n : step, &out);
            CHECK_STR(strbuf_str(&out), want);
        }
        AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
        events_text(in, answer, in.n, &out);
        CHECK_STR(strbuf_str(&out), want);
    }
}

TEST(http1_limits)
{
    static const struct {
        const char *head;
        size_t fill;
        const char *tail, *want;
    } rows[] = {
        {"GET /", 50000, " HTTP/1.1\r\nHost: h\r\n\r\n", "414 the request line is too long"},
        {"GET /", 200000, "", "414 the request line is too long"},
        {"GET / HTTP/1.1\r\nHost: h\r\nX: ", 70000, "\r\n\r\n", "431 the header is too large"},
        {"GET / HTTP/1.1\r\nHost: h\r\nX: ", 40000, "\r\n\r\n", "GET / h 0|end|"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf in = STRBUF(1 << 20), out = STRBUF(STRBUF_TEXT);
        strbuf_addz(&in, rows[i].head);
        for (size_t n = 0; n < rows[i].fill; n++)
            strbuf_addc(&in, 'a');
        strbuf_addz(&in, rows[i].tail);
        events_text(strbuf_str(&in), false, 4096, &out);
        CHECK_STR(strbuf_str(&out), str_of(rows[i].want));
    }
    AUTO(strbuf_fini) struct strbuf in = STRBUF(1 << 20), out = STRBUF(STRBUF_TEXT);
    strbuf_addz(&in, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 200; i++)
        strbuf_addf(&in, "X%d: y\r\n", i);
    strbuf_addz(&in, "\r\n");
    events_text(strbuf_str(&in), false, 4096, &out);
    CHECK_STR(strbuf_str(&out), S("431 too many header fields"));
}

TEST(http1_a_head_cut_off_is_no_message)
{
    AUTO(http1_fini) struct http1 p;
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct http1_head h;
    struct str bytes = S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), body;
    http1_init(&p, true);
    CHECK(http1_next(&p, &a, &bytes, &h, &body, &err) == HTTP1_HEAD);
    CHECK(http1_next(&p, &a, &bytes, &h, &body, &err) == HTTP1_BODY);
    CHECK_STR(body, S("abc"));
    CHECK(http1_eof(&p, &err) == HTTP1_BAD);
}

TEST(http_fields_cannot_be_split)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    http1_add_field(&b, S("Warning"), S("a\r\nSet-Cookie: x"));
    CHECK_STR(strbuf_str(&b), S("Warning: a  Set-Cookie: x\r\n"));
}

TEST(http_queries_and_escapes)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct str rest = S("watch=1&labelSelector=a%3Db%2C+c&&x"), name, value, out;
    CHECK(http_query_next(&a, &rest, &name, &value, &err));
    CHECK_STR(name, S("watch"));
    CHECK(http_query_next(&a, &rest, &name, &value, &err));
    CHECK_STR(value, S("a=b, c"));
    CHECK(http_query_next(&a, &rest, &name, &value, &err));
    CHECK_STR(name, S("x"));
    CHECK(!http_query_next(&a, &rest, &name, &value, &err) && err.kind == E_NONE);
    rest = S("a=%4");
    CHECK(!http_query_next(&a, &rest, &name, &value, &err) && err.kind == E_BAD_REQUEST);
    CHECK(http_unescape(&a, S("a+b%2f"), &out));
    CHECK_STR(out, S("a+b/"));
    CHECK(!http_unescape(&a, S("%00"), &out) && !http_unescape(&a, S("%zz"), &out));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    http_escape(&b, S("a b/c~\xc3"));
    CHECK_STR(strbuf_str(&b), S("a%20b%2Fc~%C3"));
}
