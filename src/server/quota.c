#include "api/formats.h"
#include "api/quantity.h"
#include "api/usage.h"
#include "server/quota_int.h"

/* --- amounts --- */

struct str amount_text(const struct amount *x)
{
    return x->n ? (struct str){x->text, x->n} : S("0");
}

static void amount_set(struct amount *x, struct str text)
{
    ASSERT(text.n < AMOUNT_MAX);
    memcpy(x->text, text.p, text.n);
    x->n = text.n;
}

void amount_add(struct arena *a, struct amount *x, struct str more)
{
    amount_set(x, quantity_add(a, amount_text(x), more));
}

void amount_take(struct arena *a, struct amount *x, struct str less)
{
    amount_set(x, quantity_sub(a, amount_text(x), less));
}

/* --- quotas --- */

struct quota *quota_ref(struct quota *q)
{
    q->refs++;
    return q;
}

void quota_unref(struct quota *q)
{
    if (--q->refs)
        return;
    ASSERT(list_empty(&q->charges));
    obj_unref(q->obj);
    mem_free(q->lines);
    mem_free(q);
}

struct quota_space *space_of(const struct quotas *all, struct str ns)
{
    return map_len(&all->spaces) ? map_get(&all->spaces, ns) : NULL;
}

static int line_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct quota_line *)a)->name, ((const struct quota_line *)b)->name);
}

struct quota_line *line_find(const struct quota *q, struct str name)
{
    const struct quota_line wanted = {.name = name};
    return q->n ? bsearch(&wanted, q->lines, q->n, sizeof *q->lines, line_cmp) : NULL;
}

static bool bounds_the_same(const struct quota *q, const struct val *hard)
{
    val_each_member (m, hard)
        if (!line_find(q, m->name->s))
            return false;
    return val_len(hard) == q->n;
}

/* The lines as spec.hard has them now. Charges of writes under way stay charged. */
static void quota_lines(struct quota *q)
{
    const struct val *hard = val_get(obj_spec(q->obj), N(hard));
    AUTO(arena_fini) struct arena a = ARENA;
    mem_free(q->lines);
    q->lines = mem_alloc((val_len(hard) + 1) * sizeof *q->lines);
    q->n = 0;
    val_each_member (m, hard)
        q->lines[q->n++] = (struct quota_line){.name = m->name->s, .hard = val_text(&m->v)};
    qsort(q->lines, q->n, sizeof *q->lines, line_cmp);
    list_each (c, &q->charges, struct charge, of_quota)
        val_each_member (m, &c->amounts) {
            struct quota_line *line = line_find(q, m->name->s);
            if (line)
                amount_add(&a, &line->asked, val_text(&m->v));
        }
    q->uncounted = true;
    quota_mark_kinds(q);
}

/* --- what objects use --- */

static struct str class_resource(void *arg, struct arena *a, struct str class)
{
    struct quotas *all = arg;
    AUTO(obj_unref) struct obj *o = object_get(all->server, K(DeviceClass), S(""), class);
    return o ? str_dup(a, val_text_at(obj_spec(o), N(extendedResourceName))) : S("");
}

struct val usage_now(struct quotas *all, struct arena *a, struct str resource, const struct val *tree, bool over)
{
    return usage_of(a, resource, tree,
                    &(struct usage_facts){.over = over, .class_resource = class_resource, .arg = all});
}

void quota_move_by(struct quota *q, const struct quota_move *s)
{
    const struct val *spec = obj_spec(q->obj);
    bool was = s->was && usage_in_scope(spec, s->resource, s->was);
    bool now = s->now && usage_in_scope(spec, s->resource, s->now);
    bool moved = false;
    if (q->uncounted || (was && now && val_equal(&s->was_uses, &s->now_uses)))
        return;
    val_each_member (m, now ? &s->now_uses : NULL) {
        struct quota_line *line = line_find(q, m->name->s);
        if (line)
            amount_add(s->a, &line->used, val_text(&m->v));
        moved |= line != NULL;
    }
    val_each_member (m, was ? &s->was_uses : NULL) {
        struct quota_line *line = line_find(q, m->name->s);
        if (line)
            amount_take(s->a, &line->used, val_text(&m->v));
        moved |= line != NULL;
    }
    if (moved)
        quota_mark(q, RELEASE_AFTER);
}

void space_move(struct quotas *all, const struct quota_space *space, struct quota_move *s, bool was_over,
                bool now_over)
{
    s->was_uses = s->was ? usage_now(all, s->a, s->resource, s->was, was_over) : val_map();
    s->now_uses = s->now ? usage_now(all, s->a, s->resource, s->now, now_over) : val_map();
    array_each (q, &space->quotas)
        quota_move_by(*q, s);
}

size_t quotas_walked(const struct quotas *all)
{
    return all->walked;
}

void quotas_settle(struct quotas *all)
{
    int64_t until = clock_mono() + LOOP_TURN;
    list_each (q, &all->changed, struct quota, changed)
        if (q->uncounted)
            quota_count(q, until);
}

/* --- quotas that come, change and go --- */

static void quota_add(struct quotas *all, struct obj *o)
{
    struct quota_space *space = map_get(&all->spaces, o->ns);
    struct quota *q = NEW(struct quota);
    q->refs = 1;
    q->all = all;
    q->obj = obj_ref(o);
    list_init(&q->charges);
    list_init(&q->changed);
    if (!space) {
        space = NEW(struct quota_space);
        (void)map_put(&all->spaces, o->ns, space);
    }
    size_t at = 0;
    while (at < space->quotas.n && str_cmp(space->quotas.p[at]->obj->name, o->name) < 0)
        at++;
    array_push(&space->quotas, q);
    memmove(space->quotas.p + at + 1, space->quotas.p + at, (space->quotas.n - 1 - at) * sizeof *space->quotas.p);
    space->quotas.p[at] = q;
    quota_lines(q);
    quota_mark(q, 0);
}

