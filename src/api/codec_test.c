#include "api/codec.h"
#include "api/obj.h"
#include "base/test.h"
#include "wire/json.h"

static struct str json_of_val(struct arena *a, const struct type *t, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
    type_encode_json(&b, t, v);
    return str_dup(a, strbuf_str(&b));
}

static struct str text_reread(struct arena *a, const struct type *t, const char *text)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(a, t, str_of(text), &v, NULL, &err), err);
    return json_of_val(a, t, &v);
}

TEST(json_is_written_as_go_writes_it)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_STR(
        text_reread(&a, K(ConfigMap)->type,
                    "{\"data\":{\"b\":\"<x>\",\"a\":null},\"metadata\":{\"name\":\"n\",\"labels\":{}},"
                    "\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\"}"),
        S("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"},\"data\":{\"a\":\"\",\"b\":"
          "\"\\u003cx\\u003e\"}}"));
    CHECK_STR(
        text_reread(&a, K(Deployment)->type,
                    "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":0,\"paused\":false,"
                    "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{}}]}}}}"),
        S("{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":0,\"selector\":null,\"template\":{\"metadata\":{},"
          "\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{}}]}},\"strategy\":{}},\"status\":{}}"));
    CHECK_STR(text_reread(&a, K(Role)->type,
                          "{\"metadata\":{\"creationTimestamp\":\"2024-01-01T02:00:00.5+02:00\"},\"rules\":[]}"),
              S("{\"metadata\":{\"creationTimestamp\":\"2024-01-01T00:00:00Z\"},\"rules\":null}"));
    CHECK_STR(text_reread(&a, K(Secret)->type, "{\"data\":{\"a\":\"YWI=\",\"b\":[97,98],\"c\":\"\"}}"),
              S("{\"metadata\":{},\"data\":{\"a\":\"YWI=\",\"b\":\"YWI=\",\"c\":\"\"}}"));
    CHECK_STR(text_reread(&a, K(Pod)->list_type, "{\"items\":[]}"), S("{\"metadata\":{},\"items\":[]}"));
    CHECK_STR(text_reread(&a, K(Service)->type, "{\"spec\":{\"ports\":[{\"port\":80}]}}"),
              S("{\"metadata\":{},\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":0}]},\"status\":{\"loadBalancer\":"
                "{}}}"));
}

static const struct {
    const char *kind, *text, *error;
} wrong[] = {
    {"Pod", "{\"spec\":{\"containers\":[{\"command\":\"sh\"}]}}",
     "json: cannot unmarshal string into Go struct field Container.spec.containers.command of type []string"},
    {"Pod", "{\"spec\":{\"containers\":[{\"args\":[1]}]}}",
     "json: cannot unmarshal number into Go struct field Container.spec.containers.args of type string"},
    {"Pod", "{\"spec\":{\"containers\":[{\"ports\":[80]}]}}",
     "json: cannot unmarshal number into Go struct field Container.spec.containers.ports of type v1.ContainerPort"},
    {"Pod", "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":[\"cpu\"]}}]}}",
     "json: cannot unmarshal array into Go struct field ResourceRequirements.spec.containers.resources.limits of "
     "type "
     "v1.ResourceList"},
    {"Pod", "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":\"x\"}]}}",
     "json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type "
     "v1.EmptyDirVolumeSource"},
    {"Pod", "{\"spec\":{\"restartPolicy\":1}}",
     "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"},
    {"Pod", "{\"spec\":{\"nodeSelector\":{\"a\":true}}}",
     "json: cannot unmarshal bool into Go struct field PodSpec.spec.nodeSelector of type string"},
    {"Pod", "{\"spec\":[]}", "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"},
    {"Pod", "{\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":80.0}]}]}}",
     "json: cannot unmarshal number 80.0 into Go struct field ContainerPort.spec.containers.ports.containerPort of "
     "type "
     "int32"},
    {"Pod", "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":true}}}]}}",
     "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
    {"ConfigMap", "{\"metadata\":\"x\"}",
     "json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"},
    {"ConfigMap", "{\"metadata\":{\"name\":{}}}",
     "json: cannot unmarshal object into Go struct field ObjectMeta.metadata.name of type string"},
    {"ConfigMap", "{\"metadata\":{\"labels\":[\"a\"]}}",
     "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"},
    {"ConfigMap", "{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}",
     "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""},
    {"ConfigMap", "{\"metadata\":{\"creationTimestamp\":\"2024-01-01\"}}",
     "parsing time \"2024-01-01\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\""},
    {"ConfigMap", "{\"metadata\":{\"creationTimestamp\":\"2023-02-29T00:00:00Z\"}}",
     "parsing time \"2023-02-29T00:00:00Z\": day out of range"},
    {"ConfigMap", "{\"metadata\":{\"creationTimestamp\":5}}",
     "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"},
    {"Secret", "{\"data\":{\"a\":\"YQ\"}}", "illegal base64 data at input byte 0"},
    {"Secret", "{\"data\":{\"a\":\"YQ=\"}}", "illegal base64 data at input byte 3"},
    {"Secret", "{\"data\":{\"a\":\"Y===\"}}", "illegal base64 data at input byte 1"},
    {"Secret", "{\"data\":{\"a\":\"YQ==YQ==\"}}", "illegal base64 data at input byte 4"},
    {"Secret", "{\"data\":{\"a\":5}}",
     "json: cannot unmarshal number into Go struct field Secret.data of type []uint8"},
    {"Secret", "{\"data\":{\"a\":[256]}}",
     "json: cannot unmarshal number 256 into Go struct field Secret.data of type uint8"},
};

