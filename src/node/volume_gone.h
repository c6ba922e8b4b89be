/* volume_gone.h - types of volumes that the API still takes and no kubelet mounts any more: what it says of them.
 * Pure. */
#pragma once
#include "api/obj.h"
#include "base/err.h"

/* `source`: the pod's volume, or the spec of a PersistentVolume. gitRepo is none of them: its plugin is there, and
 * says that it is disabled. */
bool volume_is_gone(const struct val *source);
/* What is said of a volume for which there is no plugin; `name` is the pod's volume or the PersistentVolume. */
void volume_no_plugin(struct str name, struct err *err);
/* The whole message of the event. False: the volume is no gitRepo. */
bool volume_git_repo(struct arena *a, const struct val *volume, struct str *message);
