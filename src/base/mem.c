#define WHERRY_ALLOW_BANNED
#include "base/mem.h"
#include <errno.h>

void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

static NORETURN void out_of_memory(size_t n)
{
    fprintf(stderr, "out of memory: %zu bytes\n", n);
    abort();
}

void *mem_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *mem_grow(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *mem_dup(const void *p, size_t n)
{
    void *copy = mem_alloc(n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *mem_dupz(const char *s)
{
    return mem_dup(s, strlen(s) + 1);
}

void mem_free(void *p)
{
    free(p);
}

void mem_free_at(void *p)
{
    void *owned;
    memcpy(&owned, p, sizeof owned);
    free(owned);
}

void mem_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}

void fd_close(int fd)
{
    int keep = errno;
    if (fd >= 0)
        (void)close(fd); /* what must be on the disk was synced by who wrote it */
    errno = keep;
}

#define BLOCK_MIN 1008
#define BLOCK_MAX (256 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    _Alignas(16) char bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need = (MAX(n, 1) + 15) & ~(size_t)15;
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < need) {
        size_t size = b ? MIN(b->size * 2, BLOCK_MAX) : BLOCK_MIN;
        size = MAX(size, need);
        struct arena_block *fresh = mem_alloc(sizeof *fresh + size);
        fresh->size = size;
        if (b && b->size - b->used > size - need) { /* a single large piece: keep filling the old block */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->blocks = fresh;
        }
        b = fresh;
    }
    void *p = b->bytes + b->used;
    b->used += need;
    a->used += need;
    return p;
}

void *arena_dup(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

void arena_wipe(struct arena *a)
{
    for (struct arena_block *b = a->blocks; b; b = b->next)
        mem_wipe(b->bytes, b->used);
    arena_fini(a);
}

void arena_fini(struct arena *a)
{
    for (struct arena_block *b = a->blocks; b;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    *a = ARENA;
}
