/* dns_zone.c - answers for the cluster's own names, from what Services, endpoints and namespaces are now (Kubernetes
 * DNS specification 1.1.0).
 *
 * The zone keeps a copy of each Service, found by "name.ns" and, for PTR, by each of its addresses (of a headless
 * one by those of its endpoints). There is no table of records: a name is taken apart from its end - the domain,
 * then svc, pod or dns, then namespace, Service, and what stands before it - and the records are written straight
 * from the Service. So a Service with a thousand endpoints costs its own size and not a record for each name, and a
 * change replaces one entry.
 *
 * Whether a name exists and whether it has records of the type that was asked for are two questions (`exists`): the
 * first without the second is an answer without records, neither is NXDOMAIN, and both carry the SOA for negative
 * caching.
 *
 * Addresses of a headless Service begin at a random place (rotate), so that clients which take the first spread. An
 * ExternalName is answered by a CNAME alone only where that was asked for; otherwise the caller resolves the target
 * and dns_zone_chased puts both together.
 *
 * Costs: a lookup of one or two hashes; PTR and the name of one endpoint walk the endpoints of a Service. At most
 * ANSWERS_MAX endpoints go into one answer. IPv4 only: AAAA of a name that exists has no records.
 */
#include "net/dns_zone.h"

#define CHASE_RECORDS 64
#define ANSWERS_MAX   1000 /* endpoints of a headless Service in one answer */

struct dns_entry { /* a Service, owned */
    struct arena arena;
    struct dns_service s;
};
struct dns_reverse {
    ARRAY(struct dns_entry *) services;
};

static struct str ip_key(const uint32_t *ip)
{
    return (struct str){(const char *)ip, sizeof *ip};
}

static struct str entry_key(struct strbuf *b, struct str ns, struct str name)
{
    strbuf_addf(b, STR_FMT "." STR_FMT, STR_ARG(name), STR_ARG(ns));
    return strbuf_str(b);
}

bool dns_zone_init(struct dns_zone *z, struct str domain, struct cidr4 pods, struct cidr4 services, uint32_t dns_ip,
                   struct err *err)
{
    *z = (struct dns_zone){.pods = pods, .services = services, .serial = 1, .dns_ip = dns_ip};
    if (domain.n == 0 || !dns_name_parse(domain, &z->origin))
        return err_set(err, E_INVALID, "cluster domain \"" STR_FMT "\" is not a domain name", STR_ARG(domain));
    (void)dns_name_text(&z->origin, z->domain);
    return true;
}

static void reverse_add(struct dns_zone *z, uint32_t ip, struct dns_entry *e)
{
    struct dns_reverse *r = map_get(&z->by_ip, ip_key(&ip));
    if (!r) {
        r = NEW(struct dns_reverse);
        (void)map_put(&z->by_ip, ip_key(&ip), r);
    }
    array_push(&r->services, e);
}

static void reverse_del(struct dns_zone *z, uint32_t ip, struct dns_entry *e)
{
    struct dns_reverse *r = map_get(&z->by_ip, ip_key(&ip));
    for (size_t i = 0; r && i < r->services.n; i++) {
        if (r->services.p[i] != e)
            continue;
        array_del(&r->services, i);
        break;
    }
    if (r && r->services.n == 0) {
        (void)map_del(&z->by_ip, ip_key(&ip));
        array_fini(&r->services);
        mem_free(r);
    }
}

static void entry_index(struct dns_zone *z, struct dns_entry *e,
                        void (*one)(struct dns_zone *, uint32_t, struct dns_entry *))
{
    for (size_t i = 0; i < e->s.ncluster_ips; i++)
        one(z, e->s.cluster_ips[i], e);
    for (size_t i = 0; i < e->s.nendpoints && !e->s.ncluster_ips; i++)
        one(z, e->s.endpoints[i].ip, e);
}

static void entry_free(struct dns_entry *e)
{
    arena_fini(&e->arena);
    mem_free(e);
}

void dns_zone_fini(struct dns_zone *z)
{
    map_each (it, &z->by_name)
        entry_free(it->value);
    map_each (it, &z->by_ip) {
        struct dns_reverse *r = it->value;
        array_fini(&r->services);
        mem_free(r);
    }
    map_fini(&z->by_name);
    map_fini(&z->by_ip);
    map_fini(&z->namespaces);
}

