#include "base/log.h"
#include "cli/role.h"
#include "cli/supervisor.h"
#include "node/relay.h"
#include <signal.h>
#include <unistd.h>

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

/* What a kubelet's configuration would say of this node. */
static const char *configz_text(struct arena *a, const struct settings *s)
{
    return arena_fmt(a,
                     "{\"kubeletconfig\":{\"enableServer\":true,\"address\":\"0.0.0.0\",\"port\":%lld,"
                     "\"authentication\":{\"x509\":{\"clientCAFile\":\"" STR_FMT
                     "/etc/wherry/keys/ca.crt\"},\"webhook\":{\"enabled\":true,\"cacheTTL\":\"2m0s\"},"
                     "\"anonymous\":{\"enabled\":false}},"
                     "\"authorization\":{\"mode\":\"Webhook\",\"webhook\":{\"cacheAuthorizedTTL\":\"5m0s\","
                     "\"cacheUnauthorizedTTL\":\"30s\"}},\"clusterDomain\":\"" STR_FMT "\",\"clusterDNS\":[\"" STR_FMT
                     "\"],\"cgroupDriver\":\"cgroupfs\",\"maxPods\":%lld,\"podCIDR\":\"" STR_FMT
                     "\",\"enableDebuggingHandlers\":true,\"enableProfilingHandler\":false,"
                     "\"enableDebugFlagsHandler\":false,\"enableSystemLogHandler\":true}}",
                     (long long)s->relay_port, STR_ARG(s->root), STR_ARG(s->domain), STR_ARG(s->dns_ip),
                     (long long)s->max_pods, STR_ARG(s->node_pod_cidr))
        .p;
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
    struct arena *a = &r->settings.arena;
    struct relay_config c = {.loop = loop,
                             .own_listen_fd = fd,
                             .own_door_fd = role_socket(r, "relay-tls"),
                             .door_port = getuid() == ROLE_UID_RELAY ? (int)r->settings.relay_port : 0,
                             .api = arena_fmt(a, "unix:" STR_FMT "/server.sock", STR_ARG(r->settings.run)).p,
                             .node_name = arena_strz(a, r->settings.node_name),
                             .configz = configz_text(a, &r->settings),
                             .server_uid = ROLE_UID_SERVER,
                             .node_socket = node.p};
    if (supervisor_wants(&r->settings, "edge"))
        c.edge_socket = arena_fmt(&r->settings.arena, "unix:" STR_FMT "/edge.sock", STR_ARG(r->settings.run)).p;
    role.relay = relay_new(&c);
    role_ready();
    loop_run(loop);
    role_end();
}
