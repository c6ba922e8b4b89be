/* What an API server answers to writes: requests and answers side by side in tests/rules/. A case has a memory of its
 * own; a request is `METHOD group/version/plural[/name[/sub]] HOW[ dry] BODY`, HOW the kind of patch. */
#include "api/codec.h"
#include "api/columns.h"
#include "api/patch.h"
#include "api/rules.h"
#include "api/strategy.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/test.h"

#define NOW (1767225600LL * NS_PER_S)
#define UID "00000000-0000-4000-8000-000000000000"

struct stored {
    const struct kind *kind;
    struct str name;
    struct val tree;
};
struct world {
    struct arena a;
    ARRAY(struct stored) objects;
};

static struct stored *stored_as(struct world *w, const struct kind *k, struct str name)
{
    array_each (o, &w->objects)
        if (o->kind == k && str_eq(o->name, name))
            return o;
    return NULL;
}

/* What the server's admission adds to every pod. */
static void admit_pod(struct arena *a, struct val *pod)
{
    struct val *spec = val_need_map(a, pod, N(spec));
    static const char *const taints[] = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"};
    if (val_text(val_get(spec, N(serviceAccountName))).n == 0) {
        val_set_text(a, spec, N(serviceAccountName), S("default"));
        val_set_text(a, spec, N(serviceAccount), S("default"));
    }
    val_set_num(a, spec, N(priority), 0);
    val_set_text(a, spec, N(preemptionPolicy), S("PreemptLowerPriority"));
    if (!val_is(val_get(spec, N(tolerations)), VAL_LIST))
        val_set(a, spec, N(tolerations), val_list());
    for (size_t i = 0; i < countof(taints); i++) {
        bool tolerated = false;
        val_each_item (t, val_get(spec, N(tolerations))) {
            struct str key = val_text(val_get(t, N(key))), effect = val_text(val_get(t, N(effect)));
            tolerated |= (key.n == 0 || str_eqz(key, taints[i])) && (effect.n == 0 || str_eq(effect, S("NoExecute")));
        }
        if (tolerated)
            continue;
        struct val t = val_map();
        val_set_text(a, &t, N(effect), S("NoExecute"));
        val_set_text(a, &t, N(key), str_of(taints[i]));
        val_set_text(a, &t, N(operator), S("Exists"));
        val_set_num(a, &t, N(tolerationSeconds), 300);
        val_add(a, val_get_mut(spec, N(tolerations)), t);
    }
}

static void add_finalizer(struct arena *a, struct val *v, struct str name)
{
    struct val *meta = val_need_map(a, v, N(metadata));
    if (!val_is(val_get(meta, N(finalizers)), VAL_LIST))
        val_set(a, meta, N(finalizers), val_list());
    val_add(a, val_get_mut(meta, N(finalizers)), val_str(a, name));
}

static void object_admit(struct arena *a, const struct kind *k, struct val *v)
{
    if (k == K(Pod))
        admit_pod(a, v);
    if (k == K(PersistentVolumeClaim))
        add_finalizer(a, v, S("kubernetes.io/pvc-protection"));
    if (k == K(VolumeAttributesClass))
        add_finalizer(a, v, S("kubernetes.io/vac-protection"));
    if (k == K(PersistentVolume))
        add_finalizer(a, v, S("kubernetes.io/pv-protection"));
    if (k == K(Node)) {
        struct val taint = val_map(), *spec = val_need_map(a, v, N(spec));
        val_set_text(a, &taint, N(key), S("node.kubernetes.io/not-ready"));
        val_set_text(a, &taint, N(effect), S("NoSchedule"));
        if (!val_is(val_get(spec, N(taints)), VAL_LIST))
            val_set(a, spec, N(taints), val_list());
        val_add(a, val_get_mut(spec, N(taints)), taint);
    }
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct member *)x)->name->s, ((const struct member *)y)->name->s);
}

static void sort_members(struct val *v)
{
    for (uint32_t i = 0; val_is(v, VAL_LIST) && i < v->n; i++)
        sort_members(&v->list[i]);
    if (!val_is(v, VAL_MAP) || v->n == 0)
        return;
    qsort(v->map, v->n, sizeof *v->map, by_name);
    for (uint32_t i = 0; i < v->n; i++)
        sort_members(&v->map[i].v);
}

