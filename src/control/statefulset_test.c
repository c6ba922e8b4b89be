/* StatefulSets over the fake API: what they promise holds at every write, whatever the order in which things are
 * seen. A write that the test itself makes, or that was planned before its sender could know of it, is let pass. */
#include "control/plan_test.h"
#include "control/statefulset_int.h"
#include "control/world_test.h"
#include "sys/loop.h"

#define DB                                                                                                           \
    "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: {replicas: 4, "             \
    "serviceName: "                                                                                                  \
    "db, podManagementPolicy: %s, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}, "            \
    "selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, "   \
    "image: i1}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {storageClassName: '', accessModes: "      \
    "[ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}"
#define LAG (40 * NS_PER_MS) /* a plan may be that old when its last write is made */

static struct {
    int64_t claims;    /* most that there ever were */
    int64_t disturbed; /* when the test, and not the controller, last changed what the promises rest on */
    bool at_work;      /* a write of the test's own */
} now_is;

static struct obj *db_get(struct world *w)
{
    return fake_get(w->api, K(StatefulSet), S("default"), S("db"));
}

static int64_t db_status(struct world *w, const struct name *name)
{
    return val_num(val_get(obj_status(db_get(w)), name), 0);
}

static int64_t db_wanted(struct world *w)
{
    return val_num_at(obj_spec(db_get(w)), 1, N(replicas));
}

static struct obj *db_pod(struct world *w, int64_t ordinal)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return fake_get(w->api, K(Pod), S("default"), stateful_pod_name(&a, db_get(w), ordinal));
}

static bool is_serving(const struct obj *pod)
{
    return pod && !obj_deleting(pod) && stateful_pod_runs(pod);
}

static int64_t pods_serving(struct world *w)
{
    int64_t n = 0;
    struct obj *pod;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        n += is_serving(pod);
    return n;
}

static bool db_is_ordered(struct world *w)
{
    return !str_eqz(val_text_at(obj_spec(db_get(w)), N(podManagementPolicy)), "Parallel");
}

static bool is_rolled_out(struct world *w)
{
    const struct val *status = obj_status(db_get(w));
    return db_status(w, N(observedGeneration)) == obj_generation(db_get(w)) &&
           db_status(w, N(updatedReplicas)) == db_wanted(w) && db_status(w, N(replicas)) == db_wanted(w) &&
           db_status(w, N(availableReplicas)) == db_wanted(w) &&
           str_eq(val_text_at(status, N(currentRevision)), val_text_at(status, N(updateRevision)));
}

/* Its status may still speak of a pod that is gone. */
static bool is_settled(struct world *w)
{
    return is_rolled_out(w) && pods_serving(w) == db_wanted(w);
}

/* ---- the promises ---- */

static void pod_was_made(struct world *w, const struct obj *now, int64_t ordinal)
{
    for (int64_t i = 0; i < ordinal && db_is_ordered(w); i++)
        if (!is_serving(db_pod(w, i)))
            test_failed(__FILE__, __LINE__, "db-%lld is made before db-%lld is ready", (long long)ordinal,
                        (long long)i);
    struct str image = val_text_at(val_item(val_get(obj_spec(now), N(containers)), 0), N(image));
    struct str newest = val_text_at(val_item(val_at(obj_spec(db_get(w)), N(template), N(spec), N(containers)), 0),
                                    N(image));
    if (ordinal < stateful_partition(db_get(w)) && str_eq(image, newest) && !is_rolled_out(w))
        test_failed(__FILE__, __LINE__, "db-%lld is below the partition and is made of the newest template",
                    (long long)ordinal);
}

