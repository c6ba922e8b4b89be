/* One walk for each question, all alike: what is at a place (place_how), then its members or elements. The order of
 * elements that are merged, what becomes of elements that are there twice, and where empty and null count as a value
 * are upstream's, as clients see them. */
#include "api/apply.h"
#include "api/codec_int.h"
#include "api/patch.h"
#include "api/schema.h"
#include "wire/json.h"
#include <stdlib.h>

/* A place in a type: what is there, and as which field of a struct (NULL: an element or a map's value). */
struct apply_place {
    const struct type *t; /* NULL: any */
    const struct field *f;
};
enum how { HOW_LEAF, HOW_STRUCT, HOW_MAP, HOW_LIST };

#define APPLY_DEPTH 400 /* levels that are owned one by one; what is deeper is one value */

static struct apply_place place_of_field(const struct field *f)
{
    return (struct apply_place){f->type, f};
}

static struct apply_place place_of(const struct type *t)
{
    return (struct apply_place){t, NULL};
}

static unsigned place_flags(struct apply_place p)
{
    return p.f ? p.f->flags : 0;
}

/* What a value of any type is taken for. */
static enum how any_how(const struct val *v)
{
    return val_is(v, VAL_MAP) ? HOW_MAP : HOW_LEAF;
}

static enum how place_how(struct apply_place p, const struct val *v, unsigned depth)
{
    unsigned flags = place_flags(p);
    bool atomic = flags & FIELD_ATOMIC || (p.t && p.t->atomic && !(flags & FIELD_GRANULAR));
    if (depth > APPLY_DEPTH || atomic)
        return HOW_LEAF;
    if (!p.t)
        return any_how(v);
    switch ((enum type_kind)p.t->kind) {
    case TYPE_STRUCT: return HOW_STRUCT;
    case TYPE_MAP: return HOW_MAP;
    case TYPE_LIST: return flags & (FIELD_LIST_SET | FIELD_LIST_MAP) ? HOW_LIST : HOW_LEAF;
    case TYPE_ANY: return any_how(v);
    case TYPE_STRING:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE:
    case TYPE_BYTES:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return HOW_LEAF;
    }
    return HOW_LEAF;
}

/* The place of a member of a map or struct. *declared: it is a field of a struct. */
static struct apply_place place_member(struct apply_place p, const struct name *name, bool *declared)
{
    const struct field *f = !p.t || p.t->kind != TYPE_STRUCT ? NULL
                            : p.t->loose                     ? schema_property(schema_node(p.t), name)
                                                             : type_field(p.t, name);
    *declared = f != NULL;
    if (f)
        return place_of_field(f);
    return place_of(p.t && p.t->kind == TYPE_MAP ? p.t->of : NULL);
}

static bool keeps_unknown(const struct type *t)
{
    return !t || t->kind != TYPE_STRUCT || t->keeps;
}

/* --- elements of lists --- */

enum { KEYS_MOST = 16 };

/* What stands for a key that an element leaves out; false: nothing does. */
static bool key_default(struct arena *a, const struct type *element, const struct name *key, struct val *out)
{
    struct err err = ERR;
    const struct field *f = element ? type_field(element, key) : NULL;
    if (!f)
        return false;
    if (f->x->dflt)
        return json_decode(a, str_of(f->x->dflt), out, &err) && !val_is(out, VAL_NULL);
    if (f->flags & (FIELD_OMITEMPTY | FIELD_OMITZERO | FIELD_POINTER))
        return false;
    *out = type_zero(f->type);
    return true;
}

static int key_cmp(const void *x, const void *y)
{
    return str_cmp((*(const struct name *const *)x)->s, (*(const struct name *const *)y)->s);
}

