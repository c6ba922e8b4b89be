#include "net/podfiles.h"
#include "base/array.h"

struct podfile_words {
    ARRAY(struct str) list;
};
struct resolv {
    struct podfile_words nameservers, searches;
    ARRAY(struct dns_option) options;
};

static bool has_word(const struct podfile_words *w, struct str s)
{
    for (size_t i = 0; i < w->list.n; i++)
        if (str_eq(w->list.p[i], s))
            return true;
    return false;
}

static void add_word(struct podfile_words *w, struct str s)
{
    if (s.n && !has_word(w, s))
        array_push(&w->list, s);
}

static bool next_word(struct str *rest, struct str *word)
{
    *rest = str_trim(*rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    *word = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return n > 0;
}

/* A later option of the same name takes the place of an earlier one. */
static void add_option(struct resolv *r, struct dns_option o)
{
    array_each (it, &r->options) {
        if (str_eq(it->name, o.name)) {
            it->value = o.value;
            return;
        }
    }
    array_push(&r->options, o);
}

static void resolv_parse(struct str text, struct resolv *r)
{
    struct str line, key, word;
    while (str_cut(&text, '\n', &line)) {
        if (!next_word(&line, &key) || key.p[0] == '#' || key.p[0] == ';')
            continue;
        if (str_eq(key, S("search")))
            array_clear(&r->searches.list); /* the last search line counts */
        while (next_word(&line, &word)) {
            struct dns_option o = {0};
            if (str_eq(key, S("nameserver"))) {
                add_word(&r->nameservers, word);
                break;
            }
            if (str_eq(key, S("search")))
                add_word(&r->searches, word.n > 1 && str_ends(word, S(".")) ? str_sub(word, 0, word.n - 1) : word);
            if (str_eq(key, S("options"))) {
                if (!str_split(word, ':', &o.name, &o.value))
                    o = (struct dns_option){.name = word};
                add_option(r, o);
            }
        }
    }
}

static bool on_loopback(struct str ip)
{
    return str_starts(ip, S("127.")) || str_eq(ip, S("::1"));
}

static bool only_stubs(const struct resolv *r)
{
    for (size_t i = 0; i < r->nameservers.list.n; i++)
        if (!on_loopback(r->nameservers.list.p[i]))
            return false;
    return true;
}

static void resolv_fini(struct resolv *r)
{
    array_fini(&r->nameservers.list);
    array_fini(&r->searches.list);
    array_fini(&r->options);
}
AUTO_VALUE(resolv_fini, struct resolv);

static void parse_host(const struct node_dns *node, struct resolv *r)
{
    AUTO(resolv_fini) struct resolv behind = {0};
    resolv_parse(node->resolv_conf, r);
    if (!only_stubs(r))
        return;
    resolv_parse(node->behind, &behind);
    if (only_stubs(&behind))
        return;
    array_clear(&r->nameservers.list);
    array_each (it, &behind.nameservers.list)
        if (!on_loopback(*it))
            add_word(&r->nameservers, *it);
}

static void cluster_first(const struct pod_dns *pod, const struct node_dns *node, struct resolv *r, struct arena *a)
{
    AUTO(resolv_fini) struct resolv host = {0};
    parse_host(node, &host);
    add_word(&r->nameservers, node->cluster_ip);
    add_word(&r->searches, arena_fmt(a, STR_FMT ".svc." STR_FMT, STR_ARG(pod->ns), STR_ARG(node->domain)));
    add_word(&r->searches, arena_fmt(a, "svc." STR_FMT, STR_ARG(node->domain)));
    add_word(&r->searches, node->domain);
    array_each (it, &host.searches.list)
        add_word(&r->searches, *it);
    add_option(r, (struct dns_option){S("ndots"), S("5")});
}

static void warning_add(struct strbuf *warning, const char *what)
{
    strbuf_addf(warning, "%s%s", warning->n ? "; " : "", what);
}

static void apply_limits(struct resolv *r, struct strbuf *warning)
{
    if (r->nameservers.list.n > DNS_NAMESERVERS_MAX) {
        r->nameservers.list.n = DNS_NAMESERVERS_MAX;
        warning_add(warning,
                    "Nameserver limits were exceeded, some nameservers have been omitted: only the first 3 are used");
    }
    size_t n = 0, chars = 0;
    while (n < r->searches.list.n && n < DNS_SEARCHES_MAX) {
        chars += r->searches.list.p[n].n + (n > 0);
        if (chars > DNS_SEARCH_CHARS_MAX)
            break;
        n++;
    }
    if (n < r->searches.list.n) {
        r->searches.list.n = n;
        warning_add(warning,
                    "Search Line limits were exceeded, some search paths have been omitted: at most 32 of them with "
                    "2048 characters in all are used");
    }
}

static void write_words(struct strbuf *out, const char *key, const struct podfile_words *w, const char *between)
{
    for (size_t i = 0; i < w->list.n; i++)
        strbuf_addf(out, "%s" STR_FMT, i ? between : key, STR_ARG(w->list.p[i]));
    if (w->list.n)
        strbuf_addc(out, '\n');
}

void pod_resolv_conf(const struct pod_dns *pod, const struct node_dns *node, struct strbuf *out,
                     struct strbuf *warning)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(resolv_fini) struct resolv r = {0};
    enum dns_policy policy = pod->policy;
    if (policy == DNS_CLUSTER_FIRST && pod->host_network)
        policy = DNS_DEFAULT;
    switch (policy) {
    case DNS_CLUSTER_FIRST:
    case DNS_CLUSTER_FIRST_WITH_HOST_NET: cluster_first(pod, node, &r, &a); break;
    case DNS_DEFAULT: parse_host(node, &r); break;
    case DNS_NONE: break;
    }
    if (policy != DNS_NONE && node->unread.n)
        warning_add(warning,
                    arena_fmt(&a, "The node's resolv.conf cannot be read, and the pod goes without it: " STR_FMT,
                              STR_ARG(node->unread))
                        .p);
    for (size_t i = 0; i < pod->nnameservers; i++)
        add_word(&r.nameservers, pod->nameservers[i]);
    for (size_t i = 0; i < pod->nsearches; i++)
        add_word(&r.searches, pod->searches[i]);
    for (size_t i = 0; i < pod->noptions; i++)
        add_option(&r, pod->options[i]);
    apply_limits(&r, warning);
    write_words(out, "search ", &r.searches, " ");
    write_words(out, "nameserver ", &r.nameservers, "\nnameserver ");
    for (size_t i = 0; i < r.options.n; i++) {
        strbuf_addf(out, "%s" STR_FMT, i ? " " : "options ", STR_ARG(r.options.p[i].name));
        if (r.options.p[i].value.n)
            strbuf_addf(out, ":" STR_FMT, STR_ARG(r.options.p[i].value));
    }
    if (r.options.n)
        strbuf_addc(out, '\n');
}

