/* How a webhook is called. A request's admission has a round of mutating webhooks and one of validating ones. A
 * mutating round asks one webhook, waits (write_wait), changes the object as it is told, and looks for the next; so
 * each sees what those before it did. It knows by their ids which it has asked, and holds no configuration while it
 * waits: one may be written or go meanwhile. A validating round asks all that match at once and goes on when the
 * last has answered; of several refusals the first in order is told.
 *
 * A write whose object changes meanwhile starts over (write.h), its rounds begin anew with the new object. */
#include "server/webhook.h"
#include "api/codec.h"
#include "api/patch.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/match.h"
#include "server/outbound.h"
#include "server/review.h"
#include "server/write_managed.h"

/* --- configurations, compiled --- */

struct webhook {
    struct str name, id; /* id: of all in the cluster */
    struct match match;
    struct cel_policy *conditions;
    bool ignore, without_effects, again, beta;
    int timeout_s;
    struct outbound *outbound;
};
struct webhook_config {
    struct arena arena;
    struct str name;
    struct webhook *hooks;
    size_t n;
};
struct webhook_list {
    ARRAY(struct webhook_config *) configs; /* in order of their names */
};
struct webhooks {
    struct server *server;
    struct webhook_list mutating, validating;
};

/* What was asked of its webhooks goes on: a call holds what it needs. */
static void config_free(struct webhook_config *c)
{
    for (size_t i = 0; i < c->n; i++) {
        outbound_unref(c->hooks[i].outbound);
        cel_policy_free(c->hooks[i].conditions);
    }
    arena_fini(&c->arena);
    mem_free(c);
}

static bool member_is(const struct val *v, const struct name *name, const char *what)
{
    return str_eqz(val_text_at(v, name), what);
}

static struct webhook_config *config_new(struct server *s, const struct obj *o)
{
    struct webhook_config *c = NEW(struct webhook_config);
    *c = (struct webhook_config){.arena = ARENA};
    struct arena *a = &c->arena;
    struct val *list = ARENA_NEW(a, struct val);
    *list = val_copy(a, val_get(&o->tree, N(webhooks)));
    c->name = str_dup(a, o->name);
    c->n = val_len(list);
    c->hooks = arena_alloc(a, c->n * sizeof *c->hooks);
    for (size_t i = 0; i < c->n; i++) {
        const struct val *v = val_item(list, i), *client = val_get(v, N(clientConfig));
        c->hooks[i] = (struct webhook){
            .name = val_text_at(v, N(name)),
            .match = match_of(a, v, val_get(v, N(rules))),
            .conditions = cel_policy_new(v),
            .ignore = member_is(v, N(failurePolicy), "Ignore"),
            .without_effects = member_is(v, N(sideEffects), "None") || member_is(v, N(sideEffects), "NoneOnDryRun"),
            .again = member_is(v, N(reinvocationPolicy), "IfNeeded"),
            .beta = review_wants_beta(val_get(v, N(admissionReviewVersions))),
            .timeout_s = (int)val_num_at(v, 10, N(timeoutSeconds)),
            .outbound = outbound_of_client(s, client),
        };
        c->hooks[i].id = arena_fmt(a, STR_FMT "/" STR_FMT "/%zu", STR_ARG(c->name), STR_ARG(c->hooks[i].name), i);
    }
    return c;
}

static size_t list_place(const struct webhook_list *l, struct str name)
{
    size_t at = 0;
    while (at < l->configs.n && str_cmp(l->configs.p[at]->name, name) < 0)
        at++;
    return at;
}

void webhooks_changed(struct webhooks *w, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    struct webhook_list *l = o->kind == K(MutatingWebhookConfiguration)     ? &w->mutating
                             : o->kind == K(ValidatingWebhookConfiguration) ? &w->validating
                                                                            : NULL;
    if (!l)
        return;
    size_t at = list_place(l, o->name);
    if (at < l->configs.n && str_eq(l->configs.p[at]->name, o->name)) {
        config_free(l->configs.p[at]);
        array_del(&l->configs, at);
    }
    if (!now)
        return;
    array_push(&l->configs, NULL);
    memmove(l->configs.p + at + 1, l->configs.p + at, (l->configs.n - 1 - at) * sizeof *l->configs.p);
    l->configs.p[at] = config_new(w->server, now);
}

