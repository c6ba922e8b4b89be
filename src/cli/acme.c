#include "control/acme.h"
#include "base/clock.h"
#include "cli/args.h"
#include "cli/connect.h"
#include "cli/fields.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>

/* wherry acme: a ClusterIssuer that gets certificates by ACME, and how it and what it was asked for stand. */

#define DEFAULT_NAME "acme-default"
#define DEFAULT_NOTE "wherry.dev/is-default-issuer"
#define ISSUERS_PATH "/apis/cert-manager.io/v1/clusterissuers"

struct acme_options {
    struct connect_options to;
    struct str email, server, name, eab_kid, eab_key, eab_alg, ca_bundle, solver, profile, chain, fallback;
    struct str nameserver, tsig_name, tsig_alg, tsig_secret;
    bool not_default, insecure;
    int64_t timeout_ns, applied; /* the revision that this made */
    struct client *client;
};

#define AT(field) offsetof(struct acme_options, field)
static const struct arg_row rows[] = {
    {0, "email", ARG_TEXT, AT(email), "ADDRESS", "where the authority writes to when something is amiss"},
    {0, "server", ARG_TEXT, AT(server), "URL",
     "its directory, or letsencrypt (the default), letsencrypt-staging, zerossl, google, sslcom"},
    {0, "name", ARG_TEXT, AT(name), "NAME", "of the ClusterIssuer (" DEFAULT_NAME ")"},
    {0, "not-default", ARG_FLAG, AT(not_default), NULL, "it is not the one for who names none"},
    {0, "eab-kid", ARG_TEXT, AT(eab_kid), "ID", "an account elsewhere that this one is bound to"},
    {0, "eab-key", ARG_TEXT, AT(eab_key), "KEY",
     "its key, a file that holds it (with a / in its name), or - for stdin"},
    {0, "eab-algorithm", ARG_TEXT, AT(eab_alg), "NAME", "HS256, HS384 or HS512"},
    {0, "ca-bundle", ARG_TEXT, AT(ca_bundle), "FILE", "authorities that the server's own certificate is from"},
    {0, "skip-tls-verify", ARG_FLAG, AT(insecure), NULL, "do not look at the server's certificate (for tests)"},
    {0, "solver", ARG_TEXT, AT(solver), "WAY",
     "how names are proved: http01 (the default), tls-alpn-01, rfc2136, or hook (the setting acme-dns-hook)"},
    {0, "nameserver", ARG_TEXT, AT(nameserver), "ADDRESS", "rfc2136: the server that takes updates"},
    {0, "tsig-key-name", ARG_TEXT, AT(tsig_name), "NAME", "rfc2136: the key that signs them"},
    {0, "tsig-algorithm", ARG_TEXT, AT(tsig_alg), "NAME", "rfc2136: HMACSHA256 (the default), HMACSHA512 ..."},
    {0, "tsig-secret", ARG_TEXT, AT(tsig_secret), "FILE", "rfc2136: a file with the key in base64; - for stdin"},
    {0, "profile", ARG_TEXT, AT(profile), "NAME", "one of the profiles that the authority offers"},
    {0, "preferred-chain", ARG_TEXT, AT(chain), "NAME", "common name of the root that chains are to lead to"},
    {0, "fallback", ARG_TEXT, AT(fallback), "NAME,...", "other ClusterIssuers, asked where this one fails"},
    {0, "timeout", ARG_TIME, AT(timeout_ns), "TIME", "wait at most this long for the authority's answer (60s)"},
};
static const struct arg_spec spec = {
    .verb = "acme",
    .usage = "set --email ADDRESS | status",
    .summary = "Makes the ClusterIssuer that gets certificates by ACME, and says how its certificates stand.",
    .examples = "  wherry acme set --email you@example.org\n"
                "  wherry acme set --email you@example.org --server zerossl --eab-kid ID --eab-key /root/key\n"
                "  wherry acme status\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static const struct {
    const char *name, *url;
} servers[] = {
    {"letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"},
    {"letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"},
    {"zerossl", "https://acme.zerossl.com/v2/DV90"},
    {"google", "https://dv.acme-v02.api.pki.goog/directory"},
    {"sslcom", "https://acme.ssl.com/sslcom-dv-ecc"},
};

