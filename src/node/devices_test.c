#include "base/test.h"
#include "node/devices.h"
#include "node/disk.h"
#include "node/disk_test.h"

TEST(devices_are_found_by_their_links)
{
    struct disk_world w;
    struct device_name d, m;
    disk_world_init(&w);
    disk_world_link(&w, "dev/disk/by-path/one", "../../sda");
    disk_world_link(&w, "dev/disk/by-path/none", "../../sdx");
    disk_world_link(&w, "dev/disk/by-path/deep", "../../mapper/x");
    disk_world_link(&w, "dev/mapper/mpatha", "../dm-1");
    disk_world_put(&w, "dev/sda", "");
    disk_world_put(&w, "dev/sdb", "");
    disk_world_put(&w, "dev/dm-1", "");
    disk_world_put(&w, "dev/mapper/x", "");
    disk_world_put(&w, "sys/block/dm-0/slaves/sdc", "");
    disk_world_put(&w, "sys/block/dm-1/slaves/sda", "");
    disk_world_put(&w, "sys/block/dm-1/slaves/sdb", "");
    disk_world_put(&w, "sys/block/md0/slaves/sdd", "");
    CHECK(device_of(w.root, "/dev/disk/by-path/one", &d));
    CHECK_STR(str_of(d.z), S("sda"));
    CHECK(!device_of(w.root, "/dev/disk/by-path/none", &m) && !device_of(w.root, "/dev/disk/by-path/deep", &m));
    CHECK(device_of(w.root, "/dev/mapper/mpatha", &m));
    CHECK_STR(str_of(m.z), S("dm-1"));
    CHECK(device_multipath(w.root, &m, &m) && device_multipath(w.root, &d, &m));
    CHECK_STR(str_of(m.z), S("dm-1"));
    CHECK(!device_multipath(w.root, &(struct device_name){"sdd"}, &d)); /* another kind of array */
    struct device_names parts = {0};
    device_parts(w.root, &m, &parts);
    CHECK_INT(parts.list.n, 2);
    CHECK_STR(str_of(parts.list.p[0].z), S("sda"));
    array_fini(&parts.list);
    disk_world_fini(&w);
}

/* Two hosts of one target, one of another, and what is half gone. */
TEST(devices_of_iscsi_are_told_by_target_portal_and_lun)
{
    static const struct {
        const char *iqn, *portal;
        int host;
    } rows[] = {
        {"iqn.a", "10.0.0.1:3260", 3},   {"iqn.a", "10.0.0.2:3260", 12}, {"iqn.a", "192.168.0.9:860", 12},
        {"iqn.b", "[fd00::1]:3260", 20}, {"iqn.b", "10.0.0.1:3260", -1}, {"iqn.", "10.0.0.1:3260", -1},
        {"iqn.c", "10.0.0.3:3260", -1},
    };
    struct disk_world w;
    struct device_names found = {0};
    disk_world_init(&w);
    iscsi_devices(w.root, S("iqn.a"), 0, &found);
    CHECK_INT(found.list.n, 0); /* there is no iSCSI at all */
    disk_world_session(&w, 3, 1, "iqn.a", "10.0.0.1", "3260", "10.0.0.1", "3260");
    disk_world_session(&w, 12, 2, "iqn.a", "192.168.0.9", "860", "10.0.0.2", "3260");
    disk_world_session(&w, 20, 3, "iqn.b", "fd00::1", "3260", "fd00::1", "3260");
    disk_world_put(&w, "sys/class/iscsi_host/host21/device/session4/uevent", "");
    disk_world_put(&w, "sys/class/iscsi_host/other/device/session4/iscsi_session/session4/targetname", "iqn.c\n");
    disk_world_put(&w, "sys/class/iscsi_host/host3/device/session1/target3:0:0/3:0:0:5/block/sda/size", "");
    disk_world_put(&w, "sys/class/iscsi_host/host12/device/session2/target12:0:0/12:0:0:5/block/sdb/size", "");
    disk_world_put(&w, "sys/class/iscsi_host/host12/device/session2/target12:0:0/12:0:0:6/block/sdc/size", "");
    disk_world_put(&w, "sys/class/iscsi_host/host20/device/session3/target20:0:0/20:0:0:5/block/sdd/size", "");
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_INT(iscsi_host(w.root, str_of(rows[i].iqn), str_of(rows[i].portal)), rows[i].host);
    iscsi_devices(w.root, S("iqn.a"), 5, &found);
    CHECK_INT(found.list.n, 2);
    CHECK_STR(str_of(found.list.p[0].z), S("sdb")); /* host12 is before host3 */
    CHECK_STR(str_of(found.list.p[1].z), S("sda"));
    array_fini(&found.list);
    disk_world_fini(&w);
}
