/* pki.h - the keys of a cluster: its CA, the key that signs service account tokens, the keys that seal secrets, the
 * CA of the front proxy, and the leaf certificates made from them. Keys are made at the first boot and never again: a
 * missing one where there is data is an error that names the file. Leaves are made anew at every start and before
 * they expire.
 *
 * The front proxy is the server itself where it passes requests on to servers behind APIServices: these trust its CA
 * by the ConfigMap extension-apiserver-authentication (trust.h), so it has one of its own, that vouches for nothing
 * else, and a lost one may be made anew.
 *
 *   ROOT/etc/wherry/keys/{ca.key,ca.crt,service-account.key,seal.keys}      0600, folder 0700
 *   ROOT/etc/wherry/keys/{front-proxy-ca.key,front-proxy-ca.crt}            the same
 *   ROOT/etc/wherry/{admin,node}.kubeconfig                                 0600 */
#pragma once
#include "store/store.h"
#include "sys/cert.h"
#include "sys/tls.h"
#include "wire/jwt.h"

struct keys {
    struct arena arena;
    struct cert_key *ca, *tokens, *proxy_ca;
    struct jwt_seen seen; /* of the loop that serves; a second loop brings its own */
    struct str ca_pem, proxy_ca_pem;
    struct strbuf proxy_cert, proxy_key; /* of the front proxy, as PEM */
    struct store_seal_key seal[8];
    size_t nseal;
    const char *etc;           /* ROOT/etc/wherry */
    int64_t made_at, renew_at; /* real ns: of the leaves, and when they are to be made again */
};
struct leaf_names {
    const struct str *dns, *ips;
    size_t ndns, nips;
};
#define LEAF_DAYS        365
#define FRONT_PROXY_NAME "front-proxy-client" /* the CN of its certificate */

/* fresh: there is no data yet, so keys may be made. Blocking. */
struct keys *keys_open(const char *root, bool fresh, struct err *err) MUST_USE;
void keys_free(struct keys *k); /* wipes; NULL is fine */
AUTO_POINTER(keys_free, struct keys);
/* Another leaf for a server, as which a node answers (CN system:node:NAME, O system:nodes). */
MUST_USE bool keys_node(struct keys *k, struct str cn, const struct leaf_names *n, struct strbuf *cert,
                        struct strbuf *key, struct err *err);
/* A serving certificate and its key for these names, as PEM. */
MUST_USE bool keys_serving(struct keys *k, const struct leaf_names *n, struct strbuf *cert, struct strbuf *key,
                           struct err *err);
/* The front proxy's certificate, anew; keys_open has made the first. */
MUST_USE bool keys_front_proxy(struct keys *k, struct err *err);
/* Whether leaves are to be made again: they grow old, or the clock was set back to before they are valid. */
bool keys_stale(const struct keys *k);
/* Writes the admin's and the node's kubeconfig with new client certificates. server: "https://HOST:PORT". */
MUST_USE bool keys_kubeconfigs(struct keys *k, const char *server, const char *node_name, struct err *err);
