#include "api/codec.h"
#include "api/custom.h"
#include "api/openapi.h"
#include "base/map.h"
#include "base/test.h"
#include "wire/pb.h"
#include <string.h>

/* Every "$ref" in the document names something that is there. */
static void check_refs(const struct val *v, const struct val *doc)
{
    val_each_item (it, v)
        check_refs(it, doc);
    val_each_member (m, v) {
        if (str_eqz(m->name->s, "$ref") && val_is(&m->v, VAL_STRING)) {
            struct str rest = val_text(&m->v), step;
            const struct val *at = doc;
            CHECK(str_cut(&rest, '/', &step) && str_eqz(step, "#"));
            while (str_cut(&rest, '/', &step))
                at = val_get_str(at, step);
            if (!at)
                test_failed(__FILE__, __LINE__, "nothing at " STR_FMT, STR_ARG(val_text(&m->v)));
        }
        check_refs(&m->v, doc);
    }
}

/* The name of a path's operation: "listCoreV1PodForAllNamespaces". */
static struct str operation_id(const struct val *doc, const char *path, const char *method)
{
    const struct val *o = val_get_str(val_get_str(val_get_str(doc, S("paths")), str_of(path)), str_of(method));
    return val_text(val_get_str(o, S("operationId")));
}

TEST(every_version_has_a_document_that_holds_together)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ngroup_versions; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
        struct err err = ERR;
        struct val doc;
        struct str gv = group_versions[i].api_version;
        struct str path = arena_fmt(&a, "%s/" STR_FMT, group_versions[i].group.n ? "apis" : "api", STR_ARG(gv));
        CHECK(openapi_known(&kind_set_builtin, path) && openapi_document(&b, &kind_set_builtin, path));
        CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
        const struct val *schemas = val_get_str(val_get_str(&doc, S("components")), S("schemas"));
        CHECK(val_len(schemas) > 5);
        check_refs(&doc, &doc);
        bytes += b.n;
    }
    CHECK(bytes > 1000000);
}

TEST(the_document_of_apps_tells_what_clients_look_for)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
    struct err err = ERR;
    struct val doc;
    CHECK(openapi_document(&b, &kind_set_builtin, S("apis/apps/v1")));
    CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
    const struct val *schemas = val_get_str(val_get_str(&doc, S("components")), S("schemas"));
    const struct val *deployment = val_get_str(schemas, S("io.k8s.api.apps.v1.Deployment"));
    const struct val *gvk = val_item(val_get_str(deployment, S("x-kubernetes-group-version-kind")), 0);
    CHECK_STR(val_text_at(gvk, N(kind)), S("Deployment"));
    CHECK_STR(val_text_at(gvk, N(group)), S("apps"));
    const struct val *containers = val_get_str(
        val_at(val_get_str(schemas, S("io.k8s.api.core.v1.PodSpec")), N(properties)), S("containers"));
    CHECK_STR(val_text(val_get_str(containers, S("x-kubernetes-patch-merge-key"))), S("name"));
    CHECK_STR(val_text(val_get_str(containers, S("x-kubernetes-patch-strategy"))), S("merge"));
    CHECK_STR(val_text(val_get_str(containers, S("x-kubernetes-list-type"))), S("map"));
    CHECK(val_len(val_at(val_get_str(schemas, S("io.k8s.api.apps.v1.DeploymentSpec")), N(required))) == 2);
    const struct val *paths = val_get_str(&doc, S("paths"));
    const struct val *patch = val_get_str(
        val_get_str(paths, S("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")), S("patch"));
    CHECK(val_find(val_get_str(patch, S("parameters")), N(name), S("fieldValidation")));
    CHECK(val_get_str(paths, S("/apis/apps/v1/deployments")));
    const struct val *scale = val_get_str(paths, S("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"));
    CHECK_STR(val_text_at(val_get_str(val_get_str(scale, S("get")), S("x-kubernetes-group-version-kind")), N(kind)),
              S("Scale"));
    CHECK_STR(operation_id(&doc, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "put"),
              S("replaceAppsV1NamespacedDeploymentScale"));
    CHECK_STR(operation_id(&doc, "/apis/apps/v1/watch/namespaces/{namespace}/deployments", "get"),
              S("watchAppsV1NamespacedDeploymentList"));
    CHECK_STR(operation_id(&doc, "/apis/apps/v1/", "get"), S("getAppsV1APIResources"));
    const struct val *content = val_get_str(val_get_str(patch, S("requestBody")), S("content"));
    CHECK_INT(val_len(content), 4);
    CHECK(val_get_str(content, S("application/apply-patch+yaml")));
    CHECK(!openapi_document(&b, &kind_set_builtin, S("apis/apps/v7")) &&
          !openapi_document(&b, &kind_set_builtin, S("apis//v1")) &&
          !openapi_document(&b, &kind_set_builtin, S("nope")));
    strbuf_reset(&b);
    CHECK(openapi_document(&b, &kind_set_builtin, S("version")));
}

