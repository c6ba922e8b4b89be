#include "node/health.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "sys/stream.h"
#include "wire/json.h"
#include <arpa/inet.h>
#include <netinet/in.h>

#define CONNECTIONS_MOST 256
#define IDLE_MOST        (5 * NS_PER_S)
#define RETRY            (5 * NS_PER_S)

struct health {
    struct loop *loop;
    struct map ports; /* "NS/NAME" -> struct health_port */
    struct list connections;
    size_t nconnections;
    struct timer retry; /* of ports that could not be had */
    bool taken;
};
struct health_port {
    struct health *health;
    struct listener listener;
    char *ns, *name;
    uint16_t port;
    size_t endpoints;
    bool listens, told;
};
struct health_connection {
    struct health *health;
    struct stream *stream;
    struct list node;
    char *key; /* of its port, which may be gone */
    bool answered;
};

void health_answer(struct str ns, struct str name, size_t endpoints, bool taken, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf body = STRBUF(STRBUF_TEXT);
    bool fine = endpoints && taken;
    strbuf_addz(&body, "{\n\t\"service\": {\n\t\t\"namespace\": ");
    json_add_string(&body, ns);
    strbuf_addz(&body, ",\n\t\t\"name\": ");
    json_add_string(&body, name);
    strbuf_addf(&body, "\n\t},\n\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}", endpoints,
                taken ? "true" : "false");
    strbuf_addf(out,
                "HTTP/1.1 %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
                "X-Load-Balancing-Endpoint-Weight: %zu\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                fine ? "200 OK" : "503 Service Unavailable", endpoints, body.n);
    strbuf_add(out, strbuf_str(&body));
}

/* --- connections --- */

static void connection_free(struct health_connection *c)
{
    list_del(&c->node);
    c->health->nconnections--;
    stream_free(c->stream);
    mem_free(c->key);
    mem_free(c);
}

static void connection_data(struct stream *s, struct str bytes)
{
    struct health_connection *c = stream_arg(s);
    struct health_port *p = map_get(&c->health->ports, str_of(c->key));
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    (void)bytes;
    if (c->answered)
        return;
    c->answered = true;
    if (p) {
        health_answer(str_of(p->ns), str_of(p->name), p->endpoints, c->health->taken, &out);
        stream_write(s, strbuf_str(&out));
    }
    stream_end(s);
}

static void connection_ended(struct stream *s)
{
    stream_end(s);
}

static void connection_closed(struct stream *s, struct err *err)
{
    (void)err; /* a client's end is its own */
    connection_free(stream_arg(s));
}

static const struct stream_fns connection_fns = {
    .data = connection_data, .ended = connection_ended, .closed = connection_closed};

static void connection_new(struct listener *l, int own_fd, const struct addr *peer)
{
    struct health_port *p = container_of(l, struct health_port, listener);
    struct health *h = p->health;
    (void)peer;
    if (h->nconnections >= CONNECTIONS_MOST) {
        fd_close(own_fd);
        return;
    }
    struct health_connection *c = NEW(struct health_connection);
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    strbuf_addf(&key, "%s/%s", p->ns, p->name);
    c->health = h;
    c->key = strbuf_take(&key);
    list_add_tail(&h->connections, &c->node);
    h->nconnections++;
    c->stream = stream_new(h->loop, own_fd, NULL, &connection_fns, c);
    stream_idle(c->stream, IDLE_MOST);
}

/* --- ports --- */

static void port_listen(struct health_port *p)
{
    struct err err = ERR;
    struct addr a = {.n = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(p->port)};
    (void)memcpy(&a.storage, &in, sizeof in);
    int fd = socket_listen(&a, 0, &err);
    if (fd >= 0) {
        listener_start(&p->listener, p->health->loop, fd, connection_new);
        p->listens = true;
        p->told = false;
        return;
    }
    if (!p->told)
        log_warn("health.port", "service=%s/%s port=%u retry_s=5 error=\"%s\"", p->ns, p->name, p->port, err.text);
    p->told = true;
    timer_set(&p->health->retry, RETRY);
}

static void on_retry(struct timer *t)
{
    struct health *h = container_of(t, struct health, retry);
    map_each (e, &h->ports)
        if (!((struct health_port *)e->value)->listens)
            port_listen(e->value);
}

static void port_free(struct health_port *p)
{
    if (p->listens)
        listener_stop(&p->listener);
    mem_free(p->ns);
    mem_free(p->name);
    mem_free(p);
}

void health_put(struct health *h, struct str ns, struct str name, uint16_t port, size_t endpoints)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    struct health_port *p = map_get(&h->ports, strbuf_str(&b));
    if (p && p->port != port) {
        (void)map_del(&h->ports, strbuf_str(&b));
        port_free(p);
        p = NULL;
    }
    if (!p && !port)
        return;
    if (!p) {
        p = NEW(struct health_port);
        p->health = h;
        p->ns = str_dupz(ns);
        p->name = str_dupz(name);
        p->port = port;
        (void)map_put(&h->ports, strbuf_str(&b), p);
        port_listen(p);
    }
    p->endpoints = endpoints;
}

void health_rules(struct health *h, bool taken)
{
    h->taken = taken;
}

struct health *health_new(struct loop *l)
{
    struct health *h = NEW(struct health);
    h->loop = l;
    list_init(&h->connections);
    timer_init(&h->retry, l, on_retry);
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    timer_stop(&h->retry);
    list_each (c, &h->connections, struct health_connection, node)
        connection_free(c);
    map_each (e, &h->ports)
        port_free(e->value);
    map_fini(&h->ports);
    mem_free(h);
}
