/* pod_test.c - how pods start, run and start again. */
#include "base/clock.h"
#include "base/test.h"
#include "node/pod_play_test.h"

TEST(pod_starts_in_order_and_is_ready)
{
    struct play y;
    play_begin(&y, ONE);
    CHECK_STR(str_of(pod_phase(y.p)), S("Pending"));
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes sandbox image:c start:c"));
    CHECK_STR(str_of(pod_phase(y.p)), S("Running"));
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
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
        struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
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
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
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
        pod_saw_start_failed(y.p, 0, "CreateContainerError", S("no space"), true, PLAY_REAL, y.now);
        y.actions.wake_at = 0;
        play_run(&y);
        CHECK_STR(play_told(&y), S(""));
        CHECK_STR(play_reason(&y, 0), S("CreateContainerError"));
        CHECK_INT(y.actions.wake_at - y.now, waits[i] * NS_PER_S);
        y.now = y.actions.wake_at;
        play_run(&y);
        CHECK_STR(play_told(&y), S("start:c"));
    }
    pod_saw_running(y.p, 0, S("def"), PLAY_REAL, y.now);
    CHECK_INT(y.p->containers.p[0].restarts, 1);
    play_end(&y);
}

TEST(an_image_that_somebody_removed_is_asked_for_anew)
{
    struct play y;
    play_running(&y, ONE);
    play_exits(&y, "c", 1);
    y.hold = true;
    play_run(&y);
    pod_saw_image(y.p, 0, true, S("x@sha256:1"), S(""), y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c start:c"));
    pod_saw_start_failed(y.p, 0, "CreateContainerError", S("image is not present"), true, PLAY_REAL, y.now);
    pod_saw_image_gone(y.p, 0);
    y.now += 60 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c"));
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
    pod_saw_running(y.p, 0, S("a1"), PLAY_REAL, y.now);
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
    pod_saw_running(y.p, 2, S("c1"), PLAY_REAL, y.now);
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

TEST(init_containers_run_one_after_another_and_sidecars_stop_last)
{
    struct play y;
    play_begin(&y, META "spec:\n  restartPolicy: Always\n  initContainers: [{name: i, image: x}, {name: s, image: x, "
                        "restartPolicy: Always}]\n"
                        "  containers: [{name: c, image: x}]\n");
    play_run(&y);
    CHECK_STR(play_told(&y), S("volumes sandbox image:i start:i"));
    struct val st = pod_status(y.p, &y.arena, PLAY_REAL);
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
    struct val st = pod_status(y->p, &y->arena, PLAY_REAL);
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
    pod_saw_exit(y.p, 0, play_run_id(y.p, 0), 1, false, S(""), PLAY_REAL, PLAY_REAL, y.now);
    CHECK_STR(play_initialized(&y), S("True")); /* its containers have run: that stays */
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
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(val_item(val_get(&s, N(containerStatuses)), 0), N(state), N(waiting), N(reason)),
              S("ErrImagePull"));
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    y.now += NS_PER_S; /* the error itself is shown for a moment */
    play_run(&y);
    CHECK_STR(play_told(&y), S("!BackOff:c !Failed:c"));
    s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(val_item(val_get(&s, N(containerStatuses)), 0), N(state), N(waiting), N(message)),
              S("Back-off pulling image \"x\": ErrImagePull: not found"));
    y.now += 9 * NS_PER_S;
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:c"));
    CHECK_STR(play_reason(&y, 0), S("ImagePullBackOff")); /* until the answer is here */
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
    struct val c = play_container(&y, 0);
    CHECK_INT(val_num_at(&c, -1, N(state), N(terminated), N(exitCode)), 3);
    CHECK_INT(val_num_at(&c, -1, N(restartCount)), 0);
    CHECK_INT(pod_run_number(&y.p->containers.p[0]), 1);
    pod_saw_running(y.p, 0, S("def"), PLAY_REAL, y.now);
    c = play_container(&y, 0);
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
    pod_saw_running(y.p, 0, S("def"), PLAY_REAL, y.now);
    play_run(&y);
    struct val c = play_container(&y, 0);
    CHECK(val_at(&c, N(state), N(terminated)) && !val_true(val_get(&c, N(ready))));
    pod_saw_hook(y.p, 0, true, false, S("oops"));
    play_exits(&y, "c", 0);
    CHECK_STR(play_reason(&y, 0), S("PostStartHookError"));
    c = play_container(&y, 0);
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
    pod_saw_sandbox_lost(y.p, PLAY_REAL, y.now);
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
                pod_saw_exit(y.p, (int)c, play_run_id(y.p, (int)c), (r >> 51) % 2, false, S(""), PLAY_REAL, PLAY_REAL,
                             y.now);
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
