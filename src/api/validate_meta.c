/* validate_meta.c - metadata, labels, selectors, conditions: what every kind has. */
#include "api/rules_int.h"
#include "api/selector.h"
#include "base/clock.h"

#define ANNOTATIONS_MAX 262144

void check_labels(ERRS, const struct val *labels)
{
    val_each_member (m, labels) {
        check_format(e, at, m->name->s, format_qualified_name);
        check_format(e, at, val_text(&m->v), format_label_value);
    }
}

static struct str text_lower(struct arena *a, struct str s)
{
    char *p = arena_dup(a, s.n ? s.p : "", s.n + (s.n == 0));
    for (size_t i = 0; i < s.n; i++)
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    return (struct str){p, s.n};
}

void check_annotations(ERRS, const struct val *annotations)
{
    size_t total = 0;
    val_each_member (m, annotations) {
        struct complaints c = COMPLAINTS(e->arena);
        format_qualified_name(&c, text_lower(e->arena, m->name->s));
        for (size_t i = 0; i < c.n; i++)
            bad_text(e, at, m->name->s, STR_FMT, STR_ARG(c.texts[i]));
        total += m->name->s.n + val_len(&m->v) + val_text(&m->v).n;
    }
    if (total > ANNOTATIONS_MAX)
        bad_too_long(e, at, ANNOTATIONS_MAX);
}

static void check_owners(ERRS, const struct val *owners)
{
    struct str first = STR_NONE;
    each (owner, owners) {
        struct str version = TEXT(owner, apiVersion), group = S(""), rest;
        if (str_split(version, '/', &group, &rest))
            version = str_find_char(rest, '/') >= 0 ? S("") : rest;
        else
            group = S("");
        if (version.n == 0)
            bad_text(e, AT(at, "apiVersion"), TEXT(owner, apiVersion), "version must not be empty");
        if (TEXT(owner, kind).n == 0)
            bad_text(e, AT(at, "kind"), S(""), "must not be empty");
        if (TEXT(owner, name).n == 0)
            bad_text(e, AT(at, "name"), S(""), "must not be empty");
        if (TEXT(owner, uid).n == 0)
            bad_text(e, AT(at, "uid"), S(""), "must not be empty");
        if (group.n == 0 && str_eq(version, S("v1")) && str_eq(TEXT(owner, kind), S("Event")))
            bad_struct(e, at, T(meta_v1_OwnerReference), owner, "/v1, Kind=Event is disallowed from being an owner");
        if (!val_true(V(owner, controller)))
            continue;
        struct str name = arena_fmt(e->arena, STR_FMT "/" STR_FMT, STR_ARG(TEXT(owner, kind)),
                                    STR_ARG(TEXT(owner, name)));
        if (first.p)
            bad_struct(e, at, type_field(T(meta_v1_ObjectMeta), N(ownerReferences))->type, owners,
                       "Only one reference can have Controller set to true. Found \"true\" in references for " STR_FMT
                       " and " STR_FMT,
                       STR_ARG(first), STR_ARG(name));
        else
            first = name;
    }
}

void check_finalizer(ERRS, struct str name)
{
    if (str_find_char(name, '/') < 0 && !str_eq(name, S("kubernetes")) && !str_eq(name, S("orphan")) &&
        !str_eq(name, S("foregroundDeletion")))
        bad_text(e, at, name, "name is neither a standard finalizer name nor is it fully qualified");
}

static void check_kube_finalizers(ERRS, const struct val *finalizers)
{
    each (f, finalizers)
        check_finalizer(e, ITEM(AT(at, "finalizers"), INDEX(finalizers, f)), val_text(f));
}

