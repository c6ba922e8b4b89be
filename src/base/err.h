/* err.h - one way to fail. A fallible function returns false (or NULL, or -1 for a descriptor) and fills the
 * caller's struct err; on success it leaves it alone. Plain data: no ownership, may be copied.
 *
 * The table gives every kind of error its Kubernetes reason and HTTP status (meta/v1 Status), so nothing is
 * translated later. */
#pragma once
#include "base/str.h"

/*    kind               reason                   HTTP */
#define ERR_TABLE(X)                                                                                                 \
    X(BAD_REQUEST, "BadRequest", 400)                                                                                \
    X(UNAUTHORIZED, "Unauthorized", 401)                                                                             \
    X(FORBIDDEN, "Forbidden", 403)                                                                                   \
    X(NOT_FOUND, "NotFound", 404)                                                                                    \
    X(METHOD_NOT_ALLOWED, "MethodNotAllowed", 405)                                                                   \
    X(NOT_ACCEPTABLE, "NotAcceptable", 406)                                                                          \
    X(CONFLICT, "Conflict", 409)                                                                                     \
    X(ALREADY_EXISTS, "AlreadyExists", 409)                                                                          \
    X(GONE, "Gone", 410)                                                                                             \
    X(EXPIRED, "Expired", 410)                                                                                       \
    X(TOO_LARGE, "RequestEntityTooLarge", 413)                                                                       \
    X(UNSUPPORTED_MEDIA, "UnsupportedMediaType", 415)                                                                \
    X(INVALID, "Invalid", 422)                                                                                       \
    X(TOO_MANY_REQUESTS, "TooManyRequests", 429)                                                                     \
    X(INTERNAL, "InternalError", 500)                                                                                \
    X(NOT_IMPLEMENTED, "", 501)                                                                                      \
    X(UNAVAILABLE, "ServiceUnavailable", 503)                                                                        \
    X(TIMEOUT, "Timeout", 504)                                                                                       \
    X(IO, "InternalError", 500)                                                                                      \
    X(CANCELLED, "", 499)

enum err_kind {
    E_NONE,
#define X(kind, reason, http) E_##kind,
    ERR_TABLE(X)
#undef X
};

struct err {
    enum err_kind kind;
    int sys;         /* errno, where the kernel said no; else 0 */
    char text[1000]; /* one sentence: what, where, and the way out; cut if longer */
};
#define ERR ((struct err){0})

bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF(3, 4); /* false */
/* Kind IO (NOT_FOUND for ENOENT, FORBIDDEN for EACCES and EPERM, ...), the text followed by ": strerror(errno)". */
bool err_errno(struct err *err, const char *fmt, ...) PRINTF(2, 3); /* false */
/* Puts "text: " before what is there. */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF(2, 3); /* false */
const char *err_reason(enum err_kind kind);
int err_http(enum err_kind kind);
enum err_kind err_kind_of(struct str reason,
                          int http); /* what a Status says: its reason, else its code; else E_INTERNAL */
#define ERR_FMT    "%s"
#define ERR_ARG(e) (e).text
