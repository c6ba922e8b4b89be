/* patch.c - JSON patch (RFC 6902) with the leniencies of the Go library that upstream uses (evanphx/json-patch),
 * merge patch (RFC 7386), and what their messages need of Go.
 *
 * Both work on a copy of the document, in the request's arena, so a patch that fails half way leaves nothing behind.
 *
 * JSON patch: operations one after the other. A pointer is followed token by token; indexes may be negative and
 * count from the end, `replace` of a missing key adds it, `test` against something absent holds for null, and
 * whatever else fails is one plain error, as upstream's. Bounds, because one small patch can ask for much work: the
 * number of operations, the bytes that `copy` may add (both upstream's), and how many elements and members are moved
 * or looked through, which is ours: inserting at the front of a long list ten thousand times is quadratic.
 *
 * Merge patch: both maps are sorted and merged member by member, so it takes n log n and not the product of their
 * sizes; null deletes.
 *
 * The order of members can be seen in messages and in raw values inside objects: upstream keeps in Go maps what a
 * patch goes through, and those come out sorted, while all else stays as it was written. So maps are marked on the
 * way (VAL_F_TOUCHED) and sorted at the end.
 *
 * Not here: strategic merge (strategic.c) and server-side apply (apply.c).
 */
#include "api/patch.h"
#include "api/tree_int.h"

#define OPERATIONS_MAX 10000
#define COPIED_MAX     3145728 /* bytes that `copy` operations may add, as upstream */
#define DEPTH_MAX      10000
#define MOVED_MAX      (32u << 20) /* elements and members that may change their place: a tenth of a second */

/* One JSON patch being applied. */
struct patching {
    struct arena *a;
    size_t copied; /* bytes */
    size_t moved;  /* elements, and members that were looked through */
};

static int by_member(const void *x, const void *y)
{
    return str_cmp(((const struct member *)x)->name->s, ((const struct member *)y)->name->s);
}

static void sort_members(struct val *v)
{
    if (!val_is(v, VAL_MAP) || v->n < 2)
        return;
    qsort(v->map, v->n, sizeof *v->map, by_member);
    val_members_moved(v);
}

static void sort_deep(struct val *v)
{
    sort_members(v);
    for (uint32_t i = 0; val_is(v, VAL_MAP) && i < v->n; i++)
        sort_deep(&v->map[i].v);
    for (uint32_t i = 0; val_is(v, VAL_LIST) && i < v->n; i++)
        sort_deep(&v->list[i]);
}

/* Upstream keeps what a patch goes through in maps, which come out sorted, and leaves the rest as it was written: so
 * do messages that show the result, and raw values inside objects. Maps are marked on the way and sorted at the end.
 */

static void sort_touched(struct val *v)
{
    if (v->flags & VAL_F_TOUCHED)
        sort_members(v);
    v->flags &= (uint8_t)~VAL_F_TOUCHED;
    for (uint32_t i = 0; val_is(v, VAL_MAP) && i < v->n; i++)
        sort_touched(&v->map[i].v);
    for (uint32_t i = 0; val_is(v, VAL_LIST) && i < v->n; i++)
        sort_touched(&v->list[i]);
}

/* How deep and how large a value is. */
static size_t val_weight(const struct val *v)
{
    size_t n = 16;
    if (!v)
        return 0;
    if (v->type == VAL_STRING || v->type == VAL_BYTES)
        n += v->n;
    val_each_item (item, v)
        n += val_weight(item);
    val_each_member (m, v)
        n += m->name->s.n + val_weight(&m->v);
    return n;
}

static struct str token_unescape(struct arena *a, struct str token)
{
    if (str_find_char(token, '~') < 0)
        return token;
    char *p = arena_alloc(a, token.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        if (c == '~' && i + 1 < token.n && (token.p[i + 1] == '0' || token.p[i + 1] == '1'))
            c = token.p[++i] == '0' ? '~' : '/';
        p[n++] = c;
    }
    return (struct str){p, n};
}

/* -1: no index. Negative ones count from the end, of `room` places. */
static int64_t index_of(struct str token, int64_t room)
{
    int64_t i;
    if (!str_to_i64(token, -room, room - 1, &i))
        return -1;
    return i < 0 ? i + room : i;
}

