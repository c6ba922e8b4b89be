#include "server/options.h"
#include "server/fail.h"
#include "server/limits.h"
#include "wire/http.h"

/* What the query said besides what struct request_options keeps, for checking. */
struct raw {
    struct str dry_run[8];
    size_t ndry_run;
    struct str validation;
    bool force_said;
};

static bool parse_bool(struct str s)
{
    /* conversion of queries: what is there is true, unless it says 0 or false */
    return !str_eq(s, S("0")) && !str_ieq(s, S("false"));
}

static bool number_parse(struct request *r, struct str s, int64_t *out)
{
    if (str_to_i64(s, INT64_MIN, INT64_MAX, out))
        return true;
    bool digits = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        digits &= (s.p[i] >= '0' && s.p[i] <= '9') || (i == 0 && s.n > 1 && s.p[i] == '-');
    return fail_bad_request(r, "strconv.ParseInt: parsing \"" STR_FMT "\": %s", STR_ARG(s),
                            digits ? "value out of range" : "invalid syntax");
}

static const char *options_kind(const struct request *r)
{
    switch (r->verb) {
    case VERB_CREATE: return "CreateOptions";
    case VERB_UPDATE: return "UpdateOptions";
    case VERB_PATCH: return "PatchOptions";
    case VERB_DELETE:
    case VERB_DELETECOLLECTION: return "DeleteOptions";
    case VERB_GET:
    case VERB_LIST:
    case VERB_WATCH: break;
    }
    return "ListOptions";
}

static bool options_refuse(struct request *r, const char *kind, struct field_errors *e)
{
    return e->list.n ? fail_invalid(r, S("meta.k8s.io"), str_of(kind), S(""), e) : true;
}

/* Go's %q of one character, as the messages of field managers show it. */
static void check_manager(struct request *r, struct field_errors *e)
{
    struct str m = r->options.field_manager;
    if (m.n > 128) {
        field_error_add(e, FE_TOO_LONG, "fieldManager", "Too long: may not be more than 128 bytes");
        return;
    }
    for (size_t i = 0; i < m.n; i++) {
        unsigned char c = (unsigned char)m.p[i];
        if (c >= 32 && c != 127)
            continue;
        AUTO(strbuf_fini) struct strbuf q = STRBUF(STRBUF_TEXT);
        for (size_t k = 0; k < m.n; k++) {
            unsigned char d = (unsigned char)m.p[k];
            if (d == '\n' || d == '\t' || d == '\r')
                strbuf_addf(&q, "\\%c", d == '\n' ? 'n' : d == '\t' ? 't' : 'r');
            else if (d < 32 || d == 127)
                strbuf_addf(&q, "\\x%02x", d);
            else
                strbuf_addc(&q, (char)d);
        }
        field_error_add(e, FE_INVALID, "fieldManager",
                        "Invalid value: \"" STR_FMT "\": invalid character U+%04X (at position %zu)",
                        STR_ARG(strbuf_str(&q)), c, i);
        return;
    }
}

static void check_dry_run(const struct raw *raw, struct field_errors *e)
{
    for (size_t i = 0; i < raw->ndry_run; i++) {
        if (str_eq(raw->dry_run[i], S("All")))
            continue;
        AUTO(strbuf_fini) struct strbuf list = STRBUF(STRBUF_TEXT);
        for (size_t k = 0; k < raw->ndry_run; k++)
            strbuf_addf(&list, "%s\"" STR_FMT "\"", k ? "," : "", STR_ARG(raw->dry_run[k]));
        field_error_add(e, FE_NOT_SUPPORTED, "dryRun", "Unsupported value: [" STR_FMT "]: supported values: \"All\"",
                        STR_ARG(strbuf_str(&list)));
        return;
    }
}

