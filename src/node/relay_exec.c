#include "api/codec.h"
#include "base/log.h"
#include "node/channels.h"
#include "node/relay_int.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#define CHUNK      (32 << 10)
#define STDIN_MOST (1 << 20) /* bytes that wait for the program to read them */
#define DRAIN_MOST (1 << 20) /* what a pipe may hold */
#define SIZE_MOST  4096      /* of a message about the terminal's size */
#define SIZE_WAIT  (500 * NS_PER_MS)

/* One exec or attach: the client's channels on one side, descriptors on the other. */
struct exec_session;
struct outlet { /* stdout or stderr of the program */
    struct exec_session *session;
    struct poll poll;
    int fd, channel;
    bool opened;
};
struct exec_session {
    struct relay_ask ask;
    struct relay *relay;
    struct http_request *http; /* until the node has started it */
    struct channels *channels;
    bool attach, tty, want[3];
    int in; /* -1: none, or closed */
    struct poll in_poll;
    struct strbuf in_queue, size;   /* size: what came of a message about it */
    bool in_over, ended, is_master; /* in_over: close after the queue */
    bool started, held;             /* held: not asked for yet, as the terminal's size is waited for */
    bool too_long;
    struct strbuf before, after; /* the request, where the size is left out */
    struct timer sizing;
    int code;
    char *problem;
    struct outlet out, err;
    int given[3]; /* the node's ends, until they are sent */
};

static void session_free(struct exec_session *s)
{
    relay_forget(&s->ask, !s->ended);
    timer_stop(&s->sizing);
    strbuf_fini(&s->before);
    strbuf_fini(&s->after);
    poll_stop(&s->in_poll);
    poll_stop(&s->out.poll);
    poll_stop(&s->err.poll);
    if (!s->is_master)
        fd_close(s->in);
    fd_close(s->out.fd);
    fd_close(s->err.fd);
    for (int i = 0; i < 3; i++)
        fd_close(s->given[i]);
    strbuf_fini(&s->in_queue);
    strbuf_fini(&s->size);
    channels_free(s->channels);
    mem_free(s->problem);
    mem_free(s);
}

/* --- how it ended --- */

/* As a Status, and its sentence alone. */
static void status_text(const struct exec_session *s, struct strbuf *out, struct strbuf *text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_map();
    val_set(&a, &v, N(metadata), val_map());
    if (!s->code && !s->problem) {
        val_set_text(&a, &v, N(status), S("Success"));
        json_encode(out, &v);
        return;
    }
    struct val cause = val_map(), causes = val_list();
    val_set_text(&a, &v, N(status), S("Failure"));
    if (s->problem) {
        strbuf_addf(text, "Internal error occurred: %s", s->problem);
        val_set_text(&a, &v, N(reason), S("InternalError"));
        val_set_num(&a, &v, N(code), 500);
        val_set_text(&a, &cause, N(message), str_of(s->problem));
    } else {
        strbuf_addf(text, "command terminated with non-zero exit code: exit status %d", s->code);
        val_set_text(&a, &v, N(reason), S("NonZeroExitCode"));
        val_set_text(&a, &cause, N(reason), S("ExitCode"));
        val_set_text(&a, &cause, N(message), arena_fmt(&a, "%d", s->code));
    }
    val_set_text(&a, &v, N(message), strbuf_str(text));
    val_add(&a, &causes, cause);
    val_set(&a, val_need_map(&a, &v, N(details)), N(causes), causes);
    json_encode(out, &v);
}

/* Said once the program has ended and all that it wrote has been read. */
static void maybe_over(struct exec_session *s)
{
    if (!s->ended || s->out.fd >= 0 || s->err.fd >= 0 || !channels_ready(s->channels))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(65536);
    status_text(s, &b, &text);
    channels_finish(TAKE(s->channels), strbuf_str(&b), strbuf_str(&text));
    session_free(s);
}