void check_meta(ERRS, const struct val *meta, bool namespaced, format_fn *name, bool kube_finalizers)
{
    struct str prefix = TEXT(meta, generateName), own = TEXT(meta, name), ns = TEXT(meta, namespace);
    if (prefix.n > 0) {
        struct complaints c = COMPLAINTS(e->arena);
        struct str masked = prefix;
        if (prefix.n > 1 && prefix.p[prefix.n - 1] == '-')
            masked = arena_fmt(e->arena, STR_FMT "a", STR_ARG(str_sub(prefix, 0, prefix.n - 1)));
        name(&c, masked);
        for (size_t i = 0; i < c.n; i++)
            bad_text(e, AT(at, "generateName"), prefix, STR_FMT, STR_ARG(c.texts[i]));
    }
    if (own.n == 0)
        bad_required(e, AT(at, "name"), "name or generateName is required");
    else
        check_format(e, AT(at, "name"), own, name);
    if (!namespaced && ns.n > 0)
        bad_forbidden(e, AT(at, "namespace"), "not allowed on this type");
    else if (namespaced && ns.n == 0)
        bad_required(e, AT(at, "namespace"), "");
    else if (namespaced)
        check_format(e, AT(at, "namespace"), ns, format_dns1123_label);
    NOT_NEGATIVE(e, at, meta, generation);
    check_labels(e, AT(at, "labels"), V(meta, labels));
    check_annotations(e, AT(at, "annotations"), V(meta, annotations));
    check_owners(e, AT(at, "ownerReferences"), V(meta, ownerReferences));
    const struct val *finalizers = V(meta, finalizers);
    bool orphan = false, foreground = false;
    each (f, finalizers) {
        check_format(e, AT(at, "finalizers"), val_text(f), format_qualified_name);
        orphan |= str_eq(val_text(f), S("orphan"));
        foreground |= str_eq(val_text(f), S("foregroundDeletion"));
    }
    if (orphan && foreground)
        bad_value(e, AT(at, "finalizers"), finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    if (kube_finalizers)
        check_kube_finalizers(e, at, finalizers);
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void check_no_new_finalizers(ERRS, const struct val *now, const struct val *before)
{
    struct str *fresh = arena_alloc(e->arena, (val_len(now) + 1) * sizeof *fresh);
    size_t n = 0;
    each (f, now)
        if (!val_has_text(before, val_text(f)))
            fresh[n++] = val_text(f);
    if (n == 0)
        return;
    qsort(fresh, n, sizeof *fresh, by_text);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < n; i++) {
        strbuf_addz(&b, i ? ", " : "");
        add_quoted(&b, fresh[i]);
    }
    bad_forbidden(e, at,
                  "no new finalizers can be added if the object is being deleted, found new finalizers "
                  "[]string{" STR_FMT "}",
                  STR_ARG(strbuf_str(&b)));
}

static bool same_time(const struct val *x, const struct val *y)
{
    int64_t p, q;
    return time_parse(val_text(x), &p) && time_parse(val_text(y), &q) && p == q;
}

void check_meta_update(ERRS, const struct val *meta, const struct val *old, bool kube_finalizers)
{
    if (HAS(old, deletionTimestamp))
        check_no_new_finalizers(e, AT(at, "finalizers"), V(meta, finalizers), V(old, finalizers));
    if (NUM(meta, generation) < NUM(old, generation))
        bad_num(e, AT(at, "generation"), NUM(meta, generation), "must not be decremented");
    IMMUTABLE(e, at, meta, old, name);
    IMMUTABLE(e, at, meta, old, namespace);
    IMMUTABLE(e, at, meta, old, uid);
    if (!same_time(V(meta, creationTimestamp), V(old, creationTimestamp)))
        IMMUTABLE(e, at, meta, old, creationTimestamp);
    if (!same_time(V(meta, deletionTimestamp), V(old, deletionTimestamp)))
        IMMUTABLE(e, at, meta, old, deletionTimestamp);
    IMMUTABLE(e, at, meta, old, deletionGracePeriodSeconds);
    check_labels(e, AT(at, "labels"), V(meta, labels));
    check_annotations(e, AT(at, "annotations"), V(meta, annotations));
    check_owners(e, AT(at, "ownerReferences"), V(meta, ownerReferences));
    if (kube_finalizers)
        check_kube_finalizers(e, at, V(meta, finalizers));
}

size_t check_label_selector(ERRS, const struct val *selector)
{
    size_t before = e->list.n, n = val_len(V(selector, matchLabels)) + val_len(V(selector, matchExpressions));
    if (n > SELECTOR_MAX) { /* each is asked of each object that may be meant, again and again */
        bad_too_many(e, at, (int64_t)n, SELECTOR_MAX);
        return 1;
    }
    check_labels(e, AT(at, "matchLabels"), V(selector, matchLabels));
    const struct val *expressions = V(selector, matchExpressions);
    each (x, expressions) {
        const struct at *here = ITEM(AT(at, "matchExpressions"), INDEX(expressions, x));
        struct str op = TEXT(x, operator);
        bool in = str_eq(op, S("In")) || str_eq(op, S("NotIn"));
        bool exists = str_eq(op, S("Exists")) || str_eq(op, S("DoesNotExist"));
        if (in && val_len(V(x, values)) == 0)
            bad_required(e, AT(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        else if (exists && val_len(V(x, values)) > 0)
            bad_forbidden(e, AT(here, "values"),
                          "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        else if (!in && !exists)
            bad_text(e, AT(here, "operator"), op, "not a valid selector operator");
        check_format(e, AT(here, "key"), TEXT(x, key), format_qualified_name);
        const struct val *values = V(x, values);
        each (value, values)
            check_format(e, ITEM(AT(here, "values"), INDEX(values, value)), val_text(value), format_label_value);
    }
    return e->list.n - before;
}

void check_percent_or_number(ERRS, const struct val *v)
{
    if (val_is(v, VAL_STRING))
        check_format(e, at, val_text(v), format_percent);
    else
        check_not_negative(e, at, v);
}

void check_not_over_100_percent(ERRS, const struct val *v)
{
    int64_t n;
    if (val_is(v, VAL_STRING) && percent_of(val_text(v), &n) && n > 100)
        bad_value(e, at, v, "must not be greater than 100%%");
}

int64_t number_or_percent(const struct val *v)
{
    int64_t n = 0;
    if (val_is(v, VAL_STRING))
        return percent_of(val_text(v), &n) ? n : 0;
    return val_num(v, 0);
}

static bool reason_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool inner = (c >= '0' && c <= '9') || c == '_' || ((c == ',' || c == ':') && i + 1 < s.n);
        if (!letter && !(i > 0 && inner))
            return false;
    }
    return s.n > 0;
}

void check_conditions(ERRS, const struct val *conditions)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (c, conditions) {
        const struct at *here = ITEM(at, INDEX(conditions, c));
        if (TEXT(c, type).n == 0)
            bad_required(e, AT(here, "type"), "must be set");
        else
            check_format(e, AT(here, "type"), TEXT(c, type), format_qualified_name);
        if (seen_before(&seen, TEXT(c, type)))
            bad_duplicate(e, AT(here, "type"), TEXT(c, type));
        check_enum(e, AT(here, "status"), TEXT(c, status), "False", "True", "Unknown");
        NOT_NEGATIVE(e, here, c, observedGeneration);
        if (TEXT(c, lastTransitionTime).n == 0)
            bad_required(e, AT(here, "lastTransitionTime"), "must be set");
        struct str reason = TEXT(c, reason);
        if (reason.n == 0)
            bad_required(e, AT(here, "reason"), "must be set");
        else if (!reason_ok(reason))
            bad_text(
                e, AT(here, "reason"), reason,
                "a condition reason must start with alphabetic character, optionally followed by a string of "
                "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. "
                "'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used "
                "for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
        if (reason.n > 1024)
            bad_too_long(e, AT(here, "reason"), 1024);
        if (TEXT(c, message).n > 32768)
            bad_too_long(e, AT(here, "message"), 32768);
    }
}

void check_non_special_ip(ERRS, struct str s)
{
    uint8_t ip[16];
    bool v4;
    static const uint8_t zero[16], loop[16] = {[15] = 1};
    if (!ip_parse(s, ip, &v4)) {
        bad_text(e, at, s, "must be a valid IP address");
        return;
    }
    bool unspecified = v4 ? !memcmp(ip + 12, zero, 4) : !memcmp(ip, zero, 16);
    if (unspecified)
        bad_text(e, at, s, v4 ? "may not be unspecified (0.0.0.0)" : "may not be unspecified (::)");
    if (v4 ? ip[12] == 127 : !memcmp(ip, loop, 16))
        bad_text(e, at, s, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    if (v4 ? ip[12] == 169 && ip[13] == 254 : ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80)
        bad_text(e, at, s, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    if (v4 ? ip[12] == 224 && ip[13] == 0 && ip[14] == 0 : ip[0] == 0xff && ip[1] == 0x02)
        bad_text(e, at, s, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}
