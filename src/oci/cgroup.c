#include "oci/cgroup.h"
#include "base/clock.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const char *const controllers[CG_N] = {
    [CG_CPU] = "cpu",         [CG_CPUACCT] = "cpuacct",
    [CG_CPUSET] = "cpuset",   [CG_MEMORY] = "memory",
    [CG_DEVICES] = "devices", [CG_FREEZER] = "freezer",
    [CG_BLKIO] = "blkio",     [CG_PIDS] = "pids",
    [CG_HUGETLB] = "hugetlb", [CG_SYSTEMD] = "name=systemd",
    [CG_NET_CLS] = "net_cls", [CG_NET_PRIO] = "net_prio",
    [CG_PERF] = "perf_event", [CG_RDMA] = "rdma",
    [CG_MISC] = "misc",
};
/* a container may make, but not use, any device node */
static const struct oci_device usual_devices[] = {
    {.type = 'c', .major = -1, .minor = -1, .access = S_INIT("m")},
    {.type = 'b', .major = -1, .minor = -1, .access = S_INIT("m")},
    {.type = 'c', .major = 1, .minor = 3, .access = S_INIT("rwm")},    /* null */
    {.type = 'c', .major = 1, .minor = 5, .access = S_INIT("rwm")},    /* zero */
    {.type = 'c', .major = 1, .minor = 7, .access = S_INIT("rwm")},    /* full */
    {.type = 'c', .major = 1, .minor = 8, .access = S_INIT("rwm")},    /* random */
    {.type = 'c', .major = 1, .minor = 9, .access = S_INIT("rwm")},    /* urandom */
    {.type = 'c', .major = 5, .minor = 0, .access = S_INIT("rwm")},    /* tty */
    {.type = 'c', .major = 5, .minor = 1, .access = S_INIT("rwm")},    /* console */
    {.type = 'c', .major = 5, .minor = 2, .access = S_INIT("rwm")},    /* ptmx */
    {.type = 'c', .major = 136, .minor = -1, .access = S_INIT("rwm")}, /* pts */
};

#define CGROUP_PATH 512

static struct str file_slurp(int dir, const char *path, struct strbuf *b)
{
    AUTO(fd_close) int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    strbuf_reset(b);
    for (char *room; fd >= 0 && (room = strbuf_room(b, 4096));) {
        ssize_t n = read(fd, room, 4096);
        if (n <= 0)
            break;
        strbuf_used(b, (size_t)n);
    }
    return strbuf_str(b);
}

static bool file_put(const char *dir, const char *file, const char *value, struct err *err)
{
    char path[CGROUP_PATH];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return err_errno(err, "write \"%s\" to %s", value, path);
    return true;
}

static bool put_number(const char *dir, const char *file, int64_t value, struct err *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    return file_put(dir, file, text, err);
}

static bool has_word(struct str list, char sep, const char *word)
{
    struct str part;
    while (str_cut(&list, sep, &part))
        if (str_eqz(str_trim(part), word))
            return true;
    return false;
}

bool cgroups_detect(struct cgroups *g, struct err *err)
{
    *g = (struct cgroups){0};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20), c = STRBUF(4096);
    struct str rest = file_slurp(AT_FDCWD, "/proc/self/mounts", &b), line;
    bool v1 = false;
    while (str_cut(&rest, '\n', &line)) {
        struct str device, mount, type, options;
        if (!str_cut(&line, ' ', &device) || !str_cut(&line, ' ', &mount) || !str_cut(&line, ' ', &type) ||
            !str_cut(&line, ' ', &options) || mount.n >= sizeof g->unified)
            continue;
        if (str_eqz(type, "cgroup2") && !g->unified[0])
            (void)snprintf(g->unified, sizeof g->unified, STR_FMT, STR_ARG(mount));
        if (!str_eqz(type, "cgroup"))
            continue;
        v1 = true;
        for (int i = 0; i < CG_N; i++)
            if (has_word(options, ',', controllers[i]) && !g->mount[i][0])
                (void)snprintf(g->mount[i], sizeof g->mount[i], STR_FMT, STR_ARG(mount));
    }
    if (!v1 && !g->unified[0])
        return err_set(err, E_UNAVAILABLE, "no cgroup file system is mounted; mount cgroup2 on /sys/fs/cgroup");
    if (!v1) {
        g->mode = CGROUP_V2;
        memcpy(g->mount[0], g->unified, sizeof g->unified);
        g->unified[0] = 0;
        return true;
    }
    g->mode = g->unified[0] ? CGROUP_HYBRID : CGROUP_V1;
    if (g->unified[0]) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/cgroup.controllers", g->unified);
        g->unified_hugetlb = has_word(str_trim(file_slurp(AT_FDCWD, path, &c)), ' ', "hugetlb");
    }
    return true;
}

