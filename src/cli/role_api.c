#include "base/log.h"
#include "cli/controllers.h"
#include "cli/role.h"
#include "server/server.h"
#include <signal.h>

/* The server role: the API server on the first loop, controllers and scheduler on a second one. */
struct api_role {
    struct loop *loop;
    struct server *server;
    struct controllers *controllers; /* NULL until the server is ready */
    struct controllers_options options;
    bool failed, ending;
    struct signal_source on_term;
};

static void server_drained(void *arg)
{
    struct api_role *r = arg;
    loop_stop(r->loop);
}

/* The second time at once. */
static void on_term(struct signal_source *s, int signo)
{
    (void)signo;
    struct api_role *r = container_of(s, struct api_role, on_term);
    if (r->ending)
        loop_stop(r->loop);
    else
        server_drain(r->server, server_drained, r);
    r->ending = true;
}

/* Everything that a fresh cluster holds is there: controllers may begin. */
static void on_ready(void *arg)
{
    struct api_role *r = arg;
    struct err err = ERR;
    r->controllers = controllers_start(r->server, &r->options, &err);
    if (r->controllers) {
        role_ready();
        return;
    }
    log_error("control.start", "error=\"%s\"", err.text);
    r->failed = true;
    loop_stop(r->loop);
}

static bool api_start(struct api_role *role, struct role_start *r, struct err *err)
{
    struct settings *s = &r->settings;
    struct arena *a = &s->arena;
    int fds[2] = {role_socket(r, "api"), role_socket(r, "api-pods")};
    const struct server_peer peers[] = {
        {0, arena_fmt(a, "system:node:" STR_FMT, STR_ARG(s->node_name)).p, "system:nodes"},
        {ROLE_UID_DNS, "system:wherry-dns", NULL},
        {ROLE_UID_EDGE, "system:wherry-edge", NULL},
        {ROLE_UID_RELAY, "system:wherry-relay", NULL},
    };
    struct server_options o = {
        .root = arena_strz(a, s->root),
        .listen = arena_strz(a, s->listen),
        .listen_fds = fds,
        .nlisten_fds = fds[0] < 0   ? 0
                       : fds[1] < 0 ? 1
                                    : 2,
        .advertise = arena_fmt(a, IP4_FMT, IP4_ARG(s->node_pods.ip + 1)).p,
        .service_cidr = arena_strz(a, s->service_cidr),
        .domain = arena_strz(a, s->domain),
        .local_volumes = str_find(s->roles, S("node")) >= 0,
        .front_door = str_find(s->roles, S("edge")) >= 0,
        .definitions = arena_strz(a, s->definitions),
        .history_ns = s->compaction_seconds * NS_PER_S,
        .events_ns = s->event_seconds * NS_PER_S,
        .objects_most = (size_t)s->max_objects,
        .stored_bytes_most = (size_t)s->max_stored_mib << 20,
        .unix_fd = role_socket(r, "api-unix"),
        .peers = arena_dup(a, peers, sizeof peers),
        .npeers = countof(peers),
        .ready = on_ready,
        .arg = role,
    };
    role->options.certificates = str_eqz(s->certificates, "on");
    role->options.hpa_period_ns = s->hpa_sync_period * NS_PER_S;
    role->server = server_start(role->loop, &o, err);
    return role->server != NULL;
}

int role_server(struct role_start *r)
{
    struct api_role role = {0};
    struct err err = ERR;
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    role.loop = loop;
    if (!loop || !api_start(&role, r, &err) || !signal_start(&role.on_term, loop, SIGTERM, on_term, &err)) {
        log_error("server.start", "error=\"%s\"", err.text);
        server_stop(role.server);
        return 1;
    }
    loop_run(loop);
    controllers_stop(role.controllers);
    server_close_store(role.server);
    if (role.failed)
        _exit(1);
    role_end();
}
