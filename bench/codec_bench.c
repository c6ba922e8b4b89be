/* codec_bench - a pod of some 6 KB through every codec, in MB of JSON a second, beside the floor: one memcpy and one
 * check of the text; and what an object costs in memory beside its JSON. */
#include "api/codec.h"
#include "api/obj.h"
#include "base/clock.h"
#include "wire/json.h"

static struct strbuf text = STRBUF(1 << 20), pb = STRBUF(1 << 20), out = STRBUF(1 << 20);
static struct val tree;
static struct err err;

static void run_check(void)
{
    ASSERT(json_check(strbuf_str(&text), &err));
}

static void run_decode(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    ASSERT(type_decode_json(&a, K(Pod)->type, strbuf_str(&text), &v, NULL, &err));
}

static void run_decode_any(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    ASSERT(json_decode(&a, strbuf_str(&text), &v, &err));
}

static void run_decode_pb(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    ASSERT(type_decode_pb(&a, K(Pod)->type, strbuf_str(&pb), &v, &err));
}

static void run_encode(void)
{
    strbuf_reset(&out);
    type_encode_json(&out, K(Pod)->type, &tree);
}

static void run_encode_pb(void)
{
    strbuf_reset(&out);
    type_encode_pb(&out, K(Pod)->type, &tree);
}

static void run_object(void)
{
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 1);
}

static void run_memcpy(void)
{
    strbuf_reset(&out);
    strbuf_add(&out, strbuf_str(&text));
    __asm__ volatile("" ::"r"(out.p) : "memory");
}

static double best(void (*run)(void))
{
    int64_t fastest = INT64_MAX;
    for (int round = 0; round < 9; round++) {
        int64_t start = clock_mono();
        for (int i = 0; i < 400; i++)
            run();
        fastest = MIN(fastest, clock_mono() - start);
    }
    return (double)fastest / 400;
}

int main(int argc, char **argv)
{
    FILE *f = fopen(argc > 1 ? argv[1] : "bench/data/pod.json", "r");
    if (!f) {
        perror("bench/data/pod.json");
        return 1;
    }
    char *room = strbuf_room(&text, 1 << 16);
    strbuf_used(&text, fread(room, 1, 1 << 16, f));
    (void)fclose(f);
    struct arena a = ARENA;
    ASSERT(type_decode_json(&a, K(Pod)->type, strbuf_str(&text), &tree, NULL, &err));
    type_encode_pb(&pb, K(Pod)->type, &tree);
    static const struct {
        const char *name;
        void (*run)(void);
    } rows[] = {{"memcpy of the text (floor)", run_memcpy},    {"check of the text (floor of decoding)", run_check},
                {"decode JSON by type", run_decode},           {"decode JSON untyped", run_decode_any},
                {"encode JSON by type", run_encode},           {"decode protobuf", run_decode_pb},
                {"encode protobuf", run_encode_pb},            {"compact copy (struct obj)", run_object}};
    double floor = 0;
    for (size_t i = 0; i < countof(rows); i++) {
        double ns = best(rows[i].run);
        if (i == 1)
            floor = ns;
        (void)printf("%-40s %8.2f us  %8.0f MB/s", rows[i].name, ns / 1000, (double)text.n * 1000 / ns);
        (void)printf(i > 1 ? "  %.2f x check\n" : "\n", ns / floor);
    }
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 1);
    AUTO(buf_unref) struct buf *json = obj_encoded(o, ENC_JSON), *as_pb = obj_encoded(o, ENC_PROTOBUF);
    (void)printf("object: %zu bytes in memory, %zu bytes as JSON (%.2f x), %zu as protobuf; decoding used %zu\n", o->bytes,
                 json->n, (double)o->bytes / (double)json->n,
                 as_pb->n, a.used);
    arena_fini(&a);
    strbuf_fini(&text);
    strbuf_fini(&pb);
    strbuf_fini(&out);
    return 0;
}
