/* Authorities for whom the API server calls: into webhook configurations, APIServices and definitions that convert by
 * a webhook, where an annotation names the Certificate, the Secret, or the cluster itself (cert-manager's
 * cainjector). A key is KIND/NAME. */
#include "control/cert.h"

#define NOTE_FROM_CERT   "cert-manager.io/inject-ca-from"
#define NOTE_FROM_SECRET "cert-manager.io/inject-ca-from-secret"
#define NOTE_FROM_API    "cert-manager.io/inject-apiserver-ca"
#define NOTE_ALLOWS      "cert-manager.io/allow-direct-injection"

static void inject_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    static const char *const notes[] = {NOTE_FROM_CERT, NOTE_FROM_SECRET};
    for (int i = 0; i < 2; i++) {
        AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
        strbuf_addf(&key, "%s:" STR_FMT, i ? "secret" : "cert", STR_ARG(obj_note(o, notes[i])));
        if (obj_has_note(o, notes[i]))
            add(arg, strbuf_str(&key));
    }
}
const struct objindex index_inject = {"inject", inject_keys};

static const struct kind *inject_kind(size_t i)
{
    return i == 0   ? K(ValidatingWebhookConfiguration)
           : i == 1 ? K(MutatingWebhookConfiguration)
           : i == 2 ? K(APIService)
           : i == 3 ? K(CustomResourceDefinition)
                    : NULL;
}

/* --- what is injected --- */

/* NULL: it is there; else why there is none. */
static const char *authority_find(const struct view *v, const struct obj *o, struct str *pem)
{
    struct str ns, name, from = obj_note(o, NOTE_FROM_CERT);
    const struct kind *certs = view_defined(v, CERTS);
    if (obj_has_note(o, NOTE_FROM_CERT)) {
        if (!str_split(from, '/', &ns, &name) || !ns.n)
            return "invalid certificate name: needs a namespace/ prefix";
        const struct obj *cert = certs ? view_get(v, certs, ns, name) : NULL;
        const struct obj *secret = cert ? view_get(v, K(Secret), ns, cert_text(obj_spec(cert), "secretName")) : NULL;
        if (!cert || !secret)
            return cert ? "the Certificate has no Secret yet" : "there is no such Certificate";
        if (!str_eq(obj_note(secret, NOTE_CERT), name))
            return "refusing to target secret: its annotation " NOTE_CERT " names another Certificate";
        *pem = secret_bytes(secret, "ca.crt");
        return pem->n ? NULL : "the Certificate's Secret has no ca.crt";
    }
    if (obj_has_note(o, NOTE_FROM_SECRET)) {
        if (!str_split(obj_note(o, NOTE_FROM_SECRET), '/', &ns, &name) || !ns.n)
            return "invalid secret source: missing namespace/ prefix";
        const struct obj *secret = view_get(v, K(Secret), ns, name);
        if (!secret)
            return "there is no such Secret";
        if (!str_eqz(obj_note(secret, NOTE_ALLOWS), "true"))
            return "Secret resource does not allow direct injection (annotation " NOTE_ALLOWS ": \"true\")";
        *pem = secret_bytes(secret, "ca.crt");
        return pem->n ? NULL : "the Secret has no ca.crt";
    }
    *pem = v->root_ca;
    return str_eqz(obj_note(o, NOTE_FROM_API), "true") && pem->n ? NULL : "";
}

static void webhooks_inject(struct plan *out, const struct obj *o, struct str pem)
{
    struct val tree = plan_edit(out, o), *list = val_get_mut(&tree, N(webhooks));
    for (size_t i = 0; i < val_len(list); i++)
        val_set(&out->arena, val_need_map(&out->arena, &list->list[i], N(clientConfig)), N(caBundle),
                val_bytes(&out->arena, pem));
    plan_update(out, o, S(""), tree);
}

static void authority_inject(struct plan *out, const struct obj *o, struct str pem)
{
    struct val patch = val_map(), *to;
    const struct val *have;
    if (o->kind == K(ValidatingWebhookConfiguration) || o->kind == K(MutatingWebhookConfiguration)) {
        webhooks_inject(out, o, pem);
        return;
    }
    if (o->kind == K(APIService)) {
        have = val_get(obj_spec(o), N(caBundle));
        to = val_need_map(&out->arena, &patch, N(spec));
    } else {
        const struct val *config = val_at(obj_spec(o), N(conversion), N(webhook), N(clientConfig));
        if (!config)
            return;
        have = val_get(config, N(caBundle));
        to = val_need_map(&out->arena, &patch, N(spec), N(conversion), N(webhook), N(clientConfig));
    }
    if (str_eq(val_raw(have), pem))
        return;
    val_set(&out->arena, to, N(caBundle), val_bytes(&out->arena, pem));
    plan_patch(out, o, S(""), patch);
}

static void inject_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = NULL;
    for (size_t i = 0; inject_kind(i); i++)
        if (str_eq(inject_kind(i)->kind, key.ns))
            k = inject_kind(i);
    const struct obj *o = k ? view_get(v, k, S(""), key.name) : NULL;
    struct str pem = S("");
    if (cert_waits(v, out) || !o || obj_deleting(o))
        return;
    const char *why = authority_find(v, o, &pem);
    if (!why)
        authority_inject(out, o, pem);
    else if (*why)
        plan_why(out, "no authority is injected: %s", why);
}

/* --- who is asked again --- */

static void keys_target(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    (void)v, (void)was;
    if (now && (obj_has_note(now, NOTE_FROM_CERT) || obj_has_note(now, NOTE_FROM_SECRET) ||
                obj_has_note(now, NOTE_FROM_API)))
        add(arg, now->kind->kind, now->name);
}

static void targets_add(const struct view *v, const char *from, struct str ns, struct str name, keys_add_fn *add,
                        void *arg)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    const struct obj *o;
    strbuf_addf(&key, "%s:" STR_FMT "/" STR_FMT, from, STR_ARG(ns), STR_ARG(name));
    for (size_t i = 0; inject_kind(i); i++)
        for (struct objset_iter it = view_with(v, inject_kind(i), &index_inject, strbuf_str(&key));
             (o = objset_next(&it));)
            add(arg, o->kind->kind, o->name);
}

static void keys_source_secret(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                               void *arg)
{
    const struct obj *o = now ? now : was;
    struct str cert = obj_note(o, NOTE_CERT);
    targets_add(v, "secret", o->ns, o->name, add, arg);
    if (cert.n)
        targets_add(v, "cert", o->ns, cert, add, arg);
}

static void keys_source_cert(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                             void *arg)
{
    const struct obj *o = now ? now : was;
    targets_add(v, "cert", o->ns, o->name, add, arg);
}

static const struct controller_watch watches[] = {{K(ValidatingWebhookConfiguration), keys_target},
                                                  {K(MutatingWebhookConfiguration), keys_target},
                                                  {K(APIService), keys_target},
                                                  {K(CustomResourceDefinition), keys_target},
                                                  {K(Secret), keys_source_secret},
                                                  {K(Lease), keys_none},
                                                  {0}};
static const struct defined_watch defined[] = {{CERTS, keys_source_cert}, {0}};
const struct controller cainjector_controller = {
    .name = "cainjector",
    .component = "cainjector",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = watches,
    .defined = defined,
    .plan = inject_plan,
};
