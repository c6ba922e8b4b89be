/* What a container mounts: its pod's volumes, the files of the node, the image's volumes, devices. */
#include "api/placement.h"
#include "node/podspec_int.h"
#include "node/volume.h"

struct str *strs_grow(struct arena *a, struct strs *s, size_t more)
{
    struct str *p = arena_alloc(a, (s->n + more) * sizeof *p);
    if (s->n)
        memcpy(p, s->p, s->n * sizeof *p);
    s->p = p;
    return p;
}

void strs_add(struct arena *a, struct strs *s, struct str text)
{
    strs_grow(a, s, 1)[s->n] = text;
    s->n++;
}

/* A path without empty parts, "." and "..", as it is compared and sorted by. */
static struct str path_clean(struct arena *a, struct str path)
{
    char *out = arena_alloc(a, path.n + 2);
    size_t n = 0;
    struct str part;
    while (str_cut(&path, '/', &part)) {
        if (str_eqz(part, "..")) {
            while (n && out[--n] != '/')
                ;
        } else if (part.n && !str_eqz(part, ".")) {
            out[n++] = '/';
            memcpy(out + n, part.p, part.n);
            n += part.n;
        }
    }
    if (!n)
        out[n++] = '/';
    out[n] = 0;
    return (struct str){out, n};
}

/* Mounts of one container beyond those that every container has. */
struct mounts {
    struct arena *a;
    struct oci_mount *p;
    size_t n, cap;
};

static bool is_mounted(const struct mounts *m, struct str target)
{
    for (size_t i = 0; i < m->n; i++)
        if (str_eq(m->p[i].target, target))
            return true;
    return false;
}

static struct oci_mount *add_mount(struct mounts *m, struct str source, struct str target, struct strs options)
{
    if (m->n == m->cap) {
        struct oci_mount *old = m->p;
        m->cap = m->cap ? 2 * m->cap : 16;
        m->p = arena_alloc(m->a, m->cap * sizeof *m->p);
        if (m->n)
            memcpy(m->p, old, m->n * sizeof *old);
    }
    m->p[m->n] = (struct oci_mount){.type = S("bind"), .source = source, .target = target, .options = options};
    return &m->p[m->n++];
}

static int by_depth(const void *x, const void *y)
{
    const struct oci_mount *const *l = x, *const *r = y;
    int depth[2] = {0};
    for (size_t i = 0; i < (*l)->target.n; i++)
        depth[0] += (*l)->target.p[i] == '/';
    for (size_t i = 0; i < (*r)->target.n; i++)
        depth[1] += (*r)->target.p[i] == '/';
    return depth[0] != depth[1] ? depth[0] - depth[1] : *l < *r ? -1 : *l > *r;
}

/* Those that every container has, without what is mounted over; then the others, so that none hides one below it. */
static void merge_mounts(struct mounts *m, struct oci_container *out)
{
    struct oci_mount *all = arena_alloc(m->a, (out->nmounts + m->n + 1) * sizeof *all);
    const struct oci_mount **sorted = arena_alloc(m->a, (m->n + 1) * sizeof *sorted);
    bool dev = is_mounted(m, S("/dev"));
    size_t n = 0;
    for (size_t i = 0; i < out->nmounts; i++) {
        struct str target = out->mounts[i].target;
        if (!is_mounted(m, target) && !(dev && str_starts(target, S("/dev/"))))
            all[n++] = out->mounts[i];
    }
    for (size_t i = 0; i < m->n; i++)
        sorted[i] = &m->p[i];
    qsort(sorted, m->n, sizeof *sorted, by_depth);
    for (size_t i = 0; i < m->n; i++)
        all[n++] = *sorted[i];
    out->mounts = all;
    out->nmounts = n;
}

static struct strs bind_options(struct arena *a, const char *access, enum oci_propagation propagation)
{
    static const char *const words[] = {[OCI_PRIVATE] = "rprivate", [OCI_SLAVE] = "rslave", [OCI_SHARED] = "rshared"};
    struct strs o = {0};
    strs_add(a, &o, S("rbind"));
    strs_add(a, &o, str_of(words[propagation]));
    strs_add(a, &o, str_of(access));
    return o;
}

static const char *access_word(bool read_only)
{
    return read_only ? "ro" : "rw";
}