/* Times and uids give way to what stands for any of them. */
static bool text_matches(struct str s, const char *pattern)
{
    for (size_t i = 0; pattern[i]; i++) {
        char c = i < s.n ? s.p[i] : 0;
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (pattern[i] == 'x' ? !hex : pattern[i] == '0' ? c < '0' || c > '9' : c != pattern[i])
            return false;
    }
    return true;
}

static void add_steady(struct strbuf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        struct str rest = str_sub(s, i, s.n);
        if (text_matches(rest, "0000-00-00T00:00:00Z")) {
            strbuf_addz(out, "<time>");
            i += 19;
        } else if (text_matches(rest, "0000-00-00T00:00:00.000000Z")) {
            strbuf_addz(out, "<time>");
            i += 26;
        } else if (text_matches(rest, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")) {
            strbuf_addz(out, "<uid>");
            i += 35;
        } else {
            strbuf_addc(out, s.p[i]);
        }
    }
}

/* As the client sees it, without what differs from run to run. */
static void show_object(struct arena *a, const struct kind *k, const struct val *tree, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20), c = STRBUF(1 << 20);
    struct val v;
    struct err err = ERR;
    type_encode_json(&b, k->type, tree);
    CHECK_OK(json_decode(a, strbuf_str(&b), &v, &err), err);
    struct val *meta = val_need_map(a, &v, N(metadata));
    val_del(meta, N(uid));
    val_del(meta, N(resourceVersion));
    val_del(meta, N(creationTimestamp));
    if (str_eq(k->group, S("apps")) || str_eq(k->group, S("batch")))
        val_del(&v, N(status)); /* of controllers */
    sort_members(&v);
    json_encode(&c, &v);
    strbuf_addz(out, "ok ");
    add_steady(out, strbuf_str(&c));
    strbuf_addc(out, '\n');
}

static void show_line(struct strbuf *out, struct str field, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    ptrdiff_t differs = str_find(text, S("\n@@ ")); /* what changed is ours to word */
    if (differs >= 0)
        text.n = (size_t)differs;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] != '\n')
            strbuf_addc(&b, text.p[i]);
        else
            strbuf_addz(&b, "\\n");
    strbuf_addf(out, STR_FMT ": ", STR_ARG(field));
    add_steady(out, strbuf_str(&b));
    strbuf_addc(out, '\n');
}

static bool object_patched(struct world *w, const struct kind *k, struct str how, const struct val *old,
                           struct str body, struct val *out, struct err *err)
{
    struct val patch, doc = type_complete(&w->a, k->type, old), result;
    if (!json_decode(&w->a, body, &patch, err))
        return false;
    bool ok = str_eq(how, S("json"))    ? patch_json(&w->a, &doc, &patch, &result, err)
              : str_eq(how, S("merge")) ? patch_merge(&w->a, &doc, &patch, &result, err)
                                        : patch_strategic(&w->a, k->type, &doc, &patch, &result, err);
    return ok && type_decode_val(&w->a, k->type, &result, out, NULL, err);
}

static void show_warnings(struct arena *a, const struct kind *k, const struct val *v, const struct val *old,
                          struct strbuf *out)
{
    struct warnings warnings = {.arena = a};
    kind_warnings(k, v, old, &warnings);
    array_each (text, &warnings.texts)
        strbuf_addf(out, "warning: " STR_FMT "\n", STR_ARG(*text));
    if (warnings.texts.n == 0)
        strbuf_addz(out, "no warning\n");
    array_fini(&warnings.texts);
}

