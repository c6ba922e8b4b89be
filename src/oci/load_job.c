/* load_job.c - archives of images (OCI, or docker save) into the store.
 *
 * One pass over the tar: blobs go into the store as they come, by their digest; small files (index.json,
 * manifest.json) are kept in memory until the end, when they tell which of the blobs is the image.
 */
#include "base/map.h"
#include "oci/jsonout.h"
#include "oci/name.h"
#include "oci/unpack_int.h"
#include "sys/file.h"

struct loading {
    struct content *c;
    struct arena *a;
    struct map files; /* path -> struct digest * of what was no blob by its name */
    struct map links; /* path -> target text: docker-archives link equal layers */
    struct str index, docker;
    int64_t entries;
};

static bool data_ingest(struct loading *l, struct archive *a, const struct unpack_source *s,
                        const struct digest *want, struct digest *got, struct err *err)
{
    struct ingest in;
    const void *p;
    size_t n;
    la_int64_t at;
    int rc;
    if (!ingest_begin(l->c, &in, want, false, err))
        return false;
    while ((rc = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK) {
        if (at != in.size) {
            ingest_abort(&in);
            return err_set(err, E_INVALID, "sparse files cannot be blobs");
        }
        if (!ingest_write(&in, p, n, err)) {
            ingest_abort(&in);
            return false;
        }
    }
    if (rc != ARCHIVE_EOF) {
        ingest_abort(&in);
        return archive_failed(a, s, err);
    }
    return ingest_commit(&in, want, got, err);
}

static bool data_read(struct loading *l, struct archive *a, const struct unpack_source *s, struct str *out,
                      struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(CONTENT_MANIFEST_MAX);
    char buf[16384];
    la_ssize_t n;
    while ((n = archive_read_data(a, buf, sizeof buf)) > 0)
        strbuf_add(&b, (struct str){buf, (size_t)n});
    if (n < 0)
        return archive_failed(a, s, err);
    if (b.over)
        return err_set(err, E_TOO_LARGE, "over %d bytes", CONTENT_MANIFEST_MAX);
    *out = str_dup(l->a, strbuf_str(&b));
    return true;
}

static bool archive_entry_take(void *arg, struct archive *a, const struct unpack_source *s, struct archive_entry *e,
                               const char *raw, struct err *err)
{
    struct loading *l = arg;
    char path[4096];
    struct digest d;
    if (++l->entries > 20000)
        return err_set(err, E_TOO_LARGE, "more than 20000 files: not an image archive");
    if (!archive_path(str_of(raw), path, err))
        return false;
    struct str p = str_of(path);
    if (archive_entry_filetype(e) == AE_IFLNK && archive_entry_symlink(e)) {
        map_put(&l->links, p, arena_strz(l->a, str_of(archive_entry_symlink(e))));
        return true;
    }
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
        return true;
    if (str_eqz(p, "index.json"))
        return data_read(l, a, s, &l->index, err);
    if (str_eqz(p, "manifest.json"))
        return data_read(l, a, s, &l->docker, err);
    if (str_starts(p, S("blobs/sha256/"))) {
        struct str text = arena_fmt(l->a, "sha256:" STR_FMT, STR_ARG(str_sub(p, 13, p.n)));
        if (!digest_parse(text, &d, err))
            return false;
        if (!content_has_blob(l->c, &d) && !data_ingest(l, a, s, &d, NULL, err))
            return false;
        map_put(&l->files, p, arena_dup(l->a, &d, sizeof d));
        return true;
    }
    if (str_eqz(p, "oci-layout") || str_eqz(p, "repositories") || str_ends(p, S("/VERSION")) ||
        str_ends(p, S("/json")))
        return true;
    if (!data_ingest(l, a, s, NULL, &d, err))
        return false;
    map_put(&l->files, p, arena_dup(l->a, &d, sizeof d));
    return true;
}

/* What of an index is for this machine, through at most one index in the index. */
static bool index_pick(struct content *c, struct arena *a, const struct descriptor *d, struct digest *out,
                       struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(CONTENT_MANIFEST_MAX + 65536);
    struct manifest m;
    if (!content_blob_read(c, &d->digest, CONTENT_MANIFEST_MAX, &b, err) ||
        !manifest_decode(a, strbuf_str(&b), &m, err))
        return false;
    *out = d->digest;
    if (!m.index)
        return true;
    const struct descriptor *here = manifest_for_here(&m, err);
    if (!here)
        return false;
    *out = here->digest;
    return true;
}

static bool name_add(struct loading *l, struct str text, const struct digest *manifest, struct strs *names,
                     struct err *err)
{
    struct image_name n;
    if (names->n == 100)
        return err_set(err, E_TOO_LARGE, "more than 100 names");
    if (!image_name_parse(l->a, text, &n, err) || !content_ref_set(l->c, n.full, manifest, false, err))
        return false;
    names->p[names->n++] = n.full;
    return true;
}

static bool load_oci(struct loading *l, struct str name, struct strs *names, struct digest *manifest, struct err *err)
{
    struct manifest index;
    const struct unpack_limits limits = UNPACK_LIMITS;
    if (!manifest_decode(l->a, l->index, &index, err))
        return err_wrap(err, "index.json");
    if (!index.index || index.n == 0)
        return err_set(err, E_INVALID, "index.json: lists no image");
    bool any = false;
    for (size_t i = 0; i < index.n; i++) {
        const struct descriptor *d = &index.list[i];
        struct str called = d->full_name.n ? d->full_name : d->ref_name;
        if (name.n)
            called = str_find_char(d->ref_name, '/') < 0 && str_find_char(d->ref_name, ':') < 0 && d->ref_name.n &&
                             str_rfind_char(name, ':') <= str_rfind_char(name, '/')
                         ? arena_fmt(l->a, STR_FMT ":" STR_FMT, STR_ARG(name), STR_ARG(d->ref_name))
                         : name;
        /* entries for other machines, and attestations of builders */
        if ((d->os.n && !str_eqz(d->os, "linux")) || (d->arch.n && !str_eqz(d->arch, machine_arch())))
            continue;
        if (!index_pick(l->c, l->a, d, manifest, err) || !image_finish(l->c, manifest, &limits, err))
            return false;
        any = true;
        if (called.n && !name_add(l, called, manifest, names, err))
            return false;
    }
    if (!any)
        return err_set(err, E_NOT_FOUND, "no match for platform in manifest: nothing in the archive is for linux/%s",
                       machine_arch());
    if (!names->n)
        return err_set(err, E_INVALID, "the archive does not say what the image is called: give a name");
    return true;
}

static const struct digest *docker_file(struct loading *l, struct str path)
{
    char clean[4096];
    struct err ignored = ERR; /* a path that cannot be is not in the archive: the caller says so */
    if (!archive_path(path, clean, &ignored))
        return NULL;
    for (int hops = 0; hops < 5; hops++) {
        const struct digest *d = map_get(&l->files, str_of(clean));
        const char *link = map_get(&l->links, str_of(clean));
        if (d || !link)
            return d;
        /* "../OTHER/layer.tar", relative to the link's folder, which is one deep */
        struct str to = str_of(link);
        if (str_starts(to, S("../")))
            to = str_sub(to, 3, to.n);
        if (!archive_path(to, clean, &ignored))
            return NULL;
    }
    return NULL;
}

static bool load_docker(struct loading *l, struct str name, struct strs *names, struct digest *manifest,
                        struct err *err)
{
    struct docker_entry *list;
    size_t n;
    const struct unpack_limits limits = UNPACK_LIMITS;
    if (!docker_manifest_decode(l->a, l->docker, &list, &n, err))
        return false;
    if (n == 0)
        return err_set(err, E_INVALID, "manifest.json: lists no image");
    for (size_t i = 0; i < n; i++) {
        const struct digest *config = docker_file(l, list[i].config);
        if (!config)
            return err_set(err, E_INVALID, "manifest.json[%zu]: Config: \"" STR_FMT "\" is not in the archive", i,
                           STR_ARG(list[i].config));
        AUTO(strbuf_fini) struct strbuf b = STRBUF(CONTENT_MANIFEST_MAX);
        jout_open(&b, '{');
        jout_key(&b, "schemaVersion");
        jout_num(&b, 2);
        jout_field(&b, "mediaType", S(MEDIA_OCI_MANIFEST));
        jout_key(&b, "config");
        jout_open(&b, '{');
        jout_field(&b, "mediaType", S(MEDIA_OCI_CONFIG));
        jout_field(&b, "digest", arena_fmt(l->a, "sha256:%s", config->hex));
        jout_key(&b, "size");
        jout_num(&b, content_blob_size(l->c, config));
        jout_close(&b, '}');
        jout_key(&b, "layers");
        jout_open(&b, '[');
        for (size_t k = 0; k < list[i].layers.n; k++) {
            const struct digest *layer = docker_file(l, list[i].layers.p[k]);
            if (!layer)
                return err_set(err, E_INVALID,
                               "manifest.json[%zu]: Layers[%zu]: \"" STR_FMT "\" is not in the archive", i, k,
                               STR_ARG(list[i].layers.p[k]));
            jout_open(&b, '{');
            jout_field(&b, "mediaType", S(MEDIA_OCI_LAYER));
            jout_field(&b, "digest", arena_fmt(l->a, "sha256:%s", layer->hex));
            jout_key(&b, "size");
            jout_num(&b, content_blob_size(l->c, layer));
            jout_close(&b, '}');
        }
        jout_close(&b, ']');
        jout_close(&b, '}');
        if (!content_put(l->c, b.p, b.n, manifest, err) || !image_finish(l->c, manifest, &limits, err))
            return false;
        if (name.n && !name_add(l, name, manifest, names, err))
            return false;
        for (size_t k = 0; !name.n && k < list[i].tags.n; k++)
            if (!name_add(l, list[i].tags.p[k], manifest, names, err))
                return false;
    }
    return names->n || err_set(err, E_INVALID, "the archive does not say what the image is called: give a name");
}

bool archive_load(struct content *c, int fd, struct str name, struct arena *arena, struct strs *names,
                  struct digest *manifest, struct err *err)
{
    AUTO(fd_close) int held = content_lock_shared(c, err);
    if (held < 0)
        return false;
    AUTO_FREE struct unpack_source *s = NEW(struct unpack_source);
    source_init(s, fd, INT64_MAX);
    struct loading l = {.c = c, .a = arena};
    *names = (struct strs){arena_alloc(arena, 100 * sizeof(struct str)), 0};
    bool ok = archive_each(s, archive_entry_take, &l, err);
    if (ok && !l.index.n && !l.docker.n)
        ok = err_set(err, E_INVALID,
                     "neither index.json nor manifest.json is in it: not an OCI archive and not a docker-archive");
    ok = ok && (l.index.n ? load_oci(&l, name, names, manifest, err) : load_docker(&l, name, names, manifest, err));
    map_fini(&l.files);
    map_fini(&l.links);
    source_fini(s);
    return ok;
}
