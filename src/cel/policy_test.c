/* Expressions of policies: what is said when one is written, and what they come to. */
#include "api/codec.h"
#include "base/test.h"
#include "cel/policy.h"

#define CHECK_MSG(x, ...) ((x) ? (void)0 : test_failed(__FILE__, __LINE__, __VA_ARGS__))

static struct val json_val(struct arena *a, const char *text)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(json_decode(a, str_of(text), &v, &err), err);
    return v;
}

TEST(policy_expressions_are_checked_by_their_use)
{
    static const struct {
        enum expression_use use;
        bool params, variables;
        const char *text, *why; /* "": fine */
    } rows[] = {
        {EXPRESSION_VALIDATION, 0, 0, "object.spec.replicas <= 5", ""},
        {EXPRESSION_VALIDATION, 0, 0, "object.spec.replicas", "must evaluate to bool but got dyn"},
        {EXPRESSION_VALIDATION, 0, 0, "timestamp('2020-01-01T00:00:00Z')",
         "must evaluate to bool but got google.protobuf.Timestamp"},
        {EXPRESSION_VALIDATION, 0, 0, "[null]", "must evaluate to bool but got list(null_type)"},
        {EXPRESSION_VALIDATION, 0, 0, "request.userInfo.username == oldObject.metadata.name", ""},
        {EXPRESSION_VALIDATION, 0, 0, "params.x == 1", "undeclared reference to 'params'"},
        {EXPRESSION_VALIDATION, 1, 0, "params.x == 1", ""},
        {EXPRESSION_VALIDATION, 0, 0, "variables.x == 1", "undeclared reference to 'variables'"},
        {EXPRESSION_VALIDATION, 0, 1, "variables.n == 1", ""},
        {EXPRESSION_VALIDATION, 0, 1, "variables.n == 'a'", "found no matching overload"},
        {EXPRESSION_VALIDATION, 0, 1, "has(variables.n)", ""},
        {EXPRESSION_VALIDATION, 0, 1, "variables.m == 1", "undefined field 'm'"},
        {EXPRESSION_VALIDATION, 0, 1, "dyn(variables).n == 1", "'variables' stands for nothing without a field"},
        {EXPRESSION_VARIABLE, 0, 1, "[variables]", "'variables' stands for nothing without a field"},
        {EXPRESSION_VALIDATION, 0, 0, "namespaceObject.metadata.labels['a'] == 'b'", ""},
        {EXPRESSION_VALIDATION, 0, 0,
         "namespaceObject.metadata.creationTimestamp < timestamp('2020-01-01T00:00:00Z')", ""},
        {EXPRESSION_VALIDATION, 0, 0, "namespaceObject.spec.x == 1", "undefined field 'x'"},
        {EXPRESSION_VALIDATION, 0, 0, "authorizer.requestResource.check('get').allowed()", ""},
        {EXPRESSION_VALIDATION, 0, 0, "authorizer.path('/healthz').check('get').allowed()", ""},
        {EXPRESSION_VALIDATION, 0, 0, "Object{}", "undeclared reference to 'Object'"},
        {EXPRESSION_CONDITION, 0, 1, "variables.n == 1", "undeclared reference to 'variables'"},
        {EXPRESSION_MESSAGE, 0, 0, "'a' + object.b", ""},
        {EXPRESSION_MESSAGE, 0, 0, "object.b", "must evaluate to string but got dyn"},
        {EXPRESSION_MESSAGE, 0, 0, "authorizer.path('/x').check('get').reason()",
         "undeclared reference to 'authorizer'"},
        {EXPRESSION_AUDIT, 0, 0, "null", ""},
        {EXPRESSION_AUDIT, 0, 0, "1", "must evaluate to one of [string null_type] but got int"},
        {EXPRESSION_APPLY, 0, 1, "Object{spec: Object.spec{replicas: variables.n}}", ""},
        {EXPRESSION_APPLY, 0, 1, "Object.spec{}", "must evaluate to Object but got Object.spec"},
        {EXPRESSION_PATCH, 0, 1, "[JSONPatch{op: 'remove', path: '/a/' + jsonpatch.escapeKey('b/c')}]", ""},
        {EXPRESSION_PATCH, 0, 1, "[JSONPatch{op: 1}]",
         "expected type of field 'op' is 'string' but provided type is 'int'"},
        {EXPRESSION_PATCH, 0, 1, "[JSONPatch{at: 'x'}]", "undefined field 'at'"},
        {EXPRESSION_PATCH, 0, 1, "[1]", "must evaluate to list(JSONPatch) but got list(int)"},
        {EXPRESSION_DEVICE, 0, 0,
         "device.attributes['a'].b == 'c' && device.capacity['a'].c.isGreaterThan(quantity('1'))", ""},
        {EXPRESSION_DEVICE, 0, 0, "device.driver", "must evaluate to bool or the unknown type, not string"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 16);
        void *scope = cel_expression_checker.begin(rows[i].params, rows[i].variables);
        if (rows[i].variables)
            CHECK(cel_expression_checker.check(scope, EXPRESSION_VARIABLE, S("n"), S("1 + 1"), &why));
        bool ok = cel_expression_checker.check(scope, rows[i].use, STR_NONE, str_of(rows[i].text), &why);
        cel_expression_checker.end(scope);
        CHECK_MSG(ok == !*rows[i].why && str_has(strbuf_str(&why), str_of(rows[i].why)),
                  "%s: \"" STR_FMT "\", not \"%s\"", rows[i].text, STR_ARG(strbuf_str(&why)), rows[i].why);
    }
}

