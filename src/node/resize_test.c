/* Who is resized first, and whether there is room for it. */
#include "base/test.h"
#include "node/pod_play_test.h"
#include "node/resize.h"
#include "node/test_world.h"

#define NODE "metadata: {name: n1}\nstatus: {allocatable: {cpu: '2', memory: 1Gi, pods: '10'}}"
#define POD(name, cpu)                                                                                               \
    "metadata: {name: " name ", uid: " name "}\nspec: {containers: [{name: c, resources: {requests: {cpu: " cpu      \
    "}}}]}"

TEST(resize_fits_now_later_or_never)
{
    static const struct {
        const char *pod, *reason, *message; /* reason "": it fits */
    } rows[] = {
        {POD("p", "1"), "", ""},
        {POD("p", "1500m"), "OutOfcpu",
         "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000"},
        {POD("p", "2001m"), "Infeasible", "Node didn't have enough capacity: cpu, requested: 2001, capacity: 2000"},
        {"metadata: {name: p}\nspec: {resources: {requests: {memory: 2Gi}}, containers: [{name: c}]}", "Infeasible",
         "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824"},
        {"metadata: {name: p, annotations: {kubernetes.io/config.source: file}}\nspec: {containers: [{name: c}]}",
         "Infeasible", "In-place resize of static-pods is not supported"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct refusal why = {0};
        const struct obj *other = world_obj(&w, K(Pod), POD("o", "600m"));
        bool fits = resize_fits(&w.arena, world_obj(&w, K(Pod), rows[i].pod), world_obj(&w, K(Node), NODE), &other, 1,
                                &why);
        CHECK_INT(fits, !*rows[i].reason);
        CHECK_STR(str_of(why.reason ? why.reason : ""), str_of(rows[i].reason));
        CHECK_STR(why.message, str_of(rows[i].message));
        world_end(&w);
    }
}

static struct pod *pod_waiting(struct arena *a, const char *name, const char *more, const char *cpu, int64_t since)
{
    const char *const form =
        "metadata: {name: %s, uid: %s}\nspec: {%scontainers: [{name: c, resources: {requests: {cpu: %s}}}]}";
    AUTO(obj_unref) struct obj *was = pod_of(a, arena_fmt(a, form, name, name, more, "1").p);
    AUTO(obj_unref) struct obj *now = pod_of(a, arena_fmt(a, form, name, name, more, cpu).p);
    struct pod *p = pod_new(was, S("10.0.0.1"), 1, 1);
    pod_wanted(p, now, 1);
    if (since)
        (void)pod_defer(p, "Deferred", S("no room"), since);
    return p;
}

TEST(resize_order_of_those_that_wait)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct pod *in[] = {
        pod_waiting(&a, "a-shrinks", "", "500m", 0),
        pod_waiting(&a, "b-important", "priority: 10, ", "2", 9),
        pod_waiting(&a, "e-waits-longest", "", "2", 5),
        pod_waiting(&a, "d-waits", "", "2", 7),
        pod_waiting(&a, "c-is-new", "priority: -1, ", "2", 1),
        pod_waiting(&a, "f-unseen", "priority: -1, ", "2", 0),
    };
    for (size_t i = 0; i < countof(in); i++)
        for (size_t k = 0; k < countof(in); k++) {
            int order = resize_order(in[i], in[k]);
            CHECK(i == k ? order == 0 : i < k ? order < 0 : order > 0);
        }
    for (size_t i = 0; i < countof(in); i++)
        pod_free(in[i]);
}
