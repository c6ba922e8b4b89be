/* podsecurity.h - the Pod Security Standards: what pods of a namespace may not ask for, by the labels
 * pod-security.kubernetes.io/MODE and MODE-version (enforce, audit, warn). Upstream: k8s.io/pod-security-admission.
 * Pure.
 */
#pragma once
#include "api/tree.h"

enum security_level { SECURITY_PRIVILEGED, SECURITY_BASELINE, SECURITY_RESTRICTED };
enum { SECURITY_LATEST = 1 << 20, SECURITY_FINDINGS_MAX = 24 };
struct security_policy {
    enum security_level level;
    int minor; /* of version 1.MINOR, or SECURITY_LATEST */
};
/* What a mode's labels say; what they cannot be read as is the strictest to enforce, and nothing to warn of. */
struct security_policy security_policy_of(const struct val *labels, const char *mode);
struct str security_policy_text(struct arena *a, const struct security_policy *p); /* "restricted:v1.24" */

struct security_finding {
    struct str reason, detail; /* "hostPort", `container "c" uses hostPort 80`; detail may be "" */
};
/* What is against the policy, in upstream's order; at most SECURITY_FINDINGS_MAX. */
size_t security_check(struct arena *a, const struct security_policy *p, const struct val *meta,
                      const struct val *pod_spec, struct security_finding *out);
/* "hostPort (...), privileged (...)", or without the details. */
struct str security_text(struct arena *a, const struct security_finding *f, size_t n, bool details);
/* The template of a kind that makes pods, at its place; NULL: it has none. */
const struct val *security_template(const struct val *tree);
