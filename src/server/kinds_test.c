#include "api/codec.h"
#include "api/kindset_test.h"
#include "base/test.h"
#include "server/watch.h"
#include "server/world_test.h"

static const char *const captain[] = {"captainsName"}, *const mate[] = {"captainsName", "matesName"};

/* Serves boats made of this; "": none. */
static void boats_are(struct world *w, const char *made_of)
{
    const struct kind *k = *made_of ? boat_kind("v1", made_of, mate, !strcmp(made_of, "one") ? 1 : 2) : NULL;
    kinds_serve(w->server, kind_set_new(&k, k ? 1 : 0));
    kind_unref(k);
}

#define BOATS "/apis/ship.example/v1/namespaces/default/boats"

static bool world_answers(struct world *w, const char *line, const char *body, const char *text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return str_has(world_http(w, &a, line, body), str_of(text));
}

static int patch_boat(struct world *w, const char *body)
{
    AUTO(kind_set_unref) const struct kind_set *set = kind_publisher_take(&w->server->kinds);
    return ask_now(w, VERB_PATCH, kind_set_find_plural(set, S("ship.example"), S("v1"), S("boats")), "a", body);
}

/* One kind through its life: unknown, served, replaced by one with another field, gone. */
TEST(a_kind_that_comes_is_replaced_and_goes)
{
    struct world w;
    world_init(&w, NULL);
    static const char boat[] = "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"sails\":3,\"captainsName\":\"Ann\","
                               "\"matesName\":\"Bob\"}}";
    CHECK(world_answers(&w, "GET /apis/ship.example/v1", "", "404 page not found"));
    CHECK(world_answers(&w, "GET " BOATS, "", "404 page not found"));
    CHECK(!world_answers(&w, "GET /apis", "", "ship.example") &&
          !world_answers(&w, "GET /openapi/v3", "", "ship.example"));

    boats_are(&w, "one");
    CHECK(world_answers(&w, "GET /apis/ship.example/v1", "", "\"name\":\"boats\",\"singularName\":\"boat\""));
    CHECK(world_answers(&w, "GET /apis", "", "ship.example/v1"));
    CHECK(world_answers(&w, "GET /apis/ship.example", "",
                        "\"preferredVersion\":{\"groupVersion\":\"ship.example/v1\""));
    CHECK(world_answers(&w, "GET /openapi/v3/apis/ship.example/v1", "", "captainsName"));
    CHECK(!world_answers(&w, "GET /openapi/v3/apis/ship.example/v1", "", "matesName"));
    CHECK(world_answers(&w, "GET /openapi/v2", "", "example.ship.v1.Boat"));
    CHECK(world_answers(&w, "POST " BOATS "?fieldValidation=Strict", boat, "unknown field \\\"spec.matesName\\\""));
    CHECK(world_answers(&w, "POST " BOATS, boat, "201 Created"));
    CHECK(world_answers(&w, "POST " BOATS, boat, "boats.ship.example \\\"a\\\" already exists"));
    CHECK(world_answers(&w, "GET " BOATS, "", "\"kind\":\"BoatList\""));
    CHECK(world_answers(&w, "GET " BOATS "/a", "", "\"spec\":{\"sails\":3,\"captainsName\":\"Ann\"}"));

    AUTO(client_fini) struct test_client watch = client_new(&w, "GET " BOATS "?watch=1", "");
    watch.until = "\"ADDED\"";
    world_until(&w, client_has, &watch);
    boats_are(&w, "two");
    watch.until = NULL;
    world_until(&w, client_has, &watch); /* it ends: who watches sees what there is now */
    CHECK(world_answers(&w, "GET /openapi/v3/apis/ship.example/v1", "", "matesName"));
    CHECK(world_answers(&w, "GET " BOATS "/a", "", "\"captainsName\":\"Ann\"")); /* of the kind as it was */
    CHECK_INT(patch_boat(&w, "{\"spec\":{\"matesName\":\"Bob\"}}"), 200);
    AUTO(client_fini) struct test_client again = client_new(&w, "GET " BOATS "?watch=1", "");
    again.until = "\"matesName\":\"Bob\"";
    world_until(&w, client_has, &again);
    CHECK(world_answers(&w, "DELETE " BOATS "/a", "", "200 OK"));
    again.until = "\"DELETED\"";
    world_until(&w, client_has, &again);

    boats_are(&w, "");
    again.until = NULL;
    world_until(&w, client_has, &again);
    CHECK(world_answers(&w, "GET " BOATS, "", "404 page not found"));
    CHECK(!world_answers(&w, "GET /apis", "", "ship.example") &&
          !world_answers(&w, "GET /openapi/v2", "", "ship.example"));
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}

/* A request that has begun ends as it began, whatever is served meanwhile. */
static void write_never(struct write *w UNUSED)
{
    abort();
}

static bool admission_hold(struct admission *x)
{
    void **kept = admit_kept(x);
    if (*kept || !x->kind->live)
        return true;
    *kept = x;
    CHECK(write_wait(x->r->write, write_never));
    return false;
}

