#include "control/plan_test.h"
#include "api/codec.h"
#include "api/custom.h"
#include "api/rules.h"
#include "base/test.h"
#include "base/zone.h"
#include "control/x509_test.h"

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){0};
    int64_t start = 0;
    CHECK(time_parse(S("2026-01-01T00:00:00Z"), &start));
    for (size_t i = 0; i < nkinds; i++) {
        f->sets[i] = NEW(struct objset);
        objset_init(f->sets[i], kinds[i], kind_indexes(kinds[i]));
        f->view_sets[i] = f->sets[i];
    }
    f->view = (struct view){
        .sets = f->view_sets, .now = start, .since = start, .zone = zone_of_test, .x509 = x509_of_test};
}

void fixture_fini(struct fixture *f)
{
    for (size_t i = 0; i < KIND_IDS; i++) {
        if (f->sets[i])
            objset_fini(f->sets[i]);
        mem_free(f->sets[i]);
    }
    kind_set_unref(f->view.kinds);
    for (size_t i = 0; i < f->ndefined; i++)
        kind_unref(f->defined[i]);
}

const char *const cert_kinds_of_test[] = {"cert-manager.io/v1 Certificate certificates",
                                          "cert-manager.io/v1 CertificateRequest certificaterequests",
                                          "cert-manager.io/v1 Issuer issuers",
                                          "cert-manager.io/v1 ClusterIssuer clusterissuers cluster",
                                          "acme.cert-manager.io/v1 Order orders",
                                          "acme.cert-manager.io/v1 Challenge challenges",
                                          NULL};

size_t kinds_of_test(struct str text, const struct kind **out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct str api_version, kind, plural, scope = S(""), group, version;
    size_t n;
    struct val any, v;
    CHECK(str_split(text, ' ', &api_version, &kind) && str_split(kind, ' ', &kind, &plural) &&
          str_split(api_version, '/', &group, &version));
    (void)str_split(plural, ' ', &plural, &scope); /* most have namespaces */
    struct str yaml = arena_fmt(
        &a,
        "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: " STR_FMT "." STR_FMT
        ", uid: u-" STR_FMT "}, spec: {group: " STR_FMT ", scope: %s, names: {plural: " STR_FMT ", kind: " STR_FMT
        ", listKind: " STR_FMT "List}, versions: [{name: " STR_FMT
        ", served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, "
        "x-kubernetes-preserve-unknown-fields: true}}}]}, status: {conditions: [{type: Established, status: "
        "'True'}], "
        "acceptedNames: {plural: " STR_FMT ", kind: " STR_FMT ", listKind: " STR_FMT "List}}}",
        STR_ARG(plural), STR_ARG(group), STR_ARG(plural), STR_ARG(group), scope.n ? "Cluster" : "Namespaced",
        STR_ARG(plural), STR_ARG(kind), STR_ARG(kind), STR_ARG(version), STR_ARG(plural), STR_ARG(kind),
        STR_ARG(kind));
    CHECK_OK(yaml_decode(&a, yaml, &any, &err) &&
                 type_decode_val(&a, K(CustomResourceDefinition)->type, &any, &v, NULL, &err),
             err);
    AUTO(obj_unref) struct obj *definition = obj_new(K(CustomResourceDefinition), &v, 1);
    CHECK_OK(custom_kinds(definition, out, &n, &err), err);
    return n;
}

void fixture_define(struct fixture *f, struct str text)
{
    const struct kind *made[CUSTOM_VERSIONS];
    size_t n = kinds_of_test(text, made);
    for (size_t i = 0; i < n; i++) {
        const struct kind *k = made[i];
        CHECK(f->ndefined < countof(f->defined));
        f->defined[f->ndefined++] = k;
        f->sets[k->id] = NEW(struct objset);
        objset_init(f->sets[k->id], k, kind_indexes(k));
        f->view_sets[k->id] = f->sets[k->id];
    }
    kind_set_unref(f->view.kinds);
    f->view.kinds = kind_set_new(f->defined, f->ndefined);
}

/* "Test/New_York" and UTC are there. */
const struct zone *zone_of_test(void *arg UNUSED, struct str name, struct err *err)
{
    static struct zone *new_york, *utc;
    if (!utc) {
        utc = zone_of_rule(S("UTC0"), err);
        new_york = zone_of_rule(S("EST5EDT,M3.2.0,M11.1.0"), err);
    }
    if (str_eqz(name, "Test/New_York"))
        return new_york;
    if (name.n == 0 || str_eqz(name, "UTC"))
        return utc;
    err_set(err, E_NOT_FOUND, "unknown time zone " STR_FMT, STR_ARG(name));
    return NULL;
}

static void plain_encode(struct arena *a, struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str text = val_text(v);
    for (size_t i = 0; val_is(v, VAL_LIST) && i < v->n; i++)
        plain_encode(a, &v->list[i]);
    for (size_t i = 0; val_is(v, VAL_MAP) && i < v->n; i++)
        plain_encode(a, &v->map[i].v);
    if (!str_starts(text, S("plain:")))
        return;
    strbuf_add_base64(&b, text.p + 6, text.n - 6);
    *v = val_str(a, strbuf_str(&b));
}

/* As a server takes it. */
static void string_data(struct arena *a, struct val *v)
{
    val_each_member (m, val_get(v, N(stringData)))
        val_set_str(a, val_need_map(a, v, N(data)), m->name->s, val_bytes(a, val_text(&m->v)));
    (void)val_del(v, N(stringData));
}

