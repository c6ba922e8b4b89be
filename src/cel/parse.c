/* Reads CEL's grammar by descent. Where the text is wrong it goes on as the parser that upstream generates from the
 * grammar does, since what it then says is the contract: one token too many is left out, one that is missing is made
 * up, else all is skipped up to what may follow one of the rules under way. */
#include "cel/expr.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BIT(token) ((uint64_t)1 << (token))
#define LITERALS                                                                                                     \
    (BIT(T_TRUE) | BIT(T_FALSE) | BIT(T_NULL) | BIT(T_FLOAT) | BIT(T_INT) | BIT(T_UINT) | BIT(T_STRING) |            \
     BIT(T_BYTES))
#define PRIMARY                                                                                                      \
    (LITERALS | BIT(T_LBRACKET) | BIT(T_LBRACE) | BIT(T_LPAREN) | BIT(T_DOT) | BIT(T_MINUS) | BIT(T_IDENT))
#define START       (PRIMARY | BIT(T_NOT))
#define RELATIONS   (BIT(T_LT) | BIT(T_LE) | BIT(T_GE) | BIT(T_GT) | BIT(T_EQ) | BIT(T_NE) | BIT(T_IN))
#define FACTORS     (BIT(T_STAR) | BIT(T_SLASH) | BIT(T_PERCENT))
#define SUMS        (BIT(T_PLUS) | BIT(T_MINUS))
#define ANY_NAME    (BIT(T_IDENT) | BIT(T_ESCAPED))
#define AFTER_VALUE (BIT(T_DOT) | BIT(T_LBRACKET))

enum { RECOVERIES = 30 };

enum rule {
    RULE_START,
    RULE_EXPR,
    RULE_RELATION,
    RULE_CALC,
    RULE_UNARY,
    RULE_MEMBER,
    RULE_PRIMARY,
    RULE_LIST,
    RULES
};

struct cel_parser {
    struct arena *a;
    struct cel_issues *issues;
    struct token_list tokens;
    size_t i;
    bool recovering; /* nothing more is told until a token fits */
    bool over;       /* given up */
    bool wrong;      /* of syntax: some part is missing */
    size_t last_error;
    uint32_t last_rules;
    unsigned recoveries;
    unsigned depth[RULES];
};
typedef struct expr *parser_rule(struct cel_parser *p, uint64_t follow);

static struct expr *parse_expr(struct cel_parser *p, uint64_t follow);

struct expr *expr_new(struct arena *a, enum expr_kind kind, uint32_t at)
{
    struct expr *e = ARENA_NEW(a, struct expr);
    e->kind = (uint8_t)kind;
    e->at = at;
    return e;
}

struct expr *expr_call(struct arena *a, uint32_t at, struct str function, size_t n, struct expr *const *args)
{
    struct expr *e = expr_new(a, EXPR_CALL, at);
    e->name = function;
    e->n = (uint32_t)n;
    e->args = arena_dup(a, args, n * sizeof *args);
    return e;
}

struct expr *expr_ident(struct arena *a, uint32_t at, struct str name)
{
    struct expr *e = expr_new(a, EXPR_IDENT, at);
    e->name = name;
    return e;
}

static const struct token *parser_token(const struct cel_parser *p, size_t ahead)
{
    return &p->tokens.p[MIN(p->i + ahead, p->tokens.n - 1)];
}

static unsigned parser_sees(const struct cel_parser *p)
{
    return parser_token(p, 0)->type;
}

static bool parser_in(const struct cel_parser *p, uint64_t set)
{
    return !p->over && (BIT(parser_sees(p)) & set);
}

/* Takes the token that fits, whatever it is. */
static const struct token *parser_take(struct cel_parser *p)
{
    const struct token *t = parser_token(p, 0);
    if (t->type != T_EOF)
        p->i++;
    p->recovering = false;
    p->last_error = SIZE_MAX;
    p->last_rules = 0;
    return t;
}

