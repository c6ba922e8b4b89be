/* role.h - the processes of a machine. The supervisor starts one per row of `roles` (supervisor.c) and hands it the
 * settings and its sockets; each role is a main of its own. */
#pragma once
#include "cli/settings.h"

#define ROLE_SOCKETS_MAX 9
struct role_socket {
    char name[24]; /* "api", "api-unix", "dns-udp" ... */
    int fd;
};
/* What a role finds when it starts; read from its arguments and $WHERRY_SOCKETS ("name:fd,..."). */
struct role_start {
    struct settings settings;
    struct role_socket sockets[ROLE_SOCKETS_MAX];
    size_t nsockets;
};
int role_socket(const struct role_start *r, const char *name); /* -1: was not given */

/* Tells the supervisor that the role does its duty now; further calls do nothing. */
void role_ready(void);

/* The end of a role on SIGTERM. Nothing is put away that a kill would not leave behind: what was acknowledged is in
 * the log, what was begun is found by the next one, and nobody waits for connections to say goodbye. Builds with
 * sanitizers say first what has leaked. */
NORETURN void role_end(void);

/* Mains of the roles: run until SIGTERM; the answer is the exit status. */
int role_server(struct role_start *r);
int role_node(struct role_start *r);
int role_relay(struct role_start *r);
int role_dns(struct role_start *r);
int role_edge(struct role_start *r);

/* argv[0] is the role's name. -1: no role is so called. */
int role_main(int argc, char **argv);
/* Programs beside this one: wherry-shim, wherry-job. In the arena. */
struct str program_beside(struct arena *a, const char *name);
/* What belongs to the front door's HAProxy, in the edge role's own folder. In the arena. */
struct str edge_proxy_folder(struct arena *a, const struct settings *s);
/* Where uids of roles without privileges begin; see supervisor.c for which is whose. */
enum { ROLE_UID_SERVER = 64501, ROLE_UID_DNS, ROLE_UID_RELAY, ROLE_UID_EDGE };
