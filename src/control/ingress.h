/* ingress.h - one Ingress as the front door understands it: which class it is of, hosts, paths, backends, TLS, and
 * the annotations of ingress-nginx (nginx.ingress.kubernetes.io/). Pure; shared by the controller of its status and
 * events, by `wherry why`, and by the front door itself (edge/ingress_route.c), so that all three say the same.
 *
 * Nothing is dropped in silence: an annotation that is not kept, a value that cannot be read, a backend that is none
 * - each is a remark, with the field, the reason and the way out. What protects (who may ask, and how often) and
 * cannot be kept closes the Ingress: its paths answer 503, rather than letting through whom it was to keep out.
 *
 * Texts live in the arena or in the object. */
#pragma once
#include "base/array.h"
#include "control/manager.h"

#define INGRESS_CONTROLLER   S("wherry.dev/ingress")
#define INGRESS_CLASS        S("wherry")
#define INGRESS_PREFIX_NGINX "nginx.ingress.kubernetes.io/"

/* --- the class --- */

enum ingress_server {
    INGRESS_OURS,
    INGRESS_OTHERS,  /* the controller of its class is another: it is left alone */
    INGRESS_NOBODYS, /* there is no such class, or it names none and none is the default */
};
struct ingress_class {
    enum ingress_server server;
    struct str name;       /* as the Ingress, or the default, has it; "" */
    struct str controller; /* of the IngressClass; "" where there is none */
    bool by_annotation;    /* kubernetes.io/ingress.class */
    bool by_default;
};
struct ingress_class ingress_class_of(const struct view *v, const struct obj *o);
bool ingress_is_ours(const struct view *v, const struct obj *o); /* and is not being deleted */

/* --- what it asks for --- */

/* For events and for `wherry why`. */
struct ingress_remark {
    const char *reason; /* of the event: "AnnotationNotKept" */
    const char *port;   /* what status.loadBalancer.ingress.ports says of the port 443; NULL: nothing */
    struct str field;   /* "nginx.ingress.kubernetes.io/satisfy", "spec.rules[0].http.paths[1].backend" */
    struct str text;    /* a clause without its full stop, with the field in it */
    struct str way;     /* a sentence without its full stop; may be "" */
};

enum ingress_path_kind { INGRESS_EXACT, INGRESS_PREFIX, INGRESS_PATTERN };
struct ingress_backend {
    struct str service, port_name; /* or, where that is "", */
    uint16_t port;                 /* the number; neither: the only one it has */
};
struct ingress_path {
    struct str host; /* "*.example.org"; "": all */
    enum ingress_path_kind kind;
    struct str path; /* "/" where it was "" */
    struct ingress_backend backend;
    bool refused;  /* a backend that is none: 500 */
    bool fallback; /* spec.defaultBackend: what no path takes */
    bool alias;    /* of a server-alias */
    int index;     /* in the order of the object */
    size_t rule;   /* of spec.rules; for remarks */
    size_t at;     /* of its paths */
};
struct ingress_tls {
    struct str secret;       /* "": none is named, the door's own is shown */
    const struct str *hosts; /* where it names none: those of the rules */
    size_t nhosts;
};