struct webhooks *webhooks_new(struct server *s)
{
    struct webhooks *w = NEW(struct webhooks);
    w->server = s;
    return w;
}

static void list_free(struct webhook_list *l)
{
    array_each (it, &l->configs)
        config_free(*it);
    array_fini(&l->configs);
}

void webhooks_free(struct webhooks *w)
{
    if (!w)
        return;
    list_free(&w->mutating);
    list_free(&w->validating);
    mem_free(w);
}

/* --- which are asked --- */

/* What configures admission is not asked about, so that a bad one can be taken away. */
static bool is_exempt(const struct kind *k)
{
    return str_eqz(k->group, "admissionregistration.k8s.io");
}

/* --- a round --- */

struct webhook_call {
    struct outbound_call out;
    struct webhook_round *round;
    struct str name, id; /* of the webhook */
    bool ignore, again;
    struct outbound *outbound; /* until it is asked */
    int timeout_s;
    struct review review;
    bool answered;
    struct str body; /* of the answer, in the request's arena */
    struct err err;  /* of the call; where it has a kind */
};
/* That was asked, in this round or before. */
struct webhook_asked {
    struct webhook_asked *next;
    struct str id;
    bool now;       /* since the rows began to run for the last time */
    bool may_again; /* wants to see what others change after it, and nobody has since */
    bool must_again;
};
struct webhook_round {
    struct admission *x;
    struct webhook_asked *asked;
    struct webhook_call *calls;
    size_t ncalls, open;
    bool changed, once_more; /* once_more: the rows run for the second time */
    const struct val *last;  /* the object when the round was through */
};

static struct webhook_round *round_new(struct admission *x)
{
    struct webhook_round *r = ARENA_NEW(&x->r->arena, struct webhook_round);
    r->x = x;
    return r;
}

static struct webhook_asked *asked_find(const struct webhook_round *r, struct str id)
{
    for (struct webhook_asked *it = r->asked; it; it = it->next)
        if (str_eq(it->id, id))
            return it;
    return NULL;
}

static void somebody_changed(struct webhook_round *r)
{
    for (struct webhook_asked *it = r->asked; it; it = it->next) {
        it->must_again |= it->may_again;
        it->may_again = false;
    }
}

bool webhooks_changed_it(const struct admission *x)
{
    return x->mutating && x->mutating->changed;
}

void webhooks_once_more(struct admission *x)
{
    if (!x->mutating)
        return;
    x->mutating->once_more = true;
    for (struct webhook_asked *it = x->mutating->asked; it; it = it->next)
        it->now = false;
}

static void round_cancel(struct write *w)
{
    struct webhook_round *rounds[] = {w->admission.mutating, w->admission.validating};
    for (size_t i = 0; i < countof(rounds); i++)
        for (size_t k = 0; rounds[i] && k < rounds[i]->ncalls; k++)
            outbound_cancel(&rounds[i]->calls[k].out);
}

static void call_answered(struct outbound_call *out, const struct http_answer *a, const struct err *err)
{
    struct webhook_call *c = container_of(out, struct webhook_call, out);
    struct webhook_round *r = c->round;
    if (err)
        c->err = *err;
    else
        c->body = str_dup(&r->x->r->arena, a->body);
    c->answered = true;
    if (--r->open == 0)
        write_resume(r->x->r->write);
}

