/* aggregate.c - which APIServices have a Service, and how their servers are reached. */
#include "server/aggregate.h"
#include "server/aggregate_int.h"
#include "server/limits.h"
#include "server/nodeproxy.h"
#include "server/pki.h"
#include <string.h>

static struct str key_of(struct arena *a, struct str group, struct str version)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version));
}

struct aggregates *aggregates_new(struct server *s)
{
    struct aggregates *all = NEW(struct aggregates);
    all->server = s;
    list_init(&all->listeners);
    return all;
}

static void target_free(struct aggregate_target *t)
{
    aggregate_check_end(t);
    outbound_unref(t->is.outbound);
    obj_unref(t->obj);
    arena_fini(&t->arena);
    mem_free(t);
}

void aggregates_free(struct aggregates *all)
{
    if (!all)
        return;
    map_each (it, &all->by_name)
        target_free(it->value);
    map_fini(&all->by_name);
    map_fini(&all->by_version);
    mem_free(all);
}

/* --- who serves what --- */

static void changes_tell(struct aggregates *all, const struct aggregate_target *t)
{
    list_each (l, &all->listeners, struct aggregate_listener, node)
        l->fn(l, &t->is);
}

static bool condition_holds(const struct obj *o)
{
    const struct val *c = val_find(val_get(obj_status(o), N(conditions)), N(type), S("Available"));
    return str_eqz(val_text_at(c, N(status)), "True");
}

static struct outbound *outbound_of(struct aggregates *all, const struct obj *o, bool insecure)
{
    const struct val *spec = obj_spec(o), *service = val_get(spec, N(service));
    const struct keys *k = all->server->keys;
    return outbound_new(all->server, &(struct outbound_config){.ns = val_text_at(service, N(namespace)),
                                                               .name = val_text_at(service, N(name)),
                                                               .port = (int)val_num_at(service, 443, N(port)),
                                                               .ca = val_raw(val_get(spec, N(caBundle))),
                                                               .insecure = insecure,
                                                               .cert = strbuf_str(&k->proxy_cert),
                                                               .key = strbuf_str(&k->proxy_key),
                                                               .by_address = true,
                                                               .connections_most = LIMIT_PROXY_SESSIONS});
}

struct outbound *aggregate_checked(struct aggregates *all, const struct obj *o)
{
    return outbound_of(all, o, true);
}

static bool is_remote(const struct obj *o)
{
    return o && val_is(val_get(obj_spec(o), N(service)), VAL_MAP);
}

static void target_reach(struct aggregates *all, struct aggregate_target *t)
{
    outbound_unref(t->is.outbound);
    t->is.outbound = outbound_of(all, t->obj, val_true(val_get(obj_spec(t->obj), N(insecureSkipTLSVerify))));
}

static struct aggregate_target *target_new(struct aggregates *all, struct obj *o)
{
    struct aggregate_target *t = NEW(struct aggregate_target);
    t->all = all;
    t->arena = ARENA;
    t->obj = obj_ref(o);
    const struct val *spec = obj_spec(o), *service = val_get(spec, N(service));
    struct arena *a = &t->arena;
    t->is = (struct aggregated){.name = str_dup(a, o->name),
                                .group = str_dup(a, val_text_at(spec, N(group))),
                                .version = str_dup(a, val_text_at(spec, N(version))),
                                .service_ns = str_dup(a, val_text_at(service, N(namespace))),
                                .service_name = str_dup(a, val_text_at(service, N(name))),
                                .port = (int)val_num_at(service, 443, N(port)),
                                .group_priority = (int)val_num_at(spec, 0, N(groupPriorityMinimum)),
                                .version_priority = (int)val_num_at(spec, 0, N(versionPriority)),
                                .available = condition_holds(o)};
    target_reach(all, t);
    aggregate_check_begin(t);
    (void)map_put(&all->by_name, t->is.name, t);
    (void)map_put(&all->by_version, key_of(a, t->is.group, t->is.version), t);
    return t;
}

