/* pod_end_test.c - how pods leave and end, and what is known of them after a reboot. */
#include "base/clock.h"
#include "base/test.h"
#include "node/pod_play_test.h"

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

/* Another than the node writes it. */
static void play_called(struct play *y, const char *phase, const char *reason)
{
    struct val tree = val_copy(&y->arena, &y->p->obj->tree);
    struct val *status = val_need_map(&y->arena, &tree, N(status));
    val_set_text(&y->arena, status, N(phase), str_of(phase));
    val_set_text(&y->arena, status, N(reason), str_of(reason));
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 2);
    pod_wanted(y->p, o, y->now);
}

TEST(pod_that_another_calls_over_is_ended_and_stays_so)
{
    struct play y;
    play_running(&y, ONE);
    play_called(&y, "Failed", "NodeLost");
    y.hold = true;
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    CHECK_INT(y.actions.wake_at, y.now + 30 * NS_PER_S);
    CHECK_STR(str_of(pod_phase(y.p)), S("Failed")); /* its container still runs */
    y.hold = false;
    play_exits(&y, "c", 0);
    play_run(&y);
    CHECK_STR(play_told(&y), S("unsandbox unvolumes")); /* the object is not ours to delete */
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(&s, N(phase)), S("Failed"));
    CHECK_STR(val_text_at(&s, N(reason)), S("NodeLost"));
    CHECK_STR(val_text_at(val_find(val_get(&s, N(conditions)), N(type), S("Ready")), N(status)), S("False"));
    play_delete(&y, 30);
    play_run(&y);
    CHECK_STR(play_told(&y), S("unvolumes delete"));
    play_end(&y);
}

TEST(pod_that_was_called_over_while_no_agent_looked_is_told_of_as_it_ended)
{
    struct play y;
    play_begin(&y, ONE "status: {phase: Failed, reason: NodeLost, containerStatuses: [{name: c, restartCount: 0, "
                       "state: {running: {startedAt: \"2026-01-01T00:00:00Z\"}}}]}\n");
    pod_saw_adopted(y.p, S("10.42.0.7"));
    pod_saw_adopted_run(y.p, 0, S("r"), 0, PLAY_REAL, y.now);
    y.hold = true;
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:c term:c"));
    y.hold = false;
    pod_saw_exit(y.p, 0, S("r"), 143, false, S(""), PLAY_REAL, PLAY_REAL, y.now);
    play_run(&y);
    CHECK_STR(play_told(&y), S("unsandbox unvolumes"));
    CHECK(!y.p->concluded); /* its status is still to be written */
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL), c = play_container(&y, 0);
    CHECK_STR(val_text_at(&s, N(phase)), S("Failed"));
    CHECK_STR(val_text_at(&s, N(reason)), S("NodeLost"));
    CHECK_INT(val_num_at(&c, -1, N(state), N(terminated), N(exitCode)), 143);
    play_end(&y);
}

TEST(pod_that_is_called_over_while_it_is_made_ends_without_having_run)
{
    struct play y;
    play_sandbox(&y, ONE);
    (void)play_told(&y);
    play_called(&y, "Succeeded", "");
    y.hold = false;
    play_run(&y);
    CHECK(!str_has(play_told(&y), S("start:")));
    CHECK_INT(y.p->state, POD_ENDED);
    CHECK_STR(str_of(pod_phase(y.p)), S("Succeeded"));
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
        struct val st = pod_status(y.p, &y.arena, PLAY_REAL);
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
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(val_find(val_get(&s, N(conditions)), N(type), S("Ready")), N(reason)), S("PodFailed"));
    play_delete(&y, 30); /* its logs were kept until now */
    play_run(&y);
    CHECK_STR(play_told(&y), S("unvolumes delete"));
    play_end(&y);
}

TEST(what_is_left_of_a_lost_sandbox_goes_with_its_pod)
{
    struct play y;
    play_running(&y, META "spec: {restartPolicy: Always, containers: [{name: c, image: x}]}");
    play_delete(&y, 30);
    pod_saw_sandbox_lost(y.p, PLAY_REAL, y.now);
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
    pod_saw_sandbox_lost(y.p, PLAY_REAL, y.now);
    y.hold = true;
    play_run(&y);
    pod_saw_exit(y.p, 0, S("abc"), 1, false, S("late"), PLAY_REAL, PLAY_REAL, y.now); /* told already: killed */
    CHECK_INT(y.p->containers.p[0].end.exit_code, 137);
    y.hold = false;
    pod_saw_sandbox(y.p, true, S("10.42.0.9"), y.now);
    play_run(&y);
    const struct container_user user = {.known = true, .uid = 7};
    pod_saw_starting(y.p, 0, S("def"), &user);
    pod_saw_running(y.p, 0, S("def"), PLAY_REAL, y.now);
    pod_saw_exit(y.p, 0, S("abc"), 1, false, S("later still"), PLAY_REAL, PLAY_REAL, y.now);
    CHECK_INT(y.p->containers.p[0].run, RUN_RUNNING);
    CHECK_INT(y.p->containers.p[0].user.uid, 7);
    pod_saw_exit(y.p, 0, S("def"), 3, false, S("its own"), PLAY_REAL, PLAY_REAL, y.now);
    CHECK_INT(y.p->containers.p[0].run, RUN_EXITED);
    CHECK_INT(y.p->containers.p[0].end.exit_code, 3);
    play_end(&y);
}

