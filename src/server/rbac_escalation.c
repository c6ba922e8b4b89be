#include "base/map.h"
#include "server/int.h"
#include "server/rbac.h"

/* May somebody hand out these rules? They must be covered by the rules that hold for them (upstream: Covers of
 * pkg/registry/rbac/validation). A rule is a box: verbs x groups x resources x names. Boxes are not multiplied out:
 * of each text in them only matters *which* of the own rules list it, so that texts alike in that are one class, and
 * classes are multiplied, of which there are few. The work has a bound all the same; what it does not reach to show
 * as covered is not. */

enum { DIM_GROUP, DIM_RESOURCE, DIM_NAME, DIM_VERB, DIMS };
enum {
    STEPS_MOST = 4000000,          /* words of sets that are looked at */
    OWN_BYTES_MOST = 32 << 20,     /* of own rules that are looked at */
    LACKS_MOST = 500,              /* what is missing is told up to here, */
    LACKS_BYTES_MOST = STRBUF_TEXT /* and here */
};

/* A set of own rules, `words` long. */
typedef uint64_t word;

struct covering {
    struct arena *a;
    struct val own; /* list */
    size_t own_bytes, words, steps;
    /* which own rules list a text, and which list all */
    struct map lists[DIMS];
    word *all[DIMS];
    word *scratch[DIMS];
    struct map urls;
    ARRAY(struct str) url_starts; /* those that end with '*', without it */
    ARRAY(word *) url_start_sets;
};

static bool steps_spend(struct covering *c, size_t n)
{
    c->steps += n;
    return c->steps <= STEPS_MOST;
}

static word *set_new(struct covering *c)
{
    return arena_alloc(c->a, MAX(c->words, 1u) * sizeof(word));
}

static void set_add(word *set, size_t rule)
{
    set[rule / 64] |= (word)1 << (rule % 64);
}

/* to = x & y; whether something is in it */
static bool set_and(struct covering *c, word *to, const word *x, const word *y)
{
    word any = 0;
    for (size_t i = 0; i < c->words; i++)
        any |= to[i] = x[i] & y[i];
    return any;
}

static void set_or(struct covering *c, word *to, const word *x)
{
    for (size_t i = 0; i < c->words; i++)
        to[i] |= x[i];
}

/* --- the own rules --- */

static void own_rule(void *arg, const struct val *rule)
{
    struct covering *c = arg;
    size_t before = c->a->used;
    if (c->own_bytes > OWN_BYTES_MOST)
        return;
    val_add(c->a, &c->own, val_copy(c->a, rule));
    c->own_bytes += c->a->used - before;
}

static word *set_of_text(struct covering *c, struct map *m, struct str text)
{
    word *set = map_get(m, text);
    if (!set) {
        set = set_new(c);
        map_put(m, text, set);
    }
    return set;
}

static void own_list(struct covering *c, int dim, size_t rule, const struct val *list)
{
    val_each_item (it, list) {
        struct str text = val_text(it);
        if (dim != DIM_NAME && str_eq(text, S("*")))
            set_add(c->all[dim], rule);
        else
            set_add(set_of_text(c, &c->lists[dim], text), rule);
    }
}

static void own_urls(struct covering *c, size_t rule, const struct val *urls)
{
    val_each_item (it, urls) {
        struct str u = val_text(it);
        word *set = set_of_text(c, &c->urls, u);
        if (u.n && u.p[u.n - 1] == '*') {
            array_push(&c->url_starts, str_sub(u, 0, u.n - 1));
            array_push(&c->url_start_sets, set);
        }
        set_add(set, rule);
    }
}

static void own_read(struct covering *c)
{
    c->words = (c->own.n + 63) / 64;
    for (int d = 0; d < DIMS; d++)
        c->all[d] = set_new(c), c->scratch[d] = set_new(c);
    size_t i = 0;
    val_each_item (rule, &c->own) {
        own_list(c, DIM_GROUP, i, val_get(rule, N(apiGroups)));
        own_list(c, DIM_RESOURCE, i, val_get(rule, N(resources)));
        own_list(c, DIM_VERB, i, val_get(rule, N(verbs)));
        own_urls(c, i, val_get(rule, N(nonResourceURLs)));
        if (val_len(val_get(rule, N(resourceNames))))
            own_list(c, DIM_NAME, i, val_get(rule, N(resourceNames)));
        else
            set_add(c->all[DIM_NAME], i);
        i++;
    }
}

static void covering_fini(struct covering *c)
{
    for (int d = 0; d < DIMS; d++)
        map_fini(&c->lists[d]);
    map_fini(&c->urls);
    array_fini(&c->url_starts);
    array_fini(&c->url_start_sets);
}
AUTO_VALUE(covering_fini, struct covering);