static void target_drop(struct aggregates *all, struct aggregate_target *t, bool tell)
{
    AUTO(arena_fini) struct arena a = ARENA;
    (void)map_del(&all->by_name, t->is.name);
    (void)map_del(&all->by_version, key_of(&a, t->is.group, t->is.version));
    t->is.gone = true;
    if (tell)
        changes_tell(all, t);
    target_free(t);
}

static void service_changed(struct aggregates *all, const struct obj *o)
{
    struct str name = o->kind == K(Service) ? o->name
                                            : val_text(val_get_str(obj_labels(o), S("kubernetes.io/service-name")));
    map_each (it, &all->by_name) {
        struct aggregate_target *t = it->value;
        if (str_eq(t->is.service_ns, o->ns) && str_eq(t->is.service_name, name))
            aggregate_check_soon(t);
    }
}

static void apiservice_changed(struct aggregates *all, const struct obj *was, const struct obj *now)
{
    struct aggregate_target *t = map_get(&all->by_name, (now ? now : was)->name);
    if (!is_remote(now)) {
        if (t)
            target_drop(all, t, true);
        return;
    }
    bool same = t && val_equal(obj_spec(t->obj), obj_spec(now)) && str_eq(t->obj->uid, now->uid);
    bool available = condition_holds(now);
    if (t && !same)
        target_drop(all, TAKE(t), true);
    if (!t) {
        changes_tell(all, target_new(all, (struct obj *)(uintptr_t)now));
        return;
    }
    obj_unref(t->obj);
    t->obj = obj_ref((struct obj *)(uintptr_t)now);
    if (!t->writing) /* else it is our own word */
        aggregate_check_soon(t);
    if (t->is.available == available)
        return;
    t->is.available = available;
    changes_tell(all, t);
}

void aggregates_changed(struct aggregates *all, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    if (o->kind == K(APIService)) {
        apiservice_changed(all, was, now);
        return;
    }
    if (!map_len(&all->by_name) || (o->kind != K(Service) && o->kind != K(EndpointSlice)))
        return;
    service_changed(all, o);
}

void aggregates_renew(struct aggregates *all)
{
    map_each (it, &all->by_name) {
        struct aggregate_target *t = it->value;
        target_reach(all, t);
        aggregate_check_soon(t);
    }
}

const struct aggregated *aggregate_find(struct server *s, struct str group, struct str version)
{
    if (!aggregate_count(s))
        return NULL;
    AUTO(arena_fini) struct arena a = ARENA;
    struct aggregate_target *t = map_get(&s->aggregates->by_version, key_of(&a, group, version));
    return t ? &t->is : NULL;
}

const struct aggregated *aggregate_named(struct server *s, struct str name)
{
    struct aggregate_target *t = aggregate_count(s) ? map_get(&s->aggregates->by_name, name) : NULL;
    return t ? &t->is : NULL;
}

void aggregate_each(struct server *s, bool (*fn)(const struct aggregated *g, void *arg), void *arg)
{
    if (!aggregate_count(s))
        return;
    map_each (it, &s->aggregates->by_name)
        if (!fn(&((struct aggregate_target *)it->value)->is, arg))
            return;
}

size_t aggregate_count(const struct server *s)
{
    return s->aggregates ? map_len(&s->aggregates->by_name) : 0; /* none: the server ends */
}

const struct aggregated *aggregate_of_path(struct server *s, struct str path)
{
    struct str rest, group, version;
    if (!aggregate_count(s) || !str_starts(path, S("/apis/")))
        return NULL;
    rest = str_sub(path, sizeof "/apis/" - 1, path.n);
    if (!str_cut(&rest, '/', &group) || !str_cut(&rest, '/', &version) || !group.n || !version.n)
        return NULL;
    return aggregate_find(s, group, version);
}

bool aggregate_serves(struct server *s, struct str path)
{
    return aggregate_of_path(s, path);
}

