#include "api/quantity.h"
#include "cli/args.h"
#include "cli/connect.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "node/volume_store.h"
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>

/* wherry volume ls: what the built-in provisioner has made, by the API's objects, and how much of this machine's disk
 * it really takes, by its folders. */

struct volume_options {
    struct connect_options connect;
    struct str form;
};
#define OPTION(letter, name, kind, member, value, help)                                                              \
    {                                                                                                                \
        letter, name, kind, offsetof(struct volume_options, member), value, help                                     \
    }
static const struct arg_row volume_options_rows[] = {
    OPTION('o', "output", ARG_TEXT, form, "FORM", "wide: paths, what holds each to its size, who gets it; json"),
};
static const struct arg_spec volume_spec = {
    .verb = "volume",
    .usage = "ls [-o wide|json]",
    .summary = "Lists the volumes that StorageClass local and others of wherry.dev/local have made on this machine.",
    .examples = "  wherry volume ls\n  wherry volume ls -o wide\n",
    .rows = volume_options_rows,
    .nrows = countof(volume_options_rows),
    .connects = true,
};

struct volume_row {
    struct str name, claim, class, size, path, by, policy, state, users;
    int64_t used; /* -1: not known */
};
struct volume_rows {
    struct client *c;
    struct val volumes, pods;
    ARRAY(struct volume_row) list;
    ARRAY(struct str) dirs; /* those of the volumes; what else lies there is listed as well */
};

/* --- what is really used ---------------------------------------------------------------------------------------- */

static _Thread_local int64_t counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path, (void)type, (void)at;
    counted += (int64_t)st->st_blocks * 512 / (S_ISDIR(st->st_mode) ? 1 : MAX((int64_t)st->st_nlink, 1));
    return 0;
}

static int64_t folder_count(struct arena *a, struct str dir, struct str name)
{
    counted = 0;
    const char *path = arena_fmt(a, STR_FMT "/" STR_FMT "/data", STR_ARG(dir), STR_ARG(name)).p;
    return nftw(path, count_one, 32, FTW_PHYS | FTW_MOUNT) == 0 ? counted : -1;
}

/* --- rows ------------------------------------------------------------------------------------------------------- */

static struct str users_of(struct volume_rows *x, struct str ns, struct str claim)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (pod, field_at(&x->pods, "items")) {
        struct str phase = field_text(pod, "status.phase"), name = field_text(pod, "metadata.name");
        if (!str_eq(field_text(pod, "metadata.namespace"), ns) || str_eqz(phase, "Succeeded") ||
            str_eqz(phase, "Failed"))
            continue;
        val_each_item (v, field_at(pod, "spec.volumes")) {
            struct str named = field_text(v, "persistentVolumeClaim.claimName");
            if (field_at(v, "ephemeral"))
                named = arena_fmt(&x->c->arena, STR_FMT "-" STR_FMT, STR_ARG(name), STR_ARG(field_text(v, "name")));
            if (str_eq(named, claim))
                strbuf_addf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(name));
        }
    }
    return str_dup(&x->c->arena, strbuf_str(&b));
}

static bool is_ours(const struct val *volume)
{
    return str_eqz(
        val_text(val_get_str(field_at(volume, "metadata.annotations"), S("pv.kubernetes.io/provisioned-by"))),
        "wherry.dev/local");
}

static void add_objects(struct volume_rows *x)
{
    struct arena *a = &x->c->arena;
    val_each_item (v, field_at(&x->volumes, "items")) {
        struct str dir, name, path = field_text(v, "spec.local.path");
        struct str ns = field_text(v, "spec.claimRef.namespace"), claim = field_text(v, "spec.claimRef.name");
        if (!is_ours(v))
            continue;
        struct volume_row row = {.name = field_text(v, "metadata.name"),
                                 .claim = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(claim)),
                                 .class = field_text(v, "spec.storageClassName"),
                                 .size = field_text(v, "spec.capacity.storage"),
                                 .policy = field_text(v, "spec.persistentVolumeReclaimPolicy"),
                                 .state = field_text(v, "status.phase"),
                                 .path = path,
                                 .users = users_of(x, ns, claim),
                                 .used = -1};
        array_push(&x->list, row);
        bool known = !volume_store_split(path, &dir, &name);
        for (size_t i = 0; i < x->dirs.n && !known; i++)
            known = str_eq(x->dirs.p[i], dir);
        if (!known)
            array_push(&x->dirs, dir);
    }
}

static struct volume_row *row_of(struct volume_rows *x, struct str name)
{
    array_each (r, &x->list)
        if (str_eq(r->name, name))
            return r;
    return NULL;
}

