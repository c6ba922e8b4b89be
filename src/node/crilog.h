/* crilog.h - a line of a container's log file, as the CRI has it: "TIME STREAM TAG TEXT". Pure; what is not of this
 * form is passed over. */
#pragma once
#include "base/str.h"

struct crilog_line {
    struct str time, text;
    bool err, full; /* of stderr; full: the text's line ends here (tag F) */
};
MUST_USE bool crilog_parse(struct str line, struct crilog_line *out); /* line without its '\n' */

struct crilog_filter {
    bool timestamps, follow, previous;
    int64_t tail;  /* lines; -1: all */
    int64_t since; /* real ns; 0: all */
    int64_t bytes; /* at most so many go out; -1: all */
    bool only_out, only_err;
};
/* Adds what a reader is to see of one line. */
void crilog_show(const struct crilog_line *l, const struct crilog_filter *f, bool at_line_start, struct strbuf *out);
