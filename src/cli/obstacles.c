#include "cli/obstacles.h"
#include "net/preflight.h"
#include <dirent.h>

#define DNS_PORT 53

static bool roles_live(const struct settings *s)
{
    char path[4096];
    bool any = false;
    (void)snprintf(path, sizeof path, STR_FMT "/roles", STR_ARG(s->run));
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        any |= e->d_name[0] != '.';
    if (d)
        (void)closedir(d);
    return any;
}

static size_t ports_of(const struct settings *s, struct preflight_port ports[4])
{
    ptrdiff_t colon = str_rfind_char(s->listen, ':');
    uint64_t port;
    size_t n = 0;
    if (colon > 0 && str_to_u64(str_sub(s->listen, (size_t)colon + 1, s->listen.n), UINT16_MAX, &port) && port) {
        ports[n] = (struct preflight_port){.port = (uint16_t)port, .what = "the API server"};
        if (ip4_parse(str_sub(s->listen, 0, (size_t)colon), &ports[n].ip))
            n++;
    }
    uint32_t node = s->node_pods.ip + 1;
    ports[n++] = (struct preflight_port){.ip = node, .port = DNS_PORT, .what = "cluster DNS"};
    ports[n++] = (struct preflight_port){.udp = true, .ip = node, .port = DNS_PORT, .what = "cluster DNS"};
    return n;
}

bool obstacles_check(const struct settings *s)
{
    struct preflight_port ports[4];
    struct preflight found;
    struct err err = ERR;
    /* adopting: rules and links that an ended `wherry up` left are taken over */
    struct preflight_config c = {.net = {s->instance, s->pods, s->node_pods, s->services}, .adopting = true};
    c.ports = ports;
    c.nports = roles_live(s) ? 0 : ports_of(s, ports);
    if (!preflight_run(&c, &found, &err)) {
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
