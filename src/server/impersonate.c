#include "server/impersonate.h"
#include "api/formats.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/rbac.h"

#define MANY 4 /* values of one sort: a right to all of them is looked for first */

/* What the headers ask for. */
struct guise {
    struct str name, uid;
    struct str *groups;
    size_t ngroups;
    struct val extra;                     /* key -> list of texts */
    struct str node, account, account_ns; /* of a name that is one of these */
};
/* The ways in which it may be allowed, tried one after the other. Each constrained one takes two rights: to be that
 * user at all (impersonate:MODE), and to make this very request so (impersonate-on:MODE:VERB). */
struct guise_mode {
    const char *name; /* NULL: by the verb impersonate alone */
    bool (*applies)(const struct guise *w, const struct user *who);
};
struct guise_trial {
    struct request *r;
    const struct user *who;
    const struct guise *w;
    const struct guise_mode *mode;
    struct str verb;
    /* what was refused last, and which refusal is told */
    struct guise_refusal {
        struct attributes of;
        struct str why;
    } refused, told;
    bool tells;
};

/* --- the headers -------------------------------------------------------------------------------------------------
 */

static bool starts_ignoring_case(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_sub(s, 0, prefix.n), prefix);
}

static void extra_read(struct arena *a, const struct http_header *h, struct val *extra)
{
    struct str key = str_sub(h->name, sizeof "Impersonate-Extra-" - 1, h->name.n), plain;
    AUTO(strbuf_fini) struct strbuf lower = STRBUF(STRBUF_TEXT);
    if (!http_unescape(a, key, &plain))
        plain = key;
    for (size_t i = 0; i < plain.n; i++)
        strbuf_addc(&lower, (char)(plain.p[i] >= 'A' && plain.p[i] <= 'Z' ? plain.p[i] | 32 : plain.p[i]));
    key = str_dup(a, strbuf_str(&lower));
    struct val *list = val_get_str_mut(extra, key);
    if (!list)
        list = val_set_str(a, extra, key, val_list());
    val_add(a, list, val_str(a, h->value));
}

/* Whose names say what they are. */
static void name_read(struct guise *w)
{
    static const char node[] = "system:node:", account[] = "system:serviceaccount:";
    struct str ns, name, rest;
    if (str_starts(w->name, str_of(node))) {
        rest = str_sub(w->name, sizeof node - 1, w->name.n);
        if (format_ok(format_dns1123_subdomain, rest))
            w->node = rest;
    } else if (str_starts(w->name, str_of(account))) {
        rest = str_sub(w->name, sizeof account - 1, w->name.n);
        if (str_split(rest, ':', &ns, &name) && ns.n && name.n && str_find_char(name, ':') < 0)
            w->account_ns = ns, w->account = name;
    }
}

/* False: nobody is to be impersonated. */
static bool wanted_read(struct arena *a, const struct http_request *h, struct guise *w)
{
    *w = (struct guise){.name = http_header(&h->headers, S("Impersonate-User")),
                        .uid = http_header(&h->headers, S("Impersonate-Uid")),
                        .groups = arena_alloc(a, (h->headers.n + 1) * sizeof *w->groups),
                        .extra = val_map()};
    for (size_t i = 0; i < h->headers.n; i++) {
        const struct http_header *x = &h->headers.p[i];
        if (str_ieq(x->name, S("Impersonate-Group")))
            w->groups[w->ngroups++] = str_dup(a, x->value);
        else if (starts_ignoring_case(x->name, S("Impersonate-Extra-")))
            extra_read(a, x, &w->extra);
    }
    name_read(w);
    return w->name.n || w->uid.n || w->ngroups || val_len(&w->extra);
}

/* --- the ways ----------------------------------------------------------------------------------------------------
 */

static bool name_alone(const struct guise *w)
{
    return !w->uid.n && !w->ngroups && !val_len(&w->extra);
}

/* A service account's token that is bound to a node, or to a pod there, may have a right to be that node alone. */
static bool is_own_node(const struct guise *w, const struct user *who)
{
    const struct val *nodes = val_get_str(who->extra, S("authentication.kubernetes.io/node-name"));
    return name_alone(w) && w->node.n && str_starts(who->name, S("system:serviceaccount:")) && val_len(nodes) == 1 &&
           str_eq(val_text(&nodes->list[0]), w->node);
}

