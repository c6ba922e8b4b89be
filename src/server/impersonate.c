#include "server/impersonate.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/rbac.h"

static bool user_may(struct request *r, const struct user *who, const char *group, const char *resource,
                     struct str sub, struct str ns, struct str name)
{
    struct attributes x = {.user = who,
                           .verb = S("impersonate"),
                           .group = str_of(group),
                           .version = S("v1"),
                           .resource = str_of(resource),
                           .sub = sub,
                           .ns = ns,
                           .name = name,
                           .is_resource = true};
    struct str why;
    return rbac_allows(r->server, &r->arena, &x, &why) || request_forbid(r, &x, why);
}

static bool may_user(struct request *r, const struct user *who, struct str name, struct user *out)
{
    static const char prefix[] = "system:serviceaccount:";
    struct str ns, account;
    if (str_starts(name, str_of(prefix)) && str_split(str_sub(name, sizeof prefix - 1, name.n), ':', &ns, &account) &&
        ns.n && account.n && str_find_char(account, ':') < 0) {
        *out = user_service_account(&r->arena, ns, account);
        return user_may(r, who, "", "serviceaccounts", S(""), ns, account);
    }
    out->name = name;
    return user_may(r, who, "", "users", S(""), S(""), name);
}

static bool starts_ignoring_case(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_sub(s, 0, prefix.n), prefix);
}

static bool may_extra(struct request *r, const struct user *who, const struct http_header *h, struct val *extra)
{
    struct arena *a = &r->arena;
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
    return user_may(r, who, "authentication.k8s.io", "userextras", key, S(""), h->value);
}

bool user_impersonate(struct request *r, const struct http_request *h, struct user *user)
{
    struct arena *a = &r->arena;
    struct str name = http_header(&h->headers, S("Impersonate-User"));
    bool others = false;
    size_t ngroups = 0;
    for (size_t i = 0; i < h->headers.n; i++) {
        struct str n = h->headers.p[i].name;
        ngroups += str_ieq(n, S("Impersonate-Group"));
        others |= starts_ignoring_case(n, S("Impersonate-"));
    }
    if (!others)
        return true;
    if (!name.n)
        return fail_bad_request(r, "requested impersonation without impersonating a user");
    const struct user who = *user;
    struct user out = {0};
    if (!may_user(r, &who, name, &out))
        return false;
    if (ngroups) {
        struct str *groups = arena_alloc(a, (ngroups + 1) * sizeof *groups);
        out.groups = groups;
        out.ngroups = 0;
        for (size_t i = 0; i < h->headers.n; i++) {
            if (!str_ieq(h->headers.p[i].name, S("Impersonate-Group")))
                continue;
            struct str g = h->headers.p[i].value;
            if (!user_may(r, &who, "", "groups", S(""), S(""), g))
                return false;
            groups[out.ngroups++] = str_dup(a, g);
        }
        out.groups = groups;
    }
    if (!str_eq(out.name, S("system:anonymous")) && !user_in_group(&out, S("system:authenticated")) &&
        !user_in_group(&out, S("system:unauthenticated"))) {
        struct str *groups = arena_alloc(a, (out.ngroups + 1) * sizeof *groups);
        if (out.ngroups)
            memcpy(groups, out.groups, out.ngroups * sizeof *groups);
        groups[out.ngroups++] = S("system:authenticated");
        out.groups = groups;
    }
    struct str uid = http_header(&h->headers, S("Impersonate-Uid"));
    if (uid.n && !user_may(r, &who, "authentication.k8s.io", "uids", S(""), S(""), uid))
        return false;
    out.uid = uid.n ? uid : out.uid;
    struct val *extra = ARENA_NEW(a, struct val);
    *extra = val_map();
    for (size_t i = 0; i < h->headers.n; i++)
        if (starts_ignoring_case(h->headers.p[i].name, S("Impersonate-Extra-")) &&
            !may_extra(r, &who, &h->headers.p[i], extra))
            return false;
    out.extra = extra;
    *user = out;
    return true;
}