/* The own rules that cover a text of a rule in one dimension. */
static word *covering_of(struct covering *c, int dim, struct str text)
{
    word *set = set_new(c), *listed = map_get(&c->lists[dim], text);
    struct str head, tail;
    set_or(c, set, c->all[dim]);
    if (listed && (dim != DIM_NAME || text.n))
        set_or(c, set, listed);
    if (dim == DIM_RESOURCE && str_split(text, '/', &head, &tail)) {
        listed = map_get(&c->lists[dim], arena_fmt(c->a, "*/" STR_FMT, STR_ARG(tail)));
        if (listed)
            set_or(c, set, listed);
    }
    return set;
}

static word *covering_of_url(struct covering *c, struct str url)
{
    word *set = set_new(c), *listed = map_get(&c->urls, url);
    if (listed)
        set_or(c, set, listed);
    for (size_t i = 0; i < c->url_starts.n && steps_spend(c, 1); i++)
        if (str_starts(url, c->url_starts.p[i]))
            set_or(c, set, c->url_start_sets.p[i]);
    return set;
}

/* --- one rule to hand out --- */

struct dimension {
    struct str *texts;
    word **sets; /* of each text */
    size_t n;
    word **classes; /* the different ones among them */
    size_t nclasses;
};
struct box {
    struct dimension dim[DIMS];
};

static struct dimension dimension_of(struct covering *c, int dim, const struct val *list, bool urls)
{
    struct dimension d = {.n = val_len(list)};
    AUTO(map_fini) struct map seen = MAP;
    d.texts = arena_alloc(c->a, (d.n + 1) * sizeof *d.texts);
    d.sets = arena_alloc(c->a, (d.n + 1) * sizeof *d.sets);
    d.classes = arena_alloc(c->a, (d.n + 1) * sizeof *d.classes);
    for (size_t i = 0; i < d.n; i++) {
        d.texts[i] = val_text(val_item(list, i));
        if (!steps_spend(c, c->words + 1)) {
            d.sets[i] = d.classes[0] = set_new(c);
            d.nclasses = 1;
            continue;
        }
        word *set = urls ? covering_of_url(c, d.texts[i]) : covering_of(c, dim, d.texts[i]);
        struct str key = {(const char *)set, c->words * sizeof *set};
        word *same = map_get(&seen, key);
        if (!same) {
            map_put(&seen, key, set);
            d.classes[d.nclasses++] = same = set;
        }
        d.sets[i] = same;
    }
    return d;
}

/* Whether something of the box from this dimension on is covered by none of the rules `have`. */
static bool box_is_lacking(struct covering *c, const struct box *b, int dim, const word *have)
{
    if (dim == DIMS)
        return false;
    word *both = c->scratch[dim];
    for (size_t i = 0; i < b->dim[dim].nclasses; i++)
        if (!steps_spend(c, c->words + 1) || !set_and(c, both, have, b->dim[dim].classes[i]) ||
            box_is_lacking(c, b, dim + 1, both))
            return true;
    return false;
}

/* What is missing, as upstream compacts it: one line for each resource with all its verbs. */
struct lack {
    struct str head; /* up to Verbs:[ */
    struct str verbs;
};
struct lacks {
    struct arena *a;
    ARRAY(struct lack) list;
    size_t n, bytes;
};

static void lack_add(struct lacks *l, struct str head, struct str verb, bool alone)
{
    l->n++;
    l->bytes += head.n + verb.n;
    array_each (it, &l->list)
        if (!alone && str_eq(it->head, head)) {
            it->verbs = arena_fmt(l->a, STR_FMT " \"" STR_FMT "\"", STR_ARG(it->verbs), STR_ARG(verb));
            return;
        }
    struct lack new = {head, arena_fmt(l->a, "\"" STR_FMT "\"", STR_ARG(verb))};
    array_push(&l->list, new);
}

static bool lacks_full(const struct lacks *l)
{
    return l->n >= LACKS_MOST || l->bytes >= LACKS_BYTES_MOST;
}

static int by_head(const void *x, const void *y)
{
    return str_cmp(((const struct lack *)x)->head, ((const struct lack *)y)->head);
}

static struct str head_of(struct arena *a, const struct str *texts)
{
    struct str named = texts[DIM_NAME].n ? arena_fmt(a, ", ResourceNames:[\"" STR_FMT "\"]", STR_ARG(texts[DIM_NAME]))
                                         : S("");
    return arena_fmt(a, "APIGroups:[\"" STR_FMT "\"], Resources:[\"" STR_FMT "\"]" STR_FMT, STR_ARG(texts[DIM_GROUP]),
                     STR_ARG(texts[DIM_RESOURCE]), STR_ARG(named));
}

