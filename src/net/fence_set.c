/* fence_set.c - which pods selectors choose, kept right as pods, namespaces and selectors come and go; and the views
 * of it that the kernel has as sets.
 *
 * A member that joins is fresh until the next difference adds it to the views there are; a view that is new takes
 * all. One that leaves is written down as keys that are gone from each view, where they were told. */
#include "net/fence_int.h"
#include "net/service.h"

void fence_pod_dirty(struct fences *f, struct fence_pod_state *p)
{
    if (list_empty(&p->dirty))
        list_add_tail(&f->dirty_pods, &p->dirty);
}

static void set_dirty(struct fences *f, struct fence_podset *s)
{
    if (list_empty(&s->dirty))
        list_add_tail(&f->dirty_sets, &s->dirty);
}

void fence_cut(struct fences *f, uint32_t ip)
{
    if (ip)
        (void)map_put(&f->cut, (struct str){(const char *)&ip, sizeof ip}, f);
}

/* ---- views ---- */

static struct fence_key key_of(uint32_t ip, uint8_t proto, uint16_t port)
{
    struct fence_key k = {{0}};
    ip = __builtin_bswap32(ip);
    port = __builtin_bswap16(port);
    (void)memcpy(k.b, &ip, 4);
    k.b[4] = proto;
    (void)memcpy(k.b + 8, &port, 2);
    return k;
}

size_t fence_view_keys(const struct fence_view *v, const struct fence_pod_state *p, struct fence_key *out, size_t max)
{
    size_t n = 0;
    if (!p->ip || (v->name.kind == FENCE_ADDRS && p->only_ports) || (v->name.kind == FENCE_HOSTED && !p->only_ports))
        return 0;
    if (v->name.kind == FENCE_ADDRS) {
        out[0] = key_of(p->ip, 0, 0);
        return 1;
    }
    for (size_t i = 0; i < p->nports && n < max; i++) {
        const struct fence_port *port = &p->ports[i];
        if (v->name.kind == FENCE_NAMED && (port->proto != v->proto || !str_eqz(port->name, v->port)))
            continue;
        out[n] = key_of(p->ip, port->proto, port->port);
        bool twice = false;
        for (size_t j = 0; j < n && !twice; j++)
            twice = memcmp(&out[j], &out[n], sizeof *out) == 0;
        n += !twice;
    }
    return n;
}

static bool pod_is_in(const struct fence_pod_state *p, const struct fence_podset *s)
{
    list_each (m, &p->members, struct fence_member, of_pod)
        if (m->set == s)
            return true;
    return false;
}

bool fence_view_has(const struct fence_view *v, const struct fence_pod_state *p, uint8_t proto, uint16_t port)
{
    struct fence_key keys[FENCE_PORTS_OF_POD];
    if (!p || !pod_is_in(p, v->set))
        return false;
    size_t n = fence_view_keys(v, p, keys, countof(keys));
    if (v->name.kind == FENCE_ADDRS)
        return n > 0;
    struct fence_key want = key_of(p->ip, proto, port);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&keys[i], &want, sizeof want) == 0)
            return true;
    return false;
}

struct fence_view *fence_view_get(struct fences *f, struct fence_podset *s, enum fence_kind kind, struct str port,
                                  uint8_t proto)
{
    list_each (v, &s->views, struct fence_view, in) {
        if (v->name.kind == kind && v->proto == proto && str_eqz(port, v->port)) {
            v->refs++;
            return v;
        }
    }
    struct fence_view *v = NEW(struct fence_view);
    v->set = s;
    s->refs++;
    v->name = (struct fence_name){(uint8_t)kind, f->next_id++};
    v->port = str_dupz(port);
    v->proto = proto;
    v->refs = 1;
    list_init(&v->dirty);
    list_add_tail(&f->dirty_views, &v->dirty);
    list_init(&v->in);
    list_add_tail(&s->views, &v->in);
    return v;
}

void fence_view_unref(struct fences *f, struct fence_view *v)
{
    if (--v->refs)
        return;
    if (v->there)
        array_push(&f->dead, v->name);
    list_del(&v->in);
    list_del(&v->dirty);
    array_fini(&v->gone);
    mem_free(v->port);
    fence_podset_unref(f, v->set);
    mem_free(v);
}

/* ---- members ---- */

static void local_changed(struct fences *f, struct fence_podset *s, bool more)
{
    s->nlocal = more ? s->nlocal + 1 : s->nlocal - 1;
    if (s->nlocal == (more ? 1 : 0) && list_empty(&s->unsettled))
        list_add_tail(&f->unsettled, &s->unsettled);
}

