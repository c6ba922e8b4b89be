#include "node/resize.h"
#include "api/placement.h"
#include "api/rules.h"
#include "api/usage.h"

static bool resize_never(struct refusal *why, struct str message)
{
    *why = (struct refusal){.reason = "Infeasible", .message = message};
    return false;
}

bool resize_fits(struct arena *a, const struct obj *wanted, const struct obj *node, const struct obj *const *others,
                 size_t nothers, struct refusal *why)
{
    static const char *const bounded[] = {"memory", "cpu"};
    struct str source = str_of("kubernetes.io/config.source");
    struct str from = val_text(val_get_str(val_get(obj_meta(wanted), N(annotations)), source));
    if (from.n && !str_eqz(from, "api"))
        return resize_never(why, S("In-place resize of static-pods is not supported"));
    for (size_t i = 0; i < countof(bounded); i++) {
        struct str r = str_of(bounded[i]);
        int64_t asked = pod_request(wanted, r, POD_OVERHEAD);
        int64_t has = resource_amount(val_get(obj_status(node), N(allocatable)), r);
        if (asked > has)
            return resize_never(why,
                                arena_fmt(a, "Node didn't have enough capacity: %s, requested: %lld, capacity: %lld",
                                          bounded[i], (long long)asked, (long long)has));
    }
    return admit_pod(a, wanted, node, others, nothers, why);
}

static bool is_increase(const struct pod *p)
{
    return pod_request(p->wanted, S("cpu"), POD_OVERHEAD) > pod_request(p->obj, S("cpu"), POD_OVERHEAD) ||
           pod_request(p->wanted, S("memory"), POD_OVERHEAD) > pod_request(p->obj, S("memory"), POD_OVERHEAD);
}

static int int_order(int64_t x, int64_t y)
{
    return x < y ? -1 : x > y;
}

int resize_order(const struct pod *x, const struct pod *y)
{
    const struct {
        int64_t x, y;
    } keys[] = {
        {is_increase(x), is_increase(y)},
        {-val_num_at(obj_spec(x->obj), 0, N(priority)), -val_num_at(obj_spec(y->obj), 0, N(priority))},
        {!str_eqz(val_text_at(obj_status(x->obj), N(qosClass)), "Guaranteed"),
         !str_eqz(val_text_at(obj_status(y->obj), N(qosClass)), "Guaranteed")},
        {x->resize.pending ? x->resize.pending_since : INT64_MAX,
         y->resize.pending ? y->resize.pending_since : INT64_MAX},
    };
    for (size_t i = 0; i < countof(keys); i++)
        if (keys[i].x != keys[i].y)
            return int_order(keys[i].x, keys[i].y);
    return str_cmp(x->uid, y->uid);
}
