#include "api/codec.h"
#include "api/obj.h"
#include "base/test.h"

/* Of two versions, of which the second has little to say, with an annotation of so many bytes. */
static struct val definition_make(struct arena *a, const char *status, size_t annotation)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err err = ERR;
    struct val v;
    strbuf_addf(
        &b, "{\"metadata\":{\"annotations\":{\"a\":\"b\",\"kubectl.kubernetes.io/last-applied-configuration\":\"\\n");
    for (size_t i = 0; i < annotation; i++)
        strbuf_addc(&b, 'x');
    strbuf_addz(&b, "\",\"z\":\"y\"},\"name\":\"widgets.example.dev\"},\"spec\":{\"group\":\"example.dev\","
                    "\"versions\":[{\"name\":\"v1\","
                    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 100; i++)
        strbuf_addf(&b, "%s\"field%d\":{\"type\":\"string\",\"description\":\"number %d\"}", i ? "," : "", i, i);
    strbuf_addf(&b,
                "}}}},{\"name\":\"v2\",\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}},{\"name\":\"v3\"}]},"
                "\"status\":{\"acceptedNames\":{\"plural\":\"%s\"}}}",
                status);
    CHECK_OK(type_decode_json(a, K(CustomResourceDefinition)->type, strbuf_str(&b), &v, NULL, &err), err);
    return v;
}

static void check_same_text(const struct obj *a, const struct obj *b, enum encoding enc)
{
    AUTO(strbuf_fini) struct strbuf x = STRBUF(1 << 20), y = STRBUF(1 << 20);
    obj_encode(a, enc, &x);
    obj_encode(b, enc, &y);
    CHECK(str_eq(strbuf_str(&x), strbuf_str(&y)));
}

TEST(what_is_packed_reads_as_before)
{
    for (size_t annotation = 0; annotation < 2000; annotation += 1000) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v = definition_make(&a, "widgets", annotation);
        AUTO(obj_unref) struct obj *plain = obj_new(K(CustomResourceDefinition), &v, 7);
        AUTO(obj_unref) struct obj *packed = obj_new_packed(K(CustomResourceDefinition), &v, 7, NULL);
        CHECK(packed->packed && packed->bytes < plain->bytes / 3);
        CHECK_INT(!packed->packed->parts[PACKED_ANNOTATION].bytes, annotation == 0);
        CHECK(packed->packed->parts[PACKED_VERSIONS].bytes != NULL);
        CHECK(!packed->packed->parts[PACKED_VERSIONS + 1].bytes);
        check_same_text(plain, packed, ENC_JSON);
        check_same_text(plain, packed, ENC_PROTOBUF);
        AUTO(obj_unref) struct obj *whole = obj_whole(packed), *again = obj_again(packed, 8);
        CHECK(!whole->packed && val_equal(&whole->tree, &plain->tree));
        CHECK(again->rev == 8 && again->packed == packed->packed);
        struct val meta = obj_tree_of_meta(&a, packed);
        CHECK(val_equal(val_get(&meta, N(metadata)), obj_meta(plain)));
        struct val copied = val_copy(&a, &packed->tree); /* a tree of its own knows of no parts */
        AUTO(obj_unref) struct obj *bare = obj_new(K(CustomResourceDefinition), &copied, 7);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
        obj_encode(bare, ENC_JSON, &b);
        CHECK(!str_has(strbuf_str(&b), S("field1")) && str_has(strbuf_str(&b), S("\"schema\":{}")));
    }
}

TEST(equal_parts_are_shared_and_others_are_not_packed)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = definition_make(&a, "widgets", 1000), w = definition_make(&a, "other", 2000);
    AUTO(obj_unref) struct obj *one = obj_new_packed(K(CustomResourceDefinition), &v, 7, NULL);
    AUTO(obj_unref) struct obj *two = obj_new_packed(K(CustomResourceDefinition), &w, 8, one);
    CHECK(two->packed->parts[PACKED_VERSIONS].bytes == one->packed->parts[PACKED_VERSIONS].bytes);
    CHECK(two->packed->parts[PACKED_ANNOTATION].bytes != one->packed->parts[PACKED_ANNOTATION].bytes);
    CHECK(packed_same_schemas(one->packed, two->packed));
    AUTO(obj_unref) struct obj *other = obj_new_packed(K(ConfigMap), &v, 7, NULL);
    CHECK(!other->packed);
}

TEST(what_is_stored_is_read_again_or_refused)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct val v = definition_make(&a, "widgets", 1000);
    AUTO(obj_unref) struct obj *o = obj_new_packed(K(CustomResourceDefinition), &v, 7, NULL);
    packed_store(&b, o->packed);
    size_t n = b.n;
    strbuf_addz(&b, "rest");
    struct str text = strbuf_str(&b);
    AUTO(packed_unref) const struct packed *p = NULL;
    CHECK(packed_load(&text, &p) && str_eqz(text, "rest"));
    AUTO(obj_unref) struct obj *read = obj_of_packed(K(CustomResourceDefinition), &o->tree, 7, p);
    check_same_text(o, read, ENC_JSON);
    for (size_t cut = 0; cut < n; cut++) {
        const struct packed *none = NULL;
        text = (struct str){b.p, cut};
        CHECK(!packed_load(&text, &none));
    }
    for (size_t i = 0; i < n; i++) { /* another byte: mostly refused, and never a fault */
        const struct packed *odd = NULL;
        AUTO(arena_fini) struct arena scratch = ARENA;
        b.p[i] ^= 0x55;
        text = (struct str){b.p, b.n};
        if (packed_load(&text, &odd))
            (void)packed_put(&scratch, &o->tree, odd, odd->n);
        packed_unref(odd);
        b.p[i] ^= 0x55;
    }
}