static const struct dns_port *ports_dup(struct arena *a, const struct dns_port *p, size_t n)
{
    struct dns_port *copy = arena_alloc(a, n * sizeof *copy + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = (struct dns_port){str_dup(a, p[i].name), str_dup(a, p[i].proto), p[i].port};
    return copy;
}

void dns_zone_del(struct dns_zone *z, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct dns_entry *e = map_del(&z->by_name, entry_key(&b, ns, name));
    if (!e)
        return;
    entry_index(z, e, reverse_del);
    entry_free(e);
    z->serial++;
}

void dns_zone_put(struct dns_zone *z, const struct dns_service *s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    dns_zone_del(z, s->ns, s->name);
    struct dns_entry *e = NEW(struct dns_entry);
    struct arena *a = &e->arena;
    e->s = *s;
    e->s.ns = str_dup(a, s->ns);
    e->s.name = str_dup(a, s->name);
    e->s.external_name = str_dup(a, s->external_name);
    e->s.cluster_ips = arena_dup(a, s->cluster_ips ? (const void *)s->cluster_ips : "",
                                 s->ncluster_ips * sizeof *s->cluster_ips);
    e->s.ports = ports_dup(a, s->ports, s->nports);
    struct dns_endpoint *eps = arena_alloc(a, s->nendpoints * sizeof *eps + 1);
    for (size_t i = 0; i < s->nendpoints; i++) {
        eps[i] = s->endpoints[i];
        eps[i].hostname = str_dup(a, eps[i].hostname);
        eps[i].ports = ports_dup(a, eps[i].ports, eps[i].nports);
    }
    e->s.endpoints = eps;
    (void)map_put(&z->by_name, entry_key(&b, s->ns, s->name), e);
    entry_index(z, e, reverse_add);
    z->serial++;
}

void dns_zone_namespace(struct dns_zone *z, struct str ns, bool there)
{
    if (there)
        (void)map_put(&z->namespaces, ns, z);
    else
        (void)map_del(&z->namespaces, ns);
}

/* ---- answers ---- */

struct dns_zone_answer {
    const struct dns_zone *z;
    const struct dns_query *q;
    struct dns_writer *w;
    uint32_t rotate;
    bool exists; /* the name does, whatever its types */
    struct dns_name target;
    bool chase;
};

static bool answer_wants(const struct dns_zone_answer *a, uint16_t type)
{
    return a->q->type == type;
}

static void endpoint_name(const struct dns_endpoint *ep, struct strbuf *b)
{
    if (ep->hostname.n)
        strbuf_add(b, ep->hostname);
    else
        strbuf_addf(b, "%u-%u-%u-%u", IP4_ARG(ep->ip));
}

static bool service_name(const struct dns_zone *z, const struct dns_service *s, const struct dns_endpoint *ep,
                         struct dns_name *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(DNS_TEXT_MAX);
    if (ep) {
        endpoint_name(ep, &b);
        strbuf_addc(&b, '.');
    }
    strbuf_addf(&b, STR_FMT "." STR_FMT ".svc.%s", STR_ARG(s->name), STR_ARG(s->ns), z->domain);
    return dns_name_parse(strbuf_str(&b), out);
}

static void answer_address(struct dns_zone_answer *a, enum dns_section section, const struct dns_name *owner,
                           uint32_t ip)
{
    dns_write_a(a->w, section, owner, DNS_ZONE_TTL, ip);
}

static bool seen_before(const struct dns_service *s, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (s->endpoints[j].ip == s->endpoints[i].ip)
            return true;
    return false;
}

static void answer_service_a(struct dns_zone_answer *a, const struct dns_service *s)
{
    for (size_t i = 0; i < s->ncluster_ips; i++)
        answer_address(a, DNS_ANSWER, &a->q->name, s->cluster_ips[i]);
    if (s->ncluster_ips)
        return;
    size_t n = MIN(s->nendpoints, ANSWERS_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t at = (i + a->rotate) % n;
        if (n > 64 || !seen_before(s, at)) /* one address twice is rare and harmless */
            answer_address(a, DNS_ANSWER, &a->q->name, s->endpoints[at].ip);
    }
}

static bool port_is(const struct dns_port *p, struct str port, struct str proto)
{
    return (port.n == 0 && proto.n == 0) || (str_eq(p->name, port) && str_eq(p->proto, proto));
}

/* The SRV records of the ports that match; empty port and proto: of all named ones. */
static void answer_srv(struct dns_zone_answer *a, const struct dns_service *s, struct str port, struct str proto)
{
    struct dns_name target;
    if (s->ncluster_ips && service_name(a->z, s, NULL, &target)) {
        for (size_t i = 0; i < s->nports; i++) {
            if (!port_is(&s->ports[i], port, proto))
                continue;
            a->exists = true;
            if (answer_wants(a, DNS_SRV))
                dns_write_srv(a->w, &a->q->name, DNS_ZONE_TTL, 0, 100, s->ports[i].port, &target);
        }
        if (answer_wants(a, DNS_SRV) && a->exists)
            answer_address(a, DNS_ADDITIONAL, &target, s->cluster_ips[0]);
        return;
    }
    size_t n = MIN(s->nendpoints, ANSWERS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct dns_endpoint *ep = &s->endpoints[(i + a->rotate) % n];
        for (size_t j = 0; j < ep->nports; j++) {
            if (!port_is(&ep->ports[j], port, proto) || !service_name(a->z, s, ep, &target))
                continue;
            a->exists = true;
            if (answer_wants(a, DNS_SRV))
                dns_write_srv(a->w, &a->q->name, DNS_ZONE_TTL, 0, 100, ep->ports[j].port, &target);
        }
    }
    for (size_t i = 0; i < n && answer_wants(a, DNS_SRV); i++) {
        const struct dns_endpoint *ep = &s->endpoints[(i + a->rotate) % n];
        if (ep->nports && service_name(a->z, s, ep, &target))
            answer_address(a, DNS_ADDITIONAL, &target, ep->ip);
    }
}

static void answer_endpoint(struct dns_zone_answer *a, const struct dns_service *s, struct str label)
{
    for (size_t i = 0; i < s->nendpoints && !s->ncluster_ips; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(DNS_TEXT_MAX);
        endpoint_name(&s->endpoints[i], &b);
        if (!str_eq(strbuf_str(&b), label))
            continue;
        a->exists = true;
        if (answer_wants(a, DNS_A))
            answer_address(a, DNS_ANSWER, &a->q->name, s->endpoints[i].ip);
    }
}

static bool cut_last(struct str *rest, struct str *label)
{
    ptrdiff_t dot = str_rfind_char(*rest, '.');
    if (rest->n == 0)
        return false;
    *label = str_sub(*rest, dot < 0 ? 0 : (size_t)dot + 1, rest->n);
    *rest = str_sub(*rest, 0, dot < 0 ? 0 : (size_t)dot);
    return true;
}

/* [[_port._proto.]|[hostname.]]NAME.NS, all of it in `rest` */
static void answer_svc(struct dns_zone_answer *a, struct str rest)
{
    struct str ns, name, x, y;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (!cut_last(&rest, &ns)) {
        a->exists = true;
        return;
    }
    if (!cut_last(&rest, &name)) {
        a->exists = map_get(&a->z->namespaces, ns) != NULL;
        return;
    }
    const struct dns_entry *e = map_get(&a->z->by_name, entry_key(&b, ns, name));
    if (!e)
        return;
    if (e->s.external_name.n) {
        if (rest.n || !dns_name_parse(e->s.external_name, &a->target))
            return;
        a->exists = true;
        a->chase = true;
        dns_write_name(a->w, DNS_ANSWER, &a->q->name, DNS_CNAME, DNS_ZONE_TTL, &a->target);
        return;
    }
    if (rest.n == 0) {
        a->exists = e->s.ncluster_ips || e->s.nendpoints; /* headless without any: NXDOMAIN, as CoreDNS */
        if (answer_wants(a, DNS_A))
            answer_service_a(a, &e->s);
        else if (answer_wants(a, DNS_SRV))
            answer_srv(a, &e->s, STR_NONE, STR_NONE);
        return;
    }
    if (!str_split(rest, '.', &x, &y)) {
        answer_endpoint(a, &e->s, rest);
        return;
    }
    if (x.n > 1 && y.n > 1 && x.p[0] == '_' && y.p[0] == '_')
        answer_srv(a, &e->s, str_sub(x, 1, x.n), str_sub(y, 1, y.n));
}

/* A-B-C-D.NS: any address, where the namespace is there */
static void answer_pod(struct dns_zone_answer *a, struct str rest)
{
    struct str ns, label;
    if (!cut_last(&rest, &ns)) {
        a->exists = true;
        return;
    }
    if (!map_get(&a->z->namespaces, ns))
        return;
    if (!cut_last(&rest, &label)) {
        a->exists = true;
        return;
    }
    char dotted[16];
    uint32_t ip;
    if (rest.n || label.n >= sizeof dotted)
        return;
    for (size_t i = 0; i < label.n; i++)
        dotted[i] = label.p[i];
    for (size_t i = 0; i < label.n; i++) {
        if (dotted[i] == '.')
            return;
        if (dotted[i] == '-')
            dotted[i] = '.';
    }
    if (!ip4_parse((struct str){dotted, label.n}, &ip))
        return;
    a->exists = true;
    if (answer_wants(a, DNS_A))
        answer_address(a, DNS_ANSWER, &a->q->name, ip);
}

static void write_soa(struct dns_zone_answer *a, enum dns_section section)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(DNS_TEXT_MAX);
    struct dns_name mname, rname;
    strbuf_addf(&b, "ns.dns.%s", a->z->domain);
    if (!dns_name_parse(strbuf_str(&b), &mname))
        return;
    strbuf_reset(&b);
    strbuf_addf(&b, "hostmaster.%s", a->z->domain);
    if (dns_name_parse(strbuf_str(&b), &rname))
        dns_write_soa(a->w, section, &a->z->origin, &mname, &rname, a->z->serial, DNS_ZONE_TTL, DNS_ZONE_TTL);
}

