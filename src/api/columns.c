/* columns.c - how a kind is printed as a table: the cells first, then one table of columns for each kind, then which
 * kind has which.
 *
 * A column is a row of data: a name and a type, a cell function, and a path which that function follows from the
 * root of the object. So most columns need no code of their own: `text_cell`, `age_cell` and their like are
 * shared, and differ only in what they show where nothing is there ("<none>", "<unset>", nothing). What has to be
 * worked out - the status of a pod, the address of a Service - has a function that does not look at the path. Names,
 * types, priorities and the texts of cells are upstream's (k8s.io/kubernetes, pkg/printers/internalversion), because
 * scripts read them; the descriptions are our own.
 *
 * The hard one is a pod (view_of). It goes over phase, reason, conditions and the states of all containers in
 * upstream's order, in which later findings replace earlier ones. Three columns need it (Ready, Status, Restarts),
 * and each works it out anew: three short walks are simpler than a place to keep the result.
 *
 * Costs: a call for each cell and a walk over some 55 rows for each object; texts live in the caller's arena, and
 * nothing is kept from one object to the next. Not here: sorting, hiding of wide columns (the client does both), and
 * columns that a CustomResourceDefinition declares.
 */
#include "api/columns.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "api/strategy.h"
#include "base/clock.h"

#define V(v, field)    val_get((v), N(field))
#define TEXT(v, field) val_text(V(v, field))
#define NUM(v, field)  val_num(V(v, field), 0)
#define SOURCE         const struct column_source *s, const char *path

struct str human_duration(struct arena *a, int64_t ns)
{
    int64_t s = ns / NS_PER_S, m = s / 60, h = m / 60, d = h / 24;
#define TWO(x, xu, y, yu)                                                                                            \
    ((y) ? arena_fmt(a, "%lld" xu "%lld" yu, (long long)(x), (long long)(y))                                         \
         : arena_fmt(a, "%lld" xu, (long long)(x)))
    if (s < -1)
        return S("<invalid>");
    if (s < 0)
        return S("0s");
    if (s < 120)
        return arena_fmt(a, "%llds", (long long)s);
    if (m < 10)
        return TWO(m, "m", s % 60, "s");
    if (m < 180)
        return arena_fmt(a, "%lldm", (long long)m);
    if (h < 8)
        return TWO(h, "h", m % 60, "m");
    if (h < 48)
        return arena_fmt(a, "%lldh", (long long)h);
    if (h < 192)
        return TWO(d, "d", h % 24, "h");
    if (h < 17520)
        return arena_fmt(a, "%lldd", (long long)d);
    if (h < 70080)
        return TWO(d / 365, "y", d % 365, "d");
    return arena_fmt(a, "%lldy", (long long)(d / 365));
#undef TWO
}

static const struct val *path_follow(const struct val *v, const char *path)
{
    struct str rest = str_of(path), part;
    while (v && str_cut(&rest, '.', &part))
        v = val_get_str(v, part);
    return v;
}

static struct val cell_of(const struct column_source *s, struct str t)
{
    return val_str(s->a, t);
}

static struct val or_else(SOURCE, const char *otherwise)
{
    const struct val *v = path_follow(s->v, path);
    if (val_is(v, VAL_INT))
        return cell_of(s, arena_fmt(s->a, "%lld", (long long)v->i));
    return cell_of(s, val_text(v).n ? val_text(v) : str_of(otherwise));
}
static struct val text_cell(SOURCE)
{
    return or_else(s, path, "");
}
static struct val text_none(SOURCE)
{
    return or_else(s, path, "<none>");
}
static struct val text_unset(SOURCE)
{
    return or_else(s, path, "<unset>");
}
static struct val text_unknown(SOURCE)
{
    return or_else(s, path, "<unknown>");
}
static struct val text_na(SOURCE)
{
    return or_else(s, path, "N/A");
}
static struct val num_cell(SOURCE)
{
    return val_int(val_num(path_follow(s->v, path), 0));
}
static struct val num_none(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return val_is(v, VAL_INT) ? *v : cell_of(s, S("<none>"));
}
static struct val yes_cell(SOURCE)
{
    return val_bool(val_true(path_follow(s->v, path)));
}
static struct val yes_unless_no(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return val_bool(!val_is(v, VAL_BOOL) || v->b);
}
static struct val count_cell(SOURCE)
{
    return val_int((int64_t)val_len(path_follow(s->v, path)));
}

static struct str age_of(const struct column_source *s, const struct val *time)
{
    int64_t t;
    if (val_text(time).n == 0 || !time_parse(val_text(time), &t))
        return S("<unknown>");
    return human_duration(s->a, s->now - t);
}
static struct val age_cell(SOURCE)
{
    return cell_of(s, age_of(s, path_follow(s->v, path)));
}
static struct val age_none(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, val_text(v).n ? age_of(s, v) : S("<none>"));
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* The texts, sorted and each once if wanted, with a separator. */
static struct str texts_join(struct arena *a, struct str *texts, size_t n, const char *sep, bool sorted)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    if (sorted)
        qsort(texts, n, sizeof *texts, by_text);
    for (size_t i = 0; i < n; i++)
        if (!sorted || i == 0 || !str_eq(texts[i], texts[i - 1]))
            strbuf_addf(&b, "%s" STR_FMT, i ? sep : "", STR_ARG(texts[i]));
    return str_dup(a, strbuf_str(&b));
}

static struct str *texts_of(struct arena *a, const struct val *list, const struct name *member)
{
    struct str *out = arena_alloc(a, (val_len(list) + 1) * sizeof *out);
    size_t n = 0;
    val_each_item (item, list)
        out[n++] = val_text(member ? val_get(item, member) : item);
    return out;
}

static struct val joined_cell(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, texts_join(s->a, texts_of(s->a, v, NULL), val_len(v), ",", false));
}
static struct val joined_none(SOURCE)
{
    return val_len(path_follow(s->v, path)) ? joined_cell(s, path) : cell_of(s, S("<none>"));
}
static struct val container_names(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, texts_join(s->a, texts_of(s->a, v, N(name)), val_len(v), ",", false));
}
static struct val container_images(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, texts_join(s->a, texts_of(s->a, v, N(image)), val_len(v), ",", false));
}
static struct val labels_cell(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    struct str *texts = arena_alloc(s->a, (val_len(v) + 1) * sizeof *texts);
    size_t n = 0;
    val_each_member (m, v)
        texts[n++] = arena_fmt(s->a, STR_FMT "=" STR_FMT, STR_ARG(m->name->s), STR_ARG(val_text(&m->v)));
    return cell_of(s, n ? texts_join(s->a, texts, n, ",", true) : S("<none>"));
}

static struct str selector_shown(const struct column_source *s, const struct val *v, const char *empty,
                                 const char *bad)
{
    struct selector *selector;
    struct err ignored = ERR; /* the column says `bad` in its place, as upstream's */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (!val_is(v, VAL_MAP))
        return str_of(empty);
    if (!selector_of(s->a, v, &selector, &ignored))
        return str_of(bad);
    selector_text(selector, &b);
    return b.n ? str_dup(s->a, strbuf_str(&b)) : str_of(empty);
}
static struct val selector_cell(SOURCE)
{
    return cell_of(s, selector_shown(s, path_follow(s->v, path), "<none>", "<error>"));
}
static struct val selector_plain(SOURCE)
{
    return cell_of(s, selector_shown(s, path_follow(s->v, path), "", "<invalid>"));
}

static const struct val *condition_val(const struct val *v, const char *type)
{
    return val_find(val_at(v, N(status), N(conditions)), N(type), str_of(type));
}
static bool condition_holds(const struct val *v, const char *type)
{
    return str_eq(TEXT(condition_val(v, type), status), S("True"));
}

/* Pods. */

static bool container_restarts_always(const struct val *container)
{
    return str_eq(TEXT(container, restartPolicy), S("Always"));
}

