#include "node/relay_link.h"
#include "api/formats.h"
#include "base/log.h"
#include "net/link.h"
#include "node/agent_int.h"
#include "node/exec_words.h"
#include "node/hooks.h"
#include "node/relay_proto.h"
#include "sys/file.h"
#include "sys/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define PROBE_ANSWER_SLACK (2 * NS_PER_S) /* a relay that says nothing by then has failed the probe */
#define FDS_MOST           3

struct relay_link;

/* A probe that the relay has been asked for. */
struct asked {
    struct list node;
    struct timer timer;
    int64_t id, timeout_ns;
    struct strbuf message; /* as sent: said again to the next relay; refused: why it cannot be */
    bool refused, sent;
    void (*done)(void *arg, enum probe_outcome outcome, struct str message);
    void *arg;
};
/* Something the relay has asked for and that is not over: logs that are followed, an exec, an attach. */
struct link_session {
    struct list node;
    struct relay_link *link;
    char id[24], container[65];
    struct exec *exec;
    struct attach *attach;
    struct relay_look *look;
    char *command; /* of an exec: its first word */
    int pid;       /* of the container's first process */
    bool logs;
};
/* An exec that failed: a job looks what its command is. */
struct relay_look {
    struct job job;
    struct link_session *session; /* NULL: nobody waits any more */
    char *command, *said;
    int pid, code;
    enum exec_seen seen;
};
struct relay_link {
    struct agent *agent;
    struct poll listening, peer;
    int listen_fd, fd;
    unsigned uid;
    char *path;
    int64_t next_id;
    struct list asked, sessions;
    struct relay_queue out; /* all but probes, which are kept in `asked` until they are sent */
};
static struct relay_link *the_link; /* one agent a process, one relay an agent */

/* --- sending --- */

static void drop_peer(struct relay_link *l);

static void send_message(struct relay_link *l, struct strbuf *b, int fd)
{
    struct err err = ERR;
    if (l->fd < 0)
        return;
    if (!b->over && relay_queue_send(&l->out, l->fd, strbuf_str(b), &fd, fd >= 0 ? 1 : 0, &err)) {
        if (relay_queue_waits(&l->out))
            poll_want(&l->peer, POLL_READ | POLL_WRITE);
        return;
    }
    log_warn("relay.send", "its connection is closed: error=\"%s\"", b->over ? "message too large" : err.text);
    drop_peer(l);
}

static void link_refuse(struct relay_link *l, struct str id, int status, const char *text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_add(&b, S("refused"));
    relay_add(&b, id);
    relay_addf(&b, "%d", status);
    relay_add(&b, str_of(text));
    send_message(l, &b, -1);
}

static void link_say(struct relay_link *l, const char *word, const char *id, int fd)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_add(&b, str_of(word));
    relay_add(&b, str_of(id));
    send_message(l, &b, fd);
}

static void say_ended(struct link_session *s, int code, const char *text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_add(&b, S("ended"));
    relay_add(&b, str_of(s->id));
    relay_addf(&b, "%d", code);
    relay_add(&b, str_of(text));
    send_message(s->link, &b, -1);
}

/* --- probes --- */

static void asked_answer(struct asked *q, enum probe_outcome outcome, struct str text)
{
    list_del(&q->node);
    timer_stop(&q->timer);
    q->done(q->arg, outcome, text);
    strbuf_fini(&q->message);
    mem_free(q);
}

/* False: not now, as the relay has yet to take others; or it is gone. */
static bool probe_send(struct relay_link *l, const struct asked *q)
{
    struct err err = ERR;
    if (!relay_queue_waits(&l->out) && socket_send_fds(l->fd, strbuf_str(&q->message), NULL, 0, &err))
        return true;
    if (!err.kind || err.sys == EAGAIN) {
        poll_want(&l->peer, POLL_READ | POLL_WRITE);
        return false;
    }
    log_warn("relay.send", "its connection is closed: error=\"%s\"", err.text);
    drop_peer(l);
    return false;
}

