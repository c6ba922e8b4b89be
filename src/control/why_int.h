/* why_int.h - what the files of why share: the question, and how its answer is put together. */
#pragma once
#include "control/manager.h"
#include "control/pods.h"
#include "control/why.h"

struct question {
    const struct why_ask *ask;
    const struct view *v;
    struct arena *a;
    const struct obj *owner; /* the object whose owner edits it: the Deployment of a pod */
};
typedef void why_fn(struct question *q, const struct obj *o, struct finding *f);

/* What is said of an object by the row of its kind; nothing where there is none. */
void why_of(struct question *q, const struct obj *o, struct finding *f);
/* The same question, about another object. */
struct question why_about(const struct question *q, const struct obj *o);
/* The first cause counts: true where this is it. reason: a clause. */
bool why_found(struct question *q, struct finding *f, const char *cause, const char *fmt, ...) PRINTF(4, 5);
bool why_coming(struct question *q, struct finding *f, const char *cause, const char *fmt, ...) PRINTF(4, 5);
void why_balancer(struct question *q, const struct obj *svc, struct finding *f); /* the address of a LoadBalancer */
void why_way(struct question *q, struct finding *f, const char *fmt, ...) PRINTF(3, 4);
void why_chain(struct question *q, struct finding *f, const char *fmt, ...) PRINTF(3, 4);
/* Takes over what was found about another object, with "about" before its reason. */
void why_behind(struct question *q, struct finding *f, struct str about, struct finding *own_other);
bool why_worse(const struct finding *a, const struct finding *b);

struct str why_word(struct question *q, const struct obj *o);   /* "deploy/web", as kubectl takes it */
struct str why_ns_flag(struct question *q, struct str ns);      /* " -n shop", or "" for default */
struct str why_target(struct question *q, const struct obj *o); /* "deploy/web -n shop" */
bool why_alone(const struct question *q);                       /* a pod that nobody owns */
bool why_is_fixed(const struct question *q);                    /* the pod's spec cannot be changed where it stands */
/* "kubectl edit deploy/web", or for what cannot be changed (a pod of its own, a Job): how it is made anew. */
struct str why_edit(struct question *q);
/* What somebody else's text says, and what is said of it here. Rows end with one whose `says` is "". In reason and
 * way {WORD} stands for a text; {target}, {edit}, {spec}, {ns} and, where {container} is, {setimage} are known:
 * "deploy/web -n shop", "kubectl edit deploy/web", "spec.template.spec.", " -n shop". */
struct saying {
    const char *says, *cause, *reason, *way;
};
struct word {
    const char *name;
    struct str text;
};
struct str why_fill(struct question *q, const char *pattern, const struct word *words, size_t n);
/* By the first row whose text is in the message. */
void why_saying(struct question *q, struct finding *f, const struct saying *row, struct str message,
                const struct word *words, size_t n);
/* Where the fields of a pod's spec stand for who edits them: "spec." or "spec.template.spec." */
struct str why_spec_path(struct question *q);
struct str why_quoted(struct question *q, struct str text); /* one line, in quotes, cut where it is long */
/* The name in the list that is most like this one; "" where none is. */
struct nearest {
    struct str wanted, best;
    size_t distance;
};
void nearest_try(struct nearest *n, struct str name);
/* Why its sandbox cannot be made, as the node's event says (why_runtime.c). */
void why_sandbox(struct question *q, const struct obj *pod, struct str message, struct finding *f);
/* The newest event of the object with the reason and a message that begins (and a field path, where not ""). */
const struct obj *why_event(struct question *q, const struct obj *about, const char *reason, struct str begins,
                            struct str field_path);
int64_t why_event_time(const struct obj *event);
struct str why_event_text(const struct obj *event); /* "" for NULL */
/* The plan's reason, with what its object says of the last try as view->trouble. */
struct str why_plan(struct question *q, const struct controller *row, const struct obj *o, struct str trouble);

/* Rows, by file. */
why_fn why_deployment, why_replicaset; /* why_workload.c */
/* Of a set: the pod that is worst off; what the API says when it refuses one. */
void why_worst_pod(struct question *q, const struct obj *set, struct finding *f);
void why_pods_refused(struct question *q, const struct obj *set, struct str message, struct finding *f);
why_fn why_statefulset; /* why_stateful.c */
bool why_stateful_refused(struct question *q, struct str message, struct finding *f);
struct str stateful_head(struct question *q, const struct obj *o);
why_fn why_cronjob; /* why_cronjob.c */
why_fn why_hpa;     /* why_hpa.c */
why_fn why_job;     /* why_jobs.c */
why_fn why_pod;     /* why_pod.c */
/* why_pressure.c: a pod that was evicted; a node that runs short. False: it is not so. */
bool why_evicted(struct question *q, const struct obj *pod, struct finding *f);
bool why_short_node(struct question *q, const struct obj *node, struct finding *f);
/* why_throttle.c: what is to be said of a container that its CPU limit holds back, or ""; of a pod that is ready. */
struct str why_throttled(struct question *q, const struct obj *pod, const struct val *container);
bool why_throttled_pod(struct question *q, const struct obj *pod, struct finding *f);
bool why_resize(struct question *q, const struct obj *pod,
                struct finding *f); /* why_resize.c; of one that is ready */
