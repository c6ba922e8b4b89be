#include "base/log.h"
#include "node/agent_int.h"
#include <sys/inotify.h>
#include <unistd.h>

/* What a pod waits for on the host's disks. A pod whose volume needs a path of the host that is not there is tried
 * again with growing gaps, as every pod whose volumes fail; the nearest folder above that path is watched besides, so
 * that it starts as soon as the path appears.
 */

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The first path that a volume of the pod wants and that is missing, newly allocated; NULL: none. */
static char *missing_of(const struct agent_pod *ap)
{
    val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes))) {
        struct str path = val_text_at(v, N(hostPath), N(path));
        AUTO_FREE char *z = path.n ? str_dupz(path) : NULL;
        if (z && !is_there(z))
            return TAKE(z);
    }
    return NULL;
}

/* The nearest folder above `path` that exists; any change in it may be the next part of the path. */
static bool watch_above(struct agent *g, const char *path)
{
    AUTO_FREE char *z = str_dupz(str_of(path));
    struct err err = ERR;
    do {
        char *slash = strrchr(z, '/');
        if (!slash)
            return false;
        slash[slash == z] = 0;
    } while (!is_there(z));
    if (inotify_add(&g->hostpaths, z, IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONESHOT, &err) >= 0)
        return true;
    log_debug("pod.hostpath", "path=%s error=\"%s\"", z, err.text); /* the growing gaps remain */
    return false;
}

static void retry(struct agent_pod *ap)
{
    pod_retry(ap->facts);
    agent_pod_kick(ap);
}

void hostpaths_forget(struct agent_pod *ap)
{
    mem_free(ap->host_missing);
    ap->host_missing = NULL;
}

void hostpaths_wait(struct agent_pod *ap)
{
    hostpaths_forget(ap);
    ap->host_missing = ap->agent->watches_paths ? missing_of(ap) : NULL;
    if (ap->host_missing && watch_above(ap->agent, ap->host_missing) && is_there(ap->host_missing))
        retry(ap); /* it came while the watch was being made */
}

static void on_change(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    struct agent *g = container_of(i, struct agent, hostpaths);
    (void)name;
    if (mask & IN_IGNORED)
        return;
    if (watch == g->names_watch) {
        images_came(g);
        return;
    }
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (!ap->host_missing)
            continue;
        if (is_there(ap->host_missing))
            retry(ap);
        else
            (void)watch_above(g, ap->host_missing); /* each watch ends with its first news */
    }
}

void hostpaths_start(struct agent *g)
{
    struct err err = ERR;
    g->watches_paths = inotify_start(&g->hostpaths, g->cfg.loop, on_change, &err);
    if (!g->watches_paths)
        log_warn("node.hostpaths", "paths of the host are looked for with growing gaps alone: error=\"%s\"",
                 err.text);
    AUTO(arena_fini) struct arena a = ARENA;
    struct str refs = arena_fmt(&a, "%s/refs", g->cfg.content);
    g->names_watch = g->watches_paths ? inotify_add(&g->hostpaths, refs.p, IN_MOVED_TO, &err) : -1;
    if (g->watches_paths && g->names_watch < 0)
        log_warn("node.images", "images that are loaded are looked for with growing gaps alone: error=\"%s\"",
                 err.text);
}

void hostpaths_stop(struct agent *g)
{
    if (g->watches_paths)
        inotify_stop(&g->hostpaths);
    g->watches_paths = false;
}
