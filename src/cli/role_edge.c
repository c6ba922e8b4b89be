/* The edge role: the front door of this machine (edge/edge.h). It reads the API over the unix socket as
 * system:wherry-edge, and starts programs: HAProxy, which goes on without it, and the helper for ACME. */
#include "base/log.h"
#include "cli/role.h"
#include "client/http.h"
#include "edge/edge.h"
#include "sys/loop.h"
#include <signal.h>

struct edge_role {
    struct loop *loop;
    struct signal_source on_term;
};

static void on_term(struct signal_source *s, int signo UNUSED)
{
    loop_stop(container_of(s, struct edge_role, on_term)->loop);
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
    struct edge_config config = {
        .transport = transport,
        .node = s->node_name,
        .domain = s->domain,
        .run = run,
        .job = program_beside(a, "wherry-job"),
        .acme = str_eqz(s->certificates, "on"),
        .acme_hook = s->acme_dns_hook,
        .acme_check = str_eqz(s->acme_dns_check, "on"),
        .door = {.run = edge_proxy_folder(a, s), .haproxy = S("/usr/sbin/haproxy"), .old_most_ns = 3600 * NS_PER_S}};
    if (!transport || !edge_new(loop, &config, edge_ready, NULL, &err)) {
        log_error("edge.start", "error=\"%s\"", err.text);
        return 1;
    }
    loop_run(loop);
    role_end();
}
