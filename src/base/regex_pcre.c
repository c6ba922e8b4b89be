/* A pattern is parsed as RE2 has it, and what is written out is made from the tree: sets of bytes in hexadecimal,
 * groups and repetitions of ours. So what both would read differently means what RE2 says, and a set cannot reach
 * over the end of what it looks at. */
#include "base/regex_pcre.h"
#include "base/regex_int.h"

#define RANGES_MOST 400 /* of bytes, that one set of characters becomes */
#define DEPTH_MOST  200

struct pattern_out {
    struct strbuf *b;
    const struct regex_tree *tree;
    enum regex_field where;
    size_t depth;
    bool too_large;
};
/* PCRE2 as Debian builds it holds 64 KiB a pattern, repetitions written out. */
#define COMPILED_MOST 30000

/* --- bytes --- */

static bool byte_ends_text(unsigned c, enum regex_field where)
{
    if (c == 0 || c == '\r' || c == '\n')
        return true;
    return where == REGEX_FIELD_PATH
               ? c == '?' || c <= ' ' || c >= 0x7f
               : where == REGEX_FIELD_QUERY && (c == '&' || c == '%' || c == '+' || c <= ' ' || c >= 0x7f);
}

static void byte_add(struct strbuf *b, unsigned c)
{
    strbuf_addf(b, "\\x%02x", c);
}

/* Of a class: the bytes of [lo, hi] that may stand as they are. */
static size_t class_add(struct strbuf *b, unsigned lo, unsigned hi, enum regex_field where)
{
    size_t n = 0;
    for (unsigned c = lo; c <= hi; c++) {
        unsigned last = c;
        if (byte_ends_text(c, where))
            continue;
        while (last < hi && !byte_ends_text(last + 1, where))
            last++;
        byte_add(b, c);
        if (last > c) {
            strbuf_addc(b, '-');
            byte_add(b, last);
        }
        n++;
        c = last;
    }
    return n;
}

static void hex_class_add(struct strbuf *b, unsigned lo, unsigned hi)
{
    static const char digits[] = "0123456789ABCDEF";
    strbuf_addc(b, '[');
    for (unsigned i = lo; i <= hi; i++) {
        strbuf_addc(b, digits[i]);
        if (digits[i] >= 'A')
            strbuf_addc(b, (char)(digits[i] + 'a' - 'A'));
    }
    strbuf_addc(b, ']');
}

/* "%2F" and the like for [lo, hi]. */
static void escapes_add(struct strbuf *b, unsigned lo, unsigned hi)
{
    strbuf_addz(b, "%(?:");
    for (unsigned c = lo; c <= hi; c = (c | 15) + 1) {
        unsigned last = MIN(c | 15, hi), rows = c >> 4;
        if (!(c & 15))
            while (((rows + 1) << 4 | 15) <= hi)
                rows++;
        strbuf_addz(b, c > lo ? "|" : "");
        hex_class_add(b, c >> 4, rows);
        if (rows > c >> 4)
            last = rows << 4 | 15;
        hex_class_add(b, c & 15, last & 15);
        c = rows << 4;
    }
    strbuf_addc(b, ')');
}

/* --- characters --- */

struct char_alternatives { /* of one set */
    struct strbuf raw, escaped;
    size_t nraw, nescaped;
};

/* [lo, hi], all of as many bytes and each byte a range of its own. */
static void sequence_add(struct pattern_out *o, struct char_alternatives *s, const uint8_t *lo, const uint8_t *hi,
                         size_t n)
{
    if (o->where == REGEX_FIELD_HEADER) {
        strbuf_addz(&s->raw, s->nraw++ ? "|" : "");
        for (size_t i = 0; i < n; i++) {
            strbuf_addc(&s->raw, '[');
            class_add(&s->raw, lo[i], hi[i], o->where);
            strbuf_addc(&s->raw, ']');
        }
        return;
    }
    strbuf_addz(&s->escaped, s->nescaped++ ? "|" : "");
    for (size_t i = 0; i < n; i++)
        escapes_add(&s->escaped, lo[i], hi[i]);
}

static size_t rune_bytes(uint32_t c, uint8_t out[4])
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 63));
    out[0] = (uint8_t)(heads[n] | c);
    return n;
}

