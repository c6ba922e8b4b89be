/* settings.c - the table of settings, and what follows from them.
 *
 * A setting is a row: name, kind of value, default, a line of help, a check. They are read in three steps, each over
 * the one before: defaults, the file (YAML, one map), --set and the options that stand for a setting. --root is
 * looked for first, as it says where the file is. An unknown name or a value that fails its check is an error with
 * the name in it: nothing is passed over, or a typing error would silently be a default.
 *
 * Then work_out makes of them what all roles need: ranges as numbers, the node's part of the pod range, folders, the
 * node's name and address. Every role does this for itself from the same arguments, and it should come out the same
 * in each. What may change between two runs - the host's name - is kept in a file by the supervisor and read here
 * first: a node that came back under another name would have lost its pods.
 *
 * Checks refuse what could not work later: ranges that overlap, more pods than addresses, folders too long for the
 * paths of sockets. Not here: whether an address or port is free (net/preflight.h).
 */
#include "cli/settings.h"
#include "api/codec.h"
#include "api/formats.h"
#include "api/quantity.h"
#include "node/node_facts.h"
#include "node/podspec.h"
#include "node/runtimes.h"
#include "sys/file.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/utsname.h>

enum what { TEXT, NUMBER /* to 65535 */, COUNT /* to 100 million */ };
struct setting {
    const char *key;
    enum what what;
    size_t at; /* offset in struct settings */
    const char *dflt, *help;
    bool (*check)(struct str value, struct err *err); /* of a TEXT that is not empty */
};
#define MAX_PODS    110
#define TEXT_OF(n)  TEXT_OF_(n)
#define TEXT_OF_(n) #n
#define AT(field)   offsetof(struct settings, field)

/* --- what each may be ------------------------------------------------------------------------------------------- */

static bool check_listen(struct str v, struct err *err)
{
    ptrdiff_t colon = str_rfind_char(v, ':');
    uint32_t ip;
    uint64_t port;
    return (colon > 0 && ip4_parse(str_sub(v, 0, (size_t)colon), &ip) &&
            str_to_u64(str_sub(v, (size_t)colon + 1, v.n), 65535, &port)) ||
           err_set(err, E_INVALID, "is not ADDRESS:PORT; it looks like 0.0.0.0:6443 (IPv4 alone)");
}

static bool check_roles(struct str v, struct err *err)
{
    static const char *const known[] = {"server", "node", "relay", "dns", "edge"};
    struct str rest = v, part;
    unsigned seen = 0;
    while (str_cut(&rest, ',', &part)) {
        size_t i = 0;
        while (i < countof(known) && !str_eqz(str_trim(part), known[i]))
            i++;
        if (i == countof(known))
            return err_set(err, E_INVALID,
                           "there is no role \"" STR_FMT "\"; there are server, node, relay, dns and edge",
                           STR_ARG(part));
        if (seen & 1u << i)
            return err_set(err, E_INVALID, "%s stands there twice", known[i]);
        seen |= 1u << i;
    }
    return true;
}

static bool check_name(struct str v, struct err *err)
{
    return format_ok(format_dns1123_subdomain, v) ||
           err_set(err, E_INVALID,
                   "is no name that a node can have: letters in lower case, digits, '-' and '.', at most 253; "
                   "--set node-name=NAME gives it one");
}

static bool check_address(struct str v, struct err *err)
{
    uint32_t ip;
    if (!ip4_parse(v, &ip))
        return err_set(err, E_INVALID, "is no IPv4 address");
    return (ip >> 24 != 0 && ip >> 24 != 127 && ip >> 28 != 14 && ip != UINT32_MAX) ||
           err_set(err, E_INVALID, "is no address that a node can be reached at");
}

static bool check_domain(struct str v, struct err *err)
{
    return (v.n <= 150 && format_ok(format_dns1123_subdomain, v)) || /* what is put before it is to fit in 253 */
           err_set(err, E_INVALID, "is no domain such as cluster.local (in lower case, without a dot at its end)");
}

