#include "node/podspec.h"
#include "node/test_world.h"
#include <stdio.h>

static bool volume_path(void *arg, struct str name, struct str *path, bool *read_only)
{
    (void)arg;
    *path = S("/vol/v");
    *read_only = str_eq(name, S("conf"));
    return str_eq(name, S("v")) || str_eq(name, S("conf"));
}

static bool sub_path(void *arg, struct str name, struct str sub, struct str *path, struct err *err)
{
    (void)arg, (void)name;
    *path = S("/vol/v/a/b");
    return str_eq(sub, S("a/b")) || err_set(err, E_INVALID, "subPath: another");
}

/* The container of a pod with `pod` in its spec and `container` in the container, made from an image of USER `user`.
 */
static bool make(struct world *w, const char *pod, const char *container, const char *user, struct oci_container *out,
                 struct err *err)
{
    struct str yaml = arena_fmt(&w->arena,
                                "metadata: {name: p, namespace: ns, uid: u1}\nstatus: {qosClass: Burstable}\n"
                                "spec: {%s%scontainers: [{name: c, image: x%s%s}]}",
                                pod, *pod ? ", " : "", *container ? ", " : "", container);
    const struct obj *o = world_obj(w, K(Pod), yaml.p);
    struct str entrypoint[] = {S("/start"), S("-v")}, cmd[] = {S("run")};
    static uint32_t groups[] = {50, 60};
    struct image_account accounts[] = {{S("root"), S("/root"), 0, 0, NULL, 0},
                                       {S("web"), S("/web"), 33, 34, groups, countof(groups)}};
    struct image image = {.user = str_of(user),
                          .entrypoint = {entrypoint, countof(entrypoint)},
                          .cmd = {cmd, countof(cmd)},
                          .workdir = S("/data"),
                          .accounts = accounts,
                          .naccounts = countof(accounts)};
    struct sources sources = world_sources(w);
    struct podspec_input in = {.sources = &sources,
                               .pod = o,
                               .container = world_container(o),
                               .image = &image,
                               .hosts_file = S("/p/hosts"),
                               .resolv_file = S("/p/resolv.conf"),
                               .termination_file = S("/p/term"),
                               .volume_path = volume_path,
                               .sub_path = sub_path};
    const struct obj *vars = world_obj(w, K(Pod),
                                       "metadata: {name: p, namespace: ns}\n"
                                       "spec: {containers: [{name: c, env: [{name: A, value: '1'}, {name: NAME, "
                                       "value: x}]}]}");
    struct env_input ei = {.sources = &sources, .pod = o, .container = world_container(vars)};
    AUTO(env_fini) struct env env = {0};
    in.env = &env;
    return env_build(&w->arena, &ei, &env, err) && podspec_container(&w->arena, &in, out, err);
}

static struct str words(struct world *w, struct strs s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < s.n; i++)
        strbuf_addf(&b, "%s" STR_FMT, i ? " " : "", STR_ARG(s.p[i]));
    return str_dup(&w->arena, strbuf_str(&b));
}

