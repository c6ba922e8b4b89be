#include "base/test.h"
#include "node/shutdown_plan.h"

TEST(ranges_are_read_in_any_order)
{
    struct shutdown_rules r;
    struct err err = ERR;
    CHECK_OK(shutdown_rules_read(S(" 2000000000=10, 0=60,1000=20 "), &r, &err), err);
    CHECK_INT(r.n, 3);
    CHECK_INT(r.groups[0].priority, 0);
    CHECK_INT(r.groups[1].priority, 1000);
    CHECK_INT(r.groups[2].period_s, 10);
    CHECK_INT(shutdown_longest_s(&r), 90);
    CHECK_OK(shutdown_rules_read(S(""), &r, &err), err);
    CHECK_INT(r.n, 0);
    static const char *const bad[] = {"10", "a=1", "1=-1", "1=1,1=2", "1=90000", "1=1,,2=2", "99999999999=1", "=5"};
    for (size_t i = 0; i < countof(bad); i++) {
        err = ERR;
        CHECK(!shutdown_rules_read(str_of(bad[i]), &r, &err) && err.text[0]);
    }
}

/* kubelet: nodeshutdown, Test_groupByPriority */
TEST(pods_belong_to_the_range_that_begins_below_them)
{
    static const struct {
        const char *rules;
        int64_t priority, own_s, group, grace_s;
    } rows[] = {
        {"0=60", 0, 30, 0, 30},
        {"0=60", -10, 30, 0, 30}, /* the lowest takes all that is below it */
        {"0=10", 100000, 30, 0, 10},
        {"0=60,1000=20,10000=5", 999, 30, 0, 30},
        {"0=60,1000=20,10000=5", 1000, 30, 1, 20},
        {"0=60,1000=20,10000=5", 9999, 3, 1, 3},
        {"0=60,1000=20,10000=5", 10000, 30, 2, 5},
        {"0=60,1000=20,10000=5", 2000001000, 30, 2, 5},
        {"1000=20,10000=5", 0, 30, 0, 20},
        {"0=20,2000000000=10", 2000000000, 0, 1, 0},
        {"0=0,10=5", 5, 30, 0, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct shutdown_rules r;
        struct err err = ERR;
        CHECK_OK(shutdown_rules_read(str_of(rows[i].rules), &r, &err), err);
        CHECK_INT(shutdown_group_of(&r, rows[i].priority), rows[i].group);
        CHECK_INT(shutdown_grace_s(&r, rows[i].priority, rows[i].own_s), rows[i].grace_s);
    }
}
