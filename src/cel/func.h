/* func.h - how a library declares the functions it brings: rows, one an overload. The checker, the cost and the
 * evaluator read nothing else of a library. README.md has the checklist for adding one.
 *
 * A row's type is written as upstream's messages write types: "string.(int, int) string" is a method with two
 * arguments, "(string) bool" a function. Types are
 *     bool int uint double string bytes null_type dyn timestamp duration type
 *     list(X) map(K, V) optional_type(X)   and the names of opaque types, which hold a dot: net.IP
 *     A ... Z: a type parameter, the same throughout the row. */
#pragma once
#include "cel/value.h"

/* What a call costs, estimated beforehand from sizes and counted afterwards from values; cost.c has each with
 * upstream's formula. "Self" is the receiver of a method, else the first argument; its length is in code points. */
enum cel_cost {
    CEL_COST_ONE,
    CEL_COST_SELF,       /* a tenth of self's length: lowerAscii, trim, substring; the result is as long as self */
    CEL_COST_PARSE,      /* a tenth of the argument's length: url; the result is as long */
    CEL_COST_PARSE_FREE, /* counted like PARSE, estimated as one: isIP, ip, cidr, isCIDR, quantity, isQuantity, semver
                          */
    CEL_COST_PARSE_TWICE, /* the same twice: ip.isCanonical */
    CEL_COST_ARGUMENT,    /* a tenth of the argument's length: startsWith, endsWith */
    CEL_COST_CONTAINS,    /* a tenth of self times a tenth of the argument */
    CEL_COST_MATCHES,     /* a tenth of self (and one) times a quarter of the pattern */
    CEL_COST_FIND,        /* the same; the result is at most as long as self */
    CEL_COST_REPLACE,
    CEL_COST_SPLIT,
    CEL_COST_JOIN,
    CEL_COST_EACH, /* of a list: one an element, and a tenth of strings: sum, min, max, isSorted, indexOf; of a string
                      a tenth of it */
    CEL_COST_FORMAT, /* string.format */
    CEL_COST_QUOTE,  /* strings.quote */
    CEL_COST_CONTAINS_IP,
    CEL_COST_CONTAINS_IP_STRING,
    CEL_COST_CONTAINS_CIDR,
    CEL_COST_CONTAINS_CIDR_STRING,
    CEL_COST_VALIDATE,   /* NamedFormat.validate */
    CEL_COST_SETS,       /* sets.contains, sets.intersects: the product of both lengths */
    CEL_COST_SETS_TWICE, /* sets.equivalent */
    CEL_COST_LIST_COPY,  /* slice, reverse, flatten, sort, distinct ...: functions of lists that make a list */
    CEL_COST_LIST_PAIRS, /* distinct: each with each */
    CEL_COST_RANGE,      /* lists.range: a list as long as the argument says */
    /* of the language itself */
    CEL_COST_CONVERT, /* string(), bytes() of text: a tenth of it */
    CEL_COST_IN_LIST,
    CEL_COST_EQUAL,
    CEL_COST_ORDER_TEXT, /* < and its like of strings and bytes */
    CEL_COST_CONCAT,     /* + of strings and bytes */
    CEL_COST_CONCAT_LIST,
    CEL_COST_AUTHORIZE, /* somebody is asked about a right */
};

/* args: the receiver first; of the row's types, none of them an error. May return cel_error. `prepared`: what prepare
 * made of constant arguments, or NULL. */
typedef struct cel_value cel_function_run(struct cel_run *run, const struct cel_value *args, size_t n,
                                          const void *prepared);

/* The parameters of one, for who does not use them all: static struct cel_value text_trim(CEL_RUN) */
#define CEL_RUN                                                                                                      \
    struct cel_run *run UNUSED, const struct cel_value *a UNUSED, size_t n UNUSED, const void *prepared UNUSED

struct cel_function {
    const char *name; /* "substring", "ip.isCanonical", "_+_" */
    const char *id;   /* upstream's name of the overload: "string_substring_int" */
    const char *type;
    cel_function_run *run;
    uint8_t cost; /* enum cel_cost */
    /* At compile time, where the last argument is a constant: work done once (a pattern compiled). NULL with *err
     * filled: it can never succeed, and the expression does not compile. NULL with *err left alone: nothing is kept.
     * What it gives must not change any more, and is released with the program. */
    void *(*prepare)(struct cel_value constant, struct err *err);
    void (*release)(void *prepared);
};

struct cel_library {
    const char *name;
    const struct cel_function *functions;
    size_t n;
};
#define CEL_LIBRARY(name_, rows)                                                                                     \
    {                                                                                                                \
        .name = (name_), .functions = (rows), .n = countof(rows)                                                     \
    }
/* All of them, in the order in which a call looks for its overloads (libraries.c); NULL-terminated. */
extern const struct cel_library *const cel_libraries[];
