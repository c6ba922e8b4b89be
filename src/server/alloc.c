#include "server/alloc.h"
#include "api/formats.h"
#include "base/map.h"
#include "server/fail.h"
#include "server/write.h"

enum { API_IP = 1 }; /* which of the range */

struct alloc {
    uint32_t net, size; /* addresses as numbers; host order */
    int64_t port_min, port_max;
    struct map taken; /* "10.43.0.1" or "p:30080" -> a count */
    struct arena arena;
};
struct reserved {
    ARRAY(struct str) keys;
};

static uint32_t number_of(const uint8_t ip[16])
{
    return (uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15];
}

struct alloc *alloc_new(const char *service_cidr, const char *node_ports, struct err *err)
{
    uint8_t ip[16];
    int bits;
    bool v4;
    if (!cidr_parse(str_of(service_cidr), ip, &bits, &v4) || !v4 || bits > 28 || bits < 8) {
        err_set(err, E_INVALID, "service range \"%s\": must be an IPv4 range between /8 and /28, as 10.43.0.0/16",
                service_cidr);
        return NULL;
    }
    struct str lo, hi;
    int64_t min, max;
    if (!str_split(str_of(node_ports), '-', &lo, &hi) || !str_to_i64(lo, 1, 65535, &min) ||
        !str_to_i64(hi, min, 65535, &max)) {
        err_set(err, E_INVALID, "range of node ports \"%s\": must be FROM-TO, as 30000-32767", node_ports);
        return NULL;
    }
    struct alloc *a = NEW(struct alloc);
    a->size = (uint32_t)1 << (32 - bits);
    a->net = number_of(ip) & ~(a->size - 1);
    a->port_min = min;
    a->port_max = max;
    return a;
}

void alloc_free(struct alloc *a)
{
    if (!a)
        return;
    map_fini(&a->taken);
    arena_fini(&a->arena);
    mem_free(a);
}

static void key_take(struct alloc *a, struct str key)
{
    map_put(&a->taken, key, (void *)((uintptr_t)map_get(&a->taken, key) + 1));
}

static void key_give(struct alloc *a, struct str key)
{
    uintptr_t n = (uintptr_t)map_get(&a->taken, key);
    if (n > 1)
        map_put(&a->taken, key, (void *)(n - 1));
    else
        map_del(&a->taken, key);
}

/* The keys of what a Service holds. */
static void each_key(struct arena *arena, const struct val *service, void (*fn)(struct alloc *a, struct str key),
                     struct alloc *a)
{
    const struct val *spec = val_get(service, N(spec));
    val_each_item (it, val_get(spec, N(clusterIPs))) {
        if (val_text(it).n && !str_eq(val_text(it), S("None")))
            fn(a, val_text(it));
    }
    AUTO(map_fini) struct map seen = MAP; /* one port number may serve TCP and UDP of one Service */
    val_each_item (it, val_get(spec, N(ports))) {
        int64_t port = val_num_at(it, 0, N(nodePort));
        struct str key = port > 0 ? arena_fmt(arena, "p:%lld", (long long)port) : STR_NONE;
        if (key.n && !map_put(&seen, key, a))
            fn(a, key);
    }
    int64_t health = val_num_at(spec, 0, N(healthCheckNodePort));
    if (health)
        fn(a, arena_fmt(arena, "p:%lld", (long long)health));
}

void alloc_changed(struct alloc *a, const struct obj *was, const struct obj *now)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    if (was && was->kind == K(Service))
        each_key(&arena, &was->tree, key_give, a);
    if (now && now->kind == K(Service))
        each_key(&arena, &now->tree, key_take, a);
}

static void key_reserve(struct request *r, struct str key)
{
    struct reserved *x = r->write->reserved;
    if (!x)
        x = r->write->reserved = NEW(struct reserved);
    array_push(&x->keys, str_dup(&r->arena, key));
    key_take(r->server->alloc, key);
}

void alloc_released(struct request *r)
{
    struct reserved *x = TAKE(r->write->reserved);
    if (!x)
        return;
    array_each (it, &x->keys)
        key_give(r->server->alloc, *it);
    array_fini(&x->keys);
    mem_free(x);
}

static bool is_taken(struct alloc *a, struct str key)
{
    return map_get(&a->taken, key);
}

static struct str ip_text(struct arena *a, uint32_t n)
{
    return arena_fmt(a, "%u.%u.%u.%u", n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255);
}

/* The first 16th of the range (16 to 256 addresses) is left to those who ask for an address by name (KEP-3070). */
static bool choose_ip(struct request *r, struct str *out)
{
    struct alloc *a = r->server->alloc;
    uint32_t low = MIN(MAX(a->size / 16, 16), 256);
    if (low >= a->size - 2)
        low = 1;
    for (int part = 0; part < 2; part++) {
        uint32_t from = part ? 1 : low, n = part ? low - 1 : a->size - 1 - low;
        uint32_t start = n ? (uint32_t)random_below(n) : 0;
        for (uint32_t i = 0; i < n; i++) {
            *out = ip_text(&r->arena, a->net + from + (start + i) % n);
            if (!is_taken(a, *out) && (start + i) % n + from != API_IP)
                return true;
        }
    }
    return false;
}

