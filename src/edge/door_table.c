/* The table of one host: which rule a path leads to, and where that depends on more, the patterns that decide. */
#include "edge/door_int.h"

#define PATTERN_MOST 6000
#define RANDOMS      4 /* independent draws in a request's text */

/* --- one route's conditions as a pattern --- */

static bool match_is_pattern(const struct door_match *m)
{
    return m->path_kind == DOOR_MATCH_REGEX || m->ignore_case;
}

static bool match_is_conditional(const struct door_match *m)
{
    return match_is_pattern(m) || m->method.n || m->source.n || m->nheaders || m->nqueries || m->ncookies ||
           m->percent > 0;
}

static bool path_pattern(struct strbuf *b, const struct door_match *m, bool rest, unsigned *groups, struct err *err)
{
    const char *end = rest ? "([^?]*)" : "[^?]*";
    AUTO(arena_fini) struct arena a = ARENA;
    struct str path;
    *groups = 0;
    if (m->path_kind == DOOR_MATCH_REGEX) {
        strbuf_addz(b, "(?:");
        if (!regex_pcre_add(b, m->path, REGEX_FIELD_PATH, m->ignore_case, groups, err))
            return false;
        strbuf_addc(b, ')');
        strbuf_addz(b, end);
        return true;
    }
    if (!m->ignore_case) {
        strbuf_addz(b, "[^?]*");
        return true;
    }
    if (!door_path_clean(&a, m->path, &path, err))
        return false;
    bool exact = m->path_kind == DOOR_MATCH_EXACT;
    regex_pcre_add_text(b, exact ? path : door_prefix_clean(path), REGEX_FIELD_PATH, true);
    strbuf_addz(b, exact && !rest ? "" : exact ? "()" : rest ? "((?:/[^?]*)?)" : "(?:/[^?]*)?");
    return true;
}

static void percent_pattern(struct strbuf *b, int percent)
{
    int tens = percent / 10, ones = percent % 10;
    strbuf_addz(b, "(?:");
    if (tens)
        strbuf_addz(b, "[0-9]");
    if (tens > 1)
        strbuf_addf(b, "|[1-%d][0-9]", tens - 1);
    if (ones && tens)
        strbuf_addf(b, "|%d[0-%d]", tens, ones - 1);
    else if (ones)
        strbuf_addf(b, "[0-%d]", ones - 1);
    strbuf_addz(b, ")\\?");
}

static bool value_pattern(struct strbuf *b, const struct door_field_match *f, enum regex_field where, struct err *err)
{
    struct str value = where == REGEX_FIELD_HEADER ? str_trim(f->value) : f->value;
    if (f->kind != DOOR_MATCH_REGEX) {
        regex_pcre_add_text(b, value, where, false);
        strbuf_addz(b, f->kind == DOOR_MATCH_PREFIX ? where == REGEX_FIELD_QUERY ? "[^&\\r]*" : "[^\\r]*" : "");
        return true;
    }
    strbuf_addz(b, "(?:");
    bool ok = regex_pcre_add(b, value, where, false, NULL, err);
    strbuf_addc(b, ')');
    return ok;
}

static bool query_pattern(struct strbuf *b, const struct door_field_match *f, struct err *err)
{
    strbuf_addz(b, f->absent ? "(?![^\\r]*?&" : "(?=[^\\r]*?&");
    regex_pcre_add_text(b, f->name, REGEX_FIELD_QUERY, false);
    if (f->absent) {
        strbuf_addz(b, "[=&])");
        return true;
    }
    strbuf_addz(b, f->value.n ? "=" : "=?");
    bool ok = value_pattern(b, f, REGEX_FIELD_QUERY, err);
    strbuf_addz(b, "&)");
    return ok;
}

static bool header_pattern(struct strbuf *b, const struct door_field_match *f, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char *name = arena_dup(&a, f->name.p ? f->name.p : "", f->name.n);
    for (size_t i = 0; i < f->name.n; i++)
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] + 'a' - 'A');
    strbuf_addz(b, f->absent ? "(?![^\\0]*?\\n" : "(?=[^\\0]*?\\n");
    regex_pcre_add_text(b, (struct str){name, f->name.n}, REGEX_FIELD_HEADER, false);
    strbuf_addc(b, ':');
    if (f->absent) {
        strbuf_addc(b, ')');
        return true;
    }
    strbuf_addz(b, "\\x20");
    bool ok = value_pattern(b, f, REGEX_FIELD_HEADER, err);
    strbuf_addz(b, "\\r)");
    return ok;
}

