/* rules.c - field errors and how they are worded, the checks of a single field, and which kind is checked by whom.
 * The checks of kinds are in validate_*.c.
 *
 * A check gets the list of errors, its place, and a value. A place (struct at) is a chain of frames on the stack of
 * whoever looks; it becomes text only when there is something to complain of, so an object without faults costs no
 * paths.
 *
 * Messages repeat the bad value as upstream would print it, and upstream prints its internal Go structs: their names
 * instead of JSON's, every field whether set or not, in the order of the struct (add_go_struct). The tables know
 * JSON's names and v1's order, so the few that differ stand here: odd names, the internal order of a pod's spec, and
 * the members of its security context that v1 has beside it.
 *
 * Two bounds. Errors beyond FIELD_ERRORS_MOST, or beyond so many bytes of text, are not kept, and the bad_*
 * functions then return before they format anything: of fifty thousand bad elements all are looked at, and five
 * hundred are worded. And long lists are searched by hash (seen.c).
 *
 * An update is checked against what stands. `unchanged` is upstream's semantic equality, for which nothing and empty
 * are the same; `changes` makes the little diff that some messages carry.
 *
 * kind_validate is the order of it all: metadata, then the kind's own checks. For an update also what may change,
 * and subresources that have rules of their own instead. Tests hold it against what a real server answered
 * (tests/rules).
 */
#include "api/rules.h"
#include "api/custom.h"
#include "api/quantity.h"
#include "api/rules_int.h"
#include "api/strategy.h"

void field_errors_fini(struct field_errors *e)
{
    array_fini(&e->list);
}

static const struct {
    const char *reason, *text;
} error_types[] = {
    [FE_REQUIRED] = {"FieldValueRequired", "Required value"},
    [FE_INVALID] = {"FieldValueInvalid", "Invalid value"},
    [FE_TYPE_INVALID] = {"FieldValueTypeInvalid", "Invalid value"},
    [FE_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
    [FE_NOT_SUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
    [FE_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
    [FE_TOO_LONG] = {"FieldValueTooLong", "Too long"},
    [FE_TOO_MANY] = {"FieldValueTooMany", "Too many"},
    [FE_NOT_FOUND] = {"FieldValueNotFound", "Not found"},
    [FE_INTERNAL] = {"InternalError", "Internal error"},
};

const char *field_error_reason(enum field_error_type t)
{
    return error_types[t].reason;
}

void field_errors_text(const struct field_errors *e, struct strbuf *out)
{
    size_t shown = 0;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    AUTO(seen_fini) struct seen seen = SEEN;
    for (size_t i = 0; i < e->list.n; i++) {
        const struct field_error *it = &e->list.p[i];
        if (seen_pair(&seen, it->field, it->text))
            continue;
        strbuf_addf(&b, "%s" STR_FMT ": " STR_FMT, shown++ ? ", " : "", STR_ARG(it->field), STR_ARG(it->text));
    }
    strbuf_addf(out, shown > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(strbuf_str(&b)));
}

#define TEXT_MAX 65536 /* of one complaint; upstream has no limit, a value may be a whole annotation */

static void add_at(struct strbuf *b, const struct at *at)
{
    if (!at)
        return;
    add_at(b, at->up);
    if (at->name)
        strbuf_addf(b, "%s%s", at->up ? "." : "", at->name);
    else if (at->index >= 0)
        strbuf_addf(b, "[%lld]", (long long)at->index);
    else
        strbuf_addf(b, "[" STR_FMT "]", STR_ARG(at->key));
}

/* Enough is told: what else is wrong with the object is not looked for in detail, so that a long list of bad elements
 * costs and answers no more than a short one. */
bool errors_full(const struct field_errors *e)
{
    return e->list.n >= FIELD_ERRORS_MOST || e->bytes >= FIELD_ERRORS_BYTES;
}

void at_text(struct strbuf *b, const struct at *at)
{
    add_at(b, at);
}

void error_add(struct field_errors *e, enum field_error_type type, struct str field, struct str value,
               struct str detail)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    strbuf_addz(&text, error_types[type].text);
    if (value.p)
        strbuf_addf(&text, ": " STR_FMT, STR_ARG(value));
    if (detail.n > 0)
        strbuf_addf(&text, ": " STR_FMT, STR_ARG(detail));
    struct field_error error = {type, str_dup(e->arena, field), str_dup(e->arena, strbuf_str(&text))};
    e->bytes += error.field.n + error.text.n;
    array_push(&e->list, error);
}

static void error_push(ERRS, enum field_error_type type, struct str value, struct str detail)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf path = STRBUF(TEXT_MAX);
    add_at(&path, at);
    error_add(e, type, strbuf_str(&path), value, detail);
}

static void add_json_text(struct strbuf *b, struct str s)
{
    strbuf_addc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            strbuf_addf(b, "\\%c", c);
        else if (c == '\n')
            strbuf_addz(b, "\\n");
        else if (c == '\t')
            strbuf_addz(b, "\\t");
        else if (c == '\r')
            strbuf_addz(b, "\\r");
        else if (c < 0x20 || c == '<' || c == '>' || c == '&')
            strbuf_addf(b, "\\u%04x", c);
        else
            strbuf_addc(b, (char)c);
    }
    strbuf_addc(b, '"');
}

