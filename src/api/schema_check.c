/* schema_check.c - what is wrong with an object by its schema.
 *
 * The order of the looks at one value, the words, and what one look makes of another are those of upstream's
 * validator (kube-openapi's, which came from go-swagger): type; anyOf, oneOf, allOf, not; text; format; number; list;
 * enum; members. Each is tried whatever the others said, so a number where a text should be is only of the wrong
 * type, and a fraction where an integer should be is two errors. Of alternatives that all fail, that one's errors are
 * told which got furthest, counted in looks that passed (struct judged).
 *
 * Alternatives are first only counted (quiet), and the best is then judged again aloud; so texts are made of what is
 * told, and the cost stays the size of the value times the depth of alternatives. All work on one object is bounded
 * (STEPS_MOST).
 *
 * An update tells nothing of a value that is equal to what it was before. What it was is found by name in objects and
 * maps, and by keys in lists of type map; the elements of other lists are only what they were if the whole list is.
 *
 * Errors in upstream have a path of their own kind: names after dots whatever is in them, and none at all ("<nil>")
 * where the error is not one of a single value. */
#include "api/rules_int.h"
#include "api/schema_int.h"
#include "base/regex.h"
#include "wire/json.h"
#include <math.h>

enum { STEPS_MOST = 20 * 1000 * 1000 };

/* A place in the object. */
struct spot {
    const struct spot *up;
    struct str key; /* p NULL: an element */
    size_t index;
};

struct judging {
    struct field_errors *e;
    struct str prefix; /* of all paths; "": none */
    unsigned quiet;    /* > 0: errors are counted, not told */
    size_t steps;
};

/* What a look at a value found. */
struct judged {
    uint32_t wrong, passed;
};

static void add_spot(struct strbuf *b, const struct spot *at)
{
    if (!at)
        return;
    add_spot(b, at->up);
    if (at->key.p)
        strbuf_addf(b, "%s" STR_FMT, at->up ? "." : "", STR_ARG(at->key));
    else
        strbuf_addf(b, "[%zu]", at->index);
}

static struct str spot_text(struct judging *j, const struct spot *at)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_spot(&b, at);
    return str_dup(j->e->arena, strbuf_str(&b));
}

static bool judge_told(struct judging *j, struct judged *out)
{
    out->wrong++;
    return !j->quiet && !errors_full(j->e);
}

/* At `path`, or, where it is none, at what stands before all paths. */
static void judge_tell(struct judging *j, enum field_error_type type, struct str path, const char *value,
                       struct str detail)
{
    struct field_errors *e = j->e;
    struct str field = path;
    if (j->prefix.n && path.n)
        field = arena_fmt(e->arena, STR_FMT "." STR_FMT, STR_ARG(j->prefix), STR_ARG(path));
    else if (!path.n)
        field = j->prefix.n ? j->prefix : S("<nil>");
    size_t before = e->list.n;
    error_add(e, type, field, value ? str_of(value) : STR_NONE, detail);
    if (e->list.n == before)
        return;
    const struct field_error *last = &e->list.p[before]; /* two ways to the same complaint make one */
    for (size_t i = 0; i < before; i++)
        if (str_eq(e->list.p[i].text, last->text) && str_eq(e->list.p[i].field, last->field)) {
            e->bytes -= last->field.n + last->text.n;
            e->list.n = before;
            return;
        }
}

static const char *value_text(struct judging *j, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_value(&b, v);
    return arena_strz(j->e->arena, strbuf_str(&b));
}

/* As Go's %v shows a float64. */
static const char *float_text(struct judging *j, double d)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    json_add_double(&b, d);
    return arena_strz(j->e->arena, strbuf_str(&b));
}

static bool is_number(const struct val *v)
{
    return v->type == VAL_INT || v->type == VAL_DOUBLE;
}

static double double_of(const struct val *v)
{
    return v->type == VAL_INT ? (double)v->i : v->d;
}

/* --- types --- */

