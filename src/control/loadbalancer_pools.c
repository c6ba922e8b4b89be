/* Pools of addresses: our AddressPools, and MetalLB's IPAddressPools where a chart defines them. What is read of them
 * is the same; in which order they are tried and whom they let in is MetalLB's (internal/allocator). */
#include "api/formats.h"
#include "api/selector.h"
#include "control/loadbalancer_int.h"

bool address_parse(struct str text, uint32_t *ip)
{
    uint8_t b[16];
    bool v4;
    if (!ip_parse(text, b, &v4) || !v4)
        return false;
    *ip = (uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 | b[15];
    return true;
}

struct str address_text(struct arena *a, uint32_t ip)
{
    return arena_fmt(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

/* No machine's: "this network", loopback, multicast and above. */
static bool is_nobodys(uint32_t ip)
{
    return ip >> 24 == 0 || ip >> 24 == 127 || ip >> 24 >= 224;
}

static bool is_six(struct str text)
{
    return str_find_char(text, ':') >= 0;
}

bool address_range_parse(struct str text, struct address_range *out, const char **why)
{
    struct str from = text, to = STR_NONE;
    uint8_t b[16];
    int bits;
    bool v4;
    *why = "neither a CIDR such as 192.0.2.0/28 nor a range such as 192.0.2.1-192.0.2.9";
    if (is_six(text)) {
        *why = "IPv6, which Services do not have here";
        return false;
    }
    if (str_find_char(text, '/') >= 0) {
        if (!cidr_parse(str_trim(text), b, &bits, &v4) || !v4)
            return false;
        uint32_t ip = (uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 | b[15];
        uint32_t rest = bits ? (uint32_t)((1ULL << (32 - bits)) - 1) : UINT32_MAX;
        *out = (struct address_range){ip & ~rest, ip | rest};
    } else {
        bool two = str_split(text, '-', &from, &to);
        if (!address_parse(str_trim(from), &out->from) || (two && !address_parse(str_trim(to), &out->to)))
            return false;
        if (!two)
            out->to = out->from;
    }
    *why = out->from > out->to ? "a range that ends before it begins"
                               : "no addresses of machines (0.0.0.0/8, 127.0.0.0/8, or 224.0.0.0 and above)";
    return out->from <= out->to && !is_nobodys(out->from) && !is_nobodys(out->to) &&
           (out->to < 0x7f000000 || out->from > 0x7fffffff);
}

bool ranges_have(const struct address_ranges *r, uint32_t ip)
{
    array_each (it, r)
        if (ip >= it->from && ip <= it->to)
            return true;
    return false;
}

static int range_cmp(const void *x, const void *y)
{
    const struct address_range *a = x, *b = y;
    return a->from < b->from ? -1 : a->from > b->from;
}

static void ranges_join(struct address_ranges *r)
{
    size_t n = 0;
    if (r->n)
        qsort(r->p, r->n, sizeof *r->p, range_cmp);
    for (size_t i = 0; i < r->n; i++) {
        if (n && r->p[i].from <= r->p[n - 1].to)
            r->p[n - 1].to = MAX(r->p[n - 1].to, r->p[i].to);
        else
            r->p[n++] = r->p[i];
    }
    r->n = n;
}

static bool flag_of(const struct val *spec, struct str name, bool otherwise)
{
    const struct val *v = val_get_str(spec, name);
    return val_is(v, VAL_BOOL) ? v->b : otherwise;
}

static void pool_read(const struct obj *o, bool ours, struct arena *a, struct balancer_pools *out)
{
    const struct val *spec = obj_spec(o), *allocation = val_get_str(spec, S("serviceAllocation"));
    struct balancer_pool p = {.obj = o,
                              .ours = ours,
                              .automatic = flag_of(spec, S("autoAssign"), true),
                              .avoids = flag_of(spec, S("avoidBuggyIPs"), false),
                              .priority = val_num(val_get_str(allocation, S("priority")), 0),
                              .pinned = val_is(allocation, VAL_MAP),
                              .bad = S("")};
    val_each_item (it, val_get_str(spec, S("addresses"))) {
        struct address_range r;
        const char *why;
        if (address_range_parse(val_text(it), &r, &why))
            array_push(&p.ranges, r);
        else if (!p.bad.n)
            p.bad = arena_fmt(a, "\"" STR_FMT "\" is %s", STR_ARG(val_text(it)), why);
    }
    ranges_join(&p.ranges);
    array_push(&out->list, p);
}

static void pools_of(const struct view *v, const char *definition, bool ours, struct arena *a,
                     struct balancer_pools *out)
{
    struct obj *o;
    const struct kind *k = view_defined(v, definition);
    if (!k) {
        out->unknown |= view_get(v, K(CustomResourceDefinition), S(""), str_of(definition)) != NULL;
        return;
    }
    for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
        if (!obj_deleting(o))
            pool_read(o, ours, a, out);
}

/* Those made for somebody first, the lowest priority first, and none behind all that have one; then by name. */
static int pool_cmp(const void *x, const void *y)
{
    const struct balancer_pool *a = x, *b = y;
    if (a->pinned != b->pinned)
        return a->pinned ? -1 : 1;
    if (a->priority != b->priority)
        return !a->priority ? 1 : !b->priority ? -1 : a->priority < b->priority ? -1 : 1;
    int name = str_cmp(a->obj->name, b->obj->name);
    return name ? name : b->ours - a->ours;
}

void balancer_pools_read(const struct view *v, struct arena *a, struct balancer_pools *out)
{
    out->unknown = v->settling;
    pools_of(v, "addresspools.wherry.dev", true, a, out);
    pools_of(v, "ipaddresspools.metallb.io", false, a, out);
    if (out->list.n)
        qsort(out->list.p, out->list.n, sizeof *out->list.p, pool_cmp);
}

void balancer_pools_fini(struct balancer_pools *p)
{
    array_each (it, &p->list)
        array_fini(&it->ranges);
    array_fini(&p->list);
}

struct balancer_pool *balancer_pool_named(const struct balancer_pools *p, struct str name)
{
    array_each (it, &p->list)
        if (str_eq(it->obj->name, name))
            return it;
    return NULL;
}

static bool is_avoided(const struct balancer_pool *p, uint32_t ip)
{
    return p->avoids && ((ip & 255) == 0 || (ip & 255) == 255);
}

bool balancer_pool_has(const struct balancer_pool *p, uint32_t ip)
{
    return ranges_have(&p->ranges, ip) && !is_avoided(p, ip);
}

struct balancer_pool *balancer_pool_of(const struct balancer_pools *p, uint32_t ip)
{
    array_each (it, &p->list)
        if (balancer_pool_has(it, ip))
            return it;
    return NULL;
}

/* How many of 0 to n - 1 end in .0 or .255. */
static uint64_t avoided_below(uint64_t n)
{
    return n / 256 * 2 + (n % 256 > 0);
}

uint64_t balancer_pool_size(const struct balancer_pool *p)
{
    uint64_t n = 0;
    array_each (it, &p->ranges) {
        n += (uint64_t)it->to - it->from + 1;
        if (p->avoids)
            n -= avoided_below((uint64_t)it->to + 1) - avoided_below(it->from);
    }
    return n;
}

static bool selects_any(const struct val *selectors, const struct val *labels)
{
    val_each_item (it, selectors)
        if (label_selector_matches(it, labels))
            return true;
    return false;
}

bool balancer_pool_takes(const struct view *v, const struct balancer_pool *p, const struct obj *svc)
{
    const struct val *allocation = val_get_str(obj_spec(p->obj), S("serviceAllocation"));
    const struct val *spaces = val_get_str(allocation, S("namespaces"));
    const struct val *selectors = val_get_str(allocation, S("namespaceSelectors"));
    const struct val *services = val_get_str(allocation, S("serviceSelectors"));
    const struct obj *ns = val_len(selectors) ? view_get(v, K(Namespace), S(""), svc->ns) : NULL;
    if ((val_len(spaces) || val_len(selectors)) && !val_has_text(spaces, svc->ns) &&
        !(ns && selects_any(selectors, obj_labels(ns))))
        return false;
    return !val_len(services) || selects_any(services, obj_labels(svc));
}
