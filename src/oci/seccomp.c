#include "oci/seccomp.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/map.h"
#include "oci/digest.h"
#include "oci/jsonout.h"
#include "oci/seccomp_int.h"
#include "wire/json.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PROFILE_MAX (1 << 20)
#define FILTER_MAX  (1 << 20) /* the kernel takes 4096 instructions of 8 bytes */
#define ARGS_MAX    6

struct rule {
    struct str *names;
    size_t nnames, nargs;
    uint32_t action;
    uint64_t with, without; /* capabilities: all of these, none of those */
    bool other_arch;        /* for other machines */
    struct scmp_arg_cmp args[ARGS_MAX];
};
struct seccomp {
    struct arena arena;
    uint32_t base; /* action of what no rule names */
    ARRAY(uint32_t) archs;
    ARRAY(struct rule) rules;
    uint64_t matters; /* capabilities that some rule asks about */
    bool newer;       /* seccomp_default_newer goes before it */
    struct digest profile;
    char *cache;
    struct map filters; /* capability set in hex -> base64, NUL-terminated */
};

static const struct {
    const char *name;
    uint32_t value;
} archs[] = {{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},  {"SCMP_ARCH_X86", SCMP_ARCH_X86},
             {"SCMP_ARCH_X32", SCMP_ARCH_X32},        {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
             {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},        {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
             {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},    {"SCMP_ARCH_S390", SCMP_ARCH_S390},
             {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}};
static const struct {
    const char *name;
    enum scmp_compare op;
} ops[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
           {"SCMP_CMP_LT", SCMP_CMP_LT},
           {"SCMP_CMP_LE", SCMP_CMP_LE},
           {"SCMP_CMP_EQ", SCMP_CMP_EQ},
           {"SCMP_CMP_GE", SCMP_CMP_GE},
           {"SCMP_CMP_GT", SCMP_CMP_GT},
           {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};

static const char *arch_as_go_has_it(void) /* "arches" of includes */
{
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64: return "amd64";
    case SCMP_ARCH_AARCH64: return "arm64";
    case SCMP_ARCH_RISCV64: return "riscv64";
    case SCMP_ARCH_PPC64LE: return "ppc64le";
    case SCMP_ARCH_S390X: return "s390x";
    }
    return "";
}

static bool action_of(struct str name, int64_t errno_ret, uint32_t *out)
{
    const struct {
        const char *name;
        uint32_t value;
    } actions[] = {{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
                   {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(errno_ret >= 0 ? (uint32_t)errno_ret : EPERM)},
                   {"SCMP_ACT_KILL", SCMP_ACT_KILL},
                   {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
                   {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
                   {"SCMP_ACT_LOG", SCMP_ACT_LOG},
                   {"SCMP_ACT_TRAP", SCMP_ACT_TRAP}};
    for (size_t i = 0; i < countof(actions); i++)
        if (str_eqz(name, actions[i].name))
            return *out = actions[i].value, true;
    return false;
}

static bool arch_add(struct seccomp *s, struct str name)
{
    for (size_t i = 0; i < countof(archs); i++)
        if (str_eqz(name, archs[i].name)) {
            array_push(&s->archs, archs[i].value);
            return true;
        }
    return false; /* one that libseccomp here does not know: then it is not ours either */
}

/* ---- the profile (containers-common's form of the runtime-spec's seccomp) ---- */

static void read_arch_map(struct seccomp *s, struct json *j)
{
    json_enter(j);
    while (json_more(j)) {
        struct str arch = S(""), key;
        ARRAY(struct str) subs = {0};
        json_enter(j);
        while (json_more(j)) {
            key = json_key(j, &s->arena);
            if (str_eqz(key, "architecture")) {
                arch = json_string(j, &s->arena);
            } else if (str_eqz(key, "subArchitectures") && json_type(j) == JSON_ARRAY) {
                json_enter(j);
                while (json_more(j))
                    array_push(&subs, json_string(j, &s->arena));
            } else {
                json_skip(j);
            }
        }
        if (arch_add(s, arch)) {
            if (s->archs.p[s->archs.n - 1] == seccomp_arch_native())
                array_each (sub, &subs)
                    (void)arch_add(s, *sub);
            else
                (void)array_pop(&s->archs);
        }
        array_fini(&subs);
    }
}

/* includes and excludes: {"caps": [..], "arches": [..]} */
static void read_filter(struct seccomp *s, struct json *j, uint64_t *caps, bool *has_arches, bool *arch_named)
{
    *has_arches = *arch_named = false;
    if (json_type(j) != JSON_OBJECT) {
        json_skip(j);
        return;
    }
    json_enter(j);
    while (json_more(j)) {
        struct str key = json_key(j, &s->arena);
        bool is_caps = str_eqz(key, "caps"), is_arches = str_eqz(key, "arches");
        if ((!is_caps && !is_arches) || json_type(j) != JSON_ARRAY) {
            json_skip(j);
            continue;
        }
        json_enter(j);
        while (json_more(j)) {
            struct str word = json_string(j, &s->arena);
            int bit;
            if (is_caps && oci_cap_find(word, &bit))
                *caps |= OCI_CAP(bit);
            if (is_arches) {
                *has_arches = true;
                *arch_named |= str_eqz(word, arch_as_go_has_it());
            }
        }
    }
    s->matters |= *caps;
}

static uint64_t read_u64(struct json *j)
{
    uint64_t v = 0;
    return str_to_u64(json_number(j), UINT64_MAX, &v) ? v : 0;
}

static void read_args(struct seccomp *s, struct json *j, struct rule *r)
{
    json_enter(j);
    while (json_more(j)) {
        struct scmp_arg_cmp arg = {.op = SCMP_CMP_EQ};
        json_enter(j);
        while (json_more(j)) {
            struct str key = json_key(j, &s->arena);
            if (str_eqz(key, "op")) {
                struct str op = json_string(j, &s->arena);
                for (size_t i = 0; i < countof(ops); i++)
                    if (str_eqz(op, ops[i].name))
                        arg.op = ops[i].op;
            } else if (str_eqz(key, "index")) {
                arg.arg = (unsigned)read_u64(j);
            } else if (str_eqz(key, "value")) {
                arg.datum_a = read_u64(j);
            } else if (str_eqz(key, "valueTwo")) {
                arg.datum_b = read_u64(j);
            } else {
                json_skip(j);
            }
        }
        if (r->nargs < ARGS_MAX)
            r->args[r->nargs++] = arg;
    }
}

static bool read_rule(struct seccomp *s, struct json *j, struct err *err)
{
    struct rule r = {0};
    ARRAY(struct str) names = {0};
    struct str action = S("");
    int64_t errno_ret = -1;
    bool has, named;
    json_enter(j);
    while (json_more(j)) {
        struct str key = json_key(j, &s->arena);
        if (json_type(j) == JSON_NULL) {
            json_skip(j);
        } else if (str_eqz(key, "names")) {
            json_enter(j);
            while (json_more(j))
                array_push(&names, json_string(j, &s->arena));
        } else if (str_eqz(key, "action")) {
            action = json_string(j, &s->arena);
        } else if (str_eqz(key, "errnoRet")) {
            errno_ret = (int64_t)read_u64(j);
        } else if (str_eqz(key, "args")) {
            read_args(s, j, &r);
        } else if (str_eqz(key, "includes")) {
            read_filter(s, j, &r.with, &has, &named);
            r.other_arch |= has && !named;
        } else if (str_eqz(key, "excludes")) {
            read_filter(s, j, &r.without, &has, &named);
            r.other_arch |= has && named;
        } else {
            json_skip(j);
        }
    }
    r.nnames = names.n;
    r.names = names.n ? arena_dup(&s->arena, names.p, names.n * sizeof *names.p) : NULL;
    array_fini(&names);
    if (!action_of(action, errno_ret, &r.action))
        return err_set(err, E_INVALID, "action \"" STR_FMT "\" is not known", STR_ARG(action));
    array_push(&s->rules, r);
    return true;
}

static bool read_profile(struct seccomp *s, struct str text, struct err *err)
{
    if (!json_check(text, err))
        return false;
    struct json j = json_of(text);
    struct str action = S("");
    int64_t errno_ret = -1;
    if (json_type(&j) != JSON_OBJECT)
        return err_set(err, E_INVALID, "not an object");
    array_push(&s->archs, seccomp_arch_native());
    json_enter(&j);
    while (json_more(&j)) {
        struct str key = json_key(&j, &s->arena);
        enum json_type type = json_type(&j);
        if (str_eqz(key, "defaultAction") && type == JSON_STRING) {
            action = json_string(&j, &s->arena);
        } else if (str_eqz(key, "defaultErrnoRet") && type == JSON_NUMBER) {
            errno_ret = (int64_t)read_u64(&j);
        } else if (str_eqz(key, "archMap") && type == JSON_ARRAY) {
            read_arch_map(s, &j);
        } else if (str_eqz(key, "architectures") && type == JSON_ARRAY) {
            json_enter(&j);
            while (json_more(&j))
                (void)arch_add(s, json_string(&j, &s->arena));
        } else if (str_eqz(key, "syscalls") && type == JSON_ARRAY) {
            json_enter(&j);
            while (json_more(&j))
                if (!read_rule(s, &j, err))
                    return false;
        } else {
            json_skip(&j);
        }
    }
    return action_of(action, errno_ret, &s->base) ||
           err_set(err, E_INVALID, "defaultAction \"" STR_FMT "\" is not known", STR_ARG(action));
}

static bool read_all(int fd, struct strbuf *b)
{
    for (char *room; (room = strbuf_room(b, 16384));) {
        ssize_t n = read(fd, room, 16384);
        if (n <= 0)
            return n == 0;
        strbuf_used(b, (size_t)n);
    }
    return false;
}

/* ---- RuntimeDefault ---- */

static void add_default(struct seccomp *s, const struct default_rule *d)
{
    struct rule r = {.action = d->action, .with = d->with, .without = d->without, .nargs = d->nargs};
    struct str rest = str_of(d->names), name;
    r.args[0] = d->arg;
    r.names = arena_alloc(&s->arena, (rest.n / 2 + 1) * sizeof *r.names);
    while (str_cut(&rest, ' ', &name))
        r.names[r.nnames++] = str_dup(&s->arena, name);
    s->matters |= d->with | d->without;
    array_push(&s->rules, r);
}

static void default_profile(struct seccomp *s)
{
    AUTO(strbuf_fini) struct strbuf all = STRBUF(PROFILE_MAX);
    s->base = SCMP_ACT_ERRNO(EPERM);
    s->newer = true;
    array_push(&s->archs, seccomp_arch_native());
#if defined(__x86_64__)
    array_push(&s->archs, SCMP_ARCH_X86);
#elif defined(__aarch64__)
    array_push(&s->archs, SCMP_ARCH_ARM);
#endif
    for (size_t i = 0; i < seccomp_ndefault_rules; i++) {
        const struct default_rule *d = &seccomp_default_rules[i];
        add_default(s, d);
        strbuf_addf(&all, "%llx %llx %x %u %u %llx %llx %s\n", (unsigned long long)d->with,
                    (unsigned long long)d->without, d->action, d->nargs ? d->arg.arg : 0, (unsigned)d->arg.op,
                    (unsigned long long)d->arg.datum_a, (unsigned long long)d->arg.datum_b, d->names);
    }
    for (size_t i = 0; i < seccomp_ndefault_newer; i++)
        strbuf_addf(&all, "%u ", seccomp_default_newer[i]);
    s->profile = digest_of(all.p, all.n); /* another table is another name in the cache */
}

/* Before the compiled program: its jumps are relative, so it stays as it is. The x32 table has other numbers, all
 * higher, and is not among the architectures. */
static void add_newer(struct strbuf *bpf)
{
    const size_t n = seccomp_ndefault_newer;
    struct sock_filter head[64] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, seccomp_default_newer[0], 0, (uint8_t)(n + 2))};
    ASSERT(n + 4 <= countof(head));
    for (size_t i = 0; i < n; i++)
        head[2 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, seccomp_default_newer[i],
                                                   (uint8_t)(n - i), 0);
    head[n + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
    head[n + 3] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    strbuf_add(bpf, (struct str){(const char *)head, (n + 4) * sizeof *head});
}

static bool open_profile(struct seccomp *s, const char *profile, struct err *err)
{
    if (!profile) {
        default_profile(s);
        return true;
    }
    AUTO(fd_close) int fd = open(profile, O_RDONLY | O_CLOEXEC);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PROFILE_MAX);
    if (fd < 0)
        return err_errno(err, "open %s", profile);
    if (!read_all(fd, &b))
        return err_errno(err, "read %s", profile);
    s->profile = digest_of(b.p, b.n);
    return read_profile(s, strbuf_str(&b), err) || err_wrap(err, "seccomp profile %s", profile);
}

struct seccomp *seccomp_open(const char *profile, const char *cache, struct err *err)
{
    if (mkdir(cache, 0700) < 0 && errno != EEXIST)
        return err_errno(err, "mkdir %s", cache), NULL;
    AUTO(seccomp_free) struct seccomp *s = NEW(struct seccomp);
    s->cache = mem_dupz(cache);
    if (!open_profile(s, profile, err))
        return NULL;
    return TAKE(s);
}

void seccomp_free(struct seccomp *s)
{
    if (!s)
        return;
    map_each (e, &s->filters)
        mem_free(e->value);
    map_fini(&s->filters);
    array_fini(&s->archs);
    array_fini(&s->rules);
    arena_fini(&s->arena);
    mem_free(s->cache);
    mem_free(s);
}

/* ---- as text ---- */

static void json_action(struct strbuf *b, const char *key, const char *errno_key, uint32_t action)
{
    static const struct {
        uint32_t value;
        const char *name;
    } actions[] = {{SCMP_ACT_ALLOW, "SCMP_ACT_ALLOW"},
                   {SCMP_ACT_KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"},
                   {SCMP_ACT_KILL, "SCMP_ACT_KILL"},
                   {SCMP_ACT_LOG, "SCMP_ACT_LOG"},
                   {SCMP_ACT_TRAP, "SCMP_ACT_TRAP"}};
    const char *name = "SCMP_ACT_ERRNO";
    for (size_t i = 0; i < countof(actions); i++)
        if (action == actions[i].value)
            name = actions[i].name;
    jout_field(b, key, str_of(name));
    if ((action & 0xffff0000U) != SCMP_ACT_ERRNO(0))
        return;
    jout_key(b, errno_key);
    jout_num(b, action & 0xffff);
}

static void json_rule(struct strbuf *b, const struct rule *r)
{
    jout_open(b, '{');
    jout_key(b, "names");
    jout_open(b, '[');
    for (size_t i = 0; i < r->nnames; i++)
        jout_str(b, r->names[i]);
    jout_close(b, ']');
    json_action(b, "action", "errnoRet", r->action);
    jout_key(b, "args");
    jout_open(b, '[');
    for (size_t i = 0; i < r->nargs; i++) {
        const struct scmp_arg_cmp *arg = &r->args[i];
        jout_open(b, '{');
        jout_key(b, "index");
        jout_num(b, arg->arg);
        jout_key(b, "value");
        jout_comma(b);
        strbuf_addf(b, "%llu", (unsigned long long)arg->datum_a);
        jout_key(b, "valueTwo");
        jout_comma(b);
        strbuf_addf(b, "%llu", (unsigned long long)arg->datum_b);
        for (size_t k = 0; k < countof(ops); k++)
            if (ops[k].op == arg->op)
                jout_field(b, "op", str_of(ops[k].name));
        jout_close(b, '}');
    }
    jout_close(b, ']');
    jout_close(b, '}');
}

/* Of these capabilities and this machine; what it says is not what is said of all calls anyway. */
static bool rule_holds(const struct seccomp *s, const struct rule *r, uint64_t caps)
{
    return !r->other_arch && !(r->with & ~caps) && !(r->without & caps) && r->action != s->base;
}

void seccomp_json(const struct seccomp *s, uint64_t capabilities, struct strbuf *out)
{
    uint64_t caps = capabilities & s->matters;
    jout_open(out, '{');
    json_action(out, "defaultAction", "defaultErrnoRet", s->base);
    jout_key(out, "architectures");
    jout_open(out, '[');
    for (size_t i = 0; i < s->archs.n; i++)
        for (size_t k = 0; k < countof(archs); k++)
            if (archs[k].value == s->archs.p[i])
                jout_str(out, str_of(archs[k].name));
    jout_close(out, ']');
    jout_key(out, "syscalls");
    jout_open(out, '[');
    for (size_t i = 0; i < s->rules.n; i++)
        if (rule_holds(s, &s->rules.p[i], caps))
            json_rule(out, &s->rules.p[i]);
    jout_close(out, ']');
    jout_close(out, '}');
}

/* ---- compiling ---- */

static bool add_rule(scmp_filter_ctx ctx, const struct rule *r, struct err *err)
{
    for (size_t i = 0; i < r->nnames; i++) {
        int call = seccomp_syscall_resolve_name(r->names[i].p);
        if (call == __NR_SCMP_ERROR) /* a call that this libseccomp does not know: the base action stays */
            continue;
        int rc = seccomp_rule_add_array(ctx, r->action, call, (unsigned)r->nargs, r->args);
        if (rc < 0 && rc != -EDOM && rc != -EEXIST)
            return err_set(err, E_INTERNAL, "seccomp rule for " STR_FMT ": %s", STR_ARG(r->names[i]), strerror(-rc));
    }
    return true;
}

static bool filter_compile(const struct seccomp *s, uint64_t caps, struct strbuf *bpf, struct err *err)
{
    scmp_filter_ctx ctx = seccomp_init(s->base);
    AUTO(fd_close) int fd = memfd_create("seccomp", MFD_CLOEXEC);
    bool ok = ctx && fd >= 0;
    (void)(ok && seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)); /* a tree, not a chain: cheaper per call */
    for (size_t i = 0; ok && i < s->archs.n; i++) {
        int rc = seccomp_arch_add(ctx, s->archs.p[i]);
        ok = rc == 0 || rc == -EEXIST;
    }
    if (!ok)
        err_errno(err, "libseccomp");
    for (size_t i = 0; ok && i < s->rules.n; i++) {
        if (rule_holds(s, &s->rules.p[i], caps))
            ok = add_rule(ctx, &s->rules.p[i], err);
    }
    if (ok && s->newer)
        add_newer(bpf);
    if (ok && (seccomp_export_bpf(ctx, fd) < 0 || lseek(fd, 0, SEEK_SET) < 0 || !read_all(fd, bpf)))
        ok = err_errno(err, "exporting the seccomp filter");
    if (ctx)
        seccomp_release(ctx);
    return ok;
}

bool seccomp_filter(struct seccomp *s, uint64_t capabilities, struct str *out, struct err *err)
{
    uint64_t caps = capabilities & s->matters;
    char key[32], path[400];
    (void)snprintf(key, sizeof key, "%llx", (unsigned long long)caps);
    char *have = map_get(&s->filters, str_of(key));
    if (have)
        return *out = str_of(have), true;
    AUTO(strbuf_fini) struct strbuf bpf = STRBUF(FILTER_MAX), text = STRBUF(2 * FILTER_MAX);
    (void)snprintf(path, sizeof path, "%s/%.24s-%s-%x-v2", s->cache, s->profile.hex, key,
                   seccomp_version()->major << 16 | seccomp_version()->minor << 8 | seccomp_version()->micro);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !read_all(fd, &text) || !text.n) {
        char fresh[440];
        uint64_t salt;
        strbuf_reset(&text);
        if (!filter_compile(s, caps, &bpf, err))
            return false;
        strbuf_add_base64(&text, bpf.p, bpf.n);
        /* the cache is a convenience: when it cannot be written, the next start compiles again */
        random_bytes(&salt, sizeof salt);
        (void)snprintf(fresh, sizeof fresh, "%s.%llx", path, (unsigned long long)salt);
        AUTO(fd_close) int to = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (to >= 0 && (write(to, text.p, text.n) != (ssize_t)text.n || rename(fresh, path) < 0))
            (void)unlink(fresh); /* one file of 2 KB is left */
    }
    char *own = str_dupz(strbuf_str(&text));
    map_put(&s->filters, str_of(key), own);
    *out = str_of(own);
    return true;
}