static void answer_apex(struct dns_zone_answer *a)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(DNS_TEXT_MAX);
    struct dns_name ns;
    a->exists = true;
    strbuf_addf(&b, "ns.dns.%s", a->z->domain);
    if (answer_wants(a, DNS_SOA))
        write_soa(a, DNS_ANSWER);
    if (answer_wants(a, DNS_NS) && dns_name_parse(strbuf_str(&b), &ns)) {
        dns_write_name(a->w, DNS_ANSWER, &a->q->name, DNS_NS, DNS_ZONE_TTL, &ns);
        answer_address(a, DNS_ADDITIONAL, &ns, a->z->dns_ip);
    }
}

static void answer_forward_zone(struct dns_zone_answer *a,
                                struct str rest) /* what stands before the domain, without a dot */
{
    struct str kind;
    if (rest.n == 0) {
        answer_apex(a);
    } else if (str_eq(rest, S("dns-version"))) {
        a->exists = true;
        if (answer_wants(a, DNS_TXT))
            dns_write_txt(a->w, &a->q->name, DNS_ZONE_TTL, S("1.1.0"));
    } else if (str_eq(rest, S("ns.dns"))) {
        a->exists = true;
        if (answer_wants(a, DNS_A))
            answer_address(a, DNS_ANSWER, &a->q->name, a->z->dns_ip);
    } else if (cut_last(&rest, &kind)) {
        if (str_eq(kind, S("svc")))
            answer_svc(a, rest);
        else if (str_eq(kind, S("pod")))
            answer_pod(a, rest);
        else if (str_eq(kind, S("dns")))
            a->exists = rest.n == 0;
    }
}

