#include "base/mem.h"
#include "oci/shim_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No packet passes the check with a text that does not end or an id that is a path; answers likewise. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct shim_msg m;
    static struct shim_answer a;
    memset(&m, 0xff, sizeof m);
    memcpy(&m, data, MIN(size, sizeof m));
    if (size <= sizeof m && !shim_check(&m, size)) {
        if (m.head.op == SHIM_CREATE)
            ASSERT(strlen(m.u.create.log) < sizeof m.u.create.log && !strchr(m.u.create.id, '/') &&
                   !strchr(m.u.create.id, '.'));
        if (m.head.op == SHIM_EXEC)
            ASSERT(strlen(m.u.exec.process) < sizeof m.u.exec.process && !strchr(m.u.exec.container, '/'));
        if (m.head.op == SHIM_SANDBOX)
            ASSERT(strlen(m.u.sandbox.sysctls) < sizeof m.u.sandbox.sysctls);
    }
    memset(&a, 0xff, sizeof a);
    memcpy(&a, data, MIN(size, sizeof a));
    if (size <= sizeof a && shim_answer_ok(&a, size) && a.head.op == SHIM_START)
        ASSERT(strlen(a.u.target.text) < sizeof a.u.target.text);
    return 0;
}
