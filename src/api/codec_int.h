/* codec_int.h - what the codecs share: texts of Go's types that are no plain JSON, and the collecting of members. */
#pragma once
#include "api/codec.h"
#include "api/formats.h"

/* time.Parse with RFC3339 or, micro, with exactly six fractional digits; errors in Go's words. Seconds since 1970 of
 * the years 0 to 9999. */
MUST_USE bool gotime_parse(struct str s, bool micro, int64_t *seconds, int32_t *nanos, struct err *err);
void gotime_add(struct strbuf *b, int64_t seconds, int32_t nanos, bool micro);
/* base64.StdEncoding: line ends are skipped; "illegal base64 data at input byte 4". */
MUST_USE bool gobase64_parse(struct arena *a, struct str s, struct str *out, struct err *err);

/* Members of structs under construction, one stack for all levels; `order` is the place of the field. */
struct building {
    uint32_t order;
    struct member m;
};
struct builder {
    struct arena *a;
    ARRAY(struct building) stack;
};
/* The member of the struct that began at `base`; made (as null) where absent. */
struct val *builder_member(struct builder *b, size_t base, uint32_t order, const struct name *name);
/* The finished struct, in the order of its fields, without what is null. */
struct val builder_finish(struct builder *b, size_t base);

/* The field of a struct by name, inline members included; order for builder_member. `in`: the inline field through
 * which it was found, or NULL. */
const struct field *field_find(const struct type *t, const struct name *name, uint32_t *order,
                               const struct field **in);
/* Whether Go would not tell the value from the field's absence. */
bool field_is_zero(const struct field *f, const struct val *v);
/* Whether Go's encoder writes a field that has no value. */
bool field_zero_written(const struct field *f);
/* What a list element or map value of null reads as. */
struct val type_zero(const struct type *t);
