/* What a ResourceQuota or a LimitRange has against a write; and whether a quota bounds what its owner means it to. */
#include "api/quantity.h"
#include "api/usage.h"
#include "control/quota.h"
#include "control/why_int.h"

/* ---- a write that is refused ---- */

static const struct obj *quota_named(struct question *q, const struct kind *k, struct str name)
{
    struct obj *o;
    if (q->owner && name.n)
        return view_get(q->v, k, q->owner->ns, name);
    for (struct objset_iter it = view_all(q->v, k); (o = objset_next(&it));)
        if (q->owner ? str_eq(o->ns, q->owner->ns) : str_eq(o->name, name))
            return o;
    return NULL;
}

/* "kubectl edit quota/q -n shop", also of one that cannot be seen. */
static struct str edit_of(struct question *q, const char *word, const struct obj *o, struct str name)
{
    struct str ns = o ? o->ns : q->owner ? q->owner->ns : S("");
    return arena_fmt(q->a, "kubectl edit %s/" STR_FMT STR_FMT, word, STR_ARG(o ? o->name : name),
                     STR_ARG(ns.n ? why_ns_flag(q, ns) : S("")));
}

static struct str or_less(struct question *q)
{
    return q->owner ? STR_JOIN(q->a, S(", or ask for less: "), why_edit(q)) : S(", or ask for less");
}

/* "pods: 2 of 2 are used and 1 more is needed". */
static struct str excess_text(struct question *q, const struct quota_refusal *r, bool *never)
{
    struct str rest = r->requested, one, name, asked, out = S("");
    while (str_cut(&rest, ',', &one)) {
        if (!str_split(one, '=', &name, &asked))
            continue;
        struct str used = quota_amount(r->used, name), limited = quota_amount(r->limited, name);
        *never |= quantity_cmp(asked, limited) > 0;
        out = arena_fmt(q->a, STR_FMT "%s" STR_FMT ": " STR_FMT " of " STR_FMT " in use, " STR_FMT " more needed",
                        STR_ARG(out), out.n ? "; " : "", STR_ARG(name), STR_ARG(used), STR_ARG(limited),
                        STR_ARG(asked));
    }
    return out;
}

static void excess_explain(struct question *q, const struct quota_refusal *r, struct str what, struct finding *f)
{
    const struct obj *quota = quota_named(q, K(ResourceQuota), r->quota);
    bool never = false;
    struct str text = excess_text(q, r, &never), edit = edit_of(q, "quota", quota, r->quota);
    why_found(q, f, "QuotaExceeded", "quota " STR_FMT " has no room for " STR_FMT " (" STR_FMT ")%s",
              STR_ARG(r->quota), STR_ARG(what), STR_ARG(text),
              never ? ", and not even where nothing else is used" : "");
    if (never)
        why_way(q, f, "Raise it: " STR_FMT STR_FMT, STR_ARG(edit), STR_ARG(or_less(q)));
    else
        why_way(q, f, "It goes on by itself when others let go of something. Or raise the quota: " STR_FMT STR_FMT,
                STR_ARG(edit), STR_ARG(or_less(q)));
}

static void missing_explain(struct question *q, const struct quota_refusal *r, struct str what, struct finding *f)
{
    const struct obj *quota = quota_named(q, K(ResourceQuota), r->quota);
    why_found(q, f, "QuotaWantsResources",
              "quota " STR_FMT " refuses " STR_FMT
              ", as what it bounds must be said by each container, and is not: " STR_FMT,
              STR_ARG(r->quota), STR_ARG(what), STR_ARG(r->missing));
    if (q->owner)
        why_way(q, f,
                "Say it in " STR_FMT "containers[].resources: " STR_FMT
                "; or make a LimitRange whose default and defaultRequest say it for all; or bound something "
                "else: " STR_FMT,
                STR_ARG(why_spec_path(q)), STR_ARG(why_edit(q)), STR_ARG(edit_of(q, "quota", quota, r->quota)));
    else
        why_way(q, f,
                "Say it in resources of each container; or make a LimitRange whose default and defaultRequest say it "
                "for all");
}

