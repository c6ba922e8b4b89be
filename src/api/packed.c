/* packed.c - definitions of real projects have some 60 KB of JSON each, a few a megabyte, of which hardly anything is
 * asked for once their kinds are made. As a tree they cost a third more than that, deflated an eighth of it.
 *
 * A part is text: JSON by its type, or the annotation's own. Whether it is the same as before is told by the text, so
 * a change of the status deflates nothing. Costs: deflating takes some 8 us for a KB, inflating 2.
 *
 * Stored: how many parts (32 bits, big endian), and of each two such numbers, its length as text and as bytes, which
 * follow; 0 and 0 where there is none. */
#include "api/packed.h"
#include "api/codec.h"
#include "api/tree_int.h"
#include "wire/gzip.h"
#include "wire/json.h"

#define ANNOTATION S("kubectl.kubernetes.io/last-applied-configuration")
/* Smaller parts stay in the tree; nothing deflates to less than one of 1032. */
enum { PART_MIN = 512, PARTS_MAX = 10000, PART_MOST = UINT32_MAX / 2, RATIO_MOST = 1040 };

static const struct type *const schema_type = T(apiextensions_v1_CustomResourceValidation);

const struct packed *packed_ref(const struct packed *p)
{
    if (p)
        (void)__atomic_add_fetch(&((struct packed *)(uintptr_t)p)->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void packed_unref(const struct packed *packed)
{
    struct packed *p = (struct packed *)(uintptr_t)packed;
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < p->n; i++)
        buf_unref(p->parts[i].bytes);
    mem_free(p);
}

size_t packed_bytes(const struct packed *p)
{
    size_t n = p ? sizeof *p : 0;
    for (size_t i = 0; p && i < p->n; i++)
        n += sizeof p->parts[i] + (p->parts[i].bytes ? sizeof *p->parts[i].bytes + p->parts[i].bytes->n : 0);
    return n;
}

static struct packed *packed_new(size_t n)
{
    struct packed *p = mem_alloc(sizeof *p + n * sizeof *p->parts);
    p->refs = 1;
    p->n = n;
    return p;
}

/* --- parts --- */

static struct packed_part text_part(struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PART_MOST);
    deflate_add(&b, text);
    return (struct packed_part){buf_new(strbuf_str(&b)), (uint32_t)text.n}; /* a copy has no room to spare */
}

/* They were made here, or looked at when they were read (part_take). */
static struct strbuf part_text(const struct packed_part *part)
{
    struct strbuf b = STRBUF(PART_MOST);
    ASSERT(inflate_add(&b, buf_str(part->bytes), part->plain));
    return b;
}

struct packed_part part_make(const struct val *schema)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PART_MOST);
    type_encode_json(&b, schema_type, schema);
    return text_part(strbuf_str(&b));
}

struct packed_part part_ref(const struct packed_part *part)
{
    return (struct packed_part){part->bytes ? buf_ref(part->bytes) : NULL, part->plain};
}

bool part_read(struct arena *a, const struct packed_part *part, struct val *schema)
{
    AUTO(strbuf_fini) struct strbuf b = part_text(part);
    struct err ignored = ERR; /* it is our own JSON */
    return type_decode_json(a, schema_type, strbuf_str(&b), schema, NULL, &ignored);
}

static bool part_is(const struct packed *p, size_t i, struct str text)
{
    if (!p || i >= p->n || !p->parts[i].bytes || p->parts[i].plain != text.n)
        return false;
    AUTO(strbuf_fini) struct strbuf b = part_text(&p->parts[i]);
    return str_eq(strbuf_str(&b), text);
}

/* --- their places --- */

/* A copy whose members are its own, and share their values. */
static struct val val_opened(struct arena *a, const struct val *v)
{
    struct val out = *v;
    out.spare = 0;
    out.flags &= (uint8_t)~VAL_F_HASHED;
    if (val_is(v, VAL_MAP) && v->n) {
        out.map = arena_alloc(a, map_bytes(v->n));
        memcpy(out.map, v->map, v->n * sizeof *v->map);
        map_hash(&out);
    } else if (val_is(v, VAL_LIST) && v->n) {
        out.list = arena_dup(a, v->list, v->n * sizeof *v->list);
    }
    return out;
}

static struct val *open_member(struct arena *a, struct val *map, const struct name *name)
{
    struct val *v = map ? val_get_mut(map, name) : NULL;
    if (v)
        *v = val_opened(a, v);
    return v;
}

/* A tree of which the places of parts are its own. */
struct places_opened {
    struct val tree, *annotations, *versions;
};

static struct places_opened places_open(struct arena *a, const struct val *tree)
{
    struct places_opened p = {.tree = val_opened(a, tree)};
    p.annotations = open_member(a, open_member(a, &p.tree, N(metadata)), N(annotations));
    p.versions = open_member(a, open_member(a, &p.tree, N(spec)), N(versions));
    for (size_t i = 0; val_is(p.versions, VAL_LIST) && i < p.versions->n; i++)
        p.versions->list[i] = val_opened(a, &p.versions->list[i]);
    return p;
}

static struct val *place_of(const struct places_opened *p, size_t part)
{
    if (part == PACKED_ANNOTATION)
        return p->annotations ? val_get_str_mut(p->annotations, ANNOTATION) : NULL;
    size_t version = part - PACKED_VERSIONS;
    return version < val_len(p->versions) ? val_get_mut(&p->versions->list[version], N(schema)) : NULL;
}

static void place_mark(const struct places_opened *p, size_t part)
{
    struct val *place = place_of(p, part);
    if (!place)
        return;
    *place = part == PACKED_ANNOTATION ? val_str_borrowed(S("")) : val_map();
    place->flags |= VAL_F_PACKED;
}

