/* authn.h - who asks: a client certificate of our CA (CN is the user, O the groups), or a service account token. Any
 * thread. Tokens are JWTs signed with ES256 and bound to an account, and to a pod, secret or node where they say so:
 * they are good as long as those live. */
#pragma once
#include "server/request.h"
#include "wire/http_server.h"

/* The user of a request, in the arena; a token comes in Authorization or, of a WebSocket, among its protocols
 * (base64url.bearer.authorization.k8s.io.TOKEN). False: 401, a bearer token that is none of ours or not good any
 * more; a request without one is anonymous. */
MUST_USE bool user_authenticate(struct server *s, struct arena *a, const struct http_request *h, struct user *out);
/* The protocols that a WebSocket's client offers, parted by ", ", without the one that carries its token: that is
 * given in *token, in base64url (STR_NONE: none). */
struct str protocols_offered(struct arena *a, const struct http_headers *h, struct str *token);

/* Checks a token for the audiences (NULL-terminated by n; none: the server's own). `good` gets those it is good for.
 * E_UNAUTHORIZED says why not. */
MUST_USE bool token_check(struct server *s, struct arena *a, struct str token, const struct val *audiences,
                          struct user *out, struct val *good, struct err *err);
struct token_spec {
    const struct obj *account;
    const struct val *audiences; /* list; empty: the server's own */
    int64_t seconds;
    struct str bound_kind; /* "" or Pod, Secret, Node */
    struct str bound_name, bound_uid;
    struct str node_name, node_uid; /* of a bound pod */
};
/* A token, and when it ends (real ns). */
MUST_USE bool token_make(struct server *s, struct arena *a, const struct token_spec *t, struct str *token,
                         int64_t *until, struct err *err);
struct str token_issuer(const struct server *s);
void token_jwks(struct server *s, struct strbuf *out); /* /openid/v1/jwks */
/* system:serviceaccount:NS:NAME with its groups, for requests from inside; in the arena. */
struct user user_service_account(struct arena *a, struct str ns, struct str name);
/* TokenReview's and SelfSubjectReview's form of a user. */
struct val user_tree(struct arena *a, const struct user *u);
