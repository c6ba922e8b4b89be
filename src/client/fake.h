/* fake.h - a tiny API server in memory, for tests of what stands on a transport: honest revisions, conflicts,
 * graceful deletion, finalizers and watches, in an order that the loop's seed decides. No validation, no admission,
 * no rights. */
#pragma once
#include "client/transport.h"

/* most_delay_ns: calls are answered and events delivered up to that much later, at random; 0: in the next turn. */
struct transport *fake_new(struct loop *l, int64_t most_delay_ns);
/* Creates or replaces (whole object, any status) from outside, at once. The answer is borrowed until the next write.
 */
struct obj *fake_put(struct transport *t, const struct kind *k, const struct val *tree);
struct obj *fake_put_yaml(struct transport *t, struct str yaml); /* one document; aborts on bad input */
struct obj *fake_get(struct transport *t, const struct kind *k, struct str ns, struct str name); /* borrowed */
const struct objset *fake_set(struct transport *t, const struct kind *k);
void fake_remove(struct transport *t, const struct kind *k, struct str ns, struct str name);
int64_t fake_rev(const struct transport *t);
void fake_compact(struct transport *t); /* older revisions are gone: watches from them end with E_EXPIRED */
void fake_cut(struct transport *t);     /* every watch ends as if the line broke */
void fake_fail(struct transport *t, int n, enum err_kind kind); /* the next n calls fail so, unheard */
void fake_lose(struct transport *t,
               int n); /* the next n calls are carried out, and their answers lost: E_UNAVAILABLE */
/* Called after every write, whoever made it. was or now may be NULL. */
void fake_on_write(struct transport *t, void (*fn)(void *arg, struct obj *was, struct obj *now), void *arg);
size_t fake_writes(const struct transport *t);
/* Answers GETs of paths (CALL_RAW) with a status and a body. NULL: there is no such path. */
void fake_on_get(struct transport *t, int (*fn)(void *arg, struct str path, struct strbuf *body), void *arg);