static struct str end_text(struct arena *a, const struct val *terminated, const char *prefix)
{
    if (TEXT(terminated, reason).n)
        return arena_fmt(a, "%s" STR_FMT, prefix, STR_ARG(TEXT(terminated, reason)));
    if (NUM(terminated, signal))
        return arena_fmt(a, "%sSignal:%lld", prefix, (long long)NUM(terminated, signal));
    return arena_fmt(a, "%sExitCode:%lld", prefix, (long long)NUM(terminated, exitCode));
}

struct pod_view {
    size_t total, ready;
    struct str status;
    int64_t restarts;
    struct str last_restart; /* RFC 3339 */
};

static void count_restart(struct pod_view *p, const struct val *status, int64_t *restarts, struct str *last)
{
    (void)p;
    struct str at = val_text_at(status, N(lastState), N(terminated), N(finishedAt));
    *restarts += NUM(status, restartCount);
    if (at.n && (!last->n || str_cmp(at, *last) > 0))
        *last = at;
}

static struct pod_view view_of(struct arena *a, const struct val *pod)
{
    const struct val *spec = V(pod, spec), *status = V(pod, status), *inits = V(spec, initContainers);
    const struct val *init_statuses = V(status, initContainerStatuses), *statuses = V(status, containerStatuses);
    struct str phase = TEXT(status, phase), reason = TEXT(status, reason);
    struct pod_view p = {.total = val_len(V(spec, containers)), .status = reason.n ? reason : phase};
    int64_t sidecar_restarts = 0;
    struct str sidecar_last = STR_NONE;
    bool initializing = false;
    size_t index = 0;
    val_each_item (c, inits)
        p.total += container_restarts_always(c);
    if (str_eq(TEXT(condition_val(pod, "PodScheduled"), reason), S("SchedulingGated")))
        p.status = S("SchedulingGated");
    /* The first init container that is neither done nor a sidecar that has started is the one that the pod waits for.
     */
    val_each_item (c, init_statuses) {
        const struct val *terminated = val_at(c, N(state), N(terminated)), *waiting = val_at(c, N(state), N(waiting));
        bool sidecar = container_restarts_always(val_find(inits, N(name), TEXT(c, name)));
        count_restart(&p, c, &p.restarts, &p.last_restart);
        if (sidecar)
            count_restart(&p, c, &sidecar_restarts, &sidecar_last);
        if (terminated && NUM(terminated, exitCode) == 0) {
            index++;
            continue;
        }
        if (sidecar && val_true(V(c, started))) {
            p.ready += val_true(V(c, ready));
            index++;
            continue;
        }
        initializing = true;
        if (terminated)
            p.status = end_text(a, terminated, "Init:");
        else if (TEXT(waiting, reason).n && !str_eq(TEXT(waiting, reason), S("PodInitializing")))
            p.status = arena_fmt(a, "Init:" STR_FMT, STR_ARG(TEXT(waiting, reason)));
        else
            p.status = arena_fmt(a, "Init:%zu/%zu", index, val_len(inits));
        break;
    }
    if (!initializing || condition_holds(pod, "Initialized")) {
        bool running = false;
        struct str error = STR_NONE;
        /* From the last to the first, so that of several with something to tell the first one is shown. Restarts of
         * ordinary init containers do not count any more. */
        p.restarts = sidecar_restarts;
        p.last_restart = sidecar_last;
        for (size_t i = val_len(statuses); i-- > 0;) {
            const struct val *c = val_item(statuses, i), *terminated = val_at(c, N(state), N(terminated));
            const struct val *waiting = val_at(c, N(state), N(waiting));
            count_restart(&p, c, &p.restarts, &p.last_restart);
            if (TEXT(waiting, reason).n) {
                p.status = TEXT(waiting, reason);
            } else if (terminated) {
                p.status = end_text(a, terminated, "");
                if (NUM(terminated, exitCode) != 0)
                    error = p.status;
            } else if (val_true(V(c, ready)) && val_at(c, N(state), N(running))) {
                running = true;
                p.ready++;
            }
        }
        if (str_eq(p.status, S("Completed"))) {
            if (running && condition_holds(pod, "Ready"))
                p.status = S("Running");
            else if (error.n)
                p.status = error;
            else if (running)
                p.status = S("NotReady");
        }
    }
    if (val_at(pod, N(metadata), N(deletionTimestamp))) {
        if (str_eq(reason, S("NodeLost")))
            p.status = S("Unknown");
        else if (!pod_has_ended(pod))
            p.status = S("Terminating");
    }
    return p;
}

static struct val pod_ready(SOURCE)
{
    struct pod_view p = view_of(s->a, s->v);
    (void)path;
    return cell_of(s, arena_fmt(s->a, "%zu/%zu", p.ready, p.total));
}
static struct val pod_status(SOURCE)
{
    (void)path;
    return cell_of(s, view_of(s->a, s->v).status);
}
static struct val pod_restarts(SOURCE)
{
    struct pod_view p = view_of(s->a, s->v);
    int64_t at;
    (void)path;
    if (p.restarts > 0 && p.last_restart.n && time_parse(p.last_restart, &at))
        return cell_of(s, arena_fmt(s->a, "%lld (" STR_FMT " ago)", (long long)p.restarts,
                                    STR_ARG(human_duration(s->a, s->now - at))));
    return cell_of(s, arena_fmt(s->a, "%lld", (long long)p.restarts));
}
static struct val pod_ip(SOURCE)
{
    struct str ip = TEXT(val_item(val_at(s->v, N(status), N(podIPs)), 0), ip);
    (void)path;
    return cell_of(s, ip.n ? ip : S("<none>"));
}
static struct val pod_gates(SOURCE)
{
    const struct val *gates = val_at(s->v, N(spec), N(readinessGates));
    size_t met = 0;
    (void)path;
    if (val_len(gates) == 0)
        return cell_of(s, S("<none>"));
    val_each_item (gate, gates)
        met += str_eq(
            TEXT(val_find(val_at(s->v, N(status), N(conditions)), N(type), TEXT(gate, conditionType)), status),
            S("True"));
    return cell_of(s, arena_fmt(s->a, "%zu/%zu", met, val_len(gates)));
}

/* Workloads. */