static const struct val *schema_member(const struct val *doc, const char *schema, const char *member)
{
    const struct val *s = val_get_str(val_get_str(val_get_str(doc, S("components")), S("schemas")), str_of(schema));
    return member ? val_get_str(val_get_str(s, S("properties")), str_of(member)) : s;
}

TEST(what_is_rare_is_published_as_well)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
    struct err err = ERR;
    struct val doc;
    CHECK(openapi_document(&b, &kind_set_builtin, S("api/v1")));
    CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
    const struct val *signal = schema_member(&doc, "io.k8s.api.core.v1.Lifecycle", "stopSignal");
    CHECK_INT(val_len(val_get_str(signal, S("enum"))), 65);
    const struct val *seccomp = schema_member(&doc, "io.k8s.api.core.v1.SeccompProfile", NULL);
    const struct val *one = val_item(val_get_str(seccomp, S("x-kubernetes-unions")), 0);
    CHECK_STR(val_text(val_get_str(one, S("discriminator"))), S("type"));
    CHECK_STR(val_text(val_get_str(val_get_str(one, S("fields-to-discriminateBy")), S("localhostProfile"))),
              S("LocalhostProfile"));
    strbuf_reset(&b);
    CHECK(openapi_document(&b, &kind_set_builtin, S("apis/policy/v1")));
    CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
    const struct val *selector = schema_member(&doc, "io.k8s.api.policy.v1.PodDisruptionBudgetSpec", "selector");
    CHECK_STR(val_text(val_get_str(selector, S("x-kubernetes-patch-strategy"))), S("replace"));
    strbuf_reset(&b);
    CHECK(openapi_document(&b, &kind_set_builtin, S("apis/apiregistration.k8s.io/v1")));
    CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
    const struct val *bundle = schema_member(
        &doc, "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceSpec", "caBundle");
    CHECK_STR(val_text(val_get_str(bundle, S("x-kubernetes-list-type"))), S("atomic"));
}

TEST(the_index_names_every_document)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err err = ERR;
    struct val index;
    openapi_index(&b, &kind_set_builtin, S(""));
    CHECK_OK(json_decode(&a, strbuf_str(&b), &index, &err), err);
    val_each_member (m, val_get_str(&index, S("paths"))) {
        AUTO(strbuf_fini) struct strbuf doc = STRBUF(1 << 24);
        CHECK(openapi_document(&doc, &kind_set_builtin, m->name->s));
        CHECK(str_starts(val_text(val_get_str(&m->v, S("serverRelativeURL"))), S("/openapi/v3/")));
    }
}

static void check_described(const struct type *t, struct map *seen)
{
    if (t->of)
        check_described(t->of, seen);
    if (t->kind != TYPE_STRUCT || map_get(seen, str_of(t->openapi)))
        return;
    (void)map_put(seen, str_of(t->openapi), seen);
    if (!t->doc)
        test_failed(__FILE__, __LINE__, "%s has no description", t->name);
    type_fields_each (f, t) {
        if (!f->doc && !(f->flags & (FIELD_INLINE | FIELD_NOJSON)))
            test_failed(__FILE__, __LINE__, "%s." STR_FMT " has no description", t->name, STR_ARG(f->name->s));
        check_described(f->type, seen);
    }
}

