#include "node/env.h"
#include "node/test_world.h"

static struct str env_lines(struct world *w, struct strs env, struct str prefix)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < env.n; i++)
        if (str_starts(env.p[i], prefix))
            strbuf_addf(&b, STR_FMT "\n", STR_ARG(env.p[i]));
    return str_dup(&w->arena, strbuf_str(&b));
}

static bool build_into(struct world *w, const char *container, struct env *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf pod = STRBUF(1 << 20);
    strbuf_addz(&pod, "metadata: {name: p, namespace: ns, uid: u1, labels: {b: '2', a: \"x\\ny\\\"\"}}\n"
                      "spec: {serviceAccountName: robot, containers: [{name: c, image: x,\n"
                      "  resources: {requests: {cpu: 250m, memory: 33Mi}, limits: {cpu: 1500m}}, ");
    strbuf_addz(&pod, container);
    strbuf_addz(&pod, "}]}");
    const struct obj *o = world_obj(w, K(Pod), pod.p);
    struct str image_env[] = {S("PATH=/bin"), S("LANG=C"), S("broken")};
    struct sources sources = world_sources(w);
    struct env_input in = {.sources = &sources,
                           .pod = o,
                           .container = world_container(o),
                           .image_env = {image_env, countof(image_env)},
                           .hostname = S("p")};
    return env_build(&w->arena, &in, out, err);
}

static bool env_of(struct world *w, const char *container, struct strs *out, struct err *err)
{
    AUTO(env_fini) struct env env = {0};
    return build_into(w, container, &env, err) && (*out = env.all, true);
}

TEST(env_expand_follows_the_api)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"plain", "plain"},
        {"$(A)", "1"},
        {"$(A)$(B)", "12"},
        {"x$(A)y", "x1y"},
        {"$(NONE)", "$(NONE)"},
        {"$$(A)", "$(A)"},
        {"$$$(A)", "$1"},
        {"$$$$(A)", "$$(A)"},
        {"$(A", "$(A"},
        {"$A", "$A"},
        {"$", "$"},
        {"a$$", "a$"},
        {"$()", "$()"},
        {"$($(A))", "$($(A))"},
        {"$(LANG) $(HOSTNAME) $(PATH)",
         "$(LANG) $(HOSTNAME) $(PATH)"}, /* the image's and the runtime's are not the pod's */
        {"$(A)$(", "1$("},
        {"$(DUP)", "second"}, /* the last one set counts */
        {"", ""},
    };
    struct world w = {0};
    struct err err = ERR;
    AUTO(env_fini) struct env env = {0};
    CHECK_OK(build_into(&w,
                        "env: [{name: A, value: '1'}, {name: B, value: '2'}, {name: DUP, value: first}, {name: DUP, "
                        "value: second}, {name: E, value: ''}]",
                        &env, &err),
             err);
    for (size_t i = 0; i < countof(rows); i++) {
        struct str have;
        CHECK_OK(env_expand(&env, str_of(rows[i].text), &have, NULL, &err), err);
        CHECK_STR(have, str_of(rows[i].want));
    }
    world_end(&w);
}

TEST(env_comes_in_order_and_the_last_setting_wins)
{
    struct world w = {0};
    struct strs env;
    struct err err = ERR;
    world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {LANG: from, \"bad name\": x, K: v}");
    CHECK_OK(
        env_of(&w,
               "envFrom: [{prefix: P_, configMapRef: {name: cm}}, {configMapRef: {name: cm}}, {secretRef: {name: "
               "none, optional: true}}],\n"
               "env: [{name: A, value: a-$(K)-$(LATER)}, {name: LATER, value: z}, {name: LANG, value: mine}, "
               "{name: A, value: $(A)!}]",
               &env, &err),
        err);
    CHECK_STR(env_lines(&w, env, S("")),
              S("PATH=/bin\nHOSTNAME=p\nLANG=mine\nP_K=v\nP_LANG=from\nK=v\nA=a-v-$(LATER)!\nLATER=z\n"));
    world_end(&w);
}

