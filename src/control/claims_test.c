/* Claims and volumes over the fake API: whatever the order in which things are seen, and whoever stops in between, no
 * volume is ever two claims', and in the end each pair points at each other. */
#include "control/pods.h"
#include "control/volumes.h"
#include "control/world_test.h"
#include "sys/loop.h"

static struct obj *claim_of(struct world *w, const char *name)
{
    return fake_get(w->api, K(PersistentVolumeClaim), S("default"), str_of(name));
}

static struct obj *volume_of(struct world *w, struct str name)
{
    return fake_get(w->api, K(PersistentVolume), S(""), name);
}

static bool phase_is(const struct obj *o, const char *phase)
{
    return o && str_eqz(val_text_at(obj_status(o), N(phase)), phase);
}

static PRINTF(2, 3) void world_putf(struct world *w, const char *fmt, ...)
{
    AUTO(arena_fini) struct arena a = ARENA;
    va_list args;
    va_start(args, fmt);
    (void)world_put(w, arena_strz(&a, arena_vfmt(&a, fmt, args))); /* borrowed */
    va_end(args);
}

static void volume_put(struct world *w, const char *name, int gigabytes, const char *class, const char *more)
{
    world_putf(w,
               "{apiVersion: v1, kind: PersistentVolume, metadata: {name: %s}, spec: {capacity: {storage: %dGi}, "
               "accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, storageClassName: '%s', "
               "hostPath: {path: /d}%s}}",
               name, gigabytes, class, more);
}

static void claim_put(struct world *w, const char *name, int gigabytes, const char *class, const char *more)
{
    world_putf(w,
               "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: %s, namespace: default, finalizers: "
               "[kubernetes.io/pvc-protection]}, spec: {accessModes: [ReadWriteOnce], storageClassName: '%s', "
               "resources: {requests: {storage: %dGi}}%s}}",
               name, class, gigabytes, more);
}

static void class_put(struct world *w, const char *name, const char *provisioner, bool late)
{
    world_putf(w,
               "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: %s}, provisioner: %s, "
               "volumeBindingMode: %s}",
               name, provisioner, late ? "WaitForFirstConsumer" : "Immediate");
}

static void pod_put(struct world *w, const char *name, const char *claim)
{
    world_putf(w,
               "{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: default, generation: 1}, spec: "
               "{containers: [{name: c, image: i}], volumes: [{name: v, persistentVolumeClaim: {claimName: %s}}]}}",
               name, claim);
}

static void world_delete(struct world *w, const struct kind *k, struct str name)
{
    struct call c = {0};
    struct err err = ERR;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = k, .ns = k->namespaced ? S("default") : S(""),
                                         .name = name);
    if (!call_run(&c, w->api, &o, &err) && err.kind != E_NOT_FOUND && err.kind != E_UNAVAILABLE)
        test_failed(__FILE__, __LINE__, "delete: %s", err.text);
    call_fini(&c);
}

/* ---- what holds at every moment ---- */

/* Another volume has the name of the one that the claim was bound to by now: the claim is lost, and will be told so.
 */
static bool volume_is_another(const struct obj *claim, const struct obj *volume)
{
    static struct map bound; /* uid of a claim -> its first volume's, in a number */
    void *mark = (void *)(uintptr_t)(stable_hash(volume->uid, 0) | 1), *was = map_get(&bound, claim->uid);
    if (!was)
        map_put(&bound, claim->uid, mark);
    return was && was != mark;
}

static bool node_takes_claim(struct world *w, const struct obj *pod, const struct obj *claim)
{
    struct obj *volume = volume_of(w, claim_volume(claim)), *node = fake_get(w->api, K(Node), S(""), pod_node(pod));
    return !volume || !node || volume_is_another(claim, volume) || volume_takes_node(volume, node);
}