static struct val *child_of(struct val *at, struct str token)
{
    if (val_is(at, VAL_MAP))
        return val_get_str_mut(at, token);
    if (val_is(at, VAL_LIST)) {
        int64_t i = index_of(token, at->n);
        return i < 0 ? NULL : &at->list[i];
    }
    return NULL;
}

/* The container that the pointer's last token is in. False: there is none. */
static bool pointer_find(struct patching *p, struct val *doc, struct str pointer, struct val **in, struct str *last)
{
    struct str token, rest = pointer;
    if (rest.n == 0 || rest.p[0] != '/')
        return false;
    rest = str_sub(rest, 1, rest.n);
    *in = doc;
    while (str_cut(&rest, '/', &token)) {
        token = token_unescape(p->a, token);
        if (val_is(*in, VAL_MAP)) {
            (*in)->flags |= VAL_F_TOUCHED;
            p->moved += (*in)->n / 2; /* it is looked through, which is quicker than to shift */
        }
        if (!rest.p) {
            *last = token;
            return val_is(*in, VAL_MAP) || val_is(*in, VAL_LIST);
        }
        *in = child_of(*in, token);
        if (!*in)
            return false;
    }
    return false;
}

static const struct val *pointer_lookup(struct patching *p, struct val *doc, struct str pointer)
{
    struct val *in;
    struct str last;
    if (pointer.n == 0)
        return doc;
    return pointer_find(p, doc, pointer, &in, &last) ? child_of(in, last) : NULL;
}

static bool op_remove(struct patching *p, struct val *doc, struct str path)
{
    struct val *in;
    struct str last;
    if (!pointer_find(p, doc, path, &in, &last) || !child_of(in, last))
        return false;
    p->moved += in->n;
    if (val_is(in, VAL_MAP))
        return val_del_str(in, last);
    val_del_item(in, (size_t)index_of(last, in->n));
    return true;
}

static bool item_add(struct patching *p, struct val *in, struct str last, struct val value)
{
    int64_t at = str_eq(last, S("-")) ? (int64_t)in->n : index_of(last, (int64_t)in->n + 1);
    if (at < 0)
        return false;
    val_add(p->a, in, value);
    p->moved += in->n - 1 - (size_t)at;
    memmove(in->list + at + 1, in->list + at, (in->n - 1 - (size_t)at) * sizeof *in->list);
    in->list[at] = value;
    return true;
}

/* add and replace: they differ in lists alone. That a replace adds a key that is missing is an accident that clients
 * rely on by now. */
static bool op_put(struct patching *p, struct val *doc, struct str path, struct val value, bool replace)
{
    struct val *in, *old;
    struct str last;
    if (path.n == 0) {
        *doc = value;
        return true;
    }
    if (!pointer_find(p, doc, path, &in, &last))
        return false;
    if (val_is(in, VAL_MAP)) {
        val_set_str(p->a, in, last, value);
        return true;
    }
    if (!replace)
        return item_add(p, in, last, value);
    old = child_of(in, last);
    if (old)
        *old = value;
    return old != NULL;
}

static bool operation_apply(struct patching *p, struct val *doc, const struct val *operation)
{
    struct arena *a = p->a;
    struct str op = val_text(val_get_str(operation, S("op"))), path = val_text(val_get(operation, N(path)));
    struct str from = val_text(val_get(operation, N(from)));
    const struct val *given = val_get(operation, N(value)), *found;
    struct val value = given ? val_copy(a, given) : VAL_NONE;
    if (!val_is(val_get(operation, N(path)), VAL_STRING))
        return false;
    if (str_eq(op, S("add")))
        return op_put(p, doc, path, value, false);
    if (str_eq(op, S("remove")))
        return op_remove(p, doc, path);
    if (str_eq(op, S("replace")))
        return op_put(p, doc, path, value, true);
    if (str_eq(op, S("test"))) {
        found = pointer_lookup(p, doc, path);
        return found ? val_equal(found, &value) : value.type == VAL_NULL;
    }
    if (!val_is(val_get(operation, N(from)), VAL_STRING) || !(found = pointer_lookup(p, doc, from)))
        return false;
    if (str_eq(op, S("move"))) {
        struct val moved = *found;
        return op_remove(p, doc, from) && op_put(p, doc, path, moved, false);
    }
    if (str_eq(op, S("copy"))) {
        p->copied += val_weight(found);
        return p->copied <= COPIED_MAX && op_put(p, doc, path, val_copy(a, found), false);
    }
    return false;
}

