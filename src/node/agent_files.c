/* Small files of containers in the node's own folders: what is there before a start, what is read after an end, logs
 * that are full. All of it is done in the agent's own lane (agent.files): in order, one after another, and waiting
 * for nothing but the disk that these folders are on - the pool may be removing a volume of a million files
 * meanwhile.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/env.h"
#include "node/env_file.h"
#include "node/hooks.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define TERMINATION_MOST      4096       /* bytes of a termination message from a file */
#define TERMINATIONS_MOST     (12 << 10) /* and of those of all containers of a pod together */
#define TERMINATION_LOG_MOST  2048       /* and of one from the log */
#define TERMINATION_LOG_LINES 80

struct str agent_termination_file(struct agent_container *ac, struct arena *a)
{
    return arena_fmt(a, STR_FMT "/containers/" STR_FMT "/termination-log", STR_ARG(ac->ap->dir),
                     STR_ARG(agent_wanted(ac)->name));
}

/* --- before a start --- */

struct making {
    struct job job;
    struct agent_container *ac;
    struct arena arena;
    struct str termination, logs;
    gid_t relay_gid;
    bool ok;
    struct err err;
    void (*done)(struct agent_container *ac, const struct err *err);
};

/* The folder of its logs, which the relay may read: files made in it are of its group (set-group-id). */
static bool make_logs(const struct making *m, struct err *err)
{
    if (!dir_make(m->logs.p, 0755, err))
        return false;
    AUTO(fd_close) int fd = file_open_below(m->logs.p, LOG_FOLDERS, O_RDONLY | O_DIRECTORY, 0);
    return (fd >= 0 && fchown(fd, 0, m->relay_gid) == 0 && fchmod(fd, 02755) == 0) || err_errno(err, "%s", m->logs.p);
}

