#include "cli/documents.h"
#include "api/codec.h"
#include "cli/fields.h"
#include "sys/file.h"
#include "wire/unicode.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* An item of a list, which may leave out what it is: a ConfigMapList holds ConfigMaps. */
static struct val item_of(struct client *c, const struct val *list, const struct val *item)
{
    struct str api = field_text(list, "apiVersion"), kind = field_text(list, "kind");
    struct val v = *item;
    if (!val_is(item, VAL_MAP) || str_eqz(kind, "List"))
        return v;
    v = val_copy(&c->arena, item);
    if (!val_get(&v, N(kind)))
        val_set(&c->arena, &v, N(kind), val_str(&c->arena, str_sub(kind, 0, kind.n - 4)));
    if (!val_get(&v, N(apiVersion)))
        val_set(&c->arena, &v, N(apiVersion), val_str(&c->arena, api));
    return v;
}

static void document_add(struct client *c, struct documents *out, struct str file, size_t number, const struct val *v)
{
    struct str kind = field_text(v, "kind");
    const struct val *items = val_get(v, N(items));
    if (str_eqz(kind, "List") || (val_is(items, VAL_LIST) && str_ends(kind, S("List")))) {
        val_each_item (it, items) {
            struct val item = item_of(c, v, it);
            document_add(c, out, file, number, &item);
        }
        return;
    }
    if ((out->n & (out->n - 1)) == 0) {
        struct document *p = arena_alloc(&c->arena, MAX(out->n * 2, 1) * sizeof *p);
        if (out->n)
            memcpy(p, out->p, out->n * sizeof *p);
        out->p = p;
    }
    out->p[out->n++] = (struct document){.file = file, .number = number, .v = *v};
}

static bool text_take(struct client *c, struct str file, struct str text, struct documents *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf utf8 = STRBUF(2 * DOCUMENT_FILE_MAX);
    struct val list;
    size_t number = 0;
    if (!unicode_text(text, &utf8, err) ||
        !yaml_decode_all(&c->arena, str_dup(&c->arena, strbuf_str(&utf8)), &list, err))
        return err_wrap(err, STR_FMT, STR_ARG(file));
    val_each_item (it, &list) {
        number++;
        if (!val_is(it, VAL_MAP))
            return err_set(err, E_INVALID,
                           STR_FMT ": document %zu: is no object; it must begin with apiVersion: and "
                                   "kind:",
                           STR_ARG(file), number);
        document_add(c, out, file, number, it);
    }
    return true;
}

static bool stdin_take(struct client *c, struct documents *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(DOCUMENT_FILE_MAX);
    for (;;) {
        char *p = strbuf_room(&b, 65536);
        ssize_t n = p ? read(0, p, 65536) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "stdin");
        if (n == 0)
            break;
        strbuf_used(&b, (size_t)n);
    }
    if (b.over)
        return err_set(err, E_TOO_LARGE, "stdin: over %u bytes", DOCUMENT_FILE_MAX);
    return text_take(c, S("stdin"), strbuf_str(&b), out, err);
}

static bool file_take(struct client *c, struct str file, struct documents *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(DOCUMENT_FILE_MAX);
    return file_read(AT_FDCWD, arena_strz(&c->arena, file), &b, err) && text_take(c, file, strbuf_str(&b), out, err);
}

