#include "base/log.h"
#include "base/version.h"
#include "cli/role.h"
#include "cli/supervisor.h"
#include "cli/systemd.h"
#include "client/http.h"
#include "net/network.h"
#include "node/agent.h"
#include "node/relay_link.h"
#include "sys/child.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/mount_tree.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>

struct node_role {
    struct loop *loop;
    struct signal_source on_term;
};

static void on_term(struct signal_source *s, int signo)
{
    (void)signo;
    loop_stop(container_of(s, struct node_role, on_term)->loop);
}

static void on_ready(void *arg)
{
    (void)arg;
    role_ready();
}

static const char *strz_of(struct arena *a, struct str s)
{
    return arena_strz(a, s);
}

static bool find_crun(struct arena *a, const char **out, struct err *err)
{
    static const char *const places[] = {"/usr/bin/crun", "/usr/local/bin/crun", "/usr/sbin/crun", "/bin/crun"};
    (void)a;
    for (size_t i = 0; i < countof(places); i++) {
        if (access(places[i], X_OK) == 0) {
            *out = places[i];
            return true;
        }
    }
    return err_set(err, E_NOT_FOUND, "crun is missing: apt-get install crun");
}

/* Secrets and tokens of pods lie on a tmpfs, whatever /run is. */
static bool mount_volumes(struct arena *a, struct settings *s, struct err *err)
{
    struct str dir = arena_fmt(a, STR_FMT "/volumes", STR_ARG(s->run));
    if (!dir_make(dir.p, 0755, err))
        return false;
    if (mount_is_point(dir.p))
        return dir_make_private(dir.p, err);
    return mount_tmpfs(dir.p, 0, 0700, MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC, err);
}

/* Where a kubelet has its folders, and drivers of storage look for them. What a driver mounts there for a pod is to
 * come out on the host: where the file system is not shared with others already, the folder becomes a mount that is.
 */
static bool make_kubelet(struct arena *a, struct settings *s, struct err *err)
{
    static const char *const folders[] = {"pods", "plugins", "plugins_registry"};
    if (!dir_make(s->kubelet.p, 0750, err))
        return false;
    for (size_t i = 0; i < countof(folders); i++)
        if (!dir_make(arena_fmt(a, STR_FMT "/%s", STR_ARG(s->kubelet), folders[i]).p, 0750, err))
            return false;
    return mount_make_shared(s->kubelet.p, err);
}

/* What is mounted for pods stands in a mount of its own, shared: shims have copies of it, in which what goes here
 * goes as well. Else a volume would be held by every pod that began while it was there. */
static bool mount_mounts(struct arena *a, struct settings *s, struct err *err)
{
    struct str dir = arena_fmt(a, STR_FMT "/mounts", STR_ARG(s->run));
    if (!dir_make(dir.p, 0700, err))
        return false;
    if (!mount_is_point(dir.p) && !mount_tmpfs(dir.p, 0, 0700, MOUNT_NOSUID | MOUNT_NOEXEC, err))
        return false;
    return mount_make_shared(dir.p, err);
}

/* Two agents on one set of pods would undo each other's work. The lock goes with the process. */
static bool take_lock(struct arena *a, struct settings *s, struct err *err)
{
    struct str path = arena_fmt(a, STR_FMT "/node.lock", STR_ARG(s->run));
    int fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "open " STR_FMT, STR_ARG(path));
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ||
           err_set(err, E_ALREADY_EXISTS, "another node role runs already below " STR_FMT, STR_ARG(s->run));
}

static bool node_prepare(struct arena *a, struct settings *s, struct err *err)
{
    struct str state = arena_fmt(a, STR_FMT "/node/sysctls", STR_ARG(s->data)),
               dir = arena_fmt(a, STR_FMT "/node", STR_ARG(s->data));
    struct network_config config = {{s->instance, s->pods, s->node_pods, s->services, 0}, state.p};
    return take_lock(a, s, err) && dir_make_private(dir.p, err) && mount_volumes(a, s, err) &&
           make_kubelet(a, s, err) && mount_mounts(a, s, err) && network_up(&config, err);
}

static uint16_t port_of(struct str listen)
{
    int64_t port;
    ptrdiff_t colon = str_rfind_char(listen, ':');
    return colon >= 0 && str_to_i64(str_sub(listen, (size_t)colon + 1, listen.n), 1, UINT16_MAX, &port)
               ? (uint16_t)port
               : 0;
}

int role_node(struct role_start *r)
{
    struct settings *s = &r->settings;
    struct arena *a = &s->arena;
    struct node_role role = {0};
    struct err err = ERR;
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    struct agent_config c = {
        .loop = loop,
        .name = strz_of(a, s->node_name),
        .host_ip = strz_of(a, s->node_ip),
        .run = strz_of(a, s->run),
        .data = arena_fmt(a, STR_FMT "/node", STR_ARG(s->data)).p,
        .log = strz_of(a, s->log),
        .content = arena_fmt(a, STR_FMT "/node/content", STR_ARG(s->data)).p,
        .kubelet = s->kubelet.p,
        .plugins = strz_of(a, s->volume_plugin_dir),
        .volumes = s->volumes_dir.n ? strz_of(a, s->volumes_dir)
                                    : arena_fmt(a, STR_FMT "/volumes", STR_ARG(s->data)).p,
        .volumes_percent = s->volumes_percent,
        .shim = program_beside(a, "wherry-shim").p,
        .job = program_beside(a, "wherry-job").p,
        .cgroup = pods_group(a, s).p,
        .instance = s->instance,
        .cluster_pods = s->pods,
        .node_pods = s->node_pods,
        .services = s->services,
        .api_port = port_of(s->listen),
        .dns_ip = strz_of(a, s->dns_ip),
        .domain = strz_of(a, s->domain),
        .front_door = supervisor_wants(s, "edge"),
        .max_pods = (int)s->max_pods,
        .reserved = &s->reserved,
        .pressure = &s->pressure,
        .image_gc = &s->image_gc,
        .log_bytes = s->log_bytes,
        .log_files = (int)s->log_files,
        .shutdown = &s->shutdown,
        .relay_port = (int)s->relay_port,
        .runtimes = strz_of(a, s->runtimes),
        .manifests = strz_of(a, s->static_pods),
        .unsafe_sysctls = strz_of(a, s->unsafe_sysctls),
        .pod_users = strz_of(a, s->pod_users),
        .insecure_registries = strz_of(a, s->insecure_registries),
        .relay_gid = ROLE_UID_RELAY,
        .version = wherry_version,
        .ready = on_ready,
    };
    struct str server = arena_fmt(a, "unix:" STR_FMT "/server.sock", STR_ARG(s->run));
    struct str link = arena_fmt(a, STR_FMT "/node.sock", STR_ARG(s->run));
    role.loop = loop;
    bool ok = loop && find_crun(a, &c.crun, &err) && node_prepare(a, s, &err);
    AUTO(transport_free)
    struct transport *transport = ok ? http_transport_new(loop,
                                                          &(struct http_transport_config){.server = server,
                                                                                          .user_agent = S("kubelet")},
                                                          &err)
                                     : NULL;
    c.transport = transport;
    AUTO(agent_free) struct agent *agent = transport ? agent_new(&c, &err) : NULL;
    ok = agent && relay_link_open(agent, link.p, ROLE_UID_RELAY, &err) &&
         signal_start(&role.on_term, loop, SIGTERM, on_term, &err);
    if (!ok) {
        log_error("node.start", "error=\"%s\"", err.text);
        relay_link_close();
        return 1;
    }
    loop_run(loop);
    role_end();
}
