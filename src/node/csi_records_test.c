#include "base/test.h"
#include "node/csi_records.h"
#include "sys/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct csi_record record_of(const char *uid, bool block)
{
    return (struct csi_record){.driver = S("d.io"),
                               .handle = S("h/1 x"),
                               .spec = S("pv-1"),
                               .uid = str_of(uid),
                               .node = S("n"),
                               .attachment = S("csi-1"),
                               .block = block};
}

TEST(csi_records_are_found_again_and_go)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char top[] = "/tmp/csi-records-XXXXXX";
    struct err err = ERR;
    CHECK(mkdtemp(top));
    static const struct {
        const char *uid;
        bool block;
    } rows[] = {{"u-1", false}, {"u-2", false}, {"", false}, {"", true}, {"u-3", true}};
    struct csi_places places[countof(rows)];
    for (int twice = 0; twice < 2; twice++)
        for (size_t i = 0; i < countof(rows); i++) {
            struct csi_record r = record_of(rows[i].uid, rows[i].block);
            places[i] = csi_places(&a, top, &r);
            CHECK_OK(csi_record_make(&places[i], &r, &err), err);
        }
    CHECK(str_ends(places[0].target, S("/pods/u-1/volumes/kubernetes.io~csi/pv-1/mount")));
    CHECK(str_ends(places[2].target, S("/globalmount")));
    CHECK(str_ends(places[4].target, S("/plugins/kubernetes.io/csi/volumeDevices/publish/pv-1/u-3")));
    AUTO(strbuf_fini) struct strbuf seen = STRBUF(4096);
    struct csi_records found = {0};
    csi_records_find(&a, top, &found);
    CHECK_INT(found.list.n, 5);
    for (size_t i = 0; i < countof(rows); i++) {
        bool there = false;
        array_each (r, &found.list)
            there |= str_eqz(r->uid, rows[i].uid) && r->block == rows[i].block && str_eqz(r->driver, "d.io") &&
                     str_eqz(r->handle, "h/1 x") && str_eqz(r->spec, "pv-1");
        CHECK(there);
    }
    array_fini(&found.list);
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_OK(csi_record_remove(&places[i], &err) && csi_record_remove(&places[i], &err), err);
    csi_records_find(&a, top, &found);
    CHECK_INT(found.list.n, 0);
    CHECK(access(arena_fmt(&a, "%s/pods", top).p, F_OK) == 0 &&
          access(arena_fmt(&a, "%s/pods/u-1", top).p, F_OK) < 0);
    CHECK_OK(tree_remove(AT_FDCWD, top, &err), err);
}

