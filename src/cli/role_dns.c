#include "base/log.h"
#include "cli/role.h"
#include "client/http.h"
#include "net/dns_feed.h"
#include "net/dns_server.h"
#include "sys/file.h"
#include "sys/inotify.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>

#define AGAIN  (NS_PER_S)
#define SETTLE (100 * NS_PER_MS) /* whoever writes resolv.conf may do it in several steps */

/* Where this machine says which resolvers it has; the second is what stands behind a stub of systemd-resolved. */
static const char *const resolv_confs[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};

/* The dns role. Its address is told to the cluster by an EndpointSlice of the Service kube-system/kube-dns. */
struct dns_role {
    struct loop *loop;
    struct settings *settings;
    struct transport *transport;
    struct dns_zone zone;
    struct dns_server *server;
    struct dns_feed *feed;
    struct signal_source on_term;
    struct call call;
    struct timer again;
    bool made;
    struct inotify changes; /* of resolv_confs */
    struct timer settle;
    struct dns_upstreams upstreams;
};

static void on_term(struct signal_source *s, int signo)
{
    (void)signo;
    loop_stop(container_of(s, struct dns_role, on_term)->loop);
}

static struct val port_val(struct arena *a, const char *name, const char *protocol)
{
    struct val p = val_map();
    val_set_text(a, &p, N(name), str_of(name));
    val_set_num(a, &p, N(port), 53);
    val_set_text(a, &p, N(protocol), str_of(protocol));
    return p;
}

/* The same on every start: made where missing, else put right. */
static void service_publish(struct timer *t)
{
    struct dns_role *r = container_of(t, struct dns_role, again);
    struct settings *s = r->settings;
    struct arena a = ARENA;
    struct val body = val_map(), addresses = val_list(), endpoints = val_list(), e = val_map(), ports = val_list();
    struct str name = arena_fmt(&a, "kube-dns-" STR_FMT, STR_ARG(s->node_name));
    val_set_text(&a, &body, N(apiVersion), S("discovery.k8s.io/v1"));
    val_set_text(&a, &body, N(kind), S("EndpointSlice"));
    struct val *meta = val_need_map(&a, &body, N(metadata)), *labels;
    val_set_text(&a, meta, N(name), name);
    val_set_text(&a, meta, N(namespace), S("kube-system"));
    labels = val_need_map(&a, meta, N(labels));
    val_set_str(&a, labels, S("kubernetes.io/service-name"), val_str_borrowed(S("kube-dns")));
    val_set_str(&a, labels, S("endpointslice.kubernetes.io/managed-by"), val_str_borrowed(S("wherry.dev")));
    val_set_text(&a, &body, N(addressType), S("IPv4"));
    val_add(&a, &addresses, val_str(&a, arena_fmt(&a, IP4_FMT, IP4_ARG(s->node_pods.ip + 1))));
    val_set(&a, &e, N(addresses), addresses);
    val_set_bool(&a, val_need_map(&a, &e, N(conditions)), N(ready), true);
    val_set_text(&a, &e, N(nodeName), s->node_name);
    val_add(&a, &endpoints, e);
    val_set(&a, &body, N(endpoints), endpoints);
    val_add(&a, &ports, port_val(&a, "dns", "UDP"));
    val_add(&a, &ports, port_val(&a, "dns-tcp", "TCP"));
    val_set(&a, &body, N(ports), ports);
    struct call_options o = CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(EndpointSlice), .ns = S("kube-system"),
                                         .body = &body);
    if (r->made) {
        o.verb = CALL_PATCH;
        o.patch = PATCH_MERGE;
        o.name = name;
    }
    call_start(&r->call, r->transport, &o);
    arena_fini(&a);
}

static void service_published(struct call *c)
{
    struct dns_role *r = container_of(c, struct dns_role, call);
    if (c->ok)
        return;
    bool there = c->err.kind == E_ALREADY_EXISTS && !r->made;
    if (!there)
        log_warn("dns.publish", "retry_s=1 error=\"%s\"", c->err.text);
    r->made = there;
    timer_set(&r->again, there ? 0 : AGAIN);
}

static void feed_heard(void *arg)
{
    struct dns_role *r = arg;
    timer_set(&r->again, 0);
    role_ready();
}

