/* outbound.h - a server elsewhere that is asked over TLS before the answer to a request is known: an admission
 * webhook, a conversion. Where it is (a Service or a URL, admissionregistration.k8s.io/v1 WebhookClientConfig), whom
 * to trust, connections that are kept, and errors in the words of upstream's client, as people search for them.
 *
 * All on the loop of the server. HTTP/1.1 alone, so that concurrent questions reach all endpoints of a Service. */
#pragma once
#include "server/int.h"
#include "wire/http_client.h"

struct outbound;
struct outbound_config {
    struct str url;      /* "https://host[:port]/path"; "": the Service */
    struct str ns, name; /* of a Service */
    struct str path;     /* there; "": / */
    int port;            /* of the Service; 0: 443 */
    struct str ca;       /* PEM of whom to trust; "": the machine's authorities */
};
/* What cannot be asked is told by each question. Copied. */
struct outbound *outbound_new(struct server *s, const struct outbound_config *c) __attribute__((returns_nonnull));
/* Questions under way hold it. */
struct outbound *outbound_ref(struct outbound *o);
void outbound_unref(struct outbound *o);
AUTO_POINTER(outbound_unref, struct outbound);

/* One question: a POST of JSON. Ends once, by `done` or by outbound_cancel; done never comes from inside a call. */
struct outbound_call {
    struct outbound *outbound;
    struct http_call *http;
    struct timer timer; /* its end; at once where it could not be asked */
    struct str url;     /* as errors name it; in the caller's arena */
    struct err err;
    /* a: NULL where there is none; its status is 200 */
    void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err);
};
/* c lives until its end; body is copied; texts in the arena. */
void outbound_ask(struct outbound *o, struct outbound_call *c, struct arena *a, struct str body, int timeout_s,
                  void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err));
void outbound_cancel(struct outbound_call *c);
