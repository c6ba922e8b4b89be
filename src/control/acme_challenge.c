/* Challenges: shown (by the door, or in DNS), then told to the server, looked at until it has decided, and taken
 * away. */
#include "control/acme_int.h"

#define DOOR_NS (10 * NS_PER_S) /* so long the proxy may take before somebody is told */

static bool challenge_is_over(const struct obj *o)
{
    return acme_state_is_over(acme_text(obj_status(o), "state"));
}

static bool challenge_is_dns(const struct obj *o)
{
    return str_eqz(acme_text(obj_spec(o), "type"), "DNS-01");
}

static const char *challenge_way(const struct obj *o)
{
    return challenge_is_dns(o)                                        ? "DNS-01"
           : str_eqz(obj_note(o, ACME_CHALLENGE_NOTE), ACME_TLS_ALPN) ? "TLS-ALPN-01"
                                                                      : "HTTP-01";
}

bool acme_solving_of(struct arena *a, const struct obj *o, struct acme_solving *out)
{
    const struct val *spec = obj_spec(o);
    if (challenge_is_dns(o) || challenge_is_over(o) || obj_deleting(o) ||
        !val_true(acme_at(obj_status(o), "processing")))
        return false;
    *out = (struct acme_solving){.host = acme_text(spec, "dnsName"),
                                 .body = acme_text(spec, "key"),
                                 .alpn = str_eqz(obj_note(o, ACME_CHALLENGE_NOTE), ACME_TLS_ALPN)};
    out->path = STR_JOIN(a, S("/.well-known/acme-challenge/"), acme_text(spec, "token"));
    return out->host.n && out->body.n;
}

/* --- DNS --- */

/* The job, a webhook of the cluster or a program of the administrator adds the record, or takes it away. */
static bool dns_ask(struct acme_turn *t, bool present)
{
    const struct val *spec = obj_spec(t->o), *dns = acme_at(spec, "solver.dns01");
    const struct val *zone = acme_at(dns, "rfc2136"), *hook = acme_at(dns, "webhook");
    const struct obj *issuer = acme_issuer_of(t->v, t->o->ns, spec);
    struct acme_request *r = &t->todo->request;
    *t->todo = (struct acme_todo){.how = zone ? ACME_BY_JOB : hook ? ACME_BY_WEBHOOK : ACME_BY_HOOK};
    t->todo->uid = t->o->uid;
    t->todo->dns_name = acme_text(spec, "dnsName");
    t->todo->key = acme_text(spec, "key");
    t->todo->ns = issuer ? acme_secret_ns(issuer) : t->o->ns;
    t->todo->group = acme_text(hook, "groupName");
    t->todo->solver = acme_text(hook, "solverName");
    t->todo->config = acme_at(hook, "config");
    r->op = present ? ACME_DNS_PRESENT : ACME_DNS_CLEANUP;
    r->fqdn = STR_JOIN(t->a, S("_acme-challenge."), acme_text(spec, "dnsName"));
    r->value = acme_text(spec, "key");
    r->follow = str_eqz(acme_text(dns, "cnameStrategy"), "Follow");
    if (!zone)
        return true;
    struct str name = acme_text(zone, "tsigSecretSecretRef.name"), key = acme_text(zone, "tsigSecretSecretRef.key");
    const struct obj *secret = name.n ? view_get(t->v, K(Secret), t->todo->ns, name) : NULL;
    r->nameserver = acme_text(zone, "nameserver");
    r->tcp = str_ieq(acme_text(zone, "protocol"), S("TCP"));
    r->tsig_name = acme_text(zone, "tsigKeyName");
    r->tsig_alg = acme_text(zone, "tsigAlgorithm");
    r->tsig_secret = secret ? str_trim(val_raw(val_get_str(val_get(&secret->tree, N(data)), key))) : S("");
    return !r->tsig_name.n || r->tsig_secret.n;
}

/* --- states --- */

static void challenge_tell(struct acme_turn *t, const char *state, struct str reason)
{
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    if (state)
        acme_put(t->a, status, "state", str_of(state));
    acme_put(t->a, status, "reason", reason);
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
}

static void challenge_begin(struct acme_turn *t)
{
    if (t->f->under_way >= ACME_CHALLENGES_DONE) {
        plan_again(t->out, t->v->now + 5 * NS_PER_S);
        return;
    }
    struct val tree = plan_edit_status(t->out, t->o);
    acme_set(t->a, status_need(t->a, &tree), "processing", val_bool(true));
    (void)plan_update(t->out, t->o, S("status"), tree); /* it differs */
    plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Normal", "Started", "Challenge scheduled for processing");
}

