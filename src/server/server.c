#include "server/server.h"
#include "api/formats.h"
#include "base/log.h"
#include "cel/policy.h"
#include "server/aggregate.h"
#include "server/alloc.h"
#include "server/boot.h"
#include "server/conversion.h"
#include "server/crds.h"
#include "server/expiry.h"
#include "server/fresh.h"
#include "server/front.h"
#include "server/front_watch.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/measured.h"
#include "server/metrics.h"
#include "server/pki.h"
#include "server/policies.h"
#include "server/quota.h"
#include "server/rbac_int.h"
#include "server/remotes.h"
#include "server/room.h"
#include "server/scan.h"
#include "server/sites.h"
#include "server/trust.h"
#include "server/watch.h"
#include "server/webhook.h"
#include "server/write.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/stat.h>

#define HOUSEKEEPING (60 * NS_PER_S)
#define DRAIN_MOST   (2 * NS_PER_S)
#define API_AGAIN    NS_PER_S /* after somebody has deleted what leads to the API */

/* --- what every commit brings --- */

static void state_publish(struct server *s)
{
    struct published now = {store_snapshot(s->store), pmap_snapshot(&s->fields)};
    pthread_mutex_lock(&s->published_lock);
    struct published old = s->published;
    s->published = now;
    pthread_mutex_unlock(&s->published_lock);
    published_fini(&old);
    fresh_published(s);
}

static void events_committed(struct store_subscriber *sub, const struct store_event *events, size_t n)
{
    struct server *s = container_of(sub, struct server, subscriber);
    bool api_gone = false;
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        struct obj *was = object_of(e->was), *now = object_of(e->now);
        if (now && !now->rev)
            obj_set_rev(now, e->now->mod_rev); /* nobody has seen it before this */
        const struct kind *k = (now ? now : was)->kind;
        api_gone |= !now && boot_is_the_api(was);
        rbac_changed(s->rbac, was, now);
        webhooks_changed(s->webhooks, was, now);
        policies_changed(s->policies, was, now);
        quotas_changed(s->quotas, store_event_key(e), was, now);
        aggregates_changed(s->aggregates, was, now);
        trust_changed(s->trust, now ? now : was);
        if (k == K(Service))
            alloc_changed(s->alloc, was, now);
        if (k == K(Event))
            expiry_changed(s->expiry, e->was, e->now);
        if (k == K(CustomResourceDefinition))
            crds_changed(s->crds, was, now);
        fields_changed(&s->fields, e->was, e->now);
        room_changed(s->room, was, now);
        if (was)
            readers_retired(&s->readers, was->bytes);
    }
    state_publish(s);
    quotas_settle(s->quotas);
    if (api_gone && s->ready && !s->stopping)
        timer_set(&s->api_again, API_AGAIN);
    watches_committed(s, events, n);
    crds_publish(s->crds);
}

static bool count_service(struct obj *o, void *arg)
{
    struct server *s = arg;
    alloc_changed(s->alloc, NULL, o);
    return true;
}

/* --- addresses --- */

struct addresses {
    struct arena *a;
    ARRAY(struct str) ips;
};

static void add_ip(struct addresses *x, struct str ip)
{
    if (!ip.n || !is_ip(ip) || str_eq(ip, S("0.0.0.0")) || str_eq(ip, S("::")))
        return;
    array_each (it, &x->ips)
        if (str_eq(*it, ip))
            return;
    ip = str_dup(x->a, ip);
    array_push(&x->ips, ip);
}

/* Those of the machine; link-local ones of IPv6 are nobody's name. */
static void add_machine(struct addresses *x, struct str *first)
{
    struct ifaddrs *all, *i;
    if (getifaddrs(&all) < 0)
        return;
    for (i = all; i; i = i->ifa_next) {
        char text[NI_MAXHOST];
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        socklen_t n = i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if (getnameinfo(i->ifa_addr, n, text, sizeof text, NULL, 0, NI_NUMERICHOST) || strchr(text, '%'))
            continue;
        add_ip(x, str_of(text));
        if (!first->n && i->ifa_addr->sa_family == AF_INET && strncmp(text, "127.", 4))
            *first = str_dup(x->a, str_of(text));
    }
    freeifaddrs(all);
}