static struct val ready_of_wanted(SOURCE)
{
    (void)path;
    return cell_of(s, arena_fmt(s->a, "%lld/%lld", (long long)val_num_at(s->v, 0, N(status), N(readyReplicas)),
                                (long long)val_num_at(s->v, 0, N(spec), N(replicas))));
}
static struct val job_status(SOURCE)
{
    static const char *const later[] = {"Suspended", "FailureTarget", "SuccessCriteriaMet"};
    (void)path;
    if (condition_holds(s->v, "Complete"))
        return cell_of(s, S("Complete"));
    if (condition_holds(s->v, "Failed"))
        return cell_of(s, S("Failed"));
    if (val_at(s->v, N(metadata), N(deletionTimestamp)))
        return cell_of(s, S("Terminating"));
    for (size_t i = 0; i < countof(later); i++)
        if (condition_holds(s->v, later[i]))
            return cell_of(s, str_of(later[i]));
    return cell_of(s, S("Running"));
}
static struct val job_completions(SOURCE)
{
    const struct val *wanted = val_at(s->v, N(spec), N(completions));
    int64_t done = val_num_at(s->v, 0, N(status), N(succeeded)),
            parallel = val_num_at(s->v, 0, N(spec), N(parallelism));
    (void)path;
    if (val_is(wanted, VAL_INT))
        return cell_of(s, arena_fmt(s->a, "%lld/%lld", (long long)done, (long long)wanted->i));
    if (parallel > 1)
        return cell_of(s, arena_fmt(s->a, "%lld/1 of %lld", (long long)done, (long long)parallel));
    return cell_of(s, arena_fmt(s->a, "%lld/1", (long long)done));
}
static struct val job_duration(SOURCE)
{
    int64_t from, to;
    (void)path;
    if (!time_parse(val_text_at(s->v, N(status), N(startTime)), &from))
        return cell_of(s, S(""));
    if (!time_parse(val_text_at(s->v, N(status), N(completionTime)), &to))
        to = s->now;
    return cell_of(s, human_duration(s->a, to - from));
}
static struct val cron_suspend(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, !val_is(v, VAL_BOOL) ? S("<unset>") : v->b ? S("True") : S("False"));
}
static struct val revision_owner(SOURCE)
{
    (void)path;
    val_each_item (owner, val_at(s->v, N(metadata), N(ownerReferences))) {
        if (!val_true(V(owner, controller)))
            continue;
        struct str version = TEXT(owner, apiVersion), group, rest;
        bool grouped = str_split(version, '/', &group, &rest);
        char *kind = arena_strz(s->a, TEXT(owner, kind));
        for (char *p = kind; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        return cell_of(s, arena_fmt(s->a, "%s%s" STR_FMT "/" STR_FMT, kind, grouped ? "." : "",
                                    STR_ARG(grouped ? group : S("")), STR_ARG(TEXT(owner, name))));
    }
    return cell_of(s, S("<none>"));
}

/* Services and what is behind them. */

static struct str balancer_addresses(const struct column_source *s)
{
    const struct val *list = val_at(s->v, N(status), N(loadBalancer), N(ingress));
    struct str *texts = arena_alloc(s->a, (val_len(list) + 1) * sizeof *texts);
    size_t n = 0;
    val_each_item (i, list)
        if (TEXT(i, ip).n || TEXT(i, hostname).n)
            texts[n++] = TEXT(i, ip).n ? TEXT(i, ip) : TEXT(i, hostname);
    return texts_join(s->a, texts, n, ",", true);
}
static struct val addresses_cell(SOURCE)
{
    (void)path;
    return cell_of(s, balancer_addresses(s));
}
static struct val service_ip(SOURCE)
{
    struct str ip = val_text(val_item(val_at(s->v, N(spec), N(clusterIPs)), 0));
    (void)path;
    return cell_of(s, ip.n ? ip : S("<none>"));
}
static struct val service_external(SOURCE)
{
    const struct val *ips = val_at(s->v, N(spec), N(externalIPs));
    struct str type = val_text_at(s->v, N(spec), N(type)),
               list = texts_join(s->a, texts_of(s->a, ips, NULL), val_len(ips), ",", false);
    (void)path;
    if (str_eq(type, S("ClusterIP")) || str_eq(type, S("NodePort")))
        return cell_of(s, list.n ? list : S("<none>"));
    if (str_eq(type, S("ExternalName")))
        return cell_of(s, val_text_at(s->v, N(spec), N(externalName)));
    if (!str_eq(type, S("LoadBalancer")))
        return cell_of(s, S("<unknown>"));
    struct str balancer = balancer_addresses(s);
    if (list.n)
        balancer = arena_fmt(s->a, STR_FMT "%s" STR_FMT, STR_ARG(balancer), balancer.n ? "," : "", STR_ARG(list));
    return cell_of(s, balancer.n ? balancer : S("<pending>"));
}
static struct val service_ports(SOURCE)
{
    const struct val *ports = val_at(s->v, N(spec), N(ports));
    struct str *texts = arena_alloc(s->a, (val_len(ports) + 1) * sizeof *texts);
    size_t n = 0;
    (void)path;
    val_each_item (p, ports)
        texts[n++] = NUM(p, nodePort) > 0
                         ? arena_fmt(s->a, "%lld:%lld/" STR_FMT, (long long)NUM(p, port), (long long)NUM(p, nodePort),
                                     STR_ARG(TEXT(p, protocol)))
                         : arena_fmt(s->a, "%lld/" STR_FMT, (long long)NUM(p, port), STR_ARG(TEXT(p, protocol)));
    return cell_of(s, n ? texts_join(s->a, texts, n, ",", false) : S("<none>"));
}

/* Three, and how many more there are. */
struct few {
    struct strbuf b;
    size_t n;
};
static void few_add(struct few *f, struct str t)
{
    if (f->n++ < 3)
        strbuf_addf(&f->b, "%s" STR_FMT, f->n > 1 ? "," : "", STR_ARG(t));
}
static struct val few_shown(const struct column_source *s, struct few *f, const char *none)
{
    if (f->n > 3)
        strbuf_addf(&f->b, " + %zu more...", f->n - 3);
    struct val v = cell_of(s, f->n ? strbuf_str(&f->b) : str_of(none));
    strbuf_fini(&f->b);
    return v;
}

static struct val endpoints_cell(SOURCE)
{
    struct few f = {.b = STRBUF(STRBUF_TEXT)};
    (void)path;
    val_each_item (subset, V(s->v, subsets)) {
        const struct val *ports = V(subset, ports);
        if (val_len(ports) == 0)
            val_each_item (address, V(subset, addresses))
                few_add(&f, TEXT(address, ip));
        val_each_item (port, ports)
            val_each_item (address, V(subset, addresses)) {
                struct str ip = TEXT(address, ip);
                const char *form = str_find_char(ip, ':') >= 0 ? "[" : "";
                few_add(&f, arena_fmt(s->a, "%s" STR_FMT "%s:%lld", form, STR_ARG(ip), *form ? "]" : "",
                                      (long long)NUM(port, port)));
            }
    }
    return few_shown(s, &f, "<none>");
}
static struct val slice_ports(SOURCE)
{
    struct few f = {.b = STRBUF(STRBUF_TEXT)};
    (void)path;
    val_each_item (port, V(s->v, ports))
        few_add(&f, val_is(V(port, port), VAL_INT) ? arena_fmt(s->a, "%lld", (long long)NUM(port, port))
                    : TEXT(port, name).n           ? TEXT(port, name)
                                                   : S("*"));
    return few_shown(s, &f, "<unset>");
}
static struct val slice_endpoints(SOURCE)
{
    struct few f = {.b = STRBUF(STRBUF_TEXT)};
    (void)path;
    val_each_item (endpoint, V(s->v, endpoints))
        val_each_item (address, V(endpoint, addresses))
            few_add(&f, val_text(address));
    return few_shown(s, &f, "<unset>");
}
static struct val ingress_hosts(SOURCE)
{
    const struct val *rules = val_at(s->v, N(spec), N(rules));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t n = 0;
    (void)path;
    val_each_item (rule, rules)
        if (TEXT(rule, host).n && n < 3)
            strbuf_addf(&b, "%s" STR_FMT, n++ ? "," : "", STR_ARG(TEXT(rule, host)));
    if (n == 0)
        return cell_of(s, S("*"));
    if (val_len(rules) > 3)
        strbuf_addf(&b, " + %zu more...", val_len(rules) - 3);
    return cell_of(s, strbuf_str(&b));
}
static struct val ingress_ports(SOURCE)
{
    (void)path;
    return cell_of(s, val_len(val_at(s->v, N(spec), N(tls))) ? S("80, 443") : S("80"));
}

static struct val marked_default(const struct column_source *s, const char *annotation, const char *older)
{
    const struct val *all = val_at(s->v, N(metadata), N(annotations));
    struct str name = val_text_at(s->v, N(metadata), N(name));
    bool yes_ = str_eq(val_text(val_get_str(all, str_of(annotation))), S("true")) ||
                (older && str_eq(val_text(val_get_str(all, str_of(older))), S("true")));
    return cell_of(s, yes_ ? arena_fmt(s->a, STR_FMT " (default)", STR_ARG(name)) : name);
}
static struct val ingressclass_name(SOURCE)
{
    (void)path;
    return marked_default(s, "ingressclass.kubernetes.io/is-default-class", NULL);
}
static struct val storageclass_name(SOURCE)
{
    (void)path;
    return marked_default(s, "storageclass.kubernetes.io/is-default-class",
                          "storageclass.beta.kubernetes.io/is-default-class");
}
static struct val ingressclass_parameters(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(parameters));
    struct str group = TEXT(p, apiGroup);
    (void)path;
    if (!p)
        return cell_of(s, S("<none>"));
    return cell_of(s, arena_fmt(s->a, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, kind)), group.n ? "." : "",
                                STR_ARG(group), STR_ARG(TEXT(p, name))));
}

