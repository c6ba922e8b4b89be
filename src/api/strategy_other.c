/* strategy_other.c - what the server sets and keeps in objects of all kinds but pods and Services, in the order of
 * the rows of strategy.c. */
#include "api/rules_int.h"
#include "api/strategy_int.h"
#include "base/clock.h"

void strategy_create_namespace(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    struct val status = val_map(), *spec;
    val_set_text(a, &status, N(phase), S("Active"));
    val_set(a, v, N(status), status);
    spec = val_need_map(a, v, N(spec));
    bool has = false;
    val_each_item (f, V(spec, finalizers))
        has |= str_eq(val_text(f), S("kubernetes"));
    if (!has) {
        if (!val_is(V(spec, finalizers), VAL_LIST))
            val_set(a, spec, N(finalizers), val_list());
        val_add(a, MUT(spec, finalizers), val_str_borrowed(S("kubernetes")));
    }
    kind_default(a, K(Namespace), v);
}

void strategy_update_namespace(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n == 0)
        member_keep(a, val_need_map(a, v, N(spec)), V(old, spec), N(finalizers));
    if (str_eq(sub, S("finalize")))
        KEEP(a, v, old, status);
}

void strategy_create_pv(struct arena *a, struct val *v, int64_t now)
{
    struct val status = val_map();
    val_set_text(a, &status, N(phase), S("Pending"));
    val_set_text(a, &status, N(lastPhaseTransitionTime), time_text(a, now));
    val_set(a, v, N(status), status);
}

void strategy_update_pv(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    if (str_eq(sub, S("status")) &&
        !str_eq(val_text_at(v, N(status), N(phase)), val_text_at(old, N(status), N(phase))))
        val_set_text(a, val_need_map(a, v, N(status)), N(lastPhaseTransitionTime), time_text(a, now));
}

static bool plain_source(const struct val *source)
{
    struct str group = TEXT(source, apiGroup), kind = TEXT(source, kind);
    return (group.n == 0 && str_eq(kind, S("PersistentVolumeClaim"))) ||
           (str_eq(group, S("snapshot.storage.k8s.io")) && str_eq(kind, S("VolumeSnapshot")));
}

static void normalise_claim(struct arena *a, struct val *v, const struct val *old)
{
    struct val *spec = val_need_map(a, v, N(spec));
    const struct val *source = V(spec, dataSource), *ref = V(spec, dataSourceRef);
    if (TEXT(ref, namespace).n > 0 && !HAS(V(old, spec), dataSourceRef)) { /* behind a gate that is off */
        val_del(spec, N(dataSourceRef));
        ref = NULL;
    }
    if (val_is(source, VAL_MAP) && !val_is(ref, VAL_MAP) && !plain_source(source) &&
        !val_at(old, N(spec), N(dataSource)))
        val_del(spec, N(dataSource));
    source = V(spec, dataSource);
    if (val_is(source, VAL_MAP) && !val_is(ref, VAL_MAP))
        val_set(a, spec, N(dataSourceRef), val_copy(a, source));
    else if (val_is(ref, VAL_MAP) && !val_is(source, VAL_MAP) && TEXT(ref, namespace).n == 0)
        val_set(a, spec, N(dataSource), val_copy(a, ref));
}

void strategy_create_pvc(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    struct val status = val_map();
    val_set_text(a, &status, N(phase), S("Pending"));
    val_set(a, v, N(status), status);
    normalise_claim(a, v, NULL);
}

void strategy_update_pvc(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n == 0)
        normalise_claim(a, v, old);
}

void strategy_update_deployment(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (str_eq(sub, S("status")))
        KEEP(a, val_need_map(a, v, N(metadata)), V(old, metadata), labels);
}

static const struct str template_generation = S_INIT("deprecated.daemonset.template.generation");

static void set_template_generation(struct arena *a, struct val *v, int64_t n)
{
    val_set_str(a, val_need_map(a, v, N(metadata), N(annotations)), template_generation,
                val_str(a, arena_fmt(a, "%lld", (long long)n)));
}

void strategy_create_daemonset(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    set_template_generation(a, v, 1);
}

void strategy_update_daemonset(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    int64_t n = 1;
    struct str was = val_text(val_get_str(val_at(old, N(metadata), N(annotations)), template_generation));
    if (!str_to_i64(was, 0, INT32_MAX, &n))
        n = 1;
    if (sub.n == 0 && !SAME(V(v, spec), V(old, spec), template))
        n++;
    set_template_generation(a, v, n);
}

