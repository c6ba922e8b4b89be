#include "node/static_manifest.h"
#include "api/body.h"
#include "api/rules.h"
#include "api/strategy.h"
#include "base/clock.h"
#include "node/sources.h"
#include "sys/crypto.h"
#include "wire/yaml.h"

#define UID_BYTES 16

static void name_object(void *arg, const struct kind *kind, struct str name)
{
    (void)name;
    struct str *what = arg;
    *what = kind == K(Secret) ? S("secrets") : S("configmaps");
}

/* It has to run without an API server. */
static struct str refers_to(const struct obj *pod)
{
    const struct val *spec = obj_spec(pod);
    struct str what = STR_NONE;
    source_names(pod, name_object, &what);
    if (val_text_at(spec, N(serviceAccountName)).n)
        what = S("serviceaccounts");
    if (val_len(val_get(spec, N(resourceClaims))))
        what = S("resourceclaims");
    if (val_len(val_get(spec, N(imagePullSecrets))))
        what = S("secrets");
    val_each_item (v, val_get(spec, N(volumes))) {
        if (val_get(v, N(persistentVolumeClaim)) || val_get(v, N(ephemeral)))
            what = S("persistentvolumeclaims");
        val_each_item (s, val_at(v, N(projected), N(sources)))
            if (val_get(s, N(serviceAccountToken)) || val_get(s, N(clusterTrustBundle)))
                what = val_get(s, N(serviceAccountToken)) ? S("serviceaccounts") : S("clustertrustbundles");
    }
    return what;
}

static struct str uid_of(struct arena *a, struct str json, struct str path, struct str node)
{
    uint8_t sum[SHA256_SIZE];
    AUTO(strbuf_fini) struct strbuf hex = STRBUF(2 * UID_BYTES);
    sha256_of(arena_fmt(a, STR_FMT "host:" STR_FMT "file:" STR_FMT, STR_ARG(json), STR_ARG(node), STR_ARG(path)),
              sum);
    strbuf_add_hex(&hex, sum, UID_BYTES);
    return str_dup(a, strbuf_str(&hex));
}

static void set_note(struct arena *a, struct val *meta, struct str key, struct str value)
{
    struct val *notes = val_need_map(a, meta, N(annotations));
    val_set_str(a, notes, key, val_str(a, value));
}

static void complete_pod(struct arena *a, struct val *pod, struct str uid, struct str node, int64_t seen)
{
    struct val *meta = val_need_map(a, pod, N(metadata)), *spec = val_need_map(a, pod, N(spec));
    struct str name = val_text_at(meta, N(name));
    struct val toleration = val_map(), *tolerations = val_get_mut(spec, N(tolerations));
    val_set_text(a, meta, N(uid), uid);
    val_set_text(a, meta, N(name), arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(name), STR_ARG(node)));
    if (!val_text_at(meta, N(namespace)).n)
        val_set_text(a, meta, N(namespace), S("default"));
    val_set_num(a, meta, N(generation), 1);
    set_note(a, meta, S("kubernetes.io/config.hash"), uid);
    set_note(a, meta, S("kubernetes.io/config.seen"), time_text_micro(a, seen));
    set_note(a, meta, S("kubernetes.io/config.source"), S("file"));
    val_set_text(a, spec, N(nodeName), node);
    val_set_text(a, &toleration, N(operator), S("Exists"));
    val_set_text(a, &toleration, N(effect), S("NoExecute"));
    if (!tolerations)
        tolerations = val_set(a, spec, N(tolerations), val_list());
    val_add(a, tolerations, toleration);
}

/* The first thing that is wrong with it. */
static bool is_valid(const struct val *pod, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(field_errors_fini) struct field_errors e = {.arena = &a};
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    kind_validate(K(Pod), S(""), pod, NULL, &e);
    field_errors_text(&e, &text);
    return !e.list.n || err_set(err, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&text)));
}

