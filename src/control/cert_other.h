/* cert_other.h - a cert-manager of the user's own in the cluster: where it runs it acts, and we do not. Pure. */
#pragma once
#include "control/plan.h"

/* Its controllers hold this Lease while they run, and give it back when they end. */
#define CERT_MANAGER_LEASE_NS "kube-system"
#define CERT_MANAGER_LEASE    "cert-manager-controller"

/* Who holds it; "": nobody, or not for an hour. */
struct str cert_manager_running(const struct view *v);
