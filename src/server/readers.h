/* readers.h - who reads an older state holds the objects that were replaced since, which nobody counts among what is
 * stored: lists and first events of watches whose clients take their time. What all of them can hold has a bound:
 * above it those go that may hold most, and begin again. One loop's. */
#pragma once
#include "base/list.h"
#include "sys/loop.h"

struct readers {
    struct list all;  /* of struct old_reader, the oldest first */
    uint64_t retired; /* bytes of objects that were replaced or deleted, ever */
    uint64_t bytes;   /* of all that is being read, each for itself */
    uint64_t most; /* bytes that they may hold: no more than `bytes`, nor than was retired since the oldest began */
    uint64_t ncut;
    struct soon look;
};
/* Embedded in its owner. */
struct old_reader {
    struct list node;
    struct readers *of; /* NULL: it has not begun */
    uint64_t begun;     /* of->retired then */
    uint64_t bytes;
    void (*cut)(struct old_reader *r); /* ends it, reader_end included; from the loop, never inside a call */
};
void readers_init(struct readers *s, struct loop *l, uint64_t most);
void readers_fini(struct readers *s); /* no look comes any more */
void readers_retired(struct readers *s, size_t bytes);
/* bytes: of the objects that it reads. */
void reader_begin(struct readers *s, struct old_reader *r, uint64_t bytes, void (*cut)(struct old_reader *r));
void reader_end(struct old_reader *r); /* not begun: nothing happens */