/* Nodes, volumes, events and the rest. */

static struct val node_status(SOURCE)
{
    struct str ready = TEXT(condition_val(s->v, "Ready"), status);
    (void)path;
    const char *word = !condition_val(s->v, "Ready") ? "Unknown" : str_eq(ready, S("True")) ? "Ready" : "NotReady";
    return cell_of(s, arena_fmt(s->a, "%s%s", word,
                                val_true(val_at(s->v, N(spec), N(unschedulable))) ? ",SchedulingDisabled" : ""));
}
static struct val node_roles(SOURCE)
{
    const struct val *all = val_at(s->v, N(metadata), N(labels));
    struct str *texts = arena_alloc(s->a, (val_len(all) + 1) * sizeof *texts), prefix = S("node-role.kubernetes.io/");
    size_t n = 0;
    (void)path;
    val_each_member (m, all) {
        if (str_starts(m->name->s, prefix) && m->name->s.n > prefix.n)
            texts[n++] = str_sub(m->name->s, prefix.n, m->name->s.n);
        else if (str_eq(m->name->s, S("kubernetes.io/role")) && val_text(&m->v).n)
            texts[n++] = val_text(&m->v);
    }
    return cell_of(s, n ? texts_join(s->a, texts, n, ",", true) : S("<none>"));
}
static struct val node_address(SOURCE)
{
    struct str address = TEXT(val_find(val_at(s->v, N(status), N(addresses)), N(type), str_of(path)), address);
    return cell_of(s, address.n ? address : S("<none>"));
}
static struct val node_kernel(SOURCE)
{
    const struct val *info = val_at(s->v, N(status), N(nodeInfo));
    struct str kernel = TEXT(info, kernelVersion), arch = TEXT(info, architecture);
    (void)path;
    if (kernel.n && arch.n)
        kernel = arena_fmt(s->a, STR_FMT " (" STR_FMT ")", STR_ARG(kernel), STR_ARG(arch));
    return cell_of(s, kernel.n ? kernel : S("<unknown>"));
}
static struct val phase_cell(SOURCE)
{
    (void)path;
    return cell_of(s, val_at(s->v, N(metadata), N(deletionTimestamp)) ? S("Terminating")
                                                                      : val_text_at(s->v, N(status), N(phase)));
}
static struct str modes_of(const struct column_source *s, const struct val *list)
{
    static const struct {
        struct str mode;
        const char *text;
    } rows[] = {{S_INIT("ReadWriteOnce"), "RWO"},
                {S_INIT("ReadOnlyMany"), "ROX"},
                {S_INIT("ReadWriteMany"), "RWX"},
                {S_INIT("ReadWriteOncePod"), "RWOP"}};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < countof(rows); i++)
        val_each_item (mode, list)
            if (str_eq(val_text(mode), rows[i].mode)) {
                strbuf_addf(&b, "%s%s", b.n ? "," : "", rows[i].text);
                break;
            }
    return str_dup(s->a, strbuf_str(&b));
}
static struct val modes_cell(SOURCE)
{
    return cell_of(s, modes_of(s, path_follow(s->v, path)));
}
static struct val pvc_capacity(SOURCE)
{
    (void)path;
    return cell_of(s, val_text_at(s->v, N(spec), N(volumeName)).n
                          ? val_text(path_follow(s->v, "status.capacity.storage"))
                          : S(""));
}
static struct val pvc_modes(SOURCE)
{
    (void)path;
    return cell_of(s, val_text_at(s->v, N(spec), N(volumeName)).n
                          ? modes_of(s, val_at(s->v, N(status), N(accessModes)))
                          : S(""));
}
static struct val pv_claim(SOURCE)
{
    const struct val *ref = val_at(s->v, N(spec), N(claimRef));
    (void)path;
    return cell_of(s,
                   ref ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(ref, namespace)), STR_ARG(TEXT(ref, name)))
                       : S(""));
}
static struct val storage_class(SOURCE)
{
    const struct val *old = val_get_str(val_at(s->v, N(metadata), N(annotations)),
                                        S("volume.beta.kubernetes.io/storage-class"));
    (void)path;
    return cell_of(s, old ? val_text(old) : val_text_at(s->v, N(spec), N(storageClassName)));
}
static struct val configmap_data(SOURCE)
{
    (void)path;
    return val_int((int64_t)(val_len(V(s->v, data)) + val_len(V(s->v, binaryData))));
}

/* Events, in either group's form. */
static const struct val *val_either(const struct val *v, const struct name *one, const struct name *other)
{
    const struct val *found = val_get(v, one);
    return found ? found : val_get(v, other);
}
static struct str event_first(const struct column_source *s)
{
    const struct val *t = val_either(s->v, N(firstTimestamp), N(deprecatedFirstTimestamp));
    return age_of(s, val_text(t).n ? t : V(s->v, eventTime));
}
static struct val event_first_seen(SOURCE)
{
    (void)path;
    return cell_of(s, event_first(s));
}
static struct val event_last_seen(SOURCE)
{
    const struct val *series = val_at(s->v, N(series), N(lastObservedTime));
    const struct val *last = val_either(s->v, N(lastTimestamp), N(deprecatedLastTimestamp));
    (void)path;
    return cell_of(s, series ? age_of(s, series) : val_text(last).n ? age_of(s, last) : event_first(s));
}
static struct val event_object(SOURCE)
{
    const struct val *o = val_either(s->v, N(involvedObject), N(regarding));
    char *kind = arena_strz(s->a, TEXT(o, kind));
    (void)path;
    for (char *p = kind; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    return cell_of(s, arena_fmt(s->a, "%s%s" STR_FMT, kind, TEXT(o, name).n ? "/" : "", STR_ARG(TEXT(o, name))));
}
static struct val event_subobject(SOURCE)
{
    (void)path;
    return cell_of(s, TEXT(val_either(s->v, N(involvedObject), N(regarding)), fieldPath));
}
static struct val event_source(SOURCE)
{
    const struct val *source = val_either(s->v, N(source), N(deprecatedSource));
    struct str component = TEXT(source, component), host = TEXT(source, host);
    (void)path;
    if (!component.n)
        component = val_text(val_either(s->v, N(reportingComponent), N(reportingController)));
    if (!host.n)
        host = TEXT(s->v, reportingInstance);
    return cell_of(s, arena_fmt(s->a, STR_FMT "%s" STR_FMT, STR_ARG(component), host.n ? ", " : "", STR_ARG(host)));
}
static struct val event_message(SOURCE)
{
    (void)path;
    return cell_of(s, str_trim(val_text(val_either(s->v, N(message), N(note)))));
}
static struct val event_count(SOURCE)
{
    const struct val *series = V(s->v, series), *n = val_either(s->v, N(count), N(deprecatedCount));
    int64_t times = series ? NUM(series, count) : val_num(n, 0);
    (void)path;
    return val_int(times || series ? times : 1);
}

static struct val role_cell(SOURCE)
{
    const struct val *ref = V(s->v, roleRef);
    (void)path;
    return cell_of(s, arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(ref, kind)), STR_ARG(TEXT(ref, name))));
}
static struct val subjects_cell(SOURCE)
{
    const struct val *all = V(s->v, subjects);
    struct str *texts = arena_alloc(s->a, (val_len(all) + 1) * sizeof *texts);
    size_t n = 0;
    val_each_item (subject, all)
        if (str_eqz(TEXT(subject, kind), path))
            texts[n++] = str_eqz(TEXT(subject, kind), "ServiceAccount")
                             ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(subject, namespace)),
                                         STR_ARG(TEXT(subject, name)))
                             : TEXT(subject, name);
    return cell_of(s, texts_join(s->a, texts, n, ", ", false));
}
static struct val quota_cell(SOURCE)
{
    const struct val *hard = val_at(s->v, N(status), N(hard)), *used = val_at(s->v, N(status), N(used));
    struct str *texts = arena_alloc(s->a, (val_len(hard) + 1) * sizeof *texts);
    bool limits = str_eqz(S("limits"), path);
    size_t n = 0;
    val_each_member (m, hard) {
        if (str_starts(m->name->s, S("limits.")) != limits)
            continue;
        struct str have = val_text(val_get(used, m->name));
        texts[n++] = arena_fmt(s->a, STR_FMT ": " STR_FMT "/" STR_FMT, STR_ARG(m->name->s),
                               STR_ARG(have.n ? have : S("0")), STR_ARG(val_text(&m->v)));
    }
    return cell_of(s, texts_join(s->a, texts, n, ", ", true));
}
static struct val csr_condition(SOURCE)
{
    bool approved = condition_val(s->v, "Approved"), denied = condition_val(s->v, "Denied");
    (void)path;
    return cell_of(
        s, arena_fmt(s->a, "%s%s%s",
                     denied     ? "Denied"
                     : approved ? "Approved"
                                : "Pending",
                     condition_val(s->v, "Failed") ? ",Failed" : "",
                     val_len(val_at(s->v, N(status), N(certificate))) ||
                             (val_at(s->v, N(status), N(certificate)) && val_at(s->v, N(status), N(certificate))->n)
                         ? ",Issued"
                         : ""));
}
static struct val csr_duration(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, val_is(v, VAL_INT) ? human_duration(s->a, ns_of_seconds(v->i)) : S("<none>"));
}

