/* path.h - what a request line asks for: verb, group, version, resource, names (upstream's RequestInfo). Pure.
 *
 *   /api/v1/namespaces/NS/pods/NAME/SUB/REST     /apis/GROUP/VERSION/RESOURCE/NAME      anything else: no resource */
#pragma once
#include "base/str.h"

struct path_info {
    bool is_resource;
    const char *verb; /* get list watch create update patch delete deletecollection; other methods: "" */
    struct str prefix, group, version, ns, resource, name, sub, rest; /* prefix: "api" or "apis" */
    bool watch_path;                                                  /* the old /api/v1/watch/... */
    bool in_namespace; /* /namespaces/NS/RESOURCE...; /namespaces/NS itself is one of the resource namespaces */
};
/* path: unescaped segments are taken as they come, so it must be unescaped by the caller only after splitting: pass
 * the path as sent. Texts are in the arena or borrow from the path. False: a bad escape. */
MUST_USE bool path_parse(struct arena *a, struct str method, struct str path, struct path_info *out);