TEST(wrong_types_are_refused_in_the_words_of_go)
{
    for (size_t i = 0; i < countof(wrong); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v;
        struct err err = ERR;
        const struct kind *k = kind_find(S(""), S("v1"), str_of(wrong[i].kind));
        CHECK(!type_decode_json(&a, k->type, str_of(wrong[i].text), &v, NULL, &err));
        CHECK_STR(str_of(err.text), str_of(wrong[i].error));
    }
}

TEST(unknown_and_duplicate_fields_are_noted_in_document_order)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
    struct val v;
    struct err err = ERR;
    CHECK_OK(
        type_decode_json(
            &a, K(Pod)->type,
            S("{\"metadata\":{\"name\":\"x\",\"label\":{}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
              "\"imagE\":\"x\",\"image\":\"j\",\"foo\":1},{\"foo\":[{}]}],\"nodeSelector\":{\"a\":\"1\",\"a\":\"2\"}}"
              ","
              "\"metadata\":null}"),
            &v, &notes, &err),
        err);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    decode_notes_text(&notes, &text);
    CHECK_STR(
        strbuf_str(&text),
        S("strict decoding error: unknown field \"metadata.label\", unknown field \"spec.containers[0].imagE\", "
          "duplicate field \"spec.containers[0].image\", unknown field \"spec.containers[0].foo\", unknown field "
          "\"spec.containers[1].foo\", duplicate field \"spec.nodeSelector.a\", duplicate field \"metadata\""));
    CHECK_STR(val_text(val_get(val_item(val_at(&v, N(spec), N(containers)), 0), N(image))), S("j"));
    CHECK_STR(val_text(val_get_str(val_at(&v, N(spec), N(nodeSelector)), S("a"))), S("2"));
    CHECK_STR(val_text_at(&v, N(metadata), N(name)), S("x"));
}