/* Knows who may get what in the namespace "yes". */
static bool may_in_yes(const struct cel_authorizer *self, struct arena *a, const struct cel_access *x,
                       struct str *reason)
{
    (void)self;
    *reason = arena_fmt(a, STR_FMT " of " STR_FMT, STR_ARG(x->verb), STR_ARG(x->account));
    return x->of_path ? str_eqz(x->path, "/ok") : str_eqz(x->ns, "yes");
}

static void policy_judge(struct arena *a, const char *spec, const char *object, struct strbuf *out)
{
    struct val policy = json_val(a, spec), obj = json_val(a, object);
    struct val request = json_val(a, "{\"name\":\"x\",\"operation\":\"CREATE\"}");
    struct val ns = json_val(a, "{\"metadata\":{\"name\":\"yes\",\"uid\":\"u\",\"creationTimestamp\":"
                                "\"2020-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Active\"}}");
    struct cel_authorizer authorizer = {may_in_yes};
    struct cel_admission x = {.request = &request,
                              .obj = &obj,
                              .ns = &ns,
                              .authorizer = &authorizer,
                              .resource = {.ns = S("yes"), .resource = S("pods")}};
    AUTO(cel_policy_free) struct cel_policy *p = cel_policy_new(&policy);
    enum cel_met met = cel_policy_met(p, &x, out);
    if (met != CEL_MET) {
        strbuf_addz(out, met == CEL_NOT_MET ? "not met" : "");
        return;
    }
    struct cel_refusal *all;
    size_t n = cel_policy_validate(p, a, &x, &all);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(out, "%s%s%s" STR_FMT, i ? "; " : "", all[i].failed ? "failed " : "",
                    all[i].annotation ? "annotation " : "", STR_ARG(all[i].message));
}

