/* fence_policy.c - a policy as clauses over sets: each of them allows by an address (pods of a podset, or ranges), by
 * ports (numbers, or one name), or both.
 *
 * A rule becomes one clause for each pair of peers and ports, where all ranges of the rule are one peer, and all its
 * numbers one set of ports. Names are resolved by sets of address . protocol . port: of the peers where these are the
 * destinations, else of the pods that the policy is about. What two policies write alike is one set.
 */
#include "net/fence_int.h"
#include "net/service.h"
#include <stdlib.h>

struct fence_reading { /* one direction of one policy */
    struct fences *f;
    struct fence_policy *policy;
    struct fence_chain *chain;
    size_t n;         /* clauses so far, at most */
    bool egress, dry; /* dry: only whether it could be */
    struct err *err;
};

struct fence_parts { /* of one rule */
    ARRAY(struct fence_podset *) sets;
    ARRAY(struct netpolicy_port) names;
    struct fence_content *blocks, *ports;
    bool any_peer, any_port;
    size_t npeers; /* that are selectors */
};

/* ---- contents ---- */

static struct fence_content *content_get(struct fences *f, enum fence_kind kind, struct str key)
{
    struct fence_content *c = map_get(&f->contents, key);
    if (c) {
        c->refs++;
        return c;
    }
    c = NEW(struct fence_content);
    c->refs = 1;
    c->name = (struct fence_name){(uint8_t)kind, f->next_id++};
    c->key = str_dupz(key);
    list_init(&c->dirty);
    list_add_tail(&f->dirty_contents, &c->dirty);
    (void)map_put(&f->contents, key, c);
    return c;
}

void fence_content_unref(struct fences *f, struct fence_content *c)
{
    if (--c->refs)
        return;
    if (c->there)
        array_push(&f->dead, c->name);
    (void)map_del(&f->contents, str_of(c->key));
    list_del(&c->dirty);
    netpolicy_ranges_fini(&c->blocks);
    array_fini(&c->spans);
    mem_free(c->key);
    mem_free(c);
}

static int span_cmp(const void *a, const void *b)
{
    const struct fence_span *x = a, *y = b;
    return x->proto != y->proto ? x->proto - y->proto : x->from != y->from ? x->from - y->from : x->to - y->to;
}

static size_t spans_merge(struct fence_span *p, size_t n)
{
    size_t last = 0;
    if (!n)
        return 0;
    qsort(p, n, sizeof *p, span_cmp);
    for (size_t i = 1; i < n; i++) {
        if (p[i].proto == p[last].proto && p[i].from <= p[last].to + 1)
            p[last].to = MAX(p[last].to, p[i].to);
        else
            p[++last] = p[i];
    }
    return last + 1;
}

static bool too_many(struct fence_reading *r, const char *what, size_t n, size_t max)
{
    return err_set(r->err, E_TOO_LARGE,
                   "NetworkPolicy %s/%s: a rule of spec.%s has %zu %s and at most %zu can be enforced; until it is "
                   "divided, the policy allows nothing",
                   r->policy->ns, r->policy->name, r->egress ? "egress" : "ingress", n, what, max);
}

static bool ports_read(struct fence_reading *r, const struct val *ports, struct fence_parts *out)
{
    ARRAY(struct fence_span) spans = {0};
    struct netpolicy_port p;
    bool ok = true;
    out->any_port = val_len(ports) == 0;
    val_each_item (it, ports) {
        if (!netpolicy_port_of(it, &p))
            continue;
        if (p.name.n)
            array_push(&out->names, p);
        else
            array_push(&spans, ((struct fence_span){p.proto, p.from, p.to}));
    }
    spans.n = spans_merge(spans.p, spans.n);
    if (spans.n > FENCE_RANGES_MAX) {
        ok = too_many(r, "ranges of ports", spans.n, FENCE_RANGES_MAX);
    } else if (spans.n && !r->dry) {
        AUTO(strbuf_fini) struct strbuf key = STRBUF(1 << 20);
        strbuf_addc(&key, 'q');
        array_each (s, &spans)
            strbuf_addf(&key, " %u:%u-%u", s->proto, s->from, s->to);
        out->ports = content_get(r->f, FENCE_PORTS, strbuf_str(&key));
        if (!out->ports->spans.n)
            array_each (s, &spans)
                array_push(&out->ports->spans, *s);
    }
    array_fini(&spans);
    return ok;
}

