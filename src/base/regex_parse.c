/* What stands between is kept on a stack of finished pieces, open parentheses and bars, so the depth of a pattern
 * costs no depth of calls. The heights and sizes of pieces are Go's, as it refuses patterns by them. */
#include "base/regex_int.h"

#define HEIGHT_MAX  1000
#define REPEAT_MAX  1000
#define SIZE_MAX_GO ((128 << 20) / 40)
#define NODES_MAX   (4 * REGEX_INSTS_MAX)
#define RANGES_MAX  (1 << 22)

enum { FOLD = 1, ANY_LINE = 2, LINES = 4, LAZY = 8 }; /* (?i) (?s) (?m) (?U) */

struct regex_parser {
    struct arena *a;
    struct str whole;
    size_t at;
    unsigned flags;
    struct regex_node **stack;
    size_t n, cap, nodes, ranges;
    struct regex_tree *out;
    struct err *err;
};

static bool parse_fail(struct regex_parser *p, const char *what, struct str where)
{
    return err_set(p->err, E_INVALID, "error parsing regexp: %s: `" STR_FMT "`", what, STR_ARG(where));
}

static struct str parse_rest(const struct regex_parser *p)
{
    return str_sub(p->whole, p->at, p->whole.n);
}

static struct str parse_since(const struct regex_parser *p, size_t from)
{
    return str_sub(p->whole, from, p->at);
}

static bool parse_sees(const struct regex_parser *p, size_t ahead, char c)
{
    return p->at + ahead < p->whole.n && p->whole.p[p->at + ahead] == c;
}

/* The next character, of which there must be one. */
static bool parse_rune(struct regex_parser *p, uint32_t *c)
{
    size_t n = str_rune(parse_rest(p), c);
    p->at += n;
    return n || parse_fail(p, "invalid UTF-8", parse_rest(p));
}

static bool text_is_utf8(struct regex_parser *p, struct str s)
{
    uint32_t c;
    for (size_t n; s.n; s = str_sub(s, n, s.n))
        if (!(n = str_rune(s, &c)))
            return parse_fail(p, "invalid UTF-8", s);
    return true;
}

/* Pieces. */

static struct regex_node *node_new(struct regex_parser *p, enum regex_op op)
{
    struct regex_node *node = ARENA_NEW(p->a, struct regex_node);
    node->op = (uint8_t)op;
    node->height = 1;
    node->size = 1;
    p->nodes++;
    return node;
}

static bool node_is_limited(struct regex_parser *p, const struct regex_node *node)
{
    if (node->size > REGEX_INSTS_MAX || p->nodes > NODES_MAX || p->ranges > RANGES_MAX)
        return parse_fail(p, "expression too large", p->whole);
    return node->height <= HEIGHT_MAX || parse_fail(p, "expression nests too deeply", p->whole);
}

static bool node_push(struct regex_parser *p, struct regex_node *node)
{
    if (p->n == p->cap) {
        struct regex_node **more = arena_alloc(p->a, MAX(2 * p->cap, (size_t)32) * sizeof *more);
        if (p->n)
            memcpy(more, p->stack, p->n * sizeof *more);
        p->stack = more;
        p->cap = MAX(2 * p->cap, (size_t)32);
    }
    p->stack[p->n++] = node;
    return node_is_limited(p, node);
}

static void node_adopt(struct regex_node *node, struct regex_node *first, struct regex_node *last)
{
    if (node->last)
        node->last->next = first;
    else
        node->first = first;
    node->last = last;
}

static bool push_literal(struct regex_parser *p, uint32_t c)
{
    struct regex_node *node = node_new(p, RE_RUNE);
    node->value = c;
    node->fold = p->flags & FOLD;
    return node_push(p, node);
}

static bool push_assertion(struct regex_parser *p, unsigned which)
{
    struct regex_node *node = node_new(p, RE_ASSERT);
    node->value = which;
    return node_push(p, node);
}

