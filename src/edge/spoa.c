/* A frame that HAProxy sends becomes a question (struct spoa_question): it is answered in the same turn, or when a
 * job of the pool or an HTTP call has come home, on the connection it came by, if that is still there.
 *
 *   passwords   cache -> else one job for each name and password that is asked about, however many ask
 *   auth url    one call; 2xx lets the request through, 401 may lead to the sign-in page, 403 is passed on, else 503
 *   mirror      acknowledged at once; the copy goes on its own
 *   errors      one GET to the pool with X-Code and others, as ingress-nginx's default backend gets it
 */
#include "base/log.h"
#include "edge/spoa_int.h"
#include "sys/file.h"
#include <fcntl.h>

#define CONNECTIONS_MOST 256
#define QUESTIONS_MOST   10000
#define PEERS_MOST       512   /* addresses with kept connections */
#define PAGE_MOST        12000 /* of a frame of 16 KiB */

const char spoa_filter[] = "  filter spoe engine door config ../agent.cfg\n";
const char spoa_backend[] = "backend agent\n"
                            "  mode tcp\n"
                            "  timeout connect 5s\n"
                            "  timeout server 10m\n"
                            "  server role unix@../agent.sock\n";
static const char spoa_cfg[] =
    "[door]\n"
    "spoe-agent door\n"
    "  groups auth mirror errors\n"
    "  option var-prefix agent\n"
    "  option set-on-error error\n"
    "  option continue-on-error\n"
    "  option dontlog-normal\n"
    "  timeout hello 5s\n"
    "  timeout idle 5m\n"
    "  timeout processing 12s\n"
    "  max-waiting-frames 256\n"
    "  register-var-names verdict challenge location cookie page page_type\n"
    "  use-backend agent\n"
    "spoe-group auth\n"
    "  messages auth\n"
    "spoe-message auth\n"
    "  args rule=var(txn.r) method=method uri=pathq host=req.hdr(host) secure=ssl_fc headers=req.hdrs "
    "credentials=req.hdr(authorization) known=var(txn.g)\n"
    "spoe-group mirror\n"
    "  messages mirror\n"
    "spoe-message mirror\n"
    "  args rule=var(txn.r) method=method uri=pathq host=req.hdr(host) headers=req.hdrs body=req.body\n"
    "spoe-group errors\n"
    "  messages errors\n"
    "spoe-message errors\n"
    "  args rule=var(txn.r) status=status uri=var(txn.uri) host=var(txn.h) accept=var(txn.accept)\n";

/* --- rules --- */

static void held_free(struct spoa_held *h)
{
    if (!h)
        return;
    arena_fini(&h->arena);
    mem_free(h);
}

