#include "base/test.h"
#include "node/probe_http.h"

TEST(probe_paths_become_urls)
{
    static const struct {
        const char *path, *text, *target;
    } rows[] = {
        {"/healthz", "http://10.42.0.9:8080/healthz", "/healthz"},
        {"healthz", "http://10.42.0.9:8080/healthz", "/healthz"},
        {"", "http://10.42.0.9:8080", "/"},
        {"/a?b=c&d", "http://10.42.0.9:8080/a?b=c&d", "/a?b=c&d"},
        {"/a?", "http://10.42.0.9:8080/a?", "/a?"},
        {"?q", "http://10.42.0.9:8080?q", "/?q"},
        {"/my app/gesund-\xc3\xa4", "http://10.42.0.9:8080/my%20app/gesund-%C3%A4", "/my%20app/gesund-%C3%A4"},
        {"/healthz#top", "http://10.42.0.9:8080/healthz#top", "/healthz"},
        {"http://localhost/healthz", "http://10.42.0.9:8080/healthz", "/healthz"},
        {"https://user@other:99/x?y", "http://10.42.0.9:8080/x?y", "/x?y"},
        {"//other/x", "http://10.42.0.9:8080/x", "/x"},
        {"///x", "http://10.42.0.9:8080///x", "///x"},
        {"/a%2Fb", "http://10.42.0.9:8080/a%2Fb", "/a%2Fb"},
        {"/a%20b c", "http://10.42.0.9:8080/a%20b%20c", "/a%20b%20c"},
        {"/100%", "http://10.42.0.9:8080/100%25", "/100%25"}, /* no URL: a path, then */
        {"/a%zz?q", "http://10.42.0.9:8080/a%25zz%3Fq", "/a%25zz%3Fq"},
        {"/a!b'(c)*", "http://10.42.0.9:8080/a!b'(c)*", "/a!b'(c)*"},
        {"/a\"b<c>", "http://10.42.0.9:8080/a%22b%3Cc%3E", "/a%22b%3Cc%3E"},
        {"/a:b", "http://10.42.0.9:8080/a:b", "/a:b"},
        {"1:b", "http://10.42.0.9:8080/1:b", "/1:b"},
        {"/a\nb", "http://10.42.0.9:8080/a%0Ab", "/a%0Ab"},
        {"*", "http://10.42.0.9:8080/*", "/*"},
        {".", "http://10.42.0.9:8080/.", "/."},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct probe_url u;
        probe_url(&a, S("http"), S("10.42.0.9"), 8080, str_of(rows[i].path), &u);
        CHECK_STR(probe_url_text(&a, &u), str_of(rows[i].text));
        struct str line, request = probe_request(&a, &u, NULL, 0, "kube-probe/1.36", NULL);
        CHECK(str_cut(&request, '\r', &line));
        CHECK_STR(line, arena_fmt(&a, "GET %s HTTP/1.1", rows[i].target));
    }
}