bool podspec_deep(const struct val *mount)
{
    struct str recursive = val_text_at(mount, N(recursiveReadOnly));
    return (str_eqz(recursive, "Enabled") || str_eqz(recursive, "IfPossible")) &&
           val_true(val_get(mount, N(readOnly)));
}

static enum oci_propagation propagation_of(const struct val *mount)
{
    struct str word = val_text_at(mount, N(mountPropagation));
    return str_eq(word, S("Bidirectional"))     ? OCI_SHARED
           : str_eq(word, S("HostToContainer")) ? OCI_SLAVE
                                                : OCI_PRIVATE;
}

static bool sub_path_ok(struct str path, struct err *err)
{
    struct str rest = path, part;
    if (str_starts(path, S("/")))
        return err_set(err, E_INVALID, "error SubPath `" STR_FMT "` must not be an absolute path", STR_ARG(path));
    if (path.n && memchr(path.p, 0, path.n)) /* the kernel would end it there */
        return err_set(err, E_INVALID, "unable to provision SubPath: it has a NUL byte in it");
    while (str_cut(&rest, '/', &part))
        if (str_eq(part, S("..")))
            return err_set(err, E_INVALID, "unable to provision SubPath `" STR_FMT "`: must not contain '..'",
                           STR_ARG(path));
    return true;
}

static bool sub_path_of(const struct podspec_input *in, const struct val *mount, struct str *out, struct err *err)
{
    struct str expr = val_text_at(mount, N(subPathExpr));
    *out = val_text_at(mount, N(subPath));
    struct str missing;
    if (expr.n && !env_expand(in->env, expr, out, &missing, err))
        return err_wrap(err, "subPathExpr");
    if (expr.n && missing.n)
        return err_set(err, E_INVALID, "missing value for " STR_FMT, STR_ARG(missing));
    return sub_path_ok(*out, err);
}

static bool is_in(struct str path, const char *folder)
{
    size_t n = strlen(folder);
    return str_starts(path, str_of(folder)) && (path.n == n || path.p[n] == '/');
}

/* The runtime writes to /proc and makes devices in /dev while it is root on the host: neither may be a folder in
 * which another container of the pod exchanges files meanwhile, nor one of the image's. In /proc runc allows these,
 * which others than the kernel make (lxcfs); /dev may be the node's own. */
static bool target_ok(struct str target, const struct val *volume, struct err *err)
{
    static const char *const made[] = {"/proc/cpuinfo",
                                       "/proc/diskstats",
                                       "/proc/loadavg",
                                       "/proc/meminfo",
                                       "/proc/net/dev",
                                       "/proc/slabinfo",
                                       "/proc/stat",
                                       "/proc/swaps",
                                       "/proc/uptime",
                                       "/proc/sys/kernel/ns_last_pid",
                                       "/proc/sys/crypto/fips_enabled"};
    struct str host = val_text_at(volume, N(hostPath), N(path));
    bool ok = !is_in(target, "/proc") || (str_eqz(target, "/proc") && str_eqz(host, "/proc"));
    for (size_t i = 0; i < countof(made) && !ok; i++)
        ok = str_eqz(target, made[i]);
    if (!ok)
        return err_set(err, E_INVALID, "\"" STR_FMT "\" cannot be mounted because it is inside /proc",
                       STR_ARG(target));
    if (str_eqz(target, "/dev") && !host.n)
        return err_set(err, E_INVALID,
                       "\"/dev\" cannot be a volume that containers write to: mount what is wanted below it");
    return true;
}

static bool volume_is_image(const struct podspec_input *in, struct str name)
{
    return val_get(val_find(val_get(obj_spec(in->pod), N(volumes)), N(name), name), N(image)) != NULL;
}

