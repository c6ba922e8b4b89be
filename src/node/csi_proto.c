#include "node/csi_proto.h"
#include "wire/pb.h"

#define VERSIONS_MOST 32
#define TEXT_MOST     4096

static bool text_take(struct arena *a, struct str bytes, const char *what, size_t most, struct str *out,
                      struct err *err)
{
    if (bytes.n > most)
        return err_set(err, E_INVALID, "%s is longer than %zu bytes", what, most);
    if (!str_utf8_ok(bytes) || memchr(bytes.n ? bytes.p : "x", 0, bytes.n))
        return err_set(err, E_INVALID, "%s is no text", what);
    *out = str_dup(a, bytes);
    return true;
}

static bool is_bytes(const struct pb_field *f, struct err *err)
{
    return f->wire == PB_BYTES || err_set(err, E_BAD_REQUEST, "protobuf: field %u is no text or message", f->number);
}

/* ---- registration */

void plugin_info_fini(struct plugin_info *p)
{
    array_fini(&p->versions);
}

bool plugin_info_read(struct arena *a, struct str message, struct plugin_info *out, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    struct str version;
    int more;
    *out = (struct plugin_info){0};
    while ((more = pb_next(&m, &f, err)) == 1) {
        struct str *const texts[] = {NULL, &out->type, &out->name, &out->endpoint};
        if (f.number < 1 || f.number > 4)
            continue;
        if (!is_bytes(&f, err))
            return false;
        if (f.number < 4 && !text_take(a, f.bytes, "a text of the plugin's", TEXT_MOST, texts[f.number], err))
            return false;
        if (f.number == 4 && !text_take(a, f.bytes, "a version of the plugin's", TEXT_MOST, &version, err))
            return false;
        if (f.number == 4 && out->versions.n >= VERSIONS_MOST)
            return err_set(err, E_TOO_LARGE, "the plugin names more than %d versions", VERSIONS_MOST);
        if (f.number == 4)
            array_push(&out->versions, version);
    }
    return more == 0;
}

void plugin_status_write(struct strbuf *b, bool registered, struct str error)
{
    if (registered)
        pb_add_uint(b, 1, 1);
    if (error.n)
        pb_add_bytes(b, 2, error);
}

bool csi_version_good(const struct plugin_info *p, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf all = STRBUF(STRBUF_TEXT);
    array_each (v, &p->versions) {
        struct str s = str_starts(*v, S("v")) ? str_sub(*v, 1, v->n) : *v, major, rest;
        int64_t n;
        (void)str_split(s, '.', &major, &rest);
        if (str_to_i64(major, 0, INT32_MAX, &n) && n == 1)
            return true;
        strbuf_addf(&all, "%s" STR_FMT, all.n ? " " : "", STR_ARG(*v));
    }
    if (!p->versions.n)
        return err_set(err, E_INVALID,
                       "validation failed for CSI Driver " STR_FMT " at endpoint " STR_FMT
                       ". Err: it names no version of CSI",
                       STR_ARG(p->name), STR_ARG(p->endpoint));
    return err_set(err, E_INVALID,
                   "validation failed for CSI Driver " STR_FMT " at endpoint " STR_FMT
                   ". Err: it speaks versions [" STR_FMT "] of CSI, and none is a 1.x",
                   STR_ARG(p->name), STR_ARG(p->endpoint), STR_ARG(strbuf_str(&all)));
}

/* ---- what a driver says of the node and itself */

static bool map_entry_read(struct arena *a, struct str message, struct str *key, struct str *value, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    int more;
    *key = *value = S("");
    while ((more = pb_next(&m, &f, err)) == 1)
        if (f.number == 1 || f.number == 2)
            if (!is_bytes(&f, err) ||
                !text_take(a, f.bytes, "a segment of its topology", TEXT_MOST, f.number == 1 ? key : value, err))
                return false;
    return more == 0;
}

