/* selector.c - label selectors (the grammar of k8s.io/apimachinery/pkg/labels, and metav1.LabelSelector), field
 * selectors, and matching.
 *
 * A selector is a list of requirements that must all hold. Both the text and the object become the same list, sorted
 * by key and stable within one key, with the values of each sorted and unique: so the canonical text is a walk over
 * it. The operators of either form stay apart although some mean the same (OP_EQUAL, OP_IN), because that text shows
 * them.
 *
 * The parser looks one token ahead and has no recursion. Its oddities are the grammar's: "in" and "notin" are
 * ordinary names where a key stands, an empty value is a value, and so is the nothing between two commas of a set.
 *
 * Costs: matching is requirements times labels, both small; values are searched one by one. SELECTOR_MAX bounds the
 * requirements of a text, which comes from a URL, and the values of each requirement. An absent label matches NotIn
 * and !=, as upstream.
 */
#include "api/selector.h"
#include "api/formats.h"

enum op { OP_EXISTS, OP_NOT_EXISTS, OP_IN, OP_NOT_IN, OP_EQUAL, OP_DOUBLE_EQUAL, OP_NOT_EQUAL, OP_GREATER, OP_LESS };
struct requirement {
    struct str key;
    enum op op;
    size_t order;       /* in which it came */
    struct str *values; /* sorted, unique */
    size_t n;
};
struct selector {
    struct requirement *list; /* sorted by key */
    size_t n;
    bool nothing;
};

enum token_kind { END, IDENTIFIER, COMMA, OPEN, CLOSE, NOT, SIGN };
struct selector_token {
    enum token_kind kind;
    struct str text;
    enum op op; /* of SIGN, and of the words in and notin */
    bool word;  /* in or notin */
};
struct parser {
    struct arena *a;
    struct str rest;
    struct selector_token next;
};

static bool char_is_special(char c)
{
    return c && strchr("=!(),><", c);
}

static struct selector_token token_scan(struct str *rest)
{
    static const struct {
        struct str text;
        enum token_kind kind;
        enum op op;
    } signs[] = {{S_INIT("=="), SIGN, OP_DOUBLE_EQUAL},
                 {S_INIT("!="), SIGN, OP_NOT_EQUAL},
                 {S_INIT("="), SIGN, OP_EQUAL},
                 {S_INIT(">"), SIGN, OP_GREATER},
                 {S_INIT("<"), SIGN, OP_LESS},
                 {S_INIT("!"), NOT, 0},
                 {S_INIT(","), COMMA, 0},
                 {S_INIT("("), OPEN, 0},
                 {S_INIT(")"), CLOSE, 0}};
    struct selector_token t = {.kind = END, .text = S("")};
    while (rest->n > 0 && rest->p[0] && strchr(" \t\r\n", rest->p[0]))
        *rest = str_sub(*rest, 1, rest->n);
    if (rest->n == 0)
        return t;
    for (size_t i = 0; i < countof(signs); i++)
        if (str_starts(*rest, signs[i].text)) {
            *rest = str_sub(*rest, signs[i].text.n, rest->n);
            return (struct selector_token){signs[i].kind, signs[i].text, signs[i].op, false};
        }
    size_t n = 0;
    while (n < rest->n && !char_is_special(rest->p[n]) && !(rest->p[n] && strchr(" \t\r\n", rest->p[n])))
        n++;
    t = (struct selector_token){IDENTIFIER, str_sub(*rest, 0, n), OP_IN, false};
    t.word = str_eq(t.text, S("in")) || str_eq(t.text, S("notin"));
    t.op = str_eq(t.text, S("notin")) ? OP_NOT_IN : OP_IN;
    *rest = str_sub(*rest, n, rest->n);
    return t;
}

static struct selector_token token_take(struct parser *p)
{
    struct selector_token t = p->next;
    p->next = token_scan(&p->rest);
    return t;
}

#define FOUND(t) STR_ARG((t).text)