static struct str *texts_copy(struct arena *a, const struct str *texts, size_t n)
{
    struct str *out = arena_alloc(a, (n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = str_dup(a, texts[i]);
    return out;
}

void spoa_put(struct spoa *a, const struct spoa_rule *r)
{
    struct spoa_held *h = NEW(struct spoa_held);
    struct arena *m = &h->arena;
    h->rule = *r;
    h->rule.name = str_dup(m, r->name);
    h->rule.owner = str_dup(m, r->owner);
    h->rule.errors_pool = str_dup(m, r->errors_pool);
    if (r->auth) {
        h->auth = *r->auth;
        struct str *texts[] = {&h->auth.realm, &h->auth.users, &h->auth.url, &h->auth.signin, &h->auth.method};
        for (size_t i = 0; i < countof(texts); i++)
            *texts[i] = str_dup(m, *texts[i]);
        h->auth.headers = texts_copy(m, r->auth->headers, r->auth->nheaders);
        h->rule.variables = texts_copy(m, r->variables, r->auth->nheaders);
        h->rule.auth = &h->auth;
    }
    struct door_mirror *mirrors = arena_dup(m, r->mirrors, r->nmirrors * sizeof *mirrors);
    for (size_t i = 0; i < r->nmirrors; i++)
        mirrors[i].pool = str_dup(m, mirrors[i].pool);
    h->rule.mirrors = mirrors;
    held_free(map_put(&a->rules, r->name, h));
}

void spoa_del(struct spoa *a, struct str name)
{
    held_free(map_del(&a->rules, name));
}

const struct spoa_rule *spoa_rule_of(struct spoa *a, struct str name)
{
    struct spoa_held *h = map_get(&a->rules, name);
    return h ? &h->rule : NULL;
}

/* --- questions and their answers --- */

static void question_free(struct spoa_question *q)
{
    list_del(&q->node);
    list_del(&q->all);
    q->agent->nquestions--;
    http_cancel(q->call);
    arena_fini(&q->arena);
    mem_free(q);
}

struct spoa_answer answer_begin(const struct spoa_question *q)
{
    struct spoa_answer x = {.out = STRBUF(SPOP_FRAME_MOST + 4)};
    x.begin = spop_ack_begin(&x.out, q->stream, q->frame);
    return x;
}

/* An answer that does not fit is an empty one: HAProxy goes on as if nobody could be asked. */
void answer_end(struct spoa_answer *x, struct spoa_question *q)
{
    if (q->connection) {
        if (x->out.over) {
            strbuf_fini(&x->out);
            *x = answer_begin(q);
        }
        spop_ack_end(&x->out, x->begin);
        stream_write(q->connection->stream, strbuf_str(&x->out));
    }
    strbuf_fini(&x->out);
    question_free(q);
}

/* --- the outside --- */

/* "http://auth.ns.svc:80/x": where it is spoken to. The host may be a Service's name. */
struct http_client *spoa_peer(struct spoa *a, bool tls, struct str host, struct str port, struct err *err)
{
    AUTO(arena_fini) struct arena m = ARENA;
    AUTO(strbuf_fini) struct strbuf ip = STRBUF(256);
    struct str at = a->config.resolve && a->config.resolve(a->config.arg, host, &ip) ? strbuf_str(&ip) : host;
    bool six = str_find_char(at, ':') >= 0;
    struct str address = arena_fmt(&m, six ? "[" STR_FMT "]:" STR_FMT : STR_FMT ":" STR_FMT, STR_ARG(at),
                                   STR_ARG(port));
    struct str key = arena_fmt(&m, "%s " STR_FMT " " STR_FMT, tls ? "tls" : "plain", STR_ARG(address), STR_ARG(host));
    struct http_client *c = map_get(&a->peers, key);
    if (c)
        return c;
    if (map_len(&a->peers) >= PEERS_MOST) {
        err_set(err, E_TOO_LARGE, "more than %d addresses are asked already", PEERS_MOST);
        return NULL;
    }
    if (tls && !a->tls)
        a->tls = tls_client_new(&(struct tls_client_config){0}, err);
    if (tls && !a->tls)
        return NULL;
    bool usual = str_eqz(port, tls ? "443" : "80");
    struct str named = usual ? host : arena_fmt(&m, STR_FMT ":" STR_FMT, STR_ARG(host), STR_ARG(port));
    struct http_client_config config = {.address = address,
                                        .tls = tls ? a->tls : NULL,
                                        .server_name = tls ? host : S(""),
                                        .host = named,
                                        .connections_most = 128,
                                        .connect_ns = 5 * NS_PER_S};
    c = http_client_new(a->loop, &config);
    (void)map_put(&a->peers, key, c); /* none was there */
    return c;
}

/* A server of a pool, by chance and weight alike for those that have one. */
static struct http_client *pool_peer(struct spoa *a, struct str key, struct err *err)
{
    const struct door_pool *p = a->config.pool ? a->config.pool(a->config.arg, key) : NULL;
    size_t n = 0;
    for (size_t i = 0; p && i < p->nservers; i++)
        n += p->servers[i].weight > 0;
    size_t at = n ? random_below(n) : 0;
    for (size_t i = 0; n && i < p->nservers; i++) {
        char port[8];
        if (p->servers[i].weight == 0 || at-- > 0)
            continue;
        (void)snprintf(port, sizeof port, "%u", p->servers[i].port);
        return spoa_peer(a, p->servers[i].tls, p->servers[i].host, str_of(port), err);
    }
    err_set(err, E_UNAVAILABLE, "no server in " STR_FMT, STR_ARG(key));
    return NULL;
}

/* Names that belong to a connection, or to a body that is not sent. */
static bool is_passed(struct str name)
{
    static const char *const kept_back[] = {
        "connection",        "keep-alive", "proxy-connection", "te",     "trailer",
        "transfer-encoding", "upgrade",    "content-length",   "expect", "host"};
    for (size_t i = 0; i < countof(kept_back); i++)
        if (str_ieq(name, str_of(kept_back[i])))
            return false;
    return name.n > 0;
}

/* As req.hdrs gives them: lines that end in CR LF. */
void spoa_headers(struct arena *m, struct str text, struct http_headers *out)
{
    struct str line, name, value;
    while (text.n && str_cut(&text, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (str_split(line, ':', &name, &value) && is_passed(name))
            http_header_add(m, out, name, str_trim(value));
    }
}

/* --- mirrors --- */

static void copy_done(struct http_call *call, const struct http_answer *answer UNUSED, struct err *err UNUSED)
{
    struct spoa_question *q = http_call_arg(call); /* whatever came of the copy is nobody's business */
    q->call = NULL;
    question_free(q);
}

static struct spoa_question *question_new(struct spoa *a)
{
    struct spoa_question *q = NEW(struct spoa_question);
    q->agent = a;
    list_init(&q->node);
    list_add_tail(&a->questions, &q->all);
    a->nquestions++;
    return q;
}

static void mirror_asked(struct spoa_question *q, struct str body)
{
    static const struct http_call_fns fns = {.done = copy_done};
    struct spoa *a = q->agent;
    const struct spoa_rule *r = spoa_rule_of(a, q->rule);
    struct http_headers headers = {0};
    spoa_headers(&q->arena, q->headers, &headers);
    for (size_t i = 0; r && i < r->nmirrors; i++) {
        struct err ignored = ERR; /* no server, no copy: the request itself is what counts */
        const struct door_mirror *m = &r->mirrors[i];
        if (m->denominator && m->numerator < m->denominator && random_below(m->denominator) >= m->numerator)
            continue;
        struct http_client *c = a->nquestions < QUESTIONS_MOST ? pool_peer(a, m->pool, &ignored) : NULL;
        if (!c)
            continue;
        struct spoa_question *copy = question_new(a);
        struct http_headers own = {0};
        for (size_t k = 0; k < headers.n; k++)
            http_header_add(&copy->arena, &own, headers.p[k].name, headers.p[k].value);
        http_header_add(&copy->arena, &own, S("X-Forwarded-Host"), q->host);
        struct http_outgoing o = {.method = q->method,
                                  .target = q->uri,
                                  .headers = &own,
                                  .body = body,
                                  .answer_most = 1 << 20,
                                  .head_ns = CALL_MOST};
        copy->call = http_send(c, &o, &fns, copy);
    }
    struct spoa_answer x = answer_begin(q);
    answer_end(&x, q);
}

/* --- pages for errors --- */

/* HAProxy writes a line break in a variable as "%0A", so a page is handed over line by line, for an answer that has
 * room for one line, for 16 or for 128; what is behind these stands in the last one. */
static void page_say(struct spoa_answer *x, struct str body)
{
    struct str line, rest = body;
    size_t n = 0;
    while (rest.n && n < SPOA_PAGE_LINES) {
        char name[16];
        (void)snprintf(name, sizeof name, "l%zu", n++);
        if (n == SPOA_PAGE_LINES)
            line = rest, rest.n = 0;
        else
            (void)str_cut(&rest, '\n', &line); /* there is one, as rest is not empty */
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        spop_ack_text(&x->out, str_of(name), line);
    }
    spop_ack_number(&x->out, S("page"), n <= 1 ? 1 : n <= 16 ? 16 : SPOA_PAGE_LINES);
}

static void page_told(struct http_call *call, const struct http_answer *answer, struct err *err)
{
    struct spoa_question *q = http_call_arg(call);
    q->call = NULL;
    struct spoa_answer x = answer_begin(q);
    if (answer && answer->body.n <= PAGE_MOST) {
        struct str type = http_header(&answer->headers, S("content-type"));
        page_say(&x, answer->body);
        spop_ack_text(&x.out, S("page_type"), type.n ? type : S("text/html"));
    } else {
        log_warn("edge.page", "the answer itself is passed on error=\"%s\"",
                 answer ? "the page is over 12,000 bytes" : err->text);
    }
    answer_end(&x, q);
}

static void errors_asked(struct spoa_question *q, int64_t status, struct str accept)
{
    static const struct http_call_fns fns = {.done = page_told};
    struct arena *m = &q->arena;
    const struct spoa_rule *r = spoa_rule_of(q->agent, q->rule);
    struct err err = ERR;
    struct http_headers headers = {0};
    struct str kind, rest, ns, name;
    struct http_client *c = r ? pool_peer(q->agent, r->errors_pool, &err) : NULL;
    if (!c) {
        struct spoa_answer x = answer_begin(q);
        answer_end(&x, q);
        return;
    }
    http_header_add(m, &headers, S("X-Code"), arena_fmt(m, "%d", (int)status));
    http_header_add(m, &headers, S("X-Format"), accept);
    http_header_add(m, &headers, S("X-Original-URI"), q->uri);
    http_header_add(m, &headers, S("X-Original-Host"), q->host);
    if (str_split(r->owner, '/', &kind, &rest) && str_split(rest, '/', &ns, &name)) {
        http_header_add(m, &headers, S("X-Namespace"), ns);
        http_header_add(m, &headers, S("X-Ingress-Name"), name);
    }
    struct http_outgoing o = {
        .method = S("GET"), .target = S("/"), .headers = &headers, .answer_most = 1 << 20, .head_ns = CALL_MOST};
    q->call = http_send(c, &o, &fns, q);
}

/* When the last job is home. */
void spoa_release(struct spoa *a)
{
    if (map_len(&a->checks) > 0)
        return;
    struct map *maps[] = {&a->peers, &a->rules, &a->known, &a->checks};
    for (size_t i = 0; i < countof(maps); i++)
        map_fini(maps[i]);
    mem_free(a);
}

/* --- connections --- */

static void connection_free(struct spoa_connection *c)
{
    list_each (q, &c->agent->questions, struct spoa_question, all)
        if (q->connection == c)
            q->connection = NULL;
    list_del(&c->node);
    c->agent->nconnections--;
    stream_free(c->stream);
    strbuf_fini(&c->in);
    mem_free(c);
}

static void connection_refuse(struct spoa_connection *c, unsigned code, const char *why)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1024);
    spop_put_disconnect(&out, code, why);
    stream_write(c->stream, strbuf_str(&out));
    stream_end(c->stream);
}

static void notify_came(struct spoa_connection *c, const struct spop_frame *f)
{
    struct spoa *a = c->agent;
    struct spoa_question *q = question_new(a);
    const struct spop_value *secure = spop_argument(f, "secure"), *status = spop_argument(f, "status");
    q->connection = c;
    q->stream = f->stream;
    q->frame = f->frame;
    q->rule = str_dup(&q->arena, spop_text(f, "rule"));
    q->method = str_dup(&q->arena, spop_text(f, "method"));
    q->uri = str_dup(&q->arena, spop_text(f, "uri"));
    q->host = str_dup(&q->arena, spop_text(f, "host"));
    q->headers = str_dup(&q->arena, spop_text(f, "headers"));
    q->secure = secure && secure->number;
    if (a->nquestions > QUESTIONS_MOST) {
        struct spoa_answer x = answer_begin(q);
        answer_end(&x, q);
    } else if (str_eqz(f->message, "mirror")) {
        mirror_asked(q, spop_text(f, "body"));
    } else if (str_eqz(f->message, "errors")) {
        errors_asked(q, status ? status->number : 0, str_dup(&q->arena, spop_text(f, "accept")));
    } else {
        auth_asked(q, spop_text(f, "credentials"), spop_text(f, "known"));
    }
}

/* False: the connection takes no more. */
static bool frame_came(struct spoa_connection *c, const struct spop_frame *f)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1024);
    if (f->type == SPOP_NOTIFY && c->greeted) {
        notify_came(c, f);
        return true;
    }
    if (f->type == SPOP_HELLO && !c->greeted) {
        c->greeted = true;
        spop_put_hello(&out, f);
        stream_write(c->stream, strbuf_str(&out));
        return true;
    }
    connection_refuse(c, f->type == SPOP_DISCONNECT ? 0 : 4, f->type == SPOP_DISCONNECT ? "" : "not expected now");
    return false;
}

