#include "server/interest.h"
#include "server/scan.h"

struct place {
    struct list who;
    size_t n;
    char text[];
};

void interests_fini(struct interests *all)
{
    ASSERT(map_len(&all->places) == 0);
    map_fini(&all->places);
}

void interest_add(struct interests *all, struct interest *i, const struct kind *k, struct str ns,
                  const struct filter *f)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = place_of_question(&a, k, ns, f);
    i->place = map_get(&all->places, text);
    if (!i->place) {
        i->place = mem_alloc(sizeof *i->place + text.n);
        list_init(&i->place->who);
        i->place->n = text.n;
        memcpy(i->place->text, text.p, text.n);
        (void)map_put(&all->places, text, i->place); /* nothing was there */
    }
    list_add_tail(&i->place->who, &i->node);
}

static void close_if_empty(struct interests *all, struct place *p)
{
    if (!list_empty(&p->who))
        return;
    (void)map_del(&all->places, (struct str){p->text, p->n}); /* it is this one */
    mem_free(p);
}

void interest_del(struct interests *all, struct interest *i)
{
    if (!i->place)
        return;
    list_del(&i->node);
    struct place *p = TAKE(i->place);
    if (!all->telling) /* else whoever tells goes over its list */
        close_if_empty(all, p);
}

static void tell_in(struct interests *all, struct str text, void (*fn)(struct interest *i, void *arg), void *arg)
{
    struct place *p = map_get(&all->places, text);
    if (!p)
        return;
    list_each (i, &p->who, struct interest, node) {
        all->visits++;
        fn(i, arg);
    }
    close_if_empty(all, p);
}

static bool places_have(const struct str *places, size_t n, struct str text)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(places[i], text))
            return true;
    return false;
}

void interests_tell(struct interests *all, const struct store_event *e, void (*fn)(struct interest *i, void *arg),
                    void *arg)
{
    if (map_len(&all->places) == 0)
        return;
    AUTO(arena_fini) struct arena a = ARENA;
    struct str was[PLACES_MOST], now[PLACES_MOST];
    size_t nwas = e->was ? places_of_object(&a, e->was, was) : 0;
    size_t nnow = e->now ? places_of_object(&a, e->now, now) : 0;
    all->telling = true;
    for (size_t i = 0; i < nwas; i++)
        tell_in(all, was[i], fn, arg);
    for (size_t i = 0; i < nnow; i++)
        if (!places_have(was, nwas, now[i]))
            tell_in(all, now[i], fn, arg);
    all->telling = false;
}