static bool decode_manifest(struct arena *a, struct str text, struct str *json, struct val *out, struct err *err)
{
    static const struct body_expected expected = {.api_version = S_INIT("v1"), .kind = S_INIT("Pod")};
    struct body_expected e = expected;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8 * STATIC_MANIFEST_MOST), words = STRBUF(STRBUF_TEXT);
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = a};
    e.type = K(Pod)->type;
    if (text.n > STATIC_MANIFEST_MOST)
        return err_set(err, E_TOO_LARGE, "it is larger than %d bytes", STATIC_MANIFEST_MOST);
    if (!yaml_to_json(text, NULL, &b, err))
        return false;
    *json = str_dup(a, strbuf_str(&b));
    if (str_eqz(*json, "null"))
        return err_set(err, E_INVALID, "it is empty");
    if (!body_decode(a, BODY_JSON, *json, &e, out, &notes, err))
        return false;
    if (!notes.texts.n)
        return true;
    decode_notes_text(&notes, &words);
    return err_set(err, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&words)));
}

bool static_manifest_read(struct str text, struct str path, struct str node, int64_t seen, struct obj **out,
                          struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val pod;
    struct str json;
    *out = NULL;
    if (!decode_manifest(&a, text, &json, &pod, err))
        return false;
    if (!val_text_at(&pod, N(metadata), N(name)).n)
        return err_set(err, E_INVALID, "metadata.name: Required value: name is required");
    kind_default(&a, K(Pod), &pod);
    kind_prepare_create(&a, K(Pod), &pod, 0);
    complete_pod(&a, &pod, uid_of(&a, json, path, node), node, seen);
    if (!is_valid(&pod, err))
        return false;
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &pod, 1);
    struct str what = refers_to(o);
    if (what.n)
        return err_set(err, E_INVALID, "static pods may not reference " STR_FMT, STR_ARG(what));
    *out = TAKE(o);
    return true;
}

void static_mirror(struct arena *a, const struct obj *pod, const struct obj *node, struct val *out)
{
    struct val meta = val_map(), owner = val_map(), owners = val_list();
    val_set_text(a, &meta, N(name), pod->name);
    val_set_text(a, &meta, N(namespace), pod->ns);
    if (val_len(obj_labels(pod)))
        val_set(a, &meta, N(labels), val_copy(a, obj_labels(pod)));
    val_set(a, &meta, N(annotations), val_copy(a, val_get(obj_meta(pod), N(annotations))));
    set_note(a, &meta, S(STATIC_MIRROR_NOTE), pod->uid);
    val_set_text(a, &owner, N(apiVersion), S("v1"));
    val_set_text(a, &owner, N(kind), S("Node"));
    val_set_text(a, &owner, N(name), node->name);
    val_set_text(a, &owner, N(uid), node->uid);
    val_set_bool(a, &owner, N(controller), true);
    val_add(a, &owners, owner);
    val_set(a, &meta, N(ownerReferences), owners);
    *out = val_map();
    val_set(a, out, N(metadata), meta);
    val_set(a, out, N(spec), val_copy(a, obj_spec(pod)));
}

bool static_is_mirror(const struct obj *pod)
{
    return obj_has_note(pod, STATIC_MIRROR_NOTE);
}

struct obj *static_ending(const struct obj *pod, int64_t now)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_copy(&a, &pod->tree);
    struct val *meta = val_get_mut(&tree, N(metadata));
    val_set_text(&a, meta, N(deletionTimestamp), time_text(&a, now));
    val_set_num(&a, meta, N(deletionGracePeriodSeconds),
                val_num_at(obj_spec(pod), 30, N(terminationGracePeriodSeconds)));
    return obj_new(pod->kind, &tree, pod->rev + 1);
}

struct obj *static_resumed(const struct obj *pod, const struct val *status)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_copy(&a, &pod->tree);
    val_set(&a, &tree, N(status), val_copy(&a, status));
    return obj_new(pod->kind, &tree, pod->rev);
}
