/* type.h - the types of expressions, and of what a schema declares: how they are written, which may stand for which.
 * Immutable; static, or in an arena. */
#pragma once
#include "base/array.h"
#include "cel/value.h"
#include <string.h>

enum cel_type_kind {
    CT_ERROR, /* of what has an error already: goes with everything */
    CT_DYN,
    CT_NULL,
    CT_BOOL,
    CT_INT,
    CT_UINT,
    CT_DOUBLE,
    CT_STRING,
    CT_BYTES,
    CT_DURATION,
    CT_TIMESTAMP,
    CT_LIST,
    CT_MAP,
    CT_TYPE,
    CT_OPAQUE, /* by its name; optional_type has a parameter */
    CT_STRUCT, /* an object of a schema, or of given fields */
    CT_PARAM,  /* var: which */
};

struct cel_field;
struct cel_type {
    uint8_t kind; /* enum cel_type_kind */
    uint8_t n;    /* of `of` that are there */
    uint32_t var;
    const char *name;               /* opaque and struct types; of others what type() calls them */
    const struct cel_type *of[2];   /* element; key and value; what a type is of; of an optional */
    const struct schema_node *node; /* of what a schema declares */
    const struct cel_field *fields; /* of a struct, in the order of names */
    uint32_t nfields;
    int64_t max; /* the longest it may be, as estimates take it: bytes, elements, members */
    int64_t min; /* bytes of JSON, at least */
};
struct cel_field {
    struct str name;        /* as expressions spell it: __in__, my__dash__field */
    const struct name *key; /* in the tree */
    const struct cel_type *type;
};

extern const struct cel_type cel_type_error, cel_type_dyn, cel_type_null, cel_type_bool, cel_type_int, cel_type_uint,
    cel_type_double, cel_type_string, cel_type_bytes, cel_type_duration, cel_type_timestamp;

const struct cel_type *cel_type_list(struct arena *a, const struct cel_type *element);
const struct cel_type *cel_type_map(struct arena *a, const struct cel_type *key, const struct cel_type *value);
const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *of);
const struct cel_type *cel_type_param(struct arena *a, uint32_t var);
bool cel_type_is_optional(const struct cel_type *t);
static inline bool cel_type_is_free(const struct cel_type *t) /* dyn, or of an error */
{
    return t->kind <= CT_DYN;
}
bool cel_type_same(const struct cel_type *a, const struct cel_type *b);
const struct cel_field *cel_type_field(const struct cel_type *t, struct str name); /* NULL: none */
void cel_type_add(struct strbuf *b, const struct cel_type *t);      /* as messages write it: "map(string, int)" */
void cel_type_add_full(struct strbuf *b, const struct cel_type *t); /* with whole names: "null_type" */
extern const struct cel_type cel_type_json_patch;                   /* JSONPatch */
/* "Object" or below: a type for each name, whose fields are whatever they are. NULL: the name is none of these. */
const struct cel_type *cel_type_object(struct arena *a, struct str name);
static inline bool cel_type_is_open(const struct cel_type *t)
{
    return t->kind == CT_STRUCT && !t->fields && strncmp(t->name, "Object", 6) == 0;
}

/* A row's type (func.h). */
enum { CEL_ARGS = 6 };
struct cel_signature {
    bool method;
    uint32_t n;
    const struct cel_type *args[CEL_ARGS], *result;
};
/* Parameters A to Z become variables from *vars on, which is moved behind them. */
void cel_signature_read(struct arena *a, const char *text, uint32_t *vars, struct cel_signature *out);
/* Which kinds of values have the type: a bit for each enum cel_kind. */
uint32_t cel_type_kinds(const struct cel_type *t);
/* A type by name, as an identifier gives it: int, list, google.protobuf.Timestamp, net.IP. NULL: none. */
const struct cel_type *cel_type_named(struct arena *a, struct str name);

/* What variables of types stand for, while an expression is checked. */
struct cel_bindings {
    ARRAY(const struct cel_type *) bound; /* by variable; NULL: open */
    ARRAY(uint32_t) trail;                /* which were set, and may be taken back */
    ARRAY(const struct cel_type *) before;
};
void cel_bindings_fini(struct cel_bindings *b);
AUTO_VALUE(cel_bindings_fini, struct cel_bindings);
/* Whether a value of type `from` may be where `to` is wanted; sets variables where so, else leaves them. */
bool cel_type_assignable(struct cel_bindings *b, const struct cel_type *to, const struct cel_type *from);
bool cel_types_assignable(struct cel_bindings *b, size_t n, const struct cel_type *const *to,
                          const struct cel_type *const *from);
const struct cel_type *cel_type_general(const struct cel_type *a, const struct cel_type *b);
/* The type with its variables replaced; those that are open become dyn with `final`. */
const struct cel_type *cel_type_resolve(struct arena *a, struct cel_bindings *b, const struct cel_type *t,
                                        bool final);
