#include "api/selector.h"
#include "base/test.h"
#include "node/static_manifest.h"

static struct obj *read_text(const char *text, const char *path, struct err *err)
{
    struct obj *o;
    return static_manifest_read(str_of(text), str_of(path), S("n1"), 1000000000000000000, &o, err) ? o : NULL;
}

#define POD "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x}]}\n"

TEST(a_manifest_is_completed_as_a_kubelet_does)
{
    struct err err = ERR;
    AUTO(obj_unref) struct obj *o = read_text(POD, "/m/p.yaml", &err);
    CHECK(o != NULL);
    CHECK_STR(o->name, S("p-n1"));
    CHECK_STR(o->ns, S("default"));
    CHECK_INT(o->uid.n, 32);
    CHECK_STR(obj_note(o, "kubernetes.io/config.hash"), o->uid);
    CHECK_STR(obj_note(o, "kubernetes.io/config.source"), S("file"));
    CHECK_STR(obj_note(o, "kubernetes.io/config.seen"), S("2001-09-09T01:46:40.000000Z"));
    CHECK_STR(val_text_at(obj_spec(o), N(nodeName)), S("n1"));
    CHECK_STR(val_text_at(val_item(val_get(obj_spec(o), N(tolerations)), 0), N(effect)), S("NoExecute"));
    CHECK_STR(val_text_at(obj_status(o), N(phase)), S("Pending"));
    CHECK_STR(val_text_at(obj_status(o), N(qosClass)), S("BestEffort"));
    CHECK(!static_is_mirror(o));
}

TEST(the_same_content_is_the_same_pod)
{
    struct err err = ERR;
    AUTO(obj_unref)
    struct obj *one = read_text(POD, "/m/p.yaml", &err), *same = read_text(POD "# comment\n", "/m/p.yaml", &err),
               *elsewhere = read_text(POD, "/m/q.yaml", &err);
    AUTO(obj_unref)
    struct obj *changed = read_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: z}]}\n", "/m/p.yaml",
        &err);
    CHECK(one && same && elsewhere && changed);
    CHECK_STR(one->uid, same->uid);
    CHECK(!str_eq(one->uid, elsewhere->uid) && !str_eq(one->uid, changed->uid));
}

TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "it is empty"},
        {"a: [", "yaml: "},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: p}\n", "cannot be handled as a Pod"},
        {"apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: x}]}\n", "metadata.name: Required value"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "spec.containers: Required value"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {container: []}\n",
         "unknown field \"spec.container\""},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: P_}\nspec: {containers: [{name: c, image: x}]}\n",
         "metadata.name: Invalid value: \"P_-n1\""},
        {POD "---\n" POD, "yaml: "},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {serviceAccountName: a, containers: [{name: c, "
         "image: x}]}\n",
         "static pods may not reference serviceaccounts"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, envFrom: "
         "[{configMapRef: {name: m}}]}]}\n",
         "static pods may not reference configmaps"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {volumes: [{name: v, persistentVolumeClaim: "
         "{claimName: d}}], containers: [{name: c, image: x}]}\n",
         "static pods may not reference persistentvolumeclaims"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {imagePullSecrets: [{name: s}], containers: [{name: "
         "c, image: x}]}\n",
         "static pods may not reference secrets"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        CHECK(!read_text(rows[i].text, "/m/p.yaml", &err));
        if (str_find(str_of(err.text), str_of(rows[i].words)) < 0)
            CHECK_STR(str_of(err.text), str_of(rows[i].words));
    }
}

TEST(a_mirror_shows_the_pod)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree;
    AUTO(obj_unref) struct obj *o = read_text(POD, "/m/p.yaml", &err);
    struct val node = val_map();
    struct val *meta = val_need_map(&a, &node, N(metadata));
    val_set_text(&a, meta, N(name), S("n1"));
    val_set_text(&a, meta, N(uid), S("node-uid"));
    AUTO(obj_unref) struct obj *n = obj_new(K(Node), &node, 1);
    static_mirror(&a, o, n, &tree);
    AUTO(obj_unref) struct obj *mirror = obj_new(K(Pod), &tree, 1);
    CHECK(static_is_mirror(mirror));
    CHECK_STR(obj_note(mirror, STATIC_MIRROR_NOTE), o->uid);
    CHECK_INT(mirror->uid.n, 0);
    CHECK_STR(val_text_at(obj_controller(mirror), N(uid)), S("node-uid"));
    AUTO(obj_unref) struct obj *ending = static_ending(o, 1000000000000000000);
    CHECK(obj_deleting(ending) && ending->rev > o->rev && str_eq(ending->uid, o->uid));
    CHECK_INT(val_num_at(obj_meta(ending), 0, N(deletionGracePeriodSeconds)), 30);
}
