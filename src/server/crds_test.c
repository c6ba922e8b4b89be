#include "api/codec.h"
#include "api/custom.h"
#include "base/test.h"
#include "server/crds.h"
#include "server/world_test.h"

static const struct server_options on_disk;
#define CRDS    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define WIDGETS "/apis/example.dev/v1/namespaces/default/widgets"

static bool world_says(struct world *w, const char *line, const char *body, const char *text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str got = world_http(w, &a, line, body);
    if (str_has(got, str_of(text)))
        return true;
    printf("%s: " STR_FMT "\n", line, STR_ARG(got));
    return false;
}

/* With these versions; the controllers' part is done by hand. */
static const char *definition_text(struct arena *a, const char *versions)
{
    return arena_fmt(a,
                     "{\"metadata\":{\"name\":\"widgets.example.dev\"},\"spec\":{\"group\":\"example.dev\",\"scope\":"
                     "\"Namespaced\",\"names\":{\"plural\":\"widgets\",\"kind\":\"Widget\"},\"versions\":[%s]}}",
                     versions)
        .p;
}
static const char v1[] =
    "{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":"
    "\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
    "\"integer\"}}}}}}}";
static const char two_versions[] =
    "[{\"name\":\"v1\",\"served\":false,\"storage\":false,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\","
    "\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}}}}},"
    "{\"name\":\"v2\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\","
    "\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}}}}}]";

static void world_establishes(struct world *w)
{
    struct test_ask *a = ask_new(w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev", "status", NULL,
                                 "{\"status\":{\"acceptedNames\":{\"plural\":\"widgets\",\"singular\":\"widget\","
                                 "\"kind\":\"Widget\",\"listKind\":"
                                 "\"WidgetList\"},\"conditions\":[{\"type\":\"Established\",\"status\":\"True\"}]}}");
    world_settle(w);
    CHECK_INT(a->code, 200);
    ask_free(a);
}

static void world_defines(struct world *w)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_INT(ask_now(w, VERB_CREATE, K(CustomResourceDefinition), "", definition_text(&a, v1)), 201);
    CHECK(world_says(w, "GET " WIDGETS, "", "404 page not found"));
    world_establishes(w);
}

static const char widget[] = "{\"apiVersion\":\"example.dev/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\"},"
                             "\"spec\":{\"a\":1}}";

/* Each step stands on disk: a server that is started anew goes on from there. */
TEST(a_definition_outlives_the_server_at_every_step)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, &on_disk);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(CustomResourceDefinition), "", definition_text(&a, v1)), 201);
    world_fini(&w);
    world_init(&w, &on_disk);
    CHECK(world_says(&w, "GET " WIDGETS, "", "404 page not found")); /* accepted by nobody yet */
    world_establishes(&w);
    CHECK(world_says(&w, "GET " WIDGETS, "", "\"kind\":\"WidgetList\""));
    CHECK(world_says(&w, "POST " WIDGETS, widget, "201 Created"));
    world_fini(&w);
    world_init(&w, &on_disk);
    CHECK(world_says(&w, "GET " WIDGETS "/a", "", "\"spec\":{\"a\":1}"));
    CHECK(world_says(&w, "GET /apis", "", "example.dev/v1"));
    CHECK(world_says(&w, "DELETE " CRDS "/widgets.example.dev", "", "InstanceDeletionPending"));
    world_fini(&w);
    world_init(&w, &on_disk);
    CHECK(world_says(&w, "GET " WIDGETS "/a", "", "\"spec\":{\"a\":1}"));
    CHECK(world_says(&w, "POST " WIDGETS, widget, "not allowed while custom resource definition is terminating"));
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}

