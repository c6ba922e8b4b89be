/* HorizontalPodAutoscalers over the fake API: whatever fails, breaks or is forgotten, the scale stays within its
 * bounds, no period sees more change than the behavior allows, and in the end there are as many as the load needs. */
#include "base/array.h"
#include "base/test.h"
#include "control/world_test.h"
#include "sys/loop.h"

#define WEB                                                                                                          \
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 1}, spec: {replicas: 2, selector: "   \
    "{matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i, " \
    "resources: {requests: {cpu: 100m}}}]}}}}"
#define HPA                                                                                                          \
    "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {minReplicas: 2, "     \
    "maxReplicas: 12, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: "         \
    "Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100}}}], behavior: {scaleUp: "    \
    "{policies: [{type: Pods, value: 2, periodSeconds: 60}]}, scaleDown: {stabilizationWindowSeconds: 30, "          \
    "policies: [{type: Pods, value: 1, periodSeconds: 60}]}}}}"

#define PERIOD (60 * NS_PER_S)
#define SLACK  NS_PER_S /* looks come a little early (hpa_pace.c) */

struct scale_change {
    int64_t at, by;
};
/* What the pods of "web" use together, in thousandths, and how the scale was changed. */
struct hpa_seen {
    int64_t load;
    bool down;              /* the metrics API answers 503 */
    size_t asked, statuses; /* of HorizontalPodAutoscalers, written */
    ARRAY(struct scale_change) changes;
};
static struct hpa_seen *seen; /* of the test that runs: each is a process of its own */

static int64_t web_replicas(struct world *w)
{
    return val_num_at(obj_spec(fake_get(w->api, K(Deployment), S("default"), S("web"))), -1, N(replicas));
}

/* The load falls to those that are ready, in equal parts. */
static int metrics_answer(void *arg, struct str path, struct strbuf *body)
{
    struct world *w = arg;
    struct obj *pod;
    size_t ready = 0;
    seen->asked++;
    if (seen->down || !str_starts(path, S("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods")))
        return 503;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        ready += condition_is(obj_status(pod), "Ready", "True");
    strbuf_addz(body, "{\"items\": [");
    size_t n = 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));) {
        if (!condition_is(obj_status(pod), "Ready", "True"))
            continue;
        strbuf_addf(body, "%s{\"metadata\": {\"name\": \"" STR_FMT "\"}, \"timestamp\": \"", n++ ? ", " : "",
                    STR_ARG(pod->name));
        time_add(body, clock_real());
        strbuf_addf(body,
                    "\", \"window\": \"0s\", \"containers\": [{\"name\": \"c\", \"usage\": {\"memory\": \"%lld\"}}]}",
                    (long long)(seen->load / (int64_t)ready));
    }
    strbuf_addz(body, "]}");
    return 200;
}

static int64_t changed_lately(int64_t now, bool up)
{
    int64_t sum = 0;
    array_each (it, &seen->changes)
        if (it->at > now - PERIOD + SLACK && (it->by > 0) == up)
            sum += it->by;
    return sum;
}

static void scale_written(struct world *w UNUSED, const struct obj *was, const struct obj *now)
{
    if (!now || now->kind != K(Deployment) || !was || !str_eqz(now->name, "web"))
        return;
    int64_t at = clock_real(), n = val_num_at(obj_spec(now), -1, N(replicas));
    int64_t by = n - val_num_at(obj_spec(was), -1, N(replicas));
    if (!by)
        return;
    array_push(&seen->changes, ((struct scale_change){at, by}));
    if (n < 2 || n > 12)
        test_failed(__FILE__, __LINE__, "%lld replicas, of 2 to 12", (long long)n);
    int64_t ups = changed_lately(at, true), downs = -changed_lately(at, false);
    if (by > 0 && ups - downs > 2)
        test_failed(__FILE__, __LINE__, "%lld more within a minute, 2 are allowed", (long long)(ups - downs));
    if (by < 0 && downs - ups > 1)
        test_failed(__FILE__, __LINE__, "%lld fewer within a minute, 1 is allowed", (long long)(downs - ups));
}

static void status_written(struct world *w, const struct obj *was, const struct obj *now)
{
    scale_written(w, was, now);
    seen->statuses += now && now->kind == K(HorizontalPodAutoscaler) && was;
}

static bool web_deployed(struct world *w)
{
    const struct obj *o = fake_get(w->api, K(Deployment), S("default"), S("web"));
    return val_num_at(obj_status(o), 0, N(readyReplicas)) == 2;
}

/* Pods as a kubelet has them: since when they run. */
static void web_begin(struct world *w, uint64_t seed, struct hpa_seen *s)
{
    *s = (struct hpa_seen){.load = 200};
    seen = s;
    world_init(w, seed, 5 * NS_PER_MS);
    fake_on_get(w->api, metrics_answer, w);
    w->written = scale_written;
    world_node(w, "n1", "8");
    world_put(w, WEB);
    world_start(w);
    world_run(w, web_deployed, 60 * NS_PER_S);
}

