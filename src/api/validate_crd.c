/* validate_crd.c - what a CustomResourceDefinition must hold, and what may change of it. Its schemas:
 * validate_schema.c.
 *
 * Upstream judges its internal form of a definition, in which what all versions have alike (the schema, subresources,
 * columns, selectable fields) stands once, beside the versions, and nothing of it in them. So complaints of the
 * schema of a definition with one version are at spec.validation, and the same of two versions that differ at
 * spec.versions. struct crd_parts is that form. */
#include "api/rules_int.h"
#include "api/schema.h"

enum crd_part { PART_SCHEMA, PART_SUBRESOURCES, PART_COLUMNS, PART_FIELDS, CRD_PARTS };
static const struct name *const part_names[CRD_PARTS] = {N(schema), N(subresources), N(additionalPrinterColumns),
                                                         N(selectableFields)};
enum { SELECTABLE_FIELDS_MOST = 8 };

struct crd_parts {
    const struct val *spec, *versions;
    bool alike[CRD_PARTS];               /* all versions have the same */
    const struct val *common[CRD_PARTS]; /* what they have alike; NULL: nothing, or it is not alike */
};

static struct crd_parts parts_of(const struct val *v)
{
    struct crd_parts p = {.spec = V(v, spec), .versions = V(V(v, spec), versions)};
    const struct val *first = val_item(p.versions, 0);
    for (size_t i = 0; first && i < CRD_PARTS; i++) {
        p.alike[i] = true;
        each (it, p.versions)
            p.alike[i] &= val_unchanged(val_get(first, part_names[i]), val_get(it, part_names[i]));
        p.common[i] = p.alike[i] ? val_get(first, part_names[i]) : NULL;
    }
    return p;
}

static const struct val *part_of(const struct crd_parts *p, const struct val *version, enum crd_part part)
{
    return p->alike[part] ? NULL : val_get(version, part_names[part]);
}

/* The versions as messages show them. */
static struct val versions_shown(struct arena *a, const struct crd_parts *p)
{
    struct val list = p->versions ? val_copy(a, p->versions) : VAL_NONE;
    for (uint32_t i = 0; i < val_len(&list); i++)
        for (size_t part = 0; part < CRD_PARTS; part++)
            if (p->alike[part])
                (void)val_del(&list.list[i], part_names[part]);
    return list;
}

/* --- names --- */

static struct str complaints_joined(struct arena *a, const struct complaints *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < c->n; i++)
        strbuf_addf(&b, "%s" STR_FMT, i ? "," : "", STR_ARG(c->texts[i]));
    return str_dup(a, strbuf_str(&b));
}

/* All that is wrong with it in one complaint. */
static void check_joined(ERRS, struct str value, struct str judged, const char *before, format_fn *format)
{
    struct complaints c = COMPLAINTS(e->arena);
    format(&c, judged);
    if (c.n)
        bad_text(e, at, value, "%s" STR_FMT, before, STR_ARG(complaints_joined(e->arena, &c)));
}

static void check_label_name(ERRS, struct str name)
{
    if (name.n)
        check_joined(e, at, name, name, "", format_dns1035_label);
}