static bool check_registries(struct str v, struct err *err)
{
    struct str rest = v, part, host, port;
    uint64_t n;
    while (str_cut(&rest, ',', &part)) {
        part = str_trim(part);
        bool has_port = str_split(part, ':', &host, &port);
        if (!format_ok(format_dns1123_subdomain, host) || (has_port && (!str_to_u64(port, 65535, &n) || !n)))
            return err_set(err, E_INVALID,
                           "\"" STR_FMT "\" is no registry: HOST or HOST:PORT, without http:// and path",
                           STR_ARG(part));
    }
    return true;
}

static bool check_shutdown(struct str v, struct err *err)
{
    struct shutdown_rules rules;
    return shutdown_rules_read(v, &rules, err);
}

static bool check_level(struct str v, struct err *err)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(v, words[i]))
            return true;
    return err_set(err, E_INVALID, "must be error, warn, info or debug");
}

static bool check_switch(struct str v, struct err *err)
{
    return str_eqz(v, "on") || str_eqz(v, "off") || err_set(err, E_INVALID, "must be on or off");
}

static bool check_program(struct str v, struct err *err)
{
    return !v.n || v.p[0] == '/' || err_set(err, E_INVALID, "must be a program's path from / on");
}

static bool check_hops(struct str v, struct err *err)
{
    uint64_t n;
    return str_to_u64(v, 16, &n) || err_set(err, E_INVALID, "is no number from 0 to 16");
}

static bool check_gateway(struct str v, struct err *err)
{
    return str_eqz(v, "off") || str_eqz(v, "standard") || str_eqz(v, "experimental") ||
           err_set(err, E_INVALID, "must be off, standard or experimental");
}

static bool check_range(struct str v, struct err *err)
{
    static const struct cidr4 never[] = {
        {0, 8}, {IP4(127, 0, 0, 0), 8}, {IP4(169, 254, 0, 0), 16}, {IP4(224, 0, 0, 0), 3}};
    struct cidr4 c;
    if (!cidr4_parse(v, &c, err))
        return false;
    for (size_t i = 0; i < countof(never); i++)
        if (cidr4_overlap(c, never[i]))
            return err_set(err, E_INVALID, "lies in " CIDR_FMT ", whose addresses mean something else",
                           CIDR_ARG(never[i]));
    return c.bits <= 28 || err_set(err, E_INVALID, "is too small: at least a /28");
}

static bool check_folder(struct str v, struct err *err)
{
    return (str_starts(v, S("/")) && v.n > 1 && v.n < 200 && str_find(v, S("..")) < 0 && v.p[v.n - 1] != '/') ||
           err_set(err, E_INVALID, "is no absolute path of a folder, without \"..\" and without a '/' at its end");
}

static bool check_users(struct str v, struct err *err)
{
    struct user_ids ids;
    return user_ids_read(v, S(""), S(""), 0, &ids, err);
}

