#include "control/plan.h"
#include "api/codec.h"
#include "api/custom.h"
#include "api/patch.h"

#define MAX_PLAN_TEXT (8u << 20)

struct obj *view_get(const struct view *v, const struct kind *k, struct str ns, struct str name)
{
    const struct objset *s = v->sets[k->id];
    return s ? objset_get(s, ns, name) : NULL;
}

struct objset_iter view_all(const struct view *v, const struct kind *k)
{
    const struct objset *s = v->sets[k->id];
    return s ? objset_all(s) : (struct objset_iter){0};
}

struct objset_iter view_with(const struct view *v, const struct kind *k, const struct objindex *index, struct str key)
{
    const struct objset *s = v->sets[k->id];
    return s ? objset_with(s, index, key) : (struct objset_iter){0};
}

const struct kind *view_defined(const struct view *v, const char *definition)
{
    const struct kind_set *set = view_kinds(v);
    const struct kind *stored = map_get(&set->by_prefix, str_of(definition));
    const struct kind *k = stored ? kind_watched(set, stored) : NULL;
    return k && v->sets[k->id] ? k : NULL;
}

bool view_zone(const struct view *v, struct str name, const struct zone **zone, struct err *err)
{
    *zone = v->zone ? v->zone(v->zone_arg, name, err) : NULL;
    if (*zone || (!v->zone && (name.n == 0 || str_eqz(name, "UTC"))))
        return true;
    return v->zone ? false : err_set(err, E_NOT_FOUND, "unknown time zone " STR_FMT, STR_ARG(name));
}

void plan_fini(struct plan *p)
{
    array_each (a, &p->actions) {
        obj_unref(a->was);
        obj_unref(a->done.about);
        obj_unref(a->failed.about);
    }
    array_each (e, &p->events)
        obj_unref(e->about);
    array_fini(&p->actions);
    array_fini(&p->events);
    array_fini(&p->asks);
    arena_fini(&p->arena);
}

static struct action *action_add(struct plan *p, enum action_verb verb, const struct kind *k, struct str ns,
                                 struct str name)
{
    array_push(&p->actions, ((struct action){.verb = verb,
                                             .step = p->step,
                                             .kind = k,
                                             .ns = str_dup(&p->arena, ns),
                                             .name = str_dup(&p->arena, name),
                                             .grace_s = -1}));
    return &p->actions.p[p->actions.n - 1];
}

static struct action *action_on(struct plan *p, enum action_verb verb, const struct obj *o)
{
    struct action *a = action_add(p, verb, o->kind, o->ns, o->name);
    a->was = obj_ref((struct obj *)o);
    a->expect_uid = a->was->uid;
    return a;
}

struct action *plan_create(struct plan *p, const struct kind *k, struct str ns, struct str name, struct val body)
{
    struct val *meta = val_need_map(&p->arena, &body, N(metadata));
    val_set_text(&p->arena, meta, N(name), name);
    if (k->namespaced)
        val_set_text(&p->arena, meta, N(namespace), ns);
    val_set_text(&p->arena, &body, N(apiVersion), k->api_version);
    val_set_text(&p->arena, &body, N(kind), k->kind);
    struct action *a = action_add(p, ACTION_CREATE, k, ns, name);
    a->body = body;
    return a;
}

struct action *plan_update(struct plan *p, const struct obj *was, struct str sub, struct val body)
{
    if (val_equal(&was->tree, &body))
        return NULL;
    struct action *a = action_on(p, ACTION_UPDATE, was);
    a->sub = sub;
    a->body = body;
    a->expect_rev = was->rev;
    return a;
}

struct action *plan_update_worked(struct plan *p, const struct obj *was, struct str sub, struct val body,
                                  struct val work)
{
    struct action *a = action_on(p, ACTION_UPDATE, was);
    a->sub = sub;
    a->body = body;
    a->work = work;
    a->expect_rev = was->rev;
    return a;
}

struct action *plan_patch(struct plan *p, const struct obj *was, struct str sub, struct val merge_patch)
{
    struct action *a = action_on(p, ACTION_PATCH, was);
    a->sub = sub;
    a->body = merge_patch;
    return a;
}

struct action *plan_delete(struct plan *p, const struct obj *was)
{
    struct action *a = action_on(p, ACTION_DELETE, was);
    a->absent_ok = true;
    return a;
}