/* The step to an element of a set or a map by keys; NULL, or why there is none. */
static const char *element_step(struct arena *a, struct apply_place p, const struct val *v, struct step *out)
{
    if (!(place_flags(p) & FIELD_LIST_MAP)) {
        if (val_is(v, VAL_MAP))
            return "associative list without keys has an element that's a map type";
        if (val_is(v, VAL_LIST))
            return "not supported: associative list with lists as elements";
        if (val_is(v, VAL_NULL))
            return "associative list without keys has an element that's an explicit null";
        *out = step_value(a, v);
        return NULL;
    }
    if (val_is(v, VAL_NULL))
        return "associative list with keys may not have a null element";
    if (!val_is(v, VAL_MAP))
        return "associative list with keys may not have non-map elements";
    const struct name *sorted[KEYS_MOST];
    struct str keys[KEYS_MOST];
    const struct val *values[KEYS_MOST];
    size_t n = 0, have = 0;
    for (const struct name *const *k = p.f->x->list_keys; k && *k && n < KEYS_MOST; k++)
        sorted[n++] = *k;
    if (n > 1)
        qsort(sorted, n, sizeof *sorted, key_cmp);
    for (size_t i = 0; i < n; i++) {
        const struct val *value = val_get(v, sorted[i]);
        if (!value) {
            struct val *dflt = ARENA_NEW(a, struct val);
            if (!key_default(a, p.t->of, sorted[i], dflt))
                continue;
            value = dflt;
        }
        keys[have] = sorted[i]->s;
        values[have++] = value;
    }
    if (!have) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        for (const struct name *const *k = p.f->x->list_keys; k && *k; k++)
            strbuf_addf(&b, "%s\"" STR_FMT "\"", b.n ? " " : "", STR_ARG((*k)->s));
        return arena_fmt(a,
                         "associative list with keys has an element that omits all key fields [" STR_FMT
                         "] (and doesn't have default values for any key fields)",
                         STR_ARG(strbuf_str(&b)))
            .p;
    }
    *out = step_keys(a, keys, values, have);
    return NULL;
}

/* The elements of a list by their steps; what has none is left out. */
struct element {
    struct step step;
    uint32_t at;          /* in the list */
    uint32_t times;       /* with this step, in the list */
    struct element *twin; /* the next one with this step */
    bool taken;
};
struct elements {
    struct element *in_order; /* as the list has them */
    struct element **sorted;  /* one for each step, the first */
    uint32_t n, nsorted;
};

static int element_cmp(const void *x, const void *y)
{
    const struct element *a = *(struct element *const *)x, *b = *(struct element *const *)y;
    int c = step_cmp(&a->step, &b->step);
    return c ? c : (a->at > b->at) - (a->at < b->at);
}

static struct elements elements_of(struct arena *a, struct apply_place p, const struct val *list)
{
    struct elements out = {0};
    size_t len = val_is(list, VAL_LIST) ? list->n : 0;
    out.in_order = arena_alloc(a, (len + 1) * sizeof *out.in_order);
    out.sorted = arena_alloc(a, (len + 1) * sizeof *out.sorted);
    for (uint32_t i = 0; i < len; i++) {
        struct element *e = &out.in_order[out.n];
        if (element_step(a, p, &list->list[i], &e->step))
            continue;
        e->at = i;
        out.sorted[out.n++] = e;
    }
    bool sorted = true;
    for (uint32_t i = 1; i < out.n && sorted; i++)
        sorted = step_cmp(&out.sorted[i - 1]->step, &out.sorted[i]->step) < 0;
    if (!sorted)
        qsort(out.sorted, out.n, sizeof *out.sorted, element_cmp);
    struct element *last = NULL;
    for (uint32_t i = 0; i < out.n; i++) {
        struct element *e = out.sorted[i], *first = out.nsorted ? out.sorted[out.nsorted - 1] : NULL;
        if (first && step_cmp(&first->step, &e->step) == 0)
            last->twin = e;
        else
            first = out.sorted[out.nsorted++] = e;
        first->times++;
        last = e;
    }
    return out;
}

