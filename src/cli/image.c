#include "cli/args.h"
#include "cli/output.h"
#include "cli/role.h"
#include "cli/verbs.h"
#include "oci/jobs.h"
#include "oci/pack.h"
#include "sys/file.h"
#include <errno.h>
#include <getopt.h>
#include <sys/stat.h>

/* wherry image load|ls|rm|pack: the images of this machine. They work on the content store itself, so the cluster
 * need not be up. */
static const struct image_verb {
    const char *name, *args, *help;
    int (*run)(struct settings *s, int argc, char **argv); /* argv[0]: the first word behind the name */
} image_verbs[];

static void usage_of(const struct image_verb *v, FILE *out)
{
    output_show(out, "wherry image %s%s%s\n    %s\n", v->name, *v->args ? " " : "", v->args, v->help);
}

static void usage_print(FILE *out)
{
    for (const struct image_verb *v = image_verbs; v->name; v++)
        usage_of(v, out);
    output_show(out, "\n--root DIR means the store of the cluster that wherry up --root DIR runs.\n");
}

static int image_fail(const struct err *err)
{
    output_show(stderr, "wherry image: %s\n", err->text);
    return 1;
}

static struct str store_of(struct settings *s)
{
    return arena_fmt(&s->arena, STR_FMT "/node/content", STR_ARG(s->data));
}

static struct content *open_store(struct settings *s, struct err *err)
{
    struct str store = store_of(s);
    return dir_make(store.p, 0755, err) ? content_open(store.p, err) : NULL;
}

static int image_load_verb(struct settings *s, int argc, char **argv)
{
    struct err err = ERR;
    struct strs found = {0};
    struct digest manifest;
    struct str job = program_beside(&s->arena, "wherry-job"), store = store_of(s);
    if (argc < 1 || argc > 2) {
        usage_print(stderr);
        return 2;
    }
    AUTO(content_free) struct content *c = open_store(s, &err);
    if (!c ||
        !image_load(job.p, store.p, argv[0], str_of(argc > 1 ? argv[1] : ""), &s->arena, &found, &manifest, &err))
        return image_fail(&err);
    for (size_t i = 0; i < found.n; i++)
        output_show(stdout, STR_FMT "\n", STR_ARG(found.p[i]));
    return 0;
}

static int image_ls(struct settings *s, int argc, char **argv)
{
    (void)argv;
    if (argc) {
        usage_print(stderr);
        return 2;
    }
    struct err err = ERR;
    struct image_rows rows = {0};
    AUTO(content_free) struct content *c = open_store(s, &err);
    if (!c || !image_list(c, &s->arena, &rows, &err))
        return image_fail(&err);
    output_show(stdout, "%-60s %-14s %10s\n", "IMAGE", "ID", "SIZE");
    for (size_t i = 0; i < rows.list.n; i++)
        for (size_t k = 0; k < rows.list.p[i].names.n; k++)
            output_show(stdout, "%-60.*s %-14.12s %8.1f M\n", STR_ARG(rows.list.p[i].names.p[k]),
                        rows.list.p[i].image.manifest.hex, (double)rows.list.p[i].image.size / 1e6);
    array_fini(&rows.list);
    return 0;
}

static int image_rm(struct settings *s, int argc, char **argv)
{
    struct err err = ERR;
    int64_t freed = 0;
    if (argc != 1) {
        usage_print(stderr);
        return 2;
    }
    AUTO(content_free) struct content *c = open_store(s, &err);
    if (!c || !image_remove(c, str_of(argv[0]), &freed, &err))
        return image_fail(&err);
    output_show(stdout, "removed %s, %.1f M freed\n", argv[0], (double)freed / 1e6);
    return 0;
}

static void strs_add(struct strs *list, const char *text)
{
    list->p[list->n++] = str_of(text);
}

/* FILE=PATH: PATH of this machine becomes FILE of the image; FILE=@LINK: a symbolic link; /=FOLDER: all that is in
 * it. */
