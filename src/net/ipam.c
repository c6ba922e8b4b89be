#include "net/ipam.h"

static bool is_taken(const struct ipam *p, uint32_t off)
{
    return p->taken[off / 64] >> off % 64 & 1;
}

static bool offset_is_usable(const struct ipam *p, uint32_t off)
{
    return off >= 2 && off + 1 < p->size;
}

bool ipam_init(struct ipam *p, struct cidr4 range, struct err *err)
{
    if (range.bits < 16 || range.bits > 29)
        return err_set(err, E_INVALID, "a node's pod range is a /16 to a /29, not " CIDR_FMT, CIDR_ARG(range));
    *p = (struct ipam){.range = range, .next = 2, .size = ~cidr4_mask(range) + 1};
    p->taken = mem_alloc((p->size + 63) / 64 * sizeof *p->taken);
    return true;
}

void ipam_fini(struct ipam *p)
{
    mem_free(p->taken);
    *p = (struct ipam){0};
}

uint32_t ipam_node_ip(struct cidr4 range)
{
    return range.ip + 1;
}

bool ipam_mark(struct ipam *p, uint32_t ip)
{
    uint32_t off = ip - p->range.ip;
    if (!cidr4_has(p->range, ip) || !offset_is_usable(p, off) || is_taken(p, off))
        return false;
    p->taken[off / 64] |= 1ull << off % 64;
    p->used++;
    return true;
}

void ipam_restore(struct ipam *p, const struct pod_links *links)
{
    int last = 0;
    for (size_t i = 0; i < links->links.n; i++) {
        const struct pod_link *link = &links->links.p[i];
        if (!ipam_mark(p, link->ip) || link->ifindex < last)
            continue;
        last = link->ifindex;
        p->next = link->ip - p->range.ip + 1;
    }
}

bool ipam_take(struct ipam *p, uint32_t *ip, struct err *err)
{
    for (uint32_t i = 0; i < p->size; i++) {
        uint32_t off = (p->next + i) % p->size;
        if (offset_is_usable(p, off) && ipam_mark(p, p->range.ip + off)) {
            p->next = off + 1;
            *ip = p->range.ip + off;
            return true;
        }
    }
    return err_set(err, E_UNAVAILABLE,
                   "all %u addresses of this node's pod range " CIDR_FMT
                   " are in use; give the node a larger range, or remove pods",
                   p->used, CIDR_ARG(p->range));
}

void ipam_give_back(struct ipam *p, uint32_t ip)
{
    uint32_t off = ip - p->range.ip;
    if (!cidr4_has(p->range, ip) || !is_taken(p, off))
        return;
    p->taken[off / 64] &= ~(1ull << off % 64);
    p->used--;
}
