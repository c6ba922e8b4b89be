/* What is wanted of HAProxy, beside what it has: groups (a map, a backend, a list) of items. Nothing happens here;
 * who puts something marks what now differs, and haproxy_step (haproxy.c) does the rest. */
#include "edge/haproxy_int.h"
#include <string.h>

#define NAME_MOST 64

bool buf_same(const struct buf *a, const struct buf *b)
{
    return a == b || (a && b && str_eq(buf_str(a), buf_str(b)));
}

void buf_put(struct buf **at, struct buf *own)
{
    buf_unref(*at);
    *at = own;
}

/* --- groups and items
 * ------------------------------------------------------------------------------------------------- */

struct haproxy_group *group_get(struct haproxy *h, enum haproxy_kind kind, struct str name)
{
    char key[NAME_MOST + 32];
    int n = snprintf(key, sizeof key, "%s" STR_FMT, kind_folder(kind), STR_ARG(name));
    struct str k = {key, (size_t)MIN(n, (int)sizeof key - 1)};
    struct haproxy_group *g = map_get(&h->groups, k);
    if (g)
        return g;
    g = mem_alloc(sizeof *g);
    *g = (struct haproxy_group){.kind = kind, .name = {str_dupz(name), name.n}};
    (void)map_put(&h->groups, k, g);
    return g;
}

struct haproxy_item *item_get(struct haproxy *h, struct haproxy_group *g, struct str name)
{
    struct haproxy_item *i = map_get(&g->items, name);
    (void)h;
    if (i)
        return i;
    i = mem_alloc(sizeof *i);
    *i = (struct haproxy_item){.group = g, .name = {str_dupz(name), name.n}};
    list_init(&i->node);
    list_init(&i->parting_node);
    (void)map_put(&g->items, name, i);
    return i;
}

void item_free(struct haproxy_group *g, struct haproxy_item *i)
{
    (void)map_del(&g->items, i->name);
    list_del(&i->node);
    list_del(&i->parting_node);
    buf_unref(i->want);
    buf_unref(i->mark);
    buf_unref(i->have);
    buf_unref(i->next);
    buf_unref(i->telling);
    mem_free((char *)(uintptr_t)i->name.p);
    mem_free(i);
}

void groups_free(struct haproxy *h)
{
    map_each (e, &h->groups) {
        struct haproxy_group *g = e->value;
        map_each (k, &g->items)
            item_free(g, k->value);
        map_fini(&g->items);
        mem_free((char *)(uintptr_t)g->name.p);
        mem_free(g);
    }
    map_fini(&h->groups);
}

/* own_want NULL: it is not to be there. */
static void item_want(struct haproxy *h, struct haproxy_group *g, struct str name, struct buf *own_want,
                      uint32_t weight)
{
    struct haproxy_item *i = own_want ? item_get(h, g, name) : map_get(&g->items, name);
    if (!i)
        return;
    if (buf_same(i->want, own_want) && i->weight == weight) {
        buf_unref(own_want);
        return;
    }
    buf_put(&i->want, own_want);
    buf_put(&i->mark, own_want ? mark_of(g->kind, own_want) : NULL);
    i->weight = weight;
    if (h->find == FIND_DONE)
        item_judge(h, i);
}

/* A process has nothing of it, or nobody knows what. */
void items_unknown(struct haproxy *h)
{
    map_each (e, &h->groups)
        map_each (k, &((struct haproxy_group *)e->value)->items) {
            struct haproxy_item *i = k->value;
            buf_put(&i->have, NULL);
            parting_set(h, i, false);
            i->refused = 0;
        }
}

/* --- what is wanted
 * ------------------------------------------------------------------------------------------------------ */

void haproxy_shape(struct haproxy *h, struct str text)
{
    if (str_eq(buf_str(h->shape), text))
        return;
    AUTO(strbuf_fini) struct strbuf mark = STRBUF(STRBUF_TEXT);
    buf_put(&h->shape, buf_new(text));
    files_shape_mark(h, &mark);
    buf_put(&h->shape_mark, buf_new(strbuf_str(&mark)));
    h->wait = 0; /* what did not start may now */
    timer_stop(&h->again);
    if (h->find == FIND_DONE)
        items_judge(h); /* entries wait for it */
}

static bool text_ok(struct str s, bool is_key)
{
    static const char space[] = " \t\r\v\f";
    if (!s.n || (is_key && s.p[0] == '#') || strchr(space, s.p[0]) || strchr(space, s.p[s.n - 1]))
        return false; /* strchr finds the NUL too */
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\n' || s.p[i] == '\r' || !s.p[i] || (is_key && strchr(space, s.p[i])))
            return false;
    return true;
}

static bool entry_ok(const char *map, struct str key, struct str value, struct err *err)
{
    if (key.n + value.n > HAPROXY_ENTRY_MOST)
        return err_set(err, E_TOO_LARGE, "map %s: a key and its value have %zu bytes; at most %d are kept", map,
                       key.n + value.n, HAPROXY_ENTRY_MOST);
    if (!text_ok(key, true))
        return err_set(err, E_INVALID, "map %s: a key must have no white space and not begin with \"#\"", map);
    return text_ok(value, false) || err_set(err, E_INVALID,
                                            "map %s: a value must not be empty, have a line break, or begin or end "
                                            "with white space",
                                            map);
}

