/* Semantic versions: the API server's cel/library/semverlib.go, version 1, over github.com/blang/semver. */
#include "api/formats.h"
#include "cel/libraries.h"

struct cel_semver {
    uint64_t major, minor, patch;
    struct str pre; /* "alpha.1" */
};

static bool semver_fail(struct err *err, const char *what, struct str part)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_quoted(&b, part);
    return err_set(err, E_INVALID, "%s " STR_FMT, what, STR_ARG(strbuf_str(&b)));
}

static bool is_made_of(struct str s, bool letters)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool digit = c >= '0' && c <= '9', letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
        if (!digit && !(letters && letter))
            return false;
    }
    return true;
}

static bool number_read(struct str s, uint64_t *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (s.n && str_to_u64(s, UINT64_MAX, out))
        return true;
    add_quoted(&b, s);
    return err_set(err, E_INVALID, "strconv.ParseUint: parsing " STR_FMT ": %s", STR_ARG(strbuf_str(&b)),
                   s.n ? "value out of range" : "invalid syntax");
}

static bool element_read(struct str s, const char *name, const char *title, uint64_t *out, struct err *err)
{
    char what[64];
    snprintf(what, sizeof what, "Invalid character(s) found in %s number", name);
    if (!is_made_of(s, false))
        return semver_fail(err, what, s);
    snprintf(what, sizeof what, "%s number must not contain leading zeroes", title);
    if (s.n > 1 && s.p[0] == '0')
        return semver_fail(err, what, s);
    return number_read(s, out, err);
}

static bool pre_check(struct str pre, struct err *err)
{
    struct str part;
    uint64_t unused;
    while (str_cut(&pre, '.', &part)) {
        if (!part.n)
            return err_set(err, E_INVALID, "Prerelease is empty");
        if (!is_made_of(part, true))
            return semver_fail(err, "Invalid character(s) found in prerelease", part);
        if (!is_made_of(part, false))
            continue;
        if (part.n > 1 && part.p[0] == '0')
            return semver_fail(err, "Numeric PreRelease version must not contain leading zeroes", part);
        if (!number_read(part, &unused, err))
            return false;
    }
    return true;
}

static bool build_check(struct str build, struct err *err)
{
    struct str part;
    while (str_cut(&build, '.', &part)) {
        if (!part.n)
            return err_set(err, E_INVALID, "Build meta data is empty");
        if (!is_made_of(part, true))
            return semver_fail(err, "Invalid character(s) found in build meta data", part);
    }
    return true;
}

static bool semver_parse(struct str s, struct cel_semver *out, struct err *err)
{
    struct str major, minor, rest, patch, build, pre;
    *out = (struct cel_semver){0};
    if (!s.n)
        return err_set(err, E_INVALID, "Version string empty");
    if (!str_split(s, '.', &major, &rest) || !str_split(rest, '.', &minor, &rest))
        return err_set(err, E_INVALID, "No Major.Minor.Patch elements found");
    bool has_build = str_split(rest, '+', &patch, &build), has_pre = str_split(patch, '-', &patch, &pre);
    if (!element_read(major, "major", "Major", &out->major, err) ||
        !element_read(minor, "minor", "Minor", &out->minor, err) ||
        !element_read(patch, "patch", "Patch", &out->patch, err) || (has_pre && !pre_check(pre, err)) ||
        (has_build && !build_check(build, err)))
        return false;
    out->pre = has_pre ? pre : STR_NONE;
    return true;
}

/* Without the leading "v" and zeros, with what is missing. */
static bool semver_normalize(struct arena *a, struct str s, struct str *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(s.n + 16);
    struct str part, rest = str_starts(s, S("v")) ? str_sub(s, 1, s.n) : s;
    int parts = 0;
    for (bool more = true; more; parts++) {
        more = parts < 2 ? str_split(rest, '.', &part, &rest) : (part = rest, false);
        size_t zeros = 0;
        while (part.n > 1 && zeros < part.n && part.p[zeros] == '0')
            zeros++;
        bool digit = zeros < part.n && part.p[zeros] >= '0' && part.p[zeros] <= '9';
        if (parts)
            strbuf_addc(&b, '.');
        if (part.n > 1 && !digit)
            strbuf_addc(&b, '0');
        strbuf_add(&b, str_sub(part, zeros, part.n));
    }
    if (parts < 3 && (str_find_char(part, '+') >= 0 || str_find_char(part, '-') >= 0))
        return err_set(err, E_INVALID, "short version cannot contain PreRelease/Build meta data");
    for (; parts < 3; parts++)
        strbuf_addz(&b, ".0");
    *out = str_dup(a, strbuf_str(&b));
    return true;
}

