#include "base/version.h"
#include "cli/args.h"
#include "cli/connect.h"
#include "cli/fields.h"
#include "cli/verbs.h"

/* wherry version, wherry completion. */
static const struct arg_spec version_spec = {
    .verb = "version",
    .usage = "",
    .summary = "Prints which wherry this is, and which Kubernetes the server speaks.",
    .examples = "  wherry version\n  wherry version --root /tmp/second\n",
    .connects = true,
};

int version_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "version"};
    struct connect_options o = {0};
    struct words words;
    struct val v;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &version_spec, argc, argv, &o, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    printf("wherry %s (%s)\n", wherry_version, wherry_build);
    fflush(stdout);
    if (!client_open(&c, &o, &err) || !client_ask(&c, &(struct ask){.path = S("/version")}, &v, &err))
        return client_failed(&c, &err);
    printf("server " STR_FMT "\n", STR_ARG(field_text(&v, "gitVersion")));
    return 0;
}

/* Verbs from the table; resources and names from the server, while typing. */
static const char script[] =
    "_wherry() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} prev=${COMP_WORDS[COMP_CWORD-1]} kind\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" = 1 ]; then COMPREPLY=($(compgen -W \"$_wherry_verbs\" -- \"$cur\")); return; fi\n"
    "    case $prev in\n"
    "    -f|--filename|--kubeconfig|--root) compopt -o default; return ;;\n"
    "    -n|--namespace) COMPREPLY=($(compgen -W \"$(wherry get ns -o name 2>/dev/null | cut -d/ -f2)\" -- "
    "\"$cur\")); return "
    ";;\n"
    "    esac\n"
    "    case $cur in\n"
    "    -*) COMPREPLY=($(compgen -W \"$(wherry \"$verb\" --help 2>/dev/null | grep -oE -- '--[a-z-]+')\" -- "
    "\"$cur\")) ;;\n"
    "    */*) kind=${cur%%/*}; COMPREPLY=($(compgen -W \"$(wherry get \"$kind\" -o name 2>/dev/null | sed "
    "\"s|.*/|$kind/|\")\" "
    "-- \"$cur\")) ;;\n"
    "    *) case $verb in\n"
    "       logs|exec) COMPREPLY=($(compgen -W \"$(wherry get pods -o name 2>/dev/null | cut -d/ -f2)\" -- "
    "\"$cur\")) ;;\n"
    "       up|down|image|backup|restore) compopt -o default ;;\n"
    "       *) if [ \"$COMP_CWORD\" = 2 ]; then\n"
    "              COMPREPLY=($(compgen -W \"$(wherry api-resources 2>/dev/null | awk 'NR>1{print $1}')\" -- "
    "\"$cur\"))\n"
    "          else\n"
    "              COMPREPLY=($(compgen -W \"$(wherry get \"${COMP_WORDS[2]}\" -o name 2>/dev/null | cut -d/ -f2)\" "
    "-- "
    "\"$cur\"))\n"
    "          fi ;;\n"
    "       esac ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _wherry wherry\n";

int completion_main(int argc, char **argv)
{
    if (argc != 1 || strcmp(argv[0], "bash") != 0) {
        fprintf(args_ask_help(argc, argv) ? stdout : stderr,
                "wherry completion bash\n\nPrints the code that lets bash complete verbs, resources and "
                "names.\n\nExamples:\n"
                "  source <(wherry completion bash)\n"
                "  wherry completion bash > /etc/bash_completion.d/wherry\n");
        return args_ask_help(argc, argv) ? 0 : 2;
    }
    printf("_wherry_verbs='");
    for (const struct verb_row *v = verb_rows; v->name; v++)
        printf("%s%s", v == verb_rows ? "" : " ", v->name);
    printf("'\n%s", script);
    return 0;
}
