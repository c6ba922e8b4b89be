/* pull.h - one pull, for wherry-job alone. Blocking. */
#pragma once
#include "oci/unpack.h"

struct pull_mirror {
    struct str registry; /* "docker.io" */
    struct str endpoint; /* "http://10.0.0.1:5000", tried before the registry itself, in order */
};
struct pull_credential {
    struct str username, password; /* a password alone is an identity token */
};
struct pull_request {
    struct str store, image;
    struct pull_credential *credentials; /* tried in order until one is good; none: as nobody */
    size_t ncredentials;
    struct str ca_file; /* more authorities, PEM; empty: the system's alone */
    struct pull_mirror *mirrors;
    size_t nmirrors;
    struct strs insecure; /* registries whose certificate is not checked, and that may speak plain http */
    int retries;          /* of what may pass (connection, 5xx, 429); 0: 5 */
};
/* {"store","image","credentials":[{"username","password"}],"caFile","mirrors":[{"registry","endpoint"}],"insecure":[],"retries"}
 */
MUST_USE bool pull_request_decode(struct arena *a, struct str text, struct pull_request *out, struct err *err);
void pull_request_encode(const struct pull_request *r, struct strbuf *out);

/* Errors are in upstream's words: "failed to pull and unpack image \"X\": failed to resolve image: X: not found".
 * names: "registry/repo:tag" and "registry/repo@sha256:...", set in the store. progress: bytes of all blobs. */
MUST_USE bool image_pull(struct content *c, const struct pull_request *r, struct arena *a, struct strs *names,
                         struct digest *manifest, void (*progress)(void *arg, int64_t done, int64_t total), void *arg,
                         struct err *err);
