#include "cli/args.h"
#include "cli/role.h"
#include "cli/supervisor.h"
#include "cli/systemd.h"
#include "cli/uplock.h"
#include "cli/verbs.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* wherry install, wherry uninstall: the programs below /usr/local/bin and two units of systemd. Pods have a unit of
 * their own, so that whatever becomes of wherry.service they run on, in groups that systemd leaves to us; it ends
 * them when the machine is shut down. */
#define BIN      "/usr/local/bin"
#define START_MS 400000

static const char *const programs[] = {"wherry", "wherry-shim", "wherry-job"};

static const char unit_pods[] =
    "# Written by `wherry install`. The pods of this machine: their control groups are below this unit's.\n"
    "[Unit]\n"
    "Description=Pods of Wherry\n"
    "PropagatesStopTo=" UNIT "\n"
    "\n"
    "[Service]\n"
    "Type=forking\n"
    "Slice=-.slice\n"
    "Delegate=yes\n"
    "ExecStart=" BIN "/wherry-shim --hold\n"
    "ExecStop=" BIN "/wherry down --pods\n"
    "TimeoutStopSec=90\n"
    "TasksMax=infinity\n"
    "OOMScoreAdjust=-1000\n";

static const char unit[] =
    "# Written by `wherry install`; `systemctl edit wherry` changes it, `wherry uninstall` removes it.\n"
    "[Unit]\n"
    "Description=Wherry: Kubernetes on this machine\n"
    "Wants=" UNIT_PODS " network-online.target\n"
    "# who flushes all rules when it starts comes first\n"
    "After=" UNIT_PODS " network-online.target nftables.service firewalld.service ufw.service\n"
    "# an address that comes late, a port that somebody leaves: however often it takes\n"
    "StartLimitIntervalSec=0\n"
    "\n"
    "[Service]\n"
    "Type=notify\n"
    "ExecStart=" BIN "/wherry up\n"
    "ExecReload=/bin/kill -HUP $MAINPID\n"
    "# roles outlive a killed supervisor and are found by the next one\n"
    "KillMode=process\n"
    "Delegate=yes\n"
    "Restart=always\n"
    "RestartSec=1\n"
    "# settings that are wrong do not get better\n"
    "RestartPreventExitStatus=2\n"
    "TimeoutStartSec=300\n"
    "TimeoutStopSec=30\n"
    "LimitNOFILE=65536:1048576\n"
    "TasksMax=infinity\n"
    "OOMScoreAdjust=-900\n"
    "\n"
    "[Install]\n"
    "WantedBy=multi-user.target\n";

static const char unit_shutdown[] =
    "# Written by `wherry install`. Ends pods by priority before anything else is stopped (setting shutdown-grace).\n"
    "[Unit]\n"
    "Description=Graceful shutdown of the pods of Wherry\n"
    "# what is started last is stopped first\n"
    "After=" UNIT " " UNIT_PODS "\n"
    "\n"
    "[Service]\n"
    "Type=oneshot\n"
    "RemainAfterExit=yes\n"
    "ExecStart=/bin/true\n"
    "ExecStop=" BIN "/wherry shutdown --at-shutdown\n"
    "TimeoutStopSec=infinity\n"
    "\n"
    "[Install]\n"
    "WantedBy=multi-user.target\n";

static const struct unit_row {
    const char *path, *text;
} units[] = {
    {UNIT_DIR "/" UNIT_PODS, unit_pods}, {UNIT_DIR "/" UNIT, unit}, {UNIT_DIR "/" UNIT_SHUTDOWN, unit_shutdown}};

/* --- files --- */

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool same_text(const char *path, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err ignored = ERR; /* what cannot be read is written anew, which says what is wrong */
    return file_read(AT_FDCWD, path, &b, &ignored) && str_eq(strbuf_str(&b), text);
}

