/* file.h - files, straight-line and blocking: for jobs, start-up and small files of local disks. */
#pragma once
#include "base/err.h"
#include <sys/types.h>

/* Adds the whole file to out; over out's limit is E_TOO_LARGE. dirfd: AT_FDCWD or a folder. */
MUST_USE bool file_read(int dirfd, const char *path, struct strbuf *out, struct err *err);
/* The same of a descriptor, from where it stands; path: for the error. */
MUST_USE bool file_read_fd(int fd, const char *path, struct strbuf *out, struct err *err);
/* Replaces the file by way of a new one beside it: fsync, rename, fsync of the folder. After a crash either the old
 * or the new content is there. */
MUST_USE bool file_write(int dirfd, const char *path, struct str content, mode_t mode, struct err *err);
/* The same without a sync, which costs milliseconds each: a reader sees the old or the new content, a power cut may
 * leave either, or neither. For what is made anew after a reboot anyway. */
MUST_USE bool file_replace(int dirfd, const char *path, struct str content, mode_t mode, struct err *err);
/* A file that a person named, to be written as a whole. Where there is a file or nothing, it is made beside it and
 * put in place by file_out_done: a reader sees the old or the new content, links to it stay, and its mode is `mode`.
 * What is no file (a device, a pipe, /dev/stdout) is written itself. */
struct file_out {
    int fd;
    char *path, *fresh; /* where links lead; NULL: it is written itself */
};
MUST_USE bool file_out_open(struct file_out *o, const char *path, mode_t mode, struct err *err);
MUST_USE bool file_out_done(struct file_out *o, struct err *err); /* it is on the disk */
void file_out_fini(struct file_out *o);                           /* not done: nothing stays of it */
AUTO_VALUE(file_out_fini, struct file_out);
/* The names in the folder that holds path are on the disk. */
MUST_USE bool folder_sync(int dirfd, const char *path, struct err *err);
MUST_USE bool write_all(int fd, struct str bytes, struct err *err);
/* Whether so many bytes may be written to this folder, where it lies in memory (tmpfs). What lies there is
 * everybody's: more than 64 KiB at once must leave a quarter of it for what is small. */
bool folder_has_room(int fd, uint64_t need);
/* Opens a path of whose last `parts` parts none may be a link: where strangers can write, a link would lead the node
 * to a file of its own. -1 with errno: not there, or one of them is a link (ELOOP). */
int file_open_below(const char *path, int parts, int flags, mode_t mode);
MUST_USE bool dir_make(const char *path, mode_t mode, struct err *err); /* with its parents; existing is fine */
/* The same, and the names of those that were made are on the disk: for folders of what must outlive a power cut (a
 * sync of a file says nothing about the folders above it). */
MUST_USE bool dir_make_synced(const char *path, mode_t mode, struct err *err);
/* Made where missing, and root's alone either way: what pods put below it, programs that are setuid among it, is
 * nobody else's on this machine to open or to run. */
MUST_USE bool dir_make_private(const char *path, struct err *err);
/* With all below it, following no link, and what is immutable (chattr +i) as well. E_CONFLICT where something is
 * mounted in it: no mount is entered. Not there is fine. */
MUST_USE bool tree_remove(int dirfd, const char *path, struct err *err);
/* The same, adding the bytes of disk that came free. However deep a stranger nested it, few descriptors and little
 * stack are used. */
MUST_USE bool tree_remove_counted(int dirfd, const char *path, int64_t *freed, struct err *err);
