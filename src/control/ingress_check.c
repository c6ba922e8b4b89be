/* What an Ingress names, against what is there: Secrets and what is in them, Services and their ports, and others
 * that have the same path, host or canary. */
#include "control/ingress.h"
#include "control/loadbalancer_int.h"
#include "control/pods.h"
#include "sys/cert.h"

/* ---- Secrets ---- */

static struct str secret_data(const struct obj *secret, const char *key)
{
    return val_raw(val_get_str(val_get(&secret->tree, N(data)), str_of(key)));
}

static bool secret_lacks(const struct obj *secret, const char *key, struct err *err)
{
    return err_set(err, E_INVALID, "Secret " STR_FMT "/" STR_FMT " has no %s", STR_ARG(secret->ns),
                   STR_ARG(secret->name), key);
}

#define PEM_MOST (1 << 20) /* as door_certificate has it */

bool ingress_certificate(const struct obj *secret, struct str *chain, struct str *key, struct err *err)
{
    struct str cert = secret_data(secret, "tls.crt"), private = secret_data(secret, "tls.key");
    AUTO(arena_fini) struct arena a = ARENA;
    struct cert_info info;
    if (cert.n == 0)
        return secret_lacks(secret, "tls.crt", err);
    if (private.n == 0)
        return secret_lacks(secret, "tls.key", err);
    if (cert.n > PEM_MOST || private.n > PEM_MOST)
        return err_set(err, E_INVALID, "Secret " STR_FMT "/" STR_FMT " is over 1 MiB", STR_ARG(secret->ns),
                       STR_ARG(secret->name));
    if (!cert_read(&a, cert, &info, err))
        return err_wrap(err, "tls.crt of Secret " STR_FMT "/" STR_FMT, STR_ARG(secret->ns), STR_ARG(secret->name));
    AUTO(key_free) struct cert_key *k = key_parse(private, err);
    if (!k)
        return err_wrap(err, "tls.key of Secret " STR_FMT "/" STR_FMT, STR_ARG(secret->ns), STR_ARG(secret->name));
    struct err unfit = ERR; /* in the words of the Secret's keys */
    if (!cert_fits_key(cert, k, &unfit))
        return err_set(err, E_INVALID, "tls.key of Secret " STR_FMT "/" STR_FMT " does not belong to its tls.crt",
                       STR_ARG(secret->ns), STR_ARG(secret->name));
    AUTO(strbuf_fini) struct strbuf some = STRBUF(2 * PEM_MOST); /* as the door writes them; not needed here */
    if (!cert_serves(cert, private, &some, &some, err))
        return err_wrap(err, "Secret " STR_FMT "/" STR_FMT, STR_ARG(secret->ns), STR_ARG(secret->name));
    *chain = cert;
    *key = private;
    return true;
}

bool ingress_authorities(const struct obj *secret, struct str *pem, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct cert_info info;
    *pem = secret_data(secret, "ca.crt");
    if (pem->n == 0)
        return secret_lacks(secret, "ca.crt", err);
    AUTO(strbuf_fini) struct strbuf some = STRBUF(PEM_MOST);
    return (cert_read(&a, *pem, &info, err) && cert_serves(*pem, S(""), &some, &some, err)) ||
           err_wrap(err, "ca.crt of Secret " STR_FMT "/" STR_FMT, STR_ARG(secret->ns), STR_ARG(secret->name));
}

bool ingress_users(const struct obj *secret, bool map, struct arena *a, struct str *lines, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PEM_MOST);
    if (!map) {
        *lines = secret_data(secret, "auth");
        return lines->n > 0 || secret_lacks(secret, "auth", err);
    }
    val_each_member (it, val_get(&secret->tree, N(data))) {
        struct str hash = str_trim(val_raw(&it->v));
        if (str_find_char(hash, '\n') < 0 && hash.n > 0)
            strbuf_addf(&b, STR_FMT ":" STR_FMT "\n", STR_ARG(it->name->s), STR_ARG(hash));
    }
    if (b.n == 0 || b.over)
        return err_set(err, E_INVALID, "Secret " STR_FMT "/" STR_FMT " has no user", STR_ARG(secret->ns),
                       STR_ARG(secret->name));
    *lines = str_dup(a, strbuf_str(&b));
    return true;
}

/* ---- TLS ---- */

