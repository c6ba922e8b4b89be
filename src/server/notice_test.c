#include "api/codec.h"
#include "base/test.h"
#include "server/notice.h"
#include "wire/json.h"

static struct obj *a_pod(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree, typed;
    CHECK_OK(json_decode(
                 &a, S("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}"),
                 &tree, &err),
             err);
    CHECK_OK(type_decode_val(&a, K(Pod)->type, &tree, &typed, NULL, &err), err);
    return obj_new(K(Pod), &typed, 7);
}

TEST(a_frame_is_made_once_for_each_form)
{
    AUTO(obj_unref) struct obj *pod = a_pod();
    AUTO(notice_unref) struct notice *n = notice_new(WATCH_TYPE_MODIFIED, K(Pod), pod, 7);
    static const struct {
        struct negotiated form;
        enum include include;
        bool columns, shared;
        const char *begins;
    } rows[] = {
        {{MEDIA_JSON, FORM_PLAIN, true, false}, INCLUDE_METADATA, true, true, "{\"type\":\"MODIFIED\",\"object\":{"},
        {{MEDIA_YAML, FORM_PLAIN, true, false},
         INCLUDE_METADATA,
         true,
         true,
         "{\"type\":\"MODIFIED\",\"object\":apiVersion"},
        {{MEDIA_PROTOBUF, FORM_PLAIN, true, false}, INCLUDE_METADATA, true, true, ""},
        {{MEDIA_JSON, FORM_METADATA, true, false},
         INCLUDE_METADATA,
         true,
         true,
         "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"PartialObjectMetadata\""},
        {{MEDIA_PROTOBUF, FORM_METADATA, true, false}, INCLUDE_METADATA, true, true, ""},
        {{MEDIA_JSON, FORM_TABLE, true, false},
         INCLUDE_METADATA,
         true,
         false,
         "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Table\""},
        {{MEDIA_JSON, FORM_TABLE, true, false}, INCLUDE_METADATA, false, true, "{\"type\":\"MODIFIED\""},
        {{MEDIA_JSON, FORM_TABLE, true, false}, INCLUDE_NONE, false, true, "{\"type\":\"MODIFIED\""},
        {{MEDIA_JSON, FORM_TABLE, true, false}, INCLUDE_OBJECT, false, true, "{\"type\":\"MODIFIED\""},
    };
    struct buf *made[countof(rows)];
    for (size_t i = 0; i < countof(rows); i++) {
        made[i] = notice_frame(n, &rows[i].form, rows[i].include, rows[i].columns);
        AUTO(buf_unref) struct buf *again = notice_frame(n, &rows[i].form, rows[i].include, rows[i].columns);
        CHECK((again == made[i]) == rows[i].shared);
        CHECK_STR(buf_str(again), buf_str(made[i]));
        CHECK(str_starts(buf_str(again), str_of(rows[i].begins)));
        for (size_t k = 0; k < i; k++)
            CHECK(made[k] != made[i] && !str_eq(buf_str(made[k]), buf_str(made[i])));
    }
    for (size_t i = 0; i < countof(rows); i++)
        buf_unref(made[i]);
}

TEST(a_bookmark_has_a_row_of_a_table_that_says_where_the_first_events_end)
{
    static const struct {
        struct negotiated form;
        enum include include;
        bool end;
        const char *holds, *lacks;
    } rows[] = {
        {{MEDIA_JSON, FORM_TABLE, false, false},
         INCLUDE_METADATA,
         true,
         "\"k8s.io/initial-events-end\":\"true\"",
         "v1beta1"},
        {{MEDIA_JSON, FORM_TABLE, false, false},
         INCLUDE_NONE,
         true,
         "\"k8s.io/initial-events-end\":\"true\"",
         "\"kind\":\"Pod\""},
        {{MEDIA_JSON, FORM_TABLE, false, false}, INCLUDE_OBJECT, true, "\"kind\":\"Pod\"", "PartialObjectMetadata"},
        {{MEDIA_JSON, FORM_TABLE, false, false}, INCLUDE_NONE, false, "\"object\":null", "annotations"},
        {{MEDIA_JSON, FORM_TABLE, false, true},
         INCLUDE_METADATA,
         true,
         "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1beta1\"",
         "meta.k8s.io/v1\""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(notice_unref) struct notice *n = notice_new(WATCH_TYPE_BOOKMARK, K(Pod), NULL, 7);
        n->initial_end = rows[i].end;
        AUTO(buf_unref) struct buf *frame = notice_frame(n, &rows[i].form, rows[i].include, false);
        CHECK(str_has(buf_str(frame), S("\"metadata\":{\"resourceVersion\":\"7\"")));
        if (!str_has(buf_str(frame), str_of(rows[i].holds)) || str_has(buf_str(frame), str_of(rows[i].lacks)))
            test_failed(__FILE__, __LINE__, "row %zu: " STR_FMT, i, STR_ARG(buf_str(frame)));
    }
}
