#include "api/codec.h"
#include "base/clock.h"
#include "base/test.h"
#include "node/pod.h"

/* A pod whose actions are answered as a node that always succeeds would, unless the test steps in. */
struct play {
    struct pod *p;
    struct pod_actions actions;
    struct arena arena;
    int64_t now;
    struct strbuf log; /* what was asked for: "volumes sandbox image:c start:c ..." */
    bool hold;         /* answer nothing by itself */
};
static const int64_t real0 = 1700000000LL * NS_PER_S;

static struct str id_of(const struct pod *p, int c)
{
    return p->containers.p[c].id;
}

static struct obj *pod_of(struct arena *a, const char *yaml)
{
    struct val tree, defaulted;
    struct err err = ERR;
    CHECK_OK(yaml_decode(a, str_of(yaml), &tree, &err), err);
    CHECK_OK(type_decode_val(a, K(Pod)->type, &tree, &defaulted, NULL, &err), err);
    return obj_new(K(Pod), &defaulted, 1);
}

static void play_begin(struct play *y, const char *yaml)
{
    *y = (struct play){.now = 1000 * NS_PER_S, .log = STRBUF(65536)};
    AUTO(obj_unref) struct obj *o = pod_of(&y->arena, yaml);
    y->p = pod_new(o, S("10.0.0.1"), y->now, real0);
}

static void play_end(struct play *y)
{
    pod_free(y->p);
    pod_actions_fini(&y->actions);
    strbuf_fini(&y->log);
    arena_fini(&y->arena);
}

static void play_answer(struct play *y, const struct pod_action *a)
{
    static const char *const words[] = {
        [DO_VOLUMES_SETUP] = "volumes",
        [DO_VOLUMES_TEARDOWN] = "unvolumes",
        [DO_SANDBOX_START] = "sandbox",
        [DO_SANDBOX_STOP] = "unsandbox",
        [DO_IMAGE_ENSURE] = "image",
        [DO_CONTAINER_START] = "start",
        [DO_POSTSTART] = "poststart",
        [DO_PRESTOP] = "prestop",
        [DO_TERM] = "term",
        [DO_KILL] = "kill",
        [DO_LEAVE] = "leave",
        [DO_DRAIN] = "drain",
        [DO_EVENT] = "!",
        [DO_DELETE_OBJECT] = "delete",
    };
    strbuf_addf(&y->log, "%s%s", y->log.n ? " " : "", words[a->what]);
    if (a->what == DO_EVENT)
        strbuf_addz(&y->log, a->reason);
    if (a->container >= 0)
        strbuf_addf(&y->log, ":" STR_FMT, STR_ARG(y->p->containers.p[a->container].name));
    if (y->hold)
        return;
    switch (a->what) {
    case DO_VOLUMES_SETUP: pod_saw_volumes(y->p, true, S(""), y->now); break;
    case DO_VOLUMES_TEARDOWN: pod_saw_volumes_removed(y->p); break;
    case DO_SANDBOX_START: pod_saw_sandbox(y->p, true, S("10.42.0.9"), y->now); break;
    case DO_SANDBOX_STOP: pod_saw_sandbox_stopped(y->p); break;
    case DO_IMAGE_ENSURE: pod_saw_image(y->p, a->container, true, S("x@sha256:1"), S(""), y->now); break;
    case DO_CONTAINER_START: pod_saw_running(y->p, a->container, S("abc"), real0, y->now); break;
    case DO_POSTSTART: pod_saw_hook(y->p, a->container, true, true, S("")); break;
    case DO_PRESTOP: pod_saw_hook(y->p, a->container, false, true, S("")); break;
    case DO_KILL:
        pod_saw_exit(y->p, a->container, id_of(y->p, a->container), 137, false, S(""), real0, real0, y->now);
        break;
    case DO_LEAVE:
    case DO_DRAIN:
    case DO_TERM:
    case DO_EVENT:
    case DO_DELETE_OBJECT: break;
    }
}

static void play_run(struct play *y) /* until nothing more is asked for */
{
    do {
        array_clear(&y->actions.list);
        y->actions.wake_at = 0;
        pod_step(y->p, y->now, &y->actions);
        for (size_t i = 0; i < y->actions.list.n; i++)
            play_answer(y, &y->actions.list.p[i]);
    } while (y->actions.list.n && !y->hold);
}

static struct str play_told(struct play *y) /* what was asked for since the last call */
{
    struct str s = str_dup(&y->arena, strbuf_str(&y->log));
    strbuf_reset(&y->log);
    return s;
}

/* The pod runs, and nothing of its start is told any more. */
static void play_running(struct play *y, const char *yaml)
{
    play_begin(y, yaml);
    play_run(y);
    (void)play_told(y);
}

