#include "net/route.h"
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

void route_put(struct nlbuf *b, uint16_t type, const struct route *r)
{
    struct rtmsg m = {.rtm_family = AF_INET,
                      .rtm_dst_len = (uint8_t)r->to.bits,
                      .rtm_table = r->type == RTN_LOCAL ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
                      .rtm_protocol = ROUTE_PROTOCOL,
                      .rtm_scope = r->type == RTN_LOCAL    ? RT_SCOPE_HOST
                                   : r->via || !r->ifindex ? RT_SCOPE_UNIVERSE
                                                           : RT_SCOPE_LINK,
                      .rtm_type = (uint8_t)(r->type ? r->type : RTN_UNICAST)};
    nlbuf_begin(b, type, (type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_REPLACE : 0) | NLM_F_ACK, &m, sizeof m);
    if (r->to.bits)
        nlbuf_put_be32(b, RTA_DST, r->to.ip);
    if (r->ifindex)
        nlbuf_put_u32(b, RTA_OIF, (uint32_t)r->ifindex);
    if (r->via)
        nlbuf_put_be32(b, RTA_GATEWAY, r->via);
    if (r->src)
        nlbuf_put_be32(b, RTA_PREFSRC, r->src);
    if (r->metric)
        nlbuf_put_u32(b, RTA_PRIORITY, r->metric);
    nlbuf_end(b);
}

void addr_put(struct nlbuf *b, uint16_t type, int ifindex, uint32_t ip, int scope, const char *label)
{
    struct ifaddrmsg m = {
        .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_scope = (uint8_t)scope, .ifa_index = (uint32_t)ifindex};
    nlbuf_begin(b, type, (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0) | NLM_F_ACK, &m, sizeof m);
    nlbuf_put_be32(b, IFA_LOCAL, ip);
    nlbuf_put_be32(b, IFA_ADDRESS, ip);
    if (label)
        nlbuf_put_strz(b, IFA_LABEL, label);
    nlbuf_end(b);
}

static void read_route(const struct nlmsghdr *h, void *arg)
{
    struct routes *out = arg;
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *a;
    if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_family != AF_INET)
        return;
    struct route r = {.to.bits = m->rtm_dst_len, .type = m->rtm_type, .protocol = m->rtm_protocol};
    uint32_t table = m->rtm_table;
    mnl_attr_for_each(a, h, sizeof *m)
    {
        if (mnl_attr_get_payload_len(a) != sizeof(uint32_t))
            continue;
        uint32_t v = mnl_attr_get_u32(a);
        switch (mnl_attr_get_type(a)) {
        case RTA_DST: r.to.ip = __builtin_bswap32(v); break;
        case RTA_OIF: r.ifindex = (int)v; break;
        case RTA_GATEWAY: r.via = __builtin_bswap32(v); break;
        case RTA_PREFSRC: r.src = __builtin_bswap32(v); break;
        case RTA_PRIORITY: r.metric = v; break;
        case RTA_TABLE: table = v; break;
        }
    }
    if (table == RT_TABLE_MAIN)
        array_push(&out->list, r);
}

static void routes_clear(void *arg)
{
    array_clear(&((struct routes *)arg)->list);
}

bool route_list(struct netlink *nl, struct routes *out, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct rtmsg m = {.rtm_family = AF_INET};
    *out = (struct routes){0};
    nlbuf_begin(&b, RTM_GETROUTE, 0, &m, sizeof m);
    nlbuf_end(&b);
    if (!netlink_dump(nl, &b, read_route, routes_clear, out, err)) {
        array_fini(&out->list);
        return err_wrap(err, "list routes");
    }
    return true;
}