/* What lies in a folder, beside the objects: theirs, and volumes that nobody has any more. */
static void add_disk(struct volume_rows *x, struct str dir)
{
    struct arena *a = &x->c->arena;
    AUTO(volume_list_fini) struct volume_list all = {0};
    struct err err = ERR;
    if (access(arena_strz(a, dir), R_OK | X_OK) < 0 && errno != ENOENT) {
        output_show(stderr, "wherry volume: what is used is told to root alone: " STR_FMT ": %s\n", STR_ARG(dir),
                    strerror(errno));
        return;
    }
    if (!volume_store_list(a, dir, &all, &err)) {
        output_show(stderr, "wherry volume: %s\n", err.text);
        return;
    }
    array_each (v, &all.list) {
        struct volume_row *r = row_of(x, v->name);
        if (!r) { /* its object was deleted, and it was to be kept */
            array_push(&x->list, ((struct volume_row){.name = v->name,
                                                      .claim = v->claim,
                                                      .size = quantity_of_bytes(a, v->size),
                                                      .state = v->published ? S("Kept") : S("Making"),
                                                      .path = arena_fmt(a, STR_FMT "/" STR_FMT "/%s", STR_ARG(dir),
                                                                        STR_ARG(v->name),
                                                                        v->by == SIZE_IMAGE ? "image" : "data"),
                                                      .users = S("")}));
            r = &x->list.p[x->list.n - 1];
        }
        r->used = v->used >= 0 ? v->used : folder_count(a, dir, v->name);
        r->by = str_of(size_by_word(v->by));
    }
    array_each (r, &x->list) {
        struct str its, name;
        if (!r->by.n && volume_store_split(r->path, &its, &name) && str_eq(its, dir))
            r->state = S("Missing");
    }
}

static struct str used_text(struct arena *a, int64_t used)
{
    if (used < 0)
        return S("");
    return used < 10 << 20 ? arena_fmt(a, "%lldKi", (long long)(used + 1023) / 1024)
                           : arena_fmt(a, "%lldMi", (long long)(used + (1 << 20) - 1) / (1 << 20));
}

static int by_claim(const void *a, const void *b)
{
    const struct volume_row *x = a, *y = b;
    int order = str_cmp(x->claim, y->claim);
    return order ? order : str_cmp(x->name, y->name);
}

static void rows_print(struct volume_rows *x, bool wide)
{
    AUTO(table_fini) struct table t = {.columns = wide ? 10 : 6};
    const char *const heads[] = {"CLAIM",   "CLASS",  "SIZE",    "USED",    "STATE",
                                 "USED BY", "VOLUME", "HELD BY", "RECLAIM", "PATH"};
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, str_of(heads[i]));
    array_each (r, &x->list) {
        const struct str cells[] = {r->claim,  r->class, r->size, used_text(&x->c->arena, r->used),
                                    r->state,  r->users, r->name, r->by,
                                    r->policy, r->path};
        for (size_t i = 0; i < t.columns; i++)
            table_add(&t, cells[i].n ? cells[i] : S("-"));
    }
    table_print(&t, 0, stdout);
}

static void rows_json(struct volume_rows *x)
{
    struct arena *a = &x->c->arena;
    struct val list = val_list();
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    array_each (r, &x->list) {
        const struct {
            const char *key;
            struct str text;
        } rows[] = {{"volume", r->name}, {"claim", r->claim},          {"class", r->class},
                    {"size", r->size},   {"state", r->state},          {"path", r->path},
                    {"sizeBy", r->by},   {"reclaimPolicy", r->policy}, {"usedBy", r->users}};
        struct val m = val_map();
        for (size_t i = 0; i < countof(rows); i++)
            val_set_str(a, &m, str_of(rows[i].key), val_str(a, rows[i].text));
        if (r->used >= 0)
            val_set_str(a, &m, S("usedBytes"), val_int(r->used));
        val_add(a, &list, m);
    }
    json_pretty(&b, &list);
    output_show(stdout, "%s", b.p);
}

int volume_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "volume"};
    struct volume_options o = {0};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &volume_spec, argc, argv, &o, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    bool wide = str_eqz(o.form, "wide"), json = str_eqz(o.form, "json");
    if (words.n != 1 || !str_eqz(words.p[0], "ls") || (o.form.n && !wide && !json)) {
        output_show(stderr, "wherry volume: it is wherry volume ls [-o wide|json]\n");
        return 2;
    }
    struct volume_rows x = {.c = &c};
    if (!client_open(&c, &o.connect, &err) ||
        !client_ask(&c, &(struct ask){.path = S("/api/v1/persistentvolumes")}, &x.volumes, &err) ||
        !client_ask(&c, &(struct ask){.path = S("/api/v1/pods")}, &x.pods, &err))
        return client_failed(&c, &err);
    struct str own = arena_fmt(&c.arena, STR_FMT "/var/lib/wherry/volumes", STR_ARG(o.connect.root));
    add_objects(&x);
    bool known = false;
    array_each (d, &x.dirs) {
        known = known || str_eq(*d, own);
        add_disk(&x, *d);
    }
    if (!known && access(own.p, F_OK) == 0)
        add_disk(&x, own);
    if (x.list.n > 1)
        qsort(x.list.p, x.list.n, sizeof *x.list.p, by_claim);
    if (json)
        rows_json(&x);
    else
        rows_print(&x, wide);
    array_fini(&x.list);
    array_fini(&x.dirs);
    return 0;
}
