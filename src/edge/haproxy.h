/* haproxy.h - one HAProxy: its files, its process, and what it is told while it runs. Knows nothing of routes: there
 * is a shape (the text of the configuration), and what changes without a reload: maps, servers, certificates.
 *
 *   struct haproxy *h = haproxy_new(loop, &config, &events, arg, &err);
 *   haproxy_shape, haproxy_map_*, haproxy_server_*, haproxy_cert_*        what is wanted; nothing happens yet
 *   haproxy_commit(h, revision)                                           then `applied`; in the same turn of the
 * loop
 *
 * What is wanted is kept beside what the proxy has; a commit tells it the difference over its socket and costs what
 * changed. Files are written before a start, which is the only time they are read; a new shape is a start beside the
 * old process with its sockets handed over (at most one a second), and until that one answers the old one goes on and
 * is told what it can be told. Then the old one takes no more connections; those it has go on until they end, or for
 * old_most_ns. What the socket refuses is tried once more, then there is a start from files too.
 *
 * A socket that cannot be bound is left out, told of (`failed`), and bound as soon as it can be; the rest serves.
 *
 * What holds when something is killed:
 *   this process   HAProxy goes on; the next haproxy_new finds it, and after the first commit reads back what it has
 *                  (its maps, its servers; marks of the rest in a map of its own), so that only differences are told.
 *   HAProxy        is started again at once. We have copies of its listening sockets (it hands them out itself), so
 *                  who connects meanwhile waits; connections that it had are lost.
 *   both           connections are refused until this process has started it.
 *
 * All texts of users are keys and values of maps: haproxy_map_put refuses what HAProxy's files cannot hold (see
 * there), the rest is escaped here. Names of maps, lists, certificates, backends and servers are the caller's own:
 * [a-z0-9][a-z0-9_-]{0,63}.
 *
 * The shape has no section `global` but for tune.*: process and logging are set here. It names maps as maps/NAME,
 * lists of certificates as lists/NAME, certificates as certs/NAME.pem (all of what is put, whenever; a file that
 * nobody has put anything into is there and empty). A line that is not indented begins a section; servers are added
 * at the end of `backend NAME`, whose balance must be a dynamic one (roundrobin, leastconn, random, or hash-type
 * consistent). A certificate for who names no host that is known stands in the bind line before the list ("ssl crt
 * certs/none.pem crt-list lists/https"): the first one cannot be taken away without a reload.
 *
 * Measured with 2.6.12: a server that is added takes address, port, weight, backup, ssl, verify, verifyhost, sni,
 * alpn, proto, ca-file, crt, send-proxy-v2, maxconn, check, ws, slowstart, on-marked-down, pool-*; not cookie
 * (`cookie NAME insert dynamic` with a dynamic-cookie-key in the backend), resolvers, init-addr (a server with a name
 * belongs into the shape). A command with what it carries has 16 KiB: what is longer costs a reload.
 *
 * Belongs to one loop; files are jobs. */
#pragma once
#include "base/err.h"
#include "sys/loop.h"

struct haproxy;
struct haproxy_config {
    struct str run; /* a folder of its own, 0700: haproxy.cfg, maps/NAME, lists/NAME, certs/NAME.pem, admin/N.sock */
    struct str program; /* "haproxy": looked for in PATH */
    int64_t old_most_ns;
    int64_t silence_ns; /* one that answers nothing for so long, twice, is killed and started again; 0: 5 s */
    bool log;           /* what `log global` in the shape writes comes by events.log; without it there is no target */
};
struct haproxy_events {
    void (*applied)(void *arg, uint64_t revision);    /* everything up to this commit is in what serves */
    void (*failed)(void *arg, const struct err *err); /* tried again (0.1 s to 5 s); told once a reason */
    void (*log)(void *arg, struct str line);          /* a line of the log */
};
MUST_USE struct haproxy *haproxy_new(struct loop *l, const struct haproxy_config *c, const struct haproxy_events *e,
                                     void *arg, struct err *err);
void haproxy_free(struct haproxy *h); /* it goes on serving */
/* "": no proxy is to run. */
void haproxy_shape(struct haproxy *h, struct str text);
/* An entry of a map. key: no white space in it, does not begin with #; value: not empty, no white space at either
 * end; both without line breaks and NUL, and together at most 7 KiB. */
#define HAPROXY_ENTRY_MOST 7168
MUST_USE bool haproxy_map_put(struct haproxy *h, const char *map, struct str key, struct str value, struct err *err);
void haproxy_map_del(struct haproxy *h, const char *map, struct str key);
/* The whole of a map whose order counts (patterns), exchanged at once. A map is made by the one or by the other. */
struct haproxy_entry {
    struct str key, value;
};
MUST_USE bool haproxy_map_set(struct haproxy *h, const char *map, const struct haproxy_entry *e, size_t n,
                              struct err *err);
/* A server of a backend of the shape. options: ours, f.e. "ssl verify required ca-file certs/c7.pem proto h2". Its
 * name should follow from address and options: one that comes back changed while connections to what it was are
 * open costs a reload. */
struct haproxy_server {
    const char *backend, *name;
    struct str address; /* "10.42.0.7:8080" */
    uint32_t weight;    /* 0 to 256; 0: only what is bound to it by a cookie */
    struct str options;
};
void haproxy_server_put(struct haproxy *h, const struct haproxy_server *s);
/* Applied: it gets nothing new. It is deleted when the last connection to it has ended. */
void haproxy_server_del(struct haproxy *h, const char *backend, const char *name);
/* PEM of a chain and its private key, or of CAs. */
void haproxy_cert_put(struct haproxy *h, const char *name, struct str pem);
void haproxy_cert_del(struct haproxy *h, const char *name);
/* cert is in the list: options as in a crt-list's brackets without these ("alpn h2,http/1.1"), hosts separated by
 * spaces ("a.example *.b.example"; "": what the certificate names). One entry a certificate and list. */
void haproxy_list_put(struct haproxy *h, const char *list, const char *cert, struct str options, struct str hosts);
void haproxy_list_del(struct haproxy *h, const char *list, const char *cert);
void haproxy_commit(struct haproxy *h, uint64_t revision);
/* A command to the running proxy's socket, one line; fn later in the loop, also with an error (E_CANCELLED from
 * within haproxy_free). */
void haproxy_ask(struct haproxy *h, struct str command,
                 void (*fn)(void *arg, struct str answer, const struct err *err), void *arg);
/* Blocking, for who ends everything: all HAProxys of this folder, those before a reload too, get SIGTERM, then
 * SIGKILL. False: one is left. */
MUST_USE bool haproxy_end_all(struct str run, struct err *err);
