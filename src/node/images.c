#include "api/codec.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/image_volumes.h"
#include "node/pull_auth.h"
#include "oci/jobs.h"
#include "oci/name.h"

#define PULLS_AT_ONCE 3
#define PULLS_MOST    30 /* with those of namespaces that have none under way */

/* One pull of one image; several containers may wait for it. The work is done by a program of its own (wherry-job
 * pull): what a registry answers is read there, without privileges. */
struct waiter {
    struct list node;
    struct agent_pod *ap; /* NULL: gone meanwhile */
    int container;
    size_t nth; /* of the images that it needs */
    int64_t since;
};
struct pull {
    struct list node; /* in images.pulls */
    struct images *images;
    char *name, *key;   /* as written in the pod; what the same pull is told by */
    char *ns;           /* who asked first */
    struct arena arena; /* of the request */
    struct pull_request request;
    struct list waiters;
    struct image_pull *job; /* NULL: waits for its turn */
    int64_t since;
};
struct images {
    struct agent *agent;
    struct list pulls; /* in order of asking */
    size_t running;
};

/* --- answers --- */

static struct str image_id(struct arena *a, struct str name, const struct image *im)
{
    struct image_name n;
    struct err ignored = ERR; /* what is no name has no repository to show, its digest it has */
    if (!image_name_parse(a, name, &n, &ignored))
        return arena_fmt(a, "sha256:%s", im->manifest.hex);
    return arena_fmt(a, STR_FMT "/" STR_FMT "@sha256:%s", STR_ARG(n.registry), STR_ARG(n.repository),
                     im->manifest.hex);
}

/* On the loop: the record is one small file in the node's own store, written once and hardly ever out of the page
 * cache, and whether an image is here decides in the same turn which container starts next. What would hold this up
 * (the disk of /var/lib/wherry) holds up every pod anyway. */
bool images_read(struct agent *g, struct arena *a, struct str name, struct image *out, struct err *err)
{
    struct image_name n;
    return image_name_parse(a, name, &n, err) && image_read(runtime_content(g->runtime), a, n.full, out, err);
}

/* What a container needs before it starts: its own image, then those of the volumes that it mounts. */
struct need {
    struct str name, policy;
};

static bool need_of(struct agent_pod *ap, int c, size_t nth, struct need *out)
{
    const struct val *spec = ap->pod->containers.p[c].spec, *v = nth ? image_volume_of(ap, c, nth - 1) : NULL;
    if (nth)
        *out = (struct need){val_text_at(v, N(image), N(reference)), val_text_at(v, N(image), N(pullPolicy))};
    else
        *out = (struct need){val_text_at(spec, N(image)), val_text_at(spec, N(imagePullPolicy))};
    return !nth || v;
}

static void image_failed(struct agent_pod *ap, int c, const char *reason, struct str message)
{
    agent_eventf(ap, c, true, "Failed", "Error: %s", reason);
    pod_saw_image(ap->facts, c, false, str_of(reason), message, clock_mono());
    agent_pod_kick(ap);
}

static void ensure_one(struct agent_pod *ap, int c, size_t nth);

/* The nth is here: then the next; with the last one the container has all. */
static void image_is_there(struct agent_pod *ap, int c, size_t nth)
{
    struct arena a = ARENA;
    struct need own, next;
    struct image im;
    struct err err = ERR;
    if (need_of(ap, c, nth + 1, &next)) {
        ensure_one(ap, c, nth + 1);
    } else if (need_of(ap, c, 0, &own) && images_read(ap->agent, &a, own.name, &im, &err)) {
        pod_saw_image(ap->facts, c, true, image_id(&a, own.name, &im), S(""), clock_mono());
        agent_pod_kick(ap);
    } else { /* it was removed meanwhile */
        image_failed(ap, c, "ErrImagePull", str_of(err.text));
    }
    arena_fini(&a);
}

