#include "api/formats.h"
#include "api/placement.h"
#include "api/quantity.h"
#include "api/usage.h"
#include "node/podspec_int.h"
#include "node/volume.h"
#include <ctype.h>

#define HOSTNAME_MOST        63
#define KERNEL_HOSTNAME_MOST 64
#define CONTAINERS_MOST      500
#define MOUNTS_MOST          1000 /* of a container; and volumes */
#define OBJECTS_MOST         1000
#define TOKENS_MOST          100
#define PAGE_SIZES           8

bool podspec_hostname(struct arena *a, const struct obj *pod, struct str node_hostname, struct str cluster_domain,
                      struct pod_hostname *out, struct err *err)
{
    const struct val *spec = obj_spec(pod), *forced = val_get(spec, N(hostnameOverride));
    struct str name = val_text_at(spec, N(hostname)), sub = val_text_at(spec, N(subdomain));
    if (!name.n)
        name = pod->name;
    if (name.n > HOSTNAME_MOST) {
        name.n = HOSTNAME_MOST;
        while (name.n && (name.p[name.n - 1] == '-' || name.p[name.n - 1] == '.'))
            name.n--;
    }
    *out = (struct pod_hostname){str_dup(a, name), S(""), S("")};
    if (sub.n)
        out->domain = arena_fmt(a, STR_FMT "." STR_FMT ".svc." STR_FMT, STR_ARG(sub), STR_ARG(pod->ns),
                                STR_ARG(cluster_domain));
    if (val_text(forced).n)
        *out = (struct pod_hostname){str_dup(a, val_text(forced)), S(""), S("")};
    out->kernel = out->name;
    if (val_true(val_get(spec, N(hostNetwork)))) {
        out->kernel = node_hostname;
        return true;
    }
    if (!out->domain.n || !val_true(val_get(spec, N(setHostnameAsFQDN))))
        return true;
    struct str fqdn = arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(out->name), STR_ARG(out->domain));
    if (fqdn.n > KERNEL_HOSTNAME_MOST)
        return err_set(err, E_INVALID,
                       "failed to construct FQDN from pod hostname and cluster domain, FQDN " STR_FMT
                       " is too long (%d characters is the max, %zu characters requested)",
                       STR_ARG(fqdn), KERNEL_HOSTNAME_MOST, fqdn.n);
    out->kernel = fqdn;
    return true;
}

bool podspec_host_users(const struct obj *pod)
{
    const struct val *users = val_get(obj_spec(pod), N(hostUsers));
    return !users || val_true(users);
}

const char *podspec_qos_folder(const struct obj *pod)
{
    struct str qos = val_text_at(obj_status(pod), N(qosClass));
    return str_eq(qos, S("Guaranteed")) ? "" : str_eq(qos, S("Burstable")) ? "/burstable" : "/besteffort";
}

/* --- limits (kubelet: cm/helpers_linux.go) ------------------------------------------------------------------- */

uint64_t podspec_shares(int64_t milli)
{
    return milli ? (uint64_t)MIN(MAX(milli * 1024 / 1000, 2), 262144) : 2;
}

static int64_t quota_of_milli(int64_t milli)
{
    return milli ? MAX(milli * 100, 1000) : 0;
}

static int64_t amount_of(const struct val *resources, const struct name *side, const char *what, bool milli)
{
    struct str q = val_text(val_get_str(val_get(resources, side), str_of(what)));
    return !q.n ? 0 : milli ? quantity_milli(q) : quantity_value(q);
}

static int64_t limit_of(const struct val *own, const struct val *whole, const char *what, bool milli)
{
    int64_t limit = amount_of(own, N(limits), what, milli);
    return limit ? limit : amount_of(whole, N(limits), what, milli);
}

void podspec_limits(const struct val *own, const struct val *whole, struct oci_limits *out)
{
    int64_t cpu_limit = limit_of(own, whole, "cpu", true), cpu = amount_of(own, N(requests), "cpu", true);
    *out = (struct oci_limits){0};
    out->cpu_shares = podspec_shares(cpu ? cpu : cpu_limit);
    out->cpu_quota_us = quota_of_milli(cpu_limit);
    out->memory = limit_of(own, whole, "memory", false);
}

