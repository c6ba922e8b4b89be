#include "server/fail.h"
#include "api/codec.h"
#include "api/formats.h"

static bool request_fail(struct request *r, int code, const char *reason, struct str message)
{
    answer_reset(r);
    r->answer.type = ANSWER_FAILED;
    r->answer.code = code;
    r->answer.fail = (struct failure){.code = code, .reason = reason, .message = message};
    return false;
}

static struct failure *details_set(struct request *r, struct str group, struct str kind, struct str name)
{
    struct failure *f = &r->answer.fail;
    f->details = true;
    f->group = group;
    f->kind = kind;
    f->name = name;
    return f;
}

static struct str text_vfmt(struct request *r, const char *fmt, va_list args) PRINTF(2, 0);
static struct str text_vfmt(struct request *r, const char *fmt, va_list args)
{
    return arena_vfmt(&r->arena, fmt, args);
}
#define FORMATTED(r, fmt)                                                                                            \
    ({                                                                                                               \
        va_list args_;                                                                                               \
        va_start(args_, fmt);                                                                                        \
        struct str text_ = text_vfmt((r), (fmt), args_);                                                             \
        va_end(args_);                                                                                               \
        text_;                                                                                                       \
    })

/* schema.GroupResource.String */
static struct str resource_qualified(struct request *r, struct str resource, struct str group)
{
    return group.n ? arena_fmt(&r->arena, STR_FMT "." STR_FMT, STR_ARG(resource), STR_ARG(group)) : resource;
}
static struct str of_request(struct request *r)
{
    return resource_qualified(r, r->resource, r->group);
}

bool fail_named_not_found(struct request *r, struct str group, struct str resource, struct str name)
{
    request_fail(r, 404, "NotFound",
                 arena_fmt(&r->arena, STR_FMT " \"" STR_FMT "\" not found",
                           STR_ARG(resource_qualified(r, resource, group)), STR_ARG(name)));
    details_set(r, group, resource, name);
    return false;
}

bool fail_not_found(struct request *r)
{
    bool singular = r->kind == K(ComponentStatus); /* its registry says it so */
    return fail_named_not_found(r, r->group, singular ? S("componentstatus") : r->resource, r->name);
}

bool fail_no_route(struct request *r)
{
    request_fail(r, 404, "NotFound", S("the server could not find the requested resource"));
    r->answer.fail.details = true;
    return false;
}

bool fail_not_allowed(struct request *r)
{
    request_fail(r, 405, "MethodNotAllowed", S("the server does not allow this method on the requested resource"));
    r->answer.fail.details = true;
    return false;
}

bool fail_exists(struct request *r, bool being_deleted)
{
    request_fail(r, 409, "AlreadyExists",
                 arena_fmt(&r->arena, "%s" STR_FMT " \"" STR_FMT "\" already exists",
                           being_deleted ? "object is being deleted: " : "", STR_ARG(of_request(r)),
                           STR_ARG(r->name)));
    details_set(r, r->group, r->resource, r->name);
    return false;
}

bool fail_conflict(struct request *r, const char *fmt, ...)
{
    struct str text = FORMATTED(r, fmt);
    request_fail(r, 409, "Conflict",
                 arena_fmt(&r->arena, "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT "\": " STR_FMT,
                           STR_ARG(of_request(r)), STR_ARG(r->name), STR_ARG(text)));
    details_set(r, r->group, r->resource, r->name);
    return false;
}

bool fail_precondition(struct request *r, const char *fmt, ...)
{
    struct str text = FORMATTED(r, fmt);
    struct str what = resource_qualified(r, r->kind->kind, r->group);
    request_fail(r, 409, "Conflict",
                 arena_fmt(&r->arena, "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT "\": " STR_FMT,
                           STR_ARG(what), STR_ARG(r->name), STR_ARG(text)));
    details_set(r, r->group, r->kind->kind, r->name);
    return false;
}