/* What nobody may read is not said to be missing. */
static bool is_known(const struct view *v, const struct kind *k)
{
    return v->sets[k->id] != NULL;
}

struct ingress_checking {
    const struct view *v;
    struct arena *a;
    struct ingress *i;
};

static void say_certificate(struct ingress_checking *c, const struct obj *secret, const struct ingress_tls *t,
                            struct str field)
{
    struct str chain, key;
    struct err err = ERR;
    struct cert_info info;
    struct str type = val_text_at(&secret->tree, N(type));
    if (!str_eqz(type, "kubernetes.io/tls")) {
        ingress_remark(c->i, "CertificateInvalid", field,
                       arena_fmt(c->a,
                                 "Secret " STR_FMT "/" STR_FMT " is of type " STR_FMT ", and not kubernetes.io/tls",
                                 STR_ARG(secret->ns), STR_ARG(secret->name), STR_ARG(type)),
                       arena_fmt(c->a,
                                 "A type stays as it is: make the Secret anew (kubectl create secret tls " STR_FMT
                                 " -n " STR_FMT " --cert=FILE --key=FILE)",
                                 STR_ARG(secret->name), STR_ARG(secret->ns)))
            ->port = "CertificateInvalid";
        return;
    }
    if (!ingress_certificate(secret, &chain, &key, &err)) {
        ingress_remark(c->i, "CertificateInvalid", field, arena_fmt(c->a, "%s", err.text),
                       arena_fmt(c->a,
                                 "kubectl create secret tls " STR_FMT " -n " STR_FMT
                                 " --cert=FILE --key=FILE makes one that fits",
                                 STR_ARG(secret->name), STR_ARG(secret->ns)))
            ->port = "CertificateInvalid";
        return;
    }
    if (!cert_read(c->a, chain, &info, &err))
        return; /* it was read just now */
    if (info.not_after < c->v->now || info.not_before > c->v->now)
        ingress_remark(c->i, "CertificateExpired", field,
                       arena_fmt(c->a,
                                 "the certificate in Secret " STR_FMT "/" STR_FMT " %s; it is shown all the same",
                                 STR_ARG(secret->ns), STR_ARG(secret->name),
                                 info.not_after < c->v->now ? "has expired" : "is not valid yet"),
                       S("Put a new one into the Secret"))
            ->port = "CertificateExpired";
    int64_t turn = info.not_before > c->v->now ? info.not_before : info.not_after > c->v->now ? info.not_after : 0;
    if (turn > 0 && (c->i->again == 0 || turn < c->i->again))
        c->i->again = turn;
    for (size_t h = 0; h < t->nhosts; h++) {
        bool named = info.ndns == 0 && str_ieq(info.cn, t->hosts[h]);
        for (size_t d = 0; d < info.ndns; d++)
            named |= ingress_host_matches(info.dns[d], t->hosts[h]);
        if (!named)
            ingress_remark(c->i, "CertificateOfAnother", field,
                           arena_fmt(c->a,
                                     "the certificate in Secret " STR_FMT "/" STR_FMT " is not for " STR_FMT
                                     "; it is shown all the same",
                                     STR_ARG(secret->ns), STR_ARG(secret->name), STR_ARG(t->hosts[h])),
                           S("Put one into the Secret that names the host"));
    }
}

static void tls_check(struct ingress_checking *c)
{
    for (size_t n = 0; n < c->i->tls.n; n++) {
        const struct ingress_tls *t = &c->i->tls.p[n];
        struct str field = arena_fmt(c->a, "spec.tls[%zu]", n);
        if (t->secret.n == 0)
            continue;
        const struct obj *secret = view_get(c->v, K(Secret), c->i->o->ns, t->secret);
        if (secret)
            say_certificate(c, secret, t, field);
        else
            ingress_remark(c->i, "SecretMissing", field,
                           arena_fmt(c->a, "there is no Secret " STR_FMT " for " STR_FMT "%s", STR_ARG(t->secret),
                                     STR_ARG(t->nhosts ? t->hosts[0] : S("TLS")), t->nhosts > 1 ? " and others" : ""),
                           arena_fmt(c->a,
                                     "kubectl create secret tls " STR_FMT " -n " STR_FMT " --cert=FILE --key=FILE",
                                     STR_ARG(t->secret), STR_ARG(c->i->o->ns)))
                ->port = "SecretMissing";
        for (size_t h = 0; h < t->nhosts; h++) {
            const struct obj *other = ingress_tls_taken_by(c->v, c->i, t->secret, t->hosts[h]);
            if (other)
                ingress_remark(c->i, "CertificateOfAnother", field,
                               arena_fmt(c->a,
                                         "for " STR_FMT " the certificate of Ingress " STR_FMT "/" STR_FMT
                                         " is shown, which is older",
                                         STR_ARG(t->hosts[h]), STR_ARG(other->ns), STR_ARG(other->name)),
                               S("Name the same Secret in both, or take the host out of one"));
        }
    }
}