/* Limits of the pod hold where it says one itself, or every container does. */
static bool all_limited(const struct val *spec, struct str resource)
{
    static const struct name *const lists[] = {N(containers), N(initContainers)};
    if (resource_amount(val_at(spec, N(resources), N(limits)), resource))
        return true;
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            if (!resource_amount(val_at(c, N(resources), N(limits)), resource))
                return false;
    return true;
}

void podspec_pod_limits(const struct val *pod, struct oci_limits *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct val *spec = val_get(pod, N(spec));
    struct val requests = pod_resources(&a, pod, N(requests), POD_OVERHEAD);
    struct val limits = pod_resources(&a, pod, N(limits), POD_OVERHEAD);
    int64_t cpu = resource_amount(&requests, S("cpu")), cpu_limit = resource_amount(&limits, S("cpu"));
    *out = (struct oci_limits){0};
    out->cpu_shares = podspec_shares(cpu);
    if (all_limited(spec, S("cpu")))
        out->cpu_quota_us = quota_of_milli(cpu_limit);
    if (all_limited(spec, S("memory")))
        out->memory = resource_amount(&limits, S("memory"));
}

/* "2Mi" is 2MB to the kernel. */
static struct str page_size(struct arena *a, struct str name)
{
    int64_t bytes = quantity_value(str_sub(name, sizeof "hugepages-" - 1, name.n));
    return bytes >= 1LL << 30 ? arena_fmt(a, "%lldGB", (long long)(bytes >> 30))
           : bytes >= 1 << 20 ? arena_fmt(a, "%lldMB", (long long)(bytes >> 20))
                              : arena_fmt(a, "%lldKB", (long long)(bytes >> 10));
}

static size_t pages_add(struct arena *a, struct oci_hugepage *to, size_t n, const struct val *limits,
                        const struct val *unless)
{
    val_each_member (m, limits) {
        if (n == PAGE_SIZES || !is_hugepages(m->name->s) || val_get_str(unless, m->name->s))
            continue;
        to[n++] = (struct oci_hugepage){page_size(a, m->name->s), (uint64_t)MAX(quantity_value(val_text(&m->v)), 0)};
    }
    return n;
}

void podspec_hugepages(struct arena *a, const struct val *own, const struct val *whole, struct oci_limits *out)
{
    struct oci_hugepage *list = arena_alloc(a, PAGE_SIZES * sizeof *list);
    out->nhugepages = pages_add(a, list, 0, own, NULL);
    out->nhugepages = pages_add(a, list, out->nhugepages, whole, own);
    out->hugepages = list;
}

struct cgroup_bounds podspec_bounds(const struct oci_limits *l)
{
    return (struct cgroup_bounds){l->cpu_shares, l->cpu_quota_us, l->memory};
}

int64_t podspec_milli_of_shares(uint64_t shares)
{
    return (int64_t)((shares * 1000 + 1023) / 1024);
}

/* --- security ------------------------------------------------------------------------------------------------ */

/* The container's securityContext wins over the pod's. */
static const struct val *security_field(const struct podspec_input *in, const struct name *name)
{
    const struct val *v = val_at(in->container, N(securityContext), name);
    return v ? v : val_at(obj_spec(in->pod), N(securityContext), name);
}

static void add_group(uint32_t *groups, size_t *n, uint32_t gid)
{
    for (size_t i = 0; i < *n; i++)
        if (groups[i] == gid)
            return;
    groups[(*n)++] = gid;
}

