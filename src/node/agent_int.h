/* agent_int.h - what the files of the agent share. Everything here belongs to the agent's loop. */
#pragma once
#include "client/cache.h"
#include "client/events.h"
#include "net/ipam.h"
#include "node/agent.h"
#include "node/figures_counts.h"
#include "node/named.h"
#include "node/pod.h"
#include "node/pressure.h"
#include "node/reserved.h"
#include "node/runtimes.h"
#include "node/sources.h"
#include "node/volume.h"
#include "node/volume_mount.h"
#include "oci/runtime.h"
#include "oci/selinux.h"
#include "sys/inotify.h"

/* Of a container's logs, below LOG: pods/POD/CONTAINER. A pod that has LOG mounted can write there. */
#define LOG_FOLDERS 3

struct agent_pod;
struct shutdown;
struct static_pod;
struct statics;
struct config_watch;
struct services;
struct announce;
struct images;
struct node_object;
struct prober;
struct host_look;
struct container_start;
struct csi;
struct agent_fences;
struct csi_pod;
struct disk_pod;
struct figures;
struct last_words;

struct agent {
    struct agent_config cfg;
    int64_t began; /* real ns */
    struct runtime *runtime;
    /* Small files of pods in the node's own folders, in order: what is written before a start, what is read after an
     * end. A thread of its own, as the pool may be at work on large ones. */
    struct lane *files;
    struct cache *pods, *services, *nodes; /* `nodes`: our own Node alone */
    struct cache_handler on_pods, on_services, on_nodes;
    struct map by_uid;  /* uid -> struct agent_pod */
    struct map configs; /* "cm/NS/NAME" -> struct config_watch */
    struct ipam ipam;
    struct images *images;
    struct services *endpoints;
    struct shutdown *shutdown;
    struct statics *statics; /* NULL: pods of files are not run */
    struct agent_fences *fences;
    struct announce *announce;
    struct provisioner *provisioner;
    struct node_object *node;
    struct csi *csi;
    struct events *events;
    struct val allocatable, capacity; /* of the node, in `arena` */
    struct node_amounts machine;      /* what it has, without huge pages */
    struct qos_groups *qos;
    int64_t pod_pids;             /* processes that a pod may have; 0: any number */
    bool selinux, apparmor;       /* the host has it */
    struct selinux_policy labels; /* where it has SELinux; of `arena` */
    bool apparmor_asked;          /* to load the profile of RuntimeDefault: once */
    struct user_ids user_ids;     /* for pods with users of their own */
    uint32_t user_ids_last;       /* that were given to one */
    struct arena arena;
    bool adopted;
    struct pressure *pressure;
    bool collecting; /* images are being collected: whether one is here is not told meanwhile */
    struct inotify hostpaths;
    bool watches_paths;      /* hostpaths works */
    int names_watch;         /* in it: the names of images on this machine; -1: none */
    int orphans;             /* sandboxes of pods that are gone, on their way out */
    struct list disk_queue;  /* pods whose disk use is to be counted (disk_use.c), */
    int disk_looks;          /* and how many are being counted */
    struct figures *figures; /* NULL: nobody has asked lately */
    struct figures_counts counts;
    struct timer resizes; /* pods that wait for room to be resized in are looked at */
    char hostname[256];
};

/* One running container of a pod, beside pod.h's view of it. */
struct agent_container {
    struct agent_pod *ap;
    int index;
    struct container *run; /* current or latest run; NULL: none */
    struct container
        *earlier; /* the run before: how it ended is known from it until the next one is there; or NULL */
    struct prober *probers[3];      /* startup, liveness, readiness; NULL: not probed */
    struct probe_counts *probed[3]; /* how its probes were answered, in all its runs; NULL: never */
    struct container_start *start;  /* under way; NULL: none */
    struct last_words *words;       /* of the run that has just ended, being read; NULL: none are */
    bool image_waits;               /* for a Secret that has not been heard of yet */
};