/* --- set --- */

static bool server_url(struct str given, struct str *url, struct err *err)
{
    *url = given;
    if (!given.n)
        given = S("letsencrypt");
    for (size_t i = 0; i < countof(servers); i++)
        if (str_eqz(given, servers[i].name))
            *url = str_of(servers[i].url);
    return str_starts(*url, S("https://")) ||
           err_set(err, E_INVALID,
                   "--server \"" STR_FMT
                   "\": must be a URL of https, or letsencrypt, letsencrypt-staging, zerossl, google or sslcom",
                   STR_ARG(given));
}

static bool file_text(struct acme_options *x, const char *option, struct str path, struct str *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    bool ok = file_read(AT_FDCWD, str_eqz(path, "-") ? "/dev/stdin" : arena_strz(&x->client->arena, path), &b, err);
    *out = str_dup(&x->client->arena, strbuf_str(&b));
    if (b.p)
        mem_wipe(b.p, b.n);
    return ok || err_wrap(err, "--%s", option);
}

static struct str base64_text(struct acme_options *x, struct str s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 << 20);
    strbuf_add_base64(&b, s.p, s.n);
    return str_dup(&x->client->arena, strbuf_str(&b));
}

static void text_put(struct acme_options *x, struct val *map, const char *key, struct str s)
{
    if (s.n)
        (void)val_set_str(&x->client->arena, map, str_of(key), val_str(&x->client->arena, s));
}

static void val_put(struct acme_options *x, struct val *map, const char *key, struct val v)
{
    (void)val_set_str(&x->client->arena, map, str_of(key), v);
}

static struct val object_of(struct acme_options *x, const char *api, const char *kind, struct str ns, struct str name)
{
    struct val v = val_map(), meta = val_map();
    text_put(x, &v, "apiVersion", str_of(api));
    text_put(x, &v, "kind", str_of(kind));
    text_put(x, &meta, "name", name);
    text_put(x, &meta, "namespace", ns);
    val_put(x, &v, "metadata", meta);
    return v;
}

static bool object_apply(struct acme_options *x, struct str path, const struct val *v, struct err *err)
{
    struct val made;
    return client_ask(x->client,
                      &(struct ask){.method = "PATCH",
                                    .path = path,
                                    .query = S("fieldManager=wherry-acme&force=true"),
                                    .content_type = S("application/apply-patch+yaml"),
                                    .body = v},
                      &made, err) &&
           (str_to_i64(field_text(&made, "metadata.resourceVersion"), 0, INT64_MAX, &x->applied) ||
            err_set(err, E_INTERNAL, "the answer has no resourceVersion"));
}

/* A Secret with one text, where those of ClusterIssuers lie. */
static bool secret_apply(struct acme_options *x, struct str name, struct str text, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val ns = object_of(x, "v1", "Namespace", S(""), S(ACME_CLUSTER_NS));
    struct val v = object_of(x, "v1", "Secret", S(ACME_CLUSTER_NS), name), data = val_map();
    text_put(x, &data, "secret", base64_text(x, str_trim(text)));
    val_put(x, &v, "data", data);
    return object_apply(x, S("/api/v1/namespaces/" ACME_CLUSTER_NS), &ns, err) &&
           object_apply(x, STR_JOIN(a, S("/api/v1/namespaces/" ACME_CLUSTER_NS "/secrets/"), name), &v, err);
}

static struct val secret_ref(struct acme_options *x, struct str name)
{
    struct val ref = val_map();
    text_put(x, &ref, "name", name);
    text_put(x, &ref, "key", S("secret"));
    return ref;
}