static bool is_node(const struct guise *w, const struct user *who UNUSED)
{
    return name_alone(w) && w->node.n;
}

static bool is_account(const struct guise *w, const struct user *who UNUSED)
{
    return name_alone(w) && w->account.n;
}

static bool is_person(const struct guise *w, const struct user *who UNUSED)
{
    return !w->node.n && !w->account.n;
}

static bool is_any(const struct guise *w UNUSED, const struct user *who UNUSED)
{
    return true;
}

static const struct guise_mode modes[] = {{"associated-node", is_own_node},
                                          {"arbitrary-node", is_node},
                                          {"serviceaccount", is_account},
                                          {"user-info", is_person},
                                          {NULL, is_any}};

static bool trial_refused(struct guise_trial *t, const struct attributes *x, struct str why)
{
    t->refused = (struct guise_refusal){*x, why};
    return false;
}

static bool trial_allows(struct guise_trial *t, const struct attributes *x)
{
    struct str why;
    return rbac_allows(t->r->server, &t->r->arena, x, &why) || trial_refused(t, x, why);
}

static bool is_constrained(const struct guise_trial *t)
{
    return t->mode->name != NULL;
}

static struct attributes attributes_of(const struct guise_trial *t, const char *group, const char *resource,
                                       struct str name)
{
    return (struct attributes){.user = t->who,
                               .verb = t->verb,
                               .group = str_of(group),
                               .version = S("v1"),
                               .resource = str_of(resource),
                               .name = name,
                               .is_resource = true};
}

/* The group in which users and groups are: the core one as it was before there were constrained ways. */
static const char *group_of(const struct guise_trial *t)
{
    return is_constrained(t) ? "authentication.k8s.io" : "";
}

static bool may_name(struct guise_trial *t)
{
    const struct guise *w = t->w;
    struct attributes x = attributes_of(t, group_of(t), "users", w->name);
    if (is_constrained(t) && w->node.n) {
        x.resource = S("nodes");
        x.name = t->mode->applies == is_own_node ? S("*") : w->node; /* whichever it is on: it was compared */
    } else if (w->account.n) {
        x.resource = S("serviceaccounts");
        x.ns = w->account_ns;
        x.name = w->account;
    }
    return trial_allows(t, &x);
}

static bool may_uid(struct guise_trial *t)
{
    struct attributes x = attributes_of(t, "authentication.k8s.io", "uids", t->w->uid);
    return !t->w->uid.n || trial_allows(t, &x);
}

/* A right to all of them, whose lack is not what is told. */
static bool may_all(struct guise_trial *t, struct attributes x, size_t n)
{
    struct str ignored;
    x.name = S("*");
    return is_constrained(t) && n >= MANY && rbac_allows(t->r->server, &t->r->arena, &x, &ignored);
}

static bool may_groups(struct guise_trial *t)
{
    const struct guise *w = t->w;
    struct attributes x = attributes_of(t, group_of(t), "groups", S(""));
    for (size_t i = 0; i < w->ngroups && is_constrained(t); i++)
        if (!w->groups[i].n)
            return trial_refused(t, &x, S("impersonating the empty string group is not allowed"));
    for (size_t i = 0; i < w->ngroups && is_constrained(t); i++)
        if (str_eqz(w->groups[i], "system:masters")) {
            x.name = w->groups[i];
            return trial_refused(t, &x, S("impersonating the system:masters group is not allowed"));
        }
    if (may_all(t, x, w->ngroups))
        return true;
    for (size_t i = 0; i < w->ngroups; i++) {
        x.name = w->groups[i];
        if (!trial_allows(t, &x))
            return false;
    }
    return true;
}

/* "": nothing is wrong with it. */
static struct str extra_wrong(struct arena *a, struct str key, const struct val *values)
{
    struct complaints c = COMPLAINTS(a);
    if (!key.n)
        return S("impersonating the empty string key in extra is not allowed");
    format_domain_prefixed_path(&c, key);
    if (c.n) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_addz(&b, c.n > 1 ? "[" : "");
        for (size_t i = 0; i < c.n; i++) {
            strbuf_addz(&b, i ? ", extra.key: Invalid value: " : "extra.key: Invalid value: ");
            add_quoted(&b, key);
            strbuf_addf(&b, ": " STR_FMT, STR_ARG(c.texts[i]));
        }
        strbuf_addz(&b, c.n > 1 ? "]" : "");
        return arena_fmt(a, "impersonating an invalid key in extra is not allowed: " STR_FMT,
                         STR_ARG(strbuf_str(&b)));
    }
    val_each_item (v, values)
        if (!val_text(v).n)
            return S("impersonating the empty string value in extra is not allowed");
    return S("");
}

