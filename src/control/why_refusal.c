/* Why a write is refused: by a webhook that says no, is not there or is not trusted, or since fields belong to
 * others; and whether the webhooks of a configuration can be asked at all. */
#include "control/why_int.h"

/* Where a webhook stands, and where it is asked. */
struct hook {
    const struct obj *config;
    const struct val *v;
    struct str ns, service; /* "" of a URL */
};

static struct hook hook_of(const struct obj *config, const struct val *v)
{
    const struct val *service = val_at(v, N(clientConfig), N(service));
    return (struct hook){config, v, val_text_at(service, N(namespace)), val_text_at(service, N(name))};
}

static struct hook hook_named(struct question *q, struct str name)
{
    const struct kind *const lists[] = {K(ValidatingWebhookConfiguration), K(MutatingWebhookConfiguration)};
    for (size_t i = 0; i < countof(lists); i++) {
        struct obj *o;
        for (struct objset_iter it = view_all(q->v, lists[i]); (o = objset_next(&it));)
            val_each_item (v, val_get(&o->tree, N(webhooks)))
                if (str_eq(val_text_at(v, N(name)), name))
                    return hook_of(o, v);
    }
    return (struct hook){0};
}

static bool is_ignored(const struct hook *h)
{
    return str_eqz(val_text_at(h->v, N(failurePolicy)), "Ignore");
}

/* "Service shop/hook", "https://10.0.0.1/hook". */
static struct str hook_place(struct question *q, const struct hook *h)
{
    return h->service.n ? arena_fmt(q->a, "Service " STR_FMT "/" STR_FMT, STR_ARG(h->ns), STR_ARG(h->service))
                        : val_text_at(h->v, N(clientConfig), N(url));
}

#define LET_PASS "or let writes pass without it: kubectl delete {config}"
static const struct saying answers[] = {
    {"denied the request", "WebhookRefuses", "webhook {hook} refuses {what}: {why}",
     "Mend what it names, or see what it is asked about: kubectl get {config} -o yaml"},
    {"does not support dry run", "WebhookNoDryRun",
     "webhook {hook} is asked about {what} and may do something when it is, so nothing can be tried without doing it",
     "Try it for good, or see whether its sideEffects are None: kubectl get {config} -o yaml"},
    {"not found", "WebhookMissing", "webhook {hook} has to be asked about {what}, and {place} is not there",
     "Make it, " LET_PASS},
    {"no service port", "WebhookPort", "webhook {hook} has to be asked about {what}, and {place} has no such port",
     "Name one that is there in clientConfig.service.port: kubectl edit {config}"},
    {"connection refused", "WebhookDown",
     "webhook {hook} has to be asked about {what}, and nothing listens at {place}", "Start it, " LET_PASS},
    {"no route to host", "WebhookDown", "webhook {hook} has to be asked about {what}, and no way leads to {place}",
     "Start it, " LET_PASS},
    {"context deadline exceeded", "WebhookSilent",
     "webhook {hook} has to be asked about {what}, and {place} does not answer in time", "See its log, " LET_PASS},
    {"x509", "WebhookUntrusted", "webhook {hook} has to be asked about {what}, and it is not trusted: {quoted}",
     "Put the CA that has signed its certificate into clientConfig.caBundle, and the name that is asked into the "
     "certificate: kubectl edit {config}"},
    {"gave HTTP response to HTTPS client", "WebhookWithoutTls",
     "webhook {hook} has to be asked about {what}, and {place} speaks no TLS, which it must",
     "Give it a certificate and the port where it speaks TLS"},
    {"received invalid webhook response", "WebhookAnswersBadly",
     "webhook {hook} was asked about {what} and answered nonsense: {quoted}", "See its log, " LET_PASS},
    {"", "WebhookFails", "webhook {hook} has to be asked about {what}, in vain: {quoted}", "See its log, " LET_PASS},
};

static struct str text_after(struct str text, const char *mark)
{
    ptrdiff_t at = str_find(text, str_of(mark));
    return at < 0 ? S("") : str_trim(str_sub(text, (size_t)at + strlen(mark), text.n));
}

/* webhook "a.example.com" denied ... */
static struct str name_quoted(struct str message)
{
    struct str rest = text_after(message, "webhook \""), name;
    return str_cut(&rest, '"', &name) ? name : S("");
}

static void hook_explain(struct question *q, struct str message, struct str what, struct finding *f)
{
    struct hook h = hook_named(q, name_quoted(message));
    struct str why = text_after(message, "denied the request:"),
               reason = text_after(message, "failed to call webhook:");
    const struct word words[] = {
        {"hook", name_quoted(message)},
        {"what", what},
        {"why", why.n ? why : S("it does not say why")},
        {"place", h.config ? hook_place(q, &h) : S("its server")},
        {"config",
         h.config ? arena_fmt(q->a, STR_FMT "/" STR_FMT, STR_ARG(h.config->kind->singular), STR_ARG(h.config->name))
                  : S("validatingwebhookconfigurations,mutatingwebhookconfigurations NAME")},
        {"quoted", why_quoted(q, reason.n ? reason : message)},
    };
    why_chain(q, f, "webhook " STR_FMT "%s" STR_FMT ": " STR_FMT, STR_ARG(words[0].text), h.config ? " of " : "",
              STR_ARG(h.config ? words[4].text : S("")), STR_ARG(message));
    const struct obj *service = h.service.n ? view_get(q->v, K(Service), h.ns, h.service) : NULL;
    if (service && str_has(message, S("failed calling")) && !str_has(message, S("x509"))) {
        struct finding behind = {0};
        struct question other = why_about(q, service);
        why_service(&other, service, &behind);
        array_each (it, &behind.chain)
            array_push(&f->chain, *it);
        if (behind.state == WHY_BLOCKED && str_has(message, S("connection refused"))) {
            why_found(q, f, "WebhookDown",
                      "webhook " STR_FMT " has to be asked about " STR_FMT ", and of its " STR_FMT " " STR_FMT,
                      STR_ARG(words[0].text), STR_ARG(what), STR_ARG(words[3].text), STR_ARG(behind.reason));
            why_way(q, f, STR_FMT, STR_ARG(behind.way));
        }
        array_fini(&behind.chain);
    }
    why_saying(q, f, answers, message, words, countof(words));
}

