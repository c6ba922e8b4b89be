/* Volumes that are images (core/v1 ImageVolumeSource): pulled as containers' own images are, by whichever container
 * of the pod mounts them first, and mounted for the pod as a whole, read-only, below RUN/mounts/POD. They stay as
 * they are for the pod's life: a tag that moves meanwhile moves nothing under a container.
 *
 * The claim (content.h) that keeps layers from being collected is the pod's, "pod_UID"; it is taken before the mount
 * and given back after it has gone. */
#include "node/image_volumes.h"
#include "base/fault.h"
#include "node/agent_int.h"
#include "node/volume_image.h"
#include "oci/content.h"

const struct val *image_volume_of(struct agent_pod *ap, int container, size_t nth)
{
    const struct val *volumes = val_get(obj_spec(ap->pod->obj), N(volumes));
    val_each_item (v, volumes) {
        const struct val *image = val_get(v, N(image));
        bool mounted = image && val_find(val_get(ap->pod->containers.p[container].spec, N(volumeMounts)), N(name),
                                         val_text_at(v, N(name)));
        if (mounted && nth-- == 0)
            return v;
    }
    return NULL;
}

struct str image_volumes_claim(struct arena *a, struct str uid)
{
    return arena_fmt(a, "pod_" STR_FMT, STR_ARG(uid));
}

struct one_image {
    struct image image;
    struct str volume, target;
};
struct mounting {
    struct job job;
    struct agent_container *ac;
    struct arena arena;
    struct content *content;
    struct str claim;
    ARRAY(struct one_image) images;
    struct err err;
    bool ok;
    void (*done)(struct agent_container *ac, const struct err *err);
};

static void mounting_work(struct job *j)
{
    struct mounting *m = container_of(j, struct mounting, job);
    m->ok = true;
    array_each (one, &m->images) {
        m->ok = m->ok && content_use_also(m->content, m->claim, &one->image.manifest, &m->err);
        fault_pass("node.volume.image");
        m->ok = m->ok && volume_image_mount(m->content, &one->image, one->target.p, &m->err);
        if (!m->ok) {
            (void)err_wrap(&m->err, "volume \"" STR_FMT "\"", STR_ARG(one->volume));
            return;
        }
    }
}

static void mounting_over(struct mounting *m)
{
    m->done(m->ac, m->ok ? NULL : &m->err);
    array_fini(&m->images);
    arena_fini(&m->arena);
    mem_free(m);
}

static void mounting_done(struct job *j)
{
    mounting_over(container_of(j, struct mounting, job));
}

void image_volumes_mount(struct agent_container *ac, void (*done)(struct agent_container *ac, const struct err *err))
{
    struct agent_pod *ap = ac->ap;
    struct mounting *m = NEW(struct mounting);
    m->ac = ac;
    m->done = done;
    m->content = runtime_content(ap->agent->runtime);
    m->claim = image_volumes_claim(&m->arena, ap->pod->uid);
    m->ok = true;
    const struct val *v;
    for (size_t i = 0; m->ok && (v = image_volume_of(ap, ac->index, i)); i++) {
        struct one_image one = {.volume = str_dup(&m->arena, val_text_at(v, N(name))),
                                .target = arena_fmt(&m->arena, STR_FMT "/" STR_FMT, STR_ARG(ap->mounts_dir),
                                                    STR_ARG(val_text_at(v, N(name))))};
        m->ok = images_read(ap->agent, &m->arena, val_text_at(v, N(image), N(reference)), &one.image, &m->err);
        array_push(&m->images, one);
    }
    if (m->ok && m->images.n)
        agent_job_long(ap->agent, &m->job, mounting_work, mounting_done);
    else
        mounting_over(m);
}
