/* why.c - `wherry why`: what blocks an object, in a sentence. The deciding is control/why.h's, which reads a view as
 * controllers do; here the view is filled with the rights of whoever asks, and what came of it is printed.
 *
 * What is read: the kinds that every answer may need (why_reads), of one namespace or all; pods of all namespaces
 * where one waits for a node, because what nodes have left is counted over all; Secrets only where a container waits
 * and may be waiting for one. The last line of a container's log is asked for when an answer wants it.
 *
 * What may not be read is remembered and told at the end: the answer is then what the rest says. Any other failure
 * ends the command.
 *
 * Without an object every object of the view is asked, and one sentence is printed for each that is not as declared
 * and is not already explained by another's (why_stands_alone).
 *
 * Costs: a list of each of these kinds, fetched as a whole; so this is for people and not for a loop.
 */
#include "control/why.h"
#include "api/custom.h"
#include "base/clock.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "control/manager.h"
#include "control/pods.h"
#include "sys/zoneinfo.h"

#define MAX_KINDS KIND_IDS
struct why_asking {
    struct connect_options to;
    bool all;
    struct str output;
    struct words files;
    struct str manager, to_where, to_ns;
    struct client *client;
    struct view view;
    const struct kind_set *own_kinds;     /* with those of definitions; NULL: only the built-in ones */
    ARRAY(const struct kind *) defined;   /* counted */
    const struct objset *sets[MAX_KINDS]; /* those that could be read */
    struct objset *own[MAX_KINDS];
    struct str figures_node, figures; /* what a node's /metrics/cadvisor says */
    struct words unread;              /* "secrets": lists and logs that were refused */
    struct val items;                 /* -o json */
    struct zoneinfo *zones;
    bool json;
    bool wide; /* what is asked about rests on kinds of definitions */
};