TEST(env_values_come_from_fields_resources_and_keys)
{
    static const struct {
        const char *from, *want, *refused;
    } rows[] = {
        {"fieldRef: {fieldPath: metadata.name}", "p", NULL},
        {"fieldRef: {fieldPath: metadata.namespace}", "ns", NULL},
        {"fieldRef: {fieldPath: metadata.uid}", "u1", NULL},
        {"fieldRef: {fieldPath: \"metadata.labels['b']\"}", "2", NULL},
        {"fieldRef: {fieldPath: \"metadata.labels['none']\"}", "", NULL},
        {"fieldRef: {fieldPath: metadata.labels}", "a=\"x\\ny\\\"\"\nb=\"2\"", NULL},
        {"fieldRef: {fieldPath: spec.nodeName}", "n1", NULL},
        {"fieldRef: {fieldPath: spec.serviceAccountName}", "robot", NULL},
        {"fieldRef: {fieldPath: status.hostIP}", "10.0.0.1", NULL},
        {"fieldRef: {fieldPath: status.podIPs}", "10.42.0.9", NULL},
        {"fieldRef: {fieldPath: spec.restartPolicy}", NULL, "env V: unsupported fieldPath: spec.restartPolicy"},
        {"resourceFieldRef: {resource: limits.cpu}", "2", NULL}, /* 1500m, rounded up */
        {"resourceFieldRef: {resource: limits.cpu, divisor: 1m}", "1500", NULL},
        {"resourceFieldRef: {resource: requests.memory, divisor: 1Mi}", "33", NULL},
        {"resourceFieldRef: {resource: requests.memory, divisor: 10Mi}", "4", NULL},
        {"resourceFieldRef: {resource: limits.memory}", "8589934592", NULL}, /* the node's */
        {"resourceFieldRef: {containerName: other, resource: limits.cpu}", NULL,
         "env V: resourceFieldRef: container \"other\" not found"},
        {"configMapKeyRef: {name: cm, key: k}", "v", NULL},
        {"secretKeyRef: {name: sec, key: k}", "geheim", NULL},
        {"configMapKeyRef: {name: cm, key: none}", NULL, "couldn't find key none in ConfigMap ns/cm"},
        {"configMapKeyRef: {name: cm, key: b}", NULL, "couldn't find key b in ConfigMap ns/cm"}, /* no text */
        {"secretKeyRef: {name: sec, key: none}", NULL, "couldn't find key none in Secret ns/sec"},
        {"configMapKeyRef: {name: gone, key: k}", NULL, "configmap \"gone\" not found"},
        {"secretKeyRef: {name: gone, key: k}", NULL, "secret \"gone\" not found"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct strs env;
        struct err err = ERR;
        world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {k: v}\nbinaryData: {b: AAEC}");
        world_obj(&w, K(Secret), "metadata: {name: sec, namespace: ns}\ndata: {k: Z2VoZWlt}");
        struct str c = arena_fmt(&w.arena, "env: [{name: V, valueFrom: {%s}}]", rows[i].from);
        bool ok = env_of(&w, c.p, &env, &err);
        if (rows[i].refused)
            CHECK_STR(str_of(ok ? "accepted" : err.text), str_of(rows[i].refused));
        else
            CHECK_STR(ok ? env_lines(&w, env, S("V=")) : str_of(err.text),
                      arena_fmt(&w.arena, "V=%s\n", rows[i].want));
        world_end(&w);
    }
}

TEST(env_optional_keys_leave_no_variable_and_unheard_ones_wait)
{
    struct world w = {0};
    struct strs env;
    struct err err = ERR;
    const char *c = "env: [{name: V, valueFrom: {configMapKeyRef: {name: cm, key: k, optional: true}}}]";
    CHECK_OK(env_of(&w, c, &env, &err), err);
    CHECK_STR(env_lines(&w, env, S("V=")), S(""));
    w.unheard = true;
    CHECK(!env_of(&w, c, &env, &err));
    CHECK_INT(err.kind, E_UNAVAILABLE);
    world_end(&w);
}

TEST(env_has_links_of_services)
{
    struct world w = {0};
    const struct obj *services[] = {
        world_obj(&w, K(Service),
                  "metadata: {name: my-web, namespace: ns}\nspec: {clusterIP: 10.43.0.7, ports: [{name: http, port: "
                  "80, protocol: TCP}, {name: d-n-s, port: 53, protocol: UDP}]}"),
        world_obj(&w, K(Service),
                  "metadata: {name: headless, namespace: ns}\nspec: {clusterIP: None, ports: [{port: 80}]}"),
    };
    const struct obj *pod = world_obj(
        &w, K(Pod),
        "metadata: {name: p, namespace: ns}\nspec: {containers: [{name: c, env: [{name: "
        "URL, value: $(MY_WEB_PORT)}]}]}");
    struct sources sources = world_sources(&w);
    struct env_input in = {.sources = &sources,
                           .pod = pod,
                           .container = world_container(pod),
                           .services = services,
                           .nservices = countof(services)};
    AUTO(env_fini) struct env built = {0};
    struct err err = ERR;
    CHECK_OK(env_build(&w.arena, &in, &built, &err), err);
    struct strs env = built.all;
    CHECK_STR(env_lines(&w, env, S("MY_WEB")),
              S("MY_WEB_SERVICE_HOST=10.43.0.7\nMY_WEB_SERVICE_PORT=80\nMY_WEB_SERVICE_PORT_HTTP=80\n"
                "MY_WEB_SERVICE_PORT_D_N_S=53\nMY_WEB_PORT=tcp://10.43.0.7:80\n"
                "MY_WEB_PORT_80_TCP=tcp://10.43.0.7:80\nMY_WEB_PORT_80_TCP_PROTO=tcp\nMY_WEB_PORT_80_TCP_PORT=80\n"
                "MY_WEB_PORT_80_TCP_ADDR=10.43.0.7\nMY_WEB_PORT_53_UDP=udp://10.43.0.7:53\n"
                "MY_WEB_PORT_53_UDP_PROTO=udp\nMY_WEB_PORT_53_UDP_PORT=53\nMY_WEB_PORT_53_UDP_ADDR=10.43.0.7\n"));
    CHECK_STR(env_lines(&w, env, S("HEADLESS")), S(""));
    CHECK_STR(env_lines(&w, env, S("URL")), S("URL=tcp://10.43.0.7:80\n"));
    world_end(&w);
}

TEST(env_of_the_image_wins_over_the_runtimes_and_the_pods_over_both)
{
    static const struct {
        const char *container, *image, *want;
    } rows[] = {
        {"", "X=1", "HOSTNAME=p\n"},
        {"", "HOSTNAME=0.0.0.0", "HOSTNAME=0.0.0.0\n"},
        {"env: [{name: HOSTNAME, value: mine}]", "HOSTNAME=0.0.0.0", "HOSTNAME=mine\n"},
        {"", "HOSTNAME", "HOSTNAME=p\n"},
        {"", "=odd", "HOSTNAME=p\n"},
        {"tty: true", "X=1", "TERM=xterm\nHOSTNAME=p\n"},
        {"tty: true", "TERM=vt100", "TERM=vt100\nHOSTNAME=p\n"},
        {"tty: true, env: [{name: TERM, value: dumb}]", "TERM=vt100", "TERM=dumb\nHOSTNAME=p\n"},
        {"tty: false", "TERM=vt100", "HOSTNAME=p\nTERM=vt100\n"},
        {"env: [{name: B, value: $(FROMIMAGE)}]", "FROMIMAGE=x", "HOSTNAME=p\nFROMIMAGE=x\nB=$(FROMIMAGE)\n"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        AUTO(env_fini) struct env env = {0};
        struct str yaml = arena_fmt(
            &w.arena, "metadata: {name: p, namespace: ns}\nspec: {containers: [{name: c, image: x%s%s}]}",
            *rows[i].container ? ", " : "", rows[i].container);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        struct str image = str_of(rows[i].image);
        struct sources sources = world_sources(&w);
        struct env_input in = {.sources = &sources,
                               .pod = pod,
                               .container = world_container(pod),
                               .image_env = {&image, 1},
                               .hostname = S("p")};
        CHECK_OK(env_build(&w.arena, &in, &env, &err), err);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        for (size_t k = 0; k < env.all.n; k++)
            if (!str_starts(env.all.p[k], S("PATH=")) && !str_eqz(env.all.p[k], "X=1"))
                strbuf_addf(&b, STR_FMT "\n", STR_ARG(env.all.p[k]));
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(env_home_is_added_where_it_is_missing_or_empty)
{
    struct world w = {0};
    struct err err = ERR;
    static const char *const rows[][2] = {{"env: [{name: A, value: a}]", "HOME=/h\n"},
                                          {"env: [{name: HOME, value: ''}]", "HOME=/h\n"},
                                          {"env: [{name: HOME, value: /own}]", "HOME=/own\n"}};
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(env_fini) struct env env = {0};
        CHECK_OK(build_into(&w, rows[i][0], &env, &err), err);
        env_default(&env, S("HOME"), S("/h"));
        CHECK_STR(env_lines(&w, env.all, S("HOME")), str_of(rows[i][1]));
    }
    world_end(&w);
}

/* A pod of some KB that doubles a variable again and again, and other texts that grow on the node. */
TEST(env_that_expands_has_a_bound)
{
    AUTO(strbuf_fini) struct strbuf doubling = STRBUF(1 << 20), again = STRBUF(1 << 20), open = STRBUF(1 << 22);
    strbuf_addz(&doubling, "env: [{name: V0, value: 0123456789abcdef}");
    for (int i = 1; i < 60; i++)
        strbuf_addf(&doubling, ", {name: V%d, value: $(V%d)$(V%d)}", i, i - 1, i - 1);
    strbuf_addz(&doubling, "]");
    strbuf_addz(&again, "env: [{name: A, value: '");
    for (int i = 0; i < 60000; i++)
        strbuf_addc(&again, 'x');
    strbuf_addz(&again, "'}");
    for (int i = 0; i < 1000; i++)
        strbuf_addz(&again, ", {name: B, value: $(A)$(A)}"); /* what replaces counts, too */
    strbuf_addz(&again, "]");
    struct world w = {0};
    struct err err = ERR;
    struct strs env;
    CHECK(!env_of(&w, doubling.p, &env, &err));
    CHECK(err.kind == E_TOO_LARGE && str_starts(str_of(err.text), S("env V13: the text comes to ")));
    err = ERR;
    CHECK(!env_of(&w, again.p, &env, &err));
    CHECK_STR(str_of(err.text), S("env B: environment and arguments come to more than 2097152 bytes: no program is "
                                  "started with more"));
    err = ERR;
    CHECK(!env_of(&w, "env: [{name: Z, value: \"a\\0b\"}]", &env, &err));
    CHECK(str_starts(str_of(err.text), S("env Z: the text has a NUL byte")));
    err = ERR;
    world_obj(&w, K(Secret), "metadata: {name: raw, namespace: ns}\ndata: {k: /w==}");
    CHECK(!env_of(&w, "env: [{name: R, valueFrom: {secretKeyRef: {name: raw, key: k}}}]", &env, &err));
    CHECK_STR(str_of(err.text), S("env R: the text is not UTF-8: mount it as a file"));
    CHECK(!env_of(&w, "envFrom: [{secretRef: {name: raw}}]", &env, &err));
    for (int i = 0; i < 60000; i++)
        strbuf_addz(&open, "$("); /* never closed: looked for once */
    AUTO(env_fini) struct env small = {.arena = &w.arena};
    struct str have;
    CHECK_OK(env_expand(&small, strbuf_str(&open), &have, NULL, &err), err);
    CHECK_STR(have, strbuf_str(&open));
    world_end(&w);
}
