#include "api/podsecurity.h"

struct security_look {
    struct arena *a;
    const struct val *meta, *spec, *context; /* context: of the pod */
    const struct val **containers;           /* init containers, containers, ephemeral ones */
    size_t n;
    struct security_finding *out;
    int minor;
};

/* --- words --- */

static void set_add(struct arena *a, struct val *set, struct str text)
{
    if (!val_get_str(set, text))
        val_set_str(a, set, text, val_bool(true));
}

static int member_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct member *)a)->name->s, ((const struct member *)b)->name->s);
}

static struct str set_join(struct arena *a, const struct val *set, const char *before, const char *behind)
{
    struct str out = S("");
    struct member *all = arena_alloc(a, (val_len(set) + 1) * sizeof *all);
    size_t n = 0;
    val_each_member (m, set)
        all[n++] = *m;
    qsort(all, n, sizeof *all, member_cmp);
    for (size_t i = 0; i < n; i++)
        out = STR_JOIN(a, out, i ? S(", ") : S(""), str_of(before), all[i].name->s, str_of(behind));
    return out;
}

static struct str set_quoted(struct arena *a, const struct val *set)
{
    return set_join(a, set, "\"", "\"");
}

static struct str list_quoted(struct arena *a, const struct val *list)
{
    struct str out = S("");
    val_each_item (it, list)
        out = STR_JOIN(a, out, out.n ? S(", ") : S(""), S("\""), val_text(it), S("\""));
    return out;
}

static struct str word_counted(size_t n, const char *one, const char *many)
{
    return str_of(n == 1 ? one : many);
}

/* `container "a"`, `containers "a", "b"`. */
static struct str named_containers(struct arena *a, const struct val *list)
{
    return STR_JOIN(a, word_counted(val_len(list), "container", "containers"), S(" "), list_quoted(a, list));
}

/* `pod`, `container "a"`, `pod and container "a"`; "": nobody. */
static struct str setters_text(struct arena *a, bool pod, const struct val *list)
{
    if (!val_len(list))
        return pod ? S("pod") : S("");
    return STR_JOIN(a, pod ? S("pod and ") : S(""), named_containers(a, list));
}

static void list_note(struct security_look *l, struct val *list, const struct val *container)
{
    struct str name = val_text_at(container, N(name));
    if (!val_len(list) || !str_eq(val_text(val_item(list, val_len(list) - 1)), name))
        val_add(l->a, list, val_str(l->a, name));
}

static const struct val *context_of(const struct val *container)
{
    return val_get(container, N(securityContext));
}

static bool text_among(struct str s, const char *const *set)
{
    for (; *set; set++)
        if (str_eqz(s, *set))
            return true;
    return false;
}
#define AMONG(s, ...) text_among((s), (const char *const[]){__VA_ARGS__, NULL})

#define each_container(l, c)                                                                                         \
    for (const struct val **at_ = (l)->containers, *c = (l)->n ? *at_ : NULL; at_ < (l)->containers + (l)->n;        \
         at_++, c = at_ < (l)->containers + (l)->n ? *at_ : NULL)

static bool look_says(struct security_look *l, const char *reason, struct str detail)
{
    *l->out = (struct security_finding){str_of(reason), detail};
    return true;
}

/* --- baseline: each says whether something is against it --- */

