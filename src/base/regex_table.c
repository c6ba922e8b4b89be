/* The table of a pattern, as a deterministic automaton has it. A state is the instructions that wait for a character
 * or for an assertion to hold, and what kind of character stands before. It is made whole when the pattern is
 * compiled, so that what matches later shares it without a lock; a pattern whose table would be large has none. */
#include "base/map.h"
#include "base/regex_int.h"

#define ENTRIES_MAX 8192   /* of the table: 16 KiB */
#define WORK_MAX    200000 /* instructions looked at: a millisecond or two */
#define BOUNDS_MAX  4096

struct table_builder {
    const struct regex *re;
    struct arena scratch;
    struct regex_table *t;
    uint32_t *column_rune; /* a character of each column */
    ARRAY(uint16_t) to;
    ARRAY(uint32_t *) keys; /* by state: what stands before, a count, the instructions in order */
    uint32_t *slots;        /* hash of keys: the state, 0 where free */
    size_t slots_n;
    uint32_t *seen, round; /* by instruction: the round in which it was come to */
    uint32_t *stack;
    ARRAY(uint32_t) list;
    size_t work;
    bool found, large;
};

unsigned regex_asserts_between(uint32_t before, uint32_t after)
{
    bool x = before != UINT32_MAX && regex_is_word(before), y = after != UINT32_MAX && regex_is_word(after);
    unsigned hold = x == y ? RE_NO_WORD : RE_WORD;
    if (before == UINT32_MAX)
        hold |= RE_BEGIN_TEXT | RE_BEGIN_LINE;
    else if (before == '\n')
        hold |= RE_BEGIN_LINE;
    if (after == UINT32_MAX)
        hold |= RE_END_TEXT | RE_END_LINE;
    else if (after == '\n')
        hold |= RE_END_LINE;
    return hold;
}

enum regex_before regex_before_of(uint32_t c)
{
    return c == UINT32_MAX ? BEFORE_NOTHING : c == '\n' ? BEFORE_LINE : regex_is_word(c) ? BEFORE_WORD : BEFORE_OTHER;
}

/* Kinds that the pattern's assertions do not tell apart are one. */
static enum regex_before before_kind(const struct regex *re, enum regex_before kind)
{
    bool words = re->asserts & (RE_WORD | RE_NO_WORD), lines = re->asserts & RE_BEGIN_LINE;
    if (kind == BEFORE_NOTHING && !(re->asserts & (RE_BEGIN_TEXT | RE_BEGIN_LINE)))
        kind = BEFORE_OTHER;
    if ((kind == BEFORE_WORD && !words) || (kind == BEFORE_LINE && !lines))
        kind = BEFORE_OTHER;
    return kind;
}

/* Puts into the list what `at` leads to without a character; asserts in `hold` are passed, others wait. */
static void table_follow(struct table_builder *b, uint32_t at, unsigned hold)
{
    const struct regex_inst *insts = b->re->insts;
    size_t n = 0;
    b->stack[n++] = at;
    while (n) {
        at = b->stack[--n];
        if (b->seen[at] == b->round)
            continue;
        b->seen[at] = b->round;
        b->work++;
        switch ((enum regex_inst_op)insts[at].op) {
        case IN_FAIL: break;
        case IN_MATCH: b->found = true; break;
        case IN_SPLIT:
            b->stack[n++] = insts[at].arg;
            b->stack[n++] = insts[at].out;
            break;
        case IN_JUMP:
        case IN_SAVE: b->stack[n++] = insts[at].out; break;
        case IN_ASSERT:
            if (hold & insts[at].arg)
                b->stack[n++] = insts[at].out;
            else
                array_push(&b->list, at);
            break;
        case IN_RUNE:
        case IN_SET: array_push(&b->list, at); break;
        }
    }
}

static int inst_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void slot_put(struct table_builder *b, uint32_t state)
{
    const uint32_t *key = b->keys.p[state];
    size_t i = str_hash((struct str){(const char *)key, (key[1] + 2) * sizeof *key}) & (b->slots_n - 1);
    while (b->slots[i])
        i = (i + 1) & (b->slots_n - 1);
    b->slots[i] = state;
}

