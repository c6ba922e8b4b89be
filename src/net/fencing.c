/* fencing.c - fences on a loop.
 *
 * What is under way is one job at a time: the table is removed (no policy is left), loaded (a generation begins), or
 * changed. After a change that may have narrowed what is allowed come two more: the connections of the addresses it
 * concerns are read from conntrack, judged here by the fences themselves, and those that no policy allows any more
 * are deleted there. Their next packet begins anew in the eyes of the kernel, and is refused; both ends get a reset.
 *
 * That connections are cut is a choice: the API leaves open what becomes of them. Calico and Antrea let them run
 * until they end, so a policy that is made because of an intruder does not stop him; Cilium and OVN judge each
 * packet. Here it is done by connection, when something changes, so that packets of what is allowed pay nothing for
 * it.
 *
 * What the machine itself began is never cut: a node reaches its pods.
 */
#include "net/fencing.h"
#include "base/clock.h"
#include "net/conntrack.h"
#include "net/fence_nft.h"
#include <ifaddrs.h>
#include <netinet/in.h>

#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_LAST_NS  (5 * NS_PER_S)
#define SETTLE_NS      (20 * NS_PER_MS) /* a foreign edit is rarely one message */
#define ANEW_AFTER     3                /* failures, after which the table is removed and made again */

enum fencing_step { STEP_UNLOAD, STEP_LOAD, STEP_APPLY, STEP_LIST, STEP_CUT };

struct fencing_work { /* what a job touches */
    struct job job;
    struct fencing *f; /* for done, in the loop's thread */
    enum fencing_step step;
    bool anew, ok;
    uint64_t revision;
    struct fence_kernel kernel;
    struct fence_diff diff;
    struct connections found, cut;
    struct map hosts; /* addresses of this machine */
    size_t judged;
    struct err err;
};

struct fencing {
    struct loop *loop;
    struct fencing_events events;
    void *arg;
    struct fences *fences;
    struct nft nft; /* the job's while `busy` */
    uint32_t own_port;
    char table[FENCE_TABLE_N];
    struct fencing_work work;
    struct poll watch;
    struct timer settle, retry;
    struct soon soon, judge;
    int64_t retry_ns;
    uint64_t wanted, applied;
    unsigned failures, asks;
    bool busy, started, asked, freed;
    bool there;    /* the table is as we left it */
    bool none;     /* there is no table */
    bool must_cut; /* a cut failed: what it would have cut is not known any more */
    char told[sizeof((struct err *)0)->text];
};

static void fencing_go(struct fencing *f);

/* ---- jobs ---- */

static bool hosts_read(struct map *hosts, struct err *err)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) < 0)
        return err_errno(err, "addresses of this machine");
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        uint32_t ip = ntohl(((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr);
        (void)map_put(hosts, (struct str){(const char *)&ip, sizeof ip}, hosts);
    }
    freeifaddrs(list);
    return true;
}

static void work_run(struct job *j)
{
    struct fencing_work *w = container_of(j, struct fencing_work, job);
    struct nft *n = &w->f->nft; /* nobody else's while this runs */
    bool all = w->diff.cut_all;
    switch (w->step) {
    case STEP_UNLOAD: w->ok = fence_nft_unload(n, &w->err); break;
    case STEP_LOAD:
        w->ok = (!w->anew || fence_nft_unload(n, &w->err)) && fence_nft_load(n, &w->kernel, &w->err);
        break;
    case STEP_APPLY: w->ok = fence_nft_apply(n, &w->diff, &w->err); break;
    case STEP_LIST:
        w->ok = conntrack_list(w->diff.cut.p, all ? 0 : w->diff.cut.n, &w->found, &w->err) &&
                hosts_read(&w->hosts, &w->err);
        break;
    case STEP_CUT: w->ok = conntrack_cut(w->cut.list.p, w->cut.list.n, &w->err); break;
    }
}

static void work_fini(struct fencing_work *w)
{
    fence_kernel_fini(&w->kernel);
    fence_diff_fini(&w->diff);
    array_fini(&w->found.list);
    array_fini(&w->cut.list);
    map_fini(&w->hosts);
}

static void fencing_destroy(struct fencing *f)
{
    if (f->busy || f->asks)
        return;
    fences_free(f->fences);
    nft_close(&f->nft);
    fd_close(f->watch.fd);
    mem_free(f);
}

static void work_ended(struct fencing *f)
{
    work_fini(&f->work);
    f->busy = false;
    if (f->freed)
        fencing_destroy(f);
    else
        fencing_go(f);
}

