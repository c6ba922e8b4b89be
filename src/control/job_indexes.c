#include "control/job_int.h"

/* Where it touches the last one, or lies in it, that one grows. */
static void interval_add(struct indexes *x, struct interval i)
{
    struct interval *last = x->n > 0 ? &x->p[x->n - 1] : NULL;
    if (!last || i.first > last->last + 1)
        x->p[x->n++] = i;
    else
        last->last = MAX(last->last, i.last);
}

/* What cannot be read is left out: others may have written this status. */
struct indexes indexes_parse(struct arena *a, struct str text, int64_t completions)
{
    size_t most = 1;
    for (size_t i = 0; i < text.n; i++)
        most += text.p[i] == ',';
    struct indexes x = {.p = arena_alloc(a, most * sizeof *x.p)};
    struct str part, low, high;
    while (text.n > 0 && str_cut(&text, ',', &part)) {
        struct interval i;
        bool range = str_split(part, '-', &low, &high);
        if (!str_to_i64(range ? low : part, 0, INT32_MAX, &i.first))
            continue;
        if (i.first >= completions)
            break;
        i.last = i.first;
        if (range && !str_to_i64(high, i.first, INT32_MAX, &i.last))
            continue;
        i.last = MIN(i.last, completions - 1);
        interval_add(&x, i);
    }
    return x;
}

static int index_cmp(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

struct indexes indexes_of(struct arena *a, int64_t *list, size_t n)
{
    struct indexes x = {.p = arena_alloc(a, (n + 1) * sizeof *x.p)};
    if (n > 1)
        qsort(list, n, sizeof *list, index_cmp);
    for (size_t i = 0; i < n; i++)
        interval_add(&x, (struct interval){list[i], list[i]});
    return x;
}

struct indexes indexes_merge(struct arena *a, struct indexes x, struct indexes y)
{
    struct indexes both = {.p = arena_alloc(a, (x.n + y.n + 1) * sizeof *both.p)};
    for (size_t i = 0, j = 0; i < x.n || j < y.n;)
        if (j == y.n || (i < x.n && x.p[i].first < y.p[j].first))
            interval_add(&both, x.p[i++]);
        else
            interval_add(&both, y.p[j++]);
    return both;
}

int64_t indexes_total(struct indexes x)
{
    int64_t n = 0;
    for (size_t i = 0; i < x.n; i++)
        n += x.p[i].last - x.p[i].first + 1;
    return n;
}

int64_t indexes_common(struct indexes x, struct indexes y)
{
    int64_t n = 0;
    for (size_t i = 0, j = 0; i < x.n && j < y.n;) {
        int64_t shared = MIN(x.p[i].last, y.p[j].last) - MAX(x.p[i].first, y.p[j].first) + 1;
        n += MAX(shared, 0);
        if (x.p[i].last < y.p[j].last)
            i++;
        else
            j++;
    }
    return n;
}

bool indexes_have(struct indexes x, int64_t index)
{
    size_t low = 0, high = x.n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (x.p[mid].last < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low < x.n && x.p[low].first <= index;
}

#define TEXT_MOST (8u << 20)
struct str indexes_text(struct arena *a, struct indexes x)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MOST);
    for (size_t i = 0; i < x.n; i++) {
        strbuf_addf(&b, "%s%lld", i ? "," : "", (long long)x.p[i].first);
        if (x.p[i].last > x.p[i].first)
            strbuf_addf(&b, "%c%lld", x.p[i].last == x.p[i].first + 1 ? ',' : '-', (long long)x.p[i].last);
    }
    return str_dup(a, strbuf_str(&b));
}