static bool text_check(struct arena *a, format_fn *f, struct str s, const char *path, struct err *err)
{
    struct complaints c = COMPLAINTS(a);
    f(&c, s);
    if (c.n == 0)
        return true;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_quoted(&b, s);
    for (size_t i = 0; i < c.n; i++)
        strbuf_addf(&b, "%s" STR_FMT, i ? "; " : ": ", STR_ARG(c.texts[i]));
    return err_set(err, E_BAD_REQUEST, "%s: Invalid value: " STR_FMT, path, STR_ARG(strbuf_str(&b)));
}

static bool add_value(struct parser *p, struct requirement *r, struct str v, struct err *err)
{
    if (r->n >= SELECTOR_MAX)
        return err_set(err, E_BAD_REQUEST, "a selector may have at most %d values", SELECTOR_MAX);
    size_t at = 0;
    while (at < r->n && str_cmp(r->values[at], v) < 0)
        at++;
    if (at < r->n && str_eq(r->values[at], v))
        return true;
    if ((r->n & (r->n - 1)) == 0) { /* full at 0, 1, 2, 4 ... */
        struct str *more = arena_alloc(p->a, (r->n ? r->n * 2 : 1) * sizeof *more);
        if (r->n)
            memcpy(more, r->values, r->n * sizeof *more);
        r->values = more;
    }
    memmove(r->values + at + 1, r->values + at, (r->n - at) * sizeof *r->values);
    r->values[at] = str_dup(p->a, v);
    r->n++;
    return true;
}

static bool parse_set(struct parser *p, struct requirement *r, struct err *err)
{
    struct selector_token t = token_take(p);
    if (t.kind != OPEN)
        return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "' expected: '('", FOUND(t));
    struct selector_token first = p->next;
    if (first.kind == CLOSE) {
        token_take(p);
        return add_value(p, r, S(""), err);
    }
    if (first.kind != IDENTIFIER && first.kind != COMMA)
        return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: ',', ')' or identifier", FOUND(first));
    for (;;) {
        t = token_take(p);
        if (t.kind == IDENTIFIER) {
            if (!add_value(p, r, t.text, err))
                return false;
            if (p->next.kind == CLOSE)
                break;
            if (p->next.kind != COMMA)
                return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: ',' or ')'", FOUND(p->next));
        } else if (t.kind == COMMA) {
            if (r->n == 0 && !add_value(p, r, S(""), err))
                return false;
            if (p->next.kind == CLOSE) {
                if (!add_value(p, r, S(""), err))
                    return false;
                break;
            }
            if (p->next.kind == COMMA) {
                token_take(p);
                if (!add_value(p, r, S(""), err))
                    return false;
            }
        } else {
            return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: ',', or identifier", FOUND(t));
        }
    }
    token_take(p);
    return true;
}

static bool parse_requirement(struct parser *p, struct requirement *r, struct err *err)
{
    struct selector_token t = token_take(p);
    bool negated = t.kind == NOT;
    if (negated)
        t = token_take(p);
    if (t.kind != IDENTIFIER)
        return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: identifier", FOUND(t));
    if (!text_check(p->a, format_qualified_name, t.text, "<nil>", err))
        return false;
    r->key = str_dup(p->a, t.text);
    r->op = negated ? OP_NOT_EXISTS : OP_EXISTS;
    if (negated || p->next.kind == END || p->next.kind == COMMA)
        return true;
    t = token_take(p);
    if (t.kind != SIGN && !(t.kind == IDENTIFIER && t.word))
        return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: in, notin, =, ==, !=, gt, lt", FOUND(t));
    r->op = t.op;
    if (t.kind == IDENTIFIER) {
        if (!parse_set(p, r, err))
            return false;
    } else if (p->next.kind == END || p->next.kind == COMMA) {
        if (!add_value(p, r, S(""), err))
            return false;
    } else {
        t = token_take(p);
        if (t.kind != IDENTIFIER)
            return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: identifier", FOUND(t));
        if (!add_value(p, r, t.text, err))
            return false;
    }
    int64_t number;
    for (size_t i = 0; i < r->n; i++) {
        struct str path = arena_fmt(p->a, "values[%zu][" STR_FMT "]", i, STR_ARG(r->key));
        if ((r->op == OP_GREATER || r->op == OP_LESS) && !str_to_i64(r->values[i], INT64_MIN, INT64_MAX, &number))
            return err_set(err, E_BAD_REQUEST,
                           "values[%zu]: Invalid value: \"" STR_FMT
                           "\": for 'Gt', 'Lt' operators, the value must be an integer",
                           i, STR_ARG(r->values[i]));
        if (!text_check(p->a, format_label_value, r->values[i], path.p, err))
            return false;
    }
    return true;
}