/* Disks have a kubelet's own folders, with the record beside what is mounted over them. */
TEST(csi_records_of_disks_are_found_again_and_go)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const char *top = test_dir();
    static const struct {
        const char *driver, *uid, *place;
        bool block;
        const char *target, *file;
    } rows[] = {
        {"kubernetes.io/iscsi", "", "iface-default/a:1-iqn.x-lun-0", false,
         "/plugins/kubernetes.io/iscsi/iface-default/a:1-iqn.x-lun-0",
         "/plugins/kubernetes.io/iscsi/iface-default/.a:1-iqn.x-lun-0.json"},
        {"kubernetes.io/iscsi", "u-1", "iface-default/a:1-iqn.x-lun-0", false,
         "/pods/u-1/volumes/kubernetes.io~iscsi/pv-1", "/pods/u-1/volumes/kubernetes.io~iscsi/.pv-1.json"},
        {"kubernetes.io/iscsi", "", "iface-default/a:1-iqn.x-lun-1", true,
         "/plugins/kubernetes.io/iscsi/volumeDevices/iface-default/a:1-iqn.x-lun-1",
         "/plugins/kubernetes.io/iscsi/volumeDevices/iface-default/.a:1-iqn.x-lun-1.json"},
        {"kubernetes.io/iscsi", "u-1", "iface-default/a:1-iqn.x-lun-1", true,
         "/plugins/kubernetes.io/iscsi/volumeDevices/iface-default/a:1-iqn.x-lun-1/u-1",
         "/pods/u-1/volumeDevices/kubernetes.io~iscsi/.pv-1.json"},
        {"kubernetes.io/fc", "", "5006-lun-0", false, "/plugins/kubernetes.io/fc/5006-lun-0",
         "/plugins/kubernetes.io/fc/.5006-lun-0.json"},
        {"kubernetes.io/fc", "u-2", "3600", true, "/plugins/kubernetes.io/fc/volumeDevices/3600/u-2",
         "/pods/u-2/volumeDevices/kubernetes.io~fc/.pv-1.json"},
    };
    struct csi_places places[countof(rows)];
    struct err err = ERR;
    for (int twice = 0; twice < 2; twice++)
        for (size_t i = 0; i < countof(rows); i++) {
            struct csi_record r = record_of(rows[i].uid, rows[i].block);
            r.driver = str_of(rows[i].driver);
            r.place = str_of(rows[i].place);
            r.source = S("{}");
            places[i] = csi_places(&a, top, &r);
            CHECK_STR(places[i].target, arena_fmt(&a, "%s%s", top, rows[i].target));
            CHECK_STR(places[i].file, arena_fmt(&a, "%s%s", top, rows[i].file));
            CHECK_OK(csi_record_make(&places[i], &r, &err), err);
        }
    struct csi_records found = {0};
    csi_records_find(&a, top, &found);
    CHECK_INT(found.list.n, countof(rows));
    for (size_t i = 0; i < countof(rows); i++) {
        size_t same = 0;
        array_each (r, &found.list)
            same += str_eqz(r->driver, rows[i].driver) && str_eqz(r->uid, rows[i].uid) && r->block == rows[i].block &&
                    str_eqz(r->place, rows[i].place) && str_eqz(r->source, "{}") && str_eqz(r->spec, "pv-1");
        CHECK_INT(same, 1);
    }
    array_fini(&found.list);
    struct str_list all = {0};
    csi_records_places(&a, arena_fmt(&a, "%s/plugins/kubernetes.io/iscsi", top), &all);
    CHECK_INT(all.list.n, 2);
    CHECK(str_eqz(all.list.p[0], rows[0].place) || str_eqz(all.list.p[1], rows[0].place));
    array_fini(&all.list);
    for (size_t i = countof(rows); i-- > 0;)
        CHECK_OK(csi_record_remove(&places[i], &err) && csi_record_remove(&places[i], &err), err);
    csi_records_find(&a, top, &found);
    CHECK_INT(found.list.n, 0);
    CHECK(access(arena_fmt(&a, "%s/plugins/kubernetes.io/iscsi", top).p, F_OK) < 0 &&
          access(arena_fmt(&a, "%s/pods/u-1", top).p, F_OK) < 0);
}

TEST(csi_records_of_disks_lead_nowhere_else)
{
    static const char *const places[] = {"../x", "a/../b", "a/b/c", ".a", "a/.b", "/a", "a//b", "a/"};
    for (size_t i = 0; i < countof(places); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct csi_record r;
        struct err err = ERR;
        CHECK(!csi_record_read(
            &a,
            arena_fmt(&a,
                      "{\"driverName\":\"kubernetes.io/fc\",\"volumeHandle\":\"h\",\"specVolID\":\"v\","
                      "\"source\":\"{}\",\"place\":\"%s\"}",
                      places[i]),
            &r, &err));
    }
}

/* A driver that says that it has unmounted and left files: they are not ours to remove. */
TEST(csi_records_stay_where_something_is_left)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char top[] = "/tmp/csi-records-XXXXXX";
    struct err err = ERR;
    CHECK(mkdtemp(top));
    struct csi_record r = record_of("u-1", false);
    struct csi_places p = csi_places(&a, top, &r);
    CHECK_OK(csi_record_make(&p, &r, &err), err);
    CHECK(mkdir(p.target.p, 0700) == 0 && mkdir(arena_fmt(&a, STR_FMT "/data", STR_ARG(p.target)).p, 0700) == 0);
    CHECK(!csi_record_remove(&p, &err) && access(p.file.p, F_OK) == 0);
    CHECK_OK(tree_remove(AT_FDCWD, top, &err), err);
}

