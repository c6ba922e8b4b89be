/* Attaching over the fake API: whatever the order in which things are seen, a volume for one node is attached to one
 * alone, and nothing is detached that a node has mounted. */
#include "api/codec.h"
#include "client/csi.h"
#include "control/pods.h"
#include "control/volumes.h"
#include "control/world_test.h"
#include "sys/loop.h"

#define NODES 2
static const char *const names_of_nodes[NODES] = {"n1", "n2"};

/* What the pods have: a driver's volume by a claim; one that the node attaches; what stands in them and a driver took
 * over. */
enum sim_volume { OF_DRIVER, OF_DISK, IN_POD };
static const struct {
    const char *driver, *unique, *source, *in_pod;
} volumes_of[] = {
    [OF_DRIVER] = {"d.io", "kubernetes.io/csi/d.io^h", "csi: {driver: d.io, volumeHandle: h}",
                   "persistentVolumeClaim: {claimName: c}"},
    [OF_DISK] = {"d.io", "kubernetes.io/iscsi/10.0.0.1:iqn.a:0",
                 "iscsi: {targetPortal: 10.0.0.1, iqn: iqn.a, lun: 0}", "persistentVolumeClaim: {claimName: c}"},
    [IN_POD] = {"cinder.csi.openstack.org", "kubernetes.io/csi/cinder.csi.openstack.org^h",
                "csi: {driver: d.io, volumeHandle: h}", "cinder: {volumeID: h}"},
};

static struct {
    bool mounted[NODES];
    struct obj *seen[NODES]; /* the Node as its kubelet knows it, maybe an old one; counted */
    bool many;
    enum sim_volume what;
} sim;

static struct obj *node_now(struct world *w, int i)
{
    return fake_get(w->api, K(Node), S(""), str_of(names_of_nodes[i]));
}

static bool node_says(const struct obj *node, const struct name *member)
{
    val_each_item (it, val_get(obj_status(node), member))
        if (str_eqz(val_is(it, VAL_MAP) ? val_text_at(it, N(name)) : val_text(it), volumes_of[sim.what].unique))
            return true;
    return false;
}

static struct obj *attachment_of(struct world *w, const char *node)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return fake_get(w->api, K(VolumeAttachment), S(""),
                    csi_attachment_name(&a, S("h"), str_of(volumes_of[sim.what].driver), str_of(node)));
}

static void no_disk_is_torn(struct world *w)
{
    size_t lists = 0;
    for (int i = 0; i < NODES; i++) {
        bool listed = node_says(node_now(w, i), N(volumesAttached));
        lists += listed;
        if (sim.mounted[i] && !listed)
            test_failed(__FILE__, __LINE__, "%s has it mounted, and does not list it", names_of_nodes[i]);
    }
    if (lists > 1 && !sim.many)
        test_failed(__FILE__, __LINE__, "%zu nodes list a disk that one may have", lists);
}

/* After every write, whoever made it. */
static void nothing_is_torn(struct world *w)
{
    if (sim.what == OF_DISK) {
        no_disk_is_torn(w);
        return;
    }
    size_t n = objset_len(fake_set(w->api, K(VolumeAttachment)));
    if (n > 1 && !sim.many)
        test_failed(__FILE__, __LINE__, "%zu attachments of a volume that one node may have", n);
    for (int i = 0; i < NODES; i++) {
        const struct obj *a = attachment_of(w, names_of_nodes[i]);
        if (sim.mounted[i] && (!a || obj_deleting(a) || !val_true(val_get(obj_status(a), N(attached)))))
            test_failed(__FILE__, __LINE__, "%s has it mounted, and it is %s", names_of_nodes[i],
                        a ? "being detached" : "not attached");
    }
}

static void attachment_patch(struct world *w, const char *name, const char *sub, const char *json)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(call_fini) struct call c = {0};
    struct val patch;
    struct err err = ERR;
    CHECK_OK(yaml_decode(&a, str_of(json), &patch, &err), err);
    if (!call_run(&c, w->api,
                  &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(VolumeAttachment), .name = str_of(name),
                                .sub = str_of(sub), .patch = PATCH_MERGE, .body = &patch),
                  &err))
        CHECK_INT(err.kind, E_NOT_FOUND); /* it has gone meanwhile */
}