static struct str expected_text(struct cel_parser *p, uint64_t set)
{
    bool many = set & (set - 1);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    bool first = true;
    if (many)
        strbuf_addc(&b, '{');
    for (unsigned t = 0; t < T_COUNT; t++) {
        if (!(set & BIT(t)))
            continue;
        if (!first)
            strbuf_addz(&b, ", ");
        strbuf_addz(&b, token_label(t));
        first = false;
    }
    if (many)
        strbuf_addc(&b, '}');
    return str_dup(p->a, strbuf_str(&b));
}

/* A token as messages quote it. */
static struct str quoted_text(struct cel_parser *p, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(p->issues->source.n * 2 + 16);
    strbuf_addc(&b, '\'');
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        strbuf_addz(&b, c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : "");
        if (c != '\n' && c != '\r' && c != '\t')
            strbuf_addc(&b, c);
    }
    strbuf_addc(&b, '\'');
    return str_dup(p->a, strbuf_str(&b));
}

static void parser_tell(struct cel_parser *p, const struct token *at, const char *fmt, ...) PRINTF(3, 4);
static void parser_tell(struct cel_parser *p, const struct token *at, const char *fmt, ...)
{
    p->wrong = true;
    if (p->recovering || p->over)
        return;
    p->recovering = true;
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(p->a, fmt, args);
    va_end(args);
    cel_issue_add(p->issues, at->at, "Syntax error: " STR_FMT, STR_ARG(text));
}

static void tell_mismatch(struct cel_parser *p, uint64_t expected)
{
    struct str what = quoted_text(p, parser_token(p, 0)->text), set = expected_text(p, expected);
    parser_tell(p, parser_token(p, 0), "mismatched input " STR_FMT " expecting " STR_FMT, STR_ARG(what),
                STR_ARG(set));
}

/* Where `ahead` tokens from here nothing fits. */
static void tell_no_way(struct cel_parser *p, size_t ahead)
{
    const struct token *from = parser_token(p, 0), *to = parser_token(p, ahead);
    const struct token *last = to->type == T_EOF ? to - 1 : to;
    const char *end = last->text.p + last->text.n;
    struct str what = quoted_text(p, (struct str){from->text.p, (size_t)(end - from->text.p)});
    parser_tell(p, to, "no viable alternative at input " STR_FMT, STR_ARG(what));
}

/* One token too many: told and left out. */
static bool drop_extraneous(struct cel_parser *p, uint64_t expected)
{
    if (!(BIT(parser_token(p, 1)->type) & expected) || parser_sees(p) == T_EOF)
        return false;
    struct str what = quoted_text(p, parser_token(p, 0)->text), set = expected_text(p, expected);
    parser_tell(p, parser_token(p, 0), "extraneous input " STR_FMT " expecting " STR_FMT, STR_ARG(what),
                STR_ARG(set));
    p->i++;
    p->recovering = false;
    return true;
}

/* Before a choice: whether one of the expected tokens comes, after a step at setting it right. */
static bool parser_sync(struct cel_parser *p, uint64_t expected)
{
    if (p->over)
        return false;
    if (BIT(parser_sees(p)) & expected)
        return true;
    if (!p->recovering && drop_extraneous(p, expected))
        return true;
    tell_mismatch(p, expected);
    return false;
}

/* The rule cannot go on: skips to what may follow it. Gives NULL. */
static struct expr *parser_recover(struct cel_parser *p, enum rule rule, uint64_t follow)
{
    if (p->over)
        return NULL;
    if (++p->recoveries > RECOVERIES) {
        cel_issue_add(p->issues, parser_token(p, 0)->at, "Syntax error: error recovery attempt limit exceeded: %d",
                      RECOVERIES);
        p->over = true;
        return NULL;
    }
    if (p->last_error == p->i && (p->last_rules & (1u << rule)) && parser_sees(p) != T_EOF)
        p->i++;
    p->last_rules = p->last_error == p->i ? p->last_rules | 1u << rule : 1u << rule;
    p->last_error = p->i;
    while (parser_sees(p) != T_EOF && !(BIT(parser_sees(p)) & follow))
        p->i++;
    return NULL;
}

