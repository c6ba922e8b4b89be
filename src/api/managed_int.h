/* managed_int.h - managers that are open (managed.c), as writes change them (manage.c). */
#pragma once
#include "api/managed.h"

struct owner *owners_add(struct owners *m); /* at the end; the pointer is good until the next one */
/* NULL: none. Of those that apply the version does not count. */
struct owner *owners_find(struct owners *m, struct str name, bool apply, struct str api, struct str sub);
struct fieldset *owner_set(struct owners *m, struct owner *x); /* read when it is asked for first */
void owner_set_to(struct owner *x, struct fieldset set);
int owner_cmp(const struct owner *a, const struct owner *b);       /* by name, version, subresource */
int owner_older_cmp(const struct owner *a, const struct owner *b); /* by time, then as owner_cmp */