#define AT(field) offsetof(struct why_asking, field)
static const struct arg_row rows[] = {
    {'A', "all-namespaces", ARG_FLAG, AT(all), NULL, "everything that is not as declared, in all namespaces"},
    {'f', "filename", ARG_TEXTS, AT(files), "FILE",
     "why what is in it cannot be applied on the server: a file, a folder or - (stdin)"},
    {0, "to", ARG_TEXT, AT(to_where), "WHERE",
     "whether network policies let a pod connect there: pod/NAME:PORT, svc/NAME:PORT or IP:PORT; /UDP behind it, if "
     "so"},
    {0, "to-namespace", ARG_TEXT, AT(to_ns), "NAMESPACE", "where that pod or Service is (that of the object)"},
    {0, "field-manager", ARG_TEXT, AT(manager), "NAME", "with -f: who applies it (kubectl)"},
    {'o', "output", ARG_TEXT, AT(output), "FORM", "json: sentence, cause, way out and chain, for programs"},
};
static const struct arg_spec spec = {
    .verb = "why",
    .usage = "[KIND/NAME ... | KIND NAME | -f FILE] [-n NAMESPACE] [-A]",
    .summary = "Says in one sentence why an object is not as declared and what to do about it. Below it stands the\n"
               "chain from the object to the cause. Without an object: a sentence for everything that is not as\n"
               "declared. With -f: why a server-side apply of what is in a file is refused, which is tried without\n"
               "changing anything. Exit status: 0 as declared; 1 not, or it could not be found out; 2 bad usage.",
    .examples = "  wherry why deploy/web                 why it does not have all of its pods\n"
                "  wherry why svc/web -n shop            why nothing answers\n"
                "  wherry why                            what is wrong in this cluster\n"
                "  wherry why pod/web --to svc/db:5432   which network policy is in the way, and what to allow\n"
                "  wherry why -f web.yaml                why it cannot be applied, and who owns what is in the way\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

/* ---- reading ---- */

static void unread_add(struct why_asking *x, struct str what)
{
    for (size_t i = 0; i < x->unread.n; i++)
        if (str_eq(x->unread.p[i], what))
            return;
    struct str *grown = arena_alloc(&x->client->arena, (x->unread.n + 1) * sizeof *grown);
    if (x->unread.n > 0)
        memcpy(grown, x->unread.p, x->unread.n * sizeof *grown);
    grown[x->unread.n++] = str_dup(&x->client->arena, what);
    x->unread.p = grown;
}

static struct objset *set_of(struct why_asking *x, const struct kind *k)
{
    if (!x->own[k->id]) {
        x->own[k->id] = NEW(struct objset);
        objset_init(x->own[k->id], k, kind_indexes(k));
    }
    return x->own[k->id];
}

static void object_put(struct why_asking *x, struct obj *o)
{
    obj_unref(objset_put(set_of(x, o->kind), o));
}

/* Adds what there is of a kind to the view. What may not be read is remembered and is no error. */
static bool read_kind(struct why_asking *x, const struct kind *k, struct str ns, struct err *err)
{
    AUTO(call_fini) struct call call = {0};
    struct call_options o = CALL_OPTIONS(.verb = CALL_LIST, .kind = k, .ns = k->namespaced ? ns : S(""));
    struct err why = ERR;
    if (!call_run(&call, x->client->transport, &o, &why)) {
        if (why.kind == E_FORBIDDEN)
            return unread_add(x, x->sets[k->id] ? arena_fmt(&x->client->arena, STR_FMT " of other namespaces",
                                                            STR_ARG(k->plural))
                                                : k->plural),
                   true;
        *err = why;
        return call.http ? false : client_unreachable(x->client, err);
    }
    struct objset *set = set_of(x, k);
    for (size_t i = 0; i < call.n; i++)
        obj_unref(objset_put(set, call.items[i]));
    x->sets[k->id] = set;
    return true;
}

static bool any_pod(struct why_asking *x, bool (*is)(const struct obj *pod))
{
    struct obj *pod;
    for (struct objset_iter it = view_all(&x->view, K(Pod)); (pod = objset_next(&it));)
        if (is(pod))
            return true;
    return false;
}

static bool is_unscheduled(const struct obj *pod)
{
    return pod_node(pod).n == 0 && pod_is_active(pod);
}

/* Its containers wait, and a Secret may be what they wait for. */
static bool wants_secrets(const struct obj *pod)
{
    if (pod_is_ready(pod) || !pod_is_active(pod))
        return false;
    const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (s, val_get(obj_status(pod), lists[i])) {
            struct str reason = val_text_at(s, N(state), N(waiting), N(reason)),
                       message = val_text_at(s, N(state), N(waiting), N(message));
            if ((str_eqz(reason, "ImagePullBackOff") || str_eqz(reason, "ErrImagePull")) &&
                val_len(val_get(obj_spec(pod), N(imagePullSecrets))) > 0)
                return true;
            if (str_eqz(reason, "CreateContainerConfigError") &&
                (str_has(message, S("secret")) || str_has(message, S("Secret"))))
                return true;
        }
    return false;
}

/* An Ingress rests on certificates, and on users. */
static bool any_ingress(const struct why_asking *x)
{
    return x->sets[K(Ingress)->id] && objset_len(x->sets[K(Ingress)->id]) > 0;
}

static bool has_read(const struct why_asking *x, const struct kind *k)
{
    return x->sets[k->id] != NULL;
}

static const struct zone *zone_named(void *arg, struct str name, struct err *err)
{
    return zoneinfo_get(arg, name, err);
}

static const struct kind *definition_read(struct why_asking *x, struct str name, struct str version, struct err *err);

/* Of the definitions that answers read. Those that are not there, or may not be read, make answers poorer. */
static bool read_defined(struct why_asking *x, struct str ns, struct err *err)
{
    for (size_t i = 0; why_defined[i]; i++) {
        struct err why = ERR;
        const struct kind *k = definition_read(x, str_of(why_defined[i]), S(""), &why);
        if (!k && why.kind != E_NOT_FOUND && why.kind != E_FORBIDDEN && why.kind != E_NONE) {
            *err = why;
            return false;
        }
        if (k && !has_read(x, k) && !read_kind(x, k, ns, err))
            return false;
    }
    x->view.kinds = x->own_kinds;
    return true;
}

/* ns "": of all namespaces. every: of all kinds. */
static bool read_view(struct why_asking *x, struct str ns, bool every, struct err *err)
{
    x->view = (struct view){
        .sets = x->sets, .kinds = x->own_kinds, .now = clock_real(), .zone = zone_named, .zone_arg = x->zones};
    for (size_t i = 0; why_reads[i]; i++)
        if (!read_kind(x, why_reads[i], ns, err))
            return false;
    if ((x->wide || x->own_kinds) && !read_defined(x, S(""), err))
        return false;
    for (size_t i = 0; every && i < nkinds; i++)
        if (kind_is_watched(kinds[i]) && !has_read(x, kinds[i]) && kinds[i] != K(Secret) &&
            !read_kind(x, kinds[i], ns, err))
            return false;
    /* what nodes have left is counted over the pods of all namespaces */
    if (ns.n > 0 && any_pod(x, is_unscheduled) && !read_kind(x, K(Pod), S(""), err))
        return false;
    /* who shares its hosts may be in any namespace */
    if (ns.n > 0 && any_ingress(x) && !read_kind(x, K(Ingress), S(""), err))
        return false;
    /* where they answer is where the front door's own Service does */
    if (ns.n > 0 && any_ingress(x) && !read_kind(x, K(Service), S("kube-system"), err))
        return false;
    return (!any_pod(x, wants_secrets) && !any_ingress(x)) || read_kind(x, K(Secret), ns, err);
}

static struct str last_line(void *arg, const struct obj *pod, struct str container, bool previous)
{
    struct why_asking *x = arg;
    struct client *c = x->client;
    struct str text, path = arena_fmt(&c->arena, "/api/v1/namespaces/" STR_FMT "/pods/" STR_FMT "/log",
                                      STR_ARG(pod->ns), STR_ARG(pod->name));
    struct str query = arena_fmt(&c->arena, "container=" STR_FMT "&tailLines=1%s", STR_ARG(container),
                                 previous ? "&previous=true" : "");
    struct err err = ERR;
    if (client_ask_text(c, &(struct ask){.path = path, .query = query}, &text, &err))
        return text;
    if (err.kind == E_FORBIDDEN)
        unread_add(x, S("pods/log"));
    return S("");
}

/* A few are enough: what is wrong with a webhook is wrong for all. */
static struct str versions_shown(void *arg, const struct obj *definition, struct str version)
{
    struct why_asking *x = arg;
    struct client *c = x->client;
    struct str text, path = arena_fmt(&c->arena, "/apis/" STR_FMT "/" STR_FMT "/" STR_FMT,
                                      STR_ARG(val_text_at(obj_spec(definition), N(group))), STR_ARG(version),
                                      STR_ARG(val_text_at(obj_spec(definition), N(names), N(plural))));
    struct err err = ERR;
    if (client_ask_text(c, &(struct ask){.path = path, .query = S("limit=10")}, &text, &err))
        return S("");
    ptrdiff_t at = str_find(str_of(err.text), S("conversion webhook for "));
    return at < 0 ? S("") : str_dup(&c->arena, str_of(err.text + at));
}

/* ---- what the node counted ---- */

/* The figures of its node, asked for once. */
static struct str figures_of(struct why_asking *x, const struct obj *pod)
{
    struct arena *a = &x->client->arena;
    struct str node = val_text_at(obj_spec(pod), N(nodeName)), text = STR_NONE;
    struct err err = ERR; /* an older node, or nobody may ask: nothing is said of it then */
    if (x->figures_node.n && str_eq(x->figures_node, node))
        return x->figures;
    struct str path = arena_fmt(a, "/api/v1/nodes/" STR_FMT "/proxy/metrics/cadvisor", STR_ARG(node));
    x->figures = client_ask_text(x->client, &(struct ask){.path = path}, &text, &err) ? text : S("");
    x->figures_node = str_dup(a, node);
    return x->figures;
}

/* "NAME{...,container="C",...,namespace="NS",...,pod="P"} VALUE TIME" */
static bool sample_read(struct str line, struct str family, const struct obj *pod, struct str container, int64_t *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct str wanted[] = {
        arena_fmt(&a, "container=\"" STR_FMT "\"", STR_ARG(container)),
        arena_fmt(&a, "namespace=\"" STR_FMT "\"", STR_ARG(pod->ns)),
        arena_fmt(&a, "pod=\"" STR_FMT "\"", STR_ARG(pod->name)),
    };
    if (!str_starts(line, family) || line.n == family.n || line.p[family.n] != '{')
        return false;
    for (size_t i = 0; i < countof(wanted); i++)
        if (!str_has(line, wanted[i]))
            return false;
    ptrdiff_t end = str_rfind_char(line, '}');
    struct str value = str_trim(str_sub(line, end < 0 ? line.n : (size_t)end + 1, line.n)), number;
    return str_cut(&value, ' ', &number) && str_to_i64(number, 0, INT64_MAX, out);
}

static int throttled_percent(void *arg, const struct obj *pod, struct str container)
{
    struct str rest = figures_of(arg, pod), line;
    int64_t all = 0, held = 0;
    while (rest.n && str_cut(&rest, '\n', &line)) {
        (void)(sample_read(line, S("container_cpu_cfs_periods_total"), pod, container, &all) ||
               sample_read(line, S("container_cpu_cfs_throttled_periods_total"), pod, container, &held));
    }
    return all > 0 ? (int)(held * 100 / all) : -1;
}

/* ---- saying ---- */

/* What an answer is about. */
struct subject {
    struct str kind, ns, name;
};

static void json_add(struct why_asking *x, const struct subject *s, const struct why *w)
{
    static const char *const states[] = {
        [WHY_FINE] = "AsDeclared", [WHY_COMING] = "OnItsWay", [WHY_BLOCKED] = "Blocked"};
    struct arena *a = &x->client->arena;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    why_text(w, &text);
    struct val v = val_map(), list = val_list();
    val_set_text(a, &v, N(kind), s->kind);
    if (s->ns.n > 0)
        val_set_text(a, &v, N(namespace), s->ns);
    val_set_text(a, &v, N(name), s->name);
    val_set_str(a, &v, S("state"), val_str(a, str_of(states[w->found.state])));
    val_set_str(a, &v, S("cause"), val_str(a, str_of(w->found.cause)));
    val_set_str(a, &v, S("sentence"), val_str(a, strbuf_str(&text)));
    val_set_str(a, &v, S("way"), val_str(a, w->found.way));
    array_each (it, &w->found.chain)
        val_add(a, &list, val_str(a, *it));
    val_set_str(a, &v, S("chain"), list);
    val_add(a, &x->items, v);
}

static void answer_say(struct why_asking *x, const struct subject *s, const struct why *w, bool whole)
{
    if (x->json) {
        json_add(x, s, w);
        return;
    }
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (!whole && s->ns.n > 0)
        strbuf_addf(&text, STR_FMT ": ", STR_ARG(s->ns));
    why_text(w, &text);
    strbuf_addc(&text, '\n');
    array_each (it, &w->found.chain)
        if (whole)
            strbuf_addf(&text, "  " STR_FMT "\n", STR_ARG(*it));
    output_show(stdout, "%s", text.p);
}

static bool ask_one(struct why_asking *x, const struct obj *o, bool whole)
{
    AUTO(why_fini) struct why w = {0};
    struct why_ask q = {.view = &x->view, .last_line = last_line, .shown = versions_shown, .arg = x};
    if (whole) /* of one object: of a whole cluster its nodes would have to count for all of its pods */
        q.throttled = throttled_percent;
    why_object(&q, o, &w);
    bool fine = w.found.state == WHY_FINE;
    if (whole || !fine)
        answer_say(x, &(struct subject){o->kind->kind, o->ns, o->name}, &w, whole);
    return fine;
}

static void answer_end(struct why_asking *x, bool fine)
{
    struct arena *a = &x->client->arena;
    if (x->json) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(256u << 20);
        struct val v = val_map(), list = val_list();
        for (size_t i = 0; i < x->unread.n; i++)
            val_add(a, &list, val_str(a, x->unread.p[i]));
        val_set_str(a, &v, S("items"), x->items);
        val_set_str(a, &v, S("unread"), list);
        json_pretty(&b, &v);
        fputs(b.p, stdout);
        return;
    }
    if (fine)
        output_show(stdout, "Everything is as declared.\n");
    if (x->unread.n == 0)
        return;
    output_show(stderr, "You may not read");
    for (size_t i = 0; i < x->unread.n; i++)
        output_show(stderr, "%s" STR_FMT, i ? ", " : " ", STR_ARG(x->unread.p[i]));
    output_show(stderr, ": what they would tell is missing here.\n");
}