/* Characters above ASCII, cut so that each piece is one sequence of ranges of bytes. */
static void wide_add(struct pattern_out *o, struct char_alternatives *s, uint32_t lo, uint32_t hi)
{
    static const uint32_t ends[] = {0x7ff, 0xffff};
    uint8_t from[4], to[4];
    while (lo <= hi && s->nraw + s->nescaped < RANGES_MOST) {
        uint32_t last = hi;
        for (size_t i = 0; i < countof(ends); i++)
            if (lo <= ends[i])
                last = MIN(last, ends[i]);
        for (unsigned i = 1; i < rune_bytes(lo, from); i++) {
            uint32_t m = (1u << 6 * i) - 1;
            if ((lo & ~m) == (last & ~m))
                continue;
            if (lo & m)
                last = lo | m;
            else if ((last & m) != m)
                last = (last & ~m) - 1;
        }
        size_t n = rune_bytes(lo, from);
        rune_bytes(last, to);
        sequence_add(o, s, from, to, n);
        lo = last + 1;
    }
    o->too_large = o->too_large || lo <= hi;
}

/* What of ASCII is not there as it is: in a query everything may be escaped, in a path what must be. */
static void narrow_escapes_add(struct pattern_out *o, struct char_alternatives *s, uint32_t lo, uint32_t hi)
{
    for (uint32_t c = lo; c <= hi; c++) {
        bool must = c <= ' ' || c >= 0x7f || c == '?';
        if (o->where == REGEX_FIELD_QUERY ? false : !must)
            continue;
        uint32_t last = c;
        while (last < hi && (o->where == REGEX_FIELD_QUERY || last + 1 <= ' ' || last + 1 >= 0x7f || last + 1 == '?'))
            last++;
        strbuf_addz(&s->escaped, s->nescaped++ ? "|" : "");
        escapes_add(&s->escaped, c, last);
        c = last;
    }
    if (o->where == REGEX_FIELD_QUERY && lo <= ' ' && hi >= ' ')
        strbuf_addz(&s->escaped, s->nescaped++ ? "|\\+" : "\\+");
}

/* A set of characters, sorted. */
static void set_write(struct pattern_out *o, const uint32_t *p, size_t n)
{
    AUTO(strbuf_fini) struct strbuf ascii = STRBUF(4096);
    struct char_alternatives s = {.raw = STRBUF(65536), .escaped = STRBUF(65536)};
    size_t nascii = 0;
    /* [^/] in a path means what stands there, an escape letter by letter */
    bool open = o->where == REGEX_FIELD_PATH && n && p[n - 1] == RUNE_MAX;
    for (size_t i = 0; i < n; i += 2) {
        if (p[i] < 0x80) {
            nascii += class_add(&ascii, p[i], MIN(p[i + 1], 0x7fu), o->where);
            if (o->where != REGEX_FIELD_HEADER && !open)
                narrow_escapes_add(o, &s, p[i], MIN(p[i + 1], 0x7fu));
        }
        if (p[i + 1] >= 0x80 && !open)
            wide_add(o, &s, MAX(p[i], 0x80u), p[i + 1]);
    }
    strbuf_addz(o->b, "(?:");
    if (nascii)
        strbuf_addf(o->b, "[" STR_FMT "]", STR_ARG(strbuf_str(&ascii)));
    if (s.nraw)
        strbuf_addf(o->b, "%s" STR_FMT, nascii ? "|" : "", STR_ARG(strbuf_str(&s.raw)));
    if (s.nescaped)
        strbuf_addf(o->b, "%s" STR_FMT, nascii || s.nraw ? "|" : "", STR_ARG(strbuf_str(&s.escaped)));
    if (!nascii && !s.nraw && !s.nescaped)
        strbuf_addz(o->b, "(?!)");
    strbuf_addc(o->b, ')');
    o->too_large = o->too_large || s.raw.over || s.escaped.over || ascii.over;
    strbuf_fini(&s.raw);
    strbuf_fini(&s.escaped);
}

static void rune_write(struct pattern_out *o, uint32_t c, bool fold)
{
    if (!fold && o->where != REGEX_FIELD_QUERY && c < 0x80 && !byte_ends_text(c, o->where)) {
        if (regex_is_word(c) || c == '/')
            strbuf_addc(o->b, (char)c);
        else
            byte_add(o->b, c);
        return;
    }
    struct regex_set set = {0};
    regex_set_add(&set, c, c);
    if (fold)
        regex_set_fold(&set);
    else
        regex_set_clean(&set);
    set_write(o, set.p, set.n);
    array_fini(&set);
}

void regex_pcre_add_text(struct strbuf *b, struct str text, enum regex_field where, bool fold)
{
    struct pattern_out o = {.b = b, .where = where};
    uint32_t c;
    for (size_t n; text.n; text = str_sub(text, n, text.n)) {
        n = str_rune(text, &c);
        if (n) {
            rune_write(&o, c, fold);
            continue;
        }
        n = 1;
        if (where == REGEX_FIELD_HEADER)
            byte_add(b, (uint8_t)text.p[0]);
        else
            escapes_add(b, (uint8_t)text.p[0], (uint8_t)text.p[0]);
    }
}

/* --- the tree --- */