static void connection_data(struct stream *s, struct str bytes)
{
    struct spoa_connection *c = stream_arg(s);
    struct spop_frame f;
    struct err err = ERR;
    size_t used = 0, at = 0;
    strbuf_add(&c->in, bytes);
    for (bool more = true; more; at += used) {
        if (!spop_read(str_sub(strbuf_str(&c->in), at, c->in.n), &f, &used, &err)) {
            log_warn("edge.agent", "error=\"%s\"", err.text);
            connection_refuse(c, 4, "a frame that is none");
            return;
        }
        more = used > 0 && frame_came(c, &f);
    }
    strbuf_drop(&c->in, at);
}

static void connection_closed(struct stream *s, struct err *err UNUSED)
{
    connection_free(stream_arg(s));
}

static void connection_came(struct listener *l, int own_fd, const struct addr *peer UNUSED)
{
    static const struct stream_fns fns = {.data = connection_data, .closed = connection_closed};
    struct spoa *a = container_of(l, struct spoa, listener);
    struct spoa_connection *c = NEW(struct spoa_connection);
    *c = (struct spoa_connection){.agent = a, .in = STRBUF(1 << 20)};
    c->stream = stream_new(a->loop, own_fd, NULL, &fns, c);
    list_add_tail(&a->connections, &c->node);
    if (++a->nconnections > CONNECTIONS_MOST)
        connection_refuse(c, 13, "too many connections");
}