static bool look_apparmor(struct security_look *l)
{
    struct arena *a = l->a;
    struct val values = val_map(), bad = val_list(), notes = val_map();
    const struct val *own = val_get(l->context, N(appArmorProfile));
    struct str type = val_text_at(own, N(type));
    bool pod = own && !AMONG(type, "RuntimeDefault", "Localhost");
    if (pod)
        set_add(a, &values, type);
    each_container(l, c)
    {
        const struct val *profile = val_get(context_of(c), N(appArmorProfile));
        type = val_text_at(profile, N(type));
        if (!profile || AMONG(type, "RuntimeDefault", "Localhost"))
            continue;
        list_note(l, &bad, c);
        set_add(a, &values, type);
    }
    val_each_member (m, val_get(l->meta, N(annotations))) {
        struct str v = val_text(&m->v);
        if (str_starts(m->name->s, S("container.apparmor.security.beta.kubernetes.io/")) && v.n &&
            !str_eqz(v, "runtime/default") && !str_starts(v, S("localhost/")))
            set_add(a, &notes, STR_JOIN(a, m->name->s, S("=\""), v, S("\"")));
    }
    struct str setters = setters_text(a, pod, &bad), list = set_quoted(a, &values);
    size_t n = val_len(&values) + val_len(&notes);
    if (!n)
        return false;
    if (val_len(&notes)) {
        setters = STR_JOIN(a, setters, setters.n ? S(" and ") : S(""),
                           word_counted(val_len(&notes), "annotation", "annotations"));
        list = STR_JOIN(a, list, list.n ? S(", ") : S(""), set_quoted(a, &notes));
    }
    return look_says(l, n == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles",
                     STR_JOIN(a, setters, S(" must not set AppArmor profile type to "), list));
}

static bool look_capabilities(struct security_look *l)
{
    struct val bad = val_list(), added = val_map();
    each_container(l, c)
        val_each_item (it, val_at(context_of(c), N(capabilities),
                                  N(add))) if (!AMONG(val_text(it), "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER",
                                                      "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
                                                      "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"))
    {
        list_note(l, &bad, c);
        set_add(l->a, &added, val_text(it));
    }
    return val_len(&bad) && look_says(l, "non-default capabilities",
                                      STR_JOIN(l->a, named_containers(l->a, &bad), S(" must not include "),
                                               set_quoted(l->a, &added), S(" in securityContext.capabilities.add")));
}

static bool look_namespaces(struct security_look *l)
{
    const struct name *const which[] = {N(hostNetwork), N(hostPID), N(hostIPC)};
    struct str out = S("");
    for (size_t i = 0; i < countof(which); i++)
        if (val_true(val_get(l->spec, which[i])))
            out = STR_JOIN(l->a, out, out.n ? S(", ") : S(""), which[i]->s, S("=true"));
    return out.n && look_says(l, "host namespaces", out);
}

static bool look_host_paths(struct security_look *l)
{
    struct val bad = val_list();
    val_each_item (v, val_get(l->spec, N(volumes)))
        if (val_get(v, N(hostPath)))
            val_add(l->a, &bad, val_str(l->a, val_text_at(v, N(name))));
    return val_len(&bad) &&
           look_says(l, "hostPath volumes",
                     STR_JOIN(l->a, word_counted(val_len(&bad), "volume ", "volumes "), list_quoted(l->a, &bad)));
}

static bool look_host_ports(struct security_look *l)
{
    struct arena *a = l->a;
    struct val bad = val_list(), used = val_map();
    each_container(l, c) val_each_item (port, val_get(c, N(ports)))
    {
        int64_t n = val_num_at(port, 0, N(hostPort));
        if (!n)
            continue;
        list_note(l, &bad, c);
        set_add(a, &used, arena_fmt(a, "%lld", (long long)n));
    }
    return val_len(&bad) &&
           look_says(l, "hostPort",
                     STR_JOIN(a, named_containers(a, &bad), word_counted(val_len(&bad), " uses ", " use "),
                              word_counted(val_len(&used), "hostPort ", "hostPorts "), set_join(a, &used, "", "")));
}

static void hosts_add(struct security_look *l, const struct val *handler, const struct val *container,
                      struct val *bad, struct val *hosts)
{
    const struct name *const ways[] = {N(httpGet), N(tcpSocket)};
    for (size_t i = 0; i < countof(ways); i++) {
        struct str host = val_text_at(handler, ways[i], N(host));
        if (!host.n)
            continue;
        set_add(l->a, bad, val_text_at(container, N(name)));
        set_add(l->a, hosts, host);
    }
}

