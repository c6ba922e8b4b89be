/* Pools as backends: the lines that only a reload changes, and the options of servers. */
#include "edge/door_int.h"

#define TIME_LINE " http-request set-timeout server var(txn.r),map_str_int(maps/time) if { var(txn.f) -m sub t }\n"
const char door_kind_plain[] = " balance roundrobin\n" TIME_LINE;

const char door_kind_stream[] = " mode tcp\n";

static bool text_is(struct str s, const char *more, size_t most)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr(more, c)) || !c)
            return false;
    }
    return s.n && s.n <= most;
}

static bool name_is(struct str s)
{
    return text_is(s, "-_", 64);
}

static void balance_write(const struct door_pool *p, struct strbuf *out)
{
    struct str kind, name;
    switch (p->balance) {
    case DOOR_ROUND_ROBIN: strbuf_addz(out, " balance roundrobin\n"); return;
    case DOOR_LEAST_CONNECTIONS: strbuf_addz(out, " balance leastconn\n"); return;
    case DOOR_RANDOM: strbuf_addz(out, " balance random\n"); return;
    case DOOR_HASH: break;
    }
    str_split(p->hash_on, ':', &kind, &name);
    if (str_eqz(kind, "source"))
        strbuf_addz(out, " balance hash src\n");
    else if (str_eqz(kind, "header") && name_is(name))
        strbuf_addf(out, " balance hash req.hdr(" STR_FMT ")\n", STR_ARG(name));
    else if (str_eqz(kind, "cookie") && name_is(name))
        strbuf_addf(out, " balance hash req.cook(" STR_FMT ")\n", STR_ARG(name));
    else if (str_eqz(kind, "arg") && name_is(name))
        strbuf_addf(out, " balance hash urlp(" STR_FMT ")\n", STR_ARG(name));
    else
        strbuf_addz(out, " balance hash pathq\n");
    strbuf_addz(out, " hash-type consistent\n");
}

static void cookie_write(const struct door_pool *p, struct strbuf *out)
{
    if (!name_is(p->cookie))
        return;
    strbuf_addf(out, " dynamic-cookie-key wherry\n cookie " STR_FMT " insert indirect nocache httponly dynamic",
                STR_ARG(p->cookie));
    if (p->cookie_secure)
        strbuf_addz(out, " secure");
    if (text_is(p->cookie_domain, "-.", 253))
        strbuf_addf(out, " domain " STR_FMT, STR_ARG(p->cookie_domain));
    if (p->cookie_s > 0)
        strbuf_addf(out, " attr Max-Age=%lld", (long long)p->cookie_s);
    if (!str_eqz(p->cookie_path, "/") && text_is(p->cookie_path, "/-_.~", 1024))
        strbuf_addf(out, " attr Path=" STR_FMT, STR_ARG(p->cookie_path));
    if (str_ieq(p->cookie_samesite, S("strict")) || str_ieq(p->cookie_samesite, S("lax")) ||
        str_ieq(p->cookie_samesite, S("none")))
        strbuf_addf(out, " attr SameSite=" STR_FMT, STR_ARG(p->cookie_samesite));
    strbuf_addc(out, '\n');
}

static void time_write(struct strbuf *out, const char *what, int64_t ns)
{
    if (ns > 0)
        strbuf_addf(out, " timeout %s %lldms\n", what, (long long)MAX(ns / NS_PER_MS, 1));
}

/* A backend of bytes: affinity and hashes by what is said in HTTP are not there. */
static void stream_kind_write(const struct door_pool *p, struct strbuf *out)
{
    strbuf_addz(out, door_kind_stream);
    if (p->balance == DOOR_LEAST_CONNECTIONS)
        strbuf_addz(out, " balance leastconn\n");
    else if (p->balance == DOOR_HASH)
        strbuf_addz(out, " balance source\n hash-type consistent\n");
    else
        strbuf_addz(out, p->balance == DOOR_RANDOM ? " balance random\n" : " balance roundrobin\n");
    time_write(out, "connect", p->connect_ns);
    time_write(out, "queue", p->queue_ns);
    strbuf_addz(out, " timeout server 24h\n");
    if (p->lost_weight)
        strbuf_addz(out, " tcp-request content set-var(sess.lost) be_name,map_str_int(maps/lost)\n"
                         " tcp-request content reject if { rand(10000),sub(sess.lost) lt 0 }\n");
}

void door_kind_write(const struct door_pool *p, struct str retry, struct strbuf *out)
{
    bool streams = false;
    if (str_eqz(retry, door_kind_stream)) {
        stream_kind_write(p, out);
        return;
    }
    balance_write(p, out);
    cookie_write(p, out);
    if (name_is(p->persist_header))
        strbuf_addf(out,
                    " stick-table type string len 64 size 100k expire 24h\n"
                    " stick match req.hdr(%1$.*2$s)\n"
                    " stick store-response res.hdr(%1$.*2$s)\n"
                    " http-response set-header %1$.*2$s %%[uuid] unless { res.hdr(%1$.*2$s) -m found }\n",
                    p->persist_header.p, (int)p->persist_header.n);
    time_write(out, "connect", p->connect_ns);
    time_write(out, "queue", p->queue_ns);
    if (p->lost_weight)
        strbuf_addz(out,
                    " http-request set-var(txn.lost) be_name,map_str_int(maps/lost)\n"
                    " http-request return status 500 content-type text/plain string \"this backend is not valid\\n\""
                    " if { rand(10000),sub(txn.lost) lt 0 }\n");
    for (size_t i = 0; i < p->nservers; i++)
        streams = streams || p->servers[i].protocol == DOOR_TO_HTTP2;
    strbuf_addz(out, TIME_LINE);
    if (streams)
        strbuf_addz(out, " http-request set-timeout server 1h if !{ var(txn.f) -m sub t } { req.hdr(content-type) -m "
                         "beg application/grpc }\n");
    strbuf_add(out, retry);
}

bool door_server_options(const struct door_server *s, struct strbuf *out, struct err *err)
{
    const char *proto = s->protocol == DOOR_TO_HTTP2 ? "h2" : "http/1.1";
    if (s->tls_name.n && !text_is(s->tls_name, "-.", 253))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is no name of a host", STR_ARG(s->tls_name));
    if (s->tls) {
        strbuf_addf(out, "ssl verify %s", s->tls_ca.n ? "required" : "none");
        if (s->tls_ca.n)
            strbuf_addf(out, " ca-file certs/%s.pem", door_cert_name(s->tls_ca).z);
        if (s->tls_own.n)
            strbuf_addf(out, " crt certs/%s.pem", door_cert_name(s->tls_own).z);
        if (s->tls_name.n)
            strbuf_addf(out, " sni str(" STR_FMT ")", STR_ARG(s->tls_name));
        if (s->tls_ca.n && s->tls_name.n)
            strbuf_addf(out, " verifyhost " STR_FMT, STR_ARG(s->tls_name));
        if (s->protocol != DOOR_TO_TCP)
            strbuf_addf(out, " alpn %s", proto);
    }
    if (s->protocol == DOOR_TO_HTTP2)
        strbuf_addf(out, "%sproto h2", out->n ? " " : "");
    if (s->send_proxy)
        strbuf_addf(out, "%ssend-proxy-v2", out->n ? " " : "");
    if (s->backup)
        strbuf_addf(out, "%sbackup", out->n ? " " : "");
    return true;
}