static void assertion_write(struct pattern_out *o, uint32_t which)
{
    static const char *const begins[] = {
        [REGEX_FIELD_PATH] = "(?<=\\?)", [REGEX_FIELD_HEADER] = "(?<=:\\x20)", [REGEX_FIELD_QUERY] = "(?<==)"};
    static const char *const ends[] = {
        [REGEX_FIELD_PATH] = "(?=\\?)", [REGEX_FIELD_HEADER] = "(?=\\r)", [REGEX_FIELD_QUERY] = "(?=&)"};
    if (which & (RE_BEGIN_LINE | RE_BEGIN_TEXT))
        strbuf_addz(o->b, begins[o->where]);
    else if (which & (RE_END_LINE | RE_END_TEXT))
        strbuf_addz(o->b, ends[o->where]);
    else
        strbuf_addz(o->b, which == RE_WORD ? "\\b" : "\\B");
}

static size_t node_write(struct pattern_out *o, const struct regex_node *node);

static size_t children_write(struct pattern_out *o, const struct regex_node *node, const char *between)
{
    size_t size = 0;
    for (const struct regex_node *c = node->first; c; c = c->next) {
        if (c != node->first)
            strbuf_addz(o->b, between);
        size += 4 + node_write(o, c);
    }
    return size;
}

static size_t repeat_write(struct pattern_out *o, const struct regex_node *node)
{
    static const char *const marks[] = {[RE_STAR] = "*", [RE_PLUS] = "+", [RE_QUEST] = "?"};
    strbuf_addz(o->b, "(?:");
    size_t size = children_write(o, node, "") + 8;
    strbuf_addc(o->b, ')');
    if (node->op == RE_REPEAT && node->max < 0)
        strbuf_addf(o->b, "{%d,}", node->min);
    else if (node->op == RE_REPEAT)
        strbuf_addf(o->b, "{%d,%d}", node->min, node->max);
    else
        strbuf_addz(o->b, marks[node->op]);
    if (node->lazy)
        strbuf_addc(o->b, '?');
    return node->op == RE_REPEAT ? size * (size_t)MAX(MAX(node->min, node->max), 1) : size;
}

/* How much PCRE2 makes of it, at most. */
static size_t node_write(struct pattern_out *o, const struct regex_node *node)
{
    size_t size = 0, before = o->b->n;
    if (++o->depth > DEPTH_MOST)
        o->too_large = true;
    if (o->too_large || o->b->over) {
        o->depth--;
        return 0;
    }
    switch ((enum regex_op)node->op) {
    case RE_RUNE: rune_write(o, node->value, node->fold); break;
    case RE_SET: set_write(o, o->tree->sets.p[node->value].p, o->tree->sets.p[node->value].n); break;
    case RE_ASSERT: assertion_write(o, node->value); break;
    case RE_STAR:
    case RE_PLUS:
    case RE_QUEST:
    case RE_REPEAT: size = repeat_write(o, node); break;
    case RE_CAPTURE:
        strbuf_addz(o->b, o->where == REGEX_FIELD_PATH ? "(" : "(?:");
        size = children_write(o, node, "") + 8;
        strbuf_addc(o->b, ')');
        break;
    case RE_CONCAT: size = children_write(o, node, ""); break;
    case RE_ALTERNATE:
        strbuf_addz(o->b, "(?:");
        size = children_write(o, node, "|") + 8;
        strbuf_addc(o->b, ')');
        break;
    case RE_EMPTY:
    case RE_PAREN:
    case RE_BAR: break;
    }
    o->depth--;
    if (!size) /* a leaf: each [ becomes a set of 33 bytes */
        for (size_t i = before; i < o->b->n; i++)
            size += o->b->p[i] == '[' ? 34 : 1;
    o->too_large = o->too_large || size > COMPILED_MOST;
    return size;
}

bool regex_pcre_add(struct strbuf *b, struct str pattern, enum regex_field where, bool fold, unsigned *groups,
                    struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct regex_tree tree = {0};
    bool ok = regex_parse(&a, pattern, &tree, err);
    if (ok && fold) { /* alone first, so that a parenthesis in it cannot end ours */
        regex_tree_fini(&tree);
        tree = (struct regex_tree){0};
        ok = regex_parse(&a, STR_JOIN(&a, S("(?i:"), pattern, S(")")), &tree, err);
    }
    struct pattern_out o = {.b = b, .tree = &tree, .where = where};
    if (ok)
        node_write(&o, tree.root);
    if (groups)
        *groups = tree.groups;
    regex_tree_fini(&tree);
    if (ok && (o.too_large || b->over))
        return err_set(err, E_INVALID, "the pattern " STR_FMT " is too large", STR_ARG(str_sub(pattern, 0, 200)));
    return ok;
}
