/* LimitRange: defaults of containers, and bounds of containers, pods and claims. Upstream:
 * plugin/pkg/admission/limitranger. */
#include "api/quantity.h"
#include "api/usage.h"
#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"

#define ANNOTATION S("kubernetes.io/limit-ranger")

/* The LimitRanges of the namespace one after the other, by name; false: one of them has refused it. */
static bool ranges_ask(struct admission *x, bool (*fn)(struct obj *o, void *arg), void *arg)
{
    bool resize = str_eqz(x->sub, "resize") && x->kind == K(Pod);
    if (x->sub.n && !resize)
        return true;
    if (x->verb == VERB_UPDATE && x->kind == K(Pod) && !resize)
        return true; /* what a LimitRange looks at does not change */
    if (val_at(x->old, N(metadata), N(deletionTimestamp)))
        return true;
    objects_each(x->r->server, K(LimitRange), x->ns, fn, arg);
    return x->r->answer.type != ANSWER_FAILED;
}

/* The members in order of their names. */
/* --- defaults --- */

struct defaulting {
    struct arena *a;
    struct val requests, limits; /* of one LimitRange */
    struct val *pod;
    struct str told; /* "cpu request for container a; ..." */
};

static void defaults_add(struct arena *a, struct val *all, const struct val *more)
{
    val_each_member (m, more)
        val_set_str(a, all, m->name->s, val_str(a, val_text(&m->v)));
}

/* What the container's list lacks; the names of it, "cpu, memory". */
static struct str list_fill(struct arena *a, struct val *container, const struct name *way,
                            const struct val *defaults)
{
    size_t n;
    const struct member **all = val_members_sorted(a, defaults, &n);
    struct str set = S("");
    for (size_t i = 0; i < n; i++) {
        struct val *list = val_need_map(a, container, N(resources), way);
        if (val_get_str(list, all[i]->name->s))
            continue;
        val_set_str(a, list, all[i]->name->s, val_str(a, val_text(&all[i]->v)));
        set = STR_JOIN(a, set, set.n ? S(", ") : S(""), all[i]->name->s);
    }
    return set;
}

static void containers_fill(struct defaulting *d, const struct name *list, const char *word)
{
    struct val *containers = val_get_mut(val_need_map(d->a, d->pod, N(spec)), list);
    for (size_t i = 0; i < val_len(containers); i++) {
        struct val *c = &containers->list[i];
        struct str limits = list_fill(d->a, c, N(limits), &d->limits);
        struct str requests = list_fill(d->a, c, N(requests), &d->requests);
        const struct str sets[] = {requests, limits};
        for (size_t k = 0; k < countof(sets); k++)
            if (sets[k].n)
                d->told = STR_JOIN(d->a, d->told, d->told.n ? S("; ") : S(""), sets[k],
                                   k ? S(" limit for ") : S(" request for "), str_of(word), S(" "),
                                   val_text_at(c, N(name)));
    }
}

static bool range_fills(struct obj *o, void *arg)
{
    struct admission *x = arg;
    struct defaulting d = {&x->r->arena, val_map(), val_map(), x->obj, S("")};
    val_each_item (limit, val_get(obj_spec(o), N(limits))) {
        if (!str_eqz(val_text_at(limit, N(type)), "Container"))
            continue;
        defaults_add(d.a, &d.requests, val_get(limit, N(defaultRequest)));
        defaults_add(d.a, &d.limits, val_get(limit, N(default)));
    }
    containers_fill(&d, N(containers), "container");
    containers_fill(&d, N(initContainers), "init container");
    if (d.told.n)
        val_set_str(d.a, val_need_map(d.a, x->obj, N(metadata), N(annotations)), ANNOTATION,
                    val_str(d.a, STR_JOIN(d.a, S("LimitRanger plugin set: "), d.told)));
    return true;
}

bool admit_limit_defaults(struct admission *x)
{
    return ranges_ask(x, range_fills, x);
}

/* --- bounds --- */

/* All that is wrong by one LimitRange; a sentence that is there is not told twice. */
struct bounding {
    struct admission *x;
    struct arena *a;
    struct str type;                     /* Container, Pod, PersistentVolumeClaim */
    const struct val *requests, *limits; /* of what is looked at */
    ARRAY(struct str) wrong;
};

static void bound_broken(struct bounding *b, const char *fmt, ...) PRINTF(2, 3);
static void bound_broken(struct bounding *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(b->a, fmt, args);
    va_end(args);
    array_each (it, &b->wrong)
        if (str_eq(*it, text))
            return;
    array_push(&b->wrong, text);
}

/* Three amounts in thousandths, or in whole units where one of them is too large for that. */
static bool fits_milli(struct str text)
{
    return quantity_value(text) <= INT64_MAX / 1000;
}

static void amounts_align(const struct val *x, const struct val *y, const struct val *bound, int64_t out[3])
{
    const struct str texts[] = {x ? val_text(x) : S("0"), y ? val_text(y) : S("0"), val_text(bound)};
    bool milli = fits_milli(texts[0]) && fits_milli(texts[1]) && fits_milli(texts[2]);
    for (int i = 0; i < 3; i++)
        out[i] = milli ? quantity_milli(texts[i]) : quantity_value(texts[i]);
}

#define BOUND_ARGS STR_ARG(name), STR_ARG(b->type), STR_ARG(val_text(bound))

