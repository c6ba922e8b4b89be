/* keybundle.h - the keys of a cluster (server/pki.h) as one text under a passphrase: what a backup brings along so
 * that it restores on a machine that has nothing. Blocking. */
#pragma once
#include "base/err.h"

/* From the file's first line; else from $WHERRY_PASSPHRASE; else asked for on the terminal, `twice` where it is new.
 * Between 8 and 1000 bytes. In the arena. */
MUST_USE bool passphrase_get(struct arena *a, struct str file, bool twice, struct str *out, struct err *err);

/* The keys of ETC/keys, sealed. ca_pem: of the cluster they should be of; empty is any. */
MUST_USE bool keybundle_make(struct str etc, struct str ca_pem, struct str passphrase, struct strbuf *out,
                             struct err *err);
/* The bundle, opened: for keybundle_put. */
MUST_USE bool keybundle_open(struct str bundle, struct str passphrase, struct strbuf *out, struct err *err);
/* Writes them to ETC/keys, each 0600 and owner's. A file that stood there and says something else stays as
 * NAME.before-restore. */
MUST_USE bool keybundle_put(struct str etc, struct str opened, unsigned owner, struct err *err);
/* Which of the files is missing in ETC/keys; empty: none is. In the arena. */
struct str keybundle_missing(struct arena *a, struct str etc);
