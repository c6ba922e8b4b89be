/* Disks of iSCSI with an iscsiadm that writes down what it is asked and fails where a test says so. */
#include "api/codec.h"
#include "node/disk.h"
#include "node/disk_test.h"
#include <stdlib.h>

#define SOURCE "{targetPortal: 10.0.0.1, iqn: 'iqn.a', lun: 5"

struct iscsi_case {
    struct disk_world w;
    struct val source, secrets;
    struct disk disk;
};

/* `fails`: "PATTERN) exit N" of what fails; a login makes what `login` does in the shell. */
static void case_init(struct iscsi_case *c, const char *source, const char *transport, const char *fails)
{
    struct err err = ERR;
    disk_world_init(&c->w);
    struct arena *a = &c->w.a;
    disk_world_put(
        &c->w, "bin/iscsiadm",
        arena_fmt(a,
                  "#!/bin/sh\necho \"$*\" >> %s/said\ncase \"$*\" in\n"
                  "*'-o show') printf '# BEGIN RECORD 2.1.8\\niface.iscsi_ifacename = default\\nface.x = y\\n"
                  "iface.net_ifacename = <empty>\\niface.transport_name = %s\\niface.mtu = 0\\n# END RECORD\\n';;\n"
                  "%s;;\nesac\n",
                  c->w.root, transport, fails)
            .p);
    (void)setenv("PATH", arena_fmt(a, "%s/bin:/usr/bin:/bin", c->w.root).p, 1);
    CHECK_OK(yaml_decode(a, str_of(source), &c->source, &err), err);
    c->disk = (struct disk){.type = &disk_iscsi,
                            .source = &c->source,
                            .volume = S("pv"),
                            .folder = arena_fmt(a, "%s/plugin", c->w.root),
                            .root = c->w.root};
    c->disk.own = disk_iscsi.place(a, &c->disk);
}

static void case_fini(struct iscsi_case *c)
{
    disk_world_fini(&c->w);
}

