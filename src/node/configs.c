#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/claim.h"

#define TOKEN_AGAIN_FIRST (250 * NS_PER_MS) /* after one that could not be had; twice as long each time */
#define TOKEN_AGAIN_MOST  NS_PER_S          /* where the pod waits for it */
#define TOKEN_RENEW_MOST  (16 * NS_PER_S)   /* where it has an older one */

/* One ConfigMap, Secret, claim or volume that some pod of this node names: watched alone, so that the node sees no
 * others. */
struct config_watch {
    struct agent *agent;
    const struct kind *kind;
    struct str key; /* in the map's own memory */
    char *key_text, *selector;
    struct cache *cache;
    struct cache_handler handler;
    struct list refs; /* struct config_ref by watch_node */
    bool heard;
};
struct config_ref {
    struct list pod_node, watch_node;
    struct agent_pod *ap;
    struct config_watch *watch;
};

/* A token for a service account, kept until it has lived four fifths of its life. */
struct config_token {
    struct agent_pod *ap;
    struct call call;
    struct timer timer; /* the next time that it is asked for; each token has its own */
    struct str audience;
    int64_t seconds, gap; /* gap: before it is asked for again, ns; 0: it was had */
    char *text;
    bool failed;
    struct err err;
};

/* --- ConfigMaps, Secrets, claims and volumes --- */

static void tell_pods(struct config_watch *w)
{
    bool files = w->kind == K(ConfigMap) || w->kind == K(Secret);
    list_each (r, &w->refs, struct config_ref, watch_node) {
        if (files)
            agent_config_news(w->agent, r->ap);
        else
            agent_claim_news(r->ap);
    }
}

static void on_change(struct cache_handler *h, struct obj *was, struct obj *now)
{
    (void)was, (void)now;
    struct config_watch *w = container_of(h, struct config_watch, handler);
    if (w->heard)
        tell_pods(w);
}

static void on_synced(struct cache_handler *h)
{
    struct config_watch *w = container_of(h, struct config_watch, handler);
    w->heard = true;
    tell_pods(w);
}

static void watch_free(struct config_watch *w)
{
    cache_handler_del(&w->handler);
    cache_free(w->cache);
    mem_free(w->key_text);
    mem_free(w->selector);
    mem_free(w);
}

static struct str key_of(struct arena *a, const struct kind *kind, struct str ns, struct str name)
{
    return arena_fmt(a, "%s/" STR_FMT "/" STR_FMT, kind->plural.p, STR_ARG(ns), STR_ARG(name));
}

static void source_need(void *arg, const struct kind *kind, struct str name)
{
    struct agent_pod *ap = arg;
    struct agent *g = ap->agent;
    struct arena a = ARENA;
    struct str ns = kind == K(PersistentVolume) ? S("") : ap->pod->ns, key = key_of(&a, kind, ns, name);
    struct config_watch *w = map_get(&g->configs, key);
    if (!w) {
        w = NEW(struct config_watch);
        w->agent = g;
        w->kind = kind;
        w->key_text = str_dupz(key);
        w->key = str_of(w->key_text);
        list_init(&w->refs);
        w->selector = str_dupz(arena_fmt(&a, "metadata.name=" STR_FMT, STR_ARG(name)));
        w->cache = cache_new(g->cfg.transport,
                             &(struct cache_options){.kind = kind, .ns = ns, .field_selector = str_of(w->selector)});
        w->handler = (struct cache_handler){.changed = on_change, .synced = on_synced};
        cache_handler_add(w->cache, &w->handler);
        (void)map_put(&g->configs, key, w);
        cache_start(w->cache);
    }
    bool there = false;
    list_each (r, &ap->config_refs, struct config_ref, pod_node) {
        there = there || r->watch == w;
    }
    if (!there) {
        struct config_ref *r = NEW(struct config_ref);
        r->ap = ap;
        r->watch = w;
        list_add_tail(&ap->config_refs, &r->pod_node);
        list_add_tail(&w->refs, &r->watch_node);
    }
    arena_fini(&a);
}

void configs_need(struct agent_pod *ap)
{
    struct sources sources = configs_sources(ap);
    source_names(ap->pod->obj, source_need, ap);
    claim_names(&sources, ap->pod->obj, source_need, ap);
}

static void token_free(struct config_token *t)
{
    timer_stop(&t->timer);
    call_cancel(&t->call);
    if (t->text)
        mem_wipe(t->text, strlen(t->text));
    mem_free(t->text);
    mem_free(t);
}

void configs_drop(struct agent_pod *ap)
{
    list_each (r, &ap->config_refs, struct config_ref, pod_node) {
        struct config_watch *w = r->watch;
        list_del(&r->pod_node);
        list_del(&r->watch_node);
        mem_free(r);
        if (list_empty(&w->refs)) {
            (void)map_del(&ap->agent->configs, w->key);
            watch_free(w);
        }
    }
    map_each (e, &ap->tokens)
        token_free(e->value);
    map_fini(&ap->tokens);
}

