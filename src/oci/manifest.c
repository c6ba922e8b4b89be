#include "oci/manifest.h"
#include "wire/json.h"

#define DESCRIPTORS_MAX 1000

const char *machine_arch(void)
{
#if defined __x86_64__
    return "amd64";
#elif defined __aarch64__
    return "arm64";
#elif defined __riscv
    return "riscv64";
#elif defined __powerpc64__
    return "ppc64le";
#elif defined __s390x__
    return "s390x";
#else
    return "unknown";
#endif
}

/* Nothing below recurses: what is deeper than its place in the format is skipped by the cursor. */
static bool json_opened(struct str text, struct json *j, const char *what, struct err *err)
{
    if (text.n > CONTENT_MANIFEST_MAX)
        return err_set(err, E_TOO_LARGE, "%s is over %d bytes", what, CONTENT_MANIFEST_MAX);
    if (!json_check(text, err)) {
        err->kind = E_INVALID;
        return err_wrap(err, "%s", what);
    }
    *j = json_of(text);
    return true;
}

static struct str text_of(struct json *j, struct arena *a) /* a string, or empty for anything else */
{
    if (json_type(j) == JSON_STRING)
        return json_string(j, a);
    (void)json_skip(j);
    return S("");
}

static bool json_entered(struct json *j, enum json_type type) /* false: it was something else, now skipped */
{
    if (json_type(j) != type) {
        (void)json_skip(j);
        return false;
    }
    json_enter(j);
    return true;
}

static struct strs texts_of(struct json *j, struct arena *a)
{
    ARRAY(struct str) list = {0};
    if (json_entered(j, JSON_ARRAY))
        while (json_more(j))
            array_push(&list, text_of(j, a));
    struct strs out = {list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL, list.n};
    array_fini(&list);
    return out;
}

static bool descriptor_of(struct json *j, struct arena *a, struct descriptor *d, struct err *err)
{
    struct str digest = S("");
    *d = (struct descriptor){0};
    if (!json_entered(j, JSON_OBJECT))
        return err_set(err, E_INVALID, "a descriptor must be an object");
    while (json_more(j)) {
        struct str key = json_key(j, a);
        if (str_eqz(key, "mediaType")) {
            d->media_type = text_of(j, a);
        } else if (str_eqz(key, "digest")) {
            digest = text_of(j, a);
        } else if (str_eqz(key, "size") && json_type(j) == JSON_NUMBER) {
            if (!json_int(json_number(j), &d->size) || d->size < 0)
                return err_set(err, E_INVALID, "size: must be a whole number of bytes");
        } else if (str_eqz(key, "platform") && json_type(j) == JSON_OBJECT) {
            json_enter(j);
            while (json_more(j)) {
                struct str name = json_key(j, a), value = text_of(j, a);
                if (str_eqz(name, "os"))
                    d->os = value;
                else if (str_eqz(name, "architecture"))
                    d->arch = value;
                else if (str_eqz(name, "variant"))
                    d->variant = value;
            }
        } else if (str_eqz(key, "annotations") && json_type(j) == JSON_OBJECT) {
            json_enter(j);
            while (json_more(j)) {
                struct str name = json_key(j, a), value = text_of(j, a);
                if (str_eqz(name, "org.opencontainers.image.ref.name"))
                    d->ref_name = value;
                else if (str_eqz(name, "io.containerd.image.name"))
                    d->full_name = value;
            }
        } else {
            (void)json_skip(j);
        }
    }
    return digest_parse(digest, &d->digest, err);
}

static bool descriptors_of(struct json *j, struct arena *a, struct manifest *m, const char *what, struct err *err)
{
    ARRAY(struct descriptor) list = {0};
    bool ok = true;
    if (!json_entered(j, JSON_ARRAY))
        return err_set(err, E_INVALID, "%s: must be a list", what);
    while (ok && json_more(j)) {
        struct descriptor d;
        ok = list.n < DESCRIPTORS_MAX || err_set(err, E_TOO_LARGE, "%s: more than %d", what, DESCRIPTORS_MAX);
        ok = ok && (descriptor_of(j, a, &d, err) || err_wrap(err, "%s[%zu]", what, list.n));
        if (ok)
            array_push(&list, d);
    }
    m->list = list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL;
    m->n = list.n;
    array_fini(&list);
    return ok;
}

