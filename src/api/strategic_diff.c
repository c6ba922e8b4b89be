/* strategic_diff.c - the patch of a client that applies: what `modified` says and `current` lacks, and what
 * `original` had and `modified` has no more. Made as k8s.io/apimachinery makes it: two diffs, one of additions, one
 * of deletions, merged into one patch. */
#include "api/strategic_int.h"

struct diff {
    struct merge m;
    bool additions; /* what is added or changed; otherwise what is deleted */
};

static bool diff_maps(struct diff *d, const struct type *t, bool retain_keys, const struct val *from,
                      const struct val *to, struct val *patch);

static void set_directive(struct diff *d, struct val *patch, struct str prefix, const struct name *name, struct val v)
{
    val_set_str(d->m.a, patch, arena_fmt(d->m.a, STR_FMT "/" STR_FMT, STR_ARG(prefix), STR_ARG(name->s)), v);
}

/* An element and the text of its key (of itself, where it is no map). */
struct keyed {
    struct str text;
    uint32_t at;
    const struct val *v;
};

/* Of elements with one key the last comes first: two lists are compared in that order. */
static int by_text(const void *x, const void *y)
{
    const struct keyed *a = x, *b = y;
    int order = str_cmp(a->text, b->text);
    return order ? order : a->at < b->at ? 1 : -1;
}

static struct keyed *by_key(struct arena *a, const struct val *list, const struct name *key)
{
    struct keyed *out = arena_alloc(a, (val_len(list) + 1) * sizeof *out);
    for (uint32_t i = 0; i < val_len(list); i++) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        val_go_text(&text, key ? val_get(&list->list[i], key) : &list->list[i]);
        out[i] = (struct keyed){str_dup(a, strbuf_str(&text)), i, &list->list[i]};
    }
    qsort(out, val_len(list), sizeof *out, by_text);
    return out;
}

static struct val key_only(struct arena *a, const struct val *item, const struct name *key)
{
    struct val v = val_map();
    val_set(a, &v, key, *val_get(item, key));
    return v;
}

static bool changed_element(struct diff *d, const struct type *of, bool retain_keys, const struct name *key,
                            const struct val *from, const struct val *to, struct val *changes)
{
    struct val below;
    if (!diff_maps(d, of, retain_keys, from, to, &below))
        return false;
    if (below.n > 0) {
        val_set(d->m.a, &below, key, *val_get(to, key));
        val_add(d->m.a, changes, below);
    }
    return true;
}

/* What differs between two sorted lists: changed and new elements, and the elements that went (by their key alone).
 */
static bool diff_elements(struct diff *d, const struct type *of, bool retain_keys, const struct name *key,
                          const struct val *from, const struct val *to, struct val *changes, struct val *gone)
{
    struct arena *a = d->m.a;
    const struct keyed *f = by_key(a, from, key), *t = by_key(a, to, key);
    size_t nf = val_len(from), nt = val_len(to), i = 0, j = 0;
    *changes = *gone = val_list();
    while (i < nf || j < nt) {
        int order = i == nf ? 1 : j == nt ? -1 : str_cmp(f[i].text, t[j].text);
        if (order == 0) {
            if (key && !changed_element(d, of, retain_keys, key, f[i].v, t[j].v, changes))
                return false;
            i++;
            j++;
        } else if (order > 0) {
            if (d->additions)
                val_add(a, changes, *t[j].v);
            j++;
        } else {
            struct val dead = key ? key_only(a, f[i].v, key) : *f[i].v;
            if (key)
                val_set_str(a, &dead, S_PATCH, val_str_borrowed(S("delete")));
            if (!d->additions)
                val_add(a, gone, dead);
            i++;
        }
    }
    return true;
}

static bool same_order(const struct val *x, const struct val *y, const struct name *key)
{
    bool same = val_len(x) == val_len(y);
    for (uint32_t i = 0; same && i < x->n; i++)
        same = val_equal(val_get(&x->list[i], key), val_get(&y->list[i], key));
    return same;
}

/* Whether `to` is `from`, sorted: an order that is not the sorted one is always said. */
static bool is_sorted_form(struct arena *a, const struct val *from, const struct val *to)
{
    const struct keyed *f = by_key(a, from, NULL);
    bool same = val_len(from) == val_len(to);
    for (uint32_t i = 0; same && i < from->n; i++)
        same = val_equal(f[i].v, &to->list[i]);
    return same;
}

static struct val list_unique(struct arena *a, const struct val *list)
{
    struct places seen = places_of(a, NULL, NULL);
    struct val out = val_list();
    val_each_item (item, list)
        if (places_find(&seen, item) < 0) {
            places_add(&seen, item);
            val_add(a, &out, *item);
        }
    return out;
}

