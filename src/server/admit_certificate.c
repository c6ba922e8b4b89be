#include "server/admit.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/rbac.h"
#include "sys/cert.h"

/* CertificateSigningRequests tell who asked, and are approved and signed by who may do so for their signer. */

bool admit_requester(struct admission *x)
{
    struct arena *a = &x->r->arena;
    struct val user = user_tree(a, x->r->user), *spec = val_need_map(a, x->obj, N(spec));
    const struct name *const told[] = {N(username), N(uid), N(groups), N(extra)};
    for (size_t i = 0; i < countof(told); i++) {
        const struct val *v = val_get(&user, told[i]);
        if (val_len(v) || (val_is(v, VAL_STRING) && v->n))
            val_set(a, spec, told[i], val_copy(a, v));
        else
            val_del(spec, told[i]);
    }
    return true;
}

/* Nobody asks to become one of those who may everything: whoever approves and signs may look at names alone. */
bool admit_subject(struct admission *x)
{
    struct arena *a = &x->r->arena;
    const struct val *spec = val_get(x->obj, N(spec)), *request = val_get(spec, N(request));
    struct str signer = val_text_at(spec, N(signerName)), *orgs;
    struct err err = ERR;
    size_t n;
    if (!str_eqz(signer, "kubernetes.io/kube-apiserver-client"))
        return true;
    if (!request_orgs(a, val_raw(request), &orgs, &n, &err))
        return fail_forbidden(x->r, "failed to parse CSR: %s", err.text);
    for (size_t i = 0; i < n; i++)
        if (str_eqz(orgs[i], "system:masters"))
            return fail_forbidden(x->r, "use of " STR_FMT " signer with system:masters group is not allowed",
                                  STR_ARG(signer));
    return true;
}

/* The right is on the signer itself or on every one of its domain. */
static bool may_for_signer(struct admission *x, const char *verb, const char *doing)
{
    struct request *r = x->r;
    struct str signer = val_text_at(x->old, N(spec), N(signerName)), domain, path, why;
    (void)str_split(signer, '/', &domain, &path);
    const struct str signers[] = {signer, arena_fmt(&r->arena, STR_FMT "/*", STR_ARG(domain))};
    for (size_t i = 0; i < countof(signers); i++) {
        struct attributes asked = {.user = r->user,
                                   .verb = str_of(verb),
                                   .group = S("certificates.k8s.io"),
                                   .version = S("*"),
                                   .resource = S("signers"),
                                   .name = signers[i],
                                   .is_resource = true};
        if (rbac_allows(r->server, &r->arena, &asked, &why))
            return true;
    }
    return fail_forbidden(r, "user not permitted to %s requests with signerName \"" STR_FMT "\"", doing,
                          STR_ARG(signer));
}

bool admit_approval(struct admission *x)
{
    return !str_eq(x->sub, S("approval")) || may_for_signer(x, "approve", "approve");
}

bool admit_signing(struct admission *x)
{
    const struct val *now = val_get(x->obj, N(status)), *was = val_get(x->old, N(status));
    bool signs = !val_equal(val_get(now, N(certificate)), val_get(was, N(certificate))) ||
                 !val_equal(val_find(val_get(now, N(conditions)), N(type), S("Failed")),
                            val_find(val_get(was, N(conditions)), N(type), S("Failed")));
    return !str_eq(x->sub, S("status")) || !signs || may_for_signer(x, "sign", "sign");
}