static bool binding_put(struct acme_options *x, struct val *acme, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct str key = x->eab_key, name = STR_JOIN(a, x->name, S("-eab"));
    struct val eab = val_map();
    if (!x->eab_kid.n && !key.n)
        return true;
    if (!x->eab_kid.n || !key.n)
        return err_set(err, E_INVALID, "--eab-kid and --eab-key are given together");
    bool file = str_eqz(key, "-") || str_find_char(key, '/') >= 0;
    if (file && !file_text(x, "eab-key", key, &key, err))
        return false;
    if (!secret_apply(x, name, key, err))
        return false;
    text_put(x, &eab, "keyID", x->eab_kid);
    text_put(x, &eab, "keyAlgorithm", x->eab_alg);
    val_put(x, &eab, "keySecretRef", secret_ref(x, name));
    val_put(x, acme, "externalAccountBinding", eab);
    return true;
}

static bool rfc2136_put(struct acme_options *x, struct val *dns, struct err *err)
{
    struct val zone = val_map();
    struct str secret, name = STR_JOIN(&x->client->arena, x->name, S("-tsig"));
    if (!x->nameserver.n)
        return err_set(err, E_INVALID, "--solver rfc2136 needs --nameserver");
    text_put(x, &zone, "nameserver", x->nameserver);
    if (x->tsig_name.n) {
        if (!x->tsig_secret.n)
            return err_set(err, E_INVALID, "--tsig-key-name needs --tsig-secret");
        if (!file_text(x, "tsig-secret", x->tsig_secret, &secret, err) || !secret_apply(x, name, secret, err))
            return false;
        text_put(x, &zone, "tsigKeyName", x->tsig_name);
        text_put(x, &zone, "tsigAlgorithm", x->tsig_alg.n ? x->tsig_alg : S("HMACSHA256"));
        val_put(x, &zone, "tsigSecretSecretRef", secret_ref(x, name));
    }
    val_put(x, dns, "rfc2136", zone);
    return true;
}

static bool solver_put(struct acme_options *x, struct val *acme, struct val *notes, struct err *err)
{
    struct val solver = val_map(), list = val_list(), part = val_map();
    bool alpn = str_ieq(x->solver, S("tls-alpn-01")) || str_ieq(x->solver, S("tlsalpn01"));
    if (!x->solver.n || str_ieq(x->solver, S("http01")) || str_ieq(x->solver, S("http-01")) || alpn) {
        val_put(x, &part, "ingress", val_map());
        val_put(x, &solver, "http01", part);
    } else if (str_ieq(x->solver, S("rfc2136"))) {
        if (!rfc2136_put(x, &part, err))
            return false;
        val_put(x, &solver, "dns01", part);
    } else if (str_ieq(x->solver, S("hook"))) {
        text_put(x, &part, "cnameStrategy", S("None"));
        val_put(x, &solver, "dns01", part);
    } else {
        return err_set(err, E_INVALID, "--solver \"" STR_FMT "\": must be http01, tls-alpn-01, rfc2136 or hook",
                       STR_ARG(x->solver));
    }
    if (alpn)
        text_put(x, notes, ACME_CHALLENGE_NOTE, S(ACME_TLS_ALPN));
    (void)val_add(&x->client->arena, &list, solver);
    val_put(x, acme, "solvers", list);
    return true;
}

