/* Who registers: a kubelet's plugin watcher. A registrar puts a socket into plugins_registry; the node asks it who it
 * is, asks the driver what it calls this node, has that written into the API, and tells the registrar what came of
 * it. When the socket goes, the driver does.
 *
 * Which sockets there are is looked at as a whole, by a job, whenever something changed there: so no order of events
 * and no overflow of them can lead astray. A socket that was put there anew, under its old name, registers again. */
#include "base/clock.h"
#include "base/log.h"
#include "node/csi_int.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define REGISTRAR_TIMEOUT (10 * NS_PER_S)
#define SOCKETS_MOST      1000
#define FOLDERS_DEEP      4

enum plugin_state { PLUGIN_ASKED, PLUGIN_NODE, PLUGIN_WRITING, PLUGIN_TELLING, PLUGIN_REGISTERED, PLUGIN_FAILED };

struct csi_plugin {
    struct csi *csi;
    struct str path;
    char *path_text;
    uint64_t inode;
    int64_t changed; /* of the socket: ns */
    bool seen;       /* in the last look */
    enum plugin_state state;
    struct grpc_client *registrar;
    struct grpc_call call;
    struct timer again;
    int64_t gap;
    struct csi_driver *driver; /* from the answer on */
    struct err err;            /* why it failed */
};

int64_t csi_gap_next(int64_t gap)
{
    return gap ? MIN(2 * gap, CSI_GAP_MOST) : CSI_GAP;
}

/* ---- drivers */

struct csi_driver *csi_driver_ref(struct csi_driver *d)
{
    d->refs++;
    return d;
}

void csi_driver_unref(struct csi_driver *d)
{
    if (!d || --d->refs)
        return;
    grpc_client_free(d->client);
    arena_fini(&d->arena);
    mem_free(d);
}

static struct grpc_client *plugin_client(struct csi *c, struct str socket)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return grpc_client_new(c->agent->cfg.loop, STR_JOIN(&a, S("unix:"), socket), S("wherry"));
}

static struct csi_driver *driver_new(struct csi_plugin *p, const struct plugin_info *info)
{
    struct csi_driver *d = NEW(struct csi_driver);
    d->refs = 1;
    d->plugin = p;
    d->name = str_dup(&d->arena, info->name);
    d->endpoint = str_dup(&d->arena, info->endpoint.n ? info->endpoint : p->path);
    d->client = plugin_client(p->csi, d->endpoint);
    return d;
}

/* It is nobody's any more. */
static void driver_leaves(struct csi_plugin *p)
{
    struct csi_driver *d = TAKE(p->driver);
    if (!d)
        return;
    d->plugin = NULL;
    if (map_get(&p->csi->drivers, d->name) == d) {
        log_info("csi.driver", "driver=" STR_FMT " has gone", STR_ARG(d->name));
        (void)map_del(&p->csi->drivers, d->name);
        csi_object_leaves(p->csi, d->name);
    }
    csi_driver_unref(d);
}

/* ---- a registration, step by step */

static void plugin_call(struct csi_plugin *p, struct grpc_client *c, void (*done)(struct grpc_call *k),
                        const char *method, struct str request, int64_t timeout)
{
    p->call.done = done;
    grpc_start(c, &p->call, str_of(method), request, timeout);
}

static void plugin_again(struct csi_plugin *p)
{
    p->state = PLUGIN_FAILED;
    p->gap = csi_gap_next(p->gap);
    timer_set(&p->again, p->gap);
}

/* Some drivers want to be asked again and again how many volumes the node takes. */
static void plugin_rest(struct csi_plugin *p)
{
    const struct obj *info = csi_info(p->csi, p->driver->name);
    int64_t every = info ? val_num_at(obj_spec(info), 0, N(nodeAllocatableUpdatePeriodSeconds)) : 0;
    if (every > 0)
        timer_set(&p->again, ns_of_seconds(every));
    else
        timer_stop(&p->again);
}

