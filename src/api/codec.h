/* codec.h - between bytes and trees, by type table. JSON, YAML and protobuf behind one interface (CBOR can join).
 *
 * Decoding by type: unknown and duplicate fields, wrong types, with upstream's texts and paths. Strictness is the
 * caller's: every unknown or duplicate field is listed in `notes` (in document order, "unknown field
 * \"spec.containers[0].imagE\"", "duplicate field \"...\""); the caller refuses, warns or ignores. */
#pragma once
#include "api/kind.h"
#include "base/array.h"

#define CODEC_MAX_DEPTH 10000 /* levels, as upstream */

struct decode_notes {
    struct arena *arena;
    ARRAY(struct str) texts;
};

/* Untyped: any JSON (or YAML: one document) as it came. E_BAD_REQUEST with position on bad input. */
MUST_USE bool json_decode(struct arena *a, struct str text, struct val *out, struct err *err);
MUST_USE bool yaml_decode(struct arena *a, struct str text, struct val *out, struct err *err);
/* The documents of a YAML stream or of concatenated JSON, for clients; empty ones are left out. */
MUST_USE bool yaml_decode_all(struct arena *a, struct str text, struct val *list, struct err *err);
void json_encode(struct strbuf *b, const struct val *v); /* compact; untyped */
void yaml_encode(struct strbuf *b, const struct val *v);

/* By type: converts and checks scalars (quantities to canonical form, times, bytes from base64), drops null members,
 * lists notes. The text names field and type as upstream does ("json: cannot unmarshal string into Go struct field
 * ContainerPort.spec.containers.ports.containerPort of type int32"). */
MUST_USE bool type_decode_json(struct arena *a, const struct type *t, struct str text, struct val *out,
                               struct decode_notes *notes, struct err *err);
MUST_USE bool type_decode_yaml(struct arena *a, const struct type *t, struct str text, struct val *out,
                               struct decode_notes *notes, struct err *err);
MUST_USE bool type_decode_pb(struct arena *a, const struct type *t, struct str bytes, struct val *out,
                             struct err *err);
/* From an untyped tree, e.g. what a patch gave. */
MUST_USE bool type_decode_val(struct arena *a, const struct type *t, const struct val *in, struct val *out,
                              struct decode_notes *notes, struct err *err);
/* As Go writes it: fields without omitempty appear with their zero value, map keys sorted. */
void type_encode_json(struct strbuf *b, const struct type *t, const struct val *v);
void type_encode_pb(struct strbuf *b, const struct type *t, const struct val *v);

/* The protobuf envelope: "k8s\0" and runtime.Unknown{typeMeta, raw}. */
MUST_USE bool pb_unwrap(struct str bytes, struct str *api_version, struct str *kind, struct str *raw,
                        struct err *err);
void pb_wrap(struct strbuf *b, struct str api_version, struct str kind, struct str raw);
/* Declared defaults (field.dflt) only; the hand-written ones are in defaults.h. */
void type_default(struct arena *a, const struct type *t, struct val *v);
