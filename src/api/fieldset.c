/* Sets are merged level by level, two sorted lists at a time. Keys and values are compared by what they say, not by
 * their text, as a peer may have written 1 as 1.0; what is written here has one form. */
#include "api/fieldset.h"
#include "api/codec.h"
#include "wire/json.h"

/* --- steps --- */

/* The order of upstream's values: numbers, strings, bools, lists, maps, null. */
static int value_rank(const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_INT:
    case VAL_DOUBLE: return 0;
    case VAL_STRING:
    case VAL_BYTES: return 1;
    case VAL_BOOL: return 2;
    case VAL_LIST: return 3;
    case VAL_MAP: return 4;
    case VAL_NULL: return 5;
    }
    return 5;
}

static double value_number(const struct val *v)
{
    return v->type == VAL_INT ? (double)v->i : v->d;
}

static int value_cmp(const struct val *a, const struct val *b)
{
    int ra = value_rank(a), rb = value_rank(b);
    if (ra != rb)
        return ra < rb ? -1 : 1;
    if (a->type == VAL_INT && b->type == VAL_INT)
        return (a->i > b->i) - (a->i < b->i);
    switch (ra) {
    case 0: return (value_number(a) > value_number(b)) - (value_number(a) < value_number(b));
    case 1: return str_cmp(val_text(a), val_text(b));
    case 2: return (int)a->b - (int)b->b;
    case 3:
        for (uint32_t i = 0; i < a->n && i < b->n; i++) {
            int c = value_cmp(&a->list[i], &b->list[i]);
            if (c)
                return c;
        }
        return (a->n > b->n) - (a->n < b->n);
    case 4:
        for (uint32_t i = 0; i < a->n && i < b->n; i++) {
            int c = str_cmp(a->map[i].name->s, b->map[i].name->s);
            c = c ? c : value_cmp(&a->map[i].v, &b->map[i].v);
            if (c)
                return c;
        }
        return (a->n > b->n) - (a->n < b->n);
    default: return 0;
    }
}

static int json_cmp(const struct step *a, const struct step *b)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    struct val va, vb;
    struct err err = ERR;
    if (!json_decode(&arena, (struct str){a->p, a->n}, &va, &err) ||
        !json_decode(&arena, (struct str){b->p, b->n}, &vb, &err))
        return str_cmp((struct str){a->p, a->n}, (struct str){b->p, b->n});
    return value_cmp(&va, &vb);
}

/* Where two texts differ first (the end of the shorter one counts as a difference), whether that is inside of a
 * string, and where the value begins that it is in. false: there is an escape before it. */
static bool differ_at(const struct step *a, const struct step *b, size_t *at, bool *in_string, size_t *start)
{
    size_t n = MIN(a->n, b->n), i = 0;
    *in_string = false;
    *start = 0;
    for (; i < n && a->p[i] == b->p[i]; i++) {
        char c = a->p[i];
        if (c == '\\')
            return false;
        *in_string ^= c == '"';
        if (!*in_string && (c == ':' || c == ',' || c == '[' || c == '{'))
            *start = i + 1;
    }
    *at = i;
    return !(i < n && (a->p[i] == '\\' || b->p[i] == '\\'));
}

/* The whole number of a text at a place, and what comes after it. */
static bool whole_at(const struct step *s, size_t at, int64_t *out, char *after)
{
    size_t end = at;
    while (end < s->n && s->p[end] != ',' && s->p[end] != ']' && s->p[end] != '}')
        end++;
    *after = end < s->n ? s->p[end] : 0;
    return str_to_i64((struct str){s->p + at, end - at}, INT64_MIN, INT64_MAX, out);
}

