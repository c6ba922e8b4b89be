/* Certificates, the lists of sockets that end TLS, and answers given at paths. */
#include "base/log.h"
#include "edge/door_state.h"
#include "sys/cert.h"

#define PEM_MOST (1u << 20)

/* For who names no host that is known, where no listener has a certificate: one that nobody trusts. */
static struct str none_pem(struct door *d)
{
    if (d->none_pem)
        return str_of(d->none_pem);
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(65536);
    AUTO(key_free) struct cert_key *key = key_new();
    struct str name = S("wherry.invalid");
    struct cert_spec spec = {.cn = S("wherry: no certificate for this host"),
                             .dns = &name,
                             .ndns = 1,
                             .server = true,
                             .not_after = clock_real() + 3650LL * 86400 * NS_PER_S};
    struct err err = ERR;
    if (!cert_make(&spec, key, S(""), NULL, &pem, &err)) {
        log_error("door.certificate", "err=" ERR_FMT, ERR_ARG(err));
        return S("");
    }
    key_pem(key, &pem);
    d->none_pem = strbuf_take(&pem);
    return str_of(d->none_pem);
}

/* The proxy gets what was read, written anew, and not what was put: an empty line would end the command that it is
 * told with, a key beside the certificate would be taken for the other one, and what it cannot serve would keep it
 * from starting, for all hosts. */
static bool certificate_clean(struct arena *a, struct door_certificate *c, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf chain = STRBUF(PEM_MOST), key = STRBUF(PEM_MOST);
    if (c->chain.n > PEM_MOST || c->private.n > PEM_MOST)
        return err_set(err, E_TOO_LARGE, "it is over 1 MiB");
    if (!cert_serves(c->chain, c->private, &chain, &key, err))
        return false;
    c->chain = str_dup(a, strbuf_str(&chain));
    c->private = str_dup(a, strbuf_str(&key));
    return true;
}

void door_certificates_judge(struct door *d, struct door_source *s)
{
    for (size_t i = s->part.certificates.n; i-- > 0;) {
        struct door_certificate *c = &s->part.certificates.p[i];
        struct err err = ERR;
        if (certificate_clean(&s->own, c, &err))
            continue;
        if (d->events.refused)
            d->events.refused(d->arg, s->name, c->key, &err);
        array_del(&s->part.certificates, i);
    }
}

static const struct door_certificate *certificate_find(struct door *d, struct str key)
{
    map_each (e, &d->sources)
        array_each (c, &((struct door_source *)e->value)->part.certificates)
            if (str_eq(c->key, key))
                return c;
    return NULL;
}

static void cert_want(struct door *d, struct map *now, const char *name, struct str pem)
{
    haproxy_cert_put(d->proxy, name, pem);
    map_put(now, str_of(name), d);
    map_put(&d->certs, str_of(name), d);
}

struct list_member { /* of a crt-list */
    struct strbuf hosts;
    struct str options;
    bool all; /* for what it names itself */
};

static void member_hosts(struct list_member *m, const struct door_listener *l, const struct door_certificate *c)
{
    if (l->hostname.n) {
        strbuf_addf(&m->hosts, "%s" STR_FMT, m->hosts.n ? " " : "", STR_ARG(l->hostname));
        return;
    }
    m->all = m->all || !c->nhosts;
    for (size_t i = 0; i < c->nhosts; i++)
        strbuf_addf(&m->hosts, "%s" STR_FMT, m->hosts.n ? " " : "", STR_ARG(c->hosts[i]));
}

static struct str member_options(struct arena *a, const struct door_listener *l)
{
    if (!l->client_ca.n)
        return S("");
    return arena_fmt(a, "ca-file certs/%s.pem verify %s", door_cert_name(l->client_ca).z,
                     l->client_ca_optional ? "optional" : "required");
}