static struct element *element_find(const struct elements *in, const struct step *step)
{
    uint32_t lo = 0, hi = in->nsorted;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = step_cmp(&in->sorted[mid]->step, step);
        if (c == 0)
            return in->sorted[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* --- whether a configuration fits --- */

struct checking {
    struct arena *a;
    struct strbuf path;
    struct strbuf text; /* "\n  .spec: ..." for each */
    size_t n;
};
enum { CHECK_MOST = 50 };

static void config_wrong(struct checking *c, const char *fmt, ...) PRINTF(2, 3);
static void config_wrong(struct checking *c, const char *fmt, ...)
{
    if (c->n++ >= CHECK_MOST)
        return;
    va_list args;
    va_start(args, fmt);
    strbuf_addz(&c->text, "\n  ");
    strbuf_add(&c->text, strbuf_str(&c->path));
    if (c->path.n)
        strbuf_addz(&c->text, ": ");
    strbuf_addvf(&c->text, fmt, args);
    va_end(args);
}

/* As Go shows an interface{} with %#v. */
static void go_syntax(struct strbuf *b, const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_NULL: strbuf_addz(b, "interface {}(nil)"); return;
    case VAL_LIST:
        strbuf_addz(b, "[]interface {}{");
        for (uint32_t i = 0; i < v->n; i++) {
            strbuf_addz(b, i ? ", " : "");
            go_syntax(b, &v->list[i]);
        }
        strbuf_addc(b, '}');
        return;
    case VAL_MAP: {
        AUTO_FREE uint32_t *order = sorted_members(v);
        strbuf_addz(b, "map[string]interface {}{");
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[order ? order[i] : i];
            strbuf_addz(b, i ? ", " : "");
            json_add_string(b, m->name->s);
            strbuf_addc(b, ':');
            go_syntax(b, &m->v);
        }
        strbuf_addc(b, '}');
        return;
    }
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE:
    case VAL_STRING:
    case VAL_BYTES: json_encode(b, v); return;
    }
}

static const char *go_type(const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_NULL: return "<nil>";
    case VAL_BOOL: return "bool";
    case VAL_INT: return "int64";
    case VAL_DOUBLE: return "float64";
    case VAL_STRING:
    case VAL_BYTES: return "string";
    case VAL_LIST: return "[]interface {}";
    case VAL_MAP: return "map[string]interface {}";
    }
    return "<nil>";
}

static void wrong_kind(struct checking *c, const char *wanted, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_go_text(&b, v);
    config_wrong(c, "expected %s, got &{" STR_FMT "}", wanted, STR_ARG(strbuf_str(&b)));
}

static void check_scalar(struct checking *c, const struct type *t, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    switch ((enum type_kind)t->kind) {
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_DURATION:
        if (v->type == VAL_STRING || v->type == VAL_BYTES)
            return;
        go_syntax(&b, v);
        config_wrong(c, "expected string, got &value.valueUnstructured{Value:" STR_FMT "}", STR_ARG(strbuf_str(&b)));
        return;
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE:
        if (v->type != VAL_INT && v->type != VAL_DOUBLE)
            config_wrong(c, "expected numeric (int or float), got %s", go_type(v));
        return;
    case TYPE_BOOL:
        if (v->type != VAL_BOOL)
            wrong_kind(c, "boolean", v);
        return;
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
        if (v->type == VAL_LIST || v->type == VAL_MAP)
            wrong_kind(c, "any scalar", v);
        return;
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS:
    case TYPE_STRUCT:
    case TYPE_LIST:
    case TYPE_MAP: return;
    }
}

static void check_at(struct checking *c, struct apply_place p, const struct val *v, unsigned depth);

static void check_step(struct checking *c, const struct step *step, struct apply_place p, const struct val *v,
                       unsigned depth)
{
    size_t n = c->path.n;
    step_text(&c->path, step);
    check_at(c, p, v, depth + 1);
    c->path.n = n;
}

static void check_list(struct checking *c, struct apply_place p, const struct val *v, unsigned depth)
{
    bool keyed = place_flags(p) & (FIELD_LIST_SET | FIELD_LIST_MAP);
    struct elements all = keyed ? elements_of(c->a, p, v) : (struct elements){0};
    for (uint32_t i = 0; i < v->n; i++) {
        struct step step;
        if (!keyed) {
            struct str at = arena_fmt(c->a, "%u", i);
            step = (struct step){.p = at.p, .n = (uint32_t)at.n, .kind = STEP_INDEX};
        } else {
            const char *why = element_step(c->a, p, &v->list[i], &step);
            if (why) {
                config_wrong(c, "element %u: %s", i, why);
                return;
            }
            struct element *first = element_find(&all, &step);
            if (first && first->taken) {
                AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
                step_text(&b, &step);
                config_wrong(c, "duplicate entries for key " STR_FMT, STR_ARG(strbuf_str(&b)));
            }
            if (first)
                first->taken = true;
        }
        check_step(c, &step, place_of(p.t->of), &v->list[i], depth);
    }
}

