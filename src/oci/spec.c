#include "oci/spec.h"
#include "oci/jsonout.h"
#include "oci/seccomp.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *const cap_names[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

const char *oci_cap_name(int bit)
{
    return bit >= 0 && (size_t)bit < countof(cap_names) ? cap_names[bit] : NULL;
}

bool oci_cap_find(struct str name, int *bit)
{
    for (size_t i = 0; i < countof(cap_names); i++) {
        struct str whole = str_of(cap_names[i]);
        if (str_ieq(name, whole) || str_ieq(name, str_sub(whole, 4, whole.n)))
            return *bit = (int)i, true;
    }
    return false;
}

static bool read_small(const char *path, char *to, size_t size)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, to, size - 1);
    to[n > 0 ? n : 0] = 0;
    return n > 0;
}

uint64_t oci_caps_all(void)
{
    static uint64_t caps; /* a process does not gain any */
    char text[4096], *at;
    if (!caps && read_small("/proc/self/status", text, sizeof text) && (at = strstr(text, "CapEff:")))
        caps = strtoull(at + 7, NULL, 16);
    return caps;
}

/* ---- what every container has ---- */

#define STRS(...)                                                                                                    \
    ((struct strs){(struct str[]){__VA_ARGS__}, sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str)})

static struct strs strs_copy(struct arena *a, struct strs from)
{
    return (struct strs){from.n ? arena_dup(a, from.p, from.n * sizeof *from.p) : NULL, from.n};
}

struct strs oci_shm_options(struct arena *a)
{
    return strs_copy(a, STRS(S("rbind"), S("rw"), S("nosuid"), S("nodev"), S("noexec")));
}

#define VOLUME_SOURCE "/volume-of-the-image/"

struct str oci_volume_source(struct arena *a, size_t i)
{
    return arena_fmt(a, VOLUME_SOURCE "%zu", i);
}

void oci_volumes_place(struct oci_container *c, struct arena *a, const char *folder)
{
    struct oci_mount *mounts = arena_dup(a, c->mounts, c->nmounts * sizeof *mounts);
    for (size_t i = 0; i < c->nmounts; i++)
        if (str_starts(mounts[i].source, S(VOLUME_SOURCE)))
            mounts[i].source = arena_fmt(
                a, "%s/" STR_FMT, folder,
                STR_ARG(str_sub(mounts[i].source, sizeof VOLUME_SOURCE - 1, mounts[i].source.n)));
    c->mounts = mounts;
}

/* What lies below target: the rest of the path. Empty: it does not. */
static struct str path_below(struct str target, struct str path)
{
    bool below = path.n > target.n + 1 && str_starts(path, target) && path.p[target.n] == '/';
    return below ? str_sub(path, target.n + 1, path.n) : S("");
}

/* For each mount the one in which its place lies; itself where that is the root, or one that comes later. */
static const size_t *parents_of(const struct oci_container *c, struct arena *a)
{
    size_t *parents = arena_alloc(a, (c->nmounts + 1) * sizeof *parents);
    for (size_t i = 0; i < c->nmounts; i++) {
        size_t longest = 0;
        parents[i] = i;
        for (size_t k = 0; k < c->nmounts; k++) {
            struct str above = c->mounts[k].target;
            if (above.n < longest || !path_below(above, c->mounts[i].target).n)
                continue;
            longest = above.n;
            parents[i] = k < i ? k : i;
        }
    }
    return parents;
}

static void inner_of(const struct oci_container *c, struct arena *a, const size_t *parents, size_t at,
                     struct oci_bind *out)
{
    struct oci_inner *list = NULL;
    for (size_t i = at + 1; i < c->nmounts; i++) {
        const struct oci_mount *m = &c->mounts[i];
        if (parents[i] != at)
            continue;
        if (!list)
            list = arena_alloc(a, (c->nmounts - at) * sizeof *list);
        bool has_source = str_eqz(m->type, "bind") && !str_starts(m->source, S(VOLUME_SOURCE));
        list[out->ninner++] = (struct oci_inner){str_dup(a, path_below(c->mounts[at].target, m->target)),
                                                 has_source ? str_dup(a, m->source) : S(""), str_dup(a, m->beneath)};
    }
    out->inner = list;
}

