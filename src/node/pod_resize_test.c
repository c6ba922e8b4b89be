/* Resizing, as stories of one pod: what is wanted, what is set aside, what is in force, and what is told of it. */
#include "api/codec.h"
#include "base/clock.h"
#include "base/test.h"
#include "node/pod_play_test.h"
#include "node/podspec.h"

#define SIZED(cpu, memory, policy)                                                                                   \
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns, uid: u1, generation: 1}\nspec:\n"                 \
    "  restartPolicy: Always\n  terminationGracePeriodSeconds: 30\n  containers:\n"                                  \
    "  - {name: c, image: x, resizePolicy: [" policy "], resources: {requests: {cpu: " cpu                           \
    "}, limits: {memory: " memory "}}}\n  - {name: d, image: x, resources: {limits: {memory: 1Mi}}}\n"
#define RESTARTS "{resourceName: memory, restartPolicy: RestartContainer}"

/* Running, with groups as they are made. */
static void play_sized(struct play *y, const char *yaml)
{
    play_running(y, yaml);
    play_resized(y, "");
    play_run(y);
    (void)play_told(y);
}

static void want_of(struct play *y, const char *yaml, int64_t generation, int64_t rev)
{
    AUTO(obj_unref) struct obj *o = pod_of(&y->arena, yaml);
    struct val tree = val_copy(&y->arena, &o->tree);
    val_set_num(&y->arena, val_need_map(&y->arena, &tree, N(metadata)), N(generation), generation);
    AUTO(obj_unref) struct obj *next = obj_new(K(Pod), &tree, rev);
    pod_wanted(y->p, next, y->now);
}

static struct str condition_text(struct play *y, const char *type)
{
    struct val s = pod_status(y->p, &y->arena, PLAY_REAL);
    const struct val *c = val_find(val_get(&s, N(conditions)), N(type), str_of(type));
    return !c ? S("")
              : arena_fmt(&y->arena, "%lld " STR_FMT ": " STR_FMT, (long long)val_num_at(c, 0, N(observedGeneration)),
                          STR_ARG(val_text_at(c, N(reason))), STR_ARG(val_text_at(c, N(message))));
}

/* "CPU MEMORY/CPU MEMORY": set aside and in force, of container c. */
static struct str told_of(struct play *y)
{
    struct val s = play_container(y, 0);
    return arena_fmt(&y->arena, STR_FMT "/" STR_FMT " " STR_FMT,
                     STR_ARG(val_text(val_get_str(val_get(&s, N(allocatedResources)), S("cpu")))),
                     STR_ARG(val_text(val_get_str(val_at(&s, N(resources), N(requests)), S("cpu")))),
                     STR_ARG(val_text(val_get_str(val_at(&s, N(resources), N(limits)), S("memory")))));
}

TEST(pod_resize_is_set_aside_then_put_in_force)
{
    struct play y;
    play_sized(&y, SIZED("100m", "50Mi", ""));
    want_of(&y, SIZED("150m", "60Mi", ""), 2, 2);
    CHECK(y.p->wanted != NULL);
    play_run(&y);
    CHECK_STR(play_told(&y), S("")); /* nothing before there is room for it */
    CHECK_STR(told_of(&y), S("100m/100m 50Mi"));
    CHECK(pod_defer(y.p, "Deferred", S("no room"), PLAY_REAL));
    CHECK(!pod_defer(y.p, "Deferred", S("less room"), PLAY_REAL)); /* the same news */
    CHECK_STR(condition_text(&y, "PodResizePending"), S("2 Deferred: less room"));
    y.hold = true;
    pod_allocate(y.p);
    play_run(&y);
    CHECK_STR(play_told(&y), S("resize"));
    CHECK_STR(condition_text(&y, "PodResizePending"), S(""));
    CHECK_STR(condition_text(&y, "PodResizeInProgress"), S("2 : "));
    CHECK_STR(told_of(&y), S("150m/100m 50Mi"));
    play_resized(&y, "");
    play_run(&y);
    CHECK_STR(play_told(&y), S("!ResizeCompleted"));
    CHECK_STR(
        y.actions.list.p[0].message,
        S("Pod resize completed: {\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"memory\":\"60Mi\"},"
          "\"requests\":{\"cpu\":\"150m\"}}},{\"name\":\"d\",\"resources\":{\"limits\":{\"memory\":\"1Mi\"}}}],"
          "\"generation\":2}"));
    CHECK_STR(told_of(&y), S("150m/150m 60Mi"));
    CHECK_STR(condition_text(&y, "PodResizeInProgress"), S(""));
    play_end(&y);
}