static bool cookie_pattern(struct strbuf *b, const struct door_field_match *f, struct err *err)
{
    strbuf_addz(b, f->absent ? "(?![^\\0]*?\\ncookie:\\x20(?:[^\\r]*?;\\x20*)?"
                             : "(?=[^\\0]*?\\ncookie:\\x20(?:[^\\r]*?;\\x20*)?");
    regex_pcre_add_text(b, f->name, REGEX_FIELD_HEADER, false);
    strbuf_addc(b, '=');
    bool ok = f->absent || value_pattern(b, f, REGEX_FIELD_HEADER, err);
    strbuf_addz(b, f->absent ? ")" : "(?:;|\\r))");
    return ok;
}

static bool fields_pattern(struct strbuf *b, const struct door_match *m, struct err *err)
{
    for (size_t i = 0; i < m->nqueries; i++)
        if (!query_pattern(b, &m->queries[i], err))
            return false;
    for (size_t i = 0; i < m->nheaders; i++)
        if (!header_pattern(b, &m->headers[i], err))
            return false;
    for (size_t i = 0; i < m->ncookies; i++)
        if (!cookie_pattern(b, &m->cookies[i], err))
            return false;
    return true;
}

/* BUCKET?PATH?METHOD?ADDRESS?RANDOM?RANDOM?RANDOM?RANDOM?&QUERY&\r\nHEADERS; rest: what is behind the path's match is
 * a group of its own, whose number comes back. */
static bool match_pattern(struct strbuf *b, struct str bucket, const struct door_match *m, unsigned draw, bool rest,
                          unsigned *group, struct err *err)
{
    strbuf_addf(b, "(*LIMIT_MATCH=20000)^" STR_FMT "\\?", STR_ARG(bucket));
    if (!path_pattern(b, m, rest, group, err))
        return false;
    ++*group;
    strbuf_addz(b, "\\?");
    regex_pcre_add_text(b, m->method, REGEX_FIELD_HEADER, false);
    strbuf_addz(b, m->method.n ? "\\?" : "[^?]*\\?");
    if (m->source.n && !door_ranges_pattern(b, m->source, err))
        return false;
    strbuf_addz(b, m->source.n ? "\\?" : "[^?]*\\?");
    for (unsigned i = 0; i < RANDOMS; i++)
        if (m->percent > 0 && i == draw)
            percent_pattern(b, MIN(m->percent, 100));
        else
            strbuf_addz(b, "[0-9]+\\?");
    return fields_pattern(b, m, err) &&
           (!b->over || err_set(err, E_TOO_LARGE, "the conditions are over %d bytes", PATTERN_MOST));
}

bool door_match_check(const struct door_match *m, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PATTERN_MOST);
    AUTO(arena_fini) struct arena a = ARENA;
    struct str path;
    unsigned group;
    if (m->path_kind != DOOR_MATCH_REGEX && !door_path_clean(&a, m->path, &path, err))
        return false;
    if (m->percent < 0 || m->percent > 100)
        return err_set(err, E_INVALID, "a share of %d percent", m->percent);
    if (!match_pattern(&b, S("k"), m, 0, true, &group, err))
        return false;
    return group <= 9 || !m->path.n ||
           err_set(err, E_INVALID, "the pattern " STR_FMT " has more than 8 groups", STR_ARG(m->path));
}

/* --- order --- */

static int path_rank(const struct door_match *m)
{
    return m->path_kind == DOOR_MATCH_EXACT ? 0 : m->path_kind == DOOR_MATCH_REGEX ? 1 : 2;
}

#define ORDER(less, more)                                                                                            \
    if ((less) != (more))                                                                                            \
    return (less) < (more) ? -1 : 1