static void request_play(struct world *w, struct str line, struct strbuf *out)
{
    struct str method, what, how, body, group, version, plural, name = S(""), sub = S("");
    struct err err = ERR;
    str_split(line, ' ', &method, &line);
    str_split(line, ' ', &what, &line);
    str_split(line, ' ', &how, &body);
    bool dry = str_starts(body, S("dry "));
    if (dry)
        body = str_sub(body, 4, body.n);
    bool warned = str_starts(body, S("warn "));
    if (warned)
        body = str_sub(body, 5, body.n);
    str_cut(&what, '/', &group);
    str_cut(&what, '/', &version);
    str_cut(&what, '/', &plural);
    if (what.p)
        str_cut(&what, '/', &name);
    if (what.p)
        str_cut(&what, '/', &sub);
    const struct kind *k = kind_find_plural(group, version, plural);
    if (!k) {
        strbuf_addf(out, "no kind " STR_FMT "\n", STR_ARG(plural));
        return;
    }
    struct stored *old = name.n ? stored_as(w, k, name) : NULL;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &w->a};
    struct val v;
    if (str_eq(method, S("PATCH"))) {
        if (!old) {
            strbuf_addz(out, "nothing to patch\n");
            return;
        }
        if (!object_patched(w, k, how, &old->tree, body, &v, &err)) {
            strbuf_addz(out, "bad patch\n");
            return;
        }
    } else if (!type_decode_json(&w->a, k->type, body, &v, &notes, &err)) {
        strbuf_addz(out, "400 ");
        add_steady(out, str_of(err.text));
        strbuf_addc(out, '\n');
        return;
    }
    kind_default(&w->a, k, &v);
    val_set_text(&w->a, &v, N(kind), k->kind);
    val_set_text(&w->a, &v, N(apiVersion), k->api_version);
    struct val *meta = val_need_map(&w->a, &v, N(metadata));
    if (k->namespaced)
        val_set_text(&w->a, meta, N(namespace), S("test"));
    else
        val_del(meta, N(namespace));
    AUTO(field_errors_fini) struct field_errors errors = {.arena = &w->a};
    if (!old) {
        object_admit(&w->a, k, &v);
        meta = val_need_map(&w->a, &v, N(metadata));
        struct str prefix = val_text(val_get(meta, N(generateName)));
        if (val_text(val_get(meta, N(name))).n == 0 && prefix.n)
            val_set_text(&w->a, meta, N(name), arena_fmt(&w->a, STR_FMT "bcdfg", STR_ARG(str_sub(prefix, 0, 58))));
        val_set_text(&w->a, meta, N(uid), S(UID));
        val_set_text(&w->a, meta, N(creationTimestamp), time_text(&w->a, NOW));
        kind_prepare_create(&w->a, k, &v, NOW);
        kind_validate(k, S(""), &v, NULL, &errors);
    } else {
        if (k == K(Pod) && str_eq(method, S("PUT")))
            admit_pod(&w->a, &v);
        kind_prepare_update(&w->a, k, sub, &v, &old->tree, NOW);
        bool versioned = val_text_at(&v, N(metadata), N(resourceVersion)).n > 0;
        if (!versioned && !kind_strategy(k)->unconditional) { /* the server's to say */
            strbuf_addz(out, "metadata.resourceVersion: Invalid value: 0: must be specified for an update\n");
            return;
        }
        if (!versioned)
            val_set_text(&w->a, val_need_map(&w->a, &v, N(metadata)), N(resourceVersion), S("1"));
        kind_validate(k, sub, &v, &old->tree, &errors);
    }
    for (size_t i = 0; i < errors.list.n; i++)
        show_line(out, errors.list.p[i].field, errors.list.p[i].text);
    if (errors.list.n)
        return;
    if (warned)
        show_warnings(&w->a, k, &v, old ? &old->tree : NULL, out);
    else if (k == K(Service) || k == K(Endpoints))
        strbuf_addz(out, "ok\n");
    else
        show_object(&w->a, k, &v, out);
    val_set_text(&w->a, val_need_map(&w->a, &v, N(metadata)), N(resourceVersion), S("1"));
    if (dry)
        return;
    struct stored fresh = {k, str_dup(&w->a, val_text_at(&v, N(metadata), N(name))), v};
    if (old)
        *old = fresh;
    else
        array_push(&w->objects, fresh);
}

static void request_answer(struct str input, struct strbuf *out)
{
    struct world w = {.a = ARENA};
    struct str line;
    while (str_cut(&input, '\n', &line))
        if (line.n)
            request_play(&w, line, out);
    array_fini(&w.objects);
    arena_fini(&w.a);
}

