/* One operation on a volume, step by step: a kubelet's order of calls. Each step goes on at once, waits for an answer
 * (of the driver, the API or a job on disk), or fails, which ends the operation. What is to be asked of a driver
 * stands on disk before, so an operation that is cut off in the middle is finished or call_undone by the next node
 * role.
 */
#include "api/csi_source.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "client/csi.h"
#include "node/csi_op_int.h"

#define REQUEST_MOST (4 << 20)

static void op_free(struct csi_op *op)
{
    csi_driver_unref(op->driver);
    obj_unref(op->pod);
    obj_unref(op->owner);
    arena_fini(&op->arena);
    mem_free(op);
}

void op_end(struct csi_op *op, const struct err *err)
{
    struct csi_volume *v = op->v;
    struct csi_mount *m = op->m;
    if (err && m && err->kind != E_CANCELLED) {
        csi_mount_failed(m, op->reason, op->what, err);
    } else if (err) { /* it is staged for nobody: each pod that had it is told, so nobody is left to be */
        log_warn("csi.volume", "volume=" STR_FMT " %s: error=\"%s\"", STR_ARG(v->record.handle), op->what, err->text);
    }
    op_free(op);
    csi_op_ended(v, m, !err);
}

enum op_step op_fails(struct csi_op *op, const struct err *err)
{
    op->err = *err;
    return STEP_FAILED;
}

void csi_op_stop(struct csi_op *op)
{
    grpc_cancel(&op->rpc);
    call_cancel(&op->api);
    op->stopped = true;
    atomic_store(&op->unwanted, true);
    if (!op->work)
        op_free(op);
}

void csi_op_unwant(struct csi_op *op, const struct csi_mount *m)
{
    if (op->m == m)
        atomic_store(&op->unwanted, true);
}

/* The PersistentVolumeSpec, or (ephemeral) the pod's volume, as they are now; for this step. */
static const struct val *op_spec(struct csi_op *op)
{
    const struct csi_mount *m = op->m;
    const struct val *volume = val_find(val_get(obj_spec(m->pod), N(volumes)), N(name), m->volume_name);
    struct csi_source source;
    struct err ignored = ERR; /* it could be told when the pod began to want it: then nothing is said of it */
    if (m->record.ephemeral)
        return volume;
    return (m->owner ? csi_source_of(&op->arena, m->owner, &source, &ignored)
                     : csi_source_inline(&op->arena, m->pod->ns, volume, &source, &ignored))
               ? source.spec
               : NULL;
}

static const struct val *info_of(const struct csi_op *op, const struct name *member)
{
    const struct obj *info = csi_info(op->v->csi, op->v->record.driver);
    return info ? val_get(obj_spec(info), member) : NULL;
}

/* ---- what a step waits for */

static void work_do_one(struct job *j)
{
    struct csi_op *op = container_of(j, struct csi_op, job);
    op->work_ok = op->work(op, &op->work_err);
}

static void work_home(struct job *j)
{
    struct csi_op *op = container_of(j, struct csi_op, job);
    struct err err = op->work_err;
    op->work = NULL;
    if (op->undone && !op->stopped)
        op->v->staged = CSI_NONE;
    if (op->stopped)
        op_free(op);
    else if (op->err.kind) /* it was to take back what had failed */
        op_end(op, &op->err);
    else if (!op->work_ok)
        op_end(op, &err);
    else
        op_go(op);
}

enum op_step op_works(struct csi_op *op, bool (*work)(struct csi_op *op, struct err *err))
{
    op->work = work;
    agent_job_long(op->v->csi->agent, &op->job, work_do_one, work_home);
    return STEP_WAITS;
}

static bool forget_mount(struct csi_op *op, struct err *err)
{
    return csi_record_remove(&op->m->places, err);
}
static bool forget_stage(struct csi_op *op, struct err *err)
{
    return csi_record_remove(&op->v->places, err);
}

/* The driver says that it has done nothing, and is not about to (kubelet: isFinalError). */
static bool code_is_final(int code)
{
    static const int others[] = {GRPC_CANCELLED, GRPC_DEADLINE_EXCEEDED, GRPC_UNAVAILABLE, GRPC_RESOURCE_EXHAUSTED,
                                 GRPC_ABORTED};
    for (size_t i = 0; i < countof(others); i++)
        if (code == others[i])
            return false;
    return true;
}

