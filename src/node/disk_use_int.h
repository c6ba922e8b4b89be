/* disk_use_int.h - the counting itself, for its test. */
#pragma once
#include "node/disk_use.h"

/* Bytes and inodes of the folder and all below it on its file system. Blocking. */
void disk_part_count(const char *path, struct disk_use_part *p);
