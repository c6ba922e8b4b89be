#include "api/codec.h"
#include "base/test.h"
#include "server/expiry.h"

static int64_t time_of(const char *fields, const char *now)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree, typed;
    int64_t at;
    struct str text = arena_fmt(&a, "{\"metadata\":{\"creationTimestamp\":\"2026-01-01T10:00:00Z\"}%s}", fields);
    CHECK_OK(json_decode(&a, text, &tree, &err), err);
    CHECK_OK(type_decode_val(&a, K(Event)->type, &tree, &typed, NULL, &err), err);
    AUTO(obj_unref) struct obj *o = obj_new(K(Event), &typed, 1);
    CHECK(time_parse(str_of(now), &at));
    return event_last_time(o, at);
}

static void time_check(const char *fields, const char *want)
{
    int64_t at;
    CHECK(time_parse(str_of(want), &at));
    CHECK_INT(time_of(fields, "2026-01-01T12:00:00Z"), at);
}

TEST(an_event_is_as_old_as_its_last_repeat)
{
    time_check("", "2026-01-01T10:00:00Z");
    time_check(",\"lastTimestamp\":\"2026-01-01T11:00:00Z\"", "2026-01-01T11:00:00Z");
    time_check(
        ",\"eventTime\":\"2026-01-01T10:30:00.000000Z\",\"series\":{\"count\":2,\"lastObservedTime\":\"2026-01-"
        "01T11:30:00.000000Z\"}",
        "2026-01-01T11:30:00Z");
}

TEST(who_writes_an_event_cannot_make_it_older_or_keep_it_for_ever)
{
    time_check(",\"lastTimestamp\":\"2099-01-01T11:00:00Z\"", "2026-01-01T10:00:00Z");
    time_check(",\"lastTimestamp\":\"1999-01-01T11:00:00Z\"", "2026-01-01T10:00:00Z");
}
