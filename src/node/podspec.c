#include "node/podspec.h"
#include "api/quantity.h"
#include "node/volume.h"
#include <ctype.h>

#define HOSTNAME_MOST 63

static struct str *grow(struct arena *a, struct strs *s, size_t more)
{
    struct str *p = arena_alloc(a, (s->n + more) * sizeof *p);
    if (s->n)
        memcpy(p, s->p, s->n * sizeof *p);
    s->p = p;
    return p;
}

static void add(struct arena *a, struct strs *s, struct str text)
{
    grow(a, s, 1)[s->n] = text;
    s->n++;
}

struct str podspec_hostname(struct arena *a, const struct obj *pod, struct str node_hostname)
{
    const struct val *spec = obj_spec(pod);
    if (val_true(val_get(spec, N(hostNetwork))))
        return node_hostname;
    struct str name = val_text_at(spec, N(hostname));
    if (!name.n)
        name = pod->name;
    if (name.n > HOSTNAME_MOST) {
        name.n = HOSTNAME_MOST;
        while (name.n && (name.p[name.n - 1] == '-' || name.p[name.n - 1] == '.'))
            name.n--;
    }
    return str_dup(a, name);
}

const char *podspec_qos_folder(const struct obj *pod)
{
    struct str qos = val_text_at(obj_status(pod), N(qosClass));
    return str_eq(qos, S("Guaranteed")) ? "" : str_eq(qos, S("Burstable")) ? "/burstable" : "/besteffort";
}

/* --- limits (kubelet: cm/helpers_linux.go) ------------------------------------------------------------------- */

static uint64_t shares(int64_t milli)
{
    return milli ? (uint64_t)MIN(MAX(milli * 1024 / 1000, 2), 262144) : 2;
}

static int64_t quota(int64_t milli)
{
    return milli ? MAX(milli * 100, 1000) : 0;
}

static int64_t amount(const struct val *resources, const struct name *side, const char *what, bool milli)
{
    struct str q = val_text(val_get_str(val_get(resources, side), str_of(what)));
    return !q.n ? 0 : milli ? quantity_milli(q) : quantity_value(q);
}

void podspec_limits(const struct val *resources, struct oci_limits *out)
{
    int64_t cpu_limit = amount(resources, N(limits), "cpu", true), cpu = amount(resources, N(requests), "cpu", true);
    *out = (struct oci_limits){0};
    out->cpu_shares = shares(cpu ? cpu : cpu_limit);
    out->cpu_quota_us = quota(cpu_limit);
    out->memory = amount(resources, N(limits), "memory", false);
}

/* Limits of the pod hold only where every container has one. */
void podspec_pod_limits(const struct val *pod_spec, struct oci_limits *out)
{
    int64_t cpu = 0, cpu_limit = 0, memory = 0;
    bool all_cpu = true, all_memory = true;
    val_each_item (c, val_get(pod_spec, N(containers))) {
        const struct val *r = val_get(c, N(resources));
        int64_t l = amount(r, N(limits), "cpu", true), m = amount(r, N(limits), "memory", false);
        int64_t q = amount(r, N(requests), "cpu", true);
        cpu += q ? q : l;
        cpu_limit += l;
        memory += m;
        all_cpu = all_cpu && l;
        all_memory = all_memory && m;
    }
    /* an init container runs beside the sidecars before it, then all sidecars run beside the others */
    int64_t init_cpu = 0, init_limit = 0, init_memory = 0, side_cpu = 0, side_limit = 0, side_memory = 0;
    val_each_item (c, val_get(pod_spec, N(initContainers))) {
        const struct val *r = val_get(c, N(resources));
        bool sidecar = str_eq(val_text_at(c, N(restartPolicy)), S("Always"));
        int64_t l = amount(r, N(limits), "cpu", true), m = amount(r, N(limits), "memory", false);
        int64_t q = amount(r, N(requests), "cpu", true);
        all_cpu = all_cpu && l;
        all_memory = all_memory && m;
        if (sidecar)
            side_cpu += q ? q : l, side_limit += l, side_memory += m;
        init_cpu = MAX(init_cpu, side_cpu + (sidecar ? 0 : q ? q : l));
        init_limit = MAX(init_limit, side_limit + (sidecar ? 0 : l));
        init_memory = MAX(init_memory, side_memory + (sidecar ? 0 : m));
    }
    cpu += side_cpu, cpu_limit += side_limit, memory += side_memory;
    *out = (struct oci_limits){0};
    out->cpu_shares = shares(MAX(cpu, init_cpu));
    out->cpu_quota_us = all_cpu ? quota(MAX(cpu_limit, init_limit)) : 0;
    out->memory = all_memory ? MAX(memory, init_memory) : 0;
}

