/* Resizing a pod in place: what its resources are on the way from the object to the kernel.
 *
 *   wanted (the object)  --pod_allocate-->  allocated (p->obj)  --DO_RESIZE-->  in force (`force`, the groups)
 *
 * Everything else on the node reads p->obj, and so what is allocated: limits of new runs, the downward API, what
 * other pods find taken. Only here and where room is looked for (agent_resize.c) it is told apart from what is
 * wanted.
 *
 * After a restart of the agent all of it is read from the status: requests that are allocated stand there, and limits
 * in force, which are those that are allocated where no resize is in progress. Where one is, the groups are read
 * first; and it is of what the object says, where that has not changed since. Else what was allocated and not put in
 * force yet is looked at once more like any other wish.
 */
#include "api/quantity.h"
#include "base/clock.h"
#include "node/pod_int.h"
#include "node/podspec.h"
#include "wire/json.h"

#define RETRY_FIRST (1 * NS_PER_S)
#define RETRY_MOST  (60 * NS_PER_S)
#define EVENT_MOST  900 /* bytes of the resources in an event */

bool pod_is_resizable(const struct pod_container *c)
{
    return c->role != CONTAINER_EPHEMERAL;
}

/* --- what is allocated ---------------------------------------------------------------------------------------- */

static const struct name *list_of(enum container_role role)
{
    return role == CONTAINER_MAIN ? N(containers) : N(initContainers);
}

/* Lists that say nothing are the same as none. */
static bool resources_equal(const struct val *x, const struct val *y)
{
    const struct name *const sides[] = {N(requests), N(limits)};
    for (size_t i = 0; i < countof(sides); i++) {
        const struct val *one = val_get(x, sides[i]), *other = val_get(y, sides[i]);
        if (val_len(one) != val_len(other) || (val_len(one) && !val_equal(one, other)))
            return false;
    }
    return true;
}

static const struct val *resources_in(const struct obj *obj, const struct pod_container *c)
{
    return val_get(val_find(val_get(obj_spec(obj), list_of(c->role)), N(name), c->name), N(resources));
}

static bool allocation_equal(const struct pod *p, const struct obj *x, const struct obj *y)
{
    array_each (c, &p->containers)
        if (pod_is_resizable(c) && !resources_equal(resources_in(x, c), resources_in(y, c)))
            return false;
    return resources_equal(val_get(obj_spec(x), N(resources)), val_get(obj_spec(y), N(resources)));
}

static void member_take(struct arena *a, struct val *to, const struct val *from)
{
    if (from)
        val_set(a, to, N(resources), val_copy(a, from));
    else
        val_del(to, N(resources));
}

/* `obj` with the resources of another. */
static struct obj *obj_with_resources(const struct pod *p, const struct obj *obj, const struct obj *of)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_copy(&a, &obj->tree), *spec = val_get_mut(&tree, N(spec));
    array_each (c, &p->containers) {
        struct val *list = pod_is_resizable(c) ? val_get_mut(spec, list_of(c->role)) : NULL;
        for (size_t i = 0; i < val_len(list); i++)
            if (str_eq(val_text_at(&list->list[i], N(name)), c->name))
                member_take(&a, &list->list[i], resources_in(of, c));
    }
    member_take(&a, spec, val_get(obj_spec(of), N(resources)));
    return obj_new(obj->kind, &tree, obj->rev);
}

void pod_take_object(struct pod *p, struct obj *obj)
{
    const struct obj *was = p->obj;
    obj_unref(p->wanted);
    p->wanted = NULL;
    if (allocation_equal(p, was, obj)) {
        p->obj = obj_ref(obj);
        p->resize.pending = NULL;
        return;
    }
    p->wanted = obj_ref(obj);
    p->obj = obj_with_resources(p, obj, was);
}

