/* What cert-manager's webhook does, where its kinds are the program's own (setting `certificates`). */
#include "api/cert_rules.h"
#include "server/admit.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/int.h"

static bool certs_are_ours(const struct admission *x)
{
    const char *sets = x->r->server->options.definitions;
    return sets && str_has(str_of(sets), S("certificates")) && x->kind->custom && !x->apart &&
           str_eqz(x->kind->group, "cert-manager.io");
}

/* A request says who made it. */
bool admit_cert_requester(struct admission *x)
{
    static const char *const told[] = {"username", "uid", "groups", "extra"};
    struct arena *a = &x->r->arena;
    if (!certs_are_ours(x) || !str_eqz(x->kind->kind, "CertificateRequest"))
        return true;
    struct val user = user_tree(a, x->r->user), *spec = val_need_map(a, x->obj, N(spec));
    for (size_t i = 0; i < countof(told); i++) {
        const struct val *v = val_get_str(&user, str_of(told[i]));
        if (val_len(v) || val_text(v).n)
            val_set_str(a, spec, str_of(told[i]), val_copy(a, v));
        else
            (void)val_del_str(spec, str_of(told[i]));
    }
    return true;
}

bool admit_cert_rules(struct admission *x)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &x->r->arena};
    if (!certs_are_ours(x) || (x->sub.n && !str_eqz(x->kind->kind, "CertificateRequest")))
        return true;
    cert_kind_check(x->kind, x->obj, x->old, &e);
    return e.list.n == 0 || fail_invalid(x->r, x->kind->group, x->kind->kind, x->name, &e);
}
