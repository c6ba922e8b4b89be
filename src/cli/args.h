/* args.h - what stands after a verb: options as rows, the rest as words. A verb has a struct of its own that begins
 * with `struct connect_options` (connect.h) where it talks to a server; a row says where its value goes. */
#pragma once
#include "base/err.h"

enum arg_kind {
    ARG_FLAG,  /* bool; --name or --name=false */
    ARG_TEXT,  /* struct str */
    ARG_NUM,   /* int64_t, from -1 */
    ARG_TIME,  /* int64_t nanoseconds; "90s", "1h30m", "5m" */
    ARG_TEXTS, /* struct words: may be given several times */
    ARG_EITHER /* struct str: --name alone is "", --name=VALUE; p is not NULL where given */
};
struct words {
    struct str *p;
    size_t n;
};
struct arg_row {
    char letter; /* 0: none */
    const char *name;
    enum arg_kind kind;
    size_t at;         /* offset in the verb's struct */
    const char *value; /* what --help calls it; NULL: a flag */
    const char *help;
};
struct arg_spec {
    const char *verb, *usage, *summary, *examples; /* usage: behind "wherry VERB"; examples: whole lines */
    const struct arg_row *rows;
    size_t nrows;
    bool connects; /* the struct begins with connect_options, and their rows are understood too */
};
/* For the verbs that read their words themselves: --help or -h is one of them. */
bool args_ask_help(int argc, char *const *argv);
enum args_result { ARGS_RUN, ARGS_HELPED, ARGS_WRONG };
/* Texts borrow from argv or live in the arena. before_dashes: how many of the words stood before "--" (all of them
 * where there was none). Help goes to stdout, an error to stderr with the way to the help. */
enum args_result args_read(struct arena *a, const struct arg_spec *spec, int argc, char **argv, void *out,
                           struct words *words, size_t *before_dashes);
/* The same without output: E_INVALID names the option. *help: --help was given. */
MUST_USE bool args_parse(struct arena *a, const struct arg_spec *spec, int argc, char **argv, void *out,
                         struct words *words, size_t *before_dashes, bool *help, struct err *err);
MUST_USE bool duration_parse(struct str text,
                             int64_t *ns); /* as Go's, and days: "300ms", "2h45m", "7d"; "0"; no sign */
