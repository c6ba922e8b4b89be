#include "base/test.h"
#include "server/world_test.h"

/* A pod has the zone of its node from its binding on, or from its creation where it names the node itself. */
TEST(pods_have_the_topology_labels_of_their_node)
{
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ServiceAccount), "", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    CHECK_INT(
        ask_now(&w, VERB_CREATE, K(Node), "",
                "{\"metadata\":{\"name\":\"n\",\"labels\":{\"topology.kubernetes.io/zone\":\"z1\",\"a\":\"b\"}}}"),
        201);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(Pod), "",
                      "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"),
              201);
    CHECK_INT(
        ask_now(&w, VERB_CREATE, K(Pod), "",
                "{\"metadata\":{\"name\":\"b\",\"labels\":{\"topology.kubernetes.io/zone\":\"mine\"}},\"spec\":{"
                "\"nodeName\":\"n\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"),
        201);
    struct test_ask *ask = ask_new(&w, VERB_CREATE, K(Pod), "a", "binding", K(Binding)->type,
                                   "{\"metadata\":{\"name\":\"a\"},\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}");
    world_settle(&w);
    CHECK_INT(ask->code, 201);
    ask_free(ask);
    const char *const pods[] = {"a", "b"};
    for (size_t i = 0; i < countof(pods); i++) {
        AUTO(obj_unref) struct obj *pod = object_get(w.server, K(Pod), S("default"), str_of(pods[i]));
        CHECK_STR(val_text(val_get_str(obj_labels(pod), S("topology.kubernetes.io/zone"))), S("z1"));
        CHECK_STR(val_text(val_get_str(obj_labels(pod), S("a"))), S(""));
    }
    world_fini(&w);
}

TEST(of_two_defaults_the_newer_counts_and_of_equals_the_first_by_name)
{
    struct world w;
    world_init(&w, NULL);
    static const char class[] = "{\"metadata\":{\"name\":\"%s\",\"annotations\":{"
                                "\"%s/is-default-class\":\"true\"}},\"%s\":%s}";
    const char *const called[] = {"a", "b"};
    for (size_t i = 0; i < countof(called); i++) {
        char text[300];
        snprintf(text, sizeof text, class, called[i], "ingressclass.kubernetes.io", "spec",
                 "{\"controller\":\"e.x/y\"}");
        CHECK_INT(ask_now(&w, VERB_CREATE, K(IngressClass), "", text), 201);
        snprintf(text, sizeof text, class, called[i], "storageclass.beta.kubernetes.io", "provisioner", "\"e.x/y\"");
        CHECK_INT(ask_now(&w, VERB_CREATE, K(StorageClass), "", text), 201);
    }
    CHECK_INT(ask_now(&w, VERB_CREATE, K(Ingress), "",
                      "{\"metadata\":{\"name\":\"i\"},\"spec\":{\"defaultBackend\":{\"service\":{\"name\":\"s\","
                      "\"port\":{\"number\":80}}}}}"),
              201);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(PersistentVolumeClaim), "",
                      "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{"
                      "\"requests\":{\"storage\":\"1Gi\"}}}}"),
              201);
    const struct kind *const classes[] = {K(IngressClass), K(StorageClass)};
    const struct kind *const takers[] = {K(Ingress), K(PersistentVolumeClaim)};
    for (size_t i = 0; i < countof(classes); i++) {
        AUTO(obj_unref) struct obj *a = object_get(w.server, classes[i], S(""), S("a"));
        AUTO(obj_unref) struct obj *b = object_get(w.server, classes[i], S(""), S("b"));
        AUTO(obj_unref) struct obj *taker = object_get(w.server, takers[i], S("default"), i ? S("p") : S("i"));
        bool same = str_eq(val_text_at(obj_meta(a), N(creationTimestamp)),
                           val_text_at(obj_meta(b), N(creationTimestamp)));
        CHECK_STR(val_text_at(obj_spec(taker), i ? N(storageClassName) : N(ingressClassName)),
                  same ? S("a") : S("b"));
    }
    world_fini(&w);
}