struct action *plan_delete_all(struct plan *p, const struct kind *k, struct str ns)
{
    return action_add(p, ACTION_DELETE_ALL, k, ns, S(""));
}

struct action *plan_check_gone(struct plan *p, const struct kind *k, struct str ns, struct str name, struct str uid)
{
    struct action *a = action_add(p, ACTION_CHECK_GONE, k, ns, name);
    a->expect_uid = str_dup(&p->arena, uid);
    return a;
}

struct val plan_edit(struct plan *p, const struct obj *o)
{
    struct val whole = obj_tree(&p->arena, o);
    return val_copy(&p->arena, &whole);
}

struct val plan_edit_status(struct plan *p, const struct obj *o)
{
    struct val most = obj_tree_of_meta(&p->arena, o);
    return val_copy(&p->arena, &most);
}

void plan_step(struct plan *p)
{
    p->step++;
}

void plan_again(struct plan *p, int64_t at)
{
    p->again = p->again ? MIN(p->again, at) : at;
}

void plan_ask(struct plan *p, struct str path)
{
    array_push(&p->asks, str_dup(&p->arena, path));
}

const struct plan_reply *view_reply(const struct view *v, struct str path, int64_t since)
{
    const struct plan_reply *r = v->replies ? map_get(v->replies, path) : NULL;
    return r && r->at > since ? r : NULL;
}

void plan_why(struct plan *p, const char *fmt, ...)
{
    if (p->why.n > 0)
        return;
    va_list args;
    va_start(args, fmt);
    p->why = arena_vfmt(&p->arena, fmt, args);
    va_end(args);
}

void plan_event(struct plan *p, struct obj *about, const char *type, const char *reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str message = arena_vfmt(&p->arena, fmt, args);
    va_end(args);
    array_push(&p->events,
               ((struct plan_event){.about = obj_ref(about), .type = type, .reason = reason, .message = message}));
}

struct plan_event plan_event_of(struct plan *p, const struct obj *about, const char *type, const char *reason,
                                const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str message = arena_vfmt(&p->arena, fmt, args);
    va_end(args);
    return (struct plan_event){
        .about = obj_ref((struct obj *)about), .type = type, .reason = reason, .message = message};
}

static void event_text(const struct plan_event *e, const char *when, struct strbuf *out)
{
    if (!e->about)
        return;
    strbuf_addf(out, "%s%s %s " STR_FMT "/" STR_FMT ": " STR_FMT "\n", when, e->type, e->reason,
                STR_ARG(e->about->kind->kind), STR_ARG(e->about->name), STR_ARG(e->message));
}

static void action_text(const struct action *a, struct strbuf *out)
{
    static const char *const verbs[] = {"create", "update", "patch", "delete", "delete-all", "check-gone"};
    strbuf_addf(out, "%s " STR_FMT " ", verbs[a->verb], STR_ARG(a->kind->kind));
    if (a->ns.n > 0)
        strbuf_addf(out, STR_FMT "/", STR_ARG(a->ns));
    strbuf_add(out, a->name);
    if (a->sub.n > 0)
        strbuf_addf(out, "/" STR_FMT, STR_ARG(a->sub));
    if (a->grace_s >= 0)
        strbuf_addf(out, " grace=%lld", (long long)a->grace_s);
    static const char *const policies[] = {"", " background", " foreground", " orphan"};
    strbuf_addz(out, policies[a->propagation]);
    if (a->verb == ACTION_UPDATE) {
        AUTO(arena_fini) struct arena arena = ARENA;
        struct val diff = diff_merge(&arena, &a->was->tree, &a->body);
        strbuf_addc(out, ' ');
        json_encode(out, &diff);
    } else if (a->verb == ACTION_CREATE || a->verb == ACTION_PATCH) {
        strbuf_addc(out, ' ');
        json_encode(out, &a->body);
    }
    strbuf_addc(out, '\n');
    if (val_is(&a->work, VAL_MAP)) {
        strbuf_addz(out, "  by ");
        json_encode(out, &a->work);
        strbuf_addc(out, '\n');
    }
    event_text(&a->done, "  then ", out);
    event_text(&a->failed, "  or ", out);
}