/* The pod has its sandbox and asks for an image; from here on the test answers. */
static void play_sandbox(struct play *y, const char *yaml)
{
    play_begin(y, yaml);
    y->hold = true;
    play_run(y);
    pod_saw_volumes(y->p, true, S(""), y->now);
    play_run(y);
    pod_saw_sandbox(y->p, true, S("10.42.0.9"), y->now);
    play_run(y);
}

static void play_delete(struct play *y, int64_t grace)
{
    struct val tree = val_copy(&y->arena, &y->p->obj->tree);
    struct val *meta = val_need_map(&y->arena, &tree, N(metadata));
    val_set_text(&y->arena, meta, N(deletionTimestamp), S("2026-01-01T00:00:00Z"));
    val_set_num(&y->arena, meta, N(deletionGracePeriodSeconds), grace);
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 2);
    pod_wanted(y->p, o, y->now);
}

static void play_exits(struct play *y, const char *name, int code)
{
    int c = pod_container_find(y->p, str_of(name));
    pod_saw_exit(y->p, c, id_of(y->p, c), code, false, S(""), real0, real0, y->now);
}

static struct val container_now(struct play *y, size_t i)
{
    struct val s = pod_status(y->p, &y->arena, real0);
    return *val_item(val_get(&s, N(containerStatuses)), i);
}

static struct str container_reason(struct play *y, size_t i)
{
    struct val c = container_now(y, i);
    return val_text_at(&c, N(state), N(waiting), N(reason));
}

#define META "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns, uid: u1, generation: 1}\n"
#define ONE                                                                                                          \
    META "spec:\n  restartPolicy: Always\n  terminationGracePeriodSeconds: 30\n  containers: [{name: c, image: "     \
         "x}]\n"

TEST(pod_starts_in_order_and_is_ready)
{
    struct play y;
    play_begin(&y, ONE);
    CHECK_STR(str_of(pod_phase(y.p)), S("Pending"));
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes sandbox image:c start:c"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Running"));
    struct val s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(&s, N(podIP)), S("10.42.0.9"));
    CHECK_STR(val_text_at(val_find(val_get(&s, N(conditions)), N(type), S("Ready")), N(status)), S("True"));
    play_end(&y);
}

TEST(pod_backs_off_ten_twenty_forty)
{
    struct play y;
    play_running(&y, ONE);
    play_exits(&y, "c", 1);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c start:c")); /* the first time at once */
    static const int waits[] = {10, 20, 40, 80, 160, 300, 300};
    for (size_t i = 0; i < countof(waits); i++) {
        play_exits(&y, "c", 1);
        play_run(&y);
        CHECK_STR(play_told(&y), S("!BackOff:c"));
        struct val s = pod_status(y.p, &y.arena, real0);
        const struct val *c = val_item(val_get(&s, N(containerStatuses)), 0);
        CHECK_STR(val_text_at(c, N(state), N(waiting), N(reason)), S("CrashLoopBackOff"));
        CHECK(str_starts(val_text_at(c, N(state), N(waiting), N(message)),
                         i < 3 ? arena_fmt(&y.arena, "back-off %ds ", waits[i]) : S("back-off ")));
        CHECK_INT(y.actions.wake_at - y.now, waits[i] * NS_PER_S);
        y.now += waits[i] * NS_PER_S - 1;
        play_run(&y);
        CHECK_STR(play_told(&y), S(""));
        y.now += 1;
        play_run(&y);
        CHECK_STR(play_told(&y), S("image:c start:c"));
    }
    CHECK_INT(y.p->containers.p[0].restarts, 8);
    play_end(&y);
}

/* Fails its liveness probe and exits by SIGTERM. */
static void fails_probe(struct play *y)
{
    pod_saw_probe(y->p, 0, true, true, "failed liveness probe");
    play_run(y);
    play_exits(y, "c", 0);
    play_run(y);
}

