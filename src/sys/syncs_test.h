/* syncs_test.h - for tests of what must be on the disk: from then on fsync(2) and fdatasync(2) themselves fail in
 * this process, with EDQUOT. A fault place before the call would not notice that the call is gone. */
#pragma once
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>

static inline bool syncs_fail(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = filter && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EDQUOT), SCMP_SYS(fsync), 0) == 0 &&
              seccomp_rule_add(filter, SCMP_ACT_ERRNO(EDQUOT), SCMP_SYS(fdatasync), 0) == 0 &&
              seccomp_load(filter) == 0;
    seccomp_release(filter);
    return ok;
}
