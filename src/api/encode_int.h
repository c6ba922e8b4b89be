/* encode_int.h - the encoder's state, shared by codecs and objects. */
#pragma once
#include "api/managed.h"
#include "api/packed.h"

struct encoder {
    struct strbuf *b;
    int64_t rev;                   /* written as resourceVersion of the outermost metadata; 0: what the tree says */
    const struct managed *managed; /* and as its managedFields; NULL: what the tree says */
    const struct packed *packed;   /* parts that the tree lacks; NULL: none. JSON alone */
    size_t part;                   /* the next one: they stand in the order of the text */
};
void encode_value(struct encoder *e, const struct type *t, const struct val *v);
void encode_message(struct encoder *e, const struct type *t, const struct val *v); /* protobuf */
