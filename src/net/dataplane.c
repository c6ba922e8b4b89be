#include "net/dataplane.h"

#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_LAST_NS  (5 * NS_PER_S)
#define SETTLE_NS      (20 * NS_PER_MS) /* a foreign edit is rarely one message */

struct dataplane_work { /* what a job touches */
    struct job job;
    struct dataplane *dp; /* for done, in the loop's thread */
    struct rules_diff diff;
    bool read, load; /* before applying */
    bool ok, in_kernel, was_read;
    uint64_t revision;
    struct nft_state state;
    struct err err;
};

struct dataplane {
    struct loop *loop;
    struct dataplane_events events;
    void *arg;
    struct rules_config config;
    struct nft nft; /* the job's while `busy` */
    uint32_t own_port;
    struct rules rules;
    struct dataplane_work work;
    struct poll watch;
    struct timer settle, retry;
    int64_t retry_ns;
    uint64_t wanted, applied;
    bool busy, started, asked, must_read, must_load, freed;
    bool repairing; /* read, and to be applied */
    bool unsure;    /* a transaction failed: what is in the kernel may be ours or not */
    bool foreign;   /* what was read is not what we left */
    char told[sizeof((struct err *)0)->text];
};

/* ---- without a loop ---- */

static void take_state(struct rules *r, const struct nft_state *s)
{
    rules_forget(r);
    for (size_t i = 0; i < s->elements.n; i++)
        rules_seen(r, &s->elements.p[i]);
    map_each (it, &s->chains)
        rules_seen_chain(r, it->key.p);
}

bool rules_commit(struct nft *n, struct rules *r, bool read, bool *repaired, struct err *err)
{
    struct rules_diff d;
    bool in_kernel, loaded = false;
    if (read) {
        AUTO(nft_state_fini) struct nft_state state;
        if (!nft_read(n, &state, err))
            return false;
        if (!state.whole) {
            if (!nft_load(n, err))
                return false;
            nft_state_fini(&state);
            loaded = true;
        }
        take_state(r, &state);
    }
    rules_diff(r, &d);
    if (repaired)
        *repaired = loaded || (read && !rules_diff_empty(&d));
    bool ok = nft_apply(n, &d, &in_kernel, err);
    if (in_kernel)
        rules_applied(r, &d);
    if (!ok)
        rules_gone_again(r, &d);
    rules_diff_fini(&d);
    return ok;
}

/* ---- with one ---- */

static void dataplane_go(struct dataplane *dp);

static void work_run(struct job *j)
{
    struct dataplane_work *w = container_of(j, struct dataplane_work, job);
    struct nft *n = &w->dp->nft; /* nobody else's while this runs */
    if (w->load && !nft_load(n, &w->err))
        return;
    if (w->read) {
        w->was_read = nft_read(n, &w->state, &w->err);
        w->ok = w->was_read;
        return;
    }
    w->ok = nft_apply(n, &w->diff, &w->in_kernel, &w->err);
}

static void dataplane_destroy(struct dataplane *dp)
{
    rules_fini(&dp->rules);
    nft_close(&dp->nft);
    if (dp->watch.fd >= 0)
        fd_close(dp->watch.fd);
    mem_free(dp);
}

static void tell_failure(struct dataplane *dp, const struct err *err)
{
    dp->must_read = dp->unsure = true;
    if (strcmp(dp->told, err->text) != 0) {
        (void)snprintf(dp->told, sizeof dp->told, "%s", err->text);
        dp->events.failed(dp->arg, err);
    }
    dp->retry_ns = dp->retry_ns ? MIN(dp->retry_ns * 2, RETRY_LAST_NS) : RETRY_FIRST_NS;
    if (!dp->freed)
        timer_set(&dp->retry, dp->retry_ns);
}

static void after_read(struct dataplane *dp, struct dataplane_work *w)
{
    dp->must_read = false;
    dp->must_load = !w->state.whole;
    dp->foreign |= !dp->unsure &&
                   (dp->must_load || !rules_believed(&dp->rules, w->state.elements.p, w->state.elements.n));
    dp->unsure = false;
    take_state(&dp->rules, &w->state);
    dp->repairing = true;
}

static void after_apply(struct dataplane *dp, struct dataplane_work *w)
{
    dp->told[0] = 0;
    dp->retry_ns = 0;
    if (dp->foreign && dp->applied && dp->events.repaired)
        dp->events.repaired(dp->arg);
    dp->foreign = dp->repairing = false;
    if (w->revision > dp->applied) {
        dp->applied = w->revision;
        dp->events.applied(dp->arg, w->revision);
    }
}

