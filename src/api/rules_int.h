/* rules_int.h - what the files validate_*.c share: paths, complaints, checks of one field, and the checks that
 * several kinds need. A check takes the list of errors first, then where it is, then what it looks at. */
#pragma once
#include "api/formats.h"
#include "api/rules.h"
#include "base/map.h"

#define V(v, field)    val_get((v), N(field))
#define TEXT(v, field) val_text(V(v, field))
#define NUM(v, field)  val_num(V(v, field), 0)
#define HAS(v, field)  is_set(V(v, field))

/* A place in the object, on the stack of those who look at it: AT(AT(NULL, "spec"), "ports"). */
struct at {
    const struct at *up;
    const char *name; /* ".name", or */
    struct str key;   /* "[key]", or */
    int64_t index;    /* "[index]" where >= 0 */
};
#define AT(up, n)   (&(const struct at){(up), (n), STR_NONE, -1})
#define ITEM(up, i) (&(const struct at){(up), NULL, STR_NONE, (int64_t)(i)})
#define KEY(up, k)  (&(const struct at){(up), NULL, (k), -1})
/* the index of the element `it` of the list `in` */
#define INDEX(in, it) ((it) - (in)->list)
#define each(it, in)  val_each_item (it, in)

bool is_set(const struct val *v); /* there, and not null */

/* What came before in a list, to find what comes twice, however long the list is. */
struct seen {
    struct map texts;
};
#define SEEN ((struct seen){0})
void seen_fini(struct seen *s);
AUTO_VALUE(seen_fini, struct seen);
bool seen_before(struct seen *s, struct str text); /* and notes it */
/* The same of whole values, and of several texts. */
bool seen_value(struct seen *s, const struct val *v);
bool seen_pair(struct seen *s, struct str one, struct str other);
/* The elements of a list by the text of one of their fields (the first of each). */
struct named {
    const struct val *list;
    const struct name *field;
    struct map by_text; /* of a long list */
};
struct named named_of(const struct val *list, const struct name *field);
void named_fini(struct named *n);
AUTO_VALUE(named_fini, struct named);
const struct val *named_find(const struct named *n, struct str text); /* as val_find */

#define ERRS struct field_errors *e, const struct at *at
void bad_required(ERRS, const char *detail); /* "": none */
void bad_value(ERRS, const struct val *value, const char *fmt, ...) PRINTF(4, 5);
void bad_text(ERRS, struct str value, const char *fmt, ...) PRINTF(4, 5);
void bad_num(ERRS, int64_t value, const char *fmt, ...) PRINTF(4, 5);
/* The value as upstream's internal struct shows: names with capitals, everything there. */
void bad_struct(ERRS, const struct type *t, const struct val *value, const char *fmt, ...) PRINTF(5, 6);
void bad_forbidden(ERRS, const char *fmt, ...) PRINTF(3, 4);
void bad_duplicate(ERRS, struct str value);
void bad_duplicate_struct(ERRS, const struct type *t, const struct val *value, const char *detail);
void bad_duplicate_number(ERRS, int64_t value);
void bad_plain(ERRS, const char *detail); /* an invalid value that is not shown */
void bad_not_found(ERRS, struct str value, const char *detail);
void bad_enum(ERRS, struct str value, const char *const *values); /* NULL-terminated, in the order to show */
void bad_enum_value(ERRS, const struct val *value, const char *const *values);
void bad_enum_struct(ERRS, const struct type *t, const struct val *value, const char *const *values);
void bad_too_long(ERRS, int64_t max);
void bad_too_many(ERRS, int64_t have, int64_t max);
void bad_immutable(ERRS, const struct val *value);
void add_value(struct strbuf *b, const struct val *v); /* compact JSON; text quoted as Go does */

/* One that has its path in words; a value without text is not shown. */
void error_add(struct field_errors *e, enum field_error_type type, struct str field, struct str value,
               struct str detail);
void at_text(struct strbuf *b, const struct at *at);

