/* watch_bench.c - what a write costs the API server for those who watch: CPU time of the loop's thread, in memory, so
 * without disk and network.
 *   make bench-watch; build/release/bench-watch
 *
 * not concerned   a write beside 1,000 watches of other names, namespaces, nodes or kinds, as a multiple of the same
 *                 beside 10 of them, rounds of both taking turns; no multiple of how many watch is to be seen
 * all concerned   what a watch adds to a write that it is told of, beside what encoding the object for it alone would cost */
#include "api/codec.h"
#include "base/clock.h"
#include "server/int.h"
#include "server/server.h"
#include "server/watch.h"
#include "wire/json.h"
#include <stdio.h>
#include <stdlib.h>

enum { FEW = 10, MANY = 1000, WRITES = 400, ROUNDS = 15 };

static struct loop *loop;
static struct server *server;
static bool is_ready;
static size_t told;

static NORETURN void die(const char *what, struct str why)
{
    fprintf(stderr, "%s: " STR_FMT "\n", what, STR_ARG(why));
    exit(1);
}

static void on_ready(void *arg)
{
    (void)arg;
    is_ready = true;
}

/* --- those who watch --- */

struct reader {
    struct watching watching;
    struct request request;
};

static void on_event(struct watching *w, struct notice *n)
{
    static const struct negotiated json = {.media = MEDIA_JSON, .form = FORM_PLAIN};
    (void)w;
    buf_unref(notice_frame(n, &json, INCLUDE_METADATA, false));
    told++;
}

static void on_ended(struct watching *w, const struct failure *fail)
{
    (void)w;
    die("a watch ended", fail->message);
}

static void no_answer(struct request *r)
{
    (void)r;
}

static struct reader *readers_new(size_t n, const struct kind *k, const char *ns, const char *fields)
{
    struct reader *all = mem_alloc(n * sizeof *all);
    for (size_t i = 0; i < n; i++) {
        struct request *r = &all[i].request;
        struct str before, after;
        request_init(r, server, loop, no_answer);
        request_for(r, VERB_WATCH, k, str_of(ns), STR_NONE, STR_NONE);
        r->options.resource_version = arena_fmt(&r->arena, "%lld", (long long)store_rev(server->store));
        if (str_split(str_of(ns), '#', &before, &after))
            r->ns = arena_fmt(&r->arena, STR_FMT "%zu", STR_ARG(before), i);
        if (str_split(str_of(fields), '#', &before, &after))
            r->options.field_selector = arena_fmt(&r->arena, STR_FMT "%zu", STR_ARG(before), i);
        all[i].watching = (struct watching){.loop = loop, .event = on_event, .ended = on_ended};
        if (!watching_start(&all[i].watching, r))
            die("watch", r->answer.fail.message);
    }
    return all;
}

static void readers_free(struct reader *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        watching_stop(&all[i].watching);
        request_fini(&all[i].request);
    }
    mem_free(all);
}

/* --- who writes --- */

struct writing {
    struct store_op op;
    bool done;
};

static void written(struct store_op *op)
{
    container_of(op, struct writing, op)->done = true;
}

static struct obj *a_pod(int n)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree, typed;
    struct str text = arena_fmt(
        &a, "{\"metadata\":{\"name\":\"one\",\"namespace\":\"default\",\"labels\":{\"app\":\"web\",\"n\":\"%d\"}},\"spec\":{"
            "\"nodeName\":\"here\",\"containers\":[{\"name\":\"web\",\"image\":\"registry.example.org/team/web:1.2.3\",\"ports\":[{"
            "\"containerPort\":8080}],\"env\":[{\"name\":\"GREETING\",\"value\":\"Hello\"}],\"resources\":{\"limits\":{"
            "\"memory\":\"128Mi\"}}}]}}",
        n);
    if (!json_decode(&a, text, &tree, &err) || !type_decode_val(&a, K(Pod)->type, &tree, &typed, NULL, &err))
        die("pod", str_of(err.text));
    return obj_new(K(Pod), &typed, 0);
}

