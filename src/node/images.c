#include "api/codec.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "oci/jobs.h"
#include "oci/name.h"

#define PULLS_AT_ONCE 3

/* One pull of one image; several containers may wait for it. The work is done by a program of its own (wherry-job
 * pull): what a registry answers is read there, without privileges. */
struct waiter {
    struct list node;
    struct agent_pod *ap; /* NULL: gone meanwhile */
    int container;
    int64_t since;
};
struct pull {
    struct list node; /* in images.pulls */
    struct images *images;
    char *name, *key;   /* as written in the pod; what the same pull is told by */
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

/* --- answers -------------------------------------------------------------------------------------------------------
 */

static struct str image_id(struct arena *a, struct str name, const struct image *im)
{
    struct image_name n;
    struct err ignored = ERR;
    if (!image_name_parse(a, name, &n, &ignored))
        return arena_fmt(a, "sha256:%s", im->manifest.hex);
    return arena_fmt(a, STR_FMT "/" STR_FMT "@sha256:%s", STR_ARG(n.registry), STR_ARG(n.repository),
                     im->manifest.hex);
}

bool images_read(struct agent *g, struct arena *a, struct str name, struct image *out, struct err *err)
{
    struct image_name n;
    return image_name_parse(a, name, &n, err) && image_read(runtime_content(g->runtime), a, n.full, out, err);
}

static struct str wanted_image(const struct agent_pod *ap, int c)
{
    return val_text_at(ap->pod->containers.p[c].spec, N(image));
}

static void failed(struct agent_pod *ap, int c, const char *reason, struct str message)
{
    agent_eventf(ap, c, true, "Failed", "Error: %s", reason);
    pod_saw_image(ap->pod, c, false, str_of(reason), message, clock_mono());
    agent_pod_kick(ap);
}

static void present(struct agent_pod *ap, int c, const struct image *im)
{
    struct arena a = ARENA;
    pod_saw_image(ap->pod, c, true, image_id(&a, wanted_image(ap, c), im), S(""), clock_mono());
    arena_fini(&a);
    agent_pod_kick(ap);
}

static struct str duration(struct arena *a, int64_t ns)
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
                     STR_ARG(name), STR_ARG(duration(&scratch, now - p->since)),
                     STR_ARG(duration(&scratch, now - w->since)), (long long)im.size);
        present(ap, w->container, &im);
    } else {
        agent_eventf(ap, w->container, true, "Failed", "Failed to pull image \"" STR_FMT "\": " STR_FMT,
                     STR_ARG(name), STR_ARG(why));
        failed(ap, w->container, "ErrImagePull", why);
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

static void start_next(struct images *im)
{
    static const struct image_pull_events events = {.done = on_done};
    list_each (p, &im->pulls, struct pull, node) {
        if (p->job || im->running >= PULLS_AT_ONCE)
            continue;
        im->running++;
        p->since = clock_mono();
        p->job = image_pull_start(im->agent->cfg.loop, im->agent->cfg.job, &p->request, &events, p);
    }
}

static void set_auth(struct arena *a, const struct val *entry, struct pull_request *request)
{
    struct str auth = val_text(val_get_str(entry, S("auth"))),
               token = val_text(val_get_str(entry, S("identitytoken")));
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(65536);
    request->username = str_dup(a, val_text(val_get_str(entry, S("username"))));
    request->password = str_dup(a, val_text(val_get_str(entry, S("password"))));
    if (auth.n && strbuf_add_unbase64(&plain, auth))
        (void)str_split(str_dup(a, strbuf_str(&plain)), ':', &request->username, &request->password);
    if (token.n) {
        request->username = STR_NONE;
        request->password = str_dup(a, token);
    }
}

/* Credentials for the registry from the pod's imagePullSecrets: docker's config.json, or its older form. */
static void add_auth(struct agent_pod *ap, struct arena *a, struct str registry, struct pull_request *request)
{
    struct sources s = configs_sources(ap);
    val_each_item (ref, val_get(obj_spec(ap->pod->obj), N(imagePullSecrets))) {
        enum source_state state;
        const struct obj *o = s.get(s.arg, K(Secret), ap->pod->ns, val_text_at(ref, N(name)), &state);
        const struct val *data = o ? val_get(&o->tree, N(data)) : NULL;
        const struct val *v = val_get_str(data, S(".dockerconfigjson")), *old = val_get_str(data, S(".dockercfg"));
        struct val config;
        struct err ignored = ERR;
        if (!v && !old)
            continue;
        if (!json_decode(a, (struct str){(v ? v : old)->s, (v ? v : old)->n}, &config, &ignored))
            continue;
        const struct val *auths = v ? val_get_str(&config, S("auths")) : &config;
        val_each_member (m, auths) {
            struct str host = m->name->s;
            host = str_starts(host, S("https://"))  ? str_sub(host, 8, host.n)
                   : str_starts(host, S("http://")) ? str_sub(host, 7, host.n)
                                                    : host;
            ptrdiff_t slash = str_find_char(host, '/');
            host = slash >= 0 ? str_sub(host, 0, (size_t)slash) : host;
            if (str_eq(host, S("index.docker.io")))
                host = S("docker.io");
            if (!str_eq(host, registry))
                continue;
            set_auth(a, &m->v, request);
            return;
        }
    }
}

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
    list_init(&p->node);
    list_init(&p->waiters);
    insecure->p = arena_alloc(a, (rest.n + 1) * sizeof *insecure->p);
    while (rest.n && str_cut(&rest, ',', &one))
        insecure->p[insecure->n++] = str_dup(a, str_trim(one));
    p->request.store = str_of(g->cfg.content);
    p->request.image = str_of(p->name);
    add_auth(ap, a, n->registry, &p->request);
    pull_request_encode(&p->request, &key);
    p->key = strbuf_take(&key);
    return p;
}

