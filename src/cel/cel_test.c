/* Tables of expressions: what they come to, and what is said where they are wrong. */
#include "base/test.h"
#include "cel/program.h"
#include "cel/run.h"
#include <string.h>

static void add_value(struct strbuf *b, struct cel_run *run, struct cel_value v)
{
    switch ((enum cel_kind)v.kind) {
    case CEL_ERROR: strbuf_addf(b, "error: " STR_FMT, STR_ARG(cel_text(v))); break;
    case CEL_NULL: strbuf_addz(b, "null"); break;
    case CEL_BOOL: strbuf_addz(b, v.b ? "true" : "false"); break;
    case CEL_INT: strbuf_addf(b, "%lld", (long long)v.i); break;
    case CEL_UINT: strbuf_addf(b, "%lluu", (unsigned long long)v.u); break;
    case CEL_DOUBLE:
        cel_add_double(b, v.d);
        strbuf_addz(b, "d");
        break;
    case CEL_STRING: strbuf_addf(b, "\"" STR_FMT "\"", STR_ARG(cel_text(v))); break;
    case CEL_BYTES:
        strbuf_addz(b, "0x");
        strbuf_add_hex(b, v.text, v.n);
        break;
    case CEL_DURATION: cel_add_duration(b, v.i); break;
    case CEL_TIMESTAMP: cel_add_timestamp(b, v.i, v.n); break;
    case CEL_LIST:
        strbuf_addc(b, '[');
        for (size_t i = 0; i < cel_list_len(v); i++) {
            strbuf_addz(b, i ? ", " : "");
            add_value(b, run, cel_list_at(run, v, i));
        }
        strbuf_addc(b, ']');
        break;
    case CEL_MAP: {
        struct cel_value key, value;
        strbuf_addc(b, '{');
        for (size_t at = 0; cel_map_next(run, v, &at, &key, &value);) {
            strbuf_addz(b, b->p[b->n - 1] == '{' ? "" : ", ");
            add_value(b, run, key);
            strbuf_addz(b, ": ");
            add_value(b, run, value);
        }
        strbuf_addc(b, '}');
        break;
    }
    case CEL_TYPE: strbuf_addz(b, v.type->name); break;
    case CEL_OPTIONAL:
        strbuf_addz(b, v.inner ? "some(" : "none");
        if (v.inner) {
            add_value(b, run, *v.inner);
            strbuf_addc(b, ')');
        }
        break;
    case CEL_OPAQUE: strbuf_addz(b, v.opaque->name); break;
    case CEL_KINDS: break;
    }
}

/* One expression a line; its value or what is wrong with it. */
static void answer_lines(struct str input, struct strbuf *out)
{
    struct str line;
    for (struct str rest = input; str_cut(&rest, '\n', &line);) {
        if (!line.n)
            continue;
        AUTO(arena_fini) struct arena a = ARENA;
        struct cel_env env = {0};
        struct cel_program p;
        AUTO(strbuf_fini) struct strbuf errors = STRBUF(STRBUF_TEXT);
        strbuf_addf(out, STR_FMT "\n", STR_ARG(line));
        if (!cel_compile(&a, &env, line, &p, &errors)) {
            strbuf_addf(out, STR_FMT "\n", STR_ARG(strbuf_str(&errors)));
            continue;
        }
        uint64_t cost;
        bool over;
        struct cel_value v = cel_program_run(&p, &a, NULL, CEL_PER_CALL_LIMIT, &cost, &over);
        strbuf_addz(out, "  = ");
        add_value(out, cel_run_in(&a), v);
        strbuf_addf(out, "  (%llu of %llu)\n", (unsigned long long)cost, (unsigned long long)p.max_cost);
        cel_program_release(&p);
    }
}

TEST(expressions)
{
    test_transcript("tests/corpus/cel/values.txt", answer_lines);
}

TEST(wrong_expressions)
{
    test_transcript("tests/corpus/cel/errors.txt", answer_lines);
}

/* ---- expressions at random ---- */

static uint32_t seed_roll(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % below;
}

