/* Who owns which fields: managedFields of every write, and server-side apply. */
#include "server/write_managed.h"
#include "api/codec.h"
#include "api/custom.h"
#include "server/fail.h"
#include "server/write.h"

/* --- other versions --- */

struct write_versions {
    struct versions base;
    struct request *r;
};

static const struct kind *kind_stored(const struct kind *k)
{
    return k->storage ? k->storage : k;
}

static const struct val *versions_as(struct versions *v, struct str api_version, const struct val *tree,
                                     const struct type **t)
{
    struct write_versions *x = container_of(v, struct write_versions, base);
    struct request *r = x->r;
    const struct kind *k = kind_set_of_api_version(r->kinds, api_version, r->kind->kind);
    if (!k || (kind_stored(k) != kind_stored(r->kind) && !kind_same(kind_stored(k), kind_stored(r->kind))))
        return NULL;
    *t = kind_type(k);
    if (k->live && !(k->custom && k->custom->webhook))
        return tree; /* its versions name the same fields */
    const struct val *as;
    struct err *failed = &r->write->no_version;
    return write_as(r->write, r->kind, k, tree, &as, failed) == CONVERTED ? as : NULL;
}

/* --- who writes --- */

/* A user agent's first word, as upstream reads it: "kubectl/v1.36.0 (linux/amd64)". */
static struct str agent_name(struct arena *a, struct str agent)
{
    struct str head, tail;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(128);
    (void)str_split(agent, '/', &head, &tail);
    for (size_t i = 0; i < head.n; i++)
        if ((unsigned char)head.p[i] >= 0x20 && head.p[i] != 0x7f)
            strbuf_addc(&b, head.p[i]);
    return str_dup(a, strbuf_str(&b));
}

struct managing managing_of(struct write *w, const struct type *type, struct str api_version, const struct val *was)
{
    struct request *r = w->r;
    struct write_versions *v = ARENA_NEW(&r->arena, struct write_versions);
    *v = (struct write_versions){{versions_as}, r};
    struct managing g = {.a = &r->arena,
                         .type = type,
                         .api_version = api_version,
                         .sub = r->sub,
                         .manager = r->options.field_manager,
                         .was = was,
                         .now = clock_real() / NS_PER_S,
                         .versions = &v->base};
    if (!g.manager.n) /* what the server writes of itself comes without one */
        g.manager = r->user_agent.p ? agent_name(&r->arena, r->user_agent) : S("kube-apiserver");
    return g;
}

static void managing_begin(struct write *w)
{
    struct request *r = w->r;
    w->no_version = ERR;
    w->managing = managing_of(w, kind_type(r->kind), r->kind->api_version, w->cur ? &w->cur->tree : NULL);
    w->managing.unowned = r->unowned;
    kind_resets(&r->arena, r->kind, r->sub, &w->managing);
}

/* What is wrong with names that a client gave managers. */
static bool owners_fit(struct request *r, const struct owners *o)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    for (size_t i = 0; i < o->n; i++) {
        struct str name = o->p[i].name;
        const char *at = arena_fmt(&r->arena, "metadata.managedFields[%zu].manager", i).p;
        if (name.n > 128)
            field_error_add(&e, FE_TOO_LONG, at, "Too long: may not be more than 128 bytes");
        for (size_t k = 0; k < name.n && name.n <= 128; k++)
            if ((unsigned char)name.p[k] < 0x20 || name.p[k] == 0x7f) {
                AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
                struct val v = val_str_borrowed(name);
                json_encode(&b, &v);
                field_error_add(&e, FE_INVALID, at,
                                "Invalid value: " STR_FMT ": should only contain printable characters",
                                STR_ARG(strbuf_str(&b)));
                break;
            }
        if (o->p[i].sub.n > 256)
            field_error_add(&e, FE_TOO_LONG, arena_fmt(&r->arena, "metadata.managedFields[%zu].subresource", i).p,
                            "Too long: may not be more than 256 bytes");
    }
    return !e.list.n || fail_invalid(r, r->group, r->kind->kind, r->name, &e);
}