/* The relay takes more: what waits, then the probes that it has not been asked for yet. */
static void peer_flush(struct relay_link *l)
{
    struct err err = ERR;
    if (!relay_queue_flush(&l->out, l->fd, &err)) {
        log_warn("relay.send", "its connection is closed: error=\"%s\"", err.text);
        drop_peer(l);
        return;
    }
    bool all = !relay_queue_waits(&l->out);
    list_each (q, &l->asked, struct asked, node)
        if (all && !q->sent && !q->refused && !q->message.over)
            all = q->sent = probe_send(l, q);
    if (l->fd >= 0)
        poll_want(&l->peer, POLL_READ | (all ? 0 : POLL_WRITE));
}

/* Without a relay nothing is asked, so nothing has failed: the probe waits for the next one. */
static void link_ask(struct relay_link *l, struct asked *q)
{
    if (q->refused) {
        timer_set(&q->timer, 0);
        return;
    }
    if (l->fd < 0) {
        timer_stop(&q->timer);
        return;
    }
    timer_set(&q->timer, q->message.over ? 0 : q->timeout_ns + PROBE_ANSWER_SLACK);
    q->sent = !q->message.over && probe_send(l, q);
}

static void on_probe_timer(struct timer *t)
{
    struct asked *q = container_of(t, struct asked, timer);
    if (q->refused)
        asked_answer(q, PROBED_UNKNOWN, strbuf_str(&q->message));
    else
        asked_answer(q, PROBED_FAILED,
                     q->message.over ? S("the probe does not fit into a message to the relay")
                                     : S("context deadline exceeded"));
}

void relay_probe(enum relay_probe_kind kind, const struct val *action, const struct val *container, struct str pod_ip,
                 int64_t timeout_ns, void (*done)(void *arg, enum probe_outcome outcome, struct str message),
                 void *arg)
{
    struct relay_link *l = the_link;
    struct asked *q = NEW(struct asked);
    struct str host = val_text_at(action, N(host)), path = val_text_at(action, N(path)),
               scheme = val_text_at(action, N(scheme));
    struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    ASSERT(l);
    q->id = ++l->next_id;
    q->timeout_ns = timeout_ns;
    q->done = done;
    q->arg = arg;
    timer_init(&q->timer, l->agent->cfg.loop, on_probe_timer);
    list_add_tail(&l->asked, &q->node);
    int port = hooks_port(val_get(action, N(port)), container);
    relay_add(&b, S("probe"));
    relay_addf(&b, "%lld", (long long)q->id);
    static const char *const said[] = {"http", "hook", "tcp", "grpc"};
    relay_add(&b, str_of(said[kind]));
    relay_add(&b, host.n ? host : pod_ip);
    relay_addf(&b, "%d", port);
    relay_addf(&b, "%lld", (long long)(timeout_ns / NS_PER_MS));
    relay_add(&b, str_eq(scheme, S("HTTPS")) ? S("https") : S("http"));
    relay_add(&b, kind == RELAY_PROBE_GRPC ? val_text_at(action, N(service)) : path.n ? path : S("/"));
    val_each_item (h, val_get(action, N(httpHeaders))) {
        relay_add(&b, val_text_at(h, N(name)));
        relay_add(&b, val_text_at(h, N(value)));
    }
    if (!port) {
        q->refused = true;
        strbuf_reset(&b);
        strbuf_addz(&b, "strconv.Atoi: parsing ");
        add_quoted(&b, val_text(val_get(action, N(port))));
        strbuf_addz(&b, ": invalid syntax");
    }
    q->message = b;
    link_ask(l, q);
}

static void on_probed(struct relay_link *l, const struct relay_message *m)
{
    int64_t id;
    if (m->n != 4 || !str_to_i64(m->texts[1], 1, INT64_MAX, &id))
        return;
    list_each (q, &l->asked, struct asked, node) {
        if (q->id == id) {
            asked_answer(q, probe_outcome_of(m->texts[2]), m->texts[3]);
            return;
        }
    }
}

/* --- logs, exec, attach, forward --- */

static void session_free(struct link_session *s)
{
    list_del(&s->node);
    if (s->exec)
        exec_forget(s->exec);
    if (s->attach)
        attach_forget(s->attach);
    if (s->look)
        s->look->session = NULL;
    mem_free(s->command);
    mem_free(s);
}

