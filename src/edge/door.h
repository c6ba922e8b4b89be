/* door.h - what the front door is to do: listeners, routes, pools of servers, certificates and answers, as those want
 * it who read the API (ingress_route.c, gateway_route.c, acme). No HAProxy here, and nothing of the API: the front
 * door (door.c) merges what all of them want and brings the proxy to it (door_*.c, haproxy.h).
 *
 *   struct door *d = door_new(loop, &config, &events, arg, &err);
 *   door_part(d, S("Ingress/web/shop"), &part)     all that this source wants, in the place of what it wanted before
 *   door_pool(d, &pool)                            a pool by its key; routes name it by that
 *   door_commit(d, revision)                       from then on `applied` tells when the proxy has it
 *
 * A part is taken whole: a route that cannot be kept (a pattern that no engine takes, a name outside its grammar) is
 * left out and told of in `refused`, the rest serves. Everything handed over is copied. All texts may be anything
 * that a user can write into an object: only the grammar named beside a field is relied on, and what reaches the
 * proxy's configuration is numbers and names of ours; the rest goes into its maps, escaped.
 *
 * Belongs to one loop. Nothing of this blocks: files and sockets are jobs.
 */
#pragma once
#include "base/array.h"
#include "base/err.h"
#include "sys/loop.h"

/* --- listeners --- */

enum door_protocol {
    DOOR_HTTP,  /* requests in the clear; HTTP/2 by prior knowledge, too */
    DOOR_HTTPS, /* TLS ended here, certificates by SNI */
    DOOR_TLS,   /* chosen by SNI: passed through as it is, or (terminate) ended here and passed on as bytes */
    DOOR_TCP,
};
/* Where connections come in. Two that bind the same address and port are one socket: requests are told apart by
 * hostname. The Ingresses' are "http" (80) and "https" (443) of all addresses. */
struct door_listener {
    struct str key;     /* "http", "Gateway/NS/NAME/LISTENER" */
    struct str address; /* "": all of the machine's; may not exist yet */
    uint16_t port;
    enum door_protocol protocol;
    bool terminate;      /* DOOR_TLS */
    struct str hostname; /* "": all; "*.example.org": all below; such a listener's routes see no others' requests */
    bool isolated;       /* requests for a hostname that a narrower listener of this socket has never get here */
    bool accept_proxy;   /* PROXY protocol, v1 or v2, is expected from whoever connects */
    const struct str *certificates; /* keys of door_certificate, the first for who names no host that is known */
    size_t ncertificates;
    bool own_default;     /* who names no host that is known is shown the door's own certificate, nobody's */
    struct str client_ca; /* key of a door_certificate with CAs alone: clients must show one. "": no */
    bool client_ca_optional;
};
struct door_certificate {
    struct str key;            /* "Secret/NS/NAME" */
    struct str chain, private; /* PEM; private "": a bundle of CAs. Checked: fits, is readable, not over 1 MiB */
    const struct str *hosts;   /* served for these; none: for what it names itself */
    size_t nhosts;
};

/* --- pools --- */

enum door_backend_protocol { DOOR_TO_HTTP1, DOOR_TO_HTTP2, DOOR_TO_TCP };
struct door_server {
    struct str host; /* an address; a name of DNS only for Services of type ExternalName */
    uint16_t port;
    uint32_t weight; /* share in the pool, any scale; 0: only what is bound to it by affinity */
    enum door_backend_protocol protocol;
    bool tls;
    struct str tls_name; /* SNI and the name that its certificate must have; "": neither */
    struct str tls_ca;   /* key of a door_certificate that verifies it; "": not verified */
    struct str tls_own;  /* key of a door_certificate that is shown to it; "": none */
    bool send_proxy;     /* PROXY protocol v2 */
    bool backup;         /* only while no other can be reached */
};
enum door_balance { DOOR_ROUND_ROBIN, DOOR_LEAST_CONNECTIONS, DOOR_RANDOM, DOOR_HASH };
struct door_pool {
    struct str key; /* of its maker's choice: what differs in anything but servers has another */
    enum door_balance balance;
    struct str hash_on; /* DOOR_HASH: "uri", "source", "header:NAME", "cookie:NAME", "arg:NAME" */
    struct str cookie;  /* affinity: its name ([A-Za-z0-9_-]{1,64}); "": none */
    struct str cookie_path, cookie_domain, cookie_samesite;
    int64_t cookie_s, cookie_idle_s; /* lifetime; 0: the browser's session */
    bool cookie_secure;
    struct str persist_header;               /* affinity by a header of both sides instead of a cookie */
    int64_t connect_ns, server_ns, queue_ns; /* 0: the door's (5 s, 60 s, 5 s) */
    uint32_t lost_weight; /* on the scale of the servers: the share that is answered 500, as its backend is invalid */
    const struct door_server *servers;
    size_t nservers; /* none: 503 */
};

