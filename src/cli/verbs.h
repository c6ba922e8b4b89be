/* verbs.h - what can be typed after `wherry`: one row a verb, in the order of --help. */
#pragma once

struct verb_row {
    const char *name, *args, *help;
    int (*run)(int argc, char **argv); /* what follows the verb; the answer is the exit status */
};
extern const struct verb_row verb_rows[]; /* ends with a row without a name */
int image_main(int argc, char **argv);    /* image.c */
int get_main(int argc, char **argv);      /* get.c */
int api_resources_main(int argc, char **argv);
int apply_main(int argc, char **argv);  /* apply.c */
int delete_main(int argc, char **argv); /* delete.c */
int logs_main(int argc, char **argv);   /* logs.c */
int backup_main(int argc, char **argv); /* backup.c */
int restore_main(int argc, char **argv);
int exec_main(int argc, char **argv);   /* exec.c */
int scale_main(int argc, char **argv);  /* change.c */
int expose_main(int argc, char **argv); /* expose.c */
int set_main(int argc, char **argv);
int label_main(int argc, char **argv);
int annotate_main(int argc, char **argv);
int rollout_main(int argc, char **argv);  /* rollout.c */
int wait_main(int argc, char **argv);     /* wait.c */
int describe_main(int argc, char **argv); /* describe.c */
int why_main(int argc, char **argv);      /* why.c */
int create_main(int argc, char **argv);   /* create.c */
int volume_main(int argc, char **argv);   /* volume.c */
int acme_main(int argc, char **argv);     /* acme.c */
int version_main(int argc, char **argv);  /* info.c */
int completion_main(int argc, char **argv);
int install_main(int argc, char **argv); /* install.c */
int uninstall_main(int argc, char **argv);
int shutdown_main(int argc, char **argv);
