/* The texts of figures over a view that is written down here: a node with two pods, one of them on the host's
 * network; the numbers are all different, so that none stands for another. */
#include "base/clock.h"
#include "base/test.h"
#include "node/disk_use_int.h"
#include "node/figures_int.h"
#include "node/pod.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define T0 (1800000000LL * NS_PER_S) /* 2027-01-15T08:00:00Z */

static struct figures_group group_of(const char *path, uint64_t n)
{
    struct figures_group g = {.path = path, .ok = true, .at_real = T0 + (int64_t)n * NS_PER_MS};
    struct cgroup_stats *s = &g.s;
    s->has = CGROUP_ALL;
    s->cpu_ns = n * NS_PER_S + 500000000;
    s->user_ns = n * NS_PER_S;
    s->system_ns = 500000000;
    s->periods = n + 1;
    s->throttled_periods = n + 2;
    s->throttled_ns = (n + 3) * 1000;
    s->memory = (n + 100) << 20;
    s->memory_working_set = (n + 50) << 20;
    s->memory_rss = n + 4;
    s->memory_cache = n + 5;
    s->memory_mapped = n + 6;
    s->memory_kernel = n + 7;
    s->memory_inactive_file = n + 8;
    s->memory_active_file = n + 9;
    s->memory_peak = n + 10;
    s->memory_failures = n + 11;
    s->swap = n + 12;
    s->page_faults = n + 13;
    s->major_faults = n + 14;
    s->own_page_faults = n + 15;
    s->own_major_faults = n + 16;
    s->pids = n + 17;
    s->oom_kills = n + 18;
    for (int i = 0; i < PRESSURES; i++)
        s->pressure[i] = (struct cgroup_pressure){
            true, {n + 20 + (uint64_t)i, 0.25, 1, 12.5}, {n + 30 + (uint64_t)i, 0, 0, 0}};
    s->nio = 1;
    s->io[0] = (struct cgroup_io){8, 0, n + 40, n + 41, n + 42, n + 43};
    g.window = 15 * NS_PER_S;
    g.nanocores = n * 1000000;
    return g;
}

static struct disk_use_part part_of(int what, const char *name, int64_t bytes)
{
    return (struct disk_use_part){
        .what = what, .name = str_of(name), .bytes = bytes, .inodes = bytes / 1000, .local = true};
}

static const struct link_count host_end = {.name = "wabcde-0a2a0002",
                                           .ip = 0x0a2a0002,
                                           .rx_bytes = 1,
                                           .rx_packets = 2,
                                           .rx_errors = 3,
                                           .rx_dropped = 4,
                                           .tx_bytes = 5,
                                           .tx_packets = 6,
                                           .tx_errors = 7,
                                           .tx_dropped = 8};

