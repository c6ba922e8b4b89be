/* world_test.h - a small world for tests: network namespaces of the test's own, sockets in any of them, all in one
 * thread. A test that touches the network begins with world_enter(). */
#pragma once
#include "base/clock.h"
#include "base/test.h"
#include "net/link.h"
#include <netinet/in.h>

#define NODE_IP IP4(10, 42, 0, 1)
#define NO_NS   (-1)

extern const struct instance world_instance;
void world_enter(void);                                /* fresh network and mount namespaces, lo up */
void world_run(const char *fmt, ...) PRINTF(1, 2);     /* a shell command that must succeed */
struct str world_output(const char *command);          /* stdout of a shell command; static until the next call */
bool world_has(const char *command, const char *text); /* the output holds the text */

struct world_pod { /* a namespace with a routed link */
    int ns;
    uint32_t ip;
    struct pod_link link;
};
struct world_pod world_pod(uint32_t ip);

/* A socket of a namespace (NO_NS: the world's), bound; listening where it can. */
int world_listen(int ns, int type, int protocol, uint32_t ip, uint16_t port);
struct reached {
    int error;       /* errno of the client; 0: reached */
    int server;      /* which of the servers; -1: none */
    uint32_t client; /* as the server saw it */
    int fd, peer;    /* TCP: both ends, the caller's; -1 otherwise */
    int64_t ns;      /* how long it took to know */
};
/* Connects (or sends and waits for the answer, UDP) from a namespace; nothing for `patience_ms` is ETIMEDOUT. */
struct reached world_reach(int ns, int type, int protocol, uint32_t ip, uint16_t port, const int *servers, size_t n,
                           int patience_ms);
struct reached world_tcp(int ns, uint32_t ip, uint16_t port, const int *servers, size_t n); /* closes both ends */
struct reached world_udp(int ns, uint32_t ip, uint16_t port, const int *servers, size_t n);