static const char *type_of_value(const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_NULL: return "null";
    case VAL_BOOL: return "boolean";
    case VAL_INT: return "integer";
    case VAL_DOUBLE: return "number";
    case VAL_STRING:
    case VAL_BYTES: return "string";
    case VAL_LIST: return "array";
    case VAL_MAP: return "object";
    }
    return "";
}

/* A number that JSON would not tell from an integer. */
static bool is_whole(double f)
{
    const double most = 9007199254740991.0;
    if (!isfinite(f) || f < -most || f > most)
        return false;
    double g = f < 0 ? -floor(-f) : floor(f);
    if (f == g)
        return true;
    double sum = fabs(f) + fabs(g);
    return fabs(f - g) / sum < 1e-9;
}

static bool node_has_types(const struct schema_node *n)
{
    return n->what != SCHEMA_UNTYPED || n->flags & SCHEMA_INT_OR_STRING;
}

static bool node_takes(const struct schema_node *n, enum schema_what what)
{
    if (n->flags & SCHEMA_INT_OR_STRING)
        return what == SCHEMA_INTEGER || what == SCHEMA_STRING;
    return n->what == what;
}

static const char *types_text(const struct schema_node *n)
{
    return n->flags & SCHEMA_INT_OR_STRING ? "integer,string" : schema_what_text((enum schema_what)n->what);
}

static enum schema_what what_of_value(const struct val *v)
{
    switch ((enum val_type)v->type) {
    case VAL_BOOL: return SCHEMA_BOOLEAN;
    case VAL_INT: return SCHEMA_INTEGER;
    case VAL_DOUBLE: return SCHEMA_NUMBER;
    case VAL_STRING:
    case VAL_BYTES: return SCHEMA_STRING;
    case VAL_LIST: return SCHEMA_ARRAY;
    case VAL_MAP: return SCHEMA_OBJECT;
    case VAL_NULL: break;
    }
    return SCHEMA_UNTYPED;
}

static void wrong_schema_type(struct judging *j, const struct spot *at, const char *want, const char *have,
                              struct judged *out)
{
    if (!judge_told(j, out))
        return;
    struct str path = spot_text(j, at);
    AUTO(strbuf_fini) struct strbuf quoted = STRBUF(100);
    add_quoted(&quoted, str_of(have));
    judge_tell(j, FE_TYPE_INVALID, path, quoted.p,
               arena_fmt(j->e->arena, STR_FMT " in body must be of type %s: %s", STR_ARG(path), want, quoted.p));
}

static void judge_type(struct judging *j, const struct schema_node *n, const struct val *v, const struct spot *at,
                       struct judged *out)
{
    bool format = n->format.n && schema_format_known(n->format);
    if (!node_has_types(n) && !format)
        return;
    if (v->type == VAL_NULL) {
        if (node_has_types(n) && !(n->flags & SCHEMA_NULLABLE))
            wrong_schema_type(j, at, types_text(n), "null", out);
        else
            out->passed++;
        return;
    }
    out->passed++; /* of having looked */
    enum schema_what what = what_of_value(v);
    bool whole = v->type == VAL_DOUBLE && node_takes(n, SCHEMA_INTEGER) && is_whole(v->d);
    bool fits = node_takes(n, what) || whole || (what == SCHEMA_INTEGER && node_takes(n, SCHEMA_NUMBER));
    bool text_or_list = v->type == VAL_STRING || v->type == VAL_LIST;
    if (format && !text_or_list && !fits) {
        const char *have = what == SCHEMA_INTEGER ? "int64" : what == SCHEMA_NUMBER ? "float64" : "";
        wrong_schema_type(j, at, arena_strz(j->e->arena, n->format), have, out);
        return;
    }
    if (format && text_or_list && !node_takes(n, SCHEMA_NUMBER) && !node_takes(n, SCHEMA_INTEGER)) {
        out->passed++;
        return;
    }
    if (!fits)
        wrong_schema_type(j, at, types_text(n), type_of_value(v), out);
    else
        out->passed++;
}

