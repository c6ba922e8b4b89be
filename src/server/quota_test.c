#include "api/quantity.h"
#include "api/usage.h"
#include "base/test.h"
#include "server/quota_int.h"
#include "server/world_test.h"

/* An object over and over. ' stands for ". */
static int object_make(struct world *w, const struct kind *k, const char *name, const char *more)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str body = arena_fmt(&a, "{'metadata':{'name':'%s','namespace':'default'}%s}", name, more);
    for (size_t i = 0; i < body.n; i++)
        if (body.p[i] == '\'')
            ((char *)body.p)[i] = '"';
    return ask_now(w, VERB_CREATE, k, "", body.p);
}

static int object_patch(struct world *w, const struct kind *k, const char *name, const char *sub, const char *body)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = str_dup(&a, str_of(body));
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\'')
            ((char *)text.p)[i] = '"';
    struct test_ask *ask = ask_new(w, VERB_PATCH, k, name, sub, NULL, text.p);
    world_settle(w);
    int code = ask->code;
    ask_free(ask);
    return code;
}

#define POD(more) ",'spec':{'containers':[{'name':'c','image':'i'" more "}]}"
#define CPU(n)    ",'resources':{'requests':{'cpu':'" n "'}}"

static void pods_may_come(struct world *w)
{
    CHECK_INT(object_make(w, K(ServiceAccount), "default", ""), 201);
}

/* What the quota's status says is used of a resource, of what can be read now. */
static struct str used_of(struct world *w, struct arena *a, const char *quota, const char *resource)
{
    AUTO(obj_unref) struct obj *o = object_get(w->server, K(ResourceQuota), S("default"), str_of(quota));
    return o ? str_dup(a, val_text(val_get_str(val_get(obj_status(o), N(used)), str_of(resource)))) : S("gone");
}

struct expected {
    struct world *w;
    const char *quota, *resource, *used;
};

static bool is_told(void *arg)
{
    const struct expected *x = arg;
    AUTO(arena_fini) struct arena a = ARENA;
    return str_eqz(used_of(x->w, &a, x->quota, x->resource), x->used);
}

static void until_used(struct world *w, const char *quota, const char *resource, const char *used)
{
    world_until(w, is_told, &(struct expected){w, quota, resource, used});
}

static const struct server_options on_disk;

TEST(of_twenty_writers_seven_pass)
{
    AUTO(arena_fini) struct arena a = ARENA;
    for (int disk = 0; disk < 2; disk++) {
        struct world w;
        struct test_ask *asks[20];
        world_init(&w, disk ? &on_disk : NULL);
        CHECK_INT(
            object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'configmaps':'7','count/configmaps':'9'}}"),
            201);
        for (int i = 0; i < 20; i++) {
            char body[64];
            (void)snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"c%d\"}}", i);
            asks[i] = ask_new(&w, VERB_CREATE, K(ConfigMap), "", "", NULL, body);
        }
        world_settle(&w);
        int passed = 0;
        for (int i = 0; i < 20; i++) {
            passed += asks[i]->code == 201;
            CHECK(asks[i]->code == 201 || asks[i]->code == 403);
            if (asks[i]->code == 403)
                CHECK_STR(str_sub(asks[i]->words, asks[i]->words.n - 76, SIZE_MAX),
                          S("quota: q, requested: configmaps=1, used: configmaps=7, limited: configmaps=7"));
            ask_free(asks[i]);
        }
        CHECK_INT(passed, 7);
        CHECK_STR(used_of(&w, &a, "q", "configmaps"), S("7"));
        CHECK_STR(used_of(&w, &a, "q", "count/configmaps"), S("7"));
        world_fini(&w);
    }
}

