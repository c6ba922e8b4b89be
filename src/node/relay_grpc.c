/* relay_grpc.c - one gRPC probe: grpc.health.v1.Health/Check, over a connection of its own, and said in a kubelet's
 * words (kubelet: probe/grpc). The client there waits for its connection as long as the probe may last, trying again
 * while nobody listens, so a port that is closed is told as a timeout.
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md */
#include "node/probe_grpc.h"
#include "node/relay_int.h"
#include "wire/grpc.h"

#define REDIAL NS_PER_S /* grpc's connection back-off begins with it */

struct grpc_probing {
    struct relay *relay;
    char id[24];
    struct str address, request;
    int64_t timeout_ns;
    struct timer whole, redial; /* all of it; until the next attempt */
    struct grpc_client *client;
    struct grpc_call call;
    struct arena arena;
};

static void probing_over(struct grpc_probing *p, struct str failure)
{
    relay_probed(p->relay, str_of(p->id), failure.n ? PROBED_FAILED : PROBED_OK, failure);
    timer_stop(&p->whole);
    timer_stop(&p->redial);
    grpc_cancel(&p->call);
    grpc_client_free(p->client);
    arena_fini(&p->arena);
    mem_free(p);
}

static void probing_late(struct grpc_probing *p)
{
    probing_over(p, probe_grpc_late(&p->arena, grpc_greeted(p->client), p->address, p->timeout_ns));
}

static void on_whole(struct timer *t)
{
    probing_late(container_of(t, struct grpc_probing, whole));
}

static void on_done(struct grpc_call *k)
{
    struct grpc_probing *p = container_of(k, struct grpc_probing, call);
    if (k->code == GRPC_DEADLINE_EXCEEDED && !k->answered)
        probing_late(p);
    else if (k->code == GRPC_UNAVAILABLE && !k->answered && !grpc_greeted(p->client))
        timer_set(&p->redial, REDIAL); /* if there is that much time */
    else
        probing_over(p, probe_grpc_verdict(&p->arena, k));
}

static void on_redial(struct timer *t)
{
    struct grpc_probing *p = container_of(t, struct grpc_probing, redial);
    grpc_start(p->client, &p->call, S("/grpc.health.v1.Health/Check"), p->request, p->timeout_ns);
}

void relay_probe_grpc(struct relay *r, struct str id, struct str host, int port, int64_t timeout_ns,
                      struct str service)
{
    struct grpc_probing *p = NEW(struct grpc_probing);
    p->relay = r;
    (void)snprintf(p->id, sizeof p->id, STR_FMT, STR_ARG(id));
    p->timeout_ns = timeout_ns;
    p->address = str_find_char(host, ':') >= 0 ? arena_fmt(&p->arena, "[" STR_FMT "]:%d", STR_ARG(host), port)
                                               : arena_fmt(&p->arena, STR_FMT ":%d", STR_ARG(host), port);
    p->request = probe_grpc_request(&p->arena, service);
    p->client = grpc_client_new(r->loop, p->address, S("kube-probe/1.36"));
    p->call.done = on_done;
    timer_init(&p->whole, r->loop, on_whole);
    timer_init(&p->redial, r->loop, on_redial);
    timer_set(&p->whole, timeout_ns);
    on_redial(&p->redial);
}
