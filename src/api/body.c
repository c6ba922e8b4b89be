#include "api/body.h"
#include "wire/json.h"
#include "wire/yaml.h"

struct version {
    struct str group, version;
};

static bool split_version(struct str api_version, struct version *out)
{
    struct str rest;
    if (!str_split(api_version, '/', &out->group, &out->version)) {
        out->version = out->group;
        out->group = S("");
        return true;
    }
    return !str_split(out->version, '/', &(struct str){0}, &rest);
}

/* Versions that upstream can still read, though they are not served, of kinds that moved on: what it says about a
 * body in one of them differs from what it says about nonsense. */
static const struct {
    const char *api_version, *kinds;
} retired[] = {
    {"extensions/v1beta1", " DaemonSet Deployment Ingress NetworkPolicy ReplicaSet "},
    {"apps/v1beta1", " ControllerRevision Deployment StatefulSet "},
    {"apps/v1beta2", " ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet "},
    {"batch/v1beta1", " CronJob "},
    {"networking.k8s.io/v1beta1", " Ingress IngressClass IPAddress ServiceCIDR "},
    {"discovery.k8s.io/v1beta1", " EndpointSlice "},
    {"events.k8s.io/v1beta1", " Event "},
    {"coordination.k8s.io/v1beta1", " Lease "},
    {"policy/v1beta1", " PodDisruptionBudget Eviction "},
    {"rbac.authorization.k8s.io/v1beta1", " ClusterRole ClusterRoleBinding Role RoleBinding "},
    {"scheduling.k8s.io/v1beta1", " PriorityClass "},
    {"storage.k8s.io/v1beta1", " CSIDriver CSINode StorageClass VolumeAttachment "},
    {"autoscaling/v2beta1", " HorizontalPodAutoscaler "},
    {"autoscaling/v2beta2", " HorizontalPodAutoscaler "},
};

static bool is_retired(struct str api_version, struct str kind)
{
    for (size_t i = 0; i < countof(retired); i++)
        if (str_eqz(api_version, retired[i].api_version)) {
            const char *at = memmem(retired[i].kinds, strlen(retired[i].kinds), kind.p, kind.n);
            return kind.n && at && at[-1] == ' ' && at[kind.n] == ' ';
        }
    return false;
}

/* Same group and kind in another version, or the same objects under another group. */
static bool body_converts(struct str api_version, struct str kind, const struct body_expected *e)
{
    if (!str_eq(kind, e->kind))
        return false;
    const struct kind *have = kind_of_api_version(api_version, kind),
                      *want = kind_of_api_version(e->api_version, kind);
    return is_retired(api_version, kind) || (have && want && have->storage == want->storage);
}

/* The Go package of a group: rbac of rbac.authorization.k8s.io. */
static struct str go_package(struct str group)
{
    struct str head, tail;
    (void)str_split(group, '.', &head, &tail);
    return group.n ? head : S("core");
}

struct body_found {
    struct str api_version, kind;
    struct version v;
};

static bool handled_as(const struct body_found *f, const struct body_expected *e, struct err *err)
{
    return e->bare ? false
                   : err_wrap(err, STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT,
                              STR_ARG(f->kind), STR_ARG(f->v.version), STR_ARG(e->kind));
}

static bool body_unrecognized(struct str body, const struct body_expected *e, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (e->bare)
        return false;
    body_summary(&b, body);
    struct err was = *err;
    return err_set(err, was.kind, "the object provided is unrecognized (must be of type " STR_FMT "): %s (%s)",
                   STR_ARG(e->kind), was.text, b.p);
}

/* What the body says it is; what it does not say is as expected. */
static bool read_meta(struct arena *a, enum body_format format, struct str text, const struct body_expected *e,
                      struct body_found *f, struct str *raw, struct err *err)
{
    *raw = text;
    if (format == BODY_PROTOBUF ? !pb_unwrap(text, &f->api_version, &f->kind, raw, err)
                                : !json_type_meta(a, text, &f->api_version, &f->kind, err))
        return false;
    if (!f->kind.n)
        f->kind = e->kind;
    if (!f->api_version.n)
        f->api_version = e->api_version;
    return split_version(f->api_version, &f->v) ||
           err_set(err, E_BAD_REQUEST, "unexpected GroupVersion string: " STR_FMT, STR_ARG(f->api_version));
}

static size_t values_most(struct str kind)
{
    return str_eqz(kind, "CustomResourceDefinition") ? CODEC_MAX_VALUES_OF_CRD : CODEC_MAX_VALUES;
}

static bool too_many(struct str kind, struct err *err)
{
    return err_set(err, E_TOO_LARGE, "the body holds more than %zu values: split the object", values_most(kind));
}

static bool decode_as(struct arena *a, enum body_format format, const struct type *t, struct str kind, struct str raw,
                      struct val *out, struct decode_notes *notes, struct err *err)
{
    if (format != BODY_PROTOBUF)
        return type_decode_json(a, t, raw, out, notes, err);
    work_begin(values_most(kind));
    bool ok = type_decode_pb(a, t, raw, out, err);
    work_end();
    return ok || (err->kind == E_TOO_LARGE && too_many(kind, err));
}