TEST(what_was_charged_can_be_read_with_the_answer)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, &on_disk);
    pods_may_come(&w);
    CHECK_INT(
        object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'pods':'9','requests.cpu':'2','count/pods':'9'}}"),
        201);
    for (int i = 1; i <= 4; i++) {
        char name[16], text[16];
        (void)snprintf(name, sizeof name, "p%d", i);
        (void)snprintf(text, sizeof text, "%d", i);
        CHECK_INT(object_make(&w, K(Pod), name, POD(CPU("250m"))), 201);
        CHECK_STR(used_of(&w, &a, "q", "pods"), str_of(text));
    }
    CHECK_STR(used_of(&w, &a, "q", "requests.cpu"), S("1"));
    /* what fails afterwards, or is a trial alone, takes nothing */
    CHECK_INT(object_make(&w, K(Pod), "p1", POD(CPU("250m"))), 409);
    until_used(&w, "q", "pods", "4");
    CHECK_INT(object_make(&w, K(Pod), "much", POD(CPU("1100m"))), 403);
    CHECK_INT(object_make(&w, K(Pod), "silent", POD("")), 403);
    /* ended ones count as objects alone, and what goes is free at once */
    CHECK_INT(object_patch(&w, K(Pod), "p1", "status", "{'status':{'phase':'Succeeded'}}"), 200);
    CHECK_INT(object_make(&w, K(Pod), "p5", POD(CPU("1250m"))), 201);
    until_used(&w, "q", "count/pods", "5");
    until_used(&w, "q", "pods", "4");
    until_used(&w, "q", "requests.cpu", "2");
    CHECK_INT(ask_now(&w, VERB_DELETE, K(Pod), "p5", NULL), 200);
    CHECK_INT(object_make(&w, K(Pod), "p6", POD(CPU("1250m"))), 201);
    world_fini(&w);
}

/* Writers that come one turn after another, while others are with the disk: no answer is ahead of the status. */
TEST(no_answer_is_ahead_of_the_status)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    struct test_ask *asks[60];
    size_t n = 0, answered = 0;
    world_init(&w, &on_disk);
    CHECK_INT(object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'secrets':'100'}}"), 201);
    for (int64_t end = clock_mono() + 50 * NS_PER_S; answered < countof(asks); loop_run_once(w.loop, NS_PER_MS)) {
        char body[64];
        int64_t used = 0;
        (void)snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"s%zu\"}}", n);
        if (n < countof(asks))
            asks[n++] = ask_new(&w, VERB_CREATE, K(Secret), "", "", NULL, body);
        answered = 0;
        for (size_t i = 0; i < n; i++)
            answered += asks[i]->over;
        CHECK(str_to_i64(used_of(&w, &a, "q", "secrets"), 0, 100, &used) || !answered);
        CHECK(used >= (int64_t)answered);
        CHECK(clock_mono() < end);
    }
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(asks[i]->code, 201);
        ask_free(asks[i]);
    }
    world_fini(&w);
}

/* Two quotas take all of a write, or neither takes anything. */
TEST(quotas_hold_together_or_not_at_all)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(object_make(&w, K(ResourceQuota), "a", ",'spec':{'hard':{'secrets':'5'}}"), 201);
    CHECK_INT(object_make(&w, K(ResourceQuota), "b", ",'spec':{'hard':{'count/secrets':'1'}}"), 201);
    CHECK_INT(object_make(&w, K(Secret), "one", ""), 201);
    CHECK_INT(object_make(&w, K(Secret), "two", ""), 403);
    CHECK_STR(used_of(&w, &a, "a", "secrets"), S("1"));
    CHECK_STR(used_of(&w, &a, "b", "count/secrets"), S("1"));
    CHECK_INT(ask_now(&w, VERB_DELETE, K(ResourceQuota), "b", NULL), 200);
    CHECK_INT(object_make(&w, K(Secret), "two", ""), 201);
    CHECK_STR(used_of(&w, &a, "a", "secrets"), S("2"));
    world_fini(&w);
}

TEST(a_status_that_somebody_wrote_is_put_right)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(
        object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'secrets':'1','count/widgets.example.com':'1'}}"),
        201);
    until_used(&w, "q", "secrets", "0");
    CHECK_STR(used_of(&w, &a, "q", "count/widgets.example.com"), S("")); /* nobody counts them */
    CHECK_INT(object_patch(&w, K(ResourceQuota), "q", "status", "{'status':{'used':{'secrets':'7'}}}"), 200);
    CHECK_STR(used_of(&w, &a, "q", "secrets"), S("7"));
    CHECK_INT(object_make(&w, K(Secret), "one", ""), 201); /* and decides nothing */
    until_used(&w, "q", "secrets", "1");
    CHECK_INT(object_patch(&w, K(ResourceQuota), "q", "status", "{'status':{'used':{'secrets':'7'}}}"), 200);
    until_used(&w, "q", "secrets", "1");
    world_fini(&w);
}

