/* Addresses of load balancers that this node answers for (net/vip.h).
 *
 * Which these are is written on the Services (control/loadbalancer.c): the condition that says who announces an
 * address names this node. What is wanted is worked out again whenever such a Service changes, and one job at a time
 * brings the kernel to it: addresses that are missing are added, ours that nobody wants any more are removed. Before
 * all Services are known nothing is touched, so an address outlives the role that put it there.
 *
 * Neighbours remember who had an address before. They are told when it is taken, and again after 1, 2 and 5 seconds,
 * as one that is lost would cost them minutes. */
#include "base/log.h"
#include "net/model.h"
#include "net/vip.h"
#include "node/agent_int.h"

#define RETRY_FIRST NS_PER_S
#define RETRY_LAST  (60 * NS_PER_S)

static const int64_t tell_after[] = {0, NS_PER_S, 2 * NS_PER_S, 5 * NS_PER_S};

struct announced {
    uint32_t ip;
    char *interfaces; /* by commas; "": all on its subnet */
    bool wanted, there;
    size_t told;         /* times */
    char deaf[IFNAMSIZ]; /* a link on which the kernel does not answer for it */
    int64_t since;
};
struct announce {
    struct agent *agent;
    struct map all; /* the address' bytes -> struct announced */
    struct timer timer;
    bool dirty, busy, freed;
    int64_t retry; /* 0: the last one went well */
};
struct announce_work {
    struct job job;
    struct announce *owner;
    struct instance instance;
    ARRAY(uint32_t) wanted;
    ARRAY(struct announced) tell; /* copies */
    bool ok;
    struct err err;
};

static struct announced *announced_at(struct announce *n, uint32_t ip)
{
    struct str key = {(const char *)&ip, sizeof ip};
    struct announced *one = map_get(&n->all, key);
    if (one)
        return one;
    one = NEW(struct announced);
    one->ip = ip;
    one->interfaces = str_dupz(S(""));
    (void)map_put(&n->all, key, one);
    return one;
}

static void announced_free(struct announced *one)
{
    mem_free(one->interfaces);
    mem_free(one);
}

/* What the Services say now. */
static void wanted_read(struct announce *n)
{
    struct objset_iter it = objset_all(cache_set(n->agent->services));
    map_each (e, &n->all)
        ((struct announced *)e->value)->wanted = false;
    for (struct obj *o; (o = objset_next(&it));) {
        uint32_t ip;
        struct str interfaces;
        if (!model_announced(&o->tree, str_of(n->agent->cfg.name), &ip, &interfaces))
            continue;
        struct announced *one = announced_at(n, ip);
        one->wanted = true;
        if (!str_eqz(interfaces, one->interfaces)) {
            mem_free(one->interfaces);
            one->interfaces = str_dupz(interfaces);
            one->told = 0;
        }
    }
}

static void work_run(struct job *j)
{
    struct announce_work *w = container_of(j, struct announce_work, job);
    struct vips have;
    w->ok = vip_list(w->instance, &have, &w->err);
    array_each (ip, &have.list) {
        bool wanted = false;
        array_each (want, &w->wanted)
            wanted |= *want == *ip;
        if (!wanted && w->ok)
            w->ok = vip_del(w->instance, *ip, &w->err);
    }
    array_fini(&have.list);
    array_each (want, &w->wanted)
        w->ok = w->ok && vip_add(w->instance, *want, &w->err);
    array_each (one, &w->tell) {
        w->ok = w->ok && vip_tell(one->ip, str_of(one->interfaces), &w->err) &&
                vip_is_heard(one->ip, str_of(one->interfaces), one->deaf, &w->err);
    }
}

static void work_free(struct announce_work *w)
{
    array_each (one, &w->tell)
        mem_free(one->interfaces);
    array_fini(&w->tell);
    array_fini(&w->wanted);
    mem_free(w);
}

static void announce_destroy(struct announce *n)
{
    map_each (e, &n->all)
        announced_free(e->value);
    map_fini(&n->all);
    mem_free(n);
}

/* When the neighbours are to be told next; 0: they have been. */
static int64_t next_telling(const struct announce *n)
{
    int64_t at = 0;
    map_each (e, &n->all) {
        const struct announced *one = e->value;
        if (one->there && one->told < countof(tell_after)) {
            int64_t due = one->since + tell_after[one->told];
            at = at ? MIN(at, due) : due;
        }
    }
    return at;
}