static bool set_user(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    const struct val *user = security_field(in, N(runAsUser)), *group = security_field(in, N(runAsGroup));
    struct image_user found = {0};
    struct str name = user ? arena_fmt(a, "%lld", (long long)val_num(user, 0)) : in->image->user;
    if (!image_user_find(in->image, name, &found, err))
        return false;
    bool numeric = name.n == 0 || isdigit((unsigned char)name.p[0]);
    if (val_true(security_field(in, N(runAsNonRoot)))) {
        struct str where = arena_fmt(a, "(pod: \"" STR_FMT "_" STR_FMT "(" STR_FMT ")\", container: " STR_FMT ")",
                                     STR_ARG(in->pod->name), STR_ARG(in->pod->ns), STR_ARG(in->pod->uid),
                                     STR_ARG(val_text_at(in->container, N(name))));
        if (user && found.uid == 0)
            return err_set(err, E_INVALID, "container's runAsUser breaks non-root policy " STR_FMT, STR_ARG(where));
        if (!user && !numeric)
            return err_set(err, E_INVALID,
                           "container has runAsNonRoot and image has non-numeric user (" STR_FMT
                           "), cannot verify user is non-root " STR_FMT,
                           STR_ARG(name), STR_ARG(where));
        if (found.uid == 0)
            return err_set(err, E_INVALID, "container has runAsNonRoot and image will run as root " STR_FMT,
                           STR_ARG(where));
    }
    env_default(in->env, S("HOME"), found.home.n ? found.home : S("/"));
    out->uid = found.uid;
    out->gid = group ? (uint32_t)val_num(group, 0) : found.gid;
    const struct val *pod = val_get(obj_spec(in->pod), N(securityContext));
    const struct val *more = val_get(pod, N(supplementalGroups)), *fs = val_get(pod, N(fsGroup));
    bool strict = str_eq(val_text_at(pod, N(supplementalGroupsPolicy)), S("Strict"));
    uint32_t *groups = arena_alloc(a, (found.ngroups + val_len(more) + 2) * sizeof *groups);
    out->groups = groups;
    add_group(groups, &out->ngroups, out->gid); /* runtimes list the primary one among the others */
    for (size_t i = 0; i < found.ngroups && !strict; i++)
        add_group(groups, &out->ngroups, found.groups[i]);
    if (fs)
        add_group(groups, &out->ngroups, (uint32_t)val_num(fs, 0));
    val_each_item (g, more)
        add_group(groups, &out->ngroups, (uint32_t)val_num(g, 0));
    return true;
}

/* The capabilities that a list names; *all: ALL is among them. */
static bool read_capabilities(const struct val *list, uint64_t *caps, bool *all, struct err *err)
{
    val_each_item (v, list) {
        int bit;
        if (str_ieq(val_text(v), S("ALL")))
            *all = true;
        else if (oci_cap_find(val_text(v), &bit))
            *caps |= OCI_CAP(bit);
        else
            return err_set(err, E_INVALID, "securityContext.capabilities: there is no capability " STR_FMT,
                           STR_ARG(val_text(v)));
    }
    return true;
}

/* As containerd has it: ALL first, of both lists, then what is named; and of both what is dropped wins. */
static bool set_capabilities(const struct val *lists, uint64_t *caps, struct err *err)
{
    uint64_t gain = 0, drop = 0;
    bool gain_all = false, drop_all = false;
    if (!read_capabilities(val_get(lists, N(add)), &gain, &gain_all, err) ||
        !read_capabilities(val_get(lists, N(drop)), &drop, &drop_all, err))
        return false;
    *caps = ((drop_all ? 0 : gain_all ? oci_caps_all() : *caps) | gain) & ~drop;
    return true;
}

static const struct val *apparmor_of(const struct val *pod_spec, const struct val *container)
{
    const struct val *own = val_at(container, N(securityContext), N(appArmorProfile));
    return own ? own : val_at(pod_spec, N(securityContext), N(appArmorProfile));
}

bool podspec_wants_apparmor(const struct obj *pod)
{
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i])) {
            const struct val *profile = apparmor_of(obj_spec(pod), c);
            if (profile && !str_eqz(val_text_at(profile, N(type)), "Unconfined"))
                return true;
        }
    return false;
}

/* Lines "NAME (MODE)". */
static bool apparmor_is_loaded(struct str profiles, struct str name)
{
    struct str line;
    while (str_cut(&profiles, '\n', &line)) {
        ptrdiff_t mode = str_rfind_char(line, '(');
        if (mode > 0 && str_eq(str_trim(str_sub(line, 0, (size_t)mode)), name))
            return true;
    }
    return false;
}