/* But for the revision, which says what it was made of. */
static bool is_changed(struct write *w)
{
    struct val tree = *w->tree, meta = VAL_NONE;
    const struct val *have = val_get(w->tree, N(metadata));
    struct arena *a = &w->r->arena;
    if (have) {
        meta = (struct val){.type = VAL_MAP};
        val_each_member (m, have)
            if (m->name != N(resourceVersion))
                (void)val_append(a, &meta, m->name, m->v);
        tree = val_map();
        val_each_member (m, w->tree)
            (void)val_append(a, &tree, m->name, m->name == N(metadata) ? meta : m->v);
    }
    return !val_equal(&tree, &w->cur->tree);
}

enum write_next write_manage(struct write *w)
{
    struct request *r = w->r;
    if (w->tracked && w->applied) { /* the time is the change's, not the question's */
        if (!w->cur || is_changed(w))
            manage_applied(&w->managing, &w->owners, &w->applying);
        return WRITE_ON;
    }
    if (w->tracked) /* a scale */
        return WRITE_ON;
    managing_begin(w);
    manage_update(&w->managing, w->cur ? w->cur->managed : NULL, w->tree, w->sent_managed, &w->owners);
    w->tracked = !w->no_version.kind; /* else they stay as they were, as upstream leaves them */
    return !val_len(w->sent_managed) || owners_fit(r, &w->owners) ? WRITE_ON : WRITE_OVER;
}

void write_managed_take(struct write *w)
{
    struct val *meta = val_get_mut(w->tree, N(metadata));
    const struct val *sent = val_get(meta, N(managedFields));
    w->sent_managed = sent ? arena_dup(&w->r->arena, sent, sizeof *sent) : NULL;
    if (sent)
        val_del(meta, N(managedFields));
}

void write_managed_give(struct write *w, struct obj *o)
{
    if (!w->tracked) {
        obj_set_managed(o, w->stored ? w->stored->managed : NULL);
        return;
    }
    AUTO(managed_unref) const struct managed *list = owners_close(&w->owners);
    obj_set_managed(o, list);
}

bool write_managed_same(struct write *w)
{
    const struct managed *have = w->stored ? w->stored->managed : NULL;
    if (!w->tracked)
        return true;
    AUTO(managed_unref) const struct managed *list = owners_close(&w->owners);
    return managed_equal(list, have, false);
}

static const struct val *list_shown(struct write *w, const struct managed *list)
{
    struct val *v = ARENA_NEW(&w->r->arena, struct val);
    *v = managed_val(&w->r->arena, list);
    return list ? v : NULL;
}

const struct val *write_managed_was(struct write *w)
{
    const struct obj *o = w->cur ? w->cur : w->stored;
    return o ? list_shown(w, o->managed) : NULL;
}

const struct val *write_managed_shown(struct write *w)
{
    if (!w->tracked)
        return write_managed_was(w);
    AUTO(managed_unref) const struct managed *list = owners_close(&w->owners);
    return list_shown(w, list);
}

void write_managed_changed(struct write *w, struct val *tree, const struct val *shown)
{
    struct request *r = w->r;
    struct val *meta = val_get_mut(tree, N(metadata));
    const struct val *now = val_get(meta, N(managedFields));
    struct owners owners = {.a = &r->arena};
    struct err err = ERR;
    bool same = now && val_equal(now, shown), fine = same || !now || owners_of_val(&r->arena, now, &owners, &err);
    if (!same && fine) {
        w->owners = owners;
        w->tracked = true;
    }
    if (!fine)
        answer_warn(r, arena_fmt(&r->arena,
                                 ".metadata.managedFields was in an invalid state after admission; this could be "
                                 "caused by an outdated mutating admission controller; please fix your requests: %s",
                                 err.text));
    if (now)
        val_del(meta, N(managedFields));
}

/* --- apply --- */

static struct str gvk_text(struct arena *a, struct str api_version, struct str kind)
{
    bool grouped = str_find_char(api_version, '/') >= 0;
    return arena_fmt(a, "%s" STR_FMT ", Kind=" STR_FMT, grouped ? "" : "/", STR_ARG(api_version), STR_ARG(kind));
}

/* "default/web; apps/v1, Kind=Deployment": as errors name a configuration. */
static struct str config_text(struct request *r, struct str api_version, struct str kind)
{
    const struct val *meta = val_get(r->body, N(metadata));
    return arena_fmt(&r->arena, STR_FMT "/" STR_FMT "; " STR_FMT, STR_ARG(val_text_at(meta, N(namespace))),
                     STR_ARG(val_text_at(meta, N(name))), STR_ARG(gvk_text(&r->arena, api_version, kind)));
}