static void check_members(struct checking *c, struct apply_place p, const struct val *v, unsigned depth)
{
    val_each_member (m, v) {
        bool declared;
        struct apply_place inner = place_member(p, m->name, &declared);
        struct step step = step_field(m->name->s);
        if (!declared && !keeps_unknown(p.t)) {
            size_t n = c->path.n;
            step_text(&c->path, &step);
            config_wrong(c, "field not declared in schema");
            c->path.n = n;
            return;
        }
        check_step(c, &step, inner, &m->v, depth);
    }
}

static void check_at(struct checking *c, struct apply_place p, const struct val *v, unsigned depth)
{
    if (!p.t || val_is(v, VAL_NULL) || depth > APPLY_DEPTH)
        return;
    if (p.t->kind == TYPE_STRUCT || p.t->kind == TYPE_MAP) {
        if (val_is(v, VAL_MAP))
            check_members(c, p, v, depth);
        else
            wrong_kind(c, "map", v);
    } else if (p.t->kind == TYPE_LIST) {
        if (val_is(v, VAL_LIST))
            check_list(c, p, v, depth);
        else
            wrong_kind(c, "list", v);
    } else {
        check_scalar(c, p.t, v);
    }
}

bool apply_check(struct arena *a, const struct type *t, const struct val *raw, struct err *err)
{
    struct checking c = {.a = a, .path = STRBUF(UINT32_MAX / 2), .text = STRBUF(STRBUF_TEXT)};
    check_at(&c, place_of(t), raw, 0);
    struct str text = strbuf_str(&c.text);
    bool ok = c.n == 0;
    if (c.n == 1) /* without the line of its own */
        ok = err_set(err, E_INTERNAL, STR_FMT, STR_ARG(str_sub(text, 3, text.n)));
    else if (!ok)
        ok = err_set(err, E_INTERNAL, "errors:" STR_FMT, STR_ARG(text));
    strbuf_fini(&c.path);
    strbuf_fini(&c.text);
    return ok;
}

/* --- what it names --- */

/* Whether the path itself is in the set. */
static bool fields_at(struct arena *a, struct apply_place p, const struct val *v, unsigned depth,
                      struct fieldset *out)
{
    switch (place_how(p, v, depth)) {
    case HOW_LEAF: return true;
    case HOW_STRUCT:
    case HOW_MAP:
        val_each_member (m, v) {
            bool declared;
            struct fieldset below = {0};
            struct apply_place inner = place_member(p, m->name, &declared);
            struct step step = step_field(m->name->s);
            step.member = fields_at(a, inner, &m->v, depth + 1, &below);
            step.member |= !declared || val_is(&m->v, VAL_NULL) || (val_is(&m->v, VAL_MAP) && !m->v.n);
            fieldset_step(a, out, step)->below = below;
        }
        break;
    case HOW_LIST: {
        struct elements all = elements_of(a, p, v);
        for (uint32_t i = 0; i < all.nsorted; i++) {
            struct element *e = all.sorted[i];
            struct fieldset below = {0};
            if (e->times == 1)
                (void)fields_at(a, place_of(p.t->of), &v->list[e->at], depth + 1, &below);
            e->step.member = true;
            fieldset_step(a, out, e->step)->below = below;
        }
        break;
    }
    }
    fieldset_done(a, out);
    return false;
}

struct fieldset apply_fields(struct arena *a, const struct type *t, const struct val *raw)
{
    struct fieldset out = {0};
    (void)fields_at(a, place_of(t), raw, 0, &out);
    return out;
}

/* --- comparing --- */

/* One side at a place. NULL and `there`: the zero that Go writes. */
struct side {
    const struct val *v;
    bool there;
    bool raw; /* what is not a member is not there, unless `zeros` */
    bool zeros;
};
struct difference {
    struct fieldset changed, removed;
    bool is_changed, is_removed; /* the path itself */
};
struct comparing {
    struct arena *a;
};

/* What Go writes for a field that is absent. */
static struct val place_zero(struct apply_place p)
{
    if (!p.t || place_flags(p) & FIELD_POINTER || p.t->kind == TYPE_LIST || p.t->kind == TYPE_MAP ||
        p.t->kind == TYPE_BYTES)
        return VAL_NONE;
    return type_zero(p.t);
}

static bool numbers_equal(const struct val *a, const struct val *b)
{
    if (a->type == VAL_INT && b->type == VAL_DOUBLE)
        return (double)a->i == b->d;
    return a->type == VAL_DOUBLE && b->type == VAL_INT && a->d == (double)b->i;
}