/* As containerd has it: a privileged container has no default one. */
static bool set_apparmor(const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    const struct val *profile = apparmor_of(obj_spec(in->pod), in->container);
    struct str type = val_text_at(profile, N(type));
    if (str_eqz(type, "RuntimeDefault") && !out->privileged)
        out->apparmor = S(APPARMOR_DEFAULT);
    else if (str_eqz(type, "Localhost"))
        out->apparmor = val_text_at(profile, N(localhostProfile));
    if (!out->apparmor.n || apparmor_is_loaded(in->apparmor, out->apparmor))
        return true;
    return err_set(err, E_NOT_FOUND, "failed to generate apparmor spec opts: apparmor profile not found " STR_FMT,
                   STR_ARG(out->apparmor));
}

static bool set_security(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    if (!set_user(a, in, out, err))
        return false;
    if (val_true(val_at(in->container, N(securityContext), N(privileged))))
        oci_container_privileged(out, a);
    else if (!set_capabilities(val_at(in->container, N(securityContext), N(capabilities)), &out->capabilities, err))
        return false;
    const struct val *escalate = val_at(in->container, N(securityContext), N(allowPrivilegeEscalation));
    out->no_new_privileges = escalate && !val_true(escalate);
    if (!set_apparmor(in, out, err) || !podspec_set_labels(a, in, out, err))
        return false;
    out->read_only_root = val_true(val_at(in->container, N(securityContext), N(readOnlyRootFilesystem)));
    const struct val *seccomp = security_field(in, N(seccompProfile));
    struct str type = val_text_at(seccomp, N(type));
    if (str_eq(type, S("Unconfined")))
        out->seccomp = OCI_SECCOMP_UNCONFINED;
    struct str profile = val_text_at(seccomp, N(localhostProfile));
    if (profile.n && memchr(profile.p, 0, profile.n))
        return err_set(err, E_INVALID, "seccompProfile.localhostProfile has a NUL byte in it");
    if (str_eq(type, S("Localhost")))
        out->seccomp_profile = arena_fmt(a, "%s/seccomp/" STR_FMT, in->data, STR_ARG(profile));
    if (str_eq(val_text_at(in->container, N(securityContext), N(procMount)), S("Unmasked")))
        out->masked = out->read_only = (struct strs){0};
    return true;
}

/* --- command -------------------------------------------------------------------------------------- */

static bool add_texts(struct arena *a, struct strs *out, const struct val *list, struct env *env, const char *what,
                      struct err *err)
{
    struct str *p = strs_grow(a, out, val_len(list));
    val_each_item (v, list) {
        if (!env_expand(env, val_text(v), &p[out->n], NULL, err))
            return err_wrap(err, "%s", what);
        out->n++;
    }
    return true;
}

static bool add_image_texts(struct arena *a, struct strs *out, struct strs list, struct env *env, struct err *err)
{
    struct str *p = strs_grow(a, out, list.n);
    for (size_t i = 0; i < list.n; i++) {
        if (!env_charge(env, list.p[i], err))
            return err_wrap(err, "the image's command");
        p[out->n++] = list.p[i];
    }
    return true;
}

/* The image's entrypoint stands where the pod gives no command, its arguments where the pod gives neither. */
static bool set_command(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    const struct val *command = val_get(in->container, N(command)), *args = val_get(in->container, N(args));
    static const struct strs none = {0};
    bool own = val_len(command) > 0, own_args = own || val_len(args) > 0;
    if (!add_texts(a, &out->args, command, in->env, "command", err) ||
        !add_image_texts(a, &out->args, own ? none : in->image->entrypoint, in->env, err) ||
        !add_texts(a, &out->args, args, in->env, "args", err) ||
        !add_image_texts(a, &out->args, own_args ? none : in->image->cmd, in->env, err))
        return false;
    if (!out->args.n)
        return err_set(err, E_INVALID, "no command specified: neither the container nor its image says what to run");
    struct str dir = val_text_at(in->container, N(workingDir));
    out->cwd = dir.n ? dir : in->image->workdir;
    out->env = in->env->all;
    out->terminal = val_true(val_get(in->container, N(tty)));
    return true;
}