/* --- text --- */

static int64_t runes_of(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void PRINTF(6, 7) bad_schema_value(struct judging *j, const struct spot *at, const char *value,
                                          enum field_error_type type, struct judged *out, const char *fmt, ...)
{
    if (!judge_told(j, out))
        return;
    va_list args;
    va_start(args, fmt);
    struct str rest = arena_vfmt(j->e->arena, fmt, args), path = spot_text(j, at);
    va_end(args);
    judge_tell(j, type, path, value,
               arena_fmt(j->e->arena, STR_FMT " in body " STR_FMT, STR_ARG(path), STR_ARG(rest)));
}

/* The first that fails of its length and its pattern. */
static void judge_text(struct judging *j, const struct schema_node *n, const struct val *v, const struct spot *at,
                       struct judged *out)
{
    const struct schema_bounds *b = n->bounds;
    struct str text = val_text(v);
    out->passed++;
    if (!b)
        return;
    if (b->has & BOUND_MAX_LENGTH && runes_of(text) > b->max_length) {
        if (judge_told(j, out))
            judge_tell(j, FE_TOO_LONG, spot_text(j, at), NULL,
                       arena_fmt(j->e->arena, "may not be more than %lld bytes", (long long)b->max_length));
        return;
    }
    if (b->has & BOUND_MIN_LENGTH && runes_of(text) < b->min_length) {
        bad_schema_value(j, at, j->quiet ? "" : value_text(j, v), FE_INVALID, out,
                         "should be at least %lld chars long", (long long)b->min_length);
        return;
    }
    if (b->has & BOUND_PATTERN && b->regex) {
        j->steps += text.n / 16;
        if (!regex_match(b->regex, text))
            bad_schema_value(j, at, j->quiet ? "" : value_text(j, v), FE_INVALID, out, "should match '" STR_FMT "'",
                             STR_ARG(b->pattern));
    }
}

static void judge_format(struct judging *j, const struct schema_node *n, const struct val *v, const struct spot *at,
                         struct judged *out)
{
    if (!n->format.n || !schema_format_known(n->format))
        return;
    out->passed++;
    if (schema_format_holds(n->format, val_text(v)))
        return;
    if (!judge_told(j, out))
        return;
    struct str path = spot_text(j, at);
    const char *text = value_text(j, v);
    judge_tell(j, FE_TYPE_INVALID, path, text,
               arena_fmt(j->e->arena, STR_FMT " in body must be of type " STR_FMT ": %s", STR_ARG(path),
                         STR_ARG(n->format), text));
}

/* --- numbers --- */

/* Whether a number or a bound is a value that the type has. */
static bool in_range(struct judging *j, const struct schema_node *n, double d, bool whole, const char *what,
                     const struct spot *at, struct judged *out)
{
    bool only_integers = n->what == SCHEMA_INTEGER && !(n->flags & SCHEMA_INT_OR_STRING);
    if (!only_integers || whole || (d == trunc(d) && fabs(d) < 1e21 && d >= -0x1p63 && d < 0x1p63))
        return true;
    if (judge_told(j, out))
        judge_tell(j, FE_INVALID, S(""), "\"\"",
                   arena_fmt(j->e->arena, "%s value must be of type integer (default format) in " STR_FMT, what,
                             STR_ARG(spot_text(j, at))));
    return false;
}

static int64_t whole_of(double d)
{
    return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : (int64_t)d;
}

static void judge_multiple(struct judging *j, const struct schema_node *n, const struct val *v, const struct spot *at,
                           struct judged *out)
{
    double factor = n->bounds->multiple_of;
    bool native = in_range(j, n, factor, false, "MultipleOf", at, out) && v->type == VAL_INT && whole_of(factor) != 0;
    const char *shown = j->quiet ? ""
                        : native ? arena_fmt(j->e->arena, "%lld", (long long)whole_of(factor)).p
                                 : float_text(j, factor);
    if (factor < 0) {
        if (judge_told(j, out))
            judge_tell(j, FE_INVALID, spot_text(j, at), shown,
                       arena_fmt(j->e->arena, "factor MultipleOf declared for " STR_FMT " must be positive: %s",
                                 STR_ARG(spot_text(j, at)), shown));
        return;
    }
    double d = double_of(v);
    bool holds = native ? v->i % whole_of(factor) == 0
                        : factor == 0 || is_whole(factor < 1 ? 1 / factor * d : d / factor);
    if (!holds)
        bad_schema_value(j, at, j->quiet ? "" : value_text(j, v), FE_INVALID, out, "should be a multiple of %s",
                         shown);
}

/* low: the minimum; else the maximum. */
static void judge_bound(struct judging *j, const struct schema_node *n, const struct val *v, bool low,
                        const struct spot *at, struct judged *out)
{
    const struct schema_bounds *b = n->bounds;
    double bound = low ? b->minimum : b->maximum, d = double_of(v);
    bool exclusive = b->has & (low ? BOUND_EXCLUSIVE_MINIMUM : BOUND_EXCLUSIVE_MAXIMUM);
    /* an integer is compared with the bound's integer part */
    bool native = in_range(j, n, bound, false, low ? "Minimum boundary" : "Maximum boundary", at, out) &&
                  v->type == VAL_INT;
    bool beyond, equal;
    if (native) {
        int64_t limit = whole_of(bound);
        beyond = low ? v->i < limit : v->i > limit;
        equal = v->i == limit;
    } else {
        beyond = low ? d < bound : d > bound;
        equal = d == bound;
    }
    if (!beyond && !(exclusive && equal))
        return;
    const char *shown = j->quiet ? ""
                        : native ? arena_fmt(j->e->arena, "%lld", (long long)whole_of(bound)).p
                                 : float_text(j, bound);
    bad_schema_value(j, at, j->quiet ? "" : value_text(j, v), FE_INVALID, out, "should be %s than %s%s",
                     low ? "greater" : "less", exclusive ? "" : "or equal to ", shown);
}

static void judge_number(struct judging *j, const struct schema_node *n, const struct val *v, const struct spot *at,
                         struct judged *out)
{
    out->passed += 2;
    (void)in_range(j, n, double_of(v), v->type == VAL_INT, "Checked", at, out);
    if (!n->bounds)
        return;
    if (n->bounds->has & BOUND_MULTIPLE_OF)
        judge_multiple(j, n, v, at, out);
    if (n->bounds->has & BOUND_MINIMUM)
        judge_bound(j, n, v, true, at, out);
    if (n->bounds->has & BOUND_MAXIMUM)
        judge_bound(j, n, v, false, at, out);
}

/* --- enum --- */

static bool enum_equal(const struct val *v, const struct val *one)
{
    if (v->type == VAL_NULL)
        return false;
    if (v->type == VAL_INT && one->type == VAL_DOUBLE)
        return (double)v->i == one->d;
    if (v->type == VAL_DOUBLE && one->type == VAL_INT)
        return whole_of(v->d) == one->i;
    return val_equal(v, one);
}

static void judge_enum(struct judging *j, const struct schema_node *n, const struct val *v, const struct spot *at,
                       struct judged *out)
{
    out->passed++;
    if (!n->bounds || !n->bounds->values)
        return;
    val_each_item (it, n->bounds->values) {
        j->steps++;
        if (enum_equal(v, it))
            return;
    }
    if (!judge_told(j, out))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "supported values: ");
    val_each_item (it, n->bounds->values) {
        AUTO(strbuf_fini) struct strbuf one = STRBUF(STRBUF_TEXT);
        if (it->type != VAL_STRING)
            add_value(&one, it);
        strbuf_addz(&b, it == n->bounds->values->list ? "" : ", ");
        add_quoted(&b, it->type == VAL_STRING ? val_text(it) : strbuf_str(&one));
    }
    judge_tell(j, FE_NOT_SUPPORTED, spot_text(j, at), value_text(j, v), str_dup(j->e->arena, strbuf_str(&b)));
}