static void check_kind_name(ERRS, struct str name)
{
    char *low = arena_strz(e->arena, name);
    for (char *p = low; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    if (name.n)
        check_joined(e, at, name, (struct str){low, name.n},
                     "may have mixed case, but should otherwise match: ", format_dns1035_label);
}

static void check_names(ERRS, const struct val *called)
{
    const struct val *shorts = V(called, shortNames), *categories = V(called, categories);
    check_label_name(e, AT(at, "plural"), TEXT(called, plural));
    check_label_name(e, AT(at, "singular"), TEXT(called, singular));
    check_kind_name(e, AT(at, "kind"), TEXT(called, kind));
    check_kind_name(e, AT(at, "listKind"), TEXT(called, listKind));
    each (it, shorts)
        check_joined(e, ITEM(AT(at, "shortNames"), INDEX(shorts, it)), val_text(it), val_text(it), "",
                     format_dns1035_label);
    if (TEXT(called, kind).n && str_eq(TEXT(called, kind), TEXT(called, listKind)))
        bad_text(e, AT(at, "listKind"), TEXT(called, listKind), "kind and listKind may not be the same");
    each (it, categories)
        check_joined(e, ITEM(AT(at, "categories"), INDEX(categories, it)), val_text(it), val_text(it), "",
                     format_dns1035_label);
}

static void check_group(ERRS, struct str group)
{
    if (!group.n)
        bad_required(e, at, "");
    else if (!format_ok(format_dns1123_subdomain, group))
        check_joined(e, at, group, group, "", format_dns1123_subdomain);
    else if (str_find_char(group, '.') < 0)
        bad_text(e, at, group, "should be a domain with at least one dot");
}

/* --- a version --- */

/* Names as upstream's struct has them, in its order. allowed: at the root where there is a status subresource. */
static const struct root_keyword {
    const struct name *name;
    const char *go;
    bool allowed;
} root_keywords[] = {
    {N(id), "ID", false},
    {N(_schema), "Schema", false},
    {N(_ref), "Ref", false},
    {N(description), "Description", true},
    {N(type), "Type", true},
    {N(nullable), "Nullable", false},
    {N(format), "Format", true},
    {N(title), "Title", true},
    {N(maximum), "Maximum", true},
    {N(exclusiveMaximum), "ExclusiveMaximum", true},
    {N(minimum), "Minimum", true},
    {N(exclusiveMinimum), "ExclusiveMinimum", true},
    {N(maxLength), "MaxLength", true},
    {N(minLength), "MinLength", true},
    {N(pattern), "Pattern", true},
    {N(maxItems), "MaxItems", true},
    {N(minItems), "MinItems", true},
    {N(uniqueItems), "UniqueItems", true},
    {N(multipleOf), "MultipleOf", true},
    {N(enum), "Enum", false},
    {N(maxProperties), "MaxProperties", false},
    {N(minProperties), "MinProperties", false},
    {N(required), "Required", true},
    {N(items), "Items", true},
    {N(allOf), "AllOf", false},
    {N(oneOf), "OneOf", false},
    {N(anyOf), "AnyOf", false},
    {N(not ), "Not", false},
    {N(properties), "Properties", true},
    {N(additionalProperties), "AdditionalProperties", false},
    {N(patternProperties), "PatternProperties", false},
    {N(dependencies), "Dependencies", false},
    {N(additionalItems), "AdditionalItems", false},
    {N(definitions), "Definitions", false},
    {N(externalDocs), "ExternalDocs", true},
    {N(example), "Example", true},
    {N(default), "Default", false},
    {N(x_kubernetes_preserve_unknown_fields), "XPreserveUnknownFields", true},
    {N(x_kubernetes_embedded_resource), "XEmbeddedResource", false},
    {N(x_kubernetes_int_or_string), "XIntOrString", false},
    {N(x_kubernetes_list_map_keys), "XListMapKeys", false},
    {N(x_kubernetes_list_type), "XListType", false},
    {N(x_kubernetes_map_type), "XMapType", false},
    {N(x_kubernetes_validations), "XValidations", true},
};

/* What status is validated by is taken from below the root, so the root may say nothing else of it. */
static void check_root_keywords(ERRS, const struct val *props)
{
    for (size_t i = 0; i < countof(root_keywords); i++) {
        const struct root_keyword *k = &root_keywords[i];
        if (!is_set(val_get(props, k->name)))
            continue;
        if (k->name == N(type) && !str_eqz(TEXT(props, type), "object")) {
            bad_text(e, AT(at, "type"), TEXT(props, type),
                     "only \"object\" is allowed as the type at the root of the schema if the status subresource is "
                     "enabled");
            return;
        }
        if (k->allowed)
            continue;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        static const char *const shown[] = {"Description",
                                            "Type",
                                            "Format",
                                            "Title",
                                            "Maximum",
                                            "ExclusiveMaximum",
                                            "Minimum",
                                            "ExclusiveMinimum",
                                            "MaxLength",
                                            "MinLength",
                                            "Pattern",
                                            "MaxItems",
                                            "MinItems",
                                            "UniqueItems",
                                            "MultipleOf",
                                            "Required",
                                            "Items",
                                            "Properties",
                                            "ExternalDocs",
                                            "Example",
                                            "XPreserveUnknownFields",
                                            "XValidations"};
        for (size_t s = 0; s < countof(shown); s++)
            strbuf_addf(&b, "%s%s", s ? " " : "", shown[s]);
        bad_value(e, at, props,
                  "only [%s] fields are allowed at the root of the schema if the status subresource is enabled", b.p);
        return;
    }
}

/* `at`: of what holds openAPIV3Schema. */
static void check_version_schema(ERRS, const struct val *schema, const struct val *old, bool status)
{
    const struct val *props = V(schema, openAPIV3Schema);
    const struct at *here = AT(at, "openAPIV3Schema");
    if (!props)
        return;
    if (status)
        check_root_keywords(e, here, props);
    if (val_true(V(props, nullable)))
        bad_forbidden(e, AT(here, "nullable"), "nullable cannot be true at the root");
    const struct val *was = V(old, openAPIV3Schema);
    if (!was || !val_equal(props, was)) /* what stands was judged when it came */
        check_schema(e, here, props, was);
}

static void check_simple_path(ERRS, struct str path, const char *under, const char *or_under, const char *where)
{
    if (path.p[0] != '.')
        bad_text(e, at, path, "must be a simple json path starting with .");
    else if (under && !str_starts(path, str_of(under)) && !(or_under && str_starts(path, str_of(or_under))))
        bad_text(e, at, path, "should be a json path under %s", where);
}

static void check_subresources(ERRS, const struct val *subresources)
{
    const struct val *scale = V(subresources, scale);
    const struct at *scale_at = AT(at, "scale");
    if (!is_set(scale))
        return;
    struct str spec = TEXT(scale, specReplicasPath), status = TEXT(scale, statusReplicasPath),
               selector = TEXT(scale, labelSelectorPath);
    if (spec.n)
        check_simple_path(e, AT(scale_at, "specReplicasPath"), spec, ".spec.", NULL, ".spec");
    else
        bad_required(e, AT(scale_at, "specReplicasPath"), "");
    if (status.n)
        check_simple_path(e, AT(scale_at, "statusReplicasPath"), status, ".status.", NULL, ".status");
    else
        bad_required(e, AT(scale_at, "statusReplicasPath"), "");
    if (selector.n)
        check_simple_path(e, AT(scale_at, "labelSelectorPath"), selector, ".spec.", ".status.",
                          "either .spec or .status");
}

static bool is_one_of(struct str s, const char *const *values)
{
    for (size_t i = 0; values[i]; i++)
        if (str_eqz(s, values[i]))
            return true;
    return false;
}

#define COLUMN_TYPES   "boolean,date,integer,number,string"
#define COLUMN_FORMATS "byte,date,date-time,double,float,int32,int64,password"

static void check_column(ERRS, const struct val *column)
{
    struct str type = TEXT(column, type), format = TEXT(column, format), path = TEXT(column, jsonPath);
    if (!TEXT(column, name).n)
        bad_required(e, AT(at, "name"), "");
    if (!type.n)
        bad_required(e, AT(at, "type"), "must be one of " COLUMN_TYPES);
    else if (!is_one_of(type, SET("boolean", "date", "integer", "number", "string")))
        bad_text(e, AT(at, "type"), type, "must be one of " COLUMN_TYPES);
    if (format.n &&
        !is_one_of(format, SET("byte", "date", "date-time", "double", "float", "int32", "int64", "password")))
        bad_text(e, AT(at, "format"), format, "must be one of " COLUMN_FORMATS);
    if (!path.n)
        bad_required(e, AT(at, "JSONPath"), "");
    else
        check_simple_path(e, AT(at, "JSONPath"), path, NULL, NULL, "");
}

static void check_selectable(ERRS, const struct val *fields, const struct val *props, const struct val *old)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    size_t unique = 0;
    each (it, fields) {
        const struct at *here = AT(ITEM(at, INDEX(fields, it)), "jsonPath");
        struct str path = TEXT(it, jsonPath), plain, first;
        const struct val *found;
        struct err err = ERR;
        if (!path.n) {
            bad_required(e, here, "");
            continue;
        }
        if (!schema_field_path(e->arena, props, path, false, &found, &plain, &err)) {
            bad_text(e, here, path, "is an invalid path: %s", err.text);
            continue;
        }
        (void)str_split(plain, '.', &first, &(struct str){0});
        if (str_eqz(first, "metadata"))
            bad_text(e, here, path, "must not point to fields in metadata");
        if (!is_one_of(TEXT(found, type), SET("string", "boolean", "integer")))
            bad_text(e, here, path,
                     "must point to a field of type string, boolean or integer. Enum string fields and strings with "
                     "formats are allowed.");
        if (seen_before(&seen, plain))
            bad_duplicate(e, here, path);
        else
            unique++;
    }
    if (unique > SELECTABLE_FIELDS_MOST && !(old && val_unchanged(fields, old)))
        bad_too_many(e, at, (int64_t)unique, SELECTABLE_FIELDS_MOST);
}