/* ---- what is asked ---- */

/* A budget that just forbids evictions is as declared, and so is a node that somebody cordoned. */
static bool is_worth_telling(const struct obj *o)
{
    if (o->kind == K(PodDisruptionBudget))
        return val_num_at(obj_status(o), 0, N(currentHealthy)) < val_num_at(obj_status(o), 0, N(desiredHealthy)) ||
               val_num_at(obj_status(o), 0, N(expectedPods)) == 0;
    return why_knows(o->kind) || obj_deleting(o);
}

static int ask_all(struct why_asking *x)
{
    struct client *c = x->client;
    struct err err = ERR;
    bool fine = true;
    x->wide = true;
    if (!read_view(x, c->ns_given && !x->all ? c->ns : S(""), true, &err))
        return client_failed(c, &err);
    const struct kind_set *kinds_all = view_kinds(&x->view);
    for (size_t i = 0; i < kinds_all->n; i++) {
        struct obj *o;
        for (struct objset_iter it = view_all(&x->view, kinds_all->kinds[i]); (o = objset_next(&it));) {
            bool asked = !c->ns_given || x->all || str_eq(o->ns, c->ns) || o->kind == K(Node);
            if (asked && is_worth_telling(o) && why_stands_alone(&x->view, o))
                fine &= ask_one(x, o, false);
        }
    }
    answer_end(x, fine);
    return fine ? 0 : 1;
}

