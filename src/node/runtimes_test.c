#include "base/test.h"
#include "node/runtimes.h"

static struct str program_of(const char *setting, const char *handler)
{
    struct str program;
    return runtimes_find(str_of(setting), str_of(handler), &program) ? program : S("none");
}

TEST(runtimes_handlers_are_programs)
{
    CHECK_STR(program_of("", ""), S(""));
    CHECK_STR(program_of("", "crun"), S(""));
    CHECK_STR(program_of("", "runc"), S("none"));
    CHECK_STR(program_of("runc=/usr/sbin/runc, kata=/opt/kata", "runc"), S("/usr/sbin/runc"));
    CHECK_STR(program_of("runc=/usr/sbin/runc, kata=/opt/kata", "kata"), S("/opt/kata"));
    CHECK_STR(program_of("crun=/opt/crun", "crun"), S("/opt/crun"));
    CHECK_STR(program_of("crun=/opt/crun", ""), S(""));
    CHECK_STR(program_of("runc=/usr/sbin/runc", "run"), S("none"));
}

TEST(runtimes_settings_that_are_none)
{
    static const char *const good[] = {"a=/b", "a=/b, c=/d"};
    static const char *const bad[] = {"a", "a=", "a=b", "=/b", "A=/b", "a=/b,,", "a=/b,c"};
    for (size_t i = 0; i < countof(good); i++) {
        struct err err = ERR;
        CHECK(runtimes_check(str_of(good[i]), &err));
    }
    for (size_t i = 0; i < countof(bad); i++) {
        struct err err = ERR;
        CHECK(!runtimes_check(str_of(bad[i]), &err));
    }
}

TEST(user_ids_come_from_the_setting_or_from_subuid)
{
    static const struct {
        const char *setting, *subuid, *subgid;
        uint32_t first, n;
        const char *wrong;
    } cases[] = {
        {"", "", "", 65536, 110, NULL},
        {"", "root:1:2\nkubelet:131072:655360\n", "kubelet:131072:655360\n", 131072, 10, NULL},
        {"196608:131072", "kubelet:131072:655360\n", "", 196608, 2, NULL},
        {"", "kubelet:131072:655360\n", "", 0, 0, "same one range"},
        {"", "kubelet:131072:655360\n", "kubelet:131072:65536\n", 0, 0, "same one range"},
        {"", "kubelet:131072:65536\nkubelet:196608:65536\n", "kubelet:131072:65536\nkubelet:196608:65536\n", 0, 0,
         "same one range"},
        {"", "kubelet:100000:65536\n", "kubelet:100000:65536\n", 0, 0, "multiples"},
        {"100000:65536", "", "", 0, 0, "multiples"},
        {"0:65536", "", "", 0, 0, "below 65536"},
        {"65536", "", "", 0, 0, "FIRST:COUNT"},
        {"65536:0", "", "", 0, 0, "none"},
        {"4294901760:131072", "", "", 0, 0, "no such ids"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct user_ids u;
        struct err err = ERR;
        bool ok = user_ids_read(str_of(cases[i].setting), str_of(cases[i].subuid), str_of(cases[i].subgid), 110, &u,
                                &err);
        CHECK_INT(u.first, cases[i].first);
        CHECK_INT(u.n, cases[i].n);
        CHECK(!cases[i].wrong == (ok && !u.why));
        if (cases[i].wrong)
            CHECK(strstr(ok ? u.why : err.text, cases[i].wrong) != NULL);
    }
}

static bool taken_of(void *arg, uint32_t first)
{
    return ((const bool *)arg)[first / USER_IDS];
}

TEST(user_ids_are_nobody_elses)
{
    const struct user_ids u = {USER_IDS, 3, NULL};
    bool taken[8] = {0};
    CHECK_INT(user_ids_take(&u, 0, taken_of, taken), 1 * USER_IDS);
    taken[1] = true;
    CHECK_INT(user_ids_take(&u, 1 * USER_IDS, taken_of, taken), 2 * USER_IDS);
    taken[2] = true;
    taken[1] = false; /* one that was given back is the last to be given again */
    CHECK_INT(user_ids_take(&u, 2 * USER_IDS, taken_of, taken), 3 * USER_IDS);
    taken[3] = true;
    CHECK_INT(user_ids_take(&u, 3 * USER_IDS, taken_of, taken), 1 * USER_IDS);
    taken[1] = true;
    CHECK_INT(user_ids_take(&u, 1 * USER_IDS, taken_of, taken), 0);
    taken[2] = false;
    CHECK_INT(user_ids_take(&u, 1 * USER_IDS, taken_of, taken), 2 * USER_IDS);
    CHECK_INT(user_ids_take(&u, 7 * USER_IDS, taken_of, taken), 2 * USER_IDS);
}

TEST(user_ids_need_a_kernel_of_6_3)
{
    CHECK(user_ids_kernel(S("6.3.0-1-amd64")) && user_ids_kernel(S("6.18.44-x")) && user_ids_kernel(S("7.0")));
    CHECK(!user_ids_kernel(S("6.2.9")) && !user_ids_kernel(S("5.15.0")) && !user_ids_kernel(S("6")) &&
          !user_ids_kernel(S("")));
}
