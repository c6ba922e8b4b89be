#include "net/nft_world_test.h"
#include "net/vip.h"

#define POOL_IP IP4(192, 0, 2, 50)

static bool outside_sees(const char *text)
{
    char command[200];
    (void)snprintf(command, sizeof command, "nsenter --net=/proc/%d/fd/%d ip neigh show 192.0.2.50", (int)getpid(),
                   w.outside);
    return world_has(command, text);
}

static const char *own_mac(void)
{
    static char mac[32];
    (void)snprintf(mac, sizeof mac, STR_FMT,
                   STR_ARG(str_trim(str_of(world_output("ip -br link show eth0 | awk '{print $3}'").p))));
    return mac;
}

TEST(an_address_on_lo_is_answered_for_on_the_wire)
{
    struct err err = ERR;
    struct vips vips;
    table_enter();
    int own[3] = {world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 8099), -1, -1};
    CHECK(world_tcp(w.outside, POOL_IP, 8099, own, 1).error != 0);
    CHECK_OK(vip_add(nft_config.instance, POOL_IP, &err) && vip_add(nft_config.instance, POOL_IP, &err), err);
    CHECK_OK(vip_list(nft_config.instance, &vips, &err), err);
    CHECK_INT(vips.list.n, 1);
    CHECK_INT(vips.list.p[0], POOL_IP);
    array_fini(&vips.list);
    CHECK_INT(world_tcp(w.outside, POOL_IP, 8099, own, 1).server, 0);
    CHECK(outside_sees(own_mac()));
    CHECK(!world_has("ip -4 route get 192.0.2.1", "192.0.2.50")); /* no source of what the machine sends */
    CHECK_OK(vip_del(nft_config.instance, POOL_IP, &err) && vip_del(nft_config.instance, POOL_IP, &err), err);
    CHECK_OK(vip_list(nft_config.instance, &vips, &err), err);
    CHECK_INT(vips.list.n, 0);
    fd_close(own[0]);
    table_leave();
}

TEST(who_takes_an_address_over_tells_its_neighbours)
{
    struct err err = ERR;
    static const char *const named[] = {"", "eth0", "eth1,eth0"};
    table_enter();
    for (size_t i = 0; i < countof(named); i++) {
        world_run(
            "nsenter --net=/proc/%d/fd/%d ip neigh replace 192.0.2.50 lladdr 02:00:00:00:00:01 dev wan nud stale",
            (int)getpid(), w.outside);
        CHECK_OK(vip_tell(POOL_IP, S("eth7"), &err), err);
        CHECK(outside_sees("02:00:00:00:00:01"));
        CHECK_OK(vip_tell(POOL_IP, str_of(named[i]), &err), err);
        CHECK(outside_sees(own_mac()));
    }
    table_leave();
}

TEST(a_link_that_ignores_arp_for_lo_is_named)
{
    struct err err = ERR;
    char deaf[IFNAMSIZ];
    table_enter();
    world_run("mount -t proc proc /proc"); /* settings of this namespace */
    CHECK_OK(vip_is_heard(POOL_IP, S(""), deaf, &err), err);
    CHECK_STR(str_of(deaf), S(""));
    world_run("echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_ignore");
    CHECK_OK(vip_is_heard(POOL_IP, S(""), deaf, &err), err);
    CHECK_STR(str_of(deaf), S("eth0"));
    CHECK_OK(vip_is_heard(IP4(198, 51, 100, 1), S(""), deaf, &err), err);
    CHECK_STR(str_of(deaf), S(""));
    world_run("echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_ignore; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore");
    CHECK_OK(vip_is_heard(POOL_IP, S("eth0"), deaf, &err), err);
    CHECK_STR(str_of(deaf), S("eth0"));
    table_leave();
}

TEST(what_the_machine_is_on_the_network)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    table_enter();
    CHECK_OK(link_subnets(nft_config.instance, &text, &err), err);
    CHECK_STR(strbuf_str(&text), S("eth0=192.0.2.0/24"));
    strbuf_reset(&text);
    int any = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 22);
    int loopback = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_LOOPBACK, 25);
    int dns = world_listen(NO_NS, SOCK_STREAM, 0, NODE_IP, 53);
    int datagrams = world_listen(NO_NS, SOCK_DGRAM, 0, INADDR_ANY, 68);
    int client = world_listen(NO_NS, SOCK_DGRAM, 0, INADDR_ANY, 40000);
    CHECK_OK(ports_listening(nft_config.pods, 64504, &text, &err), err);
    CHECK_STR(strbuf_str(&text), S("TCP/22,UDP/68"));
    strbuf_reset(&text);
    CHECK_OK(ports_listening(nft_config.pods, getuid(), &text, &err), err);
    CHECK_STR(strbuf_str(&text), S(""));
    fd_close(any);
    fd_close(loopback);
    fd_close(dns);
    fd_close(datagrams);
    fd_close(client);
    table_leave();
}
