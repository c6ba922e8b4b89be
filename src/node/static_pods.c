/* The life of static pods. A file says what runs here; whoever changes it ends the pod of the old content first, with
 * its grace period, and then the new one starts. The API's object of the same name only shows it (kubelet: mirror
 * pod): it is made anew when somebody deletes it, and goes when the pod has gone. Its uid is another one than the
 * pod's.
 *
 * The folder is watched and read whole after each change; nothing is read while nothing changes. The one around it is
 * watched, too: who moves the folder away ends all its pods, and who puts one back starts what is in there. */
#include "node/static_pods.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/named.h"
#include "node/shutdown.h"
#include "node/static_manifest.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define FILES_MOST     500
#define FOLDER_CHANGES (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)
#define FILE_CHANGES   (FOLDER_CHANGES | IN_CLOSE_WRITE | IN_ATTRIB)
#define TARGET_CHANGES (IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF) /* of what a link leads to */
#define QUIET          (100 * NS_PER_MS) /* whoever writes a file does so in more than one step */
#define RETRY_FIRST    NS_PER_S
#define RETRY_MOST     (4 * NS_PER_S)

struct static_pod { /* by "NS/NAME"; lives as long as one of these is there */
    struct statics *all;
    char *key;
    struct obj *want;     /* what its file says; NULL: no file does */
    struct agent_pod *ap; /* what runs; NULL: nothing does */
    struct obj *mirror;   /* NULL: the API has none */
    bool seen;            /* by the reading that is being gone through */
    struct call make_call, drop_call;
    struct timer again;
    int64_t gap;
    char told[sizeof((struct err *)0)->text]; /* why there is no mirror: once a reason */
};
struct static_targets { /* watches of files that links in the folder lead to */
    ARRAY(int) list;
};
struct statics {
    struct agent *agent;
    char *folder;
    char *around, *name; /* the folder that it is in, and what it is called there */
    struct inotify notify;
    int watch, around_watch; /* -1: none */
    struct static_targets targets;
    bool notifying, begun, reading, stale;
    struct timer quiet;
    struct map pods; /* "NS/NAME" -> struct static_pod */
    struct map told; /* path -> what is wrong with it, as last told */
};

/* --- reading --- */

struct static_file {
    struct str path;
    struct obj *pod; /* NULL: err */
    struct err err;
    bool is_link;
};
struct static_reading {
    struct job job;
    struct statics *all;
    struct arena arena;
    struct str folder, node;
    ARRAY(struct static_file) files;
    bool whole; /* else nothing is known, and nothing ends for it */
    bool more;  /* there are more files than are looked at */
};

static void read_one(struct static_reading *r, int dir, const char *name)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STATIC_MANIFEST_MOST + 1);
    struct static_file f = {.path = arena_fmt(&r->arena, STR_FMT "/%s", STR_ARG(r->folder), name)};
    struct stat st;
    /* Opened before it is looked at, and without waiting: a pipe may come in place of a file at any time. */
    AUTO(fd_close) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 ? errno == ENOENT || errno == ENXIO : fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return; /* gone again; folders, sockets and pipes are no manifests, a link to a file is one */
    f.is_link = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    if (!(fd < 0 ? err_errno(&f.err, "open %s", name) : file_read_fd(fd, name, &text, &f.err)) ||
        !static_manifest_read(strbuf_str(&text), f.path, r->node, clock_real(), &f.pod, &f.err))
        f.pod = NULL; /* err is told */
    array_push(&r->files, f);
}

static int by_path(const void *a, const void *b)
{
    return str_cmp(((const struct static_file *)a)->path, ((const struct static_file *)b)->path);
}

static void reading_work(struct job *j)
{
    struct static_reading *r = container_of(j, struct static_reading, job);
    DIR *dir = opendir(r->folder.p);
    r->whole = dir || errno == ENOENT; /* no folder, no pods */
    for (struct dirent *e; dir && !r->more && (e = readdir(dir));) {
        if (e->d_name[0] == '.') /* as editors and a kubelet have it */
            continue;
        if (r->files.n < FILES_MOST)
            read_one(r, dirfd(dir), e->d_name);
        else
            r->more = true;
    }
    if (dir)
        (void)closedir(dir);
    if (r->files.n)
        qsort(r->files.p, r->files.n, sizeof *r->files.p, by_path);
}

static struct static_reading *reading_new(struct statics *s)
{
    struct static_reading *r = NEW(struct static_reading);
    r->all = s;
    r->folder = str_dup(&r->arena, str_of(s->folder));
    r->node = str_dup(&r->arena, str_of(s->agent->cfg.name));
    return r;
}

static void reading_free(struct static_reading *r)
{
    array_each (f, &r->files)
        obj_unref(f->pod);
    array_fini(&r->files);
    arena_fini(&r->arena);
    mem_free(r);
}

