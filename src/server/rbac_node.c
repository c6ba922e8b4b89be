#include "server/int.h"
#include "server/rbac_int.h"

/* What a node may read beyond its role: the secrets and config maps of the pods that are bound to it, one by one, and
 * tokens of their service accounts. A role cannot say that (its resourceNames stand still), so this does, as
 * upstream's Node authorizer. A taken node gives away what runs on it, not the cluster. */

static const struct str node_prefix = S_INIT("system:node:");

bool node_limited(const struct attributes *x)
{
    if (!x->is_resource || x->group.n || !user_in_group(x->user, S("system:nodes")))
        return false;
    if (str_eq(x->resource, S("serviceaccounts")))
        return str_eq(x->sub, S("token"));
    return !x->sub.n && (str_eq(x->resource, S("secrets")) || str_eq(x->resource, S("configmaps")));
}

struct use {
    const struct attributes *x;
    struct str node;
    bool secret, token, found;
};

static bool is_name(const struct use *u, const struct val *ref)
{
    return ref && str_eq(val_text(val_get(ref, N(name))), u->x->name);
}

static bool container_uses(const struct use *u, const struct val *c)
{
    val_each_item (from, val_get(c, N(envFrom)))
        if (is_name(u, u->secret ? val_get(from, N(secretRef)) : val_get(from, N(configMapRef))))
            return true;
    val_each_item (env, val_get(c, N(env)))
        if (is_name(u, u->secret ? val_at(env, N(valueFrom), N(secretKeyRef))
                                 : val_at(env, N(valueFrom), N(configMapKeyRef))))
            return true;
    return false;
}

static bool volume_uses(const struct use *u, const struct val *v)
{
    if (u->secret ? str_eq(val_text_at(v, N(secret), N(secretName)), u->x->name)
                  : is_name(u, val_get(v, N(configMap))))
        return true;
    val_each_item (source, val_at(v, N(projected), N(sources)))
        if (is_name(u, u->secret ? val_get(source, N(secret)) : val_get(source, N(configMap))))
            return true;
    return false;
}

static bool spec_uses(const struct use *u, const struct val *spec)
{
    const struct name *const lists[] = {N(containers), N(initContainers), N(ephemeralContainers)};
    if (u->token)
        return str_eq(val_text_at(spec, N(serviceAccountName)), u->x->name);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            if (container_uses(u, c))
                return true;
    val_each_item (v, val_get(spec, N(volumes)))
        if (volume_uses(u, v))
            return true;
    val_each_item (pull, val_get(spec, N(imagePullSecrets)))
        if (u->secret && is_name(u, pull))
            return true;
    return false;
}

static bool look(struct obj *pod, void *arg)
{
    struct use *u = arg;
    u->found = str_eq(val_text_at(obj_spec(pod), N(nodeName)), u->node) && spec_uses(u, obj_spec(pod));
    return !u->found;
}

bool node_uses(struct server *s, const struct attributes *x)
{
    bool token = x->sub.n > 0;
    bool asked = token ? str_eq(x->verb, S("create"))
                       : str_eq(x->verb, S("get")) || str_eq(x->verb, S("list")) || str_eq(x->verb, S("watch"));
    if (!asked || !x->ns.n || !x->name.n || !str_starts(x->user->name, node_prefix))
        return false;
    struct use u = {.x = x,
                    .node = str_sub(x->user->name, node_prefix.n, x->user->name.n),
                    .secret = str_eq(x->resource, S("secrets")),
                    .token = token};
    objects_each(s, K(Pod), x->ns, look, &u);
    return u.found;
}
