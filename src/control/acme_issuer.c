/* Issuers: their account. Registered again when the server, the address or the key changes; the key is made where the
 * Secret has none, and changed at the server (RFC 8555 7.3.5) where the one before is still known. */
#include "control/acme_int.h"

#define REGISTERED "The ACME account was registered with the ACME server"

/* Conditions as upstream words them. */
static void ready_set(struct acme_turn *t, struct val *tree, bool ready, const char *reason, struct str message)
{
    struct val *status = status_need(t->a, tree);
    struct condition c = {.type = "Ready",
                          .status = ready ? "True" : "False",
                          .reason = reason,
                          .message = message,
                          .observed = OBSERVED,
                          .generation = obj_generation(t->o)};
    if (t->f->asked)
        conditions_set(t->a, status, conditions_without(t->a, status, "Ready"));
    conditions_set(t->a, status, conditions_with(t->a, status, &c, t->v->now));
}

static void issuer_fails(struct acme_turn *t, const char *reason, struct str message)
{
    struct val tree = plan_edit_status(t->out, t->o);
    const struct val *was = condition_get(obj_status(t->o), "Ready");
    bool told = str_eq(val_text_at(was, N(message)), message) && str_eqz(val_text_at(was, N(reason)), reason);
    ready_set(t, &tree, false, reason, message);
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
    plan_why(t->out, "%s: " STR_FMT, reason, STR_ARG(message));
    if (!told)
        plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Warning", reason, STR_FMT, STR_ARG(message));
}

/* The Secret, or what is to be done so that there is one. */
static const struct obj *secret_need(struct acme_turn *t, struct str name, struct str key)
{
    struct str ns = acme_secret_ns(t->o);
    const struct obj *secret = view_get(t->v, K(Secret), ns, name);
    if (secret && val_raw(val_get_str(val_get(&secret->tree, N(data)), key)).n)
        return secret;
    if (val_true(acme_at(obj_spec(t->o), "acme.disableAccountKeyGeneration"))) {
        issuer_fails(t, "ErrRegisterACMEAccount",
                     arena_fmt(t->a,
                               "the ACME issuer config has 'disableAccountKeyGeneration' set to true, but the secret "
                               "was not found: secret \"" STR_FMT "/" STR_FMT "\" has no " STR_FMT,
                               STR_ARG(ns), STR_ARG(name), STR_ARG(key)));
        return NULL;
    }
    if (!t->f->new_key.n)
        return NULL; /* the shell makes one and comes again */
    struct val tree = secret ? plan_edit(t->out, secret) : val_map();
    struct val *data = val_need_map(t->a, &tree, N(data));
    (void)val_set_str(t->a, data, key, val_bytes(t->a, t->f->new_key));
    if (secret) {
        (void)plan_update(t->out, secret, S(""), tree); /* it lacks the key: it differs */
        return NULL;
    }
    if (!t->o->ns.n)
        plan_create(t->out, K(Namespace), S(""), ns, val_map())->exists_ok = true;
    (void)plan_create(t->out, K(Secret), ns, name, tree);
    return NULL;
}

static bool binding_read(struct acme_turn *t)
{
    const struct val *eab = acme_at(obj_spec(t->o), "acme.externalAccountBinding");
    struct acme_request *r = &t->todo->request;
    if (!eab)
        return true;
    struct str name = acme_text(eab, "keySecretRef.name"), key = acme_text(eab, "keySecretRef.key"),
               ns = acme_secret_ns(t->o);
    const struct obj *secret = view_get(t->v, K(Secret), ns, name);
    struct str mac = secret ? val_raw(val_get_str(val_get(&secret->tree, N(data)), key)) : S("");
    r->eab_kid = acme_text(eab, "keyID");
    r->eab_key = str_trim(mac);
    while (str_ends(r->eab_key, S("="))) /* some authorities hand it out padded */
        r->eab_key = str_sub(r->eab_key, 0, r->eab_key.n - 1);
    r->eab_alg = acme_text(eab, "keyAlgorithm");
    if (r->eab_key.n)
        return true;
    issuer_fails(t, "ErrRegisterACMEAccount",
                 arena_fmt(t->a,
                           "failed to get External Account Binding key from secret: secret \"" STR_FMT "/" STR_FMT
                           "\" %s",
                           STR_ARG(ns), STR_ARG(name), secret ? "does not have that key" : "not found"));
    return false;
}

