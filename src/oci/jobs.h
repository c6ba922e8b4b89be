/* jobs.h - runs wherry-job and reads what it says. The node and `wherry image` use this; nothing that a stranger
 * wrote is looked at on this side. */
#pragma once
#include "oci/pull.h"
#include "sys/loop.h"

/* An asynchronous pull. `request` is copied out during the call. done: once; names[0] is the one with a digest
 * ("registry/repo@sha256:..."), both borrowed for the callback. Errors carry upstream's words. */
struct image_pull;
struct image_pull_events {
    void (*progress)(void *arg, int64_t done, int64_t total); /* bytes; may be NULL */
    void (*done)(void *arg, const struct digest *manifest, const struct strs *names, const struct err *err);
};
struct image_pull *image_pull_start(struct loop *l, const char *job_program, const struct pull_request *request,
                                    const struct image_pull_events *on, void *arg);
void image_pull_cancel(struct image_pull *p); /* ends the job; no callback comes any more */

/* Loads an archive (path; "-" is stdin) into the store. Blocking. names in the arena. */
MUST_USE bool image_load(const char *job_program, const char *store, const char *archive, struct str name,
                         struct arena *a, struct strs *names, struct digest *manifest, struct err *err);

/* One line of a job's output. Pure. kind says which part is filled. */
struct job_line {
    enum { JOB_NOISE, JOB_PROGRESS, JOB_ERROR, JOB_IMAGE } kind;
    int64_t done, total;
    struct err err;
    struct digest manifest;
    struct strs names;
};
void job_line_decode(struct arena *a, struct str line, struct job_line *out);
