/* fence_bench.c - what fences between pods cost, in network namespaces of its own.
 *   make bench-fence; build/release/bench-fence        (as root)
 *
 * change      one thing changes among 10 policies and 50 pods, and among 1,000 and 5,000, of which 250 or all are on
 *             this node, in namespaces of ten or all in one: operations for the kernel (elements, rules, sets), time
 *             until they are decided, and until the kernel has them
 * load        a new generation of all of it
 * stream      what one TCP connection between two pods carries with 0, 10 and 1,000 policies, in turns
 * connects    connections between them that begin and end, a second, the same */
#include "api/codec.h"
#include "base/clock.h"
#include "net/fence_nft.h"
#include "net/ranges.h"
#include "net/service.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { RUNS = 200, TURNS = 5, STREAM_MS = 700 };

static const struct rules_config config = {
    {"be4c4"}, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24}, {IP4(10, 43, 0, 0), 16}, 0};
static struct arena forever;

static NORETURN void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static const struct val *json(const char *fmt, ...) PRINTF(1, 2);
static const struct val *json(const char *fmt, ...)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    struct val *v = ARENA_NEW(&forever, struct val);
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(&b, fmt, args);
    va_end(args);
    for (char *p = b.p; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    if (!json_decode(&forever, strbuf_str(&b), v, &err))
        die(b.p, &err);
    return v;
}

/* ---- a world of a size ---- */

struct world {
    struct fences *f;
    int policies, pods, per_namespace, local;
};

static struct str ns_name(char buf[32], int i)
{
    (void)snprintf(buf, 32, "ns%d", i);
    return str_of(buf);
}

static const struct val *pod_labels(int i, int version)
{
    return json("{'app':'app%d','version':'v%d'}", i / 5, version);
}

static void pod_put(struct world *w, int i, const struct val *labels)
{
    char ns[32], uid[32];
    struct fence_port port = {S("http"), NET_TCP, 8080};
    (void)snprintf(uid, sizeof uid, "u%d", i);
    fences_put_pod(w->f, &(struct fence_pod){.uid = str_of(uid),
                                             .ns = ns_name(ns, i / w->per_namespace),
                                             .name = str_of(uid),
                                             .labels = labels,
                                             .ip = IP4(10, 42, 0, 2) + (uint32_t)i,
                                             .local = i < w->local,
                                             .ports = &port,
                                             .nports = 1});
}

static void pod_del(struct world *w, int i)
{
    char uid[32];
    (void)snprintf(uid, sizeof uid, "u%d", i);
    fences_del_pod(w->f, str_of(uid));
}

/* Each is for the five pods of one app: its own app, the monitoring, addresses, and a port that changes. */
static struct obj *policy_make(struct world *w, int i, int port, bool own)
{
    char ns[32], name[32];
    struct val tree = val_map();
    (void)snprintf(name, sizeof name, "p%d%s", i, own ? "" : "x");
    struct val *meta = val_need_map(&forever, &tree, N(metadata));
    val_set_text(&forever, meta, N(name), str_of(name));
    val_set_text(&forever, meta, N(namespace), ns_name(ns, i * 5 / w->per_namespace));
    val_set(&forever, &tree, N(spec),
            *json("{'podSelector':{'matchLabels':{'app':'app%d'}},'policyTypes':['Ingress','Egress'],'ingress':[{'from':"
                  "[{'podSelector':{'matchLabels':{'app':'app%d'}}},{'namespaceSelector':{'matchLabels':{'role':"
                  "'monitoring'}}},{'ipBlock':{'cidr':'192.0.2.0/24','except':['192.0.2.64/26']}}],'ports':[{'port':"
                  "'http'},{'port':%d}]}],'egress':[{'to':[{'podSelector':{}}]}]}",
                  i, i, port));
    return obj_new(K(NetworkPolicy), &tree, 1);
}

