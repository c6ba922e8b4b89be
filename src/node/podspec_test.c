#include "api/rules.h"
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

static const char *more_volume; /* of the image */

/* The container of a pod with `pod` in its spec and `container` in the container, made from an image of USER `user`.
 */
static bool container_from(struct world *w, const char *pod, const char *container, const char *user,
                           struct oci_container *out, struct err *err)
{
    struct str yaml = arena_fmt(&w->arena,
                                "metadata: {name: p, namespace: ns, uid: u1}\nstatus: {qosClass: Burstable}\n"
                                "spec: {%s%scontainers: [{name: c, image: x%s%s}]}",
                                pod, *pod ? ", " : "", *container ? ", " : "", container);
    const struct obj *o = world_obj(w, K(Pod), yaml.p);
    struct str entrypoint[] = {S("/start"), S("-v")}, cmd[] = {S("run")};
    struct str volumes[] = {S("/m/"), S("made/here"), str_of(more_volume)};
    static uint32_t groups[] = {50, 60};
    struct image_account accounts[] = {{S("root"), S("/root"), 0, 0, NULL, 0},
                                       {S("web"), S("/web"), 33, 34, groups, countof(groups)}};
    struct image image = {.user = str_of(user),
                          .entrypoint = {entrypoint, countof(entrypoint)},
                          .cmd = {cmd, countof(cmd)},
                          .workdir = S("/data"),
                          .volumes = {volumes, countof(volumes) - !more_volume},
                          .accounts = accounts,
                          .naccounts = countof(accounts)};
    struct sources sources = world_sources(w);
    struct podspec_input in = {.sources = &sources,
                               .pod = o,
                               .container = world_container(o),
                               .image = &image,
                               .apparmor = S("k8s-mine (enforce)\n/usr/bin/x//null (complain)\n"
                                             "wherry-default (enforce)\n"),
                               .shm = S("/p/shm"),
                               .hosts_file = S("/p/hosts"),
                               .hostname_file = S("/p/hostname"),
                               .resolv_file = S("/p/resolv.conf"),
                               .termination_file = S("/p/term"),
                               .volume_path = volume_path};
    const struct obj *vars = world_obj(w, K(Pod),
                                       "metadata: {name: p, namespace: ns}\n"
                                       "spec: {containers: [{name: c, env: [{name: A, value: '1'}, {name: NAME, "
                                       "value: x}]}]}");
    struct env_input ei = {.sources = &sources, .pod = o, .container = world_container(vars)};
    AUTO(env_fini) struct env env = {0};
    in.env = &env;
    return env_build(&w->arena, &ei, &env, err) && podspec_container(&w->arena, &in, out, err);
}

