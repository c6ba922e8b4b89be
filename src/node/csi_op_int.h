/* csi_op_int.h - one operation on a volume, for the files that have its steps: csi_op.c, csi_disk.c, csi_flex.c. */
#pragma once
#include "node/csi_int.h"
#include <stdatomic.h>

enum op_step { STEP_ON, STEP_WAITS, STEP_FAILED };

struct csi_op {
    struct csi_volume *v;
    struct csi_mount *m; /* NULL: of the volume itself */
    enum csi_op_kind kind;
    size_t at;                 /* of its steps */
    const char *reason, *what; /* of the event, should the step fail */
    struct csi_driver *driver; /* counted */
    unsigned can;
    struct val publish_context, secrets; /* secrets: of the step that comes */
    struct str secret_ref, secret_name;
    struct grpc_call rpc;
    void (*answered)(struct csi_op *op, struct str answer);
    struct call api;
    struct job job;
    bool (*work)(struct csi_op *op, struct err *err);
    bool work_ok, stopped;
    struct disk_task *task;   /* of a disk that the node attaches itself */
    _Atomic bool unwanted;    /* nobody waits for it: for its job */
    bool first, undone;       /* nothing of it was begun before; nor was it now, and no record is left */
    bool flex_again;          /* it may be attached already */
    struct flex_task *flex;   /* of a FlexVolume: what a driver's calls are else */
    struct str volume_name;   /* of the pod's */
    struct obj *pod, *owner;  /* counted: what it reads of, while the mount may get newer ones */
    struct err work_err, err; /* err: what the operation ends with, after what was begun is taken back */
    struct arena arena;
};

void op_go(struct csi_op *op);                         /* its next steps, until one waits */
void op_end(struct csi_op *op, const struct err *err); /* frees it; NULL: all is done */
enum op_step op_fails(struct csi_op *op, const struct err *err);
/* Waits for that, in a job; then it goes on, or ends with the error. */
enum op_step op_works(struct csi_op *op, bool (*work)(struct csi_op *op, struct err *err));

/* Steps, and works, that volumes of several kinds have. */
bool record_stage(struct csi_op *op, struct err *err);
bool record_mount(struct csi_op *op, struct err *err);
enum op_step unpublish_forget(struct csi_op *op);
enum op_step unpublish_done(struct csi_op *op);
enum op_step unstage_done(struct csi_op *op);

/* csi_flex.c, csi_disk.c; up to NULL. */
typedef enum op_step op_step_fn(struct csi_op *op);
extern op_step_fn *const disk_publish_steps[], *const disk_unpublish_steps[], *const disk_unstage_steps[];
extern op_step_fn *const flex_publish_steps[], *const flex_unpublish_steps[], *const flex_unstage_steps[];
