/* main.c - `wherry VERB ...`, and the roles that a supervisor starts as `wherry NAME ...`. */
#include "base/version.h"
#include "cli/role.h"
#include "cli/verbs.h"
#include <errno.h>
#include <stdlib.h>

#define ARGS_WIDTH 35 /* columns; the help of a verb with longer arguments stands on the next line */

static void usage_print(FILE *out)
{
    fprintf(out, "wherry - Kubernetes as one small program\n\n");
    for (const struct verb_row *v = verb_rows; v->name; v++) {
        bool long_args = strlen(v->args) > ARGS_WIDTH;
        fprintf(out, "  wherry %-13s %-*s", v->name, ARGS_WIDTH, v->args);
        if (long_args)
            fprintf(out, "\n%*s", 2 + 7 + 14 + ARGS_WIDTH, "");
        fprintf(out, "  %s\n", v->help);
    }
    fprintf(out, "\nwherry VERB --help says more about each. kubectl, helm and other clients work as well.\n");
}

/* A disk that is full, a pipe nobody reads: what was to be shown was not. Who closed the pipe had enough. */
static int output_written(const char *verb, int status)
{
    bool failed = ferror(stdout), now = fflush(stdout) != 0;
    if ((!failed && !now) || (now && errno == EPIPE))
        return status;
    fprintf(stderr, "wherry %s: its output cannot be written%s%s\n", verb, now ? ": " : "",
            now ? strerror(errno) : "");
    return status ? status : 1;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        usage_print(stdout);
        return output_written("help", 0);
    }
    if (strcmp(word, "--version") == 0) {
        printf("wherry %s (%s)\n", wherry_version, wherry_build);
        return output_written("--version", 0);
    }
    if (getenv("WHERRY_NOTIFY")) { /* a supervisor's word: no verb is meant */
        int status = role_main(argc - 1, argv + 1);
        if (status >= 0)
            return status;
    }
    for (const struct verb_row *v = verb_rows; v->name; v++)
        if (strcmp(word, v->name) == 0)
            return output_written(word, v->run(argc - 2, argv + 2));
    fprintf(stderr, "wherry: there is no verb \"%s\"; wherry --help lists them\n", word);
    return 2;
}
