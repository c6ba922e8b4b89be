/* haproxy_talk.c - a conversation with HAProxy's socket. In its interactive mode ("prompt") one connection takes any
 * number of commands, and each answer ends with "\n> ", which no line of an answer begins with; a line that a command
 * carries is acknowledged by "+ ". Several commands are on their way at once, no more than the socket surely takes.
 */
#include "base/log.h"
#include "edge/haproxy_int.h"

#define AHEAD_MOST (64 << 10) /* bytes of commands that are not answered yet */
#define LATE       (NS_PER_S / 2)
#define IDLE_MOST  (NS_PER_S) /* a connection without work is let go of, or a process that ends would wait for it */

struct talk_command {
    struct list node;
    struct buf *text;
    void (*fn)(void *arg, struct str answer, const struct err *err);
    void *arg;
    bool sent;
};
struct haproxy_talk {
    struct loop *loop;
    char *address;
    struct stream *stream;
    struct list commands; /* in order; those that are sent come first */
    size_t ahead;         /* bytes of those that are sent */
    bool greeted;
    struct strbuf got;
    size_t scanned;
    struct soon step;
    struct timer silence;
    int64_t patience, silence_ends;
    bool failed;
    struct err err;
    bool calling, freed; /* by one of its callbacks: it goes when that has come back */
};

bool talk_answer(struct str got, size_t *scanned, struct str *answer, size_t *used)
{
    size_t from = *scanned > 2 ? *scanned - 2 : 0;
    ptrdiff_t at = str_find(str_sub(got, from, got.n), S("\n> "));
    *scanned = got.n;
    if (at < 0)
        return false;
    size_t end = from + (size_t)at;
    struct str a = str_sub(got, 0, end);
    while (str_starts(a, S("+ ")))
        a = str_sub(a, 2, a.n);
    while (a.n && a.p[a.n - 1] == '\n')
        a.n--;
    *answer = a;
    *used = end + 3;
    *scanned = 0;
    return true;
}

static void command_free(struct talk_command *c)
{
    list_del(&c->node);
    buf_unref(c->text);
    mem_free(c);
}

static void connection_drop(struct haproxy_talk *t)
{
    stream_free(t->stream);
    t->stream = NULL;
    t->greeted = false;
    t->ahead = 0;
    t->scanned = 0;
    strbuf_fini(&t->got);
    t->got = STRBUF(TALK_ANSWER_MOST);
    timer_stop(&t->silence);
}

static void calling_over(struct haproxy_talk *t)
{
    t->calling = false;
    if (t->freed)
        mem_free(t);
}

static void command_end(struct haproxy_talk *t, struct str answer, const struct err *err)
{
    struct talk_command *c = list_first(&t->commands, struct talk_command, node);
    list_del(&c->node);
    c->fn(c->arg, answer, err);
    command_free(c);
}

/* Of what was sent nobody knows what became; what was not is told with it, as it may rest on it. What its callbacks
 * ask is a new conversation. */
static void talk_failed(struct haproxy_talk *t)
{
    struct err err = t->err;
    size_t n = 0;
    t->failed = false;
    connection_drop(t);
    list_each (c, &t->commands, struct talk_command, node)
        n++;
    t->calling = true;
    while (n-- && !t->freed)
        command_end(t, STR_NONE, &err);
    calling_over(t);
}

static void talk_fail(struct haproxy_talk *t, const struct err *err)
{
    if (t->failed)
        return;
    t->failed = true;
    t->err = *err;
    soon_set(&t->step);
}

static void silence_set(struct haproxy_talk *t, int64_t ns)
{
    t->silence_ends = loop_now(t->loop) + ns;
    timer_set(&t->silence, ns);
}

static void silence_over(struct timer *timer)
{
    struct haproxy_talk *t = container_of(timer, struct haproxy_talk, silence);
    struct err err = ERR;
    if (loop_now(t->loop) - t->silence_ends > LATE) { /* it is we who were silent: stopped, or suspended */
        silence_set(t, t->patience);
        return;
    }
    if (list_empty(&t->commands) && t->greeted) {
        connection_drop(t); /* at rest */
        return;
    }
    (void)err_set(&err, E_TIMEOUT, "HAProxy does not answer at %s", t->address);
    talk_fail(t, &err);
}

