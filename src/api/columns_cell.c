/* columns_cell.c - cells that many kinds share: a text, a number, an age, names joined by commas, a selector.
 *
 * Each follows the path of its column from the root of the object; they differ in what they show where nothing is
 * there ("<none>", "<unset>", nothing), as upstream's printers do.
 */
#include "api/columns_int.h"
#include "api/selector.h"
#include "base/clock.h"

struct str human_duration(struct arena *a, int64_t ns)
{
    int64_t s = ns / NS_PER_S, m = s / 60, h = m / 60, d = h / 24;
#define TWO(x, xu, y, yu)                                                                                            \
    ((y) ? arena_fmt(a, "%lld" xu "%lld" yu, (long long)(x), (long long)(y))                                         \
         : arena_fmt(a, "%lld" xu, (long long)(x)))
    if (s < -1)
        return S("<invalid>");
    if (s < 0)
        return S("0s");
    if (s < 120)
        return arena_fmt(a, "%llds", (long long)s);
    if (m < 10)
        return TWO(m, "m", s % 60, "s");
    if (m < 180)
        return arena_fmt(a, "%lldm", (long long)m);
    if (h < 8)
        return TWO(h, "h", m % 60, "m");
    if (h < 48)
        return arena_fmt(a, "%lldh", (long long)h);
    if (h < 192)
        return TWO(d, "d", h % 24, "h");
    if (h < 17520)
        return arena_fmt(a, "%lldd", (long long)d);
    if (h < 70080)
        return TWO(d / 365, "y", d % 365, "d");
    return arena_fmt(a, "%lldy", (long long)(d / 365));
#undef TWO
}

const struct val *column_value(const struct val *v, const char *path)
{
    struct str rest = str_of(path), part;
    while (v && str_cut(&rest, '.', &part))
        v = val_get_str(v, part);
    return v;
}

struct val cell_of(const struct column_source *s, struct str t)
{
    return val_str(s->a, t);
}

struct val cell_or_else(SOURCE, const char *otherwise)
{
    const struct val *v = column_value(s->v, path);
    if (val_is(v, VAL_INT))
        return cell_of(s, arena_fmt(s->a, "%lld", (long long)v->i));
    return cell_of(s, val_text(v).n ? val_text(v) : str_of(otherwise));
}
struct val cell_text(SOURCE)
{
    return cell_or_else(s, path, "");
}
struct val cell_text_none(SOURCE)
{
    return cell_or_else(s, path, "<none>");
}
struct val cell_text_unset(SOURCE)
{
    return cell_or_else(s, path, "<unset>");
}
struct val cell_text_unknown(SOURCE)
{
    return cell_or_else(s, path, "<unknown>");
}
struct val cell_text_na(SOURCE)
{
    return cell_or_else(s, path, "N/A");
}
struct val cell_num(SOURCE)
{
    return val_int(val_num(column_value(s->v, path), 0));
}
struct val cell_num_none(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return val_is(v, VAL_INT) ? *v : cell_of(s, S("<none>"));
}
struct val cell_yes(SOURCE)
{
    return val_bool(val_true(column_value(s->v, path)));
}
struct val cell_yes_unless_no(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return val_bool(!val_is(v, VAL_BOOL) || v->b);
}
struct val cell_count(SOURCE)
{
    return val_int((int64_t)val_len(column_value(s->v, path)));
}

struct str age_shown(const struct column_source *s, const struct val *time)
{
    int64_t t;
    if (val_text(time).n == 0 || !time_parse(val_text(time), &t))
        return S("<unknown>");
    return human_duration(s->a, s->now - t);
}
struct val cell_age(SOURCE)
{
    return cell_of(s, age_shown(s, column_value(s->v, path)));
}
struct val cell_age_none(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, val_text(v).n ? age_shown(s, v) : S("<none>"));
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

struct str texts_join(struct arena *a, struct str *texts, size_t n, const char *sep, bool sorted)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    if (sorted)
        qsort(texts, n, sizeof *texts, by_text);
    for (size_t i = 0; i < n; i++)
        if (!sorted || i == 0 || !str_eq(texts[i], texts[i - 1]))
            strbuf_addf(&b, "%s" STR_FMT, i ? sep : "", STR_ARG(texts[i]));
    return str_dup(a, strbuf_str(&b));
}

struct str *texts_of(struct arena *a, const struct val *list, const struct name *member)
{
    struct str *out = arena_alloc(a, (val_len(list) + 1) * sizeof *out);
    size_t n = 0;
    val_each_item (item, list)
        out[n++] = val_text(member ? val_get(item, member) : item);
    return out;
}

struct val cell_joined(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, texts_join(s->a, texts_of(s->a, v, NULL), val_len(v), ",", false));
}
struct val cell_joined_none(SOURCE)
{
    return val_len(column_value(s->v, path)) ? cell_joined(s, path) : cell_of(s, S("<none>"));
}
struct val cell_container_names(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, texts_join(s->a, texts_of(s->a, v, N(name)), val_len(v), ",", false));
}
struct val cell_container_images(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, texts_join(s->a, texts_of(s->a, v, N(image)), val_len(v), ",", false));
}
struct val cell_labels(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    struct str *texts = arena_alloc(s->a, (val_len(v) + 1) * sizeof *texts);
    size_t n = 0;
    val_each_member (m, v)
        texts[n++] = arena_fmt(s->a, STR_FMT "=" STR_FMT, STR_ARG(m->name->s), STR_ARG(val_text(&m->v)));
    return cell_of(s, n ? texts_join(s->a, texts, n, ",", true) : S("<none>"));
}

struct str selector_shown(const struct column_source *s, const struct val *v, const char *empty, const char *bad)
{
    struct selector *selector;
    struct err ignored = ERR; /* the column says `bad` in its place, as upstream's */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (!val_is(v, VAL_MAP))
        return str_of(empty);
    if (!selector_of(s->a, v, &selector, &ignored))
        return str_of(bad);
    selector_text(selector, &b);
    return b.n ? str_dup(s->a, strbuf_str(&b)) : str_of(empty);
}
struct val cell_selector(SOURCE)
{
    return cell_of(s, selector_shown(s, column_value(s->v, path), "<none>", "<error>"));
}
struct val cell_selector_plain(SOURCE)
{
    return cell_of(s, selector_shown(s, column_value(s->v, path), "", "<invalid>"));
}

const struct val *condition_val(const struct val *v, const char *type)
{
    return val_find(val_at(v, N(status), N(conditions)), N(type), str_of(type));
}
bool condition_holds(const struct val *v, const char *type)
{
    return str_eq(TEXT(condition_val(v, type), status), S("True"));
}

struct val cell_marked_default(const struct column_source *s, const char *annotation, const char *older)
{
    const struct val *all = val_at(s->v, N(metadata), N(annotations));
    struct str name = val_text_at(s->v, N(metadata), N(name));
    bool yes_ = str_eq(val_text(val_get_str(all, str_of(annotation))), S("true")) ||
                (older && str_eq(val_text(val_get_str(all, str_of(older))), S("true")));
    return cell_of(s, yes_ ? arena_fmt(s->a, STR_FMT " (default)", STR_ARG(name)) : name);
}
