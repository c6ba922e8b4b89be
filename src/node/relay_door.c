/* relay_door.c - the node's own HTTPS door (port 10250), as a kubelet has it: whoever comes shows a client
 * certificate of the cluster's CA or a token, which the API server reviews, and is asked of it whether that user may.
 * Answers are remembered as long as a kubelet remembers them. Nothing of it is there before the first one comes:
 * neither keys nor a connection to the API server. */
#include "api/codec.h"
#include "base/log.h"
#include "client/http.h"
#include "node/relay_access.h"
#include "node/relay_int.h"
#include "sys/tls.h"
#include "wire/json.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define WHO_KEPT     (120 * NS_PER_S) /* what a token was found to be, good or not */
#define MAY_KEPT     (300 * NS_PER_S)
#define MAY_NOT_KEPT (30 * NS_PER_S)
#define KEYS_KEPT    (30 * 24 * 3600 * NS_PER_S) /* a certificate is good for a year */
#define KEYS_AGAIN   NS_PER_S                    /* after the API server did not give one */
#define TOKEN_MOST   16384
#define WHO_MOST     16384          /* bytes of a user, its groups and what else is known of it */
#define PORT_AGAIN   (5 * NS_PER_S) /* a port that is free again tells nobody */
#define VISITS_MOST  128            /* requests about which the API server is being asked */

struct relay_door {
    struct relay *relay;
    int fd;              /* listening; the server's once there is one */
    struct poll waiting; /* for the first one who comes */
    struct timer again;
    struct transport *api;  /* NULL: nobody came yet */
    struct tls_server *tls; /* NULL: no keys yet */
    struct http_server *http;
    struct call fetch; /* of keys */
    int64_t fetched;   /* clock_mono */
    struct relay_verdicts who, may;
    size_t visits;
};

/* A request on its way in; in the request's arena. */
struct relay_visit {
    struct relay_door *door;
    struct http_request *http;
    struct call call;
    struct relay_access access;
    size_t at; /* of access.subs: asked now */
    struct str token, name;
    struct str who;      /* members of a SubjectAccessReview's spec, as JSON */
    struct str question; /* all of its spec */
};

/* --- keys --- */

static void fetch_keys(struct relay_door *d);
static void visit_begin(struct http_request *h, void *arg);

static bool keys_take(struct relay_door *d, struct str text, struct err *err)
{
    static const char *const alpn[] = {"http/1.1", NULL}; /* exec and port-forward are upgrades */
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    if (!json_decode(&a, text, &v, err))
        return false;
    struct tls_server_config c = {.cert = val_text(val_get_str(&v, S("certificate"))),
                                  .key = val_text(val_get_str(&v, S("key"))),
                                  .client_ca = val_text(val_get_str(&v, S("clientCA"))),
                                  .alpn = alpn};
    if (d->tls)
        return tls_server_reload(d->tls, &c, err);
    d->tls = tls_server_new(&c, err);
    return d->tls != NULL;
}

static void door_open(struct relay_door *d)
{
    struct http_server_config hc = {.service = {.request = visit_begin, .arg = d},
                                    .tls = d->tls,
                                    .body_most = 64 << 10,
                                    .connections_most = 1000,
                                    .peer_connections_most = 200,
                                    .bodies_most = 4 << 20,
                                    .answers_most = 64 << 20};
    d->http = http_server_new(d->relay->loop, &hc);
    http_server_listen(d->http, d->fd);
}

static void keys_fetched(struct call *c)
{
    struct relay_door *d = container_of(c, struct relay_door, fetch);
    struct err err = c->err;
    if (c->ok && keys_take(d, c->bytes, &err)) {
        d->fetched = clock_mono();
        if (!d->http)
            door_open(d);
        return;
    }
    log_warn("relay.keys", "the node's HTTPS port waits for a certificate: error=\"%s\"", err.text);
    if (!d->http)
        timer_set(&d->again, KEYS_AGAIN); /* somebody waits; while nobody does, nothing is asked */
}