/* In the order of --help. */
static const struct setting rows[] = {
    {"listen", TEXT, AT(listen), "0.0.0.0:6443", "address and port of the API", check_listen},
    {"roles", TEXT, AT(roles), "server,node,relay,dns,edge", "what this machine runs", check_roles},
    {"node-name", TEXT, AT(node_name), "", "name of the node; empty: the host's name at the first start", check_name},
    {"node-ip", TEXT, AT(node_ip), "", "address of the node; empty: the one of the default route", check_address},
    {"pod-cidr", TEXT, AT(pod_cidr), "10.42.0.0/16", "addresses of pods, of the whole cluster", check_range},
    {"node-pod-cidr", TEXT, AT(node_pod_cidr), "", "this node's part of it; empty: the first /24", check_range},
    {"service-cidr", TEXT, AT(service_cidr), "10.43.0.0/16", "addresses of Services; the tenth is the cluster's DNS",
     check_range},
    {"cluster-domain", TEXT, AT(domain), "cluster.local", "what names of Services end in", check_domain},
    {"insecure-registries", TEXT, AT(insecure_registries), "",
     "registries (host:port, separated by commas) that are spoken to without TLS", check_registries},
    {"runtimes", TEXT, AT(runtimes), "",
     "OCI runtimes beside crun, for RuntimeClasses: HANDLER=/PROGRAM, separated by commas", runtimes_check},
    {"allowed-unsafe-sysctls", TEXT, AT(unsafe_sysctls), "",
     "sysctls beside the safe ones that pods may set: names, or NAME*, separated by commas", podspec_sysctls_check},
    {"pod-users", TEXT, AT(pod_users), "",
     "FIRST:COUNT of the host's ids for pods with hostUsers: false; empty: kubelet's in /etc/subuid, else from 65536",
     check_users},
    {"shutdown-grace", TEXT, AT(shutdown_grace), "",
     "seconds for pods to end in before the machine shuts down, by priority: 0=20,2000000000=10; empty: all have 30 "
     "at once, and run on after the start",
     check_shutdown},
    {"static-pods", TEXT, AT(static_pods), "",
     "folder of manifests, one Pod a file, that this node runs by itself; empty: /etc/wherry/manifests",
     check_folder},
    {"max-pods", NUMBER, AT(max_pods), TEXT_OF(MAX_PODS), "pods that this node takes", NULL},
    {"system-reserved", TEXT, AT(system_reserved), "",
     "kept from pods for the system: cpu=100m,memory=200Mi,ephemeral-storage=1Gi,pid=1000", NULL},
    {"kube-reserved", TEXT, AT(kube_reserved), "",
     "kept from pods for Wherry, in the same notation; 100 MiB of memory are kept anyway, as pods go before", NULL},
    {"enforce-node-allocatable", TEXT, AT(enforce_allocatable), "pods",
     "whom the kernel holds to what is not reserved: pods (all of them together), or none", NULL},
    {"volumes-dir", TEXT, AT(volumes_dir), "",
     "folder of the volumes that StorageClass local makes; empty: volumes below /var/lib/wherry", check_folder},
    {"volumes-percent", NUMBER, AT(volumes_percent), "100",
     "of the room for volumes on that disk, so much may be promised to claims", NULL},
    {"volume-plugin-dir", TEXT, AT(volume_plugin_dir), "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
     "folder of drivers of FlexVolumes, as a kubelet's: VENDOR~DRIVER/DRIVER below it", check_folder},
    {"relay-port", NUMBER, AT(relay_port), "10250",
     "port of the node's own API over HTTPS (figures, logs, exec), as a kubelet has it", NULL},
    {"compaction-seconds", NUMBER, AT(compaction_seconds), "300",
     "how long earlier revisions can be listed and watched from", NULL},
    {"event-seconds", NUMBER, AT(event_seconds), "3600", "how long an Event stays after it was last repeated", NULL},
    {"max-objects", COUNT, AT(max_objects), "1000000", "objects that are stored; further ones are refused", NULL},
    {"max-stored-mib", COUNT, AT(max_stored_mib), "1024",
     "MiB of memory that stored objects may take; a namespace half of it", NULL},
    {"hpa-sync-period", NUMBER, AT(hpa_sync_period), "5",
     "seconds between two looks of a HorizontalPodAutoscaler at its metrics", NULL},
    {"gateway", TEXT, AT(gateway), "off",
     "channel of the Gateway API's definitions that are made: off, standard or experimental", check_gateway},
    {"certificates", TEXT, AT(certificates), "on",
     "Issuers and Certificates (cert-manager.io) are served here; off for a cert-manager of your own", check_switch},
    {"acme-dns-hook", TEXT, AT(acme_dns_hook), "",
     "program that changes DNS for ACME, called with present or cleanup, a name and a value", check_program},
    {"acme-dns-check", TEXT, AT(acme_dns_check), "off",
     "ask a zone's own servers for the record before the authority is told of it", check_switch},
    {"edge-access-log", TEXT, AT(edge_access_log), "off",
     "the front door's requests stand in the log, a line of JSON each", check_switch},
    {"edge-proxy-protocol", TEXT, AT(edge_proxy_protocol), "off",
     "who connects to the front door's own ports says by the PROXY protocol for whom", check_switch},
    {"edge-trusted-hops", TEXT, AT(edge_trusted_hops), "0",
     "proxies before the front door whose X-Forwarded-For is believed", check_hops},
    {"edge-metrics", TEXT, AT(edge_metrics), "off",
     "requests, bytes and durations by route: kubectl get --raw /api/v1/nodes/NODE/proxy/metrics/edge", check_switch},
    {"eviction-hard", TEXT, AT(eviction.hard),
     "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%",
     "what is left when pods have to go at once: SIGNAL<AMOUNT,...; also pid.available; an amount of 0% for none",
     NULL},
    {"eviction-soft", TEXT, AT(eviction.soft), "", "the same, once it has been so for a grace period", NULL},
    {"eviction-soft-grace-period", TEXT, AT(eviction.soft_grace), "",
     "of each soft threshold: SIGNAL=DURATION,... (memory.available=1m30s)", NULL},
    {"eviction-minimum-reclaim", TEXT, AT(eviction.reclaim), "",
     "so much more is freed, once it was short: SIGNAL=AMOUNT,...", NULL},
    {"eviction-pressure-transition-period", TEXT, AT(eviction.transition), "5m",
     "how long the node says that it is under pressure after it last was", NULL},
    {"eviction-max-pod-grace-period", TEXT, AT(eviction.grace_most), "0",
     "seconds that a pod has at most to end in, for a soft threshold", NULL},
    {"image-gc-high-threshold", NUMBER, AT(image_gc_high), "85",
     "percent of the disk in use from where on images that nobody needs go; 100: never", NULL},
    {"image-gc-low-threshold", NUMBER, AT(image_gc_low), "80", "percent of the disk down to which they go", NULL},
    {"image-minimum-gc-age", TEXT, AT(image_age_least), "2m", "an image that came later stays", NULL},
    {"image-maximum-gc-age", TEXT, AT(image_age_most), "0s",
     "an image that was unused for longer goes, whatever the disk has; 0s: none does", NULL},
    {"container-log-max-size", TEXT, AT(log_size), "10Mi", "a container's log begins a new file after so much", NULL},
    {"container-log-max-files", NUMBER, AT(log_files), "5", "files that are kept of a container's log, 2 or more",
     NULL},
    {"log-level", TEXT, AT(log_level), "info", "error, warn, info or debug", check_level},
};