static bool may_extra(struct guise_trial *t)
{
    struct attributes x = attributes_of(t, "authentication.k8s.io", "userextras", S(""));
    size_t n = 0;
    val_each_member (m, &t->w->extra) {
        struct str wrong = is_constrained(t) ? extra_wrong(&t->r->arena, m->name->s, &m->v) : S("");
        if (wrong.n)
            return trial_refused(t, &x, wrong);
        n += val_len(&m->v);
    }
    x.sub = S("*");
    if (may_all(t, x, n))
        return true;
    val_each_member (m, &t->w->extra)
        val_each_item (v, &m->v) {
            x.sub = m->name->s;
            x.name = val_text(v);
            if (!trial_allows(t, &x))
                return false;
        }
    return true;
}

static bool may_request(struct guise_trial *t)
{
    struct attributes x = request_attributes(t->r);
    x.user = t->who;
    x.verb = arena_fmt(&t->r->arena, "impersonate-on:%s:" STR_FMT, t->mode->name, STR_ARG(x.verb));
    return trial_allows(t, &x);
}

static bool may_be(struct guise_trial *t)
{
    t->verb = is_constrained(t) ? arena_fmt(&t->r->arena, "impersonate:%s", t->mode->name) : S("impersonate");
    return may_name(t) && may_uid(t) && may_groups(t) && may_extra(t);
}

/* Of a constrained way both halves are looked at: who has one of them misses the other. Else it is the user who may
 * not be impersonated. */
static bool mode_open(struct guise_trial *t)
{
    bool be = may_be(t), on = true;
    if (is_constrained(t)) {
        struct guise_refusal of_being = t->refused;
        on = may_request(t);
        t->refused = be ? t->refused : of_being;
    }
    if (!t->tells && (be != on || !is_constrained(t))) {
        t->tells = true;
        t->told = t->refused;
    }
    return be && on;
}

/* --- who it is then ----------------------------------------------------------------------------------------------
 */

static void group_need(struct arena *a, struct user *u, struct str group)
{
    if (user_in_group(u, group))
        return;
    struct str *groups = arena_alloc(a, (u->ngroups + 1) * sizeof *groups);
    if (u->ngroups)
        memcpy(groups, u->groups, u->ngroups * sizeof *groups);
    groups[u->ngroups++] = group;
    u->groups = groups;
}

static struct user user_made(struct guise_trial *t)
{
    const struct guise *w = t->w;
    struct arena *a = &t->r->arena;
    struct user u = {.name = w->name};
    struct val *extra = ARENA_NEW(a, struct val);
    *extra = w->extra;
    if (w->account.n && !w->ngroups)
        u = user_service_account(a, w->account_ns, w->account);
    if (w->ngroups) {
        u.groups = w->groups;
        u.ngroups = w->ngroups;
    }
    if (is_constrained(t) && w->node.n)
        group_need(a, &u, S("system:nodes"));
    u.uid = w->uid;
    u.extra = extra;
    if (str_eqz(u.name, "system:anonymous"))
        group_need(a, &u, S("system:unauthenticated"));
    else if (!user_in_group(&u, S("system:unauthenticated")))
        group_need(a, &u, S("system:authenticated"));
    return u;
}

bool user_impersonate(struct request *r, const struct http_request *h, struct user *user)
{
    struct guise w;
    if (!wanted_read(&r->arena, h, &w))
        return true;
    if (!w.name.n)
        return fail_bad_request(r, "requested impersonation without impersonating a user");
    const struct user who = *user;
    struct guise_trial t = {.r = r, .who = &who, .w = &w};
    for (size_t i = 0; i < countof(modes); i++) {
        t.mode = &modes[i];
        if (!t.mode->applies(&w, &who) || !mode_open(&t))
            continue;
        *user = user_made(&t);
        return true;
    }
    return request_forbid(r, &t.told.of, t.told.why);
}