static void policy_put(struct world *w, struct obj *own_policy)
{
    struct err err = ERR;
    if (!fences_put_policy(w->f, own_policy, &err))
        die("policy", &err);
    obj_unref(own_policy);
}

static void policy_del(struct world *w, int i)
{
    char ns[32], name[32];
    (void)snprintf(name, sizeof name, "p%dx", i);
    fences_del_policy(w->f, ns_name(ns, i * 5 / w->per_namespace), str_of(name));
}

static void world_fill(struct world *w)
{
    w->f = fences_new();
    for (int i = 0; i <= (w->pods - 1) / w->per_namespace; i++) {
        char ns[32];
        fences_put_namespace(w->f, ns_name(ns, i), json("{'kubernetes.io/metadata.name':'ns%d'}", i));
    }
    fences_put_namespace(w->f, S("monitoring"), json("{'role':'monitoring'}"));
    for (int i = 0; i < w->pods; i++)
        pod_put(w, i, pod_labels(i, 0));
    for (int i = 0; i < w->policies; i++)
        policy_put(w, policy_make(w, i, 80, true));
}

/* ---- changes ---- */

enum { POD_COMES, POD_GOES, POD_LABEL, POLICY_PORT, POLICY_COMES, POLICY_GOES, CHANGES };
static const char *const change_names[] = {"a pod comes",    "a pod goes",     "a pod's label changes",
                                           "a policy's port", "a policy comes", "a policy goes"};

struct change {
    int what, pod, policy;
    const struct val *labels;
    struct obj *obj;
};

static struct change change_prepare(struct world *w, int what, int i)
{
    struct change c = {.what = what, .pod = i * 7 % w->local, .policy = i * 7 % (w->local / 5)};
    if (what == POD_COMES || what == POD_LABEL)
        c.labels = pod_labels(c.pod, what == POD_LABEL ? i + 1 : 0);
    if (what == POLICY_PORT || what == POLICY_COMES)
        c.obj = policy_make(w, c.policy, what == POLICY_PORT ? 1000 + i : 80, what == POLICY_PORT);
    return c;
}

