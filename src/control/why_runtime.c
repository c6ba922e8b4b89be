/* A pod whose sandbox cannot be made: what it is to be run by, and as whom. */
#include "control/why_int.h"

static const struct saying sandboxes[] = {
    {"failed to get sandbox runtime: no runtime for ", "RuntimeMissing",
     "cannot be started on node {node}: its RuntimeClass {class} asks for the runtime {handler}, which is not set up "
     "there",
     "Name the program: wherry up --set runtimes={handler}=/PATH, or another {spec}runtimeClassName: {edit}"},
    {"could not find an empty slot to allocate a user namespace", "UserIdsExhausted",
     "wants users of its own (hostUsers: false), and node {node} has given all its ids to other pods",
     "Give it more: wherry up --set pod-users=FIRST:COUNT, 65536 for each pod; or leave {spec}hostUsers out: {edit}"},
    {"can't set `spec.hostUsers: false`", "NoUserNamespaces",
     "wants users of its own (hostUsers: false), which node {node} cannot give: {message}",
     "Mend that there, or leave {spec}hostUsers out: {edit}"},
    {"runtimeclasses.node.k8s.io \"", "RuntimeClassMissing",
     "cannot be started on node {node}: its RuntimeClass {class} is not there any more",
     "Make it again, or name another in {spec}runtimeClassName: {edit}"},
    {"its network policies cannot be put in force", "PolicyNotInForce", "cannot be started on node {node}: {message}",
     "It stays out until they hold. The node tries again by itself; its log says more: /var/log/wherry.log"},
    {"the SELinux policy", "SELinuxContext", "cannot be started on node {node}: {message}",
     "Load a policy module there that has it (semodule -i FILE), or change {spec}securityContext.seLinuxOptions: "
     "{edit}"},
    {"", "SandboxFailed", "cannot be started on node {node}: {message}",
     "The node tries again by itself; its log says more: /var/log/wherry.log"},
};

void why_sandbox(struct question *q, const struct obj *pod, struct str message, struct finding *f)
{
    struct str class = val_text_at(obj_spec(pod), N(runtimeClassName)), before, quoted, handler = S(""),
               reason = message;
    if (str_split(message, '"', &before, &quoted))
        (void)str_split(quoted, '"', &handler, &before);
    ptrdiff_t colon = str_find(message, S("user namespaces: "));
    if (colon >= 0)
        reason = str_sub(message, (size_t)colon + 17, message.n);
    const struct word words[] = {
        {"node", pod_node(pod)}, {"class", class}, {"handler", handler}, {"message", reason}};
    why_saying(q, f, sandboxes, message, words, countof(words));
}
