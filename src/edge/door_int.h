/* door_int.h - what the parts of the front door share: names, paths and patterns as the proxy's maps have them,
 * rules, tables of a host, the shape, and to whom what is compiled is given.
 *
 * A request's way (door_shape.c writes it as configuration): its host gives a *table*, the table and the path give
 * a *target*, "BACKEND.RULE.LETTERS". No letters: nothing else is to be done, the backend takes it. Letters: what
 * the rule asks for, each found in a map by the rule's name. "-.BUCKET.?NN": what is behind depends on more than the
 * path; the patterns of shard NN over a text of the whole request give the target. */
#pragma once
#include "base/map.h"
#include "base/regex_pcre.h"
#include "edge/door.h"

/* --- names --- */

/* A name that follows from a text, so that who starts anew names alike: a letter of ours and sixty bits of its
 * SHA-256 in [0-9a-v]. Whoever makes texts to collide can only collide with himself: rules' texts hold their owners.
 */
#define DOOR_NAME_LEN 13
struct door_name {
    char z[DOOR_NAME_LEN + 1];
};
struct door_name door_name_of(char letter, struct str text);
#define DOOR_NAME(n) ((struct str){(n).z, strlen((n).z)})

/* --- paths (door_path.c) --- */

/* As requests' paths are when they are compared: escapes of what needs none are gone, others in upper case, one slash
 * for several, what no request can hold is escaped. False: it has "." or ".." elements, which no request has, or is
 * over 4096 bytes. */
MUST_USE bool door_path_clean(struct arena *a, struct str path, struct str *out, struct err *err);
struct str door_prefix_clean(struct str path); /* without the slashes at the end: "" is the root */
size_t door_path_depth(struct str prefix);     /* elements: "" 0, "/a/b" 2 */

/* A list of ranges ("10.0.0.0/8, ::1") as prefixes of "4C0A80001" or "6...": the family, then hexadecimal digits. */
typedef void door_range_fn(void *arg, struct str prefix);
MUST_USE bool door_ranges_each(struct str ranges, door_range_fn *fn, void *arg, struct err *err);
/* The same as a pattern of the whole digits. */
MUST_USE bool door_ranges_pattern(struct strbuf *b, struct str ranges, struct err *err);

/* --- rules (door_rule.c) --- */

struct door_prop { /* key: the rule's name, then `key` */
    const char *map;
    struct str key, value;
};
struct door_field_use { /* a header that some rule changes: a line of the shape each */
    char op;            /* s, a, d: set, add, delete; n: set to what the agent said, where it did */
    bool response;
    unsigned nth; /* of several additions of one name */
    struct str name;
};
struct door_rule {
    struct door_name name;
    char letters[40];
    struct str pool;  /* "": it ends here */
    struct str retry; /* lines of the backend beside the pool's own */
    struct str owner;
    ARRAY(struct door_prop) props;
    ARRAY(struct door_field_use) fields;
    int status;                     /* that it answers with; 0: none */
    size_t depth;                   /* of a prefix that gives way */
    struct str rewrite;             /* after a pattern: the path, "\1" for its groups */
    const struct door_action *asks; /* who may come in, copies, pages: for spoa.h; borrowed. NULL: nothing of it */
    struct str *variables;          /* of asks->auth->headers */
    size_t refs;
    struct arena own;
};
struct door_place { /* of a rule: what the socket says */
    bool tls;
    uint16_t port;
    bool verifies;     /* clients of this hostname show certificates: the connection's name is to be the request's */
    bool requires;     /* and must */
    int64_t server_ns; /* of the pool */
};
struct door_rule *door_rule_new(const struct door_route *r, const struct door_place *p, struct err *err);
void door_rule_free(struct door_rule *r);
AUTO_POINTER(door_rule_free, struct door_rule);

/* --- tables (door_table.c) --- */

#define DOOR_PATHS_MAX      10000
#define DOOR_CANDIDATES_MAX 40000
struct door_candidate { /* a route with what it became */
    const struct door_route *route;
    const struct door_rule *rule;
    const char *backend; /* "-": the rule ends it */
    unsigned layer;      /* how much wider than the host: 0 its own */
    void *source;        /* whose it is */
};
struct door_entry {
    struct str key, value;
};
struct door_table {
    ARRAY(struct door_entry) paths;      /* of the map "paths" */
    ARRAY(struct door_entry) conditions; /* patterns, in order */
    struct arena own;
};
/* Whether a route can be kept at all: its path, its patterns, its ranges. */
MUST_USE bool door_match_check(const struct door_match *m, struct err *err);
void door_table_fini(struct door_table *t);
AUTO_VALUE(door_table_fini, struct door_table);
/* name: of the table; shard: where its patterns are. refused is told of each candidate that is left out. */
void door_table_make(struct door_table *t, struct str name, unsigned shard, const struct door_candidate *c, size_t n,
                     void (*refused)(void *arg, const struct door_candidate *c, const struct err *why), void *arg);

/* --- the shape (door_shape.c) --- */

/* What a socket is for. Several of TLS: a frontend in front looks at the name that is asked for, and hands on to
 * those behind it, by sockets in the run folder. */
enum {
    DOOR_HAS_HTTP = 1,
    DOOR_HAS_HTTPS = 2,
    DOOR_HAS_TCP = 4,
    DOOR_HAS_PASSED = 8,      /* TLS as it is */
    DOOR_HAS_TERMINATED = 16, /* TLS ended, bytes passed on */
    DOOR_HAS_ALPN = 32,       /* door_alpn */
};
struct door_bind {
    struct door_name name;
    struct str address; /* "": all */
    uint16_t port;
    unsigned has;
    bool accept_proxy, deep; /* deep: some hosts' stars stand for several labels */
    struct str client_ca;    /* name of a certificate; "": none */
    bool client_ca_optional;
    bool client_lenient, client_strict; /* some of its listeners let everybody in; some do not */
};
struct door_slot { /* a backend */
    char name[16];
    struct str kind; /* its lines */
    bool used;
    struct door_name owner; /* whose it is, or was, while something in the proxy may still lead here */
    uint64_t left;          /* the commit that takes away what leads here; UINT64_MAX: the next one */
};
struct door_shape {
    const struct door_bind *binds;
    size_t nbinds;
    const struct door_slot *slots;
    size_t nslots;
    const struct door_field_use *fields;
    size_t nfields;
    const int *statuses;
    size_t nstatuses;
    size_t depth; /* of prefixes that give way */
    unsigned shards;
    bool answers, log, count, ipv6, agent;
    uint32_t trusted;
};
void door_shape_write(const struct door_shape *s, struct strbuf *out);
void door_field_map(char out[64], const struct door_field_use *f);

/* --- pools (door_pool.c) --- */

/* The lines of a backend for this pool: what cannot be changed while the proxy runs. */
void door_kind_write(const struct door_pool *p, struct str retry, struct strbuf *out);
extern const char door_kind_plain[];
extern const char door_kind_stream[]; /* for `retry`: a pool that streams go to */
/* A server's options. False: a text of it is outside its grammar. cert: names a certificate by its key. */
MUST_USE bool door_server_options(const struct door_server *s, struct strbuf *out, struct err *err);
struct door_name door_cert_name(struct str key);
