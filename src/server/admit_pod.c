#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac_int.h"

/* --- Priority --- */

static bool is_global(struct obj *o, void *arg)
{
    struct obj **best = arg;
    if (!val_true(val_get(&o->tree, N(globalDefault))))
        return true;
    if (*best && val_num_at(&(*best)->tree, 0, N(value)) <= val_num_at(&o->tree, 0, N(value)))
        return true;
    if (*best)
        obj_unref(*best);
    *best = obj_ref(o);
    return true;
}

bool admit_priority_pod(struct admission *x)
{
    struct request *r = x->r;
    struct arena *a = &r->arena;
    if (x->sub.n)
        return true;
    struct val *spec = val_need_map(a, x->obj, N(spec));
    if (x->verb == VERB_UPDATE) {
        /* a client that does not know these fields must not lose them */
        const struct val *old = val_get(x->old, N(spec));
        const struct name *const kept[] = {N(priority), N(preemptionPolicy)};
        for (size_t i = 0; i < countof(kept); i++)
            if (!val_get(spec, kept[i]) && val_get(old, kept[i]))
                val_set(a, spec, kept[i], val_copy(a, val_get(old, kept[i])));
        return true;
    }
    struct str name = val_text_at(spec, N(priorityClassName));
    int64_t priority = 0;
    struct str policy = S("PreemptLowerPriority");
    AUTO(obj_unref) struct obj *class = NULL;
    if (name.n) {
        class = object_get(r->server, K(PriorityClass), S(""), name);
        if (!class)
            return fail_forbidden(r, "no PriorityClass with name " STR_FMT " was found", STR_ARG(name));
    } else {
        objects_each(r->server, K(PriorityClass), STR_NONE, is_global, &class);
        if (class)
            val_set_text(a, spec, N(priorityClassName), str_dup(a, class->name));
    }
    if (class) {
        priority = val_num_at(&class->tree, 0, N(value));
        if (val_get(&class->tree, N(preemptionPolicy)))
            policy = str_dup(a, val_text_at(&class->tree, N(preemptionPolicy)));
    }
    const struct val *said = val_get(spec, N(priority));
    if (said && val_num(said, 0) != priority)
        return fail_forbidden(r,
                              "the integer value of priority (%lld) must not be provided in pod spec; priority "
                              "admission controller computed %lld from the given PriorityClass name",
                              (long long)val_num(said, 0), (long long)priority);
    const struct val *said_policy = val_get(spec, N(preemptionPolicy));
    if (said_policy && !str_eq(val_text(said_policy), policy))
        return fail_forbidden(r,
                              "the string value of PreemptionPolicy (" STR_FMT
                              ") must not be provided in pod spec; priority admission controller computed " STR_FMT
                              " from the given PriorityClass name",
                              STR_ARG(val_text(said_policy)), STR_ARG(policy));
    val_set_num(a, spec, N(priority), priority);
    val_set_text(a, spec, N(preemptionPolicy), policy);
    return true;
}

struct other_default {
    struct str name;
    struct str found;
};

static bool another_global(struct obj *o, void *arg)
{
    struct other_default *d = arg;
    if (val_true(val_get(&o->tree, N(globalDefault))) && !str_eq(o->name, d->name))
        d->found = o->name;
    return !d->found.n;
}

bool admit_priority_class(struct admission *x)
{
    if (!val_true(val_get(x->obj, N(globalDefault))))
        return true;
    struct other_default d = {.name = x->name};
    objects_each(x->r->server, K(PriorityClass), STR_NONE, another_global, &d);
    if (d.found.n)
        return fail_forbidden(x->r,
                              "PriorityClass " STR_FMT " is already marked as default. Only one default can exist",
                              STR_ARG(d.found));
    return true;
}

/* --- DefaultTolerationSeconds --- */

static bool list_tolerates(const struct val *list, struct str key)
{
    val_each_item (it, list) {
        struct str k = val_text_at(it, N(key)), effect = val_text_at(it, N(effect));
        if ((str_eq(k, key) || !k.n) && (str_eq(effect, S("NoExecute")) || !effect.n))
            return true;
    }
    return false;
}

