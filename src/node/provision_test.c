/* provision_test.c - what is asked of the built-in provisioner, what it writes, and its folders on a disk. */
#include "base/fault.h"
#include "node/provision_plan.h"
#include "node/test_world.h"
#include "sys/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define NOTES                                                                                                        \
    "annotations: {volume.kubernetes.io/selected-node: n1, volume.kubernetes.io/storage-provisioner: "               \
    "wherry.dev/local}"
#define CLAIM(spec)                                                                                                  \
    "metadata: {name: c, namespace: ns, uid: u1, " NOTES "}\nspec: {accessModes: [ReadWriteOnce], " spec "}"
#define GI "resources: {requests: {storage: 1Gi}}"

TEST(a_claim_is_asked_for_as_its_class_says)
{
    static const struct {
        const char *claim, *class, *want;
    } rows[] = {
        {CLAIM(GI), "{}", "/v pvc-u1 ns/c  1073741824"},
        {CLAIM(GI ", volumeMode: Block"), "{parameters: {size-by: image}}", "/v pvc-u1 ns/c image block 1073741824"},
        {CLAIM(GI), "{parameters: {path: /mnt/a//, size-by: none}}", "/mnt/a pvc-u1 ns/c none 1073741824"},
        {CLAIM(GI), "{parameters: {path: a}}", "parameter path: \"a\" is not an absolute path without \"..\""},
        {CLAIM(GI), "{parameters: {path: //}}", "parameter path: \"/\" is not an absolute path without \"..\""},
        {CLAIM(GI), "{parameters: {path: /a/../b}}",
         "parameter path: \"/a/../b\" is not an absolute path without \"..\""},
        {CLAIM(GI), "{parameters: {size-by: du}}", "parameter size-by: \"du\" is none of quota, image and none"},
        {CLAIM(GI), "{parameters: {Path: /a}}",
         "parameter Path: there is none of that name; there are path and size-by"},
        {CLAIM(GI ", selector: {matchLabels: {a: b}}"), "{}", "claim Selector is not supported"},
        {CLAIM(GI ", dataSource: {kind: PersistentVolumeClaim, name: x}"), "{}",
         "dataSource is not supported: the volume would begin empty"},
        {CLAIM(GI ", volumeAttributesClassName: x"), "{}", "volumeAttributesClassName is not supported"},
        {CLAIM("volumeMode: Filesystem"), "{}", "resources.requests.storage: a volume has a size"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        const struct obj *claim = world_obj(&w, K(PersistentVolumeClaim), rows[i].claim),
                         *class = world_obj(&w, K(StorageClass), rows[i].class);
        struct store_wish wish;
        struct err err = ERR;
        CHECK(claim_wants_volume(claim));
        bool ok = provision_wish(&w.arena, claim, class, S("/v"), 100, &wish, &err);
        struct str have = ok ? arena_fmt(&w.arena, STR_FMT " " STR_FMT " " STR_FMT " %s%s %lld", STR_ARG(wish.dir),
                                         STR_ARG(wish.name), STR_ARG(wish.claim), size_by_word(wish.by),
                                         wish.block ? " block" : "", (long long)wish.size)
                             : str_of(err.text);
        CHECK_STR(have, str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(a_volume_is_its_nodes_and_its_claims)
{
    struct world w = {0};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct obj *claim = world_obj(&w, K(PersistentVolumeClaim), CLAIM(GI)),
                     *class = world_obj(&w, K(StorageClass),
                                        "{metadata: {name: local}, reclaimPolicy: Retain, mountOptions: [noatime]}");
    struct val v = provision_volume(&w.arena, claim, class, S("n1"), S("/v/pvc-u1/data"), 1 << 30);
    json_encode(&b, &v);
    CHECK_STR(
        strbuf_str(&b),
        S("{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":\"pvc-u1\",\"annotations\":{"
          "\"pv.kubernetes.io/provisioned-by\":\"wherry.dev/local\"},\"finalizers\":[\"wherry.dev/"
          "local-volume\"]},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":[\"ReadWriteOnce\"],"
          "\"claimRef\":{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"namespace\":\"ns\",\"name\":"
          "\"c\",\"uid\":\"u1\"},\"persistentVolumeReclaimPolicy\":\"Retain\",\"storageClassName\":\"local\","
          "\"mountOptions\":[\"noatime\"],\"volumeMode\":\"Filesystem\",\"local\":{\"path\":\"/v/pvc-u1/"
          "data\"},\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":"
          "\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"n1\"]}]}]}}}}"));
    world_end(&w);
}

TEST(a_volumes_fate_is_its_policy_and_its_phase)
{
    static const struct {
        const char *policy, *phase;
        bool deleted, claimed;
        enum volume_fate want;
    } rows[] = {
        {"Delete", "Bound", false, true, VOLUME_STAYS},     {"Delete", "Released", false, true, VOLUME_DROPS},
        {"Delete", "Failed", false, true, VOLUME_DROPS},    {"Delete", "Bound", true, true, VOLUME_STAYS},
        {"Delete", "Available", true, false, VOLUME_DROPS}, {"Retain", "Released", false, true, VOLUME_STAYS},
        {"Retain", "Released", true, true, VOLUME_LEAVES},  {"Retain", "Bound", true, true, VOLUME_STAYS},
        {"Delete", "Released", false, false, VOLUME_STAYS}, /* its claim was struck out a moment ago */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct str yaml = arena_fmt(
            &w.arena,
            "metadata: {name: v, annotations: {pv.kubernetes.io/provisioned-by: "
            "wherry.dev/local}%s}\nspec: {persistentVolumeReclaimPolicy: %s%s}\nstatus: {phase: %s}",
            rows[i].deleted ? ", deletionTimestamp: '2026-01-01T00:00:00Z'" : "", rows[i].policy,
            rows[i].claimed ? ", claimRef: {namespace: ns, name: c, uid: u1}" : "", rows[i].phase);
        CHECK_INT(volume_fate(world_obj(&w, K(PersistentVolume), yaml.p)), rows[i].want);
        world_end(&w);
    }
}

TEST(paths_of_volumes_are_taken_apart_or_nobodys)
{
    struct str dir, name;
    CHECK(volume_store_split(S("/v/w/pvc-1/data"), &dir, &name));
    CHECK_STR(dir, S("/v/w"));
    CHECK_STR(name, S("pvc-1"));
    CHECK(volume_store_split(S("/v/pvc-1/image"), &dir, &name));
    static const char *const none[] = {
        "",         "/",         "data", "/pvc-1/data", "/v/etc/data", "/v/pvc-1/other", "/v/../pvc-1/data/x",
        "/v/pvc-1", "pvc-1/data"};
    for (size_t i = 0; i < countof(none); i++)
        CHECK(!volume_store_split(str_of(none[i]), &dir, &name));
}

TEST(room_is_promised_once)
{
    struct volume_room r = {.whole = 100LL << 30, .others = 35LL << 30, .promised = 50LL << 30, .volumes = 2};
    struct err err = ERR;
    CHECK_OK(volume_room_fits(&r, 100, S("/v"), 9LL << 30, &err), err);
    CHECK(!volume_room_fits(&r, 100, S("/v"), 11LL << 30, &err));
    CHECK_INT(err.kind, E_UNAVAILABLE);
    CHECK_STR(str_sub(str_of(err.text), 0, 53), S("no room below /v for 11Gi: its disk of 100Gi has 60Gi"));
    CHECK_OK(volume_room_fits(&r, 200, S("/v"), 60LL << 30, &err), err);
    r.others = 99LL << 30; /* others have taken what was promised */
    CHECK(!volume_room_fits(&r, 100, S("/v"), 1, &err));
}

static bool is_there(struct str dir, const char *path)
{
    char whole[300];
    (void)snprintf(whole, sizeof whole, STR_FMT "/%s", STR_ARG(dir), path);
    return access(whole, F_OK) == 0;
}

/* Whatever fails: the volume is there as a whole, or not at all; and the next try makes it. */
TEST(a_volume_is_made_as_a_whole)
{
    char path[] = "/tmp/storeXXXXXX";
    struct err err = ERR;
    if (geteuid() != 0)
        return;
    CHECK(mkdtemp(path));
    for (int n = 0; n < 40; n++) {
        struct arena a = ARENA;
        struct str where, dir = arena_fmt(&a, "%s/v", path), gone;
        int64_t size;
        struct store_wish wish = {
            .dir = dir, .name = S("pvc-1"), .claim = S("ns/c"), .by = SIZE_NONE, .size = 1 << 20, .percent = 100};
        struct volume_list all = {0};
        fault_at(n);
        err = ERR;
        bool ok = volume_store_make(&a, &wish, &where, &size, &err);
        bool fired = fault_fired();
        fault_at(0);
        CHECK_OK(volume_store_list(&a, dir, &all, &err), err);
        CHECK_INT(all.list.n, is_there(dir, "pvc-1"));
        CHECK(!ok || all.list.n == 1);
        volume_list_fini(&all);
        err = ERR;
        CHECK_OK(volume_store_make(&a, &wish, &where, &size, &err), err);
        CHECK_OK(volume_store_publish(dir, wish.name, &err), err);
        wish.size = 2 << 20;
        CHECK_OK(volume_store_grow(&wish, &size, &err), err);
        CHECK_OK(volume_store_list(&a, dir, &all, &err), err);
        CHECK(all.list.p[0].published && all.list.p[0].size == 2 << 20);
        volume_list_fini(&all);
        CHECK_OK(volume_store_drop(&a, dir, wish.name, &gone, &err), err);
        CHECK(!is_there(dir, "pvc-1") && is_there(dir, ".gone-pvc-1"));
        CHECK_OK(tree_remove(AT_FDCWD, gone.p, &err), err);
        arena_fini(&a);
        if (n && !fired)
            break;
    }
    CHECK_OK(tree_remove(AT_FDCWD, path, &err), err);
}

/* Two folders of one disk share what it has. */
TEST(a_disk_is_promised_once_whatever_the_folder)
{
    char path[] = "/tmp/storeXXXXXX";
    struct err err = ERR;
    struct statvfs fs;
    if (geteuid() != 0)
        return;
    CHECK(mkdtemp(path) && statvfs(path, &fs) == 0);
    struct arena a = ARENA;
    struct str where, dirs[] = {arena_fmt(&a, "%s/one", path), arena_fmt(&a, "%s/two", path), S("/proc/nothing")};
    int64_t size, room = (int64_t)(fs.f_bavail * fs.f_frsize) - (int64_t)(fs.f_blocks * fs.f_frsize) / 20;
    struct store_wish wish = {.dir = dirs[0],
                              .name = S("pvc-1"),
                              .by = SIZE_NONE,
                              .size = room / 4 * 3,
                              .percent = 100,
                              .beside = {dirs, countof(dirs)}};
    if (room > 1 << 20) {
        CHECK_OK(volume_store_make(&a, &wish, &where, &size, &err), err);
        wish.dir = dirs[1];
        wish.name = S("pvc-2");
        CHECK(!volume_store_make(&a, &wish, &where, &size, &err));
        CHECK_INT(err.kind, E_UNAVAILABLE);
        err = ERR;
        wish.beside = (struct strs){0}; /* as if it had the disk for itself */
        CHECK_OK(volume_store_make(&a, &wish, &where, &size, &err), err);
    }
    CHECK_OK(tree_remove(AT_FDCWD, path, &err), err);
    arena_fini(&a);
}

/* A folder that does not say that it is a volume is nobody's to remove. */
TEST(only_volumes_are_dropped)
{
    char path[] = "/tmp/storeXXXXXX", sub[64];
    struct err err = ERR;
    struct arena a = ARENA;
    struct str gone;
    CHECK(mkdtemp(path));
    (void)snprintf(sub, sizeof sub, "%s/pvc-1", path);
    CHECK(mkdir(sub, 0700) == 0);
    CHECK(!volume_store_drop(&a, str_of(path), S("pvc-1"), &gone, &err));
    CHECK(access(sub, F_OK) == 0);
    err = ERR;
    CHECK_OK(volume_store_drop(&a, str_of(path), S("pvc-2"), &gone, &err), err); /* gone already */
    CHECK_OK(tree_remove(AT_FDCWD, path, &err), err);
    arena_fini(&a);
}
