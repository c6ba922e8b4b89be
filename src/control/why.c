/* Why an object is not as declared. Causes are looked for from the outside in, and the first one found is the answer:
 * a deletion that waits, then what the row of the kind says, which may ask the same of another object that it rests
 * on - of a Deployment its ReplicaSet, of that the pod that is worst off, of a pod its scheduling, volumes, images,
 * containers - and takes its answer over with "about" before it (why_behind). On the way each object that was passed
 * adds a line to the chain. Answers are told from what stands on objects (conditions, statuses, events) and from
 * running the plans that decide (why_plan), so that what is said is what the controllers would do; nothing is
 * guessed.
 *
 * Here: the rows, and what the files of causes share: words, the way out in the form that kubectl takes, texts of
 * others turned into ours by tables (struct saying), the nearest name. */
#include "api/custom.h"
#include "control/why_int.h"

/* What is said of a kind. A kind without `say` is stored and nothing acts on it; `what` is what nobody does then. */
struct why_row {
    const struct kind *kind; /* NULL: */
    const char *definition;  /* of a kind that a definition of this name defines */
    why_fn *say;
    struct str (*head)(struct question *q, const struct obj *o);
};
static const struct why_row rows[] = {
    {K(Deployment), NULL, why_deployment, deployment_head},
    {K(ReplicaSet), NULL, why_replicaset, replicaset_head},
    {K(Pod), NULL, why_pod, pod_head},
    {K(Service), NULL, why_service, service_head},
    {K(Namespace), NULL, why_namespace, plain_head},
    {K(PodDisruptionBudget), NULL, why_budget, plain_head},
    {K(Node), NULL, why_node, plain_head},
    {K(PersistentVolumeClaim), NULL, why_claim, plain_head},
    {K(Job), NULL, why_job, job_head},
    {K(CronJob), NULL, why_cronjob, plain_head},
    {K(StatefulSet), NULL, why_statefulset, stateful_head},
    {K(DaemonSet), NULL, why_daemonset, daemonset_head},
    {K(ReplicationController), NULL, why_replicaset, replicaset_head},
    {K(HorizontalPodAutoscaler), NULL, why_hpa, plain_head},
    {K(PersistentVolume), NULL, why_volume, plain_head},
    {K(Ingress), NULL, why_ingress, ingress_head},
    {K(NetworkPolicy), NULL, why_netpolicy, plain_head},
    {K(ResourceQuota), NULL, why_quota, plain_head},
    {K(LimitRange), NULL, why_limits, plain_head},
    {K(CustomResourceDefinition), NULL, why_definition, plain_head},
    {K(APIService), NULL, why_apiservice, plain_head},
    {K(ValidatingWebhookConfiguration), NULL, why_webhooks, plain_head},
    {K(MutatingWebhookConfiguration), NULL, why_webhooks, plain_head},
    {K(ValidatingAdmissionPolicy), NULL, why_policy, plain_head},
    {K(MutatingAdmissionPolicy), NULL, why_policy, plain_head},
    {K(CertificateSigningRequest), NULL, why_csr, plain_head},
    {NULL, "issuers.cert-manager.io", why_issuer, plain_head},
    {NULL, "clusterissuers.cert-manager.io", why_issuer, plain_head},
    {NULL, "certificates.cert-manager.io", why_certificate, plain_head},
    {NULL, "certificaterequests.cert-manager.io", why_cert_request, plain_head},
    {NULL, "orders.acme.cert-manager.io", why_order, plain_head},
    {NULL, "challenges.acme.cert-manager.io", why_challenge, plain_head},
    {NULL, "gateways.gateway.networking.k8s.io", why_gateway, gateway_head},
    {NULL, "listenersets.gateway.networking.k8s.io", why_listenerset, plain_head},
    {NULL, "httproutes.gateway.networking.k8s.io", why_route, plain_head},
    {NULL, "grpcroutes.gateway.networking.k8s.io", why_route, plain_head},
    {NULL, "tlsroutes.gateway.networking.k8s.io", why_route, plain_head},
    {NULL, "tcproutes.gateway.networking.k8s.io", why_route, plain_head},
    {NULL, "udproutes.gateway.networking.k8s.io", why_route, plain_head},
    {NULL, "backendtlspolicies.gateway.networking.k8s.io", why_backend_policy, plain_head},
};
const struct kind *const why_reads[] = {K(Deployment),
                                        K(ReplicaSet),
                                        K(ReplicationController),
                                        K(StatefulSet),
                                        K(Job),
                                        K(CronJob),
                                        K(DaemonSet),
                                        K(ControllerRevision),
                                        K(Pod),
                                        K(Service),
                                        K(EndpointSlice),
                                        K(Namespace),
                                        K(Node),
                                        K(ConfigMap),
                                        K(Event),
                                        K(ServiceAccount),
                                        K(PodDisruptionBudget),
                                        K(PersistentVolumeClaim),
                                        K(ResourceQuota),
                                        K(LimitRange),
                                        K(PriorityClass),
                                        K(PersistentVolume),
                                        K(StorageClass),
                                        K(VolumeAttachment),
                                        K(CSINode),
                                        K(CSIDriver),
                                        K(CSIStorageCapacity),
                                        K(APIService),
                                        K(ValidatingWebhookConfiguration),
                                        K(MutatingWebhookConfiguration),
                                        K(Ingress),
                                        K(IngressClass),
                                        K(HorizontalPodAutoscaler),
                                        K(NetworkPolicy),
                                        NULL};