static void web_pod(struct figures_view *v, struct figures_pod *p)
{
    *p = (struct figures_pod){
        .uid = S("u-1"), .ns = S("shop"), .name = S("web"), .sandbox = S("box1"), .started = T0};
    p->g = group_of("/w/burstable/podu-1", 3);
    p->g.s.limits = (struct cgroup_limits){.cpu_shares = 200, .cpu_period_us = 100000};
    p->link = &host_end;
    p->disk_known = true;
    p->disk_at = p->mounts_at = T0 - NS_PER_S;
    p->other_logs = 100;
    p->containers = arena_alloc(&v->arena, 2 * sizeof *p->containers);
    p->ncontainers = 2;
    p->containers[0] = (struct figures_container){.name = S("app"),
                                                  .id = S("c0ffee"),
                                                  .image = S("docker.io/library/a\"quote:1"),
                                                  .started = T0 + 250 * NS_PER_MS};
    p->containers[0].g = group_of("/w/burstable/podu-1/c0ffee", 1);
    p->containers[0].g.s.limits = (struct cgroup_limits){
        .memory = 256 << 20, .swap_limited = true, .cpu_quota_us = 20000, .cpu_period_us = 100000, .pids = 4096};
    p->containers[0].procs = (struct figures_processes){2, 11, 3, 1024};
    p->containers[1] = (struct figures_container){
        .name = S("young"), .id = S("beef"), .image = S("docker.io/library/b:1"), .started = T0 + NS_PER_S};
    p->containers[1].g = group_of("/w/burstable/podu-1/beef", 2);
    p->containers[1].g.window = 0;
    for (size_t i = 0; i < 2; i++) {
        p->containers[i].disk_known = true;
        p->containers[i].rootfs = part_of(DISK_ROOTFS, "x", 1000 * (int64_t)(i + 1));
        p->containers[i].logs = part_of(DISK_LOGS, "x", 10000 * (int64_t)(i + 1));
    }
    p->volumes = arena_alloc(&v->arena, 2 * sizeof *p->volumes);
    p->nvolumes = 2;
    p->volumes[0].part = part_of(DISK_VOLUME, "scratch", 100000);
    p->volumes[0].part.room = (struct disk_room){9000000, 8000000, 0, 900, 800, 100};
    p->volumes[1] = (struct figures_volume){part_of(DISK_VOLUME, "data", 77), S("data-web-0")};
    p->volumes[1].part.local = false;
    p->volumes[1].part.mounted = p->volumes[1].part.sick_known = true;
    p->volumes[1].part.room = (struct disk_room){1000, 923, 77, 0, 0, 0};
}

static void host_pod(struct figures_view *v, struct figures_pod *p)
{
    *p = (struct figures_pod){.uid = S("u-2"),
                              .ns = S("kube-system"),
                              .name = S("on-host"),
                              .sandbox = S("box2"),
                              .started = T0,
                              .host_network = true};
    p->g = group_of("/w/besteffort/podu-2", 5);
    p->containers = arena_alloc(&v->arena, sizeof *p->containers);
    p->ncontainers = 1;
    p->containers[0] = (struct figures_container){
        .name = S("gone"), .id = S("dead"), .image = S("docker.io/library/c:1"), .started = T0};
}

static void view_make(struct figures_view *v)
{
    static struct link_count links[] = {{.name = "lo", .loopback = true},
                                        {.name = "eth0", .rx_bytes = 91, .tx_bytes = 92},
                                        {.name = "wabcde-0a2a0002", .ip = 0x0a2a0002}};
    static struct figures_disk disks[] = {{8, 0, S_INIT("sda"), 1, 2, 3000000, 4, 5, 6000000, 7, 8000000, 9000000}};
    *v = (struct figures_view){
        .node = S("n1"), .version = S("v1.36.2+x"), .now_real = T0, .self_started = T0 - NS_PER_S};
    v->machine_group = group_of("/", 7);
    v->all_pods = group_of("/w", 6);
    v->self = group_of("/system.slice/wherry.service", 8);
    v->qos[0] = group_of("/w/burstable", 9);
    v->machine = (struct figures_machine){
        2,        4LL << 30,  1 << 20,     32768, 200, T0 - 3600 * NS_PER_S, S("mid"), S("bid"),
        S("sid"), S("6.1.0"), S("Debian"), 2,     1};
    v->fs = (struct disk_room){100000, 60000, 40000, 1000, 900, 100};
    v->image_fs = (struct disk_room){200000, 150000, 50000, 2000, 1900, 100};
    v->image_bytes = 12345;
    v->containers_bytes = 3000;
    v->fs_major = 8;
    v->disks = disks;
    v->ndisks = 1;
    v->links.links.p = links;
    v->links.links.n = countof(links);
    v->pods = arena_alloc(&v->arena, 2 * sizeof *v->pods);
    v->npods = 2;
    web_pod(v, &v->pods[0]);
    host_pod(v, &v->pods[1]);
    static struct figures_probe probes[] = {
        {S_INIT("u-1"), S_INIT("shop"), S_INIT("web"), S_INIT("app"), 2, {3, 1, 0, {2, 0, 1}, 3, 30000000}}};
    v->probes = probes;
    v->nprobes = 1;
    v->counts = (struct figures_counts){.pods = 11, .pod_errors = 1, .containers = {1, 2, 30, 4}};
    counted_reason_add(v->counts.failures, "CreateContainerConfigError", CONTAINER_MAIN);
    counted_reason_add(v->counts.failures, "CreateContainerConfigError", CONTAINER_MAIN);
    counted_reason_add(v->counts.failures, "StartError", CONTAINER_INIT);
    counted_reason_add(v->counts.rejections, "OutOfcpu", -1);
    v->counts.users_pods = 2;
    v->counts.users_errors = 1;
    counted_ending_add(v->counts.endings, "Completed", CONTAINER_INIT, 0);
    counted_ending_add(v->counts.endings, "Error", CONTAINER_MAIN, 139);
    counted_ending_add(v->counts.endings, "Completed", CONTAINER_SIDECAR, 0);
    counted_ending_add(v->counts.endings, "Error", CONTAINER_MAIN, 139);
    v->running = 2;
    v->exited = 1;
    v->desired = 3;
    v->active = 2;
    v->evictions = S("kubelet_evictions{eviction_signal=\"memory.available\"} 4\n");
    v->process = (struct figures_process){1500000000, 20, 1024, 3 << 20, 9 << 20, T0 - NS_PER_S};
}

