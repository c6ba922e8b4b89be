/* fencing_test.c - the loop's side of the fences. */
#include "base/fault.h"
#include "net/fence_world_test.h"
#include "net/fencing.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static struct loop *loop;
static struct fencing *g;
static uint64_t applied, revision;
static int failures;
static const struct fencing_config config = {{"1f3a9"}, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24}};

static void on_applied(void *arg, uint64_t r)
{
    (void)arg;
    applied = r;
    loop_stop(loop);
}
static void on_failed(void *arg, const struct err *err)
{
    (void)arg;
    fprintf(stderr, "%s\n", err->text);
    failures++;
}

static void fencing_start(void)
{
    static const struct fencing_events events = {on_applied, on_failed};
    struct err err = ERR;
    g = fencing_new(loop, &config, &events, NULL, &err);
    CHECK_OK(g != NULL, err);
    put_ns(fencing_fences(g), "default", "{}");
    for (int i = 0; i < 3; i++) {
        static const char *const names_of[] = {"web", "client", "other"};
        static const char *const labels[] = {"{'app':'web'}", "{'app':'client'}", "{'app':'other'}"};
        put_pod(fencing_fences(g), "default", names_of[i], w.pods[i].ip, labels[i]);
    }
}

static void fencing_enter(void)
{
    struct err err = ERR;
    table_enter();
    service_commit(NULL);
    loop = loop_new(&err);
    CHECK_OK(loop != NULL, err);
    fencing_start();
}

static void fencing_leave(void)
{
    fencing_free(g);
    while (loop_run_once(loop, NS_PER_S))
        ;
    loop_free(loop);
    table_leave();
}

static void fencing_settle(void)
{
    fencing_apply(g, ++revision);
    while (applied != revision)
        loop_run(loop);
}

static void on_turned(struct timer *t)
{
    (void)t;
    loop_stop(loop);
}

static void loop_turn_some(void)
{
    struct timer t;
    timer_init(&t, loop, on_turned);
    timer_set(&t, 20 * NS_PER_MS);
    loop_run(loop);
    timer_stop(&t);
}

static void policy_try(const char *name, const char *spec)
{
    put_policy(fencing_fences(g), "default", name, spec);
    fencing_settle();
}

static int pod_reach(int from, int to)
{
    return TCP(w.pods[from].ns, w.pods[to].ip, 8080).error;
}

#define ALLOW(app)                                                                                                   \
    "{'podSelector':{'matchLabels':{'app':'web'}},'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':'" app    \
    "'}}}]}]}"

TEST(fencing_says_what_is_in_force_and_repairs)
{
    fencing_enter();
    fencing_settle();
    CHECK_INT(pod_reach(1, 0), 0);
    CHECK(!str_has(world_output("nft list tables"), S("fence"))); /* nobody asked */
    policy_try("a", ALLOW("client"));
    CHECK_INT(pod_reach(1, 0), 0);
    CHECK_INT(pod_reach(2, 0), ECONNREFUSED);
    policy_try("a", ALLOW("other"));
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    CHECK_INT(pod_reach(2, 0), 0);
    fencing_settle(); /* a revision that changed nothing here is in force too */
    world_run("nft flush ruleset");
    int64_t until = clock_mono() + 5 * NS_PER_S;
    while (pod_reach(1, 0) != ECONNREFUSED && clock_mono() < until)
        loop_turn_some();
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    CHECK_INT(pod_reach(2, 0), 0);
    fences_del_policy(fencing_fences(g), S("default"), S("a"));
    fencing_settle();
    CHECK_INT(pod_reach(1, 0), 0);
    CHECK(!str_has(world_output("nft list tables"), S("fence")));
    CHECK_INT(failures, 0);
    fencing_leave();
}

TEST(a_new_run_takes_over_without_a_gap)
{
    fencing_enter();
    policy_try("a", ALLOW("other"));
    for (int i = 0; i < 3; i++) {
        fencing_free(g);
        while (loop_run_once(loop, NS_PER_S))
            ;
        CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
        fencing_start();
        CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
        policy_try(i % 2 ? "a" : "b", ALLOW("other"));
        CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
        CHECK_INT(pod_reach(2, 0), 0);
    }
    fencing_leave();
}

