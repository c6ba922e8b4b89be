/* Matching: by the table where the question is whether, by walking the program with all its ways at once where it is
 * also where (or where there is no table). Both look at each character once. */
#include "base/regex_int.h"

static unsigned table_column(const struct regex_table *t, uint32_t c)
{
    if (c < 128)
        return t->ascii[c];
    unsigned lo = 0, hi = t->bounds_n;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;
        if (t->bounds[mid] <= c)
            lo = mid;
        else
            hi = mid;
    }
    return t->bound_columns[lo];
}

static uint32_t rune_before(struct str text, size_t at)
{
    if (!at)
        return UINT32_MAX;
    size_t from = at - 1, bytes;
    while (from && at - from < 4 && ((uint8_t)text.p[from] & 0xc0) == 0x80)
        from--;
    uint32_t c = regex_rune((struct str){text.p, at}, from, &bytes);
    return from + bytes == at ? c : RUNE_BAD;
}

static bool table_match(const struct regex_table *t, struct str text, size_t at)
{
    const uint16_t *to = t->to;
    unsigned columns = t->columns, state = t->starts[regex_before_of(rune_before(text, at))];
    for (size_t bytes; at < text.n && state > TABLE_FOUND; at += bytes) {
        uint32_t c = regex_rune(text, at, &bytes);
        state = to[state * columns + table_column(t, c)];
    }
    return (state > TABLE_FOUND ? to[state * columns + columns - 1] : state) == TABLE_FOUND;
}

/* Walking the program. A way is an instruction that takes a character, and the places saved on the way to it. Ways
 * stand in the order in which a backtracking search would try them. */
struct regex_ways {
    uint32_t *insts, *index; /* which, and by instruction where in it */
    uint32_t *places;        /* saves_n of each way */
    size_t n;
};

struct regex_search {
    const struct regex *re;
    struct str text;
    size_t saves_n;
    struct regex_ways now, next;
    uint32_t *saves, *found; /* of the way that is being followed; of the best match */
    struct {
        uint32_t inst; /* to follow; UINT32_MAX: put `old` back into save `slot` */
        uint32_t slot, old;
    } * stack;
    void *memory;
    bool matched;
};
#define PLACE_NONE UINT32_MAX

static void search_init(struct regex_search *s, const struct regex *re, size_t saves_n, void *small, size_t small_n)
{
    size_t n = re->n, each = 2 + saves_n; /* for each list */
    size_t need = sizeof *s->stack * (3 * n + 2) + sizeof(uint32_t) * (2 * n * each + 2 * saves_n);
    s->memory = need > small_n ? mem_alloc(need) : NULL;
    s->stack = s->memory ? s->memory : small;
    uint32_t *p = (uint32_t *)(s->stack + 3 * n + 2);
    struct regex_ways *both[] = {&s->now, &s->next};
    for (size_t i = 0; i < 2; i++) {
        both[i]->insts = p;
        both[i]->index = p + n;
        both[i]->places = p + 2 * n;
        both[i]->n = 0;
        memset(both[i]->index, 0, n * sizeof *p);
        p += n * each;
    }
    s->saves = p;
    s->found = p + saves_n;
    memset(s->saves, 0xff, 2 * saves_n * sizeof *p);
}

static bool ways_has(const struct regex_ways *w, uint32_t inst)
{
    return w->index[inst] < w->n && w->insts[w->index[inst]] == inst;
}

/* Adds to `w` all that `inst` leads to at the place `at`, where `hold` holds. */
static void ways_follow(struct regex_search *s, struct regex_ways *w, uint32_t inst, size_t at, unsigned hold)
{
    size_t n = 0;
    s->stack[n++].inst = inst;
    while (n) {
        inst = s->stack[--n].inst;
        if (inst == UINT32_MAX) {
            s->saves[s->stack[n].slot] = s->stack[n].old;
            continue;
        }
        if (ways_has(w, inst))
            continue;
        size_t mine = w->n++;
        w->insts[mine] = inst;
        w->index[inst] = (uint32_t)mine;
        const struct regex_inst *in = &s->re->insts[inst];
        switch ((enum regex_inst_op)in->op) {
        case IN_FAIL: break;
        case IN_JUMP: s->stack[n++].inst = in->out; break;
        case IN_SPLIT:
            s->stack[n++].inst = in->arg;
            s->stack[n++].inst = in->out;
            break;
        case IN_ASSERT:
            if (hold & in->arg)
                s->stack[n++].inst = in->out;
            break;
        case IN_SAVE:
            if (in->arg < s->saves_n) {
                s->stack[n].inst = UINT32_MAX;
                s->stack[n].slot = in->arg;
                s->stack[n++].old = s->saves[in->arg];
                s->saves[in->arg] = (uint32_t)at;
            }
            s->stack[n++].inst = in->out;
            break;
        case IN_MATCH:
        case IN_RUNE:
        case IN_SET:
            if (s->saves_n)
                memcpy(w->places + mine * s->saves_n, s->saves, s->saves_n * sizeof *s->saves);
            break;
        }
    }
}