static void text_make(struct str kind, struct strbuf *out)
{
    AUTO(arena_fini) struct arena texts = ARENA;
    struct figures_view v;
    struct figures_out o = {.b = STRBUF(FIGURES_TEXT_MOST), .fd = -1};
    view_make(&v);
    kind = str_trim(kind);
    if (str_eqz(kind, "summary") || str_eqz(kind, "summary short"))
        figures_summary_text(&v, str_eqz(kind, "summary short"), &o);
    else if (str_eqz(kind, "resource"))
        figures_resource_text(&v, &o);
    else if (str_eqz(kind, "cadvisor"))
        figures_cadvisor_text(&v, &o);
    else if (str_eqz(kind, "usage"))
        figures_usage_text(&v, &o);
    else if (str_eqz(kind, "kubelet"))
        figures_kubelet_text(&v, &o);
    else if (str_eqz(kind, "probes"))
        figures_probes_text(&v, &o);
    else if (str_eqz(kind, "running pods"))
        figures_running_pods_text(&v, &o);
    CHECK(!o.b.over);
    /* a member a line, so that a difference can be read */
    struct str text = strbuf_str(&o.b);
    for (size_t i = 0; i < text.n; i++) {
        strbuf_addc(out, text.p[i]);
        if (text.p[0] == '{' && (text.p[i] == '{' || (text.p[i] == ',' && i && text.p[i - 1] == '}')))
            strbuf_addc(out, '\n');
    }
    if (!str_ends(strbuf_str(out), S("\n")))
        strbuf_addc(out, '\n');
    strbuf_fini(&o.b);
    arena_fini(&v.arena);
}

TEST(texts_of_figures)
{
    test_transcript("tests/figures/texts.txt", text_make);
}

/* What a kubelet's cadvisor gives with containerd and cgroups alone (its own list of families); what is not there is
 * named in docs/figures.md. */