TEST(what_a_probe_ends_waits_from_the_end_of_the_run_before)
{
    struct play y;
    play_running(&y, ONE);
    for (int i = 0; i < 2; i++) { /* twice at once, however soon it fails again */
        y.now += NS_PER_S;
        fails_probe(&y);
        CHECK_STR(play_told(&y), S("!Killing:c term:c image:c start:c"));
    }
    y.now += 3 * NS_PER_S;
    fails_probe(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c !BackOff:c"));
    CHECK_INT(y.actions.wake_at - y.now, 7 * NS_PER_S);
    y.now += 7 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c start:c"));
    for (int i = 0; i < 3; i++) { /* period 10, three failures: longer than the waits of 20 */
        y.now += 30 * NS_PER_S;
        fails_probe(&y);
        CHECK_STR(play_told(&y), i == 0 ? S("!Killing:c term:c image:c start:c") : S("!Killing:c term:c !BackOff:c"));
        if (i > 0) {
            CHECK_INT(y.actions.wake_at - y.now, (i == 1 ? 10 : 40) * NS_PER_S);
            y.now = y.actions.wake_at;
            play_run(&y);
            (void)play_told(&y);
        }
    }
    CHECK_INT(y.p->containers.p[0].restarts, 6);
    y.now += 601 * NS_PER_S;
    fails_probe(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c image:c start:c"));
    play_end(&y);
}

TEST(a_deadline_holds_for_a_pod_that_never_came_to_run)
{
    struct play y;
    play_begin(&y,
               META "spec: {restartPolicy: Always, activeDeadlineSeconds: 60, containers: [{name: c, image: x}]}\n"
                    "status: {startTime: '2023-11-14T22:12:50Z'}"); /* half a minute before, by an earlier agent */
    y.hold = true;
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes"));
    pod_saw_volumes(y.p, false, S("no such map"), y.now);
    y.now += 29 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes"));
    pod_saw_volumes(y.p, false, S("no such map"), y.now);
    y.now += NS_PER_S;
    y.hold = false;
    play_run(&y);
    CHECK_STR(play_told(&y), S("!DeadlineExceeded unvolumes"));
    struct val s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(&s, N(phase)), S("Failed"));
    CHECK_STR(val_text_at(&s, N(reason)), S("DeadlineExceeded"));
    play_end(&y);
}

TEST(a_container_has_a_restart_policy_of_its_own)
{
    static const struct {
        const char *pod, *container;
        int code;
        bool again;
    } rows[] = {
        {"Never", "restartPolicy: Always", 0, true},
        {"Never", "restartPolicy: OnFailure", 0, false},
        {"Never", "restartPolicy: OnFailure", 1, true},
        {"Always", "restartPolicy: Never", 1, false},
        {"Always", "restartPolicy: OnFailure", 0, false},
        {"Never",
         "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]", 42,
         true},
        {"Never",
         "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]", 1,
         false},
        {"Never",
         "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [42]}}]",
         1, true},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct play y;
        struct arena a = ARENA;
        play_begin(
            &y, arena_fmt(
                    &a, META "spec: {restartPolicy: %s, containers: [{name: c, image: x, %s}, {name: d, image: x}]}",
                    rows[i].pod, rows[i].container)
                    .p);
        play_run(&y);
        (void)play_told(&y);
        play_exits(&y, "c", rows[i].code);
        play_run(&y);
        CHECK_STR(play_told(&y), rows[i].again ? S("image:c start:c") : S(""));
        play_end(&y);
        arena_fini(&a);
    }
}

TEST(a_start_that_fails_for_the_nodes_own_reasons_is_no_crash)
{
    struct play y;
    play_running(&y, ONE);
    play_exits(&y, "c", 1);
    y.hold = true;
    play_run(&y);
    pod_saw_image(y.p, 0, true, S("x@sha256:1"), S(""), y.now);
    play_run(&y);
    (void)play_told(&y);
    static const int waits[] = {1, 2, 4, 8, 10, 10};
    for (size_t i = 0; i < countof(waits); i++) {
        pod_saw_start_failed(y.p, 0, "CreateContainerError", S("no space"), true, real0, y.now);
        y.actions.wake_at = 0;
        play_run(&y);
        CHECK_STR(play_told(&y), S(""));
        CHECK_STR(container_reason(&y, 0), S("CreateContainerError"));
        CHECK_INT(y.actions.wake_at - y.now, waits[i] * NS_PER_S);
        y.now = y.actions.wake_at;
        play_run(&y);
        CHECK_STR(play_told(&y), S("start:c"));
    }
    pod_saw_running(y.p, 0, S("def"), real0, y.now);
    CHECK_INT(y.p->containers.p[0].restarts, 1);
    play_end(&y);
}

TEST(main_containers_start_one_after_another)
{
    struct play y;
    play_begin(&y,
               META "spec: {restartPolicy: Always, containers: [{name: a, image: x, lifecycle: {postStart: {exec: "
                    "{command: [x]}}}}, {name: b, image: w}, {name: c, image: z}]}");
    y.hold = true;
    pod_saw_volumes(y.p, true, S(""), y.now);
    pod_saw_sandbox(y.p, true, S("10.42.0.9"), y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:a")); /* its hook may prepare something for the others */
    pod_saw_image(y.p, 0, true, S("x@sha256:1"), S(""), y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("start:a"));
    pod_saw_running(y.p, 0, S("a1"), real0, y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("poststart:a"));
    pod_saw_hook(y.p, 0, true, true, S(""));
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:b"));
    y.now++;
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c")); /* pulls wait for nobody */
    pod_saw_image(y.p, 2, true, S("z@sha256:1"), S(""), y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("start:c"));
    pod_saw_image(y.p, 1, false, S("ErrImagePull"), S("no"), y.now);
    pod_saw_running(y.p, 2, S("c1"), real0, y.now);
    play_run(&y);
    CHECK_STR(str_of(pod_phase(y.p)), S("Pending"));
    play_end(&y);
}

TEST(nothing_later_starts_while_a_sidecar_is_ended_for_its_probe)
{
    struct play y;
    play_running(&y,
                 META "spec: {restartPolicy: Always, initContainers: [{name: s, image: x, restartPolicy: Always}], "
                      "containers: [{name: c, image: x}]}");
    pod_saw_probe(y.p, 0, true, true, "failed liveness probe");
    play_run(&y);
    play_exits(&y, "c", 1);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:s term:s"));
    play_exits(&y, "s", 0);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:s start:s image:c start:c"));
    play_end(&y);
}

TEST(pod_leaves_and_drains_before_it_is_told_to_stop)
{
    struct play y;
    play_running(&y, ONE);
    pod_saw_service(y.p, true);
    play_delete(&y, 30);
    play_run(&y);
    CHECK_STR(play_told(&y), S("leave"));
    pod_saw_left(y.p);
    play_run(&y);
    CHECK_STR(play_told(&y), S("drain"));
    pod_saw_drained(y.p);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    CHECK_INT(y.actions.wake_at, 1030 * NS_PER_S);
    play_exits(&y, "c", 0);
    play_run(&y);
    CHECK_STR(play_told(&y), S("unsandbox unvolumes delete"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Succeeded"));
    play_end(&y);
}

TEST(pod_that_data_planes_forget_to_forget_goes_on_after_five_seconds)
{
    struct play y;
    play_begin(&y, ONE);
    play_run(&y);
    pod_saw_service(y.p, true);
    play_delete(&y, 30);
    play_run(&y);
    (void)play_told(&y);
    CHECK_INT(y.actions.wake_at - y.now, 5 * NS_PER_S);
    y.now += 5 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("drain"));
    y.now += 10 * NS_PER_S; /* half of the grace is the most for draining */
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    play_end(&y);
}

TEST(pod_behind_no_service_is_stopped_at_once_and_killed_when_grace_is_over)
{
    struct play y;
    play_running(&y, ONE);
    play_delete(&y, 30);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    play_delete(&y, 2); /* a shorter grace shortens */
    play_run(&y);
    CHECK_INT(y.actions.wake_at - y.now, 2 * NS_PER_S);
    y.now += 2 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("kill:c unsandbox unvolumes delete"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Failed"));
    play_end(&y);
}

TEST(init_containers_run_one_after_another_and_sidecars_stop_last)
{
    struct play y;
    play_begin(&y, META "spec:\n  restartPolicy: Always\n  initContainers: [{name: i, image: x}, {name: s, image: x, "
                        "restartPolicy: Always}]\n"
                        "  containers: [{name: c, image: x}]\n");
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes sandbox image:i start:i"));
    struct val st = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(val_find(val_get(&st, N(conditions)), N(type), S("Initialized")), N(message)),
              S("containers with incomplete status: [i s]"));
    play_exits(&y, "i", 0);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:s start:s image:c start:c"));
    play_delete(&y, 30);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c !Killing:s"));
    play_exits(&y, "c", 0);
    play_run(&y);
    CHECK_STR(play_told(&y), S("term:s"));
    play_end(&y);
}

static struct str play_initialized(struct play *y)
{
    struct val st = pod_status(y->p, &y->arena, real0);
    const struct val *c = val_find(val_get(&st, N(conditions)), N(type), S("Initialized"));
    return val_text_at(c, N(status));
}

TEST(pod_is_initialized_when_its_sidecars_have_started)
{
    struct play y;
    play_begin(&y,
               META "spec:\n  initContainers: [{name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: "
                    "{port: 1}}}]\n  containers: [{name: c, image: x}]\n");
    play_run(&y);
    CHECK_STR(play_initialized(&y), S("False"));
    pod_saw_probe(y.p, 0, true, true, NULL);
    CHECK_STR(play_initialized(&y), S("True"));
    play_run(&y);
    pod_saw_exit(y.p, 0, id_of(y.p, 0), 1, false, S(""), real0, real0, y.now);
    CHECK_STR(play_initialized(&y), S("True")); /* its containers have run: that stays */
    play_end(&y);
}

/* How each container of a pod ended that was deleted while its init containers ran. */
TEST(only_what_ever_ran_is_lost_with_a_pod)
{
    static const struct {
        int through, code; /* init containers that ended well before; how the one ends that is told to */
        const char *want;
    } rows[] = {
        {0, 143, "i1=143 i2=waiting c=waiting"},
        {0, 0, "i1=0 i2=waiting c=waiting"}, /* the next one was never its turn */
        {1, 143, "i1=0 i2=143 c=waiting"},
        {2, 143, "i1=0 i2=0 c=143"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct play y;
        play_begin(&y, META "spec:\n  initContainers: [{name: i1, image: x}, {name: i2, image: x}]\n"
                            "  containers: [{name: c, image: x}]\n");
        play_run(&y);
        for (int n = 0; n < rows[i].through; n++) {
            play_exits(&y, n ? "i2" : "i1", 0);
            play_run(&y);
        }
        play_delete(&y, 30);
        play_run(&y);
        play_exits(&y, rows[i].through == 0 ? "i1" : rows[i].through == 1 ? "i2" : "c", rows[i].code);
        play_run(&y);
        struct val st = pod_status(y.p, &y.arena, real0);
        AUTO(strbuf_fini) struct strbuf got = STRBUF(1000);
        const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses)};
        for (size_t l = 0; l < countof(lists); l++)
            val_each_item (c, val_get(&st, lists[l])) {
                const struct val *ended = val_at(c, N(state), N(terminated));
                strbuf_addf(&got, "%s" STR_FMT "=", got.n ? " " : "", STR_ARG(val_text_at(c, N(name))));
                if (ended)
                    strbuf_addf(&got, "%lld", (long long)val_num_at(ended, -1, N(exitCode)));
                else
                    strbuf_addz(&got, "waiting");
            }
        CHECK_STR(strbuf_str(&got), str_of(rows[i].want));
        play_end(&y);
    }
}

TEST(pod_that_never_restarts_ends_with_its_containers)
{
    struct play y;
    play_begin(&y, META "spec:\n  restartPolicy: Never\n  containers: [{name: a, image: x}, {name: b, image: x}]\n");
    play_run(&y);
    play_exits(&y, "a", 0);
    play_run(&y);
    CHECK_STR(str_of(pod_phase(y.p)), S("Running"));
    (void)play_told(&y);
    play_exits(&y, "b", 3);
    play_run(&y);
    CHECK_STR(play_told(&y), S("unsandbox unvolumes"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Failed"));
    struct val s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(val_find(val_get(&s, N(conditions)), N(type), S("Ready")), N(reason)), S("PodFailed"));
    play_delete(&y, 30); /* its logs were kept until now */
    play_run(&y);
    CHECK_STR(play_told(&y), S("unvolumes delete"));
    play_end(&y);
}

TEST(another_image_is_another_run_whatever_the_restart_policy_is)
{
    static const char *const policies[] = {"Never", "OnFailure", "Always"};
    for (size_t i = 0; i < countof(policies); i++) {
        struct play y, other;
        struct arena a = ARENA;
        play_begin(&y,
                   arena_fmt(&a, META "spec: {restartPolicy: %s, containers: [{name: c, image: x}]}", policies[i]).p);
        play_begin(
            &other,
            arena_fmt(&a, META "spec: {restartPolicy: %s, containers: [{name: c, image: other}]}", policies[i]).p);
        play_run(&y);
        (void)play_told(&y);
        pod_wanted(y.p, other.p->obj, y.now);
        play_run(&y);
        CHECK_STR(play_told(&y), S("!Killing:c term:c"));
        play_exits(&y, "c", i == 1 ? 0 : 143); /* each policy by what it would not start again after */
        play_run(&y);
        CHECK_STR(play_told(&y), S("image:c start:c"));
        CHECK_STR(str_of(pod_phase(y.p)), S("Running"));
        play_exits(&y, "c", 0); /* once: what it runs now is what is declared */
        play_run(&y);
        CHECK_STR(str_of(pod_phase(y.p)), i == 2 ? S("Running") : S("Succeeded"));
        play_end(&y);
        play_end(&other);
        arena_fini(&a);
    }
}

TEST(image_that_is_missing_backs_off_and_says_so)
{
    struct play y;
    play_sandbox(&y, ONE);
    (void)play_told(&y);
    pod_saw_image(y.p, 0, false, S("ErrImagePull"), S("not found"), y.now);
    struct val s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(val_item(val_get(&s, N(containerStatuses)), 0), N(state), N(waiting), N(reason)),
              S("ErrImagePull"));
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    y.now += NS_PER_S; /* the error itself is shown for a moment */
    play_run(&y);
    CHECK_STR(play_told(&y), S("!BackOff:c !Failed:c"));
    s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(val_item(val_get(&s, N(containerStatuses)), 0), N(state), N(waiting), N(message)),
              S("Back-off pulling image \"x\": ErrImagePull: not found"));
    y.now += 9 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c"));
    CHECK_STR(container_reason(&y, 0), S("ImagePullBackOff")); /* until the answer is here */
    play_end(&y);
}

TEST(a_run_is_shown_until_the_next_is_up)
{
    struct play y;
    play_begin(&y, ONE);
    play_run(&y);
    play_exits(&y, "c", 3);
    y.hold = true;
    play_run(&y); /* the image is looked for, then the start is under way */
    pod_saw_image(y.p, 0, true, S("x@sha256:1"), S(""), y.now);
    play_run(&y);
    struct val c = container_now(&y, 0);
    CHECK_INT(val_num_at(&c, -1, N(state), N(terminated), N(exitCode)), 3);
    CHECK_INT(val_num_at(&c, -1, N(restartCount)), 0);
    CHECK_INT(pod_run_number(&y.p->containers.p[0]), 1);
    pod_saw_running(y.p, 0, S("def"), real0, y.now);
    c = container_now(&y, 0);
    CHECK(val_at(&c, N(state), N(running)));
    CHECK_INT(val_num_at(&c, -1, N(lastState), N(terminated), N(exitCode)), 3);
    CHECK_INT(val_num_at(&c, -1, N(restartCount)), 1);
    play_end(&y);
}

TEST(a_slow_poststart_hook_keeps_the_container_from_being_shown)
{
    struct play y;
    play_running(&y,
                 META "spec: {restartPolicy: Always, containers: [{name: c, image: x, lifecycle: {postStart: {exec: "
                      "{command: [x]}}}}]}");
    CHECK_STR(str_of(pod_phase(y.p)), S("Running"));
    play_exits(&y, "c", 0);
    y.hold = true;
    play_run(&y);
    pod_saw_image(y.p, 0, true, S("x@sha256:1"), S(""), y.now);
    play_run(&y);
    pod_saw_running(y.p, 0, S("def"), real0, y.now);
    play_run(&y);
    struct val c = container_now(&y, 0);
    CHECK(val_at(&c, N(state), N(terminated)) && !val_true(val_get(&c, N(ready))));
    pod_saw_hook(y.p, 0, true, false, S("oops"));
    play_exits(&y, "c", 0);
    CHECK_STR(container_reason(&y, 0), S("PostStartHookError"));
    c = container_now(&y, 0);
    CHECK_INT(val_num_at(&c, -1, N(restartCount)), 1);
    play_end(&y);
}

TEST(init_containers_run_again_in_a_new_sandbox)
{
    struct play y;
    play_begin(&y, META "spec: {restartPolicy: Always, initContainers: [{name: i, image: x}], containers: [{name: c, "
                        "image: x}]}");
    play_run(&y);
    play_exits(&y, "i", 0);
    play_run(&y);
    (void)play_told(&y);
    pod_saw_sandbox_lost(y.p, real0, y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!SandboxChanged sandbox image:i start:i"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Pending"));
    play_exits(&y, "i", 0);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c start:c"));
    CHECK_INT(y.p->containers.p[0].restarts, 1);
    CHECK_INT(y.p->containers.p[1].restarts, 1);
    play_end(&y);
}