static void work_failed(struct fencing *f)
{
    struct fencing_work *w = &f->work;
    bool cutting = w->step == STEP_LIST || w->step == STEP_CUT;
    f->must_cut |= cutting || w->diff.cut_all || w->diff.cut.n;
    if (!cutting) /* else the rules are in force */
        f->there = f->none = false;
    f->asked = true;
    f->failures++;
    if (strcmp(f->told, w->err.text) != 0) {
        (void)snprintf(f->told, sizeof f->told, "%s", w->err.text);
        f->events.failed(f->arg, &w->err);
    }
    f->retry_ns = f->retry_ns ? MIN(f->retry_ns * 2, RETRY_LAST_NS) : RETRY_FIRST_NS;
    if (!f->freed)
        timer_set(&f->retry, f->retry_ns);
}

static void work_in_force(struct fencing *f)
{
    uint64_t revision = f->work.revision;
    f->told[0] = 0;
    f->retry_ns = 0;
    f->failures = 0;
    f->must_cut = false;
    if (revision > f->applied) {
        f->applied = revision;
        f->events.applied(f->arg, revision);
    }
}

static void work_done(struct job *j);

static void work_next(struct fencing *f, enum fencing_step step)
{
    f->work.step = step;
    f->work.ok = false;
    job_start(&f->work.job, f->loop, work_run, work_done);
}

/* Many connections are judged in several turns. */
static void judge_some(struct soon *s)
{
    struct fencing *f = container_of(s, struct fencing, judge);
    struct fencing_work *w = &f->work;
    for (; w->judged < w->found.list.n && !f->freed; w->judged++) {
        const struct connection *c = &w->found.list.p[w->judged];
        bool host = map_get(&w->hosts, (struct str){(const char *)&c->from, sizeof c->from}) || c->from >> 24 == 127;
        if (!host && !fences_allow(f->fences, c->from, c->to, c->proto, c->port))
            array_push(&w->cut.list, *c);
        if (w->judged % 64 == 63 && loop_turn_spent(f->loop)) {
            w->judged++;
            soon_set(&f->judge);
            return;
        }
    }
    if (!f->freed && w->cut.list.n) {
        work_next(f, STEP_CUT);
        return;
    }
    if (!f->freed)
        work_in_force(f);
    work_ended(f);
}

/* Still busy: what a callback asks for waits, and a fencing that it frees lives until work_ended. */
static void work_done(struct job *j)
{
    struct fencing_work *w = container_of(j, struct fencing_work, job);
    struct fencing *f = w->f;
    f->own_port = nft_port(&f->nft);
    if (f->freed) {
        work_ended(f);
        return;
    }
    if (!w->ok) {
        work_failed(f);
        work_ended(f);
        return;
    }
    switch (w->step) {
    case STEP_UNLOAD:
        f->none = true;
        f->there = false;
        fences_begin(f->fences, &(struct fence_kernel){0});
        work_in_force(f);
        break;
    case STEP_LOAD:
        /* nft's own messages, which are another process's */
        (void)nft_watch_read(f->watch.fd, f->table, f->own_port);
        f->there = true;
        f->none = false;
        fences_begin(f->fences, &w->kernel);
        f->asked = true;
        break;
    case STEP_APPLY:
        if (w->diff.cut_all || w->diff.cut.n) {
            work_next(f, STEP_LIST);
            return;
        }
        work_in_force(f);
        break;
    case STEP_LIST: judge_some(&f->judge); return;
    case STEP_CUT: work_in_force(f); break;
    }
    work_ended(f);
}

static void fencing_go(struct fencing *f)
{
    struct fencing_work *w = &f->work;
    bool idle = fences_idle(f->fences);
    if (f->busy || f->freed || !f->started || timer_is_set(&f->retry))
        return;
    if (idle ? f->none && !f->asked : f->there && !f->asked)
        return;
    *w = (struct fencing_work){.f = f, .revision = f->wanted};
    f->busy = true;
    if (idle && f->none) { /* later, as the caller may be in the midst of something */
        f->asked = false;
        soon_set(&f->soon);
        return;
    }
    if (idle) {
        f->asked = false;
        work_next(f, STEP_UNLOAD);
    } else if (!f->there) {
        w->anew = f->failures >= ANEW_AFTER;
        work_next(f, STEP_LOAD);
    } else {
        f->asked = false;
        fences_diff(f->fences, &w->diff);
        w->diff.cut_all |= f->must_cut;
        work_next(f, STEP_APPLY);
    }
}

