/* selinux.h - labels of SELinux, where the host has it: what the processes of containers are called, and their files
 * (as container runtimes do it; the types are named by the host's policy). Pure but for what says otherwise. */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* USER:ROLE:TYPE or USER:ROLE:TYPE:LEVEL; empty parts: not said. */
struct selinux_context {
    struct str user, role, type, level;
};
/* Borrows from the text. False: it has fewer than three parts. */
bool selinux_context_read(struct str label, struct selinux_context *out);
struct str selinux_context_text(struct arena *a, const struct selinux_context *c);

/* What the policy calls containers and their files. */
struct selinux_policy {
    struct selinux_context process, file; /* without a type: it knows of none */
};
/* A file of lines NAME = "LABEL", of which `process` and `file` count. Borrows from the text. */
void selinux_policy_parse(struct str text, struct selinux_policy *out);
/* Blocking, of files in memory. Whether this host has SELinux and a policy for it is loaded; if so, what that says.
 */
bool selinux_policy_here(struct arena *a, struct selinux_policy *out);

/* A level as the API takes one: sN, sN-sN, with categories :c1,c2.c5 */
bool selinux_level_ok(struct str level);
/* Two categories at random, as nobody has them of whom `taken` knows. */
struct str selinux_level_draw(struct arena *a, bool (*taken)(void *arg, struct str level), void *arg);
struct selinux_labels {
    struct str process, file;
};
/* As asked for, and where nothing is said as the policy has it, with this level (empty: the policy's). INVALID: what
 * is wrong with `asked`, or that the policy knows no containers. */
MUST_USE bool selinux_labels(struct arena *a, const struct selinux_policy *policy,
                             const struct selinux_context *asked, struct str level, struct selinux_labels *out,
                             struct err *err);
/* Blocking, of files in memory: the kernel's policy has such a context. */
MUST_USE bool selinux_known(struct str label, struct err *err);
/* Blocking. All that is below a descriptor, and what that is itself, gets the label. A file system that keeps no
 * labels is left as it is. */
MUST_USE bool selinux_relabel(int root, struct str label, struct err *err);
