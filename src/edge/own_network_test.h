/* own_network_test.h - a network of the test's own with nothing but its loopback, for tests that start a HAProxy. */
#pragma once
#include "base/test.h"
#include "sys/file.h"
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* False: nobody lets us, or there is no HAProxy. */
static inline bool own_network_enter(void)
{
    if (geteuid() != 0 || access("/usr/sbin/haproxy", X_OK) < 0)
        return false;
    CHECK(unshare(CLONE_NEWNET) == 0);
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(ioctl(fd, SIOCSIFFLAGS, &up) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
    return true;
}
