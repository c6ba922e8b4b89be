#include "api/codec.h"
#include "base/test.h"
#include "control/history.h"
#include "control/plan_test.h"

#define DB                                                                                                           \
    "apiVersion: apps/v1\nkind: StatefulSet\n"                                                                       \
    "metadata: {name: db, generation: 1, annotations: {kubernetes.io/change-cause: first}}\n"                        \
    "spec: {serviceName: db, selector: {matchLabels: {app: foo}}, template: {metadata: {labels: {app: foo}, "        \
    "annotations: {test: value}}, spec: {containers: [{name: test, image: '%s'}]}}}\n"

struct setting {
    struct fixture f;
    struct plan p;
    struct revisions h;
};

static struct obj *db_get(struct setting *s)
{
    return view_get(&s->f.view, K(StatefulSet), S("default"), S("db"));
}

static void setting_begin(struct setting *s, const char *image)
{
    AUTO(arena_fini) struct arena a = ARENA;
    *s = (struct setting){0};
    fixture_init(&s->f);
    fixture_add(&s->f, arena_fmt(&a, DB, image));
}

static void setting_image(struct setting *s, const char *image)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fixture_add(&s->f, arena_fmt(&a, DB, image));
}

static void plan_new(struct setting *s)
{
    revisions_fini(&s->h);
    plan_fini(&s->p);
    s->p = (struct plan){0};
    CHECK(revisions_collect(&s->f.view, db_get(s), &s->p, &s->h));
}

static void setting_end(struct setting *s)
{
    revisions_fini(&s->h);
    plan_fini(&s->p);
    fixture_fini(&s->f);
}

/* What is planned so far becomes so. */
static void plan_done(struct setting *s)
{
    array_each (a, &s->p.actions) {
        AUTO(arena_fini) struct arena arena = ARENA;
        CHECK(a->verb == ACTION_CREATE || a->verb == ACTION_UPDATE);
        struct val v = val_copy(&arena, &a->body), *meta = val_need_map(&arena, &v, N(metadata));
        val_set(&arena, meta, N(uid), val_str(&arena, a->name));
        struct obj *o = obj_new(a->kind, &v, ++s->f.rev);
        obj_unref(objset_put(s->f.sets[a->kind->id], o));
        obj_unref(o);
    }
}

static struct revision current_make(struct setting *s, int64_t *collisions)
{
    plan_new(s);
    struct revision r = revisions_current(&s->h, HISTORY_HASH, collisions);
    struct revision kept = {.number = r.number};
    static char name[300], hash[64];
    snprintf(name, sizeof name, STR_FMT, STR_ARG(r.name));
    snprintf(hash, sizeof hash, STR_FMT, STR_ARG(r.hash));
    kept.name = str_of(name);
    kept.hash = str_of(hash);
    plan_done(s);
    return kept;
}

TEST(name_and_data_of_a_revision_are_those_of_upstream)
{
    struct setting s;
    setting_begin(&s, "test:latest"); /* imagePullPolicy Always */
    setting_image(&s, "test");
    int64_t collisions = 0;
    struct revision r = current_make(&s, &collisions);
    CHECK_STR(r.name, S("db-776999688b"));
    CHECK_STR(r.hash, S("776999688b"));
    struct obj *o = view_get(&s.f.view, K(ControllerRevision), S("default"), r.name);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    json_encode(&text, val_get(&o->tree, N(data)));
    CHECK_STR(
        strbuf_str(&text),
        S("{\"spec\":{\"template\":{\"$patch\":\"replace\",\"metadata\":{\"annotations\":{\"test\":\"value\"},"
          "\"labels\":{\"app\":\"foo\"}},\"spec\":{\"containers\":[{\"image\":\"test\",\"imagePullPolicy\":"
          "\"Always\",\"name\":\"test\",\"resources\":{},\"terminationMessagePath\":\"/dev/termination-log\","
          "\"terminationMessagePolicy\":\"File\"}],\"dnsPolicy\":\"ClusterFirst\",\"restartPolicy\":\"Always\","
          "\"schedulerName\":\"default-scheduler\",\"securityContext\":{},\"terminationGracePeriodSeconds\":30}}"
          "}}"));
    CHECK_STR(val_text(val_get_str(obj_labels(o), S("app"))), S("foo"));
    CHECK_STR(val_text(val_get_str(obj_labels(o), HISTORY_HASH)), S("776999688b"));
    CHECK_STR(obj_note(o, "kubernetes.io/change-cause"), S("first"));
    CHECK_STR(val_text_at(obj_controller(o), N(uid)), db_get(&s)->uid);
    setting_end(&s);
}

TEST(each_template_has_its_number_and_one_that_comes_again_gets_the_next)
{
    struct setting s;
    setting_begin(&s, "one");
    int64_t collisions = 0;
    CHECK_INT(current_make(&s, &collisions).number, 1);
    CHECK_INT(current_make(&s, &collisions).number, 1);
    CHECK_INT(s.p.actions.n, 0);
    setting_image(&s, "two");
    CHECK_INT(current_make(&s, &collisions).number, 2);
    CHECK_INT(s.p.actions.n, 1);
    setting_image(&s, "one");
    CHECK_INT(current_make(&s, &collisions).number, 3);
    CHECK_INT(s.p.actions.n, 1);
    CHECK_INT(s.p.actions.p[0].verb, ACTION_UPDATE);
    plan_new(&s);
    CHECK_INT(s.h.all.n, 2);
    CHECK_INT(val_num(val_get(&s.h.all.p[0]->tree, N(revision)), 0), 2);
    CHECK_INT(val_num(val_get(&s.h.all.p[1]->tree, N(revision)), 0), 3);
    CHECK_INT(collisions, 0);
    setting_end(&s);
}