/* --- what the program writes --- */

static void outlet_close(struct outlet *o)
{
    poll_stop(&o->poll);
    if (o->fd >= 0 && o->session->is_master && o->session->in == o->fd) {
        poll_stop(&o->session->in_poll);
        o->session->in = -1;
        o->session->is_master = false;
    }
    fd_close(o->fd);
    o->fd = -1;
}

static void on_output(struct poll *p, int ready)
{
    (void)ready;
    struct outlet *o = container_of(p, struct outlet, poll);
    struct exec_session *s = o->session;
    char buf[CHUNK];
    ssize_t n = read(o->fd, buf, sizeof buf);
    if (n > 0) {
        channels_send(s->channels, o->channel, (struct str){buf, (size_t)n});
        if (channels_over_high(s->channels))
            poll_want(p, 0); /* on_drained goes on */
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !s->ended)
        return;
    outlet_close(o); /* the end, or EIO: a terminal without a program */
    maybe_over(s);
}

/* The program is over: what it wrote is in the pipe or the terminal now. Others may hold that open and write on; they
 * are not waited for. What FIONREAD says of a terminal leaves out what is on its way through it; reading does not. */
static void outlet_drain(struct outlet *o)
{
    char buf[CHUNK];
    for (size_t all = 0; o->fd >= 0 && all < DRAIN_MOST;) {
        ssize_t n = read(o->fd, buf, sizeof buf);
        if (n <= 0)
            break;
        channels_send(o->session->channels, o->channel, (struct str){buf, (size_t)n});
        all += (size_t)n;
    }
    outlet_close(o);
}

/* What it never was connected to, it wrote nothing to (the runtime may have: its sentence is told otherwise). */
static void outlet_finish(struct outlet *o)
{
    if (o->opened && channels_ready(o->session->channels))
        outlet_drain(o);
    else
        outlet_close(o);
}

static void outlet_open(struct exec_session *s, struct outlet *o, int own_fd, int channel)
{
    *o = (struct outlet){.session = s, .fd = own_fd, .channel = channel, .opened = true};
    poll_init(&o->poll, s->relay->loop, own_fd, on_output);
    poll_want(&o->poll, channels_ready(s->channels) ? POLL_READ : 0); /* on_ready goes on */
}

/* --- what the client writes --- */

static void in_close(struct exec_session *s)
{
    poll_stop(&s->in_poll);
    if (!s->is_master)
        fd_close(s->in);
    s->in = -1;
    strbuf_reset(&s->in_queue);
    channels_pause(s->channels, false); /* what comes now is dropped */
}

static void on_input_room(struct poll *p, int ready)
{
    (void)ready;
    struct exec_session *s = container_of(p, struct exec_session, in_poll);
    ssize_t n = write(s->in, s->in_queue.p, s->in_queue.n);
    if (n < 0 && errno != EAGAIN && errno != EINTR) { /* nobody reads any more */
        in_close(s);
        return;
    }
    strbuf_drop(&s->in_queue, n > 0 ? (size_t)n : 0);
    if (s->in_queue.n < STDIN_MOST / 2)
        channels_pause(s->channels, false);
    if (s->in_queue.n)
        return;
    poll_want(p, 0);
    if (s->in_over)
        in_close(s);
}

static void request_send(struct exec_session *s, const struct winsize *size);

