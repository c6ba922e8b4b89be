/* buf.h - counted, immutable bytes: made once, queued to any number of readers without a copy. References may be
 * taken and dropped in any thread. */
#pragma once
#include "base/str.h"

struct buf {
    size_t n;
    char *p; /* NUL-terminated */
    int refs;
};
struct buf *buf_new(struct str copied) __attribute__((returns_nonnull));
struct buf *buf_take(struct strbuf *b)
    __attribute__((returns_nonnull)); /* the bytes move; b is empty, keeps its max */
struct buf *buf_ref(struct buf *b);
void buf_unref(struct buf *b); /* NULL is fine */
AUTO_POINTER(buf_unref, struct buf);
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}
