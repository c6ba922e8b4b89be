#include "cli/systemd.h"
#include "base/log.h"
#include "sys/child.h"
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

bool systemd_runs(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

void systemd_notify(const char *state)
{
    struct str path = str_of(getenv("NOTIFY_SOCKET"));
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path.n < 2 || path.n >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path.p, path.n);
    if (to.sun_path[0] == '@') /* an abstract one */
        to.sun_path[0] = 0;
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
        log_warn("systemd.notify", "systemd does not hear \"%s\": error=\"%s\"", state, strerror(errno));
}

bool systemctl_run(const char *verb, const char *word, const char *word2, int timeout_ms, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(65536);
    const char *argv[] = {"systemctl", "--quiet", verb, word, word2, NULL};
    return command_run(argv, STR_NONE, &out, timeout_ms, err);
}

bool systemd_unit_active(const char *unit)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(4096);
    const char *argv[] = {"systemctl", "show", "--value", "-p", "ActiveState", unit, NULL};
    struct err ignored = ERR; /* who does not answer starts no unit of ours */
    if (!systemd_runs() || !command_run(argv, STR_NONE, &out, 60000, &ignored))
        return false;
    struct str state = str_trim(strbuf_str(&out));
    return state.n && !str_eqz(state, "inactive") && !str_eqz(state, "failed");
}

struct str pods_group(struct arena *a, const struct settings *s)
{
    bool given = !s->root.n && access("/sys/fs/cgroup/" UNIT_PODS "/cgroup.procs", F_OK) == 0;
    return arena_fmt(a, "%s/wherry-%s", given ? "/" UNIT_PODS : "", s->instance.id);
}