static void set_namespaces(struct arena *a, const struct podspec_input *in, struct oci_container *out)
{
    const struct val *spec = obj_spec(in->pod);
    if (val_true(val_get(spec, N(hostPID)))) {
        out->ns[OCI_NS_PID] = OCI_NS_HOST;
    } else if (in->target_pid && !val_true(val_get(spec, N(shareProcessNamespace)))) {
        out->ns[OCI_NS_PID] = OCI_NS_PATH;
        out->ns_path[OCI_NS_PID] = arena_fmt(a, "/proc/%d/ns/pid", (int)in->target_pid);
    }
    if (val_true(val_get(spec, N(hostIPC))))
        out->ns[OCI_NS_IPC] = OCI_NS_HOST;
    if (val_true(val_get(spec, N(hostNetwork))))
        out->ns[OCI_NS_NET] = OCI_NS_HOST;
}

static int64_t memory_request(const struct val *container)
{
    return amount_of(val_get(container, N(resources)), N(requests), "memory", false);
}

/* What the pod asks for beyond what its containers do is for all of them alike. */
static int64_t memory_unshared(const struct val *spec)
{
    static const struct name *const lists[] = {N(containers), N(initContainers)};
    int64_t rest = amount_of(val_get(spec, N(resources)), N(requests), "memory", false), n = 0;
    for (size_t i = 0; i < countof(lists) && rest; i++)
        val_each_item (c, val_get(spec, lists[i]))
            rest -= memory_request(c), n++;
    return n && rest > 0 ? rest / n : 0;
}

/* kubelet: qos/policy.go. A sidecar is not to go before the containers that it serves. */
static int oom_score(const struct podspec_input *in)
{
    const struct val *spec = obj_spec(in->pod);
    struct str qos = val_text_at(obj_status(in->pod), N(qosClass));
    if (str_eq(qos, S("Guaranteed")) || str_eq(val_text_at(spec, N(priorityClassName)), S("system-node-critical")))
        return -997;
    if (str_eq(qos, S("BestEffort")))
        return 1000;
    int64_t request = memory_request(in->container);
    int64_t have = quantity_value(val_text(val_get_str(in->sources->capacity, S("memory"))));
    if (str_eq(val_text_at(in->container, N(restartPolicy)), S("Always"))) {
        int64_t least = INT64_MAX;
        val_each_item (c, val_get(spec, N(containers)))
            least = MIN(least, memory_request(c));
        request = MAX(request, least == INT64_MAX ? 0 : least);
    }
    request += memory_unshared(spec);
    int64_t score = have ? 1000 - (int64_t)((__int128)1000 * request / have) : 999;
    return (int)MIN(MAX(score, 3), 999);
}

bool podspec_container(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    *out = (struct oci_container){0};
    oci_container_defaults(out, a, in->shm);
    set_namespaces(a, in, out);
    podspec_limits(val_get(in->container, N(resources)), val_get(obj_spec(in->pod), N(resources)), &out->limits);
    podspec_hugepages(a, val_at(in->container, N(resources), N(limits)),
                      val_at(obj_spec(in->pod), N(resources), N(limits)), &out->limits);
    out->oom_score_adj = oom_score(in);
    out->has_oom_score_adj = true;
    return set_security(a, in, out, err) && set_command(a, in, out, err) && podspec_set_mounts(a, in, out, err) &&
           podspec_set_devices(a, in, out, err);
}

/* --- what is not there yet ----------------------------------------------------------------------------------- */

static bool field_refuse(const struct val *v, const char *field, const char *way_out, struct err *err)
{
    return !v || err_set(err, E_NOT_IMPLEMENTED, "%s is not supported yet: %s", field, way_out);
}