TEST(usage_is_counted_anew_at_the_start)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct world w;
    world_init(&w, &on_disk);
    pods_may_come(&w);
    CHECK_INT(object_make(&w, K(ResourceQuota), "q",
                          ",'spec':{'hard':{'pods':'2','services.nodeports':'3','secrets':'1'}}"),
              201);
    CHECK_INT(object_make(&w, K(ResourceQuota), "r", ",'spec':{'hard':{'count/pods':'9'}}"), 201);
    CHECK_INT(object_make(&w, K(Pod), "a", POD("")), 201);
    CHECK_INT(object_make(&w, K(Secret), "a", ""), 201);
    CHECK_INT(object_make(&w, K(Service), "a",
                          ",'spec':{'type':'NodePort','ports':[{'name':'a','port':1},{'name':'b','port':2}]}"),
              201);
    world_fini(&w);
    world_init(&w, &on_disk);
    CHECK_INT(object_make(&w, K(Secret), "b", ""), 403);
    CHECK_INT(object_make(&w, K(Pod), "b", POD("")), 201);
    CHECK_INT(object_make(&w, K(Pod), "c", POD("")), 403);
    CHECK_INT(object_patch(
                  &w, K(Service), "a", "",
                  "{'spec':{'ports':[{'name':'c','port':3},{'name':'d','port':4},{'name':'e','port':5},{'name':'f',"
                  "'port':6}]}}"),
              403);
    CHECK_INT(object_patch(&w, K(Service), "a", "",
                           "{'spec':{'ports':[{'name':'c','port':3},{'name':'d','port':4},{'name':'e','port':5}]}}"),
              200);
    CHECK_STR(used_of(&w, &a, "q", "services.nodeports"), S("3"));
    world_fini(&w);
}

/* A pod whose node is gone may be deleted for ever: past its time it holds nothing. */
TEST(a_pod_past_its_time_is_free)
{
    struct world w;
    world_init(&w, NULL);
    pods_may_come(&w);
    CHECK_INT(object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'pods':'1','count/pods':'5'}}"), 201);
    CHECK_INT(
        object_make(
            &w, K(Pod), "a",
            ",'spec':{'nodeName':'n','terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'i'}]}"),
        201);
    CHECK_INT(ask_now(&w, VERB_DELETE, K(Pod), "a", NULL), 200);
    CHECK_INT(object_make(&w, K(Pod), "b", POD("")), 403);
    until_used(&w, "q", "pods", "0");
    until_used(&w, "q", "count/pods", "1");
    CHECK_INT(object_make(&w, K(Pod), "b", POD("")), 201);
    CHECK_INT(object_patch(&w, K(Pod), "a", "status", "{'status':{'phase':'Failed'}}"), 200);
    until_used(&w, "q", "pods", "1");
    world_fini(&w);
}

/* A change costs the same, however many objects there are: only a quota that comes goes through them. */
TEST(a_change_walks_through_nothing)
{
    struct world w;
    world_init(&w, NULL);
    pods_may_come(&w);
    for (int i = 0; i < 300; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "p%d", i);
        CHECK_INT(object_make(&w, K(Pod), name, POD("")), 201);
    }
    CHECK_INT(object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'pods':'1000','secrets':'1000'}}"), 201);
    until_used(&w, "q", "pods", "300");
    CHECK_INT(quotas_walked(w.server->quotas), 300);
    CHECK_INT(object_make(&w, K(Pod), "more", POD("")), 201);
    CHECK_INT(object_make(&w, K(Secret), "more", ""), 201);
    CHECK_INT(ask_now(&w, VERB_DELETE, K(Pod), "more", NULL), 200);
    CHECK_INT(object_patch(&w, K(Pod), "p7", "status", "{'status':{'phase':'Failed'}}"), 200);
    CHECK_INT(object_patch(&w, K(ResourceQuota), "q", "", "{'spec':{'hard':{'pods':'2000'}}}"), 200);
    until_used(&w, "q", "pods", "299");
    CHECK_INT(quotas_walked(w.server->quotas), 300);
    world_fini(&w);
}

/* --- a random world --- */

