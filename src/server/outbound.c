#include "server/outbound.h"
#include "server/limits.h"
#include <errno.h>
#include <string.h>

struct outbound {
    int refs;
    struct server *server;
    struct arena arena;
    struct outbound_config config;
    struct str host; /* as URLs show it, with its port where it is said */
    struct str name; /* that the certificate has to be for */
    struct str path; /* and query, of the URL or the Service */
    struct str dial; /* host:port of a URL */
    struct tls_client *tls;
    struct http_client *client; /* to `address` */
    struct str address;         /* heap, owned with the client */
};

static void client_drop(struct outbound *o)
{
    http_client_free(TAKE(o->client));
    mem_free((void *)o->address.p);
    o->address = STR_NONE;
}

struct outbound *outbound_ref(struct outbound *o)
{
    o->refs++;
    return o;
}

void outbound_unref(struct outbound *o)
{
    if (!o || --o->refs)
        return;
    client_drop(o);
    tls_client_free(o->tls);
    arena_fini(&o->arena);
    mem_free(o);
}

/* "https://host:port/path" in its parts. Rules have looked at it when it was written. */
static void url_split(struct outbound *o, struct str url)
{
    struct str rest = str_sub(url, str_starts(url, S("https://")) ? 8 : 0, url.n);
    size_t at = 0;
    while (at < rest.n && rest.p[at] != '/' && rest.p[at] != '?')
        at++;
    o->host = str_sub(rest, 0, at);
    o->path = str_sub(rest, at, rest.n);
    if (!str_starts(o->path, S("/")))
        o->path = arena_fmt(&o->arena, "/" STR_FMT, STR_ARG(o->path));
    ssize_t bracket = str_find_char(o->host, ']');
    struct str after = bracket >= 0 ? str_sub(o->host, (size_t)bracket, o->host.n) : o->host;
    ssize_t colon = str_find_char(after, ':');
    o->name = colon >= 0 ? str_sub(o->host, 0, o->host.n - after.n + (size_t)colon) : o->host;
    o->dial = colon >= 0 ? o->host : arena_fmt(&o->arena, STR_FMT ":443", STR_ARG(o->host));
    if (str_starts(o->name, S("[")))
        o->name = str_sub(o->name, 1, o->name.n - 1);
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
                                         .ca = str_dup(a, c->ca)};
    if (o->config.url.n) {
        url_split(o, o->config.url);
        return o;
    }
    o->name = arena_fmt(a, STR_FMT "." STR_FMT ".svc", STR_ARG(o->config.name), STR_ARG(o->config.ns));
    o->host = arena_fmt(a, STR_FMT ":%d", STR_ARG(o->name), o->config.port);
    o->path = o->config.path.n ? o->config.path : S("/");
    return o;
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

static bool client_ready(struct outbound *o, struct arena *a, struct err *err)
{
    struct str address = o->dial;
    if (!o->config.url.n && !service_address(o, a, &address, err))
        return false;
    if (o->client && str_eq(address, o->address))
        return true;
    if (!o->tls) {
        static const char *const alpn[] = {"http/1.1", NULL};
        o->tls = tls_client_new(&(struct tls_client_config){.ca = o->config.ca, .alpn = alpn}, err);
        if (!o->tls)
            return err_wrap(err, "unable to load root certificates");
    }
    client_drop(o); /* the Service has another address now */
    char *copy = mem_alloc(address.n + 1);
    memcpy(copy, address.p, address.n);
    copy[address.n] = '\0';
    o->address = (struct str){copy, address.n};
    o->client = http_client_new(o->server->loop, &(struct http_client_config){.address = o->address,
                                                                              .tls = o->tls,
                                                                              .server_name = o->name,
                                                                              .host = o->host,
                                                                              .connections_most = LIMIT_OUTBOUND});
    return true;
}

/* --- in upstream's words --- */

/* The reason of a failed call as net/http and crypto/tls would have told it, where they have words for it. */
static void reason_add(struct strbuf *b, const struct outbound *o, const struct err *err)
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
        strbuf_addf(b, "dial tcp " STR_FMT ": connect: %s", STR_ARG(o->address), why);
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
    timer_stop(&c->timer);
    struct err told = ERR;
    if (err) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        reason_add(&b, o, err);
        (void)err_set(&told, err->kind, "Post \"" STR_FMT "\": " STR_FMT, STR_ARG(c->url), STR_ARG(strbuf_str(&b)));
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
    call_over(c, a, a ? NULL : err);
}

/* Its time is over, or it could not be asked at all. */
static void call_time(struct timer *t)
{
    struct outbound_call *c = container_of(t, struct outbound_call, timer);
    if (c->http) {
        http_cancel(TAKE(c->http));
        (void)err_set(&c->err, E_TIMEOUT, "no answer in time");
    }
    call_over(c, NULL, &c->err);
}

void outbound_ask(struct outbound *o, struct outbound_call *c, struct arena *a, struct str body, int timeout_s,
                  void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err))
{
    static const struct http_call_fns fns = {.done = call_done};
    *c = (struct outbound_call){.outbound = outbound_ref(o), .done = done};
    bool asks = str_find_char(o->path, '?') >= 0;
    struct str target = arena_fmt(a, STR_FMT "%stimeout=%ds", STR_ARG(o->path), asks ? "&" : "?", timeout_s);
    c->url = arena_fmt(a, "https://" STR_FMT STR_FMT, STR_ARG(o->host), STR_ARG(target));
    timer_init(&c->timer, o->server->loop, call_time);
    if (!client_ready(o, a, &c->err)) {
        timer_set(&c->timer, 0);
        return;
    }
    timer_set(&c->timer, timeout_s * NS_PER_S);
    struct http_headers headers = {0};
    http_header_add(a, &headers, S("Accept"), S("application/json, */*"));
    http_header_add(a, &headers, S("User-Agent"), S("kube-apiserver-admission"));
    c->http = http_send(o->client,
                        &(struct http_outgoing){.method = S("POST"),
                                                .target = target,
                                                .headers = &headers,
                                                .content_type = S("application/json"),
                                                .body = body,
                                                .answer_most = LIMIT_BODY_BYTES},
                        &fns, c);
}

void outbound_cancel(struct outbound_call *c)
{
    if (!c->outbound)
        return;
    timer_stop(&c->timer);
    http_cancel(TAKE(c->http));
    outbound_unref(TAKE(c->outbound));
}
