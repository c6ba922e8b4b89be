/* Any bytes as config.yaml: settings that hold together, or a sentence. */
#include "cli/settings.h"
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    AUTO(fd_close) int fd = memfd_create("config", MFD_CLOEXEC);
    ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char *argv[] = {(char[]){"--root"}, (char[]){"/tmp/none"}, (char[]){"--config"}, path, NULL};
    AUTO(settings_fini) struct settings s;
    struct err err = ERR;
    int rest;
    if (!settings_read(&s, 4, argv, &rest, &err)) {
        ASSERT(err.text[0]);
        return 0;
    }
    ASSERT(rest == 0 && s.max_pods >= 1 && s.relay_port >= 1 && s.node_name.n);
    ASSERT(cidr4_has(s.pods, s.node_pods.ip) && !cidr4_overlap(s.pods, s.services));
    return 0;
}
