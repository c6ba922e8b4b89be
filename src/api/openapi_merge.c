/* What other servers' documents of OpenAPI 2.0 add to ours. Upstream: k8s.io/kube-openapi/pkg/aggregator. */
#include "api/codec.h"
#include "api/openapi_int.h"
#include <string.h>

/* Under which name a definition or parameter goes in. */
struct openapi_name {
    struct str as;
    bool is_there; /* the same one, of somebody else: it is not written again */
};
struct openapi_names {
    bool left_out;                      /* we serve that group version ourselves */
    struct map definitions, parameters; /* its own name -> struct openapi_name in the merge's arena */
};

/* What has a name already. */
struct openapi_taken {
    const struct type *type;         /* a definition of ours, or ... */
    const struct openapi_names *own; /* ... of another server, with its names ... */
    const struct openapi_member *member;
    const struct val *value; /* ... or a parameter of ours */
};

void openapi_merge_add(struct openapi_merge *m, struct openapi_remote *const *remotes, size_t n)
{
    ASSERT(!m->n);
    m->list = mem_alloc(n * sizeof *m->list + 1);
    for (size_t i = 0; i < n; i++)
        m->list[m->n++] = openapi_remote_ref(remotes[i]);
}

void openapi_merge_fini(struct openapi_merge *m)
{
    for (size_t i = 0; i < m->n; i++) {
        openapi_remote_unref(m->list[i]);
        if (m->names) {
            map_fini(&m->names[i].definitions);
            map_fini(&m->names[i].parameters);
        }
    }
    mem_free(m->list);
    arena_fini(&m->arena);
}

/* --- texts with other names in them --- */

static void add_renamed(struct strbuf *b, const struct openapi_names *own, struct str text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str before, name;
    enum openapi_ref kind;
    while ((kind = openapi_ref_next(&a, &text, &before, &name))) {
        const struct openapi_name *as = map_get(kind == OPENAPI_DEFINITION ? &own->definitions : &own->parameters,
                                                name);
        strbuf_add(b, before);
        json_add_string(b, arena_fmt(&a, "#/%s/" STR_FMT, kind == OPENAPI_DEFINITION ? "definitions" : "parameters",
                                     STR_ARG(as ? as->as : name)));
    }
    strbuf_add(b, before);
}

/* --- names --- */

static struct val value_of(struct arena *a, struct openapi_document *d, const struct openapi_taken *t)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 22);
    struct strbuf *was = d->b;
    struct val v = VAL_NONE;
    struct err err = ERR;
    if (t->value)
        return *t->value;
    if (t->type) {
        d->b = &b;
        strbuf_addc(&b, '{');
        openapi_add_component(d, t->type);
        strbuf_addc(&b, '}');
        d->b = was;
        if (json_decode(a, strbuf_str(&b), &v, &err) && val_len(&v) == 1)
            return v.map[0].v;
        return VAL_NONE;
    }
    add_renamed(&b, t->own, t->member->text);
    return json_decode(a, strbuf_str(&b), &v, &err) ? v : VAL_NONE;
}

/* But for the kinds that they are of. */
static bool same_value(struct openapi_document *d, const struct openapi_taken *t, const struct openapi_member *m)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val theirs, ours = value_of(&a, d, t);
    struct err err = ERR;
    if (!json_decode(&a, m->text, &theirs, &err))
        return false;
    ours = val_copy(&a, &ours);
    (void)val_del_str(&ours, S("x-kubernetes-group-version-kind"));
    (void)val_del_str(&theirs, S("x-kubernetes-group-version-kind"));
    return val_equal(&ours, &theirs);
}

static bool members_have(const struct openapi_members *all, struct str name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->list[i].name, name))
            return true;
    return false;
}

static const struct openapi_taken its_own;