TEST(iscsi_has_its_place_by_interface_portal_target_and_lun)
{
    static const struct {
        const char *source, *place, *refused;
    } rows[] = {
        {SOURCE "}", "iface-default/10.0.0.1:3260-iqn.a-lun-5", NULL},
        {SOURCE ", iscsiInterface: bnx2i}", "iface-bnx2i/10.0.0.1:3260-iqn.a-lun-5", NULL},
        {SOURCE ", initiatorName: iqn.me}", "iface-10.0.0.1:3260:pv/10.0.0.1:3260-iqn.a-lun-5", NULL},
        {"{targetPortal: '[fd00::1]:860', iqn: eui.0}", "iface-default/[fd00::1]:860-eui.0-lun-0", NULL},
        {"{targetPortal: '../../etc', iqn: iqn.a}", NULL, "its names hold what no path may"},
        {"{targetPortal: a, iqn: iqn.a, iscsiInterface: ../x}", NULL, "its names hold what no path may"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val source;
        struct err err = ERR;
        CHECK_OK(yaml_decode(&a, str_of(rows[i].source), &source, &err), err);
        const struct disk d = {.type = &disk_iscsi, .source = &source, .volume = S("pv"), .root = ""};
        CHECK(disk_check(&a, &d, &err) == (rows[i].place != NULL));
        if (rows[i].place)
            CHECK_STR(disk_iscsi.place(&a, &d), str_of(rows[i].place));
        else
            CHECK(strstr(err.text, rows[i].refused));
    }
}

TEST(iscsi_speaks_as_a_kubelet_does)
{
    struct iscsi_case c;
    struct device_name d;
    struct err err = ERR;
    case_init(&c,
              SOURCE ", initiatorName: iqn.me, chapAuthDiscovery: true, chapAuthSession: true, iscsiInterface: base}",
              "tcp", "*--login) mv ${0%/*}/../later ${0%/*}/../sys");
    c.secrets = val_map();
    val_set_str(&c.w.a, &c.secrets, S("node.session.auth.username"), val_bytes(&c.w.a, S("me")));
    val_set_str(&c.w.a, &c.secrets, S("node.session.auth.password_in"), val_bytes(&c.w.a, S("back")));
    val_set_str(&c.w.a, &c.secrets, S("discovery.sendtargets.auth.password"), val_bytes(&c.w.a, S("p w")));
    c.disk.secrets = &c.secrets;
    disk_world_session(&c.w, 3, 1, "iqn.a", "10.0.0.1", "3260", "10.0.0.1", "3260");
    CHECK(rename(disk_world_path(&c.w, "sys"), disk_world_path(&c.w, "later")) == 0);
    disk_world_put(&c.w, "dev/sda", "");
    disk_world_link(&c.w, "dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.a-lun-5", "../../sda");
    CHECK_OK(disk_iscsi.attach(&c.disk, &d, &err), err);
    CHECK_STR(str_of(d.z), S("sda"));
    CHECK_STR(disk_world_get(&c.w, "sys/class/scsi_host/host3/scan"), S("0 0 5"));
#define OWN  "-I 10.0.0.1:3260:pv"
#define SEEK "-m discoverydb -t sendtargets -p 10.0.0.1:3260 "
#define NODE "-m node -p 10.0.0.1:3260 -T iqn.a "
    CHECK_STR(disk_world_get(&c.w, "said"),
              S("-m iface -I base -o show\n"
                "-m iface " OWN " -o new\n"
                "-m iface " OWN " -o update -n iface.transport_name -v tcp\n"
                "-m iface " OWN " -o update -n iface.mtu -v 0\n"
                "-m iface " OWN " -o update -n iface.initiatorname -v iqn.me\n" SEEK OWN " -o new\n" SEEK OWN
                " -o update -n discovery.sendtargets.auth.authmethod -v CHAP\n" SEEK OWN
                " -o update -n discovery.sendtargets.auth.password -v p w\n" SEEK OWN " --discover\n" NODE OWN
                " -o update -n node.session.scan -v manual\n" NODE OWN
                " -o update -n node.session.auth.authmethod -v CHAP\n" NODE OWN
                " -o update -n node.session.auth.username -v me\n" NODE OWN
                " -o update -n node.session.auth.password_in -v back\n" NODE OWN " --login\n" NODE
                "-o update -n node.startup -v manual\n"));
    CHECK(unlink(disk_world_path(&c.w, "said")) == 0);
    CHECK_OK(disk_iscsi.attach(&c.disk, &d, &err), err); /* logged in already */
    CHECK(!str_has(disk_world_get(&c.w, "said"), S("--login")));
    CHECK(unlink(disk_world_path(&c.w, "said")) == 0);
    CHECK_OK(disk_iscsi.detach(&c.disk, &err), err);
    CHECK_STR(disk_world_get(&c.w, "said"),
              S(NODE "--logout " OWN "\n" NODE "-o delete " OWN "\n-m iface " OWN " -o delete\n"));
    case_fini(&c);
}

/* Who else has the target keeps the session; who else has the LUN keeps its devices, too. */
TEST(iscsi_logs_out_with_the_last_disk_of_the_target)
{
    static const struct {
        const char *other;
        bool deleted, logout;
    } rows[] = {
        {"plugin/iface-default/.10.0.0.1:3260-iqn.a-lun-5.json", true, true}, /* its own */
        {"plugin/iface-default/.10.0.0.1:3260-iqn.a-lun-6.json", true, false},
        {"plugin/iface-default/.10.0.0.1:3260-iqn.ab-lun-5.json", true, true},
        {"plugin/iface-default/.10.0.0.2:3260-iqn.a-lun-5.json", true, true},
        {"plugin/volumeDevices/iface-default/.10.0.0.1:3260-iqn.a-lun-5.json", false, false},
        {"plugin/iface-10.0.0.1:3260:pv/.10.0.0.1:3260-iqn.a-lun-7.json", true, false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct iscsi_case c;
        struct err err = ERR;
        case_init(&c, SOURCE "}", "tcp", "x) :");
        disk_world_session(&c.w, 3, 1, "iqn.a", "10.0.0.1", "3260", "10.0.0.1", "3260");
        disk_world_put(&c.w, "sys/class/iscsi_host/host3/device/session1/target3:0:0/3:0:0:5/block/sda/size", "");
        disk_world_put(&c.w, "sys/block/sda/device/delete", "");
        disk_world_put(&c.w, "dev/sda", "");
        disk_world_put(&c.w, "said", "");
        disk_world_put(&c.w, rows[i].other, "{}");
        CHECK_OK(disk_iscsi.detach(&c.disk, &err), err);
        CHECK(str_eqz(disk_world_get(&c.w, "sys/block/sda/device/delete"), rows[i].deleted ? "1" : ""));
        CHECK(str_has(disk_world_get(&c.w, "said"), S("--logout")) == rows[i].logout);
        CHECK(unlink(disk_world_path(&c.w, rows[i].other)) == 0);
        case_fini(&c);
    }
}

TEST(iscsi_says_what_failed)
{
    static const struct {
        const char *transport, *fails, *want;
        enum err_kind kind;
    } rows[] = {
        {"tcp", "*--discover) echo refused; exit 8",
         "failed to get any path for iscsi disk, last err seen:\niscsi: failed to sendtargets to portal "
         "10.0.0.1:3260 output: refused, err exit status 8",
         E_IO},
        {"tcp", "*--login) echo 'no such'; exit 24",
         "failed to get any path for iscsi disk, last err seen:\niscsi: failed to attach disk: Error: no such (exit "
         "status 24)",
         E_IO},
        {"tcp", "*--login) exit 15", /* a session is there, and its host is not */
         "failed to get any path for iscsi disk, last err seen:\nCould not get SCSI host number for portal "
         "10.0.0.1:3260 after logging in",
         E_IO},
        {"", "x) :", "could not parse iface file for default", E_INVALID},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct iscsi_case c;
        struct device_name d;
        struct err err = ERR;
        case_init(&c, SOURCE "}", rows[i].transport, rows[i].fails);
        CHECK(!disk_iscsi.attach(&c.disk, &d, &err));
        CHECK_STR(str_of(err.text), str_of(rows[i].want));
        CHECK_INT(err.kind, rows[i].kind);
        case_fini(&c);
    }
    struct iscsi_case c;
    struct device_name d;
    struct err err = ERR;
    case_init(&c, SOURCE "}", "tcp", "x) :");
    (void)setenv("PATH", "/nowhere", 1);
    CHECK(!disk_iscsi.attach(&c.disk, &d, &err));
    CHECK_STR(str_of(err.text), S("exec: \"iscsiadm\": executable file not found in $PATH (Debian: apt-get install "
                                  "open-iscsi)"));
    CHECK_INT(err.kind, E_NOT_FOUND);
    case_fini(&c);
}

/* A card that speaks iSCSI itself has links that begin with its place; several portals are one multipath device. */
TEST(iscsi_finds_what_udev_calls_it)
{
    struct iscsi_case c;
    struct device_name d;
    struct err err = ERR;
    case_init(&c, "{targetPortal: '[fd00::1]:3260', iqn: iqn.a, portals: ['10.0.0.2', '[fd00::1]:3260']}",
              "bnx2i.00:11", "x) :");
    disk_world_session(&c.w, 3, 1, "iqn.a", "fd00::1", "3260", "fd00::1", "3260");
    disk_world_session(&c.w, 4, 2, "iqn.a", "10.0.0.2", "3260", "10.0.0.2", "3260");
    disk_world_put(&c.w, "dev/sda", "");
    disk_world_put(&c.w, "dev/sdb", "");
    disk_world_put(&c.w, "sys/block/dm-3/slaves/sdb", "");
    disk_world_link(&c.w, "dev/disk/by-path/pci-0000:04:00.2-ip-fd00::1:3260-iscsi-iqn.a-lun-0", "../../sda");
    disk_world_link(&c.w, "dev/disk/by-path/pci-0000:04:00.2-ip-10.0.0.2:3260-iscsi-iqn.a-lun-0", "../../sdb");
    CHECK_OK(disk_iscsi.attach(&c.disk, &d, &err), err);
    CHECK_STR(str_of(d.z), S("dm-3"));
    case_fini(&c);
}