struct agent_pod {
    struct agent *agent;
    const struct pod *pod;      /* to read, by all */
    struct pod *facts;          /* the same, for what takes a fact: nothing but pod.h's functions writes to it */
    struct static_pod *of_file; /* it is a static pod; NULL: of the API */
    struct sandbox *sandbox;
    bool sandbox_leaving;                       /* it is being stopped: once is enough */
    size_t sandbox_stage;                       /* of its making: agent_sandbox.c */
    bool users_failed;                          /* a start of one with users of its own has been counted as failed */
    ARRAY(struct agent_container *) containers; /* each stays where it is: calls under way point to it */
    struct timer wake, refresh, usage;
    bool kicked, dead;      /* dead: gone from the table, waits for what is under way */
    bool admitted;          /* or refused; until then it stays as it came */
    struct call look_call;  /* at the Node, before a pod is refused for what a newer one might say */
    struct call class_call; /* for its RuntimeClass, before each of its sandboxes */
    struct str program;     /* the OCI runtime of that; empty: crun */
    int pending;            /* jobs and calls under way that point here */
    bool secrets_read;      /* those for pulls, and what was wrong with them told */
    bool wants_address;     /* there was none when its volumes were last tried */
    bool wants_claim;       /* another pod had it when its volumes were last tried */
    bool has_claims;        /* they are mounted for it, or about to be */
    bool volumes_waiting;   /* for something that has not been heard of yet */
    bool volumes_busy;      /* they are being written */
    bool teardown_waits;    /* until that is over */
    bool volumes_stale;     /* and what is written is old already */
    int64_t refresh_gap;    /* before a refresh of volumes that failed is tried again; 0: it did not */
    struct host_look *host_check, *host_wait; /* at paths of the host, under way; NULL: none */
    bool host_waits;                          /* for one of those to appear */
    bool logs_removed;                        /* or tried: once */
    bool delete_wanted;                       /* the pod is over: its object goes once the final status is written */
    bool delete_sent;
    uint32_t ip; /* 0: none taken */
    struct call status_call, delete_call;
    struct val written; /* the last status that was sent, in written_arena */
    struct arena written_arena;
    int64_t written_rev;
    int64_t status_retry_at; /* mono: the last write failed; 0: no */
    int64_t settling_since;  /* mono: containers are about to be up, the status of now is soon another; 0: no */
    struct csi_pod *csi;     /* it waits for volumes of drivers, or has; NULL: never */
    struct disk_pod *disk;   /* what it takes of the disk, once somebody has asked; NULL: nobody has */
    int64_t usage_began;     /* mono: of the count of its disk use that is under way (usage.c) */
    struct list leave_node;  /* in the list of those that wait to have left */
    struct drain *drain;     /* being watched until quiet; NULL: no */
    bool host_ports;
    struct list fence_node; /* in the list of those that wait for their fence */
    void (*fence_done)(struct agent_pod *ap, const struct err *err); /* NULL: it does not wait */
    int64_t fence_since;                            /* policies up to this revision are to be known, ... */
    bool fence_known;                               /* ... and are */
    uint64_t fence_asked;                           /* what is to be in force since then */
    struct list config_refs;                        /* struct config_ref */
    struct map tokens;                              /* "AUDIENCE/SECONDS" -> struct config_token */
    struct arena arena;                             /* of its whole life */
    struct str dir, tmpfs_dir, log_dir, mounts_dir; /* host paths */
};

/* agent.c */
void agent_heard(struct agent *g); /* pods or services are all known now */
struct agent_pod *agent_pod_of(struct agent *g, struct str uid);
void agent_pod_kick(struct agent_pod *ap); /* step soon */
/* Of static_pods.c: one begins; it has ended, and goes. */
struct agent_pod *agent_add_static(struct agent *g, struct obj *o);
void agent_static_gone(struct agent_pod *ap);
/* The object of the API that is the pod, or shows it; borrowed; NULL: there is none. */
const struct obj *agent_shown(const struct agent_pod *ap);
/* A job that takes as long as a tenant likes (its files are counted or removed): it keeps no thread from the others.
 */
void agent_job_long(struct agent *g, struct job *j, void (*work)(struct job *j), void (*done)(struct job *j));
void agent_pod_release(struct agent_pod *ap); /* one pending less; frees a dead one */
void agent_event(struct agent_pod *ap, int container, bool warning, const char *reason, struct str message);
void agent_eventf(struct agent_pod *ap, int container, bool warning, const char *reason, const char *fmt, ...)
    PRINTF(5, 6);
void agent_address_came_back(struct agent *g);                 /* pods that want one are tried again */
void agent_config_news(struct agent *g, struct agent_pod *ap); /* something it refers to has changed */
void agent_claim_news(struct agent_pod *ap);                   /* a claim of its, or the volume of one, has */

/* agent_status.c: what is told of a pod */
void agent_take_news(struct agent_pod *ap, struct obj *now); /* its object is a newer one */
void agent_send_status(struct agent_pod *ap);                /* where it is another one than the server has */
void agent_status_done(struct call *c);
bool agent_status_written(const struct agent_pod *ap); /* nothing is under way or to be tried again */
/* Sets the timer of the next step: at the first of `at` (0: none) and of what the status waits for. */
void agent_wake_later(struct agent_pod *ap, int64_t at);

bool agent_was_admitted(const struct agent_pod *ap);
void agent_admit(struct agent_pod *ap);

void agent_delete(struct agent_pod *ap); /* its object: once the final status is written */

/* agent_do.c: carries out one action */
void agent_do(struct agent_pod *ap, const struct pod_action *a);