static void bounds_explain(struct question *q, struct str message, struct str what, struct finding *f)
{
    const struct obj *range = quota_named(q, K(LimitRange), S(""));
    ptrdiff_t at = str_find(message, S("is forbidden: "));
    struct str said = str_sub(message, (size_t)at + strlen("is forbidden: "), message.n);
    why_found(q, f, "LimitRangeRefuses", "a LimitRange refuses " STR_FMT ": " STR_FMT, STR_ARG(what), STR_ARG(said));
    if (!q->owner)
        why_way(q, f, "Change its resources, or the bounds: kubectl describe limits");
    else
        why_way(q, f, "Change its resources: " STR_FMT "; or the bounds: %s" STR_FMT, STR_ARG(why_edit(q)),
                range ? "" : "kubectl describe limits",
                STR_ARG(range ? edit_of(q, "limits", range, S("")) : why_ns_flag(q, q->owner->ns)));
}

bool why_bounded(struct question *q, struct str message, struct str what, struct finding *f)
{
    struct quota_refusal r;
    bool of_quota = quota_refusal_read(message, &r);
    if (!of_quota && !limit_refused(message))
        return false;
    if (!of_quota)
        bounds_explain(q, message, what, f);
    else if (r.missing.n)
        missing_explain(q, &r, what, f);
    else
        excess_explain(q, &r, what, f);
    return true;
}

/* ---- a quota ---- */

static bool is_special(struct str name)
{
    for (size_t i = 0; usage_special[i]; i++)
        if (usage_counts(str_of(usage_special[i]), name))
            return true;
    return false;
}

/* Why nothing counts under a name that stands in spec.hard. */
static struct str nobody_counts(struct question *q, struct str name)
{
    struct str resource = usage_counted(name);
    if (resource.n)
        return arena_fmt(q->a, "no resource " STR_FMT " of namespaces is served", STR_ARG(resource));
    if (str_starts(name, S("count/")))
        return S("events are not counted");
    if (str_starts(name, S("limits.")) && str_find_char(name, '/') >= 0)
        return S("of extended resources requests. alone is counted");
    if (str_find_char(name, '/') >= 0)
        return arena_fmt(q->a, "nothing is counted so; an extended resource is requests." STR_FMT, STR_ARG(name));
    return S("nothing is counted so");
}

/* Scopes are of pods, or of claims: whatever else stands beside them is never counted. */
static bool scope_reaches(const struct val *spec, struct str name)
{
    bool of_claims = false, any = val_len(val_get(spec, N(scopes))) > 0;
    val_each_item (s, val_get(spec, N(scopes)))
        of_claims |= str_eqz(val_text(s), "VolumeAttributesClass");
    val_each_item (x, val_at(spec, N(scopeSelector), N(matchExpressions))) {
        of_claims |= str_eqz(val_text_at(x, N(scopeName)), "VolumeAttributesClass");
        any = true;
    }
    return !any || usage_counts(of_claims ? S("persistentvolumeclaims") : S("pods"), name);
}

/* A priority class that is named and is not there. */
static struct str class_missing(struct question *q, const struct val *spec)
{
    if (!q->v->sets[K(PriorityClass)->id])
        return S("");
    val_each_item (x, val_at(spec, N(scopeSelector), N(matchExpressions))) {
        bool in = str_eqz(val_text_at(x, N(scopeName)), "PriorityClass") &&
                  str_eqz(val_text_at(x, N(operator)), "In");
        size_t there = 0;
        val_each_item (v, val_get(x, N(values)))
            there += view_get(q->v, K(PriorityClass), S(""), val_text(v)) != NULL;
        if (in && !there)
            return val_text(val_item(val_get(x, N(values)), 0));
    }
    return S("");
}

static struct str amount_at(const struct val *map, struct str name)
{
    return val_text(val_get_str(map, name));
}