static bool call_init(struct webhook_call *c, struct webhook_round *round, const struct webhook *h,
                      const struct kind *as, const struct val *obj, const struct val *old)
{
    struct admission *x = round->x;
    struct arena *a = &x->r->arena;
    *c = (struct webhook_call){.round = round,
                               .name = str_dup(a, h->name),
                               .id = str_dup(a, h->id),
                               .ignore = h->ignore,
                               .again = h->again,
                               .outbound = h->outbound,
                               .timeout_s = h->timeout_s};
    c->review = (struct review){.x = x, .as = as, .uid = uid_new(a), .beta = h->beta};
    if (match_is_whole(x) && obj)
        c->review.managed = write_managed_shown(x->r->write);
    if (match_is_whole(x) && old)
        c->review.old_managed = write_managed_was(x->r->write);
    return match_sees(x, as, obj, old, &c->review.obj, &c->review.old);
}

static void call_start(struct webhook_call *c)
{
    AUTO(strbuf_fini) struct strbuf body = STRBUF(4 * LIMIT_BODY_BYTES);
    review_write(&body, &c->review);
    outbound_ask(TAKE(c->outbound), &c->out, &c->round->x->r->arena, strbuf_str(&body), c->timeout_s, call_answered);
}

/* --- what came of it --- */

static bool fail_calling(struct webhook_call *c, const char *what, const struct err *err)
{
    return fail_internal(c->round->x->r, "failed calling webhook \"" STR_FMT "\": %s%s", STR_ARG(c->name), what,
                         err->text);
}

/* As it says, or 400; never as a success. */
static bool fail_rejected(struct webhook_call *c, const struct val *status)
{
    struct request *r = c->round->x->r;
    struct arena *a = &r->arena;
    struct str name = c->name, message = val_text_at(status, N(message)), reason = val_text_at(status, N(reason));
    int64_t code = val_num_at(status, 0, N(code));
    message = message.n ? message : reason;
    struct str text = message.n
                          ? arena_fmt(a, "admission webhook \"" STR_FMT "\" denied the request: " STR_FMT,
                                      STR_ARG(name), STR_ARG(message))
                          : arena_fmt(a, "admission webhook \"" STR_FMT "\" denied the request without explanation",
                                      STR_ARG(name));
    fail_plain(r, code < 400 || code > 599 ? 400 : (int)code, STR_FMT, STR_ARG(text));
    struct failure *f = &r->answer.fail;
    const struct val *details = val_get(status, N(details));
    f->reason = str_dup(a, reason).p;
    f->details = details != NULL;
    f->name = str_dup(a, val_text_at(details, N(name)));
    f->group = str_dup(a, val_text_at(details, N(group)));
    f->kind = str_dup(a, val_text_at(details, N(kind)));
    f->uid = str_dup(a, val_text_at(details, N(uid)));
    f->retry_after_s = (int)val_num_at(details, 0, N(retryAfterSeconds));
    val_each_item (it, val_get(details, N(causes)))
        fail_add_cause(r, str_dup(a, val_text_at(it, N(reason))).p, str_dup(a, val_text_at(it, N(message))),
                       str_dup(a, val_text_at(it, N(field))));
    return false;
}

