#include "base/err.h"
#include <errno.h>

static void set_text(struct err *err, const char *fmt, va_list args) PRINTF(2, 0);
static void set_text(struct err *err, const char *fmt, va_list args)
{
    if (vsnprintf(err->text, sizeof err->text, fmt, args) >= (int)sizeof err->text)
        memcpy(err->text + sizeof err->text - 4, "...", 4);
}

bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err->kind = kind;
    err->sys = 0;
    set_text(err, fmt, args);
    va_end(args);
    return false;
}

static enum err_kind kind_of_errno(int e)
{
    switch (e) {
    case ENOENT: return E_NOT_FOUND;
    case EACCES:
    case EPERM: return E_FORBIDDEN;
    case EEXIST: return E_ALREADY_EXISTS;
    case ETIMEDOUT: return E_TIMEOUT;
    case ECANCELED: return E_CANCELLED;
    case ECONNREFUSED: return E_UNAVAILABLE;
    default: return E_IO;
    }
}

bool err_errno(struct err *err, const char *fmt, ...)
{
    int e = errno;
    va_list args;
    va_start(args, fmt);
    err->kind = kind_of_errno(e);
    err->sys = e;
    set_text(err, fmt, args);
    va_end(args);
    size_t n = strlen(err->text);
    (void)snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(e));
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    struct err inner = *err;
    va_list args;
    va_start(args, fmt);
    set_text(err, fmt, args);
    va_end(args);
    size_t n = strlen(err->text);
    (void)snprintf(err->text + n, sizeof err->text - n, ": %s", inner.text);
    return false;
}

static const struct {
    const char *reason;
    int http;
} kinds[] = {[E_NONE] = {"", 200},
#define X(kind, reason, http) [E_##kind] = {reason, http},
             ERR_TABLE(X)
#undef X
};

const char *err_reason(enum err_kind kind)
{
    return kinds[kind].reason;
}

int err_http(enum err_kind kind)
{
    return kinds[kind].http;
}

enum err_kind err_kind_of(struct str reason, int http)
{
    for (enum err_kind k = E_BAD_REQUEST; k < countof(kinds); k++)
        if (reason.n && str_eqz(reason, kinds[k].reason))
            return k;
    for (enum err_kind k = E_BAD_REQUEST; k < countof(kinds); k++)
        if (kinds[k].http == http)
            return k;
    return E_INTERNAL;
}