/* In a user namespace the flags of a mount are locked, and a runtime that does not name all of them when it makes one
 * read-only is refused. What is read-only is so before it sees it, so it need not. */
static void seal_instead(struct oci_mount *m, struct arena *a)
{
    struct strs options = {arena_alloc(a, (m->options.n + 1) * sizeof(struct str)), 0};
    for (size_t i = 0; i < m->options.n; i++) {
        bool flat = str_eqz(m->options.p[i], "ro"), deep = str_eqz(m->options.p[i], "rro");
        if (!flat && !deep)
            options.p[options.n++] = m->options.p[i];
        else if (m->seal == OCI_OPEN)
            m->seal = deep ? OCI_SEALED_DEEP : OCI_SEALED;
    }
    m->options = options;
}

size_t oci_binds_place(struct oci_container *c, struct arena *a, const char *folder, struct oci_bind **out)
{
    struct oci_mount *mounts = arena_dup(a, c->mounts, c->nmounts * sizeof *mounts);
    struct oci_bind *list = arena_alloc(a, (c->nmounts + 1) * sizeof *list);
    const size_t *parents = NULL;
    size_t n = 0;
    for (size_t i = 0; i < c->nmounts; i++) {
        struct oci_mount *m = &mounts[i];
        bool ids = c->user_ns.n && str_eqz(m->type, "bind") && !str_starts(m->source, S(VOLUME_SOURCE));
        if (!m->beneath.n && !m->shared && !m->seal && !ids)
            continue;
        if (ids)
            seal_instead(m, a);
        list[n] = (struct oci_bind){.root = str_dup(a, m->source),
                                    .beneath = str_dup(a, m->beneath),
                                    .shared = m->shared,
                                    .seal = m->seal,
                                    .ids = ids,
                                    .called = str_dup(a, m->called)};
        if (m->seal && !parents)
            parents = parents_of(c, a);
        if (m->seal)
            inner_of(c, a, parents, i, &list[n]);
        m->source = arena_fmt(a, "%s/%zu", folder, n++);
    }
    c->mounts = mounts;
    *out = list;
    return n;
}

void oci_container_defaults(struct oci_container *c, struct arena *a, struct str shm)
{
    const struct {
        struct str type, source, target;
        struct strs options;
    } usual[] = {
        {S("proc"), S("proc"), S("/proc"), STRS(S("nosuid"), S("noexec"), S("nodev"))},
        {S("tmpfs"), S("tmpfs"), S("/dev"), STRS(S("nosuid"), S("strictatime"), S("mode=755"), S("size=65536k"))},
        {S("devpts"), S("devpts"), S("/dev/pts"),
         STRS(S("nosuid"), S("noexec"), S("newinstance"), S("ptmxmode=0666"), S("mode=0620"), S("gid=5"))},
        {S("mqueue"), S("mqueue"), S("/dev/mqueue"), STRS(S("nosuid"), S("noexec"), S("nodev"))},
        {S("sysfs"), S("sysfs"), S("/sys"), STRS(S("nosuid"), S("noexec"), S("nodev"), S("ro"))},
        {S("cgroup"), S("cgroup"), S("/sys/fs/cgroup"),
         STRS(S("nosuid"), S("noexec"), S("nodev"), S("relatime"), S("ro"))},
        {shm.n ? S("bind") : S("tmpfs"), shm.n ? shm : S("shm"), S("/dev/shm"),
         shm.n ? oci_shm_options(a) : STRS(S("nosuid"), S("noexec"), S("nodev"), S("mode=1777"), S("size=65536k"))},
    };
    struct oci_mount *mounts = arena_alloc(a, (countof(usual) + c->nmounts) * sizeof *mounts);
    for (size_t i = 0; i < countof(usual); i++) {
        mounts[i] = (struct oci_mount){.type = usual[i].type,
                                       .source = usual[i].source,
                                       .target = usual[i].target,
                                       .options = strs_copy(a, usual[i].options)};
    }
    if (c->nmounts)
        memcpy(mounts + countof(usual), c->mounts, c->nmounts * sizeof *mounts);
    c->mounts = mounts;
    c->nmounts += countof(usual);
    c->capabilities = OCI_CAPS_DEFAULT;
    /* containerd's and CRI-O's lists; and /proc/dynamic_debug, where root may have every line of the kernel's own
     * debugging written to the host's log, without any capability */
    c->masked = strs_copy(a, STRS(S("/proc/acpi"), S("/proc/asound"), S("/proc/dynamic_debug"), S("/proc/interrupts"),
                                  S("/proc/kcore"), S("/proc/keys"), S("/proc/latency_stats"), S("/proc/scsi"),
                                  S("/proc/sched_debug"), S("/proc/timer_list"), S("/proc/timer_stats"),
                                  S("/sys/devices/virtual/powercap"), S("/sys/firmware")));
    c->read_only = strs_copy(
        a, STRS(S("/proc/bus"), S("/proc/fs"), S("/proc/irq"), S("/proc/sys"), S("/proc/sysrq-trigger")));
    c->ns[OCI_NS_NET] = c->ns[OCI_NS_IPC] = c->ns[OCI_NS_UTS] = OCI_NS_NEW;
}