/* --- one pod and its mirror --- */

static void mirror_look(struct static_pod *p);

static void again_later(struct static_pod *p)
{
    p->gap = p->gap ? MIN(2 * p->gap, RETRY_MOST) : RETRY_FIRST;
    timer_set(&p->again, p->gap);
}

static void mirror_made(struct call *c)
{
    struct static_pod *p = container_of(c, struct static_pod, make_call);
    if (c->ok) {
        p->gap = 0;
        p->told[0] = 0;
        return; /* the cache tells of it */
    }
    if (p->ap && strcmp(p->told, c->err.text) != 0) {
        memcpy(p->told, c->err.text, sizeof p->told);
        agent_eventf(p->ap, -1, true, "FailedMirror", "Failed to create a mirror pod: %s", c->err.text);
        log_warn("static.mirror", "pod=%s error=\"%s\"", p->key, c->err.text);
    }
    again_later(p);
}

static void mirror_dropped(struct call *c)
{
    struct static_pod *p = container_of(c, struct static_pod, drop_call);
    if (!c->ok && c->err.kind != E_NOT_FOUND && c->err.kind != E_CONFLICT)
        again_later(p);
}

static void mirror_make(struct static_pod *p)
{
    struct agent *g = p->all->agent;
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    struct val body;
    if (!node || call_active(&p->make_call)) /* statics_begin waits for the Node; it may have been deleted since */
        return;
    static_mirror(&a, p->ap->pod->obj, node, &body);
    call_start(&p->make_call, g->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(Pod), .ns = p->ap->pod->ns, .body = &body));
}

static void mirror_drop(struct static_pod *p)
{
    if (!call_active(&p->drop_call))
        call_start(&p->drop_call, p->all->agent->cfg.transport,
                   &(struct call_options){.verb = CALL_DELETE,
                                          .kind = K(Pod),
                                          .ns = p->mirror->ns,
                                          .name = p->mirror->name,
                                          .grace_s = 0,
                                          .expect_uid = p->mirror->uid});
}

/* What the API shows is what runs, or nothing. */
static void mirror_look(struct static_pod *p)
{
    if (!p->all->begun)
        return;
    bool fits = p->mirror && p->ap && !obj_deleting(p->mirror) &&
                str_eq(obj_note(p->mirror, STATIC_MIRROR_NOTE), p->ap->pod->uid);
    if (p->mirror && !fits)
        mirror_drop(p);
    else if (!p->mirror && p->ap)
        mirror_make(p);
}

static void on_again(struct timer *t)
{
    mirror_look(container_of(t, struct static_pod, again));
}

static struct static_pod *pod_at(struct statics *s, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(600);
    (void)objset_key(&key, ns, name);
    struct static_pod *p = map_get(&s->pods, strbuf_str(&key));
    if (p)
        return p;
    p = NEW(struct static_pod);
    p->all = s;
    p->key = str_dupz(strbuf_str(&key));
    p->make_call.done = mirror_made;
    p->drop_call.done = mirror_dropped;
    timer_init(&p->again, s->agent->cfg.loop, on_again);
    (void)map_put(&s->pods, str_of(p->key), p);
    return p;
}

static void pod_forget(struct static_pod *p)
{
    (void)map_del(&p->all->pods, str_of(p->key));
    call_cancel(&p->make_call);
    call_cancel(&p->drop_call);
    timer_stop(&p->again);
    obj_unref(p->want);
    obj_unref(p->mirror);
    mem_free(p->key);
    mem_free(p);
}

static bool by_shutdown(struct str reason)
{
    return str_eqz(reason, "Terminated") || str_eqz(reason, "NodeShutdown");
}

/* Ended or turned away for a shutdown that does not come, or is over: nobody else makes it anew. */
static bool is_due_again(const struct static_pod *p)
{
    const char *reason = p->ap ? p->ap->pod->fail_reason : NULL;
    return reason && by_shutdown(str_of(reason)) && !shutdown_is_on(p->all->agent->shutdown);
}

static void pod_run(struct static_pod *p)
{
    const struct val *status = p->mirror && str_eq(obj_note(p->mirror, STATIC_MIRROR_NOTE), p->want->uid)
                                   ? obj_status(p->mirror)
                                   : NULL;
    if (by_shutdown(val_text_at(status, N(reason))) && !shutdown_is_on(p->all->agent->shutdown))
        status = NULL;
    AUTO(obj_unref) struct obj *o = status ? static_resumed(p->want, status) : obj_ref(p->want);
    p->ap = agent_add_static(p->all->agent, o);
    p->ap->of_file = p;
}