static struct str nth_ip(struct arena *a, const char *cidr, unsigned n)
{
    uint8_t ip[16];
    int bits;
    bool v4;
    if (!cidr_parse(str_of(cidr), ip, &bits, &v4))
        return S("");
    uint32_t v = (uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15];
    v = (v & ~(((uint32_t)1 << (32 - bits)) - 1)) + n;
    return arena_fmt(a, "%u.%u.%u.%u", v >> 24, v >> 16 & 255, v >> 8 & 255, v & 255);
}

static struct str host_of(struct str address)
{
    ptrdiff_t colon = str_rfind_char(address, ':');
    struct str host = str_sub(address, 0, colon < 0 ? address.n : (size_t)colon);
    if (host.n > 1 && host.p[0] == '[')
        host = str_sub(host, 1, host.n - 1);
    return host;
}

/* --- leaf certificates --- */

bool server_node_leaf(struct server *s, struct strbuf *cert, struct strbuf *key, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct addresses x = {.a = &a};
    struct str first = STR_NONE, node = STR_NONE;
    for (size_t i = 0; i < s->options.npeers; i++)
        if (str_eqz(S("system:nodes"), s->options.peers[i].group ? s->options.peers[i].group : ""))
            node = str_of(s->options.peers[i].user);
    add_ip(&x, S("127.0.0.1"));
    add_ip(&x, S("::1"));
    add_machine(&x, &first);
    struct str dns[] = {str_sub(node, sizeof "system:node:" - 1, node.n), S("localhost")};
    struct leaf_names leaf = {.dns = dns, .ndns = countof(dns), .ips = x.ips.p, .nips = x.ips.n};
    bool ok = node.n ? keys_node(s->keys, node, &leaf, cert, key, err)
                     : err_set(err, E_NOT_FOUND, "no node belongs to this server");
    array_fini(&x.ips);
    return ok;
}

static bool load_tls(struct server *s, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf cert = STRBUF(STRBUF_TEXT), key = STRBUF(STRBUF_TEXT);
    struct addresses x = {.a = &a};
    struct str first = STR_NONE, listen, rest = str_of(s->options.listen);
    add_ip(&x, S("127.0.0.1"));
    add_ip(&x, S("::1"));
    add_ip(&x, nth_ip(&a, s->options.service_cidr, 1));
    add_ip(&x, str_of(s->options.advertise));
    while (str_cut(&rest, ',', &listen))
        add_ip(&x, host_of(listen));
    add_machine(&x, &first);
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    struct str dns[] = {S("kubernetes"),
                        S("kubernetes.default"),
                        S("kubernetes.default.svc"),
                        arena_fmt(&a, "kubernetes.default.svc.%s", s->options.domain),
                        S("localhost"),
                        str_of(host)};
    struct leaf_names names_of = {.dns = dns, .ndns = countof(dns), .ips = x.ips.p, .nips = x.ips.n};
    bool ok = keys_serving(s->keys, &names_of, &cert, &key, err);
    array_fini(&x.ips);
    if (!ok)
        return false;
    static const char *const alpn[] = {"h2", "http/1.1", NULL}; /* as `spoken` in listen_all */
    struct tls_server_config c = {
        .cert = strbuf_str(&cert), .key = strbuf_str(&key), .client_ca = s->keys->ca_pem, .alpn = alpn};
    if (s->tls)
        ok = tls_server_reload(s->tls, &c, err);
    else
        ok = (s->tls = tls_server_new(&c, err)) != NULL;
    mem_wipe(key.p, key.n);
    return ok;
}

