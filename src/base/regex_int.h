/* regex_int.h - what the parts of a regular expression share: sets of characters, the tree that parsing gives, the
 * program that it becomes, the table that most programs become. */
#pragma once
#include "base/array.h"
#include "base/regex.h"

#define RUNE_MAX 0x10ffffu
#define RUNE_BAD 0xfffdu

/* regex_tables_gen.c */
struct regex_fold {
    uint32_t lo, hi;
    int32_t step;
};
extern const char regex_categories[30][3];
extern const uint8_t regex_category_runs[], regex_script_runs[];
extern const char *const regex_scripts[];
extern const unsigned regex_script_count, regex_fold_count;
extern const struct regex_fold regex_folds[];

/* A length of the packed tables: seven bits at a time. */
static inline size_t regex_run_length(const uint8_t **p)
{
    size_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t b = *(*p)++;
        n |= (size_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return n;
    }
}

/* A set of characters: ranges lo, hi, lo, hi ... in any order until regex_set_clean. */
struct regex_set {
    uint32_t *p;
    size_t n, cap;
};
void regex_set_add(struct regex_set *s, uint32_t lo, uint32_t hi);
void regex_set_clean(struct regex_set *s); /* sorted, nothing touches */
void regex_set_fold(struct regex_set *s);  /* with what differs by case only; clean afterwards */
void regex_set_negate(struct regex_set *s);
void regex_set_join(struct regex_set *s, const struct regex_set *more);
bool regex_set_has(const uint32_t *p, size_t n, uint32_t c); /* of a clean one */
/* Adds the category or script of that name, however it is spelt; false: there is none. */
bool regex_set_unicode(struct regex_set *s, struct str name);
uint32_t regex_fold_next(uint32_t c); /* the next that differs by case only, going round; c itself: none */

enum regex_op {
    RE_EMPTY,
    RE_RUNE,
    RE_SET,
    RE_ASSERT,
    RE_CAPTURE,
    RE_STAR,
    RE_PLUS,
    RE_QUEST,
    RE_REPEAT,
    RE_CONCAT,
    RE_ALTERNATE,
    RE_PAREN, /* of the parser's stack only, as is RE_BAR */
    RE_BAR,
};

/* Assertions, as bits: which hold at a place, or which one is asked for. */
enum {
    RE_BEGIN_LINE = 1,
    RE_END_LINE = 2,
    RE_BEGIN_TEXT = 4,
    RE_END_TEXT = 8,
    RE_WORD = 16,
    RE_NO_WORD = 32,
};

struct regex_node {
    uint8_t op;
    bool fold, lazy;
    uint16_t height;
    int min, max;   /* of a repetition; max -1: no end */
    uint32_t value; /* rune, set, assertion, number of the group; of RE_PAREN the flags before it */
    int64_t size;   /* instructions */
    struct regex_node *first, *last, *next;
};

/* The parsed pattern, in the arena of the parser. */
struct regex_tree {
    struct regex_node *root;
    ARRAY(struct regex_set) sets;
    unsigned groups;
};
MUST_USE bool regex_parse(struct arena *a, struct str pattern, struct regex_tree *out, struct err *err);
void regex_tree_fini(struct regex_tree *t);

enum regex_inst_op { IN_FAIL, IN_MATCH, IN_JUMP, IN_SPLIT, IN_SAVE, IN_ASSERT, IN_RUNE, IN_SET };

struct regex_inst {
    uint8_t op; /* enum regex_inst_op */
    uint32_t out, arg;
};

struct regex_class { /* a set in the program */
    uint64_t ascii[2];
    const uint32_t *p;
    uint32_t n;
};

/* The table: a state for every set of instructions that may be active at once, made beforehand, for patterns whose
 * table is small. A character's column: by `ascii`, or by looking for the last of `bounds` that is not above it. */
struct regex_table {
    uint16_t *to; /* [state * columns + column]; the last column is the end of the text */
    uint32_t *bounds;
    uint8_t *bound_columns;
    unsigned bounds_n, columns, states;
    uint16_t starts[4]; /* by what stands before: nothing, a letter of a word, a line's end, anything else */
    uint8_t ascii[128];
};
enum { TABLE_DEAD, TABLE_FOUND, TABLE_FIRST };
enum regex_before { BEFORE_NOTHING, BEFORE_WORD, BEFORE_LINE, BEFORE_OTHER };

struct regex {
    struct regex_inst *insts;
    struct regex_class *sets;
    unsigned n, start, groups, asserts, sets_n;
    bool anchored;     /* matches at the beginning of the text only */
    bool literal;      /* the prefix is all there is */
    struct str prefix; /* what every match begins with */
    struct regex_table *table;
    struct arena own; /* of regex_new */
};
struct regex_table *regex_table_new(struct arena *a, const struct regex *re); /* NULL: it would be large */
unsigned regex_asserts_between(uint32_t before, uint32_t after);              /* UINT32_MAX: the text's border */
enum regex_before regex_before_of(uint32_t c);

static inline bool regex_is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= 'a' && c <= 'z');
}

static inline bool regex_takes(const struct regex *re, const struct regex_inst *in, uint32_t c)
{
    if (in->op == IN_RUNE)
        return in->arg == c;
    const struct regex_class *k = &re->sets[in->arg];
    return c < 128 ? k->ascii[c >> 6] >> (c & 63) & 1 : regex_set_has(k->p, k->n, c);
}

/* The character at `at` < text.n; RUNE_BAD for a byte that is none. */
static inline uint32_t regex_rune(struct str text, size_t at, size_t *bytes)
{
    uint32_t c = (uint8_t)text.p[at];
    *bytes = 1;
    if (c < 128)
        return c;
    size_t n = str_rune((struct str){text.p + at, text.n - at}, &c);
    *bytes = n ? n : 1;
    return n ? c : RUNE_BAD;
}