static bool make_termination(const struct making *m, struct err *err)
{
    struct str dir = str_sub(m->termination, 0, (size_t)str_rfind_char(m->termination, '/'));
    AUTO_FREE char *z = str_dupz(dir);
    if (!dir_make(z, 0755, err))
        return false;
    AUTO(fd_close) int fd = open(m->termination.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    return (fd >= 0 && fchmod(fd, 0666) == 0) || err_errno(err, "%s", m->termination.p);
}

static void making_work(struct job *j)
{
    struct making *m = container_of(j, struct making, job);
    m->ok = make_termination(m, &m->err) && make_logs(m, &m->err);
}

static void making_done(struct job *j)
{
    fault_pass("node.saw.files");
    struct making *m = container_of(j, struct making, job);
    m->done(m->ac, m->ok ? NULL : &m->err);
    arena_fini(&m->arena);
    mem_free(m);
}

void files_make(struct agent_container *ac, struct str termination, struct str logs,
                void (*done)(struct agent_container *ac, const struct err *err))
{
    struct making *m = NEW(struct making);
    m->ac = ac;
    m->termination = str_dup(&m->arena, termination);
    m->logs = str_dup(&m->arena, logs);
    m->relay_gid = ac->ap->agent->cfg.relay_gid;
    m->done = done;
    lane_start(ac->ap->agent->files, &m->job, making_work, making_done);
}

struct variables {
    struct job job;
    struct agent_container *ac;
    struct arena *arena;
    ARRAY(struct env_file) files;
    ARRAY(struct str) roots; /* of each one's volume; empty: there is none */
    void (*done)(struct agent_container *ac, struct env_file *files, size_t n);
};

static void variables_work(struct job *j)
{
    struct variables *v = container_of(j, struct variables, job);
    for (size_t i = 0; i < v->files.n; i++) {
        struct env_file *f = &v->files.p[i];
        if (!env_file_load(v->arena, v->roots.p[i].p, f->path, &f->text, &f->err))
            ASSERT(f->err.kind);
    }
}

static void variables_done(struct job *j)
{
    struct variables *v = container_of(j, struct variables, job);
    struct env_file *files = arena_alloc(v->arena, (v->files.n + 1) * sizeof *files);
    if (v->files.n)
        memcpy(files, v->files.p, v->files.n * sizeof *files);
    v->done(v->ac, files, v->files.n);
    array_fini(&v->files);
    array_fini(&v->roots);
    mem_free(v);
}

static bool is_known(const struct variables *v, struct str volume, struct str path)
{
    array_each (f, &v->files)
        if (str_eq(f->volume, volume) && str_eq(f->path, path))
            return true;
    return false;
}

/* Volumes are as the pod sees them: one in memory is mounted in its own mount namespace alone. */
static void variables_add(struct variables *v, const struct val *ref)
{
    struct agent_pod *ap = v->ac->ap;
    struct str volume = val_text_at(ref, N(volumeName)), path = val_text_at(ref, N(path)), at;
    bool read_only;
    if (is_known(v, volume, path) || !volumes_path(ap, v->arena, volume, &at, &read_only))
        return;
    array_push(&v->files, ((struct env_file){.volume = str_dup(v->arena, volume), .path = str_dup(v->arena, path)}));
    array_push(&v->roots, arena_fmt(v->arena, "/proc/%d/root" STR_FMT, (int)sandbox_pid(ap->sandbox), STR_ARG(at)));
}

void files_variables(struct agent_container *ac, struct arena *a,
                     void (*done)(struct agent_container *ac, struct env_file *files, size_t n))
{
    struct variables *v = NEW(struct variables);
    v->ac = ac;
    v->arena = a;
    v->done = done;
    val_each_item (e, val_get(agent_wanted(ac)->spec, N(env))) {
        const struct val *ref = val_at(e, N(valueFrom), N(fileKeyRef));
        if (ref && ac->ap->sandbox)
            variables_add(v, ref);
    }
    if (v->files.n)
        agent_job_long(ac->ap->agent, &v->job, variables_work, variables_done);
    else
        variables_done(&v->job);
}

struct linking {
    struct job job;
    struct agent_container *ac;
    struct arena arena;
    struct str to, link, folder;
    void (*done)(struct agent_container *ac);
};

static void linking_work(struct job *j)
{
    struct linking *k = container_of(j, struct linking, job);
    struct err err = ERR;
    bool linked = symlink(k->to.p, k->link.p) == 0;
    if (!linked && errno == ENOENT) /* nobody has made the folder yet, or somebody has removed it */
        linked = dir_make(k->folder.p, 0755, &err) && symlink(k->to.p, k->link.p) == 0;
    if (!linked && errno != EEXIST) /* the log itself is there; collectors go without this one */
        log_warn("log.link", "link=%s error=\"%s\"", k->link.p, err.text[0] ? err.text : strerror(errno));
}

static void linking_done(struct job *j)
{
    struct linking *k = container_of(j, struct linking, job);
    k->done(k->ac);
    arena_fini(&k->arena);
    mem_free(k);
}

void files_link_log(struct agent_container *ac, void (*done)(struct agent_container *ac))
{
    struct agent_pod *ap = ac->ap;
    struct linking *k = NEW(struct linking);
    k->ac = ac;
    k->to = str_dup(&k->arena, container_log(ac->run));
    struct str rest = arena_fmt(&k->arena, "_" STR_FMT "_" STR_FMT "-" STR_FMT ".log", STR_ARG(ap->pod->ns),
                                STR_ARG(agent_wanted(ac)->name), STR_ARG(container_id(ac->run)));
    struct str name = str_sub(ap->pod->name, 0, rest.n < NAME_MAX ? NAME_MAX - rest.n : 0);
    k->folder = arena_fmt(&k->arena, "%s/containers", ap->agent->cfg.log);
    k->link = STR_JOIN(&k->arena, k->folder, S("/"), name, rest);
    k->done = done;
    lane_start(ap->agent->files, &k->job, linking_work, linking_done);
}

/* --- after an end --- */

struct last_words {
    struct job job;
    struct agent_pod *ap;
    int index;
    struct arena arena;
    struct str id, termination, log; /* log empty: it is not asked */
    size_t most;
    bool with_start, told;
    struct container_status status;
    struct str text;
};

/* The end of a file, however long the container made it; empty where there is none. */
static struct str file_tail(struct arena *a, struct str path, size_t most)
{
    AUTO(fd_close) int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return S("");
    char *to = arena_alloc(a, most);
    ssize_t n = pread(fd, to, most, MAX(st.st_size - (off_t)most, 0));
    return n > 0 ? (struct str){to, (size_t)n} : S("");
}

/* From its file, or, where asked for and it failed, the end of its log. */
static void words_work(struct job *j)
{
    struct last_words *w = container_of(j, struct last_words, job);
    w->text = file_tail(&w->arena, w->termination, w->most);
    if (!w->text.n && w->log.n)
        w->text = hooks_log_tail(&w->arena, w->log, TERMINATION_LOG_LINES, MIN(w->most, TERMINATION_LOG_MOST));
}

static void words_tell(struct last_words *w, struct str text)
{
    struct pod *facts = w->ap->facts;
    const struct container_status *s = &w->status;
    int64_t now = clock_mono();
    if (w->told)
        return;
    w->told = true;
    w->ap->containers.p[w->index]->words = NULL;
    if (w->with_start)
        pod_saw_running(facts, w->index, w->id, s->started_ns, now);
    bool known = w->ap->pod->containers.p[w->index].run == RUN_EXITED;
    pod_saw_exit(facts, w->index, w->id, s->code, s->oom, text, s->started_ns, s->finished_ns, now);
    if (!known && w->ap->pod->containers.p[w->index].run == RUN_EXITED)
        agent_count_ending(w->ap->containers.p[w->index]);
}

static void words_done(struct job *j)
{
    fault_pass("node.saw.words");
    struct last_words *w = container_of(j, struct last_words, job);
    struct agent_pod *ap = w->ap;
    words_tell(w, w->text);
    arena_fini(&w->arena);
    mem_free(w);
    agent_pod_release(ap);
}

void files_last_words(struct agent_container *ac, enum words_how how)
{
    struct agent_pod *ap = ac->ap;
    struct last_words *w = NEW(struct last_words);
    ac->words = w;
    w->ap = ap;
    w->index = ac->index;
    w->with_start = how == WORDS_WITH_START;
    container_status(ac->run, &w->status);
    w->id = str_dup(&w->arena, container_id(ac->run));
    w->termination = agent_termination_file(ac, &w->arena);
    w->most = MIN(TERMINATION_MOST, TERMINATIONS_MOST / MAX(ap->containers.n, 1));
    if (w->status.code != 0 &&
        str_eq(val_text_at(agent_wanted(ac)->spec, N(terminationMessagePolicy)), S("FallbackToLogsOnError")))
        w->log = str_dup(&w->arena, container_log(ac->run));
    ap->pending++;
    if (how == WORDS_AT_ONCE) {
        words_work(&w->job);
        words_done(&w->job);
    } else {
        lane_start(ap->agent->files, &w->job, words_work, words_done);
    }
}

void files_words_unread(struct agent_pod *ap)
{
    array_each (ac, &ap->containers)
        if ((*ac)->words)
            words_tell((*ac)->words, S(""));
}

/* --- logs that are full ---------------------------------------------------------------------------------------- */

struct rotate {
    struct job job;
    char log[600], id[65];
    int older; /* files that are kept beside the one that is written */
    struct agent *agent;
};

/* N.log becomes N.log.1, which becomes N.log.2 ... : readers that follow the open file lose nothing. */
static void rotate_work(struct job *j)
{
    struct rotate *r = container_of(j, struct rotate, job);
    char from[620], to[620];
    char *name = strrchr(r->log, '/');
    *name++ = 0;
    AUTO(fd_close) int dir = file_open_below(r->log, LOG_FOLDERS, O_PATH | O_DIRECTORY, 0);
    for (int i = r->older; i-- > 0;) {
        if (i)
            (void)snprintf(from, sizeof from, "%s.%d", name, i);
        else
            (void)snprintf(from, sizeof from, "%s", name);
        (void)snprintf(to, sizeof to, "%s.%d", name, i + 1);
        if (renameat(dir, from, dir, to) < 0 && errno != ENOENT) /* then it grows on, and the next line asks again */
            log_warn("log.rotate", "log=%s/%s error=\"%s\"", r->log, from, strerror(errno));
    }
}

static void rotate_done(struct job *j)
{
    struct rotate *r = container_of(j, struct rotate, job);
    struct container *c = container_find(r->agent->runtime, str_of(r->id));
    if (c)
        container_log_reopen(c);
    mem_free(r);
}

void logs_full(void *arg, struct container *c)
{
    struct agent *g = arg;
    struct rotate *r = NEW(struct rotate);
    r->agent = g;
    r->older = MAX(g->cfg.log_files - 1, 1);
    (void)snprintf(r->log, sizeof r->log, STR_FMT, STR_ARG(container_log(c)));
    (void)snprintf(r->id, sizeof r->id, STR_FMT, STR_ARG(container_id(c)));
    lane_start(g->files, &r->job, rotate_work, rotate_done);
}