static bool nobody_else_has(const struct csi_op *op)
{
    list_each (m, &op->v->mounts, struct csi_mount, node)
        if (m->have != CSI_NONE)
            return false;
    return true;
}

static void stage_answered(struct csi_op *op, struct str answer);
static void publish_answered(struct csi_op *op, struct str answer);

static void rpc_done(struct grpc_call *k)
{
    struct csi_op *op = container_of(k, struct csi_op, rpc);
    fault_pass("node.csi.answer");
    if (!k->code) {
        op->answered(op, k->answer);
        return;
    }
    (void)grpc_err(k, &op->err);
    bool final = code_is_final(k->code);
    if (final && op->answered == publish_answered && op->kind == CSI_PUBLISH) {
        op->m->have = CSI_NONE;
        (void)op_works(op, forget_mount);
    } else if (final && op->answered == stage_answered && op->v->staged == CSI_MAYBE && nobody_else_has(op)) {
        op->v->staged = CSI_NONE;
        (void)op_works(op, forget_stage);
    } else {
        op_end(op, &op->err);
    }
}

static enum op_step op_asks(struct csi_op *op, const char *method,
                            void (*write)(struct strbuf *b, const struct csi_call *c), const struct csi_call *c,
                            void (*answered)(struct csi_op *op, struct str answer))
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(REQUEST_MOST);
    struct err err = ERR;
    if (write)
        write(&b, c);
    if (b.over) {
        (void)err_set(&err, E_TOO_LARGE, "what %s is told is more than %d MiB", method, REQUEST_MOST >> 20);
        return op_fails(op, &err);
    }
    op->answered = answered;
    op->rpc.done = rpc_done;
    fault_pass("node.csi.call");
    grpc_start(op->driver->client, &op->rpc, str_of(method), strbuf_str(&b), CSI_TIMEOUT);
    return STEP_WAITS;
}

/* ---- steps */

static enum op_step driver_find(struct csi_op *op)
{
    static const char *const words[] = {
        [CSI_PUBLISH] = "attacher.MountDevice failed to create newCsiDriverClient",
        [CSI_REPUBLISH] = "mounter.SetUpAt failed to get CSI client",
        [CSI_UNPUBLISH] = "Unmounter.TearDownAt failed to get CSI client",
        [CSI_UNSTAGE] = "attacher.UnmountDevice failed to create newCsiDriverClient",
        [CSI_GROW] = "Expander.NodeExpand failed to create newCsiDriverClient",
    };
    struct csi_driver *d = map_get(&op->v->csi->drivers, op->v->record.driver);
    bool ephemeral = op->v->record.ephemeral && op->kind == CSI_PUBLISH;
    struct err err = ERR;
    if (d) {
        op->driver = csi_driver_ref(d);
        return STEP_ON;
    }
    if (ephemeral)
        op->what = "MountVolume.SetUp";
    (void)err_set(&err, E_UNAVAILABLE,
                  "kubernetes.io/csi: %s: driver name " STR_FMT " not found in the list of registered CSI drivers",
                  words[ephemeral ? CSI_REPUBLISH : op->kind], STR_ARG(op->v->record.driver));
    return op_fails(op, &err);
}

static void attachment_read(struct call *call)
{
    struct csi_op *op = container_of(call, struct csi_op, api);
    struct err err = call->err;
    if (call->ok && call->obj && !obj_deleting(call->obj) && val_true(val_get(obj_status(call->obj), N(attached)))) {
        op->publish_context = val_copy(&op->arena, val_get(obj_status(call->obj), N(attachmentMetadata)));
        op_go(op);
        return;
    }
    if (call->ok)
        (void)err_set(&err, E_UNAVAILABLE, "volume attachment " STR_FMT " is not attached",
                      STR_ARG(op->m->record.attachment));
    op->what = "MountVolume.WaitForAttach";
    op_end(op, &err);
}