static struct str metric_value(const struct val *of, const char *kind, struct str otherwise)
{
    struct str v = val_text(val_get_str(of, str_of(kind)));
    return v.n ? v : otherwise;
}
static struct val hpa_targets(SOURCE)
{
    const struct val *specs = val_at(s->v, N(spec), N(metrics)), *now = val_at(s->v, N(status), N(currentMetrics));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t shown_ = 0;
    (void)path;
    if (val_len(specs) == 0)
        return cell_of(s, S("<none>"));
    for (size_t i = 0; i < val_len(specs) && shown_ < 2; i++, shown_++) {
        const struct val *m = val_item(specs, i), *c = val_item(now, i);
        struct str type = TEXT(m, type), unknown = S("<unknown>");
        strbuf_addz(&b, shown_ ? ", " : "");
        const struct name *member = str_eq(type, S("Resource"))            ? N(resource)
                                    : str_eq(type, S("ContainerResource")) ? N(containerResource)
                                    : str_eq(type, S("Pods"))              ? N(pods)
                                    : str_eq(type, S("Object"))            ? N(object)
                                                                           : N(external);
        const struct val *spec = val_get(m, member), *current = V(val_get(c, member), current),
                         *target = V(spec, target);
        if (member == N(resource) || member == N(containerResource)) {
            if (TEXT(target, averageValue).n) {
                strbuf_addf(&b, STR_FMT ": " STR_FMT "/" STR_FMT, STR_ARG(TEXT(spec, name)),
                            STR_ARG(metric_value(current, "averageValue", unknown)),
                            STR_ARG(TEXT(target, averageValue)));
                continue;
            }
            const struct val *have = V(current, averageUtilization), *want = V(target, averageUtilization);
            strbuf_addf(&b, STR_FMT ": ", STR_ARG(TEXT(spec, name)));
            if (val_is(have, VAL_INT))
                strbuf_addf(&b, "%lld%%/", (long long)have->i);
            else
                strbuf_addz(&b, "<unknown>/");
            if (val_is(want, VAL_INT))
                strbuf_addf(&b, "%lld%%", (long long)want->i);
            else
                strbuf_addz(&b, "<auto>");
        } else if (member == N(pods)) {
            strbuf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(metric_value(current, "averageValue", unknown)),
                        STR_ARG(TEXT(target, averageValue)));
        } else if (TEXT(target, averageValue).n) {
            strbuf_addf(&b, STR_FMT "/" STR_FMT " (avg)", STR_ARG(metric_value(current, "averageValue", unknown)),
                        STR_ARG(TEXT(target, averageValue)));
        } else {
            strbuf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(metric_value(current, "value", unknown)),
                        STR_ARG(TEXT(target, value)));
        }
    }
    if (val_len(specs) > 2)
        strbuf_addf(&b, " + %zu more...", val_len(specs) - 2);
    return cell_of(s, strbuf_str(&b));
}
static struct val hpa_v1_targets(SOURCE)
{
    const struct val *want = val_at(s->v, N(spec), N(targetCPUUtilizationPercentage)),
                     *have = val_at(s->v, N(status), N(currentCPUUtilizationPercentage));
    (void)path;
    if (!val_is(want, VAL_INT))
        return cell_of(s, S("<none>"));
    return cell_of(s, val_is(have, VAL_INT)
                          ? arena_fmt(s->a, "cpu: %lld%%/%lld%%", (long long)have->i, (long long)want->i)
                          : arena_fmt(s->a, "cpu: <unknown>/%lld%%", (long long)want->i));
}
static struct val hpa_reference(SOURCE)
{
    const struct val *ref = val_at(s->v, N(spec), N(scaleTargetRef));
    (void)path;
    return cell_of(s, arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(ref, kind)), STR_ARG(TEXT(ref, name))));
}
static struct val param_kind(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(paramKind));
    (void)path;
    return cell_of(s, p ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, apiVersion)), STR_ARG(TEXT(p, kind)))
                        : S("<unset>"));
}
static struct val param_ref(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(paramRef));
    struct str ns = TEXT(p, namespace);
    (void)path;
    if (TEXT(p, name).n)
        return cell_of(s, arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(ns.n ? ns : S("*")), STR_ARG(TEXT(p, name))));
    return cell_of(s, V(p, selector) ? selector_shown(s, V(p, selector), "", "<invalid>") : S("<unset>"));
}
static struct val dangling_cell(SOURCE)
{
    struct str status = TEXT(condition_val(s->v, "Dangling"), status);
    (void)path;
    return cell_of(s, status.n ? status : S("?"));
}
static struct val claim_state(SOURCE)
{
    const struct val *allocation = val_at(s->v, N(status), N(allocation));
    bool deleted = val_at(s->v, N(metadata), N(deletionTimestamp)) != NULL;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    (void)path;
    if (deleted)
        strbuf_addz(&b, "deleted");
    if (!allocation && !deleted)
        strbuf_addz(&b, "pending");
    if (allocation)
        strbuf_addf(&b, "%sallocated%s", b.n ? "," : "",
                    val_len(val_at(s->v, N(status), N(reservedFor))) ? ",reserved" : "");
    return cell_of(s, strbuf_str(&b));
}
static struct val parent_ref(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(parentRef));
    struct str group = TEXT(p, group), ns = TEXT(p, namespace);
    (void)path;
    if (!p)
        return cell_of(s, S("<none>"));
    return cell_of(s, arena_fmt(s->a, STR_FMT "%s" STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, resource)),
                                group.n ? "." : "", STR_ARG(group), ns.n ? "/" : "", STR_ARG(ns),
                                STR_ARG(TEXT(p, name))));
}
static struct val apiservice_service(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(service));
    (void)path;
    return cell_of(s, p ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, namespace)), STR_ARG(TEXT(p, name)))
                        : S("Local"));
}
static struct val apiservice_available(SOURCE)
{
    const struct val *c = condition_val(s->v, "Available");
    struct str status = TEXT(c, status), reason = TEXT(c, reason);
    (void)path;
    if (!c)
        return cell_of(s, S("Unknown"));
    if (!str_eq(status, S("True")) && reason.n)
        return cell_of(s, arena_fmt(s->a, STR_FMT " (" STR_FMT ")", STR_ARG(status), STR_ARG(reason)));
    return cell_of(s, status);
}
static struct val audiences_cell(SOURCE)
{
    const struct val *v = path_follow(s->v, path);
    return cell_of(s, val_len(v) ? texts_join(s->a, texts_of(s->a, v, N(audience)), val_len(v), ",", false)
                                 : S("<unset>"));
}
static struct val or_delete(SOURCE)
{
    return or_else(s, path, "Delete");
}
static struct val or_immediate(SOURCE)
{
    return or_else(s, path, "Immediate");
}
static struct val created_cell(SOURCE)
{
    return cell_of(s, val_text(path_follow(s->v, path)));
}