static void claims_hold(struct world *w)
{
    struct map owners = MAP;
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(PersistentVolumeClaim))); (o = objset_next(&it));) {
        struct obj *volume = claim_is_bound(o) && !phase_is(o, "Lost") ? volume_of(w, claim_volume(o)) : NULL;
        if (!volume || volume_is_another(o, volume))
            continue;
        struct obj *other = map_put(&owners, volume->name, o);
        if (other)
            test_failed(__FILE__, __LINE__, STR_FMT " is " STR_FMT "'s and " STR_FMT "'s", STR_ARG(volume->name),
                        STR_ARG(other->name), STR_ARG(o->name));
        if (volume_claim(volume) && !str_eq(val_text_at(volume_claim(volume), N(uid)), o->uid))
            test_failed(__FILE__, __LINE__, STR_FMT " has " STR_FMT ", which is another's", STR_ARG(o->name),
                        STR_ARG(volume->name));
    }
    map_fini(&owners);
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (o = objset_next(&it));) {
        AUTO(arena_fini) struct arena a = ARENA;
        val_each_item (v, pod_node(o).n > 0 && !obj_deleting(o) ? val_get(obj_spec(o), N(volumes)) : NULL) {
            struct obj *claim = claim_of(w, arena_strz(&a, pod_claim(&a, o, v)));
            if (claim && (!claim_is_bound(claim) || !node_takes_claim(w, o, claim)) && !obj_deleting(claim))
                test_failed(__FILE__, __LINE__, STR_FMT " has a node, and " STR_FMT " no volume there",
                            STR_ARG(o->name), STR_ARG(claim->name));
        }
    }
}

/* ---- and in the end ---- */

static bool class_is_late(struct str class)
{
    return str_eqz(class, "late") || str_eqz(class, "made");
}

static bool claim_settled(struct world *w, const struct obj *claim)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct obj *volume = claim_volume(claim).n ? volume_of(w, claim_volume(claim)) : NULL, *o;
    if (phase_is(claim, "Bound"))
        return volume && phase_is(volume, "Bound") && str_eq(val_text_at(volume_claim(volume), N(uid)), claim->uid);
    if (phase_is(claim, "Lost"))
        return true;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(PersistentVolume))); (o = objset_next(&it));)
        if (claim_volume(claim).n == 0 && !class_is_late(class_of_storage(claim)) && volume_suits(o, claim, &a))
            return false; /* it could have that one */
    return phase_is(claim, "Pending") && !claim_is_bound(claim);
}

static bool volume_settled(struct world *w, const struct obj *volume)
{
    const struct val *ref = volume_claim(volume);
    struct str uid = val_text_at(ref, N(uid));
    if (uid.n == 0)
        return phase_is(volume, "Available");
    struct obj *claim = fake_get(w->api, K(PersistentVolumeClaim), val_text_at(ref, N(namespace)),
                                 val_text_at(ref, N(name)));
    bool elsewhere = claim && obj_has_note(volume, ANN_PROVISIONED_BY) && claim_volume(claim).n > 0 &&
                     !str_eq(claim_volume(claim), volume->name); /* it was made for it in vain */
    if (!claim || !str_eq(claim->uid, uid) || elsewhere)
        return phase_is(volume, "Released") || phase_is(volume, "Failed");
    return phase_is(volume, "Bound") && str_eq(claim_volume(claim), volume->name) && claim_is_bound(claim);
}

static bool all_settled(struct world *w)
{
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(PersistentVolumeClaim))); (o = objset_next(&it));)
        if (!obj_deleting(o) && !claim_settled(w, o))
            return false;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(PersistentVolume))); (o = objset_next(&it));)
        if (!obj_deleting(o) && !volume_settled(w, o))
            return false;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (o = objset_next(&it));) {
        AUTO(arena_fini) struct arena a = ARENA;
        val_each_item (v, val_get(obj_spec(o), N(volumes))) {
            struct obj *claim = claim_of(w, arena_strz(&a, pod_claim(&a, o, v)));
            if (claim && phase_is(claim, "Bound") && !obj_deleting(claim) && pod_node(o).n == 0)
                return false;
        }
    }
    return true;
}

/* ---- a provisioner ---- */

struct provisioner {
    struct world *w;
    struct timer timer;
    bool fails; /* now and then it wants another node */
};

