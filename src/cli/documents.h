/* documents.h - objects in files: -f FILE, DIR or -, YAML or JSON, several to a file. */
#pragma once
#include "cli/resource.h"

#define DOCUMENT_FILE_MAX (64u << 20) /* bytes */
struct document {
    struct str file;
    size_t number; /* from 1; empty documents do not count */
    struct val v;  /* Lists are taken apart */
    const struct resource *resource;
    struct str ns, name; /* ns "": cluster-wide */
};
struct documents {
    struct document *p;
    size_t n;
};
/* Reads them all. A folder's *.yaml, *.yml and *.json, in order of their names, and with `deep` of the folders in it.
 * "a.yaml,b.yaml" are two, where there is no such file. */
MUST_USE bool documents_read(struct client *c, struct words files, bool deep, struct documents *out, struct err *err);
/* Which resource it is, where it belongs: fills resource, ns and name, and sets metadata.namespace. The error names
 * file, document and field. `nameless`: metadata.generateName will do. */
MUST_USE bool document_place(struct client *c, struct document *d, bool nameless, struct err *err);
/* Puts "FILE: document N (KIND/NAME): " before the error. */
bool document_wrap(const struct document *d, struct err *err);