/* --- what is inside --- */

/* The elements of a list of type map by their keys. */
struct keyed_list {
    const struct schema_node *n;
    struct map by_keys;
};

static void add_keys(struct strbuf *b, const struct schema_node *n, const struct val *element)
{
    for (size_t i = 0; n->list_keys[i]; i++) {
        strbuf_addc(b, '\n');
        json_encode(b, val_get_str(element, n->list_keys[i]->s));
    }
}

/* Of the list as it was; NULL: it was not there. */
static struct keyed_list keyed_list_of(const struct schema_node *n, const struct val *list)
{
    struct keyed_list k = {n, MAP};
    if (!(n->flags & SCHEMA_LIST_MAP) || !n->list_keys)
        return k;
    val_each_item (it, list) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
        add_keys(&b, n, it);
        if (val_is(it, VAL_MAP) && !map_get(&k.by_keys, strbuf_str(&b)))
            (void)map_put(&k.by_keys, strbuf_str(&b), (void *)(uintptr_t)it);
    }
    return k;
}

static const struct val *keyed_list_find(const struct keyed_list *k, const struct val *element)
{
    if (!map_len(&k->by_keys) || !val_is(element, VAL_MAP))
        return NULL;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
    add_keys(&b, k->n, element);
    return map_get(&k->by_keys, strbuf_str(&b));
}

