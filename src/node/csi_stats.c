#include "node/csi_int.h"
#include "node/disk_use.h"

/* How full volumes are, as their drivers say, where they can (GET_VOLUME_STATS): asked when somebody asks for the
 * figures of their pod. One that does not answer is told as its file system tells it. */
struct csi_asking {
    struct list node; /* of csi.askings */
    struct agent_pod *ap;
    struct csi_driver *driver; /* counted */
    struct str volume, handle, target, staging;
    csi_stats_told *told;
    struct grpc_call rpc;
    struct arena arena;
};

static void asking_free(struct csi_asking *q)
{
    list_del(&q->node);
    grpc_cancel(&q->rpc);
    csi_driver_unref(q->driver);
    arena_fini(&q->arena);
    mem_free(q);
}

static void asking_end(struct csi_asking *q)
{
    struct agent_pod *ap = q->ap;
    asking_free(q);
    agent_pod_release(ap);
}

static void stats_came(struct grpc_call *k)
{
    struct csi_asking *q = container_of(k, struct csi_asking, rpc);
    struct err ignored = ERR; /* what is no message says nothing */
    struct csi_usage usage;
    if (!k->code && csi_usage_read(k->answer, &usage, &ignored) && !q->ap->dead)
        q->told(q->ap, q->volume, &usage);
    asking_end(q);
}

static void can_came(struct grpc_call *k)
{
    struct csi_asking *q = container_of(k, struct csi_asking, rpc);
    struct err ignored = ERR;
    unsigned can = 0;
    if (k->code || !csi_can_read(k->answer, &can, &ignored) || !(can & CSI_CAN_STATS)) {
        asking_end(q);
        return;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    csi_usage_write(&b, &(struct csi_call){.handle = q->handle, .target = q->target, .staging = q->staging});
    q->rpc.done = stats_came;
    grpc_start(q->driver->client, &q->rpc, S(CSI_NODE("NodeGetVolumeStats")), strbuf_str(&b), CSI_TIMEOUT);
}

static bool is_asked_already(const struct csi *c, const struct agent_pod *ap, struct str volume)
{
    list_each (q, &c->askings, struct csi_asking, node)
        if (q->ap == ap && str_eq(q->volume, volume))
            return true;
    return false;
}

static void mount_ask(struct agent_pod *ap, struct csi_volume *v, struct csi_mount *m, csi_stats_told *told)
{
    struct csi *c = v->csi;
    struct csi_driver *d = map_get(&c->drivers, v->record.driver);
    if (!d || m->have != CSI_THERE || !m->volume_name.n || is_asked_already(c, ap, m->volume_name))
        return;
    struct csi_asking *q = NEW(struct csi_asking);
    *q = (struct csi_asking){.ap = ap, .driver = csi_driver_ref(d), .told = told};
    q->volume = str_dup(&q->arena, m->volume_name);
    q->handle = str_dup(&q->arena, m->record.handle);
    q->target = str_dup(&q->arena, m->places.target);
    if (v->staged == CSI_THERE)
        q->staging = str_dup(&q->arena, v->places.target);
    list_add_tail(&c->askings, &q->node);
    ap->pending++;
    q->rpc.done = can_came;
    grpc_start(d->client, &q->rpc, S(CSI_NODE("NodeGetCapabilities")), S(""), CSI_TIMEOUT);
}

void csi_stats(struct agent_pod *ap, csi_stats_told *told)
{
    struct csi *c = ap->agent->csi;
    map_each (e, &c->volumes) {
        struct csi_volume *v = e->value;
        list_each (m, &v->mounts, struct csi_mount, node)
            if (str_eq(m->record.uid, ap->pod->uid))
                mount_ask(ap, v, m, told);
    }
}

void csi_stats_stop(struct csi *c)
{
    list_each (q, &c->askings, struct csi_asking, node)
        asking_free(q);
}
