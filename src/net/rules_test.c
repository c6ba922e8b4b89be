#include "base/test.h"
#include "net/rules.h"

static const uint32_t vip = IP4(10, 43, 0, 10);

static struct net_service web_service(const struct net_endpoint *ep, size_t n)
{
    return (struct net_service){.ns = S("default"),
                                .name = S("web"),
                                .port = S("http"),
                                .proto = NET_TCP,
                                .port_number = 80,
                                .cluster_ips = &vip,
                                .ncluster_ips = 1,
                                .endpoints = ep,
                                .nendpoints = n};
}

static const struct net_endpoint eps[] = {{IP4(10, 42, 0, 5), 8080, true, false},
                                          {IP4(10, 42, 0, 6), 8080, true, false},
                                          {IP4(10, 42, 1, 7), 8080, false, false}};

static struct str elements_text(const struct net_service *s)
{
    static char out[4096];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(sizeof out - 1);
    struct rule_elements e = {0};
    rules_of_service(s, &e);
    array_each (it, &e.list) {
        rule_element_text(it, &b);
        strbuf_addc(&b, '\n');
    }
    array_fini(&e.list);
    (void)memcpy(out, b.n ? b.p : "", b.n);
    return (struct str){out, b.n};
}

static struct str diff_text(struct rules *r, bool take)
{
    static char out[8192];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(sizeof out - 1);
    struct rules_diff d;
    char name[RULE_CHAIN_N];
    rules_diff(r, &d);
    array_each (c, &d.chains) {
        rule_chain_name(*c, name);
        strbuf_addf(&b, "chain %s\n", name);
    }
    array_each (c, &d.changes) {
        strbuf_addz(&b, c->add && c->del ? "* " : c->add ? "+ " : "- ");
        rule_element_text(&c->e, &b);
        strbuf_addc(&b, '\n');
    }
    array_each (g, &d.gone)
        strbuf_addf(&b, "gone %u " IP4_FMT ":%u -> " IP4_FMT "%s\n", g->proto, IP4_ARG(g->ip), g->port,
                    IP4_ARG(g->endpoint.ip), g->affinity ? " affinity" : "");
    if (take)
        rules_applied(r, &d);
    else
        rules_gone_again(r, &d);
    rules_diff_fini(&d);
    (void)memcpy(out, b.n ? b.p : "", b.n);
    return (struct str){out, b.n};
}

TEST(a_service_is_a_frontend_and_its_slots)
{
    struct net_service s = web_service(eps, 2);
    CHECK_STR(elements_text(&s), S("eps tcp 10.43.0.10:80 #0 -> 10.42.0.5:8080\n"
                                   "eps tcp 10.43.0.10:80 #1 -> 10.42.0.6:8080\n"
                                   "svc tcp 10.43.0.10:80 -> s2\n"
                                   "hairpin 10.42.0.5\n"
                                   "hairpin 10.42.0.6\n"));
}

TEST(a_node_port_with_local_traffic_sees_two_worlds)
{
    struct net_service s = web_service(eps, 3);
    s.ncluster_ips = 0;
    s.node_port = 30080;
    s.external_local = true;
    s.affinity_s = 600;
    CHECK_STR(elements_text(&s), S("npeps tcp *:30080 #0 -> 10.42.0.5:8080\n"
                                   "npeps tcp *:30080 #1 -> 10.42.0.6:8080\n"
                                   "npeps tcp *:30080 #2 -> 10.42.1.7:8080\n"
                                   "np tcp *:30080 -> n3a600\n"
                                   "nplearn tcp *:30080 -> t600\n"
                                   "npeps tcp *:30080 #32768 -> 10.42.0.5:8080\n"
                                   "npeps tcp *:30080 #32769 -> 10.42.0.6:8080\n"
                                   "npx tcp *:30080 -> nx2a600\n"
                                   "hairpin 10.42.0.5\n"
                                   "hairpin 10.42.0.6\n"));
}

TEST(a_frontend_without_endpoints_is_refused)
{
    struct net_service s = web_service(NULL, 0);
    uint32_t ext = IP4(192, 0, 2, 7);
    s.external_ips = &ext;
    s.nexternal_ips = 1;
    s.node_port = 30080;
    CHECK_STR(elements_text(&s), S("dead tcp 192.0.2.7:80\nnpdead tcp *:30080\n"));
    s.endpoints = eps + 2; /* only elsewhere, and both policies ask for here */
    s.nendpoints = 1;
    s.nexternal_ips = 0;
    s.internal_local = s.external_local = true;
    CHECK_STR(elements_text(&s), S("svc tcp 10.43.0.10:80 -> accept\n"
                                   "npeps tcp *:30080 #0 -> 10.42.1.7:8080\n"
                                   "np tcp *:30080 -> n1\n"
                                   "npx tcp *:30080 -> accept\n"));
}