TEST(every_field_of_every_kind_is_described)
{
    AUTO(map_fini) struct map seen = MAP;
    for (size_t i = 0; i < nkinds; i++) {
        check_described(kinds[i]->type, &seen);
        if (kinds[i]->list_type)
            check_described(kinds[i]->list_type, &seen);
    }
    for (size_t i = 0; i < nroot_types; i++)
        check_described(root_types[i].type, &seen);
    CHECK(map_len(&seen) > 600);
}

/* Counts the fields of a number in a message, and gives the last one's bytes. */
static size_t pb_fields(struct str message, uint32_t number, struct str *last)
{
    struct pb m = pb_of(message);
    struct pb_field f;
    struct err err = ERR;
    size_t n = 0;
    int r;
    while ((r = pb_next(&m, &f, &err)) > 0)
        if (f.number == number)
            n++, *last = f.bytes;
    CHECK_OK(r == 0, err);
    return n;
}

TEST(one_document_of_openapi_two_holds_everything_in_both_forms)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24), pb = STRBUF(1 << 24);
    struct err err = ERR;
    struct val doc;
    openapi_two(&b, &kind_set_builtin);
    CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
    const struct val *definitions = val_get_str(&doc, S("definitions"));
    check_refs(&doc, &doc);
    for (size_t i = 0; i < nkinds; i++) {
        CHECK(val_get_str(definitions, str_of(kinds[i]->type->openapi)));
        CHECK(!kinds[i]->list_type || val_get_str(definitions, str_of(kinds[i]->list_type->openapi)));
    }
    static const struct {
        const char *path, *method, *id;
    } expected[] = {
        {"/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"},
        {"/api/v1/namespaces/{namespace}/pods", "get", "listCoreV1NamespacedPod"},
        {"/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"},
        {"/api/v1/namespaces/{namespace}/pods/{name}", "get", "readCoreV1NamespacedPod"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post", "createCoreV1NamespacedPodEviction"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}", "head",
         "connectCoreV1HeadNamespacedPodProxyWithPath"},
        {"/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize"},
        {"/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces"},
        {"/api/v1/watch/nodes/{name}", "get", "watchCoreV1Node"},
        {"/apis/rbac.authorization.k8s.io/v1/clusterroles", "post", "createRbacAuthorizationV1ClusterRole"},
        {"/apis/", "get", "getAPIVersions"},
        {"/apis/flowcontrol.apiserver.k8s.io/", "get", "getFlowcontrolApiserverAPIGroup"},
        {"/version/", "get", "getCodeVersion"},
    };
    for (size_t i = 0; i < countof(expected); i++)
        CHECK_STR(operation_id(&doc, expected[i].path, expected[i].method), str_of(expected[i].id));
    const struct val *options = val_get_str(definitions, S("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"));
    CHECK_INT(val_len(val_get_str(options, S("x-kubernetes-group-version-kind"))), ngroup_versions);
    openapi_two_pb(&pb, &kind_set_builtin);
    struct str paths = S(""), defs = S(""), swagger = S(""), last = S("");
    CHECK_INT(pb_fields(strbuf_str(&pb), 1, &swagger), 1);
    CHECK_STR(swagger, S("2.0"));
    CHECK_INT(pb_fields(strbuf_str(&pb), 8, &paths), 1);
    CHECK_INT(pb_fields(paths, 2, &last), val_len(val_get_str(&doc, S("paths"))));
    CHECK_INT(pb_fields(strbuf_str(&pb), 9, &defs), 1);
    CHECK_INT(pb_fields(defs, 1, &last), val_len(definitions));
}

/* The value of field `number`, as bytes; "" where it is not there. */
static struct str pb_field_of(struct str message, uint32_t number)
{
    struct str last = S("");
    (void)pb_fields(message, number, &last);
    return last;
}