static bool topology_read(struct arena *a, struct str message, struct val *out, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    struct str key, value;
    int more;
    while ((more = pb_next(&m, &f, err)) == 1) {
        if (f.number != 1)
            continue;
        if (!is_bytes(&f, err) || !map_entry_read(a, f.bytes, &key, &value, err))
            return false;
        if (val_len(out) >= CSI_TOPOLOGY_MOST)
            return err_set(err, E_TOO_LARGE, "its topology has more than %d segments", CSI_TOPOLOGY_MOST);
        val_set_str(a, out, key, val_str(a, value));
    }
    return more == 0;
}

bool csi_node_read(struct arena *a, struct str message, struct csi_node *out, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    int more;
    *out = (struct csi_node){.topology = val_map()};
    while ((more = pb_next(&m, &f, err)) == 1) {
        if (f.number == 1 &&
            (!is_bytes(&f, err) || !text_take(a, f.bytes, "its name for the node", TEXT_MOST, &out->id, err)))
            return false;
        if (f.number == 2 && f.wire == PB_VARINT)
            out->volumes_most = (int64_t)f.n;
        if (f.number == 3 && (!is_bytes(&f, err) || !topology_read(a, f.bytes, &out->topology, err)))
            return false;
    }
    if (more == 0 && !out->id.n)
        return err_set(err, E_INVALID, "the driver gives the node no id");
    return more == 0;
}

/* The number in field 1 of a message in field 1. */
static bool rpc_type_read(struct str message, int depth, uint64_t *out, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    int more;
    while ((more = pb_next(&m, &f, err)) == 1) {
        if (f.number != 1)
            continue;
        if (f.wire == PB_VARINT)
            *out = f.n;
        else if (f.wire == PB_BYTES && depth && !rpc_type_read(f.bytes, depth - 1, out, err))
            return false;
    }
    return more == 0;
}

bool csi_can_read(struct str message, unsigned *out, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    int more;
    *out = 0;
    while ((more = pb_next(&m, &f, err)) == 1) {
        uint64_t type = 0;
        if (f.number != 1)
            continue;
        if (!is_bytes(&f, err) || !rpc_type_read(f.bytes, 1, &type, err))
            return false;
        if (type >= 1 && type <= 6)
            *out |= 1u << type;
    }
    return more == 0;
}

/* ---- volumes */

static void map_write(struct strbuf *b, uint32_t number, const struct val *map)
{
    val_each_member (m, map) {
        size_t at = pb_open(b, number);
        pb_add_bytes(b, 1, m->name->s);
        pb_add_bytes(b, 2, val_is(&m->v, VAL_BYTES) ? val_raw(&m->v) : val_text(&m->v));
        pb_close(b, at);
    }
}

static void text_write(struct strbuf *b, uint32_t number, struct str text)
{
    if (text.n)
        pb_add_bytes(b, number, text);
}

unsigned csi_access_mode(const struct val *modes, unsigned can)
{
    struct str mode = val_text(val_item(modes, 0));
    bool multi = can & CSI_CAN_MULTI_WRITER;
    return str_eqz(mode, "ReadOnlyMany")       ? 3             /* MULTI_NODE_READER_ONLY */
           : str_eqz(mode, "ReadWriteMany")    ? 5             /* MULTI_NODE_MULTI_WRITER */
           : str_eqz(mode, "ReadWriteOncePod") ? multi ? 6 : 1 /* SINGLE_NODE_SINGLE_WRITER */
           : multi                             ? 7             /* SINGLE_NODE_MULTI_WRITER */
                                               : 1;                                        /* SINGLE_NODE_WRITER */
}

static void capability_write(struct strbuf *b, uint32_t number, const struct csi_call *c)
{
    size_t at = pb_open(b, number), kind = pb_open(b, c->block ? 1 : 2), mode;
    if (!c->block) {
        text_write(b, 1, c->fs_type);
        val_each_item (o, c->mount_options)
            text_write(b, 2, val_text(o));
        text_write(b, 3, c->mount_group);
    }
    pb_close(b, kind);
    mode = pb_open(b, 3);
    pb_add_uint(b, 1, csi_access_mode(c->access_modes, c->can));
    pb_close(b, mode);
    pb_close(b, at);
}

