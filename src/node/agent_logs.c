#include "base/log.h"
#include "node/agent_int.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>

/* --- logs that are full ---------------------------------------------------------------------------------------- */

#define LOGS_KEPT 4 /* 0.log and four older ones, as a kubelet keeps five */

struct rotate {
    struct job job;
    char log[600], id[65];
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
    for (int i = LOGS_KEPT; i-- > 0;) {
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
    (void)snprintf(r->log, sizeof r->log, STR_FMT, STR_ARG(container_log(c)));
    (void)snprintf(r->id, sizeof r->id, STR_FMT, STR_ARG(container_id(c)));
    job_start(&r->job, g->cfg.loop, rotate_work, rotate_done);
}