static int by_name(const void *x, const void *y)
{
    return str_cmp((*(const struct member *const *)x)->name->s, (*(const struct member *const *)y)->name->s);
}

/* Of maps: members of structs have an order of their own, see add_go_struct. */
static void add_json(struct strbuf *b, const struct val *v)
{
    if (!v)
        return strbuf_addz(b, "null");
    switch ((enum val_type)v->type) {
    case VAL_NULL: strbuf_addz(b, "null"); break;
    case VAL_BOOL: strbuf_addz(b, v->b ? "true" : "false"); break;
    case VAL_INT: strbuf_addf(b, "%lld", (long long)v->i); break;
    case VAL_DOUBLE: strbuf_addf(b, "%g", v->d); break;
    case VAL_STRING: add_json_text(b, val_text(v)); break;
    case VAL_BYTES:
        strbuf_addc(b, '"');
        strbuf_add_base64(b, v->s, v->n);
        strbuf_addc(b, '"');
        break;
    case VAL_LIST:
        strbuf_addc(b, '[');
        val_each_item (item, v) {
            if (item != v->list)
                strbuf_addc(b, ',');
            add_json(b, item);
        }
        strbuf_addc(b, ']');
        break;
    case VAL_MAP: {
        struct arena a = ARENA;
        const struct member **sorted = arena_alloc(&a, (v->n + 1) * sizeof *sorted);
        for (uint32_t k = 0; k < v->n; k++)
            sorted[k] = &v->map[k];
        qsort(sorted, v->n, sizeof *sorted, by_name);
        strbuf_addc(b, '{');
        for (uint32_t k = 0; k < v->n; k++) {
            if (k > 0)
                strbuf_addc(b, ',');
            add_json_text(b, sorted[k]->name->s);
            strbuf_addc(b, ':');
            add_json(b, &sorted[k]->v);
        }
        strbuf_addc(b, '}');
        arena_fini(&a);
        break;
    }
    }
}

void add_value(struct strbuf *b, const struct val *v)
{
    if (val_is(v, VAL_STRING))
        add_quoted(b, val_text(v));
    else
        add_json(b, v);
}