/* Secrets of annotations. What guards and cannot be had answers 503, until it can. */
static void named_check(struct ingress_checking *c, const char *annotation, struct str name, bool map,
                        bool authorities)
{
    if (name.n == 0)
        return;
    const struct obj *secret = view_get(c->v, K(Secret), c->i->o->ns, name);
    struct str field = arena_fmt(c->a, INGRESS_PREFIX_NGINX "%s", annotation), text;
    struct err err = ERR;
    if (!secret)
        ingress_remark(c->i, "SecretMissing", field,
                       arena_fmt(c->a, "there is no Secret " STR_FMT ", which %s names; its paths answer 503",
                                 STR_ARG(name), annotation),
                       S("Make the Secret"));
    else if (authorities ? !ingress_authorities(secret, &text, &err) : !ingress_users(secret, map, c->a, &text, &err))
        ingress_remark(c->i, "SecretInvalid", field,
                       arena_fmt(c->a, "%s, which %s names; its paths answer 503", err.text, annotation),
                       S("Mend the Secret"));
}

/* ---- backends ---- */

static struct str ports_of(struct arena *a, const struct obj *svc)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (p, val_get(obj_spec(svc), N(ports)))
        strbuf_addf(&b,
                    "%s%lld"
                    "%s" STR_FMT "%s",
                    b.n ? ", " : "", (long long)val_num_at(p, 0, N(port)), val_text_at(p, N(name)).n ? " (" : "",
                    STR_ARG(val_text_at(p, N(name))), val_text_at(p, N(name)).n ? ")" : "");
    return str_dup(a, strbuf_str(&b));
}

static bool has_port(const struct obj *svc, const struct ingress_backend *b)
{
    const struct val *ports = val_get(obj_spec(svc), N(ports));
    if (b->port_name.n == 0 && b->port == 0)
        return val_len(ports) > 0;
    if (str_eqz(val_text_at(obj_spec(svc), N(type)), "ExternalName"))
        return b->port_name.n == 0;
    val_each_item (p, ports)
        if (b->port_name.n ? str_eq(val_text_at(p, N(name)), b->port_name) : val_num_at(p, 0, N(port)) == b->port)
            return true;
    return false;
}

static void backend_check(struct ingress_checking *c, const struct ingress_backend *b, struct str field)
{
    const struct obj *svc = view_get(c->v, K(Service), c->i->o->ns, b->service);
    if (!svc) {
        ingress_remark(c->i, "ServiceMissing", field,
                       arena_fmt(c->a,
                                 "there is no Service " STR_FMT " in namespace " STR_FMT ", which " STR_FMT " names",
                                 STR_ARG(b->service), STR_ARG(c->i->o->ns), STR_ARG(field)),
                       arena_fmt(c->a, "Make it, or mend the name: kubectl edit ingress/" STR_FMT " -n " STR_FMT,
                                 STR_ARG(c->i->o->name), STR_ARG(c->i->o->ns)));
        return;
    }
    if (has_port(svc, b))
        return;
    struct str port = b->port_name.n ? b->port_name : arena_fmt(c->a, "%u", (unsigned)b->port);
    ingress_remark(
        c->i, "PortMissing", field,
        arena_fmt(c->a, "Service " STR_FMT " has no port " STR_FMT " (it has " STR_FMT "), which " STR_FMT " names",
                  STR_ARG(b->service), STR_ARG(port), STR_ARG(ports_of(c->a, svc)), STR_ARG(field)),
        arena_fmt(c->a, "Mend the port: kubectl edit ingress/" STR_FMT " -n " STR_FMT, STR_ARG(c->i->o->name),
                  STR_ARG(c->i->o->ns)));
}