static bool write_kubeconfigs(struct server *s, struct err *err)
{
    char host[256] = "localhost", url[300];
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p | 32);
    struct str listen = host_of(str_of(s->options.listen));
    bool any = !listen.n || str_eq(listen, S("0.0.0.0")) || str_eq(listen, S("::"));
    snprintf(url, sizeof url, "https://" STR_FMT ":%d", STR_ARG(any ? S("127.0.0.1") : listen), s->port);
    return keys_kubeconfigs(s->keys, url, host, err);
}

/* At a start. What was written by an earlier one is still right (its certificates come from the same CA), and a full
 * disk is no reason not to answer. */
static bool renew_kubeconfigs(struct server *s, struct err *err)
{
    struct err why = ERR;
    if (write_kubeconfigs(s, &why))
        return true;
    if (why.sys != ENOSPC && why.sys != EDQUOT && why.sys != EROFS && why.sys != EIO) {
        *err = why;
        return false;
    }
    log_warn("kubeconfigs.kept", "those of an earlier start stay error=\"%s\"", why.text);
    return true;
}

static void server_housekeeping(struct timer *t)
{
    struct server *s = container_of(t, struct server, housekeeping);
    if (keys_stale(s->keys)) {
        struct err err = ERR;
        if (load_tls(s, &err) && keys_front_proxy(s->keys, &err) && write_kubeconfigs(s, &err)) {
            aggregates_renew(s->aggregates);
            log_info("certificates.renewed", "port=%d", s->port);
        } else {
            log_error("certificates.renew", "err=\"%s\"", err.text);
        }
    }
    timer_set(t, HOUSEKEEPING);
}

static void writes_left(struct soon *s)
{
    writes_cancel(container_of(s, struct server, leaving));
}

/* --- starting --- */

static const char *or_else(struct server *s, const char *text, const char *otherwise)
{
    return arena_strz(&s->arena, str_of(text && *text ? text : otherwise));
}

static void disk_changed(void *arg UNUSED, const struct err *err)
{
    if (err)
        log_error("store.failing", "error=\"%s\"", err->text);
    else
        log_info("store.works", "again=true");
}

static bool open_store(struct server *s, struct err *err)
{
    const char *dir = arena_fmt(&s->arena, "%s/var/lib/wherry/server", s->options.root).p;
    const char *path = arena_fmt(&s->arena, "%s/store.db", dir).p;
    struct stat st;
    bool fresh = s->options.memory || stat(path, &st) < 0;
    s->keys = keys_open(s->options.root, fresh, err);
    if (!s->keys || (!s->options.memory && !dir_make_synced(dir, 0700, err)))
        return false;
    static const struct str sealed[] = {S_INIT("secrets/")};
    struct store_options o = {.path = s->options.memory ? NULL : path,
                              .type = &object_store_type,
                              .seal_keys = s->keys->seal,
                              .nseal_keys = s->keys->nseal,
                              .sealed = sealed,
                              .nsealed = countof(sealed),
                              .load_arg = &s->kinds,
                              .known = kinds_known,
                              .disk = disk_changed,
                              .keep_ns = s->options.history_ns,
                              .history_changes = s->options.memory ? 0 : LIMIT_HISTORY_CHANGES,
                              .history_bytes = s->options.memory ? 0 : LIMIT_HISTORY_BYTES};
    s->store_options = o;
    s->store = store_open(s->loop, &o, err);
    if (!s->store)
        return false;
    if (!s->options.memory)
        backup_tidy(path);
    s->subscriber.fn = events_committed;
    list_init(&s->subscriber.node);
    store_subscribe(s->store, &s->subscriber);
    fields_init(&s->fields);
    AUTO(store_snapshot_fini) struct store_snapshot all = store_snapshot(s->store);
    fields_fill(&s->fields, &all);
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, &all, S(""), STR_NONE); e; e = store_next(&it)) {
        room_changed(s->room, NULL, object_of(e));
        rbac_changed(s->rbac, NULL, object_of(e));
        webhooks_changed(s->webhooks, NULL, object_of(e));
        policies_changed(s->policies, NULL, object_of(e));
        aggregates_changed(s->aggregates, NULL, object_of(e));
    }
    state_publish(s);
    objects_each(s, K(Service), STR_NONE, count_service, s);
    quotas_open(s->quotas);
    return true;
}