static const struct kind *kind_of(const struct resource *r)
{
    return kind_find_plural(r->group, r->version, r->plural);
}

/* Reads the object itself (a kind that the view does not hold), and its name for an error. */
static struct obj *read_object(struct why_asking *x, const struct kind *k, struct str ns, struct str name,
                               struct err *err)
{
    AUTO(call_fini) struct call call = {0};
    struct call_options o = CALL_OPTIONS(.verb = CALL_GET, .kind = k, .ns = ns, .name = name);
    if (!call_run(&call, x->client->transport, &o, err))
        return call.http ? NULL : (client_unreachable(x->client, err), NULL);
    return call_take_obj(&call);
}

/* The kinds of a definition, which stay until the end; known already: nothing happens. */
static void kinds_know(struct why_asking *x, const struct obj *definition)
{
    const struct kind *made[CUSTOM_VERSIONS];
    size_t n;
    struct err ignored = ERR; /* what cannot be served has no objects */
    array_each (it, &x->defined)
        if (str_eq((*it)->custom->definition, definition->name))
            return;
    if (!custom_kinds(definition, made, &n, &ignored))
        return;
    for (size_t i = 0; i < n; i++)
        array_push(&x->defined, made[i]);
    kind_set_unref(x->own_kinds);
    x->own_kinds = kind_set_new(x->defined.p, x->defined.n);
}