static void line_look(struct question *q, const struct obj *o, struct str name, struct finding *f)
{
    const struct val *spec = obj_spec(o), *all_used = val_get(obj_status(o), N(used));
    struct str hard = amount_at(val_get(spec, N(hard)), name), used = amount_at(all_used, name);
    struct str edit = edit_of(q, "quota", o, o->name);
    if (!used.n && (is_special(name) || val_len(val_get(obj_status(o), N(hard))) == 0))
        return; /* it is counted in a moment */
    if (!used.n) {
        why_chain(q, f, STR_FMT ": counted by nobody", STR_ARG(name));
        why_found(q, f, "QuotaCountsNothing", "its " STR_FMT " bounds nothing: " STR_FMT, STR_ARG(name),
                  STR_ARG(nobody_counts(q, name)));
        why_way(q, f, "Mend the name in spec.hard: " STR_FMT, STR_ARG(edit));
        return;
    }
    why_chain(q, f, STR_FMT ": " STR_FMT " of " STR_FMT " in use", STR_ARG(name), STR_ARG(used), STR_ARG(hard));
    if (!scope_reaches(spec, name)) {
        why_found(q, f, "QuotaScopeMisses",
                  "its scopes are about others than what its " STR_FMT " counts, so that is never more than 0",
                  STR_ARG(name));
        why_way(q, f, "Bound it in a quota without scopes (those of a quota cannot be changed)");
    } else if (quantity_cmp(used, hard) > 0) {
        why_found(q, f, "QuotaOverdrawn",
                  STR_FMT " of its " STR_FMT " are in use and " STR_FMT
                          " are allowed: what is there stays, and nothing more comes",
                  STR_ARG(used), STR_ARG(name), STR_ARG(hard));
        why_way(q, f, "Delete some, or raise it: " STR_FMT, STR_ARG(edit));
    }
}

void why_quota(struct question *q, const struct obj *o, struct finding *f)
{
    const struct val *spec = obj_spec(o), *hard = val_get(spec, N(hard)), *used = val_get(obj_status(o), N(used));
    struct str class = class_missing(q, spec), full = S("");
    val_each_member (m, hard) {
        line_look(q, o, m->name->s, f);
        struct str have = amount_at(used, m->name->s);
        if (have.n && quantity_cmp(have, val_text(&m->v)) == 0 && quantity_cmp(have, S("0")) > 0)
            full = STR_JOIN(q->a, full, full.n ? S(", ") : S(""), m->name->s);
    }
    if (class.n) {
        why_found(q, f, "QuotaScopeMisses", "it is about pods of PriorityClass " STR_FMT ", which is not there",
                  STR_ARG(class));
        why_way(q, f, "Create it: kubectl create priorityclass " STR_FMT " --value=1000, or make the quota anew",
                STR_ARG(class));
    }
    if (val_len(hard) && !val_len(val_get(obj_status(o), N(hard))))
        why_coming(q, f, "QuotaIsCounted", "what it bounds is being counted");
    if (f->state == WHY_FINE && full.n)
        f->reason = arena_fmt(q->a, "it holds, and has no room for more: " STR_FMT, STR_ARG(full));
}

/* ---- a LimitRange ---- */

void why_limits(struct question *q, const struct obj *o, struct finding *f)
{
    static const char *const types[] = {"Container", "Pod", "PersistentVolumeClaim"};
    val_each_item (limit, val_get(obj_spec(o), N(limits))) {
        struct str type = val_text_at(limit, N(type));
        bool known = false;
        for (size_t i = 0; i < countof(types); i++)
            known |= str_eqz(type, types[i]);
        why_chain(q, f, STR_FMT ": %s", STR_ARG(type),
                  known ? "looked at when one is made" : "nothing is made of it");
        if (known)
            continue;
        why_found(q, f, "LimitRangeOfNothing", "its bounds of type " STR_FMT " are of nothing that is made here",
                  STR_ARG(type));
        why_way(q, f, "Name one of Container, Pod, PersistentVolumeClaim: " STR_FMT,
                STR_ARG(edit_of(q, "limits", o, o->name)));
    }
}
