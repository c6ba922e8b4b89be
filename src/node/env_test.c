#include "node/env.h"
#include "node/test_world.h"

static struct str lines(struct world *w, struct strs env, struct str prefix)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < env.n; i++)
        if (str_starts(env.p[i], prefix))
            strbuf_addf(&b, STR_FMT "\n", STR_ARG(env.p[i]));
    return str_dup(&w->arena, strbuf_str(&b));
}

static bool build(struct world *w, const char *container, struct strs *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf pod = STRBUF(STRBUF_TEXT);
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
        {"$(DUP)", "second"}, /* the last one set counts */
        {"", ""},
    };
    struct arena a = ARENA;
    struct str set[] = {S("A=1"), S("B=2"), S("DUP=first"), S("DUP=second"), S("E=")};
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(env_expand(&a, str_of(rows[i].text), (struct strs){set, countof(set)}), str_of(rows[i].want));
    arena_fini(&a);
}

TEST(env_comes_in_order_and_the_last_setting_wins)
{
    struct world w = {0};
    struct strs env;
    struct err err = ERR;
    world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {LANG: from, \"bad name\": x, K: v}");
    CHECK_OK(build(&w,
                   "envFrom: [{prefix: P_, configMapRef: {name: cm}}, {configMapRef: {name: cm}}, {secretRef: {name: "
                   "none, optional: true}}],\n"
                   "env: [{name: A, value: a-$(K)-$(LATER)}, {name: LATER, value: z}, {name: LANG, value: mine}, "
                   "{name: A, value: $(A)!}]",
                   &env, &err),
             err);
    CHECK_STR(lines(&w, env, S("")),
              S("PATH=/bin\nLANG=mine\nHOSTNAME=p\nP_K=v\nP_LANG=from\nK=v\nA=a-v-$(LATER)!\nLATER=z\n"));
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
        {"secretKeyRef: {name: sec, key: none}", NULL, "couldn't find key none in Secret ns/sec"},
        {"configMapKeyRef: {name: gone, key: k}", NULL, "configmap \"gone\" not found"},
        {"secretKeyRef: {name: gone, key: k}", NULL, "secret \"gone\" not found"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct strs env;
        struct err err = ERR;
        world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {k: v}");
        world_obj(&w, K(Secret), "metadata: {name: sec, namespace: ns}\ndata: {k: Z2VoZWlt}");
        struct str c = arena_fmt(&w.arena, "env: [{name: V, valueFrom: {%s}}]", rows[i].from);
        bool ok = build(&w, c.p, &env, &err);
        if (rows[i].refused)
            CHECK_STR(str_of(ok ? "accepted" : err.text), str_of(rows[i].refused));
        else
            CHECK_STR(ok ? lines(&w, env, S("V=")) : str_of(err.text), arena_fmt(&w.arena, "V=%s\n", rows[i].want));
        world_end(&w);
    }
}

TEST(env_optional_keys_leave_no_variable_and_unheard_ones_wait)
{
    struct world w = {0};
    struct strs env;
    struct err err = ERR;
    const char *c = "env: [{name: V, valueFrom: {configMapKeyRef: {name: cm, key: k, optional: true}}}]";
    CHECK_OK(build(&w, c, &env, &err), err);
    CHECK_STR(lines(&w, env, S("V=")), S(""));
    w.unheard = true;
    CHECK(!build(&w, c, &env, &err));
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
    struct strs env;
    struct err err = ERR;
    CHECK_OK(env_build(&w.arena, &in, &env, &err), err);
    CHECK_STR(lines(&w, env, S("MY_WEB")),
              S("MY_WEB_SERVICE_HOST=10.43.0.7\nMY_WEB_SERVICE_PORT=80\nMY_WEB_SERVICE_PORT_HTTP=80\n"
                "MY_WEB_SERVICE_PORT_D_N_S=53\nMY_WEB_PORT=tcp://10.43.0.7:80\n"
                "MY_WEB_PORT_80_TCP=tcp://10.43.0.7:80\nMY_WEB_PORT_80_TCP_PROTO=tcp\nMY_WEB_PORT_80_TCP_PORT=80\n"
                "MY_WEB_PORT_80_TCP_ADDR=10.43.0.7\nMY_WEB_PORT_53_UDP=udp://10.43.0.7:53\n"
                "MY_WEB_PORT_53_UDP_PROTO=udp\nMY_WEB_PORT_53_UDP_PORT=53\nMY_WEB_PORT_53_UDP_ADDR=10.43.0.7\n"));
    CHECK_STR(lines(&w, env, S("HEADLESS")), S(""));
    CHECK_STR(lines(&w, env, S("URL")), S("URL=tcp://10.43.0.7:80\n"));
    world_end(&w);
}