/* One certain token; `after`: what may come behind it. False: the rule cannot go on. */
static bool parser_match(struct cel_parser *p, enum cel_token type, uint64_t after)
{
    if (p->over)
        return false;
    if (parser_sees(p) == type) {
        parser_take(p);
        return true;
    }
    if (parser_token(p, 1)->type == type && parser_sees(p) != T_EOF) {
        if (!drop_extraneous(p, BIT(type)))
            return false;
        parser_take(p);
        return true;
    }
    if (BIT(parser_sees(p)) & after) {
        struct str what = quoted_text(p, parser_token(p, 0)->text);
        parser_tell(p, parser_token(p, 0), "missing %s at " STR_FMT, token_label(type), STR_ARG(what));
        return true;
    }
    tell_mismatch(p, BIT(type));
    return false;
}

static bool parser_deeper(struct cel_parser *p, enum rule rule)
{
    if (++p->depth[rule] <= CEL_MAX_DEPTH)
        return true;
    if (!p->over)
        cel_issue_add(p->issues, CEL_NOWHERE, "expression recursion limit exceeded: %d", CEL_MAX_DEPTH);
    p->over = p->wrong = true;
    return false;
}

static struct expr *no_expr(struct cel_parser *p, uint32_t at)
{
    return expr_new(p->a, EXPR_NONE, at);
}

static struct expr *or_none(struct cel_parser *p, struct expr *e)
{
    return e ? e : no_expr(p, parser_token(p, 0)->at);
}

static bool is_reserved(struct str s)
{
    static const char *const words[] = {"as",       "break",  "const",  "continue", "else", "for",
                                        "function", "if",     "import", "let",      "loop", "namespace",
                                        "package",  "return", "var",    "void",     "while"};
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(s, words[i]))
            return true;
    return false;
}

/* ---- literals ---- */

