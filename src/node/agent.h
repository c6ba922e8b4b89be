/* agent.h - the node agent: watches the pods bound to this node and makes them true. One loop. Deciding is pod.h's;
 * the agent carries out, and feeds back what it sees. What runs outlives it: a new agent adopts it. */
#pragma once
#include "client/transport.h"
#include "net/link.h"

struct agent;
struct reserved_rules;
struct pressure_rules;
struct image_gc_rules;

struct agent_config {
    struct loop *loop;
    struct transport *transport; /* as system:node:NAME */
    const char *name;            /* of the node */
    const char *host_ip;
    const char *run, *data, *log; /* /run/wherry, /var/lib/wherry/node, /var/log */
    const char *content;          /* the content store */
    const char *volumes;          /* those of the built-in provisioner: /var/lib/wherry/volumes */
    int64_t volumes_percent;      /* of the room for volumes, so much may be promised */
    const char *kubelet;          /* /var/lib/kubelet, where drivers of storage look for a kubelet's folders */
    const char *plugins;          /* the folder of drivers of FlexVolumes */
    const struct shutdown_rules *shutdown; /* NULL: none */
    const char *manifests;                 /* /etc/wherry/manifests: a file each for static pods; "": none are run */
    const char *shim, *crun, *job;         /* programs */
    const char *runtimes;                  /* "HANDLER=/PROGRAM,...": OCI runtimes for RuntimeClasses */
    const char *unsafe_sysctls;            /* names and NAME* that pods may set beside the safe ones; "": none */
    const char *pod_users;                 /* "FIRST:COUNT": ids for pods with users of their own; "": runtimes.h */
    const char *cgroup;                    /* "/wherry-ID": the group below which pods are */
    struct instance instance;
    struct cidr4 cluster_pods, node_pods, services;
    uint16_t api_port;                     /* where the API server listens on this machine; 0: it does not */
    const char *dns_ip, *domain;           /* "10.43.0.10", "cluster.local" */
    bool front_door;                       /* this machine runs one */
    int max_pods;                          /* 0: 110 */
    const struct reserved_rules *reserved; /* node/reserved.h; NULL: nothing is kept from pods */
    const struct pressure_rules *pressure; /* when pods have to go */
    const struct image_gc_rules *image_gc; /* which images may */
    int64_t log_bytes;                     /* of one file of a container's log */
    int log_files;                         /* that are kept of it, the newest included */
    int relay_port;                        /* daemonEndpoints.kubeletEndpoint; 0: 10250 */
    const char *insecure_registries;       /* "host:port,..." spoken to without TLS */
    unsigned relay_gid;                    /* may read the logs of containers */
    const char *version;                   /* kubeletVersion */
    void (*ready)(void *arg);              /* the Node is Ready, once; may be NULL */
    void *arg;
};
/* Starts at once; texts and transport outlive the agent. */
struct agent *agent_new(const struct agent_config *config, struct err *err) MUST_USE;
void agent_free(struct agent *g); /* leaves everything running */
AUTO_POINTER(agent_free, struct agent);
