#include "node/reserved.h"
#include "api/quantity.h"

static const struct reserved_row {
    const char *name;
    size_t at;
    bool milli;
} rows[] = {
    {"cpu", offsetof(struct node_amounts, cpu_milli), true},
    {"memory", offsetof(struct node_amounts, memory), false},
    {"ephemeral-storage", offsetof(struct node_amounts, disk), false},
    {"pid", offsetof(struct node_amounts, pids), false},
};

static int64_t *amount_at(struct node_amounts *n, size_t row)
{
    return (int64_t *)((char *)n + rows[row].at);
}

static bool part_read(struct str part, struct node_amounts *out, unsigned *seen, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str name, text, value;
    if (!str_split(part, '=', &name, &text))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not RESOURCE=AMOUNT", STR_ARG(part));
    name = str_trim(name);
    for (size_t i = 0; i < countof(rows); i++) {
        if (!str_eqz(name, rows[i].name))
            continue;
        if (*seen & 1u << i)
            return err_set(err, E_INVALID, "%s stands there twice", rows[i].name);
        *seen |= 1u << i;
        if (!quantity_canonical(&a, str_trim(text), &value, err))
            return err_wrap(err, "%s", rows[i].name);
        if (quantity_cmp(value, S("0")) < 0)
            return err_set(err, E_INVALID, "%s: " STR_FMT " is less than nothing", rows[i].name, STR_ARG(value));
        *amount_at(out, i) += rows[i].milli ? quantity_milli(value) : quantity_value(value);
        return true;
    }
    return err_set(err, E_INVALID,
                   "\"" STR_FMT "\" cannot be reserved: there are cpu, memory, ephemeral-storage and pid",
                   STR_ARG(name));
}

bool reserved_read(struct str text, struct node_amounts *out, struct err *err)
{
    struct str rest = text, part;
    unsigned seen = 0;
    while (rest.n && str_cut(&rest, ',', &part))
        if (!part_read(str_trim(part), out, &seen, err))
            return false;
    return true;
}

bool reserved_enforced(struct str text, bool *out, struct err *err)
{
    *out = str_eqz(text, "pods");
    return *out || str_eqz(text, "none") ||
           err_set(err, E_INVALID, "must be pods or none: groups of the system's own are systemd's to bound");
}

struct node_amounts reserved_allocatable(const struct node_amounts *capacity, const struct node_amounts *kept,
                                         const struct node_amounts *thresholds)
{
    return (struct node_amounts){
        MAX(capacity->cpu_milli - kept->cpu_milli - thresholds->cpu_milli, 0),
        MAX(capacity->memory - kept->memory - thresholds->memory, 0),
        MAX(capacity->disk - kept->disk - thresholds->disk, 0),
        MAX(capacity->pids - kept->pids - thresholds->pids, 0),
    };
}
