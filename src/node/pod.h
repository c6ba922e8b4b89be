/* pod.h - one pod on this node: what is wanted, what has been seen, and the pure step between them.
 *
 * The agent feeds facts in (pod_wanted, pod_saw_*), calls pod_step, and carries out the actions it gets. Nobody else
 * writes to a struct pod; all may read it. Nothing here has a clock, a descriptor or a thread: times come in, so
 * every story can be played in a test. Everything needed to go on after the node role was killed is either in the API
 * object (restart counts, start time) or is seen again (what the shim says), so a fresh struct pod fed with the same
 * facts continues where the old one stood.
 *
 * Statuses, reasons and texts: as a kubelet of 1.36 writes them (core/v1 PodStatus).
 * Times: `now` is clock_mono ns where something is awaited, `real` clock_real ns where it is shown. */
#pragma once
#include "api/obj.h"
#include "base/array.h"
#include "oci/cgroup.h"

/* Where the pod stands. The moves that are allowed stand in pod_moves (pod.c). */
enum pod_state {
    POD_PREPARING, /* volumes and sandbox are being made */
    POD_ACTIVE,    /* containers are started, probed, restarted */
    POD_LEAVING,   /* waits until every data plane has forgotten it */
    POD_DRAINING,  /* waits until connections through Services are quiet */
    POD_STOPPING,  /* preStop, SIGTERM, SIGKILL */
    POD_CLEANING,  /* sandbox and volumes go */
    POD_ENDED,     /* nothing of it is left on the node; its status is final */
    POD_STATES
};

enum part { PART_NONE, PART_BUSY, PART_READY, PART_FAILED };
enum container_role { CONTAINER_INIT, CONTAINER_SIDECAR, CONTAINER_MAIN, CONTAINER_EPHEMERAL };
enum run { RUN_NONE, RUN_STARTING, RUN_RUNNING, RUN_EXITED };
enum hook { HOOK_NONE, HOOK_BUSY, HOOK_DONE, HOOK_FAILED };

/* How a container ended, for status.state.terminated and lastState. */
struct ending {
    struct str id; /* 64 hex digits, in the pod's arena */
    int exit_code;
    const char *reason;        /* Completed, Error, OOMKilled, StartError, ContainerStatusUnknown */
    struct str message;        /* termination message; may be empty */
    int64_t started, finished; /* real ns; 0: never */
};

/* As whom it runs, in the pod's arena. */
struct container_user {
    bool known;
    uint32_t uid, gid;
    const uint32_t *groups;
    size_t ngroups;
};

struct pod_force {
    bool known;
    struct cgroup_bounds bounds;
    int64_t memory_asked; /* bytes, of a container: no group has it, but to whom it matters starts anew for another */
};

struct pod_container {
    struct str name;
    const struct val *spec; /* in the wanted object */
    enum container_role role;

    enum part image;
    struct str image_asked; /* the image that is asked for now: its own, or one of a volume that it mounts */
    struct str image_reason, image_message; /* ErrImagePull ..., from a failure until it is here */
    bool image_backing_off;                 /* the failure has been shown: ImagePullBackOff from now on */
    int64_t image_retry_at, image_backoff;  /* mono ns, ns */
    int64_t image_asked_at;                 /* mono ns */
    struct str image_id;                    /* "name@sha256:..." once present */

    enum run run;
    struct str id; /* of the current or latest run */
    int64_t started_real, started_mono;
    struct ending end;  /* of the latest run, until the next one is up (reason NULL: none) */
    struct ending last; /* the run before that one */
    bool has_last;
    int restarts;                             /* counted when the next run is up */
    struct str config_reason, config_message; /* CreateContainerConfigError and the like; cleared by a retry */
    int64_t retry_at, backoff;                /* when it may be started again; 0: at once */
    int64_t node_backoff;                     /* ns, where it is the node that cannot start it */
    int64_t ended_mono;                       /* the end of the latest run; 0: none since this agent is here */
    bool backing_off;                         /* the crash loop's wait is shown */