static bool look_probe_hosts(struct security_look *l)
{
    struct arena *a = l->a;
    const struct name *const probes[] = {N(livenessProbe), N(readinessProbe), N(startupProbe)};
    const struct name *const hooks[] = {N(postStart), N(preStop)};
    struct val bad = val_map(), hosts = val_map();
    each_container(l, c)
    {
        for (size_t i = 0; i < countof(probes); i++)
            hosts_add(l, val_get(c, probes[i]), c, &bad, &hosts);
        for (size_t i = 0; i < countof(hooks); i++)
            hosts_add(l, val_at(c, N(lifecycle), hooks[i]), c, &bad, &hosts);
    }
    return val_len(&bad) &&
           look_says(l, "probe or lifecycle host",
                     STR_JOIN(a, word_counted(val_len(&bad), "container ", "containers "), set_quoted(a, &bad),
                              word_counted(val_len(&bad), " uses ", " use "),
                              word_counted(val_len(&hosts), "probe or lifecycle host ", "probe or lifecycle hosts "),
                              set_quoted(a, &hosts)));
}

static bool look_privileged(struct security_look *l)
{
    struct val bad = val_list();
    each_container(l, c) if (val_true(val_get(context_of(c), N(privileged)))) list_note(l, &bad, c);
    return val_len(&bad) && look_says(l, "privileged",
                                      STR_JOIN(l->a, named_containers(l->a, &bad),
                                               S(" must not set securityContext.privileged=true")));
}

static bool look_proc_mount(struct security_look *l)
{
    struct val bad = val_list(), types = val_map();
    each_container(l, c)
    {
        const struct val *type = val_get(context_of(c), N(procMount));
        if (!type || str_eqz(val_text(type), "Default"))
            continue;
        list_note(l, &bad, c);
        set_add(l->a, &types, val_text(type));
    }
    return val_len(&bad) &&
           look_says(l, "procMount",
                     STR_JOIN(l->a, named_containers(l->a, &bad), S(" must not set securityContext.procMount to "),
                              set_quoted(l->a, &types)));
}

/* In a user namespace of its own a pod may see all of /proc, and its root is nobody outside. */
static bool shares_users(const struct security_look *l)
{
    const struct val *host_users = val_get(l->spec, N(hostUsers));
    return !host_users || val_true(host_users);
}

static bool look_proc_mount_of_host(struct security_look *l)
{
    return shares_users(l) && look_proc_mount(l);
}

struct selinux {
    struct val types;
    bool user, role;
    int minor;
};

static bool selinux_is_bad(struct arena *a, const struct val *o, struct selinux *s)
{
    struct str type = val_text_at(o, N(type));
    bool known = !type.n || AMONG(type, "container_t", "container_init_t", "container_kvm_t") ||
                 (s->minor >= 31 && str_eqz(type, "container_engine_t"));
    bool user = val_text_at(o, N(user)).n > 0, role = val_text_at(o, N(role)).n > 0;
    if (!known)
        set_add(a, &s->types, type);
    s->user |= user;
    s->role |= role;
    return !known || user || role;
}

static bool look_selinux(struct security_look *l)
{
    struct arena *a = l->a;
    struct selinux s = {.types = val_map(), .minor = l->minor};
    struct val bad = val_list();
    bool pod = selinux_is_bad(a, val_get(l->context, N(seLinuxOptions)), &s);
    each_container(l, c) if (selinux_is_bad(a, val_get(context_of(c), N(seLinuxOptions)), &s)) list_note(l, &bad, c);
    struct str setters = setters_text(a, pod, &bad), data = S("");
    if (!setters.n)
        return false;
    if (val_len(&s.types))
        data = STR_JOIN(a, word_counted(val_len(&s.types), "type ", "types "), set_quoted(a, &s.types));
    if (s.user)
        data = STR_JOIN(a, data, data.n ? S("; ") : S(""), S("user may not be set"));
    if (s.role)
        data = STR_JOIN(a, data, data.n ? S("; ") : S(""), S("role may not be set"));
    return look_says(l, "seLinuxOptions",
                     STR_JOIN(a, setters, S(" set forbidden securityContext.seLinuxOptions: "), data));
}

