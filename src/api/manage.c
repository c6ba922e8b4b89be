/* A write: what it changes by whose hand. An update takes what it changed; an apply takes what it names, asks who
 * else says otherwise, and lets go of what it named before. */
#include "api/codec_int.h"
#include "api/managed_int.h"
#include "wire/json.h"
#include <stdlib.h>

/* --- what a write changes --- */

/* What the server does not take from whoever writes counts for nothing. */
static struct fieldset fields_taken(struct arena *a, const struct fieldset *s, const char *const *path)
{
    struct fieldset out = {0};
    for (uint32_t i = 0; i < s->n; i++) {
        struct fieldset_node n = s->nodes[i];
        bool any = !strcmp(path[0], "*");
        if (!any && (n.step.kind != STEP_FIELD || !str_eqz((struct str){n.step.p, n.step.n}, path[0])))
            continue;
        if (path[1])
            n.below = fields_taken(a, &n.below, path + 1);
        *fieldset_step(a, &out, n.step) = n;
    }
    fieldset_done(a, &out);
    return out;
}

static struct fieldset fields_counted(const struct managing *g, const struct fieldset *s)
{
    struct fieldset out = g->resets ? fieldset_without_below(g->a, s, g->resets) : *s;
    if (!g->takes)
        return out;
    struct fieldset some = {0};
    for (const char *const *const *path = g->takes; *path; path++) {
        struct fieldset taken = fields_taken(g->a, &out, *path);
        some = fieldset_union(g->a, &some, &taken);
    }
    return some;
}

static struct apply_changes changes_counted(const struct managing *g, const struct apply_changes *c)
{
    return (struct apply_changes){fields_counted(g, &c->changed), fields_counted(g, &c->removed)};
}

/* What nobody owns. */
static struct fieldset fields_owned(struct arena *a, const struct fieldset *s)
{
    static const char *const bare[][2] = {
        {"apiVersion"},
        {"kind"},
        {"metadata"},
        {"metadata", "name"},
        {"metadata", "namespace"},
        {"metadata", "creationTimestamp"},
        {"metadata", "selfLink"},
        {"metadata", "uid"},
        {"metadata", "clusterName"},
        {"metadata", "generation"},
        {"metadata", "managedFields"},
        {"metadata", "resourceVersion"},
    };
    struct fieldset nobodys = {0};
    for (size_t i = 0; i < countof(bare); i++)
        fieldset_add_fields(a, &nobodys, bare[i], bare[i][1] ? 2 : 1);
    return fieldset_without(a, s, &nobodys);
}

/* The changes as another version tells them; false: there is none of that name. */
static bool changes_as(const struct managing *g, struct str api_version, const struct val *now, bool raw,
                       struct apply_changes *out)
{
    const struct type *t = NULL;
    const struct val *was = NULL, *then = g->versions ? g->versions->as(g->versions, api_version, now, &t) : NULL;
    if (!then)
        return false;
    if (g->was)
        was = g->versions->as(g->versions, api_version, g->was, &t);
    struct apply_changes c = apply_compare(g->a, t, was, then, raw);
    *out = changes_counted(g, &c);
    return true;
}

/* Changes by version: most writes know one. */
struct version_told {
    struct str api_version;
    bool known;
    struct apply_changes changes;
};
struct owners_telling {
    const struct managing *g;
    const struct val *now;
    bool raw;
    struct version_told told[8];
    size_t n;
};

static bool telling_as(struct owners_telling *t, struct str api_version, struct apply_changes *out)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->told[i].api_version, api_version)) {
            *out = t->told[i].changes;
            return t->told[i].known;
        }
    struct version_told now = {.api_version = api_version};
    now.known = changes_as(t->g, api_version, t->now, t->raw, &now.changes);
    if (t->n < countof(t->told))
        t->told[t->n++] = now;
    *out = now.changes;
    return now.known;
}