struct devices {
    struct arena *arena;
    ARRAY(struct oci_device) list;
};

static void devices_below(struct devices *d, int dir_fd, const char *path, int depth)
{
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        fd_close(dir_fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir)) && d->list.n < 1000;) {
        struct stat st;
        struct str name = str_of(e->d_name);
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        /* the container has its own of these */
        if (depth == 0 && (str_eqz(name, "pts") || str_eqz(name, "shm") || str_eqz(name, "mqueue") ||
                           str_eqz(name, "console") || str_eqz(name, "ptmx")))
            continue;
        struct str whole = arena_fmt(d->arena, "%s/%s", path, e->d_name);
        if (S_ISDIR(st.st_mode) && depth < 4) {
            int sub = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub >= 0)
                devices_below(d, sub, whole.p, depth + 1);
        } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
            struct oci_device dev = {.path = whole,
                                     .type = S_ISCHR(st.st_mode) ? 'c' : 'b',
                                     .major = major(st.st_rdev),
                                     .minor = minor(st.st_rdev),
                                     .mode = st.st_mode & 07777,
                                     .uid = st.st_uid,
                                     .gid = st.st_gid,
                                     .access = S("rwm")};
            array_push(&d->list, dev);
        }
    }
    (void)closedir(dir);
}

void oci_container_privileged(struct oci_container *c, struct arena *a)
{
    c->privileged = true;
    c->capabilities = oci_caps_all();
    c->masked = c->read_only = (struct strs){0};
    c->seccomp = OCI_SECCOMP_UNCONFINED;
    c->ns[OCI_NS_CGROUP] = OCI_NS_HOST;
    struct oci_mount *mounts = arena_dup(a, c->mounts, c->nmounts * sizeof *mounts);
    for (size_t i = 0; i < c->nmounts; i++)
        if (str_eqz(mounts[i].target, "/sys") || str_eqz(mounts[i].target, "/sys/fs/cgroup")) {
            mounts[i].options = strs_copy(a, mounts[i].options);
            mounts[i].options.p[mounts[i].options.n - 1] = S("rw");
        }
    c->mounts = mounts;
    struct devices d = {.arena = a};
    int dev = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dev >= 0)
        devices_below(&d, dev, "/dev", 0);
    c->devices = d.list.n ? arena_dup(a, d.list.p, d.list.n * sizeof *d.list.p) : NULL;
    c->ndevices = d.list.n;
    array_fini(&d.list);
}

/* ---- config.json ---- */

