/* array.h - the growable array: ARRAY(struct thing) things = {0}; array_push(&things, x); things.p[i]; array_fini.
 * Elements are moved by realloc: keep no pointers into it. */
#pragma once
#include "base/mem.h"

#define ARRAY(type)                                                                                                  \
    struct {                                                                                                         \
        type *p;                                                                                                     \
        size_t n, cap;                                                                                               \
    }
#define array_push(a, v)       (array_reserve((a), 1), (void)((a)->p[(a)->n++] = (v)))
#define array_reserve(a, more) ((a)->p = array_grow((a)->p, (a)->n + (more), &(a)->cap, sizeof *(a)->p))
#define array_pop(a)           ((a)->p[--(a)->n])
#define array_del(a, i)                                                                                              \
    (memmove((a)->p + (i), (a)->p + (i) + 1, ((a)->n - (size_t)(i)-1) * sizeof *(a)->p),                             \
     (void)(a)->n--) /* keeps the order */
#define array_clear(a)    ((void)((a)->n = 0))
#define array_fini(a)     (mem_free((a)->p), (a)->p = NULL, (a)->n = (a)->cap = 0)
#define array_each(it, a) for (__typeof__(*(a)->p) *it = (a)->p; it != NULL && it < (a)->p + (a)->n; it++)

static inline void *array_grow(void *p, size_t need, size_t *cap, size_t size)
{
    if (need <= *cap)
        return p;
    *cap = MAX(need, *cap ? *cap * 2 : 8);
    return mem_grow(p, *cap * size);
}