/* At which byte what cannot be printed stands; -1: nowhere. */
static ptrdiff_t not_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return (ptrdiff_t)i;
    return -1;
}

static void check_deprecation(ERRS, const struct val *version)
{
    const struct val *warning = V(version, deprecationWarning);
    struct str text = val_text(warning);
    ptrdiff_t bad = not_printable(text);
    if (!is_set(warning))
        return;
    if (!val_true(V(version, deprecated))) {
        bad_text(e, at, text, "can only be set for deprecated versions");
        return;
    }
    if (text.n > 256)
        bad_text(e, at, text, "must be <= 256 characters long");
    if (!text.n)
        bad_text(e, at, text, "must not be an empty string");
    if (bad >= 0)
        bad_text(e, at, text,
                 "must only contain printable UTF-8 characters; non-printable character found at index %zd", bad);
}

static const struct val *version_named(const struct val *spec, struct str name)
{
    return val_find(V(spec, versions), N(name), name);
}

static void check_version(ERRS, const struct crd_parts *p, const struct val *version, const struct val *old)
{
    const struct val *schema = part_of(p, version, PART_SCHEMA), *columns = part_of(p, version, PART_COLUMNS),
                     *fields = part_of(p, version, PART_FIELDS), *subresources = V(version, subresources);
    check_deprecation(e, AT(at, "deprecationWarning"), version);
    check_version_schema(e, AT(at, "schema"), schema, V(old, schema), is_set(V(subresources, status)));
    check_subresources(e, AT(at, "subresources"), part_of(p, version, PART_SUBRESOURCES));
    each (it, columns)
        check_column(e, ITEM(AT(at, "additionalPrinterColumns"), INDEX(columns, it)), it);
    if (!val_len(fields))
        return;
    if (!V(schema, openAPIV3Schema) && p->alike[PART_SCHEMA])
        bad_text(e, AT(at, "selectableFields"), S(""),
                 "may only be set when `version.schema.openAPIV3Schema` is not included");
    else
        check_selectable(e, AT(at, "selectableFields"), fields, V(schema, openAPIV3Schema), V(old, selectableFields));
}