static void work_done(struct job *j)
{
    struct dataplane_work *w = container_of(j, struct dataplane_work, job);
    struct dataplane *dp = w->dp;
    dp->own_port = nft_port(&dp->nft);
    if (w->load)
        dp->must_load = !w->ok;
    if (w->in_kernel)
        rules_applied(&dp->rules, &w->diff);
    if (!w->ok)
        rules_gone_again(&dp->rules, &w->diff);
    /* still busy: what a callback asks for waits, and a dataplane that it frees lives until here */
    if (!dp->freed && !w->ok)
        tell_failure(dp, &w->err);
    else if (!dp->freed && w->was_read)
        after_read(dp, w);
    else if (!dp->freed)
        after_apply(dp, w);
    dp->busy = false;
    nft_state_fini(&w->state);
    rules_diff_fini(&w->diff);
    if (dp->freed)
        dataplane_destroy(dp);
    else
        dataplane_go(dp);
}

static void dataplane_go(struct dataplane *dp)
{
    if (dp->busy || dp->freed || !dp->started || timer_is_set(&dp->retry))
        return;
    if (!dp->must_read && !dp->must_load && !dp->asked && !dp->repairing)
        return;
    struct dataplane_work *w = &dp->work;
    *w = (struct dataplane_work){.dp = dp, .revision = dp->wanted};
    if (dp->must_read) {
        w->read = true;
    } else {
        dp->asked = false;
        w->load = dp->must_load;
        rules_diff(&dp->rules, &w->diff);
    }
    dp->busy = true;
    job_start(&w->job, dp->loop, work_run, work_done);
}

static void on_retry(struct timer *t)
{
    dataplane_go(container_of(t, struct dataplane, retry));
}

static void on_settled(struct timer *t)
{
    struct dataplane *dp = container_of(t, struct dataplane, settle);
    dp->must_read = true;
    dataplane_go(dp);
}

static void on_change(struct poll *p, int ready)
{
    struct dataplane *dp = container_of(p, struct dataplane, watch);
    char table[16];
    (void)ready;
    rules_table_name(dp->config.instance, table);
    if (nft_watch_read(p->fd, table, dp->own_port) && !timer_is_set(&dp->settle))
        timer_set(&dp->settle, SETTLE_NS);
}

struct dataplane *dataplane_new(struct loop *l, const struct rules_config *c, const struct dataplane_events *events,
                                void *arg, struct err *err)
{
    AUTO(fd_close) int watch = nft_watch_open(err);
    struct nft nft;
    if (watch < 0 || !nft_open(&nft, c, err))
        return NULL;
    struct dataplane *dp = NEW(struct dataplane);
    dp->loop = l;
    dp->events = *events;
    dp->arg = arg;
    dp->config = *c;
    dp->nft = nft;
    dp->own_port = nft_port(&nft);
    dp->must_read = true;
    rules_init(&dp->rules);
    timer_init(&dp->settle, l, on_settled);
    timer_init(&dp->retry, l, on_retry);
    poll_init(&dp->watch, l, TAKE_FD(watch), on_change);
    poll_want(&dp->watch, POLL_READ);
    return dp;
}

void dataplane_free(struct dataplane *dp)
{
    if (!dp)
        return;
    poll_stop(&dp->watch);
    timer_stop(&dp->settle);
    timer_stop(&dp->retry);
    dp->freed = true;
    if (!dp->busy)
        dataplane_destroy(dp);
}

bool dataplane_put(struct dataplane *dp, const struct net_service *s, struct err *err)
{
    return rules_put(&dp->rules, s, err);
}

void dataplane_del(struct dataplane *dp, struct str ns, struct str name, struct str port)
{
    rules_del(&dp->rules, ns, name, port);
}

void dataplane_apply(struct dataplane *dp, uint64_t revision)
{
    dp->started = dp->asked = true;
    dp->wanted = MAX(dp->wanted, revision);
    dataplane_go(dp);
}

struct drain_ask {
    struct job job;
    uint32_t pod_ip, own_ip;
    struct drain_sample sample;
    bool ok;
    struct err err;
    void (*fn)(void *arg, const struct drain_sample *sample, const struct err *err);
    void *arg;
};

static void drain_run(struct job *j)
{
    struct drain_ask *a = container_of(j, struct drain_ask, job);
    a->ok = conntrack_drain(a->pod_ip, a->own_ip, &a->sample, &a->err);
}

static void drain_done(struct job *j)
{
    struct drain_ask *a = container_of(j, struct drain_ask, job);
    a->fn(a->arg, a->ok ? &a->sample : NULL, a->ok ? NULL : &a->err);
    mem_free(a);
}

void dataplane_drain(struct dataplane *dp, uint32_t pod_ip,
                     void (*fn)(void *arg, const struct drain_sample *sample, const struct err *err), void *arg)
{
    struct drain_ask *a = NEW(struct drain_ask);
    a->pod_ip = pod_ip;
    a->own_ip = dp->config.node_pods.ip + 1;
    a->fn = fn;
    a->arg = arg;
    job_start(&a->job, dp->loop, drain_run, drain_done);
}