static const struct setting *setting_find(struct str key)
{
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(key, rows[i].key))
            return &rows[i];
    return NULL;
}

/* A value is named once: those that are lists name the part that is wrong, which may be all of it. */
static bool setting_wrong(const struct setting *row, struct str text, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str quoted = STR_JOIN(&a, S("\""), text, S("\""));
    return str_starts(str_of(err->text), quoted) ? err_wrap(err, "%s", row->key)
                                                 : err_wrap(err, "%s: \"" STR_FMT "\"", row->key, STR_ARG(text));
}

static bool setting_set(struct settings *s, struct str key, struct str value, struct err *err)
{
    const struct setting *row = setting_find(key);
    if (!row)
        return err_set(err, E_INVALID, "there is no setting \"" STR_FMT "\"; wherry up --help lists them",
                       STR_ARG(key));
    void *at = (char *)s + row->at;
    if (row->what == TEXT) {
        struct str text = str_dup(&s->arena, str_trim(value));
        if (!text.n && row->dflt[0])
            return err_set(err, E_INVALID, "%s: is empty; without it, it is %s", row->key, row->dflt);
        if (text.n && row->check && !row->check(text, err))
            return setting_wrong(row, text, err);
        *(struct str *)at = text;
        return true;
    }
    int64_t most = row->what == COUNT ? 100000000 : 65535;
    return str_to_i64(str_trim(value), 1, most, at) ||
           err_set(err, E_INVALID, "%s: \"" STR_FMT "\" is no number from 1 to %lld", row->key, STR_ARG(value),
                   (long long)most);
}