/* Only where something is missing goes on into the next dimension. */
static void box_tell(struct covering *c, const struct box *b, int dim, const word *have, struct str *texts,
                     struct lacks *out)
{
    const struct dimension *d = &b->dim[dim];
    word *both = set_new(c);
    for (size_t i = 0; i < d->n && !lacks_full(out); i++) {
        texts[dim] = d->texts[i];
        bool some = set_and(c, both, have, d->sets[i]);
        if (dim == DIM_VERB && !some)
            lack_add(out, head_of(c->a, texts), texts[dim], false);
        else if (dim != DIM_VERB && (!some || box_is_lacking(c, b, dim + 1, both)))
            box_tell(c, b, dim + 1, both, texts, out);
    }
}

static word *set_full(struct covering *c)
{
    word *set = set_new(c);
    memset(set, 0xff, c->words * sizeof *set);
    return set;
}

static void check_resources(struct covering *c, const struct val *rule, struct lacks *out)
{
    static const struct val none_text = {.type = VAL_STRING, .s = ""};
    static const struct val one = {.type = VAL_LIST, .n = 1, .list = (struct val *)(uintptr_t)&none_text};
    const struct val *only = val_get(rule, N(resourceNames));
    struct box b = {.dim = {
                        [DIM_GROUP] = dimension_of(c, DIM_GROUP, val_get(rule, N(apiGroups)), false),
                        [DIM_RESOURCE] = dimension_of(c, DIM_RESOURCE, val_get(rule, N(resources)), false),
                        [DIM_NAME] = dimension_of(c, DIM_NAME, val_len(only) ? only : &one, false),
                        [DIM_VERB] = dimension_of(c, DIM_VERB, val_get(rule, N(verbs)), false),
                    }};
    for (int i = 0; i < DIMS; i++)
        if (!b.dim[i].n)
            return; /* gives nothing */
    word *all = set_full(c);
    struct str texts[DIMS];
    if (box_is_lacking(c, &b, 0, all))
        box_tell(c, &b, 0, all, texts, out);
}

static void check_urls(struct covering *c, const struct val *rule, struct lacks *out)
{
    struct dimension urls = dimension_of(c, 0, val_get(rule, N(nonResourceURLs)), true),
                     verbs = urls.n ? dimension_of(c, DIM_VERB, val_get(rule, N(verbs)), false) : urls;
    word *both = set_new(c);
    for (size_t i = 0; i < urls.n && !lacks_full(out); i++) {
        size_t k = 0;
        while (k < verbs.nclasses && steps_spend(c, c->words + 1) && set_and(c, both, urls.sets[i], verbs.classes[k]))
            k++;
        if (k == verbs.nclasses)
            continue;
        struct str head = arena_fmt(c->a, "NonResourceURLs:[\"" STR_FMT "\"]", STR_ARG(urls.texts[i]));
        for (size_t v = 0; v < verbs.n && !lacks_full(out); v++)
            if (!set_and(c, both, urls.sets[i], verbs.sets[v]))
                lack_add(out, head, verbs.texts[v], true);
    }
}

bool rbac_covered_by(struct arena *a, const struct val *own, const struct val *rules, struct strbuf *missing)
{
    AUTO(covering_fini) struct covering c = {.a = a, .own = *own};
    own_read(&c);
    struct lacks lacks = {.a = a};
    val_each_item (rule, rules) {
        check_urls(&c, rule, &lacks);
        check_resources(&c, rule, &lacks);
        if (lacks_full(&lacks) || !steps_spend(&c, 1))
            break;
    }
    bool over = !steps_spend(&c, 0), all = lacks.list.n == 0 && !over;
    if (lacks.list.n)
        qsort(lacks.list.p, lacks.list.n, sizeof *lacks.list.p, by_head);
    array_each (it, &lacks.list)
        strbuf_addf(missing, "{" STR_FMT ", Verbs:[" STR_FMT "]}\n", STR_ARG(it->head), STR_ARG(it->verbs));
    if (over)
        strbuf_addz(missing, "there are too many rules to compare: hand out fewer at a time\n");
    else if (lacks_full(&lacks))
        strbuf_addz(missing, "and more\n");
    array_fini(&lacks.list);
    return all;
}

bool rbac_covers(struct server *s, struct arena *a, const struct user *u, struct str ns, const struct val *rules,
                 struct strbuf *missing)
{
    struct covering collecting = {.a = a, .own = val_list()};
    (void)rbac_each_rule(s, u, ns, own_rule, &collecting); /* what is not looked at is not held */
    return rbac_covered_by(a, &collecting.own, rules, missing);
}