static bool seccomp_note_is_bad(struct str v)
{
    return !str_eqz(v, "runtime/default") && !str_eqz(v, "docker/default") && !str_starts(v, S("localhost/"));
}

/* Before there was a field. */
static bool look_seccomp_notes(struct security_look *l)
{
    struct arena *a = l->a;
    const struct val *notes = val_get(l->meta, N(annotations));
    struct val bad = val_map();
    struct str key = S("seccomp.security.alpha.kubernetes.io/pod");
    const struct val *v = val_get_str(notes, key);
    if (v && seccomp_note_is_bad(val_text(v)))
        set_add(a, &bad, STR_JOIN(a, key, S("=\""), val_text(v), S("\"")));
    each_container(l, c)
    {
        key = STR_JOIN(a, S("container.seccomp.security.alpha.kubernetes.io/"), val_text_at(c, N(name)));
        v = val_get_str(notes, key);
        if (v && seccomp_note_is_bad(val_text(v)))
            set_add(a, &bad, STR_JOIN(a, key, S("=\""), val_text(v), S("\"")));
    }
    return val_len(&bad) &&
           look_says(l, "seccompProfile",
                     STR_JOIN(a, S("forbidden "), word_counted(val_len(&bad), "annotation ", "annotations "),
                              set_join(a, &bad, "", "")));
}

/* What is set must be a profile; where wanted, one must be set. */
static bool look_seccomp(struct security_look *l, bool wanted)
{
    struct arena *a = l->a;
    struct val values = val_map(), bad = val_list(), without = val_list();
    const struct val *own = val_get(l->context, N(seccompProfile));
    struct str type = val_text_at(own, N(type));
    bool set = own && AMONG(type, "RuntimeDefault", "Localhost");
    if (own && !set)
        set_add(a, &values, type);
    each_container(l, c)
    {
        const struct val *profile = val_get(context_of(c), N(seccompProfile));
        struct str its = val_text_at(profile, N(type));
        if (!profile && !set)
            list_note(l, &without, c);
        if (!profile || AMONG(its, "RuntimeDefault", "Localhost"))
            continue;
        list_note(l, &bad, c);
        set_add(a, &values, its);
    }
    struct str setters = setters_text(a, own && !set, &bad);
    if (setters.n)
        return look_says(
            l, "seccompProfile",
            STR_JOIN(a, setters, S(" must not set securityContext.seccompProfile.type to "), set_quoted(a, &values)));
    return wanted && val_len(&without) &&
           look_says(l, "seccompProfile",
                     STR_JOIN(a, S("pod or "), named_containers(a, &without),
                              S(" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
                                "\"Localhost\"")));
}

static bool look_seccomp_baseline(struct security_look *l)
{
    return look_seccomp(l, false);
}

static bool sysctl_is_safe(struct str name, int minor)
{
    static const struct {
        const char *name;
        int since;
    } safe[] = {
        {"kernel.shm_rmid_forced", 0},
        {"net.ipv4.ip_local_port_range", 0},
        {"net.ipv4.tcp_syncookies", 0},
        {"net.ipv4.ping_group_range", 0},
        {"net.ipv4.ip_unprivileged_port_start", 0},
        {"net.ipv4.ip_local_reserved_ports", 27},
        {"net.ipv4.tcp_keepalive_time", 29},
        {"net.ipv4.tcp_fin_timeout", 29},
        {"net.ipv4.tcp_keepalive_intvl", 29},
        {"net.ipv4.tcp_keepalive_probes", 29},
        {"net.ipv4.tcp_rmem", 32},
        {"net.ipv4.tcp_wmem", 32},
    };
    for (size_t i = 0; i < countof(safe); i++)
        if (str_eqz(name, safe[i].name))
            return minor >= safe[i].since;
    return false;
}

static bool look_sysctls(struct security_look *l)
{
    struct str out = S("");
    val_each_item (it, val_get(l->context, N(sysctls))) {
        struct str name = val_text_at(it, N(name));
        if (!sysctl_is_safe(name, l->minor))
            out = STR_JOIN(l->a, out, out.n ? S(", ") : S(""), name);
    }
    return out.n && look_says(l, "forbidden sysctls", out);
}

