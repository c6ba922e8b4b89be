/* cel_bench - what a rule costs: some of the kind that definitions have, over an object, beside the same checks
 * written in C over the same tree; and what it costs to compile one. Nanoseconds, the least of several rounds. */
#include "api/codec.h"
#include "base/clock.h"
#include "cel/program.h"
#include "cel/rules.h"
#include "cel/run.h"
#include "cel/schema_types.h"

static const char schema_text[] =
    "{\"type\":\"object\",\"properties\":{\"min\":{\"type\":\"integer\"},\"max\":{\"type\":\"integer\"},"
    "\"name\":{\"type\":\"string\",\"maxLength\":40},\"mode\":{\"type\":\"string\",\"maxLength\":10},"
    "\"ports\":{\"type\":\"array\",\"maxItems\":20,\"items\":{\"type\":\"integer\"}}}}";
static const char object_text[] =
    "{\"min\":2,\"max\":7,\"name\":\"web-1\",\"mode\":\"fast\",\"ports\":[80,443,8080,9090]}";

static struct val tree;

static bool native_five(void)
{
    const struct val *v = &tree;
    const struct name *min = N(min), *max = N(max);
    return val_num(val_get(v, min), 0) < val_num(val_get(v, max), 0) && val_get(v, N(name)) &&
           str_starts(val_text(val_get(v, N(name))), S("web"));
}

static bool native_in(void)
{
    struct str mode = val_text(val_get_str(&tree, S("mode")));
    return str_eq(mode, S("slow")) || str_eq(mode, S("fast"));
}

static bool native_all(void)
{
    val_each_item (it, val_get(&tree, N(ports)))
        if (it->i < 1 || it->i > 65535)
            return false;
    return true;
}

static const struct {
    const char *text;
    bool (*native)(void);
} rules[] = {
    {"self.min < self.max && has(self.name) && self.name.startsWith(\"web\")", native_five},
    {"self.mode in [\"slow\", \"fast\"]", native_in},
    {"self.ports.all(p, p >= 1 && p <= 65535)", native_all},
};

enum { TURNS = 20000, ROUNDS = 15 };

static int64_t native_time(bool (*f)(void))
{
    int64_t best = INT64_MAX;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t start = clock_mono();
        for (int i = 0; i < TURNS; i++) {
            bool ok = f();
            ASSERT(ok);
            __asm__ volatile("" ::: "memory");
        }
        best = MIN(best, clock_mono() - start);
    }
    return best;
}

static int64_t rule_time(const struct cel_program *p, const struct schema_node *node)
{
    int64_t best = INT64_MAX;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t start = clock_mono();
        for (int i = 0; i < TURNS; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            struct cel_run run = {.arena = &a, .limit = UINT64_MAX};
            struct cel_value self = cel_of_val(&run, &tree, node);
            uint64_t cost;
            bool over;
            ASSERT(cel_is_true(cel_program_run(p, &a, &self, CEL_PER_CALL_LIMIT, &cost, &over)));
        }
        best = MIN(best, clock_mono() - start);
    }
    return best;
}

int main(void)
{
    struct arena a = ARENA;
    struct val props;
    struct err err = ERR;
    const struct schema *s;
    ASSERT(type_decode_json(&a, T(apiextensions_v1_JSONSchemaProps), str_of(schema_text), &props, NULL, &err));
    ASSERT(schema_compile(&a, &props, &s, &err));
    ASSERT(json_decode(&a, str_of(object_text), &tree, &err));
    struct cel_variable self = {S("self"), cel_type_of_schema(&a, s->root, false)};
    struct cel_env env = {.variables = &self, .n = 1};
    for (size_t i = 0; i < countof(rules); i++) {
        struct cel_program p;
        struct strbuf errors = STRBUF(STRBUF_TEXT);
        int64_t start = clock_mono();
        for (int k = 0; k < 100; k++)
            ASSERT(cel_compile(&a, &env, str_of(rules[i].text), &p, &errors));
        int64_t compile = (clock_mono() - start) / 100, run = rule_time(&p, s->root),
                c = native_time(rules[i].native);
        printf("%-70s %6.0f ns, in C %5.0f ns; compiled in %lld us\n", rules[i].text, (double)run / TURNS,
               (double)c / TURNS, (long long)compile / 1000);
    }
    arena_fini(&a);
    return 0;
}
