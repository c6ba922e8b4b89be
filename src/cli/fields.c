#include "cli/fields.h"
#include "base/clock.h"

const struct val *field_at(const struct val *v, const char *path)
{
    struct str rest = str_of(path), part;
    while (v && str_cut(&rest, '.', &part))
        v = val_get_str(v, part);
    return v;
}

struct str field_text(const struct val *v, const char *path)
{
    return val_text(field_at(v, path));
}

int64_t field_num(const struct val *v, const char *path, int64_t otherwise)
{
    return val_num(field_at(v, path), otherwise);
}

struct str scalar_text(struct arena *a, const struct val *v)
{
    if (!v)
        return S("");
    switch ((enum val_type)v->type) {
    case VAL_BOOL: return v->b ? S("true") : S("false");
    case VAL_INT: return arena_fmt(a, "%lld", (long long)v->i);
    case VAL_DOUBLE: return arena_fmt(a, "%g", v->d);
    case VAL_STRING: return val_text(v);
    case VAL_NULL:
    case VAL_BYTES:
    case VAL_LIST:
    case VAL_MAP: return S("");
    }
    return S("");
}

struct str age_of_ns(struct arena *a, int64_t ns)
{
    long long s = MAX(ns, 0) / NS_PER_S, m = s / 60, h = m / 60, d = h / 24, y = d / 365;
    if (s < 120)
        return arena_fmt(a, "%llds", s);
    if (m < 10)
        return s % 60 ? arena_fmt(a, "%lldm%llds", m, s % 60) : arena_fmt(a, "%lldm", m);
    if (m < 180)
        return arena_fmt(a, "%lldm", m);
    if (h < 8)
        return m % 60 ? arena_fmt(a, "%lldh%lldm", h, m % 60) : arena_fmt(a, "%lldh", h);
    if (h < 48)
        return arena_fmt(a, "%lldh", h);
    if (d < 8)
        return h % 24 ? arena_fmt(a, "%lldd%lldh", d, h % 24) : arena_fmt(a, "%lldd", d);
    if (y < 2)
        return arena_fmt(a, "%lldd", d);
    return d % 365 ? arena_fmt(a, "%lldy%lldd", y, d % 365) : arena_fmt(a, "%lldy", y);
}

struct str age_text(struct arena *a, struct str time, int64_t now_ns)
{
    int64_t at;
    if (!time.n || !time_parse(time, &at))
        return S("<unknown>");
    return age_of_ns(a, now_ns - at);
}