TEST(pod_resize_that_is_taken_back_waits_no_more)
{
    struct play y;
    play_sized(&y, SIZED("100m", "50Mi", ""));
    want_of(&y, SIZED("9", "50Mi", ""), 2, 2);
    (void)pod_defer(y.p, "Infeasible", S("never"), PLAY_REAL);
    CHECK_STR(condition_text(&y, "PodResizePending"), S("2 Infeasible: never"));
    want_of(&y, SIZED("100m", "50Mi", ""), 3, 3);
    CHECK(!y.p->wanted);
    CHECK_STR(condition_text(&y, "PodResizePending"), S(""));
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    play_end(&y);
}

TEST(pod_resize_that_fails_is_tried_again_later_and_later)
{
    struct play y;
    play_sized(&y, SIZED("100m", "50Mi", ""));
    want_of(&y, SIZED("100m", "10Mi", ""), 2, 2);
    pod_allocate(y.p);
    y.hold = true;
    play_run(&y);
    CHECK_STR(play_told(&y), S("resize"));
    play_resized(&y, "below what is used");
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    CHECK_STR(condition_text(&y, "PodResizeInProgress"), S("2 Error: below what is used"));
    CHECK_INT(y.actions.wake_at, y.now + NS_PER_S);
    y.now += NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("resize"));
    play_resized(&y, "below what is used");
    play_run(&y);
    CHECK_INT(y.actions.wake_at, y.now + 2 * NS_PER_S);
    want_of(&y, SIZED("100m", "40Mi", ""), 3, 3); /* another wish is tried at once */
    pod_allocate(y.p);
    (void)play_told(&y);
    play_run(&y);
    CHECK_STR(play_told(&y), S("resize"));
    play_resized(&y, "");
    play_run(&y);
    CHECK_STR(play_told(&y), S("!ResizeCompleted"));
    play_end(&y);
}

TEST(pod_resize_restarts_where_the_policy_says_so)
{
    struct play y;
    play_sized(&y, SIZED("100m", "50Mi", RESTARTS));
    want_of(&y, SIZED("150m", "50Mi", RESTARTS), 2, 2);
    pod_allocate(y.p);
    play_run(&y); /* cpu: no restart */
    CHECK_STR(play_told(&y), S("resize !ResizeCompleted"));
    want_of(&y, SIZED("150m", "60Mi", RESTARTS), 3, 3);
    pod_allocate(y.p);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    play_exits(&y, "c", 0);
    y.hold = true;
    play_run(&y);
    CHECK_STR(play_told(&y), S("resize")); /* the pod's group first: the new run has no room in it before */
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    CHECK_STR(condition_text(&y, "PodResizeInProgress"), S("3 : "));
    play_resized(&y, "");
    y.hold = false;
    play_run(&y);
    /* its group is made with the new limits */
    CHECK(str_starts(play_told(&y), S("image:c start:c")));
    play_resized(&y, "");
    play_run(&y);
    CHECK_STR(condition_text(&y, "PodResizeInProgress"), S(""));
    struct val s = play_container(&y, 0);
    CHECK_INT(val_num_at(&s, 0, N(restartCount)), 1);
    play_end(&y);
}

#define ASKED(memory, policy)                                                                                        \
    META "spec:\n  restartPolicy: Always\n  containers: [{name: c, image: x, resizePolicy: [" policy                 \
         "], resources: {requests: {memory: " memory "}, limits: {memory: 50Mi}}}]\n"

