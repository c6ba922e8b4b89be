/* The rows: which controllers there are, and the indexes that plans may ask for. */
#include "control/manager.h"
#include "control/pods.h"

#define ROWS(X)                                                                                                      \
    X(deployment)                                                                                                    \
    X(replicaset)                                                                                                    \
    X(endpointslice)                                                                                                 \
    X(endpoints)

#define X(name) extern const struct controller name##_controller;
ROWS(X)
#undef X

const struct controller *const controllers[] = {
#define X(name) &name##_controller,
    ROWS(X)
#undef X
        NULL};

extern const struct objindex index_slices;

const struct objindex *const *kind_indexes(const struct kind *k)
{
    static const struct objindex *const pods[] = {&index_namespace, &index_controller, &index_orphans, &index_node,
                                                  NULL};
    static const struct objindex *const owned[] = {&index_namespace, &index_controller, &index_orphans, NULL};
    static const struct objindex *const slices[] = {&index_namespace, &index_slices, NULL};
    static const struct objindex *const plain[] = {&index_namespace, NULL};
    return k == K(Pod)             ? pods
           : k == K(ReplicaSet)    ? owned
           : k == K(EndpointSlice) ? slices
           : k->namespaced         ? plain
                                   : NULL;
}
