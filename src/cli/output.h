/* output.h - how answers are printed: tables as the server made them, YAML, JSON, names, paths of fields. */
#pragma once
#include "base/array.h"
#include "cli/resource.h"

/* How verbs say what others wrote, to a person: printf, by way of strbuf_add_shown. */
void output_show(FILE *to, const char *fmt, ...) PRINTF(2, 3);

/* A table of texts whose columns are as wide as their widest cell. */
struct table {
    ARRAY(struct str) cells;
    size_t columns;
    struct arena arena; /* of cells that are not shown as they are */
};
void table_add(struct table *t, struct str cell); /* row by row; the first row is the head */
/* from_row 1 leaves the head out. Lines end without blanks. */
void table_print(struct table *t, size_t from_row, FILE *to);
void table_fini(struct table *t);
AUTO_VALUE(table_fini, struct table);

void json_pretty(struct strbuf *b, const struct val *v); /* four blanks a level, a line end last */

enum output_form { OUT_TABLE, OUT_WIDE, OUT_YAML, OUT_JSON, OUT_NAME, OUT_PATH };
struct output {
    enum output_form form;
    struct str path; /* OUT_PATH: the template */
};
MUST_USE bool output_read(struct str option, struct output *out, struct err *err); /* -o: "", "wide", "yaml" ... */
/* One object, or a List; names need the resource (NULL: of a list, looked up by kind). */
void output_print(struct client *c, const struct output *o, const struct resource *r, const struct val *v);
