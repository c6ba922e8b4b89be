#include "node/podspec.h"
#include "node/test_world.h"

static const struct selinux_policy policy = {
    {S_INIT("system_u"), S_INIT("system_r"), S_INIT("container_t"), S_INIT("s0")},
    {S_INIT("system_u"), S_INIT("object_r"), S_INIT("container_file_t"), S_INIT("s0")}};

static bool level_is_free(void *arg, struct str level)
{
    (void)arg, (void)level;
    return false;
}

static bool volume_path(void *arg, struct str name, struct str *path, bool *read_only)
{
    (void)arg, (void)name;
    *path = S("/vol/v");
    *read_only = false;
    return true;
}

static bool volume_relabel(void *arg, struct str name)
{
    (void)arg;
    return str_eqz(name, "own");
}

static const struct obj *pod_of(struct world *w, const char *pod, const char *container)
{
    return world_obj(w, K(Pod),
                     arena_fmt(&w->arena,
                               "metadata: {name: p, namespace: ns, uid: u1}\n"
                               "spec: {%s%scontainers: [{name: c, image: x%s%s}]}",
                               pod, *pod ? ", " : "", *container ? ", " : "", container)
                         .p);
}

/* As the agent does it: the sandbox's label first, then the container's. level: the sandbox's, where it was drawn. */
static bool container_labels(struct world *w, const struct obj *pod, const char *level, struct oci_container *out,
                             struct err *err)
{
    struct sources sources = world_sources(w);
    struct str command[] = {S("/start")};
    struct image image = {.user = S("0"), .cmd = {command, 1}};
    struct podspec_input in = {.sources = &sources,
                               .pod = pod,
                               .container = world_container(pod),
                               .image = &image,
                               .shm = S("/p/shm"),
                               .hosts_file = S("/p/hosts"),
                               .hostname_file = S("/p/hostname"),
                               .resolv_file = S("/p/resolv.conf"),
                               .termination_file = S("/p/term"),
                               .selinux = &policy,
                               .volume_path = volume_path,
                               .volume_relabel = volume_relabel};
    if (!podspec_pod_label(&w->arena, &policy, pod, level_is_free, NULL, &in.pod_label, err))
        return false;
    struct selinux_context c;
    CHECK(selinux_context_read(in.pod_label, &c) && selinux_level_ok(c.level));
    if (level[0]) {
        CHECK(c.level.n > strlen("s0:c,c"));
        c.level = str_of(level);
        in.pod_label = selinux_context_text(&w->arena, &c);
    }
    struct env_input ei = {.sources = &sources, .pod = pod, .container = in.container};
    AUTO(env_fini) struct env env = {0};
    in.env = &env;
    return env_build(&w->arena, &ei, &env, err) && podspec_container(&w->arena, &in, out, err);
}