/* One distinct hierarchy: its folder for `path`, and which controllers (a set of bits) it has. */
struct hierarchy {
    char dir[CGROUP_PATH];
    const char *mount;
    unsigned has;
    int next;
};

static bool hierarchy_next(const struct cgroups *g, const char *path, struct hierarchy *h)
{
    int limit = g->mode == CGROUP_V2 ? 1 : CG_N;
    while (h->next < limit) {
        int i = h->next++;
        bool seen = !g->mount[i][0];
        for (int k = 0; k < i && !seen; k++)
            seen = strcmp(g->mount[k], g->mount[i]) == 0;
        if (seen)
            continue;
        h->mount = g->mount[i];
        h->has = 0;
        for (int k = i; k < limit; k++)
            if (strcmp(g->mount[k], g->mount[i]) == 0)
                h->has |= 1u << k;
        (void)snprintf(h->dir, sizeof h->dir, "%s%s", g->mount[i], path);
        return true;
    }
    return false;
}

#define each_hierarchy(h, g, path) for (struct hierarchy h = {.next = 0}; hierarchy_next((g), (path), &h);)

static void dir_of(const struct cgroups *g, int controller, const char *path, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s", g->mode == CGROUP_V2 ? g->mount[0] : g->mount[controller], path);
}

/* ---- making ---- */

static bool file_empty(const char *dir, const char *file, struct strbuf *b)
{
    char path[CGROUP_PATH + 32];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    return !str_trim(file_slurp(AT_FDCWD, path, b)).n;
}

/* A cpuset that is empty takes no process, and a new one is empty: it gets what the nearest group above it holds.
 * Others make groups here at the same time, and one of them may have made the parent and not filled it yet: so each
 * fills what it finds empty, from there down. */
static bool cpuset_fill(const char *mount, const char *path, struct err *err)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    AUTO(strbuf_fini) struct strbuf above = STRBUF(4096), b = STRBUF(4096);
    char dir[CGROUP_PATH];
    for (size_t i = 0; i < countof(files); i++) {
        const char *end = path + strlen(path); /* of the nearest that is not empty */
        for (;;) {
            (void)snprintf(dir, sizeof dir, "%s%.*s", mount, (int)(end - path), path);
            if (!file_empty(dir, files[i], &above))
                break;
            if (end == path)
                return err_set(err, E_IO, "%s of %s is empty", files[i], mount);
            do
                end--;
            while (end > path && *end != '/');
        }
        while (*end) {
            end += strcspn(end + 1, "/") + 1;
            (void)snprintf(dir, sizeof dir, "%s%.*s", mount, (int)(end - path), path);
            struct err why = ERR;
            if (file_put(dir, files[i], above.p, &why))
                continue;
            if (file_empty(dir, files[i], &b)) /* not filled by another meanwhile, who may have given less */
                return *err = why, false;
            (void)file_empty(dir, files[i], &above);
        }
    }
    return true;
}

/* What a group on v2 must say before its children have controllers. */
static bool group_delegate(const char *dir, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096), want = STRBUF(256);
    char path[CGROUP_PATH];
    (void)snprintf(path, sizeof path, "%s/cgroup.controllers", dir);
    static const char *const used[] = {"cpu", "cpuset", "memory", "pids", "io", "hugetlb"};
    struct str have = str_trim(file_slurp(AT_FDCWD, path, &b));
    for (size_t i = 0; i < countof(used); i++)
        if (has_word(have, ' ', used[i]))
            strbuf_addf(&want, "%s+%s", want.n ? " " : "", used[i]);
    return !want.n || file_put(dir, "cgroup.subtree_control", want.p, err);
}

