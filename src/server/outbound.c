#include "server/outbound.h"
#include "api/url.h"
#include "server/limits.h"
#include <errno.h>
#include <string.h>

struct outbound {
    int refs;
    struct server *server;
    struct arena arena;
    struct outbound_config config;
    struct str host;            /* as URLs show it, with its port where it is said */
    struct str name;            /* that the certificate has to be for */
    struct str path;            /* and query, of the URL or the Service */
    struct str dial;            /* host:port of a URL */
    struct outbound_line *line; /* to where it was last; NULL: not asked yet */
};

struct outbound *outbound_ref(struct outbound *o)
{
    o->refs++;
    return o;
}

void outbound_unref(struct outbound *o)
{
    if (!o || --o->refs)
        return;
    outbound_line_unref(o->line);
    arena_fini(&o->arena);
    mem_free(o);
}

/* Rules have looked at it when it was written. */
static void url_take(struct outbound *o, struct str text)
{
    struct arena *a = &o->arena;
    struct url u;
    struct err err = ERR;
    if (!url_parse(a, text, &u, &err))
        u = (struct url){.host = S("")};
    o->host = u.host;
    o->name = url_hostname(&u);
    o->dial = url_port(&u).n ? u.host : arena_fmt(a, STR_FMT ":443", STR_ARG(u.host));
    o->path = arena_fmt(a, "%s" STR_FMT "%s" STR_FMT, u.path.n ? "" : "/", STR_ARG(url_escaped_path(a, &u)),
                        u.query.n ? "?" : "", STR_ARG(u.query));
}

struct outbound *outbound_new(struct server *s, const struct outbound_config *c)
{
    struct outbound *o = NEW(struct outbound);
    *o = (struct outbound){.refs = 1, .server = s, .arena = ARENA};
    struct arena *a = &o->arena;
    o->config = (struct outbound_config){.url = str_dup(a, c->url),
                                         .ns = str_dup(a, c->ns),
                                         .name = str_dup(a, c->name),
                                         .path = str_dup(a, c->path),
                                         .port = c->port ? c->port : 443,
                                         .ca = str_dup(a, c->ca),
                                         .insecure = c->insecure,
                                         .cert = str_dup(a, c->cert),
                                         .key = str_dup(a, c->key),
                                         .by_address = c->by_address,
                                         .connections_most = c->connections_most};
    if (o->config.url.n) {
        url_take(o, o->config.url);
        return o;
    }
    o->name = arena_fmt(a, STR_FMT "." STR_FMT ".svc", STR_ARG(o->config.name), STR_ARG(o->config.ns));
    o->host = arena_fmt(a, STR_FMT ":%d", STR_ARG(o->name), o->config.port);
    o->path = o->config.path.n ? o->config.path : S("/");
    return o;
}

struct outbound *outbound_of_client(struct server *s, const struct val *client)
{
    const struct val *service = val_get(client, N(service));
    return outbound_new(s, &(struct outbound_config){.url = val_text_at(client, N(url)),
                                                     .ns = val_text_at(service, N(namespace)),
                                                     .name = val_text_at(service, N(name)),
                                                     .path = val_text_at(service, N(path)),
                                                     .port = (int)val_num_at(service, 443, N(port)),
                                                     .ca = val_raw(val_get(client, N(caBundle)))});
}

/* --- where it is --- */

/* A Service is reached at its cluster address, so that the kernel's rules choose among those that are ready. */
static bool service_address(struct outbound *o, struct arena *a, struct str *out, struct err *err)
{
    const struct outbound_config *c = &o->config;
    AUTO(obj_unref) struct obj *service = object_get(o->server, K(Service), c->ns, c->name);
    if (!service)
        return err_set(err, E_NOT_FOUND, "service \"" STR_FMT "\" not found", STR_ARG(c->name));
    const struct val *spec = obj_spec(service);
    struct str ip = val_text_at(spec, N(clusterIP));
    if (str_eqz(val_text_at(spec, N(type)), "ExternalName")) {
        *out = arena_fmt(a, STR_FMT ":%d", STR_ARG(val_text_at(spec, N(externalName))), c->port);
        return true;
    }
    if (!ip.n || str_eqz(ip, "None"))
        return err_set(err, E_UNAVAILABLE, "cannot route to service with ClusterIP \"" STR_FMT "\"", STR_ARG(ip));
    val_each_item (p, val_get(spec, N(ports))) {
        if (val_num_at(p, 0, N(port)) != c->port)
            continue;
        bool v6 = str_find_char(ip, ':') >= 0;
        *out = arena_fmt(a, v6 ? "[" STR_FMT "]:%d" : STR_FMT ":%d", STR_ARG(ip), c->port);
        return true;
    }
    return err_set(err, E_UNAVAILABLE, "no service port %d found for service \"" STR_FMT "\"", c->port,
                   STR_ARG(c->name));
}

