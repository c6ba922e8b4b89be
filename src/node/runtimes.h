/* runtimes.h - which OCI runtime a RuntimeClass's handler means, and which ids of the host a pod with users of its
 * own (hostUsers: false) gets. Pure. */
#pragma once
#include "base/err.h"

/* A setting "HANDLER=/PROGRAM,HANDLER=/PROGRAM": false with a sentence for one that is none. */
MUST_USE bool runtimes_check(struct str setting, struct err *err);
/* One after the other, in the setting's order. False: there is none further. */
bool runtimes_next(struct str *rest, struct str *handler, struct str *program);
/* program "": crun, which handlers "" and (unless the setting says otherwise) "crun" mean. False: there is none. */
MUST_USE bool runtimes_find(struct str setting, struct str handler, struct str *program);

/* Ids that pods get, USER_IDS each: FIRST is of the first pod. n 0: none, and why says so. */
#define USER_IDS 65536
struct user_ids {
    uint32_t first, n; /* n of pods */
    const char *why;
};
/* A setting "FIRST:COUNT"; where it is empty, what /etc/subuid and /etc/subgid give to "kubelet"; else from USER_IDS
 * on for max_pods. False: the setting is none. */
MUST_USE bool user_ids_read(struct str setting, struct str subuid, struct str subgid, unsigned max_pods,
                            struct user_ids *out, struct err *err);
/* The next one after `last` that is not taken; 0: all are. */
uint32_t user_ids_take(const struct user_ids *u, uint32_t last, bool (*is_taken)(void *arg, uint32_t first),
                       void *arg);
/* Whether this kernel can show the files of volumes (on a tmpfs, too) under other ids: since 6.3. */
bool user_ids_kernel(struct str release);