/* Upstream's internal types have no JSON names of their own: theirs are the Go names. */
static void add_go_name(struct strbuf *b, struct str name)
{
    static const struct {
        struct str json;
        const char *go;
    } odd[] = {{S_INIT("uid"), "UID"},
               {S_INIT("ip"), "IP"},
               {S_INIT("apiVersion"), "APIVersion"},
               {S_INIT("apiGroup"), "APIGroup"},
               {S_INIT("seLinuxOptions"), "SELinuxOptions"},
               {S_INIT("seLinuxChangePolicy"), "SELinuxChangePolicy"},
               {S_INIT("fsType"), "FSType"},
               {S_INIT("fsGroup"), "FSGroup"},
               {S_INIT("fsGroupChangePolicy"), "FSGroupChangePolicy"},
               {S_INIT("dnsPolicy"), "DNSPolicy"},
               {S_INIT("dnsConfig"), "DNSConfig"},
               {S_INIT("os"), "OS"},
               {S_INIT("tty"), "TTY"}};
    for (size_t i = 0; i < countof(odd); i++)
        if (str_eq(name, odd[i].json))
            return strbuf_addz(b, odd[i].go);
    if (name.n > 0)
        strbuf_addc(b, name.p[0] >= 'a' && name.p[0] <= 'z' ? (char)(name.p[0] - 32) : name.p[0]);
    strbuf_add(b, str_sub(name, 1, name.n));
}

static void add_go_struct(struct strbuf *b, const struct type *t, const struct val *v);

static void add_go_field(struct strbuf *b, const struct field *f, const struct val *m)
{
    if (is_set(m))
        add_go_struct(b, f->type, m);
    else if ((f->flags & FIELD_POINTER) || f->type->kind == TYPE_LIST || f->type->kind == TYPE_MAP)
        strbuf_addz(b, "null");
    else if (f->type->kind == TYPE_STRUCT)
        add_go_struct(b, f->type, NULL);
    else if (f->type->kind == TYPE_BOOL)
        strbuf_addz(b, "false");
    else if (f->type->kind == TYPE_INT32 || f->type->kind == TYPE_INT64)
        strbuf_addz(b, "0");
    else
        strbuf_addz(b, "\"\"");
}

/* The internal pod has an order of its own, and in its security context what v1 has beside it. */
static const struct name *const pod_order[] = {N(volumes),
                                               N(initContainers),
                                               N(containers),
                                               N(ephemeralContainers),
                                               N(restartPolicy),
                                               N(terminationGracePeriodSeconds),
                                               N(activeDeadlineSeconds),
                                               N(dnsPolicy),
                                               N(nodeSelector),
                                               N(serviceAccountName),
                                               N(automountServiceAccountToken),
                                               N(nodeName),
                                               N(securityContext),
                                               N(imagePullSecrets),
                                               N(hostname),
                                               N(subdomain),
                                               N(setHostnameAsFQDN),
                                               N(affinity),
                                               N(schedulerName),
                                               N(tolerations),
                                               N(hostAliases),
                                               N(priorityClassName),
                                               N(priority),
                                               N(preemptionPolicy),
                                               N(dnsConfig),
                                               N(readinessGates),
                                               N(runtimeClassName),
                                               N(overhead),
                                               N(enableServiceLinks),
                                               N(topologySpreadConstraints),
                                               N(os),
                                               N(schedulingGates),
                                               N(resourceClaims),
                                               N(resources),
                                               N(hostnameOverride),
                                               N(schedulingGroup)};
static const struct name *const pod_host_order[] = {N(hostNetwork), N(hostPID), N(hostIPC), N(shareProcessNamespace),
                                                    N(hostUsers)};
static const struct name *const security_order[] = {N(seLinuxOptions),
                                                    N(windowsOptions),
                                                    N(runAsUser),
                                                    N(runAsGroup),
                                                    N(runAsNonRoot),
                                                    N(supplementalGroups),
                                                    N(supplementalGroupsPolicy),
                                                    N(fsGroup),
                                                    N(fsGroupChangePolicy),
                                                    N(sysctls),
                                                    N(seccompProfile),
                                                    N(appArmorProfile),
                                                    N(seLinuxChangePolicy)};

static void add_go_named(struct strbuf *b, const struct type *t, const struct val *v, const struct name *name)
{
    const struct field *f = type_field(t, name);
    strbuf_addz(b, b->n && b->p[b->n - 1] == '{' ? "\"" : ",\"");
    add_go_name(b, name->s);
    strbuf_addz(b, "\":");
    add_go_field(b, f, val_get(v, name));
}