/* version "": the one by which all objects are watched. */
static const struct kind *definition_read(struct why_asking *x, struct str name, struct str version, struct err *err)
{
    AUTO(obj_unref) struct obj *definition = read_object(x, K(CustomResourceDefinition), S(""), name, err);
    if (!definition)
        return NULL;
    kinds_know(x, definition);
    array_each (it, &x->defined) {
        const struct custom *c = (*it)->custom;
        if (str_eq(c->definition, name) && !c->hidden && str_eq((*it)->version, version.n ? version : c->main))
            return *it;
    }
    return NULL;
}

static const struct kind *defined_kind(struct why_asking *x, const struct resource *r, struct err *err)
{
    struct str name = arena_fmt(&x->client->arena, STR_FMT "." STR_FMT, STR_ARG(r->plural), STR_ARG(r->group));
    return definition_read(x, name, r->version, err);
}

/* All definitions, since their names are held against each other, and of one that goes its objects. */
static bool read_definitions(struct why_asking *x, const struct obj *definition, struct err *err)
{
    if (!read_kind(x, K(CustomResourceDefinition), S(""), err))
        return false;
    if (!obj_deleting(definition))
        return true;
    kinds_know(x, definition);
    x->view.kinds = x->own_kinds;
    for (size_t i = nkinds; x->own_kinds && i < x->own_kinds->n; i++)
        if (kind_is_watched(x->own_kinds->kinds[i]) && !read_kind(x, x->own_kinds->kinds[i], S(""), err))
            return false;
    return true;
}

