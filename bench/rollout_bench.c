/* rollout_bench.c - how long a GET takes while controllers are busy: a rollout of many pods over a running API server.
 *   make bench-rollout; build/release/bench-rollout KUBECONFIG PODS        (bench-cluster does that: ARGS=rollout)
 *
 * The server, its store, controllers and scheduler are the real ones. The nodes are hollow: this program makes them,
 * renews their leases, says of each pod that is bound that it is ready, and removes each that is told to go. Another
 * process reads one small ConfigMap all the while, a request at a time, 1 ms of rest after each, and tells how long that
 * took: at rest, while PODS are made for the first time, and while all of them are replaced by new ones. */
#include "api/codec.h"
#include "api/strategy.h"
#include "base/clock.h"
#include "client/cache.h"
#include "client/http.h"
#include "sys/loop.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum phase { REST, MADE, REPLACED, OVER };
enum { SAMPLES = 1 << 18, PODS_A_NODE = 100 };
static const char *const phase_names[] = {"at rest", "while pods are made", "while all are replaced"};

static NORETURN void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static struct transport *connect_to(struct loop *l, const char *kubeconfig)
{
    static struct arena a;
    static const struct kubeconfig_overrides none;
    struct kubeconfig k;
    struct err err = ERR;
    struct transport *t = NULL;
    if (kubeconfig_load(&a, kubeconfig, &none, &k, &err))
        t = http_transport_of(l, &k, &err);
    if (!t)
        die(kubeconfig, err.text);
    return t;
}

/* --- the reader, a process of its own --- */

struct shared {
    _Atomic int phase;
    _Atomic int ready;
    _Atomic uint32_t n[OVER];
    float us[OVER][SAMPLES];
};

static void read_on(struct shared *s, const char *kubeconfig)
{
    struct err err = ERR;
    struct loop *l = loop_new(&err);
    struct transport *t = connect_to(l, kubeconfig);
    for (int phase; (phase = atomic_load(&s->phase)) != OVER;) {
        struct call c = {0};
        struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .method = "GET",
                                             .path = S("/api/v1/namespaces/default/configmaps/read-me"));
        int64_t start = clock_mono();
        if (!call_run(&c, t, &o, &err))
            die("GET", err.text);
        int64_t took = clock_mono() - start;
        call_fini(&c);
        uint32_t n = atomic_load(&s->n[phase]);
        if (phase == atomic_load(&s->phase) && n < SAMPLES) {
            s->us[phase][n] = (float)took / 1e3f;
            atomic_store(&s->n[phase], n + 1);
        }
        atomic_store(&s->ready, 1);
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static int ascending(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void tell(struct shared *s, enum phase phase, double seconds, size_t pods)
{
    float *us = s->us[phase];
    uint32_t n = atomic_load(&s->n[phase]);
    if (!n)
        die("reader", "has read nothing");
    qsort(us, n, sizeof *us, ascending);
    printf("%-24s p50 %7.0f us  p99 %7.0f us  max %7.0f us  of %u GETs", phase_names[phase], (double)us[n / 2],
           (double)us[n - 1 - n / 100], (double)us[n - 1], n);
    if (phase != REST)
        printf("; %zu pods in %.1f s, p99 = %.1f x at rest", pods, seconds,
               (double)(us[n - 1 - n / 100] / s->us[REST][atomic_load(&s->n[REST]) - 1 - atomic_load(&s->n[REST]) / 100]));
    printf("\n");
    (void)fflush(stdout);
}

/* --- hollow nodes --- */

static struct loop *loop;
static struct transport *api;
static struct cache *pods;
static size_t wanted, ready_new;
static const char *generation = "1";

struct deed {
    struct call call;
    struct str what;
};

static void deed_done(struct call *c)
{
    struct deed *d = container_of(c, struct deed, call);
    if (!c->ok && c->err.kind != E_NOT_FOUND && c->err.kind != E_CONFLICT)
        die("hollow node", c->err.text);
    mem_free(d);
}

static void deed_start(const struct call_options *o)
{
    struct deed *d = NEW(struct deed);
    d->call.done = deed_done;
    call_start(&d->call, api, o);
}

static struct val tree_of(struct arena *a, struct str yaml)
{
    struct val v;
    struct err err = ERR;
    if (!yaml_decode(a, yaml, &v, &err))
        die("yaml", err.text);
    return v;
}

static bool is_ready(const struct obj *pod)
{
    return val_find(val_at(&pod->tree, N(status), N(conditions)), N(type), S("Ready")) != NULL;
}

static bool is_new(const struct obj *pod)
{
    return str_eqz(val_text(val_get_str(obj_labels(pod), S("generation"))), generation);
}

static void run_pod(const struct obj *pod)
{
    static unsigned ips;
    AUTO(arena_fini) struct arena a = ARENA;
    ips++;
    struct val patch = tree_of(
        &a, arena_fmt(&a,
                      "{status: {phase: Running, podIP: 10.99.%u.%u, conditions: [{type: Ready, status: 'True', "
                      "lastTransitionTime: '2026-01-01T00:00:00Z'}]}}",
                      ips / 250 % 250, ips % 250 + 1));
    deed_start(&CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Pod), .ns = pod->ns, .name = pod->name, .sub = S("status"),
                             .patch = PATCH_STRATEGIC, .body = &patch));
}