void configs_free(struct agent *g)
{
    map_each (e, &g->configs)
        watch_free(e->value);
    map_fini(&g->configs);
}

static const struct obj *source_get(void *arg, const struct kind *kind, struct str ns, struct str name,
                                    enum source_state *state)
{
    struct agent *g = ((struct agent_pod *)arg)->agent;
    struct arena a = ARENA;
    struct config_watch *w = map_get(&g->configs, key_of(&a, kind, ns, name));
    arena_fini(&a);
    *state = w && w->heard ? SOURCE_MISSING : SOURCE_UNKNOWN;
    return w ? cache_peek(w->cache, ns, name) : NULL;
}

struct sources configs_sources(struct agent_pod *ap)
{
    struct agent *g = ap->agent;
    return (struct sources){
        .get = source_get,
        .arg = ap,
        .allocatable = &g->allocatable,
        .capacity = &g->capacity,
        .node_name = str_of(g->cfg.name),
        .host_ip = str_of(g->cfg.host_ip),
        .pod_ip = ap->pod->ip,
    };
}

/* --- tokens --- */

static void token_failed(struct config_token *t, const struct err *err)
{
    bool news = !t->failed && !t->text;
    t->failed = true;
    t->err = *err;
    t->gap = MIN(t->gap ? 2 * t->gap : TOKEN_AGAIN_FIRST, t->text ? TOKEN_RENEW_MOST : TOKEN_AGAIN_MOST);
    timer_set(&t->timer, t->gap);
    if (news) /* told once here; the volumes that need it are tried, and told, with gaps of their own */
        agent_config_news(t->ap->agent, t->ap);
}

static void token_done(struct call *c)
{
    struct config_token *t = container_of(c, struct config_token, call);
    if (!c->ok) {
        token_failed(t, &c->err);
        return;
    }
    if (t->text)
        mem_wipe(t->text, strlen(t->text));
    mem_free(t->text);
    t->text = str_dupz(val_text_at(c->tree, N(status), N(token)));
    t->failed = false;
    t->gap = 0;
    timer_set(&t->timer, ns_of_seconds(t->seconds) / 5 * 4);
    agent_config_news(t->ap->agent, t->ap);
}

static void token_ask(struct config_token *t)
{
    struct agent_pod *ap = t->ap;
    const struct obj *pod = ap->pod->obj;
    struct arena *a = &(struct arena){0};
    struct val body = val_map();
    struct val *spec = val_need_map(a, &body, N(spec));
    struct val audiences = val_list();
    if (t->audience.n) {
        val_add(a, &audiences, val_str(a, t->audience));
        val_set(a, spec, N(audiences), audiences);
    }
    val_set_num(a, spec, N(expirationSeconds), t->seconds);
    struct val *ref = val_need_map(a, spec, N(boundObjectRef));
    val_set_text(a, ref, N(apiVersion), S("v1"));
    val_set_text(a, ref, N(kind), S("Pod"));
    val_set_text(a, ref, N(name), pod->name);
    val_set_text(a, ref, N(uid), pod->uid);
    struct str account = val_text_at(obj_spec(pod), N(serviceAccountName));
    call_start(&t->call, ap->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(ServiceAccount), .ns = pod->ns,
                             .name = account.n ? account : S("default"), .sub = S("token"), .body = &body));
    arena_fini(a);
}

static void on_timer(struct timer *timer)
{
    struct config_token *t = container_of(timer, struct config_token, timer);
    if (!call_active(&t->call))
        token_ask(t);
}

bool configs_token(void *arg, const struct obj *pod, struct str audience, int64_t seconds, struct str *out,
                   struct err *err)
{
    struct agent_pod *ap = arg;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    strbuf_addf(&key, STR_FMT "/%lld", STR_ARG(audience), (long long)seconds);
    struct config_token *t = map_get(&ap->tokens, strbuf_str(&key));
    (void)pod;
    if (!t) {
        t = NEW(struct config_token);
        t->ap = ap;
        t->audience = str_dup(&ap->arena, audience);
        t->seconds = seconds;
        t->call.done = token_done;
        timer_init(&t->timer, ap->agent->cfg.loop, on_timer);
        (void)map_put(&ap->tokens, strbuf_str(&key), t);
        token_ask(t);
    }
    if (t->text) { /* an old one serves until the new one is here */
        *out = str_of(t->text);
        return true;
    }
    if (t->failed) /* no E_UNAVAILABLE, which a server that is away gives: that would be waiting for news of it */
        return err_set(err, t->err.kind == E_UNAVAILABLE ? E_IO : t->err.kind, "failed to fetch token: %s",
                       t->err.text);
    return err_set(err, E_UNAVAILABLE, "the token has not come yet");
}
