/* The paths of OpenAPI documents (openapi.c): what may be done with each kind and its subresources, under the names
 * that upstream gives to operations, as generators of clients make their functions of these. Of a path's parameters,
 * those of all its operations stand at the path, the others at the operation; in 2.0 the ones that many paths have
 * stand once in the document. Custom resources are written as upstream's own controller writes them: fewer media
 * types, no watch paths. Upstream: apiserver/pkg/endpoints/installer.go, kube-openapi/pkg/builder3. */
#include "api/openapi_int.h"
#include "api/strategy.h"

struct parameter {
    const char *name, *type, *doc;
    bool in_path;
    bool common; /* of many paths, and the same in all */
};

/* Sorted by name, which is their order in a document. */
#define PARAMETERS(X)                                                                                                \
    X(ALLOW_BOOKMARKS, "allowWatchBookmarks", "boolean", "ask for bookmark events in a watch")                       \
    X(CONTINUE, "continue", "string", "where the last page of a list ended")                                         \
    X(DRY_RUN, "dryRun", "string", "All: check everything, keep nothing")                                            \
    X(FIELD_MANAGER, "fieldManager", "string", "who makes the change")                                               \
    X(FIELD_SELECTOR, "fieldSelector", "string", "only objects whose fields match")                                  \
    X(FIELD_VALIDATION, "fieldValidation", "string",                                                                 \
      "what becomes of unknown or duplicate fields: Ignore, Warn or Strict")                                         \
    X(FORCE, "force", "boolean", "take over fields that others own, in an apply")                                    \
    X(GRACE, "gracePeriodSeconds", "integer", "how long the object may take to end; 0 at once")                      \
    X(IGNORE_ERROR, "ignoreStoreReadErrorWithClusterBreakingPotential", "boolean",                                   \
      "delete what cannot be read any more; dangerous")                                                              \
    X(LABEL_SELECTOR, "labelSelector", "string", "only objects whose labels match")                                  \
    X(LIMIT, "limit", "integer", "at most so many objects in an answer")                                             \
    X(NAMESPACE, "namespace", "string", "the namespace of the objects")                                              \
    X(ORPHAN, "orphanDependents", "boolean", "superseded by propagationPolicy")                                      \
    X(PRETTY, "pretty", "string", "true: with line breaks, for people")                                              \
    X(PROPAGATION, "propagationPolicy", "string", "what becomes of dependents: Orphan, Background or Foreground")    \
    X(VERSION, "resourceVersion", "string", "at or after which revision to read")                                    \
    X(VERSION_MATCH, "resourceVersionMatch", "string", "how resourceVersion is meant: Exact or NotOlderThan")        \
    X(INITIAL_EVENTS, "sendInitialEvents", "boolean", "begin a watch with what is there")                            \
    X(SHARD, "shardSelector", "string", "only objects with some hashes of the uid; has no effect yet")               \
    X(TIMEOUT, "timeoutSeconds", "integer", "end a list or watch after so many seconds")                             \
    X(WATCH, "watch", "boolean", "stream changes instead of listing")

enum parameter_index {
#define X(id, name, type, doc) AT_##id,
    PARAMETERS(X)
#undef X
        PARAMETERS_COUNT,
};
static const struct parameter parameters[PARAMETERS_COUNT] = {
#define X(id, name, type, doc) {name, type, doc, AT_##id == AT_NAMESPACE, true},
    PARAMETERS(X)
#undef X
};

#define P(id) (1u << AT_##id)
enum {
    WITH_LIST = P(CONTINUE) | P(FIELD_SELECTOR) | P(LABEL_SELECTOR) | P(LIMIT) | P(VERSION) | P(VERSION_MATCH) |
                P(INITIAL_EVENTS) | P(SHARD) | P(TIMEOUT),
    WITH_WATCH = P(ALLOW_BOOKMARKS) | P(WATCH),
    WITH_DELETE = P(DRY_RUN) | P(GRACE) | P(IGNORE_ERROR) | P(ORPHAN) | P(PROPAGATION),
    WITH_WRITE = P(DRY_RUN) | P(FIELD_MANAGER) | P(FIELD_VALIDATION),
};

enum path_form {
    ALL_NAMESPACES,
    COLLECTION,
    OBJECT,
    WATCH_ALL,
    WATCH_COLLECTION,
    WATCH_OBJECT,
    SUBRESOURCE,
    SUBRESOURCE_LOG,
    SUBRESOURCE_CONNECT,
    SUBRESOURCE_BELOW, /* {path} below one that passes requests on */
};