/* "Apply failed with 2 conflicts: conflicts with "a" using v1:\n- .data.x\n- .data.y" */
static void conflict_explain(struct question *q, struct str message, struct finding *f)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str rest = text_after(message, ": "), line;
    for (bool first = true; str_cut(&rest, '\n', &line); first = false) {
        bool field = str_starts(line, S("- "));
        strbuf_addf(&b, "%s" STR_FMT,
                    first   ? ""
                    : field ? " "
                            : "; ",
                    STR_ARG(field ? str_sub(line, 2, line.n) : line));
    }
    why_found(q, f, "ApplyConflict", "it sets fields to other values than those who own them: " STR_FMT,
              STR_ARG(strbuf_str(&b)));
    why_way(q, f,
            "Leave these fields out of the file, or take them over: kubectl apply --server-side --force-conflicts -f "
            "FILE");
}

/* `violates PodSecurity "restricted:latest": privileged (...), ...` */
static void security_explain(struct question *q, struct str message, struct str what, struct finding *f)
{
    struct str rest = text_after(message, "violates PodSecurity \""), level = S("");
    (void)str_cut(&rest, '"', &level);
    why_found(q, f, "PodSecurityRefuses",
              "its namespace enforces the Pod Security Standard " STR_FMT ", and refuses " STR_FMT ": " STR_FMT,
              STR_ARG(level), STR_ARG(what), STR_ARG(text_after(rest, ":")));
    if (q->owner)
        why_way(q, f,
                "Mend that in " STR_FMT ": " STR_FMT "; or let it in: kubectl label namespace " STR_FMT
                " pod-security.kubernetes.io/enforce=privileged --overwrite",
                STR_ARG(str_sub(why_spec_path(q), 0, why_spec_path(q).n - 1)), STR_ARG(why_edit(q)),
                STR_ARG(q->owner->ns));
    else
        why_way(q, f, "Mend that, or the label pod-security.kubernetes.io/enforce of the namespace");
}

bool why_refused(struct question *q, struct str message, struct str what, struct finding *f)
{
    if (str_starts(message, S("Apply failed with ")))
        conflict_explain(q, message, f);
    else if (str_has(message, S("admission webhook \"")) || str_has(message, S("failed calling webhook \"")))
        hook_explain(q, message, what, f);
    else if (str_has(message, S("violates PodSecurity \"")))
        security_explain(q, message, what, f);
    else
        return why_bounded(q, message, what, f) || why_stateful_refused(q, message, f);
    return true;
}

void why_refusal(const struct why_ask *ask, struct str head, struct str message, struct why *out)
{
    struct question q = {.ask = ask, .v = ask->view, .a = &out->arena};
    struct finding *f = &out->found;
    f->cause = "";
    out->head = str_dup(q.a, head);
    if (!why_refused(&q, message, S("it"), f))
        why_found(&q, f, "Refused", STR_FMT, STR_ARG(str_trim(message)));
}

static void hook_look(struct question *q, const struct hook *h, struct finding *f)
{
    const char *means = is_ignored(h) ? "writes pass without it" : "every write that it is asked about is refused";
    struct str name = val_text_at(h->v, N(name)), place = hook_place(q, h);
    const struct obj *service = view_get(q->v, K(Service), h->ns, h->service);
    if (!service) {
        why_found(q, f, "WebhookMissing", "of its webhook " STR_FMT " " STR_FMT " is not there: %s", STR_ARG(name),
                  STR_ARG(place), means);
        why_way(q, f, "Make it, or take the webhook away: kubectl delete " STR_FMT,
                STR_ARG(why_target(q, h->config)));
        return;
    }
    struct finding behind = {0};
    struct question other = why_about(q, service);
    why_service(&other, service, &behind);
    why_behind(q, f, arena_fmt(q->a, "of its webhook " STR_FMT " " STR_FMT ":", STR_ARG(name), STR_ARG(place)),
               &behind);
}

void why_webhooks(struct question *q, const struct obj *o, struct finding *f)
{
    size_t n = 0;
    val_each_item (it, val_get(&o->tree, N(webhooks))) {
        struct hook h = hook_of(o, it);
        why_chain(q, f, "webhook " STR_FMT ": asked at " STR_FMT ", failurePolicy " STR_FMT,
                  STR_ARG(val_text_at(it, N(name))), STR_ARG(hook_place(q, &h)),
                  STR_ARG(val_text_at(it, N(failurePolicy))));
        if (h.service.n && q->v->sets[K(Service)->id])
            hook_look(q, &h, f);
        n++;
    }
    if (f->state == WHY_FINE)
        f->reason = arena_fmt(q->a, "%zu webhook%s asked where it says", n, n == 1 ? " is" : "s are");
}