static bool fail_conflicts(struct request *r, const struct applying *done)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    conflicts_text(&text, done);
    fail_plain(r, 409, STR_FMT, STR_ARG(strbuf_str(&text)));
    r->answer.fail.reason = "Conflict";
    for (size_t i = 0; i < done->nconflicts; i++) {
        AUTO(strbuf_fini) struct strbuf with = STRBUF(STRBUF_TEXT);
        strbuf_addz(&with, "conflict with ");
        owner_text(&with, done->conflicts[i].with);
        fail_add_cause(r, "FieldManagerConflict", str_dup(&r->arena, strbuf_str(&with)), done->conflicts[i].path);
    }
    return false;
}

/* Keys that stand twice in the configuration are refused, warned of or ignored, as the client wants. */
static bool heed_twins(struct request *r)
{
    if (!val_len(r->body_notes) || r->options.validation == VALIDATION_IGNORE)
        return true;
    bool strict = r->options.validation == VALIDATION_STRICT;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    strbuf_addz(&text, "error converting YAML to JSON: yaml: unmarshal errors:");
    val_each_item (it, r->body_notes)
        strbuf_addf(&text, "%s  " STR_FMT, strict ? "\n" : "", STR_ARG(val_text(it)));
    if (strict)
        return fail_bad_request(r, "error strict decoding YAML: " STR_FMT, STR_ARG(strbuf_str(&text)));
    answer_warn(r, strbuf_str(&text));
    return true;
}

bool apply_config(struct write *w, const struct managing *g, struct str kind, struct val *out)
{
    struct request *r = w->r;
    struct arena *a = g->a;
    struct err err = ERR;
    struct str api_version = val_text_at(r->body, N(apiVersion)), said = val_text_at(r->body, N(kind));
    if (!str_eq(api_version, g->api_version) || !str_eq(said, kind))
        return fail_bad_request(r, "invalid object type: " STR_FMT, STR_ARG(gvk_text(a, api_version, said)));
    const struct val *managed = val_at(r->body, N(metadata), N(managedFields));
    if (managed && managed->type != VAL_NULL)
        return fail_bad_request(r, "metadata.managedFields must be nil");
    switch (manage_apply_open(g, r->body, r->options.force, &w->owners, &w->applying, &err)) {
    case APPLY_WRONG:
        return fail_plain(r, 500, "failed to create typed patch object (" STR_FMT "): %s",
                          STR_ARG(config_text(r, api_version, said)), err.text);
    case APPLY_CONFLICTS: return fail_conflicts(r, &w->applying);
    case APPLY_DONE: break;
    }
    if (!work_fits(r) || !heed_twins(r))
        return false;
    if (w->applying.last_applied.p) { /* merged shares with the live object what the configuration leaves alone */
        w->applying.merged = val_copy(a, &w->applying.merged);
        (void)val_set_str(a, val_need_map(a, &w->applying.merged, N(metadata), N(annotations)),
                          S("kubectl.kubernetes.io/last-applied-configuration"),
                          val_str_borrowed(w->applying.last_applied));
    }
    if (!type_decode_val(a, g->type, &w->applying.merged, out, NULL, &err))
        return fail_plain(r, 500, "failed to convert new object (" STR_FMT ") to proper version (" STR_FMT "): %s",
                          STR_ARG(config_text(r, api_version, said)), STR_ARG(api_version), err.text);
    w->tracked = w->applied = true;
    return true;
}

bool change_apply(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    managing_begin(w);
    w->owners = owners_open(a, w->cur ? w->cur->managed : NULL);
    w->tree = ARENA_NEW(a, struct val);
    bool applied = apply_config(w, &w->managing, r->kind->kind, w->tree);
    if (w->no_version.kind) {
        answer_reset(r);
        return fail_plain(r, 500, "failed to convert old object: %s", w->no_version.text);
    }
    if (!applied)
        return false;
    struct val *meta = val_need_map(a, w->tree, N(metadata));
    if (!w->cur && val_text_at(meta, N(uid)).n)
        return fail_conflict(
            r, "uid mismatch: the provided object specified uid " STR_FMT ", and no existing object was found",
            STR_ARG(val_text_at(meta, N(uid))));
    if (w->cur && !val_text_at(meta, N(resourceVersion)).n)
        val_set_text(a, meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)w->cur->rev));
    return true;
}
