/* notice.h - one change as those are told of it who watch a kind: made once and shared by all of them, and with it
 * what goes over the line, once for each form that somebody asked for. Counted; any thread. */
#pragma once
#include "base/buf.h"
#include "server/encode.h"

enum watch_type { WATCH_TYPE_ADDED, WATCH_TYPE_MODIFIED, WATCH_TYPE_DELETED, WATCH_TYPE_BOOKMARK };
extern const char *const watch_type_names[];

enum { NOTICE_FRAMES = 9 };
struct notice {
    int refs; /* atomic */
    enum watch_type type;
    bool initial_end;        /* the bookmark after the initial events */
    const struct kind *kind; /* that is watched; counted */
    struct obj *obj;         /* counted; NULL for a BOOKMARK, which has only rev */
    int64_t rev;
    struct buf *frames[NOTICE_FRAMES]; /* atomic: NULL until it is asked for */
};
/* Takes a reference of its own; obj NULL: a bookmark. */
struct notice *notice_new(enum watch_type type, const struct kind *k, struct obj *obj, int64_t rev)
    __attribute__((returns_nonnull));
struct notice *notice_ref(struct notice *n);
void notice_unref(struct notice *n);
AUTO_POINTER(notice_unref, struct notice);

/* As a watcher gets it: JSON and YAML as {"type":...,"object":...} and a line end, protobuf as a length (32 bits, big
 * endian) and a meta.v1.WatchEvent. columns: of a table, for the first event of a watch. A reference for the caller.
 */
struct buf *notice_frame(struct notice *n, const struct negotiated *form, enum include include, bool columns)
    __attribute__((returns_nonnull));
/* An ERROR with a meta/v1 Status. */
struct buf *status_frame(enum media media, const struct val *status) __attribute__((returns_nonnull));
