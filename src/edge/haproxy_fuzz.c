/* What HAProxy answers: any bytes, cut anywhere, are the same answers; and what it shows of maps, marks and servers
 * becomes items that can be told, whatever stands there. */
#include "edge/counters.h"
#include "edge/haproxy_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t answers_count(struct str text, size_t step)
{
    size_t from = 0, scanned = 0, used, n = 0;
    struct str answer;
    for (size_t to = MIN(step, text.n);; to = MIN(to + step, text.n)) {
        while (talk_answer(str_sub(text, from, to), &scanned, &answer, &used)) {
            ASSERT(used <= to - from && answer.n < used);
            from += used;
            n++;
        }
        if (to == text.n)
            return n;
    }
}

static void parting_over(struct timer *t UNUSED)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct loop *loop; /* no time passes in it */
    struct str text = {(const char *)data, size};
    struct haproxy h = {0};
    ASSERT(answers_count(text, 1) == answers_count(text, text.n + 1));
    ASSERT(answers_count(text, 7) == answers_count(text, text.n + 1));
    for (size_t i = 0; i < PHASES; i++)
        list_init(&h.dirty[i]);
    list_init(&h.partings);
    if (!loop)
        loop = loop_new_simulated(1);
    timer_init(&h.parting_timer, loop, parting_over);
    compare_marks(&h, text);
    compare_servers(&h, text);
    group_get(&h, HAPROXY_ENTRY, S("whole"))->kind = HAPROXY_MAP;
    compare_map(&h, S("shop"), text);
    compare_map(&h, S("whole"), text);
    (void)info_field(text, S("Pid"));
    struct haproxy_names *names = names_of_shape(text);
    ASSERT(!names_has(names, "maps/", S("")));
    names_unref(names);
    AUTO(counters_fini) struct counters c = {0};
    struct str rest = text, line, behind;
    while (str_cut(&rest, '\n', &line))
        (void)counters_line(&c, line, &behind);
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(16 << 20);
    counters_text(&c, &shown);
    ASSERT(str_utf8_ok(strbuf_str(&shown)) || shown.over);
    timer_init(&h.bind_timer, loop, parting_over);
    (void)bind_failures(&h, S("global\n bind 0.0.0.0:80\n"), text);
    ASSERT(map_len(&h.unbound) <= 1);
    timer_stop(&h.bind_timer);
    map_fini(&h.unbound);
    groups_free(&h);
    timer_stop(&h.parting_timer);
    return 0;
}
