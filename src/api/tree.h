/* tree.h - the value of an API object: maps, lists and scalars, as JSON has them, with interned member names.
 *
 * A tree lives in one arena and is freed with it. While it is being built (by its only owner) it may be changed in
 * place with the functions that take a plain pointer; once handed on it is const and never changes. A stored object
 * (obj.h) holds a compact copy.
 *
 * Invariant: a member whose name is in the static table of field names (names_gen.h, written N(spec)) always carries
 * that table's pointer, so val_get(v, N(spec)) compares pointers only. Members keep their order (document order, or
 * the order of the type's fields after decoding by type); keys of map-typed fields are sorted on encoding. */
#pragma once
#include "api/names_gen.h" /* N(metadata), N(resourceVersion) ...: '-' and '$' become '_' */
#include "base/err.h"

/* The static name for a text, or NULL where no field of any built-in kind is so called. */
const struct name *name_find(struct str s);
static inline bool name_is_static(const struct name *name)
{
    return name >= names && name < names + NAMES_COUNT;
}
/* The static name, or one made in the arena. */
const struct name *name_of(struct arena *a, struct str s);

enum val_type { VAL_NULL, VAL_BOOL, VAL_INT, VAL_DOUBLE, VAL_STRING, VAL_BYTES, VAL_LIST, VAL_MAP };

struct member;
struct val {
    uint8_t type;   /* enum val_type */
    uint8_t flags;  /* of tree.c */
    uint16_t spare; /* of tree.c: the room of a list or map */
    uint32_t n;     /* bytes of a string, elements of a list, members of a map */
    union {
        bool b;
        int64_t i;
        double d;
        const char *s; /* VAL_STRING (UTF-8), VAL_BYTES; NUL-terminated besides */
        struct val *list;
        struct member *map;
    };
};
struct member {
    const struct name *name;
    struct val v;
};

/* Making. The arena owns everything; strings are copied by val_str, borrowed by val_str_borrowed. */
struct val val_bool(bool b);
struct val val_int(int64_t i);
struct val val_double(double d);
struct val val_str(struct arena *a, struct str s);
struct val val_str_borrowed(struct str s); /* s outlives the tree and ends in a NUL, e.g. a literal */
struct val val_bytes(struct arena *a, struct str s);
struct val val_list(void);
struct val val_map(void);
#define VAL_NONE ((struct val){0})
struct val val_copy(struct arena *a, const struct val *v); /* deep; of NULL: VAL_NONE */

/* Reading. A NULL v, or one of another type, reads as absent: so paths may be followed without checks. */
const struct val *val_get(const struct val *map, const struct name *name);
const struct val *val_get_str(const struct val *map, struct str key); /* maps with keys of the user's: labels, data */
/* Follows names down: val_at(pod, N(spec), N(nodeName)). NULL where any step is absent. */
const struct val *val_at_(const struct val *v, const struct name *const *path);
#define val_at(v, ...) val_at_((v), (const struct name *const[]){__VA_ARGS__, NULL})
const struct val *val_item(const struct val *list, size_t i);
size_t val_len(const struct val *v); /* elements or members; 0 for anything else */
bool val_is(const struct val *v, enum val_type type);
struct str val_text(const struct val *v); /* of a string; S("") otherwise */
struct str val_raw(const struct val *v);  /* of bytes; S("") otherwise */
int64_t val_num(const struct val *v, int64_t otherwise);
bool val_true(const struct val *v);
bool val_equal(const struct val *a, const struct val *b); /* deep; order of members does not count; NULL == NULL */
/* The element of a list of maps whose member `name` is the string `value`; NULL: none. */
const struct val *val_find(const struct val *list, const struct name *name, struct str value);
bool val_has_text(const struct val *list, struct str text); /* one of its items is that text */
/* The members of a map by their names, in the arena. */
const struct member **val_members_sorted(struct arena *a, const struct val *map, size_t *n);
#define val_text_at(v, ...)           val_text(val_at((v), __VA_ARGS__))
#define val_num_at(v, otherwise, ...) val_num(val_at((v), __VA_ARGS__), (otherwise))

#define val_each_item(it, v)                                                                                         \
    for (const struct val *it = val_is((v), VAL_LIST) ? (v)->list : NULL; it && it < (v)->list + (v)->n; it++)
#define val_each_member(it, v)                                                                                       \
    for (const struct member *it = val_is((v), VAL_MAP) ? (v)->map : NULL; it && it < (v)->map + (v)->n; it++)

/* Changing, while building. `val` is moved in, not copied: it must live in the same arena (or be borrowed). */
struct val *val_set(struct arena *a, struct val *map, const struct name *name,
                    struct val val); /* the place in the map */
/* The same without looking whether it is there: for decoders, which know. */
struct val *val_append(struct arena *a, struct val *map, const struct name *name, struct val val);
struct val *val_set_str(struct arena *a, struct val *map, struct str key, struct val val);
struct val *val_add(struct arena *a, struct val *list, struct val val);
bool val_del(struct val *map, const struct name *name); /* whether it was there */
bool val_del_str(struct val *map, struct str key);
void val_del_item(struct val *list, size_t i);
struct val *val_get_mut(struct val *map, const struct name *name);
struct val *val_get_str_mut(struct val *map, struct str key);
/* The map at the path, made where absent (or where something else stood). */
struct val *val_need_map_(struct arena *a, struct val *v, const struct name *const *path);
#define val_need_map(a, v, ...) val_need_map_((a), (v), (const struct name *const[]){__VA_ARGS__, NULL})
/* Shorthands for building: val_set_text(a, m, N(kind), S("Pod")) */
void val_set_text(struct arena *a, struct val *map, const struct name *name, struct str s);
void val_set_num(struct arena *a, struct val *map, const struct name *name, int64_t i);
void val_set_bool(struct arena *a, struct val *map, const struct name *name, bool b);
/* To be told by who has moved members of a map in place (sorted them, say). */
void val_members_moved(struct val *map);
/* A bound on the work of one request. What searches long lists and maps, or takes something out of them, counts; once
 * the bound is passed a list search finds nothing any more, so whoever set the bound must then refuse what was to be
 * done (the server does on every write). Of the calling thread; none where it is not set. */
void work_begin(int64_t steps);
MUST_USE bool work_over(void);
bool work_do(size_t steps); /* false: it is over */
void work_end(void);
/* Indexes of the members in the order of their keys; NULL: they stand so already. Free with mem_free. */
uint32_t *sorted_members(const struct val *map);