static void check_versions(ERRS, const struct crd_parts *p, const struct val *old)
{
    const struct at *versions_at = AT(at, "versions");
    AUTO(seen_fini) struct seen seen = SEEN;
    bool unique = true;
    size_t stored = 0;
    each (it, p->versions) {
        const struct at *here = ITEM(versions_at, INDEX(p->versions, it));
        struct str name = TEXT(it, name);
        stored += val_true(V(it, storage));
        unique &= !seen_before(&seen, name);
        check_joined(e, AT(here, "name"), name, name, "", format_dns1035_label);
        check_version(e, here, p, it, version_named(V(old, spec), name));
    }
    struct val shown = versions_shown(e->arena, p);
    static const struct type list = {
        .kind = TYPE_LIST, .name = "", .of = &type_apiextensions_v1_CustomResourceDefinitionVersion};
    if (!unique)
        bad_struct(e, versions_at, &list, &shown, "must contain unique version names");
    if (stored != 1)
        bad_struct(e, versions_at, &list, &shown, "must have exactly one version marked as storage version");
    struct str first = TEXT(val_item(p->versions, 0), name);
    if (first.n)
        check_joined(e, AT(at, "version"), first, first, "", format_dns1035_label);
}

/* --- conversion --- */

static void check_review_versions(ERRS, const struct val *versions)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    bool known = false;
    if (!val_len(versions))
        return bad_required(e, at, "");
    each (it, versions) {
        const struct at *here = ITEM(at, INDEX(versions, it));
        struct str name = val_text(it);
        struct complaints c = COMPLAINTS(e->arena);
        if (seen_before(&seen, name)) {
            bad_text(e, here, name, "duplicate version");
            continue;
        }
        format_dns1035_label(&c, name);
        for (size_t i = 0; i < c.n; i++)
            bad_text(e, here, name, STR_FMT, STR_ARG(c.texts[i]));
        known |= str_eqz(name, "v1") || str_eqz(name, "v1beta1");
    }
    if (!known)
        bad_value(e, at, versions, "must include at least one of v1, v1beta1");
}