static void pod_was_deleted(struct world *w, const struct obj *was, int64_t ordinal)
{
    bool condemned = ordinal >= db_wanted(w), served = stateful_pod_runs(was);
    if (!condemned && ordinal < stateful_partition(db_get(w)) && !pod_is_over(was))
        test_failed(__FILE__, __LINE__, "db-%lld is below the partition and goes", (long long)ordinal);
    for (int64_t i = ordinal + 1; condemned && db_is_ordered(w) && i < 20; i++)
        if (db_pod(w, i))
            test_failed(__FILE__, __LINE__, "db-%lld goes before db-%lld", (long long)ordinal, (long long)i);
    int64_t away = MIN(db_wanted(w), 20) - pods_serving(w);
    if (!condemned && served && away > stateful_max_unavailable(db_get(w)))
        test_failed(__FILE__, __LINE__, "db-%lld goes: %lld are away", (long long)ordinal, (long long)away);
}

static void promises_hold(struct world *w, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    int64_t claims = (int64_t)objset_len(fake_set(w->api, K(PersistentVolumeClaim)));
    if (claims < now_is.claims)
        test_failed(__FILE__, __LINE__, "a claim is lost");
    now_is.claims = claims;
    if (!db_get(w) || o->kind != K(Pod))
        return;
    int64_t ordinal = stateful_ordinal(db_get(w), o->name);
    CHECK(ordinal >= 0);
    if (was && now)
        CHECK_STR(was->uid, now->uid); /* one follows the other, never takes its place */
    if (now_is.at_work || clock_mono() < now_is.disturbed + LAG)
        return;
    if (!was && now)
        pod_was_made(w, now, ordinal);
    if (now && was && obj_deleting(now) && !obj_deleting(was))
        pod_was_deleted(w, was, ordinal);
}

/* ---- what is done to them ---- */

static void disturb_begin(struct world *w)
{
    fake_fail(w->api, 0, E_UNAVAILABLE); /* what the test does itself goes through */
    now_is.at_work = true;
    now_is.disturbed = clock_mono();
}

static void db_patch(struct world *w, const char *json)
{
    disturb_begin(w);
    world_patch(w, K(StatefulSet), "db", "", json);
    now_is.at_work = false;
    now_is.disturbed = clock_mono();
}

static void db_image(struct world *w, const char *name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    db_patch(w, arena_fmt(&a, "{spec: {template: {spec: {containers: [{name: c, image: %s}]}}}}", name).p);
}

static void pod_kill(struct world *w, int64_t ordinal)
{
    struct obj *pod = db_pod(w, ordinal);
    if (!pod || obj_deleting(pod))
        return;
    struct call c = {0};
    struct err err = ERR;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Pod), .ns = S("default"), .name = pod->name);
    disturb_begin(w);
    if (!call_run(&c, w->api, &o, &err))
        CHECK(err.kind == E_NOT_FOUND);
    call_fini(&c);
    now_is.at_work = false;
    now_is.disturbed = clock_mono();
}

static void volumes_put(struct world *w)
{
    for (int i = 0; i < 24; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        world_put(
            w,
            arena_fmt(&a,
                      "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv%d}, spec: {capacity: {storage: "
                      "1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /d%d}, "
                      "persistentVolumeReclaimPolicy: Retain}}",
                      i, i)
                .p);
    }
}

static bool image_works(const struct obj *pod)
{
    return !str_starts(val_text_at(val_item(val_get(obj_spec(pod), N(containers)), 0), N(image)), S("bad"));
}

static void db_begin(struct world *w, uint64_t seed, const char *policy)
{
    AUTO(arena_fini) struct arena a = ARENA;
    now_is = (__typeof__(now_is)){.disturbed = -LAG};
    world_init(w, seed, 5 * NS_PER_MS);
    w->starts = image_works;
    world_node(w, "n1", "8");
    world_node(w, "n2", "8");
    volumes_put(w);
    world_put(w, arena_fmt(&a, DB, policy).p);
    w->written = promises_hold;
    world_start(w);
    world_run(w, is_rolled_out, 120 * NS_PER_S);
}

static void db_end(struct world *w)
{
    w->written = NULL;
    world_fini(w);
}

static const char *const policies[] = {"OrderedReady", "Parallel"};

