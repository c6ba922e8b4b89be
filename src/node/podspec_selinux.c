/* What SELinux calls a pod's containers (kubelet, containerd: seLinuxOptions): the pod has a level of its own, so
 * that no other pod's processes get at its files; what a container says of itself goes before what the pod says. */
#include "node/podspec_int.h"
#include "node/volume.h"

static struct selinux_context options_of(const struct val *security_context)
{
    const struct val *o = val_get(security_context, N(seLinuxOptions));
    return (struct selinux_context){val_text_at(o, N(user)), val_text_at(o, N(role)), val_text_at(o, N(type)),
                                    val_text_at(o, N(level))};
}

bool podspec_pod_label(struct arena *a, const struct selinux_policy *policy, const struct obj *pod,
                       bool (*taken)(void *arg, struct str level), void *arg, struct str *label, struct err *err)
{
    struct selinux_context asked = options_of(val_get(obj_spec(pod), N(securityContext)));
    struct selinux_labels labels = {S(""), S("")};
    struct str level = policy && policy->process.level.n && !asked.level.n ? selinux_level_draw(a, taken, arg)
                                                                           : S("");
    bool ok = !policy || selinux_labels(a, policy, &asked, level, &labels, err);
    *label = labels.process;
    return ok;
}

bool podspec_has_level(const struct obj *pod, struct str level)
{
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    const struct val *spec = obj_spec(pod);
    bool has = str_eq(options_of(val_get(spec, N(securityContext))).level, level);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            has |= str_eq(options_of(val_get(c, N(securityContext))).level, level);
    return has;
}

bool podspec_set_labels(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    struct selinux_context own = options_of(val_get(in->container, N(securityContext))), pods;
    struct selinux_labels labels;
    bool says = own.user.n || own.role.n || own.type.n || own.level.n;
    if (!in->selinux)
        return true;
    if (!selinux_context_read(in->pod_label, &pods)) /* a sandbox that was made without one */
        pods = options_of(val_get(obj_spec(in->pod), N(securityContext)));
    if (!selinux_labels(a, in->selinux, says ? &own : &pods, pods.level, &labels, err))
        return false;
    out->process_label = out->privileged ? S("") : labels.process;
    out->mount_label = labels.file;
    return true;
}

static bool volume_is_mounted(const struct val *container, struct str volume)
{
    return val_find(val_get(container, N(volumeMounts)), N(name), volume) != NULL;
}

bool podspec_is_first_with(const struct obj *pod, const struct val *container, struct str volume)
{
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i]))
            if (volume_is_mounted(c, volume))
                return str_eq(val_text_at(c, N(name)), val_text_at(container, N(name)));
    return false;
}
