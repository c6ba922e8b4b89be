/* str.h - text. `struct str` borrows and goes by value; `struct strbuf` owns and grows to its limit.
 * Bytes, not characters: UTF-8 passes through; str_utf8_ok says whether it is well-formed. */
#pragma once
#include "base/mem.h"
#include <stdarg.h>

struct str {
    const char *p;
    size_t n;
};
#define S(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define S_INIT(lit)                                                                                                  \
    {                                                                                                                \
        "" lit, sizeof(lit) - 1                                                                                      \
    } /* for static tables */
#define STR_NONE   ((struct str){0})
#define STR_FMT    "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

struct str str_of(const char *z); /* borrows; NULL gives the empty text */
bool str_eq(struct str a, struct str b);
bool str_eqz(struct str a, const char *z);
bool str_ieq(struct str a, struct str b); /* ASCII case ignored */
int str_cmp(struct str a, struct str b);  /* bytewise, shorter first: <0, 0, >0 */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_has(struct str s, struct str part);
ptrdiff_t str_find(struct str s, struct str part);        /* offset or -1 */
ptrdiff_t str_find_char(struct str s, char c);            /* offset or -1 */
ptrdiff_t str_rfind_char(struct str s, char c);           /* offset or -1 */
struct str str_sub(struct str s, size_t from, size_t to); /* clamped to s */
struct str str_trim(struct str s);                        /* spaces, tabs, line ends off both ends */
uint64_t str_hash(struct str s);                          /* seeded per process: not stable across runs */
bool str_utf8_ok(struct str s);                           /* RFC 3629: no surrogates, nothing overlong */

/* The character that begins s: how many bytes of it are one in UTF-8; 0, and c left alone: none are. */
size_t str_rune(struct str s, uint32_t *c);

/* Cuts the part before `sep` off `rest`. False when rest is exhausted (rest.p becomes NULL after the last part):
 * "a//b" gives "a", "", "b"; "" gives one empty part. */
bool str_cut(struct str *rest, char sep, struct str *part);
/* Splits at the first `sep`; without one, head is all, tail is STR_NONE and the answer false. */
bool str_split(struct str s, char sep, struct str *head, struct str *tail);

/* Whole text as a decimal number within [min, max]; a leading '-' only where min < 0; no spaces, no '+'. */
MUST_USE bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *out);
MUST_USE bool str_to_u64(struct str s, uint64_t max, uint64_t *out);

char *str_dupz(struct str s);                      /* heap, NUL-terminated; free with mem_free */
struct str str_dup(struct arena *a, struct str s); /* NUL-terminated too */
char *arena_strz(struct arena *a, struct str s);
struct str arena_fmt(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
/* Texts one after the other, whatever bytes are in them; cheaper than a format: STR_JOIN(a, S("u:"), name). */
struct str arena_join(struct arena *a, const struct str *parts, size_t n);
#define STR_JOIN(a, ...) arena_join((a), (struct str[]){__VA_ARGS__}, countof(((struct str[]){__VA_ARGS__})))
struct str arena_vfmt(struct arena *a, const char *fmt, va_list args) PRINTF(2, 0);

/* A buffer with a maximum at birth. Adding past the maximum adds nothing more and sets `over`, which is sticky:
 * it is checked once, at the end. p is always NUL-terminated and never NULL once something was added. */
struct strbuf {
    char *p;
    size_t n, cap, max;
    bool over;
};
#define STRBUF(maximum) ((struct strbuf){.max = (maximum)})
#define STRBUF_TEXT     65536 /* a usual maximum for names, paths and messages */
void strbuf_fini(struct strbuf *b);
AUTO_VALUE(strbuf_fini, struct strbuf);
void strbuf_reset(struct strbuf *b); /* empty again; keeps the memory */
void strbuf_add(struct strbuf *b, struct str s);
void strbuf_addz(struct strbuf *b, const char *z);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_add_rune(struct strbuf *b, uint32_t c); /* in UTF-8; at most 0x10ffff */
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF(2, 3);
/* A stranger's text for a terminal: lines, tabs and letters as they are; what a terminal would obey is shown: ^[ for
 * ESC and \r for a return, as kubectl shows them, ^G for others, \u009b for those above ASCII and for what turns the
 * direction of writing, \x9b for bytes that are no UTF-8. The one place where this is decided. */
void strbuf_add_shown(struct strbuf *b, struct str s);
void strbuf_addvf(struct strbuf *b, const char *fmt, va_list args) PRINTF(2, 0);
char *strbuf_room(struct strbuf *b, size_t n); /* n writable bytes at the end, or NULL (over) */
void strbuf_used(struct strbuf *b, size_t n);  /* n of the room were written */
void strbuf_drop(struct strbuf *b, size_t n);  /* removes n bytes from the front */
struct str strbuf_str(const struct strbuf *b); /* borrows until the next change */
char *strbuf_take(struct strbuf *b);           /* the text is the caller's (mem_free); b is empty */

/* Encodings. Decoders are strict: false on any other byte, wrong length or wrong padding. */
int hex_digit(char c); /* its value, of either case; -1: it is none */
void strbuf_add_hex(struct strbuf *b, const void *p, size_t n);
void strbuf_add_base64(struct strbuf *b, const void *p, size_t n);    /* RFC 4648 section 4, padded */
void strbuf_add_base64url(struct strbuf *b, const void *p, size_t n); /* section 5, unpadded */
MUST_USE bool strbuf_add_unhex(struct strbuf *b, struct str hex);
MUST_USE bool strbuf_add_unbase64(struct strbuf *b, struct str text);
MUST_USE bool strbuf_add_unbase64url(struct strbuf *b, struct str text);