static struct str strs_join(struct world *w, struct strs s)
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
        {"", "", "", "0:0 0"},
        {"", "", "web", "33:34 34 50 60"},
        {"", "", "1000", "1000:0 0"},
        {"", "", "1000:7", "1000:7 7"},
        {"", "", "nobody", "!"},
        {"securityContext: {runAsUser: 5}", "", "web", "5:0 0"},
        {"securityContext: {runAsUser: 5, runAsGroup: 6}", "securityContext: {runAsUser: 7}", "", "7:6 6"},
        {"securityContext: {supplementalGroups: [8, 9], fsGroup: 10}", "", "web", "33:34 34 50 60 10 8 9"},
        {"securityContext: {supplementalGroups: [8], supplementalGroupsPolicy: Strict}", "", "web", "33:34 34 8"},
        {"securityContext: {supplementalGroups: [34, 8, 8], fsGroup: 50}", "", "web", "33:34 34 50 60 8"},
        {"securityContext: {runAsNonRoot: true}", "", "1000", "1000:0 0"},
        {"securityContext: {runAsNonRoot: true}", "", "",
         "container has runAsNonRoot and image will run as root " WHERE},
        {"securityContext: {runAsNonRoot: true}", "", "0",
         "container has runAsNonRoot and image will run as root " WHERE},
        {"securityContext: {runAsNonRoot: true}", "", "web",
         "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root " WHERE},
        {"securityContext: {runAsNonRoot: true}", "securityContext: {runAsUser: 0}", "1000",
         "container's runAsUser breaks non-root policy " WHERE},
        {"securityContext: {runAsNonRoot: true}", "securityContext: {runAsNonRoot: false}", "", "0:0 0"},
        {"", "securityContext: {runAsNonRoot: true, runAsUser: 1}", "", "1:0 0"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        bool ok = container_from(&w, rows[i].pod, rows[i].container, rows[i].user, &c, &err);
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

TEST(podspec_capabilities_that_are_dropped_win)
{
    const struct {
        const char *context;
        uint64_t want; /* without what this process may not give */
    } rows[] = {
        {"", OCI_CAPS_DEFAULT},
        {"capabilities: {drop: [ALL]}", 0},
        {"capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}", OCI_CAP(10)},
        {"capabilities: {add: [NET_ADMIN]}", OCI_CAPS_DEFAULT | OCI_CAP(12)},
        {"capabilities: {drop: [chown]}", OCI_CAPS_DEFAULT & ~OCI_CAP(0)},
        {"capabilities: {drop: [CAP_CHOWN, Cap_Kill]}", OCI_CAPS_DEFAULT & ~OCI_CAP(0) & ~OCI_CAP(5)},
        {"capabilities: {drop: [CHOWN], add: [CHOWN]}", OCI_CAPS_DEFAULT & ~OCI_CAP(0)},
        {"capabilities: {drop: [CHOWN], add: [cap_chown, NET_ADMIN]}",
         (OCI_CAPS_DEFAULT & ~OCI_CAP(0)) | OCI_CAP(12)},
        {"capabilities: {add: [ALL]}", oci_caps_all()},
        {"capabilities: {add: [ALL], drop: [CHOWN]}", oci_caps_all() & ~OCI_CAP(0)},
        {"capabilities: {add: [all], drop: [CAP_SYS_ADMIN, cap_net_raw]}",
         oci_caps_all() & ~OCI_CAP(21) & ~OCI_CAP(13)},
        {"capabilities: {add: [ALL, NET_ADMIN], drop: [NET_ADMIN]}", oci_caps_all() & ~OCI_CAP(12)},
        {"capabilities: {add: [ALL], drop: [ALL]}", 0},
        {"capabilities: {drop: [all], add: [ALL, CHOWN]}", OCI_CAP(0)},
        {"capabilities: {drop: [ALL, CHOWN], add: [CHOWN, KILL]}", OCI_CAP(5)},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        struct str context = arena_fmt(&w.arena, "securityContext: {%s}", rows[i].context);
        CHECK_OK(container_from(&w, "", context.p, "", &c, &err), err);
        CHECK(c.capabilities == rows[i].want);
        CHECK(!c.privileged && !c.no_new_privileges);
        world_end(&w);
    }
    struct world w = {0};
    struct oci_container c;
    struct err err = ERR;
    CHECK(!container_from(&w, "", "securityContext: {capabilities: {add: [FLY]}}", "", &c, &err));
    CHECK_STR(str_of(err.text), S("securityContext.capabilities: there is no capability FLY"));
    CHECK_OK(container_from(&w, "", "securityContext: {privileged: true}", "", &c, &err), err);
    CHECK(c.privileged && c.capabilities == oci_caps_all() && !c.masked.n);
    CHECK_OK(container_from(
                 &w, "",
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
        CHECK_OK(container_from(&w, "", rows[i].container, "", &c, &err), err);
        CHECK_STR(strs_join(&w, c.args), str_of(rows[i].args));
        CHECK_STR(c.cwd, S("/data"));
        world_end(&w);
    }
}

static const char *const seals[] = {[OCI_OPEN] = "", [OCI_SEALED] = " sealed", [OCI_SEALED_DEEP] = " sealed deep"};

static struct str mount_at(struct world *w, const struct oci_container *c, const char *target)
{
    for (size_t i = 0; i < c->nmounts; i++)
        if (str_eqz(c->mounts[i].target, target))
            return arena_fmt(&w->arena, STR_FMT "%s" STR_FMT "%s%s " STR_FMT, STR_ARG(c->mounts[i].source),
                             c->mounts[i].beneath.n ? "|" : "", STR_ARG(c->mounts[i].beneath),
                             c->mounts[i].shared ? " shared" : "", seals[c->mounts[i].seal],
                             STR_ARG(strs_join(w, c->mounts[i].options)));
    return S("-");
}

TEST(podspec_mounts)
{
    static const struct {
        const char *mount, *target, *want; /* what is bound there, or the refusal */
    } rows[] = {
        {"{name: v, mountPath: /m}", "/m", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: m}", "/m", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: /m, readOnly: true}", "/m", "/vol/v sealed rbind rprivate ro"},
        {"{name: v, mountPath: /m, subPath: a/b}", "/m", "/vol/v|a/b rbind rprivate rw"},
        {"{name: v, mountPath: /m, subPathExpr: $(NAME)/b}", "/m", "/vol/v|x/b rbind rprivate rw"},
        {"{name: v, mountPath: /m, subPath: a/../b}", "/m",
         "unable to provision SubPath `a/../b`: must not contain '..'"},
        {"{name: v, mountPath: /m, subPath: \"a\\0/b\"}", "/m",
         "unable to provision SubPath: it has a NUL byte in it"},
        {"{name: v, mountPath: /m, readOnly: true, recursiveReadOnly: Enabled}", "/m",
         "/vol/v sealed deep rbind rprivate rro"},
        {"{name: v, mountPath: /m, readOnly: true, recursiveReadOnly: IfPossible}", "/m",
         "/vol/v sealed deep rbind rprivate rro"},
        {"{name: v, mountPath: /m, readOnly: true, recursiveReadOnly: Disabled}", "/m",
         "/vol/v sealed rbind rprivate ro"},
        {"{name: conf, mountPath: /m}", "/m", "/vol/v sealed rbind rprivate ro"}, /* content of the server's */
        {"{name: v, mountPath: /m, mountPropagation: HostToContainer}", "/m", "/vol/v rbind rslave rw"},
        {"{name: v, mountPath: /m, mountPropagation: Bidirectional}", "/m", "/vol/v shared rbind rshared rw"},
        {"{name: v, mountPath: /proc}", "", "\"/proc\" cannot be mounted because it is inside /proc"},
        {"{name: v, mountPath: /x/../proc//self/}", "",
         "\"/proc/self\" cannot be mounted because it is inside /proc"},
        {"{name: v, mountPath: /proc/sys/kernel/core_pattern}", "",
         "\"/proc/sys/kernel/core_pattern\" cannot be mounted because it is inside /proc"},
        {"{name: v, mountPath: /proc/meminfo}", "/proc/meminfo", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: /process}", "/process", "/vol/v rbind rprivate rw"},
        {"{name: v, mountPath: /dev}", "",
         "\"/dev\" cannot be a volume that containers write to: mount what is wanted below it"},
        {"{name: v, mountPath: /dev/x}", "/dev/x", "/vol/v rbind rprivate rw"},
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
        bool ok = container_from(&w, "", mounts.p, "", &c, &err);
        CHECK_STR(ok ? mount_at(&w, &c, rows[i].target) : str_of(err.text), str_of(rows[i].want));
        world_end(&w);
    }
}

/* Not by a field that is no volumeMount, either, nor by the image. */
TEST(podspec_proc_and_dev_are_the_runtimes)
{
    static const struct {
        const char *container, *volume, *want;
    } rows[] = {
        {"terminationMessagePath: /proc", "/m", "\"/proc\" cannot be mounted because it is inside /proc"},
        {"terminationMessagePath: /x/../proc/self/attr/exec", "/m", "inside /proc"},
        {"terminationMessagePath: /dev", "/m", "\"/dev\" cannot be a volume"},
        {"", "/proc/", "\"/proc\" cannot be mounted because it is inside /proc"},
        {"", "x/../proc/sys", "\"/proc/sys\" cannot be mounted because it is inside /proc"},
        {"", "/dev", "\"/dev\" cannot be a volume"},
        {"securityContext: {seccompProfile: {type: Localhost, localhostProfile: \"a\\0b\"}}", "/m", "NUL"},
        {"terminationMessagePath: /dev/termination-log", "/process", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        more_volume = rows[i].volume;
        bool ok = container_from(&w, "", rows[i].container, "", &c, &err);
        CHECK(ok == !rows[i].want[0] && strstr(err.text, rows[i].want));
        world_end(&w);
    }
}

TEST(podspec_mounts_are_sorted_so_that_none_hides_another)
{
    static const struct {
        const char *container, *order; /* targets; of what every container has only "/dev" and below */
    } rows[] = {
        {"", "/dev /dev/pts /dev/mqueue /m /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /made/here"},
        {"volumeMounts: [{name: v, mountPath: /a/b/c}, {name: v, mountPath: /a}, {name: conf, mountPath: /a/b}]",
         "/dev /dev/pts /dev/mqueue /a /m /a/b /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /made/here /a/b/c"},
        {"volumeMounts: [{name: v, mountPath: /dev}]",
         "/dev /m /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /made/here"},
        {"volumeMounts: [{name: v, mountPath: /dev/shm/}, {name: v, mountPath: //etc/./hosts}, {name: v, mountPath: "
         "/x/../made/here}]",
         "/dev /dev/pts /dev/mqueue /m /dev/shm /etc/hosts /made/here /etc/hostname /etc/resolv.conf"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        CHECK_OK(container_from(&w, "volumes: [{name: v, hostPath: {path: /dev}}]", rows[i].container, "", &c, &err),
                 err);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        for (size_t k = 0; k < c.nmounts; k++) {
            struct str target = c.mounts[k].target;
            if (!str_eqz(target, "/proc") && !str_starts(target, S("/sys")))
                strbuf_addf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(target));
        }
        CHECK_STR(strbuf_str(&b), str_of(rows[i].order));
        world_end(&w);
    }
    struct world w = {0};
    struct oci_container c;
    struct err err = ERR;
    CHECK_OK(container_from(
                 &w, "", "securityContext: {readOnlyRootFilesystem: true}, volumeMounts: [{name: v, mountPath: /m}]",
                 "", &c, &err),
             err);
    CHECK_STR(mount_at(&w, &c, "/etc/hostname"), S("/p/hostname rbind rprivate ro"));
    CHECK_STR(mount_at(&w, &c, "/etc/hosts"), S("/p/hosts rbind rprivate rw"));
    CHECK_STR(mount_at(&w, &c, "/dev/shm"), S("/p/shm rbind rw nosuid nodev noexec"));
    CHECK_STR(mount_at(&w, &c, "/m"), S("/vol/v rbind rprivate rw")); /* the pod's, not the image's */
    CHECK_STR(strs_join(&w, c.volumes), S("/made/here"));
    world_end(&w);
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
        /* what is said for the pod as a whole, whatever its containers say; and what running it costs besides */
        {"resources: {limits: {cpu: 2, memory: 64Mi}}, containers: [{name: a, resources: {requests: {cpu: 100m}}}, "
         "{name: b}]",
         102, 200000, 64 << 20},
        {"resources: {requests: {cpu: 500m}}, containers: [{name: a}]", 512, 0, 0},
        {"overhead: {cpu: 500m, memory: 1Mi}, containers: [{name: a, resources: {limits: {cpu: 500m, memory: 1Mi}}}]",
         1024, 100000, 2 << 20},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_limits l;
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns}\nspec: {%s}", rows[i].spec);
        struct val pod = val_copy(&w.arena, &world_obj(&w, K(Pod), yaml.p)->tree);
        kind_default(&w.arena, K(Pod), &pod);
        podspec_pod_limits(&pod, &l);
        CHECK_INT(l.cpu_shares, rows[i].shares);
        CHECK_INT(l.cpu_quota_us, rows[i].quota);
        CHECK_INT(l.memory, rows[i].memory);
        world_end(&w);
    }
}