/* A value of the type with something in every field, in JSON. */
static void type_sample(struct strbuf *b, const struct type *t, int depth, unsigned *n)
{
    ++*n;
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT: {
        strbuf_addc(b, '{');
        type_fields_each (f, t) {
            bool deeper = f->type->kind == TYPE_STRUCT || f->type->kind == TYPE_LIST || f->type->kind == TYPE_MAP;
            /* apiVersion and kind travel in the envelope */
            if (f->flags & FIELD_NOJSON || !f->number || (deeper && depth > 9 && !(f->flags & FIELD_INLINE)))
                continue;
            if (b->p[b->n - 1] != '{' && !(f->flags & FIELD_INLINE))
                strbuf_addc(b, ',');
            if (f->flags & FIELD_INLINE) {
                AUTO(strbuf_fini) struct strbuf inner = STRBUF(1 << 24);
                type_sample(&inner, f->type, depth + 1, n);
                if (inner.n > 2) {
                    if (b->p[b->n - 1] != '{')
                        strbuf_addc(b, ',');
                    strbuf_add(b, str_sub(strbuf_str(&inner), 1, inner.n - 1));
                }
                continue;
            }
            strbuf_addf(b, "\"" STR_FMT "\":", STR_ARG(f->name->s));
            type_sample(b, f->type, depth + 1, n);
        }
        strbuf_addc(b, '}');
        break;
    }
    case TYPE_LIST:
        strbuf_addc(b, '[');
        for (int i = 0; i < (depth > 4 ? 1 : 2); i++) {
            strbuf_addz(b, i ? "," : "");
            type_sample(b, t->of, depth + 1, n);
        }
        strbuf_addc(b, ']');
        break;
    case TYPE_MAP:
        strbuf_addz(b, "{\"zebra\":");
        type_sample(b, t->of, depth + 1, n);
        strbuf_addz(b, ",\"an \\\"ant\\\"\":");
        type_sample(b, t->of, depth + 1, n);
        strbuf_addz(b, "}");
        break;
    case TYPE_STRING: strbuf_addf(b, "\"text %u <\\u00e9>\"", *n); break;
    case TYPE_BOOL: strbuf_addz(b, "true"); break;
    case TYPE_INT32: strbuf_addf(b, "%d", -(int)*n); break;
    case TYPE_INT64: strbuf_addf(b, "%lld", (long long)*n << 40); break;
    case TYPE_DOUBLE: strbuf_addf(b, "%u.5", *n); break;
    case TYPE_BYTES: strbuf_addz(b, "\"AAEC/w==\""); break;
    case TYPE_TIME: strbuf_addf(b, "\"2026-02-%02uT23:59:5%uZ\"", *n % 28 + 1, *n % 10); break;
    case TYPE_MICROTIME: strbuf_addf(b, "\"1969-12-31T23:59:59.%06uZ\"", *n); break;
    case TYPE_DURATION: strbuf_addz(b, "\"1h2m3.5s\""); break;
    case TYPE_QUANTITY: strbuf_addf(b, "\"%um\"", *n * 10 + 1); break;
    case TYPE_INT_OR_STRING: strbuf_addz(b, *n % 2 ? "\"25%\"" : "7"); break;
    case TYPE_ANY: strbuf_addz(b, "{\"b\":[1,null,1.5,\"x\"],\"a\":{}}"); break;
    case TYPE_SCHEMA_OR_BOOL: strbuf_addz(b, "true"); break;
    case TYPE_SCHEMA_OR_ARRAY: strbuf_addz(b, "[{\"type\":\"string\"}]"); break;
    case TYPE_SCHEMA_OR_STRINGS: strbuf_addz(b, "[\"x\"]"); break;
    }
}

TEST(every_kind_goes_from_json_to_protobuf_and_back)
{
    size_t bytes = 0;
    for (size_t i = 0; i < nroot_types; i++) {
        const struct type *t = root_types[i].type;
        if (t->no_pb || t->kind != TYPE_STRUCT || str_eqz(str_of(t->name), "Unknown"))
            continue;
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 26);
        AUTO(strbuf_fini) struct strbuf pb = STRBUF(1 << 26);
        unsigned n = 0;
        struct err err = ERR;
        struct val v, w;
        AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
        type_sample(&text, t, 0, &n);
        if (!type_decode_json(&a, t, strbuf_str(&text), &v, &notes, &err))
            test_failed(__FILE__, __LINE__, "%s: %s", t->name, err.text);
        if (notes.texts.n)
            test_failed(__FILE__, __LINE__, "%s: " STR_FMT, t->name, STR_ARG(notes.texts.p[0]));
        type_encode_pb(&pb, t, &v);
        if (!type_decode_pb(&a, t, strbuf_str(&pb), &w, &err))
            test_failed(__FILE__, __LINE__, "%s from protobuf: %s", t->name, err.text);
        CHECK_STR(json_of_val(&a, t, &w), json_of_val(&a, t, &v));
        CHECK(val_equal(&v, &w));
        struct val again;
        CHECK_OK(type_decode_val(&a, t, &v, &again, NULL, &err), err);
        CHECK(val_equal(&v, &again));
        struct val complete = type_complete(&a, t, &v);
        CHECK_OK(type_decode_val(&a, t, &complete, &again, &notes, &err), err);
        CHECK(val_equal(&v, &again) && notes.texts.n == 0);
        bytes += text.n;
    }
    CHECK(bytes > 100000);
}