void outbound_line_unref(struct outbound_line *l)
{
    if (!l || --l->refs)
        return;
    http_client_free(l->client);
    tls_client_free(l->tls);
    mem_free((void *)l->address.p);
    mem_free((void *)l->host.p);
    mem_free(l);
}

static struct str text_copy(struct str s)
{
    char *copy = mem_alloc(s.n + 1);
    memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return (struct str){copy, s.n};
}

static struct outbound_line *line_new(struct outbound *o, struct str address, struct err *err)
{
    static const char *const alpn[] = {"http/1.1", NULL};
    const struct outbound_config *c = &o->config;
    struct tls_client_config t = {.ca = c->ca, .insecure = c->insecure, .cert = c->cert, .key = c->key, .alpn = alpn};
    struct tls_client *tls = tls_client_new(&t, err);
    if (!tls) {
        (void)err_wrap(err, "unable to load root certificates");
        return NULL;
    }
    struct outbound_line *l = NEW(struct outbound_line);
    l->refs = 1;
    l->tls = tls;
    l->address = text_copy(address);
    l->host = text_copy(c->by_address ? address : o->host);
    l->client = http_client_new(
        o->server->loop,
        &(struct http_client_config){.address = l->address,
                                     .tls = tls,
                                     .server_name = o->name,
                                     .host = l->host,
                                     .connections_most = c->connections_most ? c->connections_most : LIMIT_OUTBOUND});
    return l;
}

struct outbound_line *outbound_line(struct outbound *o, struct arena *a, struct err *err)
{
    struct str address = o->dial;
    if (!o->config.url.n && !service_address(o, a, &address, err))
        return NULL;
    if (!o->line || !str_eq(address, o->line->address)) {
        struct outbound_line *l = line_new(o, address, err);
        if (!l)
            return NULL;
        outbound_line_unref(o->line); /* the Service has another address now */
        o->line = l;
    }
    o->line->refs++;
    return o->line;
}

/* --- in upstream's words --- */

/* As net/http and crypto/tls have words for it. */
void outbound_reason(struct strbuf *b, const struct outbound_line *l, const struct err *err)
{
    static const struct {
        const char *ours, *theirs;
    } words[] = {
        {"signed by an unknown authority",
         "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
        {"the certificate expired at",
         "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"},
        {"the certificate is not valid before",
         "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"},
        {TLS_NOT_SPOKEN, "http: server gave HTTP response to HTTPS client"},
        {HTTP_CUT, "unexpected EOF"},
        {"closed before a whole answer", "EOF"},
        {"closed the connection during the TLS handshake", "EOF"},
    };
    const char *for_names = "the certificate is not for ", *p = strstr(err->text, for_names);
    if (err->sys && str_starts(str_of(err->text), S("connect to "))) {
        const char *why = err->sys == ECONNREFUSED   ? "connection refused"
                          : err->sys == EHOSTUNREACH ? "no route to host"
                          : err->sys == ENETUNREACH  ? "network is unreachable"
                          : err->sys == ECONNRESET   ? "connection reset by peer"
                                                     : strerror(err->sys);
        strbuf_addf(b, "dial tcp " STR_FMT ": connect: %s", STR_ARG(l->address), why);
        return;
    }
    if (err->kind == E_TIMEOUT) {
        strbuf_addz(b, "context deadline exceeded");
        return;
    }
    if (p) {
        struct str rest = str_of(p + strlen(for_names)), wanted = rest;
        const char *but = strstr(rest.p, " but for ");
        if (but)
            wanted = str_sub(rest, 0, (size_t)(but - rest.p));
        strbuf_addf(b, "tls: failed to verify certificate: x509: certificate is valid for %s, not " STR_FMT,
                    but ? but + strlen(" but for ") : "", STR_ARG(wanted));
        return;
    }
    for (size_t i = 0; i < countof(words); i++)
        if (strstr(err->text, words[i].ours)) {
            strbuf_addz(b, words[i].theirs);
            return;
        }
    strbuf_addz(b, err->text);
}

static void call_over(struct outbound_call *c, const struct http_answer *a, const struct err *err)
{
    AUTO(outbound_unref) struct outbound *o = TAKE(c->outbound);
    AUTO(outbound_line_unref) struct outbound_line *line = TAKE(c->line);
    timer_stop(&c->timer);
    struct err told = ERR;
    if (err) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        if (line)
            outbound_reason(&b, line, err);
        else
            strbuf_addz(&b, err->text);
        if (strstr(err->text, HTTP_CUT)) /* upstream's client no longer names what was asked */
            (void)err_set(&told, err->kind,
                          "unexpected error when reading response body. Please retry. Original error: " STR_FMT,
                          STR_ARG(strbuf_str(&b)));
        else if (line || !o->config.by_address)
            (void)err_set(&told, err->kind, "%s \"" STR_FMT "\": " STR_FMT, c->method, STR_ARG(c->url),
                          STR_ARG(strbuf_str(&b)));
        else
            told = *err;
    } else if (c->any_status) {
    } else if (a->status == 404) {
        (void)err_set(&told, E_NOT_FOUND, "the server could not find the requested resource");
    } else if (a->status >= 500) {
        (void)err_set(&told, E_INTERNAL,
                      "an error on the server (\"" STR_FMT "\") has prevented the request from succeeding",
                      STR_ARG(a->body.n ? str_trim(str_sub(a->body, 0, 512)) : S("unknown")));
    } else if (a->status < 200 || a->status > 299) {
        (void)err_set(&told, E_UNAVAILABLE, "the server rejected our request for an unknown reason");
    }
    c->done(c, told.kind ? NULL : a, told.kind ? &told : NULL);
}

