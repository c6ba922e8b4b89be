#include "node/volume.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/fault.h"
#include "node/volume_gone.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define PAYLOAD_MAX (32 << 20)
#define HUGE_PAGES  "HugePages"
#define FILE_MODE   0644

void volume_files_fini(struct volume_files *f)
{
    array_fini(&f->list);
    map_fini(&f->paths);
}

/* --- what a volume holds ------------------------------------------------------------------------------------- */

/* The path without empty parts and "."; false: it is absolute, leads out, or is a name of ours. */
static bool path_clean(struct arena *a, struct str path, struct str *out)
{
    char *to = arena_alloc(a, path.n + 1);
    size_t n = 0;
    struct str part;
    if (!path.n || path.p[0] == '/' || memchr(path.p, 0, path.n))
        return false;
    while (str_cut(&path, '/', &part)) {
        if (!part.n || str_eqz(part, "."))
            continue;
        if (str_eqz(part, "..") || (!n && str_starts(part, S(".."))))
            return false;
        if (n)
            to[n++] = '/';
        memcpy(to + n, part.p, part.n);
        n += part.n;
    }
    to[n] = 0;
    *out = (struct str){to, n};
    return n > 0;
}

/* Projected volumes: the later source of a path wins. What it covers counts all the same. */
static bool add_file(struct volume_files *out, const struct volume_input *in, struct str path,
                     struct volume_file file, struct err *err)
{
    if (!path_clean(out->arena, path, &file.path))
        return err_set(err, E_INVALID, "path \"" STR_FMT "\": must be relative, without \"..\"", STR_ARG(path));
    *in->used += file.path.n + file.bytes.n;
    if (*in->used > VOLUME_FILES_MOST)
        return err_set(err, E_TOO_LARGE,
                       "the files of the pod's volumes come to more than %d MiB: mount each object once, or fewer of "
                       "their keys",
                       VOLUME_FILES_MOST >> 20);
    file.bytes = str_dup(out->arena, file.bytes);
    size_t at = (size_t)(uintptr_t)map_get(&out->paths, file.path);
    if (at) {
        out->list.p[at - 1] = file;
        return true;
    }
    array_push(&out->list, file);
    (void)map_put(&out->paths, file.path, (void *)(uintptr_t)out->list.n);
    return true;
}

static struct volume_file file_of(struct str bytes, int64_t mode)
{
    return (struct volume_file){.bytes = bytes, .mode = (uint32_t)mode, .uid = -1};
}

static bool add_members(struct volume_files *out, const struct volume_input *in, const struct val *members,
                        int64_t mode, struct err *err)
{
    val_each_member (m, members)
        if (!add_file(out, in, m->name->s, file_of(source_bytes(&m->v), mode), err))
            return false;
    return true;
}

/* `ref`: ConfigMap or Secret source with items, optional; the name stands in `name`. */
static bool add_object(struct volume_files *out, const struct volume_input *in, const struct kind *kind,
                       const struct val *ref, struct str name, int64_t mode, struct err *err)
{
    const struct obj *o;
    bool optional = val_true(val_get(ref, N(optional)));
    const struct val *items = val_get(ref, N(items));
    if (!source_object(in->sources, kind, in->pod->ns, name, optional, &o, err))
        return false;
    if (!o)
        return true;
    if (!val_len(items))
        return add_members(out, in, val_get(&o->tree, N(data)), mode, err) &&
               add_members(out, in, val_get(&o->tree, N(binaryData)), mode, err);
    val_each_item (item, items) {
        struct str key = val_text_at(item, N(key));
        const struct val *v = source_member(o, key);
        if (!v && optional)
            continue;
        if (!v)
            return err_set(err, E_NOT_FOUND, "%s references non-existent %s key: " STR_FMT,
                           kind == K(Secret) ? "secret" : "configmap", kind == K(Secret) ? "secret" : "config",
                           STR_ARG(key));
        if (!add_file(out, in, val_text_at(item, N(path)), file_of(source_bytes(v), val_num_at(item, mode, N(mode))),
                      err))
            return false;
    }
    return true;
}