static void fixture_put(struct fixture *f, struct arena *a, const struct val *document)
{
    struct val written = val_copy(a, document);
    const struct val *any = &written;
    plain_encode(a, &written);
    struct err err = ERR;
    struct val v;
    struct decode_notes notes = {.arena = a};
    const struct kind *k = kind_set_of_api_version(view_kinds(&f->view), val_text_at(any, N(apiVersion)),
                                                   val_text_at(any, N(kind)));
    if (!k)
        test_failed(__FILE__, __LINE__, "no kind " STR_FMT, STR_ARG(val_text_at(any, N(kind))));
    CHECK_OK(type_decode_val(a, kind_type(k), any, &v, &notes, &err), err);
    array_each (it, &notes.texts)
        test_failed(__FILE__, __LINE__, STR_FMT, STR_ARG(*it));
    array_fini(&notes.texts);
    if (k == K(Secret))
        string_data(a, &v);
    kind_default(a, k, &v);
    struct val *meta = val_need_map(a, &v, N(metadata));
    if (k->namespaced && !val_get(meta, N(namespace)))
        val_set_text(a, meta, N(namespace), S("default"));
    if (!val_get(meta, N(uid)))
        val_set(a, meta, N(uid),
                val_str(a, arena_fmt(a, "uid-" STR_FMT "-" STR_FMT, STR_ARG(k->kind),
                                     STR_ARG(val_text(val_get(meta, N(name)))))));
    if (!val_get(meta, N(creationTimestamp)))
        val_set_text(a, meta, N(creationTimestamp), S("2026-01-01T00:00:00Z"));
    struct obj *o = obj_new(k, &v, ++f->rev);
    obj_unref(objset_put(f->sets[k->id], o));
    obj_unref(o);
}

void fixture_add(struct fixture *f, struct str yaml)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val docs = val_list();
    struct err err = ERR;
    CHECK_OK(yaml_decode_all(&a, yaml, &docs, &err), err);
    val_each_item (it, &docs)
        fixture_put(f, &a, it);
}

const struct controller *controller_named(struct str name)
{
    for (size_t i = 0; controllers[i]; i++)
        if (str_eqz(name, controllers[i]->name))
            return controllers[i];
    return NULL;
}

/* "ConfigMap/child" as the garbage collector's keys have it. */
static struct str key_with_kind(struct arena *a, struct str name)
{
    struct str kind, rest;
    if (str_split(name, '/', &kind, &rest))
        for (size_t i = 0; i < nkinds; i++)
            if (str_eq(kinds[i]->kind, kind))
                return arena_fmt(a, "%zu/" STR_FMT, i, STR_ARG(rest));
    return name;
}

void plan_answer(struct str input, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct fixture f;
    fixture_init(&f);
    const struct controller *c = NULL;
    struct key key = {0};
    struct str rest = input, line, word;
    while (str_cut(&rest, '\n', &line)) {
        if (!str_starts(line, S("# ")))
            continue;
        struct str text = STR_NONE;
        str_split(str_sub(line, 2, line.n), ' ', &word, &text);
        if (str_eqz(word, "plan")) {
            struct str name, where;
            CHECK(str_split(text, ' ', &name, &where));
            c = controller_named(name);
            if (!str_split(where, '/', &key.ns, &key.name))
                test_failed(__FILE__, __LINE__, "no ns/name");
            key.name = key_with_kind(&a, key.name);
        } else if (str_eqz(word, "now")) {
            CHECK(time_parse(text, &f.view.now));
        } else if (str_eqz(word, "since")) {
            CHECK(time_parse(text, &f.view.since));
        } else if (str_eqz(word, "woke")) {
            CHECK(time_parse(text, &f.view.woke));
        } else if (str_eqz(word, "heard")) {
            CHECK(time_parse(text, &f.view.heard));
            f.view.heard_real = f.view.heard;
        } else if (str_eqz(word, "trouble")) {
            f.view.trouble = text;
        } else if (str_eqz(word, "stuck")) {
            CHECK(time_parse(text, &f.view.why_since));
        } else if (str_eqz(word, "kind")) {
            fixture_define(&f, text);
        } else if (str_eqz(word, "certs")) {
            for (const char *const *k = cert_kinds_of_test; *k; k++)
                fixture_define(&f, str_of(*k));
        } else if (str_eqz(word, "why")) {
            f.view.why = text;
        }
    }
    fixture_add(&f, input);
    if (!c)
        test_failed(__FILE__, __LINE__, "the input names no controller");
    AUTO(plan_fini) struct plan p = {0};
    c->plan(&f.view, key, &p);
    plan_text(&p, out);
    fixture_fini(&f);
}

TEST(plans_are_as_in_their_transcripts)
{
    static const char *const files[] = {
        "replicaset", "replication", "crds",        "deployment", "endpointslice",  "endpoints",
        "node",       "eviction",    "podgc",       "namespace",  "serviceaccount", "disruption",
        "mirror",     "garbage",     "apiservices", "claims",     "attach",         "job",
        "cronjob",    "statefulset", "daemonset",   "ingress",    "loadbalancer",   "backendtls",
        "cert",       "certrequest", "certissuer",  "certshim",   "certinject",     "csr"};
    for (size_t i = 0; i < countof(files); i++) {
        char path[100];
        snprintf(path, sizeof path, "tests/control/%s.txt", files[i]);
        test_transcript(path, plan_answer);
    }
}
