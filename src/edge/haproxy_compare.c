/* haproxy_compare.c - what a process has that was started by an earlier one of us, or that we have lost track of: its
 * maps and its servers as it shows them, and the marks of the rest, which it keeps for us in a map. */
#include "edge/haproxy_int.h"

struct haproxy_comparison {
    struct haproxy *h;
    void (*fn)(struct haproxy *h, const struct err *err);
    size_t open;
    struct err err;
};

struct str info_field(struct str info, struct str name)
{
    struct str line, key, value;
    while (str_cut(&info, '\n', &line))
        if (str_split(line, ':', &key, &value) && str_eq(key, name))
            return str_trim(value);
    return STR_NONE;
}

/* "0x55d0 KEY VALUE"; false: it is no entry. */
static bool line_entry(struct str line, struct str *key, struct str *value)
{
    struct str ref, rest;
    return str_starts(line, S("0x")) && str_split(line, ' ', &ref, &rest) && str_split(rest, ' ', key, value) &&
           key->n;
}

void compare_map(struct haproxy *h, struct str map, struct str dump)
{
    AUTO(strbuf_fini) struct strbuf whole = STRBUF(TALK_ANSWER_MOST);
    struct haproxy_group *g = group_get(h, HAPROXY_ENTRY, map);
    struct str line, key, value;
    while (str_cut(&dump, '\n', &line)) {
        if (!line_entry(line, &key, &value))
            continue;
        if (g->kind == HAPROXY_ENTRY)
            buf_put(&item_get(h, g, key)->have, buf_new(value));
        else
            strbuf_addf(&whole, STR_FMT " " STR_FMT "\n", STR_ARG(key), STR_ARG(value));
    }
    if (g->kind == HAPROXY_MAP)
        buf_put(&item_get(h, g, STR_NONE)->have, buf_take(&whole));
}

/* "lists/https/c7", "certs//c7", "backend/shop/s1" to marks. */
void compare_marks(struct haproxy *h, struct str dump)
{
    struct str line, key, mark, folder, group, name;
    while (str_cut(&dump, '\n', &line)) {
        if (!line_entry(line, &key, &mark) || !str_split(key, '/', &folder, &group) ||
            !str_split(group, '/', &group, &name) || !name.n)
            continue;
        enum haproxy_kind kind = str_eq(folder, S("lists"))     ? HAPROXY_LISTED
                                 : str_eq(folder, S("backend")) ? HAPROXY_SERVER
                                                                : HAPROXY_CERT;
        struct haproxy_item *i = item_get(h, group_get(h, kind, group), name);
        if (kind != HAPROXY_SERVER)
            buf_put(&i->have, buf_new(mark));
        else
            buf_put(&i->telling, buf_new(mark)); /* compare_servers says whether it is there */
    }
}

void compare_servers(struct haproxy *h, struct str dump)
{
    struct str line, field[8];
    while (str_cut(&dump, '\n', &line)) {
        size_t n = 0;
        while (n < countof(field) && str_cut(&line, ' ', &field[n]))
            n++;
        int64_t admin, weight;
        if (n < countof(field) || !str_to_i64(field[6], 0, INT32_MAX, &admin) ||
            !str_to_i64(field[7], 0, 256, &weight))
            continue;
        struct haproxy_item *i = item_get(h, group_get(h, HAPROXY_SERVER, field[1]), field[3]);
        if (!i->telling)
            continue; /* the shape's own */
        buf_put(&i->have, i->telling);
        i->telling = NULL;
        i->have_weight = (uint32_t)weight;
        if (admin & 1) /* maintenance */
            parting_set(h, i, true);
    }
}

struct haproxy_part { /* one question */
    struct haproxy_comparison *c;
    char *map; /* NULL: the servers */
};

static void part_answered(void *arg, struct str answer, const struct err *err)
{
    struct haproxy_part *part = arg;
    struct haproxy_comparison *c = part->c;
    if (err)
        c->err = *err;
    else if (!part->map)
        compare_servers(c->h, answer);
    else if (str_eqz(S(MARKS), part->map))
        compare_marks(c->h, answer);
    else
        compare_map(c->h, str_of(part->map), answer);
    mem_free(part->map);
    mem_free(part);
    if (--c->open)
        return;
    if (c->err.kind == E_CANCELLED) {
        mem_free(c);
        return;
    }
    struct haproxy *h = c->h;
    struct err why = c->err;
    map_each (e, &h->groups)
        map_each (k, &((struct haproxy_group *)e->value)->items)
            buf_put(&((struct haproxy_item *)k->value)->telling, NULL);
    c->fn(h, why.kind == E_NONE ? NULL : &why);
    mem_free(c);
}

static void part_ask(struct haproxy_comparison *c, struct str map)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct haproxy_part *part = mem_alloc(sizeof *part);
    *part = (struct haproxy_part){.c = c, .map = map.n ? str_dupz(map) : NULL};
    c->open++;
    if (map.n)
        strbuf_addf(&text, "show map maps/" STR_FMT "\n", STR_ARG(map));
    else
        strbuf_addz(&text, "show servers state\n");
    talk_ask(c->h->cur->talk, strbuf_str(&text), part_answered, part);
}

/* "3 (maps/shop) pattern loaded from ..." */
static void maps_answered(void *arg, struct str answer, const struct err *err)
{
    struct haproxy_comparison *c = arg;
    struct str line, name;
    if (err) {
        if (err->kind != E_CANCELLED)
            c->fn(c->h, err);
        mem_free(c);
        return;
    }
    while (str_cut(&answer, '\n', &line)) {
        ptrdiff_t at = str_find(line, S("(maps/"));
        if (at >= 0 && str_split(str_sub(line, (size_t)at + 6, line.n), ')', &name, &line) && name.n)
            part_ask(c, name);
    }
    part_ask(c, STR_NONE);
}

void compare_start(struct haproxy *h, void (*fn)(struct haproxy *h, const struct err *err))
{
    struct haproxy_comparison *c = mem_alloc(sizeof *c);
    *c = (struct haproxy_comparison){.h = h, .fn = fn};
    talk_ask(h->cur->talk, S("show map\n"), maps_answered, c);
}
