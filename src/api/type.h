/* type.h - what an API type is: a table of fields. Built-in types are generated (kinds_gen.c, from the folder
 * kinds/); kinds that come at run time (kindset.h) bring the same tables. Everything that must know the shape of an
 * object - decoding and encoding (JSON, protobuf), declared defaults, patches, OpenAPI and so explain - reads these
 * tables and is written once. Tables are immutable and may be read from any thread. */
#pragma once
#include "api/tree.h"

enum type_kind {
    TYPE_STRUCT,
    TYPE_LIST,
    TYPE_MAP, /* string keys */
    TYPE_STRING,
    TYPE_BOOL,
    TYPE_INT32,
    TYPE_INT64,
    TYPE_DOUBLE,
    TYPE_BYTES, /* VAL_BYTES; base64 in JSON */
    TYPE_TIME,  /* VAL_STRING, RFC 3339 as written in JSON */
    TYPE_MICROTIME,
    TYPE_DURATION,      /* VAL_STRING "1h2m" */
    TYPE_QUANTITY,      /* VAL_STRING in canonical form */
    TYPE_INT_OR_STRING, /* VAL_INT or VAL_STRING */
    TYPE_ANY,           /* any JSON value (RawExtension, JSON, FieldsV1): kept as it came */
    /* apiextensions: a bool, a list of, or a list of strings instead of the struct `of` */
    TYPE_SCHEMA_OR_BOOL,
    TYPE_SCHEMA_OR_ARRAY,
    TYPE_SCHEMA_OR_STRINGS,
};

enum field_flag {
    FIELD_REQUIRED = 1 << 0,  /* required in OpenAPI, and not a pointer in Go */
    FIELD_OMITEMPTY = 1 << 1, /* absent when empty; without it an absent field is written as its zero */
    FIELD_POINTER = 1 << 2,   /* zero and absent differ; what may be absent of a type of run time has both */
    FIELD_INLINE = 1 << 3,    /* members stand in the outer object in JSON; a message in protobuf */
    FIELD_NOJSON = 1 << 4,
    FIELD_PATCH_MERGE = 1 << 5, /* strategic merge: merge list by patch_key, or a set of scalars */
    FIELD_PATCH_RETAIN_KEYS = 1 << 6,
    FIELD_PATCH_REPLACE = 1 << 7,
    FIELD_LIST_SET = 1 << 8, /* x-kubernetes-list-type */
    FIELD_LIST_MAP = 1 << 9,
    FIELD_ATOMIC = 1 << 10, /* list, map or struct: one value to server-side apply */
    FIELD_OMITZERO = 1 << 11,
    FIELD_GRANULAR = 1 << 12, /* not atomic although its type is */
    FIELD_EMPTY = 1 << 13,    /* defaults and rules tell an empty list from none */
};

/* What few fields have. */
struct field_extra {
    const struct name *patch_key;        /* patchMergeKey */
    const struct name *const *list_keys; /* NULL-terminated, with FIELD_LIST_MAP */
    const char *dflt;                    /* JSON text of the declared default; NULL: none */
    const char *doc;                     /* of a field of a type of run time: its description; NULL: none */
};

struct field {
    const struct name
        *name; /* of an inline member: its type's; of a type of run time: its own where none is static */
    const struct type *type;
    const struct field_extra *x; /* never NULL */
    uint16_t number;             /* protobuf; 0: none */
    uint16_t flags;              /* enum field_flag */
    uint32_t doc;                /* type_docs + doc: one line of our own (field_doc) */
};

struct type {
    uint8_t kind; /* enum type_kind */
    uint8_t go;   /* index into go_packages: "v1." before the name in messages */
    bool atomic;  /* the whole struct (of a loose type: list or map, too) is one value to server-side apply */
    bool wrapper; /* a list that is a message {1: items} in protobuf */
    bool no_pb;   /* has no protobuf form */
    bool loose;   /* of a schema (schema.h): values are kept as they come, whatever they are, and members sorted */
    uint16_t nfields;
    uint16_t first_row; /* of a built-in struct (type_int.h) */
    uint16_t order; /* of a built-in one: where field_orders says how its numbers are in order; 0: as they stand */
    uint32_t doc;
    bool keeps;                 /* a loose struct: members that are no fields stay */
    const char *described;      /* of a type of run time: its description; NULL: doc */
    const char *name;           /* "Container": messages name it; "" for unnamed lists and maps */
    const char *openapi;        /* "io.k8s.api.core.v1.Container"; NULL: inlined */
    const struct type *of;      /* element of a list, value of a map */
    const struct field *fields; /* of a struct of run time: type_fields gives those of all */
    const char *const *values;  /* of a string: closed enum, NULL-terminated; NULL: open */
};
/* The fields of a struct, t->nfields of them, in the order of JSON output. Those of a built-in type are made when
 * they are asked for first, and stay. */
const struct field *type_fields(const struct type *t);
#define type_fields_each(f, t)                                                                                       \
    for (const struct field *f = type_fields(t), *f##_end = f ? f + (t)->nfields : f; f < f##_end; f++)
const struct field *type_field(const struct type *t, const struct name *name); /* inline members are found too */
/* What clients are told of it; NULL: nothing, which only custom resources are. */
const char *field_doc(const struct field *f);
const char *type_doc(const struct type *t);
bool field_has_name(const struct field *f, const struct name *name);
/* "int32", "[]v1.Container", "map[string]string", "v1.Protocol": as upstream's messages write it. */
void type_go_name(const struct type *t, struct strbuf *b);

extern const char type_docs[]; /* texts end to end, read by offset; offset 0 is the empty one */
extern const char *const go_packages[];

/* Types of whose members only one is set, as they are published; type NULL ends them. */
struct type_union {
    const struct type *type;
    const char *discriminator; /* the member that says which; NULL: none does */
};
extern const struct type_union type_unions[];