static bool make_dirs(const struct cgroups *g, const struct hierarchy *h, const char *path, struct err *err)
{
    char dir[CGROUP_PATH];
    if (mkdir(h->dir, 0755) == 0 || errno == EEXIST) { /* usually only the last is missing */
        memcpy(dir, h->dir, sizeof dir);
        if (g->mode == CGROUP_V2) {
            *strrchr(dir, '/') = 0;
            return group_delegate(dir, err);
        }
        return !(h->has & 1u << CG_CPUSET) || cpuset_fill(h->mount, path, err);
    }
    for (const char *end = path; *end;) {
        end += strcspn(end + 1, "/") + 1;
        (void)snprintf(dir, sizeof dir, "%s%.*s", h->mount, (int)(end - path), path);
        if (g->mode == CGROUP_V2) {
            char parent[CGROUP_PATH];
            memcpy(parent, dir, sizeof parent);
            *strrchr(parent, '/') = 0;
            if (!group_delegate(parent, err))
                return false;
        }
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            return err_errno(err, "mkdir %s", dir);
    }
    return g->mode == CGROUP_V2 || !(h->has & 1u << CG_CPUSET) || cpuset_fill(h->mount, path, err);
}

static bool memory_write_v1(const char *dir, int64_t memory, struct err *err)
{
    struct err first = ERR; /* memory <= memory and swap at every moment: it is raised first, and lowered last */
    (void)put_number(dir, "memory.memsw.limit_in_bytes", memory, &first);
    if (!put_number(dir, "memory.limit_in_bytes", memory, err))
        return false;
    return put_number(dir, "memory.memsw.limit_in_bytes", memory, &first) || first.sys == ENOENT ||
           (*err = first, false);
}

static bool memory_write_v2(const char *dir, int64_t memory, struct err *err)
{
    struct err swap = ERR;
    if (memory > 0 ? !put_number(dir, "memory.max", memory, err) : !file_put(dir, "memory.max", "max", err))
        return false;
    return put_number(dir, "memory.swap.max", 0, &swap) || swap.sys == ENOENT || (*err = swap, false);
}

static bool limit_v1(const struct hierarchy *h, const struct oci_limits *l, bool quota, struct err *err)
{
    if (h->has & 1u << CG_CPU) {
        if (l->cpu_shares && !put_number(h->dir, "cpu.shares", (int64_t)l->cpu_shares, err))
            return false;
        if (quota && l->cpu_quota_us &&
            (!put_number(h->dir, "cpu.cfs_period_us", l->cpu_period_us ? (int64_t)l->cpu_period_us : 100000, err) ||
             !put_number(h->dir, "cpu.cfs_quota_us", l->cpu_quota_us, err)))
            return false;
    }
    if (h->has & 1u << CG_MEMORY && l->memory && !memory_write_v1(h->dir, l->memory, err))
        return false;
    if (h->has & 1u << CG_PIDS && l->pids && !put_number(h->dir, "pids.max", l->pids, err))
        return false;
    if (h->has & 1u << CG_CPUSET && ((l->cpuset.n || l->mems.n))) {
        char text[256];
        (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(l->cpuset));
        if (l->cpuset.n && !file_put(h->dir, "cpuset.cpus", text, err))
            return false;
        (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(l->mems));
        if (l->mems.n && !file_put(h->dir, "cpuset.mems", text, err))
            return false;
    }
    for (size_t i = 0; h->has & 1u << CG_HUGETLB && i < l->nhugepages; i++) {
        char file[64];
        (void)snprintf(file, sizeof file, "hugetlb." STR_FMT ".limit_in_bytes", STR_ARG(l->hugepages[i].size));
        if (!put_number(h->dir, file, (int64_t)l->hugepages[i].bytes, err))
            return false;
    }
    return true;
}

/* KEP-2254: shares 2..262144 become weights 1..10000 */
static int64_t weight_of(uint64_t shares)
{
    return 1 + ((int64_t)MIN(MAX(shares, 2), 262144) - 2) * 9999 / 262142;
}

