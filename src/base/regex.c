#include "base/regex_int.h"

/* A piece of the program: where it begins, and the exits that are not tied yet: a list through the exits themselves,
 * each written as instruction * 2, + 1 for arg; 0 ends it. */
struct regex_piece {
    uint32_t start, first, last;
    bool nullable; /* may match nothing */
};

struct regex_builder {
    const struct regex_tree *tree;
    ARRAY(struct regex_inst) insts;
    ARRAY(struct regex_class) sets;
    uint32_t *set_at; /* by the tree's number: the program's and one; 0: not yet */
};

static uint32_t *exit_at(struct regex_builder *b, uint32_t which)
{
    struct regex_inst *in = &b->insts.p[which >> 1];
    return which & 1 ? &in->arg : &in->out;
}

static void piece_tie(struct regex_builder *b, const struct regex_piece *piece, uint32_t to)
{
    for (uint32_t at = piece->first, next; at; at = next) {
        next = *exit_at(b, at);
        *exit_at(b, at) = to;
    }
}

static void piece_join(struct regex_builder *b, struct regex_piece *piece, const struct regex_piece *more)
{
    if (!more->first)
        return;
    if (piece->first)
        *exit_at(b, piece->last) = more->first;
    else
        piece->first = more->first;
    piece->last = more->last;
}

static struct regex_piece inst_add(struct regex_builder *b, enum regex_inst_op op, uint32_t arg)
{
    uint32_t i = (uint32_t)b->insts.n;
    array_push(&b->insts, ((struct regex_inst){(uint8_t)op, 0, arg}));
    return (struct regex_piece){i, 2 * i, 2 * i, op != IN_RUNE && op != IN_SET};
}

/* The other way out of a fork is tied by the caller. */
static struct regex_piece fork_add(struct regex_builder *b, uint32_t to, bool lazy)
{
    struct regex_piece fork = inst_add(b, IN_SPLIT, 0);
    fork.first = fork.last = 2 * fork.start + !lazy;
    *exit_at(b, 2 * fork.start + lazy) = to;
    return fork;
}

static struct regex_piece piece_plus(struct regex_builder *b, struct regex_piece sub, bool lazy)
{
    struct regex_piece fork = fork_add(b, sub.start, lazy);
    piece_tie(b, &sub, fork.start);
    return (struct regex_piece){sub.start, fork.first, fork.last, sub.nullable};
}

static struct regex_piece piece_quest(struct regex_builder *b, struct regex_piece sub, bool lazy)
{
    struct regex_piece fork = fork_add(b, sub.start, lazy);
    fork.nullable = true;
    piece_join(b, &fork, &sub);
    return fork;
}

static struct regex_piece piece_star(struct regex_builder *b, struct regex_piece sub, bool lazy)
{
    if (sub.nullable) /* (x+)?, or the order of what is tried would be another */
        return piece_quest(b, piece_plus(b, sub, lazy), lazy);
    struct regex_piece fork = fork_add(b, sub.start, lazy);
    piece_tie(b, &sub, fork.start);
    fork.nullable = true;
    return fork;
}

static struct regex_piece piece_then(struct regex_builder *b, struct regex_piece x, struct regex_piece y)
{
    piece_tie(b, &x, y.start);
    return (struct regex_piece){x.start, y.first, y.last, x.nullable && y.nullable};
}

static uint32_t class_of(struct regex_builder *b, const struct regex_set *set)
{
    struct regex_class k = {.p = set->p, .n = (uint32_t)set->n};
    for (uint32_t c = 0; c < 128; c++)
        if (regex_set_has(set->p, set->n, c))
            k.ascii[c >> 6] |= (uint64_t)1 << (c & 63);
    for (size_t i = b->sets.n; i > 0 && i + 64 > b->sets.n; i--) { /* the same as one not long ago */
        const struct regex_class *old = &b->sets.p[i - 1];
        if (old->n == k.n && (!k.n || !memcmp(old->p, k.p, k.n * sizeof *k.p)))
            return (uint32_t)(i - 1);
    }
    array_push(&b->sets, k);
    return (uint32_t)b->sets.n - 1;
}