static void call_done(struct http_call *h, const struct http_answer *a, struct err *err)
{
    struct outbound_call *c = http_call_arg(h);
    c->http = NULL;
    struct http_answer head = {.status = c->status};
    call_over(c, c->status ? &head : a, a || c->status ? NULL : err);
}

/* Nothing of its body is wanted. */
static void call_headed(struct http_call *h, const struct http_answer *a)
{
    struct outbound_call *c = http_call_arg(h);
    c->status = a->status;
    timer_set(&c->timer, 0);
    http_call_pause(h, true);
}

/* Its time is over, it could not be asked at all, or its head was enough. */
static void call_time(struct timer *t)
{
    struct outbound_call *c = container_of(t, struct outbound_call, timer);
    if (c->http) {
        http_cancel(TAKE(c->http));
        (void)err_set(&c->err, E_TIMEOUT, "no answer in time");
    }
    struct http_answer head = {.status = c->status};
    call_over(c, c->status ? &head : NULL, c->status ? NULL : &c->err);
}

void outbound_send(struct outbound *o, struct outbound_call *c, struct arena *a, const struct outbound_question *q,
                   void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err))
{
    static const struct http_call_fns whole = {.done = call_done}, head = {.head = call_headed, .done = call_done};
    *c = (struct outbound_call){.outbound = outbound_ref(o),
                                .done = done,
                                .method = str_eq(q->method, S("POST")) ? "Post" : "Get",
                                .any_status = q->any_status};
    timer_init(&c->timer, o->server->loop, call_time);
    c->line = outbound_line(o, a, &c->err);
    c->url = arena_fmt(a, "https://" STR_FMT STR_FMT, STR_ARG(c->line ? c->line->host : o->host), STR_ARG(q->path));
    if (!c->line) {
        timer_set(&c->timer, 0);
        return;
    }
    c->reached = true;
    timer_set(&c->timer, q->timeout_s * NS_PER_S);
    c->http = http_send(c->line->client,
                        &(struct http_outgoing){.method = q->method,
                                                .target = q->path,
                                                .headers = q->headers,
                                                .content_type = q->content_type,
                                                .body = q->body,
                                                .answer_streamed = q->head_only,
                                                .head_ns = -1,
                                                .answer_most = q->most ? q->most : LIMIT_BODY_BYTES},
                        q->head_only ? &head : &whole, c);
}

void outbound_ask(struct outbound *o, struct outbound_call *c, struct arena *a, struct str body, int timeout_s,
                  void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err))
{
    bool asks = str_find_char(o->path, '?') >= 0;
    struct http_headers headers = {0};
    http_header_add(a, &headers, S("Accept"), S("application/json, */*"));
    http_header_add(a, &headers, S("User-Agent"), S("kube-apiserver-admission"));
    outbound_send(o, c, a,
                  &(struct outbound_question){
                      .method = S("POST"),
                      .path = arena_fmt(a, STR_FMT "%stimeout=%ds", STR_ARG(o->path), asks ? "&" : "?", timeout_s),
                      .headers = &headers,
                      .content_type = S("application/json"),
                      .body = body,
                      .most = 2 * LIMIT_BODY_BYTES, /* a patch in base64; an object in a version of more words */
                      .timeout_s = timeout_s},
                  done);
}

void outbound_cancel(struct outbound_call *c)
{
    if (!c->outbound)
        return;
    timer_stop(&c->timer);
    http_cancel(TAKE(c->http));
    outbound_line_unref(TAKE(c->line));
    outbound_unref(TAKE(c->outbound));
}