/* The API's address is that of default/kubernetes, also while somebody has deleted it. */
static bool is_another(struct request *r, struct str ip)
{
    return str_eq(ip, ip_text(&r->arena, r->server->alloc->net + API_IP)) &&
           !(str_eqz(r->ns, "default") && str_eqz(r->name, "kubernetes"));
}

static bool choose_port(struct request *r, int64_t *out)
{
    struct alloc *a = r->server->alloc;
    uint64_t n = (uint64_t)(a->port_max - a->port_min + 1), start = random_below(n);
    for (uint64_t i = 0; i < n; i++) {
        *out = a->port_min + (int64_t)((start + i) % n);
        if (!is_taken(a, arena_fmt(&r->arena, "p:%lld", (long long)*out)))
            return true;
    }
    return false;
}

static bool value_refuse(struct request *r, const char *field, struct str value, const char *text)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    field_error_add(&e, FE_INVALID, field, "Invalid value: " STR_FMT ": %s", STR_ARG(value), text);
    return fail_invalid(r, r->group, r->kind->kind, r->name, &e);
}

static bool give_ip(struct request *r, struct val *spec, const struct val *old)
{
    struct alloc *a = r->server->alloc;
    struct val *ips = val_get_mut(spec, N(clusterIPs));
    struct str want = val_text_at(spec, N(clusterIP));
    if (str_eq(want, S("None")))
        return true;
    if (!want.n && val_len(ips))
        return true; /* validation has words for it */
    if (want.n) {
        if (str_eq(want, val_text_at(val_get(old, N(spec)), N(clusterIP))))
            return true;
        uint8_t ip[16];
        bool v4;
        if (!ip_parse(want, ip, &v4))
            return value_refuse(r, "spec.clusterIPs[0]", arena_fmt(&r->arena, "\"" STR_FMT "\"", STR_ARG(want)),
                                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        struct str quoted = arena_fmt(&r->arena, "[\"" STR_FMT "\"]", STR_ARG(want));
        uint32_t n = number_of(ip);
        if (!v4)
            return value_refuse(r, "spec.clusterIPs[0]", quoted, "IPv6 is not configured on this cluster");
        if (n <= a->net || n >= a->net + a->size - 1)
            return value_refuse(r, "spec.clusterIPs", quoted,
                                "failed to allocate IP: the provided network does not match the current range");
        if (!r->options.dry_run && (is_taken(a, want) || is_another(r, want)))
            return value_refuse(r, "spec.clusterIPs", quoted,
                                "failed to allocate IP "
                                "the IP: provided IP is already allocated");
        key_reserve(r, want);
    } else {
        if (!choose_ip(r, &want))
            return fail_internal(r, "failed to allocate a serviceIP: range is full");
        if (!r->options.dry_run)
            key_reserve(r, want);
        val_set_text(&r->arena, spec, N(clusterIP), want);
    }
    struct val list = val_list();
    val_add(&r->arena, &list, val_str(&r->arena, want));
    val_set(&r->arena, spec, N(clusterIPs), list);
    val_set_text(&r->arena, spec, N(clusterIP), want);
    return true;
}

static bool old_has_port(const struct val *old, int64_t port)
{
    val_each_item (it, val_at(old, N(spec), N(ports)))
        if (val_num_at(it, 0, N(nodePort)) == port)
            return true;
    return false;
}

static bool give_ports(struct request *r, struct val *spec, const struct val *old, bool choose)
{
    struct alloc *a = r->server->alloc;
    struct val *ports = val_get_mut(spec, N(ports));
    for (size_t i = 0; i < val_len(ports); i++) {
        struct val *p = &ports->list[i];
        int64_t port = val_num_at(p, 0, N(nodePort));
        if (!port && !choose)
            continue;
        if (!work_do(i + val_len(val_at(old, N(spec), N(ports)))))
            return true; /* it is refused for that (write.c) */
        if (port) {
            bool mine = old_has_port(old, port), twice = false;
            for (size_t k = 0; k < i; k++) {
                bool same = val_num_at(&ports->list[k], 0, N(nodePort)) == port;
                bool other = !str_eq(val_text_at(&ports->list[k], N(protocol)), val_text_at(p, N(protocol)));
                mine |= same && other; /* one port may serve two protocols */
                twice |= same && !other;
            }
            if ((mine && !twice) || r->options.dry_run)
                continue;
            struct str key = arena_fmt(&r->arena, "p:%lld", (long long)port), number = str_sub(key, 2, key.n);
            const char *field = arena_fmt(&r->arena, "spec.ports[%zu].nodePort", i).p;
            if (port < a->port_min || port > a->port_max)
                return value_refuse(
                    r, field, number,
                    arena_fmt(&r->arena,
                              "provided port is not in the valid range. The range of valid ports is %lld-%lld",
                              (long long)a->port_min, (long long)a->port_max)
                        .p);
            if (twice || is_taken(a, key))
                return value_refuse(r, field, number, "provided port is already allocated");
            key_reserve(r, key);
            continue;
        }
        /* the same number for another protocol of the same port */
        for (size_t k = 0; k < i && !port; k++)
            if (val_num_at(&ports->list[k], 0, N(port)) == val_num_at(p, 0, N(port)) &&
                !str_eq(val_text_at(&ports->list[k], N(protocol)), val_text_at(p, N(protocol))))
                port = val_num_at(&ports->list[k], 0, N(nodePort));
        if (!port) {
            if (!choose_port(r, &port))
                return fail_internal(r, "failed to allocate a nodePort: range is full");
            if (!r->options.dry_run)
                key_reserve(r, arena_fmt(&r->arena, "p:%lld", (long long)port));
        }
        val_set_num(&r->arena, p, N(nodePort), port);
    }
    return true;
}

/* This cluster has one family; what points at nothing of its own may have both (upstream: headless without
 * selector). */
static void give_families(struct request *r, struct val *spec)
{
    struct arena *a = &r->arena;
    bool headless = str_eq(val_text_at(spec, N(clusterIP)), S("None")) && !val_len(val_get(spec, N(selector)));
    struct str policy = val_text_at(spec, N(ipFamilyPolicy));
    if (!policy.n) {
        policy = headless ? S("RequireDualStack") : S("SingleStack");
        val_set_text(a, spec, N(ipFamilyPolicy), policy);
    }
    struct val *families = val_get_mut(spec, N(ipFamilies));
    if (!val_len(families)) {
        families = val_set(a, spec, N(ipFamilies), val_list());
        val_add(a, families, val_str_borrowed(S("IPv4")));
    }
    if (headless && val_len(families) == 1 && !str_eq(policy, S("SingleStack")))
        val_add(a, families,
                val_str_borrowed(str_eq(val_text(val_item(families, 0)), S("IPv4")) ? S("IPv6") : S("IPv4")));
}

/* A Service asks for the family that this cluster has. (For what is no family, or too
 * many of them, validation has words.) */
static bool families_fit(struct request *r, const struct val *spec)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    const struct val *families = val_get(spec, N(ipFamilies));
    bool own = str_eq(val_text_at(spec, N(clusterIP)), S("None")) && !val_len(val_get(spec, N(selector)));
    struct str policy = val_text_at(spec, N(ipFamilyPolicy));
    size_t i = 0;
    if (own || (val_len(families) > 1 && (policy.n == 0 || str_eq(policy, S("SingleStack")))))
        return true;
    if (str_eq(policy, S("RequireDualStack")))
        field_error_add(
            &e, FE_INVALID, "spec.ipFamilyPolicy",
            "Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services");
    val_each_item (family, families) {
        const char *field = arena_fmt(&r->arena, "spec.ipFamilies[%zu]", i++).p;
        if (str_eq(val_text(family), S("IPv6")))
            field_error_add(&e, FE_INVALID, field, "Invalid value: \"IPv6\": not configured on this cluster");
        else if (!str_eq(val_text(family), S("IPv4")))
            return true;
    }
    return e.list.n == 0 || fail_invalid(r, r->group, r->kind->kind, r->name, &e);
}

