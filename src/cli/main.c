#include "base/str.h"
#include "cli/verb.h"

static const struct verb_row verbs[] = {
    {"server", "run the API server alone, in the foreground", server_main},
};

static int usage(FILE *to, int status)
{
    fputs("usage: wherry VERB [OPTION...]\n\n", to);
    for (size_t i = 0; i < countof(verbs); i++)
        fprintf(to, "  %-12s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\n`wherry VERB --help` tells more.\n", to);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr, 2);
    struct str verb = str_of(argv[1]);
    if (str_eqz(verb, "--help") || str_eqz(verb, "-h") || str_eqz(verb, "help"))
        return usage(stdout, 0);
    for (size_t i = 0; i < countof(verbs); i++)
        if (str_eqz(verb, verbs[i].name))
            return verbs[i].main(argc - 1, argv + 1);
    fprintf(stderr, "wherry: there is no verb \"%s\"; `wherry help` lists them\n", argv[1]);
    return 2;
}
