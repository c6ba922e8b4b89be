#include "node/volume_image.h"
#include "sys/file.h"
#include "sys/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define OPTIONS_MOST 4096 /* mount(2) takes one page of them */

/* Layers are named by descriptors: their paths would fill that page after some thirty. */
struct layers {
    int fds[IMAGE_LAYERS_MAX + 1];
    size_t n;
};

static void layers_close(struct layers *l)
{
    for (size_t i = 0; i < l->n; i++)
        fd_close(l->fds[i]);
}

static bool layer_add(struct layers *l, int dir, const char *path, struct strbuf *options, struct err *err)
{
    int fd = openat(dir, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", path);
    strbuf_addf(options, "%s/proc/self/fd/%d", l->n ? ":" : "lowerdir=", fd);
    l->fds[l->n++] = fd;
    return true;
}

/* An overlay has two layers or more: an empty folder is the lowest. */
static bool options_make(const struct content *c, const struct image *im, const char *empty, struct layers *l,
                         struct strbuf *out, struct err *err)
{
    for (size_t i = im->nlayers; i-- > 0;) { /* overlayfs names the upmost first */
        char path[DIGEST_HEX + 16];
        (void)snprintf(path, sizeof path, "layers/%s", im->layers[i].hex);
        if (!layer_add(l, c->fd, path, out, err))
            return false;
    }
    if (!layer_add(l, AT_FDCWD, empty, out, err))
        return false;
    strbuf_addz(out, ",userxattr");
    return !out->over || err_set(err, E_TOO_LARGE, "the image has %zu layers: too many for one mount", im->nlayers);
}

bool volume_image_mount(const struct content *c, const struct image *im, const char *target, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf options = STRBUF(OPTIONS_MOST - 1);
    AUTO(strbuf_fini) struct strbuf empty = STRBUF(4096);
    struct layers l = {.n = 0};
    if (!dir_make(target, 0700, err))
        return false;
    if (mount_is_point(target))
        return true;
    strbuf_addz(&empty, target);
    *strrchr(empty.p, '/') = 0;
    empty.n = strlen(empty.p);
    strbuf_addz(&empty, "/.empty"); /* beside the volumes, no name of any */
    if (mkdir(empty.p, 0755) < 0 && errno != EEXIST)
        return err_errno(err, "mkdir %s", empty.p);
    const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    bool ok = options_make(c, im, empty.p, &l, &options, err);
    if (ok && im->nlayers == 0)
        ok = mount(empty.p, target, NULL, MS_BIND, NULL) == 0 &&
             mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | flags, NULL) == 0;
    else if (ok)
        ok = mount("overlay", target, "overlay", flags, options.p) == 0;
    else
        return layers_close(&l), false;
    int failed = errno;
    layers_close(&l);
    errno = failed;
    return ok || err_errno(err, "mount the image at %s", target);
}
