/* rbac_int.h - the life of the index of bindings. */
#pragma once
#include "base/mem.h"

struct rbac;
struct rbac *rbac_new(void) __attribute__((returns_nonnull));
void rbac_free(struct rbac *r);    /* NULL is fine */
void rbac_changed(struct rbac *r); /* a role or binding was written: the index is made anew when it is needed next */