static int is_shown(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static bool is_manifest(struct str name)
{
    return str_ends(name, S(".yaml")) || str_ends(name, S(".yml")) || str_ends(name, S(".json"));
}

static bool is_folder(struct client *c, struct str path)
{
    struct stat st;
    return stat(arena_strz(&c->arena, path), &st) == 0 && S_ISDIR(st.st_mode);
}

#define FOLDERS_MOST 32 /* one in the other: a link may lead back */

static bool folder_take(struct client *c, struct str dir, int deep, struct documents *out, size_t *taken,
                        struct err *err)
{
    struct dirent **found;
    int n = scandir(arena_strz(&c->arena, dir), &found, is_shown, alphasort);
    bool ok = n >= 0 || err_errno(err, STR_FMT, STR_ARG(dir));
    for (int i = 0; i < n; i++) {
        struct str path = arena_fmt(&c->arena, STR_FMT "/%s", STR_ARG(dir), found[i]->d_name);
        free(found[i]);
        if (!ok)
            continue;
        if (is_folder(c, path)) {
            ok = !deep || (deep > FOLDERS_MOST
                               ? err_set(err, E_INVALID, STR_FMT ": over %d folders deep", STR_ARG(dir), FOLDERS_MOST)
                               : folder_take(c, path, deep + 1, out, taken, err));
        } else if (is_manifest(path)) {
            (*taken)++;
            ok = file_take(c, path, out, err);
        }
    }
    if (n >= 0)
        free(found);
    return ok;
}

static bool is_address(struct str path)
{
    return str_starts(path, S("https://")) || str_starts(path, S("http://"));
}

static bool path_take(struct client *c, struct str path, bool deep, struct documents *out, struct err *err)
{
    size_t taken = 0;
    if (str_eqz(path, "-"))
        return stdin_take(c, out, err);
    if (is_address(path)) /* whom to trust is curl's to know */
        return err_set(err, E_INVALID, STR_FMT ": is an address, not a file: curl -fsSL " STR_FMT " | wherry %s -f -",
                       STR_ARG(path), STR_ARG(path), c->verb);
    if (!is_folder(c, path))
        return file_take(c, path, out, err);
    return folder_take(c, path, deep, out, &taken, err) &&
           (taken || err_set(err, E_NOT_FOUND, STR_FMT ": holds no *.yaml, *.yml or *.json", STR_ARG(path)));
}

bool documents_read(struct client *c, struct words files, bool deep, struct documents *out, struct err *err)
{
    *out = (struct documents){0};
    for (size_t i = 0; i < files.n; i++) {
        struct str rest = files.p[i], one;
        if (is_address(rest) || access(arena_strz(&c->arena, rest), F_OK) == 0 || str_find_char(rest, ',') < 0) {
            if (!path_take(c, rest, deep, out, err))
                return false;
            continue;
        }
        while (str_cut(&rest, ',', &one))
            if (one.n && !path_take(c, one, deep, out, err))
                return false;
    }
    return out->n || err_set(err, E_INVALID, "there is no object in " STR_FMT, STR_ARG(files.p[0]));
}

bool document_wrap(const struct document *d, struct err *err)
{
    if (d->resource && d->name.n)
        return err_wrap(err, STR_FMT ": document %zu (" STR_FMT "/" STR_FMT ")", STR_ARG(d->file), d->number,
                        STR_ARG(d->resource->singular), STR_ARG(d->name));
    return err_wrap(err, STR_FMT ": document %zu", STR_ARG(d->file), d->number);
}

bool document_place(struct client *c, struct document *d, bool nameless, struct err *err)
{
    struct str ns = field_text(&d->v, "metadata.namespace");
    d->name = field_text(&d->v, "metadata.name");
    if (!resource_of_kind(c, field_text(&d->v, "apiVersion"), field_text(&d->v, "kind"), &d->resource, err))
        return document_wrap(d, err);
    if (!d->name.n && !(nameless && field_text(&d->v, "metadata.generateName").n)) {
        err_set(err, E_INVALID, "metadata.name: is missing; every object needs one");
        return document_wrap(d, err);
    }
    if (!d->resource->namespaced)
        return true;
    if (ns.n && c->ns_given && !str_eq(ns, c->ns)) {
        err_set(err, E_INVALID,
                "metadata.namespace: is \"" STR_FMT "\", but -n says \"" STR_FMT "\"; leave one of them out",
                STR_ARG(ns), STR_ARG(c->ns));
        return document_wrap(d, err);
    }
    d->ns = ns.n ? ns : c->ns;
    if (!ns.n)
        val_set(&c->arena, val_need_map(&c->arena, &d->v, N(metadata)), N(namespace), val_str(&c->arena, d->ns));
    return true;
}
