/* FlexVolumes: the steps of an operation, as csi_op.c has them. Their drivers are programs, called in jobs. */
#include "node/csi_op_int.h"
#include "node/flex_do.h"
#include "node/volume_gone.h"

static const struct val *flex_source(const struct csi_op *op)
{
    if (op->owner)
        return val_get(obj_spec(op->owner), N(flexVolume));
    return val_get(val_find(val_get(obj_spec(op->pod), N(volumes)), N(name), op->m->record.spec), N(flexVolume));
}

static enum op_step flex_make(struct csi_op *op)
{
    const struct csi_mount *m = op->m;
    struct agent *g = op->v->csi->agent;
    struct flex_task *t = op->flex = ARENA_NEW(&op->arena, struct flex_task);
    flex_task_init(t, &op->arena, g->cfg.plugins, g->cfg.kubelet, m ? &m->record : &op->v->record);
    t->can = op->v->flex_can;
    if (m && m->pod) {
        const struct val *security = val_get(obj_spec(m->pod), N(securityContext));
        op->pod = obj_ref(m->pod);
        op->owner = m->owner ? obj_ref(m->owner) : NULL;
        op->volume_name = str_dup(&op->arena, m->volume_name);
        t->options.source = flex_source(op);
        t->options.read_only = m->read_only;
        t->options.pod = op->pod;
        t->options.fs_group = val_num_at(security, -1, N(fsGroup));
        t->on_root_mismatch = str_eq(val_text_at(security, N(fsGroupChangePolicy)), S("OnRootMismatch"));
    }
    return STEP_ON;
}

/* What the events say is that of the step that failed. */
static bool flex_told(struct csi_op *op, bool ok)
{
    op->reason = op->flex->reason ? op->flex->reason : op->reason;
    op->what = op->flex->what ? op->flex->what : op->what;
    return ok;
}

/* A driver that is missing is a kubelet's volume without a plugin. It is looked for again when something comes where
 * it should be. */
static bool flex_init_work(struct csi_op *op, struct err *err)
{
    struct str name = op->volume_name;
    struct err missing = ERR;
    if (flex_do_init(op->flex, err))
        return true;
    if (hostpaths_watch(op->v->csi->agent, op->flex->program.p) && flex_do_init(op->flex, err))
        return true; /* it came while that was made */
    op->what = "";
    volume_no_plugin(op->v->record.spec, &missing);
    return err_set(err, E_NOT_FOUND,
                   "Unable to attach or mount volumes: unmounted volumes=[" STR_FMT
                   "], unattached volumes=[], failed to process volumes=[" STR_FMT "]: %s",
                   STR_ARG(name), STR_ARG(name), missing.text);
}

static enum op_step flex_init(struct csi_op *op)
{
    op->v->flex_missing = true;
    return op->v->flex_known ? STEP_ON : op_works(op, flex_init_work);
}

static bool flex_attaches(const struct csi_op *op)
{
    return op->v->flex_can.attach && op->v->staged != CSI_THERE;
}

/* A driver is told the name alone when it is to detach: there can be one of a name. */
static enum op_step flex_record(struct csi_op *op)
{
    struct csi_volume *v = op->v;
    struct err err = ERR;
    v->flex_can = op->flex->can;
    v->flex_known = true;
    v->flex_missing = false;
    if (!flex_attaches(op))
        return STEP_ON;
    op->reason = "FailedAttachVolume";
    op->what = "AttachVolume.Attach";
    map_each (e, &v->csi->volumes) {
        const struct csi_volume *other = e->value;
        if (other != v && other->record.flex && other->staged != CSI_NONE &&
            str_eq(other->record.driver, v->record.driver) && str_eq(other->record.spec, v->record.spec))
            return err_set(&err, E_CONFLICT,
                           "driver " STR_FMT " has a volume \"" STR_FMT
                           "\" with other options attached to this node: give one of them another name",
                           STR_ARG(op->flex->driver), STR_ARG(v->record.spec)),
                   op_fails(op, &err);
    }
    op->flex_again = v->staged == CSI_MAYBE;
    v->staged = CSI_MAYBE;
    return op_works(op, record_stage);
}