static const char *const cadvisor_families[] = {
    "cadvisor_version_info",
    "container_blkio_device_usage_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_throttled_seconds_total",
    "container_cpu_system_seconds_total",
    "container_cpu_usage_seconds_total",
    "container_cpu_user_seconds_total",
    "container_file_descriptors",
    "container_fs_inodes_free",
    "container_fs_inodes_total",
    "container_fs_io_current",
    "container_fs_io_time_seconds_total",
    "container_fs_io_time_weighted_seconds_total",
    "container_fs_limit_bytes",
    "container_fs_read_seconds_total",
    "container_fs_reads_bytes_total",
    "container_fs_reads_merged_total",
    "container_fs_reads_total",
    "container_fs_sector_reads_total",
    "container_fs_sector_writes_total",
    "container_fs_usage_bytes",
    "container_fs_write_seconds_total",
    "container_fs_writes_bytes_total",
    "container_fs_writes_merged_total",
    "container_fs_writes_total",
    "container_last_seen",
    "container_memory_cache",
    "container_memory_failcnt",
    "container_memory_failures_total",
    "container_memory_kernel_usage",
    "container_memory_mapped_file",
    "container_memory_max_usage_bytes",
    "container_memory_rss",
    "container_memory_swap",
    "container_memory_total_active_file_bytes",
    "container_memory_total_inactive_file_bytes",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_network_receive_bytes_total",
    "container_network_receive_errors_total",
    "container_network_receive_packets_dropped_total",
    "container_network_receive_packets_total",
    "container_network_transmit_bytes_total",
    "container_network_transmit_errors_total",
    "container_network_transmit_packets_dropped_total",
    "container_network_transmit_packets_total",
    "container_oom_events_total",
    "container_pressure_cpu_stalled_seconds_total",
    "container_pressure_cpu_waiting_seconds_total",
    "container_pressure_io_stalled_seconds_total",
    "container_pressure_io_waiting_seconds_total",
    "container_pressure_memory_stalled_seconds_total",
    "container_pressure_memory_waiting_seconds_total",
    "container_processes",
    "container_scrape_error",
    "container_sockets",
    "container_spec_cpu_period",
    "container_spec_cpu_quota",
    "container_spec_cpu_shares",
    "container_spec_memory_limit_bytes",
    "container_spec_memory_reservation_limit_bytes",
    "container_spec_memory_swap_limit_bytes",
    "container_start_time_seconds",
    "container_threads",
    "container_threads_max",
    "container_ulimits_soft",
    "machine_cpu_cores",
    "machine_cpu_physical_cores",
    "machine_cpu_sockets",
    "machine_memory_bytes",
    "machine_scrape_error",
    "machine_swap_bytes",
};

TEST(families_of_cadvisor_are_a_kubelets)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(FIGURES_TEXT_MOST);
    size_t n = 0;
    text_make(S("cadvisor"), &text);
    struct str rest = strbuf_str(&text), line;
    while (str_cut(&rest, '\n', &line))
        n += str_starts(line, S("# TYPE "));
    CHECK_INT(n, countof(cadvisor_families));
    for (size_t i = 0; i < countof(cadvisor_families); i++) {
        char type[120], one[120];
        (void)snprintf(type, sizeof type, "# TYPE %s ", cadvisor_families[i]);
        (void)snprintf(one, sizeof one, "\n%s%s", cadvisor_families[i],
                       str_ends(str_of(cadvisor_families[i]), S("scrape_error")) ? " " : "{");
        if (!str_has(strbuf_str(&text), str_of(type)) || !str_has(strbuf_str(&text), str_of(one)))
            test_failed(__FILE__, __LINE__, "%s has no series", cadvisor_families[i]);
    }
}

/* A reader that takes a little at a time gets all of it, and nothing is gathered meanwhile. */
TEST(texts_are_handed_on_as_they_grow)
{
    AUTO(strbuf_fini) struct strbuf read_back = STRBUF(FIGURES_TEXT_MOST);
    struct figures_view v;
    struct figures_out gathered = {.b = STRBUF(FIGURES_TEXT_MOST), .fd = -1};
    int ends[2];
    view_make(&v);
    figures_cadvisor_text(&v, &gathered);
    CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        struct figures_out o = {.b = STRBUF(FIGURES_TEXT_MOST), .fd = ends[1]};
        fd_close(ends[0]);
        for (int i = 0; i < 4; i++) /* more than a pipe holds */
            figures_cadvisor_text(&v, &o);
        figures_flush(&o, true);
        _exit(o.broken || o.b.n || o.b.cap > 1 << 20);
    }
    fd_close(ends[1]);
    struct pollfd p = {ends[0], POLLIN, 0};
    for (char *room; poll(&p, 1, 10000) > 0 && (room = strbuf_room(&read_back, 1000));) {
        ssize_t n = read(ends[0], room, 1000);
        if (n <= 0)
            break;
        strbuf_used(&read_back, (size_t)n);
    }
    fd_close(ends[0]);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_INT(read_back.n, 4 * gathered.b.n);
    CHECK_STR(str_sub(strbuf_str(&read_back), 0, gathered.b.n), strbuf_str(&gathered.b));
    strbuf_fini(&gathered.b);
    arena_fini(&v.arena);
}