/* The tables. */

#define C(name, type, text_, priority, ...)                                                                          \
    {                                                                                                                \
        (name), (type), "", (text_), (priority), __VA_ARGS__                                                         \
    }
#define NAME                                                                                                         \
    {                                                                                                                \
        "Name", "string", "name", "The name, unique within its namespace.", 0, text_cell, "metadata.name"            \
    }
#define NAME_BY(fn)                                                                                                  \
    {                                                                                                                \
        "Name", "string", "name", "The name.", 0, fn, "metadata.name"                                                \
    }
#define AGE C("Age", "string", "Time since the object was created.", 0, age_cell, "metadata.creationTimestamp")
#define CONTAINERS(at)                                                                                               \
    C("Containers", "string", "Names of the containers of the template.", 1, container_names, at),                   \
        C("Images", "string", "Images of the containers of the template.", 1, container_images, at)

#define TABLE(k) static const struct column table_##k[]
TABLE(pod) = {
    NAME,
    C("Ready", "string", "Ready containers of all.", 0, pod_ready, ""),
    C("Status", "string", "What the pod is doing.", 0, pod_status, ""),
    C("Restarts", "string", "How often containers were restarted, and when last.", 0, pod_restarts, ""),
    AGE,
    C("IP", "string", "Address of the pod.", 1, pod_ip, ""),
    C("Node", "string", "Node that runs the pod.", 1, text_none, "spec.nodeName"),
    C("Nominated Node", "string", "Node on which room is being made.", 1, text_none, "status.nominatedNodeName"),
    C("Readiness Gates", "string", "Gates that are met, of all.", 1, pod_gates, "")};
TABLE(podtemplate) = {
    NAME, C("Containers", "string", "Names of the containers.", 0, container_names, "template.spec.containers"),
    C("Images", "string", "Images of the containers.", 0, container_images, "template.spec.containers"),
    C("Pod Labels", "string", "Labels of the pods made of it.", 0, labels_cell, "template.metadata.labels")};
TABLE(pdb) = {
    NAME, C("Min Available", "string", "Pods that must stay available.", 0, text_na, "spec.minAvailable"),
    C("Max Unavailable", "string", "Pods that may be unavailable.", 0, text_na, "spec.maxUnavailable"),
    C("Allowed Disruptions", "integer", "Pods that may be evicted now.", 0, num_cell, "status.disruptionsAllowed"),
    AGE};
#define REPLICAS                                                                                                     \
    C("Desired", "integer", "Pods wanted.", 0, num_cell, "spec.replicas"),                                           \
        C("Current", "integer", "Pods there.", 0, num_cell, "status.replicas"),                                      \
        C("Ready", "integer", "Pods ready.", 0, num_cell, "status.readyReplicas"), AGE
TABLE(rc) = {NAME, REPLICAS, CONTAINERS("spec.template.spec.containers"),
             C("Selector", "string", "Labels of its pods.", 1, labels_cell, "spec.selector")};
TABLE(replicaset) = {NAME, REPLICAS, CONTAINERS("spec.template.spec.containers"),
                     C("Selector", "string", "Labels of its pods.", 1, selector_cell, "spec.selector")};
TABLE(daemonset) = {
    NAME,
    C("Desired", "integer", "Nodes that should run the pod.", 0, num_cell, "status.desiredNumberScheduled"),
    C("Current", "integer", "Nodes that run it.", 0, num_cell, "status.currentNumberScheduled"),
    C("Ready", "integer", "Pods ready.", 0, num_cell, "status.numberReady"),
    C("Up-to-date", "integer", "Pods of the newest template.", 0, num_cell, "status.updatedNumberScheduled"),
    C("Available", "integer", "Pods available.", 0, num_cell, "status.numberAvailable"),
    C("Node Selector", "string", "Labels of the nodes.", 0, labels_cell, "spec.template.spec.nodeSelector"),
    AGE,
    CONTAINERS("spec.template.spec.containers"),
    C("Selector", "string", "Labels of its pods.", 1, selector_cell, "spec.selector")};
TABLE(job) = {NAME,
              C("Status", "string", "How far the job is.", 0, job_status, ""),
              C("Completions", "string", "Pods that succeeded, of those wanted.", 0, job_completions, ""),
              C("Duration", "string", "From start to end, or until now.", 0, job_duration, ""),
              AGE,
              CONTAINERS("spec.template.spec.containers"),
              C("Selector", "string", "Labels of its pods.", 1, selector_cell, "spec.selector")};
TABLE(cronjob) = {NAME,
                  C("Schedule", "string", "When it runs.", 0, text_cell, "spec.schedule"),
                  C("Timezone", "string", "Time zone of the schedule.", 0, text_none, "spec.timeZone"),
                  C("Suspend", "boolean", "Whether it pauses.", 0, cron_suspend, "spec.suspend"),
                  C("Active", "integer", "Jobs that run.", 0, count_cell, "status.active"),
                  C("Last Schedule", "string", "Time since the last start.", 0, age_none, "status.lastScheduleTime"),
                  AGE,
                  CONTAINERS("spec.jobTemplate.spec.template.spec.containers"),
                  C("Selector", "string", "Labels of its pods.", 1, selector_cell, "spec.jobTemplate.spec.selector")};
TABLE(service) = {NAME,
                  C("Type", "string", "How it is reached.", 0, text_cell, "spec.type"),
                  C("Cluster-IP", "string", "Address within the cluster.", 0, service_ip, ""),
                  C("External-IP", "string", "Addresses from outside.", 0, service_external, ""),
                  C("Port(s)", "string", "Ports, and node ports.", 0, service_ports, ""),
                  AGE,
                  C("Selector", "string", "Labels of the pods behind it.", 1, labels_cell, "spec.selector")};
TABLE(ingress) = {NAME,
                  C("Class", "string", "Ingress class.", 0, text_none, "spec.ingressClassName"),
                  C("Hosts", "string", "Hosts of its rules.", 0, ingress_hosts, ""),
                  C("Address", "string", "Addresses of the load balancer.", 0, addresses_cell, ""),
                  C("Ports", "string", "Ports it listens on.", 0, ingress_ports, ""),
                  AGE};
TABLE(ingressclass) = {NAME_BY(ingressclass_name),
                       C("Controller", "string", "Controller of the class.", 0, text_cell, "spec.controller"),
                       C("Parameters", "string", "Where its settings are.", 0, ingressclass_parameters, ""), AGE};
TABLE(statefulset) = {NAME, C("Ready", "string", "Ready pods of those wanted.", 0, ready_of_wanted, ""), AGE,
                      CONTAINERS("spec.template.spec.containers")};
TABLE(endpoints) = {NAME, C("Endpoints", "string", "Addresses and ports.", 0, endpoints_cell, ""), AGE};
TABLE(node) = {NAME,
               C("Status", "string", "Whether it is ready.", 0, node_status, ""),
               C("Roles", "string", "Roles, from labels.", 0, node_roles, ""),
               AGE,
               C("Version", "string", "Version of the node agent.", 0, text_cell, "status.nodeInfo.kubeletVersion"),
               C("Internal-IP", "string", "Address within the cluster.", 1, node_address, "InternalIP"),
               C("External-IP", "string", "Address from outside.", 1, node_address, "ExternalIP"),
               C("OS-Image", "string", "Operating system.", 1, text_unknown, "status.nodeInfo.osImage"),
               C("Kernel-Version", "string", "Kernel and architecture.", 1, node_kernel, ""),
               C("Container-Runtime", "string", "Container runtime.", 1, text_unknown,
                 "status.nodeInfo.containerRuntimeVersion")};
