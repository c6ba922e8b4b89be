/* The metrics of a spec: where each is asked for, what the answer says, and upstream's sentences where it says
 * nothing. Resources come from metrics.k8s.io, what stands on pods and other objects from custom.metrics.k8s.io, the
 * rest from external.metrics.k8s.io; the last two are there once an adapter has registered an APIService.
 *
 * Where several HorizontalPodAutoscalers of a namespace want resources, all its pods are asked for once, and each
 * finds its own among them by name. */
#include "api/codec.h"
#include "api/formats.h"
#include "api/quantity.h"
#include "api/strategy.h"
#include "control/hpa_int.h"
#include "control/pods.h"

#define WINDOW      (60 * NS_PER_S)            /* of a custom metric that names none */
#define WINDOW_MOST (7 * 24 * 3600 * NS_PER_S) /* longer ones mean nothing */

static void escape_add(struct strbuf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '.' ||
                     c == '_' || c == '~';
        if (plain)
            strbuf_addc(b, (char)c);
        else
            strbuf_addf(b, "%%%02X", c);
    }
}

static struct str text_escaped(struct arena *a, struct str s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    escape_add(&b, s);
    return str_dup(a, strbuf_str(&b));
}

static void query_add(struct strbuf *b, const char *key, struct str value)
{
    if (!value.n)
        return;
    strbuf_addf(b, "%c%s=", str_find_char(strbuf_str(b), '?') < 0 ? '?' : '&', key);
    escape_add(b, value);
}

struct str hpa_selector_text(struct arena *a, const struct val *selector)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t n = 0;
    if (!val_is(selector, VAL_MAP))
        return S("nil");
    strbuf_addz(&b, "&LabelSelector{MatchLabels:map[string]string{");
    const struct member **labels = val_members_sorted(a, val_get(selector, N(matchLabels)), &n);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&b, STR_FMT ": " STR_FMT ",", STR_ARG(labels[i]->name->s), STR_ARG(val_text(&labels[i]->v)));
    strbuf_addz(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
    val_each_item (it, val_get(selector, N(matchExpressions))) {
        strbuf_addf(&b, "LabelSelectorRequirement{Key:" STR_FMT ",Operator:" STR_FMT ",Values:[",
                    STR_ARG(val_text_at(it, N(key))), STR_ARG(val_text_at(it, N(operator))));
        val_each_item (v, val_get(it, N(values)))
            strbuf_addf(&b, "%s" STR_FMT, v == val_get(it, N(values))->list ? "" : " ", STR_ARG(val_text(v)));
        strbuf_addz(&b, "],},");
    }
    strbuf_addz(&b, "},}");
    return str_dup(a, strbuf_str(&b));
}

/* --- a metric being found --- */

struct found_how {
    const struct hpa_look *l;
    const struct val *metric, *source, *target; /* its type's member, and the target in it */
    struct str type;
    struct hpa_found *f;
    struct str what;  /* of the question, as client-go names it: "pods.metrics.k8s.io" */
    const char *api;  /* "resource metrics API" */
    struct str cause; /* why nothing is found */
};

static bool cause_set(struct found_how *h, const char *fmt, ...) PRINTF(2, 3);
static bool cause_set(struct found_how *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    h->cause = arena_vfmt(h->l->a, fmt, args);
    va_end(args);
    return false;
}

/* What client-go makes of an answer that is none. */
static bool reply_refused(struct found_how *h, const struct plan_reply *r)
{
    static const struct {
        int http;
        const char *says;
    } rows[] = {
        {401, "the server has asked for the client to provide credentials"},
        {403, "forbidden"},
        {404, "the server could not find the requested resource"},
        {405, "the server does not allow this method on the requested resource"},
        {429, "the server has received too many requests and has asked us to try again later"},
        {503, "the server is currently unable to handle the request"},
        {504, "the server was unable to return a response in the time allotted, but may still be processing the "
              "request"},
    };
    struct str message = val_text_at(&r->body, N(message));
    if (message.n)
        return cause_set(h, "unable to fetch metrics from %s: " STR_FMT, h->api, STR_ARG(message));
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].http == r->http)
            return cause_set(h, "unable to fetch metrics from %s: %s (get " STR_FMT ")", h->api, rows[i].says,
                             STR_ARG(h->what));
    return cause_set(h, "unable to fetch metrics from %s: " STR_FMT, h->api,
                     STR_ARG(r->text.n ? r->text : S("the answer is no JSON")));
}