static void challenge_presented(struct acme_turn *t)
{
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    acme_set(t->a, status, "presented", val_bool(true));
    acme_put(t->a, status, "presentedAt", time_text(t->a, t->v->now));
    acme_put(t->a, status, "reason", S(""));
    (void)plan_update(t->out, t->o, S("status"), tree); /* it differs */
    plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Normal", "Presented",
               "Presented challenge using %s challenge mechanism", challenge_way(t->o));
}

/* The proxy takes some milliseconds; where it takes longer something is in its way, and the owner is to know. */
static void door_wait(struct acme_turn *t)
{
    int64_t made = 0;
    bool alpn = str_eqz(obj_note(t->o, ACME_CHALLENGE_NOTE), ACME_TLS_ALPN);
    if (!time_parse(val_text_at(obj_meta(t->o), N(creationTimestamp)), &made) || t->v->now - made < DOOR_NS)
        plan_again(t->out, made ? made + DOOR_NS : t->v->now + DOOR_NS);
    else
        challenge_tell(t, NULL,
                       arena_fmt(t->a,
                                 "Waiting for %s challenge propagation: the front door does not answer on port %d "
                                 "yet; the log of wherry says why",
                                 challenge_way(t->o), alpn ? 443 : 80));
}

static void challenge_present(struct acme_turn *t)
{
    if (!challenge_is_dns(t->o) && t->f->solved)
        challenge_presented(t);
    else if (!challenge_is_dns(t->o))
        door_wait(t);
    else if (!dns_ask(t, true)) {
        *t->todo = (struct acme_todo){0};
        challenge_tell(t, NULL,
                       S("Error presenting challenge: the Secret with the TSIG key is not there, or lacks it"));
        turn_later(t);
    }
}

static void finalizer_drop(struct acme_turn *t)
{
    struct val tree = plan_edit(t->out, t->o), list = val_list();
    struct val *meta = val_get_mut(&tree, N(metadata));
    val_each_item (f, val_get(meta, N(finalizers)))
        if (!str_eqz(val_text(f), ACME_FINALIZER))
            (void)val_add(t->a, &list, val_copy(t->a, f));
    (void)val_set(t->a, meta, N(finalizers), list);
    (void)plan_update(t->out, t->o, S(""), tree); /* NULL: it has gone already */
}

static void challenge_clean_up(struct acme_turn *t)
{
    /* whether it was presented may not have been written down */
    bool presented = val_true(acme_at(obj_status(t->o), "processing"));
    bool held = val_has_text(val_get(obj_meta(t->o), N(finalizers)), S(ACME_FINALIZER));
    if (challenge_is_dns(t->o) && presented && dns_ask(t, false))
        return;
    *t->todo = (struct acme_todo){0};
    if (obj_deleting(t->o)) {
        if (held)
            finalizer_drop(t);
        return;
    }
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    (void)val_del_str(status, S("processing"));
    (void)val_del_str(status, S("presented"));
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
}

/* waitInsteadOfSelfCheck: so long after it was shown nobody is told. */
static bool challenge_waits(struct acme_turn *t)
{
    int64_t shown = 0, wait = acme_duration(obj_spec(t->o), "solver.waitInsteadOfSelfCheck");
    if (wait <= 0 || acme_text(obj_status(t->o), "state").n ||
        !time_parse(acme_text(obj_status(t->o), "presentedAt"), &shown) || shown + wait <= t->v->now)
        return false;
    plan_again(t->out, shown + wait);
    return true;
}

