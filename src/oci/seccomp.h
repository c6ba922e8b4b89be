/* seccomp.h - seccomp profiles compiled once: RuntimeDefault, whose rules are containerd's and CRI-O's
 * (seccomp_default.c), and files of the user's. crun takes the compiled filter as an annotation and so
 * skips 20-30 ms of compiling per start. The rules depend on the container's capabilities (a profile opens calls for
 * CAP_SYS_ADMIN, say), so filters are kept by capability set; the common one is on disk too. */
#pragma once
#include "base/err.h"

#define SECCOMP_ANNOTATION "run.oci.seccomp_bpf_data"

struct seccomp;
/* profile: a file in the runtime-spec's or containers-common's form; NULL: RuntimeDefault. cache: folder for compiled
 * filters, made where missing. */
struct seccomp *seccomp_open(const char *profile, const char *cache, struct err *err) MUST_USE;
void seccomp_free(struct seccomp *s);
AUTO_POINTER(seccomp_free, struct seccomp);
/* Base64 of the raw BPF; lives as long as s. Compiles at the first use of a capability set (5-25 ms): in a job.
 * Not for two threads at a time. */
MUST_USE bool seccomp_filter(struct seccomp *s, uint64_t capabilities, struct str *out, struct err *err);
/* The same rules as the runtime-spec's linux.seccomp, for runtimes that compile them themselves. */
void seccomp_json(const struct seccomp *s, uint64_t capabilities, struct strbuf *out);