/* The schema of the member of that name: SCHEMAS is {1: {1: name, 2: schema}}. */
static struct str pb_schema_of(struct str schemas, const char *name)
{
    struct pb m = pb_of(schemas);
    struct pb_field f;
    struct err err = ERR;
    while (pb_next(&m, &f, &err) > 0)
        if (f.number == 1 && str_eqz(pb_field_of(f.bytes, 1), name))
            return pb_field_of(f.bytes, 2);
    test_failed(__FILE__, __LINE__, "no schema %s", name);
    return S("");
}

TEST(schemas_of_definitions_are_in_protobuf_with_all_that_they_say)
{
    static const char called[] = "{'plural':'widgets','singular':'widget','kind':'Widget','listKind':'WidgetList'}";
    static const char spec[] =
        "{'type':'object','minProperties':1,'maxProperties':9,'required':['n'],'properties':{"
        "'n':{'type':'number','minimum':-1.5,'maximum':7,'exclusiveMinimum':true,'exclusiveMaximum':true,"
        "'multipleOf':0.5,'default':1},"
        "'t':{'type':'string','minLength':2,'maxLength':5,'pattern':'^a','format':'byte','enum':['a','b'],'title':'T'"
        "},"
        "'l':{'type':'array','minItems':1,'maxItems':3,'items':{'type':'object','nullable':true,"
        "'x-kubernetes-preserve-unknown-fields':true}},"
        "'o':{'type':'object','anyOf':[{'required':['a']}],'not':{'required':['b']},"
        "'additionalProperties':{'type':'string'}},"
        "'x-odd':{'type':'boolean'}}}";
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree;
    struct str text = arena_fmt(
        &a,
        "{'metadata':{'name':'widgets.example.dev'},'spec':{'group':'example.dev','scope':'Namespaced','names':%s,"
        "'versions':[{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object',"
        "'properties':{'spec':%s}}}}]},'status':{'acceptedNames':%s,'conditions':[{'type':'Established','status':"
        "'True'}]}}",
        called, spec, called);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\'')
            ((char *)text.p)[i] = '"';
    CHECK_OK(type_decode_json(&a, K(CustomResourceDefinition)->type, text, &tree, NULL, &err), err);
    AUTO(obj_unref) struct obj *definition = obj_new(K(CustomResourceDefinition), &tree, 1);
    const struct kind *made[CUSTOM_VERSIONS];
    size_t n = 0;
    CHECK_OK(custom_kinds(definition, made, &n, &err), err);
    AUTO(kind_set_unref) const struct kind_set *set = kind_set_new(made, n);
    for (size_t i = 0; i < n; i++)
        kind_unref(made[i]);
    AUTO(strbuf_fini) struct strbuf pb = STRBUF(1 << 24);
    openapi_two_pb(&pb, set);
    struct str schema = pb_schema_of(pb_field_of(strbuf_str(&pb), 9), "dev.example.v1.Widget"), unused;
    schema = pb_schema_of(pb_field_of(schema, 25), "spec");
    static const struct {
        const char *name;
        uint32_t fields[12]; /* of gnostic's Schema */
    } rows[] = {
        {"n", {6, 7, 8, 9, 10, 22}},
        {"t", {2, 11, 12, 13, 20, 22}},
        {"l", {14, 15, 22, 23}},
        {"o", {21, 22}},
        {"x-odd", {22}},
    };
    CHECK(pb_fields(schema, 17, &unused) == 1 && pb_fields(schema, 18, &unused) == 1);
    CHECK_STR(pb_field_of(schema, 19), S("n"));
    for (size_t i = 0; i < countof(rows); i++) {
        struct str one = pb_schema_of(pb_field_of(schema, 25), rows[i].name);
        for (size_t k = 0; rows[i].fields[k]; k++)
            if (!pb_fields(one, rows[i].fields[k], &unused))
                test_failed(__FILE__, __LINE__, "%s has no field %u", rows[i].name, rows[i].fields[k]);
    }
    CHECK_STR(pb_field_of(pb_schema_of(pb_field_of(schema, 25), "t"), 13), S("^a"));
}