void csi_plugins_info(struct csi *c, const struct obj *info)
{
    struct csi_driver *d = map_get(&c->drivers, info->name);
    if (d && d->plugin && d->plugin->state == PLUGIN_REGISTERED && !grpc_active(&d->plugin->call))
        plugin_rest(d->plugin);
}

static void plugin_told(struct grpc_call *k)
{
    struct csi_plugin *p = container_of(k, struct csi_plugin, call);
    if (p->err.kind) {
        driver_leaves(p);
        plugin_again(p);
        return;
    }
    if (k->code) { /* it will not know that it is registered; the driver is all the same */
        struct err err = ERR;
        (void)grpc_err(k, &err);
        log_warn("csi.registration", "socket=" STR_FMT " error=\"%s\"", STR_ARG(p->path), err.text);
    }
    p->state = PLUGIN_REGISTERED;
    p->gap = 0;
    plugin_rest(p);
}

static void plugin_tell(struct csi_plugin *p)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    plugin_status_write(&b, !p->err.kind, str_of(p->err.text));
    p->state = PLUGIN_TELLING;
    plugin_call(p, p->registrar, plugin_told, PLUGIN_NOTIFY, strbuf_str(&b), REGISTRAR_TIMEOUT);
}

static void plugin_fails(struct csi_plugin *p, const struct err *err)
{
    p->err = *err;
    log_warn("csi.registration", "socket=" STR_FMT " error=\"%s\"", STR_ARG(p->path), err->text);
    plugin_tell(p);
}

void csi_plugin_told(struct csi *c, struct csi_driver *d, const struct err *err)
{
    struct csi_plugin *p = d->plugin;
    (void)c;
    if (!p || p->state != PLUGIN_WRITING)
        return;
    if (err)
        plugin_fails(p, err);
    else
        plugin_tell(p);
}

static void node_answered(struct grpc_call *k)
{
    struct csi_plugin *p = container_of(k, struct csi_plugin, call);
    struct csi_driver *d = p->driver;
    struct err err = ERR;
    if (k->code ? !grpc_err(k, &err) : !csi_node_read(&d->arena, k->answer, &d->node, &err)) {
        (void)err_wrap(&err, "kubernetes.io/csi: plugin registration failed with err: NodeGetInfo of " STR_FMT,
                       STR_ARG(d->name));
        plugin_fails(p, &err);
        return;
    }
    struct csi_driver *was = map_put(&p->csi->drivers, d->name, d);
    if (was && was != d &&
        was->plugin) { /* another socket says the same name: the newer one counts, as for a kubelet */
        struct csi_plugin *old = was->plugin;
        old->driver = NULL;
        was->plugin = NULL;
        csi_driver_unref(was);
    }
    log_info("csi.driver", "driver=" STR_FMT " endpoint=" STR_FMT " node_id=" STR_FMT, STR_ARG(d->name),
             STR_ARG(d->endpoint), STR_ARG(d->node.id));
    p->state = PLUGIN_WRITING;
    csi_driver_came(p->csi, d);
    csi_object_news(p->csi);
}

static bool plugin_info_good(const struct csi_plugin *p, const struct plugin_info *info, struct err *err)
{
    if (!str_eqz(info->type, "CSIPlugin"))
        return err_set(err, E_INVALID, "no handler registered for plugin type: " STR_FMT " at socket " STR_FMT,
                       STR_ARG(info->type), STR_ARG(p->path));
    if (!info->name.n || info->name.n > CSI_DRIVER_MOST)
        return err_set(err, E_INVALID,
                       "validation failed for CSI Driver at socket " STR_FMT ": its name has 1 to %d characters",
                       STR_ARG(p->path), CSI_DRIVER_MOST);
    if (info->endpoint.n > CSI_ENDPOINT_MOST)
        return err_set(err, E_INVALID,
                       "validation failed for CSI Driver " STR_FMT ": its endpoint " STR_FMT
                       " is longer than %d bytes",
                       STR_ARG(info->name), STR_ARG(info->endpoint), CSI_ENDPOINT_MOST);
    return csi_version_good(info, err);
}

