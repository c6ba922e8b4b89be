/* runtime_world_test.h - real crun, real overlayfs, in namespaces of the test's own; one image made of busybox alone.
 */
#pragma once
#include "base/test.h"
#include "oci/runtime_int.h"

struct world {
    struct loop *loop;
    struct runtime *rt;
    struct sandbox *s;
    struct arena arena;
    struct digest image;
    char state[200], data[200], content[200], logs[200], cgroup[60], shim[300];
    int waiting; /* callbacks still to come */
    bool failed; /* the last one carried an error */
    struct err err;
    int exits, lost, full;
    int code;
    struct strbuf output;
    int master;
};

void world_open(struct world *w);
void world_begin_on(struct world *w, enum cgroup_mode mode);
void world_begin(struct world *w);
void wait_for(struct world *w, const int *what, int until);
void world_done(struct world *w, const struct err *err);
void sandbox_told(struct sandbox *s, const struct err *err, void *arg);
void container_told(struct container *c, const struct err *err, void *arg);
void wait_done(struct world *w);
void world_must(struct world *w);
void pod_start(struct world *w, bool share_pid);
struct oci_container shell_run(struct world *w, const char *script);
struct container *box_create(struct world *w, const char *id, struct oci_container *o, bool stdin_open);
struct container *box_run(struct world *w, const char *id, struct oci_container *o);
struct str log_said(struct world *w, const char *id);
void world_end(struct world *w);
int wait_exit(struct world *w, struct container *c);
void output_done(void *arg, int code, struct str output, const struct err *err);
struct str exec_run(struct world *w, struct container *c, const char *script);