    bool passed_startup, ready, unhealthy; /* what the probes say; unhealthy: restart it */
    bool redefined;                        /* ended for another image: runs again whatever its policy is */
    bool again; /* ended for all to begin anew (RestartAllContainers), and its turn has not come: it runs again
                   whatever its policy is, and that it ran before is no more than its last state */
    const char *unhealthy_why; /* "failed liveness probe" */
    bool replacing;            /* it was ended for that, and the next run is not up yet */
    enum hook poststart, prestop;
    struct str poststart_message; /* of the hook that failed: it ended this run */
    const char *stopping;         /* told to end, and why: "Stopping container %s"; NULL: no */
    int64_t kill_at;              /* mono ns: SIGKILL then; 0: not decided */
    bool termed, killed;
    struct container_user user; /* of the running process, for status.user */
    struct pod_force force;     /* what its group bounds, while it runs */
};

/* Resizing (pod_resize.c). What is wanted of resources is first allocated, if the node has room for it, and then put
 * in force in the groups of the pod and its containers. */
struct pod_resize {
    const char *pending; /* PodResizePending: Deferred, Infeasible; NULL: nothing waits to be allocated */
    struct str pending_message;
    int64_t pending_generation, pending_since; /* since: real ns */
    bool in_progress;                          /* PodResizeInProgress */
    struct str error;                          /* of the last try to put it in force; empty: none */
    int64_t progress_generation;
    enum part acting; /* BUSY: groups are being changed; nothing is started meanwhile */
    int64_t retry_at, retry_gap;
    struct pod_force force; /* what the pod's group bounds */
};

struct pod {
    struct arena
        arena;       /* texts that outlive one object: names, ids, messages; of this struct and its actions alone */
    struct obj *obj; /* the wanted pod, with the resources that are allocated to it; owned reference */
    struct obj *wanted; /* the pod as it is wanted, where other resources are; or NULL. Owned */
    struct pod_resize resize;
    struct str uid, ns, name;
    enum pod_state state;

    enum part volumes, sandbox;
    struct str volumes_message, sandbox_message;
    int64_t volumes_retry_at, volumes_backoff, sandbox_retry_at, sandbox_backoff;
    struct str ip, host_ip;
    bool host_network;
    bool adopted;        /* its containers ran before this agent did */
    bool restarting_all; /* a container's rule says so, and some of them have not ended yet */
    bool sandbox_lost;   /* it died under us: made again, containers run again */

    size_t tidy_at; /* bytes of `arena` */

    ARRAY(struct pod_container) containers; /* init containers in order, then main, then ephemeral */

    bool deleted;                   /* deletionTimestamp is set, or the object is gone */
    bool forced;                    /* the object is gone, or grace is 0: no waiting */
    int64_t grace_s;                /* of this stop */
    int64_t stop_since;             /* mono ns when the stop began; 0: none */
    int64_t finished_at;            /* mono ns when it had ended by itself; sidecars may be running on */
    bool in_service, left, drained; /* ARCHITECTURE.md, Leaving */
    const char *fail_reason;        /* DeadlineExceeded, Evicted, OutOfcpu ...; NULL: none */
    struct str fail_message;
    bool disrupted; /* it was failed for the sake of the node: condition DisruptionTarget */
    const char
        *told_phase; /* Failed or Succeeded, where another wrote it while the pod ran: then it is over; or NULL */
    bool rejected;   /* refused by the node: no conditions, nothing was started */
    int64_t started_real, started_mono; /* status.startTime; the same by the other clock */
    bool concluded;                     /* an earlier agent wrote a final status: it stays */
    bool delete_asked;                  /* the final DELETE is on its way */
    bool logs_kept;                     /* its volumes went before it was deleted: logs stay until then */
};

