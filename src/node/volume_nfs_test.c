#include "base/test.h"
#include "node/volume_nfs.h"

TEST(an_export_is_asked_for_by_address)
{
    static struct str own[] = {S_INIT("hard,nfsvers=3"), S_INIT("timeo=10")}, bad[] = {S_INIT("addr=1.2.3.4")};
    struct volume_mount m = {.server = S("s"), .path = S("/p")};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    struct err err = ERR;
    CHECK(!volume_nfs_versioned(&m));
    CHECK_OK(volume_nfs_options(&m, "10.0.0.1", "4.2", &b, &err), err);
    CHECK_STR(strbuf_str(&b), S("rw,vers=4.2,addr=10.0.0.1"));
    m.options = (struct strs){own, 2};
    m.read_only = true;
    b.n = 0;
    CHECK(volume_nfs_versioned(&m));
    CHECK_OK(volume_nfs_options(&m, "fd00::1", NULL, &b, &err), err);
    CHECK_STR(strbuf_str(&b), S("ro,hard,nfsvers=3,timeo=10,addr=fd00::1"));
    m.options = (struct strs){bad, 1};
    CHECK(!volume_nfs_options(&m, "10.0.0.1", NULL, &b, &err));
}