static bool issuer_apply(struct acme_options *x, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val v = object_of(x, "cert-manager.io/v1", "ClusterIssuer", S(""), x->name), notes = val_map(),
               acme = val_map(), issuer = val_map(), key = val_map();
    struct str url, bundle = S("");
    if (!server_url(x->server, &url, err) ||
        (x->ca_bundle.n && !file_text(x, "ca-bundle", x->ca_bundle, &bundle, err)) ||
        !solver_put(x, &acme, &notes, err) || !binding_put(x, &acme, err))
        return false;
    if (!x->not_default)
        text_put(x, &notes, DEFAULT_NOTE, S("true"));
    text_put(x, &notes, ACME_ASKED_NOTE, time_text_micro(a, clock_real()));
    text_put(x, &notes, ACME_FALLBACK_NOTE, x->fallback);
    val_put(x, val_get_mut(&v, N(metadata)), "annotations", notes);
    text_put(x, &acme, "server", url);
    text_put(x, &acme, "email", x->email);
    text_put(x, &acme, "profile", x->profile);
    text_put(x, &acme, "preferredChain", x->chain);
    text_put(x, &acme, "caBundle", bundle.n ? base64_text(x, bundle) : S(""));
    if (x->insecure)
        val_put(x, &acme, "skipTLSVerify", val_bool(true));
    text_put(x, &key, "name", STR_JOIN(a, x->name, S("-account")));
    val_put(x, &acme, "privateKeySecretRef", key);
    val_put(x, &issuer, "acme", acme);
    val_put(x, &v, "spec", issuer);
    return object_apply(x, STR_JOIN(a, S(ISSUERS_PATH "/"), x->name), &v, err);
}

static const struct val *ready_of(const struct val *object)
{
    val_each_item (c, field_at(object, "status.conditions"))
        if (str_eqz(field_text(c, "type"), "Ready"))
            return c;
    return NULL;
}

/* What the authority says; a refusal from before this was asked does not count. */
static enum observed issuer_seen(const struct val *object, void *arg, struct err *err)
{
    struct acme_options *x = arg;
    const struct val *ready = object ? ready_of(object) : NULL;
    if (!object)
        return err_set(err, E_NOT_FOUND, "it is not there any more"), OBSERVE_FAILED;
    if (!ready || field_num(ready, "observedGeneration", 0) < field_num(object, "metadata.generation", 1))
        return OBSERVE_ON;
    bool no = !str_eqz(field_text(ready, "status"), "True");
    int64_t rev = 0;
    if (no && str_to_i64(field_text(object, "metadata.resourceVersion"), 0, INT64_MAX, &rev) && rev <= x->applied)
        return OBSERVE_ON;
    if (no)
        return err_set(err, E_UNAVAILABLE, STR_FMT, STR_ARG(field_text(ready, "message"))), OBSERVE_FAILED;
    output_show(stdout, "clusterissuer/" STR_FMT " is ready: " STR_FMT "\n", STR_ARG(x->name),
                STR_ARG(field_text(object, "status.acme.uri")));
    return OBSERVE_DONE;
}

/* There is one for who names none. */
static bool others_unmark(struct acme_options *x, struct err *err)
{
    struct val list, patch = val_map(), meta = val_map(), notes = val_map();
    struct arena *a = &x->client->arena;
    if (x->not_default)
        return true;
    if (!client_ask(x->client, &(struct ask){.path = S(ISSUERS_PATH)}, &list, err))
        return false;
    val_put(x, &notes, DEFAULT_NOTE, VAL_NONE);
    val_put(x, &meta, "annotations", notes);
    val_put(x, &patch, "metadata", meta);
    val_each_item (v, field_at(&list, "items")) {
        struct str name = field_text(v, "metadata.name");
        if (str_eq(name, x->name) || !val_get_str(field_at(v, "metadata.annotations"), S(DEFAULT_NOTE)))
            continue;
        if (!client_ask(x->client,
                        &(struct ask){.method = "PATCH",
                                      .path = STR_JOIN(a, S(ISSUERS_PATH "/"), name),
                                      .content_type = S("application/merge-patch+json"),
                                      .body = &patch},
                        NULL, err))
            return false;
    }
    return true;
}

static int acme_set(struct acme_options *x)
{
    struct client *c = x->client;
    const struct resource *r;
    struct err err = ERR;
    if (!x->email.n)
        return err_set(&err, E_INVALID, "--email is needed: authorities write to it when something is amiss"),
               client_failed(c, &err), 2;
    if (!client_open(c, &x->to, &err) || !issuer_apply(x, &err) || !others_unmark(x, &err) ||
        !resource_find(c, S("clusterissuers.cert-manager.io"), &r, &err) ||
        !object_observe(c, r, S(""), x->name, issuer_seen, x, x->timeout_ns, &err))
        return err_wrap(&err, "clusterissuer/" STR_FMT, STR_ARG(x->name)), client_failed(c, &err);
    return 0;
}