/* The answer to the path; NULL: there is none, or it is none. f->asked tells which. */
static const struct val *reply_body(struct found_how *h, struct str path)
{
    const struct plan_reply *r = view_reply(h->l->v, path, h->l->since);
    h->f->path = path;
    h->f->asked = r;
    if (!r || (r->http >= 200 && r->http < 300 && val_is(&r->body, VAL_MAP)))
        return r ? &r->body : NULL;
    (void)reply_refused(h, r);
    return NULL;
}

static bool items_some(struct found_how *h, size_t n)
{
    return n > 0 || cause_set(h, "no metrics returned from %s", h->api);
}

/* Adds the quantity that an answer has there. What is none is no zero: nothing may be scaled down for it. */
static bool value_add(struct found_how *h, const struct val *v, int64_t *sum)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str text = val_text(v);
    struct err err = ERR;
    if (!v || v->type == VAL_NULL) /* zero, in upstream's types, too */
        return true;
    if (v->type != VAL_STRING) { /* a number may stand for one */
        json_encode(&b, v);
        text = strbuf_str(&b);
    }
    if (!quantity_canonical(h->l->a, text, &text, &err))
        return cause_set(h, "unable to fetch metrics from %s: it answered with a value that is no quantity: %s",
                         h->api, err.text);
    *sum = hpa_milli_add(*sum, quantity_milli(text));
    return true;
}

/* The list in an answer. An absent one is empty; what is none, or holds something else than objects, is no answer. */
static bool items_of(struct found_how *h, const struct val *body, const struct val **out)
{
    const struct val *items = val_get(body, N(items));
    *out = val_is(items, VAL_LIST) ? items : NULL;
    bool good = !items || items->type == VAL_NULL || val_is(items, VAL_LIST);
    val_each_item (it, items)
        good = good && val_is(it, VAL_MAP);
    return good || cause_set(h, "unable to fetch metrics from %s: its items are no list of objects", h->api);
}

/* --- resources --- */

static bool spec_wants_resources(const struct obj *hpa)
{
    bool wants = false;
    val_each_item (it, val_get(obj_spec(hpa), N(metrics)))
        wants |= val_get(it, N(resource)) || val_get(it, N(containerResource));
    return wants;
}

static struct str resource_path(const struct hpa_look *l)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t n = 0;
    struct obj *o;
    strbuf_addf(&b, "/apis/metrics.k8s.io/v1beta1/namespaces/" STR_FMT "/pods", STR_ARG(l->hpa->ns));
    for (struct objset_iter it = view_with(l->v, K(HorizontalPodAutoscaler), &index_namespace, l->hpa->ns);
         (o = objset_next(&it));)
        n += spec_wants_resources(o);
    if (n < 2)
        query_add(&b, "labelSelector", l->selector);
    return str_dup(l->a, strbuf_str(&b));
}

static int64_t go_window(struct str text)
{
    int64_t ns = 0;
    struct err ignored = ERR; /* another server's word: one that cannot be read is none */
    return goduration_parse(text, &ns, &ignored) ? MAX(0, MIN(ns, WINDOW_MOST)) : 0;
}