static bool add_downward(struct volume_files *out, const struct volume_input *in, const struct val *items,
                         int64_t mode, struct err *err)
{
    val_each_item (item, items) {
        struct str text = S("");
        const struct val *field = val_get(item, N(fieldRef)), *resource = val_get(item, N(resourceFieldRef));
        if (field && !source_field(out->arena, in->sources, in->pod, val_text_at(field, N(fieldPath)), &text, err))
            return false;
        if (resource && !source_resource(out->arena, in->sources, obj_spec(in->pod), resource, S(""), &text, err))
            return false;
        if (!add_file(out, in, val_text_at(item, N(path)), file_of(text, val_num_at(item, mode, N(mode))), err))
            return false;
    }
    return true;
}

static bool config_map_payload(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                               struct err *err)
{
    const struct val *src = val_get(volume, N(configMap));
    return add_object(out, in, K(ConfigMap), src, val_text_at(src, N(name)),
                      val_num_at(src, FILE_MODE, N(defaultMode)), err);
}

static bool secret_payload(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                           struct err *err)
{
    const struct val *src = val_get(volume, N(secret));
    return add_object(out, in, K(Secret), src, val_text_at(src, N(secretName)),
                      val_num_at(src, FILE_MODE, N(defaultMode)), err);
}

static bool downward_payload(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                             struct err *err)
{
    const struct val *src = val_get(volume, N(downwardAPI));
    return add_downward(out, in, val_get(src, N(items)), val_num_at(src, FILE_MODE, N(defaultMode)), err);
}

/* The user that all containers run as; -1: not all say one, or they differ (kubelet: FsUserFrom). */
static int64_t common_user(const struct val *spec)
{
    static const struct name *const lists[] = {N(initContainers), N(containers)};
    int64_t user = -1;
    for (size_t i = 0; i < countof(lists); i++) {
        val_each_item (c, val_get(spec, lists[i])) {
            int64_t own = val_num_at(c, val_num_at(spec, -1, N(securityContext), N(runAsUser)), N(securityContext),
                                     N(runAsUser));
            if (own < 0 || (user >= 0 && user != own))
                return -1;
            user = own;
        }
    }
    return user;
}

/* A token is for who runs the pod, where it says who that is; else for whom the volume's mode says. */
static struct volume_file token_of(const struct volume_input *in, struct str token, int64_t mode)
{
    const struct val *spec = obj_spec(in->pod);
    int64_t user = common_user(spec);
    bool own = user >= 0 || val_at(spec, N(securityContext), N(fsGroup));
    return (struct volume_file){.bytes = token, .mode = own ? 0600 : (uint32_t)mode, .uid = user};
}

static bool projected_source(struct volume_files *out, const struct volume_input *in, const struct val *one,
                             int64_t mode, struct err *err)
{
    const struct val *s;
    struct str token;
    if ((s = val_get(one, N(configMap))))
        return add_object(out, in, K(ConfigMap), s, val_text_at(s, N(name)), mode, err);
    if ((s = val_get(one, N(secret))))
        return add_object(out, in, K(Secret), s, val_text_at(s, N(name)), mode, err);
    if ((s = val_get(one, N(downwardAPI))))
        return add_downward(out, in, val_get(s, N(items)), mode, err);
    if ((s = val_get(one, N(serviceAccountToken))))
        return in->token(in->arg, in->pod, val_text_at(s, N(audience)), val_num_at(s, 3600, N(expirationSeconds)),
                         &token, err) &&
               add_file(out, in, val_text_at(s, N(path)), token_of(in, token, mode), err);
    return true; /* others were refused with the pod: volume_type_of */
}

/* All that is missing is named at once. */
static bool projected_payload(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                              struct err *err)
{
    const struct val *src = val_get(volume, N(projected));
    int64_t mode = val_num_at(src, FILE_MODE, N(defaultMode));
    AUTO(strbuf_fini) struct strbuf wrong = STRBUF(STRBUF_TEXT);
    size_t nwrong = 0;
    struct err first = ERR;
    val_each_item (one, val_get(src, N(sources))) {
        struct err its = ERR;
        if (projected_source(out, in, one, mode, &its))
            continue;
        if (its.kind == E_UNAVAILABLE) { /* it may be there; news of it comes */
            *err = its;
            return false;
        }
        if (!nwrong++)
            first = its;
        strbuf_addf(&wrong, "%s%s", nwrong > 1 ? ", " : "", its.text);
    }
    if (nwrong > 1)
        return err_set(err, first.kind, "[" STR_FMT "]", STR_ARG(strbuf_str(&wrong)));
    *err = first;
    return !nwrong;
}