static void attacher_acts(struct world *w)
{
    for (int i = 0; i < NODES; i++) {
        const struct obj *a = attachment_of(w, names_of_nodes[i]);
        if (!a || random_below(2))
            continue;
        AUTO_FREE char *name = str_dupz(a->name);
        bool ours = val_len(val_get(obj_meta(a), N(finalizers))) > 0, goes = obj_deleting(a);
        if (goes)
            attachment_patch(w, name, "", "{metadata: {finalizers: null}}");
        else if (!ours)
            attachment_patch(w, name, "", "{metadata: {finalizers: [attacher/d-io]}}");
        else
            attachment_patch(w, name, "status", "{status: {attached: true}}");
    }
}

static size_t pods_on(struct world *w, const char *node)
{
    struct obj *pod;
    size_t n = 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        n += str_eqz(pod_node(pod), node);
    return n;
}

/* As a kubelet: it says that it will use the volume, mounts what it then finds listed, and says so last that it does
 * not use it any more. */
static void kubelet_acts(struct world *w, int i)
{
    const char *name = names_of_nodes[i];
    AUTO(arena_fini) struct arena a = ARENA;
    if (random_below(2)) {
        obj_unref(sim.seen[i]);
        sim.seen[i] = obj_ref(node_now(w, i));
    }
    const struct obj *node = sim.seen[i];
    bool wanted = pods_on(w, name) > 0, in_use = node_says(node_now(w, i), N(volumesInUse));
    if (wanted && !in_use)
        world_patch(w, K(Node), name, "status",
                    arena_fmt(&a, "{status: {volumesInUse: ['%s']}}", volumes_of[sim.what].unique).p);
    else if (wanted && node_says(node, N(volumesInUse)) && node_says(node, N(volumesAttached)))
        sim.mounted[i] = true;
    else if (!wanted && sim.mounted[i])
        sim.mounted[i] = false;
    else if (!wanted && in_use) {
        obj_unref(sim.seen[i]); /* what it knew before it said so counts no more */
        world_patch(w, K(Node), name, "status", "{status: {volumesInUse: null}}");
        sim.seen[i] = obj_ref(node_now(w, i));
    }
}

static void pod_go(struct world *w, int n)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fake_remove(w->api, K(Pod), S("default"), arena_fmt(&a, "p%d", n));
}

static void pod_come(struct world *w, int n, const char *node)
{
    AUTO(arena_fini) struct arena a = ARENA;
    pod_go(w, n); /* one of its name, which may have been on another node */
    world_put(
        w,
        arena_fmt(
            &a,
            "{apiVersion: v1, kind: Pod, metadata: {name: p%d, namespace: default}, spec: {nodeName: %s, containers: "
            "[{name: c, image: i}], volumes: [{name: v, %s}]}}",
            n, node, volumes_of[sim.what].in_pod)
            .p);
}

static bool all_is_detached(struct world *w)
{
    for (int i = 0; i < NODES; i++)
        if (node_says(node_now(w, i), N(volumesAttached)))
            return false;
    return objset_len(fake_set(w->api, K(VolumeAttachment))) == 0;
}

static void attach_begin(struct world *w, uint64_t seed, bool many, enum sim_volume what)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const char *mode = many ? "ReadWriteMany" : "ReadWriteOnce", *source = volumes_of[what].source;
    memset(&sim, 0, sizeof sim);
    sim.many = many;
    sim.what = what;
    world_init(w, seed, 5 * NS_PER_MS);
    for (int i = 0; i < NODES; i++) {
        world_node(w, names_of_nodes[i], "8");
        sim.seen[i] = obj_ref(node_now(w, i));
    }
    world_put(
        w,
        arena_fmt(&a,
                  "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv}, spec: {capacity: {storage: 1Gi}, "
                  "accessModes: [%s], persistentVolumeReclaimPolicy: Retain, %s, "
                  "claimRef: {namespace: default, name: c, uid: u-c}}, status: {phase: Bound}}",
                  mode, source)
            .p);
    world_put(
        w,
        arena_fmt(&a,
                  "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: default, uid: u-c, "
                  "annotations: {pv.kubernetes.io/bind-completed: 'yes'}}, spec: {accessModes: [%s], resources: "
                  "{requests: {storage: 1Gi}}, storageClassName: '', volumeName: pv}, status: {phase: Bound}}",
                  mode)
            .p);
    w->check = nothing_is_torn;
    world_start(w);
    world_run_for(w, 100 * NS_PER_MS);
}

static void attach_end(struct world *w)
{
    w->check = NULL;
    for (int i = 0; i < NODES; i++)
        obj_unref(sim.seen[i]);
    world_fini(w);
}

