/* fence_test.c - fences as data: random worlds against what policies mean, and what a change costs. */
#include "net/fence_model_test.h"

static const struct {
    uint8_t proto;
    uint16_t port;
} tried[] = {{NET_TCP, 80}, {NET_TCP, 8080}, {NET_TCP, 71}, {NET_UDP, 53}, {NET_UDP, 80}, {NET_SCTP, 80}, {1, 0}};
#define ADDRESSES (MODEL_PODS + 3)

static uint32_t model_address(size_t i)
{
    return i < MODEL_PODS ? IP4(10, 42, 0, 2) + (uint32_t)i : model_outside[i - MODEL_PODS];
}

struct answers { /* of everybody to everybody */
    bool allowed[ADDRESSES][ADDRESSES][countof(tried)];
};

static void answers_of_model(const struct model *m, struct answers *out)
{
    for (size_t i = 0; i < ADDRESSES; i++)
        for (size_t j = 0; j < ADDRESSES; j++)
            for (size_t k = 0; k < countof(tried); k++)
                out->allowed[i][j][k] = model_allows(m, model_address(i), model_address(j), tried[k].proto,
                                                     tried[k].port);
}

static void answers_check(const struct model *m, const struct answers *want, const struct fences *f,
                          const struct sim *s, const char *when)
{
    for (size_t i = 0; i < ADDRESSES; i++) {
        for (size_t j = 0; j < ADDRESSES; j++) {
            for (size_t k = 0; k < countof(tried); k++) {
                bool have = f ? fences_allow(f, model_address(i), model_address(j), tried[k].proto, tried[k].port)
                              : sim_allows(s, model_address(i), model_address(j), tried[k].proto, tried[k].port);
                if (have == want->allowed[i][j][k] || i == j)
                    continue;
                AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
                model_text(m, &b);
                test_failed(__FILE__, __LINE__, "%s, %s: " IP4_FMT " to " IP4_FMT " %u:%u should be %s\n" STR_FMT,
                            when, f ? "the fences" : "the kernel", IP4_ARG(model_address(i)),
                            IP4_ARG(model_address(j)), tried[k].proto, tried[k].port,
                            want->allowed[i][j][k] ? "allowed" : "refused", STR_ARG(strbuf_str(&b)));
            }
        }
    }
}

/* What was allowed between two that stay, and is no more, must be among what is looked at. */
static void cut_check(const struct fence_diff *d, const struct answers *was, const struct answers *now,
                      const struct model *before, const struct model *after)
{
    for (size_t i = 0; i < ADDRESSES; i++) {
        for (size_t j = 0; j < ADDRESSES; j++) {
            bool found = d->cut_all || i == j, narrower = false;
            for (size_t k = 0; k < countof(tried); k++)
                narrower |= was->allowed[i][j][k] && !now->allowed[i][j][k];
            for (int p = 0; p < MODEL_PODS; p++) { /* another pod at the address has none of the old connections */
                const struct model_pod *x = &before->pods[p], *y = &after->pods[p];
                uint32_t at[] = {model_address(i), model_address(j)};
                for (int e = 0; e < 2; e++)
                    found |= (x->there && x->ip == at[e]) != (y->there && y->ip == at[e]) ||
                             (x->ip == at[e] && x->since != y->since);
            }
            array_each (ip, &d->cut)
                found |= *ip == model_address(i) || *ip == model_address(j);
            CHECK(!narrower || found);
        }
    }
}

