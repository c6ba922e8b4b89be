#include "base/test.h"
#include "oci/content.h"
#include "sys/syncs_test.h"
#include <sys/stat.h>

static struct content *opened(void)
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
    AUTO(content_free) struct content *c = opened();
    struct digest d = digest_of("x", 1), got;
    CHECK(syncs_fail());
    CHECK(!content_put(c, "x", 1, &got, &err) && err.sys == EDQUOT);
    CHECK(!content_has_blob(c, &d));
}

TEST(a_name_is_on_the_disk_before_it_counts)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = opened();
    struct digest d = digest_of("x", 1), got;
    CHECK(syncs_fail());
    CHECK(!content_ref_set(c, S("docker.io/library/x:1"), &d, &err) && err.sys == EDQUOT);
    err = ERR;
    CHECK(!content_ref_get(c, S("docker.io/library/x:1"), &got, &err) && err.kind == E_NOT_FOUND);
}

TEST(the_name_of_a_layer_is_on_the_disk_before_it_is_said_to_be)
{
    struct err err = ERR;
    AUTO(content_free) struct content *c = opened();
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
    AUTO(content_free) struct content *c = opened();
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