bool manifest_decode(struct arena *a, struct str text, struct manifest *out, struct err *err)
{
    struct json j;
    int64_t version = 2;
    bool has_config = false, has_layers = false;
    *out = (struct manifest){0};
    if (!json_opened(text, &j, "manifest", err))
        return false;
    if (!json_entered(&j, JSON_OBJECT))
        return err_set(err, E_INVALID, "manifest: must be an object");
    while (json_more(&j)) {
        struct str key = json_key(&j, a);
        bool ok = true;
        if (str_eqz(key, "schemaVersion") && json_type(&j) == JSON_NUMBER) {
            ok = json_int(json_number(&j), &version);
        } else if (str_eqz(key, "manifests")) {
            out->index = true;
            ok = descriptors_of(&j, a, out, "manifests", err);
        } else if (str_eqz(key, "config")) {
            has_config = true;
            ok = descriptor_of(&j, a, &out->config, err) || err_wrap(err, "config");
        } else if (str_eqz(key, "layers")) {
            has_layers = true;
            ok = descriptors_of(&j, a, out, "layers", err);
        } else {
            (void)json_skip(&j);
        }
        if (!ok)
            return err->kind ? err_wrap(err, "manifest")
                             : err_set(err, E_INVALID, "manifest: schemaVersion: not a number");
    }
    if (version != 2)
        return err_set(err, E_INVALID,
                       "manifest: schemaVersion %lld is not supported: push the image again with a "
                       "builder of this decade",
                       (long long)version);
    if (!out->index && (!has_config || !has_layers))
        return err_set(err, E_INVALID, "manifest: neither an index nor an image (config and layers are missing)");
    if (!out->index && out->n > IMAGE_LAYERS_MAX)
        return err_set(err, E_TOO_LARGE, "manifest: %zu layers; the kernel mounts at most %d", out->n,
                       IMAGE_LAYERS_MAX);
    return true;
}

const struct descriptor *manifest_for_here(const struct manifest *index, struct err *err)
{
    const struct descriptor *plain = NULL;
    for (size_t i = 0; i < index->n; i++) {
        const struct descriptor *d = &index->list[i];
        if (str_eqz(d->os, "linux") && str_eqz(d->arch, machine_arch()) &&
            (!d->variant.n || str_eqz(d->variant, "v1") || str_eqz(d->variant, "v8")))
            return d;
        if (!d->os.n && !d->arch.n)
            plain = plain ? plain : d;
    }
    if (!plain)
        err_set(err, E_NOT_FOUND, "no match for platform in manifest: linux/%s is not among its %zu platforms",
                machine_arch(), index->n);
    return plain;
}

/* {"80/tcp": {}} and {"key": "value"} */
static struct strs keys_of(struct json *j, struct arena *a, bool with_values)
{
    ARRAY(struct str) list = {0};
    if (json_entered(j, JSON_OBJECT))
        while (json_more(j)) {
            struct str key = json_key(j, a);
            if (with_values) {
                struct str value = text_of(j, a);
                key = arena_fmt(a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value));
            } else {
                (void)json_skip(j);
                key = str_dup(a, key);
            }
            array_push(&list, key);
        }
    struct strs out = {list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL, list.n};
    array_fini(&list);
    return out;
}

static struct strs diff_ids_of(struct json *j, struct arena *a) /* of "rootfs" */
{
    struct strs ids = {0};
    json_enter(j);
    while (json_more(j)) {
        if (str_eqz(json_key(j, a), "diff_ids"))
            ids = texts_of(j, a);
        else
            (void)json_skip(j);
    }
    return ids;
}

static void how_to_run(struct json *j, struct arena *a, struct image *out) /* "config" */
{
    json_enter(j);
    while (json_more(j)) {
        struct str name = json_key(j, a);
        if (str_eqz(name, "User"))
            out->user = text_of(j, a);
        else if (str_eqz(name, "Entrypoint"))
            out->entrypoint = texts_of(j, a);
        else if (str_eqz(name, "Cmd"))
            out->cmd = texts_of(j, a);
        else if (str_eqz(name, "Env"))
            out->env = texts_of(j, a);
        else if (str_eqz(name, "WorkingDir"))
            out->workdir = text_of(j, a);
        else if (str_eqz(name, "StopSignal"))
            out->stop_signal = text_of(j, a);
        else if (str_eqz(name, "ExposedPorts"))
            out->ports = keys_of(j, a, false);
        else if (str_eqz(name, "Volumes"))
            out->volumes = keys_of(j, a, false);
        else if (str_eqz(name, "Labels"))
            out->labels = keys_of(j, a, true);
        else
            (void)json_skip(j);
    }
}