static struct regex_piece set_build(struct regex_builder *b, uint32_t which)
{
    if (!b->set_at[which])
        b->set_at[which] = class_of(b, &b->tree->sets.p[which]) + 1;
    return inst_add(b, IN_SET, b->set_at[which] - 1);
}

static struct regex_piece rune_build(struct regex_builder *b, struct arena *a, const struct regex_node *node)
{
    if (!node->fold || regex_fold_next(node->value) == node->value)
        return inst_add(b, IN_RUNE, node->value);
    struct regex_set set = {0};
    regex_set_add(&set, node->value, node->value);
    regex_set_fold(&set);
    uint32_t *kept = arena_dup(a, set.p, set.n * sizeof *set.p);
    struct regex_set same = {kept, set.n, set.n};
    array_fini(&set);
    return inst_add(b, IN_SET, class_of(b, &same));
}

static struct regex_piece node_build(struct regex_builder *b, struct arena *a, const struct regex_node *node);

static struct regex_piece repeat_build(struct regex_builder *b, struct arena *a, const struct regex_node *node)
{
    const struct regex_node *x = node->first;
    if (node->max == 0)
        return inst_add(b, IN_JUMP, 0);
    if (node->max < 0 && node->min == 0)
        return piece_star(b, node_build(b, a, x), node->lazy);
    struct regex_piece all = {0};
    int must = node->max < 0 ? node->min - 1 : node->min;
    for (int i = 0; i < must; i++) {
        struct regex_piece one = node_build(b, a, x);
        all = i ? piece_then(b, all, one) : one;
    }
    if (node->max < 0) {
        struct regex_piece rest = piece_plus(b, node_build(b, a, x), node->lazy);
        return must ? piece_then(b, all, rest) : rest;
    }
    /* x{2,5} is xx(x(x(x)?)?)?: each fork has the end as its other way */
    struct regex_piece ends = {0}, last = {0};
    for (int i = node->min; i < node->max; i++) {
        struct regex_piece one = node_build(b, a, x);
        struct regex_piece fork = fork_add(b, one.start, node->lazy);
        piece_join(b, &ends, &fork);
        if (i == node->min)
            ends.start = fork.start;
        else
            piece_tie(b, &last, fork.start);
        last = one;
    }
    if (node->max == node->min)
        return all;
    piece_join(b, &ends, &last);
    ends.nullable = true;
    return must ? piece_then(b, all, ends) : ends;
}

static struct regex_piece alternate_build(struct regex_builder *b, struct arena *a, const struct regex_node *node)
{
    struct regex_piece all = {0}, fork = {0};
    for (const struct regex_node *sub = node->first; sub; sub = sub->next) {
        struct regex_piece piece;
        if (sub->next) {
            struct regex_piece next = inst_add(b, IN_SPLIT, 0);
            if (sub != node->first)
                b->insts.p[fork.start].arg = next.start;
            else
                all.start = next.start;
            fork = next;
            piece = node_build(b, a, sub);
            b->insts.p[fork.start].out = piece.start;
        } else {
            piece = node_build(b, a, sub);
            b->insts.p[fork.start].arg = piece.start;
        }
        piece_join(b, &all, &piece);
        all.nullable = all.nullable || piece.nullable;
    }
    return all;
}

