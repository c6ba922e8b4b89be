/* value.h - the values of CEL (cel-spec), as an evaluation handles them: small, by value, without a copy of what they
 * were made from. Lists and maps are either views into a tree (struct val) or native ones in the evaluation's arena.
 * Values are immutable; what they point to lives as long as the tree, the program and the arena they came from. */
#pragma once
#include "api/tree.h"

struct schema_node;
struct cel_type;
struct cel_list;
struct cel_map;
struct cel_opaque;

enum cel_kind {
    CEL_ERROR, /* .text: what happened; every operation passes it on, but && || ?: and macros may absorb it */
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_BYTES,
    CEL_DURATION,  /* .i: nanoseconds */
    CEL_TIMESTAMP, /* .i: seconds since 1970 UTC, n: nanoseconds of it */
    CEL_LIST,
    CEL_MAP, /* objects, too */
    CEL_TYPE,
    CEL_OPTIONAL, /* .inner: NULL is optional.none() */
    CEL_OPAQUE,   /* of a library: addresses, quantities ... */
    CEL_KINDS
};

struct cel_value {
    uint8_t kind;   /* enum cel_kind */
    bool tree;      /* of a list or map: a view into a tree, .val read by .schema */
    uint16_t spare; /* of value.c */
    uint32_t n;     /* bytes of text; nanoseconds of a timestamp */
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double d;
        const char *text; /* CEL_STRING, CEL_BYTES, CEL_ERROR; not NUL-terminated */
        const struct val *val;
        struct cel_list *list;
        struct cel_map *map;
        const struct cel_type *type;
        const struct cel_value *inner;
        const void *data; /* CEL_OPAQUE */
    };
    union {
        const struct schema_node *schema; /* with tree: how it is read; NULL: as it stands (dyn) */
        const struct cel_opaque *opaque;  /* CEL_OPAQUE: whose it is */
    };
};

/* A native list; only who makes it may add to it. */
struct cel_list {
    struct cel_value *items;
    uint32_t n, cap;
};

/* What a library's own type of value is. */
struct cel_opaque {
    const char *name; /* "net.IP": as messages and declarations write it */
    bool (*equal)(const void *a, const void *b);
    size_t (*size)(const void *data); /* what its cost counts; NULL: 1 */
};

static inline struct cel_value cel_null(void)
{
    return (struct cel_value){.kind = CEL_NULL};
}
static inline struct cel_value cel_bool(bool b)
{
    return (struct cel_value){.kind = CEL_BOOL, .b = b};
}
static inline struct cel_value cel_int(int64_t i)
{
    return (struct cel_value){.kind = CEL_INT, .i = i};
}
static inline struct cel_value cel_uint(uint64_t u)
{
    return (struct cel_value){.kind = CEL_UINT, .u = u};
}
static inline struct cel_value cel_double(double d)
{
    return (struct cel_value){.kind = CEL_DOUBLE, .d = d};
}
static inline struct cel_value cel_string(struct str s) /* borrowed: a part of an argument, or of the arena */
{
    return (struct cel_value){.kind = CEL_STRING, .n = (uint32_t)s.n, .text = s.p};
}
static inline struct cel_value cel_bytes(struct str s)
{
    return (struct cel_value){.kind = CEL_BYTES, .n = (uint32_t)s.n, .text = s.p};
}
static inline struct cel_value cel_duration(int64_t nanoseconds)
{
    return (struct cel_value){.kind = CEL_DURATION, .i = nanoseconds};
}
static inline struct cel_value cel_timestamp(int64_t seconds, uint32_t nanoseconds)
{
    return (struct cel_value){.kind = CEL_TIMESTAMP, .i = seconds, .n = nanoseconds};
}
static inline struct cel_value cel_opaque_of(const struct cel_opaque *is, const void *data)
{
    return (struct cel_value){.kind = CEL_OPAQUE, .data = data, .opaque = is};
}
static inline struct str cel_text(struct cel_value v) /* of strings, bytes and errors */
{
    return (struct str){v.text, v.n};
}
static inline bool cel_is_error(struct cel_value v)
{
    return v.kind == CEL_ERROR;
}

/* One evaluation: its memory, and what it may cost. */
struct cel_run;
struct arena *cel_arena(struct cel_run *run);
struct cel_value cel_error(struct cel_run *run, const char *fmt, ...) PRINTF(2, 3);
struct cel_value cel_some(struct cel_run *run, struct cel_value v); /* optional.of(v) */
static inline struct cel_value cel_none(void)
{
    return (struct cel_value){.kind = CEL_OPTIONAL};
}

/* Lists, of either form. */
size_t cel_list_len(struct cel_value list);
struct cel_value cel_list_at(struct cel_run *run, struct cel_value list, size_t i); /* i < length */
struct cel_list *cel_list_new(struct cel_run *run, size_t room);
void cel_list_add(struct cel_run *run, struct cel_list *list, struct cel_value v);
static inline struct cel_value cel_list_of(struct cel_list *list)
{
    return (struct cel_value){.kind = CEL_LIST, .list = list};
}

/* Maps, of either form. */
size_t cel_map_len(struct cel_value map);
/* False: the key is not there. Numbers of different types find one another. */
bool cel_map_find(struct cel_run *run, struct cel_value map, struct cel_value key, struct cel_value *out);
/* size_t at = 0; while (cel_map_next(run, map, &at, &key, &value)): in the order of insertion, or of the document. */
bool cel_map_next(struct cel_run *run, struct cel_value map, size_t *at, struct cel_value *key,
                  struct cel_value *value);
struct cel_map *cel_map_new(struct cel_run *run, size_t room);
bool cel_map_add(struct cel_run *run, struct cel_map *map, struct cel_value key,
                 struct cel_value value); /* false: it was there, and stays as it was */
static inline struct cel_value cel_map_of(struct cel_map *map)
{
    return (struct cel_value){.kind = CEL_MAP, .map = map};
}

/* The value of a tree as the schema reads it: dates and durations of strings with such a format, lists and maps as
 * views. NULL schema: by its JSON type. */
struct cel_value cel_of_val(struct cel_run *run, const struct val *v, const struct schema_node *schema);

bool cel_equal(struct cel_run *run, struct cel_value a, struct cel_value b); /* == ; numbers across types */
/* < 0, 0, > 0 of two numbers, strings, bytes, bools, durations or timestamps; false: they cannot be compared. */
bool cel_compare(struct cel_value a, struct cel_value b, int *out);
/* size(): code points, bytes, elements, members; 1 for what has none. */
size_t cel_size(struct cel_value v);
size_t cel_code_points(struct str s);
/* The name of its type as messages and type() write it: "int", "google.protobuf.Duration", "net.IP". */
const char *cel_type_name(struct cel_value v);

/* Text of scalars as string() gives it: Go's forms of doubles, "90s" of durations, RFC 3339 of timestamps. */
void cel_add_double(struct strbuf *b, double d);
void cel_add_duration(struct strbuf *b, int64_t nanoseconds);
void cel_add_timestamp(struct strbuf *b, int64_t seconds, uint32_t nanoseconds);
/* Go's time.ParseDuration and RFC 3339; false where the text is none or out of range. */
MUST_USE bool cel_parse_duration(struct str text, int64_t *nanoseconds);
MUST_USE bool cel_parse_timestamp(struct str text, int64_t *seconds, uint32_t *nanoseconds);