static void file_make(const char *dir, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

TEST(rates_are_of_the_same_group)
{
    char dir[200];
    struct figures_view v = {.parts = CGROUP_CPU | CGROUP_MEMORY, .data = S("/"), .content = S("/")};
    struct figures_container c = {.age = NS_PER_S};
    struct figures_pod pod = {.containers = &c, .ncontainers = 1};
    v.cgroups.mode = CGROUP_V2;
    (void)snprintf(v.cgroups.mount[0], sizeof v.cgroups.mount[0], "%s", test_dir());
    (void)snprintf(dir, sizeof dir, "%s/c", test_dir());
    CHECK(mkdir(dir, 0755) == 0);
    file_make(dir, "cpu.stat", "usage_usec 3000000\n");
    file_make(dir, "memory.stat", "inactive_file 0\n");
    file_make(dir, "memory.current", "4096\n");
    v.pods = &pod;
    v.npods = 1;
    c.g.path = "/c";
    pod.g.path = "/gone";
    v.machine_group.path = "/";
    c.g.base = (struct figures_base){clock_mono() - 10 * NS_PER_S, 1000000000};
    figures_view_measure(&v);
    CHECK(c.g.ok && c.g.window >= 10 * NS_PER_S && c.g.nanocores > 190000000 && c.g.nanocores <= 200000000);
    CHECK(!pod.g.ok); /* it ended meanwhile */
    c.g.window = 0;
    c.g.base.cpu_ns = 9000000000; /* of another one of that name */
    figures_view_measure(&v);
    CHECK_INT(c.g.window, 0);
    CHECK(v.wants_second);
    c.age = NS_PER_MS; /* too young for any rate: nobody waits for it */
    v.machine_group = c.g;
    v.machine_group.path = "/c";
    v.machine_group.base = (struct figures_base){clock_mono() - NS_PER_S, 0};
    figures_view_measure(&v);
    CHECK(!v.wants_second);
    arena_fini(&v.arena);
}

TEST(disk_use_is_counted_without_following)
{
    char dir[200], path[300];
    struct disk_use_part p = {0};
    (void)snprintf(dir, sizeof dir, "%s/d", test_dir());
    CHECK(mkdir(dir, 0755) == 0);
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    file_make(dir, "a", big);
    (void)snprintf(path, sizeof path, "%s/b", dir);
    CHECK(mkdir(path, 0755) == 0);
    file_make(path, "deep", big);
    (void)snprintf(path, sizeof path, "%s/link", dir);
    CHECK(symlink("/usr", path) == 0);
    disk_part_count(dir, &p);
    CHECK_INT(p.inodes, 5);
    CHECK(p.bytes >= 400000 && p.bytes < 500000 && !p.hidden);
    char other[300];
    (void)snprintf(other, sizeof other, "%s/again", dir);
    (void)snprintf(path, sizeof path, "%s/a", dir);
    CHECK(link(path, other) == 0); /* one file, two names */
    int64_t before = p.bytes;
    disk_part_count(dir, &p);
    CHECK(p.bytes - before < 10000);
    disk_part_count("/nowhere/at/all", &p);
    CHECK_INT(p.bytes, 0);
}

/* Many levels down it may be any size. */
TEST(what_is_too_deep_is_hidden)
{
    struct disk_use_part p = {0};
    AUTO(fd_close) int at = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 230; i++) {
        CHECK(mkdirat(at, "d", 0755) == 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd_close(at);
        at = next;
        CHECK(at >= 0);
    }
    disk_part_count(test_dir(), &p);
    CHECK(p.hidden);
}