/* --- trees --- */

/* Its text; n == 0: it is not worth it. */
static struct str place_text(const struct places_opened *p, size_t part, struct strbuf *b)
{
    const struct val *v = place_of(p, part);
    if (part == PACKED_ANNOTATION)
        return val_text(v).n < PART_MIN ? STR_NONE : val_text(v);
    strbuf_reset(b);
    if (val_is(v, VAL_MAP))
        type_encode_json(b, schema_type, v);
    return b->n < PART_MIN ? STR_NONE : strbuf_str(b);
}

const struct packed *packed_take(struct arena *a, const struct kind *k, const struct val *tree,
                                 const struct packed *was, struct val *rest)
{
    if (k != K(CustomResourceDefinition) || val_len(val_at(tree, N(spec), N(versions))) > PARTS_MAX)
        return NULL;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PART_MOST);
    struct places_opened places = places_open(a, tree);
    struct packed *p = packed_new(PACKED_VERSIONS + val_len(places.versions));
    bool any = false;
    for (size_t i = 0; i < p->n; i++) {
        struct str text = place_text(&places, i, &b);
        if (!text.n)
            continue;
        p->parts[i] = part_is(was, i, text) ? part_ref(&was->parts[i]) : text_part(text);
        place_mark(&places, i);
        any = true;
    }
    *rest = places.tree;
    if (any)
        return p;
    packed_unref(p);
    return NULL;
}

struct val packed_mark(struct arena *a, const struct val *rest, const struct packed *p)
{
    struct places_opened places = places_open(a, rest);
    for (size_t i = 0; i < p->n; i++)
        if (p->parts[i].bytes)
            place_mark(&places, i);
    return places.tree;
}

struct val packed_put(struct arena *a, const struct val *rest, const struct packed *p, size_t n)
{
    struct places_opened places = places_open(a, rest);
    for (size_t i = 0; i < MIN(n, p->n); i++) {
        struct val *place = p->parts[i].bytes ? place_of(&places, i) : NULL;
        if (!place)
            continue;
        if (i == PACKED_ANNOTATION) {
            AUTO(strbuf_fini) struct strbuf b = part_text(&p->parts[i]);
            *place = val_str(a, strbuf_str(&b));
        } else if (!part_read(a, &p->parts[i], place)) {
            *place = val_map(); /* JSON, but nothing that this server would have written */
        }
    }
    return places.tree;
}

void packed_json(struct strbuf *b, const struct packed *p, size_t *part)
{
    while (*part < p->n && !p->parts[*part].bytes)
        ++*part;
    ASSERT(*part < p->n);
    const struct packed_part *it = &p->parts[*part];
    if (*part == PACKED_ANNOTATION) {
        AUTO(strbuf_fini) struct strbuf text = part_text(it);
        json_add_string(b, strbuf_str(&text));
    } else if (!inflate_add(b, buf_str(it->bytes), it->plain)) {
        b->over = true; /* there is no room for it */
    }
    ++*part;
}

static bool part_same(const struct packed_part *a, const struct packed_part *b)
{
    if (a->bytes == b->bytes || !a->bytes || !b->bytes)
        return a->bytes == b->bytes;
    return a->plain == b->plain && str_eq(buf_str(a->bytes), buf_str(b->bytes));
}

bool packed_same_schemas(const struct packed *a, const struct packed *b)
{
    if (a == b || !a || !b || a->n != b->n)
        return a == b;
    for (size_t i = PACKED_VERSIONS; i < a->n; i++)
        if (!part_same(&a->parts[i], &b->parts[i]))
            return false;
    return true;
}

/* --- stored --- */

static void number_add(struct strbuf *b, size_t n)
{
    const char bytes[] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    strbuf_add(b, (struct str){bytes, sizeof bytes});
}

static bool number_take(struct str *rest, uint32_t *out)
{
    const unsigned char *p = (const unsigned char *)rest->p;
    if (rest->n < 4)
        return false;
    *out = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    *rest = str_sub(*rest, 4, rest->n);
    return true;
}

void packed_store(struct strbuf *b, const struct packed *p)
{
    number_add(b, p->n);
    for (size_t i = 0; i < p->n; i++) {
        const struct buf *bytes = p->parts[i].bytes;
        number_add(b, bytes ? p->parts[i].plain : 0);
        number_add(b, bytes ? bytes->n : 0);
        if (bytes)
            strbuf_add(b, buf_str(bytes));
    }
}

static bool part_take(struct str *rest, struct packed_part *part, bool schema)
{
    uint32_t n;
    if (!number_take(rest, &part->plain) || !number_take(rest, &n) || n > rest->n || part->plain / RATIO_MOST > n)
        return false;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PART_MOST);
    struct str bytes = str_sub(*rest, 0, n);
    struct err ignored = ERR;
    *rest = str_sub(*rest, n, rest->n);
    if (!n)
        return true;
    if (!inflate_add(&b, bytes, part->plain) || (schema && !json_check(strbuf_str(&b), &ignored)))
        return false;
    part->bytes = buf_new(bytes);
    return true;
}

bool packed_load(struct str *rest, const struct packed **out)
{
    uint32_t n;
    if (!number_take(rest, &n) || n > PACKED_VERSIONS + PARTS_MAX)
        return false;
    struct packed *p = packed_new(n);
    for (size_t i = 0; i < n; i++)
        if (!part_take(rest, &p->parts[i], i >= PACKED_VERSIONS)) {
            packed_unref(p);
            return false;
        }
    *out = p;
    return true;
}
