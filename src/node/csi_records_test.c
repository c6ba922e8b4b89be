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

TEST(csi_record_that_is_none_is_refused)
{
    static const char *const rows[] = {"", "{}", "{\"driverName\":\"../x\",\"volumeHandle\":\"h\"}",
                                       "{\"driverName\":\"x\",\"volumeHandle\":\"h\",\"specVolID\":\"a/b\"}", "[1]"};
    AUTO(arena_fini) struct arena a = ARENA;
    struct csi_record r;
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        CHECK(!csi_record_read(&a, str_of(rows[i]), &r, &err) && err.text[0]);
    }
}