bool patch_json(struct arena *a, const struct val *doc, const struct val *patch, struct val *out, struct err *err)
{
    if (!val_is(patch, VAL_LIST))
        return err_set(err, E_BAD_REQUEST,
                       "error decoding patch: json: cannot unmarshal %s into Go value of type []handlers.jsonPatchOp",
                       val_json_name(patch));
    if (val_len(patch) > OPERATIONS_MAX)
        return err_set(err, E_TOO_LARGE, "The allowed maximum operations in a JSON patch is %d, got %zu",
                       OPERATIONS_MAX, val_len(patch));
    struct val result = val_copy(a, doc);
    struct patching p = {.a = a};
    val_each_item (operation, patch) {
        if (!operation_apply(&p, &result, operation))
            return err_set(err, E_INVALID, "the server rejected our request due to an error in our request");
        if (p.moved > MOVED_MAX)
            return err_set(
                err, E_TOO_LARGE,
                "the JSON patch goes through long lists and maps too often (%u steps); say them as a whole",
                MOVED_MAX);
    }
    sort_touched(&result);
    *out = result;
    return true;
}

/* The sorted members of a map, as an array of its own. */
static struct member *in_order(struct arena *a, const struct val *map)
{
    struct member *out = arena_alloc(a, (val_len(map) + 1) * sizeof *out);
    if (val_len(map) > 0)
        memcpy(out, map->map, map->n * sizeof *out);
    qsort(out, val_len(map), sizeof *out, by_member);
    return out;
}

/* `doc` and `patch` are the caller's own: the result is made of them. Two sorted maps are merged member by member. */
static struct val val_merged(struct arena *a, const struct val *doc, const struct val *patch)
{
    if (!val_is(patch, VAL_MAP)) {
        struct val value = *patch;
        if (!val_is(doc, VAL_MAP))
            sort_deep(&value);
        return value;
    }
    struct val result = val_map();
    size_t nd = val_is(doc, VAL_MAP) ? doc->n : 0, np = patch->n, i = 0, j = 0;
    const struct member *d = in_order(a, nd ? doc : NULL), *p = in_order(a, patch);
    while (i < nd || j < np) {
        int order = i == nd ? 1 : j == np ? -1 : by_member(&d[i], &p[j]);
        if (order < 0)
            val_append(a, &result, d[i].name, d[i].v);
        else if (p[j].v.type != VAL_NULL)
            val_append(a, &result, p[j].name, val_merged(a, order ? NULL : &d[i].v, &p[j].v));
        i += order <= 0;
        j += order >= 0;
    }
    return result;
}

static bool too_deep(const struct val *v, int left)
{
    if (left == 0)
        return true;
    val_each_item (item, v)
        if (too_deep(item, left - 1))
            return true;
    val_each_member (m, v)
        if (too_deep(&m->v, left - 1))
            return true;
    return false;
}

bool patch_merge(struct arena *a, const struct val *doc, const struct val *patch, struct val *out, struct err *err)
{
    if (too_deep(patch, DEPTH_MAX))
        return err_set(err, E_BAD_REQUEST, "a merge patch may be %d levels deep", DEPTH_MAX);
    struct val mine = val_copy(a, doc), theirs = val_copy(a, patch);
    *out = val_merged(a, &mine, &theirs);
    return true;
}

const char *val_json_name(const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_MAP: return "object";
    case VAL_LIST: return "array";
    case VAL_STRING:
    case VAL_BYTES: return "string";
    case VAL_INT:
    case VAL_DOUBLE: return "number";
    case VAL_BOOL: return "bool";
    case VAL_NULL: break;
    }
    return "null";
}

static const char *go_kind(const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_MAP: return "map";
    case VAL_LIST: return "slice";
    case VAL_INT: return "int64";
    case VAL_DOUBLE: return "float64";
    case VAL_BOOL: return "bool";
    case VAL_STRING:
    case VAL_BYTES:
    case VAL_NULL: break;
    }
    return "string";
}

