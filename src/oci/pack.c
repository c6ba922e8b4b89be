#include "oci/pack.h"
#include "base/fault.h"
#include "base/map.h"
#include "oci/jsonout.h"
#include "oci/manifest.h"
#include "oci/name.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>

/* ---- tar: ustar, with a pax header for what does not fit (POSIX.1-2001) ---- */

struct tar {
    int fd;
    struct sha256 *sum; /* NULL: not wanted */
    int64_t size;
    struct err *err;
};

static bool tar_bytes(struct tar *t, const void *p, size_t n)
{
    const char *from = p;
    if (t->sum)
        sha256_add(t->sum, (struct str){p, n});
    t->size += (int64_t)n;
    while (n) {
        ssize_t done = fault("pack.write", ENOSPC) ? -1 : write(t->fd, from, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno(t->err, "write archive");
        from += done;
        n -= (size_t)done;
    }
    return true;
}

static bool tar_pad(struct tar *t)
{
    static const char zeros[512];
    size_t over = (size_t)(t->size % 512);
    return over == 0 || tar_bytes(t, zeros, 512 - over);
}

static bool tar_block(struct tar *t, const char *name, char type, unsigned mode, int64_t size, const char *link)
{
    char h[512] = {0};
    (void)snprintf(h, 100, "%.99s", name);
    (void)snprintf(h + 100, 8, "%07o", mode & 07777);
    (void)snprintf(h + 108, 8, "%07o", 0);
    (void)snprintf(h + 116, 8, "%07o", 0);
    (void)snprintf(h + 124, 12, "%011llo", (unsigned long long)size);
    (void)snprintf(h + 136, 12, "%011o", 0);
    memset(h + 148, ' ', 8);
    h[156] = type;
    (void)snprintf(h + 157, 100, "%.99s", link);
    memcpy(h + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof h; i++)
        sum += (unsigned char)h[i];
    (void)snprintf(h + 148, 8, "%06o", sum);
    return tar_bytes(t, h, sizeof h);
}

static void pax_record(struct strbuf *b, const char *key, const char *value)
{
    size_t body = strlen(key) + strlen(value) + 3, digits = 1, was = 0;
    while (digits != was) { /* the length counts itself */
        was = digits;
        digits = (size_t)snprintf(NULL, 0, "%zu", body + digits);
    }
    strbuf_addf(b, "%zu %s=%s\n", body + digits, key, value);
}

static bool tar_head(struct tar *t, const char *name, char type, unsigned mode, int64_t size, const char *link)
{
    AUTO(strbuf_fini) struct strbuf pax = STRBUF(65536);
    char number[32];
    if (strlen(name) > 99)
        pax_record(&pax, "path", name);
    if (strlen(link) > 99)
        pax_record(&pax, "linkpath", link);
    (void)snprintf(number, sizeof number, "%lld", (long long)size);
    if (size >= 1LL << 33)
        pax_record(&pax, "size", number);
    if (pax.n && (!tar_block(t, "pax", 'x', 0644, (int64_t)pax.n, "") || !tar_bytes(t, pax.p, pax.n) || !tar_pad(t)))
        return false;
    return tar_block(t, name, type, mode, size >= 1LL << 33 ? 0 : size, link);
}

static bool tar_fd(struct tar *t, int from, int64_t size, const char *what)
{
    char buf[65536];
    while (size > 0) {
        ssize_t n = read(from, buf, MIN(sizeof buf, (size_t)size));
        if (n <= 0)
            return n < 0 ? err_errno(t->err, "read %s", what)
                         : err_set(t->err, E_IO, "%s has become shorter while it was packed", what);
        if (!tar_bytes(t, buf, (size_t)n))
            return false;
        size -= n;
    }
    return tar_pad(t);
}

static bool tar_text(struct tar *t, const char *name, struct str text)
{
    return tar_head(t, name, '0', 0644, (int64_t)text.n, "") && tar_bytes(t, text.p, text.n) && tar_pad(t);
}

static bool tar_end(struct tar *t)
{
    static const char zeros[1024];
    return tar_bytes(t, zeros, sizeof zeros);
}

/* ---- what goes into the layer ---- */

struct pack_node {
    char *to, *from, *link; /* from and link NULL: a folder */
    unsigned mode;
};
struct tree {
    ARRAY(struct pack_node) list;
    struct map seen; /* to -> itself */
};

static void node_add(struct tree *t, const char *to, const char *from, const char *link, unsigned mode)
{
    struct pack_node n = {mem_dupz(to), from ? mem_dupz(from) : NULL, link ? mem_dupz(link) : NULL, mode};
    if (map_get(&t->seen, str_of(to)))
        array_each (old, &t->list)
            if (strcmp(old->to, to) == 0) { /* what comes later wins; a folder stays one */
                mem_free(old->to);
                mem_free(old->from);
                mem_free(old->link);
                *old = n;
                return;
            }
    array_push(&t->list, n);
    map_put(&t->seen, str_of(to), t);
}

static void parents_add(struct tree *t, const char *to)
{
    for (const char *slash = strchr(to, '/'); slash; slash = strchr(slash + 1, '/')) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%.*s", (int)(slash - to), to);
        if (!map_get(&t->seen, str_of(path)))
            node_add(t, path, NULL, NULL, 0755);
    }
}

