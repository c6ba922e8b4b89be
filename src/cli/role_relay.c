#include "base/log.h"
#include "cli/role.h"
#include "cli/supervisor.h"
#include "node/relay.h"
#include <signal.h>

struct relay_role {
    struct loop *loop;
    struct signal_source on_term;
    struct relay *relay;
};

static void on_term(struct signal_source *s, int signo)
{
    (void)signo;
    loop_stop(container_of(s, struct relay_role, on_term)->loop);
}

int role_relay(struct role_start *r)
{
    struct relay_role role = {0};
    struct err err = ERR;
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    int fd = role_socket(r, "relay-unix");
    struct str node = arena_fmt(&r->settings.arena, STR_FMT "/node.sock", STR_ARG(r->settings.run));
    role.loop = loop;
    if (loop && fd < 0)
        (void)err_set(&err, E_INVALID, "was started without its socket: the supervisor starts it");
    if (!loop || fd < 0 || !signal_start(&role.on_term, loop, SIGTERM, on_term, &err)) {
        log_error("relay.start", "error=\"%s\"", err.text);
        return 1;
    }
    struct relay_config c = {.loop = loop, .own_listen_fd = fd, .server_uid = ROLE_UID_SERVER, .node_socket = node.p};
    if (supervisor_wants(&r->settings, "edge"))
        c.edge_socket = arena_fmt(&r->settings.arena, "unix:" STR_FMT "/edge.sock", STR_ARG(r->settings.run)).p;
    role.relay = relay_new(&c);
    role_ready();
    loop_run(loop);
    role_end();
}
