/* haproxy.h - one HAProxy: its files, its process, and what it is told while it runs. Knows nothing of routes: there
 * is a shape (the text of the configuration), and what changes without a reload: maps, servers, certificates.
 *
 *   struct haproxy *h = haproxy_new(loop, &config, &events, arg, &err);
 *   haproxy_shape, haproxy_map_*, haproxy_server_*, haproxy_cert_*        what is wanted; nothing happens yet
 *   haproxy_commit(h, revision)                                           files, then the socket, then `applied`
 *
 * What is wanted is kept beside what the proxy has; a commit does the difference. Files are written (whole, renamed)
 * before the socket is told, so that whatever crashes comes back to the same. A new shape is a reload with sockets
 * handed over, at most one a second; what can be told to the running proxy meanwhile is told at once. Connections of
 * the proxy before it go on until they end, or for old_most_ns.
 *
 * All texts of users are values and keys of maps: those with a line break, a NUL or over 8 KiB are refused by
 * haproxy_map_put, the rest is escaped here, for the file and for the socket. Names of maps, backends and servers are
 * the caller's own: [a-z0-9_-]{1,64}.
 *
 * Belongs to one loop; files, and the socket while it may block, are jobs. */
#pragma once
#include "base/err.h"
#include "sys/loop.h"

struct haproxy;
struct haproxy_config {
    struct str run; /* the folder: haproxy.cfg, maps/NAME, certs/NAME.pem, haproxy.sock, haproxy.pid */
    struct str program;
    int64_t old_most_ns;
};
struct haproxy_events {
    void (*applied)(void *arg, uint64_t revision);    /* everything up to this commit is in what serves */
    void (*failed)(void *arg, const struct err *err); /* tried again (0.1 s to 5 s); told once a reason */
    void (*log)(void *arg, struct str line);          /* what it wrote, a line */
};
MUST_USE struct haproxy *haproxy_new(struct loop *l, const struct haproxy_config *c, const struct haproxy_events *e,
                                     void *arg, struct err *err);
void haproxy_free(struct haproxy *h); /* it goes on serving */
/* "": no proxy is to run. Names of files in it are relative to `run`. */
void haproxy_shape(struct haproxy *h, struct str text);
MUST_USE bool haproxy_map_put(struct haproxy *h, const char *map, struct str key, struct str value, struct err *err);
void haproxy_map_del(struct haproxy *h, const char *map, struct str key);
/* The whole of a map whose order counts (patterns), exchanged at once. */
struct haproxy_entry {
    struct str key, value;
};
MUST_USE bool haproxy_map_set(struct haproxy *h, const char *map, const struct haproxy_entry *e, size_t n,
                              struct err *err);
/* A server of a backend of the shape. options: ours, f.e. "ssl verify required ca-file certs/c7.pem proto h2". */
struct haproxy_server {
    const char *backend, *name;
    struct str address; /* "10.42.0.7:8080" */
    uint32_t weight;    /* 0 to 256 */
    struct str options;
};
void haproxy_server_put(struct haproxy *h, const struct haproxy_server *s);
void haproxy_server_del(struct haproxy *h, const char *backend, const char *name); /* drained, then deleted */
/* PEM of a chain and its key, or of CAs. lists: of which crt-list it is a member, with these SNI filters. */
MUST_USE bool haproxy_cert_put(struct haproxy *h, const char *name, struct str pem, struct err *err);
void haproxy_cert_del(struct haproxy *h, const char *name);
void haproxy_list_put(struct haproxy *h, const char *list, const char *cert, struct str options, struct str hosts);
void haproxy_list_del(struct haproxy *h, const char *list, const char *cert);
void haproxy_commit(struct haproxy *h, uint64_t revision);
/* A command to its socket; fn later in the loop, also with an error. */
void haproxy_ask(struct haproxy *h, struct str command,
                 void (*fn)(void *arg, struct str answer, const struct err *err), void *arg);