static bool read_file(struct settings *s, const char *path, bool must, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    struct err why = ERR;
    if (!file_read(AT_FDCWD, path, &text, &why)) {
        if (why.kind == E_NOT_FOUND && !must)
            return true;
        *err = why;
        return false;
    }
    struct val v;
    if (!yaml_decode(&s->arena, strbuf_str(&text), &v, err))
        return err_wrap(err, "%s", path);
    if (v.type == VAL_NULL)
        return true;
    if (v.type != VAL_MAP)
        return err_set(err, E_INVALID, "%s: must be lines of \"setting: value\"", path);
    val_each_member (m, &v) {
        if (m->v.type != VAL_INT && m->v.type != VAL_STRING)
            return err_set(err, E_INVALID, "%s: " STR_FMT ": must be a text or a number", path, STR_ARG(m->name->s));
        struct str value = val_is(&m->v, VAL_INT) ? arena_fmt(&s->arena, "%lld", (long long)m->v.i) : val_text(&m->v);
        if (!setting_set(s, m->name->s, value, err))
            return err_wrap(err, "%s", path);
    }
    return true;
}

/* The address by which this machine would speak to the world; without a default route the first one that is not lo's.
 */
static bool own_address(struct arena *a, struct str *out)
{
    char text[INET_ADDRSTRLEN];
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(IP4(192, 0, 2, 1))};
    struct sockaddr_in from = {0};
    socklen_t n = sizeof from;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        getsockname(fd, (struct sockaddr *)&from, &n) == 0) {
        *out = str_dup(a, str_of(inet_ntop(AF_INET, &from.sin_addr, text, sizeof text)));
        return true;
    }
    struct ifaddrs *all;
    bool found = false;
    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || i->ifa_flags & IFF_LOOPBACK)
            continue;
        struct sockaddr_in in;
        memcpy(&in, i->ifa_addr, sizeof in);
        if (ntohl(in.sin_addr.s_addr) >> 16 == (IP4_GATEWAY >> 16)) /* link-local, as our own ends of pods' links */
            continue;
        found = inet_ntop(AF_INET, &in.sin_addr, text, sizeof text) != NULL;
    }
    freeifaddrs(all);
    if (found)
        *out = str_dup(a, str_of(text));
    return found;
}

static struct str ip_text(struct arena *a, uint32_t ip)
{
    return arena_fmt(a, IP4_FMT, IP4_ARG(ip));
}

/* The name that the node has had (the supervisor keeps it): the host may be called otherwise since. */
static bool name_kept(struct settings *s, struct str *name, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err why = ERR;
    struct str path = arena_fmt(&s->arena, STR_FMT "/node-name", STR_ARG(s->data));
    *name = STR_NONE;
    if (file_read(AT_FDCWD, path.p, &b, &why))
        *name = str_dup(&s->arena, str_trim(strbuf_str(&b)));
    else if (why.kind != E_NOT_FOUND && why.kind != E_FORBIDDEN) /* E_FORBIDDEN: one who starts no node */
        return err_set(err, why.kind, "the name that this node has had: %s; under another one its pods would be lost",
                       why.text);
    return true;
}

/* What is not for pods. */
static bool work_out_reserved(struct settings *s, struct err *err)
{
    s->reserved = (struct reserved_rules){0};
    return (reserved_read(s->system_reserved, &s->reserved.kept, err) || err_wrap(err, "system-reserved")) &&
           (reserved_read(s->kube_reserved, &s->reserved.kept, err) || err_wrap(err, "kube-reserved")) &&
           (reserved_enforced(s->enforce_allocatable, &s->reserved.enforced, err) ||
            err_wrap(err, "enforce-node-allocatable"));
}

static bool age_read(struct str text, const char *key, int64_t *out, struct err *err)
{
    return (goduration_parse(text, out, err) &&
            (*out >= 0 || err_set(err, E_INVALID, "\"" STR_FMT "\" is before now", STR_ARG(text)))) ||
           err_wrap(err, "%s", key);
}