/* As deep as the pattern's pieces are nested: at most 1000. */
static struct regex_piece node_build(struct regex_builder *b, struct arena *a, const struct regex_node *node)
{
    struct regex_piece piece = {0};
    switch ((enum regex_op)node->op) {
    case RE_RUNE: return rune_build(b, a, node);
    case RE_SET: return set_build(b, node->value);
    case RE_ASSERT: return inst_add(b, IN_ASSERT, node->value);
    case RE_CAPTURE:
        piece = inst_add(b, IN_SAVE, 2 * node->value);
        piece = piece_then(b, piece, node_build(b, a, node->first));
        return piece_then(b, piece, inst_add(b, IN_SAVE, 2 * node->value + 1));
    case RE_STAR: return piece_star(b, node_build(b, a, node->first), node->lazy);
    case RE_PLUS: return piece_plus(b, node_build(b, a, node->first), node->lazy);
    case RE_QUEST: return piece_quest(b, node_build(b, a, node->first), node->lazy);
    case RE_REPEAT: return repeat_build(b, a, node);
    case RE_CONCAT:
        for (const struct regex_node *sub = node->first; sub; sub = sub->next) {
            struct regex_piece one = node_build(b, a, sub);
            piece = sub == node->first ? one : piece_then(b, piece, one);
        }
        return piece;
    case RE_ALTERNATE: return alternate_build(b, a, node);
    case RE_EMPTY:
    case RE_PAREN:
    case RE_BAR: break;
    }
    return inst_add(b, IN_JUMP, 0);
}

/* What every match begins with: the letters that stand before anything else. */
static void prefix_find(struct arena *a, struct regex *re)
{
    struct strbuf text = STRBUF(256);
    uint32_t at = re->start;
    for (;; at = re->insts[at].out) {
        const struct regex_inst *in = &re->insts[at];
        if (in->op == IN_RUNE && in->arg != RUNE_BAD && text.n < 200)
            strbuf_add_rune(&text, in->arg);
        else if (in->op == IN_ASSERT && in->arg == RE_BEGIN_TEXT && !text.n)
            re->anchored = true;
        else if (in->op != IN_SAVE && in->op != IN_JUMP)
            break;
    }
    re->literal = re->insts[at].op == IN_MATCH && !re->anchored;
    if (!re->anchored)
        re->prefix = str_dup(a, strbuf_str(&text));
    strbuf_fini(&text);
}

static struct regex *program_build(struct arena *a, struct arena *scratch, const struct regex_tree *tree)
{
    struct regex_builder b = {.tree = tree};
    b.set_at = arena_alloc(scratch, (tree->sets.n + 1) * sizeof *b.set_at);
    inst_add(&b, IN_FAIL, 0);
    struct regex_piece all = node_build(&b, scratch, tree->root);
    piece_tie(&b, &all, inst_add(&b, IN_MATCH, 0).start);

    struct regex *re = ARENA_NEW(a, struct regex);
    re->n = (unsigned)b.insts.n;
    re->start = all.start;
    re->groups = tree->groups;
    re->insts = arena_dup(a, b.insts.p, b.insts.n * sizeof *b.insts.p);
    re->sets = arena_dup(a, b.sets.p, b.sets.n * sizeof *b.sets.p);
    re->sets_n = (unsigned)b.sets.n;
    for (unsigned i = 0; i < re->sets_n; i++)
        re->sets[i].p = arena_dup(a, re->sets[i].p, re->sets[i].n * sizeof *re->sets[i].p);
    for (unsigned i = 0; i < re->n; i++)
        if (re->insts[i].op == IN_ASSERT)
            re->asserts |= re->insts[i].arg;
    array_fini(&b.insts);
    array_fini(&b.sets);
    prefix_find(a, re);
    if (!re->literal || !re->prefix.n)
        re->table = regex_table_new(a, re);
    return re;
}

static struct regex *regex_build(struct arena *a, struct str pattern, struct err *err)
{
    AUTO(arena_fini) struct arena scratch = ARENA;
    struct regex_tree tree = {0};
    struct regex *re = regex_parse(&scratch, pattern, &tree, err) ? program_build(a, &scratch, &tree) : NULL;
    regex_tree_fini(&tree);
    return re;
}

const struct regex *regex_compile(struct arena *a, struct str pattern, struct err *err)
{
    return regex_build(a, pattern, err);
}

struct regex *regex_new(struct str pattern, struct err *err)
{
    struct arena a = ARENA;
    struct regex *re = regex_build(&a, pattern, err);
    if (re)
        re->own = a;
    else
        arena_fini(&a);
    return re;
}

void regex_free(struct regex *re)
{
    struct arena own = re->own;
    arena_fini(&own);
}

unsigned regex_groups(const struct regex *re)
{
    return re->groups;
}