void challenge_plan(struct acme_turn *t)
{
    const struct val *status = obj_status(t->o), *spec = obj_spec(t->o);
    if (obj_deleting(t->o) || challenge_is_over(t->o)) {
        challenge_clean_up(t);
        return;
    }
    const struct obj *issuer = acme_issuer_of(t->v, t->o->ns, spec);
    if (!issuer || !acme_text(obj_status(issuer), "acme.uri").n || turn_rests(t))
        return;
    if (!val_true(acme_at(status, "processing"))) {
        challenge_begin(t);
        return;
    }
    /* what the door shows is gone with a proxy that was ended: only what it shows now counts */
    if (!val_true(acme_at(status, "presented"))) {
        challenge_present(t);
        return;
    }
    if (!challenge_is_dns(t->o) && !t->f->solved)
        return;
    if (challenge_waits(t))
        return;
    if (challenge_is_dns(t->o) && t->f->checked && !acme_text(status, "state").n) {
        (void)dns_ask(t, true);
        struct acme_request r = {.op = ACME_DNS_LOOK, .fqdn = t->todo->request.fqdn, .value = t->todo->request.value};
        r.follow = t->todo->request.follow;
        r.nameserver = t->todo->request.nameserver;
        t->todo->how = ACME_BY_JOB;
        t->todo->request = r;
        return;
    }
    turn_request(t, issuer, ACME_CHALLENGE);
    t->todo->request.url = acme_text(spec, "url");
    t->todo->request.authorization = acme_text(spec, "authorizationURL");
    t->todo->request.look = str_eqz(acme_text(status, "state"), "processing");
}

/* --- what was heard --- */

static void presenting_heard(struct acme_turn *t, bool present)
{
    const struct acme_answer *r = t->answer;
    if (!r->err.kind && present) {
        challenge_presented(t);
        return;
    }
    if (!present && (!r->err.kind || t->f->tries >= 4)) { /* one that cannot be taken away holds nobody for ever */
        struct val tree = plan_edit_status(t->out, t->o), *status = status_need(t->a, &tree);
        (void)val_del_str(status, S("processing"));
        (void)val_del_str(status, S("presented"));
        (void)plan_update(t->out, t->o, S("status"), tree); /* it differs */
        if (!r->err.kind)
            return;
    }
    struct str words = arena_fmt(t->a, "Error %s challenge: %s", present ? "presenting" : "cleaning up", r->err.text);
    if (!str_eq(acme_text(obj_status(t->o), "reason"), words))
        plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Warning", present ? "PresentError" : "CleanUpError",
                   STR_FMT, STR_ARG(words));
    if (present)
        challenge_tell(t, NULL, words);
    turn_later(t);
}

static void looking_heard(struct acme_turn *t)
{
    const struct acme_answer *r = t->answer;
    if (!r->err.kind) {
        challenge_tell(t, "pending", S(""));
        return;
    }
    challenge_tell(t, NULL, arena_fmt(t->a, "Waiting for DNS-01 challenge propagation: %s", r->err.text));
    turn_soon(t);
}

static void challenge_decided(struct acme_turn *t)
{
    const struct acme_answer *r = t->answer;
    struct str domain = acme_text(obj_spec(t->o), "dnsName");
    if (str_eqz(r->status, "valid")) {
        challenge_tell(t, "valid", S("Successfully authorized domain"));
        plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Normal", "DomainVerified",
                   "Domain \"" STR_FMT "\" verified with \"%s\" validation", STR_ARG(domain), challenge_way(t->o));
        return;
    }
    struct str words = arena_fmt(t->a,
                                 "Error accepting authorization: acme: authorization error for " STR_FMT ": " STR_FMT,
                                 STR_ARG(domain), STR_ARG(r->why.n ? r->why : r->status));
    challenge_tell(t, str_eqz(r->status, "expired") ? "expired" : "invalid", words);
    plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Warning", "Failed",
               "Accepting challenge authorization failed: " STR_FMT, STR_ARG(words));
}

void challenge_heard(struct acme_turn *t, const struct acme_todo *did)
{
    const struct acme_answer *r = t->answer;
    if (did->request.op == ACME_DNS_PRESENT || did->request.op == ACME_DNS_CLEANUP) {
        presenting_heard(t, did->request.op == ACME_DNS_PRESENT);
    } else if (did->request.op == ACME_DNS_LOOK) {
        looking_heard(t);
    } else if (r->err.kind && answer_is_final(r)) {
        challenge_tell(t, "errored", arena_fmt(t->a, "Error accepting challenge: %s", r->err.text));
    } else if (r->err.kind) {
        if (str_eqz(r->type, "accountDoesNotExist"))
            issuer_lost(t);
        challenge_tell(t, NULL, arena_fmt(t->a, "%s", r->err.text));
        turn_later(t);
    } else if (str_eqz(r->status, "pending") || str_eqz(r->status, "processing")) {
        challenge_tell(t, "processing", S("Waiting for the authority to look at it"));
        turn_soon(t);
    } else {
        challenge_decided(t);
    }
}