bool fail_forbidden(struct request *r, const char *fmt, ...)
{
    struct str text = FORMATTED(r, fmt);
    struct str what = of_request(r);
    request_fail(r, 403, "Forbidden",
                 r->name.n ? arena_fmt(&r->arena, STR_FMT " \"" STR_FMT "\" is forbidden: " STR_FMT, STR_ARG(what),
                                       STR_ARG(r->name), STR_ARG(text))
                           : arena_fmt(&r->arena, STR_FMT " is forbidden: " STR_FMT, STR_ARG(what), STR_ARG(text)));
    details_set(r, r->group, r->resource, r->name);
    return false;
}

bool fail_bad_request(struct request *r, const char *fmt, ...)
{
    return request_fail(r, 400, "BadRequest", FORMATTED(r, fmt));
}

bool fail_internal(struct request *r, const char *fmt, ...)
{
    struct str text = FORMATTED(r, fmt);
    request_fail(r, 500, "InternalError", arena_fmt(&r->arena, "Internal error occurred: " STR_FMT, STR_ARG(text)));
    r->answer.fail.details = true;
    fail_add_cause(r, "", text, STR_NONE);
    return false;
}

bool fail_plain(struct request *r, int code, const char *fmt, ...)
{
    return request_fail(r, code, "", FORMATTED(r, fmt));
}

bool fail_unavailable(struct request *r, const char *fmt, ...)
{
    return request_fail(r, 503, "ServiceUnavailable", FORMATTED(r, fmt));
}

bool fail_unauthorized(struct request *r)
{
    return request_fail(r, 401, "Unauthorized", S("Unauthorized"));
}

bool fail_expired(struct request *r, const char *fmt, ...)
{
    return request_fail(r, 410, "Expired", FORMATTED(r, fmt));
}

bool fail_too_large_revision(struct request *r, int64_t asked, int64_t have)
{
    request_fail(
        r, 504, "Timeout",
        arena_fmt(&r->arena, "Too large resource version: %lld, current: %lld", (long long)asked, (long long)have));
    r->answer.fail.details = true;
    r->answer.fail.retry_after_s = 1;
    fail_add_cause(r, "ResourceVersionTooLarge", S("Too large resource version"), STR_NONE);
    return false;
}

bool fail_too_many(struct request *r, int retry_after_s, const char *fmt, ...)
{
    request_fail(r, 429, "TooManyRequests", FORMATTED(r, fmt));
    r->answer.fail.details = true;
    r->answer.fail.retry_after_s = retry_after_s;
    return false;
}

bool fail_invalid(struct request *r, struct str group, struct str kind, struct str name, const struct field_errors *e)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    strbuf_addf(&text, STR_FMT " \"" STR_FMT "\" is invalid", STR_ARG(resource_qualified(r, kind, group)),
                STR_ARG(name));
    if (e->list.n) {
        strbuf_addz(&text, ": ");
        field_errors_text(e, &text);
    }
    request_fail(r, 422, "Invalid", str_dup(&r->arena, strbuf_str(&text)));
    (void)details_set(r, group, kind, name);
    for (size_t i = 0; i < e->list.n; i++)
        fail_add_cause(r, field_error_reason(e->list.p[i].type), str_dup(&r->arena, e->list.p[i].text),
                       str_dup(&r->arena, e->list.p[i].field));
    return false;
}

bool fail_err(struct request *r, const struct err *err)
{
    return request_fail(r, err_http(err->kind), err_reason(err->kind), str_dup(&r->arena, str_of(err->text)));
}

static int by_name(const void *x, const void *y)
{
    const struct member *a = x, *b = y;
    return str_cmp(a->name->s, b->name->s);
}

static void sort_members(struct val *v)
{
    if (val_is(v, VAL_MAP) && v->n) {
        qsort(v->map, v->n, sizeof *v->map, by_name);
        val_members_moved(v);
        for (size_t i = 0; i < v->n; i++)
            sort_members(&v->map[i].v);
    } else if (val_is(v, VAL_LIST)) {
        for (size_t i = 0; i < v->n; i++)
            sort_members(&v->list[i]);
    }
}