static struct owners_telling telling_of(const struct managing *g, const struct val *now, bool raw,
                                        struct apply_changes *all)
{
    *all = apply_compare(g->a, g->type, g->was, now, raw);
    struct owners_telling t = {.g = g, .now = now, .raw = raw, .n = 1};
    t.told[0] = (struct version_told){g->api_version, true, changes_counted(g, all)};
    return t;
}

/* Of all but `self`: what changed is not theirs any more, and what is not there is nobody's. */
static void owners_lose(struct owners *m, struct owners_telling *t, const struct owner *self)
{
    size_t keep = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct owner x = m->p[i];
        struct apply_changes c;
        bool is_self = self == &m->p[i];
        if (!is_self) {
            if (!telling_as(t, x.api_version, &c))
                continue;
            if (c.changed.n || c.removed.n) {
                struct fieldset set = *owner_set(m, &x);
                set = fieldset_without(m->a, &set, &c.changed);
                owner_set_to(&x, fieldset_without(m->a, &set, &c.removed));
            }
        }
        if ((x.read && !x.words && fieldset_empty(&x.set)))
            continue;
        m->p[keep++] = x;
    }
    m->n = keep;
}

enum { UPDATERS_MOST = 10 };

static int updater_cmp(const void *x, const void *y)
{
    return owner_older_cmp(*(struct owner *const *)x, *(struct owner *const *)y);
}

/* The oldest entries of updates become one, a version each, where there are too many. */
static void owners_cap(struct owners *m)
{
    size_t n = 0, first = 0;
    struct owner **old = arena_alloc(m->a, (m->n + 1) * sizeof *old);
    for (size_t i = 0; i < m->n; i++)
        if (!m->p[i].apply)
            old[n++] = &m->p[i];
    if (n <= UPDATERS_MOST)
        return;
    qsort(old, n, sizeof *old, updater_cmp);
    bool *gone = arena_alloc(m->a, m->n * sizeof *gone);
    size_t left = n;
    for (size_t i = 0; i < n && left > UPDATERS_MOST; i++) {
        struct owner *into = NULL;
        for (size_t k = first; k < i && !into; k++)
            if (!gone[old[k] - m->p] && str_eq(old[k]->api_version, old[i]->api_version))
                into = old[k];
        if (!into)
            continue;
        struct fieldset *a = owner_set(m, into), *b = owner_set(m, old[i]);
        struct fieldset both = fieldset_union(m->a, a, b);
        *into = (struct owner){.name = S("ancient-changes"),
                               .api_version = into->api_version,
                               .time = old[i]->time,
                               .read = true,
                               .set = both};
        gone[old[i] - m->p] = true;
        left--;
    }
    size_t keep = 0;
    for (size_t i = 0; i < m->n; i++)
        if (!gone[i])
            m->p[keep++] = m->p[i];
    m->n = keep;
}

/* The object was written by this manager: what it changed is its own. */
static void owners_gain(const struct managing *g, struct owners *m, struct str who, const struct fieldset *changed)
{
    struct fieldset set = fields_owned(g->a, changed);
    if (fieldset_empty(&set))
        return;
    struct owner *x = owners_find(m, who, false, g->api_version, g->sub);
    if (x) {
        set = fieldset_union(g->a, &set, owner_set(m, x));
        owner_set_to(x, set);
    } else {
        x = owners_add(m);
        *x = (struct owner){.name = who, .api_version = g->api_version, .sub = g->sub, .read = true, .set = set};
    }
    x->time = g->now;
}

static void owners_update(const struct managing *g, struct owners *m, const struct val *now, struct str who)
{
    struct apply_changes all;
    struct owners_telling t = telling_of(g, now, false, &all);
    struct apply_changes *mine = &t.told[0].changes;
    owners_lose(m, &t, NULL);
    owners_gain(g, m, who, &mine->changed);
    owners_cap(m);
}

