/* gateway.h - what Gateways, ListenerSets and routes of the Gateway API mean: which are ours, which listeners serve,
 * where a route attaches, which of its references may be followed. Read by the controllers, who write it into
 * statuses, and by the front door, which does it. Pure; what is answered lives in the arena and borrows from the
 * view. The API's words (conditions, reasons) stand here as its specification has them. */
#pragma once
#include "control/manager.h"

#define GATEWAY_CONTROLLER  "wherry.dev/gateway" /* spec.controllerName of classes that are ours */
#define GATEWAY_CLASS       "wherry"             /* the class that is made where there are definitions */
#define GATEWAY_GROUP       "gateway.networking.k8s.io"
#define GATEWAY_LABEL       "gateway.networking.k8s.io/gateway-name"
#define GATEWAY_CLASS_LABEL "gateway.networking.k8s.io/gateway-class-name"
/* A Service with this label is served by the front door, and not by the rules of nodes. */
#define EDGE_SERVICE_LABEL "service.kubernetes.io/service-proxy-name"
#define EDGE_SERVICE_PROXY "wherry.dev-edge"

#define GATEWAYS_CLASSES "gatewayclasses." GATEWAY_GROUP
#define GATEWAYS         "gateways." GATEWAY_GROUP
#define GATEWAYS_SETS    "listenersets." GATEWAY_GROUP
#define GATEWAYS_GRANTS  "referencegrants." GATEWAY_GROUP

/* Members of defined kinds, whose names are in no table: field_of(route, "parentRefs"). */
static inline const struct val *field_of(const struct val *v, const char *name)
{
    return val_get_str(v, str_of(name));
}
static inline struct str text_of(const struct val *v, const char *name)
{
    return val_text(field_of(v, name));
}
static inline struct str text_or(const struct val *v, const char *name, const char *otherwise)
{
    const struct val *at = field_of(v, name);
    return at ? val_text(at) : str_of(otherwise);
}

/* --- routes --- */

/* UDP: attaches nowhere, as no listener takes it, and is told so. */
enum route_kind { ROUTE_HTTP, ROUTE_GRPC, ROUTE_TLS, ROUTE_TCP, ROUTE_UDP, ROUTE_KINDS };
struct route_row {
    const char *kind, *definition;
    unsigned protocols; /* of listeners that it may attach to: 1 << enum gateway_protocol */
    bool hosts;         /* it has hostnames */
};
extern const struct route_row route_rows[ROUTE_KINDS];
/* The kind that is served; NULL: it is not defined. */
static inline const struct kind *route_kind_of(const struct view *v, enum route_kind r)
{
    return view_defined(v, route_rows[r].definition);
}
enum route_kind route_of(const struct kind *k); /* ROUTE_KINDS: it is none */

/* --- what may not be --- */

/* A condition that is False, or that must say more than that it is True. reason NULL: nothing is wrong. */
struct gateway_fault {
    const char *reason;
    struct str message;
};
struct gateway_fault fault_make(struct arena *a, const char *reason, const char *fmt, ...) PRINTF(3, 4);
static inline bool is_fault(const struct gateway_fault *f)
{
    return f->reason != NULL;
}
/* The first one counts. */
static inline void fault_keep(struct gateway_fault *f, struct gateway_fault more)
{
    if (!f->reason)
        *f = more;
}

/* --- classes and Gateways --- */

/* Its class is ours and accepted, and it is not on its way out. */
bool gateway_is_ours(const struct view *v, const struct obj *gateway);
bool gateway_class_is_ours(const struct obj *class);

enum gateway_protocol { GATEWAY_HTTP, GATEWAY_HTTPS, GATEWAY_TLS, GATEWAY_TCP, GATEWAY_OTHER };
struct gateway_listener {
    const struct obj *holder; /* the Gateway, or a ListenerSet of it */
    const struct val *spec;
    struct str name, hostname; /* hostname "": all */
    uint16_t port;
    enum gateway_protocol protocol;
    bool terminate;                                      /* TLS ends here (HTTPS, and TLS where it says so) */
    unsigned kinds;                                      /* of routes that may attach: 1 << enum route_kind */
    bool kinds_told;                                     /* its allowedRoutes name kinds */
    struct gateway_fault accepted, conflicted, resolved; /* set: the condition is not as one wishes */
    bool overlaps;                   /* its hostname meets another's of this port, both with TLS */
    const struct obj **certificates; /* Secrets that may be used and are well formed */
    size_t ncertificates;
    const struct obj **cas; /* ConfigMaps and Secrets whose ca.crt verifies clients */
    size_t ncas;
    bool verifies, insecure; /* clients are to show a certificate; or need not */
    bool serves;             /* it is brought to the front door */
};
struct gateway_set { /* a ListenerSet that names the Gateway */
    const struct obj *set;
    struct gateway_fault refused; /* set: none of its listeners counts */
};
enum { GATEWAY_ADDRESSES = 16 };
struct gateway_model {
    const struct obj *gateway;
    struct gateway_listener *listeners; /* its own, then those of ListenerSets, the older first */
    size_t nlisteners, nown;
    struct gateway_set *sets;
    size_t nsets;
    struct gateway_fault accepted;           /* set: the Gateway as a whole is refused, and so all that is in it */
    struct gateway_fault unusable;           /* an address that was asked for cannot be had */
    struct gateway_fault resolved;           /* of the Gateway itself */
    bool shows;                              /* spec.tls.backend: backends are shown a certificate ... */
    const struct obj *shown;                 /* ... of this Secret; NULL: it cannot be used (resolved says why) */
    bool own_address;                        /* it has a Service of its own; else it shares the node's addresses */
    struct str addresses[GATEWAY_ADDRESSES]; /* that it has now */
    size_t naddresses;
    bool everywhere; /* all of the machine's addresses are its own */
};
/* Everything of one Gateway that is ours. */
void gateway_read(const struct view *v, struct arena *a, const struct obj *gateway, struct gateway_model *out);
/* The key of a listener for the front door: "Gateway/NS/NAME/LISTENER", "ListenerSet/NS/NAME/LISTENER". */
struct str gateway_listener_key(struct arena *a, const struct gateway_listener *l);
/* Older first, then by namespace and name: who wins where two want the same. */
int obj_age_cmp(const struct obj *a, const struct obj *b);
/* The Service that gives a Gateway an address of its own: "NAME-wherry", of a long name its begin. */
struct str gateway_service_name(struct arena *a, const struct obj *gateway);