/* What stands in a pod has the name of its disk. */
TEST(csi_records_have_any_name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char top[] = "/tmp/csi-records-XXXXXX";
    struct err err = ERR;
    CHECK(mkdtemp(top));
    struct csi_record r = record_of("u-1", false);
    r.spec = S("/subscriptions/1/disks/[a b].vmdk");
    struct csi_places p = csi_places(&a, top, &r);
    CHECK(csi_record_is_named(&r));
    CHECK(str_ends(p.folder, S("/pods/u-1/volumes/kubernetes.io~csi/~subscriptions~1~disks~[a b].vmdk")));
    CHECK_OK(csi_record_make(&p, &r, &err), err);
    struct csi_records found = {0};
    csi_records_find(&a, top, &found);
    CHECK_INT(found.list.n, 1);
    CHECK_STR(found.list.p[0].spec, r.spec);
    CHECK_STR(found.list.p[0].uid, r.uid);
    array_fini(&found.list);
    CHECK_OK(csi_record_remove(&p, &err), err);
    CHECK(access(arena_fmt(&a, "%s/pods/u-1", top).p, F_OK) < 0);
    CHECK_OK(tree_remove(AT_FDCWD, top, &err), err);
    r.spec = S("..");
    CHECK(!csi_record_is_named(&r));
}

TEST(csi_record_that_is_none_is_refused)
{
    static const char *const rows[] = {"",
                                       "{}",
                                       "{\"driverName\":\"../x\",\"volumeHandle\":\"h\"}",
                                       "{\"driverName\":\"x\",\"volumeHandle\":\"h\",\"specVolID\":\"..\"}",
                                       "[1]",
                                       "{\"driverName\":\"x\",\"volumeHandle\":\"h\",\"specVolID\":\"a\","
                                       "\"plugin\":\"kubernetes.io/flexvolume\",\"podUID\":\"../x\"}"};
    AUTO(arena_fini) struct arena a = ARENA;
    struct csi_record r;
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        CHECK(!csi_record_read(&a, str_of(rows[i]), &r, &err) && err.text[0]);
    }
}

TEST(csi_records_of_flexvolumes_are_beside_what_is_mounted)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char top[] = "/tmp/csi-records-XXXXXX";
    struct err err = ERR;
    CHECK(mkdtemp(top));
    static const struct {
        const char *driver, *uid, *target;
    } rows[] = {{"v~d", "u-1", "/pods/u-1/volumes/v~d/pv-1"},
                {"v~d", "", "/plugins/kubernetes.io/flexvolume/v/d/mounts/pv-1"},
                {"d", "", "/plugins/kubernetes.io/flexvolume/d/mounts/pv-1"}};
    struct csi_records found = {0};
    for (size_t i = 0; i < countof(rows); i++) {
        struct csi_record r = record_of(rows[i].uid, false);
        r.driver = str_of(rows[i].driver);
        r.flex = true;
        r.source = S("{\"driver\":\"v/d\"}");
        struct csi_places p = csi_places(&a, top, &r);
        CHECK(str_ends(p.target, str_of(rows[i].target)));
        CHECK_OK(csi_record_make(&p, &r, &err), err);
        csi_records_find(&a, top, &found);
        CHECK_INT(found.list.n, 1);
        const struct csi_record *again = &found.list.p[0];
        CHECK(again->flex && str_eq(again->driver, r.driver) && str_eq(again->uid, r.uid) &&
              str_eq(again->spec, r.spec) && str_eq(again->source, r.source));
        CHECK(mkdir(p.target.p, 0700) == 0);
        CHECK_OK(csi_record_remove(&p, &err), err);
        array_fini(&found.list);
        found = (struct csi_records){0};
        csi_records_find(&a, top, &found);
        CHECK_INT(found.list.n, 0);
    }
    CHECK_OK(tree_remove(AT_FDCWD, top, &err), err);
}
