/* HorizontalPodAutoscaler by table (tests/control/hpa.txt): a line says what there is, and what is expected of it;
 * the answer is what the plan does. The lines of a case:
 *
 *   target 3                      replicas of the Deployment web; "3 of 4": 4 in its status; "3 kind StatefulSet"
 *   bounds 2 6                    minReplicas and maxReplicas; 1 and 10 where it is absent
 *   metric cpu 30%                of a resource, in percent of what is requested, or "300m" for each pod
 *   metric cpu of app 30%         of one container
 *   metric pods qps 15
 *   metric object Service/web qps 20, metric external queue 20   "each" behind it: averageValue
 *   behavior {YAML}   status {YAML}   spec {YAML}
 *   pod 300m/1 x3 FLAG ...        so many pods, each uses 300m and requests 1; "-" for none
 *                                 flags: pending, failed, succeeded, going, labels=other, age=S (of its start, 600),
 *                                 ready=S, unready=S (since so long), metric=S (age of the metric), window=S
 *   sidecar 100m/1                a second container in every pod after it; "init" before it: one that restarts
 *   value 20                      what object, external and the pods' custom metrics say; several: external ones
 *   answer 503 {JSON}             to every question; adapter none: no APIService for custom metrics
 *   wished -60=5 -10=3            what was wished so many seconds ago; ups, downs: what was changed
 *   pending 3 5                   the scale was to be changed so at the last look;  trouble TEXT
 *   fresh                         nothing is remembered, as after a start
 *   other web-2                   another HorizontalPodAutoscaler of the same target
 *   expect 5                      replicas in the end: upstream's own number
 *   words                         the answer has conditions and events in full */
#include "api/codec.h"
#include "base/test.h"
#include "control/hpa_int.h"
#include "control/plan_test.h"

struct table_case {
    struct arena a;
    struct strbuf spec, status, metrics, pods, more;
    struct str sidecar, init, behavior, values, answer, trouble;
    struct str target_kind;
    int64_t replicas, existing, least, most, expect, now;
    size_t npods;
    bool words, fresh, no_adapter, pending;
    int64_t from, to;
    struct val memory, usage; /* usage: items of metrics.k8s.io */
};

static int64_t word_num(struct str s)
{
    int64_t n;
    if (!str_to_i64(s, INT32_MIN, INT32_MAX, &n))
        test_failed(__FILE__, __LINE__, "%.*s is no number", STR_ARG(s));
    return n;
}

static struct str word_next(struct str *rest)
{
    struct str word;
    *rest = str_trim(*rest);
    if (!rest->n)
        return S("");
    (void)str_split(*rest, ' ', &word, rest);
    return word;
}

static void case_noted(struct table_case *c, const char *list, struct str rest)
{
    struct val *to = val_get_str_mut(&c->memory, str_of(list));
    for (struct str word; (word = word_next(&rest)).n;) {
        struct str at, n;
        CHECK(str_split(word, '=', &at, &n));
        struct val one = val_map();
        val_set_str(&c->a, &one, S("at"), val_int(c->now + word_num(at) * NS_PER_S));
        val_set_str(&c->a, &one, S("n"), val_int(word_num(n)));
        val_add(&c->a, to, one);
    }
}

static void metric_target(struct strbuf *b, struct str value, bool each, bool resource)
{
    if (str_ends(value, S("%")))
        strbuf_addf(b, "target: {type: Utilization, averageUtilization: " STR_FMT "}",
                    STR_ARG(str_sub(value, 0, value.n - 1)));
    else if (each || resource)
        strbuf_addf(b, "target: {type: AverageValue, averageValue: '" STR_FMT "'}", STR_ARG(value));
    else
        strbuf_addf(b, "target: {type: Value, value: '" STR_FMT "'}", STR_ARG(value));
}

