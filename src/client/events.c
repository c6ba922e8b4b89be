#include "client/events.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "sys/loop.h"

/* What is told of one object is told in that order, one after the other: each object of which something waits has a
 * line. Where the server does not answer, or is too busy, a line's first waits and is told again; everything that
 * waits so starts together, since it waits for the same server. */
#define MAX_WAITING 1000
#define MAX_TRIES   12 /* upstream's */
#define AGAIN_NS    (1 * NS_PER_S)
#define AGAIN_MOST  (10 * NS_PER_S)
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
struct line {
    struct events *events;
    char *uid;
    struct list waiting; /* tellings; the first is under way, or waits to be told again */
    struct list later;   /* in events, while its first waits */
};
struct telling {
    struct told *told;
    struct line *line;
    struct list behind; /* in the line */
    int tries;
    struct call call;
    struct arena arena;
    struct val body; /* what is to be created, where it is not there (any more) */
};
struct events {
    struct transport *t;
    char *component, *instance;
    struct map known, lines;
    struct list order, later;
    struct timer again;
    int64_t again_ns; /* how long the next wait is; 0: the server answered lately */
    size_t busy;      /* tellings */
};

static void lines_go(struct timer *t);

struct events *events_new(struct transport *t, const char *component, const char *instance)
{
    struct events *e = NEW(struct events);
    e->t = t;
    e->component = mem_dupz(component);
    e->instance = mem_dupz(instance);
    list_init(&e->order);
    list_init(&e->later);
    timer_init(&e->again, t->loop, lines_go);
    return e;
}

static void line_free(struct line *l)
{
    (void)map_del(&l->events->lines, str_of(l->uid));
    list_del(&l->later);
    mem_free(l->uid);
    mem_free(l);
}

/* The line goes on with who is behind; the last one ends it. */
static void telling_free(struct telling *t)
{
    if (!t)
        return;
    t->told->events->busy--;
    t->told->telling = NULL;
    list_del(&t->behind);
    if (list_empty(&t->line->waiting))
        line_free(t->line);
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
    timer_stop(&e->again);
    map_fini(&e->known);
    map_fini(&e->lines);
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

static void line_go(struct line *l);

/* Nobody heard it, or the server cannot now: it is not for what was said. */
static bool may_pass(const struct err *err)
{
    return err->kind == E_UNAVAILABLE || err->kind == E_IO || err->kind == E_TIMEOUT || err->kind == E_INTERNAL ||
           err->kind == E_TOO_MANY_REQUESTS;
}

static void line_waits(struct line *l)
{
    struct events *e = l->events;
    list_del(&l->later);
    list_add_tail(&e->later, &l->later);
    if (timer_is_set(&e->again))
        return;
    e->again_ns = e->again_ns ? MIN(e->again_ns * 2, AGAIN_MOST) : AGAIN_NS;
    timer_set(&e->again, e->again_ns);
}

static void lines_go(struct timer *t)
{
    struct events *e = container_of(t, struct events, again);
    list_each (l, &e->later, struct line, later) {
        list_del(&l->later);
        line_go(l);
    }
}

static void told_done(struct call *c)
{
    struct telling *t = container_of(c, struct telling, call);
    struct told *k = t->told;
    struct events *e = k->events;
    struct line *l = t->line;
    bool others = l->waiting.next != l->waiting.prev;
    if (c->ok || (c->err.kind == E_ALREADY_EXISTS && t->tries > 0)) { /* the one that nobody seemed to hear */
        e->again_ns = 0;
        k->made = true;
        if (k->written == k->count)
            telling_free(t);
        else
            others = true;
    } else if (c->err.kind == E_NOT_FOUND && k->made) { /* it has expired: begin anew */
        k->made = false;
        k->count = 1;
        k->written = 0;
        others = true;
    } else if (may_pass(&c->err) && ++t->tries < MAX_TRIES) {
        line_waits(l);
        return;
    } else {
        log_debug("event.dropped", "event=%s error=%s", k->key, c->err.text);
        told_free(k);
    }
    if (others)
        line_go(l);
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

static void body_new(struct telling *t, const struct obj *about, const struct obj *related, struct str field_path,
                     struct str message)
{
    struct arena *a = &t->arena;
    if (related)
        val_set(a, &t->body, N(related), ref_of(a, related, S("")));
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

/* Its first is told. */
static void line_go(struct line *l)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct telling *t = list_first(&l->waiting, struct telling, behind);
    struct told *k = t->told;
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
    k->written = k->made ? k->count : 1; /* a body is that of one */
    call_start(&t->call, k->events->t, &o);
}

/* At the end of its object's line. */
static struct telling *telling_new(struct told *k, struct str uid)
{
    struct events *e = k->events;
    struct telling *t = k->telling = NEW(struct telling);
    struct line *l = map_get(&e->lines, uid);
    if (!l) {
        l = NEW(struct line);
        *l = (struct line){.events = e, .uid = str_dupz(uid)};
        list_init(&l->waiting);
        list_init(&l->later);
        map_put(&e->lines, uid, l);
    }
    *t = (struct telling){.told = k, .line = l, .call.done = told_done};
    list_add_tail(&l->waiting, &t->behind);
    e->busy++;
    return t;
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

static void event_record(struct events *e, const struct obj *about, const struct obj *related, struct str field_path,
                         const char *type, const char *reason, const char *action, struct str message)
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
    struct telling *t = telling_new(k, about->uid);
    body_common(t, type, reason);
    if (action)
        body_new(t, about, related, field_path, message);
    else
        body_old(t, about, field_path, message);
    if (list_first(&t->line->waiting, struct telling, behind) == t)
        line_go(t->line);
}

void events_record(struct events *e, const struct obj *about, struct str field_path, const char *type,
                   const char *reason, const char *action, struct str message)
{
    event_record(e, about, NULL, field_path, type, reason, action, message);
}

void events_record_related(struct events *e, const struct obj *about, const struct obj *related, const char *type,
                           const char *reason, const char *action, struct str message)
{
    event_record(e, about, related, S(""), type, reason, action, message);
}