/* --- status --- */

static void issuers_print(struct acme_options *x, const struct val *list)
{
    AUTO(table_fini) struct table t = {.columns = 5};
    const char *const heads[] = {"ISSUER", "READY", "DEFAULT", "SERVER", "MESSAGE"};
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, str_of(heads[i]));
    val_each_item (v, field_at(list, "items")) {
        const struct val *ready = ready_of(v);
        struct str note = val_text(val_get_str(field_at(v, "metadata.annotations"), S(DEFAULT_NOTE)));
        if (!field_at(v, "spec.acme"))
            continue;
        table_add(&t, field_text(v, "metadata.name"));
        table_add(&t, ready ? field_text(ready, "status") : S("Unknown"));
        table_add(&t, str_eqz(note, "true") ? S("yes") : S(""));
        table_add(&t, field_text(v, "spec.acme.server"));
        table_add(&t, ready ? field_text(ready, "message") : S("nobody has looked at it yet"));
    }
    if (t.cells.n > t.columns)
        table_print(&t, 0, stdout);
    else
        output_show(stdout, "There is no ClusterIssuer for ACME: wherry acme set --email ADDRESS makes one.\n");
    (void)x;
}

static void orders_print(struct acme_options *x, const struct val *orders, const struct val *challenges)
{
    AUTO(table_fini) struct table t = {.columns = 4};
    const char *const heads[] = {"ORDER", "STATE", "CHALLENGES", "REASON"};
    struct arena *a = &x->client->arena;
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, str_of(heads[i]));
    val_each_item (o, field_at(orders, "items")) {
        struct str state = field_text(o, "status.state"), why = field_text(o, "status.reason");
        size_t all = 0, valid = 0;
        if (str_eqz(state, "valid"))
            continue;
        val_each_item (c, field_at(challenges, "items")) {
            if (!str_eq(field_text(val_item(field_at(c, "metadata.ownerReferences"), 0), "uid"),
                        field_text(o, "metadata.uid")))
                continue;
            all++;
            valid += str_eqz(field_text(c, "status.state"), "valid");
            if (!why.n)
                why = field_text(c, "status.reason");
        }
        table_add(&t, STR_JOIN(a, field_text(o, "metadata.namespace"), S("/"), field_text(o, "metadata.name")));
        table_add(&t, state.n ? state : S("waiting"));
        table_add(&t, arena_fmt(a, "%zu/%zu", valid, all));
        table_add(&t, why);
    }
    if (t.cells.n > t.columns) {
        output_show(stdout, "\n");
        table_print(&t, 0, stdout);
    }
}

static int acme_status(struct acme_options *x)
{
    struct client *c = x->client;
    struct val issuers, orders, challenges;
    struct err err = ERR;
    if (!client_open(c, &x->to, &err) || !client_ask(c, &(struct ask){.path = S(ISSUERS_PATH)}, &issuers, &err) ||
        !client_ask(c, &(struct ask){.path = S("/apis/acme.cert-manager.io/v1/orders")}, &orders, &err) ||
        !client_ask(c, &(struct ask){.path = S("/apis/acme.cert-manager.io/v1/challenges")}, &challenges, &err))
        return client_failed(c, &err);
    issuers_print(x, &issuers);
    orders_print(x, &orders, &challenges);
    return 0;
}

int acme_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "acme"};
    struct acme_options x = {.client = &c, .timeout_ns = 60 * NS_PER_S, .name = S(DEFAULT_NAME)};
    struct words words;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (words.n == 1 && str_eqz(words.p[0], "set"))
        return acme_set(&x);
    if (words.n == 1 && str_eqz(words.p[0], "status"))
        return acme_status(&x);
    output_show(stderr, "wherry acme: it is wherry acme set --email ADDRESS, or wherry acme status\n");
    return 2;
}
