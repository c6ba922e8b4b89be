#include "server/remotes.h"
#include "api/openapi.h"
#include "base/log.h"
#include "server/limits.h"
#include "server/remotes_read.h"
#include "wire/json.h"
#include <string.h>

#define AGAIN       (60 * NS_PER_S)
#define AGGREGATED  "application/json;g=apidiscovery.k8s.io;v=v2"
#define AS_LIST     ";as=APIGroupDiscoveryList"
#define TAG_MOST    256 /* bytes of an ETag that is kept */
#define DISCOVERY_S 5   /* upstream's bound */
#define OPENAPI_S   30

/* What is asked for, one after the other. */
enum remote_step { STEP_AGGREGATED, STEP_RESOURCES, STEP_TWO, STEP_THREE, STEP_NONE };

/* What the pool makes of an answer. */
struct remote_reading {
    struct job job;
    enum remote_step step;
    struct str body; /* heap */
    struct str group, version;
    struct arena arena; /* of `version_found` and `url` */
    struct val found;
    struct str url;
    struct openapi_remote *two;
    bool read; /* else err says why not */
    struct err err;
};

struct remote {
    struct list node;
    struct remotes *all; /* NULL: gone; the reading's end frees it */
    struct arena arena;  /* of its names */
    struct str name, group, version;
    /* what is known */
    struct arena kept; /* of `entry` */
    struct val entry;  /* APIVersionDiscovery; VAL_NULL: nothing yet */
    uint64_t entry_hash;
    bool fresh;
    char tag[TAG_MOST], two_tag[TAG_MOST]; /* "": none */
    struct openapi_remote *two;            /* NULL: none */
    struct strbuf three;                   /* URL of its document; "": none */
    bool older;                            /* it knows no such */
    /* what is under way */
    enum remote_step step; /* STEP_NONE: nothing */
    bool wanted, again;    /* a round is to begin soon, after this one */
    struct arena asking;
    struct outbound_call call;
    bool called, reads;
    struct remote_reading reading;
    char next_tag[TAG_MOST]; /* of the answer that is being read */
};

struct remotes {
    struct server *server;
    struct list list;
    struct timer soon, again;
    struct aggregate_listener listener;
};

static void remote_free(struct remote *r)
{
    openapi_remote_unref(r->two);
    strbuf_fini(&r->three);
    arena_fini(&r->kept);
    arena_fini(&r->asking);
    arena_fini(&r->arena);
    mem_free(r);
}

static void remote_drop(struct remote *r)
{
    list_del(&r->node);
    r->all = NULL;
    if (r->called)
        outbound_cancel(&r->call);
    if (!r->reads)
        remote_free(r);
}

static struct remote *remote_find(const struct remotes *all, struct str name)
{
    list_each (r, &all->list, struct remote, node)
        if (str_eq(r->name, name))
            return r;
    return NULL;
}

static const struct remote *remote_of(struct server *s, const struct aggregated *g)
{
    return s->remotes ? remote_find(s->remotes, g->name) : NULL;
}

/* --- asking --- */

static void remote_ask(struct remote *r);

static void step_go(struct remote *r, enum remote_step step);

static void remote_rest(struct remote *r)
{
    r->step = STEP_NONE;
    arena_fini(&r->asking);
    r->asking = ARENA;
    if (r->again)
        remote_ask(r);
}

/* Nothing is known anew: what was stays. Discovery's failure ends the round, as the others would fail alike. */
static void step_failed(struct remote *r, const char *why)
{
    bool discovery = r->step == STEP_AGGREGATED || r->step == STEP_RESOURCES;
    if (!discovery || r->fresh || !r->entry.type)
        log_info("remote.failed", "apiservice=" STR_FMT " what=%s error=\"%s\"", STR_ARG(r->name),
                 discovery             ? "discovery"
                 : r->step == STEP_TWO ? "openapi/v2"
                                       : "openapi/v3",
                 why);
    if (!discovery) {
        step_go(r, r->step + 1);
        return;
    }
    r->fresh = false;
    if (!r->entry.type) { /* it is there, and nobody knows with what */
        r->entry = val_map();
        val_set_text(&r->kept, &r->entry, N(version), r->version);
    }
    remote_rest(r);
}

static uint64_t hash_bytes(uint64_t hash, struct str s)
{
    for (size_t i = 0; i <= s.n; i++)
        hash = (hash ^ (i < s.n ? (unsigned char)s.p[i] : 0)) * 0x100000001b3u;
    return hash;
}