const char *const why_defined[] = {"gatewayclasses.gateway.networking.k8s.io",
                                   "gateways.gateway.networking.k8s.io",
                                   "listenersets.gateway.networking.k8s.io",
                                   "httproutes.gateway.networking.k8s.io",
                                   "grpcroutes.gateway.networking.k8s.io",
                                   "tlsroutes.gateway.networking.k8s.io",
                                   "tcproutes.gateway.networking.k8s.io",
                                   "udproutes.gateway.networking.k8s.io",
                                   "backendtlspolicies.gateway.networking.k8s.io",
                                   "referencegrants.gateway.networking.k8s.io",
                                   "issuers.cert-manager.io",
                                   "clusterissuers.cert-manager.io",
                                   "certificates.cert-manager.io",
                                   "certificaterequests.cert-manager.io",
                                   "orders.acme.cert-manager.io",
                                   "challenges.acme.cert-manager.io",
                                   NULL};

static const struct why_row *row_of(const struct kind *k)
{
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].kind ? rows[i].kind == k : k->custom && str_eqz(k->custom->definition, rows[i].definition))
            return &rows[i];
    return NULL;
}

void why_of(struct question *q, const struct obj *o, struct finding *f)
{
    const struct why_row *row = row_of(o->kind);
    if (row)
        row->say(q, o, f);
}

bool why_knows(const struct kind *k)
{
    return row_of(k) != NULL;
}

bool why_stands_alone(const struct view *v, const struct obj *o)
{
    const struct val *ref = obj_controller(o);
    if (!ref)
        return true;
    const struct kind *k = kind_of_api_version(val_text_at(ref, N(apiVersion)), val_text_at(ref, N(kind)));
    return !k || !view_get(v, k, k->namespaced ? o->ns : S(""), val_text_at(ref, N(name)));
}

/* ---- the answer ---- */

void why_fini(struct why *w)
{
    array_fini(&w->found.chain);
    arena_fini(&w->arena);
}

static PRINTF(5, 0) bool found_as(struct question *q, struct finding *f, enum why_state state, const char *cause,
                                  const char *fmt, va_list args)
{
    if (f->state != WHY_FINE)
        return false;
    f->state = state;
    f->cause = cause;
    f->reason = arena_vfmt(q->a, fmt, args);
    return true;
}

bool why_found(struct question *q, struct finding *f, const char *cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool first = found_as(q, f, WHY_BLOCKED, cause, fmt, args);
    va_end(args);
    return first;
}

bool why_coming(struct question *q, struct finding *f, const char *cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool first = found_as(q, f, WHY_COMING, cause, fmt, args);
    va_end(args);
    return first;
}

void why_way(struct question *q, struct finding *f, const char *fmt, ...)
{
    if (f->way.n > 0)
        return;
    va_list args;
    va_start(args, fmt);
    f->way = arena_vfmt(q->a, fmt, args);
    va_end(args);
}

void why_chain(struct question *q, struct finding *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(q->a, fmt, args);
    va_end(args);
    array_push(&f->chain, text);
}

bool why_worse(const struct finding *a, const struct finding *b)
{
    return a->state > b->state;
}

void why_behind(struct question *q, struct finding *f, struct str about, struct finding *own_other)
{
    array_each (it, &own_other->chain)
        array_push(&f->chain, *it);
    array_fini(&own_other->chain);
    if (f->state != WHY_FINE || own_other->state == WHY_FINE)
        return;
    f->state = own_other->state;
    f->cause = own_other->cause;
    f->way = own_other->way;
    f->reason = about.n > 0 ? arena_fmt(q->a, STR_FMT " " STR_FMT, STR_ARG(about), STR_ARG(own_other->reason))
                            : own_other->reason;
}

static void sentence_add(struct strbuf *out, struct str text)
{
    strbuf_add(out, text);
    if (!str_ends(text, S("."))) /* some that are quoted end with their own */
        strbuf_addc(out, '.');
}

