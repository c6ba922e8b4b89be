/* warnings.c - what is accepted but deserves a word to the client: deprecated fields, what has no effect, what looks
 * like a mistake. The words and their order are upstream's (pkg/api/pod/warnings.go and its kin; the registry
 * strategies).
 *
 * It runs after validation, on what is going to be stored. Templates share the walk of pods (warn_pod) with a prefix
 * for the path. Workloads are looked at when they are created and when their spec changes, so that a status or a
 * scale repeats nothing; pods only on create.
 *
 * Comparing everything with everything is bounded: at most WARNINGS_MOST are told, and a path or a port is compared
 * with so many earlier ones of its kind (PORTS_COMPARED, PATHS_COMPARED of warnings_volume.c). Nothing depends on a
 * warning, so it is enough that people's mistakes are found.
 */
#include "api/quantity.h"
#include "api/rules_int.h"
#include "api/schema.h"
#include "api/strategy.h"
#include "api/warnings_int.h"
#include "base/map.h"

enum { WARNINGS_MOST = 50 }; /* more than fits into an answer's header helps nobody */

void warnings_add(struct warnings *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = w->texts.n < WARNINGS_MOST ? arena_vfmt(w->arena, fmt, args) : STR_NONE;
    va_end(args);
    if (text.p)
        array_push(&w->texts, text);
}

bool text_was_met(struct map *seen, struct str text)
{
    return map_put(seen, text, seen) != NULL;
}

/* --- names that are old --- */

