#include "api/codec.h"
#include "base/test.h"
#include "server/room.h"

enum { MIB = 1 << 20 };

/* Of the kind, with so many bytes in an annotation; deleting: it has been told to go. */
static struct obj *object_sized(const struct kind *k, const char *ns, size_t bytes, bool deleting)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree, typed;
    char *filler = arena_alloc(&a, bytes + 1);
    memset(filler, 'x', bytes);
    filler[bytes] = 0;
    struct str text = arena_fmt(
        &a, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"%s\",%s\"annotations\":{\"a\":\"%s\"}}}", ns,
        deleting ? "\"deletionTimestamp\":\"2026-01-01T10:00:00Z\"," : "", filler);
    CHECK_OK(json_decode(&a, text, &tree, &err), err);
    CHECK_OK(type_decode_val(&a, k->type, &tree, &typed, NULL, &err), err);
    return obj_new(k, &typed, 1);
}

struct world {
    struct room *room;
    struct obj *held[64];
    size_t n;
};

static bool change_may(struct world *w, const struct obj *was, const struct obj *now, bool of_status, struct err *err)
{
    return room_fits(w->room, was, now, room_use_of(was, now, of_status), err);
}

/* Objects of a MiB until no more may be. */
static enum err_kind ns_fill(struct world *w, const char *ns, struct err *err)
{
    for (;;) {
        struct obj *o = object_sized(K(ConfigMap), ns, MIB, false);
        if (!change_may(w, NULL, o, false, err)) {
            obj_unref(o);
            return err->kind;
        }
        room_changed(w->room, NULL, o);
        CHECK(w->n < countof(w->held));
        w->held[w->n++] = o;
    }
}

static void world_fini(struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        room_changed(w->room, w->held[i], NULL);
        obj_unref(w->held[i]);
    }
    CHECK_INT(room_bytes(w->room), 0);
    room_free(w->room);
}

static bool one_may(struct world *w, const struct kind *k, const char *ns, size_t before, size_t after,
                    bool of_status, bool told_to_go)
{
    struct err err = ERR;
    AUTO(obj_unref) struct obj *was = before ? object_sized(k, ns, before, false) : NULL;
    AUTO(obj_unref) struct obj *now = object_sized(k, ns, after, told_to_go);
    return change_may(w, was, now, of_status, &err);
}

TEST(a_namespace_may_have_half_and_all_together_the_whole)
{
    struct world w = {.room = room_new(1000, 32 * MIB)};
    struct err err = ERR;
    CHECK_INT(ns_fill(&w, "one", &err), E_FORBIDDEN);
    CHECK(strstr(err.text, "namespace one holds 15 MiB") && strstr(err.text, "max-stored-mib"));
    CHECK_INT(w.n, 15);
    err = ERR;
    CHECK_INT(ns_fill(&w, "two", &err), E_FORBIDDEN);
    err = ERR;
    CHECK_INT(ns_fill(&w, "three", &err), E_UNAVAILABLE);
    CHECK(strstr(err.text, "31 MiB of objects are stored") && strstr(err.text, "max-stored-mib"));
    CHECK_INT(w.n, 31);
    struct obj *gone = w.held[--w.n];
    room_changed(w.room, gone, NULL);
    obj_unref(gone);
    err = ERR;
    CHECK_INT(ns_fill(&w, "three", &err), E_UNAVAILABLE); /* there is room for one again */
    CHECK_INT(w.n, 31);
    world_fini(&w);
}

TEST(a_full_server_can_be_emptied_and_its_nodes_stay)
{
    struct world w = {.room = room_new(1000, 32 * MIB)};
    struct err err = ERR;
    (void)ns_fill(&w, "one", &err);
    (void)ns_fill(&w, "two", &err);
    (void)ns_fill(&w, "three", &err);
    static const struct {
        const char *what, *ns;
        const struct kind *k;
        size_t before, after;
        bool of_status, told_to_go, may;
    } rows[] = {
        {"another object", "three", K(ConfigMap), 0, MIB, false, false, false},
        {"one grows much", "three", K(ConfigMap), 10, MIB, false, false, false},
        {"one shrinks", "three", K(ConfigMap), 2 * MIB, MIB, false, false, true},
        {"one is scaled", "three", K(Deployment), 100, 200, false, false, true},
        {"one is told to go", "three", K(Pod), 100, 100, false, true, true},
        {"one grows as it is told to go", "three", K(Pod), 100, MIB, false, true, false},
        {"a status grows", "three", K(Pod), 100, 100000, true, false, true},
        {"a lease of a node", "kube-node-lease", K(Lease), 0, 100, false, false, true},
        {"no lease, but a pile", "kube-node-lease", K(Lease), 0, MIB, false, false, false},
        {"a node", "", K(Node), 0, 50000, false, false, true},
        {"an Event", "three", K(Event), 0, 2000, false, false, true},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        bool ok = one_may(&w, rows[i].k, rows[i].ns, rows[i].before, rows[i].after, rows[i].of_status,
                          rows[i].told_to_go);
        CHECK_STR(ok == rows[i].may ? S("as it should") : str_of(rows[i].what), S("as it should"));
    }
    world_fini(&w);
}

TEST(small_changes_have_an_end_too_and_take_nothing_from_statuses)
{
    struct world w = {.room = room_new(1000, 32 * MIB)};
    struct err err = ERR;
    (void)ns_fill(&w, "one", &err);
    (void)ns_fill(&w, "two", &err);
    AUTO(obj_unref) struct obj *was = object_sized(K(ConfigMap), "one", 100, false);
    AUTO(obj_unref) struct obj *now = object_sized(K(ConfigMap), "one", 4000, false);
    struct obj *all[4096];
    size_t grown = 0;
    for (; change_may(&w, was, now, false, &err); grown++) {
        CHECK(grown < countof(all));
        room_changed(w.room, NULL, all[grown] = obj_ref(now)); /* one that was nothing before: a bound all the same */
    }
    CHECK(grown > 0);
    CHECK(one_may(&w, K(Pod), "one", 100, 4000, true, false));
    while (grown) {
        room_changed(w.room, all[--grown], NULL);
        obj_unref(all[grown]);
    }
    world_fini(&w);
}

TEST(events_take_nothing_from_others)
{
    struct world w = {.room = room_new(2, 32 * MIB)};
    AUTO(obj_unref) struct obj *e = object_sized(K(Event), "one", 1000, false);
    for (int i = 0; i < 10; i++)
        room_changed(w.room, NULL, e);
    CHECK_INT(room_bytes(w.room), 0);
    CHECK(one_may(&w, K(ConfigMap), "one", 0, 10, false, false));
    world_fini(&w);
}

TEST(the_number_of_objects_has_a_bound)
{
    struct world w = {.room = room_new(3, 32 * MIB)};
    struct err err = ERR;
    CHECK_INT(ns_fill(&w, "one", &err), E_UNAVAILABLE);
    CHECK_INT(w.n, 3);
    CHECK(strstr(err.text, "3 objects are stored") && strstr(err.text, "max-objects"));
    CHECK(one_may(&w, K(Lease), "kube-node-lease", 0, 10, false, false));
    CHECK(one_may(&w, K(Event), "one", 0, 10, false, false));
    CHECK(one_may(&w, K(ConfigMap), "one", 10, 20, false, false));
    world_fini(&w);
}
