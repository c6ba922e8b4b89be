/* listing.h - a list as bytes, piece by piece, in each form that clients ask for: whatever its length, no more than a
 * piece of it is there at a time. */
#pragma once
#include "server/encode.h"

struct listing {
    /* set by who makes it; what is borrowed here lives as long */
    struct arena *arena;
    const struct kind *kind;
    const struct answer *answer;
    enum media media; /* of a Table never protobuf */
    bool beta;        /* in meta.k8s.io/v1beta1 */
    enum form form;   /* FORM_PLAIN, FORM_TABLE, FORM_METADATA_LIST */
    enum include include;
    /* its own */
    struct str head, tail; /* around the items; protobuf: metadata, and nothing */
    size_t next;           /* the item whose turn it is */
    size_t length;         /* protobuf: of head and items, which is told before them */
    bool begun, measured, large;
};
/* Adds the next piece, some 256 KiB; it may be empty. True: more follows. */
bool listing_more(struct listing *l, struct strbuf *b);
/* The list's metadata, in a tree. */
void listing_meta(struct arena *a, struct val *v, const struct answer *ans);
