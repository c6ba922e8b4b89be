/* schema_prune.c - what a schema does to an object before it is judged: takes out what it does not know, reads
 * metadata as ObjectMeta, sets defaults.
 *
 * Pruning goes down the value and the schema side by side. Where the schema has nothing to say any more (NULL), it
 * says that there is nothing: objects lose all members, but values of other types stay, and so do the elements of
 * lists. Where a schema preserves unknown fields, they stay, whole, and those that it names are pruned by their own
 * schemas. Lists and scalars where an object should be are left to schema_validate. Members are sorted on the way,
 * since that is the order in which they will be written. */
#include "api/schema.h"
#include <stdlib.h>

enum { UNKNOWN_BYTES = 1 << 20 }; /* of paths that are told */

/* Where pruning stands. */
struct prune_at {
    const struct prune_at *up;
    struct str key; /* of a member; p NULL: an element */
    size_t index;
};

struct pruning {
    struct arena *a;
    bool told; /* somebody wants to know */
    size_t bytes;
    ARRAY(struct str) unknown;
    ARRAY(struct str) embedded; /* unknown fields of embedded metadata */
};

static void add_prune_path(struct strbuf *b, const struct prune_at *at)
{
    if (!at)
        return;
    add_prune_path(b, at->up);
    if (at->key.p)
        strbuf_addf(b, "%s" STR_FMT, b->n ? "." : "", STR_ARG(at->key));
    else
        strbuf_addf(b, "[%zu]", at->index);
}

static void prune_tell(struct pruning *p, const struct prune_at *at)
{
    if (!p->told || p->bytes > UNKNOWN_BYTES)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_prune_path(&b, at);
    p->bytes += b.n;
    array_push(&p->unknown, str_dup(p->a, strbuf_str(&b)));
}

static bool is_meta_name(const struct name *name)
{
    return name == N(apiVersion) || name == N(kind) || name == N(metadata);
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct member *)x)->name->s, ((const struct member *)y)->name->s);
}

static void sort_members(struct val *map)
{
    uint32_t i = 1;
    while (i < map->n && by_key(&map->map[i - 1], &map->map[i]) < 0)
        i++;
    if (i >= map->n)
        return;
    qsort(map->map, map->n, sizeof *map->map, by_key);
    val_members_moved(map);
}

/* metadata of an embedded resource; where it cannot be read it is left as it is. */
static void meta_coerce(struct pruning *p, struct val *meta, const struct prune_at *at)
{
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = p->a};
    struct val out;
    struct err ignored = ERR;
    if (meta->type != VAL_MAP || !type_decode_val(p->a, &type_meta_v1_ObjectMeta, meta, &out, &notes, &ignored))
        return;
    *meta = out;
    sort_members(meta);
    if (!p->told)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_prune_path(&b, at);
    array_each (it, &notes.texts) {
        struct str what, quoted;
        if (p->bytes > UNKNOWN_BYTES || !str_split(*it, '"', &what, &quoted))
            continue;
        struct str text = arena_fmt(p->a, STR_FMT "." STR_FMT, STR_ARG(strbuf_str(&b)),
                                    STR_ARG(str_sub(quoted, 0, quoted.n - 1)));
        p->bytes += text.n;
        array_push(&p->embedded, text);
    }
}

/* skip: within a list whose schema preserves unknown fields, its elements are not pruned themselves. */
static void prune_value(struct pruning *p, const struct schema_node *n, struct val *v, const struct prune_at *at,
                        bool resource, bool skip);

static void prune_members(struct pruning *p, const struct schema_node *n, struct val *v, const struct prune_at *at,
                          bool resource, bool keeps)
{
    const struct schema_node *values = schema_values(n);
    bool open = n && n->flags & (SCHEMA_OPEN | SCHEMA_CLOSED);
    uint32_t live = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        struct member *m = &v->map[i];
        struct prune_at here = {.up = at, .key = m->name->s};
        bool given = resource && is_meta_name(m->name);
        const struct field *f = n && !given ? schema_property(n, m->name) : NULL;
        if (f)
            prune_value(p, schema_node(f->type), &m->v, &here, false, false);
        else if (given && m->name == N(metadata) && at)
            meta_coerce(p, &m->v, &here);
        else if (open)
            prune_value(p, values, &m->v, &here, false, false);
        else if (!given && !keeps) {
            prune_tell(p, &here);
            continue;
        }
        if (live != i)
            v->map[live] = v->map[i];
        live++;
    }
    if (live != v->n) {
        v->n = live;
        val_members_moved(v);
    }
    sort_members(v);
}

static void prune_value(struct pruning *p, const struct schema_node *n, struct val *v, const struct prune_at *at,
                        bool resource, bool skip)
{
    bool keeps = skip || (n && n->flags & SCHEMA_PRESERVES);
    if (v->type == VAL_LIST) {
        const struct schema_node *items = schema_items(n);
        struct prune_at here = {.up = at};
        if (keeps && !items)
            return;
        for (; here.index < v->n; here.index++)
            prune_value(p, items, &v->list[here.index], &here, false, keeps);
    } else if (v->type == VAL_MAP && !(skip && !n)) {
        prune_members(p, n, v, at, resource || (n && n->flags & SCHEMA_EMBEDDED), keeps);
    }
}