static void session_resize(struct exec_session *s, struct str text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct err err = ERR;
    if (!json_decode(&a, text, &v, &err))
        return; /* as upstream: what is no size changes nothing */
    struct winsize w = {.ws_row = (unsigned short)val_num(val_get_str(&v, S("Height")), 0),
                        .ws_col = (unsigned short)val_num(val_get_str(&v, S("Width")), 0)};
    if (s->held) {
        request_send(s, &w);
    } else if (s->is_master) {
        (void)ioctl(s->out.fd, TIOCSWINSZ, &w); /* a terminal that is gone has no size */
    } else if (s->attach && !list_empty(&s->ask.node) && s->relay->node_fd >= 0) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(200);
        relay_add(&b, S("resize"));
        relay_addf(&b, "%lld", (long long)s->ask.id);
        relay_addf(&b, "%u", (unsigned)w.ws_row);
        relay_addf(&b, "%u", (unsigned)w.ws_col);
        if (!relay_tell_node(s->relay, &b, NULL, 0, &err))
            log_info("exec.resize", "lost: error=\"%s\"", err.text); /* the next one tells all of it again */
    }
}

/* Objects one after another, cut anywhere: a stream of SPDY keeps no messages. */
static void session_sizes(struct exec_session *s, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        strbuf_addc(&s->size, bytes.p[i]);
        if (bytes.p[i] != '}')
            continue;
        if (!s->size.over)
            session_resize(s, strbuf_str(&s->size));
        strbuf_reset(&s->size);
    }
}

static void on_data(void *arg, int channel, struct str bytes)
{
    struct exec_session *s = arg;
    if (channel == CHANNEL_RESIZE) {
        session_sizes(s, bytes);
    } else if (!s->started && s->want[0] && bytes.n) { /* typed ahead */
        strbuf_add(&s->in_queue, bytes);
        channels_pause(s->channels, s->in_queue.n > STDIN_MOST);
    } else if (s->in >= 0 && !s->in_over && bytes.n) {
        strbuf_add(&s->in_queue, bytes);
        poll_want(&s->in_poll, POLL_WRITE);
        if (s->in_queue.n > STDIN_MOST)
            channels_pause(s->channels, true);
    }
}

static void on_ended(void *arg, int channel)
{
    struct exec_session *s = arg;
    if (channel != CHANNEL_IN || !s->started || s->in < 0 || s->is_master) /* not started: it has failed */
        return;
    s->in_over = true;
    poll_want(&s->in_poll, POLL_WRITE);
    if (!s->in_queue.n)
        in_close(s);
}

static void on_drained(void *arg)
{
    struct exec_session *s = arg;
    if (s->out.fd >= 0)
        poll_want(&s->out.poll, POLL_READ);
    if (s->err.fd >= 0)
        poll_want(&s->err.poll, POLL_READ);
}

static void on_channels_gone(void *arg)
{
    session_free(arg);
}

/* --- beginning --- */

/* The client hears it all: what the program writes goes out. */
static void on_ready(void *arg)
{
    struct exec_session *s = arg;
    if (s->ended) {
        outlet_drain(&s->out);
        outlet_drain(&s->err);
        maybe_over(s);
        return;
    }
    on_drained(s);
}

static bool accept_client(struct exec_session *s)
{
    static const struct channels_fns fns = {on_ready, on_data, on_ended, on_drained, on_channels_gone};
    struct http_request *h = TAKE(s->http);
    h->on_gone = NULL;
    s->channels = channels_accept(h, s->relay->loop, s->want, s->tty, &fns, s);
    if (!s->channels)
        session_free(s);
    return s->channels;
}

static void session_start(struct exec_session *s, int own_master)
{
    s->started = true;
    if (own_master >= 0) {
        s->is_master = true;
        (void)fcntl(own_master, F_SETFL, O_NONBLOCK); /* a descriptor of ours: cannot fail */
        s->out.fd = own_master;
        s->in = s->want[0] ? own_master : -1;
    }
    if (!s->channels && !accept_client(s))
        return;
    if (s->out.fd >= 0)
        outlet_open(s, &s->out, s->out.fd, CHANNEL_OUT);
    if (s->err.fd >= 0)
        outlet_open(s, &s->err, s->err.fd, CHANNEL_ERR);
    if (s->in >= 0)
        poll_init(&s->in_poll, s->relay->loop, s->in, on_input_room);
    if (s->in >= 0 && s->in_queue.n)
        poll_want(&s->in_poll, POLL_WRITE);
    if (channels_ready(s->channels))
        on_ready(s);
}