TEST(policy_validations_say_what_they_find)
{
    static const struct {
        const char *spec, *object, *found;
    } rows[] = {
        {"{\"validations\":[{\"expression\":\"object.n < 3\"}]}", "{\"n\":2}", ""},
        {"{\"validations\":[{\"expression\":\" object.n < 3 \"}]}", "{\"n\":4}", "failed expression: object.n < 3"},
        {"{\"validations\":[{\"expression\":\"object.n < 3\",\"message\":\" too many \"}]}", "{\"n\":4}", "too many"},
        {"{\"validations\":[{\"expression\":\"object.n < 3\",\"message\":\"m\",\"messageExpression\":"
         "\"'n is ' + string(object.n)\"}]}",
         "{\"n\":4}", "n is 4"},
        {"{\"validations\":[{\"expression\":\"object.n < 3\",\"message\":\"m\",\"messageExpression\":"
         "\"'two\\\\nlines'\"}]}",
         "{\"n\":4}", "m"},
        {"{\"validations\":[{\"expression\":\"object.n < 3\",\"message\":\"m\",\"messageExpression\":"
         "\"string(object.x)\"}]}",
         "{\"n\":4}", "m"},
        {"{\"validations\":[{\"expression\":\"object.x == 2\"},{\"expression\":\"object.y == 1\"}]}", "{\"x\":1}",
         "failed expression: object.x == 2; failed expression 'object.y == 1' resulted in error: no such key: y"},
        {"{\"variables\":[{\"name\":\"a\",\"expression\":\"object.n + 1\"},{\"name\":\"b\",\"expression\":"
         "\"variables.a * 2\"},{\"name\":\"never\",\"expression\":\"1 / 0\"}],\"validations\":[{\"expression\":"
         "\"variables.b == 6\"},{\"expression\":\"variables.b == 7\"}]}",
         "{\"n\":2}", "failed expression: variables.b == 7"},
        {"{\"variables\":[{\"name\":\"a\",\"expression\":\"1 / 0\"}],\"validations\":[{\"expression\":"
         "\"variables.a == 6\"}]}",
         "{}",
         "failed expression 'variables.a == 6' resulted in error: composited variable \"a\" fails to evaluate: "
         "division by zero"},
        {"{\"variables\":[{\"name\":\"a\",\"expression\":\"1\"},{\"name\":\"a\",\"expression\":\"2\"}],"
         "\"validations\":[{\"expression\":\"variables.a == 1\"}]}",
         "{}", "failed expression: variables.a == 1"},
        {"{\"variables\":[{\"name\":\"a\",\"expression\":\"1\"},{\"name\":\"a\",\"expression\":\"variables.a + 1\"}],"
         "\"validations\":[{\"expression\":\"variables.a == 1\"}]}",
         "{}",
         "failed expression 'variables.a == 1' resulted in error: composited variable \"a\" fails to evaluate: "
         "composited variable \"a\" fails to evaluate: it asks for too many others"},
        {"{\"matchConditions\":[{\"name\":\"c\",\"expression\":\"object.n > 2\"}],\"validations\":[{\"expression\":"
         "\"false\"}]}",
         "{\"n\":2}", "not met"},
        {"{\"matchConditions\":[{\"name\":\"c\",\"expression\":\"object.m > 2\"}],\"validations\":[{\"expression\":"
         "\"false\"}]}",
         "{\"n\":2}", "expression 'object.m > 2' resulted in error: no such key: m"},
        {"{\"validations\":[{\"expression\":\"authorizer.requestResource.check('get').allowed()\"},{\"expression\":"
         "\"authorizer.path('/ok').check('get').allowed() && !authorizer.path('/no').check('get').allowed()\"},"
         "{\"expression\":\"authorizer.group('').resource('pods').namespace('no').check('get').allowed()\"},"
         "{\"expression\":\"authorizer.serviceAccount('n','a').group('').resource('pods').check('get').reason() == "
         "'get of a'\"}]}",
         "{}", "failed expression: authorizer.group('').resource('pods').namespace('no').check('get').allowed()"},
        {"{\"validations\":[{\"expression\":\"authorizer.serviceAccount('N','a').path('/"
         "x').check('get').allowed()\"}]}",
         "{}",
         "failed expression 'authorizer.serviceAccount('N','a').path('/x').check('get').allowed()' resulted in "
         "error: "
         "Invalid service account namespace"},
        {"{\"validations\":[{\"expression\":\"namespaceObject.metadata.creationTimestamp.getFullYear() == 2020 && "
         "namespaceObject.metadata.UID == 'u' && namespaceObject.status.phase == 'Active' && "
         "!has(namespaceObject.metadata.labels)\"}]}",
         "{}", ""},
        {"{\"auditAnnotations\":[{\"key\":\"k\",\"valueExpression\":\"string(object.gone)\"}]}", "{}",
         "failed annotation expression 'string(object.gone)' resulted in error: no such key: gone"},
        {"{\"validations\":[{\"expression\":\"object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))\"}]}",
         "{\"l\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,"
         "36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59]}",
         "failed expression 'object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))' resulted in error: "
         "operation cancelled: actual cost limit exceeded"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 16);
        policy_judge(&a, rows[i].spec, rows[i].object, &out);
        CHECK_MSG(str_eqz(strbuf_str(&out), rows[i].found), "%s: \"" STR_FMT "\", not \"%s\"", rows[i].spec,
                  STR_ARG(strbuf_str(&out)), rows[i].found);
    }
}

