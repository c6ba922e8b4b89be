#include "node/csi_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a driver answers is read or refused with a sentence, and what was read keeps to its bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA;
    struct str in = {(const char *)data, size};
    struct err err = ERR;
    AUTO(plugin_info_fini) struct plugin_info info = {0};
    struct csi_node node;
    unsigned can;
    int64_t bytes;
    if (plugin_info_read(&a, in, &info, &err))
        ASSERT(str_utf8_ok(info.name) && info.versions.n <= 32 && (csi_version_good(&info, &err) || err.text[0]));
    else
        ASSERT(err.text[0]);
    err = ERR;
    if (csi_node_read(&a, in, &node, &err))
        ASSERT(node.id.n && val_len(&node.topology) <= CSI_TOPOLOGY_MOST);
    else
        ASSERT(err.text[0]);
    err = ERR;
    ASSERT(csi_can_read(in, &can, &err) ? !(can & ~0x7eu) : err.text[0] != 0);
    ASSERT(csi_expanded_read(in, &bytes, &err) || err.text[0]);
    err = ERR;
    struct csi_usage usage;
    ASSERT(csi_usage_read(in, &usage, &err) ? usage.bytes >= 0 && usage.inodes >= 0 : err.text[0] != 0);
    arena_fini(&a);
    return 0;
}
