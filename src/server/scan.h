/* scan.h - what is published of the newest revision, for any thread, and walking those of its objects that a question
 * is about: by their keys or, where it asks for a field that is asked for often, by that field.
 *
 * Invariant: `fields` holds one item for each object and row of scan.c, as it is in `objects`. */
#pragma once
#include "server/int.h"
#include "server/read.h"

struct published published_take(struct server *s); /* any thread; O(1) */
void published_fini(struct published *p);
AUTO_VALUE(published_fini, struct published);

/* What a commit brings, in the store's loop; was and now as in struct store_event. */
void fields_init(struct pmap *fields);
void fields_changed(struct pmap *fields, struct store_entry *was, struct store_entry *now);
/* All of a store that was just opened. */
void fields_fill(struct pmap *fields, const struct store_snapshot *snap);

struct scan {
    bool by_field;
    struct str prefix;
    struct store_iter keys;
    struct pmap_iter items;
};
/* Those of the kind (ns n 0: of all namespaces) that may match the filter, in the order of their keys, from `from`
 * on ("NS/NAME" as continue tokens have it; STR_NONE: all). `fields` not set (an older revision): all are walked.
 * Borrowed from p; NULL: no further one. The arena holds what is looked for. */
struct store_entry *scan_first(struct scan *c, struct arena *a, const struct published *p, const struct kind *k,
                               struct str ns, const struct filter *f, struct str from);
struct store_entry *scan_next(struct scan *c);

/* Where a question and the objects that it may be about find each other (interest.h): a question has one place, the
 * narrowest that its namespace, its name or a field of scan.c's rows gives; an object has a few, and among them that
 * of every question that it matches. */
enum { PLACES_MOST = 8 };
struct str place_of_question(struct arena *a, const struct kind *k, struct str ns, const struct filter *f);
size_t places_of_object(struct arena *a, const struct store_entry *e, struct str out[PLACES_MOST]);

/* All that a request - its kind, namespace, selectors and limit - finds in a snapshot: read.c. The walk takes the
 * snapshot over, and has its time in the turns of r->loop; `done` may come from inside the call. There the answer is
 * a failure, of a selector that is none, or what was found is to be taken: the caller's, counted. */
struct walk;
void walk_start(struct request *r, struct published *own_p, struct str start,
                void (*done)(struct request *r, struct walk *w));
struct obj **walk_take(struct walk *w, size_t *n);
int64_t walk_rev(const struct walk *w); /* of the snapshot */
