/* supervisor.h - `wherry up`: starts the roles of this machine, restarts those that end or hang, holds their
 * listening sockets; nothing else. Roles outlive it: a new one finds them by their records in RUN/roles, takes its
 * sockets back from them (pidfd_getfd(2)) and goes on. SIGTERM ends the roles and leaves containers running. SIGHUP
 * reads the settings again: the program's file (a newer build, it may be) takes this process's place, adopts the
 * roles and starts each anew, with its sockets open all the while. The same happens to the roles when the machine's
 * addresses change. */
#pragma once
#include "cli/settings.h"

int supervisor_main(int argc, char **argv); /* `wherry up` */
int down_main(int argc, char **argv);       /* `wherry down [--purge] [--pods]` */
bool supervisor_renews(void);               /* this program has just taken its predecessor's place (reload, update) */
bool supervisor_wants(const struct settings *s, const char *role);
bool supervisor_role_lives(const struct settings *s, const char *role); /* an earlier one's is taken over */
/* A pidfd of the very process of which the record in RUN/roles speaks, for who wants it to end; -1: none runs. */
int supervisor_role_pidfd(const struct settings *s, const char *role);