static void world_try(uint32_t seed, int steps)
{
    struct model m = {.seed = seed};
    struct answers want, was;
    struct sim s;
    struct fences *f = fences_new();
    sim_init(&s);
    struct fence_kernel none = {.gen = 1};
    fences_begin(f, &none);
    answers_of_model(&m, &was);
    for (int i = 0; i < steps; i++) {
        struct fence_diff d;
        struct model before = m;
        for (uint32_t n = 1 + model_draw(&m, 3); n; n--)
            model_step(&m, f);
        bool anew = model_draw(&m, 12) == 0;
        if (anew) { /* a restart, with other facts in another order */
            struct fence_kernel k;
            sim_read(&s, &k);
            fences_free(f);
            f = fences_new();
            model_put_all(&m, f);
            fences_begin(f, &k);
            fence_kernel_fini(&k);
        }
        bool whole = model_is_whole(&m);
        if (whole)
            answers_of_model(&m, &want);
        if (whole)
            answers_check(&m, &want, f, NULL, "as facts");
        bool compare = whole && model_is_whole(&before);
        fences_diff(f, &d);
        sim_run(&s, d.first.p, d.first.n, d.gen);
        if (compare)
            answers_check(&before, &was, NULL, &s, "after the first of two transactions");
        sim_run(&s, d.then.p, d.then.n, d.gen);
        sim_stale(&s, &d);
        if (whole)
            answers_check(&m, &want, NULL, &s, anew ? "after a restart" : "after a change");
        if (compare)
            cut_check(&d, &was, &want, &before, &m);
        fence_diff_fini(&d);
        was = want;
    }
    /* nothing is left of what went */
    struct sim fresh;
    struct fences *g = fences_new();
    struct fence_diff d;
    sim_init(&fresh);
    none.gen = 1;
    fences_begin(g, &none);
    model_put_all(&m, g);
    fences_diff(g, &d);
    sim_run(&fresh, d.first.p, d.first.n, d.gen);
    sim_run(&fresh, d.then.p, d.then.n, d.gen);
    fence_diff_fini(&d);
    CHECK_INT(sim_things(&s), sim_things(&fresh));
    CHECK_INT(fences_elements(f), fences_elements(g));
    sim_fini(&fresh);
    sim_fini(&s);
    fences_free(g);
    fences_free(f);
    model_fini(&m);
}

TEST(random_worlds_are_fenced_as_policies_say)
{
    const char *storm = getenv("STORM");
    for (uint32_t seed = 1; seed <= (storm ? 500 : 25); seed++)
        world_try(seed, 40);
}

/* ---- policies that nobody writes in earnest ---- */

static void list_add_numbered(struct strbuf *b, const char *format, int n)
{
    for (int i = 0; i < n; i++) {
        strbuf_addz(b, i ? "," : "");
        for (const char *p = format; *p; p++) {
            if (*p == '#')
                strbuf_addf(b, "%d", i);
            else if (*p == '@')
                strbuf_addf(b, "%d.%d.%d", i >> 16 & 255, i >> 8 & 255, i & 255);
            else if (*p == '%')
                strbuf_addf(b, "%d", 1 + i * 2);
            else
                strbuf_addc(b, *p);
        }
    }
}

static bool hostile_put(struct fences *f, const char *rule, const char *format, int n, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8 << 20);
    const char *at = strchr(rule, '*');
    strbuf_addf(&b, "{'podSelector':{},'ingress':[%.*s", (int)(at - rule), rule);
    list_add_numbered(&b, format, n);
    strbuf_addf(&b, "%s]}", at + 1);
    AUTO(obj_unref) struct obj *o = fence_policy_obj("default", "hostile", b.p);
    return fences_put_policy(f, o, err);
}