static void info_answered(struct grpc_call *k)
{
    struct csi_plugin *p = container_of(k, struct csi_plugin, call);
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(plugin_info_fini) struct plugin_info info = {0};
    struct err err = ERR;
    if (k->code) { /* nobody is there (yet): there is nobody to be told */
        (void)grpc_err(k, &err);
        if (p->gap < NS_PER_S)
            log_warn("csi.registration", "socket=" STR_FMT " error=\"%s\"", STR_ARG(p->path), err.text);
        plugin_again(p);
        return;
    }
    if (!plugin_info_read(&a, k->answer, &info, &err) || !plugin_info_good(p, &info, &err)) {
        plugin_fails(p, &err);
        return;
    }
    p->driver = driver_new(p, &info);
    p->state = PLUGIN_NODE;
    plugin_call(p, p->driver->client, node_answered, CSI_NODE("NodeGetInfo"), S(""), CSI_TIMEOUT);
}

static void plugin_ask(struct csi_plugin *p)
{
    p->err = ERR;
    p->state = PLUGIN_ASKED;
    plugin_call(p, p->registrar, info_answered, PLUGIN_GET_INFO, S(""), REGISTRAR_TIMEOUT);
}

static void count_answered(struct grpc_call *k)
{
    struct csi_plugin *p = container_of(k, struct csi_plugin, call);
    AUTO(arena_fini) struct arena a = ARENA;
    struct csi_node now;
    struct err err = ERR;
    if (k->code ? !grpc_err(k, &err) : !csi_node_read(&a, k->answer, &now, &err)) {
        log_warn("csi.driver", "driver=" STR_FMT " error=\"%s\"", STR_ARG(p->driver->name), err.text);
    } else if (now.volumes_most != p->driver->node.volumes_most) {
        p->driver->node.volumes_most = now.volumes_most;
        csi_object_news(p->csi);
    }
    plugin_rest(p);
}

static void on_again(struct timer *t)
{
    struct csi_plugin *p = container_of(t, struct csi_plugin, again);
    if (p->state == PLUGIN_REGISTERED && p->driver)
        plugin_call(p, p->driver->client, count_answered, CSI_NODE("NodeGetInfo"), S(""), CSI_TIMEOUT);
    else
        plugin_ask(p);
}

/* ---- sockets that come and go */

static void plugin_stop(struct csi_plugin *p)
{
    grpc_cancel(&p->call);
    timer_stop(&p->again);
    driver_leaves(p);
}

static void plugin_free(struct csi_plugin *p)
{
    plugin_stop(p);
    grpc_client_free(p->registrar);
    mem_free(p->path_text);
    mem_free(p);
}

static void plugin_came(struct csi *c, struct str path, uint64_t inode, int64_t changed)
{
    struct csi_plugin *p = map_get(&c->plugins, path);
    if (!p && map_len(&c->plugins) >= SOCKETS_MOST)
        return;
    if (!p) {
        p = NEW(struct csi_plugin);
        p->csi = c;
        p->registrar = plugin_client(c, path);
        timer_init(&p->again, c->agent->cfg.loop, on_again);
        p->path_text = str_dupz(path);
        p->path = str_of(p->path_text);
        (void)map_put(&c->plugins, path, p);
    } else if (p->inode != inode || p->changed != changed) {
        plugin_stop(p);
        p->gap = 0;
    } else {
        p->seen = true;
        return;
    }
    p->seen = true;
    p->inode = inode;
    p->changed = changed;
    plugin_ask(p);
}

struct found_socket {
    struct str path;
    uint64_t inode;
    int64_t changed;
};
struct plugin_look {
    struct job job;
    struct csi *csi;
    struct arena arena;
    ARRAY(struct found_socket) sockets;
    ARRAY(struct str) folders;
};