static struct http_server_config http_config(struct server *s)
{
    static const struct http_session_type *const spoken[] = {&http2_session, &http1_session, NULL};
    struct http_server_config c = {.service = front_service,
                                   .tls = s->tls,
                                   .sessions = spoken,
                                   .answers_most = LIMIT_ANSWERS_BYTES,
                                   .body_most = LIMIT_BODY_BYTES,
                                   .bodies_most = LIMIT_BODIES_BYTES,
                                   .body_ns = LIMIT_BODY_SECONDS * NS_PER_S,
                                   .head_ns = LIMIT_HEAD_SECONDS * NS_PER_S,
                                   .idle_ns = LIMIT_IDLE_SECONDS * NS_PER_S,
                                   .stall_ns = LIMIT_STALL_SECONDS * NS_PER_S,
                                   .connections_most = LIMIT_CONNECTIONS,
                                   .peer_connections_most = LIMIT_CONNECTIONS_PER_ADDRESS};
    c.service.arg = s;
    static const char too_large[] =
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
        "\"message\":\"Request entity too large: limit is %d\","
        "\"reason\":\"RequestEntityTooLarge\",\"code\":413}";
    c.service.too_large = arena_fmt(&s->arena, too_large, LIMIT_BODY_BYTES);
    return c;
}

/* A connection on its way from another thread. */
struct meeting {
    struct server *server;
    int fd;
};

static void meeting_begin(void *arg)
{
    struct meeting *m = arg;
    struct server *s = m->server;
    if (!s->inside) {
        struct http_server_config c = http_config(s);
        c.tls = NULL;
        c.sessions = NULL;
        s->inside = http_server_new(s->loop, &c);
    }
    http_server_accept(s->inside, m->fd);
    mem_free(m);
}

void server_meet(struct server *s, int own_fd)
{
    struct meeting *m = NEW(struct meeting);
    *m = (struct meeting){s, own_fd};
    loop_post(s->loop, meeting_begin, m);
}

static bool listen_all(struct server *s, struct err *err)
{
    struct http_server_config c = http_config(s);
    int fds[16];
    size_t n = 0;
    for (; n < s->options.nlisten_fds && n < countof(fds); n++)
        fds[n] = s->options.listen_fds[n];
    struct str rest = str_of(s->options.listen), one;
    while (!s->options.nlisten_fds && n < countof(fds) && str_cut(&rest, ',', &one)) {
        struct addr a;
        fds[n] = addr_parse(one, &a, err) ? socket_listen(&a, 0660, err) : -1;
        if (fds[n] < 0) {
            while (n)
                fd_close(fds[--n]);
            return err_wrap(err, "listen on " STR_FMT, STR_ARG(one));
        }
        n++;
    }
    struct addr a;
    if (!n || !socket_addr(fds[0], &a, err))
        return false;
    s->port = addr_port(&a);
    s->http = http_server_new(s->loop, &c);
    memcpy(s->fds, fds, n * sizeof *fds);
    s->nfds = n;
    if (s->options.unix_fd > 0) {
        c.tls = NULL;
        s->local = http_server_new(s->loop, &c);
    }
    return true;
}

void server_ca_key(const struct server *s, struct strbuf *out)
{
    key_pem(s->keys->ca, out);
}

struct str server_ca_pem(const struct server *s)
{
    return s->keys->ca_pem;
}

static void api_again(struct timer *t)
{
    struct server *s = container_of(t, struct server, api_again);
    boot_api_again(s, s->facts);
}

static void server_announce(struct timer *t)
{
    struct server *s = container_of(t, struct server, announce);
    if (s->options.ready)
        s->options.ready(s->options.arg);
}