/* What one pod uses; false: that is not told. */
static bool usage_read(struct found_how *h, const struct val *item, struct hpa_pod *p)
{
    struct str container = val_text_at(h->source, N(container)), resource = val_text_at(h->source, N(name));
    const struct val *containers = val_get(item, N(containers));
    bool found = false;
    p->known = val_len(containers) > 0;
    val_each_item (it, containers) {
        const struct val *used = val_get_str(val_get_str(it, S("usage")), resource);
        if (container.n && !str_eq(val_text_at(it, N(name)), container))
            continue;
        found = true;
        p->known &= used != NULL;
        if (!value_add(h, used, &p->milli))
            return false;
    }
    p->at = val_time(val_get_str(item, S("timestamp")));
    p->window = go_window(val_text(val_get_str(item, S("window"))));
    return found || !container.n ||
           cause_set(h,
                     "failed to get container metrics: container " STR_FMT " not present in metrics for pod " STR_FMT
                     "/" STR_FMT,
                     STR_ARG(container), STR_ARG(p->pod->ns), STR_ARG(p->pod->name));
}

static void pods_clear(struct hpa_pod *pods, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pods[i] = (struct hpa_pod){.pod = pods[i].pod};
}

static bool usages_read(struct found_how *h, const struct val *body)
{
    const struct hpa_look *l = h->l;
    AUTO(map_fini) struct map by_name = MAP;
    const struct val *items;
    size_t n = 0;
    if (!items_of(h, body, &items))
        return false;
    val_each_item (it, items)
        (void)map_put(&by_name, val_text_at(it, N(metadata), N(name)), (void *)(uintptr_t)it);
    pods_clear(l->pods, l->n);
    for (size_t i = 0; i < l->n; i++) {
        const struct val *item = map_get(&by_name, l->pods[i].pod->name);
        n += item != NULL;
        if (item && !usage_read(h, item, &l->pods[i]))
            return false;
    }
    return items_some(h, n);
}

static struct hpa_count count_of(const struct found_how *h)
{
    const struct val *behavior = val_get(h->l->spec, N(behavior));
    const struct val *up = val_at(behavior, N(scaleUp), N(tolerance)),
                     *down = val_at(behavior, N(scaleDown), N(tolerance));
    return (struct hpa_count){.pods = h->l->pods,
                              .n = h->l->n,
                              .now = h->l->v->now,
                              .current = h->l->current,
                              .up = up ? (double)quantity_milli(val_text(up)) / 1000 : HPA_TOLERANCE,
                              .down = down ? (double)quantity_milli(val_text(down)) / 1000 : HPA_TOLERANCE};
}

static struct val current_of(struct arena *a, const struct hpa_count *c, const struct name *of)
{
    struct val current = val_map();
    if (c->utilization)
        val_set_num(a, &current, N(averageUtilization), c->percent);
    val_set(a, &current, of, val_str(a, quantity_of_milli(a, c->milli)));
    return current;
}

static int64_t milli_at(const struct val *target, const struct name *name)
{
    return quantity_milli(val_text(val_get(target, name)));
}

static bool resource_find(struct found_how *h)
{
    struct arena *a = h->l->a;
    struct str resource = val_text_at(h->source, N(name));
    const struct val *percent = val_get(h->target, N(averageUtilization));
    struct hpa_count c = count_of(h);
    struct err err = ERR;
    c.resource = resource;
    c.container = val_text_at(h->source, N(container));
    c.utilization = !val_get(h->target, N(averageValue));
    c.target = c.utilization ? val_num(percent, 0) : milli_at(h->target, N(averageValue));
    if (c.utilization && !percent)
        return cause_set(h, "invalid resource metric source: neither an average utilization target nor an average "
                            "value (usage) target was set");
    h->api = "resource metrics API";
    h->what = S("pods.metrics.k8s.io");
    const struct val *body = reply_body(h, resource_path(h->l));
    const char *as = c.utilization ? "utilization" : "usage";
    if (!h->f->asked)
        return false;
    if (!body || !usages_read(h, body))
        return cause_set(h, "failed to get " STR_FMT " %s: unable to get metrics for resource " STR_FMT ": " STR_FMT,
                         STR_ARG(resource), as, STR_ARG(resource), STR_ARG(h->cause));
    if (!hpa_count_pods(&c, &err))
        return cause_set(h, "failed to get " STR_FMT " %s: %s", STR_ARG(resource), as, err.text);
    h->f->replicas = c.replicas;
    h->f->name = arena_fmt(a, STR_FMT " %sresource%s", STR_ARG(resource), c.container.n ? "container " : "",
                           c.utilization ? " utilization (percentage of request)" : "");
    struct val *of = val_need_map_(
        a, &h->f->status, (const struct name *const[]){c.container.n ? N(containerResource) : N(resource), NULL});
    val_set_text(a, of, N(name), resource);
    if (c.container.n)
        val_set_text(a, of, N(container), c.container);
    val_set(a, of, N(current), current_of(a, &c, N(averageValue)));
    return true;
}