static void fetch_keys(struct relay_door *d)
{
    struct err err = ERR;
    if (call_active(&d->fetch))
        return;
    if (!d->api)
        d->api = http_transport_new(
            d->relay->loop,
            &(struct http_transport_config){.server = str_of(d->relay->cfg.api), .user_agent = S("kubelet")}, &err);
    if (!d->api) {
        log_error("relay.keys", "error=\"%s\"", err.text);
        return;
    }
    d->fetch.done = keys_fetched;
    call_start(&d->fetch, d->api,
               &CALL_OPTIONS(.verb = CALL_RAW, .method = "GET", .path = S("/wherry.dev/node-certificate")));
}

static void fetch_again(struct timer *t)
{
    fetch_keys(container_of(t, struct relay_door, again));
}

static void first_came(struct poll *p, int ready)
{
    (void)ready;
    poll_stop(p); /* whoever comes waits in the socket */
    fetch_keys(container_of(p, struct relay_door, waiting));
}

/* --- answers --- */

static void visit_refuse(struct relay_visit *v, int status, struct str text)
{
    relay_fail(v->http, status, text);
}

static void visit_unauthorized(struct relay_visit *v)
{
    visit_refuse(v, 401, S("Unauthorized"));
}

static void visit_failed(struct relay_visit *v)
{
    visit_refuse(v, 500,
                 arena_fmt(&v->http->arena,
                           "Authorization error (user=" STR_FMT ", verb=" STR_FMT
                           ", resource=nodes, subresource=" STR_FMT ")",
                           STR_ARG(v->name), STR_ARG(v->access.verb), STR_ARG(v->access.subs[v->at])));
}

static void visit_forbidden(struct relay_visit *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "Forbidden (user=" STR_FMT ", verb=" STR_FMT ", resource=nodes, subresource(s)=[",
                STR_ARG(v->name), STR_ARG(v->access.verb));
    for (size_t i = 0; i < v->access.n; i++)
        strbuf_addf(&b, "%s" STR_FMT, i ? " " : "", STR_ARG(v->access.subs[i]));
    strbuf_addz(&b, "])");
    visit_refuse(v, 403, strbuf_str(&b));
}

/* --- may they? --- */

static void visit_authorize(struct relay_visit *v);

static bool visit_ask(struct relay_visit *v, const char *path, struct str body, void (*done)(struct call *c))
{
    if (v->door->visits >= VISITS_MOST) {
        http_set(v->http, S("Retry-After"), S("1"));
        visit_refuse(v, 429, S("too many requests are being looked at; try again later"));
        return false;
    }
    v->door->visits++;
    v->call.done = done;
    call_start(&v->call, v->door->api,
               &CALL_OPTIONS(.verb = CALL_RAW, .method = "POST", .path = str_of(path),
                             .content_type = S("application/json"), .accept = S("application/json"), .bytes = body));
    return true;
}

static void visit_judged(struct relay_visit *v, bool allowed)
{
    if (allowed) {
        relay_serve(v->door->relay, v->http);
        return;
    }
    v->at++;
    visit_authorize(v);
}

static void may_answered(struct call *c)
{
    struct relay_visit *v = container_of(c, struct relay_visit, call);
    struct val review;
    struct err err = ERR; /* the client is told that it failed, and the log of the server why */
    v->door->visits--;
    if (!c->ok || !json_decode(&v->http->arena, c->bytes, &review, &err)) {
        log_warn("relay.authorize", "error=\"%s\"", c->ok ? err.text : c->err.text);
        visit_failed(v);
        return;
    }
    bool allowed = val_true(val_at(&review, N(status), N(allowed)));
    relay_verdict_put(&v->door->may, v->question, allowed, STR_NONE,
                      clock_mono() + (allowed ? MAY_KEPT : MAY_NOT_KEPT));
    visit_judged(v, allowed);
}

