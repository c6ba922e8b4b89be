#include "api/codec.h"
#include "api/jsonpath.h"
#include "base/test.h"

static const char object[] = "{\"spec\":{\"l\":[\"x\",\"y\",\"z\"],\"o\":{\"a.b/"
                             "c\":\"dot\",\"p\":null},\"n\":[{\"k\":\"p\",\"v\":1},{\"k\":\"q\","
                             "\"v\":2,\"w\":[1,2]}],\"i\":3,\"d\":1.5,\"big\":1234567.5,\"small\":0.00001,\"b\":true}"
                             ",\"status\":{\"conditions\":[{"
                             "\"type\":\"Synced\",\"status\":\"False\"},{\"type\":\"Ready\",\"status\":\"True\"}]}}";

/* A path, and what it finds, one after the other with a space between; "!": it is none. */
static const struct {
    const char *path, *found;
} rows[] = {
    {".spec.i", "3"},
    {".spec.d", "1.5"},
    {".spec.big", "1.2345675e+06"},
    {".spec.small", "1e-05"},
    {".spec.b", "true"},
    {"$.spec.i", "3"},
    {"spec", "!"},
    {".spec.nope", ""},
    {".spec.nope.deeper", ""},
    {".spec.i.deeper", ""},
    {".spec.l", "[\"x\",\"y\",\"z\"]"},
    {".spec.l[0]", "x"},
    {".spec.l[-1]", "z"},
    {".spec.l[-1:]", "z"},
    {".spec.l[1:]", "y z"},
    {".spec.l[:2]", "x y"},
    {".spec.l[::2]", "x z"},
    {".spec.l[0,2]", "x z"},
    {".spec.l[7]", ""},
    {".spec.l[2:9]", ""},
    {".spec.l[x]", "!"},
    {".spec.l[*]", "x y z"},
    {".spec.o", "{\"a.b/c\":\"dot\",\"p\":null}"},
    {".spec.o.a\\.b/c", "dot"},
    {".spec.o['a.b/c']", "dot"},
    {".spec.o[\"a.b/c\"]", "dot"},
    {".spec.o.p", "<no value>"},
    {".spec.o.*", "dot <no value>"},
    {".spec['i','b']", "3 true"},
    {".spec.n[*].v", "1 2"},
    {".spec.n[?(@.k==\"q\")].v", "2"},
    {".spec.n[?(@.k=='q')].v", "2"},
    {".spec.n[?(@.k != 'q')].v", "1"},
    {".spec.n[?(@.v>1)].k", "q"},
    {".spec.n[?(@.v<=1)].k", "p"},
    {".spec.n[?(@.w)].k", "q"},
    {".spec.n[?(@.w[1]==2)].k", "q"},
    {".spec.n[?(@.k==1)].k", ""},
    {".spec.n[?(@.k==\"q\"].v", "!"},
    {".status.conditions[?(@.type==\"Ready\")].status", "True"},
    {"..status",
     "{\"conditions\":[{\"type\":\"Synced\",\"status\":\"False\"},{\"type\":\"Ready\",\"status\":\"True\"}]} "
     "False True"},
    {".spec.o['a.b", "!"},
    {".spec.l[", "!"},
};

TEST(paths_find_what_kubectl_finds)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v;
    CHECK(json_decode(&a, str_of(object), &v, &err));
    for (size_t i = 0; i < countof(rows); i++) {
        const struct jsonpath *p;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct err bad = ERR;
        if (!jsonpath_compile(&a, str_of(rows[i].path), &p, &bad)) {
            strbuf_addz(&b, "!");
        } else {
            const struct val *const *found;
            size_t n = jsonpath_find(&a, p, &v, &found);
            for (size_t k = 0; k < n; k++) {
                strbuf_addz(&b, k ? " " : "");
                jsonpath_text(&b, found[k]);
            }
        }
        if (!str_eqz(strbuf_str(&b), rows[i].found))
            printf("%s\n", rows[i].path);
        CHECK_STR(strbuf_str(&b), str_of(rows[i].found));
    }
}

TEST(paths_are_bounded)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v = val_list();
    for (int i = 0; i < 300; i++)
        val_add(&a, &v, val_int(i));
    const struct jsonpath *p;
    const struct val *const *found;
    CHECK(jsonpath_compile(&a, S("[*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*]"), &p,
                           &err));
    CHECK_INT(jsonpath_find(&a, p, &v, &found), 0);
    AUTO(strbuf_fini) struct strbuf deep = STRBUF(STRBUF_TEXT);
    for (int i = 0; i < 100; i++)
        strbuf_addz(&deep, "[?(");
    CHECK(!jsonpath_compile(&a, strbuf_str(&deep), &p, &err));
}