/* A peer's selector is held against every pod that comes. */
static size_t selector_values(const struct val *selector)
{
    const struct val *others = val_get(selector, N(matchExpressions));
    size_t n = val_len(val_get(selector, N(matchLabels))) + val_len(others);
    val_each_item (e, others)
        n += val_len(val_get(e, N(values)));
    return n;
}

static bool peers_read(struct fence_reading *r, const struct val *peers, struct fence_parts *out)
{
    AUTO(netpolicy_ranges_fini) struct netpolicy_ranges blocks = {0};
    static const struct val all = {.type = VAL_MAP};
    out->any_peer = val_len(peers) == 0;
    val_each_item (it, peers) {
        const struct val *block = val_get(it, N(ipBlock)), *ns = val_get(it, N(namespaceSelector)),
                         *pods = val_get(it, N(podSelector));
        if (val_is(block, VAL_MAP)) {
            netpolicy_block_add(block, &blocks);
            continue;
        }
        if (!val_is(ns, VAL_MAP) && !val_is(pods, VAL_MAP))
            continue;
        size_t values = MAX(selector_values(ns), selector_values(pods));
        if (values > FENCE_VALUES_MAX)
            return too_many(r, "values of one selector", values, FENCE_VALUES_MAX);
        if (++out->npeers > FENCE_RULES_MAX / 2)
            return too_many(r, "peers", val_len(peers), FENCE_RULES_MAX / 2);
        if (!r->dry)
            array_push(&out->sets, fence_podset_get(r->f, str_of(r->policy->ns), val_is(ns, VAL_MAP) ? ns : NULL,
                                                    val_is(pods, VAL_MAP) ? pods : &all));
    }
    netpolicy_ranges_merge(&blocks);
    if (blocks.list.n > FENCE_RANGES_MAX)
        return too_many(r, "ranges of addresses", blocks.list.n, FENCE_RANGES_MAX);
    if (!blocks.list.n || r->dry)
        return true;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(1 << 20);
    strbuf_addc(&key, 'b');
    array_each (b, &blocks.list)
        strbuf_addf(&key, " %x-%x", b->from, b->to);
    out->blocks = content_get(r->f, FENCE_BLOCKS, strbuf_str(&key));
    if (!out->blocks->blocks.list.n)
        array_each (b, &blocks.list)
            array_push(&out->blocks->blocks.list, *b);
    return true;
}

/* ---- clauses ---- */

static void clause_add(struct fence_reading *r, struct fence_clause c) /* references of its own */
{
    if (c.blocks)
        c.blocks->refs++;
    if (c.ports)
        c.ports->refs++;
    array_push(&r->chain->clauses, c);
}

static struct fence_view *named_view(struct fence_reading *r, struct fence_podset *peers,
                                     const struct netpolicy_port *p)
{
    static const struct val all = {.type = VAL_MAP};
    if (!r->egress)
        return fence_view_get(r->f, r->policy->subjects, FENCE_NAMED, p->name, p->proto);
    if (peers)
        return fence_view_get(r->f, peers, FENCE_NAMED, p->name, p->proto);
    struct fence_podset *everybody = fence_podset_get(r->f, S(""), &all, &all);
    struct fence_view *v = fence_view_get(r->f, everybody, FENCE_NAMED, p->name, p->proto);
    fence_podset_unref(r->f, everybody);
    return v;
}

/* Of one peer: a podset, ranges, or neither (everybody). */
static void clauses_of_peer(struct fence_reading *r, const struct fence_parts *parts, struct fence_podset *set,
                            struct fence_content *blocks)
{
    if (parts->any_port || parts->ports) {
        clause_add(r, (struct fence_clause){
                          .peers = set ? fence_view_get(r->f, set, FENCE_ADDRS, S(""), 0) : NULL,
                          .blocks = blocks,
                          .ports = parts->ports,
                      });
        if (set && r->egress)
            clause_add(r, (struct fence_clause){.peers = fence_view_get(r->f, set, FENCE_HOSTED, S(""), 0),
                                                .ports = parts->ports});
    }
    array_each (name, &parts->names) {
        bool by_name = r->egress && set; /* the view has the peers in it */
        clause_add(r, (struct fence_clause){
                          .peers = set && !by_name ? fence_view_get(r->f, set, FENCE_ADDRS, S(""), 0) : NULL,
                          .blocks = blocks,
                          .named = named_view(r, set, name),
                      });
    }
}