static bool look_host_process(struct security_look *l)
{
    struct val bad = val_list();
    bool pod = val_true(val_at(l->context, N(windowsOptions), N(hostProcess)));
    each_container(l, c) if (val_true(val_at(context_of(c), N(windowsOptions), N(hostProcess))))
        list_note(l, &bad, c);
    struct str setters = setters_text(l->a, pod, &bad);
    return setters.n &&
           look_says(l, "hostProcess",
                     STR_JOIN(l->a, setters, S(" must not set securityContext.windowsOptions.hostProcess=true")));
}

/* --- restricted --- */

/* From 1.25 on Windows is not asked for what it does not have. */
static bool is_exempt(const struct security_look *l)
{
    return l->minor >= 25 && str_eqz(val_text_at(l->spec, N(os), N(name)), "windows");
}

static bool look_escalation(struct security_look *l)
{
    struct val bad = val_list();
    each_container(l, c)
    {
        const struct val *v = val_get(context_of(c), N(allowPrivilegeEscalation));
        if (!v || val_true(v))
            list_note(l, &bad, c);
    }
    return !is_exempt(l) && val_len(&bad) &&
           look_says(l, "allowPrivilegeEscalation != false",
                     STR_JOIN(l->a, named_containers(l->a, &bad),
                              S(" must set securityContext.allowPrivilegeEscalation=false")));
}

static bool look_capabilities_dropped(struct security_look *l)
{
    struct arena *a = l->a;
    struct val keep = val_list(), add = val_list(), added = val_map();
    each_container(l, c)
    {
        const struct val *capabilities = val_get(context_of(c), N(capabilities));
        bool all = false;
        val_each_item (it, val_get(capabilities, N(drop)))
            all |= str_eqz(val_text(it), "ALL");
        if (!all)
            list_note(l, &keep, c);
        val_each_item (it, val_get(capabilities, N(add)))
            if (!str_eqz(val_text(it), "NET_BIND_SERVICE")) {
                list_note(l, &add, c);
                set_add(a, &added, val_text(it));
            }
    }
    struct str out = S("");
    if (val_len(&keep))
        out = STR_JOIN(a, named_containers(a, &keep), S(" must set securityContext.capabilities.drop=[\"ALL\"]"));
    if (val_len(&add))
        out = STR_JOIN(a, out, out.n ? S("; ") : S(""), named_containers(a, &add), S(" must not include "),
                       set_quoted(a, &added), S(" in securityContext.capabilities.add"));
    return !is_exempt(l) && out.n && look_says(l, "unrestricted capabilities", out);
}

static bool look_volumes(struct security_look *l)
{
    static const char *const allowed[] = {"configMap", "csi",       "downwardAPI",
                                          "emptyDir",  "ephemeral", "persistentVolumeClaim",
                                          "projected", "secret",    NULL};
    static const char *const known[] = {"hostPath",
                                        "gcePersistentDisk",
                                        "awsElasticBlockStore",
                                        "gitRepo",
                                        "nfs",
                                        "iscsi",
                                        "glusterfs",
                                        "rbd",
                                        "flexVolume",
                                        "cinder",
                                        "cephfs",
                                        "flocker",
                                        "fc",
                                        "azureFile",
                                        "vsphereVolume",
                                        "quobyte",
                                        "azureDisk",
                                        "photonPersistentDisk",
                                        "portworxVolume",
                                        "scaleIO",
                                        "storageos",
                                        NULL};
    struct arena *a = l->a;
    struct val bad = val_list(), types = val_map();
    val_each_item (v, val_get(l->spec, N(volumes))) {
        struct str type = S("unknown");
        bool fine = false;
        val_each_member (m, v) {
            fine |= text_among(m->name->s, allowed);
            type = text_among(m->name->s, known) ? m->name->s : type;
        }
        if (fine)
            continue;
        val_add(a, &bad, val_str(a, val_text_at(v, N(name))));
        set_add(a, &types, type);
    }
    return val_len(&bad) &&
           look_says(l, "restricted volume types",
                     STR_JOIN(a, word_counted(val_len(&bad), "volume ", "volumes "), list_quoted(a, &bad),
                              word_counted(val_len(&bad), " uses ", " use "),
                              word_counted(val_len(&types), "restricted volume type ", "restricted volume types "),
                              set_quoted(a, &types)));
}

