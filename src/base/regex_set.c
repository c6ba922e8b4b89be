#include "base/regex_int.h"

void regex_set_add(struct regex_set *s, uint32_t lo, uint32_t hi)
{
    if (s->n >= 2 && lo <= s->p[s->n - 1] + 1 && lo >= s->p[s->n - 2]) { /* the usual way: in order */
        s->p[s->n - 1] = MAX(s->p[s->n - 1], hi);
        return;
    }
    array_push(s, lo);
    array_push(s, hi);
}

static int range_cmp(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] < y[0] ? -1 : 1) : x[1] != y[1] ? (x[1] < y[1] ? -1 : 1) : 0;
}

void regex_set_clean(struct regex_set *s)
{
    bool clean = true;
    for (size_t i = 2; i < s->n && clean; i += 2)
        clean = s->p[i] > s->p[i - 1] + 1;
    if (clean)
        return;
    qsort(s->p, s->n / 2, 2 * sizeof *s->p, range_cmp);
    size_t w = 2;
    for (size_t i = 2; i < s->n; i += 2) {
        if (s->p[i] <= s->p[w - 1] + 1) {
            s->p[w - 1] = MAX(s->p[w - 1], s->p[i + 1]);
            continue;
        }
        s->p[w] = s->p[i];
        s->p[w + 1] = s->p[i + 1];
        w += 2;
    }
    s->n = w;
}

void regex_set_negate(struct regex_set *s)
{
    regex_set_clean(s);
    struct regex_set out = {0};
    uint32_t next = 0;
    for (size_t i = 0; i < s->n; i += 2) {
        if (s->p[i] > next)
            regex_set_add(&out, next, s->p[i] - 1);
        next = s->p[i + 1] + 1;
    }
    if (next <= RUNE_MAX)
        regex_set_add(&out, next, RUNE_MAX);
    array_fini(s);
    *s = out;
}

void regex_set_join(struct regex_set *s, const struct regex_set *more)
{
    for (size_t i = 0; i < more->n; i += 2)
        regex_set_add(s, more->p[i], more->p[i + 1]);
}

bool regex_set_has(const uint32_t *p, size_t n, uint32_t c)
{
    size_t lo = 0, hi = n / 2;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c > p[2 * mid + 1])
            lo = mid + 1;
        else if (c < p[2 * mid])
            hi = mid;
        else
            return true;
    }
    return false;
}