static bool diff_lists(struct diff *d, const struct type *t, const struct field *f, const struct val *from,
                       const struct val *to, struct val *patch)
{
    struct arena *a = d->m.a;
    const struct name *key = f->x ? f->x->patch_key : NULL;
    bool retain_keys = f->flags & FIELD_PATCH_RETAIN_KEYS;
    struct val changes, gone, order = val_list();
    enum element_sort sort;
    if (val_len(from) == 0) {
        if (val_len(to) > 0 && d->additions)
            val_set(a, patch, f->name, *to);
        return true;
    }
    if (!elements_sort(&d->m, from, to, &sort))
        return false;
    bool maps = sort == ELEMENTS_MAPS;
    if (maps && (!elements_keyed(&d->m, from, key) || !elements_keyed(&d->m, to, key)))
        return false;
    key = maps ? key : NULL;
    struct places wanted = places_of(a, to, key);
    if (!diff_elements(d, t->of, retain_keys, key, from, to, &changes, &gone) ||
        !list_sort(&d->m, &changes, &wanted, maps, &changes))
        return false;
    bool moved = d->additions && !(maps ? same_order(from, to, key) : is_sorted_form(a, from, to));
    if (moved || gone.n > 0 || (maps && changes.n > 0)) {
        val_each_item (item, to)
            val_add(a, &order, maps ? key_only(a, item, key) : *item);
    }
    if (maps)
        val_each_item (dead, &gone)
            val_add(a, &changes, *dead);
    if (!maps && gone.n > 0)
        set_directive(d, patch, S_DELETE_FROM, f->name, list_unique(a, &gone));
    if (order.n > 0)
        set_directive(d, patch, S_SET_ORDER, f->name, order);
    if (changes.n > 0)
        val_set(a, patch, f->name, changes);
    return true;
}

static bool diff_member(struct diff *d, const struct type *t, const struct member *to, const struct val *from,
                        struct val *patch)
{
    const struct field *f;
    const struct type *type = member_type(t, to->name, &f);
    if (val_is(from, VAL_MAP) && val_is(&to->v, VAL_MAP) && !(f && (f->flags & FIELD_PATCH_REPLACE))) {
        struct val below;
        if (!diff_maps(d, type, f && (f->flags & FIELD_PATCH_RETAIN_KEYS), from, &to->v, &below))
            return false;
        if (below.n > 0)
            val_set(d->m.a, patch, to->name, below);
        return true;
    }
    if (val_is(from, VAL_LIST) && val_is(&to->v, VAL_LIST) && f && (f->flags & FIELD_PATCH_MERGE))
        return diff_lists(d, type, f, from, &to->v, patch);
    if (d->additions && !val_equal(from, &to->v))
        val_set(d->m.a, patch, to->name, to->v);
    return true;
}

static int by_str(const void *x, const void *y)
{
    return str_cmp(val_text(x), val_text(y));
}

/* Where a map may have one of several members (a volume, a strategy), the patch says which stay. */
static void say_what_stays(struct diff *d, const struct val *from, const struct val *to, struct val *patch)
{
    struct val keys = val_list();
    bool more = patch->n > 0;
    val_each_member (m, to)
        if (m->v.type != VAL_NULL)
            val_add(d->m.a, &keys, val_str_borrowed(m->name->s));
    val_each_member (m, from)
        more |= m->v.type != VAL_NULL && !val_get(to, m->name);
    if (keys.n == 0 || !more)
        return;
    qsort(keys.list, keys.n, sizeof *keys.list, by_str);
    val_set_str(d->m.a, patch, S_RETAIN_KEYS, keys);
}

static bool diff_maps(struct diff *d, const struct type *t, bool retain_keys, const struct val *from,
                      const struct val *to, struct val *patch)
{
    *patch = val_map();
    val_each_member (m, to) {
        const struct val *was = val_get(from, m->name);
        if (!was && d->additions)
            val_append(d->m.a, patch, m->name, m->v);
        else if (was && !diff_member(d, t, m, was, patch))
            return false;
    }
    if (!d->additions)
        val_each_member (m, from)
            if (!val_get(to, m->name))
                val_set(d->m.a, patch, m->name, VAL_NONE);
    if (retain_keys)
        say_what_stays(d, from, to, patch);
    return true;
}

bool diff_strategic3(struct arena *a, const struct type *t, const struct val *original, const struct val *modified,
                     const struct val *current, struct val *out, struct err *err)
{
    struct diff d = {.m = {.a = a, .err = err, .sends = true}, .additions = true};
    struct val additions, deletions;
    if (!val_is(modified, VAL_MAP) || !val_is(current, VAL_MAP))
        return err_set(err, E_BAD_REQUEST, "an object is needed to compute a patch");
    if (!diff_maps(&d, t, false, current, modified, &additions))
        return false;
    d.additions = false;
    return diff_maps(&d, t, false, original, modified, &deletions) && map_merge(&d.m, t, &deletions, &additions, out);
}
