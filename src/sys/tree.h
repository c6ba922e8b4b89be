/* tree.h - a walk through all that lies below a folder where others may be writing: nothing is followed, no other
 * file system is entered, what goes meanwhile is passed over. Blocking. */
#pragma once
#include "base/err.h"
#include <sys/stat.h>

/* What is done with each: fd is of O_PATH, so a change goes by /proc/self/fd/FD or with AT_EMPTY_PATH. */
typedef bool tree_visit(void *arg, int fd, const struct stat *st, struct err *err);
/* Whatever is below `root` (a descriptor of any kind, of a folder or a file), and at last what it is itself. */
MUST_USE bool tree_each(int root, tree_visit *visit, void *arg, struct err *err);