static void member_join(struct fences *f, struct fence_pod_state *p, struct fence_podset *s)
{
    struct fence_member *m = NEW(struct fence_member);
    m->pod = p;
    m->set = s;
    m->marked = true;
    list_init(&m->of_pod);
    list_init(&m->of_set);
    list_init(&m->fresh);
    list_add_tail(&p->members, &m->of_pod);
    list_add_tail(&s->members, &m->of_set);
    list_add_tail(&s->fresh, &m->fresh);
    set_dirty(f, s);
    if (s->subjects_of.n)
        fence_pod_dirty(f, p);
    if (p->local)
        local_changed(f, s, true);
}

static void member_leave(struct fences *f, struct fence_member *m, bool lives)
{
    struct fence_podset *s = m->set;
    struct fence_pod_state *p = m->pod;
    struct fence_key keys[FENCE_PORTS_OF_POD];
    bool told = list_empty(&m->fresh);
    list_each (v, &s->views, struct fence_view, in) {
        size_t n = told && v->there ? fence_view_keys(v, p, keys, countof(keys)) : 0;
        for (size_t i = 0; i < n; i++)
            array_push(&v->gone, keys[i]);
        if (n && lives)
            fence_cut(f, p->ip);
    }
    set_dirty(f, s);
    if (s->subjects_of.n)
        fence_pod_dirty(f, p);
    if (p->local)
        local_changed(f, s, false);
    list_del(&m->of_pod);
    list_del(&m->of_set);
    list_del(&m->fresh);
    mem_free(m);
}

void fence_pod_leave(struct fences *f, struct fence_pod_state *p, bool lives)
{
    list_each (m, &p->members, struct fence_member, of_pod)
        member_leave(f, m, lives);
}

struct matching {
    struct fences *f;
    struct fence_pod_state *pod;
    struct fence_podset *set;
};

static void set_matched(struct fence_selector *sel, void *arg)
{
    struct matching *x = arg;
    struct fence_podset *s = container_of(sel, struct fence_podset, sel);
    list_each (m, &x->pod->members, struct fence_member, of_pod) {
        if (m->set == s) {
            m->marked = true;
            return;
        }
    }
    member_join(x->f, x->pod, s);
}

void fence_pod_rematch(struct fences *f, struct fence_pod_state *p)
{
    struct matching x = {f, p, NULL};
    list_each (m, &p->members, struct fence_member, of_pod)
        m->marked = false;
    if (p->ns->own)
        fence_index_find(&p->ns->own->podsets, &p->of.labels, set_matched, &x);
    list_each (l, &p->ns->scopes, struct fence_scope_ns, of_ns)
        fence_index_find(&l->scope->podsets, &p->of.labels, set_matched, &x);
    list_each (m, &p->members, struct fence_member, of_pod)
        if (!m->marked)
            member_leave(f, m, true);
}

/* ---- namespaces and scopes ---- */

struct fence_ns *fence_ns_get(struct fences *f, struct str name)
{
    struct fence_ns *ns = map_get(&f->namespaces, name);
    if (ns)
        return ns;
    ns = NEW(struct fence_ns);
    ns->name = str_dupz(name);
    list_init(&ns->scopes);
    fence_labels_init(&ns->pods);
    (void)map_put(&f->namespaces, name, ns);
    return ns;
}

void fence_ns_drop_unused(struct fences *f, struct fence_ns *ns)
{
    if (ns->known || ns->own || ns->pods.n)
        return;
    (void)map_del(&f->namespaces, str_of(ns->name));
    fence_labels_fini(&ns->pods);
    mem_free(ns->name);
    mem_free(ns);
}

static void scope_link(struct fence_scope *s, struct fence_ns *ns)
{
    struct fence_scope_ns *l = NEW(struct fence_scope_ns);
    l->scope = s;
    l->ns = ns;
    l->marked = true;
    list_init(&l->of_scope);
    list_init(&l->of_ns);
    list_add_tail(&s->namespaces, &l->of_scope);
    list_add_tail(&ns->scopes, &l->of_ns);
}

static void scope_unlink(struct fence_scope_ns *l)
{
    list_del(&l->of_scope);
    list_del(&l->of_ns);
    mem_free(l);
}

static void scope_matched(struct fence_selector *sel, void *arg)
{
    struct fence_scope *s = container_of(sel, struct fence_scope, sel);
    struct fence_ns *ns = arg;
    list_each (l, &ns->scopes, struct fence_scope_ns, of_ns) {
        if (l->scope == s) {
            l->marked = true;
            return;
        }
    }
    scope_link(s, ns);
}

