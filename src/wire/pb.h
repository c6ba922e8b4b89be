/* pb.h - the protobuf wire format: varints, tags, lengths. Pure; knows no messages.
 * https://protobuf.dev/programming-guides/encoding */
#pragma once
#include "base/err.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 }; /* groups are refused */

/* A cursor over one message. */
struct pb {
    const uint8_t *p, *end;
};
struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t n;       /* varint, fixed64, fixed32 */
    struct str bytes; /* PB_BYTES: borrows from the message */
};
struct pb pb_of(struct str message);
/* 1: a field, 0: the end, -1: not protobuf (E_BAD_REQUEST). */
MUST_USE int pb_next(struct pb *m, struct pb_field *f, struct err *err);

void pb_add_varint(struct strbuf *b, uint64_t v);
void pb_add_tag(struct strbuf *b, uint32_t number, enum pb_wire wire);
void pb_add_uint(struct strbuf *b, uint32_t number, uint64_t v); /* int32 and int64 sign-extended by the caller */
void pb_add_fixed64(struct strbuf *b, uint32_t number, uint64_t v);
void pb_add_bytes(struct strbuf *b, uint32_t number, struct str bytes);
size_t pb_varint_size(uint64_t v);
/* A nested message: at = pb_open(b, n); ... its fields ...; pb_close(b, at). */
size_t pb_open(struct strbuf *b, uint32_t number);
void pb_close(struct strbuf *b, size_t at);
