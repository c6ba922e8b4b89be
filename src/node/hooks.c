#include "node/hooks.h"
#include "api/formats.h"
#include "base/clock.h"
#include "node/crilog.h"
#include "node/exec_words.h"
#include "node/relay_link.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define HOOK_MOST (3600 * NS_PER_S)

struct hook_call {
    void (*done)(void *arg, bool ok, struct str message);
    void *arg;
    struct timer timer;
    bool ok;
    struct str message, command, program; /* all of an exec's words and the first */
    struct arena arena;
};

static void hook_finish(struct hook_call *h, bool ok, struct str message)
{
    h->done(h->arg, ok, message);
    timer_stop(&h->timer);
    arena_fini(&h->arena);
    mem_free(h);
}

static struct str text_quoted(struct arena *a, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_quoted(&b, text);
    return str_dup(a, strbuf_str(&b));
}

struct str hooks_words(struct arena *a, const struct val *list)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (v, list)
        strbuf_addf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(val_text(v)));
    return str_dup(a, strbuf_str(&b));
}

static void on_exec(void *arg, int code, struct str output, const struct err *err)
{
    struct hook_call *h = arg;
    if (err && (err->kind == E_UNAVAILABLE || err->kind == E_TIMEOUT))
        hook_finish(h, false, str_of(err->text));
    else if (err)
        hook_finish(h, false, exec_words(&h->arena, str_of(err->text), h->program, SEEN_UNKNOWN));
    else if (code)
        hook_finish(h, false,
                    arena_fmt(&h->arena, "command '" STR_FMT "' exited with %d: , message: " STR_FMT,
                              STR_ARG(h->command), code, STR_ARG(text_quoted(&h->arena, output))));
    else
        hook_finish(h, true, S(""));
}

/* Any answer will do: a kubelet looks at no status here. */
static void on_http(void *arg, enum probe_outcome outcome, struct str message)
{
    bool ok = outcome != PROBED_FAILED && outcome != PROBED_UNKNOWN;
    hook_finish(arg, ok, ok ? S("") : message);
}

static void on_timer(struct timer *t)
{
    struct hook_call *h = container_of(t, struct hook_call, timer);
    hook_finish(h, h->ok, h->message);
}

void hooks_run(struct loop *l, struct container *c, const struct val *handler, const struct val *container,
               struct str pod_ip, void (*done)(void *arg, bool ok, struct str message), void *arg)
{
    struct hook_call *h = NEW(struct hook_call);
    h->done = done;
    h->arg = arg;
    timer_init(&h->timer, l, on_timer);
    const struct val *exec = val_get(handler, N(exec)), *http = val_get(handler, N(httpGet)),
                     *sleep = val_get(handler, N(sleep));
    if (exec) {
        struct strs args = {0};
        args.p = arena_alloc(&h->arena, (val_len(val_get(exec, N(command))) + 1) * sizeof *args.p);
        val_each_item (a, val_get(exec, N(command)))
            args.p[args.n++] = str_dup(&h->arena, val_text(a));
        h->command = hooks_words(&h->arena, val_get(exec, N(command)));
        h->program = args.n ? args.p[0] : S("");
        container_exec_output(c, args, HOOK_MOST, on_exec, h);
    } else if (http) {
        relay_probe(RELAY_PROBE_HOOK, http, container, pod_ip, HOOK_MOST, on_http, h);
    } else {
        h->ok = sleep != NULL;
        h->message = sleep ? S("") : S("this handler is not supported: use exec, httpGet or sleep");
        timer_set(&h->timer, ns_of_seconds(val_num_at(sleep, 0, N(seconds))));
    }
}

/* As container runtimes read them: a number, a name in any case with or without SIG, RTMIN+n, RTMAX-n. */
int hooks_signal(struct str name)
{
    int64_t n;
    if (str_to_i64(name, 1, 64, &n))
        return (int)n;
    if (str_ieq(str_sub(name, 0, 3), S("SIG")))
        name = str_sub(name, 3, name.n);
    for (int signo = 1; signo < 32; signo++) {
        const char *known = sigabbrev_np(signo);
        if (known && str_ieq(name, str_of(known)))
            return signo;
    }
    struct str base = str_sub(name, 0, 5), rest = str_sub(name, 6, name.n);
    bool from_min = str_ieq(base, S("RTMIN")), from_max = str_ieq(base, S("RTMAX"));
    if (name.n == 5 && (from_min || from_max))
        return from_min ? SIGRTMIN : SIGRTMAX;
    if (from_min && name.p[5] == '+' && str_to_i64(rest, 0, SIGRTMAX - SIGRTMIN, &n))
        return SIGRTMIN + (int)n;
    if (from_max && name.p[5] == '-' && str_to_i64(rest, 0, SIGRTMAX - SIGRTMIN, &n))
        return SIGRTMAX - (int)n;
    return str_ieq(name, S("POLL")) ? SIGIO : str_ieq(name, S("IOT")) ? SIGABRT : SIGTERM;
}

struct str hooks_log_tail(struct arena *a, struct str path, size_t lines, size_t bytes)
{
    AUTO_FREE char *z = str_dupz(path);
    AUTO(fd_close) int fd = file_open_below(z, 4, O_RDONLY | O_NONBLOCK, 0); /* pods/POD/CONTAINER/N.log */
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return S("");
    size_t most = bytes + lines * 64; /* prefixes come on top of what is kept */
    off_t from = st.st_size > (off_t)most ? st.st_size - (off_t)most : 0;
    char *raw = arena_alloc(a, most + 1);
    ssize_t n = pread(fd, raw, most, from);
    if (n <= 0)
        return S("");
    struct str rest = {raw, (size_t)n}, line;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(most + 1);
    bool first = from > 0;
    while (str_cut(&rest, '\n', &line)) {
        struct crilog_line l;
        if (!first && crilog_parse(line, &l)) {
            strbuf_add(&out, l.text);
            if (l.full)
                strbuf_addc(&out, '\n');
        }
        first = false;
    }
    struct str all = strbuf_str(&out);
    size_t at = all.n, seen = 0;
    while (at > 0 && all.n - at < bytes) {
        if (all.p[at - 1] == '\n' && at < all.n && ++seen == lines)
            break;
        at--;
    }
    return str_dup(a, str_sub(all, at, all.n));
}

int hooks_port(const struct val *port, const struct val *container)
{
    int64_t n = 0;
    if (val_is(port, VAL_INT))
        return (int)port->i;
    const struct val *found = val_find(val_get(container, N(ports)), N(name), val_text(port));
    if (found)
        return (int)val_num_at(found, 0, N(containerPort));
    return str_to_i64(val_text(port), 1, 65535, &n) ? (int)n : 0;
}