static void requirement_append(struct selector *s, struct requirement r)
{
    r.order = s->n;
    s->list[s->n++] = r;
}

static int by_key(const void *x, const void *y)
{
    const struct requirement *a = x, *b = y;
    int keys = str_cmp(a->key, b->key);
    return keys ? keys : (a->order > b->order) - (a->order < b->order);
}

static struct selector *selector_sort(struct selector *s)
{
    if (s->n > 1)
        qsort(s->list, s->n, sizeof *s->list, by_key);
    return s;
}

static struct selector *selector_new(struct arena *a, size_t room)
{
    struct selector *s = ARENA_NEW(a, struct selector);
    s->list = room ? arena_alloc(a, room * sizeof *s->list) : NULL;
    return s;
}

bool selector_parse(struct arena *a, struct str text, struct selector **out, struct err *err)
{
    struct parser p = {.a = a, .rest = text};
    p.next = token_scan(&p.rest);
    size_t room = 1;
    for (size_t i = 0; i < text.n; i++)
        room += text.p[i] == ',';
    if (room > SELECTOR_MAX)
        return err_set(err, E_BAD_REQUEST, "a selector may have at most %d requirements", SELECTOR_MAX);
    struct selector *s = selector_new(a, room);
    for (;;) {
        struct selector_token t = p.next;
        if (t.kind == END)
            break;
        if (t.kind != IDENTIFIER && t.kind != NOT)
            return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: !, identifier, or 'end of string'",
                           FOUND(t));
        struct requirement r = {0};
        if (!parse_requirement(&p, &r, err))
            return err_wrap(err, "unable to parse requirement");
        requirement_append(s, r);
        t = token_take(&p);
        if (t.kind == END)
            break;
        if (t.kind != COMMA)
            return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: ',' or 'end of string'", FOUND(t));
        if (p.next.kind != IDENTIFIER && p.next.kind != NOT)
            return err_set(err, E_BAD_REQUEST, "found '" STR_FMT "', expected: identifier after ','", FOUND(p.next));
    }
    *out = selector_sort(s);
    return true;
}

static bool op_of(const struct val *expression, enum op *out)
{
    static const struct {
        struct str text;
        enum op op;
    } ops[] = {{S_INIT("In"), OP_IN},         {S_INIT("NotIn"), OP_NOT_IN},
               {S_INIT("Exists"), OP_EXISTS}, {S_INIT("DoesNotExist"), OP_NOT_EXISTS},
               {S_INIT("Gt"), OP_GREATER},    {S_INIT("Lt"), OP_LESS}};
    struct str text = val_text(val_get(expression, N(operator)));
    for (size_t i = 0; i < countof(ops); i++)
        if (str_eq(text, ops[i].text)) {
            *out = ops[i].op;
            return true;
        }
    return false;
}

static int by_bytes(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* However many there are: an object has its own bound. */
static void take_values(struct arena *a, struct requirement *r, const struct val *list)
{
    r->values = arena_alloc(a, (val_len(list) + 1) * sizeof *r->values);
    val_each_item (value, list)
        r->values[r->n++] = str_dup(a, val_text(value));
    if (r->n > 1)
        qsort(r->values, r->n, sizeof *r->values, by_bytes);
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!kept || !str_eq(r->values[kept - 1], r->values[i]))
            r->values[kept++] = r->values[i];
    r->n = kept;
}