struct open {
    int client, server;
};

static struct open open_tcp(int from, int to, uint16_t port)
{
    struct reached r = world_reach(w.pods[from].ns, SOCK_STREAM, 0, w.pods[to].ip, port, w.servers, 3, 2000);
    CHECK_INT(r.error, 0);
    return (struct open){r.fd, r.peer};
}

static bool open_carries(struct open o)
{
    char c = 0;
    struct pollfd p = {o.client, POLLIN, 0};
    if (send(o.server, "x", 1, MSG_NOSIGNAL) != 1 || poll(&p, 1, 250) != 1 || recv(o.client, &c, 1, 0) != 1)
        return false;
    p.fd = o.server;
    return send(o.client, "y", 1, MSG_NOSIGNAL) == 1 && poll(&p, 1, 250) == 1 && recv(o.server, &c, 1, 0) == 1;
}

TEST(connections_that_are_allowed_no_more_are_cut)
{
    fencing_enter();
    policy_try("b", "{'podSelector':{'matchLabels':{'app':'other'}},'ingress':[{}]}");
    struct open bad = open_tcp(1, 0, 8080), good = open_tcp(2, 0, 8080), out = open_tcp(0, 1, 8080);
    CHECK(open_carries(bad) && open_carries(good) && open_carries(out));
    policy_try("a", ALLOW("other"));
    CHECK(!open_carries(bad));
    CHECK(open_carries(good) && open_carries(out));
    struct reached node = world_reach(NO_NS, SOCK_STREAM, 0, w.pods[0].ip, 8080, w.servers, 3, 2000);
    struct open probe = {node.fd, node.peer};
    CHECK(open_carries(probe));
    put_pod(fencing_fences(g), "default", "other", w.pods[2].ip, "{'app':'client'}"); /* its label is gone */
    fencing_settle();
    CHECK(!open_carries(good));
    CHECK(open_carries(out));
    policy_try("a", ALLOW("nobody"));
    CHECK(open_carries(probe)); /* the node's own */
    fencing_leave();
}

static size_t counts;
static uint64_t refused;

static void on_counts(void *arg, const struct fence_count *list, size_t n, const struct err *err)
{
    (void)arg;
    CHECK(!err);
    counts = n;
    for (size_t i = 0; i < n; i++) {
        CHECK_STR(list[i].ns, S("default"));
        if (str_eqz(list[i].policy, "a") && !list[i].egress)
            refused = list[i].packets;
    }
    loop_stop(loop);
}

TEST(refused_connections_are_counted_by_policy)
{
    fencing_enter();
    policy_try("a", ALLOW("other"));
    policy_try("b",
               "{'podSelector':{'matchLabels':{'app':'other'}},'policyTypes':['Ingress','Egress'],'egress':[{}]}");
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    CHECK_INT(pod_reach(2, 0), 0);
    fencing_counts(g, on_counts, NULL);
    loop_run(loop);
    CHECK_INT(counts, 3);
    CHECK_INT(refused, 2);
    fencing_counts(g, on_counts, NULL); /* while it is freed */
    fencing_leave();
}

/* Whatever fails, at the first change and at each after it: in the end what is wanted is in force, and connections
 * that are allowed no more are cut. */
TEST(what_failed_is_done_again)
{
    fencing_enter();
    bool fired = true;
    int n = 1;
    for (; fired && n < 60; n++) {
        bool client = n % 2;
        policy_try("a", client ? ALLOW("client") : ALLOW("other"));
        struct open open = open_tcp(client ? 1 : 2, 0, 8080);
        fault_at(n);
        fences_del_policy(fencing_fences(g), S("default"), S("a"));
        policy_try("b", client ? ALLOW("other") : ALLOW("client"));
        fired = fault_fired();
        fault_at(0);
        CHECK(!open_carries(open));
        CHECK_INT(pod_reach(1, 0), client ? ECONNREFUSED : 0);
        CHECK_INT(pod_reach(2, 0), client ? 0 : ECONNREFUSED);
        fences_del_policy(fencing_fences(g), S("default"), S("b"));
        fd_close(open.client);
        fd_close(open.server);
    }
    CHECK(n > 5 && failures > 3);
    fencing_leave();
}