TEST(protobuf_is_written_byte_for_byte_as_upstream_writes_it)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf raw = STRBUF(1000);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(&a, K(ConfigMap)->type,
                              S("{\"metadata\":{\"name\":\"n\"},\"data\":{\"b\":\"2\",\"a\":\"1\"}}"), &v, NULL,
                              &err),
             err);
    type_encode_pb(&raw, K(ConfigMap)->type, &v);
    pb_wrap(&b, S("v1"), S("ConfigMap"), strbuf_str(&raw));
    /* name, generateName, namespace, selfLink, uid, resourceVersion, generation, creationTimestamp are always there
     */
    static const char want[] = "k8s\0\x0a\x0f\x0a\x02v1\x12\x09"
                               "ConfigMap\x12\x23"
                               "\x0a\x11\x0a\x01n\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00"
                               "\x12\x06\x0a\x01"
                               "a\x12\x01"
                               "1\x12\x06\x0a\x01"
                               "b\x12\x01"
                               "2\x1a\x00\x22\x00";
    struct str api_version, kind, inner;
    CHECK_STR(strbuf_str(&b), ((struct str){want, sizeof want - 1}));
    CHECK_OK(pb_unwrap(strbuf_str(&b), &api_version, &kind, &inner, &err), err);
    CHECK_STR(api_version, S("v1"));
    CHECK_STR(kind, S("ConfigMap"));
    CHECK_STR(inner, strbuf_str(&raw));
    CHECK(!pb_unwrap(S("k8sx"), &api_version, &kind, &inner, &err));
}

TEST(the_kind_of_a_body_is_read_before_its_type_is_known)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str v, k;
    struct err err = ERR;
    CHECK_OK(json_type_meta(&a, S("{\"kind\":\"Pod\",\"spec\":[{}],\"apiVersion\":null}"), &v, &k, &err), err);
    CHECK_STR(k, S("Pod"));
    CHECK_STR(v, S(""));
    CHECK(!json_type_meta(&a, S("{\"apiVersion\":5}"), &v, &k, &err));
    CHECK_STR(str_of(err.text),
              S("couldn't get version/kind; json parse error: json: cannot unmarshal number into Go "
                "struct field .apiVersion of type string"));
    CHECK(!json_type_meta(&a, S("[]"), &v, &k, &err));
    CHECK(!json_type_meta(&a, S("{"), &v, &k, &err));
    CHECK_STR(str_of(err.text), S("couldn't get version/kind; json parse error: unexpected end of JSON input"));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(200);
    body_summary(&b, S("hello"));
    CHECK_STR(strbuf_str(&b), S("68656c6c6f"));
}

TEST(an_object_is_compact_and_encodes_itself_with_its_revision)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(
                 &a, K(ConfigMap)->type,
                 S("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\","
                   "\"uid\":\"u\","
                   "\"resourceVersion\":\"3\",\"managedFields\":[{\"manager\":\"m\"}]},\"data\":{\"k\":\"v\"}}"),
                 &v, NULL, &err),
             err);
    AUTO(obj_unref) struct obj *o = obj_new(K(ConfigMap), &v, 0);
    arena_fini(&a);
    CHECK_STR(o->name, S("n"));
    CHECK_STR(o->ns, S("ns"));
    CHECK(!val_get(obj_meta(o), N(resourceVersion)) && !val_get(obj_meta(o), N(managedFields)));
    obj_set_rev(o, 42);
    size_t before = obj_encoded_bytes();
    AUTO(buf_unref) struct buf *once = obj_encoded(o, ENC_JSON);
    CHECK_STR(buf_str(once),
              S("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\","
                "\"uid\":\"u\",\"resourceVersion\":\"42\"},\"data\":{\"k\":\"v\"}}"));
    CHECK_INT(obj_encoded_bytes(), before); /* nobody may ever ask again */
    AUTO(buf_unref) struct buf *twice = obj_encoded(o, ENC_JSON), *thrice = obj_encoded(o, ENC_JSON);
    CHECK(twice == thrice);
    CHECK_INT(obj_encoded_bytes(), before + twice->n);
    AUTO(buf_unref) struct buf *pb = obj_encoded(o, ENC_PROTOBUF);
    CHECK(str_has(buf_str(pb), S("\x32\x02"
                                 "42")));
    obj_encoded_max(0); /* no room: what was given stays with who has it */
    CHECK_INT(obj_encoded_bytes(), 0);
    AUTO(buf_unref) struct buf *again = obj_encoded(o, ENC_JSON);
    CHECK(again != twice && str_eq(buf_str(again), buf_str(twice)));
    CHECK(val_item(val_get(&o->tree, N(data)), 0) == NULL);
    AUTO(obj_unref) struct obj *second = obj_ref(o);
    CHECK(second == o && !obj_deleting(o) && !obj_controller(o));
}

