/* jsonpath.c - kubectl's JSONPath (k8s.io/client-go/util/jsonpath), of which a path is a list of steps, each a
 * function from a list of values to a list of values. A filter holds two paths of its own, a union one for each of
 * its parts. */
#include "api/jsonpath.h"
#include "api/codec.h"
#include "base/array.h"
#include <stdlib.h>

enum step_what {
    STEP_NAME,
    STEP_ALL,     /* * */
    STEP_DEEP,    /* .. : itself and all below */
    STEP_SLICE,   /* [1], [1:2], [::2] */
    STEP_UNION,   /* [a,b] */
    STEP_FILTER,  /* [?(...)] */
    STEP_LITERAL, /* the other side of a comparison */
};
enum compared { CMP_EXISTS, CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };

struct jsonpath_step {
    enum step_what what;
    struct str name;
    struct val literal;
    int64_t bounds[3]; /* of a slice: from, to, by */
    bool has[3], one;  /* one: an index, which is from */
    enum compared compared;
    const struct jsonpath *const *parts; /* of a union; of a filter: left and right */
    size_t nparts;
};
struct jsonpath {
    const struct jsonpath_step *steps;
    size_t n;
};

/* --- reading --- */

struct jsonpath_reader {
    struct arena *a;
    struct str s;
    size_t at;
    struct err *err;
    int depth;
    const char *until; /* inside a filter: what ends its sides */
};
enum { DEPTH_MOST = 20 };
typedef ARRAY(struct jsonpath_step) step_list;

static bool is_end(const struct jsonpath_reader *r)
{
    return r->at >= r->s.n;
}

static char char_at(const struct jsonpath_reader *r)
{
    return is_end(r) ? 0 : r->s.p[r->at];
}

static bool reader_starts(const struct jsonpath_reader *r, const char *text)
{
    return str_starts(str_sub(r->s, r->at, r->s.n), str_of(text));
}

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A name up to what ends one; a backslash takes the next as it is. */
static struct str name_read(struct jsonpath_reader *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(JSONPATH_MOST);
    for (; !is_end(r) && !strchr(" .,[]$@{}", char_at(r)) && !strchr(r->until, char_at(r)); r->at++) {
        if (char_at(r) == '\\')
            r->at++;
        if (!is_end(r))
            strbuf_addc(&b, char_at(r));
    }
    return str_dup(r->a, strbuf_str(&b));
}

static bool quoted_read(struct jsonpath_reader *r, struct str *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(JSONPATH_MOST);
    char quote = r->s.p[r->at++];
    for (; !is_end(r) && char_at(r) != quote; r->at++) {
        if (char_at(r) == '\\' && r->at + 1 < r->s.n) {
            r->at++;
            char c = char_at(r);
            strbuf_addc(&b, c == 'n' ? '\n' : c == 't' ? '\t' : c);
            continue;
        }
        strbuf_addc(&b, char_at(r));
    }
    if (is_end(r))
        return err_set(r->err, E_INVALID, "unterminated quoted string");
    r->at++;
    *out = str_dup(r->a, strbuf_str(&b));
    return true;
}

static bool number_read(struct jsonpath_reader *r, struct val *out)
{
    size_t from = r->at;
    if (char_at(r) == '+' || char_at(r) == '-')
        r->at++;
    while (is_digit(char_at(r)) || (char_at(r) == '.' && r->at + 1 < r->s.n && is_digit(r->s.p[r->at + 1])))
        r->at++;
    struct str text = str_sub(r->s, from, r->at);
    int64_t i;
    if (text.n && text.p[0] == '+')
        text = str_sub(text, 1, text.n);
    if (str_to_i64(text, INT64_MIN, INT64_MAX, &i)) {
        *out = val_int(i);
        return true;
    }
    char *end;
    const char *z = arena_strz(r->a, text);
    *out = val_double(strtod(z, &end));
    return (text.n && !*end) || err_set(r->err, E_INVALID, "cannot parse number " STR_FMT, STR_ARG(text));
}