static struct str duration_text(struct arena *a, int64_t ns)
{
    if (ns < NS_PER_S)
        return arena_fmt(a, "%lldms", (long long)(ns / NS_PER_MS));
    return arena_fmt(a, "%lld.%03llds", (long long)(ns / NS_PER_S), (long long)(ns % NS_PER_S / NS_PER_MS));
}

static void tell_waiter(struct waiter *w, const struct pull *p, bool ok, struct str why)
{
    struct agent_pod *ap = w->ap;
    struct str name = str_of(p->name);
    struct image im;
    struct err err = ERR;
    struct arena scratch = ARENA;
    int64_t now = clock_mono();
    if (ok && !images_read(ap->agent, &scratch, name, &im, &err)) {
        ok = false;
        why = str_of(err.text);
    }
    if (ok) {
        agent_eventf(ap, w->container, false, "Pulled",
                     "Successfully pulled image \"" STR_FMT "\" in " STR_FMT " (" STR_FMT
                     " including waiting). Image size: %lld bytes.",
                     STR_ARG(name), STR_ARG(duration_text(&scratch, now - p->since)),
                     STR_ARG(duration_text(&scratch, now - w->since)), (long long)im.size);
        image_is_there(ap, w->container, w->nth);
    } else {
        agent_eventf(ap, w->container, true, "Failed", "Failed to pull image \"" STR_FMT "\": " STR_FMT,
                     STR_ARG(name), STR_ARG(why));
        image_failed(ap, w->container, "ErrImagePull", why);
    }
    arena_fini(&scratch);
}

/* --- the job --- */

static void start_next(struct images *im);

static void pull_free(struct pull *p)
{
    list_del(&p->node);
    mem_wipe(p->key, strlen(p->key));
    mem_free(p->key);
    mem_free(p->name);
    mem_free(p->ns);
    arena_fini(&p->arena);
    mem_free(p);
}

static void on_done(void *arg, const struct digest *manifest, const struct strs *found, const struct err *err)
{
    (void)manifest, (void)found;
    struct pull *p = arg;
    struct images *im = p->images;
    list_each (w, &p->waiters, struct waiter, node) {
        list_del(&w->node);
        if (w->ap)
            tell_waiter(w, p, !err, err ? str_of(err->text) : STR_NONE);
        mem_free(w);
    }
    im->running--;
    pull_free(p);
    start_next(im);
}

/* A registry may be slow on purpose: the pulls of one namespace do not hold up those of another. */
static bool has_turn(const struct images *im, const struct pull *p)
{
    if (im->running < PULLS_AT_ONCE)
        return true;
    list_each (other, &im->pulls, struct pull, node) {
        if (other->job && strcmp(other->ns, p->ns) == 0)
            return false;
    }
    return im->running < PULLS_MOST;
}

static void start_next(struct images *im)
{
    static const struct image_pull_events events = {.done = on_done};
    list_each (p, &im->pulls, struct pull, node) {
        if (p->job || !has_turn(im, p))
            continue;
        im->running++;
        p->since = clock_mono();
        p->job = image_pull_start(im->agent->cfg.loop, im->agent->cfg.job, &p->request, &events, p);
    }
}

/* The pod's imagePullSecrets. One that is missing or not readable is told and no failure, at every pull, and once
 * where nothing is pulled; false: one has not been heard of yet. */
static bool read_secrets(struct agent_pod *ap, struct pull_auths *auths)
{
    struct sources s = configs_sources(ap);
    AUTO(strbuf_fini) struct strbuf missing = STRBUF(STRBUF_TEXT);
    val_each_item (ref, val_get(obj_spec(ap->pod->obj), N(imagePullSecrets))) {
        enum source_state state = SOURCE_HERE;
        struct err err = ERR;
        struct str name = val_text_at(ref, N(name));
        const struct obj *o = name.n ? s.get(s.arg, K(Secret), ap->pod->ns, name, &state) : NULL;
        if (!o && state == SOURCE_UNKNOWN)
            return false;
        if (!o && name.n)
            strbuf_addf(&missing, "%s" STR_FMT, missing.n ? ", " : "", STR_ARG(name));
        if (o && !pull_auths_add(auths, o, &err))
            strbuf_addf(&missing, "%s" STR_FMT ": %s", missing.n ? ", " : "", STR_ARG(name), err.text);
    }
    if (missing.n)
        agent_eventf(ap, -1, true, "FailedToRetrieveImagePullSecret",
                     "Unable to retrieve some image pull secrets (" STR_FMT
                     "); attempting to pull the image may not succeed.",
                     STR_ARG(strbuf_str(&missing)));
    ap->secrets_read = true;
    return true;
}

