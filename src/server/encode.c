#include "server/encode.h"
#include "api/codec.h"
#include "api/columns.h"
#include "base/clock.h"

struct val object_tree(struct arena *a, const struct obj *o)
{
    struct val v = val_map(), meta = val_map();
    val_each_member (m, obj_meta(o))
        val_set(a, &meta, m->name, m->v);
    if (o->rev)
        val_set_text(a, &meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)o->rev));
    val_each_member (m, &o->tree)
        val_set(a, &v, m->name, m->name == N(metadata) ? meta : m->v);
    return v;
}

struct val metadata_of(struct arena *a, const struct obj *o)
{
    struct val v = val_map(), tree = object_tree(a, o);
    val_set_text(a, &v, N(kind), S("PartialObjectMetadata"));
    val_set_text(a, &v, N(apiVersion), S("meta.k8s.io/v1"));
    const struct val *meta = val_get(&tree, N(metadata));
    if (meta)
        val_set(a, &v, N(metadata), *meta);
    return v;
}

struct val table_of(struct arena *a, const struct kind *k, struct obj *const *items, size_t n, enum include include,
                    bool columns)
{
    struct val v = val_map();
    val_set_text(a, &v, N(kind), S("Table"));
    val_set_text(a, &v, N(apiVersion), S("meta.k8s.io/v1"));
    val_set(a, &v, N(metadata), val_map());
    size_t ncolumns;
    const struct column *c = columns_of(k, &ncolumns);
    if (columns) {
        struct val *defs = val_set(a, &v, N(columnDefinitions), val_list());
        for (size_t i = 0; i < ncolumns; i++) {
            struct val *d = val_add(a, defs, val_map());
            val_set_text(a, d, N(name), str_of(c[i].name));
            val_set_text(a, d, N(type), str_of(c[i].type));
            val_set_text(a, d, N(format), str_of(c[i].format));
            val_set_text(a, d, N(description), str_of(c[i].text));
            val_set_num(a, d, N(priority), c[i].priority);
        }
    } else {
        val_set(a, &v, N(columnDefinitions), VAL_NONE);
    }
    struct val *rows = val_set(a, &v, N(rows), val_list());
    int64_t now = clock_real();
    for (size_t i = 0; i < n; i++) {
        struct val *row = val_add(a, rows, val_map()), cells, conditions, whole;
        columns_row(a, k, &items[i]->tree, now, &cells);
        val_set(a, row, N(cells), cells);
        if (columns_conditions(a, k, &items[i]->tree, &conditions))
            val_set(a, row, N(conditions), conditions);
        if (include == INCLUDE_OBJECT)
            whole = object_tree(a, items[i]);
        val_set(a, row, N(object),
                include == INCLUDE_NONE       ? VAL_NONE
                : include == INCLUDE_METADATA ? metadata_of(a, items[i])
                                              : type_complete(a, k->type, &whole));
    }
    return v;
}

void encode_tree(struct strbuf *b, enum media media, const struct type *t, const struct val *v)
{
    switch (media) {
    case MEDIA_JSON:
        if (t)
            type_encode_json(b, t, v);
        else
            json_encode(b, v);
        strbuf_addc(b, '\n');
        return;
    case MEDIA_YAML: {
        /* by way of JSON, so that the type's zero values are there too */
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf json = STRBUF(b->max);
        struct val plain;
        struct err err = ERR;
        encode_tree(&json, MEDIA_JSON, t, v);
        if (json_decode(&a, strbuf_str(&json), &plain, &err))
            yaml_encode(b, &plain);
        return;
    }
    case MEDIA_PROTOBUF: {
        AUTO(strbuf_fini) struct strbuf raw = STRBUF(b->max);
        type_encode_pb(&raw, t, v);
        pb_wrap(b, val_text_at(v, N(apiVersion)), val_text_at(v, N(kind)), strbuf_str(&raw));
        return;
    }
    }
}

void encode_obj(struct strbuf *b, enum media media, struct obj *o)
{
    switch (media) {
    case MEDIA_JSON:
        strbuf_add(b, obj_encoded(o, ENC_JSON));
        strbuf_addc(b, '\n');
        return;
    case MEDIA_PROTOBUF: pb_wrap(b, o->kind->api_version, o->kind->kind, obj_encoded(o, ENC_PROTOBUF)); return;
    case MEDIA_YAML: {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v = object_tree(&a, o);
        encode_tree(b, MEDIA_YAML, o->kind->type, &v);
        return;
    }
    }
}