/* agent_sandbox.c */
#define USAGE_FIRST NS_PER_S /* after a pod's start, its volumes are looked at */
struct ip_text {
    char z[16];
};
struct ip_text agent_ip(const struct agent_pod *ap);
void agent_sandbox_start(struct agent_pod *ap);
void agent_sandbox_stop(struct agent_pod *ap);
void agent_class_done(struct call *c); /* of class_call */

/* agent_container.c */
const struct pod_container *agent_wanted(struct agent_container *ac);
void agent_container_start(struct agent_container *ac);
enum words_how {
    WORDS_LATER,
    WORDS_WITH_START, /* nor does the pod know that it ran */
    WORDS_AT_ONCE,    /* read here and now: the agent begins, and what it tells the pod next rests on this end */
};
void agent_container_exited(struct agent_container *ac, enum words_how how); /* answers with pod_saw_exit */
void agent_count_ending(struct agent_container *ac); /* its latest run has ended, and the pod knows it */
int agent_stop_signal(struct agent_container *ac);
void agent_hook(struct agent_container *ac, bool poststart);
void agent_drop_earlier(struct agent_container *ac);
void agent_run_removed(struct container *c, const struct err *err, void *arg); /* a container_done that only logs */

/* qos.c: groups above those of pods */
struct qos_groups *qos_new(struct agent *g);
void qos_free(struct qos_groups *q);
void qos_news(struct qos_groups *q); /* a pod came, went or is another size; NULL: not there yet */

/* agent_resize.c */
void agent_resizes_look(struct timer *t); /* of agent.resizes: there may be room now */
void agent_resize(struct agent_pod *ap);  /* answers with pod_saw_resized */

/* agent_adopt.c: what an earlier agent left */
void agent_drop_told(struct agent_pod *ap); /* earlier runs of which the object tells how they ended */

/* agent_files.c: in the lane `files`; `done` in the loop */
struct str agent_termination_file(struct agent_container *ac, struct arena *a);
/* Reads what fileKeyRefs of the container name, into the arena, which outlives it. */
struct env_file;
void files_variables(struct agent_container *ac, struct arena *a,
                     void (*done)(struct agent_container *ac, struct env_file *files, size_t n));
void files_make(struct agent_container *ac, struct str termination, struct str logs,
                void (*done)(struct agent_container *ac, const struct err *err));
void files_link_log(struct agent_container *ac, void (*done)(struct agent_container *ac));
void files_last_words(struct agent_container *ac, enum words_how how); /* answers with pod_saw_exit */
void files_words_unread(struct agent_pod *ap);  /* ends whose words are still being read are told without them */
void logs_full(void *arg, struct container *c); /* of runtime_events: moves its log away */

/* configs.c: the objects that pods refer to, each watched while a pod needs it; tokens of service accounts */
void configs_need(struct agent_pod *ap); /* begins watching what the pod's spec names */
void configs_drop(struct agent_pod *ap);
void configs_free(struct agent *g);
struct sources configs_sources(struct agent_pod *ap);
bool configs_token(void *arg, const struct obj *pod, struct str audience, int64_t seconds, struct str *out,
                   struct err *err);

/* volumes_do.c */
void volumes_setup(struct agent_pod *ap); /* answers with pod_saw_volumes */
/* Volumes that wait for what has not been heard of are set up no more: the pod goes, and what it names may never be
 * told of again (a node reads ConfigMaps and Secrets of its pods alone). False: they were not waiting. */
bool volumes_let_go(struct agent_pod *ap);
void volumes_teardown(struct agent_pod *ap);
void volumes_refresh(struct agent_pod *ap); /* content has changed: writes it in place */
/* The host path of a volume by name; read_only: no container may write to it. False: there is none. */
bool volumes_path(struct agent_pod *ap, struct arena *a, struct str name, struct str *path, bool *read_only);
/* Whether a label of SELinux is for the node to set on all that is in a volume (kubelet: SELinuxRelabel). */
bool volumes_relabel(struct agent_pod *ap, struct str name);
void volumes_memory(struct agent_pod *ap, void (*done)(struct agent_pod *ap, const struct err *err));

/* volumes_claims.c: what is mounted for a pod */
struct oci_device;
struct volume_mounts {
    struct volume_mount *list;
    size_t n;
};
enum claims_state {
    CLAIMS_READY,
    CLAIMS_UNHEARD, /* agent_claim_news comes */
    CLAIMS_FAILED,  /* it has been told */
};
/* What is to be mounted for the pod, by its claims. Where another pod has one of them for itself, this one waits. */
enum claims_state claims_gather(struct agent_pod *ap, struct arena *a, struct volume_mounts *out,
                                struct str *message);
