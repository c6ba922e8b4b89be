#include "control/history.h"
#include "api/codec.h"
#include "api/patch.h"
#include "control/pods.h"

#define DATA_MAX (8u << 20) /* bytes of a template as JSON; a body of a request is smaller */

void revisions_fini(struct revisions *h)
{
    array_fini(&h->all);
}

static int64_t number_of(const struct obj *revision)
{
    return val_num(val_get(&revision->tree, N(revision)), 0);
}

static int revision_cmp(const void *pa, const void *pb)
{
    const struct obj *a = *(struct obj *const *)pa, *b = *(struct obj *const *)pb;
    int64_t d = number_of(a) - number_of(b);
    if (d == 0)
        d = obj_created(a) - obj_created(b);
    return d ? (d < 0 ? -1 : 1) : str_cmp(a->name, b->name);
}

bool revisions_collect(const struct view *v, const struct obj *owner, struct plan *out, struct revisions *h)
{
    *h = (struct revisions){.view = v, .out = out, .owner = owner};
    struct selector *selector;
    struct err err = ERR;
    if (!selector_of(&out->arena, val_get(obj_spec(owner), N(selector)), &selector, &err)) {
        plan_why(out, "spec.selector: %s", err.text);
        return false;
    }
    struct obj *o;
    struct objset_iter it = view_with(v, K(ControllerRevision), &index_controller, owner->uid);
    while ((o = objset_next(&it))) {
        if (selector_matches(selector, obj_labels(o)))
            array_push(&h->all, o);
        else if (!obj_deleting(owner))
            plan_release(out, o, owner);
    }
    it = view_with(v, K(ControllerRevision), &index_orphans, owner->ns);
    while (!obj_deleting(owner) && (o = objset_next(&it)))
        if (!obj_deleting(o) && selector_matches(selector, obj_labels(o))) {
            plan_adopt(out, o, owner);
            array_push(&h->all, o);
        }
    if (h->all.n > 0)
        qsort(h->all.p, h->all.n, sizeof *h->all.p, revision_cmp);
    return true;
}

struct obj *revisions_named(const struct revisions *h, struct str name)
{
    array_each (it, &h->all)
        if (str_eq((*it)->name, name))
            return *it;
    return NULL;
}

/* With all maps in it in the order of their keys, as encoding/json writes what it holds as maps. */
static struct val keys_sorted(struct arena *a, const struct val *v)
{
    struct val out = *v;
    if (v->type == VAL_LIST) {
        out = val_list();
        val_each_item (it, v)
            val_add(a, &out, keys_sorted(a, it));
    } else if (v->type == VAL_MAP) {
        AUTO_FREE uint32_t *order = sorted_members(v);
        out = val_map();
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[order ? order[i] : i];
            val_append(a, &out, m->name, keys_sorted(a, &m->v));
        }
    }
    return out;
}

struct val revision_data(struct arena *a, const struct val *template)
{
    struct val full = type_complete(a, T(core_v1_PodTemplateSpec), template);
    val_set_str(a, &full, S("$patch"), val_str_borrowed(S("replace")));
    struct val data = val_map(), *spec = val_set(a, &data, N(spec), val_map());
    val_set(a, spec, N(template), keys_sorted(a, &full));
    return data;
}

struct str revision_hash(struct arena *a, const struct val *data, int64_t collisions)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(DATA_MAX);
    json_encode(&text, data);
    strbuf_addf(&text, "%lld", (long long)collisions);
    uint32_t h = 2166136261u; /* FNV-1 */
    for (size_t i = 0; i < text.n; i++)
        h = h * 16777619u ^ (unsigned char)text.p[i];
    return safe_encode(a, arena_fmt(a, "%u", h));
}

/* Upstream's names are cut so that a hash has room in the 253 characters of a name. */
static struct str revision_name(struct arena *a, const struct obj *owner, struct str hash)
{
    return arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(str_sub(owner->name, 0, 223)), STR_ARG(hash));
}