TEST(a_stateful_set_is_made_scaled_rolled_and_undone)
{
    for (size_t i = 0; i < countof(policies); i++) {
        struct world w;
        db_begin(&w, 1 + i, policies[i]);
        CHECK_INT(world_events(&w, "SuccessfulCreate"), 8); /* each pod, and its claim */
        db_patch(&w, "{spec: {replicas: 6}}");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        db_image(&w, "i2");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        db_image(&w, "i1");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        CHECK_INT(objset_len(fake_set(w.api, K(ControllerRevision))), 2);
        db_patch(&w, "{spec: {replicas: 1}}");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        CHECK_INT(objset_len(fake_set(w.api, K(Pod))), 1);
        CHECK_INT(objset_len(fake_set(w.api, K(PersistentVolumeClaim))), 6);
        db_end(&w);
    }
}

TEST(a_stateful_set_that_is_as_wished_costs_no_writes)
{
    struct world w;
    db_begin(&w, 5, "OrderedReady");
    world_run_for(&w, 5 * NS_PER_S);
    size_t writes = fake_writes(w.api) - w.renewals;
    world_run_for(&w, 600 * NS_PER_S);
    CHECK_INT(fake_writes(w.api) - w.renewals, writes);
    CHECK(manager_idle(w.manager));
    db_end(&w);
}

TEST(order_partition_and_bounds_of_a_stateful_set_hold_at_every_write)
{
    static const char *const bounds[] = {
        "{spec: {updateStrategy: {rollingUpdate: {partition: 0}}}}",
        "{spec: {updateStrategy: {rollingUpdate: {partition: 0, maxUnavailable: 2}}}}",
        "{spec: {updateStrategy: {rollingUpdate: {partition: 2, maxUnavailable: 50%}}}}",
        "{spec: {updateStrategy: {rollingUpdate: {partition: 3}}}}",
    };
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct world w;
        db_begin(&w, seed, policies[seed % 2]);
        db_patch(&w, bounds[seed / 2 % countof(bounds)]);
        world_run_for(&w, 2 * LAG);
        static const char *const images[] = {"i2", "i3", "i1", "i4"};
        for (size_t i = 0; i < countof(images); i++) {
            db_image(&w, images[i]);
            world_run_for(&w, (int64_t)random_below(600) * NS_PER_MS); /* the next comes in the middle of it */
        }
        db_patch(&w, "{spec: {updateStrategy: {rollingUpdate: {partition: 0}}}}");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        db_end(&w);
    }
}

TEST(a_stateful_set_survives_kills_lost_lines_failed_calls_and_scaling)
{
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct world w;
        db_begin(&w, 100 + seed, policies[seed % 2]);
        db_image(&w, "i2");
        for (int i = 0; i < 16; i++) {
            world_run_for(&w, (int64_t)random_below(300) * NS_PER_MS);
            switch (random_below(6)) {
            case 0: fake_cut(w.api); break;
            case 1: fake_fail(w.api, 3, E_UNAVAILABLE); break;
            case 2: fake_compact(w.api); break;
            case 3: db_patch(&w, random_below(2) ? "{spec: {replicas: 6}}" : "{spec: {replicas: 3}}"); break;
            default: pod_kill(&w, (int64_t)random_below(6));
            }
        }
        world_run(&w, is_settled, 600 * NS_PER_S);
        db_end(&w);
    }
}

/* A revision that never becomes ready is left for the next one, be it the first of all or in the middle. */
TEST(a_broken_revision_does_not_stop_the_one_that_mends_it)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct world w;
        db_begin(&w, 200 + seed, policies[seed % 2]);
        if (seed % 3 == 0)
            db_patch(&w, "{spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 2}}}}");
        db_image(&w, "bad1");
        world_run_for(&w, (int64_t)random_below(4000) * NS_PER_MS);
        int64_t serve = pods_serving(&w), least = db_wanted(&w) - stateful_max_unavailable(db_get(&w));
        CHECK(serve >= least);
        db_image(&w, "bad2");
        world_run_for(&w, (int64_t)random_below(4000) * NS_PER_MS);
        CHECK(pods_serving(&w) >= least);
        db_image(&w, seed % 2 ? "i1" : "i3");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        db_end(&w);
        world_init(&w, 300 + seed, 5 * NS_PER_MS);
        w.starts = image_works;
        world_node(&w, "n1", "8");
        volumes_put(&w);
        world_put(&w, arena_fmt(&a, DB, policies[seed % 2]).p);
        db_image(&w, "bad");
        world_start(&w);
        world_run_for(&w, (int64_t)random_below(3000) * NS_PER_MS);
        db_image(&w, "i2");
        world_run(&w, is_rolled_out, 120 * NS_PER_S);
        world_fini(&w);
    }
}