void aggregate_listen(struct server *s, struct aggregate_listener *l)
{
    list_add_tail(&s->aggregates->listeners, &l->node);
}

void aggregate_unlisten(struct aggregate_listener *l)
{
    list_del(&l->node);
}

/* --- asking --- */

/* A key of extra as the name of a field: what may not stand there, and %, is escaped. */
static struct str extra_field(struct arena *a, struct str key)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "X-Remote-Extra-");
    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                     (c && strchr("!#$&'*+-.^_`|~", c));
        if (plain)
            strbuf_addc(&b, (char)c);
        else
            strbuf_addf(&b, "%%%02X", c);
    }
    return str_dup(a, strbuf_str(&b));
}

/* As a field it comes back as it is: a name is not to become another's on its way. */
static bool name_is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
            return false;
    return !s.n || (s.p[0] != ' ' && s.p[s.n - 1] != ' ');
}

static bool user_is_plain(const struct user *u)
{
    bool plain = name_is_plain(u->name) && name_is_plain(u->uid);
    for (size_t i = 0; i < u->ngroups; i++)
        plain &= name_is_plain(u->groups[i]);
    val_each_member (m, u->extra)
        val_each_item (it, &m->v)
            plain &= name_is_plain(val_text(it));
    return plain;
}

void aggregate_identity(struct arena *a, struct http_headers *to, const struct user *u)
{
    http_header_add(a, to, S("X-Remote-User"), u->name);
    if (u->uid.n)
        http_header_add(a, to, S("X-Remote-Uid"), u->uid);
    for (size_t i = 0; i < u->ngroups; i++)
        http_header_add(a, to, S("X-Remote-Group"), u->groups[i]);
    val_each_member (m, u->extra)
        val_each_item (it, &m->v)
            http_header_add(a, to, extra_field(a, m->name->s), val_text(it));
}

void aggregate_headers(struct arena *a, struct http_headers *to, struct str accept, struct str etag)
{
    static const struct str masters[] = {S_INIT("system:masters")};
    static const struct user ourselves = {.name = S_INIT("system:kube-aggregator"), .groups = masters, .ngroups = 1};
    aggregate_identity(a, to, &ourselves);
    http_header_add(a, to, S("User-Agent"), S("kube-aggregator"));
    if (accept.n)
        http_header_add(a, to, S("Accept"), accept);
    if (etag.n)
        http_header_add(a, to, S("If-None-Match"), etag);
}

void aggregate_ask(const struct aggregated *g, struct outbound_call *c, struct arena *a, struct str path,
                   struct str accept, struct str etag, size_t most, int timeout_s,
                   void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err))
{
    struct http_headers headers = {0};
    aggregate_headers(a, &headers, accept, etag);
    outbound_send(g->outbound, c, a,
                  &(struct outbound_question){.method = S("GET"),
                                              .path = path,
                                              .headers = &headers,
                                              .most = most,
                                              .any_status = true,
                                              .timeout_s = timeout_s},
                  done);
}

/* --- passing on --- */

void aggregate_pass(struct request *r, struct http_request *h, int64_t most_ns)
{
    const struct aggregated *g = aggregate_of_path(r->server, h->path);
    struct err err = ERR;
    if (h->unread) {
        nodeproxy_refuse(h, 413, S("the body is larger than what is read of somebody without a name"));
        return;
    }
    if (!user_is_plain(r->user)) {
        nodeproxy_refuse(h, 503,
                         S("error trying to reach service: the user's name, groups or extra values hold what cannot "
                           "be passed on in a header"));
        return;
    }
    struct outbound_line *line = g->available ? outbound_line(g->outbound, &r->arena, &err) : NULL;
    if (line)
        nodeproxy_pass(r, h, line, most_ns);
    else if (err.kind && err.kind != E_NOT_FOUND && err.kind != E_UNAVAILABLE)
        nodeproxy_refuse(h, 500, str_of(err.text));
    else
        nodeproxy_refuse(h, 503, S("service unavailable"));
}
