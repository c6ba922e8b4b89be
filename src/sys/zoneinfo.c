#include "sys/zoneinfo.h"
#include "base/map.h"
#include "sys/file.h"
#include <fcntl.h>
#include <sys/stat.h>

#define FOLDER "/usr/share/zoneinfo"
#define OWN    "/etc/localtime"

struct zone_kept {
    struct zone *zone;
    struct timespec changed; /* of its file */
    ino_t file;              /* one that takes its place within a tick of the clock is another */
};
struct zoneinfo {
    char *folder;
    struct map kept; /* name -> struct zone_kept */
};

struct zoneinfo *zoneinfo_new(const char *folder)
{
    struct zoneinfo *z = NEW(struct zoneinfo);
    z->folder = str_dupz(str_of(folder ? folder : FOLDER));
    return z;
}

static void kept_free(struct zone_kept *k)
{
    if (k)
        zone_free(k->zone);
    mem_free(k);
}

void zoneinfo_free(struct zoneinfo *z)
{
    if (!z)
        return;
    map_each (it, &z->kept)
        kept_free(it->value);
    map_fini(&z->kept);
    mem_free(z->folder);
    mem_free(z);
}

static bool not_there(const struct zoneinfo *z, struct str name, struct err *err)
{
    struct stat st;
    bool installed = stat(z->folder, &st) == 0;
    return err_set(err, E_NOT_FOUND, "unknown time zone " STR_FMT "%s", STR_ARG(name),
                   installed ? "" : " (the package tzdata is not installed on the server's machine)");
}

static struct zone *file_zone(const char *path, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf bytes = STRBUF(ZONE_FILE_MAX);
    return file_read(AT_FDCWD, path, &bytes, err) ? zone_read(strbuf_str(&bytes), err) : NULL;
}

const struct zone *zoneinfo_get(struct zoneinfo *z, struct str name, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf path = STRBUF(4096);
    struct stat st;
    strbuf_addf(&path, "%s/" STR_FMT, z->folder, STR_ARG(name));
    bool found = name.n == 0 ? stat(OWN, &st) == 0 : zone_name_ok(name) && !path.over && stat(path.p, &st) == 0;
    if (!found || !S_ISREG(st.st_mode)) {
        if (name.n > 0 && !str_eq(name, S("UTC")))
            return not_there(z, name, err), NULL;
        st.st_mtim = (struct timespec){0};
        st.st_ino = 0;
        found = false;
    }
    struct zone_kept *k = map_get(&z->kept, name);
    if (k && k->file == st.st_ino && k->changed.tv_sec == st.st_mtim.tv_sec &&
        k->changed.tv_nsec == st.st_mtim.tv_nsec)
        return k->zone;
    struct zone *zone = found ? file_zone(name.n == 0 ? OWN : path.p, err) : zone_of_rule(S("UTC0"), err);
    if (!zone)
        return err_wrap(err, "time zone " STR_FMT, STR_ARG(name)), NULL;
    k = NEW(struct zone_kept);
    *k = (struct zone_kept){zone, st.st_mtim, st.st_ino};
    kept_free(map_put(&z->kept, name, k));
    return zone;
}