static bool path_read(struct jsonpath_reader *r, const char *until, const struct jsonpath **out);

static bool slice_read(struct str inside, struct jsonpath_step *step, struct err *err)
{
    struct str part;
    size_t i = 0;
    step->what = STEP_SLICE;
    step->one = str_find_char(inside, ':') < 0;
    for (; i < 3 && str_cut(&inside, ':', &part); i++) {
        part = str_trim(part);
        step->has[i] = part.n > 0;
        if (part.n && !str_to_i64(part, INT32_MIN, INT32_MAX, &step->bounds[i]))
            return err_set(err, E_INVALID, "array index " STR_FMT " is not a number", STR_ARG(part));
    }
    return (i > 0 && !inside.n) || err_set(err, E_INVALID, "invalid array index");
}

/* Where the ']' is that ends what begins here; -1: nowhere. */
static ptrdiff_t bracket_end(const struct jsonpath_reader *r)
{
    int open = 0;
    for (size_t i = r->at; i < r->s.n; i++) {
        char c = r->s.p[i];
        if (c == '\'' || c == '"') {
            for (i++; i < r->s.n && r->s.p[i] != c; i++)
                i += r->s.p[i] == '\\';
        } else if (c == '[') {
            open++;
        } else if (c == ']' && open-- == 0) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static const struct jsonpath *path_of(struct arena *a, const step_list *steps)
{
    struct jsonpath *p = ARENA_NEW(a, struct jsonpath);
    struct jsonpath_step *copy = arena_alloc(a, (steps->n + 1) * sizeof *copy);
    if (steps->n)
        memcpy(copy, steps->p, steps->n * sizeof *copy);
    *p = (struct jsonpath){copy, steps->n};
    return p;
}

static bool part_read(struct jsonpath_reader *r, struct str part, struct jsonpath_step *step)
{
    part = str_trim(part);
    *step = (struct jsonpath_step){0};
    if (part.n && (part.p[0] == '\'' || part.p[0] == '"')) {
        struct jsonpath_reader in = {.a = r->a, .s = part, .err = r->err, .until = ""};
        step->what = STEP_NAME;
        return quoted_read(&in, &step->name);
    }
    if (str_eqz(part, "*")) {
        step->what = STEP_ALL;
        return true;
    }
    return slice_read(part, step, r->err);
}

/* What stands in brackets, which r stands behind the opening of. */
static bool bracket_read(struct jsonpath_reader *r, step_list *steps)
{
    ptrdiff_t end = bracket_end(r);
    if (end < 0)
        return err_set(r->err, E_INVALID, "unterminated array");
    struct str inside = str_sub(r->s, r->at, (size_t)end);
    ARRAY(struct str) parts = {0};
    size_t from = 0;
    for (size_t i = 0; i <= inside.n; i++) {
        char c = i < inside.n ? inside.p[i] : ',';
        if (i < inside.n && (c == '\'' || c == '"')) {
            for (i++; i < inside.n && inside.p[i] != c; i++)
                i += inside.p[i] == '\\';
        } else if (c == ',') {
            array_push(&parts, str_sub(inside, from, i));
            from = i + 1;
        }
    }
    r->at = (size_t)end + 1;
    bool ok = true;
    struct jsonpath_step step;
    if (parts.n == 1) {
        ok = part_read(r, parts.p[0], &step);
    } else {
        const struct jsonpath **all = arena_alloc(r->a, parts.n * sizeof *all);
        for (size_t i = 0; ok && i < parts.n; i++) {
            step_list one = {0};
            ok = part_read(r, parts.p[i], &step);
            array_push(&one, step);
            all[i] = path_of(r->a, &one);
            array_fini(&one);
        }
        step = (struct jsonpath_step){.what = STEP_UNION, .parts = all, .nparts = parts.n};
    }
    array_fini(&parts);
    if (ok)
        array_push(steps, step);
    return ok;
}

/* [?(left op right)], of which r stands behind the "[?(" */
static bool filter_read(struct jsonpath_reader *r, step_list *steps)
{
    static const struct {
        const char *text;
        enum compared is;
    } signs[] = {{"==", CMP_EQ}, {"!=", CMP_NE}, {"<=", CMP_LE}, {">=", CMP_GE}, {"<", CMP_LT}, {">", CMP_GT}};
    struct jsonpath_step step = {.what = STEP_FILTER, .compared = CMP_EXISTS};
    const struct jsonpath **parts = arena_alloc(r->a, 2 * sizeof *parts);
    step.parts = parts;
    step.nparts = 1;
    if (!path_read(r, "=!<>)", &parts[0]))
        return false;
    for (size_t i = 0; i < countof(signs) && step.nparts == 1; i++) {
        if (!reader_starts(r, signs[i].text))
            continue;
        step.compared = signs[i].is;
        step.nparts = 2;
        r->at += strlen(signs[i].text);
        if (!path_read(r, ")", &parts[1]))
            return false;
    }
    if (!reader_starts(r, ")]"))
        return err_set(r->err, E_INVALID, "unterminated filter");
    r->at += 2;
    array_push(steps, step);
    return true;
}

static bool step_read(struct jsonpath_reader *r, step_list *steps)
{
    char c = char_at(r);
    struct jsonpath_step step = {0};
    if (reader_starts(r, "[?(")) {
        r->at += 3;
        return filter_read(r, steps);
    }
    if (reader_starts(r, "..")) {
        r->at += 2;
        step.what = STEP_DEEP;
        array_push(steps, step);
        if (is_end(r) || char_at(r) == '[')
            return true;
        c = '.';
        r->at--;
    }
    if (c == '[') {
        r->at++;
        return bracket_read(r, steps);
    }
    if (c == '.') {
        r->at++;
        step.name = name_read(r);
        step.what = str_eqz(step.name, "*") ? STEP_ALL : STEP_NAME;
        array_push(steps, step);
        return true;
    }
    step.what = STEP_LITERAL;
    if (c == '\'' || c == '"') {
        struct str text;
        if (!quoted_read(r, &text))
            return false;
        step.literal = val_str_borrowed(text);
    } else if (c == '+' || c == '-' || is_digit(c)) {
        if (!number_read(r, &step.literal))
            return false;
    } else if (is_word(c)) {
        struct str word = name_read(r);
        if (!str_eqz(word, "true") && !str_eqz(word, "false"))
            return err_set(r->err, E_INVALID, "unrecognized identifier " STR_FMT, STR_ARG(word));
        step.literal = val_bool(str_eqz(word, "true"));
    } else {
        return err_set(r->err, E_INVALID, "unrecognized character in action: '%c'", c);
    }
    array_push(steps, step);
    return true;
}

static bool path_read(struct jsonpath_reader *r, const char *until, const struct jsonpath **out)
{
    step_list steps = {0};
    const char *was = r->until;
    r->until = until;
    bool ok = ++r->depth <= DEPTH_MOST || err_set(r->err, E_INVALID, "filters in filters: too many");
    while (ok && !is_end(r) && !strchr(until, char_at(r))) {
        if (char_at(r) == ' ' || char_at(r) == '$' || char_at(r) == '@')
            r->at++; /* what is looked at itself */
        else
            ok = step_read(r, &steps);
    }
    r->depth--;
    r->until = was;
    if (ok)
        *out = path_of(r->a, &steps);
    array_fini(&steps);
    return ok;
}

bool jsonpath_compile(struct arena *a, struct str text, const struct jsonpath **out, struct err *err)
{
    struct jsonpath_reader r = {.a = a, .s = text, .err = err};
    if (text.n > JSONPATH_MOST)
        return err_set(err, E_INVALID, "a path of more than %d bytes", JSONPATH_MOST);
    return path_read(&r, "", out);
}

/* --- walking --- */

typedef ARRAY(const struct val *) val_refs;

struct jsonpath_walk {
    struct arena *a;
    size_t work; /* values that were looked at */
};

static bool refs_add(struct jsonpath_walk *w, val_refs *out, const struct val *v)
{
    array_push(out, v);
    return ++w->work <= JSONPATH_MOST;
}

static bool path_walk(struct jsonpath_walk *w, const struct jsonpath *p, const val_refs *in, val_refs *out);

static bool add_all(struct jsonpath_walk *w, const struct val *v, val_refs *out)
{
    val_each_item (it, v)
        if (!refs_add(w, out, it))
            return false;
    val_each_member (m, v)
        if (!refs_add(w, out, &m->v))
            return false;
    return true;
}

static bool add_deep(struct jsonpath_walk *w, const struct val *v, val_refs *out)
{
    if (!refs_add(w, out, v))
        return false;
    val_each_item (it, v)
        if (!add_deep(w, it, out))
            return false;
    val_each_member (m, v)
        if (!add_deep(w, &m->v, out))
            return false;
    return true;
}

static bool slice_walk(struct jsonpath_walk *w, const struct jsonpath_step *s, const struct val *v, val_refs *out)
{
    if (val_is(v, VAL_NULL))
        return true;
    if (!val_is(v, VAL_LIST))
        return false;
    int64_t n = (int64_t)val_len(v), from = s->has[0] ? s->bounds[0] : 0, to = s->has[1] ? s->bounds[1] : n;
    from += from < 0 ? n : 0;
    if (s->one)
        to = from + 1;
    else
        to += to < 0 ? n : 0;
    if (from == to)
        return true;
    int64_t by = s->has[2] ? s->bounds[2] : 1;
    if (from < 0 || from >= n || to < 0 || to > n || from > to || by <= 0)
        return false;
    for (; from < to; from += by)
        if (!refs_add(w, out, &v->list[from]))
            return false;
    return true;
}

/* As Go's templates compare: like with like. */
static bool is_scalar(const struct val *v)
{
    return val_is(v, VAL_STRING) || val_is(v, VAL_INT) || val_is(v, VAL_DOUBLE) || val_is(v, VAL_BOOL);
}

static bool vals_compare(const struct val *x, const struct val *y, enum compared by, bool *out)
{
    int c;
    if (!is_scalar(x) || x->type != y->type)
        return false;
    if (val_is(x, VAL_STRING))
        c = str_cmp(val_text(x), val_text(y));
    else if (val_is(x, VAL_INT))
        c = (x->i > y->i) - (x->i < y->i);
    else if (val_is(x, VAL_DOUBLE))
        c = (x->d > y->d) - (x->d < y->d);
    else if (by == CMP_EQ || by == CMP_NE)
        c = x->b != y->b;
    else
        return false;
    *out = by == CMP_EQ   ? c == 0
           : by == CMP_NE ? c != 0
           : by == CMP_LT ? c < 0
           : by == CMP_LE ? c <= 0
           : by == CMP_GT ? c > 0
                          : c >= 0;
    return true;
}

static bool item_passes(struct jsonpath_walk *w, const struct jsonpath_step *s, const struct val *item, bool *passes)
{
    val_refs in = {0}, left = {0}, right = {0};
    array_push(&in, item);
    bool ok = path_walk(w, s->parts[0], &in, &left);
    if (s->compared == CMP_EXISTS) {
        *passes = ok && left.n > 0;
        ok = true;
    } else {
        ok = ok && path_walk(w, s->parts[1], &in, &right) && left.n < 2 && right.n < 2;
        *passes = false;
        if (ok && left.n && right.n)
            ok = vals_compare(left.p[0], right.p[0], s->compared, passes);
    }
    array_fini(&in);
    array_fini(&left);
    array_fini(&right);
    return ok;
}

static bool step_walk(struct jsonpath_walk *w, const struct jsonpath_step *s, const val_refs *in, val_refs *out)
{
    if (s->what == STEP_LITERAL)
        return refs_add(w, out, &s->literal);
    for (size_t u = 0; s->what == STEP_UNION && u < s->nparts; u++)
        if (!path_walk(w, s->parts[u], in, out))
            return false;
    array_each (it, in) {
        const struct val *v = *it, *found;
        bool ok = true, passes;
        switch (s->what) {
        case STEP_NAME:
            found = val_get_str(v, s->name);
            ok = !found || refs_add(w, out, found);
            break;
        case STEP_ALL: ok = add_all(w, v, out); break;
        case STEP_DEEP: ok = add_deep(w, v, out); break;
        case STEP_SLICE: ok = slice_walk(w, s, v, out); break;
        case STEP_FILTER:
            ok = val_is(v, VAL_LIST);
            val_each_item (item, v) {
                ok = ok && item_passes(w, s, item, &passes);
                if (ok && passes)
                    ok = refs_add(w, out, item);
            }
            break;
        case STEP_UNION:
        case STEP_LITERAL: break;
        }
        if (!ok)
            return false;
    }
    return true;
}

static bool path_walk(struct jsonpath_walk *w, const struct jsonpath *p, const val_refs *in, val_refs *out)
{
    val_refs now = {0}, next = {0};
    bool ok = true;
    array_each (it, in)
        array_push(&now, *it);
    for (size_t i = 0; ok && i < p->n; i++) {
        ok = step_walk(w, &p->steps[i], &now, &next);
        array_fini(&now);
        now = next;
        next = (val_refs){0};
    }
    array_each (it, &now)
        array_push(out, *it);
    array_fini(&now);
    return ok;
}

size_t jsonpath_find(struct arena *a, const struct jsonpath *p, const struct val *v, const struct val *const **out)
{
    struct jsonpath_walk w = {.a = a};
    val_refs in = {0}, found = {0};
    array_push(&in, v);
    size_t n = path_walk(&w, p, &in, &found) ? found.n : 0;
    const struct val **list = arena_alloc(a, (n + 1) * sizeof *list);
    if (n)
        memcpy(list, found.p, n * sizeof *list);
    *out = list;
    array_fini(&in);
    array_fini(&found);
    return n;
}

/* Go's %v: the fewest digits that tell it, with an exponent below 1e-4 and from 1e6 on. */
static void add_double(struct strbuf *b, double d)
{
    char text[40];
    int digits = 1;
    for (; digits < 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, d);
        if (strtod(text, NULL) == d)
            break;
    }
    (void)snprintf(text, sizeof text, "%.*e", digits - 1, d);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent >= -4 && exponent < 6)
        (void)snprintf(text, sizeof text, "%.*f", MAX(digits - 1 - exponent, 0), d);
    strbuf_addz(b, text);
}

void jsonpath_text(struct strbuf *b, const struct val *v)
{
    switch (v ? (enum val_type)v->type : VAL_NULL) {
    case VAL_NULL: strbuf_addz(b, "<no value>"); return;
    case VAL_STRING: strbuf_add(b, val_text(v)); return;
    case VAL_DOUBLE: add_double(b, v->d); return;
    case VAL_BOOL:
    case VAL_INT:
    case VAL_BYTES:
    case VAL_LIST:
    case VAL_MAP: json_encode(b, v); return;
    }
}

const struct val *jsonpath_plain(const struct val *v, struct str path)
{
    struct str part;
    if (str_starts(path, S(".")))
        path = str_sub(path, 1, path.n);
    while (v && str_cut(&path, '.', &part))
        v = val_get_str(v, part);
    return v;
}
