#include "cli/observe.h"
#include "api/codec.h"
#include "cli/fields.h"
#include "sys/loop.h"

struct observing {
    struct call call;
    struct client *client;
    observe_fn *see;
    void *arg;
    enum observed state;
    struct err err;
    struct strbuf line;
    bool again; /* the revision is gone: look anew */
};

static void event_take(struct observing *o, struct str line)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val event;
    if (!json_decode(&a, line, &event, &o->err)) {
        o->state = OBSERVE_FAILED;
        return;
    }
    struct str type = field_text(&event, "type");
    if (str_eqz(type, "ERROR"))
        o->again = true;
    else if (!str_eqz(type, "BOOKMARK"))
        o->state = o->see(str_eqz(type, "DELETED") ? NULL : field_at(&event, "object"), o->arg, &o->err);
}

static void data_came(struct call *call, struct str bytes)
{
    struct observing *o = container_of(call, struct observing, call);
    strbuf_add(&o->line, bytes);
    for (ptrdiff_t at; o->state == OBSERVE_ON && (at = str_find_char(strbuf_str(&o->line), '\n')) >= 0;) {
        event_take(o, str_sub(strbuf_str(&o->line), 0, (size_t)at));
        strbuf_drop(&o->line, (size_t)at + 1);
    }
}

static void call_over(struct call *call)
{
    (void)call; /* seen by watch_on */
}

/* Watches from a revision until something is decided, the stream ends or time is up. */
static bool watch_on(struct observing *o, struct str path, struct str query, int64_t deadline, struct err *err)
{
    struct client *c = o->client;
    struct call_options options = CALL_OPTIONS(.verb = CALL_RAW, .path = path, .query = query);
    o->again = false;
    strbuf_reset(&o->line);
    o->call = (struct call){.done = call_over, .data = data_came};
    call_start(&o->call, c->transport, &options);
    while (call_active(&o->call) && o->state == OBSERVE_ON && !o->again) {
        int64_t left = deadline < 0 ? NS_PER_S : deadline - clock_mono();
        if (left <= 0) {
            call_cancel(&o->call);
            return err_set(err, E_TIMEOUT, "timed out");
        }
        loop_run_once(c->loop, MIN(left, NS_PER_S));
    }
    bool refused = !call_active(&o->call) && !o->call.ok && o->call.http >= 300 && o->call.http != 410;
    if (refused)
        *err = o->call.err;
    call_cancel(&o->call);
    return !refused;
}

static bool observing_turn(struct observing *o, const struct resource *r, struct str ns, struct str name,
                           int64_t deadline, struct err *err)
{
    struct client *c = o->client;
    struct val object;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    bool there = client_ask(c, &(struct ask){.path = resource_path(&c->arena, r, ns, name, S(""))}, &object, err);
    if (!there && err->kind != E_NOT_FOUND)
        return false;
    o->state = o->see(there ? &object : NULL, o->arg, &o->err);
    if (o->state != OBSERVE_ON)
        return true;
    query_put(&query, "fieldSelector", arena_fmt(&c->arena, "metadata.name=" STR_FMT, STR_ARG(name)));
    query_put(&query, "watch", S("true"));
    if (there)
        query_put(&query, "resourceVersion", field_text(&object, "metadata.resourceVersion"));
    return watch_on(o, resource_path(&c->arena, r, ns, S(""), S("")), strbuf_str(&query), deadline, err);
}

bool object_observe(struct client *c, const struct resource *r, struct str ns, struct str name, observe_fn *see,
                    void *arg, int64_t timeout_ns, struct err *err)
{
    struct observing o = {.client = c, .see = see, .arg = arg, .line = STRBUF(64u << 20)};
    int64_t deadline = timeout_ns < 0 ? -1 : clock_mono() + timeout_ns;
    bool ok = true;
    while (ok && o.state == OBSERVE_ON)
        ok = observing_turn(&o, r, ns, name, deadline, err);
    strbuf_fini(&o.line);
    if (ok && o.state == OBSERVE_FAILED)
        *err = o.err;
    return ok && o.state == OBSERVE_DONE;
}