/* Where the authorities of clients are not there, nobody is trusted. */
static void authorities_put(struct door *d, const struct door_socket *s, struct map *certs)
{
    static const char end[] = "-----END CERTIFICATE-----\n";
    array_each (l, &s->listeners)
        if ((*l)->client_ca.n && !certificate_find(d, (*l)->client_ca)) {
            struct str pem = none_pem(d);
            ptrdiff_t at = str_find(pem, str_of(end));
            cert_want(d, certs, door_cert_name((*l)->client_ca).z,
                      str_sub(pem, 0, at < 0 ? 0 : (size_t)at + sizeof end - 1));
        }
}

/* kind: "" for HTTPS, "t" for streams whose TLS ends here. */
static bool listener_is(const struct door_listener *l, const char *kind)
{
    return *kind ? l->protocol == DOOR_TLS && l->terminate : l->protocol == DOOR_HTTPS;
}

static void list_put(struct door *d, struct door_socket *s, const char *kind, struct map *now)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(map_fini) struct map members = MAP;
    char list[32];
    snprintf(list, sizeof list, "l%s_%s", kind, s->bind.name.z);
    array_each (l, &s->listeners)
        for (size_t i = 0; listener_is(*l, kind) && i < (*l)->ncertificates; i++) {
            const struct door_certificate *c = certificate_find(d, (*l)->certificates[i]);
            if (!c)
                continue;
            struct door_name name = door_cert_name(c->key);
            struct list_member *m = map_get(&members, DOOR_NAME(name));
            if (!m) {
                m = ARENA_NEW(&a, struct list_member);
                m->hosts = STRBUF(65536);
                map_put(&members, DOOR_NAME(name), m);
            }
            m->options = m->options.n ? m->options : member_options(&a, *l);
            member_hosts(m, *l, c);
        }
    map_each (e, &members) {
        struct list_member *m = e->value;
        struct str key = STR_JOIN(&a, str_of(list), S(" "), e->key);
        haproxy_list_put(d->proxy, list, e->key.p, m->options, m->all ? S("") : strbuf_str(&m->hosts));
        map_put(now, key, d);
        map_put(&d->lists, key, d);
        strbuf_fini(&m->hosts);
    }
}

/* What is shown to who names no host that is known is alone in a list before the others, and for no name. Without a
 * filter it would be shown for all that it names itself, whoever else has these hosts, and whatever their clients are
 * to show. */
static void none_list(struct door *d, struct door_socket *s, const char *kind, const char *name, struct map *lists)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char list[32];
    snprintf(list, sizeof list, "n%s_%s", kind, s->bind.name.z);
    struct str key = STR_JOIN(&a, str_of(list), S(" "), str_of(name));
    haproxy_list_put(d->proxy, list, name, S(""), S("!*"));
    map_put(lists, key, d);
    map_put(&d->lists, key, d);
}

/* The first certificate of a listener for all hosts, else ours. */
static void none_put(struct door *d, struct door_socket *s, const char *kind, struct map *now, struct map *lists)
{
    char name[32];
    snprintf(name, sizeof name, "d%s_%s", kind, s->bind.name.z);
    const struct door_certificate *c = NULL;
    array_each (l, &s->listeners)
        for (size_t i = 0;
             !c && listener_is(*l, kind) && !(*l)->own_default && !(*l)->hostname.n && i < (*l)->ncertificates; i++)
            c = certificate_find(d, (*l)->certificates[i]);
    AUTO(arena_fini) struct arena a = ARENA;
    cert_want(d, now, name, c ? STR_JOIN(&a, c->chain, S("\n"), c->private) : none_pem(d));
    none_list(d, s, kind, name, lists);
}

