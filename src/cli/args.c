#include "cli/args.h"
#include "cli/connect.h"

static bool unit_of(struct str s, size_t *n, double *ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
    for (size_t i = 0; i < countof(units); i++)
        if (str_starts(s, str_of(units[i].name))) {
            *n = strlen(units[i].name);
            *ns = units[i].ns;
            return true;
        }
    return false;
}

bool duration_parse(struct str text, int64_t *ns)
{
    double sum = 0;
    if (str_eqz(text, "0")) {
        *ns = 0;
        return true;
    }
    if (!text.n || text.n > 40)
        return false;
    while (text.n) {
        double v = 0, scale = 1, unit;
        size_t digits = 0, used;
        bool point = false;
        for (; text.n && ((text.p[0] >= '0' && text.p[0] <= '9') || (text.p[0] == '.' && !point));
             text.p++, text.n--) {
            if (text.p[0] == '.') {
                point = true;
                continue;
            }
            v = v * 10 + (text.p[0] - '0');
            scale *= point ? 10 : 1;
            digits++;
        }
        if (!digits || !unit_of(text, &used, &unit))
            return false;
        sum += v / scale * unit;
        text = str_sub(text, used, text.n);
    }
    if (sum > 9e18)
        return false;
    *ns = (int64_t)sum;
    return true;
}

/* The rows of a spec, then those of the connection. */
static const struct arg_row *row_at(const struct arg_spec *spec, size_t i)
{
    if (i < spec->nrows)
        return &spec->rows[i];
    i -= spec->nrows;
    return spec->connects && i < connect_nrows ? &connect_rows[i] : NULL;
}

static const struct arg_row *row_named(const struct arg_spec *spec, struct str name)
{
    const struct arg_row *r;
    for (size_t i = 0; (r = row_at(spec, i)); i++)
        if (str_eqz(name, r->name))
            return r;
    return NULL;
}

static const struct arg_row *row_lettered(const struct arg_spec *spec, char letter)
{
    const struct arg_row *r;
    for (size_t i = 0; (r = row_at(spec, i)); i++)
        if (r->letter == letter)
            return r;
    return NULL;
}

static void words_add(struct arena *a, struct words *w, struct str s)
{
    struct str *p = arena_alloc(a, (w->n + 1) * sizeof *p);
    if (w->n)
        memcpy(p, w->p, w->n * sizeof *p);
    p[w->n] = s;
    *w = (struct words){p, w->n + 1};
}

static bool row_set(struct arena *a, const struct arg_row *r, void *out, struct str v, struct err *err)
{
    void *at = (char *)out + r->at;
    switch (r->kind) {
    case ARG_FLAG:
        if (v.p && !str_eqz(v, "true") && !str_eqz(v, "false"))
            return err_set(err, E_INVALID, "--%s=" STR_FMT ": must be true or false", r->name, STR_ARG(v));
        *(bool *)at = !v.p || str_eqz(v, "true");
        return true;
    case ARG_EITHER:
    case ARG_TEXT: *(struct str *)at = v.p ? v : S(""); return true;
    case ARG_TEXTS: words_add(a, at, v); return true;
    case ARG_NUM:
        return str_to_i64(v, -1, INT64_MAX, at) ||
               err_set(err, E_INVALID, "--%s " STR_FMT ": must be a number", r->name, STR_ARG(v));
    case ARG_TIME:
        return duration_parse(v, at) ||
               err_set(err, E_INVALID, "--%s " STR_FMT ": must be a duration such as 30s, 5m or 1h30m", r->name,
                       STR_ARG(v));
    }
    return true;
}

static bool takes_none(const struct arg_row *r)
{
    return r->kind == ARG_FLAG || r->kind == ARG_EITHER;
}

struct args_reading {
    struct arena *arena;
    const struct arg_spec *spec;
    int argc, i;
    char **argv;
    void *out;
    bool help;
};

static bool next_value(struct args_reading *r, const struct arg_row *row, struct str *v, struct err *err)
{
    if (r->i + 1 >= r->argc)
        return err_set(err, E_INVALID, "--%s: needs a value (%s)", row->name, row->value);
    *v = str_of(r->argv[++r->i]);
    return true;
}

