#include "base/test.h"
#include "node/reserved.h"

TEST(reserved_amounts_are_a_kubelets)
{
    static const struct {
        const char *text, *error; /* NULL: none */
        struct node_amounts want;
    } rows[] = {
        {"", NULL, {0}},
        {"cpu=100m,memory=200Mi,ephemeral-storage=1Gi,pid=1000", NULL, {100, 200 << 20, 1LL << 30, 1000}},
        {" memory = 1G , cpu=1.5", NULL, {1500, 1000000000, 0, 0}},
        {"cpu", "\"cpu\" is not RESOURCE=AMOUNT", {0}},
        {",cpu=1", "\"\" is not RESOURCE=AMOUNT", {0}},
        {"disk=1Gi", "\"disk\" cannot be reserved: there are cpu, memory, ephemeral-storage and pid", {0}},
        {"cpu=1,cpu=2", "cpu stands there twice", {0}},
        {"memory=-1", "memory: -1 is less than nothing", {0}},
        {"memory=much", "memory: quantities must match the regular expression", {0}},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct node_amounts n = {0};
        struct err err = ERR;
        bool ok = reserved_read(str_of(rows[i].text), &n, &err);
        CHECK_INT(ok, !rows[i].error);
        if (ok)
            CHECK(memcmp(&n, &rows[i].want, sizeof n) == 0);
        else
            CHECK(str_starts(str_of(err.text), str_of(rows[i].error)));
    }
}

TEST(reserved_leaves_the_rest_to_pods)
{
    const struct node_amounts capacity = {2000, 1 << 30, 10LL << 30, 1000}, kept = {300, 200 << 20, 1 << 30, 2000},
                              thresholds = {0, 100 << 20, 1 << 30, 0};
    struct node_amounts left = reserved_allocatable(&capacity, &kept, &thresholds);
    CHECK_INT(left.cpu_milli, 1700);
    CHECK_INT(left.memory, 724 << 20);
    CHECK_INT(left.disk, 8LL << 30);
    CHECK_INT(left.pids, 0);
    bool enforced;
    struct err err = ERR;
    CHECK(reserved_enforced(S("pods"), &enforced, &err) && enforced);
    CHECK(reserved_enforced(S("none"), &enforced, &err) && !enforced);
    CHECK(!reserved_enforced(S("system-reserved"), &enforced, &err));
}
