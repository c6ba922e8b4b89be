#include "base/test.h"
#include "server/fail.h"
#include "server/world_test.h"

enum { WRITERS = 200, WAIT_MS = 50 };

/* A row of admission that asks "elsewhere": its answer comes after 50 ms. */
struct question {
    struct timer timer;
    struct write *w;
    struct val asked; /* what it was asked about */
    bool answered;
};
static struct {
    size_t asked, answered, cancelled;
    bool of_object;               /* an answer holds for the object that was asked about alone */
    void (*then)(struct write *); /* happens beside it, when the answer is there */
    const char *refuse;           /* a sub, or "": all; NULL: nothing */
} told;

static void answer_comes(struct timer *t)
{
    struct question *q = container_of(t, struct question, timer);
    q->answered = true;
    told.answered++;
    if (told.then)
        told.then(q->w);
    write_resume(q->w);
}

static void give_up(struct write *w)
{
    struct question *q = w->admission.kept[w->admission.at];
    timer_stop(&q->timer);
    told.cancelled++;
}

static bool ask_elsewhere(struct admission *x)
{
    struct write *w = x->r->write;
    struct question *q = *admit_kept(x);
    if (!str_eqz(x->ns, "default"))
        return true;
    if (q && q->answered && (!told.of_object || !x->obj || val_equal(&q->asked, x->obj)))
        return true;
    *admit_kept(x) = q = ARENA_NEW(&x->r->arena, struct question);
    q->w = w;
    if (x->obj)
        q->asked = val_copy(&x->r->arena, x->obj);
    if (write_wait(w, give_up)) {
        told.asked++;
        timer_init(&q->timer, x->r->server->loop, answer_comes);
        timer_set(&q->timer, WAIT_MS * NS_PER_MS);
    }
    return false;
}

static bool admission_refuse(struct admission *x)
{
    if (!told.refuse || !str_eqz(x->sub, told.refuse))
        return true;
    return fail_forbidden(x->r, "the test says no");
}

#define EVERY (VERB_CREATE | VERB_UPDATE | VERB_DELETE | ADMIT_CONNECT | ADMIT_APART)
static const struct admit_row asks[] = {{"asks", EVERY, NULL, ask_elsewhere, NULL}},
                              asks_last[] = {{"asks", EVERY, NULL, NULL, ask_elsewhere}},
                              refuses[] = {{"refuses", EVERY, NULL, NULL, admission_refuse}};

static void rows_are(struct world *w, const struct admit_row *rows)
{
    w->server->admit_more = rows;
    w->server->nadmit_more = rows ? 1 : 0;
}

static const char *text_fmt(const char *fmt, ...) PRINTF(1, 2);
static const char *text_fmt(const char *fmt, ...)
{
    static char all[8][200];
    static int at;
    char *p = all[at++ % 8];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(p, sizeof all[0], fmt, args);
    va_end(args);
    return p;
}

static struct obj *config_map(struct world *w, const char *name)
{
    return object_get(w->server, K(ConfigMap), S("default"), str_of(name));
}

static size_t config_len(struct world *w, const char *name)
{
    AUTO(obj_unref) struct obj *o = config_map(w, name);
    return o ? val_len(val_get(&o->tree, N(data))) : 0;
}

static void nothing_is_held(struct world *w)
{
    CHECK_INT(map_len(&w->server->turns), 0);
    CHECK_INT(w->server->writes_waiting, 0);
    CHECK(list_empty(&w->server->waiting));
}

/* Half of them write the same object, half one each. None waits for another: all together take about as long as one,
 * where one after another they would take ten seconds. */