static bool rule_compile(struct fence_reading *r, const struct val *rule)
{
    struct fence_parts parts = {0};
    bool ok = ports_read(r, val_get(rule, N(ports)), &parts) &&
              peers_read(r, netpolicy_peers(rule, r->egress), &parts);
    r->n += (parts.npeers * 2 + 1) * (parts.names.n + 1);
    if (ok && r->n > FENCE_RULES_MAX)
        ok = too_many(r, "pairs of peers and ports by name, with the rules before it,", r->n, FENCE_RULES_MAX);
    if (ok && parts.any_peer && !r->dry)
        clauses_of_peer(r, &parts, NULL, NULL);
    if (ok && parts.blocks)
        clauses_of_peer(r, &parts, NULL, parts.blocks);
    array_each (s, &parts.sets) {
        if (ok)
            clauses_of_peer(r, &parts, *s, NULL);
        fence_podset_unref(r->f, *s);
    }
    if (parts.blocks)
        fence_content_unref(r->f, parts.blocks);
    if (parts.ports)
        fence_content_unref(r->f, parts.ports);
    array_fini(&parts.sets);
    array_fini(&parts.names);
    return ok;
}

static void clause_release(struct fences *f, struct fence_clause *c)
{
    if (c->peers)
        fence_view_unref(f, c->peers);
    if (c->named)
        fence_view_unref(f, c->named);
    if (c->blocks)
        fence_content_unref(f, c->blocks);
    if (c->ports)
        fence_content_unref(f, c->ports);
}

void fence_clauses_drop(struct fences *f, struct fence_chain *c)
{
    array_each (it, &c->clauses)
        clause_release(f, it);
    array_fini(&c->clauses);
}

static bool clauses_equal(const struct fence_chain *a, const struct fence_clause *p, size_t n)
{
    if (a->clauses.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct fence_clause *x = &a->clauses.p[i], *y = &p[i];
        if (x->peers != y->peers || x->named != y->named || x->blocks != y->blocks || x->ports != y->ports)
            return false;
    }
    return true;
}

static bool rules_read(struct fences *f, struct fence_policy *p, int way, bool dry, struct err *err)
{
    struct fence_reading r = {f, p, &p->chains[way], 0, way == 1, dry, err};
    val_each_item (rule, p->chains[way].about ? netpolicy_rules(p->obj, way == 1) : NULL)
        if (!rule_compile(&r, rule))
            return false;
    return true;
}

bool fence_policy_check(struct fences *f, struct fence_policy *p, struct err *err)
{
    return rules_read(f, p, 0, true, err) && rules_read(f, p, 1, true, err);
}

/* New clauses hold their sets before the old ones let go of them: what both have stays as it is in the kernel. */
bool fence_policy_compile(struct fences *f, struct fence_policy *p, struct err *err)
{
    struct fence_chain was[2]; /* their clauses alone */
    for (int i = 0; i < 2; i++) {
        was[i] = p->chains[i];
        (void)memset(&p->chains[i].clauses, 0, sizeof p->chains[i].clauses);
    }
    bool ok = fence_policy_check(f, p, err) && rules_read(f, p, 0, false, err) && rules_read(f, p, 1, false, err);
    for (int i = 0; i < 2; i++) {
        struct fence_chain *c = &p->chains[i];
        if (!ok)
            fence_clauses_drop(f, c);
        if (c->about && !clauses_equal(&was[i], c->clauses.p, c->clauses.n) && list_empty(&c->dirty))
            list_add_tail(&f->dirty_chains, &c->dirty);
        fence_clauses_drop(f, &was[i]);
    }
    return ok;
}