static enum op_step attachment_get(struct csi_op *op)
{
    const struct val *required = info_of(op, N(attachRequired));
    if (op->v->record.ephemeral || (required && !val_true(required)))
        return STEP_ON;
    op->api.done = attachment_read;
    call_start(&op->api, op->v->csi->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_GET, .kind = K(VolumeAttachment),
                             .name = csi_attachment_name(&op->arena, op->v->record.handle, op->v->record.driver,
                                                         str_of(op->v->csi->agent->cfg.name))));
    return STEP_WAITS;
}

static void can_answered(struct csi_op *op, struct str answer)
{
    struct err err = ERR;
    if (!csi_can_read(answer, &op->can, &err)) {
        (void)err_wrap(&err, "NodeGetCapabilities");
        op_end(op, &err);
        return;
    }
    op_go(op);
}

static enum op_step can_ask(struct csi_op *op)
{
    return op_asks(op, CSI_NODE("NodeGetCapabilities"), NULL, NULL, can_answered);
}

static void secret_read(struct call *call)
{
    struct csi_op *op = container_of(call, struct csi_op, api);
    struct err err = ERR;
    if (call->ok && call->obj) {
        op->secrets = val_copy(&op->arena, val_get(&call->obj->tree, N(data)));
        op_go(op);
        return;
    }
    (void)err_set(&err, call->err.kind,
                  "fetching " STR_FMT " failed: kubernetes.io/csi: failed to find the secret " STR_FMT ": %s",
                  STR_ARG(op->secret_ref), STR_ARG(op->secret_name), call->err.text);
    op_end(op, &err);
}

static enum op_step secret_get(struct csi_op *op, const struct name *member)
{
    const struct val *ref = val_at(op_spec(op), N(csi), member);
    struct str name = val_text_at(ref, N(name)),
               ns = op->m->record.ephemeral ? op->m->pod->ns : val_text_at(ref, N(namespace));
    op->secrets = val_map();
    if (!name.n)
        return STEP_ON;
    /* "NodeStageSecretRef NS/NAME", as a kubelet calls it */
    op->secret_ref = arena_fmt(&op->arena, "N" STR_FMT " " STR_FMT "/" STR_FMT,
                               STR_ARG(str_sub(member->s, 1, member->s.n)), STR_ARG(ns), STR_ARG(name));
    op->secret_name = arena_fmt(&op->arena, STR_FMT " in the namespace " STR_FMT " with error", STR_ARG(name),
                                STR_ARG(ns));
    op->api.done = secret_read;
    call_start(&op->api, op->v->csi->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_GET, .kind = K(Secret), .ns = ns, .name = name));
    return STEP_WAITS;
}

static bool op_stages(const struct csi_op *op)
{
    return op->can & CSI_CAN_STAGE && !op->v->record.ephemeral;
}
static bool op_stages_now(const struct csi_op *op)
{
    return op_stages(op) && op->v->staged != CSI_THERE;
}

static enum op_step stage_secret(struct csi_op *op)
{
    op->what = op->v->record.block ? "MapVolume.SetUpDevice" : "MountVolume.MountDevice";
    return op_stages_now(op) ? secret_get(op, N(nodeStageSecretRef)) : STEP_ON;
}

bool record_stage(struct csi_op *op, struct err *err)
{
    return csi_record_make(&op->v->places, &op->v->record, err);
}

static enum op_step stage_record(struct csi_op *op)
{
    if (!op_stages_now(op))
        return STEP_ON;
    op->v->staged = CSI_MAYBE;
    return op_works(op, record_stage);
}

/* What a driver is told of the volume in every call. */
static struct csi_call call_of(struct csi_op *op)
{
    const struct csi_mount *m = op->m;
    const struct val *spec = op_spec(op), *source = val_get(spec, N(csi)), *own = m->record.ephemeral ? NULL : spec;
    struct str group = arena_fmt(&op->arena, "%lld",
                                 (long long)val_num_at(obj_spec(m->pod), -1, N(securityContext), N(fsGroup)));
    return (struct csi_call){
        .handle = m->record.handle,
        .staging = op_stages(op) ? op->v->places.target : S(""),
        .target = m->places.target,
        .block = m->record.block,
        .read_only = m->read_only,
        .fs_type = val_text_at(source, N(fsType)),
        .mount_group = op->can & CSI_CAN_MOUNT_GROUP && !str_starts(group, S("-")) ? group : S(""),
        .mount_options = val_get(own, N(mountOptions)),
        .access_modes = val_get(own, N(accessModes)),
        .can = op->can,
        .publish_context = &op->publish_context,
        .volume_context = val_get(source, N(volumeAttributes)),
        .secrets = &op->secrets,
    };
}