static const char *old_label(struct str key)
{
    static const struct {
        const char *key, *text;
    } rows[] = {
        {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
        {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
        {"failure-domain.beta.kubernetes.io/region",
         "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
        {"failure-domain.beta.kubernetes.io/zone",
         "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
        {"beta.kubernetes.io/instance-type",
         "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
        {"app.kubernetes.io/created-by", "deprecated since v1.9"},
        {"scheduler.alpha.kubernetes.io/preferAvoidPods",
         "deprecated since v1.22; use Taints and Tolerations instead"},
        {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
    };
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eq(key, str_of(rows[i].key)))
            return rows[i].text;
    return NULL;
}

static void warn_expressions(struct warnings *w, const struct val *expressions, const char *at, bool values)
{
    each (x, expressions) {
        const char *old = old_label(TEXT(x, key));
        ptrdiff_t i = INDEX(expressions, x);
        if (old)
            warnings_add(w, "%s[%td].key: " STR_FMT " is %s", at, i, STR_ARG(TEXT(x, key)), old);
        for (uint32_t k = 0; values && k < val_len(V(x, values)); k++) {
            struct complaints c = COMPLAINTS(w->arena);
            struct str value = val_text(val_item(V(x, values), k));
            format_label_value(&c, value);
            for (size_t n = 0; n < c.n; n++)
                warnings_add(w, "%s[%td].values[%u]: " STR_FMT " is invalid, " STR_FMT, at, i, k, STR_ARG(value),
                             STR_ARG(c.texts[n]));
        }
    }
}

/* A template's annotation is there before its field: what means nothing any more. */
static bool warn_annotation(struct warnings *w, const struct val *meta, const char *at, struct str key,
                            const char *text)
{
    if (!val_get_str(V(meta, annotations), key))
        return false;
    warnings_add(w, "%smetadata.annotations[" STR_FMT "]: %s", at, STR_ARG(key), text);
    return true;
}

static void warn_old_annotations(struct warnings *w, const struct val *meta, const char *at)
{
    warn_annotation(w, meta, at, S("scheduler.alpha.kubernetes.io/critical-pod"),
                    "non-functional in v1.16+; use the \"priorityClassName\" field instead");
    warn_annotation(w, meta, at, S("security.alpha.kubernetes.io/sysctls"),
                    "non-functional in v1.11+; use the \"sysctls\" field instead");
    warn_annotation(w, meta, at, S("security.alpha.kubernetes.io/unsafe-sysctls"),
                    "non-functional in v1.11+; use the \"sysctls\" field instead");
}

/* --- pods --- */

/* One container and where it is, for what looks at those of all three lists. */
struct warning_place {
    const struct val *container;
    const char *at; /* "spec.containers[0]" */
};
typedef ARRAY(struct warning_place) places_array;

static void containers_of(struct warnings *w, const struct val *spec, const char *at, places_array *out)
{
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t l = 0; l < countof(lists); l++) {
        const struct val *containers = val_get(spec, lists[l]);
        each (c, containers) {
            struct warning_place p = {
                c, arena_fmt(w->arena, "%sspec.%s[%td]", at, lists[l]->s.p, INDEX(containers, c)).p};
            array_push(out, p);
        }
    }
}

/* A variable that is there twice, and does not build on its first value. */
static void warn_env(struct warnings *w, const struct warning_place *p)
{
    AUTO(map_fini) struct map seen = MAP;
    const struct val *env = V(p->container, env);
    each (var, env) {
        struct str name = TEXT(var, name), value = TEXT(var, value);
        if (!text_was_met(&seen, name))
            continue;
        struct str ref = arena_fmt(w->arena, "$(" STR_FMT ")", STR_ARG(name));
        if (HAS(var, valueFrom) || str_eq(value, ref) || !str_has(value, ref))
            warnings_add(
                w, "%s.env[%td]: hides previous definition of \"" STR_FMT "\", which may be dropped when using apply",
                p->at, INDEX(env, var), STR_ARG(name));
    }
}

static void warn_container(struct warnings *w, const struct val *meta, const struct val *spec, const char *at,
                           const struct warning_place *p)
{
    static const struct str bytes[] = {S_INIT("memory"), S_INIT("ephemeral-storage")};
    const struct val *own = V(p->container, securityContext), *resources = V(p->container, resources);
    struct str name = TEXT(p->container, name);
    if (!HAS(own, seccompProfile))
        warn_annotation(w, meta, at,
                        arena_fmt(w->arena, "container.seccomp.security.alpha.kubernetes.io/" STR_FMT, STR_ARG(name)),
                        "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    /* of a pod the field has been made of the annotation by now (strategy_create_pod) */
    bool made = !*at && HAS(own, appArmorProfile);
    if (made || (!HAS(own, appArmorProfile) && !HAS(V(spec, securityContext), appArmorProfile)))
        warn_annotation(w, meta, at,
                        arena_fmt(w->arena, "container.apparmor.security.beta.kubernetes.io/" STR_FMT, STR_ARG(name)),
                        "deprecated since v1.30; use the \"appArmorProfile\" field instead");
    for (size_t i = 0; i < countof(bytes); i++) {
        warn_fraction(w, V(resources, limits), bytes[i], arena_fmt(w->arena, "%s.resources.limits", p->at).p);
        warn_fraction(w, V(resources, requests), bytes[i], arena_fmt(w->arena, "%s.resources.requests", p->at).p);
    }
    warn_env(w, p);
}

/* Ports with one number and protocol, over all containers of the pod; the same meeting is told once for each pair, up
 * to a number. */
struct warning_port {
    const struct val *v;
    const char *at;
    struct warning_port *next; /* earlier in the pod, the same number and protocol */
};
#define PORTS_COMPARED 16

static void warn_port(struct warnings *w, const struct warning_port *p, const struct warning_port *other)
{
    struct str ip = TEXT(p->v, hostIP), its = TEXT(other->v, hostIP);
    int64_t port = NUM(p->v, hostPort), its_port = NUM(other->v, hostPort);
    if (str_eq(ip, its) && port == its_port)
        warnings_add(w, "%s: duplicate port definition with %s", p->at, other->at);
    else if (port == 0 || its_port == 0)
        warnings_add(w, "%s: overlapping port definition with %s", p->at, other->at);
    else if (port == its_port && (ip.n == 0) != (its.n == 0))
        warnings_add(w, "%s: dangerously ambiguous port definition with %s", p->at, other->at);
}

static void warn_ports(struct warnings *w, const places_array *containers)
{
    AUTO(map_fini) struct map seen = MAP;
    array_each (c, containers) {
        const struct val *ports = V(c->container, ports);
        each (v, ports) {
            struct warning_port *p = ARENA_NEW(w->arena, struct warning_port), *earlier[PORTS_COMPARED];
            size_t n = 0;
            *p = (struct warning_port){v, arena_fmt(w->arena, "%s.ports[%td]", c->at, INDEX(ports, v)).p, NULL};
            if (TEXT(v, hostIP).n > 0 && NUM(v, hostPort) == 0)
                warnings_add(w,
                             "%s: hostIP set without hostPort: {Name:" STR_FMT
                             " HostPort:0 ContainerPort:%lld Protocol:" STR_FMT " HostIP:" STR_FMT "}",
                             p->at, STR_ARG(TEXT(v, name)), (long long)NUM(v, containerPort),
                             STR_ARG(TEXT(v, protocol)), STR_ARG(TEXT(v, hostIP)));
            struct str key = arena_fmt(w->arena, "%lld/" STR_FMT, (long long)NUM(v, containerPort),
                                       STR_ARG(TEXT(v, protocol)));
            p->next = map_put(&seen, key, p);
            for (struct warning_port *o = p->next; o && n < countof(earlier); o = o->next)
                earlier[n++] = o;
            while (n > 0)
                warn_port(w, p, earlier[--n]);
        }
    }
}

static void warn_port_names(struct warnings *w, const places_array *containers)
{
    AUTO(map_fini) struct map seen = MAP; /* name -> where it was first */
    array_each (c, containers) {
        const struct val *ports = V(c->container, ports);
        each (v, ports) {
            struct str name = TEXT(v, name);
            const char *at = arena_fmt(w->arena, "%s.ports[%td]", c->at, INDEX(ports, v)).p,
                       *first = map_get(&seen, name);
            if (first)
                warnings_add(w,
                             "%s: duplicate port name \"" STR_FMT
                             "\" with %s, services and probes that select ports by name will use %s",
                             at, STR_ARG(name), first, first);
            else if (name.n)
                (void)map_put(&seen, name, (void *)(uintptr_t)at);
        }
    }
}

/* An IPv6 address that is not written as RFC 5952 has it. (Other odd forms are refused.) */
static void warn_address(struct warnings *w, struct str text, const char *at)
{
    struct str canonical = ip_canonical(w->arena, text);
    if (str_find_char(text, ':') >= 0 && !str_eq(text, canonical))
        warnings_add(w, "%s: IPv6 address \"" STR_FMT "\" should be in RFC 5952 canonical format (\"" STR_FMT "\")",
                     at, STR_ARG(text), STR_ARG(canonical));
}

static void warn_addresses(struct warnings *w, const struct val *list, const char *at)
{
    each (it, list)
        warn_address(w, val_text(it), arena_fmt(w->arena, "%s[%td]", at, INDEX(list, it)).p);
}

static void warn_affinity(struct warnings *w, const struct val *affinity, const char *at, const char *which)
{
    const struct val *required = V(affinity, requiredDuringSchedulingIgnoredDuringExecution),
                     *preferred = V(affinity, preferredDuringSchedulingIgnoredDuringExecution);
    each (term, required)
        if (!HAS(term, labelSelector))
            warnings_add(
                w,
                "%sspec.affinity.%s.requiredDuringSchedulingIgnoredDuringExecution[%td].labelSelector: a null "
                "labelSelector results in matching no pod",
                at, which, INDEX(required, term));
    each (term, preferred)
        if (!HAS(V(term, podAffinityTerm), labelSelector))
            warnings_add(w,
                         "%sspec.affinity.%s.preferredDuringSchedulingIgnoredDuringExecution[%td].podAffinityTerm."
                         "labelSelector: a "
                         "null labelSelector results in matching no pod",
                         at, which, INDEX(preferred, term));
}

static void warn_node_terms(struct warnings *w, const struct val *spec, const char *at)
{
    const struct val *affinity = V(V(spec, affinity), nodeAffinity),
                     *terms = V(V(affinity, requiredDuringSchedulingIgnoredDuringExecution), nodeSelectorTerms),
                     *preferred = V(affinity, preferredDuringSchedulingIgnoredDuringExecution);
    each (term, terms)
        warn_expressions(w, V(term, matchExpressions),
                         arena_fmt(w->arena,
                                   "%sspec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
                                   "nodeSelectorTerms[%td].matchExpressions",
                                   at, INDEX(terms, term))
                             .p,
                         true);
    each (term, preferred)
        warn_expressions(
            w, V(V(term, preference), matchExpressions),
            arena_fmt(w->arena,
                      "%sspec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[%td].preference."
                      "matchExpressions",
                      at, INDEX(preferred, term))
                .p,
            true);
}

static void warn_places(struct warnings *w, const struct val *spec, const char *at)
{
    const struct val *spread = V(spec, topologySpreadConstraints);
    const char *old;
    val_each_member (m, V(spec, nodeSelector))
        if ((old = old_label(m->name->s)))
            warnings_add(w, "%sspec.nodeSelector[" STR_FMT "]: %s", at, STR_ARG(m->name->s), old);
    warn_node_terms(w, spec, at);
    each (c, spread) {
        if ((old = old_label(TEXT(c, topologyKey))))
            warnings_add(w, "%sspec.topologySpreadConstraints[%td].topologyKey: " STR_FMT " is %s", at,
                         INDEX(spread, c), STR_ARG(TEXT(c, topologyKey)), old);
        if (!HAS(c, labelSelector))
            warnings_add(
                w,
                "%sspec.topologySpreadConstraints[%td].labelSelector: a null labelSelector results in matching no "
                "pod",
                at, INDEX(spread, c));
    }
}

static void warn_twice(struct warnings *w, const struct val *list, const struct name *key, const char *at,
                       const char *which)
{
    AUTO(map_fini) struct map seen = MAP;
    each (item, list) {
        struct str text = val_text(val_get(item, key));
        if (text_was_met(&seen, text))
            warnings_add(w, "%sspec.%s[%td].%s: duplicate %s \"" STR_FMT "\"", at, which, INDEX(list, item), key->s.p,
                         key->s.p, STR_ARG(text));
    }
}

/* `at`: "" for a pod, "spec.template." for a template. */
static void warn_pod(struct warnings *w, const struct val *pod, const char *at)
{
    const struct val *spec = V(pod, spec), *meta = V(pod, metadata), *pulls = V(spec, imagePullSecrets),
                     *aliases = V(spec, hostAliases);
    static const struct str bytes[] = {S_INIT("memory"), S_INIT("ephemeral-storage")};
    places_array containers = {0};
    warn_places(w, spec, at);
    warn_old_annotations(w, meta, at);
    warn_volumes(w, V(spec, volumes), at);
    warn_twice(w, V(spec, hostAliases), N(ip), at, "hostAliases");
    warn_twice(w, pulls, N(name), at, "imagePullSecrets");
    each (pull, pulls)
        if (TEXT(pull, name).n == 0)
            warnings_add(w, "%sspec.imagePullSecrets[%td].name: invalid empty name \"\"", at, INDEX(pulls, pull));
    for (size_t i = 0; i < countof(bytes); i++)
        warn_fraction(w, V(spec, overhead), bytes[i], arena_fmt(w->arena, "%sspec.overhead", at).p);
    if (!HAS(V(spec, securityContext), seccompProfile))
        warn_annotation(w, meta, at, S("seccomp.security.alpha.kubernetes.io/pod"),
                        "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    containers_of(w, spec, at, &containers);
    array_each (c, &containers)
        warn_container(w, meta, spec, at, c);
    warn_ports(w, &containers);
    warn_port_names(w, &containers);
    array_fini(&containers);
    if (NUM(spec, terminationGracePeriodSeconds) < 0)
        warnings_add(
            w,
            "%sspec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as "
            "1",
            at);
    warn_affinity(w, V(V(spec, affinity), podAffinity), at, "podAffinity");
    warn_affinity(w, V(V(spec, affinity), podAntiAffinity), at, "podAntiAffinity");
    warn_addresses(w, val_at(spec, N(dnsConfig), N(nameservers)),
                   arena_fmt(w->arena, "%sspec.dnsConfig.nameservers", at).p);
    each (alias, aliases)
        warn_address(w, TEXT(alias, ip),
                     arena_fmt(w->arena, "%sspec.hostAliases[%td].ip", at, INDEX(aliases, alias)).p);
}

static void warn_name(struct warnings *w, const struct val *v, const char *of)
{
    struct complaints c = COMPLAINTS(w->arena);
    AUTO(strbuf_fini) struct strbuf all = STRBUF(STRBUF_TEXT);
    format_dns1123_label(&c, val_text_at(v, N(metadata), N(name)));
    for (size_t i = 0; i < c.n; i++)
        strbuf_addf(&all, "%s" STR_FMT, i ? " " : "", STR_ARG(c.texts[i]));
    if (c.n > 0)
        warnings_add(w,
                     "metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is "
                     "recommended: [" STR_FMT "]",
                     of, STR_ARG(strbuf_str(&all)));
}

/* --- workloads: at their creation, and when their spec changes --- */

static void warn_job_spec(struct warnings *w, const struct val *spec, const char *at)
{
    if (str_eq(TEXT(spec, completionMode), S("Indexed")) && NUM(spec, completions) > 100000 &&
        NUM(spec, parallelism) > 10000)
        warnings_add(
            w,
            "%s: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
            "Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
            at);
    warn_pod(w, V(spec, template), arena_fmt(w->arena, "%s.template.", at).p);
}

static void warn_workload(struct warnings *w, const struct kind *k, const struct val *v, const struct val *old)
{
    const struct val *spec = V(v, spec), *claims = V(spec, volumeClaimTemplates);
    bool changed = !old || !val_unchanged(spec, V(old, spec));
    if (!old && k != K(StatefulSet) && k != K(DaemonSet))
        warn_name(w, v, "Pod names and hostnames");
    if (k == K(CronJob)) {
        if (changed)
            warn_job_spec(w, val_at(spec, N(jobTemplate), N(spec)), "spec.jobTemplate.spec");
        if (str_has(TEXT(spec, schedule), S("TZ")))
            warnings_add(w, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
    } else if (k == K(Job)) {
        if (changed)
            warn_job_spec(w, spec, "spec");
    } else if (changed) {
        warn_pod(w, V(spec, template), "spec.template.");
    }
    each (claim, claims)
        if (changed)
            warn_claim_spec(w, V(claim, spec),
                            arena_fmt(w->arena, "spec.volumeClaimTemplates[%td]", INDEX(claims, claim)).p);
    if (k == K(StatefulSet) && NUM(spec, revisionHistoryLimit) < 0)
        warnings_add(w,
                     "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
                     "recommended");
}

/* --- the network --- */

static void warn_service(struct warnings *w, const struct val *v)
{
    const struct val *spec = V(v, spec), *external = V(spec, externalIPs);
    struct str type = TEXT(spec, type);
    bool none = str_eq(TEXT(spec, clusterIP), S("None")), named = str_eq(type, S("ExternalName"));
    bool headless = none && (type.n == 0 || str_eq(type, S("ClusterIP")));
    if (val_get_str(val_at(v, N(metadata), N(annotations)), S("service.kubernetes.io/topology-aware-hints")))
        warnings_add(w, "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
                        "service.kubernetes.io/topology-mode instead");
    if (!none && !named)
        warn_addresses(w, V(spec, clusterIPs), "spec.clusterIPs");
    if (headless && TEXT(spec, loadBalancerIP).n > 0)
        warnings_add(w, "spec.loadBalancerIP is ignored for headless services");
    if (headless && val_len(external) > 0)
        warnings_add(w, "spec.externalIPs is ignored for headless services");
    if (headless && TEXT(spec, sessionAffinity).n > 0 && !str_eq(TEXT(spec, sessionAffinity), S("None")))
        warnings_add(w, "spec.SessionAffinity is ignored for headless services");
    warn_addresses(w, external, "spec.externalIPs");
    if (val_len(external) > 0 && !headless && !named)
        warnings_add(w, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    warn_address(w, TEXT(spec, loadBalancerIP), "spec.loadBalancerIP");
    if (named && val_len(external) > 0)
        warnings_add(w, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (!named && TEXT(spec, externalName).n > 0)
        warnings_add(w, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (str_eq(TEXT(spec, trafficDistribution), S("PreferClose")))
        warnings_add(w, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

static bool managed_by(const struct val *v, struct str label, struct str who)
{
    return str_eq(val_text(val_get_str(val_at(v, N(metadata), N(labels)), label)), who);
}

static void warn_endpoints(struct warnings *w, const struct val *v)
{
    const struct val *subsets = V(v, subsets);
    if (managed_by(v, S("endpoints.kubernetes.io/managed-by"), S("endpoint-controller")))
        return;
    each (subset, subsets) {
        static const struct name *const lists[] = {N(addresses), N(notReadyAddresses)};
        for (size_t l = 0; l < countof(lists); l++) {
            const struct val *addresses = val_get(subset, lists[l]);
            each (a, addresses)
                warn_address(w, TEXT(a, ip),
                             arena_fmt(w->arena, "subsets[%td].%s[%td].ip", INDEX(subsets, subset), lists[l]->s.p,
                                       INDEX(addresses, a))
                                 .p);
        }
    }
}

static void warn_endpoint_slice(struct warnings *w, const struct val *v)
{
    const struct val *endpoints = V(v, endpoints);
    struct str label = S("endpointslice.kubernetes.io/managed-by");
    if (str_eq(TEXT(v, addressType), S("FQDN"))) {
        warnings_add(w, "spec.addressType: FQDN endpoints are deprecated");
        return;
    }
    if (managed_by(v, label, S("endpointslice-controller.k8s.io")) ||
        managed_by(v, label, S("endpointslicemirroring-controller.k8s.io")))
        return;
    each (e, endpoints)
        warn_addresses(w, V(e, addresses), arena_fmt(w->arena, "endpoints[%td].addresses", INDEX(endpoints, e)).p);
}

/* --- the rest --- */

static void warn_secret(struct warnings *w, const struct val *v)
{
    static const struct {
        struct str key;
        const char *what;
    } rows[] = {{S_INIT("tls.crt"), "certificate"}, {S_INIT("tls.key"), "key"}};
    const struct val *data = V(v, data);
    if (!str_eq(TEXT(v, type), S("kubernetes.io/tls")) || !val_get_str(data, rows[0].key) ||
        !val_get_str(data, rows[1].key))
        return;
    for (size_t i = 0; i < countof(rows); i++) {
        const struct val *pem = val_get_str(data, rows[i].key);
        if (str_has((struct str){pem->s, pem->n}, S("-----BEGIN ")))
            continue;
        warnings_add(w, "tls: failed to find any PEM data in %s input", rows[i].what);
        return;
    }
}

static void warn_storage_class_annotation(struct warnings *w, const struct val *v)
{
    warn_annotation(w, V(v, metadata), "", S("volume.beta.kubernetes.io/storage-class"),
                    "deprecated since v1.8; use \"storageClassName\" attribute instead");
}

static void warn_volume(struct warnings *w, const struct val *v)
{
    const struct val *spec = V(v, spec), *terms = V(V(V(spec, nodeAffinity), required), nodeSelectorTerms);
    warn_storage_class_annotation(w, v);
    warn_annotation(w, V(v, metadata), "", S("volume.beta.kubernetes.io/mount-options"),
                    "deprecated since v1.31; use \"mountOptions\" attribute instead");
    if (str_eq(TEXT(spec, persistentVolumeReclaimPolicy), S("Recycle")))
        warnings_add(w, "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                        "recommended approach is to use dynamic provisioning.");
    each (term, terms)
        warn_expressions(w, V(term, matchExpressions),
                         arena_fmt(w->arena, "spec.nodeAffinity.required.nodeSelectorTerms[%td].matchExpressions",
                                   INDEX(terms, term))
                             .p,
                         false);
    warn_old_volume(w, spec, "spec", true);
}

static void warn_storage_class(struct warnings *w, const struct val *v)
{
    const struct val *terms = V(v, allowedTopologies);
    each (term, terms)
        warn_expressions(w, V(term, matchLabelExpressions),
                         arena_fmt(w->arena, "allowedTopologies[%td].matchLabelExpressions", INDEX(terms, term)).p,
                         false);
}

static void warn_capacity(struct warnings *w, const struct val *v)
{
    const struct val *topology = V(v, nodeTopology);
    const char *old;
    warn_expressions(w, V(topology, matchExpressions), "nodeTopology.matchExpressions", false);
    val_each_member (m, V(topology, matchLabels))
        if ((old = old_label(m->name->s)))
            warnings_add(w, "nodeTopology.matchLabels." STR_FMT ": %s", STR_ARG(m->name->s), old);
}

static void warn_runtime_class(struct warnings *w, const struct val *v)
{
    const char *old;
    val_each_member (m, V(V(v, scheduling), nodeSelector))
        if ((old = old_label(m->name->s)))
            warnings_add(w, "scheduling.nodeSelector: %s", old);
}

static void warn_node(struct warnings *w, const struct val *v)
{
    const struct val *spec = V(v, spec);
    if (HAS(spec, configSource))
        warnings_add(w, "spec.configSource: the feature has been removed");
    if (TEXT(spec, externalID).n > 0)
        warnings_add(w, "spec.externalID: this field is deprecated, and is unused by Kubernetes");
}

static void warn_account(struct warnings *w, const struct val *v)
{
    warn_annotation(w, V(v, metadata), "", S("kubernetes.io/enforce-mountable-secrets"),
                    "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
}

/* Formats of texts that nobody checks, each once. */
static void warn_formats(struct warnings *w, struct map *seen, const struct val *v, bool is_schema)
{
    struct str format = is_schema && str_eqz(TEXT(v, type), "string") ? TEXT(v, format) : S("");
    if (format.n && !schema_format_known(format) && !text_was_met(seen, format))
        warnings_add(w, "unrecognized format \"" STR_FMT "\"", STR_ARG(format));
    val_each_item (it, v)
        warn_formats(w, seen, it, true);
    val_each_member (m, v) {
        if (is_schema && (m->name == N(default) || m->name == N(enum) || m->name == N(example)))
            continue;
        bool named = is_schema && (m->name == N(properties) || m->name == N(definitions));
        warn_formats(w, seen, &m->v, !named);
    }
}

static void warn_definition(struct warnings *w, const struct val *v, const struct val *old)
{
    AUTO(map_fini) struct map seen = MAP;
    const struct val *versions = val_at(v, N(spec), N(versions));
    if (old && val_unchanged(versions, val_at(old, N(spec), N(versions))))
        return;
    val_each_item (it, versions)
        warn_formats(w, &seen, val_at(it, N(schema), N(openAPIV3Schema)), true);
}

/* An instance of a definition may have any finalizer, but had better say whose it is. Upstream asks in the order of
 * their names. */
static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void warn_finalizers(struct warnings *w, const struct val *v, const struct val *old)
{
    const struct val *now = val_at(v, N(metadata), N(finalizers)), *was = val_at(old, N(metadata), N(finalizers));
    AUTO(map_fini) struct map had = MAP;
    ARRAY(struct str) all = {0};
    val_each_item (it, was)
        (void)text_was_met(&had, val_text(it));
    val_each_item (it, now)
        if (!text_was_met(&had, val_text(it)) && str_find_char(val_text(it), '/') < 0 &&
            !str_eqz(val_text(it), "orphan") && !str_eqz(val_text(it), "foregroundDeletion"))
            array_push(&all, val_text(it));
    if (all.n)
        qsort(all.p, all.n, sizeof *all.p, by_text);
    array_each (it, &all)
        warnings_add(
            w,
            "metadata.finalizers: \"" STR_FMT
            "\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer "
            "writers",
            STR_ARG(*it));
    array_fini(&all);
}

void kind_warnings(const struct kind *k, const struct val *v, const struct val *old, struct warnings *w)
{
    static const struct {
        const struct kind *kind;
        void (*warn)(struct warnings *w, const struct val *v);
    } rows[] = {
        {K(Service), warn_service},
        {K(Endpoints), warn_endpoints},
        {K(EndpointSlice), warn_endpoint_slice},
        {K(Secret), warn_secret},
        {K(PersistentVolume), warn_volume},
        {K(StorageClass), warn_storage_class},
        {K(CSIStorageCapacity), warn_capacity},
        {K(RuntimeClass), warn_runtime_class},
        {K(Node), warn_node},
        {K(ServiceAccount), warn_account},
    };
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].kind == k)
            rows[i].warn(w, v);
    if (k == K(Pod) && !old) { /* updates of pods are mostly no person's */
        warn_name(w, v, "the Pod's hostname");
        warn_pod(w, v, "");
    } else if (k == K(PodTemplate)) {
        if (!old || !val_unchanged(V(v, template), V(old, template)))
            warn_pod(w, V(v, template), "template.");
    } else if (k == K(CustomResourceDefinition)) {
        warn_definition(w, v, old);
    } else if (k == K(PersistentVolumeClaim)) {
        warn_storage_class_annotation(w, v);
        warn_claim_spec(w, V(v, spec), "spec");
    } else if (k == K(Ingress) && !old) {
        if (val_get_str(val_at(v, N(metadata), N(annotations)), S("kubernetes.io/ingress.class")))
            warnings_add(
                w, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
                   "instead");
    } else if (k == K(Deployment) || k == K(ReplicaSet) || k == K(StatefulSet) || k == K(DaemonSet) || k == K(Job) ||
               k == K(CronJob) || k == K(ReplicationController)) {
        warn_workload(w, k, v, old);
    }
    if (k->custom)
        warn_finalizers(w, v, old);
}
