#include "oci/image.h"
#include "base/map.h"
#include "oci/name.h"
#include <dirent.h>
#include <fcntl.h>

/* ---- records: "wherry-image 1", then "KEY VALUE" lines; in values % and line ends are percent-coded ---- */

static void add_value(struct strbuf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '%' || c < 0x20 || c == 0x7f)
            strbuf_addf(b, "%%%02x", c);
        else
            strbuf_addc(b, (char)c);
    }
}

static void add_text(struct strbuf *b, const char *key, struct str value)
{
    strbuf_addf(b, "%s ", key);
    add_value(b, value);
    strbuf_addc(b, '\n');
}

static void add_texts(struct strbuf *b, const char *key, struct strs list)
{
    for (size_t i = 0; i < list.n; i++)
        add_text(b, key, list.p[i]);
}

void image_encode(const struct image *im, struct strbuf *b)
{
    strbuf_addf(b, "wherry-image %d\nmanifest %s\nconfig %s\nsize %lld\n", IMAGE_FORMAT, im->manifest.hex,
                im->config.hex, (long long)im->size);
    add_text(b, "os", im->os);
    add_text(b, "arch", im->arch);
    add_text(b, "created", im->created);
    for (size_t i = 0; i < im->nlayers; i++)
        strbuf_addf(b, "layer %s\n", im->layers[i].hex);
    for (size_t i = 0; i < im->nblobs; i++)
        strbuf_addf(b, "blob %s\n", im->blobs[i].hex);
    add_text(b, "user", im->user);
    add_texts(b, "entrypoint", im->entrypoint);
    add_texts(b, "cmd", im->cmd);
    add_texts(b, "env", im->env);
    add_text(b, "workdir", im->workdir);
    add_text(b, "stop-signal", im->stop_signal);
    add_texts(b, "port", im->ports);
    add_texts(b, "label", im->labels);
    add_texts(b, "volume", im->volumes);
    for (size_t i = 0; i < im->naccounts; i++) {
        const struct image_account *u = &im->accounts[i];
        strbuf_addf(b, "account %u %u ", u->uid, u->gid);
        for (size_t k = 0; k < u->ngroups; k++)
            strbuf_addf(b, "%s%u", k ? "," : "", u->groups[k]);
        strbuf_addc(b, ' ');
        add_value(b, u->home);
        strbuf_addc(b, ' ');
        add_value(b, u->name);
        strbuf_addc(b, '\n');
    }
    for (size_t i = 0; i < im->ngroups; i++) {
        strbuf_addf(b, "group %u ", im->groups[i].gid);
        add_value(b, im->groups[i].name);
        strbuf_addc(b, '\n');
    }
}

static bool value_of(struct arena *a, struct str coded, struct str *out)
{
    if (str_find_char(coded, '%') < 0)
        return *out = str_dup(a, coded), true;
    char *p = arena_alloc(a, coded.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < coded.n; i++) {
        if (coded.p[i] != '%') {
            p[n++] = coded.p[i];
            continue;
        }
        AUTO(strbuf_fini) struct strbuf byte = STRBUF(1);
        if (i + 2 >= coded.n || !strbuf_add_unhex(&byte, str_sub(coded, i + 1, i + 3)))
            return false;
        p[n++] = byte.p[0];
        i += 2;
    }
    *out = (struct str){p, n};
    return true;
}

static bool hex_of(struct str text, struct digest *out)
{
    struct err ignored = ERR; /* a line of another version is no digest: false */
    char whole[DIGEST_TEXT + 1];
    if (text.n != DIGEST_HEX)
        return false;
    (void)snprintf(whole, sizeof whole, "sha256:" STR_FMT, STR_ARG(text));
    return digest_parse(str_of(whole), out, &ignored);
}

struct decoding {
    ARRAY(struct digest) layers, blobs;
    ARRAY(struct str) entrypoint, cmd, env, ports, labels, volumes;
    ARRAY(struct image_account) accounts;
    ARRAY(struct image_group) groups;
};

