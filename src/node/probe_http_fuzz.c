#include "node/probe_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The first line is a path and, after a space, where an answer redirects to; the rest is the answer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, line, path, location;
    struct arena a = ARENA;
    struct probe_url u, next;
    struct err err = ERR;
    bool other;
    if (size > 1 << 17 || !rest.p || !str_cut(&rest, '\n', &line))
        return 0;
    (void)str_split(line, ' ', &path, &location);
    probe_url(&a, S("http"), S("10.0.0.1"), 80, path, &u);
    struct str text = probe_url_text(&a, &u);
    struct str request = probe_request(&a, &u, (struct str[]){S("x-Y"), location.p ? location : S("")}, 2,
                                       "kube-probe/1.36", &u);
    ASSERT(u.opaque.n || !u.path.n || u.path.p[0] == '/');
    ASSERT(str_find_char(u.path, ' ') < 0 && str_starts(text, S("http:")));
    ASSERT(str_starts(request, S("GET /")) && str_ends(request, S("\r\n\r\n")));
    if (location.p && probe_url_follow(&a, &u, location, &next, &other, &err) && !other)
        ASSERT(next.path.n && next.path.p[0] == '/');
    /* whatever the pieces, the same comes of it */
    struct probe_answer_reader whole, bytes;
    probe_answer_begin(&whole);
    probe_answer_begin(&bytes);
    enum probe_read one = PROBE_MORE, two = PROBE_MORE;
    if (rest.p)
        one = probe_answer_feed(&whole, rest);
    for (size_t i = 0; rest.p && i < rest.n && two == PROBE_MORE; i++)
        two = probe_answer_feed(&bytes, str_sub(rest, i, i + 1));
    if (one == PROBE_MORE)
        one = probe_answer_end(&whole);
    if (two == PROBE_MORE)
        two = probe_answer_end(&bytes);
    ASSERT(one == two && whole.status == bytes.status && one != PROBE_MORE);
    ASSERT(str_eq(strbuf_str(&whole.body), strbuf_str(&bytes.body)));
    if (one == PROBE_BROKEN)
        ASSERT(str_eq(probe_answer_error(&a, &whole), probe_answer_error(&a, &bytes)));
    probe_answer_fini(&whole);
    probe_answer_fini(&bytes);
    arena_fini(&a);
    return 0;
}