static struct link_session *session_new(struct relay_link *l, struct str id)
{
    struct link_session *s = NEW(struct link_session);
    s->link = l;
    (void)snprintf(s->id, sizeof s->id, STR_FMT, STR_ARG(id));
    list_add_tail(&l->sessions, &s->node);
    return s;
}

static struct agent_pod *find_pod(struct relay_link *l, const struct relay_message *m)
{
    map_each (e, &l->agent->by_uid) {
        struct agent_pod *ap = e->value;
        if (str_eq(ap->pod->ns, m->texts[2]) && str_eq(ap->pod->name, m->texts[3]))
            return ap;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(600);
    strbuf_addf(&b, "pods \"" STR_FMT "\" not found", STR_ARG(m->texts[3]));
    link_refuse(l, m->texts[1], 404, b.p);
    return NULL;
}

/* texts: NAME ID NS POD CONTAINER. It must run, but for its logs. */
enum wanted_for { FOR_LOGS, FOR_EXEC, FOR_ATTACH };
static struct agent_container *find_container(struct relay_link *l, const struct relay_message *m,
                                              enum wanted_for use)
{
    struct agent_pod *ap = find_pod(l, m);
    if (!ap)
        return NULL;
    struct str name = m->texts[4];
    if (!name.n)
        name = val_text_at(val_item(val_get(obj_spec(ap->pod->obj), N(containers)), 0), N(name));
    int i = pod_container_find(ap->pod, name);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(900);
    if (i < 0) {
        strbuf_addf(&b, "container " STR_FMT " is not valid for pod " STR_FMT, STR_ARG(name), STR_ARG(ap->pod->name));
        link_refuse(l, m->texts[1], 400, b.p);
        return NULL;
    }
    struct agent_container *ac = ap->containers.p[i];
    const struct pod_container *c = &ap->pod->containers.p[i];
    if (use == FOR_LOGS || (ac->run && c->run == RUN_RUNNING))
        return ac;
    if (use == FOR_ATTACH) /* clients that run a pod for its output look for these words: it was faster than they */
        strbuf_addf(&b, "container " STR_FMT " not found in pod " STR_FMT "_" STR_FMT, STR_ARG(name),
                    STR_ARG(ap->pod->name), STR_ARG(ap->pod->ns));
    else
        strbuf_addf(&b, "container not found (\"" STR_FMT "\")", STR_ARG(name));
    link_refuse(l, m->texts[1], 404, b.p);
    return NULL;
}

/* Why a container does not run yet, as its status says it, in the words of a kubelet. */
static void waiting_words(const struct agent_pod *ap, const struct pod_container *c, struct strbuf *out)
{
    static const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses),
                                               N(ephemeralContainerStatuses)};
    AUTO(arena_fini) struct arena a = ARENA;
    struct val status = pod_status(ap->pod, &a, clock_real());
    struct str reason = S("");
    for (size_t i = 0; i < countof(lists); i++) {
        const struct val *one = val_find(val_get(&status, lists[i]), N(name), c->name);
        if (one)
            reason = val_text_at(val_at(one, N(state), N(waiting)), N(reason));
    }
    strbuf_addf(out, "container \"" STR_FMT "\" in pod \"" STR_FMT "\" is waiting to start: ", STR_ARG(c->name),
                STR_ARG(ap->pod->name));
    strbuf_add(out, str_eqz(reason, "ImagePullBackOff") ? S("trying and failing to pull image")
                    : str_eqz(reason, "ErrImagePull")   ? S("image can't be pulled")
                    : reason.n                          ? reason
                                                        : S("ContainerCreating"));
}