static bool look_non_root(struct security_look *l)
{
    struct arena *a = l->a;
    struct val bad = val_list(), without = val_list();
    const struct val *own = val_get(l->context, N(runAsNonRoot));
    each_container(l, c)
    {
        const struct val *v = val_get(context_of(c), N(runAsNonRoot));
        if (v && !val_true(v))
            list_note(l, &bad, c);
        else if (!v && !val_true(own))
            list_note(l, &without, c);
    }
    struct str setters = setters_text(a, own && !val_true(own), &bad);
    if (setters.n)
        return look_says(l, "runAsNonRoot != true",
                         STR_JOIN(a, setters, S(" must not set securityContext.runAsNonRoot=false")));
    return val_len(&without) && look_says(l, "runAsNonRoot != true",
                                          STR_JOIN(a, S("pod or "), named_containers(a, &without),
                                                   S(" must set securityContext.runAsNonRoot=true")));
}

static bool look_user(struct security_look *l)
{
    struct val bad = val_list();
    bool pod = val_num_at(l->context, -1, N(runAsUser)) == 0;
    each_container(l, c) if (val_num_at(context_of(c), -1, N(runAsUser)) == 0) list_note(l, &bad, c);
    struct str setters = setters_text(l->a, pod, &bad);
    return setters.n && look_says(l, "runAsUser=0", STR_JOIN(l->a, setters, S(" must not set runAsUser=0")));
}

static bool look_non_root_of_host(struct security_look *l)
{
    return shares_users(l) && look_non_root(l);
}

static bool look_user_of_host(struct security_look *l)
{
    return shares_users(l) && look_user(l);
}

static bool look_seccomp_restricted(struct security_look *l)
{
    return !is_exempt(l) && look_seccomp(l, true);
}

/* By the names of upstream's checks, baseline first. A restricted one takes the place of the baseline one that it
 * names, where it is in force. */
static const struct security_row {
    bool (*fn)(struct security_look *l);
    enum security_level level;
    int since, until; /* minor versions; until: not any more; 0: for ever */
    bool (*instead_of)(struct security_look *l);
} looks[] = {
    {look_apparmor, SECURITY_BASELINE, 0, 0, NULL},
    {look_capabilities, SECURITY_BASELINE, 0, 0, NULL},
    {look_namespaces, SECURITY_BASELINE, 0, 0, NULL},
    {look_host_paths, SECURITY_BASELINE, 0, 0, NULL},
    {look_host_ports, SECURITY_BASELINE, 0, 0, NULL},
    {look_probe_hosts, SECURITY_BASELINE, 34, 0, NULL},
    {look_privileged, SECURITY_BASELINE, 0, 0, NULL},
    {look_proc_mount, SECURITY_BASELINE, 0, 35, NULL},
    {look_proc_mount_of_host, SECURITY_BASELINE, 35, 0, NULL},
    {look_selinux, SECURITY_BASELINE, 0, 0, NULL},
    {look_seccomp_notes, SECURITY_BASELINE, 0, 19, NULL},
    {look_seccomp_baseline, SECURITY_BASELINE, 19, 0, NULL},
    {look_sysctls, SECURITY_BASELINE, 0, 0, NULL},
    {look_host_process, SECURITY_BASELINE, 0, 0, NULL},
    {look_escalation, SECURITY_RESTRICTED, 8, 0, NULL},
    {look_capabilities_dropped, SECURITY_RESTRICTED, 22, 0, look_capabilities},
    {look_proc_mount, SECURITY_RESTRICTED, 35, 0, look_proc_mount_of_host},
    {look_volumes, SECURITY_RESTRICTED, 0, 0, look_host_paths},
    {look_non_root, SECURITY_RESTRICTED, 0, 35, NULL},
    {look_non_root_of_host, SECURITY_RESTRICTED, 35, 0, NULL},
    {look_user, SECURITY_RESTRICTED, 23, 35, NULL},
    {look_user_of_host, SECURITY_RESTRICTED, 35, 0, NULL},
    {look_seccomp_restricted, SECURITY_RESTRICTED, 19, 0, look_seccomp_baseline},
};