/* --- routes --- */

enum door_match_kind { DOOR_MATCH_EXACT, DOOR_MATCH_PREFIX, DOOR_MATCH_REGEX };
struct door_field_match { /* of a header or a query's argument */
    struct str name, value;
    enum door_match_kind kind; /* EXACT or REGEX (RE2's syntax; matches the whole value) */
    bool absent;               /* it must not be there; value is nothing */
};
struct door_match {
    enum door_match_kind path_kind;
    struct str path;   /* PREFIX: by whole elements (/a matches /a and /a/b, not /ab). REGEX: from the path's begin */
    bool ignore_case;  /* of the path */
    struct str method; /* "": any */
    struct str source; /* ranges of addresses, comma separated; "": from anywhere */
    const struct door_field_match *headers, *queries, *cookies;
    size_t nheaders, nqueries, ncookies;
    int percent; /* of the requests that match so far, by chance: 1 to 99; 0: all */
};
struct door_header {
    struct str name, value; /* name [A-Za-z0-9_-]{1,64} */
};
struct door_headers {
    const struct door_header *set, *add;
    const struct str *remove;
    size_t nset, nadd, nremove;
};
enum door_path_change { DOOR_PATH_KEEP, DOOR_PATH_FULL, DOOR_PATH_PREFIX, DOOR_PATH_REGEX };
struct door_path { /* PREFIX: what matched gives way to text. REGEX: text has $1 to $9 of the match's pattern */
    enum door_path_change change;
    struct str text;
};
struct door_cors {
    const struct str *origins; /* "*", "https://a.example", "https:" and a star below a domain */
    size_t norigins;
    struct str methods, headers, expose; /* as they stand in the answer; "*" may be among them */
    bool credentials;
    int64_t max_age_s; /* -1: not told */
};
struct door_mirror {
    struct str pool;
    uint32_t numerator, denominator; /* of requests */
};
enum door_end { DOOR_TO_POOL, DOOR_REDIRECT, DOOR_STATUS };
struct door_action {
    enum door_end end;
    /* DOOR_TO_POOL */
    struct str pool;
    struct str rewrite_host;
    struct door_path rewrite;
    int64_t request_ns, backend_ns; /* for the whole request, and for one try: 504. 0: the pool's */
    int tries_more;                 /* retries of requests that may be repeated, beside those never sent; 0: none */
    const int *retry_on;            /* status codes */
    size_t nretry_on;
    bool retry_unsafe; /* the user says that each of its requests may be repeated */
    /* DOOR_REDIRECT; what is "" or 0 stays the request's */
    int code; /* 301, 302, 303, 307, 308; of DOOR_STATUS: 200 to 599 */
    struct str to_scheme, to_host;
    uint16_t to_port;
    struct door_path to_path;
    struct str to_url; /* instead of all of these; "$request_uri" stands for path and query */
    /* for all ends */
    struct door_headers request, response; /* each as Gateway API has it: set, then add, then remove */
    const struct door_cors *cors;
    const struct door_mirror *mirrors;
    size_t nmirrors;
    bool to_https;          /* who comes in the clear is sent to https: 308 */
    int64_t body_most;      /* 413 beyond it; 0: no limit */
    struct str allow, deny; /* ranges of addresses, comma separated: 403 for others, and for these */
    uint32_t rate_s, rate_min, connections, rate_burst; /* per client's address: 503 beyond it; 0: none */
    const struct door_auth *auth;
    const int *errors; /* answers with these codes are had from errors_pool instead (X-Code and others tell why) */
    size_t nerrors;
    struct str errors_pool;
};
struct door_auth {             /* asked before anything else; both: both */
    struct str realm, users;   /* Basic: lines "NAME:HASH", hashes of crypt(3), {SHA} and apr1. "": not asked */
    bool broken;               /* what it needs is not there: 503 */
    struct str url;            /* asked with each request's method, headers and path; 2xx lets it through. "": not */
    struct str signin;         /* where 401 of `url` leads; "": passed on */
    struct str method;         /* "": GET */
    const struct str *headers; /* of its answer, given to the backend */
    size_t nheaders;
    int64_t cache_s;
};
struct door_route {
    struct str listener; /* key */
    struct str host;     /* lower case, ASCII; "*.example.org"; "": all */
    bool host_deep;      /* the star stands for one or more labels (Gateway API), not for exactly one (Ingress) */
    bool host_falls;     /* what no route of the narrowest host takes may be taken by a wider one's (Gateway API) */
    struct door_match match;
    struct door_action action;
    /* Of two that match: exact paths, patterns (the longer first), longer prefixes; a method, more headers, more
     * queries; a source; a percentage; then the older, the name in order, the lower index. */
    int64_t created;  /* of its object, s since 1970 */
    struct str owner; /* "Ingress/NS/NAME": in logs and /metrics */
    int index;        /* in it */
};
struct door_stream {                 /* DOOR_TLS and DOOR_TCP listeners: connections to a pool */
    struct str listener, host, pool; /* host: by SNI; "": all */
    bool host_deep;
    int64_t created;
    struct str owner;
};
/* An answer given at a path whoever the host is, on every listener in the clear, before any route and redirect. */
struct door_answer {
    struct str host, path, body; /* host "": any; text/plain */
};
/* A certificate shown to who speaks TLS with this protocol in ALPN for this name (acme-tls/1). */
struct door_alpn {
    struct str host, protocol, certificate;
};