static bool semver_read(struct cel_run *run, const struct cel_value *a, size_t n, struct cel_semver *out,
                        struct err *err)
{
    struct str text = cel_text(a[0]);
    return (n < 2 || !a[1].b || semver_normalize(cel_arena(run), text, &text, err)) && semver_parse(text, out, err);
}

/* As numbers where both are; numbers come before words. */
static int part_cmp(struct str a, struct str b)
{
    uint64_t x, y;
    bool a_is = is_made_of(a, false), b_is = is_made_of(b, false);
    if (a_is != b_is)
        return a_is ? -1 : 1;
    if (a_is && str_to_u64(a, UINT64_MAX, &x) && str_to_u64(b, UINT64_MAX, &y))
        return (x > y) - (x < y);
    int order = str_cmp(a, b);
    return (order > 0) - (order < 0);
}

static int semver_cmp(const struct cel_semver *a, const struct cel_semver *b)
{
    const uint64_t x[] = {a->major, a->minor, a->patch}, y[] = {b->major, b->minor, b->patch};
    for (size_t i = 0; i < countof(x); i++)
        if (x[i] != y[i])
            return x[i] > y[i] ? 1 : -1;
    if (!a->pre.p || !b->pre.p)
        return (a->pre.p == NULL) - (b->pre.p == NULL);
    struct str p = a->pre, q = b->pre, one = STR_NONE, other = STR_NONE;
    for (;;) {
        bool more = str_cut(&p, '.', &one), and_more = str_cut(&q, '.', &other);
        if (!more || !and_more)
            return (int)more - (int)and_more;
        int order = part_cmp(one, other);
        if (order)
            return order;
    }
}

static bool semver_equal(const void *a, const void *b)
{
    return semver_cmp(a, b) == 0;
}

static const struct cel_opaque semver_type = {"kubernetes.Semver", semver_equal, NULL};

static struct cel_value semver_of_text(CEL_RUN)
{
    struct err err = ERR;
    struct cel_semver v;
    if (!semver_read(run, a, n, &v, &err))
        return cel_error(run, "%s", err.text);
    return cel_opaque_of(&semver_type, arena_dup(cel_arena(run), &v, sizeof v));
}

static struct cel_value semver_is_valid(CEL_RUN)
{
    struct err err = ERR;
    struct cel_semver v;
    return cel_bool(semver_read(run, a, n, &v, &err));
}

static struct cel_value semver_major(CEL_RUN)
{
    const struct cel_semver *v = a[0].data;
    return cel_int((int64_t)v->major);
}

static struct cel_value semver_minor(CEL_RUN)
{
    const struct cel_semver *v = a[0].data;
    return cel_int((int64_t)v->minor);
}

static struct cel_value semver_patch(CEL_RUN)
{
    const struct cel_semver *v = a[0].data;
    return cel_int((int64_t)v->patch);
}

static struct cel_value semver_is_greater(CEL_RUN)
{
    return cel_bool(semver_cmp(a[0].data, a[1].data) > 0);
}

static struct cel_value semver_is_less(CEL_RUN)
{
    return cel_bool(semver_cmp(a[0].data, a[1].data) < 0);
}

static struct cel_value semver_order(CEL_RUN)
{
    return cel_int(semver_cmp(a[0].data, a[1].data));
}

#define V "kubernetes.Semver"

static const struct cel_function rows[] = {
    {"semver", "string_to_semver", "(string) " V, semver_of_text, CEL_COST_PARSE_FREE, 0, 0},
    {"semver", "string_bool_to_semver", "(string, bool) " V, semver_of_text, CEL_COST_PARSE_FREE, 0, 0},
    {"isSemver", "is_semver_string", "(string) bool", semver_is_valid, CEL_COST_PARSE_FREE, 0, 0},
    {"isSemver", "is_semver_string_bool", "(string, bool) bool", semver_is_valid, CEL_COST_PARSE_FREE, 0, 0},
    {"isGreaterThan", "semver_is_greater_than", V ".(" V ") bool", semver_is_greater, CEL_COST_ONE, 0, 0},
    {"isLessThan", "semver_is_less_than", V ".(" V ") bool", semver_is_less, CEL_COST_ONE, 0, 0},
    {"compareTo", "semver_compare_to", V ".(" V ") int", semver_order, CEL_COST_ONE, 0, 0},
    {"major", "semver_major", V ".() int", semver_major, CEL_COST_ONE, 0, 0},
    {"minor", "semver_minor", V ".() int", semver_minor, CEL_COST_ONE, 0, 0},
    {"patch", "semver_patch", V ".() int", semver_patch, CEL_COST_ONE, 0, 0},
};
const struct cel_library cel_lib_semver = CEL_LIBRARY("kubernetes.Semver", rows);
