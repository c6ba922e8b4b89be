#include "api/quantity.h"
#include "base/test.h"

static struct str quantity_shown(struct arena *a, const char *text)
{
    struct str out;
    struct err err = ERR;
    return quantity_canonical(a, str_of(text), &out, &err) ? out : str_dup(a, str_of(err.text));
}

TEST(quantities_have_one_canonical_form)
{
    static const char *const rows[][2] = {
        {"0", "0"},
        {"1000m", "1"},
        {"100m", "100m"},
        {"0.5", "500m"},
        {"1024Mi", "1Gi"},
        {"1Gi", "1Gi"},
        {"1.5Gi", "1536Mi"},
        {"1e3", "1e3"},
        {"1.2E9", "1200e6"},
        {"1e-1", "100e-3"},
        {"129e6", "129e6"},
        {"536870912", "536870912"},
        {"0.0005", "500u"},
        {"100u", "100u"},
        {"1k", "1k"},
        {"1500k", "1500k"},
        {"-1", "-1"},
        {"+5", "5"},
        {"1000", "1k"},
        {"1000Ki", "1000Ki"},
        {"0.1Ki", "102400m"},
        {"1E", "1E"},
        {"10E", "10E"},
        {"100Ei", "9223372036854775807"},
        {"0.5Mi", "512Ki"},
        {".5", "500m"},
        {"5.", "5"},
        {"512Ki", "512Ki"},
        {"0Mi", "0"},
        {"1e0", "1"},
        {"0.0000000001", "1n"},
        {"1Mx", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {"1mM", "unable to parse quantity's suffix"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(quantity_shown(&a, rows[i][0]), str_of(rows[i][1]));
}

TEST(quantities_compare_and_add_exactly)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK(quantity_cmp(S("1"), S("1000m")) == 0);
    CHECK(quantity_cmp(S("1Ki"), S("1k")) > 0);
    CHECK(quantity_cmp(S("100n"), S("1u")) < 0);
    CHECK_STR(quantity_add(&a, S("0"), S("1Gi")), S("1Gi"));
    CHECK_STR(quantity_add(&a, S("1Gi"), S("1Gi")), S("2Gi"));
    CHECK_STR(quantity_add(&a, S("1500m"), S("500m")), S("2"));
    CHECK_STR(quantity_sub(&a, S("2"), S("500m")), S("1500m"));
    CHECK_STR(quantity_round_milli(&a, S("100u")), S("1m"));
    CHECK_INT(quantity_value(S("1500m")), 2);
    CHECK_INT(quantity_value(S("1Gi")), 1 << 30);
    CHECK_INT(quantity_milli(S("0.5")), 500);
    CHECK_INT(quantity_milli(S("8E")), INT64_MAX);
    CHECK(quantity_whole(S("8E")) && quantity_whole(S("9223372036854775807")) && quantity_whole(S("1000m")));
    CHECK(!quantity_whole(S("1500m")) && !quantity_whole(S("0.1Ki")) && !quantity_whole(S("-1m")));
    CHECK_STR(quantity_of_bytes(&a, 64 << 20), S("64Mi"));
    CHECK_STR(quantity_of_milli(&a, 2500), S("2500m"));
}