/* A kubelet has all of them but ConfigMaps on a tmpfs, whose root is sticky. */
static const struct volume_type volume_types[] = {
    {N(emptyDir), VOLUME_DATA, 0777, NULL},
    {N(hostPath), VOLUME_HOST, 0, NULL},
    {N(configMap), VOLUME_TMPFS, 0777, config_map_payload},
    {N(secret), VOLUME_TMPFS, 01777, secret_payload},
    {N(downwardAPI), VOLUME_TMPFS, 01777, downward_payload},
    {N(projected), VOLUME_TMPFS, 01777, projected_payload},
    {N(persistentVolumeClaim), VOLUME_MOUNT, 0, NULL},
    {N(ephemeral), VOLUME_MOUNT, 0, NULL},
    {N(nfs), VOLUME_MOUNT, 0, NULL},
    {N(csi), VOLUME_MOUNT, 0, NULL},
    {N(iscsi), VOLUME_MOUNT, 0, NULL},
    {N(fc), VOLUME_MOUNT, 0, NULL},
    {N(flexVolume), VOLUME_MOUNT, 0, NULL},
    /* of drivers that took over from what was built in (api/csi_source.h) */
    {N(awsElasticBlockStore), VOLUME_MOUNT, 0, NULL},
    {N(azureDisk), VOLUME_MOUNT, 0, NULL},
    {N(azureFile), VOLUME_MOUNT, 0, NULL},
    {N(cinder), VOLUME_MOUNT, 0, NULL},
    {N(gcePersistentDisk), VOLUME_MOUNT, 0, NULL},
    {N(portworxVolume), VOLUME_MOUNT, 0, NULL},
    {N(vsphereVolume), VOLUME_MOUNT, 0, NULL},
    {N(image), VOLUME_IMAGE, 0, NULL},
};
/* What is told of these is told where volumes are mounted, as by a kubelet (volume_gone.h). */
static const struct volume_type gone_type = {N(gitRepo), VOLUME_MOUNT, 0, NULL};

/* The first member that is none of `known`; NULL where there is none. */
static const struct member *stranger_in(const struct val *v, const struct name *const *known, size_t nknown)
{
    val_each_member (m, v) {
        size_t i = 0;
        while (i < nknown && known[i] != m->name)
            i++;
        if (i == nknown)
            return m;
    }
    return NULL;
}

static bool refuse_sources(const struct val *volume, struct err *err)
{
    static const struct name *const known[] = {N(configMap), N(secret), N(downwardAPI), N(serviceAccountToken)};
    val_each_item (one, val_at(volume, N(projected), N(sources))) {
        const struct member *m = stranger_in(one, known, countof(known));
        if (m)
            return err_set(err, E_NOT_IMPLEMENTED,
                           "volume \"" STR_FMT "\": projected.sources: " STR_FMT
                           " is not supported yet: use configMap, secret, downwardAPI or serviceAccountToken",
                           STR_ARG(val_text_at(volume, N(name))), STR_ARG(m->name->s));
    }
    return true;
}

const struct volume_type *volume_type_of(const struct val *volume, struct err *err)
{
    static const struct volume_type in_memory = {N(emptyDir), VOLUME_MEMORY, 01777, NULL};
    if (str_eq(val_text_at(volume, N(emptyDir), N(medium)), S("Memory")))
        return &in_memory;
    static const struct volume_type in_pages = {N(emptyDir), VOLUME_MEMORY, 0777, NULL};
    struct str medium = val_text_at(volume, N(emptyDir), N(medium));
    if (str_starts(medium, S(HUGE_PAGES)))
        return &in_pages;
    for (size_t i = 0; i < countof(volume_types); i++)
        if (val_get(volume, volume_types[i].source))
            return refuse_sources(volume, err) ? &volume_types[i] : NULL;
    if (volume_is_gone(volume) || val_get(volume, gone_type.source))
        return &gone_type;
    static const struct name *const known[] = {N(name)};
    const struct member *asked = stranger_in(volume, known, 1);
    AUTO(strbuf_fini) struct strbuf have = STRBUF(1000);
    for (size_t i = 0; i < countof(volume_types); i++)
        strbuf_addf(&have, "%s" STR_FMT, i ? ", " : "", STR_ARG(volume_types[i].source->s));
    (void)err_set(err, E_NOT_IMPLEMENTED,
                  "volume \"" STR_FMT "\": " STR_FMT " is not supported yet; there are: " STR_FMT,
                  STR_ARG(val_text_at(volume, N(name))), STR_ARG(asked ? asked->name->s : S("a volume of no type")),
                  STR_ARG(strbuf_str(&have)));
    return NULL;
}