/* Variables that ask for one another are followed as far as there is a stack for it. */
TEST(policy_variables_in_a_long_row)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf spec = STRBUF(1 << 24), out = STRBUF(1 << 16);
    strbuf_addz(&spec, "{\"variables\":[{\"name\":\"v0\",\"expression\":\"1\"}");
    for (int i = 1; i < 3000; i++)
        strbuf_addf(&spec, ",{\"name\":\"v%d\",\"expression\":\"variables.v%d\"}", i, i - 1);
    strbuf_addz(&spec, "],\"validations\":[{\"expression\":\"variables.v20 == 1\"},"
                       "{\"expression\":\"variables.v2999 == 1\"}]}");
    policy_judge(&a, arena_strz(&a, strbuf_str(&spec)), "{}", &out);
    CHECK(str_has(strbuf_str(&out), S("asks for too many others")));
}

TEST(policy_mutations_make_trees)
{
    static const struct {
        const char *mutation, *made;
    } rows[] = {
        {"{\"applyConfiguration\":{\"expression\":\"Object{metadata: Object.metadata{labels: {'a': object.x}}, spec: "
         "Object.spec{n: 3, l: [Object.spec.l{name: 'q'}], ?none: optional.none()}}\"}}",
         "{\"metadata\":{\"labels\":{\"a\":\"y\"}},\"spec\":{\"n\":3,\"l\":[{\"name\":\"q\"}]}}"},
        {"{\"applyConfiguration\":{\"expression\":\"Object{spec: Object.wrong{}}\"}}",
         "type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\", which matches field name "
         "path "
         "from root Object type"},
        {"{\"jsonPatch\":{\"expression\":\"[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/~c'), value: "
         "Object.a{x: [1, 2]}}]\"}}",
         "[{\"op\":\"add\",\"path\":\"/a/b~1~0c\",\"value\":{\"x\":[1,2]}}]"},
        {"{\"jsonPatch\":{\"expression\":\"[JSONPatch{op: 'test', path: object.z}]\"}}",
         "expression '[JSONPatch{op: 'test', path: object.z}]' resulted in error: no such key: z"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 16);
        struct val spec = json_val(&a, arena_fmt(&a, "{\"mutations\":[%s]}", rows[i].mutation).p), made;
        struct val obj = json_val(&a, "{\"x\":\"y\"}"), request = val_map();
        AUTO(cel_policy_free) struct cel_policy *p = cel_policy_new(&spec);
        if (cel_policy_mutation(p, 0, &a, &(struct cel_admission){.request = &request, .obj = &obj}, &made, &out))
            json_encode(&out, &made);
        CHECK_MSG(str_eqz(strbuf_str(&out), rows[i].made), "%s: " STR_FMT, rows[i].mutation,
                  STR_ARG(strbuf_str(&out)));
    }
}