static void on_logs(struct relay_link *l, const struct relay_message *m)
{
    struct agent_container *ac = m->n == 6 ? find_container(l, m, FOR_LOGS) : NULL;
    if (!ac)
        return;
    struct agent_pod *ap = ac->ap;
    const struct pod_container *c = &ap->pod->containers.p[ac->index];
    bool previous = str_eq(m->texts[5], S("previous"));
    bool started = c->run == RUN_RUNNING || c->run == RUN_EXITED;
    int run = previous ? c->restarts - 1 : c->restarts - (started || !c->restarts ? 0 : 1);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST), path = STRBUF(4096);
    if (previous && run < 0)
        strbuf_addf(&b, "previous terminated container \"" STR_FMT "\" in pod \"" STR_FMT "\" not found",
                    STR_ARG(c->name), STR_ARG(ap->pod->name));
    else if (!started && !c->has_last)
        waiting_words(ap, c, &b);
    if (b.n) {
        link_refuse(l, m->texts[1], 400, b.p);
        return;
    }
    strbuf_addf(&path, STR_FMT "/" STR_FMT, STR_ARG(ap->log_dir), STR_ARG(c->name));
    /* on the loop: a folder of ours, opened and not read, and what is said of the run is true of this very turn */
    AUTO(fd_close) int dir = file_open_below(path.p, LOG_FOLDERS, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0) {
        link_refuse(l, m->texts[1], 500, "the container's log cannot be opened on the node");
        return;
    }
    bool running = !previous && c->run == RUN_RUNNING;
    relay_add(&b, S("logs"));
    relay_add(&b, m->texts[1]);
    relay_addf(&b, "%d", run);
    relay_add(&b, running ? S("running") : S("ended"));
    send_message(l, &b, dir);
    if (!running)
        return;
    struct link_session *s = session_new(l, m->texts[1]);
    s->logs = true;
    (void)snprintf(s->container, sizeof s->container, STR_FMT, STR_ARG(c->id));
}

void relay_container_ended(struct str id)
{
    if (!the_link)
        return;
    list_each (s, &the_link->sessions, struct link_session, node) {
        if (!s->logs || !str_eqz(id, s->container))
            continue;
        say_ended(s, 0, "");
        session_free(s);
    }
}

static void on_exec_started(void *arg, int own_master)
{
    struct link_session *s = arg;
    link_say(s->link, "started", s->id, own_master);
    fd_close(own_master);
}

static void look_work(struct job *j)
{
    struct relay_look *k = container_of(j, struct relay_look, job);
    k->seen = k->command[0] == '/' ? exec_look(k->pid, k->command) : SEEN_UNKNOWN;
}

static void look_done(struct job *j)
{
    struct relay_look *k = container_of(j, struct relay_look, job);
    struct link_session *s = k->session;
    if (s) {
        AUTO(arena_fini) struct arena a = ARENA;
        s->look = NULL;
        say_ended(s, k->code, exec_words(&a, str_of(k->said), str_of(k->command), k->seen).p);
        session_free(s);
    }
    mem_free(k->command);
    mem_free(k->said);
    mem_free(k);
}

static void on_exec_ended(void *arg, int code, const struct err *err)
{
    struct link_session *s = arg;
    s->exec = NULL;
    if (!err || err->kind == E_UNAVAILABLE) {
        say_ended(s, code, err ? err->text : "");
        session_free(s);
        return;
    }
    struct relay_look *k = NEW(struct relay_look);
    *k = (struct relay_look){.session = s, .said = mem_dupz(err->text), .pid = s->pid, .code = code};
    k->command = TAKE(s->command);
    s->look = k;
    job_start(&k->job, s->link->agent->cfg.loop, look_work, look_done);
}

static bool port_parse(struct str text, uint16_t *out)
{
    int64_t v = 0;
    bool ok = str_to_i64(text, 0, UINT16_MAX, &v);
    *out = (uint16_t)v;
    return ok;
}

/* Descriptors by place: "02" with two of them gives in and err. */
static void place_fds(struct str stdio, const int *fds, size_t nfds, int out[3])
{
    out[0] = out[1] = out[2] = -1;
    for (size_t i = 0; i < stdio.n && i < nfds; i++)
        if (stdio.p[i] >= '0' && stdio.p[i] <= '2')
            out[stdio.p[i] - '0'] = fds[i];
}

