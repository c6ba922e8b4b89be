#include "node/node_facts.h"
#include "sys/file.h"
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

static struct str line_of(struct arena *a, const char *path)
{
    struct err ignored = ERR; /* a machine may lack each of them; the field of the Node is empty then */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    if (!file_read(AT_FDCWD, path, &b, &ignored))
        return S("");
    return str_dup(a, str_trim(strbuf_str(&b)));
}

static struct str os_image(struct arena *a)
{
    struct str rest = line_of(a, "/etc/os-release"), line;
    while (str_cut(&rest, '\n', &line)) {
        if (!str_starts(line, S("PRETTY_NAME=")))
            continue;
        struct str v = str_sub(line, 12, line.n);
        return v.n >= 2 && v.p[0] == '"' ? str_sub(v, 1, v.n - 1) : v;
    }
    return S("Linux");
}

/* As Go names it. */
static struct str node_arch(void)
{
#if defined(__x86_64__)
    return S("amd64");
#elif defined(__aarch64__)
    return S("arm64");
#elif defined(__riscv) && __riscv_xlen == 64
    return S("riscv64");
#else
#error "name this architecture as Go does"
#endif
}

static int64_t huge_pages(struct arena *a, const char *size, int64_t bytes)
{
    int64_t n = 0;
    struct str path = arena_fmt(a, "/sys/kernel/mm/hugepages/hugepages-%s/nr_hugepages", size);
    return str_to_i64(line_of(a, path.p), 0, INT64_MAX / bytes, &n) ? n * bytes : 0;
}

static int64_t most_pids(struct arena *a)
{
    int64_t numbers = 0, threads = 0;
    bool ok = str_to_i64(line_of(a, "/proc/sys/kernel/pid_max"), 1, INT64_MAX, &numbers) &&
              str_to_i64(line_of(a, "/proc/sys/kernel/threads-max"), 1, INT64_MAX, &threads);
    return ok ? MIN(numbers, threads) : 0;
}

int64_t node_memory(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

int64_t node_pids(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return most_pids(&a);
}

void node_facts_read(struct arena *a, const char *path, struct node_facts *out)
{
    struct utsname u;
    struct statvfs v;
    *out = (struct node_facts){0};
    if (uname(&u) == 0) {
        out->hostname = str_dup(a, str_of(u.nodename));
        out->kernel = str_dup(a, str_of(u.release));
    }
    out->arch = node_arch();
    out->machine_id = line_of(a, "/etc/machine-id");
    out->system_uuid = line_of(a, "/sys/class/dmi/id/product_uuid");
    if (!out->system_uuid.n)
        out->system_uuid = out->machine_id;
    out->boot_id = line_of(a, "/proc/sys/kernel/random/boot_id");
    out->os_image = os_image(a);
    out->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    out->memory_bytes = node_memory();
    if (statvfs(path, &v) == 0)
        out->disk_bytes = (int64_t)v.f_blocks * (int64_t)v.f_frsize;
    out->pids = most_pids(a);
    out->huge_2m_bytes = huge_pages(a, "2048kB", 2LL << 20);
    out->huge_1g_bytes = huge_pages(a, "1048576kB", 1LL << 30);
}
