#include "api/codec.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/pods.h"
#include "cli/verbs.h"
#include "sys/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

/* wherry exec: a command in a container, over v5.channel.k8s.io (KEP-4006): every message begins with its channel. */
enum { CH_STDIN, CH_STDOUT, CH_STDERR, CH_STATUS, CH_RESIZE, CH_CLOSE = 255 };
#define QUEUE_MOST (256u << 10) /* bytes to the server above which stdin waits */

struct exec_command {
    struct connect_options to;
    struct str container;
    bool in, tty;
    struct client *client;
    struct upgrade upgrade;
    struct poll input;
    struct signal_source resized;
    struct termios before;
    bool raw, over, status_known;
    int status;
    struct err err;
};

#define AT(field) offsetof(struct exec_command, field)
static const struct arg_row rows[] = {
    {'i', "stdin", ARG_FLAG, AT(in), NULL, "pass standard input on to the command"},
    {'t', "tty", ARG_FLAG, AT(tty), NULL, "give the command a terminal"},
    {'c', "container", ARG_TEXT, AT(container), "NAME", "which container"},
};
static const struct arg_spec spec = {
    .verb = "exec",
    .usage = "POD|RESOURCE/NAME [-it] -- COMMAND [ARGUMENT ...]",
    .summary = "Runs a command in a container and ends with its exit status.",
    .examples = "  wherry exec -it deploy/web -- sh\n"
                "  tar c site | wherry exec -i web-0 -- tar x -C /srv\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static void write_out(int fd, struct str s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EAGAIN) { /* the terminal is shared with stdin, which does not block */
            fd_set set;
            FD_ZERO(&set);
            FD_SET(fd, &set);
            (void)select(fd + 1, NULL, &set, NULL, NULL);
            continue;
        }
        if (n < 0 && errno != EINTR)
            return;
        s = str_sub(s, n > 0 ? (size_t)n : 0, s.n);
    }
}

static void channel_send(struct exec_command *x, int channel, struct str bytes)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(bytes.n + 1);
    strbuf_addc(&b, (char)channel);
    strbuf_add(&b, bytes);
    upgrade_send(&x->upgrade, strbuf_str(&b), true);
}

/* The Status of the last channel: Success, or a failure whose cause ExitCode is the command's. */
static void status_take(struct exec_command *x, struct str text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    int64_t code;
    x->status_known = true;
    x->status = 1;
    if (!json_decode(&a, text, &v, &x->err)) {
        (void)err_wrap(&x->err, "how the command ended cannot be read");
        return;
    }
    if (str_eqz(field_text(&v, "status"), "Success")) {
        x->status = 0;
        return;
    }
    val_each_item (it, field_at(&v, "details.causes"))
        if (str_eqz(field_text(it, "reason"), "ExitCode") && str_to_i64(field_text(it, "message"), 0, 255, &code)) {
            x->status = (int)code;
            return;
        }
    err_set(&x->err, E_INTERNAL, STR_FMT, STR_ARG(field_text(&v, "message")));
}

static void message_came(struct upgrade *u, struct str bytes, bool binary)
{
    struct exec_command *x = container_of(u, struct exec_command, upgrade);
    (void)binary;
    if (!bytes.n)
        return;
    struct str rest = str_sub(bytes, 1, bytes.n);
    switch ((unsigned char)bytes.p[0]) {
    case CH_STDOUT: write_out(1, rest); break;
    case CH_STDERR: write_out(2, rest); break;
    case CH_STATUS: status_take(x, rest); break;
    default: break; /* a channel was closed */
    }
}

static void input_ready(struct poll *p, int ready)
{
    struct exec_command *x = container_of(p, struct exec_command, input);
    char bytes[16384];
    (void)ready;
    ssize_t n = read(0, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        channel_send(x, CH_STDIN, (struct str){bytes, (size_t)n});
        if (x->upgrade.queued > QUEUE_MOST)
            poll_want(&x->input, 0);
        return;
    }
    poll_stop(&x->input);
    channel_send(x, CH_CLOSE, (struct str){"\0", 1}); /* v5: stdin ends, the rest goes on */
}

static void upgrade_drained(struct upgrade *u)
{
    struct exec_command *x = container_of(u, struct exec_command, upgrade);
    if (x->input.fn && x->input.loop)
        poll_want(&x->input, POLL_READ);
}

static void size_send(struct exec_command *x)
{
    struct winsize w;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (ioctl(0, TIOCGWINSZ, &w) < 0)
        return;
    strbuf_addf(&b, "{\"Width\":%d,\"Height\":%d}", w.ws_col, w.ws_row);
    channel_send(x, CH_RESIZE, strbuf_str(&b));
}