static void on_exec(struct relay_link *l, const struct relay_message *m, const int *fds, size_t nfds)
{
    static const struct exec_events events = {on_exec_started, on_exec_ended};
    struct exec_spec spec = {0};
    int at[3];
    if (m->n < 10 || !port_parse(m->texts[6], &spec.rows) || !port_parse(m->texts[7], &spec.columns)) {
        link_refuse(l, m->texts[1], 400, "you must specify at least 1 container and 1 command");
        return;
    }
    struct agent_container *ac = find_container(l, m, FOR_EXEC);
    if (!ac)
        return;
    place_fds(m->texts[8], fds, nfds, at);
    spec.args = (struct strs){(struct str *)(uintptr_t)&m->texts[9], m->n - 9};
    spec.terminal = str_eq(m->texts[5], S("tty"));
    spec.in = at[0];
    spec.out = at[1];
    spec.err = at[2];
    struct link_session *s = session_new(l, m->texts[1]);
    struct container_status status;
    container_status(ac->run, &status);
    s->pid = (int)status.pid;
    s->command = str_dupz(m->texts[9]);
    s->exec = container_exec(ac->run, &spec, &events, s);
}

static void on_attach_ended(void *arg, const struct err *err)
{
    struct link_session *s = arg;
    s->attach = NULL;
    say_ended(s, 0, !err ? "" : err->sys == ESRCH ? "the container has ended" : err->text);
    session_free(s);
}

static void on_attach(struct relay_link *l, const struct relay_message *m, const int *fds, size_t nfds)
{
    int at[3];
    struct agent_container *ac = m->n == 6 ? find_container(l, m, FOR_ATTACH) : NULL;
    if (!ac)
        return;
    place_fds(m->texts[5], fds, nfds, at);
    struct link_session *s = session_new(l, m->texts[1]);
    (void)snprintf(s->container, sizeof s->container, STR_FMT, STR_ARG(container_id(ac->run)));
    link_say(l, "started", s->id, -1);
    s->attach = container_attach(ac->run, at[0], at[1], at[2], on_attach_ended, s);
}

static struct link_session *find_session(struct relay_link *l, struct str id)
{
    list_each (s, &l->sessions, struct link_session, node) {
        if (str_eqz(id, s->id))
            return s;
    }
    return NULL;
}

static void on_resize(struct relay_link *l, const struct relay_message *m)
{
    uint16_t rows, columns;
    struct link_session *s = m->n == 4 ? find_session(l, m->texts[1]) : NULL;
    if (!s || !s->attach || !port_parse(m->texts[2], &rows) || !port_parse(m->texts[3], &columns))
        return;
    struct container *c = container_find(l->agent->runtime, str_of(s->container));
    if (c)
        container_resize(c, rows, columns);
}

/* The socket is made in the pod's network; connecting and all that comes is the relay's. */
static void on_forward(struct relay_link *l, const struct relay_message *m)
{
    struct err err = ERR;
    struct agent_pod *ap = m->n == 5 ? find_pod(l, m) : NULL;
    if (!ap)
        return;
    if (!ap->sandbox || ap->pod->sandbox != PART_READY) {
        link_refuse(l, m->texts[1], 404, "the pod is not running");
        return;
    }
    AUTO(fd_close) int ns = ap->pod->host_network ? -1 : sandbox_netns(ap->sandbox, &err);
    int home = ns >= 0 ? netns_enter(ns, &err) : -1;
    /* a socket of IPv6 reaches both localhosts of the pod */
    AUTO(fd_close) int fd = err.kind ? -1 : socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && !err.kind)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (home >= 0)
        netns_leave(home);
    fd_close(home);
    if (fd < 0) {
        link_refuse(l, m->texts[1], 500, err.kind ? err.text : strerror(errno));
        return;
    }
    AUTO_FREE char *id = str_dupz(m->texts[1]);
    link_say(l, "socket", id, fd);
}

/* Below the node's /var/log, without links: what is a file or a folder. What is mounted there may never answer, so it
 * is opened in a job apart; a relay that has asked something else meanwhile takes the answer by its id, or drops it.
 */
struct opening {
    struct job job;
    char *log, *path, *id;
    int fd; /* -1: it is neither */
};