TEST(headless_has_no_rules)
{
    struct net_service s = web_service(eps, 2);
    s.ncluster_ips = 0;
    CHECK_STR(elements_text(&s), S(""));
}

TEST(an_endpoint_that_leaves_changes_two_elements)
{
    AUTO(rules_fini) struct rules r;
    struct err err = ERR;
    rules_init(&r);
    struct net_service s = web_service(eps, 3);
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK(str_starts(diff_text(&r, true), S("chain s3\n+ eps tcp 10.43.0.10:80 #0")));
    CHECK_STR(diff_text(&r, true), S(""));
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK_STR(diff_text(&r, true), S(""));
    struct net_endpoint left[] = {eps[0], eps[2]};
    s = web_service(left, 2);
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK_STR(diff_text(&r, false), S("chain s2\n"
                                      "* eps tcp 10.43.0.10:80 #1 -> 10.42.1.7:8080\n"
                                      "- eps tcp 10.43.0.10:80 #2 -> 10.42.1.7:8080\n"
                                      "* svc tcp 10.43.0.10:80 -> s2\n"));
    /* not taken: the kernel is read again, and still has three */
    rules_forget(&r);
    CHECK(str_starts(diff_text(&r, true), S("chain s2\n+ eps")));
    rules_del(&r, S("default"), S("web"), S("http"));
    CHECK_STR(diff_text(&r, true), S("- eps tcp 10.43.0.10:80 #0 -> 10.42.0.5:8080\n"
                                     "- eps tcp 10.43.0.10:80 #1 -> 10.42.1.7:8080\n"
                                     "- svc tcp 10.43.0.10:80 -> s2\n"));
    CHECK_INT(rules_elements(&r), 0);
    CHECK_INT(map_len(&r.slots), 1); /* the hairpin that the kernel keeps */
}

TEST(those_that_stay_keep_their_slots)
{
    AUTO(rules_fini) struct rules r;
    struct err err = ERR;
    struct net_endpoint many[50];
    rules_init(&r);
    for (int i = 0; i < 50; i++)
        many[i] = (struct net_endpoint){IP4(10, 42, 0, 10 + i), 8080, true, false};
    struct net_service s = web_service(many, 50);
    CHECK_OK(rules_put(&r, &s, &err), err);
    (void)diff_text(&r, true);
    many[0].ip = IP4(10, 42, 0, 200); /* one for another, and the list in another order */
    struct net_endpoint moved = many[1];
    many[1] = many[49];
    many[49] = moved;
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK_STR(diff_text(&r, true), S("* eps tcp 10.43.0.10:80 #0 -> 10.42.0.200:8080\n"
                                     "+ hairpin 10.42.0.200\n"));
}

TEST(an_endpoint_behind_two_services_keeps_its_hairpin)
{
    AUTO(rules_fini) struct rules r;
    struct err err = ERR;
    static const uint32_t other = IP4(10, 43, 0, 11);
    rules_init(&r);
    struct net_service a = web_service(eps, 1), b = web_service(eps, 1);
    b.name = S("web2");
    b.cluster_ips = &other;
    CHECK_OK(rules_put(&r, &a, &err), err);
    CHECK_OK(rules_put(&r, &b, &err), err);
    (void)diff_text(&r, true);
    rules_del(&r, S("default"), S("web2"), S("http"));
    CHECK(!str_has(diff_text(&r, true), S("hairpin")));
}

TEST(two_services_do_not_share_a_frontend)
{
    AUTO(rules_fini) struct rules r;
    struct err err = ERR;
    rules_init(&r);
    struct net_service a = web_service(eps, 2), b = web_service(eps + 2, 1);
    b.name = S("thief");
    CHECK_OK(rules_put(&r, &a, &err), err);
    CHECK(!rules_put(&r, &b, &err));
    CHECK(strstr(err.text, "default/thief/http") && strstr(err.text, "10.43.0.10:80"));
    CHECK(!str_has(diff_text(&r, true), S("10.42.1.7")));
    rules_del(&r, S("default"), S("web"), S("http"));
    CHECK_OK(rules_put(&r, &b, &err), err);
    CHECK(str_has(diff_text(&r, true), S("* eps tcp 10.43.0.10:80 #0 -> 10.42.1.7:8080")));
}