/* No group has what is asked for of memory; who wants to start anew for it does so all the same. */
TEST(pod_resize_of_memory_that_is_asked_for_restarts_too)
{
    struct play y;
    play_sized(&y, ASKED("10Mi", RESTARTS));
    want_of(&y, ASKED("20Mi", RESTARTS), 2, 2);
    pod_allocate(y.p);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    play_exits(&y, "c", 0);
    play_run(&y);
    play_resized(&y, "");
    play_run(&y);
    struct val s = play_container(&y, 0);
    CHECK_INT(val_num_at(&s, 0, N(restartCount)), 1);
    CHECK_STR(condition_text(&y, "PodResizeInProgress"), S(""));
    play_end(&y);
    play_sized(&y, ASKED("10Mi", ""));
    want_of(&y, ASKED("20Mi", ""), 2, 2);
    pod_allocate(y.p);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!ResizeCompleted"));
    play_end(&y);
}

#define FIRST(memory)                                                                                                \
    META "spec:\n  initContainers: [{name: i, image: x, resources: {limits: {memory: " memory                        \
         "}}}]\n  containers: [{name: c, image: x}]\n"

TEST(pod_resize_of_an_init_container_while_it_runs)
{
    struct play y;
    play_begin(&y, FIRST("10Mi"));
    play_run(&y);
    play_resized(&y, "");
    (void)play_told(&y);
    CHECK_INT(y.p->containers.p[0].run, RUN_RUNNING);
    want_of(&y, FIRST("20Mi"), 2, 2);
    pod_allocate(y.p);
    y.hold = true;
    play_run(&y);
    CHECK_STR(play_told(&y), S("resize"));
    play_resized(&y, "");
    play_run(&y);
    CHECK_STR(play_told(&y), S("!ResizeCompleted"));
    CHECK_INT(y.p->containers.p[0].force.bounds.memory, 20 << 20);
    play_end(&y);
}

/* The status tells requests that are allocated and limits in force: what was going on is gone on with. */
TEST(pod_resize_goes_on_in_the_next_agent)
{
    for (int newer = 0; newer < 2; newer++) {
        struct play y, z = {.now = 2000 * NS_PER_S, .log = STRBUF(65536)};
        play_sized(&y, SIZED("100m", "50Mi", ""));
        want_of(&y, SIZED("150m", "60Mi", ""), 2, 2);
        pod_allocate(y.p);
        struct val tree = val_copy(&y.arena, &y.p->obj->tree), status = pod_status(y.p, &y.arena, PLAY_REAL);
        val_set(&y.arena, &tree, N(status), status);
        if (newer) /* and somebody wants another size since */
            val_set_num(&y.arena, val_need_map(&y.arena, &tree, N(metadata)), N(generation), 3);
        AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 3);
        z.p = pod_new(o, S("10.0.0.1"), z.now, PLAY_REAL);
        CHECK_INT(pod_resize_undecided(z.p), newer);
        CHECK_STR(val_text(val_get_str(val_at(z.p->containers.p[0].spec, N(resources), N(limits)), S("memory"))),
                  newer ? S("50Mi") : S("60Mi"));
        CHECK_STR(condition_text(&z, "PodResizeInProgress"), S("2 : "));
        play_end(&z);
        play_end(&y);
    }
}

TEST(pod_resize_is_known_again_from_the_status)
{
    struct play y, z = {.now = 2000 * NS_PER_S, .log = STRBUF(65536)};
    play_sized(&y, SIZED("100m", "50Mi", ""));
    want_of(&y, SIZED("1700m", "50Mi", ""), 2, 2);
    (void)pod_defer(y.p, "Deferred", S("no room"), PLAY_REAL);
    struct val tree = val_copy(&y.arena, &y.p->wanted->tree), status = pod_status(y.p, &y.arena, PLAY_REAL);
    val_set(&y.arena, &tree, N(status), status);
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 3);
    z.p = pod_new(o, S("10.0.0.1"), z.now, PLAY_REAL);
    CHECK(z.p->wanted != NULL);
    CHECK_STR(val_text(val_get_str(val_at(z.p->containers.p[0].spec, N(resources), N(requests)), S("cpu"))),
              S("100m"));
    CHECK_STR(condition_text(&z, "PodResizePending"), S("2 Deferred: no room"));
    CHECK(!pod_defer(z.p, "Deferred", S("no room"), PLAY_REAL)); /* it has been told */
    play_end(&z);
    play_end(&y);
}