TEST(an_evicted_pod_has_a_second)
{
    struct play y;
    play_running(
        &y,
        META "spec: {restartPolicy: Always, terminationGracePeriodSeconds: 60, containers: [{name: c, image: x}]}");
    y.hold = true;
    pod_evict(y.p, S("too much"), 1, true, y.now);
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
    pod_saw_rebooted(y->p, PLAY_REAL, y->now);
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
    struct val c = play_container(&y, 0);
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
    struct val c = play_container(&y, 0);
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
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(&s, N(phase)), S("Running"));
    CHECK_STR(val_text_at(&s, N(reason)), S(""));
    CHECK_STR(val_text_at(val_find(val_get(&s, N(conditions)), N(type), S("Ready")), N(reason)), S("PodFailed"));
    play_exits(&y, "c", 0);
    play_run(&y);
    s = pod_status(y.p, &y.arena, PLAY_REAL);
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

/* RestartAllContainers: what a container's rule says of all of them. */
TEST(a_rule_of_one_container_begins_all_anew)
{
    struct play y;
    play_running(&y,
                 META "spec:\n  restartPolicy: Never\n  initContainers: [{name: i, image: x}, {name: s, image: x, "
                      "restartPolicy: Always}]\n"
                      "  containers: [{name: c, image: x, lifecycle: {preStop: {sleep: {seconds: 9}}}}, {name: t, "
                      "image: x, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: "
                      "In, values: [7]}}, {action: RestartAllContainers, exitCodes: {operator: In, values: [42, "
                      "7]}}]}]\n");
    play_exits(&y, "i", 0);
    play_run(&y);
    (void)play_told(&y);
    struct val s = pod_status(y.p, &y.arena, PLAY_REAL);
    const struct val *all = val_find(val_get(&s, N(conditions)), N(type), S("AllContainersRestarting"));
    CHECK_STR(val_text_at(all, N(status)), S("False"));
    play_exits(&y, "t", 7); /* of two rules the first one holds */
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:t start:t"));
    y.hold = true;
    play_exits(&y, "t", 42);
    play_run(&y);
    CHECK_STR(play_told(&y), S("!Killing:s kill:s !Killing:c kill:c")); /* no hook, no grace */
    s = pod_status(y.p, &y.arena, PLAY_REAL);
    all = val_find(val_get(&s, N(conditions)), N(type), S("AllContainersRestarting"));
    CHECK_STR(val_text_at(all, N(status)), S("True"));
    CHECK_STR(val_text_at(all, N(reason)), S("RestartAllContainersStarted"));
    CHECK_STR(val_text_at(&s, N(phase)), S("Running"));
    play_exits(&y, "s", 137);
    play_run(&y);
    CHECK_STR(play_told(&y), S(""));
    y.hold = false;
    play_exits(&y, "c", 137);
    play_run(&y);
    CHECK_STR(play_told(&y), S("image:i start:i")); /* from the beginning */
    s = pod_status(y.p, &y.arena, PLAY_REAL);
    all = val_find(val_get(&s, N(conditions)), N(type), S("AllContainersRestarting"));
    CHECK_STR(val_text_at(all, N(status)), S("False"));
    CHECK_STR(val_text_at(&s, N(phase)), S("Pending"));
    play_exits(&y, "i", 0);
    play_run(&y);
    y.now += 30 * NS_PER_S; /* t waits as one that crashes */
    play_run(&y);
    s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(&s, N(phase)), S("Running"));
    static const int64_t restarts[] = {1, 1, 1, 2};
    array_each (c, &y.p->containers)
        CHECK_INT(c->restarts, restarts[c - y.p->containers.p]);
    play_exits(&y, "t", 1); /* no rule: it stays down, and the pod with the others */
    play_run(&y);
    s = pod_status(y.p, &y.arena, PLAY_REAL);
    CHECK_STR(val_text_at(&s, N(phase)), S("Running"));
    play_end(&y);
}
