/* quota.h - project quotas: what a folder and all below it may take of an ext4 or xfs that is mounted with prjquota.
 * Blocking. */
#pragma once
#include "base/err.h"

/* The file system that `fd` lies on has them and holds everybody to them. */
bool quota_is_enforced(int fd);
/* The folder's project; what is made in it has it, too. 0: none. */
uint32_t quota_project(int folder);
MUST_USE bool quota_project_set(int folder, uint32_t project, struct err *err);
MUST_USE bool quota_limit_set(int fd, uint32_t project, int64_t bytes, struct err *err); /* 0: none any more */
MUST_USE bool quota_read(int fd, uint32_t project, int64_t *used, int64_t *limit, struct err *err);