static void reading_work(struct job *j)
{
    struct remote_reading *x = container_of(j, struct remote_reading, job);
    switch (x->step) {
    case STEP_AGGREGATED:
        x->read = remote_aggregated_read(&x->arena, x->body, x->group, x->version, &x->found, &x->err);
        break;
    case STEP_RESOURCES: x->read = remote_resources_read(&x->arena, x->body, x->version, &x->found, &x->err); break;
    case STEP_TWO:
        x->two = openapi_remote_new(x->body, x->group, x->version, &x->err);
        x->read = x->two;
        break;
    case STEP_THREE: x->read = remote_index_read(&x->arena, x->body, x->group, x->version, &x->url, &x->err); break;
    case STEP_NONE: break;
    }
}

static void reading_fini(struct remote_reading *x)
{
    mem_free((void *)(uintptr_t)x->body.p);
    openapi_remote_unref(x->two);
    arena_fini(&x->arena);
    *x = (struct remote_reading){.step = STEP_NONE};
}

/* What was read is known from now on. */
static void reading_keep(struct remote *r, struct remote_reading *x)
{
    switch (x->step) {
    case STEP_AGGREGATED:
    case STEP_RESOURCES:
        arena_fini(&r->kept);
        r->kept = ARENA;
        r->entry = val_copy(&r->kept, &x->found);
        r->entry_hash = hash_bytes(0xcbf29ce484222325u, x->body);
        memcpy(r->tag, r->next_tag, sizeof r->tag);
        r->fresh = true;
        break;
    case STEP_TWO:
        openapi_remote_unref(r->two);
        r->two = TAKE(x->two);
        memcpy(r->two_tag, r->next_tag, sizeof r->two_tag);
        break;
    case STEP_THREE:
        r->older = false;
        strbuf_reset(&r->three);
        strbuf_add(&r->three, x->url);
        break;
    case STEP_NONE: break;
    }
}

static void reading_done(struct job *j)
{
    struct remote_reading *x = container_of(j, struct remote_reading, job);
    struct remote *r = container_of(x, struct remote, reading);
    struct err err = x->err;
    r->reads = false;
    if (!r->all) {
        reading_fini(x);
        remote_free(r);
        return;
    }
    bool read = x->read;
    if (read)
        reading_keep(r, x);
    reading_fini(x);
    if (!read)
        step_failed(r, err.text);
    else
        step_go(r, r->step <= STEP_RESOURCES ? STEP_TWO : r->step + 1);
}

static void reading_start(struct remote *r, const struct http_answer *a)
{
    struct remote_reading *x = &r->reading;
    struct str tag = http_header(&a->headers, S("ETag"));
    memset(r->next_tag, 0, sizeof r->next_tag);
    if (tag.n < TAG_MOST && r->step != STEP_RESOURCES)
        memcpy(r->next_tag, tag.p, tag.n);
    *x = (struct remote_reading){
        .step = r->step, .group = r->group, .version = r->version, .arena = ARENA, .err = ERR};
    x->body = a->body.n ? (struct str){mem_dup(a->body.p, a->body.n), a->body.n} : S("");
    if (!a->body.n)
        x->body = (struct str){mem_dupz(""), 0};
    r->reads = true;
    job_start(&x->job, r->all->server->loop, reading_work, reading_done);
}

static void remote_answered(struct outbound_call *c, const struct http_answer *a, const struct err *err)
{
    struct remote *r = container_of(c, struct remote, call);
    r->called = false;
    if (!a) {
        step_failed(r, err->text);
        return;
    }
    if (a->status == 304 && (r->step == STEP_AGGREGATED ? r->tag : r->two_tag)[0]) {
        if (r->step == STEP_AGGREGATED)
            r->fresh = true;
        step_go(r, r->step == STEP_AGGREGATED ? STEP_TWO : r->step + 1);
    } else if (a->status == 200 &&
               (r->step != STEP_AGGREGATED || remote_is_aggregated(http_header(&a->headers, S("Content-Type"))))) {
        reading_start(r, a);
    } else if (r->step == STEP_AGGREGATED && a->status != 503) { /* it knows only the older form */
        step_go(r, STEP_RESOURCES);
    } else if (r->step == STEP_TWO && a->status == 404) { /* it has none */
        openapi_remote_unref(TAKE(r->two));
        r->two_tag[0] = '\0';
        step_go(r, STEP_THREE);
    } else if (r->step == STEP_THREE && a->status == 404) {
        r->older = true;
        strbuf_reset(&r->three);
        step_go(r, STEP_NONE);
    } else {
        char text[64];
        (void)snprintf(text, sizeof text, "it answered %d", a->status);
        step_failed(r, text);
    }
}