void pod_allocate(struct pod *p)
{
    struct pod_resize *r = &p->resize;
    if (!p->wanted)
        return;
    AUTO(obj_unref) struct obj *was = p->obj;
    p->obj = TAKE(p->wanted);
    array_each (c, &p->containers) {
        const struct name *list = c->role == CONTAINER_EPHEMERAL ? N(ephemeralContainers) : list_of(c->role);
        const struct val *spec = val_find(val_get(obj_spec(p->obj), list), N(name), c->name);
        if (spec)
            c->spec = spec;
    }
    r->pending = NULL;
    r->in_progress = true;
    r->error = STR_NONE;
    r->progress_generation = obj_generation(p->obj);
    r->retry_at = r->retry_gap = 0;
}

bool pod_defer(struct pod *p, const char *reason, struct str message, int64_t real)
{
    struct pod_resize *r = &p->resize;
    int64_t generation = obj_generation(p->obj);
    bool news = !r->pending || strcmp(r->pending, reason) != 0 || r->pending_generation != generation;
    if (!r->pending)
        r->pending_since = real;
    if (news || !str_eq(r->pending_message, message))
        r->pending_message = str_dup(&p->arena, message);
    r->pending = reason;
    r->pending_generation = generation;
    return news;
}

bool pod_resize_undecided(const struct pod *p)
{
    return p->wanted && !p->resize.pending && !p->rejected && !pod_is_to_end(p) && p->state < POD_CLEANING;
}

/* --- after a restart of the agent ----------------------------------------------------------------------------- */

static struct val resources_told(struct arena *a, const struct val *status, const struct val *spec)
{
    struct val out = val_copy(a, spec);
    const struct val *told[] = {val_get(status, N(allocatedResources)), val_at(status, N(resources), N(limits))};
    const struct name *const sides[] = {N(requests), N(limits)};
    if (!val_is(&out, VAL_MAP))
        out = val_map();
    for (size_t i = 0; i < countof(sides); i++) {
        if (val_len(told[i]))
            val_set(a, &out, sides[i], val_copy(a, told[i]));
        else
            val_del(&out, sides[i]);
    }
    return out;
}

static void condition_recall(struct pod *p, const struct val *c, int64_t *generation, struct str *message)
{
    *generation = val_num_at(c, 0, N(observedGeneration));
    *message = str_dup(&p->arena, val_text_at(c, N(message)));
}

static void conditions_recall(struct pod *p)
{
    struct pod_resize *r = &p->resize;
    const struct val *list = val_get(obj_status(p->obj), N(conditions));
    const struct val *pending = val_find(list, N(type), S("PodResizePending"));
    const struct val *progress = val_find(list, N(type), S("PodResizeInProgress"));
    if (pending) {
        r->pending = str_eq(val_text_at(pending, N(reason)), S("Infeasible")) ? "Infeasible" : "Deferred";
        condition_recall(p, pending, &r->pending_generation, &r->pending_message);
        (void)!time_parse(val_text_at(pending, N(lastTransitionTime)), &r->pending_since);
    }
    if (progress) {
        r->in_progress = true;
        condition_recall(p, progress, &r->progress_generation, &r->error);
    }
}

/* A resize of this very object was going on: then what it says is allocated, however far that came. */
static bool progress_is_of_now(const struct pod *p)
{
    const struct pod_resize *r = &p->resize;
    return r->in_progress && !r->pending && r->progress_generation == obj_generation(p->obj);
}

/* What is allocated, by what the status tells; before containers point into the object. */
void pod_resize_recall(struct pod *p)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_copy(&a, &p->obj->tree), *spec = val_get_mut(&tree, N(spec));
    bool any = false;
    for (size_t i = 0; i < p->containers.n; i++) {
        const struct pod_container *c = &p->containers.p[i];
        const struct val *told = pod_container_told(p, (int)i);
        struct val *list = pod_is_resizable(c) && val_get(told, N(resources)) ? val_get_mut(spec, list_of(c->role))
                                                                              : NULL;
        for (size_t k = 0; k < val_len(list); k++) {
            if (!str_eq(val_text_at(&list->list[k], N(name)), c->name))
                continue;
            struct val now = resources_told(&a, told, val_get(c->spec, N(resources)));
            any = any || !resources_equal(&now, val_get(c->spec, N(resources)));
            val_set(&a, &list->list[k], N(resources), now);
        }
    }
    conditions_recall(p);
    if (!any || progress_is_of_now(p))
        return;
    p->wanted = p->obj;
    p->obj = obj_new(p->wanted->kind, &tree, p->wanted->rev);
    array_each (c, &p->containers) {
        const struct val *own = val_find(val_get(obj_spec(p->obj), list_of(c->role)), N(name), c->name);
        if (own && c->role != CONTAINER_EPHEMERAL)
            c->spec = own;
        else if (c->role == CONTAINER_EPHEMERAL)
            c->spec = val_find(val_get(obj_spec(p->obj), N(ephemeralContainers)), N(name), c->name);
    }
}

