/* Any text as an expression over a small tree: it is refused with a text, or runs within its limit; what was checked
 * and is nowhere dyn never ends in "no such overload". */
#include "cel/program.h"
#include "cel/run.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cel_type list = {CT_LIST, 1, 0, "list", {&cel_type_int}, 0, 0, 0, 0, 0};
    static const struct cel_type map = {CT_MAP, 2, 0, "map", {&cel_type_string, &cel_type_string}, 0, 0, 0, 0, 0};
    static const struct cel_variable variables[] = {{S_INIT("i"), &cel_type_int, false},
                                                    {S_INIT("s"), &cel_type_string, false},
                                                    {S_INIT("l"), &list, false},
                                                    {S_INIT("m"), &map, false}};
    struct str text = {(const char *)data, size};
    if (size > 4000 || !str_utf8_ok(text))
        return 0;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf errors = STRBUF(1 << 20);
    struct cel_env env = {.variables = variables, .n = countof(variables)};
    struct cel_program p;
    if (!cel_compile(&a, &env, text, &p, &errors)) {
        ASSERT(errors.n || errors.over);
        return 0;
    }
    struct cel_run *run = cel_run_in(&a);
    struct cel_list *numbers = cel_list_new(run, 2);
    struct cel_map *words = cel_map_new(run, 1);
    cel_list_add(run, numbers, cel_int(3));
    cel_list_add(run, numbers, cel_int(-1));
    cel_map_add(run, words, cel_string(S("a")), cel_string(S("b")));
    struct cel_value values[] = {cel_int(7), cel_string(S("héllo")), cel_list_of(numbers), cel_map_of(words)};
    uint64_t cost;
    bool over;
    struct cel_value v = cel_program_run(&p, &a, values, 20000, &cost, &over);
    bool free_types = str_has(text, S("dyn")) || str_has(text, S("type")) || str_has(text, S("null"));
    ASSERT(free_types || v.kind != CEL_ERROR || !str_eq(cel_text(v), S("no such overload")));
    cel_program_release(&p);
    return 0;
}