#define TRANSCRIPT(name, file)                                                                                       \
    TEST(rules_##name)                                                                                               \
    {                                                                                                                \
        test_transcript("tests/rules/" file ".txt", request_answer);                                                 \
    }
TRANSCRIPT(kinds_apps, "kinds-apps")
TRANSCRIPT(kinds_autoscaling_policy, "kinds-autoscaling-policy")
TRANSCRIPT(hpa_to_zero, "hpa-to-zero")
TRANSCRIPT(kinds_batch, "kinds-batch")
TRANSCRIPT(kinds_config, "kinds-config")
TRANSCRIPT(kinds_coordination_scheduling_node, "kinds-coordination-scheduling-node")
TRANSCRIPT(kinds_discovery, "kinds-discovery")
TRANSCRIPT(kinds_events, "kinds-events")
TRANSCRIPT(kinds_namespaces_nodes, "kinds-namespaces-nodes")
TRANSCRIPT(kinds_networking, "kinds-networking")
TRANSCRIPT(kinds_pods_defaults, "kinds-pods-defaults")
TRANSCRIPT(kinds_pods_writes, "kinds-pods-writes")
TRANSCRIPT(kinds_rbac_objects, "kinds-rbac-objects")
TRANSCRIPT(kinds_storage, "kinds-storage")
TRANSCRIPT(kinds_storage_core, "kinds-storage-core")
TRANSCRIPT(kinds_templates_rc, "kinds-templates-rc")
TRANSCRIPT(validation_autoscaling_policy, "validation-autoscaling-policy")
TRANSCRIPT(validation_batch, "validation-batch")
TRANSCRIPT(validation_core, "validation-core")
TRANSCRIPT(validation_decoding, "validation-decoding")
TRANSCRIPT(validation_meta, "validation-meta")
TRANSCRIPT(validation_networking, "validation-networking")
TRANSCRIPT(validation_pod_containers, "validation-pod-containers")
TRANSCRIPT(validation_pod_probes_mounts, "validation-pod-probes-mounts")
TRANSCRIPT(validation_pod_spec, "validation-pod-spec")
TRANSCRIPT(validation_pod_update, "validation-pod-update")
TRANSCRIPT(validation_pod_volumes, "validation-pod-volumes")
TRANSCRIPT(validation_rbac_storage, "validation-rbac-storage")
TRANSCRIPT(validation_service, "validation-service")
TRANSCRIPT(validation_workloads, "validation-workloads")
TRANSCRIPT(warnings, "warnings")
TRANSCRIPT(gated, "gated")
TRANSCRIPT(verbs_create, "verbs-create")
TRANSCRIPT(verbs_json_patch, "verbs-json-patch")
TRANSCRIPT(verbs_merge_patch, "verbs-merge-patch")
TRANSCRIPT(verbs_strategic_patch, "verbs-strategic-patch")
TRANSCRIPT(verbs_update, "verbs-update")

/* A value of the type with something or nothing at every place: what a client may leave out at any depth. */
static struct val sparse_val(struct arena *a, const struct type *t, uint64_t *dice, int depth)
{
    struct val out = t->kind == TYPE_LIST ? val_list() : val_map();
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    unsigned chance = (unsigned)(*dice >> 40) % 4;
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT:
        for (uint16_t i = 0; i < t->nfields && depth > 0; i++) {
            const struct field *f = &type_fields(t)[i];
            if (f->flags & FIELD_INLINE) {
                struct val inner = sparse_val(a, f->type, dice, depth);
                val_each_member (m, &inner)
                    val_set(a, &out, m->name, m->v);
                continue;
            }
            *dice = *dice * 6364136223846793005u + 1442695040888963407u;
            if (!(f->flags & FIELD_NOJSON) && (*dice >> 40) % 4)
                val_set(a, &out, f->name, sparse_val(a, f->type, dice, depth - 1));
        }
        break;
    case TYPE_LIST:
        for (unsigned i = 0; i < chance && depth > 0; i++)
            val_add(a, &out, sparse_val(a, t->of, dice, depth - 1));
        break;
    case TYPE_MAP:
        if (chance && depth > 0)
            val_set_str(a, &out, chance == 1 ? S("") : S("example.com/a"), sparse_val(a, t->of, dice, depth - 1));
        break;
    case TYPE_STRING: {
        static const char *const texts[] = {"", "a", "a/b", "Pod"};
        out = val_str_borrowed(str_of(t->values && chance < 3 ? t->values[0] : texts[chance]));
        break;
    }
    case TYPE_INT_OR_STRING:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE: out = val_int((int64_t)chance - 1); break;
    case TYPE_BOOL: out = val_bool(chance > 0); break;
    case TYPE_BYTES: out = val_str_borrowed(chance ? S("YQ==") : S("")); break;
    case TYPE_TIME: out = val_str_borrowed(S("2026-01-01T00:00:00Z")); break;
    case TYPE_MICROTIME: out = val_str_borrowed(S("2026-01-01T00:00:00.000000Z")); break;
    case TYPE_DURATION: out = val_str_borrowed(S("1s")); break;
    case TYPE_QUANTITY: out = val_str_borrowed(chance ? S("1") : S("0")); break;
    case TYPE_ANY: out = chance ? val_map() : val_str_borrowed(S("x")); break;
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: out = val_map(); break;
    }
    return out;
}

