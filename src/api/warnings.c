/* warnings.c - what is accepted but deserves a word to the client. */
#include "api/rules_int.h"
#include "api/strategy.h"

static void warn(struct warnings *w, const char *fmt, ...) PRINTF(2, 3);
static void warn(struct warnings *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(w->arena, fmt, args);
    va_end(args);
    array_push(&w->texts, text);
}

static void warn_overlaps(struct warnings *w, struct str volume, const char *what, struct str name,
                          const struct val *items)
{
    each(item, items)
    {
        struct str path = TEXT(item, path);
        for (const struct val *other = items->list; other < item; other++) {
            if (!str_eq(TEXT(other, path), path))
                continue;
            if (name.n > 0)
                warn(w,
                     "volume \"" STR_FMT "\" (%s \"" STR_FMT "\"): overlapping paths: \"" STR_FMT "\" with \"" STR_FMT
                     "\"",
                     STR_ARG(volume), what, STR_ARG(name), STR_ARG(path), STR_ARG(path));
            else
                warn(w, "volume \"" STR_FMT "\" (%s): overlapping paths: \"" STR_FMT "\" with \"" STR_FMT "\"",
                     STR_ARG(volume), what, STR_ARG(path), STR_ARG(path));
            break;
        }
    }
}

static void warn_volumes(struct warnings *w, const struct val *volumes, const char *at)
{
    static const struct {
        const struct name *field;
        const char *text;
    } dead[] = {{N(photonPersistentDisk), "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"},
                {N(gitRepo), "gitRepo: deprecated in v1.11, and disabled by default in v1.33+"},
                {N(scaleIO), "scaleIO: deprecated in v1.16, non-functional in v1.22+"},
                {N(flocker), "flocker: deprecated in v1.22, non-functional in v1.25+"},
                {N(storageos), "storageOS: deprecated in v1.22, non-functional in v1.25+"},
                {N(quobyte), "quobyte: deprecated in v1.22, non-functional in v1.25+"},
                {N(glusterfs), "glusterfs: deprecated in v1.25, non-functional in v1.26+"},
                {N(cephfs), "cephfs: deprecated in v1.28, non-functional in v1.31+"},
                {N(rbd), "rbd: deprecated in v1.28, non-functional in v1.31+"}};
    each(volume, volumes)
    {
        struct str name = TEXT(volume, name);
        for (size_t i = 0; i < countof(dead); i++)
            if (is_set(val_get(volume, dead[i].field)))
                warn(w, "%s.volumes[%td].%s", at, INDEX(volumes, volume), dead[i].text);
        warn_overlaps(w, name, "ConfigMap", TEXT(V(volume, configMap), name), V(V(volume, configMap), items));
        warn_overlaps(w, name, "Secret", TEXT(V(volume, secret), secretName), V(V(volume, secret), items));
        warn_overlaps(w, name, "DownwardAPI", S(""), V(V(volume, downwardAPI), items));
        const struct val *projected = V(volume, projected);
        if (!is_set(projected))
            continue;
        size_t sources = 0;
        each(source, V(projected, sources)) sources += HAS(source, secret) || HAS(source, configMap) ||
                                                       HAS(source, downwardAPI) || HAS(source, serviceAccountToken);
        if (sources == 0)
            warn(w, "volume \"" STR_FMT "\" (Projected) has no sources provided", STR_ARG(name));
    }
}

