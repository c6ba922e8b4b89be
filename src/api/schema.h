/* schema.h - the schema of a definition (CustomResourceDefinition): what its objects may hold, and what is made of
 * them. Compiled once from openAPIV3Schema into an immutable graph of nodes in the caller's arena, which any thread
 * may read as long as the arena lives; a kind's (kind_arena) is the usual one, so its kind counts it.
 *
 * A node is a struct type, too: what reads type tables (OpenAPI, apply, explain) reads the graph, and schema_node
 * leads from a type to what only a schema has. Values of such types are "loose": a tree holds them as they came, be
 * they of the wrong type or null, until schema_validate looks at them.
 *
 * The way of an object: decode (type_decode_json by schema_type's type: duplicates and unknown fields are noted, what
 * the schema does not know is pruned, metadata is read as ObjectMeta) -> schema_default -> schema_validate -> rules
 * in CEL (room cel), unless schema_errors_block. What was stored is decoded, pruned and defaulted the same way.
 *
 * Costs: linear in schema and in object, times the logarithm of the members of one object. */
#pragma once
#include "api/codec.h"
#include "api/rules.h"

enum {
    SCHEMA_DEPTH = 128,   /* levels of schemas in schemas; deeper ones are refused */
    SCHEMA_NODES = 60000, /* in one schema */
};

enum schema_what {
    SCHEMA_UNTYPED, /* int-or-string, or any value (preserve-unknown-fields); below allOf and its kin, mostly */
    SCHEMA_OBJECT,
    SCHEMA_ARRAY,
    SCHEMA_STRING,
    SCHEMA_INTEGER,
    SCHEMA_NUMBER,
    SCHEMA_BOOLEAN,
};
const char *schema_what_text(enum schema_what what); /* "object"; "" of what is not typed */

enum schema_flag {
    SCHEMA_NULLABLE = 1 << 0,
    SCHEMA_INT_OR_STRING = 1 << 1,
    SCHEMA_EMBEDDED = 1 << 2, /* has apiVersion, kind and metadata of its own */
    SCHEMA_PRESERVES = 1 << 3,
    SCHEMA_OPEN = 1 << 4,   /* additionalProperties: true, or a schema, which is type.of */
    SCHEMA_CLOSED = 1 << 5, /* additionalProperties: false (below allOf and its kin) */
    SCHEMA_LIST_SET = 1 << 6,
    SCHEMA_LIST_MAP = 1 << 7, /* by list_keys */
    SCHEMA_LIST_ATOMIC = 1 << 8,
    SCHEMA_MAP_ATOMIC = 1 << 9,
    SCHEMA_MAP_GRANULAR = 1 << 10,
    SCHEMA_UNIQUE = 1 << 11,          /* uniqueItems */
    SCHEMA_DEFAULTS = 1 << 12,        /* here or below: there is a default */
    SCHEMA_HAS_RULES = 1 << 13,       /* here or below: x-kubernetes-validations */
    SCHEMA_HAS_CHECKS = 1 << 14,      /* here or below: a set, a map list or an embedded resource */
    SCHEMA_PRESERVES_FALSE = 1 << 15, /* said in so many words */
};

/* One of x-kubernetes-validations. Texts are "" where absent. */
struct schema_rule {
    struct str rule, message, message_expression, reason, field_path;
    bool optional_old_self, has_optional_old_self;
};

/* Bounds of values. */
struct schema_bounds {
    uint32_t has; /* enum schema_bound */
    double minimum, maximum, multiple_of;
    int64_t min_length, max_length, min_items, max_items, min_properties, max_properties;
    struct str pattern;
    const struct regex *regex; /* of it */
    const struct val *values;  /* enum: a list; NULL: open */
};
enum schema_bound {
    BOUND_MINIMUM = 1 << 0,
    BOUND_MAXIMUM = 1 << 1,
    BOUND_EXCLUSIVE_MINIMUM = 1 << 2,
    BOUND_EXCLUSIVE_MAXIMUM = 1 << 3,
    BOUND_MULTIPLE_OF = 1 << 4,
    BOUND_MIN_LENGTH = 1 << 5,
    BOUND_MAX_LENGTH = 1 << 6,
    BOUND_MIN_ITEMS = 1 << 7,
    BOUND_MAX_ITEMS = 1 << 8,
    BOUND_MIN_PROPERTIES = 1 << 9,
    BOUND_MAX_PROPERTIES = 1 << 10,
    BOUND_PATTERN = 1 << 11,
};

/* allOf, anyOf, oneOf and not: nodes that only judge. */
struct schema_logic {
    const struct schema_node *const *all, *const *any, *const *one;
    size_t nall, nany, none;
    const struct schema_node * not ;
};

struct schema_node {
    /* Kind TYPE_STRUCT: fields are the properties, in the order of their names; with `keeps`, other members stay.
     * TYPE_MAP: `of` is the schema of the values. TYPE_LIST: `of` is that of the items. TYPE_STRING, TYPE_BOOL,
     * TYPE_INT32, TYPE_INT64, TYPE_DOUBLE; TYPE_INT_OR_STRING; TYPE_ANY. Fields have FIELD_OMITEMPTY, FIELD_POINTER,
     * FIELD_REQUIRED, those of list types and keys, a declared default (JSON) and a description. metadata of the
     * whole and of embedded resources is of type meta_v1_ObjectMeta, which is no node. */
    struct type type;
    uint8_t what; /* enum schema_what */
    uint16_t flags;
    uint16_t nrequired, nrules;
    uint32_t first_rule;                 /* its number among all rules of the schema, which are counted in preorder */
    struct str format;                   /* "" where absent */
    const struct name *const *required;  /* in the order of the schema */
    const struct name *const *list_keys; /* NULL-terminated; NULL: none */
    const struct schema_bounds *bounds;  /* NULL: none */
    const struct schema_logic *logic;    /* NULL: none */
    const struct schema_rule *rules;     /* nrules */
    const struct val *dflt;              /* its default; NULL: none */
    const struct schema_node *meta;      /* what the schema says of metadata itself; NULL: nothing */
    const struct schema_written *written; /* NULL: none */
};