static void step_go(struct remote *r, enum remote_step step)
{
    const struct aggregated *g = aggregate_named(r->all->server, r->name);
    r->step = step;
    if (step == STEP_NONE || !g) {
        remote_rest(r);
        return;
    }
    arena_fini(&r->asking);
    r->asking = ARENA;
    struct str path = S(""), accept = S("application/json");
    switch (step) {
    case STEP_AGGREGATED:
        path = S("/apis");
        accept = S(AGGREGATED AS_LIST "," AGGREGATED "beta1" AS_LIST);
        break;
    case STEP_RESOURCES:
        path = arena_fmt(&r->asking, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(r->group), STR_ARG(r->version));
        break;
    case STEP_TWO: path = S("/openapi/v2"); break;
    case STEP_THREE: path = S("/openapi/v3"); break;
    case STEP_NONE: break;
    }
    struct str tag = str_of(step == STEP_AGGREGATED ? r->tag : step == STEP_TWO ? r->two_tag : "");
    r->called = true;
    aggregate_ask(g, &r->call, &r->asking, path, accept, tag,
                  step == STEP_TWO ? LIMIT_REMOTE_OPENAPI_BYTES : LIMIT_REMOTE_DISCOVERY_BYTES,
                  step == STEP_TWO || step == STEP_THREE ? OPENAPI_S : DISCOVERY_S, remote_answered);
}

static void remote_ask(struct remote *r)
{
    const struct aggregated *g = aggregate_named(r->all->server, r->name);
    r->again = r->step != STEP_NONE;
    if (!r->again && g && g->available)
        step_go(r, STEP_AGGREGATED);
}

static void remotes_soon(struct timer *t)
{
    struct remotes *all = container_of(t, struct remotes, soon);
    list_each (r, &all->list, struct remote, node) {
        if (r->wanted)
            remote_ask(r);
        r->wanted = false;
    }
}

static void remotes_again(struct timer *t)
{
    struct remotes *all = container_of(t, struct remotes, again);
    list_each (r, &all->list, struct remote, node)
        remote_ask(r);
    if (!list_empty(&all->list))
        timer_set(&all->again, AGAIN);
}

/* --- which there are --- */

static void aggregated_told(struct aggregate_listener *l, const struct aggregated *g)
{
    struct remotes *all = container_of(l, struct remotes, listener);
    struct remote *r = remote_find(all, g->name);
    if (r && (g->gone || !str_eq(r->group, g->group) || !str_eq(r->version, g->version))) {
        remote_drop(r);
        r = NULL;
    }
    if (g->gone)
        return;
    if (!r) {
        r = NEW(struct remote);
        *r = (struct remote){.all = all,
                             .arena = ARENA,
                             .kept = ARENA,
                             .asking = ARENA,
                             .step = STEP_NONE,
                             .three = STRBUF(STRBUF_TEXT)};
        r->name = str_dup(&r->arena, g->name);
        r->group = str_dup(&r->arena, g->group);
        r->version = str_dup(&r->arena, g->version);
        if (list_empty(&all->list))
            timer_set(&all->again, AGAIN);
        list_add(&all->list, &r->node);
    }
    r->wanted = true;
    timer_set(&all->soon, 0); /* this is inside of a commit */
}

struct remotes *remotes_new(struct server *s)
{
    struct remotes *all = NEW(struct remotes);
    all->server = s;
    list_init(&all->list);
    timer_init(&all->soon, s->loop, remotes_soon);
    timer_init(&all->again, s->loop, remotes_again);
    all->listener.fn = aggregated_told;
    aggregate_listen(s, &all->listener);
    return all;
}

void remotes_free(struct remotes *all)
{
    if (!all)
        return;
    aggregate_unlisten(&all->listener);
    timer_stop(&all->soon);
    timer_stop(&all->again);
    list_each (r, &all->list, struct remote, node)
        remote_drop(r);
    mem_free(all);
}

/* --- what is told --- */

struct sorting {
    const struct aggregated **list;
    size_t n;
};

static bool sorting_add(const struct aggregated *g, void *arg)
{
    struct sorting *x = arg;
    x->list[x->n++] = g;
    return true;
}

static int group_priority(const struct sorting *x, struct str group)
{
    int most = 0;
    for (size_t i = 0; i < x->n; i++)
        if (str_eq(x->list[i]->group, group))
            most = MAX(most, x->list[i]->group_priority);
    return most;
}