TEST(podspec_labels_of_a_container_go_before_the_pods)
{
#define FILES "system_u:object_r:container_file_t:"
    static const struct {
        const char *pod, *container, *level, *process,
            *file; /* level: drawn for the pod; process NULL: file is why not */
    } rows[] = {
        {"", "", "s0:c1,c2", "system_u:system_r:container_t:s0:c1,c2", FILES "s0:c1,c2"},
        {"level: 's0:c7'", "", "", "system_u:system_r:container_t:s0:c7", FILES "s0:c7"},
        {"type: spc_t", "", "s0:c1,c2", "system_u:system_r:spc_t:s0:c1,c2", FILES "s0:c1,c2"},
        {"level: 's0:c7'", "level: 's0:c8'", "", "system_u:system_r:container_t:s0:c8", FILES "s0:c8"},
        /* the container's options stand in place of the pod's, but the level is the pod's */
        {"type: a_t, level: 's0:c7'", "role: b_r", "", "system_u:b_r:container_t:s0:c7", FILES "s0:c7"},
        {"user: staff_u", "", "s0:c1,c2", "staff_u:system_r:container_t:s0:c1,c2",
         "staff_u:object_r:container_file_t:s0:c1,c2"},
        {"level: x", "", "", NULL, "the format of 'level' \"x\" is not correct"},
        {"", "level: x", "s0:c1,c2", NULL, "the format of 'level' \"x\" is not correct"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        for (int privileged = 0; privileged < 2; privileged++) {
            struct world w = {0};
            struct err err = ERR;
            struct oci_container c;
            const struct obj *pod = pod_of(
                &w, arena_fmt(&w.arena, "securityContext: {seLinuxOptions: {%s}}", rows[i].pod).p,
                arena_fmt(&w.arena, "securityContext: {privileged: %s, seLinuxOptions: {%s}}",
                          privileged ? "true" : "false", rows[i].container)
                    .p);
            bool ok = container_labels(&w, pod, rows[i].level, &c, &err);
            CHECK_INT(ok, rows[i].process != NULL);
            if (ok)
                CHECK_STR(c.process_label, str_of(privileged ? "" : rows[i].process));
            CHECK_STR(ok ? c.mount_label : str_of(err.text), str_of(rows[i].file));
            world_end(&w);
        }
    }
}

TEST(podspec_relabels_what_is_the_pods_own)
{
    struct world w = {0};
    struct err err = ERR;
    struct oci_container c;
    const struct obj *pod = pod_of(&w, "volumes: [{name: own, emptyDir: {}}, {name: host, hostPath: {path: /x}}]",
                                   "volumeMounts: [{name: own, mountPath: /own}, {name: host, mountPath: /host}]");
    CHECK_OK(container_labels(&w, pod, "s0:c1,c2", &c, &err), err);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < c.nmounts; i++)
        if (c.mounts[i].relabel)
            strbuf_addf(&b, STR_FMT "\n", STR_ARG(c.mounts[i].target));
    CHECK_STR(strbuf_str(&b), S("/own\n/etc/hosts\n/etc/hostname\n/etc/resolv.conf\n/dev/shm\n"));
    world_end(&w);
}

TEST(podspec_the_first_that_mounts_a_volume_labels_it)
{
    struct world w = {0};
    const struct obj *pod = world_obj(
        &w, K(Pod),
        "metadata: {name: p, namespace: ns}\n"
        "spec: {containers: [{name: a}, {name: b, volumeMounts: [{name: v, mountPath: /v}]},\n"
        "  {name: c, volumeMounts: [{name: v, mountPath: /v}, {name: u, mountPath: /u}]}],\n"
        "  initContainers: [{name: i, volumeMounts: [{name: u, mountPath: /u}]}]}");
    static const struct {
        const char *container, *volume;
        bool first;
    } rows[] = {{"a", "v", false}, {"b", "v", true}, {"c", "v", false}, {"c", "u", false}};
    for (size_t i = 0; i < countof(rows); i++) {
        const struct val *c = val_find(val_get(obj_spec(pod), N(containers)), N(name), str_of(rows[i].container));
        CHECK_INT(podspec_is_first_with(pod, c, str_of(rows[i].volume)), rows[i].first);
    }
    const struct val *init = val_item(val_get(obj_spec(pod), N(initContainers)), 0);
    CHECK(podspec_is_first_with(pod, init, S("u")) && !podspec_is_first_with(pod, init, S("v")));
    world_end(&w);
}

TEST(podspec_levels_that_are_asked_for_are_nobody_elses)
{
    struct world w = {0};
    const struct obj *pod = pod_of(&w, "securityContext: {seLinuxOptions: {level: 's0:c1,c2'}}",
                                   "securityContext: {seLinuxOptions: {level: 's0:c3,c4'}}");
    CHECK(podspec_has_level(pod, S("s0:c1,c2")) && podspec_has_level(pod, S("s0:c3,c4")));
    CHECK(!podspec_has_level(pod, S("s0:c1,c3")));
    struct str label;
    struct err err = ERR;
    CHECK_OK(podspec_pod_label(&w.arena, NULL, pod, level_is_free, NULL, &label, &err), err);
    CHECK_INT(label.n, 0); /* a host without SELinux leaves all of it alone */
    world_end(&w);
}