void fence_ns_rescope(struct fences *f, struct fence_ns *ns)
{
    list_each (l, &ns->scopes, struct fence_scope_ns, of_ns)
        l->marked = false;
    if (ns->known)
        fence_index_find(&f->scope_index, &ns->of.labels, scope_matched, ns);
    list_each (l, &ns->scopes, struct fence_scope_ns, of_ns)
        if (!l->marked)
            scope_unlink(l);
    list_each (p, &ns->pods.all, struct fence_pod_state, of.all)
        fence_pod_rematch(f, p);
}

static void namespace_matched(struct fence_labelled *l, void *arg)
{
    scope_link(arg, container_of(l, struct fence_ns, of));
}

/* namespaces NULL: the one of that name */
static struct fence_scope *scope_get(struct fences *f, struct str ns, const struct val *namespaces)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(8 << 20);
    if (namespaces) {
        strbuf_addc(&key, '~');
        fence_selector_key(namespaces, &key);
    } else {
        strbuf_addc(&key, '=');
        strbuf_add(&key, ns);
    }
    struct fence_scope *s = map_get(&f->scopes, strbuf_str(&key));
    if (s) {
        s->refs++;
        return s;
    }
    s = NEW(struct fence_scope);
    s->refs = 1;
    s->key = str_dupz(strbuf_str(&key));
    list_init(&s->namespaces);
    fence_index_init(&s->podsets);
    (void)map_put(&f->scopes, strbuf_str(&key), s);
    if (namespaces) {
        fence_selector_set(&s->sel, namespaces);
        fence_index_add(&f->scope_index, &s->sel);
        fence_labels_find(&f->ns_labels, &s->sel, namespace_matched, s);
    } else {
        s->only = fence_ns_get(f, ns);
        s->only->own = s;
    }
    return s;
}

static void scope_unref(struct fences *f, struct fence_scope *s)
{
    if (--s->refs)
        return;
    list_each (l, &s->namespaces, struct fence_scope_ns, of_scope)
        scope_unlink(l);
    if (s->only) {
        s->only->own = NULL;
        fence_ns_drop_unused(f, s->only);
    } else {
        fence_index_del(&f->scope_index, &s->sel);
        fence_selector_fini(&s->sel);
    }
    (void)map_del(&f->scopes, str_of(s->key));
    fence_index_fini(&s->podsets);
    mem_free(s->key);
    mem_free(s);
}

/* ---- podsets ---- */

static void pod_matched(struct fence_labelled *l, void *arg)
{
    struct matching *x = arg;
    member_join(x->f, container_of(l, struct fence_pod_state, of), x->set);
}

struct fence_podset *fence_podset_get(struct fences *f, struct str ns, const struct val *namespaces,
                                      const struct val *pods)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(16 << 20);
    struct fence_scope *scope = scope_get(f, ns, namespaces);
    strbuf_addz(&key, scope->key);
    strbuf_addc(&key, '/');
    fence_selector_key(pods, &key);
    struct fence_podset *s = map_get(&f->podsets, strbuf_str(&key));
    if (s) {
        s->refs++;
        scope_unref(f, scope);
        return s;
    }
    s = NEW(struct fence_podset);
    s->refs = 1;
    s->scope = scope;
    s->key = str_dupz(strbuf_str(&key));
    list_init(&s->members);
    list_init(&s->fresh);
    list_init(&s->views);
    list_init(&s->dirty);
    list_init(&s->unsettled);
    fence_selector_set(&s->sel, pods);
    (void)map_put(&f->podsets, strbuf_str(&key), s);
    struct matching x = {f, NULL, s};
    if (scope->only)
        fence_labels_find(&scope->only->pods, &s->sel, pod_matched, &x);
    list_each (l, &scope->namespaces, struct fence_scope_ns, of_scope)
        fence_labels_find(&l->ns->pods, &s->sel, pod_matched, &x);
    fence_index_add(&scope->podsets, &s->sel);
    return s;
}

void fence_podset_unref(struct fences *f, struct fence_podset *s)
{
    if (--s->refs)
        return;
    list_each (m, &s->members, struct fence_member, of_set) {
        list_del(&m->of_pod);
        list_del(&m->fresh);
        mem_free(m);
    }
    fence_index_del(&s->scope->podsets, &s->sel);
    scope_unref(f, s->scope);
    fence_selector_fini(&s->sel);
    (void)map_del(&f->podsets, str_of(s->key));
    list_del(&s->dirty);
    list_del(&s->unsettled);
    array_fini(&s->subjects_of);
    mem_free(s->key);
    mem_free(s);
}
