/* pod_play_test.h - a pod whose actions are answered as a node that always succeeds would, unless the test steps in.
 */
#pragma once
#include "node/pod.h"

struct play {
    struct pod *p;
    struct pod_actions actions;
    struct arena arena;
    int64_t now;
    struct strbuf log; /* what was asked for: "volumes sandbox image:c start:c ..." */
    bool hold;         /* answer nothing by itself */
};
#define PLAY_REAL (1700000000LL * NS_PER_S)

void play_begin(struct play *y, const char *yaml);
void play_end(struct play *y);
void play_run(struct play *y);                       /* until nothing more is asked for */
struct str play_told(struct play *y);                /* what was asked for since the last call */
void play_running(struct play *y, const char *yaml); /* it runs, and nothing of its start is told any more */
void play_sandbox(struct play *y,
                  const char *yaml); /* it has its sandbox and asks for an image; from here on the test answers */
void play_delete(struct play *y, int64_t grace);
void play_answer(struct play *y, const struct pod_action *a);
void play_resized(struct play *y, const char *error); /* "": what is allocated is in force */
void play_exits(struct play *y, const char *name, int code);
struct str play_run_id(const struct pod *p, int c);
struct obj *pod_of(struct arena *a, const char *yaml);
struct val play_container(struct play *y, size_t i); /* its status */
struct str play_reason(struct play *y, size_t i);    /* why it waits */

#define META "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns, uid: u1, generation: 1}\n"
#define ONE                                                                                                          \
    META "spec:\n  restartPolicy: Always\n  terminationGracePeriodSeconds: 30\n  containers: [{name: c, image: "     \
         "x}]\n"