/* A typed value and a raw one that are not the same tree may still read the same. */
static bool reads_the_same(struct arena *a, struct apply_place p, const struct val *typed, const struct val *raw)
{
    if (!p.t || numbers_equal(typed, raw))
        return p.t != NULL;
    if (typed->type != VAL_BYTES && typed->type != VAL_LIST && typed->type != VAL_MAP)
        return false;
    if (p.t->kind == TYPE_BYTES) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
        strbuf_add_base64(&b, typed->s, typed->n);
        return str_eq(strbuf_str(&b), val_text(raw));
    }
    struct val whole = type_complete(a, p.t, typed);
    return val_equal(&whole, raw);
}

static bool leaves_equal(struct comparing *c, struct apply_place p, const struct side *l, const struct side *r)
{
    struct val zero = VAL_NONE;
    if (!l->v && !r->v)
        return true;
    if (!l->v || !r->v)
        zero = place_zero(p);
    const struct val *a = l->v ? l->v : &zero, *b = r->v ? r->v : &zero;
    if (val_equal(a, b))
        return true;
    return r->raw && r->v && l->v && reads_the_same(c->a, p, l->v, r->v);
}

static void compare_leaf(struct comparing *c, struct apply_place p, const struct side *l, const struct side *r,
                         struct difference *out)
{
    if (!l->there)
        out->is_changed = true;
    else if (!r->there)
        out->is_removed = true;
    else if (!leaves_equal(c, p, l, r))
        out->is_changed = true;
}

static void compare_at(struct comparing *c, struct apply_place p, struct side l, struct side r, unsigned depth,
                       struct difference *out);

static void compare_step(struct comparing *c, struct step step, struct apply_place p, struct side l, struct side r,
                         unsigned depth, struct difference *out)
{
    struct difference d = {0};
    if (l.v && (l.v == r.v || (depth == 0 && val_equal(l.v, r.v)))) /* most writes change one part alone */
        return;
    compare_at(c, p, l, r, depth + 1, &d);
    if (d.is_changed || d.changed.n) {
        step.member = d.is_changed;
        fieldset_step(c->a, &out->changed, step)->below = d.changed;
    }
    if (d.is_removed || d.removed.n) {
        step.member = d.is_removed;
        fieldset_step(c->a, &out->removed, step)->below = d.removed;
    }
}

/* A member of a struct on one side. */
static struct side side_field(const struct side *s, const struct type *t, const struct field *f, uint32_t *next)
{
    const struct val *m = NULL;
    bool exact = s->raw || t->loose;
    if (val_is(s->v, VAL_MAP)) {
        if (*next < s->v->n && field_has_name(f, s->v->map[*next].name))
            m = &s->v->map[(*next)++].v;
        else if (*next < s->v->n) /* else all are members of fields before this one */
            m = val_get(s->v, f->name);
    }
    if (m && !exact && field_is_zero(f, m))
        m = NULL;
    bool there = m || (s->there && (!exact || s->zeros) && field_zero_written(f));
    return (struct side){.v = m, .there = there, .raw = s->raw, .zeros = s->zeros};
}

/* *any: there are members on one of the sides. */
static void compare_fields(struct comparing *c, const struct type *t, const struct side *l, const struct side *r,
                           unsigned depth, struct difference *out, bool *any)
{
    uint32_t next_l = 0, next_r = 0;
    type_fields_each (f, t) {
        if (f->flags & FIELD_INLINE) {
            compare_fields(c, f->type, l, r, depth, out, any);
            continue;
        }
        if (f->flags & FIELD_NOJSON)
            continue;
        struct side fl = side_field(l, t, f, &next_l), fr = side_field(r, t, f, &next_r);
        if (!fl.there && !fr.there)
            continue;
        *any = true;
        if (!fl.v && !fr.v && fl.there && fr.there)
            continue; /* both are the zero */
        fr.zeros = fl.there;
        compare_step(c, step_field(f->name->s), place_of_field(f), fl, fr, depth, out);
    }
}