static void many_write(struct world *w, const struct admit_row *rows)
{
    struct test_ask *all[WRITERS];
    CHECK_INT(ask_now(w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"}}"), 201);
    rows_are(w, rows);
    int64_t begin = clock_mono();
    for (int i = 0; i < WRITERS; i++)
        all[i] = i % 2 ? ask_new(w, VERB_PATCH, K(ConfigMap), "one", "", NULL,
                                 text_fmt("{\"data\":{\"k%d\":\"v\"}}", i))
                       : ask_new(w, VERB_CREATE, K(ConfigMap), "", "", NULL,
                                 text_fmt("{\"metadata\":{\"name\":\"c%d\"},\"data\":{\"k%d\":\"v\"}}", i, i));
    world_settle(w);
    int64_t took = clock_mono() - begin;
    CHECK(took >= WAIT_MS * NS_PER_MS);
    CHECK(took < WRITERS * WAIT_MS * NS_PER_MS / 4);
    int64_t revs[WRITERS] = {0};
    for (int i = 0; i < WRITERS; i++) {
        CHECK_INT(all[i]->code, i % 2 ? 200 : 201);
        revs[i] = all[i]->r.answer.obj->rev;
        for (int k = 0; k < i; k++)
            CHECK(revs[k] != revs[i]);
        if (i % 2 == 0)
            CHECK_INT(config_len(w, text_fmt("c%d", i)), 1);
        ask_free(all[i]);
    }
    CHECK_INT(config_len(w, "one"), WRITERS / 2);
    CHECK_INT(told.asked, WRITERS);
    CHECK_INT(told.answered, WRITERS);
    nothing_is_held(w);
}

TEST(writes_that_wait_hold_up_nobody)
{
    struct world w;
    world_init(&w, NULL);
    many_write(&w, asks);
    world_fini(&w);
}

TEST(writes_that_wait_before_the_commit_hold_up_nobody)
{
    struct world w;
    world_init(&w, NULL);
    many_write(&w, asks_last);
    world_fini(&w);
}

/* Half of them patch one object, half make a Service each, which holds an address. */
static void all_ask(struct world *w, const struct admit_row *rows, struct test_ask **all)
{
    CHECK_INT(ask_now(w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"}}"), 201);
    rows_are(w, rows);
    for (int i = 0; i < WRITERS; i++)
        all[i] = i % 2 ? ask_new(w, VERB_PATCH, K(ConfigMap), "one", "", NULL,
                                 text_fmt("{\"data\":{\"k%d\":\"v\"}}", i))
                       : ask_new(w, VERB_CREATE, K(Service), "", "", NULL,
                                 text_fmt("{\"metadata\":{\"name\":\"c%d\"},\"spec\":{\"ports\":[{\"port\":%d}]}}",
                                          i + 1, i + 1));
}

/* Who leaves while his write waits has written nothing; of the others nothing is lost. */
TEST(who_leaves_has_written_nothing)
{
    struct world w;
    struct test_ask *all[WRITERS];
    world_init(&w, NULL);
    all_ask(&w, asks_last, all);
    for (int i = 0; i < WRITERS; i++)
        if (i % 4 < 2) {
            request_cancel(&all[i]->r);
            request_cancel(&all[i]->r);
        }
    world_settle(&w);
    for (int i = 0; i < WRITERS; i++) {
        CHECK_INT(all[i]->code, i % 4 < 2 ? 503 : i % 2 ? 200 : 201);
        request_cancel(&all[i]->r); /* too late: nothing happens */
        AUTO(obj_unref)
        struct obj *o = object_get(w.server, K(Service), S("default"), str_of(text_fmt("c%d", i + 1)));
        CHECK((o != NULL) == (i % 2 == 0 && i % 4 >= 2));
        ask_free(all[i]);
    }
    CHECK_INT(config_len(&w, "one"), WRITERS / 4);
    CHECK(told.cancelled <= WRITERS / 2); /* the answers of others came together with that they left */
    nothing_is_held(&w);
    world_fini(&w); /* addresses that those reserved are free again: alloc_free finds nothing under way */
}

/* An answer that holds for one state of the object alone is asked for again, so often. What was said to be written is
 * written, what was refused is not. */
TEST(an_answer_about_an_object_that_changed_is_asked_for_again)
{
    enum { N = 20 };
    struct world w;
    struct test_ask *all[N];
    size_t good = 0;
    world_init(&w, NULL);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"}}"), 201);
    rows_are(&w, asks);
    told.of_object = true;
    for (int i = 0; i < N; i++)
        all[i] = ask_new(&w, VERB_PATCH, K(ConfigMap), "one", "", NULL, text_fmt("{\"data\":{\"k%d\":\"v\"}}", i));
    world_settle(&w);
    AUTO(obj_unref) struct obj *o = config_map(&w, "one");
    for (int i = 0; i < N; i++) {
        CHECK(all[i]->code == 200 || all[i]->code == 409);
        good += all[i]->code == 200;
        CHECK((val_get_str(val_get(&o->tree, N(data)), str_of(text_fmt("k%d", i))) != NULL) == (all[i]->code == 200));
        ask_free(all[i]);
    }
    CHECK(good >= 1 + WRITE_TRIES && good < N);
    CHECK(told.asked > N && told.asked <= N * (1 + WRITE_TRIES));
    nothing_is_held(&w);
    world_fini(&w);
}