/* Runs what is wanted, ends what is not, forgets what is neither. */
static void pod_look(struct static_pod *p)
{
    if (!p->all->begun)
        return;
    bool stays = p->ap && p->want && str_eq(p->want->uid, p->ap->pod->uid) && !is_due_again(p);
    if (p->ap && !stays && !obj_deleting(p->ap->pod->obj)) {
        AUTO(obj_unref) struct obj *ending = static_ending(p->ap->pod->obj, clock_real());
        pod_wanted(p->ap->facts, ending, clock_mono());
        agent_pod_kick(p->ap);
    }
    if (!p->ap && p->want)
        pod_run(p);
    mirror_look(p);
    if (!p->ap && !p->want && !p->mirror && !call_active(&p->make_call))
        pod_forget(p);
}

/* --- all of them --- */

static void tell_file(struct statics *s, struct str path, const char *why)
{
    const struct obj *node = cache_peek(s->agent->nodes, S(""), str_of(s->agent->cfg.name));
    AUTO(arena_fini) struct arena a = ARENA;
    char *was = map_get(&s->told, path);
    if (was && strcmp(was, why) == 0)
        return;
    mem_free(map_put(&s->told, path, mem_dupz(why)));
    log_warn("static.file", "file=" STR_FMT " error=\"%s\"", STR_ARG(path), why);
    if (node)
        events_record(s->agent->events, node, S(""), "Warning", "StaticPodInvalid", NULL,
                      arena_fmt(&a, "Cannot run the static pod of " STR_FMT ": %s", STR_ARG(path), why));
}

static void take_file(struct statics *s, struct static_file *f)
{
    if (!f->pod) {
        tell_file(s, f->path, f->err.text);
        return;
    }
    struct static_pod *p = pod_at(s, f->pod->ns, f->pod->name);
    if (p->seen) {
        tell_file(s, f->path, "another file has a pod of the same name and namespace");
        return;
    }
    mem_free(map_del(&s->told, f->path));
    p->seen = true;
    if (p->want && str_eq(p->want->uid, f->pod->uid))
        return;
    obj_unref(p->want);
    p->want = obj_ref(f->pod);
}

static bool reading_has(const struct static_reading *r, struct str path)
{
    array_each (f, &r->files)
        if (str_eq(f->path, path))
            return true;
    return r->more && str_eq(path, r->folder);
}

/* What was wrong with files that are not there any more: the next of that name is told anew. */
static void forget_told(const struct static_reading *r)
{
    map_each (e, &r->all->told)
        if (!reading_has(r, e->key))
            mem_free(map_del(&r->all->told, e->key));
}

static bool targets_have(const struct static_targets *t, int watch)
{
    array_each (w, &t->list)
        if (*w == watch)
            return true;
    return false;
}

/* The files that links lead to may lie in any folder. One that is new here may have changed since it was read. */
static void watch_targets(const struct static_reading *r)
{
    struct statics *s = r->all;
    struct static_targets now = {0};
    struct err ignored = ERR; /* it leads nowhere, or there are no watches left: then a restart sees it */
    array_each (f, &r->files) {
        int w = f->is_link && s->notifying ? inotify_add(&s->notify, f->path.p, TARGET_CHANGES, &ignored) : -1;
        if (w < 0 || targets_have(&now, w))
            continue;
        array_push(&now.list, w);
        if (!targets_have(&s->targets, w))
            timer_set(&s->quiet, QUIET);
    }
    array_each (w, &s->targets.list)
        if (!targets_have(&now, *w))
            inotify_del(&s->notify, *w);
    array_fini(&s->targets.list);
    s->targets = now;
}

static void take_all(struct static_reading *r)
{
    struct statics *s = r->all;
    watch_targets(r);
    map_each (e, &s->pods)
        ((struct static_pod *)e->value)->seen = false;
    array_each (f, &r->files)
        take_file(s, f);
    if (r->more)
        tell_file(s, r->folder,
                  arena_fmt(&r->arena, "it has more than %d files, and no others are looked at", FILES_MOST).p);
    forget_told(r);
    map_each (e, &s->pods) {
        struct static_pod *p = e->value;
        if (!p->seen) {
            obj_unref(p->want);
            p->want = NULL;
        }
    }
    map_each (e, &s->pods)
        pod_look(e->value);
}

static void reading_done(struct job *j)
{
    struct static_reading *r = container_of(j, struct static_reading, job);
    struct statics *s = r->all;
    if (r->whole)
        take_all(r);
    reading_free(r);
    s->reading = false;
    if (s->stale)
        timer_set(&s->quiet, QUIET);
    s->stale = false;
}

static void tell_unwatched(const struct statics *s, const struct err *err)
{
    log_warn("static.folder", "folder=%s is not watched: error=\"%s\"", s->folder, err->text);
}

/* The folder may be another one than that which was watched so far, or none. Before it is read: what changes since
 * then is told. */