static bool ask_object(struct why_asking *x, struct obj *o, struct str ns, bool *fine, struct err *err)
{
    const struct kind *k = o->kind;
    x->wide |= k == K(Ingress);
    bool goes = k == K(Namespace) && obj_deleting(o);
    if (k == K(APIService)) /* what may be wrong with it stands where its Service is */
        ns = val_text_at(obj_spec(o), N(service), N(namespace));
    if (k == K(ValidatingWebhookConfiguration) || k == K(MutatingWebhookConfiguration))
        ns = S("");
    if (!read_view(x, goes ? o->name : ns, goes, err) ||
        (k == K(ValidatingAdmissionPolicy) && !read_kind(x, K(ValidatingAdmissionPolicyBinding), S(""), err)) ||
        (k == K(MutatingAdmissionPolicy) && !read_kind(x, K(MutatingAdmissionPolicyBinding), S(""), err)) ||
        (k == K(CustomResourceDefinition) && !read_definitions(x, o, err)))
        return false;
    if (!has_read(x, k))
        object_put(x, o);
    *fine &= ask_one(x, o, true);
    return true;
}

/* The APIService by which another server serves it; NULL: it is served here. */
static struct obj *other_server(struct why_asking *x, const struct resource *r)
{
    struct err ignored = ERR;
    struct str name = arena_fmt(&x->client->arena, STR_FMT "." STR_FMT, STR_ARG(r->version), STR_ARG(r->group));
    AUTO(obj_unref) struct obj *o = read_object(x, K(APIService), S(""), name, &ignored);
    return o && val_is(val_get(obj_spec(o), N(service)), VAL_MAP) ? TAKE(o) : NULL;
}

static bool ask_target(struct why_asking *x, const struct target *t, bool *fine, struct err *err)
{
    struct client *c = x->client;
    const struct kind *k = kind_of(t->resource);
    AUTO(obj_unref) struct obj *elsewhere = k ? NULL : other_server(x, t->resource);
    if (elsewhere)
        return ask_object(x, elsewhere, S(""), fine, err);
    if (!k)
        k = defined_kind(x, t->resource, err);
    if (!k)
        return err_set(err, E_INVALID, STR_FMT ": is no kind that Wherry acts on", STR_ARG(t->resource->plural));
    struct str ns = target_ns(c, t->resource);
    AUTO(obj_unref) struct obj *o = read_object(x, k, ns, t->name, err);
    if (!o)
        return false;
    return ask_object(x, o, ns, fine, err);
}

/* ---- from where to where ---- */

