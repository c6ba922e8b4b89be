/* sched_bench.c - what one decision of the scheduler costs, over its own state in memory: a pod that fits, one that
 * fits nowhere and may send nobody away, one that has to choose victims; of 10, 100 and 1,000 full nodes.
 *   make bench-sched; build/release/bench-sched
 * Beside each: a walk over all pods that reads the priority of each, which is the least that choosing could cost. */
#include "api/codec.h"
#include "api/rules.h"
#include "base/clock.h"
#include "control/sched.h"
#include <stdio.h>
#include <stdlib.h>

enum { PODS = 100 };

static struct obj *make(const char *text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val any, v;
    if (!yaml_decode(&a, str_of(text), &any, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    const struct kind *k = kind_of_api_version(val_text_at(&any, N(apiVersion)), val_text_at(&any, N(kind)));
    if (!type_decode_val(&a, k->type, &any, &v, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    kind_default(&a, k, &v);
    return obj_new(k, &v, 1);
}

static struct obj *pod_make(const char *name, int priority, const char *cpu, const char *more)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return make(arena_fmt(&a,
                          "{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: d, uid: %s, labels: {app: web}}, "
                          "spec: {priority: %d, containers: [{name: c, image: i, resources: {requests: {cpu: '%s', "
                          "memory: 10Mi}}}]%s}}",
                          name, name, priority, cpu, more)
                    .p);
}

static double decide_us(struct sched *s, struct obj *pod, const char *what)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < 7; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct decision d;
        int64_t start = clock_thread_cpu();
        sched_place(s, NULL, pod, &a, &d);
        best = MIN(best, clock_thread_cpu() - start);
        if (i == 0 && what)
            printf("    %s: %s, %zu victims\n", what,
                   d.node      ? d.node->name
                   : d.nominee ? d.nominee->name
                               : "nowhere",
                   d.nvictims);
    }
    return (double)best / 1000;
}

static double walk_us(struct sched *s)
{
    int64_t best = INT64_MAX, sum = 0;
    for (int i = 0; i < 7; i++) {
        int64_t start = clock_thread_cpu();
        map_each (it, &s->nodes) {
            struct sched_node *n = it->value;
            array_each (p, &n->pods)
                sum += (*p)->priority;
        }
        best = MIN(best, clock_thread_cpu() - start);
    }
    return (double)best / 1000 + (sum == 1);
}

static void of_nodes(int n)
{
    struct sched s;
    sched_init(&s);
    for (int i = 0; i < n; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str name = arena_fmt(&a, "node-%04d", i);
        struct obj *node = make(arena_fmt(&a,
                                          "{apiVersion: v1, kind: Node, metadata: {name: %s, labels: "
                                          "{kubernetes.io/hostname: %s}}, status: {allocatable: {cpu: '%d', memory: "
                                          "64Gi, pods: '110'}}}",
                                          name.p, name.p, PODS)
                                    .p);
        sched_node_set(&s, node);
        obj_unref(node);
        for (int k = 0; k < PODS; k++) {
            struct obj *pod = pod_make(arena_fmt(&a, "p-%d-%d", i, k).p, k % 5, "1", "");
            sched_pod_set(&s, pod->ns, pod->name, pod, name);
            obj_unref(pod);
        }
    }
    const char *spread = ", topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, "
                         "whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]";
    struct {
        const char *what;
        struct obj *pod;
    } asks[] = {{"one that fits", pod_make("fits", 0, "0", "")},
                {"one that fits nowhere, of no rank", pod_make("waits", 0, "2", "")},
                {"one with ten victims", pod_make("takes", 100, "10", "")},
                {"one with ten victims, spread", pod_make("spreads", 100, "10", spread)}};
    double floor = walk_us(&s);
    for (size_t i = 0; i < countof(asks); i++) {
        double us = decide_us(&s, asks[i].pod, n == 10 ? asks[i].what : NULL);
        printf("%4d nodes of %d pods, %-36s %10.1f us = %8.1f x the walk\n", n, PODS, asks[i].what, us, us / floor);
        obj_unref(asks[i].pod);
    }
    sched_fini(&s);
}

int main(void)
{
    of_nodes(10);
    of_nodes(100);
    of_nodes(1000);
    return 0;
}