static void keep_note(void *arg, struct str text)
{
    struct decode_notes *notes = arg;
    if (notes->texts.n < DECODE_MAX_NOTES) {
        array_push(&notes->texts, str_dup(notes->arena, text));
        notes->yaml++;
    }
}

bool body_fits(struct str json, struct str kind, struct err *err)
{
    size_t most = values_most(kind);
    return json.n < 2 * most || json_values(json) <= most || too_many(kind, err);
}

/* An instance of a definition, which upstream reads without a table: it must say what it is, and of what kind it is
 * is left to its rules. */
static bool custom_decode(struct arena *a, enum body_format format, struct str body, struct str text,
                          const struct body_expected *e, struct val *out, struct decode_notes *notes, struct err *err)
{
    struct str api_version, kind;
    if (format == BODY_PROTOBUF)
        return err_set(err, E_BAD_REQUEST, "the body of a " STR_FMT " has no protobuf form", STR_ARG(e->kind));
    if (!json_type_meta(a, text, &api_version, &kind, err))
        return body_unrecognized(body, e, err);
    if (!kind.n) {
        (void)err_set(err, E_BAD_REQUEST, "Object 'Kind' is missing in '" STR_FMT "'", STR_ARG(text));
        return body_unrecognized(body, e, err);
    }
    if (!str_eq(api_version, e->api_version))
        return err_set(err, E_BAD_REQUEST,
                       "the API version in the data (" STR_FMT ") does not match the expected API version (" STR_FMT
                       ")",
                       STR_ARG(api_version), STR_ARG(e->api_version));
    return type_decode_json(a, e->type, text, out, notes, err);
}

bool body_decode(struct arena *a, enum body_format format, struct str body, const struct body_expected *e,
                 struct val *out, struct decode_notes *notes, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf json = STRBUF(CODEC_MAX_YAML);
    struct yaml_notes keep = {keep_note, notes};
    struct str text = body, raw;
    struct body_found f = {0};
    if (format == BODY_YAML) {
        if (!yaml_to_json(body, notes ? &keep : NULL, &json, err))
            return body_unrecognized(body, e, err);
        text = strbuf_str(&json);
    }
    if (format != BODY_PROTOBUF && !body_fits(text, e->kind, err))
        return false;
    if (e->type->loose)
        return custom_decode(a, format, body, text, e, out, notes, err);
    if (!read_meta(a, format, text, e, &f, &raw, err))
        return body_unrecognized(body, e, err);
    const struct type *t = root_type_find(f.api_version, f.kind);
    bool also = e->also.n && str_eq(f.kind, e->kind) && str_eq(f.api_version, e->also);
    /* options are registered in every version */
    if (!also && (!str_eq(f.kind, e->kind) || (!str_eq(f.api_version, e->api_version) && t != e->type))) {
        struct val other;
        if (e->bare)
            return err_set(err, E_BAD_REQUEST,
                           "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT
                           "\" in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
                           STR_ARG(f.kind), STR_ARG(f.api_version));
        if (!t && !is_retired(f.api_version, f.kind)) {
            (void)err_set(err, E_BAD_REQUEST,
                          "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT
                          "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                          STR_ARG(f.kind), STR_ARG(f.api_version));
            return handled_as(&f, e, err);
        }
        if (t && !decode_as(a, format, t, f.kind, raw, &other, NULL, err))
            return handled_as(&f, e, err);
        if (body_converts(f.api_version, f.kind, e))
            return err_set(err, E_BAD_REQUEST,
                           "the API version in the data (" STR_FMT
                           ") does not match the expected API version (" STR_FMT ")",
                           STR_ARG(f.api_version), STR_ARG(e->api_version));
        struct version want;
        (void)split_version(e->api_version, &want);
        struct str package = go_package(want.group);
        (void)err_set(err, E_BAD_REQUEST,
                      "converting (" STR_FMT "." STR_FMT ") to (" STR_FMT "." STR_FMT "): unknown conversion",
                      STR_ARG(f.v.version), STR_ARG(f.kind), STR_ARG(package), STR_ARG(e->kind));
        return handled_as(&f, e, err);
    }
    if (!decode_as(a, format, e->type, e->kind, raw, out, notes, err))
        return handled_as(&f, e, err);
    if (out->type != VAL_MAP)
        *out = val_map();
    /* both first, as they are written */
    struct val whole = val_map();
    (void)val_append(a, &whole, N(kind), val_str(a, e->kind));
    (void)val_append(a, &whole, N(apiVersion), val_str(a, e->api_version));
    val_each_member (m, out) {
        if (m->name != N(kind) && m->name != N(apiVersion))
            (void)val_append(a, &whole, m->name, m->v);
    }
    *out = whole;
    return true;
}

void body_strict_text(const struct body_expected *e, const struct decode_notes *notes, struct strbuf *out)
{
    struct version v;
    (void)split_version(e->api_version, &v);
    strbuf_addf(out, STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT ": ", STR_ARG(e->kind),
                STR_ARG(v.version), STR_ARG(e->kind));
    decode_notes_text(notes, out);
}