static bool is_reset(const struct val *sent)
{
    if (!val_is(sent, VAL_LIST) || sent->n > 1)
        return false;
    if (sent->n == 0)
        return true;
    const struct val *one = &sent->list[0];
    val_each_member (x, one)
        if (x->v.type != VAL_NULL && (x->v.type != VAL_STRING || x->v.n))
            return false;
    return one->type == VAL_MAP || one->type == VAL_NULL;
}

static struct str owner_named(const struct managing *g)
{
    return g->manager.n ? g->manager : S("unknown");
}

void manage_update_open(const struct managing *g, const struct val *now, struct owners *m)
{
    struct managing part = *g;
    if (g->unowned)
        part.was = g->unowned;
    else if (!m->n && g->was)
        return; /* its fields are not tracked, until somebody applies */
    owners_update(&part, m, now, owner_named(g));
}

void manage_update(const struct managing *g, const struct managed *have, const struct val *now,
                   const struct val *sent, struct owners *out)
{
    struct err err = ERR;
    *out = owners_open(g->a, have);
    if (!g->sub.n && is_reset(sent))
        *out = (struct owners){.a = g->a};
    else if (!g->sub.n && val_len(sent)) {
        struct owners said;
        if (owners_of_val(g->a, sent, &said, &err) && said.n)
            *out = said;
    }
    manage_update_open(g, now, out);
}

/* --- apply --- */

/* What only this manager applied, and applies no more, goes; but not what others, or the server, put below it. */
static struct val fields_pruned(const struct managing *g, struct owners *m, const struct val *merged,
                                const struct fieldset *last)
{
    struct arena *a = g->a;
    const struct type *t = g->type;
    struct fieldset owned = {0};
    for (size_t i = 0; i < m->n; i++)
        if (m->p[i].apply)
            owned = fieldset_union(a, &owned, owner_set(m, &m->p[i]));
    struct fieldset had = fieldset_with_fields(a, last, t);
    owned = fieldset_with_fields(a, &owned, t);
    struct fieldset given_up = fieldset_without(a, &had, &owned);
    if (fieldset_empty(&given_up))
        return *merged;
    struct fieldset all = apply_fields(a, t, merged);
    struct val some = apply_remove(a, t, merged, &had);
    struct fieldset left = apply_fields(a, t, &some);
    all = fieldset_with_fields(a, &all, t);
    left = fieldset_with_fields(a, &left, t);
    left = fieldset_union(a, &left, &owned);
    struct fieldset gone = fieldset_without(a, &all, &left);
    some = apply_remove(a, t, merged, &gone);
    left = apply_fields(a, t, &some);
    left = fieldset_with_fields(a, &left, t);
    gone = fieldset_without(a, &all, &left);
    gone = fieldset_common(a, &gone, &had);
    return apply_remove(a, t, merged, &gone);
}

struct conflicting {
    struct arena *a;
    ARRAY(struct conflict) list;
    const struct owner *with;
};

static void conflict_found(void *arg, struct str path)
{
    struct conflicting *c = arg;
    array_push(&c->list, ((struct conflict){c->with, str_dup(c->a, path), c->list.n}));
}

static int conflict_cmp(const void *x, const void *y)
{
    const struct conflict *cx = x, *cy = y;
    const struct owner *a = cx->with, *b = cy->with;
    if (a == b) /* as they came */
        return (cx->order > cy->order) - (cx->order < cy->order);
    int c = str_cmp(a->name, b->name);
    c = c ? c : (int)b->apply - (int)a->apply;
    return c ? c : owner_cmp(a, b);
}

