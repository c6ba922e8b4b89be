/* strategy_int.h - what the files strategy_*.c share: the functions that single kinds have beside what their rows
 * say. */
#pragma once
#include "api/defaults_int.h"
#include "api/strategy.h"

/* Takes the member from old, or removes it where old has none. */
void member_keep(struct arena *a, struct val *v, const struct val *old, const struct name *name);
#define KEEP(a, v, old, field) member_keep((a), (v), (old), N(field))
/* An empty list, map or text is as good as none. */
bool member_same(const struct val *x, const struct val *y, const struct name *name);
#define SAME(x, y, field) member_same((x), (y), N(field))

/* As kind_prepare_create and kind_prepare_update say, for one kind. */
typedef void strategy_create(struct arena *a, struct val *v, int64_t now);
typedef void strategy_update(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now);

strategy_create strategy_create_apiservice, strategy_create_crd, strategy_create_csr, strategy_create_daemonset,
    strategy_create_job, strategy_create_lease, strategy_create_namespace, strategy_create_pod, strategy_create_pv,
    strategy_create_pvc, strategy_create_service, strategy_create_slice;
strategy_update strategy_update_crd, strategy_update_csr, strategy_update_daemonset, strategy_update_deployment,
    strategy_update_lease, strategy_update_namespace, strategy_update_pod, strategy_update_pv, strategy_update_pvc,
    strategy_update_service;