size_t remotes_sorted(struct server *s, struct arena *a, const struct aggregated ***list)
{
    struct sorting x = {.list = arena_alloc(a, (aggregate_count(s) + 1) * sizeof *x.list)};
    aggregate_each(s, sorting_add, &x);
    for (size_t i = 1; i < x.n; i++) /* they are few */
        for (size_t j = i; j > 0; j--) {
            const struct aggregated **p = &x.list[j - 1];
            int by_group = group_priority(&x, p[0]->group) - group_priority(&x, p[1]->group);
            if (!by_group)
                by_group = -str_cmp(p[0]->group, p[1]->group);
            if (!by_group)
                by_group = p[0]->version_priority - p[1]->version_priority;
            if (by_group > 0 || (!by_group && version_order(p[0]->version, p[1]->version) <= 0))
                break;
            const struct aggregated *other = p[0];
            p[0] = p[1];
            p[1] = other;
        }
    *list = x.list;
    return x.n;
}

static bool is_fresh(const struct remote *r, const struct aggregated *g)
{
    return r && r->fresh && g->available;
}

struct val remotes_discovery(struct server *s, struct arena *a, const struct aggregated *g)
{
    const struct remote *r = remote_of(s, g);
    struct val v = val_map();
    val_set_text(a, &v, N(version), g->version);
    if (r && val_get(&r->entry, N(resources)))
        val_set(a, &v, N(resources), val_copy(a, val_get(&r->entry, N(resources))));
    val_set_text(a, &v, N(freshness), is_fresh(r, g) ? S("Current") : S("Stale"));
    return v;
}

struct hashing {
    struct server *server;
    uint64_t hash;
};

static bool hashing_add(const struct aggregated *g, void *arg)
{
    struct hashing *x = arg;
    const struct remote *r = remote_of(x->server, g);
    char text[96];
    (void)snprintf(text, sizeof text, "%d %d %d %016llx", g->group_priority, g->version_priority, is_fresh(r, g),
                   (unsigned long long)(r ? r->entry_hash : 0));
    x->hash += hash_bytes(hash_bytes(0xcbf29ce484222325u, g->name), str_of(text)); /* they come in no order */
    return true;
}

uint64_t remotes_discovery_hash(struct server *s)
{
    if (!aggregate_count(s))
        return 0;
    struct hashing x = {s, 1};
    aggregate_each(s, hashing_add, &x);
    return x.hash;
}

size_t remotes_openapi(struct server *s, struct arena *a, struct openapi_remote ***list)
{
    const struct aggregated **sorted;
    size_t n = remotes_sorted(s, a, &sorted), used = 0;
    *list = arena_alloc(a, (n + 1) * sizeof **list);
    for (size_t i = 0; i < n; i++) {
        const struct remote *r = remote_of(s, sorted[i]);
        if (r && r->two)
            (*list)[used++] = r->two;
    }
    return used;
}

static struct str path_of(struct arena *a, const struct remote *r)
{
    return arena_fmt(a, "apis/" STR_FMT "/" STR_FMT, STR_ARG(r->group), STR_ARG(r->version));
}

void remotes_index(struct server *s, struct strbuf *b, const struct kind_set *set)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (!s->remotes) /* the server ends */
        return;
    list_each (r, &s->remotes->list, struct remote, node) {
        struct str path = path_of(&a, r), url = strbuf_str(&r->three);
        if (!url.n && r->older && r->two)
            url = arena_fmt(&a, "/openapi/v3/" STR_FMT "?hash=%016llX", STR_ARG(path),
                            (unsigned long long)r->two->hash);
        if (!url.n || openapi_known(set, path))
            continue;
        strbuf_addf(b, ",\"" STR_FMT "\":{\"serverRelativeURL\":", STR_ARG(path));
        json_add_string(b, url);
        strbuf_addc(b, '}');
    }
}

static const struct remote *remote_at(struct server *s, struct str path)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (!s->remotes)
        return NULL;
    list_each (r, &s->remotes->list, struct remote, node)
        if (str_eq(path, path_of(&a, r)))
            return r;
    return NULL;
}

const struct aggregated *remotes_document(struct server *s, struct str path)
{
    const struct remote *r = remote_at(s, path);
    return r && r->three.n ? aggregate_named(s, r->name) : NULL;
}

struct openapi_remote *remotes_older_document(struct server *s, struct str path)
{
    const struct remote *r = remote_at(s, path);
    return r && r->older ? r->two : NULL;
}
