/* grpc.h - unary calls of gRPC (over HTTP/2, plain, on a unix socket or over TCP): one message goes, one comes back,
 * or a status. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 *
 *   struct grpc_client *c = grpc_client_new(l, S("unix:/var/lib/kubelet/plugins/x/csi.sock"), S("wherry"));
 *   grpc_start(c, &me->call, S("/csi.v1.Identity/Probe"), request, 10 * NS_PER_S);
 *
 * A call is embedded in its owner and ends once, by `done` in a later turn, or by grpc_cancel. Calls of one client
 * share a connection, which is made when it is needed; one that meets a dead socket fails, and the next one begins
 * with a new connection. What never answers ends with its deadline. Knows no messages. One loop. */
#pragma once
#include "sys/loop.h"

#define GRPC_ANSWER_MOST ((size_t)4 << 20) /* of a message that comes, as grpc-go's */

/* https://grpc.io/docs/guides/status-codes; 17 and above are shown as Code(n) */
enum grpc_code {
    GRPC_OK,
    GRPC_CANCELLED,
    GRPC_UNKNOWN,
    GRPC_INVALID_ARGUMENT,
    GRPC_DEADLINE_EXCEEDED,
    GRPC_NOT_FOUND,
    GRPC_ALREADY_EXISTS,
    GRPC_PERMISSION_DENIED,
    GRPC_RESOURCE_EXHAUSTED,
    GRPC_FAILED_PRECONDITION,
    GRPC_ABORTED,
    GRPC_OUT_OF_RANGE,
    GRPC_UNIMPLEMENTED,
    GRPC_INTERNAL,
    GRPC_UNAVAILABLE,
    GRPC_DATA_LOSS,
    GRPC_UNAUTHENTICATED,
    GRPC_CODES,
};
/* As grpc-go prints them: "DeadlineExceeded". */
struct str grpc_code_name(struct arena *a, int code);

struct grpc_client;
struct http_call;
/* target: "unix:/path" or "host:port". agent: what it calls itself (user-agent). */
struct grpc_client *grpc_client_new(struct loop *l, struct str target, struct str agent)
    __attribute__((returns_nonnull));
bool grpc_greeted(const struct grpc_client *c); /* a server has said something in HTTP/2, whatever it was */
void grpc_client_free(struct grpc_client *c);   /* no call is under way; NULL is fine */
AUTO_POINTER(grpc_client_free, struct grpc_client);

struct grpc_call {
    void (*done)(struct grpc_call *k); /* may free the owner, or start it again */
    /* the answer, valid in `done` */
    int code;           /* enum grpc_code, or what the server says */
    bool answered;      /* the server has said so; else it could not be asked, or went away, or was too late */
    struct str message; /* of a status that is not OK: any bytes a server likes, as UTF-8 */
    struct str answer;  /* the message, of OK */
    /* ours */
    struct grpc_client *client;
    struct http_call *call; /* NULL: not under way */
    struct timer deadline;
};
/* method: "/package.Service/Method". request is copied. */
void grpc_start(struct grpc_client *c, struct grpc_call *k, struct str method, struct str request,
                int64_t timeout_ns);
void grpc_cancel(struct grpc_call *k); /* not under way: nothing happens */
bool grpc_active(const struct grpc_call *k);
/* "rpc error: code = NotFound desc = ...", as grpc-go shows an error; kind by the code. False. */
bool grpc_err(const struct grpc_call *k, struct err *err);

/* Pure, for the fuzz target: the message in the body of an answer; and a grpc-message as it was before it was
 * escaped, where its bytes are UTF-8 (others are replaced). */
MUST_USE bool grpc_unframe(struct str body, struct str *message, struct err *err);
struct str grpc_message_read(struct arena *a, struct str escaped);