TEST(probe_requests_have_the_headers_of_go)
{
    static const struct {
        const char *headers[6], *want;
    } rows[] = {
        {{NULL}, "Host: 10.42.0.9:8080\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n"},
        {{"host", "example.org", "x-custom-header", "Awesome"},
         "Host: example.org\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nX-Custom-Header: Awesome\r\nConnection: "
         "close\r\n"},
        {{"user-agent", "mine", "ACCEPT", "text/html"},
         "Host: 10.42.0.9:8080\r\nUser-Agent: mine\r\nAccept: text/html\r\nConnection: close\r\n"},
        {{"User-Agent", "", "Accept", ""}, "Host: 10.42.0.9:8080\r\nConnection: close\r\n"},
        {{"X", "1", "X", "2"},
         "Host: 10.42.0.9:8080\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nX: 1\r\nX: 2\r\nConnection: "
         "close\r\n"},
        {{"X", "a\r\nY: b"},
         "Host: 10.42.0.9:8080\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nX: a  Y: b\r\nConnection: close\r\n"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct probe_url u;
        struct str headers[6];
        size_t n = 0;
        for (; n < countof(headers) && rows[i].headers[n]; n++)
            headers[n] = str_of(rows[i].headers[n]);
        probe_url(&a, S("http"), S("10.42.0.9"), 8080, S("/"), &u);
        CHECK_STR(probe_request(&a, &u, headers, n, "kube-probe/1.36", NULL),
                  arena_fmt(&a, "GET / HTTP/1.1\r\n%s\r\n", rows[i].want));
    }
}

TEST(probe_redirects_stay_on_the_host)
{
    static const struct {
        const char *location, *want; /* the URL, "other", or the error */
    } rows[] = {
        {"/bad", "http://10.42.0.9:8080/bad"},
        {"bad", "http://10.42.0.9:8080/a/bad"},
        {"../up?x", "http://10.42.0.9:8080/up?x"},
        {"./", "http://10.42.0.9:8080/a/"},
        {"?only", "http://10.42.0.9:8080/a/b?only"},
        {"#top", "http://10.42.0.9:8080/a/b?q#top"},
        {"http://10.42.0.9/x", "http://10.42.0.9/x"},
        {"https://10.42.0.9:8443/x", "https://10.42.0.9:8443/x"},
        {"//10.42.0.9:81/y/../z", "http://10.42.0.9:81/z"},
        {"http://other.example.invalid/x", "other"},
        {"//other/x", "other"},
        {"mailto:x@y", "other"},
        {"http:/x", "other"},
        {"ftp://10.42.0.9/x", "unsupported protocol scheme \"ftp\""},
        {"/a%zz", "failed to parse Location header \"/a%zz\""},
        {"http://[::1/x", "failed to parse Location header \"http://[::1/x\""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct probe_url u, next;
        struct err err = ERR;
        bool other;
        probe_url(&a, S("http"), S("10.42.0.9"), 8080, S("/a/b?q"), &u);
        bool ok = probe_url_follow(&a, &u, str_of(rows[i].location), &next, &other, &err);
        CHECK_STR(!ok ? str_of(err.text) : other ? S("other") : probe_url_text(&a, &next), str_of(rows[i].want));
    }
    AUTO(arena_fini) struct arena a = ARENA;
    struct probe_url u = {.scheme = S("https"), .authority = S("h")};
    CHECK_STR(probe_url_address(&a, &u), S("h:443"));
    u.authority = S("h:");
    u.scheme = S("http");
    CHECK_STR(probe_url_address(&a, &u), S("h:80"));
    u.authority = S("u@[::1]:9");
    CHECK_STR(probe_url_address(&a, &u), S("[::1]:9"));
}

/* "STATUS BODY" of what is there when the answer is over, or the error; each is fed at once and byte by byte. */
static struct str read_of(struct arena *a, const char *text, bool ends, bool bytewise)
{
    struct probe_answer_reader r;
    enum probe_read got = PROBE_MORE;
    struct str s = str_of(text);
    probe_answer_begin(&r);
    for (size_t i = 0; i < s.n && got == PROBE_MORE; i += bytewise ? 1 : s.n)
        got = probe_answer_feed(&r, str_sub(s, i, bytewise ? i + 1 : s.n));
    if (got == PROBE_MORE && ends)
        got = probe_answer_end(&r);
    struct str out = got == PROBE_MORE     ? S("more")
                     : got == PROBE_BROKEN ? probe_answer_error(a, &r)
                                           : arena_fmt(a, "%d " STR_FMT, r.status, STR_ARG(strbuf_str(&r.body)));
    probe_answer_fini(&r);
    return out;
}

TEST(probe_answers_of_plain_servers_are_read_as_go_reads_them)
{
#define BROKEN "net/http: HTTP/1.x transport connection broken: "
    static const struct {
        const char *text;
        bool ends; /* the server closes then */
        const char *want;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "200 hi"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "200 "},
        {"HTTP/1.0 200 OK\n\nhi\n", true, "200 hi\n"}, /* a shell script and nc */
        {"HTTP/1.1 200\n\n", true, "200 "},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, "204 "},
        {"HTTP/1.1 200 OK\r\n\r\nno length", true, "200 no length"},
        {"HTTP/1.1 200 OK\r\n\r\nno length", false, "more"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n3\r\n yo\r\n0\r\nT: t\r\n\r\n", false,
         "200 hi yo"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi", true, "200 hi"}, /* 1.0 knows none */
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: "
         "0\r\n\r\n",
         false, "503 "},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false, "101 "},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, "304 "},
        {"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 1\r\n\r\nx", false, "200 x"},
        {"", true, "EOF"},
        {"HTTP/1.1 200 OK\r\nContent-Le", true, BROKEN "unexpected EOF"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", true, "unexpected EOF"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", true, "unexpected EOF"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", true, "invalid byte in chunk length"},
        {"SSH-2.0-OpenSSH\r\n", false, BROKEN "malformed HTTP response \"SSH-2.0-OpenSSH\""},
        {"+OK ready\r\n", false, BROKEN "malformed HTTP status code \"ready\""},
        {"HTTP/x.1 200 OK\r\n", false, BROKEN "malformed HTTP version \"HTTP/x.1\""},
        {"HTTP/1.1 20 OK\r\n", false, BROKEN "malformed HTTP status code \"20\""},
        {"HTTP/1.1 200 OK\r\nnonsense\r\n", false, BROKEN "malformed MIME header line: nonsense"},
        {"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n", false, BROKEN "bad Content-Length \"-3\""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, BROKEN "unsupported transfer encoding: gzip"},
    };
    for (size_t i = 0; i < countof(rows); i++)
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            AUTO(arena_fini) struct arena a = ARENA;
            CHECK_STR(read_of(&a, rows[i].text, rows[i].ends, bytewise), str_of(rows[i].want));
        }
}

TEST(probe_bodies_are_cut_and_heads_have_a_bound)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf body = STRBUF(1 << 20), head = STRBUF(1 << 20);
    strbuf_addz(&body, "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n");
    for (int i = 0; i < PROBE_BODY_MOST; i++)
        strbuf_addc(&body, 'x');
    CHECK_INT(read_of(&a, body.p, false, false).n, 4 + PROBE_BODY_MOST); /* the rest is not waited for */
    strbuf_addz(&head, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 20000; i++)
        strbuf_addz(&head, "A: b\r\n");
    CHECK_STR(read_of(&a, head.p, true, false),
              S(BROKEN "net/http: server response headers exceeded 65536 bytes; aborted"));
}