void claims_mounted(struct agent_pod *ap); /* the pod has them: what was to grow at that has grown */
void claims_came_back(struct agent *g); /* what is to be mounted may be there again: pods whose volumes failed try */
void claims_came_free(struct agent *g); /* pods that wait for a claim of another one are tried again */
/* The device of a volume of the pod, for a container. */
MUST_USE bool claims_device(struct agent_pod *ap, struct str volume, struct oci_device *out, struct err *err);

/* provision.c: the built-in provisioner of volumes */
struct provisioner *provisioner_new(struct agent *g);
void provisioner_free(struct provisioner *p);
/* A pod has the claim mounted, or no more: what waits for that goes on. */
void provisioner_look(struct provisioner *p, struct str ns, struct str claim);

/* usage.c: emptyDir volumes and their sizeLimit */
void usage_look(struct agent_pod *ap); /* now, and from then on while the pod runs */

/* hostpaths.c: what is looked for on the host's disks: paths that volumes want, images that are loaded */
struct host_path {
    struct str volume, path, type; /* of the pod's hostPath volumes */
    struct volume_mount mount;     /* or what is mounted for the pod; it has a target */
    bool ok;                       /* it is there, as it should be */
    struct err err;
};
void hostpaths_start(struct agent *g);
void hostpaths_stop(struct agent *g);
/* Tests and makes them; then done, where the pod has not let go meanwhile. May never come back. */
typedef void hostpaths_done(struct agent_pod *ap, const struct host_path *paths, size_t n);
void hostpaths_check(struct agent_pod *ap, const struct volume_mounts *mounts, hostpaths_done *done);
bool hostpaths_let_go(struct agent_pod *ap); /* of a check; false: there is none */
/* Its volumes have failed: tries again once a path that was missing is there. Or they have not: waits no more. */
void hostpaths_wait(struct agent_pod *ap, bool failed);
void hostpaths_forget(struct agent_pod *ap);
/* From a job: whatever may be the next part of the path has csi_flex_look called. True: it is there by now. */
bool hostpaths_watch(struct agent *g, const char *path);

/* images.c */
struct images *images_new(struct agent *g);
void images_free(struct images *im);
void images_ensure(struct agent_pod *ap, int container); /* answers with pod_saw_image */
/* By the name as a pod writes it. */
MUST_USE bool images_read(struct agent *g, struct arena *a, struct str name, struct image *out, struct err *err);
void images_retry(struct agent_pod *ap); /* what waited for a Secret */
void images_forget(struct agent_pod *ap);
void images_held_over(struct agent *g); /* they are not collected any more: who asked meanwhile is answered */
void images_came(struct agent *g);      /* names have been added: who waits for one of them waits no longer */

/* image_gc.c: images that nobody needs go. done: later, once; freed: bytes. */
typedef void image_gc_done(void *arg, bool ok, int64_t freed);
/* wanted: so many bytes, or INT64_MAX for all that may go. only_old: those that were unused for too long. False:
 * another one is under way, and done is not called. */
bool image_gc_start(struct agent *g, int64_t wanted, bool only_old, image_gc_done *done, void *arg);

/* apparmor.c */
bool apparmor_here(void); /* the kernel has it, and it is on */
/* The profiles that are loaded, as the kernel lists them. That of RuntimeDefault is when they are first asked for:
 * E_UNAVAILABLE until then. */
MUST_USE bool apparmor_profiles(struct agent *g, struct arena *a, struct str *out, struct err *err);

/* probe_do.c */
void probes_start(struct agent_container *ac);
void probes_stop(struct agent_container *ac);

/* node_object.c */
/* announce.c: addresses of load balancers that are this node's to answer for */
struct announce *announce_new(struct agent *g);
void announce_free(struct announce *n);                                                  /* they stay */
void announce_changed(struct announce *n, const struct obj *was, const struct obj *now); /* a Service */
void announce_news(struct announce *n);                                                  /* all Services are known */

struct node_object *node_object_new(struct agent *g);
void node_object_free(struct node_object *n);
void node_object_news(struct node_object *n); /* what the status says of volumes has changed; NULL: not there yet */

/* services.c: Services and EndpointSlices to the kernel's rules; host ports; leaving and draining */
struct services *services_new(struct agent *g, struct err *err);
void services_free(struct services *d);
void services_start(struct services *d);
void services_heard(struct services *d);                                     /* all Services are in */
void services_changed(struct services *d, struct obj *was, struct obj *now); /* a Service */
void services_leave(struct agent_pod *ap);                                   /* answers with pod_saw_left */
void services_drain(struct agent_pod *ap);                                   /* answers with pod_saw_drained */
void services_forget(struct agent_pod *ap);
bool services_synced(const struct services *d);
bool services_serves(struct agent_pod *ap); /* do Services send it connections, or are about to? */
void services_host_ports(struct agent_pod *ap, bool up);