TEST(hostile_policies_cost_little_and_are_refused_with_a_sentence)
{
    static const struct {
        const char *rule, *format;
        int n;
        const char *refused; /* NULL: it can be enforced */
        size_t ops;          /* at most */
    } cases[] = {
        {"{'ports':[*]}", "{'port':%}", 10000, NULL, 10100},
        {"{'ports':[*]}", "{'port':%}", 20000, "has 20000 ranges of ports and at most 16384", 100},
        {"{'ports':[*]}", "{'port':%,'endPort':65535}", 30000, NULL, 100},
        {"{'from':[*]}", "{'ipBlock':{'cidr':'11.@/32'}}", 60000, NULL, 100}, /* neighbours are one range */
        {"{'from':[*]}", "{'ipBlock':{'cidr':'11.@/31'}}", 60000, NULL, 100}, /* as are those that overlap */
        {"{'from':[{'ipBlock':{'cidr':'11.0.0.0/8','except':[*]}}]}", "'11.@/32'", 60000, NULL, 100},
        {"{'from':[{'ipBlock':{'cidr':'0.0.0.0/0','except':['0.0.0.0/0',*]}}]}", "'11.@/32'", 1, NULL, 100},
        {"{'from':[*]}", "{'podSelector':{'matchLabels':{'a':'#'}}}", 2000, NULL, 4100},
        {"{'from':[*]}", "{'podSelector':{'matchLabels':{'a':'#'}}}", 100000, "peers and at most 2048", 100},
        {"{'from':[{'podSelector':{'matchExpressions':[{'key':'a','operator':'In','values':[*]}]}}]}", "'#'", 100000,
         "values of one selector and at most 1024", 100},
        {"{'ports':[*],'from':[{'podSelector':{}},{'namespaceSelector':{}}]}", "{'port':'p#'}", 3000,
         "pairs of peers and ports by name", 100},
        {"*", "{'from':[{'podSelector':{'matchLabels':{'a':'#'}}}]}", 5000, "with the rules before it", 100},
    };
    struct fences *f = fences_new();
    fences_begin(f, &(struct fence_kernel){.gen = 1});
    put_ns(f, "default", "{}");
    put_pod(f, "default", "web", IP4(10, 42, 0, 2), "{'a':'1'}");
    put_pod(f, "default", "client", IP4(10, 42, 0, 3), "{'a':'2'}");
    for (size_t i = 0; i < countof(cases); i++) {
        struct err err = ERR;
        struct fence_diff d;
        bool ok = hostile_put(f, cases[i].rule, cases[i].format, cases[i].n, &err);
        if (ok != !cases[i].refused || (!ok && !strstr(err.text, cases[i].refused)))
            test_failed(__FILE__, __LINE__, "%s of %s: %s", cases[i].rule, cases[i].format, err.text);
        fences_diff(f, &d);
        CHECK(d.first.n + d.then.n <= cases[i].ops);
        fence_diff_fini(&d);
        CHECK(ok || !fences_allow(f, IP4(10, 42, 0, 3), IP4(10, 42, 0, 2), NET_TCP, 80)); /* isolated all the same */
        fences_del_policy(f, S("default"), S("hostile"));
        fences_diff(f, &d);
        fence_diff_fini(&d);
        CHECK_INT(fences_elements(f), 0);
    }
    fences_free(f);
}

/* News of a pod that is over may come after its address was given to another. */
TEST(an_address_is_of_whom_it_was_given_last)
{
    struct fences *f = fences_new();
    fences_begin(f, &(struct fence_kernel){.gen = 1});
    put_ns(f, "default", "{}");
    put_pod(f, "default", "web", IP4(10, 42, 0, 2), "{'app':'web'}");
    put_policy(f, "default", "p",
               "{'podSelector':{'matchLabels':{'app':'web'}},'ingress':[{'from':[{'podSelector':"
               "{'matchLabels':{'app':'client'}}}]}]}");
    put_pod(f, "default", "client", IP4(10, 42, 0, 3), "{'app':'client'}");
    CHECK(fences_allow(f, IP4(10, 42, 0, 3), IP4(10, 42, 0, 2), NET_TCP, 80));
    put_pod(f, "default", "other", IP4(10, 42, 0, 3), "{'app':'other'}");
    for (int i = 0; i < 3; i++) {
        const char *labels[] = {"{'app':'client'}", "{'app':'client','v':'2'}"};
        CHECK(!fences_allow(f, IP4(10, 42, 0, 3), IP4(10, 42, 0, 2), NET_TCP, 80));
        fences_put_pod(f,
                       &(struct fence_pod){.uid = S("default/client"), /* of another namespace: never, but it may */
                                           .ns = S("elsewhere"),
                                           .name = S("client"),
                                           .labels = fence_val(labels[0]),
                                           .ip = IP4(10, 42, 0, 3),
                                           .local = true});
        put_pod(f, "default", "client", IP4(10, 42, 0, 3), labels[i % 2]);
    }
    CHECK(!fences_allow(f, IP4(10, 42, 0, 3), IP4(10, 42, 0, 2), NET_TCP, 80));
    fences_del_pod(f, S("default/other"));
    put_pod(f, "default", "client", IP4(10, 42, 0, 3), "{'app':'client'}");
    CHECK(fences_allow(f, IP4(10, 42, 0, 3), IP4(10, 42, 0, 2), NET_TCP, 80));
    fences_free(f);
}