static void open_work(struct job *j)
{
    struct opening *o = container_of(j, struct opening, job);
    struct stat st;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    AUTO(fd_close) int root = open(o->log, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd_close) int fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, o->path, &how, sizeof how);
    if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        o->fd = TAKE_FD(fd);
}

static void opening_free(struct opening *o)
{
    fd_close(o->fd);
    mem_free(o->log);
    mem_free(o->path);
    mem_free(o->id);
    mem_free(o);
}

static void open_done(struct job *j)
{
    struct opening *o = container_of(j, struct opening, job);
    if (the_link && o->fd >= 0)
        link_say(the_link, "file", o->id, o->fd);
    else if (the_link)
        link_refuse(the_link, str_of(o->id), 404, "404 page not found");
    opening_free(o);
}

static void on_file(struct relay_link *l, const struct relay_message *m)
{
    if (m->n != 3) {
        link_refuse(l, m->texts[1], 400, "a path is wanted");
        return;
    }
    struct opening *o = NEW(struct opening);
    struct err err = ERR;
    *o = (struct opening){.log = mem_dupz(l->agent->cfg.log),
                          .path = str_dupz(m->texts[2].n ? m->texts[2] : S(".")),
                          .id = str_dupz(m->texts[1]),
                          .fd = -1};
    if (job_start_apart(&o->job, l->agent->cfg.loop, open_work, open_done, &err))
        return;
    link_refuse(l, m->texts[1], 503, err.text);
    opening_free(o);
}

/* --- figures --- */

static void figures_written(void *arg, struct str text, const struct err *err)
{
    char *id = arg;
    (void)text; /* it went into the pipe */
    if (the_link && err && err->kind)
        link_refuse(the_link, str_of(id), err_http(err->kind), err->text);
    else if (the_link)
        link_say(the_link, "figures", id, -1);
    mem_free(id);
}

static void on_figures(struct relay_link *l, const struct relay_message *m, const int *fds, size_t nfds)
{
    enum figures_kind kind;
    AUTO(fd_close) int fd = nfds == 1 ? fcntl(fds[0], F_DUPFD_CLOEXEC, 3) : -1;
    if (m->n == 3 && fd >= 0 && relay_figures_kind(m->texts[2], &kind))
        figures_write(l->agent, kind, TAKE_FD(fd), figures_written, str_dupz(m->texts[1]));
    else
        link_refuse(l, m->texts[1], 400, "there are no such figures");
}

/* An event about the Node, which may not be there yet: as a kubelet, by its name. */
static void on_taken(struct relay_link *l, const struct relay_message *m)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_map(), *meta = val_need_map(&a, &tree, N(metadata));
    val_set_text(&a, meta, N(name), str_of(l->agent->cfg.name));
    val_set_text(&a, meta, N(uid), str_of(l->agent->cfg.name));
    AUTO(obj_unref) struct obj *node = obj_new(K(Node), &tree, 0);
    if (m->n == 3)
        events_record(l->agent->events, node, S(""), "Warning", "PortTaken", NULL, m->texts[2]);
}

static void on_forget(struct relay_link *l, const struct relay_message *m)
{
    struct link_session *s = find_session(l, m->texts[1]);
    if (!s)
        return;
    if (s->exec)
        exec_kill(s->exec, 1 /* SIGHUP: as when a terminal is closed */);
    session_free(s);
}

/* --- the connection --- */

static void on_message(struct relay_link *l, struct str bytes, const int *fds, size_t nfds)
{
    static struct relay_message m; /* one loop, one message at a time */
    if (!relay_parse(bytes, &m)) {
        log_warn("relay.message", "not understood");
        return;
    }
    struct str what = m.texts[0];
    if (str_eq(what, S("probed")))
        on_probed(l, &m);
    else if (str_eq(what, S("logs")))
        on_logs(l, &m);
    else if (str_eq(what, S("exec")))
        on_exec(l, &m, fds, nfds);
    else if (str_eq(what, S("attach")))
        on_attach(l, &m, fds, nfds);
    else if (str_eq(what, S("resize")))
        on_resize(l, &m);
    else if (str_eq(what, S("file")))
        on_file(l, &m);
    else if (str_eq(what, S("forward")))
        on_forward(l, &m);
    else if (str_eq(what, S("taken")))
        on_taken(l, &m);
    else if (str_eq(what, S("figures")))
        on_figures(l, &m, fds, nfds);
    else if (str_eq(what, S("forget")))
        on_forget(l, &m);
    else
        link_refuse(l, m.texts[1], 501, "the node does not know this request");
}