/* Each once: an Ingress of thousands of paths has few. */
static void backends_check(struct ingress_checking *c)
{
    AUTO(map_fini) struct map told = MAP;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    array_each (p, &c->i->paths) {
        const struct ingress_backend *b = &p->backend;
        strbuf_reset(&key);
        strbuf_addf(&key, STR_FMT "/" STR_FMT "/%u", STR_ARG(b->service), STR_ARG(b->port_name), (unsigned)b->port);
        if (!map_put(&told, strbuf_str(&key), c) && !p->refused && !p->alias)
            backend_check(c, b, ingress_field(c->a, p));
    }
    if (c->i->set.default_backend.n > 0)
        backend_check(c, &(struct ingress_backend){.service = c->i->set.default_backend},
                      S(INGRESS_PREFIX_NGINX "default-backend"));
    struct str ns, name;
    if (c->i->set.mirror.n > 0 && str_split(c->i->set.mirror, '/', &ns, &name) &&
        !view_get(c->v, K(Service), ns, name))
        ingress_remark(
            c->i, "ServiceMissing", S(INGRESS_PREFIX_NGINX "mirror-target"),
            arena_fmt(c->a, "there is no Service " STR_FMT " in namespace " STR_FMT ", which mirror-target names",
                      STR_ARG(name), STR_ARG(ns)),
            S("Make it, or take the annotation away"));
}

/* ---- others ---- */

static void paths_check(struct ingress_checking *c)
{
    array_each (p, &c->i->paths) {
        if (p->alias)
            continue;
        const struct obj *other = ingress_taken_by(c->v, c->i, p);
        struct str field = ingress_field(c->a, p), host = p->host.n ? p->host : S("*");
        if (other)
            ingress_remark(c->i, "PathTaken", field,
                           arena_fmt(c->a,
                                     STR_FMT STR_FMT " is served by Ingress " STR_FMT "/" STR_FMT ", which is older",
                                     STR_ARG(host), STR_ARG(p->path), STR_ARG(other->ns), STR_ARG(other->name)),
                           S("Take the path out of one of them"));
        else if (c->i->set.canary && !p->fallback && !ingress_main_of(c->v, c->i->o, p))
            ingress_remark(c->i, "CanaryAlone", field,
                           arena_fmt(c->a,
                                     "it is the canary of no Ingress: none in namespace " STR_FMT
                                     " has " STR_FMT STR_FMT " as it has",
                                     STR_ARG(c->i->o->ns), STR_ARG(host), STR_ARG(p->path)),
                           S("Give it the host, the path and the pathType of the Ingress that it stands beside"));
    }
}

struct str ingress_front_refused(const struct view *v)
{
    const struct obj *front = view_get(v, K(Service), FRONT_NS, FRONT_NAME);
    const struct val *c = front ? condition_get(obj_status(front), CONDITION_ASSIGNED) : NULL;
    if (!str_eqz(val_text_at(c, N(status)), "False") || !str_eqz(val_text_at(c, N(reason)), "PortTaken") ||
        val_len(val_at(obj_status(front), N(loadBalancer), N(ingress))) > 0)
        return S("");
    return val_text_at(c, N(message));
}

static void front_check(struct ingress_checking *c)
{
    struct str refused = ingress_front_refused(c->v);
    if (refused.n > 0)
        ingress_remark(c->i, "AddressMissing", S("status.loadBalancer"),
                       arena_fmt(c->a, "the front door's Service kube-system/wherry-front has no address: " STR_FMT,
                                 STR_ARG(refused)),
                       S("Free the port, or let the Service have an address of its own by an AddressPool "
                         "(docs/addresses.md)"));
}

void ingress_check(const struct view *v, struct arena *a, struct ingress *i)
{
    struct ingress_checking c = {.v = v, .a = a, .i = i};
    if (i->class.server != INGRESS_OURS)
        return;
    paths_check(&c);
    if (is_known(v, K(Service))) {
        front_check(&c);
        backends_check(&c);
    }
    if (!is_known(v, K(Secret)))
        return;
    tls_check(&c);
    if (i->set.auth_basic)
        named_check(&c, "auth-secret", i->set.auth_secret, i->set.auth_map, false);
    named_check(&c, "auth-tls-secret", i->set.client_ca, false, true);
    if (i->set.ssl_verify)
        named_check(&c, "proxy-ssl-secret", i->set.ssl_secret, false, true);
}
