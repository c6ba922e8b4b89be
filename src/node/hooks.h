/* hooks.h - lifecycle handlers of a container (exec, httpGet, sleep), and small readings of its remains. */
#pragma once
#include "api/tree.h"
#include "oci/runtime.h"

/* Runs a core/v1 LifecycleHandler; done comes later from the loop, once. tcpSocket handlers are refused, as the API
 * has deprecated them. Nothing times out here: the caller's grace period bounds it. */
void hooks_run(struct loop *l, struct container *c, const struct val *handler, const struct val *container,
               struct str pod_ip, void (*done)(void *arg, bool ok, struct str message), void *arg);
/* A command as one text, its words separated by spaces. */
struct str hooks_words(struct arena *a, const struct val *list);
/* "SIGUSR1", "USR1", "10", "SIGRTMIN+3"; anything else is SIGTERM. */
int hooks_signal(struct str name);
/* The last lines of a CRI log without its prefixes, at most `lines` and `bytes`. */
struct str hooks_log_tail(struct arena *a, struct str path, size_t lines, size_t bytes);
/* A port of a container by number or by name; 0: there is none of that name. */
int hooks_port(const struct val *port, const struct val *container);