TEST(a_write_ends_with_the_kind_that_it_began_with)
{
    static const struct admit_row row = {"hold", VERB_CREATE | VERB_UPDATE, NULL, NULL, admission_hold};
    struct world w;
    world_init(&w, NULL);
    world_settle(&w);
    size_t others = kinds_alive(); /* of definitions that come with the program */
    boats_are(&w, "one");
    w.server->admit_more = &row;
    w.server->nadmit_more = 1;
    AUTO(kind_set_unref) const struct kind_set *set = kind_publisher_take(&w.server->kinds);
    const struct kind *k = kind_set_find_plural(set, S("ship.example"), S("v1"), S("boats"));
    struct test_ask *a = ask_new(&w, VERB_CREATE, k, "", "", NULL,
                                 "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"captainsName\":\"Ann\"}}");
    boats_are(&w, "");
    write_resume(a->r.write);
    world_settle(&w);
    CHECK_INT(a->code, 201);
    CHECK(str_eq(a->r.answer.obj->kind->plural, S("boats")));
    ask_free(a);
    kind_set_unref(TAKE(set));
    CHECK_INT(kinds_alive(), others + 1); /* the stored object's */
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}

/* --- other threads read while kinds come and go --- */

struct reader {
    struct job job;
    struct kind_publisher *p;
    bool stop; /* atomic */
    bool over;
};

static void read_sets(struct job *j)
{
    struct reader *r = container_of(j, struct reader, job);
    while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
        const struct kind_set *s = kind_publisher_take(r->p);
        const struct kind *k = kind_set_find_plural(s, S("ship.example"), S("v1"), S("boats"));
        CHECK(kind_set_find_plural(s, S(""), S("v1"), S("pods")) == K(Pod));
        CHECK(!k || (kind_set_has(s, k) && k->type->nfields == 5));
        kind_set_unref(s);
    }
}

static void read_over(struct job *j)
{
    container_of(j, struct reader, job)->over = true;
}

static bool is_over(void *arg)
{
    return ((struct reader *)arg)->over;
}

TEST(threads_read_while_sets_are_published)
{
    struct world w;
    struct reader readers[3];
    world_init(&w, NULL);
    for (size_t i = 0; i < countof(readers); i++) {
        readers[i] = (struct reader){.p = &w.server->kinds};
        job_start(&readers[i].job, w.loop, read_sets, read_over);
    }
    for (int i = 0; i < 500; i++)
        boats_are(&w, i % 5 == 0 ? "" : i % 2 ? "one" : "two");
    for (size_t i = 0; i < countof(readers); i++) {
        __atomic_store_n(&readers[i].stop, true, __ATOMIC_RELEASE);
        world_until(&w, is_over, &readers[i]);
    }
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
}

/* --- kinds that are objects themselves: here the ConfigMap `boats` says what boats are made of --- */

static const struct kind_set *kinds_of_maps(void *arg, const struct store_snapshot *have, struct err *err UNUSED)
{
    struct world *w = arg;
    const struct obj *o = object_of(pmap_get(&have->map, S("configmaps/default/boats")));
    const struct kind *k = o ? boat_kind("v1", "one", captain, 1) : NULL;
    CHECK(!w->ready);
    const struct kind_set *s = kind_set_new(&k, k ? 1 : 0);
    kind_unref(k);
    return s;
}

TEST(a_store_opens_kinds_first)
{
    const struct server_options o = {.kinds = kinds_of_maps};
    struct world w;
    world_init(&w, &o);
    CHECK(world_answers(&w, "GET " BOATS, "", "404 page not found"));
    boats_are(&w, "one");
    /* the object is older than what says of which kind it is, and others are between them */
    CHECK(world_answers(&w, "POST " BOATS, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"captainsName\":\"Ann\"}}",
                        "201"));
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"other\"}}"), 201);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"boats\"}}"), 201);
    CHECK(world_answers(&w, "POST " BOATS, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"captainsName\":\"Eve\"}}",
                        "201"));
    world_fini(&w);
    CHECK_INT(kinds_alive(), 0);
    world_init(&w, &o);
    CHECK(world_answers(&w, "GET " BOATS "/a", "", "\"captainsName\":\"Ann\""));
    CHECK(world_answers(&w, "GET " BOATS "/b", "", "\"captainsName\":\"Eve\""));
    CHECK_INT(ask_now(&w, VERB_GET, K(ConfigMap), "other", NULL), 200);
    CHECK_INT(ask_now(&w, VERB_DELETE, K(ConfigMap), "boats", NULL), 200);
    world_fini(&w);
    struct err err = ERR; /* of a kind that nothing defines any more: refused with a sentence */
    struct server_options last = o;
    last.root = test_dir();
    last.listen = "127.0.0.1:0";
    w = (struct world){0};
    last.arg = &w;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    CHECK(!server_start(l, &last, &err));
    CHECK(strstr(err.text, "boats.ship.example/default/a is of kind Boat of ship.example/v1"));
    CHECK_INT(kinds_alive(), 0);
}
