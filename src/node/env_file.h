/* env_file.h - files of environment variables (core/v1 FileKeySelector, KEP-3721): NAME='value', as a shell reads it.
 *
 *   # a comment            blank lines and comments are left out
 *   NAME='value'  # so     a value is what stands between single quotes, over several lines if need be
 *   NAME= 'value'          is empty, as it is for a shell
 *
 * All else is an error that names the line. Pure but for env_file_load. */
#pragma once
#include "base/err.h"
#include "base/str.h"

#define ENV_FILE_MOST (1 << 20) /* bytes; a program takes no more than 2 MiB of environment */

/* The first value of a name; *found false: it has none. Lines behind it are not looked at. */
MUST_USE bool env_file_find(struct arena *a, struct str text, struct str name, struct str *value, bool *found,
                            struct err *err);
/* A file below `root`, which is a tenant's: links lead nowhere else, and nothing but a regular file is read.
 * Blocking. E_NOT_FOUND; E_TOO_LARGE; E_INVALID. */
MUST_USE bool env_file_load(struct arena *a, const char *root, struct str path, struct str *text, struct err *err);
