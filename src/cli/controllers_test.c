/* Controllers on their own thread over a server: for the thread sanitizer above all. */
#include "api/codec.h"
#include "base/test.h"
#include "cli/controllers.h"
#include "control/manager.h"
#include "server/boot.h"
#include "server/int.h"
#include "wire/json.h"

enum { PODS = 30 };

static struct world {
    struct loop *loop;
    struct server *server;
    struct controllers *controllers;
    bool ready;
} w; /* static: what the controllers hold stays with the process, as in the role */

static void on_ready(void *arg)
{
    (void)arg;
    w.ready = true;
}

struct asking {
    struct request request;
    bool done;
};

static void on_done(struct request *r)
{
    container_of(r, struct asking, request)->done = true;
}

/* As the server itself asks: nobody is asked whether it may. */
static bool server_ask(enum verb verb, const struct kind *k, struct str ns, struct str name, const char *sub,
                       struct str json)
{
    struct asking x = {0};
    struct request *r = &x.request;
    struct err err = ERR;
    struct val tree, typed;
    request_init(r, w.server, w.loop, on_done);
    request_for(r, verb, k, ns, name, str_of(sub));
    r->authorized = true;
    if (json.n) {
        CHECK_OK(json_decode(&r->arena, json, &tree, &err), err);
        typed = tree;
        if (verb == VERB_CREATE)
            CHECK_OK(type_decode_val(&r->arena, k->type, &tree, &typed, NULL, &err), err);
        r->body = &typed;
        r->body_name = name;
    }
    r->options.patch = FORMAT_MERGE_PATCH;
    r->options.propagation = verb == VERB_DELETE ? S("Background") : S("");
    request_start(r);
    while (!x.done)
        (void)loop_run_once(w.loop, NS_PER_S);
    bool ok = r->answer.type != ANSWER_FAILED;
    if (!ok && verb != VERB_GET)
        test_failed(__FILE__, __LINE__, "%s " STR_FMT ": " STR_FMT, verb_name(verb), STR_ARG(name),
                    STR_ARG(r->answer.fail.message));
    request_fini(r);
    return ok;
}

struct counts {
    size_t all, placed, going;
};

static bool pod_count(struct obj *o, void *arg)
{
    struct counts *c = arg;
    c->all++;
    c->placed += val_text_at(obj_spec(o), N(nodeName)).n > 0;
    c->going += obj_deleting(o);
    return true;
}

static struct counts pods_count(void)
{
    struct counts c = {0};
    objects_each(w.server, K(Pod), S("default"), pod_count, &c);
    return c;
}

/* The server goes on answering while they work. */
static void turns_until(bool (*holds)(void))
{
    for (int64_t end = clock_mono() + 120 * NS_PER_S; !holds();) {
        (void)server_ask(VERB_GET, K(Deployment), S("default"), S("web"), "", STR_NONE);
        (void)loop_run_once(w.loop, NS_PER_MS);
        CHECK(clock_mono() < end);
    }
}

static bool all_placed(void)
{
    struct counts c = pods_count();
    return c.all == PODS && c.placed == PODS;
}

static bool all_going(void)
{
    struct counts c = pods_count();
    return c.going == c.all && !server_ask(VERB_GET, K(Deployment), S("default"), S("web"), "", STR_NONE);
}

static void node_up(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    (void)server_ask(VERB_CREATE, K(Node), S(""), S("n1"), "",
                     S("{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"n1\"}}}"));
    (void)server_ask(
        VERB_CREATE, K(Lease), S("kube-node-lease"), S("n1"), "",
        arena_fmt(
            &a,
            "{\"metadata\":{\"name\":\"n1\",\"namespace\":\"kube-node-lease\"},\"spec\":{\"renewTime\":\"" STR_FMT
            "\"}}",
            STR_ARG(time_text_micro(&a, clock_real()))));
    (void)server_ask(
        VERB_PATCH, K(Node), S(""), S("n1"), "status",
        S("{\"status\":{\"capacity\":{\"cpu\":\"8\",\"memory\":\"16Gi\",\"pods\":\"110\"},\"allocatable\":{\"cpu\":"
          "\"8\",\"memory\":"
          "\"16Gi\",\"pods\":\"110\"},\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":"
          "\"2026-01-01T00:00:00Z\"}]}}"));
}

static void controllers_run(void)
{
    struct err err = ERR;
    w.loop = loop_new(&err);
    struct server_options o = {.root = test_dir(), .listen = "127.0.0.1:0", .memory = true, .ready = on_ready};
    w.server = server_start(w.loop, &o, &err);
    CHECK_OK(w.server != NULL, err);
    while (!w.ready)
        (void)loop_run_once(w.loop, NS_PER_S);
    w.controllers = controllers_start(w.server, &(struct controllers_options){.certificates = true}, &err);
    CHECK_OK(w.controllers != NULL, err);
}

TEST(controllers_on_their_own_thread_make_place_and_end_pods)
{
    controllers_run();
    node_up();
    (void)server_ask(
        VERB_CREATE, K(Deployment), S("default"), S("web"), "",
        S("{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"replicas\":30,\"selector\":{"
          "\"matchLabels\":{"
          "\"app\":\"web\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{"
          "\"containers\":[{\"name\":\"web\","
          "\"image\":\"web\"}]}}}}"));
    turns_until(all_placed);
    (void)server_ask(VERB_DELETE, K(Deployment), S("default"), S("web"), "", STR_NONE);
    turns_until(all_going);
    controllers_stop(w.controllers);
    server_close_store(w.server);
}

TEST(controllers_that_are_ended_early_leave_the_server_alone)
{
    controllers_run();
    controllers_stop(w.controllers); /* their caches are being filled */
    CHECK(server_ask(VERB_GET, K(Namespace), S(""), S("default"), "", STR_NONE));
    server_close_store(w.server);
}

/* Without its role every write of a controller is forbidden, which only the log would tell. */
TEST(every_controller_has_a_role)
{
    for (size_t c = 0; controllers[c]; c++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str ns, want = arena_fmt(&a, "system:controller:%s", controllers[c]->account);
        const struct kind *k;
        struct val tree;
        bool found = false;
        for (size_t i = 0; !found && rbac_boot_next(&a, i, &k, &ns, &tree); i++)
            found = k == K(ClusterRole) && str_eq(val_text_at(&tree, N(metadata), N(name)), want);
        if (!found)
            test_failed(__FILE__, __LINE__, "the account of controller %s has no role: server/rbac_boot.c",
                        controllers[c]->name);
    }
}