/* --- custom metrics --- */

/* The version that is served of it: the newest one that upstream's client knows. NULL: none. */
static const char *custom_version(const struct hpa_look *l)
{
    static const char *const known[] = {"v1beta2", "v1beta1"};
    for (size_t i = 0; i < countof(known); i++)
        if (view_get(l->v, K(APIService), S(""), arena_fmt(l->a, "%s.custom.metrics.k8s.io", known[i])))
            return known[i];
    return NULL;
}

static struct val identifier_of(struct arena *a, const struct val *metric)
{
    struct val v = val_map();
    val_set(a, &v, N(name), val_str(a, val_text_at(metric, N(name))));
    if (val_get(metric, N(selector)))
        val_set(a, &v, N(selector), val_copy(a, val_get(metric, N(selector))));
    return v;
}

/* The selector of the metric itself, as text; absent: "". */
static bool metric_selector(struct found_how *h, struct str *out)
{
    const struct val *given = val_at(h->source, N(metric), N(selector));
    struct selector *s;
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    *out = S("");
    if (!given)
        return true;
    if (!selector_of(h->l->a, given, &s, &err))
        return cause_set(h, "%s", err.text);
    selector_text(s, &b);
    *out = str_dup(h->l->a, strbuf_str(&b));
    return true;
}

/* The answer of custom.metrics.k8s.io about a resource ("pods", "*"). */
static const struct val *custom_ask(struct found_how *h, struct str rest, struct str pods, struct str selector)
{
    const char *version = custom_version(h->l);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    h->api = "custom metrics API";
    if (!version) {
        h->f->asked = true;
        (void)cause_set(h, "unable to fetch metrics from custom metrics API: no custom metrics API "
                           "(custom.metrics.k8s.io) registered");
        return NULL;
    }
    strbuf_addf(&b, "/apis/custom.metrics.k8s.io/%s/namespaces/" STR_FMT "/" STR_FMT "/" STR_FMT, version,
                STR_ARG(h->l->hpa->ns), STR_ARG(rest),
                STR_ARG(text_escaped(h->l->a, val_text_at(h->source, N(metric), N(name)))));
    query_add(&b, "labelSelector", pods);
    query_add(&b, "metricLabelSelector", selector);
    return reply_body(h, str_dup(h->l->a, strbuf_str(&b)));
}

static int64_t custom_window(const struct val *item)
{
    const struct val *seconds = val_get_str(item, S("windowSeconds"));
    seconds = seconds ? seconds : val_get_str(item, S("window")); /* v1beta1 */
    return seconds ? MAX(0, MIN(val_num(seconds, 0), WINDOW_MOST / NS_PER_S)) * NS_PER_S : WINDOW;
}

static bool pods_read(struct found_how *h, const struct val *body)
{
    const struct hpa_look *l = h->l;
    AUTO(map_fini) struct map by_name = MAP;
    const struct val *items;
    if (!items_of(h, body, &items))
        return false;
    val_each_item (it, items)
        (void)map_put(&by_name, val_text_at(it, N(describedObject), N(name)), (void *)(uintptr_t)it);
    pods_clear(l->pods, l->n);
    for (size_t i = 0; i < l->n; i++) {
        const struct val *item = map_get(&by_name, l->pods[i].pod->name);
        struct hpa_pod *p = &l->pods[i];
        p->known = item;
        if (!value_add(h, val_get(item, N(value)), &p->milli))
            return false;
        p->at = val_time(val_get_str(item, S("timestamp")));
        p->window = custom_window(item);
    }
    return items_some(h, map_len(&by_name));
}