enum pod_action_kind {
    DO_VOLUMES_SETUP,
    DO_VOLUMES_TEARDOWN,
    DO_SANDBOX_START,
    DO_SANDBOX_STOP,
    DO_IMAGE_ENSURE,    /* container */
    DO_CONTAINER_START, /* container: create and start; removes an earlier run */
    DO_POSTSTART,       /* container */
    DO_PRESTOP,         /* container */
    DO_TERM,            /* container: the stop signal */
    DO_KILL,            /* container: SIGKILL */
    DO_LEAVE,           /* wait for the data planes; answered by pod_saw_left */
    DO_DRAIN,           /* watch its connections; answered by pod_saw_drained */
    DO_RESIZE,          /* put in force what is allocated; answered by pod_saw_resized */
    DO_EVENT,           /* event, container or -1 */
    DO_DELETE_OBJECT,   /* DELETE with grace 0 and the uid */
};
struct pod_action {
    enum pod_action_kind what;
    int container;      /* index, or -1 */
    bool warning;       /* DO_EVENT */
    const char *reason; /* DO_EVENT */
    struct str message; /* DO_EVENT, in the pod's arena */
};
struct pod_actions {
    ARRAY(struct pod_action) list;
    int64_t wake_at; /* call again then at the latest (mono ns); 0: only on news */
};
void pod_actions_fini(struct pod_actions *a);
AUTO_VALUE(pod_actions_fini, struct pod_actions);

struct pod *pod_new(struct obj *obj, struct str host_ip, int64_t now, int64_t real);
void pod_free(struct pod *p);
AUTO_POINTER(pod_free, struct pod);
/* A newer version of the object: spec changes that are allowed while it runs, deletion, grace. */
void pod_wanted(struct pod *p, struct obj *obj, int64_t now);
void pod_gone(struct pod *p, int64_t now); /* the object was removed: forced */
bool pod_is_to_end(const struct pod *p);   /* deleted, failed here, or called over by another */
void pod_fail(struct pod *p, const char *reason, struct str message, bool rejected, int64_t now);
/* Fails it, with so long to end in at most; one that is going already goes by then. disrupted: for the sake of the
 * node, and its conditions say so. */
void pod_evict(struct pod *p, struct str message, int64_t grace_s, bool disrupted, int64_t now);
/* The same for a machine that shuts down: reason Terminated. */
void pod_shut_down(struct pod *p, struct str message, int64_t grace_s, int64_t now);

void pod_saw_volumes(struct pod *p, bool ok, struct str message, int64_t now);
void pod_saw_sandbox(struct pod *p, bool ok, struct str ip_or_message, int64_t now);
void pod_saw_sandbox_lost(struct pod *p, int64_t real, int64_t now);
/* An earlier one is gone that the next had to wait for, or the pod's last one. */
void pod_saw_sandbox_stopped(struct pod *p);
void pod_saw_volumes_removed(struct pod *p);
/* What is asked for, until the next word of it: its own image, or that of a volume which it mounts. */
void pod_asks_image(struct pod *p, int c, struct str name);
struct str pod_asked_image(const struct pod_container *c);
/* ok: id_or_reason is the image id; otherwise the reason ("ErrImagePull") and the message. */
void pod_saw_image(struct pod *p, int c, bool ok, struct str id_or_reason, struct str message, int64_t now);
void pod_saw_image_gone(struct pod *p, int c);  /* since it was seen: it is asked for anew */
void pod_saw_image_again(struct pod *p, int c); /* one that could not be had is here: tried again at once */
/* Its next run is being made; the id and the user are that run's. */
void pod_saw_starting(struct pod *p, int c, struct str id, const struct container_user *user);
/* The start needs what has not been heard of yet: tried again with the news, or in a second. */
void pod_saw_start_waits(struct pod *p, int c, int64_t now);
void pod_saw_running(struct pod *p, int c, struct str id, int64_t real, int64_t now);
/* The start failed. config: before anything was created (CreateContainerConfigError, retried when news comes) or for
 * the node's own reasons (CreateContainerError, retried with growing gaps), which is no run of it; otherwise the
 * command could not be run (StartError, 128). */
void pod_saw_start_failed(struct pod *p, int c, const char *reason, struct str message, bool config, int64_t real,
                          int64_t now);
/* Of the run `id`; where another one has begun since, it is told nothing. */
void pod_saw_exit(struct pod *p, int c, struct str id, int exit_code, bool oom, struct str message, int64_t started,
                  int64_t finished, int64_t now);
