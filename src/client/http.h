/* http.h - the transport to an API server over HTTPS or a unix socket. One loop. */
#pragma once
#include "client/kubeconfig.h"
#include "client/transport.h"

struct http_transport_config {
    struct str server; /* "https://host:port", "http://host:port", "unix:/path" */
    struct str ca_pem; /* empty: the system's */
    struct str cert_pem, key_pem, token;
    struct str tls_server_name;
    bool insecure_skip_tls_verify;
    struct str user_agent;  /* "": "wherry" */
    struct str impersonate; /* Impersonate-User; "": nobody */
    /* Connected sockets instead of connections to the server (wire/http_client.h); NULL: none. */
    int (*dial)(void *arg, struct err *err);
    void *dial_arg;
};
/* Texts are copied. Fails where a certificate or key cannot be read. */
struct transport *http_transport_new(struct loop *l, const struct http_transport_config *c, struct err *err) MUST_USE;
/* The same as a kubeconfig's chosen context says. */
struct transport *http_transport_of(struct loop *l, const struct kubeconfig *k, struct err *err) MUST_USE;