static bool pods_find(struct found_how *h)
{
    struct arena *a = h->l->a;
    struct str name = val_text_at(h->source, N(metric), N(name)), selector;
    struct hpa_count c = count_of(h);
    struct err err = ERR;
    h->what = S("pods.custom.metrics.k8s.io *");
    if (!metric_selector(h, &selector)) {
        h->f->asked = true;
        return false;
    }
    c.target = milli_at(h->target, N(averageValue));
    const struct val *body = custom_ask(h, S("pods/*"), h->l->selector, selector);
    if (!h->f->asked)
        return false;
    if (!body || !pods_read(h, body))
        return cause_set(h, "unable to get metric " STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(h->cause));
    if (!hpa_count_pods(&c, &err))
        return cause_set(h, "%s", err.text);
    h->f->replicas = c.replicas;
    h->f->name = arena_fmt(a, "pods metric " STR_FMT, STR_ARG(name));
    struct val *of = val_need_map(a, &h->f->status, N(pods));
    val_set(a, of, N(metric), identifier_of(a, val_get(h->source, N(metric))));
    val_set(a, of, N(current), current_of(a, &c, N(averageValue)));
    return true;
}

/* "ingresses.networking.k8s.io/web", or of a Namespace "metrics", as upstream's client asks. */
static bool object_place(struct found_how *h, const struct val *object, struct str *out)
{
    struct arena *a = h->l->a;
    struct str kind = val_text_at(object, N(kind)), name = val_text_at(object, N(name)), group = S(""), version;
    struct str api = val_text_at(object, N(apiVersion));
    const struct kind_set *all = view_kinds(h->l->v);
    if (!str_split(api, '/', &group, &version))
        group = S("");
    for (size_t i = 0; i < all->n; i++) {
        const struct kind *k = all->kinds[i];
        if (!str_eq(k->kind, kind) || !str_eq(k->group, group))
            continue;
        struct str resource = arena_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(k->plural), k->group.n ? "." : "",
                                        STR_ARG(k->group));
        *out = k == K(Namespace)
                   ? S("metrics")
                   : arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(resource), STR_ARG(text_escaped(a, name)));
        h->what = arena_fmt(a, STR_FMT ".custom.metrics.k8s.io " STR_FMT, STR_ARG(resource), STR_ARG(name));
        return true;
    }
    h->f->asked = true;
    return cause_set(h,
                     "unable to fetch metrics from custom metrics API: no matches for kind \"" STR_FMT
                     "\" in group \"" STR_FMT "\"",
                     STR_ARG(kind), STR_ARG(group));
}

static bool object_value(struct found_how *h, const struct val *object, int64_t *value)
{
    struct str place, selector;
    if (!metric_selector(h, &selector)) {
        h->f->asked = true;
        return false;
    }
    const struct val *body = object_place(h, object, &place) ? custom_ask(h, place, S(""), selector) : NULL;
    const struct val *items = NULL;
    bool read = body && items_of(h, body, &items);
    *value = 0;
    if (read && val_len(items) == 1) {
        read = false;
        if (value_add(h, val_get(val_item(items, 0), N(value)), value))
            return true;
    }
    if (read)
        (void)cause_set(h,
                        "unable to fetch metrics from custom metrics API: the custom metrics API server returned "
                        "%zu results when we asked for exactly one",
                        val_len(items));
    return h->f->asked &&
           cause_set(h, "unable to get metric " STR_FMT ": " STR_FMT " on " STR_FMT " " STR_FMT "/" STR_FMT,
                     STR_ARG(val_text_at(h->source, N(metric), N(name))), STR_ARG(val_text_at(object, N(kind))),
                     STR_ARG(h->l->hpa->ns), STR_ARG(val_text_at(object, N(name))), STR_ARG(h->cause));
}