static int candidate_order(const void *left, const void *right)
{
    const struct door_candidate *a = *(const struct door_candidate *const *)left;
    const struct door_candidate *b = *(const struct door_candidate *const *)right;
    const struct door_match *x = &a->route->match, *y = &b->route->match;
    ORDER(a->layer, b->layer);
    ORDER(path_rank(x), path_rank(y));
    ORDER(door_prefix_clean(y->path).n, door_prefix_clean(x->path).n);
    ORDER(!x->method.n, !y->method.n);
    ORDER(y->nheaders + y->ncookies, x->nheaders + x->ncookies);
    ORDER(y->nqueries, x->nqueries);
    ORDER(!x->source.n, !y->source.n);
    ORDER(x->percent <= 0, y->percent <= 0);
    ORDER(a->route->created, b->route->created);
    int owner = str_cmp(a->route->owner, b->route->owner);
    if (owner)
        return owner;
    ORDER(a->route->index, b->route->index);
    return 0;
}

/* --- the table --- */

struct candidate_list {
    ARRAY(const struct door_candidate *) list;
};
struct table_maker {
    struct door_table *table;
    struct str name;
    unsigned shard;
    struct map exact, prefix; /* path -> candidate_list */
    struct candidate_list everywhere, found;
    size_t nconditions;
    void (*refused)(void *arg, const struct door_candidate *c, const struct err *why);
    void *arg;
};

static void paths_add(struct map *m, struct str path, const struct door_candidate *c)
{
    struct candidate_list *l = map_get(m, path);
    if (!l)
        map_put(m, path, l = NEW(struct candidate_list));
    if (c)
        array_push(&l->list, c);
}

static void lists_fini(struct map *m)
{
    map_each (e, m) {
        struct candidate_list *l = e->value;
        array_fini(&l->list);
        mem_free(l);
    }
    map_fini(m);
}

static void candidate_sort_in(struct table_maker *m, const struct door_candidate *c)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO_FREE struct err *ignored = NEW(struct err); /* door_match_check has taken the path */
    struct str path;
    if (match_is_pattern(&c->route->match)) {
        array_push(&m->everywhere.list, c);
        paths_add(&m->prefix, S(""), NULL);
        return;
    }
    if (!door_path_clean(&a, c->route->match.path, &path, ignored))
        return;
    if (c->route->match.path_kind == DOOR_MATCH_EXACT)
        paths_add(&m->exact, path, c);
    else
        paths_add(&m->prefix, door_prefix_clean(path), c);
}

static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("/-_~", c);
}

/* Whether a pattern has another one beside it, outside of all brackets; true where that cannot be said. */
static bool has_alternative(struct str re)
{
    int depth = 0;
    for (size_t i = 0; i < re.n; i++) {
        char c = re.p[i];
        if (c == '[' || str_starts(str_sub(re, i, re.n), S("\\Q")))
            return str_find_char(re, '|') >= 0;
        if (c == '\\')
            i++;
        depth += (c == '(') - (c == ')');
        if (c == '|' && depth == 0)
            return true;
    }
    return false;
}

/* What all paths of a pattern surely begin with, in letters of any case. */
static struct str pattern_start(const struct door_match *m)
{
    struct str re = m->path;
    size_t n = 0;
    if (m->path_kind != DOOR_MATCH_REGEX || has_alternative(re))
        return S("");
    while (n < re.n && re.p[n] && is_plain(re.p[n]))
        n++;
    if (n > 0 && n < re.n && re.p[n] && strchr("*?{", re.p[n]))
        n--; /* the last one may be missing */
    return str_sub(re, 0, n);
}

/* Whether a request whose longest match is `path` may be one of the pattern's. Most are not: with every pattern tried
 * below every path, a host of some thousands of paths would have no room for ten patterns. */
static bool pattern_may(const struct door_candidate *c, struct str path, bool exact)
{
    struct str start = pattern_start(&c->route->match);
    size_t n = MIN(start.n, path.n);
    return (!exact || start.n <= path.n) && str_ieq(str_sub(start, 0, n), str_sub(path, 0, n));
}

static void found_add(struct table_maker *m, const struct candidate_list *l)
{
    if (l)
        array_each (c, &l->list)
            array_push(&m->found.list, *c);
}

