/* probe_http.h - HTTP probes and hooks as a kubelet makes them with Go's client: which URL a path becomes, what is
 * written, which redirects are followed, what an answer means. Servers that are not quite HTTP (bare line feeds, no
 * length, HTTP/1.0) are read as that client reads them. Pure: bytes in, bytes out; memory is the caller's arena. */
#pragma once
#include "base/err.h"
#include "base/str.h"

#define PROBE_BODY_MOST      (10 << 10) /* read of a body; then the status alone decides */
#define PROBE_HEAD_MOST      (64 << 10)
#define PROBE_REDIRECTS_MOST 10

enum probe_outcome {
    PROBED_OK,
    PROBED_WARNING, /* counts as a success, with an event */
    PROBED_STATUS,  /* an answer that says no */
    PROBED_FAILED,  /* no answer */
    PROBED_ERRORED, /* an answer that broke off */
    PROBED_UNKNOWN, /* it could not be asked */
};
const char *probe_outcome_word(enum probe_outcome o);
enum probe_outcome probe_outcome_of(struct str word); /* unknown: PROBED_FAILED */

struct probe_url {
    struct str scheme, authority; /* "http", "10.42.0.9:8080" */
    struct str opaque;            /* of "mailto:x": there is no host to ask */
    struct str path;              /* escaped; "" or begins with a slash */
    struct str query, fragment;   /* p NULL: none, not even empty ones */
};
/* The URL of a probe: `path` may be any reference (RFC 3986); its scheme and host give way to these. */
void probe_url(struct arena *a, struct str scheme, struct str host, int port, struct str path, struct probe_url *out);
struct str probe_url_text(struct arena *a, const struct probe_url *u);
/* "host:port" to connect to. */
struct str probe_url_address(struct arena *a, const struct probe_url *u);
/* Where `location` leads from u. False: it is no URL, err in Go's words. *other_host: it is not to be followed. */
MUST_USE bool probe_url_follow(struct arena *a, const struct probe_url *u, struct str location, struct probe_url *out,
                               bool *other_host, struct err *err);

/* headers: names and values in turn, as the pod says them. agent: "kube-probe/1.36". from: the URL that redirected
 * here, or NULL. */
struct str probe_request(struct arena *a, const struct probe_url *u, const struct str *headers, size_t n,
                         const char *agent, const struct probe_url *from);

enum probe_read { PROBE_MORE, PROBE_DONE, PROBE_BROKEN };
struct probe_answer_reader {
    int phase;
    int status;
    size_t seen; /* bytes of heads, or lines of chunks */
    bool http_1_0, any;
    int64_t left; /* of the body or chunk; -1: until the end */
    bool chunked;
    struct strbuf line, body, location; /* begun by probe_answer_begin */
    const char *broken;                 /* PROBE_BROKEN: Go's words, and what they are about */
    struct strbuf about;
    bool in_head; /* it broke before the head was over: there is no answer */
};
void probe_answer_begin(struct probe_answer_reader *r);
void probe_answer_fini(struct probe_answer_reader *r);
enum probe_read probe_answer_feed(struct probe_answer_reader *r, struct str bytes);
enum probe_read probe_answer_end(struct probe_answer_reader *r); /* the server closed */
/* What went wrong, in Go's words. */
struct str probe_answer_error(struct arena *a, const struct probe_answer_reader *r);
bool probe_answer_head_over(const struct probe_answer_reader *r); /* the status counts, what follows is the body */
bool probe_answer_redirects(const struct probe_answer_reader *r); /* to `location`, which may be empty */
