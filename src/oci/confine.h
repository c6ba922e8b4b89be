/* confine.h - what a job gives away before it reads what a stranger wrote: every capability but those over files, new
 * privileges, and (Landlock) every file outside the store. */
#pragma once
#include "base/err.h"

/* network: it also reads what name lookup and TLS need (/etc, /usr, /run/systemd/resolve). also: one more file to
 * read, or NULL. After this only files below `store` can be written (NULL: none). Kernels without Landlock:
 * capabilities alone. */
MUST_USE bool job_confine(const char *store, bool network, const char *also, struct err *err);