static void case_metric(struct table_case *c, struct str rest)
{
    struct strbuf *b = &c->metrics;
    struct str kind = word_next(&rest), one, two;
    strbuf_addz(b, b->n ? ", {" : "{");
    if (str_eqz(kind, "pods")) {
        one = word_next(&rest);
        strbuf_addf(b, "type: Pods, pods: {metric: {name: " STR_FMT "}, ", STR_ARG(one));
        metric_target(b, word_next(&rest), true, false);
    } else if (str_eqz(kind, "object")) {
        CHECK(str_split(word_next(&rest), '/', &one, &two));
        bool core = str_eqz(one, "Service") || str_eqz(one, "Namespace");
        struct str name = word_next(&rest);
        strbuf_addf(b,
                    "type: Object, object: {describedObject: {apiVersion: %s, kind: " STR_FMT ", name: " STR_FMT
                    "}, metric: {name: " STR_FMT "}, ",
                    core ? "v1" : "networking.k8s.io/v1", STR_ARG(one), STR_ARG(two), STR_ARG(name));
        one = word_next(&rest);
        metric_target(b, one, str_eqz(word_next(&rest), "each"), false);
    } else if (str_eqz(kind, "external")) {
        one = word_next(&rest);
        strbuf_addf(b, "type: External, external: {metric: {name: " STR_FMT "%s}, ", STR_ARG(one),
                    str_has(rest, S("selected")) ? ", selector: {matchLabels: {app: a}, matchExpressions: [{key: b, "
                                                   "operator: In, values: [u, v]}]}"
                                                 : "");
        one = word_next(&rest);
        metric_target(b, one, str_eqz(word_next(&rest), "each"), false);
    } else {
        two = word_next(&rest);
        bool container = str_eqz(two, "of");
        struct str of = container ? word_next(&rest) : S("");
        two = container ? word_next(&rest) : two;
        strbuf_addf(b, "type: %s, %s: {name: " STR_FMT ", ", container ? "ContainerResource" : "Resource",
                    container ? "containerResource" : "resource", STR_ARG(kind));
        if (container)
            strbuf_addf(b, "container: " STR_FMT ", ", STR_ARG(of));
        metric_target(b, two, false, true);
    }
    strbuf_addz(b, "}}");
}

/* "300m/1" of a container, into its spec and its usage. */
static void container_add(struct table_case *c, struct strbuf *spec, struct val *used, const char *name,
                          struct str what, bool init)
{
    struct str usage, request;
    if (!what.n)
        return;
    CHECK(str_split(what, '/', &usage, &request));
    strbuf_addf(spec, "{name: %s, image: i%s", name, init ? ", restartPolicy: Always" : "");
    if (!str_eqz(request, "-"))
        strbuf_addf(spec, ", resources: {requests: {cpu: '" STR_FMT "', memory: '" STR_FMT "'}}", STR_ARG(request),
                    STR_ARG(request));
    strbuf_addz(spec, "}");
    if (str_eqz(usage, "-"))
        return;
    struct val one = val_map();
    val_set_text(&c->a, &one, N(name), str_of(name));
    struct val *of = val_need_map(&c->a, &one, N(usage));
    val_set_str(&c->a, of, S("cpu"), val_str(&c->a, usage));
    val_set_str(&c->a, of, S("memory"), val_str(&c->a, usage));
    val_add(&c->a, used, one);
}

struct pod_flags {
    int64_t age, since, metric, window;
    bool ready, going, no_labels;
    const char *phase;
};

static struct pod_flags flags_read(struct str rest)
{
    struct pod_flags f = {.age = 600, .since = 590, .window = 30, .ready = true, .phase = "Running"};
    for (struct str word; (word = word_next(&rest)).n;) {
        struct str key, value;
        (void)str_split(word, '=', &key, &value);
        if (str_eqz(key, "pending"))
            f.phase = "Pending";
        else if (str_eqz(key, "failed"))
            f.phase = "Failed";
        else if (str_eqz(key, "succeeded"))
            f.phase = "Succeeded";
        else if (str_eqz(key, "going"))
            f.going = true;
        else if (str_eqz(key, "age"))
            f.age = word_num(value);
        else if (str_eqz(key, "metric"))
            f.metric = word_num(value);
        else if (str_eqz(key, "window"))
            f.window = word_num(value);
        else if (str_eqz(key, "labels"))
            f.no_labels = true;
        else if (str_eqz(key, "ready") || str_eqz(key, "unready"))
            f.ready = str_eqz(key, "ready"), f.since = word_num(value);
        else if (word.p[0] != 'x')
            test_failed(__FILE__, __LINE__, "no flag %.*s", STR_ARG(word));
    }
    return f;
}

