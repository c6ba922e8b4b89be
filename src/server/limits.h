/* limits.h - every bound of the API server, in one place; /metrics shows each as wherry_limit{name="..."}. */
#pragma once
#include "api/codec.h"
#include "wire/http1.h"
#include "wire/http_server.h"

/* What is stored, Events aside, where the settings max-objects and max-stored-mib do not say otherwise. */
#define LIMIT_OBJECTS      1000000
#define LIMIT_STORED_BYTES ((size_t)1 << 30)

/*    name                      value            what */
#define LIMIT_TABLE(X)                                                                                               \
    X(BODY_BYTES, 3145728, "bytes of a request body, as upstream")                                                   \
    X(BODIES_BYTES, 268435456, "bytes of all request bodies together; small ones always find room")                  \
    X(BODY_SECONDS, 60, "seconds in which a request body must have come")                                            \
    X(BODY_VALUES, CODEC_MAX_VALUES, "values in a request body: elements, members, texts, numbers")                  \
    X(WORK_STEPS, 1500000, "elements of long lists and maps that one write may look at")                             \
    X(URL_BYTES, 49152, "bytes of a request line")                                                                   \
    X(HEADER_BYTES, 65536, "bytes of a request's header")                                                            \
    X(HEADER_FIELDS, HTTP1_FIELDS_MOST, "fields of a request's header")                                              \
    X(QUERY_PARAMETERS, 256, "parameters of a query")                                                                \
    X(CONNECTIONS, 10000, "connections at a time, and as many requests under way")                                   \
    X(CONNECTIONS_PER_ADDRESS, 2500, "connections at a time from one address, and as many requests under way")       \
    X(HEAD_SECONDS, 10, "seconds in which a TLS handshake, and then the header of a request, must have come")        \
    X(IDLE_SECONDS, 180, "seconds that a connection may rest between requests")                                      \
    X(STALL_SECONDS, 60, "seconds that a client may take no byte of what waits for it")                              \
    X(ANSWERS_BYTES, 268435456, "bytes of answers waiting for their clients above which no large list is begun")     \
    X(COMPRESSED, 100, "answers that are compressed at a time, at a quarter of a MiB each; others go as they are")   \
    X(STREAMS, HTTP2_STREAMS_MOST, "requests under way at a time on one connection of HTTP/2")                       \
    X(CONNECTION_BUFFER, 8388608, "bytes waiting to be sent on one connection")                                      \
    X(WATCHERS, 20000, "watches at a time")                                                                          \
    X(WATCHERS_PER_USER, 2000, "and over HTTP of one user")                                                          \
    X(WATCHES_BYTES, 268435456, "bytes waiting for all watchers; of more, the slowest are cut")                      \
    X(HISTORY_CHANGES, 4096, "changes kept in memory for watches and lists that continue; older ones are read back") \
    X(HISTORY_BYTES, 4194304, "bytes those changes may take")                                                        \
    X(RETIRED_BYTES, 268435456, "bytes of replaced objects that slow lists and watches may hold; then some are cut") \
    X(WATCH_SECONDS_MIN, 1800, "seconds after which a watch without timeoutSeconds ends, at least")                  \
    X(WATCH_SECONDS_MAX, 3600, "and at most")                                                                        \
    X(ENCODED_BYTES, 16777216, "bytes of encodings kept with objects for whoever asks next")                         \
    X(BOOKMARK_SECONDS, 60, "seconds between bookmarks of a watch that wants them")                                  \
    X(EVENTS, 10000, "Events; of more, those written longest ago are deleted")                                       \
    X(EVENTS_BYTES, 67108864, "bytes that all Events may take; of more, the same")                                   \
    X(WRITES_WAITING, 10000, "writes waiting for their turn")                                                        \
    X(OUTBOUND, 64, "connections to one webhook at a time; further questions wait")                                  \
    X(REMOTE_DISCOVERY_BYTES, 1048576, "bytes in which an aggregated server tells what it serves")                   \
    X(REMOTE_OPENAPI_BYTES, 8388608, "bytes of a document of OpenAPI of an aggregated server")                       \
    X(OLD_READS, 2, "lists of an older revision that are put together at a time; others wait")                       \
    X(REVISION_WAIT_MS, 3000, "milliseconds to wait for a revision that is not there yet")                           \
    X(GENERATE_NAME_TRIES, 8, "names tried for generateName")                                                        \
    X(PROXY_SESSIONS, 1000, "sessions with nodes (logs, exec, port-forward) and servers of APIServices at a time")   \
    X(PROXY_SESSIONS_PER_USER, 400, "of these of one user")                                                          \
    X(MEASURED_WAITING, 1000, "requests that wait for what the node uses (metrics.k8s.io)")                          \
    X(REQUEST_SECONDS, 60, "seconds that the server of an APIService may take, unless it is asked for a stream")     \
    X(TOKEN_SECONDS_MIN, 600, "seconds a service account token lives at least")                                      \
    X(TOKEN_SECONDS_MAX, 31536000, "and at most")

enum {
#define X(name, value, what) LIMIT_##name = (value),
    LIMIT_TABLE(X)
#undef X
};