static void drop_peer(struct relay_link *l)
{
    if (l->fd < 0)
        return;
    poll_stop(&l->peer);
    fd_close(l->fd);
    l->fd = -1;
    relay_queue_fini(&l->out);
    list_each (s, &l->sessions, struct link_session, node) {
        if (s->exec)
            exec_kill(s->exec, 1);
        session_free(s);
    }
    list_each (q, &l->asked, struct asked, node)
        timer_stop(&q->timer);
}

static void on_readable(struct poll *p, int ready)
{
    struct relay_link *l = container_of(p, struct relay_link, peer);
    if (ready & POLL_WRITE)
        peer_flush(l);
    if (l->fd < 0 || !(ready & ~POLL_WRITE))
        return;
    static char bytes[RELAY_MESSAGE_MOST];
    int fds[FDS_MOST];
    size_t nfds = FDS_MOST;
    struct err err = ERR;
    ssize_t n = socket_recv_fds(l->fd, bytes, sizeof bytes, fds, &nfds, &err);
    if (n <= 0) {
        log_warn("relay.gone", "error=\"%s\"", n ? err.text : "it hung up");
        drop_peer(l);
        return;
    }
    on_message(l, (struct str){bytes, (size_t)n}, fds, nfds);
    for (size_t i = 0; i < nfds; i++)
        fd_close(fds[i]);
}

static void on_connection(struct poll *p, int ready)
{
    (void)ready;
    struct relay_link *l = container_of(p, struct relay_link, listening);
    struct peer_cred who;
    struct err err = ERR;
    AUTO(fd_close) int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!socket_peer_cred(fd, &who, &err) || (who.uid != l->uid && who.uid != 0)) {
        log_warn("relay.refused", "uid=%u is not the relay's", (unsigned)who.uid);
        return;
    }
    drop_peer(l); /* a new relay takes the place of the old one */
    l->fd = TAKE_FD(fd);
    poll_init(&l->peer, l->agent->cfg.loop, l->fd, on_readable);
    poll_want(&l->peer, POLL_READ);
    list_each (q, &l->asked, struct asked, node)
        if (l->fd >= 0)
            link_ask(l, q);
}

bool relay_link_open(struct agent *g, const char *path, unsigned uid, struct err *err)
{
    ASSERT(!the_link);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return err_set(err, E_INVALID, "%s: too long for a socket", path);
    memcpy(a.sun_path, path, strlen(path));
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(path); /* bind tells */
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || chown(path, uid, uid) < 0 || listen(fd, 4) < 0)
        return err_errno(err, "listen on %s", path);
    struct relay_link *l = NEW(struct relay_link);
    *l = (struct relay_link){.agent = g, .listen_fd = TAKE_FD(fd), .fd = -1, .uid = uid, .path = mem_dupz(path)};
    list_init(&l->asked);
    relay_queue_init(&l->out);
    list_init(&l->sessions);
    poll_init(&l->listening, g->cfg.loop, l->listen_fd, on_connection);
    poll_want(&l->listening, POLL_READ);
    the_link = l;
    return true;
}

void relay_link_close(void)
{
    struct relay_link *l = the_link;
    if (!l)
        return;
    drop_peer(l);
    poll_stop(&l->listening);
    fd_close(l->listen_fd);
    (void)unlink(l->path); /* the next one to listen removes it */
    list_each (q, &l->asked, struct asked, node) {
        list_del(&q->node);
        timer_stop(&q->timer);
        strbuf_fini(&q->message);
        mem_free(q); /* who asked goes with the agent */
    }
    mem_free(l->path);
    mem_free(l);
    the_link = NULL;
}