/* How the node defends itself. */
static bool work_out_limits(struct settings *s, struct err *err)
{
    struct image_gc_rules *g = &s->image_gc;
    *g = (struct image_gc_rules){.high_percent = s->image_gc_high, .low_percent = s->image_gc_low};
    if (!pressure_rules_read(&s->eviction, &s->pressure, err) ||
        !age_read(s->image_age_least, "image-minimum-gc-age", &g->age_least_ns, err) ||
        !age_read(s->image_age_most, "image-maximum-gc-age", &g->age_most_ns, err))
        return false;
    if (g->high_percent > 100)
        return err_set(err, E_INVALID, "image-gc-high-threshold: %lld is more than 100 percent",
                       (long long)g->high_percent);
    if (g->low_percent >= g->high_percent)
        return err_set(err, E_INVALID, "image-gc-low-threshold: %lld must be below image-gc-high-threshold, %lld",
                       (long long)g->low_percent, (long long)g->high_percent);
    if (g->age_most_ns && g->age_most_ns <= g->age_least_ns)
        return err_set(err, E_INVALID,
                       "image-maximum-gc-age: " STR_FMT " must be more than image-minimum-gc-age, " STR_FMT,
                       STR_ARG(s->image_age_most), STR_ARG(s->image_age_least));
    struct str canonical;
    if (!quantity_canonical(&s->arena, s->log_size, &canonical, err))
        return err_wrap(err, "container-log-max-size");
    s->log_bytes = quantity_value(canonical);
    if (s->log_bytes < 4096)
        return err_set(err, E_INVALID, "container-log-max-size: " STR_FMT " is too small: at least 4Ki",
                       STR_ARG(s->log_size));
    return s->log_files >= 2 || err_set(err, E_INVALID, "container-log-max-files: must be 2 or more");
}

static bool work_out(struct settings *s, struct err *err)
{
    if (!work_out_limits(s, err))
        return false;
    struct arena *a = &s->arena;
    if (!shutdown_rules_read(s->shutdown_grace, &s->shutdown, err) || !work_out_reserved(s, err))
        return false;
    if (!cidr4_parse(s->pod_cidr, &s->pods, err))
        return err_wrap(err, "pod-cidr");
    if (!cidr4_parse(s->service_cidr, &s->services, err))
        return err_wrap(err, "service-cidr");
    if (cidr4_overlap(s->pods, s->services))
        return err_set(err, E_INVALID, "pod-cidr " STR_FMT " and service-cidr " STR_FMT " overlap",
                       STR_ARG(s->pod_cidr), STR_ARG(s->service_cidr));
    if (!s->node_pod_cidr.n)
        s->node_pod_cidr = arena_fmt(a, IP4_FMT "/%d", IP4_ARG(s->pods.ip), MAX(s->pods.bits, 24));
    if (!cidr4_parse(s->node_pod_cidr, &s->node_pods, err))
        return err_wrap(err, "node-pod-cidr");
    if (!cidr4_has(s->pods, s->node_pods.ip) || s->node_pods.bits < s->pods.bits)
        return err_set(err, E_INVALID, "node-pod-cidr " STR_FMT " is not within pod-cidr " STR_FMT,
                       STR_ARG(s->node_pod_cidr), STR_ARG(s->pod_cidr));
    if (s->node_pods.bits < 16)
        return err_set(err, E_INVALID,
                       "node-pod-cidr " STR_FMT " is larger than a node can keep an account of: a /16",
                       STR_ARG(s->node_pod_cidr));
    int64_t room = (int64_t)(cidr4_last(s->node_pods) - s->node_pods.ip) - 2; /* but the first two and the last */
    if (s->max_pods > room && s->max_pods == MAX_PODS)
        s->max_pods = room;
    if (s->max_pods > room)
        return err_set(err, E_INVALID, "max-pods %lld is more than node-pod-cidr " STR_FMT " has addresses for",
                       (long long)s->max_pods, STR_ARG(s->node_pod_cidr));
    bool gateway = !str_eqz(s->gateway, "off"), certificates = str_eqz(s->certificates, "on");
    s->definitions = arena_fmt(a, "%s" STR_FMT "%s%s", gateway ? "gateway-" : "",
                               STR_ARG(gateway ? s->gateway : S("")), gateway && certificates ? "," : "",
                               certificates ? "certificates" : "");
    s->dns_ip = ip_text(a, s->services.ip + 10);
    s->etc = arena_fmt(a, STR_FMT "/etc/wherry", STR_ARG(s->root));
    if (!s->static_pods.n)
        s->static_pods = arena_fmt(a, STR_FMT "/manifests", STR_ARG(s->etc));
    s->run = arena_fmt(a, STR_FMT "/run/wherry", STR_ARG(s->root));
    s->data = arena_fmt(a, STR_FMT "/var/lib/wherry", STR_ARG(s->root));
    s->log = arena_fmt(a, STR_FMT "/var/log", STR_ARG(s->root));
    s->kubelet = arena_fmt(a, STR_FMT "/var/lib/kubelet", STR_ARG(s->root));
    if (!s->node_name.n && !name_kept(s, &s->node_name, err))
        return false;
    if (!s->node_name.n) {
        struct utsname u;
        if (uname(&u) < 0)
            return err_errno(err, "uname");
        char *name = arena_strz(a, str_of(u.nodename));
        for (char *c = name; *c; c++) /* a node's name is lower case */
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        s->node_name = str_of(name);
    }
    if (!check_name(s->node_name, err))
        return err_wrap(err, "node-name: \"" STR_FMT "\"", STR_ARG(s->node_name));
    if (!s->node_ip.n && !own_address(a, &s->node_ip))
        s->node_ip = ip_text(a,
                             s->node_pods.ip + 1); /* a machine without a network: the node's address towards pods */
    s->instance = instance_of(s->root.n ? s->root : S("/"));
    return true;
}