/* Of the controller's calls some fail or are carried out unheard, and its watches end. */
static void line_is_bad(struct world *w)
{
    switch (random_below(16)) {
    case 0: fake_fail(w->api, 2, E_UNAVAILABLE); break;
    case 1: fake_lose(w->api, 1); break;
    case 2: fake_cut(w->api); break;
    case 3: fake_compact(w->api); break;
    default: break;
    }
}

static void everybody_acts(struct world *w, bool badly)
{
    fake_fail(w->api, 0, E_UNAVAILABLE); /* what the others do goes through */
    fake_lose(w->api, 0);
    attacher_acts(w);
    for (uint64_t n = random_below(4) + 1; n > 0; n--)
        for (int i = 0; i < NODES; i++)
            kubelet_acts(w, i);
    if (badly)
        line_is_bad(w);
    world_run_for(w, (int64_t)random_below(random_below(2) ? 3 : 20) * NS_PER_MS);
}

/* Pods come and go on both nodes and the manager begins anew; badly: calls fail, answers are lost and lines break. */
static size_t attach_play(uint64_t seed, bool many, bool badly, enum sim_volume what)
{
    struct world w;
    size_t mounts = 0;
    attach_begin(&w, seed, many, what);
    for (int round = 0; round < 120; round++) {
        int n = (int)random_below(3);
        if (random_below(3) == 0)
            pod_go(&w, n);
        else if (random_below(2) == 0)
            pod_come(&w, n, names_of_nodes[random_below(NODES)]);
        if (random_below(20) == 0)
            world_restart(&w);
        everybody_acts(&w, badly);
        for (int i = 0; i < NODES; i++)
            mounts += sim.mounted[i];
    }
    for (int n = 0; n < 3; n++)
        pod_go(&w, n);
    /* whatever failed is tried again, ever later */
    for (int round = 0; round < 6000 && !all_is_detached(&w); round++)
        everybody_acts(&w, false);
    CHECK(all_is_detached(&w));
    attach_end(&w);
    return mounts;
}

/* Of one seed nothing may ever be mounted. */
static void attach_plays(uint64_t first, uint64_t last, int many_of, bool badly, enum sim_volume what)
{
    size_t mounts = 0;
    for (uint64_t seed = first; seed <= last; seed++)
        mounts += attach_play(seed, many_of && seed % (uint64_t)many_of == 0, badly, what);
    CHECK(mounts > last - first);
}

TEST(attached_to_one_node_alone_and_never_torn_away)
{
    attach_plays(1, 66, 0, false, OF_DRIVER);
}

TEST(attached_to_one_node_alone_another_time)
{
    attach_plays(67, 133, 0, false, OF_DRIVER);
}

TEST(attached_to_one_node_alone_a_third_time)
{
    attach_plays(134, 200, 0, false, OF_DRIVER);
}

TEST(attached_to_many_nodes_where_the_volume_allows)
{
    attach_plays(1, 4, 1, false, OF_DRIVER);
}

TEST(attached_and_detached_though_calls_fail_and_lines_break)
{
    attach_plays(101, 140, 4, true, OF_DRIVER);
}

/* Of what the node attaches itself there is only the node's list. */
TEST(attached_disks_are_listed_by_one_node_alone)
{
    attach_plays(1, 100, 8, false, OF_DISK);
    attach_plays(101, 140, 4, true, OF_DISK);
}

TEST(attached_as_well_what_stands_in_pods)
{
    attach_plays(1, 20, 0, false, IN_POD);
    attach_plays(21, 30, 0, true, IN_POD);
}

/* A node that says nothing any more is not waited for longer than six minutes. */
TEST(attached_no_more_to_a_node_that_is_lost)
{
    struct world w;
    attach_begin(&w, 7, false, OF_DRIVER);
    pod_come(&w, 0, "n1");
    for (int round = 0; round < 60 && !sim.mounted[0]; round++)
        everybody_acts(&w, false);
    CHECK(sim.mounted[0]);
    world_patch(
        &w, K(Node), "n1", "status",
        "{status: {conditions: [{type: Ready, status: 'False', lastTransitionTime: '2020-01-01T00:00:00Z'}]}}");
    pod_go(&w, 0);
    w.check = NULL;
    world_run_for(&w, 330 * NS_PER_S);
    CHECK(attachment_of(&w, "n1") && !obj_deleting(attachment_of(&w, "n1")));
    world_run_for(&w, 60 * NS_PER_S);
    for (int round = 0; round < 20; round++) {
        attacher_acts(&w);
        world_run_for(&w, 20 * NS_PER_MS);
    }
    CHECK(all_is_detached(&w));
    attach_end(&w);
}