static bool sparse_object(struct arena *a, const struct kind *k, uint64_t *dice, struct val *out)
{
    struct val v = sparse_val(a, k->type, dice, 9);
    struct err err = ERR;
    val_set_text(a, &v, N(kind), k->kind);
    val_set_text(a, &v, N(apiVersion), k->api_version);
    return type_decode_val(a, k->type, &v, out, NULL, &err);
}

static void object_judge(struct arena *a, const struct kind *k, const struct val *v, const struct val *old,
                         struct str sub)
{
    AUTO(field_errors_fini) struct field_errors errors = {.arena = a};
    struct val next = val_copy(a, v), cells;
    kind_default(a, k, &next);
    if (old)
        kind_prepare_update(a, k, sub, &next, old, 0);
    else
        kind_prepare_create(a, k, &next, 0);
    kind_validate(k, sub, &next, old, &errors);
    struct warnings warnings = {.arena = a};
    kind_warnings(k, &next, old, &warnings);
    array_fini(&warnings.texts);
    columns_row(a, k, &next, 0, &cells);
}

/* Not what it says, that it says something: nothing a client may leave out takes the server down. */
TEST(an_object_of_any_kind_may_lack_anything_at_any_depth)
{
    static const char *const subs[] = {"", "status", "ephemeralcontainers", "resize", "approval"};
    size_t decoded = 0;
    for (uint64_t round = 0; round < 24; round++)
        for (size_t i = 0; kinds[i]; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            uint64_t dice = round * 1000 + i;
            struct val v, old;
            if (!sparse_object(&a, kinds[i], &dice, &v) || !sparse_object(&a, kinds[i], &dice, &old))
                continue;
            decoded++;
            kind_default(&a, kinds[i], &old); /* what is stored has been through these */
            kind_prepare_create(&a, kinds[i], &old, 0);
            object_judge(&a, kinds[i], &v, NULL, S(""));
            for (size_t k = 0; k < countof(subs); k++)
                object_judge(&a, kinds[i], &v, &old, str_of(subs[k]));
        }
    CHECK(decoded > 500);
}

/* A write to the object leaves status alone where it has a door of its own; a node comes with one. */
TEST(status_with_a_subresource_is_the_servers)
{
    size_t looked = 0;
    for (size_t i = 0; kinds[i]; i++) {
        bool apart = false;
        for (size_t k = 0; k < kinds[i]->nsubs; k++)
            apart = apart || strcmp(kinds[i]->subs[k].name, "status") == 0;
        if (!apart)
            continue;
        looked++;
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v = val_map(), old = val_map();
        val_set_text(&a, val_need_map(&a, &v, N(status)), N(message), S("a client's"));
        val_set_text(&a, val_need_map(&a, &old, N(status)), N(message), S("the server's"));
        val_set(&a, &old, N(metadata), val_map());
        struct val next = val_copy(&a, &v);
        kind_prepare_create(&a, kinds[i], &next, NOW);
        if (kinds[i] != K(Node) && val_text_at(&next, N(status), N(message)).n)
            test_failed(__FILE__, __LINE__, "a create of " STR_FMT " sets its status", STR_ARG(kinds[i]->kind));
        next = val_copy(&a, &v);
        kind_prepare_update(&a, kinds[i], S(""), &next, &old, NOW);
        if (!str_eqz(val_text_at(&next, N(status), N(message)), "the server's"))
            test_failed(__FILE__, __LINE__, "an update of " STR_FMT " sets its status", STR_ARG(kinds[i]->kind));
    }
    CHECK(looked > 20);
}