/* What happens beside a write while it waits: told.then, with the first of them. */
static struct world *beside;
static struct test_ask *beside_ask;

static void change_beside(struct write *w UNUSED)
{
    told.then = NULL;
    rows_are(beside, NULL);
    beside_ask = ask_new(beside, VERB_PATCH, K(ConfigMap), "one", "", NULL, "{\"data\":{\"beside\":\"v\"}}");
}

static void delete_beside(struct write *w UNUSED)
{
    told.then = NULL;
    rows_are(beside, NULL);
    beside_ask = ask_new(beside, VERB_DELETE, K(ConfigMap), "one", "", NULL, NULL);
}

static int write_with(struct world *w, void (*then)(struct write *), enum verb verb, const char *body)
{
    CHECK_INT(ask_now(w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"}}"), 201);
    rows_are(w, asks);
    told.then = then;
    beside = w;
    int code = ask_now(w, verb, K(ConfigMap), "one", body);
    CHECK_INT(beside_ask->code, 200);
    ask_free(TAKE(beside_ask));
    rows_are(w, NULL);
    return code;
}

TEST(an_object_that_changes_while_a_write_waits)
{
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(write_with(&w, change_beside, VERB_PATCH, "{\"data\":{\"mine\":\"v\"}}"), 200);
    CHECK_INT(config_len(&w, "one"), 2);
    CHECK_INT(ask_now(&w, VERB_DELETE, K(ConfigMap), "one", NULL), 200);
    /* a PUT that names no revision takes the place of whatever is there */
    CHECK_INT(
        write_with(&w, change_beside, VERB_UPDATE, "{\"metadata\":{\"name\":\"one\"},\"data\":{\"mine\":\"v\"}}"),
        200);
    CHECK_INT(config_len(&w, "one"), 1);
    CHECK_INT(ask_now(&w, VERB_DELETE, K(ConfigMap), "one", NULL), 200);
    CHECK_INT(write_with(&w, delete_beside, VERB_PATCH, "{\"data\":{\"mine\":\"v\"}}"), 404);
    CHECK_INT(write_with(&w, change_beside, VERB_DELETE, NULL), 200);
    CHECK_INT(config_len(&w, "one"), 0);
    nothing_is_held(&w);
    world_fini(&w);
}

TEST(a_put_of_a_revision_that_is_past_when_its_answer_comes)
{
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"}}"), 201);
    AUTO(obj_unref) struct obj *o = config_map(&w, "one");
    char body[200];
    (void)snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"one\",\"resourceVersion\":\"%lld\"}}",
                   (long long)o->rev);
    rows_are(&w, asks);
    told.then = change_beside;
    beside = &w;
    CHECK_INT(ask_now(&w, VERB_UPDATE, K(ConfigMap), "one", body), 409);
    ask_free(TAKE(beside_ask));
    CHECK_INT(config_len(&w, "one"), 1);
    nothing_is_held(&w);
    world_fini(&w);
}

/* Another server writes to the same store: what it wrote is visible to nobody yet when ours compares. */
struct other {
    struct store_op op;
    struct store_write write;
    bool over;
} other;

static void other_done(struct store_op *op)
{
    CHECK(op->ok);
    other.over = true;
}

static void write_beside(struct write *w)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = val_copy(&a, &w->stored->tree);
    told.then = NULL;
    val_set_str(&a, val_need_map(&a, &tree, N(data)), S("other"), val_str_borrowed(S("v")));
    other.write = (struct store_write){
        .key = S("configmaps/default/one"), .own_ref = object_from(K(ConfigMap), &tree, NULL), .expect = STORE_ANY};
    other.op = (struct store_op){.writes = &other.write, .n = 1, .done = other_done};
    store_write(w->r->server->store, &other.op);
}

TEST(a_conflict_in_the_store_starts_a_patch_over)
{
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ConfigMap), "", "{\"metadata\":{\"name\":\"one\"}}"), 201);
    rows_are(&w, asks);
    told.then = write_beside;
    CHECK_INT(ask_now(&w, VERB_PATCH, K(ConfigMap), "one", "{\"data\":{\"mine\":\"v\"}}"), 200);
    CHECK(other.over);
    CHECK_INT(config_len(&w, "one"), 2);
    CHECK_INT(told.asked, 1);
    nothing_is_held(&w);
    world_fini(&w);
}