/* Who may take a request whose longest match is `path`, in order. */
static void candidates_find(struct table_maker *m, struct str path, bool exact)
{
    array_clear(&m->found.list);
    if (exact)
        found_add(m, map_get(&m->exact, path));
    array_each (c, &m->everywhere.list)
        if (pattern_may(*c, path, exact))
            array_push(&m->found.list, *c);
    for (struct str p = door_prefix_clean(path);; p.n = (size_t)MAX(str_rfind_char(p, '/'), 0)) {
        found_add(m, map_get(&m->prefix, p));
        if (!p.n)
            break;
    }
    qsort(m->found.list.p, m->found.list.n, sizeof *m->found.list.p, candidate_order);
}

static struct str target_of(struct arena *a, const struct door_candidate *c)
{
    return STR_JOIN(a, str_of(c->backend), S("."), DOOR_NAME(c->rule->name), S("."), str_of(c->rule->letters));
}

/* False: the rest of the list is never come to. */
static bool condition_add(struct table_maker *m, struct str bucket, const struct door_candidate *c, unsigned *draws)
{
    const struct door_match *match = &c->route->match;
    struct arena *a = &m->table->own;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PATTERN_MOST);
    struct str value = target_of(a, c);
    struct str rewrite = c->rule->rewrite;
    bool rest = str_ends(rewrite, S("\\0"));
    unsigned group;
    struct err err = ERR;
    if (++m->nconditions > DOOR_CANDIDATES_MAX) {
        err_set(&err, E_TOO_LARGE, "over %d conditions of one host", DOOR_CANDIDATES_MAX);
        m->refused(m->arg, c, &err);
        return true;
    }
    if (!match_is_conditional(match)) {
        strbuf_addf(&b, "^" STR_FMT "\\?", STR_ARG(bucket));
    } else if (!match_pattern(&b, bucket, match, match->percent > 0 ? (*draws)++ % RANDOMS : 0, rest, &group, &err)) {
        m->refused(m->arg, c, &err);
        return true;
    }
    if (rest)
        rewrite = arena_fmt(a, STR_FMT "\\%u", STR_ARG(str_sub(rewrite, 0, rewrite.n - 2)), group);
    if (rewrite.n)
        value = STR_JOIN(a, value, S("|"), rewrite);
    array_push(&m->table->conditions, ((struct door_entry){str_dup(a, strbuf_str(&b)), value}));
    return match_is_conditional(match);
}

static void bucket_make(struct table_maker *m, struct str path, bool exact)
{
    struct arena *a = &m->table->own;
    candidates_find(m, path, exact);
    if (!m->found.list.n)
        return;
    struct str key = STR_JOIN(a, m->name, path, exact ? S("/?") : S("/"));
    const struct door_candidate *first = m->found.list.p[0];
    if (!match_is_conditional(&first->route->match)) {
        array_push(&m->table->paths, ((struct door_entry){key, target_of(a, first)}));
        return;
    }
    struct door_name bucket = door_name_of('k', key);
    array_push(&m->table->paths, ((struct door_entry){key, arena_fmt(a, "-.%s.?%02u", bucket.z, m->shard)}));
    unsigned draws = 0;
    array_each (c, &m->found.list)
        if (!condition_add(m, DOOR_NAME(bucket), *c, &draws))
            break;
}

void door_table_make(struct door_table *t, struct str name, unsigned shard, const struct door_candidate *c, size_t n,
                     void (*refused)(void *arg, const struct door_candidate *c, const struct err *why), void *arg)
{
    struct table_maker m = {.table = t, .name = name, .shard = shard, .refused = refused, .arg = arg};
    for (size_t i = 0; i < n; i++) {
        if (map_len(&m.exact) + map_len(&m.prefix) < DOOR_PATHS_MAX) {
            candidate_sort_in(&m, &c[i]);
            continue;
        }
        struct err err = ERR;
        err_set(&err, E_TOO_LARGE, "over %d paths of one host", DOOR_PATHS_MAX);
        refused(arg, &c[i], &err);
    }
    map_each (e, &m.exact)
        bucket_make(&m, e->key, true);
    map_each (e, &m.prefix)
        bucket_make(&m, e->key, false);
    lists_fini(&m.exact);
    lists_fini(&m.prefix);
    array_fini(&m.everywhere.list);
    array_fini(&m.found.list);
}

void door_table_fini(struct door_table *t)
{
    array_fini(&t->paths);
    array_fini(&t->conditions);
    arena_fini(&t->own);
}
