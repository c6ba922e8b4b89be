/* Decisions in transcripts: nodes and pods as YAML, "# schedule NS/NAME" asks; and the queue over the fake API. */
#include "control/plan_test.h"
#include "control/pods.h"
#include "control/sched_volume.h"
#include "control/world_test.h"

static void sched_answer(struct str input, struct strbuf *out)
{
    struct fixture f;
    struct sched s;
    struct key key = {0};
    fixture_init(&f);
    sched_init(&s);
    struct str rest = input, line;
    while (str_cut(&rest, '\n', &line))
        if (str_starts(line, S("# schedule ")))
            CHECK(str_split(str_sub(line, 11, line.n), '/', &key.ns, &key.name));
    fixture_add(&f, input);
    struct obj *o;
    for (struct objset_iter it = view_all(&f.view, K(Node)); (o = objset_next(&it));)
        sched_node_set(&s, o);
    for (struct objset_iter it = view_all(&f.view, K(Pod)); (o = objset_next(&it));)
        if (pod_node(o).n > 0)
            sched_pod_set(&s, o->ns, o->name, o, pod_node(o));
        else
            sched_nominate(&s, o, val_text_at(obj_status(o), N(nominatedNodeName)));
    AUTO(arena_fini) struct arena a = ARENA;
    struct decision d;
    const struct obj *pod = view_get(&f.view, K(Pod), key.ns, key.name);
    CHECK(pod);
    sched_place(&s, &f.view, pod, &a, &d);
    if (d.node) {
        strbuf_addf(out, "%s (of %zu that fit)\n", d.node->name, d.feasible);
        for (size_t i = 0; i < d.nclaims; i++)
            strbuf_addf(out, "claim " STR_FMT ": " STR_FMT "\n", STR_ARG(d.claims[i].claim->name),
                        STR_ARG(d.claims[i].volume ? d.claims[i].volume->name : S("to be made")));
    } else
        strbuf_addf(out, STR_FMT "\n", STR_ARG(d.message));
    for (size_t i = 0; i < d.nvictims; i++)
        strbuf_addf(out, "%s" STR_FMT, i ? ", " : "", STR_ARG(d.victims[i]->obj->name));
    if (d.nominee)
        strbuf_addf(out, " must leave %s", d.nominee->name);
    if (d.nbroken)
        strbuf_addf(out, " (%zu against their budget)", d.nbroken);
    if (d.nominee)
        strbuf_addc(out, '\n');
    sched_fini(&s);
    fixture_fini(&f);
}

TEST(decisions_are_as_in_their_transcript)
{
    test_transcript("tests/control/scheduler.txt", sched_answer);
    test_transcript("tests/control/sched_volumes.txt", sched_answer);
    test_transcript("tests/control/sched_csi.txt", sched_answer);
}

TEST(victims_are_as_in_their_transcript)
{
    test_transcript("tests/control/preempt.txt", sched_answer);
}

/* Whose deletion the API refuses is asked no more, and another one goes. */
TEST(a_pod_that_may_not_be_deleted_is_no_victim)
{
    struct fixture f;
    struct sched s;
    struct obj *o;
    AUTO(arena_fini) struct arena a = ARENA;
    fixture_init(&f);
    sched_init(&s);
    fixture_add(&f,
                S("{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {allocatable: {cpu: '2', pods: "
                  "'10'}}}\n---\n"
                  "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeName: n1, priority: 1, containers: "
                  "[{name: c, image: i, resources: {requests: {cpu: '1'}}}]}}\n---\n"
                  "{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {nodeName: n1, priority: 2, containers: "
                  "[{name: c, image: i, resources: {requests: {cpu: '1'}}}]}}\n---\n"
                  "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {priority: 9, containers: [{name: c, "
                  "image: i, resources: {requests: {cpu: '1'}}}]}}"));
    sched_node_set(&s, view_get(&f.view, K(Node), S(""), S("n1")));
    for (struct objset_iter it = view_all(&f.view, K(Pod)); (o = objset_next(&it));)
        sched_pod_set(&s, o->ns, o->name, o, pod_node(o));
    const char *const turns[] = {"a", "b", ""};
    for (size_t i = 0; i < countof(turns); i++) {
        struct decision d;
        sched_place(&s, &f.view, view_get(&f.view, K(Pod), S("default"), S("p")), &a, &d);
        CHECK_INT(d.nvictims, turns[i][0] ? 1 : 0);
        if (d.nvictims == 0)
            break;
        CHECK_STR(d.victims[0]->obj->name, str_of(turns[i]));
        struct obj *victim = d.victims[0]->obj;
        sched_pod_sent(&s, victim, 0);
        sched_pod_spared(&s, victim, true);
    }
    CHECK_INT(s.nsent, 0);
    sched_fini(&s);
    fixture_fini(&f);
}

