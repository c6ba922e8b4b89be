#include "net/network.h"
#include "net/fence_nft.h"
#include "net/nft.h"
#include "net/vip.h"

static struct ranges ranges_of(const struct network_config *c)
{
    return (struct ranges){c->net.instance, c->net.pods, c->net.node_pods, c->net.services, c->state_path};
}

bool network_up(const struct network_config *c, struct err *err)
{
    struct ranges r = ranges_of(c);
    return ranges_up(&r, err);
}

static void keep_first(struct err *first, bool ok, const struct err *e)
{
    if (!ok && first->kind == E_NONE)
        *first = *e;
}

static bool links_del(struct instance in, struct err *err)
{
    struct pod_links links;
    struct err first = ERR, e = ERR;
    if (!pod_link_list(in, &links, err))
        return false;
    array_each (link, &links.links)
        keep_first(&first, pod_link_del(in, link->ip, &e), &e);
    array_fini(&links.links);
    if (first.kind == E_NONE)
        return true;
    *err = first;
    return false;
}

static bool vips_del(struct instance in, struct err *err)
{
    struct vips vips;
    struct err first = ERR, e = ERR;
    if (!vip_list(in, &vips, err))
        return false;
    array_each (ip, &vips.list)
        keep_first(&first, vip_del(in, *ip, &e), &e);
    array_fini(&vips.list);
    if (first.kind == E_NONE)
        return true;
    *err = first;
    return false;
}

bool network_down(const struct network_config *c, struct err *err)
{
    AUTO(nft_close) struct nft nft = NFT;
    struct ranges r = ranges_of(c);
    struct err first = ERR, e = ERR;
    /* links before routes: until the last pod is cut off, its packets still have nowhere else to go */
    keep_first(&first, links_del(c->net.instance, &e), &e);
    keep_first(&first, nft_open(&nft, &c->net, &e) && nft_unload(&nft, &e), &e);
    keep_first(&first, nft.nl.fd < 0 || fence_nft_unload(&nft, &e), &e);
    keep_first(&first, vips_del(c->net.instance, &e), &e);
    keep_first(&first, ranges_down(&r, &e), &e);
    if (first.kind == E_NONE)
        return true;
    *err = first;
    return false;
}