static void change_make(struct world *w, const struct change *c)
{
    switch (c->what) {
    case POD_COMES:
    case POD_LABEL: pod_put(w, c->pod, c->labels); break;
    case POD_GOES: pod_del(w, c->pod); break;
    case POLICY_PORT:
    case POLICY_COMES: policy_put(w, c->obj); break;
    case POLICY_GOES: policy_del(w, c->policy); break;
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

struct cost {
    double ops, decide_us, kernel_us;
};

/* before, after: what is done each time so that there is something to change */
static struct cost change_measure(struct world *w, struct nft *n, int before, int what, int after)
{
    static int64_t decide[RUNS], kernel[RUNS];
    const int order[] = {before, what, after};
    size_t ops = 0;
    for (int i = 0; i < RUNS; i++) {
        for (size_t k = 0; k < countof(order); k++) {
            struct fence_diff d;
            struct err err = ERR;
            if (order[k] < 0)
                continue;
            struct change c = change_prepare(w, order[k], i);
            int64_t start = clock_mono();
            change_make(w, &c);
            fences_diff(w->f, &d);
            int64_t decided = clock_mono();
            if (!fence_nft_apply(n, &d, &err))
                die(change_names[c.what], &err);
            if (order[k] == what) {
                decide[i] = decided - start;
                kernel[i] = clock_mono() - decided;
                ops += d.first.n + d.then.n;
            }
            fence_diff_fini(&d);
        }
    }
    qsort(decide, RUNS, sizeof *decide, by_size);
    qsort(kernel, RUNS, sizeof *kernel, by_size);
    return (struct cost){(double)ops / RUNS, (double)decide[RUNS / 2] / 1e3, (double)kernel[RUNS / 2] / 1e3};
}

static void world_load(struct world *w, struct nft *n)
{
    struct fence_kernel k;
    struct fence_diff d;
    struct err err = ERR;
    if (!fence_nft_load(n, &k, &err))
        die("load", &err);
    fences_begin(w->f, &k);
    fence_kernel_fini(&k);
    fences_diff(w->f, &d);
    if (!fence_nft_apply(n, &d, &err))
        die("load", &err);
    fence_diff_fini(&d);
}

static void world_measure(struct world *w, struct nft *n, struct cost out[CHANGES])
{
    static const int around[CHANGES][2] = {{POD_GOES, -1}, {-1, POD_COMES}, {-1, -1},
                                           {-1, -1},       {-1, POLICY_GOES}, {POLICY_COMES, -1}};
    int64_t start = clock_mono();
    world_fill(w);
    int64_t filled = clock_mono();
    world_load(w, n);
    printf("%d policies, %d pods, %d of them here, %d a namespace: facts %.1f ms, load %.1f ms, %zu elements\n",
           w->policies, w->pods, w->local, w->per_namespace, (double)(filled - start) / 1e6,
           (double)(clock_mono() - filled) / 1e6, fences_elements(w->f));
    for (int i = 0; i < CHANGES; i++)
        out[i] = change_measure(w, n, around[i][0], i, around[i][1]);
    fences_free(w->f);
}

static void changes_report(struct nft *n)
{
    static const struct world worlds[] = {{NULL, 10, 50, 10, 50},
                                          {NULL, 1000, 5000, 10, 250},
                                          {NULL, 1000, 5000, 5000, 250},
                                          {NULL, 1000, 5000, 10, 5000}};
    static const char *const titles[] = {"10 x 50", "1,000 x 5,000", "in one namespace", "all here"};
    struct cost costs[countof(worlds)][CHANGES];
    struct err err = ERR;
    for (size_t i = 0; i < countof(worlds); i++) {
        struct world w = worlds[i];
        if (!fence_nft_unload(n, &err))
            die("unload", &err);
        world_measure(&w, n, costs[i]);
    }
    printf("%-24s", "policies x pods");
    for (size_t i = 0; i < countof(worlds); i++)
        printf("%22s", titles[i]);
    printf("\n%-24s", "");
    for (size_t i = 0; i < countof(worlds); i++)
        printf("   %5s %6s %6s", "ops", "us", "kernel");
    for (int c = 0; c < CHANGES; c++) {
        printf("\n%-24s", change_names[c]);
        for (size_t i = 0; i < countof(worlds); i++)
            printf("   %5.1f %6.1f %6.0f", costs[i][c].ops, costs[i][c].decide_us, costs[i][c].kernel_us);
    }
    printf("\n");
}

/* ---- two pods ---- */

static int pod_ns[2];
static const uint32_t pod_ip[2] = {IP4(10, 42, 0, 2), IP4(10, 42, 0, 3)};

static int socket_in(int ns)
{
    struct err err = ERR;
    int home = netns_enter(ns, &err), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (home < 0 || fd < 0)
        die("socket", &err);
    netns_leave(home);
    fd_close(home);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* else a later run waits */
    return fd;
}

static struct sockaddr_in server_at(void)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(pod_ip[1])};
}

static volatile bool is_over;

static void *stream_send(void *arg)
{
    static char block[1 << 17];
    int fd = *(int *)arg;
    while (!is_over && send(fd, block, sizeof block, MSG_NOSIGNAL) > 0)
        ;
    (void)shutdown(fd, SHUT_WR); /* it may be over already */
    return NULL;
}

static int server_open(void)
{
    int fd = socket_in(pod_ns[1]);
    struct sockaddr_in a = server_at();
    struct err err = ERR;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 512) < 0)
        die("listen", (err_errno(&err, "server"), &err));
    return fd;
}

static int client_open(void)
{
    int fd = socket_in(pod_ns[0]);
    struct sockaddr_in a = server_at();
    struct err err = ERR;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        die("connect", (err_errno(&err, "client"), &err));
    return fd;
}