static void add_rune(struct strbuf *b, uint32_t c)
{
    if (c < 0x80) {
        strbuf_addc(b, (char)c);
    } else if (c < 0x800) {
        strbuf_addc(b, (char)(0xC0 | c >> 6));
        strbuf_addc(b, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        strbuf_addc(b, (char)(0xE0 | c >> 12));
        strbuf_addc(b, (char)(0x80 | (c >> 6 & 0x3F)));
        strbuf_addc(b, (char)(0x80 | (c & 0x3F)));
    } else {
        strbuf_addc(b, (char)(0xF0 | c >> 18));
        strbuf_addc(b, (char)(0x80 | (c >> 12 & 0x3F)));
        strbuf_addc(b, (char)(0x80 | (c >> 6 & 0x3F)));
        strbuf_addc(b, (char)(0x80 | (c & 0x3F)));
    }
}

static uint32_t digits_value(const char *p, size_t n, unsigned base)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * base + (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v;
}

/* One escape, p behind the backslash; gives where it ends, NULL where it is no code point. */
static const char *add_escape(struct strbuf *b, const char *p, bool bytes)
{
    static const char letters[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
    const char *letter = strchr(letters, *p);
    if (letter) {
        strbuf_addc(b, values[letter - letters]);
        return p + 1;
    }
    bool octal = *p >= '0' && *p <= '3';
    size_t n = octal ? 3 : *p == 'x' || *p == 'X' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    if (!n) {
        strbuf_addc(b, *p);
        return p + 1;
    }
    uint32_t c = digits_value(octal ? p : p + 1, n, octal ? 8 : 16);
    if (n >= 4 && (bytes || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)))
        return NULL;
    if (bytes)
        strbuf_addc(b, (char)c);
    else
        add_rune(b, c);
    return octal ? p + n : p + 1 + n;
}

static struct expr *string_literal(struct cel_parser *p, const struct token *t)
{
    bool bytes = t->type == T_BYTES;
    const char *from = t->text.p + bytes, *end = t->text.p + t->text.n;
    bool raw = *from == 'r' || *from == 'R';
    from += raw;
    size_t quotes = end - from >= 6 && from[1] == from[0] && from[2] == from[0] ? 3 : 1;
    from += quotes;
    end -= quotes;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(t->text.n + 8);
    while (from && from < end) {
        if (*from == '\\' && !raw) {
            from = add_escape(&b, from + 1, bytes);
        } else if (*from == '\r') { /* line ends are one character */
            strbuf_addc(&b, '\n');
            from += from + 1 < end && from[1] == '\n' ? 2 : 1;
        } else {
            strbuf_addc(&b, *from++);
        }
    }
    if (!from) {
        cel_issue_add(p->issues, t->at, "unable to unescape string");
        return no_expr(p, t->at);
    }
    struct expr *e = expr_new(p->a, EXPR_LITERAL, t->at);
    struct str text = str_dup(p->a, strbuf_str(&b));
    e->value = bytes ? cel_bytes(text) : cel_string(text);
    return e;
}

static bool unsigned_literal(struct str s, uint64_t *out)
{
    bool hex = s.n > 2 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'X');
    uint64_t v = 0;
    for (size_t i = hex ? 2 : 0; i < s.n; i++) {
        uint64_t digit = digits_value(s.p + i, 1, 16);
        if (__builtin_mul_overflow(v, hex ? 16u : 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

static struct expr *number_literal(struct cel_parser *p, uint32_t at, bool minus, const struct token *t)
{
    struct expr *e = expr_new(p->a, EXPR_LITERAL, at);
    uint64_t u = 0;
    const char *what = NULL;
    if (t->type == T_FLOAT) {
        double d = strtod(arena_strz(p->a, t->text), NULL);
        e->value = cel_double(minus ? -d : d);
        if (isinf(d))
            what = "double";
    } else if (t->type == T_UINT) {
        if (!unsigned_literal(str_sub(t->text, 0, t->text.n - 1), &u))
            what = "uint";
        e->value = cel_uint(u);
    } else {
        if (!unsigned_literal(t->text, &u) || u > (uint64_t)INT64_MAX + minus)
            what = "int";
        e->value = cel_int((int64_t)(minus ? -u : u));
    }
    if (!what)
        return e;
    cel_issue_add(p->issues, at, "invalid %s literal", what);
    return no_expr(p, at);
}

/* ---- primaries ---- */

static struct expr *made_call(struct cel_parser *p, uint32_t at, struct str name, struct expr *target,
                              struct expr **args, size_t n)
{
    struct expr *made = cel_macro(p->a, p->issues, name, target, args, n, at);
    if (made)
        return made;
    if (!target)
        return expr_call(p->a, at, name, n, args);
    struct expr **all = arena_alloc(p->a, (n + 1) * sizeof *all);
    all[0] = target;
    if (n)
        memcpy(all + 1, args, n * sizeof *args);
    struct expr *call = expr_call(p->a, at, name, n + 1, all);
    call->method = true;
    return call;
}

/* Up to and with ')'. False: the rule that called cannot go on. */
static bool parse_args(struct cel_parser *p, uint64_t follow, struct expr ***args, size_t *n)
{
    ARRAY(struct expr *) list = {0};
    bool ok = parser_sync(p, START | BIT(T_RPAREN));
    if (ok && !parser_in(p, BIT(T_RPAREN))) {
        for (bool more = true; more;) {
            struct expr *e = parse_expr(p, follow | BIT(T_COMMA) | BIT(T_RPAREN));
            array_push(&list, or_none(p, e));
            more = parser_in(p, BIT(T_COMMA));
            if (more)
                parser_take(p);
        }
    }
    ok = ok && parser_match(p, T_RPAREN, follow | AFTER_VALUE);
    *n = list.n;
    *args = arena_dup(p->a, list.p, list.n * sizeof *list.p);
    array_fini(&list);
    return ok;
}

/* '?' before an element, an entry or a field. */
static bool parse_optional(struct cel_parser *p)
{
    if (!parser_in(p, BIT(T_QUESTION)))
        return false;
    parser_take(p);
    return true;
}

/* From '[' on. */
static struct expr *parse_list(struct cel_parser *p, uint64_t follow)
{
    struct expr *e = expr_new(p->a, EXPR_LIST, parser_take(p)->at);
    ARRAY(struct expr *) items = {0};
    uint64_t first = START | BIT(T_QUESTION), end = BIT(T_COMMA) | BIT(T_RBRACKET);
    bool ok = parser_sync(p, first | end);
    if (ok && parser_in(p, first)) {
        for (bool more = true; more;) {
            bool optional = parse_optional(p);
            struct expr *item = or_none(p, parse_expr(p, follow | end));
            item->optional = optional;
            array_push(&items, item);
            more = parser_in(p, BIT(T_COMMA)) && (BIT(parser_token(p, 1)->type) & first);
            if (more)
                parser_take(p);
        }
        ok = parser_sync(p, end);
    }
    if (ok && parser_in(p, BIT(T_COMMA)))
        parser_take(p);
    ok = ok && parser_match(p, T_RBRACKET, follow | AFTER_VALUE);
    e->n = (uint32_t)items.n;
    e->args = arena_dup(p->a, items.p, items.n * sizeof *items.p);
    array_fini(&items);
    return ok ? e : parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
}

/* A field's name as an entry's key. NULL: the rule cannot go on. */
static struct expr *parse_field_key(struct cel_parser *p)
{
    if (!parser_in(p, ANY_NAME)) {
        if (!parser_sync(p, ANY_NAME))
            return NULL;
    }
    const struct token *t = parser_take(p);
    return expr_ident(p->a, t->at, t->text);
}

/* From '{' on, of a map or, with a name, of a struct. */
static struct expr *parse_entries(struct cel_parser *p, uint64_t follow, struct str name)
{
    struct expr *e = expr_new(p->a, name.p ? EXPR_STRUCT : EXPR_MAP, parser_take(p)->at);
    e->name = name;
    ARRAY(struct expr *) items = {0};
    uint64_t first = (name.p ? ANY_NAME : START) | BIT(T_QUESTION), end = BIT(T_COMMA) | BIT(T_RBRACE);
    bool ok = parser_sync(p, first | end);
    if (ok && parser_in(p, first)) {
        for (bool more = true; more && ok;) {
            bool optional = parse_optional(p);
            struct expr *key = name.p ? parse_field_key(p) : parse_expr(p, follow | BIT(T_COLON) | end);
            ok = key || !name.p;
            if (!ok)
                break;
            key = or_none(p, key);
            key->optional = optional;
            array_push(&items, key);
            ok = parser_match(p, T_COLON, START);
            struct expr *value = ok ? parse_expr(p, follow | end) : NULL;
            array_push(&items, or_none(p, value));
            if (!ok) /* the list of entries ends here, and the map goes on */
                parser_recover(p, RULE_LIST, follow | end);
            more = ok && parser_in(p, BIT(T_COMMA)) && (BIT(parser_token(p, 1)->type) & first);
            if (more)
                parser_take(p);
        }
        ok = parser_sync(p, end);
    }
    if (ok && parser_in(p, BIT(T_COMMA)))
        parser_take(p);
    ok = ok && parser_match(p, T_RBRACE, follow | AFTER_VALUE);
    e->n = (uint32_t)items.n;
    e->args = arena_dup(p->a, items.p, items.n * sizeof *items.p);
    array_fini(&items);
    return ok ? e : parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
}

/* Whether a.b.c{ comes: how many tokens up to the brace; 0: no. */
static size_t struct_name_length(const struct cel_parser *p)
{
    size_t n = 1;
    while (parser_token(p, n)->type == T_DOT && parser_token(p, n + 1)->type == T_IDENT)
        n += 2;
    return parser_token(p, n)->type == T_LBRACE ? n : 0;
}

static struct expr *parse_name(struct cel_parser *p, uint64_t follow)
{
    bool leading = parser_in(p, BIT(T_DOT));
    if (leading && parser_token(p, 1)->type != T_IDENT) {
        tell_no_way(p, 1);
        return parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
    }
    const struct token *dot = parser_token(p, 0);
    if (leading)
        parser_take(p);
    size_t parts = struct_name_length(p);
    const struct token *t = parser_take(p);
    struct str name = t->text;
    if (parts) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(p->issues->source.n + 2);
        strbuf_addz(&b, leading ? "." : "");
        strbuf_add(&b, name);
        for (size_t i = 1; i < parts; i++)
            strbuf_add(&b, parser_take(p)->text);
        return parse_entries(p, follow, str_dup(p->a, strbuf_str(&b)));
    }
    bool reserved = is_reserved(name);
    if (reserved)
        cel_issue_add(p->issues, leading ? dot->at : t->at, "reserved identifier: " STR_FMT, STR_ARG(name));
    if (leading)
        name = arena_fmt(p->a, "." STR_FMT, STR_ARG(name));
    if (parser_in(p, BIT(T_LPAREN))) {
        uint32_t at = parser_take(p)->at;
        struct expr **args;
        size_t n;
        if (!parse_args(p, follow, &args, &n))
            return parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
        return reserved ? no_expr(p, t->at) : made_call(p, at, name, NULL, args, n);
    }
    return reserved ? no_expr(p, t->at) : expr_ident(p->a, leading ? dot->at : t->at, name);
}

static struct expr *parse_literal(struct cel_parser *p)
{
    const struct token *t = parser_take(p);
    struct expr *e = expr_new(p->a, EXPR_LITERAL, t->at);
    switch (t->type) {
    case T_MINUS: return number_literal(p, t->at, true, parser_take(p));
    case T_TRUE: e->value = cel_bool(true); return e;
    case T_FALSE: e->value = cel_bool(false); return e;
    case T_NULL: e->value = cel_null(); return e;
    case T_STRING:
    case T_BYTES: return string_literal(p, t);
    default: return number_literal(p, t->at, false, t);
    }
}

static struct expr *parse_primary(struct cel_parser *p, uint64_t follow)
{
    if (!parser_sync(p, PRIMARY))
        return parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
    unsigned next = parser_token(p, 1)->type;
    switch (parser_sees(p)) {
    case T_IDENT:
    case T_DOT: return parse_name(p, follow);
    case T_LBRACKET: return parse_list(p, follow);
    case T_LBRACE: return parse_entries(p, follow, STR_NONE);
    case T_MINUS:
        if (next != T_INT && next != T_FLOAT) {
            tell_no_way(p, 1);
            return parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
        }
        return parse_literal(p);
    case T_LPAREN: {
        parser_take(p);
        struct expr *e = parse_expr(p, follow | BIT(T_RPAREN));
        if (!parser_match(p, T_RPAREN, follow | AFTER_VALUE))
            return parser_recover(p, RULE_PRIMARY, follow | AFTER_VALUE);
        return e;
    }
    default: return parse_literal(p);
    }
}

/* ---- members ---- */

/* .name .name() .?name, the dot coming. NULL: the rule cannot go on. */
static struct expr *parse_select(struct cel_parser *p, struct expr *operand, uint64_t follow)
{
    unsigned next = parser_token(p, 1)->type;
    if (next != T_IDENT && next != T_ESCAPED && next != T_QUESTION) {
        tell_no_way(p, 1);
        return NULL;
    }
    const struct token *dot = parser_take(p);
    bool optional = parse_optional(p);
    if (optional && !parser_in(p, ANY_NAME) && !parser_sync(p, ANY_NAME))
        return NULL;
    const struct token *name = parser_take(p);
    if (name->type == T_ESCAPED)
        cel_issue_add(p->issues, name->at, "unsupported syntax: '`'");
    if (optional) {
        struct expr *field = expr_new(p->a, EXPR_LITERAL, dot->at);
        field->value = cel_string(name->text);
        struct expr *args[] = {operand, field};
        return expr_call(p->a, dot->at, S("_?._"), 2, args);
    }
    if (name->type == T_IDENT && parser_in(p, BIT(T_LPAREN))) {
        uint32_t at = parser_take(p)->at;
        struct expr **args;
        size_t n;
        if (!parse_args(p, follow, &args, &n))
            return NULL;
        return made_call(p, at, name->text, operand, args, n);
    }
    struct expr *e = expr_new(p->a, EXPR_SELECT, dot->at);
    e->name = name->text;
    e->n = 1;
    e->args = arena_dup(p->a, &operand, sizeof operand);
    return e;
}

static struct expr *parse_index(struct cel_parser *p, struct expr *operand, uint64_t follow)
{
    uint32_t at = parser_take(p)->at;
    if (!parser_sync(p, START | BIT(T_QUESTION)))
        return NULL;
    bool optional = parse_optional(p);
    struct expr *index = or_none(p, parse_expr(p, follow | BIT(T_RBRACKET)));
    if (!parser_match(p, T_RBRACKET, follow | AFTER_VALUE))
        return NULL;
    struct expr *args[] = {operand, index};
    return expr_call(p->a, at, optional ? S("_[?_]") : S("_[_]"), 2, args);
}

static struct expr *parse_member(struct cel_parser *p, uint64_t follow)
{
    unsigned depth = p->depth[RULE_MEMBER];
    struct expr *e = or_none(p, parser_deeper(p, RULE_MEMBER) ? parse_primary(p, follow) : NULL);
    while (parser_in(p, AFTER_VALUE) && parser_deeper(p, RULE_MEMBER)) {
        struct expr *next = parser_in(p, BIT(T_DOT)) ? parse_select(p, e, follow) : parse_index(p, e, follow);
        if (!next) {
            parser_recover(p, RULE_MEMBER, follow);
            e = no_expr(p, e->at);
            break;
        }
        e = next;
    }
    p->depth[RULE_MEMBER] = depth;
    return e;
}

/* ---- operators ---- */

static struct expr *parse_unary(struct cel_parser *p, uint64_t follow)
{
    if (!parser_sync(p, START))
        return parser_recover(p, RULE_UNARY, follow);
    unsigned sign = parser_sees(p), next = parser_token(p, 1)->type;
    if (sign == T_MINUS && next != T_MINUS && !(BIT(next) & PRIMARY)) {
        tell_no_way(p, 1);
        if (next == T_EOF) {
            p->i++;
            p->recovering = false;
            tell_mismatch(p, START);
        }
        return parser_recover(p, RULE_UNARY, follow);
    }
    if ((sign != T_MINUS && sign != T_NOT) || (sign == T_MINUS && (next == T_INT || next == T_FLOAT)))
        return parse_member(p, follow);
    uint32_t at = parser_token(p, 0)->at;
    bool odd = false;
    for (; parser_in(p, BIT(sign)); odd = !odd)
        parser_take(p);
    struct expr *e = parse_member(p, follow);
    return odd ? expr_call(p->a, at, sign == T_NOT ? S("!_") : S("-_"), 1, &e) : e;
}

static struct expr *parse_binary(struct cel_parser *p, uint64_t follow, enum rule rule, uint64_t operators,
                                 parser_rule *part)
{
    static const struct {
        uint8_t token;
        struct str name;
    } operators_of[] = {
        {T_EQ, S_INIT("_==_")},  {T_NE, S_INIT("_!=_")},  {T_IN, S_INIT("@in")},    {T_LT, S_INIT("_<_")},
        {T_LE, S_INIT("_<=_")},  {T_GE, S_INIT("_>=_")},  {T_GT, S_INIT("_>_")},    {T_MINUS, S_INIT("_-_")},
        {T_PLUS, S_INIT("_+_")}, {T_STAR, S_INIT("_*_")}, {T_SLASH, S_INIT("_/_")}, {T_PERCENT, S_INIT("_%_")},
    };
    unsigned depth = p->depth[rule];
    struct expr *e = or_none(p, parser_deeper(p, rule) ? part(p, follow | operators) : NULL);
    while (parser_in(p, operators) && parser_deeper(p, rule)) {
        const struct token *t = parser_take(p);
        size_t i = 0;
        while (operators_of[i].token != t->type)
            i++;
        struct expr *args[] = {e, or_none(p, part(p, follow | operators))};
        e = expr_call(p->a, t->at, operators_of[i].name, 2, args);
    }
    p->depth[rule] = depth;
    return e;
}

static struct expr *parse_product(struct cel_parser *p, uint64_t follow)
{
    return parse_binary(p, follow, RULE_CALC, FACTORS, parse_unary);
}

static struct expr *parse_sum(struct cel_parser *p, uint64_t follow)
{
    return parse_binary(p, follow, RULE_CALC, SUMS, parse_product);
}

static struct expr *parse_relation(struct cel_parser *p, uint64_t follow)
{
    return parse_binary(p, follow, RULE_RELATION, RELATIONS, parse_sum);
}

struct parser_chain {
    struct expr **terms;
    uint32_t *at;
    struct str name;
};

/* Terms of && or || as a tree that is nowhere deeper than it must be. */
static struct expr *chain_tree(struct cel_parser *p, const struct parser_chain *c, size_t low, size_t high)
{
    size_t middle = (low + high + 1) / 2;
    struct expr *args[] = {middle == low ? c->terms[middle] : chain_tree(p, c, low, middle - 1),
                           middle == high ? c->terms[middle + 1] : chain_tree(p, c, middle + 1, high)};
    return expr_call(p->a, c->at[middle], c->name, 2, args);
}

static struct expr *parse_chain(struct cel_parser *p, uint64_t follow, enum cel_token operator, struct str name,
                                parser_rule *part)
{
    ARRAY(struct expr *) terms = {0};
    ARRAY(uint32_t) at = {0};
    array_push(&terms, or_none(p, part(p, follow | BIT(operator))));
    while (parser_in(p, BIT(operator))) {
        array_push(&at, parser_take(p)->at);
        array_push(&terms, or_none(p, part(p, follow | BIT(operator))));
    }
    struct parser_chain chain = {terms.p, at.p, name};
    struct expr *e = at.n ? chain_tree(p, &chain, 0, at.n - 1) : terms.p[0];
    array_fini(&terms);
    array_fini(&at);
    return e;
}

static struct expr *parse_and(struct cel_parser *p, uint64_t follow)
{
    return parse_chain(p, follow, T_AND, S("_&&_"), parse_relation);
}

static struct expr *parse_or(struct cel_parser *p, uint64_t follow)
{
    return parse_chain(p, follow, T_OR, S("_||_"), parse_and);
}

static struct expr *parse_expr(struct cel_parser *p, uint64_t follow)
{
    unsigned depth = p->depth[RULE_EXPR];
    if (!parser_deeper(p, RULE_EXPR))
        return NULL;
    struct expr *e = parse_or(p, follow | BIT(T_QUESTION));
    if (parser_in(p, BIT(T_QUESTION))) {
        uint32_t at = parser_take(p)->at;
        struct expr *yes = parse_or(p, follow | BIT(T_COLON));
        if (parser_match(p, T_COLON, START)) {
            struct expr *args[] = {e, yes, or_none(p, parse_expr(p, follow))};
            e = expr_call(p->a, at, S("_?_:_"), 3, args);
        } else {
            e = parser_recover(p, RULE_EXPR, follow);
        }
    }
    p->depth[RULE_EXPR] = depth;
    return e;
}

static bool tree_too_deep(const struct expr *e, unsigned left)
{
    if (!left)
        return true;
    for (uint32_t i = 0; i < e->n; i++)
        if (tree_too_deep(e->args[i], left - 1))
            return true;
    const struct expr_fold *f = e->fold;
    return f && (tree_too_deep(f->range, left - 1) || tree_too_deep(f->init, left - 1) ||
                 tree_too_deep(f->condition, left - 1) || tree_too_deep(f->step, left - 1) ||
                 tree_too_deep(f->result, left - 1));
}

struct expr *cel_parse(struct arena *a, struct str source, struct cel_issues *issues)
{
    size_t points = cel_code_points(source);
    if (points > CEL_MAX_CODE_POINTS) {
        cel_issue_add(issues, CEL_NOWHERE, "expression code point size exceeds limit: size: %zu, limit %d", points,
                      CEL_MAX_CODE_POINTS);
        return NULL;
    }
    struct cel_parser p = {.a = a, .issues = issues, .last_error = SIZE_MAX};
    p.tokens = cel_lex(a, source, issues);
    struct expr *e = parse_expr(&p, BIT(T_EOF));
    if (!parser_match(&p, T_EOF, 0))
        p.wrong = true;
    if (issues->n || p.wrong)
        return NULL;
    if (!tree_too_deep(e, CEL_MAX_TREE))
        return e;
    cel_issue_add(issues, CEL_NOWHERE, "expression recursion limit exceeded: %d", CEL_MAX_DEPTH);
    return NULL;
}
