/* json.h - JSON text (RFC 8259), as Go's encoding/json reads and writes it, because that is what every client of the
 * API was written against. Pure.
 *
 * Reading is two steps: json_check says once whether a text is one well-formed value (in Go's words where not); the
 * cursor then walks the checked text and has no errors left to report. */
#pragma once
#include "base/err.h"

#define JSON_MAX_DEPTH 10000 /* levels */

/* E_BAD_REQUEST: "unexpected end of JSON input", "invalid character 'x' looking for beginning of value" ... */
MUST_USE bool json_check(struct str text, struct err *err);
/* The same for the first of several concatenated values; *used: bytes up to its end. Only white space: *used = 0. */
MUST_USE bool json_check_first(struct str text, size_t *used, struct err *err);

/* How many values stand in a text, its keys not counted: at least so many where it is no JSON. Cheap. */
size_t json_values(struct str text);

/* A cursor over checked text. */
struct json {
    const char *p, *end;
};
enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
struct json json_of(struct str checked);
enum json_type json_type(struct json *j); /* of the value that comes */
bool json_bool(struct json *j);
struct str json_number(struct json *j);                  /* the literal as written */
struct str json_string(struct json *j, struct arena *a); /* NUL-terminated; what is no UTF-8 becomes U+FFFD */
struct str json_skip(struct json *j);                    /* the value's text */
/* json_enter(j); while (json_more(j)) { key = json_key(j, a); ... the value ... } */
void json_enter(struct json *j);                      /* the array or object that comes */
bool json_more(struct json *j);                       /* false: its end, which is consumed */
struct str json_key(struct json *j, struct arena *a); /* borrows from the text where it has no escapes */

/* Whether a number literal is an integer that fits; "1.0" and "1e3" are none. */
MUST_USE bool json_int(struct str literal, int64_t *out);
double json_double(struct str literal); /* out of range: infinite */

/* Writing. Strings with <, >, & and U+2028/9 escaped; doubles as Go has them; what is no UTF-8 becomes \ufffd. */
void json_add_string(struct strbuf *b, struct str s);
void json_add_int(struct strbuf *b, int64_t i);
void json_add_double(struct strbuf *b, double d); /* infinite and not-a-number: null */
