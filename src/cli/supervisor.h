/* supervisor.h - `wherry up`: starts the roles of this machine, restarts them, holds their listening sockets; nothing
 * else. Roles outlive it: a new one finds them by their records in RUN/roles, takes its sockets back from them
 * (pidfd_getfd(2)) and goes on. SIGTERM ends the roles and leaves containers running. */
#pragma once
#include "base/err.h"

int supervisor_main(int argc, char **argv); /* `wherry up` */
int down_main(int argc, char **argv);       /* `wherry down [--purge]` */