static void watch_folder(struct statics *s)
{
    struct err err = ERR;
    int was = s->watch;
    s->watch = s->notifying ? inotify_add(&s->notify, s->folder, FILE_CHANGES, &err) : -1;
    if (s->watch < 0 && s->notifying && err.sys != ENOENT) /* what is around it tells when it comes */
        tell_unwatched(s, &err);
    if (was >= 0 && was != s->watch)
        inotify_del(&s->notify, was); /* it lives on under another name, or has gone */
}

static void on_quiet(struct timer *t)
{
    struct statics *s = container_of(t, struct statics, quiet);
    if (s->reading) {
        s->stale = true;
        return;
    }
    s->reading = true;
    watch_folder(s);
    lane_start(s->agent->files, &reading_new(s)->job, reading_work, reading_done);
}

static void on_change(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    (void)mask;
    struct statics *s = container_of(i, struct statics, notify);
    if (watch < 0 || watch != s->around_watch || str_eqz(name, s->name))
        timer_set(&s->quiet, QUIET);
}

static void split_path(struct statics *s)
{
    struct str path = str_of(s->folder);
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    ptrdiff_t slash = str_rfind_char(path, '/');
    s->around = slash < 0 ? mem_dupz(".") : str_dupz(str_sub(path, 0, slash ? (size_t)slash : 1));
    s->name = str_dupz(str_sub(path, (size_t)(slash + 1), path.n));
}

struct statics *statics_new(struct agent *g, const char *folder)
{
    struct err err = ERR;
    if (!folder || !folder[0])
        return NULL;
    struct statics *s = NEW(struct statics);
    s->agent = g;
    s->folder = mem_dupz(folder);
    split_path(s);
    s->watch = s->around_watch = -1;
    timer_init(&s->quiet, g->cfg.loop, on_quiet);
    s->notifying = dir_make(folder, 0700, &err) && inotify_start(&s->notify, g->cfg.loop, on_change, &err);
    if (s->notifying)
        s->around_watch = inotify_add(&s->notify, s->around, FOLDER_CHANGES, &err);
    if (s->around_watch < 0) /* what is there now runs; changes may take a restart */
        tell_unwatched(s, &err);
    watch_folder(s);
    struct static_reading *r = reading_new(s);
    reading_work(&r->job); /* before anything else is looked at; files of the node's own /etc */
    if (r->whole)
        take_all(r);
    reading_free(r);
    return s;
}

void statics_begin(struct statics *s)
{
    if (!s)
        return;
    s->begun = true;
    map_each (e, &s->pods)
        pod_look(e->value);
}

void statics_mirror(struct statics *s, const struct obj *was, struct obj *now)
{
    const struct obj *o = now ? now : was;
    if (!s)
        return;
    struct static_pod *p = pod_at(s, o->ns, o->name);
    if (!now && p->mirror && !str_eq(p->mirror->uid, was->uid))
        return; /* one that had gone before */
    if (now && p->mirror && str_eq(p->mirror->uid, now->uid) && now->rev <= p->mirror->rev)
        return;
    obj_unref(p->mirror);
    p->mirror = now ? obj_ref(now) : NULL;
    if (p->ap)
        agent_pod_kick(p->ap);
    pod_look(p);
}

const struct obj *statics_shown(const struct agent_pod *ap)
{
    const struct static_pod *p = ap->of_file;
    bool fits = p->mirror && !obj_deleting(p->mirror) &&
                str_eq(obj_note(p->mirror, STATIC_MIRROR_NOTE), ap->pod->uid);
    return fits ? p->mirror : NULL;
}

void statics_written(struct agent_pod *ap, struct obj *shown)
{
    struct static_pod *p = ap->of_file;
    if (!p->mirror || !str_eq(p->mirror->uid, shown->uid) || shown->rev <= p->mirror->rev)
        return;
    obj_unref(p->mirror);
    p->mirror = obj_ref(shown);
}

void statics_over(struct agent_pod *ap)
{
    struct static_pod *p = ap->of_file;
    p->ap = NULL;
    ap->of_file = NULL;
    agent_static_gone(ap);
    pod_look(p);
}

void statics_look(struct statics *s)
{
    if (s)
        map_each (e, &s->pods)
            pod_look(e->value);
}

void statics_free(struct statics *s)
{
    if (!s)
        return;
    if (s->notifying)
        inotify_stop(&s->notify);
    timer_stop(&s->quiet);
    map_each (e, &s->told)
        mem_free(e->value);
    map_fini(&s->told);
    map_each (e, &s->pods)
        pod_forget(e->value);
    map_fini(&s->pods);
    array_fini(&s->targets.list);
    mem_free(s->folder);
    mem_free(s->around);
    mem_free(s->name);
    mem_free(s);
}
