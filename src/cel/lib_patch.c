/* What helps to write JSON patches (the API server's cel/library/jsonpatch.go). */
#include "cel/libraries.h"
#include "cel/run.h"

/* A key as a step of a JSON pointer (RFC 6901). */
static struct cel_value patch_escape(CEL_RUN)
{
    struct str key = cel_text(a[0]);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 * key.n + 1);
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] == '~' || key.p[i] == '/')
            strbuf_addz(&b, key.p[i] == '~' ? "~0" : "~1");
        else
            strbuf_addc(&b, key.p[i]);
    return cel_string(str_dup(run->arena, strbuf_str(&b)));
}

static const struct cel_function rows[] = {
    {"jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", "(string) string", patch_escape, CEL_COST_SELF, 0,
     0},
};
const struct cel_library cel_lib_patch = CEL_LIBRARY("jsonpatch", rows);