static bool add_volume_mounts(const struct podspec_input *in, struct mounts *out, enum oci_propagation *most,
                              struct err *err)
{
    val_each_item (m, val_get(in->container, N(volumeMounts))) {
        struct str path, sub, name = val_text_at(m, N(name));
        bool read_only;
        if (!in->volume_path(in->arg, name, &path, &read_only))
            return err_set(err, E_INVALID, "volumeMounts: there is no volume \"" STR_FMT "\" in the pod",
                           STR_ARG(name));
        if (!sub_path_of(in, m, &sub, err))
            return false;
        struct str target = path_clean(out->a, val_text_at(m, N(mountPath)));
        if (!target_ok(target, val_find(val_get(obj_spec(in->pod), N(volumes)), N(name), name), err))
            return false;
        enum oci_propagation propagation = propagation_of(m);
        read_only = read_only || val_true(val_get(m, N(readOnly)));
        struct str access = podspec_deep(m) ? S("rro") : str_of(access_word(read_only));
        struct oci_mount *mount = add_mount(out, path, target, bind_options(out->a, access.p, propagation));
        if (volume_is_image(in, name)) /* a bind has flags of its own */
            strs_add(out->a, &mount->options, S("noexec"));
        mount->beneath = sub;
        mount->shared = propagation == OCI_SHARED;
        mount->relabel = in->selinux && in->volume_relabel(in->arg, name);
        mount->seal = str_eqz(access, "rro") ? OCI_SEALED_DEEP : str_eqz(access, "ro") ? OCI_SEALED : OCI_OPEN;
        mount->called = arena_fmt(out->a, "volumeMount \"" STR_FMT "\" of container \"" STR_FMT "\"", STR_ARG(name),
                                  STR_ARG(val_text_at(in->container, N(name))));
        *most = MAX(*most, propagation);
    }
    return true;
}

/* What the node puts into a container where the pod mounts nothing of its own there. With a read-only root the
 * files of the runtime are read-only, too; those of the kubelet are not. */
static bool add_own_mounts(const struct podspec_input *in, const struct oci_container *c, struct mounts *out,
                           struct err *err)
{
    const struct {
        struct str path, target;
        bool read_only;
    } own[] = {
        {in->hosts_file, S("/etc/hosts"), false},
        {in->termination_file, val_text_at(in->container, N(terminationMessagePath)), false},
        {in->hostname_file, S("/etc/hostname"), c->read_only_root},
        {in->resolv_file, S("/etc/resolv.conf"), c->read_only_root},
    };
    for (size_t i = 0; i < countof(own); i++) {
        struct str target = own[i].target.n ? path_clean(out->a, own[i].target) : S("");
        if (!own[i].path.n || !target.n || is_mounted(out, target))
            continue;
        if (!target_ok(target, NULL, err))
            return err_wrap(err, "terminationMessagePath");
        add_mount(out, own[i].path, target, bind_options(out->a, access_word(own[i].read_only), OCI_PRIVATE))
            ->relabel = true;
    }
    if (in->shm.n && !is_mounted(out, S("/dev/shm"))) /* that of the host stays as it is */
        add_mount(out, in->shm, S("/dev/shm"), oci_shm_options(out->a))->relabel = !val_true(
            val_get(obj_spec(in->pod), N(hostIPC)));
    return true;
}

bool podspec_set_mounts(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    struct mounts m = {.a = a};
    if (!add_volume_mounts(in, &m, &out->propagation, err) || !add_own_mounts(in, out, &m, err))
        return false;
    struct strs volumes = in->image->volumes;
    for (size_t i = 0; i < volumes.n; i++) {
        struct str target = path_clean(a, volumes.p[i]);
        if (is_mounted(&m, target))
            continue;
        if (!target_ok(target, NULL, err))
            return err_wrap(err, "the image's volume");
        strs_add(a, &out->volumes, target);
    }
    for (size_t i = 0; i < out->volumes.n; i++)
        (void)add_mount(&m, oci_volume_source(a, i), out->volumes.p[i], bind_options(a, "rw", OCI_PRIVATE));
    merge_mounts(&m, out);
    return true;
}

/* Beside those that it has (privileged: the node's). */
bool podspec_set_devices(struct arena *a, const struct podspec_input *in, struct oci_container *out, struct err *err)
{
    const struct val *list = val_get(in->container, N(volumeDevices));
    if (!val_len(list))
        return true;
    struct oci_device *all = arena_alloc(a, (out->ndevices + val_len(list)) * sizeof *all);
    size_t n = out->ndevices;
    if (n)
        memcpy(all, out->devices, n * sizeof *all);
    val_each_item (d, list) {
        struct str path = path_clean(a, val_text_at(d, N(devicePath)));
        if (!in->volume_device(in->arg, val_text_at(d, N(name)), &all[n], err))
            return false;
        if (is_in(path, "/proc") || str_eqz(path, "/dev") || str_eqz(path, "/"))
            return err_set(err, E_INVALID, "devicePath \"" STR_FMT "\" cannot be a device", STR_ARG(path));
        all[n++].path = path;
    }
    out->devices = all;
    out->ndevices = n;
    return true;
}