/* The node will not start it, or could not. */
static void session_failed(struct exec_session *s, struct str text)
{
    s->ended = true;
    s->code = -1;
    s->problem = str_dupz(text);
    if (s->http && !accept_client(s))
        return;
    outlet_finish(&s->out);
    outlet_finish(&s->err);
    maybe_over(s);
}

static void session_refused(struct exec_session *s, int status, struct str text)
{
    if (s->channels || channels_refusals_inside(s->http)) {
        AUTO(arena_fini) struct arena a = ARENA;
        session_failed(s, arena_fmt(&a, "unable to upgrade connection: " STR_FMT, STR_ARG(text)));
        return;
    }
    struct http_request *h = TAKE(s->http);
    h->on_gone = NULL;
    relay_fail(h, status, text);
    s->ended = true;
    session_free(s);
}

static void on_news(struct relay_ask *a, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct exec_session *s = container_of(a, struct exec_session, ask);
    int64_t v;
    if (str_eq(name, S("started")) && !s->started) {
        session_start(s, own_fd);
        return;
    }
    fd_close(own_fd);
    if (str_eq(name, S("refused")) && n == 2) {
        session_refused(s, str_to_i64(texts[0], 400, 599, &v) ? (int)v : 500, texts[1]);
        return;
    }
    relay_forget(a, false);
    if (n < 2 || texts[1].n) {
        AUTO(arena_fini) struct arena arena = ARENA;
        struct str text = n < 2 ? S("the node went away")
                                : arena_fmt(&arena, "error %s container: " STR_FMT,
                                            s->attach ? "attaching to" : "executing command in", STR_ARG(texts[1]));
        if (!s->started || n < 2) {
            session_failed(s, text);
            return;
        }
        s->problem = str_dupz(text);
    }
    s->ended = true;
    s->code = str_to_i64(texts[0], 0, 255, &v) ? (int)v : 137;
    if (!channels_ready(s->channels))
        return; /* on_ready goes on */
    outlet_drain(&s->out);
    outlet_drain(&s->err);
    maybe_over(s);
}

static void on_gone(struct http_request *h)
{
    struct exec_session *s = h->user;
    http_abort(TAKE(s->http)); /* nothing was answered yet, and nobody is left to hear it */
    session_free(s);
}

/* A pipe for each stream that is wanted; with a terminal the node makes it. */
static bool make_pipes(struct exec_session *s)
{
    for (int i = 0; i < 3; i++) {
        int p[2];
        if (!s->want[i] || (s->tty && !s->attach) || (i == 2 && s->tty))
            continue;
        if (pipe2(p, O_CLOEXEC) < 0)
            return false;
        int ours = i == 0 ? p[1] : p[0];
        s->given[i] = i == 0 ? p[0] : p[1];
        (void)fcntl(ours, F_SETFL, O_NONBLOCK); /* a descriptor of ours: cannot fail */
        *(i == 0 ? &s->in : i == 1 ? &s->out.fd : &s->err.fd) = ours;
    }
    return true;
}

/* What is asked of the node, in two parts: the terminal's size stands between them. */
static void request_make(struct exec_session *s, struct http_request *h, struct str ns, struct str pod,
                         struct str container)
{
    char stdio[4] = "";
    for (int i = 0, n = 0; i < 3; i++)
        if (s->given[i] >= 0)
            stdio[n++] = (char)('0' + i);
    relay_ask_begin(s->relay, &s->ask, &s->before, s->attach ? "attach" : "exec");
    relay_add(&s->before, ns);
    relay_add(&s->before, pod);
    relay_add(&s->before, container);
    if (!s->attach)
        relay_add(&s->before, s->tty ? S("tty") : S("pipes"));
    relay_add(&s->after, str_of(stdio));
    struct str rest = h->query, key, value;
    struct err ignored = ERR; /* the query was read whole before */
    while (!s->attach && http_query_next(&h->arena, &rest, &key, &value, &ignored))
        if (str_eq(key, S("command")))
            relay_add(&s->after, value);
}

