#include "api/codec.h"
#include "base/test.h"
#include "control/quota.h"

static struct obj *quota_of(const char *name, const char *hard, const char *used)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree, typed;
    struct str text = arena_fmt(&a,
                                "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\"},\"spec\":{\"hard\":{%s}},"
                                "\"status\":{\"used\":{%s}}}",
                                name, hard, used);
    CHECK_OK(json_decode(&a, text, &tree, &err), err);
    CHECK_OK(type_decode_val(&a, K(ResourceQuota)->type, &tree, &typed, NULL, &err), err);
    return obj_new(K(ResourceQuota), &typed, 1);
}

#define EXCEEDED                                                                                                     \
    S("pods \"p-x\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=2,"             \
      "requests.cpu=1, limited: pods=2,requests.cpu=1")
#define SILENT S("pods \"p-x\" is forbidden: failed quota: q: must specify requests.cpu for: c")

TEST(a_refusal_by_a_quota_is_read)
{
    struct quota_refusal r;
    CHECK(quota_refusal_read(EXCEEDED, &r));
    CHECK_STR(r.quota, S("q"));
    CHECK_STR(r.requested, S("pods=1,requests.cpu=500m"));
    CHECK_STR(quota_amount(r.limited, S("requests.cpu")), S("1"));
    CHECK_STR(quota_amount(r.limited, S("cpu")), S(""));
    CHECK(quota_refusal_read(SILENT, &r));
    CHECK_STR(r.missing, S("requests.cpu for: c"));
    CHECK(!quota_refusal_read(S("pods \"exceeded quota: q\" not found"), &r));
    CHECK(limit_refused(S("pods \"a\" is forbidden: maximum cpu usage per Container is 1, but limit is 2")));
    CHECK(!limit_refused(EXCEEDED));
}

TEST(what_was_refused_is_tried_again_when_it_fits)
{
    static const struct {
        const char *name, *hard, *used;
        bool first, second; /* of two that were refused the same */
    } rows[] = {
        {"q", "\"pods\":\"2\",\"requests.cpu\":\"1\"", "\"pods\":\"2\",\"requests.cpu\":\"1\"", false, false},
        {"q", "\"pods\":\"2\",\"requests.cpu\":\"1\"", "\"pods\":\"1\",\"requests.cpu\":\"800m\"", false, false},
        {"q", "\"pods\":\"2\",\"requests.cpu\":\"1\"", "\"pods\":\"1\",\"requests.cpu\":\"500m\"", true, false},
        {"q", "\"pods\":\"4\",\"requests.cpu\":\"2\"", "\"pods\":\"2\",\"requests.cpu\":\"1\"", true, true},
        {"q", "\"pods\":\"4\"", "\"pods\":\"2\"", true, true},
        {"other", "\"pods\":\"4\"", "\"pods\":\"0\"", false, false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(obj_unref) struct obj *o = quota_of(rows[i].name, rows[i].hard, rows[i].used);
        struct val given = val_map();
        CHECK_INT(refusal_ended(&a, EXCEEDED, o, o, &given), rows[i].first);
        CHECK_INT(refusal_ended(&a, EXCEEDED, o, o, &given), rows[i].second);
        CHECK_INT(refusal_ended(&a, EXCEEDED, o, NULL, &given), str_eqz(S("q"), rows[i].name));
    }
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(obj_unref) struct obj *cpu = quota_of("q", "\"requests.cpu\":\"1\",\"pods\":\"1\"", "");
    AUTO(obj_unref) struct obj *pods = quota_of("q", "\"pods\":\"1\"", "");
    struct val given = val_map();
    CHECK(refusal_ended(&a, SILENT, cpu, pods, &given));
    CHECK(!refusal_ended(&a, SILENT, pods, cpu, &given));
}
