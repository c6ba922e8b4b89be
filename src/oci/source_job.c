/* source_job.c - a stream of bytes that is plain, gzip or zstd by its first bytes, and the tar archive in it. What
 * comes out is summed and bounded: a few bytes may unpack to very many.
 */
#include "oci/unpack_int.h"
#include <errno.h>

void source_init(struct unpack_source *s, int fd, int64_t max)
{
    memset(s, 0, sizeof *s);
    s->fd = fd;
    s->max = max;
    sha256_init(&s->sum);
}

void source_fini(struct unpack_source *s)
{
    if (s->packing == GZIP)
        (void)inflateEnd(&s->gz);
    if (s->zstd)
        ZSTD_freeDStream(s->zstd);
    sha256_fini(&s->sum);
}

static bool source_fill(struct unpack_source *s)
{
    if (s->at < s->have)
        return true;
    ssize_t n;
    do
        n = read(s->fd, s->in, sizeof s->in);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(&s->err, "read");
    s->at = 0;
    s->have = (size_t)n;
    return true;
}

static bool source_start(struct unpack_source *s)
{
    s->started = true;
    if (!source_fill(s))
        return false;
    if (s->have >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b) {
        if (inflateInit2(&s->gz, 16 + MAX_WBITS) != Z_OK)
            return err_set(&s->err, E_INTERNAL, "zlib");
        s->packing = GZIP;
    } else if (s->have >= 4 && memcmp(s->in, "\x28\xb5\x2f\xfd", 4) == 0) {
        s->packing = ZSTD;
        s->zstd = ZSTD_createDStream();
        ASSERT(s->zstd);
    }
    return true;
}

static ssize_t source_gunzip(struct unpack_source *s)
{
    s->gz.next_out = s->out;
    s->gz.avail_out = sizeof s->out;
    while (s->gz.avail_out == sizeof s->out) {
        if (!source_fill(s))
            return -1;
        if (s->have == 0)
            return s->ended ? 0 : (err_set(&s->err, E_INVALID, "gzip: the data end too early"), -1);
        if (s->ended) { /* several members one after the other are one stream; padding of zeros ends it */
            if (s->in[s->at] != 0x1f) {
                s->at = s->have;
                continue;
            }
            (void)inflateReset(&s->gz);
            s->ended = false;
        }
        s->gz.next_in = s->in + s->at;
        s->gz.avail_in = (unsigned)(s->have - s->at);
        int rc = inflate(&s->gz, Z_NO_FLUSH);
        s->at = s->have - s->gz.avail_in;
        if (rc == Z_STREAM_END)
            s->ended = true;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return err_set(&s->err, E_INVALID, "gzip: %s", s->gz.msg ? s->gz.msg : "the data are damaged"), -1;
    }
    return (ssize_t)(sizeof s->out - s->gz.avail_out);
}

static ssize_t source_unzstd(struct unpack_source *s)
{
    ZSTD_outBuffer out = {s->out, sizeof s->out, 0};
    while (out.pos == 0) {
        if (!source_fill(s))
            return -1;
        if (s->have == 0)
            return s->ended ? 0 : (err_set(&s->err, E_INVALID, "zstd: the data end too early"), -1);
        ZSTD_inBuffer in = {s->in, s->have, s->at};
        size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);
        s->at = in.pos;
        if (ZSTD_isError(rc))
            return err_set(&s->err, E_INVALID, "zstd: %s", ZSTD_getErrorName(rc)), -1;
        s->ended = rc == 0;
    }
    return (ssize_t)out.pos;
}

ssize_t source_read(struct unpack_source *s, const void **p)
{
    if (!s->started && !source_start(s))
        return -1;
    ssize_t n = 0;
    *p = s->out;
    switch (s->packing) {
    case PLAIN:
        if (!source_fill(s))
            return -1;
        n = (ssize_t)(s->have - s->at);
        *p = s->in + s->at;
        s->at = s->have;
        break;
    case GZIP: n = source_gunzip(s); break;
    case ZSTD: n = source_unzstd(s); break;
    }
    if (n > 0) {
        sha256_add(&s->sum, (struct str){*p, (size_t)n});
        s->size += n;
        if (s->size > s->max)
            return err_set(&s->err, E_TOO_LARGE, "over %lld bytes unpacked", (long long)s->max), -1;
    }
    return n;
}

static la_ssize_t archive_more(struct archive *a, void *arg, const void **p)
{
    struct unpack_source *s = arg;
    ssize_t n = source_read(s, p);
    if (n < 0)
        archive_set_error(a, EINVAL, "%s", s->err.text);
    return n;
}

static void auto_archive(struct archive **a)
{
    if (*a)
        (void)archive_read_free(*a);
}

static struct archive *archive_begin(struct unpack_source *s, struct err *err)
{
    struct archive *a = archive_read_new();
    ASSERT(a);
    (void)archive_read_support_format_tar(a);
    (void)archive_read_support_format_empty(a);
    if (archive_read_open(a, s, NULL, archive_more, NULL) != ARCHIVE_OK) {
        err_set(err, E_INVALID, "not a tar archive: %s", archive_error_string(a));
        (void)archive_read_free(a);
        return NULL;
    }
    return a;
}

bool archive_failed(struct archive *a, const struct unpack_source *s, struct err *err)
{
    if (s->err.kind)
        return *err = s->err, false;
    const char *why = archive_error_string(a);
    return err_set(err, E_INVALID, "tar: %s", why ? why : "the archive is damaged");
}

bool archive_each(struct unpack_source *s,
                  bool (*take)(void *arg, struct archive *a, const struct unpack_source *s, struct archive_entry *e,
                               const char *raw, struct err *err),
                  void *arg, struct err *err)
{
    __attribute__((cleanup(auto_archive))) struct archive *a = archive_begin(s, err);
    struct archive_entry *e;
    int rc = ARCHIVE_EOF;
    if (!a) {
        if (s->err.kind) /* it could not be read: that says more */
            *err = s->err;
        return false;
    }
    while ((rc = archive_read_next_header(a, &e)) >= ARCHIVE_WARN && rc != ARCHIVE_EOF) {
        const char *raw = archive_entry_pathname(e);
        if (!raw)
            return err_set(err, E_INVALID, "an entry whose name is not UTF-8");
        if (!take(arg, a, s, e, raw, err))
            return err_wrap(err, "\"%.300s\"", raw);
    }
    return rc == ARCHIVE_EOF || archive_failed(a, s, err);
}

bool archive_path(struct str path, char out[4096], struct err *err)
{
    size_t n = 0;
    struct str part, rest = path;
    out[0] = 0;
    while (str_cut(&rest, '/', &part)) {
        if (!part.n || str_eqz(part, "."))
            continue;
        if (str_eqz(part, ".."))
            return err_set(err, E_INVALID, "entry \"" STR_FMT "\" has \"..\" in its path",
                           STR_ARG(str_sub(path, 0, 300)));
        if (n + part.n + 2 > 4096 || part.n > 255)
            return err_set(err, E_INVALID, "entry \"" STR_FMT "...\": the path is too long",
                           STR_ARG(str_sub(path, 0, 200)));
        if (n)
            out[n++] = '/';
        memcpy(out + n, part.p, part.n);
        n += part.n;
        out[n] = 0;
    }
    return true;
}