TEST(obj_encodings_that_are_kept_have_a_bound)
{
    enum { N_OBJECTS = 4 };
    struct obj *o[N_OBJECTS];
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_map();
    val_set_text(&a, val_need_map(&a, &v, N(metadata)), N(name), S("n"));
    AUTO(buf_unref) struct buf *first = NULL, *last = NULL;
    for (int i = 0; i < N_OBJECTS; i++) {
        o[i] = obj_new(K(ConfigMap), &v, 0);
        buf_unref(obj_encoded(o[i], ENC_JSON));
    }
    size_t n = buf_str(first = obj_encoded(o[0], ENC_JSON)).n;
    obj_encoded_max(3 * n);
    for (int i = 1; i < N_OBJECTS; i++) {
        buf_unref(obj_encoded(o[0], ENC_JSON)); /* in use all the time */
        buf_unref(last);
        last = obj_encoded(o[i], ENC_JSON);
        CHECK_INT(obj_encoded_bytes(), (size_t)MIN(i + 1, 3) * n);
    }
    AUTO(buf_unref)
    struct buf *still = obj_encoded(o[0], ENC_JSON), *newest = obj_encoded(o[N_OBJECTS - 1], ENC_JSON);
    CHECK(still == first && newest == last);
    for (int i = 0; i < N_OBJECTS; i++)
        obj_unref(o[i]);
    CHECK_INT(obj_encoded_bytes(), 0);
}

TEST(declared_defaults_are_set_where_nothing_stands)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(&a, K(Service)->type,
                              S("{\"spec\":{\"ports\":[{\"port\":1},{\"port\":2,\"protocol\":\"UDP\"}]}}"), &v, NULL,
                              &err),
             err);
    type_default(&a, K(Service)->type, &v);
    const struct val *ports = val_at(&v, N(spec), N(ports));
    CHECK_STR(val_text(val_get(val_item(ports, 0), N(protocol))), S("TCP"));
    CHECK_STR(val_text(val_get(val_item(ports, 1), N(protocol))), S("UDP"));
    for (size_t i = 0; i < nroot_types; i++) { /* every declared default is JSON of its field's type */
        struct val all = val_map();
        type_default(&a, root_types[i].type, &all);
    }
}

TEST(deep_nesting_is_carried_through)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 20);
    for (int i = 0; i < JSON_MAX_DEPTH; i++)
        strbuf_addz(&b, "[");
    for (int i = 0; i < JSON_MAX_DEPTH; i++)
        strbuf_addz(&b, "]");
    struct val v;
    struct err err = ERR;
    CHECK_OK(json_decode(&a, strbuf_str(&b), &v, &err), err);
    struct val copy = val_copy(&a, &v);
    CHECK(val_equal(&v, &copy));
    json_encode(&out, &copy);
    CHECK_STR(strbuf_str(&out), strbuf_str(&b));
    strbuf_reset(&b);
    strbuf_addz(&b, "{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":");
    for (int i = 0; i < 4000; i++)
        strbuf_addz(&b, "{\"properties\":{\"a\":");
    strbuf_addz(&b, "{}");
    for (int i = 0; i < 4000; i++)
        strbuf_addz(&b, "}}");
    strbuf_addz(&b, "}}]}}");
    CHECK_OK(type_decode_json(&a, K(CustomResourceDefinition)->type, strbuf_str(&b), &v, NULL, &err), err);
    strbuf_reset(&out);
    type_encode_json(&out, K(CustomResourceDefinition)->type, &v);
    CHECK(out.n > 4000 * 20);
}
