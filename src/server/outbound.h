/* outbound.h - a server elsewhere that is asked over TLS: an admission webhook, a conversion, the server behind an
 * APIService. Where it is (a Service or a URL, admissionregistration.k8s.io/v1 WebhookClientConfig), whom to trust
 * and who we are, connections that are kept, and errors in the words of upstream's client, as people search for them.
 *
 * All on the loop of the server. HTTP/1.1 alone, so that concurrent questions reach all endpoints of a Service. */
#pragma once
#include "server/int.h"
#include "wire/http_client.h"

struct outbound;
struct outbound_config {
    struct str url;          /* "https://host[:port]/path"; "": the Service */
    struct str ns, name;     /* of a Service */
    struct str path;         /* there; "": / */
    int port;                /* of the Service; 0: 443 */
    struct str ca;           /* PEM of whom to trust; "": the machine's authorities */
    bool insecure;           /* trust whoever answers */
    struct str cert, key;    /* PEM of who we are; "": nobody */
    bool by_address;         /* it hears, and errors say, the address of the Service and not its name */
    size_t connections_most; /* 0: LIMIT_OUTBOUND */
};
/* What cannot be asked is told by each question. Copied. */
struct outbound *outbound_new(struct server *s, const struct outbound_config *c) __attribute__((returns_nonnull));
/* The same of a clientConfig (WebhookClientConfig). */
struct outbound *outbound_of_client(struct server *s, const struct val *client) __attribute__((returns_nonnull));
/* Questions under way hold it. */
struct outbound *outbound_ref(struct outbound *o);
void outbound_unref(struct outbound *o);
AUTO_POINTER(outbound_unref, struct outbound);

/* Connections to an address of it. Whoever has something under way on them holds it: the Service may have got another
 * address meanwhile. */
struct outbound_line {
    int refs;
    struct tls_client *tls;
    struct http_client *client;
    struct str address; /* "10.43.0.7:443" */
    struct str host;    /* the Host field */
};
/* To where it is now; a reference. NULL: it is nowhere, or cannot be trusted. */
struct outbound_line *outbound_line(struct outbound *o, struct arena *a, struct err *err);
void outbound_line_unref(struct outbound_line *l); /* NULL is fine */
AUTO_POINTER(outbound_line_unref, struct outbound_line);
/* A failed call's reason, as upstream's client would have told it. */
void outbound_reason(struct strbuf *b, const struct outbound_line *l, const struct err *err);

/* One question. Ends once, by `done` or by outbound_cancel; done never comes from inside a call. */
struct outbound_call {
    struct outbound *outbound;
    struct outbound_line *line; /* NULL: it could not be asked */
    struct http_call *http;
    struct timer timer; /* its end; at once where it could not be asked */
    struct str url;     /* as errors name it; in the caller's arena */
    const char *method; /* the same: "Post" */
    bool any_status;
    bool reached; /* it was known where to ask */
    void *arg;    /* the caller's; set after it was sent */
    int status;   /* of a head that is all that was wanted; 0: not yet */
    struct err err;
    /* a: NULL where there is none */
    void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err);
};
struct outbound_question {
    struct str method;                  /* "GET" */
    struct str path;                    /* and query */
    const struct http_headers *headers; /* NULL: none */
    struct str content_type, body;
    size_t most;     /* bytes of an answer; 0: LIMIT_BODY_BYTES */
    bool head_only;  /* the answer's head is the answer: of its body nothing is read */
    bool any_status; /* every status is an answer; else 200 to 299 alone */
    int timeout_s;
};
/* c lives until its end; what is asked is copied; texts in the arena. */
void outbound_send(struct outbound *o, struct outbound_call *c, struct arena *a, const struct outbound_question *q,
                   void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err));
/* A POST of JSON to its path, as a webhook is asked. */
void outbound_ask(struct outbound *o, struct outbound_call *c, struct arena *a, struct str body, int timeout_s,
                  void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err));
void outbound_cancel(struct outbound_call *c);
