/* pods.h - which pod and container a person means: POD, pod/POD, deploy/web (one of its pods), -l. */
#pragma once
#include "cli/resource.h"

/* The pods of a target: the pod itself, or those that a workload's or Service's selector chooses: the running ones
 * first, those that are going last, else the oldest first. None is an error. */
MUST_USE bool pods_of(struct client *c, struct str word, struct val *list, struct err *err);
MUST_USE bool pods_selected(struct client *c, struct str selector, struct val *list, struct err *err);
/* The container that is meant where none is named: the annotation kubectl.kubernetes.io/default-container, else the
 * first. Says so on stderr where there are several. An unknown name is an error that lists them. */
MUST_USE bool container_of_pod(struct client *c, const struct val *pod, struct str named, struct str *out,
                               struct err *err);
