#include "base/clock.h"
#include "node/probe.h"
#include "node/test_world.h"

/* Answers as a text of 'y' and 'n'; for each, what the probe says then: '+' good, '-' not, '!' failed often enough.
 */
TEST(probe_answers_are_counted)
{
    static const struct {
        enum probe_kind kind;
        int success, failure;
        const char *answers, *want;
    } rows[] = {
        {PROBE_READINESS, 1, 3, "ynnnnyn", "-+++--++"},
        {PROBE_READINESS, 3, 1, "yyynyyy", "---+---+"},
        {PROBE_READINESS, 2, 2, "yyynynyn", "--+++++++"},
        {PROBE_LIVENESS, 1, 3, "ynnynnn", "+++++++!"},
        {PROBE_LIVENESS, 1, 1, "n", "+!"},
        {PROBE_STARTUP, 1, 3, "nny", "---+"},
        {PROBE_STARTUP, 1, 3, "nnn", "---!"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct val spec;
        struct err err = ERR;
        struct str yaml = arena_fmt(&w.arena, "{successThreshold: %d, failureThreshold: %d}", rows[i].success,
                                    rows[i].failure);
        CHECK_OK(yaml_decode(&w.arena, yaml, &spec, &err), err);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
        struct probe_state s;
        probe_begin(&s, rows[i].kind, &spec);
        strbuf_addc(&b, s.good ? '+' : '-');
        for (const char *a = rows[i].answers; *a; a++) {
            bool was = s.good, news = probe_answer(&s, *a == 'y');
            strbuf_addc(&b, probe_exhausted(&s) ? '!' : s.good ? '+' : '-');
            CHECK_INT(news, was != s.good || probe_exhausted(&s));
        }
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(probe_defaults_are_those_of_the_api)
{
    struct val empty = val_map();
    struct probe_spec s = probe_spec_of(&empty);
    CHECK_INT(s.initial_delay_ns, 0);
    CHECK_INT(s.period_ns, 10 * NS_PER_S);
    CHECK_INT(s.timeout_ns, NS_PER_S);
    CHECK_INT(s.success_threshold, 1);
    CHECK_INT(s.failure_threshold, 3);
}

TEST(what_is_not_ready_yet_is_asked_again_soon)
{
    struct val empty = val_map();
    struct probe_state s;
    probe_begin(&s, PROBE_READINESS, &empty);
    (void)probe_answer(&s, false);
    CHECK_INT(probe_gap(&s, 0, 0), 500 * NS_PER_MS);
    CHECK_INT(probe_gap(&s, 3 * NS_PER_S, 0), 750 * NS_PER_MS);
    CHECK_INT(probe_gap(&s, 100 * NS_PER_S, 0), 10 * NS_PER_S);
    (void)probe_answer(&s, true);
    CHECK_INT(probe_gap(&s, 4 * NS_PER_S, NS_PER_S), 9 * NS_PER_S); /* the period is from question to question */
    for (int i = 0; i < 3; i++)
        (void)probe_answer(&s, false);
    CHECK(!s.good);
    CHECK_INT(probe_gap(&s, 4 * NS_PER_S, 0), 10 * NS_PER_S);
    probe_begin(&s, PROBE_LIVENESS, &empty);
    (void)probe_answer(&s, false);
    CHECK_INT(probe_gap(&s, 0, 11 * NS_PER_S), 0);
}