static void answer_reverse(struct dns_zone_answer *a, uint32_t ip)
{
    const struct dns_reverse *r = map_get(&a->z->by_ip, ip_key(&ip));
    for (size_t i = 0; r && i < r->services.n; i++) {
        const struct dns_service *s = &r->services.p[i]->s;
        const struct dns_endpoint *ep = NULL;
        struct dns_name target;
        for (size_t j = 0; j < s->nendpoints && !s->ncluster_ips; j++)
            if (s->endpoints[j].ip == ip)
                ep = &s->endpoints[j];
        if ((!ep && !s->ncluster_ips) || !service_name(a->z, s, ep, &target))
            continue;
        a->exists = true;
        if (answer_wants(a, DNS_PTR))
            dns_write_name(a->w, DNS_ANSWER, &a->q->name, DNS_PTR, DNS_ZONE_TTL, &target);
    }
}

static bool reverse_ip(struct str text, uint32_t *ip)
{
    if (!str_ends(text, S(".in-addr.arpa")))
        return false;
    text = str_sub(text, 0, text.n - S(".in-addr.arpa").n);
    uint32_t v;
    if (!ip4_parse(text, &v))
        return false;
    *ip = __builtin_bswap32(v);
    return true;
}

static bool name_below(struct str text, struct str domain, struct str *rest)
{
    if (!str_ends(text, domain))
        return false;
    *rest = str_sub(text, 0, text.n - domain.n);
    if (rest->n == 0)
        return true;
    if (rest->p[rest->n - 1] != '.')
        return false;
    rest->n--;
    return true;
}

