/* Texts of groups as kernels write them, in folders of their own: v1 and v2. */
#include "base/test.h"
#include "oci/cgroup_stats.h"
#include <fcntl.h>
#include <sys/stat.h>

struct group_file {
    const char *name, *text;
};

static void group_make(const char *dir, const struct group_file *files, size_t n)
{
    CHECK(mkdir(dir, 0755) == 0);
    for (size_t i = 0; i < n; i++) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CHECK(fd >= 0 && write(fd, files[i].text, strlen(files[i].text)) == (ssize_t)strlen(files[i].text));
    }
}

static const struct group_file files_v1[] = {
    {"cpu.stat", "nr_periods 40\nnr_throttled 7\nthrottled_time 123456789\nnr_bursts 0\nburst_time 0\n"},
    {"cpu.cfs_quota_us", "20000\n"},
    {"cpu.cfs_period_us", "100000\n"},
    {"cpu.shares", "204\n"},
    {"cpuacct.usage", "3500000001\n"},
    {"cpuacct.usage_user", "3000000000\n"},
    {"cpuacct.usage_sys", "500000001\n"},
    {"memory.usage_in_bytes", "9000000\n"},
    {"memory.max_usage_in_bytes", "9500000\n"},
    {"memory.limit_in_bytes", "52428800\n"},
    {"memory.soft_limit_in_bytes", "9223372036854771712\n"},
    {"memory.memsw.limit_in_bytes", "52428800\n"},
    {"memory.failcnt", "3\n"},
    {"memory.kmem.usage_in_bytes", "77824\n"},
    {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
    {"memory.stat", "cache 1\nrss 2\npgfault 11\npgmajfault 12\ninactive_file 3\ntotal_cache 4096000\n"
                    "total_rss 2048000\ntotal_mapped_file 1024000\ntotal_swap 8192\ntotal_pgfault 111\n"
                    "total_pgmajfault 112\ntotal_inactive_file 3000000\ntotal_active_file 500000\n"},
    {"pids.current", "5\n"},
    {"pids.max", "max\n"},
    {"blkio.throttle.io_service_bytes_recursive",
     "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 12288\n8:0 Total 12288\n8:16 Read 1\n8:16 Write 0\nTotal 12289\n"},
    {"blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n"},
};

static struct cgroups groups_v1(const char *root)
{
    struct cgroups g = {.mode = CGROUP_HYBRID};
    for (int i = 0; i < CG_N; i++)
        (void)snprintf(g.mount[i], sizeof g.mount[i], "%s", root);
    return g;
}

TEST(figures_of_v1)
{
    struct err err = ERR;
    struct cgroup_stats s;
    const char *root = test_dir();
    struct cgroups g = groups_v1(root);
    char dir[200];
    (void)snprintf(dir, sizeof dir, "%s/pod", root);
    group_make(dir, files_v1, countof(files_v1));
    CHECK_OK(cgroup_stats_of(&g, "/pod", CGROUP_ALL, &s, &err), err);
    CHECK_INT(s.has, CGROUP_ALL & ~CGROUP_PRESSURE);
    CHECK_INT(s.cpu_ns, 3500000001);
    CHECK_INT(s.user_ns, 3000000000);
    CHECK_INT(s.system_ns, 500000001);
    CHECK_INT(s.periods, 40);
    CHECK_INT(s.throttled_periods, 7);
    CHECK_INT(s.throttled_ns, 123456789);
    CHECK_INT(s.limits.cpu_quota_us, 20000);
    CHECK_INT(s.limits.cpu_period_us, 100000);
    CHECK_INT(s.limits.cpu_shares, 204);
    CHECK_INT(s.memory, 9000000);
    CHECK_INT(s.memory_working_set, 6000000);
    CHECK_INT(s.memory_rss, 2048000);
    CHECK_INT(s.memory_cache, 4096000);
    CHECK_INT(s.memory_mapped, 1024000);
    CHECK_INT(s.memory_kernel, 77824);
    CHECK_INT(s.memory_peak, 9500000);
    CHECK_INT(s.memory_failures, 3);
    CHECK_INT(s.limits.memory, 52428800);
    CHECK_INT(s.limits.memory_soft, 0);
    CHECK(s.limits.swap_limited);
    CHECK_INT(s.limits.swap, 0);
    CHECK_INT(s.swap, 8192);
    CHECK_INT(s.page_faults, 111);
    CHECK_INT(s.own_page_faults, 11);
    CHECK_INT(s.oom_kills, 2);
    CHECK_INT(s.pids, 5);
    CHECK_INT(s.limits.pids, 0);
    CHECK_INT(s.nio, 2);
    CHECK_INT(s.io[0].read_bytes, 4096);
    CHECK_INT(s.io[0].write_bytes, 8192);
    CHECK_INT(s.io[0].writes, 2);
    CHECK_INT(s.io[1].minor, 16);
    CHECK_INT(s.io[1].read_bytes, 1);
    CHECK(!cgroup_stats_of(&g, "/gone", CGROUP_ALL, &s, &err));
    CHECK_INT(err.kind, E_NOT_FOUND);
}

static const struct group_file files_v2[] = {
    {"cpu.stat", "usage_usec 3500\nuser_usec 3000\nsystem_usec 500\nnr_periods 40\nnr_throttled 7\n"
                 "throttled_usec 123\nnr_bursts 0\n"},
    {"cpu.max", "max 100000\n"},
    {"cpu.weight", "79\n"},
    {"cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.00 total=4711\n"
                     "full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"},
    {"memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 "
                        "total=2\n"},
    {"memory.current", "9000000\n"},
    {"memory.peak", "9500000\n"},
    {"memory.max", "52428800\n"},
    {"memory.low", "0\n"},
    {"memory.swap.max", "max\n"},
    {"memory.swap.current", "8192\n"},
    {"memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"},
    {"memory.stat", "anon 2048000\nfile 4096000\nkernel 77824\nfile_mapped 1024000\ninactive_file 9999999\n"
                    "active_file 500000\npgfault 111\npgmajfault 112\n"},
    {"pids.current", "5\n"},
    {"pids.max", "4096\n"},
    {"io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:1 \n"},
};

TEST(figures_of_v2)
{
    struct err err = ERR;
    struct cgroup_stats s;
    struct cgroups g = {.mode = CGROUP_V2};
    char dir[200];
    (void)snprintf(g.mount[0], sizeof g.mount[0], "%s", test_dir());
    (void)snprintf(dir, sizeof dir, "%s/pod", g.mount[0]);
    group_make(dir, files_v2, countof(files_v2));
    CHECK_OK(cgroup_stats_of(&g, "/pod", CGROUP_ALL, &s, &err), err);
    CHECK_INT(s.has, CGROUP_ALL);
    CHECK_INT(s.cpu_ns, 3500000);
    CHECK_INT(s.user_ns, 3000000);
    CHECK_INT(s.throttled_ns, 123000);
    CHECK_INT(s.limits.cpu_quota_us, 0);
    CHECK_INT(s.limits.cpu_period_us, 100000);
    CHECK_INT(s.limits.cpu_shares, 2046);
    CHECK_INT(s.memory, 9000000);
    CHECK_INT(s.memory_working_set, 0); /* the two are not read at the same moment */
    CHECK_INT(s.memory_kernel, 77824);
    CHECK_INT(s.memory_failures, 3);
    CHECK(!s.limits.swap_limited);
    CHECK_INT(s.swap, 8192);
    CHECK_INT(s.own_page_faults, 111);
    CHECK_INT(s.oom_kills, 2);
    CHECK_INT(s.limits.pids, 4096);
    CHECK_INT(s.nio, 2);
    CHECK_INT(s.io[0].write_bytes, 8192);
    CHECK_INT(s.io[1].major, 253);
    CHECK(s.pressure[PRESSURE_CPU].known && !s.pressure[PRESSURE_IO].known);
    CHECK_INT(s.pressure[PRESSURE_CPU].some.total_us, 4711);
    CHECK(s.pressure[PRESSURE_CPU].some.avg10 == 1.5 && s.pressure[PRESSURE_CPU].some.avg60 == 0.25);
    CHECK_INT(s.pressure[PRESSURE_CPU].full.total_us, 12);
    CHECK_OK(cgroup_stats_of(&g, "/pod", CGROUP_CPU, &s, &err), err);
    CHECK_INT(s.has, CGROUP_CPU);
    CHECK_INT(s.memory, 0);
}

/* The root of v2 has no memory.current: what is not free is used. */
TEST(the_root_of_v2_is_the_machine)
{
    struct err err = ERR;
    struct cgroup_stats s;
    struct cgroups g = {.mode = CGROUP_V2};
    static const struct group_file files[] = {{"cpu.stat", "usage_usec 1\n"},
                                              {"memory.stat", "inactive_file 4096\n"}};
    (void)snprintf(g.mount[0], sizeof g.mount[0], "%s/r", test_dir());
    group_make(g.mount[0], files, countof(files));
    CHECK_OK(cgroup_stats_of(&g, "/", CGROUP_ALL, &s, &err), err);
    CHECK(s.memory > 1 << 20 && s.memory_working_set == s.memory - 4096);
    CHECK(!(s.has & CGROUP_PIDS));
}

TEST(what_is_no_pressure_is_none)
{
    struct cgroup_pressure p;
    CHECK(!cgroup_pressure_read(S(""), &p));
    CHECK(!cgroup_pressure_read(S("nothing here\n"), &p));
    CHECK(cgroup_pressure_read(S("some total=x avg10\n"), &p));
    CHECK_INT(p.some.total_us, 0);
}
