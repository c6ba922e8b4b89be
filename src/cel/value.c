#include "cel/value.h"
#include "api/schema.h"
#include "cel/run.h"
#include "cel/type.h"
#include <math.h>
#include <string.h>

struct arena *cel_arena(struct cel_run *run)
{
    return run->arena;
}

static struct cel_value error_of(struct str text)
{
    return (struct cel_value){.kind = CEL_ERROR, .n = (uint32_t)text.n, .text = text.p};
}

struct cel_value cel_error(struct cel_run *run, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(run->arena, fmt, args);
    va_end(args);
    return error_of(text);
}

struct cel_value cel_some(struct cel_run *run, struct cel_value v)
{
    return (struct cel_value){.kind = CEL_OPTIONAL, .inner = arena_dup(run->arena, &v, sizeof v)};
}

size_t cel_code_points(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* ---- trees ---- */

/* time.Parse of what a format lets through: a date, or RFC 3339. */
static struct cel_value timestamp_of(struct cel_run *run, struct str text, bool date)
{
    int64_t seconds;
    uint32_t nanoseconds;
    struct str whole = date ? arena_fmt(run->arena, STR_FMT "T00:00:00Z", STR_ARG(text)) : text;
    if (!cel_parse_timestamp(whole, &seconds, &nanoseconds))
        return cel_error(run, "Invalid %s formatted string " STR_FMT, date ? "date" : "date-time", STR_ARG(text));
    return cel_timestamp(seconds, nanoseconds);
}

static struct cel_value bytes_of(struct cel_run *run, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(text.n + 4);
    run_work(run, text.n);
    if (!strbuf_add_unbase64(&b, text))
        return cel_error(run, "Invalid byte formatted string " STR_FMT, STR_ARG(text));
    return cel_bytes(str_dup(run->arena, strbuf_str(&b)));
}

/* "3 days", as formats of OpenAPI take durations besides Go's. */
static bool spelled_duration(struct str text, int64_t *out)
{
    static const struct {
        const char *units;
        int64_t nanoseconds;
    } scale[] = {
        {" ns nanosecond nano ", 1},    {" us microsecond micro ", 1000}, {" ms millisecond milli ", 1000000},
        {" s second sec ", 1000000000}, {" m minute min ", 60000000000},  {" h hour hr ", 3600000000000},
        {" d day ", 86400000000000},    {" w week wk ", 604800000000000},
    };
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    int64_t n;
    if (!digits || !str_to_i64(str_sub(text, 0, digits), 0, INT64_MAX, &n))
        return false;
    struct str unit = str_trim(str_sub(text, digits, text.n));
    if (unit.n > 2 && unit.p[unit.n - 1] == 's')
        unit.n--;
    char word[24];
    if (!unit.n || unit.n > sizeof word - 3)
        return false;
    snprintf(word, sizeof word, " " STR_FMT " ", STR_ARG(unit));
    for (size_t i = 0; i < countof(scale); i++)
        if (strstr(scale[i].units, word))
            return !__builtin_mul_overflow(n, scale[i].nanoseconds, out);
    return false;
}

static struct cel_value string_of(struct cel_run *run, const struct val *v, struct str format)
{
    struct str text = val_text(v);
    if (!format.n)
        return cel_string(text);
    if (str_eqz(format, "date-time") || str_eqz(format, "date"))
        return timestamp_of(run, text, format.n == 4);
    if (str_eqz(format, "byte"))
        return bytes_of(run, text);
    if (!str_eqz(format, "duration"))
        return cel_string(text);
    int64_t d;
    if (!cel_parse_duration(text, &d) && !spelled_duration(text, &d))
        return cel_error(run, "Invalid duration " STR_FMT, STR_ARG(text));
    return cel_duration(d);
}

struct cel_value cel_of_val(struct cel_run *run, const struct val *v, const struct schema_node *schema)
{
    if (!v)
        return cel_null();
    switch ((enum val_type)v->type) {
    case VAL_NULL: return cel_null();
    case VAL_BOOL: return cel_bool(v->b);
    case VAL_INT: return schema && schema->what == SCHEMA_NUMBER ? cel_double((double)v->i) : cel_int(v->i);
    case VAL_DOUBLE: return cel_double(v->d);
    case VAL_STRING:
        return schema && schema->what == SCHEMA_STRING ? string_of(run, v, schema->format) : cel_string(val_text(v));
    case VAL_BYTES: return cel_bytes((struct str){v->s, v->n});
    case VAL_LIST: return (struct cel_value){.kind = CEL_LIST, .tree = true, .val = v, .schema = schema};
    case VAL_MAP: return (struct cel_value){.kind = CEL_MAP, .tree = true, .val = v, .schema = schema};
    }
    return cel_null();
}

/* ---- lists ---- */

size_t cel_list_len(struct cel_value list)
{
    return list.tree ? list.val->n : list.list->n;
}

struct cel_value cel_list_at(struct cel_run *run, struct cel_value list, size_t i)
{
    if (!list.tree)
        return list.list->items[i];
    return cel_of_val(run, &list.val->list[i], list.schema ? schema_node(list.schema->type.of) : NULL);
}

struct cel_list *cel_list_new(struct cel_run *run, size_t room)
{
    struct cel_list *list = ARENA_NEW(run->arena, struct cel_list);
    list->items = arena_alloc(run->arena, room * sizeof *list->items);
    list->cap = (uint32_t)room;
    return list;
}

void cel_list_add(struct cel_run *run, struct cel_list *list, struct cel_value v)
{
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 4;
        struct cel_value *items = arena_alloc(run->arena, cap * sizeof *items);
        if (list->n)
            memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = v;
}

const struct schema_node *cel_list_node(struct cel_value list)
{
    const struct schema_node *n = list.schema;
    return n && (n->flags & (SCHEMA_LIST_SET | SCHEMA_LIST_MAP)) ? n : NULL;
}

/* What an item of a set or map list is known by, as a key: itself, or its keys as one text. False: it has none. */
static bool item_identity(struct cel_run *run, const struct schema_node *node, struct cel_value v,
                          struct cel_value *out)
{
    if (!(node->flags & SCHEMA_LIST_MAP)) {
        *out = v;
        return v.kind == CEL_STRING || v.kind == CEL_INT || v.kind == CEL_BOOL;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (const struct name *const *key = node->list_keys; key && *key; key++) {
        struct cel_value x = cel_null();
        if (v.kind == CEL_MAP)
            cel_map_find(run, v, cel_string((*key)->s), &x);
        if (x.kind == CEL_STRING)
            strbuf_addf(&b, "%u:" STR_FMT ",", x.n, STR_ARG(cel_text(x)));
        else if (x.kind == CEL_INT || x.kind == CEL_BOOL)
            strbuf_addf(&b, "%d=%lld,", x.kind, x.kind == CEL_INT ? (long long)x.i : (long long)x.b);
        else
            strbuf_addz(&b, "-,");
    }
    *out = cel_string(str_dup(run->arena, strbuf_str(&b)));
    return node->list_keys != NULL && !b.over;
}

/* Where the items of a list stand, by their identities. NULL: some have none. */
static struct cel_map *items_by_identity(struct cel_run *run, const struct schema_node *node, struct cel_value list)
{
    struct cel_map *map = cel_map_new(run, cel_list_len(list));
    run_work(run, cel_list_len(list) * 8);
    for (size_t i = 0, n = cel_list_len(list); i < n; i++) {
        struct cel_value id;
        if (!item_identity(run, node, cel_list_at(run, list, i), &id))
            return NULL;
        cel_map_add(run, map, id, cel_int((int64_t)i));
    }
    return map;
}

struct cel_value cel_list_join(struct cel_run *run, struct cel_value a, struct cel_value b)
{
    const struct schema_node *node = cel_list_node(a);
    size_t na = cel_list_len(a), nb = cel_list_len(b);
    struct cel_list *list = cel_list_new(run, na + nb);
    run_work(run, (na + nb) * 8);
    for (size_t i = 0; i < na; i++)
        cel_list_add(run, list, cel_list_at(run, a, i));
    struct cel_map *there = node ? items_by_identity(run, node, a) : NULL;
    for (size_t i = 0; i < nb; i++) {
        struct cel_value v = cel_list_at(run, b, i), id, place;
        if (!there || !item_identity(run, node, v, &id))
            cel_list_add(run, list, v);
        else if (cel_map_add(run, there, id, cel_int((int64_t)list->n)))
            cel_list_add(run, list, v);
        else if ((node->flags & SCHEMA_LIST_MAP) && cel_map_find(run, cel_map_of(there), id, &place))
            list->items[place.i] = v;
    }
    struct cel_value joined = cel_list_of(list);
    joined.schema = node;
    return joined;
}

/* ---- maps ---- */

static bool number_key(struct cel_value v, uint64_t *out)
{
    if (v.kind == CEL_DOUBLE) {
        if (v.d != floor(v.d) || v.d < -9223372036854775808.0 || v.d >= 18446744073709551616.0)
            return false;
        *out = v.d < 0 ? (uint64_t)(int64_t)v.d : (uint64_t)v.d;
        return true;
    }
    *out = v.u;
    return v.kind == CEL_INT || v.kind == CEL_UINT;
}

static uint32_t key_hash(struct cel_value key)
{
    uint64_t u;
    if (key.kind == CEL_STRING)
        u = str_hash(cel_text(key));
    else if (key.kind == CEL_BOOL)
        u = key.b;
    else if (!number_key(key, &u))
        u = 0;
    return (uint32_t)((u * 0x9E3779B97F4A7C15u) >> 32);
}

static bool same_key(struct cel_value a, struct cel_value b)
{
    if (a.kind == CEL_STRING || b.kind == CEL_STRING)
        return a.kind == b.kind && str_eq(cel_text(a), cel_text(b));
    if (a.kind == CEL_BOOL || b.kind == CEL_BOOL)
        return a.kind == b.kind && a.b == b.b;
    int order;
    return cel_compare(a, b, &order) && order == 0;
}

enum { MAP_HASH_FROM = 12 };

static void map_hash_all(struct cel_run *run, struct cel_map *map)
{
    map->nslots = 64;
    while (map->nslots < map->cap * 2)
        map->nslots *= 2;
    map->slots = arena_alloc(run->arena, map->nslots * sizeof *map->slots);
    for (uint32_t i = 0; i < map->n; i++) {
        uint32_t at = key_hash(map->pairs[2 * i]) & (map->nslots - 1);
        while (map->slots[at])
            at = (at + 1) & (map->nslots - 1);
        map->slots[at] = i + 1;
    }
}

/* The pair with the key; UINT32_MAX: none. */
static uint32_t map_at(const struct cel_map *map, struct cel_value key)
{
    if (!map->slots) {
        for (uint32_t i = 0; i < map->n; i++)
            if (same_key(map->pairs[2 * i], key))
                return i;
        return UINT32_MAX;
    }
    for (uint32_t at = key_hash(key) & (map->nslots - 1); map->slots[at]; at = (at + 1) & (map->nslots - 1))
        if (same_key(map->pairs[2 * (map->slots[at] - 1)], key))
            return map->slots[at] - 1;
    return UINT32_MAX;
}

struct cel_map *cel_map_new(struct cel_run *run, size_t room)
{
    struct cel_map *map = ARENA_NEW(run->arena, struct cel_map);
    map->pairs = arena_alloc(run->arena, 2 * room * sizeof *map->pairs);
    map->cap = (uint32_t)room;
    return map;
}

bool cel_map_add(struct cel_run *run, struct cel_map *map, struct cel_value key, struct cel_value value)
{
    if (map_at(map, key) != UINT32_MAX)
        return false;
    bool grew = map->n == map->cap;
    if (grew) {
        uint32_t cap = map->cap ? map->cap * 2 : 4;
        struct cel_value *pairs = arena_alloc(run->arena, 2 * cap * sizeof *pairs);
        if (map->n)
            memcpy(pairs, map->pairs, 2 * map->n * sizeof *pairs);
        map->pairs = pairs;
        map->cap = cap;
    }
    map->pairs[2 * map->n] = key;
    map->pairs[2 * map->n + 1] = value;
    map->n++;
    if (map->n >= MAP_HASH_FROM && (grew || !map->slots)) {
        map_hash_all(run, map);
    } else if (map->slots) {
        uint32_t at = key_hash(key) & (map->nslots - 1);
        while (map->slots[at])
            at = (at + 1) & (map->nslots - 1);
        map->slots[at] = map->n;
    }
    return true;
}

/* How a member of a map is read; *known: whether the schema lets it be seen at all. */
static const struct schema_node *member_node(const struct schema_node *map, const struct name *name, bool *known)
{
    *known = true;
    if (!map || map->type.kind == TYPE_ANY)
        return NULL;
    if (map->type.kind == TYPE_MAP)
        return schema_node(map->type.of);
    const struct field *f = map->type.kind == TYPE_STRUCT ? schema_property(map, name) : NULL;
    *known = f != NULL;
    return f ? schema_node(f->type) : NULL;
}

/* Whether expressions see the member: with a schema, what it declares, and of a whole object what every one has. A
 * field that is null is as one that is not there. */
static bool member_seen(const struct schema_node *map, const struct member *m, const struct schema_node **node)
{
    bool known;
    *node = member_node(map, m->name, &known);
    if (m->v.type == VAL_NULL && map && map->type.kind == TYPE_STRUCT)
        return false;
    return known || m->name == N(apiVersion) || m->name == N(kind) || m->name == N(metadata);
}

size_t cel_map_len(struct cel_value map)
{
    if (!map.tree)
        return map.map->n;
    if (!map.schema || map.schema->type.kind != TYPE_STRUCT)
        return map.val->n;
    size_t n = 0;
    const struct schema_node *node;
    val_each_member (m, map.val)
        n += member_seen(map.schema, m, &node);
    return n;
}

bool cel_map_find(struct cel_run *run, struct cel_value map, struct cel_value key, struct cel_value *out)
{
    if (!map.tree) {
        uint32_t i = map_at(map.map, key);
        if (i != UINT32_MAX)
            *out = map.map->later ? map.map->later(run, map.map, i) : map.map->pairs[2 * i + 1];
        return i != UINT32_MAX;
    }
    const struct val *v = key.kind == CEL_STRING ? val_get_str(map.val, cel_text(key)) : NULL;
    if (!v)
        return false;
    const struct schema_node *node;
    const struct member *m = container_of(v, struct member, v);
    if (!member_seen(map.schema, m, &node))
        return false;
    *out = cel_of_val(run, v, node);
    return true;
}

bool cel_map_next(struct cel_run *run, struct cel_value map, size_t *at, struct cel_value *key,
                  struct cel_value *value)
{
    if (!map.tree) {
        if (*at >= map.map->n)
            return false;
        *key = map.map->pairs[2 * *at];
        *value = map.map->later ? map.map->later(run, map.map, (uint32_t)*at) : map.map->pairs[2 * *at + 1];
        ++*at;
        return true;
    }
    for (; *at < map.val->n; ++*at) {
        const struct member *m = &map.val->map[*at];
        const struct schema_node *node;
        if (!member_seen(map.schema, m, &node))
            continue;
        *key = cel_string(m->name->s);
        *value = cel_of_val(run, &m->v, node);
        ++*at;
        return true;
    }
    return false;
}

/* ---- comparing ---- */

static int order_of(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int order_int_double(int64_t i, double d)
{
    if (d < -9223372036854775808.0)
        return 1;
    if (d >= 9223372036854775808.0)
        return -1;
    int64_t whole = (int64_t)d;
    if (i != whole)
        return order_of(i, whole);
    double rest = d - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int order_uint_double(uint64_t u, double d)
{
    if (d < 0)
        return 1;
    if (d >= 18446744073709551616.0)
        return -1;
    uint64_t whole = (uint64_t)d;
    if (u != whole)
        return u < whole ? -1 : 1;
    return d > (double)whole ? -1 : 0;
}

static bool compare_numbers(struct cel_value a, struct cel_value b, int *out)
{
    if ((a.kind == CEL_DOUBLE && isnan(a.d)) || (b.kind == CEL_DOUBLE && isnan(b.d)))
        return false;
    if (a.kind == CEL_INT && b.kind == CEL_INT)
        *out = order_of(a.i, b.i);
    else if (a.kind == CEL_DOUBLE && b.kind == CEL_DOUBLE)
        *out = a.d < b.d ? -1 : a.d > b.d;
    else if (a.kind == CEL_UINT && b.kind == CEL_UINT)
        *out = a.u < b.u ? -1 : a.u > b.u;
    else if (a.kind == CEL_INT && b.kind == CEL_UINT)
        *out = a.i < 0 ? -1 : (uint64_t)a.i < b.u ? -1 : (uint64_t)a.i > b.u;
    else if (a.kind == CEL_INT)
        *out = order_int_double(a.i, b.d);
    else if (a.kind == CEL_UINT && b.kind == CEL_DOUBLE)
        *out = order_uint_double(a.u, b.d);
    else {
        compare_numbers(b, a, out);
        *out = -*out;
    }
    return true;
}

static bool is_number(struct cel_value v)
{
    return v.kind == CEL_INT || v.kind == CEL_UINT || v.kind == CEL_DOUBLE;
}

bool cel_compare(struct cel_value a, struct cel_value b, int *out)
{
    if (is_number(a) && is_number(b))
        return compare_numbers(a, b, out);
    if (a.kind != b.kind)
        return false;
    switch ((enum cel_kind)a.kind) {
    case CEL_BOOL: *out = a.b - b.b; return true;
    case CEL_STRING:
    case CEL_BYTES: {
        size_t n = MIN(a.n, b.n);
        int c = n ? memcmp(a.text, b.text, n) : 0;
        *out = c ? c : order_of(a.n, b.n);
        return true;
    }
    case CEL_DURATION: *out = order_of(a.i, b.i); return true;
    case CEL_TIMESTAMP: *out = a.i == b.i ? order_of(a.n, b.n) : order_of(a.i, b.i); return true;
    case CEL_ERROR:
    case CEL_NULL:
    case CEL_INT:
    case CEL_UINT:
    case CEL_DOUBLE:
    case CEL_LIST:
    case CEL_MAP:
    case CEL_TYPE:
    case CEL_OPTIONAL:
    case CEL_OPAQUE:
    case CEL_KINDS: break;
    }
    return false;
}

/* Lists whose order does not count: each item of one has its like in the other. */
static bool unordered_equal(struct cel_run *run, const struct schema_node *node, struct cel_value a,
                            struct cel_value b)
{
    size_t n = cel_list_len(a);
    struct cel_map *there = n ? items_by_identity(run, node, b) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct cel_value x = cel_list_at(run, a, i), id, place;
        bool found = there && item_identity(run, node, x, &id) && cel_map_find(run, cel_map_of(there), id, &place) &&
                     cel_equal(run, x, cel_list_at(run, b, (size_t)place.i));
        for (size_t k = 0; k < n && !found && !there && run->cost <= run->limit; k++) { /* mostly at the same place */
            run_work(run, 1);
            found = cel_equal(run, x, cel_list_at(run, b, (i + k) % n));
        }
        if (!found)
            return false;
    }
    return true;
}

static bool lists_equal(struct cel_run *run, struct cel_value a, struct cel_value b)
{
    size_t n = cel_list_len(a);
    if (n != cel_list_len(b))
        return false;
    run_work(run, n);
    const struct schema_node *node = cel_list_node(a);
    if (!node)
        node = cel_list_node(b);
    if (node)
        return unordered_equal(run, node, a, b);
    for (size_t i = 0; i < n; i++)
        if (!cel_equal(run, cel_list_at(run, a, i), cel_list_at(run, b, i)))
            return false;
    return true;
}

static bool maps_equal(struct cel_run *run, struct cel_value a, struct cel_value b)
{
    if (cel_map_len(a) != cel_map_len(b))
        return false;
    run_work(run, cel_map_len(a));
    struct cel_value key, x, y;
    for (size_t at = 0; cel_map_next(run, a, &at, &key, &x);)
        if (!cel_map_find(run, b, key, &y) || !cel_equal(run, x, y))
            return false;
    return true;
}

bool cel_equal(struct cel_run *run, struct cel_value a, struct cel_value b)
{
    int order;
    if (a.kind != b.kind)
        return is_number(a) && is_number(b) && compare_numbers(a, b, &order) && order == 0;
    switch ((enum cel_kind)a.kind) {
    case CEL_ERROR: return false;
    case CEL_NULL: return true;
    case CEL_STRING:
    case CEL_BYTES: return str_eq(cel_text(a), cel_text(b));
    case CEL_BOOL:
    case CEL_INT:
    case CEL_UINT:
    case CEL_DOUBLE:
    case CEL_DURATION:
    case CEL_TIMESTAMP: return cel_compare(a, b, &order) && order == 0;
    case CEL_LIST: return lists_equal(run, a, b);
    case CEL_MAP: return maps_equal(run, a, b);
    case CEL_TYPE: return strcmp(a.type->name, b.type->name) == 0;
    case CEL_OPTIONAL: return a.inner && b.inner ? cel_equal(run, *a.inner, *b.inner) : a.inner == b.inner;
    case CEL_OPAQUE: return a.opaque == b.opaque && a.opaque->equal(a.data, b.data);
    case CEL_KINDS: break;
    }
    return false;
}

size_t cel_size(struct cel_value v)
{
    switch ((enum cel_kind)v.kind) {
    case CEL_STRING: return cel_code_points(cel_text(v));
    case CEL_BYTES: return v.n;
    case CEL_LIST: return cel_list_len(v);
    case CEL_MAP: return cel_map_len(v);
    case CEL_OPAQUE: return v.opaque->size ? v.opaque->size(v.data) : 1;
    case CEL_ERROR:
    case CEL_NULL:
    case CEL_BOOL:
    case CEL_INT:
    case CEL_UINT:
    case CEL_DOUBLE:
    case CEL_DURATION:
    case CEL_TIMESTAMP:
    case CEL_TYPE:
    case CEL_OPTIONAL:
    case CEL_KINDS: break;
    }
    return 1;
}

const char *cel_type_name(struct cel_value v)
{
    static const char *const type_names[CEL_KINDS] = {
        [CEL_ERROR] = "error",
        [CEL_NULL] = "null_type",
        [CEL_BOOL] = "bool",
        [CEL_INT] = "int",
        [CEL_UINT] = "uint",
        [CEL_DOUBLE] = "double",
        [CEL_STRING] = "string",
        [CEL_BYTES] = "bytes",
        [CEL_DURATION] = "google.protobuf.Duration",
        [CEL_TIMESTAMP] = "google.protobuf.Timestamp",
        [CEL_LIST] = "list",
        [CEL_MAP] = "map",
        [CEL_TYPE] = "type",
        [CEL_OPTIONAL] = "optional_type",
    };
    return v.kind == CEL_OPAQUE ? v.opaque->name : type_names[v.kind];
}