/* The pod itself, or one that runs of a workload's. */
static const struct obj *pod_of(struct why_asking *x, const struct obj *o)
{
    const struct obj *best = o->kind == K(Pod) ? o : NULL;
    struct obj *pod;
    for (struct objset_iter it = view_all(&x->view, K(Pod)); !best && (pod = objset_next(&it));) {
        const struct val *ref = obj_controller(pod);
        const struct obj *set = ref ? view_get(&x->view, K(ReplicaSet), pod->ns, val_text_at(ref, N(name))) : NULL;
        const struct val *up = set ? obj_controller(set) : NULL;
        if (pod_is_active(pod) &&
            (str_eq(val_text_at(ref, N(uid)), o->uid) || str_eq(val_text_at(up, N(uid)), o->uid)))
            best = pod;
    }
    return best;
}

/* "svc/web:80/TCP" */
static void where_read(struct str text, struct str *place, struct why_path *p)
{
    ptrdiff_t colon = str_rfind_char(text, ':');
    struct str rest = colon < 0 ? S("") : str_sub(text, (size_t)colon + 1, text.n);
    *place = colon < 0 ? text : str_sub(text, 0, (size_t)colon);
    if (!str_split(rest, '/', &p->port, &p->proto))
        p->port = rest;
}

static bool where_find(struct why_asking *x, struct str place, struct str ns, struct why_path *p, struct err *err)
{
    struct client *c = x->client;
    struct targets to;
    if (str_find_char(place, '/') < 0) {
        p->address = place;
        return true;
    }
    if (!targets_read(c, (struct words){&place, 1}, &to, err))
        return false;
    const struct kind *k = to.n == 1 ? kind_of(to.p[0].resource) : NULL;
    if (k != K(Pod) && k != K(Service))
        return err_set(err, E_INVALID, "--to takes pod/NAME:PORT, svc/NAME:PORT or IP:PORT");
    p->to = view_get(&x->view, k, ns, to.p[0].name);
    return p->to || err_set(err, E_NOT_FOUND, STR_FMT " \"" STR_FMT "\" not found in namespace " STR_FMT,
                            STR_ARG(k->plural), STR_ARG(to.p[0].name), STR_ARG(ns));
}

static bool ask_path(struct why_asking *x, const struct target *t, bool *fine, struct err *err)
{
    struct client *c = x->client;
    const struct kind *k = kind_of(t->resource);
    struct why_path p = {.port = S(""), .proto = S("")};
    struct str place, ns = target_ns(c, t->resource);
    if (!k)
        return err_set(err, E_INVALID, "--to asks about a pod, or a workload with pods");
    AUTO(obj_unref) struct obj *o = read_object(x, k, ns, t->name, err);
    if (!o || !read_view(x, S(""), false, err))
        return false;
    p.from = pod_of(x, o);
    if (!p.from)
        return err_set(err, E_NOT_FOUND, STR_FMT " " STR_FMT " has no pod from which to ask", STR_ARG(k->singular),
                       STR_ARG(o->name));
    where_read(x->to_where, &place, &p);
    if (!where_find(x, place, x->to_ns.n ? x->to_ns : ns, &p, err))
        return false;
    AUTO(why_fini) struct why w = {0};
    struct why_ask q = {.view = &x->view, .last_line = last_line, .shown = versions_shown, .arg = x};
    why_reach(&q, &p, &w);
    *fine &= w.found.state == WHY_FINE;
    answer_say(x, &(struct subject){p.from->kind->kind, p.from->ns, p.from->name}, &w, true);
    return true;
}

/* ---- what is refused ---- */

