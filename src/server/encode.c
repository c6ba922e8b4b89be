#include "server/encode.h"
#include "api/codec.h"
#include "api/columns.h"
#include "base/clock.h"

static struct val tree_numbered(struct arena *a, const struct obj *o, struct val tree)
{
    struct val v = val_map(), meta = val_map();
    val_each_member (m, val_get(&tree, N(metadata)))
        val_set(a, &meta, m->name, m->v);
    if (o->rev)
        val_set_text(a, &meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)o->rev));
    if (o->managed)
        val_set(a, &meta, N(managedFields), managed_val(a, o->managed));
    val_each_member (m, &tree)
        val_set(a, &v, m->name, m->name == N(metadata) ? meta : m->v);
    return v;
}

struct val object_tree(struct arena *a, const struct obj *o)
{
    return tree_numbered(a, o, obj_tree(a, o));
}

struct val metadata_of(struct arena *a, const struct obj *o)
{
    struct val v = val_map(), tree = tree_numbered(a, o, obj_tree_of_meta(a, o));
    val_set_text(a, &v, N(kind), S("PartialObjectMetadata"));
    val_set_text(a, &v, N(apiVersion), S("meta.k8s.io/v1"));
    struct val *meta = val_get_mut(&tree, N(metadata)), *annotations = val_get_mut(meta, N(annotations));
    if (o->kind == K(DaemonSet) && annotations) { /* upstream: a field of the internal object, shown as annotation */
        struct val shown = val_copy(a, annotations);
        val_del_str(&shown, S("deprecated.daemonset.template.generation"));
        if (val_len(&shown))
            val_set(a, meta, N(annotations), shown);
        else
            val_del(meta, N(annotations));
    }
    if (meta)
        val_set(a, &v, N(metadata), *meta);
    return v;
}

struct str meta_version(bool beta)
{
    return beta ? S("meta.k8s.io/v1beta1") : S("meta.k8s.io/v1");
}

void meta_version_set(struct arena *a, struct val *v, bool beta)
{
    if (!beta)
        return;
    val_set_text(a, v, N(apiVersion), meta_version(true));
    struct val *rows = val_get_mut(v, N(rows));
    for (size_t i = 0; i < val_len(rows); i++) {
        struct val *object = val_get_mut(&rows->list[i], N(object));
        if (object && str_eqz(val_text_at(object, N(kind)), "PartialObjectMetadata"))
            val_set_text(a, object, N(apiVersion), meta_version(true));
    }
}

void table_add_row(struct arena *a, const struct kind *k, struct val *table, const struct val *tree,
                   struct val object)
{
    struct val *row = val_add(a, val_get_mut(table, N(rows)), val_map()), cells, conditions;
    columns_row(a, k, tree, clock_real(), &cells);
    val_set(a, row, N(cells), cells);
    if (columns_conditions(a, k, tree, &conditions))
        val_set(a, row, N(conditions), conditions);
    val_set(a, row, N(object), object);
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
    val_set(a, &v, N(rows), val_list());
    for (size_t i = 0; i < n; i++) {
        struct val whole;
        if (include == INCLUDE_OBJECT)
            whole = object_tree(a, items[i]);
        table_add_row(a, k, &v, &items[i]->tree,
                      include == INCLUDE_NONE       ? VAL_NONE
                      : include == INCLUDE_METADATA ? metadata_of(a, items[i])
                                                    : type_complete(a, kind_type(k), &whole));
    }
    return v;
}

struct val table_of_scale(struct arena *a, const struct val *scale, enum include include)
{
    static const char *const columns[][3] = {{"Name", "string", "The object's name."},
                                             {"Desired", "integer", "How many replicas are wanted."},
                                             {"Available", "integer", "How many replicas there are."},
                                             {"Age", "string", "Time since the object was created."}};
    struct val v = val_map(), defs = val_list(), cells = val_list(), rows = val_list(), meta = val_map();
    for (size_t i = 0; i < countof(columns); i++) {
        struct val d = val_map();
        val_set_text(a, &d, N(name), str_of(columns[i][0]));
        val_set_text(a, &d, N(type), str_of(columns[i][1]));
        val_set_text(a, &d, N(format), S(""));
        val_set_text(a, &d, N(description), str_of(columns[i][2]));
        val_set_num(a, &d, N(priority), 0);
        val_add(a, &defs, d);
    }
    int64_t since;
    bool known = time_parse(val_text_at(scale, N(metadata), N(creationTimestamp)), &since);
    val_add(a, &cells, val_str(a, val_text_at(scale, N(metadata), N(name))));
    val_add(a, &cells, val_int(val_num_at(scale, 0, N(spec), N(replicas))));
    val_add(a, &cells, val_int(val_num_at(scale, 0, N(status), N(replicas))));
    val_add(a, &cells, val_str(a, known ? human_duration(a, clock_real() - since) : S("<unknown>")));
    struct val *row = val_add(a, &rows, val_map());
    val_set(a, row, N(cells), cells);
    val_set(a, row, N(object), include == INCLUDE_NONE ? VAL_NONE : val_copy(a, scale));
    val_set_text(a, &meta, N(resourceVersion), val_text_at(scale, N(metadata), N(resourceVersion)));
    val_set_text(a, &v, N(kind), S("Table"));
    val_set_text(a, &v, N(apiVersion), S("meta.k8s.io/v1"));
    val_set(a, &v, N(metadata), meta);
    val_set(a, &v, N(columnDefinitions), defs);
    val_set(a, &v, N(rows), rows);
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
        else
            b->over = true; /* it is our own JSON: one that cannot be read is one that was cut */
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
    case MEDIA_JSON: {
        AUTO(buf_unref) struct buf *json = obj_encoded(o, ENC_JSON);
        strbuf_add(b, buf_str(json));
        strbuf_addc(b, '\n');
        return;
    }
    case MEDIA_PROTOBUF: {
        AUTO(buf_unref) struct buf *pb = obj_encoded(o, ENC_PROTOBUF);
        pb_wrap(b, o->kind->api_version, o->kind->kind, buf_str(pb));
        return;
    }
    case MEDIA_YAML: {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v = object_tree(&a, o);
        encode_tree(b, MEDIA_YAML, kind_type(o->kind), &v);
        return;
    }
    }
}