static void write_pod(int n)
{
    struct writing x = {.op = {.n = 1, .done = written}};
    struct store_write w = {.key = S("pods/default/one"), .own_ref = a_pod(n), .expect = STORE_ANY};
    x.op.writes = &w;
    store_write(server->store, &x.op);
    while (!x.done)
        (void)loop_run_once(loop, NS_PER_S);
    if (!x.op.ok)
        die("write", str_of(x.op.err.text));
}

/* ns of CPU a write. */
static double round_of(int writes, size_t told_each)
{
    int64_t start = clock_thread_cpu();
    size_t before = told;
    for (int i = 0; i < writes; i++)
        write_pod(i);
    while (told - before < told_each * (size_t)writes)
        (void)loop_run_once(loop, NS_PER_S);
    return (double)(clock_thread_cpu() - start) / writes;
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *all)
{
    qsort(all, ROUNDS, sizeof *all, ascending);
    return all[ROUNDS / 2];
}

static void not_concerned(const char *what, const struct kind *k, const char *ns, const char *fields)
{
    double few[ROUNDS], many[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        struct reader *all = readers_new(FEW, k, ns, fields);
        few[i] = round_of(WRITES, 0);
        readers_free(all, FEW);
        all = readers_new(MANY, k, ns, fields);
        many[i] = round_of(WRITES, 0);
        readers_free(all, MANY);
    }
    double one = median(few), other = median(many);
    printf("a write beside %d watches of %-18s %7.1f us  = %.2f x beside %d of them (%.1f us)\n", MANY, what, other / 1e3,
           other / one, FEW, one / 1e3);
}

static double encoded_anew(void)
{
    struct obj *pod = a_pod(0);
    int64_t start = clock_thread_cpu();
    for (int i = 0; i < WRITES * 10; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
        obj_encode(pod, ENC_JSON, &b);
    }
    int64_t took = clock_thread_cpu() - start;
    obj_unref(pod);
    return (double)took / (WRITES * 10);
}

static void all_concerned(void)
{
    double few[ROUNDS], many[ROUNDS], anew[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        struct reader *all = readers_new(FEW, K(Pod), "", "");
        few[i] = round_of(20, FEW);
        readers_free(all, FEW);
        all = readers_new(MANY, K(Pod), "", "");
        many[i] = round_of(20, MANY);
        readers_free(all, MANY);
        anew[i] = encoded_anew();
    }
    double each = (median(many) - median(few)) / (MANY - FEW), frame = median(anew);
    printf("a write that %d watches are told of, each %18.2f us  = %.2f x encoding the pod (%.2f us)\n", MANY, each / 1e3,
           each / frame, frame / 1e3);
}

int main(void)
{
    struct err err = ERR;
    char dir[] = "/tmp/watch-bench-XXXXXX";
    if (!mkdtemp(dir))
        die(dir, S("cannot be made"));
    loop = loop_new(&err);
    struct server_options o = {.root = dir, .listen = "127.0.0.1:0", .memory = true, .ready = on_ready};
    server = loop ? server_start(loop, &o, &err) : NULL;
    if (!server)
        die("server", str_of(err.text));
    while (!is_ready)
        (void)loop_run_once(loop, NS_PER_S);
    (void)round_of(WRITES, 0); /* warm */
    not_concerned("other names", K(Pod), "default", "metadata.name=other-#");
    not_concerned("other namespaces", K(Pod), "other-#", "");
    not_concerned("other nodes", K(Pod), "", "spec.nodeName=other-#");
    not_concerned("other kinds", K(ConfigMap), "", "");
    all_concerned();
    server_stop(server);
    loop_free(loop);
    (void)fflush(stdout);
    (void)execlp("rm", "rm", "-r", dir, NULL);
    return 1;
}