bool volume_page_size(const struct val *pod_spec, const struct val *volume, int64_t *bytes, struct err *err)
{
    static const struct name *const lists[] = {N(containers), N(initContainers)};
    struct str medium = val_text_at(volume, N(emptyDir), N(medium));
    int64_t asked = 0;
    *bytes = 0;
    if (!str_starts(medium, S(HUGE_PAGES)))
        return !medium.n || str_eqz(medium, "Memory") ||
               err_set(err, E_INVALID, "unknown storage medium \"" STR_FMT "\"", STR_ARG(medium));
    bool any = medium.n == strlen(HUGE_PAGES);
    asked = any ? 0 : quantity_value(str_sub(medium, strlen(HUGE_PAGES) + 1, medium.n));
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(pod_spec, lists[i]))
            val_each_member (m, val_at(c, N(resources), N(requests))) {
                if (!str_starts(m->name->s, S("hugepages-")))
                    continue;
                int64_t size = quantity_value(str_sub(m->name->s, strlen("hugepages-"), m->name->s.n));
                if (any && *bytes && *bytes != size)
                    return err_set(err, E_INVALID,
                                   "medium: " STR_FMT " can't be used if container requests multiple huge page sizes",
                                   STR_ARG(medium));
                if (any || size == asked)
                    *bytes = size;
            }
    return *bytes ||
           err_set(err, E_INVALID,
                   "medium " STR_FMT ": hugePages storage requested, but there is no resource request for huge pages",
                   STR_ARG(medium));
}

bool volume_payload(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                    struct err *err)
{
    const struct volume_type *type = volume_type_of(volume, err);
    return type && (!type->payload || type->payload(out, in, volume, err));
}

/* --- doing --------------------------------------------------------------------------------------------------- */

/* What modes come to with a group of the pod's (kubelet: volume_linux.go): its members read, and write where the
 * volume is the pod's to write. */
static mode_t file_mode(const struct volume_file *f, int64_t fs_group)
{
    return (f->mode & 0777) | (fs_group < 0 ? 0 : 0440);
}

mode_t volume_folder_mode(mode_t mode, bool read_only, int64_t fs_group)
{
    return mode | (fs_group < 0 ? 0 : read_only ? 02550 : 02770);
}

static bool give_file(int fd, const struct volume_file *f, int64_t fs_group, struct err *err)
{
    if ((f->uid >= 0 || fs_group >= 0) &&
        (fault("volume.group", EPERM) || fchown(fd, (uid_t)f->uid, (gid_t)fs_group) < 0))
        return err_errno(err, "owner %lld:%lld", (long long)f->uid, (long long)fs_group);
    return (!fault("volume.mode", EPERM) && fchmod(fd, file_mode(f, fs_group)) == 0) || err_errno(err, "chmod");
}

static bool give_folder(int fd, mode_t mode, const struct volume_work *w, struct err *err)
{
    if (w->fs_group >= 0 && fchown(fd, (uid_t)-1, (gid_t)w->fs_group) < 0)
        return err_errno(err, "fsGroup %lld", (long long)w->fs_group);
    return fchmod(fd, volume_folder_mode(mode, w->read_only, w->fs_group)) == 0 || err_errno(err, "chmod");
}

static bool make_folder(int root, const char *path, const struct volume_work *w, struct err *err)
{
    if (mkdirat(root, path, 0755) < 0)
        return errno == EEXIST || err_errno(err, "mkdir for %s", path);
    AUTO(fd_close) int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? err_errno(err, "open %s", path) : give_folder(fd, 0755, w, err);
}

