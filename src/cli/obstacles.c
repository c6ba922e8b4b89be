#include "cli/obstacles.h"
#include "cli/supervisor.h"
#include "net/preflight.h"

#define DNS_PORT 53

/* Of what is to be started: a role that lives holds its ports itself. */
static size_t ports_of(const struct settings *s, struct preflight_port ports[4])
{
    uint32_t node = s->node_pods.ip + 1;
    uint64_t port;
    size_t n = 0;
    if (supervisor_wants(s, "server") && !supervisor_role_lives(s, "server")) {
        ptrdiff_t colon = str_rfind_char(s->listen, ':');
        bool is = str_to_u64(str_sub(s->listen, (size_t)colon + 1, s->listen.n), UINT16_MAX, &port) && port &&
                  ip4_parse(str_sub(s->listen, 0, (size_t)colon), &ports[0].ip);
        if (is) {
            ports[n].port = (uint16_t)port;
            ports[n].udp = ports[n].later = false;
            ports[n++].what = "the API server (setting listen)";
        }
    }
    if (supervisor_wants(s, "dns") && !supervisor_role_lives(s, "dns")) {
        ports[n++] = (struct preflight_port){.later = true, .ip = node, .port = DNS_PORT, .what = "cluster DNS"};
        ports[n++] = (struct preflight_port){
            .udp = true, .later = true, .ip = node, .port = DNS_PORT, .what = "cluster DNS"};
    }
    return n;
}

bool obstacles_check(const struct settings *s, bool node)
{
    struct preflight_port ports[4];
    struct preflight found = {0};
    struct err err = ERR;
    /* adopting: rules and links that an ended `wherry up` left are taken over */
    struct preflight_config c = {.net = {s->instance, s->pods, s->node_pods, s->services, 0}, .adopting = true};
    c.ports = ports;
    c.nports = ports_of(s, ports);
    if (!node)
        preflight_ports(&c, &found);
    else if (!preflight_run(&c, &found, &err)) {
        fprintf(stderr, "wherry up: cannot look at the network: %s\n", err.text);
        return false;
    }
    bool ok = true;
    array_each (f, &found.found) {
        fprintf(stderr, "wherry up: %s%s\n", f->fatal ? "" : "warning: ", f->text);
        ok &= !f->fatal;
    }
    array_fini(&found.found);
    return ok;
}
