/* channels.h - the five byte streams of an exec or attach, however the client speaks: messages of a WebSocket that
 * begin with their channel ([v4.|v5.]channel.k8s.io, [v4.]base64.channel.k8s.io), or streams of SPDY/3.1
 * (v4.channel.k8s.io and older).
 *
 * `ready` comes once, when the client of SPDY has opened what it asked for; what is sent before that is lost. `gone`
 * comes once, when the client has left; the owner still frees. No callback comes after channels_free or
 * channels_finish, none from inside of a call. */
#pragma once
#include "wire/http_server.h"

enum { CHANNEL_IN, CHANNEL_OUT, CHANNEL_ERR, CHANNEL_STATUS, CHANNEL_RESIZE, CHANNELS };

struct channels;
struct channels_fns {
    void (*ready)(void *arg);
    void (*data)(void *arg, int channel, struct str bytes); /* of stdin or resize */
    void (*ended)(void *arg, int channel);                  /* the client writes no more on it */
    void (*drained)(void *arg);
    void (*gone)(void *arg);
};
bool channels_wanted(const struct http_request *r); /* the request asks for one of them */
/* A client of v5 hears about refusals over its error channel, others before the upgrade. */
bool channels_refusals_inside(const struct http_request *r);
/* Ends the request. want: stdin, stdout, stderr. NULL: it was answered with a refusal, or is gone. */
struct channels *channels_accept(struct http_request *r, struct loop *loop, const bool want[3], bool tty,
                                 const struct channels_fns *fns, void *arg);
bool channels_ready(const struct channels *c); /* of a WebSocket at once; then no `ready` comes */
void channels_send(struct channels *c, int channel, struct str bytes);
bool channels_over_high(const struct channels *c);
void channels_pause(struct channels *c, bool pause);
/* How it ended, and the end. status: a Status as JSON; message: its sentence, which is all that clients before v4 are
 * told; "" for success. Frees, once the client has read it. */
void channels_finish(struct channels *c, struct str status, struct str message);
void channels_free(struct channels *c); /* at once; NULL is fine */