/* Strings without escapes and whole numbers are what keys are: these need no reading. */
static int said_cmp(const struct step *a, const struct step *b)
{
    size_t at, start;
    bool in_string;
    int64_t x, y;
    char after_x, after_y;
    if (a->n == b->n && !memcmp(a->p, b->p, a->n))
        return 0;
    if (!differ_at(a, b, &at, &in_string, &start))
        return json_cmp(a, b);
    if (in_string && at < a->n && at < b->n) { /* a string that ends is less than one that goes on */
        if (a->p[at] == '"' || b->p[at] == '"')
            return a->p[at] == '"' ? -1 : 1;
        return (unsigned char)a->p[at] < (unsigned char)b->p[at] ? -1 : 1;
    }
    if (whole_at(a, start, &x, &after_x) && whole_at(b, start, &y, &after_y) && (x != y || after_x != after_y))
        return x != y ? (x < y ? -1 : 1) : after_x == ',' ? 1 : -1; /* the shorter map is less */
    return json_cmp(a, b);
}

int step_cmp(const struct step *a, const struct step *b)
{
    int64_t x, y;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    switch ((enum step_kind)a->kind) {
    case STEP_FIELD: break;
    case STEP_KEY:
    case STEP_VALUE: return said_cmp(a, b);
    case STEP_INDEX:
        if (str_to_i64((struct str){a->p, a->n}, INT64_MIN, INT64_MAX, &x) &&
            str_to_i64((struct str){b->p, b->n}, INT64_MIN, INT64_MAX, &y))
            return (x > y) - (x < y);
        break;
    }
    size_t n = MIN(a->n, b->n);
    int c = a->p == b->p || !n ? 0 : memcmp(a->p, b->p, n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

struct step step_field(struct str name)
{
    return (struct step){.p = name.p, .n = (uint32_t)name.n, .kind = STEP_FIELD};
}

/* A number has one form: 1 for 1.0. */
static void value_write(struct strbuf *b, const struct val *v)
{
    if (v && v->type == VAL_DOUBLE && v->d >= -9e15 && v->d <= 9e15 && (double)(int64_t)v->d == v->d)
        json_add_int(b, (int64_t)v->d);
    else
        json_encode(b, v);
}

static struct step step_of(struct arena *a, enum step_kind kind, const struct strbuf *b)
{
    struct str s = str_dup(a, strbuf_str(b));
    return (struct step){.p = s.p, .n = (uint32_t)s.n, .kind = (uint8_t)kind};
}

struct step step_value(struct arena *a, const struct val *scalar)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    value_write(&b, scalar);
    return step_of(a, STEP_VALUE, &b);
}

struct step step_keys(struct arena *a, const struct str *keys, const struct val *const *values, size_t n)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    strbuf_addc(&b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            strbuf_addc(&b, ',');
        json_add_string(&b, keys[i]);
        strbuf_addc(&b, ':');
        value_write(&b, values[i]);
    }
    strbuf_addc(&b, '}');
    return step_of(a, STEP_KEY, &b);
}

static void value_text(struct strbuf *b, const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_LIST:
        strbuf_addc(b, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i)
                strbuf_addc(b, ',');
            value_text(b, &v->list[i]);
        }
        strbuf_addc(b, ']');
        return;
    case VAL_MAP:
        strbuf_addc(b, '{');
        for (uint32_t i = 0; i < v->n; i++) {
            strbuf_add(b, v->map[i].name->s);
            strbuf_addc(b, '=');
            value_text(b, &v->map[i].v);
            if (i + 1 < v->n)
                strbuf_addc(b, ';');
        }
        strbuf_addc(b, '}');
        return;
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE:
    case VAL_STRING:
    case VAL_BYTES: json_encode(b, v);
    }
}

