/* stream_int.h - what stream.c and stream_open.c share: a stream from the inside. */
#pragma once
#include "base/array.h"
#include "sys/stream.h"
#include "sys/tls_int.h"

#define FOUND_MOST 8  /* addresses of a name that are tried */
#define TLS_READS  16 /* of the descriptor in a turn, two a record: also of records that hold nothing for us */

enum stream_state { LOOKING_UP, CONNECTING, SHAKING, OPEN, FAILED };

/* A piece of what is to be written. */
struct chunk {
    struct buf *buf;
    size_t cap; /* over 0: ours alone, may still grow to this */
};
/* A look-up outlives its stream when that goes away first. */
struct lookup {
    struct job job;
    struct stream *stream;
    char *host, *port;
    struct addr found[FOUND_MOST];
    size_t nfound, next;
    struct err err;
    bool done;
};
struct stream {
    struct loop *loop;
    const struct stream_fns *fns;
    void (*on_hangup)(struct stream *s);
    void *arg;
    int fd;
    enum stream_state state;
    int busy; /* callbacks under way */
    bool freed, lingering;
    bool read_paused, read_ended, ended_told, hangup_seen, more_to_read;
    bool read_writes; /* reading goes on when something can be written: TLS owes the other side an answer */
    bool end_wanted, end_done, write_blocked, over, opened_told, write_broken, closed_told, shake_writes;
    int64_t idle_ns, stall_ns, moved;
    struct poll poll;
    struct soon soon;
    struct timer timer; /* until opened, then idle, then lingering */
    SSL *ssl;
    int tls_reads; /* left in this turn */
    ARRAY(struct chunk) queue;
    size_t first, sent, queued; /* sent: of queue.p[first] */
    struct strbuf unread;
    struct err *err;
    struct lookup *lookup;
    struct tls_client *tls_client;
    const char *const *alpn; /* instead of tls_client's */
    char *name;              /* of the server, for messages and its certificate */
};

/* stream.c */
struct stream *stream_fresh(struct loop *l, const struct stream_fns *fns, void *arg);
struct err *stream_err(struct stream *s); /* made when it is asked for */
void stream_fail(struct stream *s);       /* stream_err says why; told in the loop's next quiet moment */
void stream_update(struct stream *s);     /* what the stream waits for, after anything changed */
void stream_watch_time(struct stream *s);
void stream_ready(struct poll *p, int ready);

/* stream_open.c */
void stream_shake(struct stream *s);
void stream_connect_ready(struct stream *s);
