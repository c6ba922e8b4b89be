/* verb.h - what `wherry VERB ...` runs: roles and what a person types. One row each in main.c. */
#pragma once

struct verb_row {
    const char *name, *summary;
    int (*main)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
};
int server_main(int argc, char **argv); /* role_server.c */