/* Takes the set over. */
static bool push_set(struct regex_parser *p, struct regex_set *set)
{
    regex_set_clean(set);
    p->ranges += set->n;
    struct regex_node *node = node_new(p, RE_SET);
    if (set->n == 2 && set->p[0] == set->p[1]) {
        node->op = RE_RUNE;
        node->value = set->p[0];
        array_fini(set);
    } else {
        node->value = (uint32_t)p->out->sets.n;
        array_push(&p->out->sets, *set);
    }
    return node_push(p, node);
}

static size_t stack_floor(const struct regex_parser *p, bool bars)
{
    size_t i = p->n;
    while (i > 0 && p->stack[i - 1]->op != RE_PAREN && (bars || p->stack[i - 1]->op != RE_BAR))
        i--;
    return i;
}

/* One piece of those above the last bar or parenthesis. */
static bool stack_concat(struct regex_parser *p)
{
    size_t from = stack_floor(p, false);
    if (from == p->n)
        return node_push(p, node_new(p, RE_EMPTY));
    if (from + 1 == p->n)
        return true;
    struct regex_node *all = node_new(p, RE_CONCAT);
    all->size = 0;
    bool text = true; /* letters alone count as one piece */
    for (size_t i = from; i < p->n; i++) {
        struct regex_node *sub = p->stack[i];
        all->size += sub->size;
        text = text && sub->op == RE_RUNE && sub->fold == p->stack[from]->fold;
        if (sub->op == RE_CONCAT) {
            all->height = MAX(all->height, sub->height);
            node_adopt(all, sub->first, sub->last);
        } else {
            all->height = MAX(all->height, (uint16_t)(sub->height + 1));
            node_adopt(all, sub, sub);
        }
    }
    if (text)
        all->height = 1;
    p->n = from;
    return node_push(p, all);
}

static bool node_is_one_char(const struct regex_node *node)
{
    return node->op == RE_RUNE || node->op == RE_SET;
}

static void set_add_node(struct regex_parser *p, struct regex_set *set, const struct regex_node *node)
{
    if (node->op == RE_SET) {
        regex_set_join(set, &p->out->sets.p[node->value]);
        return;
    }
    uint32_t c = node->value;
    do
        regex_set_add(set, c, c);
    while (node->fold && (c = regex_fold_next(c)) != node->value);
}

/* Single characters beside one another are one set: a|b|[c-e]. */
static struct regex_node *alternatives_join(struct regex_parser *p, struct regex_node *first,
                                            struct regex_node **rest)
{
    struct regex_set set = {0};
    struct regex_node *at = first;
    for (; at && node_is_one_char(at); at = at->next)
        set_add_node(p, &set, at);
    *rest = at;
    regex_set_clean(&set);
    p->ranges += set.n;
    struct regex_node *node = node_new(p, RE_SET);
    node->value = (uint32_t)p->out->sets.n;
    array_push(&p->out->sets, set);
    return node;
}

/* One piece of those above the last parenthesis. */
static bool stack_alternate(struct regex_parser *p)
{
    if (!stack_concat(p))
        return false;
    size_t from = stack_floor(p, true);
    if (from + 1 == p->n)
        return true;
    struct regex_node all = {0};
    for (size_t i = from; i < p->n; i++) {
        struct regex_node *sub = p->stack[i];
        if (sub->op == RE_ALTERNATE)
            node_adopt(&all, sub->first, sub->last);
        else if (sub->op != RE_BAR)
            node_adopt(&all, sub, sub);
    }
    p->n = from;
    struct regex_node *node = node_new(p, RE_ALTERNATE);
    node->size = -1;
    for (struct regex_node *sub = all.first, *next; sub; sub = next) {
        next = sub->next;
        if (node_is_one_char(sub) && next && node_is_one_char(next))
            sub = alternatives_join(p, sub, &next);
        sub->next = NULL;
        node->size += sub->size + 1;
        node->height = MAX(node->height, (uint16_t)(sub->height + 1));
        node_adopt(node, sub, sub);
    }
    return node_push(p, node->first == node->last ? node->first : node);
}