static void keyed_list_fini(struct keyed_list *k)
{
    map_fini(&k->by_keys);
}

static void judge_value(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                        const struct spot *at, struct judged *out);

/* A member or an element: what is wrong with one that did not change is not told. */
static void judge_inner(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                        const struct spot *at, struct judged *out)
{
    struct judged one = {0};
    size_t before = j->e->list.n, bytes = j->e->bytes;
    judge_value(j, n, v, old, at, &one);
    if (one.wrong && old && val_equal(v, old)) {
        one.wrong = 0;
        j->e->list.n = before;
        j->e->bytes = bytes;
    }
    out->wrong += one.wrong;
    out->passed += one.passed;
}

static void judge_many(struct judging *j, const struct spot *at, int64_t have, int64_t most, struct judged *out)
{
    if (judge_told(j, out))
        judge_tell(
            j, FE_TOO_MANY, spot_text(j, at), arena_fmt(j->e->arena, "%lld", (long long)have).p,
            arena_fmt(j->e->arena, "must have at most %lld %s", (long long)most, most == 1 ? "item" : "items"));
}

static void judge_list(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                       const struct spot *at, struct judged *out)
{
    const struct schema_node *items = schema_items(n);
    const struct schema_bounds *b = n->bounds;
    out->passed += 2;
    if (items) {
        struct spot here = {.up = at};
        struct keyed_list by_keys = keyed_list_of(n, val_is(old, VAL_LIST) ? old : NULL);
        for (; here.index < v->n; here.index++) {
            const struct val *it = &v->list[here.index];
            judge_inner(j, items, it, keyed_list_find(&by_keys, it), &here, out);
        }
        keyed_list_fini(&by_keys);
    }
    if (!b)
        return;
    if (b->has & BOUND_MIN_ITEMS && v->n < b->min_items)
        bad_schema_value(j, at, arena_fmt(j->e->arena, "%u", v->n).p, FE_INVALID, out,
                         "should have at least %lld items", (long long)b->min_items);
    if (b->has & BOUND_MAX_ITEMS && v->n > b->max_items)
        judge_many(j, at, v->n, b->max_items, out);
}

static void judge_member(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                         const struct name *name, const struct spot *at, struct judged *out)
{
    struct spot here = {.up = at, .key = name->s};
    bool fixed = !at && (name == N(apiVersion) || name == N(kind)); /* of the whole: never what it was */
    judge_inner(j, n, v, fixed ? NULL : val_get_str(old, name->s), &here, out);
}

