/* podfiles.h - the texts of resolv.conf and hosts that a pod gets, byte for byte as kubelet and containerd write them
 * (pkg/kubelet/network/dns, pkg/kubelet/kubelet_pods.go). Pure. */
#pragma once
#include "base/str.h"

enum dns_policy { DNS_CLUSTER_FIRST, DNS_DEFAULT, DNS_NONE, DNS_CLUSTER_FIRST_WITH_HOST_NET };

#define DNS_NAMESERVERS_MAX  3    /* what glibc reads */
#define DNS_SEARCHES_MAX     32   /* KEP-2595 */
#define DNS_SEARCH_CHARS_MAX 2048 /* of all searches with the spaces between */

struct dns_option {
    struct str name, value; /* value.p NULL: none */
};
struct pod_dns {
    enum dns_policy policy;
    bool host_network; /* ClusterFirst is Default then */
    struct str ns;
    /* spec.dnsConfig */
    const struct str *nameservers;
    size_t nnameservers;
    const struct str *searches;
    size_t nsearches;
    const struct dns_option *options;
    size_t noptions;
};
struct node_dns {
    struct str cluster_ip, domain; /* "10.43.0.10", "cluster.local" */
    struct str resolv_conf;        /* the host's /etc/resolv.conf */
    struct str unread;             /* why that could not be read; empty: it was */
    struct str behind; /* /run/systemd/resolve/resolv.conf, or empty: taken where the first names a stub on
                          the loopback only, which no pod could reach */
};
/* Appends the text to out. What exceeds a limit is left out and said in `warning` (one sentence for the event
 * DNSConfigForming; empty otherwise). */
void pod_resolv_conf(const struct pod_dns *pod, const struct node_dns *node, struct strbuf *out,
                     struct strbuf *warning);

struct host_alias {
    struct str ip;
    const struct str *hostnames;
    size_t nhostnames;
};
/* The file of a pod with a network of its own. domain: "SUBDOMAIN.NS.svc.DOMAIN", or empty. */
void pod_hosts(const struct str *ips, size_t nips, struct str hostname, struct str domain,
               const struct host_alias *aliases, size_t naliases, struct strbuf *out);
/* On the host's network: the host's file and the aliases. */
void pod_hosts_of_node(struct str host_file, const struct host_alias *aliases, size_t naliases, struct strbuf *out);
