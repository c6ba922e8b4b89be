#include "base/test.h"
#include "edge/haproxy_int.h"
#include <unistd.h>

/* A conversation with a program that is not HAProxy: what it may do wrong. */
struct talk_world {
    struct loop *loop;
    struct listener listener;
    struct stream *peer;
    struct haproxy_talk *talk;
    size_t big;           /* bytes of the answer */
    bool cut, mute, gone; /* ends in an answer, says nothing, closes at once */
    int connections, answers, failures;
    struct str last;
    enum err_kind kind;
};
static struct talk_world w;

static void peer_data(struct stream *s, struct str bytes)
{
    struct str line;
    if (w.mute)
        return;
    while (str_cut(&bytes, '\n', &line)) {
        if (!line.n)
            continue;
        if (!str_eq(line, S("prompt"))) {
            for (size_t i = 0; i < w.big; i += 16)
                stream_write(s, S("0x1 0123456789a\n"));
            stream_write(s, line);
            if (w.cut) {
                stream_close(s);
                w.peer = NULL;
                return;
            }
        }
        stream_write(s, S("\n\n> "));
    }
}

static void peer_closed(struct stream *s, struct err *err UNUSED)
{
    stream_free(s);
    if (w.peer == s)
        w.peer = NULL;
}

static void peer_came(struct listener *l, int own_fd, const struct addr *peer UNUSED)
{
    static const struct stream_fns fns = {.data = peer_data, .closed = peer_closed};
    w.connections++;
    if (w.gone) {
        fd_close(own_fd);
        return;
    }
    stream_free(w.peer);
    w.peer = stream_new(l->loop, own_fd, NULL, &fns, NULL);
}

static void talk_heard(void *arg UNUSED, struct str answer, const struct err *err)
{
    if (err) {
        w.failures++;
        w.kind = err->kind;
        return;
    }
    w.answers++;
    mem_free((char *)(uintptr_t)w.last.p);
    w.last = (struct str){str_dupz(answer), answer.n};
}

static void world_enter(void)
{
    struct err err = ERR;
    struct addr a;
    AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT), text = STRBUF(STRBUF_TEXT);
    strbuf_addf(&path, "%s/s", test_dir());
    strbuf_addf(&text, "unix:" STR_FMT, STR_ARG(strbuf_str(&path)));
    w.loop = loop_new(&err);
    CHECK_OK(w.loop != NULL, err);
    CHECK_OK(addr_parse(strbuf_str(&text), &a, &err), err);
    int fd = socket_listen(&a, 0600, &err);
    CHECK_OK(fd >= 0, err);
    listener_start(&w.listener, w.loop, fd, peer_came);
    w.talk = talk_new(w.loop, strbuf_str(&path));
    talk_patience(w.talk, 200 * NS_PER_MS);
}

static void until_count(int *what, int n)
{
    for (int64_t end = clock_mono() + 20 * NS_PER_S; *what < n && clock_mono() < end;)
        (void)loop_run_once(w.loop, 10 * NS_PER_MS);
    CHECK_INT(*what, n);
}

static void world_leave(void)
{
    talk_free(w.talk);
    stream_free(w.peer);
    listener_stop(&w.listener);
    mem_free((char *)(uintptr_t)w.last.p);
    loop_free(w.loop);
}

TEST(many_commands_go_over_one_connection)
{
    world_enter();
    for (int i = 0; i < 3000; i++)
        talk_ask(w.talk, S("a command of some length, so that not all of them are sent at once\n"), talk_heard, NULL);
    talk_ask(w.talk, S("last\n"), talk_heard, NULL);
    until_count(&w.answers, 3001);
    CHECK_STR(w.last, S("last"));
    CHECK_INT(w.connections, 1);
    world_leave();
}

TEST(an_answer_of_eight_megabytes_is_whole)
{
    world_enter();
    talk_patience(w.talk, 20 * NS_PER_S); /* it is the size that is tried */
    w.big = 8 << 20;
    talk_ask(w.talk, S("show\n"), talk_heard, NULL);
    talk_ask(w.talk, S("show\n"), talk_heard, NULL);
    until_count(&w.answers, 2);
    CHECK_INT(w.last.n, (8 << 20) + 4);
    world_leave();
}

TEST(an_answer_that_is_cut_fails_and_the_next_is_asked_anew)
{
    world_enter();
    w.cut = true;
    w.big = 100;
    talk_ask(w.talk, S("one\n"), talk_heard, NULL);
    talk_ask(w.talk, S("two\n"), talk_heard, NULL);
    until_count(&w.failures, 2);
    CHECK_INT(w.answers, 0);
    w.cut = false;
    w.big = 0;
    talk_ask(w.talk, S("three\n"), talk_heard, NULL);
    until_count(&w.answers, 1);
    CHECK_STR(w.last, S("three"));
    CHECK_INT(w.connections, 2);
    world_leave();
}

TEST(who_answers_nothing_is_waited_for_no_longer_than_said)
{
    world_enter();
    w.mute = true;
    int64_t begin = clock_mono();
    talk_ask(w.talk, S("one\n"), talk_heard, NULL);
    until_count(&w.failures, 1);
    CHECK_INT(w.kind, E_TIMEOUT);
    CHECK(clock_mono() - begin < 5 * NS_PER_S);
    w.gone = true;
    talk_ask(w.talk, S("two\n"), talk_heard, NULL);
    until_count(&w.failures, 2);
    CHECK(w.kind != E_TIMEOUT);
    talk_ask(w.talk, S("three\n"), talk_heard, NULL); /* given up by talk_free, and told so */
    talk_free(w.talk);
    w.talk = NULL;
    CHECK_INT(w.failures, 3);
    CHECK_INT(w.kind, E_CANCELLED);
    world_leave();
}

TEST(answers_are_told_apart_wherever_they_are_cut)
{
    static const char text[] = "\n> + + one\n\n> \n> entry not found.\n\n> 0x1 > x\n0x2 y > z\n\n> rest";
    static const char *const want[] = {"", "one", "", "entry not found.", "0x1 > x\n0x2 y > z"};
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct str answer;
        size_t scanned = 0, used, from = 0, n = 0, ends[2] = {cut, sizeof text - 1};
        for (size_t i = 0; i < 2; i++)
            while (talk_answer((struct str){text + from, ends[i] - from}, &scanned, &answer, &used)) {
                CHECK(n < countof(want));
                CHECK_STR(answer, str_of(want[n++]));
                from += used;
            }
        CHECK_INT(n, countof(want));
    }
}