static void stage_answered(struct csi_op *op, struct str answer)
{
    (void)answer;
    op->v->staged = CSI_THERE;
    op_go(op);
}

static enum op_step stage_call(struct csi_op *op)
{
    if (!op_stages_now(op))
        return STEP_ON;
    struct csi_call c = call_of(op);
    return op_asks(op, CSI_NODE("NodeStageVolume"), csi_stage_write, &c, stage_answered);
}

/* ---- growing: before it is published, and while it is in use */

static bool op_grows(const struct csi_op *op)
{
    return op->can & CSI_CAN_EXPAND && !op->m->read_only && csi_mount_growth(op->m) == CSI_OUTGROWN;
}

static enum op_step grow_secret(struct csi_op *op)
{
    if (op_grows(op))
        op->what = "MountVolume.NodeExpandVolume";
    return op_grows(op) ? secret_get(op, N(nodeExpandSecretRef)) : STEP_ON;
}

static void grow_answered(struct csi_op *op, struct str answer)
{
    int64_t bytes;
    struct err err = ERR;
    if (csi_expanded_read(answer, &bytes, &err))
        op_go(op);
    else
        op_end(op, &err);
}

static enum op_step grow_call(struct csi_op *op)
{
    if (!op_grows(op))
        return STEP_ON;
    struct csi_call c = call_of(op);
    c.bytes = csi_storage(val_get(obj_spec(op->m->owner), N(capacity)));
    if (op->kind == CSI_PUBLISH) /* it is nowhere else yet */
        c.target = op_stages(op) ? op->v->places.target : op->m->places.target;
    return op_asks(op, CSI_NODE("NodeExpandVolume"), csi_expand_write, &c, grow_answered);
}

static void grow_told(struct call *call)
{
    struct csi_op *op = container_of(call, struct csi_op, api);
    struct agent_pod *ap = agent_pod_of(op->v->csi->agent, op->m->record.uid);
    if (!call->ok) {
        op_end(op, &call->err);
        return;
    }
    if (ap && op->answered == grow_answered)
        agent_eventf(ap, -1, false, "FileSystemResizeSuccessful",
                     "MountVolume.NodeExpandVolume succeeded for volume \"" STR_FMT "\" %s",
                     STR_ARG(op->m->owner->name), op->v->csi->agent->cfg.name);
    op->m->grow = false;
    struct obj *claim = call_take_obj(call);
    if (claim) { /* how large it is now */
        obj_unref(op->m->claim);
        op->m->claim = claim;
    }
    op_go(op);
}

/* The claim is as large as its volume: conditions of the growth go. */
static enum op_step grow_tell(struct csi_op *op)
{
    static const char *const over[] = {"FileSystemResizePending", "Resizing", "NodeResizeError"};
    struct arena *a = &op->arena;
    const struct csi_mount *m = op->m;
    struct val body = val_map(), *status, left = val_list();
    if (!op_grows(op) && csi_mount_growth(m) != CSI_TO_TELL)
        return STEP_ON;
    status = val_need_map(a, &body, N(status));
    val_set_str(a, val_need_map(a, status, N(capacity)), S("storage"),
                val_copy(a, val_get_str(val_get(obj_spec(m->owner), N(capacity)), S("storage"))));
    val_each_item (c, val_get(obj_status(m->claim), N(conditions))) {
        bool goes = false;
        for (size_t i = 0; i < countof(over); i++)
            goes |= str_eqz(val_text_at(c, N(type)), over[i]);
        if (!goes)
            val_add(a, &left, val_copy(a, c));
    }
    val_set(a, status, N(conditions), val_len(&left) ? left : VAL_NONE);
    if (val_get_str(val_get(obj_status(m->claim), N(allocatedResourceStatuses)), S("storage")))
        val_set_str(a, val_need_map(a, status, N(allocatedResourceStatuses)), S("storage"), VAL_NONE);
    op->api.done = grow_told;
    call_start(&op->api, op->v->csi->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(PersistentVolumeClaim), .ns = m->claim->ns,
                             .name = m->claim->name, .sub = S("status"), .patch = PATCH_MERGE, .body = &body,
                             .expect_uid = m->claim->uid));
    return STEP_WAITS;
}

