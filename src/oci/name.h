/* name.h - image names, as Docker and Kubernetes read them (distribution/reference): "nginx" is
 * docker.io/library/nginx:latest, "localhost:5000/a/b:1@sha256:..." is what it says. Pure. */
#pragma once
#include "base/err.h"

struct image_name {
    struct str registry;   /* "docker.io", "localhost:5000": host with the port as written */
    struct str repository; /* "library/nginx" */
    struct str tag;        /* "latest"; empty when a digest was given without one */
    struct str digest;     /* "sha256:HEX", or empty */
    struct str full;       /* the normalised name; a digest wins over a tag: docker.io/library/nginx@sha256:... */
};
/* INVALID with upstream's words (kubelet: InvalidImageName) plus what is wrong where. The parts live in the arena. */
MUST_USE bool image_name_parse(struct arena *a, struct str text, struct image_name *out, struct err *err);