static void connection_closed(struct stream *s, struct err *why)
{
    struct haproxy_talk *t = stream_arg(s);
    struct err err = *why;
    if (list_empty(&t->commands) && why->kind == E_NONE) {
        connection_drop(t);
        return;
    }
    if (err.kind == E_NONE)
        (void)err_set(&err, E_IO, "HAProxy closed its socket %s", t->address);
    talk_fail(t, &err);
}

static void command_answered(struct haproxy_talk *t, struct str answer)
{
    struct talk_command *c = list_first(&t->commands, struct talk_command, node);
    if (!c || !c->sent)
        return; /* nobody asked: passed over */
    t->ahead -= c->text->n;
    command_end(t, answer, NULL);
}

static void connection_data(struct stream *s, struct str bytes)
{
    struct haproxy_talk *t = stream_arg(s);
    struct err err = ERR;
    struct str answer;
    size_t used, done = 0;
    strbuf_add(&t->got, bytes);
    silence_set(t, t->patience);
    if (t->got.over) {
        (void)err_set(&err, E_TOO_LARGE, "an answer of HAProxy is over %d bytes", TALK_ANSWER_MOST);
        talk_fail(t, &err);
        return;
    }
    t->calling = true;
    while (!t->freed && talk_answer(str_sub(strbuf_str(&t->got), done, t->got.n), &t->scanned, &answer, &used)) {
        done += used;
        if (!t->greeted)
            t->greeted = true;
        else
            command_answered(t, answer);
    }
    if (!t->freed) {
        strbuf_drop(&t->got, done);
        soon_set(&t->step);
    }
    calling_over(t);
}

static const struct stream_fns connection_fns = {.data = connection_data, .closed = connection_closed};

static void talk_step(struct soon *s)
{
    struct haproxy_talk *t = container_of(s, struct haproxy_talk, step);
    if (t->failed) {
        talk_failed(t);
        return;
    }
    if (list_empty(&t->commands)) {
        if (t->stream)
            silence_set(t, IDLE_MOST);
        return;
    }
    if (!t->stream) {
        struct stream_connect c = {.address = str_of(t->address), .timeout_ns = TALK_SILENCE};
        t->stream = stream_connect(t->loop, &c, &connection_fns, t);
        stream_write(t->stream, S("prompt\n"));
        silence_set(t, t->patience);
    }
    if (!t->greeted)
        return;
    list_each (c, &t->commands, struct talk_command, node) {
        if (c->sent)
            continue;
        if (t->ahead && t->ahead + c->text->n > AHEAD_MOST)
            break;
        if (!t->ahead)
            silence_set(t, t->patience);
        c->sent = true;
        t->ahead += c->text->n;
        stream_write_buf(t->stream, c->text);
    }
}

struct haproxy_talk *talk_new(struct loop *l, struct str path)
{
    struct haproxy_talk *t = mem_alloc(sizeof *t);
    AUTO(strbuf_fini) struct strbuf address = STRBUF(STRBUF_TEXT);
    strbuf_addf(&address, "unix:" STR_FMT, STR_ARG(path));
    *t = (struct haproxy_talk){.loop = l, .got = STRBUF(TALK_ANSWER_MOST), .patience = TALK_SILENCE};
    t->address = str_dupz(strbuf_str(&address));
    list_init(&t->commands);
    soon_init(&t->step, l, talk_step);
    timer_init(&t->silence, l, silence_over);
    return t;
}

void talk_free(struct haproxy_talk *t)
{
    if (!t)
        return;
    t->freed = true;
    connection_drop(t);
    soon_stop(&t->step);
    struct err err = ERR;
    (void)err_set(&err, E_CANCELLED, "the conversation was given up");
    while (!list_empty(&t->commands))
        command_end(t, STR_NONE, &err);
    strbuf_fini(&t->got);
    mem_free(t->address);
    if (!t->calling)
        mem_free(t);
}

void talk_ask(struct haproxy_talk *t, struct str text,
              void (*fn)(void *arg, struct str answer, const struct err *err), void *arg)
{
    struct talk_command *c = mem_alloc(sizeof *c);
    *c = (struct talk_command){.text = buf_new(text), .fn = fn, .arg = arg};
    list_add_tail(&t->commands, &c->node);
    soon_set(&t->step);
}

void talk_patience(struct haproxy_talk *t, int64_t ns)
{
    t->patience = ns;
}
