/* columns.h - how a kind is printed as a table (meta/v1 Table): the columns of upstream's server-side printing and
 * the cells of a row. One table a kind (columns.c); a kind without one has Name and Created At. Pure. */
#pragma once
#include "api/kind.h"

struct column_source;
typedef struct val column_cell(const struct column_source *s, const char *path);
struct column {
    const char *name;   /* "Ready" */
    const char *type;   /* "string", "integer", "boolean" */
    const char *format; /* "name" for the first; else "" */
    const char *text;   /* one line of our own: what it shows */
    int priority;       /* 0: always; 1: with -o wide */
    column_cell *cell;  /* how the cell is made, and of what: for columns.c */
    const char *path;
};
struct column_source {
    struct arena *a;
    const struct val *v;
    int64_t now;
};
/* The columns, in order; never none. */
const struct column *columns_of(const struct kind *k, size_t *n);
/* The cells of one object, as many as columns_of says, and of an IPAddress one more, as upstream's. now: nanoseconds
 * since 1970 (ages). */
void columns_row(struct arena *a, const struct kind *k, const struct val *tree, int64_t now, struct val *cells);
/* The conditions of the row (a pod that ended is Completed). False: it has none. */
bool columns_conditions(struct arena *a, const struct kind *k, const struct val *tree, struct val *conditions);
/* "3d4h", "12m", "45s" as upstream's duration.HumanDuration; a second or less before now is "0s", more is
 * "<invalid>".
 */
struct str human_duration(struct arena *a, int64_t ns);