/* --- as a whole --- */

struct spoa *spoa_new(struct loop *l, const struct spoa_config *config, struct err *err)
{
    AUTO(arena_fini) struct arena m = ARENA;
    struct str file = arena_fmt(&m, STR_FMT "/agent.cfg", STR_ARG(config->run));
    struct addr at;
    int fd = config->own_socket;
    if (!file_replace(AT_FDCWD, file.p, str_of(spoa_cfg), 0600, err) ||
        (fd < 0 && !addr_parse(arena_fmt(&m, "unix:" STR_FMT "/agent.sock", STR_ARG(config->run)), &at, err)))
        return NULL;
    if (fd < 0)
        fd = socket_listen(&at, 0600, err);
    if (fd < 0)
        return NULL;
    struct spoa *a = NEW(struct spoa);
    a->loop = l;
    a->config = *config;
    list_init(&a->connections);
    list_init(&a->questions);
    listener_start(&a->listener, l, fd, connection_came);
    listener_pause(&a->listener, true);
    return a;
}

void spoa_begin(struct spoa *a)
{
    listener_pause(&a->listener, false);
}

void spoa_free(struct spoa *a)
{
    if (!a)
        return;
    listener_stop(&a->listener);
    list_each (c, &a->connections, struct spoa_connection, node)
        connection_free(c);
    list_each (q, &a->questions, struct spoa_question, all)
        question_free(q);
    map_each (it, &a->peers)
        http_client_free(it->value);
    map_each (it, &a->rules)
        held_free(it->value);
    map_each (it, &a->known)
        mem_free(it->value);
    tls_client_free(a->tls);
    a->over = true;
    spoa_release(a);
}
