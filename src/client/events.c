#include "client/events.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "sys/loop.h"

#define MAX_WAITING 1000
#define MAX_KNOWN   1024
#define KNOWN_NS    (600 * NS_PER_S) /* upstream's: a repeat after that is told anew */
#define MAX_MESSAGE 1024             /* upstream cuts there */

/* One event that was told lately: its object in the API, and how often since. Thousands are remembered, so what is
 * only needed while it is told stands apart. */
struct told {
    struct events *events;
    struct list order; /* least recently told first */
    char *key;
    char *ns, *name; /* of the object */
    const char *action;
    int64_t count, written; /* told; in the API */
    int64_t at;             /* last told, monotonic */
    bool made;
    struct telling *telling; /* NULL: all is written */
};
struct telling {
    struct told *told;
    struct call call;
    struct arena arena;
    struct val body; /* what is to be created, where it is not there (any more) */
};
struct events {
    struct transport *t;
    char *component, *instance;
    struct map known;
    struct list order;
    size_t busy;
};

struct events *events_new(struct transport *t, const char *component, const char *instance)
{
    struct events *e = NEW(struct events);
    e->t = t;
    e->component = mem_dupz(component);
    e->instance = mem_dupz(instance);
    list_init(&e->order);
    return e;
}

static void telling_free(struct telling *t)
{
    if (!t)
        return;
    call_cancel(&t->call);
    arena_fini(&t->arena);
    mem_free(t);
}

static void told_free(struct told *k)
{
    telling_free(k->telling);
    map_del(&k->events->known, str_of(k->key));
    list_del(&k->order);
    mem_free(k->key);
    mem_free(k->ns);
    mem_free(k->name);
    mem_free(k);
}

void events_free(struct events *e)
{
    if (!e)
        return;
    list_each (k, &e->order, struct told, order)
        told_free(k);
    map_fini(&e->known);
    mem_free(e->component);
    mem_free(e->instance);
    mem_free(e);
}

bool events_idle(const struct events *e)
{
    return e->busy == 0;
}

static const struct kind *kind_for(const struct told *k)
{
    return k->action ? K(events_k8s_io_Event) : K(Event);
}

static void told_go(struct told *k);

static void told_done(struct call *c)
{
    struct telling *t = container_of(c, struct telling, call);
    struct told *k = t->told;
    struct events *e = k->events;
    e->busy--;
    if (c->ok) {
        k->made = true;
        if (k->written < k->count) {
            told_go(k);
        } else {
            k->telling = NULL;
            telling_free(t);
        }
        return;
    }
    if (c->err.kind == E_NOT_FOUND && k->made) { /* it has expired: begin anew */
        k->made = false;
        k->count = 1;
        k->written = 0;
        told_go(k);
        return;
    }
    log_debug("event.dropped", "event=%s error=%s", k->key, c->err.text);
    told_free(k);
}

static struct val ref_of(struct arena *a, const struct obj *o, struct str field_path)
{
    struct val r = val_map();
    val_set_text(a, &r, N(kind), o->kind->kind);
    if (o->ns.n > 0)
        val_set_text(a, &r, N(namespace), o->ns);
    val_set_text(a, &r, N(name), o->name);
    val_set_text(a, &r, N(uid), o->uid);
    val_set_text(a, &r, N(apiVersion), o->kind->api_version);
    if (o->rev > 0)
        val_set(a, &r, N(resourceVersion), val_str(a, arena_fmt(a, "%lld", (long long)o->rev)));
    if (field_path.n > 0)
        val_set_text(a, &r, N(fieldPath), field_path);
    return r;
}

static void body_common(struct telling *t, const char *type, const char *reason)
{
    struct arena *a = &t->arena;
    t->body = val_map();
    val_set_text(a, &t->body, N(apiVersion), kind_for(t->told)->api_version);
    val_set_text(a, &t->body, N(kind), S("Event"));
    struct val *meta = val_set(a, &t->body, N(metadata), val_map());
    val_set_text(a, meta, N(name), str_of(t->told->name));
    val_set_text(a, meta, N(namespace), str_of(t->told->ns));
    val_set(a, &t->body, N(type), val_str(a, str_of(type)));
    val_set(a, &t->body, N(reason), val_str(a, str_of(reason)));
}

