/* main.c - `wherry VERB ...`, and the roles that a supervisor starts as `wherry NAME ...`. */
#include "base/version.h"
#include "cli/role.h"
#include "cli/verbs.h"
#include <stdlib.h>

static void usage(FILE *out)
{
    fprintf(out, "wherry - Kubernetes as one small program\n\n");
    for (const struct verb_row *v = verb_rows; v->name; v++)
        fprintf(out, "  wherry %-10s %-32s %s\n", v->name, v->args, v->help);
    fprintf(out, "\nwherry VERB --help says more of each. kubectl, helm and every other client work too.\n");
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0) {
        printf("wherry %s (%s)\n", wherry_version, wherry_build);
        return 0;
    }
    if (getenv("WHERRY_NOTIFY")) { /* a supervisor's word: no verb is meant */
        int status = role_main(argc - 1, argv + 1);
        if (status >= 0)
            return status;
    }
    for (const struct verb_row *v = verb_rows; v->name; v++)
        if (strcmp(word, v->name) == 0)
            return v->run(argc - 2, argv + 2);
    fprintf(stderr, "wherry: there is no verb \"%s\"; wherry --help lists them\n", word);
    return 2;
}
