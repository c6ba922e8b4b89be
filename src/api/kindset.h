/* kindset.h - the kinds that are served: an immutable, counted set that is published. Whoever answers a question
 * takes the newest one and keeps to it until the answer is done; meanwhile another may be published, with kinds that
 * came at run time, were replaced or are gone. The built-in kinds are in every set, static and shared: the set of
 * them alone costs nothing, and what comes at run time is beside them.
 *
 * A kind that came at run time is counted too: its sets hold it, each of its objects, and who keeps it otherwise. Its
 * types and names live in its arena and go with it. A kind that is replaced is another struct kind of the same group,
 * version and plural.
 *
 * Threads: any may take sets and drop them, and listen; one publishes. Pure but for the locks. */
#pragma once
#include "api/kind.h"
#include "base/list.h"
#include "base/map.h"
#include <pthread.h>

struct kind_set {
    int refs;                        /* atomic; not of the built-in one */
    const struct kind *const *kinds; /* in discovery order, the built-in ones first */
    size_t n;
    const struct group_version *versions; /* the same */
    size_t nversions;
    const char *hash; /* of all that is in it: other sets have others */
    /* of kinds that came at run time */
    struct arena arena;
    struct map by_plural, by_kind; /* "group/version/plural", "group/version/Kind" -> struct kind */
    struct map by_prefix;          /* "plural.group" -> the struct kind as which its objects are stored; counted */
    struct map hidden;             /* as by_kind, of those that are not served; counted */
};
extern const struct kind_set kind_set_builtin;

const struct kind_set *kind_set_ref(const struct kind_set *s);
void kind_set_unref(const struct kind_set *s);
AUTO_POINTER(kind_set_unref, const struct kind_set);
/* The built-in kinds and these, of which it takes references of its own; hidden ones are found by
 * kind_set_find_stored alone. Groups that have kinds at run time alone
 * come behind the others, in order of their names; versions of a group the most stable first (v2, v1, v1beta1,
 * v1alpha1). */
const struct kind_set *kind_set_new(const struct kind *const *more, size_t n) __attribute__((returns_nonnull));

/* NULL: there is no such kind. Borrowed from the set. */
const struct kind *kind_set_find(const struct kind_set *s, struct str group, struct str version, struct str kind);
const struct kind *kind_set_find_plural(const struct kind_set *s, struct str group, struct str version,
                                        struct str plural);
const struct kind *kind_set_of_api_version(const struct kind_set *s, struct str api_version, struct str kind);
/* What is stored as this, at a key that begins with resource ("plural.group" of run time): the very kind, be it
 * served or not, or the one as which that resource is stored now. */
const struct kind *kind_set_find_stored(const struct kind_set *s, struct str api_version, struct str kind,
                                        struct str resource);
/* v2, v1, v1beta2, v1beta1, v1alpha1, and then whatever else by its letters (k8s.io/apimachinery/pkg/version): <0: a
 * is preferred. */
int version_order(struct str a, struct str b);
bool kind_set_has(const struct kind_set *s, const struct kind *k); /* this very one */

/* --- kinds that come at run time --- */

enum { KIND_IDS = 8192 }; /* for tables by id: built-in kinds and those of run time that live */
/* Zeroed, with an id, and one reference, which is the maker's, who fills it in, what it points to from its arena, and
 * then changes it no more. It holds the kind as which it is stored: where that is another one, the maker gives it a
 * reference. Texts end in a NUL. NULL: there are too many. */
struct kind *kind_new(void);
struct arena *kind_arena(struct kind *k);
/* Of built-in kinds nothing is counted. */
const struct kind *kind_ref(const struct kind *k);
void kind_unref(const struct kind *k);
AUTO_POINTER(kind_unref, const struct kind);
/* The same resource in the same version, be it that one of them replaced the other. */
bool kind_same(const struct kind *a, const struct kind *b);
size_t kinds_alive(void); /* that came at run time: for tests */

/* --- publishing --- */

struct kind_listener {
    struct list node;
    /* In the publisher's thread, after `now` is published. Borrowed. Neither publishes nor listens nor ends that. */
    void (*fn)(struct kind_listener *l, const struct kind_set *was, const struct kind_set *now);
};
struct kind_publisher {
    pthread_mutex_t lock;
    const struct kind_set *now;
    pthread_mutex_t telling;
    struct list listeners; /* under it */
};
void kind_publisher_init(struct kind_publisher *p); /* the built-in set */
void kind_publisher_fini(struct kind_publisher *p);
const struct kind_set *kind_publisher_take(struct kind_publisher *p); /* a reference. Any thread */
void kind_publish(struct kind_publisher *p, const struct kind_set *own_set);
void kind_listen(struct kind_publisher *p, struct kind_listener *l);
void kind_unlisten(struct kind_publisher *p, struct kind_listener *l); /* fn does not run any more on return */