static void check_min(struct bounding *b, struct str name, const struct val *bound)
{
    const struct val *request = val_get_str(b->requests, name), *limit = val_get_str(b->limits, name);
    int64_t have[3];
    amounts_align(request, limit, bound, have);
    if (!request)
        bound_broken(b, "minimum " STR_FMT " usage per " STR_FMT " is " STR_FMT ".  No request is specified",
                     BOUND_ARGS);
    else if (have[0] < have[2])
        bound_broken(b, "minimum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but request is " STR_FMT,
                     BOUND_ARGS, STR_ARG(val_text(request)));
    else if (limit && have[1] < have[2])
        bound_broken(b, "minimum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but limit is " STR_FMT, BOUND_ARGS,
                     STR_ARG(val_text(limit)));
}

static void check_max(struct bounding *b, struct str name, const struct val *bound)
{
    const struct val *request = val_get_str(b->requests, name), *limit = val_get_str(b->limits, name);
    int64_t have[3];
    amounts_align(request, limit, bound, have);
    if (!limit)
        bound_broken(b, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ".  No limit is specified",
                     BOUND_ARGS);
    else if (have[1] > have[2])
        bound_broken(b, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but limit is " STR_FMT, BOUND_ARGS,
                     STR_ARG(val_text(limit)));
    else if (request && have[0] > have[2])
        bound_broken(b, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but request is " STR_FMT,
                     BOUND_ARGS, STR_ARG(val_text(request)));
}

/* Of a claim the request alone counts. */
static void check_max_request(struct bounding *b, struct str name, const struct val *bound)
{
    const struct val *request = val_get_str(b->requests, name);
    int64_t have[3];
    amounts_align(request, NULL, bound, have);
    if (!request)
        bound_broken(b, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ".  No request is specified",
                     BOUND_ARGS);
    else if (have[0] > have[2])
        bound_broken(b, "maximum " STR_FMT " usage per " STR_FMT " is " STR_FMT ", but request is " STR_FMT,
                     BOUND_ARGS, STR_ARG(val_text(request)));
}

static void check_ratio(struct bounding *b, struct str name, const struct val *bound)
{
    const struct val *request = val_get_str(b->requests, name), *limit = val_get_str(b->limits, name);
    int64_t have[3];
    amounts_align(request, limit, bound, have);
    if (!request || have[0] == 0) {
        bound_broken(b,
                     STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT
                             ", but no request is specified or request is 0",
                     BOUND_ARGS);
        return;
    }
    if (!limit || have[1] == 0) {
        bound_broken(b,
                     STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT
                             ", but no limit is specified or limit is 0",
                     BOUND_ARGS);
        return;
    }
    double ratio = (double)have[1] / (double)have[0];
    bool milli = fits_milli(val_text(bound));
    double most = milli ? (double)quantity_milli(val_text(bound)) : (double)quantity_value(val_text(bound));
    if ((milli ? ratio * 1000 : ratio) > most)
        bound_broken(b,
                     STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT ", but provided ratio is %f",
                     BOUND_ARGS, ratio);
}

static void list_check(struct bounding *b, const struct val *bounds,
                       void (*check)(struct bounding *b, struct str name, const struct val *bound))
{
    size_t n;
    const struct member **all = val_members_sorted(b->a, bounds, &n);
    for (size_t i = 0; i < n; i++)
        check(b, all[i]->name->s, &all[i]->v);
}

static void amounts_check(struct bounding *b, const struct val *limit, const struct val *requests,
                          const struct val *limits)
{
    b->requests = requests;
    b->limits = limits;
    list_check(b, val_get(limit, N(min)), check_min);
    list_check(b, val_get(limit, N(max)), check_max);
    list_check(b, val_get(limit, N(maxLimitRequestRatio)), check_ratio);
}

static void pod_check(struct bounding *b, const struct val *limit)
{
    const struct name *const lists[] = {N(containers), N(initContainers)};
    const struct val *pod = b->x->obj;
    if (str_eqz(b->type, "Pod")) {
        struct val requests = pod_resources(b->a, pod, N(requests), 0);
        struct val limits = pod_resources(b->a, pod, N(limits), 0);
        amounts_check(b, limit, &requests, &limits);
    } else if (str_eqz(b->type, "Container")) {
        for (size_t i = 0; i < countof(lists); i++)
            val_each_item (c, val_at(pod, N(spec), lists[i]))
                amounts_check(b, limit, val_at(c, N(resources), N(requests)), val_at(c, N(resources), N(limits)));
    }
}

static void claim_check(struct bounding *b, const struct val *limit)
{
    if (!str_eqz(b->type, "PersistentVolumeClaim"))
        return;
    b->requests = val_at(b->x->obj, N(spec), N(resources), N(requests));
    b->limits = NULL;
    list_check(b, val_get(limit, N(min)), check_min);
    list_check(b, val_get(limit, N(max)), check_max_request);
}

static bool range_bounds(struct obj *o, void *arg)
{
    struct admission *x = arg;
    struct bounding b = {.x = x, .a = &x->r->arena};
    val_each_item (limit, val_get(obj_spec(o), N(limits))) {
        b.type = val_text_at(limit, N(type));
        if (x->kind == K(Pod))
            pod_check(&b, limit);
        else
            claim_check(&b, limit);
    }
    struct str text = S("");
    array_each (it, &b.wrong)
        text = STR_JOIN(b.a, text, text.n ? S(", ") : S(""), *it);
    if (b.wrong.n > 1)
        text = STR_JOIN(b.a, S("["), text, S("]"));
    array_fini(&b.wrong);
    return !text.n || fail_forbidden(x->r, STR_FMT, STR_ARG(text));
}

bool admit_limit_bounds(struct admission *x)
{
    return ranges_ask(x, range_bounds, x);
}
