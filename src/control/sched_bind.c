/* The claims of a pod are bound before it is: the volumes that were chosen for them get their claimRef, and claims
 * that need one made the annotation with the node; then claim.c, volume.c and the provisioner do their part, and each
 * change of one of them brings us here to look. Nothing is undone where it fails: a volume that was given to its
 * claim is bound to it whatever becomes of the pod. */
#include "control/sched_csi.h"
#include "control/sched_volume.h"
#include "control/volumes.h"

static void binding_go(struct volume_binding *b);

static void binding_end(struct volume_binding *b, const char *error)
{
    b->under_way = false;
    b->done(b, error); /* may free it */
}

static void wish_written(struct call *c)
{
    struct volume_binding *b = container_of(c, struct volume_binding, call);
    if (!c->ok) { /* a conflict only says that we looked too early */
        binding_end(b, c->err.kind == E_CONFLICT ? "" : arena_strz(&b->arena, str_of(c->err.text)));
        return;
    }
    b->wishes.p[b->written - 1].rev = c->obj ? c->obj->rev : 0;
    binding_go(b);
}

static void wish_write(struct volume_binding *b, struct volume_wish *w)
{
    struct val tree = w->volume ? volume_claimed_by(&b->arena, w->volume, w->claim)
                                : obj_tree_noted(&b->arena, w->claim, ANN_SELECTED_NODE, b->node);
    const struct obj *o = w->volume ? w->volume : w->claim;
    struct call_options c = CALL_OPTIONS(.verb = CALL_UPDATE, .kind = o->kind, .ns = o->ns, .name = o->name,
                                         .body = &tree, .expect_rev = o->rev, .expect_uid = o->uid);
    b->call.done = wish_written;
    call_start(&b->call, b->t, &c);
}

static bool wish_is_so(const struct volume_wish *w, struct str node)
{
    return w->volume ? volume_names(w->volume, w->claim) && val_text_at(volume_claim(w->volume), N(uid)).n > 0
                     : str_eq(obj_note(w->claim, ANN_SELECTED_NODE), node);
}

static void binding_go(struct volume_binding *b)
{
    while (b->written < b->wishes.n) {
        struct volume_wish *w = &b->wishes.p[b->written++];
        if (wish_is_so(w, b->node))
            continue;
        wish_write(b, w);
        return;
    }
    volume_binding_look(b);
}

bool volume_binding_start(struct volume_binding *b, const struct claim_choice *choices, size_t n)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < n; i++) {
        struct str claim = objset_key_of(&key, choices[i].claim);
        array_push(&b->wishes,
                   ((struct volume_wish){.claim = obj_ref(choices[i].claim),
                                         .volume = choices[i].volume ? obj_ref(choices[i].volume) : NULL}));
        if (!choices[i].volume)
            mem_free(map_put(&b->sched->destined, claim, str_dupz(b->node)));
        else
            mem_free(map_put(&b->sched->promised, choices[i].volume->name, str_dupz(claim)));
    }
    if (n == 0)
        return false;
    b->under_way = true;
    binding_go(b);
    return true;
}

void volume_binding_fini(struct volume_binding *b)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    call_cancel(&b->call);
    array_each (w, &b->wishes) {
        if (!w->volume)
            mem_free(map_del(&b->sched->destined, objset_key_of(&key, w->claim)));
        else
            mem_free(map_del(&b->sched->promised, w->volume->name));
        obj_unref(w->claim);
        obj_unref(w->volume);
    }
    array_fini(&b->wishes);
    arena_fini(&b->arena);
    b->under_way = false;
}

/* ---- is it so by now ---- */

enum outlook { STILL_WAITING, ALL_BOUND, GONE_WRONG };

static PRINTF(3, 4) enum outlook gone_wrong(struct volume_binding *b, const char **error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    *error = arena_strz(&b->arena, arena_vfmt(&b->arena, fmt, args));
    va_end(args);
    return GONE_WRONG;
}

static enum outlook wrong_node(struct volume_binding *b, const char **error, const struct obj *volume)
{
    return gone_wrong(b, error,
                      "pv \"" STR_FMT "\" node affinity doesn't match node \"" STR_FMT
                      "\": no matching NodeSelectorTerms",
                      STR_ARG(volume->name), STR_ARG(b->node));
}

static enum outlook static_outlook(struct volume_binding *b, const struct volume_wish *w, const struct obj *node,
                                   const struct obj *claim, const char **error)
{
    const struct obj *volume = view_get(b->view, K(PersistentVolume), S(""), w->volume->name);
    if (!volume)
        return gone_wrong(b, error, "failed to check binding: could not find v1.PersistentVolume \"" STR_FMT "\"",
                          STR_ARG(w->volume->name));
    if (volume->rev < w->rev)
        return STILL_WAITING;
    if (!csi_volume_takes_node(b->view, &b->arena, volume, node))
        return wrong_node(b, error, volume);
    if (val_text_at(volume_claim(volume), N(uid)).n == 0)
        return gone_wrong(b, error, "ClaimRef got reset for pv \"" STR_FMT "\"", STR_ARG(volume->name));
    return claim_is_bound(claim) ? ALL_BOUND : STILL_WAITING;
}

static enum outlook made_outlook(struct volume_binding *b, const struct volume_wish *w, const struct obj *node,
                                 const struct obj *claim, const char **error)
{
    if (claim->rev < w->rev)
        return STILL_WAITING;
    if (!obj_has_note(claim, ANN_SELECTED_NODE))
        return gone_wrong(b, error, "selectedNode annotation reset for PVC \"" STR_FMT "\"", STR_ARG(claim->name));
    if (!str_eq(obj_note(claim, ANN_SELECTED_NODE), b->node))
        return gone_wrong(b, error, "provisioning failed for PVC \"" STR_FMT "\"", STR_ARG(claim->name));
    const struct obj *volume = claim_volume(claim).n
                                   ? view_get(b->view, K(PersistentVolume), S(""), claim_volume(claim))
                                   : NULL;
    if (volume && !csi_volume_takes_node(b->view, &b->arena, volume, node))
        return wrong_node(b, error, volume);
    return volume && claim_is_bound(claim) ? ALL_BOUND : STILL_WAITING;
}

static enum outlook binding_outlook(struct volume_binding *b, const char **error)
{
    const struct obj *node = view_get(b->view, K(Node), S(""), b->node);
    if (!node)
        return gone_wrong(b, error, "failed to get node \"" STR_FMT "\": node not found", STR_ARG(b->node));
    array_each (w, &b->wishes) {
        const struct obj *claim = view_get(b->view, K(PersistentVolumeClaim), w->claim->ns, w->claim->name);
        if (!claim || !str_eq(claim->uid, w->claim->uid))
            return gone_wrong(b, error,
                              "failed to check binding: could not find v1.PersistentVolumeClaim \"" STR_FMT "\"",
                              STR_ARG(w->claim->name));
        enum outlook one = w->volume ? static_outlook(b, w, node, claim, error)
                                     : made_outlook(b, w, node, claim, error);
        if (one != ALL_BOUND)
            return one;
    }
    return ALL_BOUND;
}

void volume_binding_look(struct volume_binding *b)
{
    const char *error = NULL;
    if (!b->under_way || b->written < b->wishes.n || call_active(&b->call))
        return;
    enum outlook all = binding_outlook(b, &error);
    if (all != STILL_WAITING)
        binding_end(b, error);
}
