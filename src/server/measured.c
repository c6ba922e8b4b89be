#include "server/measured.h"
#include "base/log.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/read.h"
#include "wire/http_client.h"

#define NODE_WAIT (15 * NS_PER_S)

struct measured {
    struct server *server;
    struct str node; /* whose relay is asked; "": none belongs to this server */
    struct http_client *client;
    struct http_call *call;         /* NULL: nobody waits */
    ARRAY(struct request *) asking; /* wait for it */
    struct measured_usage usage;
    int64_t came;   /* clock_mono; 0: nothing is known */
    struct err why; /* the last answer was none */
    struct arena arena;
};

bool measured_serves(const struct request *r)
{
    return (r->kind == K(NodeMetrics) || r->kind == K(PodMetrics)) && !r->sub.n && (r->verb & (VERB_GET | VERB_LIST));
}

/* --- answers --- */

/* Why there are no figures of a pod or node; NULL: there are. */
static const char *missing_why(struct measured *m, struct arena *a, const struct obj *o, const struct val **usage)
{
    bool pod = o->kind == K(Pod);
    struct str node = pod ? val_text_at(obj_spec(o), N(nodeName)) : o->name;
    struct str phase = val_text_at(obj_status(o), N(phase));
    if (pod && !str_eqz(phase, "Running"))
        return arena_fmt(a, "pod " STR_FMT "/" STR_FMT " does not run: its phase is " STR_FMT, STR_ARG(o->ns),
                         STR_ARG(o->name), STR_ARG(phase.n ? phase : S("not known")))
            .p;
    if (!str_eq(node, m->node))
        return arena_fmt(a, "node " STR_FMT " gives no figures to this server", STR_ARG(node)).p;
    if (!m->came)
        return arena_fmt(a, "node " STR_FMT " gives no figures: %s", STR_ARG(node), m->why.text).p;
    *usage = pod ? map_get(&m->usage.pods, arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(o->name)))
                 : &m->usage.tree;
    return *usage && (!pod || val_len(val_get_str(*usage, S("containers"))))
               ? NULL
               : arena_fmt(a, "there are no figures of pod " STR_FMT "/" STR_FMT " yet", STR_ARG(o->ns),
                           STR_ARG(o->name))
                     .p;
}

static struct obj *object_measured(struct request *r, const struct obj *o, const struct val *usage, int64_t now)
{
    struct val v = o->kind == K(Pod) ? measured_pod(&r->arena, o, usage, now)
                                     : measured_node(&r->arena, o, usage, now);
    return obj_new(r->kind, &v, 0);
}

static void answer_get(struct measured *m, struct request *r)
{
    bool pod = r->kind == K(PodMetrics);
    AUTO(obj_unref) struct obj *o = object_get(r->server, pod ? K(Pod) : K(Node), r->ns, r->name);
    const struct val *usage = NULL;
    if (!o) { /* as metrics-server, which looks for the object first */
        (void)fail_named_not_found(r, S(""), pod ? S("pods") : S("nodes"), r->name);
        return;
    }
    const char *why = missing_why(m, &r->arena, o, &usage);
    if (why) {
        (void)fail_named_not_found(r, r->group, pod ? S("podmetrics") : S("nodemetrics"),
                                   pod ? arena_fmt(&r->arena, STR_FMT "/" STR_FMT, STR_ARG(r->ns), STR_ARG(r->name))
                                       : r->name);
        answer_warn(r, str_of(why));
        return;
    }
    AUTO(obj_unref) struct obj *made = object_measured(r, o, usage, clock_real());
    answer_obj(r, 200, made);
}

struct measured_list {
    struct measured *measured;
    struct request *request;
    struct filter filter;
    int64_t now;
    ARRAY(struct obj *) items;
};

static bool list_add_one(struct obj *o, void *arg)
{
    struct measured_list *l = arg;
    const struct val *usage = NULL;
    AUTO(arena_fini) struct arena a = ARENA;
    if (filter_matches(&l->filter, l->request->kind, o) && !missing_why(l->measured, &a, o, &usage)) {
        struct obj *made = object_measured(l->request, o, usage, l->now);
        array_push(&l->items, made);
    }
    return true;
}

static void answer_list(struct measured *m, struct request *r)
{
    struct measured_list l = {.measured = m, .request = r, .now = clock_real()};
    if (!filter_of(r, &l.filter))
        return;
    objects_each(r->server, r->kind == K(PodMetrics) ? K(Pod) : K(Node),
                 r->kind == K(PodMetrics) && r->ns.n ? r->ns : STR_NONE, list_add_one, &l);
    r->answer.type = ANSWER_LIST;
    r->answer.code = 200;
    r->answer.items = l.items.p;
    r->answer.n = l.items.n;
    r->answer.old = true; /* nobody else has these */
    if (!m->came)
        answer_warn(r, arena_fmt(&r->arena, "node " STR_FMT " gives no figures: %s", STR_ARG(m->node), m->why.text));
}

