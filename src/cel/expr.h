/* expr.h - an expression as a tree: what parse.c makes of text, check.c gives types to and eval.c walks. It lives in
 * the arena it was parsed into and does not change once it is checked. */
#pragma once
#include "cel/func.h"
#include "cel/type.h"

enum expr_kind {
    EXPR_NONE, /* what could not be read; an error tells of it */
    EXPR_LITERAL,
    EXPR_IDENT,
    EXPR_SELECT,
    EXPR_CALL,
    EXPR_LIST,
    EXPR_MAP,
    EXPR_STRUCT, /* Name{field: value}: only Object and JSONPatch, where patches are made */
    EXPR_FOLD,   /* a macro over a list or map */
};

/* Calls that the evaluator does by itself, without a row's function. */
enum expr_op {
    OP_CALL,
    OP_AND,
    OP_OR,
    OP_IF,
    OP_INDEX,
    OP_OPT_INDEX,
    OP_OPT_SELECT,
    OP_NOT_FALSE,
    OP_EQ,
    OP_NE,
    OP_NOT
};

struct expr_fold {
    struct str var, var2, acc; /* var2: "" where there is none */
    struct expr *range, *init, *condition, *step, *result;
    uint32_t slot, acc_slot; /* of var (var2's is the next); of acc */
    bool bind;               /* the range is [] and the condition false: a name for a value */
    bool append;             /* the step adds to a list that nothing else sees: it is done in place */
};

struct expr {
    uint8_t kind;  /* enum expr_kind */
    uint8_t op;    /* of a call: enum expr_op */
    bool test;     /* of a select: has() */
    bool method;   /* of a call: args[0] is the receiver */
    bool optional; /* of an element or entry: [?x], {?k: x} */
    bool constant; /* of a list or map: all of it is literal; value holds it */
    bool hidden;   /* of an identifier: the accumulator of a macro */
    uint32_t at;   /* code points from the start: where messages point to */
    uint32_t n;    /* of args */
    uint32_t slot; /* of an identifier: the variable; UINT32_MAX: it is .value (a type) */
    const struct cel_type *type;
    struct str name;    /* identifier, field, function, type */
    struct expr **args; /* of a call, list; keys and values in turns of a map; the operand of a select */
    struct cel_value value;
    const struct name *field; /* of a select from a tree: its key there */
    /* of a checked call: the rows that may be meant; with one, its function is called without looking */
    const struct cel_function *const *rows;
    uint32_t nrows;
    const struct expr_masks *masks; /* of each row: which kinds of values its arguments take */
    const void *prepared;
    struct expr_fold *fold;
};
/* Of a row: for each argument a bit for each kind of value that it takes; of opaque ones the name. */
struct expr_masks {
    uint32_t kinds[CEL_ARGS];
    const char *opaque[CEL_ARGS];
};

/* Limits of cel-go's parser. */
enum { CEL_MAX_CODE_POINTS = 100000, CEL_MAX_DEPTH = 250 };
/* Of our own: how deep the tree is once macros are expanded, and how much they may double (optMap has its target
 * twice, and targets may hold optMap). */
enum { CEL_MAX_TREE = 1000, CEL_MAX_COPIED = 5000 };

/* Errors with places, told as cel-go tells them. */
struct cel_issue {
    uint32_t at; /* code points; CEL_NOWHERE */
    struct str text;
};
#define CEL_NOWHERE UINT32_MAX
struct cel_issues {
    struct arena *a;
    struct str source;
    struct cel_issue *list;
    uint32_t n, cap;
    uint32_t copied; /* parts of the expression that macros have doubled */
};
void cel_issue_add(struct cel_issues *issues, uint32_t at, const char *fmt, ...) PRINTF(3, 4);
/* All of them in the order of their places: "ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^". */
void cel_issues_text(struct cel_issues *issues, struct strbuf *out);

/* NULL: only where issues were added. */
struct expr *cel_parse(struct arena *a, struct str source, struct cel_issues *issues);

/* Tokens. */
enum cel_token {
    T_EOF,
    T_EQ,
    T_NE,
    T_IN,
    T_LT,
    T_LE,
    T_GE,
    T_GT,
    T_AND,
    T_OR,
    T_LBRACKET,
    T_RBRACKET,
    T_LBRACE,
    T_RBRACE,
    T_LPAREN,
    T_RPAREN,
    T_DOT,
    T_COMMA,
    T_MINUS,
    T_NOT,
    T_QUESTION,
    T_COLON,
    T_PLUS,
    T_STAR,
    T_SLASH,
    T_PERCENT,
    T_TRUE,
    T_FALSE,
    T_NULL,
    T_FLOAT,
    T_INT,
    T_UINT,
    T_STRING,
    T_BYTES,
    T_IDENT,
    T_ESCAPED, /* `a.b` */
    T_COUNT
};
struct token {
    uint8_t type;
    uint32_t at; /* code points */
    struct str text;
};
struct token_list {
    struct token *p;
    size_t n; /* the last is T_EOF */
};
/* Errors are issues; what cannot be read is left out. */
struct token_list cel_lex(struct arena *a, struct str source, struct cel_issues *issues);
/* "'['", "IDENTIFIER", "<EOF>": as messages write what was expected. */
const char *token_label(unsigned type);

/* A macro: NULL and no issue where the call is none; EXPR_NONE with one where its arguments are wrong. */
struct expr *cel_macro(struct arena *a, struct cel_issues *issues, struct str function, struct expr *target,
                       struct expr **args, size_t n, uint32_t at);
struct expr *expr_new(struct arena *a, enum expr_kind kind, uint32_t at);
struct expr *expr_call(struct arena *a, uint32_t at, struct str function, size_t n, struct expr *const *args);
struct expr *expr_ident(struct arena *a, uint32_t at, struct str name);
