/* mem.h - memory that cannot fail, and ownership that shows in the code.
 * Allocation aborts the process: containers and data survive that by design. What a peer can make grow has
 * a limit where it is declared (strbuf, arena, array_push with a check), and reaching it is an ordinary error. */
#pragma once
#include "base/banned.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define MUST_USE                      __attribute__((warn_unused_result))
#define PRINTF(f, a)                  __attribute__((format(printf, f, a)))
#define UNUSED                        __attribute__((unused))
#define NORETURN                      __attribute__((noreturn))
#define countof(a)                    (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define MAX(a, b)                     ((a) > (b) ? (a) : (b))

/* AUTO(x_fini) struct x v = ...;  AUTO(x_unref) struct x *p = ...: the destructor runs at the end of the scope.
 * A header that declares a destructor makes it usable so with AUTO_VALUE (takes the address of the variable)
 * or AUTO_POINTER (takes the pointer; NULL is skipped). */
#define AUTO(fn) __attribute__((cleanup(auto_##fn), unused))
#define AUTO_VALUE(fn, type)                                                                                         \
    static inline UNUSED void auto_##fn(type *v)                                                                     \
    {                                                                                                                \
        fn(v);                                                                                                       \
    }                                                                                                                \
    struct auto_##fn##_needs_a_semicolon
#define AUTO_POINTER(fn, type)                                                                                       \
    static inline UNUSED void auto_##fn(type **p)                                                                    \
    {                                                                                                                \
        if (*p)                                                                                                      \
            fn(*p);                                                                                                  \
    }                                                                                                                \
    struct auto_##fn##_needs_a_semicolon

/* Gives an owned pointer (or descriptor) away: the variable is left empty. */
#define TAKE(p)                                                                                                      \
    ({                                                                                                               \
        __typeof__(p) take_ = (p);                                                                                   \
        (p) = NULL;                                                                                                  \
        take_;                                                                                                       \
    })
#define TAKE_FD(fd)                                                                                                  \
    ({                                                                                                               \
        int take_ = (fd);                                                                                            \
        (fd) = -1;                                                                                                   \
        take_;                                                                                                       \
    })

/* A bug of ours: prints and aborts, in release too. Input never reaches one. */
#define ASSERT(x) ((x) ? (void)0 : assert_failed(#x, __FILE__, __LINE__))
NORETURN void assert_failed(const char *what, const char *file, int line);

void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1))); /* zeroed */
void *mem_grow(void *p, size_t n) __attribute__((returns_nonnull, alloc_size(2))); /* new bytes undefined */
void *mem_dup(const void *p, size_t n) __attribute__((returns_nonnull));
char *mem_dupz(const char *s) __attribute__((malloc, returns_nonnull));
void mem_free(void *p);           /* NULL is fine */
void mem_wipe(void *p, size_t n); /* is not optimised away */
#define NEW(type) ((type *)mem_alloc(sizeof(type)))
AUTO_POINTER(mem_free, void);
#define AUTO_FREE __attribute__((cleanup(mem_free_at)))
void mem_free_at(void *p); /* p: address of any pointer */

/* Descriptors: -1 is "none". fd_close keeps errno. */
void fd_close(int fd);
static inline UNUSED void auto_fd_close(int *fd)
{
    if (*fd >= 0)
        fd_close(*fd);
}

/* Everything with one lifetime: one request, one turn of a controller, one object. Memory is zeroed. */
struct arena {
    struct arena_block *blocks;
    size_t used; /* bytes handed out */
};
#define ARENA ((struct arena){0})
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull, alloc_size(2)));
void *arena_dup(struct arena *a, const void *p, size_t n) __attribute__((returns_nonnull));
void arena_fini(struct arena *a); /* frees all; the arena is empty and usable again */
void arena_wipe(struct arena *a); /* the same of what held secrets */
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
AUTO_VALUE(arena_fini, struct arena);