static void visit_authorize(struct relay_visit *v)
{
    AUTO(strbuf_fini) struct strbuf spec = STRBUF(2 * WHO_MOST), b = STRBUF(3 * WHO_MOST);
    if (v->at == v->access.n) {
        visit_forbidden(v);
        return;
    }
    strbuf_addf(&spec,
                "{" STR_FMT ",\"resourceAttributes\":{\"verb\":\"" STR_FMT
                "\",\"version\":\"v1\",\"resource\":\"nodes\","
                "\"subresource\":\"" STR_FMT "\",\"name\":",
                STR_ARG(v->who), STR_ARG(v->access.verb), STR_ARG(v->access.subs[v->at]));
    json_add_string(&spec, str_of(v->door->relay->cfg.node_name));
    strbuf_addz(&spec, "}}");
    v->question = str_dup(&v->http->arena, strbuf_str(&spec));
    const struct relay_verdict *known = relay_verdict_find(&v->door->may, v->question, clock_mono());
    if (known) {
        visit_judged(v, known->good);
        return;
    }
    strbuf_addf(&b,
                "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SubjectAccessReview\",\"spec\":" STR_FMT "}",
                STR_ARG(v->question));
    if (spec.over || b.over)
        visit_failed(v);
    else
        (void)visit_ask(v, "/apis/authorization.k8s.io/v1/subjectaccessreviews", strbuf_str(&b), may_answered);
}

/* --- who is it? --- */

static void add_texts(struct strbuf *b, const struct str *texts, size_t n, struct str last)
{
    for (size_t i = 0; i < n; i++) {
        json_add_string(b, texts[i]);
        strbuf_addc(b, ',');
    }
    json_add_string(b, last);
}

/* From the user of a TokenReview to that of a SubjectAccessReview. False: too much is said of it. */
static bool who_of_review(struct strbuf *out, const struct val *user)
{
    static const char *const members[][2] = {
        {"username", "user"}, {"uid", "uid"}, {"groups", "groups"}, {"extra", "extra"}};
    for (size_t i = 0; i < countof(members); i++) {
        const struct val *one = val_get_str(user, str_of(members[i][0]));
        if (!one || one->type == VAL_NULL)
            continue;
        strbuf_addf(out, "%s\"%s\":", out->n ? "," : "", members[i][1]);
        json_encode(out, one);
    }
    return !out->over;
}

static void visit_known(struct relay_visit *v, struct str who)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val all;
    struct err ignored = ERR; /* made by ourselves; without a name nobody may anything */
    v->who = str_dup(&v->http->arena, who);
    if (json_decode(&a, arena_fmt(&a, "{" STR_FMT "}", STR_ARG(who)), &all, &ignored))
        v->name = str_dup(&v->http->arena, val_text(val_get_str(&all, S("user"))));
    visit_authorize(v);
}

static void who_answered(struct call *c)
{
    struct relay_visit *v = container_of(c, struct relay_visit, call);
    AUTO(strbuf_fini) struct strbuf who = STRBUF(WHO_MOST);
    struct val review;
    struct err err = ERR;
    v->door->visits--;
    if (!c->ok || !json_decode(&v->http->arena, c->bytes, &review, &err)) {
        log_warn("relay.authenticate", "error=\"%s\"", c->ok ? err.text : c->err.text);
        visit_unauthorized(v);
        return;
    }
    bool good = val_true(val_at(&review, N(status), N(authenticated))) &&
                who_of_review(&who, val_at(&review, N(status), N(user)));
    relay_verdict_put(&v->door->who, v->token, good, good ? strbuf_str(&who) : STR_NONE, clock_mono() + WHO_KEPT);
    if (good)
        visit_known(v, strbuf_str(&who));
    else
        visit_unauthorized(v);
}