void why_text(const struct why *w, struct strbuf *out)
{
    if (w->found.reason.n > 0)
        strbuf_addf(out, STR_FMT ": ", STR_ARG(w->head));
    sentence_add(out, w->found.reason.n > 0 ? w->found.reason : w->head);
    if (w->found.way.n > 0) {
        strbuf_addc(out, ' ');
        sentence_add(out, w->found.way);
    }
}

/* The object that a person edits: up the controllers, as far as they can be seen. */
static const struct obj *owner_of(const struct view *v, const struct obj *o)
{
    for (int depth = 0; depth < 8; depth++) {
        const struct val *ref = obj_controller(o);
        const struct kind *k = ref ? kind_of_api_version(val_text_at(ref, N(apiVersion)), val_text_at(ref, N(kind)))
                                   : NULL;
        const struct obj *up = k ? view_get(v, k, k->namespaced ? o->ns : S(""), val_text_at(ref, N(name))) : NULL;
        if (!up)
            return o;
        o = up;
    }
    return o;
}

struct question why_about(const struct question *q, const struct obj *o)
{
    struct question other = *q;
    other.owner = owner_of(q->v, o);
    return other;
}

void why_object(const struct why_ask *ask, const struct obj *o, struct why *out)
{
    struct question q = {.ask = ask, .v = ask->view, .a = &out->arena, .owner = owner_of(ask->view, o)};
    const struct why_row *row = row_of(o->kind);
    struct finding *f = &out->found;
    f->cause = "";
    bool going = o->kind != K(Pod) && obj_deleting(o);
    if (going && o->kind != K(Namespace) && o->kind != K(CustomResourceDefinition))
        why_deletion(&q, o, f);
    else if (row)
        row->say(&q, o, f);
    out->head = row ? row->head(&q, o) : plain_head(&q, o);
    if (going)
        out->head = arena_fmt(q.a, STR_FMT " " STR_FMT " was deleted and is still there", STR_ARG(o->kind->kind),
                              STR_ARG(o->name));
    else if (o->kind == K(Pod) && f->state != WHY_FINE) { /* what is said of a pod goes on from its name */
        out->head = arena_fmt(q.a, "Pod " STR_FMT " " STR_FMT, STR_ARG(o->name), STR_ARG(f->reason));
        f->reason = STR_NONE;
    } else if (f->state == WHY_FINE) {
        out->head = arena_fmt(q.a, STR_FMT " is as declared" STR_FMT STR_FMT,
                              STR_ARG(arena_fmt(q.a, STR_FMT " " STR_FMT, STR_ARG(o->kind->kind), STR_ARG(o->name))),
                              STR_ARG(f->reason.n ? S(": ") : S("")), STR_ARG(f->reason));
        f->reason = STR_NONE;
    }
}

/* ---- words ---- */

struct str why_word(struct question *q, const struct obj *o)
{
    const char *const *shorts = o->kind->short_names;
    struct str kind = shorts && shorts[0] && o->kind != K(Pod) ? str_of(shorts[0]) : o->kind->singular;
    return arena_fmt(q->a, STR_FMT "/" STR_FMT, STR_ARG(kind), STR_ARG(o->name));
}

struct str why_ns_flag(struct question *q, struct str ns)
{
    return ns.n == 0 || str_eqz(ns, "default") ? S("") : arena_fmt(q->a, " -n " STR_FMT, STR_ARG(ns));
}

struct str why_target(struct question *q, const struct obj *o)
{
    return arena_fmt(q->a, STR_FMT STR_FMT, STR_ARG(why_word(q, o)), STR_ARG(why_ns_flag(q, o->ns)));
}

bool why_alone(const struct question *q)
{
    return q->owner->kind == K(Pod);
}

bool why_is_fixed(const struct question *q)
{
    return why_alone(q) || q->owner->kind == K(Job);
}

/* A pod of a file: its controller is the Node. */
static bool why_static(const struct question *q)
{
    return q->owner->kind == K(Node);
}

struct str why_edit(struct question *q)
{
    if (why_static(q))
        return arena_fmt(q->a, "its file on node " STR_FMT ", in the folder of the setting static-pods",
                         STR_ARG(q->owner->name));
    if (q->owner->kind == K(Job))
        return S("kubectl replace --force -f FILE (the pod template of a Job cannot be edited)");
    return why_alone(q) ? S("kubectl replace --force -f FILE (a pod's spec cannot be edited)")
                        : arena_fmt(q->a, "kubectl edit " STR_FMT, STR_ARG(why_target(q, q->owner)));
}

struct str why_spec_path(struct question *q)
{
    if (q->owner->kind == K(CronJob))
        return S("spec.jobTemplate.spec.template.spec.");
    return why_alone(q) || why_static(q) ? S("spec.") : S("spec.template.spec.");
}