static void on_unsent(struct timer *t)
{
    struct exec_session *s = container_of(t, struct exec_session, sizing);
    session_refused(s, s->too_long ? 413 : 503,
                    s->too_long ? S("the command is over 64 KiB or 2000 words") : S("the node cannot be reached"));
}

static void request_send(struct exec_session *s, const struct winsize *size)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    int fds[3];
    size_t n = 0;
    s->held = false;
    timer_stop(&s->sizing);
    strbuf_add(&b, strbuf_str(&s->before));
    if (!s->attach) {
        relay_addf(&b, "%u", (unsigned)size->ws_row);
        relay_addf(&b, "%u", (unsigned)size->ws_col);
    }
    strbuf_add(&b, strbuf_str(&s->after));
    for (int i = 0; i < 3; i++)
        if (s->given[i] >= 0)
            fds[n++] = s->given[i];
    bool whole = relay_fits(&b) && !s->before.over && !s->after.over, ok = whole && relay_send(&s->ask, &b, fds, n);
    for (int i = 0; i < 3; i++) {
        fd_close(s->given[i]);
        s->given[i] = -1;
    }
    if (ok)
        return;
    s->too_long = !whole;
    timer_init(&s->sizing, s->relay->loop, on_unsent); /* from the loop: callers may be in the middle of a message */
    timer_set(&s->sizing, 0);
}

static void on_sizing(struct timer *t)
{
    request_send(container_of(t, struct exec_session, sizing), &(struct winsize){0});
}

/* A terminal is to have its size before the program looks at it. A client of v5 may be let in before the node was
 * asked, and it tells the size first; where it tells none the program starts all the same. */
static void session_hold(struct exec_session *s)
{
    s->held = true;
    if (!accept_client(s))
        return;
    timer_init(&s->sizing, s->relay->loop, on_sizing);
    timer_set(&s->sizing, SIZE_WAIT);
}

void relay_exec(struct relay *r, struct http_request *h, struct str ns, struct str pod, struct str container,
                bool attach)
{
    if (!channels_wanted(h)) {
        relay_fail(h, 400, S("unable to upgrade: exec and attach are spoken over WebSocket or SPDY/3.1"));
        return;
    }
    struct exec_session *s = NEW(struct exec_session);
    *s = (struct exec_session){.relay = r,
                               .http = h,
                               .attach = attach,
                               .in = -1,
                               .given = {-1, -1, -1},
                               .in_queue = STRBUF(8 << 20),
                               .size = STRBUF(SIZE_MOST),
                               .before = STRBUF(RELAY_MESSAGE_MOST),
                               .after = STRBUF(RELAY_MESSAGE_MOST)};
    s->out.fd = s->err.fd = -1;
    s->out.session = s->err.session = s;
    s->ask.news = on_news;
    list_init(&s->ask.node);
    s->tty = relay_query_true(h, S("tty"));
    s->want[0] = relay_query_true(h, S("stdin"));
    s->want[1] = relay_query_true(h, S("stdout"));
    s->want[2] = relay_query_true(h, S("stderr"));
    h->user = s;
    h->on_gone = on_gone;
    if (!s->want[0] && !s->want[1] && !s->want[2]) {
        session_refused(s, 400, S("you must specify at least 1 of stdin, stdout, stderr"));
        return;
    }
    if (!make_pipes(s)) {
        session_refused(s, 503, S("no pipes for the program's output"));
        return;
    }
    request_make(s, h, ns, pod, container);
    if (s->tty && s->want[0] && !attach && channels_refusals_inside(h))
        session_hold(s);
    else
        request_send(s, &(struct winsize){0});
}