static bool folder_add(struct tree *t, const char *host, const char *prefix, int depth, struct err *err)
{
    DIR *dir = depth > 200 ? NULL : opendir(host);
    if (!dir)
        return err_errno(err, "open %s", host);
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        char from[PATH_MAX], to[PATH_MAX], link[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(from, sizeof from, "%.2000s/%s", host, e->d_name);
        (void)snprintf(to, sizeof to, "%.2000s%s%s", prefix, *prefix ? "/" : "", e->d_name);
        if (lstat(from, &st) < 0) {
            ok = err_errno(err, "stat %s", from);
        } else if (S_ISDIR(st.st_mode)) {
            node_add(t, to, NULL, NULL, st.st_mode & 07777);
            ok = folder_add(t, from, to, depth + 1, err);
        } else if (S_ISREG(st.st_mode)) {
            node_add(t, to, from, NULL, st.st_mode & 07777);
        } else if (S_ISLNK(st.st_mode)) {
            ssize_t n = readlink(from, link, sizeof link - 1);
            link[MAX(n, 0)] = 0;
            node_add(t, to, NULL, link, 0777);
        } else {
            ok = err_set(err, E_INVALID, "%s: only files, folders and links are packed", from);
        }
    }
    (void)closedir(dir);
    return ok;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct pack_node *)a)->to, ((const struct pack_node *)b)->to);
}

static bool tree_collect(const struct oci_pack *p, struct tree *t, struct err *err)
{
    if (p->root && !folder_add(t, p->root, "", 0, err))
        return false;
    for (size_t i = 0; i < p->nfiles; i++) {
        const struct oci_pack_file *f = &p->files[i];
        const char *to = f->to + strspn(f->to, "/");
        struct stat st = {.st_mode = 0755};
        if (!*to || str_has(str_of(to), S("..")))
            return err_set(err, E_INVALID, "files[%zu]: \"%s\" must be a path in the image", i, f->to);
        if (f->from && (stat(f->from, &st) < 0 || !S_ISREG(st.st_mode)))
            return err_errno(err, "%s must be a file", f->from);
        parents_add(t, to);
        node_add(t, to, f->from, f->link, f->mode ? f->mode : st.st_mode & 07777);
    }
    if (t->list.n)
        qsort(t->list.p, t->list.n, sizeof *t->list.p, by_path);
    return true;
}

static bool layer_write(struct tree *t, struct tar *tar)
{
    array_each (n, &t->list) {
        char folder[PATH_MAX];
        if (n->link) {
            if (!tar_head(tar, n->to, '2', 0777, 0, n->link))
                return false;
        } else if (!n->from) {
            (void)snprintf(folder, sizeof folder, "%.4000s/", n->to);
            if (!tar_head(tar, folder, '5', n->mode, 0, ""))
                return false;
        } else {
            AUTO(fd_close) int fd = open(n->from, O_RDONLY | O_CLOEXEC);
            struct stat st;
            if (fd < 0 || fstat(fd, &st) < 0)
                return err_errno(tar->err, "open %s", n->from);
            if (!tar_head(tar, n->to, '0', n->mode, st.st_size, "") || !tar_fd(tar, fd, st.st_size, n->from))
                return false;
        }
    }
    return tar_end(tar);
}

static void tree_fini(struct tree *t)
{
    array_each (n, &t->list) {
        mem_free(n->to);
        mem_free(n->from);
        mem_free(n->link);
    }
    array_fini(&t->list);
    map_fini(&t->seen);
}

/* ---- the archive ---- */

static void add_list(struct strbuf *b, const char *key, struct strs list)
{
    if (!list.n)
        return;
    jout_key(b, key);
    jout_open(b, '[');
    for (size_t i = 0; i < list.n; i++)
        jout_str(b, list.p[i]);
    jout_close(b, ']');
}

static void add_config(struct strbuf *b, const struct oci_pack *p, const struct digest *diff)
{
    char text[DIGEST_TEXT + 1];
    (void)snprintf(text, sizeof text, "sha256:%s", diff->hex);
    jout_open(b, '{');
    jout_field(b, "created", S("1970-01-01T00:00:00Z"));
    jout_field(b, "architecture", str_of(machine_arch()));
    jout_field(b, "os", S("linux"));
    jout_key(b, "config");
    jout_open(b, '{');
    const struct {
        const char *key;
        struct str value;
    } texts[] = {{"User", p->user}, {"WorkingDir", p->workdir}, {"StopSignal", p->stop_signal}};
    for (size_t i = 0; i < countof(texts); i++)
        if (texts[i].value.n)
            jout_field(b, texts[i].key, texts[i].value);
    add_list(b, "Env", p->env);
    add_list(b, "Entrypoint", p->entrypoint);
    add_list(b, "Cmd", p->cmd);
    jout_key(b, "ExposedPorts");
    jout_open(b, '{');
    for (size_t i = 0; i < p->ports.n; i++) {
        jout_str(b, p->ports.p[i]);
        strbuf_addz(b, ":{}");
    }
    jout_close(b, '}');
    jout_key(b, "Labels");
    jout_open(b, '{');
    for (size_t i = 0; i < p->labels.n; i++) {
        struct str key, value;
        (void)str_split(p->labels.p[i], '=', &key, &value);
        jout_str(b, key);
        strbuf_addc(b, ':');
        jout_str(b, value);
    }
    jout_close(b, '}');
    jout_close(b, '}');
    jout_key(b, "rootfs");
    jout_open(b, '{');
    jout_field(b, "type", S("layers"));
    jout_key(b, "diff_ids");
    jout_open(b, '[');
    jout_str(b, str_of(text));
    jout_close(b, ']');
    jout_close(b, '}');
    jout_close(b, '}');
}

