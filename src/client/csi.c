#include "client/csi.h"
#include "sys/crypto.h"

struct str csi_sha256(struct arena *a, struct str text)
{
    uint8_t sum[SHA256_SIZE];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 * SHA256_SIZE);
    sha256_of(text, sum);
    strbuf_add_hex(&b, sum, sizeof sum);
    return str_dup(a, strbuf_str(&b));
}

struct str csi_attachment_name(struct arena *a, struct str handle, struct str driver, struct str node)
{
    return STR_JOIN(a, S("csi-"), csi_sha256(a, STR_JOIN(a, handle, driver, node)));
}

struct str csi_ephemeral_handle(struct arena *a, struct str pod_uid, struct str volume)
{
    return STR_JOIN(a, S("csi-"), csi_sha256(a, STR_JOIN(a, pod_uid, volume)));
}

struct str csi_unique_name(struct arena *a, struct str driver, struct str handle)
{
    if (str_starts(driver, S("kubernetes.io/"))) /* a type of disk_id.h */
        return STR_JOIN(a, driver, S("/"), handle);
    return STR_JOIN(a, S("kubernetes.io/csi/"), driver, S("^"), handle);
}
