#include "cli/settings.h"
#include "api/codec.h"
#include "node/node_facts.h"
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
};
#define AT(field) offsetof(struct settings, field)

/* In the order of --help. */
static const struct setting rows[] = {
    {"listen", TEXT, AT(listen), "0.0.0.0:6443", "address and port of the API"},
    {"roles", TEXT, AT(roles), "server,node,relay,dns", "what this machine runs"},
    {"node-name", TEXT, AT(node_name), "", "name of the node; empty: the host's name at the first start"},
    {"node-ip", TEXT, AT(node_ip), "", "address of the node; empty: the one of the default route"},
    {"pod-cidr", TEXT, AT(pod_cidr), "10.42.0.0/16", "addresses of pods, of the whole cluster"},
    {"node-pod-cidr", TEXT, AT(node_pod_cidr), "", "this node's part of it; empty: the first /24"},
    {"service-cidr", TEXT, AT(service_cidr), "10.43.0.0/16", "addresses of Services; the tenth is the cluster's DNS"},
    {"cluster-domain", TEXT, AT(domain), "cluster.local", "what names of Services end in"},
    {"insecure-registries", TEXT, AT(insecure_registries), "",
     "registries (host:port, separated by commas) that are spoken to without TLS"},
    {"max-pods", NUMBER, AT(max_pods), "110", "pods that this node takes"},
    {"relay-port", NUMBER, AT(relay_port), "10250", "port of the node's API (logs, exec)"},
    {"compaction-seconds", NUMBER, AT(compaction_seconds), "300",
     "how long earlier revisions can be listed and watched from"},
    {"event-seconds", NUMBER, AT(event_seconds), "3600", "how long an Event stays after it was last repeated"},
    {"max-objects", COUNT, AT(max_objects), "1000000", "objects that are stored; further ones are refused"},
    {"log-level", TEXT, AT(log_level), "info", "error, warn, info or debug"},
};

static const struct setting *find(struct str key)
{
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(key, rows[i].key))
            return &rows[i];
    return NULL;
}

static bool set(struct settings *s, struct str key, struct str value, struct err *err)
{
    const struct setting *row = find(key);
    if (!row)
        return err_set(err, E_INVALID, "there is no setting \"" STR_FMT "\"; wherry up --help lists them",
                       STR_ARG(key));
    void *at = (char *)s + row->at;
    if (row->what == TEXT) {
        *(struct str *)at = str_dup(&s->arena, str_trim(value));
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
        struct str value = val_is(&m->v, VAL_INT) ? arena_fmt(&s->arena, "%lld", (long long)m->v.i) : val_text(&m->v);
        if (!set(s, m->name->s, value, err))
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
static struct str name_kept(struct settings *s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err ignored = ERR;
    struct str path = arena_fmt(&s->arena, STR_FMT "/node-name", STR_ARG(s->data));
    if (!file_read(AT_FDCWD, path.p, &b, &ignored))
        return STR_NONE;
    return str_dup(&s->arena, str_trim(strbuf_str(&b)));
}

static bool work_out(struct settings *s, struct err *err)
{
    struct arena *a = &s->arena;
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
    s->dns_ip = ip_text(a, s->services.ip + 10);
    s->etc = arena_fmt(a, STR_FMT "/etc/wherry", STR_ARG(s->root));
    s->run = arena_fmt(a, STR_FMT "/run/wherry", STR_ARG(s->root));
    s->data = arena_fmt(a, STR_FMT "/var/lib/wherry", STR_ARG(s->root));
    s->log = arena_fmt(a, STR_FMT "/var/log", STR_ARG(s->root));
    if (!s->node_name.n)
        s->node_name = name_kept(s);
    if (!s->node_name.n) {
        struct utsname u;
        if (uname(&u) < 0)
            return err_errno(err, "uname");
        char *name = arena_strz(a, str_of(u.nodename));
        for (char *c = name; *c; c++) /* a node's name is lower case */
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        s->node_name = str_of(name);
    }
    if (!s->node_ip.n && !own_address(a, &s->node_ip))
        s->node_ip = ip_text(a,
                             s->node_pods.ip + 1); /* a machine without a network: the node's address towards pods */
    uint32_t ip;
    if (!ip4_parse(s->node_ip, &ip))
        return err_set(err, E_INVALID, "node-ip: \"" STR_FMT "\" is no IPv4 address", STR_ARG(s->node_ip));
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
        if (!set(s, str_of(rows[i].key), str_of(rows[i].dflt), err) && rows[i].dflt[0])
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
            if (!set(s, key, value, err))
                return false;
        } else if ((strcmp(argv[i], "--listen") == 0 || strcmp(argv[i], "--roles") == 0) && more) {
            if (!set(s, str_of(argv[i] + 2), str_of(argv[i + 1]), err))
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