/* What is used by all that is stored, added up. */
static struct str truth_of(struct world *w, struct arena *a, const struct obj *quota, struct str name)
{
    AUTO(store_snapshot_fini) struct store_snapshot snap = objects_snapshot(w->server);
    struct store_iter it;
    struct str sum = S("0"), resource, rest, ns;
    for (struct store_entry *e = store_first(&it, &snap, S(""), STR_NONE); e; e = store_next(&it)) {
        struct obj *o = object_of(e);
        if (!str_split(store_entry_key(e), '/', &resource, &rest) || !str_split(rest, '/', &ns, &rest) ||
            !str_eqz(ns, "default") || !usage_in_scope(obj_spec(quota), resource, &o->tree))
            continue;
        struct val uses = usage_of(a, resource, &o->tree, &(struct usage_facts){0});
        const struct val *v = val_get_str(&uses, name);
        sum = v ? quantity_add(a, sum, val_text(v)) : sum;
    }
    return sum;
}

struct play {
    struct world *w;
    uint64_t seed;
};

static uint64_t play_next(struct play *p, uint64_t below)
{
    p->seed = p->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (p->seed >> 33) % below;
}

static bool quota_is_true(struct obj *quota, void *arg)
{
    struct play *p = arg;
    AUTO(arena_fini) struct arena a = ARENA;
    const struct val *used = val_get(obj_status(quota), N(used));
    bool equal = val_equal(val_get(obj_status(quota), N(hard)), val_get(obj_spec(quota), N(hard)));
    val_each_member (m, val_get(obj_spec(quota), N(hard)))
        equal &= quantity_cmp(val_text(val_get_str(used, m->name->s)), truth_of(p->w, &a, quota, m->name->s)) == 0;
    return equal;
}

struct looked {
    struct play *play;
    bool all_true;
};

static bool quota_look(struct obj *quota, void *arg)
{
    struct looked *x = arg;
    return x->all_true &= quota_is_true(quota, x->play);
}

static bool quotas_are_true(void *arg)
{
    struct looked x = {arg, true};
    objects_each(x.play->w->server, K(ResourceQuota), S("default"), quota_look, &x);
    return x.all_true;
}

/* At no time is more used than the quota allows, as these are never lowered below what is used. */
static bool quota_holds(struct obj *quota, void *arg)
{
    struct play *p = arg;
    AUTO(arena_fini) struct arena a = ARENA;
    val_each_member (m, val_get(obj_spec(quota), N(hard)))
        if (quantity_cmp(truth_of(p->w, &a, quota, m->name->s), val_text(&m->v)) > 0)
            CHECK_STR(STR_JOIN(&a, quota->name, S(": "), m->name->s, S(" is "), truth_of(p->w, &a, quota, m->name->s),
                               S(" of "), val_text(&m->v)),
                      S(""));
    return true;
}

static const char *const quota_bodies[] = {
    "{'hard':{'pods':'6','requests.cpu':'2500m','limits.memory':'3Gi'}}",
    "{'hard':{'pods':'3'},'scopes':['Terminating']}",
    "{'hard':{'pods':'2'},'scopes':['BestEffort']}",
    "{'hard':{'count/pods':'9','configmaps':'5','services':'4','services.nodeports':'3'}}",
    "{'hard':{'requests.storage':'5Gi','fast.storageclass.storage.k8s.io/"
    "requests.storage':'2Gi','resourcequotas':'9'}}",
};

static struct test_ask *play_ask(struct play *p, enum verb verb, const struct kind *k, const char *name,
                                 const char *sub, const char *body)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = body ? str_dup(&a, str_of(body)) : STR_NONE;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\'')
            ((char *)text.p)[i] = '"';
    return ask_new(p->w, verb, k, name, sub, NULL, text.p);
}

