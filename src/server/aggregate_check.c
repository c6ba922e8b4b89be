/* aggregate_check.c - whether the server behind an APIService answers: its condition Available, with upstream's
 * reasons and words (kube-aggregator, the controller of remote availability).
 *
 * What can be seen is looked at first: the Service, its port, its endpoints; when one of these changes it is looked
 * at again. Then discovery of the group version is asked for, which the server must have: again after a while, ever
 * later where it fails. Where no APIService has a Service nothing here runs. */
#include "api/codec.h"
#include "base/log.h"
#include "server/aggregate_int.h"
#include "server/write.h"

#define CHECK_SECONDS 5
#define CHECK_EVERY   (30 * NS_PER_S) /* one that answers; and the longest that another waits */
#define AGAIN_FIRST   (100 * NS_PER_MS)

/* --- the condition --- */

struct aggregate_writing {
    struct request r;
    struct aggregate_target *target; /* NULL: it is no more */
};

static void check_later(struct aggregate_target *t)
{
    int64_t wait = AGAIN_FIRST;
    for (int i = 0; i < t->failures && wait < CHECK_EVERY; i++)
        wait *= 2;
    t->failures++;
    timer_set(&t->timer, MIN(wait, CHECK_EVERY));
}

static void condition_written(struct request *r)
{
    struct aggregate_writing *w = container_of(r, struct aggregate_writing, r);
    struct aggregate_target *t = w->target;
    bool failed = r->answer.type == ANSWER_FAILED;
    if (failed && r->answer.fail.code != 404 && r->answer.fail.code != 409)
        log_warn("apiservice.status", "name=" STR_FMT " err=\"" STR_FMT "\"", STR_ARG(r->name),
                 STR_ARG(r->answer.fail.message));
    request_fini(r);
    mem_free(w);
    if (!t)
        return;
    t->writing = NULL;
    if (failed)
        check_later(t);
    else if (t->again)
        aggregate_check_soon(t);
}

static bool condition_is_said(const struct val *c, bool good, const char *reason, struct str message)
{
    return c && str_eqz(val_text_at(c, N(status)), good ? "True" : "False") &&
           str_eqz(val_text_at(c, N(reason)), reason) && str_eq(val_text_at(c, N(message)), message);
}

/* As upstream keeps them: its time is that of its last turn, its place that of the one before. */
static struct val conditions_set(struct arena *a, const struct obj *o, bool good, const char *reason,
                                 struct str message)
{
    struct val list = val_list(), c = val_map();
    const struct val *all = val_get(obj_status(o), N(conditions)), *was = val_find(all, N(type), S("Available"));
    struct str status = good ? S("True") : S("False");
    bool turned = !was || !str_eq(val_text_at(was, N(status)), status);
    val_set_text(a, &c, N(type), S("Available"));
    val_set_text(a, &c, N(status), status);
    val_set_text(a, &c, N(lastTransitionTime),
                 turned ? time_text(a, clock_real() / NS_PER_S * NS_PER_S) : val_text_at(was, N(lastTransitionTime)));
    val_set_text(a, &c, N(reason), str_of(reason));
    val_set_text(a, &c, N(message), str_dup(a, message));
    val_each_item (it, all)
        val_add(a, &list, it == was ? c : val_copy(a, it));
    if (!was)
        val_add(a, &list, c);
    return list;
}

static void condition_write(struct aggregate_target *t, bool good, const char *reason, struct str message)
{
    struct server *s = t->all->server;
    const struct val *was = val_find(val_get(obj_status(t->obj), N(conditions)), N(type), S("Available"));
    if (condition_is_said(was, good, reason, message))
        return;
    struct aggregate_writing *w = NEW(struct aggregate_writing);
    struct request *r = &w->r;
    struct arena *a = &r->arena;
    request_init(r, s, s->loop, condition_written);
    struct val *tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &t->obj->tree);
    val_set_text(a, tree, N(kind), K(APIService)->kind);
    val_set_text(a, tree, N(apiVersion), K(APIService)->api_version);
    val_set_text(a, val_need_map(a, tree, N(metadata)), N(resourceVersion),
                 arena_fmt(a, "%lld", (long long)t->obj->rev));
    val_set(a, val_need_map(a, tree, N(status)), N(conditions), conditions_set(a, t->obj, good, reason, message));
    request_for(r, VERB_UPDATE, K(APIService), S(""), str_dup(a, t->is.name), S("status"));
    r->authorized = r->admitted = true;
    r->body = tree;
    w->target = t;
    t->writing = w;
    if (t->is.available != good)
        log_info("apiservice.available", "name=" STR_FMT " available=%s reason=%s", STR_ARG(t->is.name),
                 good ? "true" : "false", reason);
    request_start(r);
}

/* --- what can be seen --- */

struct endpoint_look {
    struct str service, port;
    size_t slices, ready; /* ready: addresses of slices that have the port */
};

static bool slice_look(struct obj *o, void *arg)
{
    struct endpoint_look *l = arg;
    if (!str_eq(val_text(val_get_str(obj_labels(o), S("kubernetes.io/service-name"))), l->service))
        return true;
    l->slices++;
    bool port = false;
    size_t ready = 0;
    val_each_item (p, val_get(&o->tree, N(ports)))
        port |= str_eq(val_text_at(p, N(name)), l->port) && val_num_at(p, 0, N(port)) > 0;
    val_each_item (e, val_get(&o->tree, N(endpoints))) {
        const struct val *is = val_at(e, N(conditions), N(ready));
        ready += !is || val_true(is);
    }
    l->ready += port ? ready : 0;
    return true;
}

