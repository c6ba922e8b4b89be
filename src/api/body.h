/* body.h - the body of a request: from bytes of some format to the tree of the kind that the URL says, with the
 * checks and the words of upstream's decoder. Pure. */
#pragma once
#include "api/codec.h"

enum body_format { BODY_JSON, BODY_YAML, BODY_PROTOBUF };
struct body_expected {
    struct str api_version, kind; /* what the URL stands for; a body without kind or apiVersion is taken as this */
    const struct type *type;
    bool bare; /* options of a verb: errors come without the words around them, other kinds are not known there */
    struct str also; /* another apiVersion that is taken, as it is the same there; "": none */
};
/* Decodes; `out` carries the expected apiVersion and kind. E_TOO_LARGE for too many values (CODEC_MAX_VALUES), else
 * E_BAD_REQUEST, with the whole message:
 *   the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ...
 * ({...) Secret in version "v1" cannot be handled as a Pod: converting (v1.Secret) to (core.Pod): unknown conversion
 *   the API version in the data (v1) does not match the expected API version (events.k8s.io/v1)
 * Unknown and duplicate fields go to `notes` (may be NULL); what protobuf has besides is skipped. */
MUST_USE bool body_decode(struct arena *a, enum body_format format, struct str body, const struct body_expected *e,
                          struct val *out, struct decode_notes *notes, struct err *err);
/* Whether a text of JSON holds no more values than a request about the kind may: E_TOO_LARGE. */
MUST_USE bool body_fits(struct str json, struct str kind, struct err *err);
/* The refusal of a strict reader: Pod in version "v1" cannot be handled as a Pod: strict decoding error: ... */
void body_strict_text(const struct body_expected *e, const struct decode_notes *notes, struct strbuf *out);