static bool look_is_on(const struct security_row *k, const struct security_policy *p)
{
    if (k->level > p->level || p->minor < k->since || (k->until && p->minor >= k->until))
        return false;
    for (size_t i = 0; i < countof(looks); i++)
        if (looks[i].instead_of && looks[i].instead_of == k->fn && looks[i].level == p->level &&
            p->minor >= looks[i].since)
            return false;
    return true;
}

size_t security_check(struct arena *a, const struct security_policy *p, const struct val *meta,
                      const struct val *pod_spec, struct security_finding *out)
{
    const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    struct security_look l = {.a = a, .meta = meta, .spec = pod_spec, .minor = p->minor};
    size_t n = 0, all = 0;
    _Static_assert(countof(looks) <= SECURITY_FINDINGS_MAX, "room for all");
    if (p->level == SECURITY_PRIVILEGED)
        return 0;
    for (size_t i = 0; i < countof(lists); i++)
        all += val_len(val_get(pod_spec, lists[i]));
    l.context = val_get(pod_spec, N(securityContext));
    l.containers = arena_alloc(a, (all + 1) * sizeof *l.containers);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(pod_spec, lists[i]))
            l.containers[l.n++] = c;
    for (size_t i = 0; i < countof(looks); i++) {
        l.out = &out[n];
        if (look_is_on(&looks[i], p))
            n += looks[i].fn(&l);
    }
    return n;
}

struct str security_text(struct arena *a, const struct security_finding *f, size_t n, bool details)
{
    struct str out = S("");
    for (size_t i = 0; i < n; i++) {
        out = STR_JOIN(a, out, i ? S(", ") : S(""), f[i].reason);
        if (details && f[i].detail.n)
            out = STR_JOIN(a, out, S(" ("), f[i].detail, S(")"));
    }
    return out;
}

/* --- labels --- */

static const char *const level_names[] = {"privileged", "baseline", "restricted"};

struct security_policy security_policy_of(const struct val *labels, const char *mode)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct security_policy p = {SECURITY_PRIVILEGED, SECURITY_LATEST};
    strbuf_addf(&key, "pod-security.kubernetes.io/%s", mode);
    const struct val *level = val_get_str(labels, strbuf_str(&key));
    strbuf_addz(&key, "-version");
    const struct val *version = val_get_str(labels, strbuf_str(&key));
    int64_t minor;
    bool read = !level;
    for (size_t i = 0; i < countof(level_names); i++)
        if (level && str_eqz(val_text(level), level_names[i])) {
            p.level = (enum security_level)i;
            read = true;
        }
    if (!read)
        p.level = str_eqz(str_of(mode), "enforce") ? SECURITY_RESTRICTED : SECURITY_PRIVILEGED;
    if (version && str_starts(val_text(version), S("v1.")) &&
        str_to_i64(str_sub(val_text(version), 3, SIZE_MAX), 0, SECURITY_LATEST - 1, &minor))
        p.minor = (int)minor;
    return p;
}

struct str security_policy_text(struct arena *a, const struct security_policy *p)
{
    if (p->minor == SECURITY_LATEST)
        return arena_fmt(a, "%s:latest", level_names[p->level]);
    return arena_fmt(a, "%s:v1.%d", level_names[p->level], p->minor);
}

const struct val *security_template(const struct val *tree)
{
    const struct val *spec = val_get(tree, N(spec)), *job = val_at(spec, N(jobTemplate), N(spec), N(template));
    const struct val *own = val_get(tree, N(template)); /* PodTemplate */
    return job ? job : val_get(spec, N(template)) ? val_get(spec, N(template)) : own;
}