/* x{n} within x{m} ...: the product of all is limited. */
static bool repeat_is_valid(const struct regex_node *node, int n)
{
    if (node->op == RE_REPEAT) {
        int m = node->max < 0 ? node->min : node->max;
        if (node->max == 0)
            return true;
        if (m > n)
            return false;
        n = m > 0 ? n / m : n;
    }
    for (const struct regex_node *sub = node->first; sub; sub = sub->next)
        if (!repeat_is_valid(sub, n))
            return false;
    return true;
}

static int64_t repeated_size(const struct regex_node *node)
{
    int64_t sub = node->first->size;
    switch (node->op) {
    case RE_STAR: return sub + 2;
    case RE_PLUS:
    case RE_QUEST: return sub + 1;
    default: break;
    }
    if (node->max < 0)
        return node->min ? node->min * sub + 1 : sub + 2;
    return MAX(1, node->max * sub + node->max - node->min);
}

/* The operator stood at `before`; the one just before it, if there was one, at `last`. */
static bool stack_repeat(struct regex_parser *p, enum regex_op op, int min, int max, size_t before, size_t last)
{
    bool lazy = p->flags & LAZY;
    if (parse_sees(p, 0, '?')) {
        p->at++;
        lazy = !lazy;
    }
    if (last != SIZE_MAX)
        return parse_fail(p, "invalid nested repetition operator", parse_since(p, last));
    struct regex_node *sub = p->n ? p->stack[p->n - 1] : NULL;
    if (!sub || sub->op == RE_PAREN || sub->op == RE_BAR)
        return parse_fail(p, "missing argument to repetition operator", parse_since(p, before));
    struct regex_node *node = node_new(p, op);
    node->min = min;
    node->max = max;
    node->lazy = lazy;
    node->height = (uint16_t)(sub->height + 1);
    node->first = node->last = sub;
    node->size = repeated_size(node);
    p->stack[p->n - 1] = node;
    bool valid = op != RE_REPEAT || (min < 2 && max < 2) || repeat_is_valid(node, REPEAT_MAX);
    if (valid || node->size > SIZE_MAX_GO || node->height > HEIGHT_MAX)
        return node_is_limited(p, node);
    return parse_fail(p, "invalid repeat count", parse_since(p, before));
}

/* A number without leading zeros; -1 where it is far too large; false: there is none. */
static bool count_read(struct str s, size_t *at, int *out)
{
    size_t from = *at;
    int n = 0;
    while (*at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9') {
        n = n < 0 || n > 100000 ? -1 : n * 10 + (s.p[*at] - '0');
        ++*at;
    }
    *out = n;
    return *at > from && !(*at > from + 1 && s.p[from] == '0');
}

/* {2} {2,} {2,5} at the head of s: its length; 0: the brace is a brace. *min is -1 where a number is too large. */
static size_t braces_read(struct str s, int *min, int *max)
{
    size_t at = 1;
    if (!count_read(s, &at, min))
        return 0;
    *max = *min;
    if (at < s.n && s.p[at] == ',') {
        at++;
        if (at < s.n && s.p[at] == '}')
            *max = -1;
        else if (!count_read(s, &at, max))
            return 0;
        else if (*max < 0)
            *min = -1;
    }
    return at < s.n && s.p[at] == '}' ? at + 1 : 0;
}

/* Escapes and sets. */

static int hex_value(uint32_t c)
{
    return c >= '0' && c <= '9'   ? (int)(c - '0')
           : c >= 'a' && c <= 'f' ? (int)(c - 'a' + 10)
           : c >= 'A' && c <= 'F' ? (int)(c - 'A' + 10)
                                  : -1;
}

static bool is_octal(const struct regex_parser *p)
{
    return p->at < p->whole.n && p->whole.p[p->at] >= '0' && p->whole.p[p->at] <= '7';
}