/* ---- publishing */

static enum op_step publish_secret(struct csi_op *op)
{
    op->what = op->v->record.block ? "MapVolume.MapPodDevice" : "MountVolume.SetUp";
    return secret_get(op, N(nodePublishSecretRef));
}

bool record_mount(struct csi_op *op, struct err *err)
{
    /* of a device the link of the pod leads to it, and this says whose it is */
    if (op->m->record.block && !csi_record_make(&op->v->places, &op->v->record, err))
        return false;
    return csi_record_make(&op->m->places, &op->m->record, err);
}

static enum op_step publish_record(struct csi_op *op)
{
    op->m->have = MAX(op->m->have, CSI_MAYBE);
    if (op->m->record.block) /* what says whose it is goes with the last one */
        op->v->staged = MAX(op->v->staged, CSI_MAYBE);
    return op_works(op, record_mount);
}

static void publish_answered(struct csi_op *op, struct str answer)
{
    (void)answer;
    op->m->have = CSI_THERE;
    op->m->again = false;
    op->m->gives_group = op->can & CSI_CAN_MOUNT_GROUP;
    op_go(op);
}

static void context_add(struct csi_op *op, struct val *context, const char *key, struct str value)
{
    val_set_str(&op->arena, context, arena_fmt(&op->arena, "csi.storage.k8s.io/%s", key), val_str(&op->arena, value));
}

static enum op_step publish_call(struct csi_op *op)
{
    const struct obj *pod = op->m->pod;
    struct agent_pod *ap = agent_pod_of(op->v->csi->agent, op->m->record.uid);
    struct csi_call c = call_of(op);
    struct val context = val_copy(&op->arena, c.volume_context);
    struct str tokens = S("");
    struct err err = ERR;
    if (!val_is(&context, VAL_MAP))
        context = val_map();
    if (!ap)
        return err_set(&err, E_NOT_FOUND, "its pod is gone"), op_fails(op, &err);
    if (val_true(info_of(op, N(podInfoOnMount)))) {
        context_add(op, &context, "pod.name", pod->name);
        context_add(op, &context, "pod.namespace", pod->ns);
        context_add(op, &context, "pod.uid", pod->uid);
        context_add(op, &context, "serviceAccount.name", val_text_at(obj_spec(pod), N(serviceAccountName)));
        context_add(op, &context, "ephemeral", op->v->record.ephemeral ? S("true") : S("false"));
    }
    if (!csi_tokens(ap, &op->arena, op->v->record.driver, &tokens, &err))
        return op_fails(op, &err);
    bool among_secrets = val_true(info_of(op, N(serviceAccountTokenInSecrets)));
    if (tokens.n && !val_is(&op->secrets, VAL_MAP))
        op->secrets = val_map();
    if (tokens.n)
        context_add(op, among_secrets ? &op->secrets : &context, "serviceAccount.tokens", tokens);
    c.volume_context = &context;
    return op_asks(op, CSI_NODE("NodePublishVolume"), csi_publish_write, &c, publish_answered);
}

/* ---- undoing */

static void call_undone(struct csi_op *op, struct str answer)
{
    (void)answer;
    op_go(op);
}

static enum op_step unpublish_call(struct csi_op *op)
{
    struct csi_call c = {.handle = op->m->record.handle, .target = op->m->places.target};
    return op_asks(op, CSI_NODE("NodeUnpublishVolume"), csi_unpublish_write, &c, call_undone);
}
enum op_step unpublish_forget(struct csi_op *op)
{
    return op_works(op, forget_mount);
}
enum op_step unpublish_done(struct csi_op *op)
{
    op->m->have = CSI_NONE;
    return STEP_ON;
}

