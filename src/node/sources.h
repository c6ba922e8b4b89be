/* sources.h - what pods refer to: ConfigMaps, Secrets, their own fields, the node's room. Everything that turns such
 * references into text (environment, volumes) asks here, so that it can be tested with objects from a file. */
#pragma once
#include "api/obj.h"

enum source_state { SOURCE_HERE, SOURCE_MISSING, SOURCE_UNKNOWN }; /* UNKNOWN: not heard from the server yet */
struct sources {
    /* The object, borrowed until the next turn; NULL with *state saying why. */
    const struct obj *(*get)(void *arg, const struct kind *kind, struct str ns, struct str name,
                             enum source_state *state);
    void *arg;
    const struct val *allocatable, *capacity; /* of the node: cpu, memory, ephemeral-storage ... */
    struct str node_name, host_ip, pod_ip;    /* pod_ip: "" until known */
};

/* Every ConfigMap and Secret that a pod names; some maybe several times. */
void source_names(const struct obj *pod, void (*fn)(void *arg, const struct kind *kind, struct str name), void *arg);

/* A field of the pod by fieldRef path: "metadata.labels['x']", "status.podIP" ... Errors name the path. */
MUST_USE bool source_field(struct arena *a, const struct sources *s, const struct obj *pod, struct str path,
                           struct str *out, struct err *err);
/* resourceFieldRef: "limits.cpu" of the container, divided and rounded up; without a limit the node's allocatable. */
MUST_USE bool source_resource(struct arena *a, const struct sources *s, const struct val *pod_spec,
                              const struct val *ref, struct str own_container, struct str *out, struct err *err);
/* One key of a ConfigMap or Secret. *found false with true returned: optional and not there.
 * E_UNAVAILABLE: not heard of yet, ask again on news. E_NOT_FOUND with upstream's texts: configmap "x" not found;
 * couldn't find key k in ConfigMap ns/x. */
MUST_USE bool source_key(struct arena *a, const struct sources *s, const struct kind *kind, struct str ns,
                         const struct val *ref, struct str *out, bool *found, struct err *err);
/* The ConfigMap or Secret itself, borrowed until the next turn; errors as source_key. NULL with true returned:
 * optional and not there. Nothing is copied: a pod may name the same large object thousands of times. */
MUST_USE bool source_object(const struct sources *s, const struct kind *kind, struct str ns, struct str name,
                            bool optional, const struct obj **out, struct err *err);
/* A member of it for a file, of data or binaryData; NULL: none. For variables there is `data` alone (binaryData is no
 * text; kubelet's makeEnvironmentVariables does the same, and source_key). */
const struct val *source_member(const struct obj *o, struct str key);
struct str source_bytes(const struct val *member);