static void quota_text(const struct oci_limits *l, char *out, size_t size)
{
    (void)snprintf(out, size, "%lld %llu", (long long)l->cpu_quota_us,
                   (unsigned long long)(l->cpu_period_us ? l->cpu_period_us : 100000));
}

static bool limit_v2(const struct hierarchy *h, const struct oci_limits *l, bool leaf, bool quota, struct err *err)
{
    char text[256];
    if (l->cpu_shares && !put_number(h->dir, "cpu.weight", weight_of(l->cpu_shares), err))
        return false;
    quota_text(l, text, sizeof text);
    if (l->cpu_quota_us && !quota)
        (void)snprintf(text, sizeof text, "max %llu",
                       (unsigned long long)(l->cpu_period_us ? l->cpu_period_us : 100000));
    if (l->cpu_quota_us && !file_put(h->dir, "cpu.max", text, err))
        return false;
    if (l->memory && !memory_write_v2(h->dir, l->memory, err))
        return false;
    struct err group = ERR; /* a container dies whole when it is out of memory, as upstream has it on v2 */
    if (leaf && !file_put(h->dir, "memory.oom.group", "1", &group) && group.sys != ENOENT)
        return *err = group, false;
    if (l->pids && !put_number(h->dir, "pids.max", l->pids, err))
        return false;
    (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(l->cpuset));
    if (l->cpuset.n && !file_put(h->dir, "cpuset.cpus", text, err))
        return false;
    (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(l->mems));
    if (l->mems.n && !file_put(h->dir, "cpuset.mems", text, err))
        return false;
    for (size_t i = 0; i < l->nhugepages; i++) {
        char file[64];
        struct err none = ERR; /* a kernel that does not count them, or has no pages of that size */
        (void)snprintf(file, sizeof file, "hugetlb." STR_FMT ".max", STR_ARG(l->hugepages[i].size));
        if (!put_number(h->dir, file, (int64_t)l->hugepages[i].bytes, &none) && none.sys != ENOENT)
            return *err = none, false;
    }
    return true;
}

/* ---- devices ---- */

static bool devices_v1(const char *dir, const struct cgroup_devices *devices, struct err *err)
{
    if (devices->all)
        return true;
    if (!file_put(dir, "devices.deny", "a", err))
        return false;
    for (size_t i = 0; i < countof(usual_devices) + devices->n; i++) {
        const struct oci_device *d = i < countof(usual_devices) ? &usual_devices[i]
                                                                : &devices->list[i - countof(usual_devices)];
        char text[64], numbers[2][24];
        (void)snprintf(numbers[0], sizeof numbers[0], d->major < 0 ? "*" : "%lld", (long long)d->major);
        (void)snprintf(numbers[1], sizeof numbers[1], d->minor < 0 ? "*" : "%lld", (long long)d->minor);
        (void)snprintf(text, sizeof text, "%c %s:%s " STR_FMT, d->type, numbers[0], numbers[1], STR_ARG(d->access));
        if (!file_put(dir, "devices.allow", text, err))
            return false;
    }
    return true;
}

#define DEVICE_RULES_MAX 1200
struct program {
    struct bpf_insn code[8 + 8 * DEVICE_RULES_MAX];
    size_t n;
};

static void insn_emit(struct program *p, uint8_t op, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
    p->code[p->n++] = (struct bpf_insn){.code = op, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm};
}

static void emit_rule(struct program *p, const struct oci_device *d)
{
    int access = 0;
    for (size_t i = 0; i < d->access.n; i++)
        access |= d->access.p[i] == 'm'   ? BPF_DEVCG_ACC_MKNOD
                  : d->access.p[i] == 'r' ? BPF_DEVCG_ACC_READ
                                          : BPF_DEVCG_ACC_WRITE;
    size_t start = p->n;
    /* r2 type, r3 access, r4 major, r5 minor; every mismatch goes to the next rule */
    insn_emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
              d->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK);
    insn_emit(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
    insn_emit(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, ~access & 7);
    insn_emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_1, 0, 0, 0);
    if (d->major >= 0)
        insn_emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)d->major);
    if (d->minor >= 0)
        insn_emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)d->minor);
    insn_emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
    insn_emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (size_t i = start; i < p->n; i++)
        if (p->code[i].code == (BPF_JMP | BPF_JNE | BPF_K))
            p->code[i].off = (int16_t)(p->n - i - 1);
}