/* A definition with that schema, in the document of OpenAPI 2.0: what stands there of its kind. */
static struct str described_in_two(struct arena *a, const char *schema)
{
    struct err err = ERR;
    struct val tree;
    struct str text = arena_fmt(
        a,
        "{'metadata':{'name':'widgets.example.dev'},'spec':{'group':'example.dev','scope':'Namespaced','names':{"
        "'plural':'widgets','singular':'widget','kind':'Widget','listKind':'WidgetList'},"
        "'versions':[{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':%s}}]},'status':{"
        "'acceptedNames':{'plural':'widgets','singular':'widget','kind':'Widget','listKind':'WidgetList'},"
        "'conditions':[{'type':'Established','status':'True'}]}}",
        schema);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\'')
            ((char *)text.p)[i] = '"';
    CHECK_OK(type_decode_json(a, K(CustomResourceDefinition)->type, text, &tree, NULL, &err), err);
    AUTO(obj_unref) struct obj *definition = obj_new(K(CustomResourceDefinition), &tree, 1);
    const struct kind *made[CUSTOM_VERSIONS];
    size_t n = 0;
    CHECK_OK(custom_kinds(definition, made, &n, &err), err);
    AUTO(kind_set_unref) const struct kind_set *set = kind_set_new(made, n);
    for (size_t i = 0; i < n; i++)
        kind_unref(made[i]);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
    openapi_two(&b, set);
    struct str all = strbuf_str(&b), name = S("\"dev.example.v1.Widget\":");
    ptrdiff_t at = str_find(all, name);
    CHECK(at >= 0);
    all = str_sub(all, (size_t)at + name.n, all.n);
    at = str_find(all, S(",\"x-kubernetes-group-version-kind\""));
    CHECK(at >= 0);
    return str_dup(a, str_sub(all, 0, (size_t)at));
}

TEST(two_promises_nothing_of_what_keeps_unknown_fields_or_may_be_null)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_STR(described_in_two(&a, "{'type':'object','description':'d','x-kubernetes-preserve-unknown-fields':true,"
                                   "'properties':{'spec':{'type':'string'}}}"),
              S("{\"type\":\"object\""));
    struct str nested = described_in_two(
        &a,
        "{'type':'object','properties':{'spec':{'type':'object','required':['a','b'],'properties':{'a':{'type':"
        "'string','nullable':true},'b':{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':{"
        "'c':{'type':'string'}}}}}}}");
    if (!str_has(nested, S("\"spec\":{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"x-kubernetes-preserve-"
                           "unknown-fields\":true}},\"required\":[\"b\"]}")))
        test_failed(__FILE__, __LINE__, STR_FMT, STR_ARG(nested));
}

/* --- with other servers' documents --- */

static const char wardle[] =
    "{\"swagger\":\"2.0\",\"paths\":{"
    "\"/apis/w.example.com/v1/\":{\"get\":{\"responses\":{\"200\":{\"schema\":{\"$ref\":\"#/definitions/"
    "Flunder\"}}},"
    "\"parameters\":[{\"$ref\":\"#/parameters/pretty\"},{\"$ref\":\"#/parameters/own\"}]}},"
    "\"/apis/w.example.com/v10/\":{\"get\":{\"responses\":{\"200\":{\"schema\":{\"$ref\":\"#/definitions/"
    "Unused\"}}}}},"
    "\"/apis/apps/v1/\":{\"get\":{\"responses\":{}}},\"/healthz\":{\"get\":{}}},"
    "\"parameters\":{\"pretty\":{\"name\":\"pretty\",\"in\":\"query\",\"type\":\"string\"},"
    "\"own\":{\"name\":\"own\",\"in\":\"query\",\"type\":\"string\"},\"unused\":{}},"
    "\"definitions\":{\"Flunder\":{\"type\":\"object\",\"properties\":{\"$ref\":{\"type\":\"string\"},"
    "\"metadata\":{ \"$ref\" : \"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta\"},"
    "\"spec\":{\"description\":\"says "
    "\\\"$ref\\\":\\\"#/definitions/no\\\"\",\"$ref\":\"#/definitions/Sp\\u0065c\"}}},"
    "\"Spec\":{\"description\":\"%s\"},\"Unused\":{\"type\":\"object\"},"
    "\"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta\":{\"description\":\"theirs\"}}}";