TEST(what_is_left_of_a_lost_sandbox_goes_with_its_pod)
{
    struct play y;
    play_running(&y, META "spec: {restartPolicy: Always, containers: [{name: c, image: x}]}");
    play_delete(&y, 30);
    pod_saw_sandbox_lost(y.p, real0, y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("unsandbox unvolumes delete"));
    play_end(&y);
}

/* What is read after an end takes its time, and the sandbox may be lost and made again meanwhile. */
TEST(the_end_of_a_run_is_of_no_other_run)
{
    struct play y;
    play_begin(&y, META "spec: {restartPolicy: Always, containers: [{name: c, image: x}]}");
    play_run(&y);
    pod_saw_sandbox_lost(y.p, real0, y.now);
    y.hold = true;
    play_run(&y);
    pod_saw_exit(y.p, 0, S("abc"), 1, false, S("late"), real0, real0, y.now); /* told already: killed */
    CHECK_INT(y.p->containers.p[0].end.exit_code, 137);
    y.hold = false;
    pod_saw_sandbox(y.p, true, S("10.42.0.9"), y.now);
    play_run(&y);
    const struct container_user user = {.known = true, .uid = 7};
    pod_saw_starting(y.p, 0, S("def"), &user);
    pod_saw_running(y.p, 0, S("def"), real0, y.now);
    pod_saw_exit(y.p, 0, S("abc"), 1, false, S("later still"), real0, real0, y.now);
    CHECK_INT(y.p->containers.p[0].run, RUN_RUNNING);
    CHECK_INT(y.p->containers.p[0].user.uid, 7);
    pod_saw_exit(y.p, 0, S("def"), 3, false, S("its own"), real0, real0, y.now);
    CHECK_INT(y.p->containers.p[0].run, RUN_EXITED);
    CHECK_INT(y.p->containers.p[0].end.exit_code, 3);
    play_end(&y);
}