void step_text(struct strbuf *b, const struct step *s)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = {s->p, s->n};
    struct val v;
    struct err err = ERR;
    switch ((enum step_kind)s->kind) {
    case STEP_FIELD:
        strbuf_addc(b, '.');
        strbuf_add(b, text);
        return;
    case STEP_INDEX: strbuf_addf(b, "[" STR_FMT "]", STR_ARG(text)); return;
    case STEP_VALUE:
        strbuf_addz(b, "[=");
        if (json_decode(&a, text, &v, &err))
            value_text(b, &v);
        strbuf_addc(b, ']');
        return;
    case STEP_KEY:
        strbuf_addc(b, '[');
        if (json_decode(&a, text, &v, &err) && val_is(&v, VAL_MAP))
            for (uint32_t i = 0; i < v.n; i++) {
                strbuf_addf(b, "%s" STR_FMT "=", i ? "," : "", STR_ARG(v.map[i].name->s));
                value_text(b, &v.map[i].v);
            }
        strbuf_addc(b, ']');
        return;
    }
}

/* --- building --- */

struct fieldset_node *fieldset_step(struct arena *a, struct fieldset *s, struct step step)
{
    if (s->n == s->room) {
        uint32_t room = s->room ? s->room * 2 : 4;
        struct fieldset_node *more = arena_alloc(a, room * sizeof *more);
        if (s->n)
            memcpy(more, s->nodes, s->n * sizeof *more);
        s->nodes = more;
        s->room = room;
    }
    s->nodes[s->n] = (struct fieldset_node){.step = step};
    return &s->nodes[s->n++];
}

static int node_cmp(const void *x, const void *y)
{
    return step_cmp(&((const struct fieldset_node *)x)->step, &((const struct fieldset_node *)y)->step);
}

static bool holds_nothing(const struct fieldset_node *n)
{
    return !n->step.member && !n->below.n;
}

void fieldset_done(struct arena *a, struct fieldset *s)
{
    uint32_t n = 0;
    bool sorted = true;
    for (uint32_t i = 0; i < s->n; i++) {
        if (holds_nothing(&s->nodes[i]))
            continue;
        if (n && sorted)
            sorted = step_cmp(&s->nodes[n - 1].step, &s->nodes[i].step) < 0;
        if (n != i)
            s->nodes[n] = s->nodes[i];
        n++;
    }
    s->n = n;
    if (sorted)
        return;
    qsort(s->nodes, n, sizeof *s->nodes, node_cmp);
    n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        struct fieldset_node *last = n ? &s->nodes[n - 1] : NULL;
        if (last && step_cmp(&last->step, &s->nodes[i].step) == 0) {
            last->step.member |= s->nodes[i].step.member;
            last->below = fieldset_union(a, &last->below, &s->nodes[i].below);
        } else {
            s->nodes[n++] = s->nodes[i];
        }
    }
    s->n = n;
}

void fieldset_add_fields(struct arena *a, struct fieldset *s, const char *const *path, size_t n)
{
    struct fieldset one = {0};
    for (size_t i = n; i-- > 0;) {
        struct fieldset up = {0};
        struct fieldset_node *node = fieldset_step(a, &up, step_field(str_of(path[i])));
        node->step.member = i + 1 == n;
        node->below = one;
        one = up;
    }
    *s = fieldset_union(a, s, &one);
}

/* --- FieldsV1 --- */

/* The end of a value that is written as it would be written here: a whole number, or a string of letters that nobody
 * escapes. 0: it is something else. */
static size_t plain_scalar(struct str t, size_t i)
{
    int64_t number;
    size_t end = i;
    if (i >= t.n)
        return 0;
    if (t.p[i] == '"') {
        while (++end < t.n && t.p[end] != '"')
            if (t.p[end] < ' ' || t.p[end] == 127 || strchr("\\<>&", t.p[end]))
                return 0;
        return end < t.n ? end + 1 : 0;
    }
    while (end < t.n && t.p[end] != ',' && t.p[end] != '}')
        end++;
    bool one_form = t.p[i] >= '1' || (t.p[i] == '0' && end == i + 1); /* no sign, no zeros before it */
    return one_form && str_to_i64(str_sub(t, i, end), 0, INT64_MAX, &number) ? end : 0;
}