static void add_go_pod(struct strbuf *b, const struct type *t, const struct val *v)
{
    strbuf_addc(b, '{');
    for (size_t i = 0; i < countof(pod_order); i++) {
        if (pod_order[i] != N(securityContext)) {
            add_go_named(b, t, v, pod_order[i]);
            continue;
        }
        strbuf_addz(b, ",\"SecurityContext\":{");
        for (size_t k = 0; k < countof(pod_host_order); k++)
            add_go_named(b, t, v, pod_host_order[k]);
        for (size_t k = 0; k < countof(security_order); k++)
            add_go_named(b, T(core_v1_PodSecurityContext), V(v, securityContext), security_order[k]);
        strbuf_addc(b, '}');
    }
    strbuf_addc(b, '}');
}

static void add_go_fields(struct strbuf *b, const struct type *t, const struct val *v, size_t *n)
{
    bool meta = t->openapi && str_starts(str_of(t->openapi), S("io.k8s.apimachinery"));
    type_fields_each (f, t) {
        const struct val *m = val_get(v, f->name);
        if (f->flags & FIELD_INLINE || f->type == T(meta_v1_ObjectMeta)) { /* embedded, in internal structs */
            add_go_fields(b, f->type, f->flags & FIELD_INLINE ? v : m, n);
            continue;
        }
        if (meta && (f->flags & FIELD_OMITEMPTY) && !is_set(m))
            continue;
        strbuf_addf(b, "%s\"", (*n)++ ? "," : "");
        if (meta)
            strbuf_add(b, f->name->s);
        else
            add_go_name(b, f->name->s);
        strbuf_addz(b, "\":");
        add_go_field(b, f, m);
    }
}

static void add_go_struct(struct strbuf *b, const struct type *t, const struct val *v)
{
    if (t == T(core_v1_PodSpec)) {
        add_go_pod(b, t, v);
    } else if (t->kind == TYPE_STRUCT) {
        size_t n = 0;
        strbuf_addc(b, '{');
        add_go_fields(b, t, v, &n);
        strbuf_addc(b, '}');
    } else if (t->kind == TYPE_LIST && val_is(v, VAL_LIST)) {
        strbuf_addc(b, '[');
        val_each_item (item, v) {
            if (item != v->list)
                strbuf_addc(b, ',');
            add_go_struct(b, t->of, item);
        }
        strbuf_addc(b, ']');
    } else {
        add_json(b, v);
    }
}

void struct_text(struct strbuf *b, const struct type *t, const struct val *v)
{
    add_go_struct(b, t, v);
}

bool is_set(const struct val *v)
{
    return v && v->type != VAL_NULL;
}

void bad_required(ERRS, const char *detail)
{
    error_push(e, at, FE_REQUIRED, STR_NONE, str_of(detail));
}

#define FORMATTED(out)                                                                                               \
    va_list args_;                                                                                                   \
    va_start(args_, fmt);                                                                                            \
    struct str out = arena_vfmt(e->arena, fmt, args_);                                                               \
    va_end(args_)

void bad_value(ERRS, const struct val *value, const char *fmt, ...)
{
    if (errors_full(e))
        return;
    FORMATTED(detail);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_value(&b, value);
    error_push(e, at, FE_INVALID, strbuf_str(&b), detail);
}

void bad_text(ERRS, struct str value, const char *fmt, ...)
{
    if (errors_full(e))
        return;
    FORMATTED(detail);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_quoted(&b, value);
    error_push(e, at, FE_INVALID, strbuf_str(&b), detail);
}

void bad_num(ERRS, int64_t value, const char *fmt, ...)
{
    if (errors_full(e))
        return;
    FORMATTED(detail);
    error_push(e, at, FE_INVALID, arena_fmt(e->arena, "%lld", (long long)value), detail);
}