static bool read_long(struct args_reading *r, struct str text, struct err *err)
{
    struct str name, v;
    bool valued = str_split(text, '=', &name, &v);
    if (str_eqz(name, "help")) {
        r->help = true;
        return true;
    }
    const struct arg_row *row = row_named(r->spec, name);
    if (!row)
        return err_set(err, E_INVALID, "there is no option --" STR_FMT, STR_ARG(name));
    if (!valued)
        v = STR_NONE;
    if (!valued && !takes_none(row) && !next_value(r, row, &v, err))
        return false;
    return row_set(r->arena, row, r->out, v, err);
}

/* -A, -it, -n NS, -nNS, -n=NS */
static bool read_letters(struct args_reading *r, struct str text, struct err *err)
{
    for (; text.n; text = str_sub(text, 1, text.n)) {
        if (text.p[0] == 'h' && !row_lettered(r->spec, 'h')) {
            r->help = true;
            return true;
        }
        const struct arg_row *row = row_lettered(r->spec, text.p[0]);
        if (!row)
            return err_set(err, E_INVALID, "there is no option -%c", text.p[0]);
        if (takes_none(row)) {
            if (!row_set(r->arena, row, r->out, STR_NONE, err))
                return false;
            continue;
        }
        struct str v = str_sub(text, 1, text.n);
        if (v.n && v.p[0] == '=')
            v = str_sub(v, 1, v.n);
        else if (!v.n && !next_value(r, row, &v, err))
            return false;
        return row_set(r->arena, row, r->out, v, err);
    }
    return true;
}

bool args_parse(struct arena *a, const struct arg_spec *spec, int argc, char **argv, void *out, struct words *words,
                size_t *before_dashes, bool *help, struct err *err)
{
    struct args_reading r = {a, spec, argc, 0, argv, out, false};
    bool dashes = false;
    *words = (struct words){0};
    for (; r.i < argc; r.i++) {
        struct str s = str_of(argv[r.i]);
        bool ok = true;
        if (dashes) {
            words_add(a, words, s);
        } else if (str_eqz(s, "--")) {
            dashes = true;
            *before_dashes = words->n;
        } else if (str_starts(s, S("--"))) {
            ok = read_long(&r, str_sub(s, 2, s.n), err);
        } else if (s.n > 1 && s.p[0] == '-') {
            ok = read_letters(&r, str_sub(s, 1, s.n), err);
        } else {
            words_add(a, words, s);
        }
        if (!ok)
            return false;
    }
    if (!dashes)
        *before_dashes = words->n;
    *help = r.help;
    return true;
}

#define HELP_AT 32 /* the column where the help of an option begins */

static void help_row(struct strbuf *b, const struct arg_row *r)
{
    size_t from = b->n;
    if (r->letter)
        strbuf_addf(b, "  -%c, --%s", r->letter, r->name);
    else
        strbuf_addf(b, "      --%s", r->name);
    if (r->value)
        strbuf_addf(b, r->kind == ARG_EITHER ? "[=%s]" : " %s", r->value);
    do
        strbuf_addc(b, ' ');
    while (b->n - from < HELP_AT);
    strbuf_addf(b, "%s\n", r->help);
}

static void help_print(const struct arg_spec *spec)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "wherry %s%s%s\n\n%s\n\nExamples:\n%s\nOptions:\n", spec->verb, *spec->usage ? " " : "",
                spec->usage, spec->summary, spec->examples);
    for (size_t i = 0; i < spec->nrows; i++)
        help_row(&b, &spec->rows[i]);
    for (size_t i = 0; spec->connects && i < connect_nrows; i++)
        help_row(&b, &connect_rows[i]);
    fputs(b.p, stdout);
}

bool args_ask_help(int argc, char *const *argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

enum args_result args_read(struct arena *a, const struct arg_spec *spec, int argc, char **argv, void *out,
                           struct words *words, size_t *before_dashes)
{
    struct err err = ERR;
    bool help = false;
    size_t unused;
    if (!args_parse(a, spec, argc, argv, out, words, before_dashes ? before_dashes : &unused, &help, &err)) {
        fprintf(stderr, "wherry %s: %s; wherry %s --help lists what there is\n", spec->verb, err.text, spec->verb);
        return ARGS_WRONG;
    }
    if (help)
        help_print(spec);
    return help ? ARGS_HELPED : ARGS_RUN;
}
