/* env.h - the environment of a container, and what $(NAME) means in its text (core/v1 EnvVar, Container). Pure.
 *
 * Its program gets, later settings over earlier ones: PATH, TERM (with a terminal) and HOSTNAME as a CRI runtime sets
 * them; the image's; Services, envFrom and env of the pod. $(NAME) sees the pod's alone, never the image's. */
#pragma once
#include "base/array.h"
#include "base/map.h"
#include "node/sources.h"
#include "oci/image.h"

/* What the kernel starts a program with at most (execve(2)): all of its arguments and environment with the usual
 * stack of 8 MiB, and each text of them. A variable that names another one twice doubles it: what is made on the way
 * counts, too, so that a small pod costs its node no more than this. */
#define ENV_MOST     (2 << 20)
#define ENV_ONE_MOST ((128 << 10) - 1)

struct env_var {
    struct str name, value;
};
struct env_vars { /* in order of first setting */
    struct map names;
    ARRAY(struct env_var) list;
};
struct env {
    struct arena *arena;
    struct env_vars pod, services; /* what $(NAME) is looked up in */
    struct strs all;               /* "NAME=value", no NAME twice: what the program gets */
    size_t used;                   /* of ENV_MOST */
};
void env_fini(struct env *e);
AUTO_VALUE(env_fini, struct env);

/* A file of variables that fileKeyRef names, as it was when the container starts. */
struct env_file {
    struct str volume, path, text;
    struct err err; /* kind E_NONE: it was read */
};
/* Services of the pod's namespace (and default/kubernetes), for enableServiceLinks: each a core/v1 Service. */
struct env_input {
    const struct sources *sources;
    const struct obj *pod;
    const struct val *container;
    struct strs image_env; /* "NAME=value" */
    const struct obj *const *services;
    size_t nservices;
    struct str hostname;
    const struct env_file *files; /* all that the container's variables name */
    size_t nfiles;
};
/* Texts are in the arena. Errors as source_key; E_INVALID names the variable, E_TOO_LARGE the bound. */
MUST_USE bool env_build(struct arena *a, const struct env_input *in, struct env *out, struct err *err);
/* $(NAME) and $$ in one text; unknown names stay as they are. missing: the first one that is unknown or empty (text
 * that stays empty: none); may be NULL. */
MUST_USE bool env_expand(struct env *e, struct str text, struct str *out, struct str *missing, struct err *err);
/* Sets a variable of the program that is missing or empty. */
void env_default(struct env *e, struct str name, struct str value);
/* One more text for the program. E_TOO_LARGE, or E_INVALID where no C string can hold it. */
MUST_USE bool env_charge(struct env *e, struct str text, struct err *err);