static bool flex_attach_work(struct csi_op *op, struct err *err)
{
    return flex_told(op, flex_do_attach(op->flex, op->flex_again, err));
}

static enum op_step flex_attach(struct csi_op *op)
{
    return flex_attaches(op) ? op_works(op, flex_attach_work) : STEP_ON;
}

static void flex_secret_read(struct call *call)
{
    struct csi_op *op = container_of(call, struct csi_op, api);
    struct err err = call->err;
    bool good = call->ok && call->obj;
    if (good && !str_eq(val_text(val_get(&call->obj->tree, N(type))), op->flex->driver))
        good = err_set(&err, E_INVALID, "cannot get secret of type " STR_FMT, STR_ARG(op->flex->driver));
    if (!good) {
        (void)err_wrap(&err, "couldn't get secret " STR_FMT " err", STR_ARG(op->secret_name));
        op_end(op, &err);
        return;
    }
    op->secrets = val_copy(&op->arena, val_get(&call->obj->tree, N(data)));
    op->flex->options.secrets = &op->secrets;
    op_go(op);
}

static enum op_step flex_secret(struct csi_op *op)
{
    const struct val *ref = val_get(op->flex->options.source, N(secretRef));
    struct str name = val_text_at(ref, N(name)), ns = val_text_at(ref, N(namespace));
    struct agent_pod *ap = agent_pod_of(op->v->csi->agent, op->m->record.uid);
    if (op->flex->attached && ap)
        agent_eventf(ap, -1, false, "SuccessfulAttachVolume",
                     "AttachVolume.Attach succeeded for volume \"" STR_FMT "\" ", STR_ARG(op->v->record.spec));
    if (op->v->flex_can.attach)
        op->v->staged = CSI_THERE;
    op->reason = "FailedMount";
    op->what = "MountVolume.SetUp";
    if (!name.n)
        return STEP_ON;
    if (!op->owner || !ns.n)
        ns = op->pod->ns;
    op->secret_name = arena_fmt(&op->arena, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    op->api.done = flex_secret_read;
    call_start(&op->api, op->v->csi->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_GET, .kind = K(Secret), .ns = ns, .name = name));
    return STEP_WAITS;
}

static enum op_step flex_record_mount(struct csi_op *op)
{
    op->m->have = CSI_MAYBE;
    return op_works(op, record_mount);
}

static bool flex_mount_work(struct csi_op *op, struct err *err)
{
    return flex_told(op, flex_do_mount(op->flex, err));
}

static enum op_step flex_mount(struct csi_op *op)
{
    return op_works(op, flex_mount_work);
}

static enum op_step flex_mounted(struct csi_op *op)
{
    op->m->have = CSI_THERE;
    return STEP_ON;
}

static bool flex_unmount_work(struct csi_op *op, struct err *err)
{
    return flex_told(op, flex_do_unmount(op->flex, err) && csi_record_remove(&op->m->places, err));
}

static enum op_step flex_unmount(struct csi_op *op)
{
    return op_works(op, flex_unmount_work);
}

static bool flex_detach_work(struct csi_op *op, struct err *err)
{
    return flex_told(op, flex_do_detach(op->flex, err) && csi_record_remove(&op->v->places, err));
}

static enum op_step flex_detach(struct csi_op *op)
{
    return op_works(op, flex_detach_work);
}

op_step_fn *const flex_publish_steps[] = {flex_make,         flex_init,  flex_record,  flex_attach, flex_secret,
                                          flex_record_mount, flex_mount, flex_mounted, NULL};
op_step_fn *const flex_unpublish_steps[] = {flex_make, flex_unmount, unpublish_done, NULL};
op_step_fn *const flex_unstage_steps[] = {flex_make, flex_detach, unstage_done, NULL};