why_fn why_ingress;                 /* why_ingress.c */
struct str ingress_head(struct question *q, const struct obj *o);
why_fn why_issuer, why_order, why_challenge;                        /* why_acme.c */
why_fn why_certificate, why_cert_request;                           /* why_cert.c */
why_fn why_gateway, why_listenerset, why_route, why_backend_policy; /* why_gateway.c */
struct str gateway_head(struct question *q, const struct obj *o);
why_fn why_service;                                  /* why_service.c */
why_fn why_namespace, why_budget, why_node, why_csr; /* why_other.c */
why_fn why_claim, why_volume;                        /* why_claim.c */
/* A pod without a node: a claim of its that keeps it. */
bool why_pod_claims(struct question *q, const struct obj *pod, struct finding *f);
/* Who keeps a claim or a volume that is being deleted. */
bool why_kept(struct question *q, const struct obj *o, struct finding *f);
/* The same as the scheduler's "didn't match PersistentVolume's node affinity" and "didn't find available persistent
 * volumes to bind", with names. */
struct str why_volume_place(struct question *q, const struct obj *pod);
struct str why_volume_lacking(struct question *q, const struct obj *pod);
/* why_disk.c: volumes of the node's disk. Of what the provisioner complains, what the node says of a mount (false: it
 * is none of those causes), and a bound claim whose files are gone. */
void why_disk_made(struct question *q, const struct obj *claim, const struct obj *class, struct str message,
                   struct finding *f);
bool why_disk_mount(struct question *q, const struct obj *pod, struct str message, struct finding *f);
void why_disk_lost(struct question *q, const struct obj *claim, struct finding *f);
/* why_volume.c: a mount that fails because its type is gone; false: it is not that. */
bool why_volume_type(struct question *q, const struct obj *pod, struct str message, struct finding *f);
why_fn why_definition; /* why_definition.c */
why_fn why_daemonset;  /* why_daemonset.c */
struct str daemonset_head(struct question *q, const struct obj *o);
why_fn why_policy;
why_fn why_netpolicy; /* why_policy.c */
/* Of a pod: chain lines with the network policies that restrict it. */
void why_isolated(struct question *q, const struct obj *pod, struct finding *f);
why_fn why_apiservice;        /* why_apiservice.c */
why_fn why_quota, why_limits; /* why_quota.c */
/* The same as why_refused, of quotas and LimitRanges. */
bool why_bounded(struct question *q, struct str message, struct str what, struct finding *f);
why_fn why_webhooks; /* why_refusal.c */
/* An answer of the API that refuses `what` ("its pods"); false: it is none that is known here. */
bool why_refused(struct question *q, struct str message, struct str what, struct finding *f);
bool why_deletion(struct question *q, const struct obj *o, struct finding *f);
struct str why_unlock(struct question *q, const struct obj *o); /* the command that takes its finalizers away */

struct str job_head(struct question *q, const struct obj *o);
struct str deployment_head(struct question *q, const struct obj *o);
struct str replicaset_head(struct question *q, const struct obj *o);
struct str pod_head(struct question *q, const struct obj *o);
struct str service_head(struct question *q, const struct obj *o);
struct str plain_head(struct question *q, const struct obj *o);

void why_unscheduled(struct question *q, const struct obj *pod, struct finding *f); /* why_sched.c */
/* why_preempt.c: for whom it makes room; for whom others make room for it (false: nobody does), or why they do not.
 */
struct sched;
struct decision;
bool why_preempted(struct question *q, const struct obj *pod, struct finding *f);
bool why_preempting(struct question *q, const struct obj *pod, const struct sched *s, const struct decision *d,
                    struct finding *f);
void why_not_preempting(struct question *q, const struct obj *pod, const struct decision *d, struct finding *f);
/* A container's status against its spec; about: "container web", "init container migrate". why_container.c */
struct contained {
    const struct obj *pod;
    const struct val *spec, *status;
    struct str name, about;
};
void why_container(struct question *q, const struct contained *c, struct finding *f);
void why_image(struct question *q, const struct contained *c, struct str message,
               struct finding *f); /* why_image.c */
void why_config(struct question *q, const struct contained *c, struct str message,
                struct finding *f); /* why_config.c */
/* why_csi.c: of what a driver of storage mounts (false: the message is about another volume), attaches, unmounts. */
bool why_driver(struct question *q, const struct obj *pod, struct str message, struct finding *f);
bool why_attach(struct question *q, const struct obj *pod, struct finding *f);
bool why_unmount(struct question *q, const struct obj *pod, struct finding *f);
bool why_mount(struct question *q, const struct obj *pod, struct str message, struct finding *f);
void why_exit(struct question *q, const struct contained *c, const struct val *ended,
              struct finding *f); /* why_exit.c */
void why_probe(struct question *q, const struct contained *c, const struct name *probe,
               struct finding *f); /* why_probe.c */
bool why_probe_killed(struct question *q, const struct contained *c, const struct val *ended, struct finding *f);
