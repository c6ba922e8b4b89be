/* settings.h - what can be set for `wherry up`: one table, read from /etc/wherry/config.yaml (below the root folder)
 * and --set key=value, which wins. Every setting has a default, so the file need not exist. */
#pragma once
#include "base/err.h"
#include "net/addr.h"
#include "net/link.h"
#include "node/image_gc_plan.h"
#include "node/pressure_plan.h"
#include "node/reserved.h"
#include "node/shutdown_plan.h"

struct settings {
    struct arena arena;
    struct str root;   /* "" for "/"; else absolute without a trailing '/' */
    struct str listen; /* "ADDRESS:PORT" of the API */
    struct str roles;  /* "server,node,..." */
    struct str node_name, node_ip;
    struct str pod_cidr, node_pod_cidr, service_cidr, domain;
    struct str runtimes;            /* "HANDLER=/PROGRAM,..." */
    struct str unsafe_sysctls;      /* "NAME,NAME*,..." */
    struct str pod_users;           /* "FIRST:COUNT" */
    struct str shutdown_grace;      /* "PRIORITY=SECONDS,..." */
    struct str static_pods;         /* the folder of their manifests */
    struct str insecure_registries; /* "host:port,..." spoken to by http */
    struct str volumes_dir;         /* empty: DATA/volumes */
    struct str volume_plugin_dir;   /* drivers of FlexVolumes */
    int64_t volumes_percent;
    int64_t max_pods, relay_port, compaction_seconds, event_seconds, max_objects, max_stored_mib, hpa_sync_period;
    struct str kube_reserved, system_reserved, enforce_allocatable; /* a kubelet's notation */
    struct str gateway;                                             /* "off", "standard", "experimental" */
    struct str certificates;                                        /* "on", "off" */
    struct str acme_dns_hook;                                       /* a program; "": none */
    struct str edge_access_log, edge_metrics, edge_proxy_protocol;  /* "on", "off" */
    struct str edge_trusted_hops;                                   /* "0" to "16" */
    struct str acme_dns_check;                                      /* "on", "off" */
    struct pressure_texts eviction;                                 /* as a kubelet's flags; read into `pressure` */
    int64_t image_gc_high, image_gc_low;
    struct str image_age_least, image_age_most; /* durations, as Go writes them; "0s": for ever */
    struct str log_size;                        /* a quantity */
    int64_t log_files;
    struct str log_level;
    /* worked out from these */
    struct reserved_rules reserved;
    struct shutdown_rules shutdown;
    struct cidr4 pods, node_pods, services;
    struct pressure_rules pressure;
    struct image_gc_rules image_gc;
    int64_t log_bytes;
    struct str dns_ip;
    struct instance instance;
    struct str definitions;                  /* sets of server/definitions.h, comma separated */
    struct str etc, run, data, log, kubelet; /* folders below the root */
};
/* argv after the verb. Understood: --root DIR, --listen A:P, --roles LIST, --set KEY=VALUE, --config FILE; what is
 * left is counted in *rest and moved to the front of argv. Errors name the setting. */
MUST_USE bool settings_read(struct settings *s, int argc, char **argv, int *rest, struct err *err);
void settings_fini(struct settings *s);
AUTO_VALUE(settings_fini, struct settings);
/* A line each: KEY, what it is, (its default). For --help */
void settings_help(struct strbuf *out);