void plan_text(const struct plan *p, struct strbuf *out)
{
    int step = 0;
    array_each (a, &p->actions) {
        if (a->step > step)
            strbuf_addf(out, "step\n");
        step = a->step;
        action_text(a, out);
    }
    array_each (e, &p->events)
        event_text(e, "event ", out);
    array_each (path, &p->asks)
        strbuf_addf(out, "ask " STR_FMT "\n", STR_ARG(*path));
    if (p->again) {
        strbuf_addz(out, "again ");
        time_add(out, p->again);
        strbuf_addc(out, '\n');
    }
    if (p->why.n > 0)
        strbuf_addf(out, "why " STR_FMT "\n", STR_ARG(p->why));
    if (out->n == 0)
        strbuf_addz(out, "nothing\n");
}

const struct val *condition_get(const struct val *status, const char *type)
{
    return val_find(val_get(status, N(conditions)), N(type), str_of(type));
}

bool condition_is(const struct val *status, const char *type, const char *status_text)
{
    return str_eqz(val_text(val_get(condition_get(status, type), N(status))), status_text);
}

struct val *condition_get_mut(struct val *status, const char *type)
{
    struct val *list = val_get_mut(status, N(conditions));
    for (size_t i = 0; i < val_len(list); i++)
        if (str_eqz(val_text_at(&list->list[i], N(type)), type))
            return &list->list[i];
    return NULL;
}

struct val condition_make(struct arena *a, const struct condition *c, const struct val *was, int64_t now)
{
    struct val v = val_map(), at = val_str(a, time_text(a, now));
    bool same = was && str_eqz(val_text_at(was, N(status)), c->status);
    const struct val *since = same ? val_get(was, N(lastTransitionTime))
                                   : NULL; /* who wrote it may have left it out */
    val_set(a, &v, N(type), val_str(a, str_of(c->type)));
    if (c->observed == OBSERVED_OF_POD)
        val_set_num(a, &v, N(observedGeneration), c->generation);
    val_set(a, &v, N(status), val_str(a, str_of(c->status)));
    if (c->observed == OBSERVED)
        val_set_num(a, &v, N(observedGeneration), c->generation);
    if (c->updated)
        val_set(a, &v, N(lastUpdateTime), at);
    val_set(a, &v, N(lastTransitionTime), since ? val_copy(a, since) : at);
    if (c->reason) {
        val_set(a, &v, N(reason), val_str(a, str_of(c->reason)));
        val_set(a, &v, N(message), val_str(a, c->message));
    }
    return v;
}

struct val conditions_without(struct arena *a, const struct val *status, const char *type)
{
    struct val list = val_list();
    val_each_item (it, val_get(status, N(conditions)))
        if (!str_eqz(val_text_at(it, N(type)), type))
            val_add(a, &list, val_copy(a, it));
    return list;
}

struct val conditions_with(struct arena *a, const struct val *status, const struct condition *c, int64_t now)
{
    struct val list = conditions_without(a, status, c->type);
    val_add(a, &list, condition_make(a, c, condition_get(status, c->type), now));
    return list;
}

void conditions_set(struct arena *a, struct val *status, struct val list)
{
    if (list.n > 0)
        val_set(a, status, N(conditions), list);
    else
        val_del(status, N(conditions));
}

struct val owner_ref(struct arena *a, const struct obj *owner)
{
    struct val r = val_map();
    val_set_text(a, &r, N(apiVersion), owner->kind->api_version);
    val_set_text(a, &r, N(kind), owner->kind->kind);
    val_set_text(a, &r, N(name), owner->name);
    val_set_text(a, &r, N(uid), owner->uid);
    val_set_bool(a, &r, N(controller), true);
    val_set_bool(a, &r, N(blockOwnerDeletion), true);
    return r;
}

static const char alphanums[] = "bcdfghjklmnpqrstvwxz2456789";

uint64_t stable_hash(struct str s, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    h ^= h >> 32; /* its low bits mix poorly over short texts */
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

struct str name_suffix(struct arena *a, struct str seed, int64_t n)
{
    uint64_t h = stable_hash(seed, (uint64_t)n * 0x9e3779b97f4a7c15u);
    char *p = arena_alloc(a, 6);
    for (int i = 0; i < 5; i++, h /= 27)
        p[i] = alphanums[h % 27];
    return (struct str){p, 5};
}

struct str safe_encode(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = alphanums[(unsigned char)s.p[i] % 27];
    return (struct str){p, s.n};
}
