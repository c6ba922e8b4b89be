/* flex_do.h - what is done with a FlexVolume: attached to this node and mounted once for all pods that have it, where
 * its driver attaches; then mounted for each pod; and taken back. In a kubelet's order, at a kubelet's places, with
 * what is usual where the driver says "Not supported". Each finds out what is done already, so that a step that was
 * cut off is done again. Blocking, and drivers may take minutes: for jobs apart. */
#pragma once
#include "node/csi_records.h"
#include "node/flex.h"

struct flex_task {
    struct str program, driver, volume, node;
    struct flex_can can;
    struct csi_places stage, pod;
    struct flex_options options; /* with those that only `mount` is told */
    bool on_root_mismatch;       /* fsGroupChangePolicy */
    const char *reason, *what;   /* the step that is done, as events have it */
    bool attached;               /* it has just been, by this task */
};
/* To undo what a record says, with drivers in the folder `plugins`. */
void flex_task_init(struct flex_task *t, struct arena *a, const char *plugins, const char *kubelet,
                    const struct csi_record *r);
/* Its program is there, and has said what it can. */
MUST_USE bool flex_do_init(struct flex_task *t, struct err *err);
/* Attached, and its device mounted at t->stage. again: it may have been before; the driver is asked. */
MUST_USE bool flex_do_attach(struct flex_task *t, bool again, struct err *err);
MUST_USE bool flex_do_mount(struct flex_task *t, struct err *err);
MUST_USE bool flex_do_unmount(struct flex_task *t, struct err *err);
/* No pod has it any more: unmounted, detached. Records are the caller's. */
MUST_USE bool flex_do_detach(struct flex_task *t, struct err *err);