static void judge_members(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                          const struct spot *at, struct judged *out)
{
    const struct schema_bounds *b = n->bounds;
    const struct schema_node *values = schema_values(n);
    old = val_is(old, VAL_MAP) ? old : NULL;
    out->passed++;
    if (b && b->has & BOUND_MIN_PROPERTIES && v->n < b->min_properties) {
        bad_schema_value(j, at, arena_fmt(j->e->arena, "%u", v->n).p, FE_INVALID, out,
                         "should have at least %lld properties", (long long)b->min_properties);
        return;
    }
    if (b && b->has & BOUND_MAX_PROPERTIES && v->n > b->max_properties) {
        judge_many(j, at, v->n, b->max_properties, out);
        return;
    }
    val_each_member (m, v) {
        if (!values && !(n->flags & SCHEMA_CLOSED))
            break;
        if (schema_property(n, m->name))
            continue;
        if (values) {
            judge_member(j, values, &m->v, old, m->name, at, out);
        } else if (judge_told(j, out)) {
            struct str path = spot_text(j, at);
            AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
            add_quoted(&key, m->name->s);
            judge_tell(j, FE_INVALID, path, key.p,
                       arena_fmt(j->e->arena, STR_FMT "." STR_FMT " in body is a forbidden property", STR_ARG(path),
                                 STR_ARG(m->name->s)));
        }
    }
    for (uint16_t i = 0; i < n->type.nfields; i++) {
        const struct field *f = &n->type.fields[i];
        const struct schema_node *inner = f->type == &type_meta_v1_ObjectMeta ? n->meta : schema_node(f->type);
        const struct val *m = inner && !schema_given(f) ? val_get_str(v, f->name->s) : NULL;
        if (m)
            judge_member(j, inner, m, old, f->name, at, out);
    }
    for (uint16_t i = 0; i < n->nrequired; i++) {
        if (val_get_str(v, n->required[i]->s) || !judge_told(j, out))
            continue;
        struct spot here = {.up = at, .key = n->required[i]->s};
        judge_tell(j, FE_REQUIRED, spot_text(j, &here), NULL, S(""));
    }
}

/* --- combinations --- */

/* What a combination as a whole complains of. */
static void PRINTF(4, 5)
    bad_combination(struct judging *j, const struct spot *at, struct judged *out, const char *fmt, ...)
{
    if (!judge_told(j, out))
        return;
    va_list args;
    va_start(args, fmt);
    struct str rest = arena_vfmt(j->e->arena, fmt, args);
    va_end(args);
    judge_tell(j, FE_INVALID, S(""), "\"\"",
               arena_fmt(j->e->arena, "\"" STR_FMT "\" " STR_FMT, STR_ARG(spot_text(j, at)), STR_ARG(rest)));
}

static struct judged judge_quietly(struct judging *j, const struct schema_node *n, const struct val *v,
                                   const struct val *old, const struct spot *at)
{
    struct judged out = {0};
    j->quiet++;
    judge_value(j, n, v, old, at, &out);
    j->quiet--;
    return out;
}

/* Counts which of them hold; `best` is the one that got furthest, or NULL where one holds. `found` is of that one, or
 * of the first that holds. */
static size_t judge_each(struct judging *j, const struct schema_node *const *of, size_t n, const struct val *v,
                         const struct val *old, const struct spot *at, bool first_only,
                         const struct schema_node **best, struct judged *found)
{
    size_t hold = 0;
    *best = NULL;
    *found = (struct judged){0};
    for (size_t i = 0; i < n; i++) {
        struct judged one = judge_quietly(j, of[i], v, old, at);
        if (!one.wrong) {
            if (!hold++)
                *found = one;
            *best = NULL;
            if (first_only)
                break;
        } else if (!hold && (!*best || one.passed > found->passed)) {
            *best = of[i];
            *found = one;
        }
    }
    return hold;
}

/* What the best of them found, aloud where errors are told: who only counts has counted already. */
static void judge_best(struct judging *j, const struct schema_node *best, const struct judged *found,
                       const struct val *v, const struct val *old, const struct spot *at, struct judged *out)
{
    if (best && !j->quiet) {
        judge_value(j, best, v, old, at, out);
        return;
    }
    out->wrong += found->wrong;
    out->passed += found->passed;
}