/* Folder by folder, and no link is followed: no container can write here, and if one could, it would lead nowhere. */
static bool write_one(int root, const struct volume_file *f, const struct volume_work *w, struct err *err)
{
    AUTO_FREE char *path = str_dupz(f->path);
    char *name = path;
    AUTO(fd_close) int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
    for (char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = 0;
        if (!make_folder(at, name, w, err))
            return false;
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        fd_close(at);
        at = next;
    }
    AUTO(fd_close)
    int fd = fault("volume.create", ENOSPC)
                 ? -1
                 : openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, "create " STR_FMT, STR_ARG(f->path));
    if (!write_all(fd, f->bytes, err))
        return err_wrap(err, "write " STR_FMT, STR_ARG(f->path));
    return give_file(fd, f, w->fs_group, err) || err_wrap(err, STR_FMT, STR_ARG(f->path));
}

static bool same_file(int data, const struct volume_file *f, int64_t fs_group)
{
    AUTO_FREE char *path = str_dupz(f->path);
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    AUTO(fd_close) int fd = (int)syscall(SYS_openat2, data, path, &how, sizeof how);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size != f->bytes.n)
        return false;
    if ((st.st_mode & 07777) != file_mode(f, fs_group) || (fs_group >= 0 && st.st_gid != (gid_t)fs_group) ||
        (f->uid >= 0 && st.st_uid != (uid_t)f->uid))
        return false;
    AUTO(strbuf_fini) struct strbuf have = STRBUF(PAYLOAD_MAX);
    struct err ignored = ERR; /* what cannot be read is written anew */
    char own[40];
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    return file_read(AT_FDCWD, own, &have, &ignored) && str_eq(strbuf_str(&have), f->bytes);
}

static size_t count_files(int dir)
{
    size_t n = 0;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        fd_close(copy);
        return 0;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int sub = e->d_type == DT_DIR ? openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                                      : -1;
        n += sub >= 0 ? count_files(sub) : 1;
        fd_close(sub);
    }
    (void)closedir(d);
    return n;
}

static bool same_payload(int root, const struct volume_work *w)
{
    AUTO(fd_close) int data = openat(root, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (data < 0 || count_files(data) != w->files.list.n)
        return false;
    array_each (f, &w->files.list)
        if (!same_file(data, f, w->fs_group))
            return false;
    return true;
}

static bool has_room(int root, const struct volume_work *w, struct err *err)
{
    uint64_t need = 0;
    array_each (f, &w->files.list)
        need += f->bytes.n;
    return folder_has_room(root, need) ||
           err_set(err, E_UNAVAILABLE,
                   "the node has no room for %llu bytes of files: three quarters of the memory in which it keeps "
                   "volumes are in use",
                   (unsigned long long)need);
}

/* A new folder with the whole content, then one rename to it. */
static bool write_fresh(int root, const struct volume_work *w, struct err *err)
{
    char fresh[64];
    uint64_t salt;
    random_bytes(&salt, sizeof salt);
    (void)snprintf(fresh, sizeof fresh, "..%016llx", (unsigned long long)salt);
    if (fault("volume.mkdir", ENOSPC))
        return err_errno(err, "mkdir %s", fresh);
    if (!has_room(root, w, err))
        return false;
    if (!make_folder(root, fresh, w, err))
        return false;
    AUTO(fd_close) int dir = openat(root, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return err_errno(err, "open %s", fresh);
    array_each (f, &w->files.list)
        if (!write_one(dir, f, w, err))
            return false;
    (void)unlinkat(root, "..data_tmp", 0); /* it may not be there; symlinkat tells if it stayed */
    if (fault("volume.link", ENOSPC) || symlinkat(fresh, root, "..data_tmp") < 0)
        return err_errno(err, "link ..data_tmp");
    return (!fault("volume.swap", ENOSPC) && renameat(root, "..data_tmp", root, "..data") == 0) ||
           err_errno(err, "swap ..data");
}

static struct str first_part(struct str path)
{
    struct str head, tail;
    (void)str_split(path, '/', &head, &tail);
    return head;
}

/* The top-level names of a volume. */
static void heads_of(const struct volume_files *files, struct map *out)
{
    array_each (f, &files->list)
        (void)map_put(out, first_part(f->path), f);
}

/* One link per top-level name, pointing through ..data. */
static bool link_names(int root, const struct map *heads, struct err *err)
{
    map_each (e, heads) {
        char to[300];
        (void)snprintf(to, sizeof to, "..data/" STR_FMT,
                       STR_ARG(str_sub(e->key, 0, NAME_MAX + 1))); /* too long: said */
        if (fault("volume.link", ENOSPC) || (symlinkat(to, root, e->key.p) < 0 && errno != EEXIST))
            return err_errno(err, "link %s", e->key.p);
    }
    return true;
}

/* One that link_names made. What else lies there is a folder in which a container has something mounted: taking that
 * away would take away the mount. */
static bool is_own_link(int root, const char *name)
{
    char to[300];
    ssize_t n = readlinkat(root, name, to, sizeof to);
    return n > 0 && str_starts((struct str){to, (size_t)n}, S("..data/"));
}

/* Removes folders that ..data does not point to (of earlier contents, of writes that failed or were cut off), and
 * links of names that are gone. NULL: the links stay. */
static bool links_sweep(int root, const struct map *heads, struct err *err)
{
    char live[64] = "";
    ssize_t n = readlinkat(root, "..data", live, sizeof live - 1);
    live[MAX(n, 0)] = 0;
    int copy = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    bool ok = d || err_errno(err, "read the volume's folder");
    if (!d)
        fd_close(copy);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *name = e->d_name;
        bool ours = strncmp(name, "..", 2) == 0;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "..data") == 0)
            continue;
        if (ours ? strcmp(name, live) != 0 : heads && !map_get(heads, str_of(name)) && is_own_link(root, name))
            ok = ok && tree_remove(root, name, err);
    }
    if (d)
        (void)closedir(d);
    return ok;
}

