/* acme_child.h - a program that the front door's role runs for ACME: wherry-job with one request, or the hook of the
 * administrator. Belongs to the loop; never waited for. */
#pragma once
#include "sys/child.h"

struct acme_child {
    struct child child;
    struct poll in, out;
    int in_fd, out_fd;
    struct strbuf input, output; /* the input is wiped as it goes out */
    struct timer most;
    bool running, ended;
    int status;
    struct err err; /* where it did not start */
    void (*done)(struct acme_child *c);
};
/* Starts it; done comes in a later turn, also where it did not start (err). input is taken. output: stdout up to
 * most_bytes (further bytes are read and dropped), stderr goes to ours or (merge) beside it. */
void acme_child_start(struct acme_child *c, struct loop *l, const char *const *argv, struct strbuf *input,
                      size_t most_bytes, bool merge, int64_t most_ns, void (*done)(struct acme_child *c));
void acme_child_stop(struct acme_child *c); /* ends it; done is not called. Not running: frees what is left */
