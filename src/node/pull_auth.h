/* pull_auth.h - which credentials an image is pulled with: docker's config.json and its older form in Secrets,
 * matched as a kubelet matches them (credentialprovider/keyring.go). Pure; texts live in the arena. */
#pragma once
#include "api/obj.h"
#include "base/array.h"
#include "oci/pull.h"

#define PULL_AUTHS_MOST 1000

struct pull_auth {
    struct str where; /* "host[:port][/path]", globs in the host's parts */
    struct pull_credential credential;
};
struct pull_auths {
    struct arena *arena;
    ARRAY(struct pull_auth) list;
};
void pull_auths_fini(struct pull_auths *x);
AUTO_VALUE(pull_auths_fini, struct pull_auths);
/* Those of one Secret. False: it is not what its type says, or an entry of it is not; the others are there. */
MUST_USE bool pull_auths_add(struct pull_auths *x, const struct obj *secret, struct err *err);
/* Those for an image, the longest paths first, in the order of their Secrets; *n of them in the arena. */
struct pull_credential *pull_auths_for(const struct pull_auths *x, struct str registry, struct str repository,
                                       size_t *n);