static struct openapi_remote *remote_of(const char *spec, const char *group)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    for (const char *p = wardle; *p; p++)
        if (!strncmp(p, "%s", 2))
            strbuf_addz(&b, spec), p++;
        else if (!strncmp(p, "w.example.com", 13))
            strbuf_addz(&b, group), p += 12;
        else
            strbuf_addc(&b, *p);
    struct openapi_remote *r = openapi_remote_new(strbuf_str(&b), str_of(group), S("v1"), &err);
    CHECK(r);
    return r;
}

static void merged_document(struct strbuf *b, struct openapi_remote *const *list, size_t n, bool protobuf)
{
    AUTO(openapi_pieces_free)
    struct openapi_pieces *p = openapi_pieces_new(&kind_set_builtin, S("v2"), protobuf);
    openapi_pieces_merge(p, list, n);
    while (openapi_pieces_next(p, b))
        ;
    CHECK(!b->over);
}

TEST(of_another_servers_document_its_version_is_kept)
{
    AUTO(openapi_remote_unref) struct openapi_remote *r = remote_of("a spec", "w.example.com");
    CHECK_INT(r->paths.n, 1);
    CHECK_STR(r->paths.list[0].name, S("/apis/w.example.com/v1/"));
    CHECK_INT(r->definitions.n, 3);
    CHECK_INT(r->parameters.n, 2);
    AUTO(openapi_remote_unref) struct openapi_remote *again = remote_of("a spec", "w.example.com");
    AUTO(openapi_remote_unref) struct openapi_remote *other = remote_of("other", "w.example.com");
    CHECK(r->hash == again->hash && r->hash != other->hash);
}

TEST(another_servers_document_goes_in_under_names_of_its_own)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(1 << 24), b = STRBUF(1 << 24), pb = STRBUF(1 << 25);
    struct openapi_remote *list[] = {remote_of("a spec", "w.example.com"), remote_of("another", "x.example.com"),
                                     remote_of("a spec", "apps")};
    struct err err = ERR;
    struct val doc, ours;
    merged_document(&b, list, countof(list), false);
    CHECK_OK(json_decode(&a, strbuf_str(&b), &doc, &err), err);
    check_refs(&doc, &doc);
    openapi_two(&plain, &kind_set_builtin);
    CHECK_OK(json_decode(&a, strbuf_str(&plain), &ours, &err), err);
    const struct val *paths = val_get_str(&doc, S("paths")), *defs = val_get_str(&doc, S("definitions"));
    const struct val *pars = val_get_str(&doc, S("parameters"));
    CHECK_INT(val_len(paths), val_len(val_get_str(&ours, S("paths"))) + 2);
    CHECK(val_equal(val_get_str(paths, S("/apis/apps/v1/")),
                    val_get_str(val_get_str(&ours, S("paths")), S("/apis/apps/v1/"))));
    static const char meta[] = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    CHECK_STR(val_text_at(val_get_str(defs, arena_fmt(&a, "%s_v2", meta)), N(description)), S("theirs"));
    CHECK(!val_get_str(defs, arena_fmt(&a, "%s_v3", meta))); /* the second server's is the same */
    CHECK(val_get_str(defs, S("Spec")) && val_get_str(defs, S("Spec_v2")) && !val_get_str(defs, S("Spec_v3")));
    CHECK(val_get_str(defs, S("Flunder")) && val_get_str(defs, S("Flunder_v2")) && !val_get_str(defs, S("Unused")));
    CHECK(val_get_str(pars, S("pretty_v2")) && !val_get_str(pars, S("pretty_v3")) && val_get_str(pars, S("own")));
    CHECK(!val_get_str(pars, S("own_v2")));
    const struct val *spec = val_get_str(val_get_str(val_get_str(defs, S("Flunder")), S("properties")), S("spec"));
    CHECK_STR(val_text_at(spec, N(_ref)), S("#/definitions/Spec"));
    merged_document(&pb, list, countof(list), true);
    struct str last, part;
    CHECK_INT(pb_fields(strbuf_str(&pb), 8, &part), 1);
    CHECK_INT(pb_fields(part, 2, &last), val_len(paths));
    CHECK_INT(pb_fields(strbuf_str(&pb), 9, &part), 1);
    CHECK_INT(pb_fields(part, 1, &last), val_len(defs));
    for (size_t i = 0; i < countof(list); i++)
        openapi_remote_unref(list[i]);
}