static struct str text_of(struct arena *a, const char *path)
{
    struct err err = ERR; /* a machine without one has no servers to forward to: SERVFAIL for other names */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    if (file_read(AT_FDCWD, path, &b, &err))
        return str_dup(a, strbuf_str(&b));
    if (err.sys != ENOENT)
        log_warn("dns.upstreams", "names outside the cluster may not be found error=\"%s\"", err.text);
    return S("");
}

static void upstreams_read(struct dns_role *r)
{
    const struct settings *s = r->settings;
    struct arena a = ARENA;
    uint32_t own[2] = {s->node_pods.ip + 1, s->services.ip + 10};
    r->upstreams = (struct dns_upstreams){0};
    dns_upstreams_parse(text_of(&a, resolv_confs[0]), text_of(&a, resolv_confs[1]), own, countof(own), 53,
                        &r->upstreams);
    arena_fini(&a);
}

static void change_watch(struct dns_role *r, const char *path, uint32_t mask)
{
    struct err err = ERR;
    if (inotify_add(&r->changes, path, mask, &err) < 0 && err.sys != ENOENT && err.sys != ENOTDIR)
        log_warn("dns.upstreams", "changes of %s will not be noticed error=\"%s\"", path, err.text);
}

/* The file may be written in place, replaced in its folder, or be a link to one that is: so the file that is there
 * now is watched, and its folder. */
static void upstreams_watch(struct dns_role *r)
{
    for (size_t i = 0; i < countof(resolv_confs); i++) {
        char folder[64];
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(resolv_confs[i], '/') - resolv_confs[i]),
                       resolv_confs[i]);
        change_watch(r, resolv_confs[i], IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF);
        change_watch(r, folder, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE);
    }
}

static void upstreams_changed(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    struct dns_role *r = container_of(i, struct dns_role, changes);
    (void)watch;
    if (!(mask & IN_IGNORED) && (name.n == 0 || str_eq(name, S("resolv.conf"))))
        timer_set(&r->settle, SETTLE);
}

static void upstreams_settled(struct timer *t)
{
    struct dns_role *r = container_of(t, struct dns_role, settle);
    struct dns_upstreams old = r->upstreams;
    upstreams_watch(r); /* before it is read: nothing is missed in between */
    upstreams_read(r);
    if (memcmp(&old, &r->upstreams, sizeof old) == 0)
        return;
    log_info("dns.upstreams", "the host's resolv.conf changed servers=%zu", r->upstreams.n);
    dns_server_upstreams(r->server, &r->upstreams);
}

int role_dns(struct role_start *start)
{
    struct settings *s = &start->settings;
    struct dns_role r = {.settings = s};
    struct err err = ERR;
    struct dns_server_config c = {
        .udp_fd = role_socket(start, "dns-udp"), .tcp_fd = role_socket(start, "dns-tcp"), .zone = &r.zone};
    struct str server = arena_fmt(&s->arena, "unix:" STR_FMT "/server.sock", STR_ARG(s->run));
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    r.loop = loop;
    bool ok = loop && dns_zone_init(&r.zone, s->domain, s->pods, s->services, s->services.ip + 10, &err) &&
              signal_start(&r.on_term, loop, SIGTERM, on_term, &err);
    AUTO(transport_free)
    struct transport *transport = ok ? http_transport_new(loop, &(struct http_transport_config){.server = server},
                                                          &err)
                                     : NULL;
    if (!transport) {
        log_error("dns.start", "error=\"%s\"", err.text);
        return 1;
    }
    r.transport = transport;
    r.call.done = service_published;
    timer_init(&r.again, loop, service_publish);
    timer_init(&r.settle, loop, upstreams_settled);
    if (inotify_start(&r.changes, loop, upstreams_changed, &err))
        upstreams_watch(&r);
    else
        log_warn("dns.upstreams", "changes of resolv.conf will not be noticed error=\"%s\"", err.text);
    upstreams_read(&r);
    c.upstreams = r.upstreams;
    r.server = dns_server_new(loop, &c);
    r.feed = dns_feed_new(transport, &r.zone, feed_heard, &r);
    loop_run(loop);
    role_end();
}