static bool add_file(struct settings *s, struct oci_pack *p, struct oci_pack_file *f, const char *text,
                     struct err *err)
{
    struct str to, from;
    if (!str_split(str_of(text), '=', &to, &from) || !to.n || !from.n)
        return err_set(err, E_INVALID, "\"%s\": must be FILE=PATH", text);
    if (str_eqz(to, "/")) {
        p->root = arena_strz(&s->arena, from);
        return true;
    }
    if (to.p[0] == '/')
        to = str_sub(to, 1, to.n);
    f->to = arena_strz(&s->arena, to);
    if (from.p[0] == '@')
        f->link = arena_strz(&s->arena, str_sub(from, 1, from.n));
    else
        f->from = arena_strz(&s->arena, from);
    p->nfiles++;
    return true;
}

static int image_pack(struct settings *s, int argc, char **argv)
{
    argc++, argv--; /* getopt begins behind a name */
    static const struct option options[] = {
        {"cmd", required_argument, NULL, 'c'},  {"entrypoint", required_argument, NULL, 'e'},
        {"env", required_argument, NULL, 'v'},  {"workdir", required_argument, NULL, 'w'},
        {"user", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0},
    };
    struct arena *a = &s->arena;
    struct oci_pack p = {0};
    struct err err = ERR;
    struct strs *lists[] = {&p.entrypoint, &p.cmd, &p.env};
    struct oci_pack_file *files = arena_alloc(a, (size_t)(argc + 1) * sizeof *files);
    for (size_t i = 0; i < countof(lists); i++)
        lists[i]->p = arena_alloc(a, (size_t)(argc + 1) * sizeof(struct str));
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c': strs_add(&p.cmd, optarg); break;
        case 'e': strs_add(&p.entrypoint, optarg); break;
        case 'v': strs_add(&p.env, optarg); break;
        case 'w': p.workdir = str_of(optarg); break;
        case 'u': p.user = str_of(optarg); break;
        default: usage_print(stderr); return 2;
        }
    }
    if (argc - optind < 3) {
        usage_print(stderr);
        return 2;
    }
    const char *out = argv[optind++];
    p.name = str_of(argv[optind++]);
    p.files = files;
    for (; optind < argc; optind++)
        if (!add_file(s, &p, &files[p.nfiles], argv[optind], &err))
            return image_fail(&err);
    if (!oci_pack(&p, out, &err))
        return image_fail(&err);
    return 0;
}

static const struct image_verb image_verbs[] = {
    {"load", "ARCHIVE [NAME]", "take an OCI or docker archive (a tar; - is stdin) into this machine's store",
     image_load_verb},
    {"ls", "", "list the images that are there", image_ls},
    {"rm", "NAME", "remove a name, and whatever nothing else needs", image_rm},
    {"pack",
     "OUT NAME [--cmd ARG] ... [--entrypoint ARG] ... [--env K=V] ...\n"
     "                  [--workdir DIR] [--user USER] FILE=PATH ...",
     "make an OCI archive OUT from files of this machine: PATH becomes FILE; FILE=@LINK is a symbolic\n"
     "    link, /=FOLDER all that is in a folder",
     image_pack},
    {NULL, NULL, NULL, NULL},
};

int image_main(int argc, char **argv)
{
    AUTO(settings_fini) struct settings s = {0};
    struct err err = ERR;
    int rest;
    if (!settings_read(&s, argc, argv, &rest, &err))
        return image_fail(&err);
    for (const struct image_verb *v = image_verbs; rest && v->name; v++) {
        if (strcmp(argv[0], v->name) != 0)
            continue;
        if (!args_ask_help(MIN(rest - 1, 1), argv + 1)) /* further on it may be an image's own word */
            return v->run(&s, rest - 1, argv + 1);
        usage_of(v, stdout);
        return 0;
    }
    bool help = !rest || args_ask_help(rest, argv);
    usage_print(help ? stdout : stderr);
    return help ? 0 : 2;
}