static struct val revision_tree(const struct revisions *h, struct str label, struct str hash, struct val data,
                                int64_t number)
{
    struct arena *a = &h->out->arena;
    struct val tree = val_map(), *meta = val_set(a, &tree, N(metadata), val_map());
    const struct val *labels = val_at(obj_spec(h->owner), N(template), N(metadata), N(labels));
    const struct val *annotations = val_get(obj_meta(h->owner), N(annotations)); /* the cause of the change, say */
    struct val *own = val_set(a, meta, N(labels), labels ? val_copy(a, labels) : val_map());
    val_set_str(a, own, label, val_str(a, hash));
    if (annotations)
        val_set(a, meta, N(annotations), val_copy(a, annotations));
    struct val owners = val_list();
    val_add(a, &owners, owner_ref(a, h->owner));
    val_set(a, meta, N(ownerReferences), owners);
    val_set(a, &tree, N(data), data);
    val_set_num(a, &tree, N(revision), number);
    return tree;
}

static struct revision revision_known(const struct obj *o, struct str label, int64_t number)
{
    return (struct revision){o->name, val_text(val_get_str(obj_labels(o), label)), number, o};
}

struct revision revisions_current(struct revisions *h, struct str label, int64_t *collisions)
{
    struct arena *a = &h->out->arena;
    struct val data = revision_data(a, val_get(obj_spec(h->owner), N(template)));
    struct obj *last = h->all.n > 0 ? h->all.p[h->all.n - 1] : NULL, *same = NULL;
    array_each (it, &h->all)
        if (val_equal(val_get(&(*it)->tree, N(data)), &data))
            same = *it;
    if (same && same == last)
        return revision_known(same, label, number_of(same));
    int64_t number = last ? number_of(last) + 1 : 1;
    if (same) {
        struct val tree = plan_edit(h->out, same);
        val_set_num(a, &tree, N(revision), number);
        plan_update(h->out, same, S(""), tree);
        plan_step(h->out);
        return revision_known(same, label, number);
    }
    struct revision r = {.number = number};
    for (;; ++*collisions) { /* whoever has the name, it is not this template of this owner */
        r.hash = revision_hash(a, &data, *collisions);
        r.name = revision_name(a, h->owner, r.hash);
        if (!view_get(h->view, K(ControllerRevision), h->owner->ns, r.name))
            break;
    }
    plan_create(h->out, K(ControllerRevision), h->owner->ns, r.name, revision_tree(h, label, r.hash, data, number));
    plan_step(h->out);
    return r;
}

void revisions_trim(struct revisions *h, int64_t limit, bool (*is_live)(void *arg, const struct obj *revision),
                    void *arg)
{
    int64_t idle = 0;
    array_each (it, &h->all)
        idle += !obj_deleting(*it) && !is_live(arg, *it);
    array_each (it, &h->all)
        if (idle > limit && limit >= 0 && !obj_deleting(*it) && !is_live(arg, *it)) {
            plan_delete(h->out, *it);
            idle--;
        }
}

bool revision_apply(struct arena *a, const struct obj *owner, const struct obj *revision, struct val *template,
                    struct err *err)
{
    struct val base = val_map(), *spec = val_set(a, &base, N(spec), val_map()), whole = VAL_NONE;
    val_set(a, spec, N(template),
            type_complete(a, T(core_v1_PodTemplateSpec), val_get(obj_spec(owner), N(template))));
    struct decode_notes notes = {.arena = a};
    bool ok = patch_strategic(a, owner->kind->type, &base, val_get(&revision->tree, N(data)), &whole, err) &&
              type_decode_val(a, T(core_v1_PodTemplateSpec), val_at(&whole, N(spec), N(template)), template, &notes,
                              err);
    decode_notes_fini(&notes);
    return ok ||
           err_wrap(err, "ControllerRevision " STR_FMT " is no template of this object", STR_ARG(revision->name));
}