TEST(a_start_that_waits_for_news_is_tried_again_and_is_no_run)
{
    struct play y;
    play_sandbox(&y, META "spec: {restartPolicy: Always, containers: [{name: c, image: x}]}");
    pod_saw_image(y.p, 0, true, S("x@sha256:1"), S(""), y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes sandbox image:c start:c"));
    pod_saw_start_waits(y.p, 0, y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    y.now += NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("start:c"));
    CHECK_INT(y.p->containers.p[0].restarts, 0);
    play_end(&y);
}

TEST(an_evicted_pod_has_a_second)
{
    struct play y;
    play_running(
        &y,
        META "spec: {restartPolicy: Always, terminationGracePeriodSeconds: 60, containers: [{name: c, image: x}]}");
    y.hold = true;
    pod_evict(y.p, S("too much"), y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    y.now += 3 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("kill:c"));
    y.hold = false;
    play_end(&y);
}

/* A pod whose status says `text`, as the first agent after a reboot finds it. */
static void play_reboot(struct play *y, const char *spec, const char *text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "%s%s", spec, text);
    play_begin(y, b.p);
    pod_saw_rebooted(y->p, real0, y->now);
    play_run(y);
}

TEST(after_a_reboot_containers_run_again_and_tell_that_their_end_is_unknown)
{
    struct play y;
    play_reboot(
        &y,
        META "spec: {restartPolicy: Always, initContainers: [{name: i, image: x}], containers: [{name: c, "
             "image: x}]}\n",
        "status: {phase: Running, podIP: 10.42.0.7, initContainerStatuses: [{name: i, restartCount: 0, state: "
        "{terminated: {exitCode: 0, reason: Completed}}}], containerStatuses: [{name: c, restartCount: 4, "
        "containerID: 'wherry://ab', lastState: {terminated: {exitCode: 3, reason: Error}}, state: {running: "
        "{startedAt: '2026-01-01T00:00:00Z'}}}]}");
    CHECK_STR(play_told(&y), S("!SandboxChanged volumes sandbox image:i start:i"));
    CHECK_INT(y.p->containers.p[0].restarts, 1);
    play_exits(&y, "i", 0);
    play_run(&y);
    struct val c = container_now(&y, 0);
    CHECK_INT(val_num_at(&c, -1, N(restartCount)), 5);
    CHECK_INT(val_num_at(&c, -1, N(lastState), N(terminated), N(exitCode)), 255);
    CHECK_STR(val_text_at(&c, N(lastState), N(terminated), N(reason)), S("Unknown"));
    CHECK_STR(val_text_at(&c, N(lastState), N(terminated), N(containerID)), S("wherry://ab"));
    play_end(&y);
}