bool admit_tolerations(struct admission *x)
{
    static const struct str keys[] = {S_INIT("node.kubernetes.io/not-ready"),
                                      S_INIT("node.kubernetes.io/unreachable")};
    struct arena *a = &x->r->arena;
    if (x->sub.n)
        return true;
    struct val *spec = val_need_map(a, x->obj, N(spec)), *list = val_get_mut(spec, N(tolerations));
    struct val before = list ? val_copy(a, list) : VAL_NONE;
    for (size_t i = 0; i < countof(keys); i++) {
        if (list_tolerates(&before, keys[i]))
            continue;
        if (!list || !val_is(list, VAL_LIST))
            list = val_set(a, spec, N(tolerations), val_list());
        struct val *t = val_add(a, list, val_map());
        val_set_text(a, t, N(key), keys[i]);
        val_set_text(a, t, N(operator), S("Exists"));
        val_set_text(a, t, N(effect), S("NoExecute"));
        val_set_num(a, t, N(tolerationSeconds), 300);
    }
    return true;
}

/* --- RuntimeClass --- */

/* Whether `wide` tolerates all that `narrow` does (upstream: pkg/util/tolerations). */
static bool tolerates_more(const struct val *wide, const struct val *narrow)
{
    struct str key = val_text_at(wide, N(key)), effect = val_text_at(wide, N(effect));
    bool exists = str_eq(val_text_at(wide, N(operator)), S("Exists"));
    if (val_equal(wide, narrow))
        return true;
    if (!str_eq(key, val_text_at(narrow, N(key))) && !(exists && !key.n))
        return false;
    if (effect.n && !str_eq(effect, val_text_at(narrow, N(effect))))
        return false;
    const struct val *limit = val_get(wide, N(tolerationSeconds)), *asked = val_get(narrow, N(tolerationSeconds));
    if (str_eq(effect, S("NoExecute")) && limit && (!asked || val_num(asked, 0) > val_num(limit, 0)))
        return false;
    return exists || (!str_eq(val_text_at(narrow, N(operator)), S("Exists")) &&
                      str_eq(val_text_at(wide, N(value)), val_text_at(narrow, N(value))));
}

/* Both lists without what another of them covers; of equals the first stays. */
static struct val merge_tolerations(struct arena *a, const struct val *first, const struct val *second)
{
    struct val all = val_list(), merged = val_list();
    val_each_item (it, first)
        val_add(a, &all, val_copy(a, it));
    val_each_item (it, second)
        val_add(a, &all, val_copy(a, it));
    val_each_item (it, &all) {
        if (!work_do(8 * (size_t)all.n))
            break; /* it is refused for that (write.c) */
        bool covered = false;
        val_each_item (have, &merged)
            covered |= tolerates_more(have, it);
        for (const struct val *later = it + 1; later < all.list + all.n; later++)
            covered |= !val_equal(later, it) && tolerates_more(later, it);
        if (!covered)
            val_add(a, &merged, *it);
    }
    return merged;
}

