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