/* A key as it would be written here. */
static bool plain_key(struct str t)
{
    struct str last = STR_NONE;
    size_t i = 0;
    if (!t.n || t.p[0] != '{')
        return false;
    do {
        size_t from = ++i, colon = from < t.n && t.p[from] == '"' ? plain_scalar(t, from) : 0;
        if (!colon || colon >= t.n || t.p[colon] != ':')
            return false;
        struct str name = str_sub(t, from + 1, colon - 1);
        if (last.p && str_cmp(last, name) >= 0)
            return false;
        last = name;
        i = plain_scalar(t, colon + 1);
    } while (i && i < t.n && t.p[i] == ',');
    return i && i + 1 == t.n && t.p[i] == '}';
}

/* Keys in order of their names, and numbers in one form: as they are written here. `text` stays. */
static bool key_read(struct arena *a, struct str text, enum step_kind kind, struct step *out, struct err *err)
{
    struct val v;
    if (kind == STEP_KEY && plain_key(text)) {
        *out = (struct step){.p = text.p, .n = (uint32_t)text.n, .kind = STEP_KEY};
        return true;
    }
    if (!json_decode(a, text, &v, err))
        return false;
    if (kind == STEP_VALUE) {
        *out = step_value(a, &v);
        return true;
    }
    if (!val_is(&v, VAL_MAP))
        return err_set(err, E_BAD_REQUEST, "a key that is no object");
    uint32_t *order = sorted_members(&v);
    struct str *keys = arena_alloc(a, (v.n + 1) * sizeof *keys);
    const struct val **values = arena_alloc(a, (v.n + 1) * sizeof *values);
    for (uint32_t i = 0; i < v.n; i++) {
        const struct member *m = &v.map[order ? order[i] : i];
        keys[i] = m->name->s;
        values[i] = &m->v;
    }
    mem_free(order);
    *out = step_keys(a, keys, values, v.n);
    return true;
}

/* 1: a step; 0: of a kind that is not known; -1: err. */
static int step_read(struct arena *a, struct str key, struct step *out, struct err *err)
{
    int64_t number;
    if (key.n < 2)
        return err_set(err, E_BAD_REQUEST, "key must be 2 characters long:") ? 1 : -1;
    struct str text = str_sub(key, 2, key.n);
    if (key.p[1] != ':')
        return err_set(err, E_BAD_REQUEST, "missing colon: " STR_FMT, STR_ARG(key)) ? 1 : -1;
    switch (key.p[0]) {
    case 'f': *out = step_field(str_dup(a, text)); return 1;
    case 'v': return key_read(a, text, STEP_VALUE, out, err) ? 1 : -1;
    case 'k': return key_read(a, text, STEP_KEY, out, err) ? 1 : -1;
    case 'i':
        if (!str_to_i64(text, INT64_MIN, INT64_MAX, &number))
            return err_set(err, E_BAD_REQUEST, "an index that is no number: " STR_FMT, STR_ARG(text)) ? 1 : -1;
        text = arena_fmt(a, "%lld", (long long)number);
        *out = (struct step){.p = text.p, .n = (uint32_t)text.n, .kind = STEP_INDEX};
        return 1;
    default: return 0;
    }
}

/* *member: the path that leads here is in the set: it says ".", or has nothing below it. */
static bool level_read(struct arena *a, struct json *j, unsigned depth, struct fieldset *out, bool *member,
                       struct err *err)
{
    *out = (struct fieldset){0};
    if (depth > FIELDSET_DEPTH)
        return err_set(err, E_BAD_REQUEST, "a set of fields that is more than %d levels deep", FIELDSET_DEPTH);
    if (json_type(j) != JSON_OBJECT) {
        (void)json_skip(j);
        return err_set(err, E_BAD_REQUEST, "a set of fields that is no object");
    }
    json_enter(j);
    while (json_more(j)) {
        struct str key = json_key(j, a);
        struct step step;
        if (str_eqz(key, ".")) {
            *member = true;
            (void)json_skip(j);
            continue;
        }
        int known = step_read(a, key, &step, err);
        if (known < 0)
            return false;
        if (!known) {
            (void)json_skip(j);
            continue;
        }
        struct fieldset below;
        if (!level_read(a, j, depth + 1, &below, &step.member, err))
            return false;
        fieldset_step(a, out, step)->below = below;
    }
    fieldset_done(a, out);
    if (!out->n)
        *member = true;
    return true;
}