struct door_part {
    ARRAY(struct door_listener) listeners;
    ARRAY(struct door_certificate) certificates;
    ARRAY(struct door_route) routes;
    ARRAY(struct door_stream) streams;
    ARRAY(struct door_answer) answers;
    ARRAY(struct door_alpn) alpns;
};
void door_part_fini(struct door_part *p); /* the arrays; what they borrow is their maker's */
AUTO_VALUE(door_part_fini, struct door_part);

/* --- the door --- */

struct door;
struct door_config {
    struct str run;      /* folder of its own on a tmpfs: configuration, maps, keys, sockets. 0700 */
    struct str haproxy;  /* the program */
    bool access_log;     /* JSON lines on our stderr */
    bool counters;       /* by route, for door_metrics */
    int64_t old_most_ns; /* how long connections of a proxy before a reload may go on (an hour) */
    uint32_t trusted;    /* hops in front whose X-Forwarded-For is kept */
    bool accept_proxy;   /* on all sockets without an address of their own, as if each listener said so */
    /* Where HAProxy asks what it cannot decide (spoa.h): the folder above `run`; "": nobody is to be asked, and
     * routes that need it answer 503. */
    struct str agent_run;
    int own_agent_socket; /* listening on agent.sock there; -1: one is opened */
};
struct door_events {
    /* Everything up to this commit is in the proxy: what left a pool gets no new connection or request. */
    void (*applied)(void *arg, uint64_t revision);
    /* A source's route, certificate or listener that could not be kept; at most once for each time it is put. */
    void (*refused)(void *arg, struct str source, struct str what, const struct err *why);
    /* A port that cannot be bound, a proxy that does not start; tried again (0.1 s to 5 s), told once a reason. */
    void (*failed)(void *arg, const struct err *err);
    /* The address of a Service by its name in the cluster ("auth.ns.svc.cluster.local"); false: no such name. NULL:
     * there are none. */
    bool (*resolve)(void *arg, struct str host, struct strbuf *out);
    /* The address of a door_auth of this owner ("Ingress/NS/NAME") could not be asked; at most once a minute for a
     * rule. NULL: is not told. */
    void (*unasked)(void *arg, struct str owner, const char *why);
};
/* Finds a proxy that runs already, with all that it serves, and goes on with it. Nothing is changed before the first
 * commit, which says all; and without routes, listeners and answers no proxy runs. */
MUST_USE struct door *door_new(struct loop *l, const struct door_config *c, const struct door_events *e, void *arg,
                               struct err *err);
void door_free(struct door *d); /* the proxy goes on serving */
void door_part_put(struct door *d, struct str source, const struct door_part *p);
void door_part_del(struct door *d, struct str source);
void door_pool_put(struct door *d, const struct door_pool *p);
void door_pool_del(struct door *d, struct str key);
void door_commit(struct door *d, uint64_t revision);
/* Counters by route since door_new, Prometheus' text; nothing, unless it was to count. */
void door_metrics(const struct door *d, struct strbuf *out);
