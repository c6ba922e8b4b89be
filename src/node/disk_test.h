/* disk_test.h - for tests: a folder in place of /sys and /dev, and records of volumes. */
#pragma once
#include "base/test.h"
#include "sys/file.h"
#include <fcntl.h>
#include <unistd.h>

struct disk_world {
    const char *root;
    struct arena a;
};

static inline const char *disk_world_path(struct disk_world *w, const char *path)
{
    struct str p = arena_fmt(&w->a, "%s/%s", w->root, path);
    struct err err = ERR;
    CHECK_OK(dir_make(arena_strz(&w->a, str_sub(p, 0, (size_t)str_rfind_char(p, '/'))), 0755, &err), err);
    return p.p;
}

static inline void disk_world_put(struct disk_world *w, const char *path, const char *text)
{
    struct err err = ERR;
    CHECK_OK(file_replace(AT_FDCWD, disk_world_path(w, path), str_of(text), 0755, &err), err);
}

static inline void disk_world_link(struct disk_world *w, const char *path, const char *to)
{
    CHECK(symlink(to, disk_world_path(w, path)) == 0);
}

static inline struct str disk_world_get(struct disk_world *w, const char *path)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err err = ERR;
    CHECK_OK(file_read(AT_FDCWD, disk_world_path(w, path), &b, &err), err);
    return str_dup(&w->a, strbuf_str(&b));
}

static inline void disk_world_init(struct disk_world *w)
{
    *w = (struct disk_world){.root = test_dir()};
}

static inline void disk_world_fini(struct disk_world *w)
{
    arena_fini(&w->a);
}

/* host: of SCSI; address and port: where the target really is; persistent: where it was looked for. */
static inline void disk_world_session(struct disk_world *w, int host, int session, const char *iqn,
                                      const char *address, const char *port, const char *persistent_address,
                                      const char *persistent_port)
{
    const char *const attributes[][2] = {{"address", address},
                                         {"port", port},
                                         {"persistent_address", persistent_address},
                                         {"persistent_port", persistent_port}};
    struct str at = arena_fmt(&w->a, "sys/class/iscsi_host/host%d/device/session%d", host, session);
    disk_world_put(w, arena_fmt(&w->a, STR_FMT "/iscsi_session/session%d/targetname", STR_ARG(at), session).p,
                   arena_fmt(&w->a, "%s\n", iqn).p);
    for (size_t i = 0; i < countof(attributes); i++)
        disk_world_put(w,
                       arena_fmt(&w->a, STR_FMT "/connection%d:0/iscsi_connection/connection%d:0/%s", STR_ARG(at),
                                 session, session, attributes[i][0])
                           .p,
                       arena_fmt(&w->a, "%s\n", attributes[i][1]).p);
    disk_world_put(w, arena_fmt(&w->a, "sys/class/scsi_host/host%d/scan", host).p, "");
}
