/* Strings: cel-go's ext/strings.go, version 2. format() is in lib_text_format.c. */
#include "cel/libraries.h"
#include "cel/run.h"

/* Bytes of the character at the head of s, which is not empty. */
static size_t char_size(struct str s)
{
    uint32_t c;
    size_t n = str_rune(s, &c);
    return n ? n : 1;
}

/* Where character `i` begins; i is at most how many there are. */
static size_t char_offset(struct str s, int64_t i)
{
    size_t at = 0;
    for (; i > 0 && at < s.n; i--)
        at += char_size(str_sub(s, at, s.n));
    return at;
}

static struct cel_value out_of_range(struct cel_run *run, int64_t i)
{
    return cel_error(run, "index out of range: %lld", (long long)i);
}

static int64_t chars_of(struct cel_value v)
{
    return (int64_t)cel_code_points(cel_text(v));
}

static struct cel_value char_at(CEL_RUN)
{
    struct str s = cel_text(a[0]);
    if (a[1].i < 0 || a[1].i > chars_of(a[0]))
        return out_of_range(run, a[1].i);
    size_t at = char_offset(s, a[1].i);
    return cel_string(at == s.n ? S("") : str_sub(s, at, at + char_size(str_sub(s, at, s.n))));
}

static struct cel_value first_index(struct cel_run *run, const struct cel_value *a, int64_t from)
{
    struct str s = cel_text(a[0]), part = cel_text(a[1]);
    if (!part.n)
        return cel_int(from);
    if (from < 0)
        return out_of_range(run, from);
    if (from >= chars_of(a[0]))
        return cel_int(-1);
    size_t at = char_offset(s, from);
    ptrdiff_t hit = str_find(str_sub(s, at, s.n), part);
    return cel_int(hit < 0 ? -1 : from + (int64_t)cel_code_points(str_sub(s, at, at + (size_t)hit)));
}

static struct cel_value index_of(CEL_RUN)
{
    return first_index(run, a, 0);
}

static struct cel_value index_of_from(CEL_RUN)
{
    return first_index(run, a, a[2].i);
}

static struct cel_value last_index(struct cel_run *run, const struct cel_value *a, int64_t from)
{
    struct str s = cel_text(a[0]), part = cel_text(a[1]);
    int64_t len = chars_of(a[0]), size = chars_of(a[1]);
    if (!part.n)
        return cel_int(from);
    if (from < 0)
        return out_of_range(run, from);
    if (from >= len)
        return cel_int(-1);
    int64_t i = MIN(from, len - size);
    if (i < 0)
        return cel_int(-1);
    for (size_t at = char_offset(s, i);; i--) {
        if (str_starts(str_sub(s, at, s.n), part))
            return cel_int(i);
        if (!at)
            return cel_int(-1);
        for (at--; at && ((uint8_t)s.p[at] & 0xc0) == 0x80;)
            at--;
    }
}

static struct cel_value last_index_of(CEL_RUN)
{
    if (!a[1].n)
        return cel_int(chars_of(a[0]));
    return a[0].n < a[1].n ? cel_int(-1) : last_index(run, a, chars_of(a[0]) - 1);
}

static struct cel_value last_index_of_from(CEL_RUN)
{
    return last_index(run, a, a[2].i);
}

static struct cel_value case_changed(struct cel_run *run, struct cel_value v, char first, int by)
{
    char *p = arena_strz(cel_arena(run), cel_text(v));
    for (size_t i = 0; i < v.n; i++)
        if (p[i] >= first && p[i] < first + 26)
            p[i] = (char)(p[i] + by);
    return cel_string((struct str){p, v.n});
}

static struct cel_value lower_ascii(CEL_RUN)
{
    return case_changed(run, a[0], 'A', 32);
}

static struct cel_value upper_ascii(CEL_RUN)
{
    return case_changed(run, a[0], 'a', -32);
}