bool config_decode(struct arena *a, struct str text, struct image *out, struct digest **diff_ids, size_t *ndiff_ids,
                   struct err *err)
{
    struct json j;
    struct strs diffs = {0};
    if (!json_opened(text, &j, "image config", err))
        return false;
    if (!json_entered(&j, JSON_OBJECT))
        return err_set(err, E_INVALID, "image config: must be an object");
    while (json_more(&j)) {
        struct str key = json_key(&j, a);
        if (str_eqz(key, "os")) {
            out->os = text_of(&j, a);
        } else if (str_eqz(key, "architecture")) {
            out->arch = text_of(&j, a);
        } else if (str_eqz(key, "created")) {
            out->created = text_of(&j, a);
        } else if (str_eqz(key, "rootfs") && json_type(&j) == JSON_OBJECT) {
            diffs = diff_ids_of(&j, a);
        } else if (str_eqz(key, "config") && json_type(&j) == JSON_OBJECT) {
            how_to_run(&j, a, out);
        } else {
            (void)json_skip(&j);
        }
    }
    if (out->volumes.n > IMAGE_VOLUMES_MAX)
        return err_set(err, E_TOO_LARGE, "image config: %zu volumes; at most %d are mounted", out->volumes.n,
                       IMAGE_VOLUMES_MAX);
    if (!str_eqz(out->os, "linux") || !str_eqz(out->arch, machine_arch()))
        return err_set(err, E_INVALID,
                       "no match for platform in manifest: the image is for " STR_FMT "/" STR_FMT
                       ", this machine is linux/%s",
                       STR_ARG(out->os), STR_ARG(out->arch), machine_arch());
    *diff_ids = arena_alloc(a, (diffs.n + 1) * sizeof **diff_ids);
    *ndiff_ids = diffs.n;
    for (size_t i = 0; i < diffs.n; i++)
        if (!digest_parse(diffs.p[i], &(*diff_ids)[i], err))
            return err_wrap(err, "image config: rootfs: diff_ids[%zu]", i);
    return true;
}

bool docker_manifest_decode(struct arena *a, struct str text, struct docker_entry **out, size_t *n, struct err *err)
{
    struct json j;
    ARRAY(struct docker_entry) list = {0};
    if (!json_opened(text, &j, "manifest.json", err))
        return false;
    if (!json_entered(&j, JSON_ARRAY))
        return err_set(err, E_INVALID, "manifest.json: must be a list");
    while (json_more(&j)) {
        struct docker_entry e = {0};
        if (json_entered(&j, JSON_OBJECT))
            while (json_more(&j)) {
                struct str key = json_key(&j, a);
                if (str_eqz(key, "Config"))
                    e.config = text_of(&j, a);
                else if (str_eqz(key, "RepoTags"))
                    e.tags = texts_of(&j, a);
                else if (str_eqz(key, "Layers"))
                    e.layers = texts_of(&j, a);
                else
                    (void)json_skip(&j);
            }
        array_push(&list, e);
    }
    *out = list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL;
    *n = list.n;
    array_fini(&list);
    return true;
}

/* ---- accounts ---- */

static bool id_of(struct str text, uint32_t *out)
{
    uint64_t v;
    if (!str_to_u64(text, UINT32_MAX - 1, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

void accounts_decode(struct arena *a, struct str passwd, struct str group, struct image *out)
{
    ARRAY(struct image_account) users = {0};
    ARRAY(struct image_group) groups = {0};
    ARRAY(struct strs) members = {0};
    struct str line, name, skip, id, rest, member;
    while (str_cut(&group, '\n', &line) && groups.n < ACCOUNTS_MAX) {
        struct image_group g = {0};
        if (!str_cut(&line, ':', &name) || !name.n || !str_cut(&line, ':', &skip) || !str_cut(&line, ':', &id) ||
            !id_of(id, &g.gid))
            continue;
        g.name = str_dup(a, name);
        array_push(&groups, g);
        ARRAY(struct str) list = {0};
        rest = line;
        while (rest.n && str_cut(&rest, ',', &member))
            array_push(&list, str_trim(member));
        struct strs m = {list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL, list.n};
        array_push(&members, m);
        array_fini(&list);
    }
    while (str_cut(&passwd, '\n', &line) && users.n < ACCOUNTS_MAX) {
        struct image_account u = {0};
        struct str uid, gid, gecos, home = S("");
        if (!str_cut(&line, ':', &name) || !name.n || !str_cut(&line, ':', &skip) || !str_cut(&line, ':', &uid) ||
            !str_cut(&line, ':', &gid) || !id_of(uid, &u.uid) || !id_of(gid, &u.gid))
            continue;
        if (str_cut(&line, ':', &gecos))
            (void)str_cut(&line, ':', &home);
        u.name = str_dup(a, name);
        u.home = str_dup(a, home);
        ARRAY(uint32_t) in = {0};
        for (size_t i = 0; i < groups.n; i++)
            for (size_t k = 0; k < members.p[i].n; k++)
                if (str_eq(members.p[i].p[k], name) && groups.p[i].gid != u.gid)
                    array_push(&in, groups.p[i].gid);
        u.groups = in.n ? arena_dup(a, in.p, in.n * sizeof *in.p) : NULL;
        u.ngroups = MIN(in.n, 64);
        array_fini(&in);
        array_push(&users, u);
    }
    out->accounts = users.n ? arena_dup(a, users.p, users.n * sizeof *users.p) : NULL;
    out->naccounts = users.n;
    out->groups = groups.n ? arena_dup(a, groups.p, groups.n * sizeof *groups.p) : NULL;
    out->ngroups = groups.n;
    array_fini(&users);
    array_fini(&groups);
    array_fini(&members);
}