bool haproxy_map_put(struct haproxy *h, const char *map, struct str key, struct str value, struct err *err)
{
    struct haproxy_group *g = group_get(h, HAPROXY_ENTRY, str_of(map));
    ASSERT(g->kind == HAPROXY_ENTRY);
    if (!entry_ok(map, key, value, err))
        return false;
    item_want(h, g, key, buf_new(value), 0);
    return true;
}

void haproxy_map_del(struct haproxy *h, const char *map, struct str key)
{
    item_want(h, group_get(h, HAPROXY_ENTRY, str_of(map)), key, NULL, 0);
}

bool haproxy_map_set(struct haproxy *h, const char *map, const struct haproxy_entry *e, size_t n, struct err *err)
{
    struct haproxy_group *g = group_get(h, HAPROXY_ENTRY, str_of(map));
    AUTO(strbuf_fini) struct strbuf text = STRBUF(TALK_ANSWER_MOST);
    for (size_t i = 0; i < n; i++) {
        if (!entry_ok(map, e[i].key, e[i].value, err))
            return false;
        strbuf_addf(&text, STR_FMT " " STR_FMT "\n", STR_ARG(e[i].key), STR_ARG(e[i].value));
    }
    if (text.over)
        return err_set(err, E_TOO_LARGE, "map %s has more than %zu bytes", map, text.max);
    g->kind = HAPROXY_MAP;
    item_want(h, g, STR_NONE, buf_new(strbuf_str(&text)), 0);
    return true;
}

void haproxy_server_put(struct haproxy *h, const struct haproxy_server *s)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    strbuf_addf(&text, STR_FMT "%s" STR_FMT, STR_ARG(s->address), s->options.n ? " " : "", STR_ARG(s->options));
    item_want(h, group_get(h, HAPROXY_SERVER, str_of(s->backend)), str_of(s->name), buf_new(strbuf_str(&text)),
              MIN(s->weight, 256));
}

void haproxy_server_del(struct haproxy *h, const char *backend, const char *name)
{
    item_want(h, group_get(h, HAPROXY_SERVER, str_of(backend)), str_of(name), NULL, 0);
}

/* Blocks from BEGIN to END alone: an empty line ends what a command carries. */
static struct buf *pem_tidy(struct str pem)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(TALK_ANSWER_MOST);
    struct str line;
    bool in = false;
    while (str_cut(&pem, '\n', &line)) {
        line = str_trim(line);
        in |= str_starts(line, S("-----BEGIN "));
        if (in && line.n) {
            strbuf_add(&out, line);
            strbuf_addc(&out, '\n');
        }
        in &= !str_starts(line, S("-----END "));
    }
    return buf_new(strbuf_str(&out));
}

/* Lists hold back what names a certificate that is not there yet. */
static void listed_judge(struct haproxy *h, struct str cert)
{
    map_each (e, &h->groups) {
        struct haproxy_group *g = e->value;
        struct haproxy_item *i = g->kind == HAPROXY_LISTED ? map_get(&g->items, cert) : NULL;
        if (i && h->find == FIND_DONE)
            item_judge(h, i);
    }
}

void haproxy_cert_put(struct haproxy *h, const char *name, struct str pem)
{
    struct haproxy_group *g = group_get(h, HAPROXY_CERT, STR_NONE);
    struct buf *text = pem_tidy(pem);
    struct haproxy_item *i = item_get(h, g, str_of(name));
    bool is_ca = !str_has(buf_str(text), S("PRIVATE KEY-----")), was = i->want;
    if (was && is_ca != i->is_ca)
        h->reload = true; /* the one is no successor of the other */
    i->is_ca = is_ca;
    item_want(h, g, str_of(name), text, 0);
    if (!was)
        listed_judge(h, str_of(name));
}

void haproxy_cert_del(struct haproxy *h, const char *name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    item_want(h, group_get(h, HAPROXY_CERT, STR_NONE), str_of(name), NULL, 0);
    listed_judge(h, str_of(name));
    (void)unlink(arena_fmt(&a, STR_FMT "/certs/%s.pem", STR_ARG(h->config.run), name).p); /* may never have been */
}

void haproxy_list_put(struct haproxy *h, const char *list, const char *cert, struct str options, struct str hosts)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    if (options.n)
        strbuf_addf(&text, "[" STR_FMT "] ", STR_ARG(options));
    strbuf_add(&text, hosts);
    item_want(h, group_get(h, HAPROXY_LISTED, str_of(list)), str_of(cert), buf_new(strbuf_str(&text)), 0);
}

void haproxy_list_del(struct haproxy *h, const char *list, const char *cert)
{
    item_want(h, group_get(h, HAPROXY_LISTED, str_of(list)), str_of(cert), NULL, 0);
}

void haproxy_commit(struct haproxy *h, uint64_t revision)
{
    h->committed = revision;
    h->committing = true;
    soon_set(&h->step);
}