enum answer { ANSWER_OBJECT, ANSWER_LIST, ANSWER_DELETED, ANSWER_STATUS, ANSWER_EVENTS, ANSWER_TEXT };

static const struct operation {
    const char *method; /* of HTTP, small */
    const char *id;     /* what its name begins with */
    const char *action;
    const char *doc; /* before the kind, or before SUBRESOURCE " of a " KIND */
    enum verb verb;
    unsigned forms;      /* bits of enum path_form */
    unsigned parameters; /* besides name, namespace, pretty */
    enum answer answer;
    bool body;
    bool created, accepted; /* may answer with 201, 202 */
    const char *doc_end;    /* behind the kind; may be NULL */
} operations[] = {
#define IN(form) (1u << (form))
    {"delete", "delete", "deletecollection", "deletes all objects of kind", VERB_DELETECOLLECTION, IN(COLLECTION),
     WITH_LIST | WITH_DELETE, ANSWER_STATUS, false, false, false, " that match"},
    {"get", "list", "list", "lists or watches objects of kind", VERB_LIST, IN(COLLECTION) | IN(ALL_NAMESPACES),
     WITH_LIST | WITH_WATCH, ANSWER_LIST, false, false, false, NULL},
    {"post", "create", "post", "creates a", VERB_CREATE, IN(COLLECTION), WITH_WRITE, ANSWER_OBJECT, true, true, true,
     NULL},
    {"delete", "delete", "delete", "deletes a", VERB_DELETE, IN(OBJECT), WITH_DELETE, ANSWER_DELETED, false, false,
     true, NULL},
    {"get", "read", "get", "reads a", VERB_GET, IN(OBJECT), 0, ANSWER_OBJECT, false, false, false, NULL},
    {"patch", "patch", "patch", "changes a part of a", VERB_PATCH, IN(OBJECT), WITH_WRITE | P(FORCE), ANSWER_OBJECT,
     true, true, false, NULL},
    {"put", "replace", "put", "replaces a", VERB_UPDATE, IN(OBJECT), WITH_WRITE, ANSWER_OBJECT, true, true, false,
     NULL},
    {"get", "watch", "watchlist", "watches objects of kind", VERB_WATCH, IN(WATCH_ALL) | IN(WATCH_COLLECTION),
     WITH_LIST | WITH_WATCH, ANSWER_EVENTS, false, false, false, "; superseded by watch=true of a list"},
    {"get", "watch", "watch", "watches a", VERB_WATCH, IN(WATCH_OBJECT), WITH_LIST | WITH_WATCH, ANSWER_EVENTS, false,
     false, false, "; superseded by watch=true and a fieldSelector of a list"},
    {"get", "read", "get", "reads the", VERB_GET, IN(SUBRESOURCE), 0, ANSWER_OBJECT, false, false, false, NULL},
    {"patch", "patch", "patch", "changes a part of the", VERB_PATCH, IN(SUBRESOURCE), WITH_WRITE | P(FORCE),
     ANSWER_OBJECT, true, true, false, NULL},
    {"post", "create", "post", "creates the", VERB_CREATE, IN(SUBRESOURCE), WITH_WRITE, ANSWER_OBJECT, true, true,
     true, NULL},
    {"put", "replace", "put", "replaces the", VERB_UPDATE, IN(SUBRESOURCE), WITH_WRITE, ANSWER_OBJECT, true, true,
     false, NULL},
    {"get", "read", "get", "reads the", VERB_GET, IN(SUBRESOURCE_LOG), 0, ANSWER_TEXT, false, false, false, NULL},
#define CONNECT(method, id, verb, forms)                                                                             \
    {                                                                                                                \
        method, id, "connect", "passes a request on to the", verb, forms, 0, ANSWER_TEXT, false, false, false, NULL  \
    }
    CONNECT("delete", "connectDelete", VERB_DELETE, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
    CONNECT("get", "connectGet", VERB_GET, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
    CONNECT("head", "connectHead", VERB_DELETE, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
    CONNECT("options", "connectOptions", VERB_DELETE, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
    CONNECT("patch", "connectPatch", VERB_PATCH, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
    CONNECT("post", "connectPost", VERB_CREATE, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
    CONNECT("put", "connectPut", VERB_UPDATE, IN(SUBRESOURCE_CONNECT) | IN(SUBRESOURCE_BELOW)),
};

/* A path while it is written. */
struct path {
    struct openapi_document *d;
    const struct kind *k;
    const struct subresource *sub; /* NULL: the kind itself */
    enum path_form form;
    struct str group, version; /* of what is sent and answered */
    const char *kind;
    const struct type *type; /* NULL: it is no object */
};

enum { PARAMETERS_MOST = 32 };
struct parameter_list {
    struct parameter p[PARAMETERS_MOST];
    size_t n;
};

static int by_name(const void *x, const void *y)
{
    const struct parameter *a = x, *b = y;
    int r = strcmp(a->name, b->name);
    return r ? r : (int)b->in_path - (int)a->in_path;
}

/* --- names --- */

/* "rbac.authorization" as RbacAuthorization, or rbacAuthorization. */
static void add_camel(struct strbuf *b, struct str s, bool capital)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (word)
            strbuf_addc(b, capital && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
        capital = !word;
    }
}

static struct str group_word(struct str group)
{
    struct str suffix = S(".k8s.io");
    if (!group.n)
        return S("core");
    if (group.n > suffix.n && str_eq(str_sub(group, group.n - suffix.n, group.n), suffix))
        return str_sub(group, 0, group.n - suffix.n);
    return group;
}

static void add_tag(struct strbuf *b, struct str group, struct str version)
{
    strbuf_addz(b, "\"tags\":[\"");
    add_camel(b, group_word(group), false);
    strbuf_addf(b, "%s" STR_FMT "\"]", version.n ? "_" : "", STR_ARG(version));
}

/* listCoreV1PodForAllNamespaces, connectCoreV1GetNamespacedPodProxyWithPath */
static void add_operation_id(struct path *p, const struct operation *o)
{
    struct strbuf *b = p->d->b;
    bool all = p->form == ALL_NAMESPACES || p->form == WATCH_ALL, connect = str_starts(str_of(o->id), S("connect"));
    const char *method = connect ? o->id + sizeof "connect" - 1 : "";
    strbuf_addf(b, "\"operationId\":\"%s", connect ? "connect" : o->id);
    add_camel(b, group_word(p->k->group), true);
    add_camel(b, p->k->version, true);
    strbuf_addf(b, "%s%s%s" STR_FMT, method, o->verb == VERB_DELETECOLLECTION ? "Collection" : "",
                p->k->namespaced && !all ? "Namespaced" : "", STR_ARG(p->k->kind));
    if (p->sub)
        add_camel(b, str_of(p->sub->name), true);
    strbuf_addf(b, "%s%s%s\"", strcmp(o->action, "watchlist") == 0 ? "List" : "",
                all && p->k->namespaced ? "ForAllNamespaces" : "", p->form == SUBRESOURCE_BELOW ? "WithPath" : "");
}

/* --- parameters --- */

/* An options type's fields that fit into a query. */
static void take_options(struct parameter_list *l, const struct type *t)
{
    type_fields_each (f, t) {
        const struct type *of = f->type->kind == TYPE_LIST ? f->type->of : f->type;
        const char *type = of->kind == TYPE_STRING                            ? "string"
                           : of->kind == TYPE_BOOL                            ? "boolean"
                           : of->kind == TYPE_INT32 || of->kind == TYPE_INT64 ? "integer"
                                                                              : NULL;
        if (l->n < PARAMETERS_MOST && type && !(f->flags & FIELD_INLINE) && f->name != N(kind) &&
            f->name != N(apiVersion))
            l->p[l->n++] = (struct parameter){f->name->s.p, type, field_doc(f), false, false};
    }
}

static void take_parameters(struct path *p, const struct operation *o, struct parameter_list *l,
                            char name_doc[static 100])
{
    unsigned set = o->parameters;
    bool connects = p->form == SUBRESOURCE_CONNECT || p->form == SUBRESOURCE_BELOW;
    l->n = 0;
    if (!connects)
        set |= P(PRETTY);
    if (p->d->custom && o->verb == VERB_DELETECOLLECTION) /* as upstream has it there */
        set = (set & ~(unsigned)WITH_DELETE) | WITH_WATCH;
    if (p->d->custom && o->verb == VERB_GET)
        set |= P(VERSION);
    if (p->k->namespaced && p->form != ALL_NAMESPACES && p->form != WATCH_ALL)
        set |= P(NAMESPACE);
    for (size_t i = 0; i < PARAMETERS_COUNT; i++)
        if (set >> i & 1)
            l->p[l->n++] = parameters[i];
    if (p->form == OBJECT || p->form == WATCH_OBJECT || p->form >= SUBRESOURCE) {
        (void)snprintf(name_doc, 100, "the name of the " STR_FMT, STR_ARG(p->k->kind));
        l->p[l->n++] = (struct parameter){"name", "string", name_doc, true, false};
    }
    if (connects)
        take_options(l, p->type);
    if (p->form == SUBRESOURCE_LOG)
        take_options(l, T(core_v1_PodLogOptions));
    if (p->form == SUBRESOURCE_BELOW) { /* beside the query's of that name */
        l->p[l->n++] = (struct parameter){"path", "string", "the path in the URL of what is behind it", true, false};
    }
    qsort(l->p, l->n, sizeof *l->p, by_name);
}

static bool list_has(const struct parameter_list *l, const struct parameter *p)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->p[i].name, p->name) == 0 && l->p[i].in_path == p->in_path)
            return true;
    return false;
}

static void add_parameter(struct openapi_document *d, const struct parameter *p)
{
    struct strbuf *b = d->b;
    strbuf_addc(b, '{');
    openapi_add_text(b, "description", p->doc);
    strbuf_addf(b, ",\"in\":\"%s\",\"name\":\"%s\",%s%s\"type\":\"%s\",\"uniqueItems\":true}%s",
                p->in_path ? "path" : "query", p->name, p->in_path ? "\"required\":true," : "",
                d->two ? "" : "\"schema\":{", p->type, d->two ? "" : "}");
}

/* Those that are not in `at_path`. */
static void add_parameters(struct path *p, const struct parameter_list *l, const struct parameter_list *at_path,
                           bool *first)
{
    struct strbuf *b = p->d->b;
    for (size_t i = 0; i < l->n; i++) {
        if (at_path && list_has(at_path, &l->p[i]))
            continue;
        strbuf_addz(b, *first ? "" : ",");
        *first = false;
        if (p->d->two && l->p[i].common)
            strbuf_addf(b, "{\"$ref\":\"#/parameters/%s\"}", l->p[i].name);
        else
            add_parameter(p->d, &l->p[i]);
    }
}

void openapi_add_parameters(struct openapi_document *d)
{
    for (size_t i = 0; i < PARAMETERS_COUNT; i++) {
        strbuf_addf(d->b, "%s\"%s\":", i ? "," : "", parameters[i].name);
        add_parameter(d, &parameters[i]);
    }
}

/* --- bodies and answers --- */

static const char *const json_yaml[] = {"application/json", "application/yaml", NULL};
static const char *const all_media[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
                                        NULL};
static const char *const list_media[] = {"application/json",
                                         "application/yaml",
                                         "application/vnd.kubernetes.protobuf",
                                         "application/json;stream=watch",
                                         "application/vnd.kubernetes.protobuf;stream=watch",
                                         NULL};
static const char *const log_media[] = {"text/plain", "application/json", "application/yaml",
                                        "application/vnd.kubernetes.protobuf", NULL};
static const char *const any_media[] = {"*/*", NULL};
static const char *const patch_media[] = {"application/json-patch+json", "application/merge-patch+json",
                                          "application/apply-patch+yaml", "application/strategic-merge-patch+json",
                                          NULL};
static const char *const custom_patch_media[] = {"application/json-patch+json", "application/merge-patch+json",
                                                 "application/apply-patch+yaml", NULL};

static const char *const *media_answered(const struct path *p, const struct operation *o)
{
    if (o->answer == ANSWER_TEXT)
        return p->form == SUBRESOURCE_LOG ? log_media : any_media;
    if (p->d->custom)
        return json_yaml;
    return o->answer == ANSWER_LIST || o->answer == ANSWER_EVENTS ? list_media : all_media;
}

static const char *const *media_taken(const struct path *p, const struct operation *o)
{
    if (o->verb == VERB_PATCH && o->body)
        return p->d->custom ? custom_patch_media : patch_media;
    return p->d->custom ? json_yaml : any_media;
}

static void add_media(struct strbuf *b, const char *key, const char *const *media)
{
    strbuf_addf(b, "\"%s\":[", key);
    for (size_t i = 0; media[i]; i++)
        strbuf_addf(b, "%s\"%s\"", i ? "," : "", media[i]);
    strbuf_addc(b, ']');
}

/* "schema":{...}; NULL is text. */
static void add_schema_of(struct openapi_document *d, const struct type *t)
{
    strbuf_addz(d->b, "\"schema\":{");
    if (t)
        openapi_add_ref(d, t);
    else
        strbuf_addz(d->b, "\"type\":\"string\"");
    strbuf_addc(d->b, '}');
}

static void add_content(struct openapi_document *d, const struct type *t, const char *const *media)
{
    strbuf_addz(d->b, "\"content\":{");
    for (size_t i = 0; media[i]; i++) {
        strbuf_addf(d->b, "%s\"%s\":{", i ? "," : "", media[i]);
        add_schema_of(d, t);
        strbuf_addc(d->b, '}');
    }
    strbuf_addc(d->b, '}');
}

static const struct type *type_taken(const struct path *p, const struct operation *o)
{
    if (o->answer == ANSWER_TEXT)
        return NULL;
    if (o->verb == VERB_PATCH)
        return T(meta_v1_Patch);
    if (o->verb == VERB_DELETE || (o->verb == VERB_DELETECOLLECTION && !p->d->custom))
        return T(meta_v1_DeleteOptions);
    return o->body ? p->type : NULL;
}

static const struct type *type_answered(const struct path *p, const struct operation *o)
{
    switch (o->answer) {
    case ANSWER_OBJECT: return p->type;
    case ANSWER_LIST: return openapi_list_type(p->k);
    case ANSWER_DELETED: return kind_strategy(p->k)->returns_object ? p->type : T(meta_v1_Status);
    case ANSWER_STATUS: return T(meta_v1_Status);
    case ANSWER_EVENTS: return T(meta_v1_WatchEvent);
    case ANSWER_TEXT: return NULL;
    }
    return NULL;
}

static void add_response(struct path *p, const struct operation *o, int code, const char *word)
{
    struct openapi_document *d = p->d;
    const struct type *t = type_answered(p, o);
    strbuf_addf(d->b, "%s\"%d\":{\"description\":\"%s\",", code == 200 ? "" : ",", code, word);
    if (d->two)
        add_schema_of(d, t);
    else
        add_content(d, t, media_answered(p, o));
    strbuf_addc(d->b, '}');
}

/* What an operation has beside those of its path; `body` of 2.0 is one of them. */
static void add_own_parameters(struct path *p, const struct parameter_list *l, const struct parameter_list *at_path,
                               const struct type *body, bool required)
{
    struct strbuf *b = p->d->b;
    bool first = true;
    if (!body && l->n == at_path->n)
        return;
    strbuf_addz(b, ",\"parameters\":[");
    if (body) {
        strbuf_addf(b, "{\"in\":\"body\",\"name\":\"body\",%s", required ? "\"required\":true," : "");
        add_schema_of(p->d, body);
        strbuf_addc(b, '}');
        first = false;
    }
    add_parameters(p, l, at_path, &first);
    strbuf_addc(b, ']');
}

static void add_operation(struct path *p, const struct operation *o, const struct parameter_list *l,
                          const struct parameter_list *at_path)
{
    struct openapi_document *d = p->d;
    struct strbuf *b = d->b;
    const struct type *body = type_taken(p, o);
    bool required = o->body;
    strbuf_addf(b, "\"%s\":{\"description\":\"%s %s%s" STR_FMT "%s\",", o->method, o->doc, p->sub ? p->sub->name : "",
                p->sub ? " of a " : "", STR_ARG(p->k->kind), o->doc_end ? o->doc_end : "");
    add_tag(b, p->k->group, p->k->version);
    strbuf_addc(b, ',');
    add_operation_id(p, o);
    if (d->two) {
        strbuf_addz(b, ",\"schemes\":[\"https\"],");
        add_media(b, "consumes", media_taken(p, o));
        strbuf_addc(b, ',');
        add_media(b, "produces", media_answered(p, o));
    }
    add_own_parameters(p, l, at_path, d->two ? body : NULL, required);
    if (!d->two && body) {
        strbuf_addz(b, ",\"requestBody\":{");
        add_content(d, body, media_taken(p, o));
        strbuf_addz(b, required ? ",\"required\":true}" : "}");
    }
    strbuf_addz(b, ",\"responses\":{");
    add_response(p, o, 200, "OK");
    if (o->created && !(d->custom && o->verb == VERB_PATCH))
        add_response(p, o, 201, "Created");
    if (o->accepted)
        add_response(p, o, 202, "Accepted");
    strbuf_addf(b,
                ",\"401\":{\"description\":\"Unauthorized\"}},\"x-kubernetes-action\":\"%s\","
                "\"x-kubernetes-group-version-kind\":",
                o->action);
    openapi_add_gvk(b, p->group, p->version, p->kind);
    strbuf_addc(b, '}');
}

/* --- paths --- */

static bool operation_fits(const struct path *p, const struct operation *o)
{
    unsigned verbs = p->sub ? p->sub->verbs : p->k->verbs;
    return o->forms >> p->form & 1 && verbs & o->verb;
}

static void add_path_name(const struct path *p)
{
    struct strbuf *b = p->d->b;
    bool watch = p->form == WATCH_ALL || p->form == WATCH_COLLECTION || p->form == WATCH_OBJECT;
    bool all = p->form == ALL_NAMESPACES || p->form == WATCH_ALL;
    bool named = p->form == OBJECT || p->form == WATCH_OBJECT || p->form >= SUBRESOURCE;
    strbuf_addf(b, "\"/%s" STR_FMT "/%s%s" STR_FMT "%s%s%s%s\":{", p->k->group.n ? "apis/" : "api/",
                STR_ARG(p->k->api_version), watch ? "watch/" : "",
                p->k->namespaced && !all ? "namespaces/{namespace}/" : "", STR_ARG(p->k->plural),
                named ? "/{name}" : "", p->sub ? "/" : "", p->sub ? p->sub->name : "",
                p->form == SUBRESOURCE_BELOW ? "/{path}" : "");
}

static void add_path(struct path *p, bool *first_path)
{
    struct parameter_list lists[countof(operations)], common = {.n = 0};
    const struct operation *fitting[countof(operations)];
    char name_doc[100];
    size_t n = 0;
    for (size_t i = 0; i < countof(operations); i++)
        if (operation_fits(p, &operations[i])) {
            take_parameters(p, &operations[i], &lists[n], name_doc);
            fitting[n++] = &operations[i];
        }
    if (!n)
        return;
    for (size_t i = 0; i < lists[0].n; i++) {
        bool everywhere = true;
        for (size_t k = 1; k < n; k++)
            everywhere = everywhere && list_has(&lists[k], &lists[0].p[i]);
        if (everywhere)
            common.p[common.n++] = lists[0].p[i];
    }
    struct strbuf *b = p->d->b;
    bool first = true;
    strbuf_addz(b, *first_path ? "" : ",");
    *first_path = false;
    add_path_name(p);
    for (size_t i = 0; i < n; i++) {
        add_operation(p, fitting[i], &lists[i], &common);
        strbuf_addc(b, ',');
    }
    strbuf_addz(b, "\"parameters\":[");
    add_parameters(p, &common, NULL, &first);
    strbuf_addz(b, "]}");
}

/* What is sent to a subresource and comes back. */
static void take_subresource(struct path *p, const struct subresource *sub)
{
    p->sub = sub;
    p->form = strcmp(sub->name, "log") == 0 ? SUBRESOURCE_LOG : SUBRESOURCE;
    if (!sub->kind)
        return;
    p->kind = sub->kind;
    if (sub->version)
        p->group = str_of(sub->group), p->version = str_of(sub->version);
    struct strbuf gv = STRBUF(1000);
    strbuf_addf(&gv, STR_FMT "%s" STR_FMT, STR_ARG(p->group), p->group.n ? "/" : "", STR_ARG(p->version));
    p->type = root_type_find(strbuf_str(&gv), str_of(sub->kind));
    strbuf_fini(&gv);
    struct str suffix = S("Options"), kind = str_of(sub->kind);
    if (kind.n > suffix.n && str_eq(str_sub(kind, kind.n - suffix.n, kind.n), suffix))
        p->form = SUBRESOURCE_CONNECT;
    else if (p->type)
        openapi_need(p->d, p->type);
}

void openapi_add_kind(struct openapi_document *d, const struct kind *k, bool *first)
{
    static const enum path_form forms[] = {ALL_NAMESPACES, COLLECTION,       OBJECT,
                                           WATCH_ALL,      WATCH_COLLECTION, WATCH_OBJECT};
    openapi_need(d, openapi_type(k));
    if (openapi_list_type(k))
        openapi_need(d, openapi_list_type(k));
    if (k->verbs & VERB_PATCH)
        openapi_need(d, T(meta_v1_Patch));
    d->custom = k->live != NULL;
    const struct path self = {
        .d = d, .k = k, .group = k->group, .version = k->version, .kind = k->kind.p, .type = openapi_type(k)};
    for (size_t i = 0; i < countof(forms); i++) {
        struct path p = self;
        p.form = forms[i];
        if ((p.form == ALL_NAMESPACES || p.form == WATCH_ALL) && !k->namespaced)
            continue;
        if (d->custom && p.form >= WATCH_ALL)
            continue;
        add_path(&p, first);
    }
    for (size_t i = 0; i < k->nsubs; i++) {
        struct path p = self;
        take_subresource(&p, &k->subs[i]);
        add_path(&p, first);
        if (p.form == SUBRESOURCE_CONNECT && strcmp(p.sub->name, "proxy") == 0) {
            p.form = SUBRESOURCE_BELOW;
            add_path(&p, first);
        }
    }
}

/* A page that only says something, outside of resources. */
static void add_page(struct openapi_document *d, struct str path, const char *doc, struct str group,
                     struct str version, struct str id, const struct type *t, bool *first)
{
    struct strbuf *b = d->b;
    const char *const *media = str_eqz(path, "version") ? (const char *const[]){"application/json", NULL} : all_media;
    openapi_need(d, t);
    strbuf_addf(b, "%s\"/" STR_FMT "/\":{\"get\":{", *first ? "" : ",", STR_ARG(path));
    *first = false;
    openapi_add_text(b, "description", doc);
    strbuf_addc(b, ',');
    add_tag(b, group, version);
    strbuf_addf(b, ",\"operationId\":\"" STR_FMT "\"", STR_ARG(id));
    if (d->two) {
        strbuf_addz(b, ",\"schemes\":[\"https\"],");
        add_media(b, "consumes", media);
        strbuf_addc(b, ',');
        add_media(b, "produces", media);
    }
    strbuf_addz(b, ",\"responses\":{\"200\":{\"description\":\"OK\",");
    if (d->two)
        add_schema_of(d, t);
    else
        add_content(d, t, media);
    strbuf_addz(b, "},\"401\":{\"description\":\"Unauthorized\"}}}}");
}

void openapi_add_version(struct openapi_document *d, const struct group_version *gv, bool *first)
{
    AUTO(strbuf_fini) struct strbuf id = STRBUF(STRBUF_TEXT), path = STRBUF(STRBUF_TEXT);
    strbuf_addz(&id, "get");
    add_camel(&id, group_word(gv->group), true);
    add_camel(&id, gv->version, true);
    strbuf_addz(&id, "APIResources");
    strbuf_addf(&path, "%s/" STR_FMT, gv->group.n ? "apis" : "api", STR_ARG(gv->api_version));
    add_page(d, strbuf_str(&path), "lists the resources of the version", gv->group, gv->version, strbuf_str(&id),
             T(meta_v1_APIResourceList), first);
}

void openapi_add_plain(struct openapi_document *d, struct str path, const struct type *t, bool *first)
{
    struct str root, group;
    if (str_eqz(path, "api")) {
        add_page(d, path, "lists the versions of the core group", S(""), S(""), S("getCoreAPIVersions"), t, first);
    } else if (str_eqz(path, "apis")) {
        add_page(d, path, "lists the groups", path, S(""), S("getAPIVersions"), t, first);
    } else if (str_eqz(path, "version")) {
        add_page(d, path, "tells which version the server is", path, S(""), S("getCodeVersion"), t, first);
    } else if (str_split(path, '/', &root, &group)) {
        AUTO(strbuf_fini) struct strbuf id = STRBUF(STRBUF_TEXT);
        strbuf_addz(&id, "get");
        add_camel(&id, group_word(group), true);
        strbuf_addz(&id, "APIGroup");
        add_page(d, path, "tells the versions of the group", group, S(""), strbuf_str(&id), t, first);
    }
}
