#include "base/buf.h"

struct buf *buf_new(struct str s)
{
    struct buf *b = mem_alloc(sizeof *b + s.n + 1);
    b->n = s.n;
    b->p = (char *)(b + 1);
    b->refs = 1;
    if (s.n)
        memcpy(b->p, s.p, s.n);
    return b;
}

struct buf *buf_take(struct strbuf *from)
{
    struct buf *b = NEW(struct buf);
    b->n = from->n;
    b->p = strbuf_take(from);
    b->refs = 1;
    return b;
}

struct buf *buf_ref(struct buf *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

void buf_unref(struct buf *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (b->p != (char *)(b + 1))
        mem_free(b->p);
    mem_free(b);
}