bool fail_patched(struct request *r, const struct val *patched, const struct err *err)
{
    struct val sorted = val_copy(&r->arena, patched);
    AUTO(strbuf_fini) struct strbuf json = STRBUF(STRBUF_TEXT), quoted = STRBUF(STRBUF_TEXT);
    if (r->options.patch == FORMAT_STRATEGIC_PATCH) /* it goes through a map of everything */
        sort_members(&sorted);
    json_encode(&json, &sorted);
    add_quoted(&quoted, strbuf_str(&json));
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    field_error_add(&e, FE_INVALID, "patch", "Invalid value: " STR_FMT ": %s", STR_ARG(strbuf_str(&quoted)),
                    err->text);
    return fail_invalid(r, S(""), S(""), S(""), &e);
}

void fail_add_cause(struct request *r, const char *reason, struct str message, struct str field)
{
    struct failure *f = &r->answer.fail;
    if ((f->ncauses & (f->ncauses - 1)) == 0) { /* it is full: conflicts of an apply are thousands */
        struct failure_cause *causes = arena_alloc(&r->arena, (2 * f->ncauses + 1) * sizeof *causes);
        if (f->ncauses)
            memcpy(causes, f->causes, f->ncauses * sizeof *causes);
        f->causes = causes;
    }
    f->causes[f->ncauses++] = (struct failure_cause){str_of(reason), message, field};
    f->details = true;
}

void field_error_add(struct field_errors *e, enum field_error_type t, const char *field, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(e->arena, fmt, args);
    va_end(args);
    array_push(&e->list, ((struct field_error){t, str_of(field), text}));
}

static struct val status_head(struct arena *a, const char *status)
{
    struct val v = val_map();
    val_set_text(a, &v, N(kind), S("Status"));
    val_set_text(a, &v, N(apiVersion), S("v1"));
    val_set(a, &v, N(metadata), val_map());
    val_set_text(a, &v, N(status), str_of(status));
    return v;
}

static void set_some(struct arena *a, struct val *map, const struct name *name, struct str s)
{
    if (s.n)
        val_set_text(a, map, name, s);
}

struct val status_of(struct request *r)
{
    struct arena *a = &r->arena;
    const struct failure *f = &r->answer.fail;
    struct val v = status_head(a, "Failure");
    set_some(a, &v, N(message), f->message);
    set_some(a, &v, N(reason), str_of(f->reason));
    if (f->details) {
        struct val *d = val_set(a, &v, N(details), val_map());
        set_some(a, d, N(name), f->name);
        set_some(a, d, N(group), f->group);
        set_some(a, d, N(kind), f->kind);
        set_some(a, d, N(uid), f->uid);
        if (f->ncauses) {
            struct val *list = val_set(a, d, N(causes), val_list());
            for (size_t i = 0; i < f->ncauses; i++) {
                struct val *c = val_add(a, list, val_map());
                set_some(a, c, N(reason), f->causes[i].reason);
                set_some(a, c, N(message), f->causes[i].message);
                set_some(a, c, N(field), f->causes[i].field);
            }
        }
        if (f->retry_after_s)
            val_set_num(a, d, N(retryAfterSeconds), f->retry_after_s);
    }
    val_set_num(a, &v, N(code), f->code);
    return v;
}

struct val status_deleted(struct request *r, const struct obj *o)
{
    struct arena *a = &r->arena;
    struct val v = status_head(a, "Success");
    struct val *d = val_set(a, &v, N(details), val_map());
    set_some(a, d, N(name), o->name);
    set_some(a, d, N(group), r->group);
    set_some(a, d, N(kind), r->resource);
    set_some(a, d, N(uid), o->uid);
    return v;
}