static void add_aliases(const struct host_alias *aliases, size_t n, struct strbuf *out)
{
    if (n == 0)
        return;
    strbuf_addz(out, "\n# Entries added by HostAliases.\n");
    for (size_t i = 0; i < n; i++) {
        strbuf_add(out, aliases[i].ip);
        for (size_t j = 0; j < aliases[i].nhostnames; j++)
            strbuf_addf(out, "\t" STR_FMT, STR_ARG(aliases[i].hostnames[j]));
        strbuf_addc(out, '\n');
    }
}

void pod_hosts(const struct str *ips, size_t nips, struct str hostname, struct str domain,
               const struct host_alias *aliases, size_t naliases, struct strbuf *out)
{
    strbuf_addz(out, "# Kubernetes-managed hosts file.\n"
                     "127.0.0.1\tlocalhost\n"
                     "::1\tlocalhost ip6-localhost ip6-loopback\n"
                     "fe00::0\tip6-localnet\n"
                     "fe00::0\tip6-mcastprefix\n"
                     "fe00::1\tip6-allnodes\n"
                     "fe00::2\tip6-allrouters\n");
    for (size_t i = 0; i < nips; i++) {
        strbuf_addf(out, STR_FMT "\t" STR_FMT, STR_ARG(ips[i]), STR_ARG(hostname));
        if (domain.n)
            strbuf_addf(out, "." STR_FMT "\t" STR_FMT, STR_ARG(domain), STR_ARG(hostname));
        strbuf_addc(out, '\n');
    }
    add_aliases(aliases, naliases, out);
}

void pod_hosts_of_node(struct str host_file, const struct host_alias *aliases, size_t naliases, struct strbuf *out)
{
    strbuf_addz(out, "# Kubernetes-managed hosts file (host network).\n");
    strbuf_add(out, host_file);
    add_aliases(aliases, naliases, out);
}
