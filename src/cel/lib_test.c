/* The libraries: expressions and what they come to, beside one another in a file. What calls cost is cost.c's. */
#include "base/test.h"
#include "cel/libraries.h"
#include "cel/program.h"
#include "cel/run.h"

/* As "%s" writes it; of what it cannot write, the type. */
static void value_add(struct strbuf *out, struct cel_run *run, struct cel_value v)
{
    if (cel_is_error(v)) {
        strbuf_addf(out, "error: " STR_FMT, STR_ARG(cel_text(v)));
    } else if (v.kind == CEL_OPTIONAL) {
        strbuf_addz(out, v.inner ? "some " : "none");
        if (v.inner)
            value_add(out, run, *v.inner);
    } else if (v.kind == CEL_OPAQUE) {
        strbuf_addz(out, v.opaque->name);
    } else {
        struct cel_list *list = cel_list_new(run, 1);
        cel_list_add(run, list, v);
        struct cel_value args[] = {cel_string(S("%s")), cel_list_of(list)};
        strbuf_add(out, cel_text(cel_text_format(run, args, 2, NULL)));
    }
}

static void lines_answer(struct str input, struct strbuf *out)
{
    struct str line;
    for (struct str rest = input; str_cut(&rest, '\n', &line);) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf errors = STRBUF(STRBUF_TEXT);
        struct cel_env env = {0};
        struct cel_program p;
        uint64_t cost;
        bool over;
        if (!line.n)
            continue;
        strbuf_addf(out, STR_FMT "\n    ", STR_ARG(line));
        if (cel_compile(&a, &env, line, &p, &errors)) {
            value_add(out, cel_run_in(&a), cel_program_run(&p, &a, NULL, CEL_PER_CALL_LIMIT, &cost, &over));
            cel_program_release(&p);
        } else {
            strbuf_add(out, strbuf_str(&errors));
        }
        strbuf_addc(out, '\n');
    }
}

TEST(functions_of_libraries)
{
    test_transcript("tests/corpus/cel/libraries.txt", lines_answer);
}

TEST(what_a_range_may_cost_is_known_before_it_is_made)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf errors = STRBUF(STRBUF_TEXT);
    struct cel_env env = {0};
    struct cel_program p;
    uint64_t cost;
    bool over;
    CHECK(cel_compile(&a, &env, S("lists.range(9999999).size() == 9999999"), &p, &errors));
    size_t before = a.used;
    (void)cel_program_run(&p, &a, NULL, CEL_PER_CALL_LIMIT, &cost, &over);
    CHECK(over && a.used - before < 4096);
    cel_program_release(&p);
}