static bool is_all_gone(struct world *w)
{
    return !db_get(w) && objset_len(fake_set(w->api, K(ControllerRevision))) == 0 &&
           objset_len(fake_set(w->api, K(Pod))) == 0;
}

static void db_delete(struct world *w, enum propagation_policy policy)
{
    struct call c = {0};
    struct err err = ERR;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(StatefulSet), .ns = S("default"),
                                         .name = S("db"), .propagation = policy);
    w->written = NULL;
    CHECK_OK(call_run(&c, w->api, &o, &err), err);
    call_fini(&c);
}

TEST(what_a_stateful_set_owned_goes_with_it_and_claims_stay)
{
    const enum propagation_policy how[] = {PROPAGATION_BACKGROUND, PROPAGATION_FOREGROUND};
    for (size_t i = 0; i < countof(how); i++) {
        struct world w;
        db_begin(&w, 11 + i, "OrderedReady");
        db_delete(&w, how[i]);
        world_run(&w, is_all_gone, 60 * NS_PER_S);
        world_run_for(&w, 5 * NS_PER_S);
        CHECK_INT(objset_len(fake_set(w.api, K(PersistentVolumeClaim))), 4);
        world_fini(&w);
    }
}

static bool claims_are_gone(struct world *w)
{
    return is_all_gone(w) && objset_len(fake_set(w->api, K(PersistentVolumeClaim))) == 0;
}

static bool two_claims_are_left(struct world *w)
{
    return is_rolled_out(w) && objset_len(fake_set(w->api, K(PersistentVolumeClaim))) == 2;
}

TEST(claims_go_when_the_retention_policy_says_so)
{
    struct world w;
    db_begin(&w, 15, "OrderedReady");
    w.written = NULL;
    db_patch(&w, "{spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}}}");
    world_run_for(&w, 2 * NS_PER_S);
    db_patch(&w, "{spec: {replicas: 2}}");
    world_run(&w, two_claims_are_left, 60 * NS_PER_S);
    db_patch(&w, "{spec: {replicas: 4}}"); /* new ones are made */
    world_run(&w, is_rolled_out, 60 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(PersistentVolumeClaim))), 4);
    db_delete(&w, PROPAGATION_BACKGROUND);
    world_run(&w, claims_are_gone, 60 * NS_PER_S);
    world_fini(&w);
}

static bool db_is_gone(struct world *w)
{
    return !db_get(w);
}

TEST(orphans_of_a_stateful_set_are_adopted_without_a_restart)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    db_begin(&w, 21, "OrderedReady");
    struct str uid = str_dup(&a, db_pod(&w, 2)->uid);
    db_delete(&w, PROPAGATION_ORPHAN);
    world_run(&w, db_is_gone, 60 * NS_PER_S);
    world_run_for(&w, 10 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(Pod))), 4);
    CHECK_INT(objset_len(fake_set(w.api, K(ControllerRevision))), 1);
    world_put(&w, arena_fmt(&a, DB, "OrderedReady").p);
    world_run(&w, is_rolled_out, 60 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(ControllerRevision))), 1);
    CHECK_STR(db_pod(&w, 2)->uid, uid);
    world_fini(&w);
}

/* ---- many ---- */

struct cost {
    size_t actions, bytes;
};