TEST(podspec_limits_of_the_pod_are_those_of_containers_that_say_none)
{
    static const char yaml[] =
        "metadata: {name: p, namespace: ns}\nspec:\n  resources: {limits: {cpu: 2, memory: 64Mi}}\n  containers:\n"
        "  - {name: a}\n  - {name: b, resources: {requests: {cpu: 100m}, limits: {memory: 1Mi}}}\n";
    static const struct oci_limits want[] = {{.cpu_shares = 2048, .cpu_quota_us = 200000, .memory = 64 << 20},
                                             {.cpu_shares = 102, .cpu_quota_us = 200000, .memory = 1 << 20}};
    struct world w = {0};
    const struct obj *pod = world_obj(&w, K(Pod), yaml);
    for (size_t i = 0; i < countof(want); i++) {
        struct oci_limits l;
        podspec_limits(val_get(&val_get(obj_spec(pod), N(containers))->list[i], N(resources)),
                       val_get(obj_spec(pod), N(resources)), &l);
        CHECK_INT(l.cpu_shares, want[i].cpu_shares);
        CHECK_INT(l.cpu_quota_us, want[i].cpu_quota_us);
        CHECK_INT(l.memory, want[i].memory);
    }
    world_end(&w);
}

TEST(podspec_huge_pages_are_of_the_container_or_of_the_pod)
{
    struct world w = {0};
    struct oci_limits l = {0};
    const struct obj *pod = world_obj(
        &w, K(Pod),
        "metadata: {name: p}\nspec: {resources: {limits: {hugepages-2Mi: 8Mi, hugepages-1Gi: 1Gi, "
        "cpu: 1}}, containers: [{name: c, resources: {limits: {hugepages-2Mi: 4Mi}}}]}");
    const struct val *own = val_at(world_container(pod), N(resources), N(limits));
    podspec_hugepages(&w.arena, own, val_at(obj_spec(pod), N(resources), N(limits)), &l);
    CHECK_INT(l.nhugepages, 2);
    CHECK_STR(l.hugepages[0].size, S("2MB"));
    CHECK_INT(l.hugepages[0].bytes, 4 << 20);
    CHECK_STR(l.hugepages[1].size, S("1GB"));
    CHECK_INT(l.hugepages[1].bytes, 1 << 30);
    podspec_hugepages(&w.arena, NULL, NULL, &l);
    CHECK_INT(l.nhugepages, 0);
    world_end(&w);
}