/* Found after a restart of the agent. First: what was set up of it is not known; setting up again and taking down are
 * both harmless. Then its sandbox, and the latest run of each container, the number-th, that runs or has ended. */
void pod_saw_unknown(struct pod *p);
void pod_saw_adopted(struct pod *p, struct str ip);
void pod_saw_adopted_run(struct pod *p, int c, struct str id, int64_t number, int64_t real, int64_t now);
/* A sandbox of which the agent before has not told anybody: made again. */
void pod_saw_half_made(struct pod *p, int64_t real, int64_t now);
/* A sandbox without its link: made again, and an address is taken anew, as volumes are set up. */
void pod_saw_cut_off(struct pod *p, int64_t real, int64_t now);
/* Found beside a later run: how the run before ended. */
void pod_saw_earlier_exit(struct pod *p, int c, struct str id, int exit_code, bool oom, int64_t started,
                          int64_t finished);
/* Its status says that it ran, and nothing of it is here: the end of that run is as the status tells it, or unknown
 * (255, as a CRI runtime says after a reboot). False: no word of such a run. */
bool pod_saw_missing(struct pod *p, int c, int64_t real);
/* The same of all its containers, and of the sandbox. A pod that never ran is none the wiser. */
void pod_saw_rebooted(struct pod *p, int64_t real, int64_t now);
/* Of its groups: as they are made, or were found; container -1: the pod's own. */
void pod_saw_force(struct pod *p, int c, const struct cgroup_bounds *bounds);
/* The groups are as they could be made; error empty: as they should be. */
void pod_saw_resized(struct pod *p, struct str error, int64_t now);
/* There is room for what is wanted, and it is set aside. */
void pod_allocate(struct pod *p);
/* There is none, now (Deferred) or at all (Infeasible). True: that is news for who watches its events. */
bool pod_defer(struct pod *p, const char *reason, struct str message, int64_t real);
void pod_saw_probe(struct pod *p, int c, bool passed_startup, bool ready, const char *unhealthy_why);
void pod_saw_hook(struct pod *p, int c, bool poststart, bool ok, struct str message);
void pod_saw_service(struct pod *p, bool serves); /* do Services send it connections? */
void pod_saw_left(struct pod *p);
void pod_saw_drained(struct pod *p);
/* Something that a failed start waited for has changed (a ConfigMap appeared): try again now. */
void pod_retry(struct pod *p);

/* Texts of earlier actions are gone then. */
void pod_step(struct pod *p, int64_t now, struct pod_actions *out);

/* The status this pod has now: core/v1 PodStatus, complete, as a map in the arena. */
struct val pod_status(const struct pod *p, struct arena *a, int64_t real);
const struct val *pod_container_told(const struct pod *p,
                                     int c); /* what the object's status says of it; may be NULL */
/* Other resources are wanted, and whether there is room for them has not been looked at yet. */
bool pod_resize_undecided(const struct pod *p);
/* What the allocated resources come to: of a container, or (-1) of the pod's own group. */
struct cgroup_bounds pod_bounds(const struct pod *p, int c);
bool pod_is_resizable(const struct pod_container *c);
bool pod_resize_restarts(const struct pod *p,
                         int c); /* it runs with others, and its policy wants a new run for that */
/* What is wanted, allocated or in force of resources, as an event shows it: {"containers":[...],"generation":N}. */
struct str pod_resize_text(struct arena *a, const struct val *spec, int64_t generation, struct str error);
const char *pod_phase(const struct pod *p);                   /* Pending, Running, Succeeded, Failed */
int pod_container_find(const struct pod *p, struct str name); /* index, or -1 */
bool pod_container_up(const struct pod_container *c);         /* it runs and its postStart hook is through */
/* The action of the first of its restartPolicyRules that this exit code is one of; empty: of none. */
struct str pod_container_rule(const struct pod_container *c, int exit_code);
int pod_run_number(const struct pod_container *c); /* of the run that begins: 0 is the first */