void bad_struct(ERRS, const struct type *t, const struct val *value, const char *fmt, ...)
{
    if (errors_full(e))
        return;
    FORMATTED(detail);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    if (is_set(value))
        add_go_struct(&b, t, value);
    else
        strbuf_addz(&b, "null");
    error_push(e, at, FE_INVALID, strbuf_str(&b), detail);
}

void bad_forbidden(ERRS, const char *fmt, ...)
{
    if (errors_full(e))
        return;
    FORMATTED(detail);
    error_push(e, at, FE_FORBIDDEN, STR_NONE, detail);
}

void bad_duplicate(ERRS, struct str value)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_quoted(&b, value);
    error_push(e, at, FE_DUPLICATE, strbuf_str(&b), S(""));
}

void bad_duplicate_struct(ERRS, const struct type *t, const struct val *value, const char *detail)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_go_struct(&b, t, value);
    error_push(e, at, FE_DUPLICATE, strbuf_str(&b), str_of(detail));
}

void bad_duplicate_number(ERRS, int64_t value)
{
    if (errors_full(e))
        return;
    error_push(e, at, FE_DUPLICATE, arena_fmt(e->arena, "%lld", (long long)value), S(""));
}

void bad_plain(ERRS, const char *detail)
{
    error_push(e, at, FE_INVALID, STR_NONE, str_of(detail));
}

void bad_not_found(ERRS, struct str value, const char *detail)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_quoted(&b, value);
    error_push(e, at, FE_NOT_FOUND, strbuf_str(&b), str_of(detail));
}

static void push_enum(ERRS, struct str shown, const char *const *values)
{
    AUTO(strbuf_fini) struct strbuf detail = STRBUF(TEXT_MAX);
    strbuf_addz(&detail, "supported values: ");
    for (size_t i = 0; values[i]; i++) {
        strbuf_addz(&detail, i ? ", " : "");
        add_quoted(&detail, str_of(values[i]));
    }
    error_push(e, at, FE_NOT_SUPPORTED, shown, strbuf_str(&detail));
}

void bad_enum(ERRS, struct str value, const char *const *values)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_quoted(&b, value);
    push_enum(e, at, strbuf_str(&b), values);
}

void bad_enum_value(ERRS, const struct val *value, const char *const *values)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_value(&b, value);
    push_enum(e, at, strbuf_str(&b), values);
}

void bad_enum_struct(ERRS, const struct type *t, const struct val *value, const char *const *values)
{
    if (errors_full(e))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    add_go_struct(&b, t, value);
    push_enum(e, at, strbuf_str(&b), values);
}

void bad_too_long(ERRS, int64_t max)
{
    if (errors_full(e))
        return;
    error_push(e, at, FE_TOO_LONG, STR_NONE, arena_fmt(e->arena, "may not be more than %lld bytes", (long long)max));
}

void bad_too_many(ERRS, int64_t have, int64_t max)
{
    if (errors_full(e))
        return;
    error_push(e, at, FE_TOO_MANY, arena_fmt(e->arena, "%lld", (long long)have),
               arena_fmt(e->arena, "must have at most %lld %s", (long long)max, max == 1 ? "item" : "items"));
}

void bad_immutable(ERRS, const struct val *value)
{
    bad_value(e, at, value, "field is immutable");
}

bool check_format(ERRS, struct str value, format_fn *f)
{
    struct complaints c = COMPLAINTS(e->arena);
    f(&c, value);
    for (size_t i = 0; i < c.n; i++)
        bad_text(e, at, value, STR_FMT, STR_ARG(c.texts[i]));
    return c.n == 0;
}

bool check_enum_(ERRS, struct str value, const char *const *values)
{
    for (size_t i = 0; values[i]; i++)
        if (str_eqz(value, values[i]))
            return true;
    bad_enum(e, at, value, values);
    return false;
}

/* --- expressions --- */

static const struct expression_checker *checker;