/* Whether the account that the status tells of is that of this spec and this key. */
static bool account_is_current(const struct acme_turn *t)
{
    const struct val *status = obj_status(t->o), *acme = acme_at(obj_spec(t->o), "acme");
    const struct val *ready = condition_get(status, "Ready");
    return condition_is(status, "Ready", "True") && acme_text(status, "acme.uri").n &&
           str_eq(acme_text(status, "acme.lastRegisteredEmail"), acme_text(acme, "email")) &&
           str_eq(acme_text(status, "acme.lastPrivateKeyHash"), t->f->key_hash) &&
           val_num_at(ready, 0, N(observedGeneration)) == obj_generation(t->o);
}

/* No solver that works here: nothing would ever come of it, and its owner had better know at once. */
static bool solvers_are_fine(struct acme_turn *t)
{
    struct str trouble = S("");
    const struct val *solvers = acme_at(obj_spec(t->o), "acme.solvers");
    val_each_item (solver, solvers) {
        struct str why = solver_trouble(t->a, solver, t->f);
        if (!why.n)
            return true;
        trouble = trouble.n ? trouble : why;
    }
    if (!val_len(solvers))
        return true;
    issuer_fails(t, "InvalidConfig", trouble);
    return false;
}

void issuer_plan(struct acme_turn *t)
{
    const struct val *acme = acme_at(obj_spec(t->o), "acme");
    struct str key, name = acme_key_secret(t->o, &key), server = acme_text(acme, "server");
    if (!acme || obj_deleting(t->o))
        return;
    if (!str_starts(server, S("https://"))) {
        issuer_fails(t, "InvalidURL",
                     arena_fmt(t->a, "spec.acme.server: \"" STR_FMT "\" is no URL of https", STR_ARG(server)));
        return;
    }
    if (!solvers_are_fine(t) || !secret_need(t, name, key) || account_is_current(t) || turn_rests(t))
        return;
    turn_request(t, t->o, ACME_ACCOUNT);
    t->todo->request.email = acme_text(acme, "email");
    if (t->f->old_key.n && t->todo->request.account.n) {
        t->todo->request.op = ACME_REKEY;
        t->todo->request.new_key = t->todo->request.key;
        t->todo->request.key = t->f->old_key;
    } else if (!binding_read(t)) {
        *t->todo = (struct acme_todo){0};
    }
}

void issuer_heard(struct acme_turn *t)
{
    const struct acme_answer *r = t->answer;
    if (r->err.kind) {
        issuer_fails(t, "ErrRegisterACMEAccount",
                     arena_fmt(t->a, "Failed to register ACME account: %s", r->err.text));
        turn_later(t);
        return;
    }
    if (!r->url.n) { /* the key was changed: what follows is to find the account by the new one */
        plan_again(t->out, t->v->now);
        return;
    }
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree), *acme = val_get_str_mut(status, S("acme"));
    if (!acme || !val_is(acme, VAL_MAP))
        acme = val_set_str(t->a, status, S("acme"), val_map());
    acme_put(t->a, acme, "uri", r->url);
    acme_put(t->a, acme, "lastRegisteredEmail", acme_text(obj_spec(t->o), "acme.email"));
    acme_put(t->a, acme, "lastPrivateKeyHash", t->f->key_hash);
    ready_set(t, &tree, true, "ACMEAccountRegistered", S(REGISTERED));
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
}

/* The account that the status tells of is not there: found or made anew before anything else. */
void issuer_lost(struct acme_turn *t)
{
    const struct obj *issuer = acme_issuer_of(t->v, t->o->ns, obj_spec(t->o));
    if (!issuer)
        return;
    struct val tree = plan_edit_status(t->out, issuer);
    struct val *acme = val_get_str_mut(status_need(t->a, &tree), S("acme"));
    if (!acme || !val_del_str(acme, S("uri")))
        return;
    (void)plan_update(t->out, issuer, S("status"), tree); /* it differs */
}