void csi_stage_write(struct strbuf *b, const struct csi_call *c)
{
    text_write(b, 1, c->handle);
    map_write(b, 2, c->publish_context);
    text_write(b, 3, c->staging);
    capability_write(b, 4, c);
    map_write(b, 5, c->secrets);
    map_write(b, 6, c->volume_context);
}

void csi_unstage_write(struct strbuf *b, const struct csi_call *c)
{
    text_write(b, 1, c->handle);
    text_write(b, 2, c->staging);
}

void csi_publish_write(struct strbuf *b, const struct csi_call *c)
{
    text_write(b, 1, c->handle);
    map_write(b, 2, c->publish_context);
    text_write(b, 3, c->staging);
    text_write(b, 4, c->target);
    capability_write(b, 5, c);
    if (c->read_only)
        pb_add_uint(b, 6, 1);
    map_write(b, 7, c->secrets);
    map_write(b, 8, c->volume_context);
}

void csi_unpublish_write(struct strbuf *b, const struct csi_call *c)
{
    text_write(b, 1, c->handle);
    text_write(b, 2, c->target);
}

void csi_expand_write(struct strbuf *b, const struct csi_call *c)
{
    size_t at;
    text_write(b, 1, c->handle);
    text_write(b, 2, c->target);
    at = pb_open(b, 3);
    pb_add_uint(b, 1, (uint64_t)c->bytes);
    pb_close(b, at);
    text_write(b, 4, c->staging);
    capability_write(b, 5, c);
    map_write(b, 6, c->secrets);
}

bool csi_expanded_read(struct str message, int64_t *bytes, struct err *err)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    int more;
    *bytes = 0;
    while ((more = pb_next(&m, &f, err)) == 1)
        if (f.number == 1 && f.wire == PB_VARINT)
            *bytes = (int64_t)f.n;
    return more == 0;
}

void csi_usage_write(struct strbuf *b, const struct csi_call *c)
{
    text_write(b, 1, c->handle);
    text_write(b, 2, c->target);
    text_write(b, 3, c->staging);
}

static int64_t count_of(uint64_t n)
{
    return n > INT64_MAX ? 0 : (int64_t)n; /* less than nothing is nothing */
}

static bool usage_part_read(struct str message, struct csi_usage *out, struct err *err)
{
    enum { AVAILABLE = 1, TOTAL, USED, UNIT };
    uint64_t n[UNIT + 1] = {0};
    struct pb m = pb_of(message);
    struct pb_field f;
    int more;
    while ((more = pb_next(&m, &f, err)) == 1)
        if (f.number >= AVAILABLE && f.number <= UNIT && f.wire == PB_VARINT)
            n[f.number] = f.n;
    if (n[UNIT] == 1) {
        out->bytes_free = count_of(n[AVAILABLE]);
        out->bytes = count_of(n[TOTAL]);
        out->bytes_used = count_of(n[USED]);
    } else if (n[UNIT] == 2) {
        out->inodes_free = count_of(n[AVAILABLE]);
        out->inodes = count_of(n[TOTAL]);
        out->inodes_used = count_of(n[USED]);
    }
    return more == 0;
}

bool csi_usage_read(struct str message, struct csi_usage *out, struct err *err)
{
    struct pb m = pb_of(message), condition;
    struct pb_field f;
    int more;
    *out = (struct csi_usage){0};
    while ((more = pb_next(&m, &f, err)) == 1) {
        if (f.number != 1 && f.number != 2)
            continue;
        if (!is_bytes(&f, err) || (f.number == 1 && !usage_part_read(f.bytes, out, err)))
            return false;
        if (f.number == 1)
            continue;
        out->condition_known = true;
        out->abnormal = false;
        condition = pb_of(f.bytes);
        struct pb_field inner;
        int left;
        while ((left = pb_next(&condition, &inner, err)) == 1)
            if (inner.number == 1 && inner.wire == PB_VARINT)
                out->abnormal = inner.n != 0;
        if (left)
            return false;
    }
    return more == 0;
}
