#include "base/array.h"
#include "base/clock.h"
#include "base/pmap.h"
#include "base/test.h"
#include <stdatomic.h>

struct item {
    atomic_int refs;
    char text[12];
};
static int alive;

static struct str item_key(const void *item)
{
    return str_of(((const struct item *)item)->text);
}
static void item_ref(void *item)
{
    atomic_fetch_add(&((struct item *)item)->refs, 1);
}
static void item_unref(void *item)
{
    if (atomic_fetch_sub(&((struct item *)item)->refs, 1) == 1) {
        alive--;
        mem_free(item);
    }
}
static const struct pmap_type type = {item_key, item_ref, item_unref};

static struct item *item_new(unsigned n)
{
    struct item *i = NEW(struct item);
    atomic_init(&i->refs, 1);
    (void)snprintf(i->text, sizeof i->text, "%06u", n);
    alive++;
    return i;
}
static struct str key_text(char buf[12], unsigned n)
{
    (void)snprintf(buf, 12, "%06u", n);
    return str_of(buf);
}

/* the model: which item stands under each number */
enum { SPACE = 3000 };
static void check_same(const struct pmap *m, struct item *const *model)
{
    struct pmap_iter it;
    size_t n = 0;
    struct item *have = pmap_seek(&it, m, S(""));
    for (unsigned k = 0; k < SPACE; k++) {
        if (!model[k])
            continue;
        CHECK(have == model[k]);
        n++;
        have = pmap_next(&it);
    }
    CHECK(!have);
    CHECK(!pmap_next(&it));
    CHECK_INT(pmap_len(m), n);
}

TEST(pmap_is_the_same_as_a_plain_table_through_any_changes)
{
    struct pmap m;
    pmap_init(&m, &type);
    struct item *model[SPACE] = {0};
    for (int round = 0; round < 60000; round++) {
        /* waves: mostly insertion, then mostly deletion, so that the tree grows and shrinks through all its depths */
        bool put = random_below(10) < (round / 10000 % 2 ? 2 : 8);
        unsigned k = (unsigned)random_below(SPACE);
        char buf[12];
        struct item *old = put ? pmap_put(&m, item_new(k)) : pmap_del(&m, key_text(buf, k));
        CHECK(old == model[k]);
        model[k] = put ? pmap_get(&m, key_text(buf, k)) : NULL;
        CHECK(pmap_get(&m, key_text(buf, k)) == model[k]);
        if (old)
            item_unref(old);
        if (round % 2999 == 0)
            check_same(&m, model);
    }
    check_same(&m, model);
    for (unsigned k = 0; k < SPACE; k++) {
        char buf[12];
        struct item *old = pmap_del(&m, key_text(buf, k));
        if (old)
            item_unref(old);
    }
    CHECK_INT(pmap_len(&m), 0);
    CHECK_INT(alive, 0);
}

TEST(pmap_snapshots_never_change_and_share_what_did_not)
{
    struct pmap m, snaps[20];
    struct item *models[20][SPACE] = {0}, *model[SPACE] = {0};
    pmap_init(&m, &type);
    for (size_t s = 0; s < countof(snaps); s++) {
        for (int i = 0; i < 400; i++) {
            unsigned k = (unsigned)random_below(SPACE);
            char buf[12];
            struct item *old = random_below(3) ? pmap_put(&m, item_new(k)) : pmap_del(&m, key_text(buf, k));
            if (old)
                item_unref(old);
            model[k] = pmap_get(&m, key_text(buf, k));
        }
        snaps[s] = pmap_snapshot(&m);
        memcpy(models[s], model, sizeof model);
    }
    for (size_t s = 0; s < countof(snaps); s++)
        check_same(&snaps[s], models[s]);
    /* a snapshot is a map of its own */
    char buf[12];
    struct item *old = pmap_put(&snaps[3], item_new(7));
    if (old)
        item_unref(old);
    check_same(&m, model);
    CHECK(pmap_get(&snaps[3], key_text(buf, 7)) != pmap_get(&m, key_text(buf, 7)));
    pmap_fini(&m);
    for (size_t s = 0; s < countof(snaps); s++)
        pmap_fini(&snaps[s]);
    CHECK_INT(alive, 0);
}

TEST(pmap_seeks_between_keys_and_counts_without_walking)
{
    AUTO(pmap_fini) struct pmap m;
    pmap_init(&m, &type);
    struct pmap_iter it;
    CHECK(!pmap_seek(&it, &m, S("x")));
    CHECK_INT(pmap_rank(&m, S("x")), 0);
    for (unsigned k = 0; k < SPACE; k += 3)
        CHECK(!pmap_put(&m, item_new(k)));
    for (unsigned k = 0; k < SPACE; k++) {
        char buf[12];
        struct item *i = pmap_seek(&it, &m, key_text(buf, k));
        unsigned want = (k + 2) / 3 * 3;
        CHECK(want < SPACE ? i && strtoul(i->text, NULL, 10) == want : !i);
        CHECK_INT(pmap_rank(&m, key_text(buf, k)), (k + 2) / 3);
        i = i ? pmap_next(&it) : NULL;
        CHECK(want + 3 < SPACE ? i && strtoul(i->text, NULL, 10) == want + 3 : !i);
    }
    CHECK_INT(pmap_rank(&m, S("a")), SPACE / 3);
}
