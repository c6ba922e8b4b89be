#include "control/quota.h"
#include "api/quantity.h"

/* Behind `mark`, up to `end` or, where there is none, to the end of the text. */
static bool part_of(struct str text, const char *mark, const char *end, struct str *out)
{
    ptrdiff_t at = str_find(text, str_of(mark));
    if (at < 0)
        return false;
    struct str rest = str_sub(text, (size_t)at + strlen(mark), text.n);
    ptrdiff_t stop = end ? str_find(rest, str_of(end)) : -1;
    *out = stop < 0 ? rest : str_sub(rest, 0, (size_t)stop);
    return true;
}

bool quota_refusal_read(struct str message, struct quota_refusal *out)
{
    *out = (struct quota_refusal){0};
    if (part_of(message, "failed quota: ", ": must specify ", &out->quota))
        return part_of(message, ": must specify ", NULL, &out->missing);
    return part_of(message, "exceeded quota: ", ", requested: ", &out->quota) &&
           part_of(message, ", requested: ", ", used: ", &out->requested) &&
           part_of(message, ", used: ", ", limited: ", &out->used) &&
           part_of(message, ", limited: ", NULL, &out->limited);
}

bool limit_refused(struct str message)
{
    return str_has(message, S("is forbidden: ")) &&
           (str_has(message, S(" usage per ")) || str_has(message, S(" max limit to request ratio per ")));
}

struct str quota_amount(struct str list, struct str resource)
{
    struct str one, name, amount;
    while (str_cut(&list, ',', &one))
        if (str_split(one, '=', &name, &amount) && str_eq(name, resource))
            return amount;
    return S("");
}

static struct str amount_in(const struct val *map, struct str name)
{
    const struct val *v = val_get_str(map, name);
    return v ? val_text(v) : S("0");
}

/* All that was asked for has room by what the status says, beside what others were promised. */
static bool has_room(struct arena *a, const struct obj *quota, struct str requested, struct val *given)
{
    const struct val *hard = val_get(obj_spec(quota), N(hard)), *used = val_get(obj_status(quota), N(used));
    struct str rest = requested, one, name, amount;
    while (str_cut(&rest, ',', &one)) {
        if (!str_split(one, '=', &name, &amount) || !val_get_str(hard, name))
            continue;
        struct str taken = quantity_add(a, quantity_add(a, amount_in(used, name), amount_in(given, name)), amount);
        if (quantity_cmp(taken, amount_in(hard, name)) > 0)
            return false;
    }
    for (rest = requested; str_cut(&rest, ',', &one);)
        if (str_split(one, '=', &name, &amount))
            val_set_str(a, given, name, val_str(a, quantity_add(a, amount_in(given, name), amount)));
    return true;
}

static bool bounds_less(const struct obj *was, const struct obj *now)
{
    val_each_member (m, val_get(obj_spec(was), N(hard)))
        if (!val_get_str(val_get(obj_spec(now), N(hard)), m->name->s))
            return true;
    return false;
}

bool refusal_ended(struct arena *a, struct str message, const struct obj *was, const struct obj *now,
                   struct val *given)
{
    const struct obj *o = now ? now : was;
    struct quota_refusal r;
    bool of_quota = quota_refusal_read(message, &r);
    if (o->kind == K(Namespace))
        return was && now && str_has(message, S("violates PodSecurity \"")) &&
               !val_equal(obj_labels(was), obj_labels(now));
    if (o->kind == K(LimitRange)) /* it may say what was missing, too */
        return limit_refused(message) || (of_quota && r.missing.n);
    if (!of_quota || !str_eq(r.quota, o->name))
        return false;
    if (!now)
        return true;
    return r.missing.n ? was && bounds_less(was, now) : has_room(a, now, r.requested, given);
}
