/* apply_bench - what knowing who owns which field costs: a Deployment of some 2 KB that is put and applied, from the
 * text to the object that is stored, beside a put that knows nothing of owners; and what managedFields cost in memory
 * beside the objects that have them. */
#include "api/codec.h"
#include "api/obj.h"
#include "api/rules.h"
#include "base/clock.h"
#include "wire/yaml.h"
#include <stdio.h>

static struct strbuf text = STRBUF(1 << 20);
static struct obj *put_of, *applied; /* what is there already */
static struct err err;
static int turn;

/* Each time another image, so that something changes. */
static void text_change(void)
{
    static const char image[] = "image: web:";
    char *at = memmem(text.p, text.n, image, sizeof image - 1);
    ASSERT(at);
    at[sizeof image - 1] = (char)('0' + ++turn % 10);
}

static struct managing managing_of(struct arena *a, const struct obj *was, const char *who)
{
    return (struct managing){.a = a,
                             .type = K(Deployment)->type,
                             .api_version = S("apps/v1"),
                             .manager = str_of(who),
                             .was = was ? &was->tree : NULL,
                             .now = clock_real() / NS_PER_S};
}

static struct obj *object_of(struct arena *a, struct val *tree, struct owners *owners)
{
    struct obj *o = obj_new(K(Deployment), tree, 1);
    AUTO(managed_unref) const struct managed *list = owners ? owners_close(owners) : NULL;
    (void)a;
    obj_set_managed(o, list);
    return o;
}

static void put(bool owned)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct owners owners;
    text_change();
    ASSERT(type_decode_yaml(&a, K(Deployment)->type, strbuf_str(&text), &v, NULL, &err));
    kind_default(&a, K(Deployment), &v);
    struct managing g = managing_of(&a, put_of, "put");
    if (owned)
        manage_update(&g, put_of ? put_of->managed : NULL, &v, NULL, &owners);
    struct obj *now = object_of(&a, &v, owned ? &owners : NULL);
    obj_unref(put_of);
    put_of = now;
}

static void run_put_bare(void)
{
    put(false);
}

static void run_put(void)
{
    put(true);
}

static void run_apply(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val config, v;
    struct owners owners;
    struct applying done;
    text_change();
    ASSERT(yaml_decode(&a, strbuf_str(&text), &config, &err));
    struct managing g = managing_of(&a, applied, "apply");
    ASSERT(manage_apply(&g, applied ? applied->managed : NULL, &config, false, &owners, &done, &err) == APPLY_DONE);
    ASSERT(type_decode_val(&a, K(Deployment)->type, &done.merged, &v, NULL, &err));
    kind_default(&a, K(Deployment), &v);
    manage_applied(&g, &owners, &done);
    struct obj *now = object_of(&a, &v, &owners);
    obj_unref(applied);
    applied = now;
}

static double best(void (*run)(void))
{
    int64_t fastest = INT64_MAX;
    run();
    for (int round = 0; round < 9; round++) {
        int64_t start = clock_mono();
        for (int i = 0; i < 300; i++)
            run();
        fastest = MIN(fastest, clock_mono() - start);
    }
    return (double)fastest / 300;
}

int main(int argc, char **argv)
{
    FILE *f = fopen(argc > 1 ? argv[1] : "bench/data/deployment.yaml", "r");
    if (!f) {
        perror("bench/data/deployment.yaml");
        return 1;
    }
    char *room = strbuf_room(&text, 1 << 16);
    strbuf_used(&text, fread(room, 1, 1 << 16, f));
    (void)fclose(f);
    static const struct {
        const char *name;
        void (*run)(void);
    } rows[] = {{"put, without owners (floor)", run_put_bare}, {"put", run_put}, {"apply", run_apply}};
    double floor = 0;
    for (size_t i = 0; i < countof(rows); i++) {
        if (i == 1) { /* what was put without has none, and would get none */
            obj_unref(put_of);
            put_of = NULL;
        }
        double ns = best(rows[i].run);
        if (!i)
            floor = ns;
        (void)printf("%-40s %8.2f us  %.2f x\n", rows[i].name, ns / 1000, ns / floor);
    }
    struct obj *bare = obj_new(K(Deployment), &applied->tree, 1);
    (void)printf("object: %zu bytes in memory, %zu without managedFields (%.2f x)\n", applied->bytes, bare->bytes,
                 (double)applied->bytes / (double)bare->bytes);
    obj_unref(bare);
    obj_unref(put_of);
    obj_unref(applied);
    strbuf_fini(&text);
    return 0;
}
