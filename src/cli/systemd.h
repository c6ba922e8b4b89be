/* systemd.h - what is known of the machine's systemd, where there is one: its readiness protocol (sd_notify(3), a
 * datagram to a socket), the names of our units and where the control groups of pods live. Straight-line and
 * blocking, but for systemd_notify. */
#pragma once
#include "cli/settings.h"

#define UNIT_DIR      "/etc/systemd/system"
#define UNIT          "wherry.service"
#define UNIT_PODS     "wherry-pods.service"
#define UNIT_SHUTDOWN "wherry-shutdown.service"

bool systemd_runs(void); /* this machine was started by it */
/* "READY=1" and its like, to who started this process; without a $NOTIFY_SOCKET nothing happens. Does not block. */
void systemd_notify(const char *state);
/* Runs systemctl with up to three words. */
MUST_USE bool systemctl_run(const char *verb, const char *word, const char *word2, int timeout_ms, struct err *err);
/* One of our units is loaded and active, or on its way. */
bool systemd_unit_active(const char *unit);
/* The group below which the pods of this instance are: in the tree that wherry-pods.service was given by systemd
 * (pure v2), else at the root of the hierarchy. Pods that were started under another one keep it. */
struct str pods_group(struct arena *a, const struct settings *s);