static bool set_root(struct settings *s, const char *dir, struct err *err)
{
    char cwd[4096];
    if (dir[0] != '/' && !getcwd(cwd, sizeof cwd))
        return err_errno(err, "--root %s", dir);
    struct str root = dir[0] == '/' ? arena_fmt(&s->arena, "%s", dir) : arena_fmt(&s->arena, "%s/%s", cwd, dir);
    while (root.n && root.p[root.n - 1] == '/')
        root.n--;
    if (root.n > 60) /* sockets live below it: sun_path holds 107 bytes */
        return err_set(err, E_INVALID, "--root " STR_FMT ": at most 60 characters, for the paths of sockets",
                       STR_ARG(root));
    s->root = str_dup(&s->arena, root);
    return true;
}

bool settings_read(struct settings *s, int argc, char **argv, int *rest, struct err *err)
{
    const char *config = NULL;
    *s = (struct settings){0};
    *rest = 0;
    for (size_t i = 0; i < countof(rows); i++)
        if (!setting_set(s, str_of(rows[i].key), str_of(rows[i].dflt), err) && rows[i].dflt[0])
            return false;
    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--root") == 0 && more) {
            if (!set_root(s, argv[++i], err))
                return false;
        } else if (strcmp(argv[i], "--config") == 0 && more) {
            config = argv[++i];
        }
    }
    struct str usual = arena_fmt(&s->arena, STR_FMT "/etc/wherry/config.yaml", STR_ARG(s->root));
    if (!read_file(s, config ? config : usual.p, config != NULL, err))
        return false;
    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc;
        struct str key, value;
        if ((strcmp(argv[i], "--root") == 0 || strcmp(argv[i], "--config") == 0) && more) {
            i++;
        } else if (strcmp(argv[i], "--set") == 0 && more) {
            if (!str_split(str_of(argv[++i]), '=', &key, &value))
                return err_set(err, E_INVALID, "--set %s: must be KEY=VALUE", argv[i]);
            if (!setting_set(s, key, value, err))
                return false;
        } else if ((strcmp(argv[i], "--listen") == 0 || strcmp(argv[i], "--roles") == 0) && more) {
            if (!setting_set(s, str_of(argv[i] + 2), str_of(argv[i + 1]), err))
                return false;
            i++;
        } else {
            argv[(*rest)++] = argv[i];
        }
    }
    return work_out(s, err);
}

void settings_fini(struct settings *s)
{
    arena_fini(&s->arena);
}

void settings_help(struct strbuf *out)
{
    for (size_t i = 0; i < countof(rows); i++)
        strbuf_addf(out, "  %-20s %s%s%s%s\n", rows[i].key, rows[i].help, rows[i].dflt[0] ? " (" : "", rows[i].dflt,
                    rows[i].dflt[0] ? ")" : "");
}