/* --- what is in force ----------------------------------------------------------------------------------------- */

struct cgroup_bounds pod_bounds(const struct pod *p, int i)
{
    struct oci_limits l;
    if (i < 0)
        podspec_pod_limits(&p->obj->tree, &l);
    else
        podspec_limits(val_get(p->containers.p[i].spec, N(resources)), val_get(obj_spec(p->obj), N(resources)), &l);
    return podspec_bounds(&l);
}

static int64_t memory_asked(const struct pod_container *c)
{
    struct str q = val_text(val_get_str(val_at(c->spec, N(resources), N(requests)), S("memory")));
    return q.n ? quantity_value(q) : 0;
}

void pod_saw_force(struct pod *p, int i, const struct cgroup_bounds *bounds)
{
    if (i < 0)
        p->resize.force = (struct pod_force){true, *bounds, 0};
    else
        p->containers.p[i].force = (struct pod_force){true, *bounds, memory_asked(&p->containers.p[i])};
}

static bool force_differs(const struct pod *p, int i)
{
    const struct pod_force *f = i < 0 ? &p->resize.force : &p->containers.p[i].force;
    struct cgroup_bounds want = pod_bounds(p, i);
    return !f->known || f->bounds.cpu_shares != want.cpu_shares || f->bounds.cpu_quota_us != want.cpu_quota_us ||
           f->bounds.memory != want.memory;
}

static bool policy_restarts(const struct pod_container *c, const char *resource)
{
    const struct val *policy = val_find(val_get(c->spec, N(resizePolicy)), N(resourceName), str_of(resource));
    return str_eq(val_text_at(policy, N(restartPolicy)), S("RestartContainer"));
}

bool pod_resize_restarts(const struct pod *p, int i)
{
    const struct pod_container *c = &p->containers.p[i];
    if (c->run != RUN_RUNNING || !c->force.known || (c->role != CONTAINER_MAIN && c->role != CONTAINER_SIDECAR))
        return false;
    struct cgroup_bounds want = pod_bounds(p, i), *have = &p->containers.p[i].force.bounds;
    bool cpu = have->cpu_shares != want.cpu_shares || have->cpu_quota_us != want.cpu_quota_us;
    bool memory = have->memory != want.memory || c->force.memory_asked != memory_asked(c);
    return (cpu && policy_restarts(c, "cpu")) || (memory && policy_restarts(c, "memory"));
}

void pod_saw_resized(struct pod *p, struct str error, int64_t now)
{
    struct pod_resize *r = &p->resize;
    r->acting = PART_NONE;
    if (!str_eq(r->error, error))
        r->error = str_dup(&p->arena, error);
    r->retry_gap = error.n ? r->retry_gap ? MIN(2 * r->retry_gap, RETRY_MOST) : RETRY_FIRST : 0;
    r->retry_at = error.n ? now + r->retry_gap : 0;
}

/* --- the step ------------------------------------------------------------------------------------------------- */

static void add_list(struct strbuf *b, const char *key, const struct val *list, bool first)
{
    AUTO(arena_fini) struct arena a = ARENA;
    size_t n = val_len(list);
    const struct str *keys[64];
    if (!n || n > countof(keys))
        return;
    n = 0;
    val_each_member (m, list) {
        size_t at = n++;
        for (; at > 0 && str_cmp(*keys[at - 1], m->name->s) > 0; at--)
            keys[at] = keys[at - 1];
        keys[at] = &m->name->s;
    }
    strbuf_addf(b, "%s\"%s\":{", first ? "" : ",", key);
    for (size_t i = 0; i < n; i++) {
        strbuf_addz(b, i ? "," : "");
        json_add_string(b, *keys[i]);
        strbuf_addc(b, ':');
        json_add_string(b, val_text(val_get_str(list, *keys[i])));
    }
    strbuf_addc(b, '}');
}