static bool is_established(const struct val *v)
{
    const struct val *c = val_find(V(V(v, status), conditions), N(type), S("Established"));
    return str_eqz(TEXT(c, status), "True");
}

static bool bundle_holds(const struct val *bundle)
{
    struct str text = {bundle->s, bundle->n};
    return str_has(text, S("-----BEGIN CERTIFICATE-----")) && str_has(text, S("-----END CERTIFICATE-----"));
}

static void check_client(ERRS, const struct val *client, const struct val *old)
{
    const struct val *bundle = V(client, caBundle);
    if (HAS(client, url) == HAS(client, service))
        bad_required(e, at, "exactly one of url or service is required");
    else if (HAS(client, url))
        check_webhook_url(e, AT(at, "url"), TEXT(client, url));
    else
        check_webhook_service(e, AT(at, "service"), V(client, service));
    /* before anything is served by it, and where it was already so, a bundle may be bad */
    const struct val *was = val_at(old, N(spec), N(conversion), N(webhook), N(clientConfig), N(caBundle));
    if (bundle && bundle->n && old && is_established(old) && !(was && was->n && !bundle_holds(was)))
        if (!bundle_holds(bundle))
            bad_value(e, AT(at, "caBundle"), bundle,
                      "unable to load root certificates: unable to parse bytes as PEM block");
}

static void check_conversion(ERRS, const struct val *conversion, const struct val *old)
{
    const struct val *webhook = V(conversion, webhook), *client = V(webhook, clientConfig);
    const struct at *client_at = AT(at, "webhookClientConfig"), *versions_at = AT(at, "conversionReviewVersions");
    struct str strategy = TEXT(conversion, strategy);
    if (!is_set(conversion))
        return;
    if (!strategy.n)
        bad_required(e, AT(at, "strategy"), "");
    else
        check_enum(e, AT(at, "strategy"), strategy, "None", "Webhook");
    if (str_eqz(strategy, "Webhook")) {
        if (!is_set(client))
            bad_required(e, client_at, "required when strategy is set to Webhook");
        else
            check_client(e, client_at, client, old);
        check_review_versions(e, versions_at, V(webhook, conversionReviewVersions));
        return;
    }
    if (is_set(client))
        bad_forbidden(e, client_at, "should not be set when strategy is not set to Webhook");
    if (val_len(V(webhook, conversionReviewVersions)))
        bad_forbidden(e, versions_at, "should not be set when strategy is not set to Webhook");
}