static void pod_add(struct table_case *c, struct str what, const struct pod_flags *f)
{
    AUTO(strbuf_fini) struct strbuf spec = STRBUF(STRBUF_TEXT), init = STRBUF(STRBUF_TEXT);
    struct arena *a = &c->a;
    struct val used = val_list(), item = val_map();
    struct str name = arena_fmt(a, "web-%02zu", c->npods++), at = time_text(a, c->now - f->age * NS_PER_S);
    container_add(c, &spec, &used, "app", what, false);
    if (c->sidecar.n)
        strbuf_addz(&spec, ", ");
    container_add(c, &spec, &used, "side", c->sidecar, false);
    container_add(c, &init, &used, "log", c->init, true);
    strbuf_addf(
        &c->pods,
        "--- #\napiVersion: v1\nkind: Pod\nmetadata: {name: " STR_FMT ", labels: {app: %s}%s}\nspec: "
        "{nodeName: n1, initContainers: [" STR_FMT "], containers: [" STR_FMT "]}\nstatus: {phase: %s, "
        "startTime: '" STR_FMT "', conditions: [{type: Ready, status: '%s', lastTransitionTime: '" STR_FMT "'}]}\n",
        STR_ARG(name), f->no_labels ? "other" : "web", f->going ? ", deletionTimestamp: '2026-01-01T01:00:00Z'" : "",
        STR_ARG(strbuf_str(&init)), STR_ARG(strbuf_str(&spec)), f->phase, STR_ARG(at), f->ready ? "True" : "False",
        STR_ARG(time_text(a, c->now - f->since * NS_PER_S)));
    val_set(a, val_need_map(a, &item, N(metadata)), N(name), val_str(a, name));
    val_set(a, &item, N(timestamp), val_str(a, time_text(a, c->now - f->metric * NS_PER_S)));
    val_set(a, &item, N(window), val_str(a, arena_fmt(a, "%llds", (long long)f->window)));
    val_set(a, &item, N(containers), used);
    if (val_len(&used))
        val_add(a, &c->usage, item);
}

static void case_pod(struct table_case *c, struct str rest)
{
    struct str what = word_next(&rest), all = rest;
    struct pod_flags f = flags_read(rest);
    int64_t n = 1;
    for (struct str word; (word = word_next(&all)).n;)
        n = word.p[0] == 'x' ? word_num(str_sub(word, 1, word.n)) : n;
    for (int64_t i = 0; i < n; i++)
        pod_add(c, what, &f);
}

static void case_target(struct table_case *c, struct str rest)
{
    c->replicas = c->existing = word_num(word_next(&rest));
    for (struct str word; (word = word_next(&rest)).n;) {
        if (str_eqz(word, "of"))
            c->existing = word_num(word_next(&rest));
        else if (str_eqz(word, "kind"))
            c->target_kind = word_next(&rest);
    }
}

static void case_line(struct table_case *c, struct str line)
{
    struct str rest = line, word = word_next(&rest);
    if (str_eqz(word, "target"))
        case_target(c, rest);
    else if (str_eqz(word, "bounds"))
        c->least = word_num(word_next(&rest)), c->most = word_num(word_next(&rest));
    else if (str_eqz(word, "metric"))
        case_metric(c, rest);
    else if (str_eqz(word, "behavior"))
        c->behavior = rest;
    else if (str_eqz(word, "status"))
        strbuf_add(&c->status, rest);
    else if (str_eqz(word, "pod"))
        case_pod(c, rest);
    else if (str_eqz(word, "sidecar"))
        c->sidecar = rest;
    else if (str_eqz(word, "init"))
        c->init = rest;
    else if (str_eqz(word, "value"))
        c->values = rest;
    else if (str_eqz(word, "answer"))
        c->answer = rest;
    else if (str_eqz(word, "adapter"))
        c->no_adapter = true;
    else if (str_eqz(word, "wished") || str_eqz(word, "ups") || str_eqz(word, "downs"))
        case_noted(c, arena_strz(&c->a, word), rest);
    else if (str_eqz(word, "pending"))
        c->pending = true, c->from = word_num(word_next(&rest)), c->to = word_num(word_next(&rest));
    else if (str_eqz(word, "trouble"))
        c->trouble = rest;
    else if (str_eqz(word, "fresh"))
        c->fresh = true;
    else if (str_eqz(word, "other"))
        strbuf_addf(&c->more,
                    "--- #\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: " STR_FMT
                    "}\nspec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n",
                    STR_ARG(rest));
    else if (str_eqz(word, "expect"))
        c->expect = word_num(word_next(&rest));
    else if (str_eqz(word, "words"))
        c->words = true;
    else if (line.n)
        test_failed(__FILE__, __LINE__, "no such line: %.*s", STR_ARG(line));
}