static void add_containers(struct strbuf *b, const char *key, const struct val *list)
{
    if (!val_len(list))
        return;
    strbuf_addf(b, "\"%s\":[", key);
    val_each_item (c, list) {
        const struct val *r = val_get(c, N(resources));
        strbuf_addf(b, "%s{\"name\":", c == list->list ? "" : ",");
        json_add_string(b, val_text_at(c, N(name)));
        strbuf_addz(b, ",\"resources\":{");
        add_list(b, "limits", val_get(r, N(limits)), true);
        add_list(b, "requests", val_get(r, N(requests)), !val_len(val_get(r, N(limits))));
        strbuf_addz(b, "}}");
    }
    strbuf_addz(b, "],");
}

struct str pod_resize_text(struct arena *a, const struct val *spec, int64_t generation, struct str error)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(EVENT_MOST);
    strbuf_addc(&b, '{');
    add_containers(&b, "initContainers", val_get(spec, N(initContainers)));
    add_containers(&b, "containers", val_get(spec, N(containers)));
    strbuf_addf(&b, "\"generation\":%lld", (long long)generation);
    if (error.n) {
        strbuf_addz(&b, ",\"error\":");
        json_add_string(&b, error);
    }
    strbuf_addc(&b, '}');
    if (b.over) /* as much as an event holds */
        return arena_fmt(a, "{\"generation\":%lld}", (long long)generation);
    return str_dup(a, strbuf_str(&b));
}

static void step_complete(struct pod *p, struct pod_actions *out)
{
    struct pod_resize *r = &p->resize;
    array_each (c, &p->containers)
        if (c->replacing && !c->backing_off && c->run != RUN_RUNNING)
            return; /* its new run is a part of it */
    r->in_progress = false;
    r->error = STR_NONE;
    struct str text = pod_resize_text(&p->arena, pod_spec(p), r->progress_generation, STR_NONE);
    array_push(&out->list,
               ((struct pod_action){DO_EVENT, -1, false, "ResizeCompleted",
                                    arena_fmt(&p->arena, "Pod resize completed: " STR_FMT, STR_ARG(text))}));
}

/* What is restarted for its policy ends first, as it may be what stands in the way. */
bool pod_resize_step(struct pod *p, int64_t now, struct pod_actions *out)
{
    struct pod_resize *r = &p->resize;
    bool differs = false, ending = false, starting = false;
    if (r->acting == PART_BUSY)
        return true;
    if (p->sandbox != PART_READY || (!r->in_progress && !r->force.known) || pod_resize_undecided(p))
        return false;
    differs = force_differs(p, -1);
    for (size_t i = 0; i < p->containers.n; i++) {
        struct pod_container *c = &p->containers.p[i];
        starting = starting || c->run == RUN_STARTING;
        if (c->run != RUN_RUNNING || !pod_is_resizable(c))
            continue;
        if (pod_resize_restarts(p, (int)i)) {
            ending = true;
            if (!c->unhealthy_why) {
                c->unhealthy = c->redefined = true;
                c->unhealthy_why = "resize requires restart";
            }
        } else {
            differs = differs || force_differs(p, (int)i);
        }
    }
    if (!differs && !ending) {
        if (r->in_progress)
            step_complete(p, out);
        return false;
    }
    if (ending || starting)
        return true;
    if (now < r->retry_at) {
        if (!out->wake_at || r->retry_at < out->wake_at)
            out->wake_at = r->retry_at;
        return false;
    }
    r->acting = PART_BUSY;
    array_push(&out->list, ((struct pod_action){.what = DO_RESIZE, .container = -1}));
    return true;
}