TEST(what_changes_nothing_costs_nothing)
{
    struct fences *f = fences_new();
    fences_begin(f, &(struct fence_kernel){.gen = 1});
    struct fence_diff d;
    for (int i = 0; i < 3; i++) {
        put_ns(f, "default", "{}");
        put_pod(f, "default", "web", IP4(10, 42, 0, 2), "{'a':'1'}");
        put_policy(f, "default", "p",
                   "{'podSelector':{},'ingress':[{'from':[{'podSelector':{}}],'ports':[{'port':80}]}]}");
        put_policy(f, "elsewhere", "p", "{'podSelector':{},'egress':[{'to':[{'namespaceSelector':{}}]}]}");
        fences_diff(f, &d);
        CHECK(i == 0 ? !fence_diff_empty(&d) : fence_diff_empty(&d) && !d.cut.n);
        fence_diff_fini(&d);
    }
    put_pod(f, "elsewhere", "x", IP4(10, 42, 0, 9), "{'a':'1'}"); /* now its policy is needed here */
    fences_diff(f, &d);
    CHECK(d.first.n > 0);
    CHECK_INT(d.cut.n, 0); /* nothing runs to a pod that is new */
    fence_diff_fini(&d);
    fences_free(f);
}

/* ---- what a change costs ---- */

static void crowd_pod(struct fences *f, int i, const char *label)
{
    char ns[16], name[16], labels[64];
    (void)snprintf(ns, sizeof ns, "ns%d", i / 10);
    (void)snprintf(name, sizeof name, "p%d", i);
    (void)snprintf(labels, sizeof labels, "{'app':'app%d','role':'%s'}", i / 5, label);
    put_pod(f, ns, name, IP4(10, 42, 0, 2) + (uint32_t)i, labels);
}

static void crowd_policy(struct fences *f, int i, const char *name, int port)
{
    char ns[16], spec[300];
    (void)snprintf(ns, sizeof ns, "ns%d", i / 2);
    (void)snprintf(
        spec, sizeof spec,
        "{'podSelector':{'matchLabels':{'app':'app%d'}},'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':"
        "'app%d','role':'client'}}}],'ports':[{'port':%d}]}]}",
        i, i, port);
    put_policy(f, ns, name, spec);
}

static size_t crowd_ops(struct fences *f)
{
    struct fence_diff d;
    fences_diff(f, &d);
    size_t n = d.first.n + d.then.n;
    fence_diff_fini(&d);
    return n;
}

/* The same pod and policy in the midst of n policies and five times as many pods. */
static void crowd_costs(int n, size_t costs[5])
{
    struct fences *f = fences_new();
    fences_begin(f, &(struct fence_kernel){.gen = 1});
    for (int i = 0; i < n * 5; i++)
        crowd_pod(f, i, i % 5 ? "client" : "web");
    for (int i = 0; i < n; i++)
        crowd_policy(f, i, "p", 80);
    CHECK(crowd_ops(f) > (size_t)n * 10);
    crowd_pod(f, 8, "other");
    costs[0] = crowd_ops(f);
    fences_del_pod(f, S("ns0/p8"));
    costs[1] = crowd_ops(f);
    crowd_pod(f, 8, "client");
    costs[2] = crowd_ops(f);
    crowd_policy(f, 1, "p", 81);
    costs[3] = crowd_ops(f);
    crowd_policy(f, 1, "q", 82);
    costs[4] = crowd_ops(f);
    fences_free(f);
}

TEST(a_change_costs_among_a_thousand_what_it_does_among_ten)
{
    size_t few[5], many[5];
    crowd_costs(10, few);
    crowd_costs(1000, many);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(many[i], few[i]);
        CHECK(few[i] > 0 && few[i] < 50);
    }
}