static void visit_authenticate(struct relay_visit *v)
{
    const struct http_request *h = v->http;
    struct str header = str_trim(http_header(&h->headers, S("Authorization"))), scheme, token = S("");
    AUTO(strbuf_fini) struct strbuf b = STRBUF(WHO_MOST);
    if (h->peer->is_tls && h->peer->tls.verified && h->peer->tls.cn.n && h->peer->tls.not_after > clock_real()) {
        strbuf_addz(&b, "\"user\":");
        json_add_string(&b, h->peer->tls.cn);
        strbuf_addz(&b, ",\"groups\":[");
        add_texts(&b, h->peer->tls.orgs, h->peer->tls.norgs, S("system:authenticated"));
        strbuf_addc(&b, ']');
        if (b.over)
            visit_unauthorized(v);
        else
            visit_known(v, strbuf_str(&b));
        return;
    }
    if (str_split(header, ' ', &scheme, &token) && str_ieq(scheme, S("Bearer")))
        v->token = str_trim(token);
    if (!v->token.n || v->token.n > TOKEN_MOST) {
        visit_unauthorized(v);
        return;
    }
    const struct relay_verdict *known = relay_verdict_find(&v->door->who, v->token, clock_mono());
    if (known && known->good) {
        visit_known(v, str_of(known->text));
    } else if (known) {
        visit_unauthorized(v);
    } else {
        strbuf_addz(&b, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{\"token\":");
        json_add_string(&b, v->token);
        strbuf_addz(&b, "}}");
        if (b.over)
            visit_unauthorized(v);
        else
            (void)visit_ask(v, "/apis/authentication.k8s.io/v1/tokenreviews", strbuf_str(&b), who_answered);
    }
}

static void visit_begin(struct http_request *h, void *arg)
{
    struct relay_door *d = arg;
    struct relay_visit *v = ARENA_NEW(&h->arena, struct relay_visit);
    *v = (struct relay_visit){.door = d, .http = h, .name = S("")};
    if (clock_mono() - d->fetched > KEYS_KEPT)
        fetch_keys(d);
    relay_access_of(h->method, h->path, &v->access);
    visit_authenticate(v);
}

/* --- a port that is somebody else's --- */

struct door_wait {
    struct relay *relay;
    struct timer timer;
};

static int port_open(int port, struct err *err)
{
    int one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1024) < 0)
        return err_errno(err, "listen on port %d", port), -1;
    return TAKE_FD(fd);
}

static void door_try(struct timer *t)
{
    struct door_wait *w = container_of(t, struct door_wait, timer);
    struct relay *r = w->relay;
    struct err err = ERR;
    int fd = port_open(r->cfg.door_port, &err);
    if (fd >= 0) {
        log_info("relay.door", "port=%d is open now", r->cfg.door_port);
        mem_free(TAKE(r->taken));
        mem_free(w);
        relay_door_start(r, fd);
        return;
    }
    timer_set(t, PORT_AGAIN);
    if (r->taken)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(
        &b,
        "the node's HTTPS port is not open, and figures, logs and exec are had through the API server alone: %s; "
        "free the port, or set relay-port",
        err.text);
    r->taken = str_dupz(strbuf_str(&b));
    log_error("relay.door", "error=\"%s\"", r->taken);
    relay_tell_taken(r);
}

void relay_door_try(struct relay *r)
{
    struct door_wait *w = NEW(struct door_wait);
    w->relay = r;
    timer_init(&w->timer, r->loop, door_try);
    timer_set(&w->timer, 0);
}

void relay_door_start(struct relay *r, int own_fd)
{
    struct relay_door *d = NEW(struct relay_door);
    d->relay = r;
    d->fd = own_fd;
    relay_verdicts_init(&d->who);
    relay_verdicts_init(&d->may);
    timer_init(&d->again, r->loop, fetch_again);
    poll_init(&d->waiting, r->loop, own_fd, first_came);
    poll_want(&d->waiting, POLL_READ);
}