/* Certificates for a protocol of ALPN: where TLS ends at port 443, whoever's the host is otherwise. */
static void alpns_put(struct door *d, struct door_socket *s, struct map *certs, struct map *lists)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char list[32], none[32];
    bool any = false;
    snprintf(list, sizeof list, "la_%s", s->bind.name.z);
    snprintf(none, sizeof none, "da_%s", s->bind.name.z);
    map_each (e, &d->sources)
        array_each (x, &((struct door_source *)e->value)->part.alpns) {
            const struct door_certificate *c = certificate_find(d, x->certificate);
            if (!c || s->bind.port != 443 ||
                !(s->bind.has & (DOOR_HAS_HTTPS | DOOR_HAS_PASSED | DOOR_HAS_TERMINATED)))
                continue;
            struct door_name called = door_cert_name(c->key);
            struct str name = DOOR_NAME(called), key = STR_JOIN(&a, str_of(list), S(" "), name);
            haproxy_list_put(d->proxy, list, arena_strz(&a, name), S(""), x->host);
            map_put(lists, str_dup(&a, key), d);
            map_put(&d->lists, key, d);
            any = true;
        }
    if (any) {
        cert_want(d, certs, none, none_pem(d));
        none_list(d, s, "a", none, lists);
    }
    if (any != ((s->bind.has & DOOR_HAS_ALPN) != 0)) {
        s->bind.has ^= DOOR_HAS_ALPN;
        d->shape_changed = true;
    }
}

static void answers_put(struct door *d)
{
    AUTO(map_fini) struct map now = MAP;
    AUTO(arena_fini) struct arena a = ARENA;
    map_each (e, &d->sources) {
        struct door_source *s = e->value;
        array_each (w, &s->part.answers) {
            struct err err = ERR;
            struct str key = STR_JOIN(&a, w->host, w->path);
            bool ok = str_starts(w->path, S("/.well-known/")) ||
                      err_set(&err, E_INVALID, "answers are given below /.well-known/ alone");
            if ((!ok || !haproxy_map_put(d->proxy, "answers", key, STR_JOIN(&a, S("="), w->body), &err)) &&
                d->events.refused)
                d->events.refused(d->arg, s->name, w->path, &err);
            map_put(&now, key, d);
            map_put(&d->answers, key, d);
        }
    }
    map_each (e, &d->answers)
        if (!map_get(&now, e->key)) {
            haproxy_map_del(d->proxy, "answers", e->key);
            map_del(&d->answers, e->key);
        }
    if (map_len(&d->answers) && !d->answers_ever)
        d->answers_ever = d->shape_changed = true;
}

void door_certs_put(struct door *d)
{
    AUTO(map_fini) struct map certs = MAP;
    AUTO(map_fini) struct map lists = MAP;
    map_each (e, &d->sources)
        array_each (c, &((struct door_source *)e->value)->part.certificates) {
            AUTO(arena_fini) struct arena a = ARENA;
            cert_want(d, &certs, door_cert_name(c->key).z, STR_JOIN(&a, c->chain, S("\n"), c->private));
        }
    map_each (e, &d->sockets) {
        struct door_socket *s = e->value;
        for (const char *const *kind = (const char *const[]){"", "t", NULL}; *kind; kind++)
            if (s->bind.has & (**kind ? DOOR_HAS_TERMINATED : DOOR_HAS_HTTPS)) {
                none_put(d, s, *kind, &certs, &lists);
                list_put(d, s, *kind, &lists);
            }
        authorities_put(d, s, &certs);
        alpns_put(d, s, &certs, &lists);
    }
    map_each (e, &d->lists)
        if (!map_get(&lists, e->key)) {
            struct str list, cert;
            AUTO(arena_fini) struct arena a = ARENA;
            str_split(e->key, ' ', &list, &cert);
            haproxy_list_del(d->proxy, arena_strz(&a, list), arena_strz(&a, cert));
            map_del(&d->lists, e->key);
        }
    map_each (e, &d->certs)
        if (!map_get(&certs, e->key)) {
            haproxy_cert_del(d->proxy, e->key.p);
            map_del(&d->certs, e->key);
        }
    answers_put(d);
}