static void add_list(struct strbuf *b, const char *key, struct strs list)
{
    jout_key(b, key);
    jout_open(b, '[');
    for (size_t i = 0; i < list.n; i++)
        jout_str(b, list.p[i]);
    jout_close(b, ']');
}

static void add_caps(struct strbuf *b, const char *set, uint64_t caps)
{
    jout_key(b, set);
    jout_open(b, '[');
    for (int i = 0; oci_cap_name(i); i++)
        if (caps & OCI_CAP(i))
            jout_str(b, str_of(oci_cap_name(i)));
    jout_close(b, ']');
}

/* Everything of "process" but args and terminal, env last and left open: an exec may add to it. */
static void add_process(const struct oci_container *c, struct strbuf *b)
{
    uint64_t caps = c->capabilities & oci_caps_all();
    jout_key(b, "user");
    jout_open(b, '{');
    jout_key(b, "uid");
    jout_num(b, c->uid);
    jout_key(b, "gid");
    jout_num(b, c->gid);
    jout_key(b, "additionalGids");
    jout_open(b, '[');
    for (size_t i = 0; i < c->ngroups; i++)
        jout_num(b, c->groups[i]);
    jout_close(b, ']');
    jout_close(b, '}');
    jout_field(b, "cwd", c->cwd.n ? c->cwd : S("/"));
    jout_key(b, "capabilities");
    jout_open(b, '{');
    add_caps(b, "bounding", caps);
    add_caps(b, "effective", caps);
    add_caps(b, "permitted", caps);
    if (c->ambient) {
        add_caps(b, "inheritable", caps);
        add_caps(b, "ambient", caps);
    }
    jout_close(b, '}');
    jout_key(b, "noNewPrivileges");
    jout_bool(b, c->no_new_privileges);
    if (c->apparmor.n)
        jout_field(b, "apparmorProfile", c->apparmor);
    if (c->process_label.n)
        jout_field(b, "selinuxLabel", c->process_label);
}

static void add_env(const struct oci_container *c, struct strbuf *b)
{
    jout_key(b, "env");
    jout_open(b, '[');
    for (int term = 0; term < 2; term++) /* TERM last: a terminal of an exec has its own */
        for (size_t i = 0; i < c->env.n; i++)
            if (str_starts(c->env.p[i], S("TERM=")) == term)
                jout_str(b, c->env.p[i]);
}

void oci_exec_base(const struct oci_container *c, struct strbuf *out)
{
    jout_open(out, '{');
    add_process(c, out);
    add_env(c, out);
}

void oci_exec_json(struct str base, struct strs args, const struct oci_terminal *t, struct strbuf *out)
{
    bool terminal = t != NULL;
    if (terminal) { /* a quote after a comma begins a text: within one it would have a backslash */
        ptrdiff_t term = str_find(base, S(",\"TERM="));
        strbuf_add(out, term < 0 ? base : str_sub(base, 0, (size_t)term));
        jout_str(out, S("TERM=xterm"));
    } else {
        strbuf_add(out, base);
    }
    jout_close(out, ']');
    jout_key(out, "terminal");
    jout_bool(out, terminal);
    if (terminal && t->rows && t->columns) {
        jout_key(out, "consoleSize");
        jout_open(out, '{');
        jout_key(out, "height");
        jout_num(out, t->rows);
        jout_key(out, "width");
        jout_num(out, t->columns);
        jout_close(out, '}');
    }
    add_list(out, "args", args);
    jout_close(out, '}');
}

static void notice_add(struct oci_notices *n, struct str text)
{
    if (n && n->n < countof(n->list))
        n->list[n->n++] = text;
}

static bool may_raise(void)
{
    return oci_caps_all() & OCI_CAP(CAP_SYS_RESOURCE);
}

static void add_oom(const struct oci_container *c, struct arena *a, struct strbuf *b, struct oci_notices *notices)
{
    char text[32];
    int adj = c->oom_score_adj;
    int own = read_small("/proc/self/oom_score_adj", text, sizeof text) ? (int)strtol(text, NULL, 10) : 0;
    if (adj < own && !may_raise()) {
        notice_add(notices, arena_fmt(a,
                                      "oom_score_adj %d could not be given, %d is in force: wherry runs without "
                                      "CAP_SYS_RESOURCE",
                                      adj, own));
        adj = own;
    }
    jout_key(b, "oomScoreAdj");
    jout_num(b, adj);
}

