/* registry.h - the pure parts of talking to a registry (distribution-spec 1.1): where an image is asked for, and what
 * a 401 wants. */
#pragma once
#include "oci/name.h"

/* One challenge of WWW-Authenticate (RFC 7235): Basic, or the token service of registries. */
struct challenge {
    enum { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER } scheme;
    struct str realm, service, scope; /* in the arena */
};
/* Of several, in one header or more (joined by commas), the one that is understood; Bearer before Basic. */
void challenge_parse(struct arena *a, struct str header, struct challenge *out);

/* "https://registry-1.docker.io" for docker.io; http for this machine itself (as containerd has it). */
struct str registry_base(struct arena *a, struct str registry);
/* 127.0.0.0/8, ::1 and localhost, with any port */
bool registry_is_local(struct str registry);
/* What a registry's error body says, in its own words: {"errors":[{"code","message"}]}; empty: nothing readable. */
struct str registry_error(struct arena *a, struct str body);