bool admit_runtime_class(struct admission *x)
{
    struct request *r = x->r;
    struct arena *a = &r->arena;
    struct val *spec = val_need_map(a, x->obj, N(spec));
    struct str name = val_text_at(spec, N(runtimeClassName));
    if (!name.n)
        return true;
    AUTO(obj_unref) struct obj *class = object_get(r->server, K(RuntimeClass), S(""), name);
    if (!class)
        return fail_forbidden(r, "pod rejected: RuntimeClass \"" STR_FMT "\" not found", STR_ARG(name));
    const struct val *overhead = val_at(&class->tree, N(overhead), N(podFixed));
    const struct val *said = val_get(spec, N(overhead));
    if (said && !val_equal(said, overhead))
        return fail_forbidden(r, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    if (overhead)
        val_set(a, spec, N(overhead), val_copy(a, overhead));
    const struct val *selector = val_at(&class->tree, N(scheduling), N(nodeSelector));
    val_each_member (m, selector) {
        struct val *have = val_need_map(a, spec, N(nodeSelector));
        const struct val *h = val_get_str(have, m->name->s);
        if (h && !val_equal(h, &m->v))
            return fail_forbidden(r,
                                  "conflict: runtimeClass.scheduling.nodeSelector[" STR_FMT "] = " STR_FMT
                                  "; pod.spec.nodeSelector[" STR_FMT "] = " STR_FMT,
                                  STR_ARG(m->name->s), STR_ARG(val_text(&m->v)), STR_ARG(m->name->s),
                                  STR_ARG(val_text(h)));
        val_set_str(a, have, m->name->s, val_copy(a, &m->v));
    }
    const struct val *more = val_at(&class->tree, N(scheduling), N(tolerations));
    if (val_len(more))
        val_set(a, spec, N(tolerations), merge_tolerations(a, val_get(spec, N(tolerations)), more));
    return true;
}

bool admit_overhead(struct admission *x)
{
    const struct val *spec = val_get(x->obj, N(spec));
    if (val_get(spec, N(overhead)) && !val_text_at(spec, N(runtimeClassName)).n)
        return fail_forbidden(x->r,
                              "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    return true;
}

/* --- PodTopologyLabels --- */

/* A pod that gets a node has that node's zone and region as labels, so that its containers may know them. */
bool admit_topology(struct admission *x)
{
    static const struct str copied[] = {S_INIT("topology.kubernetes.io/zone"),
                                        S_INIT("topology.kubernetes.io/region")};
    struct arena *a = &x->r->arena;
    bool binding = x->apart && (x->kind == K(Binding) || (x->kind == K(Pod) && str_eqz(x->sub, "binding")));
    struct str name = binding                          ? val_text_at(x->obj, N(target), N(name))
                      : x->kind == K(Pod) && !x->sub.n ? val_text_at(x->obj, N(spec), N(nodeName))
                                                       : S("");
    if (!name.n)
        return true;
    AUTO(obj_unref) struct obj *node = object_get(x->r->server, K(Node), S(""), name);
    for (size_t i = 0; node && i < countof(copied); i++) {
        const struct val *v = val_get_str(val_get(obj_meta(node), N(labels)), copied[i]);
        if (v)
            val_set_str(a, val_need_map(a, x->obj, N(metadata), N(labels)), copied[i], val_copy(a, v));
    }
    return true;
}

/* --- ServiceAccount --- */

static const struct str token_path = S_INIT("/var/run/secrets/kubernetes.io/serviceaccount");

static bool mounts_there(const struct val *container)
{
    val_each_item (it, val_get(container, N(volumeMounts)))
        if (str_eq(val_text_at(it, N(mountPath)), token_path))
            return true;
    return false;
}

/* The projected volume that upstream gives: token, CA bundle, namespace. */
static struct val token_volume(struct arena *a, struct str name)
{
    struct val v = val_map();
    val_set_text(a, &v, N(name), name);
    struct val *projected = val_need_map(a, &v, N(projected));
    val_set_num(a, projected, N(defaultMode), 0644);
    struct val *sources = val_set(a, projected, N(sources), val_list());
    struct val *token = val_need_map(a, val_add(a, sources, val_map()), N(serviceAccountToken));
    val_set_num(a, token, N(expirationSeconds), 3607);
    val_set_text(a, token, N(path), S("token"));
    struct val *ca = val_need_map(a, val_add(a, sources, val_map()), N(configMap));
    val_set_text(a, ca, N(name), S("kube-root-ca.crt"));
    struct val *item = val_add(a, val_set(a, ca, N(items), val_list()), val_map());
    val_set_text(a, item, N(key), S("ca.crt"));
    val_set_text(a, item, N(path), S("ca.crt"));
    struct val *down = val_need_map(a, val_add(a, sources, val_map()), N(downwardAPI));
    item = val_add(a, val_set(a, down, N(items), val_list()), val_map());
    val_set_text(a, item, N(path), S("namespace"));
    struct val *field = val_need_map(a, item, N(fieldRef));
    val_set_text(a, field, N(apiVersion), S("v1"));
    val_set_text(a, field, N(fieldPath), S("metadata.namespace"));
    return v;
}

static struct str volume_name(struct arena *a, const struct val *spec)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    val_each_item (it, val_get(spec, N(volumes))) {
        if (str_starts(val_text_at(it, N(name)), S("kube-api-access-")))
            return val_text_at(it, N(name));
    }
    char tail[5];
    for (size_t i = 0; i < sizeof tail; i++)
        tail[i] = letters[random_below(sizeof letters - 1)];
    return arena_fmt(a, "kube-api-access-%.5s", tail);
}

static void mount_token(struct arena *a, struct val *spec)
{
    const struct name *const lists[] = {N(initContainers), N(containers)};
    struct str name = volume_name(a, spec);
    bool any = false;
    for (size_t l = 0; l < countof(lists); l++) {
        struct val *list = val_get_mut(spec, lists[l]);
        for (size_t i = 0; i < val_len(list); i++) {
            struct val *c = &list->list[i];
            if (!val_is(c, VAL_MAP) || mounts_there(c))
                continue;
            struct val *mounts = val_get_mut(c, N(volumeMounts));
            if (!mounts)
                mounts = val_set(a, c, N(volumeMounts), val_list());
            struct val *m = val_add(a, mounts, val_map());
            val_set_text(a, m, N(name), name);
            val_set_bool(a, m, N(readOnly), true);
            val_set_text(a, m, N(mountPath), token_path);
            any = true;
        }
    }
    if (!any || val_find(val_get(spec, N(volumes)), N(name), name))
        return;
    struct val *volumes = val_get_mut(spec, N(volumes));
    if (!volumes)
        volumes = val_set(a, spec, N(volumes), val_list());
    val_add(a, volumes, token_volume(a, name));
}

/* A pod that a node made from a file says so; it uses nothing of the API. */
static bool admit_mirror(struct admission *x, const struct val *spec)
{
    if (val_text_at(spec, N(serviceAccountName)).n)
        return fail_forbidden(x->r, "a mirror pod may not reference service accounts");
    if (str_eqz(pod_refers(spec), "secrets"))
        return fail_forbidden(x->r, "a mirror pod may not reference secrets");
    val_each_item (v, val_get(spec, N(volumes)))
        val_each_item (source, val_at(v, N(projected), N(sources)))
            if (val_get(source, N(serviceAccountToken)))
                return fail_forbidden(x->r, "a mirror pod may not use ServiceAccountToken volume projections");
    return true;
}

static bool is_listed(const struct val *refs, struct str name)
{
    val_each_item (it, refs)
        if (str_eq(val_text_at(it, N(name)), name))
            return true;
    return false;
}

/* An account may bind its pods to the Secrets that it lists (annotation kubernetes.io/enforce-mountable-secrets). */
static bool is_limited(const struct obj *account)
{
    struct str on = obj_note(account, "kubernetes.io/enforce-mountable-secrets");
    return str_eqz(on, "1") || str_eqz(on, "t") || str_eqz(on, "T") || str_ieq(on, S("true"));
}

#define NOT_LISTED " is not allowed because service account " STR_FMT " does not reference that secret"

static bool limit_volume(struct admission *x, const struct obj *account, struct str name)
{
    return is_listed(val_get(&account->tree, N(secrets)), name) ||
           fail_forbidden(x->r, "volume with secret.secretName=\"" STR_FMT "\"" NOT_LISTED, STR_ARG(name),
                          STR_ARG(account->name));
}

static bool limit_container(struct admission *x, const struct obj *account, const char *word, const struct val *c)
{
    const struct val *may = val_get(&account->tree, N(secrets));
    struct str container = val_text_at(c, N(name));
    val_each_item (e, val_get(c, N(env))) {
        const struct val *ref = val_at(e, N(valueFrom), N(secretKeyRef));
        if (ref && !is_listed(may, val_text_at(ref, N(name))))
            return fail_forbidden(x->r,
                                  "%s " STR_FMT " with envVar " STR_FMT " referencing secret.secretName=\"" STR_FMT
                                  "\"" NOT_LISTED,
                                  word, STR_ARG(container), STR_ARG(val_text_at(e, N(name))),
                                  STR_ARG(val_text_at(ref, N(name))), STR_ARG(account->name));
    }
    val_each_item (from, val_get(c, N(envFrom))) {
        const struct val *ref = val_get(from, N(secretRef));
        if (ref && !is_listed(may, val_text_at(ref, N(name))))
            return fail_forbidden(
                x->r, "%s " STR_FMT " with envFrom referencing secret.secretName=\"" STR_FMT "\"" NOT_LISTED, word,
                STR_ARG(container), STR_ARG(val_text_at(ref, N(name))), STR_ARG(account->name));
    }
    return true;
}

static bool limit_secrets(struct admission *x, const struct obj *account, const struct val *spec)
{
    static const struct {
        const struct name *list;
        const char *word;
    } lists[] = {{N(initContainers), "init container"}, {N(containers), "container"}};
    if (!is_limited(account))
        return true;
    val_each_item (v, val_get(spec, N(volumes))) {
        if (val_get(v, N(secret)) && !limit_volume(x, account, val_text_at(v, N(secret), N(secretName))))
            return false;
        val_each_item (source, val_at(v, N(projected), N(sources)))
            if (val_get(source, N(secret)) && !limit_volume(x, account, val_text_at(source, N(secret), N(name))))
                return false;
    }
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i].list))
            if (!limit_container(x, account, lists[i].word, c))
                return false;
    size_t i = 0;
    val_each_item (it, val_get(spec, N(imagePullSecrets))) {
        struct str name = val_text_at(it, N(name));
        if (!is_listed(val_get(&account->tree, N(imagePullSecrets)), name))
            return fail_forbidden(x->r,
                                  "imagePullSecrets[%zu].name=\"" STR_FMT
                                  "\" is not allowed because service account " STR_FMT
                                  " does not reference that imagePullSecret",
                                  i, STR_ARG(name), STR_ARG(account->name));
        i++;
    }
    return true;
}

