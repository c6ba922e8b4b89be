#include "node/runtimes.h"
#include "api/formats.h"

bool runtimes_next(struct str *rest, struct str *handler, struct str *program)
{
    struct str part;
    while (str_cut(rest, ',', &part)) {
        part = str_trim(part);
        if (part.n && str_split(part, '=', handler, program))
            return true;
    }
    return false;
}

bool runtimes_check(struct str setting, struct err *err)
{
    struct str rest = setting, part, handler, program;
    while (str_cut(&rest, ',', &part)) {
        part = str_trim(part);
        if (!str_split(part, '=', &handler, &program) || !format_ok(format_dns1123_label, handler))
            return err_set(err, E_INVALID, "\"" STR_FMT "\" is no HANDLER=/PROGRAM", STR_ARG(part));
        if (!str_starts(program, S("/")) || program.n > 200 || str_has(program, S("\n")))
            return err_set(err, E_INVALID, "\"" STR_FMT "\": must be a program's path from / on", STR_ARG(part));
    }
    return true;
}

bool runtimes_find(struct str setting, struct str handler, struct str *program)
{
    struct str rest = setting, name;
    *program = S("");
    while (handler.n && runtimes_next(&rest, &name, program))
        if (str_eq(name, handler))
            return true;
    *program = S("");
    return !handler.n || str_eqz(handler, "crun");
}

/* "kubelet:FIRST:COUNT" of a file of subordinate ids. More than one: n is how many. */
static unsigned sub_ids(struct str text, uint64_t *first, uint64_t *count)
{
    struct str line, name, rest, from, number;
    unsigned n = 0;
    while (str_cut(&text, '\n', &line))
        if (str_split(line, ':', &name, &rest) && str_eqz(name, "kubelet") && str_split(rest, ':', &from, &number) &&
            str_to_u64(from, UINT32_MAX, first) && str_to_u64(str_trim(number), UINT32_MAX, count))
            n++;
    return n;
}

static const char *ids_wrong(uint64_t first, uint64_t count)
{
    return first < USER_IDS                       ? "the first is below 65536"
           : first % USER_IDS || count % USER_IDS ? "both must be multiples of 65536"
           : first + count > (1ULL << 32)         ? "there are no such ids"
           : !count                               ? "there are none"
                                                  : NULL;
}

bool user_ids_read(struct str setting, struct str subuid, struct str subgid, unsigned max_pods, struct user_ids *out,
                   struct err *err)
{
    uint64_t first = USER_IDS, count = (uint64_t)USER_IDS * max_pods, gid = 0, gids = 0;
    struct str a, b;
    *out = (struct user_ids){0};
    if (setting.n) {
        if (!str_split(setting, ':', &a, &b) || !str_to_u64(a, UINT32_MAX, &first) ||
            !str_to_u64(b, UINT32_MAX, &count))
            return err_set(err, E_INVALID, "is no FIRST:COUNT");
        const char *wrong = ids_wrong(first, count);
        if (wrong)
            return err_set(err, E_INVALID, "%s", wrong);
    } else {
        unsigned lines = sub_ids(subuid, &first, &count), gid_lines = sub_ids(subgid, &gid, &gids);
        if (lines != gid_lines || lines > 1 || (lines && (first != gid || count != gids)))
            return out->why = "/etc/subuid and /etc/subgid do not give the same one range to kubelet", true;
        if ((out->why = ids_wrong(first, count)))
            return true;
    }
    out->first = (uint32_t)first;
    out->n = (uint32_t)(count / USER_IDS);
    return true;
}

uint32_t user_ids_take(const struct user_ids *u, uint32_t last, bool (*is_taken)(void *arg, uint32_t first),
                       void *arg)
{
    uint32_t at = last >= u->first && last - u->first < u->n * (uint64_t)USER_IDS ? (last - u->first) / USER_IDS + 1
                                                                                  : 0;
    for (uint32_t i = 0; i < u->n; i++) {
        uint32_t first = u->first + (at + i) % u->n * USER_IDS;
        if (!is_taken(arg, first))
            return first;
    }
    return 0;
}

bool user_ids_kernel(struct str release)
{
    struct str major, rest, minor = S("");
    uint64_t a = 0, b = 0;
    if (!str_split(release, '.', &major, &rest))
        return false;
    while (minor.n < rest.n && rest.p[minor.n] >= '0' && rest.p[minor.n] <= '9')
        minor = str_sub(rest, 0, minor.n + 1);
    return str_to_u64(major, 1000, &a) && str_to_u64(minor, 1000, &b) && (a > 6 || (a == 6 && b >= 3));
}