TABLE(event) = {C("Last Seen", "string", "Time since it happened last.", 0, event_last_seen, ""),
                C("Type", "string", "Normal or Warning.", 0, text_cell, "type"),
                C("Reason", "string", "Why, in one word.", 0, text_cell, "reason"),
                C("Object", "string", "What it is about.", 0, event_object, ""),
                C("Subobject", "string", "Part of the object.", 1, event_subobject, ""),
                C("Source", "string", "Who reports it.", 1, event_source, ""),
                C("Message", "string", "What happened.", 0, event_message, ""),
                C("First Seen", "string", "Time since it happened first.", 1, event_first_seen, ""),
                C("Count", "string", "How often.", 1, event_count, ""),
                {"Name", "string", "name", "The name.", 1, text_cell, "metadata.name"}};
TABLE(namespace) = {NAME, C("Status", "string", "Active or Terminating.", 0, text_cell, "status.phase"), AGE};
TABLE(secret) = {NAME, C("Type", "string", "What kind of secret.", 0, text_cell, "type"),
                 C("Data", "string", "How many entries.", 0, count_cell, "data"), AGE};
TABLE(named) = {NAME, AGE};
TABLE(pv) = {
    NAME,
    C("Capacity", "string", "Size.", 0, text_cell, "spec.capacity.storage"),
    C("Access Modes", "string", "How it may be mounted.", 0, modes_cell, "spec.accessModes"),
    C("Reclaim Policy", "string", "What happens after its claim.", 0, text_cell,
      "spec.persistentVolumeReclaimPolicy"),
    C("Status", "string", "Phase.", 0, phase_cell, ""),
    C("Claim", "string", "Claim that has it.", 0, pv_claim, ""),
    C("StorageClass", "string", "Storage class.", 0, storage_class, ""),
    C("VolumeAttributesClass", "string", "Class of its attributes.", 0, text_unset, "spec.volumeAttributesClassName"),
    C("Reason", "string", "Why it is in this phase.", 0, text_cell, "status.reason"),
    AGE,
    C("VolumeMode", "string", "Filesystem or block.", 1, text_unset, "spec.volumeMode")};
TABLE(pvc) = {
    NAME,
    C("Status", "string", "Phase.", 0, phase_cell, ""),
    C("Volume", "string", "Volume it has.", 0, text_cell, "spec.volumeName"),
    C("Capacity", "string", "Size.", 0, pvc_capacity, ""),
    C("Access Modes", "string", "How it may be mounted.", 0, pvc_modes, ""),
    C("StorageClass", "string", "Storage class.", 0, storage_class, ""),
    C("VolumeAttributesClass", "string", "Class of its attributes.", 0, text_unset, "spec.volumeAttributesClassName"),
    AGE,
    C("VolumeMode", "string", "Filesystem or block.", 1, text_unset, "spec.volumeMode")};
TABLE(deployment) = {NAME,
                     C("Ready", "string", "Ready pods of those wanted.", 0, ready_of_wanted, ""),
                     C("Up-to-date", "string", "Pods of the newest template.", 0, num_cell, "status.updatedReplicas"),
                     C("Available", "string", "Pods available.", 0, num_cell, "status.availableReplicas"),
                     AGE,
                     CONTAINERS("spec.template.spec.containers"),
                     C("Selector", "string", "Labels of its pods.", 1, selector_plain, "spec.selector")};
#define HPA(fn)                                                                                                      \
    {                                                                                                                \
        NAME, C("Reference", "string", "What it scales.", 0, hpa_reference, ""),                                     \
            C("Targets", "string", "Metrics: now and aimed at.", 0, fn, ""),                                         \
            C("MinPods", "string", "Fewest pods.", 0, text_unset, "spec.minReplicas"),                               \
            C("MaxPods", "string", "Most pods.", 0, num_cell, "spec.maxReplicas"),                                   \
            C("Replicas", "string", "Pods now.", 0, num_cell, "status.currentReplicas"), AGE                         \
    }
TABLE(hpa) = HPA(hpa_targets);
TABLE(hpa_v1) = HPA(hpa_v1_targets);
TABLE(configmap) = {NAME, C("Data", "string", "How many entries.", 0, configmap_data, ""), AGE};
TABLE(networkpolicy) = {NAME, C("Pod-Selector", "string", "Pods it holds for.", 0, selector_cell, "spec.podSelector"),
                        AGE};
TABLE(binding) = {
    NAME,
    C("Role", "string", "Role that is granted.", 0, role_cell, ""),
    AGE,
    C("Users", "string", "Users that get it.", 1, subjects_cell, "User"),
    C("Groups", "string", "Groups that get it.", 1, subjects_cell, "Group"),
    C("ServiceAccounts", "string", "Service accounts that get it.", 1, subjects_cell, "ServiceAccount")};
TABLE(csr) = {NAME,
              AGE,
              C("SignerName", "string", "Who should sign.", 0, text_none, "spec.signerName"),
              C("Requestor", "string", "Who asks.", 0, text_cell, "spec.username"),
              C("RequestedDuration", "string", "For how long.", 0, csr_duration, "spec.expirationSeconds"),
              C("Condition", "string", "What was decided.", 0, csr_condition, "")};
TABLE(lease) = {NAME, C("Holder", "string", "Who holds it.", 0, text_cell, "spec.holderIdentity"), AGE};
TABLE(storageclass) = {
    NAME_BY(storageclass_name),
    C("Provisioner", "string", "Who makes volumes.", 0, text_cell, "provisioner"),
    C("ReclaimPolicy", "string", "What happens to released volumes.", 0, or_delete, "reclaimPolicy"),
    C("VolumeBindingMode", "string", "When claims are bound.", 0, or_immediate, "volumeBindingMode"),
    C("AllowVolumeExpansion", "string", "Whether volumes may grow.", 0, yes_cell, "allowVolumeExpansion"),
    AGE};
TABLE(attributesclass) = {NAME, C("DriverName", "string", "Driver.", 0, text_cell, "driverName"), AGE};
TABLE(revision) = {NAME, C("Controller", "string", "Whose it is.", 0, revision_owner, ""),
                   C("Revision", "string", "Number.", 0, num_cell, "revision"), AGE};
TABLE(quota) = {NAME, C("Request", "string", "Used and allowed.", 0, quota_cell, "requests"),
                C("Limit", "string", "Used and allowed limits.", 0, quota_cell, "limits"), AGE};
TABLE(priorityclass) = {
    NAME, C("Value", "integer", "Priority.", 0, num_cell, "value"),
    C("Global-Default", "boolean", "Whether it holds where none is named.", 0, yes_cell, "globalDefault"), AGE,
    C("PreemptionPolicy", "string", "Whether others may be pushed out.", 0, text_cell, "preemptionPolicy")};
TABLE(runtimeclass) = {NAME, C("Handler", "string", "Name of the runtime.", 0, text_cell, "handler"), AGE};
TABLE(attachment) = {NAME,
                     {"Attacher", "string", "name", "Driver.", 0, text_cell, "spec.attacher"},
                     C("PV", "string", "Volume.", 0, text_cell, "spec.source.persistentVolumeName"),
                     C("Node", "string", "Node.", 0, text_cell, "spec.nodeName"),
                     C("Attached", "boolean", "Whether it is attached.", 0, yes_cell, "status.attached"),
                     AGE};
TABLE(slice) = {NAME, C("AddressType", "string", "Kind of addresses.", 0, text_cell, "addressType"),
                C("Ports", "string", "Ports.", 0, slice_ports, ""),
                C("Endpoints", "string", "Addresses.", 0, slice_endpoints, ""), AGE};
TABLE(csinode) = {NAME, C("Drivers", "integer", "How many drivers.", 0, count_cell, "spec.drivers"), AGE};
TABLE(csidriver) = {
    NAME,
    C("AttachRequired", "boolean", "Whether volumes are attached first.", 0, yes_unless_no, "spec.attachRequired"),
    C("PodInfoOnMount", "boolean", "Whether it learns of the pod.", 0, yes_cell, "spec.podInfoOnMount"),
    C("StorageCapacity", "boolean", "Whether it reports capacity.", 0, yes_cell, "spec.storageCapacity"),
    C("TokenRequests", "string", "Audiences of tokens it gets.", 0, audiences_cell, "spec.tokenRequests"),
    C("RequiresRepublish", "boolean", "Whether it is called again.", 0, yes_cell, "spec.requiresRepublish"),
    C("Modes", "string", "Modes of volumes.", 0, joined_none, "spec.volumeLifecycleModes"),
    AGE};