static void answer_one(struct measured *m, struct request *r)
{
    if (r->verb == VERB_GET)
        answer_get(m, r);
    else
        answer_list(m, r);
    request_finish(r);
}

static void answer_all(struct measured *m)
{
    array_each (r, &m->asking)
        answer_one(m, *r);
    array_fini(&m->asking);
}

/* --- asking the node --- */

static void node_answered(struct http_call *c, const struct http_answer *a, struct err *err)
{
    struct measured *m = http_call_arg(c);
    struct measured_usage usage = {0};
    struct err why = ERR;
    m->call = NULL;
    bool good = a && a->status == 200 && measured_read(&usage, a->body, &why);
    if (!a)
        why = *err;
    else if (a->status != 200)
        (void)err_set(&why, E_UNAVAILABLE, STR_FMT, STR_ARG(str_sub(str_trim(a->body), 0, 300)));
    measured_usage_fini(&m->usage);
    m->usage = usage;
    m->came = good ? clock_mono() : 0;
    m->why = why;
    if (!good)
        log_warn("metrics.node", "node=" STR_FMT " gives no figures: error=\"%s\"", STR_ARG(m->node), why.text);
    answer_all(m);
}

static struct measured *measured_of(struct server *s)
{
    static const char prefix[] = "system:node:";
    if (s->measured)
        return s->measured;
    struct measured *m = s->measured = NEW(struct measured);
    m->server = s;
    m->node = S("");
    for (size_t i = 0; i < s->options.npeers; i++)
        if (str_starts(str_of(s->options.peers[i].user), str_of(prefix)))
            m->node = str_of(s->options.peers[i].user + sizeof prefix - 1);
    m->client = http_client_new(
        s->loop, &(struct http_client_config){.address = arena_fmt(&m->arena, "unix:%s", s->options.node_socket),
                                              .host = S("node")});
    return m;
}

/* A pod that runs and of which the node said nothing: it has begun since, or was too young. */
struct newcomer {
    const struct measured *measured;
    bool found;
};

static bool is_newcomer(struct obj *o, void *arg)
{
    struct newcomer *n = arg;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(600);
    strbuf_addf(&key, STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(o->name));
    n->found = str_eqz(val_text_at(obj_status(o), N(phase)), "Running") &&
               str_eq(val_text_at(obj_spec(o), N(nodeName)), n->measured->node) &&
               !val_len(val_get_str(map_get(&n->measured->usage.pods, strbuf_str(&key)), S("containers")));
    return !n->found;
}

/* What was said last still serves: it is young, and knows whom it is about. */
static bool is_fresh(const struct measured *m, const struct request *r)
{
    int64_t age = clock_mono() - m->came;
    struct newcomer n = {m, false};
    if (!m->came || age >= MEASURED_KEPT)
        return false;
    if (age >= MEASURED_ANEW && r->kind == K(PodMetrics))
        objects_each(r->server, K(Pod), r->ns, is_newcomer, &n);
    return !n.found;
}

void measured_answer(struct request *r)
{
    static const struct http_call_fns fns = {.done = node_answered};
    struct measured *m = measured_of(r->server);
    if (is_fresh(m, r)) {
        answer_one(m, r);
        return;
    }
    if (m->asking.n >= LIMIT_MEASURED_WAITING) {
        (void)fail_too_many(r, 1, "%d requests wait for figures of the node; try again later",
                            LIMIT_MEASURED_WAITING);
        request_finish(r);
        return;
    }
    array_push(&m->asking, r);
    if (!m->call)
        m->call = http_send(m->client,
                            &(struct http_outgoing){.method = S("GET"),
                                                    .target = S("/stats/usage"),
                                                    .answer_most = MEASURED_MOST,
                                                    .head_ns = NODE_WAIT,
                                                    .stall_ns = NODE_WAIT},
                            &fns, m);
}

void measured_free(struct measured *m)
{
    if (!m)
        return;
    http_cancel(m->call);
    m->came = 0;
    (void)err_set(&m->why, E_UNAVAILABLE, "the server is ending");
    answer_all(m);
    http_client_free(m->client);
    measured_usage_fini(&m->usage);
    arena_fini(&m->arena);
    mem_free(m);
}
