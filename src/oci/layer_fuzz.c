#include "oci/unpack.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A layer unpacks into its folder or is refused; what lies beside the folder is not touched. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char dir[64];
    static int n;
    char name[32];
    struct stat before, after;
    struct err err = ERR;
    const struct unpack_limits limits = {.bytes = 1 << 20, .entries = 200};
    if (!dir[0]) {
        (void)snprintf(dir, sizeof dir, "/tmp/wherry-fuzz-layer.%d", (int)getpid());
        ASSERT(mkdir(dir, 0700) == 0);
    }
    AUTO(fd_close) int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(name, sizeof name, "layer%d", n++);
    ASSERT(at >= 0 && mkdirat(at, name, 0700) == 0 && fstat(at, &before) == 0);
    AUTO(fd_close) int into = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd_close) int blob = memfd_create("layer", MFD_CLOEXEC);
    ASSERT(into >= 0 && blob >= 0 && write(blob, data, size) == (ssize_t)size && lseek(blob, 0, SEEK_SET) == 0);
    /* the sum is that of what was fed where it is a plain tar, so that the end is reached too */
    struct digest d = digest_of(data, size);
    (void)!layer_unpack(blob, into, &d, &limits, &err);
    ASSERT(fstat(at, &after) == 0 && before.st_nlink == after.st_nlink &&
           before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    struct content c = {.fd = at};
    content_tmp_remove(&c, name);
    (void)rmdir(dir); /* empty now: a run leaves nothing behind */
    dir[0] = 0;
    return 0;
}