/* Of the plan after one pod of n has ceased to be ready. */
static struct cost plan_cost(int n)
{
    struct fixture f;
    fixture_init(&f);
    AUTO(arena_fini) struct arena a = ARENA;
    const char *revision = "db-5744d84c44";
    fixture_add(&f,
                arena_fmt(&a,
                          "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: "
                          "{replicas: %d, serviceName: db, podManagementPolicy: Parallel, selector: {matchLabels: "
                          "{app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, "
                          "image: i1}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: "
                          "[ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}, status: {replicas: %d, "
                          "readyReplicas: %d, availableReplicas: %d, currentReplicas: %d, updatedReplicas: %d, "
                          "observedGeneration: 1, collisionCount: 0, currentRevision: %s, updateRevision: %s}}",
                          n, n, n, n, n, n, revision, revision));
    for (int i = 0; i < n; i++) {
        fixture_add(&f,
                    arena_fmt(&a,
                              "{apiVersion: v1, kind: Pod, metadata: {name: db-%d, labels: {app: db, "
                              "statefulset.kubernetes.io/pod-name: db-%d, controller-revision-hash: %s}, "
                              "ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: "
                              "uid-StatefulSet-db, controller: true}]}, spec: {containers: [{name: c, image: i}], "
                              "volumes: [{name: data, persistentVolumeClaim: {claimName: data-db-%d}}]}, status: "
                              "{phase: Running, conditions: [{type: Ready, status: '%s'}]}}",
                              i, i, revision, i, i == 3 ? "False" : "True"));
        fixture_add(&f, arena_fmt(&a,
                                  "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-%d}, spec: "
                                  "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
                                  i));
    }
    struct cost c = {0};
    for (int round = 0; round < 2; round++) { /* the first one makes the revision */
        AUTO(plan_fini) struct plan p = {0};
        controller_named(S("statefulset"))->plan(&f.view, (struct key){S("default"), S("db")}, &p);
        array_each (act, &p.actions)
            if (act->verb == ACTION_CREATE && act->kind == K(ControllerRevision)) {
                CHECK_STR(act->name, str_of(revision));
                struct val *meta = val_need_map(&p.arena, &act->body, N(metadata));
                val_set_text(&p.arena, meta, N(uid), S("u"));
                struct obj *o = obj_new(act->kind, &act->body, ++f.rev);
                obj_unref(objset_put(f.sets[act->kind->id], o));
                obj_unref(o);
            }
        c = (struct cost){p.actions.n, p.arena.used};
    }
    fixture_fini(&f);
    return c;
}

TEST(one_change_among_500_stateful_pods_costs_what_it_does_among_10)
{
    struct cost few = plan_cost(10), many = plan_cost(500);
    CHECK_INT(few.actions, 1); /* the status */
    CHECK_INT(many.actions, 1);
    CHECK(many.bytes <= few.bytes + 1024);
}

static bool is_large(struct world *w)
{
    return is_rolled_out(w) && db_wanted(w) == 500;
}

/* Making them: a pod each, and status as often as something has come of it. */
TEST(five_hundred_stateful_pods_are_made_in_few_writes)
{
    struct world w;
    AUTO(arena_fini) struct arena a = ARENA;
    now_is = (__typeof__(now_is)){0};
    world_init(&w, 7, 5 * NS_PER_MS);
    for (int i = 0; i < 5; i++)
        world_node(&w, arena_fmt(&a, "n%d", i).p, "800");
    world_put(&w,
              "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: {replicas: 500, "
              "serviceName: db, podManagementPolicy: Parallel, selector: {matchLabels: {app: db}}, template: "
              "{metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: i1}]}}}}");
    world_start(&w);
    world_run(&w, is_large, 120 * NS_PER_S);
    size_t before = fake_writes(w.api) - w.renewals;
    pod_kill(&w, 250);
    world_run_for(&w, 5 * NS_PER_S);
    CHECK(is_large(&w));
    size_t writes = fake_writes(w.api) - w.renewals - before;
    if (writes > 16) /* deleted, gone, made, bound, ready; an event each; the status after each */
        test_failed(__FILE__, __LINE__, "%zu writes for one pod of 500", writes);
    world_fini(&w);
}
