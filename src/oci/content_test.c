#include "base/test.h"
#include "oci/image.h"
#include "sys/syncs_test.h"
#include <sys/stat.h>
#include <sys/wait.h>

static struct content *content_of_test(void)
{
    struct err err = ERR;
    char path[200];
    (void)snprintf(path, sizeof path, "%s/store", test_dir());
    struct content *c = content_open(path, &err);
    CHECK_OK(c, err);
    return c;
}

TEST(a_blob_is_on_the_disk_before_it_has_its_name)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest d = digest_of("x", 1), got;
    CHECK(syncs_fail());
    CHECK(!content_put(c, "x", 1, &got, &err) && err.sys == EDQUOT);
    CHECK(!content_has_blob(c, &d));
}

TEST(a_name_is_on_the_disk_before_it_counts)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest d = digest_of("x", 1), got;
    CHECK(syncs_fail());
    CHECK(!content_ref_set(c, S("docker.io/library/x:1"), &d, false, &err) && err.sys == EDQUOT);
    err = ERR;
    CHECK(!content_ref_get(c, S("docker.io/library/x:1"), &got, &err) && err.kind == E_NOT_FOUND);
}

TEST(the_name_of_a_layer_is_on_the_disk_before_it_is_said_to_be)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest d = digest_of("x", 1);
    char tmp[80];
    fd_close(content_layer_tmp(c, tmp, &err));
    CHECK(syncs_fail());
    CHECK(!content_layer_commit(c, tmp, &d, &err) && err.sys == EDQUOT);
}

/* What a container runs from must not go because its claim could not be read. */
TEST(a_claim_that_cannot_be_read_holds_everything)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest d = digest_of("x", 1), got;
    int64_t freed;
    char path[200];
    CHECK_OK(content_put(c, "x", 1, &got, &err), err);
    CHECK(!content_used(c, &d));
    (void)snprintf(path, sizeof path, "%s/store/uses/broken", test_dir());
    CHECK(mkdir(path, 0700) == 0); /* opens, and does not read */
    CHECK(content_used(c, &d));
    CHECK(!content_gc(c, &freed, &err) && err.text[0]);
    CHECK(content_has_blob(c, &d));
    CHECK(rmdir(path) == 0);
    err = ERR;
    CHECK_OK(content_gc(c, &freed, &err), err);
    CHECK(!content_has_blob(c, &d));
}

/* A pod's claim on several images: it is the pod's to take back, whatever containers there are. */
static bool nobody_is_there(void *arg, struct str id)
{
    (void)arg, (void)id;
    return false;
}
TEST(a_claim_may_be_on_several_images)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest one = digest_of("1", 1), two = digest_of("2", 1), three = digest_of("3", 1);
    const struct digest *all[] = {&one, &two, &three};
    for (size_t i = 0; i < countof(all); i++) {
        char path[100];
        (void)snprintf(path, sizeof path, "images/%s", all[i]->hex);
        CHECK_OK(content_file_put(c, path, S("record"), &err), err);
    }
    CHECK_OK(content_use_also(c, S("pod_u1"), &one, &err), err);
    CHECK_OK(content_use_also(c, S("pod_u1"), &two, &err), err);
    CHECK_OK(content_use(c, S("c1"), &three, &err), err);
    CHECK(content_used(c, &one) && content_used(c, &two) && content_used(c, &three));
    content_uses_sweep(c, nobody_is_there, NULL);
    CHECK(content_used(c, &one) && content_used(c, &two) && !content_used(c, &three));
    content_unuse(c, S("pod_u1"));
    CHECK(!content_used(c, &one) && !content_used(c, &two));
    struct digest none = digest_of("4", 1);
    CHECK(!content_use_also(c, S("pod_u1"), &none, &err) && err.kind == E_NOT_FOUND);
}

/* A registry that is slow on purpose would otherwise keep everybody from a layer that many images have. */
TEST(who_fetches_a_blob_slowly_is_not_waited_for_for_ever)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest d = digest_of("abc", 3), got;
    struct ingest slow, quick;
    c->patience_ms = 200;
    CHECK_OK(ingest_begin(c, &slow, &d, true, &err) && ingest_write(&slow, "ab", 2, &err), err);
    CHECK_OK(ingest_begin(c, &quick, &d, true, &err), err);
    CHECK_INT(quick.size, 0);
    CHECK_OK(ingest_write(&quick, "abc", 3, &err) && ingest_commit(&quick, &d, &got, &err), err);
    CHECK(content_has_blob(c, &d));
    /* and the slow one goes on, or leaves what it has for the next */
    ingest_abort(&slow);
    CHECK_OK(ingest_begin(c, &slow, &d, true, &err), err);
    CHECK_INT(slow.size, 2);
    CHECK_OK(ingest_write(&slow, "c", 1, &err) && ingest_commit(&slow, &d, &got, &err), err);
}

static struct digest image_bring(struct content *c, const char *body, const char *name, bool pulled)
{
    AUTO(strbuf_fini) struct strbuf record = STRBUF(65536);
    char path[100];
    struct digest d;
    struct err err = ERR;
    CHECK_OK(content_put(c, body, strlen(body), &d, &err), err);
    struct image im = {.manifest = d, .config = d, .blobs = &d, .nblobs = 1};
    image_encode(&im, &record);
    (void)snprintf(path, sizeof path, "images/%s", d.hex);
    CHECK_OK(content_file_put(c, path, strbuf_str(&record), &err) &&
                 content_ref_set(c, str_of(name), &d, pulled, &err),
             err);
    return d;
}

