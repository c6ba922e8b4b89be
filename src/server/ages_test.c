#include "base/test.h"
#include "server/ages.h"

static void event_put(struct ages *g, int name, int64_t rev, int64_t due)
{
    char key[32];
    snprintf(key, sizeof key, "events/%d", name);
    ages_put(g, str_of(key), rev, due, 10);
}

/* The keys of those that go, in order. */
static void check_next(struct ages *g, int64_t now, size_t count, size_t bytes, size_t most, const char *want)
{
    struct age *out[16];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t n = ages_next(g, now, count, bytes, out, most);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&b, "%s%s", i ? " " : "", out[i]->key + strlen("events/"));
    CHECK_STR(strbuf_str(&b), str_of(want));
}

TEST(those_go_whose_time_is_over_then_those_written_longest_ago)
{
    struct ages g;
    ages_init(&g);
    for (int i = 0; i < 6; i++)
        event_put(&g, i, 100 + i, 1000 - i); /* the one written last is due first */
    check_next(&g, 900, 10, 1000, 16, "");
    check_next(&g, 996, 10, 1000, 16, "5 4");
    check_next(&g, 996, 10, 1000, 1, "5");
    check_next(&g, 900, 4, 1000, 16, "0 1");
    check_next(&g, 900, 10, 35, 16, "0 1 2"); /* too many bytes */
    check_next(&g, 996, 2, 1000, 16, "5 4 0 1");
    event_put(&g, 0, 200, 1000); /* repeated: it is the newest now */
    check_next(&g, 900, 4, 1000, 16, "1 2");
    event_put(&g, 1, 101, 2000); /* only its time has changed */
    check_next(&g, 999, 4, 1000, 16, "5 4 3 2");
    check_next(&g, 900, 4, 1000, 16, "1 2");
    ages_del(&g, S("events/1"));
    ages_del(&g, S("events/1"));
    check_next(&g, 900, 4, 1000, 16, "2");
    CHECK_INT(g.bytes, 50);
    ages_fini(&g);
}

TEST(a_first_fill_in_the_order_of_keys_is_sorted_once)
{
    struct ages g;
    ages_init(&g);
    event_put(&g, 0, 30, 1000);
    event_put(&g, 1, 10, 1000);
    event_put(&g, 2, 20, 1000);
    ages_sort(&g);
    check_next(&g, 0, 0, 1000, 16, "1 2 0");
    ages_fini(&g);
}

/* However many there are: one more, and the oldest away, is some tens of comparisons and no walk. */
TEST(an_event_more_costs_no_walk_over_all)
{
    struct ages g;
    struct age *out[256];
    enum { MANY = 20000, MORE = 1000 };
    ages_init(&g);
    int64_t rev = 0;
    for (; rev < MANY; rev++)
        event_put(&g, (int)rev, rev + 1, rev * 7919 % MANY + MANY);
    uint64_t before = g.comparisons;
    for (int i = 0; i < MORE; i++, rev++) {
        event_put(&g, (int)rev, rev + 1, rev * 7919 % MANY + MANY);
        CHECK_INT(ages_next(&g, 0, MANY, SIZE_MAX, out, countof(out)), 1);
        CHECK_INT(out[0]->rev, i + 1);
        ages_del(&g, str_of(out[0]->key));
    }
    CHECK(g.comparisons - before < (uint64_t)MORE * 100);
    ages_fini(&g);
}
