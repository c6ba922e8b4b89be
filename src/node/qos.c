/* Groups above those of pods, as a kubelet has them:
 *
 *   /wherry-ID                 all pods: no more memory and processes than the machine has for them
 *     /podUID                  guaranteed ones
 *     /burstable/podUID        as much CPU, when there is not enough for all, as these ask for together
 *     /besteffort/podUID       what others leave
 *
 * What burstable pods ask for is added up anew, in one turn after any of them came, went or was resized, and written
 * by a job where it is another sum. A pod stays in the group that it was started in. */
#include "api/placement.h"
#include "api/usage.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/podspec.h"
#include "node/reserved.h"

#define QOS_RETRY (10 * NS_PER_S)

struct qos_groups {
    struct agent *agent;
    struct job job;
    struct timer look;
    bool busy, freed, made; /* made: the groups are there, bounded */
    uint64_t burstable;     /* shares that were last written; 0: none yet */
    struct cgroup_bounds whole;
    int64_t pids;
    /* the job's */
    uint64_t shares;
    char *root;
    struct cgroups cgroups; /* of its own: the job may outlive the runtime */
    bool ok;
    struct err err;
};

static bool group_make(struct qos_groups *q, const char *name, const struct oci_limits *limits)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s%s", q->root, name);
    return cgroup_create(&q->cgroups, path, limits, false, NULL, &q->err);
}

static void qos_work(struct job *j)
{
    struct qos_groups *q = container_of(j, struct qos_groups, job);
    const struct oci_limits whole = {.cpu_shares = q->whole.cpu_shares, .memory = q->whole.memory, .pids = q->pids};
    const struct oci_limits burstable = {.cpu_shares = q->shares}, least = {.cpu_shares = 2};
    /* each for itself: more memory may be in use by pods than there is to be for them */
    bool rest = group_make(q, "/burstable", &burstable);
    rest = (q->made || group_make(q, "/besteffort", &least)) && rest;
    q->ok = (q->made || group_make(q, "", &whole)) && rest;
}

static void qos_done(struct job *j)
{
    struct qos_groups *q = container_of(j, struct qos_groups, job);
    q->busy = false;
    if (q->freed) {
        mem_free(q->root);
        mem_free(q);
        return;
    }
    if (q->ok) {
        q->made = true;
        q->burstable = q->shares;
        timer_set(&q->look, 0); /* what came meanwhile */
        return;
    }
    log_warn("node.qos", "group=%s retry_s=%d error=\"%s\"", q->root, (int)(QOS_RETRY / NS_PER_S), q->err.text);
    q->err = ERR;
    timer_set(&q->look, QOS_RETRY);
}

static uint64_t burstable_shares(const struct agent *g)
{
    int64_t milli = 0;
    map_each (e, &g->by_uid) {
        const struct agent_pod *ap = e->value;
        if (ap->admitted && !ap->pod->rejected && ap->pod->state < POD_CLEANING &&
            strcmp(podspec_qos_folder(ap->pod->obj), "/burstable") == 0)
            milli += pod_request(ap->pod->obj, S("cpu"), POD_OVERHEAD);
    }
    return podspec_shares(milli);
}

static void qos_look(struct timer *t)
{
    struct qos_groups *q = container_of(t, struct qos_groups, look);
    uint64_t shares = burstable_shares(q->agent);
    if (q->busy || !q->agent->adopted || (q->made && shares == q->burstable))
        return;
    q->busy = true;
    q->shares = shares;
    job_start(&q->job, q->agent->cfg.loop, qos_work, qos_done);
}

void qos_news(struct qos_groups *q)
{
    if (q)
        timer_set(&q->look, 0);
}

struct qos_groups *qos_new(struct agent *g)
{
    struct qos_groups *q = NEW(struct qos_groups);
    const struct reserved_rules *r = g->cfg.reserved;
    const struct node_amounts none = {0};
    struct node_amounts left = reserved_allocatable(&g->machine, r ? &r->kept : &none, &none);
    q->agent = g;
    q->cgroups = *runtime_cgroups(g->runtime);
    q->root = str_dupz(str_of(g->cfg.cgroup));
    q->whole.cpu_shares = podspec_shares(left.cpu_milli);
    if (r && r->enforced) {
        q->whole.memory = left.memory;
        q->pids = r->kept.pids ? left.pids : 0;
    }
    timer_init(&q->look, g->cfg.loop, qos_look);
    return q;
}

void qos_free(struct qos_groups *q)
{
    if (!q)
        return;
    timer_stop(&q->look);
    q->freed = true;
    if (q->busy)
        return; /* its job frees it */
    mem_free(q->root);
    mem_free(q);
}