static void add_descriptor(struct strbuf *b, const char *media, const struct digest *d, int64_t size)
{
    char text[DIGEST_TEXT + 1];
    (void)snprintf(text, sizeof text, "sha256:%s", d->hex);
    jout_open(b, '{');
    jout_field(b, "mediaType", str_of(media));
    jout_field(b, "digest", str_of(text));
    jout_key(b, "size");
    jout_num(b, size);
}

static bool archive_write(const struct oci_pack *p, struct str full_name, int layer, const struct digest *diff,
                          int64_t layer_size, struct tar *t)
{
    AUTO(strbuf_fini) struct strbuf config = STRBUF(1 << 20), manifest = STRBUF(1 << 20), index = STRBUF(1 << 20);
    struct digest d_config, d_manifest;
    add_config(&config, p, diff);
    d_config = digest_of(config.p, config.n);
    jout_open(&manifest, '{');
    jout_key(&manifest, "schemaVersion");
    jout_num(&manifest, 2);
    jout_field(&manifest, "mediaType", S(MEDIA_OCI_MANIFEST));
    jout_key(&manifest, "config");
    add_descriptor(&manifest, MEDIA_OCI_CONFIG, &d_config, (int64_t)config.n);
    jout_close(&manifest, '}');
    jout_key(&manifest, "layers");
    jout_open(&manifest, '[');
    add_descriptor(&manifest, MEDIA_OCI_LAYER, diff, layer_size); /* uncompressed: blob and diff are the same */
    strbuf_addz(&manifest, "}]}");
    d_manifest = digest_of(manifest.p, manifest.n);
    jout_open(&index, '{');
    jout_key(&index, "schemaVersion");
    jout_num(&index, 2);
    jout_field(&index, "mediaType", S(MEDIA_OCI_INDEX));
    jout_key(&index, "manifests");
    jout_open(&index, '[');
    add_descriptor(&index, MEDIA_OCI_MANIFEST, &d_manifest, (int64_t)manifest.n);
    jout_key(&index, "annotations");
    jout_open(&index, '{');
    jout_field(&index, "io.containerd.image.name", full_name);
    jout_field(&index, "org.opencontainers.image.ref.name", full_name);
    strbuf_addz(&index, "}}]}");
    if (config.over || manifest.over || index.over)
        return err_set(t->err, E_TOO_LARGE, "the image's configuration is too large");
    char path[100];
    if (!tar_text(t, "oci-layout", S("{\"imageLayoutVersion\":\"1.0.0\"}")) ||
        !tar_text(t, "index.json", strbuf_str(&index)))
        return false;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", d_config.hex);
    if (!tar_text(t, path, strbuf_str(&config)))
        return false;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", d_manifest.hex);
    if (!tar_text(t, path, strbuf_str(&manifest)))
        return false;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", diff->hex);
    return tar_head(t, path, '0', 0644, layer_size, "") && lseek(layer, 0, SEEK_SET) == 0 &&
           tar_fd(t, layer, layer_size, "layer") && tar_end(t);
}

/* A file without a name, beside what is written, where there is sure to be room for as much. */
static int layer_file(const char *out, struct err *err)
{
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%.4000s", out);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        (void)err_errno(err, "a temporary file beside %s", out);
    return fd;
}

bool oci_pack(const struct oci_pack *p, const char *out, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(file_out_fini) struct file_out to = {.fd = -1};
    struct image_name name;
    struct tree tree = {0};
    if (!image_name_parse(&a, p->name, &name, err) || !file_out_open(&to, out, 0644, err))
        return false;
    AUTO(fd_close) int layer = layer_file(to.path ? to.path : "/tmp/", err);
    if (layer < 0)
        return false;
    AUTO(sha256_fini) struct sha256 sum = {0};
    sha256_init(&sum);
    struct tar t = {.fd = layer, .sum = &sum, .err = err};
    bool ok = tree_collect(p, &tree, err) && layer_write(&tree, &t);
    tree_fini(&tree);
    if (!ok)
        return false;
    struct digest diff = digest_end(&sum);
    struct tar whole = {.fd = to.fd, .err = err};
    return archive_write(p, name.full, layer, &diff, t.size, &whole) && file_out_done(&to, err);
}
