/* supervisor.h - `wherry up`: starts the roles of this machine, restarts them, holds their listening sockets; nothing
 * else. Roles outlive it: a new one finds them by their records in RUN/roles, takes its sockets back from them
 * (pidfd_getfd(2)) and goes on. SIGTERM ends the roles and leaves containers running. SIGHUP reads the settings
 * again: the program's file (a newer build, it may be) takes this process's place, adopts the roles and starts each
 * anew, with its sockets open all the while. The same happens to the roles when the machine's addresses change. */
#pragma once
#include "cli/settings.h"

int supervisor_main(int argc, char **argv); /* `wherry up` */
int down_main(int argc, char **argv);       /* `wherry down [--purge] [--pods]` */
/* Of the supervisor that runs over these settings' folders; 0: none does. */
int64_t supervisor_pid(const struct settings *s);