static void body_old(struct telling *t, const struct obj *about, struct str field_path, struct str message)
{
    struct arena *a = &t->arena;
    struct val now = val_str(a, time_text(a, clock_real()));
    val_set(a, &t->body, N(involvedObject), ref_of(a, about, field_path));
    val_set(a, &t->body, N(message), val_str(a, message));
    struct val *source = val_set(a, &t->body, N(source), val_map());
    val_set(a, source, N(component), val_str(a, str_of(t->told->events->component)));
    bool node = strcmp(t->told->events->component, "kubelet") == 0;
    if (node)
        val_set(a, source, N(host), val_str(a, str_of(t->told->events->instance)));
    val_set(a, &t->body, N(firstTimestamp), now);
    val_set(a, &t->body, N(lastTimestamp), now);
    val_set_num(a, &t->body, N(count), 1);
    val_set(a, &t->body, N(reportingComponent), val_str(a, str_of(t->told->events->component)));
    val_set(a, &t->body, N(reportingInstance), val_str(a, node ? str_of(t->told->events->instance) : S("")));
}

static void body_new(struct telling *t, const struct obj *about, struct str field_path, struct str message)
{
    struct arena *a = &t->arena;
    val_set(a, &t->body, N(regarding), ref_of(a, about, field_path));
    val_set(a, &t->body, N(note), val_str(a, message));
    val_set(a, &t->body, N(action), val_str(a, str_of(t->told->action)));
    val_set(a, &t->body, N(eventTime), val_str(a, time_text_micro(a, clock_real())));
    val_set(a, &t->body, N(reportingController), val_str(a, str_of(t->told->events->component)));
    val_set(a, &t->body, N(reportingInstance), val_str(a, str_of(t->told->events->instance)));
}

static struct val raise_patch(struct told *k, struct arena *a)
{
    struct val p = val_map();
    if (!k->action) {
        val_set_num(a, &p, N(count), k->count);
        val_set(a, &p, N(lastTimestamp), val_str(a, time_text(a, clock_real())));
        return p;
    }
    struct val *series = val_set(a, &p, N(series), val_map());
    val_set_num(a, series, N(count), k->count);
    val_set(a, series, N(lastObservedTime), val_str(a, time_text_micro(a, clock_real())));
    return p;
}

static void told_go(struct told *k)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct telling *t = k->telling;
    struct call_options o = CALL_OPTIONS(.kind = kind_for(k), .ns = str_of(k->ns), .name = str_of(k->name));
    struct val patch;
    if (k->made) {
        patch = raise_patch(k, &a);
        o.verb = CALL_PATCH;
        o.patch = PATCH_MERGE;
        o.body = &patch;
    } else {
        o.verb = CALL_CREATE;
        o.body = &t->body;
    }
    k->written = k->count;
    k->events->busy++;
    call_start(&t->call, k->events->t, &o);
}

/* Those that were not told for long, and the oldest of too many. */
static void forget_old(struct events *e, int64_t now)
{
    list_each (k, &e->order, struct told, order) {
        if (k->at + KNOWN_NS > now && map_len(&e->known) < MAX_KNOWN)
            return;
        if (!k->telling)
            told_free(k);
    }
}

static struct told *told_new(struct events *e, struct str key, const struct obj *about, const char *action)
{
    struct told *k = NEW(struct told);
    AUTO(strbuf_fini) struct strbuf name = STRBUF(STRBUF_TEXT);
    strbuf_addf(&name, STR_FMT ".%016llx", STR_ARG(about->name), (unsigned long long)clock_real());
    *k = (struct told){.events = e, .key = str_dupz(key), .name = str_dupz(strbuf_str(&name)), .action = action};
    k->ns = str_dupz(about->ns.n > 0 ? about->ns : S("default"));
    list_add_tail(&e->order, &k->order);
    map_put(&e->known, key, k);
    return k;
}

void events_record(struct events *e, const struct obj *about, struct str field_path, const char *type,
                   const char *reason, const char *action, struct str message)
{
    message = str_sub(message, 0, MAX_MESSAGE);
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    strbuf_addf(&key, STR_FMT "|" STR_FMT "|%s|%s|" STR_FMT, STR_ARG(about->uid), STR_ARG(field_path), type, reason,
                STR_ARG(message));
    int64_t now = loop_now(e->t->loop);
    forget_old(e, now);
    struct told *k = map_get(&e->known, strbuf_str(&key));
    if (!k && e->busy >= MAX_WAITING) {
        log_debug("event.dropped", "event=%s error=too many wait", key.p);
        return;
    }
    if (!k)
        k = told_new(e, strbuf_str(&key), about, action);
    k->count++;
    k->at = now;
    list_del(&k->order);
    list_add_tail(&e->order, &k->order);
    if (k->telling)
        return; /* which goes on with what was told meanwhile */
    struct telling *t = k->telling = NEW(struct telling);
    *t = (struct telling){.told = k, .call.done = told_done};
    body_common(t, type, reason);
    if (action)
        body_new(t, about, field_path, message);
    else
        body_old(t, about, field_path, message);
    told_go(k);
}
