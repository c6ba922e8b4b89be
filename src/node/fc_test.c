#include "api/codec.h"
#include "node/disk.h"
#include "node/disk_test.h"

TEST(fc_finds_the_disk_that_is_meant)
{
    static const struct {
        const char *source, *want, *place;
    } rows[] = {
        {"{targetWWNs: ['500a0981891b8dc5'], lun: 0}", "sda", "500a0981891b8dc5-lun-0"},
        {"{targetWWNs: ['500a0981891b8dc5'], lun: 1}", NULL, "500a0981891b8dc5-lun-1"},
        {"{targetWWNs: ['00a0981891b8dc5'], lun: 0}", NULL, "00a0981891b8dc5-lun-0"}, /* a part of the name */
        {"{targetWWNs: ['.*'], lun: 0}", NULL, ".*-lun-0"},
        {"{targetWWNs: ['500a0981891b8dc6'], lun: 2}", "sdb", "500a0981891b8dc6-lun-2"}, /* no adapter before it */
        {"{targetWWNs: ['500a0981891b8dc5', '500a0981891b8dc7'], lun: 0}", "dm-1",
         "500a0981891b8dc5-500a0981891b8dc7-lun-0"},
        {"{targetWWNs: ['500a0981891b8dc9'], lun: 0}", NULL, "500a0981891b8dc9-lun-0"}, /* not of an adapter */
        {"{wwids: ['3600508b400105e210000900000490000']}", "sdc", "3600508b400105e210000900000490000"},
        {"{wwids: ['VENDOR 1', '3600508b400105e210000900000490000']}", "sdc",
         "VENDOR_1-3600508b400105e210000900000490000"},
        {"{wwids: ['VENDOR 7']}", "dm-1", "VENDOR_7"},
        {"{wwids: ['VENDOR']}", NULL, "VENDOR"},
    };
    static const char *const links[][2] = {{"by-path/pci-0000:41:00.0-fc-0x500a0981891b8dc5-lun-0", "sda"},
                                           {"by-path/fc-0x500a0981891b8dc6-lun-2", "sdb"},
                                           {"by-path/pci-0000:41:00.0-fc-0x500a0981891b8dc7-lun-0", "sdd"},
                                           {"by-path/pci-0000:41:00.0-fc-0x500a0981891b8dc5-lun-0-part1", "sda1"},
                                           {"by-path/platform-x-fc-0x500a0981891b8dc9-lun-0", "sde"},
                                           {"by-id/scsi-3600508b400105e210000900000490000", "sdc"},
                                           {"by-id/scsi-VENDOR_7", "sdd"}};
    struct disk_world w;
    disk_world_init(&w);
    for (size_t k = 0; k < countof(links); k++) {
        disk_world_put(&w, arena_fmt(&w.a, "dev/%s", links[k][1]).p, "");
        disk_world_link(&w, arena_fmt(&w.a, "dev/disk/%s", links[k][0]).p,
                        arena_fmt(&w.a, "../../%s", links[k][1]).p);
    }
    disk_world_put(&w, "sys/block/dm-1/slaves/sdd", "");
    for (size_t i = 0; i < countof(rows); i++) {
        struct val source;
        struct device_name d;
        struct err err = ERR;
        CHECK_OK(yaml_decode(&w.a, str_of(rows[i].source), &source, &err), err);
        const struct disk disk = {.type = &disk_fc, .source = &source, .volume = S("pv"), .root = w.root};
        CHECK_STR(disk_fc.place(&w.a, &disk), str_of(rows[i].place));
        CHECK(disk_fc.attach(&disk, &d, &err) == (rows[i].want != NULL));
        if (rows[i].want)
            CHECK_STR(str_of(d.z), str_of(rows[i].want));
        else
            CHECK(str_starts(str_of(err.text), S("no fc disk found")));
    }
    disk_world_fini(&w);
}

/* All hosts look; what they find is taken, and in the end the kernel forgets it. */
TEST(fc_scans_and_forgets)
{
    struct disk_world w;
    struct val source;
    struct device_name d;
    struct err err = ERR;
    disk_world_init(&w);
    disk_world_put(&w, "sys/class/scsi_host/host0/scan", "");
    disk_world_put(&w, "sys/class/scsi_host/host1/scan", "");
    disk_world_put(&w, "sys/block/sda/device/delete", "");
    disk_world_put(&w, "dev/sda", "");
    CHECK_OK(yaml_decode(&w.a, S("{wwids: [id]}"), &source, &err), err);
    _Atomic bool stop = true;
    struct disk disk = {.type = &disk_fc, .source = &source, .volume = S("pv"), .root = w.root, .stop = &stop};
    disk.folder = arena_fmt(&w.a, "%s/plugin", w.root);
    disk.own = S("id");
    CHECK(!disk_fc.attach(&disk, &d, &err));
    CHECK_INT(err.kind, E_CANCELLED);
    for (int i = 0; i < 2; i++)
        CHECK_STR(disk_world_get(&w, arena_fmt(&w.a, "sys/class/scsi_host/host%d/scan", i).p), S("- - -"));
    disk_world_link(&w, "dev/disk/by-id/scsi-id", "../../sda");
    CHECK_OK(disk_fc.attach(&disk, &d, &err), err);
    CHECK_OK(disk_fc.detach(&disk, &err), err);
    CHECK_STR(disk_world_get(&w, "sys/block/sda/device/delete"), S("1"));
    disk_world_fini(&w);
}