/* What a text may grow to: no more than upstream lets an expression cost. */
#define TEXT_MAX (16 << 20)

static struct cel_value text_built(struct cel_run *run, struct strbuf *b)
{
    if (b->over)
        return cel_error(run, "text is too long");
    return cel_string(str_dup(cel_arena(run), strbuf_str(b)));
}

/* At most `max` times, or always with less than 0. An empty `old` stands before every character and at the end. */
static struct cel_value text_replaced(struct cel_run *run, const struct cel_value *a, int64_t max)
{
    struct str s = cel_text(a[0]), old = cel_text(a[1]), by = cel_text(a[2]);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    size_t at = 0;
    for (int64_t done = 0; max < 0 || done < max; done++) {
        struct str rest = str_sub(s, at, s.n);
        ptrdiff_t hit = old.n ? str_find(rest, old) : 0;
        if (!old.n && done) { /* behind one character more */
            if (!rest.n)
                break;
            hit = (ptrdiff_t)char_size(rest);
        }
        if (hit < 0)
            break;
        strbuf_add(&b, str_sub(rest, 0, (size_t)hit));
        strbuf_add(&b, by);
        at += (size_t)hit + old.n;
    }
    strbuf_add(&b, str_sub(s, at, s.n));
    return text_built(run, &b);
}

static struct cel_value text_replace(CEL_RUN)
{
    return text_replaced(run, a, -1);
}

static struct cel_value text_replace_some(CEL_RUN)
{
    return text_replaced(run, a, a[3].i);
}

/* Into at most `max` parts, or all with less than 0; by an empty separator into characters. */
static struct cel_value text_parts(struct cel_run *run, const struct cel_value *a, int64_t max)
{
    struct str rest = cel_text(a[0]), by = cel_text(a[1]);
    struct cel_list *list = cel_list_new(run, 0);
    if (!max || (!by.n && !rest.n))
        return cel_list_of(list);
    for (;;) {
        size_t step = by.n || !rest.n ? 0 : char_size(rest);
        ptrdiff_t hit = by.n ? str_find(rest, by) : step < rest.n ? (ptrdiff_t)step : -1;
        if (hit < 0 || (max > 0 && list->n + 1 == (uint64_t)max))
            break;
        cel_list_add(run, list, cel_string(str_sub(rest, 0, (size_t)hit)));
        rest = str_sub(rest, (size_t)hit + by.n, rest.n);
    }
    cel_list_add(run, list, cel_string(rest));
    return cel_list_of(list);
}

static struct cel_value text_split(CEL_RUN)
{
    return text_parts(run, a, -1);
}

static struct cel_value text_split_some(CEL_RUN)
{
    return text_parts(run, a, a[2].i);
}

static struct cel_value substring_from(CEL_RUN)
{
    if (a[1].i < 0 || a[1].i > chars_of(a[0]))
        return out_of_range(run, a[1].i);
    return cel_string(str_sub(cel_text(a[0]), char_offset(cel_text(a[0]), a[1].i), a[0].n));
}

static struct cel_value substring_between(CEL_RUN)
{
    int64_t from = a[1].i, to = a[2].i, len = chars_of(a[0]);
    struct str s = cel_text(a[0]);
    if (from > to)
        return cel_error(run, "invalid substring range. start: %lld, end: %lld", (long long)from, (long long)to);
    if (from < 0 || from > len)
        return out_of_range(run, from);
    if (to < 0 || to > len)
        return out_of_range(run, to);
    size_t at = char_offset(s, from);
    return cel_string(str_sub(s, at, at + char_offset(str_sub(s, at, s.n), to - from)));
}