static void warn_pod_spec(struct warnings *w, const struct val *spec, const char *at)
{
    const struct val *spread = V(spec, topologySpreadConstraints), *aliases = V(spec, hostAliases),
                     *pulls = V(spec, imagePullSecrets);
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    each(c, spread) if (!HAS(c, labelSelector))
        warn(w, "%s.topologySpreadConstraints[%td].labelSelector: a null labelSelector results in matching no pod",
             at, INDEX(spread, c));
    warn_volumes(w, V(spec, volumes), at);
    each(alias, aliases) for (const struct val *other = aliases->list; other < alias;
                              other++) if (str_eq(TEXT(other, ip), TEXT(alias, ip)))
    {
        warn(w, "%s.hostAliases[%td].ip: duplicate ip \"" STR_FMT "\"", at, INDEX(aliases, alias),
             STR_ARG(TEXT(alias, ip)));
        break;
    }
    each(pull, pulls)
    {
        struct str name = TEXT(pull, name);
        if (name.n == 0)
            warn(w, "%s.imagePullSecrets[%td].name: invalid empty name \"\"", at, INDEX(pulls, pull));
        for (const struct val *other = pulls->list; other < pull; other++)
            if (str_eq(TEXT(other, name), name)) {
                warn(w, "%s.imagePullSecrets[%td].name: duplicate name \"" STR_FMT "\"", at, INDEX(pulls, pull),
                     STR_ARG(name));
                break;
            }
    }
    for (size_t l = 0; l < countof(lists); l++) {
        const struct val *containers = val_get(spec, lists[l]);
        each(c, containers)
        {
            const struct val *env = V(c, env);
            each(var, env) for (const struct val *other = env->list; other < var;
                                other++) if (str_eq(TEXT(other, name), TEXT(var, name)) &&
                                             !str_has(TEXT(var, value), S("$(")))
            {
                warn(w,
                     "%s.%s[%td].env[%td]: hides previous definition of \"" STR_FMT
                     "\", which may be dropped when using apply",
                     at, lists[l]->s.p, INDEX(containers, c), INDEX(env, var), STR_ARG(TEXT(var, name)));
                break;
            }
        }
    }
}

static void warn_name(struct warnings *w, struct str name, const char *of)
{
    struct complaints c = COMPLAINTS(w->arena);
    format_dns1123_label(&c, name);
    if (c.n > 0)
        warn(w,
             "metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is "
             "recommended: [" STR_FMT "]",
             of, STR_ARG(c.texts[0]));
}

static void warn_service(struct warnings *w, const struct val *v)
{
    const struct val *spec = V(v, spec);
    if (val_len(V(spec, externalIPs)) > 0 && str_eq(TEXT(spec, type), S("ExternalName")))
        warn(w, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    else if (val_len(V(spec, externalIPs)) > 0)
        warn(w, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    if (str_eq(TEXT(spec, trafficDistribution), S("PreferClose")))
        warn(w, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

static void warn_secret(struct warnings *w, const struct val *v)
{
    const struct val *crt = val_get_str(V(v, data), S("tls.crt"));
    if (str_eq(TEXT(v, type), S("kubernetes.io/tls")) && crt &&
        !str_has((struct str){crt->s, crt->n}, S("-----BEGIN ")))
        warn(w, "tls: failed to find any PEM data in certificate input");
}

void kind_warnings(const struct kind *k, const struct val *v, const struct val *old, struct warnings *w)
{
    const struct val *spec = V(v, spec);
    struct str name = val_text_at(v, N(metadata), N(name));
    bool same_spec = old && unchanged(spec, V(old, spec));
    if (k == K(Pod)) {
        if (!old)
            warn_name(w, name, "the Pod's hostname");
        if (!same_spec)
            warn_pod_spec(w, spec, "spec");
    } else if (k == K(PodTemplate)) {
        if (!old || !unchanged(V(v, template), V(old, template)))
            warn_pod_spec(w, V(V(v, template), spec), "template.spec");
    } else if (k == K(CronJob)) {
        if (!same_spec)
            warn_pod_spec(w, val_at(spec, N(jobTemplate), N(spec), N(template), N(spec)),
                          "spec.jobTemplate.spec.template.spec");
    } else if (k == K(Deployment) || k == K(ReplicaSet) || k == K(StatefulSet) || k == K(DaemonSet) || k == K(Job) ||
               k == K(ReplicationController)) {
        if (k == K(Job) && !old)
            warn_name(w, name, "Pod names and hostnames");
        if (!same_spec)
            warn_pod_spec(w, val_at(spec, N(template), N(spec)), "spec.template.spec");
        if (k == K(StatefulSet) && NUM(spec, revisionHistoryLimit) < 0)
            warn(w, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
                    "recommended");
    } else if (k == K(Service)) {
        warn_service(w, v);
    } else if (k == K(Secret)) {
        warn_secret(w, v);
    } else if (k == K(Ingress)) {
        if (!old && val_get_str(val_at(v, N(metadata), N(annotations)), S("kubernetes.io/ingress.class")))
            warn(w, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
                    "instead");
    }
}