/* After "\x": two digits or any number in braces. */
static bool hex_read(struct regex_parser *p, size_t from, uint32_t *out)
{
    uint32_t c, value = 0;
    size_t digits = 0;
    if (p->at == p->whole.n)
        return parse_fail(p, "invalid escape sequence", parse_since(p, from));
    if (!parse_rune(p, &c))
        return false;
    if (c != '{') {
        int high = hex_value(c);
        if (p->at == p->whole.n) {
            p->at = p->whole.n;
            return parse_fail(p, "invalid escape sequence", parse_since(p, from));
        }
        if (!parse_rune(p, &c))
            return false;
        *out = (uint32_t)(high * 16 + hex_value(c));
        return (high >= 0 && hex_value(c) >= 0) || parse_fail(p, "invalid escape sequence", parse_since(p, from));
    }
    for (;; digits++) {
        if (p->at == p->whole.n)
            break;
        if (!parse_rune(p, &c))
            return false;
        if (c == '}' || hex_value(c) < 0)
            break;
        value = value << 4 | (uint32_t)hex_value(c);
        if (value > RUNE_MAX) {
            digits = 0;
            break;
        }
    }
    *out = value;
    return (digits && c == '}') || parse_fail(p, "invalid escape sequence", parse_since(p, from));
}

/* A backslash and what it makes a character of. */
static bool escape_read(struct regex_parser *p, uint32_t *out)
{
    static const char controls[] = "a\af\fn\nr\rt\tv\v";
    size_t from = p->at++;
    uint32_t c;
    if (p->at == p->whole.n)
        return parse_fail(p, "trailing backslash at end of expression", STR_NONE);
    if (!parse_rune(p, &c))
        return false;
    if (c == 'x')
        return hex_read(p, from, out);
    if (c == '0' || (c >= '1' && c <= '7' && is_octal(p))) {
        *out = c - '0';
        for (int i = 1; i < 3 && is_octal(p); i++)
            *out = *out * 8 + (uint32_t)(p->whole.p[p->at++] - '0');
        return true;
    }
    *out = c;
    if (c < 128 && (c == '_' || !regex_is_word(c)))
        return true;
    for (size_t i = 0; i + 1 < sizeof controls; i += 2)
        if (c == (uint8_t)controls[i]) {
            *out = (uint8_t)controls[i + 1];
            return true;
        }
    return parse_fail(p, "invalid escape sequence", parse_since(p, from));
}

static void set_add_text(struct regex_set *set, const char *ranges)
{
    for (; *ranges; ranges += 2)
        regex_set_add(set, (uint8_t)ranges[0], (uint8_t)ranges[1]);
}

/* Adds a set that has a name, with the case ignored where (?i) holds, and turned round where `negated`. */
static void set_add_named(struct regex_parser *p, struct regex_set *to, struct regex_set *named, bool negated)
{
    if (p->flags & FOLD)
        regex_set_fold(named);
    if (negated)
        regex_set_negate(named);
    regex_set_join(to, named);
    array_fini(named);
}

/* \d \D \s \S \w \W; false: it is none of them. */
static bool perl_class_read(struct regex_parser *p, struct regex_set *to)
{
    const char *ranges = parse_sees(p, 1, 'd') || parse_sees(p, 1, 'D')   ? "09"
                         : parse_sees(p, 1, 's') || parse_sees(p, 1, 'S') ? "\t\n\f\r  "
                         : parse_sees(p, 1, 'w') || parse_sees(p, 1, 'W') ? "09AZ__az"
                                                                          : NULL;
    if (!ranges || !parse_sees(p, 0, '\\'))
        return false;
    struct regex_set named = {0};
    set_add_text(&named, ranges);
    set_add_named(p, to, &named, p->whole.p[p->at + 1] < 'a');
    p->at += 2;
    return true;
}