bool fieldset_read(struct arena *a, struct str json, struct fieldset *out, struct err *err)
{
    struct json j = json_of(json);
    bool whole = false;
    return level_read(a, &j, 0, out, &whole, err);
}

static void level_write(struct strbuf *b, struct strbuf *key, const struct fieldset *s, bool member)
{
    bool first = true;
    strbuf_addc(b, '{');
    if (member && s->n) {
        strbuf_addz(b, "\".\":{}");
        first = false;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        const struct fieldset_node *n = &s->nodes[i];
        if (!first)
            strbuf_addc(b, ',');
        first = false;
        strbuf_reset(key);
        strbuf_addc(key, "fkvi"[n->step.kind]);
        strbuf_addc(key, ':');
        strbuf_add(key, (struct str){n->step.p, n->step.n});
        json_add_string(b, strbuf_str(key));
        strbuf_addc(b, ':');
        level_write(b, key, &n->below, n->step.member);
    }
    strbuf_addc(b, '}');
}

void fieldset_write(struct strbuf *b, const struct fieldset *s)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(UINT32_MAX / 2);
    level_write(b, &key, s, false);
}

/* --- reckoning --- */

const struct fieldset_node *fieldset_find(const struct fieldset *s, const struct step *step)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = step_cmp(&s->nodes[mid].step, step);
        if (c == 0)
            return &s->nodes[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static struct fieldset set_room(struct arena *a, size_t n)
{
    return (struct fieldset){.nodes = n ? arena_alloc(a, n * sizeof(struct fieldset_node)) : NULL,
                             .room = (uint32_t)n};
}

struct fieldset fieldset_union(struct arena *a, const struct fieldset *s, const struct fieldset *t)
{
    if (!s->n || !t->n)
        return s->n ? *s : *t;
    struct fieldset out = set_room(a, (size_t)s->n + t->n);
    for (uint32_t i = 0, j = 0; i < s->n || j < t->n;) {
        int c = i == s->n ? 1 : j == t->n ? -1 : step_cmp(&s->nodes[i].step, &t->nodes[j].step);
        struct fieldset_node *n = &out.nodes[out.n++];
        *n = c <= 0 ? s->nodes[i] : t->nodes[j];
        if (c == 0) {
            n->step.member |= t->nodes[j].step.member;
            n->below = fieldset_union(a, &s->nodes[i].below, &t->nodes[j].below);
        }
        i += c <= 0;
        j += c >= 0;
    }
    return out;
}

struct fieldset fieldset_common(struct arena *a, const struct fieldset *s, const struct fieldset *t)
{
    struct fieldset out = set_room(a, MIN(s->n, t->n));
    for (uint32_t i = 0, j = 0; i < s->n && j < t->n;) {
        int c = step_cmp(&s->nodes[i].step, &t->nodes[j].step);
        if (c == 0) {
            struct fieldset_node n = s->nodes[i];
            n.step.member &= t->nodes[j].step.member;
            n.below = fieldset_common(a, &s->nodes[i].below, &t->nodes[j].below);
            if (!holds_nothing(&n))
                out.nodes[out.n++] = n;
        }
        i += c <= 0;
        j += c >= 0;
    }
    return out;
}

static struct fieldset level_without(struct arena *a, const struct fieldset *s, const struct fieldset *t, bool below)
{
    if (!s->n || !t->n)
        return *s;
    struct fieldset out = set_room(a, s->n);
    for (uint32_t i = 0, j = 0; i < s->n;) {
        int c = j == t->n ? -1 : step_cmp(&s->nodes[i].step, &t->nodes[j].step);
        if (c > 0) {
            j++;
            continue;
        }
        struct fieldset_node n = s->nodes[i++];
        if (c == 0) {
            const struct fieldset_node *m = &t->nodes[j++];
            bool taken = m->step.member;
            n.step.member &= !taken;
            n.below = taken && below ? (struct fieldset){0} : level_without(a, &n.below, &m->below, below);
        }
        if (!holds_nothing(&n))
            out.nodes[out.n++] = n;
    }
    return out;
}

struct fieldset fieldset_without(struct arena *a, const struct fieldset *s, const struct fieldset *t)
{
    return level_without(a, s, t, false);
}

struct fieldset fieldset_without_below(struct arena *a, const struct fieldset *s, const struct fieldset *t)
{
    return level_without(a, s, t, true);
}

struct fieldset fieldset_leaves(struct arena *a, const struct fieldset *s)
{
    struct fieldset out = set_room(a, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        out.nodes[i] = s->nodes[i];
        out.nodes[i].step.member &= !s->nodes[i].below.n;
        out.nodes[i].below = fieldset_leaves(a, &s->nodes[i].below);
    }
    out.n = s->n;
    return out;
}

bool fieldset_equal(const struct fieldset *s, const struct fieldset *t)
{
    if (s->n != t->n)
        return false;
    if (s->nodes == t->nodes)
        return true;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->nodes[i].step.member != t->nodes[i].step.member || step_cmp(&s->nodes[i].step, &t->nodes[i].step) ||
            !fieldset_equal(&s->nodes[i].below, &t->nodes[i].below))
            return false;
    return true;
}