TEST(after_a_reboot_what_was_to_run_once_has_run)
{
    struct play y;
    play_reboot(&y, META "spec: {restartPolicy: Never, containers: [{name: c, image: x}, {name: d, image: x}]}\n",
                "status: {phase: Running, containerStatuses: [{name: c, restartCount: 0, state: {terminated: "
                "{exitCode: 0, reason: Completed}}}, {name: d, restartCount: 0, state: {running: {startedAt: "
                "'2026-01-01T00:00:00Z'}}}]}");
    CHECK_STR(play_told(&y), S("unsandbox"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Failed"));
    play_end(&y);
}

TEST(after_a_reboot_a_crash_loop_counts_on)
{
    struct play y;
    play_reboot(&y, META "spec: {restartPolicy: Always, containers: [{name: c, image: x}]}\n",
                "status: {phase: Running, containerStatuses: [{name: c, restartCount: 2, lastState: {terminated: "
                "{exitCode: 7, reason: Error}}, state: {waiting: {reason: CrashLoopBackOff}}}]}");
    struct val c = container_now(&y, 0);
    CHECK_INT(val_num_at(&c, -1, N(restartCount)), 3);
    CHECK_INT(val_num_at(&c, -1, N(lastState), N(terminated), N(exitCode)), 7);
    play_end(&y);
}

TEST(pod_past_its_deadline_fails_once_its_containers_have_ended)
{
    struct play y;
    play_running(&y, META "spec: {restartPolicy: Never, activeDeadlineSeconds: 5, terminationGracePeriodSeconds: 30, "
                          "containers: [{name: c, image: x}]}");
    CHECK_INT(y.actions.wake_at - y.now, 5 * NS_PER_S);
    y.now += 5 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("!DeadlineExceeded !Killing:c term:c"));
    struct val s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(&s, N(phase)), S("Running"));
    CHECK_STR(val_text_at(&s, N(reason)), S(""));
    CHECK_STR(val_text_at(val_find(val_get(&s, N(conditions)), N(type), S("Ready")), N(reason)), S("PodFailed"));
    play_exits(&y, "c", 0);
    play_run(&y);
    s = pod_status(y.p, &y.arena, real0);
    CHECK_STR(val_text_at(&s, N(phase)), S("Failed"));
    CHECK_STR(val_text_at(&s, N(reason)), S("DeadlineExceeded"));
    play_end(&y);
}

