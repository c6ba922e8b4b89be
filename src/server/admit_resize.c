/* PodResizeValidator: a pod on a node asks for no more than that node could ever give. */
#include "api/quantity.h"
#include "api/usage.h"
#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"

static bool resize_refused(struct admission *x, const char *cause, struct str message)
{
    fail_forbidden(x->r, STR_FMT, STR_ARG(message));
    fail_add_cause(x->r, cause, S(""), S(""));
    return false;
}

static struct str amount_of(const struct val *list, const char *resource)
{
    struct str text = val_text(val_get_str(list, str_of(resource)));
    return text.n ? text : S("0");
}

static bool fits_node(struct admission *x, const struct obj *node)
{
    struct arena *a = &x->r->arena;
    const struct val *allocatable = val_get(obj_status(node), N(allocatable));
    struct val asked = pod_resources(a, x->obj, N(requests), POD_OVERHEAD);
    struct str cpu = amount_of(&asked, "cpu"), memory = amount_of(&asked, "memory");
    struct str has_cpu = amount_of(allocatable, "cpu"), has_memory = amount_of(allocatable, "memory");
    AUTO(strbuf_fini) struct strbuf why = STRBUF(STRBUF_TEXT);
    if (quantity_cmp(cpu, has_cpu) > 0)
        strbuf_addf(&why, "cpu, requested: %lld, allocatable: %lld", (long long)quantity_milli(cpu),
                    (long long)quantity_milli(has_cpu));
    if (quantity_cmp(memory, has_memory) > 0)
        strbuf_addf(&why, "%smemory, requested: %lld, allocatable: %lld", why.n ? "; " : "",
                    (long long)quantity_value(memory), (long long)quantity_value(has_memory));
    return !why.n || resize_refused(x, "NodeCapacity",
                                    arena_fmt(a, "node didn't have enough allocatable resources: " STR_FMT,
                                              STR_ARG(strbuf_str(&why))));
}

bool admit_resize(struct admission *x)
{
    struct str name = val_text_at(x->obj, N(spec), N(nodeName));
    if (!str_eqz(x->sub, "resize") || !name.n || val_equal(val_get(x->obj, N(spec)), val_get(x->old, N(spec))))
        return true;
    AUTO(obj_unref) struct obj *node = object_get(x->r->server, K(Node), S(""), name);
    if (!node)
        return fail_forbidden(x->r, "node \"" STR_FMT "\" not found", STR_ARG(name));
    struct str os = val_text(val_get_str(obj_labels(node), S("kubernetes.io/os")));
    if (os.n && !str_eqz(os, "linux"))
        return resize_refused(x, "UnsupportedPlatform",
                              arena_fmt(&x->r->arena,
                                        "pod resize is only supported on linux nodes, node \"" STR_FMT
                                        "\" is \"" STR_FMT "\"",
                                        STR_ARG(name), STR_ARG(os)));
    return fits_node(x, node);
}
