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