TEST(sigterm_waits_for_the_prestop_hook_but_not_beyond_the_grace)
{
    for (int in_time = 0; in_time < 2; in_time++) {
        struct play y;
        play_running(&y,
                     META "spec: {containers: [{name: c, image: x, lifecycle: {preStop: {exec: {command: [x]}}}}]}");
        y.hold = true;
        play_delete(&y, 30);
        play_run(&y);
        CHECK_STR(play_told(&y), S("!Killing:c prestop:c"));
        y.now += 29 * NS_PER_S;
        play_run(&y);
        CHECK_STR(play_told(&y), S(""));
        if (in_time)
            pod_saw_hook(y.p, 0, false, true, S(""));
        else
            y.now += NS_PER_S;
        play_run(&y);
        CHECK_STR(play_told(&y), S("term:c"));
        play_end(&y);
    }
}

TEST(texts_of_a_long_crash_loop_do_not_pile_up)
{
    struct play y;
    play_begin(&y, ONE);
    play_run(&y);
    size_t most = 0;
    for (int i = 0; i < 5000; i++) {
        play_exits(&y, "c", 1);
        play_run(&y);
        y.now += 600 * NS_PER_S;
        play_run(&y);
        most = MAX(most, y.p->arena.used);
        strbuf_reset(&y.log);
        if (i % 50 == 0)
            arena_fini(&y.arena);
    }
    CHECK_INT(y.p->containers.p[0].restarts, 5000);
    CHECK(most < 64 << 10);
    CHECK_STR(y.p->name, S("p"));
    CHECK_STR(y.p->containers.p[0].name, S("c"));
    CHECK_STR(y.p->containers.p[0].image_id, S("x@sha256:1"));
    play_end(&y);
}

