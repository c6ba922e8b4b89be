/* spop.h - the protocol by which HAProxy asks (SPOP 2.0; HAProxy's SPOE.txt, 3): frames in, frames out. Pure. We are
 * the agent: HAProxy says hello, then sends NOTIFY with messages; each is answered by an ACK that sets variables, in
 * any order. Payloads that come in fragments are refused, as we do not announce them. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define SPOP_FRAME_MOST 16380 /* what we take and send: HAProxy's buffer less the length */
enum spop_type { SPOP_HELLO = 1, SPOP_DISCONNECT = 2, SPOP_NOTIFY = 3 };
enum spop_kind { SPOP_NULL, SPOP_BOOL, SPOP_NUMBER, SPOP_IP4, SPOP_IP6, SPOP_TEXT };
struct spop_value {
    enum spop_kind kind;
    int64_t number;  /* of a bool: 0, 1 */
    struct str text; /* also the bytes of an address */
};
struct spop_argument {
    struct str name;
    struct spop_value value;
};
enum { SPOP_ARGUMENTS = 16 };
/* A frame; texts are borrowed from the bytes. Of a HELLO the items are arguments; of a NOTIFY the first message. */
struct spop_frame {
    enum spop_type type;
    uint64_t stream, frame;
    struct str message;
    struct spop_argument arguments[SPOP_ARGUMENTS];
    size_t n;
};
/* *used: bytes of the frame, its length included; 0: it is not whole yet. False: nobody who speaks this protocol. */
MUST_USE bool spop_read(struct str bytes, struct spop_frame *f, size_t *used, struct err *err);
/* NULL: it is not there, or null. */
const struct spop_value *spop_argument(const struct spop_frame *f, const char *name);
struct str spop_text(const struct spop_frame *f, const char *name); /* "" */

/* Appended to out. The answer to HELLO: frames up to the smaller of HAProxy's and ours. */
void spop_put_hello(struct strbuf *out, const struct spop_frame *hello);
void spop_put_disconnect(struct strbuf *out, unsigned code, const char *why);
/* An ACK: begin, variables (scope "txn"; names are ours), end. */
size_t spop_ack_begin(struct strbuf *out, uint64_t stream, uint64_t frame); /* for _end */
void spop_ack_text(struct strbuf *out, struct str variable, struct str value);
void spop_ack_number(struct strbuf *out, struct str variable, uint32_t value);
void spop_ack_end(struct strbuf *out, size_t begin);