bool check_format(ERRS, struct str value, format_fn *f); /* true: fine */
bool check_enum_(ERRS, struct str value, const char *const *values);
#define SET(...)                      ((const char *const[]){__VA_ARGS__, NULL})
#define check_enum(e, at, value, ...) check_enum_((e), (at), (value), SET(__VA_ARGS__))
void check_not_negative(ERRS, const struct val *v);            /* absent is fine */
void check_range(ERRS, const struct val *v, int64_t, int64_t); /* absent is fine */
void check_port(ERRS, int64_t n);
#define NOT_NEGATIVE(e, at, v, field) check_not_negative((e), AT(at, #field), V(v, field))
#define REQUIRED(e, at, v, field)     (TEXT(v, field).n > 0 ? true : (bad_required((e), AT(at, #field), ""), false))
#define FORMAT_IF_SET(e, at, v, field, format)                                                                       \
    (TEXT(v, field).n > 0 ? check_format((e), AT(at, #field), TEXT(v, field), (format)) : true)
/* What changed, a line a value, in the form of a diff: "@@ -1 +1 @@\n-hostname: \"a\"\n+hostname: \"b\"". */
struct str val_changes(struct arena *a, const struct val *old, const struct val *now);
/* The same value as before, an empty one being as good as none. */
bool val_unchanged(const struct val *x, const struct val *y);
#define IMMUTABLE(e, at, v, old, field)                                                                              \
    (val_unchanged(V(v, field), V(old, field)) ? (void)0 : bad_immutable((e), AT(at, #field), V(v, field)))

/* validate_meta.c */
void check_meta(ERRS, const struct val *meta, bool namespaced, format_fn *name, bool kube_finalizers);
void check_meta_update(ERRS, const struct val *meta, const struct val *old, bool kube_finalizers);
void check_labels(ERRS, const struct val *labels);
void check_annotations(ERRS, const struct val *annotations);
enum { SELECTOR_EMPTY_OK = 1 };
size_t check_label_selector(ERRS, const struct val *selector); /* how many complaints it made */
void check_percent_or_number(ERRS, const struct val *v);       /* not negative, or a percentage */
void check_not_over_100_percent(ERRS, const struct val *v);
int64_t number_or_percent(const struct val *v); /* its number; of a percentage the digits */
void check_conditions(ERRS, const struct val *conditions);
void check_finalizer(ERRS, struct str name);
void check_non_special_ip(ERRS, struct str ip);

/* validate_admission.c */
void check_webhook_url(ERRS, struct str url);
void check_webhook_service(ERRS, const struct val *service);
void check_rule(ERRS, const struct val *rule); /* operations, groups, versions, resources, scope */
void check_match_conditions(ERRS, void *scope, const struct val *conditions);
/* rules.c: expressions. Without who knows the language nothing is wrong with them, and the scope is NULL. */
void *expressions_begin(bool params, bool variables);
void expressions_end(void *scope);
void check_expression(ERRS, void *scope, enum expression_use use, struct str name, struct str text);
/* validate_schema.c: openAPIV3Schema of a definition; old: of the same version, or NULL */
void check_schema(ERRS, const struct val *props, const struct val *old);

/* validate_pod.c, _pod_update.c, _affinity.c, _container.c, _security.c, _probe.c, _volume.c */
struct pod_rules {
    bool is_pod; /* not a template */
    const struct val *meta, *spec;
    struct map volumes; /* by name, those that are in order: mounts may name them */
    struct named containers, init_containers, claims;
};
/* Finds the containers and claims; what else there is comes by check_volumes. */
struct pod_rules pod_rules_of(bool is_pod, const struct val *meta, const struct val *spec);
void pod_rules_fini(struct pod_rules *p);
AUTO_VALUE(pod_rules_fini, struct pod_rules);
void check_pod_spec(ERRS, const struct val *spec, const struct val *meta, bool is_pod);
void check_pod(struct field_errors *e, const struct val *v);
void check_pod_update(struct field_errors *e, const struct val *v, const struct val *old);
void check_pod_status(struct field_errors *e, const struct val *v, const struct val *old);
void check_images(ERRS, const struct val *containers);
void check_affinity(ERRS, const struct val *affinity);
void check_spread(ERRS, const struct val *constraints);
void check_probes(ERRS, const struct val *container, int64_t grace);
void check_lifecycle(ERRS, const struct val *life, int64_t grace, const struct val *os);
void check_containers(ERRS, const struct pod_rules *p, const struct val *containers);
void check_init_containers(ERRS, const struct pod_rules *p, const struct val *containers);
void check_ephemeral_containers(ERRS, const struct pod_rules *p, const struct val *containers);
void check_volumes(ERRS, struct pod_rules *p, const struct val *volumes);
void check_persistent_source(ERRS, const struct val *spec, struct str volume);
void check_template(ERRS, const struct val *template);
bool standard_resource(struct str s); /* a name without a prefix that limits and quotas know */
void check_security_context(ERRS, const struct val *context, const struct val *host_users);
void check_seccomp(ERRS, const struct val *profile);
void check_apparmor(ERRS, const struct val *profile);
void check_windows_options(ERRS, const struct val *options);
void check_resource_name(ERRS, struct str name);
void check_container_resource_name(ERRS, struct str name);
void check_resource_quantity(ERRS, struct str name, struct str quantity);
void check_resources(ERRS, const struct val *resources, const struct named *claims,
                     bool of_pod);            /* claims: or NULL */
void check_local_path(ERRS, struct str path); /* relative, no ".." */
void check_no_backsteps(ERRS, struct str path);
void check_field_ref(ERRS, const struct val *ref, bool volume);
void check_resource_field_ref(ERRS, const struct val *ref, bool volume);
void check_node_selector(ERRS, const struct val *selector);
void check_tolerations(ERRS, const struct val *tolerations);
void check_access_modes(ERRS, const struct val *modes);
void check_claim_spec(ERRS, const struct val *spec, bool in_template);

#define RULES(k, format, create_, update_, status_, ...)                                                             \
    {                                                                                                                \
        .kind = K(k), .name = (format), .create = (create_), .update = (update_), .status = (status_), __VA_ARGS__   \
    }
#define RULES_END                                                                                                    \
    {                                                                                                                \
        .kind = NULL                                                                                                 \
    }
/* A kind's own checks, after those of its metadata. update comes after create unless update_first. */
struct kind_rules {
    const struct kind *kind;
    format_fn *name;
    void (*create)(struct field_errors *e, const struct val *v);
    void (*update)(struct field_errors *e, const struct val *v, const struct val *old);
    void (*status)(struct field_errors *e, const struct val *v, const struct val *old);
    bool update_first;
    bool update_alone; /* an update is checked by `update` alone */
};
extern const struct kind_rules rules_core[], rules_pod[], rules_service[], rules_workload[], rules_rbac[],
    rules_storage[], rules_batch[], rules_networking[], rules_autoscaling[], rules_certificates[], rules_resource[],
    rules_admission[], rules_policy[], rules_crd[], rules_other[]; /* each ends with kind NULL */
void check_ephemeral_update(struct field_errors *e, const struct val *v, const struct val *old);
void check_resize(struct field_errors *e, const struct val *v, const struct val *old);
void check_approval(struct field_errors *e, const struct val *v, const struct val *old);
