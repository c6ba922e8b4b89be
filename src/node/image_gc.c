#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/image_gc_plan.h"
#include "oci/name.h"

#define PATIENCE_MS 2000 /* for who adds to the store: then pods have to go */

/* One collection under way. While it is, no pod is told that an image is here: it could go in the next moment. */
struct image_gc {
    struct job job;
    struct agent *agent;
    struct arena arena;
    struct content *content;
    struct image_gc_rules rules;
    struct map named; /* full names that pods of this node have */
    int64_t wanted;
    bool only_old, ok;
    struct content_collect result;
    int stay[IMAGE_FATES];
    struct err err;
    image_gc_done *done;
    void *arg;
};

static void name_add(struct image_gc *x, struct str name)
{
    struct image_name n;
    struct err ignored = ERR; /* what is no name is no image's */
    if (name.n && image_name_parse(&x->arena, name, &n, &ignored))
        (void)map_put(&x->named, n.full, x);
}

static void names_gather(struct image_gc *x)
{
    map_each (e, &x->agent->by_uid) {
        const struct agent_pod *ap = e->value;
        if (ap->pod->state >= POD_CLEANING)
            continue;
        array_each (c, &ap->pod->containers)
            name_add(x, val_text_at(c->spec, N(image)));
        val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes)))
            name_add(x, val_text_at(v, N(image), N(reference)));
    }
}

/* --- in the job ----------------------------------------------------------------------------------------------- */

static struct image_gc_image image_seen(struct image_gc *x, const struct image_row *row,
                                        const struct content_refs *refs)
{
    struct image_gc_image im = {.manifest = row->image.manifest, .size = row->image.size};
    im.used_at = content_used_at(x->content, &im.manifest);
    im.in_use = content_used(x->content, &im.manifest);
    im.by_hand = row->names.n == 0; /* nobody's: it goes as garbage, not by its name */
    array_each (r, &refs->list) {
        if (!digest_eq(&r->manifest, &im.manifest))
            continue;
        im.by_hand = im.by_hand || !r->pulled;
        im.named = im.named || map_get(&x->named, r->name);
        im.came_at = MAX(im.came_at, r->set_at);
    }
    return im;
}

static bool images_collect(struct image_gc *x, struct image_rows *rows, struct content_refs *refs)
{
    struct image_gc_image *images = arena_alloc(&x->arena, (rows->list.n + 1) * sizeof *images);
    struct digest *going = arena_alloc(&x->arena, (rows->list.n + 1) * sizeof *going);
    size_t n = 0;
    array_each (row, &rows->list)
        images[n++] = image_seen(x, row, refs);
    size_t go = image_gc_plan(images, n, &x->rules, clock_real(), x->only_old);
    for (size_t i = 0; i < n; i++) {
        x->stay[images[i].fate]++;
        if (i < go)
            going[i] = images[i].manifest;
    }
    x->result = (struct content_collect){.images = going, .n = go, .enough = x->wanted, .patience_ms = PATIENCE_MS};
    return (x->only_old && !go) || content_collect(x->content, &x->result, &x->err);
}

static void gc_work(struct job *j)
{
    struct image_gc *x = container_of(j, struct image_gc, job);
    struct image_rows rows = {0};
    struct content_refs refs = {0};
    x->ok = image_list(x->content, &x->arena, &rows, &x->err) &&
            content_refs(x->content, &x->arena, &refs, &x->err) && images_collect(x, &rows, &refs);
    array_fini(&rows.list);
    array_fini(&refs.list);
}

/* --- on the loop ---------------------------------------------------------------------------------------------- */

static void node_event(struct agent *g, const char *reason, struct str message)
{
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    if (node)
        events_record(g->events, node, S(""), "Warning", reason, NULL, message);
}

/* In a kubelet's words, and then which ones stay and why. */
static void gc_tell(struct image_gc *x)
{
    static const char *const words[IMAGE_FATES] = {
        [IMAGE_IN_USE] = "used by containers",
        [IMAGE_NAMED] = "named by pods of this node",
        [IMAGE_BY_HAND] = "loaded by hand, which no registry could give back",
        [IMAGE_YOUNG] = "too young",
    };
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (!x->ok) {
        strbuf_addz(&b, x->err.text);
    } else {
        strbuf_addf(&b,
                    "Failed to garbage collect required amount of images. Attempted to free %lld bytes, but only "
                    "found %lld bytes eligible to free.",
                    (long long)x->wanted, (long long)x->result.freed);
        for (int i = 0, said = 0; i < IMAGE_FATES; i++)
            if (words[i] && x->stay[i])
                strbuf_addf(&b, "%s%d %s", said++ ? ", " : " Not collected: ", x->stay[i], words[i]);
    }
    if (x->ok)
        node_event(x->agent, "FreeDiskSpaceFailed", strbuf_str(&b));
    node_event(x->agent, "ImageGCFailed", strbuf_str(&b));
    log_warn("images.gc", "wanted=%lld freed=%lld error=\"" STR_FMT "\"", (long long)x->wanted,
             (long long)x->result.freed, STR_ARG(strbuf_str(&b)));
}

static void gc_done(struct job *j)
{
    struct image_gc *x = container_of(j, struct image_gc, job);
    struct agent *g = x->agent;
    bool all = x->wanted == INT64_MAX; /* as much as there is: no amount was promised */
    g->collecting = false;
    if (x->result.removed || x->result.freed)
        log_info("images.gc", "removed=%zu freed=%lld", x->result.removed, (long long)x->result.freed);
    if (!x->ok || (!all && x->result.freed < x->wanted))
        gc_tell(x);
    images_held_over(g);
    if (x->result.removed)
        node_object_news(g->node);
    x->done(x->arg, x->ok, x->result.freed);
    map_fini(&x->named);
    arena_fini(&x->arena);
    mem_free(x);
}

bool image_gc_start(struct agent *g, int64_t wanted, bool only_old, image_gc_done *done, void *arg)
{
    if (g->collecting)
        return false;
    struct image_gc *x = NEW(struct image_gc);
    *x = (struct image_gc){.agent = g,
                           .content = runtime_content(g->runtime),
                           .rules = *g->cfg.image_gc,
                           .wanted = wanted,
                           .only_old = only_old,
                           .done = done,
                           .arg = arg};
    g->collecting = true;
    names_gather(x);
    agent_job_long(g, &x->job, gc_work, gc_done);
    return true;
}
