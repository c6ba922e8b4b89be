/* Counting what a quota bounds anew: when it comes, bounds something else, or the server starts. Numbers of objects
 * are had from the index; what else counts is walked through in a snapshot, a few milliseconds a turn. What changes
 * meanwhile is added to the sums as ever, so that they are right when the walk is over; until then the quota refuses
 * nothing and tells nothing (upstream's has no status yet, either). */
#include "api/usage.h"
#include "server/quota_int.h"

struct quota_count {
    struct store_snapshot snap;
    struct store_iter it;
    struct store_entry *at; /* the next one; NULL: the next resource */
    size_t which;           /* of usage_special; behind at's */
    struct arena arena;     /* of prefixes */
    struct map over;        /* "NAMESPACE/NAME" of pods that were past their time in the snapshot */
};

static bool is_special(struct str name)
{
    for (size_t k = 0; usage_special[k]; k++)
        if (usage_counts(str_of(usage_special[k]), name))
            return true;
    return false;
}

static bool quota_wants(const struct quota *q, struct str resource)
{
    for (size_t i = 0; i < q->n; i++)
        if (usage_counts(resource, q->lines[i].name))
            return true;
    return false;
}

static void numbers_take(struct quota *q)
{
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < q->n; i++) {
        struct quota_line *line = &q->lines[i];
        struct str resource = usage_counted(line->name);
        struct str prefix = STR_JOIN(&a, resource, S("/"), q->obj->ns, S("/"));
        line->used.n = 0;
        if (resource.n && !is_special(line->name) && usage_in_scope(obj_spec(q->obj), resource, NULL))
            amount_add(&a, &line->used, arena_fmt(&a, "%zu", store_count(&q->count->snap, prefix, STR_NONE)));
    }
}

/* Which pods are past their time is said before the walk, as it must not change under it. */
static void leaving_look(struct quota *q)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct store_iter it;
    struct str prefix = STR_JOIN(&a, S("pods/"), q->obj->ns, S("/"));
    for (struct store_entry *e = store_first(&it, &q->count->snap, prefix, STR_NONE); e; e = store_next(&it)) {
        struct str name = str_sub(store_entry_key(e), strlen("pods/"), SIZE_MAX);
        if (obj_deleting(object_of(e)) && leaving_note(q->all, name, object_of(e)))
            (void)map_put(&q->count->over, name, q);
    }
}

static void entry_count(struct quota *q, const struct store_entry *e)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct obj *o = object_of(e);
    struct str resource, name;
    (void)str_split(store_entry_key(e), '/', &resource, &name);
    bool over = o->kind == K(Pod) && map_get(&q->count->over, name);
    struct quota_move m = {.resource = resource, .now = &o->tree, .a = &a};
    m.now_uses = usage_now(q->all, &a, resource, m.now, over);
    quota_move_by(q, &m);
    q->all->walked++;
}

/* False: there is nothing left. */
static bool count_next(struct quota *q)
{
    struct quota_count *c = q->count;
    while (!c->at && usage_special[c->which]) {
        struct str resource = str_of(usage_special[c->which++]);
        struct str prefix = STR_JOIN(&c->arena, resource, S("/"), q->obj->ns, S("/"));
        if (quota_wants(q, resource))
            c->at = store_first(&c->it, &c->snap, prefix, STR_NONE);
    }
    return c->at;
}

static void count_go(struct quota *q, int64_t until)
{
    struct quota_count *c = q->count;
    size_t n = 0;
    while (c->at || count_next(q)) {
        entry_count(q, c->at);
        c->at = store_next(&c->it);
        if (clock_mono() > until || ++n == q->all->portion) {
            timer_set(&q->all->count, 0);
            return;
        }
    }
    count_end(q);
    list_del(&q->changed); /* while it was counted nobody woke for it */
    q->due = 0;
    quota_mark(q, 0);
}

void quota_count(struct quota *q, int64_t until)
{
    count_end(q);
    struct quota_count *c = q->count = NEW(struct quota_count);
    c->snap = objects_snapshot(q->all->server);
    q->all->counting++;
    q->uncounted = false;
    numbers_take(q);
    if (quota_wants(q, S("pods")))
        leaving_look(q);
    count_go(q, until);
}

void count_end(struct quota *q)
{
    struct quota_count *c = TAKE(q->count);
    if (!c)
        return;
    q->all->counting--;
    store_snapshot_fini(&c->snap);
    map_fini(&c->over);
    arena_fini(&c->arena);
    mem_free(c);
}

static void counts_go(struct timer *t)
{
    struct quotas *all = container_of(t, struct quotas, count);
    int64_t until = clock_mono() + LOOP_TURN;
    list_each (q, &all->changed, struct quota, changed)
        if (q->count)
            count_go(q, until);
}

void counts_init(struct quotas *all)
{
    timer_init(&all->count, all->server->loop, counts_go);
}