static struct fieldset conflicts_find(const struct managing *g, struct owners *m, struct owners_telling *t,
                                      const struct owner *self, struct applying *done)
{
    struct conflicting c = {.a = g->a};
    struct fieldset all = {0};
    for (size_t i = 0; i < m->n; i++) {
        struct apply_changes changes;
        struct owner *x = &m->p[i];
        if (x == self || !telling_as(t, x->api_version, &changes) || !changes.changed.n)
            continue;
        struct fieldset both = fieldset_common(g->a, owner_set(m, x), &changes.changed);
        all = fieldset_union(g->a, &all, &both);
        c.with = arena_dup(g->a, x, sizeof *x);
        fieldset_each(&both, conflict_found, &c);
    }
    done->nconflicts = c.list.n;
    done->conflicts = arena_dup(g->a, c.list.p, c.list.n * sizeof *c.list.p);
    array_fini(&c.list);
    if (done->nconflicts)
        qsort(done->conflicts, done->nconflicts, sizeof *done->conflicts, conflict_cmp);
    return all;
}

#define LAST_APPLIED S("kubectl.kubernetes.io/last-applied-configuration")

static struct str last_applied_of(const struct val *tree)
{
    return val_text(val_get_str(val_at(tree, N(metadata), N(annotations)), LAST_APPLIED));
}

/* What the client applied by itself before, and is still so: it may take that over. */
static bool last_applied_fields(const struct managing *g, struct fieldset *out)
{
    struct val last;
    struct err err = ERR;
    struct str text = last_applied_of(g->was);
    if (!text.n || !json_decode(g->a, text, &last, &err) ||
        !str_eq(val_text_at(&last, N(apiVersion)), g->api_version) || !apply_check(g->a, g->type, &last, &err))
        return false;
    struct fieldset set = apply_fields(g->a, g->type, &last);
    struct apply_changes c = apply_compare(g->a, g->type, g->was, &last, true);
    set = fieldset_without(g->a, &set, &c.changed);
    *out = fieldset_without(g->a, &set, &c.removed);
    return true;
}

static bool conflicts_forgiven(const struct managing *g, const struct fieldset *conflicts, struct applying *done)
{
    struct fieldset mine;
    if (!str_eqz(g->manager, "kubectl") || !last_applied_fields(g, &mine))
        return false;
    struct fieldset rest = fieldset_without(g->a, conflicts, &mine);
    if (fieldset_empty(&rest))
        return true;
    struct applying others = {0};
    struct conflicting c = {.a = g->a};
    for (size_t i = 0; i < done->nconflicts;) {
        const struct owner *with = done->conflicts[i].with;
        struct owners none = {.a = g->a};
        struct owner copy = *with;
        struct fieldset left = fieldset_common(g->a, owner_set(&none, &copy), &rest);
        c.with = with;
        fieldset_each(&left, conflict_found, &c);
        while (i < done->nconflicts && done->conflicts[i].with == with)
            i++;
    }
    others.nconflicts = c.list.n;
    others.conflicts = arena_dup(g->a, c.list.p, c.list.n * sizeof *c.list.p);
    array_fini(&c.list);
    done->conflicts = others.conflicts;
    done->nconflicts = others.nconflicts;
    return false;
}

static void json_sorted(struct strbuf *b, const struct val *v)
{
    if (val_is(v, VAL_LIST)) {
        strbuf_addc(b, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            strbuf_addz(b, i ? "," : "");
            json_sorted(b, &v->list[i]);
        }
        strbuf_addc(b, ']');
    } else if (val_is(v, VAL_MAP)) {
        AUTO_FREE uint32_t *order = sorted_members(v);
        strbuf_addc(b, '{');
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[order ? order[i] : i];
            strbuf_addz(b, i ? "," : "");
            json_add_string(b, m->name->s);
            strbuf_addc(b, ':');
            json_sorted(b, &m->v);
        }
        strbuf_addc(b, '}');
    } else {
        json_encode(b, v);
    }
}