/* The state of the list, which is made where there is none yet. */
static uint16_t table_state(struct table_builder *b, enum regex_before before)
{
    if (b->found)
        return TABLE_FOUND;
    if (!b->list.n)
        return TABLE_DEAD;
    qsort(b->list.p, b->list.n, sizeof *b->list.p, inst_cmp);
    size_t n = b->list.n + 2;
    uint32_t *key = arena_alloc(&b->scratch, n * sizeof *key);
    key[0] = before;
    key[1] = (uint32_t)b->list.n;
    memcpy(key + 2, b->list.p, b->list.n * sizeof *key);
    size_t i = str_hash((struct str){(const char *)key, n * sizeof *key}) & (b->slots_n - 1);
    for (; b->slots[i]; i = (i + 1) & (b->slots_n - 1))
        if (!memcmp(b->keys.p[b->slots[i]], key, 2 * sizeof *key) &&
            !memcmp(b->keys.p[b->slots[i]], key, n * sizeof *key))
            return (uint16_t)b->slots[i];
    b->work += b->list.n;
    if ((b->keys.n + 1) * b->t->columns > ENTRIES_MAX || b->work > WORK_MAX) {
        b->large = true;
        return TABLE_DEAD;
    }
    array_push(&b->keys, key);
    slot_put(b, (uint32_t)b->keys.n - 1);
    return (uint16_t)(b->keys.n - 1);
}

static void table_round(struct table_builder *b)
{
    b->round++;
    b->found = false;
    array_clear(&b->list);
}

/* Where a state goes with a character (UINT32_MAX: the end). */
static uint16_t table_step(struct table_builder *b, const uint32_t *key, uint32_t c)
{
    static const uint32_t befores[] = {UINT32_MAX, 'a', '\n', ' '};
    const struct regex *re = b->re;
    unsigned hold = regex_asserts_between(befores[key[0]], c);
    table_round(b);
    for (uint32_t i = 0; i < key[1]; i++)
        table_follow(b, key[2 + i], hold);
    if (b->found || c == UINT32_MAX)
        return b->found ? TABLE_FOUND : TABLE_DEAD;
    size_t n = b->list.n;
    uint32_t *now = arena_dup(&b->scratch, b->list.p, n * sizeof *now);
    table_round(b);
    for (size_t i = 0; i < n; i++)
        if (re->insts[now[i]].op != IN_ASSERT && regex_takes(re, &re->insts[now[i]], c))
            table_follow(b, re->insts[now[i]].out, 0);
    b->work += n;
    if (!re->anchored)
        table_follow(b, re->start, 0);
    return table_state(b, before_kind(re, regex_before_of(c)));
}

static int bound_cmp(const void *a, const void *b)
{
    return inst_cmp(a, b);
}