static struct quota *quota_find(const struct quotas *all, const struct obj *o)
{
    const struct quota_space *space = map_get(&all->spaces, o->ns);
    for (size_t i = 0; space && i < space->quotas.n; i++)
        if (str_eq(space->quotas.p[i]->obj->name, o->name))
            return space->quotas.p[i];
    return NULL;
}

static void quota_end(struct quota *q)
{
    count_end(q);
    list_del(&q->changed);
    q->due = 0;
    q->all = NULL;
    quota_unref(q);
}

/* Nobody asks of its pods any more. */
static void space_end(struct quotas *all, struct str ns)
{
    struct quota_space *space = map_del(&all->spaces, ns);
    leaving_forget(all, ns);
    array_fini(&space->quotas);
    mem_free(space);
}

static void quota_gone(struct quotas *all, const struct obj *was)
{
    struct quota_space *space = map_get(&all->spaces, was->ns);
    for (size_t i = 0; space && i < space->quotas.n; i++) {
        struct quota *q = space->quotas.p[i];
        if (!str_eq(q->obj->name, was->name))
            continue;
        array_del(&space->quotas, i);
        quota_end(q);
        if (!space->quotas.n)
            space_end(all, was->ns);
        soon_set(&all->soon); /* who waits for it is answered */
        return;
    }
}

static void quota_changed(struct quota *q, struct obj *now)
{
    const struct val *had = obj_spec(q->obj), *has = obj_spec(now), *hard = val_get(has, N(hard));
    bool same = val_equal(had, has);
    bool counted = bounds_the_same(q, hard) && val_equal(val_get(had, N(scopes)), val_get(has, N(scopes))) &&
                   val_equal(val_get(had, N(scopeSelector)), val_get(has, N(scopeSelector)));
    struct obj *old = q->obj;
    q->obj = obj_ref(now);
    if (!counted)
        quota_lines(q);
    val_each_member (m, counted ? hard : NULL) {
        struct quota_line *line = line_find(q, m->name->s);
        line->name = m->name->s;
        line->hard = val_text(&m->v);
    }
    obj_unref(old);
    if (same)
        quota_mark_foreign(q);
    else
        quota_mark(q, 0);
}

/* What devices of a class are may count elsewhere now. */
static void classes_changed(struct quotas *all, const struct obj *was, const struct obj *now)
{
    const struct name *name = N(extendedResourceName);
    if (str_eq(was ? val_text_at(obj_spec(was), name) : S(""), now ? val_text_at(obj_spec(now), name) : S("")))
        return;
    map_each (it, &all->spaces)
        array_each (q, &((struct quota_space *)it->value)->quotas)
            for (size_t i = 0; i < (*q)->n; i++)
                if (str_starts((*q)->lines[i].name, S("requests.")) && str_find_char((*q)->lines[i].name, '/') >= 0) {
                    (*q)->uncounted = true;
                    quota_mark(*q, 0);
                }
}

void quotas_changed(struct quotas *all, struct str key, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    const struct quota_space *space = space_of(all, o->ns);
    struct str resource, name;
    if (space && str_split(key, '/', &resource, &name)) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct quota_move s = {
            .resource = resource, .was = was ? &was->tree : NULL, .now = now ? &now->tree : NULL, .a = &a};
        bool was_over = o->kind == K(Pod) && leaving_over(all, name);
        bool over = o->kind == K(Pod) && leaving_note(all, name, (struct obj *)now);
        space_move(all, space, &s, was_over, over);
    }
    if (o->kind == K(DeviceClass))
        classes_changed(all, was, now);
    if (o->kind != K(ResourceQuota))
        return;
    struct quota *q = now ? quota_find(all, now) : NULL;
    if (q)
        quota_changed(q, (struct obj *)now);
    else if (now)
        quota_add(all, (struct obj *)now);
    else
        quota_gone(all, was);
}

/* What nobody counted may be counted now, and the other way round. */
static void kinds_came(struct kind_listener *l, const struct kind_set *was, const struct kind_set *now)
{
    struct quotas *all = container_of(l, struct quotas, kinds);
    (void)was, (void)now;
    map_each (it, &all->spaces)
        array_each (q, &((struct quota_space *)it->value)->quotas)
            quota_mark_kinds(*q);
}

/* --- all of them --- */

struct quotas *quotas_new(struct server *s)
{
    struct quotas *all = NEW(struct quotas);
    all->server = s;
    list_init(&all->waiting);
    status_init(all);
    leaving_init(all);
    counts_init(all);
    all->kinds.fn = kinds_came;
    kind_listen(&s->kinds, &all->kinds);
    return all;
}

static bool quota_found(struct obj *o, void *arg)
{
    quota_add(arg, o);
    return true;
}

void quotas_open(struct quotas *all)
{
    objects_each(all->server, K(ResourceQuota), STR_NONE, quota_found, all);
    list_each (q, &all->changed, struct quota, changed)
        if (q->uncounted)
            quota_count(q, INT64_MAX);
}

void quotas_stop(struct quotas *all)
{
    all->stopped = true;
    status_fini(all);
    timer_stop(&all->leave);
    timer_stop(&all->count);
    charges_answer(all);
}

void quotas_free(struct quotas *all)
{
    if (!all)
        return;
    quotas_stop(all);
    kind_unlisten(&all->server->kinds, &all->kinds);
    map_each (it, &all->spaces) {
        struct quota_space *space = it->value;
        array_each (q, &space->quotas)
            quota_end(*q);
        array_fini(&space->quotas);
        mem_free(space);
    }
    leaving_fini(all);
    map_fini(&all->spaces);
    mem_free(all);
}