static void answer_finish(struct dns_zone_answer *a, size_t *len)
{
    int rcode = a->exists ? DNS_NOERROR : DNS_NXDOMAIN;
    if (a->w->answers == 0 && !a->w->truncated)
        write_soa(a, DNS_AUTHORITY);
    *len = dns_write_end(a->w, rcode, true);
}

enum dns_outcome dns_zone_answer(const struct dns_zone *z, const struct dns_query *q, bool tcp, uint32_t rotate,
                                 uint8_t *out, size_t max, size_t *len, struct dns_name *target)
{
    char buf[DNS_TEXT_MAX];
    struct dns_writer w;
    struct dns_zone_answer a = {.z = z, .q = q, .w = &w, .rotate = rotate};
    struct str text = dns_name_text(&q->name, buf), rest;
    uint32_t ip;
    if (q->class != DNS_IN) {
        *len = dns_write_error(out, max, q, DNS_REFUSED);
        return DNS_DONE;
    }
    dns_write_begin(&w, out, max, q, tcp);
    if (name_below(text, str_of(z->domain), &rest)) {
        answer_forward_zone(&a, rest);
        if (a.chase && !answer_wants(&a, DNS_CNAME)) {
            *target = a.target;
            return DNS_CHASE;
        }
    } else if (reverse_ip(text, &ip) &&
               (cidr4_has(z->pods, ip) || cidr4_has(z->services, ip) || map_get(&z->by_ip, ip_key(&ip)))) {
        answer_reverse(&a, ip);
    } else {
        return DNS_FORWARD;
    }
    answer_finish(&a, len);
    return DNS_DONE;
}

size_t dns_zone_chased(const struct dns_query *q, const struct dns_name *chain, size_t nchain, const uint8_t *msg,
                       size_t n, const struct dns_reply *reply, bool tcp, uint8_t *out, size_t max)
{
    struct dns_writer w;
    dns_write_begin(&w, out, max, q, tcp);
    for (size_t i = 0; i < nchain; i++)
        dns_write_name(&w, DNS_ANSWER, i ? &chain[i - 1] : &q->name, DNS_CNAME, DNS_ZONE_TTL, &chain[i]);
    size_t at = reply ? reply->question_end : 0;
    for (unsigned i = 0; reply && i < MIN(reply->answers, CHASE_RECORDS); i++) {
        struct dns_rr rr;
        struct dns_name name;
        if (!dns_rr_read(msg, n, &at, &rr))
            break;
        size_t inside = rr.rdata_at;
        if (rr.type == DNS_A || rr.type == DNS_AAAA || rr.type == DNS_TXT)
            dns_write_raw(&w, DNS_ANSWER, &rr.owner, rr.type, rr.ttl, rr.rdata, rr.rdata_n);
        else if (rr.type == DNS_CNAME && dns_name_read(msg, n, &inside, &name))
            dns_write_name(&w, DNS_ANSWER, &rr.owner, DNS_CNAME, rr.ttl, &name);
    }
    return dns_write_end(&w, reply ? reply->rcode : DNS_SERVFAIL, false);
}