/* A new descriptor of a folder of ours, made where it is not there; -1. */
static int open_made(const char *path, struct err *err)
{
    if (!dir_make(path, 0755, err))
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        (void)err_errno(err, "open %s", path);
    return fd;
}

bool volume_write(const struct volume_work *w, bool *changed, struct err *err)
{
    AUTO_FREE char *path = str_dupz(w->path);
    AUTO(fd_close) int root = open_made(path, err);
    if (root < 0)
        return false;
    *changed = !same_payload(root, w);
    if (*changed && !write_fresh(root, w, err)) {
        struct err ignored = ERR;
        (void)!links_sweep(root, NULL, &ignored); /* what was begun; the old content stands */
        return err_wrap(err, "%s", path);
    }
    AUTO(map_fini) struct map heads = MAP;
    heads_of(&w->files, &heads);
    return (link_names(root, &heads, err) && links_sweep(root, &heads, err) &&
            (!*changed || give_folder(root, w->mode, w, err))) ||
           err_wrap(err, "%s", path);
}

static bool setup_host_path(const struct volume_work *w, struct err *err)
{
    static const struct {
        const char *type;
        mode_t is;
        const char *word;
    } rows[] = {
        {"Directory", S_IFDIR, "directory"},
        {"DirectoryOrCreate", S_IFDIR, "directory"},
        {"File", S_IFREG, "file"},
        {"FileOrCreate", S_IFREG, "file"},
        {"Socket", S_IFSOCK, "socket"},
        {"CharDevice", S_IFCHR, "character device"},
        {"BlockDevice", S_IFBLK, "block device"},
    };
    AUTO_FREE char *path = str_dupz(w->path);
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!there && str_eq(w->host_type, S("DirectoryOrCreate")))
        return dir_make(path, 0755, err);
    if (!there && str_eq(w->host_type, S("FileOrCreate"))) {
        AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        return fd >= 0 || err_errno(err, "create %s", path);
    }
    if (!w->host_type.n) /* no check was asked for: made as a folder where missing */
        return there || dir_make(path, 0755, err);
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(w->host_type, rows[i].type) && (!there || (st.st_mode & S_IFMT) != rows[i].is))
            return err_set(err, E_INVALID, "hostPath type check failed: %s is not a %s", path, rows[i].word);
    return true;
}

bool volume_setup(const struct volume_work *w, struct err *err)
{
    bool changed;
    switch (w->place) {
    case VOLUME_TMPFS: return volume_write(w, &changed, err);
    case VOLUME_HOST: return setup_host_path(w, err);
    case VOLUME_MOUNT: /* volume_mount does, apart, */
    case VOLUME_IMAGE: /* and volume_image */
    case VOLUME_DATA:
    case VOLUME_MEMORY: break;
    }
    AUTO_FREE char *path = str_dupz(w->path);
    AUTO(fd_close) int fd = open_made(path, err);
    return fd >= 0 && give_folder(fd, w->mode, w, err);
}
