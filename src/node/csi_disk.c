/* Disks that the node attaches itself: their records, and the steps of an operation, as csi_op.c has them. What a
 * driver would do is a job here. */
#include "api/codec.h"
#include "node/claim.h"
#include "node/csi_op_int.h"
#include "node/disk_do.h"

bool csi_disk_record(struct csi *c, struct arena *a, const struct obj *pod, const struct val *volume,
                     const struct volume_source *source, struct csi_record *out, struct err *err)
{
    struct disk_id id;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (!disk_id(a, source->spec, &id))
        return false;
    const struct val *what = val_get(source->spec, id.source);
    struct str name = source->owner ? source->owner->name : val_text_at(volume, N(name));
    const struct disk d = {.type = disk_type_of(id.source), .source = what, .volume = name, .root = ""};
    if (!disk_check(a, &d, err))
        return false;
    json_encode(&b, what);
    *out = (struct csi_record){.driver = id.driver,
                               .handle = id.handle,
                               .spec = name,
                               .uid = pod->uid,
                               .node = str_of(c->agent->cfg.name),
                               .attachment = S(""),
                               .block = source->block,
                               .source = str_dup(a, strbuf_str(&b)),
                               .place = d.type->place(a, &d)};
    return !b.over || err_set(err, E_TOO_LARGE, STR_FMT ": is more than %d KiB", STR_ARG(id.source->s), 64);
}

static enum op_step task_make(struct csi_op *op)
{
    struct err err = ERR;
    const struct csi_mount *m = op->m;
    struct disk_task *t = op->task = arena_alloc(&op->arena, sizeof *t);
    if (!disk_task_of(&op->arena, op->v->csi->agent->cfg.kubelet, &op->v->record, t, &err))
        return op_fails(op, &err);
    t->device = op->v->device;
    if (!m)
        return STEP_ON;
    t->disk.stop = &op->unwanted;
    t->read_only = m->read_only;
    const struct val *options = m->owner ? val_get(obj_spec(m->owner), N(mountOptions)) : NULL;
    struct str *list = arena_alloc(&op->arena, (val_len(options) + 1) * sizeof *list);
    t->options.p = list;
    val_each_item (o, options)
        list[t->options.n++] = str_dup(&op->arena, val_text(o));
    return STEP_ON;
}

static bool task_attaches(const struct csi_op *op)
{
    return op->v->staged != CSI_THERE;
}

static void disk_secret_read(struct call *call)
{
    struct csi_op *op = container_of(call, struct csi_op, api);
    struct err err = ERR;
    if (call->ok && call->obj) {
        op->secrets = val_copy(&op->arena, val_get(&call->obj->tree, N(data)));
        op->task->disk.secrets = &op->secrets;
        op_go(op);
        return;
    }
    (void)err_set(&err, call->err.kind, "couldn't get secret " STR_FMT " error: %s", STR_ARG(op->secret_name),
                  call->err.text);
    op_end(op, &err);
}

static enum op_step disk_secret(struct csi_op *op)
{
    const struct val *source = op->task->disk.source, *ref = val_get(source, N(secretRef));
    struct str name = val_text_at(ref, N(name)), ns = val_text_at(ref, N(namespace));
    bool asks = val_true(val_get(source, N(chapAuthDiscovery))) || val_true(val_get(source, N(chapAuthSession)));
    op->what = op->v->record.block ? "MapVolume.WaitForAttach" : "MountVolume.WaitForAttach";
    if (!task_attaches(op) || !asks || !name.n)
        return STEP_ON;
    if (!op->m->owner || !ns.n)
        ns = op->m->pod->ns;
    op->secret_name = arena_fmt(&op->arena, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    op->api.done = disk_secret_read;
    call_start(&op->api, op->v->csi->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_GET, .kind = K(Secret), .ns = ns, .name = name));
    return STEP_WAITS;
}

static enum op_step disk_record(struct csi_op *op)
{
    if (!task_attaches(op))
        return STEP_ON;
    op->first = op->v->staged == CSI_NONE;
    op->v->staged = CSI_MAYBE;
    return op_works(op, record_stage);
}

/* Where a program is missing there is nothing to undo, nor anything to do it with. */
static bool attach_work(struct csi_op *op, struct err *err)
{
    struct err ignored = ERR; /* a record that stays is looked at again later */
    if (disk_do_attach(op->task, err))
        return true;
    op->undone = err->kind == E_NOT_FOUND && op->first && csi_record_remove(&op->v->places, &ignored);
    return false;
}

static enum op_step disk_attach(struct csi_op *op)
{
    return task_attaches(op) ? op_works(op, attach_work) : STEP_ON;
}

static bool mount_work(struct csi_op *op, struct err *err)
{
    return disk_do_mount(op->task, err);
}

static enum op_step disk_mount(struct csi_op *op)
{
    op->v->device = op->task->device;
    op->what = op->v->record.block ? "MapVolume.SetUpDevice" : "MountVolume.MountDevice";
    return task_attaches(op) ? op_works(op, mount_work) : STEP_ON;
}

static enum op_step disk_mounted(struct csi_op *op)
{
    op->v->staged = CSI_THERE;
    op->what = op->v->record.block ? "MapVolume.MapBlockVolume" : "MountVolume.SetUp";
    op->m->have = CSI_MAYBE;
    return op_works(op, record_mount);
}

static bool bind_work(struct csi_op *op, struct err *err)
{
    return disk_do_bind(op->task, &op->m->places, err);
}

static enum op_step disk_bind(struct csi_op *op)
{
    return op_works(op, bind_work);
}

static enum op_step disk_bound(struct csi_op *op)
{
    op->m->have = CSI_THERE;
    return STEP_ON;
}

static bool end_work(struct csi_op *op, struct err *err)
{
    return disk_do_end(op->task, err);
}

static enum op_step disk_end(struct csi_op *op)
{
    return op_works(op, end_work);
}

static enum op_step disk_ended(struct csi_op *op)
{
    op->v->staged = CSI_NONE;
    op->v->device = (struct device_name){""};
    return STEP_ON;
}

op_step_fn *const disk_publish_steps[] = {task_make,    disk_secret, disk_record, disk_attach, disk_mount,
                                          disk_mounted, disk_bind,   disk_bound,  NULL};
op_step_fn *const disk_unpublish_steps[] = {unpublish_forget, unpublish_done, NULL};
op_step_fn *const disk_unstage_steps[] = {task_make, disk_end, disk_ended, NULL};
