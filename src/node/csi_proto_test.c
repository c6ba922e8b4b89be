#include "base/test.h"
#include "node/csi_proto.h"
#include "wire/pb.h"

static struct str hex_of(struct arena *a, const struct strbuf *b)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    strbuf_add_hex(&out, b->p, b->n);
    return str_dup(a, strbuf_str(&out));
}

TEST(csi_plugin_info_is_read)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    AUTO(plugin_info_fini) struct plugin_info p = {0};
    struct err err = ERR;
    pb_add_bytes(&b, 1, S("CSIPlugin"));
    pb_add_bytes(&b, 2, S("x.csi"));
    pb_add_bytes(&b, 3, S("/csi.sock"));
    pb_add_bytes(&b, 4, S("0.3.0"));
    CHECK_OK(plugin_info_read(&a, strbuf_str(&b), &p, &err), err);
    CHECK_STR(p.name, S("x.csi"));
    CHECK(!csi_version_good(&p, &err) && strstr(err.text, "[0.3.0]"));
    plugin_info_fini(&p);
    pb_add_bytes(&b, 4, S("v1.2.0"));
    CHECK_OK(plugin_info_read(&a, strbuf_str(&b), &p, &err) && csi_version_good(&p, &err), err);
    plugin_info_fini(&p);
    pb_add_bytes(&b, 2, S("a\xff"));
    CHECK(!plugin_info_read(&a, strbuf_str(&b), &p, &err));
}

TEST(csi_node_says_what_it_is)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct csi_node n;
    struct err err = ERR;
    CHECK(!csi_node_read(&a, S(""), &n, &err));
    pb_add_bytes(&b, 1, S("i-1"));
    pb_add_uint(&b, 2, 25);
    size_t topology = pb_open(&b, 3), entry = pb_open(&b, 1);
    pb_add_bytes(&b, 1, S("zone"));
    pb_add_bytes(&b, 2, S("b"));
    pb_close(&b, entry);
    pb_close(&b, topology);
    CHECK_OK(csi_node_read(&a, strbuf_str(&b), &n, &err), err);
    CHECK_STR(n.id, S("i-1"));
    CHECK_INT(n.volumes_most, 25);
    CHECK_STR(val_text(val_get_str(&n.topology, S("zone"))), S("b"));
    unsigned can;
    CHECK_OK(csi_can_read(S("\x0a\x04\x0a\x02\x08\x01\x0a\x04\x0a\x02\x08\x03\x0a\x04\x0a\x02\x08\x63"), &can, &err),
             err);
    CHECK_INT(can, CSI_CAN_STAGE | CSI_CAN_EXPAND);
}

TEST(csi_access_modes_are_what_the_driver_can)
{
    static const struct {
        const char *mode;
        unsigned plain, multi;
    } rows[] = {{"ReadWriteOnce", 1, 7}, {"ReadOnlyMany", 3, 3}, {"ReadWriteMany", 5, 5}, {"ReadWriteOncePod", 1, 6}};
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct val modes = val_list();
        val_add(&a, &modes, val_str(&a, str_of(rows[i].mode)));
        CHECK_INT(csi_access_mode(&modes, 0), rows[i].plain);
        CHECK_INT(csi_access_mode(&modes, CSI_CAN_MULTI_WRITER), rows[i].multi);
    }
    CHECK_INT(csi_access_mode(NULL, 0), 1);
}

/* Compared with what protoc makes of the same fields. */
TEST(csi_publish_is_written_as_protoc_does)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct val context = val_map(), secrets = val_map(), options = val_list();
    val_set_str(&a, &context, S("k"), val_str(&a, S("v")));
    val_set_str(&a, &secrets, S("s"), val_bytes(&a, S("t")));
    val_add(&a, &options, val_str(&a, S("ro")));
    csi_publish_write(&b, &(struct csi_call){.handle = S("h"),
                                             .staging = S("/s"),
                                             .target = S("/t"),
                                             .read_only = true,
                                             .fs_type = S("ext4"),
                                             .mount_options = &options,
                                             .volume_context = &context,
                                             .secrets = &secrets});
    CHECK_STR(hex_of(&a, &b), S("0a01681a022f7322022f742a10120a0a046578743412"
                                "02726f1a020801"
                                "30013a060a01731201744206"
                                "0a016b120176"));
    strbuf_reset(&b);
    csi_stage_write(&b, &(struct csi_call){.handle = S("h"), .staging = S("/s"), .block = true});
    CHECK_STR(hex_of(&a, &b), S("0a01681a022f7322060a001a020801"));
}

TEST(csi_usage_is_read_by_its_units)
{
    struct err err = ERR;
    struct csi_usage u;
    /* available 700, total 1000, used 300 of bytes; 7, 10, 3 of inodes; abnormal, "x" */
    static const char answer[] = "\x0a\x0b\x08\xbc\x05\x10\xe8\x07\x18\xac\x02\x20\x01"
                                 "\x0a\x08\x08\x07\x10\x0a\x18\x03\x20\x02"
                                 "\x12\x05\x08\x01\x12\x01x";
    CHECK_OK(csi_usage_read(((struct str){answer, sizeof answer - 1}), &u, &err), err);
    CHECK_INT(u.bytes_free, 700);
    CHECK_INT(u.bytes, 1000);
    CHECK_INT(u.bytes_used, 300);
    CHECK_INT(u.inodes_free, 7);
    CHECK_INT(u.inodes, 10);
    CHECK_INT(u.inodes_used, 3);
    CHECK(u.condition_known && u.abnormal);
    CHECK_OK(csi_usage_read(S(""), &u, &err), err);
    CHECK(!u.condition_known && !u.bytes);
    CHECK(!csi_usage_read(S("\x0a\x7f"), &u, &err));
}