static const struct obj *claim_wanting(struct world *w)
{
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(PersistentVolumeClaim))); (o = objset_next(&it));) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str made = arena_fmt(&a, "pvc-" STR_FMT, STR_ARG(o->uid));
        if (str_eqz(obj_note(o, ANN_PROVISIONER), "example.com/disk") && claim_volume(o).n == 0 &&
            (!class_is_late(class_of_storage(o)) || obj_has_note(o, ANN_SELECTED_NODE)) && !volume_of(w, made))
            return o;
    }
    return NULL;
}

static void volume_made(struct world *w, const struct obj *claim)
{
    struct str node = obj_note(claim, ANN_SELECTED_NODE);
    world_putf(
        w,
        "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pvc-" STR_FMT
        ", annotations: {pv.kubernetes.io/provisioned-by: example.com/disk}}, spec: {capacity: {storage: "
        "%lldGi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Delete, storageClassName: '" STR_FMT
        "', claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: default, name: " STR_FMT
        ", uid: " STR_FMT "}, csi: {driver: d, volumeHandle: h}%s" STR_FMT "%s}}",
        STR_ARG(claim->uid), (long long)(claim_size(claim) >> 30), STR_ARG(class_of_storage(claim)),
        STR_ARG(claim->name), STR_ARG(claim->uid),
        node.n ? ", nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: "
                 "kubernetes.io/hostname, operator: In, values: ["
               : "",
        STR_ARG(node), node.n ? "]}]}]}}" : "");
}

static void provisioner_due(struct timer *t)
{
    struct provisioner *p = container_of(t, struct provisioner, timer);
    const struct obj *claim = claim_wanting(p->w);
    if (claim && p->fails && obj_has_note(claim, ANN_SELECTED_NODE) && random_below(3) == 0) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val tree = val_copy(&a, &claim->tree);
        val_del_str(val_need_map(&a, &tree, N(metadata), N(annotations)), S(ANN_SELECTED_NODE));
        (void)fake_put(p->w->api, K(PersistentVolumeClaim), &tree); /* borrowed */
    } else if (claim) {
        volume_made(p->w, claim);
    }
    timer_set(t, (int64_t)random_below(40 * NS_PER_MS) + NS_PER_MS);
}

static void provisioner_begin(struct provisioner *p, struct world *w, bool fails)
{
    *p = (struct provisioner){.w = w, .fails = fails};
    timer_init(&p->timer, w->loop, provisioner_due);
    timer_set(&p->timer, NS_PER_MS);
}

/* ---- worlds ---- */

static void world_begin(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3 * NS_PER_MS);
    world_node(w, "n1", "8");
    world_node(w, "n2", "8");
    class_put(w, "now", "example.com/disk", false);
    class_put(w, "made", "example.com/disk", true);
    class_put(w, "late", NO_PROVISIONER, true);
    w->check = claims_hold;
    world_start(w);
}

#define ON(node)                                                                                                     \
    ", nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: "   \
    "In, values: [" node "]}]}]}}"

static void random_step(struct world *w, int step)
{
    static const char *const classes[] = {"", "", "gold", "late", "made", "now"};
    static const char *const places[] = {"", ON("n1"), ON("n2")};
    char name[30], other[60];
    uint64_t n = random_below(8);
    const char *class = classes[random_below(countof(classes))];
    int size = 1 + (int)random_below(4);
    snprintf(name, sizeof name, "o%d", (int)n);
    switch (random_below(12)) {
    case 0:
    case 1:
    case 2:
        if (!volume_of(w, str_of(name)))
            volume_put(w, name, size, class, places[random_below(countof(places))]);
        break;
    case 3: /* kept for a claim, by name */
        if (!volume_of(w, str_of(name))) {
            snprintf(other, sizeof other, ", claimRef: {namespace: default, name: o%d}", (int)random_below(8));
            volume_put(w, name, size, class, other);
        }
        break;
    case 4:
    case 5:
    case 6:
        if (!claim_of(w, name))
            claim_put(w, name, size, class, "");
        break;
    case 7: /* asks for a volume by name */
        if (!claim_of(w, name)) {
            snprintf(other, sizeof other, ", volumeName: o%d", (int)random_below(8));
            claim_put(w, name, size, class, other);
        }
        break;
    case 8:
        snprintf(other, sizeof other, "p%d", step);
        pod_put(w, other, name);
        break;
    case 9: world_delete(w, K(PersistentVolumeClaim), str_of(name)); break;
    case 10: world_delete(w, K(PersistentVolume), str_of(name)); break;
    default:
        snprintf(other, sizeof other, "p%d", (int)random_below((uint64_t)step + 1));
        world_delete(w, K(Pod), str_of(other));
    }
}

