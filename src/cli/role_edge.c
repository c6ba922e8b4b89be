/* The edge role: the front door of this machine (edge/edge.h). It reads the API over the unix socket as
 * system:wherry-edge, and starts programs: HAProxy, which goes on without it, and the helper for ACME. */
#include "base/log.h"
#include "cli/role.h"
#include "client/http.h"
#include "edge/edge.h"
#include "sys/stream.h"
#include <signal.h>
#include <unistd.h>

struct edge_role {
    struct loop *loop;
    struct edge *edge;
    struct listener asked;
    struct signal_source on_term;
};

static void on_term(struct signal_source *s, int signo UNUSED)
{
    loop_stop(container_of(s, struct edge_role, on_term)->loop);
}

/* Who connects gets the counters, and the end. */
static void counters_asked(struct listener *l, int own_fd, const struct addr *peer UNUSED)
{
    struct edge_role *r = container_of(l, struct edge_role, asked);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(32 << 20);
    static const struct stream_fns none = {0}; /* what it says does not matter */
    struct peer_cred who;
    struct err ignored = ERR; /* one that has gone gets nothing */
    if (!socket_peer_cred(own_fd, &who, &ignored) ||
        (who.uid != 0 && who.uid != ROLE_UID_RELAY && who.uid != getuid())) {
        fd_close(own_fd);
        return;
    }
    door_metrics(r->edge->door, &text);
    struct stream *s = stream_new(r->loop, own_fd, NULL, &none, NULL);
    stream_write(s, strbuf_str(&text));
    stream_close(s);
}

static void edge_ready(void *arg UNUSED)
{
    role_ready();
}

struct str edge_proxy_folder(struct arena *a, const struct settings *s)
{
    return arena_fmt(a, STR_FMT "/edge/haproxy", STR_ARG(s->run));
}

int role_edge(struct role_start *start)
{
    struct settings *s = &start->settings;
    struct arena *a = &s->arena;
    struct edge_role r = {0};
    struct err err = ERR;
    struct str server = arena_fmt(a, "unix:" STR_FMT "/server.sock", STR_ARG(s->run)),
               run = arena_fmt(a, STR_FMT "/edge", STR_ARG(s->run));
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    r.loop = loop;
    AUTO(transport_free)
    struct transport *transport = loop && signal_start(&r.on_term, loop, SIGTERM, on_term, &err)
                                      ? http_transport_new(loop, &(struct http_transport_config){.server = server},
                                                           &err)
                                      : NULL;
    struct edge_config config = {.transport = transport,
                                 .node = s->node_name,
                                 .domain = s->domain,
                                 .run = run,
                                 .job = program_beside(a, "wherry-job"),
                                 .acme = str_eqz(s->certificates, "on"),
                                 .acme_hook = s->acme_dns_hook,
                                 .acme_check = str_eqz(s->acme_dns_check, "on"),
                                 .door = {.run = edge_proxy_folder(a, s),
                                          .haproxy = S("/usr/sbin/haproxy"),
                                          .old_most_ns = 3600 * NS_PER_S,
                                          .agent_run = run,
                                          .own_agent_socket = role_socket(start, "edge-agent")}};
    config.door.access_log = str_eqz(s->edge_access_log, "on");
    config.door.accept_proxy = str_eqz(s->edge_proxy_protocol, "on");
    uint64_t hops = 0;
    config.door.trusted = str_to_u64(s->edge_trusted_hops, 16, &hops) ? (uint32_t)hops
                                                                      : 0; /* settings.c has read it */
    config.door.counters = str_eqz(s->edge_metrics, "on");
    r.edge = transport ? edge_new(loop, &config, edge_ready, NULL, &err) : NULL;
    if (!r.edge) {
        log_error("edge.start", "error=\"%s\"", err.text);
        return 1;
    }
    int asked = role_socket(start, "edge-unix");
    if (asked >= 0)
        listener_start(&r.asked, loop, asked, counters_asked);
    loop_run(loop);
    role_end();
}
