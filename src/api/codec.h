/* codec.h - between bytes and trees, by type table. JSON, YAML and protobuf behind one interface (CBOR can join).
 *
 * Decoding by type: unknown and duplicate fields, wrong types, with upstream's texts and paths. Strictness is the
 * caller's: unknown and duplicate fields are listed in `notes`, each once, in document order and at most
 * DECODE_MAX_NOTES ("unknown field \"spec.containers[0].imagE\"", "duplicate field \"...\""); the caller refuses,
 * warns or ignores. */
#pragma once
#include "api/kind.h"
#include "base/array.h"

#define CODEC_MAX_YAML          (64 << 20) /* bytes of a YAML document as JSON */
#define CODEC_MAX_VALUES        42000      /* in a body, a JSON patch of 10,000 steps among them: each costs time */
#define CODEC_MAX_VALUES_OF_CRD 100000     /* administrators make these; some without descriptions hold over 45,000 */
#define DECODE_MAX_NOTES        100        /* as upstream; more are dropped */
struct decode_notes {
    struct arena *arena;
    ARRAY(struct str) texts;
    size_t yaml; /* how many of the first came from YAML itself: "line 5: key \"a\" already set in map" */
};

/* Untyped: any JSON (or YAML: one document) as it came. E_BAD_REQUEST on bad input, in Go's words; E_TOO_LARGE beyond
 * 2 GiB. */
MUST_USE bool json_decode(struct arena *a, struct str text, struct val *out, struct err *err);
/* The same, and what is there twice goes to `notes`: duplicate field "data.a". */
MUST_USE bool json_decode_noted(struct arena *a, struct str text, struct val *out, struct decode_notes *notes,
                                struct err *err);
MUST_USE bool yaml_decode(struct arena *a, struct str text, struct val *out, struct err *err);
/* The documents of a YAML stream or of concatenated JSON, for clients; empty ones are left out. */
MUST_USE bool yaml_decode_all(struct arena *a, struct str text, struct val *list, struct err *err);
void json_encode(struct strbuf *b, const struct val *v); /* compact; untyped */
void yaml_encode(struct strbuf *b, const struct val *v);

/* By type. What comes out is canonical: values converted and checked (quantities in canonical form, times in UTC,
 * bytes from base64), members in the order of the type's fields, and nothing in it that Go would not tell from its
 * absence: null, "", 0, false and {} of fields that are no pointers are dropped, and every [] but those that defaults
 * and rules tell from none (FIELD_EMPTY). Type errors are in the words of Go ("json: cannot unmarshal string into Go
 * struct field ContainerPort.spec.containers.ports.containerPort of type int32"); E_BAD_REQUEST. */
MUST_USE bool type_decode_json(struct arena *a, const struct type *t, struct str text, struct val *out,
                               struct decode_notes *notes, struct err *err);
MUST_USE bool type_decode_yaml(struct arena *a, const struct type *t, struct str text, struct val *out,
                               struct decode_notes *notes, struct err *err);
MUST_USE bool type_decode_pb(struct arena *a, const struct type *t, struct str bytes, struct val *out,
                             struct err *err);
/* From an untyped tree, e.g. what a patch gave. */
MUST_USE bool type_decode_val(struct arena *a, const struct type *t, const struct val *in, struct val *out,
                              struct decode_notes *notes, struct err *err);
/* "strict decoding error: unknown field \"x\", ..." of what was noted. */
void decode_notes_text(const struct decode_notes *notes, struct strbuf *out);
void decode_notes_fini(struct decode_notes *notes);
AUTO_VALUE(decode_notes_fini, struct decode_notes);

/* apiVersion and kind of a body ("" where absent or null), before its type is known; case counts. Errors as upstream:
 * "couldn't get version/kind; json parse error: ...". */
MUST_USE bool json_type_meta(struct arena *a, struct str text, struct str *api_version, struct str *kind,
                             struct err *err);
/* The beginning of a body as upstream shows it after an error: text where it begins with '{', else hex. */
void body_summary(struct strbuf *b, struct str body);

/* As Go writes it: fields without omitempty appear with their zero value, map keys sorted. No line end after it. */
void type_encode_json(struct strbuf *b, const struct type *t, const struct val *v);
void type_encode_pb(struct strbuf *b, const struct type *t, const struct val *v);
/* The tree as its JSON reads: with the zero values that Go writes. What a patch is applied to. */
struct val type_complete(struct arena *a, const struct type *t, const struct val *v);

/* The protobuf envelope: "k8s\0" and runtime.Unknown{typeMeta, raw}. */
MUST_USE bool pb_unwrap(struct str bytes, struct str *api_version, struct str *kind, struct str *raw,
                        struct err *err);
void pb_wrap(struct strbuf *b, struct str api_version, struct str kind, struct str raw);
/* The same around so many bytes that follow in between. */
void pb_wrap_begin(struct strbuf *b, struct str api_version, struct str kind, size_t raw);
void pb_wrap_end(struct strbuf *b);
/* Declared defaults (field_extra.dflt) only, of any type: tests look at them alone. kind_default (rules.h) sets these
 * and the hand-written ones. */
void type_default(struct arena *a, const struct type *t, struct val *v);