static void on_resize(struct signal_source *s, int signo)
{
    (void)signo;
    size_send(container_of(s, struct exec_command, resized));
}

static void upgrade_opened(struct upgrade *u, struct str protocol)
{
    struct exec_command *x = container_of(u, struct exec_command, upgrade);
    struct err ignored = ERR; /* without the signal the size stays what it is */
    (void)protocol;
    if (x->raw) {
        size_send(x);
        if (!signal_start(&x->resized, x->client->loop, SIGWINCH, on_resize, &ignored))
            x->resized.loop = NULL;
    }
    if (x->in) {
        poll_init(&x->input, x->client->loop, 0, input_ready);
        poll_want(&x->input, POLL_READ);
    }
}

static void upgrade_closed(struct upgrade *u, const struct err *err)
{
    struct exec_command *x = container_of(u, struct exec_command, upgrade);
    if (err->kind != E_NONE && !x->status_known)
        x->err = *err;
    x->over = true;
}

static void terminal_raw(struct exec_command *x)
{
    struct termios t;
    if (!isatty(0) || tcgetattr(0, &x->before) < 0)
        return;
    t = x->before;
    cfmakeraw(&t);
    x->raw = tcsetattr(0, TCSADRAIN, &t) == 0;
}

static struct str target_of(struct exec_command *x, const struct val *pod, struct str container, struct words command)
{
    AUTO(strbuf_fini) struct strbuf q = STRBUF(1u << 20);
    for (size_t i = 0; i < command.n; i++) {
        if (command.p[i].n)
            query_put(&q, "command", command.p[i]);
        else
            strbuf_addf(&q, "%scommand=", q.n ? "&" : "");
    }
    query_put(&q, "container", container);
    query_put(&q, "stdin", x->in ? S("true") : S(""));
    query_put(&q, "stdout", S("true"));
    query_put(&q, "stderr", x->tty ? S("") : S("true"));
    query_put(&q, "tty", x->tty ? S("true") : S(""));
    return arena_fmt(&x->client->arena, "/api/v1/namespaces/" STR_FMT "/pods/" STR_FMT "/exec?" STR_FMT,
                     STR_ARG(field_text(pod, "metadata.namespace")), STR_ARG(field_text(pod, "metadata.name")),
                     STR_ARG(strbuf_str(&q)));
}

static int exec_run(struct exec_command *x, struct str target)
{
    struct client *c = x->client;
    x->upgrade = (struct upgrade){
        .opened = upgrade_opened, .message = message_came, .drained = upgrade_drained, .closed = upgrade_closed};
    if (x->tty && x->in)
        terminal_raw(x);
    int flags = fcntl(0, F_GETFL);
    upgrade_start(&x->upgrade, c->transport, target, "v5.channel.k8s.io");
    while (!x->over)
        loop_run_once(c->loop, NS_PER_S);
    if (x->input.loop)
        poll_stop(&x->input);
    if (x->resized.loop)
        signal_stop(&x->resized);
    if (x->raw)
        (void)tcsetattr(0, TCSADRAIN, &x->before);
    (void)fcntl(0, F_SETFL, flags); /* there is nobody to tell: it ends */
    if (x->err.kind != E_NONE)
        return client_failed(c, &x->err);
    if (x->status_known)
        return x->status;
    err_set(&x->err, E_IO, "the connection ended before the command did");
    return client_failed(c, &x->err);
}

int exec_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "exec"};
    struct exec_command x = {.client = &c};
    struct words words;
    struct err err = ERR;
    struct val pods;
    struct str container;
    size_t before;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, &before);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (before != 1 || words.n < 2) {
        output_show(stderr,
                    "wherry exec: say POD -- COMMAND, e.g. wherry exec -it web-0 -- sh; wherry exec --help shows "
                    "more\n");
        return 2;
    }
    if (x.tty && x.in && !isatty(0)) {
        output_show(stderr, "wherry exec: stdin is no terminal, so the command gets none; leave -t out\n");
        x.tty = false;
    }
    if (!client_open(&c, &x.to, &err) || !pods_of(&c, words.p[0], &pods, &err) ||
        !container_of_pod(&c, val_item(&pods, 0), x.container, &container, &err))
        return client_failed(&c, &err);
    struct words command = {words.p + 1, words.n - 1};
    return exec_run(&x, target_of(&x, val_item(&pods, 0), container, command));
}
