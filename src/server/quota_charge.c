/* Charges: what a write under way has been given of quotas. */
#include "api/quantity.h"
#include "api/usage.h"
#include "server/quota_int.h"

/* What is asked of a quota: all that the object uses, or what it uses more than before. */
static struct val quota_delta(struct arena *a, const struct quota *q, const struct quota_asked *asked,
                              const struct val *now_uses, const struct val *was_uses)
{
    bool before = asked->was && usage_in_scope(obj_spec(q->obj), asked->resource, asked->was);
    struct val out = val_map();
    val_each_member (m, now_uses) {
        const struct val *had = before ? val_get_str(was_uses, m->name->s) : NULL;
        struct str more = had ? quantity_sub(a, val_text(&m->v), val_text(had)) : val_text(&m->v);
        if (line_find(q, m->name->s) && quantity_cmp(more, S("0")) > 0)
            val_set_str(a, &out, m->name->s, val_str(a, more));
    }
    return out;
}

static bool quota_concerns(const struct quota *q, const struct quota_asked *asked)
{
    return q->n && !q->count && usage_in_scope(obj_spec(q->obj), asked->resource, asked->now);
}

/* By name, as they are told. */
/* "" or what exceeds it, in upstream's words. */
static struct str quota_exceeded(struct arena *a, const struct quota *q, const struct val *delta)
{
    struct str requested = S(""), used = S(""), limited = S("");
    size_t n;
    const struct member **asked = val_members_sorted(a, delta, &n);
    for (size_t i = 0; i < n; i++) {
        const struct quota_line *line = line_find(q, asked[i]->name->s);
        struct str more = val_text(&asked[i]->v);
        struct str have = quantity_add(a, amount_text(&line->used), amount_text(&line->asked));
        if (quantity_cmp(quantity_add(a, have, more), line->hard) <= 0)
            continue;
        struct str comma = requested.n ? S(",") : S("");
        requested = STR_JOIN(a, requested, comma, line->name, S("="), more);
        used = STR_JOIN(a, used, comma, line->name, S("="), have);
        limited = STR_JOIN(a, limited, comma, line->name, S("="), line->hard);
    }
    if (!requested.n)
        return requested;
    return STR_JOIN(a, S("exceeded quota: "), q->obj->name, S(", requested: "), requested, S(", used: "), used,
                    S(", limited: "), limited);
}

static void quota_charge(struct quota *q, struct write *w, struct val amounts)
{
    struct arena *a = &w->r->arena;
    struct charge *c = ARENA_NEW(a, struct charge);
    if (!w->charges) {
        w->charges = NEW(struct charges);
        w->charges->write = w;
        list_init(&w->charges->waiting);
    }
    *c = (struct charge){.quota = quota_ref(q), .amounts = amounts, .number = ++q->charged};
    list_add_tail(&q->charges, &c->of_quota);
    array_push(&w->charges->list, c);
    val_each_member (m, &amounts) {
        struct quota_line *line = line_find(q, m->name->s);
        if (line)
            amount_add(a, &line->asked, val_text(&m->v));
    }
    quota_mark(q, 0);
}

bool quotas_take(struct request *r, const struct quota_asked *asked, bool charge, struct str *why)
{
    struct quotas *all = r->server->quotas;
    struct arena *a = &r->arena;
    const struct quota_space *space = space_of(all, asked->ns);
    ARRAY(struct quota *) concerned = {0};
    *why = S("");
    if (!space)
        return true;
    array_each (q, &space->quotas) {
        if (!quota_concerns(*q, asked))
            continue;
        struct str missing = str_eqz(asked->resource, "pods")
                                 ? usage_missing(a, val_get(obj_spec((*q)->obj), N(hard)), asked->now)
                                 : S("");
        if (missing.n && !why->n)
            *why = STR_JOIN(a, S("failed quota: "), (*q)->obj->name, S(": must specify "), missing);
        array_push(&concerned, *q);
    }
    struct val now_uses = usage_now(all, a, asked->resource, asked->now, false), was_uses = val_map();
    struct val *deltas = arena_alloc(a, (concerned.n + 1) * sizeof *deltas);
    if (asked->was)
        was_uses = usage_now(all, a, asked->resource, asked->was, false);
    for (size_t i = 0; i < concerned.n && !why->n; i++) {
        deltas[i] = quota_delta(a, concerned.p[i], asked, &now_uses, &was_uses);
        *why = quota_exceeded(a, concerned.p[i], &deltas[i]);
    }
    for (size_t i = 0; i < concerned.n && !why->n && charge; i++)
        if (val_len(&deltas[i]))
            quota_charge(concerned.p[i], r->write, deltas[i]);
    array_fini(&concerned);
    return !why->n;
}

/* Committed, and so counted as used; or it has come to nothing. */
static void charge_end(struct charge *c)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct quota *q = c->quota;
    if (list_empty(&c->of_quota))
        return;
    list_del(&c->of_quota);
    val_each_member (m, &c->amounts) {
        struct quota_line *line = line_find(q, m->name->s);
        if (line)
            amount_take(&a, &line->asked, val_text(&m->v));
    }
    quota_mark(q, RELEASE_AFTER);
}

void quotas_released(struct write *w)
{
    struct charges *all = TAKE(w->charges);
    if (!all)
        return;
    list_del(&all->waiting);
    array_each (c, &all->list) {
        charge_end(*c);
        quota_unref((*c)->quota);
    }
    array_fini(&all->list);
    mem_free(all);
}

static bool charges_told(const struct charges *all)
{
    array_each (c, &all->list)
        if ((*c)->quota->all && !(*c)->quota->all->stopped && (*c)->number > (*c)->quota->told)
            return false;
    return true;
}

bool quotas_await(struct write *w)
{
    if (!w->charges)
        return false;
    array_each (c, &w->charges->list)
        charge_end(*c);
    if (charges_told(w->charges))
        return false;
    list_add_tail(&w->r->server->quotas->waiting, &w->charges->waiting);
    return true;
}

/* A write that goes on ends, and may free what it is. */
void charges_answer(struct quotas *all)
{
    list_each (c, &all->waiting, struct charges, waiting) {
        if (!charges_told(c))
            continue;
        list_del(&c->waiting);
        write_start(c->write);
    }
}