static void end_pod(const struct obj *pod)
{
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Pod), .ns = pod->ns, .name = pod->name);
    o.grace_s = 0;
    deed_start(&o);
}

static void pod_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    (void)h;
    ready_new -= was && is_new(was) && is_ready(was);
    ready_new += now && is_new(now) && is_ready(now);
    if (!now || !val_text_at(obj_spec(now), N(nodeName)).n)
        return;
    if (obj_deleting(now) && !(was && obj_deleting(was)))
        end_pod(now);
    else if (!obj_deleting(now) && !is_ready(now) && !(was && val_text_at(obj_spec(was), N(nodeName)).n))
        run_pod(now);
}

static void ask(struct call_options o, struct str yaml)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(call_fini) struct call c = {0};
    struct err err = ERR;
    struct val body = tree_of(&a, yaml);
    o.body = &body;
    if (!call_run(&c, api, &o, &err))
        die(arena_strz(&a, yaml), err.text);
}

static void create(const struct kind *k, const char *ns, struct str yaml)
{
    ask(CALL_OPTIONS(.verb = CALL_CREATE, .kind = k, .ns = str_of(ns)), yaml);
}

static struct str lease_yaml(struct arena *a, int node)
{
    return arena_fmt(a,
                     "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: hollow-%d, namespace: "
                     "kube-node-lease}, spec: {holderIdentity: hollow-%d, leaseDurationSeconds: 40, renewTime: '" STR_FMT
                     "'}}",
                     node, node, STR_ARG(time_text_micro(a, clock_real())));
}

static void node_make(int i)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str name = arena_fmt(&a, "hollow-%d", i);
    create(K(Node), "", arena_fmt(&a, "{apiVersion: v1, kind: Node, metadata: {name: hollow-%d}}", i));
    create(K(Lease), "kube-node-lease", lease_yaml(&a, i));
    ask(CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Node), .name = name, .sub = S("status"), .patch = PATCH_STRATEGIC),
        S("{status: {capacity: {cpu: '64', memory: 256Gi, pods: '100'}, allocatable: {cpu: '64', memory: 256Gi, pods: '100'}, "
          "conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z'}]}}"));
}

static int nnodes;
static void renew(struct timer *t)
{
    for (int i = 0; i < nnodes; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str name = arena_fmt(&a, "hollow-%d", i);
        struct val patch = tree_of(&a, lease_yaml(&a, i));
        deed_start(&CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Lease), .ns = S("kube-node-lease"), .name = name,
                                 .patch = PATCH_MERGE, .body = &patch));
    }
    timer_set(t, 10 * NS_PER_S);
}

/* --- phases --- */

static double until(size_t all)
{
    int64_t start = clock_mono();
    while (ready_new != wanted || (all && objset_len(cache_set(pods)) != all)) {
        (void)loop_run_once(loop, NS_PER_S);
        if (clock_mono() - start > 600 * NS_PER_S)
            die("rollout", "does not end within ten minutes");
    }
    return (double)(clock_mono() - start) / NS_PER_S;
}

int main(int argc, char **argv)
{
    int64_t n;
    struct err err = ERR;
    if (argc != 3 || !str_to_i64(str_of(argv[2]), 1, 5000, &n))
        die("usage", "bench-rollout KUBECONFIG PODS");
    wanted = (size_t)n;
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        die("mmap", "no memory");
    loop = loop_new(&err);
    api = connect_to(loop, argv[1]);
    create(K(ConfigMap), "default", S("{apiVersion: v1, kind: ConfigMap, metadata: {name: read-me}, data: {a: b}}"));
    nnodes = (int)(n * 3 / 2 / PODS_A_NODE) + 1;
    for (int i = 0; i < nnodes; i++)
        node_make(i);
    pid_t reader = fork();
    if (reader == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        read_on(s, argv[1]);
        _exit(0);
    }
    struct cache_options o = {.kind = K(Pod), .ns = S("default")};
    struct cache_handler handler = {.changed = pod_changed};
    struct timer leases;
    pods = cache_new(api, &o);
    cache_handler_add(pods, &handler);
    cache_start(pods);
    timer_init(&leases, loop, renew);
    timer_set(&leases, 10 * NS_PER_S);
    for (int64_t end = clock_mono() + 3 * NS_PER_S; clock_mono() < end || !atomic_load(&s->ready);)
        (void)loop_run_once(loop, NS_PER_S);
    atomic_store(&s->phase, MADE);
    AUTO(arena_fini) struct arena a = ARENA;
    create(K(Service), "default",
           S("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}"));
    create(K(Deployment), "default",
           arena_fmt(&a,
                     "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: %zu, selector: {matchLabels: "
                     "{app: web}}, template: {metadata: {labels: {app: web, generation: '1'}}, spec: {containers: [{name: web, "
                     "image: web}]}}}}",
                     wanted));
    double made = until(wanted);
    atomic_store(&s->phase, REPLACED);
    generation = "2";
    ready_new = 0;
    ask(CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Deployment), .ns = S("default"), .name = S("web"), .patch = PATCH_MERGE),
        S("{spec: {template: {metadata: {labels: {generation: '2'}}}}}"));
    double replaced = until(wanted);
    atomic_store(&s->phase, OVER);
    (void)waitpid(reader, NULL, 0);
    tell(s, REST, 0, wanted);
    tell(s, MADE, made, wanted);
    tell(s, REPLACED, replaced, wanted);
    return 0;
}
