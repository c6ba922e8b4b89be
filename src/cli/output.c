#include "cli/output.h"
#include "api/codec.h"
#include "cli/fields.h"
#include "cli/jsonpath.h"

void output_show(FILE *to, const char *fmt, ...)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(256u << 20), shown = STRBUF(1u << 30);
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(&b, fmt, args);
    va_end(args);
    strbuf_add_shown(&shown, strbuf_str(&b));
    fwrite(shown.p ? shown.p : "", 1, shown.n, to);
}

void table_add(struct table *t, struct str cell)
{
    array_push(&t->cells, cell);
}

void table_fini(struct table *t)
{
    array_fini(&t->cells);
    arena_fini(&t->arena);
}

static size_t shown_width(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* A row is a line: of a cell that has several the first one stands there, as with kubectl. */
static struct str one_line(struct table *t, struct str cell)
{
    size_t n = 0;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64u << 20);
    while (n < cell.n && !strchr("\n\r\f", cell.p[n]))
        n++;
    strbuf_add_shown(&b, str_sub(cell, 0, n));
    if (n < cell.n)
        strbuf_addz(&b, "...");
    return str_eq(strbuf_str(&b), cell) ? cell : str_dup(&t->arena, strbuf_str(&b));
}

void table_print(struct table *t, size_t from_row, FILE *to)
{
    size_t rows = t->columns ? t->cells.n / t->columns : 0;
    AUTO_FREE size_t *widths = mem_alloc((t->columns + 1) * sizeof *widths);
    for (size_t i = 0; i < t->cells.n; i++)
        t->cells.p[i] = one_line(t, t->cells.p[i]);
    for (size_t i = from_row * t->columns; i < rows * t->columns; i++)
        widths[i % t->columns] = MAX(widths[i % t->columns], shown_width(t->cells.p[i]));
    for (size_t r = from_row; r < rows; r++) {
        size_t blanks = 0; /* owed before the next text */
        for (size_t c = 0; c < t->columns; c++) {
            struct str cell = t->cells.p[r * t->columns + c];
            if (cell.n)
                fprintf(to, "%*s" STR_FMT, (int)blanks, "", STR_ARG(cell));
            blanks = (cell.n ? 0 : blanks) + widths[c] - shown_width(cell) + 3;
        }
        fputc('\n', to);
    }
}

/* Compact JSON, put apart: brackets and commas outside of strings end lines. */
void json_pretty(struct strbuf *b, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf flat = STRBUF(256u << 20);
    json_encode(&flat, v);
    size_t depth = 0;
    bool text = false;
    for (size_t i = 0; i < flat.n; i++) {
        char ch = flat.p[i];
        if (text) {
            strbuf_addc(b, ch);
            if (ch == '\\')
                strbuf_addc(b, flat.p[++i]);
            else if (ch == '"')
                text = false;
            continue;
        }
        bool opens = ch == '{' || ch == '[', closes = ch == '}' || ch == ']';
        if (closes && flat.p[i - 1] != '{' && flat.p[i - 1] != '[')
            strbuf_addf(b, "\n%*s", (int)(--depth * 4), "");
        else if (closes)
            depth--;
        strbuf_addc(b, ch);
        text = ch == '"';
        depth += opens;
        if (ch == ',' || (opens && flat.p[i + 1] != '}' && flat.p[i + 1] != ']'))
            strbuf_addf(b, "\n%*s", (int)(depth * 4), "");
        else if (ch == ':')
            strbuf_addc(b, ' ');
    }
    strbuf_addc(b, '\n');
}

bool output_read(struct str option, struct output *out, struct err *err)
{
    static const struct {
        const char *name;
        enum output_form form;
    } forms[] = {{"", OUT_TABLE}, {"wide", OUT_WIDE}, {"yaml", OUT_YAML}, {"json", OUT_JSON}, {"name", OUT_NAME}};
    *out = (struct output){0};
    for (size_t i = 0; i < countof(forms); i++)
        if (str_eqz(option, forms[i].name)) {
            out->form = forms[i].form;
            return true;
        }
    if (str_starts(option, S("jsonpath="))) {
        *out = (struct output){OUT_PATH, str_sub(option, 9, option.n)};
        return true;
    }
    return err_set(err, E_INVALID, "-o " STR_FMT ": must be wide, yaml, json, name or jsonpath=TEMPLATE",
                   STR_ARG(option));
}

static void print_name(struct client *c, const struct resource *r, const struct val *v)
{
    struct err ignored = ERR; /* objects of resources that were just looked up */
    const struct val *items = val_get_str(v, S("items"));
    if (items) {
        val_each_item (it, items)
            print_name(c, NULL, it);
        return;
    }
    if (!r && !resource_of_kind(c, field_text(v, "apiVersion"), field_text(v, "kind"), &r, &ignored))
        return;
    output_show(stdout, STR_FMT "\n", STR_ARG(resource_label(&c->arena, r, field_text(v, "metadata.name"))));
}

void output_print(struct client *c, const struct output *o, const struct resource *r, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(512u << 20);
    struct err err = ERR;
    switch (o->form) {
    case OUT_YAML: yaml_encode(&b, v); break;
    case OUT_JSON: json_pretty(&b, v); break;
    case OUT_PATH:
        if (!jsonpath_print(&c->arena, o->path, v, &b, &err))
            client_failed(c, &err);
        break;
    case OUT_TABLE:
    case OUT_WIDE:
    case OUT_NAME: print_name(c, r, v); break;
    }
    fwrite(b.p ? b.p : "", 1, b.n, stdout); /* YAML and JSON quote; a path gives the bytes, for programs */
}
