/* fail.h - the refusals of an API server with upstream's exact shape (k8s.io/apimachinery/pkg/api/errors): each fills
 * the request's answer and returns false. */
#pragma once
#include "api/rules.h"
#include "server/request.h"

bool fail_not_found(struct request *r);   /* pods "x" not found */
bool fail_no_route(struct request *r);    /* the server could not find the requested resource */
bool fail_not_allowed(struct request *r); /* 405 */
bool fail_named_not_found(struct request *r, struct str group, struct str resource, struct str name);
bool fail_exists(struct request *r, bool being_deleted);                  /* 409 AlreadyExists */
bool fail_conflict(struct request *r, const char *fmt, ...) PRINTF(2, 3); /* Operation cannot be fulfilled on ... */
#define CONFLICT_MODIFIED                                                                                            \
    "the object has been modified; please apply your changes to the latest version and try again"
/* As conflict, with the Kind where the resource usually stands (preconditions of deletes). */
bool fail_precondition(struct request *r, const char *fmt, ...) PRINTF(2, 3);
bool fail_forbidden(struct request *r, const char *fmt, ...) PRINTF(2, 3); /* pods "x" is forbidden: ... */
bool fail_bad_request(struct request *r, const char *fmt, ...) PRINTF(2, 3);
bool fail_internal(struct request *r, const char *fmt, ...)
    PRINTF(2, 3); /* 500 InternalError, `Internal error occurred: ` */
bool fail_plain(struct request *r, int code, const char *fmt, ...) PRINTF(3, 4); /* neither reason nor details */
bool fail_unauthorized(struct request *r);
bool fail_unavailable(struct request *r, const char *fmt, ...) PRINTF(2, 3); /* 503 ServiceUnavailable */
bool fail_expired(struct request *r, const char *fmt, ...) PRINTF(2, 3);
bool fail_too_large_revision(struct request *r, int64_t asked, int64_t have); /* 504 Timeout */
bool fail_too_many(struct request *r, int retry_after_s, const char *fmt, ...) PRINTF(3, 4);
/* 422 with causes. kind and group name what is invalid: Pod, CreateOptions of meta.k8s.io ... */
bool fail_invalid(struct request *r, struct str group, struct str kind, struct str name,
                  const struct field_errors *e);
bool fail_err(struct request *r, const struct err *err); /* whatever a lower room said */
/* What a patch gave is no object of the type. */
bool fail_patched(struct request *r, const struct val *patched, const struct err *err);
/* A cause on what fail_* just set. */
void fail_add_cause(struct request *r, const char *reason, struct str message, struct str field);

/* One field error, for options and the like. */
void field_error_add(struct field_errors *e, enum field_error_type t, const char *field, const char *fmt, ...)
    PRINTF(4, 5);
/* The Status of the answer as a tree of T(meta_v1_Status). */
struct val status_of(struct request *r);
/* The success Status of a delete. */
struct val status_deleted(struct request *r, const struct obj *o);