/* The server stops while writes wait: each is answered, and nothing of them stays. */
TEST(a_server_that_stops_answers_what_waits)
{
    struct world w;
    struct test_ask *all[WRITERS];
    world_init(&w, NULL);
    all_ask(&w, asks, all);
    world_fini(&w);
    CHECK_INT(w.open, 0);
    CHECK_INT(told.cancelled, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        CHECK_INT(all[i]->code, 503);
        ask_free(all[i]);
    }
}

/* What is done to an object passes admission like what is written. */
TEST(whatever_is_asked_for_passes_admission)
{
    static const struct {
        enum verb verb;
        const struct kind *kind;
        const char *name, *sub;
        const struct type *type;
        const char *body;
    } rows[] = {
        {VERB_CREATE, K(Pod), "p", "binding", T(core_v1_Binding),
         "{\"metadata\":{\"name\":\"p\"},\"target\":{\"name\":\"n\"}}"},
        {VERB_CREATE, K(Pod), "p", "eviction", T(policy_v1_Eviction), "{\"metadata\":{\"name\":\"p\"}}"},
        {VERB_CREATE, K(ServiceAccount), "default", "token", T(authentication_v1_TokenRequest), "{}"},
        {VERB_PATCH, K(Pod), "p", "status", NULL, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"},
        {VERB_DELETE, K(Pod), "p", "", NULL, NULL},
        {VERB_DELETECOLLECTION, K(Pod), "", "", NULL, NULL},
        {VERB_CREATE, K(SubjectAccessReview), "", "", NULL, "{\"spec\":{\"user\":\"u\"}}"},
    };
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ServiceAccount), "", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(Pod), "",
                      "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"),
              201);
    rows_are(&w, refuses);
    for (size_t i = 0; i < countof(rows); i++) {
        told.refuse = rows[i].sub;
        struct test_ask *a = ask_new(&w, rows[i].verb, rows[i].kind, rows[i].name, rows[i].sub, rows[i].type,
                                     rows[i].body);
        world_settle(&w);
        CHECK_INT(a->code, 403);
        CHECK(str_has(a->words, S("the test says no")));
        ask_free(a);
    }
    AUTO(obj_unref) struct obj *p = object_get(w.server, K(Pod), S("default"), S("p"));
    CHECK(p && !obj_deleting(p) && !val_text_at(obj_spec(p), N(nodeName)).n);
    nothing_is_held(&w);
    world_fini(&w);
}

/* --- over HTTP --- */

static bool have_asked(void *arg)
{
    return told.asked == *(size_t *)arg;
}

static bool have_cancelled(void *arg)
{
    return told.cancelled == *(size_t *)arg;
}

TEST(clients_that_leave_take_their_writes_and_connections_along)
{
    struct world w;
    world_init(&w, NULL);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(ServiceAccount), "", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    CHECK_INT(ask_now(&w, VERB_CREATE, K(Pod), "",
                      "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"),
              201);
    rows_are(&w, asks);
    static const struct {
        const char *line, *body, *answer;
    } rows[] = {
        {"POST /api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"one\"}}", "201 Created"},
        {"PATCH /api/v1/namespaces/default/configmaps/one", "", "415 "},
        {"POST /api/v1/namespaces/default/pods/p/exec?command=true", "", "does not have a host assigned"},
        {"GET /api/v1/namespaces/default/pods/p/proxy/x", "", "address not allowed"},
        {"DELETE /api/v1/namespaces/default/configmaps", "", "ConfigMapList"},
    };
    size_t asked = 0, cancelled = 0;
    for (size_t i = 0; i < countof(rows); i++) {
        if (strncmp(rows[i].line, "PATCH", 5)) { /* which is refused before it waits */
            struct test_client leaves = client_new(&w, rows[i].line, rows[i].body);
            asked++;
            world_until(&w, have_asked, &asked);
            client_fini(&leaves);
            cancelled++;
            world_until(&w, have_cancelled, &cancelled);
            asked++;
        }
        AUTO(client_fini) struct test_client stays = client_new(&w, rows[i].line, rows[i].body);
        stays.until = rows[i].answer;
        world_until(&w, client_has, &stays);
    }
    nothing_is_held(&w);
    world_fini(&w);
}
