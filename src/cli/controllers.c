#include "cli/controllers.h"
#include "base/log.h"
#include "base/map.h"
#include "cli/process.h"
#include "control/manager.h"
#include "edge/cert_work.h"
#include "sys/clock_watch.h"
#include "sys/loop_thread.h"
#include "sys/zoneinfo.h"

struct controllers {
    struct server *server;
    struct loop_thread *thread;
    struct loop *loop; /* its loop */
    struct manager *manager;
    struct map transports; /* account -> struct transport */
    struct zoneinfo *zones;
    struct clock_watch clock;
    struct lane *lane;              /* of keys; NULL until one is made, or where no thread is to be had */
    const struct controller **rows; /* those that run; NULL-terminated */
};

/* Work of an action. Keys, which may take seconds each, have a thread of their own: many of them would keep the pool
 * from everybody else, and the requests and signatures of those that are made already. */
struct controllers_job {
    struct job job;
    struct action_work *work;
};

static void job_work(struct job *j)
{
    struct action_work *w = container_of(j, struct controllers_job, job)->work;
    w->ok = cert_work(&w->arena, &w->ask, &w->body, &w->err);
}

static void job_done(struct job *j)
{
    struct controllers_job *x = container_of(j, struct controllers_job, job);
    struct action_work *w = x->work;
    mem_free(x);
    w->done(w);
}

/* What the cluster itself signs: nobody but who does that gets its key. */
static void cluster_authority_add(struct controllers *c, struct action_work *w)
{
    struct strbuf key = STRBUF(STRBUF_TEXT);
    server_ca_key(c->server, &key);
    val_set_str(&w->arena, &w->ask, S("key"), val_bytes(&w->arena, strbuf_str(&key)));
    val_set_str(&w->arena, &w->ask, S("certificate"), val_bytes(&w->arena, server_ca_pem(c->server)));
    mem_wipe(key.p, key.n);
    strbuf_fini(&key);
}

static void work_begin_job(void *arg, struct action_work *w)
{
    struct controllers *c = arg;
    struct controllers_job *x = NEW(struct controllers_job);
    struct err err = ERR;
    x->work = w;
    if (str_eqz(val_text(val_get_str(&w->ask, S("do"))), "sign-csr"))
        cluster_authority_add(c, w);
    bool key = str_eqz(val_text(val_get_str(&w->ask, S("do"))), "key");
    if (key && !c->lane)
        c->lane = lane_new(c->loop, &err);
    if (key && c->lane)
        lane_start(c->lane, &x->job, job_work, job_done);
    else
        job_start(&x->job, c->loop, job_work, job_done);
}

/* Without those of a setting that is off. */
static const struct controller **rows_running(const struct controllers_options *o)
{
    size_t n = 0, out = 0;
    while (controllers[n])
        n++;
    const struct controller **rows = mem_alloc((n + 1) * sizeof(const struct controller *));
    for (size_t i = 0; i < n; i++)
        if (!controllers[i]->setting || o->certificates) /* there is one setting so far */
            rows[out++] = controllers[i];
    return rows;
}

static struct transport *transport_of(void *arg, const char *account)
{
    struct controllers *c = arg;
    struct transport *t = map_get(&c->transports, str_of(account));
    if (!t) {
        t = process_transport_new(c->loop, c->server, account);
        (void)map_put(&c->transports, str_of(account), t); /* none was there */
    }
    return t;
}

static void clock_was_set(struct clock_watch *w)
{
    manager_clock_set(container_of(w, struct controllers, clock)->manager);
}

static void controllers_begin(void *arg)
{
    struct controllers *c = arg;
    struct err err = ERR;
    if (!clock_watch_start(&c->clock, c->loop, clock_was_set, &err))
        log_warn("control.clock", "a clock that is set is noticed late error=%s", err.text);
    manager_start(c->manager);
}

static const struct zone *zone_named(void *arg, struct str name, struct err *err)
{
    struct controllers *c = arg;
    return zoneinfo_get(c->zones, name, err);
}

/* Made here, where kinds are published; from its start on all of it is the other thread's. */
static struct manager *manager_of(struct controllers *c, const struct controllers_options *options)
{
    struct manager_options o = {.transport = transport_of(c, "wherry-manager"),
                                .transport_of = transport_of,
                                .arg = c,
                                .kinds = server_kinds(c->server),
                                .schedule = true,
                                .zone = zone_named,
                                .zone_arg = c,
                                .controllers = c->rows,
                                .hpa_period_ns = options->hpa_period_ns,
                                .work = work_begin_job,
                                .work_arg = c,
                                .x509 = cert_facts_read,
                                .root_ca = server_ca_pem(c->server)};
    return manager_new(&o);
}

struct controllers *controllers_start(struct server *s, const struct controllers_options *o, struct err *err)
{
    struct loop_thread *thread = loop_thread_new(err);
    if (!thread)
        return NULL;
    struct controllers *c = NEW(struct controllers);
    *c = (struct controllers){.server = s, .thread = thread, .loop = loop_thread_loop(thread)};
    c->zones = zoneinfo_new(NULL);
    c->rows = rows_running(o);
    c->manager = manager_of(c, o);
    if (loop_thread_start(thread, controllers_begin, c, err))
        return c;
    manager_free(c->manager);
    map_each (it, &c->transports)
        transport_free(it->value);
    map_fini(&c->transports);
    zoneinfo_free(c->zones);
    mem_free(c->rows);
    loop_thread_free(thread);
    mem_free(c);
    return NULL;
}

void controllers_stop(struct controllers *c)
{
    if (c && !loop_thread_stop(c->thread, NS_PER_S))
        log_warn("control.stop", "a plan is still at work; it ends with the process");
}