static struct test_ask *play_act(struct play *p)
{
    static const char *const amounts[] = {
        "", ",'resources':{'requests':{'cpu':'500m'},'limits':{'memory':'1Gi'}}",
        ",'resources':{'requests':{'cpu':'1','memory':'1Gi'},'limits':{'memory':'1Gi'}}"};
    static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer"};
    AUTO(arena_fini) struct arena a = ARENA;
    char name[16];
    (void)snprintf(name, sizeof name, "o%d", (int)play_next(p, 9));
    struct str meta = arena_fmt(&a, "{'metadata':{'name':'%s'}", name);
    switch (play_next(p, 12)) {
    case 0:
    case 1:
    case 2:
        return play_ask(p, VERB_CREATE, K(Pod), "", "",
                        arena_fmt(&a, STR_FMT ",'spec':{%s'containers':[{'name':'c','image':'i'%s}]}}", STR_ARG(meta),
                                  play_next(p, 3) ? "" : "'activeDeadlineSeconds':9,", amounts[play_next(p, 3)])
                            .p);
    case 3: return play_ask(p, VERB_PATCH, K(Pod), name, "status", "{'status':{'phase':'Succeeded'}}");
    case 4: return play_ask(p, VERB_PATCH, K(Pod), name, "", "{'spec':{'activeDeadlineSeconds':5}}");
    case 5: return play_ask(p, VERB_DELETE, K(Pod), name, "", NULL);
    case 6:
        return play_ask(p, VERB_CREATE, K(Service), "", "",
                        arena_fmt(&a, STR_FMT ",'spec':{'type':'%s','ports':[{'port':1}]}}", STR_ARG(meta),
                                  types[play_next(p, 3)])
                            .p);
    case 7:
        return play_ask(p, VERB_PATCH, K(Service), name, "",
                        arena_fmt(&a, "{'spec':{'type':'%s'}}", types[play_next(p, 3)]).p);
    case 8:
        return play_ask(p, VERB_CREATE, K(PersistentVolumeClaim), "", "",
                        arena_fmt(&a,
                                  STR_FMT
                                  ",'spec':{'accessModes':['ReadWriteOnce'],'storageClassName':'%s','resources':"
                                  "{'requests':{'storage':'%dGi'}}}}",
                                  STR_ARG(meta), play_next(p, 2) ? "fast" : "slow", 1 + (int)play_next(p, 2))
                            .p);
    case 9: return play_ask(p, VERB_CREATE, K(ConfigMap), "", "", arena_fmt(&a, STR_FMT "}", STR_ARG(meta)).p);
    case 10: {
        const struct kind *const three[] = {K(ConfigMap), K(Service), K(PersistentVolumeClaim)};
        return play_ask(p, VERB_DELETE, three[play_next(p, countof(three))], name, "", NULL);
    }
    default: {
        size_t n = play_next(p, countof(quota_bodies));
        if (!play_next(p, 4))
            return play_ask(p, VERB_DELETE, K(ResourceQuota), arena_fmt(&a, "q%zu", n).p, "", NULL);
        return play_ask(p, VERB_CREATE, K(ResourceQuota), "", "",
                        arena_fmt(&a, "{'metadata':{'name':'q%zu'},'spec':%s}", n, quota_bodies[n]).p);
    }
    }
}

/* Quotas come while there is nothing yet, so that they hold from the first object on. */
static void play_round(struct play *p, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct test_ask *asks[6];
        size_t n = 1 + play_next(p, countof(asks));
        for (size_t k = 0; k < n; k++)
            asks[k] = play_act(p);
        world_settle(p->w);
        for (size_t k = 0; k < n; k++)
            ask_free(asks[k]);
        if (i % 4 == 0)
            world_until(p->w, quotas_are_true, p);
    }
    world_until(p->w, quotas_are_true, p);
}

/* Quotas that come and go among objects that come, change, end and go: at rest each says the truth. */
TEST(at_rest_quotas_say_the_truth)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct world w;
        struct play p = {&w, seed};
        world_init(&w, &on_disk);
        pods_may_come(&w);
        play_round(&p, 60);
        world_fini(&w);
        world_init(&w, &on_disk); /* and after a restart */
        world_until(&w, quotas_are_true, &p);
        play_round(&p, 20);
        CHECK_INT(ask_now(&w, VERB_DELETE, K(ServiceAccount), "default", NULL), 200);
        world_fini(&w);
    }
}

/* Quotas that are there first are never exceeded. */
TEST(no_quota_is_ever_exceeded)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct world w;
        struct play p = {&w, seed * 77};
        world_init(&w, NULL);
        pods_may_come(&w);
        for (size_t i = 0; i < countof(quota_bodies); i++)
            CHECK_INT(object_make(&w, K(ResourceQuota), arena_fmt(&a, "q%zu", i).p,
                                  arena_fmt(&a, ",'spec':%s", quota_bodies[i]).p),
                      201);
        for (int i = 0; i < 60; i++) {
            struct test_ask *asks[8];
            size_t n = 0;
            while (n < countof(asks)) {
                uint64_t before = p.seed;
                struct play ahead = p;
                (void)play_next(&ahead, 9);
                if (play_next(&ahead, 12) == 11) { /* the quotas stay */
                    p.seed = before + 1;
                    continue;
                }
                asks[n++] = play_act(&p);
            }
            world_settle(&w);
            objects_each(w.server, K(ResourceQuota), S("default"), quota_holds, &p);
            for (size_t k = 0; k < n; k++)
                ask_free(asks[k]);
        }
        world_until(&w, quotas_are_true, &p);
        world_fini(&w);
    }
}