/* What is only shown. */
struct schema_written {
    struct str title;
    bool has_example;
    struct val example, external_docs;
};

struct schema {
    const struct schema_node *root;
    size_t nnodes, nrules;
};

/* NULL: the type is none of a schema (ObjectMeta, built-in kinds). */
static inline const struct schema_node *schema_node(const struct type *t)
{
    return t && t->loose ? (const struct schema_node *)t : NULL;
}
/* The schema of the elements of a list, of the members of a map; NULL: none. */
static inline const struct schema_node *schema_items(const struct schema_node *n)
{
    return n && !(n->flags & SCHEMA_OPEN) ? schema_node(n->type.of) : NULL;
}
static inline const struct schema_node *schema_values(const struct schema_node *n)
{
    return n && n->flags & SCHEMA_OPEN ? schema_node(n->type.of) : NULL;
}
/* The property; NULL: none. By binary search. */
const struct field *schema_property(const struct schema_node *n, const struct name *name);
/* One that every object has, and that the schema does not name: apiVersion, kind, metadata. */
bool schema_given(const struct field *f);

/* From openAPIV3Schema as the codec decoded it (JSONSchemaProps). Everything is copied into the arena. E_INVALID with
 * a sentence where it is not structural, has a pattern that is none, or is too deep or too large; validation of the
 * definition finds that before, field by field. */
MUST_USE bool schema_compile(struct arena *a, const struct val *props, const struct schema **out, struct err *err);
/* Without what is only told to people: descriptions, titles, examples. */
MUST_USE bool schema_compile_bare(struct arena *a, const struct val *props, const struct schema **out,
                                  struct err *err);

/* The types of a kind of this schema: the object's, and *list its list's. They have apiVersion, kind and metadata
 * besides. The arena is the schema's, texts too end in a NUL. OpenAPI names them by group, version and kind:
 * dev.example.v1.Widget of group example.dev. */
const struct type *schema_type(struct arena *a, const struct schema *s, struct str group, struct str version,
                               struct str kind, struct str list_kind, const struct type **list);

/* Takes out what the schema does not know, and reads metadata, the object's and that of embedded resources, as
 * ObjectMeta. Unknown fields are noted: of metadata, then of the schema in the order of their paths, then of embedded
 * metadata. What is no map where one should be is left to schema_validate. E_BAD_REQUEST where the object's metadata
 * cannot be read. Idempotent. */
MUST_USE bool schema_prune(struct arena *a, const struct schema_node *root, struct val *v, struct decode_notes *notes,
                           struct err *err);
/* Whether pruning by this node, which need not be the root, would leave the value as it is. */
bool schema_knows_all(struct arena *a, const struct schema_node *n, const struct val *v);
/* Sets the schema's defaults where nothing is, or a null that may not be; takes other members out that are null and
 * may not be. Idempotent. */
void schema_default(struct arena *a, const struct schema_node *root, struct val *v);
/* What is wrong with an object: types, bounds, combinations; embedded resources; sets and maps that name something
 * twice. In upstream's words, with its paths and order (siblings, which upstream has in any order, by name). With
 * `old`, what is wrong is not told of a value that did not change, where it can be told which one it was. Does not
 * judge x-kubernetes-validations. */
void schema_validate(const struct schema_node *root, const struct val *v, const struct val *old,
                     struct field_errors *e);
/* The same of a value by a node that need not be the root; errors are at `path`, and below it. */
void schema_validate_at(const struct schema_node *n, struct str path, const struct val *v, const struct val *old,
                        struct field_errors *e);
/* apiVersion, kind and metadata of embedded resources in a value; resource: it is one itself. */
void schema_validate_resource_at(const struct schema_node *n, struct str path, const struct val *v, bool resource,
                                 struct field_errors *e);
/* Whether there is an error of those after which rules in CEL are not tried: they might not find the types that they
 * were checked for. */
bool schema_errors_block(const struct field_errors *e);
/* A format that is checked; it is the value of "format" (date-time, datetime). */
bool schema_format_known(struct str format);
bool schema_format_holds(struct str format, struct str text); /* true of a format that is not known */

/* Rules in CEL of the definition itself: its expressions are compiled and their cost is judged by another room, which
 * is told here; once, before the first definition is validated. `old`: openAPIV3Schema of the same version as it
 * stands; NULL: none. Errors are at `path`, the place of openAPIV3Schema. */
typedef void schema_rules_fn(const struct schema *s, const struct val *old, struct str path, struct field_errors *e);
void schema_rules_are_checked_by(schema_rules_fn *fn);

/* The schema (JSONSchemaProps) of the field that a path leads to: ".spec.color", where `quoted` ".spec['color']" too.
 * plain: "spec.color". E_INVALID in upstream's words. */
MUST_USE bool schema_field_path(struct arena *a, const struct val *props, struct str path, bool quoted,
                                const struct val **found, struct str *plain, struct err *err);