/* Members that no field of the type names. */
static void compare_others(struct comparing *c, struct apply_place p, const struct side *l, const struct side *r,
                           unsigned depth, struct difference *out, bool *any)
{
    bool declared;
    val_each_member (m, l->v) {
        struct apply_place inner = place_member(p, m->name, &declared);
        if (declared)
            continue;
        *any = true;
        const struct val *other = val_get(r->v, m->name);
        compare_step(c, step_field(m->name->s), inner, (struct side){.v = &m->v, .there = true, .raw = l->raw},
                     (struct side){.v = other, .there = other, .raw = r->raw, .zeros = true}, depth, out);
    }
    val_each_member (m, r->v) {
        struct apply_place inner = place_member(p, m->name, &declared);
        if (declared || val_get(l->v, m->name))
            continue;
        *any = true;
        compare_step(c, step_field(m->name->s), inner, (struct side){0},
                     (struct side){.v = &m->v, .there = true, .raw = r->raw}, depth, out);
    }
}

static void compare_element(struct comparing *c, struct apply_place p, const struct val *l, const struct val *r,
                            bool raw, struct step step, unsigned depth, struct difference *out)
{
    compare_step(c, step, place_of(p.t->of), (struct side){.v = l, .there = l},
                 (struct side){.v = r, .there = r, .raw = raw, .zeros = l}, depth, out);
}

static bool twins_equal(const struct val *l, const struct element *le, const struct val *r, const struct element *re)
{
    for (; le && re; le = le->twin, re = re->twin)
        if (!val_equal(&l->list[le->at], &r->list[re->at]))
            return false;
    return !le && !re;
}

/* An element that is there more than once is one value. */
static void compare_twins(struct comparing *c, struct apply_place p, const struct val *l, const struct element *le,
                          const struct val *r, const struct element *re, bool raw, unsigned depth,
                          struct difference *out)
{
    uint32_t nl = le ? le->times : 0, nr = re ? re->times : 0;
    struct step step = le ? le->step : re->step;
    const struct val *lv = le ? &l->list[le->at] : NULL, *rv = re ? &r->list[re->at] : NULL;
    step.member = true;
    if (nl >= 2 && nr >= 2) {
        if (!twins_equal(l, le, r, re))
            fieldset_step(c->a, &out->changed, step);
    } else if (nl >= 2) {
        if (nr)
            compare_element(c, p, NULL, rv, raw, step, depth, out);
        fieldset_step(c->a, &out->removed, step);
    } else {
        if (nl)
            compare_element(c, p, lv, NULL, raw, step, depth, out);
        fieldset_step(c->a, &out->changed, step);
    }
}

static void compare_elements(struct comparing *c, struct apply_place p, const struct side *l, const struct side *r,
                             unsigned depth, struct difference *out)
{
    struct elements ls = elements_of(c->a, p, l->v), rs = elements_of(c->a, p, r->v);
    for (uint32_t i = 0, j = 0; i < ls.nsorted || j < rs.nsorted;) {
        int way = i == ls.nsorted ? 1 : j == rs.nsorted ? -1 : step_cmp(&ls.sorted[i]->step, &rs.sorted[j]->step);
        const struct element *le = way <= 0 ? ls.sorted[i++] : NULL, *re = way >= 0 ? rs.sorted[j++] : NULL;
        if ((le && le->times > 1) || (re && re->times > 1))
            compare_twins(c, p, l->v, le, r->v, re, r->raw, depth, out);
        else
            compare_element(c, p, le ? &l->v->list[le->at] : NULL, re ? &r->v->list[re->at] : NULL, r->raw,
                            le ? le->step : re->step, depth, out);
    }
}

/* False: both are empty, so that it is one value. */
static bool compare_inside(struct comparing *c, struct apply_place p, enum how how, const struct side *l,
                           const struct side *r, unsigned depth, struct difference *out)
{
    struct side sl = *l, sr = *r;
    bool any = false;
    if (how == HOW_LIST) {
        any = (val_is(l->v, VAL_LIST) && l->v->n) || (val_is(r->v, VAL_LIST) && r->v->n);
        if (any)
            compare_elements(c, p, l, r, depth, out);
        return any;
    }
    if (!val_is(sl.v, VAL_MAP))
        sl.there &= !sl.v && !(place_flags(p) & FIELD_POINTER), sl.v = NULL;
    if (!val_is(sr.v, VAL_MAP))
        sr.there &= !sr.v && !(place_flags(p) & FIELD_POINTER), sr.v = NULL;
    if (how == HOW_STRUCT)
        compare_fields(c, p.t, &sl, &sr, depth, out, &any);
    if (how == HOW_MAP || keeps_unknown(p.t))
        compare_others(c, p, &sl, &sr, depth, out, &any);
    return any;
}