static double stream_gbits(int server)
{
    static char block[1 << 17];
    pthread_t t;
    int client = client_open(), peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    int64_t bytes = 0, start = clock_mono(), end = start + STREAM_MS * NS_PER_MS;
    is_over = false;
    if (pthread_create(&t, NULL, stream_send, &client) != 0)
        exit(1);
    while (clock_mono() < end) {
        ssize_t n = recv(peer, block, sizeof block, 0);
        bytes += n > 0 ? n : 0;
    }
    double seconds = (double)(clock_mono() - start) / 1e9;
    is_over = true;
    while (recv(peer, block, sizeof block, 0) > 0)
        ;
    (void)pthread_join(t, NULL);
    fd_close(client);
    fd_close(peer);
    return (double)bytes * 8 / seconds / 1e9;
}

static double connects_each_second(int server)
{
    struct linger reset = {1, 0}; /* no TIME_WAIT, of which there would be too many */
    int64_t start = clock_mono(), end = start + STREAM_MS * NS_PER_MS, n = 0;
    for (; clock_mono() < end; n++) {
        int client = client_open(), peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        (void)setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset); /* only slower without */
        fd_close(client);
        fd_close(peer);
    }
    return (double)n * 1e9 / (double)(clock_mono() - start);
}

static double median_of(double *x)
{
    for (int i = 0; i < TURNS; i++)
        for (int j = i + 1; j < TURNS; j++)
            if (x[j] < x[i]) {
                double t = x[i];
                x[i] = x[j];
                x[j] = t;
            }
    return x[TURNS / 2];
}

static void traffic_report(struct nft *n)
{
    static const int sizes[] = {0, 10, 1000};
    double gbits[countof(sizes)][TURNS], connects[countof(sizes)][TURNS];
    int server = server_open();
    for (int turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < countof(sizes); i++) {
            struct world w = {NULL, sizes[i], sizes[i] * 5, 10, sizes[i] * 5 > 250 ? 250 : sizes[i] * 5};
            struct err err = ERR;
            if (!fence_nft_unload(n, &err))
                die("unload", &err);
            world_fill(&w);
            if (sizes[i])
                world_load(&w, n);
            gbits[i][turn] = stream_gbits(server);
            connects[i][turn] = connects_each_second(server);
            fences_free(w.f);
        }
    }
    printf("%-26s %10s %10s %10s\n", "policies", "0", "10", "1,000");
    printf("%-26s", "stream, Gbit/s");
    for (size_t i = 0; i < countof(sizes); i++)
        printf(" %10.2f", median_of(gbits[i]));
    printf("\n%-26s", "connects a second");
    for (size_t i = 0; i < countof(sizes); i++)
        printf(" %10.0f", median_of(connects[i]));
    printf("\n");
    fd_close(server);
}

static void pods_make(void)
{
    struct err err = ERR;
    static const struct ranges r = {{"be4c4"}, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24},
                                    {IP4(10, 43, 0, 0), 16}, "/tmp/fence-bench-settings"};
    if (!ranges_up(&r, &err))
        die("ranges", &err);
    for (int i = 0; i < 2; i++) {
        struct pod_link link;
        pod_ns[i] = netns_new(&err);
        struct pod_link_spec spec = {
            .instance = config.instance, .ip = pod_ip[i], .node_ip = IP4(10, 42, 0, 1), .netns_fd = pod_ns[i]};
        if (pod_ns[i] < 0 || !pod_link_add(&spec, &link, &err))
            die("pod", &err);
    }
}

int main(void)
{
    struct nft n;
    struct err err = ERR;
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) < 0 || !nft_open(&n, &config, &err)) {
        (void)err_errno(&err, "network namespace (root?)");
        die("start", &err);
    }
    changes_report(&n);
    pods_make();
    traffic_report(&n);
    (void)unlink("/tmp/fence-bench-settings"); /* of a namespace that ends with us */
    nft_close(&n);
    return 0;
}