/* The first row that ends at c or later. */
static unsigned fold_row(uint32_t c)
{
    unsigned lo = 0, hi = regex_fold_count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (regex_folds[mid].hi < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint32_t fold_step(const struct regex_fold *f, uint32_t c)
{
    if (f->step == 0)
        return c ^ 1;
    if (f->step == (int32_t)RUNE_MAX + 1)
        return ((c + 1) ^ 1) - 1;
    return (uint32_t)((int32_t)c + f->step);
}

uint32_t regex_fold_next(uint32_t c)
{
    unsigned i = fold_row(c);
    return i < regex_fold_count && regex_folds[i].lo <= c ? fold_step(&regex_folds[i], c) : c;
}

void regex_set_fold(struct regex_set *s)
{
    regex_set_clean(s);
    for (size_t before = 0, round = 0; round < 4 && (round == 0 || before != s->n); round++) {
        struct regex_set more = {0};
        before = s->n;
        for (size_t i = 0; i < s->n; i += 2) {
            for (unsigned k = fold_row(s->p[i]); k < regex_fold_count && regex_folds[k].lo <= s->p[i + 1]; k++) {
                const struct regex_fold *f = &regex_folds[k];
                uint32_t lo = MAX(f->lo, s->p[i]), hi = MIN(f->hi, s->p[i + 1]);
                uint32_t a = fold_step(f, lo), b = fold_step(f, hi);
                if (f->step == 0 || f->step == (int32_t)RUNE_MAX + 1) /* pairs: from the first's to the last's */
                    regex_set_add(&more, MIN(lo, a), MAX(hi, b));
                else
                    regex_set_add(&more, a, b);
            }
        }
        regex_set_join(s, &more);
        array_fini(&more);
        regex_set_clean(s);
    }
}

/* `wanted`: a bit for each of regex_categories. */
static void category_add(struct regex_set *s, uint32_t wanted)
{
    static const unsigned small = 5, capital = 9; /* Ll, Lu */
    const uint8_t *p = regex_category_runs;
    for (uint32_t c = 0; c <= RUNE_MAX;) {
        unsigned kind = *p & 31;
        uint32_t n = *p++ >> 5;
        if (!n)
            n = (uint32_t)regex_run_length(&p);
        if (kind < 30) {
            if (wanted >> kind & 1)
                regex_set_add(s, c, c + n - 1);
        } else {
            unsigned first = kind == 30 ? capital : small, second = kind == 30 ? small : capital;
            for (uint32_t i = 0; i < n; i++)
                if (wanted >> (i % 2 ? second : first) & 1)
                    regex_set_add(s, c + i, c + i);
        }
        c += n;
    }
}

static void script_add(struct regex_set *s, unsigned wanted)
{
    const uint8_t *p = regex_script_runs;
    for (uint32_t c = 0; c <= RUNE_MAX;) {
        unsigned kind = *p++;
        uint32_t n = (uint32_t)regex_run_length(&p);
        if (kind == wanted)
            regex_set_add(s, c, c + n - 1);
        c += n;
    }
}

/* Names are compared without '_', '-' and ' ', and their case does not count. */
static bool name_is(struct str name, const char *want)
{
    size_t i = 0;
    for (;; i++, want++) {
        while (i < name.n && (name.p[i] == '_' || name.p[i] == '-' || name.p[i] == ' '))
            i++;
        while (*want == '_')
            want++;
        if (i >= name.n || !*want)
            return i >= name.n && !*want;
        if ((name.p[i] | 0x20) != (*want | 0x20))
            return false;
    }
}

static uint32_t category_wanted(struct str name)
{
    static const struct {
        const char *name, *is;
    } aliases[] = {
        {"Cased_Letter", "LC"},
        {"Close_Punctuation", "Pe"},
        {"Combining_Mark", "M"},
        {"Connector_Punctuation", "Pc"},
        {"Control", "Cc"},
        {"Currency_Symbol", "Sc"},
        {"Dash_Punctuation", "Pd"},
        {"Decimal_Number", "Nd"},
        {"Enclosing_Mark", "Me"},
        {"Final_Punctuation", "Pf"},
        {"Format", "Cf"},
        {"Initial_Punctuation", "Pi"},
        {"Letter", "L"},
        {"Letter_Number", "Nl"},
        {"Line_Separator", "Zl"},
        {"Lowercase_Letter", "Ll"},
        {"Mark", "M"},
        {"Math_Symbol", "Sm"},
        {"Modifier_Letter", "Lm"},
        {"Modifier_Symbol", "Sk"},
        {"Nonspacing_Mark", "Mn"},
        {"Number", "N"},
        {"Open_Punctuation", "Ps"},
        {"Other", "C"},
        {"Other_Letter", "Lo"},
        {"Other_Number", "No"},
        {"Other_Punctuation", "Po"},
        {"Other_Symbol", "So"},
        {"Paragraph_Separator", "Zp"},
        {"Private_Use", "Co"},
        {"Punctuation", "P"},
        {"Separator", "Z"},
        {"Space_Separator", "Zs"},
        {"Spacing_Mark", "Mc"},
        {"Surrogate", "Cs"},
        {"Symbol", "S"},
        {"Titlecase_Letter", "Lt"},
        {"Unassigned", "Cn"},
        {"Uppercase_Letter", "Lu"},
        {"cntrl", "Cc"},
        {"digit", "Nd"},
        {"punct", "P"},
    };
    for (size_t i = 0; i < countof(aliases); i++)
        if (name_is(name, aliases[i].name))
            name = str_of(aliases[i].is);
    uint32_t wanted = 0;
    for (unsigned i = 0; i < countof(regex_categories); i++) {
        char first[2] = {regex_categories[i][0], 0};
        if (name_is(name, regex_categories[i]) || name_is(name, first))
            wanted |= 1u << i;
    }
    if (name_is(name, "LC"))
        for (unsigned i = 0; i < countof(regex_categories); i++)
            if (str_has(S("Lu Ll Lt"), str_of(regex_categories[i])))
                wanted |= 1u << i;
    return wanted;
}

bool regex_set_unicode(struct regex_set *s, struct str name)
{
    if (name_is(name, "Any")) {
        regex_set_add(s, 0, RUNE_MAX);
        return true;
    }
    if (name_is(name, "ASCII")) {
        regex_set_add(s, 0, 127);
        return true;
    }
    if (name_is(name, "Assigned")) {
        category_add(s, ~category_wanted(S("Cn")));
        return true;
    }
    uint32_t wanted = category_wanted(name);
    if (wanted) {
        category_add(s, wanted);
        return true;
    }
    for (unsigned i = 0; i < regex_script_count; i++)
        if (name_is(name, regex_scripts[i])) {
            script_add(s, i + 1);
            return true;
        }
    return false;
}