/* One character further (UINT32_MAX: there is none); `at` and `hold` are of the place behind it. */
static void search_step(struct regex_search *s, uint32_t c, size_t here, size_t at, unsigned hold)
{
    for (size_t i = 0; i < s->now.n; i++) {
        const struct regex_inst *in = &s->re->insts[s->now.insts[i]];
        if (in->op == IN_MATCH) {
            s->matched = true;
            if (s->saves_n) {
                memcpy(s->found, s->now.places + i * s->saves_n, s->saves_n * sizeof *s->found);
                s->found[1] = (uint32_t)here;
            }
            break; /* what comes after is less wanted */
        }
        if (c == UINT32_MAX || (in->op != IN_RUNE && in->op != IN_SET) || !regex_takes(s->re, in, c))
            continue;
        if (s->saves_n)
            memcpy(s->saves, s->now.places + i * s->saves_n, s->saves_n * sizeof *s->saves);
        ways_follow(s, &s->next, in->out, at, hold);
    }
    struct regex_ways was = s->now;
    s->now = s->next;
    s->next = was;
    s->next.n = 0;
}

static size_t prefix_seek(const struct regex *re, struct str text, size_t at)
{
    const char *hit = memmem(text.p + at, text.n - at, re->prefix.p, re->prefix.n);
    return hit ? (size_t)(hit - text.p) : SIZE_MAX;
}

static void search_run(struct regex_search *s, size_t at)
{
    const struct regex *re = s->re;
    uint32_t before = rune_before(s->text, at);
    while (at <= s->text.n) {
        if (!s->now.n && (s->matched || (re->anchored && at)))
            return;
        if (!s->now.n && re->prefix.n) {
            size_t hit = prefix_seek(re, s->text, at);
            if (hit == SIZE_MAX)
                return;
            before = hit == at ? before : rune_before(s->text, hit);
            at = hit;
        }
        size_t bytes = 1, further;
        uint32_t c = at < s->text.n ? regex_rune(s->text, at, &bytes) : UINT32_MAX;
        size_t end = at + bytes;
        uint32_t after = end < s->text.n ? regex_rune(s->text, end, &further) : UINT32_MAX;
        if (!s->matched) {
            if (s->saves_n) {
                memset(s->saves, 0xff, s->saves_n * sizeof *s->saves);
                s->saves[0] = (uint32_t)at;
            }
            ways_follow(s, &s->now, re->start, at, regex_asserts_between(before, c));
        }
        search_step(s, c, at, end, regex_asserts_between(c, after));
        if (!s->saves_n && s->matched)
            return;
        before = c;
        at = end;
    }
}

bool regex_match(const struct regex *re, struct str text)
{
    if (re->literal)
        return !re->prefix.n || (text.n && prefix_seek(re, text, 0) != SIZE_MAX);
    if (re->table)
        return table_match(re->table, text, 0);
    return regex_find(re, text, 0, NULL, 0);
}

bool regex_find(const struct regex *re, struct str text, size_t from, struct regex_span *spans, size_t n)
{
    _Alignas(8) char small[4096];
    n = MIN(n, (size_t)re->groups + 1);
    if (from > text.n || text.n >= UINT32_MAX || (re->table && n && !table_match(re->table, text, from)))
        return false;
    if (!text.p)
        text = S("");
    struct regex_search s = {.re = re, .text = text, .saves_n = 2 * n};
    search_init(&s, re, s.saves_n, small, sizeof small);
    search_run(&s, from);
    for (size_t i = 0; s.matched && i < n; i++) {
        bool none = s.found[2 * i] == PLACE_NONE || s.found[2 * i + 1] == PLACE_NONE;
        spans[i] = none ? (struct regex_span){SIZE_MAX, SIZE_MAX}
                        : (struct regex_span){s.found[2 * i], s.found[2 * i + 1]};
    }
    mem_free(s.memory);
    return s.matched;
}

bool regex_next(const struct regex *re, struct str text, struct regex_walk *w, struct regex_span *span)
{
    while (!w->ended && w->at <= text.n && regex_find(re, text, w->at, span, 1)) {
        size_t bytes = 1;
        bool skipped = span->to == w->at && w->begun && span->from == w->last;
        if (span->to == w->at) { /* an empty one: on by a character */
            if (w->at < text.n)
                (void)regex_rune(text, w->at, &bytes);
            w->at += bytes;
        } else {
            w->at = span->to;
        }
        w->begun = true;
        w->last = span->to;
        if (!skipped)
            return true;
    }
    w->ended = true;
    return false;
}
