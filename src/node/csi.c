#include "base/log.h"
#include "node/csi_int.h"
#include "sys/file.h"

struct csi *csi_new(struct agent *g)
{
    struct csi *c = NEW(struct csi);
    struct err err = ERR;
    c->agent = g;
    c->registry = arena_fmt(&c->arena, "%s/plugins_registry", g->cfg.kubelet);
    list_init(&c->askings);
    csi_object_init(c);
    csi_volumes_start(c);
    if (!csi_plugins_start(c, &err))
        log_error("csi.registration", "no driver of storage can register: error=\"%s\"", err.text);
    return c;
}

void csi_free(struct csi *c)
{
    if (!c)
        return;
    c->dead = true;
    csi_stats_stop(c);
    csi_object_fini(c);
    csi_volumes_stop(c);
    csi_plugins_stop(c);
}