static void after_work(struct announce *n, const struct announce_work *w)
{
    int64_t now = clock_mono(), at;
    if (!w->ok) {
        n->retry = n->retry ? MIN(n->retry * 2, RETRY_LAST) : RETRY_FIRST;
        log_warn("announce", "retry_s=%lld error=\"%s\"", (long long)(n->retry / NS_PER_S), w->err.text);
        n->dirty = true;
        timer_set(&n->timer, n->retry);
        return;
    }
    n->retry = 0;
    array_each (ip, &w->wanted) {
        struct announced *one = announced_at(n, *ip);
        if (!one->there)
            log_info("announce", "address=" IP4_FMT " here=yes", IP4_ARG(*ip));
        one->there = true;
    }
    array_each (told, &w->tell) {
        struct announced *one = announced_at(n, told->ip);
        one->told = told->told;
        if (told->deaf[0] && strcmp(one->deaf, told->deaf) != 0)
            log_warn("announce",
                     "address=" IP4_FMT " nobody will be answered: link %s has arp_ignore set; "
                     "sysctl net.ipv4.conf.%s.arp_ignore=0 (and .all.) ends that",
                     IP4_ARG(one->ip), told->deaf, told->deaf);
        (void)memcpy(one->deaf, told->deaf, sizeof one->deaf);
    }
    for (bool gone = true; gone;) {
        gone = false;
        map_each (e, &n->all) {
            struct announced *one = e->value;
            bool kept = one->wanted;
            array_each (ip, &w->wanted)
                kept |= *ip == one->ip;
            if (kept)
                continue;
            log_info("announce", "address=" IP4_FMT " here=no", IP4_ARG(one->ip));
            (void)map_del(&n->all, e->key);
            announced_free(one);
            gone = true; /* the map has changed under the loop */
            break;
        }
    }
    at = next_telling(n);
    if (n->dirty || at)
        timer_set(&n->timer, n->dirty ? 0 : MAX(at - now, 0));
}

static void work_done(struct job *j)
{
    struct announce_work *w = container_of(j, struct announce_work, job);
    struct announce *n = w->owner;
    n->busy = false;
    if (n->freed)
        announce_destroy(n);
    else
        after_work(n, w);
    work_free(w);
}

static void on_timer(struct timer *t)
{
    struct announce *n = container_of(t, struct announce, timer);
    int64_t now = clock_mono();
    if (n->busy || !services_synced(n->agent->endpoints))
        return; /* the job's end, or the news that all is known, comes here again */
    if (n->dirty)
        wanted_read(n);
    n->dirty = false;
    struct announce_work *w = NEW(struct announce_work);
    w->owner = n;
    w->instance = n->agent->cfg.instance;
    map_each (e, &n->all) {
        struct announced *one = e->value;
        if (!one->wanted)
            continue;
        array_push(&w->wanted, one->ip);
        if (one->told == 0)
            one->since = now;
        size_t due = one->told;
        while (due < countof(tell_after) && one->since + tell_after[due] <= now)
            due++;
        if (due > one->told)
            array_push(&w->tell, ((struct announced){
                                     .ip = one->ip, .interfaces = str_dupz(str_of(one->interfaces)), .told = due}));
    }
    n->busy = true;
    job_start(&w->job, n->agent->cfg.loop, work_run, work_done);
}

void announce_news(struct announce *n)
{
    n->dirty = true;
    if (!n->busy && !n->retry)
        timer_set(&n->timer, 0);
}

static bool says_announced(const struct announce *n, const struct obj *o)
{
    uint32_t ip;
    struct str interfaces;
    return o && model_announced(&o->tree, str_of(n->agent->cfg.name), &ip, &interfaces);
}

void announce_changed(struct announce *n, const struct obj *was, const struct obj *now)
{
    if (says_announced(n, was) || says_announced(n, now))
        announce_news(n);
}

struct announce *announce_new(struct agent *g)
{
    struct announce *n = NEW(struct announce);
    n->agent = g;
    timer_init(&n->timer, g->cfg.loop, on_timer);
    return n;
}

void announce_free(struct announce *n)
{
    if (!n)
        return;
    timer_stop(&n->timer);
    n->freed = true;
    if (!n->busy)
        announce_destroy(n);
}