TEST(another_servers_document_of_openapi_two_becomes_one_of_three)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err err = ERR;
    struct str text = S(
        "{\"paths\":{\"/apis/a/v1/x\":{\"parameters\":[{\"$ref\":\"#/parameters/"
        "p\"},7],\"post\":{\"operationId\":\"o\","
        "\"consumes\":[\"application/json\",\"*/*\"],\"produces\":[\"text/plain\"],\"x-kubernetes-action\":\"post\","
        "\"parameters\":[{\"name\":\"body\",\"in\":\"body\",\"required\":true,\"schema\":{\"$ref\":"
        "\"#/definitions/X\"}},{\"name\":\"q\",\"in\":\"query\",\"type\":\"integer\",\"uniqueItems\":true}],"
        "\"responses\":{\"200\":{\"description\":\"OK\",\"schema\":{\"$ref\":\"#/definitions/X\"}},"
        "\"401\":{\"description\":\"no\"}}}}},\"parameters\":{\"p\":{\"name\":\"p\",\"in\":\"path\",\"type\":"
        "\"string\"}},\"definitions\":{\"X\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":"
        "\"#/definitions/X\"}}}}}");
    AUTO(openapi_remote_unref) struct openapi_remote *r = openapi_remote_new(text, S("a"), S("v1"), &err);
    CHECK(r);
    openapi_remote_three(&b, r);
    CHECK_STR(
        strbuf_str(&b),
        S("{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"unversioned\"},\"paths\":{"
          "\"/apis/a/v1/x\":{\"post\":{\"operationId\":\"o\",\"parameters\":[{\"name\":\"q\",\"in\":\"query\","
          "\"schema\":{\"type\":\"integer\",\"uniqueItems\":true}}],\"requestBody\":{\"required\":true,\"content\":{"
          "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/X\"}},\"*/*\":{\"schema\":{\"$ref\":"
          "\"#/components/schemas/X\"}}}},\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{"
          "\"text/plain\":{\"schema\":{\"$ref\":\"#/components/schemas/X\"}}}},\"401\":{\"description\":\"no\"}},"
          "\"x-kubernetes-action\":\"post\"},\"parameters\":[{\"name\":\"p\",\"in\":\"path\",\"schema\":{\"type\":"
          "\"string\"}}]}},\"components\":{\"schemas\":{\"X\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":"
          "\"#/components/schemas/X\"}}}}}}"));
}

TEST(a_document_that_is_none_is_refused)
{
    static const char *const bad[] = {"", "{", "[]", "7", "\x01", "{\"paths\":", "<html>"};
    for (size_t i = 0; i < countof(bad); i++) {
        struct err err = ERR;
        CHECK(!openapi_remote_new(str_of(bad[i]), S("a"), S("v1"), &err) && err.kind == E_BAD_REQUEST);
    }
    AUTO(strbuf_fini) struct strbuf deep = STRBUF(STRBUF_TEXT);
    strbuf_addz(&deep, "{\"paths\":{\"/apis/a/v1/x\":{\"a\":");
    for (int i = 0; i < 200; i++)
        strbuf_addc(&deep, '[');
    for (int i = 0; i < 200; i++)
        strbuf_addc(&deep, ']');
    strbuf_addz(&deep, "}}}");
    struct err err = ERR;
    CHECK(!openapi_remote_new(strbuf_str(&deep), S("a"), S("v1"), &err));
    CHECK(strstr(err.text, "more than 100 levels"));
    struct openapi_remote *odd = openapi_remote_new(S("{\"paths\":7,\"definitions\":[],\"parameters\":null}"), S("a"),
                                                    S("v1"), &err);
    CHECK(odd && !odd->paths.n);
    openapi_remote_unref(odd);
}