static bool is_white(uint32_t c)
{
    return (c >= '\t' && c <= '\r') || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static struct cel_value text_trim(CEL_RUN)
{
    struct str s = cel_text(a[0]);
    uint32_t c;
    for (size_t n_bytes; (n_bytes = str_rune(s, &c)) && is_white(c);)
        s = str_sub(s, n_bytes, s.n);
    while (s.n) {
        size_t at = s.n - 1;
        while (at && s.n - at < 4 && ((uint8_t)s.p[at] & 0xc0) == 0x80)
            at--;
        if (!str_rune(str_sub(s, at, s.n), &c) || !is_white(c))
            break;
        s = str_sub(s, 0, at);
    }
    return cel_string(s);
}

static struct cel_value list_join(CEL_RUN)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++) {
        struct cel_value item = cel_list_at(run, a[0], i);
        if (item.kind != CEL_STRING)
            return cel_is_error(item) ? item : cel_no_overload(run, "join");
        if (i && n > 1)
            strbuf_add(&b, cel_text(a[1]));
        strbuf_add(&b, cel_text(item));
    }
    return text_built(run, &b);
}

static struct cel_value text_quote(CEL_RUN)
{
    static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    struct str s = cel_text(a[0]);
    strbuf_addc(&b, '"');
    for (size_t i = 0, size; i < s.n; i += size) {
        uint32_t c = 0xfffd;
        size = str_rune(str_sub(s, i, s.n), &c);
        size = size ? size : 1;
        const char *hit = c && c < 128 ? strchr(from, (int)c) : NULL;
        if (hit) {
            strbuf_addc(&b, '\\');
            strbuf_addc(&b, to[hit - from]);
        } else {
            strbuf_add_rune(&b, c);
        }
    }
    strbuf_addc(&b, '"');
    return text_built(run, &b);
}

static const struct cel_function rows[] = {
    {"charAt", "string_char_at_int", "string.(int) string", char_at, CEL_COST_ONE, 0, 0},
    {"indexOf", "string_index_of_string", "string.(string) int", index_of, CEL_COST_EACH, 0, 0},
    {"indexOf", "string_index_of_string_int", "string.(string, int) int", index_of_from, CEL_COST_EACH, 0, 0},
    {"lastIndexOf", "string_last_index_of_string", "string.(string) int", last_index_of, CEL_COST_EACH, 0, 0},
    {"lastIndexOf", "string_last_index_of_string_int", "string.(string, int) int", last_index_of_from, CEL_COST_EACH,
     0, 0},
    {"lowerAscii", "string_lower_ascii", "string.() string", lower_ascii, CEL_COST_SELF, 0, 0},
    {"replace", "string_replace_string_string", "string.(string, string) string", text_replace, CEL_COST_REPLACE, 0,
     0},
    {"replace", "string_replace_string_string_int", "string.(string, string, int) string", text_replace_some,
     CEL_COST_REPLACE, 0, 0},
    {"split", "string_split_string", "string.(string) list(string)", text_split, CEL_COST_SPLIT, 0, 0},
    {"split", "string_split_string_int", "string.(string, int) list(string)", text_split_some, CEL_COST_SPLIT, 0, 0},
    {"substring", "string_substring_int", "string.(int) string", substring_from, CEL_COST_SELF, 0, 0},
    {"substring", "string_substring_int_int", "string.(int, int) string", substring_between, CEL_COST_SELF, 0, 0},
    {"trim", "string_trim", "string.() string", text_trim, CEL_COST_SELF, 0, 0},
    {"upperAscii", "string_upper_ascii", "string.() string", upper_ascii, CEL_COST_SELF, 0, 0},
    {"format", "string_format", "string.(list(dyn)) string", cel_text_format, CEL_COST_FORMAT, 0, 0},
    {"strings.quote", "strings_quote", "(string) string", text_quote, CEL_COST_QUOTE, 0, 0},
    {"join", "list_join", "list(string).() string", list_join, CEL_COST_JOIN, 0, 0},
    {"join", "list_join_string", "list(string).(string) string", list_join, CEL_COST_JOIN, 0, 0},
};
const struct cel_library cel_lib_strings = CEL_LIBRARY("cel.lib.ext.strings", rows);