static void on_soon(struct soon *s)
{
    struct fencing *f = container_of(s, struct fencing, soon);
    if (!f->freed)
        work_in_force(f);
    work_ended(f);
}

static void on_retry(struct timer *t)
{
    fencing_go(container_of(t, struct fencing, retry));
}

static void on_settled(struct timer *t)
{
    struct fencing *f = container_of(t, struct fencing, settle);
    f->there = f->none = false;
    fencing_go(f);
}

static void on_change(struct poll *p, int ready)
{
    struct fencing *f = container_of(p, struct fencing, watch);
    (void)ready;
    /* while a table is loaded by nft its messages are not others': work_done reads them */
    if (f->busy && f->work.step == STEP_LOAD && !f->there)
        (void)nft_watch_read(p->fd, f->table, f->own_port);
    else if (nft_watch_read(p->fd, f->table, f->own_port) && !timer_is_set(&f->settle))
        timer_set(&f->settle, SETTLE_NS);
}

/* ---- from outside ---- */

struct fencing *fencing_new(struct loop *l, const struct fencing_config *c, const struct fencing_events *events,
                            void *arg, struct err *err)
{
    AUTO(fd_close) int watch = nft_watch_open(err);
    struct rules_config config = {.instance = c->instance, .pods = c->pods, .node_pods = c->node_pods};
    struct nft nft;
    if (watch < 0 || !nft_open(&nft, &config, err))
        return NULL;
    struct fencing *f = NEW(struct fencing);
    f->loop = l;
    f->events = *events;
    f->arg = arg;
    f->nft = nft;
    f->own_port = nft_port(&nft);
    f->fences = fences_new();
    fence_table_name(c->instance, f->table);
    timer_init(&f->settle, l, on_settled);
    timer_init(&f->retry, l, on_retry);
    soon_init(&f->soon, l, on_soon);
    soon_init(&f->judge, l, judge_some);
    poll_init(&f->watch, l, TAKE_FD(watch), on_change);
    poll_want(&f->watch, POLL_READ);
    return f;
}

void fencing_free(struct fencing *f)
{
    if (!f)
        return;
    poll_stop(&f->watch);
    timer_stop(&f->settle);
    timer_stop(&f->retry);
    f->freed = true;
    fencing_destroy(f);
}

struct fences *fencing_fences(struct fencing *f)
{
    return f->fences;
}

void fencing_apply(struct fencing *f, uint64_t revision)
{
    f->started = f->asked = true;
    f->wanted = MAX(f->wanted, revision);
    if (f->there) /* it was the cutting that failed, and new rules need not wait for that */
        timer_stop(&f->retry);
    fencing_go(f);
}

/* ---- counts ---- */

struct fencing_ask {
    struct job job;
    struct fencing *f;
    struct rules_config config;
    struct fence_counters counters;
    bool ok;
    struct err err;
    void (*fn)(void *arg, const struct fence_count *list, size_t n, const struct err *err);
    void *arg;
};

static void ask_run(struct job *j)
{
    struct fencing_ask *a = container_of(j, struct fencing_ask, job);
    AUTO(nft_close) struct nft n = NFT;
    a->ok = nft_open(&n, &a->config, &a->err) && fence_nft_counters(&n, &a->counters, &a->err);
}

static void ask_done(struct job *j)
{
    struct fencing_ask *a = container_of(j, struct fencing_ask, job);
    ARRAY(struct fence_count) list = {0};
    array_each (c, &a->counters.list) {
        struct fence_count x = {.packets = c->packets, .bytes = c->bytes};
        if (fences_counter(a->f->fences, c->id, c->gen, &x.ns, &x.policy, &x.egress))
            array_push(&list, x);
    }
    a->fn(a->arg, list.p, list.n, a->ok ? NULL : &a->err);
    array_fini(&list);
    array_fini(&a->counters.list);
    a->f->asks--;
    if (a->f->freed)
        fencing_destroy(a->f);
    mem_free(a);
}

void fencing_counts(struct fencing *f,
                    void (*fn)(void *arg, const struct fence_count *list, size_t n, const struct err *err), void *arg)
{
    struct fencing_ask *a = NEW(struct fencing_ask);
    a->f = f;
    a->config = f->nft.config;
    a->fn = fn;
    a->arg = arg;
    f->asks++;
    job_start(&a->job, f->loop, ask_run, ask_done);
}