static void read_secrets_once(struct agent_pod *ap)
{
    struct arena scratch = ARENA;
    AUTO(pull_auths_fini) struct pull_auths auths = {.arena = &scratch};
    if (!ap->secrets_read)
        (void)read_secrets(ap, &auths); /* not heard of: images_retry comes back */
    arena_fini(&scratch);
}

static bool add_credentials(struct agent_pod *ap, struct arena *a, const struct image_name *n,
                            struct pull_request *request)
{
    AUTO(pull_auths_fini) struct pull_auths auths = {.arena = a};
    if (!read_secrets(ap, &auths))
        return false;
    request->credentials = pull_auths_for(&auths, n->registry, n->repository, &request->ncredentials);
    return true;
}

/* NULL: a Secret has not been heard of yet. */
static struct pull *make_pull(struct agent_pod *ap, struct str name, const struct image_name *n)
{
    struct agent *g = ap->agent;
    struct pull *p = NEW(struct pull);
    struct arena *a = &p->arena;
    struct str rest = str_of(g->cfg.insecure_registries), one;
    struct strs *insecure = &p->request.insecure;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(1 << 20);
    p->images = g->images;
    p->name = str_dupz(name);
    p->ns = str_dupz(ap->pod->ns);
    list_init(&p->node);
    list_init(&p->waiters);
    insecure->p = arena_alloc(a, (rest.n + 1) * sizeof *insecure->p);
    while (rest.n && str_cut(&rest, ',', &one))
        insecure->p[insecure->n++] = str_dup(a, str_trim(one));
    p->request.store = str_of(g->cfg.content);
    p->request.image = str_of(p->name);
    bool all = add_credentials(ap, a, n, &p->request);
    pull_request_encode(&p->request, &key);
    p->key = strbuf_take(&key);
    if (all)
        return p;
    pull_free(p);
    return NULL;
}

static void image_ask(struct agent_pod *ap, int c, size_t nth, struct str name, const struct image_name *n)
{
    struct images *im = ap->agent->images;
    struct pull *p = make_pull(ap, name, n), *same = NULL;
    ap->containers.p[c]->image_waits = !p; /* images_retry comes back here */
    if (!p)
        return;
    list_each (have, &im->pulls, struct pull, node) {
        if (strcmp(have->key, p->key) == 0) /* the same image with the same credentials */
            same = have;
    }
    if (same) {
        pull_free(p);
        p = same;
    } else {
        list_add_tail(&im->pulls, &p->node);
    }
    struct waiter *w = NEW(struct waiter);
    *w = (struct waiter){.ap = ap, .container = c, .nth = nth, .since = clock_mono()};
    list_add_tail(&p->waiters, &w->node);
    agent_eventf(ap, c, false, "Pulling", "Pulling image \"" STR_FMT "\"", STR_ARG(name));
    start_next(im);
}

/* --- what pods ask for --- */