/* The containers that come to a pod later are held to the same. */
bool admit_ephemeral(struct admission *x)
{
    const struct val *spec = val_get(x->obj, N(spec));
    struct str name = val_text_at(spec, N(serviceAccountName));
    if (!str_eqz(x->sub, "ephemeralcontainers") || !name.n)
        return true;
    AUTO(obj_unref) struct obj *account = object_get(x->r->server, K(ServiceAccount), x->ns, name);
    if (!account)
        return fail_forbidden(x->r,
                              "error looking up service account " STR_FMT "/" STR_FMT ": serviceaccount \"" STR_FMT
                              "\" not found",
                              STR_ARG(x->ns), STR_ARG(name), STR_ARG(name));
    if (is_limited(account))
        val_each_item (c, val_get(spec, N(ephemeralContainers)))
            if (!limit_container(x, account, "ephemeral container", c))
                return false;
    return true;
}

bool admit_service_account(struct admission *x)
{
    struct request *r = x->r;
    struct arena *a = &r->arena;
    if (x->sub.n)
        return true;
    struct val *spec = val_need_map(a, x->obj, N(spec));
    if (val_get_str(val_at(x->obj, N(metadata), N(annotations)), S("kubernetes.io/config.mirror")))
        return admit_mirror(x, spec);
    struct str name = val_text_at(spec, N(serviceAccountName));
    if (!name.n) {
        name = S("default");
        val_set_text(a, spec, N(serviceAccountName), name);
        val_set_text(a, spec, N(serviceAccount), name);
    }
    AUTO(obj_unref) struct obj *account = object_get(r->server, K(ServiceAccount), x->ns, name);
    if (!account)
        return fail_forbidden(
            r, "error looking up service account " STR_FMT "/" STR_FMT ": serviceaccount \"" STR_FMT "\" not found",
            STR_ARG(x->ns), STR_ARG(name), STR_ARG(name));
    const struct val *said = val_get(spec, N(automountServiceAccountToken));
    const struct val *usual = val_get(&account->tree, N(automountServiceAccountToken));
    if (said ? val_true(said) : !usual || val_true(usual))
        mount_token(a, spec);
    const struct val *pull = val_get(&account->tree, N(imagePullSecrets));
    if (!val_len(val_get(spec, N(imagePullSecrets))) && val_len(pull))
        val_set(a, spec, N(imagePullSecrets), val_copy(a, pull));
    return limit_secrets(x, account, spec);
}