/* --- the whole --- */

static void check_common_parts(ERRS, const struct crd_parts *p, const struct val *old)
{
    const struct val *columns = p->common[PART_COLUMNS], *fields = p->common[PART_FIELDS],
                     *schema = p->common[PART_SCHEMA], *was = val_item(V(V(old, spec), versions), 0);
    bool status = false;
    each (it, p->versions)
        status |= is_set(V(V(it, subresources), status));
    check_version_schema(e, AT(at, "validation"), schema, V(was, schema), status);
    check_subresources(e, AT(at, "subresources"), p->common[PART_SUBRESOURCES]);
    each (it, columns)
        check_column(e, ITEM(AT(at, "additionalPrinterColumns"), INDEX(columns, it)), it);
    if (!val_len(fields))
        return;
    if (!schema)
        bad_text(e, AT(at, "selectableFields"), S(""), "may only be set when validations.schema is included");
    else
        check_selectable(e, AT(at, "selectableFields"), fields, V(schema, openAPIV3Schema), V(was, selectableFields));
}

static void check_crd_spec(ERRS, const struct val *v, const struct val *old)
{
    struct crd_parts p = parts_of(v);
    const struct val *called = V(p.spec, names);
    const struct at *names_at = AT(at, "names"), *versions_at = AT(at, "versions");
    check_group(e, AT(at, "group"), TEXT(p.spec, group));
    if (!TEXT(p.spec, scope).n)
        bad_required(e, AT(at, "scope"), "");
    else
        check_enum(e, AT(at, "scope"), TEXT(p.spec, scope), "Cluster", "Namespaced");
    each (it, p.versions)
        if (!is_set(V(V(it, schema), openAPIV3Schema)))
            bad_required(e, AT(AT(ITEM(versions_at, INDEX(p.versions, it)), "schema"), "openAPIV3Schema"), "");
    check_versions(e, at, &p, old);
    REQUIRED(e, names_at, called, plural);
    REQUIRED(e, names_at, called, singular);
    REQUIRED(e, names_at, called, kind);
    REQUIRED(e, names_at, called, listKind);
    check_names(e, names_at, called);
    check_common_parts(e, at, &p, old);
    check_conversion(e, AT(at, "conversion"), V(p.spec, conversion), old);
}

static void check_stored_versions(ERRS, const struct val *v)
{
    const struct val *stored = V(V(v, status), storedVersions), *versions = V(V(v, spec), versions), null = VAL_NONE;
    if (!val_len(stored))
        return bad_value(e, at, &null, "must have at least one stored version");
    AUTO(seen_fini) struct seen matched = SEEN; /* each of them stands for one version */
    each (it, versions) {
        bool there = false;
        each (s, stored)
            there |= str_eq(val_text(s), TEXT(it, name));
        there = there && !seen_before(&matched, TEXT(it, name));
        if (val_true(V(it, storage)) && !there)
            bad_value(e, at, stored, "must have the storage version " STR_FMT, STR_ARG(TEXT(it, name)));
    }
    each (s, stored)
        if (!seen_before(&matched, val_text(s)))
            bad_text(e, ITEM(at, INDEX(stored, s)), val_text(s),
                     "missing from spec.versions; " STR_FMT
                     " was previously a storage version, and must remain in spec.versions until a storage migration "
                     "ensures no data remains persisted in " STR_FMT " and removes " STR_FMT
                     " from status.storedVersions",
                     STR_ARG(val_text(s)), STR_ARG(val_text(s)), STR_ARG(val_text(s)));
}

/* --- groups of the community --- */

#define APPROVAL "api-approved.kubernetes.io"
#define SEE_ALSO "see https://github.com/kubernetes/enhancements/pull/1111"

