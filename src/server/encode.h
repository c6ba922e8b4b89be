/* encode.h - objects in the forms that clients ask for. Any thread. */
#pragma once
#include "server/negotiate.h"
#include "server/request.h"

/* The object's tree with its resourceVersion, in the arena (shares what it can with the object). */
struct val object_tree(struct arena *a, const struct obj *o);
enum include { INCLUDE_METADATA, INCLUDE_NONE, INCLUDE_OBJECT };
/* A Table of some objects; columns: with its definitions of columns, which later events of a watch go without. */
struct val table_of(struct arena *a, const struct kind *k, struct obj *const *items, size_t n, enum include include,
                    bool columns);
/* One more row of it: the cells of a tree of the kind, and what stands beside them. */
void table_add_row(struct arena *a, const struct kind *k, struct val *table, const struct val *tree,
                   struct val object);
/* A Scale has a table of its own. */
struct val table_of_scale(struct arena *a, const struct val *scale, enum include include);
struct val metadata_of(struct arena *a, const struct obj *o);
/* Of a Table or PartialObjectMetadata: the version that was asked for. */
void meta_version_set(struct arena *a, struct val *v, bool beta);
struct str meta_version(bool beta);
/* Adds a tree of a type in a media type; protobuf with its envelope. */
void encode_tree(struct strbuf *b, enum media media, const struct type *t, const struct val *v);
void encode_obj(struct strbuf *b, enum media media, struct obj *o);