TABLE(webhooks) = {NAME, C("Webhooks", "integer", "How many webhooks.", 0, count_cell, "webhooks"), AGE};
TABLE(policy) = {NAME, C("Validations", "integer", "How many validations.", 0, count_cell, "spec.validations"),
                 C("ParamKind", "string", "Kind of its parameters.", 0, param_kind, ""), AGE};
TABLE(mutatingpolicy) = {NAME, C("Mutations", "integer", "How many mutations.", 0, count_cell, "spec.mutations"),
                         C("ParamKind", "string", "Kind of its parameters.", 0, param_kind, ""), AGE};
TABLE(policybinding) = {NAME, C("PolicyName", "string", "Policy that is bound.", 0, text_cell, "spec.policyName"),
                        C("ParamRef", "string", "Parameters.", 0, param_ref, ""), AGE};
TABLE(flowschema) = {
    NAME,
    C("PriorityLevel", "string", "Level that requests get.", 0, text_cell, "spec.priorityLevelConfiguration.name"),
    C("MatchingPrecedence", "string", "Order of matching.", 0, num_cell, "spec.matchingPrecedence"),
    C("DistinguisherMethod", "string", "How flows are told apart.", 0, text_none, "spec.distinguisherMethod.type"),
    AGE,
    C("MissingPL", "string", "Whether its level is missing.", 0, dangling_cell, "")};
TABLE(prioritylevel) = {
    NAME,
    C("Type", "string", "Exempt or Limited.", 0, text_cell, "spec.type"),
    C("NominalConcurrencyShares", "string", "Shares.", 0, num_none, "spec.limited.nominalConcurrencyShares"),
    C("Queues", "string", "Queues.", 0, num_none, "spec.limited.limitResponse.queuing.queues"),
    C("HandSize", "string", "Queues a flow is dealt.", 0, num_none, "spec.limited.limitResponse.queuing.handSize"),
    C("QueueLengthLimit", "string", "Longest queue.", 0, num_none,
      "spec.limited.limitResponse.queuing.queueLengthLimit"),
    AGE};
TABLE(claim) = {NAME, C("State", "string", "What became of it.", 0, claim_state, ""), AGE};
TABLE(resourceslice) = {NAME, C("Node", "string", "Node.", 0, text_cell, "spec.nodeName"),
                        C("Driver", "string", "Driver.", 0, text_cell, "spec.driver"),
                        C("Pool", "string", "Pool.", 0, text_cell, "spec.pool.name"), AGE};
TABLE(servicecidr) = {NAME, C("CIDRs", "string", "Ranges.", 0, joined_cell, "spec.cidrs"), AGE};
TABLE(ipaddress) = {NAME, C("ParentRef", "string", "Who has it.", 0, parent_ref, "")};
TABLE(apiservice) = {NAME, C("Service", "string", "Service that answers.", 0, apiservice_service, ""),
                     C("Available", "string", "Whether it answers.", 0, apiservice_available, ""), AGE};
TABLE(live) = {NAME, AGE};
TABLE(other) = {NAME, C("Created At", "date", "When it was created.", 0, created_cell, "metadata.creationTimestamp")};

static const struct {
    const struct kind *kind;
    const struct column *columns;
    size_t n;
} tables[] = {
#define ROW(k, t)                                                                                                    \
    {                                                                                                                \
        K(k), table_##t, countof(table_##t)                                                                          \
    }
    ROW(Pod, pod),
    ROW(PodTemplate, podtemplate),
    ROW(ReplicationController, rc),
    ROW(Service, service),
    ROW(Endpoints, endpoints),
    ROW(Node, node),
    ROW(Event, event),
    ROW(events_k8s_io_Event, event),
    ROW(Namespace, namespace),
    ROW(Secret, secret),
    ROW(ServiceAccount, named),
    ROW(ConfigMap, configmap),
    ROW(PersistentVolume, pv),
    ROW(PersistentVolumeClaim, pvc),
    ROW(ResourceQuota, quota),
    ROW(Deployment, deployment),
    ROW(ReplicaSet, replicaset),
    ROW(StatefulSet, statefulset),
    ROW(DaemonSet, daemonset),
    ROW(ControllerRevision, revision),
    ROW(Job, job),
    ROW(CronJob, cronjob),
    ROW(HorizontalPodAutoscaler, hpa),
    ROW(autoscaling_v1_HorizontalPodAutoscaler, hpa_v1),
    ROW(PodDisruptionBudget, pdb),
    ROW(Ingress, ingress),
    ROW(IngressClass, ingressclass),
    ROW(NetworkPolicy, networkpolicy),
    ROW(IPAddress, ipaddress),
    ROW(ServiceCIDR, servicecidr),
    ROW(RoleBinding, binding),
    ROW(ClusterRoleBinding, binding),
    ROW(CertificateSigningRequest, csr),
    ROW(Lease, lease),
    ROW(StorageClass, storageclass),
    ROW(VolumeAttributesClass, attributesclass),
    ROW(VolumeAttachment, attachment),
    ROW(CSINode, csinode),
    ROW(CSIDriver, csidriver),
    ROW(PriorityClass, priorityclass),
    ROW(RuntimeClass, runtimeclass),
    ROW(EndpointSlice, slice),
    ROW(MutatingWebhookConfiguration, webhooks),
    ROW(ValidatingWebhookConfiguration, webhooks),
    ROW(ValidatingAdmissionPolicy, policy),
    ROW(MutatingAdmissionPolicy, mutatingpolicy),
    ROW(ValidatingAdmissionPolicyBinding, policybinding),
    ROW(MutatingAdmissionPolicyBinding, policybinding),
    ROW(FlowSchema, flowschema),
    ROW(PriorityLevelConfiguration, prioritylevel),
    ROW(DeviceClass, named),
    ROW(ResourceClaim, claim),
    ROW(ResourceClaimTemplate, named),
    ROW(ResourceSlice, resourceslice),
    ROW(APIService, apiservice),
};

const struct column *columns_of(const struct kind *k, size_t *n)
{
    for (size_t i = 0; i < countof(tables); i++)
        if (tables[i].kind == k) {
            *n = tables[i].n;
            return tables[i].columns;
        }
    *n = k->live ? countof(table_live) : countof(table_other);
    return k->live ? table_live : table_other;
}

void columns_row(struct arena *a, const struct kind *k, const struct val *tree, int64_t now, struct val *cells)
{
    size_t n;
    const struct column *columns = columns_of(k, &n);
    struct column_source source = {a, tree, now};
    *cells = val_list();
    for (size_t i = 0; i < n; i++)
        val_add(a, cells, columns[i].cell(&source, columns[i].path));
    if (k == K(IPAddress)) /* upstream's rows have an age that no column declares */
        val_add(a, cells, age_cell(&source, "metadata.creationTimestamp"));
}

bool columns_conditions(struct arena *a, const struct kind *k, const struct val *tree, struct val *conditions)
{
    if (k != K(Pod) || !pod_has_ended(tree))
        return false;
    struct str ended_as = val_text_at(tree, N(status), N(phase));
    bool succeeded = str_eq(ended_as, S("Succeeded"));
    struct val completed = val_map();
    val_set_text(a, &completed, N(type), S("Completed"));
    val_set_text(a, &completed, N(status), S("True"));
    val_set_text(a, &completed, N(reason), ended_as);
    val_set_text(a, &completed, N(message),
                 succeeded ? S("The pod has completed successfully.") : S("The pod failed."));
    *conditions = val_list();
    val_add(a, conditions, completed);
    return true;
}