static void ask(struct agent_pod *ap, int c, struct str name, const struct image_name *n)
{
    struct images *im = ap->agent->images;
    struct pull *p = make_pull(ap, name, n), *same = NULL;
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
    *w = (struct waiter){.ap = ap, .container = c, .since = clock_mono()};
    list_add_tail(&p->waiters, &w->node);
    agent_eventf(ap, c, false, "Pulling", "Pulling image \"" STR_FMT "\"", STR_ARG(name));
    start_next(im);
}

/* --- what pods ask for
 * ------------------------------------------------------------------------------------------------ */

void images_ensure(struct agent_pod *ap, int c)
{
    struct arena scratch = ARENA;
    struct image_name n;
    struct image im;
    struct err err = ERR;
    struct str name = wanted_image(ap, c), policy = val_text_at(ap->pod->containers.p[c].spec, N(imagePullPolicy));
    if (!image_name_parse(&scratch, name, &n, &err)) {
        struct str message = arena_fmt(&scratch, "Failed to apply default image tag \"" STR_FMT "\": %s",
                                       STR_ARG(name), err.text);
        agent_event(ap, c, true, "InspectFailed", message);
        failed(ap, c, "InvalidImageName", message);
        arena_fini(&scratch);
        return;
    }
    bool here = images_read(ap->agent, &scratch, name, &im, &err);
    if (here && !str_eq(policy, S("Always"))) {
        agent_eventf(ap, c, false, "Pulled",
                     "Container image \"" STR_FMT "\" already present on machine and can be accessed by the pod",
                     STR_ARG(name));
        present(ap, c, &im);
    } else if (str_eq(policy, S("Never"))) {
        struct str message = arena_fmt(
            &scratch, "Container image \"" STR_FMT "\" is not present with pull policy of Never", STR_ARG(name));
        agent_event(ap, c, true, "ErrImageNeverPull", message);
        failed(ap, c, "ErrImageNeverPull", message);
    } else {
        ask(ap, c, name, &n);
    }
    arena_fini(&scratch);
}

void images_came(struct agent *g)
{
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        array_each (c, &ap->pod->containers) {
            struct arena scratch = ARENA;
            struct image im;
            struct err err = ERR;
            bool asks = str_eq(val_text_at(c->spec, N(imagePullPolicy)), S("Always")); /* the registry decides */
            if (c->image == PART_FAILED && !asks &&
                images_read(g, &scratch, val_text_at(c->spec, N(image)), &im, &err)) {
                c->image_retry_at = 0;
                agent_pod_kick(ap);
            }
            arena_fini(&scratch);
        }
    }
}

void images_forget(struct agent_pod *ap)
{
    list_each (p, &ap->agent->images->pulls, struct pull, node) {
        list_each (w, &p->waiters, struct waiter, node) {
            if (w->ap == ap)
                w->ap = NULL;
        }
    }
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
    list_each (p, &im->pulls, struct pull, node) {
        if (p->job)
            image_pull_cancel(p->job);
        list_each (w, &p->waiters, struct waiter, node) {
            list_del(&w->node);
            mem_free(w);
        }
        pull_free(p);
    }
    mem_free(im);
}