static struct requirement equal_to(struct arena *a, const struct member *m)
{
    struct requirement r = {.key = str_dup(a, m->name->s), .op = OP_EQUAL, .n = 1};
    r.values = ARENA_NEW(a, struct str);
    *r.values = str_dup(a, val_text(&m->v));
    return r;
}

bool selector_of(struct arena *a, const struct val *v, struct selector **out, struct err *err)
{
    struct selector *s = selector_new(a,
                                      val_len(val_get(v, N(matchLabels))) + val_len(val_get(v, N(matchExpressions))));
    s->nothing = !val_is(v, VAL_MAP);
    val_each_member (m, val_get(v, N(matchLabels)))
        requirement_append(s, equal_to(a, m));
    val_each_item (e, val_get(v, N(matchExpressions))) {
        struct requirement r = {.key = str_dup(a, val_text(val_get(e, N(key))))};
        if (!op_of(e, &r.op))
            return err_set(err, E_INVALID, "\"" STR_FMT "\" is not a valid label selector operator",
                           STR_ARG(val_text(val_get(e, N(operator)))));
        take_values(a, &r, val_get(e, N(values)));
        if ((r.op == OP_IN || r.op == OP_NOT_IN) && r.n == 0)
            return err_set(err, E_INVALID,
                           "values: Invalid value: []: for 'in', 'notin' operators, values set can't "
                           "be empty");
        requirement_append(s, r);
    }
    *out = selector_sort(s);
    return true;
}

struct selector *selector_of_map(struct arena *a, const struct val *map)
{
    struct selector *s = selector_new(a, val_len(map));
    s->nothing = val_len(map) == 0;
    val_each_member (m, map)
        requirement_append(s, equal_to(a, m));
    return selector_sort(s);
}

static bool has_value(const struct requirement *r, struct str v)
{
    return r->n == 1 ? str_eq(*r->values, v) : r->n && bsearch(&v, r->values, r->n, sizeof v, by_bytes);
}

static bool requirement_matches(const struct requirement *r, const struct val *labels)
{
    const struct val *v = val_get_str(labels, r->key);
    int64_t have, bound;
    switch (r->op) {
    case OP_EXISTS: return v != NULL;
    case OP_NOT_EXISTS: return v == NULL;
    case OP_IN:
    case OP_EQUAL:
    case OP_DOUBLE_EQUAL: return v && has_value(r, val_text(v));
    case OP_NOT_IN:
    case OP_NOT_EQUAL: return !v || !has_value(r, val_text(v));
    case OP_GREATER:
    case OP_LESS:
        return v && r->n == 1 && str_to_i64(val_text(v), INT64_MIN, INT64_MAX, &have) &&
               str_to_i64(r->values[0], INT64_MIN, INT64_MAX, &bound) &&
               (r->op == OP_GREATER ? have > bound : have < bound);
    }
    return false;
}

bool selector_matches(const struct selector *s, const struct val *labels)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (!requirement_matches(&s->list[i], labels))
            return false;
    return true;
}

bool selector_map_matches(const struct val *map, const struct val *labels)
{
    if (!val_len(map) || val_len(map) > val_len(labels)) /* each asks for another label */
        return false;
    val_each_member (m, map) {
        const struct val *v = val_get_str(labels, m->name->s);
        if (!v || !str_eq(val_text(v), val_text(&m->v)))
            return false;
    }
    return true;
}

static bool expression_matches(const struct val *e, const struct val *labels)
{
    struct requirement r = {.key = val_text(val_get(e, N(key)))};
    const struct val *values = val_get(e, N(values)), *v = val_get_str(labels, r.key);
    if (!op_of(e, &r.op))
        return false;
    if (r.op != OP_IN && r.op != OP_NOT_IN) {
        struct str only = val_text(val_item(values, 0));
        r.values = &only;
        r.n = val_len(values);
        return requirement_matches(&r, labels);
    }
    bool found = false;
    val_each_item (it, v ? values : NULL)
        found = found || str_eq(val_text(it), val_text(v));
    return found == (r.op == OP_IN) && val_len(values) > 0;
}