static const char *const rlimits[] = {"CPU",      "FSIZE",  "DATA",    "STACK", "CORE",  "RSS",
                                      "NPROC",    "NOFILE", "MEMLOCK", "AS",    "LOCKS", "SIGPENDING",
                                      "MSGQUEUE", "NICE",   "RTPRIO",  "RTTIME"};

static bool add_rlimits(const struct oci_container *c, struct arena *a, struct strbuf *b, struct oci_notices *notices,
                        struct err *err)
{
    jout_key(b, "rlimits");
    jout_open(b, '[');
    for (size_t i = 0; i < c->nrlimits; i++) {
        struct oci_rlimit r = c->rlimits[i];
        size_t which = 0;
        while (which < countof(rlimits) && !str_eq(r.type, arena_fmt(a, "RLIMIT_%s", rlimits[which])))
            which++;
        struct rlimit own;
        if (which == countof(rlimits) || getrlimit((__rlimit_resource_t)which, &own) < 0)
            return err_set(err, E_INVALID, "rlimits[%zu]: there is no limit " STR_FMT, i, STR_ARG(r.type));
        if (r.hard > own.rlim_max && !may_raise()) {
            notice_add(notices,
                       arena_fmt(a,
                                 STR_FMT " %llu could not be given, %llu is in force: wherry runs without "
                                         "CAP_SYS_RESOURCE",
                                 STR_ARG(r.type), (unsigned long long)r.hard, (unsigned long long)own.rlim_max));
            r.hard = own.rlim_max;
        }
        jout_open(b, '{');
        jout_field(b, "type", r.type);
        jout_key(b, "soft");
        jout_comma(b);
        strbuf_addf(b, "%llu", (unsigned long long)MIN(r.soft, r.hard));
        jout_key(b, "hard");
        jout_comma(b);
        strbuf_addf(b, "%llu", (unsigned long long)r.hard);
        jout_close(b, '}');
    }
    jout_close(b, ']');
    return true;
}

static bool add_mounts(const struct oci_container *c, struct strbuf *b, struct err *err)
{
    jout_key(b, "mounts");
    jout_open(b, '[');
    for (size_t i = 0; i < c->nmounts; i++) {
        const struct oci_mount *m = &c->mounts[i];
        bool bind = str_eqz(m->type, "bind");
        if (!str_starts(m->target, S("/")))
            return err_set(err, E_INVALID, "mounts[%zu]: target: \"" STR_FMT "\" must be an absolute path", i,
                           STR_ARG(m->target));
        if (bind && !str_starts(m->source, S("/")))
            return err_set(err, E_INVALID, "mounts[%zu]: source: \"" STR_FMT "\" must be an absolute path", i,
                           STR_ARG(m->source));
        jout_open(b, '{');
        jout_field(b, "destination", m->target);
        jout_field(b, "type", m->type);
        jout_field(b, "source", m->source);
        add_list(b, "options", m->options);
        jout_close(b, '}');
    }
    jout_close(b, ']');
    return true;
}

/* "key=value" texts as an object. */
static bool add_pairs(struct strbuf *b, const char *key, struct strs pairs, struct err *err)
{
    jout_key(b, key);
    jout_open(b, '{');
    for (size_t i = 0; i < pairs.n; i++) {
        struct str name, value;
        if (!str_split(pairs.p[i], '=', &name, &value) || !name.n)
            return err_set(err, E_INVALID, "%s[%zu]: \"" STR_FMT "\" must be key=value", key, i, STR_ARG(pairs.p[i]));
        jout_str(b, name);
        strbuf_addc(b, ':');
        jout_str(b, value);
    }
    jout_close(b, '}');
    return true;
}

