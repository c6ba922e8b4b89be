/* Named formats of texts: the API server's cel/library/format.go. */
#include "api/formats.h"
#include "api/schema.h"
#include "api/url.h"
#include "cel/libraries.h"

/* Judged by a format of names (prefix: of what is put before a name), by a format of schemas with one sentence, or as
 * an absolute URL. */
struct named_format {
    const char *name;
    format_fn *judge;
    bool prefix;
    const char *schema, *complaint;
    size_t size; /* of the pattern that upstream takes it to cost */
};

static const struct named_format named_formats[] = {
    {"dns1123Label", format_dns1123_label, false, 0, 0, 30},
    {"dns1123Subdomain", format_dns1123_subdomain, false, 0, 0, 60},
    {"dns1035Label", format_dns1035_label, false, 0, 0, 30},
    {"qualifiedName", format_qualified_name, false, 0, 0, 60},
    {"dns1123LabelPrefix", format_dns1123_label, true, 0, 0, 30},
    {"dns1123SubdomainPrefix", format_dns1123_subdomain, true, 0, 0, 60},
    {"dns1035LabelPrefix", format_dns1035_label, true, 0, 0, 30},
    {"labelValue", format_label_value, false, 0, 0, 40},
    {"uri", NULL, false, 0, 0, 1120},
    {"uuid", NULL, false, "uuid", "does not match the UUID format", 70},
    {"byte", NULL, false, "byte", "invalid base64", 84},
    {"date", NULL, false, "date", "invalid date", 71},
    {"datetime", NULL, false, "datetime", "invalid datetime", 71},
};

static bool format_equal(const void *a, const void *b)
{
    return a == b;
}

static size_t format_size(const void *data)
{
    const struct named_format *f = data;
    return f->size;
}

static const struct cel_opaque format_type = {"kubernetes.NamedFormat", format_equal, format_size};

static struct cel_value format_named(CEL_RUN)
{
    for (size_t i = 0; i < countof(named_formats); i++)
        if (str_eqz(cel_text(a[0]), named_formats[i].name))
            return cel_some(run, cel_opaque_of(&format_type, &named_formats[i]));
    return cel_none();
}

#define FORMAT(at, own)                                                                                              \
    static struct cel_value format_##own(CEL_RUN)                                                                    \
    {                                                                                                                \
        return cel_opaque_of(&format_type, &named_formats[at]);                                                      \
    }
FORMAT(0, of_dns1123_label)
FORMAT(1, of_dns1123_subdomain)
FORMAT(2, of_dns1035_label)
FORMAT(3, of_qualified_name)
FORMAT(4, of_dns1123_label_prefix)
FORMAT(5, of_dns1123_subdomain_prefix)
FORMAT(6, of_dns1035_label_prefix)
FORMAT(7, of_label_value)
FORMAT(8, of_uri)
FORMAT(9, of_uuid)
FORMAT(10, of_byte)
FORMAT(11, of_date)
FORMAT(12, of_datetime)

static void complaint_add(struct cel_run *run, struct cel_list *list, struct str text)
{
    cel_list_add(run, list, cel_string(str_dup(cel_arena(run), text)));
}

static struct cel_value format_validate(CEL_RUN)
{
    const struct named_format *f = a[0].data;
    struct str text = cel_text(a[1]);
    struct cel_list *list = cel_list_new(run, 0);
    if (f->judge) {
        struct complaints c = COMPLAINTS(cel_arena(run));
        if (f->prefix && text.n > 1 && str_ends(text, S("-"))) /* a name goes on behind the dash */
            text = arena_fmt(cel_arena(run), STR_FMT "a", STR_ARG(str_sub(text, 0, text.n - 2)));
        f->judge(&c, text);
        for (size_t i = 0; i < c.n; i++)
            complaint_add(run, list, c.texts[i]);
    } else if (f->schema) {
        if (!schema_format_holds(str_of(f->schema), text))
            complaint_add(run, list, str_of(f->complaint));
    } else {
        struct err err = ERR;
        struct url unused;
        if (!url_parse_request(cel_arena(run), text, &unused, &err))
            complaint_add(run, list, str_of(err.text));
    }
    return list->n ? cel_some(run, cel_list_of(list)) : cel_none();
}

#define F        "kubernetes.NamedFormat"
#define NAMED(x) "format." x, "format." x, "() " F

static const struct cel_function rows[] = {
    {"validate", "format-validate", F ".(string) optional_type(list(string))", format_validate, CEL_COST_VALIDATE, 0,
     0},
    {"format.named", "format-named", "(string) optional_type(" F ")", format_named, CEL_COST_ONE, 0, 0},
    {NAMED("dns1123Label"), format_of_dns1123_label, CEL_COST_ONE, 0, 0},
    {NAMED("dns1123Subdomain"), format_of_dns1123_subdomain, CEL_COST_ONE, 0, 0},
    {NAMED("dns1035Label"), format_of_dns1035_label, CEL_COST_ONE, 0, 0},
    {NAMED("qualifiedName"), format_of_qualified_name, CEL_COST_ONE, 0, 0},
    {NAMED("dns1123LabelPrefix"), format_of_dns1123_label_prefix, CEL_COST_ONE, 0, 0},
    {NAMED("dns1123SubdomainPrefix"), format_of_dns1123_subdomain_prefix, CEL_COST_ONE, 0, 0},
    {NAMED("dns1035LabelPrefix"), format_of_dns1035_label_prefix, CEL_COST_ONE, 0, 0},
    {NAMED("labelValue"), format_of_label_value, CEL_COST_ONE, 0, 0},
    {NAMED("uri"), format_of_uri, CEL_COST_ONE, 0, 0},
    {NAMED("uuid"), format_of_uuid, CEL_COST_ONE, 0, 0},
    {NAMED("byte"), format_of_byte, CEL_COST_ONE, 0, 0},
    {NAMED("date"), format_of_date, CEL_COST_ONE, 0, 0},
    {NAMED("datetime"), format_of_datetime, CEL_COST_ONE, 0, 0},
};
const struct cel_library cel_lib_format = CEL_LIBRARY("format", rows);