/* --- security ------------------------------------------------------------------------------------------------ */

/* The container's securityContext wins over the pod's. */
static const struct val *security(const struct podspec_input *in, const struct name *name)
{
    const struct val *v = val_at(in->container, N(securityContext), name);
    return v ? v : val_at(obj_spec(in->pod), N(securityContext), name);
}

static bool set_user(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    const struct val *user = security(in, N(runAsUser)), *group = security(in, N(runAsGroup));
    struct image_user found = {0};
    struct str name = user ? arena_fmt(a, "%lld", (long long)val_num(user, 0)) : in->image->user;
    if (!image_user_find(in->image, name, &found, err))
        return false;
    bool numeric = name.n == 0 || isdigit((unsigned char)name.p[0]);
    if (val_true(security(in, N(runAsNonRoot)))) {
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
    uint32_t *groups = arena_alloc(a, (found.ngroups + val_len(more) + 1) * sizeof *groups);
    for (size_t i = 0; i < found.ngroups && !strict; i++)
        groups[out->ngroups++] = found.groups[i];
    val_each_item (g, more)
        groups[out->ngroups++] = (uint32_t)val_num(g, 0);
    if (fs)
        groups[out->ngroups++] = (uint32_t)val_num(fs, 0);
    out->groups = groups;
    return true;
}

static bool set_capabilities(const struct val *list, uint64_t *caps, bool keep, struct err *err)
{
    val_each_item (v, list) {
        int bit;
        if (str_ieq(val_text(v), S("ALL"))) {
            *caps = keep ? oci_caps_all() : 0;
            continue;
        }
        if (!oci_cap_find(val_text(v), &bit))
            return err_set(err, E_INVALID, "securityContext.capabilities: there is no capability " STR_FMT,
                           STR_ARG(val_text(v)));
        *caps = keep ? *caps | OCI_CAP(bit) : *caps & ~OCI_CAP(bit);
    }
    return true;
}

static bool set_security(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    if (!set_user(a, in, out, err))
        return false;
    const struct val *caps = val_at(in->container, N(securityContext), N(capabilities));
    const struct val *drop = val_get(caps, N(drop)), *gain = val_get(caps, N(add));
    if (val_true(val_at(in->container, N(securityContext), N(privileged))))
        oci_container_privileged(out, a);
    else if (!set_capabilities(drop, &out->capabilities, false, err) ||
             !set_capabilities(gain, &out->capabilities, true, err))
        return false;
    const struct val *escalate = val_at(in->container, N(securityContext), N(allowPrivilegeEscalation));
    out->no_new_privileges = escalate && !val_true(escalate);
    out->read_only_root = val_true(val_at(in->container, N(securityContext), N(readOnlyRootFilesystem)));
    const struct val *seccomp = security(in, N(seccompProfile));
    struct str type = val_text_at(seccomp, N(type));
    if (str_eq(type, S("Unconfined")))
        out->seccomp = OCI_SECCOMP_UNCONFINED;
    else if (str_eq(type, S("Localhost")))
        out->seccomp_profile = arena_fmt(a, "/var/lib/wherry/node/seccomp/" STR_FMT,
                                         STR_ARG(val_text_at(seccomp, N(localhostProfile))));
    if (str_eq(val_text_at(in->container, N(securityContext), N(procMount)), S("Unmasked")))
        out->masked = out->read_only = (struct strs){0};
    return true;
}

/* --- command and mounts -------------------------------------------------------------------------------------- */

static bool add_texts(struct arena *a, struct strs *out, const struct val *list, struct env *env, const char *what,
                      struct err *err)
{
    struct str *p = grow(a, out, val_len(list));
    val_each_item (v, list) {
        if (!env_expand(env, val_text(v), &p[out->n], NULL, err))
            return err_wrap(err, "%s", what);
        out->n++;
    }
    return true;
}

static bool add_image_texts(struct arena *a, struct strs *out, struct strs list, struct env *env, struct err *err)
{
    struct str *p = grow(a, out, list.n);
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

static void add_mount(struct arena *a, struct oci_container *out, size_t *cap, struct oci_mount m)
{
    struct oci_mount *all = (struct oci_mount *)(uintptr_t)out->mounts;
    if (out->nmounts >= *cap) {
        *cap = out->nmounts + 16;
        all = arena_alloc(a, *cap * sizeof *all);
        memcpy(all, out->mounts, out->nmounts * sizeof *all);
        out->mounts = all;
    }
    all[out->nmounts++] = m;
}

static struct strs bind_options(struct arena *a, bool read_only, struct str propagation)
{
    struct strs o = {0};
    add(a, &o, S("rbind"));
    add(a, &o,
        str_eq(propagation, S("Bidirectional"))     ? S("rshared")
        : str_eq(propagation, S("HostToContainer")) ? S("rslave")
                                                    : S("rprivate"));
    add(a, &o, read_only ? S("ro") : S("rw"));
    return o;
}

static bool sub_path_ok(struct str path)
{
    struct str rest = path, part;
    while (str_cut(&rest, '/', &part))
        if (str_eq(part, S("..")))
            return false;
    return path.n == 0 || path.p[0] != '/';
}

static bool sub_path_of(const struct podspec_input *in, const struct val *mount, struct str *out, struct err *err)
{
    struct str expr = val_text_at(mount, N(subPathExpr));
    *out = val_text_at(mount, N(subPath));
    struct str missing;
    if (expr.n && !env_expand(in->env, expr, out, &missing, err))
        return err_wrap(err, "subPathExpr");
    if (expr.n && missing.n)
        return err_set(err, E_INVALID, "missing value for \"" STR_FMT "\"", STR_ARG(missing));
    return sub_path_ok(*out) ||
           err_set(err, E_INVALID, "subPath \"" STR_FMT "\": must be relative, without \"..\"", STR_ARG(*out));
}

static bool is_mounted(const struct val *mounts, struct str path)
{
    val_each_item (m, mounts)
        if (str_eq(val_text_at(m, N(mountPath)), path))
            return true;
    return false;
}

static bool set_mounts(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    size_t cap = out->nmounts;
    const struct val *mounts = val_get(in->container, N(volumeMounts));
    val_each_item (m, mounts) {
        struct str path, sub, name = val_text_at(m, N(name)), target = val_text_at(m, N(mountPath));
        bool read_only;
        if (!in->volume_path(in->arg, name, &path, &read_only))
            return err_set(err, E_INVALID, "volumeMounts: there is no volume \"" STR_FMT "\" in the pod",
                           STR_ARG(name));
        if (!sub_path_of(in, m, &sub, err))
            return false;
        if (sub.n && !in->sub_path(in->arg, name, sub, &path, err))
            return false;
        if (target.n && target.p[0] != '/')
            target = arena_fmt(a, "/" STR_FMT, STR_ARG(target));
        add_mount(a, out, &cap,
                  (struct oci_mount){S("bind"), path, target,
                                     bind_options(a, read_only || val_true(val_get(m, N(readOnly))),
                                                  val_text_at(m, N(mountPropagation)))});
    }
    const struct {
        struct str path, target;
    } own[] = {
        {in->hosts_file, S("/etc/hosts")},
        {in->resolv_file, S("/etc/resolv.conf")},
        {in->termination_file, val_text_at(in->container, N(terminationMessagePath))},
    };
    for (size_t i = 0; i < countof(own); i++)
        if (own[i].path.n && own[i].target.n && !is_mounted(mounts, own[i].target))
            add_mount(a, out, &cap,
                      (struct oci_mount){S("bind"), own[i].path, own[i].target, bind_options(a, false, S(""))});
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

static int oom_score(const struct podspec_input *in)
{
    struct str qos = val_text_at(obj_status(in->pod), N(qosClass));
    if (str_eq(qos, S("Guaranteed")))
        return -997;
    if (str_eq(qos, S("BestEffort")))
        return 1000;
    int64_t request = amount(val_get(in->container, N(resources)), N(requests), "memory", false);
    int64_t have = quantity_value(val_text(val_get_str(in->sources->allocatable, S("memory"))));
    int64_t score = have ? 1000 - (int64_t)((__int128)1000 * request / have) : 999;
    return (int)MIN(MAX(score, 3), 999);
}

bool podspec_container(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    *out = (struct oci_container){0};
    oci_container_defaults(out, a, in->shm);
    set_namespaces(a, in, out);
    podspec_limits(val_get(in->container, N(resources)), &out->limits);
    out->oom_score_adj = oom_score(in);
    out->has_oom_score_adj = true;
    return set_security(a, in, out, err) && set_command(a, in, out, err) && set_mounts(a, in, out, err);
}

/* --- what is not there yet ----------------------------------------------------------------------------------- */

static bool refuse(const struct val *v, const char *field, const char *way_out, struct err *err)
{
    return !v || err_set(err, E_NOT_IMPLEMENTED, "%s is not supported yet: %s", field, way_out);
}

/* Confinement that is asked for and cannot be given is not left out in silence. */
static bool refuse_confinement(const struct val *security_context, struct err *err)
{
    const struct val *armor = val_get(security_context, N(appArmorProfile));
    bool wants = armor && !str_eq(val_text_at(armor, N(type)), S("Unconfined"));
    return refuse(val_get(security_context, N(seLinuxOptions)), "securityContext.seLinuxOptions",
                  "use seccompProfile and capabilities", err) &&
           refuse(wants ? armor : NULL, "securityContext.appArmorProfile", "use seccompProfile, or type Unconfined",
                  err);
}

static bool refuse_grpc(const struct val *container, struct err *err)
{
    static const struct name *const probes[] = {N(startupProbe), N(livenessProbe), N(readinessProbe)};
    for (size_t i = 0; i < countof(probes); i++)
        if (val_at(container, probes[i], N(grpc)))
            return err_set(err, E_NOT_IMPLEMENTED,
                           STR_FMT ".grpc is not supported yet: use exec, httpGet or tcpSocket",
                           STR_ARG(probes[i]->s));
    return true;
}

bool podspec_supported(const struct obj *pod, struct err *err)
{
    const struct val *spec = obj_spec(pod), *security_context = val_get(spec, N(securityContext));
    const struct val *users = val_get(spec, N(hostUsers));
    struct str os = val_text_at(spec, N(os), N(name));
    bool ok = refuse(users && !val_true(users) ? users : NULL, "spec.hostUsers: false", "leave it out", err) &&
              refuse(val_get(spec, N(runtimeClassName)), "spec.runtimeClassName", "leave it out to run with crun",
                     err) &&
              refuse(val_get(spec, N(resourceClaims)), "spec.resourceClaims", "ask for devices by hostPath", err) &&
              refuse(val_get(spec, N(resources)), "spec.resources", "set resources on each container", err) &&
              refuse(val_get(security_context, N(sysctls)), "spec.securityContext.sysctls", "set them on the host",
                     err) &&
              refuse(val_get(security_context, N(windowsOptions)), "spec.securityContext.windowsOptions",
                     "this node runs Linux", err) &&
              refuse_confinement(security_context, err);
    if (os.n && !str_eq(os, S("linux")))
        return err_set(err, E_INVALID, "spec.os.name: " STR_FMT ": this node runs linux", STR_ARG(os));
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t i = 0; i < countof(lists) && ok; i++) {
        val_each_item (c, val_get(spec, lists[i]))
            ok = ok && refuse(val_get(c, N(volumeDevices)), "volumeDevices", "use volumeMounts", err) &&
                 refuse(val_get(c, N(restartPolicyRules)), "restartPolicyRules", "leave it out", err) &&
                 refuse_grpc(c, err) && refuse_confinement(val_get(c, N(securityContext)), err);
    }
    val_each_item (v, val_get(spec, N(volumes)))
        ok = ok && volume_type_of(v, err) != NULL;
    return ok;
}