static bool pod_bound(struct world *w, const char *name)
{
    struct obj *pod = fake_get(w->api, K(Pod), S("default"), str_of(name));
    return pod && pod_node(pod).n > 0;
}

static void pod_put(struct world *w, const char *name, const char *spec)
{
    AUTO(arena_fini) struct arena a = ARENA;
    world_put(
        w,
        arena_fmt(&a, "{apiVersion: v1, kind: Pod, metadata: {name: %s, generation: 1}, spec: {%s}}", name, spec).p);
}

static struct str pod_refusal(struct world *w, const char *name)
{
    struct obj *pod = fake_get(w->api, K(Pod), S("default"), str_of(name));
    return val_text(val_get(condition_get(obj_status(pod), "PodScheduled"), N(message)));
}

#define BIG "containers: [{name: c, image: i, resources: {requests: {cpu: '6'}}}]"

TEST(a_pod_that_does_not_fit_says_why_and_goes_when_there_is_room)
{
    struct world w;
    world_init(&w, 41, 2 * NS_PER_MS);
    world_node(&w, "n1", "8");
    world_start(&w);
    pod_put(&w, "p", BIG);
    world_run_for(&w, NS_PER_S);
    CHECK(pod_bound(&w, "p"));
    pod_put(&w, "q", BIG);
    world_run_for(&w, NS_PER_S);
    CHECK(!pod_bound(&w, "q"));
    CHECK_STR(pod_refusal(&w, "q"),
              S("0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: "
                "0/1 nodes are available: 1 No preemption victims found for incoming pod."));
    CHECK_INT(world_events(&w, "FailedScheduling"), 1);
    size_t writes = fake_writes(w.api) - w.renewals;
    world_run_for(&w, 60 * NS_PER_S);
    CHECK_INT(fake_writes(w.api) - w.renewals, writes); /* it waits; nobody asks in vain */
    fake_remove(w.api, K(Pod), S("default"), S("p"));
    world_run_for(&w, NS_PER_S);
    CHECK(pod_bound(&w, "q"));
    world_fini(&w);
}

TEST(a_pod_that_has_been_made_smaller_makes_room_for_who_waits)
{
    struct world w;
    world_init(&w, 43, 2 * NS_PER_MS);
    world_node(&w, "n1", "8");
    world_start(&w);
    pod_put(&w, "p", BIG);
    world_run_for(&w, NS_PER_S);
    pod_put(&w, "q", BIG);
    world_run_for(&w, NS_PER_S);
    CHECK(!pod_bound(&w, "q"));
    world_patch(&w, K(Pod), "p", "status",
                "{status: {conditions: [{type: PodResizeInProgress, status: 'True'}], containerStatuses: [{name: c, "
                "allocatedResources: {cpu: '6'}, resources: {requests: {cpu: '6'}}}]}}");
    world_patch(&w, K(Pod), "p", "",
                "{spec: {containers: [{name: c, image: i, resources: {requests: {cpu: '1'}}}]}}");
    world_run_for(&w, 60 * NS_PER_S);
    CHECK(!pod_bound(&w, "q")); /* it has not given it back yet */
    world_patch(
        &w, K(Pod), "p", "status",
        "{status: {conditions: null, containerStatuses: [{name: c, allocatedResources: {cpu: '1'}, resources: "
        "{requests: {cpu: '1'}}}]}}");
    world_run_for(&w, NS_PER_S);
    CHECK(pod_bound(&w, "q"));
    world_fini(&w);
}