/* --- what there is --- */

static void case_objects(struct table_case *c, struct fixture *f)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    strbuf_addf(&b,
                "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, uid: u}\nspec: "
                "{minReplicas: %lld, maxReplicas: %lld, scaleTargetRef: {apiVersion: apps/v1, kind: " STR_FMT
                ", name: web}, metrics: [" STR_FMT "]",
                (long long)c->least, (long long)c->most, STR_ARG(c->target_kind), STR_ARG(strbuf_str(&c->metrics)));
    if (c->behavior.n)
        strbuf_addf(&b, ", behavior: " STR_FMT, STR_ARG(c->behavior));
    strbuf_addz(&b, "}\n");
    if (c->status.n)
        strbuf_addf(&b, "status: " STR_FMT "\n", STR_ARG(strbuf_str(&c->status)));
    if (c->replicas >= 0)
        strbuf_addf(&b,
                    "--- #\napiVersion: apps/v1\nkind: " STR_FMT
                    "\nmetadata: {name: web}\nspec: {replicas: %lld, selector: {matchLabels: {app: web}}, template: "
                    "{metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: i}]}}}\nstatus: "
                    "{replicas: %lld}\n",
                    STR_ARG(c->target_kind), (long long)c->replicas, (long long)c->existing);
    if (!c->no_adapter)
        strbuf_addz(&b, "--- #\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: "
                        "v1beta2.custom.metrics.k8s.io}\nspec: {group: custom.metrics.k8s.io, version: v1beta2, "
                        "groupPriorityMinimum: 100, versionPriority: 100}\n");
    strbuf_add(&b, strbuf_str(&c->pods));
    strbuf_add(&b, strbuf_str(&c->more));
    fixture_add(f, strbuf_str(&b));
}

static void value_add(struct table_case *c, struct val *items, struct str name, struct str value)
{
    struct val one = val_map();
    val_set(&c->a, val_need_map(&c->a, &one, N(describedObject)), N(name), val_str(&c->a, name));
    val_set(&c->a, &one, N(timestamp), val_str(&c->a, time_text(&c->a, c->now)));
    val_set(&c->a, &one, N(value), val_str(&c->a, value));
    val_add(&c->a, items, one);
}

static struct plan_reply *case_reply(struct table_case *c, struct str path)
{
    struct plan_reply *r = ARENA_NEW(&c->a, struct plan_reply);
    struct val items = val_list();
    struct str code, body, rest = c->values;
    struct err err = ERR;
    *r = (struct plan_reply){.at = c->now, .http = 200, .body = val_map()};
    if (c->answer.n) {
        (void)str_split(c->answer, ' ', &code, &body);
        r->http = (int)word_num(code);
        r->body = VAL_NONE;
        r->text = S("no route to host");
        if (body.n)
            CHECK_OK(json_decode(&c->a, body, &r->body, &err), err);
        return r;
    }
    if (str_has(path, S("/metrics.k8s.io/")))
        items = c->usage;
    else if (str_has(path, S("/pods/*/")))
        val_each_item (it, &c->usage)
            value_add(c, &items, val_text_at(it, N(metadata), N(name)),
                      val_text(val_get_str(val_get(val_item(val_get(it, N(containers)), 0), N(usage)), S("cpu"))));
    else
        for (struct str word; (word = word_next(&rest)).n;)
            value_add(c, &items, S("web"), word);
    val_set(&c->a, &r->body, N(items), items);
    return r;
}

/* --- what the plan does --- */

static void said_text(struct table_case *c, struct strbuf *out, const char *head, struct str message)
{
    if (c->words)
        strbuf_addf(out, "%s: " STR_FMT "\n", head, STR_ARG(message));
    else
        strbuf_addf(out, "%s\n", head);
}

static void status_text(struct table_case *c, struct strbuf *out, const struct val *status)
{
    struct arena *a = &c->a;
    val_each_item (it, val_get(status, N(conditions)))
        said_text(c, out,
                  arena_fmt(a, STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(val_text_at(it, N(type))),
                            STR_ARG(val_text_at(it, N(status))), STR_ARG(val_text_at(it, N(reason))))
                      .p,
                  val_text_at(it, N(message)));
    val_each_item (it, val_get(status, N(currentMetrics))) {
        strbuf_addz(out, "metric ");
        json_encode(out, it);
        strbuf_addc(out, '\n');
    }
}