/* [:alpha:] or [:^alpha:] at the head; *found: whether it is one of this shape. */
static bool posix_class_read(struct regex_parser *p, struct regex_set *to, bool *found)
{
    static const struct {
        const char *name, *ranges;
    } classes[] = {
        {"alnum", "09AZaz"}, {"alpha", "AZaz"}, {"blank", "\t\t  "},  {"digit", "09"},
        {"graph", "!~"},     {"lower", "az"},   {"print", " ~"},      {"punct", "!/:@[`{~"},
        {"space", "\t\r  "}, {"upper", "AZ"},   {"word", "09AZ__az"}, {"xdigit", "09AFaf"},
    };
    *found = false;
    struct str rest = str_sub(parse_rest(p), 2, SIZE_MAX);
    ptrdiff_t end = str_find(rest, S(":]"));
    if (end < 0)
        return true;
    struct str name = str_sub(rest, 0, (size_t)end), all = str_sub(parse_rest(p), 0, (size_t)end + 4);
    bool negated = str_starts(name, S("^"));
    name = str_sub(name, negated, name.n);
    struct regex_set named = {0};
    for (size_t i = 0; i < countof(classes); i++)
        if (str_eqz(name, classes[i].name))
            set_add_text(&named, classes[i].ranges);
    if (str_eqz(name, "ascii"))
        regex_set_add(&named, 0, 127);
    if (str_eqz(name, "cntrl")) {
        regex_set_add(&named, 0, 31);
        regex_set_add(&named, 127, 127);
    }
    if (!named.n)
        return parse_fail(p, "invalid character class range", all);
    set_add_named(p, to, &named, negated);
    p->at += all.n;
    *found = true;
    return true;
}

/* \pN \p{Greek} \p{^Greek} \P{Greek} at the head; *found: whether it is one. */
static bool unicode_class_read(struct regex_parser *p, struct regex_set *to, bool *found)
{
    *found = parse_sees(p, 0, '\\') && (parse_sees(p, 1, 'p') || parse_sees(p, 1, 'P'));
    if (!*found)
        return true;
    size_t from = p->at;
    bool negated = parse_sees(p, 1, 'P');
    uint32_t c;
    p->at += 2;
    if (p->at == p->whole.n)
        return parse_fail(p, "invalid character class range", parse_since(p, from));
    if (!parse_rune(p, &c))
        return false;
    struct str name = parse_since(p, from + 2);
    if (c == '{') {
        ptrdiff_t end = str_find_char(parse_rest(p), '}');
        if (end < 0) {
            p->at = from;
            return text_is_utf8(p, parse_rest(p)) && parse_fail(p, "invalid character class range", parse_rest(p));
        }
        name = str_sub(parse_rest(p), 0, (size_t)end);
        if (!text_is_utf8(p, name))
            return false;
        p->at += (size_t)end + 1;
    }
    if (str_starts(name, S("^"))) {
        negated = !negated;
        name = str_sub(name, 1, name.n);
    }
    struct regex_set named = {0};
    if (!regex_set_unicode(&named, name))
        return parse_fail(p, "invalid character class range", parse_since(p, from));
    set_add_named(p, to, &named, negated);
    return true;
}

static bool class_char_read(struct regex_parser *p, size_t from, uint32_t *c)
{
    if (p->at == p->whole.n)
        return parse_fail(p, "missing closing ]", str_sub(p->whole, from, p->whole.n));
    return parse_sees(p, 0, '\\') ? escape_read(p, c) : parse_rune(p, c);
}

/* One character or a range of them. */
static bool class_range_read(struct regex_parser *p, size_t from, struct regex_set *set)
{
    size_t begin = p->at;
    uint32_t lo, hi;
    if (!class_char_read(p, from, &lo))
        return false;
    hi = lo;
    if (parse_sees(p, 0, '-') && p->at + 1 < p->whole.n && !parse_sees(p, 1, ']')) {
        p->at++;
        if (!class_char_read(p, from, &hi))
            return false;
        if (hi < lo)
            return parse_fail(p, "invalid character class range", parse_since(p, begin));
    }
    struct regex_set range = {0};
    regex_set_add(&range, lo, hi);
    set_add_named(p, set, &range, false);
    return true;
}

static bool class_items_read(struct regex_parser *p, size_t from, struct regex_set *set)
{
    for (bool first = true; first || !parse_sees(p, 0, ']'); first = false) {
        bool found = false;
        if (parse_sees(p, 0, '[') && parse_sees(p, 1, ':') && p->at + 2 < p->whole.n &&
            !posix_class_read(p, set, &found))
            return false;
        if (!found && !unicode_class_read(p, set, &found))
            return false;
        if (!found && !perl_class_read(p, set) && !class_range_read(p, from, set))
            return false;
    }
    return true;
}

