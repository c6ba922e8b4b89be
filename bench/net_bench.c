/* net_bench.c - what the service rules cost, beside the nft program in the same network namespace in the same run.
 *   make bench-net; build/release/bench-net        (as root; works in a network namespace of its own)
 *
 * load        1,000 Services with five endpoints: from nothing, by our own messages; the same elements by nft -f
 * resync      reading all of it back and comparing
 * endpoint    one endpoint replaced by another, until the kernel has answered; the same change by a nft process
 * link        a pod's pair of links, made and configured */
#include "base/clock.h"
#include "net/dataplane.h"
#include "sys/child.h"
#include <sched.h>

enum { SERVICES = 1000, ENDPOINTS = 5, RUNS = 200, NFT_RUNS = 20, LINKS = 30 };

static NORETURN void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double report(const char *what, int64_t *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, by_size);
    printf("%-44s min %8.3f  median %8.3f  max %8.3f ms\n", what, (double)ns[0] / 1e6, (double)ns[n / 2] / 1e6,
           (double)ns[n - 1] / 1e6);
    return (double)ns[n / 2];
}

static void put(struct rules *r, int i, uint32_t first)
{
    char name[32];
    struct err err = ERR;
    uint32_t vip = IP4(10, 43, 0, 0) + 16 + (uint32_t)i;
    struct net_endpoint eps[ENDPOINTS];
    (void)snprintf(name, sizeof name, "s%d", i);
    for (int j = 0; j < ENDPOINTS; j++)
        eps[j] = (struct net_endpoint){IP4(10, 42, 0, 0) + (uint32_t)(i * ENDPOINTS + j) % 60000 + 2, 8080, true,
                                       false};
    if (first)
        eps[0].ip = first;
    struct net_service s = {.ns = S("default"),
                            .name = str_of(name),
                            .port = S("http"),
                            .proto = NET_TCP,
                            .port_number = 80,
                            .cluster_ips = &vip,
                            .ncluster_ips = 1,
                            .endpoints = eps,
                            .nendpoints = ENDPOINTS};
    if (!rules_put(r, &s, &err))
        die("put", &err);
}

static void commit(struct nft *n, struct rules *r, bool read)
{
    struct err err = ERR;
    if (!rules_commit(n, r, read, NULL, &err))
        die("commit", &err);
}

/* The same elements as nft's own language has them, into a table of its own. */
static void nft_text(struct strbuf *b)
{
    strbuf_addz(b, "table ip peer {\n map eps { typeof meta l4proto . ip daddr . th dport . numgen random mod 65536 "
                   ": ip daddr . th dport; }\n"
                   " map svc { typeof meta l4proto . ip daddr . th dport : verdict; }\n chain s5 { }\n}\nadd element "
                   "ip peer eps { ");
    for (int i = 0; i < SERVICES; i++)
        for (int j = 0; j < ENDPOINTS; j++) {
            uint32_t vip = IP4(10, 43, 0, 0) + 16 + (uint32_t)i,
                     ep = IP4(10, 42, 0, 0) + (uint32_t)(i * ENDPOINTS + j) % 60000 + 2;
            strbuf_addf(b, "%stcp . " IP4_FMT " . 80 . %d : " IP4_FMT " . 8080", i || j ? ", " : "", IP4_ARG(vip), j,
                        IP4_ARG(ep));
        }
    strbuf_addz(b, " }\nadd element ip peer svc { ");
    for (int i = 0; i < SERVICES; i++)
        strbuf_addf(b, "%stcp . " IP4_FMT " . 80 : goto s5", i ? ", " : "",
                    IP4_ARG(IP4(10, 43, 0, 0) + 16 + (uint32_t)i));
    strbuf_addz(b, " }\n");
}

static void nft(struct str text)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    if (!command_run((const char *[]){"nft", "-f", "-", NULL}, text, &out, 60000, &err))
        die("nft", &err);
}

int main(void)
{
    static const struct rules_config config = {
        {"bench"}, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24}, {IP4(10, 43, 0, 0), 16}, 0};
    struct nft n;
    struct rules r;
    struct err err = ERR;
    int64_t ns[RUNS];
    if (unshare(CLONE_NEWNET) < 0 || !nft_open(&n, &config, &err)) {
        (void)err_errno(&err, "network namespace (root?)");
        die("start", &err);
    }
    rules_init(&r);
    commit(&n, &r, true);

    int64_t start = clock_mono();
    for (int i = 0; i < SERVICES; i++)
        put(&r, i, 0);
    int64_t planned = clock_mono();
    commit(&n, &r, false);
    int64_t ours = clock_mono() - start;
    printf("%d Services x %d endpoints, %zu elements\n", SERVICES, ENDPOINTS, rules_elements(&r));
    printf("%-44s %.1f ms (of that %.1f ms deciding)\n", "load, our messages", (double)ours / 1e6,
           (double)(planned - start) / 1e6);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(8 << 20);
    nft_text(&text);
    start = clock_mono();
    nft(strbuf_str(&text));
    int64_t peer = clock_mono() - start;
    printf("%-44s %.1f ms   ratio %.2f\n", "load, nft -f", (double)peer / 1e6, (double)ours / (double)peer);

    start = clock_mono();
    commit(&n, &r, true);
    printf("%-44s %.1f ms\n", "resync: read all, nothing to do", (double)(clock_mono() - start) / 1e6);

    for (int i = 0; i < RUNS; i++) {
        start = clock_mono();
        put(&r, i % SERVICES, IP4(10, 42, 200, 0) + (uint32_t)i % 200);
        commit(&n, &r, false);
        ns[i] = clock_mono() - start;
    }
    double change = report("one endpoint for another, our messages", ns, RUNS);
    for (int i = 0; i < NFT_RUNS; i++) {
        AUTO(strbuf_fini) struct strbuf one = STRBUF(STRBUF_TEXT);
        uint32_t vip = IP4(10, 43, 0, 0) + 16 + (uint32_t)i;
        strbuf_addf(&one,
                    "delete element ip peer eps { tcp . " IP4_FMT " . 80 . 0 }\n"
                    "add element ip peer eps { tcp . " IP4_FMT " . 80 . 0 : 10.42.201.%d . 8080 }\n",
                    IP4_ARG(vip), IP4_ARG(vip), i + 1);
        start = clock_mono();
        nft(strbuf_str(&one));
        ns[i] = clock_mono() - start;
    }
    printf("ratio %.4f\n", change / report("one endpoint for another, nft process", ns, NFT_RUNS));

    for (int i = 0; i < LINKS; i++) {
        struct pod_link link;
        start = clock_mono();
        AUTO(fd_close) int pod = netns_new(&err);
        struct pod_link_spec spec = {
            .instance = config.instance, .ip = IP4(10, 42, 0, 2) + (uint32_t)i, .netns_fd = pod};
        if (pod < 0 || !pod_link_add(&spec, &link, &err))
            die("link", &err);
        ns[i] = clock_mono() - start;
    }
    (void)report("a pod's namespace and links", ns, LINKS);
    rules_fini(&r);
    nft_close(&n);
    return 0;
}