static uint64_t syncs_of(struct world *w)
{
    struct store_stats stats;
    store_stats(w->server->store, &stats);
    return stats.syncs;
}

/* The status goes with the batch of what it tells. */
TEST(what_is_charged_costs_no_fsync_of_its_own)
{
    struct world w;
    world_init(&w, &on_disk);
    uint64_t costs[2];
    for (int k = 0; k < 2; k++) {
        if (k)
            CHECK_INT(object_make(&w, K(ResourceQuota), "q", ",'spec':{'hard':{'secrets':'100'}}"), 201);
        uint64_t before = syncs_of(&w);
        for (int i = 0; i < 10; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "s%d-%d", k, i);
            CHECK_INT(object_make(&w, K(Secret), name, ""), 201);
        }
        costs[k] = syncs_of(&w) - before;
    }
    CHECK(costs[0] >= 10 && costs[1] <= costs[0] + 1); /* one may be of a second that has passed */
    world_fini(&w);
}

/* A quota of very many names costs no more than what a change is about. */
TEST(a_quota_may_have_many_lines)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf body = STRBUF(1 << 22);
    struct world w;
    world_init(&w, NULL);
    strbuf_addz(&body, ",'spec':{'hard':{'secrets':'1'");
    for (int i = 0; i < 20000; i++)
        strbuf_addf(&body, ",'count/r%d.example.com':'1'", i);
    strbuf_addz(&body, "}}");
    CHECK_INT(object_make(&w, K(ResourceQuota), "q", str_dup(&a, strbuf_str(&body)).p), 201);
    CHECK_INT(object_make(&w, K(Secret), "one", ""), 201);
    CHECK_INT(object_make(&w, K(Secret), "two", ""), 403);
    CHECK_STR(used_of(&w, &a, "q", "secrets"), S("1"));
    world_fini(&w);
}

/* Pods come, end and go under the walk, before and behind where it is. */
TEST(what_changes_while_it_is_counted_counts_once)
{
    struct world w;
    struct play p = {&w, 1};
    world_init(&w, NULL);
    pods_may_come(&w);
    char name[16];
    for (int i = 0; i < 400; i++) {
        (void)snprintf(name, sizeof name, "p%03d", i);
        CHECK_INT(object_make(&w, K(Pod), name, POD(CPU("10m"))), 201);
    }
    w.server->quotas->portion = 20;
    for (int round = 0; round < 3; round++) {
        struct test_ask *asks[64];
        size_t n = 0, walked = quotas_walked(w.server->quotas);
        asks[n++] = play_ask(
            &p, VERB_CREATE, K(ResourceQuota), "", "",
            "{'metadata':{'name':'q'},'spec':{'hard':{'pods':'900','requests.cpu':'900','count/pods':'900'}}}");
        for (int64_t end = clock_mono() + 50 * NS_PER_S;
             quotas_walked(w.server->quotas) - walked < 350 && clock_mono() < end;) {
            loop_run_once(w.loop, NS_PER_MS);
            if (n + 3 > countof(asks))
                continue;
            (void)snprintf(name, sizeof name, "p%03d", (int)play_next(&p, 400));
            asks[n++] = play_ask(&p, VERB_DELETE, K(Pod), name, "", NULL);
            (void)snprintf(name, sizeof name, "p%03d", (int)play_next(&p, 400));
            asks[n++] = play_ask(&p, VERB_PATCH, K(Pod), name, "status", "{'status':{'phase':'Failed'}}");
        }
        world_settle(&w);
        CHECK(n > 20); /* it took many turns */
        for (size_t i = 0; i < n; i++)
            ask_free(asks[i]);
        world_until(&w, quotas_are_true, &p);
        CHECK_INT(ask_now(&w, VERB_DELETE, K(ResourceQuota), "q", NULL), 200);
    }
    world_fini(&w);
}