size_t fieldset_size(const struct fieldset *s)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n += s->nodes[i].step.member + fieldset_size(&s->nodes[i].below);
    return n;
}

struct fieldset fieldset_with_fields(struct arena *a, const struct fieldset *s, const struct type *t)
{
    struct fieldset out = set_room(a, s->n);
    bool is_struct = t && t->kind == TYPE_STRUCT;
    for (uint32_t i = 0; i < s->n; i++) {
        struct fieldset_node n = s->nodes[i];
        const struct type *of = t ? t->of : NULL;
        if (n.below.n && n.step.kind == STEP_FIELD && is_struct) {
            AUTO(arena_fini) struct arena tmp = ARENA;
            const struct field *f = type_field(t, name_of(&tmp, (struct str){n.step.p, n.step.n}));
            n.step.member |= f != NULL;
            of = f ? f->type : NULL;
        }
        if (n.below.n)
            n.below = fieldset_with_fields(a, &n.below, of);
        out.nodes[out.n++] = n;
    }
    return out;
}

static void level_each(const struct fieldset *s, struct strbuf *path, void (*fn)(void *, struct str), void *arg)
{
    size_t n = path->n;
    for (uint32_t i = 0; i < s->n; i++) { /* members of a level before what is below them, as upstream has them */
        if (!s->nodes[i].step.member)
            continue;
        step_text(path, &s->nodes[i].step);
        fn(arg, strbuf_str(path));
        path->n = n;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        if (!s->nodes[i].below.n)
            continue;
        step_text(path, &s->nodes[i].step);
        level_each(&s->nodes[i].below, path, fn, arg);
        path->n = n;
    }
    if (path->p)
        path->p[n] = 0;
}

void fieldset_each(const struct fieldset *s, void (*fn)(void *arg, struct str path), void *arg)
{
    AUTO(strbuf_fini) struct strbuf path = STRBUF(UINT32_MAX / 2);
    level_each(s, &path, fn, arg);
}