bool label_selector_matches(const struct val *s, const struct val *labels)
{
    const struct val *equal = val_get(s, N(matchLabels));
    if (!val_is(s, VAL_MAP) || (val_len(equal) && !selector_map_matches(equal, labels)))
        return false;
    val_each_item (e, val_get(s, N(matchExpressions)))
        if (!expression_matches(e, labels))
            return false;
    return true;
}

size_t selector_size(const struct selector *s)
{
    return s ? s->n : 0;
}

bool selector_is_everything(const struct selector *s)
{
    return !s->nothing && s->n == 0;
}

void selector_text(const struct selector *s, struct strbuf *out)
{
    static const char *const signs[] = {
        [OP_EXISTS] = "",         [OP_NOT_EXISTS] = "",  [OP_IN] = " in ",
        [OP_NOT_IN] = " notin ",  [OP_EQUAL] = "=",      [OP_GREATER] = ">",
        [OP_DOUBLE_EQUAL] = "==", [OP_NOT_EQUAL] = "!=", [OP_LESS] = "<",
    };
    for (size_t i = 0; i < s->n; i++) {
        const struct requirement *r = &s->list[i];
        bool set = r->op == OP_IN || r->op == OP_NOT_IN;
        strbuf_addf(out, "%s%s" STR_FMT "%s%s", i ? "," : "", r->op == OP_NOT_EXISTS ? "!" : "", STR_ARG(r->key),
                    signs[r->op], set ? "(" : "");
        for (size_t j = 0; j < r->n; j++)
            strbuf_addf(out, "%s" STR_FMT, j ? "," : "", STR_ARG(r->values[j]));
        if (set)
            strbuf_addc(out, ')');
    }
}

/* Field selectors: terms with '\' before a ',' '=' or '\' of the value. */
bool field_selector_parse(struct arena *a, struct str text, struct field_term **terms, size_t *n, struct err *err)
{
    size_t room = 1, from = 0, count = 0;
    for (size_t i = 0; i < text.n; i++)
        room += text.p[i] == ',';
    if (room > SELECTOR_MAX)
        return err_set(err, E_BAD_REQUEST, "a field selector may have at most %d terms", SELECTOR_MAX);
    struct field_term *list = arena_alloc(a, room * sizeof *list);
    bool escaped = false;
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && (escaped || text.p[i] != ',')) {
            escaped = !escaped && text.p[i] == '\\';
            continue;
        }
        struct str term = str_sub(text, from, i);
        from = i + 1;
        if (term.n == 0)
            continue;
        size_t at = 0, length = 0;
        bool equal = true;
        for (; at < term.n && length == 0; at++) {
            struct str rest = str_sub(term, at, term.n);
            length = str_starts(rest, S("!=")) || str_starts(rest, S("==")) ? 2 : rest.p[0] == '=' ? 1 : 0;
            equal = rest.p[0] != '!';
        }
        if (length == 0)
            return err_set(err, E_BAD_REQUEST, "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT "'",
                           STR_ARG(text), STR_ARG(term));
        at--;
        struct str raw = str_sub(term, at + length, term.n);
        char *value = arena_alloc(a, raw.n + 1);
        size_t used = 0;
        for (size_t j = 0; j < raw.n; j++) {
            char c = raw.p[j];
            if (c == '\\') {
                if (++j >= raw.n || !raw.p[j] || !strchr("\\,=", raw.p[j]))
                    return err_set(err, E_BAD_REQUEST, "invalid field selector: invalid escape sequence: \\%.*s",
                                   j < raw.n, raw.p + j);
                c = raw.p[j];
            } else if (c == '=') {
                return err_set(err, E_BAD_REQUEST, "invalid field selector: unescaped character in value: =");
            }
            value[used++] = c;
        }
        list[count++] = (struct field_term){str_dup(a, str_sub(term, 0, at)), {value, used}, equal};
    }
    *terms = list;
    *n = count;
    return true;
}