static void add_mappings(const struct oci_container *c, const char *key, struct strbuf *b)
{
    jout_key(b, key);
    jout_open(b, '[');
    jout_open(b, '{');
    jout_key(b, "containerID");
    jout_num(b, 0);
    jout_key(b, "hostID");
    jout_num(b, c->first_id);
    jout_key(b, "size");
    jout_num(b, OCI_IDS);
    jout_close(b, '}');
    jout_close(b, ']');
}

static void add_device_rule(struct strbuf *b, bool allow, const struct oci_device *d)
{
    jout_open(b, '{');
    jout_key(b, "allow");
    jout_bool(b, allow);
    if (d) {
        jout_field(b, "type", (struct str){&d->type, 1});
        jout_key(b, "major");
        jout_num(b, d->major);
        jout_key(b, "minor");
        jout_num(b, d->minor);
    }
    jout_field(b, "access", d && d->access.n ? d->access : S("rwm"));
    jout_close(b, '}');
}

static void add_number(struct strbuf *b, const char *key, uint64_t value)
{
    if (!value)
        return;
    jout_key(b, key);
    jout_comma(b);
    strbuf_addf(b, "%llu", (unsigned long long)value);
}

/* What crun finds done (cgroup.h), for a runtime that does it itself or hands it to a machine of its own. The usual
 * devices it adds by itself. */
static void add_resources(const struct oci_container *c, struct strbuf *b)
{
    const struct oci_limits *l = &c->limits;
    jout_field(b, "cgroupsPath", c->cgroup);
    jout_key(b, "resources");
    jout_open(b, '{');
    jout_key(b, "devices");
    jout_open(b, '[');
    add_device_rule(b, c->privileged, NULL);
    for (size_t i = 0; i < c->ndevices && !c->privileged; i++)
        add_device_rule(b, true, &c->devices[i]);
    jout_close(b, ']');
    jout_key(b, "cpu");
    jout_open(b, '{');
    add_number(b, "shares", l->cpu_shares);
    add_number(b, "quota", (uint64_t)l->cpu_quota_us);
    add_number(b, "period", l->cpu_quota_us && !l->cpu_period_us ? 100000 : l->cpu_period_us);
    jout_close(b, '}');
    jout_key(b, "memory");
    jout_open(b, '{');
    add_number(b, "limit", (uint64_t)l->memory);
    jout_close(b, '}');
    jout_close(b, '}');
    if (c->seccomp_json.n) {
        jout_key(b, "seccomp");
        jout_comma(b);
        strbuf_add(b, c->seccomp_json);
    }
}

static void add_linux(const struct oci_container *c, struct strbuf *b)
{
    static const char *const types[] = {"pid", "network", "ipc", "uts", "mount", "cgroup"};
    jout_key(b, "namespaces");
    jout_open(b, '[');
    for (int i = 0; i < OCI_NS_N; i++) {
        if (c->ns[i] == OCI_NS_HOST)
            continue;
        jout_open(b, '{');
        jout_field(b, "type", str_of(types[i]));
        if (c->ns[i] == OCI_NS_PATH)
            jout_field(b, "path", c->ns_path[i]);
        jout_close(b, '}');
    }
    if (c->user_ns.n) {
        jout_open(b, '{');
        jout_field(b, "type", S("user"));
        jout_field(b, "path", c->user_ns);
        jout_close(b, '}');
    }
    jout_close(b, ']');
    if (c->user_ns.n) {
        add_mappings(c, "uidMappings", b);
        add_mappings(c, "gidMappings", b);
    }
    if (c->other_runtime)
        add_resources(c, b);
    if (c->propagation != OCI_PRIVATE)
        jout_field(b, "rootfsPropagation", c->propagation == OCI_SHARED ? S("rshared") : S("rslave"));
    if (c->mount_label.n)
        jout_field(b, "mountLabel", c->mount_label);
    add_list(b, "maskedPaths", c->masked);
    add_list(b, "readonlyPaths", c->read_only);
    jout_key(b, "devices");
    jout_open(b, '[');
    for (size_t i = 0; i < c->ndevices; i++) {
        const struct oci_device *d = &c->devices[i];
        jout_open(b, '{');
        jout_field(b, "path", d->path);
        jout_field(b, "type", (struct str){&d->type, 1});
        jout_key(b, "major");
        jout_num(b, d->major);
        jout_key(b, "minor");
        jout_num(b, d->minor);
        jout_key(b, "fileMode");
        jout_num(b, d->mode);
        jout_key(b, "uid");
        jout_num(b, d->uid);
        jout_key(b, "gid");
        jout_num(b, d->gid);
        jout_close(b, '}');
    }
    jout_close(b, ']');
}