static void random_fault(struct world *w)
{
    switch (random_below(12)) {
    case 0: world_restart(w); break; /* between any two writes */
    case 1: fake_cut(w->api); break;
    case 2: fake_fail(w->api, 2, E_UNAVAILABLE); break;
    default: break;
    }
}

TEST(no_volume_is_two_claims_whatever_happens)
{
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct world w;
        struct provisioner p;
        world_begin(&w, seed);
        provisioner_begin(&p, &w, seed % 2 == 0);
        for (int i = 0; i < 60; i++) {
            random_step(&w, i);
            random_fault(&w);
            world_run_for(&w, (int64_t)random_below(15 * NS_PER_MS));
        }
        world_run(&w, all_settled, 120 * NS_PER_S);
        timer_stop(&p.timer);
        w.check = NULL;
        world_fini(&w);
    }
}

/* Whoever writes the volume's half of a pair and is gone finds it again. */
TEST(a_bind_goes_on_where_it_was_left)
{
    for (int64_t after = 0; after < 60; after++) {
        struct world w;
        world_begin(&w, 500 + (uint64_t)after);
        volume_put(&w, "v", 1, "", "");
        claim_put(&w, "c", 1, "", "");
        for (int k = 0; k < 5; k++) {
            world_run_for(&w, after * NS_PER_MS / 4);
            world_restart(&w);
        }
        world_run(&w, all_settled, 10 * NS_PER_S);
        CHECK(phase_is(claim_of(&w, "c"), "Bound"));
        w.check = NULL;
        world_fini(&w);
    }
}

static size_t claims_bound(struct world *w)
{
    size_t n = 0;
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(PersistentVolumeClaim))); (o = objset_next(&it));)
        n += phase_is(o, "Bound");
    return n;
}

static bool eighty_bound(struct world *w)
{
    return claims_bound(w) == 80 && all_settled(w);
}

TEST(many_claims_and_volumes_at_once_find_each_other_without_conflicts)
{
    struct world w;
    world_begin(&w, 77);
    world_run_for(&w, 50 * NS_PER_MS);
    size_t before = fake_writes(w.api);
    char name[20];
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof name, "o%d", i);
        volume_put(&w, name, 3, "", "");
    }
    world_run(&w, all_settled, NS_PER_S);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "o%d", i);
        claim_put(&w, name, 1 + i % 3, "", "");
    }
    int64_t begun = clock_mono();
    world_run(&w, eighty_bound, 10 * NS_PER_S);
    CHECK(clock_mono() - begun < NS_PER_S);
    world_run_for(&w, 10 * NS_PER_S);
    CHECK_INT(world_events(&w, "FailedBinding"), 20); /* once for each that got none */
    /* a pair is five writes: Available, claimRef, Bound, volumeName, Bound */
    CHECK(fake_writes(w.api) - before <= 180 + 80 * 5 + 60);
    w.check = NULL;
    world_fini(&w);
}

static bool pod_has_node(struct world *w)
{
    struct obj *pod = fake_get(w->api, K(Pod), S("default"), S("p"));
    return pod && pod_node(pod).n > 0;
}

TEST(a_pod_and_the_volume_made_for_it_meet_on_one_node)
{
    struct world w;
    struct provisioner p;
    world_begin(&w, 5);
    claim_put(&w, "c", 1, "made", "");
    world_run_for(&w, NS_PER_S);
    CHECK_INT(world_events(&w, "WaitForFirstConsumer"), 1);
    pod_put(&w, "p", "c");
    world_run_for(&w, NS_PER_S);
    CHECK(!pod_has_node(&w)); /* nobody provisions yet */
    CHECK(obj_has_note(claim_of(&w, "c"), ANN_SELECTED_NODE));
    CHECK_INT(world_events(&w, "ExternalProvisioning"), 1);
    provisioner_begin(&p, &w, false);
    world_run(&w, pod_has_node, NS_PER_S);
    world_run(&w, all_settled, NS_PER_S);
    timer_stop(&p.timer);
    w.check = NULL;
    world_fini(&w);
}