/* Whoever chose them may be late: what counts is what is so while nobody adds. */
TEST(for_want_of_space_only_what_a_registry_gave_and_nobody_uses_goes)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest all[] = {image_bring(c, "used", "r/used:1", true), image_bring(c, "by hand", "r/hand:1", false),
                           image_bring(c, "both", "r/both:1", true), image_bring(c, "first", "r/first:1", true),
                           image_bring(c, "second", "r/second:1", true)};
    struct content_collect x = {.images = all, .n = countof(all), .enough = INT64_MAX};
    CHECK_OK(content_use(c, S("c1"), &all[0], &err), err);
    CHECK_OK(content_ref_set(c, S("r/loaded:1"), &all[2], false, &err), err); /* pulled, and loaded as well */
    {
        AUTO(fd_close) int held = content_lock_shared(c, &err);
        CHECK(held >= 0 && !content_collect(c, &x, &err) && err.kind == E_UNAVAILABLE);
        err = ERR;
    }
    x.enough = 1; /* one of them is enough */
    CHECK_OK(content_collect(c, &x, &err), err);
    CHECK_INT(x.removed, 1);
    CHECK(x.freed > 0 && !content_has_blob(c, &all[3]) && content_has_blob(c, &all[4]));
    x.enough = INT64_MAX;
    CHECK_OK(content_collect(c, &x, &err), err);
    CHECK_INT(x.removed, 1);
    for (size_t i = 0; i < countof(all); i++)
        CHECK_INT(content_has_blob(c, &all[i]), i < 3);
    int64_t before = content_used_at(c, &all[0]);
    content_unuse(c, S("c1"));
    CHECK(content_used_at(c, &all[0]) >= before && before > 0);
    CHECK_OK(content_collect(c, &x, &err), err);
    CHECK(!content_has_blob(c, &all[0]) && content_has_blob(c, &all[1]) && content_has_blob(c, &all[2]));
    CHECK_INT(content_used_at(c, &all[0]), 0);
}

/* A pull that broke off is kept to be taken up again, but not where the disk is full. */
TEST(for_want_of_space_pulls_that_broke_off_go)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    struct digest d = digest_of("abc", 3);
    struct ingest in;
    struct content_collect x = {.enough = INT64_MAX};
    int64_t freed;
    CHECK_OK(ingest_begin(c, &in, &d, true, &err) && ingest_write(&in, "ab", 2, &err), err);
    in.keep = true;
    ingest_abort(&in);
    CHECK_OK(content_gc(c, &freed, &err), err);
    CHECK_OK(ingest_begin(c, &in, &d, true, &err), err);
    CHECK_INT(in.size, 2);
    ingest_abort(&in);
    CHECK_OK(content_collect(c, &x, &err), err);
    CHECK_OK(ingest_begin(c, &in, &d, true, &err), err);
    CHECK_INT(in.size, 0);
    ingest_abort(&in);
}

/* One of sixteen that bring the same image, name and claim it, while one of them collects all the time. */
static bool bring_and_claim(struct content *c, int side, int round, struct err *err)
{
    char body[40], id[40];
    struct digest d, got;
    struct str all = S("docker.io/library/same:1");
    int64_t freed;
    (void)snprintf(body, sizeof body, "image %d", round / 4); /* four rounds bring the same */
    (void)snprintf(id, sizeof id, "c%d-%d", side, round);
    {
        AUTO(fd_close) int held = content_lock_shared(c, err);
        if (held < 0 || !content_put(c, body, strlen(body), &d, err))
            return false;
        AUTO(strbuf_fini) struct strbuf record = STRBUF(65536);
        char path[100];
        struct image im = {.manifest = d, .config = d, .blobs = &d, .nblobs = 1};
        image_encode(&im, &record);
        (void)snprintf(path, sizeof path, "images/%s", d.hex);
        if (!content_file_put(c, path, strbuf_str(&record), err) || !content_ref_set(c, all, &d, false, err) ||
            !content_use(c, str_of(id), &d, err))
            return false;
    }
    if (side == 0 && !content_gc(c, &freed, err))
        return false;
    if (!content_has_blob(c, &d) || !content_used(c, &d))
        return err_set(err, E_INTERNAL, "what is claimed was collected");
    if (!content_ref_get(c, all, &got, err)) /* somebody's, and whole */
        return false;
    content_unuse(c, str_of(id));
    return true;
}

TEST(sixteen_bring_claim_and_collect_at_once)
{
    pid_t pids[16];
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_of_test();
    for (int side = 0; side < 16; side++) {
        pids[side] = fork();
        if (pids[side] != 0)
            continue;
        char path[200];
        (void)snprintf(path, sizeof path, "%s/store", test_dir());
        struct content *own = content_open(path, &err);
        bool ok = own != NULL;
        for (int round = 0; ok && round < 20; round++)
            ok = bring_and_claim(own, side, round, &err);
        if (!ok)
            (void)fprintf(stderr, "side %d: %s\n", side, err.text);
        content_free(own);
        _exit(ok ? 0 : 1);
    }
    for (int side = 0; side < 16; side++) {
        int status;
        CHECK(waitpid(pids[side], &status, 0) == pids[side] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    int64_t freed;
    CHECK_OK(content_ref_del(c, S("docker.io/library/same:1"), &err) && content_gc(c, &freed, &err), err);
    for (int round = 0; round < 20; round += 4) {
        char body[40];
        (void)snprintf(body, sizeof body, "image %d", round / 4);
        struct digest d = digest_of(body, strlen(body));
        CHECK(!content_has_blob(c, &d) && !content_used(c, &d));
    }
}
