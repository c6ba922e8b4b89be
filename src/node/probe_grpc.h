/* probe_grpc.h - gRPC probes: what is asked (grpc.health.v1.HealthCheckRequest), and what answers mean in a kubelet's
 * words. Pure. */
#pragma once
#include "base/str.h"

struct grpc_call;

/* The message that asks for a service; empty: for the server as a whole. */
struct str probe_grpc_request(struct arena *a, struct str service);
/* Empty: healthy; else why the probe has failed. k has ended. */
struct str probe_grpc_verdict(struct arena *a, const struct grpc_call *k);
/* Time is up. connected: the server was there, and has not answered. */
struct str probe_grpc_late(struct arena *a, bool connected, struct str address, int64_t timeout_ns);