TEST(a_provisioner_that_never_answers_is_given_up_after_ten_minutes_and_tried_again)
{
    struct world w;
    struct provisioner p;
    world_begin(&w, 6);
    claim_put(&w, "c", 1, "made", "");
    pod_put(&w, "p", "c");
    world_run_for(&w, 601 * NS_PER_S);
    CHECK_INT(world_events(&w, "FailedScheduling"), 1);
    struct obj *pod = fake_get(w.api, K(Pod), S("default"), S("p"));
    const struct val *condition = condition_get(obj_status(pod), "PodScheduled");
    CHECK_STR(val_text_at(condition, N(reason)), S("SchedulerError"));
    CHECK_STR(val_text_at(condition, N(message)),
              S("running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded"));
    provisioner_begin(&p, &w, false);
    world_run(&w, pod_has_node, 30 * NS_PER_S);
    timer_stop(&p.timer);
    w.check = NULL;
    world_fini(&w);
}

TEST(what_a_pod_held_that_got_no_volume_is_free_for_others)
{
    struct world w;
    world_begin(&w, 16);
    fake_remove(w.api, K(Node), S(""), S("n2"));
    claim_put(&w, "c", 1, "made", "");
    world_putf(
        &w,
        "{apiVersion: v1, kind: Pod, metadata: {name: held, namespace: default, generation: 1}, spec: {containers: "
        "[{name: c, image: i, resources: {requests: {cpu: '6'}}}], volumes: [{name: v, persistentVolumeClaim: "
        "{claimName: c}}]}}");
    world_run_for(&w, NS_PER_S);
    world_putf(
        &w, "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: default, generation: 1}, spec: {containers: "
            "[{name: c, image: i, resources: {requests: {cpu: '6'}}}]}}");
    world_run_for(&w, 590 * NS_PER_S);
    CHECK(!pod_has_node(&w)); /* there is no room beside the other */
    world_run_for(&w, 15 * NS_PER_S);
    CHECK(pod_has_node(&w));
    w.check = NULL;
    world_fini(&w);
}

TEST(the_node_that_was_chosen_goes_and_another_is)
{
    struct world w;
    struct provisioner p;
    world_begin(&w, 8);
    claim_put(&w, "c", 1, "made", "");
    pod_put(&w, "p", "c");
    world_run_for(&w, NS_PER_S);
    AUTO(arena_fini) struct arena a = ARENA;
    struct str first = str_dup(&a, obj_note(claim_of(&w, "c"), ANN_SELECTED_NODE));
    CHECK(first.n > 0);
    fake_remove(w.api, K(Node), S(""), first);
    world_run_for(&w, 15 * NS_PER_S);
    struct str second = obj_note(claim_of(&w, "c"), ANN_SELECTED_NODE);
    CHECK(second.n > 0 && !str_eq(first, second));
    provisioner_begin(&p, &w, false);
    world_run(&w, pod_has_node, 30 * NS_PER_S);
    timer_stop(&p.timer);
    w.check = NULL;
    world_fini(&w);
}

TEST(two_pods_that_wait_do_not_get_one_volume)
{
    struct world w;
    world_begin(&w, 9);
    volume_put(&w, "v", 5, "late", ON("n1"));
    claim_put(&w, "c", 1, "late", "");
    claim_put(&w, "d", 1, "late", "");
    pod_put(&w, "p", "c");
    pod_put(&w, "q", "d");
    world_run_for(&w, 20 * NS_PER_S);
    CHECK_INT(claims_bound(&w), 1);
    volume_put(&w, "u", 5, "late", ON("n2"));
    world_run_for(&w, 20 * NS_PER_S);
    CHECK_INT(claims_bound(&w), 2);
    CHECK(all_settled(&w));
    w.check = NULL;
    world_fini(&w);
}