TEST(a_name_that_another_has_is_hashed_again)
{
    struct setting s;
    setting_begin(&s, "test");
    fixture_add(&s.f, S("apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: db-776999688b}\n"
                        "data: {a: 1}\nrevision: 1\n"));
    int64_t collisions = 0;
    CHECK_STR(current_make(&s, &collisions).name, S("db-776999688c"));
    CHECK_INT(collisions, 1);
    CHECK_STR(current_make(&s, &collisions).name, S("db-776999688c"));
    CHECK_INT(collisions, 1);
    setting_end(&s);
}

TEST(a_revision_gives_its_template_back)
{
    struct setting s;
    setting_begin(&s, "one");
    int64_t collisions = 0;
    struct str name = current_make(&s, &collisions).name;
    AUTO(arena_fini) struct arena a = ARENA;
    struct val was = val_copy(&a, val_get(obj_spec(db_get(&s)), N(template)));
    setting_image(&s, "two");
    struct val back;
    struct err err = ERR;
    plan_new(&s);
    CHECK_OK(revision_apply(&a, db_get(&s), revisions_named(&s.h, name), &back, &err), err);
    CHECK(val_equal(&back, &was));
    /* one that only changes a part */
    fixture_add(&s.f, S("apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: part}\n"
                        "data: {spec: {template: {spec: {terminationGracePeriodSeconds: 5}}}}\nrevision: 1\n"));
    CHECK_OK(revision_apply(&a, db_get(&s), view_get(&s.f.view, K(ControllerRevision), S("default"), S("part")),
                            &back, &err),
             err);
    CHECK_INT(val_num_at(&back, 0, N(spec), N(terminationGracePeriodSeconds)), 5);
    CHECK_STR(val_text_at(val_item(val_at(&back, N(spec), N(containers)), 0), N(image)), S("two"));
    fixture_add(&s.f, S("apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: bad}\n"
                        "data: {spec: {template: {spec: {containers: {}}}}}\nrevision: 1\n"));
    CHECK(!revision_apply(&a, db_get(&s), view_get(&s.f.view, K(ControllerRevision), S("default"), S("bad")), &back,
                          &err));
    CHECK(str_has(str_of(err.text), S("ControllerRevision bad is no template of this object")));
    setting_end(&s);
}

static bool is_live(void *arg, const struct obj *revision)
{
    return str_eqz(revision->name, arg);
}

TEST(the_oldest_that_nobody_needs_go)
{
    struct setting s;
    setting_begin(&s, "i0");
    int64_t collisions = 0;
    char first[300] = "";
    for (int i = 0; i < 6; i++) {
        char image[16];
        snprintf(image, sizeof image, "i%d", i);
        setting_image(&s, image);
        struct str name = current_make(&s, &collisions).name;
        if (i == 0)
            snprintf(first, sizeof first, STR_FMT, STR_ARG(name));
    }
    static const struct {
        int64_t limit;
        size_t gone;
    } cases[] = {{10, 0}, {5, 0}, {4, 1}, {2, 3}, {0, 5}, {-1, 0}};
    for (size_t i = 0; i < countof(cases); i++) {
        plan_new(&s);
        revisions_trim(&s.h, cases[i].limit, is_live, first);
        CHECK_INT(s.p.actions.n, cases[i].gone);
        for (size_t n = 0; n < s.p.actions.n; n++)
            CHECK_STR(s.p.actions.p[n].name, s.h.all.p[n + 1]->name); /* the first is needed */
    }
    setting_end(&s);
}

TEST(orphans_are_adopted_and_what_the_selector_leaves_is_released)
{
    struct setting s;
    setting_begin(&s, "one");
    fixture_add(&s.f,
                S("apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: orphan, labels: {app: foo}}\n"
                  "data: {a: 1}\nrevision: 4\n---\n"
                  "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: stranger, labels: {app: b}}\n"
                  "data: {a: 2}\nrevision: 5\n---\n"
                  "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: left, labels: {app: c}, "
                  "ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: uid-StatefulSet-db, "
                  "controller: true}]}\ndata: {a: 3}\nrevision: 6\n---\n"
                  "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: other, labels: {app: foo}, "
                  "ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: x, uid: uid-StatefulSet-x, "
                  "controller: true}]}\ndata: {a: 3}\nrevision: 7\n"));
    plan_new(&s);
    CHECK_INT(s.h.all.n, 1);
    CHECK_STR(s.h.all.p[0]->name, S("orphan"));
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    plan_text(&s.p, &text);
    CHECK_STR(strbuf_str(&text),
              S("patch ControllerRevision default/left {\"metadata\":{\"ownerReferences\":[]}}\n"
                "patch ControllerRevision default/orphan {\"metadata\":{\"ownerReferences\":[{\"apiVersion\":"
                "\"apps/v1\",\"kind\":\"StatefulSet\",\"name\":\"db\",\"uid\":\"uid-StatefulSet-db\",\"controller\":"
                "true,\"blockOwnerDeletion\":true}]}}\n"));
    int64_t collisions = 0;
    CHECK_INT(revisions_current(&s.h, HISTORY_HASH, &collisions).number, 5);
    setting_end(&s);
}