TEST(podspec_host_names)
{
    static const struct {
        const char *spec, *name, *want; /* "KERNEL NAME DOMAIN" or the refusal */
    } rows[] = {
        {"hostname: web", "p", "web web "},
        {"hostNetwork: true", "p", "node.example p "},
        {"restartPolicy: Never", "p", "p p "},
        {"restartPolicy: Never", "a-name-that-is-longer-than-the-sixty-three-bytes-a-host-name-h.s-end",
         "a-name-that-is-longer-than-the-sixty-three-bytes-a-host-name-h "
         "a-name-that-is-longer-than-the-sixty-three-bytes-a-host-name-h "},
        {"hostname: web, subdomain: sub", "p", "web web sub.ns.svc.c.local"},
        {"subdomain: sub, setHostnameAsFQDN: true", "p", "p.sub.ns.svc.c.local p sub.ns.svc.c.local"},
        {"setHostnameAsFQDN: true", "p", "p p "},
        {"hostnameOverride: my.own.name, hostname: web, subdomain: sub", "p", "my.own.name my.own.name "},
        {"hostname: forty-one-bytes-of-a-name-are-still-taken-, subdomain: sub, setHostnameAsFQDN: true", "p",
         "forty-one-bytes-of-a-name-are-still-taken-.sub.ns.svc.c.local forty-one-bytes-of-a-name-are-still-taken- "
         "sub.ns.svc.c.local"},
        {"hostname: forty-six-bytes-of-a-name-that-is-too-long-xxx, subdomain: sub, setHostnameAsFQDN: true", "p",
         "failed to construct FQDN from pod hostname and cluster domain, FQDN "
         "forty-six-bytes-of-a-name-that-is-too-long-xxx.sub.ns.svc.c.local is too long (64 characters is the max, "
         "65 "
         "characters requested)"},
        {"hostNetwork: true, hostname: forty-six-bytes-of-a-name-that-is-too-long-xxx, subdomain: sub, "
         "setHostnameAsFQDN: true",
         "p", "node.example forty-six-bytes-of-a-name-that-is-too-long-xxx sub.ns.svc.c.local"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        struct pod_hostname h;
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: %s, namespace: ns}\nspec: {%s}", rows[i].name,
                                    rows[i].spec);
        bool ok = podspec_hostname(&w.arena, world_obj(&w, K(Pod), yaml.p), S("node.example"), S("c.local"), &h,
                                   &err);
        CHECK_STR(ok ? arena_fmt(&w.arena, STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(h.kernel), STR_ARG(h.name),
                                 STR_ARG(h.domain))
                     : str_of(err.text),
                  str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(podspec_profiles_of_apparmor_are_those_that_are_loaded)
{
    static const struct {
        const char *pod, *container, *want; /* want: "!" and how the sentence ends; empty: none */
    } rows[] = {
        {"", "", ""},
        {"appArmorProfile: {type: Unconfined}", "", ""},
        {"appArmorProfile: {type: RuntimeDefault}", "", "wherry-default"},
        {"appArmorProfile: {type: RuntimeDefault}", "appArmorProfile: {type: Unconfined}", ""},
        {"appArmorProfile: {type: RuntimeDefault}", "privileged: true", ""},
        {"", "appArmorProfile: {type: Localhost, localhostProfile: k8s-mine}", "k8s-mine"},
        {"", "privileged: true, appArmorProfile: {type: Localhost, localhostProfile: k8s-mine}", "k8s-mine"},
        {"", "appArmorProfile: {type: Localhost, localhostProfile: '/usr/bin/x//null'}", "/usr/bin/x//null"},
        {"", "appArmorProfile: {type: Localhost, localhostProfile: k8s-min}", "!apparmor profile not found k8s-min"},
        {"", "appArmorProfile: {type: Localhost, localhostProfile: complain}",
         "!apparmor profile not found complain"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        const char *pod = arena_fmt(&w.arena, "securityContext: {%s}", rows[i].pod).p,
                   *container = arena_fmt(&w.arena, "securityContext: {%s}", rows[i].container).p;
        bool ok = container_from(&w, pod, container, "", &c, &err), bad = rows[i].want[0] == '!';
        CHECK_INT(ok, !bad);
        CHECK(!bad || str_ends(str_of(err.text), str_of(rows[i].want + 1)));
        if (ok)
            CHECK_STR(c.apparmor, str_of(rows[i].want));
        bool asked = strstr(container, "Localhost") || (strstr(pod, "Default") && !strstr(container, "Unconfined"));
        CHECK_INT(podspec_wants_apparmor(w.objs.p[0]), asked);
        world_end(&w);
    }
}

TEST(podspec_what_is_not_there_yet_is_refused_by_name)
{
    static const struct {
        const char *spec, *names; /* NULL: accepted */
    } rows[] = {
        {"containers: [{name: c}]", NULL},
        {"hostUsers: false, runtimeClassName: gvisor", NULL},
        {"securityContext: {seLinuxOptions: {}, windowsOptions: {}, sysctls: []}, resources: {}, resourceClaims: []",
         NULL},
        {"resources: {limits: {}}", NULL},
        {"resources: {limits: {cpu: 1}}", NULL},
        {"securityContext: {windowsOptions: {runAsUserName: x}}", NULL}, /* for other machines */
        {"securityContext: {seLinuxOptions: {level: s0}}", NULL},
        {"containers: [{name: c, securityContext: {seLinuxOptions: {}, windowsOptions: {}, capabilities: {}}, "
         "resources: "
         "{}, volumeDevices: [], restartPolicyRules: []}]",
         NULL},
        {"volumes: [{name: v, emptyDir: {medium: HugePages}}, {name: w, emptyDir: {medium: HugePages-2Mi}}]", NULL},
        {"os: {name: windows}", "spec.os.name: windows: this node runs linux"},
        {"volumes: [{name: v, iscsi: {targetPortal: s, iqn: i}}, {name: w, fc: {wwids: [x]}}]", NULL},
        {"volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: a/b}}]}}]",
         "volume \"v\": projected.sources: podCertificate is not supported yet"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns}\nspec: {%s}", rows[i].spec);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        bool ok = podspec_supported(pod, &err);
        CHECK_INT(ok, !rows[i].names);
        CHECK_STR(ok ? S("") : str_sub(str_of(err.text), 0, strlen(rows[i].names)),
                  str_of(rows[i].names ? rows[i].names : ""));
        world_end(&w);
    }
}

TEST(podspec_sysctls_that_an_administrator_allows)
{
    static const struct {
        const char *allowed, *spec, *want;
    } rows[] = {
        {"kernel.msg*,net.core.somaxconn",
         "[{name: kernel.msgmax, value: '1'}, {name: net/core/somaxconn, value: '9'}]",
         "kernel.msgmax=1,net.core.somaxconn=9"},
        {"kernel.msg*", "[{name: kernel.shmall, value: '1'}]", "forbidden sysctl: \"kernel.shmall\" not allowlisted"},
        {"kernel.msg*", "[{name: kernel.msgmax, value: '1'}], HOSTIPC",
         "forbidden sysctl: \"kernel.msgmax\" not allowed with host ipc enabled"},
        {"net.*", "[{name: net.core.somaxconn, value: '1'}], HOSTNET",
         "forbidden sysctl: \"net.core.somaxconn\" not allowed with host net enabled"},
        {"fs.mqueue.*", "[{name: fs.mqueue.msg_max, value: '20'}]", "fs.mqueue.msg_max=20"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        struct strs out;
        bool ipc = strstr(rows[i].spec, "HOSTIPC"), net = strstr(rows[i].spec, "HOSTNET");
        struct str list = str_of(rows[i].spec);
        list.n = ipc || net ? list.n - 9 : list.n;
        struct str yaml = arena_fmt(
            &w.arena,
            "metadata: {name: p}\nspec: {hostIPC: %s, hostNetwork: %s, securityContext: {sysctls: " STR_FMT "}}",
            ipc ? "true" : "false", net ? "true" : "false", STR_ARG(list));
        bool ok = podspec_sysctls(&w.arena, world_obj(&w, K(Pod), yaml.p), str_of(rows[i].allowed), &out, &err);
        struct str all = ok ? strs_join(&w, out) : str_of(err.text);
        AUTO(strbuf_fini) struct strbuf want = STRBUF(1000);
        for (const char *p = rows[i].want; *p; p++)
            strbuf_addc(&want, ok && *p == ',' ? ' ' : *p);
        CHECK(str_ends(all, strbuf_str(&want)));
        world_end(&w);
    }
    static const char *const good[] = {"kernel.msg*", "net.core.somaxconn,fs.mqueue.*", "kernel.sem"};
    static const char *const bad[] = {"kernel.hostname", "kernel.*", "vm.swappiness", "*", "net", "kernel.msg*x"};
    for (size_t i = 0; i < countof(good); i++) {
        struct err err = ERR;
        CHECK_OK(podspec_sysctls_check(str_of(good[i]), &err), err);
    }
    for (size_t i = 0; i < countof(bad); i++) {
        struct err err = ERR;
        CHECK(!podspec_sysctls_check(str_of(bad[i]), &err));
    }
}

TEST(podspec_sysctls_that_are_safe_are_the_pods)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"hostname: x", "net.ipv4.ip_unprivileged_port_start=0,net.ipv4.ping_group_range=0 2147483647"},
        {"hostNetwork: true", ""},
        {"hostUsers: false", "net.ipv4.ip_unprivileged_port_start=0"},
        {"securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '1024'}]}",
         "net.ipv4.ip_unprivileged_port_start=0,net.ipv4.ping_group_range=0 "
         "2147483647,net.ipv4.ip_unprivileged_port_start=1024"},
        {"hostNetwork: true, securityContext: {sysctls: [{name: kernel/shm_rmid_forced, value: '1'}]}",
         "kernel.shm_rmid_forced=1"},
        {"hostIPC: true, securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}]}",
         "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host ipc enabled"},
        {"hostNetwork: true, securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}",
         "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled"},
        {"securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}",
         "forbidden sysctl: \"kernel.msgmax\" not allowlisted"},
        {"hostNetwork: true, securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: \"1\\n\"}]}",
         "kernel.shm_rmid_forced=1"},
        {"hostNetwork: true, securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: \"1\\nkernel.x=1\"}]}",
         "forbidden sysctl: \"kernel.shm_rmid_forced\": its value is more than one line"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        struct strs list;
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns}\nspec: {%s}", rows[i].spec);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        if (!podspec_sysctls(&w.arena, world_obj(&w, K(Pod), yaml.p), S(""), &list, &err))
            strbuf_addz(&b, err.text);
        for (size_t k = 0; !err.text[0] && k < list.n; k++)
            strbuf_addf(&b, "%s" STR_FMT, k ? "," : "", STR_ARG(list.p[k]));
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(podspec_oom_scores_as_a_kubelet_gives_them)
{
    static const struct {
        const char *pod, *container;
        int want;
    } rows[] = {
        {"", "", 999}, /* the world's node has 8 GiB */
        {"", "resources: {requests: {memory: 2Gi}}", 750},
        {"", "resources: {requests: {memory: 9Gi}}", 3},
        {"priorityClassName: system-node-critical", "", -997},
        {"priorityClassName: system-cluster-critical", "", 999},
        {"resources: {requests: {memory: 4Gi}}", "resources: {requests: {memory: 2Gi}}", 500}, /* all of it */
        {"", "restartPolicy: Always", 999},
        {"", "restartPolicy: Always, resources: {requests: {memory: 4Gi}}", 500},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct oci_container c;
        struct err err = ERR;
        CHECK_OK(container_from(&w, rows[i].pod, rows[i].container, "", &c, &err), err);
        CHECK_INT(c.oom_score_adj, rows[i].want);
        world_end(&w);
    }
}

TEST(podspec_of_what_costs_the_node_there_are_not_tens_of_thousands)
{
    static const struct {
        const char *before, *one, *after, *refused;
        int most;
    } rows[] = {
        {"spec: {containers: [{name: x}", ", {name: c%d}", "]}", "containers: 501, of which a node", 499},
        {"spec: {containers: [{name: x, volumeMounts: [", "{name: v, mountPath: /m%d},", "]}]}",
         "volumeMounts: 1001, of which", 1000},
        {"spec: {containers: [{name: x}], volumes: [", "{name: v%d, emptyDir: {}},", "]}", "spec.volumes: 1001, of",
         1000},
        {"spec: {containers: [{name: x, envFrom: [", "{secretRef: {name: s%d}},", "]}]}",
         "ConfigMaps and Secrets: 1001, of", 1000},
        {"spec: {containers: [{name: x}], imagePullSecrets: [", "{name: s%d},", "]}", "ConfigMaps and Secrets: 1001",
         1000},
        {"spec: {containers: [{name: x}], volumes: [{name: v, projected: {sources: [",
         "{serviceAccountToken: {path: p%d}},", "]}}]}", "tokens of service accounts: 101, of", 100},
        {"spec: {containers: [{name: x}], volumes: [{name: v, projected: {sources: [",
         "{configMap: {name: cm, items: [{key: k, path: p%d}]}},", "]}}]}", "projected.sources: 1001, of", 1000},
    };
    for (size_t i = 0; i < countof(rows); i++)
        for (int more = 0; more < 2; more++) {
            struct world w = {0};
            struct err err = ERR;
            AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
            strbuf_addf(&b, "metadata: {name: p, namespace: ns}\n%s", rows[i].before);
            for (int k = 0; k < rows[i].most + more; k++) {
                struct str text = str_of(rows[i].one), head, tail;
                (void)str_split(text, '%', &head, &tail);
                strbuf_addf(&b, STR_FMT "%d" STR_FMT, STR_ARG(head), k, STR_ARG(str_sub(tail, 1, tail.n)));
            }
            strbuf_addz(&b, rows[i].after);
            bool ok = podspec_supported(world_obj(&w, K(Pod), b.p), &err);
            CHECK(ok == !more);
            CHECK(ok || str_starts(str_of(err.text), str_of(rows[i].refused)));
            world_end(&w);
        }
}