void expressions_are_checked_by(const struct expression_checker *c)
{
    checker = c;
}

void *expressions_begin(bool params, bool variables)
{
    return checker ? checker->begin(params, variables) : NULL;
}

void expressions_end(void *scope)
{
    if (checker)
        checker->end(scope);
}

void check_expression(ERRS, void *scope, enum expression_use use, struct str name, struct str text)
{
    AUTO(strbuf_fini) struct strbuf why = STRBUF(TEXT_MAX);
    if (errors_full(e) || !checker || checker->check(scope, use, name, text, &why))
        return;
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(TEXT_MAX);
    add_quoted(&shown, text);
    error_push(e, at, FE_INVALID, strbuf_str(&shown), strbuf_str(&why));
}

void check_not_negative(ERRS, const struct val *v)
{
    if (val_num(v, 0) < 0)
        bad_num(e, at, v->i, "must be greater than or equal to 0");
}

void check_range(ERRS, const struct val *v, int64_t low, int64_t high)
{
    if (val_is(v, VAL_INT) && (v->i < low || v->i > high))
        bad_num(e, at, v->i, "must be between %lld and %lld, inclusive", (long long)low, (long long)high);
}

void check_port(ERRS, int64_t n)
{
    if (!is_port(n))
        bad_num(e, at, n, "must be between 1 and 65535, inclusive");
}

static bool val_is_empty(const struct val *v)
{
    return !is_set(v) || ((v->type == VAL_LIST || v->type == VAL_MAP || v->type == VAL_STRING) && v->n == 0);
}

/* Deep, as upstream's semantic equality: nothing and an empty list or map are the same. */
bool val_unchanged(const struct val *x, const struct val *y)
{
    if (val_is_empty(x) || val_is_empty(y))
        return val_is_empty(x) && val_is_empty(y);
    if (x->type != y->type)
        return false;
    if (x->type == VAL_LIST) {
        if (x->n != y->n)
            return false;
        for (uint32_t i = 0; i < x->n; i++)
            if (!val_unchanged(&x->list[i], &y->list[i]))
                return false;
        return true;
    }
    if (x->type == VAL_MAP) {
        val_each_member (m, x)
            if (!val_unchanged(&m->v, val_get(y, m->name)))
                return false;
        val_each_member (m, y)
            if (!val_get(x, m->name) && !val_is_empty(&m->v))
                return false;
        return true;
    }
    return val_equal(x, y);
}

#define CHANGES_MAX 8192 /* bytes; what is longer is cut, it is for people */

static void add_leaf(struct strbuf *b, char sign, const struct at *at, const struct val *v, size_t *n)
{
    AUTO(strbuf_fini) struct strbuf value = STRBUF(TEXT_MAX);
    add_json(&value, v);
    strbuf_addf(b, "\n%c", sign);
    add_at(b, at);
    strbuf_addf(b, ": " STR_FMT "%s", STR_ARG(str_sub(strbuf_str(&value), 0, 200)), value.n > 200 ? "..." : "");
    (*n)++;
}

static void add_changes(struct strbuf *minus, struct strbuf *plus, size_t n[2], const struct at *at,
                        const struct val *old, const struct val *now)
{
    if (val_unchanged(old, now))
        return;
    if (val_is(old, VAL_MAP) && val_is(now, VAL_MAP)) {
        val_each_member (m, old)
            add_changes(minus, plus, n, AT(at, m->name->s.p), &m->v, val_get(now, m->name));
        val_each_member (m, now)
            if (!val_get(old, m->name))
                add_changes(minus, plus, n, AT(at, m->name->s.p), NULL, &m->v);
        return;
    }
    if (val_is(old, VAL_LIST) && val_is(now, VAL_LIST) && old->n == now->n) {
        for (uint32_t i = 0; i < old->n; i++)
            add_changes(minus, plus, n, ITEM(at, i), &old->list[i], &now->list[i]);
        return;
    }
    if (!val_is_empty(old))
        add_leaf(minus, '-', at, old, &n[0]);
    if (!val_is_empty(now))
        add_leaf(plus, '+', at, now, &n[1]);
}