struct ingress_headers {
    const struct str *names, *values;
    size_t n;
};
enum ingress_balance { INGRESS_ROUND_ROBIN, INGRESS_LEAST };
enum ingress_protocol {
    INGRESS_AUTO_HTTP, /* as the Service's appProtocol says */
    INGRESS_HTTP,
    INGRESS_HTTPS,
    INGRESS_GRPC,
    INGRESS_GRPCS
};
/* Values of annotations; zero or "" is "not said", unless told otherwise. */
struct ingress_settings {
    /* where requests are sent instead */
    bool ssl_redirect; /* true unless said otherwise; counts for hosts with TLS */
    bool force_ssl_redirect, www_redirect;
    struct str app_root, permanent_redirect, temporal_redirect;
    int64_t permanent_code, temporal_code; /* 301, 302 */
    /* what becomes of a request */
    bool use_regex;
    struct str rewrite, upstream_vhost, forwarded_prefix;
    int64_t body_most;                    /* bytes; 0: no limit */
    struct ingress_headers response;      /* custom-headers */
    struct str headers_map;               /* the ConfigMap of these, of the same namespace */
    int64_t connect_ns, read_ns, send_ns; /* 0: the door's */
    bool next_set, next_off, next_unsafe; /* proxy-next-upstream */
    const int *next_codes;                /* of it: http_502 */
    size_t nnext_codes;
    int64_t next_tries; /* 3 */
    const int *errors;  /* custom-http-errors */
    size_t nerrors;
    struct str default_backend; /* a Service */
    struct str mirror;          /* mirror-target, a Service of the cluster: "NS/SERVICE" */
    uint16_t mirror_port;
    /* backends */
    enum ingress_protocol protocol;
    struct str ssl_secret, ssl_name; /* proxy-ssl-*; the Secret of the same namespace */
    bool ssl_verify, ssl_sni;
    enum ingress_balance balance;
    struct str hash_on; /* as door_pool.hash_on has it */
    bool affinity, affinity_legacy_canary;
    struct str cookie, cookie_path, cookie_domain, cookie_samesite;
    int64_t cookie_max_age_s, cookie_expires_s;
    bool cookie_secure;
    /* who may */
    struct str allow, deny;                                       /* ranges, comma separated */
    int64_t limit_rps, limit_rpm, limit_connections, limit_burst; /* burst: times the rate, 5 */
    struct str limit_allow;
    bool cors;
    const struct str *cors_origins;
    size_t ncors_origins;
    struct str cors_methods, cors_headers, cors_expose;
    bool cors_credentials; /* true unless said otherwise */
    int64_t cors_max_age_s;
    bool auth_basic, auth_map; /* auth_map: the Secret has a user a key */
    struct str auth_secret;    /* of the same namespace */
    struct str auth_realm;
    struct str auth_url, auth_signin, auth_signin_param, auth_method; /* with $host, $request_uri ... in them */
    const struct str *auth_headers;
    size_t nauth_headers;
    bool auth_cached; /* auth-cache-key is there */
    int64_t auth_cache_s;
    struct str client_ca; /* auth-tls-secret, of the same namespace */
    bool client_optional; /* auth-tls-verify-client */
    bool client_off;
    /* canary */
    bool canary;
    int64_t canary_weight, canary_total; /* total: 100 */
    struct str canary_header, canary_value, canary_pattern, canary_cookie;
    /* hosts */
    const struct str *aliases;
    size_t naliases;
    bool passthrough;
};

struct ingress {
    const struct obj *o;
    struct ingress_class class;
    struct ingress_settings set;
    struct str closed; /* why its paths answer 503; "": they do not */
    ARRAY(struct ingress_path) paths;
    ARRAY(struct ingress_tls) tls;
    struct map tls_hosts; /* of all of these, in lower case */
    bool tls_all;         /* one of them is for whatever its certificate names */
    ARRAY(struct ingress_remark) remarks;
    int64_t again; /* when what was found out changes by itself: a certificate ends; 0: never */
};
void ingress_fini(struct ingress *i);
AUTO_VALUE(ingress_fini, struct ingress);
/* What the object says, and what ConfigMaps it names (custom-headers). Of one that is not ours: its class alone. */
void ingress_read(const struct view *v, const struct obj *o, struct arena *a, struct ingress *out);
bool ingress_has_tls(const struct ingress *i, struct str host);          /* an entry of spec.tls covers the host */
struct str ingress_field(struct arena *a, const struct ingress_path *p); /* "spec.rules[0].http.paths[1]" */
const struct str *ingress_hosts(const struct ingress *i, struct arena *a, size_t *n); /* of its paths, each once */

/* --- beside others --- */