static void case_text(struct table_case *c, const struct plan *p, struct strbuf *out)
{
    int64_t n = c->replicas;
    array_each (act, &p->actions) {
        bool scale = str_eqz(act->sub, "scale");
        if (scale) {
            n = val_num_at(&act->body, -1, N(spec), N(replicas));
            strbuf_addf(out, "scale %lld -> %lld: " STR_FMT "\n", (long long)c->replicas, (long long)n,
                        STR_ARG(act->done.message));
            continue;
        }
        const struct val *status = val_get(&act->body, N(status));
        strbuf_addf(out, "status %lld current, %lld desired%s\n",
                    (long long)val_num_at(status, -1, N(currentReplicas)),
                    (long long)val_num_at(status, -1, N(desiredReplicas)),
                    val_get(status, N(lastScaleTime)) ? ", scaled" : "");
        const struct val *seen = val_get(status, N(observedGeneration));
        if (seen)
            strbuf_addf(out, "observedGeneration %lld\n", (long long)val_num(seen, 0));
        status_text(c, out, status);
    }
    array_each (e, &p->events)
        said_text(c, out, arena_fmt(&c->a, "%s %s", e->type, e->reason).p, e->message);
    if (c->expect >= 0 && n != c->expect)
        test_failed(__FILE__, __LINE__, "%lld replicas, %lld are expected:\n%.*s", (long long)n, (long long)c->expect,
                    STR_ARG(strbuf_str(out)));
}

static void case_answer(struct str input, struct strbuf *out)
{
    struct table_case c = {.spec = STRBUF(STRBUF_TEXT),
                           .status = STRBUF(STRBUF_TEXT),
                           .metrics = STRBUF(STRBUF_TEXT),
                           .pods = STRBUF(1 << 20),
                           .more = STRBUF(STRBUF_TEXT),
                           .least = 1,
                           .most = 10,
                           .expect = -1,
                           .replicas = -1,
                           .target_kind = S("Deployment"),
                           .memory = val_map(),
                           .usage = val_list()};
    struct fixture f;
    struct str rest = input, line;
    fixture_init(&f);
    c.now = f.view.now = f.view.now + 3600 * NS_PER_S;
    val_set_str(&c.a, &c.memory, S("uid"), val_str(&c.a, S("u")));
    static const char *const lists[] = {"wished", "ups", "downs"};
    for (size_t i = 0; i < countof(lists); i++)
        val_set_str(&c.a, &c.memory, str_of(lists[i]), val_list());
    while (str_cut(&rest, '\n', &line))
        case_line(&c, str_trim(line));
    if (!c.metrics.n)
        case_metric(&c, S("cpu 50%"));
    case_objects(&c, &f);
    if (c.pending) {
        struct val *p = val_set_str(&c.a, &c.memory, S("pending"), val_map());
        val_set_str(&c.a, p, S("at"), val_int(c.now - 15 * NS_PER_S));
        val_set_str(&c.a, p, S("from"), val_int(c.from));
        val_set_str(&c.a, p, S("to"), val_int(c.to));
        val_set_str(&c.a, p, S("reason"), val_str(&c.a, S("All metrics below target")));
    }
    f.view.trouble = c.trouble;
    f.view.memory = c.fresh ? NULL : &c.memory;
    AUTO(map_fini) struct map replies = MAP;
    f.view.replies = &replies;
    const struct controller *row = controller_named(S("hpa"));
    for (int turn = 0;; turn++) {
        AUTO(plan_fini) struct plan p = {0};
        CHECK(turn < 2); /* what was answered is not asked again */
        row->plan(&f.view, (struct key){S("default"), S("web")}, &p);
        array_each (path, &p.asks) {
            strbuf_addf(out, "ask " STR_FMT "\n", STR_ARG(*path));
            (void)map_put(&replies, *path, case_reply(&c, *path));
        }
        if (p.asks.n)
            continue;
        case_text(&c, &p, out);
        break;
    }
    fixture_fini(&f);
    struct strbuf *all[] = {&c.spec, &c.status, &c.metrics, &c.pods, &c.more};
    for (size_t i = 0; i < countof(all); i++)
        strbuf_fini(all[i]);
    arena_fini(&c.a);
}

TEST(hpa_table)
{
    test_transcript("tests/control/hpa.txt", case_answer);
}