void strategy_create_job(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    struct val *spec = val_need_map(a, v, N(spec));
    if (val_true(V(spec, manualSelector)))
        return;
    const struct val *meta = V(v, metadata);
    struct val *labels = val_need_map(a, spec, N(template), N(metadata), N(labels));
    bool shared = val_len(V(meta, labels)) == 0 || val_equal(V(meta, labels), labels); /* as defaults left them */
    struct val name = val_str(a, TEXT(meta, name)), uid = val_str(a, TEXT(meta, uid));
    const struct {
        struct str key;
        struct val value;
    } added[] = {{S("job-name"), name},
                 {S("batch.kubernetes.io/job-name"), name},
                 {S("controller-uid"), uid},
                 {S("batch.kubernetes.io/controller-uid"), uid}};
    for (size_t i = 0; i < countof(added); i++)
        if (!val_get_str(labels, added[i].key))
            val_set_str(a, labels, added[i].key, added[i].value);
    if (shared)
        val_set(a, MUT(v, metadata), N(labels), val_copy(a, labels));
    struct val *match = val_need_map(a, spec, N(selector), N(matchLabels));
    if (!val_get_str(match, S("batch.kubernetes.io/controller-uid")))
        val_set_str(a, match, S("batch.kubernetes.io/controller-uid"), uid);
}

void strategy_create_slice(struct arena *a, struct val *v, int64_t now)
{
    (void)a, (void)now;
    each_mut (endpoint, MUT(v, endpoints))
        val_del(endpoint, N(deprecatedTopology));
}

void strategy_create_csr(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    val_set(a, v, N(status), val_map());
}

void strategy_update_csr(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    struct val wanted = *v;
    KEEP(a, v, old, spec);
    if (sub.n == 0)
        KEEP(a, v, old, status);
    if (str_eq(sub, S("approval"))) {
        struct val status = V(old, status) ? val_copy(a, V(old, status)) : val_map();
        member_keep(a, &status, V(&wanted, status), N(conditions));
        val_set(a, v, N(status), status);
    }
    each_mut (condition, MUT(MUT(v, status), conditions)) {
        const struct val *was = val_find(val_at(old, N(status), N(conditions)), N(type), TEXT(condition, type));
        if (was && val_equal(was, condition))
            continue;
        if (TEXT(condition, lastUpdateTime).n == 0)
            val_set_text(a, condition, N(lastUpdateTime), time_text(a, now));
        if (TEXT(condition, lastTransitionTime).n == 0)
            val_set_text(a, condition, N(lastTransitionTime), time_text(a, now));
    }
}

void strategy_create_lease(struct arena *a, struct val *v, int64_t now)
{
    (void)a, (void)now;
    val_del(MUT(v, spec), N(strategy));
    val_del(MUT(v, spec), N(preferredHolder));
}

void strategy_update_lease(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)sub, (void)old;
    strategy_create_lease(a, v, now);
}

void strategy_update_crd(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n > 0)
        return;
    struct val *stored = NULL, status = V(old, status) ? val_copy(a, V(old, status)) : val_map();
    if (!val_is(V(&status, storedVersions), VAL_LIST))
        val_set(a, &status, N(storedVersions), val_list());
    stored = MUT(&status, storedVersions);
    AUTO(seen_fini) struct seen names_stored = SEEN;
    val_each_item (s, stored)
        (void)seen_before(&names_stored, val_text(s));
    val_each_item (version, val_at(v, N(spec), N(versions))) {
        if (!val_true(V(version, storage)))
            continue;
        if (!seen_before(&names_stored, TEXT(version, name)))
            val_add(a, stored, val_str(a, TEXT(version, name)));
        break; /* more than one are refused later */
    }
    val_set(a, v, N(status), status);
}

void strategy_create_crd(struct arena *a, struct val *v, int64_t now)
{
    strategy_update_crd(a, S(""), v, NULL, now);
}

void strategy_create_apiservice(struct arena *a, struct val *v, int64_t now)
{
    struct val status = val_map();
    if (!val_is(val_at(v, N(spec), N(service)), VAL_MAP)) {
        struct val condition = val_map(), list = val_list();
        val_set_text(a, &condition, N(type), S("Available"));
        val_set_text(a, &condition, N(status), S("True"));
        val_set_text(a, &condition, N(lastTransitionTime), time_text(a, now));
        val_set_text(a, &condition, N(reason), S("Local"));
        val_set_text(a, &condition, N(message), S("Local APIServices are always available"));
        val_add(a, &list, condition);
        val_set(a, &status, N(conditions), list);
    }
    val_set(a, v, N(status), status);
}
