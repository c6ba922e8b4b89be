#include "cli/jsonpath.h"
#include "api/codec.h"
#include "cli/fields.h"

struct jsonpath_found {
    const struct val **p;
    size_t n;
};

static void value_add(struct arena *a, struct strbuf *out, const struct val *v)
{
    if (val_is(v, VAL_MAP) || val_is(v, VAL_LIST))
        json_encode(out, v);
    else
        strbuf_add(out, scalar_text(a, v));
}

/* One step over all that was found so far: a key, or an index; `all`: every element. */
static struct jsonpath_found found_step(struct arena *a, struct jsonpath_found in, struct str key,
                                        const int64_t *index, bool all)
{
    struct jsonpath_found out = {0};
    size_t room = 0;
    for (size_t i = 0; i < in.n; i++)
        room += 1 + val_len(in.p[i]);
    out.p = arena_alloc(a, (room + 1) * sizeof *out.p);
    for (size_t i = 0; i < in.n; i++) {
        const struct val *v = in.p[i];
        if (all) {
            val_each_item (it, v)
                out.p[out.n++] = it;
            val_each_member (it, v)
                out.p[out.n++] = &it->v;
            continue;
        }
        int64_t at = index ? (*index < 0 ? *index + (int64_t)val_len(v) : *index) : 0;
        const struct val *next = !index ? val_get_str(v, key) : at >= 0 ? val_item(v, (size_t)at) : NULL;
        if (next)
            out.p[out.n++] = next;
    }
    return out;
}

/* ".a", "['a']", "[0]", "[*]" off the front of *path. */
static bool step_read(struct arena *a, struct str *path, struct jsonpath_found *f, struct err *err)
{
    struct str s = *path, inside;
    int64_t index;
    if (s.p[0] == '[') {
        ptrdiff_t end = str_find_char(s, ']');
        if (end < 0)
            return err_set(err, E_INVALID, "jsonpath: \"[\" without \"]\"");
        inside = str_sub(s, 1, (size_t)end);
        *path = str_sub(s, (size_t)end + 1, s.n);
        if (str_eqz(inside, "*"))
            *f = found_step(a, *f, S(""), NULL, true);
        else if (inside.n > 1 && inside.p[0] == '\'' && inside.p[inside.n - 1] == '\'')
            *f = found_step(a, *f, str_sub(inside, 1, inside.n - 1), NULL, false);
        else if (str_to_i64(inside, -1000000, 1000000, &index))
            *f = found_step(a, *f, S(""), &index, false);
        else
            return err_set(err, E_INVALID, "jsonpath: [" STR_FMT "]: only [N], [*] and ['KEY'] are understood",
                           STR_ARG(inside));
        return true;
    }
    if (s.p[0] != '.')
        return err_set(err, E_INVALID, "jsonpath: \"" STR_FMT "\": a path begins with \".\" or \"[\"", STR_ARG(s));
    AUTO(strbuf_fini) struct strbuf key = STRBUF(JSONPATH_MAX);
    size_t i = 1;
    for (; i < s.n && s.p[i] != '.' && s.p[i] != '['; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n)
            i++;
        strbuf_addc(&key, s.p[i]);
    }
    *path = str_sub(s, i, s.n);
    if (key.n)
        *f = found_step(a, *f, strbuf_str(&key), NULL, str_eqz(strbuf_str(&key), "*"));
    else if (path->n && path->p[0] == '.')
        return err_set(err, E_INVALID, "jsonpath: \"..\" is not understood; name the whole path");
    return true;
}

static bool quoted_add(struct str s, struct strbuf *out, struct err *err)
{
    if (s.n < 2 || s.p[s.n - 1] != '"')
        return err_set(err, E_INVALID, "jsonpath: a text without its closing quote");
    for (size_t i = 1; i + 1 < s.n; i++) {
        char ch = s.p[i];
        if (ch == '\\' && i + 2 < s.n) {
            ch = s.p[++i];
            ch = ch == 'n' ? '\n' : ch == 't' ? '\t' : ch;
        }
        strbuf_addc(out, ch);
    }
    return true;
}

static bool part_print(struct arena *a, struct str path, const struct val *v, struct strbuf *out, struct err *err)
{
    struct jsonpath_found f = {.p = arena_dup(a, &v, sizeof v), .n = 1};
    path = str_trim(path);
    if (path.n && path.p[0] == '"')
        return quoted_add(path, out, err);
    if (path.n && (path.p[0] == '$' || path.p[0] == '@'))
        path = str_sub(path, 1, path.n);
    while (path.n)
        if (!step_read(a, &path, &f, err))
            return false;
    for (size_t i = 0; i < f.n; i++) {
        if (i)
            strbuf_addc(out, ' ');
        value_add(a, out, f.p[i]);
    }
    return true;
}

bool jsonpath_print(struct arena *a, struct str pattern, const struct val *v, struct strbuf *out, struct err *err)
{
    if (pattern.n > JSONPATH_MAX)
        return err_set(err, E_INVALID, "jsonpath: over %d bytes", JSONPATH_MAX);
    while (pattern.n) {
        ptrdiff_t open = str_find_char(pattern, '{');
        strbuf_add(out, open < 0 ? pattern : str_sub(pattern, 0, (size_t)open));
        if (open < 0)
            return true;
        pattern = str_sub(pattern, (size_t)open + 1, pattern.n);
        ptrdiff_t end = str_find_char(pattern, '}');
        if (end < 0)
            return err_set(err, E_INVALID, "jsonpath: \"{\" without \"}\"");
        if (!part_print(a, str_sub(pattern, 0, (size_t)end), v, out, err))
            return false;
        pattern = str_sub(pattern, (size_t)end + 1, pattern.n);
    }
    return true;
}
