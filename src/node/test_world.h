/* test_world.h - for the tests of this room: objects written as YAML, and the sources that they are. Fails the test
 * where something is not as expected. */
#pragma once
#include "api/codec.h"
#include "base/array.h"
#include "base/test.h"
#include "node/sources.h"

struct world {
    struct arena arena;
    ARRAY(struct obj *) objs;
    bool unheard; /* nothing has been heard of the server yet */
    struct val allocatable;
};

static inline UNUSED struct obj *world_obj(struct world *w, const struct kind *kind, const char *yaml)
{
    struct val tree, typed;
    struct err err = ERR;
    CHECK_OK(yaml_decode(&w->arena, str_of(yaml), &tree, &err), err);
    CHECK_OK(type_decode_val(&w->arena, kind->type, &tree, &typed, NULL, &err), err);
    struct obj *o = obj_new(kind, &typed, 1);
    array_push(&w->objs, o);
    return o;
}

static inline UNUSED const struct obj *world_get(void *arg, const struct kind *kind, struct str ns, struct str name,
                                                 enum source_state *state)
{
    struct world *w = arg;
    *state = w->unheard ? SOURCE_UNKNOWN : SOURCE_MISSING;
    array_each (o, &w->objs)
        if (!w->unheard && (*o)->kind == kind && str_eq((*o)->ns, ns) && str_eq((*o)->name, name))
            return *o;
    return NULL;
}

static inline UNUSED struct sources world_sources(struct world *w)
{
    struct err err = ERR;
    CHECK_OK(yaml_decode(&w->arena, S("{cpu: '4', memory: 8Gi, ephemeral-storage: 100Gi}"), &w->allocatable, &err),
             err);
    return (struct sources){.get = world_get,
                            .arg = w,
                            .allocatable = &w->allocatable,
                            .capacity = &w->allocatable,
                            .node_name = S("n1"),
                            .host_ip = S("10.0.0.1"),
                            .pod_ip = S("10.42.0.9")};
}

static inline UNUSED const struct val *world_container(const struct obj *pod)
{
    return val_item(val_get(obj_spec(pod), N(containers)), 0);
}

static inline UNUSED void world_end(struct world *w)
{
    array_each (o, &w->objs)
        obj_unref(*o);
    array_fini(&w->objs);
    arena_fini(&w->arena);
}
