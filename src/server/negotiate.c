#include "server/negotiate.h"

static const struct {
    struct str name;
    enum media media;
} medias[] = {
    {S_INIT("application/json"), MEDIA_JSON},
    {S_INIT("application/yaml"), MEDIA_YAML},
    {S_INIT("application/vnd.kubernetes.protobuf"), MEDIA_PROTOBUF},
};

struct str media_name(enum media m)
{
    return medias[m].name;
}

static struct str type_of(struct str clause)
{
    struct str head, tail;
    str_split(clause, ';', &head, &tail);
    return str_trim(head);
}

struct str media_param(struct str type, const char *name)
{
    struct str part;
    while (str_cut(&type, ';', &part)) {
        struct str key, value;
        if (str_split(part, '=', &key, &value) && str_ieq(str_trim(key), str_of(name)))
            return str_trim(value);
    }
    return STR_NONE;
}

bool media_of_content_type(struct str content_type, enum media *out)
{
    struct str type = type_of(content_type);
    *out = MEDIA_JSON;
    if (!type.n)
        return true;
    for (size_t i = 0; i < countof(medias); i++)
        if (str_ieq(medias[i].name, type)) {
            *out = medias[i].media;
            return true;
        }
    return false;
}

static bool known_type(struct str type)
{
    enum media m;
    return str_eq(type, S("*/*")) || (type.n && media_of_content_type(type, &m));
}

bool negotiate_first_layer(struct str accept)
{
    struct str clause;
    if (!str_trim(accept).n)
        return false;
    while (str_cut(&accept, ',', &clause))
        if (known_type(type_of(clause)))
            return false;
    return true;
}

/* The q of a clause in thousandths. */
static int quality_parse(struct str clause)
{
    struct str q = media_param(clause, "q");
    if (!q.n)
        return 1000;
    int v = 0, unit = 1000;
    for (size_t i = 0; i < q.n; i++) {
        if (q.p[i] == '.')
            continue;
        if (q.p[i] < '0' || q.p[i] > '9' || !unit)
            return i ? v : 1000;
        v += (q.p[i] - '0') * unit;
        unit /= 10;
    }
    return MIN(v, 1000);
}

static bool form_of(struct str clause, enum offer offer, struct negotiated *out)
{
    struct str as = media_param(clause, "as"), v = media_param(clause, "v"), g = media_param(clause, "g");
    out->form = FORM_PLAIN;
    if (!as.n)
        return true;
    if (offer == OFFER_PLAIN)
        return false;
    if (offer == OFFER_DISCOVERY) {
        out->form = FORM_DISCOVERY;
        return str_eq(as, S("APIGroupDiscoveryList")) && str_eq(v, S("v2")) && str_eq(g, S("apidiscovery.k8s.io"));
    }
    static const struct {
        struct str as;
        enum form form;
    } forms[] = {
        {S_INIT("Table"), FORM_TABLE},
        {S_INIT("PartialObjectMetadata"), FORM_METADATA},
        {S_INIT("PartialObjectMetadataList"), FORM_METADATA_LIST},
    };
    out->beta = str_eq(v, S("v1beta1"));
    if (!str_eq(g, S("meta.k8s.io")) || !(out->beta || str_eq(v, S("v1"))))
        return false;
    for (size_t i = 0; i < countof(forms); i++)
        if (str_eq(forms[i].as, as)) {
            out->form = forms[i].form;
            return true;
        }
    return false;
}

static bool is_text(enum offer offer)
{
    return offer == OFFER_OBJECT_TEXT || offer == OFFER_LIST_TEXT;
}

static bool accept_refuse(struct str accept, enum offer offer, struct err *err)
{
    if (!negotiate_first_layer(accept) || is_text(offer))
        return err_set(err, E_NOT_ACCEPTABLE,
                       "only the following media types are accepted: application/json, application/yaml%s",
                       is_text(offer) ? "" : ", application/vnd.kubernetes.protobuf");
    return err_set(err, E_NOT_ACCEPTABLE,
                   "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
                   "application/vnd.kubernetes.protobuf%s",
                   offer == OFFER_LIST
                       ? ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
                       : "");
}

bool media_negotiate(struct str accept, enum offer offer, struct negotiated *out, struct err *err)
{
    *out = (struct negotiated){0};
    if (!str_trim(accept).n)
        return true;
    int best = -1;
    struct str clause, rest = accept;
    while (str_cut(&rest, ',', &clause)) {
        struct str type = type_of(clause);
        struct negotiated n = {.stream = str_eq(media_param(clause, "stream"), S("watch"))};
        if (!known_type(type))
            continue;
        if (!str_eq(type, S("*/*")) && !media_of_content_type(type, &n.media))
            continue;
        int q = quality_parse(clause);
        bool form = form_of(clause, offer, &n);
        if (n.media == MEDIA_PROTOBUF && n.form == FORM_PLAIN && is_text(offer))
            continue;
        if (q > best && form) {
            best = q;
            *out = n;
        }
    }
    return best >= 0 || accept_refuse(accept, offer, err);
}
