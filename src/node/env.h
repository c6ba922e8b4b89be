/* env.h - the environment of a container: image, Services, envFrom, env, in this order, with $(NAME) expanded as
 * core/v1 EnvVar says. Pure. */
#pragma once
#include "node/sources.h"
#include "oci/image.h"

/* Services of the pod's namespace (and default/kubernetes), for enableServiceLinks: each a core/v1 Service. */
struct env_input {
    const struct sources *sources;
    const struct obj *pod;
    const struct val *container;
    struct strs image_env; /* "NAME=value" */
    const struct obj *const *services;
    size_t nservices;
    struct str hostname;
};
/* out: "NAME=value" each, no NAME twice. Errors as source_key; E_INVALID names the variable. */
MUST_USE bool env_build(struct arena *a, const struct env_input *in, struct strs *out, struct err *err);
/* $(NAME) and $$ in one text, with the environment just built ("NAME=value"); unknown names stay as they are. */
struct str env_expand(struct arena *a, struct str text, struct strs env);
