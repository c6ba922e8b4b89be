/* The status of quotas: a picture of the sums, written behind what changes them. */
#include "api/quantity.h"
#include "api/usage.h"
#include "base/log.h"
#include "server/fail.h"
#include "server/quota_int.h"

/* What somebody else wrote stands for a while, as upstream's does. */
#define FOREIGN_AFTER NS_PER_S
#define AGAIN_AFTER   NS_PER_S /* a status that could not be written */

static bool is_served(struct quotas *all, struct str resource)
{
    AUTO(kind_set_unref) const struct kind_set *set = kind_publisher_take(&all->server->kinds);
    const unsigned need = VERB_CREATE | VERB_LIST | VERB_WATCH | VERB_DELETE;
    struct str plural, group;
    if (!str_split(resource, '.', &plural, &group))
        plural = resource, group = S("");
    for (size_t i = 0; i < set->n; i++) {
        const struct kind *k = set->kinds[i];
        if (k->namespaced && (k->verbs & need) == need && str_eq(k->plural, plural) && str_eq(k->group, group))
            return true;
    }
    return false;
}

/* Somebody counts what goes by this name. */
static bool is_counted(struct quotas *all, struct str name)
{
    struct str resource = usage_counted(name);
    for (size_t k = 0; usage_special[k]; k++)
        if (usage_counts(str_of(usage_special[k]), name))
            return true;
    return resource.n && is_served(all, resource);
}

static struct str line_used(struct arena *a, const struct quota_line *line)
{
    return quantity_add(a, amount_text(&line->used), amount_text(&line->asked));
}

static struct val quota_status(struct arena *a, const struct quota *q)
{
    struct val status = val_map(), hard = val_map(), used = val_map();
    for (size_t i = 0; i < q->n; i++) {
        const struct quota_line *line = &q->lines[i];
        const struct name *name = name_of(a, str_dup(a, line->name));
        val_append(a, &hard, name, val_str(a, line->hard));
        if (line->counted)
            val_append(a, &used, name, val_str(a, line_used(a, line)));
    }
    if (q->n)
        val_set(a, &status, N(hard), hard);
    if (val_len(&used))
        val_set(a, &status, N(used), used);
    return status;
}

static bool status_is_right(const struct val *have, const struct quota *q)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct val *hard = val_get(have, N(hard)), *used = val_get(have, N(used));
    size_t counted = 0;
    for (size_t i = 0; i < q->n; i++)
        counted += q->lines[i].counted;
    val_each_member (m, hard) {
        const struct quota_line *line = line_find(q, m->name->s);
        if (!line || !str_eq(line->hard, val_text(&m->v)))
            return false;
    }
    val_each_member (m, used) {
        const struct quota_line *line = line_find(q, m->name->s);
        if (!line || !line->counted || quantity_cmp(line_used(&a, line), val_text(&m->v)) != 0)
            return false;
    }
    return val_len(hard) == q->n && val_len(used) == counted;
}

/* --- when it is looked at --- */

static void quotas_wake(struct quotas *all)
{
    int64_t first = 0, now = clock_mono();
    list_each (q, &all->changed, struct quota, changed)
        if (!q->writing && !q->count && (!first || q->due < first))
            first = q->due;
    if (!first || all->stopped)
        return;
    if (first <= now)
        soon_set(&all->soon);
    else if (!timer_is_set(&all->timer) || all->timer.at > first)
        timer_set(&all->timer, first - now);
}

/* The status may not be right: it is looked at after the delay, at the latest. */
void quota_mark(struct quota *q, int64_t delay)
{
    int64_t at = clock_mono() + delay;
    if (!q->all || (q->due && q->due <= at))
        return;
    if (!q->due)
        list_add_tail(&q->all->changed, &q->changed);
    q->due = at;
    quotas_wake(q->all);
}

void quota_mark_foreign(struct quota *q)
{
    if (!status_is_right(obj_status(q->obj), q))
        quota_mark(q, FOREIGN_AFTER);
}

void quota_mark_kinds(struct quota *q)
{
    for (size_t i = 0; i < q->n; i++)
        q->lines[i].counted = is_counted(q->all, q->lines[i].name);
    quota_mark(q, RELEASE_AFTER);
}

/* --- writing it --- */

/* What is true when the key's turn has come. */
static bool change_status(struct write *w)
{
    struct quota_writing *x = container_of(w->r, struct quota_writing, r);
    struct arena *a = &w->r->arena;
    if (!x->quota->all || !str_eq(x->quota->obj->uid, w->cur->uid))
        return fail_not_found(w->r);
    x->upto = x->quota->charged;
    w->tree = ARENA_NEW(a, struct val);
    *w->tree = val_copy(a, &w->cur->tree);
    val_set(a, w->tree, N(status), quota_status(a, x->quota));
    return true;
}

static void status_written(struct request *r)
{
    struct quota_writing *x = container_of(r, struct quota_writing, r);
    struct quota *q = x->quota;
    bool failed = r->answer.type == ANSWER_FAILED;
    q->writing = NULL;
    if (failed && q->all && r->answer.fail.code != 404) {
        log_warn("quota.status", "namespace=" STR_FMT " name=" STR_FMT " error=\"" STR_FMT "\" next=\"tries again\"",
                 STR_ARG(q->obj->ns), STR_ARG(q->obj->name), STR_ARG(r->answer.fail.message));
        quota_mark(q, AGAIN_AFTER);
    }
    q->told = failed ? q->charged : MAX(q->told, x->upto); /* nobody waits for a disk that fails */
    if (q->all && q->charged > q->told)
        quota_mark(q, 0);
    if (q->all) {
        charges_answer(q->all);
        quotas_wake(q->all);
    }
    quota_unref(q);
    request_fini(r);
    mem_free(x);
}

static const struct str server_groups[] = {S_INIT("system:masters")};
static const struct user server_user = {
    .name = S_INIT("system:apiserver"), .groups = server_groups, .ngroups = countof(server_groups)};

static void quota_write(struct quota *q)
{
    struct quota_writing *x = NEW(struct quota_writing);
    struct request *r = &x->r;
    q->writing = x;
    x->quota = quota_ref(q);
    request_init(r, q->all->server, q->all->server->loop, status_written);
    request_for(r, VERB_UPDATE, K(ResourceQuota), q->obj->ns, q->obj->name, S("status"));
    r->ns = str_dup(&r->arena, r->ns);
    r->name = str_dup(&r->arena, r->name);
    r->user = &server_user;
    r->authorized = r->admitted = true;
    struct write *w = write_new(r, write_update_steps);
    w->change = change_status;
    write_start(w);
}

/* One write of a status at a time: what changes meanwhile is told together by the next. */
static void quotas_tell(struct quotas *all)
{
    int64_t now = clock_mono();
    list_each (q, &all->changed, struct quota, changed) {
        if (q->writing || q->count || q->due > now || all->stopped)
            continue;
        q->due = 0;
        list_del(&q->changed);
        if (status_is_right(obj_status(q->obj), q))
            q->told = q->charged;
        else
            quota_write(q);
    }
    charges_answer(all);
    quotas_wake(all);
}

static void tell_soon(struct soon *s)
{
    quotas_tell(container_of(s, struct quotas, soon));
}

static void tell_later(struct timer *t)
{
    quotas_tell(container_of(t, struct quotas, timer));
}

void status_init(struct quotas *all)
{
    list_init(&all->changed);
    soon_init(&all->soon, all->server->loop, tell_soon);
    timer_init(&all->timer, all->server->loop, tell_later);
}

void status_fini(struct quotas *all)
{
    soon_stop(&all->soon);
    timer_stop(&all->timer);
}
