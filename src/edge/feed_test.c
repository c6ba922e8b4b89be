#include "api/codec.h"
#include "base/test.h"
#include "client/fake.h"
#include "edge/feed.h"
#include "sys/loop.h"

struct hearing {
    struct loop *loop;
    struct transport *api;
    struct feed *feed;
    struct strbuf told;
    int synced;
};

static void heard_change(void *arg, const struct kind *k, const struct obj *was, const struct obj *now)
{
    struct hearing *h = arg;
    const struct obj *o = now ? now : was;
    CHECK(o->kind == k && view_get(feed_view(h->feed), k, o->ns, o->name) == now);
    strbuf_addf(&h->told, "%c" STR_FMT "/" STR_FMT " ",
                was && now ? '='
                : now      ? '+'
                           : '-',
                STR_ARG(k->kind), STR_ARG(o->name));
}

static void heard_all(void *arg)
{
    struct hearing *h = arg;
    h->synced++;
}

static void hearing_init(struct hearing *h)
{
    static const struct feed_events events = {heard_change, heard_all};
    *h = (struct hearing){.loop = loop_new_simulated(3), .told = STRBUF(1 << 16)};
    h->api = fake_new(h->loop, NS_PER_MS);
    h->feed = feed_new(h->api, &events, h);
}

static void hearing_fini(struct hearing *h)
{
    feed_free(h->feed);
    transport_free(h->api);
    while (loop_run_once(h->loop, 0))
        ;
    loop_free(h->loop);
    strbuf_fini(&h->told);
}

static void heard_is(struct hearing *h, const char *text)
{
    for (int64_t end = clock_mono() + NS_PER_S; clock_mono() < end;)
        if (!loop_run_once(h->loop, end - clock_mono()))
            break;
    CHECK_STR(strbuf_str(&h->told), str_of(text));
    strbuf_fini(&h->told);
    h->told = STRBUF(1 << 16);
}

static void thing_put(struct hearing *h, const char *yaml)
{
    fake_put_yaml(h->api, str_of(yaml));
}

TEST(what_is_wanted_is_seen_and_nothing_else)
{
    struct hearing h;
    hearing_init(&h);
    thing_put(&h, "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: ns}}");
    thing_put(&h, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: ns}}");
    thing_put(&h, "{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: ns}}");
    feed_want(h.feed, K(Service));
    feed_want_object(h.feed, K(ConfigMap), S("ns"), S("b"));
    feed_want_object(h.feed, K(ConfigMap), S("ns"), S("b"));
    CHECK(!feed_synced(h.feed));
    heard_is(&h, "+Service/a +ConfigMap/b ");
    CHECK(feed_synced(h.feed) && h.synced == 1);
    feed_drop_object(h.feed, K(ConfigMap), S("ns"), S("b"));
    heard_is(&h, "");
    feed_drop_object(h.feed, K(ConfigMap), S("ns"), S("b"));
    heard_is(&h, "-ConfigMap/b ");
    thing_put(&h, "{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: ns, labels: {x: z}}}");
    heard_is(&h, "");
    fake_remove(h.api, K(Service), S("ns"), S("a"));
    heard_is(&h, "-Service/a ");
    hearing_fini(&h);
}

/* By its type and by its name: once. */
TEST(two_watches_of_one_object_are_one)
{
    struct hearing h;
    hearing_init(&h);
    thing_put(&h, "{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: c, namespace: ns}}");
    feed_want(h.feed, K(Secret));
    feed_want_object(h.feed, K(Secret), S("ns"), S("c"));
    heard_is(&h, "+Secret/c ");
    feed_drop_object(h.feed, K(Secret), S("ns"), S("c"));
    heard_is(&h, "");
    CHECK(view_get(feed_view(h.feed), K(Secret), S("ns"), S("c")));
    feed_want_object(h.feed, K(Secret), S("ns"), S("c"));
    heard_is(&h, "");
    thing_put(&h,
              "{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: c, namespace: ns, labels: "
              "{x: z}}}");
    heard_is(&h, "=Secret/c ");
    fake_remove(h.api, K(Secret), S("ns"), S("c"));
    heard_is(&h, "-Secret/c ");
    hearing_fini(&h);
}

#define FERRIES                                                                                                      \
    "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ferries.ship.example, "  \
    "labels: {a: '%s'}}, spec: {group: ship.example, scope: Namespaced, names: {plural: ferries, kind: Ferry, "      \
    "listKind: FerryList}, versions: [{name: %s, served: true, storage: true, schema: {openAPIV3Schema: {type: "     \
    "object, x-kubernetes-preserve-unknown-fields: true}}}]}, status: {conditions: [{type: Established, status: "    \
    "'True'}], acceptedNames: {plural: ferries, kind: Ferry, listKind: FerryList}}}"

TEST(kinds_of_definitions_come_change_and_go)
{
    struct hearing h;
    char yaml[1000];
    hearing_init(&h);
    feed_want_defined(h.feed, "ferries.ship.example");
    feed_want_defined(h.feed, "rafts.ship.example");
    heard_is(&h, "");
    CHECK(feed_synced(h.feed) && !view_defined(feed_view(h.feed), "ferries.ship.example"));
    (void)snprintf(yaml, sizeof yaml, FERRIES, "1", "v1");
    thing_put(&h, yaml);
    heard_is(&h, "");
    const struct kind *k = view_defined(feed_view(h.feed), "ferries.ship.example");
    CHECK(k && str_eqz(k->api_version, "ship.example/v1") && feed_synced(h.feed));
    fake_remove(h.api, K(CustomResourceDefinition), S(""), S("ferries.ship.example"));
    heard_is(&h, "");
    CHECK(!view_defined(feed_view(h.feed), "ferries.ship.example"));
    hearing_fini(&h);
}
