/* What a node says of its pods, whatever it is: objects are made of it that the API's own types can hold. */
#include "api/codec.h"
#include "server/measured.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct measured_usage u;
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_map(), *meta = val_need_map(&a, &tree, N(metadata));
    val_set_text(&a, meta, N(name), S("x"));
    if (measured_read(&u, (struct str){(const char *)data, size}, &err)) {
        AUTO(obj_unref) struct obj *of = obj_new(K(Node), &tree, 1);
        struct val made = measured_node(&a, of, &u.tree, 0), typed;
        ASSERT(type_decode_val(&a, kind_type(K(NodeMetrics)), &made, &typed, NULL, &err));
        map_each (e, &u.pods) {
            made = measured_pod(&a, of, e->value, 0);
            ASSERT(type_decode_val(&a, kind_type(K(PodMetrics)), &made, &typed, NULL, &err));
        }
    }
    measured_usage_fini(&u);
    return 0;
}