/* What a webhook changed, checked as what a client sends is. */
static bool apply_patch(struct webhook_call *c, const struct val *patch, bool *changed)
{
    struct admission *x = c->round->x;
    struct request *r = x->r;
    struct arena *a = &r->arena;
    struct err err = ERR;
    if (!c->review.obj)
        return fail_internal(r,
                             "admission webhook \"" STR_FMT
                             "\" attempted to modify the object, which is not supported for this operation",
                             STR_ARG(c->name));
    const struct type *type = review_type(c->review.as, c->review.obj);
    struct val shown = review_shown(a, c->review.obj, c->review.managed);
    struct val whole = type_complete(a, type, &shown), patched, typed;
    if (!patch_json(a, &whole, patch, &patched, &err) || !type_decode_val(a, type, &patched, &typed, NULL, &err))
        return fail_internal(r, "%s", err.text);
    if (!str_eq(val_text_at(&typed, N(kind)), val_text_at(c->review.obj, N(kind))) ||
        !str_eq(val_text_at(&typed, N(apiVersion)), val_text_at(c->review.obj, N(apiVersion))))
        return fail_internal(r,
                             "admission webhook \"" STR_FMT "\" attempted to change apiVersion or kind of the object",
                             STR_ARG(c->name));
    struct str ns = val_text_at(&typed, N(metadata), N(namespace));
    if (x->kind->namespaced && !x->apart && ns.n && !str_eq(ns, x->ns))
        return fail_bad_request(
            r, "the namespace of the provided object does not match the namespace sent on the request");
    if (!x->apart && type == c->review.as->type)
        kind_default(a, c->review.as, &typed);
    if (c->review.managed)
        write_managed_changed(x->r->write, &typed, c->review.managed);
    *changed = !val_equal(&typed, c->review.obj);
    if (!*changed)
        return true;
    if (match_is_whole(x)) {
        const struct val *back;
        if (!match_as(x, c->review.as, x->kind, &typed, &back))
            return false;
        *x->obj = c->review.as == x->kind ? *back : val_copy(a, back);
    } else if (x->apart) {
        *x->obj = typed;
    } else {
        kind_scale_apply(a, x->kind, x->obj, &typed);
    }
    return true;
}

/* False: answered. A webhook that is not there, or answers nonsense, is let pass where its configuration says so. */
static bool call_judge(struct webhook_call *c, bool mutating, bool *changed)
{
    struct request *r = c->round->x->r;
    struct review_answer answer = {.what = "failed to call webhook: "};
    if (c->err.kind || !review_read(&r->arena, &c->review, mutating, c->body, &answer, &c->err))
        return c->ignore || fail_calling(c, answer.what, &c->err);
    val_each_item (it, val_get(&answer.response, N(warnings)))
        answer_warn(r, val_text(it));
    if (!answer.allowed)
        return fail_rejected(c, val_get(&answer.response, N(status)));
    return !answer.patch || apply_patch(c, answer.patch, changed);
}

/* With a dry run nobody is asked who might do something then. */
static bool dry_run_fits(const struct webhook *h, struct request *r)
{
    return !r->options.dry_run || h->without_effects ||
           fail_bad_request(r, "admission webhook \"" STR_FMT "\" does not support dry run", STR_ARG(h->name));
}

/* Where they cannot be evaluated the write is refused, unless failures are to be ignored: then it is not asked. */
static enum matched conditions_met(const struct webhook *h, struct admission *x, const struct kind *as,
                                   const struct val *obj, const struct val *old)
{
    struct match_facts facts;
    if (!match_facts_of(&facts, x, as, obj, old))
        return MATCH_FAILED;
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 16);
    switch (cel_policy_met(h->conditions, &facts.told, &why)) {
    case CEL_MET: return MATCHES;
    case CEL_NOT_MET: return DOES_NOT_MATCH;
    case CEL_UNKNOWN: break;
    }
    if (h->ignore)
        return DOES_NOT_MATCH;
    fail_forbidden(x->r, STR_FMT, STR_ARG(strbuf_str(&why)));
    return MATCH_FAILED;
}

static enum matched webhook_matches(const struct webhook *h, struct admission *x, const struct val *obj,
                                    const struct val *old, const struct kind **as)
{
    enum matched met = match_asks(&h->match, x, obj, old, as);
    if (met == MATCHES && h->conditions)
        met = conditions_met(h, x, *as, obj, old);
    return met != MATCHES || dry_run_fits(h, x->r) ? met : MATCH_FAILED;
}

/* --- rows of admission --- */

/* The call that has been answered, as one that was asked; false: r is answered. */
static bool mutation_take(struct webhook_round *r)
{
    struct webhook_call *c = &r->calls[0];
    bool changed = false, ok = call_judge(c, true, &changed);
    if (r->x->r->write->missing)
        return false;
    c->answered = false;
    if (changed) {
        somebody_changed(r);
        r->changed = true;
    }
    asked_find(r, c->id)->may_again = c->again;
    return ok;
}