static struct str word_of(struct question *q, struct str name, const struct word *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(name, words[i].name))
            return words[i].text;
    if (!q->owner) /* of a write, there is no object */
        return S("");
    if (str_eqz(name, "setimage"))
        return q->owner->kind == K(Job) || why_static(q)
                   ? why_edit(q)
                   : why_fill(q, "kubectl set image {target} {container}=IMAGE", words, n);
    const struct word known[] = {{"target", why_target(q, q->owner)},
                                 {"edit", why_edit(q)},
                                 {"spec", why_spec_path(q)},
                                 {"ns", why_ns_flag(q, q->owner->ns)}};
    for (size_t i = 0; i < countof(known); i++)
        if (str_eqz(name, known[i].name))
            return known[i].text;
    return S("");
}

struct str why_fill(struct question *q, const char *pattern, const struct word *words, size_t n)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str rest = str_of(pattern), before, name;
    while (rest.n > 0) {
        if (!str_split(rest, '{', &before, &rest)) {
            strbuf_add(&b, before);
            break;
        }
        strbuf_add(&b, before);
        (void)str_split(rest, '}', &name, &rest);
        strbuf_add(&b, word_of(q, name, words, n));
    }
    return str_dup(q->a, strbuf_str(&b));
}

void why_saying(struct question *q, struct finding *f, const struct saying *row, struct str message,
                const struct word *words, size_t n)
{
    while (row->says[0] && !str_has(message, str_of(row->says)))
        row++;
    if (!why_found(q, f, row->cause, STR_FMT, STR_ARG(why_fill(q, row->reason, words, n))))
        return;
    if (row->way[0])
        why_way(q, f, STR_FMT, STR_ARG(why_fill(q, row->way, words, n)));
}

#define QUOTE_MOST 300
struct str why_quoted(struct question *q, struct str text)
{
    text = str_trim(text);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addc(&b, '"');
    for (size_t i = 0; i < MIN(text.n, QUOTE_MOST); i++)
        strbuf_addc(&b, (unsigned char)text.p[i] < ' ' ? ' ' : text.p[i]);
    strbuf_addz(&b, text.n > QUOTE_MOST ? "...\"" : "\"");
    return str_dup(q->a, strbuf_str(&b));
}

/* Levenshtein's distance, of texts up to 63 bytes. */
static size_t text_distance(struct str a, struct str b)
{
    size_t row[64];
    for (size_t k = 0; k <= b.n; k++)
        row[k] = k;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= b.n; k++) {
            size_t above = row[k];
            row[k] = MIN(MIN(row[k], row[k - 1]) + 1, diagonal + (a.p[i - 1] != b.p[k - 1]));
            diagonal = above;
        }
    }
    return row[b.n];
}

void nearest_try(struct nearest *n, struct str name)
{
    if (name.n == 0 || name.n > 63 || n->wanted.n > 63 || str_eq(name, n->wanted))
        return;
    size_t d = text_distance(n->wanted, name);
    if (d * 3 <= MAX(n->wanted.n, name.n) && (n->best.n == 0 || d < n->distance)) {
        n->best = name;
        n->distance = d;
    }
}

/* ---- what was seen ---- */

int64_t why_event_time(const struct obj *e)
{
    const struct name *const fields[] = {N(lastTimestamp), N(eventTime), N(firstTimestamp)};
    int64_t series = val_time(val_at(&e->tree, N(series), N(lastObservedTime)));
    for (size_t i = 0; i < countof(fields) && !series; i++)
        series = val_time(val_get(&e->tree, fields[i]));
    return series;
}

struct str why_event_text(const struct obj *event)
{
    return event ? val_text_at(&event->tree, N(message)) : S("");
}

const struct obj *why_event(struct question *q, const struct obj *about, const char *reason, struct str begins,
                            struct str field_path)
{
    const struct obj *best = NULL;
    struct obj *e;
    for (struct objset_iter it = view_with(q->v, K(Event), &index_namespace, about->ns.n ? about->ns : S("default"));
         (e = objset_next(&it));) {
        const struct val *who = val_get(&e->tree, N(involvedObject));
        if (!str_eq(val_text_at(who, N(uid)), about->uid) || !str_eqz(val_text_at(&e->tree, N(reason)), reason) ||
            !str_starts(why_event_text(e), begins) ||
            (field_path.n > 0 && !str_eq(val_text_at(who, N(fieldPath)), field_path)))
            continue;
        if (!best || why_event_time(e) >= why_event_time(best))
            best = e;
    }
    return best;
}

struct str why_plan(struct question *q, const struct controller *row, const struct obj *o, struct str trouble)
{
    struct view view = *q->v;
    view.trouble = trouble;
    AUTO(plan_fini) struct plan p = {0};
    row->plan(&view, (struct key){o->ns, o->name}, &p);
    return str_dup(q->a, p.why);
}