/* v2 has no files for devices: a small program of the kernel's decides (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE). */
static bool devices_v2(const char *dir, const struct cgroup_devices *devices, struct err *err)
{
    if (devices->all)
        return true;
    if (devices->n > DEVICE_RULES_MAX - countof(usual_devices))
        return err_set(err, E_INVALID, "devices: more than %zu", DEVICE_RULES_MAX - countof(usual_devices));
    AUTO_FREE struct program *p = NEW(struct program);
    insn_emit(p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
    insn_emit(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
    insn_emit(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    insn_emit(p, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
    insn_emit(p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
    insn_emit(p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
    for (size_t i = 0; i < countof(usual_devices); i++)
        emit_rule(p, &usual_devices[i]);
    for (size_t i = 0; i < devices->n; i++)
        emit_rule(p, &devices->list[i]);
    insn_emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
    insn_emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                           .insn_cnt = (uint32_t)p->n,
                           .insns = (uintptr_t)p->code,
                           .license = (uintptr_t) "Apache-2.0"};
    AUTO(fd_close) int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (program < 0)
        return err_errno(err, "loading the device rules of %s", dir);
    AUTO(fd_close) int group = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    union bpf_attr attach = {.target_fd = (uint32_t)group,
                             .attach_bpf_fd = (uint32_t)program,
                             .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};
    if (group < 0 || syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0)
        return err_errno(err, "attaching the device rules of %s", dir);
    return true;
}

static bool hugetlb_unified(const struct cgroups *g, const char *path, const struct oci_limits *l, struct err *err)
{
    struct hierarchy h = {.mount = g->unified};
    struct cgroups v2 = {.mode = CGROUP_V2};
    (void)snprintf(h.dir, sizeof h.dir, "%s%s", g->unified, path);
    const struct oci_limits pages = {.hugepages = l->hugepages, .nhugepages = l->nhugepages};
    return make_dirs(&v2, &h, path, err) && limit_v2(&h, &pages, false, false, err);
}

bool cgroup_create(const struct cgroups *g, const char *path, const struct oci_limits *limits, bool leaf,
                   const struct cgroup_devices *devices, struct err *err)
{
    each_hierarchy (h, g, path) {
        if (!make_dirs(g, &h, path, err))
            return false;
        if (g->mode == CGROUP_V2) {
            if (!limit_v2(&h, limits, leaf, !leaf, err) || (devices && !devices_v2(h.dir, devices, err)))
                return false;
        } else {
            if (!limit_v1(&h, limits, !leaf, err))
                return false;
            if (devices && h.has & 1u << CG_DEVICES && !devices_v1(h.dir, devices, err))
                return false;
        }
    }
    return !(g->unified_hugetlb && limits->nhugepages) || hugetlb_unified(g, path, limits, err);
}

/* ---- what changes while a group is used ---- */

#define PERIOD_US 100000
#define PAGE      4096

static struct str text_of(const char *dir, const char *file, struct strbuf *b)
{
    char path[CGROUP_PATH + 32];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    return str_trim(file_slurp(AT_FDCWD, path, b));
}

/* "max", -1 and what v1 says for it: 0. */
static int64_t limit_of(struct str text)
{
    uint64_t n;
    return str_to_u64(text, UINT64_MAX, &n) && n < 1ULL << 62 ? (int64_t)n : 0;
}

static void cpu_read_v1(const char *dir, struct cgroup_bounds *out, struct strbuf *b)
{
    out->cpu_shares = (uint64_t)limit_of(text_of(dir, "cpu.shares", b));
    int64_t period = limit_of(text_of(dir, "cpu.cfs_period_us", b));
    int64_t quota = limit_of(text_of(dir, "cpu.cfs_quota_us", b));
    out->cpu_quota_us = period ? quota * PERIOD_US / period : 0;
}

static void cpu_read_v2(const char *dir, const struct cgroup_bounds *like, struct cgroup_bounds *out,
                        struct strbuf *b)
{
    struct str quota, period;
    int64_t weight = limit_of(text_of(dir, "cpu.weight", b));
    out->cpu_shares = weight == weight_of(like->cpu_shares) ? like->cpu_shares
                                                            : 2 + (uint64_t)MAX(weight - 1, 0) * 262142 / 9999;
    if (str_split(text_of(dir, "cpu.max", b), ' ', &quota, &period) && limit_of(period))
        out->cpu_quota_us = limit_of(quota) * PERIOD_US / limit_of(period);
}

bool cgroup_bounds_read(const struct cgroups *g, const char *path, const struct cgroup_bounds *like,
                        struct cgroup_bounds *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    char cpu[CGROUP_PATH], memory[CGROUP_PATH];
    struct stat st;
    bool v2 = g->mode == CGROUP_V2;
    dir_of(g, CG_CPU, path, cpu, sizeof cpu);
    dir_of(g, CG_MEMORY, path, memory, sizeof memory);
    if (stat(memory, &st) < 0)
        return err_errno(err, "cgroup %s", memory);
    *out = (struct cgroup_bounds){0};
    if (v2)
        cpu_read_v2(cpu, like, out, &b);
    else
        cpu_read_v1(cpu, out, &b);
    out->memory = limit_of(text_of(memory, v2 ? "memory.max" : "memory.limit_in_bytes", &b));
    if (out->memory == like->memory / PAGE * PAGE)
        out->memory = like->memory;
    return true;
}

static bool quota_write(const struct cgroups *g, const char *dir, int64_t quota, struct err *err)
{
    char text[64];
    if (g->mode != CGROUP_V2)
        return put_number(dir, "cpu.cfs_period_us", PERIOD_US, err) &&
               put_number(dir, "cpu.cfs_quota_us", quota ? quota : -1, err);
    (void)snprintf(text, sizeof text, quota ? "%lld %d" : "max", (long long)quota, PERIOD_US);
    return file_put(dir, "cpu.max", text, err);
}

static bool bounds_put(const struct cgroups *g, const char *path, unsigned which, const struct cgroup_bounds *b,
                       struct err *err)
{
    char dir[CGROUP_PATH];
    bool v2 = g->mode == CGROUP_V2;
    if (which & (CGROUP_SHARES | CGROUP_QUOTA) && (v2 || g->mount[CG_CPU][0])) {
        dir_of(g, CG_CPU, path, dir, sizeof dir);
        if (which & CGROUP_QUOTA && !quota_write(g, dir, b->cpu_quota_us, err))
            return false;
        if (which & CGROUP_SHARES && !(v2 ? put_number(dir, "cpu.weight", weight_of(b->cpu_shares), err)
                                          : put_number(dir, "cpu.shares", (int64_t)b->cpu_shares, err)))
            return false;
    }
    if (!(which & CGROUP_BYTES) || (!v2 && !g->mount[CG_MEMORY][0]))
        return true;
    dir_of(g, CG_MEMORY, path, dir, sizeof dir);
    int64_t memory = b->memory ? b->memory : -1;
    return v2 ? memory_write_v2(dir, memory, err) : memory_write_v1(dir, memory, err);
}

static uint64_t bounds_written; /* atomic */

uint64_t cgroup_bounds_written(void)
{
    return __atomic_load_n(&bounds_written, __ATOMIC_ACQUIRE);
}

bool cgroup_bounds_write(const struct cgroups *g, const char *path, unsigned which, const struct cgroup_bounds *b,
                         struct err *err)
{
    bool ok = bounds_put(g, path, which, b, err);
    (void)__atomic_add_fetch(&bounds_written, 1, __ATOMIC_RELEASE); /* also of what was half done */
    return ok;
}

int64_t cgroup_memory_used(const struct cgroups *g, const char *path)
{
    char dir[CGROUP_PATH];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    dir_of(g, CG_MEMORY, path, dir, sizeof dir);
    return limit_of(text_of(dir, g->mode == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes", &b));
}

void cgroup_join_lines(const struct cgroups *g, const char *path, struct strbuf *out)
{
    each_hierarchy (h, g, path)
        strbuf_addf(out, "%s/%s\n", h.dir, g->mode == CGROUP_V2 ? "cgroup.procs" : "tasks");
}

void cgroup_quota_lines(const struct cgroups *g, const char *path, const struct oci_limits *limits,
                        struct strbuf *out)
{
    char dir[CGROUP_PATH];
    if (!limits->cpu_quota_us || (g->mode != CGROUP_V2 && !g->mount[CG_CPU][0]))
        return;
    dir_of(g, CG_CPU, path, dir, sizeof dir);
    if (g->mode == CGROUP_V2) {
        /* the period stands there already: a line has one value */
        strbuf_addf(out, "%s/cpu.max %lld\n", dir, (long long)limits->cpu_quota_us);
    } else {
        if (limits->cpu_period_us)
            strbuf_addf(out, "%s/cpu.cfs_period_us %llu\n", dir, (unsigned long long)limits->cpu_period_us);
        strbuf_addf(out, "%s/cpu.cfs_quota_us %lld\n", dir, (long long)limits->cpu_quota_us);
    }
}

/* Empty where the host has no such controller. */
static void file_of(const struct cgroups *g, int what, const char *path, const char *v1, const char *v2, char *out,
                    size_t size)
{
    char dir[CGROUP_PATH];
    out[0] = 0;
    if (g->mode != CGROUP_V2 && !g->mount[what][0])
        return;
    dir_of(g, what, path, dir, sizeof dir);
    (void)snprintf(out, size, "%s/%s", dir, g->mode == CGROUP_V2 ? v2 : v1);
}

void cgroup_oom_file(const struct cgroups *g, const char *path, char *out, size_t size)
{
    file_of(g, CG_MEMORY, path, "memory.oom_control", "memory.events", out, size);
}

void cgroup_freeze_file(const struct cgroups *g, const char *path, char *out, size_t size)
{
    file_of(g, CG_FREEZER, path, "freezer.state", "cgroup.freeze", out, size);
}

/* ---- ending ---- */

#define DEPTH_MAX 32

/* Calls fn for the group and every group below it, deepest first. False as soon as fn says so. */
static bool groups_walk(int at, const char *name, int depth, bool (*fn)(int parent, const char *name, void *arg),
                        void *arg)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    DIR *dir = fdopendir(fd);
    bool ok = true;
    for (struct dirent *e; ok && depth < DEPTH_MAX && (e = readdir(dir));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            ok = groups_walk(fd, e->d_name, depth + 1, fn, arg);
    (void)closedir(dir);
    return ok && fn(at, name, arg);
}

static bool remove_one(int parent, const char *name, void *arg)
{
    (void)arg;
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

bool cgroup_remove(const struct cgroups *g, const char *path, struct err *err)
{
    each_hierarchy (h, g, path)
        if (!groups_walk(AT_FDCWD, h.dir, 0, remove_one, NULL))
            return errno == EBUSY ? err_set(err, E_CONFLICT, "cgroup %s still has processes", h.dir)
                                  : err_errno(err, "rmdir %s", h.dir);
    if (g->unified_hugetlb) {
        char dir[CGROUP_PATH];
        (void)snprintf(dir, sizeof dir, "%s%s", g->unified, path);
        (void)groups_walk(AT_FDCWD, dir, 0, remove_one, NULL);
    }
    return true;
}

struct killing {
    const char *path; /* of the group */
    int signo;
    bool left;
};

/* The number may be another process's by now: what is looked at once the descriptor is had cannot change. */
static void kill_member(pid_t pid, const struct killing *k)
{
    char path[40];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    AUTO(fd_close) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    if (fd >= 0 && str_has(file_slurp(AT_FDCWD, path, &b), str_of(k->path)))
        (void)syscall(SYS_pidfd_send_signal, fd, k->signo, NULL, 0); /* one that has ended has what it was to get */
}

static bool kill_one(int parent, const char *name, void *arg)
{
    struct killing *k = arg;
    char file[300];
    (void)snprintf(file, sizeof file, "%s/cgroup.procs", name);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct str rest = file_slurp(parent, file, &b), line;
    while (str_cut(&rest, '\n', &line)) {
        int64_t pid;
        if (str_to_i64(line, 1, INT32_MAX, &pid)) {
            k->left = true;
            kill_member((pid_t)pid, k);
        }
    }
    return true;
}

static bool look_one(int parent, const char *name, void *arg)
{
    bool *left = arg;
    char file[300];
    (void)snprintf(file, sizeof file, "%s/cgroup.procs", name);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    *left |= file_slurp(parent, file, &b).n > 0;
    return true;
}

/* Every process is in one group of each hierarchy: looking into one is enough. */
static bool any_dir(const struct cgroups *g, const char *path, char *dir, size_t size)
{
    static const int order[] = {CG_PIDS, CG_MEMORY, CG_CPU, CG_FREEZER, CG_DEVICES};
    for (size_t i = 0; i < countof(order); i++) {
        if (g->mode != CGROUP_V2 && !g->mount[order[i]][0])
            continue;
        dir_of(g, order[i], path, dir, size);
        return true;
    }
    return false;
}

void cgroup_signal(const struct cgroups *g, const char *path, int signo)
{
    char dir[CGROUP_PATH];
    struct killing k = {path, signo, false};
    if (any_dir(g, path, dir, sizeof dir))
        (void)groups_walk(AT_FDCWD, dir, 0, kill_one, &k);
}

/* On v1 what is frozen does not die: a shim that ended in the midst of a start has left it so. */
static bool thaw_one(int parent, const char *name, void *arg)
{
    char file[300];
    (void)arg;
    (void)snprintf(file, sizeof file, "%s/freezer.state", name);
    AUTO(fd_close) int fd = openat(parent, file, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "THAWED", 6) < 0)
        log_debug("cgroup.thaw", "group=%s error=\"%s\"", name, strerror(errno)); /* who waits for its end says so */
    return true;
}

bool cgroup_kill(const struct cgroups *g, const char *path)
{
    char dir[CGROUP_PATH];
    struct killing k = {path, SIGKILL, false};
    if (g->mode != CGROUP_V2 && g->mount[CG_FREEZER][0]) {
        dir_of(g, CG_FREEZER, path, dir, sizeof dir);
        (void)groups_walk(AT_FDCWD, dir, 0, thaw_one, NULL);
    }
    if (!any_dir(g, path, dir, sizeof dir))
        return true;
    struct err none = ERR; /* before Linux 5.14 there is no such file: then one by one */
    if (g->mode == CGROUP_V2 && file_put(dir, "cgroup.kill", "1", &none))
        return cgroup_empty(g, path);
    for (int i = 0; i < 10; i++) { /* what forks while we look */
        k.left = false;
        (void)groups_walk(AT_FDCWD, dir, 0, kill_one, &k);
        if (!k.left)
            break;
    }
    return !k.left;
}

struct first_pid {
    pid_t pid;
};

static bool first_one(int parent, const char *name, void *arg)
{
    struct first_pid *f = arg;
    char file[300];
    (void)snprintf(file, sizeof file, "%s/cgroup.procs", name);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct str rest = file_slurp(parent, file, &b), line;
    int64_t pid;
    if (str_cut(&rest, '\n', &line) && str_to_i64(line, 1, INT32_MAX, &pid))
        f->pid = (pid_t)pid;
    return f->pid == 0;
}

bool cgroup_wait_empty(const struct cgroups *g, const char *path, int timeout_ms)
{
    char dir[CGROUP_PATH];
    if (!any_dir(g, path, dir, sizeof dir))
        return true;
    int64_t until = clock_mono() + timeout_ms * NS_PER_MS;
    for (;;) {
        struct first_pid f = {0};
        (void)groups_walk(AT_FDCWD, dir, 0, first_one, &f);
        if (!f.pid)
            return true;
        AUTO(fd_close) int fd = (int)syscall(SYS_pidfd_open, f.pid, 0);
        struct pollfd p = {fd, POLLIN, 0};
        int64_t left = (until - clock_mono()) / NS_PER_MS;
        if (left <= 0 || (fd >= 0 && poll(&p, 1, (int)left) == 0))
            return false;
    }
}

bool cgroup_empty(const struct cgroups *g, const char *path)
{
    char dir[CGROUP_PATH];
    bool left = false;
    if (any_dir(g, path, dir, sizeof dir))
        (void)groups_walk(AT_FDCWD, dir, 0, look_one, &left);
    return !left;
}