static void web_end(struct world *w)
{
    world_fini(w);
    array_fini(&seen->changes);
}

static bool six_run(struct world *w)
{
    return web_replicas(w) == 6;
}

static bool two_run(struct world *w)
{
    return web_replicas(w) == 2;
}

TEST(nobody_is_asked_without_an_autoscaler)
{
    struct world w;
    struct hpa_seen s;
    web_begin(&w, 1, &s);
    world_run_for(&w, 600 * NS_PER_S);
    CHECK_INT(s.asked, 0);
    web_end(&w);
}

TEST(the_scale_follows_the_load_in_the_steps_of_the_behavior)
{
    struct world w;
    struct hpa_seen s;
    web_begin(&w, 2, &s);
    world_put(&w, HPA);
    s.load = 600;
    world_run(&w, six_run, 150 * NS_PER_S);
    world_run_for(&w, 60 * NS_PER_S);
    CHECK_INT(web_replicas(&w), 6);
    s.load = 100;
    world_run(&w, two_run, 330 * NS_PER_S);
    web_end(&w);
}

TEST(figures_that_move_are_written_at_every_third_look)
{
    struct world w;
    struct hpa_seen s;
    web_begin(&w, 5, &s);
    w.written = status_written;
    world_put(&w, HPA);
    world_run_for(&w, 30 * NS_PER_S);
    size_t before = s.statuses;
    for (int i = 0; i < 30; i++) { /* within the tolerance: nothing but figures changes */
        s.load = 200 + 2 * (i % 3);
        world_run_for(&w, 5 * NS_PER_S);
    }
    CHECK(s.statuses - before >= 8 && s.statuses - before <= 11);
    web_end(&w);
}

TEST(several_of_a_namespace_share_an_answer)
{
    struct world w;
    struct hpa_seen s;
    web_begin(&w, 3, &s);
    world_put(&w, HPA);
    for (int i = 0; i < 9; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        world_put(&w, arena_fmt(&a,
                                "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d%d, generation: 1}, spec: "
                                "{replicas: 1, selector: {matchLabels: {app: d%d}}, template: {metadata: {labels: "
                                "{app: d%d}}, spec: {containers: [{name: c, image: i}]}}}}",
                                i, i, i)
                          .p);
        world_put(&w,
                  arena_fmt(&a,
                            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: d%d}, "
                            "spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: "
                            "d%d}, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, "
                            "averageValue: 1}}}]}}",
                            i, i)
                      .p);
    }
    world_run_for(&w, 30 * NS_PER_S);
    size_t asked = s.asked;
    world_run_for(&w, 150 * NS_PER_S);
    CHECK(s.asked - asked >= 29 && s.asked - asked <= 31); /* every 5 s, once for all ten */
    web_end(&w);
}

TEST(what_is_at_rest_writes_nothing)
{
    struct world w;
    struct hpa_seen s;
    web_begin(&w, 4, &s);
    world_put(&w, HPA);
    world_run_for(&w, 120 * NS_PER_S);
    size_t writes = fake_writes(w.api) - w.renewals;
    world_run_for(&w, 600 * NS_PER_S);
    CHECK_INT(fake_writes(w.api) - w.renewals, writes);
    web_end(&w);
}

TEST(no_period_sees_more_than_its_policy_whatever_fails)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world w;
        struct hpa_seen s;
        web_begin(&w, 100 + seed, &s);
        world_put(&w, HPA);
        for (int i = 0; i < 25; i++) {
            s.load = 100 + (int64_t)random_below(1500);
            s.down = random_below(4) == 0;
            world_run_for(&w, (int64_t)random_below(25000) * NS_PER_MS);
            if (random_below(3) == 0)
                world_disturb(&w);
            if (random_below(4) == 0)
                world_restart(&w);
        }
        s.down = false;
        s.load = 600;
        world_run(&w, six_run, 900 * NS_PER_S);
        web_end(&w);
    }
}

TEST(answers_that_get_lost_are_asked_for_again)
{
    struct world w;
    struct hpa_seen s;
    web_begin(&w, 5, &s);
    s.load = 600;
    fake_fail(w.api, 3, E_UNAVAILABLE);
    world_put(&w, HPA);
    world_run(&w, six_run, 240 * NS_PER_S);
    web_end(&w);
}

/* A scale that is lost on its way back was written: the change counts. */
TEST(a_lost_answer_to_the_scale_counts)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        struct hpa_seen s;
        web_begin(&w, 200 + seed, &s);
        s.load = 600;
        world_put(&w, HPA);
        for (int i = 0; i < 20; i++) {
            fake_lose(w.api, (int)random_below(3));
            world_run_for(&w, 10 * NS_PER_S);
        }
        world_run(&w, six_run, 240 * NS_PER_S);
        web_end(&w);
    }
}
