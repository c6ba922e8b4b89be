/* kubeconfig.h - which server, which certificate authority, who we are: kubeconfig files (v1 Config) as kubectl reads
 * them. Files may be joined (KUBECONFIG=a:b): the first definition of a name wins. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct kubeconfig { /* the chosen context, resolved; all texts in the arena */
    struct str context, cluster, user;
    struct str server;                    /* https://host:port or unix:///path */
    struct str ns;                        /* "default" where the context names none */
    struct str ca_pem, cert_pem, key_pem; /* "" where absent; data and files alike */
    struct str token;
    struct str tls_server_name;
    bool insecure_skip_tls_verify;
};
/* Overrides of the command line; "" means what the file says. */
struct kubeconfig_overrides {
    struct str context, cluster, user, server, ns, token;
};
/* text: the YAML of one file. base: folder to which its relative paths belong. read: reads a file named in it (NULL:
 * such files are an error). E_NOT_FOUND names a context, cluster or user that is missing. */
MUST_USE bool kubeconfig_parse(struct arena *a, struct str text, struct str base,
                               bool (*read)(struct arena *a, struct str path, struct str *out, struct err *err),
                               const struct kubeconfig_overrides *o, struct kubeconfig *out, struct err *err);
/* The file: path, or $KUBECONFIG, or /etc/wherry/admin.kubeconfig where it can be read, or ~/.kube/config. */
MUST_USE bool kubeconfig_load(struct arena *a, const char *path, const struct kubeconfig_overrides *o,
                              struct kubeconfig *out, struct err *err);