/* False: it is not there, as the condition says now. *tries: how many addresses may answer. */
static bool check_seen(struct aggregate_target *t, struct arena *a, int *tries)
{
    const struct aggregated *g = &t->is;
    struct server *s = t->all->server;
    struct str where = arena_fmt(a, "service/" STR_FMT " in \"" STR_FMT "\"", STR_ARG(g->service_name),
                                 STR_ARG(g->service_ns));
    AUTO(obj_unref) struct obj *service = object_get(s, K(Service), g->service_ns, g->service_name);
    if (!service) {
        condition_write(t, false, "ServiceNotFound", arena_fmt(a, STR_FMT " is not present", STR_ARG(where)));
        return false;
    }
    *tries = 1;
    if (!str_eqz(val_text_at(obj_spec(service), N(type)), "ClusterIP"))
        return true;
    const struct val *port = NULL;
    val_each_item (p, val_get(obj_spec(service), N(ports)))
        if (!port && val_num_at(p, 0, N(port)) == g->port)
            port = p;
    if (!port) {
        condition_write(t, false, "ServicePortError",
                        arena_fmt(a, STR_FMT " is not listening on port %d", STR_ARG(where), g->port));
        return false;
    }
    struct endpoint_look look = {.service = g->service_name, .port = val_text_at(port, N(name))};
    objects_each(s, K(EndpointSlice), g->service_ns, slice_look, &look);
    if (!look.slices)
        condition_write(t, false, "EndpointsNotFound",
                        arena_fmt(a, "cannot find endpointslices for " STR_FMT, STR_ARG(where)));
    else if (!look.ready)
        condition_write(t, false, "MissingEndpoints",
                        arena_fmt(a,
                                  "endpointslices for " STR_FMT " have no addresses with port name \"" STR_FMT "\"",
                                  STR_ARG(where), STR_ARG(look.port)));
    *tries = (int)MIN(look.ready, (size_t)AGGREGATE_TRIES);
    return look.ready;
}

/* --- asking --- */

static void calls_end(struct aggregate_target *t)
{
    for (int i = 0; i < AGGREGATE_TRIES; i++)
        outbound_cancel(&t->calls[i]);
    t->flying = 0;
    arena_fini(&t->asked);
    t->asked = ARENA;
}

static void check_over(struct aggregate_target *t)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str said = str_dup(&a, t->said);
    calls_end(t);
    if (t->passed) {
        t->failures = 0;
        condition_write(t, true, "Passed", S("all checks passed"));
        timer_set(&t->timer, CHECK_EVERY);
    } else {
        condition_write(t, false, "FailedDiscoveryCheck", said);
        check_later(t);
    }
    if (t->again && !t->writing)
        aggregate_check_soon(t);
}

static void call_answered(struct outbound_call *c, const struct http_answer *answer, const struct err *err)
{
    struct aggregate_target *t = c->arg;
    struct arena *a = &t->asked;
    t->flying--;
    if (answer && answer->status >= 200 && answer->status < 300)
        t->passed = true;
    else if (answer)
        t->said = arena_fmt(a, "failing or missing response from " STR_FMT ": bad status from " STR_FMT ": %d",
                            STR_ARG(c->url), STR_ARG(c->url), answer->status);
    else if (!c->reached)
        t->said = str_dup(a, str_of(err->text));
    else
        t->said = arena_fmt(a, "failing or missing response from " STR_FMT ": %s%s", STR_ARG(c->url), err->text,
                            err->kind == E_TIMEOUT ? " (Client.Timeout exceeded while awaiting headers)" : "");
    if (t->passed || !t->flying)
        check_over(t);
}

static void check_run(struct timer *timer)
{
    struct aggregate_target *t = container_of(timer, struct aggregate_target, timer);
    struct server *s = t->all->server;
    if (s->stopping)
        return;
    if (t->flying || t->writing) {
        t->again = true;
        return;
    }
    AUTO(arena_fini) struct arena a = ARENA;
    int tries = 0;
    t->again = t->passed = false;
    t->said = S("");
    if (!check_seen(t, &a, &tries))
        return;
    struct http_headers headers = {0};
    aggregate_headers(&a, &headers, S(""), S(""));
    AUTO(outbound_unref) struct outbound *o = aggregate_checked(t->all, t->obj);
    struct outbound_question q = {
        .method = S("GET"),
        .path = arena_fmt(&t->asked, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(t->is.group), STR_ARG(t->is.version)),
        .headers = &headers,
        .head_only = true,
        .any_status = true,
        .timeout_s = CHECK_SECONDS};
    t->flying = tries;
    for (int i = 0; i < tries; i++) {
        outbound_send(o, &t->calls[i], &t->asked, &q, call_answered);
        t->calls[i].arg = t;
    }
}

void aggregate_check_begin(struct aggregate_target *t)
{
    timer_init(&t->timer, t->all->server->loop, check_run);
    timer_set(&t->timer, 0);
}

void aggregate_check_soon(struct aggregate_target *t)
{
    timer_set(&t->timer, 0);
}

void aggregate_check_end(struct aggregate_target *t)
{
    timer_stop(&t->timer);
    calls_end(t);
    if (t->writing)
        t->writing->target = NULL;
}