/* Connections that came earlier have waited in the sockets' backlogs: nobody sees a cluster that is half there. The
 * sockets themselves stay open until the process ends, for a supervisor that takes them over from it. */
static void server_booted(void *arg)
{
    struct server *s = arg;
    for (size_t i = 0; i < s->nfds; i++)
        http_server_listen(s->http, fcntl(s->fds[i], F_DUPFD_CLOEXEC, 3));
    if (s->local)
        http_server_listen(s->local, fcntl(s->options.unix_fd, F_DUPFD_CLOEXEC, 3));
    s->ready = true;
    expiry_start(s->expiry);
    timer_set(&s->announce, 0); /* where all is there already, this is still inside server_start */
    log_info("server.ready", "port=%d revision=%lld", s->port, (long long)store_rev(s->store));
}

static void boot_done(struct server *s) /* on a second start that is from inside server_start */
{
    trust_start(s->trust, server_booted, s);
}

struct server *server_start(struct loop *l, const struct server_options *o, struct err *err)
{
    AUTO(server_stop) struct server *s = NEW(struct server);
    s->loop = l;
    s->options = *o;
    s->options.root = or_else(s, o->root, "");
    s->options.listen = or_else(s, o->listen, "0.0.0.0:6443");
    s->options.service_cidr = or_else(s, o->service_cidr, "10.43.0.0/16");
    s->options.domain = or_else(s, o->domain, "cluster.local");
    s->options.node_ports = or_else(s, o->node_ports, "30000-32767");
    s->options.node_socket = or_else(s, o->node_socket,
                                     arena_fmt(&s->arena, "%s/run/wherry/relay.sock", s->options.root).p);
    s->started = clock_real();
    obj_encoded_max(LIMIT_ENCODED_BYTES);
    s->options.objects_most = o->objects_most ? o->objects_most : LIMIT_OBJECTS;
    s->options.stored_bytes_most = o->stored_bytes_most ? o->stored_bytes_most : LIMIT_STORED_BYTES;
    s->webhooks = webhooks_new(s);
    s->policies = policies_new(s);
    expressions_are_checked_by(&cel_expression_checker);
    s->aggregates = aggregates_new(s);
    s->trust = trust_new(s);
    s->remotes = remotes_new(s);
    s->room = room_new(s->options.objects_most, s->options.stored_bytes_most);
    kinds_init(s);
    s->quotas = quotas_new(s);
    list_init(&s->watches);
    slow_init(&s->slow, l, LIMIT_WATCHES_BYTES);
    readers_init(&s->readers, l, LIMIT_RETIRED_BYTES);
    list_init(&s->fresh);
    list_init(&s->asked);
    pthread_mutex_init(&s->asked_lock, NULL);
    list_init(&s->waiting);
    list_init(&s->conversions);
    list_init(&s->watch_lines);
    soon_init(&s->leaving, l, writes_left);
    list_init(&s->old_waiting);
    pthread_mutex_init(&s->published_lock, NULL);
    timer_init(&s->housekeeping, l, server_housekeeping);
    timer_init(&s->announce, l, server_announce);
    timer_init(&s->api_again, l, api_again);
    s->rbac = rbac_new();
    s->crds = crds_new(s);
    s->metrics = metrics_new();
    s->expiry = expiry_new(s, o->events_ns);
    s->alloc = alloc_new(s->options.service_cidr, s->options.node_ports, err);
    if (!s->alloc || !open_store(s, err) || !load_tls(s, err) || !listen_all(s, err) || !renew_kubeconfigs(s, err))
        return NULL;
    AUTO(arena_fini) struct arena a = ARENA;
    struct addresses x = {.a = &a};
    struct str address = str_of(s->options.advertise), first = STR_NONE;
    if (!address.n) {
        add_machine(&x, &first);
        array_fini(&x.ips);
        struct str listen = host_of(str_of(s->options.listen));
        address = listen.n && is_ip4(listen) && !str_starts(listen, S("127.")) && !str_eq(listen, S("0.0.0.0"))
                      ? listen
                      : first;
    }
    s->facts = ARENA_NEW(&s->arena, struct boot_facts);
    *s->facts = (struct boot_facts){.service_ip = nth_ip(&s->arena, s->options.service_cidr, 1),
                                    .dns_ip = nth_ip(&s->arena, s->options.service_cidr, 10),
                                    .service_cidr = str_of(s->options.service_cidr),
                                    .address = str_dup(&s->arena, address.n ? address : S("192.0.2.1")),
                                    .port = s->port,
                                    .local_volumes = s->options.local_volumes,
                                    .front_door = s->options.front_door,
                                    .definitions = str_of(s->options.definitions)};
    boot_start(s, s->facts, boot_done);
    timer_set(&s->housekeeping, HOUSEKEEPING);
    return TAKE(s);
}