static bool number_of(struct str text, uint32_t *out)
{
    uint64_t v;
    if (!str_to_u64(text, UINT32_MAX, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool account_of(struct arena *a, struct str value, struct image_account *u)
{
    struct str uid, gid, groups, home, name, part;
    *u = (struct image_account){0};
    if (!str_cut(&value, ' ', &uid) || !str_cut(&value, ' ', &gid) || !str_cut(&value, ' ', &groups) ||
        !str_cut(&value, ' ', &home) || !number_of(uid, &u->uid) || !number_of(gid, &u->gid) ||
        !value_of(a, home, &u->home))
        return false;
    name = value.p ? value : S("");
    ARRAY(uint32_t) list = {0};
    bool ok = value_of(a, name, &u->name);
    while (ok && groups.n && str_cut(&groups, ',', &part)) {
        uint32_t gid_value;
        ok = number_of(part, &gid_value) && list.n < 1000;
        if (ok)
            array_push(&list, gid_value);
    }
    u->groups = list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL;
    u->ngroups = list.n;
    array_fini(&list);
    return ok;
}

static bool decode_line(struct arena *a, struct str key, struct str value, struct image *im, struct decoding *d)
{
    const struct {
        const char *key;
        struct str *to;
    } texts[] = {{"os", &im->os},     {"arch", &im->arch},       {"created", &im->created},
                 {"user", &im->user}, {"workdir", &im->workdir}, {"stop-signal", &im->stop_signal}};
    for (size_t i = 0; i < countof(texts); i++)
        if (str_eqz(key, texts[i].key))
            return value_of(a, value, texts[i].to);
    struct {
        const char *key;
        void *list;
    } lists[] = {{"entrypoint", &d->entrypoint}, {"cmd", &d->cmd},       {"env", &d->env}, {"port", &d->ports},
                 {"label", &d->labels},          {"volume", &d->volumes}};
    for (size_t i = 0; i < countof(lists); i++) {
        struct str text;
        if (!str_eqz(key, lists[i].key))
            continue;
        if (!value_of(a, value, &text))
            return false;
        array_push((__typeof__(&d->cmd))lists[i].list, text);
        return true;
    }
    struct digest hex;
    if (str_eqz(key, "manifest"))
        return hex_of(value, &im->manifest);
    if (str_eqz(key, "config"))
        return hex_of(value, &im->config);
    if (str_eqz(key, "size"))
        return str_to_i64(value, 0, INT64_MAX, &im->size);
    if (str_eqz(key, "layer")) {
        if (!hex_of(value, &hex) || d->layers.n == IMAGE_LAYERS_MAX)
            return false;
        array_push(&d->layers, hex);
        return true;
    }
    if (str_eqz(key, "blob")) {
        if (!hex_of(value, &hex))
            return false;
        array_push(&d->blobs, hex);
        return true;
    }
    if (str_eqz(key, "account")) {
        struct image_account u;
        if (!account_of(a, value, &u))
            return false;
        array_push(&d->accounts, u);
        return true;
    }
    if (str_eqz(key, "group")) {
        struct image_group g;
        struct str gid, name;
        if (!str_split(value, ' ', &gid, &name) || !number_of(gid, &g.gid) || !value_of(a, name, &g.name))
            return false;
        array_push(&d->groups, g);
        return true;
    }
    return true; /* a later wherry says more of the same format */
}

#define MOVE(to, count, from)                                                                                        \
    ((to) = (from).n ? arena_dup(a, (from).p, (from).n * sizeof *(from).p) : NULL, (count) = (from).n)

bool image_decode(struct arena *a, struct str text, struct image *out, struct err *err)
{
    struct decoding d = {0};
    struct str line, key, value;
    size_t n = 1;
    char format[40];
    *out = (struct image){0};
    (void)snprintf(format, sizeof format, "wherry-image %d", IMAGE_FORMAT);
    bool ok = str_cut(&text, '\n', &line) && str_eqz(line, format);
    if (!ok)
        return err_set(err, E_INVALID, "an image record must begin with \"%s\"", format);
    while (ok && str_cut(&text, '\n', &line)) {
        n++;
        if (!line.n)
            continue;
        ok = str_split(line, ' ', &key, &value) && decode_line(a, key, value, out, &d);
    }
    MOVE(out->layers, out->nlayers, d.layers);
    MOVE(out->blobs, out->nblobs, d.blobs);
    MOVE(out->entrypoint.p, out->entrypoint.n, d.entrypoint);
    MOVE(out->cmd.p, out->cmd.n, d.cmd);
    MOVE(out->env.p, out->env.n, d.env);
    MOVE(out->ports.p, out->ports.n, d.ports);
    MOVE(out->labels.p, out->labels.n, d.labels);
    MOVE(out->volumes.p, out->volumes.n, d.volumes);
    MOVE(out->accounts, out->naccounts, d.accounts);
    MOVE(out->groups, out->ngroups, d.groups);
    array_fini(&d.layers);
    array_fini(&d.blobs);
    array_fini(&d.entrypoint);
    array_fini(&d.cmd);
    array_fini(&d.env);
    array_fini(&d.ports);
    array_fini(&d.labels);
    array_fini(&d.volumes);
    array_fini(&d.accounts);
    array_fini(&d.groups);
    if (ok && (!out->manifest.hex[0] || !out->config.hex[0]))
        return err_set(err, E_INVALID, "an image record without manifest or config");
    return ok || err_set(err, E_INVALID, "line %zu of an image record cannot be read", n);
}

/* ---- reading from the store ---- */

static bool record_read(const struct content *c, struct arena *a, const struct digest *manifest, struct image *out,
                        struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(IMAGE_RECORD_MAX + 65536);
    char path[100];
    (void)snprintf(path, sizeof path, "images/%s", manifest->hex);
    if (!content_file_get(c, path, IMAGE_RECORD_MAX, &b, err))
        return false;
    return image_decode(a, strbuf_str(&b), out, err) || err_wrap(err, "%s/%s", c->dir, path);
}

static bool records_each(const struct content *c, struct arena *a, bool (*fn)(void *arg, const struct image *im),
                         void *arg, struct err *err)
{
    int fd = openat(c->fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fd_close(fd);
        return err_errno(err, "open %s/images", c->dir);
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        struct digest d;
        struct image im;
        struct err gone = ERR;
        if (!hex_of(str_of(e->d_name), &d))
            continue;
        if (record_read(c, a, &d, &im, &gone))
            ok = fn(arg, &im);
        else if (gone.kind != E_NOT_FOUND)
            ok = (*err = gone, false);
    }
    (void)closedir(dir);
    return ok;
}

struct by_config {
    const struct digest *config;
    struct image found;
};

static bool config_is(void *arg, const struct image *im)
{
    struct by_config *b = arg;
    if (digest_eq(&im->config, b->config))
        b->found = *im;
    return true;
}

bool image_read(const struct content *c, struct arena *a, struct str name, struct image *out, struct err *err)
{
    struct digest d;
    struct err ignored = ERR; /* no digest: then it is a name */
    bool id = digest_parse(name, &d, &ignored);
    if (!id && !content_ref_get(c, name, &d, err))
        return false;
    struct err why = ERR;
    if (!record_read(c, a, &d, out, &why)) {
        struct by_config b = {.config = &d};
        if (why.kind != E_NOT_FOUND)
            return *err = why, false;
        if (!id || !records_each(c, a, config_is, &b, &why) || !b.found.manifest.hex[0])
            return err_set(err, E_NOT_FOUND, "image \"" STR_FMT "\" is not present", STR_ARG(name));
        *out = b.found;
    }
    for (size_t i = 0; i < out->nlayers; i++)
        if (!content_has_layer(c, &out->layers[i]))
            return err_set(err, E_NOT_FOUND, "image \"" STR_FMT "\" is not whole: layer %s is missing", STR_ARG(name),
                           out->layers[i].hex);
    return true;
}

/* ---- users ---- */

static const struct image_account *account_by(const struct image *im, struct str name, bool numeric, uint32_t uid)
{
    for (size_t i = 0; i < im->naccounts; i++)
        if (numeric ? im->accounts[i].uid == uid : str_eq(im->accounts[i].name, name))
            return &im->accounts[i];
    return NULL;
}

bool image_user_find(const struct image *im, struct str user, struct image_user *out, struct err *err)
{
    struct str name, group;
    *out = (struct image_user){0};
    if (!user.n)
        user = im->user;
    bool has_group = str_split(user, ':', &name, &group) && group.n;
    bool numeric = number_of(name, &out->uid);
    const struct image_account *u = name.n ? account_by(im, name, numeric, out->uid) : account_by(im, name, true, 0);
    if (name.n && !numeric && !u)
        return err_set(err, E_NOT_FOUND, "unable to find user " STR_FMT ": no matching entries in passwd file",
                       STR_ARG(name));
    if (u) {
        out->uid = u->uid;
        out->gid = u->gid;
        out->home = u->home;
        out->ngroups = MIN(u->ngroups, countof(out->groups));
        if (out->ngroups)
            memcpy(out->groups, u->groups, out->ngroups * sizeof *u->groups);
    }
    if (!has_group || number_of(group, &out->gid))
        return true;
    for (size_t i = 0; i < im->ngroups; i++)
        if (str_eq(im->groups[i].name, group))
            return out->gid = im->groups[i].gid, true;
    return err_set(err, E_NOT_FOUND, "unable to find group " STR_FMT ": no matching entries in group file",
                   STR_ARG(group));
}

/* ---- list and remove ---- */

struct rows {
    struct image_rows *out;
};

static bool row_add(void *arg, const struct image *im)
{
    struct rows *r = arg;
    struct image_row row = {.image = *im};
    array_push(&r->out->list, row);
    return true;
}

bool image_list(const struct content *c, struct arena *a, struct image_rows *out, struct err *err)
{
    struct content_refs refs;
    *out = (struct image_rows){0};
    struct rows r = {out};
    if (!content_refs(c, a, &refs, err))
        return false;
    bool ok = records_each(c, a, row_add, &r, err);
    array_each (row, &out->list) {
        row->names.p = arena_alloc(a, (refs.list.n + 1) * sizeof(struct str));
        array_each (ref, &refs.list)
            if (digest_eq(&ref->manifest, &row->image.manifest))
                row->names.p[row->names.n++] = ref->name;
    }
    array_fini(&refs.list);
    if (!ok)
        array_fini(&out->list);
    return ok;
}

bool image_remove(struct content *c, struct str name, int64_t *freed_bytes, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct content_refs refs;
    struct digest d;
    struct err ignored = ERR; /* no digest: then it is a name */
    struct image im;
    struct image_name normal;
    bool id = digest_parse(name, &d, &ignored);
    if (!id && !image_name_parse(&a, name, &normal, err))
        return false;
    if (!id)
        name = normal.full;
    if (id) {
        if (!image_read(c, &a, name, &im, err))
            return false;
        d = im.manifest;
    } else if (!content_ref_get(c, name, &d, err)) {
        return false;
    }
    if (!content_refs(c, &a, &refs, err))
        return false;
    size_t others = 0;
    array_each (r, &refs.list)
        others += digest_eq(&r->manifest, &d) && !str_eq(r->name, name);
    bool ok = true;
    if ((id || others == 0) && content_used(c, &d))
        ok = err_set(err, E_CONFLICT, "image \"" STR_FMT "\" is in use by a container; delete its pods first",
                     STR_ARG(name));
    array_each (r, &refs.list)
        if (ok && digest_eq(&r->manifest, &d) && (id || str_eq(r->name, name)))
            ok = content_ref_del(c, r->name, err);
    array_fini(&refs.list);
    return ok && content_gc(c, freed_bytes, err);
}