static bool class_read(struct regex_parser *p)
{
    struct regex_set set = {0};
    size_t from = p->at++;
    bool negated = parse_sees(p, 0, '^');
    p->at += negated;
    if (!class_items_read(p, from, &set)) {
        array_fini(&set);
        return false;
    }
    p->at++;
    regex_set_clean(&set);
    if (negated)
        regex_set_negate(&set);
    return push_set(p, &set);
}

/* Parentheses. */

static bool paren_open(struct regex_parser *p, bool captures)
{
    struct regex_node *node = node_new(p, RE_PAREN);
    node->value = p->flags;
    node->min = captures ? (int)++p->out->groups : 0;
    return node_push(p, node);
}

static bool paren_close(struct regex_parser *p)
{
    if (!stack_alternate(p))
        return false;
    if (p->n < 2)
        return parse_fail(p, "unexpected )", p->whole);
    struct regex_node *sub = p->stack[p->n - 1], *open = p->stack[p->n - 2];
    p->n -= 2;
    p->at++;
    p->flags = open->value;
    if (!open->min)
        return node_push(p, sub);
    open->op = RE_CAPTURE;
    open->value = (uint32_t)open->min;
    open->first = open->last = sub;
    open->size = sub->size + 2;
    open->height = (uint16_t)(sub->height + 1);
    return node_push(p, open);
}

static bool name_is_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!regex_is_word((uint8_t)name.p[i]))
            return false;
    return name.n;
}

/* (?P<name> or (?<name> */
static bool named_group_open(struct regex_parser *p, size_t head)
{
    struct str all = parse_rest(p);
    ptrdiff_t end = str_find_char(all, '>');
    if (end < 0)
        return text_is_utf8(p, all) && parse_fail(p, "invalid named capture", all);
    struct str name = str_sub(all, head, (size_t)end);
    if (!text_is_utf8(p, name))
        return false;
    if (!name_is_valid(name))
        return parse_fail(p, "invalid named capture", str_sub(all, 0, (size_t)end + 1));
    p->at += (size_t)end + 1;
    return paren_open(p, true);
}

static unsigned flag_of(uint32_t c)
{
    return c == 'i' ? FOLD : c == 's' ? ANY_LINE : c == 'm' ? LINES : c == 'U' ? LAZY : 0;
}

/* "(?" at the head. */
static bool flags_read(struct regex_parser *p)
{
    size_t from = p->at, left = p->whole.n - p->at;
    if (left > 4 && parse_sees(p, 2, 'P') && parse_sees(p, 3, '<'))
        return named_group_open(p, 4);
    if (left > 3 && parse_sees(p, 2, '<'))
        return named_group_open(p, 3);
    unsigned flags = p->flags;
    bool off = false, any = false;
    p->at += 2;
    while (p->at < p->whole.n) {
        uint32_t c;
        if (!parse_rune(p, &c))
            return false;
        if (flag_of(c)) {
            flags = off ? flags & ~flag_of(c) : flags | flag_of(c);
            any = true;
        } else if (c == '-' && !off) {
            off = true;
            any = false;
        } else if ((c == ':' || c == ')') && (any || !off)) {
            bool ok = c == ')' || paren_open(p, false);
            p->flags = flags;
            return ok;
        } else {
            break;
        }
    }
    return parse_fail(p, "invalid or unsupported Perl syntax", parse_since(p, from));
}

/* The pattern. */

static bool quoted_read(struct regex_parser *p) /* \Q ... \E */
{
    p->at += 2;
    ptrdiff_t end = str_find(parse_rest(p), S("\\E"));
    size_t stop = end < 0 ? p->whole.n : p->at + (size_t)end;
    while (p->at < stop) {
        uint32_t c;
        size_t n = str_rune(str_sub(p->whole, p->at, stop), &c);
        if (!n)
            return parse_fail(p, "invalid UTF-8", str_sub(p->whole, p->at, stop));
        p->at += n;
        if (!push_literal(p, c))
            return false;
    }
    p->at = end < 0 ? stop : stop + 2;
    return true;
}