static void judge_logic(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                        const struct spot *at, struct judged *out)
{
    const struct schema_logic *l = n->logic;
    const struct schema_node *best;
    struct judged found;
    out->passed += 2;
    if (!l)
        return;
    if (l->nany) {
        size_t hold = judge_each(j, l->any, l->nany, v, old, at, true, &best, &found);
        if (!hold)
            bad_combination(j, at, out, "must validate at least one schema (anyOf)");
        judge_best(j, best, &found, v, old, at, out);
    }
    if (l->none) {
        size_t hold = judge_each(j, l->one, l->none, v, old, at, false, &best, &found);
        if (!hold)
            bad_combination(j, at, out, "must validate one and only one schema (oneOf). Found none valid");
        else if (hold > 1)
            bad_combination(j, at, out, "must validate one and only one schema (oneOf). Found %zu valid alternatives",
                            hold);
        if (hold < 2)
            judge_best(j, best, &found, v, old, at, out);
    }
    if (l->nall) {
        size_t hold = 0;
        for (size_t i = 0; i < l->nall; i++) {
            uint32_t before = out->wrong;
            judge_value(j, l->all[i], v, old, at, out);
            hold += out->wrong == before;
        }
        if (hold != l->nall)
            bad_combination(j, at, out, "must validate all the schemas (allOf)%s", hold ? "" : ". None validated");
    }
    if (l->not &&!judge_quietly(j, l->not, v, old, at).wrong)
        bad_combination(j, at, out, "must not validate the schema (not)");
}

static void judge_value(struct judging *j, const struct schema_node *n, const struct val *v, const struct val *old,
                        const struct spot *at, struct judged *out)
{
    if (++j->steps > STEPS_MOST)
        return;
    judge_type(j, n, v, at, out);
    if (v->type != VAL_NULL) {
        judge_logic(j, n, v, old, at, out);
        if (v->type == VAL_STRING) {
            judge_text(j, n, v, at, out);
            judge_format(j, n, v, at, out);
        } else if (is_number(v)) {
            judge_number(j, n, v, at, out);
        } else if (v->type == VAL_LIST) {
            judge_list(j, n, v, old, at, out);
        }
    }
    judge_enum(j, n, v, at, out);
    if (v->type == VAL_MAP)
        judge_members(j, n, v, old, at, out);
}

static void schema_judge(const struct schema_node *n, struct str prefix, const struct val *v, const struct val *old,
                         struct field_errors *e)
{
    struct judging j = {.e = e, .prefix = prefix};
    struct judged out = {0};
    judge_inner(&j, n, v, old, NULL, &out);
    if (j.steps > STEPS_MOST)
        error_add(e, FE_FORBIDDEN, prefix.n ? prefix : S("<nil>"), S(""),
                  S("the object is too large for a schema with so many alternatives"));
}

void schema_validate(const struct schema_node *root, const struct val *v, const struct val *old,
                     struct field_errors *e)
{
    schema_judge(root, S(""), v, old, e);
    schema_check_resources(e, NULL, root, v, false);
    schema_check_lists(e, NULL, root, v);
}

void schema_validate_at(const struct schema_node *n, struct str path, const struct val *v, const struct val *old,
                        struct field_errors *e)
{
    schema_judge(n, path, v, old, e);
}

void schema_validate_resource_at(const struct schema_node *n, struct str path, const struct val *v, bool resource,
                                 struct field_errors *e)
{
    schema_check_resources(e, AT(NULL, arena_strz(e->arena, path)), n, v, resource);
}

bool schema_errors_block(const struct field_errors *e)
{
    array_each (it, &e->list)
        if (it->type == FE_REQUIRED || it->type == FE_TOO_LONG || it->type == FE_TOO_MANY ||
            it->type == FE_TYPE_INVALID)
            return true;
    return false;
}