static bool same_content(const char *a, const char *b)
{
    char x[65536], y[sizeof x];
    AUTO(fd_close) int f = open(a, O_RDONLY | O_CLOEXEC), g = open(b, O_RDONLY | O_CLOEXEC);
    while (f >= 0 && g >= 0) {
        ssize_t n = read(f, x, sizeof x), m = read(g, y, sizeof y);
        if (n < 0 || n != m || memcmp(x, y, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
    }
    return false;
}

/* A program that runs keeps its file; after a power cut the old or the new one is there. */
static bool copy_program(const char *from, const char *to, struct err *err)
{
    char beside[200];
    (void)snprintf(beside, sizeof beside, "%s.new", to);
    AUTO(fd_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (in < 0 || fstat(in, &st) < 0)
        return err_errno(err, "%s", from);
    (void)unlink(beside); /* where it is not there, or stays, making it anew tells */
    AUTO(fd_close) int out = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (out < 0)
        return err_errno(err, "%s", beside);
    ssize_t n;
    for (off_t at = 0; at < st.st_size && (n = sendfile(out, in, &at, (size_t)(st.st_size - at))) != 0;)
        if (n < 0) {
            (void)err_errno(err, "write %s", beside);
            (void)unlink(beside); /* where it is not there, or stays, making it anew tells */
            return false;
        }
    if (fchmod(out, 0755) < 0 || fsync(out) < 0 || rename(beside, to) < 0) {
        (void)err_errno(err, "%s", to);
        (void)unlink(beside); /* where it is not there, or stays, making it anew tells */
        return false;
    }
    return true;
}

static bool put_programs(struct arena *a, bool *changed, struct err *err)
{
    for (size_t i = 0; i < countof(programs); i++) {
        const char *from = program_beside(a, programs[i]).p, *to = arena_fmt(a, BIN "/%s", programs[i]).p;
        if (access(from, X_OK) < 0)
            return err_set(err, E_NOT_FOUND, "%s is missing; it belongs beside wherry", from);
        if (same_file(from, to) || same_content(from, to))
            continue;
        if (!dir_make(BIN, 0755, err) || !copy_program(from, to, err))
            return false;
        printf("  %s\n", to);
        *changed = true;
    }
    return true;
}

static bool put_units(bool *changed, struct err *err)
{
    for (size_t i = 0; i < countof(units); i++) {
        if (same_text(units[i].path, str_of(units[i].text)))
            continue;
        if (!file_write(AT_FDCWD, units[i].path, str_of(units[i].text), 0644, err))
            return false;
        printf("  %s\n", units[i].path);
        *changed = true;
    }
    return !*changed || systemctl_run("daemon-reload", NULL, NULL, START_MS, err);
}

/* --- what must be so --- */

static bool find_program(const char *name)
{
    static const char *const dirs[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"};
    char path[100];
    for (size_t i = 0; i < countof(dirs); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static bool may_install(struct settings *s, struct err *err)
{
    if (geteuid() != 0)
        return err_set(err, E_FORBIDDEN, "only root can do this: use sudo");
    if (!systemd_runs())
        return err_set(err, E_UNAVAILABLE,
                       "this machine was not started by systemd (there is no /run/systemd/system); let what starts "
                       "its services run `wherry up`, which stays in the foreground");
    if (!find_program("crun") || !find_program("nft"))
        return err_set(err, E_NOT_FOUND, "%s is missing: apt-get install crun nftables",
                       find_program("crun") ? "nft" : "crun");
    pid_t pid = uplock_holder(s).pid;
    if (pid && !systemd_unit_active(UNIT))
        return err_set(err, E_ALREADY_EXISTS,
                       "wherry is up already, as process %d, which systemd did not start: `kill %d` ends it and "
                       "leaves its pods, which the unit takes over; or `wherry down`",
                       (int)pid, (int)pid);
    return true;
}

/* --- the verbs --- */

static int verb_failed(const char *verb, const struct err *err)
{
    fprintf(stderr, "wherry %s: %s\n", verb, err->text);
    return 1;
}

static bool start_unit(bool new_programs, bool new_units, struct err *err)
{
    bool active = systemd_unit_active(UNIT);
    if (!systemctl_run("enable", UNIT, UNIT_SHUTDOWN, START_MS, err) ||
        !systemctl_run("start", UNIT_SHUTDOWN, "--no-block", START_MS, err))
        return false;
    if (active && !new_programs && !new_units)
        return true;
    /* new programs are taken up without closing a socket */
    return systemctl_run(active ? new_units ? "restart" : "reload" : "start", UNIT, NULL, START_MS, err) ||
           err_wrap(err, UNIT " did not start; `journalctl -u wherry` says why");
}

int install_main(int argc, char **argv)
{
    AUTO(settings_fini) struct settings s = {0};
    struct err err = ERR;
    bool new_programs = false, new_units = false;
    int rest;
    if (args_ask_help(argc, argv)) {
        printf("wherry install\n\n"
               "Lets systemd run wherry on this machine, from now on and at every boot. Copies the programs beside\n"
               "this one to " BIN ", writes " UNIT ", " UNIT_PODS " and\n" UNIT_SHUTDOWN " to " UNIT_DIR
               ", enables and starts them. Where that was done before, it brings them up\n"
               "to date; pods keep running.\n\n"
               "Settings are in /etc/wherry/config.yaml (wherry up --help lists them); `systemctl reload wherry`\n"
               "makes them count. `systemctl stop wherry` leaves pods running. `wherry down` ends them until the\n"
               "next boot or `systemctl start wherry`. `wherry uninstall` undoes all of it.\n");
        return 0;
    }
    if (argc) {
        fprintf(stderr, "wherry install: \"%s\" is not understood; wherry install --help says what it does\n",
                argv[0]);
        return 2;
    }
    if (!settings_read(&s, 0, argv, &rest, &err) || !may_install(&s, &err) ||
        !put_programs(&s.arena, &new_programs, &err) || !put_units(&new_units, &err))
        return verb_failed("install", &err);
    if (new_programs || new_units)
        fflush(stdout);
    if (!start_unit(new_programs, new_units, &err))
        return verb_failed("install", &err);
    printf(UNIT " runs%s; its kubeconfig is " STR_FMT "/admin.kubeconfig\n",
           new_programs || new_units ? "" : ", as it did", STR_ARG(s.etc));
    return 0;
}

static bool remove_file(const char *path, bool *any, struct err *err)
{
    if (unlink(path) == 0) {
        *any = true;
        return true;
    }
    return errno == ENOENT || err_errno(err, "remove %s", path);
}

static bool take_back(struct arena *a, struct err *err)
{
    bool had_units = false, had = false;
    for (size_t i = 0; i < countof(units); i++)
        if (!remove_file(units[i].path, &had_units, err))
            return false;
    if (had_units && !systemctl_run("daemon-reload", NULL, NULL, START_MS, err))
        return false;
    for (size_t i = 0; i < countof(programs); i++)
        if (!remove_file(arena_fmt(a, BIN "/%s", programs[i]).p, &had, err))
            return false;
    puts(had_units || had ? "wherry is not installed any more" : "wherry is not installed");
    return true;
}

int uninstall_main(int argc, char **argv)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    if (args_ask_help(argc, argv)) {
        printf("wherry uninstall [--purge]\n\n"
               "Undoes what `wherry install` did: ends the units, and pods as `wherry down` does, and removes the\n"
               "units and the programs in " BIN ". What was declared stays in /var/lib/wherry and comes\n"
               "back with the next install; --purge removes it.\n");
        return 0;
    }
    bool purge = argc == 1 && strcmp(argv[0], "--purge") == 0;
    if (argc && !purge) {
        fprintf(stderr, "wherry uninstall: \"%s\" is not understood; wherry uninstall --help says what is\n",
                argv[purge && argc > 1]);
        return 2;
    }
    if (geteuid() != 0) {
        (void)err_set(&err, E_FORBIDDEN, "only root can do this: use sudo");
        return verb_failed("uninstall", &err);
    }
    bool installed = access(UNIT_DIR "/" UNIT, F_OK) == 0;
    if (installed && systemd_runs() &&
        (!systemctl_run("disable", UNIT, UNIT_SHUTDOWN, START_MS, &err) ||
         !systemctl_run("stop", UNIT_SHUTDOWN, NULL, START_MS, &err)))
        return verb_failed("uninstall", &err);
    static char purge_word[] = "--purge", *down_argv[] = {purge_word, NULL};
    int status = down_main(purge ? 1 : 0, down_argv); /* says itself what failed */
    return take_back(&a, &err) ? status : verb_failed("uninstall", &err);
}