static void compare_at(struct comparing *c, struct apply_place p, struct side l, struct side r, unsigned depth,
                       struct difference *out)
{
    enum how hl = place_how(p, l.v, depth), hr = place_how(p, r.v, depth);
    enum how ways[2] = {hl, hr};
    size_t n = !r.there || !l.there || hl == hr ? 1 : 2;
    if (n == 1)
        ways[0] = r.there ? hr : hl;
    bool leaf = false;
    for (size_t i = 0; i < n; i++) { /* two: what has no type was one thing and is another */
        leaf = ways[i] == HOW_LEAF || !compare_inside(c, p, ways[i], &l, &r, depth, out);
        if (leaf)
            compare_leaf(c, p, &l, &r, out);
    }
    if (!leaf) {
        out->is_changed |= !l.there;
        out->is_removed |= !r.there;
    }
    fieldset_done(c->a, &out->changed);
    fieldset_done(c->a, &out->removed);
}

struct apply_changes apply_compare(struct arena *a, const struct type *t, const struct val *was,
                                   const struct val *now, bool raw)
{
    struct comparing c = {a};
    struct difference d = {0};
    struct side l = {.v = was, .there = was || !t->loose};
    struct side r = {.v = now, .there = true, .raw = raw, .zeros = raw};
    compare_at(&c, place_of(t), l, r, 0, &d);
    return (struct apply_changes){d.changed, d.removed};
}

/* --- merging --- */

static bool merge_at(struct arena *a, struct apply_place p, const struct val *l, const struct val *r, unsigned depth,
                     struct val *out);

static struct val merge_members(struct arena *a, struct apply_place p, const struct val *l, const struct val *r,
                                unsigned depth)
{
    struct val out = val_map(), v;
    bool declared;
    val_each_member (m, l) {
        const struct val *other = val_get(r, m->name);
        if (!other)
            (void)val_append(a, &out, m->name, m->v);
        else if (merge_at(a, place_member(p, m->name, &declared), &m->v, other, depth + 1, &v))
            (void)val_append(a, &out, m->name, v);
    }
    val_each_member (m, r)
        if (!val_get(l, m->name))
            (void)val_append(a, &out, m->name, m->v);
    return out;
}

/* Upstream's order: like the configuration where it says one, and what only the other has stays before what comes
 * next of both. Elements of the live list that are there twice are not merged, only replaced. */
struct merging {
    struct arena *a;
    struct apply_place p;
    const struct val *l, *r;
    struct elements ls, rs;
    unsigned depth;
    struct val out;
};

static void merge_element(struct merging *m, const struct val *l, const struct val *r)
{
    struct val v;
    if (!r)
        (void)val_add(m->a, &m->out, *l);
    else if (!l)
        (void)val_add(m->a, &m->out, *r);
    else if (merge_at(m->a, place_of(m->p.t->of), l, r, m->depth + 1, &v))
        (void)val_add(m->a, &m->out, v);
}

static const struct val *merge_left(struct merging *m, const struct step *step)
{
    struct element *e = element_find(&m->ls, step);
    return e && e->times == 1 ? &m->l->list[e->at] : NULL;
}

/* The next element of the right list that is in both, from i on. */
static uint32_t next_shared(struct merging *m, uint32_t i)
{
    while (i < m->rs.n && !element_find(&m->ls, &m->rs.in_order[i].step))
        i++;
    return i;
}

static struct val merge_elements(struct merging *m)
{
    uint32_t shared = next_shared(m, 0);
    for (uint32_t i = 0, j = 0; i < m->ls.n || j < m->rs.n;) {
        struct element *le = i < m->ls.n ? &m->ls.in_order[i] : NULL;
        struct element *re = j < m->rs.n ? &m->rs.in_order[j] : NULL;
        struct element *twin = le ? element_find(&m->rs, &le->step) : NULL;
        if (le && re && step_cmp(&le->step, &re->step) == 0) {
            re->taken = true;
            merge_element(m, merge_left(m, &re->step), &m->r->list[re->at]);
            i++;
            j++;
            shared = next_shared(m, shared + 1);
            continue;
        }
        if (le && re && twin && shared < m->rs.n && step_cmp(&m->rs.in_order[shared].step, &le->step)) {
            i++; /* of both, but not the one whose turn it is */
            continue;
        }
        if (le && !twin) {
            merge_element(m, &m->l->list[le->at], NULL);
            i++;
            continue;
        }
        if (le && twin && twin->taken)
            i++;
        if (re) {
            re->taken = true;
            merge_element(m, merge_left(m, &re->step), &m->r->list[re->at]);
            if (shared == j)
                shared = next_shared(m, shared + 1);
            j++;
        } else if (!(le && twin && twin->taken)) {
            i++;
        }
    }
    return m->out;
}