/* Empty objects and lists ask for nothing. */
static const struct val *val_asked(const struct val *v)
{
    return v && (v->type == VAL_MAP || v->type == VAL_LIST) && !val_len(v) ? NULL : v;
}

static void count_object(void *arg, const struct kind *kind, struct str name)
{
    char key[300];
    (void)snprintf(key, sizeof key, "%c/" STR_FMT, kind == K(Secret) ? 's' : 'c', STR_ARG(name));
    (void)map_put(arg, str_of(key), arg);
}

static bool too_many(size_t n, size_t most, const char *what, struct err *err)
{
    return n > most &&
           !err_set(err, E_TOO_LARGE, "%s: %zu, of which a node makes at most %zu for one pod", what, n, most);
}

/* What each of costs the node something: a folder, a mount, a watch, a token. A body of 3 MB has room for tens of
 * thousands of them. */
static bool spec_fits(const struct val *spec, const struct obj *pod, struct err *err)
{
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    size_t containers = 0, tokens = 0, sources = 0;
    for (size_t i = 0; i < countof(lists); i++) {
        containers += val_len(val_get(spec, lists[i]));
        val_each_item (c, val_get(spec, lists[i]))
            if (too_many(val_len(val_get(c, N(volumeMounts))), MOUNTS_MOST, "volumeMounts", err))
                return false;
    }
    val_each_item (v, val_get(spec, N(volumes))) {
        sources += val_len(val_at(v, N(projected), N(sources)));
        val_each_item (s, val_at(v, N(projected), N(sources)))
            tokens += val_get(s, N(serviceAccountToken)) != NULL;
    }
    AUTO(map_fini) struct map objects = MAP;
    source_names(pod, count_object, &objects);
    return !too_many(containers, CONTAINERS_MOST, "containers", err) &&
           !too_many(val_len(val_get(spec, N(volumes))), MOUNTS_MOST, "spec.volumes", err) &&
           !too_many(sources, MOUNTS_MOST, "projected.sources", err) &&
           !too_many(map_len(&objects), OBJECTS_MOST, "ConfigMaps and Secrets", err) &&
           !too_many(tokens, TOKENS_MOST, "tokens of service accounts", err);
}

bool podspec_supported(const struct obj *pod, struct err *err)
{
    const struct val *spec = obj_spec(pod);
    struct str os = val_text_at(spec, N(os), N(name));
    bool ok = spec_fits(spec, pod, err) && field_refuse(val_asked(val_get(spec, N(resourceClaims))),
                                                        "spec.resourceClaims", "ask for devices by hostPath", err);
    if (os.n && !str_eq(os, S("linux")))
        return err_set(err, E_INVALID, "spec.os.name: " STR_FMT ": this node runs linux", STR_ARG(os));
    val_each_item (v, val_get(spec, N(volumes)))
        ok = ok && volume_type_of(v, err) != NULL;
    return ok;
}

/* --- sysctls (kubelet: sysctl/safe_sysctls.go) ------------------------------------------------------------------ */

static const struct safe_sysctl {
    const char *name;
    bool net; /* of the network namespace; else of the IPC namespace */
} safe_sysctls[] = {
    {"kernel.shm_rmid_forced", false},          {"net.ipv4.ip_local_port_range", true},
    {"net.ipv4.ip_local_reserved_ports", true}, {"net.ipv4.ip_unprivileged_port_start", true},
    {"net.ipv4.ping_group_range", true},        {"net.ipv4.tcp_fin_timeout", true},
    {"net.ipv4.tcp_keepalive_intvl", true},     {"net.ipv4.tcp_keepalive_probes", true},
    {"net.ipv4.tcp_keepalive_time", true},      {"net.ipv4.tcp_rmem", true},
    {"net.ipv4.tcp_syncookies", true},          {"net.ipv4.tcp_wmem", true},
};

/* Names may be written with slashes between their parts: the first separator says which it is (sysctl(8)). */
static struct str sysctl_name(struct arena *a, struct str name)
{
    char *z = arena_strz(a, name);
    ptrdiff_t dot = str_find_char(name, '.'), slash = str_find_char(name, '/');
    if (slash >= 0 && (dot < 0 || slash < dot))
        for (size_t i = 0; i < name.n; i++)
            z[i] = z[i] == '/' ? '.' : z[i] == '.' ? '/' : z[i];
    return (struct str){z, name.n};
}