/* crun ends a text at its first NUL, and would take another path than the one that was looked at. Backslashes are
 * written in pairs: before that of an escape there is an even number of them. */
static bool has_nul(struct str json)
{
    static const char nul[] = "\\u0000";
    for (const char *at = json.p; at && (at = memmem(at, json.n - (size_t)(at - json.p), nul, sizeof nul - 1));
         at++) {
        size_t before = 0;
        while (at - before > json.p && at[-1 - (ptrdiff_t)before] == '\\')
            before++;
        if (before % 2 == 0)
            return true;
    }
    return false;
}

bool oci_container_json(struct oci_container *c, struct arena *a, struct str rootfs, struct str seccomp_bpf,
                        struct strbuf *out, struct oci_notices *notices, struct err *err)
{
    if (c->args.n == 0)
        return err_set(err, E_INVALID, "no command specified"); /* upstream's words */
    for (size_t i = 0; i < c->env.n; i++)
        if (str_find_char(c->env.p[i], '=') <= 0)
            return err_set(err, E_INVALID, "env[%zu]: \"" STR_FMT "\" must be NAME=value", i, STR_ARG(c->env.p[i]));
    if (c->cwd.n && c->cwd.p[0] != '/')
        return err_set(err, E_INVALID, "workingDir: \"" STR_FMT "\" must be an absolute path", STR_ARG(c->cwd));
    struct strbuf *b = out;
    jout_open(b, '{');
    jout_field(b, "ociVersion", S("1.0.2"));
    jout_key(b, "process");
    jout_open(b, '{');
    jout_key(b, "terminal");
    jout_bool(b, c->terminal);
    add_list(b, "args", c->args);
    add_process(c, b);
    if (c->has_oom_score_adj)
        add_oom(c, a, b, notices);
    if (!add_rlimits(c, a, b, notices, err))
        return false;
    add_env(c, b);
    jout_close(b, ']');
    jout_close(b, '}');
    jout_key(b, "root");
    jout_open(b, '{');
    jout_field(b, "path", rootfs);
    jout_key(b, "readonly");
    jout_bool(b, c->read_only_root);
    jout_close(b, '}');
    if (c->hostname.n && c->ns[OCI_NS_UTS] == OCI_NS_NEW)
        jout_field(b, "hostname", c->hostname);
    if (!add_mounts(c, b, err))
        return false;
    size_t n = c->annotations.n;
    struct strs notes = {arena_alloc(a, (n + 1) * sizeof(struct str)), n};
    if (n)
        memcpy(notes.p, c->annotations.p, n * sizeof *notes.p);
    if (seccomp_bpf.n)
        notes.p[notes.n++] = arena_fmt(a, SECCOMP_ANNOTATION "=" STR_FMT, STR_ARG(seccomp_bpf));
    if (!add_pairs(b, "annotations", notes, err))
        return false;
    jout_key(b, "linux");
    jout_open(b, '{');
    add_linux(c, b);
    if (!add_pairs(b, "sysctl", c->sysctls, err))
        return false;
    jout_close(b, '}');
    jout_close(b, '}');
    if (out->over)
        return err_set(err, E_TOO_LARGE, "the container's configuration is over %zu bytes", out->max);
    return !has_nul(strbuf_str(out)) ||
           err_set(err, E_INVALID, "a NUL byte stands in one of the container's paths or texts: take it out");
}