static bool document_ask(struct why_asking *x, struct document *d, bool *fine, struct err *err)
{
    struct client *c = x->client;
    struct arena *a = &c->arena;
    if (!document_place(c, d, false, err))
        return false;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    query_put(&query, "dryRun", S("All"));
    query_put(&query, "fieldManager", x->manager.n ? x->manager : S("kubectl"));
    struct str kind = val_text_at(&d->v, N(kind));
    struct str head = arena_fmt(a, STR_FMT " " STR_FMT " cannot be applied", STR_ARG(kind), STR_ARG(d->name));
    struct ask q = {.method = "PATCH",
                    .path = resource_path(a, d->resource, d->ns, d->name, S("")),
                    .query = strbuf_str(&query),
                    .content_type = S("application/apply-patch+yaml"),
                    .body = &d->v};
    AUTO(why_fini) struct why w = {.found = {.cause = ""}};
    if (client_ask(c, &q, NULL, err)) {
        w.head = arena_fmt(a, STR_FMT " " STR_FMT " can be applied", STR_ARG(kind), STR_ARG(d->name));
    } else if (err->kind == E_UNAVAILABLE || err->kind == E_TIMEOUT || err->kind == E_IO) {
        return false;
    } else {
        struct err ignored = ERR; /* what cannot be read makes the answer poorer */
        (void)read_view(x, S(""), false, &ignored);
        struct why_ask ask = {.view = &x->view, .last_line = last_line, .arg = x};
        why_refusal(&ask, head, str_of(err->text), &w);
        *fine = false;
    }
    answer_say(x, &(struct subject){kind, d->ns, d->name}, &w, true);
    return true;
}

static int why_files(struct why_asking *x)
{
    struct documents documents;
    struct err err = ERR;
    bool fine = true;
    if (!documents_read(x->client, x->files, false, &documents, &err))
        return client_failed(x->client, &err);
    for (size_t i = 0; i < documents.n; i++) {
        struct err why = ERR;
        if (!document_ask(x, &documents.p[i], &fine, &why))
            return client_failed(x->client, &why);
    }
    answer_end(x, false);
    return fine ? 0 : 1;
}

static int why_run(struct why_asking *x, struct words words)
{
    struct client *c = x->client;
    struct targets t;
    struct err err = ERR;
    bool fine = true;
    if (x->files.n)
        return why_files(x);
    if (words.n == 0)
        return ask_all(x);
    if (!targets_read(c, words, &t, &err))
        return client_failed(c, &err);
    for (size_t i = 0; i < t.n; i++)
        if (!t.p[i].name.n) {
            output_show(stderr, "wherry why: name the object, e.g. " STR_FMT "/NAME, or nothing for all of them\n",
                        STR_ARG(t.p[i].resource->singular));
            return 2;
        }
    for (size_t i = 0; i < t.n; i++)
        if (!(x->to_where.n ? ask_path : ask_target)(x, &t.p[i], &fine, &err))
            return client_failed(c, &err);
    answer_end(x, false);
    return fine ? 0 : 1;
}

int why_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "why"};
    struct why_asking x = {.client = &c, .items = val_list()};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    x.json = str_eqz(x.output, "json");
    if (x.to_where.n && !words.n) {
        output_show(stderr, "wherry why: --to asks about a pod; name it: wherry why pod/NAME --to svc/NAME:PORT\n");
        return 2;
    }
    size_t ways = (x.all ? 1 : 0) + (words.n > 0 ? 1 : 0) + (x.files.n > 0 ? 1 : 0);
    if ((x.output.n > 0 && !x.json) || ways > 1) {
        output_show(stderr, "wherry why: %s; wherry why --help shows more\n",
                    ways > 1 ? "name an object or a file (-f), or ask for all (-A), one of these"
                             : "-o: only json is there");
        return 2;
    }
    if (!client_open(&c, &x.to, &err))
        return client_failed(&c, &err);
    AUTO(zoneinfo_free) struct zoneinfo *zones = x.zones = zoneinfo_new(NULL);
    int status = why_run(&x, words);
    fflush(stdout);
    for (size_t i = 0; i < countof(x.own); i++)
        if (x.own[i]) {
            objset_fini(x.own[i]);
            mem_free(x.own[i]);
        }
    kind_set_unref(x.own_kinds);
    array_each (it, &x.defined)
        kind_unref(*it);
    array_fini(&x.defined);
    return status;
}
