/* deployment_int.h - what the parts of the controller of Deployments share (deployment.c tells how it works). */
#pragma once
#include "control/manager.h"
#include "control/plan.h"

#define REVISION  S("deployment.kubernetes.io/revision")
#define HISTORY   S("deployment.kubernetes.io/revision-history")
#define DESIRED   S("deployment.kubernetes.io/desired-replicas")
#define MOST      S("deployment.kubernetes.io/max-replicas")
#define HASH      S("pod-template-hash")
#define MAX_CHARS 2000 /* of revision-history */

#define NEVER INT32_MAX /* progressDeadlineSeconds: no deadline */

/* One rollout as the plan sees it. */
struct rollout {
    const struct view *view;
    struct plan *out;
    const struct obj *d;
    ARRAY(struct obj *) all, old; /* by creation, then name */
    struct obj *new;              /* NULL: not there yet */
    struct val tree;              /* of the deployment, being changed: status and revision annotation */
    struct val *status;
    bool scaled;
};

static inline int64_t replicas_of(const struct obj *o)
{
    return val_num_at(obj_spec(o), 1, N(replicas));
}

static inline int64_t status_num(const struct obj *o, const struct name *name)
{
    return val_num(val_get(obj_status(o), name), 0);
}

static inline struct str annotation_of(const struct obj *o, struct str key)
{
    return val_text(val_get_str(val_get(obj_meta(o), N(annotations)), key));
}

static inline int64_t number_of(struct str s)
{
    int64_t n;
    return str_to_i64(s, 0, INT64_MAX, &n) ? n : 0;
}

static inline bool strategy_is_rolling(const struct obj *d)
{
    return !str_eqz(val_text_at(obj_spec(d), N(strategy), N(type)), "Recreate");
}

/* Its status and conditions (deployment_status.c). */
const struct val *rollout_cond(const struct rollout *r, const char *type);
bool cond_reason_is(const struct val *c, const char *reason);
void rollout_cond_set(struct rollout *r, const char *type, const char *status, const char *reason, struct str message,
                      bool refresh);
int64_t rollout_sum_spec(const struct rollout *r);
void rollout_count(struct rollout *r);
bool rollout_has_deadline(const struct obj *d);
bool rollout_is_complete(const struct rollout *r);
void rollout_write_status(struct rollout *r);
void rollout_tell(struct rollout *r);

/* Its ReplicaSets (deployment_sets.c). */
int64_t rollout_max_surge(const struct obj *d);
int64_t rollout_max_unavailable(const struct obj *d);
int set_by_age(const void *pa, const void *pb);
bool sets_collect(struct rollout *r);
bool new_set_refresh(struct rollout *r);
int64_t new_set_size(const struct rollout *r, int64_t has);
void new_set_create(struct rollout *r);
bool set_scale_to(struct rollout *r, struct obj *rs, int64_t size);