static enum op_step unstage_call(struct csi_op *op)
{
    struct csi_call c = {.handle = op->v->record.handle, .staging = op->v->places.target};
    if (!(op->can & CSI_CAN_STAGE)) /* of a device there is a record all the same */
        return STEP_ON;
    return op_asks(op, CSI_NODE("NodeUnstageVolume"), csi_unstage_write, &c, call_undone);
}
static enum op_step unstage_forget(struct csi_op *op)
{
    return op_works(op, forget_stage);
}
enum op_step unstage_done(struct csi_op *op)
{
    op->v->staged = CSI_NONE;
    return STEP_ON;
}

static enum op_step (*const publish_steps[])(struct csi_op *op) = {
    driver_find, attachment_get, can_ask,        stage_secret,   stage_record, stage_call, grow_secret,
    grow_call,   grow_tell,      publish_secret, publish_record, publish_call, NULL};
static enum op_step (*const republish_steps[])(struct csi_op *op) = {driver_find,    attachment_get, can_ask,
                                                                     publish_secret, publish_call,   NULL};
static enum op_step (*const unpublish_steps[])(struct csi_op *op) = {driver_find, unpublish_call, unpublish_forget,
                                                                     unpublish_done, NULL};
static enum op_step (*const unstage_steps[])(struct csi_op *op) = {driver_find,    can_ask,      unstage_call,
                                                                   unstage_forget, unstage_done, NULL};
static enum op_step (*const grow_steps[])(struct csi_op *op) = {driver_find, can_ask,   grow_secret,
                                                                grow_call,   grow_tell, NULL};

static const struct {
    enum op_step (*const *steps)(struct csi_op *op);
    const char *reason, *what;
    /* of a disk, and of a FlexVolume; NULL: nobody asks for that */
    enum op_step (*const *disk_steps)(struct csi_op *op), (*const *flex_steps)(struct csi_op *op);
} ops[] = {
    [CSI_PUBLISH] = {publish_steps, "FailedMount", "MountVolume.MountDevice", disk_publish_steps, flex_publish_steps},
    [CSI_REPUBLISH] = {republish_steps, "FailedMount", "MountVolume.SetUp", NULL, NULL},
    [CSI_UNPUBLISH] = {unpublish_steps, "FailedUnmount", "UnmountVolume.TearDown", disk_unpublish_steps,
                       flex_unpublish_steps},
    [CSI_UNSTAGE] = {unstage_steps, "FailedUnmount", "UnmountDevice", disk_unstage_steps, flex_unstage_steps},
    [CSI_GROW] = {grow_steps, "VolumeResizeFailed", "MountVolume.NodeExpandVolume", NULL},
};

void op_go(struct csi_op *op)
{
    enum op_step (*const *steps)(struct csi_op *) = op->v->record.place.n ? ops[op->kind].disk_steps
                                                    : op->v->record.flex  ? ops[op->kind].flex_steps
                                                                          : ops[op->kind].steps;
    for (enum op_step (*step)(struct csi_op *); (step = steps[op->at]);) {
        op->at++;
        switch (step(op)) {
        case STEP_ON: break;
        case STEP_WAITS: return;
        case STEP_FAILED: op_end(op, &op->err); return;
        }
    }
    if (op->kind == CSI_GROW)
        op->m->grow = false; /* also where the driver has nothing to do for it */
    op_end(op, NULL);
}

void csi_op_start(struct csi_volume *v, struct csi_mount *m, enum csi_op_kind kind)
{
    struct csi_op *op = v->op = NEW(struct csi_op);
    op->v = v;
    op->m = m;
    op->kind = kind;
    op->reason = ops[kind].reason;
    op->what = ops[kind].what;
    if (v->record.block && kind == CSI_PUBLISH) {
        op->reason = "FailedMapVolume";
        op->what = "MapVolume.SetUpDevice";
    }
    if (m && kind == CSI_REPUBLISH)
        m->again = false; /* the next time is a minute from now, whatever comes of it */
    op_go(op);
}