enum approval { APPROVAL_MISSING, APPROVAL_BYPASSED, APPROVAL_GIVEN, APPROVAL_INVALID };

static enum approval approval_of(const struct val *v)
{
    struct str text = val_text(val_get_str(V(V(v, metadata), annotations), S(APPROVAL))), scheme, rest;
    if (!text.n)
        return APPROVAL_MISSING;
    if (str_starts(text, S("unapproved")))
        return APPROVAL_BYPASSED;
    bool url = str_split(text, ':', &scheme, &rest) && scheme.n && str_starts(rest, S("//")) && rest.n > 2 &&
               rest.p[2] != '/';
    return url ? APPROVAL_GIVEN : APPROVAL_INVALID;
}

static void check_approval_of_group(struct field_errors *e, const struct val *v, const struct val *old)
{
    struct str group = TEXT(V(v, spec), group);
    enum approval now = approval_of(v);
    const struct at *at = KEY(AT(AT(NULL, "metadata"), "annotations"), S(APPROVAL));
    if (!str_ends(group, S(".k8s.io")) && !str_ends(group, S(".kubernetes.io")) && !str_eqz(group, "k8s.io") &&
        !str_eqz(group, "kubernetes.io"))
        return;
    if (old && approval_of(old) == now)
        return;
    if (now == APPROVAL_MISSING)
        bad_required(e, at, "protected groups must have approval annotation \"" APPROVAL "\", " SEE_ALSO);
    else if (now == APPROVAL_INVALID)
        bad_text(e, at, val_text(val_get_str(V(V(v, metadata), annotations), S(APPROVAL))),
                 "protected groups must have approval annotation \"" APPROVAL
                 "\" with either a URL or a reason starting with \"unapproved\", " SEE_ALSO);
}

static void check_whole(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *spec_at = AT(NULL, "spec"), *status_at = AT(NULL, "status");
    const struct val *spec = V(v, spec), *old_spec = V(old, spec);
    check_crd_spec(e, spec_at, v, old);
    if (old && is_established(old)) {
        IMMUTABLE(e, spec_at, spec, old_spec, scope);
        IMMUTABLE(e, AT(spec_at, "names"), V(spec, names), V(old_spec, names), kind);
    }
    if (old) {
        IMMUTABLE(e, spec_at, spec, old_spec, group);
        IMMUTABLE(e, AT(spec_at, "names"), V(spec, names), V(old_spec, names), plural);
    }
    check_names(e, AT(status_at, "acceptedNames"), V(V(v, status), acceptedNames));
    check_stored_versions(e, AT(status_at, "storedVersions"), v);
    check_approval_of_group(e, v, old);
    if (val_true(V(spec, preserveUnknownFields)) && !val_true(V(old_spec, preserveUnknownFields)))
        bad_value(e, AT(spec_at, "preserveUnknownFields"), V(spec, preserveUnknownFields),
                  "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema "
                  "instead");
}

static void check_crd(struct field_errors *e, const struct val *v)
{
    const struct val *spec = V(v, spec);
    struct str name = TEXT(V(v, metadata), name),
               want = arena_fmt(e->arena, STR_FMT "." STR_FMT, STR_ARG(TEXT(V(spec, names), plural)),
                                STR_ARG(TEXT(spec, group)));
    if (!str_eq(name, want))
        bad_text(e, AT(AT(NULL, "metadata"), "name"), name, "must be spec.names.plural+\".\"+spec.group");
    check_whole(e, v, NULL);
}

static void status_crd(struct field_errors *e, const struct val *v, const struct val *old)
{
    (void)old;
    check_names(e, AT(AT(NULL, "status"), "acceptedNames"), V(V(v, status), acceptedNames));
}

const struct kind_rules rules_crd[] = {
    RULES(CustomResourceDefinition, format_dns1123_subdomain, check_crd, check_whole, status_crd,
          .update_alone = true),
    RULES_END,
};