static bool is_one_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' && s.p[i] != '\t')
            return false;
    return true;
}

/* Those that a pod's namespaces have for themselves (kubelet: sysctl/namespaces.go); a row is a name or begins names.
 */
static const struct safe_sysctl namespaced[] = {
    {"kernel.sem", false}, {"kernel.shm*", false}, {"kernel.msg*", false}, {"fs.mqueue.*", false}, {"net.*", true},
};

static bool sysctl_matches(struct str pattern, struct str name)
{
    bool open = str_ends(pattern, S("*"));
    return open ? str_starts(name, str_sub(pattern, 0, pattern.n - 1)) : str_eq(name, pattern);
}

static const struct safe_sysctl *sysctl_space(struct str name)
{
    for (size_t i = 0; i < countof(namespaced); i++)
        if (sysctl_matches(str_of(namespaced[i].name), name))
            return &namespaced[i];
    return NULL;
}

bool podspec_sysctls_check(struct str allowed, struct err *err)
{
    struct str part;
    while (str_cut(&allowed, ',', &part)) {
        part = str_trim(part);
        struct str stem = str_ends(part, S("*")) ? str_sub(part, 0, part.n - 1) : part;
        if (!sysctl_space(stem) || str_find_char(stem, '*') >= 0 || str_find_char(stem, '/') >= 0)
            return err_set(err, E_INVALID,
                           "\"" STR_FMT "\": there are kernel.sem, kernel.shm*, kernel.msg*, fs.mqueue.* and net.*, "
                           "which are a pod's own",
                           STR_ARG(part));
    }
    return true;
}

static const struct safe_sysctl *sysctl_allowed(struct str allowed, struct str name)
{
    struct str part;
    for (size_t i = 0; i < countof(safe_sysctls); i++)
        if (str_eqz(name, safe_sysctls[i].name))
            return &safe_sysctls[i];
    while (allowed.n && str_cut(&allowed, ',', &part))
        if (sysctl_matches(str_trim(part), name))
            return sysctl_space(name);
    return NULL;
}

bool podspec_sysctls(struct arena *a, const struct obj *pod, struct str allowed, struct strs *out, struct err *err)
{
    const struct val *spec = obj_spec(pod), *list = val_at(spec, N(securityContext), N(sysctls));
    bool host_net = val_true(val_get(spec, N(hostNetwork))), host_ipc = val_true(val_get(spec, N(hostIPC)));
    *out = (struct strs){0};
    if (!host_net) { /* as containerd 2 has it: any user may listen on any port, and ping */
        strs_add(a, out, S("net.ipv4.ip_unprivileged_port_start=0"));
        if (podspec_host_users(pod)) /* elsewhere there are not that many groups */
            strs_add(a, out, S("net.ipv4.ping_group_range=0 2147483647"));
    }
    val_each_item (v, list) {
        struct str name = sysctl_name(a, val_text_at(v, N(name)));
        const struct safe_sysctl *safe = sysctl_allowed(allowed, name);
        if (!safe)
            return err_set(err, E_INVALID, "forbidden sysctl: \"" STR_FMT "\" not allowlisted", STR_ARG(name));
        if (safe->net ? host_net : host_ipc)
            return err_set(err, E_INVALID, "forbidden sysctl: \"" STR_FMT "\" not allowed with host %s enabled",
                           STR_ARG(name), safe->net ? "net" : "ipc");
        struct str value = str_trim(val_text_at(v, N(value)));
        if (!is_one_line(value)) /* they go to the shim line by line, and each line is one that root writes */
            return err_set(err, E_INVALID, "forbidden sysctl: \"" STR_FMT "\": its value is more than one line",
                           STR_ARG(name));
        /* later ones are written over earlier ones */
        strs_add(a, out, arena_fmt(a, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(value)));
    }
    return true;
}