bool admit_webhooks_mutate(struct admission *x)
{
    const struct webhook_list *l = &x->r->server->webhooks->mutating;
    struct webhook_round *r = x->mutating;
    struct arena *a = &x->r->arena;
    if (!r && (!l->configs.n || is_exempt(x->kind)))
        return true;
    if (!r)
        r = x->mutating = round_new(x);
    if (r->ncalls && r->calls[0].answered && !mutation_take(r))
        return false;
    if (r->once_more && r->last && !val_equal(r->last, x->obj)) /* another row did, when it ran again */
        somebody_changed(r);
    r->last = NULL;
    for (size_t i = 0; i < l->configs.n; i++) {
        struct webhook_config *config = l->configs.p[i];
        for (size_t k = 0; k < config->n; k++) {
            const struct webhook *h = &config->hooks[k];
            struct webhook_asked *asked = asked_find(r, h->id);
            if (asked ? asked->now || !asked->must_again : r->once_more)
                continue;
            const struct kind *as;
            const struct val *obj, *old;
            if (!match_objects(x, &obj, &old))
                return false;
            enum matched matched = webhook_matches(h, x, obj, old, &as);
            if (matched == MATCH_FAILED)
                return false;
            if (matched == DOES_NOT_MATCH)
                continue;
            struct webhook_call call;
            if (!call_init(&call, r, h, as, obj, old))
                return false;
            if (!asked) {
                asked = ARENA_NEW(a, struct webhook_asked);
                *asked = (struct webhook_asked){.next = r->asked, .id = str_dup(a, h->id)};
                r->asked = asked;
            }
            asked->now = true;
            asked->must_again = asked->may_again = false;
            if (!r->calls)
                r->calls = ARENA_NEW(a, struct webhook_call);
            if (!write_wait(x->r->write, round_cancel))
                return false;
            r->ncalls = r->open = 1;
            r->calls[0] = call;
            call_start(&r->calls[0]);
            return false;
        }
    }
    if (x->obj) {
        struct val *last = ARENA_NEW(a, struct val);
        *last = val_copy(a, x->obj);
        r->last = last;
    }
    return true;
}

static bool validation_take(struct webhook_round *r)
{
    bool ok = true;
    for (size_t i = 0; i < r->ncalls; i++) {
        bool changed;
        ok = ok && call_judge(&r->calls[i], false, &changed);
    }
    return ok;
}

bool admit_webhooks_validate(struct admission *x)
{
    const struct webhook_list *l = &x->r->server->webhooks->validating;
    struct arena *a = &x->r->arena;
    if (x->validating)
        return validation_take(x->validating);
    if (!l->configs.n || is_exempt(x->kind))
        return true;
    struct webhook_round *r = round_new(x);
    const struct val *obj, *old;
    size_t most = 0;
    for (size_t i = 0; i < l->configs.n; i++)
        most += l->configs.p[i]->n;
    if (!match_objects(x, &obj, &old))
        return false;
    struct webhook_call *calls = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < l->configs.n; i++)
        for (size_t k = 0; ok && k < l->configs.p[i]->n; k++) {
            const struct webhook *h = &l->configs.p[i]->hooks[k];
            const struct kind *as;
            enum matched matched = webhook_matches(h, x, obj, old, &as);
            ok = matched != MATCH_FAILED;
            if (matched != MATCHES)
                continue;
            if (!calls)
                calls = arena_alloc(a, most * sizeof *calls);
            ok = call_init(&calls[r->ncalls++], r, h, as, obj, old);
        }
    r->calls = calls;
    if (ok && !r->ncalls)
        return true;
    if (!ok || !write_wait(x->r->write, round_cancel))
        return false;
    x->validating = r;
    r->open = r->ncalls;
    for (size_t i = 0; i < r->ncalls; i++)
        call_start(&calls[i]);
    return false;
}