static void ensure_one(struct agent_pod *ap, int c, size_t nth)
{
    struct need need;
    if (!need_of(ap, c, nth, &need)) /* volumes and mounts of a pod never change */
        return;
    struct arena scratch = ARENA;
    struct image_name n;
    struct image im;
    struct err err = ERR;
    struct str name = need.name;
    pod_asks_image(ap->facts, c, name);
    if (!image_name_parse(&scratch, name, &n, &err)) {
        struct str message = arena_fmt(&scratch, "Failed to apply default image tag \"" STR_FMT "\": %s",
                                       STR_ARG(name), err.text);
        agent_event(ap, c, true, "InspectFailed", message);
        image_failed(ap, c, "InvalidImageName", message);
        arena_fini(&scratch);
        return;
    }
    ap->containers.p[c]->image_waits = ap->agent->collecting;
    if (ap->agent->collecting) { /* images_held_over comes back here */
        arena_fini(&scratch);
        return;
    }
    bool here = images_read(ap->agent, &scratch, name, &im, &err);
    if (here && !str_eq(need.policy, S("Always"))) {
        agent_eventf(ap, c, false, "Pulled",
                     "Container image \"" STR_FMT "\" already present on machine and can be accessed by the pod",
                     STR_ARG(name));
        read_secrets_once(ap);
        image_is_there(ap, c, nth);
    } else if (str_eq(need.policy, S("Never"))) {
        struct str message = arena_fmt(
            &scratch, "Container image \"" STR_FMT "\" is not present with pull policy of Never", STR_ARG(name));
        agent_event(ap, c, true, "ErrImageNeverPull", message);
        image_failed(ap, c, "ErrImageNeverPull", message);
    } else {
        image_ask(ap, c, nth, name, &n);
    }
    arena_fini(&scratch);
}

void images_ensure(struct agent_pod *ap, int c)
{
    ensure_one(ap, c, 0);
}

/* What the container waits for may be what has come. */
static bool waits_for_no_more(struct agent_pod *ap, const struct pod_container *c)
{
    struct arena scratch = ARENA;
    struct image im;
    struct err err = ERR;
    struct need need;
    bool asks = true;
    for (size_t i = 0; asks && need_of(ap, (int)(c - ap->pod->containers.p), i, &need); i++)
        if (str_eq(need.name, c->image_asked))
            asks = str_eq(need.policy, S("Always")); /* the registry decides */
    bool here = !asks && images_read(ap->agent, &scratch, c->image_asked, &im, &err);
    arena_fini(&scratch);
    return here;
}

void images_came(struct agent *g)
{
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        array_each (c, &ap->pod->containers) {
            if (c->image == PART_FAILED && waits_for_no_more(ap, c)) {
                pod_saw_image_again(ap->facts, (int)(c - ap->pod->containers.p));
                agent_pod_kick(ap);
            }
        }
    }
}

void images_held_over(struct agent *g)
{
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        array_each (ac, &ap->containers)
            if ((*ac)->image_waits)
                images_ensure(ap, (*ac)->index);
    }
}

void images_retry(struct agent_pod *ap)
{
    bool pulling = false;
    array_each (ac, &ap->containers)
        pulling = pulling || (*ac)->image_waits;
    if (!pulling)
        read_secrets_once(ap);
    array_each (ac, &ap->containers)
        if ((*ac)->image_waits)
            images_ensure(ap, (*ac)->index);
}

static void pull_cancel(struct pull *p)
{
    list_each (w, &p->waiters, struct waiter, node) {
        list_del(&w->node);
        mem_free(w);
    }
    if (p->job) {
        image_pull_cancel(p->job);
        p->images->running--;
    }
    pull_free(p);
}

/* What nobody waits for any more ends; what it has of the image is taken up by the next who asks. */
void images_forget(struct agent_pod *ap)
{
    struct images *im = ap->agent->images;
    list_each (p, &im->pulls, struct pull, node) {
        bool was = false, wanted_yet = false;
        list_each (w, &p->waiters, struct waiter, node) {
            was |= w->ap == ap;
            if (w->ap == ap)
                w->ap = NULL;
            wanted_yet |= w->ap != NULL;
        }
        if (was && !wanted_yet)
            pull_cancel(p);
    }
    start_next(im);
}

struct images *images_new(struct agent *g)
{
    struct images *im = NEW(struct images);
    im->agent = g;
    list_init(&im->pulls);
    return im;
}

void images_free(struct images *im)
{
    if (!im)
        return;
    list_each (p, &im->pulls, struct pull, node)
        pull_cancel(p);
    mem_free(im);
}
