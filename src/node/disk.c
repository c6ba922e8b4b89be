#include "node/disk.h"
#include "base/log.h"
#include "node/csi_records.h"
#include "sys/child.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <time.h>

#define COMMAND_MOST_MS (150 * 1000) /* iscsid tries a login for two minutes */
#define PLACE_MOST      240          /* of a name of a file: a record adds a few bytes */

const struct disk_type *disk_type_of(const struct name *source)
{
    static const struct disk_type *const all[] = {&disk_iscsi, &disk_fc};
    for (size_t i = 0; i < countof(all); i++)
        if (all[i]->source == source)
            return all[i];
    return NULL;
}

bool disk_check(struct arena *a, const struct disk *d, struct err *err)
{
    struct str place = d->type->place(a, d), rest = place, part;
    size_t parts = 0;
    for (bool good = true; str_cut(&rest, '/', &part); parts++) {
        good = good && part.n && part.n <= PLACE_MOST && part.p[0] != '.' && !memchr(part.p, 0, part.n);
        if (!good || parts > 1)
            return err_set(err, E_INVALID, STR_FMT ": its names hold what no path may, or are longer than %d bytes",
                           STR_ARG(d->type->source->s), PLACE_MOST);
    }
    return true;
}

/* ---- one at a time */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    ARRAY(char *) keys; /* that are held */
} held = {.lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER};

static size_t key_find(struct str key)
{
    size_t i = 0;
    while (i < held.keys.n && !str_eqz(key, held.keys.p[i]))
        i++;
    return i;
}

void disk_lock(const struct disk *d)
{
    struct str key = d->type->key(d);
    if (!key.n)
        return;
    (void)pthread_mutex_lock(&held.lock); /* neither can fail: they are ours, and of the plain kind */
    while (key_find(key) < held.keys.n)
        (void)pthread_cond_wait(&held.freed, &held.lock);
    array_push(&held.keys, str_dupz(key));
    (void)pthread_mutex_unlock(&held.lock);
}

void disk_unlock(const struct disk *d)
{
    struct str key = d->type->key(d);
    if (!key.n)
        return;
    (void)pthread_mutex_lock(&held.lock); /* as above */
    size_t at = key_find(key);
    ASSERT(at < held.keys.n);
    mem_free(held.keys.p[at]);
    held.keys.p[at] = held.keys.p[--held.keys.n];
    if (!held.keys.n)
        array_fini(&held.keys);
    (void)pthread_cond_broadcast(&held.freed);
    (void)pthread_mutex_unlock(&held.lock);
}

/* ---- for the types */

int disk_command_run(struct disk_command *c, const char *const *argv, struct err *err)
{
    struct err failed = ERR;
    strbuf_reset(&c->said);
    int status = command_status(argv, S(""), &c->said, COMMAND_MOST_MS, &failed);
    if (status < 0 && failed.sys == ENOENT)
        (void)err_set(err, E_NOT_FOUND,
                      "exec: \"%s\": executable file not found in $PATH (Debian: apt-get install %s)", c->program,
                      c->package);
    else if (status)
        *err = failed;
    return status;
}

bool disk_stopped(const struct disk *d, struct err *err)
{
    if (!d->stop || !atomic_load(d->stop))
        return false;
    (void)err_set(err, E_CANCELLED, "no pod wants the volume any more");
    return true;
}

void disk_pause(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000000 / DISK_LOOKS_A_SECOND}, NULL); /* a shorter one: fine */
}

bool disk_is_shared(const struct disk *d, bool (*same)(const struct disk *d, struct str last))
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str_list places = {0};
    bool shared = false;
    csi_records_places(&a, d->folder, &places);
    array_each (at, &places.list)
        shared = shared ||
                 (!str_eq(*at, d->own) && same(d, str_sub(*at, (size_t)(str_rfind_char(*at, '/') + 1), at->n)));
    array_fini(&places.list);
    return shared;
}

static int disk_open(const struct disk *d, const struct device_name *device, int flags)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/dev/%s", d->root, device->z);
    return open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

bool disk_is_free(const struct disk *d, const struct device_name *device, struct err *err)
{
    AUTO(fd_close) int fd = disk_open(d, device, O_RDONLY | O_EXCL);
    return fd >= 0 || errno != EBUSY ||
           err_set(err, E_UNAVAILABLE, "device /dev/%s is still in use on this machine", device->z);
}

bool disk_remove(const struct disk *d, const struct device_name *device, struct err *err)
{
    AUTO(fd_close) int fd = disk_open(d, device, O_RDONLY);
    if (fd >= 0 && (fsync(fd) < 0 || ioctl(fd, BLKFLSBUF, 0) < 0)) /* it goes all the same, as with a kubelet */
        log_warn("disk.flush", "device=%s error=\"%s\"", device->z, strerror(errno));
    return scsi_forget(d->root, device, err);
}

bool disk_flush_multipath(const struct device_name *device, struct err *err)
{
    struct disk_command c = {"multipath", "multipath-tools", STRBUF(STRBUF_TEXT)};
    char path[sizeof device->z + 5];
    (void)snprintf(path, sizeof path, "/dev/%s", device->z);
    int status = disk_command_run(&c, (const char *const[]){"multipath", "-f", path, NULL}, err);
    bool ok = status == 0 || err_wrap(err, "failed to flush multipath device %s", path);
    strbuf_fini(&c.said);
    return ok;
}
