/* ResourceQuota: what a write uses more than what it replaces must have room in every quota that is about it.
 * Upstream: k8s.io/apiserver/pkg/admission/plugin/resourcequota, with no resources limited where no quota says so. */
#include "server/admit.h"
#include "server/fail.h"
#include "server/quota.h"
#include "server/write.h"

static bool ends_by_itself(const struct val *pod)
{
    return val_num_at(pod, -1, N(spec), N(activeDeadlineSeconds)) >= 0;
}

/* Whether the write can use more of anything. A status that does is not refused, as it tells of what has happened. */
static bool uses_more(const struct admission *x)
{
    bool create = x->verb == VERB_CREATE, whole = !x->sub.n;
    if (x->kind == K(Pod) && !create)
        return whole ? ends_by_itself(x->obj) != ends_by_itself(x->old) : str_eqz(x->sub, "resize");
    if (x->kind == K(Service) || x->kind == K(PersistentVolumeClaim) || x->kind == K(ResourceClaim))
        return whole;
    return create && whole;
}

bool admit_quota(struct admission *x)
{
    struct request *r = x->r;
    struct str why, prefix = x->ns.n && uses_more(x) ? object_prefix(&r->arena, x->kind) : STR_NONE;
    struct quota_asked asked = {.ns = x->ns,
                                .resource = str_sub(prefix, 0, prefix.n ? prefix.n - 1 : 0),
                                .now = x->obj,
                                .was = x->verb == VERB_UPDATE ? x->old : NULL};
    if (r->write->charges) /* asked once more of the same */
        return true;
    return !prefix.n || quotas_take(r, &asked, !r->options.dry_run, &why) || fail_forbidden(r, STR_FMT, STR_ARG(why));
}
