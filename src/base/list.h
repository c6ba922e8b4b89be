/* list.h - the intrusive doubly linked list. A head and a node are the same struct; a node not in a list points
 * to itself, so list_del may be called twice. list_each allows removal of the current element only. */
#pragma once
#include "base/mem.h"

struct list {
    struct list *prev, *next;
};
#define LIST_HEAD(name)                                                                                              \
    {                                                                                                                \
        &(name), &(name)                                                                                             \
    }

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_add_tail(struct list *head, struct list *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
static inline void list_add(struct list *head, struct list *n) /* at the front */
{
    list_add_tail(head->next, n);
}
static inline void list_del(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
#define list_first(head, type, member) (list_empty(head) ? NULL : container_of((head)->next, type, member))
#define list_each(it, head, type, member)                                                                            \
    for (type *it = container_of((head)->next, type, member),                                                        \
              *it##_next = container_of(it->member.next, type, member);                                              \
         &it->member != (head); it = it##_next, it##_next = container_of(it->member.next, type, member))
