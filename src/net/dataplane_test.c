/* dataplane_test.c - the loop's side of the service rules. */
#include "net/dataplane.h"
#include "net/nft_world_test.h"

static struct loop *loop;
static uint64_t applied;
static int failures, repairs;
static struct drain_sample drained;

static void on_applied(void *arg, uint64_t revision)
{
    (void)arg;
    applied = revision;
    loop_stop(loop);
}
static void on_failed(void *arg, const struct err *err)
{
    (void)arg;
    fprintf(stderr, "%s\n", err->text);
    failures++;
}
static void on_repaired(void *arg)
{
    (void)arg;
    repairs++;
    loop_stop(loop);
}
static void on_drained(void *arg, const struct drain_sample *s, const struct err *err)
{
    (void)arg, (void)err;
    CHECK(s);
    drained = *s;
    loop_stop(loop);
}

TEST(the_dataplane_says_what_is_in_force_and_repairs)
{
    table_enter();
    struct err err = ERR;
    static const struct dataplane_events events = {on_applied, on_failed, on_repaired};
    loop = loop_new(&err);
    CHECK_OK(loop != NULL, err);
    struct dataplane *dp = dataplane_new(loop, &nft_config, &events, NULL, &err);
    CHECK_OK(dp != NULL, err);
    struct net_service s = web_service(2);
    CHECK_OK(dataplane_put(dp, &s, &err), err);
    dataplane_apply(dp, 7);
    loop_run(loop);
    CHECK_INT(applied, 7);
    check_reached(TCP(NO_NS, vip, 80), "after applied");
    s = web_service(1);
    CHECK_OK(dataplane_put(dp, &s, &err), err);
    dataplane_apply(dp, 8);
    loop_run(loop);
    CHECK_INT(applied, 8);
    for (int i = 0; i < 10; i++)
        CHECK_INT(TCP(NO_NS, vip, 80).server, 0);
    dataplane_apply(dp, 9); /* a revision that changed nothing here is in force too */
    loop_run(loop);
    CHECK_INT(applied, 9);
    int64_t until = clock_mono() + 200 * NS_PER_MS;
    for (uint64_t i = 10; clock_mono() < until; i++) { /* our own loading and changing is no foreign edit */
        s = web_service(1 + i % 3);
        CHECK_OK(dataplane_put(dp, &s, &err), err);
        dataplane_apply(dp, i);
        loop_run(loop);
    }
    CHECK_INT(repairs, 0);
    world_run("nft flush ruleset");
    loop_run(loop);
    CHECK_INT(repairs, 1);
    check_reached(TCP(NO_NS, vip, 80), "after the repair");
    dataplane_drain(dp, w.pods[0].ip, on_drained, NULL);
    loop_run(loop);
    CHECK_INT(drained.connections, 0);
    dataplane_del(dp, S("default"), S("web"), S("http"));
    dataplane_apply(dp, UINT64_MAX);
    dataplane_free(dp); /* while the job runs */
    while (loop_run_once(loop, NS_PER_S))
        ;
    CHECK_INT(failures, 0);
    loop_free(loop);
    table_leave();
}