extern const struct objindex index_ingress_host; /* of Ingresses: every host they name, "" for all */
/* What it names of its own namespace: "Service/NS/NAME", "Secret/NS/NAME", "ConfigMap/NS/NAME". */
extern const struct objindex index_ingress_names;
struct str ingress_names_key(struct strbuf *b, const char *kind, struct str ns, struct str name); /* lives in it */
/* Which of two that want the same comes first: the older, then by namespace and name. */
bool ingress_is_older(const struct obj *a, const struct obj *b);
/* Who else of ours serves this path of this host, and comes first; NULL: nobody. Canaries stand beside, not against.
 */
const struct obj *ingress_taken_by(const struct view *v, const struct ingress *i, const struct ingress_path *p);
/* Whether another of ours has a rule for the host: then no alias, no www and no default takes it. */
const struct obj *ingress_host_of(const struct view *v, const struct obj * not, struct str host);
/* Whether an entry of spec.tls of this one, or of another of ours, covers the host: then it is a host with TLS. Stars
 * count in its own alone. */
bool ingress_host_has_tls(const struct view *v, const struct ingress *i, struct str host);
/* Whether the host's "/" is taken by a rule of anybody: then no default backend takes what is left. */
bool ingress_root_is_taken(const struct view *v, struct str host);
/* The canary of a path, of the same namespace, the oldest; and the other way round. NULL: none. */
const struct obj *ingress_canary_of(const struct view *v, const struct obj *o, const struct ingress_path *p);
const struct obj *ingress_main_of(const struct view *v, const struct obj *canary, const struct ingress_path *p);
/* Whose certificate is shown for a host of spec.tls: another Ingress that comes first, with another Secret. */
const struct obj *ingress_tls_taken_by(const struct view *v, const struct ingress *i, struct str secret,
                                       struct str host);

/* --- where it answers --- */

#define FRONT_NS   S("kube-system") /* of the front door's own Service */
#define FRONT_NAME S("wherry-front")
/* Why that Service gets no address, where that is because another holds its ports on the nodes: then who asks there
 * reaches the other, and not an Ingress. "": nobody does. */
struct str ingress_front_refused(const struct view *v);

/* --- what it names --- */

/* Remarks about Secrets, Services, ports, conflicts and canaries, added to its own. */
void ingress_check(const struct view *v, struct arena *a, struct ingress *i);
struct ingress_remark *ingress_remark(struct ingress *i, const char *reason, struct str field, struct str text,
                                      struct str way);
/* The certificate in a Secret for TLS. False: why it cannot be shown (a clause: "Secret web/tls has no tls.key"). */
MUST_USE bool ingress_certificate(const struct obj *secret, struct str *chain, struct str *key, struct err *err);
/* CAs in a Secret (ca.crt). */
MUST_USE bool ingress_authorities(const struct obj *secret, struct str *pem, struct err *err);
/* The lines "NAME:HASH" of a Secret for Basic authentication. */
MUST_USE bool ingress_users(const struct obj *secret, bool map, struct arena *a, struct str *lines, struct err *err);
/* Whether a name of a certificate ("*.example.org") is good for a host, and whether a host of a rule does for one. */
bool ingress_is_cookie_path(struct str path); /* plain enough for Path of a cookie: [A-Za-z0-9/_.~-] */
bool ingress_host_matches(struct str pattern, struct str host);

/* --- the annotations --- */

enum ingress_kept {
    INGRESS_KEPT,
    INGRESS_NEEDLESS, /* nothing has to be done for it here: `says` tells why */
    INGRESS_NOT_KEPT,
};
struct ingress_reading;
struct ingress_annotation {
    const char *name; /* behind the prefix */
    enum ingress_kept kept;
    bool guards; /* it keeps somebody out: where it cannot be kept or read, the Ingress is closed */
    bool (*read)(struct ingress_reading *r, struct str value, void *member, struct err *err); /* NULL: not kept */
    size_t member;      /* of ingress_settings */
    const char *values; /* what it may be, for the page */
    const char *says;   /* what it does here, or why it is not kept */
};
extern const struct ingress_annotation ingress_annotations[];
extern const size_t ningress_annotations;
void ingress_annotations_read(const struct view *v, struct arena *a, struct ingress *i);