bool alloc_write(struct request *r, struct val *tree, const struct val *old)
{
    if (r->kind != K(Service) || r->sub.n)
        return true;
    struct val *spec = val_need_map(&r->arena, tree, N(spec));
    struct str type = val_text_at(spec, N(type));
    if (str_eq(type, S("ExternalName"))) {
        /* what only holds for a cluster address goes with it, unless it was set anew */
        const struct val *was = val_at(old, N(spec), N(internalTrafficPolicy));
        if (was && val_equal(was, val_get(spec, N(internalTrafficPolicy))) &&
            !str_eq(val_text_at(val_get(old, N(spec)), N(type)), type))
            val_del(spec, N(internalTrafficPolicy));
        return true;
    }
    if (!families_fit(r, spec))
        return false;
    give_families(r, spec);
    if (!give_ip(r, spec, old))
        return false;
    const struct val *lb = val_get(spec, N(allocateLoadBalancerNodePorts));
    bool choose = str_eq(type, S("NodePort")) || (str_eq(type, S("LoadBalancer")) && (!lb || val_true(lb)));
    if (!give_ports(r, spec, old, choose))
        return false;
    if (str_eq(type, S("LoadBalancer")) && str_eq(val_text_at(spec, N(externalTrafficPolicy)), S("Local")) &&
        !val_num_at(spec, 0, N(healthCheckNodePort))) {
        int64_t port;
        if (!choose_port(r, &port))
            return fail_internal(r, "failed to allocate a healthCheckNodePort: range is full");
        if (!r->options.dry_run)
            key_reserve(r, arena_fmt(&r->arena, "p:%lld", (long long)port));
        val_set_num(&r->arena, spec, N(healthCheckNodePort), port);
    }
    return true;
}