static bool backslash_read(struct regex_parser *p)
{
    static const struct {
        char letter;
        uint8_t which;
    } assertions[] = {{'A', RE_BEGIN_TEXT}, {'b', RE_WORD}, {'B', RE_NO_WORD}, {'z', RE_END_TEXT}};
    for (size_t i = 0; i < countof(assertions); i++)
        if (parse_sees(p, 1, assertions[i].letter)) {
            p->at += 2;
            return push_assertion(p, assertions[i].which);
        }
    if (parse_sees(p, 1, 'C'))
        return parse_fail(p, "invalid escape sequence", str_sub(parse_rest(p), 0, 2));
    if (parse_sees(p, 1, 'Q'))
        return quoted_read(p);
    struct regex_set set = {0};
    bool found;
    if (!unicode_class_read(p, &set, &found)) {
        array_fini(&set);
        return false;
    }
    if (found || perl_class_read(p, &set))
        return push_set(p, &set);
    uint32_t c;
    return escape_read(p, &c) && push_literal(p, c);
}

static bool any_read(struct regex_parser *p)
{
    struct regex_set set = {0};
    regex_set_add(&set, 0, p->flags & ANY_LINE ? RUNE_MAX : '\n' - 1);
    if (!(p->flags & ANY_LINE))
        regex_set_add(&set, '\n' + 1, RUNE_MAX);
    p->at++;
    return push_set(p, &set);
}

/* A repetition at the head; *op_at: where it stands; SIZE_MAX where it is none, and a letter. */
static bool repeat_read(struct regex_parser *p, size_t last, size_t *op_at)
{
    size_t before = p->at;
    char c = p->whole.p[p->at];
    int min = 0, max = 0;
    enum regex_op op = c == '*' ? RE_STAR : c == '+' ? RE_PLUS : c == '?' ? RE_QUEST : RE_REPEAT;
    size_t n = op == RE_REPEAT ? braces_read(parse_rest(p), &min, &max) : 1;
    *op_at = n ? before : SIZE_MAX;
    p->at += MAX(n, 1);
    if (!n)
        return push_literal(p, '{');
    if (min < 0 || min > REPEAT_MAX || max > REPEAT_MAX || (max >= 0 && min > max))
        return parse_fail(p, "invalid repeat count", parse_since(p, before));
    return stack_repeat(p, op, min, max, before, last);
}

static bool pattern_piece(struct regex_parser *p, size_t *last)
{
    size_t before = *last;
    uint32_t c;
    *last = SIZE_MAX;
    switch (p->whole.p[p->at]) {
    case '(': return parse_sees(p, 1, '?') ? flags_read(p) : (p->at++, paren_open(p, true));
    case ')': return paren_close(p);
    case '|': p->at++; return stack_concat(p) && node_push(p, node_new(p, RE_BAR));
    case '^': p->at++; return push_assertion(p, p->flags & LINES ? RE_BEGIN_LINE : RE_BEGIN_TEXT);
    case '$': p->at++; return push_assertion(p, p->flags & LINES ? RE_END_LINE : RE_END_TEXT);
    case '.': return any_read(p);
    case '[': return class_read(p);
    case '*':
    case '+':
    case '?':
    case '{': return repeat_read(p, before, last);
    case '\\': return backslash_read(p);
    default: return parse_rune(p, &c) && push_literal(p, c);
    }
}

bool regex_parse(struct arena *a, struct str pattern, struct regex_tree *out, struct err *err)
{
    struct regex_parser p = {.a = a, .whole = pattern, .out = out, .err = err};
    for (size_t last = SIZE_MAX; p.at < pattern.n;)
        if (!pattern_piece(&p, &last))
            return false;
    if (!stack_alternate(&p))
        return false;
    out->root = p.stack[0];
    return p.n == 1 || parse_fail(&p, "missing closing )", pattern);
}

void regex_tree_fini(struct regex_tree *t)
{
    array_each (set, &t->sets)
        array_fini(set);
    array_fini(&t->sets);
}