static bool restore_scalar(const struct type *t, const struct val *v, bool fits, struct strbuf *out)
{
    if (fits)
        return false;
    strbuf_addf(out, "cannot convert %s to ", go_kind(v));
    type_go_name(t, out);
    return true;
}

bool patch_restore_error(const struct type *t, const struct val *v, struct strbuf *out)
{
    if (!v || v->type == VAL_NULL)
        return false;
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT:
        if (v->type != VAL_MAP)
            return strbuf_addf(out, "cannot restore struct from: %s", go_kind(v)), true;
        type_fields_each (f, t) {
            if (patch_restore_error(f->type, f->flags & FIELD_INLINE ? v : val_get(v, f->name), out))
                return true;
        }
        return false;
    case TYPE_LIST:
        if (v->type != VAL_LIST)
            return strbuf_addf(out, "cannot restore slice from %s", go_kind(v)), true;
        val_each_item (item, v)
            if (patch_restore_error(t->of, item, out))
                return true;
        return false;
    case TYPE_MAP:
        if (v->type != VAL_MAP)
            return strbuf_addf(out, "cannot restore map from %s", go_kind(v)), true;
        val_each_member (m, v)
            if (patch_restore_error(t->of, &m->v, out))
                return true;
        return false;
    case TYPE_STRING: return restore_scalar(t, v, v->type == VAL_STRING, out);
    case TYPE_BOOL: return restore_scalar(t, v, v->type == VAL_BOOL, out);
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE: return restore_scalar(t, v, v->type == VAL_INT || v->type == VAL_DOUBLE, out);
    case TYPE_BYTES: /* from here on the value's own parser speaks */
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: break;
    }
    return false;
}

struct val diff_merge(struct arena *a, const struct val *from, const struct val *to)
{
    if (!val_is(from, VAL_MAP) || !val_is(to, VAL_MAP))
        return val_copy(a, to);
    struct val patch = val_map();
    val_each_member (m, to) {
        const struct val *was = val_get(from, m->name);
        if (val_is(was, VAL_MAP) && val_is(&m->v, VAL_MAP)) {
            struct val below = diff_merge(a, was, &m->v);
            if (below.n > 0)
                val_set(a, &patch, m->name, below);
        } else if (!was || !val_equal(was, &m->v)) {
            val_set(a, &patch, m->name, val_copy(a, &m->v));
        }
    }
    val_each_member (m, from)
        if (!val_get(to, m->name))
            val_set(a, &patch, m->name, VAL_NONE);
    return patch;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp((*(const struct member *const *)x)->name->s, (*(const struct member *const *)y)->name->s);
}

void val_go_text(struct strbuf *b, const struct val *v)
{
    if (!v || v->type == VAL_NULL)
        return strbuf_addz(b, "<nil>");
    switch ((enum val_type)v->type) {
    case VAL_NULL: break;
    case VAL_BOOL: return strbuf_addz(b, v->b ? "true" : "false");
    case VAL_INT: return strbuf_addf(b, "%lld", (long long)v->i);
    case VAL_DOUBLE: return strbuf_addf(b, "%g", v->d);
    case VAL_STRING:
    case VAL_BYTES: return strbuf_add(b, (struct str){v->s, v->n});
    case VAL_LIST:
        strbuf_addc(b, '[');
        val_each_item (item, v) {
            if (item != v->list)
                strbuf_addc(b, ' ');
            val_go_text(b, item);
        }
        return strbuf_addc(b, ']');
    case VAL_MAP: {
        struct arena a = ARENA;
        const struct member **sorted = arena_alloc(&a, (v->n + 1) * sizeof *sorted);
        for (uint32_t i = 0; i < v->n; i++)
            sorted[i] = &v->map[i];
        qsort(sorted, v->n, sizeof *sorted, by_name);
        strbuf_addz(b, "map[");
        for (uint32_t i = 0; i < v->n; i++) {
            strbuf_addf(b, "%s" STR_FMT ":", i ? " " : "", STR_ARG(sorted[i]->name->s));
            val_go_text(b, &sorted[i]->v);
        }
        strbuf_addc(b, ']');
        arena_fini(&a);
        return;
    }
    }
}