static int by_str(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void note_unknown(struct decode_notes *notes, struct str path)
{
    if (notes->texts.n < DECODE_MAX_NOTES)
        array_push(&notes->texts, arena_fmt(notes->arena, "unknown field \"" STR_FMT "\"", STR_ARG(path)));
}

/* The metadata of the whole: what is wrong with it is an error. */
static bool meta_read(struct arena *a, struct val *v, struct decode_notes *notes, struct err *err)
{
    struct val *meta = val_get_mut(v, N(metadata)), out;
    AUTO(decode_notes_fini) struct decode_notes own = {.arena = a};
    if (!meta || meta->type == VAL_NULL)
        return true;
    if (!type_decode_val(a, &type_meta_v1_ObjectMeta, meta, &out, &own, err))
        return false;
    *meta = out;
    sort_members(meta);
    array_each (it, &own.texts) {
        struct str what, quoted;
        if (notes && str_split(*it, '"', &what, &quoted))
            note_unknown(notes, arena_fmt(a, "metadata." STR_FMT, STR_ARG(str_sub(quoted, 0, quoted.n - 1))));
    }
    return true;
}

bool schema_prune(struct arena *a, const struct schema_node *root, struct val *v, struct decode_notes *notes,
                  struct err *err)
{
    struct pruning p = {.a = a, .told = notes != NULL};
    if (v->type != VAL_MAP)
        return true;
    bool ok = meta_read(a, v, notes, err);
    if (ok)
        prune_value(&p, root, v, NULL, true, false);
    if (ok && p.unknown.n > 1)
        qsort(p.unknown.p, p.unknown.n, sizeof *p.unknown.p, by_str);
    if (ok && notes) {
        array_each (it, &p.unknown)
            note_unknown(notes, *it);
        array_each (it, &p.embedded)
            note_unknown(notes, *it);
    }
    array_fini(&p.unknown);
    array_fini(&p.embedded);
    return ok;
}

bool schema_knows_all(struct arena *a, const struct schema_node *n, const struct val *v)
{
    struct pruning p = {.a = a, .told = true};
    struct val copy = val_copy(a, v);
    prune_value(&p, n, &copy, NULL, n->flags & SCHEMA_EMBEDDED, false);
    bool all = !p.unknown.n;
    array_fini(&p.unknown);
    array_fini(&p.embedded);
    return all;
}

/* --- defaults --- */

static bool null_forbidden(const struct schema_node *n, const struct val *v)
{
    return v->type == VAL_NULL && n && !(n->flags & SCHEMA_NULLABLE);
}

/* Nulls of members that may not be null and have no default. */
static void drop_nulls(const struct schema_node *n, struct val *v)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->map[i].v.type == VAL_NULL) {
            const struct field *f = schema_property(n, v->map[i].name);
            if (f && null_forbidden(schema_node(f->type), &v->map[i].v))
                continue;
        }
        if (live != i)
            v->map[live] = v->map[i];
        live++;
    }
    if (live != v->n) {
        v->n = live;
        val_members_moved(v);
    }
}

void schema_default(struct arena *a, const struct schema_node *n, struct val *v)
{
    if (!n)
        return;
    if (v->type == VAL_LIST) {
        const struct schema_node *items = schema_items(n);
        for (uint32_t i = 0; items && i < v->n; i++) {
            if (items->dflt && null_forbidden(items, &v->list[i]))
                v->list[i] = val_copy(a, items->dflt);
            schema_default(a, items, &v->list[i]);
        }
        return;
    }
    if (v->type != VAL_MAP)
        return;
    for (uint16_t i = 0; n->flags & SCHEMA_DEFAULTS && i < n->type.nfields; i++) {
        const struct field *f = &n->type.fields[i];
        const struct schema_node *inner = schema_node(f->type);
        if (!inner || !inner->dflt)
            continue;
        struct val *have = val_get_str_mut(v, f->name->s);
        if (!have)
            (void)val_append(a, v, f->name, val_copy(a, inner->dflt));
        else if (null_forbidden(inner, have))
            *have = val_copy(a, inner->dflt);
    }
    drop_nulls(n, v);
    const struct schema_node *values = schema_values(n);
    for (uint32_t i = 0; i < v->n; i++) {
        struct val *m = &v->map[i].v;
        const struct field *f = schema_property(n, v->map[i].name);
        const struct schema_node *inner = f ? schema_node(f->type) : values;
        if (!f && inner && inner->dflt && null_forbidden(inner, m))
            *m = val_copy(a, inner->dflt);
        if (m->type == VAL_LIST || m->type == VAL_MAP)
            schema_default(a, inner, m);
    }
}