/* An address or a port that somebody wrote down for himself first takes nobody's ClusterIP away. */
TEST(who_comes_second_keeps_what_is_his_alone)
{
    static const struct {
        bool outer_ip, port; /* what the first has of the second's */
        const char *text, *kept;
    } rows[] = {
        {true, false, "192.0.2.7:80", "np tcp *:30080"},
        {false, true, "*:30080", "svc tcp 192.0.2.7:80"},
        {true, true, "192.0.2.7:80", "svc tcp 192.0.2.8:80"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(rules_fini) struct rules r;
        struct err err = ERR;
        rules_init(&r);
        const uint32_t thiefs = IP4(10, 43, 0, 99), outer[] = {IP4(192, 0, 2, 7), IP4(192, 0, 2, 8)};
        struct net_service a = web_service(eps, 1), b = web_service(eps + 2, 1);
        a.name = S("thief");
        a.cluster_ips = &thiefs;
        a.external_ips = outer;
        a.nexternal_ips = rows[i].outer_ip;
        a.node_port = rows[i].port ? 30080 : 0;
        b.external_ips = outer;
        b.nexternal_ips = 2;
        b.node_port = 30080;
        CHECK_OK(rules_put(&r, &a, &err), err);
        CHECK(str_starts(diff_text(&r, true), S("chain")));
        CHECK(!rules_put(&r, &b, &err));
        CHECK(strstr(err.text, "default/web/http") && strstr(err.text, rows[i].text));
        AUTO(arena_fini) struct arena a_text = ARENA;
        struct str put = str_dup(&a_text, diff_text(&r, true));
        CHECK(str_has(put, S("+ svc tcp 10.43.0.10:80 -> s1")) && str_has(put, str_of(rows[i].kept)));
        CHECK(!str_has(put, S("10.42.0.5"))); /* the first's are untouched */
        rules_del(&r, S("default"), S("thief"), S("http"));
        err = ERR;
        CHECK_OK(rules_put(&r, &b, &err), err);
        CHECK(str_has(diff_text(&r, true), str_of(rows[i].text)));
        rules_del(&r, S("default"), S("web"), S("http"));
        CHECK(!str_has(diff_text(&r, true), S("+ ")) && rules_elements(&r) == 0);
    }
}

TEST(udp_and_affinity_entries_go_with_their_endpoint)
{
    AUTO(rules_fini) struct rules r;
    struct err err = ERR;
    rules_init(&r);
    struct net_service s = web_service(eps, 2);
    s.proto = NET_UDP;
    s.node_port = 30053;
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK(str_has(diff_text(&r, true), S("gone 17 10.43.0.10:80 -> 0.0.0.0\ngone 17 0.0.0.0:30053 -> 0.0.0.0\n")));
    s.nendpoints = 1;
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK(
        str_has(diff_text(&r, true), S("gone 17 10.43.0.10:80 -> 10.42.0.6\ngone 17 0.0.0.0:30053 -> 10.42.0.6\n")));
    s.proto = NET_TCP;
    s.affinity_s = 60;
    CHECK_OK(rules_put(&r, &s, &err), err);
    (void)diff_text(&r, true);
    s.nendpoints = 0;
    CHECK_OK(rules_put(&r, &s, &err), err);
    CHECK(str_has(diff_text(&r, true), S("gone 6 10.43.0.10:80 -> 10.42.0.5 affinity")));
}

TEST(chains_have_names_that_read_back)
{
    struct rule_chain c;
    char name[RULE_CHAIN_N];
    static const char *const good[] = {"s1", "n3", "sx12", "nx2a600", "s32000a86400", "t600"};
    static const char *const bad[] = {"services", "s",   "s0",     "sa5",        "s3a0", "s3a",
                                      "x3",       "s3b", "s40000", "nat-output", ""};
    for (size_t i = 0; i < countof(good); i++) {
        CHECK(rule_chain_parse(good[i], &c));
        rule_chain_name(c, name);
        CHECK_STR(str_of(name), str_of(good[i]));
    }
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!rule_chain_parse(bad[i], &c));
}

TEST(too_many_endpoints_are_an_error)
{
    AUTO(rules_fini) struct rules r;
    struct err err = ERR;
    rules_init(&r);
    AUTO_FREE struct net_endpoint *many = mem_alloc((SERVICE_ENDPOINTS_MAX + 1) * sizeof *many);
    struct net_service s = web_service(many, SERVICE_ENDPOINTS_MAX + 1);
    CHECK(!rules_put(&r, &s, &err));
    CHECK(strstr(err.text, "at most 32000"));
}
