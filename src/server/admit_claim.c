/* PersistentVolumeClaimResize: who may ask for more room. That a claim never shrinks below what it has is a rule of
 * its own (api/validate_core.c). */
#include "api/quantity.h"
#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"

static struct str size_asked(const struct val *claim)
{
    return val_text(val_get_str(val_at(claim, N(spec), N(resources), N(requests)), S("storage")));
}

static struct str class_asked(const struct val *claim)
{
    const struct val *old = val_get_str(val_at(claim, N(metadata), N(annotations)),
                                        S("volume.beta.kubernetes.io/storage-class"));
    return old ? val_text(old) : val_text_at(claim, N(spec), N(storageClassName));
}

bool admit_claim_resize(struct admission *x)
{
    if (x->sub.n > 0 || quantity_cmp(size_asked(x->obj), size_asked(x->old)) <= 0)
        return true;
    if (!str_eqz(val_text_at(x->old, N(status), N(phase)), "Bound"))
        return fail_forbidden(x->r, "Only bound persistent volume claims can be expanded");
    struct str class = class_asked(x->obj);
    AUTO(obj_unref)
    struct obj *o = class.n > 0 && str_eq(class, class_asked(x->old))
                        ? object_get(x->r->server, K(StorageClass), S(""), class)
                        : NULL;
    if (o && val_true(val_get(&o->tree, N(allowVolumeExpansion))))
        return true;
    return fail_forbidden(x->r,
                          "only dynamically provisioned pvc can be resized and the storageclass that provisions "
                          "the pvc must support resize");
}