/* Somebody takes the finalizer away by hand: what is stored of it goes in the same breath. */
TEST(a_definition_that_goes_leaves_no_instance)
{
    struct world w;
    world_init(&w, &on_disk);
    world_defines(&w);
    CHECK(world_says(&w, "POST " WIDGETS, widget, "201 Created"));
    CHECK(world_says(&w, "DELETE " CRDS "/widgets.example.dev", "",
                     "1 object of kind Widget is deleted with the definition"));
    CHECK_INT(ask_now(&w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev",
                      "{\"metadata\":{\"finalizers\":null}}"),
              200);
    CHECK(world_says(&w, "GET " WIDGETS, "", "404 page not found"));
    world_defines(&w);
    CHECK(world_says(&w, "GET " WIDGETS "/a", "", "\\\"a\\\" not found"));
    world_fini(&w);
    world_init(&w, &on_disk);
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}

TEST(a_protected_definition_stays)
{
    struct world w;
    world_init(&w, &on_disk);
    world_defines(&w);
    CHECK_INT(ask_now(&w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev",
                      "{\"metadata\":{\"annotations\":{\"wherry.dev/protect\":\"true\"}}}"),
              200);
    CHECK(world_says(&w, "DELETE " CRDS "/widgets.example.dev", "",
                     "kubectl annotate crd widgets.example.dev "
                     "wherry.dev/protect-"));
    CHECK(world_says(&w, "DELETE " CRDS, "", "\"code\":403"));
    CHECK_INT(ask_now(&w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev",
                      "{\"metadata\":{\"annotations\":null}}"),
              200);
    CHECK(world_says(&w, "DELETE " CRDS "/widgets.example.dev", "", "200 OK"));
    world_fini(&w);
}

/* Stored as a version that is served no more, and then not defined any more. */
TEST(what_was_stored_as_an_older_version_is_read_as_the_newer_one)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, &on_disk);
    world_defines(&w);
    CHECK(world_says(&w, "POST " WIDGETS, widget, "201 Created"));
    CHECK_INT(ask_now(&w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev",
                      arena_fmt(&a, "{\"spec\":{\"versions\":%s}}", two_versions).p),
              200);
    CHECK(world_says(&w, "GET " WIDGETS "/a", "", "404 page not found"));
    for (int i = 0; i < 2; i++) {
        CHECK(world_says(&w, "GET /apis/example.dev/v2/namespaces/default/widgets/a", "", "\"spec\":{\"a\":1}"));
        CHECK(world_says(&w, "GET /apis/example.dev/v2/widgets", "",
                         "\"apiVersion\":\"example.dev/v2\",\"kind\":\"Widget\""));
        world_fini(&w);
        world_init(&w, &on_disk);
    }
    /* written anew it is stored as the newer one, though it says nothing new */
    AUTO(kind_set_unref) const struct kind_set *set = kind_publisher_take(&w.server->kinds);
    const struct kind *k = kind_set_find_plural(set, S("example.dev"), S("v2"), S("widgets"));
    CHECK_INT(ask_now(&w, VERB_PATCH, k, "a", "{}"), 200);
    AUTO(obj_unref) struct obj *o = object_get(w.server, k, S("default"), S("a"));
    CHECK(o && str_eqz(o->kind->version, "v2"));
    obj_unref(TAKE(o));
    kind_set_unref(TAKE(set));
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}

/* A watch goes on while its definition is changed in what is not served, and ends with what is. */
TEST(watches_end_with_what_they_show)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, &on_disk);
    world_defines(&w);
    AUTO(client_fini) struct test_client watch = client_new(&w, "GET " WIDGETS "?watch=1", "");
    CHECK_INT(ask_now(&w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev",
                      "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
              200);
    CHECK(world_says(&w, "POST " WIDGETS, widget, "201 Created"));
    watch.until = "\"ADDED\"";
    world_until(&w, client_has, &watch);
    CHECK_INT(ask_now(&w, VERB_PATCH, K(CustomResourceDefinition), "widgets.example.dev",
                      "{\"spec\":{\"names\":{\"plural\":\"widgets\",\"kind\":\"Widget\",\"categories\":[\"all\"]}}}"),
              200);
    watch.until = NULL;
    world_until(&w, client_has, &watch);
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}
