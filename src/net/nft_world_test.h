/* nft_world_test.h - a table of service rules, three pods that serve on port 8080, and somebody outside: for tests.
 */
#pragma once
#include "net/dataplane.h"
#include "net/network.h"
#include "net/nft.h"
#include "net/world_test.h"

extern const struct rules_config nft_config;
extern const uint32_t vip, vip2;

struct nft_world {
    struct nft nft;
    struct rules rules;
    struct world_pod pods[3];
    struct net_endpoint eps[3];
    int servers[3], udp[3];
    int outside; /* a namespace beyond eth0 (192.0.2.2), at 192.0.2.1 */
};
extern struct nft_world w;

void table_enter(void);
void table_leave(void);
struct net_service web_service(size_t n);         /* default/web, with that many endpoints */
void service_commit(const struct net_service *s); /* NULL: what else was changed */
void check_reached(struct reached r, const char *what);
void check_refused(struct reached r, const char *what);

#define TCP(ns, ip, port) world_tcp(ns, ip, port, w.servers, 3)
#define UDP(ns, ip, port) world_udp(ns, ip, port, w.udp, 3)