struct str val_changes(struct arena *a, const struct val *old, const struct val *now)
{
    AUTO(strbuf_fini) struct strbuf minus = STRBUF(CHANGES_MAX), plus = STRBUF(CHANGES_MAX);
    size_t n[2] = {0, 0};
    add_changes(&minus, &plus, n, NULL, old, now);
    return arena_fmt(a, "@@ -1,%zu +1,%zu @@" STR_FMT STR_FMT "\n", n[0], n[1], STR_ARG(strbuf_str(&minus)),
                     STR_ARG(strbuf_str(&plus)));
}

static const struct kind_rules *const groups[] = {
    rules_pod,      rules_core,      rules_service,    rules_workload,    rules_rbac,
    rules_storage,  rules_batch,     rules_networking, rules_autoscaling, rules_certificates,
    rules_resource, rules_admission, rules_policy,     rules_crd,         rules_other};
static const struct kind_rules anything = {.name = format_dns1123_subdomain};

static const struct kind_rules *rules_of(const struct kind *k)
{
    for (size_t i = 0; i < countof(groups); i++)
        for (const struct kind_rules *r = groups[i]; r->kind; r++)
            if (r->kind == k)
                return r;
    return &anything;
}

/* Upstream's core asks for finalizers that are qualified or of its own; the servers of extensions, whose kinds these
 * are, and of what they define do not: a CustomResourceDefinition carries customresourcecleanup.apiextensions.k8s.io.
 */
static bool has_core_finalizers(const struct kind *k)
{
    return !k->live && !str_eqz(k->group, "apiextensions.k8s.io") && !str_eqz(k->group, "apiregistration.k8s.io");
}

void kind_validate(const struct kind *k, struct str sub, const struct val *v, const struct val *old,
                   struct field_errors *e)
{
    if (k->custom && !custom_is_named(k, v, e))
        return;
    const struct kind_rules *r = rules_of(k);
    const struct at *meta = AT(NULL, "metadata");
    format_fn *name = r->name ? r->name : format_dns1123_subdomain;
    if (!old) {
        /* the labels of a job that has none are those of its template, and are judged there */
        struct val own = k == K(Job) ? val_copy(e->arena, V(v, metadata)) : VAL_NONE;
        if (k == K(Job) && val_unchanged(V(&own, labels), val_at(v, N(spec), N(template), N(metadata), N(labels))))
            val_del(&own, N(labels));
        check_meta(e, meta, k == K(Job) ? &own : V(v, metadata), k->namespaced, name, has_core_finalizers(k));
        if (r->create)
            r->create(e, v);
        if (k->custom)
            custom_validate(k, sub, v, old, e);
        return;
    }
    check_meta(e, meta, V(v, metadata), k->namespaced, format_path_segment, false);
    check_meta_update(e, meta, V(v, metadata), V(old, metadata), false);
    if (has_core_finalizers(k))
        check_meta_update(e, meta, V(v, metadata), V(old, metadata), true);
    if (k->custom)
        return custom_validate(k, sub, v, old, e);
    if (str_eq(sub, S("status"))) {
        if (r->status)
            r->status(e, v, old);
        return;
    }
    if (k == K(Pod) && str_eq(sub, S("ephemeralcontainers")))
        return check_ephemeral_update(e, v, old);
    if (k == K(Pod) && str_eq(sub, S("resize")))
        return check_resize(e, v, old);
    if (k == K(CertificateSigningRequest) && str_eq(sub, S("approval")))
        return check_approval(e, v, old);
    check_meta(e, meta, V(v, metadata), k->namespaced, name, has_core_finalizers(k));
    if (r->update && r->update_first)
        r->update(e, v, old);
    if (r->create && !r->update_alone)
        r->create(e, v);
    if (r->update && !r->update_first)
        r->update(e, v, old);
}
