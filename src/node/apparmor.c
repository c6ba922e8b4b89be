#include "base/log.h"
#include "node/agent_int.h"
#include "node/podspec.h"
#include "sys/child.h"
#include "sys/file.h"
#include <fcntl.h>

#define PROFILES  "/sys/kernel/security/apparmor/profiles"
#define LOADER    "/sbin/apparmor_parser"
#define LOADER_MS 30000

/* What is kept from a container that says RuntimeDefault: mounts, what the kernel can be told by files in /proc and
 * /sys, and the processes of others. */
static const char default_profile[] =
    "#include <tunables/global>\n"
    "profile " APPARMOR_DEFAULT " flags=(attach_disconnected,mediate_deleted) {\n"
    "  #include <abstractions/base>\n"
    "  network,\n"
    "  capability,\n"
    "  file,\n"
    "  umount,\n"
    "  signal (receive) peer=unconfined,\n"
    "  signal (send,receive) peer=" APPARMOR_DEFAULT ",\n"
    "  ptrace (trace,read,tracedby,readby) peer=" APPARMOR_DEFAULT ",\n"
    "  deny mount,\n"
    "  deny @{PROC}/* w,\n"
    "  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,\n"
    "  deny @{PROC}/sys/[^kn]** w,\n"
    "  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,\n"
    "  deny @{PROC}/sysrq-trigger rwklx,\n"
    "  deny @{PROC}/kcore rwklx,\n"
    "  deny /sys/[^f]*/** wklx,\n"
    "  deny /sys/f[^s]*/** wklx,\n"
    "  deny /sys/fs/[^c]*/** wklx,\n"
    "  deny /sys/fs/c[^g]*/** wklx,\n"
    "  deny /sys/fs/cg[^r]*/** wklx,\n"
    "  deny /sys/firmware/** rwklx,\n"
    "  deny /sys/devices/virtual/powercap/** rwklx,\n"
    "  deny /sys/kernel/security/** rwklx,\n"
    "}\n";

struct profile_load {
    struct job job;
    bool ok;
    struct err err;
};

bool apparmor_here(void)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    struct err ignored = ERR; /* no such file: the kernel has no AppArmor */
    return access(PROFILES, R_OK) == 0 &&
           file_read(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", &b, &ignored) &&
           str_starts(strbuf_str(&b), S("Y"));
}

static void load_work(struct job *j)
{
    struct profile_load *l = container_of(j, struct profile_load, job);
    AUTO(strbuf_fini) struct strbuf said = STRBUF(4096);
    const char *const argv[] = {LOADER, "--replace", "--skip-cache", NULL};
    l->ok = command_run(argv, str_of(default_profile), &said, LOADER_MS, &l->err);
}

static void load_done(struct job *j)
{
    struct profile_load *l = container_of(j, struct profile_load, job);
    if (!l->ok) /* pods that want it are told that it is not there; the next start of this role tries again */
        log_warn("node.apparmor", "profile=" APPARMOR_DEFAULT " error=\"%s\"", l->err.text);
    mem_free(l);
}

bool apparmor_profiles(struct agent *g, struct arena *a, struct str *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4 << 20);
    if (!file_read(AT_FDCWD, PROFILES, &b, err))
        return err_wrap(err, "could not read loaded profiles");
    *out = str_dup(a, strbuf_str(&b));
    if (g->apparmor_asked || str_has(*out, S(APPARMOR_DEFAULT " (")))
        return true;
    struct profile_load *l = NEW(struct profile_load);
    g->apparmor_asked = true;
    job_start(&l->job, g->cfg.loop, load_work, load_done);
    return err_set(err, E_UNAVAILABLE, "profile " APPARMOR_DEFAULT " is being loaded");
}