/* "@" stands for another one. Types are left to chance: what does not fit is refused. */
static void expression_add(struct strbuf *b, uint64_t *seed, int depth)
{
    static const char *const leaves[] = {"i",   "s",   "l",    "m",    "1",  "-2", "2u",
                                         "1.5", "'a'", "true", "b'x'", "[]", "x"};
    static const char *const forms[] = {"@ + @",
                                        "@ - @",
                                        "@ * @",
                                        "@ / @",
                                        "@ % @",
                                        "@ == @",
                                        "@ != @",
                                        "@ < @",
                                        "@ >= @",
                                        "@ && @",
                                        "@ || @",
                                        "!@",
                                        "-@",
                                        "@ ? @ : @",
                                        "@ in @",
                                        "@[@]",
                                        "[@, @]",
                                        "{@: @}",
                                        "size(@)",
                                        "@.size()",
                                        "string(@)",
                                        "int(@)",
                                        "double(@)",
                                        "uint(@)",
                                        "bytes(@)",
                                        "@.startsWith(@)",
                                        "@.contains(@)",
                                        "@.matches(@)",
                                        "@.split(@)",
                                        "@.join(@)",
                                        "@.all(x, @)",
                                        "@.exists(x, @)",
                                        "@.map(x, @)",
                                        "@.filter(x, @)",
                                        "@.exists_one(x, @)",
                                        "@.sum()",
                                        "@.min()",
                                        "@.indexOf(@)",
                                        "@.isSorted()",
                                        "duration('1h') + @",
                                        "timestamp('2024-01-01T00:00:00Z') "
                                        "- @",
                                        "@.replace(@, @)",
                                        "@.substring(@)",
                                        "@.lowerAscii()",
                                        "@.charAt(@)",
                                        "@.?a.orValue(@)",
                                        "optional.of(@).hasValue()",
                                        "quantity(@).isGreaterThan(quantity(@))",
                                        "sets.contains(@, @)",
                                        "ip.isCanonical(@)",
                                        "@.find(@)",
                                        "url(@).getHost()",
                                        "isURL(@)",
                                        "@.a",
                                        "has(@.a)",
                                        "@.getSeconds()",
                                        "semver(@).major()",
                                        "'%s'.format([@])"};
    if (depth == 0 || seed_roll(seed, 5) == 0) {
        strbuf_addz(b, leaves[seed_roll(seed, countof(leaves))]);
        return;
    }
    strbuf_addc(b, '(');
    for (const char *p = forms[seed_roll(seed, countof(forms))]; *p; p++)
        if (*p == '@')
            expression_add(b, seed, depth - 1);
        else
            strbuf_addc(b, *p);
    strbuf_addc(b, ')');
}

/* As a rule that is checked, so a type that a call does not take is an error of the definition, not of its objects.
 */
TEST(what_was_checked_never_ends_without_an_overload)
{
    static const struct cel_type list = {CT_LIST, 1, 0, "list", {&cel_type_int}, 0, 0, 0, 0, 0};
    static const struct cel_type map = {CT_MAP, 2, 0, "map", {&cel_type_string, &cel_type_string}, 0, 0, 0, 0, 0};
    static const struct cel_variable variables[] = {{S_INIT("i"), &cel_type_int, false},
                                                    {S_INIT("s"), &cel_type_string, false},
                                                    {S_INIT("l"), &list, false},
                                                    {S_INIT("m"), &map, false}};
    size_t compiled = 0;
    for (uint64_t start = 1; start <= 20000; start++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf errors = STRBUF(1 << 20), text = STRBUF(1 << 16);
        struct cel_env env = {.variables = variables, .n = countof(variables)};
        struct cel_program p;
        uint64_t seed = start * 0x9e3779b97f4a7c15u;
        expression_add(&text, &seed, 1 + (int)seed_roll(&seed, 4));
        if (!cel_compile(&a, &env, strbuf_str(&text), &p, &errors))
            continue;
        compiled++;
        struct cel_run *run = cel_run_in(&a);
        struct cel_list *numbers = cel_list_new(run, 2);
        struct cel_map *words = cel_map_new(run, 1);
        cel_list_add(run, numbers, cel_int(3));
        cel_list_add(run, numbers, cel_int(-1));
        cel_map_add(run, words, cel_string(S("a")), cel_string(S("b")));
        struct cel_value values[] = {cel_int(7), cel_string(S("10")), cel_list_of(numbers), cel_map_of(words)};
        uint64_t cost;
        bool over;
        struct cel_value v = cel_program_run(&p, &a, values, CEL_PER_CALL_LIMIT, &cost, &over);
        if (v.kind == CEL_ERROR && str_eqz(cel_text(v), "no such overload"))
            test_failed(__FILE__, __LINE__, "seed %llu: " STR_FMT, (unsigned long long)start,
                        STR_ARG(strbuf_str(&text)));
        cel_program_release(&p);
    }
    CHECK(compiled > 1000);
}
