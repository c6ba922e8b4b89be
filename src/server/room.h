/* room.h - how much is stored, in all and of each namespace: who may make objects fills neither the memory of the
 * server nor what is there for all. Events are not counted: they have bounds of their own (expiry.h). What is on its
 * way to the disk is not counted yet; that has a bound, too (STORE_QUEUE_BYTES). The store's loop. */
#pragma once
#include "api/obj.h"

/* What a write is for. */
enum room_use {
    ROOM_ANY,
    ROOM_SMALL,  /* a change that adds little: goes on for a sixteenth more */
    ROOM_STATUS, /* what nodes and controllers tell of an object: for an eighth more */
    ROOM_DUTY,   /* what a cluster needs to stand, or to have less: never refused */
};

struct room;
/* A namespace may have half of the bytes. */
struct room *room_new(size_t objects_most, size_t bytes_most) __attribute__((returns_nonnull));
void room_free(struct room *m);                                                  /* NULL is fine */
void room_changed(struct room *m, const struct obj *was, const struct obj *now); /* either may be NULL */
size_t room_bytes(const struct room *m);
/* Whether an object may take the place of another (NULL: of none). What shrinks always may. E_UNAVAILABLE: the
 * server is full; E_FORBIDDEN: the namespace is. */
MUST_USE bool room_fits(const struct room *m, const struct obj *was, const struct obj *now, enum room_use use,
                        struct err *err);
/* What a write is for, where that follows from the objects; of_status: it goes to the subresource. */
enum room_use room_use_of(const struct obj *was, const struct obj *now, bool of_status);
