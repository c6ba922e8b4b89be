/* When an authority wants a certificate renewed (ARI, RFC 9773): asked for no more often than it says, and written
 * down on the Certificate, which is renewed by that. */
#include "control/acme_int.h"

#define NEXT_LEAST (60 * NS_PER_S)
#define NEXT_USUAL (6 * 3600 * NS_PER_S)
#define NEXT_MOST  (24 * 3600 * NS_PER_S)

static int64_t time_at(const struct val *v, const char *path)
{
    int64_t at = 0;
    return time_parse(acme_text(v, path), &at) ? at : 0;
}

void certificate_plan(struct acme_turn *t)
{
    const struct val *status = obj_status(t->o);
    const struct obj *issuer = acme_issuer_of(t->v, t->o->ns, obj_spec(t->o));
    if (!issuer || obj_deleting(t->o) || !t->f->ari.n || !acme_text(status, "notAfter").n)
        return;
    int64_t next = time_at(status, "acme.ari.nextCheck");
    /* another certificate than the one that was asked about: at once */
    bool renewed = time_at(status, "acme.ari.lastChecked") < time_at(status, "notBefore");
    if (next > t->v->now && !renewed) {
        plan_again(t->out, next);
        return;
    }
    turn_request(t, issuer, ACME_RENEWAL);
    t->todo->request.key = S("");
    t->todo->request.ari = t->f->ari;
}

static struct val *ari_need(struct acme_turn *t, struct val *tree)
{
    struct val *status = status_need(t->a, tree), *acme = val_get_str_mut(status, S("acme"));
    if (!acme || !val_is(acme, VAL_MAP))
        acme = val_set_str(t->a, status, S("acme"), val_map());
    struct val *ari = val_get_str_mut(acme, S("ari"));
    return ari && val_is(ari, VAL_MAP) ? ari : val_set_str(t->a, acme, S("ari"), val_map());
}

/* Somewhere in the window, the same for a certificate each time it is asked (RFC 9773 4.2 wants it by chance); where
 * that is over, now. */
static int64_t moment_of(const struct acme_turn *t, int64_t start, int64_t end)
{
    uint64_t chance = stable_hash(t->f->ari, stable_hash(t->o->uid, 1));
    int64_t at = start + (int64_t)(chance % (uint64_t)((end - start) / NS_PER_S)) * NS_PER_S;
    return MAX(at, t->v->now + NS_PER_S);
}

static void renewal_note(struct acme_turn *t, struct str at)
{
    struct val patch = val_map();
    struct val *notes = val_need_map(t->a, &patch, N(metadata), N(annotations));
    if (str_eq(obj_note(t->o, ACME_RENEW_AT_NOTE), at))
        return;
    (void)val_set_str(t->a, notes, S(ACME_RENEW_AT_NOTE), val_str(t->a, at));
    (void)plan_patch(t->out, t->o, S(""), patch);
}

void certificate_heard(struct acme_turn *t)
{
    const struct acme_answer *r = t->answer;
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *ari = ari_need(t, &tree);
    int64_t start = 0, end = 0, wait = ns_of_seconds(r->retry_after_s);
    wait = wait ? MIN(MAX(wait, NEXT_LEAST), NEXT_MOST) : r->err.kind == E_NOT_IMPLEMENTED ? NEXT_MOST : NEXT_USUAL;
    acme_put(t->a, ari, "lastChecked", time_text(t->a, t->v->now));
    acme_put(t->a, ari, "nextCheck", time_text(t->a, t->v->now + wait));
    acme_put(t->a, ari, "lastError", r->err.kind && r->err.kind != E_NOT_IMPLEMENTED ? str_of(r->err.text) : S(""));
    bool told = !r->err.kind && time_parse(r->start, &start) && time_parse(r->end, &end) && end - start > NS_PER_S;
    if (told) {
        struct val window = val_map();
        acme_put(t->a, &window, "end", r->end);
        acme_put(t->a, &window, "start", r->start);
        acme_set(t->a, ari, "suggestedWindow", window);
        acme_put(t->a, ari, "explanationURL", r->explanation);
    }
    (void)plan_update(t->out, t->o, S("status"), tree); /* it differs */
    plan_step(t->out);
    if (told)
        renewal_note(t, time_text(t->a, moment_of(t, start, end)));
    plan_again(t->out, t->v->now + wait);
}