static bool is_empty(const struct val *v)
{
    return !v || !((v->type == VAL_MAP || v->type == VAL_LIST) && v->n);
}

/* False: nothing comes of it. */
static bool merge_at(struct arena *a, struct apply_place p, const struct val *l, const struct val *r, unsigned depth,
                     struct val *out)
{
    enum how how = place_how(p, r && r->type != VAL_NULL ? r : l, depth);
    if (how == HOW_LEAF || (is_empty(l) && is_empty(r))) {
        *out = r ? *r : *l;
        return true;
    }
    if (how == HOW_LIST) {
        struct merging m = {a, p, l, r, elements_of(a, p, l), elements_of(a, p, r), depth, val_list()};
        *out = merge_elements(&m);
    } else {
        *out = merge_members(a, p, val_is(l, VAL_MAP) ? l : NULL, val_is(r, VAL_MAP) ? r : NULL, depth);
    }
    return out->n > 0;
}

struct val apply_merge(struct arena *a, const struct type *t, const struct val *live, const struct val *config)
{
    struct val out = val_map();
    (void)merge_at(a, place_of(t), live, config, 0, &out);
    return out;
}

/* --- what is one value --- */

static void atomics_at(struct apply_place p, const struct val *v, struct strbuf *path, unsigned depth,
                       struct strbuf *out)
{
    if ((v->type != VAL_MAP && v->type != VAL_LIST) || depth > APPLY_DEPTH)
        return;
    size_t n = path->n;
    if (place_how(p, v, depth) == HOW_LEAF) {
        strbuf_addf(out, "%s" STR_FMT, out->n ? ", " : "", STR_ARG(strbuf_str(path)));
        return;
    }
    if (v->type == VAL_LIST)
        for (uint32_t i = 0; i < v->n; i++) {
            strbuf_addf(path, "[%u]", i);
            atomics_at(place_of(p.t ? p.t->of : NULL), &v->list[i], path, depth + 1, out);
            path->n = n;
        }
    else
        val_each_member (m, v) {
            bool declared;
            strbuf_addf(path, "." STR_FMT, STR_ARG(m->name->s));
            atomics_at(place_member(p, m->name, &declared), &m->v, path, depth + 1, out);
            path->n = n;
        }
}

void apply_atomics(const struct type *t, const struct val *raw, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
    atomics_at(place_of(t), raw, &path, 0, out);
}

/* --- removing --- */

static struct val remove_at(struct arena *a, struct apply_place p, const struct val *v, const struct fieldset *gone,
                            unsigned depth)
{
    struct val out = VAL_NONE;
    bool declared;
    struct step step;
    enum how how = place_how(p, v, depth);
    if (how == HOW_LEAF)
        return v->type == VAL_LIST || v->type == VAL_MAP ? out : *v; /* nothing below one value is left */
    if (how == HOW_LIST) {
        out = val_list();
        val_each_item (it, v) {
            const struct fieldset_node *n = element_step(a, p, it, &step) ? NULL : fieldset_find(gone, &step);
            if (n && n->step.member)
                continue;
            (void)val_add(a, &out, n ? remove_at(a, place_of(p.t->of), it, &n->below, depth + 1) : *it);
        }
    } else {
        out = val_map();
        val_each_member (m, v) {
            step = step_field(m->name->s);
            const struct fieldset_node *n = fieldset_find(gone, &step);
            if (n && n->step.member)
                continue;
            struct apply_place inner = place_member(p, m->name, &declared);
            (void)val_append(a, &out, m->name, n ? remove_at(a, inner, &m->v, &n->below, depth + 1) : m->v);
        }
    }
    return out.n ? out : VAL_NONE;
}

struct val apply_remove(struct arena *a, const struct type *t, const struct val *raw, const struct fieldset *gone)
{
    return gone->n ? remove_at(a, place_of(t), raw, gone, 0) : *raw;
}