TEST(a_node_that_is_uncordoned_or_added_wakes_those_who_wait)
{
    struct world w;
    world_init(&w, 42, 2 * NS_PER_MS);
    world_start(&w);
    pod_put(&w, "p", BIG);
    world_run_for(&w, NS_PER_S);
    CHECK_STR(pod_refusal(&w, "p"), S("no nodes available to schedule pods"));
    world_node(&w, "n1", "8");
    world_run_for(&w, NS_PER_S);
    CHECK(pod_bound(&w, "p"));
    world_patch(&w, K(Node), "n1", "", "{spec: {unschedulable: true}}");
    world_run_for(&w, NS_PER_S); /* two kinds come in no order */
    pod_put(&w, "q", "containers: [{name: c, image: i}]");
    world_run_for(&w, NS_PER_S);
    CHECK(!pod_bound(&w, "q"));
    world_patch(&w, K(Node), "n1", "", "{spec: {unschedulable: null}}");
    world_run_for(&w, NS_PER_S);
    CHECK(pod_bound(&w, "q"));
    world_fini(&w);
}

/* That there is no node is being told still, over a slow API, when one comes. */
TEST(a_pod_is_bound_while_it_is_told_that_it_cannot_be)
{
    for (int64_t ms = 0; ms < 2000; ms += 100) {
        struct world w;
        world_init(&w, 44, 400 * NS_PER_MS);
        world_start(&w);
        world_run_for(&w, 10 * NS_PER_S);
        pod_put(&w, "p", "containers: [{name: c, image: i}]");
        world_run_for(&w, ms * NS_PER_MS);
        world_node(&w, "n1", "8");
        world_run_for(&w, 10 * NS_PER_S);
        CHECK(pod_bound(&w, "p"));
        world_fini(&w);
    }
}

TEST(a_gated_pod_waits_for_its_gate)
{
    struct world w;
    world_init(&w, 43, 2 * NS_PER_MS);
    world_node(&w, "n1", "8");
    world_start(&w);
    pod_put(&w, "p", "schedulingGates: [{name: example.com/wait}], containers: [{name: c, image: i}]");
    world_run_for(&w, NS_PER_S);
    CHECK(!pod_bound(&w, "p"));
    pod_put(&w, "p", "containers: [{name: c, image: i}]");
    world_run_for(&w, NS_PER_S);
    CHECK(pod_bound(&w, "p"));
    world_fini(&w);
}

/* A hundred pods at once over slow, failing bindings: none twice on a port, none over what a node has. */
TEST(what_is_assumed_is_never_given_twice)
{
    for (uint64_t seed = 50; seed < 55; seed++) {
        struct world w;
        world_init(&w, seed, 20 * NS_PER_MS);
        for (int i = 0; i < 5; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            world_node(&w, arena_fmt(&a, "n%d", i).p, "8");
        }
        world_start(&w);
        for (int i = 0; i < 12; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            pod_put(
                &w, arena_fmt(&a, "p%d", i).p,
                "containers: [{name: c, image: i, ports: [{containerPort: 80, hostPort: 80}], resources: {requests: "
                "{cpu: '3'}}}]");
            if (i % 4 == 0)
                fake_fail(w.api, 1, E_UNAVAILABLE);
        }
        world_run_for(&w, 120 * NS_PER_S);
        size_t n = 0;
        for (int i = 0; i < 5; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            size_t here = 0;
            struct obj *pod;
            for (struct objset_iter it = objset_all(fake_set(w.api, K(Pod))); (pod = objset_next(&it));)
                here += str_eq(pod_node(pod), arena_fmt(&a, "n%d", i));
            CHECK(here <= 1);
            n += here;
        }
        CHECK_INT(n, 5);
        world_fini(&w);
    }
}

TEST(replicas_of_one_deployment_spread_over_nodes)
{
    struct world w;
    world_init(&w, 60, NS_PER_MS);
    world_node(&w, "n1", "64");
    world_node(&w, "n2", "64");
    world_node(&w, "n3", "64");
    world_start(&w);
    world_put(
        &w,
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 1}, spec: {replicas: 6, selector: "
        "{matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, "
        "image: i}]}}}}");
    world_run_for(&w, 10 * NS_PER_S);
    const char *const nodes[] = {"n1", "n2", "n3"};
    for (size_t i = 0; i < countof(nodes); i++) {
        size_t here = 0;
        struct obj *pod;
        for (struct objset_iter it = objset_all(fake_set(w.api, K(Pod))); (pod = objset_next(&it));)
            here += str_eqz(pod_node(pod), nodes[i]);
        CHECK_INT(here, 2);
    }
    world_fini(&w);
}