static void folder_look(struct plugin_look *k, struct str folder, int depth)
{
    DIR *dir = opendir(folder.p);
    array_push(&k->folders, folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* hidden, or gone again */
        struct str path = arena_fmt(&k->arena, STR_FMT "/%s", STR_ARG(folder), e->d_name);
        if (S_ISDIR(st.st_mode) && depth > 0)
            folder_look(k, path, depth - 1);
        else if (S_ISSOCK(st.st_mode) && k->sockets.n < SOCKETS_MOST && path.n <= CSI_ENDPOINT_MOST)
            array_push(&k->sockets,
                       ((struct found_socket){path, st.st_ino, st.st_ctim.tv_sec * NS_PER_S + st.st_ctim.tv_nsec}));
    }
    if (dir)
        (void)closedir(dir);
}

static void look_work(struct job *j)
{
    struct plugin_look *k = container_of(j, struct plugin_look, job);
    folder_look(k, str_dup(&k->arena, k->csi->registry), FOLDERS_DEEP);
}

static void plugins_look(struct csi *c);
static void csi_release(struct csi *c);

static void look_done(struct job *j)
{
    struct plugin_look *k = container_of(j, struct plugin_look, job);
    struct csi *c = k->csi;
    struct err err = ERR;
    c->listing = false;
    if (c->dead) {
        csi_release(c);
    } else {
        map_each (e, &c->plugins)
            ((struct csi_plugin *)e->value)->seen = false;
        array_each (s, &k->sockets)
            plugin_came(c, s->path, s->inode, s->changed);
        map_each (e, &c->plugins) {
            struct csi_plugin *p = e->value;
            if (!p->seen) {
                (void)map_del(&c->plugins, p->path);
                plugin_free(p);
            }
        }
        array_each (f, &k->folders) /* those that are watched already are the same watch */
            if (c->watches && inotify_add(&c->changes, f->p,
                                          IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR, &err) < 0)
                log_debug("csi.registration", "folder=" STR_FMT " error=\"%s\"", STR_ARG(*f), err.text);
        c->stale |= k->folders.n > c->folders; /* sockets may have come before such a one was watched */
        c->folders = k->folders.n;
        if (c->stale)
            plugins_look(c);
    }
    array_fini(&k->sockets);
    array_fini(&k->folders);
    arena_fini(&k->arena);
    mem_free(k);
}

static void plugins_look(struct csi *c)
{
    c->stale = c->listing;
    if (c->listing)
        return;
    struct plugin_look *k = NEW(struct plugin_look);
    k->csi = c;
    c->listing = true;
    job_start(&k->job, c->agent->cfg.loop, look_work, look_done);
}

static void on_change(struct inotify *i, UNUSED int watch, uint32_t mask, UNUSED struct str name)
{
    if (!(mask & IN_IGNORED))
        plugins_look(container_of(i, struct csi, changes));
}

bool csi_plugins_start(struct csi *c, struct err *err)
{
    c->watches = inotify_start(&c->changes, c->agent->cfg.loop, on_change, err);
    if (c->watches && inotify_add(&c->changes, c->registry.p,
                                  IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR, err) < 0) {
        inotify_stop(&c->changes);
        c->watches = false;
    }
    if (c->watches)
        plugins_look(c);
    return c->watches;
}

static void csi_release(struct csi *c)
{
    arena_fini(&c->arena);
    mem_free(c);
}

void csi_plugins_stop(struct csi *c)
{
    if (c->watches)
        inotify_stop(&c->changes);
    c->watches = false;
    c->dead = true;
    map_each (e, &c->plugins)
        plugin_free(e->value);
    map_fini(&c->plugins);
    map_fini(&c->drivers);
    if (!c->listing && !c->finding)
        csi_release(c);
}