TEST(every_state_comes_to_an_end_whatever_happens)
{
    for (uint64_t seed = 1; seed < 300; seed++) {
        struct play y;
        play_begin(&y, META "spec:\n  restartPolicy: OnFailure\n  initContainers: [{name: i, image: x}, {name: s, "
                            "image: x, restartPolicy: Always}]\n"
                            "  containers: [{name: c, image: x, lifecycle: {preStop: {exec: {command: [x]}}}}]\n");
        uint64_t r = seed * 0x9e3779b97f4a7c15u;
        pod_saw_service(y.p, seed % 2);
        for (int i = 0; i < 40; i++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            y.hold = (r >> 33) % 3 == 0;
            play_run(&y);
            for (size_t k = 0; y.hold && k < y.actions.list.n; k++) {
                y.hold = false;
                play_answer(&y, &y.actions.list.p[k]);
            }
            size_t c = (r >> 40) % y.p->containers.n;
            if (y.p->containers.p[c].run == RUN_RUNNING && (r >> 50) % 2)
                pod_saw_exit(y.p, (int)c, id_of(y.p, (int)c), (r >> 51) % 2, false, S(""), real0, real0, y.now);
            if (i == 20)
                play_delete(&y, 30);
            if (i == 25 && seed % 5 == 0)
                pod_gone(y.p, y.now);
            y.now += (int64_t)((r >> 20) % 8) * NS_PER_S;
        }
        y.hold = false;
        y.now += 1000 * NS_PER_S;
        play_run(&y);
        play_run(&y);
        CHECK_INT(y.p->state, POD_ENDED);
        play_end(&y);
    }
}
