/* relay_proto.h - what node and relay say to each other, on one SOCK_SEQPACKET unix socket. The node listens, the
 * relay connects; a relay that is started again connects again and all that was under way is over.
 *
 * A message is a list of texts, each ended by a NUL; the first is its name, the second the id of what it is about,
 * given by who asks. Descriptors ride with it (SCM_RIGHTS). At most 64 KiB.
 *
 * The node asks:
 *   probe ID http|hook|tcp HOST PORT TIMEOUT_MS https|http PATH [NAME VALUE]...
 *   probe ID grpc HOST PORT TIMEOUT_MS http SERVICE
 *                                                    -> probed ID ok|warning|status|failed|errored|unknown TEXT
 * The relay tells: taken 0 TEXT                     the node's HTTPS port (10250) is somebody else's
 * The relay asks; each is answered by `refused ID HTTP-STATUS TEXT` or as said:
 *   logs ID NS POD CONTAINER current|previous        -> logs ID RUN running|ended  +fd: folder of its log files
 *                                                       then, once: ended ID CODE TEXT (the container is over)
 *   exec ID NS POD CONTAINER tty|pipes ROWS COLUMNS STDIO ARG...   +fds: those of 0, 1, 2 that STDIO ("012") names
 *                                                    -> started ID  [+fd: the terminal's other side]
 *                                                       then ended ID CODE TEXT
 *   attach ID NS POD CONTAINER STDIO                 +fds as for exec  -> started ID, then ended ID CODE TEXT
 *   resize ID ROWS COLUMNS                           of an attach; no answer
 *   file ID PATH                                     -> file ID  +fd: what is there below the node's /var/log
 *   forward ID NS POD PORT                           -> socket ID  +fd: a TCP socket in the pod's network, not yet
 *                                                       connected
 *   figures ID KIND                                  +fd: a pipe for the text (figures.h)  -> figures ID: it is all
 *                                                       written; KIND: relay_figures_word
 *   forget ID                                        nobody is interested any more; no answer */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "node/figures.h"

#define RELAY_MESSAGE_MOST 65536
#define RELAY_TEXTS_MOST   2048

struct relay_message {
    struct str texts[RELAY_TEXTS_MOST];
    size_t n;
};
/* Splits; false: not a message (no final NUL, no id, too many texts). Borrows from `bytes`. */
MUST_USE bool relay_parse(struct str bytes, struct relay_message *out);
/* Whether the other side will understand it: neither too long nor too many texts. */
bool relay_fits(const struct strbuf *b);
/* Adds one text to a message being made; texts with a NUL inside are cut there. */
void relay_add(struct strbuf *b, struct str text);
void relay_addf(struct strbuf *b, const char *fmt, ...) PRINTF(2, 3);

/* What figures are called between the two: "summary", "resource" ... */
const char *relay_figures_word(enum figures_kind kind);
MUST_USE bool relay_figures_kind(struct str word, enum figures_kind *out);

#define RELAY_FDS_MOST     3
#define RELAY_WAITING_MOST (8 << 20) /* bytes of messages that wait for the other side */

/* Messages that the other side has not taken yet: one that is busy, or many at once, end no connection. */
struct relay_queue {
    struct list messages;
    size_t bytes;
};
void relay_queue_init(struct relay_queue *q);
void relay_queue_fini(struct relay_queue *q); /* what waits is thrown away; it may be used on */
bool relay_queue_waits(const struct relay_queue *q);
/* Now, or after all that waits. fds stay the caller's. False: the connection is broken, or too much waits. */
MUST_USE bool relay_queue_send(struct relay_queue *q, int socket, struct str bytes, const int *fds, size_t nfds,
                               struct err *err);
/* Sends what the socket takes of what waits. False: the connection is broken. */
MUST_USE bool relay_queue_flush(struct relay_queue *q, int socket, struct err *err);