/* The annotation of a client that applied by itself is kept right, so that it may go back. */
static void last_applied_say(const struct managing *g, const struct val *config, struct applying *done)
{
    if (!str_eqz(g->manager, "kubectl") || !last_applied_of(&done->merged).n)
        return;
    struct val plain = val_copy(g->a, config);
    struct val *meta = val_get_mut(&plain, N(metadata));
    struct val *annotations = meta ? val_get_mut(meta, N(annotations)) : NULL;
    if (val_is(annotations, VAL_MAP)) {
        (void)val_del_str(annotations, LAST_APPLIED);
        if (!annotations->n)
            (void)val_del(meta, N(annotations));
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    json_sorted(&b, &plain);
    strbuf_addc(&b, '\n');
    done->last_applied = str_dup(g->a, strbuf_str(&b));
}

enum managed_apply manage_apply_open(const struct managing *g, const struct val *config, bool force, struct owners *m,
                                     struct applying *done, struct err *err)
{
    *done = (struct applying){.self = -1};
    if (!m->n && g->was) {
        struct managing before = *g;
        before.was = NULL;
        owners_update(&before, m, g->was, S("before-first-apply"));
    }
    if (!apply_check(g->a, g->type, config, err))
        return APPLY_WRONG;
    struct val none = val_map();
    done->merged = apply_merge(g->a, g->type, g->was ? g->was : &none, config);
    struct fieldset set = apply_fields(g->a, g->type, config), last = {0};
    set = fields_counted(g, &set);
    struct owner *self = owners_find(m, g->manager, true, g->api_version, g->sub);
    if (self) {
        struct str last_version = self->api_version;
        last = *owner_set(m, self);
        owner_set_to(self, set);
        if (!str_eq(last_version, g->api_version)) {
            self->api_version = g->api_version;
            self->words = NULL;
        }
    } else {
        self = owners_add(m);
        *self = (struct owner){.name = g->manager,
                               .api_version = g->api_version,
                               .sub = g->sub,
                               .apply = true,
                               .time = MANAGED_NO_TIME,
                               .read = true,
                               .set = set};
    }
    if (!fieldset_empty(&last))
        done->merged = fields_pruned(g, m, &done->merged, &last);
    if (done->merged.type != VAL_MAP)
        done->merged = val_map();
    struct apply_changes all;
    struct owners_telling t = telling_of(g, &done->merged, true, &all);
    if (!force) {
        struct fieldset conflicts = conflicts_find(g, m, &t, self, done);
        if (done->nconflicts && !conflicts_forgiven(g, &conflicts, done))
            return APPLY_CONFLICTS;
    }
    struct fieldset own = fields_owned(g->a, &self->set);
    owner_set_to(self, own);
    owners_lose(m, &t, self);
    struct owner *now = owners_find(m, g->manager, true, g->api_version, g->sub);
    done->self = now ? now - m->p : -1;
    last_applied_say(g, config, done);
    return APPLY_DONE;
}

enum managed_apply manage_apply(const struct managing *g, const struct managed *have, const struct val *config,
                                bool force, struct owners *out, struct applying *done, struct err *err)
{
    *out = owners_open(g->a, have);
    return manage_apply_open(g, config, force, out, done, err);
}

void manage_applied(const struct managing *g, struct owners *m, const struct applying *done)
{
    if (done->self >= 0)
        m->p[done->self].time = g->now;
}

/* --- conflicts in words --- */

void owner_text(struct strbuf *b, const struct owner *m)
{
    json_add_string(b, m->name);
    if (m->sub.n) {
        strbuf_addz(b, " with subresource ");
        json_add_string(b, m->sub);
    }
    if (!m->apply)
        strbuf_addf(b, " using " STR_FMT, STR_ARG(m->api_version));
}

void conflicts_text(struct strbuf *b, const struct applying *done)
{
    if (done->nconflicts == 1) {
        strbuf_addz(b, "Apply failed with 1 conflict: conflict with ");
        owner_text(b, done->conflicts[0].with);
        strbuf_addf(b, ": " STR_FMT, STR_ARG(done->conflicts[0].path));
        return;
    }
    strbuf_addf(b, "Apply failed with %zu conflicts: ", done->nconflicts);
    for (size_t i = 0; i < done->nconflicts; i++) {
        const struct conflict *c = &done->conflicts[i];
        if (!i || c->with != done->conflicts[i - 1].with) {
            strbuf_addz(b, i ? "\nconflicts with " : "conflicts with ");
            owner_text(b, c->with);
            strbuf_addc(b, ':');
        }
        strbuf_addf(b, "\n- " STR_FMT, STR_ARG(c->path));
    }
}

/* --- scale --- */

static struct fieldset replicas_at(struct arena *a, const char *const *path)
{
    struct fieldset out = {0};
    size_t n = 0;
    while (path[n])
        n++;
    fieldset_add_fields(a, &out, path, n);
    return out;
}

static const char *const in_scale[] = {"spec", "replicas", NULL};
#define SCALE_VERSION S("autoscaling/v1")

struct owners owners_to_scale(struct arena *a, struct owners *m, const struct scale_paths *paths)
{
    struct owners out = {.a = a};
    for (size_t i = 0; i < m->n; i++) {
        struct owner *x = &m->p[i];
        const char *const *path = paths->path(paths, x->api_version);
        if (!path)
            continue;
        struct fieldset there = replicas_at(a, path), both = fieldset_common(a, owner_set(m, x), &there);
        if (fieldset_empty(&both))
            continue;
        *owners_add(&out) = (struct owner){.name = x->name,
                                           .api_version = SCALE_VERSION,
                                           .sub = x->sub,
                                           .apply = x->apply,
                                           .time = x->time,
                                           .read = true,
                                           .set = replicas_at(a, in_scale)};
    }
    return out;
}

/* An entry is known again by what names it in the object; that of an update which came through the scale names the
 * scale's version. */
static ptrdiff_t scale_find(const struct owners *scale, const bool *used, const struct owner *x)
{
    for (size_t i = 0; i < scale->n; i++)
        if (!used[i] && scale->p[i].apply == x->apply && str_eq(scale->p[i].name, x->name) &&
            str_eq(scale->p[i].sub, x->sub))
            return (ptrdiff_t)i;
    return -1;
}

struct owners owners_from_scale(struct arena *a, struct owners *parent, struct owners *scale,
                                const struct scale_paths *paths, struct str api_version)
{
    struct owners out = {.a = a};
    const char *const *own = paths->path(paths, api_version);
    struct fieldset inside = replicas_at(a, in_scale), here = own ? replicas_at(a, own) : (struct fieldset){0};
    bool *used = arena_alloc(a, scale->n + 1);
    for (size_t i = 0; i < parent->n; i++) {
        struct owner x = parent->p[i];
        const char *const *path = paths->path(paths, x.api_version);
        if (!path)
            continue;
        struct fieldset there = replicas_at(a, path), both = fieldset_common(a, owner_set(parent, &x), &there);
        if (!fieldset_empty(&both)) {
            ptrdiff_t at = scale_find(scale, used, &x);
            if (at >= 0)
                used[at] = true;
            else
                owner_set_to(&x, fieldset_without(a, &x.set, &there)); /* somebody took it */
        }
        if (x.words || !fieldset_empty(&x.set))
            *owners_add(&out) = x;
    }
    for (size_t i = 0; i < scale->n; i++) {
        struct owner x = scale->p[i];
        struct fieldset both = fieldset_common(a, owner_set(scale, &x), &inside);
        if (used[i] || fieldset_empty(&both))
            continue;
        struct owner *have = owners_find(&out, x.name, x.apply, api_version, x.sub);
        if (have) {
            owner_set_to(have, fieldset_union(a, owner_set(&out, have), &here));
            continue;
        }
        *owners_add(&out) = (struct owner){.name = x.name,
                                           .api_version = api_version,
                                           .sub = x.sub,
                                           .apply = x.apply,
                                           .time = MANAGED_NO_TIME,
                                           .read = true,
                                           .set = here};
    }
    return out;
}