/* --- grants --- */

/* Something of `kind` in `ns` may refer to what is called `name` of that group and kind in `to_ns`: the same
 * namespace, or a ReferenceGrant there says so. */
bool reference_granted(const struct view *v, const char *kind, struct str ns, struct str group, struct str to_kind,
                       struct str to_ns, struct str name);

/* --- attachment --- */

/* *.example.org and shop.example.org meet in shop.example.org; "" is all names. False: they have none in common. */
bool hostnames_meet(struct str a, struct str b, struct str *out);
struct route_attached {
    const struct gateway_listener *listener;
    struct str *hosts; /* for which the route is asked there; one "": all */
    size_t nhosts;
};
struct route_parent {
    const struct val *ref;
    const struct obj *gateway;    /* NULL: not ours, nothing is said of it */
    struct gateway_fault refused; /* set: Accepted is False */
    struct route_attached *attached;
    size_t nattached;
};
/* The Gateway of a parentRef, itself or by a ListenerSet (*set); NULL: there is none, or it is not ours. */
const struct obj *route_gateway(const struct view *v, const struct obj *route, const struct val *ref,
                                const struct obj **set);
void route_attach(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                  const struct val *ref, const struct gateway_model *g, struct route_parent *out);

/* --- rules --- */

struct route_ref { /* of a backendRef */
    struct str ns, service;
    int64_t port, weight;
    struct gateway_fault fault; /* set: it may not be used */
};
void route_ref_read(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                    const struct val *ref, struct route_ref *out);
/* Why a rule cannot be done as it stands: it is answered 500 then (or, where its matches cannot be read, left out).
 */
struct gateway_fault route_rule_fault(struct arena *a, enum route_kind kind, const struct val *rule);
/* Of its matches alone. */
struct gateway_fault route_match_fault(struct arena *a, enum route_kind kind, const struct val *match);
struct route_judgement {
    struct gateway_fault rules;    /* set: the first rule that cannot be done */
    size_t nrules, nfaulty;        /* all of them: the route is not accepted */
    size_t first;                  /* of these */
    struct str faulty;             /* "0, 2" */
    struct gateway_fault resolved; /* set: ResolvedRefs is False */
};
void route_judge(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                 struct route_judgement *out);
/* GEP-2257: "1h30m", "500ms"; false: it is none, or longer than the API allows. */
MUST_USE bool gateway_duration(struct str text, int64_t *ns);

/* --- what a change concerns --- */

extern const struct objindex index_route_parent;   /* "Gateway/NS/NAME", "ListenerSet/NS/NAME" of parentRefs */
extern const struct objindex index_route_backend;  /* "NS/NAME" of Services; "NS/" of other namespaces */
extern const struct objindex index_gateway_class;  /* spec.gatewayClassName of a Gateway */
extern const struct objindex index_set_parent;     /* "NS/NAME" of a ListenerSet's Gateway */
extern const struct objindex index_gateway_secret; /* "NS/NAME" of certificateRefs of Gateways and ListenerSets */
extern const struct objindex index_gateway_ca;     /* "NS/NAME" of a Gateway's caCertificateRefs */
/* keys of watches, for every kind that a Gateway (a ListenerSet, a route of that kind) rests on. */
void keys_of_gateway(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
void keys_of_set(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
void keys_of_route(const struct view *v, enum route_kind kind, const struct obj *was, const struct obj *now,
                   keys_add_fn *add, void *arg);
/* Routes of that kind whose parentRefs lead to the Gateway, by its ListenerSets too. */
void keys_of_gateways_routes(const struct view *v, enum route_kind kind, struct str ns, struct str name,
                             keys_add_fn *add, void *arg);
/* The watches and plan of the controller of one kind of route, for who has another one. */
void route_plan(const struct view *v, struct key key, enum route_kind kind, struct plan *out);