TEST(podspec_users_and_what_is_refused_to_run_as_root)
{
#define WHERE "(pod: \"p_ns(u1)\", container: c)"
    static const struct {
        const char *pod, *container, *user, *want; /* "UID:GID GROUP..." or the refusal */
    } rows[] = {
        {"", "", "", "0:0"},
        {"", "", "web", "33:34 50 60"},
        {"", "", "1000", "1000:0"},
        {"", "", "1000:7", "1000:7"},
        {"", "", "nobody", "!"},
        {"securityContext: {runAsUser: 5}", "", "web", "5:0"},
        {"securityContext: {runAsUser: 5, runAsGroup: 6}", "securityContext: {runAsUser: 7}", "", "7:6"},
        {"securityContext: {supplementalGroups: [8, 9], fsGroup: 10}", "", "web", "33:34 50 60 8 9 10"},
        {"securityContext: {supplementalGroups: [8], supplementalGroupsPolicy: Strict}", "", "web", "33:34 8"},
        {"securityContext: {runAsNonRoot: true}", "", "1000", "1000:0"},
        {"securityContext: {runAsNonRoot: true}", "", "",
         "container has runAsNonRoot and image will run as root " WHERE},
        {"securityContext: {runAsNonRoot: true}", "", "0",
         "container has runAsNonRoot and image will run as root " WHERE},
        {"securityContext: {runAsNonRoot: true}", "", "web",
         "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root " WHERE},
        {"securityContext: {runAsNonRoot: true}", "securityContext: {runAsUser: 0}", "1000",
         "container's runAsUser breaks non-root policy " WHERE},
        {"securityContext: {runAsNonRoot: true}", "securityContext: {runAsNonRoot: false}", "", "0:0"},
        {"", "securityContext: {runAsNonRoot: true, runAsUser: 1}", "", "1:0"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        bool ok = make(&w, rows[i].pod, rows[i].container, rows[i].user, &c, &err);
        if (strcmp(rows[i].want, "!") == 0) {
            CHECK(!ok && str_has(str_of(err.text), str_of(rows[i].user)));
        } else {
            if (ok)
                strbuf_addf(&b, "%u:%u", c.uid, c.gid);
            else
                strbuf_addz(&b, err.text);
            for (size_t k = 0; ok && k < c.ngroups; k++)
                strbuf_addf(&b, " %u", c.groups[k]);
            CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
        }
        world_end(&w);
    }
}

TEST(podspec_capabilities_are_dropped_then_added)
{
    static const struct {
        const char *context;
        uint64_t want; /* without what this process may not give */
    } rows[] = {
        {"", OCI_CAPS_DEFAULT},
        {"capabilities: {drop: [ALL]}", 0},
        {"capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}", OCI_CAP(10)},
        {"capabilities: {add: [NET_ADMIN]}", OCI_CAPS_DEFAULT | OCI_CAP(12)},
        {"capabilities: {drop: [chown]}", OCI_CAPS_DEFAULT & ~OCI_CAP(0)},
        {"capabilities: {drop: [CHOWN], add: [CHOWN]}", OCI_CAPS_DEFAULT},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        struct str context = arena_fmt(&w.arena, "securityContext: {%s}", rows[i].context);
        CHECK_OK(make(&w, "", context.p, "", &c, &err), err);
        CHECK(c.capabilities == rows[i].want);
        CHECK(!c.privileged && !c.no_new_privileges);
        world_end(&w);
    }
    struct world w = {0};
    struct oci_container c;
    struct err err = ERR;
    CHECK(!make(&w, "", "securityContext: {capabilities: {add: [FLY]}}", "", &c, &err));
    CHECK_STR(str_of(err.text), S("securityContext.capabilities: there is no capability FLY"));
    CHECK_OK(make(&w, "", "securityContext: {privileged: true}", "", &c, &err), err);
    CHECK(c.privileged && c.capabilities == oci_caps_all() && !c.masked.n);
    CHECK_OK(make(&w, "",
                  "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, seccompProfile: "
                  "{type: Unconfined}}",
                  "", &c, &err),
             err);
    CHECK(c.no_new_privileges && c.read_only_root && c.seccomp == OCI_SECCOMP_UNCONFINED);
    world_end(&w);
}

TEST(podspec_commands)
{
    static const struct {
        const char *container, *args;
    } rows[] = {
        {"", "/start -v run"},
        {"args: [go]", "/start -v go"},
        {"command: [sh]", "sh"},
        {"command: [sh], args: [-c, \"echo $(NAME) $$(NAME) $(NONE)\"]", "sh -c echo x $(NAME) $(NONE)"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        CHECK_OK(make(&w, "", rows[i].container, "", &c, &err), err);
        CHECK_STR(words(&w, c.args), str_of(rows[i].args));
        CHECK_STR(c.cwd, S("/data"));
        world_end(&w);
    }
}

static struct str mount_at(struct world *w, const struct oci_container *c, const char *target)
{
    for (size_t i = 0; i < c->nmounts; i++)
        if (str_eqz(c->mounts[i].target, target))
            return arena_fmt(&w->arena, STR_FMT " " STR_FMT, STR_ARG(c->mounts[i].source),
                             STR_ARG(words(w, c->mounts[i].options)));
    return S("-");
}

TEST(podspec_mounts)
{
    static const struct {
        const char *mount, *target, *want; /* what is bound there, or the refusal */
    } rows[] = {
        {"{name: v, mountPath: /m}", "/m", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: m}", "/m", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: /m, readOnly: true}", "/m", "/vol/v rbind rprivate ro"},
        {"{name: v, mountPath: /m, subPath: a/b}", "/m", "/vol/v/a/b rbind rprivate rw"},
        {"{name: conf, mountPath: /m}", "/m", "/vol/v rbind rprivate ro"}, /* content of the server's */
        {"{name: v, mountPath: /m, mountPropagation: HostToContainer}", "/m", "/vol/v rbind rslave rw"},
        {"{name: v, mountPath: /m, mountPropagation: Bidirectional}", "/m", "/vol/v rbind rshared rw"},
        {"{name: none, mountPath: /m}", "/m", "volumeMounts: there is no volume \"none\" in the pod"},
        {"{name: v, mountPath: /etc/hosts}", "/etc/hosts", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: /m}", "/etc/hosts", "/p/hosts rbind rprivate rw"},
        {"{name: v, mountPath: /m}", "/etc/resolv.conf", "/p/resolv.conf rbind rprivate rw"},
        {"{name: v, mountPath: /m}", "/dev/termination-log", "/p/term rbind rprivate rw"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        struct str mounts = arena_fmt(&w.arena, "terminationMessagePath: /dev/termination-log, volumeMounts: [%s]",
                                      rows[i].mount);
        bool ok = make(&w, "", mounts.p, "", &c, &err);
        CHECK_STR(ok ? mount_at(&w, &c, rows[i].target) : str_of(err.text), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(podspec_limits_of_containers_and_of_the_pod)
{
    static const struct {
        const char *spec;
        uint64_t shares;
        int64_t quota, memory;
    } rows[] = {
        {"containers: [{name: a}]", 2, 0, 0},
        {"containers: [{name: a, resources: {requests: {cpu: 250m}}}]", 256, 0, 0},
        {"containers: [{name: a, resources: {limits: {cpu: 1, memory: 64Mi}}}]", 1024, 100000, 64 << 20},
        {"containers: [{name: a, resources: {limits: {cpu: 1m}}}]", 2, 1000, 0},
        {"containers: [{name: a, resources: {requests: {cpu: 100m}, limits: {cpu: 500m, memory: 1Mi}}}, {name: b, "
         "resources: {limits: {cpu: 500m, memory: 2Mi}}}]",
         614, 100000, 3 << 20},
        {"containers: [{name: a, resources: {limits: {cpu: 500m, memory: 1Mi}}}, {name: b}]", 512, 0, 0},
        /* the greatest of init containers, or the sum of the others */
        {"initContainers: [{name: i, resources: {limits: {cpu: 2, memory: 8Mi}}}], containers: [{name: a, resources: "
         "{limits: {cpu: 500m, memory: 1Mi}}}]",
         2048, 200000, 8 << 20},
        {"initContainers: [{name: s, restartPolicy: Always, resources: {limits: {cpu: 500m, memory: 4Mi}}}], "
         "containers: "
         "[{name: a, resources: {limits: {cpu: 500m, memory: 1Mi}}}]",
         1024, 100000, 5 << 20},
        /* a sidecar before an init container runs beside it */
        {"initContainers: [{name: s, restartPolicy: Always, resources: {limits: {cpu: 1, memory: 4Mi}}}, {name: i, "
         "resources: {limits: {cpu: 1, memory: 8Mi}}}], containers: [{name: a, resources: {limits: {cpu: 500m, "
         "memory: "
         "1Mi}}}]",
         2048, 200000, 12 << 20},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_limits l;
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns}\nspec: {%s}", rows[i].spec);
        podspec_pod_limits(obj_spec(world_obj(&w, K(Pod), yaml.p)), &l);
        CHECK_INT(l.cpu_shares, rows[i].shares);
        CHECK_INT(l.cpu_quota_us, rows[i].quota);
        CHECK_INT(l.memory, rows[i].memory);
        world_end(&w);
    }
}

TEST(podspec_host_names)
{
    static const struct {
        const char *spec, *name, *want;
    } rows[] = {
        {"hostname: web", "p", "web"},
        {"hostNetwork: true", "p", "node.example"},
        {"restartPolicy: Never", "p", "p"},
        {"restartPolicy: Never", "a-name-that-is-longer-than-the-sixty-three-bytes-a-host-name-h.s-end",
         "a-name-that-is-longer-than-the-sixty-three-bytes-a-host-name-h"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: %s, namespace: ns}\nspec: {%s}", rows[i].name,
                                    rows[i].spec);
        CHECK_STR(podspec_hostname(&w.arena, world_obj(&w, K(Pod), yaml.p), S("node.example")), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(podspec_what_is_not_there_yet_is_refused_by_name)
{
    static const struct {
        const char *spec, *names; /* NULL: accepted */
    } rows[] = {
        {"containers: [{name: c}]", NULL},
        {"hostUsers: false", "spec.hostUsers: false is not supported yet"},
        {"hostUsers: true", NULL},
        {"runtimeClassName: gvisor", "spec.runtimeClassName is not supported yet"},
        {"securityContext: {sysctls: [{name: a, value: b}]}", "spec.securityContext.sysctls is not supported yet"},
        {"os: {name: windows}", "spec.os.name: windows: this node runs linux"},
        {"volumes: [{name: v, nfs: {server: s, path: /}}]", "volume \"v\": its type is not supported yet"},
        {"containers: [{name: c, livenessProbe: {grpc: {port: 1}}}]", "livenessProbe.grpc is not supported yet"},
        {"containers: [{name: c, volumeDevices: [{name: v, devicePath: /d}]}]", "volumeDevices is not supported yet"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns}\nspec: {%s}", rows[i].spec);
        bool ok = podspec_supported(world_obj(&w, K(Pod), yaml.p), &err);
        CHECK_INT(ok, !rows[i].names);
        CHECK(ok || str_starts(str_of(err.text), str_of(rows[i].names)));
        world_end(&w);
    }
}