static void name_members(struct openapi_merge *m, struct openapi_document *d, struct map *taken,
                         const struct openapi_names *own, const struct openapi_members *all, struct map *out)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct openapi_member *member = &all->list[i];
        struct openapi_name *name = ARENA_NEW(&m->arena, struct openapi_name);
        const struct openapi_taken *t = map_get(taken, member->name);
        name->as = member->name;
        name->is_there = t && same_value(d, t, member);
        for (int n = 2; t && !name->is_there; n++) {
            name->as = arena_fmt(&m->arena, STR_FMT "_v%d", STR_ARG(member->name), n);
            t = map_get(taken, name->as);
            name->is_there = t && same_value(d, t, member);
            if (!t && members_have(all, name->as))
                t = &its_own; /* it comes later */
        }
        (void)map_put(out, member->name, name);
    }
    for (size_t i = 0; i < all->n; i++) {
        const struct openapi_name *name = map_get(out, all->list[i].name);
        struct openapi_taken *t = ARENA_NEW(&m->arena, struct openapi_taken);
        *t = (struct openapi_taken){.own = own, .member = &all->list[i]};
        if (!name->is_there)
            (void)map_put(taken, name->as, t);
    }
}

static void take_ours(struct openapi_merge *m, struct openapi_document *d, struct map *definitions,
                      struct map *parameters)
{
    map_each (it, &d->seen) {
        struct openapi_taken *t = ARENA_NEW(&m->arena, struct openapi_taken);
        t->type = it->value;
        (void)map_put(definitions, it->key, t);
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct strbuf *was = d->b;
    struct val *all = ARENA_NEW(&m->arena, struct val);
    struct err err = ERR;
    d->b = &b;
    strbuf_addc(&b, '{');
    openapi_add_parameters(d);
    strbuf_addc(&b, '}');
    d->b = was;
    ASSERT(json_decode(&m->arena, strbuf_str(&b), all, &err));
    val_each_member (p, all) {
        struct openapi_taken *t = ARENA_NEW(&m->arena, struct openapi_taken);
        t->value = &p->v;
        (void)map_put(parameters, p->name->s, t);
    }
}

void openapi_merge_name(struct openapi_merge *m, struct openapi_document *d)
{
    if (!m->n)
        return;
    AUTO(map_fini) struct map definitions = MAP, parameters = MAP;
    m->names = arena_alloc(&m->arena, m->n * sizeof *m->names);
    memset(m->names, 0, m->n * sizeof *m->names);
    take_ours(m, d, &definitions, &parameters);
    for (size_t i = 0; i < m->n; i++) {
        const struct openapi_remote *r = m->list[i];
        struct openapi_names *own = &m->names[i];
        for (size_t v = 0; v < d->set->nversions; v++)
            own->left_out |= str_eq(d->set->versions[v].group, r->group) &&
                             str_eq(d->set->versions[v].version, r->version);
        if (own->left_out)
            continue;
        name_members(m, d, &definitions, own, &r->definitions, &own->definitions);
        name_members(m, d, &parameters, own, &r->parameters, &own->parameters);
    }
}

/* --- what goes in --- */

bool openapi_merge_next(struct openapi_merge *m, enum openapi_ref map, struct strbuf *b, bool *first)
{
    for (; m->remote < m->n; m->remote++, m->member = 0) {
        const struct openapi_remote *r = m->list[m->remote];
        const struct openapi_names *own = &m->names[m->remote];
        const struct openapi_members *all = map == OPENAPI_DEFINITION  ? &r->definitions
                                            : map == OPENAPI_PARAMETER ? &r->parameters
                                                                       : &r->paths;
        while (!own->left_out && m->member < all->n) {
            const struct openapi_member *member = &all->list[m->member++];
            const struct openapi_name *name = map == OPENAPI_DEFINITION  ? map_get(&own->definitions, member->name)
                                              : map == OPENAPI_PARAMETER ? map_get(&own->parameters, member->name)
                                                                         : NULL;
            if (name && name->is_there)
                continue;
            strbuf_addz(b, *first ? "" : ",");
            *first = false;
            json_add_string(b, name ? name->as : member->name);
            strbuf_addc(b, ':');
            add_renamed(b, own, member->text);
            return true;
        }
    }
    m->remote = m->member = 0;
    return false;
}