/* The value against the target, for all pods or for each. */
static bool value_count(struct found_how *h, int64_t value, struct str name, struct val *of)
{
    struct arena *a = h->l->a;
    struct hpa_count c = count_of(h);
    struct err err = ERR;
    bool each = val_get(h->target, N(averageValue));
    c.target = milli_at(h->target, each ? N(averageValue) : N(value));
    if (each)
        hpa_count_average(&c, value, h->l->existing);
    else if (!hpa_count_value(&c, value, &err))
        return cause_set(h, "%s", err.text);
    h->f->replicas = c.replicas;
    h->f->name = name;
    val_set(a, of, N(metric), identifier_of(a, val_get(h->source, N(metric))));
    val_set(a, of, N(current), current_of(a, &c, each ? N(averageValue) : N(value)));
    return true;
}

static bool object_find(struct found_how *h)
{
    struct arena *a = h->l->a;
    const struct val *object = val_get(h->source, N(describedObject));
    struct str metric = val_text_at(h->source, N(metric), N(name)), type = val_text_at(h->target, N(type));
    bool each = str_eqz(type, "AverageValue") && val_get(h->target, N(averageValue));
    if (!each && !(str_eqz(type, "Value") && val_get(h->target, N(value)))) {
        h->f->asked = true;
        return cause_set(h,
                         "invalid object metric source: neither a value target nor an average value target was set");
    }
    int64_t value = 0;
    struct val of = val_map();
    struct str name = each ? arena_fmt(a, "external metric " STR_FMT "(" STR_FMT ")", STR_ARG(metric),
                                       STR_ARG(hpa_selector_text(a, val_at(h->source, N(metric), N(selector)))))
                           : arena_fmt(a, STR_FMT " metric " STR_FMT, STR_ARG(val_text_at(object, N(kind))),
                                       STR_ARG(metric));
    bool ok = object_value(h, object, &value);
    if (ok)
        val_set(a, &of, N(describedObject), val_copy(a, object));
    ok = ok && value_count(h, value, name, &of);
    if (ok)
        val_set(a, &h->f->status, N(object), of);
    h->f->told = h->cause;
    return ok || !h->f->asked || !each ? ok
                                       : cause_set(h, "failed to get " STR_FMT " object metric: " STR_FMT,
                                                   STR_ARG(metric), STR_ARG(h->cause));
}

/* --- external metrics --- */

static bool external_value(struct found_how *h, int64_t *value)
{
    const struct hpa_look *l = h->l;
    struct str name = val_text_at(h->source, N(metric), N(name)), selector;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    h->api = "external metrics API";
    h->what = arena_fmt(l->a, STR_FMT ".external.metrics.k8s.io", STR_ARG(name));
    if (!metric_selector(h, &selector)) {
        h->f->asked = true;
        return false;
    }
    strbuf_addf(&b, "/apis/external.metrics.k8s.io/v1beta1/namespaces/" STR_FMT "/" STR_FMT, STR_ARG(l->hpa->ns),
                STR_ARG(text_escaped(l->a, name)));
    query_add(&b, "labelSelector", selector);
    const struct val *body = reply_body(h, str_dup(l->a, strbuf_str(&b))), *items;
    bool read = body && items_of(h, body, &items) && items_some(h, val_len(items));
    *value = 0;
    if (read)
        val_each_item (it, items)
            read = read && value_add(h, val_get(it, N(value)), value);
    if (read)
        return true;
    return h->f->asked &&
           cause_set(h, "unable to get external metric " STR_FMT "/" STR_FMT "/" STR_FMT ": " STR_FMT,
                     STR_ARG(l->hpa->ns), STR_ARG(name),
                     STR_ARG(hpa_selector_text(l->a, val_at(h->source, N(metric), N(selector)))), STR_ARG(h->cause));
}

