#include "oci/name.h"
#include "oci/digest.h"

#define NAME_MAX_BYTES 255 /* distribution/reference: the name without tag and digest */

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

/* [a-z0-9]+ joined by ".", "_", "__" or any number of "-" */
static bool component_ok(struct str s)
{
    if (!s.n || !lower_or_digit(s.p[0]) || !lower_or_digit(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n;) {
        if (lower_or_digit(s.p[i])) {
            i++;
            continue;
        }
        char c = s.p[i];
        size_t n = 0;
        while (i < s.n && s.p[i] == c)
            i++, n++;
        if (!lower_or_digit(s.p[i]) || !(c == '-' || (c == '.' && n == 1) || (c == '_' && n <= 2)))
            return false;
    }
    return true;
}

static bool domain_ok(struct str s)
{
    struct str host = s, port = STR_NONE, part;
    uint64_t number;
    if (s.n && s.p[0] == '[') { /* IPv6 */
        ptrdiff_t end = str_find_char(s, ']');
        if (end < 3)
            return false;
        for (ptrdiff_t i = 1; i < end; i++)
            if (!s.p[i] || !strchr("0123456789abcdefABCDEF:.", s.p[i]))
                return false;
        struct str rest = str_sub(s, (size_t)end + 1, s.n);
        return !rest.n || (rest.p[0] == ':' && str_to_u64(str_sub(rest, 1, rest.n), 65535, &number));
    }
    if (str_split(s, ':', &host, &port) && !str_to_u64(port, 65535, &number))
        return false;
    while (str_cut(&host, '.', &part)) {
        if (!part.n || part.p[0] == '-' || part.p[part.n - 1] == '-')
            return false;
        for (size_t i = 0; i < part.n; i++)
            if (!is_word(part.p[i]) && part.p[i] != '-')
                return false;
    }
    return true;
}

static bool tag_ok(struct str s)
{
    if (!s.n || s.n > 128 || !is_word(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_word(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
            return false;
    return true;
}

static bool name_refuse(struct err *err, struct str text, const char *why)
{
    return err_set(err, E_INVALID, "couldn't parse image name \"" STR_FMT "\": invalid reference format: %s",
                   STR_ARG(str_sub(text, 0, 300)), why);
}

static bool has_upper(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return true;
    return false;
}

static bool only_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

/* Takes digest and tag off the end of *rest. */
static bool take_reference(struct str text, struct str *rest, struct image_name *n, struct err *err)
{
    struct digest d;
    struct err why = ERR;
    ptrdiff_t at = str_find_char(*rest, '@');
    if (at >= 0) {
        n->digest = str_sub(*rest, (size_t)at + 1, rest->n);
        *rest = str_sub(*rest, 0, (size_t)at);
        if (!digest_parse(n->digest, &d, &why))
            return name_refuse(err, text, why.text);
    }
    ptrdiff_t colon = str_rfind_char(*rest, ':'), slash = str_rfind_char(*rest, '/');
    if (colon <= slash)
        return true;
    n->tag = str_sub(*rest, (size_t)colon + 1, rest->n);
    *rest = str_sub(*rest, 0, (size_t)colon);
    return tag_ok(n->tag) ||
           name_refuse(err, text,
                       "a tag is up to 128 letters, digits, \"_\", \".\" and \"-\", and begins with "
                       "one of the first three");
}

/* Takes the registry off the beginning: the first part, if it looks like a host. */
static bool take_registry(struct str text, struct str *rest, struct image_name *n, struct err *err)
{
    struct str head, tail;
    n->registry = S("docker.io");
    if (!str_split(*rest, '/', &head, &tail) || (str_find_char(head, '.') < 0 && str_find_char(head, ':') < 0 &&
                                                 !str_eqz(head, "localhost") && !has_upper(head)))
        return true;
    if (!domain_ok(head))
        return name_refuse(err, text, "its registry is not a host name with an optional port");
    n->registry = str_eqz(head, "index.docker.io") ? S("docker.io") : head;
    *rest = tail;
    return true;
}

/* What is left is the repository; those of Docker Hub that have no owner are "library/..." */
static bool take_repository(struct arena *a, struct str text, struct str rest, struct image_name *n, struct err *err)
{
    struct str part;
    ptrdiff_t end = str_find_char(rest, ':'); /* of a tag, or of what should be one */
    struct str shown = str_sub(rest, 0, MIN(end < 0 ? rest.n : (size_t)end, 300));
    bool official = str_eqz(n->registry, "docker.io") && str_find_char(rest, '/') < 0;
    if (has_upper(rest))
        return name_refuse(err, text,
                           arena_fmt(a, "repository name (%s" STR_FMT ") must be lowercase",
                                     official ? "library/" : "", STR_ARG(shown))
                               .p);
    for (struct str parts = rest; str_cut(&parts, '/', &part);)
        if (!component_ok(part))
            return name_refuse(
                err, text,
                "a repository is parts of lower-case letters and digits, joined by \"/\", \".\", \"_\" or "
                "\"-\"");
    n->repository = official ? arena_fmt(a, "library/" STR_FMT, STR_ARG(rest)) : rest;
    return n->registry.n + 1 + n->repository.n <= NAME_MAX_BYTES ||
           name_refuse(err, text, "repository name must not be more than 255 characters");
}

bool image_name_parse(struct arena *a, struct str text, struct image_name *out, struct err *err)
{
    struct image_name n = {0};
    struct str rest = text;
    if (!text.n)
        return name_refuse(err, text, "it is empty");
    if (text.n == DIGEST_HEX && only_hex(text))
        return name_refuse(err, text, "64 hex digits alone are an image ID; write sha256: before them");
    if (!take_reference(text, &rest, &n, err) || !take_registry(text, &rest, &n, err) ||
        !take_repository(a, text, rest, &n, err))
        return false;
    if (!n.tag.n && !n.digest.n)
        n.tag = S("latest");
    out->registry = str_dup(a, n.registry);
    out->repository = str_dup(a, n.repository);
    out->tag = str_dup(a, n.tag);
    out->digest = str_dup(a, n.digest);
    out->full = n.digest.n ? arena_fmt(a, STR_FMT "/" STR_FMT "@" STR_FMT, STR_ARG(out->registry),
                                       STR_ARG(out->repository), STR_ARG(out->digest))
                           : arena_fmt(a, STR_FMT "/" STR_FMT ":" STR_FMT, STR_ARG(out->registry),
                                       STR_ARG(out->repository), STR_ARG(out->tag));
    return true;
}