/* --- ending --- */

static void drain_over(struct server *s)
{
    timer_stop(&s->drain_limit);
    void (*done)(void *arg) = TAKE(s->drained);
    if (done)
        done(s->drained_arg);
}

static void drain_late(struct timer *t)
{
    drain_over(container_of(t, struct server, drain_limit));
}

static void one_drained(struct http_server *h UNUSED, void *arg)
{
    struct server *s = arg;
    if (--s->draining == 0)
        drain_over(s);
}

void server_drain(struct server *s, void (*done)(void *arg), void *arg)
{
    s->drained = done;
    s->drained_arg = arg;
    s->draining = s->local ? 2 : 1;
    timer_init(&s->drain_limit, s->loop, drain_late);
    timer_set(&s->drain_limit, DRAIN_MOST);
    front_watches_end(s);
    http_server_drain(s->http, one_drained, s);
    if (s->local)
        http_server_drain(s->local, one_drained, s);
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    if (s->drained)
        timer_stop(&s->drain_limit);
    s->stopping = true;
    writes_cancel(s);
    conversions_stop(s);
    watches_stop(s);
    soon_stop(&s->leaving);
    timer_stop(&s->housekeeping);
    timer_stop(&s->announce);
    timer_stop(&s->api_again);
    expiry_stop(s->expiry);
    quotas_stop(s->quotas);
    remotes_free(TAKE(s->remotes));
    aggregates_free(TAKE(s->aggregates));
    trust_free(TAKE(s->trust));
    measured_free(TAKE(s->measured));
    http_server_free(s->http);
    http_server_free(s->local);
    http_server_free(s->inside);
    slow_fini(&s->slow);
    readers_fini(&s->readers);
    while (s->nfds)
        fd_close(s->fds[--s->nfds]);
    if (s->local)
        fd_close(s->options.unix_fd);
    if (s->store) {
        store_unsubscribe(&s->subscriber);
        store_close(s->store);
    }
    interests_fini(&s->interests);
    published_fini(&s->published);
    pmap_fini(&s->fields);
    tls_server_free(s->tls);
    keys_free(s->keys);
    rbac_free(s->rbac);
    alloc_free(s->alloc);
    expiry_free(s->expiry);
    room_free(s->room);
    webhooks_free(s->webhooks);
    policies_free(s->policies);
    quotas_free(s->quotas);
    metrics_free(s->metrics);
    map_fini(&s->turns);
    map_fini(&s->watchers);
    pthread_mutex_destroy(&s->asked_lock);
    pthread_mutex_destroy(&s->published_lock);
    crds_free(s->crds);
    kinds_fini(s);
    arena_fini(&s->arena);
    mem_free(s);
}

void server_close_store(struct server *s)
{
    s->stopping = true;
    timer_stop(&s->api_again);
    writes_cancel(s);
    conversions_stop(s);
    expiry_stop(s->expiry);
    measured_free(TAKE(s->measured));
    remotes_free(TAKE(s->remotes));
    aggregates_free(TAKE(s->aggregates));
    trust_free(TAKE(s->trust));
    watches_stop(s);
    store_unsubscribe(&s->subscriber);
    store_close(TAKE(s->store));
}