static bool external_find(struct found_how *h)
{
    struct arena *a = h->l->a;
    struct str metric = val_text_at(h->source, N(metric), N(name));
    bool each = val_get(h->target, N(averageValue));
    if (!each && !val_get(h->target, N(value))) {
        h->f->asked = true;
        return cause_set(h, "invalid external metric source: neither a value target nor an average value target was "
                            "set");
    }
    int64_t value = 0;
    struct val of = val_map();
    struct str name = arena_fmt(a, "external metric " STR_FMT "(" STR_FMT ")", STR_ARG(metric),
                                STR_ARG(hpa_selector_text(a, val_at(h->source, N(metric), N(selector)))));
    bool ok = external_value(h, &value) && value_count(h, value, name, &of);
    if (ok)
        val_set(a, &h->f->status, N(external), of);
    h->f->told = h->cause; /* the condition tells less than the whole look */
    return ok || !h->f->asked ? ok
           : each             ? cause_set(h, "failed to get " STR_FMT " external metric: " STR_FMT, STR_ARG(metric),
                                          STR_ARG(h->cause))
                              : cause_set(h, "failed to get external metric " STR_FMT ": " STR_FMT, STR_ARG(metric),
                                          STR_ARG(h->cause));
}

/* --- all of them --- */

static const struct metric_type {
    const char *type;
    const struct name *member;
    bool (*find)(struct found_how *h);
    const char *reason;
} metric_types[] = {
    {"Resource", N(resource), resource_find, "FailedGetResourceMetric"},
    {"ContainerResource", N(containerResource), resource_find, "FailedGetContainerResourceMetric"},
    {"Pods", N(pods), pods_find, "FailedGetPodsMetric"},
    {"Object", N(object), object_find, "FailedGetObjectMetric"},
    {"External", N(external), external_find, "FailedGetExternalMetric"},
};

/* Whose value is missing, as the whole look says it. */
static struct str look_error(struct found_how *h)
{
    struct str subject = str_eqz(h->type, "Resource")            ? val_text_at(h->source, N(name))
                         : str_eqz(h->type, "ContainerResource") ? val_text_at(h->source, N(container))
                         : str_eqz(h->type, "External")          ? val_text_at(h->source, N(metric), N(name))
                                                                 : S("");
    const char *kind = str_eqz(h->type, "Resource")            ? "resource metric"
                       : str_eqz(h->type, "ContainerResource") ? "container metric"
                       : str_eqz(h->type, "External")          ? "external metric"
                       : str_eqz(h->type, "Pods")              ? "pods metric"
                                                               : "object metric";
    return arena_fmt(h->l->a, "failed to get " STR_FMT "%s%s value: " STR_FMT, STR_ARG(subject), subject.n ? " " : "",
                     kind, STR_ARG(h->cause));
}

void hpa_metric_find(const struct hpa_look *l, const struct val *metric, struct hpa_found *f)
{
    struct found_how h = {.l = l, .metric = metric, .type = val_text_at(metric, N(type)), .f = f};
    *f = (struct hpa_found){.status = val_map()};
    for (size_t i = 0; i < countof(metric_types); i++) {
        const struct metric_type *t = &metric_types[i];
        if (!str_eqz(h.type, t->type))
            continue;
        h.source = val_get(metric, t->member);
        h.target = val_get(h.source, N(target));
        val_set(l->a, &f->status, N(type), val_str(l->a, h.type));
        f->reason = t->reason;
        f->ok = t->find(&h);
        f->asked |= f->ok || !f->path.n;
        f->told = f->told.n ? f->told : h.cause;
        if (!f->ok && f->asked)
            f->error = look_error(&h);
        return;
    }
    f->asked = true;
    f->reason = "InvalidMetricSourceType";
    f->told = f->error = arena_fmt(l->a, "unknown metric source type \"" STR_FMT "\"", STR_ARG(h.type));
}