static void check_list(struct request *r, struct field_errors *e)
{
    const struct request_options *o = &r->options;
    struct str match = o->resource_version_match;
    const char *f = "resourceVersionMatch", *initial = "sendInitialEvents";
    if (r->verb == VERB_WATCH && o->send_initial_events != NOT_SAID) {
        if (!str_eq(match, S("NotOlderThan")))
            field_error_add(e, FE_FORBIDDEN, f,
                            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        if (match.n && !str_eq(match, S("NotOlderThan")))
            field_error_add(e, FE_NOT_SUPPORTED, f,
                            "Unsupported value: \"" STR_FMT "\": supported values: \"NotOlderThan\"", STR_ARG(match));
        if (o->continue_token.n)
            field_error_add(e, FE_FORBIDDEN, f,
                            "Forbidden: resourceVersionMatch is forbidden when continue is provided");
        return;
    }
    if (r->verb == VERB_WATCH) {
        if (match.n)
            field_error_add(e, FE_FORBIDDEN, f,
                            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
                            "provided");
        return;
    }
    if (match.n) {
        if (!o->resource_version.n)
            field_error_add(e, FE_FORBIDDEN, f,
                            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
        if (o->continue_token.n)
            field_error_add(e, FE_FORBIDDEN, f,
                            "Forbidden: resourceVersionMatch is forbidden when continue is provided");
        if (!str_eq(match, S("Exact")) && !str_eq(match, S("NotOlderThan")))
            field_error_add(e, FE_NOT_SUPPORTED, f,
                            "Unsupported value: \"" STR_FMT "\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
                            STR_ARG(match));
        if (str_eq(match, S("Exact")) && str_eq(o->resource_version, S("0")))
            field_error_add(e, FE_FORBIDDEN, f,
                            "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if (o->send_initial_events != NOT_SAID)
        field_error_add(e, FE_FORBIDDEN, initial, "Forbidden: sendInitialEvents is forbidden for list");
}

static void check_delete(struct request *r, struct field_errors *e)
{
    const struct request_options *o = &r->options;
    struct str p = o->propagation;
    if (p.n && o->orphan != NOT_SAID)
        field_error_add(e, FE_INVALID, "propagationPolicy",
                        "Invalid value: \"" STR_FMT "\": orphanDependents and deletionPropagation cannot be both set",
                        STR_ARG(p));
    else if (p.n && !str_eq(p, S("Foreground")) && !str_eq(p, S("Background")) && !str_eq(p, S("Orphan")))
        field_error_add(e, FE_NOT_SUPPORTED, "propagationPolicy",
                        "Unsupported value: \"" STR_FMT
                        "\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                        STR_ARG(p));
}

static bool options_check(struct request *r, const struct raw *raw)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    switch (r->verb) {
    case VERB_LIST:
    case VERB_WATCH: check_list(r, &e); return options_refuse(r, "ListOptions", &e);
    case VERB_GET: return true;
    case VERB_DELETECOLLECTION:
        check_list(r, &e);
        if (!options_refuse(r, "ListOptions", &e))
            return false;
        check_dry_run(raw, &e);
        check_delete(r, &e);
        break;
    case VERB_DELETE:
        check_dry_run(raw, &e);
        check_delete(r, &e);
        break;
    case VERB_PATCH:
        if (r->options.patch == FORMAT_APPLY_PATCH) {
            if (!r->options.field_manager.n)
                field_error_add(&e, FE_REQUIRED, "fieldManager", "Required value: is required for apply patch");
        } else if (raw->force_said) {
            field_error_add(&e, FE_FORBIDDEN, "force", "Forbidden: may not be specified for non-apply patch");
        }
        __attribute__((fallthrough));
    case VERB_CREATE:
    case VERB_UPDATE:
        check_manager(r, &e);
        check_dry_run(raw, &e);
        if (raw->validation.n && !str_eq(raw->validation, S("Ignore")) && !str_eq(raw->validation, S("Strict")) &&
            !str_eq(raw->validation, S("Warn")))
            field_error_add(&e, FE_NOT_SUPPORTED, "fieldValidation",
                            "Unsupported value: \"" STR_FMT
                            "\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
                            STR_ARG(raw->validation));
        break;
    }
    return options_refuse(r, options_kind(r), &e);
}

/* Zero bytes are good in no parameter. A field manager is told which letter is wrong: this is the only one that
 * names what it is given byte by byte. */
static bool refuse_zero(struct request *r, struct str query, const struct err *why)
{
    static const char prefix[] = "fieldManager=", zero[] = "%00";
    struct str part;
    while (query.p && str_cut(&query, '&', &part)) {
        const char *at = part.n ? memmem(part.p, part.n, zero, sizeof zero - 1) : NULL;
        if (!at || !str_starts(part, str_of(prefix)))
            continue;
        struct str before = {part.p + sizeof prefix - 1, (size_t)(at - part.p) - (sizeof prefix - 1)};
        struct str after = {at + sizeof zero - 1, (size_t)(part.p + part.n - at) - (sizeof zero - 1)};
        if (!http_unescape(&r->arena, before, &before) || !http_unescape(&r->arena, after, &after))
            break;
        AUTO(strbuf_fini) struct strbuf whole = STRBUF(STRBUF_TEXT);
        strbuf_add(&whole, before);
        strbuf_addc(&whole, 0);
        strbuf_add(&whole, after);
        r->options.field_manager = str_dup(&r->arena, strbuf_str(&whole));
        if (!options_check(r, &(struct raw){0}))
            return false;
    }
    return fail_bad_request(r, "%s", why->text);
}

bool options_of_query(struct request *r, struct str query)
{
    struct request_options *o = &r->options;
    struct raw raw = {0};
    struct str name, value, rest = query;
    struct err err = ERR;
    size_t n = 0;
    while (http_query_next(&r->arena, &rest, &name, &value, &err)) {
        if (++n > LIMIT_QUERY_PARAMETERS)
            return fail_bad_request(r, "more than %d query parameters", LIMIT_QUERY_PARAMETERS);
#define IS(text) str_eq(name, S(text))
        if (IS("dryRun")) {
            if (raw.ndry_run < countof(raw.dry_run))
                raw.dry_run[raw.ndry_run++] = value;
            o->dry_run = true;
        } else if (IS("fieldValidation")) {
            raw.validation = value;
            o->validation = str_eq(value, S("Strict"))   ? VALIDATION_STRICT
                            : str_eq(value, S("Ignore")) ? VALIDATION_IGNORE
                                                         : VALIDATION_WARN;
        } else if (IS("fieldManager")) {
            o->field_manager = value;
        } else if (IS("force")) {
            raw.force_said = true;
            o->force = parse_bool(value);
        } else if (IS("resourceVersion")) {
            o->resource_version = value;
            if (r->verb == VERB_DELETE)
                o->expect_rev = value.n ? value : STR_NONE;
        } else if (IS("resourceVersionMatch")) {
            o->resource_version_match = value;
        } else if (IS("continue")) {
            o->continue_token = value;
        } else if (IS("limit")) {
            if (!number_parse(r, value, &o->limit))
                return false;
        } else if (IS("labelSelector")) {
            o->label_selector = value;
        } else if (IS("fieldSelector")) {
            o->field_selector = value;
        } else if (IS("watch")) {
            o->watch = parse_bool(value);
        } else if (IS("allowWatchBookmarks")) {
            o->bookmarks = parse_bool(value);
        } else if (IS("sendInitialEvents")) {
            o->send_initial_events = parse_bool(value) ? SAID_YES : SAID_NO;
        } else if (IS("timeoutSeconds")) {
            if (value.n && !number_parse(r, value, &o->timeout_s))
                return false;
        } else if (IS("gracePeriodSeconds")) {
            if (value.n && (r->verb == VERB_DELETE || r->verb == VERB_DELETECOLLECTION)) {
                if (!number_parse(r, value, &o->grace_s))
                    return false;
                o->grace_said = true;
            }
        } else if (IS("propagationPolicy")) {
            o->propagation = value;
        } else if (IS("orphanDependents")) {
            o->orphan = parse_bool(value) ? SAID_YES : SAID_NO;
        }
#undef IS
    }
    if (err.kind)
        return refuse_zero(r, query, &err);
    return options_check(r, &raw);
}

bool options_of_delete_body(struct request *r, const struct val *v)
{
    struct raw raw = {0};
    struct request_options *o = &r->options;
    o->grace_said = val_get(v, N(gracePeriodSeconds));
    o->grace_s = val_num_at(v, 0, N(gracePeriodSeconds));
    o->propagation = val_text_at(v, N(propagationPolicy));
    const struct val *orphan = val_get(v, N(orphanDependents));
    o->orphan = !orphan ? NOT_SAID : val_true(orphan) ? SAID_YES : SAID_NO;
    const struct val *pre = val_get(v, N(preconditions));
    o->expect_uid = val_get(pre, N(uid)) ? val_text_at(pre, N(uid)) : STR_NONE;
    o->expect_rev = val_get(pre, N(resourceVersion)) ? val_text_at(pre, N(resourceVersion)) : STR_NONE;
    const struct val *dry = val_get(v, N(dryRun));
    o->dry_run = val_len(dry);
    for (size_t i = 0; i < val_len(dry) && i < countof(raw.dry_run); i++)
        raw.dry_run[raw.ndry_run++] = val_text(val_item(dry, i));
    return options_check(r, &raw);
}