/* Where some set of the pattern, or an assertion, tells a character from the one below it. */
static bool bounds_gather(const struct regex *re, struct regex_set *bounds)
{
    array_push(bounds, 0);
    for (unsigned i = 0; i < re->sets_n; i++)
        for (uint32_t k = 0; k < re->sets[i].n; k++)
            array_push(bounds, re->sets[i].p[k] + (k & 1));
    for (unsigned i = 0; i < re->n; i++)
        if (re->insts[i].op == IN_RUNE) {
            array_push(bounds, re->insts[i].arg);
            array_push(bounds, re->insts[i].arg + 1);
        }
    if (re->asserts & (RE_WORD | RE_NO_WORD | RE_BEGIN_LINE | RE_END_LINE)) {
        static const uint32_t more[] = {'\n', '\n' + 1, '0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1};
        for (size_t i = 0; i < countof(more); i++)
            array_push(bounds, more[i]);
    }
    if (bounds->n > 8 * BOUNDS_MAX)
        return false;
    qsort(bounds->p, bounds->n, sizeof *bounds->p, bound_cmp);
    size_t w = 0;
    for (size_t i = 0; i < bounds->n; i++)
        if (bounds->p[i] <= RUNE_MAX && (!w || bounds->p[w - 1] != bounds->p[i]))
            bounds->p[w++] = bounds->p[i];
    bounds->n = w;
    return w <= BOUNDS_MAX;
}

/* Whether the pattern ever tells x from y. */
static bool runes_alike(const struct regex *re, const uint32_t *firsts, size_t firsts_n, uint32_t x, uint32_t y)
{
    if (re->asserts & (RE_WORD | RE_NO_WORD | RE_BEGIN_LINE | RE_END_LINE) &&
        regex_before_of(x) != regex_before_of(y))
        return false;
    for (size_t i = 0; i < firsts_n; i++) {
        const struct regex_inst *in = &re->insts[firsts[i]];
        if (regex_takes(re, in, x) != regex_takes(re, in, y))
            return false;
    }
    return true;
}

/* Columns: characters that no part of the pattern tells apart share one. */
static bool columns_make(struct table_builder *b, struct arena *a)
{
    const struct regex *re = b->re;
    struct regex_set bounds = {0};
    bool ok = bounds_gather(re, &bounds);
    uint8_t *set_seen = arena_alloc(&b->scratch, re->sets_n + 1);
    ARRAY(uint32_t) firsts = {0}; /* an instruction of each set and rune */
    for (unsigned i = 0; i < re->n; i++) {
        const struct regex_inst *in = &re->insts[i];
        bool twin = in->op != IN_RUNE && (in->op != IN_SET || set_seen[in->arg]);
        for (size_t k = 0; k < firsts.n && !twin; k++)
            twin = in->op == IN_RUNE && re->insts[firsts.p[k]].op == IN_RUNE && re->insts[firsts.p[k]].arg == in->arg;
        if (twin)
            continue;
        if (in->op == IN_SET)
            set_seen[in->arg] = 1;
        array_push(&firsts, i);
        if (firsts.n > 500) {
            ok = false;
            break;
        }
    }
    b->column_rune = arena_alloc(&b->scratch, 256 * sizeof *b->column_rune);
    b->t->bounds = arena_dup(a, bounds.p, ok ? bounds.n * sizeof *bounds.p : 0);
    b->t->bound_columns = arena_alloc(a, ok ? bounds.n : 0);
    b->t->bounds_n = (unsigned)bounds.n;
    unsigned n = 0;
    for (size_t i = 0; ok && i < bounds.n; i++) {
        unsigned k = 0;
        while (k < n && !runes_alike(re, firsts.p, firsts.n, b->column_rune[k], bounds.p[i]))
            k++;
        if (k == n) {
            if (n == 250) {
                ok = false;
                break;
            }
            b->column_rune[n++] = bounds.p[i];
        }
        b->t->bound_columns[i] = (uint8_t)k;
        b->work += k * firsts.n / 16;
        ok = b->work <= WORK_MAX;
    }
    b->t->columns = n + 1;
    for (uint32_t c = 0, at = 0; ok && c < 128; c++) {
        while (at + 1 < bounds.n && bounds.p[at + 1] <= c)
            at++;
        b->t->ascii[c] = b->t->bound_columns[at];
    }
    array_fini(&bounds);
    array_fini(&firsts);
    return ok;
}

static void states_make(struct table_builder *b)
{
    const struct regex *re = b->re;
    array_push(&b->keys, NULL); /* dead */
    array_push(&b->keys, NULL); /* found */
    for (enum regex_before kind = 0; kind < 4; kind++) {
        table_round(b);
        table_follow(b, re->start, 0);
        b->t->starts[kind] = table_state(b, before_kind(re, kind));
    }
    unsigned columns = b->t->columns;
    for (unsigned i = 0; i < 2 * columns; i++)
        array_push(&b->to, i < columns ? TABLE_DEAD : TABLE_FOUND);
    for (size_t s = TABLE_FIRST; s < b->keys.n && !b->large; s++)
        for (unsigned c = 0; c < columns && !b->large; c++)
            array_push(&b->to, table_step(b, b->keys.p[s], c + 1 < columns ? b->column_rune[c] : UINT32_MAX));
}

struct regex_table *regex_table_new(struct arena *a, const struct regex *re)
{
    struct table_builder b = {.re = re};
    struct arena kept = ARENA;
    b.t = ARENA_NEW(&b.scratch, struct regex_table);
    bool ok = re->n < WORK_MAX / 16 && columns_make(&b, &kept);
    if (ok) {
        b.slots_n = 2 * ENTRIES_MAX;
        b.slots = arena_alloc(&b.scratch, b.slots_n * sizeof *b.slots);
        b.seen = arena_alloc(&b.scratch, re->n * sizeof *b.seen);
        b.stack = arena_alloc(&b.scratch, (2 * re->n + 2) * sizeof *b.stack);
        states_make(&b);
        ok = !b.large;
    }
    struct regex_table *t = NULL;
    if (ok) {
        t = arena_dup(a, b.t, sizeof *t);
        t->bounds = arena_dup(a, b.t->bounds, t->bounds_n * sizeof *t->bounds);
        t->bound_columns = arena_dup(a, b.t->bound_columns, t->bounds_n);
        t->to = arena_dup(a, b.to.p, b.to.n * sizeof *t->to);
        t->states = (unsigned)b.keys.n;
    }
    arena_fini(&kept);
    arena_fini(&b.scratch);
    array_fini(&b.to);
    array_fini(&b.keys);
    array_fini(&b.list);
    return t;
}
